"""Drawings, scribbles, photos and depth maps as people's programs store them: transparency, orientation, holes, bit depth, size."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from proxymask.conditions import FunctionCondition, get_condition
from proxymask.conditions.depth import read_depth
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS

SIZE = 64
SKETCH, EDGES = get_condition("sketch"), get_condition("edges")
SCRIBBLE, DEPTH, PICTURE = get_condition("scribble", AVATAR_LABELS), get_condition("depth"), get_condition("picture")


def sketch() -> Image.Image:
    """A face in black lines on white."""
    picture = Image.new("L", (256, 256), 255)
    draw = ImageDraw.Draw(picture)
    for box in ([70, 50, 186, 210], [95, 105, 115, 120], [140, 105, 160, 120], [110, 160, 146, 178]):
        draw.ellipse(box, outline=0, width=3)
    return picture


def photo() -> tuple[np.ndarray, np.ndarray]:
    """A head before a background, uint8 (256, 256, 3), and where the head is."""
    y, x = np.mgrid[0:256, 0:256]
    pixels = np.dstack([90 + y // 5, 120 + y // 6, 150 + 0 * y]).astype(np.uint8)
    head = ((x - 128) / 58) ** 2 + ((y - 130) / 80) ** 2 < 1
    pixels[head] = (220, 170, 130)
    pixels[(abs(y - 112) < 8) & (abs(abs(x - 128) - 22) < 10)] = 250
    return pixels, head


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (250, 230, 60), (200, 30, 30)])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (10, 200, 90)])
def test_ink_of_any_colour_on_nothing_is_ink(ink: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    alpha = 255 - np.asarray(sketch())
    pixels = np.dstack([np.where(alpha[..., None] > 0, ink, hidden).astype(np.uint8), alpha])
    wanted = SKETCH.read(sketch(), SIZE)
    for kind in (SKETCH, EDGES):
        for invert in (False, True):
            got = kind.read(Image.fromarray(pixels), SIZE, invert)
            assert torch.allclose(got.planes, wanted.planes, atol=0.01)


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1", "16 bits"])
def test_ink_on_nothing_in_every_mode(mode: str, tmp_path: Path) -> None:
    marks = np.asarray(sketch()) < 128
    wanted = SKETCH.read(Image.fromarray(np.where(marks, 0, 255).astype(np.uint8)), SIZE)
    if mode == "P":
        picture = Image.fromarray(np.where(marks, 1, 0).astype(np.uint8))
        picture.putpalette([200, 200, 200, 0, 0, 0])
        picture.save(tmp_path / "a.png", transparency=0)
    elif mode == "1":
        Image.fromarray(marks).save(tmp_path / "a.png", transparency=0)  # white ink, black is transparent
    elif mode == "LA":
        Image.fromarray(np.dstack([np.full(marks.shape, 255, np.uint8), marks * np.uint8(255)])).save(tmp_path / "a.png")
    else:
        kind = np.uint8 if mode == "L" else np.uint16
        Image.fromarray(np.where(marks, 0, np.iinfo(kind).max).astype(kind)).save(tmp_path / "a.png", transparency=int(np.iinfo(kind).max))
    assert torch.allclose(SKETCH.read(tmp_path / "a.png", SIZE).planes, wanted.planes, atol=0.01)


def test_a_faint_layer_is_ink_and_an_empty_one_is_empty() -> None:
    alpha = 255 - np.asarray(sketch())
    wanted = SKETCH.read(sketch(), SIZE)
    for strength in (0.15, 0.4, 0.8):
        pixels = np.dstack([np.full((*alpha.shape, 3), 20, np.uint8), (alpha * strength).astype(np.uint8)])
        assert torch.allclose(SKETCH.read(Image.fromarray(pixels), SIZE).planes, wanted.planes, atol=0.05)
    pixels[..., 3] = 0
    with pytest.raises(ProxymaskError, match="is empty: it is transparent all over"):
        SKETCH.read(Image.fromarray(pixels), SIZE)
    pixels[..., 3] = np.where(alpha > 0, 1, 0)
    with pytest.raises(ProxymaskError, match="is empty"):
        SKETCH.read(Image.fromarray(pixels), SIZE)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "PA", "P"])
def test_hidden_pixels_of_a_photo_are_not_used(mode: str) -> None:
    pixels, head = photo()
    white, checks = pixels.copy(), pixels.copy()
    white[~head] = 255
    checks[~head] = (np.indices(head.shape).sum(0) // 16 % 2 * 255).astype(np.uint8)[~head][:, None]
    black = checks.copy()
    black[~head] = 0
    if mode == "P":
        cutouts = []
        for hidden in (checks, black):
            indices = Image.fromarray(np.where(head, hidden[..., 0] // 2, 200).astype(np.uint8))
            indices.putpalette([value for i in range(256) for value in ((i,) * 3 if i < 200 else tuple(hidden[0, 0]))])
            indices.info["transparency"] = 200
            cutouts.append(indices)
        white = np.where(head, checks[..., 0] // 2, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    else:
        cutouts = [Image.fromarray(np.dstack([hidden, head * np.uint8(255)])).convert(mode) for hidden in (checks, black)]
        white[head] = np.asarray(cutouts[0].convert("RGBA"))[head][:, :3]
    wanted = SKETCH.read_photo(Image.fromarray(white), SIZE).planes
    for cutout in cutouts:
        assert torch.allclose(SKETCH.read_photo(cutout, SIZE).planes, wanted, atol=0.02)
    readings = [PICTURE.read(cutout, SIZE) for cutout in cutouts]
    assert torch.allclose(readings[0].planes, readings[1].planes, atol=0.005)
    assert float((readings[0].planes - PICTURE.read(white, SIZE).planes).abs().mean()) < 0.01
    assert not bool(readings[0].painted[0].any())
    own = FunctionCondition("own", 3, lambda x: (x + 1) / 2).read(cutouts[0], SIZE)
    assert float(own.planes[:, ~own.painted].max()) == 0


def test_turned_pictures_are_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    strokes = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(strokes).line((40, 30, 220, 60), fill=AVATAR_LABELS.labels[1].color, width=9)
    ramp = Image.fromarray(np.add.outer(np.arange(256) * 200, np.arange(256) * 5).astype(np.uint16))
    for name, kind, picture in (("sketch", SKETCH, sketch()), ("scribble", SCRIBBLE, strokes), ("depth", DEPTH, ramp)):
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"{name}.png", exif=exif)
        wanted = kind.read(picture, SIZE).planes
        assert torch.equal(kind.read(tmp_path / f"{name}.png", SIZE).planes, wanted), name
        assert torch.equal(kind.read(Image.open(tmp_path / f"{name}.png"), SIZE).planes, wanted), name
    pixels, _ = photo()
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.png", exif=exif)
    assert torch.equal(SKETCH.read_photo(tmp_path / "photo.png", SIZE).planes, SKETCH.read_photo(pixels, SIZE).planes)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_drawings_and_photos_of_any_depth(bits: int) -> None:
    top = 2**bits - 1
    deep = Image.fromarray((np.asarray(sketch()).astype(np.float64) / 255 * top).round().astype(np.uint16))
    assert torch.allclose(SKETCH.read(deep, SIZE).planes, SKETCH.read(sketch(), SIZE).planes, atol=0.01)
    grey = Image.fromarray(photo()[0]).convert("L")
    deep = Image.fromarray((np.asarray(grey).astype(np.float64) / 250 * top).round().clip(0, top).astype(np.uint16))
    got = PICTURE.read(deep, SIZE)
    assert float((got.planes - PICTURE.read(grey, SIZE).planes).abs().max()) < 0.03
    assert any(f"{bits} bits" in note for note in got.notes) == (bits < 16)


def test_scribbles_take_ids_of_every_kind_and_no_hidden_strokes() -> None:
    ids = np.full((128, 128), 255, np.uint8)
    ids[30:40, 20:100], ids[80:95, 30:90] = 1, 7
    wanted = SCRIBBLE.read(ids, SIZE).planes
    for source in (ids.astype(np.int64), torch.from_numpy(ids.astype(np.int64)), ids.astype(np.uint16), Image.fromarray(ids)):
        assert torch.equal(SCRIBBLE.read(source, SIZE).planes, wanted)  # type: ignore[arg-type]
    hidden = ids.copy()
    hidden[100:120] = 5
    alpha = np.where(hidden == 5, 0, 255).astype(np.uint8)
    colours = np.where((hidden == 255)[..., None], 255, AVATAR_LABELS.colors[hidden % len(AVATAR_LABELS)]).astype(np.uint8)
    assert torch.equal(SCRIBBLE.read(np.dstack([colours, alpha]), SIZE).planes, wanted)
    palette = Image.fromarray(hidden)
    palette.putpalette(AVATAR_LABELS.palette())
    palette.info["transparency"] = bytes([255] * 5 + [0])
    assert torch.equal(SCRIBBLE.read(palette, SIZE).planes, wanted)


# Depth


def metres() -> np.ndarray:
    """A head at 0.9 m and shoulders at 1.1 m before a wall at 2.5 m, float64 (96, 96)."""
    y, x = np.mgrid[0:96, 0:96] / 95
    found = np.where((y > 0.78) & (abs(x - 0.5) < 0.3), 1.1, 2.5)
    inside = 1 - ((x - 0.5) / 0.23) ** 2 - ((y - 0.5) / 0.31) ** 2
    return np.where(inside > 0, 1 - 0.12 * np.sqrt(np.clip(inside, 0, 1)), found)


def with_hole(values: np.ndarray, hole: float, where: str) -> np.ndarray:
    """``values`` with ``hole`` in a strip at the left, or where the wall is."""
    found = values.copy()
    found[(slice(None), slice(0, 9)) if where == "strip" else metres() > 2] = hole
    return found


@pytest.mark.parametrize("where", ["strip", "wall"])
@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, -np.inf, -1.0, 10.0, 65.535, 1e10])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_holes_of_maps_in_metres(kind: type, hole: float, where: str, tmp_path: Path) -> None:
    if kind is np.float16 and hole == 1e10:
        hole = 65504.0
    np.save(tmp_path / "d.npy", with_hole(metres(), hole, where).astype(kind))
    near, wanted = read_depth(tmp_path / "d.npy"), metres()
    assert "read as distances in metres, near is small" in near.notes
    assert np.array_equal(near.known, np.isfinite(with_hole(wanted, np.nan, where)))
    known = near.known
    assert np.corrcoef(near.near[known], 1 / wanted[known])[0, 1] > 0.999
    got = DEPTH.read(tmp_path / "d.npy", SIZE)
    assert float(got.planes[0, 32, 32]) > 0.9  # the head is near
    assert not bool(got.painted[:, :4].any())


@pytest.mark.parametrize("where", ["strip", "wall"])
@pytest.mark.parametrize("hole", [0, 65535, 65534])
def test_holes_of_maps_in_millimetres(hole: int, where: str, tmp_path: Path) -> None:
    Image.fromarray(with_hole((metres() * 1000).round(), hole, where).astype(np.uint16)).save(tmp_path / "d.png")
    near = read_depth(tmp_path / "d.png")
    assert "read as distances in millimetres, near is small" in near.notes
    assert np.array_equal(near.known, np.isfinite(with_hole(metres(), np.nan, where)))
    assert float(DEPTH.read(tmp_path / "d.png", SIZE).planes[0, 32, 32]) > 0.9


def test_maps_without_holes_are_read_as_before() -> None:
    near_is_bright = ((1 / metres() - 0.3) / 0.84).clip(0, 1)
    relative = (near_is_bright * 255).round().astype(np.uint8)
    clipped = np.where(relative > 200, 255, relative // 4)  # the nearest part is white
    for source in (relative, relative.astype(np.uint16) * 257, near_is_bright.astype(np.float32), clipped):
        near = read_depth(source)
        assert near.notes == ("read as relative depth, near is bright",)
        assert near.known.all()
    two_levels = np.where(metres() < 2, 65535, 0).astype(np.uint16)  # drawn by hand: the nearest part is no hole
    assert read_depth(two_levels).known.all()
    far = metres() * 4  # a wall at 10 m is no hole
    assert read_depth(far.astype(np.float32)).known.all()


def test_holes_are_set_aside_before_the_direction_is_judged() -> None:
    relative = ((1 / metres() - 0.4) / 0.8).clip(0, 1)
    typical = torch.nn.functional.adaptive_avg_pool2d(DEPTH.read((relative * 255).astype(np.uint8), SIZE).planes, 16)
    inverted = 60 + (1 - relative) * 195
    inverted[:, :40] = 0  # no measurement, in a map where bright is far
    got = DEPTH.read(inverted.astype(np.uint8), SIZE, mean_condition=typical)
    assert got.notes[-1] == "near seems to be dark in it: read as inverted"
    assert not bool(got.painted[:, :25].any())
    assert float(got.planes[0, :, :25].max()) == 0
    upright = 60 + relative * 195
    upright[:, :40] = 0
    got = DEPTH.read(upright.astype(np.uint8), SIZE, mean_condition=typical)
    assert got.notes == ("read as relative depth, near is bright",)
    assert bool(got.painted.all())  # zeros of a map where bright is near are the farthest points


def test_transparent_depth_is_unmeasured_and_wrong_numbers_are_refused() -> None:
    values = ((1 / metres() - 0.3) * 255).clip(0, 255).astype(np.uint8)
    alpha = np.full(values.shape, 255, np.uint8)
    alpha[:, :30] = 0
    values[:, :30] = 255
    got = read_depth(Image.fromarray(np.dstack([values, alpha])))
    assert np.array_equal(got.known, alpha > 0)
    with pytest.raises(ProxymaskError, match="no measurement"):
        DEPTH.read(Image.fromarray(np.dstack([values, alpha * 0])), SIZE)
    with pytest.raises(ProxymaskError, match="numbers of type complex"):
        read_depth(metres().astype(np.complex64))
    with pytest.raises(ProxymaskError, match="negative depths"):
        read_depth((metres() - 2).astype(np.float32))


# Large ones

LARGE = """
import sys
import torch
from proxymask.conditions import get_condition
from proxymask.data.avatars import AVATAR_LABELS
kind = get_condition(sys.argv[1], AVATAR_LABELS if sys.argv[1] == "scribble" else None)
print(float(kind.read(sys.argv[2], 256).planes.sum()))
"""


@pytest.mark.parametrize("name", ["sketch", "scribble", "depth", "picture"])
def test_pictures_of_8192_pixels_are_read_as_small_ones_are(name: str, tmp_path: Path) -> None:
    side = 8192
    small = {
        "sketch": sketch(),
        "scribble": Image.fromarray(AVATAR_LABELS.colors[np.tile(np.repeat([1, 7], 128), (256, 1))]),
        "depth": Image.fromarray((metres()[:, :96] * 1000).astype(np.uint16)),
        "picture": Image.fromarray(photo()[0]),
    }[name]
    small.resize((side, side), Image.Resampling.NEAREST).save(tmp_path / "large.tif")  # without compression, which would take seconds
    command = [sys.executable, "-c", LARGE, name, str(tmp_path / "large.tif")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    total = float(done.stdout)
    kind = {"sketch": SKETCH, "scribble": SCRIBBLE, "depth": DEPTH, "picture": PICTURE}[name]
    wanted = float(kind.read(small, 256).planes.sum())
    assert total == pytest.approx(wanted, rel=0.1)


# Values that a decoder cuts or stretches


def png16(path: Path, values: np.ndarray, colour_type: int) -> Path:
    """A PNG of 16 bits a channel; ``values`` (H, W, channels), ``colour_type`` 2 RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def test_depth_in_16_bit_colours_is_no_8_bit_depth(tmp_path: Path) -> None:
    opaque = np.full(metres().shape, 65535)
    for scale, message in ((1000, "16 bits a channel"), (3000, "save it as 16-bit grey")):
        far = metres() * scale
        for colour_type, planes in ((2, [far] * 3), (4, [far, opaque]), (6, [far, far, far, opaque])):
            with pytest.raises(ProxymaskError, match=message):
                DEPTH.read(png16(tmp_path / "deep.png", np.dstack(planes), colour_type), SIZE)
    near = 1 / metres()
    near = (near - near.min()) / (near.max() - near.min())
    got = DEPTH.read(png16(tmp_path / "near.png", np.dstack([near * 65535, opaque]), 4), SIZE)
    assert float((got.planes - DEPTH.read((near * 255).astype(np.uint8), SIZE).planes).abs().mean()) < 0.01


