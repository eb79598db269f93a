"""Checkpoints of the genforce repository: state dicts generator, generator_smooth and discriminator, below ``models`` in its own runs.

Weights are TensorFlow's, transposed only: convolutions that upsample are turned by 180 degrees when they run, a style's bias is
added to 1. The class enters as in 2020 (``stylegan2``) or as in ADA (``stylegan2ada``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ProxymaskError
from .parts import Found, Network, Tensors, base_and_max, count, describe, one_output_a_class, without_prefix

FAMILY = "genforce (stylegan2, stylegan2ada)"
_GENERATORS = ("generator_smooth", "generator")


def _is_generator(state: Any) -> bool:
    if not isinstance(state, Mapping):
        return False
    return {"synthesis.early_layer.const", "mapping.dense0.weight"} <= without_prefix(state).keys()


def read(found: Any) -> Found | None:
    """The networks of a loaded genforce file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    if not isinstance(found, Mapping):
        return None
    models = found.get("models") if isinstance(found.get("models"), Mapping) else found
    assert models is not None
    named = {name: models[name] for name in _GENERATORS if _is_generator(models.get(name))}
    if not named:
        if "generator_smooth" in models and not isinstance(models["generator_smooth"], Mapping):
            raise ProxymaskError(
                f"its generator is a {describe(models['generator_smooth'])}, which is not read: the generator depends on it"
            )
        if not _is_generator(models):
            return None
        named = {"the file itself": models}
    name, state = next(iter(named.items()))
    result = Found(FAMILY, _generator(without_prefix(state)), seed_style="torch")
    result.assumed = ["learning-rate multiplier 0.01", "activation lrelu", "no clamp", "no final tanh"]
    result.facts["networks"] = [key for key in ("generator", "discriminator", "generator_smooth") if key in models] or ["generator"]
    result.facts["generator taken"] = name
    if name == "generator":
        result.notes.append("no averaged generator (generator_smooth): generator is taken")
    result.mean_w_missing = "mapping.w_avg" not in result.generator.tensors
    judge = models.get("discriminator")
    if isinstance(judge, Mapping):
        try:
            result.discriminator = _discriminator(without_prefix(judge))
        except ProxymaskError as error:
            result.notes.append(f"the discriminator is left out: {error}")
    return result


def _generator(state: Mapping[str, Any]) -> Network:
    tensors, names = Tensors(state, "generator"), list(state)
    if any(".skip_layer" in name for name in names):
        raise ProxymaskError("this is a residual ('resnet') StyleGAN2 generator; only skip generators, the published ones, are supported")
    if any(re.search(r"\.(epilogue|wscale)\.", name) for name in names) or "synthesis.lod" in tensors:
        raise ProxymaskError("this is genforce's StyleGAN1 or ProGAN, another architecture: only StyleGAN2 is supported")
    levels = count(names, r"synthesis\.output(\d+)\.weight")
    layers = count(names, r"synthesis\.layer(\d+)\.weight")
    if layers != 2 * levels - 1:
        raise ProxymaskError(f"it has {layers} convolutions and {levels} toRGB layers: another architecture ('origin', without skips?)")
    depth = count(names, r"mapping\.dense(\d+)\.weight")
    resolutions = [4 * 2**i for i in range(levels)]
    features, fan = tensors.shape("mapping.dense0.weight")
    w_dim = tensors.shape("synthesis.layer0.style.weight")[1]
    out: dict[str, torch.Tensor] = {}
    c_dim, z_dim, embed, label = 0, fan, 0, "embed"
    if "mapping.label_weight" in tensors:
        c_dim, z_dim = tensors.shape("mapping.label_weight")
        label = "concat"
        out["mapping.label_weight"] = tensors.take("mapping.label_weight", c_dim, z_dim)
    elif "mapping.LabelEmbed.weight" in tensors:
        embed, c_dim = tensors.shape("mapping.LabelEmbed.weight")
        z_dim = fan - embed
        out["mapping.embed.weight"] = tensors.take("mapping.LabelEmbed.weight", embed, c_dim)
        out["mapping.embed.bias"] = tensors.take("mapping.LabelEmbed.bias", embed)
    for i in range(depth):
        shape = tensors.shape(f"mapping.dense{i}.weight")
        out[f"mapping.fc{i}.weight"] = tensors.take(f"mapping.dense{i}.weight", *shape)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"mapping.dense{i}.bias", shape[0])
    if "truncation.w_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("truncation.w_avg", w_dim)
    height, width = tensors.shape("synthesis.early_layer.const")[-2:]
    channels, previous, widths = tensors.shape("synthesis.output0.weight")[0], 0, {}
    for level, res in enumerate(resolutions):
        target, size = f"synthesis.b{res}", (height * 2**level, width * 2**level)
        here = tensors.shape(f"synthesis.layer{2 * level}.weight")[0]
        if not level:
            out[f"{target}.const"] = tensors.take("synthesis.early_layer.const", here, height, width)
        for name, index, into in (("conv0", 2 * level - 1, previous), ("conv1", 2 * level, here)):
            if index < 0:
                continue
            a, b = f"synthesis.layer{index}", f"{target}.{name}"
            weight = tensors.take(f"{a}.weight", here, into, 3, 3)
            out[f"{b}.weight"] = weight.flip(2, 3).contiguous() if name == "conv0" else weight
            out[f"{b}.bias"] = tensors.take(f"{a}.bias", here)
            out[f"{b}.noise_strength"] = tensors.take(f"{a}.noise_strength")
            out[f"{b}.noise_const"] = tensors.take(f"{a}.noise", *size)
            out[f"{b}.affine.weight"] = tensors.take(f"{a}.style.weight", into, w_dim)
            out[f"{b}.affine.bias"] = tensors.take(f"{a}.style.bias", into) + 1
        a = f"synthesis.output{level}"
        out[f"{target}.torgb.weight"] = tensors.take(f"{a}.weight", channels, here, 1, 1)
        out[f"{target}.torgb.bias"] = tensors.take(f"{a}.bias", channels)
        out[f"{target}.torgb.affine.weight"] = tensors.take(f"{a}.style.weight", here, w_dim)
        out[f"{target}.torgb.affine.bias"] = tensors.take(f"{a}.style.bias", here) + 1
        widths[res], previous = here, here
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    config: dict[str, Any] = {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "resolution": resolutions[-1],
        "img_channels": channels,
        "mapping_layers": depth,
        **base_and_max(widths),
        "mapping_features": None if features == w_dim or depth == 1 else features,
        "embed_features": None if embed in (0, w_dim) else embed,
        "label": label,
        "start": [height, width],
        "scaled_weights": True,
        "seed_style": "torch",
    }
    return Network(config, out)


