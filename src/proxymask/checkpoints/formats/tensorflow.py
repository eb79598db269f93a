"""Pickles of NVIDIA's TensorFlow StyleGAN2 and StyleGAN2-ADA: a tuple (G, D, Gs) of networks with their variables by name.

Source: https://github.com/NVlabs/stylegan2 (config E and F) and https://github.com/NVlabs/stylegan2-ada, ``dnnlib/tflib/network.py``.
Differences from this package: convolutions are (k, k, C_in, C_out), those that upsample are stored rotated by 180 degrees; linear layers
are (in, out); a style's bias is stored less 1; the class enters as in the paper of 2020 (``LabelConcat``) or as in ADA (``LabelEmbed``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ..safe_pickle.inert import InertObject
from ..safe_pickle.messages import printable
from .architecture import GeneratorSizes, block_resolutions, channel_config, count_layers, lr_multiplier, one_hot_class_mapping
from .conversion import Choices, Conversion, NetworkWeights
from .settings import Setting, as_count, as_number, check_setting, describe_value, words
from .state_reader import StateReader

FAMILY = "NVIDIA TensorFlow (stylegan2, stylegan2-ada)"
# Arguments that change nothing here, or that the shapes show as well.
_IGNORED_ARGUMENTS = {
    *("truncation_psi", "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "style_mixing_prob", "dlatent_avg_beta"),
    *("w_avg_beta", "structure", "randomize_noise", "fused_modconv", "dtype", "mapping_func", "synthesis_func", "resolution"),
    *("mbstd_num_features", "freeze_layers", "latent_size", "label_size", "dlatent_size", "fmap_min"),
    *("num_channels", "mapping_layers", "mapping_fmaps", "label_fmaps"),
    *("use_noise", "func_name", "dlatent_broadcast", "components", "is_template_graph", "score_max", "score_size", "augment_strength"),
}
# Arguments that have to have one of these values.
_REQUIRED_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "mapping_nonlinearity": ("lrelu",),
    "nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "use_wscale": (True,),
    "equalized_lr": (True,),
    "use_spectral_norm": (False,),
    "use_pagan": (False,),
    "adaptive_dropout": (0,),
}
# Arguments that are used or checked one by one.
_READ_ARGUMENTS = {
    *("mbstd_group_size", "num_fp16_res", "conv_clamp", "mapping_lrmul", "fmap_base", "fmap_max"),
    *("resample_kernel", "fmap_decay", "architecture", "fmap_const", "pagan_num", "pagan_fade"),
}
MAX_COMPONENTS = 16  # a published network has two


def read(contents: Any, choices: Choices) -> Conversion | None:
    """The networks of an unpickled TensorFlow file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    if isinstance(contents, InertObject):
        contents = (contents,)
    if not isinstance(contents, tuple | list) or not contents or not all(_is_network(entry) for entry in contents):
        return None
    generators = [entry for entry in contents if not _is_discriminator(entry)]
    if not generators:
        raise ProxymaskError("it holds a discriminator, but no generator: get the network pickle itself")
    _check_build_functions({words(entry.state, "build_func_name") for entry in contents})
    pickled = generators[-1]  # G, D, Gs: the averaged one is the last
    network, assumed = _generator(pickled, choices)
    notice = pickled.get("notice")
    result = Conversion(FAMILY, network, assumed=assumed, notice=notice if isinstance(notice, str) else "", seed_style="nvidia")
    result.facts["networks"] = [words(entry.state, "name") or words(entry.state, "build_func_name") or "network" for entry in contents]
    result.facts["generator taken"] = result.facts["networks"][list(map(id, contents)).index(id(pickled))]
    result.mean_w_missing = "mapping.w_avg" not in network.tensors
    judge = next((entry for entry in contents if _is_discriminator(entry)), None)
    if judge is not None:
        result.add_discriminator(lambda: _discriminator(judge))
    return result


def _is_network(entry: Any) -> bool:
    return isinstance(entry, InertObject) and isinstance(entry.state, dict) and {"variables", "static_kwargs"} <= entry.state.keys()


