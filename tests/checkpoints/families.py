"""Small StyleGAN2 networks in every family's own names and orientation, with their equations in float64.

The equations are written from the papers and from how each family's layers are defined, take the family's own tensors, and use
nothing of the package: a picture of theirs and one of the imported generator must be the same.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from layouts import TfNetwork, network, write_nvidia, write_tf, write_torch
from stylegan2_equations import Reference, Rgb, Shape, Styled, act, dense, normal, unit
from torch import Tensor

State = dict[str, Any]

# ------------------------------------------------------------------------------------------------------- NVIDIA's PyTorch names


def nvidia_state(shape: Shape, seed: int = 0) -> State:
    """State of a Generator of stylegan2-ada-pytorch, its filters too."""
    draw, out, previous = normal(seed), {}, 0
    taps = torch.tensor([1.0, 3, 3, 1])
    kernel = torch.outer(taps, taps) / 64
    for res, width in shape.widths.items():
        b = f"synthesis.b{res}"
        out[f"{b}.resample_filter"] = kernel
        if not previous:
            out[f"{b}.const"] = draw(width, *shape.start)
        for name, fan in (("conv0", previous), ("conv1", width)):
            if fan:
                a = f"{b}.{name}"
                out |= {f"{a}.weight": draw(width, fan, 3, 3), f"{a}.bias": 0.3 * draw(width), f"{a}.resample_filter": kernel}
                out |= {f"{a}.affine.weight": draw(fan, shape.w), f"{a}.affine.bias": 1 + 0.3 * draw(fan)}
                if shape.noise:
                    out |= {f"{a}.noise_const": draw(*shape.size(res)), f"{a}.noise_strength": 0.2 * draw(1)[0]}
        a = f"{b}.torgb"
        out |= {f"{a}.weight": draw(shape.channels, width, 1, 1), f"{a}.bias": 0.3 * draw(shape.channels)}
        out |= {f"{a}.affine.weight": draw(width, shape.w), f"{a}.affine.bias": 1 + 0.3 * draw(width)}
        previous = width
    return out | _nvidia_mapping(shape, draw) | {"mapping.w_avg": 0.3 * draw(shape.w)}


def _nvidia_mapping(shape: Shape, draw: Callable[..., Tensor]) -> State:
    out, embed = {}, shape.w if shape.classes else 0
    if embed:
        out |= {"mapping.embed.weight": draw(embed, shape.classes), "mapping.embed.bias": 0.3 * draw(embed)}
    for i in range(shape.depth):
        fan, width = (
            (shape.z + embed) if not i else shape.features or shape.w,
            shape.w if i == shape.depth - 1 else shape.features or shape.w,
        )
        out |= {f"mapping.fc{i}.weight": 100 * draw(width, fan), f"mapping.fc{i}.bias": 30 * draw(width)}
    return out


def nvidia_reference(state: State, shape: Shape) -> Reference:
    s = {k: v.double() for k, v in state.items()}

    def w(z: Tensor, c: Tensor | None = None) -> Tensor:
        x = unit(z)
        if c is not None:
            x = torch.cat([x, unit(dense(c.double(), s["mapping.embed.weight"], s["mapping.embed.bias"]))], dim=1)
        for i in range(shape.depth):
            x = act(dense(x, s[f"mapping.fc{i}.weight"], s[f"mapping.fc{i}.bias"], 0.01))
        return x

    layers, rgbs = {}, {}
    for res in shape.widths:
        for name in ("conv0", "conv1") if res > 4 else ("conv1",):
            a = f"synthesis.b{res}.{name}"
            nought = torch.zeros((), dtype=torch.float64)
            layers[f"b{res}.{name}"] = Styled(
                *(s[f"{a}.{part}"] for part in ("weight", "affine.weight", "affine.bias", "bias")),
                s.get(f"{a}.noise_const", nought),
                s.get(f"{a}.noise_strength", nought),
                name == "conv0",
                name == "conv0",  # conv2d_resample(flip_weight=False): a convolution
                shape.clamp,
            )
        a = f"synthesis.b{res}.torgb"
        rgbs[res] = Rgb(*(s[f"{a}.{part}"] for part in ("weight", "affine.weight", "affine.bias", "bias")), shape.clamp)
    return Reference(w, s["synthesis.b4.const"], layers, rgbs, s["mapping.w_avg"])


def nvidia_kwargs(shape: Shape, flat: bool = False) -> State:
    """What NVIDIA's train.py makes a Generator with; ``flat``: the stylegan3 repository's way."""
    synthesis = {"channel_base": shape.base, "channel_max": shape.top, "num_fp16_res": 4, "conv_clamp": shape.clamp}
    same = {"z_dim": shape.z, "c_dim": shape.classes, "w_dim": shape.w, "img_resolution": shape.resolution, "img_channels": shape.channels}
    mapping = {"num_layers": shape.depth} | ({"layer_features": shape.features} if shape.features else {})
    return {**same, "mapping_kwargs": mapping, **(synthesis if flat else {"synthesis_kwargs": synthesis})}


def nvidia_discriminator(shape: Shape, seed: int = 1) -> State:
    draw, out, widths = normal(seed), {}, shape.widths
    top = shape.resolution
    out |= {f"b{top}.fromrgb.weight": draw(widths[top], shape.channels, 1, 1), f"b{top}.fromrgb.bias": 0.3 * draw(widths[top])}
    for res in list(widths)[:0:-1]:
        here, below = widths[res], widths[res // 2]
        out |= {f"b{res}.conv0.weight": draw(here, here, 3, 3), f"b{res}.conv0.bias": 0.3 * draw(here)}
        out |= {f"b{res}.conv1.weight": draw(below, here, 3, 3), f"b{res}.conv1.bias": 0.3 * draw(below)}
        out |= {f"b{res}.skip.weight": draw(below, here, 1, 1)}
    width, code = widths[4], widths[4] if shape.classes else 1
    out |= {"b4.conv.weight": draw(width, width + 1, 3, 3), "b4.conv.bias": 0.3 * draw(width)}
    out |= {"b4.fc.weight": draw(width, width * math.prod(shape.start)), "b4.fc.bias": 0.3 * draw(width)}
    out |= {"b4.out.weight": draw(code, width), "b4.out.bias": 0.3 * draw(code)}
    if shape.classes:
        out |= {"mapping.embed.weight": draw(code, shape.classes), "mapping.embed.bias": 0.3 * draw(code)}
        for i in range(8):
            out |= {f"mapping.fc{i}.weight": 100 * draw(code, code), f"mapping.fc{i}.bias": 30 * draw(code)}
    return out


def nvidia_file(path: Path, shape: Shape, *, flat: bool = False, protocol: int = 4, extra: bool = True) -> tuple[Path, State]:
    """A snapshot: G, D, G_ema with augment_pipe and training_set_kwargs beside them; returns the state of G_ema."""
    state, kwargs = nvidia_state(shape), nvidia_kwargs(shape, flat)
    judge = {"c_dim": shape.classes, "img_resolution": shape.resolution, "img_channels": shape.channels, "channel_base": shape.base}
    judge |= {"channel_max": shape.top, "conv_clamp": shape.clamp, "num_fp16_res": 4, "epilogue_kwargs": {"mbstd_group_size": 4}}
    attributes = {
        f"synthesis.b{r}.{n}": {"activation": "lrelu", "conv_clamp": shape.clamp, "up": 2 if n == "conv0" else 1}
        for r in shape.widths
        for n in ("conv0", "conv1")
    }
    contents: State = {
        "G": network("Generator", nvidia_state(shape, seed=9), kwargs),
        "D": network("Discriminator", nvidia_discriminator(shape), judge),
        "G_ema": network("Generator", state, kwargs, attributes=attributes),
    }
    if extra:
        contents |= {
            "augment_pipe": network(
                "AugmentPipe", {"p": torch.tensor(0.5), "Hz_geom": torch.randn(12)}, {"xflip": 1}, buffers={"p", "Hz_geom"}
            )
        }
        contents |= {
            "training_set_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "path": "data", "resolution": shape.resolution}
        }
    return write_nvidia(path, contents, protocol), state


# ---------------------------------------------------------------------------------------------------- NVIDIA's TensorFlow names


def tf_variables(shape: Shape, ada: bool, seed: int = 0) -> State:
    """Variables of Gs by name: weights (h, w, in, out), biases of styles to which 1 is added."""
    draw, out, previous = normal(seed), {}, 0
    array = lambda *s: draw(*s).numpy() if s else np.float32(draw(1)[0])  # noqa: E731
    if shape.classes and ada:
        out |= {"mapping/LabelEmbed/weight": array(shape.classes, shape.z), "mapping/LabelEmbed/bias": 0.3 * array(shape.z)}
    elif shape.classes:
        out |= {"mapping/LabelConcat/weight": array(shape.classes, shape.z)}
    for i in range(shape.depth):
        fan = shape.w if i else shape.z * (2 if shape.classes else 1)
        out |= {f"mapping/Dense{i}/weight": 100 * array(fan, shape.w), f"mapping/Dense{i}/bias": 30 * array(shape.w)}
    for res, width in shape.widths.items():
        a, level = f"synthesis/{res}x{res}", int(math.log2(res))
        if not previous:
            out[f"{a}/Const/const"] = array(1, width, 4, 4)
        layers = [("Conv", width, 0)] if not previous else [("Conv0_up", previous, 2 * level - 5), ("Conv1", width, 2 * level - 4)]
        for name, fan, index in layers:
            out |= {f"{a}/{name}/weight": array(3, 3, fan, width), f"{a}/{name}/bias": 0.3 * array(width)}
            out |= {f"{a}/{name}/mod_weight": array(shape.w, fan), f"{a}/{name}/mod_bias": 0.3 * array(fan)}
            if shape.noise:
                out |= {f"{a}/{name}/noise_strength": np.float32(0.2) * array(), f"synthesis/noise{index}": array(1, 1, res, res)}
        out |= {f"{a}/ToRGB/weight": array(1, 1, width, shape.channels), f"{a}/ToRGB/bias": 0.3 * array(shape.channels)}
        out |= {f"{a}/ToRGB/mod_weight": array(shape.w, width), f"{a}/ToRGB/mod_bias": 0.3 * array(width)}
        previous = width
    return out | {"dlatent_avg": 0.3 * array(shape.w)} | ({} if ada else {"lod": np.float32(0)})


def tf_reference(variables: State, shape: Shape, ada: bool) -> Reference:
    v = {k: torch.from_numpy(np.asarray(x, dtype=np.float64)) for k, x in variables.items()}

    def w(z: Tensor, c: Tensor | None = None) -> Tensor:
        if c is None:
            x = unit(z)
        elif ada:
            x = torch.cat([unit(z), unit(dense(c.double(), v["mapping/LabelEmbed/weight"].T, v["mapping/LabelEmbed/bias"]))], dim=1)
        else:
            x = unit(torch.cat([z, c.double() @ v["mapping/LabelConcat/weight"]], dim=1))
        for i in range(shape.depth):
            x = act(dense(x, v[f"mapping/Dense{i}/weight"].T, v[f"mapping/Dense{i}/bias"], 0.01))
        return x

    layers, rgbs, nought = {}, {}, torch.zeros((), dtype=torch.float64)
    for res in shape.widths:
        a, level = f"synthesis/{res}x{res}", int(math.log2(res))
        named = [("Conv", "conv1", 0)] if res == 4 else [("Conv0_up", "conv0", 2 * level - 5), ("Conv1", "conv1", 2 * level - 4)]
        for old, new, index in named:
            weight = v[f"{a}/{old}/weight"].permute(3, 2, 0, 1)
            layers[f"b{res}.{new}"] = Styled(
                weight / math.sqrt(weight[0].numel()),
                v[f"{a}/{old}/mod_weight"].T,
                v[f"{a}/{old}/mod_bias"] + 1,
                v[f"{a}/{old}/bias"],
                v[f"synthesis/noise{index}"][0, 0] if shape.noise else nought,
                v[f"{a}/{old}/noise_strength"] if shape.noise else nought,
                new == "conv0",
                False,  # the transposed convolution takes the weight turned, which makes a correlation
                shape.clamp,
            )
        rgb = v[f"{a}/ToRGB/weight"].permute(3, 2, 0, 1)
        rgbs[res] = Rgb(rgb, v[f"{a}/ToRGB/mod_weight"].T, v[f"{a}/ToRGB/mod_bias"] + 1, v[f"{a}/ToRGB/bias"], shape.clamp)
    return Reference(w, v["synthesis/4x4/Const/const"], layers, rgbs, v["dlatent_avg"])


def tf_discriminator(shape: Shape, ada: bool, seed: int = 1) -> State:
    draw, out, widths, top = normal(seed), {}, shape.widths, shape.resolution
    array = lambda *s: draw(*s).numpy()  # noqa: E731
    out |= {f"{top}x{top}/FromRGB/weight": array(1, 1, shape.channels, widths[top]), f"{top}x{top}/FromRGB/bias": 0.3 * array(widths[top])}
    for res in list(widths)[:0:-1]:
        a, here, below = f"{res}x{res}", widths[res], widths[res // 2]
        out |= {f"{a}/Conv0/weight": array(3, 3, here, here), f"{a}/Conv0/bias": 0.3 * array(here)}
        out |= {f"{a}/Conv1_down/weight": array(3, 3, here, below), f"{a}/Conv1_down/bias": 0.3 * array(below)}
        out |= {f"{a}/Skip/weight": array(1, 1, here, below)}
    width = widths[4]
    codes = 1 if not shape.classes else width if ada else shape.classes
    out |= {"4x4/Conv/weight": array(3, 3, width + 1, width), "4x4/Conv/bias": 0.3 * array(width)}
    out |= {"4x4/Dense0/weight": array(16 * width, width), "4x4/Dense0/bias": 0.3 * array(width)}
    out |= {"Output/weight": array(width, codes), "Output/bias": 0.3 * array(codes)}
    if shape.classes and ada:
        out |= {"LabelEmbed/weight": array(shape.classes, codes), "LabelEmbed/bias": 0.3 * array(codes)}
    return out


def tf_file(path: Path, shape: Shape, *, ada: bool = False, protocol: int = 4) -> tuple[Path, State]:
    """(G, D, Gs) as pickled by stylegan2 (2020) or stylegan2-ada; returns the variables of Gs."""

    def generator(variables: State, name: str) -> TfNetwork:
        kwargs: State = {
            "num_channels": shape.channels,
            "resolution": shape.resolution,
            "label_size": shape.classes,
            "fmap_base": shape.base // 2,
        }
        kwargs |= {
            "fmap_max": shape.top,
            "latent_size": shape.z,
            "dlatent_size": shape.w,
            "mapping_layers": shape.depth,
            "mapping_fmaps": shape.w,
        }
        if shape.clamp is not None:
            kwargs |= {"conv_clamp": shape.clamp, "num_fp16_res": 4}
        parts = {
            part: TfNetwork(f"G_{part}", kwargs, {k[len(part) + 1 :]: x for k, x in variables.items() if k.startswith(part + "/")})
            for part in ("mapping", "synthesis")
        }
        own = {k: x for k, x in variables.items() if "/" not in k}
        return TfNetwork("G_main", kwargs, own, parts, name, version=5 if ada else 4)

    kwargs: State = {"num_channels": shape.channels, "resolution": shape.resolution, "label_size": shape.classes, "mbstd_group_size": 4}
    kwargs |= {"fmap_base": shape.base // 2, "fmap_max": shape.top} | ({} if shape.clamp is None else {"conv_clamp": shape.clamp})
    judge = TfNetwork("D_main" if ada else "D_stylegan2", kwargs, tf_discriminator(shape, ada), None, "D")
    variables = tf_variables(shape, ada)
    return write_tf(path, (generator(tf_variables(shape, ada, 9), "G"), judge, generator(variables, "Gs")), protocol), variables


# ------------------------------------------------------------------------------------------------------------------ rosinality


def rosinality_state(shape: Shape, seed: int = 0) -> State:
    draw, out, previous = normal(seed), {}, 0
    taps = torch.tensor([1.0, 3, 3, 1])
    kernel = torch.outer(taps, taps) / 16
    for i in range(shape.depth):
        out |= {f"style.{i + 1}.weight": 100 * draw(shape.w, shape.w), f"style.{i + 1}.bias": 30 * draw(shape.w)}
    for level, (res, width) in enumerate(shape.widths.items()):
        if not level:
            out["input.input"] = draw(1, width, *shape.start)
        layers = (
            [("conv1", width, 0)]
            if not level
            else [(f"convs.{2 * level - 2}", previous, 2 * level - 1), (f"convs.{2 * level - 1}", width, 2 * level)]
        )
        for a, fan, index in layers:
            out |= {f"{a}.conv.weight": draw(1, width, fan, 3, 3), f"{a}.conv.modulation.weight": draw(fan, shape.w)}
            out |= {
                f"{a}.conv.modulation.bias": 1 + 0.3 * draw(fan),
                f"{a}.noise.weight": 0.2 * draw(1),
                f"{a}.activate.bias": 0.3 * draw(width),
            }
            out |= {f"noises.noise_{index}": draw(1, 1, *shape.size(res))}
            if index % 2:
                out[f"{a}.conv.blur.kernel"] = kernel
        a = "to_rgb1" if not level else f"to_rgbs.{level - 1}"
        if level:
            out[f"{a}.upsample.kernel"] = kernel
        out |= {f"{a}.bias": 0.3 * draw(1, shape.channels, 1, 1), f"{a}.conv.weight": draw(1, shape.channels, width, 1, 1)}
        out |= {f"{a}.conv.modulation.weight": draw(width, shape.w), f"{a}.conv.modulation.bias": 1 + 0.3 * draw(width)}
        previous = width
    return out


def rosinality_reference(state: State, mean: Tensor, shape: Shape) -> Reference:
    s = {k: v.double() for k, v in state.items()}

    def w(z: Tensor, c: Tensor | None = None) -> Tensor:
        x = unit(z)
        for i in range(shape.depth):
            x = act(dense(x, s[f"style.{i + 1}.weight"], s[f"style.{i + 1}.bias"], 0.01))
        return x

    layers, rgbs = {}, {}
    for level, res in enumerate(shape.widths):
        named = (
            [("conv1", "conv1", 0)]
            if not level
            else [(f"convs.{2 * level - 2}", "conv0", 2 * level - 1), (f"convs.{2 * level - 1}", "conv1", 2 * level)]
        )
        for a, new, index in named:
            weight = s[f"{a}.conv.weight"][0]
            layers[f"b{res}.{new}"] = Styled(
                weight / math.sqrt(weight[0].numel()),
                s[f"{a}.conv.modulation.weight"],
                s[f"{a}.conv.modulation.bias"],
                s[f"{a}.activate.bias"],
                s[f"noises.noise_{index}"][0, 0],
                s[f"{a}.noise.weight"],
                new == "conv0",
                new == "conv0",  # conv_transpose2d of the weight as it is: a convolution
                None,
            )
        a = "to_rgb1" if not level else f"to_rgbs.{level - 1}"
        rgbs[res] = Rgb(
            s[f"{a}.conv.weight"][0], s[f"{a}.conv.modulation.weight"], s[f"{a}.conv.modulation.bias"], s[f"{a}.bias"].flatten(), None
        )
    return Reference(w, s["input.input"], layers, rgbs, mean.double())


def rosinality_discriminator(shape: Shape, seed: int = 1) -> State:
    """The tensors of :func:`nvidia_discriminator` under rosinality's names: there, both are alike."""
    n, out, top = nvidia_discriminator(dataclasses.replace(shape, classes=0), seed), {}, shape.resolution
    kernel = torch.outer(*[torch.tensor([1.0, 3, 3, 1])] * 2) / 64
    out |= {"convs.0.0.weight": n[f"b{top}.fromrgb.weight"], "convs.0.1.bias": n[f"b{top}.fromrgb.bias"]}
    for i, res in enumerate(list(shape.widths)[:0:-1]):
        a = f"convs.{i + 1}"
        out |= {f"{a}.conv1.0.weight": n[f"b{res}.conv0.weight"], f"{a}.conv1.1.bias": n[f"b{res}.conv0.bias"]}
        out |= {
            f"{a}.conv2.0.kernel": kernel,
            f"{a}.conv2.1.weight": n[f"b{res}.conv1.weight"],
            f"{a}.conv2.2.bias": n[f"b{res}.conv1.bias"],
        }
        out |= {f"{a}.skip.0.kernel": kernel, f"{a}.skip.1.weight": n[f"b{res}.skip.weight"]}
    out |= {"final_conv.0.weight": n["b4.conv.weight"], "final_conv.1.bias": n["b4.conv.bias"]}
    out |= {"final_linear.0.weight": n["b4.fc.weight"], "final_linear.0.bias": n["b4.fc.bias"]}
    return out | {"final_linear.1.weight": n["b4.out.weight"], "final_linear.1.bias": n["b4.out.bias"]}


