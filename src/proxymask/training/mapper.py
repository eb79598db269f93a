"""Step of the mapper stage (supplement A.2): first L_recon to the samples' own proxy masks, then L_adv too, through the frozen networks.

Beyond the paper, L_label: a picture made from a mask in another sample's style has to show the labels of that mask, as the auxiliary
segmenter finds them (``auxiliary.py``).

Shapes: B samples, H x W pixels, h x w positions at the cut, K clusters.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Annotated, Literal

import torch
from PIL import Image
from torch import nn

from ..core.checks import Channels, Checked, Range, Rate, Share, Weight, Width
from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.logits_to_proxy_mask import ProxyMaskMode, logits_to_proxy_mask
from ..models.mappers import Mapper
from ..models.oasis_mapper import Resize, has_label_prior
from . import losses
from .adversarial import R1_EVERY, Pictures, discriminator_update, r1_weight, real_pictures, stylegan_adam
from .auxiliary import AuxiliaryStage
from .label_prior import LabelPrior, encode_styles
from .loop import Run, set_cosine_rate
from .pair_cache import PairShards
from .pairs import MaskPairs, Pairs, PairSource, RealPairs
from .parts import Frozen


@dataclasses.dataclass(frozen=True)
class MapperConfig(Checked):
    """Widths and training recipe of the mapper for masks; the recipe is also that of other conditions (supplement A.1, A.2)."""

    widths: Annotated[Sequence[int], Range(1, 2**16, filled=True)] = (1024, 1024, 1024, 512, 256)
    """Channels at the start and after each SPADE block; every block but the last doubles the size (A.1: OASIS)."""
    hidden: Width = 128
    """Channels inside SPADE (OASIS: 128)."""
    tail: Annotated[int, Range(1, 99, kind="odd")] = 3
    """Kernel size of the last convolution, odd (OASIS: 3)."""
    resize: Resize = "area"
    """How masks are brought to the size of a block. nearest: as OASIS does. area: a cell keeps the share that a thin part covers."""
    learning_rate: Rate = 0.002
    """Adam's learning rate of the mapper (A.2: 0.002)."""
    discriminator_lr_multiplier: Weight = 1.0
    """Learning rate of the discriminator, as a multiple of learning_rate (A.2: 1)."""
    lambda_recon: Weight = 10.0
    """Weight of L_recon, the cross-entropy to the sample's proxy mask, in the first phase (A.2: 10)."""
    lambda_recon_adv: Weight = 100.0
    """Weight of L_recon in the second phase, with L_adv (A.2: 100)."""
    lambda_adv: Weight = 1.0
    """Weight of L_adv (A.2: 1). 0: no such loss, and no second phase."""
    adv_phase: Share = 0.0909
    """Share of the steps, at the end, with L_adv (A.2: 10k of 110k)."""
    proxy_mask_mode: ProxyMaskMode = "hard"
    """How logits become the proxy mask that the rearranger gets. hard: the likeliest cluster. soft: probabilities. style-prior: the
    likeliest one given the style (beyond the paper)."""
    label_prior: bool = False
    """Weigh clusters by how often the style has them under each label of the mask, so that the mapper learns the rest alone. For masks,
    with style-prior (beyond the paper)."""
    momentum: Annotated[float, Range(0, 1, below=True)] = 0.0
    """First beta of Adam, of the mapper (StyleGAN2: 0)."""
    cosine_decay: bool = False
    """The mapper's learning rate falls to 0 over the steps, as a cosine (beyond the paper)."""
    lambda_label: Weight = 0.0
    """Weight of L_label: the painted picture has to show the labels of the mask. 0: no such loss (beyond the paper)."""
    label_phase: Share = 0.5
    """Share of the steps, at the end, with L_label. In those before, the auxiliary segmenter learns."""
    flip: bool = True
    """Mirror half of the pairs (beyond the paper). Not where labels have sides, as left_eye and right_eye."""
    r1_gamma: Weight = 10.0
    """gamma of R1 (A.2: 10)."""


