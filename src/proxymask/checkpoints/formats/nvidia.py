"""Pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, and the StyleGAN2 networks of the StyleGAN3 repository.

Source: https://github.com/NVlabs/stylegan2-ada-pytorch and https://github.com/NVlabs/stylegan3 (``--cfg=stylegan2``). A dict of G, D,
G_ema (and training_set_kwargs, augment_pipe), each a network of their persistence wrapper; or such a network alone; or its state dict.
Parameter names are those of this package, which took them from there, so tensors keep their names. Forks that only widen the layout
(start blocks that are not 4x4) are read too, by their shapes.
"""

from collections.abc import Mapping
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ..safe_pickle.inert import PersistentModule
from ..safe_pickle.state_dict import module_entries
from .architecture import PUBLISHED_MULTIPLIER, GeneratorSizes, block_resolutions, channel_config, count_layers, lr_multiplier, same_in_all
from .conversion import Choices, Conversion, NetworkWeights
from .networks import WHOLE_FILE, find_networks
from .settings import Setting, as_count, as_number, check_setting, describe_value
from .state_reader import StateReader

FAMILY = "NVIDIA PyTorch (stylegan2-ada-pytorch, stylegan3 repository)"
_GENERATORS = ("G_ema", "Gs", "G")
_CONST = "synthesis.b4.const"
_TRAINED_CLAMP = 256.0  # of NVIDIA's train.py


def read(contents: Any, choices: Choices) -> Conversion | None:
    """The networks of an unpickled NVIDIA file; None where it is none.

    Raises:
        ProxymaskError: it is one, but of another architecture, incomplete, or it depends on something that was not read.
    """
    networks = _networks(contents)
    if networks is None:
        return None
    name = next((name for name in _GENERATORS if name in networks), None)
    if name is None:
        raise ProxymaskError(f"it holds {', '.join(networks)}, but no generator (G_ema): get the network pickle itself")
    pickled = _PickledNetwork(networks[name])
    generator, assumed = _generator(pickled, choices)
    result = Conversion(FAMILY, generator, assumed=assumed, notice=pickled.module.notice, seed_style="nvidia")
    result.facts["networks"] = list(networks)
    result.facts["generator taken"] = name
    if name == "G" and isinstance(contents, Mapping) and len(contents) > 1:
        result.notes.append(f"no averaged generator (G_ema): {name} is taken")
    if isinstance(contents, Mapping) and "D" in contents and "D" not in networks:
        result.notes.append("the discriminator is left out: a state dict alone does not state its settings")
    result.mean_w_missing = "mapping.w_avg" not in result.generator.tensors
    if "D" in networks:
        result.add_discriminator(lambda: _discriminator(_PickledNetwork(networks["D"]), generator.config["start"]))
    return result


def _networks(contents: Any) -> dict[str, PersistentModule] | None:
    if isinstance(contents, PersistentModule):
        return {"D" if "iscriminator" in contents.class_name else "G_ema": contents}
    if not isinstance(contents, Mapping):
        return None
    networks = {key: value for key, value in contents.items() if isinstance(value, PersistentModule) and key in ("G_ema", "Gs", "G", "D")}
    if networks:
        return networks
    bare = find_networks(contents, (_CONST, "mapping.fc0.weight"))
    if bare:  # a state dict: names and shapes, no settings
        name = "G_ema" if bare[0].is_averaged or bare[0].name == WHOLE_FILE else "G"
        return {name: PersistentModule("Generator", (), {}, {"_parameters": dict(bare[0].state)})}
    named = [key for key in ("G_ema", "G") if key in contents]
    if named and not isinstance(contents[named[0]], Mapping | torch.Tensor):
        raise ProxymaskError(f"its {named[0]} is {describe_value(contents[named[0]])}, which is not read: the generator depends on it")
    return None