def rosinality_file(path: Path, shape: Shape, *, legacy: bool = False, mean: bool = True, parallel: bool = False) -> tuple[Path, State]:
    """g, d, g_ema, optimiser states, args; returns the state of g_ema and, as ``latent_avg``, the mean."""
    state, prefix = rosinality_state(shape), "module." if parallel else ""
    average = 0.3 * normal(7)(1, shape.w)
    step = {
        "state": {0: {"step": 3, "exp_avg": torch.zeros(4), "exp_avg_sq": torch.zeros(4)}},
        "param_groups": [{"lr": 0.002, "params": [0]}],
    }
    contents = {"g": rosinality_state(shape, 9), "d": rosinality_discriminator(shape), "g_ema": {prefix + k: v for k, v in state.items()}}
    contents |= {"g_optim": step, "d_optim": step, "ada_aug_p": 0.1} | ({"latent_avg": average} if mean else {})
    return write_torch(path, contents, legacy, {"path": "lmdb", "iter": 800000, "size": shape.resolution}), state | {
        "latent_avg": average[0]
    }


# -------------------------------------------------------------------------------------------------------------------- genforce


def genforce_state(shape: Shape, ada: bool, seed: int = 0) -> State:
    """TensorFlow's variables, transposed, under genforce's names."""
    v, out = {k: torch.from_numpy(np.array(x)) for k, x in tf_variables(shape, ada, seed).items()}, {}
    taps = torch.tensor([1.0, 3, 3, 1])
    kernel = (torch.outer(taps, taps) / 16)[None, None]
    if shape.classes and ada:
        out |= {
            "mapping.LabelEmbed.weight": v["mapping/LabelEmbed/weight"].T.contiguous(),
            "mapping.LabelEmbed.bias": v["mapping/LabelEmbed/bias"],
        }
    elif shape.classes:
        out["mapping.label_weight"] = v["mapping/LabelConcat/weight"]
    for i in range(shape.depth):
        out |= {
            f"mapping.dense{i}.weight": v[f"mapping/Dense{i}/weight"].T.contiguous(),
            f"mapping.dense{i}.bias": v[f"mapping/Dense{i}/bias"],
        }
    out |= {
        "truncation.w_avg": v["dlatent_avg"],
        "synthesis.early_layer.const": v["synthesis/4x4/Const/const"],
        "synthesis.upsample.kernel": kernel,
    }
    for level, res in enumerate(shape.widths):
        a = f"synthesis/{res}x{res}"
        for old, index in [("Conv", 0)] if not level else [("Conv0_up", 2 * level - 1), ("Conv1", 2 * level)]:
            b = f"synthesis.layer{index}"
            out |= {f"{b}.weight": v[f"{a}/{old}/weight"].permute(3, 2, 0, 1).contiguous(), f"{b}.bias": v[f"{a}/{old}/bias"]}
            out |= {f"{b}.style.weight": v[f"{a}/{old}/mod_weight"].T.contiguous(), f"{b}.style.bias": v[f"{a}/{old}/mod_bias"]}
            out |= {f"{b}.noise": v[f"synthesis/noise{index}"], f"{b}.noise_strength": v[f"{a}/{old}/noise_strength"]}
            if index % 2:
                out[f"{b}.filter.kernel"] = kernel
        b = f"synthesis.output{level}"
        out |= {f"{b}.weight": v[f"{a}/ToRGB/weight"].permute(3, 2, 0, 1).contiguous(), f"{b}.bias": v[f"{a}/ToRGB/bias"]}
        out |= {f"{b}.style.weight": v[f"{a}/ToRGB/mod_weight"].T.contiguous(), f"{b}.style.bias": v[f"{a}/ToRGB/mod_bias"]}
    return out


