"""Checkpoints of the genforce repository: state dicts generator, generator_smooth and discriminator, below ``models`` in its own runs.

Source: https://github.com/genforce/genforce, ``models/stylegan2_generator.py``. Weights are TensorFlow's, transposed: convolutions that
upsample are stored rotated by 180 degrees, a style's bias is stored less 1. The class enters as in 2020 (``stylegan2``) or as in ADA
(``stylegan2ada``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...core.errors import ProxymaskError
from .architecture import GeneratorSizes, channel_config, count_layers, one_hot_class_mapping
from .conversion import Conversion, NetworkWeights
from .state_reader import StateReader, require_mapping, without_prefix

FAMILY = "genforce (stylegan2, stylegan2ada)"
_GENERATORS = ("generator_smooth", "generator")


def _is_generator(state: Any) -> bool:
    if not isinstance(state, Mapping):
        return False
    return {"synthesis.early_layer.const", "mapping.dense0.weight"} <= without_prefix(state).keys()


def read(contents: Any) -> Conversion | None:
    """The networks of a loaded genforce file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    if not isinstance(contents, Mapping):
        return None
    below = contents.get("models")
    models = below if isinstance(below, Mapping) else contents
    named = {name: models[name] for name in _GENERATORS if _is_generator(models.get(name))}
    if not named:
        require_mapping(models, "generator_smooth", "generator")
        if not _is_generator(models):
            return None
        named = {"the file itself": models}
    name, state = next(iter(named.items()))
    result = Conversion(FAMILY, _generator(without_prefix(state)), seed_style="torch")
    result.assumed = ["learning-rate multiplier 0.01", "activation lrelu", "no clamp", "no final tanh"]
    result.facts["networks"] = [key for key in ("generator", "discriminator", "generator_smooth") if key in models] or ["generator"]
    result.facts["generator taken"] = name
    if name == "generator":
        result.notes.append("no averaged generator (generator_smooth): generator is taken")
    result.mean_w_missing = "mapping.w_avg" not in result.generator.tensors
    discriminator = models.get("discriminator")
    if isinstance(discriminator, Mapping):
        try:
            result.discriminator = _discriminator(without_prefix(discriminator))
        except ProxymaskError as error:
            result.notes.append(f"the discriminator is left out: {error}")
    return result


# Generator


def _generator(state: Mapping[str, Any]) -> NetworkWeights:
    tensors = StateReader(state, "generator")
    sizes = _sizes(tensors, _count_blocks(tensors))
    out = _mapping(tensors, sizes)
    if "truncation.w_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("truncation.w_avg", sizes.w_dim)
    for level in range(len(sizes.channels)):
        out |= _block(tensors, level, sizes)
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    return NetworkWeights(sizes.config(scaled_weights=True, seed_style="torch"), out)


def _count_blocks(tensors: StateReader) -> int:
    names = tensors.names
    if any(".skip_layer" in name for name in names):
        raise ProxymaskError("this is a residual ('resnet') StyleGAN2 generator; only skip generators, the published ones, are supported")
    if any(re.search(r"\.(epilogue|wscale)\.", name) for name in names) or "synthesis.lod" in tensors:
        raise ProxymaskError("this is genforce's StyleGAN1 or ProGAN, another architecture: only StyleGAN2 is supported")
    levels = count_layers(names, r"synthesis\.output(\d+)\.weight")
    layers = count_layers(names, r"synthesis\.layer(\d+)\.weight")
    if layers != 2 * levels - 1:
        raise ProxymaskError(f"it has {layers} convolutions and {levels} toRGB layers: another architecture ('origin', without skips?)")
    return levels


def _sizes(tensors: StateReader, levels: int) -> GeneratorSizes:
    features, inputs = tensors.shape("mapping.dense0.weight")
    c_dim, embed, concat = 0, 0, "mapping.label_weight" in tensors
    if concat:
        c_dim = tensors.shape("mapping.label_weight")[0]
    elif "mapping.LabelEmbed.weight" in tensors:
        embed, c_dim = tensors.shape("mapping.LabelEmbed.weight")
    height, width = tensors.shape("synthesis.early_layer.const")[-2:]
    return GeneratorSizes(
        z_dim=tensors.shape("mapping.label_weight")[1] if concat else inputs - embed,
        w_dim=tensors.shape("synthesis.layer0.style.weight")[1],
        c_dim=c_dim,
        channels={4 * 2**level: tensors.shape(f"synthesis.layer{2 * level}.weight")[0] for level in range(levels)},
        img_channels=tensors.shape("synthesis.output0.weight")[0],
        mapping_layers=count_layers(tensors.names, r"mapping\.dense(\d+)\.weight"),
        mapping_features=features,
        embed_features=embed,
        label="concat" if concat else "embed",
        start=(height, width),
    )


def _mapping(tensors: StateReader, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = {}
    if sizes.label == "concat":
        out["mapping.label_weight"] = tensors.take("mapping.label_weight", sizes.c_dim, sizes.z_dim)
    elif sizes.c_dim:
        out["mapping.embed.weight"] = tensors.take("mapping.LabelEmbed.weight", sizes.embed_features, sizes.c_dim)
        out["mapping.embed.bias"] = tensors.take("mapping.LabelEmbed.bias", sizes.embed_features)
    for i in range(sizes.mapping_layers):
        outputs, inputs = tensors.shape(f"mapping.dense{i}.weight")
        out[f"mapping.fc{i}.weight"] = tensors.take(f"mapping.dense{i}.weight", outputs, inputs)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"mapping.dense{i}.bias", outputs)
    return out


