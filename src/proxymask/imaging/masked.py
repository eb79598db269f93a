"""NumPy's masked arrays as inputs: masked pixels are transparent, and unmeasured in depth maps. Shapes: H x W the size of a picture."""

import numpy as np
from PIL import Image, ImageChops


def split_masked(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers of a masked array (H, W) or (H, W, channels), 0 where they are masked, and where that is, bool (H, W), None: nowhere.

    A pixel is masked where one of its channels is. Other arrays are returned as they are.
    """
    if not isinstance(array, np.ma.MaskedArray):
        return array, None
    masked = np.ma.getmaskarray(array)
    masked = masked.any(axis=2) if masked.ndim == 3 else masked
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
