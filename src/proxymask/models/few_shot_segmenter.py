"""The few-shot segmenter: a small CNN on the features of the frozen generator (supplement E, after RepurposeGAN, Tritrong et al. 2021).

It labels generated samples, whose features are known, to make the training pairs of the mapper. One sample labelled by hand is enough,
because the features of the generator already separate the classes.

Shapes: B pictures; N classes; block l has features (B, C_l, h_l, w_l); H x W the size of the pictures.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.sizes import START, block_size, check_start


class FewShotSegmenter(ConfigModel):
    """Features of all blocks -> logits of the classes at the size of the picture.

    The input is a hypercolumn: the features of all blocks, upsampled and concatenated. A 1x1 convolution of it equals the sum of 1x1
    convolutions before upsampling, so the hypercolumn itself (thousands of channels at 1024 pixels) is never built.

    Args:
        level_channels: C_l, the feature channels of each block, 4x4 first.
        resolution: R, side of the picture.
        num_labels: N.
        width: channels after the hypercolumn.
        dilations: of the 3x3 convolutions that follow.
        skip_levels: number of blocks left out, 4x4 first (RepurposeGAN leaves out one).
        start: (height, width) of the generator's first block; (H, W) is ``R / 4`` times that.
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
        """Store the root mean square of each block's features, by which :meth:`forward` divides them."""
        for index, level in enumerate(levels):
            self.level_rms[index] = level.float().square().mean().sqrt().clamp_min(1e-6)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features of every block (:meth:`SplitGenerator.feature_pyramid`), each (B, C_l, h_l, w_l) -> logits (B, N, H, W)."""
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

    def predict(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features of every block, of any precision -> label ids (B, H, W), int64."""
        return self([level.float() for level in levels]).float().argmax(dim=1)
