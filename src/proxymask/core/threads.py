"""Number of threads on a CPU, in one place: one for a picture, half of the CPUs for a training.

PyTorch takes a thread a core. Its threads meet at the end of every operation and wait there by spinning, so that all of them wait for one
that another process keeps from its core: a picture of 64 pixels by two threads takes 9 ms on two free cores and a second where
a training runs on each of them, by one thread 10 ms and 15 ms (docs/decisions.md, one-thread-a-picture). In float32 the rounding depends on
the number of threads too, so that it must not follow the load of the machine.

Whoever sets ``OMP_NUM_THREADS`` has chosen, and nothing is changed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def available_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use: those that it is bound to, and at most the CPU time that its control groups allow, rounded down.

    Args:
        root: of the file system that describes the control groups (``proc/self/cgroup``, ``sys/fs/cgroup``).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(bound, _cpu_quota(root))))


def _cpu_quota(root: Path) -> float:
    """CPUs that the control groups of this process allow: cpu.max (version 2), cpu.cfs_quota_us (version 1); infinite without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return float("inf")
    mounted, allowed = root / "sys/fs/cgroup", [float("inf")]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        # a limit of any group above counts too; inside a container the mounted tree begins with the container's own group
        relative = Path(path.lstrip("/"))
        for group in (relative, *relative.parents):
            for place in (mounted, mounted / "unified") if not controllers else (mounted / controllers, mounted / "cpu"):
                allowed += _limit(place / group)
    return min(allowed)


def _limit(group: Path) -> list[float]:
    """The limit in the folder of one control group, in CPUs; empty where there is none."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return [int(quota) / int(period)] if quota not in ("max", "-1") else []
    except (OSError, ValueError):
        return []


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the ``with`` block or the function: what makes a picture.

    The number belongs to the thread that runs the block; other threads of the process keep theirs. It costs less than a microsecond.
    """
    with _threads(1):
        yield


def inference(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator of what computes pictures or parts of them: without gradients, and with :func:`one_thread`."""
    return one_thread()(torch.inference_mode()(function))


@contextmanager
def training_threads() -> Iterator[None]:
    """Compute with half of the CPUs, at least one thread, inside the ``with`` block: a training, which leaves room for another one.

    It depends on the machine and on no load, so that a run that goes on has the same number.
    """
    with _threads(max(1, available_cpus() // 2)):
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before <= count or os.environ.get("OMP_NUM_THREADS"):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
