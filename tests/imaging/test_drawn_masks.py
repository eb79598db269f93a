"""Exact masks of every kind of drawn pictures are read as they are, in each form; the same masks, resized smoothly as ids, are refused."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from proxymask.core.errors import ProxymaskError
from proxymask.data.drawn_dataset import ARTS
from proxymask.imaging.masks import read_mask

SIZE, COUNT = 64, 40
NEEDS = {"avatars": "robohash", "cats": "robohash", "churches": "embreex", "bedrooms": "embreex"}


@pytest.fixture(scope="module", params=sorted(NEEDS))
def drawn(request):
    pytest.importorskip(NEEDS[request.param])
    art = ARTS[request.param]
    composer = art.composer(SIZE, None)
    return art.labels, [composer.compose(56, index).mask.astype(np.uint8) for index in range(COUNT)]


def test_exact_masks_are_read_as_they_are(drawn):
    labels, masks = drawn
    palette = labels.colors.reshape(-1).tobytes().ljust(768, b"\0")
    for mask in masks:
        indexed = Image.fromarray(mask)
        indexed.putpalette(palette)
        for form in (mask, Image.fromarray(mask), indexed, Image.fromarray(labels.colors[mask])):
            assert np.array_equal(read_mask(form, labels, SIZE), mask)
        larger = np.kron(mask, np.ones((2, 2), np.uint8))
        assert np.array_equal(read_mask(larger, labels, 2 * SIZE), larger)


def is_refused(mask, labels):
    try:
        read_mask(mask, labels, 2 * SIZE)
    except ProxymaskError as error:
        return "mixed at the edges" in str(error)
    return False


@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_ids_that_were_resized_smoothly_are_refused(drawn, how):
    labels, masks = drawn
    soft = [np.asarray(Image.fromarray(mask).resize((2 * SIZE, 2 * SIZE), how)).clip(0, len(labels) - 1) for mask in masks]
    assert sum(is_refused(mask, labels) for mask in soft) >= 0.9 * COUNT


def softly_painted(mask, label):
    """A mask with an ellipse of ``label`` in its middle, painted with a soft edge."""
    side = mask.shape[0]
    share = Image.new("L", (8 * side, 8 * side))
    ImageDraw.Draw(share).ellipse([2.4 * side, 2.4 * side, 5.6 * side, 4.8 * side], fill=255)
    share = np.asarray(share.resize((side, side), Image.Resampling.BOX)) / 255
    return np.round(mask * (1 - share) + label * share).astype(np.uint8)


def test_one_soft_stroke_is_refused(drawn):
    """Where the stroke meets what is no more than two ids away, nothing lies between them."""
    labels, masks = drawn
    larger = [np.kron(mask, np.ones((2, 2), np.uint8)) for mask in masks]
    assert not any(is_refused(mask, labels) for mask in larger)
    painted = [softly_painted(mask, len(labels) - 1) for mask in larger]
    assert sum(is_refused(mask, labels) for mask in painted) >= (0.5 if len(labels) > 6 else 0.1) * COUNT
