"""HED: soft edges by holistically-nested edge detection (Xie and Tu 2015).

Written from the paper and from the shapes in the published file; source and licence are in ``SPECS``.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from .preprocessing import caffe_input, upsample
from .weights import fill, load_state


class HED(nn.Module):
    """Holistically-nested edge detection: VGG-16 with a side output at each of five sizes.

    (B, 3, h, w) in [0, 1] -> (B, 1, h, w) in [0, 1].

    Args:
        widths: channels of the five stages; (64, 128, 256, 512, 512) in the published file.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        stages, scores, fin = [], [], 3
        for index, width in enumerate(widths):
            layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if index else []
            for _ in range(2 if index < 2 else 3):
                layers += [nn.Conv2d(fin, width, 3, padding=1), nn.ReLU()]
                fin = width
            stages.append(nn.Sequential(*layers))
            scores.append(nn.Conv2d(width, 1, 1))
        self.stages, self.scores = nn.ModuleList(stages), nn.ModuleList(scores)
        self.combine = nn.Conv2d(len(widths), 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, sides = x.shape[-2:], []
        x = caffe_input(x)
        for stage, score in zip(self.stages, self.scores, strict=True):
            x = stage(x)
            sides.append(upsample(score(x), size))
        return torch.sigmoid(self.combine(torch.cat(sides, dim=1)))


_STAGE_NAMES = ("One", "Two", "Thr", "Fou", "Fiv")


def load_hed(path: Path) -> HED:
    """HED from the PyTorch conversion of the authors' weights, whose stages are called ``moduleVggOne`` or ``netVggOne`` and so on."""
    state = {name.removeprefix("module").removeprefix("net"): value for name, value in load_state(path).items()}
    renamed: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        for index, number in enumerate(_STAGE_NAMES):
            name = name.replace(f"Vgg{number}.", f"stages.{index}.").replace(f"Score{number}.", f"scores.{index}.")
        renamed[name.replace("Combine.0.", "combine.")] = value
    widths = [renamed[f"scores.{i}.weight"].shape[1] for i in range(5) if f"scores.{i}.weight" in renamed]
    net = HED(widths if len(widths) == 5 else (4,) * 5)
    fill(net, renamed, path)
    return net