class _PickledNetwork:
    """A network in a pickle: besides its tensors, the arguments it was made with and the attributes of its submodules."""

    def __init__(self, module: PersistentModule) -> None:
        self.module = module

    def argument(self, name: str) -> tuple[bool, Setting]:
        """Whether the init arguments have ``name``, at the top or among those of an inner network, and its value."""
        kwargs = self.module.init_kwargs
        inner = [kwargs.get(key) for key in ("synthesis_kwargs", "mapping_kwargs", "epilogue_kwargs", "block_kwargs")]
        for place in (kwargs, *(entry for entry in inner if isinstance(entry, Mapping))):
            if name in place:
                return True, check_setting(place[name], name)
        return False, None

    def submodule(self, path: str) -> Any:
        """A submodule by its dotted path; None where there is none."""
        found: Any = self.module
        for name in path.split("."):
            modules = found.state.get("_modules") if isinstance(getattr(found, "state", None), dict) else None
            found = modules.get(name) if isinstance(modules, dict) else None
        return found

    def attributes(self, paths: list[str], name: str) -> list[Any]:
        """The attribute ``name`` of those submodules that have it."""
        found = [self.submodule(path) for path in paths]
        return [module.state[name] for module in found if module is not None and isinstance(module.state, dict) and name in module.state]

    def has_attributes(self) -> bool:
        """Whether submodules have their attributes; those of a bare state dict have none."""
        layer = self.submodule("synthesis.b4.conv1")
        return layer is not None and isinstance(layer.state, dict) and "activation" in layer.state

    def architecture(self, blocks: list[str], default: str) -> Setting:
        """``skip``, ``resnet`` or ``orig``."""
        stated = self.argument("architecture")[1] or next(iter(self.attributes(blocks, "architecture")), default)
        return check_setting(stated, "architecture")

    def lr_multiplier(self, mapping_layers: int) -> float | None:
        """Learning-rate multiplier of the mapping network: an argument, or ``bias_gain`` of its layers. None where the file has neither."""
        known, stated = self.argument("lr_multiplier")
        gains = self.attributes([f"mapping.fc{i}" for i in range(mapping_layers)], "bias_gain")
        if not known and not gains:
            return None
        return as_number(stated if known else same_in_all(gains, "lr_multiplier"), "lr_multiplier")


def _clamp(value: Any) -> float | None:
    return None if value is None else as_number(value, "conv_clamp")


# Generator


def _generator(pickled: _PickledNetwork, choices: Choices) -> tuple[NetworkWeights, list[str]]:
    """The generator, and what was assumed."""
    tensors = StateReader(module_entries(pickled.module), "generator")
    _check_network(pickled, tensors.names)
    resolutions = block_resolutions(tensors.names, r"synthesis\.b(\d+)\.")
    blocks = [f"synthesis.b{res}" for res in resolutions]
    layers = [f"{block}.{conv}" for block in blocks for conv in ("conv0", "conv1") if block != blocks[0] or conv == "conv1"]
    _check_skip(pickled.architecture(blocks, "skip"), tensors, blocks)
    depth = count_layers(tensors.names, r"mapping\.fc(\d+)\.weight")
    if not depth:
        raise ProxymaskError("its generator has no mapping network: get the whole generator")
    _check_activation(pickled, [*layers, *(f"mapping.fc{i}" for i in range(depth))])
    sizes = _sizes(pickled, tensors, resolutions, depth)
    _check_arguments(pickled, sizes)
    assumed = [] if pickled.has_attributes() else ["activation lrelu"]
    known, clamp = pickled.argument("conv_clamp")
    if not known:
        clamps = pickled.attributes([*layers, *(f"{block}.torgb" for block in blocks)], "conv_clamp")
        clamp = same_in_all(clamps, "conv_clamp") if clamps else _TRAINED_CLAMP
        assumed += [] if clamps else [f"conv_clamp {_TRAINED_CLAMP:g}"]
    half = pickled.argument("num_fp16_res")[1]
    if half is None:
        half = sum(value is True for value in pickled.attributes(blocks, "use_fp16"))
    config = sizes.config(conv_clamp=_clamp(clamp), num_fp16_res=as_count(half, "num_fp16_res"))
    out = _generator_tensors(tensors, sizes)
    mapping = [out[f"mapping.fc{i}.weight"] for i in range(depth)]
    config["mapping_lr_multiplier"], how = lr_multiplier(mapping, pickled.lr_multiplier(depth), choices.lr_multiplier)
    return NetworkWeights(config, out), assumed + ([how] if how and not pickled.has_attributes() else [])


def _check_network(pickled: _PickledNetwork, names: list[str]) -> None:
    if pickled.module.class_name != "Generator" and not any(name.startswith("synthesis.b4.") for name in names):
        raise ProxymaskError(f"its generator is {describe_value(pickled.module)}, not the Generator of StyleGAN2")
    if any(name.startswith(("synthesis.input.", "synthesis.L0_", "synthesis.L1_")) for name in names):
        raise ProxymaskError(
            "this is a StyleGAN3 generator, which has no blocks to cut and no noise: it is not supported; StyleGAN2 networks of the "
            "same repository (--cfg=stylegan2) are"
        )


