"""Hostile files: nothing in them is run, and each ends soon, within a stated memory."""

import json
import os
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
from hostile import CASES
from pickle_assembler import COMMAND, reduced

MEMORY = 512  # MiB, beyond what the process has before the first file; the largest of the files has 17
SECONDS = 20  # for the slowest file; the slowest takes 3 on one slow core


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every file read in one process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "files").mkdir()
    for name, case in CASES.items():
        (folder / "files" / name).write_bytes(case.make())
    tensors = OrderedDict(a=torch.ones(3), b=torch.tensor([True]))
    layouts.write_torch(folder / "warm-zip", {"g_ema": tensors})
    layouts.write_torch(folder / "warm-stream", {"g_ema": tensors}, legacy=True)
    layouts.write_nvidia(folder / "warm-nvidia", {"G": layouts.network("Generator", tensors)})
    layouts.write_tf(folder / "warm-tf", layouts.TfNetwork("G", {}, {"a": torch.ones(3).numpy()}))
    worker = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, worker, folder / "files", str(MEMORY)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (folder / "executed").exists()
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, outcome: dict[str, Any]) -> None:
    case, found = CASES[name], outcome["results"][name]
    if case.refused:
        assert re.search(case.refused, found.get("refused", "it was read")), found
        assert "\n" not in found["refused"]
        for message in (found["refused"], found.get("inner", "")):
            assert "MemoryError" not in message  # it was a limit that held, not the machine
            assert "RecursionError" not in message
    else:
        assert "refused" not in found, found
        assert not case.unknown or any(case.unknown in unknown for unknown in found["unknown"]), found
    assert found["seconds"] < SECONDS


def test_memory(outcome: dict[str, Any]) -> None:
    assert outcome["grown"] < MEMORY


def test_the_watch_works(tmp_path: Path) -> None:
    """The same files do what they want where they are opened with pickle, and the watch sees it: or the tests above say nothing."""
    (tmp_path / "evil").write_bytes(reduced(os.system, COMMAND))
    code = "import pickle; pickle.load(open('evil', 'rb'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "executed").exists()
    watched = f"""
import os, pickle, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from hostile import is_forbidden
data = open('evil', 'rb').read()
sys.addaudithook(lambda event, args: is_forbidden(event, args) and os._exit(97))
pickle.loads(data)
"""
    assert subprocess.run([sys.executable, "-c", watched], cwd=tmp_path, check=False).returncode == 97
