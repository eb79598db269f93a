"""Masked arrays, whose hidden values are never used; tensors of every layout; pictures that were closed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from proxymask.conditions import get_condition
from proxymask.conditions.depth import read_depth
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.masks import read_mask_notes
from proxymask.imaging.reader import as_picture, opacity, read_picture
from proxymask.inference.inputs import read_masks

N = len(AVATAR_LABELS)
HIDDEN = np.zeros((64, 64), bool)
HIDDEN[:20] = True
IDS = np.repeat(np.repeat(np.array([[1, 7], [5, 2]], np.uint8), 32, axis=0), 32, axis=1)
COLOURS = AVATAR_LABELS.colors[IDS]


def masked(array: np.ndarray, under: float) -> np.ma.MaskedArray:
    """``array`` with ``under`` stored, and masked, where HIDDEN says so."""
    array = array.copy()
    array[HIDDEN] = under
    return np.ma.masked_array(array, HIDDEN if array.ndim == 2 else np.repeat(HIDDEN[..., None], array.shape[2], axis=2))


@pytest.mark.parametrize(
    "array",
    [
        masked(IDS, 200),
        masked(IDS.astype(np.int64), -5),
        masked(COLOURS, 13),
        masked(COLOURS / 255, np.nan),
        np.moveaxis(masked(COLOURS, 13), 2, 0),
        masked(np.dstack([COLOURS, np.full((64, 64), 255, np.uint8)]), 255),
    ],
    ids=["ids", "int64", "colours", "floats", "channels-first", "rgba"],
)
def test_masked_pixels_of_masks_are_transparent(array: np.ndarray) -> None:
    read = read_mask_notes(array, AVATAR_LABELS)
    assert np.array_equal(read.ids, np.where(HIDDEN, 0, IDS))
    assert np.array_equal(read.painted, ~HIDDEN)
    assert read.notes == ()


def test_batches_and_planes_of_masked_arrays() -> None:
    two = np.ma.masked_array(np.stack([masked(IDS, 200)] * 2), np.stack([HIDDEN] * 2))
    found = read_masks(two, AVATAR_LABELS, 64)
    assert [np.array_equal(ids, np.where(HIDDEN, 0, IDS)) for ids in found.ids] == [True, True]
    planes = np.ma.masked_array(np.eye(N, dtype=np.float32)[IDS].transpose(2, 0, 1), np.repeat(HIDDEN[None], N, axis=0))
    with pytest.raises(ProxymaskError, match="not one-hot"):
        read_masks(planes, AVATAR_LABELS, 64)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_masked_depth_is_unmeasured(dtype: type) -> None:
    metres = 1 + np.add.outer(np.arange(64), np.arange(64)) / 64
    depth, under = (metres, -999.5) if dtype == np.float32 else (metres * 1000, 65000)
    read = read_depth(masked(depth.astype(dtype), under))
    alone = read_depth(depth[20:].astype(dtype))
    assert np.array_equal(read.known, ~HIDDEN)
    assert np.allclose(read.near[20:], alone.near)
    assert read.notes[-1] == "31% of it is unmeasured"


PICTURES = {"grey": IDS * 30, "float": IDS * np.float32(0.1), "deep": IDS.astype(np.int32) * 500, "rgb": COLOURS}


@pytest.mark.parametrize("array", PICTURES.values(), ids=PICTURES)
def test_masked_pixels_of_pictures_are_transparent(array: np.ndarray) -> None:
    source = masked(array, 3)
    visible = opacity(as_picture(source))
    assert visible is not None
    assert np.array_equal(visible > 0, ~HIDDEN)
    assert (np.asarray(read_picture(source, notes=[]))[HIDDEN] == 255).all()


def test_masked_parts_of_drawings_and_scribbles() -> None:
    paper = np.full((64, 64), 255, np.uint8)
    paper[30:60, 20:24] = 0
    sketch = get_condition("sketch")
    assert torch.equal(sketch.read(masked(paper, 0), 64).planes, sketch.read(paper, 64).planes)
    scribble = get_condition("scribble", AVATAR_LABELS)
    blank = np.where(HIDDEN, 255, IDS).astype(np.uint8)
    assert torch.equal(scribble.read(masked(IDS, 200), 64).planes, scribble.read(blank, 64).planes)


def test_tensors_of_every_layout() -> None:
    ids = torch.from_numpy(IDS.copy())
    for tensor in (ids.to_sparse(), ids.t().contiguous().t(), ids.to(torch.uint16), ids.to(torch.int64).to_sparse_csr()):
        assert np.array_equal(read_masks(tensor, AVATAR_LABELS, 64).ids[0], IDS)
        assert np.array_equal(read_mask_notes(tensor, AVATAR_LABELS).ids, IDS)
    planes = torch.nn.functional.one_hot(ids.long(), N).permute(2, 0, 1)
    for tensor in (planes.float().to(torch.float8_e4m3fn), planes.half().requires_grad_()):
        assert np.array_equal(read_masks(tensor, AVATAR_LABELS, 64).ids[0], IDS)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["meta", "nested"])
def test_tensors_without_values_are_refused(kind: str) -> None:
    nested = kind == "nested"
    tensor = torch.nested.nested_tensor([torch.ones(8, 8)]) if nested else torch.empty(8, 8, dtype=torch.long, device="meta")
    for read in (lambda: read_masks(tensor, AVATAR_LABELS, 64), lambda: read_picture(tensor)):
        with pytest.raises(ProxymaskError, match=rf"a tensor cannot be read as an array \(.*{kind}"):
            read()


def test_a_closed_picture_is_not_called_damaged(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "x.png")
    for loaded in (False, True):
        picture = Image.open(tmp_path / "x.png")
        if loaded:
            picture.load()
        picture.close()
        with pytest.raises(ProxymaskError, match="closed before it was read"):
            read_mask_notes(picture, AVATAR_LABELS)
