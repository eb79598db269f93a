"""The depth stage: a small depth network, trained on drawn pictures with exact depth (beyond the paper)."""

import dataclasses
from typing import Any, ClassVar

from ...models.depth_net import DepthNet
from ..depth import DepthConfig, DepthImages, DepthStage
from .definition import TrainedStage, seeded


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DepthDefinition(TrainedStage):
    """The depth network, for the extractor ``depth-net``."""

    name: ClassVar[str] = "depth"

    config: DepthConfig
    data: DepthImages

    def inputs(self) -> dict[str, Any]:
        return {"pictures": self.data.fingerprint[:16]}

    def build(self) -> DepthStage:
        with seeded(self.loop.seed, "init", "depth"):
            net = DepthNet(self.config.width)
        return DepthStage(net, self.data, self.config, self.steps)