def genforce_discriminator(shape: Shape, ada: bool) -> State:
    v, out, levels = {k: torch.from_numpy(x) for k, x in tf_discriminator(shape, ada).items()}, {}, len(shape.widths) - 1
    conv = lambda name: v[name].permute(3, 2, 0, 1).contiguous()  # noqa: E731
    top = shape.resolution
    out |= {"input0.weight": conv(f"{top}x{top}/FromRGB/weight"), "input0.bias": v[f"{top}x{top}/FromRGB/bias"]}
    for i, res in enumerate(list(shape.widths)[:0:-1]):
        a = f"{res}x{res}"
        out |= {f"layer{2 * i}.weight": conv(f"{a}/Conv0/weight"), f"layer{2 * i}.bias": v[f"{a}/Conv0/bias"]}
        out |= {f"layer{2 * i + 1}.weight": conv(f"{a}/Conv1_down/weight"), f"layer{2 * i + 1}.bias": v[f"{a}/Conv1_down/bias"]}
        out |= {f"skip_layer{i}.weight": conv(f"{a}/Skip/weight")}
    out |= {f"layer{2 * levels}.weight": conv("4x4/Conv/weight"), f"layer{2 * levels}.bias": v["4x4/Conv/bias"]}
    out |= {f"layer{2 * levels + 1}.weight": v["4x4/Dense0/weight"].T.contiguous(), f"layer{2 * levels + 1}.bias": v["4x4/Dense0/bias"]}
    out |= {f"layer{2 * levels + 2}.weight": v["Output/weight"].T.contiguous(), f"layer{2 * levels + 2}.bias": v["Output/bias"]}
    if shape.classes and ada:
        out |= {"LabelEmbed.weight": v["LabelEmbed/weight"].T.contiguous(), "LabelEmbed.bias": v["LabelEmbed/bias"]}
    return out


def genforce_file(path: Path, shape: Shape, *, ada: bool = False, run: bool = False, legacy: bool = False) -> tuple[Path, State]:
    """generator, generator_smooth, discriminator; ``run``: below ``models``, as its own training saves. Returns TensorFlow's variables."""
    models = {
        "generator": genforce_state(shape, ada, 9),
        "discriminator": genforce_discriminator(shape, ada),
        "generator_smooth": genforce_state(shape, ada),
    }
    contents = {"models": models, "running_metadata": {"iter": 10, "seen_img": 320}, "optimizers": {}} if run else models
    return write_torch(path, contents, legacy), tf_variables(shape, ada)
