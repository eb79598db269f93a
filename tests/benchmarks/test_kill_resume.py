"""The script that kills ``fit`` and compares what comes out with an undisturbed run, with a few of its trials."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_resume.py"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it reads how long a process has computed from /proc")
def test_fit_is_killed_and_gives_the_same() -> None:
    """One kill in one trial, of segmenter and mapper."""
    command = [sys.executable, str(SCRIPT), "--trials", "1", "--start", "painted"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "1 of 1 equal"
    assert len(re.findall("SIG[A-Z]+ at |SIGINT twice|full disk", done.stdout)) == 1
