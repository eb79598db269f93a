"""Training of the segmentation networks (annotator and judge) on pictures with exact masks.

The pictures are disturbed on the way in (blur, noise, blotches, colour, shift, flip), because the networks are to read *generated*
pictures, whose edges and colours are less clean than those they learn from.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.config_model import ConfigModel
from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng
from ..imaging.grids import tile, to_uint8
from ..metrics.segmentation import ConfusionMatrix
from .loop import LoopConfig, Run, set_cosine_rate, train

NO_CLASS = 255  # id of pixels without a class in other people's masks; they teach nothing and are not scored

Net = TypeVar("Net", bound=ConfigModel)


class LabeledImages(Protocol):
    """What training needs of a data set: pictures float (B, 3, H, W) in [-1, 1] and masks int64 (B, H, W) by number."""

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor: ...

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor: ...


def _uniform(rng: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial blur 1-2-1 both ways, edges repeated."""
    y = F.pad(x, (1, 1, 1, 1), mode="replicate")
    y = y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]
    return (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) / 16


def augment(images: torch.Tensor, masks: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Disturb pictures (B, 3, H, W) in [-1, 1], on the CPU; masks (B, H, W) follow where the geometry changes.

    Each picture for itself: mirrored or not, shifted by up to 1/16 of its side, colours stretched and offset a channel at a time,
    and, one picture in two each, blotched (smooth noise, as regions of generated pictures are not flat) and grained; blurred by up to
    two 3x3 binomials. All numbers come from ``rng``.
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
    images = images.flatten(2).gather(2, flat.expand(-1, 3, -1)).view_as(images)

    gain, offset = _uniform(rng, (batch, 3, 1, 1), 0.75, 1.25), _uniform(rng, (batch, 3, 1, 1), -0.2, 0.2)
    blotches = torch.randn(batch, 3, 8, 8, generator=rng) * _uniform(rng, (batch, 1, 1, 1), -0.1, 0.1).clamp(min=0)
    images = images * gain + offset
    images = images + F.interpolate(blotches, (height, width), mode="bilinear")
    for _ in range(2):
        images = images.lerp(_blur(images), _uniform(rng, (batch, 1, 1, 1), -0.5, 1.0).clamp(min=0))
    grain = torch.randn(images.shape, generator=rng) * _uniform(rng, (batch, 1, 1, 1), -0.1, 0.1).clamp(min=0)
    return (images + grain).clamp(-1, 1), masks


def class_weights(dataset: LabeledImages, num_classes: int, seed: int = 0, sample: int = 1000, power: float = 0.5) -> torch.Tensor:
    """Cross-entropy weights (N,) proportional to ``frequency ** -power``, their mean over pixels 1; 0 for classes never seen.

    Powers below 1 are mild: the full inverse frequency makes small parts spill over their edges.
    """
    order = torch.randperm(len(dataset), generator=derive_rng(seed, "class weights"))[:sample].tolist()
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
    """The loop's channels_last makes GroupNorm's backward pass the slowest part on CPUs: undo it there."""
    if device.type == "cpu":
        net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class SegmentationConfig:
    """How a segmentation network learns; the same for annotator and judge."""

    learning_rate: float = 0.003
    """Adam; warm-up over 50 steps, then a cosine to zero."""
    balance: float = 0.5
    """Classes weigh as frequency to the minus this power (see :func:`class_weights`)."""
    batch: int | None = None
    """Pictures a step, where not as many as the loop's."""


class SegmentationStage:
    """A segmentation network on disturbed pictures with exact masks."""

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
        """``net``: logits (B, N, H, W) from pictures, ``num_classes`` in its config; ``steps``: length of the cosine; ``sample``: masks
        that are counted for the weights; ``part``: what the network is called in a run."""
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
    def weight(self) -> torch.Tensor:
        """Weights (N,) of the classes."""
        return class_weights(self.dataset, self.net.config["num_classes"], self.seed, self.sample, self.config.balance)

    def batch(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """This process' share of a step's disturbed pictures and their masks."""
        indices = torch.randint(len(self.dataset), (self.config.batch or run.config.batch,), generator=run.rng("pictures"))
        images, masks = augment(self.dataset.images(indices), self.dataset.masks(indices), run.rng("augment"))
        return run.local_shard(images), run.local_shard(masks)

    def step(self, run: Run) -> None:
        plain_format(self.net, run.device)
        set_cosine_rate(self.optimizers[self.part], self.config.learning_rate, run.index, self.steps, warmup=50)
        images, masks = self.batch(run)

        def terms() -> Iterator[torch.Tensor]:
            for images_, masks_ in run.microbatches(images, masks):
                with run.autocast():
                    logits = self.net(images_)
                losses = F.cross_entropy(logits.float(), masks_, self.weight.to(run.device), ignore_index=NO_CLASS, reduction="none")
                loss = losses.mean()  # over all pixels: a mean over weights would not split evenly over rounds and processes
                known = masks_ != NO_CLASS
                run.log("loss/cross_entropy", loss)
                run.log("loss/accuracy", (logits.argmax(1) == masks_)[known].float().mean())
                yield loss

        run.update(self.part, terms)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image | None:
        """Rows: disturbed pictures, what the averaged network says, the masks; nothing for a set without label colours."""
        labels = getattr(self.dataset, "labels", None)
        if labels is None:
            return None
        indices = torch.randperm(len(self.dataset), generator=derive_rng(0, "grid"))[:10]
        images, masks = augment(self.dataset.images(indices), self.dataset.masks(indices), derive_rng(0, "grid augment"))
        with run.autocast():
            pred = run.averages[self.part](images.to(run.device)).argmax(1).cpu()
        colors = [labels.colors[mask.clamp(max=len(labels) - 1).numpy()] for mask in (pred, masks)]
        return tile([to_uint8(images), *colors], scale=max(1, 128 // images.shape[-1]))


def train_segmentation_net(
    net: Net,
    dataset: LabeledImages,
    *,
    steps: int,
    batch: int = 32,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    out: str | Path | None = None,
    log: Callable[[int, int, dict[str, float]], None] | None = None,
    config: SegmentationConfig | None = None,
    checkpoint_every: int = 500,
) -> Net:
    """Train ``net`` by the shared loop; return it with the averaged weights, in eval mode, gradients off.

    ``out`` becomes a run folder, from which the same call goes on after a stop, and at the end also holds ``save_pretrained``'s
    files, for ``from_pretrained(out)``. Without ``out`` nothing is kept.

    Args:
        net: logits (B, N, H, W) from pictures, ``num_classes`` in its ``config``.
        dataset: pictures with masks; pixels of id 255 teach nothing.
        log: called after every step with (step, steps, latest means).

    Raises:
        ProxymaskError: no pictures, ids that the network lacks, or what :func:`~proxymask.training.loop.train` raises.
    """
    config = config or SegmentationConfig()
    loop = LoopConfig(
        steps=steps,
        batch=batch,
        seed=seed,
        device=device,
        precision=precision,
        checkpoint_every=checkpoint_every,
        grid_every=checkpoint_every if out is not None else 0,
        tensorboard=out is not None,
    )
    identity = {"net": type(net).__name__, **net.config, **dataclasses.asdict(config), "steps": steps, "pictures": len(dataset)}
    stage = SegmentationStage(net, dataset, config, steps, seed)
    with tempfile.TemporaryDirectory() if out is None else nullcontext(str(out)) as folder:
        run = train(stage, loop, Path(folder), identity=identity, progress=log)
    net.load_state_dict(run.averages[stage.part].state_dict())
    unweight(net, stage.weight)
    net.eval().requires_grad_(False)
    if out is not None and run.rank == 0:
        net.save_pretrained(out)
    return net


@torch.no_grad()
def unweight(net: ConfigModel, weight: torch.Tensor) -> None:
    """Take the class weights back out of a trained net: a loss weighted by v makes ``p v`` of the posterior p, so log v leaves the bias.

    The weights help small classes to be learnt at all; left in, they are drawn too large.
    """
    head = net.head
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    head.bias -= weight.to(head.bias).clamp_min(1e-6).log()


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
    """Confusion matrix of ``net`` on clean pictures of ``dataset`` (all, or those with ``indices``); pixels of id 255 are not scored."""
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
