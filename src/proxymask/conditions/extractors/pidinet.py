"""PiDiNet: edges by a pixel difference network (Su et al. 2021), as plain convolutions.

Written from the paper and from the shapes in the published file; source and licence are in ``SPECS``.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ...core.published_weights import read_weights
from .preprocessing import imagenet_normalized, upsample
from .weights import fill

_NEXT_ANGLE = [3, 0, 1, 6, 4, 2, 7, 8, 5]  # for each position of 3x3, the next one around the centre
_OUTER, _INNER = [0, 2, 4, 10, 14, 20, 22, 24], [6, 7, 8, 11, 13, 16, 17, 18]  # positions of 5x5 on the eight rays


def plain_kernel(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """Weights (O, I, 3, 3) of a pixel difference convolution -> weights of the equal plain convolution, (O, I, 3, 3) or (O, I, 5, 5).

    ``central``: differences between each neighbour and the centre. ``angular``: between each neighbour and the next one around the
    centre. ``radial``: between the outer and the inner pixel of 5x5 on each ray. ``plain``: no differences.

    Source: Su et al. 2021, section 3.2.
    """
    flat = weight.flatten(2)
    if kind == "central":
        flat = flat.clone()
        flat[:, :, 4] -= weight.sum(dim=(2, 3))
    elif kind == "angular":
        flat = flat - flat[:, :, _NEXT_ANGLE]
    elif kind == "radial":
        five = weight.new_zeros(*weight.shape[:2], 25)
        five[:, :, _OUTER] = flat[:, :, 1:]
        five[:, :, _INNER] = -flat[:, :, 1:]
        return five.view(*weight.shape[:2], 5, 5)
    return flat.view(weight.shape)


KINDS = ("central", "angular", "radial", "plain")  # repeated over the sixteen layers (configuration "carv4")


class _DifferenceBlock(nn.Module):
    """Depthwise convolution, ReLU, 1x1 convolution, residual; halves the size where ``down``."""

    def __init__(self, fin: int, fout: int, kind: str, down: bool) -> None:
        super().__init__()
        size = 5 if kind == "radial" else 3
        self.shortcut = nn.Conv2d(fin, fout, 1) if down else None
        self.conv1 = nn.Conv2d(fin, fin, size, padding=size // 2, groups=fin, bias=False)
        self.conv2 = nn.Conv2d(fin, fout, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shortcut is not None:
            x = F.max_pool2d(x, 2)
        y = self.conv2(F.relu(self.conv1(x)))
        return y + (x if self.shortcut is None else self.shortcut(x))


class _Dilated(nn.Module):
    """Sum of four dilated convolutions (the paper's CDCM)."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fin, fout, 1)
        for number, dilation in enumerate((5, 7, 9, 11), start=1):
            setattr(self, f"conv2_{number}", nn.Conv2d(fout, fout, 3, dilation=dilation, padding=dilation, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(F.relu(x))
        return torch.stack([getattr(self, f"conv2_{number}")(x) for number in range(1, 5)]).sum(dim=0)


class _Attention(nn.Module):
    """Spatial attention (the paper's CSAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 1)
        self.conv2 = nn.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.conv2(self.conv1(F.relu(x))))


class _Reduce(nn.Module):
    """1x1 convolution to one channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class PiDiNet(nn.Module):
    """Pixel difference network (Su et al. 2021) with attention and dilation, as plain convolutions.

    (B, 3, h, w) in [0, 1], h and w multiples of 8 -> (B, 1, h, w) in [0, 1].

    Args:
        width: channels of the first stage; 60, or 20 in the tiny variant.
        dilated: channels of the dilated convolutions; 24, or 8 in the tiny variant.
    """

    def __init__(self, width: int = 60, dilated: int = 24) -> None:
        super().__init__()
        self.init_block = nn.Conv2d(3, width, 3, padding=1, bias=False)
        layer, fin = 1, width
        self.stages: list[list[str]] = []
        for stage, (blocks, fout) in enumerate(zip((3, 4, 4, 4), (width, 2 * width, 4 * width, 4 * width), strict=True), start=1):
            names = [f"block{stage}_{number}" for number in range(1, blocks + 1)]
            for name in names:
                setattr(self, name, _DifferenceBlock(fin, fout, KINDS[layer % 4], down=stage > 1 and name.endswith("_1")))
                layer, fin = layer + 1, fout
            self.stages.append(names)
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.dilations = nn.ModuleList(_Dilated(w, dilated) for w in widths)
        self.attentions = nn.ModuleList(_Attention(dilated) for _ in widths)
        self.conv_reduces = nn.ModuleList(_Reduce(dilated) for _ in widths)
        self.classifier = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, sides = x.shape[-2:], []
        x = self.init_block(imagenet_normalized(x))
        parts = zip(self.stages, self.dilations, self.attentions, self.conv_reduces, strict=True)
        for names, dilation, attention, reduce in parts:
            for name in names:
                x = getattr(self, name)(x)
            sides.append(upsample(reduce(attention(dilation(x))), size))
        return torch.sigmoid(self.classifier(torch.cat(sides, dim=1)))


def load_pidinet(path: Path) -> PiDiNet:
    """PiDiNet of any width from its published checkpoint; a :class:`ProxymaskError` where the file does not fit."""
    state = read_weights(path)
    if "init_block.weight" not in state or "dilations.0.conv1.weight" not in state:
        fill(PiDiNet(4, 4), state, path)  # raises, and names what is missing
    net = PiDiNet(state["init_block.weight"].shape[0], state["dilations.0.conv1.weight"].shape[0])
    kinds = {"init_block.weight": KINDS[0]}
    for number, name in enumerate((name for names in net.stages for name in names), start=1):
        kinds[f"{name}.conv1.weight"] = KINDS[number % 4]
    fill(net, {name: plain_kernel(value, kinds[name]) if name in kinds else value for name, value in state.items()}, path)
    return net
