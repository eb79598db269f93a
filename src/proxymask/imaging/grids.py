"""Grids of pictures, for sheets and logs."""

import numpy as np
import torch
from PIL import Image

from ..core.threads import one_thread


@one_thread()
def to_uint8(pictures: torch.Tensor) -> np.ndarray:
    """Pictures (B, C, H, W) in [-1, 1] -> uint8 (B, H, W, C)."""
    scaled = pictures.detach().float().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def tile(rows: list[np.ndarray], scale: int = 1, gap: int = 2) -> Image.Image:
    """A grid with one row for each array, uint8 (N, H, W, C), C from 1 to 4; alpha is ignored.

    Args:
        scale: factor of enlargement by nearest neighbour.
        gap: white pixels between pictures, before enlargement.
    """
    height, width = rows[0].shape[1:3]
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            top, left = gap + y * (height + gap), gap + x * (width + gap)
            shown = cell if cell.shape[2] in (1, 3) else cell[:, :, :3] if cell.shape[2] == 4 else cell[:, :, :1]
            sheet[top : top + height, left : left + width] = shown
    picture = Image.fromarray(sheet)
    return picture if scale == 1 else picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
