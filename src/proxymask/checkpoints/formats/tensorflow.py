"""Pickles of NVIDIA's TensorFlow StyleGAN2 and StyleGAN2-ADA: a tuple (G, D, Gs) of networks with their variables by name.

Differences from PyTorch's: weights are (height, width, in, out); convolutions that upsample are stored turned by 180 degrees; the
bias of a style is added to 1; the class enters as in the paper of 2020 (``LabelConcat``) or as in ADA (``LabelEmbed``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ProxymaskError
from ..unpickle import Record
from .parts import Found, Network, Tensors, base_and_max, blocks, count, describe, number, one_output_a_class

FAMILY = "NVIDIA TensorFlow (stylegan2, stylegan2-ada)"
# what the arguments may say that changes nothing here
_HARMLESS = {
    *("truncation_psi", "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "style_mixing_prob", "dlatent_avg_beta"),
    *("w_avg_beta", "structure", "randomize_noise", "fused_modconv", "dtype", "mapping_func", "synthesis_func", "mbstd_group_size"),
    *("mbstd_num_features", "freeze_layers", "num_fp16_res", "conv_clamp", "latent_size", "label_size", "dlatent_size", "resolution"),
    *("num_channels", "mapping_layers", "mapping_fmaps", "label_fmaps", "mapping_lrmul", "fmap_base", "fmap_max", "fmap_min"),
    *("use_noise", "func_name", "dlatent_broadcast", "components", "is_template_graph", "score_max", "score_size", "augment_strength"),
}
_MUST_BE: dict[str, tuple[Any, ...]] = {
    "mapping_nonlinearity": ("lrelu",),
    "nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "use_wscale": (True,),
    "equalized_lr": (True,),
    "use_spectral_norm": (False,),
    "use_pagan": (False,),
    "adaptive_dropout": (0,),
}


def read(found: Any) -> Found | None:
    """The networks of an unpickled TensorFlow file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture or incomplete.
    """
    if isinstance(found, Record) and _is_network(found):
        found = (found,)
    if not isinstance(found, tuple | list) or not found or not all(isinstance(entry, Record) and _is_network(entry) for entry in found):
        return None
    made = {str(entry.get("build_func_name", "")): entry for entry in found}
    generators = [entry for entry in found if not _is_discriminator(entry)]
    if not generators:
        raise ProxymaskError("it holds a discriminator, but no generator")
    record = generators[-1]  # G, D, Gs: the averaged one is the last
    if any(name in made for name in ("G_style", "G_paper", "D_paper", "D_basic", "G_basic")):
        older = "StyleGAN1" if "G_style" in made else "a ProGAN"
        raise ProxymaskError(f"this is {older} of the TensorFlow repositories, another architecture: only StyleGAN2 is supported")
    network, assumed = _generator(record)
    result = Found(FAMILY, network, assumed=assumed, seed_style="nvidia")
    result.notice = str(record.get("notice") or "")
    result.facts["networks"] = [str(entry.get("name") or entry.get("build_func_name") or "network") for entry in found]
    result.facts["generator taken"] = result.facts["networks"][list(map(id, found)).index(id(record))]
    result.mean_w_missing = "mapping.w_avg" not in network.tensors
    for entry in found:
        if _is_discriminator(entry):
            try:
                result.discriminator = _discriminator(entry)
            except ProxymaskError as error:
                result.notes.append(f"the discriminator is left out: {error}")
            break
    return result


def _is_network(record: Record) -> bool:
    return isinstance(record.state, dict) and "variables" in record.state and "static_kwargs" in record.state


def _is_discriminator(record: Record) -> bool:
    names = [str(record.get("name", "")), str(record.get("build_func_name", ""))]
    return any(name.startswith("D") for name in names if name) or "Output/weight" in _variables(record)


def _variables(record: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """All variables by name, those of components below the component's name."""
    if not isinstance(record, Record) or not isinstance(record.state, dict) or depth > 4:
        raise ProxymaskError(f"its network {prefix or 'itself'} is a {describe(record)}, which is not read")
    listed, out = record.state.get("variables"), {}
    if not isinstance(listed, list | tuple):
        raise ProxymaskError("its networks have no list of variables: the file is damaged")
    for entry in listed:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            raise ProxymaskError("its list of variables is no list of names and values: the file is damaged")
        out[prefix + entry[0]] = entry[1]
    parts = record.state.get("components") or {}
    if not isinstance(parts, Mapping):
        raise ProxymaskError("its networks have components that are no dict: the file is damaged")
    for name, part in parts.items():
        out |= _variables(part, f"{prefix}{name}/", depth + 1)
    return out


