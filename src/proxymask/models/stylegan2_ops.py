"""Signal operations of StyleGAN2 in plain PyTorch: resampling filters, modulated convolution, leaky ReLU with bias.

Padding, gain and filter are the published ones (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", and its ADA
release), so that published weights give the published pictures. Nothing is compiled; every device runs the same code.

Shapes: B pictures; C, I, O channels; H x W the size of the input; n taps of the filter; k the kernel size.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

FIR = (1.0, 3.0, 3.0, 1.0)
SQRT2 = math.sqrt(2.0)
EPSILON = 1e-8


def fir_kernel(taps: tuple[float, ...] = FIR) -> torch.Tensor:
    """The resampling filter (n, n): the outer product of ``taps``, normalised, float32."""
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


def fir(
    x: torch.Tensor, kernel: torch.Tensor, padding: tuple[int, int], gain: float = 1.0, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Pad both axes by ``padding`` (before, after) zeros and filter every channel with ``kernel``.

    It is one two-dimensional depthwise convolution: on a CPU its backward pass is ten times faster than that of two separable ones.

    Args:
        x: (B, C, H, W).
        kernel: (n, n); symmetric, so convolution equals correlation.
        gain: factor on the result (4 after inserting zeros in both axes).
        bias: (C,), added at the end.
    """
    before, after = padding
    n, channels = kernel.shape[-1], x.shape[1]
    weight = (kernel * gain).to(x.dtype).expand(channels, 1, n, n)
    if before == after >= 0:
        return F.conv2d(x, weight, bias, padding=before, groups=channels)
    return F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, groups=channels)


def upsample2(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Upsample twofold: insert zeros, then filter with gain 4, in the precision of ``x``. (B, C, H, W) -> (B, C, 2H, 2W)."""
    b, c, h, w = x.shape
    n = kernel.shape[-1]
    spread = x.new_zeros(b, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = x
    with torch.autocast(x.device.type, enabled=False):  # the skip image stays float32
        return fir(spread.reshape(b, c, 2 * h, 2 * w), kernel, ((n + 1) // 2, (n - 2) // 2), gain=4.0)


def downsample2(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Downsample twofold: filter, then take every second sample. (B, C, H, W) -> (B, C, H/2, W/2)."""
    n = kernel.shape[-1]
    return fir(x, kernel, ((n - 1) // 2, (n - 2) // 2))[:, :, ::2, ::2]  # a strided depthwise backward is slow on CPUs


def lowpass2_matmul(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``upsample2(downsample2(x, kernel), kernel)`` in float32: (B, C, H, W), even H and W -> the same shape.

    It is computed as ``rows @ x @ columns``, which is several times faster for few channels.
    """
    return _separable(x, kernel, _lowpass_matrix)


def upsample2_matmul(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``upsample2(x, kernel)`` in float32, as two matrix products like :func:`lowpass2_matmul`: (B, C, H, W) -> (B, C, 2H, 2W)."""
    return _separable(x, kernel, _upsample_matrix)


def _separable(x: torch.Tensor, kernel: torch.Tensor, matrix: Callable[[int, tuple[float, ...]], torch.Tensor]) -> torch.Tensor:
    """``rows @ x @ columns``: ``matrix`` gives the operator on one axis, from its length and the taps of the filter."""
    taps = tuple(kernel.sum(dim=0).tolist())
    rows, columns = (matrix(side, taps).to(x.device) for side in x.shape[2:])
    with torch.autocast(x.device.type, enabled=False):
        return rows @ x.float() @ columns.t()


@functools.lru_cache(maxsize=16)
def _upsample_matrix(side: int, taps: tuple[float, ...]) -> torch.Tensor:
    """The matrix (2 side, side) of :func:`upsample2` along one axis of length ``side``."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        n, row = len(taps), torch.tensor(taps)
        spread = torch.zeros(side, 1, 2 * side)
        spread[:, 0, ::2] = torch.eye(side)
        return F.conv1d(F.pad(spread, ((n + 1) // 2, (n - 2) // 2)), 2.0 * row[None, None])[:, 0].t().contiguous()


@functools.lru_cache(maxsize=16)
def _lowpass_matrix(side: int, taps: tuple[float, ...]) -> torch.Tensor:
    """The matrix (side, side) of :func:`lowpass2_matmul` along one axis of length ``side``."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        n, row = len(taps), torch.tensor(taps)
        lines = torch.eye(side)[:, None]  # (side, 1, side): the unit vectors
        half = F.conv1d(F.pad(lines, ((n - 1) // 2, (n - 2) // 2)), row[None, None])[:, 0, ::2]
        return _upsample_matrix(side // 2, taps) @ half.t()


def conv_up2(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """3x3 convolution with twofold upsampling: transposed convolution, then the resampling filter with gain 4.

    (B, I, H, W) with weight (O, I, 3, 3) and bias (O,) -> (B, O, 2H, 2W).
    """
    n = kernel.shape[-1]
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return fir(x, kernel, (1 + (n + 1) // 2 - 2, 1 + (n - 2) // 2 - 1), 4.0, bias)


def conv_down2(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolution with twofold downsampling: the filter, then a strided convolution; a 1x1 convolution follows :func:`downsample2`.

    (B, I, H, W) with weight (O, I, k, k), k = 1 or 3 -> (B, O, H/2, W/2).
    """
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2(x, kernel), weight)
    n, pad = kernel.shape[-1], weight.shape[-1] // 2
    return F.conv2d(fir(x, kernel, (pad + (n - 1) // 2, pad + (n - 2) // 2)), weight, stride=2)


def bias_lrelu(x: torch.Tensor, bias: torch.Tensor | None, gain: float = SQRT2, clamp: float | None = None) -> torch.Tensor:
    """``gain * leaky_relu(x / gain + bias, 0.2)``, clamped to +-``clamp``. The caller has already multiplied ``x`` (B, C, ...) by ``gain``.

    A leaky ReLU commutes with a positive factor. The caller multiplies the gain into the weights of the convolution before it, which
    saves a pass over the activations.
    """
    if bias is not None:
        x = x + (bias * gain).to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
    x = F.leaky_relu(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def modulated_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    style: torch.Tensor,
    *,
    demodulate: bool,
    up_kernel: torch.Tensor | None = None,
    gain: float = 1.0,
    epsilon: float = EPSILON,
) -> torch.Tensor:
    """Modulated convolution (Karras et al. 2020, section 2.2), by scaling activations instead of weights.

    ``demod * conv(style * x, weight)`` equals a convolution with weights for each sample, without a grouped convolution, which is many
    times slower on a CPU.

    Args:
        x: (B, I, H, W).
        weight: (O, I, k, k).
        style: (B, I), one factor for each input channel.
        demodulate: divide by the norm of the modulated weights.
        up_kernel: upsample twofold with this filter; None: keep the size.
        gain: factor on the result.
        epsilon: added to the squared norm of the modulated weights, under the root.

    Returns:
        (B, O, H, W), or (B, O, 2H, 2W) with ``up_kernel``.
    """
    if demodulate:
        energy = style.float().square() @ weight.float().square().sum(dim=(2, 3)).t()  # (B, O)
        demod = (energy + epsilon).rsqrt() * gain
    else:
        style = style * gain
    x = x * style.to(x.dtype)[:, :, None, None]
    if up_kernel is not None:
        x = conv_up2(x, weight.to(x.dtype), up_kernel)
    else:
        x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    return x * demod.to(x.dtype)[:, :, None, None] if demodulate else x
