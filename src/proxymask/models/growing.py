"""Grow a StyleGAN2 generator, its discriminator, and the networks of a bundle to a higher resolution, from the weights of smaller ones.

At the start the grown generator makes the smaller one's pictures, upsampled by the filter of the skip connection: at the old resolution
its skip image is the old picture. The grown discriminator gives a picture the logit that the smaller one gives the downsampled picture.
Both hold up to rounding, except that a wider 4x4 block changes the discriminator's minibatch standard deviation a little.

A grown segmenter or detail network reads the blocks that the smaller one reads, which have to be the same in the grown generator. Mappers
stay as they are: drawings are read at the size that they were trained with.

Blocks that exist in both networks are copied. Where they get wider, the new channels start with random weights, and the weights of the
next layer for these channels start at zero (Net2Net, Chen et al. 2016): the function stays the same, and the zeros get a gradient from
the first step on. A new block starts with a toRGB layer of zeros (generator), or passes the downsampled picture on (discriminator).
"""

from collections.abc import Sequence

import torch

from ..core.errors import ProxymaskError
from .detail_network import DetailNetwork
from .discriminator import Conv, Discriminator, DiscriminatorBlock
from .few_shot_segmenter import FewShotSegmenter
from .stylegan2 import Generator, SynthesisBlock, SynthesisLayer, ToRGB
from .stylegan2_layers import FullyConnected, channels_at
from .stylegan2_ops import SQRT2


@torch.no_grad()
def grow_generator(smaller: Generator, resolution: int, channel_base: int, channel_max: int) -> Generator:
    """A generator of ``resolution`` that starts with the function of ``smaller``.

    Args:
        smaller: its latents, mapping network, classes and start block are kept.
        resolution: side of the new pictures.
        channel_base, channel_max: widths, see :class:`Generator`; no block may be narrower than in ``smaller``.

    New weights are drawn from torch's global random state.

    Raises:
        ProxymaskError: ``resolution`` is not larger, or a block would get narrower.
    """
    _check_sizes(smaller, resolution, channel_base, channel_max)
    grown = Generator(**smaller.config | {"resolution": resolution, "channel_base": channel_base, "channel_max": channel_max})
    grown.mapping.load_state_dict(smaller.mapping.state_dict())
    for res in grown.synthesis.block_resolutions:
        block = grown.synthesis.block(res)
        if res > smaller.resolution:
            block.torgb.weight.zero_()
        else:
            _widen_block(smaller.synthesis.block(res), block)
    return grown.train(smaller.training)


@torch.no_grad()
def grow_discriminator(smaller: Discriminator, resolution: int, channel_base: int, channel_max: int) -> Discriminator:
    """A discriminator of ``resolution`` that starts with the function of ``smaller`` on pictures downsampled by the network's own filter.

    Arguments, random weights and errors are those of :func:`grow_generator`; the highest block also needs ``2 * img_channels`` channels.
    """
    _check_sizes(smaller, resolution, channel_base, channel_max)
    sizes = {"resolution": resolution, "channel_base": channel_base, "channel_max": channel_max}
    grown = Discriminator(**smaller.config | sizes | {"cmap_dim": smaller.b4.cmap_dim or None})
    if smaller.mapping is not None:
        assert grown.mapping is not None
        grown.mapping.load_state_dict(smaller.mapping.state_dict())
    needed = 2 * smaller.img_channels
    if channels_at(resolution, channel_base, channel_max) < needed:
        raise ProxymaskError(f"the highest block of the discriminator needs {needed} channels to grow: give a larger --channel-base")
    old_rgb = smaller.block(smaller.resolution).fromrgb
    assert old_rgb is not None
    for res in grown.block_resolutions:
        block = grown.block(res)
        if res > smaller.resolution:
            _pass_downsampled(block, old_rgb if res == 2 * smaller.resolution else None, grown.img_channels)
        else:
            old = smaller.block(res)
            for new_conv, old_conv in ((block.conv0, old.conv0), (block.conv1, old.conv1), (block.skip, old.skip)):
                _widen_conv(old_conv, new_conv)
    _widen_conv(smaller.b4.conv, grown.b4.conv, last=smaller.b4.mbstd_channels)
    _widen_linear(smaller.b4.fc, grown.b4.fc)
    _widen_linear(smaller.b4.out, grown.b4.out)
    return grown.train(smaller.training)


@torch.no_grad()
def grow_segmenter(smaller: FewShotSegmenter, level_channels: Sequence[int]) -> FewShotSegmenter:
    """A segmenter of larger pictures, from the features that ``smaller`` reads, interpolated twice as finely for each new block.

    ``level_channels``: feature channels of all blocks of the grown generator. The new blocks have weight 0.
    """
    old, new = len(smaller.level_rms), len(level_channels)
    factor = 2 ** (new - old)
    config = smaller.config
    changed = {
        "level_channels": [*config["level_channels"], *level_channels[old:]],
        "resolution": smaller.resolution * factor,
        "dilations": [d * factor for d in config["dilations"]],
    }
    grown = FewShotSegmenter(**config | changed)
    state, theirs = grown.state_dict(), smaller.state_dict()
    ratio = (len(grown.project) / len(smaller.project)) ** 0.5  # the sum of all blocks is divided by the root of their number
    for name, value in state.items():
        if name == "level_rms":
            value[:old] = theirs[name]
        elif name.startswith("project."):
            value.copy_(theirs[name] * ratio if name in theirs else torch.zeros_like(value))
        else:
            value.copy_(theirs[name])
    return grown.train(smaller.training)


