"""Stage 2: the rearranger (supplement A.1-A.2): L_self, L_mask and L_adv, flip, alternation, two phases.

Every step serves both passes of the paper's alternation, on the same style features:
self  (mask and features of the same noise):  L_self + L_mask
cross (mask of another sample of the batch):  L_mask, and L_adv on the steps where it is due.

Beyond the paper, ``mix``: a style-mixed sample (coarse layers of another latent, the rest of the style's own) has another
layout in nearly the same look, so that for part of the cross pass there is a right answer: L_mix.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..imaging.grids import tile, to_uint8
from ..models.discriminator import Discriminator
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Init, Rearranger, Skip, Value
from ..models.split_generator import SplitGenerator, SplitState
from . import losses
from .generator import R1_EVERY, Pictures, discriminator_update, lazy_adam, real_pictures
from .loop import Run


@dataclasses.dataclass(frozen=True)
class RearrangerConfig:
    """The rearranger's widths and its training recipe (supplement A.1, A.2).

    Ablations, which compare readings of the paper and are set by no preset: ``value`` "projection", ``rgb`` "keep" and "drop", no ``flip``.
    """

    position_channels: int = 64
    """Channels of the sinusoidal position encoding, a multiple of 4 (A.1). 0: as many as the embeddings have."""
    add_position: bool = False
    """Add the position encoding to the embeddings (A.1). Off, it has channels of its own."""
    hidden: int = 128
    """Channels inside the residual blocks."""
    layers: int = 4
    """Convolutions of a residual block (A.1: 4)."""
    value: Value = "features"
    """What attention moves: the features themselves (A.1), or a learned projection of them (an ablation)."""
    rgb: Skip = "rearrange"
    """What becomes of the RGB made below the cut. rearrange: it moves with the features. keep and drop are ablations."""
    key_mask: bool = True
    """Embed the style sample's own proxy mask into the keys. Off, keys are made of features alone (A.1)."""
    key_mask_channels: int = 0
    """Channels of that embedding. 0: one a cluster."""
    refinement_width: int = 0
    """Channels of the refinement block behind the attention. 0: no such block (beyond the paper)."""
    init: Init = "centroids"
    """Start of the attention. centroids: a position attends to its own cluster from the first step on (beyond the paper)."""
    learning_rate: float = 0.002
    """Adam's learning rate of the rearranger (A.2: 0.002)."""
    refinement_lr_multiplier: float = 5.0
    """Learning rate of the refinement block, as a multiple of learning_rate."""
    discriminator_lr_multiplier: float = 1.0
    """Learning rate of the discriminator, as a multiple of learning_rate (A.2: 1)."""
    lambda_self: float = 10.0
    """Weight of L_self, the error of a sample under its own proxy mask (A.2: 10)."""
    lambda_mask: float = 1.0
    """Weight of L_mask, the cross-entropy of the rearranged features' clusters to the proxy mask (A.2: 1)."""
    lambda_adv: float = 1.0
    """Weight of L_adv (A.2: 1)."""
    lambda_mix: float = 0.0
    """Weight of L_mix: a style under the proxy mask of its style-mixed sample has to give that sample. 0: off (beyond the paper)."""
    mix_share: float = 0.5
    """Share of the samples, 0 to 1, that take part in L_mix."""
    mix_layers: tuple[int, ...] = (2, 3)
    """First layers of a style-mixed sample that follow another latent, one of these numbers a sample. 0: the sample is the style itself."""
    mix_absent: bool = False
    """L_mix also counts positions whose cluster the style lacks. Only a rearranger with a refinement block can learn to draw them."""
    temperature: float = 0.1
    """tau of L_mask: how sharply cosines to the centroids become probabilities."""
    substitute: bool = True
    """Replace clusters that a style lacks in the proxy masks of other samples. Off, none is replaced (the paper)."""
    mask_absent: bool = False
    """L_mask also counts positions whose cluster the style lacks (the paper)."""
    flip: bool = True
    """Mirror half of the style samples, so that L_self has no shortcut (A.2)."""
    adv_every: int = 5
    """Steps from one L_adv to the next in the first phase (A.2: 5)."""
    adv_phase: float = 0.2857
    """Share of the steps, at the end, with L_adv at every step (A.2: 40k of 140k, or 65k of 215k)."""
    r1_gamma: float = 10.0
    """gamma of R1 (A.2: 10)."""
    narrow_channels: int = 0
    """Channels that queries and keys are reduced to once all is trained, for a faster picture. 0: as trained (beyond the paper)."""


def rearranger_adam(rearranger: Rearranger, config: RearrangerConfig) -> torch.optim.Adam:
    """The rearranger's optimizer: the retouching block, where there is one, learns at its own rate."""
    if rearranger.refinement is None:
        return lazy_adam(rearranger.parameters(), config.learning_rate, 0)
    own = set(rearranger.refinement.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rearranger.parameters() if p not in own]},
        {
            "params": list(rearranger.refinement.parameters()),
            "lr": config.learning_rate * config.refinement_lr_multiplier,
        },
    ]
    return lazy_adam(groups, config.learning_rate, 0)


