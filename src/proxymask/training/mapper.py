"""Stage 4: the semantic mapper (supplement A.1-A.2): L_recon to the sample's own proxy mask, then L_adv through the frozen rest."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from PIL import Image
from torch import nn

from .. import losses
from ..conditions.base import Condition
from ..errors import ProxymaskError
from ..generators.cut import CutGenerator
from ..generators.stylegan2 import Discriminator
from ..mappers import Mapper
from ..mappers.handover import Handover, handover
from ..mappers.oasis import Resize
from ..proxy.proxy_mask import ProxyClusters
from ..rearranger import Rearranger
from .generator import Pictures, discriminator_update, lazy_adam, real_pictures
from .grids import tile, to_uint8
from .loop import Run, anneal
from .pairs import PairShards, RealPairs

Labeller = Callable[[torch.Tensor], torch.Tensor]
"""w (B, w_dim) -> label ids (B, H, W) of the generated pictures."""


@dataclasses.dataclass(frozen=True)
class MapperConfig:
    """The mapper's widths and recipe."""

    widths: Sequence[int] = (1024, 1024, 1024, 512, 256)
    """Channels at the start and after each SPADE block."""
    hidden: int = 128
    """Width inside SPADE."""
    resize: Resize = "area"
    """How masks are brought to a block's size."""
    learning_rate: float = 0.002
    """Adam, mapper and discriminator."""
    lambda_recon: float = 10.0
    """Weight of L_recon in the first phase ..."""
    lambda_recon_adv: float = 100.0
    """... and in the second, beside L_adv."""
    lambda_adv: float = 1.0
    """Weight of L_adv."""
    adv_last: float = 0.0909
    """Share of the steps, at the end, with L_adv (the paper: 10k of 110k)."""
    handover: Handover = "likely"
    """What the rearranger gets of the mapper's output: see mappers/handover.py."""
    flip: bool = True
    """Mirror half of the pairs."""
    r1_gamma: float = 10.0
    """Weight of R1."""
    r1_every: int = 16
    """Discriminator steps between R1 terms."""


@dataclasses.dataclass(frozen=True)
class ConditionConfig:
    """The U-Net mapper's widths, for conditions other than masks; the rest of the recipe is the mapper's."""

    unet_base: int = 16384
    """Widths of the U-Net: this over the resolution ..."""
    unet_max: int = 512
    """... and at most this; as StyleGAN2's discriminator."""
    unet_fold: int = 1
    """Pixels a side of the condition that are put into channels first (fewer where the proxy mask is nearly as large): a power of two."""
    unet_start: Literal["fresh", "discriminator"] = "fresh"
    """Start of its encoder: new weights, or the discriminator's (widths must be the same)."""
    unet_rate: float = 1.0
    """Its learning rate, times learning_rate."""
    unet_momentum: float = 0.0
    """Adam's first beta."""
    unet_settle: bool = False
    """Let its rate fall to nothing over the steps, as a cosine."""
    unet_balance: float = 0.0
    """Power of a cluster's rarity by which it comes out likelier (losses.reconstruction): a drawing's eye, of which the mapper is never
    sure, is then still asked for."""
    unet_recolour: float = 0.0
    """Share of the generated pictures that are recoloured before lines are drawn from them (disturb.recolour), so that the mapper does not
    learn to read colours off the lines, against the style's; of conditions in lines only."""
    unet_clean: float = 0.25
    """Share of the pairs whose condition is left as the extractor made it; the others are disturbed."""