@torch.no_grad()
def grow_detail_network(smaller: DetailNetwork, factor: int) -> DetailNetwork:
    """A detail network of pictures ``factor`` times as large, which reads masks reduced by area, with the weights of ``smaller``."""
    grown = DetailNetwork(**smaller.config | {"resolution": smaller.config["resolution"] * factor})
    grown.load_state_dict(smaller.state_dict())
    return grown.train(smaller.training)


def _check_sizes(smaller: Generator | Discriminator, resolution: int, channel_base: int, channel_max: int) -> None:
    if resolution <= smaller.resolution:
        raise ProxymaskError(
            f"a network of {smaller.resolution} pixels cannot grow to {resolution}: give a larger --resolution, or use --resume-from"
        )
    old_base, old_max = smaller.config["channel_base"], smaller.config["channel_max"]
    for res in (4, *(2**i for i in range(3, smaller.resolution.bit_length()))):
        old, new = channels_at(res, old_base, old_max), channels_at(res, channel_base, channel_max)
        if new < old:
            raise ProxymaskError(
                f"the block at {res} pixels has {old} channels and would get {new}: blocks can only get wider, give a larger "
                "--channel-base or --channel-max"
            )


def _widen_block(old: SynthesisBlock, new: SynthesisBlock) -> None:
    if old.in_channels == 0:
        new.const[: old.const.shape[0]] = old.const
    else:
        _widen_layer(old.conv0, new.conv0)
    _widen_layer(old.conv1, new.conv1)
    _widen_torgb(old.torgb, new.torgb)


def _widen_layer(old: SynthesisLayer, new: SynthesisLayer) -> None:
    """A styled convolution. Demodulation sums squared weights, so input channels with zero weights do not change it."""
    out, into = old.weight.shape[:2]
    new.weight[:out, into:] = 0
    new.weight[:out, :into] = old.weight
    new.bias[:out] = old.bias
    new.noise_const.copy_(old.noise_const)
    new.noise_strength.copy_(old.noise_strength)
    _widen_affine(old.affine, new.affine)


def _widen_torgb(old: ToRGB, new: ToRGB) -> None:
    into = old.weight.shape[1]
    new.weight[:, into:] = 0
    new.weight[:, :into] = old.weight * (old.weight_gain / new.weight_gain)
    new.bias.copy_(old.bias)
    _widen_affine(old.affine, new.affine)


def _widen_affine(old: FullyConnected, new: FullyConnected) -> None:
    """The affine layer from w to one factor for each input channel: it gets more outputs and keeps its input."""
    out = old.weight.shape[0]
    new.weight[:out] = old.weight
    new.bias[:out] = old.bias


def _widen_conv(old: Conv, new: Conv, last: int = 0) -> None:
    """A convolution of the discriminator. Its ``last`` input channels (the minibatch standard deviation) stay the last ones."""
    out, into = old.weight.shape[:2]
    weight = old.weight * (old.weight_gain / new.weight_gain)
    first = into - last
    new.weight[:out] = 0
    new.weight[:out, :first] = weight[:, :first]
    if last:
        new.weight[:out, -last:] = weight[:, first:]
    if old.bias is not None:
        assert new.bias is not None
        new.bias[:out] = old.bias


def _widen_linear(old: FullyConnected, new: FullyConnected) -> None:
    out, into = old.weight.shape
    new.weight[:out] = 0
    new.weight[:out, :into] = old.weight * (old.weight_gain / new.weight_gain)
    new.bias[:out] = old.bias


def _pass_downsampled(block: DiscriminatorBlock, old_rgb: Conv | None, channels: int) -> None:
    """Make a new block output the picture at half the size; the last one applies the smaller network's fromRGB layer ``old_rgb`` to it.

    A picture passes a leaky ReLU unchanged as two sets of channels with opposite signs: leaky(x) - leaky(-x) = 1.2 x.
    """
    eye = torch.eye(channels)
    pair = torch.cat([eye, -eye])  # (2 channels, channels)
    unpair = pair.t() / (1.2 * SQRT2)
    read = torch.zeros(channels, block.conv0.weight.shape[1])  # features -> picture
    if block.fromrgb is not None:
        block.fromrgb.weight[: 2 * channels] = (pair / block.fromrgb.weight_gain)[:, :, None, None]
        read[:, : 2 * channels] = unpair
    else:
        read[:, :channels] = eye
    if old_rgb is None:
        block.conv1.weight[:channels] = 0
        # SQRT2, because the block multiplies both branches by sqrt(1/2)
        block.skip.weight[:channels] = (read * (SQRT2 / block.skip.weight_gain))[:, :, None, None]
        return
    block.conv0.weight[: 2 * channels] = 0
    block.conv0.weight[: 2 * channels, :, 1, 1] = pair @ read / block.conv0.weight_gain
    width = old_rgb.weight.shape[0]
    block.skip.weight[:width] = 0
    block.conv1.weight[:width] = 0
    from_pair = old_rgb.weight[:, :, 0, 0] * (old_rgb.weight_gain * SQRT2) @ unpair
    block.conv1.weight[:width, : 2 * channels, 1, 1] = from_pair / block.conv1.weight_gain
    assert block.conv1.bias is not None
    assert old_rgb.bias is not None
    block.conv1.bias[:width] = old_rgb.bias * SQRT2
