import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import check_report, colorize, overlay, read_mask, write_mask

LABELS = LabelSet.of([("background", "#202020"), ("hair", "#ff8000"), ("skin", "#e0c0a0"), ("eyes", "#0000ff"), ("mouth", "#ff0040")])
MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, len(LABELS) - 1))
RNG = np.random.default_rng(0)
MASK = RNG.integers(0, len(LABELS), (40, 40)).astype(np.uint8)


def png(picture: Image.Image) -> Image.Image:
    """The picture, saved and read again."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    loaded = Image.open(io.BytesIO(buffer.getvalue()))
    loaded.load()
    return loaded


@settings(max_examples=30, deadline=None)
@given(mask=MASKS)
def test_every_form_of_a_mask_reads_back_as_the_same_ids(mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "mask.png"
    write_mask(path, mask, LABELS)
    assert Image.open(path).mode == "P"
    colors = colorize(mask, LABELS)
    opaque = np.concatenate([colors, np.full((*mask.shape, 1), 255, np.uint8)], axis=-1)
    forms = [
        path,
        str(path),
        mask,
        mask.astype(np.int64),
        colors,
        opaque,
        png(Image.fromarray(mask)),
        png(Image.fromarray(mask.astype(np.uint16))),
        Image.fromarray(mask.astype(np.int32)),
        Image.merge("LA", [Image.fromarray(mask), Image.new("L", mask.shape[::-1], 255)]),
        png(Image.fromarray(colors)),
        png(Image.fromarray(opaque)),
    ]
    for form in forms:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ids = read_mask(form, LABELS)
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, mask)


@settings(max_examples=30, deadline=None)
@given(mask=MASKS, order=st.permutations(range(len(LABELS))))
def test_a_palette_in_another_order_is_read_by_colour(mask, order):
    position = np.argsort(order).astype(np.uint8)
    picture = Image.fromarray(position[mask])
    picture.putpalette(LABELS.colors[list(order)].reshape(-1).tolist())
    np.testing.assert_array_equal(read_mask(png(picture), LABELS), mask)


def test_a_foreign_palette_is_read_by_index():
    picture = Image.fromarray(MASK)
    picture.putpalette([1, 2, 3, 200, 1, 1, 90, 9, 9, 8, 8, 8, 7, 7, 7])
    np.testing.assert_array_equal(read_mask(png(picture), LABELS), MASK)
    picture = Image.fromarray(MASK + 10)
    picture.putpalette([3] * 768)
    with pytest.raises(ProxymaskError, match="#030303"):
        read_mask(picture, LABELS)


def test_one_bit_pictures_are_ids_0_and_1():
    bits = MASK[:, :33] > 2  # a width that is not a multiple of 8
    np.testing.assert_array_equal(read_mask(png(Image.fromarray(bits)), LABELS), bits.astype(np.uint8))


def test_transparent_is_background():
    pixels = np.concatenate([colorize(MASK, LABELS), np.full((40, 40, 1), 255, np.uint8)], axis=-1)
    pixels[:10] = [9, 99, 199, 0]
    ids = read_mask(Image.fromarray(pixels), LABELS)
    assert (ids[:10] == 0).all()
    np.testing.assert_array_equal(ids[10:], MASK[10:])


def test_few_edge_pixels_get_the_nearest_class_and_many_are_refused():
    colors = colorize(MASK, LABELS)
    colors[0, 0] = LABELS.colors[1] + [0, 3, 5]
    with pytest.warns(UserWarning, match=r"\(1\) lie on edges"):
        ids = read_mask(colors, LABELS)
    assert ids[0, 0] == 1
    np.testing.assert_array_equal(ids.reshape(-1)[1:], MASK.reshape(-1)[1:])
    colors[:5, :7] = [20, 255, 30]
    with pytest.raises(ProxymaskError, match=r"#14ff1e \(35 pixels; nearest is 0 background #202020\)"):
        read_mask(colors, LABELS)


def test_unknown_ids_are_listed_with_counts():
    mask = MASK.copy()
    mask[0, :3] = 7
    with pytest.raises(ProxymaskError, match=r"7 \(3 pixels\); the ids of the classes stand in their labels.json"):
        read_mask(mask, LABELS)
    with pytest.raises(ProxymaskError, match=r"-1 \(1,600 pixels\); the ids of the classes"):
        read_mask(np.full((40, 40), -1), LABELS)


def test_a_black_and_white_picture_is_refused_with_a_hint():
    for mode in ("L", "RGB"):
        picture = Image.fromarray((MASK > 2).astype(np.uint8) * 255).convert(mode)
        with pytest.raises(ProxymaskError, match=r"black and white.*folder"):
            read_mask(picture, LABELS)


def test_a_photo_is_refused_with_a_hint():
    photo = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for picture in (photo, Image.fromarray(photo), Image.fromarray(photo).convert("L")):
        with pytest.raises(ProxymaskError, match="photo"):
            read_mask(picture, LABELS)


def test_folder_of_binary_files(tmp_path):
    hair, skin, eyes = np.zeros((3, 12, 12), bool)
    hair[:6], skin[4:9], eyes[5:6, :4] = True, True, True
    Image.fromarray(hair).save(tmp_path / "hair.png")  # 1 bit
    Image.fromarray(skin.astype(np.uint8)).save(tmp_path / "2.png")  # 0 and 1
    Image.fromarray((eyes * 255).astype(np.uint8)).convert("RGB").save(tmp_path / "eyes.png")
    LABELS.save(tmp_path / "labels.json")
    expected = np.zeros((12, 12), np.uint8)
    expected[hair], expected[skin], expected[eyes] = 1, 2, 3
    np.testing.assert_array_equal(read_mask(tmp_path, LABELS), expected)

    Image.fromarray(skin).save(tmp_path / "skin.png")
    with pytest.raises(ProxymaskError, match="two files for skin"):
        read_mask(tmp_path, LABELS)
    (tmp_path / "skin.png").unlink()
    Image.fromarray(skin[:5]).save(tmp_path / "mouth.png")
    with pytest.raises(ProxymaskError, match="12x5, the others 12x12"):
        read_mask(tmp_path, LABELS)
    (tmp_path / "mouth.png").rename(tmp_path / "nose.png")
    with pytest.raises(ProxymaskError, match=r"nose\.png is named after no class"):
        read_mask(tmp_path, LABELS)


def test_an_empty_class_file_stays_empty(tmp_path):
    Image.new("L", (8, 8), 0).save(tmp_path / "hair.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "background.png")
    assert (read_mask(tmp_path, LABELS) == 0).all()


def test_resizing_is_nearest_and_square_only():
    doubled = read_mask(MASK, LABELS, size=80)
    np.testing.assert_array_equal(doubled, MASK.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(read_mask(doubled, LABELS, size=40), MASK)
    assert read_mask(np.zeros((100, 99), int), LABELS, size=32).shape == (32, 32)
    with pytest.raises(ProxymaskError, match=r"40x20.*crop it to a square"):
        read_mask(MASK[:20], LABELS, size=32)
    assert read_mask(MASK[:20], LABELS).shape == (20, 40)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_pictures_are_refused(tmp_path, content):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(ProxymaskError, match=r"mask\.png is not a picture"):
        read_mask(path, LABELS)


def test_missing_and_truncated_files_are_named(tmp_path):
    with pytest.raises(ProxymaskError, match="missing"):
        read_mask(tmp_path / "none.png", LABELS)
    path = tmp_path / "mask.png"
    write_mask(path, MASK, LABELS)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ProxymaskError, match="truncated"):
        read_mask(path, LABELS)


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4,), int), np.zeros((0, 4), int), np.zeros((5, 4, 2), int)])
def test_arrays_that_are_no_masks_are_refused(array):
    with pytest.raises(ProxymaskError, match="array"):
        read_mask(array, LABELS)


def test_overlay_mixes_and_checks_shapes():
    picture = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(overlay(picture, MASK, LABELS, 0), picture)
    np.testing.assert_array_equal(overlay(picture, MASK, LABELS, 1), colorize(MASK, LABELS))
    half = (picture.astype(float) + colorize(MASK, LABELS)) / 2
    assert np.abs(overlay(picture, MASK, LABELS, 0.5) - half).max() <= 0.5
    with pytest.raises(ProxymaskError, match="same height"):
        overlay(picture[:5], MASK, LABELS)


def test_report_lists_shares_and_missing_classes():
    mask = np.zeros((10, 100), np.uint8)
    mask[:3] = 2
    mask[9, 99] = 3
    lines = check_report(mask, LABELS).splitlines()
    assert lines[0] == "100x10 pixels, 3 of 5 classes"
    assert lines[1].split() == ["0", "background", "#202020", "69.9%"]
    assert lines[2].split() == ["2", "skin", "#e0c0a0", "30.0%"]
    assert lines[3].split()[-1] == "0.1%"
    assert lines[4] == "not in it: hair, mouth"
    with pytest.raises(ProxymaskError, match="9"):
        check_report(mask + 9, LABELS)
