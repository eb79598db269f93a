"""Mappers: from what a person gives (a mask, a drawing, a depth map) to a proxy mask."""

from pathlib import Path

from ..core.errors import ProxymaskError
from ..core.files import read_json
from .oasis_mapper import OasisMapper
from .unet_mapper import UNetMapper

Mapper = OasisMapper | UNetMapper


def load_mapper(folder: str | Path) -> Mapper:
    """A saved mapper of whichever kind ``config.json`` names; a :class:`ProxymaskError` where it is none."""
    stored = read_json(Path(folder) / "config.json")
    kind = stored.get("class") if isinstance(stored, dict) else None
    for cls in (OasisMapper, UNetMapper):
        if kind == cls.__name__:
            return cls.from_pretrained(folder)
    raise ProxymaskError(f"{folder} holds a {kind}, which is no mapper")
