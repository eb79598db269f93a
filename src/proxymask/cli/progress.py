"""Progress with rate and time left: a bar on a terminal, a line now and then anywhere else."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from .streams import note

Update = Callable[..., None]
"""``update(done, total, numbers={})``: ``total`` 0 where it is not known, ``numbers`` by name are shown as they are."""

WINDOW = 60.0  # seconds over which the rate is taken: short enough to follow a change, long enough to be calm
LINE_EVERY = 30.0  # seconds between lines where there is no terminal
SECONDS_LEFT = "seconds_left"  # of a training, which knows it better than its rate says
SHOWN = 4  # numbers that fit a line


def is_main() -> bool:
    """Whether this process prints: the first one of those that torchrun starts."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def progress(title: str) -> Iterator[Update]:
    """Show progress on standard error while the body runs; yields an :data:`Update`."""
    if not is_main():
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _bar(title) as update:
            yield update
    else:
        with _lines(title) as update:
            yield update


class Terminal:
    """What ``fit`` says, on standard output, and its progress."""

    def say(self, text: str) -> None:
        """Print a line, or some."""
        if is_main():
            print(text, flush=True)

    def progress(self, title: str) -> AbstractContextManager[Update]:
        """See :func:`progress`."""
        return progress(title)


class Pace:
    """The rate over the last minute. What was done before the first call (a run that goes on) does not count."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def at(self, done: int, now: float) -> float:
        """Note how much is ``done`` at the time ``now``; the rate a second, 0 as long as it is not known."""
        self.seen.append((now, done))
        while len(self.seen) > 2 and now - self.seen[1][0] > WINDOW:
            self.seen.popleft()
        since, before = self.seen[0]
        return (done - before) / (now - since) if now > since else 0.0


def describe(done: int, total: int, rate: float, numbers: Mapping[str, float]) -> str:
    """``2.4/s, 12:05 left, loss 0.31``, as far as it is known."""
    parts = []
    if rate > 0:
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if total > done:
            parts.append(f"{clock(numbers.get(SECONDS_LEFT, (total - done) / rate))} left")
    # losses say most; what is shown of them is the last part of the name
    chosen = sorted((name for name in numbers if name != SECONDS_LEFT), key=lambda name: "loss" not in name)[:SHOWN]
    parts += [f"{name.removeprefix('loss/')} {numbers[name]:.3g}" for name in chosen]
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """12:05, 3:04:09, 2 d 03:04."""
    whole = round(seconds)
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600:02d}:{whole % 3600 // 60:02d}"
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


@contextmanager
def _bar(title: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[count]}  {task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task, pace = bar.add_task(title, total=None, count="", text=""), Pace()

        def update(done: int, total: int = 0, numbers: Mapping[str, float] | None = None) -> None:
            text = describe(done, total, pace.at(done, time.monotonic()), numbers or {})
            count = f"{done:,}/{total:,}" if total else f"{done:,}"
            bar.update(task, completed=done, total=total or None, count=count, text=text)

        yield update


@contextmanager
def _lines(title: str) -> Iterator[Update]:
    pace, began = Pace(), time.monotonic()
    printed = began
    last = ""

    def update(done: int, total: int = 0, numbers: Mapping[str, float] | None = None) -> None:
        nonlocal printed, last
        now = time.monotonic()
        rate = pace.at(done, now)
        last = f"{title}: {done:,}/{total:,}" if total else f"{title}: {done:,}"
        if now - printed >= LINE_EVERY:
            printed = now
            text = describe(done, total, rate, numbers or {})
            note(f"{last}  {text}" if text else last)

    yield update
    if last:
        note(f"{last}  in {clock(time.monotonic() - began)}")
