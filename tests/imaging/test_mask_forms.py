"""One mask in many forms: palettes, ids, transparency, orientation, arrays and tensors, a file for each class."""

import io
import warnings

import numpy as np
import pytest
import torch
from faces import COLORS, FACE, LABELS, indexed, saved
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask, read_mask_notes

SMALL = FACE[::4, ::4].copy()
ORDER = [7, 1, 0, 5, 2, 4]
OWN = np.vectorize(ORDER.index)(FACE)
ERASED = np.where(FACE == 7, 0, FACE)
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0)]


def refused(source, words, labels=LABELS):
    with pytest.raises(ProxymaskError, match=words) as caught:
        read_mask(source, labels)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------------ palettes


def test_the_colours_of_a_palette_decide_where_they_are_those_of_classes():
    palette = [tuple(int(v) for v in COLORS[k]) for k in ORDER]
    exact = indexed(OWN, palette)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_mask(exact, LABELS, strict=True), FACE)
    palette[1] = (palette[1][0] + 1, *palette[1][1:])
    for picture in (indexed(OWN, palette), indexed(OWN, palette).convert("RGB"), indexed(OWN, palette).convert("RGBA")):
        read = read_mask_notes(picture, LABELS)
        assert np.array_equal(read.ids, FACE)
        assert "#e1ac7e (9,747 pixels) as 1 skin #e0ac7e" in read.notes[0]


@pytest.mark.parametrize(
    "colors",
    [VOC, [(i, i, i) for i in range(256)], [(255, 0, 0)] * 9, [(0, 0, 0)] * 9, [(28 * i, 28 * i, 28 * i) for i in range(9)]],
    ids=["VOC", "grey ramp", "one colour", "black", "stretched greys"],
)
def test_indices_are_ids_where_the_palette_has_other_colours(colors):
    picture = saved(indexed(FACE, colors), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_mask(picture, LABELS), FACE)


def test_a_palette_of_greys_is_a_grey_picture():
    """A grey mask with 0, 5 and 7, saved with a palette of the greys in use."""
    mask = np.where(FACE == 1, 5, np.where(FACE == 7, 7, 0)).astype(np.uint8)
    palette = indexed(np.searchsorted([0, 5, 7], mask), [(0, 0, 0), (5, 5, 5), (7, 7, 7)])
    for form in (palette, palette.convert("L"), palette.convert("RGB"), palette.convert("RGBA"), mask, palette.convert("LA")):
        assert np.array_equal(read_mask(form, LABELS), mask)


def test_a_palette_of_class_colours_with_one_changed():
    colors = COLORS.tolist()
    colors[7] = (120, 0, 250)
    read = read_mask_notes(indexed(FACE, colors), LABELS)  # the others have their ids: indices are ids
    assert np.array_equal(read.ids, FACE)
    assert "#7800fa (index 7)" in read.notes[0]
    palette = [tuple(colors[k]) for k in ORDER]
    for picture in (indexed(OWN, palette), indexed(OWN, palette).convert("RGB")):
        refused(picture, r"holds colours that are no class: #7800fa")


def test_one_colour_and_one_index_that_differ_are_said():
    blank = np.zeros((16, 16), np.uint8)
    read = read_mask_notes(indexed(blank, [COLORS[4]]), LABELS)
    assert (read.ids == 4).all()
    assert "its only colour is that of 4 mouth" in read.notes[0]
    voc = LabelSet.of([(f"c{i}", "#{:02x}{:02x}{:02x}".format(*color)) for i, color in enumerate(VOC)])
    assert np.array_equal(read_mask_notes(indexed(FACE, [(0, 0, 0)] * 9), voc).ids, FACE)


def test_void_is_named():
    border = FACE.copy()
    border[:, 127:129] = 255
    voc = VOC[:8] + [(9, 9, 9)] * 247 + [(224, 224, 192)]
    for picture in (indexed(border, voc), Image.fromarray(border), border, border.astype(np.int32), torch.from_numpy(border)):
        refused(picture, r"holds 255 \(512 pixels\), which means 'no label' \(void\).*paint a class there, or set it to 0 \(background\)")
    painted = COLORS[np.where(border == 255, 0, border)]
    painted[border == 255] = (224, 224, 192)
    refused(painted, "#e0e0c0 means 'no label'")


# ---------------------------------------------------------------------------------------------------------------------- ids


