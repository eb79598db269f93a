"""Checkpoints of rosinality's stylegan2-pytorch: a dict of state dicts g, d, g_ema, with latent_avg where they were converted.

Source: https://github.com/rosinality/stylegan2-pytorch, ``model.py``. pixel2style2pixel, encoder4editing, StyleGAN-NADA and others share
the layout, and keep the generator under other names. BasicSR (https://github.com/XPixelGroup/BasicSR, ``archs/stylegan2_arch.py``) has the
same tensors under names of its own, without the filters. z and w have the same width, nothing is clamped.
Convolutions of the generator are (1, C_out, C_in, k, k), biases of toRGB (1, C, 1, 1), noise maps (1, 1, h, w).
:mod:`.rosinality_export` writes the same layout.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...core.errors import ProxymaskError
from .architecture import GeneratorSizes, channel_config, count_layers, lr_multiplier
from .conversion import Choices, Conversion, NetworkWeights
from .networks import WHOLE_FILE, find_networks, is_module, network_names
from .state_reader import StateReader, as_tensor, require_mapping

FAMILY = "rosinality (stylegan2-pytorch)"
NOISE_SEED = 0  # of noise maps that a file lacks
_GENERATOR = ("input.input", "conv1.conv.weight", "to_rgb1.bias")
_BASICSR = ("constant_input.weight", "style_conv1.modulated_conv.weight", "to_rgb1.bias")
_DISCRIMINATOR = ("final_conv.0.weight", "convs.0.0.weight")
# BasicSR's names -> rosinality's; the weight of a style_conv itself is that of its noise
_BASICSR_NAMES = (
    (r"^style_mlp\.", "style."),
    (r"^constant_input\.weight$", "input.input"),
    (r"^style_conv(1|s\.\d+)\.weight$", r"conv\1.noise.weight"),
    (r"^style_conv(1|s\.\d+)\.", r"conv\1."),
    (r"\.modulated_conv\.", ".conv."),
    (r"^noises\.noise(\d+)$", r"noises.noise_\1"),
)


def conv_names(level: int) -> list[tuple[str, str, int]]:
    """The styled convolutions of a block (``level`` 0 is 4x4): name there, name here, index of the noise map."""
    if not level:
        return [("conv1", "conv1", 0)]
    return [(f"convs.{2 * level - 2}", "conv0", 2 * level - 1), (f"convs.{2 * level - 1}", "conv1", 2 * level)]


def rgb_name(level: int) -> str:
    """The toRGB layer of a block."""
    return f"to_rgbs.{level - 1}" if level else "to_rgb1"


def read(contents: Any, choices: Choices) -> Conversion | None:
    """The networks of a loaded rosinality file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    found = [*find_networks(contents, _GENERATOR), *find_networks(contents, _BASICSR)]
    if not found:
        if isinstance(contents, Mapping) and not is_module(contents.get("g_ema")):
            require_mapping(contents, "g_ema")
        return None
    taken = min(found, key=lambda network: not network.is_averaged)
    network, assumed = _generator(_rosinality_names(taken.state), choices)
    result = Conversion(FAMILY, network, assumed=assumed, seed_style="torch")
    result.facts["networks"] = network_names(contents) or ["generator"]
    result.facts["generator taken"] = taken.name
    if not taken.is_averaged and taken.name != WHOLE_FILE:
        result.notes.append(f"no averaged generator (g_ema): {taken.name} is taken")
    average = taken.beside("latent_avg")
    result.mean_w_missing = average is None
    if average is not None:
        network.tensors["mapping.w_avg"] = _mean_w(average, network.config["w_dim"])
    judges = find_networks(contents, _DISCRIMINATOR)
    if judges:
        result.add_discriminator(lambda: _discriminator(judges[0].state, network.config["start"]))
    return result


def _rosinality_names(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state with BasicSR's names replaced, where it has them."""
    if _BASICSR[0] not in state:
        return state
    out = {}
    for name, value in state.items():
        for pattern, new in _BASICSR_NAMES:
            name = re.sub(pattern, new, name)
        out[name] = value
    return out


def _mean_w(average: Any, w_dim: int) -> torch.Tensor:
    """``latent_avg``, (w_dim,) or the same in every layer (num_ws, w_dim) -> (w_dim,)."""
    mean = as_tensor(average, "latent_avg")
    if mean.numel() % w_dim or not mean.numel():
        raise ProxymaskError(f"its latent_avg is {list(mean.shape)}, wanted {w_dim} numbers: it is of another generator")
    return mean.reshape(-1, w_dim)[0].clone()


# Generator


def _generator(state: Mapping[str, Any], choices: Choices) -> tuple[NetworkWeights, list[str]]:
    """The generator, and what was assumed."""
    tensors = StateReader(state, "generator")
    sizes = _sizes(tensors)
    out: dict[str, torch.Tensor] = {}
    for i in range(sizes.mapping_layers):
        inputs, outputs = tensors.shape(f"style.{i + 1}.weight")
        out[f"mapping.fc{i}.weight"] = tensors.take(f"style.{i + 1}.weight", inputs, outputs)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"style.{i + 1}.bias", inputs)
    rate, how = lr_multiplier(list(out.values())[::2], None, choices.lr_multiplier)
    assumed = [how, "activation lrelu", "no clamp"]
    noise = None if "noises.noise_0" in tensors else torch.Generator().manual_seed(NOISE_SEED)
    if noise is not None:
        assumed.append(f"noise maps (the file has none: drawn from seed {NOISE_SEED})")
    for level in range(len(sizes.channels)):
        out |= _block(tensors, level, sizes, noise)
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    return NetworkWeights(sizes.config(scaled_weights=True, mapping_lr_multiplier=rate), out), assumed


