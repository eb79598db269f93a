"""A checkpoint that was opened, what is known of its source, and the folder that an import writes."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from ..core.checks import checked
from ..core.errors import ProxymaskError, cannot_write
from ..core.files import real_folder, replace_folder, write_json
from ..core.text import without_controls
from ..core.version import __version__
from ..models.discriminator import Discriminator
from ..models.stylegan2 import Generator
from .formats.native import IMPORT_JSON

NON_COMMERCIAL = (
    "NVIDIA's published weights and source code may not be used commercially (Nvidia Source Code License-NC or CC BY-NC 4.0); what is "
    "made from them inherits that: read the licence of the file you took"
)


@dataclasses.dataclass
class Imported:
    """A checkpoint, opened.

    Attributes:
        generator: float32, in eval mode, gradients off.
        discriminator: the file's own, where it has one that can be used.
        family: the name people know its layout by.
        format: of the file: ``torch zip``, ``torch legacy stream``, ``pickle``, ``proxymask folder``.
        source: its name.
        size: of the file in bytes.
        sha256: of the file, 64 hex digits; "" for folders.
        assumed: settings that neither the file nor its shapes give, one phrase each.
        notes: what was left out or replaced, one phrase each.
        facts: more about the file, by name.
        notice: the licence notice in the file, "" without one.
        unknown: the names in it that were not understood and became inert.
    """

    generator: Generator
    discriminator: Discriminator | None
    family: str
    format: str
    source: str
    size: int
    sha256: str = ""
    assumed: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    notice: str = ""
    unknown: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing out of a file may steer a terminal."""
        self.family, self.source, self.sha256 = (without_controls(text) for text in (self.family, self.source, self.sha256))
        self.assumed, self.notes, self.unknown = ([*map(without_controls, texts)] for texts in (self.assumed, self.notes, self.unknown))
        self.notice = "\n".join(without_controls(line) for line in self.notice[:10_000].splitlines())
        self.facts = {
            name: [*map(without_controls, value)] if isinstance(value, list) else without_controls(value)
            for name, value in self.facts.items()
        }

    @property
    def seed_style(self) -> str:
        """How its family draws z from a seed: "nvidia" or "torch"."""
        return self.generator.seed_style

    def architecture(self) -> dict[str, Any]:
        """The generator in words, by name."""
        generator, config = self.generator, self.generator.config
        height, width = generator.picture_size
        channels = {res: generator.synthesis.channels(res) for res in generator.synthesis.block_resolutions}
        return {
            "architecture": "StyleGAN2, skip generator",
            "pictures": f"{width}x{height}, {generator.img_channels} channel{'s' if generator.img_channels > 1 else ''}",
            "mapping": f"{generator.mapping.num_layers} layers, z {generator.z_dim}, w {generator.w_dim}",
            "classes": self._classes(),
            "channels": ", ".join(f"{res}: {count}" for res, count in channels.items())
            + f" (channel_base {config['channel_base']}, channel_max {config['channel_max']})",
            "clamp": "none" if config["conv_clamp"] is None else f"{config['conv_clamp']:g}",
            "half precision": f"the {generator.num_fp16_res} highest resolutions" if generator.num_fp16_res else "none",
            "parameters": f"{sum(p.numel() for p in generator.parameters()):,}",
            "discriminator": "yes" if self.discriminator is not None else "none",
            "seeds": f"drawn as {generator.seed_style} does (proxymask import FILE --seed-style changes it)",
        }

    def _classes(self) -> str:
        if not self.generator.c_dim:
            return "none"
        chosen = int(self.generator.mapping.class_index)
        return f"{self.generator.c_dim}, " + (f"class {chosen} chosen" if chosen >= 0 else "none chosen")

    def about(self) -> dict[str, Any]:
        """All that is known of the source, as JSON, for ``import.json`` and for the bundle's card."""
        return {
            "source": self.source,
            "family": self.family,
            "format": self.format,
            "size": self.size,
            "sha256": self.sha256,
            "proxymask": __version__,
            **self.facts,
            "assumed": self.assumed,
            "notes": self.notes,
            "not understood": self.unknown,
            "licence notice": self.notice,
            "licence": NON_COMMERCIAL if self.family.startswith("NVIDIA") else "the file says nothing: ask where you got it",
        }

    def text(self) -> str:
        """Everything, for people."""
        lines = [f"{self.source}: {self.family}, {self.format}, {self.size / 1e6:,.1f} MB"]
        lines += [f"sha256: {self.sha256}"] if self.sha256 else []
        lines += [f"{name}: {value}" for name, value in self.architecture().items()]
        lines += [f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in self.facts.items()]
        lines += [f"assumed (the file does not say): {'; '.join(self.assumed)}"] if self.assumed else []
        lines += [f"note: {note}" for note in self.notes]
        if self.unknown:
            lines.append(f"kept inert, not understood: {', '.join(self.unknown[:8])}{' ...' if len(self.unknown) > 8 else ''}")
        if self.notice:
            lines += ["licence notice in the file:", *(f"  {line}" for line in self.notice.splitlines() if line)]
        lines += [f"licence: {NON_COMMERCIAL}"] if self.family.startswith("NVIDIA") else []
        return "\n".join(lines)


@checked
def save_import(imported: Imported, out: str | Path) -> Path:
    """Write a folder that every verb takes as a generator: ``generator/``, ``discriminator/`` where there is one, ``import.json``.

    The folder is written under another name and takes its place at the end; an earlier import there is replaced.

    Raises:
        ProxymaskError: ``out`` is a file or holds something else, or cannot be written.
    """
    out = Path(out)
    if out.is_file():
        raise ProxymaskError(f"--out {out} is a file: name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / IMPORT_JSON).is_file():
        raise ProxymaskError(f"--out {out} is not empty and holds no import: choose another folder")
    real = real_folder(out)
    temporary = real.with_name(f".{real.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        imported.generator.save_pretrained(temporary / "generator")
        if imported.discriminator is not None:
            imported.discriminator.save_pretrained(temporary / "discriminator")
        write_json(temporary / IMPORT_JSON, imported.about())
        (temporary / "README.md").write_text(
            f"# {imported.source}\n\n```\n{imported.text()}\n```\n", encoding="utf-8", errors="backslashreplace"
        )
        replace_folder(temporary, real)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise cannot_write(f"--out {out}", error, "another folder") from None
    return out
