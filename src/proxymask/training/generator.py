"""Step of the generator stage: an unconditional StyleGAN2 on a folder of pictures, by StyleGAN2's recipe (Karras et al. 2020).

The paper takes generators that are already trained; the supplement names StyleGAN2's settings (A.2).
"""

import dataclasses
from collections.abc import Hashable, Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.checks import Checked, Natural, Range, Rate, Share, Weight, Width
from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from . import losses
from .adversarial import R1_EVERY, Pictures, discriminator_update, r1_weight, stylegan_adam
from .augment import Augmentation, diff_augment
from .loop import Run

KEEP = 30.0  # weight of L_keep: docs/decisions.md, frozen-growth
FRAME = 10.0  # weight of its term for the frame: docs/decisions.md, frame-of-growth
PATH_EVERY = 4  # generator steps between path length terms: StyleGAN2's lazy regularisation


@dataclasses.dataclass(frozen=True)
class GeneratorConfig(Checked):
    """Widths and training recipe of the generator and its discriminator (StyleGAN2: Karras et al. 2020)."""

    z_dim: Width = 512
    """Length of the vectors z and w."""
    mapping_layers: Annotated[int, Range(0, 64)] = 8
    """Layers of the network that maps z to w."""
    channel_base: Annotated[int, Range(1, 2**24)] = 32768
    """Feature channels at a resolution r: channel_base / r, at most channel_max."""
    channel_max: Width = 512
    """Upper limit of the feature channels at any resolution."""
    learning_rate: Rate = 0.002
    """Adam's learning rate, of both networks (StyleGAN2)."""
    r1_gamma: Weight = 10.0
    """gamma of R1, the penalty on the discriminator's gradients at real pictures (StyleGAN2)."""
    path_weight: Weight = 2.0
    """Weight of path length regularisation; 0 turns it off (StyleGAN2)."""
    style_mixing: Share = 0.9
    """Share of samples, 0 to 1, that are drawn from two latents (StyleGAN2)."""
    augment: tuple[Augmentation, ...] = ()
    """Augmentations of all pictures that the discriminator sees: color, translation, cutout. For small sets (Zhao et al. 2020)."""
    flip: bool = False
    """Mirror half of the real pictures. For pictures whose left and right are alike."""
    discriminator_first: Natural = 0
    """Steps at the start in which the discriminator alone learns. For a trained generator whose own discriminator is lost."""
    new_blocks_only: bool = False
    """With --grow-from: the blocks of the smaller generator, and its mapping network, keep their weights. All other networks of a bundle
    then work with the grown generator without a training."""


