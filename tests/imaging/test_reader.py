"""The one reader of pictures: formats, orientation, transparency, bit depth, colour profiles, size."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.bit_depth import full_scale
from proxymask.imaging.reader import (
    FORMATS,
    SUFFIXES,
    as_picture,
    check_size,
    is_deep,
    on_white,
    opacity,
    open_picture,
    read_picture,
    to_rgba,
)

COLOURS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def stored(picture: Image.Image, form: str, **how: object) -> io.BytesIO:
    """A picture in the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, form, **how)
    file.seek(0)
    return file


def png(width: int, depth: int, kind: int, row: bytes, transparent: bytes) -> io.BytesIO:
    """A PNG of one row with a tRNS chunk, in the depths and kinds of colour that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    rest = (chunk(b"tRNS", transparent) if transparent else b"") + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + head + rest)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_in_every_format(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]  # how a camera stored it
    smooth = Image.linear_gradient("L").resize((48, 32))
    wanted = np.asarray(Image.merge("RGB", (smooth, smooth.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("L", (48, 32), 9)))).copy()
    wanted[:8, :8] = 255
    held = Image.fromarray(wanted)
    for turn in turns:
        held = held.transpose(Image.Transpose(turn))
    file = stored(held, form, exif=exif, **({"lossless": True} if form == "WEBP" else {"quality": 98} if form == "JPEG" else {}))
    got = np.asarray(open_picture(file)).astype(int)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 3
    given = as_picture(Image.open(io.BytesIO(file.getvalue())))  # not yet decoded
    assert np.array_equal(np.asarray(given), got)
    assert np.array_equal(np.asarray(as_picture(given)), got)  # turned once


def test_transparency_has_one_meaning_in_every_mode() -> None:
    grey = COLOURS[..., 0]
    hidden = np.zeros(grey.shape, bool)
    hidden[5:10, 3:9] = True
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([np.where(hidden[..., None], (255, 0, 0), COLOURS).astype(np.uint8), alpha]))
    palette = Image.fromarray(np.where(hidden, 7, 3).astype(np.uint8))
    palette.putpalette([9, 8, 7] * 256)
    indexed = np.where(hidden, 200, grey.clip(0, 199))
    forms = {
        "RGBA": rgba,
        "RGBa": rgba.convert("RGBa"),
        "LA": rgba.convert("LA"),
        "La": rgba.convert("LA").convert("La"),
        "PA": rgba.convert("PA"),
        "P, one entry": open_picture(stored(palette, "PNG", transparency=7)),
        "P, opacity of entries": open_picture(stored(palette, "PNG", transparency=bytes([255] * 7 + [0]))),
        "P of a GIF": open_picture(stored(palette, "GIF", transparency=7)),
        "L": open_picture(stored(Image.fromarray(indexed.astype(np.uint8)), "PNG", transparency=200)),
        "16 bits": open_picture(stored(Image.fromarray(indexed.astype(np.uint16) * 300), "PNG", transparency=60000)),
        "RGB": open_picture(stored(Image.fromarray(np.dstack([indexed.astype(np.uint8)] * 3)), "PNG", transparency=(200, 200, 200))),
        "1": open_picture(stored(Image.fromarray(hidden), "PNG", transparency=1)),
    }
    for name, picture in forms.items():
        assert np.array_equal(opacity(picture), alpha), name
        assert np.array_equal(np.asarray(to_rgba(picture))[..., 3], alpha), name
        assert (np.asarray(on_white(picture))[hidden] == 255).all(), name
        assert (np.asarray(read_picture(picture))[hidden] == 255).all(), name
    for opaque in (Image.new("RGB", (4, 4)), Image.new("RGBA", (4, 4), (1, 2, 3, 255)), Image.new("I;16", (4, 4)), Image.new("P", (4, 4))):
        assert opacity(opaque) is None


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "wanted"),
    [
        (1, b"\x40", 1, [255, 0]),
        (2, b"\x1b", 2, [255, 255, 0, 255]),
        (4, b"\x0f\x57", 5, [255, 255, 0, 255]),
        (8, b"\0\x0f\x05\x07", 5, [255, 255, 0, 255]),
        (16, struct.pack(">4H", 0, 300, 5000, 7), 5000, [255, 255, 0, 255]),
    ],
)
def test_the_transparent_grey_of_every_depth(depth: int, row: bytes, transparent: int, wanted: list[int]) -> None:
    picture = open_picture(png(len(wanted), depth, 0, row, struct.pack(">H", transparent)))
    assert opacity(picture)[0].tolist() == wanted


def test_colours_of_sixteen_bits() -> None:
    colour = (257 * 3, 257 * 4, 257 * 5)
    picture = open_picture(png(2, 16, 2, struct.pack(">6H", *colour, 65535, 1, 2), struct.pack(">3H", *colour)))
    assert opacity(picture)[0].tolist() == [0, 255]
    with pytest.raises(ProxymaskError, match="lowest 12 or fewer: it would be nearly black"):
        open_picture(png(2, 16, 2, struct.pack(">6H", 3000, 4000, 500, 0, 1, 2), b""))
    ink = open_picture(png(2, 16, 6, struct.pack(">8H", 0, 0, 0, 0, 0, 0, 0, 65535), b""))  # black ink on nothing is no dark picture
    assert opacity(ink)[0].tolist() == [0, 255]


def test_hidden_colours_do_not_bleed_when_a_picture_is_made_smaller() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0] = 255  # red under what is transparent
    pixels[20:44, 20:44] = (0, 0, 255, 255)
    small = np.asarray(to_rgba(Image.fromarray(pixels)).resize((16, 16), Image.Resampling.LANCZOS))
    assert small[small[..., 3] > 8][:, 0].max() <= 2


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_of_grey_pictures_is_the_fewest_bits_that_hold_them(bits: int) -> None:
    top = 2**bits - 1
    values = np.linspace(0, top, 256).round().reshape(16, 16)
    assert full_scale(top) == top
    notes: list[str] = []
    sources = [Image.fromarray(values.astype(np.uint16)), Image.fromarray(values.astype(np.int32)), values.astype(np.float32)]
    for source in sources:
        got = np.asarray(read_picture(source, notes=notes))
        assert np.abs(got[..., 0].reshape(-1).astype(int) - np.arange(256)).max() <= 1
    said = [note for note in notes if f"read as {bits} bits" in note]
    assert len(said) == {8: 2, 16: 0}.get(bits, 3)  # floating point up to 255 is no assumption
    assert full_scale(0.7) == 1


def test_colour_profiles_are_converted() -> None:
    def profile(x: float) -> bytes:  # RGB with another red, as wide-gamut profiles have
        made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for entry in range(int.from_bytes(made[128:132], "big")):
            at = 132 + 12 * entry
            if made[at : at + 4] in (b"rXYZ", b"desc"):
                start = int.from_bytes(made[at + 4 : at + 8], "big")
                if made[at : at + 4] == b"rXYZ":
                    made[start + 8 : start + 20] = struct.pack(">3i", *(round(v * 65536) for v in (x, 0.24, 0.0)))
                else:
                    made = made.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB", b"wide")
        return bytes(made)

    plain = Image.fromarray(np.full((8, 8, 3), (200, 80, 80), np.uint8))
    wide = open_picture(stored(plain, "PNG", icc_profile=profile(0.52)))
    assert np.asarray(read_picture(wide))[0, 0, 0] > 205
    clear = wide.copy()
    clear.putalpha(Image.fromarray(np.eye(8, dtype=np.uint8) * 255))
    assert (np.asarray(read_picture(clear))[0, 1] == 255).all()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(np.asarray(read_picture(open_picture(stored(plain, "PNG", icc_profile=srgb)))), np.asarray(plain))
    notes: list[str] = []
    got = read_picture(open_picture(stored(plain, "JPEG", icc_profile=b"nonsense" * 30, quality=95)), notes=notes)
    assert np.abs(np.asarray(got).astype(int) - np.asarray(plain)).max() < 4
    assert ["its colour profile cannot be used" in note for note in notes] == [True]
    for mode in ("CMYK", "LAB", "YCbCr", "HSV", "1", "L", "P"):
        assert read_picture(plain.convert(mode)).mode == "RGB"


def test_the_first_frame_of_an_animation_is_read_and_said() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue", "lime")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        file = stored(frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {}))
        with pytest.warns(UserWarning, match="several pictures .*: the first is read"):
            picture = open_picture(file)
        assert on_white(picture).getpixel((2, 2)) == (255, 0, 0), form
        if form in ("GIF", "PNG"):  # a damaged second frame does not matter
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cut = open_picture(io.BytesIO(file.getvalue()[:-30]))
            assert on_white(cut).getpixel((2, 2)) == (255, 0, 0), form


def test_sizes_are_checked_before_a_picture_is_decoded(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    head = png(40000, 8, 0, b"", b"").getvalue().replace(struct.pack(">II", 40000, 1), struct.pack(">II", 40000, 40000))
    crc = zlib.crc32(head[12:29])
    (tmp_path / "bomb.png").write_bytes(head[:29] + struct.pack(">I", crc) + head[33:])
    with pytest.raises(ProxymaskError, match="is 40000x40000: pictures have up to"):
        open_picture(tmp_path / "bomb.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns from 89 million pixels on
        assert open_picture(stored(Image.new("1", (10000, 10000)), "PNG")).size == (10000, 10000)
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ProxymaskError, match="no pixels"):
        check_size(0, 5, "it")


def test_only_named_formats_are_opened(tmp_path: Path) -> None:
    for form, suffix in (("EPS", "png"), ("PDF", "jpg"), ("ICO", "png"), ("TGA", "bmp"), ("PCX", "png")):
        Image.new("RGB", (16, 16), "red").save(tmp_path / f"other.{form.lower()}", form)
        lie = (tmp_path / f"other.{form.lower()}").rename(tmp_path / f"{form}.{suffix}")
        with pytest.raises(ProxymaskError, match=r"is not a picture|which is not read"):
            open_picture(lie)
    for form in FORMATS:  # the content counts, not the suffix
        Image.new("RGB", (16, 16), "red").save(tmp_path / "x.bin", form)
        assert open_picture((tmp_path / "x.bin").rename(tmp_path / "lie.png")).size == (16, 16)
    Image.init()
    assert {suffix for suffix, form in Image.EXTENSION.items() if form in FORMATS} - SUFFIXES <= {".mpo", ".j2k", ".jp2", ".pfm"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer.*git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\n <!DOCTYPE html><html>", "web page"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"\x93NUMPY\1\0", r"name it \.npy"),
        (b"text", "is not a picture"),
    ],
)
def test_what_a_file_is_instead_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ProxymaskError, match=rf"a\.png is .*{words}" if not words.startswith("is") else words):
        open_picture(tmp_path / "a.png")


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "dangling.png").symlink_to("nowhere")
    (tmp_path / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in {
        "dangling.png": "is a link to a file that does not exist",
        "self.png": "cannot be opened",
        "pipe.png": "is a pipe or a device",
        "none.png": "does not exist",
        ".": "is a folder",
        "a\0b": "cannot be opened",
    }.items():
        with pytest.raises(ProxymaskError, match=words):
            open_picture(tmp_path / name)
    with pytest.raises(ProxymaskError, match="path of an input is empty"):
        open_picture("")
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("L", (3, 3)).save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(tmp_path / name)
    assert open_picture(tmp_path / name).size == (3, 3)


def test_arrays_tensors_and_pictures_are_read_alike() -> None:
    wanted = Image.fromarray(COLOURS)
    sources = [COLOURS, torch.from_numpy(COLOURS), torch.from_numpy(COLOURS).permute(2, 0, 1), wanted, COLOURS[:, ::-1][:, ::-1]]
    for source in sources:
        assert np.array_equal(np.asarray(as_picture(source)), COLOURS)
    assert as_picture(torch.zeros(4, 5, dtype=torch.bfloat16)).mode == "F"
    assert as_picture(np.zeros((3, 4, 3))).getextrema() == ((0, 0),) * 3  # colours from 0 to 1
    for wrong in (np.zeros((2, 3, 4, 5), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ProxymaskError, match="an input array"):
            as_picture(wrong)
    with pytest.raises(ProxymaskError, match="not of type int"):
        as_picture(3)  # type: ignore[arg-type]


def test_which_files_have_more_than_eight_bits(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((4, 4), 4000, np.uint16))
    for name in ("a.png", "a.tif", "a.pgm"):
        deep.save(tmp_path / name)
        assert is_deep(tmp_path / name)
    for name in ("b.png", "b.tif", "b.jpg", "b.pgm"):
        Image.new("L", (4, 4)).save(tmp_path / name)
        assert not is_deep(tmp_path / name)
    assert not is_deep(tmp_path / "none.png")
