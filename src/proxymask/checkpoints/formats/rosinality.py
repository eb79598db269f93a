"""Checkpoints of rosinality's stylegan2-pytorch: a dict of state dicts g, d, g_ema, with latent_avg where they were converted.

The layout that pixel2style2pixel, e4e, StyleGAN-NADA and many others share; theirs are read where the generator stands alone or under
one of these names. z and w have the same size, and nothing is clamped. :func:`write` gives the same layout back.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ProxymaskError
from ...generators.ops import fir_kernel
from ...generators.stylegan2 import Discriminator, Generator
from .parts import Found, Network, Tensors, as_tensor, base_and_max, count, describe, without_prefix

FAMILY = "rosinality (stylegan2-pytorch)"
NOISE_SEED = 0  # of noise maps that a file lacks
_GENERATORS = ("g_ema", "g")


def _is_generator(state: Any) -> bool:
    return isinstance(state, Mapping) and {"input.input", "conv1.conv.weight", "to_rgb1.bias"} <= without_prefix(state).keys()


def _is_discriminator(state: Any) -> bool:
    return isinstance(state, Mapping) and {"convs.0.0.weight", "final_conv.0.weight"} <= without_prefix(state).keys()


def read(found: Any) -> Found | None:
    """The networks of a loaded rosinality file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    if not isinstance(found, Mapping):
        return None
    named = {name: found[name] for name in _GENERATORS if _is_generator(found.get(name))}
    if not named:
        if "g_ema" in found and not isinstance(found["g_ema"], Mapping):
            raise ProxymaskError(f"its g_ema is a {describe(found['g_ema'])}, which is not read: the generator depends on it")
        if not _is_generator(found):
            return None
        named = {"the file itself": found}
    name, state = next(iter(named.items()))
    network, assumed = _generator(without_prefix(state))
    result = Found(FAMILY, network, assumed=assumed, seed_style="torch")
    result.facts["networks"] = [key for key in ("g", "d", "g_ema") if isinstance(found.get(key), Mapping)] or ["generator"]
    result.facts["generator taken"] = name
    if name == "g":
        result.notes.append("no averaged generator (g_ema): g is taken")
    average = found.get("latent_avg")
    if average is not None:
        mean = as_tensor(average, "latent_avg")
        w_dim = network.config["w_dim"]
        if mean.numel() % w_dim or not mean.numel():
            raise ProxymaskError(f"its latent_avg is {list(mean.shape)}, wanted {w_dim} numbers")
        network.tensors["mapping.w_avg"] = mean.reshape(-1, w_dim)[0].clone()  # the same in every layer
    result.mean_w_missing = average is None
    if _is_discriminator(found.get("d")):
        try:
            result.discriminator = _discriminator(without_prefix(found["d"]), network.config["start"])
        except ProxymaskError as error:
            result.notes.append(f"the discriminator is left out: {error}")
    return result