def _arguments(record: Record) -> dict[str, Any]:
    """What the network was made with, those of its components too."""
    out: dict[str, Any] = {}
    parts = record.state.get("components") or {}
    for entry in (record, *parts.values()):
        said = entry.get("static_kwargs") if isinstance(entry, Record) else None
        if isinstance(said, Mapping):
            out |= {str(key): value for key, value in said.items()}
    for name, value in out.items():
        if name in _MUST_BE and value not in _MUST_BE[name]:
            raise ProxymaskError(
                f"it was made with {name}={describe(value) if not isinstance(value, str | int | float) else value}, which is not supported"
            )
        if name == "resample_kernel" and list(value or ()) != [1, 3, 3, 1]:
            raise ProxymaskError(f"its resampling filter is {value}, only 1, 3, 3, 1 is supported")
        if name == "fmap_decay" and value != 1:
            raise ProxymaskError(f"it was made with fmap_decay={value}, which is not supported")
        known = (
            name in _HARMLESS
            or name in _MUST_BE
            or name in ("resample_kernel", "fmap_decay", "architecture", "fmap_const", "pagan_num", "pagan_fade")
        )
        if not known and value not in (None, False):
            raise ProxymaskError(f"it was made with {name}, which is not understood: the pictures could depend on it")
    return out


def _conv(tensors: Tensors, name: str, out: int, fan: int, size: int, turned: bool = False) -> torch.Tensor:
    """(h, w, in, out) -> (out, in, h, w)."""
    weight = tensors.take(name, size, size, fan, out).permute(3, 2, 0, 1)
    return (weight.flip(2, 3) if turned else weight).contiguous()


def _dense(tensors: Tensors, name: str, out: int, fan: int) -> torch.Tensor:
    return tensors.take(name, fan, out).t().contiguous()


