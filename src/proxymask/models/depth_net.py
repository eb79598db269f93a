"""A small network that estimates the depth of drawn pictures, so that generated ones can be paired with a depth map."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from .segmentation_nets import UNetSegmenter

MULTIPLE = 8  # of H and W: the network halves the resolution three times


class DepthNet(ConfigModel):
    """Pictures (B, 3, H, W) in [-1, 1] of any size -> depth (B, 1, H, W) in [0, 1], 1 nearest.

    Args:
        width: channels at full resolution.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.net: nn.Module = UNetSegmenter(1, width)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> depth (B, 1, H, W) in [0, 1]."""
        h, w = pictures.shape[-2:]
        padded = F.pad(pictures, (0, -w % MULTIPLE, 0, -h % MULTIPLE), mode="replicate") if h % MULTIPLE or w % MULTIPLE else pictures
        return torch.sigmoid(self.net(padded).float())[..., :h, :w]


def find_depth_net(path: Path) -> Path:
    """The folder of a saved :class:`DepthNet`: ``path`` itself, or ``<path>/depth`` where ``path`` is a run folder."""
    for folder in (path, path / "depth"):
        if (folder / "config.json").is_file():
            return folder
    raise ProxymaskError(f"{path} holds no depth network: train one with proxymask train depth, and name its run folder")
