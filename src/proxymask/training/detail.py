"""Step of the detail stage (beyond the paper): a detail network against the frozen generator, rearranger and mapper.

The input is a label mask, or another condition, made of a generated sample, and a style. The frozen networks paint it from the
gridded proxy mask, the detail network changes what the generator does after the split. Three losses:

* L_label: the auxiliary segmenter, which learns in the first steps, has to find the labels of the mask in the picture;
* L_self: where the style is that of the sample itself, or the sample is style-mixed, the picture about borders has to be the sample;
* L_adv: the picture has to look like one of the generator's.

The sample is the style's own, or a style-mixed one (its coarse layers from another latent, so that it has another layout), or another one.

Shapes: B samples of H x W pixels, h x w positions at the split, K clusters.
"""

import dataclasses
from collections.abc import Hashable, Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.checks import Checked, Range, Rate, Share, Weight, Width
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..imaging.grids import tile, to_uint8
from ..models.detail_network import DetailChange, DetailNetwork
from ..models.discriminator import Discriminator
from ..models.logits_to_proxy_mask import ProxyMaskMode, logits_to_proxy_mask
from ..models.mappers import Mapper
from ..models.oasis_mapper import has_label_prior
from ..models.split_generator import SplitState
from . import losses
from .adversarial import R1_EVERY, discriminator_update, r1_weight, real_pictures, stylegan_adam
from .auxiliary import AuxiliaryStage
from .label_prior import LabelPrior, encode_styles
from .loop import Run, set_cosine_rate
from .pairs import PairSource
from .parts import Frozen


