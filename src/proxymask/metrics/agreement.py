"""Does the result follow its mask, and does it keep its style? Scores that need no reference picture.

Shapes: B pictures of H x W pixels, in [-1, 1]; proxy masks are cluster ids (B, h, w); C channels, N classes, S styles, M masks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch

from ..core.errors import ProxymaskError


class Assigns(Protocol):
    """What :func:`mask_agreement` needs of a clustering: the id of the nearest centroid at every position."""

    def assign(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w) -> ids int64 (B, h, w)."""
        ...


@dataclass(frozen=True)
class MaskAgreement:
    """Counts of positions; results of several batches add up with ``+``.

    ``present`` positions are those whose target cluster occurs in the style sample, so that its features can be rearranged to them;
    ``absent`` positions are the others. ``*_hits`` of them have features of the target cluster.
    """

    present_hits: int = 0
    present_total: int = 0
    absent_hits: int = 0
    absent_total: int = 0

    def __add__(self, other: "MaskAgreement") -> "MaskAgreement":
        return MaskAgreement(
            self.present_hits + other.present_hits,
            self.present_total + other.present_total,
            self.absent_hits + other.absent_hits,
            self.absent_total + other.absent_total,
        )

    @property
    def present(self) -> float:
        """Share of hits where the target cluster occurs in the style sample; NaN without such positions."""
        return self.present_hits / self.present_total if self.present_total else float("nan")

    @property
    def absent(self) -> float:
        """Share of hits where the target cluster does not occur in the style sample; NaN without such positions."""
        return self.absent_hits / self.absent_total if self.absent_total else float("nan")

    @property
    def overall(self) -> float:
        """Share of hits over all positions; NaN before any."""
        total = self.present_total + self.absent_total
        return (self.present_hits + self.absent_hits) / total if total else float("nan")


def mask_agreement(features: torch.Tensor, target: torch.Tensor, style_mask: torch.Tensor, clusters: Assigns) -> MaskAgreement:
    """Number of positions at which the rearranged features belong to the cluster of the target proxy mask.

    Args:
        features: rearranged features (B, C, h, w).
        target: the proxy mask that the rearranger was given, int64 (B, h, w).
        style_mask: the proxy mask of the sample that gave the style, int64 (B, h, w).
        clusters: gives the nearest centroid of each feature, int64 (B, h, w).

    Raises:
        ProxymaskError: the masks or the assigned ids differ in shape.
    """
    got = clusters.assign(features)
    if not got.shape == target.shape == style_mask.shape:
        raise ProxymaskError(f"mask shapes differ: got {tuple(got.shape)}, target {tuple(target.shape)}, style {tuple(style_mask.shape)}")
    number = int(max(target.max(), style_mask.max())) + 1
    occurs = torch.zeros(len(target), number, dtype=torch.bool, device=target.device)
    occurs.scatter_(1, style_mask.to(target.device).flatten(1), True)
    present = occurs.gather(1, target.flatten(1))
    hit = (got.to(target.device) == target).flatten(1)
    return MaskAgreement(int((hit & present).sum()), int(present.sum()), int((hit & ~present).sum()), int((~present).sum()))


class RegionColors(NamedTuple):
    """Mean colours of regions: ``mean`` float32 (B, N, 3) in the pictures' range, 0 where empty; ``area`` int64 (B, N) in pixels."""

    mean: torch.Tensor
    area: torch.Tensor

    @property
    def valid(self) -> torch.Tensor:
        """Whether the region has any pixel, bool (B, N)."""
        return self.area > 0


def region_colors(images: torch.Tensor, masks: torch.Tensor, num_classes: int) -> RegionColors:
    """Mean RGB of each region of pictures (B, 3, H, W) under masks of ids (B, H, W) in 0 to ``num_classes - 1``; on the CPU.

    Raises:
        ProxymaskError: the shapes do not fit, or an id is out of range.
    """
    if images.dim() != 4 or images.shape[1] != 3 or masks.shape != (len(images), *images.shape[2:]):
        raise ProxymaskError(f"pictures {tuple(images.shape)} and masks {tuple(masks.shape)} do not fit: (B, 3, H, W) and (B, H, W) do")
    if masks.numel() and (int(masks.min()) < 0 or int(masks.max()) >= num_classes):
        raise ProxymaskError(f"masks hold ids {int(masks.min())} to {int(masks.max())}, outside 0 to {num_classes - 1}")
    ids = masks.detach().to("cpu", torch.int64).flatten(1)
    area = torch.zeros(len(ids), num_classes, dtype=torch.int64).scatter_add_(1, ids, torch.ones_like(ids))
    total = torch.zeros(len(ids), num_classes, 3, dtype=torch.float64)
    pixels = images.detach().to("cpu", torch.float64).flatten(2).transpose(1, 2)
    total.scatter_add_(1, ids[..., None].expand_as(pixels), pixels)
    return RegionColors((total / area.clamp(min=1)[..., None]).float(), area)


