"""Step of the segmenter stage: the few-shot segmenter, trained on 1 to 16 labelled samples.

The supplement takes its labels from such a network (E, after RepurposeGAN, Tritrong et al. 2021).

Shapes: n labelled samples, B samples of a step, H x W pixels, h x w positions at the cut.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.checks import Checked, Natural, Rate
from ..core.device import to_device
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.split_generator import SplitGenerator
from .loop import Run
from .style_transfer import StyleTransferLabeler, warp, warp_grid

MIN_FREQUENCY = 1e-6  # lower bound, so that the weight of a label that no mask shows is 0, not 0 times infinity
WEIGHT_DECAY = 0.001  # Adam's L2 term
CLASS_BALANCE = 0.5  # classes weigh as frequency to the minus this power, so that small parts count
SHIFT = 4  # largest random shift of a labelled sample, in picture pixels
STYLE_TRANSFER_PHASE = 0.6  # share of the steps, at the end, that learn from transferred samples too
STYLE_TRANSFER_BATCH = 8  # transferred samples a step


@dataclasses.dataclass(frozen=True)
class SegmenterConfig(Checked):
    """The few-shot segmenter's recipe (supplement E, after RepurposeGAN: Tritrong et al. 2021)."""

    learning_rate: Rate = 0.001
    """Adam's learning rate (RepurposeGAN: 0.001)."""
    style_transfer_max_labels: Natural = 0
    """With up to so many labelled samples style-transfer labelling is on (docs/decisions.md, style-transfer-labelling).
    0: never (beyond the paper)."""


@dataclasses.dataclass(frozen=True)
class StyleTransfer:
    """Style-transfer labelling (beyond the paper): labels for samples that nobody labelled.

    ``reader`` learns to segment the labelled samples' style in any layout. From step ``start`` on it is frozen and labels random samples,
    rearranged to that style, for the segmenter.
    """

    labeler: StyleTransferLabeler
    reader: FewShotSegmenter
    """Reads the blocks from the cut on."""
    start: int


