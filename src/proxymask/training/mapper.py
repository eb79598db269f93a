"""Stage 4: the semantic mapper (supplement A.1-A.2): L_recon to the sample's own proxy mask, then L_adv through the frozen rest.

Beyond the paper, L_label: what is painted, in another style, has to show the mask. A small network reads it off the picture; it
learns in the steps before, from the generator's pictures and the few-shot segmenter's labels.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from PIL import Image
from torch import nn

from ..conditions.base import Condition
from ..core.device import autocast
from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng
from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.logits_to_proxy_mask import ProxyMaskMode, logits_to_proxy_mask
from ..models.mappers import Mapper
from ..models.oasis_mapper import Resize
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.segmentation_nets import UNetSegmenter
from ..models.split_generator import SplitGenerator
from . import losses
from .generator import R1_EVERY, Pictures, discriminator_update, lazy_adam, real_pictures
from .loop import Run, set_cosine_rate
from .pairs import CHUNK, Pairs, PairShards, RealPairs, unknown
from .segmentation import SegmentationConfig, SegmentationStage, plain_format

COUNTED = 256  # labelled samples from which the frequencies of labels are taken
# the network that reads labels off pictures for L_label: its width, the pictures that it sees a step, and of how many of the generator's
# samples, labelled by the few-shot segmenter; classes weigh as frequency to the minus LABEL_BALANCE, so that small parts count
AUXILIARY_WIDTH, AUXILIARY_BATCH, AUXILIARY_SAMPLES, LABEL_BALANCE = 16, 32, 3000, 0.25


@dataclasses.dataclass(frozen=True)
class MapperConfig:
    """Widths and training recipe of the mapper for masks; the recipe is also that of other conditions (supplement A.1, A.2)."""

    widths: Sequence[int] = (1024, 1024, 1024, 512, 256)
    """Channels at the start and after each SPADE block; every block but the last doubles the size (A.1: OASIS)."""
    hidden: int = 128
    """Channels inside SPADE (OASIS: 128)."""
    tail: int = 3
    """Kernel size of the last convolution, odd (OASIS: 3)."""
    resize: Resize = "area"
    """How masks are brought to the size of a block. nearest: as OASIS does. area: a cell keeps the share that a thin part covers."""
    learning_rate: float = 0.002
    """Adam's learning rate of the mapper (A.2: 0.002)."""
    discriminator_lr_multiplier: float = 1.0
    """Learning rate of the discriminator, as a multiple of learning_rate (A.2: 1)."""
    lambda_recon: float = 10.0
    """Weight of L_recon, the cross-entropy to the sample's proxy mask, in the first phase (A.2: 10)."""
    lambda_recon_adv: float = 100.0
    """Weight of L_recon in the second phase, with L_adv (A.2: 100)."""
    lambda_adv: float = 1.0
    """Weight of L_adv (A.2: 1)."""
    adv_phase: float = 0.0909
    """Share of the steps, at the end, with L_adv (A.2: 10k of 110k)."""
    proxy_mask_mode: ProxyMaskMode = "hard"
    """How logits become the proxy mask that the rearranger gets. hard: the likeliest cluster. soft: probabilities. style-prior: the
    likeliest one given the style (beyond the paper)."""
    momentum: float = 0.0
    """First beta of Adam, of the mapper (StyleGAN2: 0)."""
    cosine_decay: bool = False
    """The mapper's learning rate falls to 0 over the steps, as a cosine (beyond the paper)."""
    lambda_label: float = 0.0
    """Weight of L_label: the painted picture has to show the labels of the mask. 0: no such loss (beyond the paper)."""
    label_phase: float = 0.5
    """Share of the steps, at the end, with L_label. In those before, the auxiliary segmenter learns."""
    flip: bool = True
    """Mirror half of the pairs (beyond the paper)."""
    r1_gamma: float = 10.0
    """gamma of R1 (A.2: 10)."""


