"""Generators in the layouts of other projects: those that can be written exactly, without a line of their code.

rosinality's ``.pt`` takes every tensor under another name, unchanged. NVIDIA's pickles are not written: they carry the source code of
their networks, which would have to be NVIDIA's. genforce's keeps a style's bias less one, which is not exact in float32.
"""

import os
from pathlib import Path
from typing import Literal

import torch

from ..errors import ProxymaskError
from .convert import Imported, open_checkpoint, save_import
from .formats import rosinality

Format = Literal["rosinality", "safetensors"]


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
    if out.is_dir() or not out.suffix:
        raise ProxymaskError(f"--out {out}: rosinality's layout is one file, end its name in .pt")
    contents, notes = _rosinality(imported)
    temporary = out.with_name(out.name + ".tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(contents, temporary)
        os.replace(temporary, out)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or error
        raise ProxymaskError(f"cannot write {out} ({reason}): make room or choose another --out") from None
    finally:
        temporary.unlink(missing_ok=True)
    return notes


def _rosinality(imported: Imported) -> tuple[dict[str, object], list[str]]:
    generator, notes = imported.generator, []
    try:
        contents = rosinality.write(generator, imported.discriminator)
    except ProxymaskError as error:
        if imported.discriminator is None or "discriminator" not in str(error):
            raise
        contents = rosinality.write(generator)
        notes.append(f"the discriminator is left out: {error}")
    if generator.config["conv_clamp"] is not None:
        clamp = f"{generator.config['conv_clamp']:g}"
        notes.append(f"rosinality's code does not clamp; this generator clamps at {clamp}, which is hardly ever reached")
    if generator.seed_style != "torch":
        notes.append("rosinality's scripts draw z otherwise: their seeds show other pictures")
    return contents, notes
