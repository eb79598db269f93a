"""Perceptual distance of pictures, and the diversity that is measured with it.

It is LPIPS only with the published channel weights ("heads") on the trunk that they were trained for. With other weights of the trunk it
is named "LPIPS-like", and on the judge's features, without heads, "perceptual distance, judge features".

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018 (arXiv 1801.03924), equation 1; for
the diversity, the paper's supplement, section C.1, which follows Tan et al., "Diverse Semantic Image Synthesis via Probability
Distribution Modeling" (INADE), CVPR 2021. Shapes: B pictures of H x W pixels; layer l has C_l channels and h_l x w_l positions.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ..core.errors import ProxymaskError
from ..core.hashing import tensors_hash
from ..core.published_weights import read_weights
from ..core.seeding import permutation
from .features.convnets import LABELS, ConvNet
from .features.weights import find_weights, missing_weights

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of LPIPS' input, in [-1, 1]
TRUNKS = ("alexnet", "squeezenet", "vgg16")
Maps = Callable[[torch.Tensor], list[torch.Tensor]]


class PerceptualDistance:
    """A perceptual distance: squared differences of normalised feature maps, weighted by channel, averaged over positions, summed over
    layers.

    Args:
        label: its name in results.
        maps: pictures (B, 3, H, W) in [-1, 1] -> feature maps (B, C_l, h_l, w_l) of some layers.
        digest: SHA-256 of the weights.
        heads: weights (C_l,) of the channels of each layer, not negative; without them all channels have weight 1 and the layers are
            averaged instead of summed.
    """

    def __init__(self, label: str, maps: Maps, digest: str, heads: Sequence[torch.Tensor] | None = None) -> None:
        self.label, self.maps, self.digest = label, maps, digest
        self.heads = None if heads is None else [head.flatten().clamp(min=0).sqrt() for head in heads]

    @torch.no_grad()
    def embed(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps (B, C_l, h_l, w_l) of unit length at every position, times the square root of the channels' weights."""
        out = []
        layers = self.maps(pictures.float())
        for index, layer in enumerate(layers):
            unit = layer.float() / (layer.float().square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            weight = torch.tensor(len(layers) ** -0.5) if self.heads is None else self.heads[index].view(1, -1, 1, 1)
            out.append(unit * weight.to(unit))
        return out

    @staticmethod
    def between(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> torch.Tensor:
        """Distances (B,) of two outputs of :meth:`embed`."""
        return torch.stack([(x - y).square().sum(dim=1).mean(dim=(1, 2)) for x, y in zip(a, b, strict=True)]).sum(dim=0)

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distances (B,) of pictures (B, 3, H, W) in [-1, 1]; 0 for equal ones."""
        if a.shape != b.shape:
            raise ProxymaskError(f"pictures {tuple(a.shape)} and {tuple(b.shape)} differ in shape")
        return self.between(self.embed(a), self.embed(b))


def lpips(trunk: str, weights: dict[str, torch.Tensor], heads: dict[str, torch.Tensor]) -> PerceptualDistance:
    """LPIPS v0.1 on a trunk ("alexnet", "squeezenet" or "vgg16") with the published heads (``lin0.model.1.weight``, ...).

    Raises:
        ProxymaskError: weights that are not of this trunk, heads that do not fit it.
    """
    net = ConvNet(trunk, weights)
    ordered = [heads[name] for name in sorted(heads) if name.endswith(".weight")]
    if not ordered:
        raise ProxymaskError("these are no heads of LPIPS: they are called lin0.model.1.weight and so on")

    def maps(pictures: torch.Tensor) -> list[torch.Tensor]:
        net.to(pictures.device)
        if net.caffe:
            return net.taps(net.prepared(pictures))
        shift, scale = (torch.tensor(v, device=pictures.device)[:, None, None] for v in (SHIFT, SCALE))
        return net.taps((pictures - shift) / scale)

    with torch.no_grad():
        widths = [layer.shape[1] for layer in maps(torch.zeros(1, 3, 64, 64))]
    if widths != [head.numel() for head in ordered]:
        raise ProxymaskError(f"these heads of LPIPS are for {[head.numel() for head in ordered]} channels, {LABELS[trunk]} has {widths}")
    name = f"LPIPS-like ({LABELS[trunk]}, Caffe weights)" if net.caffe else f"LPIPS ({LABELS[trunk]})"
    return PerceptualDistance(name, maps, tensors_hash({**weights, **{f"head.{k}": v for k, v in heads.items()}}), ordered)


def find_lpips(folder: Path | None = None) -> tuple[PerceptualDistance | None, str]:
    """LPIPS on the first trunk whose weights are in the folder: AlexNet, the usual one, then SqueezeNet, then VGG-16.

    Returns:
        The distance, None without weights; and one line on what is missing for LPIPS proper, empty where nothing is.
    """
    for trunk in TRUNKS:
        found, heads = find_weights(trunk, folder), find_weights(f"lpips-{trunk}", folder)
        if found is not None and heads is not None:
            made = lpips(trunk, read_weights(found), read_weights(heads))
            proper = made.label.startswith("LPIPS (")
            return made, "" if proper else f"LPIPS proper needs the trunk its heads were trained on: {missing_weights('alexnet', folder)}"
    return None, f"LPIPS: {missing_weights('alexnet', folder)}, {missing_weights('lpips-alexnet', folder)}"


class Diversity(NamedTuple):
    """Mean over the pairs of groups, their standard deviation, and the numbers of groups and masks."""

    mean: float
    std: float
    groups: int
    masks: int


def group_pairs(groups: int, pairs: int = 10, seed: int = 0) -> list[tuple[int, int]]:
    """``pairs`` different pairs of different groups, drawn at random; all pairs where there are no more."""
    every = [(a, b) for a in range(groups) for b in range(a + 1, groups)]
    order = permutation(len(every), seed, "group pairs").tolist()
    return [every[index] for index in order[:pairs]]


def group_diversity(distances: torch.Tensor, groups: int) -> Diversity:
    """Diversity (supplement C.1): each group holds one picture of every mask; a score is the mean distance between two groups' pictures of
    the same mask; the result is the mean of the scores of random pairs of groups (:func:`group_pairs`).

    Pictures of different masks are not compared: their distance would be that of the masks.

    Args:
        distances: (masks, pairs), of the two pictures of a mask that a pair of groups holds.
        groups: how many there are.
    """
    if not distances.numel():
        raise ProxymaskError("diversity needs at least 2 groups and 1 mask")
    values = distances.double().mean(dim=0)
    return Diversity(float(values.mean()), float(values.std(correction=0)), groups, len(distances))