def _block(tensors: StateReader, level: int, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    res = 4 * 2**level
    block, channels, w_dim = f"synthesis.b{res}", sizes.channels[res], sizes.w_dim
    height, width = sizes.start[0] * 2**level, sizes.start[1] * 2**level
    out: dict[str, torch.Tensor] = {}
    if level:
        convs = [("conv0", 2 * level - 1, sizes.channels[res // 2]), ("conv1", 2 * level, channels)]
    else:
        out[f"{block}.const"] = tensors.take("synthesis.early_layer.const", channels, height, width)
        convs = [("conv1", 0, channels)]
    for name, index, in_channels in convs:
        old, new = f"synthesis.layer{index}", f"{block}.{name}"
        weight = tensors.take(f"{old}.weight", channels, in_channels, 3, 3)
        out[f"{new}.weight"] = weight.flip(2, 3).contiguous() if name == "conv0" else weight
        out[f"{new}.bias"] = tensors.take(f"{old}.bias", channels)
        out[f"{new}.noise_strength"] = tensors.take(f"{old}.noise_strength")
        out[f"{new}.noise_const"] = tensors.take(f"{old}.noise", height, width)
        out |= _style(tensors, old, new, (in_channels, w_dim))
    old, new = f"synthesis.output{level}", f"{block}.torgb"
    out[f"{new}.weight"] = tensors.take(f"{old}.weight", sizes.img_channels, channels, 1, 1)
    out[f"{new}.bias"] = tensors.take(f"{old}.bias", sizes.img_channels)
    return out | _style(tensors, old, new, (channels, w_dim))


def _style(tensors: StateReader, old: str, new: str, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    """The affine layer from w to a style: weight of ``shape`` (channels, w_dim), bias (channels,)."""
    return {
        f"{new}.affine.weight": tensors.take(f"{old}.style.weight", *shape),
        f"{new}.affine.bias": tensors.take(f"{old}.style.bias", shape[0]) + 1,
    }


# Discriminator


def _discriminator(state: Mapping[str, Any]) -> NetworkWeights:
    tensors = StateReader(state, "discriminator")
    levels = count_layers(tensors.names, r"skip_layer(\d+)\.weight")
    if not levels:
        raise ProxymaskError("it is not a residual one")
    top = 4 * 2**levels
    width, img_channels = tensors.shape("input0.weight")[:2]
    out = {
        f"b{top}.fromrgb.weight": tensors.take("input0.weight", width, img_channels, 1, 1),
        f"b{top}.fromrgb.bias": tensors.take("input0.bias", width),
    }
    channels = {}
    for i in range(levels):
        res, below = top >> i, tensors.shape(f"skip_layer{i}.weight")[0]
        channels[res] = width
        for name, index, out_channels in (("conv0", 2 * i, width), ("conv1", 2 * i + 1, below)):
            out[f"b{res}.{name}.weight"] = tensors.take(f"layer{index}.weight", out_channels, width, 3, 3)
            out[f"b{res}.{name}.bias"] = tensors.take(f"layer{index}.bias", out_channels)
        out[f"b{res}.skip.weight"] = tensors.take(f"skip_layer{i}.weight", below, width, 1, 1)
        width = below
    channels[4] = width
    last = [f"layer{2 * levels + i}" for i in range(3)]
    mbstd_channels = tensors.shape(f"{last[0]}.weight")[1] - width
    outputs = tensors.shape(f"{last[2]}.weight")[0]
    out["b4.conv.weight"] = tensors.take(f"{last[0]}.weight", width, width + mbstd_channels, 3, 3)
    out["b4.conv.bias"] = tensors.take(f"{last[0]}.bias", width)
    out["b4.fc.weight"] = tensors.take(f"{last[1]}.weight", width, 16 * width)
    out["b4.fc.bias"] = tensors.take(f"{last[1]}.bias", width)
    out["b4.out.weight"] = tensors.take(f"{last[2]}.weight", outputs, width)
    out["b4.out.bias"] = tensors.take(f"{last[2]}.bias", outputs)
    config: dict[str, Any] = {"resolution": top, "img_channels": img_channels, **channel_config(channels), "mbstd_channels": mbstd_channels}
    c_dim, mapping = _class_mapping(tensors, outputs)
    if c_dim:
        out |= mapping
        config |= {"c_dim": c_dim, "mapping_layers": 0, "cmap_dim": outputs}
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    return NetworkWeights(config, out)


def _class_mapping(tensors: StateReader, outputs: int) -> tuple[int, dict[str, torch.Tensor]]:
    """Number of classes, and the mapping of a class: ADA's, or one output a class (2020)."""
    if "LabelEmbed.weight" in tensors:
        c_dim = tensors.shape("LabelEmbed.weight")[1]
        embed = {
            "mapping.embed.weight": tensors.take("LabelEmbed.weight", outputs, c_dim),
            "mapping.embed.bias": tensors.take("LabelEmbed.bias", outputs),
        }
        return c_dim, embed | {"mapping.w_avg": torch.zeros(outputs)}
    return (outputs, one_hot_class_mapping(outputs)) if outputs > 1 else (0, {})
