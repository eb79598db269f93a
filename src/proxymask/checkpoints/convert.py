"""``open_checkpoint``: any supported file to this package's generator, and what is known of it; :func:`save_import` writes the folder."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from .. import __version__
from ..errors import ProxymaskError
from ..generators.stylegan2 import Discriminator, Generator, check_seed_style, seed_to_z
from ..modeling import ConfigModel, replace_folder, write_json
from .detect import FileFacts, describe_file, sniff
from .formats import genforce, native, nvidia, rosinality, tensorflow
from .formats.parts import Found, Network
from .limits import Limits, naming, printable
from .torchfile import read_torch

Model = TypeVar("Model", bound=ConfigModel)
FAMILIES = (nvidia, tensorflow, rosinality, genforce)
MEAN_SAMPLES = 4096  # for an average of w that a file lacks; as many as rosinality's scripts draw
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
        sha256: of the file, 64 hex digits; "" for folders.
        size: of the file in bytes.
        source: its name.
        assumed: what neither the file says nor its shapes show, one phrase each.
        notes: what was left out or replaced, one phrase each.
        facts: more about the file, by name.
        notice: the licence notice that the file carries, "" without one.
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

    @property
    def seed_style(self) -> str:
        """How its family draws z of a seed."""
        return self.generator.seed_style

    def architecture(self) -> dict[str, Any]:
        """The generator in words, by name."""
        generator, config = self.generator, self.generator.config
        height, width = generator.picture_size
        widths = {res: generator.synthesis.block(res).conv1.weight.shape[0] for res in generator.synthesis.block_resolutions}
        chosen = int(generator.mapping.class_index) if generator.c_dim else -1
        return {
            "architecture": "StyleGAN2, skip generator",
            "pictures": f"{width}x{height}, {generator.img_channels} channel{'s' if generator.img_channels > 1 else ''}",
            "mapping": f"{generator.mapping.num_layers} layers, z {generator.z_dim}, w {generator.w_dim}",
            "classes": f"{generator.c_dim}" + (f", class {chosen} chosen" if chosen >= 0 else ", none chosen")
            if generator.c_dim
            else "none",
            "channels": ", ".join(f"{res}: {count}" for res, count in widths.items())
            + f" (channel_base {config['channel_base']}, channel_max {config['channel_max']})",
            "clamp": "none" if config["conv_clamp"] is None else f"{config['conv_clamp']:g}",
            "half precision": f"the {generator.num_fp16_res} highest resolutions" if generator.num_fp16_res else "none",
            "parameters": f"{sum(p.numel() for p in generator.parameters()):,}",
            "discriminator": "yes" if self.discriminator is not None else "none",
            "seeds": f"drawn as {generator.seed_style} does (--seed-style)",
        }

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
        lines += [f"assumed (the family's default, the file does not say): {'; '.join(self.assumed)}"] if self.assumed else []
        lines += [f"note: {note}" for note in self.notes]
        lines += (
            [f"kept inert, not understood: {', '.join(self.unknown[:8])}{' ...' if len(self.unknown) > 8 else ''}"] if self.unknown else []
        )
        if self.notice:
            lines += ["licence notice in the file:", *(f"  {line}" for line in self.notice.splitlines() if line)]
        lines += [f"licence: {NON_COMMERCIAL}"] if self.family.startswith("NVIDIA") else []
        return "\n".join(lines)


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a file that is opened here rather than a picture, a mask or JSON."""
    if not path.is_file():
        return False
    return path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".tar", ".onnx") or sniff(path).problem is None


