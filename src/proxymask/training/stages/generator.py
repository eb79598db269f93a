"""The generator stage: an unconditional StyleGAN2 on a folder of pictures; new, fine-tuned, or grown from one of smaller pictures."""

import copy
import dataclasses
from functools import cached_property
from typing import Any, ClassVar

from ...core.errors import ProxymaskError
from ...core.hashing import short_hash
from ...core.sizes import Size
from ...models.discriminator import Discriminator
from ...models.growing import grow_discriminator, grow_generator
from ...models.stylegan2 import Generator
from ...models.stylegan2_layers import channels_at
from ..adversarial import Pictures
from ..generator import GeneratorConfig, GeneratorStage
from ..parts import pictures_id
from .definition import TrainedStage, discriminator_to_train, seeded

WARMUP = 500  # steps over which the learning rates rise where training starts from trained networks


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneratorDefinition(TrainedStage):
    """Stage 0: generator and discriminator."""

    name: ClassVar[str] = "generator"
    schedule: ClassVar[bool] = False  # more steps continue a finished run

    config: GeneratorConfig
    pictures: Pictures
    """Real pictures, RGB."""
    size: Size
    """Size of the pictures. An int (square pictures) for a new or grown generator."""
    start: Generator | None = None
    """Generator to fine-tune or grow; None: a new one."""
    discriminator: Discriminator | None = None
    """The discriminator of ``start``."""
    grow: bool = False
    """Whether to grow ``start``, which makes smaller pictures: its blocks are copied, and blocks of higher resolution are added."""

    def inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = {"resolution": self.size, "pictures": pictures_id(self.pictures)}
        if self.start is not None:
            found["grown_from" if self.grow else "start"] = short_hash(self.start)
        return found

    def for_measuring(self) -> "GeneratorDefinition":
        """As the base class; without a copy, the generator itself would be trained."""
        return self if self.start is None or self.grow else dataclasses.replace(self, start=copy.deepcopy(self.start))

    def build(self) -> GeneratorStage:
        seed, discriminator = self.loop.seed, self.discriminator
        if self.config.new_blocks_only and not self.grow:
            raise ProxymaskError("--new-blocks-only goes with --grow-from, which adds blocks to a trained generator: give that")
        if self.start is None:
            generator = new_generator(self.config, self._side, seed)
        elif self.grow:
            generator, discriminator = self._grown(self.start)
        else:
            generator = self.start
        warmup = WARMUP if self.start is not None else 0
        discriminator = discriminator_to_train(discriminator, generator, seed)
        grown_from = self.start.resolution if self.start is not None and self.grow else 0
        return GeneratorStage(generator, discriminator, self.pictures, self.config, warmup, grown_from)

    @cached_property
    def _side(self) -> int:
        assert isinstance(self.size, int), "a new generator makes square pictures"
        return self.size

    def _grown(self, smaller: Generator) -> tuple[Generator, Discriminator | None]:
        """Both networks for pictures of ``size``, with the widths of the config."""
        if self.discriminator is None and not self.config.discriminator_first:
            raise ProxymaskError(
                "the generator to grow has no discriminator, and an untrained one would ruin it: give --discriminator-first 2000 or more, "
                "the number of steps in which a new discriminator is trained alone"
            )
        widths = (self._side, self.config.channel_base, self.config.channel_max)
        if self.config.new_blocks_only:
            self._check_widths(smaller)
        with seeded(self.loop.seed, "init", "grow"):
            generator = grow_generator(smaller, *widths)
            if self.discriminator is None:
                return generator, None
            base, most = widths[1:]
            if self.config.new_blocks_only:  # whose widths cannot be chosen: a wider discriminator stays as wide, and its last block
                theirs = self.discriminator.config  # needs some channels
                base = max(base, theirs["channel_base"], 2 * smaller.img_channels * self._side)
                most = max(most, theirs["channel_max"])
            return generator, grow_discriminator(self.discriminator, self._side, base, most)

    def _check_widths(self, smaller: Generator) -> None:
        """Blocks that keep their weights must keep their widths as well."""
        ours = (self.config.channel_base, self.config.channel_max)
        theirs = (smaller.config["channel_base"], smaller.config["channel_max"])
        for res in smaller.synthesis.block_resolutions:
            if channels_at(res, *ours) != channels_at(res, *theirs):
                raise ProxymaskError(
                    f"--new-blocks-only keeps the block at {res} pixels, which has {channels_at(res, *theirs)} channels and would get "
                    f"{channels_at(res, *ours)}: give the widths of the smaller generator, --channel-base {theirs[0]} --channel-max "
                    f"{theirs[1]}"
                )


def new_generator(config: GeneratorConfig, resolution: int, seed: int) -> Generator:
    """An untrained generator of square pictures."""
    with seeded(seed, "init", "generator"):
        return Generator(
            z_dim=config.z_dim,
            w_dim=config.z_dim,
            resolution=resolution,
            mapping_layers=config.mapping_layers,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
        )
