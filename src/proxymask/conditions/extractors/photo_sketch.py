"""Photo-Sketching: contour drawings of photos (Li et al. 2019).

Written from the paper and from the shapes in the published file; source and licence are in ``SPECS``.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ...core.published_weights import read_weights
from .weights import fill


class _Norm(nn.BatchNorm2d):
    """Instance norm with the parameters of a batch norm: the authors run batch norm in training mode on one picture at a time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class _ResnetBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            _Norm(width),
            nn.ReLU(),
            nn.Identity(),
        ]
        self.conv_block = nn.Sequential(*parts, nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), _Norm(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class PhotoSketch(nn.Module):
    """Contour drawings of photos (Li et al. 2019): a residual encoder and decoder. (B, 3, h, w) in [0, 1] -> ink (B, 1, h, w).

    Args:
        width: channels at full size; 64 in the published file.
        blocks: residual blocks; 9 in the published file.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), _Norm(width), nn.ReLU()]
        for a, b in pairwise((width, 2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), _Norm(b), nn.ReLU()]
        layers += [_ResnetBlock(4 * width) for _ in range(blocks)]
        for a, b in pairwise((4 * width, 2 * width, width)):
            layers += [nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1, bias=False), _Norm(b), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        paper = self.model(x * 2 - 1)  # black lines on white, in [-1, 1]
        return (1 - paper) / 2


def load_photo_sketch(path: Path) -> PhotoSketch:
    """Photo-Sketching's generator from its published checkpoint; a :class:`ProxymaskError` where the file does not fit."""
    state = read_weights(path)
    for name in [name for name in state if name.endswith("running_mean")]:  # files older than PyTorch 0.4.1 lack this counter
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    first = state.get("model.1.weight")
    blocks = len({name.split(".")[1] for name in state if ".conv_block." in name})
    net = PhotoSketch(4 if first is None else first.shape[0], blocks)
    fill(net, state, path)
    return net
