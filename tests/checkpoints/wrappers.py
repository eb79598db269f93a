"""State dicts as other projects keep them: other names, other prefixes, other places; made of the families' own tensors."""

import re
import types
from pathlib import Path
from typing import Any

import torch
from layouts import modules
from torch import nn

State = dict[str, Any]


def psp(state: State) -> State:
    """pixel2style2pixel and encoder4editing: the generator is ``decoder.`` beside an encoder; ``latent_avg`` in every layer."""
    tensors = {"encoder.input_layer.0.weight": torch.zeros(4, 3, 3, 3), **{f"decoder.{name}": value for name, value in state.items()}}
    layers = sum(name.endswith("noise.weight") for name in state) + 1
    width = state["conv1.conv.modulation.weight"].shape[1]
    mean = 0.3 * torch.randn(width, generator=torch.Generator().manual_seed(7))
    return {"state_dict": tensors, "latent_avg": mean.repeat(layers, 1), "opts": {"output_size": 32, "encoder_type": "GradualStyleEncoder"}}


def basicsr(state: State, own_names: bool = True) -> State:
    """BasicSR: ``params`` and ``params_ema``; with its own names, or with rosinality's."""
    if own_names:
        state = {name: value for name, value in state.items() if not name.endswith("kernel")}
        for old, new in (
            (r"^style\.", "style_mlp."),
            (r"^input\.input$", "constant_input.weight"),
            (r"^conv(1|s\.\d+)\.noise\.weight$", r"style_conv\1.weight"),
            (r"^conv(1|s\.\d+)\.", r"style_conv\1."),
            (r"\.conv\.", ".modulated_conv."),
            (r"^noises\.noise_(\d+)$", r"noises.noise\1"),
        ):
            state = {re.sub(old, new, name): value for name, value in state.items()}
    return {"params": {name: value + 1 for name, value in state.items()}, "params_ema": state}


def lightning(state: State, discriminator: State) -> State:
    """Lightning: one state dict with a prefix for each network."""
    tensors = {f"generator.{name}": value for name, value in state.items()}
    tensors |= {f"discriminator.{name}": value for name, value in discriminator.items()}
    return {"epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.0.1", "state_dict": tensors, "optimizer_states": []}


def hammer(nvidia: State, arguments: State | None = None) -> State:
    """Hammer: the tensors of stylegan2-ada-pytorch under genforce's names, with buffers ``filter``; a run below ``models``."""
    out: State = {"synthesis.filter": nvidia["synthesis.b4.resample_filter"]}
    for name, value in nvidia.items():
        block = re.match(r"synthesis\.b(\d+)\.(.*)", name)
        if block is None:
            out[
                name.replace("mapping.fc", "mapping.dense")
                .replace("mapping.embed.", "mapping.embedding.")
                .replace("mapping.w_avg", "w_avg")
            ] = value
            continue
        level, rest = int(block[1]).bit_length() - 3, block[2]
        if rest == "const":
            out["synthesis.early_layer.const"] = value[None]
        elif not rest.startswith("resample_filter"):
            layer, _, part = rest.partition(".")
            new = {"conv0": f"layer{2 * level - 1}", "conv1": f"layer{2 * level}", "torgb": f"output{level}"}[layer]
            part = part.replace("affine", "style").replace("noise_const", "noise").replace("resample_filter", "filter")
            if part != "filter" or layer == "conv0":
                out[f"synthesis.{new}.{part}"] = value[None, None] if part == "noise" else value
    contents = {"models": {"generator": {name: value + 1 for name, value in out.items() if "filter" not in name}, "generator_smooth": out}}
    return contents | ({} if arguments is None else {"model_kwargs_init": {"generator": arguments}})


def hammer_discriminator(nvidia: State) -> State:
    """Hammer's names of a discriminator of stylegan2-ada-pytorch."""
    top = max(int(found[1]) for name in nvidia if (found := re.match(r"b(\d+)\.fromrgb", name)))
    levels, out = top.bit_length() - 3, State()
    for name, value in nvidia.items():
        if name.startswith("mapping.embed"):
            out[name.replace("mapping.embed", "embedding")] = value
        elif name.startswith("b4."):
            new = {"conv": f"layer{2 * levels}", "fc": f"layer{2 * levels + 1}", "out": "output"}[name.split(".")[1]]
            out[f"{new}.{name.split('.')[2]}"] = value
        elif block := re.match(r"b(\d+)\.(\w+)\.(\w+)", name):
            i = levels - (int(block[1]).bit_length() - 3)
            new = {"fromrgb": "input0", "conv0": f"layer{2 * i}", "conv1": f"layer{2 * i + 1}", "skip": f"residual{i}"}[block[2]]
            out[f"{new}.{block[3]}"] = value
            if block[2] in ("conv1", "skip"):
                out[f"{new}.filter"] = torch.outer(*[torch.tensor([1.0, 3, 3, 1])] * 2) / 64
    return out


def write_whole_module(path: Path, contents: dict[str, State]) -> Path:
    """``torch.save`` of modules themselves: their class is the name ``model.Generator``."""
    home = types.ModuleType("model")

    class Generator(nn.Module):
        pass

    Generator.__module__, Generator.__qualname__ = "model", "Generator"
    home.Generator = Generator  # type: ignore[attr-defined]

    def tree(state: State) -> nn.Module:
        root = Generator()
        for name, value in state.items():
            inner: nn.Module = root
            *parts, last = name.split(".")
            for part in parts:
                if part not in inner._modules:
                    inner.add_module(part, nn.Module())
                inner = inner._modules[part]  # type: ignore[assignment]
            if "noise_" in last or last == "kernel":
                inner.register_buffer(last, value)
            else:
                inner.register_parameter(last, nn.Parameter(value))
        return root

    with modules(**{"model.Generator": Generator}):
        torch.save({name: tree(state) for name, state in contents.items()}, path)
    return path
