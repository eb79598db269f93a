"""Training of the segmentation networks (annotator and judge) on pictures with exact masks.

The pictures are disturbed on the way in (blur, noise, blotches, colour, shift, flip), because the networks are to read *generated*
pictures, whose edges and colours are less clean than those they learn from.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F

from ..device import autocast, resolve_device, resolve_precision
from ..errors import ProxymaskError
from ..metrics.segmentation import ConfusionMatrix
from ..modeling import ConfigModel, load_tensors, save_tensors
from ..seeding import derive_rng

NO_CLASS = 255  # id of pixels without a class in other people's masks; they teach nothing and are not scored
STATE_FILE = "state.safetensors"

Net = TypeVar("Net", bound=ConfigModel)
Log = Callable[[int, dict[str, float]], None]


class LabeledImages(Protocol):
    """What training needs of a data set: pictures float (B, 3, H, W) in [-1, 1] and masks int64 (B, H, W) by number."""

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int]) -> torch.Tensor: ...

    def masks(self, indices: Sequence[int]) -> torch.Tensor: ...


def _uniform(rng: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial blur 1-2-1 both ways, edges repeated."""
    y = F.pad(x, (1, 1, 1, 1), mode="replicate")
    y = y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]
    return (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) / 16


def augment(images: torch.Tensor, masks: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Disturb pictures (B, 3, H, W) in [-1, 1]; masks (B, H, W) follow where the geometry changes.

    Each picture for itself: mirrored or not, shifted by up to 1/16 of its side, colours stretched and offset a channel at a time,
    blotched (smooth noise, as regions of generated pictures are not flat), blurred by up to two 3x3 binomials, grained.
    All numbers come from ``rng``, a CPU generator, so that they do not depend on the device.
    """
    batch, _, height, width = images.shape
    device = images.device

    reach = max(height, width) // 16
    shift = torch.randint(-reach, reach + 1, (2, batch, 1), generator=rng)
    mirror = torch.rand(batch, 1, generator=rng) < 0.5
    rows = (torch.arange(height) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shift[1]).clamp(0, width - 1)
    columns = torch.where(mirror, width - 1 - columns, columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1).to(device)
    masks = masks.flatten(1).gather(1, flat[:, 0]).view_as(masks)
    images = images.flatten(2).gather(2, flat.expand(-1, 3, -1)).view_as(images)

    gain, offset = _uniform(rng, (batch, 3, 1, 1), 0.75, 1.25), _uniform(rng, (batch, 3, 1, 1), -0.2, 0.2)
    blotches = torch.randn(batch, 3, 8, 8, generator=rng) * _uniform(rng, (batch, 1, 1, 1), 0.0, 0.15)
    images = images * gain.to(device) + offset.to(device)
    images = images + F.interpolate(blotches.to(device), (height, width), mode="bilinear")
    for _ in range(2):
        images = images.lerp(_blur(images), _uniform(rng, (batch, 1, 1, 1), -0.5, 1.0).clamp(min=0).to(device))
    grain = torch.randn(images.shape, generator=rng) * _uniform(rng, (batch, 1, 1, 1), 0.0, 0.1)
    return (images + grain.to(device)).clamp(-1, 1), masks


def class_weights(dataset: LabeledImages, num_classes: int, seed: int = 0, sample: int = 1000, power: float = 0.25) -> torch.Tensor:
    """Cross-entropy weights (N,) proportional to ``frequency ** -power``, their mean over pixels 1; 0 for classes never seen.

    Mild on purpose: the full inverse frequency (power 1) makes small parts spill over their edges.
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


def train_segmentation_net(
    net: Net,
    dataset: LabeledImages,
    *,
    steps: int,
    batch: int = 32,
    lr: float = 2e-3,
    balance: float = 0.25,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    out: str | Path | None = None,
    log: Log | None = None,
    log_every: int = 50,
    save_every: int = 500,
    channels_last: bool | None = None,
) -> Net:
    """Train ``net`` with cross-entropy, Adam, a warm-up and a cosine to zero; return it with the averaged (EMA) weights, in eval mode.

    With ``out`` the state is saved there every ``save_every`` steps and taken up again by the next call with the same arguments; the
    result is the same as without the stop. At the end the state gives way to ``save_pretrained``'s files.

    Args:
        net: logits (B, N, H, W) from pictures; its ``config`` has ``num_classes``.
        dataset: pictures with masks; pixels of id 255 teach nothing.
        balance: power of :func:`class_weights`.
        log: called every ``log_every`` steps with (steps done, {"loss", "accuracy", "seconds_per_step"}), of the disturbed pictures.
        channels_last: None is CUDA only: GroupNorm in that layout is several times slower on a CPU.

    Raises:
        ProxymaskError: no pictures, ids that the network lacks, a state saved with other arguments, or a loss that is not finite.
    """
    if not len(dataset):
        raise ProxymaskError("the data set is empty: there is nothing to train on")
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    layout = torch.channels_last if (place.type == "cuda" if channels_last is None else channels_last) else torch.contiguous_format
    net.to(place, memory_format=layout).train().requires_grad_(True)  # type: ignore[call-overload]
    weights = class_weights(dataset, net.config["num_classes"], seed, power=balance).to(place)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, betas=(0.9, 0.99))
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    settings = {"net": type(net).__name__, **net.config, "steps": steps, "batch": batch, "lr": lr, "balance": balance, "seed": seed}
    settings["pictures"] = len(dataset)
    folder = Path(out) if out is not None else None
    first = 0
    if folder is not None and (folder / STATE_FILE).is_file():
        first = _load_state(folder / STATE_FILE, net, average, optimizer, settings)

    since, began = first, time.perf_counter()
    for step in range(first, steps):
        rng = derive_rng(seed, "segmentation", step)
        indices = torch.randint(len(dataset), (batch,), generator=rng).tolist()
        images, masks = augment(dataset.images(indices).to(place), dataset.masks(indices).to(place), rng)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        with autocast(place, dtype):
            logits = net(images.contiguous(memory_format=layout))
        loss = F.cross_entropy(logits.float(), masks, weights, ignore_index=NO_CLASS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        decay = min(0.998, (step + 1) / (step + 10))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - decay)

        done = step + 1
        if done % log_every == 0 or done == steps:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise ProxymaskError(f"the loss is {value} at step {done}: lower lr (it is {lr}) or use precision fp32")
            if log:
                known = masks != NO_CLASS
                accuracy = float((logits.detach().argmax(1)[known] == masks[known]).float().mean())
                log(done, {"loss": value, "accuracy": accuracy, "seconds_per_step": (time.perf_counter() - began) / (done - since)})
            since, began = done, time.perf_counter()
        if folder is not None and done % save_every == 0 and done < steps:
            _save_state(folder / STATE_FILE, net, average, optimizer, settings, done)

    net.load_state_dict(average)
    net.eval().requires_grad_(False)
    if folder is not None:
        net.save_pretrained(folder)
        (folder / STATE_FILE).unlink(missing_ok=True)
    return net


