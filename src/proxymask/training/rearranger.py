"""Step of the rearranger stage (supplement A.1, A.2): L_self, L_mask and L_adv against the frozen generator, in two phases.

The supplement alternates, "in each iteration", between a proxy mask of the same noise as the features and one of random noise. The reading
taken: every step does both passes on the same style features.

* self pass (proxy mask and features of the same noise): L_self and L_mask;
* cross pass (proxy mask of another sample of the batch): L_mask, and L_adv on the steps where it is due.

Beyond the paper, the mixed pass: a style-mixed sample (coarse layers of another latent, the remaining ones of the style's own) has another
layout in nearly the same colours, so that part of the cross pass has a target: L_mix.

Shapes: B samples, C feature channels, h x w positions at the cut, K clusters, H x W pixels.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from PIL import Image
from torch import nn

from ..core.checks import Channels, Checked, Count, Range, Rate, Share, Weight, Width
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger, Skip, StyleKV, Value
from ..models.split_generator import SplitGenerator, SplitState
from ..models.stylegan2 import Generator
from . import losses
from .adversarial import R1_EVERY, Pictures, discriminator_update, r1_weight, real_pictures, stylegan_adam
from .loop import Run


@dataclasses.dataclass(frozen=True)
class RearrangerConfig(Checked):
    """The rearranger's widths and its training recipe (supplement A.1, A.2).

    Ablations, which compare readings of the paper and are set by no preset: ``value`` "projection", ``rgb`` "keep" and "drop", no ``flip``.
    """

    position_channels: Annotated[int, Range(0, 2**16, kind="multiple of 4")] = 64
    """Channels of the sinusoidal position encoding, a multiple of 4 (A.1). 0: as many as the embeddings have."""
    add_position: bool = False
    """Add the position encoding to the embeddings (A.1). Off, it has channels of its own."""
    hidden: Width = 128
    """Channels inside the residual blocks."""
    layers: Annotated[int, Range(2, 64)] = 4
    """Convolutions of a residual block (A.1: 4)."""
    value: Value = "features"
    """What attention moves: the features themselves (A.1), or a learned projection of them (an ablation)."""
    rgb: Skip = "rearrange"
    """The RGB output of the blocks below the cut. rearrange: attention moves it with the features. keep and drop are ablations."""
    init: Literal["random", "centroids"] = "random"
    """Start of the attention. centroids: a position attends to features of its own cluster from the first step on (beyond the paper)."""
    refinement_width: Channels = 0
    """Channels of the refinement block, which follows the attention (beyond the paper). 0: no refinement block."""
    learning_rate: Rate = 0.002
    """Adam's learning rate of the rearranger (A.2: 0.002)."""
    refinement_lr_multiplier: Weight = 5.0
    """Learning rate of the refinement block, as a multiple of learning_rate."""
    discriminator_lr_multiplier: Weight = 1.0
    """Learning rate of the discriminator, as a multiple of learning_rate (A.2: 1)."""
    lambda_self: Weight = 10.0
    """Weight of L_self, the error of a sample under its own proxy mask (A.2: 10)."""
    lambda_mask: Weight = 1.0
    """Weight of L_mask, the cross-entropy of the rearranged features' clusters to the proxy mask (A.2: 1)."""
    lambda_adv: Weight = 1.0
    """Weight of L_adv (A.2: 1)."""
    lambda_mix: Weight = 0.0
    """Weight of L_mix: a style under the proxy mask of its style-mixed sample has to give that sample. 0: off (beyond the paper)."""
    mix_share: Share = 0.5
    """Share of the samples, 0 to 1, that take part in L_mix."""
    mix_layers: Annotated[tuple[int, ...], Range(0, 64, filled=True)] = (2, 3)
    """First layers of a style-mixed sample that follow another latent, one of these numbers a sample. 0: the sample is the style itself."""
    mix_absent: bool = False
    """L_mix also counts positions whose cluster the style lacks. Only a rearranger with a refinement block can learn to draw them."""
    temperature: Annotated[float, Range(1e-6, 1e6)] = 0.1
    """tau of L_mask: how sharply cosines to the centroids become probabilities."""
    substitute: bool = True
    """Replace clusters that a style lacks in the proxy masks of other samples. Off, none is replaced (the paper)."""
    mask_absent: bool = False
    """L_mask also counts positions whose cluster the style lacks (the paper)."""
    flip: bool = True
    """Mirror half of the style samples, so that L_self has no shortcut (A.2)."""
    adv_every: Count = 5
    """Steps from one L_adv to the next in the first phase (A.2: 5)."""
    adv_phase: Share = 0.2857
    """Share of the steps, at the end, with L_adv at every step (A.2: 40k of 140k, or 65k of 215k)."""
    r1_gamma: Weight = 10.0
    """gamma of R1 (A.2: 10)."""
    narrow_channels: Channels = 0
    """Channels that queries and keys are reduced to once all is trained, for a faster picture. 0: as trained (beyond the paper)."""