def _sizes(tensors: StateReader) -> GeneratorSizes:
    names = tensors.names
    if any(".iwt" in name or ".dwt" in name for name in names):
        raise ProxymaskError("this is SWAGAN (wavelets), another architecture: only StyleGAN2 is supported")
    levels = count_layers(names, r"to_rgbs\.(\d+)\.bias")
    if count_layers(names, r"convs\.(\d+)\.conv\.weight") != 2 * levels:
        raise ProxymaskError("it does not have two convolutions and one toRGB a resolution: another architecture")
    depth = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in names)
    if not depth:
        raise ProxymaskError("its generator has no mapping network: get the whole generator")
    features, z_dim = tensors.shape("style.1.weight")
    height, width = tensors.shape("input.input")[-2:]
    return GeneratorSizes(
        z_dim=z_dim,
        w_dim=tensors.shape("conv1.conv.modulation.weight")[1],
        channels={4 * 2**level: tensors.shape(f"{conv_names(level)[-1][0]}.activate.bias")[0] for level in range(levels + 1)},
        img_channels=tensors.shape("to_rgb1.bias")[1],
        mapping_layers=depth,
        mapping_features=features,
        start=(height, width),
    )


def _block(tensors: StateReader, level: int, sizes: GeneratorSizes, noise: torch.Generator | None) -> dict[str, torch.Tensor]:
    """One block. ``noise`` draws the noise maps of a file that has none."""
    res = 4 * 2**level
    block, channels, w_dim = f"synthesis.b{res}", sizes.channels[res], sizes.w_dim
    height, width = sizes.start[0] * 2**level, sizes.start[1] * 2**level
    out: dict[str, torch.Tensor] = {}
    if not level:
        out[f"{block}.const"] = tensors.take("input.input", channels, height, width)
    for old, name, index in conv_names(level):
        new, in_channels = f"{block}.{name}", sizes.channels[res // 2] if name == "conv0" else channels
        out[f"{new}.weight"] = tensors.take(f"{old}.conv.weight", channels, in_channels, 3, 3)
        out[f"{new}.affine.weight"] = tensors.take(f"{old}.conv.modulation.weight", in_channels, w_dim)
        out[f"{new}.affine.bias"] = tensors.take(f"{old}.conv.modulation.bias", in_channels)
        out[f"{new}.noise_strength"] = tensors.take(f"{old}.noise.weight")
        out[f"{new}.bias"] = tensors.take(f"{old}.activate.bias", channels)
        if noise is None:
            out[f"{new}.noise_const"] = tensors.take(f"noises.noise_{index}", height, width)
        else:
            tensors.reserve(height, width)
            out[f"{new}.noise_const"] = torch.randn(height, width, generator=noise)
    rgb, new = rgb_name(level), f"{block}.torgb"
    out[f"{new}.weight"] = tensors.take(f"{rgb}.conv.weight", sizes.img_channels, channels, 1, 1)
    out[f"{new}.bias"] = tensors.take(f"{rgb}.bias", sizes.img_channels)
    out[f"{new}.affine.weight"] = tensors.take(f"{rgb}.conv.modulation.weight", channels, w_dim)
    out[f"{new}.affine.bias"] = tensors.take(f"{rgb}.conv.modulation.bias", channels)
    return out


# Discriminator


def _discriminator(state: Mapping[str, Any], start: list[int]) -> NetworkWeights:
    tensors = StateReader(state, "discriminator")
    levels = count_layers(tensors.names, r"convs\.(\d+)\.(?:0|1|conv1\.0)\.(?:weight|bias)") - 1
    top = 4 * 2**levels
    width, img_channels = tensors.shape("convs.0.0.weight")[:2]
    out = {
        f"b{top}.fromrgb.weight": tensors.take("convs.0.0.weight", width, img_channels, 1, 1),
        f"b{top}.fromrgb.bias": tensors.take("convs.0.1.bias", width),
    }
    channels = {}
    for i in range(levels):
        res, old = top >> i, f"convs.{i + 1}"
        below = tensors.shape(f"{old}.conv2.2.bias")[0]
        channels[res] = width
        out[f"b{res}.conv0.weight"] = tensors.take(f"{old}.conv1.0.weight", width, width, 3, 3)
        out[f"b{res}.conv0.bias"] = tensors.take(f"{old}.conv1.1.bias", width)
        out[f"b{res}.conv1.weight"] = tensors.take(f"{old}.conv2.1.weight", below, width, 3, 3)
        out[f"b{res}.conv1.bias"] = tensors.take(f"{old}.conv2.2.bias", below)
        out[f"b{res}.skip.weight"] = tensors.take(f"{old}.skip.1.weight", below, width, 1, 1)
        width = below
    channels[4] = width
    mbstd_channels = tensors.shape("final_conv.0.weight")[1] - width
    inputs = tensors.shape("final_linear.0.weight")[1]
    if inputs != start[0] * start[1] * width:
        raise ProxymaskError(f"its last layer takes {inputs} numbers, wanted {start[0] * start[1] * width}")
    out["b4.conv.weight"] = tensors.take("final_conv.0.weight", width, width + mbstd_channels, 3, 3)
    out["b4.conv.bias"] = tensors.take("final_conv.1.bias", width)
    out["b4.fc.weight"] = tensors.take("final_linear.0.weight", width, inputs)
    out["b4.fc.bias"] = tensors.take("final_linear.0.bias", width)
    out["b4.out.weight"] = tensors.take("final_linear.1.weight", 1, width)
    out["b4.out.bias"] = tensors.take("final_linear.1.bias", 1)
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    config = {
        "resolution": top,
        "img_channels": img_channels,
        **channel_config(channels),
        "mbstd_group": 4,
        "mbstd_channels": mbstd_channels,
        "start": start,
    }
    return NetworkWeights(config, out)