def _discriminator(state: Mapping[str, Any]) -> Network:
    tensors, names = Tensors(state, "discriminator"), list(state)
    levels = count(names, r"skip_layer(\d+)\.weight")
    if not levels:
        raise ProxymaskError("it is not a residual one")
    top, width, channels = 4 * 2**levels, *tensors.shape("input0.weight")[:2]
    out = {
        f"b{top}.fromrgb.weight": tensors.take("input0.weight", width, channels, 1, 1),
        f"b{top}.fromrgb.bias": tensors.take("input0.bias", width),
    }
    widths = {}
    for i in range(levels):
        res, below = top >> i, tensors.shape(f"skip_layer{i}.weight")[0]
        widths[res] = width
        for name, index, into in (("conv0", 2 * i, width), ("conv1", 2 * i + 1, below)):
            out[f"b{res}.{name}.weight"] = tensors.take(f"layer{index}.weight", into, width, 3, 3)
            out[f"b{res}.{name}.bias"] = tensors.take(f"layer{index}.bias", into)
        out[f"b{res}.skip.weight"] = tensors.take(f"skip_layer{i}.weight", below, width, 1, 1)
        width = below
    widths[4] = width
    extra = tensors.shape(f"layer{2 * levels}.weight")[1] - width
    out["b4.conv.weight"] = tensors.take(f"layer{2 * levels}.weight", width, width + extra, 3, 3)
    out["b4.conv.bias"] = tensors.take(f"layer{2 * levels}.bias", width)
    out["b4.fc.weight"] = tensors.take(f"layer{2 * levels + 1}.weight", width, 16 * width)
    out["b4.fc.bias"] = tensors.take(f"layer{2 * levels + 1}.bias", width)
    codes = tensors.shape(f"layer{2 * levels + 2}.weight")[0]
    out["b4.out.weight"] = tensors.take(f"layer{2 * levels + 2}.weight", codes, width)
    out["b4.out.bias"] = tensors.take(f"layer{2 * levels + 2}.bias", codes)
    config: dict[str, Any] = {"resolution": top, "img_channels": channels, **base_and_max(widths), "mbstd_channels": extra}
    if "LabelEmbed.weight" in tensors:
        classes = tensors.shape("LabelEmbed.weight")[1]
        out["mapping.embed.weight"] = tensors.take("LabelEmbed.weight", codes, classes)
        out["mapping.embed.bias"] = tensors.take("LabelEmbed.bias", codes)
        out["mapping.w_avg"] = torch.zeros(codes)
        config |= {"c_dim": classes, "mapping_layers": 0, "cmap_dim": codes}
    elif codes > 1:
        out |= one_output_a_class(codes)
        config |= {"c_dim": codes, "mapping_layers": 0, "cmap_dim": codes}
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    return Network(config, out)