@dataclasses.dataclass(frozen=True)
class ConditionConfig(Checked):
    """What is different for conditions other than masks: the U-Net mapper (supplement A.1) and how its pairs are made."""

    unet_base: Annotated[int, Range(0, 2**24)] = 16384
    """Channels of the U-Net at a resolution r: unet_base / r, at most unet_max. 0: the discriminator's own (A.1)."""
    unet_max: Channels = 512
    """Upper limit of the U-Net's channels at any resolution. 0: the discriminator's own (A.1)."""
    unet_space_to_depth: Annotated[int, Range(1, 2**10, kind="power of two")] = 1
    """Pixels a side of the condition that become channels before the encoder, a power of two. 1: none (A.1)."""
    unet_start: Literal["fresh", "discriminator"] = "fresh"
    """Start of the encoder: new weights, or those of the discriminator, which needs its widths."""
    unet_lr_multiplier: Weight = 1.0
    """Learning rate of the U-Net, as a multiple of learning_rate (A.2: 1)."""
    unet_logit_adjustment: Annotated[float, Range(0, 100)] = 0.0
    """Power of a cluster's rarity by which it becomes likelier (Menon et al. 2021). 0: off (beyond the paper)."""
    unet_recolor: Share = 0.0
    """Share of the generated pictures, 0 to 1, whose colours are changed before lines are drawn from them (beyond the paper)."""
    unet_clean_share: Share = 0.25
    """Share of the pairs, 0 to 1, whose condition stays as the extractor made it. The others are augmented (beyond the paper)."""


@dataclasses.dataclass(frozen=True)
class MapperBatch:
    """The samples of one step, or of one microbatch of it."""

    pairs: Pairs
    """What the mapper reads and learns."""
    w: torch.Tensor
    """(B, w_dim) of the styles in which pictures are made for L_adv and L_label."""


