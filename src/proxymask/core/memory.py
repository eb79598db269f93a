"""Memory of this process: how much it uses, and the most that it has used."""

import ctypes
import gc
import sys
from pathlib import Path


def used_memory() -> int:
    """Bytes that are resident now; 0 where the system does not say (it is no Linux)."""
    return _status("VmRSS")


def reset_peak() -> bool:
    """Give free memory back to the system and let :func:`peak_memory` begin anew with what is used now.

    Returns:
        Whether the system can do that (Linux).
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):  # the C library keeps what is free
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """Peak of the resident memory in bytes since the start or :func:`reset_peak`; 0 where the system does not say."""
    known = _status("VmHWM")
    if known:
        return known
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(name: str) -> int:
    """A number of bytes in /proc/self/status, 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