def _save_state(
    path: Path, net: ConfigModel, average: dict[str, torch.Tensor], optimizer: torch.optim.Adam, settings: dict[str, Any], step: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"step": step, "settings": settings}).encode()
    tensors = {"about": torch.frombuffer(bytearray(text), dtype=torch.uint8)}  # inside, so that one rename changes all at once
    tensors |= {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in average.items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in entry.items()}
    save_tensors(path, tensors)


def _load_state(
    path: Path, net: ConfigModel, average: dict[str, torch.Tensor], optimizer: torch.optim.Adam, settings: dict[str, Any]
) -> int:
    """Put back what :func:`_save_state` wrote; returns the number of steps done."""
    tensors = load_tensors(path)
    try:
        about = json.loads(bytes(tensors.pop("about").tolist()))
        step, stored = int(about["step"]), about["settings"]
    except (KeyError, TypeError, ValueError):
        raise ProxymaskError(f"{path} is no training state: remove it to start again") from None
    if stored != settings:
        differing = sorted(key for key in stored.keys() | settings.keys() if stored.get(key) != settings.get(key))
        raise ProxymaskError(
            f"{path} is of a training with other {', '.join(differing)}: choose another folder, or remove it to start again"
        )
    net.load_state_dict({name: tensors[f"net.{name}"] for name in net.state_dict()})
    for name, value in average.items():
        value.copy_(tensors[f"ema.{name}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


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
