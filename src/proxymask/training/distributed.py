"""Several processes: ``torchrun --nproc-per-node N -m proxymask train ...`` works for every stage.

CPU tensors are exchanged by gloo, CUDA tensors by nccl. Process 0 alone prints and writes.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist

from ..core.device import resolve_device
from ..core.errors import ProxymaskError
from ..core.lock import folder_lock
from ..core.threads import training_threads

TIMEOUT = timedelta(hours=12)  # how long the others wait while process 0 clusters or writes; torchrun ends them if it dies

T = TypeVar("T")


@contextmanager
def processes(device: str = "auto") -> Iterator[None]:
    """Join the process group that ``torchrun`` describes in the environment, if it does and this is no call inside another one.

    On a CPU, the number of threads is :func:`~proxymask.core.threads.training_threads`.

    Raises:
        ProxymaskError: no such device, more processes than CUDA devices, or MPS.
    """
    kind = resolve_device(device).type
    with training_threads() if kind == "cpu" else nullcontext(), _group(kind):
        yield


@contextmanager
def _group(kind: str) -> Iterator[None]:
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if world <= 1 or dist.is_initialized():
        yield
        return
    if kind == "mps":
        raise ProxymaskError("several processes cannot share an Apple GPU: run one, or use --device cpu")
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise ProxymaskError(f"process {local} has no CUDA device of its own: start at most {torch.cuda.device_count()} a machine")
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End one of several processes at once, without Python's own shutdown.

    Gloo's threads outlive ``destroy_process_group`` for a moment. One that needs the interpreter while that shuts down aborts the process
    ("terminate called without an active exception", pytorch issue 190489), and torchrun then reports a finished run as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_main() -> bool:
    """Whether this process prints and writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.all_reduce(torch.zeros(1))  # by gloo also where CUDA trains: dist.barrier would need a device


def agreed(value: T) -> T:
    """The ``value`` of process 0, on every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


@contextmanager
def main_lock(folder: Path) -> Iterator[None]:
    """Process 0 holds the lock of ``folder`` (:func:`~proxymask.core.lock.folder_lock`) while all run the body.

    Raises:
        ProxymaskError: on every process: it is held by another job, or the folder cannot be written.
    """
    with ExitStack() as held:
        refused: ProxymaskError | None = None
        if is_main():
            try:
                held.enter_context(folder_lock(folder))
            except ProxymaskError as error:
                refused = error
        refused = agreed(refused)
        if refused is not None:
            raise refused
        yield


@contextmanager
def main_first() -> Iterator[None]:
    """Process 0 runs the body while the others wait, then they run it too: for work whose result is stored on the disk."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()