def _check_skip(architecture: Any, tensors: StateReader, blocks: list[str]) -> None:
    has_skip_convs = any(f"{block}.skip.weight" in tensors for block in blocks)
    if architecture != "skip" or has_skip_convs:
        kind = "residual ('resnet')" if architecture == "resnet" or has_skip_convs else describe_value(architecture)
        raise ProxymaskError(f"this is a {kind} StyleGAN2 generator; only skip generators, the published ones, are supported")


def _check_activation(pickled: _PickledNetwork, layers: list[str]) -> None:
    for activation in pickled.attributes(layers, "activation"):
        if check_setting(activation, "activation") != "lrelu":
            raise ProxymaskError(f"its layers have the activation {activation}: only lrelu, the published one, is supported")


def _sizes(pickled: _PickledNetwork, tensors: StateReader, resolutions: list[int], depth: int) -> GeneratorSizes:
    channels = {res: tensors.shape(f"synthesis.b{res}.conv1.weight")[0] for res in resolutions}
    w_dim = tensors.shape("synthesis.b4.conv1.affine.weight")[1]
    embed, c_dim = tensors.shape("mapping.embed.weight") if "mapping.embed.weight" in tensors else (0, 0)
    features, inputs = tensors.shape("mapping.fc0.weight")
    height, width = tensors.shape(_CONST)[1:]
    return GeneratorSizes(
        z_dim=inputs - embed,
        w_dim=w_dim,
        c_dim=c_dim,
        channels=channels,
        img_channels=tensors.shape(f"synthesis.b{resolutions[-1]}.torgb.weight")[0],
        mapping_layers=depth,
        mapping_features=features,
        embed_features=embed,
        start=(height, width),
        channel_base=pickled.argument("channel_base")[1],
        channel_max=pickled.argument("channel_max")[1],
    )


def _check_arguments(pickled: _PickledNetwork, sizes: GeneratorSizes) -> None:
    """The arguments that the network was made with must agree with the shapes of its tensors."""
    kwargs = pickled.module.init_kwargs
    for stated, seen, what in (
        (kwargs.get("z_dim"), sizes.z_dim, "z_dim"),
        (kwargs.get("c_dim"), sizes.c_dim, "c_dim"),
        (kwargs.get("w_dim"), sizes.w_dim, "w_dim"),
        (kwargs.get("img_channels"), sizes.img_channels, "img_channels"),
        (pickled.argument("num_layers")[1], sizes.mapping_layers, "number of mapping layers"),
    ):
        if stated is not None and as_count(stated, what) != seen:
            raise ProxymaskError(
                f"it says that its {what} is {describe_value(stated)}, but its tensors say {seen}: the file is damaged or altered"
            )


