"""The picture itself as a condition: its layout is rendered in another style. Its mapper also gives the proxy masks of real pictures."""

from pathlib import Path

import numpy as np
import torch

from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..imaging.labels import LabelSet
from ..imaging.reader import read_with_alpha, source_name, to_rgba
from . import augmentations
from .base import Condition, Reading, Source, centre_crop

MIN_DEVIATION = 0.01  # standard deviation of a picture's values; with less it is of one colour


class PictureCondition(Condition):
    """The picture: red, green and blue from 0 to 1."""

    def __init__(self) -> None:
        super().__init__("picture", 3)

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        return ((pictures.float() + 1) / 2).clamp(0, 1)

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Random sharpness, contrast, brightness, colour cast and noise: the differences between real and generated pictures.

        Nothing is displaced: unlike strokes by hand, the edges of a picture are in their places.
        """
        b = len(planes)
        blurred = augmentations.soften(planes, torch.ones(b, 1, 1, 1))
        # generated edges are softer than real ones, so sharpening is more frequent
        planes = planes + (planes - blurred) * augmentations.uniform(rng, b, -1.0, 2.5).to(planes)
        contrast = augmentations.uniform(rng, b, 0.8, 1.3).to(planes)
        planes = (planes - 0.5) * contrast + 0.5 + augmentations.uniform(rng, b, -0.1, 0.1).to(planes)
        planes = planes + (torch.rand(b, 3, 1, 1, generator=rng) * 0.08 - 0.04).to(planes)
        noise = torch.randn(planes.shape, generator=rng) * augmentations.uniform(rng, b, -0.03, 0.03).clamp(min=0)
        return (planes + noise.to(planes)).clamp(0, 1)

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        if invert:
            raise ProxymaskError("a picture cannot be inverted: leave --invert out")
        said: list[str] = []
        picture, notes = centre_crop(read_with_alpha(source, notes=said), size)
        rgba = np.asarray(to_rgba(picture), dtype=np.float32) / 255
        colours, alpha = rgba[..., :3], rgba[..., 3:]
        if not alpha.any():
            raise ProxymaskError(f"{source_name(source)} is empty: it is transparent all over")
        if float(colours[alpha[..., 0] > 0.5].std() if (alpha > 0.5).any() else 0.0) < MIN_DEVIATION:
            raise ProxymaskError(f"{source_name(source)} is empty: it is one colour all over")
        planes = torch.from_numpy(colours * alpha + 1 - alpha).permute(2, 0, 1)  # transparent parts become white
        return Reading(planes.contiguous(), torch.from_numpy(alpha[..., 0] > 0.5), (*said, *notes))

    def read_photo(self, source: Source, size: Size) -> Reading:
        return self.read(source, size)


def picture(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> PictureCondition:
    """The picture itself."""
    if extractor is not None or weights is not None:
        raise ProxymaskError("a picture needs no extractor: leave --extractor and --weights out")
    return PictureCondition()
