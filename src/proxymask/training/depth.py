"""Step of the depth stage: a small depth network, trained on drawn pictures with exact depth (``proxymask data avatars --depth``).

Shapes: B pictures, H x W pixels.
"""

import dataclasses
import hashlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..core.checks import Checked, Range, Rate
from ..core.errors import ProxymaskError
from ..core.files import read_json
from ..core.hashing import file_hash
from ..core.seeding import derive_rng, permutation
from ..core.sizes import height_width, size_text
from ..data.dataset import ImageSet
from ..imaging.bit_depth import DEEP_MODES
from ..imaging.grids import tile, to_uint8
from ..imaging.reader import open_picture
from ..models.depth_net import DepthNet
from .loop import Run, set_cosine_rate
from .segmentation import augment, plain_format


@dataclasses.dataclass(frozen=True)
class DepthConfig(Checked):
    """The depth network's width and recipe."""

    width: Annotated[int, Range(1, 2**12)] = 16
    """Channels at full resolution."""
    learning_rate: Rate = 0.003
    """Adam; warm-up over 50 steps, then a cosine to zero."""


class DepthImages:
    """Pictures with depth maps, read from the disk on access.

    Args:
        folder: the output of ``proxymask data avatars --depth``, or of another kind of drawn pictures.
        size: side of the pictures; None: as they were drawn.

    Raises:
        ProxymaskError: there is no ``depth/`` in it, or a depth map is missing.
    """

    def __init__(self, folder: str | Path, size: int | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / "depth").is_dir():
            raise ProxymaskError(f"{folder} has no depth/: draw it with proxymask data avatars --depth (or cats, churches, bedrooms)")
        if size is None and (self.folder / "dataset.json").is_file():
            size = int(read_json(self.folder / "dataset.json")["size"])
        self.set = ImageSet.open(self.folder, size)
        self.files = [self.folder / "depth" / Path(name).with_suffix(".png").name for name in self.set.names]
        missing = next((file for file in self.files if not file.is_file()), None)
        if missing is not None:
            raise ProxymaskError(
                f"{missing} is missing: run proxymask data avatars --depth (or cats, churches, bedrooms) with the same arguments again"
            )

    def __len__(self) -> int:
        return len(self.set)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the pictures and the depth maps."""
        return hashlib.sha256("".join([self.set.fingerprint, *map(file_hash, self.files)]).encode()).hexdigest()

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        return self.set.images(indices)

    def depths(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> depth (B, H, W) in [0, 1], 1 nearest."""
        numbers = indices.tolist() if isinstance(indices, torch.Tensor) else indices
        maps = []
        for index in numbers:
            picture = open_picture(self.files[index])
            if picture.mode not in DEEP_MODES:
                raise ProxymaskError(f"{self.files[index]} has 8 bits: give 16-bit grey, as proxymask data avatars --depth draws it")
            values = np.asarray(picture, dtype=np.float32) / 65535
            if values.shape != height_width(self.set.size):
                have, wanted = size_text(values.shape), size_text(self.set.size)
                raise ProxymaskError(f"{self.files[index]} is {have}, the pictures are {wanted}: use the folder as it was drawn")
            maps.append(torch.from_numpy(values))
        return torch.stack(maps)


class DepthStage:
    """The depth network on augmented pictures (as for segmentation), because it is used on generated ones."""

    name = "depth"
    averaged: tuple[str, ...] = ("depth",)

    def __init__(self, net: DepthNet, data: DepthImages, config: DepthConfig, steps: int) -> None:
        self.net, self.data, self.config, self.steps = net.requires_grad_(True).train(), data, config, steps
        self.modules: dict[str, nn.Module] = {"depth": net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "depth": torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        }

    def step_kind(self, index: int) -> Hashable:
        return None

    def step(self, run: Run) -> None:
        plain_format(self.net, run.device)
        set_cosine_rate(self.optimizers["depth"], self.config.learning_rate, run.index, self.steps, warmup=50)
        indices = torch.randint(len(self.data), (run.config.batch,), generator=run.rng("pictures"))
        pictures, depths = augment(self.data.images(indices), self.data.depths(indices), run.rng("augment"))

        def terms() -> Iterator[torch.Tensor]:
            for pictures_, depths_ in run.microbatches(run.local_shard(pictures), run.local_shard(depths)):
                with run.autocast():
                    found = self.net(pictures_)[:, 0]
                error = found - depths_
                slopes = (error.diff(dim=1).abs().mean() + error.diff(dim=2).abs().mean()) / 2  # keeps the relief within a region
                run.log("loss/depth", error.abs().mean())
                run.log("loss/slope", slopes)
                yield error.abs().mean() + slopes

        run.update("depth", terms)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: augmented pictures, their depth, the averaged network's depth."""
        indices = permutation(len(self.data), 0, "grid")[:10]
        pictures, depths = augment(self.data.images(indices), self.data.depths(indices), derive_rng(0, "grid augment"))
        with run.autocast():
            found = run.averages["depth"](pictures.to(run.device)).cpu()[:, 0]
        rows = [to_uint8(pictures)]
        rows += [(maps.clamp(0, 1) * 255).round().to(torch.uint8).numpy()[..., None].repeat(3, axis=3) for maps in (depths, found)]
        return tile(rows, scale=max(1, 128 // pictures.shape[-1]))
