import numpy as np
import pytest

from proxymask.core.errors import ProxymaskError
from proxymask.data.cats import CAT_LABELS, CATS

pytest.importorskip("robohash")


@pytest.fixture(scope="module")
def cats():
    composer = CATS.composer(64)
    return [composer.compose(0, i) for i in range(24)]


def test_every_class_occurs(cats):
    shares = np.bincount(np.concatenate([cat.mask.reshape(-1) for cat in cats]), minlength=len(CAT_LABELS)) / (24 * 64 * 64)
    assert len(shares) == len(CAT_LABELS) == 6
    assert (shares > 0.003).all()
    assert 0.3 < shares[CAT_LABELS.by_name("body").id] < 0.7


def test_the_class_fur_is_where_the_markings_are(cats):
    """Fur changes the colour of the body, so their mean colours differ."""
    tinted = 0
    fur, body = CAT_LABELS.by_name("fur").id, CAT_LABELS.by_name("body").id
    marked = [cat for cat in cats if (cat.mask == fur).sum() > 60]
    assert len(marked) >= 8
    for cat in marked:
        difference = cat.image[cat.mask == fur].mean(axis=0) - cat.image[cat.mask == body].mean(axis=0)
        tinted += np.abs(difference).max() > 5
    assert tinted >= 0.8 * len(marked)


def test_same_seed_and_index_give_the_same_picture(cats):
    again = CATS.composer(64).compose(0, 7)
    np.testing.assert_array_equal(again.image, cats[7].image)
    np.testing.assert_array_equal(again.mask, cats[7].mask)


def test_only_the_full_framing_exists():
    with pytest.raises(ProxymaskError, match="full"):
        CATS.composer(64, "head")
