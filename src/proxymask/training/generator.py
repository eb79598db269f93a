"""Stage 0: train or fine-tune an unconditional StyleGAN2 on a folder of pictures (method: StyleGAN2's own recipe)."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from PIL import Image
from torch import nn

from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.stylegan2 import Generator
from . import losses
from .augment import diff_augment
from .loop import Run

R1_EVERY = 16  # discriminator steps between R1 terms: StyleGAN2's lazy regularisation
PATH_EVERY = 4  # generator steps between path length terms, likewise


class Pictures(Protocol):
    """A source of real pictures."""

    def __len__(self) -> int: ...

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) float in [-1, 1]."""
        ...


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Widths and training recipe of the generator and its discriminator (StyleGAN2: Karras et al. 2020)."""

    z_dim: int = 512
    """Numbers of a latent z, and of w."""
    mapping_layers: int = 8
    """Layers of the network that maps z to w."""
    channel_base: int = 32768
    """Feature channels at a resolution r: channel_base / r, at most channel_max."""
    channel_max: int = 512
    """Most feature channels at any resolution."""
    learning_rate: float = 0.002
    """Adam's learning rate, of both networks (StyleGAN2)."""
    r1_gamma: float = 10.0
    """gamma of R1, the penalty on the discriminator's gradients at real pictures (StyleGAN2)."""
    path_weight: float = 2.0
    """Weight of path length regularisation; 0 turns it off (StyleGAN2)."""
    style_mixing: float = 0.9
    """Share of samples, 0 to 1, that are drawn from two latents (StyleGAN2)."""
    augment: tuple[str, ...] = ()
    """Augmentations of all pictures that the discriminator sees: color, translation, cutout. For small sets (Zhao et al. 2020)."""
    flip: bool = False
    """Mirror half of the real pictures. For pictures whose left and right are alike."""
    discriminator_first: int = 0
    """Steps at the start in which the discriminator alone learns. For a trained generator whose own discriminator is lost."""


def lazy_adam(
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]], learning_rate: float, every: int, momentum: float = 0.0
) -> torch.optim.Adam:
    """Adam (``momentum``, 0.99) with StyleGAN2's correction for a regulariser run every ``every`` steps (0: none)."""
    ratio = every / (every + 1) if every else 1.0
    return torch.optim.Adam(parameters, lr=learning_rate * ratio, betas=(momentum, 0.99**ratio), eps=1e-8)


@torch.no_grad()
def real_pictures(run: Run, pictures: Pictures | None, generator: Generator) -> torch.Tensor:
    """This process' share of a batch of real pictures: the user's, or, without any, the frozen ``generator``'s own."""
    if pictures is not None:
        index = torch.randint(len(pictures), (run.config.batch,), generator=run.rng("real"))
        return run.local_shard(pictures.images(index))
    z = torch.randn(run.config.batch, generator.z_dim, generator=run.rng("real"))
    with run.autocast():
        return generator(run.local_shard(z)).float()


def discriminator_update(run: Run, discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, penalty: float) -> None:
    """One discriminator step: logistic loss, and R1 with the weight ``penalty`` (0: none). ``fake`` carries no gradient."""

    def terms() -> Iterator[torch.Tensor]:
        for real_part, fake_part in run.microbatches(real, fake):
            x = real_part.detach().requires_grad_(penalty > 0)
            with run.autocast():
                real_logits, fake_logits = discriminator(x), discriminator(fake_part)
            loss = losses.adversarial_d(real_logits, fake_logits)
            run.log("d/loss", loss)
            run.log("d/real", real_logits.float().mean())
            run.log("d/fake", fake_logits.float().mean())
            if penalty:
                r1 = losses.r1(real_logits, x)
                run.log("d/r1", r1)
                loss = loss + penalty * r1
            yield loss

    run.update("discriminator", terms)


