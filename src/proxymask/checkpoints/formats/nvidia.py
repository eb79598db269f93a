"""Pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, and the StyleGAN2 networks of the StyleGAN3 repository.

A dict of G, D, G_ema (and training_set_kwargs, augment_pipe), each a network of their persistence wrapper; or such a network alone.
Parameter names are those of this package, which took them from there. Forks that only widen it (rectangular start blocks) are read
too, by the shapes of what they store.
"""

from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ProxymaskError
from ..unpickle import Persistent, state_dict
from .parts import Found, Network, Tensors, base_and_max, blocks, count, describe, number, one

FAMILY = "NVIDIA PyTorch (stylegan2-ada-pytorch, stylegan3 repository)"
_GENERATORS = ("G_ema", "Gs", "G")
_KEY = "synthesis.b4.const"
_TRAINED_CLAMP = 256.0  # of NVIDIA's train.py


def read(found: Any) -> Found | None:
    """The networks of an unpickled NVIDIA file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture, incomplete, or it hangs on something that was not read.
    """
    networks = _networks(found)
    if networks is None:
        return None
    name = next((name for name in _GENERATORS if name in networks), None)
    if name is None:
        raise ProxymaskError(f"it holds {', '.join(networks)}, but no generator (G_ema): get the network pickle itself")
    record = networks[name]
    result = Found(FAMILY, _generator(record), notice=record.notice, seed_style="nvidia")
    result.facts["networks"] = list(networks)
    result.facts["generator taken"] = name
    if name != "G_ema" and len(networks) > 1:
        result.notes.append(f"no averaged generator (G_ema): {name} is taken")
    result.mean_w_missing = "mapping.w_avg" not in result.generator.tensors
    if "D" in networks:
        try:
            result.discriminator = _discriminator(networks["D"], result.generator.config["start"])
        except ProxymaskError as error:
            result.notes.append(f"the discriminator is left out: {error}")
    if not _has_attributes(record):
        clamp = [] if _says(record, "conv_clamp")[0] else [f"conv_clamp {result.generator.config['conv_clamp']:g}"]
        rate = [] if _says(record, "lr_multiplier")[0] else ["learning-rate multiplier 0.01"]
        result.assumed += [*clamp, *rate, "activation lrelu"]
    return result


def _networks(found: Any) -> dict[str, Persistent] | None:
    if isinstance(found, Persistent):
        return {"D" if "iscriminator" in found.class_name else "G_ema": found}
    if not isinstance(found, Mapping):
        return None
    networks = {key: value for key, value in found.items() if isinstance(value, Persistent) and key in ("G_ema", "Gs", "G", "D")}
    if networks:
        return networks
    bare = found if _KEY in found else found.get("G_ema")
    if isinstance(bare, Mapping) and _KEY in bare:  # a state dict, which says nothing but names and shapes
        return {"G_ema": Persistent("Generator", (), {}, {"_parameters": dict(bare)})}
    said = [key for key in ("G_ema", "G") if key in found]
    if said and not isinstance(found[said[0]], Mapping | torch.Tensor):
        raise ProxymaskError(f"its {said[0]} is a {describe(found[said[0]])}, which is not read: the generator depends on it")
    return None


# ------------------------------------------------------------------------------------------------- what a record says of itself


def _module(record: Any, path: str) -> Any:
    """A submodule by its dotted path; None where there is none."""
    for name in path.split("."):
        modules = record.state.get("_modules") if isinstance(getattr(record, "state", None), dict) else None
        record = modules.get(name) if isinstance(modules, dict) else None
    return record


def _has_attributes(record: Persistent) -> bool:
    layer = _module(record, "synthesis.b4.conv1")
    return layer is not None and isinstance(layer.state, dict) and "activation" in layer.state


def _attributes(record: Persistent, paths: list[str], name: str) -> list[Any]:
    """The attribute ``name`` of the submodules that say it."""
    found = [_module(record, path) for path in paths]
    return [module.state[name] for module in found if module is not None and isinstance(module.state, dict) and name in module.state]


def _says(record: Persistent, name: str) -> tuple[bool, Any]:
    """What the init arguments say of ``name``, at the top or among those of the synthesis or mapping network."""
    kwargs = record.init_kwargs
    inner = [kwargs.get(key) for key in ("synthesis_kwargs", "mapping_kwargs", "epilogue_kwargs", "block_kwargs")]
    for place in (kwargs, *(entry for entry in inner if isinstance(entry, Mapping))):
        if name in place:
            return True, place[name]
    return False, None


def _check_same(said: Any, seen: int, what: str) -> None:
    if said is not None and number(said, what) != seen:
        raise ProxymaskError(f"it says that its {what} is {said}, but its tensors say {seen}: the file is damaged or altered")


def _clamp(value: Any) -> float | None:
    return None if value is None else float(number(value, "conv_clamp", float))