class SegmenterStage:
    """The few-shot segmenter on the features of labelled samples.

    Args:
        ws: w of the labelled samples, (n, w_dim) or (n, num_ws, w_dim).
        masks: their labels, (n, H, W) int64.
        transfer: style-transfer labelling; None: the segmenter learns from the labelled samples alone.
        mirrored: (256,), what an id becomes in a mirrored picture (:attr:`LabelSet.mirrored`); None: itself.
    """

    name = "segmenter"
    averaged = ("segmenter",)

    def __init__(
        self,
        split: SplitGenerator,
        segmenter: FewShotSegmenter,
        ws: torch.Tensor,
        masks: torch.Tensor,
        config: SegmenterConfig,
        transfer: StyleTransfer | None = None,
        mirrored: torch.Tensor | None = None,
    ) -> None:
        self.split, self.segmenter, self.config = split.eval().requires_grad_(False), segmenter.requires_grad_(True).train(), config
        self.ws, self.masks, self.transfer, self.mirrored = ws, masks, transfer, mirrored
        counts = torch.bincount(masks.flatten(), minlength=segmenter.out.out_channels).float()
        weight = (counts / counts.sum()).clamp_min(MIN_FREQUENCY) ** -CLASS_BALANCE * (counts > 0)
        self.weight = weight / (weight * counts).sum() * counts.sum()
        self.modules: dict[str, nn.Module] = {"segmenter": segmenter}
        if transfer is not None:
            self.modules["reader"] = transfer.reader.requires_grad_(True).train()
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY)
            for name, net in self.modules.items()
        }

    def step_kind(self, index: int) -> Hashable:
        return self.transfer is not None and index >= self.transfer.start

    def step(self, run: Run) -> None:
        to_device(self.split, run.device)
        size = run.config.batch
        pick, moves = torch.randint(len(self.masks), (size,), generator=run.rng("pick")), _draw(run, "", size)
        transferred: tuple[torch.Tensor, ...] = ()
        if self.transfer is not None:
            self.transfer.labeler.to(run.device)
            if run.index < self.transfer.start:
                self._train_reader(run, self.transfer)
            else:
                z = torch.randn(STYLE_TRANSFER_BATCH, self.split.generator.z_dim, generator=run.rng("others"))
                transferred = self.transferred(run, self.transfer, self.split.w(run.local_shard(z)))

        def terms() -> Iterator[torch.Tensor]:
            parts = run.microbatches(*(run.local_shard(x) for x in (pick, *moves)))
            others = iter(run.microbatches(*transferred) if transferred else ())
            for index, mirror, move in parts:  # of others there may be fewer
                other = next(others, ())
                with torch.no_grad(), run.autocast():
                    levels, _ = self.split.feature_pyramid(self.ws.to(run.device)[index], noise_mode="random")
                loss = self._loss(run, self.segmenter, levels, self.masks.to(run.device)[index], mirror, move)
                if other:
                    with torch.no_grad(), run.autocast():
                        levels, _ = self.split.feature_pyramid(other[0], noise_mode="random")
                    loss = loss + self._loss(run, self.segmenter, levels, other[1], name="others/")
                yield loss

        run.update("segmenter", terms)

    def _loss(
        self,
        run: Run,
        net: FewShotSegmenter,
        levels: Sequence[torch.Tensor],
        mask: torch.Tensor,
        mirror: torch.Tensor | None = None,
        move: torch.Tensor | None = None,
        name: str = "",
    ) -> torch.Tensor:
        """Weighted cross-entropy of ``net`` on ``levels`` (features of every block) to ``mask``, both mirrored and shifted alike."""
        levels = [level.float() for level in levels]
        if mirror is not None and move is not None:
            levels = [mirror_and_shift(level, mirror, move, mask.shape[-1]) for level in levels]
            mask = mirror_and_shift(mask[:, None].float(), mirror, move, mask.shape[-1])[:, 0].round().long()
            if self.mirrored is not None:
                mask = torch.where(mirror[:, None, None], self.mirrored.to(mask.device)[mask].to(mask), mask)
        with run.autocast():
            logits = net(levels)
        # weights average one over the labelled samples; a weighted mean would depend on how a batch is split
        loss = F.cross_entropy(logits.float(), mask, self.weight.to(run.device), reduction="none").mean()
        run.log(f"loss/{name}cross_entropy", loss)
        run.log(f"loss/{name}accuracy", (logits.argmax(dim=1) == mask).float().mean())
        return loss

    def _train_reader(self, run: Run, transfer: StyleTransfer) -> None:
        """A step of the reader: the labelled samples rearranged to their own layout, every other one warped like its mask."""
        size = STYLE_TRANSFER_BATCH
        pick = torch.randint(len(self.masks), (size,), generator=run.rng("look/pick"))
        grids, plain = warp_grid(size, run.rng("look/bend")), torch.arange(size) % 2 == 0
        moves = _draw(run, "look/", size)

        def terms() -> Iterator[torch.Tensor]:
            for index, grid, straight, mirror, move in run.microbatches(*(run.local_shard(x) for x in (pick, grids, plain, *moves))):
                with run.autocast():
                    own, mask = transfer.labeler.labelled()[0][index], self.masks.to(run.device)[index]
                    layout, mask = (torch.where(straight[:, None, None], x, warp(x, grid)) for x in (own, mask))
                    levels = transfer.labeler.levels(layout, index)
                yield self._loss(run, transfer.reader, levels, mask, mirror, move, "look/")

        run.update("reader", terms)

    @torch.no_grad()
    def transferred(self, run: Run, transfer: StyleTransfer, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples and their labels by style transfer: w (B, w_dim) -> w, labels (B, H, W).

        The layout of each sample is rearranged to the style of the nearest labelled sample; the reader segments the result.
        """
        with run.autocast():
            layout = transfer.labeler.layout(w)
            return w, transfer.reader(transfer.labeler.levels(layout, transfer.labeler.nearest(layout))).float().argmax(dim=1)

    def grid(self, run: Run) -> Image.Image | None:
        """None: the few labelled samples are fitted almost at once."""
        return None


def _draw(run: Run, purpose: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of ``size`` samples are mirrored (size,), and by how many pixels each is shifted (size, 2)."""
    mirrored = torch.rand(size, generator=run.rng(purpose + "flip")) < 0.5
    return mirrored, torch.randint(-SHIFT, SHIFT + 1, (size, 2), generator=run.rng(purpose + "shift"))


def mirror_and_shift(x: torch.Tensor, mirror: torch.Tensor, move: torch.Tensor, width: int) -> torch.Tensor:
    """Mirror and shift maps (B, C, h, w) of any resolution by whole cells, edges repeated.

    ``mirror``: (B,) bool; ``move``: (B, 2) rows and columns, in pixels of a picture ``width`` wide.
    """
    x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    h, w = x.shape[-2:]
    cells = (move.float() * w / width).round().long()
    rows = (torch.arange(h, device=x.device)[None] + cells[:, :1]).clamp(0, h - 1)
    cols = (torch.arange(w, device=x.device)[None] + cells[:, 1:]).clamp(0, w - 1)
    x = x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, w))
    return x.gather(3, cols[:, None, None, :].expand(-1, x.shape[1], h, -1))