def _generator(record: Record) -> tuple[Network, list[str]]:
    arguments, tensors = _arguments(record), Tensors(_variables(record), "generator")
    names = list(tensors.state)
    if any("/StyleMod/" in name or "/AdaIN/" in name for name in names):
        raise ProxymaskError("this is StyleGAN1, another architecture: only StyleGAN2 is supported")
    residual = any(re.fullmatch(r"synthesis/\d+x\d+/Skip/weight", name) for name in names)
    if residual or arguments.get("architecture", "skip") == "resnet":
        raise ProxymaskError("this is a residual ('resnet') StyleGAN2 generator; only skip generators, the published ones, are supported")
    if (
        any("ToRGB_lod" in name for name in names)
        or arguments.get("architecture", "skip") != "skip"
        or "synthesis/4x4/ToRGB/weight" not in tensors
    ):
        raise ProxymaskError(
            "this is a StyleGAN2 generator without skips (configurations A to D, 'orig'): only skip generators are supported"
        )
    resolutions = blocks([name.removeprefix("synthesis/") for name in names if name.startswith("synthesis/")], r"(\d+)x\1/Conv")
    widths = {res: tensors.shape(f"synthesis/{res}x{res}/{'Conv' if res == 4 else 'Conv1'}/weight")[3] for res in resolutions}
    w_dim = tensors.shape("synthesis/4x4/Conv/mod_weight")[0]
    channels = tensors.shape(f"synthesis/{resolutions[-1]}x{resolutions[-1]}/ToRGB/weight")[3]
    depth = count(names, r"mapping/Dense(\d+)/weight")
    if not depth:
        raise ProxymaskError("its generator has no mapping network")
    fan, features = tensors.shape("mapping/Dense0/weight")
    out: dict[str, torch.Tensor] = {}
    c_dim, z_dim, embed, label = 0, fan, 0, "embed"
    if "mapping/LabelConcat/weight" in tensors:
        c_dim, z_dim = tensors.shape("mapping/LabelConcat/weight")
        label = "concat"
        out["mapping.label_weight"] = tensors.take("mapping/LabelConcat/weight", c_dim, z_dim)
    elif "mapping/LabelEmbed/weight" in tensors:
        c_dim, embed = tensors.shape("mapping/LabelEmbed/weight")
        z_dim = fan - embed
        out["mapping.embed.weight"] = _dense(tensors, "mapping/LabelEmbed/weight", embed, c_dim)
        out["mapping.embed.bias"] = tensors.take("mapping/LabelEmbed/bias", embed)
    for i in range(depth):
        width, into = tensors.shape(f"mapping/Dense{i}/weight")
        out[f"mapping.fc{i}.weight"] = _dense(tensors, f"mapping/Dense{i}/weight", into, width)
        out[f"mapping.fc{i}.bias"] = tensors.take(f"mapping/Dense{i}/bias", into)
    if "dlatent_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("dlatent_avg", w_dim)
    previous = 0
    for res, width in widths.items():
        source, target = f"synthesis/{res}x{res}", f"synthesis.b{res}"
        level = res.bit_length() - 1
        if not previous:
            out[f"{target}.const"] = tensors.take(f"{source}/Const/const", width, 4, 4)
        layers = [("Conv", "conv1", width, 0, False)] if not previous else []
        if previous:
            layers = [("Conv0_up", "conv0", previous, 2 * level - 5, True), ("Conv1", "conv1", width, 2 * level - 4, False)]
        for old, new, into, index, up in layers:
            a, b = f"{source}/{old}", f"{target}.{new}"
            out[f"{b}.weight"] = _conv(tensors, f"{a}/weight", width, into, 3, turned=up)
            out[f"{b}.bias"] = tensors.take(f"{a}/bias", width)
            _style(tensors, out, a, b, w_dim, into)
            if f"{a}/noise_strength" in tensors:
                out[f"{b}.noise_strength"] = tensors.take(f"{a}/noise_strength")
                out[f"{b}.noise_const"] = tensors.take(f"synthesis/noise{index}", res, res)
            else:  # use_noise=False
                out[f"{b}.noise_strength"], out[f"{b}.noise_const"] = torch.zeros(()), torch.zeros(res, res)
        out[f"{target}.torgb.weight"] = _conv(tensors, f"{source}/ToRGB/weight", channels, width, 1)
        out[f"{target}.torgb.bias"] = tensors.take(f"{source}/ToRGB/bias", channels)
        _style(tensors, out, f"{source}/ToRGB", f"{target}.torgb", w_dim, width)
        previous = width
    tensors.skip(r"(.*/)?lod")
    tensors.finish()
    assumed = []
    if "mapping_lrmul" not in arguments:
        assumed.append("learning-rate multiplier 0.01")
    if "nonlinearity" not in arguments:
        assumed.append("activation lrelu")
    if "conv_clamp" not in arguments:
        assumed.append("conv_clamp None")
    if "num_fp16_res" not in arguments:
        assumed.append("half-precision layers 0")
    clamp, base = arguments.get("conv_clamp"), arguments.get("fmap_base")
    config: dict[str, Any] = {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "resolution": resolutions[-1],
        "img_channels": channels,
        "mapping_layers": depth,
        **base_and_max(widths, (2 * base if isinstance(base, int) else None, arguments.get("fmap_max"))),
        "conv_clamp": None if clamp is None else float(number(clamp, "conv_clamp", float)),
        "mapping_lr_multiplier": float(number(arguments.get("mapping_lrmul", 0.01), "mapping_lrmul", float)),
        "mapping_features": None if features == w_dim or depth == 1 else features,
        "embed_features": None if embed in (0, w_dim) else embed,
        "label": label,
        "scaled_weights": True,
        "num_fp16_res": number(arguments.get("num_fp16_res", 0), "num_fp16_res"),
    }
    return Network(config, out), assumed


def _style(tensors: Tensors, out: dict[str, torch.Tensor], a: str, b: str, w_dim: int, into: int) -> None:
    out[f"{b}.affine.weight"] = _dense(tensors, f"{a}/mod_weight", into, w_dim)
    out[f"{b}.affine.bias"] = tensors.take(f"{a}/mod_bias", into) + 1


