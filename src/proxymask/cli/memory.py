"""What to do when memory runs out: the flags of the verb that lower what it needs."""

from typing import Any

from ..core.out_of_memory import is_of_gpu

LOWER = {
    "accumulate": "a larger --accumulate, which goes on with the same run (--accumulate 2 halves what a step needs)",
    "batch": "a smaller --batch and another --out",
    "samples": "fewer --samples",
    "resolution": "a smaller --resolution",
    "size": "a smaller --size",
    "workers": "--workers 1",
}
"""Flag that takes a number -> advice; in the order in which they help. The first one of a verb counts."""


def memory_advice(flags: dict[str, Any], error: BaseException) -> str:
    """One line.

    Args:
        flags: the flags of the verb as names of fields, with their types.
        error: what was raised.
    """
    numbers = [name for name in LOWER if "int" in str(flags.get(name, ""))]
    advice = [LOWER[numbers[0]]] if numbers else []
    if is_of_gpu(error) and "device" in flags:
        advice.append("--device cpu")
    free = "close other programs, or take a machine with more memory"
    return f"out of memory: give {', or '.join(advice)}; or {free}" if advice else f"out of memory: {free}"