@dataclasses.dataclass(frozen=True)
class DetailConfig(Checked):
    """The detail network's width and its training recipe."""

    width: Width = 16
    """Channels of the network."""
    learning_rate: Rate = 0.01
    """Adam's learning rate; it falls to 0 as a cosine."""
    discriminator_learning_rate: Rate = 0.002
    """Adam's learning rate of the discriminator (StyleGAN2: 0.002)."""
    lambda_label: Weight = 2.0
    """Weight of L_label."""
    lambda_self: Weight = 20.0
    """Weight of L_self."""
    lambda_adv: Weight = 2.0
    """Weight of L_adv."""
    self_share: Share = 0.25
    """Share of the samples, 0 to 1, that are painted in their own style."""
    mix_share: Share = 0.5
    """Share of the samples, 0 to 1, that are style-mixed with the style."""
    mix_layers: Annotated[tuple[int, ...], Range(1, 64, filled=True)] = (2, 3)
    """First layers of a style-mixed sample that follow another latent, one of these numbers a sample."""
    auxiliary_share: Share = 0.3
    """Share of the steps, at the start, in which only the auxiliary segmenter learns."""
    r1_gamma: Weight = 1.0
    """gamma of R1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.self_share + self.mix_share > 1:
            raise ProxymaskError(f"--self-share {self.self_share} and --mix-share {self.mix_share} are more than 1 together: lower one")


@dataclasses.dataclass(frozen=True)
class DetailBatch:
    """The samples of one step, or of one microbatch of it."""

    w: torch.Tensor
    """(B, w_dim) of the styles."""
    given: torch.Tensor
    """What the mapper reads: label ids (B, H, W), or planes (B, P, H, W)."""
    labels: torch.Tensor
    """(B, H, W) label ids of the samples."""
    features: torch.Tensor
    """(B, C, h, w), rearranged."""
    rgb: torch.Tensor
    """(B, img_channels, h, w), the RGB so far, rearranged."""
    target: torch.Tensor
    """(B, img_channels, H, W) the sample."""
    paired: torch.Tensor
    """(B,) bool: the sample is in the style: its own, or style-mixed."""


class DetailStage:
    """The detail network for the input of one mapper.

    Args:
        frozen: what makes a picture of a proxy mask and a style.
        mapper: turns the condition into a proxy mask; frozen too.
        source: makes the condition, and labels, of generated samples.
        mode: how the mapper's logits become the proxy mask.
        auxiliary: the auxiliary segmenter.
        steps: length of the schedule.
    """

    name = "detail"
    averaged = ("detail",)
    r1_every = R1_EVERY

    def __init__(
        self,
        frozen: Frozen,
        mapper: Mapper,
        detail: DetailNetwork,
        discriminator: Discriminator,
        source: PairSource,
        mode: ProxyMaskMode,
        auxiliary: AuxiliaryStage,
        config: DetailConfig,
        steps: int,
    ) -> None:
        self.frozen, self.split, self.source, self.mode, self.config, self.steps = frozen, frozen.split, source, mode, config, steps
        self.mapper = mapper.eval().requires_grad_(False)
        self.detail, self.discriminator = detail.requires_grad_(True).train(), discriminator.requires_grad_(True).train()
        self.auxiliary = auxiliary
        self.prior = LabelPrior(mapper, auxiliary.generated.labeler) if has_label_prior(mapper) else None
        self.modules: dict[str, nn.Module] = {"detail": detail, "discriminator": discriminator} | auxiliary.modules
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "detail": stylegan_adam(detail.parameters(), config.learning_rate),
            "discriminator": stylegan_adam(discriminator.parameters(), config.discriminator_learning_rate),
        } | auxiliary.optimizers

    def step_kind(self, index: int) -> Hashable:
        learns = self.auxiliary.learns(index)
        return learns, not learns and self.r1_due(index)

    def r1_due(self, index: int) -> bool:
        """Whether the discriminator's step of training step ``index`` takes R1."""
        return self.config.lambda_adv > 0 and (index - self.auxiliary.steps) % self.r1_every == 0

    # The samples of a step.

    @torch.no_grad()
    def batch(self, run: Run) -> DetailBatch:
        """This process' part of the samples of a step."""
        size, c = run.config.batch, self.config
        generator = self.split.generator
        rng = run.rng("samples")
        z, other = torch.randn(size, generator.z_dim, generator=rng), torch.randn(size, generator.z_dim, generator=rng)
        kind = torch.rand(size, generator=rng)
        choices = torch.tensor(c.mix_layers)
        layers = choices[torch.randint(len(choices), (size,), generator=rng)]
        layers = torch.where(kind < c.self_share, 0, torch.where(kind < c.self_share + c.mix_share, layers, generator.num_ws))
        layers = run.local_shard(layers)
        w = self.split.w(run.local_shard(z))
        fine, coarse = generator.broadcast(w), generator.broadcast(self.split.w(run.local_shard(other)))
        first = torch.arange(fine.shape[1], device=w.device)[None, :] < layers[:, None]
        sample = torch.where(first[:, :, None], coarse, fine)
        given_rng = run.rng(f"given/{run.rank}")
        with run.autocast():
            given, _, labels = self.source(sample, given_rng)
            given = self.source.augment(given, given_rng)
            style, prior = encode_styles(self.frozen, self.prior, w, given)
            proxy = logits_to_proxy_mask(self.mapper(given), self.mode, prior)
            moved = self.frozen.rearranger.attend(self.frozen.rearranger.encode_mask(proxy), style)
            target = generator.synthesis(sample)
        return DetailBatch(w, given, labels, moved.features, moved.rgb, target, layers < generator.num_ws)

    def paint(self, detail: nn.Module, batch: DetailBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, img_channels, H, W) with a detail network, and the gate (B, 1, H, W) by which it acts."""
        mask = detail.encode(batch.given)  # type: ignore[operator]

        def details(features: torch.Tensor) -> DetailChange:
            return detail(mask, features)

        picture = self.split.render(SplitState(batch.features, batch.rgb), batch.w, details=details)
        return picture, F.interpolate(mask.gate, size=picture.shape[2:], mode="nearest")

    # One step.

    def step(self, run: Run) -> None:
        self.frozen.to(run.device)
        to_device(self.mapper, run.device)
        self.auxiliary.before_step(run)
        if self.auxiliary.learns(run.index):
            return
        begin = self.auxiliary.steps
        set_cosine_rate(self.optimizers["detail"], self.config.learning_rate, run.index - begin, self.steps - begin)
        batch = self.batch(run)
        fakes: list[torch.Tensor] = []
        self.discriminator.requires_grad_(False)

        def terms() -> Iterator[torch.Tensor]:
            for part in run.microbatches_of(batch):
                loss, picture = self.loss(run, part)
                fakes.append(picture.detach())
                yield loss

        run.update("detail", terms)
        self.discriminator.requires_grad_(True)
        if self.config.lambda_adv:
            penalty = r1_weight(self.config.r1_gamma, self.r1_every, self.r1_due(run.index))
            discriminator_update(run, self.discriminator, real_pictures(run, None, self.split.generator), torch.cat(fakes), penalty)

    def loss(self, run: Run, batch: DetailBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of all losses, and the pictures (B, img_channels, H, W)."""
        c = self.config
        with run.autocast():
            picture, gate = self.paint(self.detail, batch)
        label = self.auxiliary.loss(run, picture, batch.labels)
        own = losses.picture_l1(picture, batch.target, gate * batch.paired[:, None, None, None])
        run.log("loss/label", label)
        run.log("loss/self", own)
        loss = c.lambda_label * label + c.lambda_self * own
        if c.lambda_adv:
            with run.autocast():
                adv = losses.adversarial_g(self.discriminator(picture))
            run.log("loss/adv", adv)
            loss = loss + c.lambda_adv * adv
        return loss, picture

    @torch.no_grad()
    def grid(self, run: Run) -> Image.Image:
        """Rows: the condition, the picture without and with the averaged detail network, and the sample that the condition is of."""
        self.frozen.to(run.device)
        to_device(self.mapper, run.device)
        batch = self.batch(run)
        with run.autocast():
            plain = self.split.render(SplitState(batch.features, batch.rgb), batch.w)
            changed, _ = self.paint(run.averages["detail"], batch)
        rows = [self.source.show(batch.given), to_uint8(plain), to_uint8(changed), to_uint8(batch.target)]
        return tile(rows, scale=max(1, 128 // plain.shape[-1]))
