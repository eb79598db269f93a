"""Before stage 1, beyond the paper: the layout reader, from style-mixed samples alone (proxy/reader.py)."""

import dataclasses
from collections.abc import Iterator

import torch
from PIL import Image
from torch import nn

from .. import losses
from ..generators.cut import CutGenerator
from ..proxy.reader import LayoutReader
from .loop import Run


@dataclasses.dataclass(frozen=True)
class ReaderConfig:
    """The layout reader's width and recipe."""

    hidden: int = 0
    """Width of the network that takes colour out of the features before they are clustered; 0: none (the paper has no such network)."""
    layers: tuple[int, ...] = (3, 4)
    """How many of the first layers of a sample it is shown stay the sample's, the rest being another's; drawn for every sample. A third
    of the samples are shown as they are."""
    target: int = 3
    """How many stay in what it has to tell, the rest being the mean's. Fewer leave less colour, and less layout."""
    learning_rate: float = 0.002
    """Adam, falling to nothing."""
    steps: int = 1200
    """Steps ..."""
    batch: int = 16
    """... of so many samples."""


class ReaderStage:
    """The layout reader of a frozen generator."""

    name = "reader"
    averaged = ("reader",)

    def __init__(self, cut: CutGenerator, reader: LayoutReader, config: ReaderConfig) -> None:
        self.cut, self.reader, self.config = cut.eval().requires_grad_(False), reader.requires_grad_(True).train(), config
        self.modules: dict[str, nn.Module] = {"reader": reader}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "reader": torch.optim.Adam(reader.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        }

    @torch.no_grad()
    def pairs(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """This process' share of features as they are shown, and as they would be in the mean look."""
        generator, size, rng = self.cut.generator, run.config.batch, run.rng("samples")
        z = run.share(torch.randn(size, 2, generator.z_dim, generator=rng))
        choices = torch.tensor([*self.config.layers] * 2 + [generator.num_ws] * len(self.config.layers))
        stay = run.share(choices[torch.randint(len(choices), (size,), generator=rng)])
        own, other = (generator.broadcast(self.cut.w(z[:, i])) for i in (0, 1))
        layer = torch.arange(own.shape[1], device=own.device)[None, :, None]
        mean = generator.broadcast(generator.mapping.w_avg[None].to(own))
        with run.cast():
            shown = self.cut.features(torch.where(layer < stay[:, None, None], own, other)).features
            wanted = self.cut.features(torch.where(layer < self.config.target, own, mean)).features
        return shown, wanted

    def step(self, run: Run) -> None:
        self.cut.to(run.device)
        for group in self.optimizers["reader"].param_groups:
            left = 1 - run.index / run.config.steps
            group["lr"] = self.config.learning_rate * min(1.0, (run.index + 1) / 30) * max(left, 0.0)
        shown, wanted = self.pairs(run)

        def terms() -> Iterator[torch.Tensor]:
            for shown_, wanted_ in run.rounds(shown, wanted):
                with run.cast():
                    read = self.reader(shown_)
                loss = losses.direction(read, wanted_)
                run.log("loss/direction", loss)
                yield loss

        run.update("reader", terms)

    def grid(self, run: Run) -> Image.Image | None:
        """Nothing to show but numbers."""
        return None
