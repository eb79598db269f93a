"""Spatial control of an unconditional image generator without a labelled data set."""

from typing import TYPE_CHECKING, Any

from .core.version import __version__

__all__ = ["Bundle", "ProxymaskError", "Synthesizer", "__version__"]

if TYPE_CHECKING:
    from .core.errors import ProxymaskError
    from .inference.bundle import Bundle
    from .inference.synthesizer import Synthesizer


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for, so that ``proxymask --help`` need not wait for PyTorch."""
    from importlib import import_module

    places = {"Bundle": ".inference.bundle", "ProxymaskError": ".core.errors", "Synthesizer": ".inference.synthesizer"}
    if name in places:
        return getattr(import_module(places[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
