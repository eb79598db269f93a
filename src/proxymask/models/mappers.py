"""Mappers: from a condition (a mask, a drawing, a depth map) to the logits of a proxy mask (the semantic mapper, supplement A.1)."""

from pathlib import Path

from ..core.errors import ProxymaskError
from ..core.files import read_json
from .oasis_mapper import OasisMapper
from .unet_mapper import UNetMapper

Mapper = OasisMapper | UNetMapper


def load_mapper(folder: str | Path) -> Mapper:
    """Load a saved mapper of the class that its ``config.json`` names; a :class:`ProxymaskError` where that is no mapper."""
    stored = read_json(Path(folder) / "config.json")
    kind = stored.get("class") if isinstance(stored, dict) else None
    for cls in (OasisMapper, UNetMapper):
        if kind == cls.__name__:
            return cls.from_pretrained(folder)
    raise ProxymaskError(f"{folder} holds a {kind}, which is no mapper: give the folder of an OasisMapper or a UNetMapper")
