"""SqueezeNet v1.1, AlexNet and VGG-16 without their classifiers, for LPIPS and as feature networks; weights are read from a path.

Sources: Iandola et al., "SqueezeNet", 2016 (arXiv 1602.07360); Krizhevsky, "One weird trick", 2014 (arXiv 1404.5997);
Simonyan and Zisserman, 2014 (arXiv 1409.1556).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import ProxymaskError
from ...core.hashing import tensors_hash
from ...core.published_weights import read_weights
from .base import FeatureNetwork
from .resize import quantized


class Conv(NamedTuple):
    """A convolution with ReLU: position in torchvision's stack, channels, kernel, stride, padding."""

    at: int
    out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Fire(NamedTuple):
    """SqueezeNet's module: position, its name in Caffe's weights, squeezed and expanded channels."""

    at: int
    caffe: str
    squeeze: int
    expand: int


class Pool(NamedTuple):
    """Maximum pool."""

    size: int
    stride: int = 2


Layer = Conv | Fire | Pool
_FIRES = ((3, 16, 64), (4, 16, 64), (6, 32, 128), (7, 32, 128), (9, 48, 192), (10, 48, 192), (11, 64, 256), (12, 64, 256))
_FIRE = [Fire(index, f"fire{number}", squeeze, expand) for number, (index, squeeze, expand) in enumerate(_FIRES, start=2)]
STACKS: dict[str, tuple[Layer, ...]] = {
    "squeezenet": (Conv(0, 64, 3, 2, 0), Pool(3), *_FIRE[:2], Pool(3), *_FIRE[2:4], Pool(3), *_FIRE[4:]),
    "alexnet": (
        Conv(0, 64, 11, 4, 2),
        Pool(3),
        Conv(3, 192, 5, 1, 2),
        Pool(3),
        Conv(6, 384),
        Conv(8, 256),
        Conv(10, 256),
    ),
    "vgg16": (
        *(Conv(0, 64), Conv(2, 64), Pool(2)),
        *(Conv(5, 128), Conv(7, 128), Pool(2)),
        *(Conv(10, 256), Conv(12, 256), Conv(14, 256), Pool(2)),
        *(Conv(17, 512), Conv(19, 512), Conv(21, 512), Pool(2)),
        *(Conv(24, 512), Conv(26, 512), Conv(28, 512)),
    ),
}
TAPS: dict[str, tuple[int, ...]] = {  # layers whose activations LPIPS compares
    "squeezenet": (0, 4, 7, 9, 10, 11, 12),
    "alexnet": (0, 3, 6, 8, 10),
    "vgg16": (2, 7, 14, 21, 28),
}
LABELS = {"squeezenet": "SqueezeNet v1.1", "alexnet": "AlexNet", "vgg16": "VGG-16"}
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of blue, green and red
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ConvNet(nn.Module):
    """One of the networks with its weights.

    Args:
        kind: a key of :data:`STACKS`.
        weights: tensors under torchvision's names (``features.0.weight``) or, for SqueezeNet, Caffe's (``fire2.squeeze1x1.weight``).

    Raises:
        ProxymaskError: tensors missing or of another shape.
    """

    def __init__(self, kind: str, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.kind = kind
        self.caffe = "conv1.weight" in weights
        if self.caffe and kind != "squeezenet":
            raise ProxymaskError(f"these are Caffe's weights of SqueezeNet, not of {LABELS[kind]}")
        self.digest = tensors_hash(weights)
        self.convs = nn.ModuleDict()
        for name, source, conv in _convolutions(kind, self.caffe):
            self._put(name, conv, weights, source)
        self.eval().requires_grad_(False)

    @staticmethod
    def shapes(kind: str) -> dict[str, tuple[int, ...]]:
        """Names (torchvision's) and shapes of the tensors that a stack reads."""
        return {
            f"{source}.{part}": tuple(value.shape)
            for _, source, conv in _convolutions(kind, caffe=False)
            for part, value in conv.named_parameters()
        }

    @torch.no_grad()
    def _put(self, name: str, conv: nn.Conv2d, weights: dict[str, torch.Tensor], source: str) -> None:
        assert conv.bias is not None
        for kind, target in (("weight", conv.weight), ("bias", conv.bias)):
            value = weights.get(f"{source}.{kind}")
            if value is None or value.shape != target.shape:
                found = "missing" if value is None else f"of shape {tuple(value.shape)}, not {tuple(target.shape)}"
                raise ProxymaskError(f"these are no weights of {LABELS[self.kind]}: {source}.{kind} is {found}")
            target.copy_(value.float())
        self.convs[name] = conv

    def prepared(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], normalised as in the training of the weights."""
        if self.caffe:
            mean = torch.tensor(CAFFE_MEAN, device=pictures.device)[:, None, None]
            return (pictures.flip(1) + 1) * 127.5 - mean
        mean, std = (torch.tensor(v, device=pictures.device)[:, None, None] for v in (MEAN, STD))
        return ((pictures + 1) / 2 - mean) / std

    def taps(self, x: torch.Tensor, at: Sequence[int] | None = None) -> list[torch.Tensor]:
        """Activations (B, C, h, w) after the layers ``at`` (by default those of LPIPS), of :meth:`prepared` pictures."""
        wanted = TAPS[self.kind] if at is None else tuple(at)
        out = []
        for layer in STACKS[self.kind]:
            if isinstance(layer, Pool):
                # torchvision's SqueezeNet keeps incomplete windows, Caffe's port and the others drop them
                x = F.max_pool2d(x, layer.size, layer.stride, ceil_mode=self.kind == "squeezenet" and not self.caffe)
                continue
            if isinstance(layer, Conv):
                x = F.relu(self.convs[str(layer.at)](x))
            else:
                x = F.relu(self.convs[f"{layer.at}s"](x))
                x = F.relu(torch.cat([self.convs[f"{layer.at}a"](x), self.convs[f"{layer.at}b"](x)], dim=1))
            if layer.at in wanted:
                out.append(x)
        return out


def _convolutions(kind: str, caffe: bool) -> Iterator[tuple[str, str, nn.Conv2d]]:
    """Our name, the name in the weights, and the layer, of every convolution of a stack."""
    width = 3
    for layer in STACKS[kind]:
        if isinstance(layer, Conv):
            source = "conv1" if caffe else f"features.{layer.at}"
            yield str(layer.at), source, nn.Conv2d(width, layer.out, layer.kernel, layer.stride, layer.padding)
            width = layer.out
        elif isinstance(layer, Fire):
            source = layer.caffe if caffe else f"features.{layer.at}"
            yield f"{layer.at}s", f"{source}.squeeze1x1" if caffe else f"{source}.squeeze", nn.Conv2d(width, layer.squeeze, 1)
            yield f"{layer.at}a", f"{source}.expand1x1", nn.Conv2d(layer.squeeze, layer.expand, 1)
            yield f"{layer.at}b", f"{source}.expand3x3", nn.Conv2d(layer.squeeze, layer.expand, 3, padding=1)
            width = 2 * layer.expand


class SqueezeNetFeatures(FeatureNetwork):
    """The last module of SqueezeNet v1.1, averaged over the picture: 512 features.

    Args:
        net: the network.
        side: pictures are resized to this side first, antialiased bicubic.
    """

    dim = 512

    def __init__(self, net: ConvNet, side: int = 224) -> None:
        super().__init__()
        if net.kind != "squeezenet":
            raise ProxymaskError(f"SqueezeNet's features come from SqueezeNet, not from {LABELS[net.kind]}")
        self.net, self.side = net, side
        self.key = "squeezenet-caffe" if net.caffe else "squeezenet"
        self.label = "SqueezeNet v1.1 (Caffe weights)" if net.caffe else "SqueezeNet v1.1"
        self.resize = f"antialiased bicubic to {side}"
        self.digest = net.digest

    @classmethod
    def from_file(cls, path: str | Path) -> "SqueezeNetFeatures":
        """Read torchvision's or Caffe's weights from a ``.pth`` or safetensors file."""
        return cls(ConvNet("squeezenet", read_weights(path)))

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], of any size -> float32 (B, 512)."""
        levels = quantized(pictures) / 127.5 - 1
        sized = F.interpolate(levels, size=(self.side, self.side), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.net.taps(self.net.prepared(sized), at=(12,))[0].mean((2, 3))