Weighting = Literal["area", "plain"]


def style_distances(
    pictures: RegionColors, references: RegionColors, weighting: Weighting = "area", ignore: Collection[int] = ()
) -> torch.Tensor:
    """Distance (P, S) of each of P pictures to each of S style samples: the mean, over the regions both have, of the Euclidean
    distance of the region's mean colours.

    ``weighting="area"`` weights a region by its area in the picture, ``"plain"`` weights all alike, so that small parts (eyes) count
    as much as the background. Infinite where picture and sample share no region. Regions in ``ignore`` do not count.

    Raises:
        ProxymaskError: the numbers of classes differ.
    """
    if pictures.area.shape[1] != references.area.shape[1]:
        raise ProxymaskError(f"pictures have {pictures.area.shape[1]} classes, style samples {references.area.shape[1]}")
    gap = (pictures.mean[:, None].double() - references.mean[None].double()).norm(dim=-1)
    weight = (pictures.area if weighting == "area" else pictures.valid)[:, None] * references.valid[None]
    weight = weight.double()
    weight[..., list(ignore)] = 0
    total = weight.sum(-1)
    return torch.where(total > 0, (gap * weight).sum(-1) / total.clamp(min=1e-12), torch.inf)


def style_consistency(
    images: torch.Tensor, masks: torch.Tensor, references: RegionColors, weighting: Weighting = "area", ignore: Collection[int] = ()
) -> float:
    """Share of pictures whose colours are nearer to those of their own style sample than to those of every other style sample.

    The regions of a picture are those of its mask, so that a picture that ignores its mask scores worse; those of a style sample are
    those of its own segmentation. Chance is 1 / S. A tie counts as a miss. See :func:`style_distances` for the distance.

    Args:
        images: (S, M, 3, H, W), picture [s, m] made from style s and mask m.
        masks: ids (M, H, W), one for all styles.
        references: :func:`region_colors` of the S style samples under their own segmentation.

    Raises:
        ProxymaskError: the shapes do not fit, or there are fewer than two styles.
    """
    if images.dim() != 5 or masks.shape != (images.shape[1], *images.shape[3:]) or len(references.mean) != len(images):
        raise ProxymaskError(
            f"pictures {tuple(images.shape)}, masks {tuple(masks.shape)} and {len(references.mean)} style samples do not fit:"
            " (S, M, 3, H, W), (M, H, W) and S do"
        )
    styles, number = images.shape[:2]
    if styles < 2:
        raise ProxymaskError("style consistency compares styles: give at least 2")
    hits = 0
    for own, pictures in enumerate(images):
        colors = region_colors(pictures, masks, references.area.shape[1])
        distances = style_distances(colors, references, weighting, ignore)
        others = distances.clone()
        others[:, own] = torch.inf
        hits += int((distances[:, own] < others.amin(1)).sum())
    return hits / (styles * number)


def psnr(a: torch.Tensor, b: torch.Tensor, peak: float = 2.0) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, float64 (B,), of pictures (B, 3, H, W); ``peak`` is the width of their range. Infinite if equal."""
    if a.shape != b.shape:
        raise ProxymaskError(f"pictures {tuple(a.shape)} and {tuple(b.shape)} differ in shape")
    error = (a.detach().double() - b.detach().double()).square().flatten(1).mean(1)
    return 10 * torch.log10(peak**2 / error)


def unchanged_share(
    a: torch.Tensor, b: torch.Tensor, where: torch.Tensor | None = None, threshold: float = 0.05
) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of a picture stays the same when its mask is exchanged (supplement B.2: with few clusters, masks are ignored).

    A pixel is unchanged where no channel differs by ``threshold`` or more.

    Args:
        a, b: pictures (B, 3, H, W) in [-1, 1] of one style under two masks.
        where: bool (B, H, W), the pixels that count, such as those whose class differs between the masks; all where not given.

    Returns:
        Unchanged pixels and counted pixels of each picture, int64 (B,) each.

    Raises:
        ProxymaskError: the shapes do not fit.
    """
    if a.shape != b.shape or (where is not None and where.shape != (len(a), *a.shape[2:])):
        shape = None if where is None else tuple(where.shape)
        raise ProxymaskError(f"pictures {tuple(a.shape)} and {tuple(b.shape)} and pixels {shape} do not fit")
    same = (a - b).abs().amax(dim=1) < threshold
    counted = torch.ones_like(same) if where is None else where.to(same.device)
    return (same & counted).sum(dim=(1, 2)).cpu(), counted.sum(dim=(1, 2)).cpu()
