"""Writes a generator and a discriminator in the layout of rosinality's stylegan2-pytorch, see :mod:`.rosinality`.

Guarantee: every tensor is written as it is, under its name there, so that reading the file again gives the same bits.
"""

from typing import Any

import torch

from ...core.errors import ProxymaskError
from ...core.sizes import START
from ...models.discriminator import Discriminator
from ...models.stylegan2 import Generator
from ...models.stylegan2_ops import fir_kernel
from .rosinality import conv_names, rgb_name


def needed_arguments(generator: Generator) -> list[str]:
    """Notes on what rosinality's ``Generator`` has to be made with to load the file, where that is not usual there; see
    :func:`write_generator` for what cannot be exported."""
    notes, layers = [], generator.mapping.num_layers
    if layers != 8:
        notes.append(
            f"other programs make 8 mapping layers, this generator has {layers}: give n_mlp={layers}, or they fill the rest at random"
        )
    widths = {res: generator.synthesis.channels(res) for res in generator.synthesis.block_resolutions}
    factor = next((m for m in (2, 1) if all(widths[res] == min(512, 16384 * m // res if res > 32 else 512) for res in widths)), None)
    if factor is None:
        notes.append(
            "rosinality's Generator has fixed widths (512 up to 32 pixels), which are not this generator's: its table has to be changed"
        )
    elif factor != 2 and generator.resolution > 32:
        notes.append(f"rosinality's Generator has to be made with channel_multiplier={factor}")
    return notes


def write_generator(generator: Generator) -> dict[str, Any]:
    """The contents of a converted checkpoint: ``g_ema`` (a state dict) and ``latent_avg`` (w_dim,).

    Raises:
        ProxymaskError: the generator has what this layout has no place for: classes, a z of another size than w, other layer widths.
    """
    config, state = generator.config, generator.state_dict()
    problems = [
        (bool(generator.c_dim), "classes"),
        (generator.z_dim != generator.w_dim, "a z of another size than w"),
        (config["mapping_features"] not in (None, generator.w_dim), "mapping layers of another width than w"),
        (config["mapping_lr_multiplier"] != 0.01, f"a learning-rate multiplier of {config['mapping_lr_multiplier']}"),
        (generator.img_channels != 3, f"{generator.img_channels} image channels"),
        (tuple(generator.start) != START, "a start block other than 4x4"),
        (bool(config["final_tanh"]), "a final tanh"),
    ]
    if any(found for found, _ in problems):
        listed = ", ".join(what for found, what in problems if found)
        raise ProxymaskError(f"the rosinality layout has no place for {listed}: export with --format safetensors")
    out: dict[str, torch.Tensor] = {}
    for i in range(generator.mapping.num_layers):
        out[f"style.{i + 1}.weight"] = state[f"mapping.fc{i}.weight"]
        out[f"style.{i + 1}.bias"] = state[f"mapping.fc{i}.bias"]
    for level, res in enumerate(generator.synthesis.block_resolutions):
        out |= _block(state, level, f"synthesis.b{res}")
    return {"g_ema": _copies(out), "latent_avg": state["mapping.w_avg"].clone()}


def _block(state: dict[str, torch.Tensor], level: int, block: str) -> dict[str, torch.Tensor]:
    kernel, out = fir_kernel(), {}
    if not level:
        out["input.input"] = state[f"{block}.const"][None]
    for old, name, noise in conv_names(level):
        new = f"{block}.{name}"
        out[f"{old}.conv.weight"] = state[f"{new}.weight"][None]
        if name == "conv0":
            out[f"{old}.conv.blur.kernel"] = kernel * 4
        out[f"{old}.conv.modulation.weight"] = state[f"{new}.affine.weight"]
        out[f"{old}.conv.modulation.bias"] = state[f"{new}.affine.bias"]
        out[f"{old}.noise.weight"] = state[f"{new}.noise_strength"].reshape(1)
        out[f"{old}.activate.bias"] = state[f"{new}.bias"]
        out[f"noises.noise_{noise}"] = state[f"{new}.noise_const"][None, None]
    rgb = rgb_name(level)
    if level:
        out[f"{rgb}.upsample.kernel"] = kernel * 4
    out[f"{rgb}.bias"] = state[f"{block}.torgb.bias"].reshape(1, -1, 1, 1)
    out[f"{rgb}.conv.weight"] = state[f"{block}.torgb.weight"][None]
    out[f"{rgb}.conv.modulation.weight"] = state[f"{block}.torgb.affine.weight"]
    out[f"{rgb}.conv.modulation.bias"] = state[f"{block}.torgb.affine.bias"]
    return out


def write_discriminator(discriminator: Discriminator) -> dict[str, torch.Tensor]:
    """The discriminator's state dict in the rosinality layout; checkpoints store it under the key ``d``.

    Raises:
        ProxymaskError: the discriminator has classes, another start block or other minibatch groups.
    """
    config, state, kernel = discriminator.config, discriminator.state_dict(), fir_kernel()
    if discriminator.c_dim or config["mbstd_group"] != 4 or config["mbstd_channels"] != 1 or tuple(config["start"]) != START:
        raise ProxymaskError("the rosinality layout has no place for a discriminator with classes or other groups: export without it")
    top = discriminator.resolution
    out = {"convs.0.0.weight": state[f"b{top}.fromrgb.weight"], "convs.0.1.bias": state[f"b{top}.fromrgb.bias"]}
    for i, res in enumerate(discriminator.block_resolutions):
        old, new = f"convs.{i + 1}", f"b{res}"
        out |= {f"{old}.conv1.0.weight": state[f"{new}.conv0.weight"], f"{old}.conv1.1.bias": state[f"{new}.conv0.bias"]}
        out |= {
            f"{old}.conv2.0.kernel": kernel,
            f"{old}.conv2.1.weight": state[f"{new}.conv1.weight"],
            f"{old}.conv2.2.bias": state[f"{new}.conv1.bias"],
        }
        out |= {f"{old}.skip.0.kernel": kernel, f"{old}.skip.1.weight": state[f"{new}.skip.weight"]}
    out |= {"final_conv.0.weight": state["b4.conv.weight"], "final_conv.1.bias": state["b4.conv.bias"]}
    out |= {"final_linear.0.weight": state["b4.fc.weight"], "final_linear.0.bias": state["b4.fc.bias"]}
    return _copies(out | {"final_linear.1.weight": state["b4.out.weight"], "final_linear.1.bias": state["b4.out.bias"]})


def _copies(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
