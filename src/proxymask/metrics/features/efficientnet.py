"""EfficientNet-Lite0 without its classifier, as a feature network; its ImageNet weights come with a package (extra ``features``).

Stronger than SqueezeNet and small (3.4 M parameters). A distance on it is no FID, and is never called one. Batch norms are folded into the
convolutions when the weights are read. Convolutions pad as TensorFlow's "same" does: the odd pixel at the right and at the bottom.

Sources: Tan and Le, "EfficientNet", 2019 (arXiv 1905.11946); Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow
blog, 2020 (no squeeze-and-excitation, ReLU6). Shapes: B pictures of H x W pixels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import ProxymaskError
from ...core.hashing import file_hash, tensors_hash
from ...core.published_weights import read_weights
from .base import FeatureNetwork
from .resize import quantized

SIDE = 224
EPS = 0.001
MEAN, SCALE = 127.0, 128.0
LABEL = "EfficientNet-Lite0"
PUBLISHED = "57934424"  # start of the SHA-256 of the published file


class Stage(NamedTuple):
    """Inverted residual blocks in sequence: kernel, stride of the first, expansion of the channels, channels, number of blocks."""

    kernel: int
    stride: int
    expand: int
    out: int
    blocks: int


STEM, HEAD = 32, 1280  # channels
STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
TAPS = (0, 1, 2, 4, 6)  # stages after which the maps of a perceptual distance are taken: one a size


class _Folded(nn.Conv2d):
    """A convolution with its batch norm folded in, padded as "same"; then ReLU6, unless ``linear``."""

    def __init__(self, fin: int, fout: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False) -> None:
        super().__init__(fin, fout, kernel, stride, groups=groups)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel > 1:
            rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        x = super().forward(x)
        return x if self.linear else F.relu6(x)


class _Block(nn.Module):
    """Inverted residual block: 1x1 to more channels, depthwise, 1x1 to fewer; the input is added where shapes allow."""

    def __init__(self, fin: int, fout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = fin * expand
        self.expand = _Folded(fin, wide) if expand > 1 else None
        self.depthwise = _Folded(wide, wide, kernel, stride, groups=wide)
        self.project = _Folded(wide, fout, linear=True)
        self.adds = stride == 1 and fin == fout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.adds else y


class EfficientNetFeatures(FeatureNetwork):
    """The last convolution of EfficientNet-Lite0, averaged over the picture: 1280 features.

    Args:
        weights: tensors under the names of the published state dict (``_blocks.0._depthwise_conv.weight``); the classifier's are not read.
        published: whether they are the published ones, which were trained on ImageNet.
        digest: SHA-256 of their file; computed from the tensors where it is not given.

    Raises:
        ProxymaskError: tensors missing or of another shape.
    """

    dim = HEAD
    key = "efficientnet-lite0"
    resize = f"antialiased bicubic to {SIDE}"

    def __init__(self, weights: dict[str, torch.Tensor], published: bool = False, digest: str = "") -> None:
        super().__init__()
        self.label = f"{LABEL} (ImageNet)" if published else f"{LABEL} (not the published weights)"
        self.stem = _Folded(3, STEM, 3, 2)
        stages, fin = [], STEM
        for stage in STAGES:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(_Block(fin, stage.out, stage.kernel, 1 if number else stage.stride, stage.expand))
                fin = stage.out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = _Folded(fin, HEAD)
        self.digest = digest or tensors_hash(weights)
        self._load(weights)
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: str | Path) -> "EfficientNetFeatures":
        """Read the published state dict, or another file of the same tensors; its SHA-256 tells which it is."""
        weights, digest = read_weights(path), file_hash(Path(path))
        return cls(weights, digest.startswith(PUBLISHED), digest)

    def parts(self) -> Iterator[tuple[str, str, _Folded]]:
        """Every convolution, after the names of its kernel and of its batch norm in the published weights."""
        yield "_conv_stem", "_bn0", self.stem
        blocks = [block for stage in self.stages if isinstance(stage, nn.Sequential) for block in stage]
        for number, block in enumerate(blocks):
            assert isinstance(block, _Block)
            start = f"_blocks.{number}."
            if block.expand is not None:
                yield f"{start}_expand_conv", f"{start}_bn0", block.expand
            yield f"{start}_depthwise_conv", f"{start}_bn1", block.depthwise
            yield f"{start}_project_conv", f"{start}_bn2", block.project
        yield "_conv_head", "_bn1", self.head

    @torch.no_grad()
    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        for name, norm, conv in self.parts():
            width = (conv.out_channels,)
            shapes = {f"{name}.weight": tuple(conv.weight.shape)}
            shapes |= {f"{norm}.{part}": width for part in ("weight", "bias", "running_mean", "running_var")}
            for key, shape in shapes.items():
                value = weights.get(key)
                if value is None or tuple(value.shape) != shape:
                    found = "missing" if value is None else f"of shape {tuple(value.shape)}, not {shape}"
                    raise ProxymaskError(f"these are no weights of {LABEL}: {key} is {found}")
            kernel, gain, shift, mean, var = (weights[key].float() for key in shapes)
            scale = gain / (var + EPS).sqrt()
            assert conv.bias is not None
            conv.weight.copy_(kernel * scale[:, None, None, None])
            conv.bias.copy_(shift - mean * scale)

    def prepared(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], of any size -> the network's input (B, 3, 224, 224)."""
        levels = F.interpolate(quantized(pictures), size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        return (levels - MEAN) / SCALE

    @torch.no_grad()
    def maps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps (B, C_l, h_l, w_l) of 112, 56, 28, 14 and 7 positions a side, for a perceptual distance."""
        x, out = self.stem(self.prepared(pictures)), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TAPS:
                out.append(x)
        return out

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], of any size -> float32 (B, 1280)."""
        return self.head(self.maps(pictures)[-1]).mean((2, 3))
