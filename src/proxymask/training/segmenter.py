"""Stage 3: the few-shot segmenter, from 1 to 16 labelled samples (method 4.3)."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.split_generator import SplitGenerator
from .loop import Run
from .style_transfer import StyleTransferLabeler, warp, warp_grid

TINY = 1e-6  # share of a label that there is none of
WEIGHT_DECAY = 0.001  # Adam's L2 term
CLASS_BALANCE = 0.5  # classes weigh as frequency to the minus this power: small parts count for more
SHIFT = 4  # largest random shift of a labelled sample, in picture pixels
STYLE_TRANSFER_PHASE = (
    0.6  # share of the steps, at the end, that learn from others too; in those before, the network that reads them learns
)
STYLE_TRANSFER_BATCH = 8  # pictures a step that it learns from, and others a step that the segmenter learns from


@dataclasses.dataclass(frozen=True)
class SegmenterConfig:
    """The few-shot segmenter's recipe (supplement E, after RepurposeGAN: Tritrong et al. 2021)."""

    learning_rate: float = 0.001
    """Adam's learning rate (RepurposeGAN: 0.001)."""
    style_transfer_max_labels: int = 0
    """Most labelled samples with which style-transfer labelling is on (docs/decisions.md, style-transfer-labelling). 0: never (beyond the
    paper)."""


class SegmenterStage:
    """The segmenter on the features of a handful of labelled samples."""

    name = "segmenter"
    averaged = ("segmenter",)

    def __init__(
        self,
        cut: SplitGenerator,
        segmenter: FewShotSegmenter,
        ws: torch.Tensor,
        masks: torch.Tensor,
        config: SegmenterConfig,
        looks: StyleTransferLabeler | None = None,
        reader: FewShotSegmenter | None = None,
        look_from: int = 0,
    ) -> None:
        """``ws``: w of the labelled samples (n, w_dim) or (n, num_ws, w_dim); ``masks``: their labels (n, H, W) int64; ``looks``: others
        in the looks of those, read by ``reader`` (on the blocks from the cut on), from step ``look_from`` on."""
        self.cut, self.segmenter, self.config = cut.eval().requires_grad_(False), segmenter.requires_grad_(True).train(), config
        self.ws, self.masks = ws, masks
        counts = torch.bincount(masks.flatten(), minlength=segmenter.out.out_channels).float()
        weight = (counts / counts.sum()).clamp_min(TINY) ** -CLASS_BALANCE * (counts > 0)
        self.weight = weight / (weight * counts).sum() * counts.sum()
        self.modules: dict[str, nn.Module] = {"segmenter": segmenter}
        self.looks, self.reader, self.look_from = looks, reader, look_from
        if reader is not None:
            self.modules["reader"] = reader.requires_grad_(True).train()
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY)
            for name, net in self.modules.items()
        }

    def step(self, run: Run) -> None:
        self.cut.to(run.device)
        size = run.config.batch
        pick, moves = torch.randint(len(self.masks), (size,), generator=run.rng("pick")), _draw(run, "", size, SHIFT)
        others: tuple[torch.Tensor, ...] = ()
        if self.looks is not None:
            self.looks.to(run.device)
            if run.index < self.look_from:
                self._train_style_labeler(run)
            else:
                z = torch.randn(STYLE_TRANSFER_BATCH, self.cut.generator.z_dim, generator=run.rng("others"))
                others = self.others(run, self.cut.w(run.local_shard(z)))

        def terms() -> Iterator[torch.Tensor]:
            parts = run.microbatches(*(run.local_shard(x) for x in (pick, *moves)))
            concat_channels = run.microbatches(*others) if others else itertools.repeat(())
            for (index, mirror, move), other in zip(parts, concat_channels, strict=False):
                with torch.no_grad(), run.autocast():
                    levels, _ = self.cut.feature_pyramid(self.ws.to(run.device)[index], noise_mode="random")
                loss = self._loss(run, self.segmenter, levels, self.masks.to(run.device)[index], mirror, move)
                if other:
                    with torch.no_grad(), run.autocast():
                        levels, _ = self.cut.feature_pyramid(other[0], noise_mode="random")
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
        """Cross-entropy of what ``net`` reads off ``levels``, both mirrored and shifted alike."""
        levels = [level.float() for level in levels]
        if mirror is not None and move is not None:
            levels = [_moved(level, mirror, move, mask.shape[-1]) for level in levels]
            mask = _moved(mask[:, None].float(), mirror, move, mask.shape[-1])[:, 0].round().long()
        with run.autocast():
            logits = net(levels)
        # weights average one over the labelled samples; a weighted mean would depend on how a batch is split
        loss = F.cross_entropy(logits.float(), mask, self.weight.to(run.device), reduction="none").mean()
        run.log(f"loss/{name}cross_entropy", loss)
        run.log(f"loss/{name}accuracy", (logits.argmax(dim=1) == mask).float().mean())
        return loss

    def _train_style_labeler(self, run: Run) -> None:
        """A step of the reader: the labelled samples laid out anew in their own look, every other one bent."""
        assert self.looks is not None
        assert self.reader is not None
        looks, reader, size = self.looks, self.reader, STYLE_TRANSFER_BATCH
        pick = torch.randint(len(self.masks), (size,), generator=run.rng("look/pick"))
        bend, plain = warp_grid(size, run.rng("look/bend")), torch.arange(size) % 2 == 0
        moves = _draw(run, "look/", size, SHIFT)

        def terms() -> Iterator[torch.Tensor]:
            for index, grid, straight, mirror, move in run.microbatches(*(run.local_shard(x) for x in (pick, bend, plain, *moves))):
                with run.autocast():
                    own, mask = looks.known()[0][index], self.masks.to(run.device)[index]
                    layout, mask = (torch.where(straight[:, None, None], x, warp(x, grid)) for x in (own, mask))
                    levels = looks.levels(layout, index)
                yield self._loss(run, reader, levels, mask, mirror, move, "look/")

        run.update("reader", terms)

    @torch.no_grad()
    def others(self, run: Run, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Other samples w (B, w_dim), and their labels (B, H, W), read in the look of a labelled one."""
        assert self.looks is not None
        assert self.reader is not None
        with run.autocast():
            layout = self.looks.layout(w)
            return w, self.reader(self.looks.levels(layout, self.looks.nearest(layout))).float().argmax(dim=1)

    def grid(self, run: Run) -> Image.Image | None:
        """Nothing to show: the labelled samples are fitted almost at once."""
        return None


def _draw(run: Run, purpose: str, size: int, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of ``size`` samples are mirrored, and by how many pixels each is shifted."""
    mirrored = torch.rand(size, generator=run.rng(purpose + "flip")) < 0.5
    return mirrored, torch.randint(-reach, reach + 1, (size, 2), generator=run.rng(purpose + "shift"))


def _moved(x: torch.Tensor, mirror: torch.Tensor, move: torch.Tensor, width: int) -> torch.Tensor:
    """Mirror and shift maps of any resolution by whole cells, edges repeated; ``move`` is in pixels of a picture ``width`` wide."""
    x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    h, w = x.shape[-2:]
    cells = (move.float() * w / width).round().long()
    rows = (torch.arange(h, device=x.device)[None] + cells[:, :1]).clamp(0, h - 1)
    cols = (torch.arange(w, device=x.device)[None] + cells[:, 1:]).clamp(0, w - 1)
    x = x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, w))
    return x.gather(3, cols[:, None, None, :].expand(-1, x.shape[1], h, -1))
