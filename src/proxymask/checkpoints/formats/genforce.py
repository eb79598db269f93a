"""Checkpoints of genforce and its successor Hammer: state dicts generator, generator_smooth and discriminator, below ``models`` in runs.

Source: https://github.com/genforce/genforce, ``models/stylegan2_generator.py``, and https://github.com/bytedance/Hammer, the same file.

genforce's weights are TensorFlow's, transposed: convolutions that upsample are stored rotated by 180 degrees, a style's bias is stored less
1. The class enters as in 2020 (``stylegan2``) or as in ADA (``stylegan2ada``). Hammer has neither difference: its tensors are those of
stylegan2-ada-pytorch under genforce's names, a few of which changed. Its runs say what each network was made with (``model_kwargs_init``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...core.errors import ProxymaskError
from .architecture import GeneratorSizes, channel_config, count_layers, lr_multiplier, one_hot_class_mapping
from .conversion import Choices, Conversion, NetworkWeights
from .networks import WHOLE_FILE, Network, find_networks, is_module, network_names
from .settings import Setting, as_count, as_number, check_setting
from .state_reader import StateReader, require_mapping

FAMILY = "genforce (stylegan2, stylegan2ada)"
HAMMER = "Hammer (stylegan2)"
_GENERATOR = ("synthesis.early_layer.const", "mapping.dense0.weight")
_DISCRIMINATOR = ("input0.weight", "layer0.weight")
_NO_TANH = "no final tanh (if it was trained with one: proxymask import FILE --final-tanh)"
# Hammer's names -> genforce's
_HAMMER_NAMES = (
    (r"^w_avg$", "truncation.w_avg"),
    (r"^(mapping\.)?embedding\.", r"\1LabelEmbed."),
    (r"^residual(\d+)\.", r"skip_layer\1."),
    (r"filter$", "filter.kernel"),
)
# Arguments of Hammer's networks that have to have this value.
_HAMMER_REQUIRED: dict[str, Setting] = {
    **dict.fromkeys(("repeat_w", "normalize_z", "mapping_use_wscale", "embedding_bias", "embedding_use_wscale", "const_input"), True),
    **dict.fromkeys(("normalize_embedding", "demodulate", "use_wscale"), True),
    **dict.fromkeys(("mapping_wscale_gain", "embedding_wscale_gian", "embedding_lr_mul", "wscale_gain", "lr_mul"), 1.0),
    **{"normalize_embedding_latent": False, "noise_type": "spatial", "eps": 1e-8},
}


def read(contents: Any, choices: Choices) -> Conversion | None:
    """The networks of a loaded genforce or Hammer file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    found = find_networks(contents, _GENERATOR)
    if not found:
        models = contents.get("models") if isinstance(contents, Mapping) else None
        models = models if isinstance(models, Mapping) else contents
        if isinstance(models, Mapping) and not is_module(models.get("generator_smooth")):
            require_mapping(models, "generator_smooth", "generator")
        return None
    taken = found[0]
    is_hammer = any(name.endswith("filter") for name in taken.state if type(name) is str)
    generator, assumed = _generator(_genforce_names(taken.state), is_hammer, _arguments(taken, "generator"), choices)
    result = Conversion(HAMMER if is_hammer else FAMILY, generator, assumed=assumed, seed_style="torch")
    result.facts["networks"] = network_names(taken.around[-1].get("models", contents)) or ["generator"]
    result.facts["generator taken"] = taken.name
    if not taken.is_averaged and taken.name != WHOLE_FILE:
        result.notes.append(f"no averaged generator (generator_smooth): {taken.name} is taken")
    result.mean_w_missing = "mapping.w_avg" not in generator.tensors
    result.tanh_unknown = _NO_TANH in assumed
    judges = find_networks(contents, _DISCRIMINATOR)
    if judges:
        result.add_discriminator(lambda: _discriminator(_genforce_names(judges[0].state), _arguments(judges[0], "discriminator")))
    return result


