"""Spatial control of an unconditional image generator without a labelled data set.

>>> from proxymask import Synthesizer
>>> picture = Synthesizer.from_pretrained("avatars")("mask.png", 3)
"""

from .core.version import __version__

__all__ = ["Bundle", "ProxymaskError", "Result", "Style", "Synthesizer", "__version__", "list_bundles"]

TYPE_CHECKING = False  # type checkers take it for true; importing typing would cost more than the rest of this package
if TYPE_CHECKING:
    from .core.errors import ProxymaskError
    from .inference.bundle import Bundle
    from .inference.find import list_bundles
    from .inference.output import Result
    from .inference.style import Style
    from .inference.synthesizer import Synthesizer

_MODULES = {
    "Bundle": ".inference.bundle",
    "ProxymaskError": ".core.errors",
    "Result": ".inference.output",
    "Style": ".inference.style",
    "Synthesizer": ".inference.synthesizer",
    "list_bundles": ".inference.find",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used first, so that ``proxymask --help`` need not wait for PyTorch."""
    from importlib import import_module

    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
