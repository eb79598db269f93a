"""Every script of benchmarks/ can be imported: one that names what the library no longer has would be noticed when it is needed."""

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IMPORT_ALL = """
import importlib, sys, traceback
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        failed.append(name)
        traceback.print_exc()
sys.exit(f"cannot be imported: {failed}" if failed else 0)
"""


def test_every_script_can_be_imported() -> None:
    files = [file.relative_to(BENCHMARKS).with_suffix("") for file in sorted(BENCHMARKS.rglob("*.py")) if file.name != "__init__.py"]
    names = [file.name if file.parent.name == "gpu" else ".".join(file.parts) for file in files]  # scripts of gpu/ run in that folder
    assert "busy" in names
    assert len(names) > 20
    paths = [BENCHMARKS, BENCHMARKS / "gpu", BENCHMARKS.parent / "src"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *names], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