def test_grey_ids_of_every_depth(tmp_path):
    forms = [Image.fromarray(SMALL), Image.fromarray(SMALL.astype(np.uint16)), Image.fromarray(SMALL.astype(np.int32))]
    forms += [SMALL.astype(kind) for kind in (np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, ">i4")]
    forms += [Image.fromarray(np.dstack([SMALL] * 3)), np.asfortranarray(SMALL)]
    for form in forms:
        assert np.array_equal(read_mask_notes(form, LABELS).ids, SMALL)
    for bits in (4, 2, 1):  # a grey PNG of few bits, as optimisers write them; Pillow stretches it
        ids = SMALL if bits == 4 else SMALL % (1 << bits)
        path = tmp_path / f"{bits}.png"
        path.write_bytes(grey_png(ids, bits))
        assert np.array_equal(read_mask_notes(path, LABELS).ids, ids)
        assert np.array_equal(read_mask_notes(Image.open(path), LABELS).ids, ids)


@pytest.mark.parametrize("maximum", [8, 15, 254, 256, 1000, 65535])
def test_ids_in_a_pgm_of_any_maximum(tmp_path, maximum):
    head = b"%d %d\n%d\n" % (SMALL.shape[1], SMALL.shape[0], maximum)
    (tmp_path / "raw.pgm").write_bytes(b"P5\n" + head + SMALL.astype(np.uint8 if maximum < 256 else ">u2").tobytes())
    (tmp_path / "plain.pgm").write_bytes(b"P2\n" + head + " ".join(map(str, SMALL.ravel())).encode())
    for name in ("raw.pgm", "plain.pgm"):
        assert np.array_equal(read_mask_notes(tmp_path / name, LABELS).ids, SMALL)


def test_ids_with_alpha_in_16_bits_are_refused(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for alpha, words in ((SMALL * 0 + 255, "uses only the lowest 12"), ((SMALL > 0) * 255, "save ids with 8 bits a channel")):
        rows = np.stack([SMALL.astype(int), alpha.astype(int) * 257], axis=-1).astype(">u2")
        head = struct.pack(">IIBBBBB", SMALL.shape[1], SMALL.shape[0], 16, 4, 0, 0, 0)
        data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))) + chunk(b"IEND", b"")
        (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        with pytest.raises(ProxymaskError, match=words):
            read_mask_notes(tmp_path / "deep.png", LABELS)


def grey_png(ids: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    import struct
    import zlib

    height, width = ids.shape
    unpacked = (ids[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(unpacked.reshape(height, width * bits), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_ids_after_lossy_compression_are_refused(tmp_path):
    few = Image.fromarray(np.where(FACE > 4, 0, FACE).astype(np.uint8))
    for suffix, how in (
        (".jpg", {"quality": 90}),
        (".jpg", {"quality": 100}),
        (".webp", {"quality": 90}),
        (".tif", {"compression": "jpeg"}),
    ):
        path = tmp_path / f"ids{how.get('quality')}{suffix}"
        few.save(path, **how)
        refused(path, "lossy compression")
    refused(saved(few, "JPEG"), "JPEG file: lossy compression")
    few.save(tmp_path / "ids.webp", lossless=True)
    assert np.array_equal(read_mask(tmp_path / "ids.webp", LABELS), np.asarray(few))


def test_ids_mixed_at_the_edges_are_refused():
    large = Image.fromarray(np.kron(FACE, np.ones((4, 4), np.uint8)))
    for resample in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX):
        refused(np.asarray(large.rotate(5, Image.Resampling.NEAREST).resize((250, 250), resample)).clip(0, 8), "smooth resizing")
    refused(saved(Image.fromarray(FACE), "JPEG", quality=80).convert("RGB"), "smooth resizing|lossy|no class")
    refused(Image.fromarray(np.asarray(saved(Image.fromarray(FACE), "JPEG", quality=75)).clip(0, 8)), "smooth resizing|lossy")


def test_thin_drawn_ids_are_no_mixture():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 20:44], mask[:, 19], mask[:, 44:46] = 8, 3, 4  # outlines between 0 and 8
    mask[30:33, 25:40] = 5
    assert np.array_equal(read_mask(mask, LABELS), mask)
    noise = np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)
    assert np.array_equal(read_mask(noise, LABELS), noise)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (FACE * 28, "multiples of 28"),
        ((FACE == 1) * np.uint8(255), "black and white"),
        (np.full((8, 8), 255, np.uint8), "white all over"),
        (np.asarray(Image.fromarray((FACE == 1) * np.uint8(255)).resize((100, 100))), "black and white with soft edges"),
        (np.where(FACE == 7, 9, FACE), r"9 \([\d,]+ pixels\)"),
        (FACE.astype(int) - 1, r"-1 \([\d,]+ pixels\)"),
    ],
)
def test_the_cause_of_wrong_ids(values, words):
    refused(values, words)


# -------------------------------------------------------------------------------------------------------------- transparency