# ------------------------------------------------------------------------------------------------------------------ networks


def _generator(record: Persistent) -> Network:
    tensors = Tensors(state_dict(record), "generator")
    names = list(tensors.state)
    if record.class_name != "Generator" and not any(name.startswith("synthesis.b4.") for name in names):
        raise ProxymaskError(f"its generator is a {describe(record)}, not the Generator of StyleGAN2")
    if any(name.startswith(("synthesis.input.", "synthesis.L0_", "synthesis.L1_")) for name in names):
        raise ProxymaskError(
            "this is a StyleGAN3 generator, which has no blocks to cut and no noise: it is not supported; StyleGAN2 networks of the "
            "same repository (--cfg=stylegan2) are"
        )
    resolutions = blocks(names, r"synthesis\.b(\d+)\.")
    layers = [f"synthesis.b{res}.{conv}" for res in resolutions for conv in ("conv0", "conv1") if res > 4 or conv == "conv1"]
    architecture = _says(record, "architecture")[1] or next(
        iter(_attributes(record, [f"synthesis.b{res}" for res in resolutions], "architecture")), "skip"
    )
    if architecture != "skip" or any(f"synthesis.b{res}.skip.weight" in tensors for res in resolutions):
        residual = architecture == "resnet" or any(f"synthesis.b{res}.skip.weight" in tensors for res in resolutions)
        kind = "residual ('resnet')" if residual else f"{architecture!r}"
        raise ProxymaskError(f"this is a {kind} StyleGAN2 generator; only skip generators, the published ones, are supported")
    depth = count(names, r"mapping\.fc(\d+)\.weight")
    if not depth:
        raise ProxymaskError("its generator has no mapping network")
    for activation in _attributes(record, [*layers, *(f"mapping.fc{i}" for i in range(depth))], "activation"):
        if activation != "lrelu":
            shown = activation if isinstance(activation, str) else describe(activation)
            raise ProxymaskError(f"its layers have the activation {shown}: only lrelu, the published one, is supported")
    widths = {res: tensors.shape(f"synthesis.b{res}.conv1.weight")[0] for res in resolutions}
    w_dim = tensors.shape("synthesis.b4.conv1.affine.weight")[1]
    c_dim, embed = 0, 0
    if "mapping.embed.weight" in tensors:
        embed, c_dim = tensors.shape("mapping.embed.weight")
    z_dim = tensors.shape("mapping.fc0.weight")[1] - embed
    features = tensors.shape("mapping.fc0.weight")[0]
    start = tensors.shape("synthesis.b4.const")[1:]
    channels = tensors.shape(f"synthesis.b{resolutions[-1]}.torgb.weight")[0]
    for said, seen, what in (
        (record.init_kwargs.get("z_dim"), z_dim, "z_dim"),
        (record.init_kwargs.get("c_dim"), c_dim, "c_dim"),
        (record.init_kwargs.get("w_dim"), w_dim, "w_dim"),
        (record.init_kwargs.get("img_channels"), channels, "img_channels"),
        (_says(record, "num_layers")[1], depth, "number of mapping layers"),
    ):
        _check_same(said, seen, what)
    known, clamp = _says(record, "conv_clamp")
    if not known:
        clamps = _attributes(record, [*layers, *(f"synthesis.b{res}.torgb" for res in resolutions)], "conv_clamp")
        clamp = one(clamps, "conv_clamp") if clamps else _TRAINED_CLAMP
    multiplier = _multiplier(record, depth)
    half = _says(record, "num_fp16_res")[1]
    if half is None:
        half = sum(map(bool, _attributes(record, [f"synthesis.b{res}" for res in resolutions], "use_fp16")))
    config: dict[str, Any] = {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "resolution": resolutions[-1],
        "img_channels": channels,
        "mapping_layers": depth,
        **base_and_max(widths, (_says(record, "channel_base")[1], _says(record, "channel_max")[1])),
        "conv_clamp": _clamp(clamp),
        "mapping_lr_multiplier": multiplier,
        "mapping_features": None if features == w_dim or depth == 1 else features,
        "embed_features": None if embed in (0, w_dim) else embed,
        "start": list(start),
        "num_fp16_res": number(half, "num_fp16_res"),
    }
    return Network(config, _synthesis(tensors, config, widths))


def _multiplier(record: Persistent, depth: int) -> float:
    known, value = _says(record, "lr_multiplier")
    if known:
        return float(number(value, "lr_multiplier", float))
    gains = _attributes(record, [f"mapping.fc{i}" for i in range(depth)], "bias_gain")
    return float(number(one(gains, "lr_multiplier"), "lr_multiplier", float)) if gains else 0.01


