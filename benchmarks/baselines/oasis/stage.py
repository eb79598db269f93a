"""Training of the rival, through the same loop as everything else (exact resume, average, checkpoints)."""

import dataclasses
from collections.abc import Hashable, Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from proxymask.core.seeding import derive_rng
from proxymask.imaging.grids import tile, to_uint8
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.training.loop import Run
from proxymask.training.pairs import SegmenterLabeler
from proxymask.training.segmentation import LabeledImages

from .networks import OasisDiscriminator, OasisGenerator


@dataclasses.dataclass(frozen=True)
class OasisConfig:
    """The rival's widths and recipe; defaults are the paper's, but for the width."""

    width: int = 16
    """Channels at full resolution; the paper has 64, for 256 pixels on GPUs."""
    z_dim: int = 64
    """Length of the noise vector."""
    hidden: int = 64
    """Width inside SPADE; the paper has 128."""
    rate_g: float = 0.0001
    """Adam (0, 0.999), generator."""
    rate_d: float = 0.0004
    """Adam (0, 0.999), discriminator."""
    lambda_mix: float = 10.0
    """Weight of LabelMix."""


class ExactPairs:
    """Real pictures with their exact masks."""

    def __init__(self, data: LabeledImages) -> None:
        self.data = data

    def draw(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """This process' share of a batch: pictures (B, 3, R, R) and masks (B, R, R), half of them mirrored."""
        index = torch.randint(len(self.data), (run.config.batch,), generator=run.rng("pairs"))
        mirrored = torch.rand(run.config.batch, generator=run.rng("flip")) < 0.5
        pictures, masks = self.data.images(index), self.data.masks(index)
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        return run.local_shard(pictures), run.local_shard(torch.where(mirrored[:, None, None], masks.flip(2), masks))


class PseudoPairs:
    """Samples of the generator with the few-shot segmenter's labels: the very pairs that the mapper learns from, new ones every step."""

    def __init__(self, split: SplitGenerator, segmenter: FewShotSegmenter) -> None:
        self.split, self.segmenter = split.eval().requires_grad_(False), segmenter.eval().requires_grad_(False)

    @torch.no_grad()
    def draw(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`ExactPairs.draw`."""
        self.split.to(run.device)
        self.segmenter.to(run.device)
        z = run.local_shard(torch.randn(run.config.batch, self.split.generator.z_dim, generator=run.rng("pairs")))
        mirrored = run.local_shard(torch.rand(run.config.batch, generator=run.rng("flip")) < 0.5)
        with run.autocast():
            w = self.split.w(z)
            masks = SegmenterLabeler(self.split, self.segmenter)(w)
            pictures = self.split.render(self.split.features(w), w).float().clamp(-1, 1)
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        return pictures, torch.where(mirrored[:, None, None], masks.flip(2), masks)


Pairs = ExactPairs | PseudoPairs


def balance(masks: torch.Tensor, num_labels: int) -> torch.Tensor:
    """Weights (N + 1,) of the classes, inverse to their share of the batch's pixels, so that the mean over pixels is 1; 0 for classes that
    the batch lacks, 1 for "fake"."""
    counts = torch.bincount(masks.flatten(), minlength=num_labels).float()
    present = counts > 0
    weights = torch.where(present, counts.sum() / (counts.clamp(min=1) * present.sum()), 0.0)
    return torch.cat([weights, weights.new_ones(1)])


def pixel_loss(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of N + 1 classes a pixel, weighted by the target's class, its mean over all pixels."""
    return F.cross_entropy(logits.float(), target, weights, reduction="none").mean()


def label_mix(masks: torch.Tensor, num_labels: int, rng: torch.Generator) -> torch.Tensor:
    """Which pixels (B, 1, R, R) of a mixture are real: every class of every picture is wholly real or wholly fake."""
    chosen = (torch.rand(len(masks), num_labels, generator=rng) < 0.5).to(masks.device)
    return chosen.gather(1, masks.flatten(1)).view_as(masks)[:, None]


class OasisStage:
    """Generator against segmenting discriminator."""

    name = "oasis"
    averaged = ("generator",)

    def __init__(self, generator: OasisGenerator, discriminator: OasisDiscriminator, pairs: Pairs, config: OasisConfig) -> None:
        self.generator, self.discriminator = generator.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.pairs, self.config = pairs, config
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        rates = {"generator": config.rate_g, "discriminator": config.rate_d}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(module.parameters(), lr=rates[name], betas=(0.0, 0.999)) for name, module in self.modules.items()
        }
        self.run: Run | None = None

    def step_kind(self, index: int) -> Hashable:
        return None

    def step(self, run: Run) -> None:
        self.run = run  # snapshots read the averaged network off it
        number = self.generator.num_labels
        pictures, masks = self.pairs.draw(run)
        z = run.local_shard(torch.randn(run.config.batch, self.generator.z_dim, generator=run.rng("noise")))
        weights = balance(masks, number)
        fakes: list[torch.Tensor] = []
        self.discriminator.requires_grad_(False)

        def generating() -> Iterator[torch.Tensor]:
            for masks_, z_ in run.microbatches(masks, z):
                with run.autocast():
                    fake = self.generator(masks_, z_)
                    logits = self.discriminator(fake)
                fakes.append(fake.detach().float())
                loss = pixel_loss(logits, masks_, weights)
                run.log("loss/g", loss)
                yield loss

        run.update("generator", generating)
        self.discriminator.requires_grad_(True)
        mixed = label_mix(masks, number, run.rng("mix"))

        def discriminating() -> Iterator[torch.Tensor]:
            for real_, fake_, masks_, mixed_ in run.microbatches(pictures, torch.cat(fakes), masks, mixed):
                with run.autocast():
                    on_real, on_fake = self.discriminator(real_), self.discriminator(fake_)
                    on_mix = self.discriminator(torch.where(mixed_, real_, fake_))
                none = torch.full_like(masks_, number)
                loss_real, loss_fake = pixel_loss(on_real, masks_, weights), pixel_loss(on_fake, none, weights)
                consistent = (on_mix.float() - torch.where(mixed_, on_real.float(), on_fake.float())).square().mean()
                run.log("loss/d_real", loss_real)
                run.log("loss/d_fake", loss_fake)
                run.log("loss/mix", consistent)
                yield loss_real + loss_fake + self.config.lambda_mix * consistent

        run.update("discriminator", discriminating)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: real pictures, and two renderings of their masks by the averaged generator, with the batch's own statistics."""
        picked = Run(dataclasses.replace(run.config, batch=8, accumulate=1), self)
        pictures, masks = self.pairs.draw(picked)
        average = run.averages["generator"].train()
        rows = [to_uint8(pictures)]
        for number in range(2):
            z = torch.randn(len(masks), self.generator.z_dim, generator=derive_rng(0, "grid", number)).to(run.device)
            with run.autocast():
                rows.append(to_uint8(average(masks, z).float()))
        average.eval()
        return tile(rows, scale=max(1, 128 // pictures.shape[-1]))
