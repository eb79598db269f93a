"""What a stage takes: time by the kinds of its steps, memory and disk; and the time that is left while it runs.

A schedule has few kinds of steps (:meth:`.loop.Stage.step_kind`), as R1 and L_adv are not due in each. The time of a stage is that of
a step of each kind, times how often the kind occurs, and that of what is done now and then: checkpoints, grids.
"""

import dataclasses
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable

from .loop import Progress, Stage

RECENT = 50  # steps of a kind over which its time is averaged
SECONDS_LEFT = "seconds_left"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage takes."""

    kinds: bytes = b""
    """The number of the kind of every step."""
    seconds: tuple[float, ...] = ()
    """Seconds of a step of each kind."""
    begin: float = 0.0
    """Seconds besides the steps, also where a run goes on: networks are built, pictures that are kept in memory are made."""
    end: float = 0.0
    """Seconds after the last step."""
    regular: tuple[tuple[int, float], ...] = ()
    """(interval in steps, seconds) of what is also done after the last step; interval 0: never."""
    memory: int = 0
    """Peak in bytes, of the GPU if there is one, else of the process; 0 where it cannot be measured."""
    disk: int = 0
    """Bytes of the run folder in the end."""
    spare_disk: int = 0
    """Bytes that it takes besides for a moment: a checkpoint is written before an older one is removed."""

    def total(self, done: int = 0) -> float:
        """Seconds of a run that goes on after ``done`` steps."""
        steps = len(self.kinds)
        if done >= steps:
            return self.begin + self.end
        of_steps = sum(self.seconds[kind] * count for kind, count in Counter(self.kinds[done:]).items())
        return self.begin + of_steps + sum(cost * times_due(every, done, steps) for every, cost in self.regular) + self.end


def times_due(every: int, done: int, steps: int) -> int:
    """How often something is done in the steps after ``done`` that is done every so many steps and after the last one; 0: never."""
    return steps // every - done // every + (steps % every > 0) if every else 0


def schedule(stage: Stage, steps: int) -> tuple[bytes, list[int]]:
    """The number of the kind of every step, and the first step of each kind; kinds are numbered as they come."""
    numbers: dict[Hashable, int] = {}
    firsts: list[int] = []
    kinds = bytearray()
    for index in range(steps):
        kind = stage.step_kind(index)
        if kind not in numbers:
            numbers[kind] = len(firsts)
            firsts.append(index)
        kinds.append(numbers[kind])
    return bytes(kinds), firsts


class TimeLeft:
    """Adds the seconds that are left, as ``seconds_left``, to the numbers of a :data:`.loop.Progress`.

    Kinds of steps that have run count as long as they took lately. The others count as long as they were measured, times the pace: how much
    longer than measured those that have run take.

    Args:
        cost: of the stage.
        progress: gets the numbers.
        clock: seconds.
    """

    def __init__(self, cost: Cost, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        self.cost, self.progress, self.clock = cost, progress, clock
        self.recent: dict[int, deque[float]] = {}
        self.before = clock()
        self.index = -1
        self.left: Counter[int] = Counter()

    def __call__(self, done: int, steps: int, numbers: dict[str, float]) -> None:
        now = self.clock()
        kinds = self.cost.kinds
        if steps != len(kinds):  # not the run that was measured
            self.progress(done, steps, numbers)
            return
        if self.index < 0:
            self.left = Counter(kinds[done:])  # what came before the first call is no step alone
        else:
            self.left.subtract(kinds[self.index : done])
            others = [every for every, _ in self.cost.regular if every and done % every == 0]
            if done == self.index + 1 and not others:
                self.recent.setdefault(kinds[done - 1], deque(maxlen=RECENT)).append(now - self.before)
        self.index, self.before = done, now
        self.progress(done, steps, numbers | {SECONDS_LEFT: self.seconds()} if self.recent else numbers)

    def seconds(self) -> float:
        """Seconds that are left."""
        cost, steps = self.cost, len(self.cost.kinds)
        seen = {kind: statistics.fmean(times) for kind, times in self.recent.items()}
        pace = sum(seen.values()) / max(1e-9, sum(cost.seconds[kind] for kind in seen))
        of_steps = sum(seen.get(kind, cost.seconds[kind] * pace) * count for kind, count in self.left.items())
        regular = sum(seconds * times_due(every, self.index, steps) for every, seconds in cost.regular) if self.index < steps else 0.0
        return of_steps + pace * (regular + cost.end)
