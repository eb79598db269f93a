"""Every ``proxymask`` command in the documents is one that today's parser takes. No command is run.

Code blocks go through a restricted bash with an empty PATH, where ``proxymask`` is a function that prints its arguments: so variables,
loops and continued lines count, and nothing else can be started or written. Of a command in running text, verb and flags are checked.
"""

import functools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from proxymask.cli import Verb, find_verb, main, parse
from proxymask.cli.old_flags import STAGES, renamed_flags
from proxymask.core.errors import ProxymaskError

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")
HISTORY = {"docs/decisions-archive.md", "docs/decisions.md"}  # what was run at the time
FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / "benchmarks" / name for name in ("README.md", "gpu/QUEUE.md")),
    *sorted((ROOT / "src/proxymask/bundles").glob("*/README.md")),
]
DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in FILES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PRELUDE = r"""
proxymask() { printf '\036'; printf '%s\037' "$@"; }
called() { while (($#)); do if [[ $1 == proxymask ]]; then shift; proxymask "$@"; return; fi; shift; done; }
python() { if [[ $1 == -m ]]; then called "$@"; fi; }
torchrun() { called "$@"; }
command_not_found_handle() { return 0; }
"""
PLACEHOLDER = re.compile(r"\.\.\.|[\[\]…]")


def executed(block: str) -> list[list[str]]:
    """The arguments of every call of proxymask in a block of shell commands."""
    assert BASH is not None
    done = subprocess.run(
        [BASH, "--noprofile", "--norc", "--restricted", "-c", PRELUDE + block],
        env={"PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return [call.split("\x1f")[:-1] for call in done.stdout.split("\x1e")[1:]]


def in_blocks(text: str) -> list[list[str]]:
    return [call for language, block in FENCE.findall(text) if language in ("sh", "bash", "console", "") for call in executed(block)]


def in_text(text: str) -> list[list[str]]:
    """The arguments of the commands in running text and tables."""
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    parts = [part.strip() for span in spans for part in re.split(r"&&|;", span)]
    return [shlex.split(PLACEHOLDER.sub(" ", part))[1:] for part in parts if part.startswith("proxymask ")]


@functools.cache
def flags_of(path: tuple[str, ...]) -> set[str]:
    import contextlib
    import io

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main([*path, "--help"]) == 0
    return set(re.findall(r"(?<=[│ ])--[a-z][a-z0-9-]+", shown.getvalue()))


@pytest.mark.skipif(BASH is None, reason="needs bash to read shell commands")
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in HISTORY])
def test_commands_in_code_blocks_parse(name, capsys):
    for words in in_blocks((ROOT / name).read_text()):
        command = shlex.join(["proxymask", *words])
        path, rest, verb = find_verb(words)
        if words in ([], ["--help"], ["--version"]):
            continue
        assert isinstance(verb, Verb), command
        try:
            parse(verb, path, rest)
        except SystemExit as stop:
            if stop.code:
                pytest.fail(f"{command}\n{capsys.readouterr().err}")
        assert capsys.readouterr().err == "", f"{command} has flags of an earlier version"


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in HISTORY])
def test_verbs_and_flags_in_running_text_exist(name):
    for words in in_text((ROOT / name).read_text()):
        at = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        path, _, verb = find_verb([word.rstrip(",") for word in words[:at]])
        given = {word.split("=")[0] for word in words[at:] if word.startswith("--")}
        if isinstance(verb, Verb):
            assert given <= flags_of(tuple(path)), shlex.join(["proxymask", *words])


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "docs/decisions-archive.md"])
def test_no_renamed_flag_is_left_in_a_document(name):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", (ROOT / name).read_text()))
    assert not named & {f"--{old.replace('_', '-')}" for verb in STAGES for old in renamed_flags(verb)}


def test_a_block_is_read_as_a_shell_reads_it():
    if BASH is None:
        pytest.skip("needs bash")
    block = """
    parts="--out o"  # a comment
    for n in 1 2; do
      proxymask sample --count $n \\
        $parts
    done
    torchrun --nproc-per-node 2 -m proxymask sample --count 3 && python -m proxymask inspect 'a b'
    echo nothing > /tmp/never-written; rm -rf nothing; python other.py proxymask
    """
    expected = [["sample", "--count", n, "--out", "o"] for n in "12"] + [["sample", "--count", "3"], ["inspect", "a b"]]
    assert executed(block) == expected
    assert not Path("/tmp/never-written").exists()


def test_unknown_verbs_are_found():
    with pytest.raises(ProxymaskError, match="has no 'generat'"):
        find_verb(["generat", "--mask", "x"])
