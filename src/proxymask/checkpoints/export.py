"""Writes a generator in the layout of another project, where that is exact and takes none of that project's code.

rosinality's ``.pt`` takes every tensor unchanged under another name. NVIDIA's pickles are not written: they carry the source code of
their networks, which would have to be NVIDIA's. genforce's files are not written: they keep a style's bias less one, which is not exact
in float32.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch

from ..core.checks import checked
from ..core.errors import ProxymaskError, os_reason
from ..core.files import check_not_input, files_in
from .formats import rosinality_export
from .imported import Imported, save_import
from .loading import open_checkpoint

Format = Literal["rosinality", "safetensors"]


@checked
def export(source: str | Path, out: str | Path, form: Format = "rosinality", discriminator: bool = True) -> list[str]:
    """Write the generator at ``source`` to ``out``, whole or not at all.

    Args:
        source: anything that holds a generator: a folder of this package, or a checkpoint of another project.
        out: a file for rosinality, a folder for safetensors.
        form: the layout.
        discriminator: write it too, where there is one that the layout has a place for.

    Returns:
        What the layout has no place for and the pictures hardly depend on, one phrase each.

    Raises:
        ProxymaskError: no generator there, one that the layout has no place for, or ``out`` cannot be written.
    """
    imported = open_checkpoint(source)
    if not discriminator:
        imported.discriminator = None
    if form == "safetensors":
        save_import(imported, out)
        return []
    out = Path(out)
    check_not_input(out, files_in(Path(source)))
    if out.is_dir() or not out.suffix:
        raise ProxymaskError(f"--out {out}: rosinality's layout is one file, end its name in .pt")
    contents, notes = _rosinality(imported)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(contents, file)
        os.replace(temporary, out)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = os_reason(error) if isinstance(error, OSError) else "no space left on the disk"
        raise ProxymaskError(f"cannot write --out {out} ({reason}): make room or choose another file") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return notes


def _rosinality(imported: Imported) -> tuple[dict[str, Any], list[str]]:
    """The contents of the file, and the notes of :func:`export`."""
    generator, notes = imported.generator, []
    contents = rosinality_export.write_generator(generator)
    if imported.discriminator is not None:
        try:
            contents["d"] = rosinality_export.write_discriminator(imported.discriminator)
        except ProxymaskError as error:
            notes.append(f"the discriminator is left out: {error.message}")
    if generator.config["conv_clamp"] is not None:
        clamp = f"{generator.config['conv_clamp']:g}"
        notes.append(f"rosinality's code does not clamp; this generator clamps at {clamp}, which is hardly ever reached")
    notes += rosinality_export.needed_arguments(generator)
    if generator.seed_style != "torch":
        notes.append("rosinality's scripts draw z in another way: their seeds show other pictures")
    return contents, notes
