"""Training of the segmentation networks (pseudo-label network, judge, auxiliary segmenter) on pictures with masks.

Training pictures are augmented (blur, noise, blotches, colour, shift, flip), because the networks are used on *generated* pictures, whose
edges and colours are less clean than those of the training set.

Shapes: B pictures, H x W pixels, N classes.
"""

import dataclasses
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.checks import BatchSize, Checked, Range, Rate
from ..core.config_model import ConfigModel
from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng, permutation
from ..imaging.grids import tile, to_uint8
from ..imaging.labels import LabelSet
from ..metrics.segmentation import ConfusionMatrix
from .loop import LoopConfig, Progress, Run, set_cosine_rate, train

NO_CLASS = 255  # id of pixels without a class in masks of other data sets; no loss and no score counts them

Net = TypeVar("Net", bound=ConfigModel)


class LabeledImages(Protocol):
    """A data set of pictures with masks."""

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        ...

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> masks (B, H, W), int64."""
        ...


def _uniform(rng: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial blur 1-2-1 both ways, edges repeated."""
    y = F.pad(x, (1, 1, 1, 1), mode="replicate")
    y = y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]
    return (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) / 16


def augment(
    images: torch.Tensor, masks: torch.Tensor, rng: torch.Generator, mirrored: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment pictures (B, 3, H, W) in [-1, 1], on the CPU; masks (B, H, W) change with the geometry.

    Each picture is mirrored or not, shifted by up to 1/16 of its side, gets another gain and offset in each colour channel and up to two
    3x3 binomial blurs, and, with probability 1/2 each, smooth noise (as regions of generated pictures are not flat) and pixel noise. All
    random numbers come from ``rng``. ``mirrored`` (256,): what an id becomes in a mirrored picture
    (:attr:`LabelSet.mirrored`); None: itself.
    """
    batch, _, height, width = images.shape

    reach = max(height, width) // 16
    shift = torch.randint(-reach, reach + 1, (2, batch, 1), generator=rng)
    mirror = torch.rand(batch, 1, generator=rng) < 0.5
    rows = (torch.arange(height) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shift[1]).clamp(0, width - 1)
    columns = torch.where(mirror, width - 1 - columns, columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1)
    masks = masks.flatten(1).gather(1, flat[:, 0]).view_as(masks)
    if mirrored is not None:
        masks = torch.where(mirror[:, :, None], mirrored[masks].to(masks), masks)
    images = images.flatten(2).gather(2, flat.expand(-1, 3, -1)).view_as(images)

    gain, offset = _uniform(rng, (batch, 3, 1, 1), 0.75, 1.25), _uniform(rng, (batch, 3, 1, 1), -0.2, 0.2)
    blotches = torch.randn(batch, 3, 8, 8, generator=rng) * _uniform(rng, (batch, 1, 1, 1), -0.1, 0.1).clamp(min=0)
    images = images * gain + offset
    images = images + F.interpolate(blotches, (height, width), mode="bilinear")
    for _ in range(2):
        images = images.lerp(_blur(images), _uniform(rng, (batch, 1, 1, 1), -0.5, 1.0).clamp(min=0))
    grain = torch.randn(images.shape, generator=rng) * _uniform(rng, (batch, 1, 1, 1), -0.1, 0.1).clamp(min=0)
    return (images + grain).clamp(-1, 1), masks


def mirrored_ids(labels: LabelSet | None) -> torch.Tensor | None:
    """:attr:`LabelSet.mirrored` as a tensor; None where the classes are not known, or none has a side."""
    return None if labels is None or labels.mirrored is None else torch.from_numpy(labels.mirrored)


def resample(images: torch.Tensor, smallest: float, rng: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, H, W) of which every second is reduced to a random size, at least ``smallest`` of its side, and enlarged again."""
    shares = torch.rand(len(images) // 2, generator=rng) * (1 - smallest) + smallest
    images, size = images.clone(), images.shape[2:]
    for index, share in enumerate(shares.tolist()):
        small = F.interpolate(images[2 * index, None], [max(1, round(side * share)) for side in size], mode="bilinear", antialias=True)
        images[2 * index] = F.interpolate(small, size, mode="bilinear")[0]
    return images


def class_weights(dataset: LabeledImages, num_classes: int, seed: int = 0, sample: int = 1000, power: float = 0.5) -> torch.Tensor:
    """Cross-entropy weights (N,) proportional to ``frequency ** -power``, their mean over pixels 1; 0 for classes never seen.

    With ``power`` = 1 small parts weigh so much that the network predicts them beyond their edges; lower powers avoid this.
    """
    order = permutation(len(dataset), seed, "class weights")[:sample].tolist()
    counts = torch.zeros(num_classes, dtype=torch.float64)
    for start in range(0, len(order), 100):
        masks = dataset.masks(order[start : start + 100])
        masks = masks[masks != NO_CLASS]
        if masks.numel() and int(masks.max()) >= num_classes:
            raise ProxymaskError(f"a mask holds id {int(masks.max())}, but the network has {num_classes} classes: give it more")
        counts += torch.bincount(masks.flatten(), minlength=num_classes)
    frequency = counts / counts.sum().clamp(min=1)
    weights = torch.where(frequency > 0, frequency.clamp(min=1e-12) ** -power, 0.0)
    return (weights / (weights * frequency).sum().clamp(min=1e-12)).float()


def plain_format(net: nn.Module, device: torch.device) -> None:
    """On the CPU, undo the loop's channels-last format of ``net``, in which GroupNorm's backward pass is slow there."""
    if device.type == "cpu":
        net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(Checked):
    """How a segmentation network is trained."""

    learning_rate: Rate = 0.003
    """Adam; warm-up over 50 steps, then a cosine to zero."""
    balance: Annotated[float, Range(0, 4)] = 0.5
    """Classes weigh as frequency to the minus this power (see :func:`class_weights`)."""
    batch: BatchSize | None = None
    """Pictures a step; None: the loop's batch."""
    smallest: Annotated[float, Range(0.125, 1)] = 1.0
    """Half of the pictures are reduced to a random size, at least this share of their side, and enlarged again; 1: none."""


class SegmentationStage:
    """A segmentation network on augmented pictures with masks.

    Args:
        net: logits (B, N, H, W) from pictures, ``num_classes`` in its config.
        steps: length of the cosine decay.
        sample: masks from which the class weights are taken.
        part: name of the network in checkpoints.

    Raises:
        ProxymaskError: an empty data set.
    """

    name = "segmentation"

    def __init__(
        self,
        net: ConfigModel,
        dataset: LabeledImages,
        config: SegmentationConfig,
        steps: int,
        seed: int = 0,
        sample: int = 1000,
        part: str = "net",
    ) -> None:
        if not len(dataset):
            raise ProxymaskError("the data set is empty: there is nothing to train on")
        self.net, self.dataset, self.config, self.steps = net.requires_grad_(True).train(), dataset, config, steps
        self.seed, self.sample, self.part = seed, sample, part
        self.averaged: tuple[str, ...] = (part,)
        self.modules: dict[str, nn.Module] = {part: net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            part: torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        }

    @cached_property
    def mirrored(self) -> torch.Tensor | None:
        """What each id becomes in a mirrored picture; None where the classes are not known, or none has a side."""
        return mirrored_ids(getattr(self.dataset, "labels", None))

    @cached_property
    def weight(self) -> torch.Tensor:
        """Weights (N,) of the classes."""
        return class_weights(self.dataset, self.net.config["num_classes"], self.seed, self.sample, self.config.balance)

    def batch(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """This process' part of a step's augmented pictures and their masks."""
        indices = torch.randint(len(self.dataset), (self.config.batch or run.config.batch,), generator=run.rng("pictures"))
        images, masks = augment(self.dataset.images(indices), self.dataset.masks(indices), run.rng("augment"), self.mirrored)
        if self.config.smallest < 1:
            images = resample(images, self.config.smallest, run.rng("resample"))
        return run.local_shard(images), run.local_shard(masks)

    def step_kind(self, index: int) -> Hashable:
        return None

    def step(self, run: Run) -> None:
        plain_format(self.net, run.device)
        set_cosine_rate(self.optimizers[self.part], self.config.learning_rate, run.index, self.steps, warmup=50)
        images, masks = self.batch(run)

        def terms() -> Iterator[torch.Tensor]:
            for images_, masks_ in run.microbatches(images, masks):
                with run.autocast():
                    logits = self.net(images_)
                losses = F.cross_entropy(logits.float(), masks_, self.weight.to(run.device), ignore_index=NO_CLASS, reduction="none")
                loss = losses.mean()  # over all pixels: a weighted mean would depend on how a batch is split
                known = masks_ != NO_CLASS
                run.log("loss/cross_entropy", loss)
                run.log("loss/accuracy", (logits.argmax(1) == masks_)[known].float().mean())
                yield loss

        run.update(self.part, terms)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image | None:
        """Rows: augmented pictures, the averaged network's masks, the exact masks; None for a data set without label colours."""
        labels = getattr(self.dataset, "labels", None)
        if labels is None:
            return None
        indices = permutation(len(self.dataset), 0, "grid")[:10]
        images, masks = augment(self.dataset.images(indices), self.dataset.masks(indices), derive_rng(0, "grid augment"), self.mirrored)
        with run.autocast():
            pred = run.averages[self.part](images.to(run.device)).argmax(1).cpu()
        colors = [labels.colors[mask.clamp(max=len(labels) - 1).numpy()] for mask in (pred, masks)]
        return tile([to_uint8(images), *colors], scale=max(1, 128 // images.shape[-1]))


def train_segmentation_net(
    net: Net,
    dataset: LabeledImages,
    loop: LoopConfig,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    config: SegmentationConfig | None = None,
) -> Net:
    """Train ``net``; return it with the averaged weights, in eval mode, without gradients.

    ``out`` becomes a run folder, from which the same call resumes after a stop, and in the end also holds the files of
    ``save_pretrained``. Without ``out`` nothing is stored.

    Args:
        net: logits (B, N, H, W) from pictures, ``num_classes`` in its ``config``.
        dataset: pictures with masks; pixels of id 255 are left out.
        loop: how long, and on what device. Without ``out``, neither grids nor events are made.
        progress: called after every step.

    Raises:
        ProxymaskError: no pictures, ids that the network does not have, or as :func:`~proxymask.training.loop.train` raises.
    """
    config = config or SegmentationConfig()
    if out is None:
        loop = dataclasses.replace(loop, grid_every=0, tensorboard=False)
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "smallest" or value < 1}
    identity = {
        "net": type(net).__name__,
        **net.config,
        **settings,
        "steps": loop.steps,
        "pictures": getattr(dataset, "fingerprint", len(dataset)),
    }
    stage = SegmentationStage(net, dataset, config, loop.steps, loop.seed)
    with tempfile.TemporaryDirectory() if out is None else nullcontext(str(out)) as folder:
        run = train(stage, loop, Path(folder), identity=identity, progress=progress)
    net.load_state_dict(run.averages[stage.part].state_dict())
    unweight(net, stage.weight)
    net.eval().requires_grad_(False)
    if out is not None and run.rank == 0:
        net.save_pretrained(out)
    return net


@torch.no_grad()
def unweight(net: ConfigModel, weight: torch.Tensor) -> None:
    """Remove the effect of class weights v from a trained ``net``: subtract log v from the bias of its last layer.

    A loss weighted by v gives ``p v`` instead of the posterior p. Small classes are only learned with the weights, but with ``p v`` their
    regions are too large.
    """
    head = net.head
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    seen = weight > 0  # the bias of a class that was never seen is low, and stays so
    head.bias[seen] -= weight[seen].to(head.bias).log()


@torch.no_grad()
def evaluate_segmentation_net(
    net: ConfigModel,
    dataset: LabeledImages,
    indices: Sequence[int] | None = None,
    *,
    batch: int = 64,
    device: str = "auto",
    precision: str = "auto",
) -> ConfusionMatrix:
    """Confusion matrix of ``net`` on pictures of ``dataset`` (all, or those of ``indices``), without augmentation.

    Pixels of id 255 are left out.
    """
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    net.to(place).eval()
    matrix = ConfusionMatrix(net.config["num_classes"])
    order = list(range(len(dataset)) if indices is None else indices)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        with autocast(place, dtype):
            pred = net(dataset.images(part).to(place)).argmax(1).cpu()
        masks = dataset.masks(part).cpu()
        known = masks != NO_CLASS
        matrix.update(pred[known], masks[known])
    return matrix
