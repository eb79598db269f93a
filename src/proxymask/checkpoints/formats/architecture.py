"""Reads an architecture off the names and shapes of tensors."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ...models.stylegan2_layers import LabelStyle
from .settings import Setting, check_setting
from .state_reader import StateReader

PUBLISHED_CHANNEL_BASES = (32768, 16384)
MAX_LAYERS = 64  # of one kind; the largest published networks have 18 convolutions
PUBLISHED_MULTIPLIER = 0.01  # of the learning rate of the mapping network


@dataclass(frozen=True, kw_only=True)
class GeneratorSizes:
    """Sizes of a generator.

    Attributes:
        z_dim, w_dim: widths of z and w.
        c_dim: classes, 0 for none.
        channels: of each block's output, by resolution 4, 8, ...
        img_channels: of the pictures.
        mapping_layers: number of layers of the mapping network.
        mapping_features: outputs of its first layer.
        embed_features: width of the class embedding, 0 for none.
        label: how a class enters: "embed" (ADA) or "concat" (2020).
        start: (height, width) of the constant input.
        channel_base, channel_max: as stored in the file; None where they are not.
    """

    z_dim: int
    w_dim: int
    channels: dict[int, int]
    img_channels: int
    mapping_layers: int
    mapping_features: int
    c_dim: int = 0
    embed_features: int = 0
    label: LabelStyle = "embed"
    start: tuple[int, int] = (4, 4)
    channel_base: Any = None
    channel_max: Any = None

    def config(self, **more: Any) -> dict[str, Any]:
        """The arguments of :class:`~proxymask.models.stylegan2.Generator`, with ``more`` that no shape shows."""
        only_w = self.mapping_features == self.w_dim or self.mapping_layers == 1
        return {
            "z_dim": self.z_dim,
            "w_dim": self.w_dim,
            "c_dim": self.c_dim,
            "resolution": max(self.channels),
            "img_channels": self.img_channels,
            "mapping_layers": self.mapping_layers,
            **channel_config(self.channels, self.channel_base, self.channel_max),
            "mapping_features": None if only_w else self.mapping_features,
            "embed_features": None if self.embed_features in (0, self.w_dim) else self.embed_features,
            "label": self.label,
            "start": list(self.start),
            **more,
        }


def block_resolutions(names: Iterable[str], pattern: str) -> list[int]:
    """The resolutions 4, 8, ... that the first group of ``pattern`` finds in the names, without a gap.

    Raises:
        ProxymaskError: a gap, or no power of two.
    """
    found = sorted({int(match[1]) for name in names if (match := re.match(pattern, name))})
    if not 2 <= len(found) <= MAX_LAYERS or found != [4 * 2**i for i in range(len(found))]:
        raise ProxymaskError(f"its blocks have the resolutions {found[:8]}, wanted 4, 8, 16 and so on: this is another architecture")
    return found


def count_layers(names: Iterable[str], pattern: str) -> int:
    """How many numbers 0, 1, 2, ... the first group of ``pattern`` finds in the names, without a gap."""
    found = sorted({int(match[1]) for name in names if (match := re.fullmatch(pattern, name))})
    if len(found) > MAX_LAYERS or found != list(range(len(found))):
        shown = f"{found[:8]}{' and so on' if len(found) > 8 else ''}"
        raise ProxymaskError(
            f"its layers are numbered {shown}, wanted 0, 1, 2 and so on, at most {MAX_LAYERS}: it is incomplete, or of another architecture"
        )
    return len(found)


def channel_config(channels: Mapping[int, int], base: Any = None, maximum: Any = None) -> dict[str, int]:
    """``channel_base`` and ``channel_max`` with ``channels[r] == min(base // r, max)`` for every resolution r.

    Args:
        channels: by resolution.
        base, maximum: as stored in the file, preferred where they fit; None where they are not stored.

    Raises:
        ProxymaskError: no such two numbers.
    """
    largest = max(channels.values())
    top = maximum if type(maximum) is int and maximum >= largest else largest
    from_channels = (count * res for res, count in sorted(channels.items(), reverse=True))
    for candidate in (base, *PUBLISHED_CHANNEL_BASES, *from_channels):
        if type(candidate) is not int or candidate < 1:
            continue
        if all(max(min(candidate // res, top), 1) == count for res, count in channels.items()):
            return {"channel_base": candidate, "channel_max": top}
    shown = ", ".join(f"{res}: {count}" for res, count in sorted(channels.items()))
    raise ProxymaskError(
        f"its channels by resolution ({shown}) are not min(base / resolution, maximum), as StyleGAN2's are: this is another architecture"
    )


def same_in_all(values: Iterable[Any], what: str) -> Setting:
    """The one setting that all layers have; a :class:`ProxymaskError` where they differ, or where one is no setting."""
    found = list(dict.fromkeys(check_setting(value, what) for value in values))
    if len(found) != 1:
        raise ProxymaskError(f"its layers differ in {what} ({found[:4]}): this is another architecture")
    return found[0]


def lr_multiplier(weights: Sequence[torch.Tensor], stated: float | None, given: float | None) -> tuple[float, str]:
    """The learning-rate multiplier of a mapping network.

    All families divide the weights by it when they are drawn, from a normal distribution, and multiply with it at run time. So weights
    that began at a root mean square of 100 tell the published 0.01, weights of about 1 tell 1.

    Args:
        weights: of the mapping layers.
        stated: what the file says; None where it says nothing.
        given: what the user says; None where nothing.

    Returns:
        The multiplier, and how it is known where the file does not state it, else "".

    Raises:
        ProxymaskError: ``stated`` and ``given`` differ, or nothing tells it.
    """
    if stated is not None:
        if given is not None and given != stated:
            raise ProxymaskError(f"--lr-multiplier {given:g}: the file says {stated:g}, leave the flag out")
        return stated, ""
    if given is not None:
        return given, f"learning-rate multiplier {given:g} (--lr-multiplier)"
    size = (sum(float(w.square().sum()) for w in weights) / max(1, sum(w.numel() for w in weights))) ** 0.5
    if not 0.25 < size < 4 and not 25 < size < float("inf"):
        raise ProxymaskError(
            "the file does not say the learning-rate multiplier of its mapping network, and the root mean square of the weights, "
            f"{size:.3g}, fits neither 0.01 (about 100) nor 1 (about 1): proxymask import FILE --lr-multiplier NUMBER, as it was trained"
        )
    found = PUBLISHED_MULTIPLIER if size > 25 else 1.0
    return found, f"learning-rate multiplier {found:g} (the root mean square of its mapping weights is {size:.3g})"


def one_hot_class_mapping(tensors: StateReader, classes: int) -> dict[str, torch.Tensor]:
    """Weights of a class mapping in ADA's layout that selects the discriminator's output of the given class.

    The class-conditional discriminators of 2020 have one output for each class and use the one of the given class. ADA computes
    sum(outputs * m) / sqrt(C) with m = e / sqrt(mean(e^2)). With the one-hot class as e, this is the output of that class.

    Returns:
        ``mapping.embed.weight`` (C, C), ``mapping.embed.bias`` (C,), ``mapping.w_avg`` (C,) for C classes.
    """
    tensors.reserve(classes, classes)
    embed = torch.eye(classes) * classes**0.5  # times 1 / sqrt(C) at run time
    return {"mapping.embed.weight": embed, "mapping.embed.bias": torch.zeros(classes), "mapping.w_avg": torch.zeros(classes)}