class GeneratorStage:
    """Generator and discriminator of StyleGAN2, updated in turn.

    Args:
        grown_from: resolution of the generator that ``generator`` was grown from; 0: it was not grown.
        warmup: steps over which the learning rates rise to their full value. Adam's first steps move every weight by the whole rate,
            however small its gradient: trained networks would lose what they have learned.
    """

    name = "generator"
    averaged = ("generator",)
    r1_every, path_every = R1_EVERY, PATH_EVERY

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        pictures: Pictures,
        config: GeneratorConfig,
        warmup: int = 0,
        grown_from: int = 0,
    ) -> None:
        self.config, self.pictures, self.warmup = config, pictures, warmup
        self.generator, self.discriminator = generator.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.old_blocks = freeze(generator, grown_from) if config.new_blocks_only else None
        path = _PathMean()
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator, "path": path}
        self.path = path
        learning = [p for p in generator.parameters() if p.requires_grad]
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": stylegan_adam(learning, config.learning_rate, every=self.path_every if config.path_weight else 0),
            "discriminator": stylegan_adam(discriminator.parameters(), config.learning_rate),
        }
        self.rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def generator_due(self, index: int) -> bool:
        """Whether step ``index`` updates the generator; an untrained discriminator learns alone first."""
        return index >= self.config.discriminator_first

    def path_due(self, index: int) -> bool:
        """Whether step ``index`` takes path length regularisation."""
        return self.generator_due(index) and self.config.path_weight > 0 and index % self.path_every == 0

    def r1_due(self, index: int) -> bool:
        """Whether step ``index`` takes R1."""
        return index % self.r1_every == 0

    def step_kind(self, index: int) -> Hashable:
        return self.generator_due(index), self.path_due(index), self.r1_due(index)

    def latents(self, run: Run, purpose: str) -> Iterator[torch.Tensor]:
        """Per-layer w (b, num_ws, w_dim) with style mixing, this process' part of a batch, one microbatch at a time; updates w_avg."""
        g, rng, batch = self.generator, run.rng(purpose), run.config.batch
        z = torch.randn(batch, 2, g.z_dim, generator=rng)
        cut = torch.randint(1, g.num_ws, (batch,), generator=rng)
        mixed = torch.rand(batch, generator=rng) < self.config.style_mixing
        layer, means = torch.arange(g.num_ws, device=run.device)[None, :, None], []
        for z_, cut_ in run.microbatches(run.local_shard(z), run.local_shard(torch.where(mixed, cut, torch.full_like(cut, g.num_ws)))):
            w = g.mapping(z_.flatten(0, 1)).unflatten(0, (-1, 2))
            means.append(w[:, 0].detach().mean(dim=0))
            yield torch.where(layer < cut_[:, None, None], w[:, :1], w[:, 1:])
        if self.old_blocks is None:
            g.mapping.w_avg.lerp_(run.mean(torch.stack(means).mean(dim=0)), 0.005)

    def real(self, run: Run) -> torch.Tensor:
        """This process' part of a batch of real pictures, half of them mirrored if the config says so."""
        rng = run.rng("real")
        index = torch.randint(len(self.pictures), (run.config.batch,), generator=rng)
        mirrored = torch.rand(run.config.batch, generator=rng) < 0.5
        x = run.local_shard(self.pictures.images(index))
        if self.config.flip:
            x = torch.where(run.local_shard(mirrored)[:, None, None, None], x.flip(3), x)
        return x

    def augmented(self, run: Run, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Pictures with the config's differentiable augmentations."""
        return diff_augment(x, self.config.augment, rng) if self.config.augment else x

    def step(self, run: Run) -> None:
        if self.warmup:
            self._warm_up(run.index)
        self.discriminator.requires_grad_(False)
        if self.generator_due(run.index):
            run.update("generator", lambda: self.adversarial_terms(run))
        if self.path_due(run.index):
            run.update("generator", lambda: self.path_terms(run))
        self.discriminator.requires_grad_(True)
        with torch.no_grad(), run.autocast():
            fakes = torch.cat([self.generator.synthesis(ws, "random") for ws in self.latents(run, "d")])
        real = self.augmented(run, self.real(run), run.rng(f"augment/real/{run.rank}"))
        fake = self.augmented(run, fakes, run.rng(f"augment/fake/{run.rank}"))
        penalty = r1_weight(self.config.r1_gamma, self.r1_every, self.r1_due(run.index))
        discriminator_update(run, self.discriminator, real, fake, penalty)

    def _warm_up(self, index: int) -> None:
        """Set the learning rates of a step; the generator's warm-up begins with its first step."""
        for name, optimizer in self.optimizers.items():
            since = index - (self.config.discriminator_first if name == "generator" else 0)
            optimizer.param_groups[0]["lr"] = self.rates[name] * min(1.0, (since + 1) / self.warmup)

    def adversarial_terms(self, run: Run) -> Iterator[torch.Tensor]:
        """L_adv of the generator."""
        rng = run.rng(f"augment/g/{run.rank}")
        for ws in self.latents(run, "g"):
            with run.autocast():
                fake, kept = self.picture(ws)
                logits = self.discriminator(self.augmented(run, fake, rng))
            loss = losses.adversarial_g(logits)
            run.log("g/loss", loss)
            if kept is not None:
                run.log("g/keep", kept)
                loss = loss + KEEP * kept
            yield loss

    def picture(self, ws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pictures of ``ws`` (B, num_ws, w_dim), with new noise; and L_keep where the old blocks are frozen (:func:`keep_loss`)."""
        if self.old_blocks is None:
            return self.generator.synthesis(ws, "random"), None
        with torch.no_grad():
            state = self.old_blocks.features(ws, "random")
            old = self.old_blocks.image(state, ws)
        picture = self.old_blocks.render(state, ws, "random")
        return picture, keep_loss(picture.float(), old.float())

    def path_terms(self, run: Run) -> Iterator[torch.Tensor]:
        """Path length regularisation (StyleGAN2, equation 4) of half a batch, in float32, as it takes second derivatives."""
        rng = run.rng(f"path-noise/{run.rank}")
        for ws in self.latents(run, "path"):
            ws = ws[: max(1, ws.shape[0] // 2)]
            ws = ws if ws.requires_grad else ws.requires_grad_()  # of a mapping network that does not learn
            picture = self.generator.synthesis(ws, "random")
            lengths = losses.path_length(picture, ws, torch.randn(picture.shape, generator=rng).to(picture.device))
            with torch.no_grad():
                self.path.mean.lerp_(run.mean(lengths.mean()), 0.01 / run.config.accumulate)
            run.log("g/path", lengths.mean())
            yield (lengths - self.path.mean).square().mean() * self.config.path_weight * self.path_every

    def grid(self, run: Run) -> Image.Image:
        """40 samples of the averaged generator, the same latents at every step."""
        average = run.averages["generator"]
        assert isinstance(average, Generator)
        z = torch.randn(40, average.z_dim, generator=torch.Generator().manual_seed(0)).to(run.device)
        x = to_uint8(torch.cat([average(part) for part in z.split(8)]))
        return tile([x[i : i + 8] for i in range(0, 40, 8)], scale=max(1, 128 // x.shape[1]))


def keep_loss(picture: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """L_keep: the mean squared difference between pictures (B, C, H, W), reduced by area, and those of the old blocks alone (B, C, h, w);
    and, :data:`FRAME` times, along the edges, a pixel of the old picture wide, between them and the old picture enlarged.

    The discriminator sees mistakes of layout, which the new blocks cannot mend. Without the first term they answer by changing colours.
    The filter of the skip connection takes what lies outside of the picture for zero, so that a new block begins with a frame of a
    weaker colour; without the second term it keeps that frame (docs/decisions.md, frame-of-growth).
    """
    border = F.pad(torch.zeros_like(old[:1, :1, 2:, 2:]), (1, 1, 1, 1), value=1.0)
    edge = F.interpolate(border, size=picture.shape[2:], mode="nearest")
    enlarged = F.interpolate(old, size=picture.shape[2:], mode="bilinear")
    frame = ((picture - enlarged).square() * edge).mean() / edge.mean()
    return F.mse_loss(F.interpolate(picture, size=old.shape[2:], mode="area"), old) + FRAME * frame


def freeze(generator: Generator, resolution: int) -> SplitGenerator:
    """Let the blocks up to ``resolution``, and the mapping network, learn nothing. Returns the generator, split there.

    Nor do the noise inputs of the new blocks, which start without effect: they would draw grain for thousands of steps, and then fade
    (docs/decisions.md, frozen-growth).
    """
    generator.mapping.requires_grad_(False)
    for res in generator.synthesis.block_resolutions:
        block = generator.synthesis.block(res)
        if res <= resolution:
            block.requires_grad_(False)
        else:
            block.conv0.noise_strength.requires_grad_(False)
            block.conv1.noise_strength.requires_grad_(False)
    return SplitGenerator(generator, resolution)


class _PathMean(nn.Module):
    """The running mean of path lengths (a in StyleGAN2's equation 4), a buffer so that checkpoints store it."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
