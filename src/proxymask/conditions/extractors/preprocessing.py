"""Preprocessing of the edge networks: input size, ranges of values, resizing of outputs.

Shapes: B pictures, H x W their size, h x w the input size of a network.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)  # of red, green and blue in [0, 255]


class EnlargedInput(nn.Module):
    """Runs a network on enlarged pictures, closer to the size it was trained on, and resizes its output back.

    Args:
        net: (B, 3, h, w) in [0, 1] -> (B, 1, h, w).
        side: the shorter side is enlarged up to it, at most twofold (more blurs the pictures, and the time grows with the square).
        multiple: h and w are multiples of it.
    """

    def __init__(self, net: nn.Module, side: int, multiple: int) -> None:
        super().__init__()
        self.net, self.side, self.multiple = net, side, multiple

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1]."""
        x = (pictures.float() + 1) / 2
        h, w = x.shape[-2:]
        grow = min(2.0, max(1.0, self.side / min(h, w)))
        size = [max(1, round(v * grow / self.multiple)) * self.multiple for v in (h, w)]
        self.net.to(x.device)
        with torch.autocast(x.device.type, enabled=False):  # thin lines are small differences of large numbers
            y = self.net(F.interpolate(x, size=size, mode="bilinear", antialias=True))
        return F.interpolate(y, size=(h, w), mode="bilinear", antialias=True).clamp(0, 1)


def imagenet_normalized(x: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised with the mean and standard deviation of ImageNet."""
    return (x - x.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / x.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)


def caffe_input(x: torch.Tensor, mean: tuple[float, ...] = CAFFE_MEAN) -> torch.Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> the input of Caffe networks: BGR, 0 to 255, minus the mean (of red, green and blue)."""
    return (x * 255 - x.new_tensor(mean).view(1, 3, 1, 1)).flip(1)


def upsample(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bilinear upsampling to ``size`` (height, width)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