def test_millimetres_in_a_pgm_of_any_maximum(tmp_path: Path) -> None:
    millimetres = (metres() * 1000).astype(np.uint16)
    wanted = DEPTH.read(millimetres, SIZE).planes
    for maximum in (5000, 65535):
        path = tmp_path / f"{maximum}.pgm"
        path.write_bytes(b"P5\n%d %d\n%d\n" % (*millimetres.shape[::-1], maximum) + millimetres.astype(">u2").tobytes())
        assert torch.equal(DEPTH.read(path, SIZE).planes, wanted), maximum


def test_black_ink_on_nothing_in_16_bits_is_ink(tmp_path: Path) -> None:
    ink = (255 - np.asarray(sketch()).astype(int)) * 257
    wanted = SKETCH.read(sketch(), SIZE)
    got = SKETCH.read(png16(tmp_path / "ink.png", np.dstack([0 * ink, ink]), 4), SIZE)
    torch.testing.assert_close(got.planes, wanted.planes, atol=0.01, rtol=0)
    dark = np.asarray(sketch()).astype(int) * 16
    with pytest.raises(ProxymaskError, match="uses only the lowest 12"):
        SKETCH.read(png16(tmp_path / "dark.png", np.dstack([dark, np.full_like(dark, 65535)]), 4), SIZE)


