"""Reading what a caller gives as masks: one or many, in any usual form.

Shapes: B masks of H x W pixels, N labels.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..core.checks import check_value
from ..core.errors import ProxymaskError
from ..core.files import check_path
from ..core.sizes import Size
from ..imaging.arrays import tensor_array
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask

MaskLike = str | Path | np.ndarray | torch.Tensor | Image.Image
"""One mask or other input: a path, a PIL image, or an array or tensor (any device). Of masks: ids (H, W), one-hot planes (N, H, W), or
colours (H, W, 3 or 4) or (3 or 4, H, W)."""
MasksLike = MaskLike | Sequence[MaskLike]
"""One mask, or many: a list of masks, ids (B, H, W), one-hot planes (B, N, H, W), or colours (B, H, W, 3 or 4) or (B, 3 or 4, H, W)."""
COLOURS = (3, 4)  # channels of a mask in colours: RGB, RGBA
KINDS = "a path, a PIL image, or an array or tensor of label ids"


class Masks(NamedTuple):
    """``ids``: masks, uint8 (H, W) each; ``single``: the caller gave one mask and not a list or batch of one."""

    ids: list[np.ndarray]
    single: bool


def as_source(source: object) -> str | Path | np.ndarray | Image.Image:
    """One input with tensors brought to numpy; a :class:`ProxymaskError` where its type is none of :data:`MaskLike`."""
    if isinstance(source, torch.Tensor):
        return tensor_array(source)
    if isinstance(source, str):
        check_path(source, "the input")
    if isinstance(source, np.ndarray | Image.Image):
        return source
    if isinstance(source, str | os.PathLike):
        return check_value("mask", source, str | Path) if isinstance(source, str | Path) else Path(source)
    raise ProxymaskError(f"an input is {KINDS}, not of type {type(source).__name__}")


def read_masks(masks: object, labels: LabelSet, size: Size, strict: bool = False) -> Masks:
    """Check one or many masks against the labels and bring them to ``size``.

    Args:
        masks: see :data:`MasksLike`. Three-dimensional arrays of integers are ids (B, H, W), or one mask in colours where the last axis
            has 3 or 4, or where the first has and values are no ids; those of floats, and of bools with N planes, are one mask in one-hot
            planes (N, H, W), or in colours from 0 to 1 where an axis has 3 or 4 and not the first N.
        labels: the N classes.
        size: of the pictures; nearest neighbour.
        strict: see :func:`read_mask`.

    Raises:
        ProxymaskError: a wrong type or shape, planes that are not one-hot, ids or colours that are no class, no mask at all.
    """
    if isinstance(masks, list | tuple):
        if not masks:
            raise ProxymaskError("there are no masks: the list is empty")
        return Masks([_in_list(mask, index, labels, size, strict) for index, mask in enumerate(masks)], single=False)
    source = as_source(masks)
    if not isinstance(source, np.ndarray):
        return Masks([read_mask(source, labels, size, strict)], single=True)
    found = _split(source, len(labels))
    return Masks([read_mask(mask, labels, size, strict) for mask in found.ids], found.single)


def read_single_mask(mask: object, labels: LabelSet, size: Size, strict: bool = False) -> np.ndarray:
    """One mask as ids uint8 (H, W) of ``size``; see :func:`read_masks`. A batch is refused."""
    if isinstance(mask, list | tuple):
        raise ProxymaskError(f"one mask is {KINDS}, not a {type(mask).__name__}; give several masks to synth(masks, styles)")
    found = read_masks(mask, labels, size, strict)
    if not found.single:
        raise ProxymaskError(f"this is a batch of {len(found.ids)} masks where one is wanted: give it to synth(masks, styles)")
    return found.ids[0]


def _in_list(mask: object, index: int, labels: LabelSet, size: Size, strict: bool) -> np.ndarray:
    """A mask of a list; a problem names a file by its path, anything else by its position."""
    try:
        return read_single_mask(mask, labels, size, strict)
    except ProxymaskError as error:
        raise error if isinstance(mask, str | os.PathLike) else ProxymaskError(f"masks[{index}]: {error.message}") from None


def _split(array: np.ndarray, num_labels: int) -> Masks:
    """The masks of an array, as :func:`read_mask` takes them: ids (H, W) or colours (H, W, 3 or 4) each."""
    integers = np.issubdtype(array.dtype, np.integer)
    if array.size and array.ndim == 2:
        return Masks([array], single=True)
    if array.size and array.ndim == 3:
        if integers and array.shape[2] in COLOURS:
            return Masks([array], single=True)
        if not integers and array.shape[0] == num_labels:
            return Masks([_from_planes(array)], single=True)
        if integers and array.shape[0] == num_labels and _is_one_hot(array):
            raise ProxymaskError(
                f"integers {array.shape} that are 1 in one of {num_labels} planes may be {num_labels} masks or one in one-hot planes: give "
                "planes as (1, N, H, W) or as floats, and masks as a list"
            )
        colors = array.dtype != bool and COLOURS.count(array.shape[0]) and (not integers or int(array.max()) >= num_labels)
        if colors or (array.shape[2] in COLOURS and array.dtype != bool):
            return Masks([array], single=True)
        if integers or array.dtype == bool:
            return Masks(list(array), single=False)
    if array.size and array.ndim == 4:
        if array.shape[1] == num_labels:
            return Masks([_from_planes(planes) for planes in array], single=False)
        if array.dtype != bool and (array.shape[3] in COLOURS or array.shape[1] in COLOURS):
            return Masks(list(array), single=False)
    raise ProxymaskError(
        f"a mask is an array or tensor of integers (H, W), or (B, H, W) for many, of colours (H, W, 3) or (3, H, W), or of one-hot planes "
        f"({num_labels}, H, W) or (B, {num_labels}, H, W), got {array.dtype} of shape {array.shape}"
    )


def _is_one_hot(planes: np.ndarray) -> bool:
    return bool(((planes == 0) | (planes == 1)).all() and (planes.sum(axis=0) == 1).all())


def _from_planes(planes: np.ndarray) -> np.ndarray:
    """One-hot planes (N, H, W) as ids (H, W)."""
    planes = np.ma.filled(planes, 0)  # masked values: of no class
    if not _is_one_hot(planes):
        raise ProxymaskError("the planes are not one-hot (a 1 in exactly one of them at every pixel): take their argmax, ids (H, W)")
    return planes.argmax(axis=0).astype(np.uint8)