class GeneratorStage:
    """Both networks of StyleGAN2 and one alternating step."""

    name = "generator"
    averaged = ("generator",)
    r1_every, path_every = R1_EVERY, PATH_EVERY

    def __init__(
        self, generator: Generator, discriminator: Discriminator, pictures: Pictures, config: GeneratorConfig, warmup: int = 0
    ) -> None:
        """``warmup``: steps over which the learning rates rise to their full value. Adam's first steps move every weight by the whole
        rate, whatever its gradient is: networks that can do something already lose it."""
        self.config, self.pictures, self.warmup = config, pictures, warmup
        self.generator, self.discriminator = generator.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        path = _PathMean()
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator, "path": path}
        self.path = path
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": lazy_adam(generator.parameters(), config.learning_rate, self.path_every if config.path_weight else 0),
            "discriminator": lazy_adam(discriminator.parameters(), config.learning_rate, self.r1_every),
        }
        self.rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def latents(self, run: Run, purpose: str) -> Iterator[torch.Tensor]:
        """Per-layer w (b, num_ws, w_dim) with style mixing: this process' share of a batch, round by round; updates w_avg."""
        g, rng, batch = self.generator, run.rng(purpose), run.config.batch
        z = torch.randn(batch, 2, g.z_dim, generator=rng)
        cut = torch.randint(1, g.num_ws, (batch,), generator=rng)
        mixed = torch.rand(batch, generator=rng) < self.config.style_mixing
        layer, means = torch.arange(g.num_ws, device=run.device)[None, :, None], []
        for z_, cut_ in run.microbatches(run.local_shard(z), run.local_shard(torch.where(mixed, cut, torch.full_like(cut, g.num_ws)))):
            w = g.mapping(z_.flatten(0, 1)).unflatten(0, (-1, 2))
            means.append(w[:, 0].detach().mean(dim=0))
            yield torch.where(layer < cut_[:, None, None], w[:, :1], w[:, 1:])
        g.mapping.w_avg.lerp_(run.mean(torch.stack(means).mean(dim=0)), 0.005)

    def real(self, run: Run) -> torch.Tensor:
        """This process' share of a batch of real pictures."""
        rng = run.rng("real")
        index = torch.randint(len(self.pictures), (run.config.batch,), generator=rng)
        mirrored = torch.rand(run.config.batch, generator=rng) < 0.5
        x = run.local_shard(self.pictures.images(index))
        if self.config.flip:
            x = torch.where(run.local_shard(mirrored)[:, None, None, None], x.flip(3), x)
        return x

    def augmented(self, run: Run, x: torch.Tensor, purpose: str) -> torch.Tensor:
        """Differentiable augmentation where the config asks for it."""
        return diff_augment(x, self.config.augment, run.rng(f"augment/{purpose}/{run.rank}")) if self.config.augment else x

    def step(self, run: Run) -> None:
        c = self.config
        if self.warmup:
            for name, optimizer in self.optimizers.items():
                since = run.index - (c.discriminator_first if name == "generator" else 0)
                optimizer.param_groups[0]["lr"] = self.rates[name] * min(1.0, (since + 1) / self.warmup)
        self.discriminator.requires_grad_(False)
        alone = run.index < c.discriminator_first  # the generator rests: an untrained discriminator would undo it

        def g_terms() -> Iterator[torch.Tensor]:
            for ws in self.latents(run, "g"):
                with run.autocast():
                    fake = self.generator.synthesis(ws, "random")
                    logits = self.discriminator(self.augmented(run, fake, "g"))
                loss = losses.adversarial_g(logits)
                run.log("g/loss", loss)
                yield loss

        if not alone:
            run.update("generator", g_terms)
        if c.path_weight and not alone and run.index % self.path_every == 0:
            run.update("generator", lambda: self.path_terms(run))
        self.discriminator.requires_grad_(True)
        with torch.no_grad(), run.autocast():
            fakes = torch.cat([self.generator.synthesis(ws, "random") for ws in self.latents(run, "d")])
        due = run.index % self.r1_every == 0
        real, fake = self.augmented(run, self.real(run), "real"), self.augmented(run, fakes, "fake")
        discriminator_update(run, self.discriminator, real, fake, c.r1_gamma / 2 * self.r1_every if due else 0.0)

    def path_terms(self, run: Run) -> Iterator[torch.Tensor]:
        """Path length regularisation on half a batch, in float32 (its gradient is a second derivative)."""
        rng = run.rng(f"path-noise/{run.rank}")
        for ws in self.latents(run, "path"):
            ws = ws[: max(1, ws.shape[0] // 2)]
            picture = self.generator.synthesis(ws, "random")
            lengths = losses.path_length(picture, ws, torch.randn(picture.shape, generator=rng).to(picture.device))
            with torch.no_grad():
                self.path.mean.lerp_(run.mean(lengths.mean()), 0.01 / run.config.accumulate)
            run.log("g/path", lengths.mean())
            yield (lengths - self.path.mean).square().mean() * self.config.path_weight * self.path_every

    def grid(self, run: Run) -> Image.Image:
        average = run.averages["generator"]
        assert isinstance(average, Generator)
        z = torch.randn(40, average.z_dim, generator=torch.Generator().manual_seed(0)).to(run.device)
        x = to_uint8(torch.cat([average(part) for part in z.split(8)]))
        return tile([x[i : i + 8] for i in range(0, 40, 8)], scale=max(1, 128 // x.shape[1]))


class _PathMean(nn.Module):
    """The running mean of path lengths, kept in the checkpoint."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