def _generator_tensors(tensors: StateReader, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    """All tensors, which keep their names."""
    out: dict[str, torch.Tensor] = {}
    previous = 0
    for res, channels in sizes.channels.items():
        block = f"synthesis.b{res}"
        if not previous:
            out[f"{block}.const"] = tensors.take(f"{block}.const", channels, *sizes.start)
        else:
            out |= _styled_conv(tensors, f"{block}.conv0", (channels, previous), res, sizes)
        out |= _styled_conv(tensors, f"{block}.conv1", (channels, channels), res, sizes)
        shapes = {"weight": (sizes.img_channels, channels, 1, 1), "bias": (sizes.img_channels,)}
        shapes |= {"affine.weight": (channels, sizes.w_dim), "affine.bias": (channels,)}
        out |= {f"{block}.torgb.{name}": tensors.take(f"{block}.torgb.{name}", *shape) for name, shape in shapes.items()}
        previous = channels
    mapping = [name for name in tensors.names if name.startswith("mapping.") and name.endswith((".weight", ".bias"))]
    out |= {name: tensors.take_as_is(name) for name in mapping}
    if "mapping.w_avg" in tensors:
        out["mapping.w_avg"] = tensors.take("mapping.w_avg", sizes.w_dim)
    tensors.check_filter(r".*\.resample_filter")
    tensors.finish()
    return out


def _styled_conv(tensors: StateReader, name: str, channels: tuple[int, int], res: int, sizes: GeneratorSizes) -> dict[str, torch.Tensor]:
    """One modulated 3x3 convolution with ``channels`` (C_out, C_in). Without noise, it gets noise of strength 0."""
    out_channels, in_channels = channels
    height, width = sizes.start
    size = height * res // 4, width * res // 4
    shapes: dict[str, tuple[int, ...]] = {"weight": (out_channels, in_channels, 3, 3), "bias": (out_channels,)}
    shapes |= {"affine.weight": (in_channels, sizes.w_dim), "affine.bias": (in_channels,)}
    has_noise = f"{name}.noise_strength" in tensors
    if has_noise:
        shapes |= {"noise_strength": (), "noise_const": size}
    out = {f"{name}.{part}": tensors.take(f"{name}.{part}", *shape) for part, shape in shapes.items()}
    if not has_noise:  # use_noise=False
        out |= {f"{name}.noise_strength": tensors.zeros(), f"{name}.noise_const": tensors.zeros(*size)}
    return out


# Discriminator


def _discriminator(pickled: _PickledNetwork, start: list[int]) -> NetworkWeights:
    tensors = StateReader(module_entries(pickled.module), "discriminator")
    resolutions = block_resolutions(tensors.names, r"b(\d+)\.")
    architecture = pickled.architecture([f"b{res}" for res in resolutions], "resnet")
    if architecture != "resnet":
        raise ProxymaskError(f"it is of the architecture {architecture}, only residual ones are supported")
    channels = {res: tensors.shape(f"b{res}.conv0.weight")[0] for res in resolutions[1:]} | {4: tensors.shape("b4.conv.weight")[0]}
    c_dim, cmap_dim = _class_mapping(tensors)
    cells = tensors.shape("b4.fc.weight")[1] // channels[4]
    if cells != start[0] * start[1]:
        raise ProxymaskError(f"its last layer takes {cells} positions, the generator starts with {start[0] * start[1]}")
    depth = count_layers(tensors.names, r"mapping\.fc(\d+)\.weight")
    known, clamp = pickled.argument("conv_clamp")
    layers = [*(f"b{res}.conv0" for res in resolutions[1:]), "b4.conv"]
    clamps = [clamp] if known else pickled.attributes(layers, "conv_clamp")
    known, group = pickled.argument("mbstd_group_size")
    groups = [group] if known else pickled.attributes(["b4.mbstd"], "group_size")
    size = same_in_all(groups, "group size") if groups else 4
    config: dict[str, Any] = {
        "resolution": resolutions[-1],
        "img_channels": tensors.shape(f"b{resolutions[-1]}.fromrgb.weight")[1],
        "c_dim": c_dim,
        **channel_config(channels, pickled.argument("channel_base")[1], pickled.argument("channel_max")[1]),
        "conv_clamp": _clamp(same_in_all(clamps, "conv_clamp")) if clamps else None,
        "mbstd_group": None if size is None else as_count(size, "group size", 1),
        "mbstd_channels": tensors.shape("b4.conv.weight")[1] - channels[4],
        "mapping_layers": depth,
        "start": start,
        "cmap_dim": cmap_dim or None,
        "mapping_lr_multiplier": pickled.lr_multiplier(depth) or PUBLISHED_MULTIPLIER,
    }
    out = {name: tensors.take_as_is(name) for name in tensors.names if name.endswith((".weight", ".bias"))}
    tensors.check_filter(r".*\.resample_filter")
    tensors.finish()
    if c_dim:
        out["mapping.w_avg"] = tensors.zeros(cmap_dim)  # a discriminator has none
    return NetworkWeights(config, out)


def _class_mapping(tensors: StateReader) -> tuple[int, int]:
    """Number of classes and width of the mapped class, both 0 for none."""
    if "mapping.embed.weight" not in tensors:
        c_dim = cmap_dim = 0
    else:
        c_dim, cmap_dim = tensors.shape("mapping.embed.weight")[1], tensors.shape("b4.out.weight")[0]
    for name in tensors.names:
        if name.startswith("mapping.fc") and name.endswith(".weight") and tensors.shape(name) != (cmap_dim, cmap_dim):
            raise ProxymaskError("its mapping network has other widths than the mapped class")
    return c_dim, cmap_dim
