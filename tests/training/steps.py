"""Single steps of a stage, for tests."""

import tiny
from proxymask.training import loop


def run_of(stage: loop.Stage, **config: object) -> loop.Run:
    """A run at step 0 that nothing has been done in."""
    run = loop.Run(tiny.loop_config(**config), stage)
    run.averages = dict(stage.modules)
    return run


def totals(stage: loop.Stage, index: int = 0, **config: object) -> tuple[list[tuple[str, float]], dict[str, float]]:
    """The loss that each optimiser is given in one step, and what is logged; nothing is updated."""
    run, seen = run_of(stage, **config), []
    run.index = index
    run.update = lambda name, terms: seen.append((name, sum(float(loss.detach()) for loss in terms()))) is None  # type: ignore[method-assign]
    stage.step(run)
    return seen, run.take_stats()