def test_arrays_and_tensors_of_any_layout_read_the_same() -> None:
    grey = np.asarray(sketch())
    wanted = SKETCH.read(grey, SIZE).planes
    colours = np.dstack([grey] * 3)
    for same in (grey[None], grey[..., None], colours, colours.transpose(2, 0, 1), colours.astype(np.int64), colours / 255):
        for source in (same, torch.from_numpy(np.ascontiguousarray(same))):
            torch.testing.assert_close(SKETCH.read(source, SIZE).planes, wanted, atol=1e-4, rtol=0)
    with pytest.raises(ProxymaskError, match="integers 0 to 255 or floats 0 to 1"):
        SKETCH.read(colours / 100, SIZE)


# Scribbles: ids in every mode, soft edges


def test_ids_of_scribbles_mean_the_same_in_every_mode(tmp_path: Path) -> None:
    ids = np.full((256, 256), 255, np.uint8)
    ids[40:60, 20:200], ids[120:150, 30:90], ids[200:220] = 1, 7, 4
    wanted = SCRIBBLE.read(ids, SIZE).planes
    grey, shown = Image.fromarray(ids), Image.fromarray(np.where(ids == 255, 0, 255).astype(np.uint8))
    for name, picture in (
        ("grey.png", grey),
        ("grey.gif", grey),
        ("alpha.png", Image.merge("LA", (grey, shown))),
        ("rgb.png", grey.convert("RGB")),
        ("deep.png", Image.fromarray(ids.astype(np.uint16))),
    ):
        picture.save(tmp_path / name)
        assert torch.equal(SCRIBBLE.read(tmp_path / name, SIZE).planes, wanted), name
    for suffix in ("jpg", "webp"):
        grey.save(tmp_path / f"lossy.{suffix}", quality=90)
        with pytest.raises(ProxymaskError, match="lossy compression changes ids"):
            SCRIBBLE.read(tmp_path / f"lossy.{suffix}", SIZE)
    with pytest.raises(ProxymaskError, match="holds -1, which is no id"):
        SCRIBBLE.read(np.where(ids == 255, -1, ids.astype(int)), SIZE)
    with pytest.raises(ProxymaskError, match="with fractions, or NaN"):
        SCRIBBLE.read(np.where(ids == 255, np.nan, ids.astype(float)), SIZE)


