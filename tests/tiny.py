"""Small networks for the tests: a 16-pixel generator split at 8, K = 5, and training stages. Results depend on the arguments only."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from proxymask.imaging.labels import LabelSet
from proxymask.inference.bundle import Bundle
from proxymask.metrics.features import efficientnet
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters, fit_proxy_clusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.training import loop
from proxymask.training.auxiliary import AuxiliaryStage
from proxymask.training.generator import GeneratorConfig, GeneratorStage
from proxymask.training.mapper import MapperConfig, MapperStage
from proxymask.training.pairs import MaskPairs, SegmenterLabeler
from proxymask.training.parts import Frozen
from proxymask.training.rearranger import RearrangerConfig, RearrangerStage
from proxymask.training.segmenter import STYLE_TRANSFER_PHASE, SegmenterConfig, SegmenterStage, StyleTransfer
from proxymask.training.style_transfer import StyleTransferLabeler

T = TypeVar("T")
EMBEDDED_BUNDLE = "avatars"
"""The embedded bundle that the tests open; a small one keeps them fast."""
SIZE, CUT, K, N, Z = 16, 8, 5, 4, 16
LEVELS = (16, 16, 8)
WIDTHS = {"channel_base": 128, "channel_max": 16}
LABELS = LabelSet.of([("ground", "#000000"), ("left", "#ff0000"), ("right", "#00ff00"), ("top", "#0000ff")])
STAGES = ("generator", "rearranger", "segmenter", "mapper")


@torch.no_grad()
def unsettle(module: nn.Module, noise: float = 0.1) -> None:
    """Set biases and noise strengths, which are zero after initialisation."""
    for name, parameter in module.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(noise)
        elif name.endswith("bias"):
            parameter.add_(0.2 * torch.randn_like(parameter) / (1.0 if ".fc" not in f".{name}" else 0.01))


def make_generator(seed: int = 0, noise: float = 0.1, **config: Any) -> Generator:
    torch.manual_seed(seed)
    generator = Generator(**{"z_dim": Z, "w_dim": Z, "resolution": SIZE, "mapping_layers": 2, **WIDTHS, **config})
    unsettle(generator, noise)
    if not generator.c_dim:
        with torch.no_grad():
            generator.mapping.w_avg.copy_(generator.mapping(torch.randn(64, generator.z_dim)).mean(dim=0))
    return generator.eval().requires_grad_(False)


def make_discriminator(seed: int = 1, **config: Any) -> Discriminator:
    torch.manual_seed(seed)
    discriminator = Discriminator(**{"resolution": SIZE, **WIDTHS, **config})
    unsettle(discriminator)
    return discriminator


def make_cut(noise: float = 0.1) -> SplitGenerator:
    return SplitGenerator(make_generator(noise=noise), CUT).eval().requires_grad_(False)


def make_clusters(split: SplitGenerator) -> ProxyClusters:
    with torch.no_grad():
        features = split.features(split.w(seed_to_z(range(1000, 1016), Z))).features
    return fit_proxy_clusters(lambda: [features], K, CUT, seed=0, cut=CUT)


SHARP = 60.0
"""Sharpness at which a position takes from the cluster that its proxy mask names, as after a training."""


def make_rearranger(split: SplitGenerator, clusters: ProxyClusters, seed: int = 2, **config: Any) -> Rearranger:
    torch.manual_seed(seed)
    rearranger = Rearranger(**{"channels": 16, "resolution": CUT, "num_clusters": K, "position_channels": 8, "hidden": 8, **config})
    with torch.no_grad():
        state = split.features(split.w(seed_to_z(range(16), Z)))
    rearranger.initialize(clusters.centroids, float(state.features.square().mean().sqrt()), float(state.rgb.square().mean().sqrt()))
    return rearranger.attend_to_clusters(SHARP)


@torch.no_grad()
def make_segmenter(split: SplitGenerator, seed: int = 3, num_labels: int = N) -> FewShotSegmenter:
    torch.manual_seed(seed)
    segmenter = FewShotSegmenter(LEVELS, SIZE, num_labels, width=16, dilations=(1, 2))
    segmenter.calibrate(split.feature_pyramid(split.w(seed_to_z(range(16), Z)))[0])
    return segmenter


def make_mapper(seed: int = 4, **config: Any) -> OasisMapper:
    torch.manual_seed(seed)
    return OasisMapper(**{"num_labels": N, "num_clusters": K, "resolution": CUT, "widths": (12, 12, 8), "hidden": 8, **config})


def make_auxiliary_net(seed: int = 6) -> UNetSegmenter:
    torch.manual_seed(seed)
    return UNetSegmenter(N, width=8, depth=2)


def make_bundle() -> Bundle:
    split = make_cut()
    clusters = make_clusters(split)
    parts = {"rearranger": make_rearranger(split, clusters), "segmenter": make_segmenter(split), "mappers": {"mask": make_mapper()}}
    return Bundle(split.generator, CUT, clusters, labels=LABELS, name="tiny", about={"licence": "none"}, **parts)


class Pictures:
    """32 smooth random pictures."""

    def __init__(self, seed: int = 5) -> None:
        coarse = torch.randn(32, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        self.all = nn.functional.interpolate(coarse, size=SIZE, mode="bilinear").tanh()

    def __len__(self) -> int:
        return len(self.all)

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        return self.all[indices]


def with_constants(stage: type[T], **constants: Any) -> type[T]:
    """A stage whose class says otherwise how often something is due."""
    return type(stage.__name__, (stage,), constants)


def make_stage(name: str, steps: int = 6, noise: float = 0.1, **config: Any) -> loop.Stage:
    """A stage with new networks; ``steps`` is what its schedule counts on. Every kind of step falls due within six."""
    if name == "generator":
        often = {key: config.pop(key, 2) for key in ("r1_every", "path_every")}
        grown_from = config.pop("grown_from", 0)
        recipe = GeneratorConfig(**{"z_dim": Z, "flip": True, "augment": ("color",), **config})
        networks = make_generator(noise=noise), make_discriminator(mbstd_group=1)
        return with_constants(GeneratorStage, **often)(*networks, Pictures(), recipe, grown_from=grown_from)
    split = make_cut(noise)
    if name == "segmenter":
        ws = split.w(seed_to_z([0, 1], Z))
        at = torch.arange(SIZE)
        masks = (at[None, :, None] >= 12) * 2 + (at[None, None, :] >= 5) * 1  # classes of four sizes
        phase = config.pop("style_transfer_phase", STYLE_TRANSFER_PHASE)
        recipe, transfer = SegmenterConfig(**config), None
        if recipe.style_transfer_max_labels:
            clusters = make_clusters(split)
            labeler = StyleTransferLabeler(Frozen(split, clusters, make_rearranger(split, clusters)), ws)
            torch.manual_seed(7)
            reader = FewShotSegmenter(LEVELS[1:], SIZE, N, width=16, dilations=(1, 2), skip_levels=0)
            transfer = StyleTransfer(labeler, reader, round(steps * (1 - phase)))
        return SegmenterStage(split, make_segmenter(split), ws, masks.repeat(2, 1, 1), recipe, transfer)
    clusters = make_clusters(split)
    rearranger = make_rearranger(split, clusters, refinement_width=config.get("refinement_width", 0))
    often = {"r1_every": config.pop("r1_every", 2)}
    if name == "rearranger":
        recipe = RearrangerConfig(**{"adv_phase": 0.34, "adv_every": 2, **config})
        return with_constants(RearrangerStage, **often)(split, clusters, rearranger, make_discriminator(mbstd_group=1), None, recipe, steps)
    recipe = MapperConfig(**{"adv_phase": 0.5, **config})
    labeler = SegmenterLabeler(split, make_segmenter(split))
    learning = round(steps * (1 - recipe.label_phase))
    auxiliary = AuxiliaryStage(make_auxiliary_net(), labeler, learning) if recipe.lambda_label else None
    parts = Frozen(split, clusters, rearranger), make_mapper(), make_discriminator(mbstd_group=1)
    source = MaskPairs(clusters, labeler, torch.from_numpy(LABELS.colors))
    return with_constants(MapperStage, **often)(*parts, source, Pictures(), recipe, steps, auxiliary=auxiliary)


def loop_config(**config: Any) -> loop.LoopConfig:
    quiet = {"device": "cpu", "precision": "fp32", "tensorboard": False, "grid_every": 0, "log_every": 1}
    return loop.LoopConfig(**{"steps": 6, "batch": 4, **quiet, **config})


def run(stage: loop.Stage, out: Path, **config: Any) -> loop.Run:
    return loop.train(stage, loop_config(**config), out)


def state(run: loop.Run) -> dict[str, torch.Tensor]:
    """The whole state of a run: networks, averages, optimiser state."""
    out = {f"{name}/{k}": v for name, module in run.stage.modules.items() for k, v in module.state_dict().items()}
    out |= {f"average {name}/{k}": v for name, module in run.averages.items() for k, v in module.state_dict().items()}
    for name, optimizer in run.stage.optimizers.items():
        for index, slots in optimizer.state_dict()["state"].items():
            out |= {f"optimizer {name}/{index}/{slot}": torch.as_tensor(v) for slot, v in slots.items()}
    return {k: v.detach().clone() for k, v in out.items()}


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[str]:
    """Names that only one has, or whose values are not equal to the last bit."""
    return sorted(k for k in a.keys() | b.keys() if k not in a or k not in b or not torch.equal(a[k], b[k]))


def use_sgd(stage: loop.Stage, rate: float = 0.01) -> loop.Stage:
    """SGD instead of Adam, which makes a full step of a gradient near zero."""
    for name, optimizer in stage.optimizers.items():
        stage.optimizers[name] = torch.optim.SGD([p for group in optimizer.param_groups for p in group["params"]], lr=rate)
    return stage


def efficientnet_weights() -> dict[str, torch.Tensor]:
    """Random tensors under the names of EfficientNet-Lite0's published state dict."""
    rng = torch.Generator().manual_seed(0)
    out: dict[str, torch.Tensor] = {}

    def put(name: str, norm: str, fout: int, fin: int, kernel: int) -> None:
        out[f"{name}.weight"] = torch.randn(fout, fin, kernel, kernel, generator=rng) / (fin * kernel**2) ** 0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            out[f"{norm}.{part}"] = torch.rand(fout, generator=rng) + 0.5

    put("_conv_stem", "_bn0", 32, 3, 3)
    fin, number = 32, 0
    for stage in efficientnet.STAGES:
        for _ in range(stage.blocks):
            start, wide = f"_blocks.{number}.", fin * stage.expand
            if stage.expand > 1:
                put(f"{start}_expand_conv", f"{start}_bn0", wide, fin, 1)
            put(f"{start}_depthwise_conv", f"{start}_bn1", wide, 1, stage.kernel)
            put(f"{start}_project_conv", f"{start}_bn2", stage.out, wide, 1)
            fin, number = stage.out, number + 1
    put("_conv_head", "_bn1", 1280, fin, 1)
    return out
