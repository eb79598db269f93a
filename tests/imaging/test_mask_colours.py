"""Masks in colours: exact, a shade off, anti-aliased, resized, compressed; and pictures that are no masks."""

import warnings

import numpy as np
import pytest
from faces import COLORS, FACE, LABELS, draw_face, far_from, indexed, saved, supersampled
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask, read_mask_notes

R = Image.Resampling
PAINTED = Image.fromarray(COLORS[FACE])


def linear_light() -> Image.Image:
    """The anti-aliased face, mixed in linear light."""
    light = ((COLORS[draw_face(1024)] / 255) ** 2.2).reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    return Image.fromarray((255 * light ** (1 / 2.2)).round().astype(np.uint8))


SOFT = {
    "box": lambda: supersampled(R.BOX),
    "bilinear": lambda: supersampled(R.BILINEAR),
    "bicubic": lambda: supersampled(R.BICUBIC),
    "lanczos": lambda: supersampled(R.LANCZOS),
    "linear light": linear_light,
    "larger bicubic": lambda: Image.fromarray(COLORS[FACE[::2, ::2]]).resize((256, 256), R.BICUBIC),
    "larger lanczos": lambda: Image.fromarray(COLORS[FACE[::2, ::2]]).resize((256, 256), R.LANCZOS),
    "blurred": lambda: PAINTED.filter(ImageFilter.GaussianBlur(2)),
    "jpeg 95": lambda: saved(PAINTED, "JPEG", quality=95),
    "jpeg 90": lambda: saved(PAINTED, "JPEG", quality=90),
    "jpeg 60": lambda: saved(PAINTED, "JPEG", quality=60),
    "anti-aliased jpeg": lambda: saved(supersampled(R.BICUBIC), "JPEG", quality=90),
    "webp": lambda: saved(PAINTED, "WEBP", quality=80),
    "gif": lambda: saved(supersampled(R.BOX), "GIF"),
    "own palette": lambda: supersampled(R.BOX).quantize(200),
}


@pytest.mark.parametrize("kind", SOFT)
def test_soft_edges_get_a_class_of_their_neighbourhood(kind):
    picture = SOFT[kind]()
    read = read_mask_notes(picture, LABELS)
    assert set(np.unique(read.ids)) == set(np.unique(FACE))
    assert np.count_nonzero(read.ids != FACE) < 0.012 * FACE.size
    assert far_from(read.ids, FACE, 3) <= 16
    assert len(read.notes) == 1
    assert "anti-aliasing, smooth resizing and lossy compression" in read.notes[0]
    assert "%" in read.notes[0]
    with pytest.raises(ProxymaskError, match="refused with strict"):
        read_mask(picture, LABELS, strict=True)


def test_an_edge_is_no_third_class_whose_colour_lies_between():
    """The rim of a large anti-aliased shape passes the colours of classes that nobody drew."""
    large = Image.new("L", (2048, 2048))
    ImageDraw.Draw(large).ellipse([400, 400, 1600, 1600], fill=7)
    smooth = Image.fromarray(COLORS[np.asarray(large)]).resize((512, 512), R.BILINEAR)
    assert set(np.unique(read_mask_notes(smooth, LABELS).ids)) == {0, 7}
    greys = LabelSet.of([("black", "#000000"), ("grey", "#808080"), ("white", "#ffffff"), ("red", "#ff0000")])
    for drawn in ((0, 2), (0, 2, 3)):
        mask = Image.new("L", (512, 512))
        pen = ImageDraw.Draw(mask)
        pen.ellipse([50, 60, 400, 300], fill=2)
        if 3 in drawn:
            pen.rectangle([301, 203, 460, 455], fill=3)
        soft = Image.fromarray(greys.colors[np.asarray(mask)]).resize((128, 128), R.BOX)
        assert tuple(np.unique(read_mask_notes(soft, greys).ids)) == drawn


def test_a_class_between_two_others_stays_where_it_was_drawn():
    """A grey stripe between black and white: exact, and with few soft pixels elsewhere."""
    greys = LabelSet.of([("black", "#000000"), ("grey", "#808080"), ("white", "#ffffff"), ("red", "#ff0000")])
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:], mask[:, 31], mask[50:60, 3:9] = 2, 1, 3
    pixels = greys.colors[mask].copy()
    assert np.array_equal(read_mask(pixels, greys), mask)
    pixels[5, 5:7] = [60, 0, 0]
    found = read_mask_notes(pixels, greys).ids
    found[5, 5:7] = 0
    assert np.array_equal(found, mask)
    wide = mask.copy()
    wide[:, 28:32] = 1
    soft = Image.fromarray(greys.colors[wide]).resize((256, 256), R.BICUBIC)
    ids = read_mask_notes(soft, greys).ids
    assert (ids[:, 113:126] == 1).all()