def _genforce_names(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state with Hammer's names replaced by genforce's."""
    out = {}
    for name, value in state.items():
        for pattern, new in _HAMMER_NAMES if type(name) is str else ():
            name = re.sub(pattern, new, name)
        out[name] = value
    return out


def _arguments(network: Network, name: str) -> Mapping[str, Any]:
    """What a run of Hammer says that the network ``name`` was made with; empty where the file does not say it."""
    stated = network.beside("model_kwargs_init")
    found = stated.get(name) if isinstance(stated, Mapping) else None
    return found if isinstance(found, Mapping) else {}


# Generator


def _generator(
    state: Mapping[str, Any], is_hammer: bool, arguments: Mapping[str, Any], choices: Choices
) -> tuple[NetworkWeights, list[str]]:
    """The generator, and what was assumed."""
    for name, wanted in _HAMMER_REQUIRED.items():
        value = check_setting(arguments.get(name, wanted), name)
        if value != wanted:
            raise ProxymaskError(f"it was made with {name}={value}, which is not supported")
    tensors = StateReader(state, "generator")
    sizes = _sizes(tensors, _count_blocks(tensors))
    out = _mapping(tensors, sizes)
    weights = [out[f"mapping.fc{i}.weight"] for i in range(sizes.mapping_layers)]
    stated = as_number(arguments["mapping_lr_mul"], "mapping_lr_mul") if "mapping_lr_mul" in arguments else None
    rate, how = lr_multiplier(weights, stated, choices.lr_multiplier)
    if "truncation.w_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("truncation.w_avg", sizes.w_dim)
    for level in range(len(sizes.channels)):
        out |= _block(tensors, level, sizes, is_hammer)
    tensors.check_filter(r".*\.kernel")
    tensors.finish()
    assumed = ([how] if how else []) + ["activation lrelu"]
    clamp = arguments.get("conv_clamp")
    final_tanh = check_setting(arguments.get("final_tanh"), "final_tanh")
    if choices.final_tanh and final_tanh is False:
        raise ProxymaskError("--final-tanh: the file says that it has none, leave the flag out")
    if "conv_clamp" not in arguments:
        assumed.append("no clamp")
    if final_tanh is None:
        final_tanh = choices.final_tanh
        assumed.append("a final tanh (proxymask import FILE --final-tanh)" if final_tanh else _NO_TANH)
    config = sizes.config(
        conv_clamp=None if clamp is None else as_number(clamp, "conv_clamp"),
        mapping_lr_multiplier=rate,
        scaled_weights=not is_hammer,
        final_tanh=bool(final_tanh),
    )
    return NetworkWeights(config, out), assumed


def _count_blocks(tensors: StateReader) -> int:
    names = tensors.names
    if any(".skip_layer" in name or ".residual" in name for name in names):
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


def _block(tensors: StateReader, level: int, sizes: GeneratorSizes, is_hammer: bool) -> dict[str, torch.Tensor]:
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
        out[f"{new}.weight"] = weight.flip(2, 3).contiguous() if name == "conv0" and not is_hammer else weight
        out[f"{new}.bias"] = tensors.take(f"{old}.bias", channels)
        out[f"{new}.noise_strength"] = tensors.take(f"{old}.noise_strength")
        out[f"{new}.noise_const"] = tensors.take(f"{old}.noise", height, width)
        out |= _style(tensors, old, new, (in_channels, w_dim), is_hammer)
    old, new = f"synthesis.output{level}", f"{block}.torgb"
    out[f"{new}.weight"] = tensors.take(f"{old}.weight", sizes.img_channels, channels, 1, 1)
    out[f"{new}.bias"] = tensors.take(f"{old}.bias", sizes.img_channels)
    return out | _style(tensors, old, new, (channels, w_dim), is_hammer)


def _style(tensors: StateReader, old: str, new: str, shape: tuple[int, int], is_hammer: bool) -> dict[str, torch.Tensor]:
    """The affine layer from w to a style: weight of ``shape`` (channels, w_dim), bias (channels,)."""
    bias = tensors.take(f"{old}.style.bias", shape[0])
    return {f"{new}.affine.weight": tensors.take(f"{old}.style.weight", *shape), f"{new}.affine.bias": bias if is_hammer else bias + 1}


# Discriminator


def _discriminator(state: Mapping[str, Any], arguments: Mapping[str, Any]) -> NetworkWeights:
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
    if "output.weight" in tensors:  # Hammer's name for the last of them
        last[2] = "output"
    mbstd_channels = tensors.shape(f"{last[0]}.weight")[1] - width
    outputs = tensors.shape(f"{last[2]}.weight")[0]
    out["b4.conv.weight"] = tensors.take(f"{last[0]}.weight", width, width + mbstd_channels, 3, 3)
    out["b4.conv.bias"] = tensors.take(f"{last[0]}.bias", width)
    out["b4.fc.weight"] = tensors.take(f"{last[1]}.weight", width, 16 * width)
    out["b4.fc.bias"] = tensors.take(f"{last[1]}.bias", width)
    out["b4.out.weight"] = tensors.take(f"{last[2]}.weight", outputs, width)
    out["b4.out.bias"] = tensors.take(f"{last[2]}.bias", outputs)
    config: dict[str, Any] = {"resolution": top, "img_channels": img_channels, **channel_config(channels), "mbstd_channels": mbstd_channels}
    config["mbstd_group"] = as_count(arguments.get("mbstd_groups", 4), "mbstd_groups", 1)
    config["conv_clamp"] = None if arguments.get("conv_clamp") is None else as_number(arguments["conv_clamp"], "conv_clamp")
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
        return c_dim, embed | {"mapping.w_avg": tensors.zeros(outputs)}
    return (outputs, one_hot_class_mapping(tensors, outputs)) if outputs > 1 else (0, {})