def _generator(state: Mapping[str, Any]) -> tuple[Network, list[str]]:
    tensors, names = Tensors(state, "generator"), list(state)
    if any(".iwt" in name or ".dwt" in name for name in names):
        raise ProxymaskError("this is SWAGAN (wavelets), another architecture: only StyleGAN2 is supported")
    levels = count(names, r"to_rgbs\.(\d+)\.bias")
    if count(names, r"convs\.(\d+)\.conv\.weight") != 2 * levels:
        raise ProxymaskError("it does not have two convolutions and one toRGB a resolution: another architecture")
    depth = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in names)
    if not depth:
        raise ProxymaskError("its generator has no mapping network")
    resolutions = [4 * 2**i for i in range(levels + 1)]
    style = tensors.shape("style.1.weight")
    w_dim = tensors.shape("conv1.conv.modulation.weight")[1]
    height, width = tensors.shape("input.input")[-2:]
    channels = tensors.shape("to_rgb1.bias")[1]
    out: dict[str, torch.Tensor] = {}
    for i in range(depth):
        into, fan = tensors.shape(f"style.{i + 1}.weight")
        out[f"mapping.fc{i}.weight"] = tensors.take(f"style.{i + 1}.weight", into, fan)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"style.{i + 1}.bias", into)
    widths: dict[int, int] = {}
    assumed = ["learning-rate multiplier 0.01", "activation lrelu", "no clamp"]
    noise = torch.Generator().manual_seed(NOISE_SEED)
    has_noise = "noises.noise_0" in tensors
    if not has_noise:
        assumed.append(f"noise maps (the file has none: drawn from seed {NOISE_SEED})")
    previous = 0
    for level, res in enumerate(resolutions):
        layers = (
            [("conv1", "conv1", 0)]
            if not level
            else [(f"convs.{2 * level - 2}", "conv0", 2 * level - 1), (f"convs.{2 * level - 1}", "conv1", 2 * level)]
        )
        rgb = "to_rgb1" if not level else f"to_rgbs.{level - 1}"
        target, size = f"synthesis.b{res}", (height * 2**level, width * 2**level)
        here = tensors.shape(f"{layers[-1][0]}.activate.bias")[0]
        if not level:
            out[f"{target}.const"] = tensors.take("input.input", here, height, width)
        for a, new, index in layers:
            b, fan = f"{target}.{new}", previous if new == "conv0" else here
            out[f"{b}.weight"] = tensors.take(f"{a}.conv.weight", here, fan, 3, 3)
            out[f"{b}.affine.weight"] = tensors.take(f"{a}.conv.modulation.weight", fan, w_dim)
            out[f"{b}.affine.bias"] = tensors.take(f"{a}.conv.modulation.bias", fan)
            out[f"{b}.noise_strength"] = tensors.take(f"{a}.noise.weight")
            out[f"{b}.bias"] = tensors.take(f"{a}.activate.bias", here)
            if has_noise:
                out[f"{b}.noise_const"] = tensors.take(f"noises.noise_{index}", *size)
            else:
                out[f"{b}.noise_const"] = torch.randn(*size, generator=noise)
        out[f"{target}.torgb.weight"] = tensors.take(f"{rgb}.conv.weight", channels, here, 1, 1)
        out[f"{target}.torgb.bias"] = tensors.take(f"{rgb}.bias", channels)
        out[f"{target}.torgb.affine.weight"] = tensors.take(f"{rgb}.conv.modulation.weight", here, w_dim)
        out[f"{target}.torgb.affine.bias"] = tensors.take(f"{rgb}.conv.modulation.bias", here)
        widths[res], previous = here, here
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    config: dict[str, Any] = {
        "z_dim": style[1],
        "w_dim": w_dim,
        "resolution": resolutions[-1],
        "img_channels": channels,
        "mapping_layers": depth,
        **base_and_max(widths),
        "mapping_features": None if style[0] == w_dim or depth == 1 else style[0],
        "start": [height, width],
        "scaled_weights": True,
        "seed_style": "torch",
    }
    return Network(config, out), assumed


def _discriminator(state: Mapping[str, Any], start: list[int]) -> Network:
    tensors, names = Tensors(state, "discriminator"), list(state)
    levels = count(names, r"convs\.(\d+)\.(?:0|1|conv1\.0)\.(?:weight|bias)") - 1
    top = 4 * 2**levels
    width, channels = tensors.shape("convs.0.0.weight")[:2]
    out = {
        f"b{top}.fromrgb.weight": tensors.take("convs.0.0.weight", width, channels, 1, 1),
        f"b{top}.fromrgb.bias": tensors.take("convs.0.1.bias", width),
    }
    widths = {}
    for i in range(levels):
        res, a = top >> i, f"convs.{i + 1}"
        below = tensors.shape(f"{a}.conv2.2.bias")[0]
        widths[res] = width
        out[f"b{res}.conv0.weight"] = tensors.take(f"{a}.conv1.0.weight", width, width, 3, 3)
        out[f"b{res}.conv0.bias"] = tensors.take(f"{a}.conv1.1.bias", width)
        out[f"b{res}.conv1.weight"] = tensors.take(f"{a}.conv2.1.weight", below, width, 3, 3)
        out[f"b{res}.conv1.bias"] = tensors.take(f"{a}.conv2.2.bias", below)
        out[f"b{res}.skip.weight"] = tensors.take(f"{a}.skip.1.weight", below, width, 1, 1)
        width = below
    widths[4] = width
    extra = tensors.shape("final_conv.0.weight")[1] - width
    cells = tensors.shape("final_linear.0.weight")[1]
    if cells != start[0] * start[1] * width:
        raise ProxymaskError(f"its last layer looks at {cells} numbers, wanted {start[0] * start[1] * width}")
    out["b4.conv.weight"] = tensors.take("final_conv.0.weight", width, width + extra, 3, 3)
    out["b4.conv.bias"] = tensors.take("final_conv.1.bias", width)
    out["b4.fc.weight"] = tensors.take("final_linear.0.weight", width, cells)
    out["b4.fc.bias"] = tensors.take("final_linear.0.bias", width)
    out["b4.out.weight"] = tensors.take("final_linear.1.weight", 1, width)
    out["b4.out.bias"] = tensors.take("final_linear.1.bias", 1)
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    config = {
        "resolution": top,
        "img_channels": channels,
        **base_and_max(widths),
        "mbstd_group": 4,
        "mbstd_channels": extra,
        "start": start,
    }
    return Network(config, out)


