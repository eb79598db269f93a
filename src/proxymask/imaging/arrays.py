"""Arrays and tensors as inputs: tensors as numpy arrays; of NumPy's masked arrays, masked pixels are transparent, and unmeasured in depth
maps. Shapes: H x W the size of a picture.
"""

import numpy as np
import torch
from PIL import Image, ImageChops

from ..core.errors import ProxymaskError


def tensor_array(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor of any device and layout; bfloat16, float16 and quantised ones as float32.

    Raises:
        ProxymaskError: one that has no values (of the device meta), or that is no regular grid (nested).
    """
    try:
        plain = tensor.detach()
        plain = plain.dequantize() if plain.is_quantized else plain
        plain = plain.to_dense() if plain.layout != torch.strided else plain
        plain = plain.cpu()
        numpy_lacks = plain.is_floating_point() and plain.dtype not in (torch.float32, torch.float64)
        return (plain.float() if numpy_lacks else plain).resolve_conj().resolve_neg().numpy()
    except MemoryError:
        raise
    except Exception as error:  # torch raises many types
        kind = "it is nested" if tensor.is_nested else f"{str(tensor.dtype).removeprefix('torch.')} on the device {tensor.device}"
        reason = " ".join(str(error).split())[:100]
        raise ProxymaskError(f"a tensor cannot be read as an array ({kind}: {reason}): give one with values on a device") from None


def split_masked(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers of a masked array (H, W) or (H, W, channels), 0 where they are masked, and where that is, bool (H, W), None: nowhere.

    A pixel is masked where one of its channels is. Other arrays are returned as they are.
    """
    if not isinstance(array, np.ma.MaskedArray):
        return array, None
    stored = np.ma.getmaskarray(array)
    masked = np.asarray(stored.any(axis=2)) if stored.ndim == 3 else stored
    return array.filled(0), masked if masked.any() else None


def hide(picture: Image.Image, masked: np.ndarray) -> Image.Image:
    """A picture of mode L, F, RGB or RGBA with transparency where ``masked``, bool (H, W), says so."""
    if picture.mode == "F":  # it has no alpha channel, but may have one transparent value
        values = np.asarray(picture)
        unused = np.float32(np.floor(values[np.isfinite(values) & ~masked].min(initial=0)) - 1)
        hidden = Image.fromarray(np.where(masked, unused, values))
        hidden.info["transparency"] = float(np.asarray(hidden)[masked][0])
        return hidden
    visible = Image.fromarray(np.where(masked, 0, 255).astype(np.uint8))
    picture.putalpha(ImageChops.darker(visible, picture.getchannel("A")) if picture.mode == "RGBA" else visible)
    return picture
