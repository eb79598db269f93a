"""Stage 3: the few-shot segmenter, from 1 to 16 labelled samples (method 4.3)."""

import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..generators.cut import CutGenerator
from ..segmenter import FewShotSegmenter
from .loop import Run


@dataclasses.dataclass(frozen=True)
class SegmenterConfig:
    """The few-shot segmenter's widths and recipe."""

    width: int = 64
    """Channels after the hypercolumn."""
    learning_rate: float = 0.001
    """Adam."""
    weight_decay: float = 0.001
    """Adam's L2 term."""
    class_balance: float = 0.5
    """Classes weigh as frequency to the minus this power: small parts count for more (0: as they come)."""
    shift: int = 4
    """Largest random shift of a labelled sample, in picture pixels."""
    mix_share: float = 0.0
    """How often a labelled sample is shown style-mixed, divided by how many there are: its first layers, and another latent in the rest,
    which changes colours and leaves the labels nearly true. One sample alone teaches its colours, not its parts; 16 need no help."""
    mix_layers: tuple[int, ...] = (3, 4, 5)
    """How many of the first layers stay; drawn for every sample."""


class SegmenterStage:
    """The segmenter on the features of a handful of labelled samples."""

    name = "segmenter"
    averaged = ("segmenter",)

    def __init__(
        self, cut: CutGenerator, segmenter: FewShotSegmenter, ws: torch.Tensor, masks: torch.Tensor, config: SegmenterConfig
    ) -> None:
        """``ws``: w of the labelled samples (n, w_dim) or (n, num_ws, w_dim); ``masks``: their labels (n, H, W) int64."""
        self.cut, self.segmenter, self.config = cut.eval().requires_grad_(False), segmenter.requires_grad_(True).train(), config
        self.ws, self.masks = ws, masks
        counts = torch.bincount(masks.flatten(), minlength=segmenter.out.out_channels).float()
        weight = (counts / counts.sum()).clamp_min(1e-6) ** -config.class_balance * (counts > 0)
        self.weight = weight / (weight * counts).sum() * counts.sum()
        self.modules: dict[str, nn.Module] = {"segmenter": segmenter}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "segmenter": torch.optim.Adam(segmenter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        }

    def step(self, run: Run) -> None:
        self.cut.to(run.device)
        pick = torch.randint(len(self.masks), (run.config.batch,), generator=run.rng("pick"))
        mirrored = torch.rand(run.config.batch, generator=run.rng("flip")) < 0.5
        reach = self.config.shift
        shift = torch.randint(-reach, reach + 1, (run.config.batch, 2), generator=run.rng("shift"))

        ws = self.shown(run, pick)

        def terms() -> Iterator[torch.Tensor]:
            for w, index, mirror, move in run.rounds(run.share(ws), run.share(pick), run.share(mirrored), run.share(shift)):
                with torch.no_grad(), run.cast():
                    levels, _ = self.cut.pyramid(w, noise_mode="random")
                mask = self.masks.to(run.device)[index]
                levels = [_moved(level.float(), mirror, move, mask.shape[-1]) for level in levels]
                target = _moved(mask[:, None].float(), mirror, move, mask.shape[-1])[:, 0].round().long()
                with run.cast():
                    logits = self.segmenter(levels)
                # weights average one over the labelled samples; a weighted mean would depend on how a batch is split
                loss = F.cross_entropy(logits.float(), target, self.weight.to(run.device), reduction="none").mean()
                run.log("loss/cross_entropy", loss)
                run.log("loss/accuracy", (logits.argmax(dim=1) == target).float().mean())
                yield loss

        run.update("segmenter", terms)

    @torch.no_grad()
    def shown(self, run: Run, pick: torch.Tensor) -> torch.Tensor:
        """Latents of the picked samples (B, w_dim) or (B, num_ws, w_dim), some of them style-mixed."""
        chosen = self.ws.to(run.device)[pick]
        if not self.config.mix_share:
            return chosen
        generator, rng = self.cut.generator, run.rng("mix")
        own = generator.broadcast(chosen)
        other = generator.broadcast(self.cut.w(torch.randn(len(pick), generator.z_dim, generator=rng).to(run.device)))
        choices = torch.tensor(self.config.mix_layers)
        stay = choices[torch.randint(len(choices), (len(pick),), generator=rng)]
        stay = torch.where(torch.rand(len(pick), generator=rng) < self.config.mix_share / len(self.ws), stay, own.shape[1]).to(run.device)
        return torch.where((torch.arange(own.shape[1], device=run.device)[None] < stay[:, None])[:, :, None], own, other)

    def grid(self, run: Run) -> Image.Image | None:
        """Nothing to show: the labelled samples are fitted almost at once."""
        return None


def _moved(x: torch.Tensor, mirror: torch.Tensor, move: torch.Tensor, width: int) -> torch.Tensor:
    """Mirror and shift maps of any resolution by whole cells, edges repeated; ``move`` is in pixels of a picture ``width`` wide."""
    x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    h, w = x.shape[-2:]
    cells = (move.float() * w / width).round().long()
    rows = (torch.arange(h, device=x.device)[None] + cells[:, :1]).clamp(0, h - 1)
    cols = (torch.arange(w, device=x.device)[None] + cells[:, 1:]).clamp(0, w - 1)
    x = x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, w))
    return x.gather(3, cols[:, None, None, :].expand(-1, x.shape[1], h, -1))
