"""The verb ``train detail``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from ..inference.bundle import Bundle
from ..inference.conditions import condition_of_bundle
from ..models.few_shot_segmenter import FewShotSegmenter
from ..training.distributed import processes
from ..training.parts import Frozen, load_part
from ..training.presets import DEFAULT_PRESET
from ..training.run_dirs import check_out, run_lock
from ..training.stages.detail import DetailDefinition
from .hints import add_to_bundle
from .options import BundleName, Common, Computing, OptionalPath
from .stage_options import DetailLoop, DetailOverrides, Flat, PresetName, load_discriminator, say, stage_settings, train_stage


@dataclass(frozen=True, kw_only=True)
class TrainDetail(Checked):
    """The detail network: draws thin parts and borders where a mask has them, finer than the proxy mask.

    It needs a bundle with a segmenter, no further labels, and changes none of the bundle's networks. OUT gets detail/ (averaged weights).
    The same command resumes after a stop. proxymask bundle add puts it into a bundle.

    Examples:
      proxymask train detail --bundle my-bundle --out runs/detail
      proxymask train detail --bundle my-bundle --mapper mask-1 --out runs/detail-1
      proxymask bundle add runs/detail --bundle my-bundle --out my-bundle
    """

    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    bundle: BundleName = "avatars"
    mapper: str = "mask"
    """The mapper of the bundle whose input is to be drawn finer. It pays for masks, hardly for sketches, not for scribbles."""
    segmenter: OptionalPath = None
    """The few-shot segmenter to learn from: its run or its saved network; by default the bundle's. For mappers of fewer labels."""
    discriminator: OptionalPath = None
    """The discriminator to start from, of a run of the generator or the rearranger; by default an untrained one."""
    preset: PresetName = DEFAULT_PRESET
    config: Annotated[DetailOverrides, Flat] = field(default_factory=DetailOverrides)
    loop: Annotated[DetailLoop, Flat] = field(default_factory=DetailLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device), run_lock(self.out):
            check_out(self.out)
            train_stage(self._definition(), self.out, "detail network")
        say(f"detail network: {self.out / 'detail'}")
        say(f"next: {add_to_bundle(self.out, self.bundle, '--name', self.mapper)}")

    def _definition(self) -> DetailDefinition:
        bundle = Bundle.load(self.bundle)
        segmenter = bundle.segmenter if self.segmenter is None else load_part(self.segmenter, "segmenter", FewShotSegmenter)
        if segmenter is None or bundle.labels is None:
            raise ProxymaskError(
                f"--bundle {self.bundle} has no segmenter, which the detail network learns from: give --segmenter, or make one with "
                "proxymask fit"
            )
        mapper = bundle.mappers.get(self.mapper)
        if mapper is None:
            raise ProxymaskError(f"--mapper {self.mapper}: the bundle {bundle.name} has no such mapper (it has: {bundle.mappers_text()})")
        about = bundle.condition_of(self.mapper)
        reads = None if about["condition"] == "mask" else condition_of_bundle(bundle, about["condition"], mapper=self.mapper)
        discriminator = None if self.discriminator is None else load_discriminator(self.discriminator, bundle.generator)
        resolution = bundle.generator.resolution
        config, loop = stage_settings("detail", self.preset, resolution, self.common, self.config, self.loop)
        return DetailDefinition(
            config=config,
            discriminator=discriminator,
            loop=loop,
            frozen=Frozen(bundle.split_generator(), bundle.clusters, bundle.rearranger),
            segmenter=segmenter,
            mapper=mapper,
            labels=bundle.labels,
            condition=reads,
            mode=bundle.about.get("proxy_mask_mode", "soft"),
        )