class MapperStage:
    """The mapper on pairs (label mask or other condition, proxy mask) of generated pictures, and the discriminator of L_adv.

    Args:
        frozen: what makes a picture of a proxy mask and a style.
        discriminator: trained along where there is L_adv; not used, and not saved, where ``lambda_adv`` is 0.
        source: makes the pairs.
        pictures: real pictures for L_adv; None: samples of the frozen generator are the real ones.
        steps: length of the schedule.
        unet: recipe of a U-Net mapper, for conditions other than masks.
        auxiliary: the auxiliary segmenter; None: no L_label.
    """

    name = "mapper"
    averaged = ("mapper",)
    r1_every = R1_EVERY

    def __init__(
        self,
        frozen: Frozen,
        mapper: Mapper,
        discriminator: Discriminator | None,
        source: PairSource,
        pictures: Pictures | None,
        config: MapperConfig,
        steps: int,
        unet: ConditionConfig | None = None,
        auxiliary: AuxiliaryStage | None = None,
    ) -> None:
        self.frozen, self.split, self.clusters, self.rearranger = frozen, frozen.split, frozen.clusters, frozen.rearranger
        self.mapper = mapper.requires_grad_(True).train()
        self.source, self.pictures, self.config = source, pictures, config
        self.shards: PairShards | None = None
        """Where pairs are read from instead of being made; to be filled before the first step."""
        self.real: RealPairs | None = None
        """Makes a share of every batch of real pictures."""
        self.unet, self.steps = unet or ConditionConfig(), steps
        self.rate = config.learning_rate * self.unet.unet_lr_multiplier
        self.adjustment = self.unet.unet_logit_adjustment * self.clusters.shares().log()
        self.adversarial_from = round(steps * (1 - config.adv_phase)) if config.lambda_adv else steps
        self.modules: dict[str, nn.Module] = {"mapper": mapper}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"mapper": stylegan_adam(mapper.parameters(), self.rate, config.momentum)}
        self.discriminator = discriminator if config.lambda_adv else None
        if self.discriminator is not None:
            self.modules["discriminator"] = self.discriminator.requires_grad_(True).train()
            rate = config.learning_rate * config.discriminator_lr_multiplier
            self.optimizers["discriminator"] = stylegan_adam(self.discriminator.parameters(), rate)
        self.prior = LabelPrior(mapper, source.labeler) if isinstance(source, MaskPairs) and has_label_prior(mapper) else None
        self.auxiliary, self.label_from = auxiliary, steps
        if auxiliary is not None:
            self.label_from = auxiliary.steps
            self.modules |= auxiliary.modules
            self.optimizers |= auxiliary.optimizers

    # The schedule (supplement A.2).

    def adversarial_due(self, index: int) -> bool:
        """Whether step ``index`` takes L_adv: all of the second phase."""
        return index >= self.adversarial_from

    def r1_due(self, index: int) -> bool:
        """Whether the discriminator step of training step ``index`` takes R1."""
        return (index - self.adversarial_from) % self.r1_every == 0

    def label_due(self, index: int) -> bool:
        """Whether step ``index`` takes L_label."""
        return self.auxiliary is not None and index >= self.label_from

    def step_kind(self, index: int) -> Hashable:
        due = self.adversarial_due(index)
        return index >= self.label_from, due, due and self.r1_due(index)

    # The samples of a step.

    @torch.no_grad()
    def pairs(self, run: Run, purpose: str) -> Pairs:
        """This process' part of a batch of pairs: made or read, partly of real pictures, mirrored and augmented."""
        mirrored = run.local_shard(torch.rand(run.config.batch, generator=run.rng(purpose + "/flip")) < 0.5)
        count = len(mirrored)
        of_real = max(1, round(count * self.real.share)) if self.real is not None else 0
        parts: list[Pairs] = []
        if count > of_real:
            parts.append(self._generated(run, purpose, count - of_real))
        if self.real is not None:
            index = torch.randint(len(self.real.pictures), (run.config.batch,), generator=run.rng(purpose + "/real"))
            mine = index[run.rank * count : run.rank * count + of_real]
            with run.autocast():
                parts.append(self.real(mine, run.rng(f"{purpose}/real/{run.rank}"), run.device))
        pairs = Pairs(*(torch.cat(both) for both in zip(*parts, strict=True)))
        if self.config.flip:
            pairs = Pairs(*(_choose(mirrored, x.flip(-1), x) for x in pairs))
        rng = run.rng(f"{purpose}/augment/{run.rank}")
        augmented = self.source.augment(pairs.given, rng)
        clean = torch.rand(count, generator=rng) < self.unet.unet_clean_share
        return pairs._replace(given=_choose(clean, pairs.given, augmented))

    def _generated(self, run: Run, purpose: str, count: int) -> Pairs:
        """``count`` pairs of generated pictures."""
        if self.shards is not None:
            return Pairs(*(run.local_shard(x)[:count] for x in self.shards.pairs(run.index, run.config.batch)))
        z = run.local_shard(torch.randn(run.config.batch, self.split.generator.z_dim, generator=run.rng(purpose)))
        with run.autocast():
            return self.source(self.split.w(z[:count]), run.rng(f"{purpose}/made/{run.rank}"))

    # One step.

    def step(self, run: Run) -> None:
        self.frozen.to(run.device)
        self.adjustment = self.adjustment.to(run.device)
        if self.config.cosine_decay:
            set_cosine_rate(self.optimizers["mapper"], self.rate, run.index, self.steps)
        pairs = self.pairs(run, "pairs")
        if self.prior is not None:
            self.prior.mapper.count(pairs.proxy, pairs.labels)
        if self.auxiliary is not None:
            self.auxiliary.before_step(run)
        w = self.split.w(run.local_shard(torch.randn(run.config.batch, self.split.generator.z_dim, generator=run.rng("style"))))
        fakes: list[torch.Tensor] = []
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)

        def terms() -> Iterator[torch.Tensor]:
            for part in run.microbatches_of(MapperBatch(pairs, w)):
                loss, picture = self.loss(run, part)
                if picture is not None:
                    fakes.append(picture.detach())
                yield loss

        run.update("mapper", terms)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True)
        if self.adversarial_due(run.index):
            assert self.discriminator is not None
            penalty = r1_weight(self.config.r1_gamma, self.r1_every, self.r1_due(run.index))
            discriminator_update(
                run, self.discriminator, real_pictures(run, self.pictures, self.split.generator), torch.cat(fakes), penalty
            )

    def loss(self, run: Run, batch: MapperBatch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The weighted sum of all losses, and the pictures (B, C, H, W) for L_adv or L_label if one of them is due."""
        c, (given, proxy, labels) = self.config, batch.pairs
        adversarial, picture = self.adversarial_due(run.index), None
        with run.autocast():
            logits = self.mapper(given)
        loss = (c.lambda_recon_adv if adversarial else c.lambda_recon) * self.recon_loss(run, self.in_own_style(logits, batch.pairs), proxy)
        if adversarial or self.label_due(run.index):
            with run.autocast():
                picture = self.render(logits, given, batch.w)
        if self.label_due(run.index):
            assert self.auxiliary is not None
            assert picture is not None
            label = self.auxiliary.loss(run, picture, labels)
            run.log("loss/label", label)
            loss = loss + c.lambda_label * label
        if adversarial:
            assert self.discriminator is not None
            assert picture is not None
            with run.autocast():
                adv = losses.adversarial_g(self.discriminator(picture))
            run.log("loss/adv", adv)
            loss = loss + c.lambda_adv * adv
        return loss, picture

    def recon_loss(self, run: Run, logits: torch.Tensor, proxy: torch.Tensor) -> torch.Tensor:
        """L_recon (supplement A.2)."""
        recon = losses.reconstruction(logits, proxy, self.adjustment)
        run.log("loss/recon", recon)
        run.log("loss/accuracy", ((logits + self.adjustment[:, None, None]).argmax(dim=1) == proxy).float().mean())
        return recon

    def in_own_style(self, logits: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """The logits (B, K, h, w) given the style of the samples themselves, if the mapper has a label prior."""
        return logits if self.prior is None else logits.float() + self.prior.of(pairs.proxy, pairs.labels, pairs.given)

    def render(self, logits: torch.Tensor, given: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Pictures (B, C, H, W) of the mapper's logits (B, K, h, w) of what was ``given``, in the styles ``w`` (B, w_dim); gradients reach
        the logits alone."""
        with torch.no_grad():
            style, prior = encode_styles(self.frozen, self.prior, w, given)
        proxy = logits_to_proxy_mask(logits, self.config.proxy_mask_mode, prior)
        return self.split.render(self.rearranger.attend(self.rearranger.encode_mask(proxy), style), w)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: generated pictures, condition (every other one augmented), proxy masks, the mapper's, and pictures in other styles."""
        average = run.averages["mapper"]
        z = torch.randn(10, self.split.generator.z_dim, generator=torch.Generator().manual_seed(2)).to(run.device)
        w = self.split.w(z)
        with run.autocast():
            given, proxy, _ = self.source(w, torch.Generator().manual_seed(2))
        augmented = self.source.augment(given, torch.Generator().manual_seed(2))
        given = _choose(torch.arange(len(given)) % 2 == 1, augmented, given)
        with run.autocast():
            logits = average(given)
            rendered = self.render(logits.roll(-1, dims=0), given.roll(-1, dims=0), w)
            rows = [to_uint8(self.split.render(self.split.features(w), w))]
            size = rows[0].shape[2]
            rows.append(self.source.show(given))
            for mask in (proxy, logits.argmax(dim=1)):
                rows.append(self.clusters.colorize(mask).repeat(size // mask.shape[-1], axis=1).repeat(size // mask.shape[-1], axis=2))
            rows.append(to_uint8(rendered))
        return tile(rows, scale=max(1, 128 // size))


def _choose(flags: torch.Tensor, chosen: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``chosen`` (B, ...) where ``flags`` (B,) is true, else ``other``."""
    return torch.where(flags.view(-1, *[1] * (chosen.ndim - 1)).to(chosen.device), chosen, other)
