"""What StyleGAN2's generator and discriminator share: block widths and resolutions, the equalised linear layer, the mapping network.

Shapes: B pictures; c_dim classes; z_dim, w_dim latent widths.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import ProxymaskError
from .stylegan2_ops import SQRT2

LabelStyle = Literal["embed", "concat"]


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature channels of the block at ``resolution``."""
    return max(min(channel_base // resolution, channel_max), 1)


def check_resolution(resolution: int) -> list[int]:
    """The block resolutions 4, 8, ..., ``resolution``; a :class:`ProxymaskError` unless it is a power of two, 8 or more."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ProxymaskError(f"resolution {resolution} must be a power of two, 8 or more")
    return [2**i for i in range(2, resolution.bit_length())]


def check_at_least(least: int, **values: int) -> None:
    """Raise a :class:`ProxymaskError` that names the first of ``values`` below ``least``."""
    for name, value in values.items():
        if value < least:
            raise ProxymaskError(f"{name} {value} must be {least} or more")


def check_positive(**values: float | None) -> None:
    """Raise a :class:`ProxymaskError` that names the first of ``values`` that is not a finite number above 0; None passes."""
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ProxymaskError(f"{name} {value} must be a finite number above 0")


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: (B, in_features) -> (B, out_features).

    Args:
        lrelu: a leaky ReLU (slope 0.2, gain sqrt(2)) follows.
        lr_multiplier: factor on weight and bias at run time; their stored values are that much larger.
        bias_init: what the bias starts as.
    """

    def __init__(
        self, in_features: int, out_features: int, lrelu: bool = False, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.lrelu = lrelu
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / in_features**0.5
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(x, (self.weight * self.weight_gain).to(x.dtype), (self.bias * self.bias_gain).to(x.dtype))
        return F.leaky_relu(x, 0.2) * SQRT2 if self.lrelu else x


class MappingNetwork(nn.Module):
    """z (B, z_dim) [and class (B, c_dim)] -> w (B, w_dim).

    Buffers: ``w_avg`` (w_dim,), the mean of w, for truncation; in a class-conditional network ``class_index`` (), the default class
    (-1: none), so that code without a class argument works on one class.

    Args:
        num_layers: linear layers.
        features: width of the hidden layers; w_dim where None.
        embed_features: width of the class embedding; w_dim where None.
        label: how the class enters. "embed": the normalised output of a linear layer is concatenated to the normalised z (ADA and
            later). "concat": the output of a matrix without bias is concatenated to z, and both are normalised together (Karras et al.
            2020, genforce).
    """

    w_avg: torch.Tensor
    class_index: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        num_layers: int,
        c_dim: int = 0,
        lr_multiplier: float = 0.01,
        features: int | None = None,
        embed_features: int | None = None,
        label: LabelStyle = "embed",
    ) -> None:
        super().__init__()
        if label not in ("embed", "concat"):
            raise ProxymaskError(f"label={label!r}: must be embed or concat")
        self.z_dim, self.w_dim, self.c_dim, self.num_layers, self.label = z_dim, w_dim, c_dim, num_layers, label
        hidden, extra = features or w_dim, 0
        if c_dim:
            extra = z_dim if label == "concat" else embed_features or w_dim
            if label == "concat":
                self.label_weight = nn.Parameter(torch.randn(c_dim, extra))
            else:
                self.embed = FullyConnected(c_dim, extra)
            self.register_buffer("class_index", torch.tensor(-1))
        for index in range(num_layers):
            width, out = z_dim + extra if index == 0 else hidden, w_dim if index == num_layers - 1 else hidden
            setattr(self, f"fc{index}", FullyConnected(width, out, lrelu=True, lr_multiplier=lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None, truncation: float = 1.0) -> torch.Tensor:
        """z (B, z_dim), one-hot classes c (B, c_dim) or None for the default class -> w (B, w_dim), float32.

        The result is ``w_avg + truncation * (mapped - w_avg)``.

        Raises:
            ProxymaskError: a class-conditional network without ``c`` and without a default class.
        """
        with torch.autocast(z.device.type, enabled=False):
            x = z.float()
            if self.c_dim and self.label == "concat":
                x = torch.cat([x, self._classes(c, len(x)) @ self.label_weight], dim=1)
            x = normalize_2nd_moment(x)
            if self.c_dim and self.label == "embed":
                x = torch.cat([x, normalize_2nd_moment(self.embed(self._classes(c, len(x))))], dim=1)
            for index in range(self.num_layers):
                x = getattr(self, f"fc{index}")(x)
            return x if truncation == 1.0 else torch.lerp(self.w_avg, x, truncation)

    def choose_class(self, index: int | None) -> None:
        """Make class ``index`` the default (None: no default); a :class:`ProxymaskError` where there is no such class."""
        if not self.c_dim:
            raise ProxymaskError("this generator has no classes: leave out --class")
        if index is not None and not 0 <= index < self.c_dim:
            raise ProxymaskError(f"--class {index}: this generator has the classes 0 to {self.c_dim - 1}")
        self.class_index.fill_(-1 if index is None else index)

    def _classes(self, c: torch.Tensor | None, batch: int) -> torch.Tensor:
        if c is not None:
            return c.float()
        if not 0 <= int(self.class_index) < self.c_dim:
            raise ProxymaskError(f"this generator is class-conditional: choose a class, --class 0 to {self.c_dim - 1}")
        return F.one_hot(self.class_index, self.c_dim).float().expand(batch, -1)


def normalize_2nd_moment(x: torch.Tensor) -> torch.Tensor:
    """Scale each row of x (B, C) to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
