"""``open_checkpoint``: a file of any supported family to this package's generator. Nothing in the file is run."""

from pathlib import Path
from typing import Any, TypeVar

import torch

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..models.discriminator import Discriminator
from ..models.stylegan2 import Generator, check_seed_style, seed_to_z
from .formats import genforce, native, nvidia, rosinality, tensorflow
from .formats.conversion import Conversion, NetworkWeights
from .formats.unsupported import explain_refusal
from .identify import FileInfo, identify
from .imported import Imported
from .safe_pickle.messages import prefix_errors
from .torch_file import read_torch

Model = TypeVar("Model", bound=ConfigModel)
FAMILIES = (nvidia, tensorflow, rosinality, genforce)
MEAN_W_SAMPLES = 4096  # for an average of w that a file lacks; as many as rosinality's scripts draw


def open_checkpoint(
    path: str | Path,
    *,
    class_index: int | None = None,
    seed_style: str | None = None,
    strict: bool = False,
    sha256: bool = True,
    info: FileInfo | None = None,
) -> Imported:
    """Open a StyleGAN2 checkpoint of any supported family, by what is in it.

    Args:
        path: a ``.pkl``, ``.pt`` or ``.pth``, or a folder that this package wrote.
        class_index: of a class-conditional generator, the class that is taken where none is given.
        seed_style: "nvidia" or "torch" in place of the family's own, see :func:`~proxymask.models.stylegan2.seed_to_z`.
        strict: refuse a file with anything in it that is not understood, needed or not.
        sha256: also hash the file.
        info: the result of :func:`~.identify.identify` for the file; where None, it is identified here.

    Raises:
        ProxymaskError: no checkpoint, damaged, malicious, or of another architecture; the message names which.
    """
    path = Path(path)
    folder = native.folder_of(path)
    if folder is not None:
        result = _open_native(path, folder)
    else:
        info = info or identify(path)
        result = _open_file(info.with_sha256() if sha256 else info, strict)
    with prefix_errors(path):
        if class_index is not None:
            result.generator.choose_class(class_index)
            if result.discriminator is not None:
                result.discriminator.choose_class(class_index)
        if seed_style is not None:
            result.generator.seed_style = check_seed_style(seed_style)
            result.generator.config["seed_style"] = seed_style
    return result


def _open_native(path: Path, folder: Path) -> Imported:
    """The generator in a folder of this package, with what its import knew."""
    generator, discriminator, about = native.read(folder)
    return Imported(
        generator,
        discriminator,
        family=str(about.get("family", native.FAMILY)),
        format="proxymask folder",
        source=str(about.get("source", path.name)),
        size=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        sha256=str(about.get("sha256", "")),
        assumed=_texts(about.get("assumed")),
        notes=_texts(about.get("notes")),
        facts={key: about[key] for key in ("networks", "generator taken") if key in about},
        notice=str(about.get("licence notice", "")),
        unknown=_texts(about.get("not understood")),
    )


def _texts(value: object) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _open_file(info: FileInfo, strict: bool) -> Imported:
    checkpoint = read_torch(info.path, info=info)
    with prefix_errors(info.path):
        if strict:
            checkpoint.report.require_known()
        found = _convert(checkpoint.object)
        generator = _build_generator(found)
        discriminator = _build_discriminator(found, generator)
        return Imported(
            generator,
            discriminator,
            family=found.family,
            format=checkpoint.format,
            source=info.path.name,
            size=info.size,
            sha256=info.sha256,
            assumed=found.assumed,
            notes=found.notes,
            facts=found.facts,
            notice=found.notice or "\n".join(checkpoint.report.notices[:1]),
            unknown=sorted(checkpoint.report.unknown),
        )


def _convert(contents: Any) -> Conversion:
    """What the first family that knows the file makes of it."""
    for family in FAMILIES:
        result = family.read(contents)
        if result is not None:
            return result
    raise ProxymaskError(explain_refusal(contents))


def _build_generator(found: Conversion) -> Generator:
    weights = found.generator
    weights.config["seed_style"] = found.seed_style
    if found.mean_w_missing:
        weights.tensors["mapping.w_avg"] = torch.zeros(weights.config["w_dim"])
    generator = _build(Generator, weights, "generator")
    if found.mean_w_missing:
        found.assumed.append(f"average of w, for truncation (the file has none: the mean of {MEAN_W_SAMPLES:,} latents)")
        _set_mean_w(generator)
    return generator


def _build_discriminator(found: Conversion, generator: Generator) -> Discriminator | None:
    """The file's discriminator; None, with a note, where it does not fit."""
    if found.discriminator is None:
        return None
    config = found.discriminator.config
    if (config["resolution"], config["img_channels"]) != (generator.resolution, generator.img_channels):
        found.notes.append("the discriminator is left out: it judges other pictures than the generator makes")
        return None
    try:
        return _build(Discriminator, found.discriminator, "discriminator")
    except ProxymaskError as error:
        found.notes.append(f"the discriminator is left out: {error}")
        return None


def _build(kind: type[Model], weights: NetworkWeights, what: str) -> Model:
    """A network with exactly these tensors, float32, in eval mode, gradients off."""
    model = kind(**weights.config)
    wanted, tensors = model.state_dict(), weights.tensors
    if "mapping.class_index" in wanted:
        tensors.setdefault("mapping.class_index", torch.tensor(-1))
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    wrong = sorted(name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape)
    if missing or extra or wrong:
        raise ProxymaskError(
            f"its {what} is no whole StyleGAN2: missing {missing[:3]}, unknown {extra[:3]}, of another shape {wrong[:3]} "
            f"({len(missing)}, {len(extra)}, {len(wrong)} in all): get a whole checkpoint"
        )
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ProxymaskError(
            f"its {what} has values that are not finite ({bad[0]}): the file is damaged, or its training failed; get another"
        )
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _set_mean_w(generator: Generator) -> None:
    """Set ``w_avg`` (w_dim,) to the mean of w over latents of a fixed seed, for a conditional generator over all classes in turn."""
    z = seed_to_z([0], generator.z_dim * MEAN_W_SAMPLES, "torch").view(MEAN_W_SAMPLES, generator.z_dim)
    c = None
    if generator.c_dim:
        c = torch.nn.functional.one_hot(torch.arange(MEAN_W_SAMPLES) % generator.c_dim, generator.c_dim).float()
    generator.mapping.w_avg.copy_(generator.mapping(z, c).mean(dim=0))
