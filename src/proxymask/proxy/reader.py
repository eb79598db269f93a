"""Beyond the paper: what k-means is shown instead of the features, so that clusters tell layout and not colour.

Features at the cut tell what is where and what it looks like, and clusters of them do too: light skin and dark skin are two of them.
A layout then asks a style for what it has not. A style-mixed sample (the first layers of one latent, the rest of another) keeps most of
the first one's layout; with the rest always the generator's mean w, all samples look alike. This small network learns, from nothing but
the generator, what features would be in that mean look: where the rest cannot be told from the layout, it gives their mean.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..layers import EqualConv


class LayoutReader(nn.Module):
    """Features (B, C, h, w) -> directions (B, C, h, w) in which they would point in the mean look; three convolutions.

    Args:
        channels: C.
        hidden: width inside.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.inside, self.leave = EqualConv(channels, hidden), EqualConv(hidden, hidden), EqualConv(hidden, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The length of a feature does not matter, as in spherical k-means."""
        x = F.normalize(features.float(), dim=1) * features.shape[1] ** 0.5
        for conv in (self.enter, self.inside):
            x = F.leaky_relu(conv(x), 0.2) * 2**0.5
        return self.leave(x)