def _discriminator(record: Record) -> Network:
    arguments, tensors = _arguments(record), Tensors(_variables(record), "discriminator")
    names = list(tensors.state)
    if arguments.get("architecture", "resnet") != "resnet" or any("FromRGB_lod" in name for name in names):
        raise ProxymaskError("it is not a residual one")
    resolutions = blocks(names, r"(\d+)x\1/Conv")
    top = resolutions[-1]
    widths = {res: tensors.shape(f"{res}x{res}/Conv0/weight")[3] for res in resolutions[1:]} | {4: tensors.shape("4x4/Conv/weight")[3]}
    channels = tensors.shape(f"{top}x{top}/FromRGB/weight")[2]
    out: dict[str, torch.Tensor] = {
        f"b{top}.fromrgb.weight": _conv(tensors, f"{top}x{top}/FromRGB/weight", widths[top], channels, 1),
        f"b{top}.fromrgb.bias": tensors.take(f"{top}x{top}/FromRGB/bias", widths[top]),
    }
    for res in resolutions[:0:-1]:
        source, here, below = f"{res}x{res}", widths[res], widths[res // 2]
        out[f"b{res}.conv0.weight"] = _conv(tensors, f"{source}/Conv0/weight", here, here, 3)
        out[f"b{res}.conv0.bias"] = tensors.take(f"{source}/Conv0/bias", here)
        out[f"b{res}.conv1.weight"] = _conv(tensors, f"{source}/Conv1_down/weight", below, here, 3)
        out[f"b{res}.conv1.bias"] = tensors.take(f"{source}/Conv1_down/bias", below)
        out[f"b{res}.skip.weight"] = _conv(tensors, f"{source}/Skip/weight", below, here, 1)
    extra = tensors.shape("4x4/Conv/weight")[2] - widths[4]
    out["b4.conv.weight"] = _conv(tensors, "4x4/Conv/weight", widths[4], widths[4] + extra, 3)
    out["b4.conv.bias"] = tensors.take("4x4/Conv/bias", widths[4])
    out["b4.fc.weight"] = _dense(tensors, "4x4/Dense0/weight", widths[4], 16 * widths[4])
    out["b4.fc.bias"] = tensors.take("4x4/Dense0/bias", widths[4])
    codes = tensors.shape("Output/weight")[1]
    out["b4.out.weight"] = _dense(tensors, "Output/weight", codes, widths[4])
    out["b4.out.bias"] = tensors.take("Output/bias", codes)
    c_dim, depth = 0, count(names, r"Mapping(\d+)/weight")
    if "LabelEmbed/weight" in tensors:
        c_dim = tensors.shape("LabelEmbed/weight")[0]
        out["mapping.embed.weight"] = _dense(tensors, "LabelEmbed/weight", codes, c_dim)
        out["mapping.embed.bias"] = tensors.take("LabelEmbed/bias", codes)
        for i in range(depth):
            out[f"mapping.fc{i}.weight"] = _dense(tensors, f"Mapping{i}/weight", codes, codes)
            out[f"mapping.fc{i}.bias"] = tensors.take(f"Mapping{i}/bias", codes)
        out["mapping.w_avg"] = torch.zeros(codes)
    elif codes > 1:
        c_dim = codes
        out |= one_output_a_class(codes)
    tensors.skip("lod")
    tensors.finish()
    clamp, ada = arguments.get("conv_clamp"), record.get("build_func_name") == "D_main"
    group = arguments.get("mbstd_group_size", None if ada else 4)
    config: dict[str, Any] = {
        "resolution": top,
        "img_channels": channels,
        "c_dim": c_dim,
        **base_and_max(widths),
        "conv_clamp": None if clamp is None else float(number(clamp, "conv_clamp", float)),
        "mbstd_group": None if group is None else number(group, "group size"),
        "mbstd_channels": extra,
        "mapping_layers": depth,
        "cmap_dim": codes if c_dim else None,
        "mapping_lr_multiplier": float(number(arguments.get("mapping_lrmul", 0.1), "mapping_lrmul", float)),
    }
    return Network(config, out)
