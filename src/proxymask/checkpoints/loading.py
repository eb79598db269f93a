"""``open_checkpoint``: a file of any supported family to this package's generator. Nothing in the file is run."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch

from ..core.checks import ClassNumber, Range, checked
from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..models.discriminator import Discriminator
from ..models.stylegan2 import Generator, check_seed_style, seed_to_z
from .formats import genforce, native, nvidia, rosinality, tensorflow
from .formats.conversion import Choices, Conversion, NetworkWeights
from .formats.unsupported import explain_refusal
from .identify import FileInfo, identify
from .imported import Imported
from .safe_pickle.budget import DEFAULT_LIMITS, Budget
from .safe_pickle.messages import file_errors
from .torch_file import read_torch

Model = TypeVar("Model", bound=ConfigModel)
FAMILIES = (nvidia, tensorflow, rosinality, genforce)
MOST_CHANNELS = 4  # of pictures: colours with alpha
MEAN_W_SAMPLES = 4096  # for an average of w that a file lacks; as many as rosinality's scripts draw


@checked
def open_checkpoint(
    path: str | Path,
    *,
    class_index: ClassNumber | None = None,
    seed_style: str | None = None,
    lr_multiplier: Annotated[float, Range(0, 1000, above=True)] | None = None,
    final_tanh: bool = False,
    strict: bool = False,
    sha256: bool = True,
    info: FileInfo | None = None,
) -> Imported:
    """Open a StyleGAN2 checkpoint of any supported family, by what is in it.

    Args:
        path: a ``.pkl``, ``.pt`` or ``.pth``, or a folder that this package wrote.
        class_index: of a class-conditional generator, the class that is taken where none is given.
        seed_style: "nvidia" or "torch" in place of the family's own, see :func:`~proxymask.models.stylegan2.seed_to_z`.
        lr_multiplier: of the mapping network, for a file that does not say it; where None, the scale of its weights tells.
        final_tanh: for a genforce or Hammer file that does not say whether its pictures end in a tanh.
        strict: refuse a file with anything in it that is not understood, needed or not.
        sha256: also hash the file.
        info: the result of :func:`~.identify.identify` for the file; where None, it is identified here.

    Raises:
        ProxymaskError: no checkpoint, damaged, malicious, or of another architecture; the message names which.
    """
    path = Path(path)
    if lr_multiplier is not None and not 0 < lr_multiplier < float("inf"):
        raise ProxymaskError(f"--lr-multiplier {lr_multiplier}: wanted a finite number above 0")
    folder, choices = native.folder_of(path), Choices(lr_multiplier, final_tanh)
    if folder is not None:
        if choices != Choices():
            raise ProxymaskError(f"{path}: a folder of proxymask says all of its settings: leave out --lr-multiplier and --final-tanh")
        result = _open_native(path, folder)
    else:
        info = info or identify(path)
        result = _open_file(info.with_sha256() if sha256 else info, strict, choices)
    with file_errors(path):
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
        family=_text(about, "family", native.FAMILY),
        format="proxymask folder",
        source=_text(about, "source", path.name),
        size=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        sha256=_text(about, "sha256"),
        assumed=_texts(about.get("assumed")),
        notes=_texts(about.get("notes")),
        facts={"networks": _texts(about.get("networks")), "generator taken": _text(about, "generator taken")} if about else {},
        notice=_text(about, "licence notice"),
        unknown=_texts(about.get("not understood")),
    )


def _text(about: dict[str, object], key: str, default: str = "") -> str:
    value = about.get(key, default)
    return value if isinstance(value, str) else default


def _texts(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _open_file(info: FileInfo, strict: bool, choices: Choices) -> Imported:
    checkpoint = read_torch(info.path, info=info)
    with file_errors(info.path):
        if strict:
            checkpoint.report.require_known()
        found = _convert(checkpoint.object, choices)
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


def _convert(contents: Any, choices: Choices) -> Conversion:
    """What the first family that knows the file makes of it."""
    for family in FAMILIES:
        result = family.read(contents, choices)
        if result is not None:
            if choices.final_tanh and family is not genforce:
                raise ProxymaskError(f"--final-tanh: {result.family} has no such option, leave the flag out")
            return result
    raise ProxymaskError(explain_refusal(contents))


def _build_generator(found: Conversion) -> Generator:
    weights = found.generator
    weights.config["seed_style"] = found.seed_style
    if found.mean_w_missing:
        _check_mean_w_size(weights)
        weights.tensors["mapping.w_avg"] = torch.zeros(weights.config["w_dim"])
    if weights.config["img_channels"] > MOST_CHANNELS:
        raise ProxymaskError(
            f"it makes {weights.config['img_channels']} channels, which are no pictures: it is a part of a larger network, as of EG3D"
        )
    generator = _build(Generator, weights, "generator")
    if found.mean_w_missing:
        found.assumed.append(f"average of w, for truncation (the file has none: the mean of {MEAN_W_SAMPLES:,} latents)")
        _set_mean_w(generator)
    if found.tanh_unknown:
        _note_range(generator, found)
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
        with file_errors():
            return _build(Discriminator, found.discriminator, "discriminator")
    except ProxymaskError as error:
        found.notes.append(f"the discriminator is left out: {error.message}")
        return None


def _build(kind: type[Model], weights: NetworkWeights, what: str) -> Model:
    """A network with exactly these tensors, float32, in eval mode, gradients off."""
    if weights.config.get("c_dim"):
        weights.tensors.setdefault("mapping.class_index", torch.tensor(-1))
    return kind.from_tensors(weights.config, weights.tensors, f"its {what}")


def _check_mean_w_size(weights: NetworkWeights) -> None:
    """Refuse a mapping network whose latents and classes are so wide, for so small a file, that an average of w takes much memory."""
    sides = [weights.config["z_dim"], weights.config["c_dim"], *(side for value in weights.tensors.values() for side in value.shape[:1])]
    budget = Budget(DEFAULT_LIMITS, sum(value.nbytes for value in weights.tensors.values()))
    budget.charge_bytes(4 * MEAN_W_SAMPLES * max(sides))


@torch.no_grad()
def _note_range(generator: Generator, found: Conversion) -> None:
    """Say so where the values of a picture lie far beyond [-1, 1], as only those of a network do that was trained with a final tanh."""
    if max(generator.picture_size) > 1024:  # where a picture takes minutes
        return
    c = torch.nn.functional.one_hot(torch.tensor([0]), generator.c_dim).float() if generator.c_dim else None
    share = float((generator(generator.z([0]), c).abs() > 1.5).float().mean())
    if share > 0.01:
        found.notes.append(
            f"{100 * share:.0f} % of the values of a picture lie beyond 1.5 (pictures are in [-1, 1]), which tells of a final tanh in "
            "training: if so, these pictures are wrong: proxymask import FILE --final-tanh"
        )


@torch.no_grad()
def _set_mean_w(generator: Generator) -> None:
    """Set ``w_avg`` (w_dim,) to the mean of w over latents of a fixed seed, for a conditional generator over all classes in turn."""
    z = seed_to_z([0], generator.z_dim * MEAN_W_SAMPLES, "torch").view(MEAN_W_SAMPLES, generator.z_dim)
    c = None
    if generator.c_dim:
        c = torch.nn.functional.one_hot(torch.arange(MEAN_W_SAMPLES) % generator.c_dim, generator.c_dim).float()
    generator.mapping.w_avg.copy_(generator.mapping(z, c).mean(dim=0))