@dataclasses.dataclass(frozen=True)
class RearrangerBatch:
    """The samples of one step, or of one microbatch of it."""

    w: torch.Tensor
    """(B, w_dim) of the style samples."""
    state: SplitState
    """Features and RGB of the style samples at the cut."""
    own: torch.Tensor
    """(B, h, w) their own proxy masks, int64."""
    target: torch.Tensor
    """(B, h, w) proxy masks of the cross pass, int64: of another sample of the batch, or of the style-mixed sample."""
    mirrored: torch.Tensor
    """(B, 1, 1, 1) bool: style samples that are mirrored."""
    mixed: SplitState
    """Features and RGB of the style-mixed samples."""
    takes_mixed: torch.Tensor
    """(B,) bool: samples whose ``target`` is that of the style-mixed sample."""


class CrossPass(NamedTuple):
    """Result of the cross pass."""

    state: SplitState
    """The rearranged features and RGB."""
    mask: torch.Tensor
    """(B, h, w) the proxy mask that they were rearranged to, int64, with absent clusters substituted."""
    unsubstituted: torch.Tensor
    """(B, 1, 1) bool: samples whose mask is a style-mixed one without substitution."""


def check_mix_layers(layers: Sequence[int], generator: Generator) -> None:
    """A :class:`ProxymaskError` where style mixing reaches beyond the layers of ``generator``."""
    if max(layers) > generator.num_ws:
        raise ProxymaskError(f"--mix-layers {max(layers)}: the generator has {generator.num_ws} layers: give at most that many")


def rearranger_adam(rearranger: Rearranger, config: RearrangerConfig) -> torch.optim.Adam:
    """The rearranger's optimiser; the refinement block, if there is one, has a learning rate of its own."""
    if rearranger.refinement is None:
        return stylegan_adam(rearranger.parameters(), config.learning_rate)
    own = set(rearranger.refinement.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rearranger.parameters() if p not in own]},
        {
            "params": list(rearranger.refinement.parameters()),
            "lr": config.learning_rate * config.refinement_lr_multiplier,
        },
    ]
    return stylegan_adam(groups, config.learning_rate)


