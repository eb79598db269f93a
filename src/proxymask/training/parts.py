"""The networks and pictures that a stage is given: found in run folders, bundles and checkpoints, and checked against each other."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..checkpoints.formats.native import source_of
from ..checkpoints.loading import open_checkpoint
from ..core.config_model import ConfigModel
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..core.sizes import Size, size_text
from ..data.dataset import ImageSet
from ..inference.find import EMBEDDED, list_bundles
from ..models.depth_net import DepthNet
from ..models.discriminator import Discriminator
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from .adversarial import Pictures
from .checkpoint import checkpoints, steps_done
from .distributed import is_main, main_first
from .run_dirs import mark_of

Model = TypeVar("Model", bound=ConfigModel)
EXTRACTOR = "extractor"  # folder of the extractor network in the run of a mapper that learned from one of the user's own making


@dataclasses.dataclass(frozen=True)
class Frozen:
    """The networks that turn a style and a proxy mask into a picture, frozen: in eval mode, without gradients."""

    split: SplitGenerator
    clusters: ProxyClusters
    rearranger: Rearranger

    def __post_init__(self) -> None:
        for module in self.modules:
            module.eval().requires_grad_(False)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All three."""
        return self.split, self.clusters, self.rearranger

    def to(self, device: torch.device) -> None:
        """Move all three."""
        for module in self.modules:
            to_device(module, device)


def find_part(path: str | Path, name: str) -> Path:
    """The folder of a network: ``path`` itself, or ``<path>/<name>`` where ``path`` is a run, a bundle, or an embedded bundle's name.

    Raises:
        ProxymaskError: no such folder, a run that has not finished, a folder without this network.
    """
    folder = Path(path)
    if not folder.exists() and str(path) in list_bundles():
        folder = EMBEDDED / str(path)
    if not folder.is_dir():
        raise ProxymaskError(f"{path} is not a folder" if folder.exists() else f"{path} does not exist")
    for candidate in (folder, folder / name):
        if (candidate / "config.json").is_file():
            return candidate
    if mark_of(folder) is None and checkpoints(folder):
        raise ProxymaskError(f"the run in {path} has not finished (step {steps_done(folder)}): run its command again first")
    raise ProxymaskError(f"{path} holds no {name}: give the folder of a run, of a saved network, or of a bundle")


def load_extractor(run: Path) -> DepthNet | None:
    """The extractor network that the run of a mapper keeps; None where it keeps none."""
    return DepthNet.from_pretrained(run / EXTRACTOR) if (run / EXTRACTOR).is_dir() else None


def load_part(path: str | Path, name: str, kind: type[Model]) -> Model:
    """The network that :func:`find_part` finds, in eval mode, float32.

    Generators and discriminators are also read from checkpoints of other projects.
    """
    if Path(path).is_file() and kind in (Generator, Discriminator):
        opened = open_checkpoint(path, sha256=False)
        found = opened.generator if kind is Generator else opened.discriminator
        if not isinstance(found, kind):
            raise ProxymaskError(f"{path} holds no {name}" + "".join(f"; {note}" for note in opened.notes))
        return found
    return kind.from_pretrained(find_part(path, name))


def open_generator(path: str | Path, class_index: int | None = None) -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    """A generator, its discriminator if there is one, and what is known of its source.

    Args:
        path: a run, a saved network, a bundle or its name, an import, or a checkpoint of another project.
        class_index: the class of a class-conditional generator.
    """
    if Path(path).is_file():
        opened = open_checkpoint(path, class_index=class_index)
        return opened.generator, opened.discriminator, opened.about()
    part = find_part(path, "generator")
    generator = Generator.from_pretrained(part)
    discriminator = matching_discriminator(path, "generator", generator)
    if class_index is not None:
        generator.choose_class(class_index)
        if discriminator is not None:
            discriminator.choose_class(class_index)
    return generator, discriminator, source_of(part)


def source_notes(path: str | Path, origin: dict[str, Any]) -> list[str]:
    """What a checkpoint of another project does not say and was assumed, and what was noticed; nothing for folders of this project."""
    if not Path(path).is_file():
        return []
    assumed = [str(entry) for entry in origin.get("assumed", [])]
    said = [f"{path}: assumed, as the file does not say it: {'; '.join(assumed)}"] if assumed else []
    return said + [f"{path}: {note}" for note in origin.get("notes", [])]


def matching_discriminator(path: str | Path, name: str, generator: Generator) -> Discriminator | None:
    """The discriminator that was trained with the network ``name`` in the folder ``path``, if it fits the pictures of ``generator``."""
    part = find_part(path, name)
    for folder in (part / "discriminator", part.parent / "discriminator"):
        if (folder / "config.json").is_file():
            found = Discriminator.from_pretrained(folder)
            return found if found.picture_size == generator.picture_size else None
    return None


def open_pictures(path: str | Path, size: Size | None, progress: Callable[[int, int], None] | None = None) -> ImageSet:
    """A prepared set, or a folder of pictures that is prepared now at ``size``, by process 0 alone."""
    with main_first():
        return ImageSet.open(path, size, progress if is_main() else None)


def pictures_id(pictures: Pictures | None) -> str:
    """The name of a set of real pictures in an identity; "samples" where samples of the generator take their place."""
    return pictures.fingerprint[:16] if isinstance(pictures, ImageSet) else "samples"


def check_compatible(split: SplitGenerator, clusters: ProxyClusters, rearranger: Rearranger | None = None) -> None:
    """A :class:`ProxymaskError` where clusters or rearranger belong to another generator or cut."""
    if (clusters.channels, clusters.size) != (split.channels, split.size):
        raise ProxymaskError(
            f"these clusters read {clusters.channels} channels at {size_text(clusters.size)}, the generator has {split.channels} at "
            f"{size_text(split.size)}: cluster this generator's features (proxymask cluster)"
        )
    if rearranger is None:
        return
    have = (rearranger.channels, rearranger.size, rearranger.num_clusters)
    if have != (split.channels, split.size, clusters.num_clusters):
        raise ProxymaskError(
            f"this rearranger was trained for other features or clusters ({have[0]} channels at {size_text(have[1])}, {have[2]} clusters): "
            "train one for these"
        )


def check_class(generator: Generator) -> None:
    """A :class:`ProxymaskError` where ``generator`` has classes and none is chosen."""
    if generator.c_dim:
        generator.mapping(torch.zeros(1, generator.z_dim))


def check_colours(generator: Generator) -> None:
    """A :class:`ProxymaskError` where ``generator`` makes no RGB pictures, so that real pictures cannot be compared with its samples."""
    if generator.img_channels != 3:
        raise ProxymaskError(
            f"--images are in colours, this generator makes pictures of {generator.img_channels} channels: give no --images, or "
            "another generator"
        )


def match_class(discriminator: Discriminator, generator: Generator) -> None:
    """Choose the generator's class in a class-conditional ``discriminator``.

    Raises:
        ProxymaskError: the generator has other classes, or none.
    """
    if discriminator.mapping is None:
        return
    if discriminator.c_dim != generator.c_dim:
        raise ProxymaskError(
            f"this discriminator knows {discriminator.c_dim} classes, the generator {generator.c_dim}: leave --discriminator out, or give "
            "the generator's own"
        )
    discriminator.choose_class(int(generator.mapping.class_index))
