"""Named settings of all stages.

``paper-256``, ``paper-512``, ``paper-1024``: the published method to the letter. Every setting is stated in the supplement, or it is an
addition of ours and off, or it is named in :data:`UNSTATED`; ``tests/training/test_published.py`` has section and words for each.

``ours_preset(resolution)``: the method of this project, whose one dial is the size of the pictures. ``demo`` is its 64-pixel case,
``ours-128`` to ``ours-1024`` are its larger ones. docs/training.md lists what is beyond the paper.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from ..core import legacy
from ..core.checks import Checked, Range, checked, nearest
from ..core.errors import ProxymaskError
from ..core.files import read_json
from .detail import DetailConfig
from .generator import GeneratorConfig
from .loop import LoopConfig
from .mapper import ConditionConfig, MapperConfig
from .rearranger import RearrangerConfig
from .segmenter import SegmenterConfig

StageName = Literal["generator", "rearranger", "segmenter", "mapper", "detail"]
STAGES: tuple[StageName, ...] = ("generator", "rearranger", "segmenter", "mapper", "detail")
SMALLEST = 64  # pixels a side from which on ours is measured; smaller pictures take its widths
MIN_CUT, MAX_CUT = 32, 64  # the paper's feature maps are 64 x 64, a quarter of its smallest pictures (supplement A.2)


@dataclasses.dataclass(frozen=True)
class Preset(Checked):
    """Settings of every stage, in the order in which they run."""

    resolution: Annotated[int, Range(8, 2**13, kind="power of two")]
    """Side of the pictures, for a generator that is still to be trained."""
    cut: Annotated[int, Range(4, 2**13, kind="power of two")]
    """Side of the features at the cut, for a generator of ``resolution``; see :meth:`cut_for`."""
    generator: GeneratorConfig
    rearranger: RearrangerConfig
    segmenter: SegmenterConfig
    mapper: MapperConfig
    generator_loop: LoopConfig
    rearranger_loop: LoopConfig
    segmenter_loop: LoopConfig
    mapper_loop: LoopConfig
    num_clusters: Annotated[int, Range(1, 2**14)] = 25
    """K."""
    cluster_samples: Annotated[int, Range(1, 10**6)] = 256
    """Samples whose features are clustered."""
    condition: ConditionConfig = ConditionConfig()  # noqa: RUF009
    """The mapper of other conditions than masks."""
    with_detail: bool = False
    """Whether fit trains a detail network for masks."""
    detail: DetailConfig = DetailConfig()  # noqa: RUF009
    """The detail network."""
    detail_loop: LoopConfig = LoopConfig(steps=1400, batch=8, checkpoint_every=200, grid_every=200)  # noqa: RUF009

    def cut_for(self, resolution: int) -> int:
        """The cut of a generator of another size, see :func:`default_cut`."""
        return self.cut if resolution == self.resolution else default_cut(resolution)

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


def default_cut(resolution: int) -> int:
    """Side of the features at the cut for pictures of ``resolution``: a quarter, from 32 to 64 (the paper's), and at most half.

    docs/decisions.md, cut-at-128.
    """
    return min(resolution // 2, max(MIN_CUT, resolution // 4), MAX_CUT)


# ---------------------------------------------------------------------------------------------------- the published method


def _paper(resolution: int, steps: int, adv_steps: int) -> Preset:
    """The published method; ``adv_steps`` of the rearranger's ``steps``, at the end, take L_adv at every step (supplement A.2)."""
    often = LoopConfig(log_every=100, checkpoint_every=2000, grid_every=2000)
    return Preset(
        resolution=resolution,
        cut=64,
        num_clusters=25,
        cluster_samples=256,
        generator=GeneratorConfig(
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
            position_channels=0,
            add_position=True,
            hidden=128,
            layers=4,
            value="features",
            rgb="rearrange",
            init="random",
            refinement_width=0,
            learning_rate=0.002,
            discriminator_lr_multiplier=1.0,
            lambda_self=10.0,
            lambda_mask=1.0,
            lambda_adv=1.0,
            lambda_mix=0.0,
            temperature=0.1,
            substitute=False,
            mask_absent=True,
            flip=True,
            adv_every=5,
            adv_phase=adv_steps / steps,
            r1_gamma=10.0,
            narrow_channels=0,
        ),
        segmenter=SegmenterConfig(learning_rate=0.001, style_transfer_max_labels=0),
        mapper=MapperConfig(
            widths=(1024, 1024, 1024, 512, 256),  # OASIS without its last two blocks, which would make 128 and 256 pixels
            hidden=128,
            tail=3,
            resize="nearest",
            learning_rate=0.002,
            discriminator_lr_multiplier=1.0,
            lambda_recon=10.0,
            lambda_recon_adv=100.0,
            lambda_adv=1.0,
            adv_phase=10 / 110,
            proxy_mask_mode="hard",
            label_prior=False,
            momentum=0.0,
            cosine_decay=False,
            lambda_label=0.0,
            flip=False,
            r1_gamma=10.0,
        ),
        condition=ConditionConfig(
            unet_base=0,
            unet_max=0,
            unet_space_to_depth=1,
            unet_start="discriminator",
            unet_lr_multiplier=1.0,
            unet_logit_adjustment=0.0,
            unet_recolor=0.0,
            unet_clean_share=1.0,
        ),
        generator_loop=dataclasses.replace(often, steps=781_250, batch=32, checkpoint_every=5000, grid_every=5000),
        rearranger_loop=dataclasses.replace(often, steps=steps, batch=8),
        segmenter_loop=LoopConfig(steps=1000, batch=1, checkpoint_every=500, grid_every=0),
        mapper_loop=dataclasses.replace(often, steps=110_000, batch=8),
    )


_TRAINED_ELSEWHERE = "StyleGAN2's own (config-F); the paper takes generators that are already trained"
_AVERAGE = "StyleGAN2's own: a moving average of the weights with a half-life of 10,000 samples"
UNSTATED: Mapping[str, str] = {
    "generator.z_dim": _TRAINED_ELSEWHERE,
    "generator.mapping_layers": _TRAINED_ELSEWHERE,
    "generator.channel_base": _TRAINED_ELSEWHERE,
    "generator.channel_max": _TRAINED_ELSEWHERE,
    "generator.path_weight": _TRAINED_ELSEWHERE,
    "generator.style_mixing": _TRAINED_ELSEWHERE,
    "generator.augment": _TRAINED_ELSEWHERE,
    "generator.flip": _TRAINED_ELSEWHERE,
    "generator.discriminator_first": _TRAINED_ELSEWHERE,
    "generator.new_blocks_only": _TRAINED_ELSEWHERE,
    "generator_loop.steps": "25 million pictures, as StyleGAN2",
    "generator_loop.batch": "StyleGAN2's own",
    "rearranger.position_channels": "as many as the embeddings have (0), so that all of them are added to",
    "rearranger.hidden": "a quarter of the 512 features, for speed (docs/decisions.md, hidden-width-at-paper-size)",
    "rearranger.rgb": "the RGB made below the cut moves with the features; kept, it shows the old layout (docs/decisions.md, rgb-skip)",
    "rearranger.temperature": "of the cluster probabilities in L_mask, whose form the supplement does not state either",
    "rearranger_loop.batch": "what 24 GB hold, the memory of the paper's GPU",
    "mapper.proxy_mask_mode": "the likeliest cluster, because the figures show hard proxy masks",
    "mapper_loop.batch": "as the rearranger's",
    "condition.unet_start": "the structure is the discriminator's; that the weights start as its weights is our reading",
    "*_loop.ema_samples": _AVERAGE,
    "*_loop.ema_rampup": "StyleGAN2's own",
}
"""The settings of the ``paper-*`` presets that the supplement does not state, and the reason for each value. ``*_loop``: of every stage."""


# --------------------------------------------------------------------------------------------------------------- our method


_DEMO = Preset(
    resolution=64,
    cut=32,
    num_clusters=100,  # docs/decisions.md, hundred-clusters
    generator=GeneratorConfig(
        z_dim=128,
        mapping_layers=2,
        channel_base=2048,
        channel_max=128,
        path_weight=0.0,
        style_mixing=0.5,
        r1_gamma=1.0,  # docs/decisions.md, r1-at-64
    ),
    rearranger=RearrangerConfig(
        position_channels=32,
        hidden=32,
        init="centroids",  # docs/decisions.md, attention-start
        learning_rate=0.001,  # docs/decisions.md, rearranger-learning-rate
        refinement_width=64,  # docs/decisions.md, refinement-block
        refinement_lr_multiplier=1.5,
        lambda_self=0.0,  # L_mix with 0 mixed layers is L_self
        lambda_mask=2.0,  # docs/decisions.md, balance-of-losses
        lambda_mix=5.0,  # docs/decisions.md, style-mixed-pairs
        mix_share=0.75,
        mix_layers=(0, 2, 3),
        mix_absent=True,
        adv_every=2,
        narrow_channels=80,  # docs/decisions.md, narrow-queries-and-keys
    ),
    segmenter=SegmenterConfig(style_transfer_max_labels=1),  # docs/decisions.md, style-transfer-labelling
    mapper=MapperConfig(
        widths=(64, 64, 48, 32),  # docs/decisions.md, mapper-widths
        hidden=16,
        proxy_mask_mode="style-prior",  # docs/decisions.md, style-prior
        label_prior=True,  # docs/decisions.md, label-prior
        learning_rate=0.008,  # docs/decisions.md, mask-mapper-learning-rate
        discriminator_lr_multiplier=0.25,
        lambda_adv=0.0,  # docs/decisions.md, adversarial-loss-with-label-loss
        momentum=0.9,
        cosine_decay=True,
        lambda_label=120.0,  # docs/decisions.md, label-loss
        label_phase=0.6,
    ),
    condition=ConditionConfig(
        unet_base=1536,
        unet_max=64,
        unet_space_to_depth=2,  # docs/decisions.md, folded-encoder
        unet_lr_multiplier=1.875,  # 0.015 in all: docs/decisions.md, condition-learning-rate
        unet_logit_adjustment=0.5,  # docs/decisions.md, rare-clusters
        unet_recolor=1.0,  # docs/decisions.md, recoloured-lines
        unet_clean_share=0.5,
    ),
    generator_loop=LoopConfig(steps=16_000, batch=16),  # docs/decisions.md, generator-steps
    rearranger_loop=LoopConfig(steps=4000, batch=8, checkpoint_every=500),
    segmenter_loop=LoopConfig(steps=700, batch=4, checkpoint_every=200, grid_every=0),
    mapper_loop=LoopConfig(steps=2400, batch=8, checkpoint_every=500),
    with_detail=True,  # docs/decisions.md, detail-network
)

# what larger pictures change, besides the steps
_FROM_128: Mapping[str, Any] = {
    "generator": {"channel_base": 4096},  # as many channels in the last block as at 64 pixels
}
_FROM_256: Mapping[str, Any] = {
    "generator": {  # as the paper's, with half the channels: StyleGAN2-ADA's at this size
        "z_dim": 512,
        "mapping_layers": 8,
        "channel_base": 16384,
        "channel_max": 512,
        "path_weight": 2.0,
        "style_mixing": 0.9,
        "r1_gamma": 10.0,
    },
    "rearranger": {"position_channels": 64, "hidden": 64, "refinement_width": 128, "narrow_channels": 160},
    # the paper's learning rate: four times that was measured with narrow networks only
    "mapper": {"widths": [128, 128, 128, 64, 32], "hidden": 32, "learning_rate": 0.002, "discriminator_lr_multiplier": 1.0},
    "condition": {"unet_base": 4096, "unet_max": 128},
}
_FROM_512: Mapping[str, Any] = {
    "generator": {"channel_base": 32768},
    "rearranger": {"hidden": 128, "narrow_channels": 320},  # docs/decisions.md, hidden-width-at-paper-size, narrow-at-paper-size
    "mapper": {"widths": [256, 256, 256, 128, 64], "hidden": 64},
    "condition": {"unet_base": 8192, "unet_max": 256},
}
_PAPER_PICTURES = 25_000_000  # that StyleGAN2 is trained on


def ours_preset(resolution: int) -> Preset:
    """Our method for pictures of ``resolution``, a side in pixels: widths, cut and steps follow from it.

    Measured at 64 pixels (``demo``); smaller pictures take the same widths. Rules above that, which no run has checked yet:

    * The cut is :func:`default_cut`.
    * At 128 pixels the last block has the channels of the last one at 64; from 512 on the generator is the paper's (StyleGAN2 config-F), at
      256 half as wide, and the other networks are wider in proportion (docs/decisions.md, half-widths-at-256).
    * The generator sees pictures in proportion to their pixels, 256,000 at 64, at most StyleGAN2's 25 million.
    * The mapper's steps are in proportion to the side, the rearranger's also to the cells of the proxy mask, up to 256 pixels: above, the
      features at the cut are no larger.
    * The encoder of other conditions starts at the size of the proxy mask.
    """
    cut = default_cut(resolution)
    ours = dataclasses.replace(_DEMO, resolution=resolution, cut=cut)
    if resolution < 2 * SMALLEST:
        return ours
    times = min(resolution, 256) // SMALLEST
    pictures = min(_DEMO.generator_loop.steps * _DEMO.generator_loop.batch * (resolution // SMALLEST) ** 2, _PAPER_PICTURES)
    often = {"log_every": 100, "checkpoint_every": 2000, "grid_every": 2000}
    wider = {128: (_FROM_128,), 256: (_FROM_256,)}.get(resolution, (_FROM_256, _FROM_512))
    ours = functools.reduce(lambda preset, widths: _changed(preset, widths, "ours"), wider, ours)
    changes: dict[str, Any] = {
        "condition": {"unet_space_to_depth": max(2, resolution // cut)},
        "generator_loop": often | {"steps": pictures // 32, "batch": 32},
        "rearranger_loop": often | {"steps": _DEMO.rearranger_loop.steps * times * (cut // MIN_CUT) ** 2},
        "mapper_loop": often | {"steps": _DEMO.mapper_loop.steps * times},
    }
    return _changed(ours, changes, "ours")


# ------------------------------------------------------------------------------------------------------------------ by name


def _changed(config: Any, changes: Mapping[str, Any], where: str) -> Any:
    """A frozen dataclass with some fields changed by what a JSON file says; everything is checked."""
    values: dict[str, Any] = {}
    names = [field.name for field in dataclasses.fields(config)]
    for key, value in changes.items():
        if key not in names:
            raise ProxymaskError(f"{where}: no setting {key!r}{nearest(key, names)}; there are {', '.join(names)}")
        old = getattr(config, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, dict):
                raise ProxymaskError(f"{where}: {key} must be an object of settings, got {value!r}")
            values[key] = _changed(old, value, f"{where}: {key}")
        elif isinstance(value, list):
            values[key] = tuple(value)
        else:
            values[key] = float(value) if isinstance(old, float) and type(value) is int and abs(value) < 2**53 else value
    try:
        return dataclasses.replace(config, **values)
    except ProxymaskError as error:
        raise ProxymaskError(f"{where}: {error}") from None


PRESETS: Mapping[str, Preset] = {
    "demo": _DEMO,
    "ours-128": ours_preset(128),
    "ours-256": ours_preset(256),
    "ours-512": ours_preset(512),
    "ours-1024": ours_preset(1024),
    "paper-256": _paper(256, steps=140_000, adv_steps=40_000),
    "paper-512": _paper(512, steps=215_000, adv_steps=65_000),
    "paper-1024": _paper(1024, steps=215_000, adv_steps=65_000),
}
DEFAULT_PRESET = "auto"  # ours, at the size of the pictures
DEFAULT_BASE = "demo"  # of a JSON file that names none


def preset_title(name: str, resolution: int) -> str:
    """What a model card calls the preset ``name`` of a model whose pictures are of ``resolution``."""
    return f"ours-{resolution}" if name == DEFAULT_PRESET else Path(name).stem


@checked
def load_preset(name: str, resolution: int | None = None) -> Preset:
    """A preset by name, or a JSON file that says what differs from one; "auto" is :func:`ours_preset` at ``resolution``,
    64 where that is not known.

    Such a file reads ``{"base": "demo", "resolution": 32, "cut": 16, "rearranger": {"hidden": 32}, "rearranger_loop": {"steps": 500}}``;
    ``base`` may be left out (demo), or be "auto".

    Raises:
        ProxymaskError: no such preset or file, a field that does not exist or has a value of another kind.
    """
    if name == DEFAULT_PRESET:
        return ours_preset(resolution or SMALLEST)
    if name in PRESETS:
        return PRESETS[name]
    known, path = [DEFAULT_PRESET, *PRESETS], Path(name)
    if path.suffix == ".json" and not path.exists():
        raise ProxymaskError(f"--preset {name} does not exist")
    if path.is_dir():
        raise ProxymaskError(f"--preset {name} is a folder: give a JSON file, or one of {', '.join(known)}")
    if not path.is_file():
        raise ProxymaskError(f"--preset {name}: there are {', '.join(known)}, or give a JSON file{nearest(name, known)}")
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise ProxymaskError(f'{path} must hold an object, as {{"base": "demo", "cut": 16}}')
    base = stored.pop("base", DEFAULT_BASE)
    if base not in known:
        raise ProxymaskError(f"{path}: no preset {base!r} to start from; there are {', '.join(known)}{nearest(str(base), known)}")
    return _changed(load_preset(base, resolution), legacy.preset(stored, path), str(path))