class RearrangerStage:
    """The rearranger and its discriminator against the frozen generator.

    Args:
        pictures: real pictures for L_adv; None: samples of the frozen generator are the real ones.
        steps: length of the schedule of L_adv.
    """

    name = "rearranger"
    averaged = ("rearranger",)
    r1_every = R1_EVERY

    def __init__(
        self,
        split: SplitGenerator,
        clusters: ProxyClusters,
        rearranger: Rearranger,
        discriminator: Discriminator,
        pictures: Pictures | None,
        config: RearrangerConfig,
        steps: int,
    ) -> None:
        self.split, self.clusters, self.pictures, self.config = split.eval().requires_grad_(False), clusters, pictures, config
        clusters.eval().requires_grad_(False)
        self.rearranger, self.discriminator = rearranger.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.every_step_from = round(steps * (1 - config.adv_phase))
        self.modules: dict[str, nn.Module] = {"rearranger": rearranger, "discriminator": discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "rearranger": rearranger_adam(rearranger, config),
            "discriminator": stylegan_adam(discriminator.parameters(), config.learning_rate * config.discriminator_lr_multiplier),
        }

    # The schedule (supplement A.2).

    def adversarial_due(self, index: int) -> bool:
        """Whether step ``index`` takes L_adv: every fifth in the first phase, each in the second."""
        return self.config.lambda_adv > 0 and (index >= self.every_step_from or index % self.config.adv_every == 0)

    def r1_due(self, index: int) -> bool:
        """Whether the discriminator step of training step ``index`` takes R1: every ``r1_every`` of its own steps."""
        before = min(index, self.every_step_from)
        done = -(-before // self.config.adv_every) + max(0, index - self.every_step_from)
        return done % self.r1_every == 0

    def step_kind(self, index: int) -> Hashable:
        due = self.adversarial_due(index)
        return due, due and self.r1_due(index)

    # The samples of a step.

    @torch.no_grad()
    def samples(self, run: Run, purpose: str) -> tuple[torch.Tensor, SplitState, torch.Tensor, torch.Tensor]:
        """This process' part of a batch: w, state, own proxy mask (ids), and the proxy mask of another sample of the full batch."""
        z = torch.randn(run.config.batch, self.split.generator.z_dim, generator=run.rng(purpose))
        w = self.split.w(z.to(run.device))
        with run.autocast():
            state = self.split.features(w)
        own = self.clusters.assign(state.features)
        other = own.roll(1, dims=0)
        state = SplitState(run.local_shard(state.features), run.local_shard(state.rgb))
        return run.local_shard(w), state, run.local_shard(own), run.local_shard(other)

    @torch.no_grad()
    def mixed(self, run: Run, w: torch.Tensor) -> tuple[SplitState, torch.Tensor, torch.Tensor]:
        """This process' part of the style-mixed samples of ``w``: state, proxy mask, and which samples take that mask (B,)."""
        size = run.config.batch
        rng = run.rng("mix")
        z = torch.randn(size, self.split.generator.z_dim, generator=rng)
        choices = torch.tensor(self.config.mix_layers)
        layers = run.local_shard(choices[torch.randint(len(choices), (size,), generator=rng)])
        taken = run.local_shard(torch.rand(size, generator=rng) < self.config.mix_share)
        coarse, fine = self.split.generator.broadcast(self.split.w(run.local_shard(z))), self.split.generator.broadcast(w)
        first = torch.arange(fine.shape[1], device=w.device)[None, :] < layers[:, None]
        with run.autocast():
            state = self.split.features(torch.where(first[:, :, None], coarse, fine))
        return state, self.clusters.assign(state.features), taken

    def batch(self, run: Run) -> RearrangerBatch:
        """This process' part of the samples of a step."""
        w, state, own, target = self.samples(run, "samples")
        mirrored = torch.zeros(len(w), dtype=torch.bool, device=w.device)
        if self.config.flip:  # supplement A.2: prevents shortcuts of L_self
            mirrored = run.local_shard(torch.rand(run.config.batch, generator=run.rng("flip")) < 0.5)
        mixed, takes_mixed = state, torch.zeros(len(w), dtype=torch.bool, device=w.device)
        if self.config.lambda_mix:
            mixed, mixed_mask, takes_mixed = self.mixed(run, w)
            target = torch.where(takes_mixed[:, None, None], mixed_mask, target)
        return RearrangerBatch(w, state, own, target, mirrored[:, None, None, None], mixed, takes_mixed)

    # One step.

    def step(self, run: Run) -> None:
        for module in (self.split, self.clusters):  # frozen, and so not in ``modules``, which the loop moves
            to_device(module, run.device)
        batch, adversarial = self.batch(run), self.adversarial_due(run.index)
        fakes: list[torch.Tensor] = []
        self.discriminator.requires_grad_(False)

        def terms() -> Iterator[torch.Tensor]:
            for part in run.microbatches_of(batch):
                loss, picture = self.loss(run, part, adversarial)
                if adversarial:
                    assert picture is not None
                    fakes.append(picture.detach())
                yield loss

        if adversarial or self.config.lambda_mask or self.config.lambda_self or self.config.lambda_mix:
            run.update("rearranger", terms)  # without any loss, a step of Adam would only wear its averages down
        self.discriminator.requires_grad_(True)
        if adversarial:
            penalty = r1_weight(self.config.r1_gamma, self.r1_every, self.r1_due(run.index))
            discriminator_update(
                run, self.discriminator, real_pictures(run, self.pictures, self.split.generator), torch.cat(fakes), penalty
            )

    def loss(self, run: Run, batch: RearrangerBatch, adversarial: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The weighted sum of all losses (supplement A.2), and the pictures (B, C, H, W) of the cross pass if L_adv or L_mix needs them."""
        c, picture = self.config, None
        style = self.style(run, batch)
        cross = self.cross_pass(run, batch, style)
        loss = cross.state.features.new_zeros(())
        if c.lambda_mask:
            loss = loss + c.lambda_mask * self.cross_mask_loss(run, cross, style)
        if c.lambda_self:
            self_loss, mask_loss = self.self_pass(run, batch, style)
            loss = loss + c.lambda_self * self_loss + c.lambda_mask * mask_loss
        if adversarial or c.lambda_mix:
            with run.autocast():
                picture = self.split.render(cross.state, batch.w)
        if c.lambda_mix:
            assert picture is not None
            loss = loss + c.lambda_mix * self.mixed_pass(run, batch, cross, style, picture)
        if adversarial:
            with run.autocast():
                logits = self.discriminator(picture)
            adv = losses.adversarial_g(logits)
            run.log("loss/adv", adv)
            loss = loss + c.lambda_adv * adv
        return loss, picture

    def style(self, run: Run, batch: RearrangerBatch) -> StyleKV:
        """Keys and values of the style samples, mirrored where the batch says so."""
        mirrored, (features, rgb) = batch.mirrored, batch.state
        given = SplitState(torch.where(mirrored, features.flip(3), features), torch.where(mirrored, rgb.flip(3), rgb))
        with run.autocast():
            return self.rearranger.encode_style(given, torch.where(mirrored[:, 0], batch.own.flip(2), batch.own))

    def cross_pass(self, run: Run, batch: RearrangerBatch, style: StyleKV) -> CrossPass:
        """Rearrange the style features to the target masks, where every cluster that the style lacks is replaced.

        At inference that is so in transfers alone, and only by a cluster that is alike enough (:attr:`.Rearranger.substitute_threshold`).
        """
        unsubstituted = batch.takes_mixed[:, None, None] & self.config.mix_absent
        with run.autocast():
            mask = batch.target
            if self.config.substitute:
                mask = self.clusters.substitute(mask, self.clusters.available(style.counts))
            mask = torch.where(unsubstituted, batch.target, mask)
            state = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(mask)), style)
        with torch.no_grad():
            run.log("loss/agreement", (self.clusters.assign(state.features) == mask).float().mean())
        return CrossPass(state, mask, unsubstituted)

    def cross_mask_loss(self, run: Run, cross: CrossPass, style: StyleKV) -> torch.Tensor:
        """L_mask of the cross pass (supplement A.2).

        Without ``mask_absent`` it leaves out positions whose cluster the style lacks: L_adv decides about those, as L_mask there would take
        the colours out of the style.
        """
        mask = cross.mask
        if not self.config.mask_absent:
            absent = (style.counts > 0).logical_not().gather(1, mask.flatten(1)).view_as(mask)
            mask = mask.masked_fill(absent & ~cross.unsubstituted, losses.IGNORE_INDEX)
        loss = losses.mask_loss(cross.state.features, mask, self.clusters.centroids, self.config.temperature)
        run.log("loss/mask_cross", loss)
        return loss

    def self_pass(self, run: Run, batch: RearrangerBatch, style: StyleKV) -> tuple[torch.Tensor, torch.Tensor]:
        """L_self and L_mask of the style features rearranged to the style's own mask (supplement A.2)."""
        with run.autocast():
            same = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(batch.own)), style)
        self_loss, parts = self.self_loss(run, same, batch.state, batch.w)
        mask_loss = losses.mask_loss(same.features, batch.own, self.clusters.centroids, self.config.temperature)
        for name, value in (*parts.items(), ("mask_self", mask_loss)):
            run.log(f"loss/{name}", value)
        return self_loss, mask_loss

    def self_loss(self, run: Run, same: SplitState, target: SplitState, w: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """L_self (supplement A.2): distance of features and of pictures from those of the style samples; and its parts by name."""
        parts = {"self_features": losses.relative_l1(same.features, target.features)}
        with run.autocast():
            picture = self.split.render(same, w)
            with torch.no_grad():
                original = self.split.render(target, w)
        parts["self_picture"] = losses.picture_l1(picture, original)
        loss = parts["self_features"] + parts["self_picture"]
        with torch.no_grad():
            error = (picture.float().clamp(-1, 1) - original.float().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
            parts["self_psnr"] = (10 * torch.log10(4 / error.clamp_min(1e-8))).mean()
        return loss, parts

    def mixed_pass(self, run: Run, batch: RearrangerBatch, cross: CrossPass, style: StyleKV, picture: torch.Tensor) -> torch.Tensor:
        """L_mix of the samples that took the mask of a style-mixed sample (beyond the paper).

        Positions count where the style has the cluster; with ``mix_absent`` all do.
        """
        available = self.clusters.available(style.counts).gather(1, batch.target.flatten(1)).view_as(batch.target)
        counted = cross.unsubstituted.expand_as(available) | (available & batch.takes_mixed[:, None, None])
        loss = self.mix_loss(run, cross.state, picture, batch.mixed, batch.w, counted)
        run.log("loss/mix", loss)
        return loss

    def mix_loss(
        self, run: Run, cross: SplitState, picture: torch.Tensor, target: SplitState, w: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """L_mix: distance of features and of pictures from those of the style-mixed samples, where ``counted`` (B, h, w) is true."""
        with torch.no_grad(), run.autocast():
            wanted = self.split.render(target, w)
        weight = counted[:, None].float()
        size = picture.shape[-1]
        fine = weight.repeat_interleave(size // weight.shape[-1], 2).repeat_interleave(size // weight.shape[-1], 3)
        return losses.relative_l1(cross.features, target.features, weight) + losses.picture_l1(picture, wanted, fine)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: style samples, their proxy masks, self pass, and the styles under the mask of the sample to the right."""
        for module in (self.split, self.clusters):
            to_device(module, run.device)
        average = run.averages["rearranger"]
        assert isinstance(average, Rearranger)
        z = torch.randn(10, self.split.generator.z_dim, generator=torch.Generator().manual_seed(1)).to(run.device)
        w = self.split.w(z)
        with run.autocast():
            state = self.split.features(w)
            own = self.clusters.assign(state.features)
            other = own.roll(-1, dims=0)
            original = self.split.render(state, w)
            style = average.encode_style(state, own)
            if self.config.substitute:
                other = self.clusters.substitute(other, self.clusters.available(style.counts))
            same = self.split.render(average.attend(average.encode_mask(self.clusters.one_hot(own)), style), w)
            cross = self.split.render(average.attend(average.encode_mask(self.clusters.one_hot(other)), style), w)
        size = original.shape[-1]
        masks = self.clusters.colorize(own).repeat(size // own.shape[-1], axis=1).repeat(size // own.shape[-1], axis=2)
        rows = [to_uint8(original), masks, to_uint8(same), to_uint8(cross)]
        return tile(rows, scale=max(1, 128 // size))