@dataclasses.dataclass(frozen=True)
class ConditionConfig:
    """What is different for conditions other than masks: the U-Net mapper (supplement A.1) and how its pairs are made."""

    unet_base: int = 16384
    """Channels of the U-Net at a resolution r: unet_base / r, at most unet_max. 0: the discriminator's own (A.1)."""
    unet_max: int = 512
    """Most channels of the U-Net at any resolution. 0: the discriminator's own (A.1)."""
    unet_space_to_depth: int = 1
    """Pixels a side of the condition that become channels before the encoder, a power of two. 1: none (A.1)."""
    unet_start: Literal["fresh", "discriminator"] = "fresh"
    """Start of the encoder: new weights, or those of the discriminator, which needs its widths."""
    unet_lr_multiplier: float = 1.0
    """Learning rate of the U-Net, as a multiple of learning_rate (A.2: 1)."""
    unet_logit_adjustment: float = 0.0
    """Power of a cluster's rarity by which it becomes likelier (Menon et al. 2021). 0: off (beyond the paper)."""
    unet_recolor: float = 0.0
    """Share of the generated pictures, 0 to 1, whose colours are changed before lines are drawn from them (beyond the paper)."""
    unet_clean_share: float = 0.25
    """Share of the pairs, 0 to 1, whose condition stays as the extractor made it. The others are disturbed (beyond the paper)."""


class SegmenterLabeler:
    """The few-shot segmenter on generated samples."""

    def __init__(self, cut: SplitGenerator, segmenter: nn.Module) -> None:
        self.cut, self.segmenter = cut, segmenter

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) -> label ids (B, H, W)."""
        return self.shown(w)[0]

    def shown(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """w (B, w_dim) -> label ids (B, H, W), and the pictures (B, 3, H, W) in [-1, 1] that they belong to."""
        levels, pictures = self.cut.feature_pyramid(w)
        return self.read(levels), to_rgb(pictures)

    def read(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features of every block -> label ids (B, H, W)."""
        return self.segmenter([level.float() for level in levels]).float().argmax(dim=1)


