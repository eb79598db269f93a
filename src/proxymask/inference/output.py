"""What a synthesizer returns: one picture with how it was made, or many in the form that the caller chose.

Shapes: B pictures of H x W pixels, C channels (3, or those of the generator).
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image

from ..core.errors import ProxymaskError
from ..imaging.grids import to_uint8
from ..imaging.pictures import from_pixels

OutputType = Literal["pil", "numpy", "tensor"]
"""``pil``: PIL images. ``numpy``: uint8 (B, H, W, C). ``tensor``: float32 (B, C, H, W) in [-1, 1] on the synthesizer's device. Of a
single mask: one image, (H, W, C), (C, H, W)."""


@dataclass(frozen=True, eq=False)
class Result:
    """One picture and how it was made."""

    picture: Image.Image
    proxy_mask: np.ndarray
    """Clusters (h, w), the most likely one where the mapper gave probabilities; uint8, int32 where there are more than 256."""
    mask: np.ndarray | None
    """The mask as it was read, ids (H, W) uint8; None for a transfer and for other conditions."""
    notes: tuple[str, ...] = ()
    """What was noticed while a drawing, photo or depth map was read; of a mask it is a warning."""


def check_output_type(output_type: object) -> None:
    """A :class:`ProxymaskError` where it is no :data:`OutputType`."""
    if output_type not in get_args(OutputType):
        raise ProxymaskError(f"output_type {output_type!r}: use {', '.join(get_args(OutputType))}")


def make_output(blocks: list[Any], output_type: OutputType, single: bool) -> Any:
    """The blocks of pictures that :func:`block_output` gave, as one result; ``single``: of one mask."""
    if output_type == "pil":
        found: Any = [from_pixels(pixels) for block in blocks for pixels in block]
    else:
        found = torch.cat(blocks) if output_type == "tensor" else np.concatenate(blocks)
    return found[0] if single else found


def block_output(pictures: torch.Tensor, output_type: OutputType) -> Any:
    """A block of pictures (B, C, H, W): the tensor itself, or uint8 (B, H, W, C) on the CPU."""
    return pictures if output_type == "tensor" else to_uint8(pictures)
