"""The Inception-v3 of the FID, from its description, with the published weights read from a path.

It differs from the Inception-v3 of later libraries: 1008 outputs, average pools that do not count the padding, a maximum pool in the
last block, its own resizing (``legacy``: bilinear without antialiasing) and inputs in [-1, 1). Batch norms are folded into the
convolutions when the weights are read.

Sources: Szegedy et al., "Rethinking the Inception Architecture", 2015 (arXiv 1512.00567); Heusel et al., 2017 (arXiv 1706.08500).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import ProxymaskError
from ...core.hashing import file_hash, tensors_hash
from ...core.published_weights import read_weights
from .base import FeatureNetwork
from .resize import clean_resize, legacy_resize, quantized

Resizing = Literal["legacy", "clean"]
SIDE = 299
EPS = 0.001
PUBLISHED = "6726825d"  # start of the SHA-256 of the published file


class Conv(NamedTuple):
    """One convolution with its batch norm: the name in the weights, channels, kernel, stride and padding."""

    name: str
    out: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


def _conv(name: str, out: int, kernel: int | tuple[int, int] = 1, stride: int = 1, same: bool = True) -> Conv:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    return Conv(name, out, size, stride, (size[0] // 2, size[1] // 2) if same else (0, 0))


Branch = tuple[Conv | tuple[Conv, ...], ...]
"""Convolutions in sequence; those of a tuple in it are parallel, and their outputs are concatenated."""
Pool = Literal["mean", "max", "stride"]


class Block(NamedTuple):
    """Parallel branches. The last one pools the input: mean or max of stride 1, then a 1x1 convolution to ``projected`` channels; or max of
    stride 2 (``stride``)."""

    branches: tuple[Branch, ...]
    pool: Pool
    projected: int = 0


def _a(projected: int) -> Block:
    five = (_conv("branch5x5_1", 48), _conv("branch5x5_2", 64, 5))
    three = (_conv("branch3x3dbl_1", 64), _conv("branch3x3dbl_2", 96, 3), _conv("branch3x3dbl_3", 96, 3))
    return Block(((_conv("branch1x1", 64),), five, three), "mean", projected)


def _c(width: int) -> Block:
    row, column = (1, 7), (7, 1)
    single = (_conv("branch7x7_1", width), _conv("branch7x7_2", width, row), _conv("branch7x7_3", 192, column))
    double = (
        _conv("branch7x7dbl_1", width),
        _conv("branch7x7dbl_2", width, column),
        _conv("branch7x7dbl_3", width, row),
        _conv("branch7x7dbl_4", width, column),
        _conv("branch7x7dbl_5", 192, row),
    )
    return Block(((_conv("branch1x1", 192),), single, double), "mean", 192)


def _e(pool: Pool) -> Block:
    row, column = (1, 3), (3, 1)
    three = (_conv("branch3x3_1", 384), (_conv("branch3x3_2a", 384, row), _conv("branch3x3_2b", 384, column)))
    double = (
        _conv("branch3x3dbl_1", 448),
        _conv("branch3x3dbl_2", 384, 3),
        (_conv("branch3x3dbl_3a", 384, row), _conv("branch3x3dbl_3b", 384, column)),
    )
    return Block(((_conv("branch1x1", 320),), three, double), pool, 192)


STEM: tuple[Conv | None, ...] = (  # None: 3x3 maximum pool of stride 2
    _conv("Conv2d_1a_3x3", 32, 3, 2, same=False),
    _conv("Conv2d_2a_3x3", 32, 3, same=False),
    _conv("Conv2d_2b_3x3", 64, 3),
    None,
    _conv("Conv2d_3b_1x1", 80),
    _conv("Conv2d_4a_3x3", 192, 3, same=False),
    None,
)
BLOCKS: dict[str, Block] = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": Block(
        (
            (_conv("branch3x3", 384, 3, 2, same=False),),
            (_conv("branch3x3dbl_1", 64), _conv("branch3x3dbl_2", 96, 3), _conv("branch3x3dbl_3", 96, 3, 2, same=False)),
        ),
        "stride",
    ),
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": Block(
        (
            (_conv("branch3x3_1", 192), _conv("branch3x3_2", 320, 3, 2, same=False)),
            (
                _conv("branch7x7x3_1", 192),
                _conv("branch7x7x3_2", 192, (1, 7)),
                _conv("branch7x7x3_3", 192, (7, 1)),
                _conv("branch7x7x3_4", 192, 3, 2, same=False),
            ),
        ),
        "stride",
    ),
    "Mixed_7b": _e("mean"),
    "Mixed_7c": _e("max"),
}


class _Folded(nn.Conv2d):
    """A convolution with its batch norm folded in, and ReLU."""

    def __init__(self, fin: int, spec: Conv) -> None:
        super().__init__(fin, spec.out, spec.kernel, spec.stride, spec.padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(super().forward(x), inplace=True)


class _Mixed(nn.Module):
    """One block of parallel branches."""

    def __init__(self, fin: int, block: Block) -> None:
        super().__init__()
        self.block = block
        self.convs = nn.ModuleDict()
        self.out = 0
        for branch in block.branches:
            width = fin
            for step in branch:
                group = (step,) if isinstance(step, Conv) else step
                for spec in group:
                    self.convs[spec.name] = _Folded(width, spec)
                width = sum(spec.out for spec in group)
            self.out += width
        if block.projected:
            self.convs["branch_pool"] = _Folded(fin, _conv("branch_pool", block.projected))
        self.out += block.projected or fin

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = []
        for branch in self.block.branches:
            y = x
            for step in branch:
                group = (step,) if isinstance(step, Conv) else step
                y = torch.cat([self.convs[spec.name](y) for spec in group], dim=1) if len(group) > 1 else self.convs[group[0].name](y)
            parts.append(y)
        if self.block.pool == "stride":
            parts.append(F.max_pool2d(x, 3, 2))
        else:
            mean = self.block.pool == "mean"
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if mean else F.max_pool2d(x, 3, 1, 1)
            parts.append(self.convs["branch_pool"](pooled))
        return torch.cat(parts, dim=1)


class InceptionFeatures(FeatureNetwork):
    """The 2048 pooled features of the FID.

    Args:
        weights: tensors under their published names (:func:`~proxymask.core.published_weights.read_weights`).
        resizing: ``legacy`` as the first FID, ``clean`` as clean-fid.
        published: whether ``weights`` are the published ones; only then a distance on them is called FID.
        digest: SHA-256 of their file; computed from the tensors where it is not given.

    Raises:
        ProxymaskError: tensors missing or of another shape.
    """

    dim = 2048

    def __init__(self, weights: dict[str, torch.Tensor], resizing: Resizing = "legacy", published: bool = False, digest: str = "") -> None:
        super().__init__()
        if resizing not in ("legacy", "clean"):
            raise ProxymaskError(f"resizing={resizing!r}: Inception takes legacy or clean")
        self.resizing: Resizing = resizing
        self.is_fid = published
        self.key = f"inception-{resizing}"
        self.label = "Inception-v3" if published else "Inception-v3 (not the published weights)"
        kind = "bilinear without antialiasing (legacy)" if resizing == "legacy" else "antialiased bicubic (clean)"
        self.resize = f"{kind} to {SIDE}"
        self.digest = digest or tensors_hash(weights)
        self.build()
        self._load(weights)
        self.eval().requires_grad_(False)

    def build(self) -> None:
        """The layers, without weights."""
        self.stem = nn.ModuleDict()
        width = 3
        for spec in STEM:
            if spec is not None:
                self.stem[spec.name] = _Folded(width, spec)
                width = spec.out
        self.mixed = nn.ModuleDict()
        for name, block in BLOCKS.items():
            made = _Mixed(width, block)
            self.mixed[name], width = made, made.out

    @classmethod
    def from_file(cls, path: str | Path, resizing: Resizing = "legacy") -> "InceptionFeatures":
        """Read the weights from a ``.pth`` or safetensors file; the file's SHA-256 tells whether they are the published ones."""
        weights, digest = read_weights(path), file_hash(Path(path))
        return cls(weights, resizing, published=digest.startswith(PUBLISHED), digest=digest)

    def parts(self) -> Iterator[tuple[str, _Folded]]:
        """Every convolution by its name in the published weights."""
        for name, conv in self.stem.items():
            assert isinstance(conv, _Folded)
            yield name, conv
        for block, mixed in self.mixed.items():
            assert isinstance(mixed, _Mixed)
            for name, conv in mixed.convs.items():
                assert isinstance(conv, _Folded)
                yield f"{block}.{name}", conv

    @torch.no_grad()
    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        for name, conv in self.parts():
            try:
                kernel = weights[f"{name}.conv.weight"].float()
                gain, shift, mean, var = (
                    weights[f"{name}.bn.{part}"].float() for part in ("weight", "bias", "running_mean", "running_var")
                )
            except KeyError as error:
                raise ProxymaskError(f"these are no weights of the FID's Inception-v3: {error.args[0]} is missing") from None
            if kernel.shape != conv.weight.shape:
                raise ProxymaskError(f"{name}.conv.weight is {tuple(kernel.shape)}, the FID's Inception-v3 has {tuple(conv.weight.shape)}")
            scale = gain / (var + EPS).sqrt()
            assert conv.bias is not None
            conv.weight.copy_(kernel * scale[:, None, None, None])
            conv.bias.copy_(shift - mean * scale)

    def layers(self, levels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pooled activations (B, C) after the first pool ("64"), the second ("192"), the 17x17 blocks ("768") and the last ("2048"), of
        levels 0..255 already at 299x299."""
        x = (levels - 128) / 128
        out = {}
        for spec in STEM:
            if spec is None:
                x = F.max_pool2d(x, 3, 2)
                out[str(x.shape[1])] = x.mean((2, 3))
            else:
                x = self.stem[spec.name](x)
        for name, block in self.mixed.items():
            x = block(x)
            if name in ("Mixed_6e", "Mixed_7c"):
                out[str(x.shape[1])] = x.mean((2, 3))
        return out

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], of any size -> float32 (B, 2048)."""
        levels = quantized(pictures)
        resized = legacy_resize(levels, SIDE) if self.resizing == "legacy" else clean_resize(levels, SIDE)
        return self.layers(resized)["2048"]