def erased(form: str) -> Image.Image:
    """The face with its hair erased: what is stored under it is hair, or noise."""
    alpha = Image.fromarray(np.where(FACE == 7, 0, 255).astype(np.uint8))
    if form == "P":
        picture = indexed(FACE, COLORS)
        return saved(picture, "PNG", transparency=7)
    if form == "P bytes":
        return saved(indexed(FACE, COLORS), "PNG", transparency=bytes([255] * 7 + [0, 255]))
    if form == "GIF":
        return saved(indexed(FACE, COLORS), "GIF", transparency=7)
    if form == "L":
        return saved(Image.fromarray(FACE), "PNG", transparency=7)
    if form == "I;16":
        return saved(Image.fromarray(FACE.astype(np.uint16)), "PNG", transparency=7)
    if form == "RGB":
        return saved(Image.fromarray(COLORS[FACE]), "PNG", transparency=tuple(int(v) for v in COLORS[7]))
    if form == "LA":
        return Image.merge("LA", [Image.fromarray(FACE), alpha])
    pixels = COLORS[FACE].copy()
    pixels[FACE == 7] = np.random.default_rng(0).integers(0, 256, (np.count_nonzero(FACE == 7), 3))
    picture = Image.fromarray(pixels)
    picture.putalpha(alpha)
    return picture.convert("RGBa") if form == "RGBa" else saved(picture, "WEBP", lossless=True) if form == "WEBP" else picture


@pytest.mark.parametrize("form", ["P", "P bytes", "GIF", "L", "I;16", "RGB", "LA", "RGBA", "RGBa", "WEBP"])
def test_transparent_is_class_0_in_every_mode(form):
    read = read_mask_notes(erased(form), LABELS, strict=True)
    assert np.array_equal(read.ids, ERASED)
    assert np.array_equal(read.painted, FACE != 7)


def test_soft_edges_of_transparency():
    big = np.kron(FACE == 1, np.ones((4, 4), bool))
    alpha = np.asarray(Image.fromarray(big * np.uint8(255)).resize((250, 250), Image.Resampling.BOX))
    truth = (alpha >= 128).astype(np.uint8)
    straight = np.dstack([np.full((250, 250, 3), COLORS[1]), alpha])
    share = (alpha / 255)[..., None]
    darkened = np.dstack([(COLORS[1] * share).round().astype(np.uint8), alpha])  # premultiplied
    matted = np.dstack([(COLORS[1] * share + 255 * (1 - share)).round().astype(np.uint8), alpha])
    for pixels in (straight, darkened, matted):
        assert np.array_equal(read_mask_notes(pixels, LABELS).ids, truth)
    with pytest.raises(ProxymaskError, match="less than half opaque everywhere"):
        read_mask(np.dstack([COLORS[FACE], np.full(FACE.shape, 100, np.uint8)]), LABELS)
    faint = np.dstack([COLORS[FACE], np.where(FACE == 7, 90, 255).astype(np.uint8)])
    read = read_mask_notes(faint, LABELS)
    assert np.array_equal(read.ids, ERASED)
    assert "less than half opaque" in read.notes[0]


def test_orientation_is_applied(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(FACE))
    for name, picture in (("i", Image.fromarray(stored)), ("c", Image.fromarray(COLORS[stored])), ("p", indexed(stored, COLORS))):
        picture.save(tmp_path / f"{name}.png", exif=turned)
        assert np.array_equal(read_mask(tmp_path / f"{name}.png", LABELS), FACE)
        assert np.array_equal(read_mask(Image.open(tmp_path / f"{name}.png"), LABELS), FACE)


# -------------------------------------------------------------------------------------------------------- arrays and tensors


def test_arrays_and_tensors_of_one_mask():
    colors = COLORS[SMALL]
    arrays = [SMALL, SMALL[None], SMALL[..., None], colors, colors.transpose(2, 0, 1), colors.astype(np.int64)]
    arrays += [np.dstack([colors, np.full(SMALL.shape, 255, np.uint8)]), colors.astype(np.float64) / 255]
    for array in arrays:
        for form in (array, torch.from_numpy(np.ascontiguousarray(array)), np.ascontiguousarray(array[:, ::-1])[:, ::-1]):
            assert np.array_equal(read_mask(form, LABELS), SMALL)
    bools = SMALL > 0
    assert np.array_equal(read_mask(torch.from_numpy(bools), LABELS), bools)
    assert np.array_equal(read_mask(torch.from_numpy(colors.astype(np.float32) / 255).half().permute(2, 0, 1), LABELS), SMALL)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (torch.rand(16, 16), "array or tensor of integers, got float32: round it first"),
        (SMALL[None] / 255, "array or tensor of integers, got float64"),
        (np.full((8, 8, 3), 1.5), "array or tensor of colours holds integers 0 to 255, or floats 0 to 1"),
        (np.full((8, 8, 3), np.nan), "floats 0 to 1"),
        (np.full((8, 8, 3), 300), r"array or tensor of colours holds 0 to 255, got 300 to 300"),
        (np.zeros((2, 2, 2, 2), int), "array or tensor of ids"),
        (torch.zeros(0, 4, dtype=torch.uint8), "array or tensor"),
        (np.zeros((8, 8), complex), "array or tensor of integers, got complex128"),
        (np.full((8, 8), "a"), "array or tensor of integers"),
        (np.full((8, 8), None), "array or tensor of integers"),
        ([1, 2], "array or tensor"),
        (None, "array or tensor"),
    ],
)
def test_arrays_that_are_no_mask(array, words):
    refused(array, words)