def open_checkpoint(
    path: str | Path,
    *,
    class_index: int | None = None,
    seed_style: str | None = None,
    strict: bool = False,
    limits: Limits = Limits(),  # noqa: B008
    sha256: bool = True,
) -> Imported:
    """Open a StyleGAN2 checkpoint of any supported family, by what is in it. Nothing in it is run.

    Args:
        path: a ``.pkl``, ``.pt`` or ``.pth``, or a folder that this package wrote.
        class_index: of a class-conditional generator, the class that is taken where none is given.
        seed_style: "nvidia" or "torch" in place of the family's own, see :func:`~proxymask.generators.stylegan2.seed_to_z`.
        strict: refuse a file with anything in it that is not understood, needed or not.
        limits: what reading it may cost.
        sha256: also hash the file.

    Raises:
        ProxymaskError: no checkpoint (says what it is), damaged, hostile, another architecture (says which).
    """
    path = Path(path)
    folder = native.folder_of(path)
    if folder is not None:
        result = _open_native(path, folder)
    else:
        facts = describe_file(path) if sha256 else sniff(path)
        checkpoint = read_torch(path, limits)
        with naming(path):
            if strict:
                checkpoint.report.require_known()
            found = _recognise(checkpoint.object)
            result = _build(path, facts, checkpoint.format, found)
            result.unknown = sorted(checkpoint.report.unknown)
            if not result.notice:
                result.notice = "\n".join(checkpoint.report.notices[:1])
    with naming(path):
        if class_index is not None:
            result.generator.choose_class(class_index)
            if result.discriminator is not None:
                result.discriminator.choose_class(class_index)
        if seed_style is not None:
            result.generator.seed_style = check_seed_style(seed_style)
            result.generator.config["seed_style"] = seed_style
    return result


def _open_native(path: Path, folder: Path) -> Imported:
    generator, discriminator, about = native.read(folder)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    kept: dict[str, Any] = {key: about[key] for key in ("networks", "generator taken") if key in about}
    return Imported(
        generator,
        discriminator,
        str(about.get("family", native.FAMILY)),
        "proxymask folder",
        str(about.get("source", path.name)),
        size,
        sha256=str(about.get("sha256", "")),
        assumed=[str(entry) for entry in _listed(about.get("assumed"))],
        notes=[str(entry) for entry in _listed(about.get("notes"))],
        facts=kept,
        notice=str(about.get("licence notice", "")),
        unknown=[str(entry) for entry in _listed(about.get("not understood"))],
    )


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _recognise(found: Any) -> Found:
    for family in FAMILIES:
        result = family.read(found)
        if result is not None:
            return result
    raise ProxymaskError(_refusal(found))


def _names(found: Any, depth: int = 2) -> list[str]:
    """Keys of a mapping and of the mappings in it, joined by dots."""
    out = []
    for key, value in found.items() if isinstance(found, Mapping) else ():
        out.append(str(key))
        if depth and isinstance(value, Mapping) and len(value) < 100_000:
            out += [f"{key}.{name}" for name in _names(value, depth - 1)]
    return out


def _refusal(found: Any) -> str:
    """What a file is that is no StyleGAN2 of a known family, and what to do."""
    names = _names(found)

    def has(*parts: str) -> bool:
        return all(any(part in name for name in names) for part in parts)

    if has("G.initial_block") or has("S.net.0", "G.blocks."):
        return (
            "this is a checkpoint of lucidrains' stylegan2-pytorch, another architecture (no noise weights by layer, other blocks, its own "
            "style network): it cannot be converted; train with NVIDIA's or rosinality's code, or with proxymask train generator"
        )
    if has("progression.0.") or has("generator.progression"):
        return "this is StyleGAN1 of rosinality's style-based-gan-pytorch, another architecture: only StyleGAN2 is supported"
    if has("synthesis.input.freqs") or has("synthesis.input.affine"):
        return "this is a StyleGAN3 generator, which has no blocks to cut and no noise: only StyleGAN2 is supported"
    if has("g_synthesis.") or has("epi1.style_mod"):
        return "this is StyleGAN1, another architecture: only StyleGAN2 is supported"
    if has("time_embed") or has("model.diffusion_model"):
        return "this is a diffusion model, another architecture: only StyleGAN2 generators are supported"
    if names:
        shown = ", ".join(printable(name, 40) for name in names[:4])
        return f"it holds no StyleGAN2 generator that is known here; it begins with {shown}: see the page on bringing your own generator"
    return f"it holds a {printable(type(found).__name__)}, no networks: give the checkpoint of a StyleGAN2 generator"