class ConditionSource:
    """Pairs for a condition: of generated pictures, the condition by its extractor and the proxy mask (supplement E).

    One pass through the generator gives features, picture and, by the segmenter, labels.
    """

    def __init__(
        self,
        cut: CutGenerator,
        clusters: ProxyClusters,
        condition: Condition,
        segmenter: nn.Module | None = None,
        recolour: float = 0.0,
    ) -> None:
        """``segmenter``: the few-shot segmenter, for conditions that are made of labels; ``recolour``: share of the pictures that get
        other colours before a colourless condition is made of them."""
        if condition.needs_labels and segmenter is None:
            raise ProxymaskError(f"a {condition.name} is made of labels: give --segmenter")
        self.cut, self.clusters, self.condition, self.segmenter, self.recolour = cut, clusters, condition, segmenter, recolour

    @torch.no_grad()
    def __call__(self, w: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """w (B, w_dim) -> planes (B, C, H, W), undisturbed, and proxy masks (B, h, w)."""
        levels, pictures = self.cut.pyramid(w)
        proxy = self.clusters.assign(levels[self.cut.generator.synthesis.block_resolutions.index(self.cut.resolution)])
        labels = None
        if self.condition.needs_labels and self.segmenter is not None:
            labels = self.segmenter([level.float() for level in levels]).float().argmax(dim=1)
        colours = pictures.float().clamp(-1, 1)
        if colours.shape[1] != 3:  # grey, with alpha or without, or colours with alpha
            colours = colours[:, :3] if colours.shape[1] > 3 else colours[:, :1].expand(-1, 3, -1, -1)
        return self.condition.extract(self.condition.recoloured(colours, self.recolour, rng), labels, rng).to(w.device), proxy


class MapperStage:
    """The mapper on pairs (label mask or other condition, proxy mask) of generated pictures, made on the fly or read from shards."""

    name = "mapper"
    averaged = ("mapper",)

    def __init__(
        self,
        cut: CutGenerator,
        clusters: ProxyClusters,
        rearranger: Rearranger,
        mapper: Mapper,
        discriminator: Discriminator,
        labeller: Labeller | ConditionSource,
        pictures: Pictures | None,
        config: MapperConfig,
        steps: int,
        colors: torch.Tensor | None = None,
        unet: ConditionConfig | None = None,
    ) -> None:
        """``labeller``: the few-shot segmenter, or what makes pairs of another condition; ``pictures``: as for the rearranger;
        ``colors``: the labels', (N, 3), for the grid; ``unet``: the recipe of another condition's mapper."""
        self.cut, self.clusters, self.rearranger = cut.eval(), clusters.eval(), rearranger.eval()
        for module in (cut, clusters, rearranger):
            module.requires_grad_(False)
        self.mapper, self.discriminator = mapper.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.labeller, self.pictures, self.config, self.colors = labeller, pictures, config, colors
        self.shards: PairShards | None = None
        """Where pairs are read from instead of being made; to be filled before the first step."""
        self.real: RealPairs | None = None
        """What makes a share of every batch of real pictures."""
        self.unet, self.steps = unet or ConditionConfig(), steps
        self.rate = config.learning_rate * self.unet.unet_rate
        self.tilt = self.unet.unet_balance * clusters.shares().log()
        self.adversarial_from = round(steps * (1 - config.adv_last)) if config.lambda_adv else steps
        self.modules: dict[str, nn.Module] = {"mapper": mapper, "discriminator": discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "mapper": lazy_adam(mapper.parameters(), self.rate, 0, self.unet.unet_momentum),
            "discriminator": lazy_adam(discriminator.parameters(), config.learning_rate, config.r1_every),
        }

    @torch.no_grad()
    def pairs(self, run: Run, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Label masks (B, H, W), or disturbed planes (B, C, H, W), and proxy masks (B, h, w) of this process' share of a batch."""
        mirrored = run.share(torch.rand(run.config.batch, generator=run.rng(purpose + "/flip")) < 0.5)[:, None, None]
        count = len(mirrored)
        made = count - (max(1, round(count * self.real.share)) if self.real is not None else 0)
        parts = []
        if made:
            if self.shards is not None:
                parts.append(tuple(run.share(x)[:made] for x in self.shards.pairs(run.index, run.config.batch)))
            else:
                z = run.share(torch.randn(run.config.batch, self.cut.generator.z_dim, generator=run.rng(purpose)))
                parts.append(self._pair(run, self.cut.w(z[:made]), run.rng(f"{purpose}/made/{run.rank}")))
        if self.real is not None:
            index = torch.randint(len(self.real.pictures), (run.config.batch,), generator=run.rng(purpose + "/real"))
            mine = index[run.rank * count : run.rank * count + count - made]
            with run.cast():
                parts.append(self.real(mine, run.rng(f"{purpose}/real/{run.rank}"), run.device))
        given, proxy = (torch.cat(both) for both in zip(*parts, strict=True))
        if self.config.flip:
            turned = mirrored if given.ndim == 3 else mirrored[:, None]
            given, proxy = torch.where(turned, given.flip(-1), given), torch.where(mirrored, proxy.flip(2), proxy)
        if isinstance(self.labeller, ConditionSource):
            rng = run.rng(f"{purpose}/augment/{run.rank}")
            disturbed = self.labeller.condition.augment(given, rng)
            clean = (torch.rand(len(given), 1, 1, 1, generator=rng) < self.unet.unet_clean).to(given.device)
            given = torch.where(clean, given, disturbed)
        return given, proxy

    def _pair(self, run: Run, w: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        with run.cast():
            return self.make(w, rng)

    @torch.no_grad()
    def make(self, w: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """w (B, w_dim) -> label masks (B, R, R) or undisturbed planes (B, C, R, R), and proxy masks (B, r, r)."""
        if isinstance(self.labeller, ConditionSource):
            return self.labeller(w, rng)
        return self.labeller(w), self.clusters.assign(self.cut.features(w).features)

    def step(self, run: Run) -> None:
        c = self.config
        for module in (self.cut, self.clusters, self.rearranger):
            module.to(run.device)
        if self.unet.unet_settle:
            anneal(self.optimizers["mapper"], self.rate, run.index, self.steps)
        tilt = self.tilt.to(run.device)
        labels, proxy = self.pairs(run, "pairs")
        adversarial = run.index >= self.adversarial_from
        weight = c.lambda_recon_adv if adversarial else c.lambda_recon
        w = self.cut.w(run.share(torch.randn(run.config.batch, self.cut.generator.z_dim, generator=run.rng("style"))))
        self.discriminator.requires_grad_(False)
        fakes: list[torch.Tensor] = []

        def terms() -> Iterator[torch.Tensor]:
            for labels_, proxy_, w_ in run.rounds(labels, proxy, w):
                with run.cast():
                    logits = self.mapper(labels_)
                recon = losses.reconstruction(logits, proxy_, tilt)
                run.log("loss/recon", recon)
                run.log("loss/accuracy", ((logits + tilt[:, None, None]).argmax(dim=1) == proxy_).float().mean())
                loss = weight * recon
                if adversarial:
                    with run.cast():
                        state = self.cut.features(w_)
                        style = self.rearranger.encode_style(state, self.clusters.assign(state.features))
                        asked = self.rearranger.encode_mask(
                            handover(logits, c.handover, self.clusters.available(style.counts), self.clusters.prior(style.amount))
                        )
                        fake = self.cut.render(self.rearranger.attend(asked, style), w_)
                        adv = losses.adversarial_g(self.discriminator(fake))
                    fakes.append(fake.detach())
                    run.log("loss/adv", adv)
                    loss = loss + c.lambda_adv * adv
                yield loss

        run.update("mapper", terms)
        self.discriminator.requires_grad_(True)
        if adversarial:
            due = (run.index - self.adversarial_from) % c.r1_every == 0
            penalty = c.r1_gamma / 2 * c.r1_every if due else 0.0
            discriminator_update(run, self.discriminator, real_pictures(run, self.pictures, self.cut.generator), torch.cat(fakes), penalty)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: generated pictures, labels or other condition, proxy masks, the mapper's, and pictures from those in other styles."""
        average = run.averages["mapper"]
        z = torch.randn(10, self.cut.generator.z_dim, generator=torch.Generator().manual_seed(2)).to(run.device)
        w = self.cut.w(z)
        given, proxy = self._pair(run, w, torch.Generator().manual_seed(2))
        if isinstance(self.labeller, ConditionSource):  # every other one disturbed, to see what the mapper learns from
            disturbed = self.labeller.condition.augment(given, torch.Generator().manual_seed(2))
            given = torch.where((torch.arange(len(given)) % 2 == 1)[:, None, None, None].to(given.device), disturbed, given)
        with run.cast():
            state = self.cut.features(w)
            logits = average(given)
            style = self.rearranger.encode_style(state, self.clusters.assign(state.features))
            asked = handover(
                logits.roll(-1, dims=0), self.config.handover, self.clusters.available(style.counts), self.clusters.prior(style.amount)
            )
            moved = self.rearranger.attend(self.rearranger.encode_mask(asked), style)
            rows = [to_uint8(self.cut.render(state, w))]
            size = rows[0].shape[2]
            if isinstance(self.labeller, ConditionSource):
                rows.append(self.labeller.condition.show(given))
            elif self.colors is not None:
                rows.append(self.colors[given.cpu()].numpy())
            for mask in (proxy, logits.argmax(dim=1)):
                rows.append(self.clusters.colorize(mask).repeat(size // mask.shape[-1], axis=1).repeat(size // mask.shape[-1], axis=2))
            rows.append(to_uint8(self.cut.render(moved, w)))
        return tile(rows, scale=max(1, 128 // size))


def segmenter_labeller(cut: CutGenerator, segmenter: nn.Module) -> Labeller:
    """The few-shot segmenter as a :data:`Labeller`."""

    def label(w: torch.Tensor) -> torch.Tensor:
        levels, _ = cut.pyramid(w)
        return segmenter([level.float() for level in levels]).float().argmax(dim=1)

    return label