def _is_discriminator(pickled: InertObject) -> bool:
    names = [words(pickled.state, "name"), words(pickled.state, "build_func_name")]
    return any(name.startswith("D") for name in names if name) or "Output/weight" in _variables(pickled)


def _check_build_functions(names: set[str]) -> None:
    if names & {"G_style", "G_paper", "D_paper", "D_basic", "G_basic"}:
        older = "StyleGAN1" if "G_style" in names else "a ProGAN"
        raise ProxymaskError(f"this is {older} of the TensorFlow repositories, another architecture: only StyleGAN2 is supported")


# Variables and arguments


def _variables(pickled: InertObject) -> dict[str, Any]:
    """All variables by name, those of components after the component's name: ``mapping/Dense0/weight``."""
    out: dict[str, Any] = {}
    for prefix, part in _parts(pickled):
        listed = part.state.get("variables")
        if not isinstance(listed, list | tuple):
            raise ProxymaskError("its networks have no list of variables: the file is damaged, get it again")
        for entry in listed:
            if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise ProxymaskError("its list of variables is no list of names and values: the file is damaged, get it again")
            out[prefix + entry[0]] = entry[1]
    return out


def _parts(pickled: InertObject) -> list[tuple[str, InertObject]]:
    """A network and its components, each with the prefix of its variables' names."""
    found = [("", pickled)]
    for prefix, part in found:  # which grows
        components = part.state.get("components") or {}
        if not isinstance(components, Mapping):
            raise ProxymaskError("its networks have components that are no dict: the file is damaged, get it again")
        for name, component in components.items():
            if not isinstance(component, InertObject) or not isinstance(component.state, dict):
                raise ProxymaskError(f"its network {describe_value(name)} is {describe_value(component)}, which is not read")
            if type(name) is not str or len(found) >= MAX_COMPONENTS:
                raise ProxymaskError(f"its networks have components without a name, or more than {MAX_COMPONENTS}: the file is damaged")
            found.append((f"{prefix}{name}/", component))
    return found


def _arguments(pickled: InertObject) -> dict[str, Any]:
    """What the network and its components were made with.

    Raises:
        ProxymaskError: an argument that is not supported or not understood.
    """
    out: dict[str, Any] = {}
    for _, part in _parts(pickled):
        kwargs = part.get("static_kwargs")
        if isinstance(kwargs, Mapping):
            out |= kwargs
    return {name: _check_argument(name, value) for name, value in out.items() if type(name) is str}


def _check_argument(name: str, value: Any) -> Setting:
    """The value of an argument where it has one of the values that are supported; that of a list does not matter then."""
    if name == "resample_kernel":
        taps = [check_setting(tap, name) for tap in value] if isinstance(value, list | tuple) and len(value) <= 16 else []
        if taps != [1, 3, 3, 1]:
            raise ProxymaskError(f"its resampling filter is {taps}, only 1, 3, 3, 1 is supported")
        return None
    if name in _IGNORED_ARGUMENTS:
        return None
    setting = check_setting(value, name)
    if (setting not in _REQUIRED_ARGUMENTS[name]) if name in _REQUIRED_ARGUMENTS else (name == "fmap_decay" and setting != 1):
        raise ProxymaskError(f"it was made with {name}={setting}, which is not supported")
    if name not in _REQUIRED_ARGUMENTS.keys() | _READ_ARGUMENTS and setting not in (None, False):
        raise ProxymaskError(f"it was made with {printable(name)}, which is not understood: the pictures could depend on it")
    return setting


def _clamp(arguments: dict[str, Any]) -> float | None:
    clamp = arguments.get("conv_clamp")
    return None if clamp is None else as_number(clamp, "conv_clamp")


# Generator