def write(generator: Generator, discriminator: Discriminator | None = None) -> dict[str, Any]:
    """The layout of a converted checkpoint: g_ema, latent_avg, and d where given. Every tensor as it is, under its name there.

    Raises:
        ProxymaskError: the generator has what this layout cannot say: classes, a z of another size than w, other layer widths.
    """
    config, state = generator.config, generator.state_dict()
    problems = [
        (bool(generator.c_dim), "classes"),
        (generator.z_dim != generator.w_dim, "a z of another size than w"),
        (config["mapping_features"] not in (None, generator.w_dim), "mapping layers of another width than w"),
        (config["mapping_lr_multiplier"] != 0.01, f"a learning-rate multiplier of {config['mapping_lr_multiplier']}"),
        (generator.img_channels != 3, f"{generator.img_channels} image channels"),
        (tuple(generator.start) != (4, 4), "a start block other than 4x4"),
    ]
    if any(found for found, _ in problems):
        raise ProxymaskError(
            f"the rosinality layout has no place for {', '.join(what for found, what in problems if found)}: export as safetensors"
        )
    kernel, out = fir_kernel(), {}
    for i in range(generator.mapping.num_layers):
        out[f"style.{i + 1}.weight"], out[f"style.{i + 1}.bias"] = state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"]
    for level, res in enumerate(generator.synthesis.block_resolutions):
        block = f"synthesis.b{res}"
        if not level:
            out["input.input"] = state[f"{block}.const"][None]
        layers = (
            [("conv1", "conv1", 0)]
            if not level
            else [(f"convs.{2 * level - 2}", "conv0", 2 * level - 1), (f"convs.{2 * level - 1}", "conv1", 2 * level)]
        )
        for a, name, index in layers:
            b = f"{block}.{name}"
            out[f"{a}.conv.weight"] = state[f"{b}.weight"][None]
            if name == "conv0":
                out[f"{a}.conv.blur.kernel"] = kernel * 4
            out[f"{a}.conv.modulation.weight"], out[f"{a}.conv.modulation.bias"] = state[f"{b}.affine.weight"], state[f"{b}.affine.bias"]
            out[f"{a}.noise.weight"] = state[f"{b}.noise_strength"].reshape(1)
            out[f"{a}.activate.bias"] = state[f"{b}.bias"]
            out[f"noises.noise_{index}"] = state[f"{b}.noise_const"][None, None]
        a = "to_rgb1" if not level else f"to_rgbs.{level - 1}"
        if level:
            out[f"{a}.upsample.kernel"] = kernel * 4
        out[f"{a}.bias"] = state[f"{block}.torgb.bias"].reshape(1, -1, 1, 1)
        out[f"{a}.conv.weight"] = state[f"{block}.torgb.weight"][None]
        out[f"{a}.conv.modulation.weight"] = state[f"{block}.torgb.affine.weight"]
        out[f"{a}.conv.modulation.bias"] = state[f"{block}.torgb.affine.bias"]
    file: dict[str, Any] = {"g_ema": _own(out), "latent_avg": state["mapping.w_avg"].clone()}
    if discriminator is not None:
        file["d"] = _own(_write_discriminator(discriminator))
    return file


def _write_discriminator(discriminator: Discriminator) -> dict[str, torch.Tensor]:
    config, state, kernel = discriminator.config, discriminator.state_dict(), fir_kernel()
    if discriminator.c_dim or config["mbstd_group"] != 4 or config["mbstd_channels"] != 1 or tuple(config["start"]) != (4, 4):
        raise ProxymaskError("the rosinality layout has no place for a discriminator with classes or other groups: export without it")
    top = discriminator.resolution
    out = {"convs.0.0.weight": state[f"b{top}.fromrgb.weight"], "convs.0.1.bias": state[f"b{top}.fromrgb.bias"]}
    for i, res in enumerate(discriminator.block_resolutions):
        a, b = f"convs.{i + 1}", f"b{res}"
        out |= {f"{a}.conv1.0.weight": state[f"{b}.conv0.weight"], f"{a}.conv1.1.bias": state[f"{b}.conv0.bias"]}
        out |= {
            f"{a}.conv2.0.kernel": kernel,
            f"{a}.conv2.1.weight": state[f"{b}.conv1.weight"],
            f"{a}.conv2.2.bias": state[f"{b}.conv1.bias"],
        }
        out |= {f"{a}.skip.0.kernel": kernel, f"{a}.skip.1.weight": state[f"{b}.skip.weight"]}
    out |= {"final_conv.0.weight": state["b4.conv.weight"], "final_conv.1.bias": state["b4.conv.bias"]}
    out |= {"final_linear.0.weight": state["b4.fc.weight"], "final_linear.0.bias": state["b4.fc.bias"]}
    return out | {"final_linear.1.weight": state["b4.out.weight"], "final_linear.1.bias": state["b4.out.bias"]}


def _own(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
