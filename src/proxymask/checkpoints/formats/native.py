"""This package's own folders: ``config.json`` and ``model.safetensors``, alone or as ``generator/`` of an import, a run or a bundle."""

from pathlib import Path

from ...core.config_model import MAX_CONFIG_BYTES
from ...core.errors import ProxymaskError
from ...core.files import check_plain, read_json
from ...models.discriminator import Discriminator
from ...models.stylegan2 import Generator

FAMILY = "proxymask"
IMPORT_JSON = "import.json"  # what an import knows of its source, next to generator/


def folder_of(path: Path) -> Path | None:
    """The folder with the generator's ``config.json`` that ``path`` is, lies in or holds; None where there is none."""
    base = path if path.is_dir() else path.parent if path.name in ("model.safetensors", "config.json") else None
    if base is None:
        return None
    return next((folder for folder in (base, base / "generator") if (folder / "config.json").is_file()), None)


def read(folder: Path) -> tuple[Generator, Discriminator | None, dict[str, object]]:
    """The generator in ``folder``, the discriminator of the same resolution next to it, and what its import knew of its source.

    Raises:
        ProxymaskError: the folder holds another network, or is damaged.
    """
    generator = Generator.from_pretrained(folder)
    discriminator = None
    for place in (folder / "discriminator", folder.parent / "discriminator"):
        if (place / "config.json").is_file():
            found = Discriminator.from_pretrained(place)
            discriminator = found if found.picture_size == generator.picture_size else None
            break
    return generator, discriminator, source_of(folder)


def source_of(folder: Path) -> dict[str, object]:
    """What an import wrote of its source next to the generator in ``folder``; empty where it is no import."""
    for place in (folder / IMPORT_JSON, folder.parent / IMPORT_JSON):
        if place.is_file():
            about = read_json(place, MAX_CONFIG_BYTES)
            check_plain(about, place)
            if not isinstance(about, dict):
                raise ProxymaskError(f"{place} is not what an import wrote: import the file again")
            return about
    return {}