def _generator(pickled: InertObject, choices: Choices) -> tuple[NetworkWeights, list[str]]:
    """The generator, and what was assumed."""
    arguments, tensors = _arguments(pickled), StateReader(_variables(pickled), "generator")
    _check_skip(arguments.get("architecture", "skip"), tensors)
    sizes = _sizes(arguments, tensors)
    out = _mapping(tensors, sizes)
    if "dlatent_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("dlatent_avg", sizes.w_dim)
    previous = 0
    for res, channels in sizes.channels.items():
        out |= _block(tensors, res, previous, sizes)
        previous = channels
    tensors.skip(r"(.*/)?lod")
    tensors.finish()
    stated = as_number(arguments["mapping_lrmul"], "mapping_lrmul") if "mapping_lrmul" in arguments else None
    rate, how = lr_multiplier([out[f"mapping.fc{i}.weight"] for i in range(sizes.mapping_layers)], stated, choices.lr_multiplier)
    config = sizes.config(
        conv_clamp=_clamp(arguments),
        mapping_lr_multiplier=rate,
        scaled_weights=True,
        num_fp16_res=as_count(arguments.get("num_fp16_res", 0), "num_fp16_res"),
    )
    defaults = {
        "mapping_lrmul": how,
        "nonlinearity": "activation lrelu",
        "conv_clamp": "conv_clamp None",
        "num_fp16_res": "half-precision layers 0",
    }
    return NetworkWeights(config, out), [assumed for name, assumed in defaults.items() if name not in arguments]


def _check_skip(architecture: Any, tensors: StateReader) -> None:
    names = tensors.names
    if any("/StyleMod/" in name or "/AdaIN/" in name for name in names):
        raise ProxymaskError("this is StyleGAN1, another architecture: only StyleGAN2 is supported")
    if architecture == "resnet" or any(re.fullmatch(r"synthesis/\d+x\d+/Skip/weight", name) for name in names):
        raise ProxymaskError("this is a residual ('resnet') StyleGAN2 generator; only skip generators, the published ones, are supported")
    if architecture != "skip" or any("ToRGB_lod" in name for name in names) or "synthesis/4x4/ToRGB/weight" not in tensors:
        raise ProxymaskError(
            "this is a StyleGAN2 generator without skips (configurations A to D, 'orig'): only skip generators are supported"
        )


def _sizes(arguments: dict[str, Any], tensors: StateReader) -> GeneratorSizes:
    names = [name.removeprefix("synthesis/") for name in tensors.names if name.startswith("synthesis/")]
    resolutions = block_resolutions(names, r"(\d+)x\1/Conv")
    depth = count_layers(tensors.names, r"mapping/Dense(\d+)/weight")
    if not depth:
        raise ProxymaskError("its generator has no mapping network: get the whole generator")
    inputs, features = tensors.shape("mapping/Dense0/weight")
    c_dim, embed, concat = 0, 0, "mapping/LabelConcat/weight" in tensors
    if concat:
        c_dim = tensors.shape("mapping/LabelConcat/weight")[0]
    elif "mapping/LabelEmbed/weight" in tensors:
        c_dim, embed = tensors.shape("mapping/LabelEmbed/weight")
    base = arguments.get("fmap_base")
    top = resolutions[-1]
    return GeneratorSizes(
        z_dim=tensors.shape("mapping/LabelConcat/weight")[1] if concat else inputs - embed,
        w_dim=tensors.shape("synthesis/4x4/Conv/mod_weight")[0],
        c_dim=c_dim,
        channels={res: tensors.shape(f"synthesis/{res}x{res}/{'Conv' if res == 4 else 'Conv1'}/weight")[3] for res in resolutions},
        img_channels=tensors.shape(f"synthesis/{top}x{top}/ToRGB/weight")[3],
        mapping_layers=depth,
        mapping_features=features,
        embed_features=embed,
        label="concat" if concat else "embed",
        channel_base=2 * base if isinstance(base, int) else None,
        channel_max=arguments.get("fmap_max"),
    )


