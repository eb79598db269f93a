"""Parts of an evaluation on several threads: on a CPU, one thread for each part is faster than all threads on one part after another."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import Any

import torch

MAX_WORKERS = 4  # each holds a batch of pictures and their features


class Workers:
    """Runs independent functions, on several threads where the device is a CPU, else one after another.

    Args:
        device: where the functions compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.threads = torch.get_num_threads()
        self.count = min(self.threads, MAX_WORKERS) if device.type == "cpu" else 1
        self.stopped = threading.Event()

    def check(self) -> None:
        """Functions call this now and then: it ends them early when another one failed or the user interrupted.

        Raises:
            CancelledError: another one failed, or the user interrupted.
        """
        if self.stopped.is_set():
            raise CancelledError

    def run(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The functions' results, in their order.

        Raises:
            Exception: the first one that a function raised; the others are stopped, and no further one is started.
        """
        if self.count == 1:
            return [function() for function in functions]
        pool = ThreadPoolExecutor(self.count, "evaluate", torch.set_num_threads, (self.threads // self.count,))
        try:
            futures = [pool.submit(function) for function in functions]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        finally:
            self.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(self.threads)  # the workers' number would also be that of threads started later


class Progress:
    """Counts pictures that several threads have done.

    Args:
        workers: checked at every count, so that a stop takes effect.
        report: called with (pictures done, pictures in all).
    """

    def __init__(self, workers: Workers, report: Callable[[int, int], None] | None = None) -> None:
        self.workers, self.report = workers, report
        self.done, self.total = 0, 0
        self.lock, self.local = threading.Lock(), threading.local()

    def add(self, count: int) -> None:
        """``count`` more pictures are done in this thread's part."""
        self.workers.check()
        self.local.done = getattr(self.local, "done", 0) + count
        with self.lock:
            self.done += count
            if self.report is not None:
                self.report(min(self.done, self.total), self.total)

    def part(self, make: Callable[[], Any], size: int) -> Any:
        """Run ``make``, a part of ``size`` pictures; what it did not count itself, because a cache had it, is counted afterwards."""
        self.local.done = 0
        found = make()
        self.add(size - self.local.done)
        return found