class GeneratedImages:
    """The generator's pictures with the few-shot segmenter's labels as a data set (:class:`.segmentation.LabeledImages`).

    They are made when they are first asked for, and kept as what files would hold.
    """

    def __init__(self, labeller: SegmenterLabeler, count: int, seed: int = 0) -> None:
        self.labeller, self.count, self.seed = labeller, count, seed
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self._known = torch.zeros(count, dtype=torch.bool)
        self._pictures = self._masks = torch.empty(0)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Where, and in which precision, those to come are made."""
        self.device, self.dtype = device, dtype

    def __len__(self) -> int:
        return self.count

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Numbers (B,) -> pictures (B, 3, H, W) in [-1, 1], float32, on the CPU."""
        at = self._made(indices)
        return self._pictures[at].float() / 127.5 - 1

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Numbers (B,) -> label ids (B, H, W), int64, on the CPU."""
        at = self._made(indices)
        return self._masks[at].long()

    @torch.no_grad()
    def _made(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        wanted = torch.as_tensor(indices)
        missing = wanted[~self._known[wanted]].unique()
        for part in missing.split(CHUNK) if len(missing) else ():
            rngs = [derive_rng(self.seed, "viewer", int(number)) for number in part]
            z = torch.cat([torch.randn(1, self.labeller.cut.generator.z_dim, generator=rng) for rng in rngs])
            with autocast(self.device, self.dtype):
                labels, pictures = self.labeller.shown(self.labeller.cut.w(z.to(self.device)))
            if not self._known.any():
                self._pictures = torch.empty(self.count, *pictures.shape[1:], dtype=torch.uint8)
                self._masks = torch.empty(self.count, *labels.shape[1:], dtype=torch.uint8)
            self._pictures[part] = ((pictures + 1) * 127.5).round().to(torch.uint8).cpu()
            self._masks[part] = labels.to(torch.uint8).cpu()
            self._known[part] = True
        return wanted


class ConditionPairs:
    """Pairs for a condition: of generated pictures, the condition by its extractor and the proxy mask (supplement E).

    One pass through the generator gives features, picture and, by the segmenter, labels.
    """

    def __init__(
        self,
        cut: SplitGenerator,
        clusters: ProxyClusters,
        condition: Condition,
        segmenter: nn.Module | None = None,
        recolour: float = 0.0,
    ) -> None:
        """``segmenter``: the few-shot segmenter, for conditions that are made of labels, and for L_label; ``recolour``: share of the
        pictures that get other colours before a colourless condition is made of them."""
        if condition.needs_labels and segmenter is None:
            raise ProxymaskError(f"a {condition.name} is made of labels: give --segmenter")
        self.cut, self.clusters, self.condition, self.segmenter, self.recolour = cut, clusters, condition, segmenter, recolour

    @torch.no_grad()
    def __call__(self, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        """Pairs of the samples w (B, w_dim), undisturbed."""
        levels, pictures = self.cut.feature_pyramid(w)
        proxy = self.clusters.assign(features_at_split(self.cut, levels))
        colours = self.condition.random_recolour(to_rgb(pictures), self.recolour, rng)
        labels = None if self.segmenter is None else self.segmenter([level.float() for level in levels]).float().argmax(dim=1)
        planes = self.condition.extract(colours, labels if self.condition.needs_labels else None, rng).to(w.device)
        return Pairs(planes, proxy, unknown(pictures) if labels is None else labels)


class MapperStage:
    """The mapper on pairs (label mask or other condition, proxy mask) of generated pictures, made on the fly or read from shards."""

    name = "mapper"
    averaged = ("mapper",)
    r1_every = R1_EVERY

    def __init__(
        self,
        cut: SplitGenerator,
        clusters: ProxyClusters,
        rearranger: Rearranger,
        mapper: Mapper,
        discriminator: Discriminator,
        labeller: SegmenterLabeler | ConditionPairs,
        pictures: Pictures | None,
        config: MapperConfig,
        steps: int,
        colors: torch.Tensor | None = None,
        unet: ConditionConfig | None = None,
        auxiliary: SegmentationStage | None = None,
    ) -> None:
        """``labeller``: the few-shot segmenter, or what makes pairs of another condition; ``pictures``: as for the rearranger;
        ``colors``: the labels', (N, 3), for the grid; ``unet``: the recipe of another condition's mapper; ``viewing``: trains, before the
        steps with L_label, what reads labels off pictures; without it there is no L_label."""
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
        self.rate = config.learning_rate * self.unet.unet_lr_multiplier
        self.tilt = self.unet.unet_logit_adjustment * clusters.shares().log()
        self.adversarial_from = round(steps * (1 - config.adv_phase)) if config.lambda_adv else steps
        self.modules: dict[str, nn.Module] = {"mapper": mapper, "discriminator": discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "mapper": lazy_adam(mapper.parameters(), self.rate, 0, config.momentum),
            "discriminator": lazy_adam(
                discriminator.parameters(), config.learning_rate * config.discriminator_lr_multiplier, self.r1_every
            ),
        }
        self.auxiliary, self.label_from = auxiliary, steps
        if auxiliary is not None:
            self.label_from = auxiliary.steps
            self.modules |= auxiliary.modules
            self.optimizers |= auxiliary.optimizers

    @torch.no_grad()
    def pairs(self, run: Run, purpose: str) -> Pairs:
        """This process' share of a batch, with planes disturbed."""
        mirrored = run.local_shard(torch.rand(run.config.batch, generator=run.rng(purpose + "/flip")) < 0.5)[:, None, None]
        count = len(mirrored)
        made = count - (max(1, round(count * self.real.share)) if self.real is not None else 0)
        parts: list[Pairs] = []
        if made:
            if self.shards is not None:
                parts.append(Pairs(*(run.local_shard(x)[:made] for x in self.shards.pairs(run.index, run.config.batch))))
            else:
                z = run.local_shard(torch.randn(run.config.batch, self.cut.generator.z_dim, generator=run.rng(purpose)))
                parts.append(self._pair(run, self.cut.w(z[:made]), run.rng(f"{purpose}/made/{run.rank}")))
        if self.real is not None:
            index = torch.randint(len(self.real.pictures), (run.config.batch,), generator=run.rng(purpose + "/real"))
            mine = index[run.rank * count : run.rank * count + count - made]
            with run.autocast():
                parts.append(self.real(mine, run.rng(f"{purpose}/real/{run.rank}"), run.device))
        given, proxy, labels = (torch.cat(both) for both in zip(*parts, strict=True))
        if self.config.flip:
            turned = mirrored if given.ndim == 3 else mirrored[:, None]
            given = torch.where(turned, given.flip(-1), given)
            proxy, labels = torch.where(mirrored, proxy.flip(2), proxy), torch.where(mirrored, labels.flip(2), labels)
        if isinstance(self.labeller, ConditionPairs):
            rng = run.rng(f"{purpose}/augment/{run.rank}")
            disturbed = self.labeller.condition.augment(given, rng)
            clean = (torch.rand(len(given), 1, 1, 1, generator=rng) < self.unet.unet_clean_share).to(given.device)
            given = torch.where(clean, given, disturbed)
        return Pairs(given, proxy, labels)

    def _pair(self, run: Run, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        with run.autocast():
            return self.make(w, rng)

    @torch.no_grad()
    def make(self, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        """Pairs of the samples w (B, w_dim), undisturbed."""
        if isinstance(self.labeller, ConditionPairs):
            return self.labeller(w, rng)
        levels, _ = self.cut.feature_pyramid(w)
        labels = self.labeller.read(levels)
        return Pairs(labels, self.clusters.assign(features_at_split(self.cut, levels)), labels)

    def step(self, run: Run) -> None:
        c = self.config
        for module in (self.cut, self.clusters, self.rearranger):
            module.to(run.device)
        if c.cosine_decay:
            set_cosine_rate(self.optimizers["mapper"], self.rate, run.index, self.steps)
        tilt = self.tilt.to(run.device)
        given, proxy, asked = self.pairs(run, "pairs")
        adversarial = run.index >= self.adversarial_from
        labelled = self.auxiliary is not None and run.index >= self.label_from
        if self.auxiliary is not None:
            assert isinstance(self.auxiliary.dataset, GeneratedImages)
            self.auxiliary.dataset.to(run.device, run.dtype)
            self.auxiliary.net.requires_grad_(not labelled)
            if labelled:
                plain_format(self.auxiliary.net, run.device)
            else:
                self.auxiliary.step(run)
        weight = c.lambda_recon_adv if adversarial else c.lambda_recon
        w = self.cut.w(run.local_shard(torch.randn(run.config.batch, self.cut.generator.z_dim, generator=run.rng("style"))))
        self.discriminator.requires_grad_(False)
        fakes: list[torch.Tensor] = []

        def terms() -> Iterator[torch.Tensor]:
            for given_, proxy_, asked_, w_ in run.microbatches(given, proxy, asked, w):
                with run.autocast():
                    logits = self.mapper(given_)
                recon = losses.reconstruction(logits, proxy_, tilt)
                run.log("loss/recon", recon)
                run.log("loss/accuracy", ((logits + tilt[:, None, None]).argmax(dim=1) == proxy_).float().mean())
                loss = weight * recon
                if adversarial or labelled:
                    with run.autocast():
                        fake = self.painted(logits, w_)
                if labelled:
                    assert self.auxiliary is not None
                    with run.autocast():
                        read = self.auxiliary.net(to_rgb(fake).contiguous())
                    label = losses.label(read, asked_, self.auxiliary.weight.to(run.device))
                    run.log("loss/label", label)
                    loss = loss + c.lambda_label * label
                if adversarial:
                    with run.autocast():
                        adv = losses.adversarial_g(self.discriminator(fake))
                    fakes.append(fake.detach())
                    run.log("loss/adv", adv)
                    loss = loss + c.lambda_adv * adv
                yield loss

        run.update("mapper", terms)
        self.discriminator.requires_grad_(True)
        if adversarial:
            due = (run.index - self.adversarial_from) % self.r1_every == 0
            penalty = c.r1_gamma / 2 * self.r1_every if due else 0.0
            discriminator_update(run, self.discriminator, real_pictures(run, self.pictures, self.cut.generator), torch.cat(fakes), penalty)

    def painted(self, logits: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Pictures (B, C, H, W) of the mapper's logits in the styles ``w``, through the frozen rest; gradients reach the logits alone."""
        with torch.no_grad():
            state = self.cut.features(w)
            style = self.rearranger.encode_style(state, self.clusters.assign(state.features))
        proxy = logits_to_proxy_mask(logits, self.config.proxy_mask_mode, self.clusters.prior(style.counts))
        return self.cut.render(self.rearranger.attend(self.rearranger.encode_mask(proxy), style), w)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: generated pictures, labels or other condition, proxy masks, the mapper's, and pictures from those in other styles."""
        average = run.averages["mapper"]
        z = torch.randn(10, self.cut.generator.z_dim, generator=torch.Generator().manual_seed(2)).to(run.device)
        w = self.cut.w(z)
        given, proxy, _ = self._pair(run, w, torch.Generator().manual_seed(2))
        if isinstance(self.labeller, ConditionPairs):  # every other one disturbed, to see what the mapper learns from
            disturbed = self.labeller.condition.augment(given, torch.Generator().manual_seed(2))
            given = torch.where((torch.arange(len(given)) % 2 == 1)[:, None, None, None].to(given.device), disturbed, given)
        with run.autocast():
            logits = average(given)
            painted = self.painted(logits.roll(-1, dims=0), w)
            rows = [to_uint8(self.cut.render(self.cut.features(w), w))]
            size = rows[0].shape[2]
            if isinstance(self.labeller, ConditionPairs):
                rows.append(self.labeller.condition.show(given))
            elif self.colors is not None:
                rows.append(self.colors[given.cpu()].numpy())
            for mask in (proxy, logits.argmax(dim=1)):
                rows.append(self.clusters.colorize(mask).repeat(size // mask.shape[-1], axis=1).repeat(size // mask.shape[-1], axis=2))
            rows.append(to_uint8(painted))
        return tile(rows, scale=max(1, 128 // size))


def new_auxiliary_stage(config: MapperConfig, auxiliary_net: UNetSegmenter, labeller: SegmenterLabeler, steps: int) -> SegmentationStage:
    """What trains ``auxiliary_net`` to read labels off pictures, in the first of the ``steps`` of a mapper."""
    recipe = SegmentationConfig(batch=AUXILIARY_BATCH, balance=LABEL_BALANCE)
    generated = GeneratedImages(labeller, AUXILIARY_SAMPLES)
    return SegmentationStage(auxiliary_net, generated, recipe, round(steps * (1 - config.label_phase)), sample=COUNTED, part="auxiliary")


def features_at_split(cut: SplitGenerator, levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of the features of every block those at the cut."""
    return levels[cut.generator.synthesis.block_resolutions.index(cut.resolution)]


def to_rgb(pictures: torch.Tensor) -> torch.Tensor:
    """A generator's pictures (B, C, H, W) as (B, 3, H, W) float32 in [-1, 1]."""
    pictures = pictures.float().clamp(-1, 1)
    if pictures.shape[1] == 3:
        return pictures
    # alpha is left out; what is left is grey
    return pictures[:, :3] if pictures.shape[1] > 3 else pictures[:, :1].expand(-1, 3, -1, -1)