def _synthesis(tensors: Tensors, config: dict[str, Any], widths: dict[int, int]) -> dict[str, torch.Tensor]:
    """All tensors, which keep their names; layers without noise get none of strength nought."""
    out: dict[str, torch.Tensor] = {}
    w_dim, (h, w) = config["w_dim"], config["start"]

    def take(name: str, *shape: int) -> None:
        out[name] = tensors.take(name, *shape)

    previous = 0
    for res, width in widths.items():
        block, size = f"synthesis.b{res}", (h * res // 4, w * res // 4)
        if not previous:
            take(f"{block}.const", width, h, w)
        for conv, fan in (("conv0", previous), ("conv1", width)):
            if not fan:
                continue
            name = f"{block}.{conv}"
            take(f"{name}.weight", width, fan, 3, 3)
            take(f"{name}.bias", width)
            take(f"{name}.affine.weight", fan, w_dim)
            take(f"{name}.affine.bias", fan)
            if f"{name}.noise_strength" in tensors:
                take(f"{name}.noise_strength")
                take(f"{name}.noise_const", *size)
            else:  # use_noise=False
                out[f"{name}.noise_strength"], out[f"{name}.noise_const"] = torch.zeros(()), torch.zeros(size)
        take(f"{block}.torgb.weight", config["img_channels"], width, 1, 1)
        take(f"{block}.torgb.bias", config["img_channels"])
        take(f"{block}.torgb.affine.weight", width, w_dim)
        take(f"{block}.torgb.affine.bias", width)
        previous = width
    _mapping(tensors, config, out)
    if "mapping.w_avg" in tensors:
        take("mapping.w_avg", w_dim)
    tensors.check_filter(r".*\.resample_filter")
    tensors.finish()
    return out


def _mapping(tensors: Tensors, config: dict[str, Any], out: dict[str, torch.Tensor]) -> None:
    names = [name for name in tensors.state if name.startswith("mapping.") and name.endswith((".weight", ".bias"))]
    for name in names:
        out[name] = tensors.take(name, *tensors.shape(name))


def _discriminator(record: Persistent, start: list[int]) -> Network:
    tensors = Tensors(state_dict(record), "discriminator")
    names = list(tensors.state)
    resolutions = blocks(names, r"b(\d+)\.")
    architecture = _says(record, "architecture")[1] or next(
        iter(_attributes(record, [f"b{res}" for res in resolutions], "architecture")), "resnet"
    )
    if architecture != "resnet":
        raise ProxymaskError(f"it is of the architecture {architecture}, only residual ones are supported")
    top = resolutions[-1]
    widths = {res: tensors.shape(f"b{res}.conv0.weight")[0] for res in resolutions[1:]} | {4: tensors.shape("b4.conv.weight")[0]}
    depth = count(names, r"mapping\.fc(\d+)\.weight")
    c_dim = tensors.shape("mapping.embed.weight")[1] if "mapping.embed.weight" in tensors else 0
    cmap_dim = tensors.shape("b4.out.weight")[0] if c_dim else 0
    for name in [name for name in names if name.startswith("mapping.fc") and name.endswith(".weight")]:
        if tensors.shape(name) != (cmap_dim, cmap_dim):
            raise ProxymaskError("its mapping network has other widths than the mapped class")
    cells = tensors.shape("b4.fc.weight")[1] // widths[4]
    if cells != start[0] * start[1]:
        raise ProxymaskError(f"its last layer looks at {cells} places, the generator starts with {start[0] * start[1]}")
    clamp = _says(record, "conv_clamp")
    clamps = [clamp[1]] if clamp[0] else _attributes(record, [*(f"b{res}.conv0" for res in resolutions[1:]), "b4.conv"], "conv_clamp")
    group = _says(record, "mbstd_group_size")
    groups = [group[1]] if group[0] else _attributes(record, ["b4.mbstd"], "group_size")
    size = one(groups, "group size") if groups else 4
    gains = _attributes(record, [f"mapping.fc{i}" for i in range(depth)], "bias_gain")
    config: dict[str, Any] = {
        "resolution": top,
        "img_channels": tensors.shape(f"b{top}.fromrgb.weight")[1],
        "c_dim": c_dim,
        **base_and_max(widths, (_says(record, "channel_base")[1], _says(record, "channel_max")[1])),
        "conv_clamp": _clamp(one(clamps, "conv_clamp")) if clamps else None,
        "mbstd_group": None if size is None else number(size, "group size"),
        "mbstd_channels": tensors.shape("b4.conv.weight")[1] - widths[4],
        "mapping_layers": depth,
        "start": start,
        "cmap_dim": cmap_dim or None,
        "mapping_lr_multiplier": float(number(one(gains, "lr_multiplier"), "lr_multiplier", float)) if gains else 0.01,
    }
    out = {name: tensors.take(name, *tensors.shape(name)) for name in names if name.endswith((".weight", ".bias"))}
    tensors.check_filter(r".*\.resample_filter")
    tensors.finish()
    if c_dim:
        out["mapping.w_avg"] = torch.zeros(cmap_dim)  # a discriminator has none
    return Network(config, out)