class RearrangerStage:
    """The rearranger and its discriminator against the frozen generator."""

    name = "rearranger"
    averaged = ("rearranger",)
    r1_every = R1_EVERY

    def __init__(
        self,
        cut: SplitGenerator,
        clusters: ProxyClusters,
        rearranger: Rearranger,
        discriminator: Discriminator,
        pictures: Pictures | None,
        config: RearrangerConfig,
        steps: int,
    ) -> None:
        """``pictures``: real pictures for L_adv; without any, the frozen generator's own samples are the real ones."""
        self.cut, self.clusters, self.pictures, self.config = cut.eval().requires_grad_(False), clusters, pictures, config
        clusters.eval().requires_grad_(False)
        self.rearranger, self.discriminator = rearranger.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.every_step_from = round(steps * (1 - config.adv_phase))
        self.modules: dict[str, nn.Module] = {"rearranger": rearranger, "discriminator": discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "rearranger": rearranger_adam(rearranger, config),
            "discriminator": lazy_adam(
                discriminator.parameters(), config.learning_rate * config.discriminator_lr_multiplier, self.r1_every
            ),
        }

    def to_device(self, run: Run) -> None:
        """Frozen parts are no part of ``modules``; they follow the run's device here."""
        for module in (self.cut, self.clusters):
            module.to(run.device)

    @torch.no_grad()
    def samples(self, run: Run, purpose: str) -> tuple[torch.Tensor, SplitState, torch.Tensor, torch.Tensor]:
        """This process' share of a batch: w, state, own proxy mask (ids) and the proxy mask of another sample of the batch."""
        z = torch.randn(run.config.batch, self.cut.generator.z_dim, generator=run.rng(purpose))
        w = self.cut.w(z.to(run.device))
        with run.autocast():
            state = self.cut.features(w)
        own = self.clusters.assign(state.features)
        other = own.roll(1, dims=0)
        state = SplitState(run.local_shard(state.features), run.local_shard(state.rgb))
        return run.local_shard(w), state, run.local_shard(own), run.local_shard(other)

    @torch.no_grad()
    def mixed(self, run: Run, w: torch.Tensor) -> tuple[SplitState, torch.Tensor, torch.Tensor]:
        """This process' share of the style-mixed samples: state, proxy mask, and which samples of the batch take theirs (B,)."""
        size = run.config.batch
        rng = run.rng("mix")
        z = torch.randn(size, self.cut.generator.z_dim, generator=rng)
        choices = torch.tensor(self.config.mix_layers)
        layers = run.local_shard(choices[torch.randint(len(choices), (size,), generator=rng)])
        taken = run.local_shard(torch.rand(size, generator=rng) < self.config.mix_share)
        coarse, fine = self.cut.generator.broadcast(self.cut.w(run.local_shard(z))), self.cut.generator.broadcast(w)
        first = torch.arange(fine.shape[1], device=w.device)[None, :] < layers[:, None]
        with run.autocast():
            state = self.cut.features(torch.where(first[:, :, None], coarse, fine))
        return state, self.clusters.assign(state.features), taken

    def adversarial_due(self, index: int) -> bool:
        """Whether this step takes L_adv (every fifth in the first phase, each in the second)."""
        return self.config.lambda_adv > 0 and (index >= self.every_step_from or index % self.config.adv_every == 0)

    def step(self, run: Run) -> None:
        c = self.config
        self.to_device(run)
        w, state, own, other = self.samples(run, "samples")
        mirrored = torch.rand(run.config.batch, generator=run.rng("flip")) < 0.5
        mirror = (
            run.local_shard(mirrored)[:, None, None, None]
            if c.flip
            else torch.zeros(w.shape[0], 1, 1, 1, dtype=torch.bool, device=w.device)
        )
        due = self.adversarial_due(run.index)
        if c.lambda_mix:
            mixed, mixed_own, taken = self.mixed(run, w)
            other = torch.where(taken[:, None, None], mixed_own, other)
        else:
            mixed, taken = state, torch.zeros(w.shape[0], dtype=torch.bool, device=w.device)
        self.discriminator.requires_grad_(False)
        fakes: list[torch.Tensor] = []

        def terms() -> Iterator[torch.Tensor]:
            whole = (w, state.features, state.rgb, own, other, mirror, mixed.features, mixed.rgb, taken)
            for w_, f_, rgb_, own_, other_, mirror_, mixed_f, mixed_rgb, taken_ in run.microbatches(*whole):
                target = SplitState(f_, rgb_)
                given = SplitState(torch.where(mirror_, f_.flip(3), f_), torch.where(mirror_, rgb_.flip(3), rgb_))
                with run.autocast():
                    style = self.rearranger.encode_style(given, torch.where(mirror_[:, 0], own_.flip(2), own_))
                    asked_before = other_
                    if c.substitute:
                        other_ = self.clusters.substitute(other_, self.clusters.available(style.counts))
                    whole_mix = taken_[:, None, None] & c.mix_absent
                    other_ = torch.where(whole_mix, asked_before, other_)
                    cross = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(other_)), style)
                asked = other_
                if not c.mask_absent:  # what the style cannot give, L_adv shall fill in: insisting on it bleaches the style
                    absent = (style.counts > 0).logical_not().gather(1, other_.flatten(1)).view_as(other_)
                    asked = other_.masked_fill(absent & ~whole_mix, losses.IGNORE_INDEX)
                mask_cross = losses.mask_loss(cross.features, asked, self.clusters.centroids, c.temperature)
                loss, parts = c.lambda_mask * mask_cross, {"mask_cross": mask_cross}
                if c.lambda_self:
                    with run.autocast():
                        same = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(own_)), style)
                    self_loss, self_parts = self.self_loss(run, same, target, w_)
                    mask_self = losses.mask_loss(same.features, own_, self.clusters.centroids, c.temperature)
                    loss = loss + c.lambda_self * self_loss + c.lambda_mask * mask_self
                    parts |= self_parts | {"mask_self": mask_self}
                if due or c.lambda_mix:
                    with run.autocast():
                        fake = self.cut.render(cross, w_)
                if c.lambda_mix:
                    can = self.clusters.available(style.counts).gather(1, asked_before.flatten(1)).view_as(asked_before)
                    counted = whole_mix.expand_as(can) | (can & taken_[:, None, None])
                    mix = self.mix_loss(run, cross, fake, SplitState(mixed_f, mixed_rgb), w_, counted)
                    parts["mix"] = mix
                    loss = loss + c.lambda_mix * mix
                if due:
                    with run.autocast():
                        logits = self.discriminator(fake)
                    fakes.append(fake.detach())
                    adv = losses.adversarial_g(logits)
                    parts["adv"] = adv
                    loss = loss + c.lambda_adv * adv
                with torch.no_grad():
                    parts["agreement"] = (self.clusters.assign(cross.features) == other_).float().mean()
                for key, value in parts.items():
                    run.log(f"loss/{key}", value)
                yield loss

        run.update("rearranger", terms)
        self.discriminator.requires_grad_(True)
        if due:
            penalty = c.r1_gamma / 2 * self.r1_every if self.r1_due(run.index) else 0.0
            discriminator_update(run, self.discriminator, real_pictures(run, self.pictures, self.cut.generator), torch.cat(fakes), penalty)

    def r1_due(self, index: int) -> bool:
        """Whether the discriminator step of training step ``index`` takes R1: every ``r1_every`` of its own steps."""
        before = min(index, self.every_step_from)
        done = -(-before // self.config.adv_every) + max(0, index - self.every_step_from)
        return done % self.r1_every == 0

    def self_loss(self, run: Run, same: SplitState, target: SplitState, w: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """L_self of a round and its parts."""
        parts = {"self_features": losses.relative_l1(same.features, target.features)}
        with run.autocast():
            picture = self.cut.render(same, w)
            with torch.no_grad():
                original = self.cut.render(target, w)
        parts["self_picture"] = losses.picture_l1(picture, original)
        loss = parts["self_features"] + parts["self_picture"]
        with torch.no_grad():
            error = (picture.float().clamp(-1, 1) - original.float().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
            parts["self_psnr"] = (10 * torch.log10(4 / error.clamp_min(1e-8))).mean()
        return loss, parts

    def mix_loss(
        self, run: Run, cross: SplitState, picture: torch.Tensor, target: SplitState, w: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """L_mix of a round: features and picture against those of the style-mixed samples, where ``counted`` (B, r, r) is true:
        where the style has the asked cluster, of the samples that take part. What it lacks has no right answer."""
        with torch.no_grad(), run.autocast():
            wanted = self.cut.render(target, w)
        weight = counted[:, None].float()
        size = picture.shape[-1]
        fine = weight.repeat_interleave(size // weight.shape[-1], 2).repeat_interleave(size // weight.shape[-1], 3)
        return losses.relative_l1(cross.features, target.features, weight) + losses.picture_l1(picture, wanted, fine)

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: style samples, their proxy masks, self pictures, and the styles under the mask of the sample to the right."""
        self.to_device(run)
        average = run.averages["rearranger"]
        assert isinstance(average, Rearranger)
        z = torch.randn(10, self.cut.generator.z_dim, generator=torch.Generator().manual_seed(1)).to(run.device)
        w = self.cut.w(z)
        with run.autocast():
            state = self.cut.features(w)
            own = self.clusters.assign(state.features)
            other = own.roll(-1, dims=0)
            original = self.cut.render(state, w)
            style = average.encode_style(state, own)
            if self.config.substitute:
                other = self.clusters.substitute(other, self.clusters.available(style.counts))
            same = self.cut.render(average.attend(average.encode_mask(self.clusters.one_hot(own)), style), w)
            cross = self.cut.render(average.attend(average.encode_mask(self.clusters.one_hot(other)), style), w)
        size = original.shape[-1]
        masks = self.clusters.colorize(own).repeat(size // own.shape[-1], axis=1).repeat(size // own.shape[-1], axis=2)
        rows = [to_uint8(original), masks, to_uint8(same), to_uint8(cross)]
        return tile(rows, scale=max(1, 128 // size))
