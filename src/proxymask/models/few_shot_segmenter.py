"""The few-shot segmenter: a small CNN on the frozen generator's own features (method 4.3, after RepurposeGAN).

One hand-labelled sample is enough, because the generator's activations already separate what the labels name. It
needs the latent of a picture, so it labels generated samples, which is all the mapper's training asks for.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.sizes import START, block_size, check_start


class FewShotSegmenter(ConfigModel):
    """Hypercolumn of all blocks' features -> label logits at picture size.

    A 1x1 convolution of a concatenation of upsampled maps equals the sum of 1x1 convolutions taken before upsampling,
    so the wide hypercolumn (thousands of channels at 1024 pixels) is never built.

    Args:
        level_channels: feature channels of each block, 4 pixels first.
        resolution: side of the picture; with another ``start``, see there.
        num_labels: classes.
        width: channels after the hypercolumn.
        dilations: of the 3x3 convolutions that follow.
        skip_levels: blocks left out, counted from 4 pixels up (RepurposeGAN leaves out the first).
        start: the generator's start block; pictures are ``R / 4`` times that (H, W) large.
    """

    def __init__(
        self,
        level_channels: Sequence[int],
        resolution: int,
        num_labels: int,
        width: int = 64,
        dilations: Sequence[int] = (1, 2, 1, 2),
        skip_levels: int = 1,
        start: Sequence[int] = START,
    ) -> None:
        super().__init__()
        self.resolution, self.skip_levels = resolution, skip_levels
        self.start, self.size = check_start(start), block_size(resolution, start)
        self.project = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in level_channels[skip_levels:])
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.out = nn.Conv2d(width, num_labels, 1)
        self.register_buffer("level_rms", torch.ones(len(level_channels)))

    level_rms: torch.Tensor

    @torch.no_grad()
    def calibrate(self, levels: Sequence[torch.Tensor]) -> None:
        """Set the size of each level's features, so that all enter alike."""
        for index, level in enumerate(levels):
            self.level_rms[index] = level.float().square().mean().sqrt().clamp_min(1e-6)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features of every block (``SplitGenerator.pyramid``), each (B, C_l, h_l, w_l) -> logits (B, N, H, W)."""
        total: torch.Tensor | None = None
        used = list(zip(levels, self.level_rms, strict=True))[self.skip_levels :]
        for (level, rms), conv in zip(used, self.project, strict=True):
            part = F.interpolate(conv(level / rms), size=self.size, mode="bilinear", align_corners=False)
            total = part if total is None else total + part
        assert total is not None
        x = total / len(self.project) ** 0.5
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, 0.2))
        return self.out(F.leaky_relu(x, 0.2))
