"""What to do when a stage of ``fit`` fails: the settings that help, as a JSON file for --preset."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import ProxymaskError
from ...core.out_of_memory import is_of_gpu, is_out_of_memory
from ..loop import NotFinite
from ..presets import STAGES
from .state import FitState

LOWER = 0.1  # factor of a learning rate that was too high


@contextmanager
def advice(state: FitState, stage: str) -> Iterator[None]:
    """Say of a stage that ran out of memory, or whose losses were not finite, which settings to give to ``fit``.

    Raises:
        ProxymaskError: in place of what the body raised.
    """
    try:
        yield
    except NotFinite as error:
        what, _, _ = error.message.partition(":")
        rate = float(f"{LOWER * getattr(state.preset, stage).learning_rate:.3g}")
        text = f"{what}: its steps were not finite: give a lower learning rate: {_settings(state, {stage: {'learning_rate': rate}})}"
        raise ProxymaskError(text) from None
    except (OSError, RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or stage not in STAGES:
            raise
        loop = state.preset.loop(stage)
        parts = next((parts for parts in range(loop.accumulate + 1, loop.batch + 1) if loop.batch % parts == 0), None)
        smaller = None if parts is None else _settings(state, {f"{stage}_loop": {"accumulate": parts}})
        known = [*([smaller] if smaller else []), *(["--device cpu"] if is_of_gpu(error) else []), "more memory (close other programs)"]
        raise ProxymaskError(f"{stage}: out of memory: give {', or '.join(known)}, and run it again") from None


def _settings(state: FitState, changes: dict[str, Any]) -> str:
    """How to change settings of the preset in use."""
    name = state.config.preset
    if Path(name).is_file():
        return f"{json.dumps(changes)} in {name}"
    return f"--preset with a JSON file that holds {json.dumps({'base': name, **changes})}"
