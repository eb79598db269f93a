"""What happens where the output cannot be written, or cannot show what is printed: no traceback, the true cause."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import proxymask

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell and /dev/full")

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(proxymask.__file__).parents[1])}
COMMAND = f"{sys.executable} -m proxymask"
CHEAP = ("--help", "sample --help", "examples --out OUT")  # our own help, that of a verb, and a verb that writes files


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line.replace("OUT", "out").replace("proxymask", COMMAND)],
        cwd=folder,
        env={**ENV, **env},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", CHEAP)
def test_a_full_disk_behind_the_output(verb: str, tmp_path: Path) -> None:
    done = shell(f"proxymask {verb} > /dev/full", tmp_path)
    assert done.stderr.strip() == "proxymask: the output cannot be written: No space left on device"
    assert done.returncode == 2


@pytest.mark.parametrize("verb", CHEAP)
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_output(verb: str, closed: str, tmp_path: Path) -> None:
    done = shell(f"proxymask {verb} {closed}", tmp_path)
    assert done.returncode == 0
    assert not done.stderr
    if verb.startswith("examples"):  # no file was opened under the number of a closed stream
        files = sorted((tmp_path / "out").glob("*.png"))
        assert files
        assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


@pytest.mark.parametrize("verb", CHEAP[1:])
def test_a_reader_that_has_ended(verb: str, tmp_path: Path) -> None:
    done = shell(f"(sleep 0.2; proxymask {verb}; echo $? >&2) | true", tmp_path)
    assert done.stderr.strip() in ("0", "141")


def test_mistakes_where_standard_error_is_closed_or_full(tmp_path: Path) -> None:
    for where in ("2>&-", "2>/dev/full"):
        assert shell(f"proxymask inspect nope {where}", tmp_path).returncode == 2


@pytest.mark.parametrize("env", [{"LC_ALL": "C", "COLUMNS": "20"}, {"PYTHONIOENCODING": "ascii"}])
def test_narrow_terminals_and_other_character_sets(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "wörter").mkdir()
    for line in ("sample --help", "inspect nöpe", "examples --out wörter/größe"):
        done = shell(f"proxymask {line}", tmp_path, **env)
        assert done.returncode == (2 if "nöpe" in line else 0), done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "wörter" / "größe" / "labels.json").is_file()


def test_names_that_are_no_text_are_shown_as_escapes(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    done = shell(r"proxymask examples --out $'caf\xe9/new'", tmp_path)
    assert done.returncode == 0, done.stderr
    hint = next(line for line in done.stdout.splitlines() if line.startswith("next: "))
    assert r"$'caf\xe9/new/beard.png'" in hint
    assert subprocess.run(["bash", "-c", r"ls $'caf\xe9/new/beard.png'"], cwd=tmp_path, capture_output=True).returncode == 0