def test_thin_anti_aliased_lines_survive():
    big = Image.new("L", (1024, 1024), 1)
    for number, width in enumerate((8, 12, 16)):
        ImageDraw.Draw(big).line([50, 200 + 250 * number, 970, 260 + 250 * number], fill=3, width=width)
    truth = np.asarray(big.resize((256, 256), R.NEAREST))
    ids = read_mask_notes(Image.fromarray(COLORS[np.asarray(big)]).resize((256, 256), R.BOX), LABELS).ids
    assert set(np.unique(ids)) == {1, 3}
    for top in (40, 100, 165):
        wanted = np.count_nonzero(truth[top : top + 40] == 3)
        assert abs(np.count_nonzero(ids[top : top + 40] == 3) - wanted) < 0.35 * wanted


def test_black_corners_of_a_turned_mask_are_read_and_said():
    big = Image.fromarray(np.kron(FACE, np.ones((4, 4), np.uint8)))
    turned = Image.fromarray(COLORS[np.asarray(big)]).resize((256, 256), R.BOX).rotate(3, R.BILINEAR)
    assert len(np.unique(np.asarray(turned).reshape(-1, 3), axis=0)) > 400
    read = read_mask_notes(turned, LABELS)
    assert set(np.unique(read.ids)) == set(np.unique(FACE))
    assert read.ids[0, 0] == read.ids[-1, -1] == 0
    assert any("corners" in note for note in read.notes)
    assert any("anti-aliasing" in note for note in read.notes)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_colours_a_shade_off_are_read_and_listed(seed, data):
    rng = np.random.default_rng(seed)
    own = (COLORS.astype(int) + rng.integers(-6, 7, COLORS.shape)).clip(0, 255).astype(np.uint8)
    form = data.draw(st.sampled_from(["RGB", "RGBA", "P", "array"]))
    order = rng.permutation(len(LABELS))
    picture = Image.fromarray(own[FACE]).convert("RGBA") if form == "RGBA" else Image.fromarray(own[FACE])
    if form == "P":
        picture = indexed(np.argsort(order)[FACE], own[order])
    read = read_mask_notes(np.asarray(picture) if form == "array" else picture, LABELS)
    assert np.array_equal(read.ids, FACE)
    assert len(read.notes) == int((own != COLORS)[np.unique(FACE)].any())


def test_exact_colours_are_read_without_a_note():
    for picture in (PAINTED, PAINTED.convert("RGBA"), saved(PAINTED, "WEBP", lossless=True), saved(PAINTED, "BMP")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(read_mask(picture, LABELS, strict=True), FACE)


def test_areas_in_foreign_colours_are_refused_with_colour_and_nearest_class():
    pixels = COLORS[FACE].copy()
    pixels[10:40, 20:60] = [255, 0, 255]
    for picture in (Image.fromarray(pixels), saved(Image.fromarray(pixels), "JPEG", quality=92), Image.fromarray(pixels).quantize(16)):
        with pytest.raises(ProxymaskError, match=r"no class: #ff00f[ef] \(1,[0-2]\d\d pixels; nearest is 6 facial_hair"):
            read_mask(picture, LABELS)
    outlined = COLORS[FACE].copy()
    edge = (FACE[1:, 1:] != FACE[:-1, 1:]) | (FACE[1:, 1:] != FACE[1:, :-1])
    outlined[1:, 1:][edge] = 0  # black outlines, as in comics
    with pytest.raises(ProxymaskError, match="#000000"):
        read_mask(outlined, LABELS)


def test_a_photo_is_called_a_photo():
    y, x = np.mgrid[0:256, 0:256]
    photo = np.dstack([90 + y // 9, 120 + y // 12, 150 + x // 7]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    for picture in (photo, noise, saved(Image.fromarray(noise), "JPEG")):
        with pytest.raises(ProxymaskError, match="photo"):
            read_mask(picture, LABELS)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_random_label_sets_and_masks_in_every_exact_encoding(seed):
    """Any classes and any mask: all exact encodings give the same ids."""
    rng = np.random.default_rng(seed)
    colors = rng.permutation(27)[: rng.integers(2, 14)]
    labels = LabelSet.of(
        [(f"c{i}", "#{:02x}{:02x}{:02x}".format(*(127 * (c // 9), 127 * (c // 3 % 3), 127 * (c % 3)))) for i, c in enumerate(colors)]
    )
    mask = rng.integers(0, len(labels), tuple(rng.integers(2, 24, 2))).astype(np.uint8)
    if rng.random() < 0.5:
        mask = np.kron(mask, np.ones((4, 4), np.uint8))
    painted, order = labels.colors[mask], rng.permutation(len(labels))
    if (painted == painted[..., :1]).all():
        return  # greys are ids where both are possible, which is said
    forms = [
        painted,
        painted.astype(np.int64),
        painted.transpose(2, 0, 1) if 3 not in mask.shape and 4 not in mask.shape else painted,
        painted.astype(np.float32) / 255,
        Image.fromarray(painted),
        saved(Image.fromarray(painted), "PNG"),
        Image.fromarray(painted).convert("RGBA"),
        saved(indexed(np.argsort(order)[mask], labels.colors[order]), "PNG"),
        saved(indexed(mask, labels.colors), "GIF"),
    ]
    for form in forms:
        assert np.array_equal(read_mask_notes(form, labels).ids, mask)