def _mapping(tensors: StateReader, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = {}
    if sizes.label == "concat":
        out["mapping.label_weight"] = tensors.take("mapping/LabelConcat/weight", sizes.c_dim, sizes.z_dim)
    elif sizes.c_dim:
        out["mapping.embed.weight"] = _linear(tensors, "mapping/LabelEmbed/weight", sizes.embed_features, sizes.c_dim)
        out["mapping.embed.bias"] = tensors.take("mapping/LabelEmbed/bias", sizes.embed_features)
    for i in range(sizes.mapping_layers):
        inputs, outputs = tensors.shape(f"mapping/Dense{i}/weight")
        out[f"mapping.fc{i}.weight"] = _linear(tensors, f"mapping/Dense{i}/weight", outputs, inputs)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"mapping/Dense{i}/bias", outputs)
    return out


def _block(tensors: StateReader, res: int, previous: int, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    """One block; ``previous``: channels of the one before, 0 for the first."""
    source, target, channels = f"synthesis/{res}x{res}", f"synthesis.b{res}", sizes.channels[res]
    level = res.bit_length() - 1  # log2
    out: dict[str, torch.Tensor] = {}
    if not previous:
        out[f"{target}.const"] = tensors.take(f"{source}/Const/const", channels, 4, 4)
        convs = [("Conv", "conv1", channels, 0)]
    else:
        convs = [("Conv0_up", "conv0", previous, 2 * level - 5), ("Conv1", "conv1", channels, 2 * level - 4)]
    for name, new_name, in_channels, noise in convs:
        old, new = f"{source}/{name}", f"{target}.{new_name}"
        weight = _conv(tensors, f"{old}/weight", channels, in_channels, 3)
        out[f"{new}.weight"] = weight.flip(2, 3).contiguous() if name == "Conv0_up" else weight
        out[f"{new}.bias"] = tensors.take(f"{old}/bias", channels)
        out |= _style(tensors, old, new, sizes.w_dim, in_channels)
        if f"{old}/noise_strength" in tensors:
            out[f"{new}.noise_strength"] = tensors.take(f"{old}/noise_strength")
            out[f"{new}.noise_const"] = tensors.take(f"synthesis/noise{noise}", res, res)
        else:  # use_noise=False
            out[f"{new}.noise_strength"], out[f"{new}.noise_const"] = tensors.zeros(), tensors.zeros(res, res)
    out[f"{target}.torgb.weight"] = _conv(tensors, f"{source}/ToRGB/weight", sizes.img_channels, channels, 1)
    out[f"{target}.torgb.bias"] = tensors.take(f"{source}/ToRGB/bias", sizes.img_channels)
    return out | _style(tensors, f"{source}/ToRGB", f"{target}.torgb", sizes.w_dim, channels)


def _style(tensors: StateReader, old: str, new: str, w_dim: int, channels: int) -> dict[str, torch.Tensor]:
    """The affine layer from w to a style: weight (channels, w_dim), bias (channels,)."""
    return {
        f"{new}.affine.weight": _linear(tensors, f"{old}/mod_weight", channels, w_dim),
        f"{new}.affine.bias": tensors.take(f"{old}/mod_bias", channels) + 1,
    }


def _conv(tensors: StateReader, name: str, out_channels: int, in_channels: int, size: int) -> torch.Tensor:
    """(k, k, C_in, C_out) -> (C_out, C_in, k, k)."""
    return tensors.take(name, size, size, in_channels, out_channels).permute(3, 2, 0, 1).contiguous()


def _linear(tensors: StateReader, name: str, outputs: int, inputs: int) -> torch.Tensor:
    """(in, out) -> (out, in)."""
    return tensors.take(name, inputs, outputs).t().contiguous()


# Discriminator


def _discriminator(pickled: InertObject) -> NetworkWeights:
    arguments, tensors = _arguments(pickled), StateReader(_variables(pickled), "discriminator")
    if arguments.get("architecture", "resnet") != "resnet" or any("FromRGB_lod" in name for name in tensors.names):
        raise ProxymaskError("it is not a residual one")
    resolutions = block_resolutions(tensors.names, r"(\d+)x\1/Conv")
    top = resolutions[-1]
    channels = {res: tensors.shape(f"{res}x{res}/Conv0/weight")[3] for res in resolutions[1:]} | {4: tensors.shape("4x4/Conv/weight")[3]}
    img_channels = tensors.shape(f"{top}x{top}/FromRGB/weight")[2]
    out: dict[str, torch.Tensor] = {
        f"b{top}.fromrgb.weight": _conv(tensors, f"{top}x{top}/FromRGB/weight", channels[top], img_channels, 1),
        f"b{top}.fromrgb.bias": tensors.take(f"{top}x{top}/FromRGB/bias", channels[top]),
    }
    for res in resolutions[:0:-1]:
        source, here, below = f"{res}x{res}", channels[res], channels[res // 2]
        out[f"b{res}.conv0.weight"] = _conv(tensors, f"{source}/Conv0/weight", here, here, 3)
        out[f"b{res}.conv0.bias"] = tensors.take(f"{source}/Conv0/bias", here)
        out[f"b{res}.conv1.weight"] = _conv(tensors, f"{source}/Conv1_down/weight", below, here, 3)
        out[f"b{res}.conv1.bias"] = tensors.take(f"{source}/Conv1_down/bias", below)
        out[f"b{res}.skip.weight"] = _conv(tensors, f"{source}/Skip/weight", below, here, 1)
    mbstd_channels = tensors.shape("4x4/Conv/weight")[2] - channels[4]
    outputs = tensors.shape("Output/weight")[1]
    out |= _epilogue(tensors, channels[4], mbstd_channels, outputs)
    c_dim, depth, mapping = _class_mapping(tensors, outputs)
    out |= mapping
    tensors.skip("lod")
    tensors.finish()
    is_ada = pickled.get("build_func_name") == "D_main"
    group = arguments.get("mbstd_group_size", None if is_ada else 4)
    config: dict[str, Any] = {
        "resolution": top,
        "img_channels": img_channels,
        "c_dim": c_dim,
        **channel_config(channels),
        "conv_clamp": _clamp(arguments),
        "mbstd_group": None if group is None else as_count(group, "group size", 1),
        "mbstd_channels": mbstd_channels,
        "mapping_layers": depth,
        "cmap_dim": outputs if c_dim else None,
        "mapping_lr_multiplier": as_number(arguments.get("mapping_lrmul", 0.1), "mapping_lrmul"),
    }
    return NetworkWeights(config, out)


def _epilogue(tensors: StateReader, channels: int, mbstd_channels: int, outputs: int) -> dict[str, torch.Tensor]:
    return {
        "b4.conv.weight": _conv(tensors, "4x4/Conv/weight", channels, channels + mbstd_channels, 3),
        "b4.conv.bias": tensors.take("4x4/Conv/bias", channels),
        "b4.fc.weight": _linear(tensors, "4x4/Dense0/weight", channels, 16 * channels),
        "b4.fc.bias": tensors.take("4x4/Dense0/bias", channels),
        "b4.out.weight": _linear(tensors, "Output/weight", outputs, channels),
        "b4.out.bias": tensors.take("Output/bias", outputs),
    }


def _class_mapping(tensors: StateReader, outputs: int) -> tuple[int, int, dict[str, torch.Tensor]]:
    """Number of classes, number of mapping layers, and the mapping of a class: ADA's, or one output a class (2020)."""
    depth = count_layers(tensors.names, r"Mapping(\d+)/weight")
    if "LabelEmbed/weight" in tensors:
        c_dim = tensors.shape("LabelEmbed/weight")[0]
        out = {
            "mapping.embed.weight": _linear(tensors, "LabelEmbed/weight", outputs, c_dim),
            "mapping.embed.bias": tensors.take("LabelEmbed/bias", outputs),
        }
        for i in range(depth):
            out[f"mapping.fc{i}.weight"] = _linear(tensors, f"Mapping{i}/weight", outputs, outputs)
            out[f"mapping.fc{i}.bias"] = tensors.take(f"Mapping{i}/bias", outputs)
        return c_dim, depth, out | {"mapping.w_avg": tensors.zeros(outputs)}
    return (outputs, depth, one_hot_class_mapping(tensors, outputs)) if outputs > 1 else (0, depth, {})
