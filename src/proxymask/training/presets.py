"""Named settings of all stages: ``demo`` for what is at hand, ``paper-256`` and ``paper-1024`` for the published schedule (supplement A.2).

What the supplement states is marked with its number; the rest is StyleGAN2's own recipe or a choice of this project.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from ..core import legacy
from ..core.errors import ProxymaskError
from ..core.files import read_json
from .generator import GeneratorConfig
from .loop import LoopConfig
from .mapper import ConditionConfig, MapperConfig
from .rearranger import RearrangerConfig
from .segmenter import SegmenterConfig

StageName = Literal["generator", "rearranger", "segmenter", "mapper"]
STAGES: tuple[StageName, ...] = ("generator", "rearranger", "segmenter", "mapper")


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings of every stage, in the order in which they run."""

    resolution: int
    """Side of the pictures, for a generator that is still to be trained."""
    cut: int
    """Side of the features at the cut, for a generator of ``resolution``; see :meth:`cut_for`."""
    generator: GeneratorConfig
    rearranger: RearrangerConfig
    segmenter: SegmenterConfig
    mapper: MapperConfig
    generator_loop: LoopConfig
    rearranger_loop: LoopConfig
    segmenter_loop: LoopConfig
    mapper_loop: LoopConfig
    num_clusters: int = 25
    """K."""
    cluster_samples: int = 256
    """Samples whose features are clustered."""
    condition: ConditionConfig = ConditionConfig()  # noqa: RUF009
    """The mapper of other conditions than masks."""

    def cut_for(self, resolution: int) -> int:
        """The cut of a generator of another size: half its pictures, at most 64 (the paper's)."""
        return self.cut if resolution == self.resolution else min(64, resolution // 2)

    def loop(self, stage: StageName) -> LoopConfig:
        """The loop of a stage."""
        return getattr(self, f"{stage}_loop")

    def with_loops(self, **changes: Any) -> Self:
        """The same with ``changes`` in the loop of every stage (device, precision, seed)."""
        loops: dict[str, Any] = {f"{stage}_loop": dataclasses.replace(self.loop(stage), **changes) for stage in STAGES}
        return dataclasses.replace(self, **loops)

    def scaled(self, factor: float) -> Self:
        """The same with the steps of every stage times ``factor``, at least one."""
        if not factor > 0:
            raise ProxymaskError(f"the scale of the steps must be above 0, got {factor}")
        loops: dict[str, Any] = {
            f"{stage}_loop": dataclasses.replace(self.loop(stage), steps=max(1, round(self.loop(stage).steps * factor))) for stage in STAGES
        }
        return dataclasses.replace(self, **loops)


_PAPER_256 = Preset(
    resolution=256,
    cut=64,  # 1.2
    generator=GeneratorConfig(  # config-F
        z_dim=512,
        mapping_layers=8,
        channel_base=32768,
        channel_max=512,
        learning_rate=0.002,
        r1_gamma=10.0,
        path_weight=2.0,
        style_mixing=0.9,
    ),
    rearranger=RearrangerConfig(
        hidden=128,  # of the residual blocks; not stated. 512 takes 1.6 times as long (docs/experiments.md, 14)
        position_channels=64,
        layers=4,  # A.1
        learning_rate=0.002,
        r1_gamma=10.0,
        lambda_self=10.0,
        lambda_mask=1.0,
        lambda_adv=1.0,
        flip=True,
        adv_every=5,
        adv_phase=40 / 140,  # A.2, to here
        narrow_channels=320,  # of 608 once it is trained: not in the paper, training does not know of it (docs/experiments.md, 27 and 29)
    ),
    segmenter=SegmenterConfig(),
    mapper=MapperConfig(
        widths=(1024, 1024, 1024, 512, 256),  # OASIS without its last two blocks: 64 pixels
        hidden=128,
        learning_rate=0.002,
        r1_gamma=10.0,
        lambda_recon=10.0,
        lambda_recon_adv=100.0,
        lambda_adv=1.0,
        adv_phase=10 / 110,  # A.2
        resize="nearest",  # as published
    ),
    # 25 million pictures, as StyleGAN2; the paper takes generators that are already trained
    generator_loop=LoopConfig(steps=781_250, batch=32, log_every=100, checkpoint_every=5000, grid_every=5000),
    rearranger_loop=LoopConfig(steps=140_000, batch=8, log_every=100, checkpoint_every=2000, grid_every=2000),
    segmenter_loop=LoopConfig(steps=1000, batch=1, checkpoint_every=500, grid_every=0),  # batch and steps as RepurposeGAN
    mapper_loop=LoopConfig(steps=110_000, batch=8, log_every=100, checkpoint_every=2000, grid_every=2000),
)

PRESETS: Mapping[str, Preset] = {
    "demo": Preset(
        resolution=64,
        cut=32,
        generator=GeneratorConfig(
            z_dim=128, mapping_layers=2, channel_base=2048, channel_max=128, path_weight=0.0, style_mixing=0.5, r1_gamma=1.0
        ),
        rearranger=RearrangerConfig(
            position_channels=32,
            hidden=32,
            key_mask_channels=32,
            lambda_mask=2.0,
            learning_rate=0.0003,
            adv_every=2,
            # what a style lacks is drawn; L_mix with layers 0 is L_self (docs/experiments.md, 16)
            refinement_width=64,
            lambda_self=0.0,
            lambda_mix=5.0,
            mix_share=0.75,
            mix_layers=(0, 2, 3),
            mix_absent=True,
            discriminator_lr_multiplier=3.0,
            narrow_channels=80,  # docs/experiments.md, 27
        ),
        segmenter=SegmenterConfig(style_transfer_max_labels=1),  # docs/experiments.md, 24
        # L_label, and how fast: docs/experiments.md, 21
        mapper=MapperConfig(
            widths=(64, 64, 48, 32),
            hidden=16,
            proxy_mask_mode="style-prior",
            learning_rate=0.008,
            discriminator_lr_multiplier=0.25,
            momentum=0.9,
            cosine_decay=True,
            lambda_label=120.0,
            label_phase=0.6,
        ),
        generator_loop=LoopConfig(steps=8000, batch=16),
        rearranger_loop=LoopConfig(steps=4000, batch=8, checkpoint_every=500),
        segmenter_loop=LoopConfig(steps=700, batch=4, checkpoint_every=200, grid_every=0),
        mapper_loop=LoopConfig(steps=2400, batch=8, checkpoint_every=500),
        # how fast, and the rest of it: docs/experiments.md, 19
        condition=ConditionConfig(
            unet_base=1536,
            unet_max=64,
            unet_space_to_depth=2,
            unet_lr_multiplier=1.875,
            unet_logit_adjustment=0.5,
            unet_recolor=1.0,
            unet_clean_share=0.5,
        ),
        num_clusters=100,
    ),
    "paper-256": _PAPER_256,
    "paper-1024": dataclasses.replace(
        _PAPER_256,
        resolution=1024,
        rearranger=dataclasses.replace(_PAPER_256.rearranger, adv_phase=65 / 215),
        rearranger_loop=dataclasses.replace(_PAPER_256.rearranger_loop, steps=215_000),
    ),
}
DEFAULT_PRESET = "demo"


def load_preset(name: str) -> Preset:
    """A preset by name, or a JSON file that says what differs from one.

    Such a file reads ``{"base": "demo", "resolution": 32, "cut": 16, "rearranger": {"hidden": 32}, "rearranger_loop": {"steps": 500}}``;
    ``base`` may be left out (demo).

    Raises:
        ProxymaskError: no such preset or file, a field that does not exist or has a value of another kind.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if not path.is_file():
        raise ProxymaskError(f"no preset {name!r}: there are {', '.join(PRESETS)}, or give a JSON file")
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise ProxymaskError(f'{path} must hold an object, as {{"base": "demo", "cut": 16}}')
    base = stored.pop("base", DEFAULT_PRESET)
    if base not in PRESETS:
        raise ProxymaskError(f"{path}: no preset {base!r} to start from; there are {', '.join(PRESETS)}")
    return _changed(PRESETS[base], legacy.preset(stored, path), str(path))


def _changed(config: Any, changes: Mapping[str, Any], where: str) -> Any:
    """A frozen dataclass with some fields changed by what a JSON file says; everything is checked."""
    values: dict[str, Any] = {}
    names = [field.name for field in dataclasses.fields(config)]
    for key, value in changes.items():
        if key not in names:
            raise ProxymaskError(f"{where}: no setting {key!r}; there are {', '.join(names)}")
        old = getattr(config, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, dict):
                raise ProxymaskError(f"{where}: {key} must be an object of settings, got {value!r}")
            values[key] = _changed(old, value, f"{where}: {key}")
        elif isinstance(old, Sequence) and not isinstance(old, str):
            if not isinstance(value, list):
                raise ProxymaskError(f"{where}: {key} must be a list, got {value!r}")
            values[key] = tuple(value)
        elif isinstance(old, float) and type(value) is int:
            values[key] = float(value)
        elif type(value) is not type(old):
            raise ProxymaskError(f"{where}: {key} must be a {type(old).__name__}, got {value!r}")
        else:
            values[key] = value
    return dataclasses.replace(config, **values)