@pytest.mark.parametrize(("names", "ground"), [(("skin", "eyes"), "white"), (("facial_hair", "top"), "white"), (("top",), "black")])
def test_soft_edges_of_strokes_are_no_third_class(names: tuple[str, ...], ground: str) -> None:
    picture = Image.new("RGB", (512, 512), ground)
    for number, name in enumerate(names):
        ImageDraw.Draw(picture).line([(100, 100 + 60 * number), (400, 100 + 60 * number)], fill=AVATAR_LABELS.by_name(name).hex, width=60)
    got = SCRIBBLE.read(picture.filter(ImageFilter.GaussianBlur(4)), SIZE)
    assert {AVATAR_LABELS.names[i] for i in torch.nonzero(got.planes.flatten(1).any(dim=1)).flatten()} == set(names)
    assert any("lie on edges" in note for note in got.notes)


def test_a_scribble_of_one_bit_is_read_as_grey() -> None:
    drawing = sketch()
    grey, bits = (
        SCRIBBLE.read(one, SIZE) for one in (drawing.point(lambda x: 255 * (x > 127)), drawing.convert("1", dither=Image.Dither.NONE))
    )
    assert torch.equal(grey.planes, bits.planes)
    assert 0 < float(bits.painted.float().mean()) < 0.5


def test_a_file_has_to_register_its_condition_itself(tmp_path: Path) -> None:
    code = "from proxymask.conditions import register\n\n@register('of_a_file')\ndef of_a_file(pictures):\n    return pictures[:, :1]\n"
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "b.py").write_text("")
    for _ in range(2):
        assert get_condition(f"{tmp_path}/a.py:of_a_file").name == "of_a_file"
        with pytest.raises(ProxymaskError, match=r"b\.py registers no condition"):
            get_condition(f"{tmp_path}/b.py:of_a_file")