def _build(path: Path, file: FileFacts, form: str, found: Found) -> Imported:
    found.generator.config["seed_style"] = found.seed_style
    missing = found.mean_w_missing
    if missing:
        found.generator.tensors["mapping.w_avg"] = torch.zeros(found.generator.config["w_dim"])
    generator = _filled(Generator, found.generator, "generator")
    if missing:
        found.assumed.append(f"average of w, for truncation (the file has none: the mean of {MEAN_SAMPLES:,} latents)")
        _set_mean(generator)
    discriminator = None
    if found.discriminator is not None:
        config = found.discriminator.config
        if (config["resolution"], config["img_channels"]) != (generator.resolution, generator.img_channels):
            found.notes.append("the discriminator is left out: it judges other pictures than the generator makes")
        else:
            try:
                discriminator = _filled(Discriminator, found.discriminator, "discriminator")
            except ProxymaskError as error:
                found.notes.append(f"the discriminator is left out: {error}")
    return Imported(
        generator,
        discriminator,
        found.family,
        form,
        path.name,
        file.size,
        file.sha256,
        assumed=found.assumed,
        notes=found.notes,
        facts=found.facts,
        notice=found.notice,
    )


def _filled(kind: type[Model], network: Network, what: str) -> Model:
    """A network with these tensors: all of them, and none else."""
    model = kind(**network.config)
    wanted = model.state_dict()
    if "mapping.class_index" in wanted:
        network.tensors.setdefault("mapping.class_index", torch.tensor(-1))
    missing, extra = sorted(wanted.keys() - network.tensors.keys()), sorted(network.tensors.keys() - wanted.keys())
    wrong = sorted(name for name in wanted.keys() & network.tensors.keys() if wanted[name].shape != network.tensors[name].shape)
    if missing or extra or wrong:
        raise ProxymaskError(
            f"its {what} is no whole StyleGAN2: missing {missing[:3]}, unknown {extra[:3]}, of another shape {wrong[:3]} "
            f"({len(missing)}, {len(extra)}, {len(wrong)} in all)"
        )
    bad = [name for name, value in network.tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ProxymaskError(f"its {what} has values that are not finite ({bad[0]}): the file is damaged, or its training had failed")
    model.load_state_dict(network.tensors)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _set_mean(generator: Generator) -> None:
    """The average of w over latents of a fixed seed, for a conditional generator over all classes in turn."""
    z = seed_to_z([0], generator.z_dim * MEAN_SAMPLES, "torch").view(MEAN_SAMPLES, generator.z_dim)
    c = None
    if generator.c_dim:
        c = torch.nn.functional.one_hot(torch.arange(MEAN_SAMPLES) % generator.c_dim, generator.c_dim).float()
    generator.mapping.w_avg.copy_(generator.mapping(z, c).mean(dim=0))


def save_import(imported: Imported, out: str | Path) -> Path:
    """Write a folder that every verb takes as a generator: ``generator/``, ``discriminator/`` where there is one, ``import.json``.

    The folder is written under another name and takes its place at the end; an earlier import there is replaced.

    Raises:
        ProxymaskError: ``out`` is a file or holds something else, or cannot be written.
    """
    out = Path(out)
    if out.is_file():
        raise ProxymaskError(f"{out} is a file: --out names a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / native.ABOUT).is_file():
        raise ProxymaskError(f"{out} is not empty and holds no import: choose another --out")
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        imported.generator.save_pretrained(temporary / "generator")
        if imported.discriminator is not None:
            imported.discriminator.save_pretrained(temporary / "discriminator")
        write_json(temporary / native.ABOUT, imported.about())
        (temporary / "README.md").write_text(f"# {imported.source}\n\n```\n{imported.text()}\n```\n", encoding="utf-8")
        replace_folder(temporary, out)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ProxymaskError(f"cannot write {out} ({error.strerror or error}): make room or choose another --out") from None
    return out
