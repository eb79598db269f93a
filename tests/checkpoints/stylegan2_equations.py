"""StyleGAN2's equations in float64, written from the papers; they use nothing of the package.

Legend: B pictures, C channels, (H, W) the size of a map.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a network is like."""

    resolution: int = 32
    base: int = 128
    top: int = 16
    z: int = 16
    w: int = 16
    depth: int = 2
    classes: int = 0
    channels: int = 3
    start: tuple[int, int] = (4, 4)
    clamp: float | None = None
    noise: bool = True
    features: int | None = None

    @property
    def widths(self) -> dict[int, int]:
        return {r: min(self.base // r, self.top) for r in (2**i for i in range(2, self.resolution.bit_length()))}

    def size(self, res: int) -> tuple[int, int]:
        return self.start[0] * res // 4, self.start[1] * res // 4


def normal(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def insert(x: Tensor) -> Tensor:
    """A zero after every sample but the last: (H, W) -> (2H - 1, 2W - 1)."""
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2] - 1, 2 * x.shape[3] - 1)
    y[:, :, ::2, ::2] = x
    return y


def smooth(x: Tensor, before: int, after: int, gain: float) -> Tensor:
    """The filter [1, 3, 3, 1] / 8 along both axes, after zeros at the edges."""
    x = F.pad(x, (before, after, before, after))
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    n = x.shape[2] - 3
    x = sum(t * x[:, :, i : i + n] for i, t in enumerate(taps))
    n = x.shape[3] - 3
    return gain * sum(t * x[:, :, :, i : i + n] for i, t in enumerate(taps))


def larger(image: Tensor) -> Tensor:
    """The skip image at twice the size."""
    return smooth(F.pad(insert(image), (0, 1, 0, 1)), 2, 1, 4.0)


def act(x: Tensor, clamp: float | None = None, gain: float = math.sqrt(2)) -> Tensor:
    x = torch.maximum(x, 0.2 * x) * gain
    return x if clamp is None else torch.clip(x, -clamp * gain / math.sqrt(2), clamp * gain / math.sqrt(2))


def dense(x: Tensor, weight: Tensor, bias: Tensor, rate: float = 1.0) -> Tensor:
    """Equalised: weight (out, in)."""
    return x @ weight.T * (rate / math.sqrt(weight.shape[1])) + bias * rate


def unit(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x * x, dim=1, keepdim=True) + 1e-8)


@dataclasses.dataclass
class Styled:
    """One styled convolution, in float64: weight (out, in, 3, 3) as it is multiplied with, ``turned`` for a true convolution."""

    weight: Tensor
    style_weight: Tensor
    style_bias: Tensor
    bias: Tensor
    noise: Tensor
    strength: Tensor
    up: bool
    turned: bool
    clamp: float | None

    def __call__(self, x: Tensor, w: Tensor, noise: bool = True) -> Tensor:
        style = dense(w, self.style_weight, self.style_bias)
        out = []
        for sample, s in zip(x, style, strict=True):
            kernel = self.weight * s[None, :, None, None]
            kernel = kernel / torch.sqrt((kernel**2).sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
            if self.turned:
                kernel = kernel.flip(2, 3)
            if self.up:
                out.append(smooth(F.conv2d(insert(sample[None]), kernel, padding=2), 1, 1, 4.0))
            else:
                out.append(F.conv2d(sample[None], kernel, padding=1))
        y = torch.cat(out)
        if noise:
            y = y + self.noise * self.strength
        return act(y + self.bias[:, None, None], self.clamp)


@dataclasses.dataclass
class Rgb:
    """toRGB: weight (channels, in, 1, 1), equalised, not demodulated."""

    weight: Tensor
    style_weight: Tensor
    style_bias: Tensor
    bias: Tensor
    clamp: float | None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        style = dense(w, self.style_weight, self.style_bias) / math.sqrt(x.shape[1])
        y = torch.einsum("bihw,oi,bi->bohw", x, self.weight[:, :, 0, 0], style) + self.bias[:, None, None]
        return y if self.clamp is None else torch.clip(y, -self.clamp, self.clamp)


@dataclasses.dataclass
class Reference:
    """A whole generator; ``w(z, c)`` is the family's own."""

    w: Callable[..., Tensor]
    const: Tensor
    layers: dict[str, Styled]
    rgbs: dict[int, Rgb]
    mean: Tensor

    def picture(self, ws: Tensor, noise: bool = True) -> Tensor:
        """ws (B, num_ws, w_dim) -> (B, C, H, W)."""
        ws = ws.double()
        image, used = None, 0
        x = self.const.expand(len(ws), -1, -1, -1)
        for res, rgb in self.rgbs.items():
            for name in ("conv0", "conv1"):
                if f"b{res}.{name}" in self.layers:
                    x = self.layers[f"b{res}.{name}"](x, ws[:, used], noise)
                    used += 1
            y = rgb(x, ws[:, used])
            image = y if image is None else larger(image) + y
        assert image is not None
        assert used + 1 == ws.shape[1]
        return image

    def __call__(self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None, noise: bool = True) -> Tensor:
        w = self.w(z.double(), c)
        ws = w[:, None].repeat(1, 2 * len(self.rgbs), 1)
        ws[:, :cutoff] = self.mean + psi * (ws[:, :cutoff] - self.mean)
        return self.picture(ws, noise)