# --------------------------------------------------------------------------------------------------------- a file for each class


def write_classes(folder, classes, off=0, on=255, kind=np.uint8):
    folder.mkdir()
    for name, inside in classes.items():
        Image.fromarray(np.where(inside, on, off).astype(kind)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(("on", "kind"), [(255, np.uint8), (1, np.uint8), (65535, np.uint16), (255, np.uint16), (1, np.uint16)])
def test_what_is_on_follows_from_the_format(tmp_path, on, kind):
    folder = write_classes(tmp_path / "mask", {LABELS.names[i]: i == FACE for i in (1, 2, 4, 5, 7)}, on=on, kind=kind)
    Image.fromarray(np.full(FACE.shape, 16, kind)).save(folder / "accessories.png")  # an absent class that is not quite black
    read = read_mask_notes(folder, LABELS)
    assert np.array_equal(read.ids, FACE)
    assert any("off all over" in note for note in read.notes)
    Image.fromarray(np.ones(FACE.shape, kind)).save(folder / "accessories.png")
    if on > 1:
        assert np.array_equal(read_mask_notes(folder, LABELS).ids, FACE)


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_ink_on_transparency(tmp_path, ink, mode):
    folder = tmp_path / "mask"
    folder.mkdir()
    for i in (1, 7):
        inside = Image.fromarray((i == FACE) * np.uint8(255))
        picture = Image.new("RGB" if mode == "RGBA" else "L", (256, 256), (ink,) * 3 if mode == "RGBA" else ink)
        if mode == "P":
            indexed(i == FACE, [(9, 9, 9), (ink,) * 3]).save(folder / f"{i}.png", transparency=0)
        else:
            picture.putalpha(inside)
            picture.save(folder / f"{i}.png")
    assert np.array_equal(read_mask_notes(folder, LABELS).ids, np.where(np.isin(FACE, (1, 7)), FACE, 0))


def test_names_of_files_and_what_else_lies_there(tmp_path):
    inside = {"Skin": FACE == 1, "FACIAL HAIR": FACE == 7, "mouth": FACE == 4, "5": FACE == 5}
    folder = write_classes(tmp_path / "mask", inside)
    (folder / "README.md").write_text("x")
    (folder / "notes.txt").write_text("x")
    LABELS.save(folder / "labels.json")
    wanted = np.where(FACE == 7, 6, np.where(FACE == 2, 0, FACE))
    assert np.array_equal(read_mask(folder, LABELS), wanted)
    Image.new("L", (256, 256)).save(folder / "skin.png")
    refused(folder, "two files for skin")


def test_overlaps_are_counted(tmp_path):
    folder = write_classes(tmp_path / "mask", {"skin": FACE >= 1, "top": FACE == 7})
    read = read_mask_notes(folder, LABELS)
    assert f"({np.count_nonzero(FACE == 7):,})" in read.notes[0]
    assert "higher id" in read.notes[0]
    assert (read.ids[FACE == 7] == 7).all()


def test_a_picture_of_a_file_object_and_of_a_path():
    buffer = io.BytesIO()
    Image.fromarray(COLORS[FACE]).save(buffer, "PNG")
    buffer.seek(0)
    assert np.array_equal(read_mask(buffer, LABELS), FACE)


def test_transparent_is_class_0_though_all_greys_occur():
    labels = LabelSet.of((("white", "#ffffff"), ("black", "#000000")))
    greys = np.where(np.arange(64)[:, None] < 32, 0, 255) * np.ones((64, 64), int)
    greys[28:32] = np.arange(256).reshape(4, 64)  # a soft edge
    alpha = np.full((64, 64), 255)
    alpha[:8, :8] = 0
    picture = Image.merge("LA", [Image.fromarray(greys.astype(np.uint8)), Image.fromarray(alpha.astype(np.uint8))])
    mask = read_mask(picture, labels)
    assert (mask[:8, :8] == 0).all()
    assert (mask[10:27] == 1).all()
