"""Reading conditions from files: drawings of any polarity, background and size, scribbles, depth maps; errors for wrong ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from proxymask.conditions import FunctionCondition, get_condition, register
from proxymask.conditions.scribble import ScribbleCondition, draw_strokes
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.mask_files import example_masks
from proxymask.imaging.masks import read_mask

SIZE = 64
SKETCH = get_condition("sketch")
SCRIBBLE = get_condition("scribble", AVATAR_LABELS)
DEPTH = get_condition("depth")


def drawing(size: tuple[int, int] = (256, 256), ink: object = 0, paper: object = 255, mode: str = "L", width: int = 5) -> Image.Image:
    """A circle in the middle, half as wide as the smaller side."""
    picture = Image.new(mode, size, paper)
    radius, x, y = min(size) / 4, size[0] / 2, size[1] / 2
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)
    return picture


def photo(seed: int = 0) -> Image.Image:
    """Smooth colours everywhere."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((200, 200), Image.Resampling.BICUBIC)


# Lines


def test_a_drawing_on_any_background_reads_the_same() -> None:
    wanted = SKETCH.read(drawing(), SIZE)
    assert wanted.planes.shape == (1, SIZE, SIZE)
    assert wanted.notes == ()
    assert float(wanted.planes.max()) == 1
    assert 0.02 < float((wanted.planes > 0.5).float().mean()) < 0.08
    assert bool(wanted.painted[16, 32])
    assert not bool(wanted.painted[0, 0])
    grounds = {
        "greyish paper": drawing(ink=20, paper=225),
        "blue pen": drawing(ink=(20, 30, 160), paper=(255, 255, 250), mode="RGB"),
        "black and white": drawing().convert("1"),
        "sixteen bit": Image.fromarray(np.asarray(drawing()).astype(np.uint16) * 257),
        "blue pen, soft edges": drawing((1024, 1024), (20, 30, 160), (255, 255, 250), "RGB", 20).resize((256, 256), Image.Resampling.BOX),
        "on nothing": drawing(ink=(0, 0, 0, 255), paper=(0, 0, 0, 0), mode="RGBA"),
        "array": np.asarray(drawing()),
    }
    for name, source in grounds.items():
        got = SKETCH.read(source, SIZE)
        assert float((got.planes - wanted.planes).abs().mean()) < 0.01, name
        assert float((got.painted != wanted.painted).float().mean()) < 0.03, name


def test_white_on_black_is_detected_or_forced() -> None:
    wanted = SKETCH.read(drawing(), SIZE).planes
    inverted = drawing(ink=255, paper=0)
    got = SKETCH.read(inverted, SIZE)
    assert got.notes == ("it is white on black: read as inverted",)
    assert torch.allclose(got.planes, wanted, atol=0.02)
    mask_features = SKETCH.read(inverted, SIZE, invert=True)
    assert mask_features.notes == ()
    assert torch.equal(mask_features.planes, got.planes)
    edges = get_condition("edges", extractor="xdog").read(inverted, SIZE)  # usual for edge maps, so there is no note
    assert edges.notes == ()
    assert torch.equal(edges.planes, got.planes)


@pytest.mark.parametrize("size", [(400, 200), (150, 300), (256, 252), (40, 40)])
def test_drawings_of_any_aspect_ratio_are_padded(size: tuple[int, int]) -> None:
    got = SKETCH.read(drawing(size), SIZE)
    rows, columns = torch.nonzero(got.planes[0] > 0.5, as_tuple=True)
    height, width = int(rows.max() - rows.min()), int(columns.max() - columns.min())
    assert abs(height - width) <= 2  # a circle stays a circle
    assert abs(float(rows.float().mean()) - SIZE / 2) < 1.5
    assert any("blank margins" in note for note in got.notes) == (max(size) > 1.05 * min(size))


def test_thin_lines_of_a_large_drawing_do_not_fade() -> None:
    got = SKETCH.read(drawing((1600, 1600), width=4), SIZE)  # a sixth of a pixel at the size of the model
    assert float(got.planes.max()) > 0.9
    assert 0.02 < float((got.planes > 0.5).float().mean()) < 0.12


def test_erased_parts_are_unpainted() -> None:
    pixels = np.asarray(drawing().convert("RGBA")).copy()
    pixels[:, 140:, 3] = 0
    got = SKETCH.read(Image.fromarray(pixels), SIZE)
    assert bool(got.painted[:, :34].all())
    assert not bool(got.painted[:, 36:].any())
    assert float(got.planes[0, :, 36:].max()) == 0


def test_a_photo_is_refused_with_the_reason() -> None:
    def refused(picture: Image.Image) -> str:
        with pytest.raises(ProxymaskError) as caught:
            get_condition("sketch").read(picture, SIZE)
        return str(caught.value)

    assert "of it is paper" in refused(Image.linear_gradient("L"))
    assert "its background is in colours" in refused(drawing(paper=(120, 200, 255), mode="RGB"))
    assert "its background is neither light nor dark" in refused(drawing(paper=115))
    filled = drawing()
    ImageDraw.Draw(filled).ellipse((60, 60, 190, 190), fill=110)
    assert "of it is filled with tones" in refused(filled)


def test_wrong_drawings_are_refused(tmp_path: Path) -> None:
    for source in (photo(), photo(1).convert("L")):
        with pytest.raises(ProxymaskError, match=r"looks like a photo, not a drawing.*from_photo"):
            SKETCH.read(source, SIZE)
    for empty in (Image.new("L", (99, 99), 255), Image.new("L", (99, 99), 0), np.full((50, 50), 250, np.uint8)):
        with pytest.raises(ProxymaskError, match="is empty: nothing is drawn on it"):
            SKETCH.read(empty, SIZE)
    with pytest.raises(ProxymaskError, match="transparent all over"):
        SKETCH.read(Image.new("RGBA", (50, 50)), SIZE)
    with pytest.raises(ProxymaskError, match="does not exist"):
        SKETCH.read(tmp_path / "none.png", SIZE)
    with pytest.raises(ProxymaskError, match="is a folder"):
        SKETCH.read(tmp_path, SIZE)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ProxymaskError, match="is not a picture"):
        SKETCH.read(tmp_path / "text.png", SIZE)
    drawing().save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(ProxymaskError, match="truncated or damaged"):
        SKETCH.read(tmp_path / "cut.png", SIZE)
    for shape in ((4, 4, 2), (0, 5), (3,)):
        with pytest.raises(ProxymaskError, match="an input array must"):
            SKETCH.read(np.zeros(shape, np.uint8), SIZE)


def test_avatars_are_photos_and_their_sketches_drawings() -> None:
    """Pictures in flat colours are not taken for drawings; lines extracted from them read back as they were shown."""
    pytest.importorskip("robohash")
    from proxymask.data.avatars import AVATARS

    composer = AVATARS.composer(SIZE)
    for index in range(8):
        image = composer.compose(11, index).image
        with pytest.raises(ProxymaskError, match="looks like a photo"):
            SKETCH.read(image, SIZE)
        reading = SKETCH.read_photo(image, SIZE)
        back = SKETCH.read(SKETCH.show(reading.planes[None])[0], SIZE)
        assert float((back.planes - reading.planes).abs().mean()) < 0.05


def test_photos_are_cropped_to_the_centre_and_flat_ones_refused() -> None:
    wide = Image.new("RGB", (300, 100), "white")
    wide.paste(drawing((100, 100), mode="RGB", ink=(0, 0, 0), paper=(200, 200, 200)), (100, 0))
    got = SKETCH.read_photo(wide, SIZE)
    assert got.notes == ("it is 300x100: its centre square is used",)
    assert bool(got.painted.all())
    assert float(got.planes[0, 16].max()) > 0.5
    with pytest.raises(ProxymaskError, match="no sketch was found in it"):
        SKETCH.read_photo(Image.new("RGB", (50, 50), "red"), SIZE)
    with pytest.raises(ProxymaskError, match="a scribble cannot be extracted from a photo"):
        SCRIBBLE.read_photo(photo(), SIZE)


# Scribbles


def strokes(paper: object = (255, 255, 255), mode: str = "RGB", size: int = 256) -> Image.Image:
    """A bar of each of three classes."""
    picture = Image.new(mode, (size, size), paper)
    pen = ImageDraw.Draw(picture)
    unit = size // 8
    for number, name in enumerate(("skin", "top", "clothes")):
        y = (2 * number + 2) * unit
        colour = AVATAR_LABELS.by_name(name).color
        pen.line((unit, y, 7 * unit, y), fill=colour if mode == "RGB" else (*colour, 255), width=unit // 3)
    return picture


def test_scribbles_on_any_background_read_the_same() -> None:
    wanted = SCRIBBLE.read(strokes(), SIZE)
    assert wanted.planes.shape == (len(AVATAR_LABELS), SIZE, SIZE)
    present = {AVATAR_LABELS.names[i] for i in torch.nonzero(wanted.planes.flatten(1).any(dim=1)).flatten()}
    assert present == {"skin", "top", "clothes"}
    assert set(wanted.planes.sum(dim=0).unique().tolist()) == {0.0, 1.0}
    ids = np.full((256, 256), 255, np.uint8)
    for i, colour in enumerate(AVATAR_LABELS.colors):
        ids[(np.asarray(strokes()) == colour).all(axis=-1)] = i
    palette = Image.fromarray(ids)
    palette.putpalette(AVATAR_LABELS.palette())
    grounds = {"nothing": strokes((0, 0, 0, 0), "RGBA"), "black": strokes((0, 0, 0)), "ids": ids, "palette": palette}
    for name, source in grounds.items():
        got = SCRIBBLE.read(source, SIZE)
        assert torch.equal(got.planes, wanted.planes), name
        assert float((got.painted != wanted.painted).float().mean()) < 0.03, name
    blurred = strokes(size=512).resize((256, 256), Image.Resampling.BICUBIC)  # soft edges
    got = SCRIBBLE.read(blurred, SIZE)
    assert {AVATAR_LABELS.names[i] for i in torch.nonzero(got.planes.flatten(1).any(dim=1)).flatten()} == present
    assert float((got.planes != wanted.planes).float().mean()) < 0.005
    wide = SCRIBBLE.read(Image.fromarray(np.pad(np.asarray(strokes()), ((0, 0), (100, 100), (0, 0)), constant_values=255)), SIZE)
    assert any("blank margins" in note for note in wide.notes)


def test_wrong_scribbles_are_refused() -> None:
    with pytest.raises(ProxymaskError, match="is empty: paint strokes"):
        SCRIBBLE.read(Image.new("RGB", (80, 80), "white"), SIZE)
    with pytest.raises(ProxymaskError, match=r"has colours of no class \(the first is #"):
        SCRIBBLE.read(photo(), SIZE)
    with pytest.raises(ProxymaskError, match="cannot be inverted"):
        SCRIBBLE.read(strokes(), SIZE, invert=True)
    with pytest.raises(ProxymaskError, match="this bundle has none"):
        get_condition("scribble")
    with pytest.raises(ProxymaskError, match="made of labels, not by an extractor"):
        get_condition("scribble", AVATAR_LABELS, "xdog")
    full = SCRIBBLE.read(read_mask(example_masks() / "beard.png", AVATAR_LABELS), SIZE)
    assert any("the condition mask" in note for note in full.notes)


@pytest.mark.parametrize("covered", [0.02, 0.05, 0.1])
def test_strokes_stay_in_their_regions_and_cover_the_given_share(covered: float) -> None:
    shares = []
    for number, path in enumerate(sorted(example_masks().glob("*.png"))):
        ids = read_mask(path, AVATAR_LABELS, SIZE)
        planes = draw_strokes(ids, len(AVATAR_LABELS), covered, np.random.default_rng(number))
        for i in range(len(AVATAR_LABELS)):
            assert not planes[i][ids != i].any()
            assert planes[i].any() == (ids == i).any()  # every class has strokes
        shares.append(planes.sum() / ids.size)
        again = draw_strokes(ids, len(AVATAR_LABELS), covered, np.random.default_rng(number))
        assert np.array_equal(planes, again)
    assert 0.6 * covered < float(np.mean(shares)) < 1.4 * covered


def test_transparent_pixels_of_a_mask_are_unpainted() -> None:
    ids = read_mask(example_masks() / "beard.png", AVATAR_LABELS, SIZE)
    rgba = np.dstack([AVATAR_LABELS.colors[ids], np.full(ids.shape, 255, np.uint8)])
    rgba[:, :20, 3] = 0
    got = get_condition("mask", AVATAR_LABELS).read(Image.fromarray(rgba), SIZE)
    assert not bool(got.painted[:, :20].any())
    assert bool(got.painted[:, 20:].all())
    assert torch.equal(got.planes[:, :, 20:].argmax(dim=0), torch.tensor(ids[:, 20:]).long())
    assert bool((got.planes[0, :, :20] == 1).all())


# Depth


def pyramid() -> np.ndarray:
    """Nearness, 1 in the middle to 0.2 at the border, float (80, 80)."""
    at = np.abs(np.linspace(-1, 1, 80))
    return 1 - 0.8 * np.maximum(at[:, None], at[None])


def test_depth_in_any_form_reads_the_same(tmp_path: Path) -> None:
    near = pyramid()
    wanted = DEPTH.read((near * 255).round().astype(np.uint8), SIZE).planes
    assert float(wanted.min()) == 0
    assert float(wanted.max()) == 1
    metres = 1 / near  # one metre to five
    forms: dict[str, object] = {
        "sixteen bit": (near * 65535).round().astype(np.uint16),
        "relative float": near.astype(np.float32),
        "metres": metres.astype(np.float32),
        "millimetres": (metres * 1000).round().astype(np.uint16),
        "grey as RGB": np.repeat((near * 255).round().astype(np.uint8)[..., None], 3, axis=2),
    }
    for name, source in forms.items():
        got = DEPTH.read(source, SIZE)
        assert float((got.planes - wanted).abs().max()) < 0.02, name
        assert any("metres" in note for note in got.notes) == (name in ("metres", "millimetres")), name
    Image.fromarray(forms["millimetres"]).save(tmp_path / "mm.png")  # type: ignore[arg-type]
    Image.fromarray(forms["metres"]).save(tmp_path / "m.tiff")  # type: ignore[arg-type]
    np.save(tmp_path / "m.npy", forms["metres"])  # type: ignore[arg-type]
    np.save(tmp_path / "mm.npy", forms["millimetres"])  # type: ignore[arg-type]
    for file in ("mm.png", "m.tiff", "m.npy", "mm.npy"):
        assert float((DEPTH.read(tmp_path / file, SIZE).planes - wanted).abs().max()) < 0.02, file


def test_inverted_depth_is_detected() -> None:
    near = (pyramid() * 255).astype(np.uint8)
    wanted = DEPTH.read(near, SIZE).planes
    typical = torch.nn.functional.adaptive_avg_pool2d(wanted, 16)
    assert DEPTH.read(near, SIZE, mean_condition=typical).notes == ("read as relative depth, near is bright",)
    got = DEPTH.read(255 - near, SIZE, mean_condition=typical)
    assert got.notes[-1] == "near seems to be dark in it: read as inverted"
    assert torch.allclose(got.planes, wanted, atol=0.02)
    assert torch.allclose(DEPTH.read(255 - near, SIZE, invert=True, mean_condition=typical).planes, wanted, atol=0.02)
    assert torch.allclose(DEPTH.read(255 - near, SIZE).planes, 1 - wanted, atol=0.02)  # without a mean condition it cannot be detected


def test_depth_without_a_measurement_is_unpainted() -> None:
    metres = (1000 / pyramid()).astype(np.uint16)
    metres[:, :40] = 0
    got = DEPTH.read(metres, SIZE)
    assert not bool(got.painted[:, :30].any())
    assert bool(got.painted[:, 34:].all())
    assert float(got.planes[0, :, 34:].max()) > 0.9


def test_wrong_depth_is_refused() -> None:
    for flat in (np.full((30, 30), 90, np.uint8), np.zeros((30, 30), np.uint16), np.full((30, 30), 7.5, np.float32)):
        with pytest.raises(ProxymaskError, match="is empty: it has one depth all over"):
            DEPTH.read(flat, SIZE)
    with pytest.raises(ProxymaskError, match=r"has colours, and depth is grey.*from_photo"):
        DEPTH.read(photo(), SIZE)
    with pytest.raises(ProxymaskError, match="no measurement"):
        DEPTH.read(np.full((30, 30), np.nan, np.float32), SIZE)
    with pytest.raises(ProxymaskError, match="negative depths"):
        DEPTH.read(-pyramid().astype(np.float32), SIZE)
    wide = np.tile((pyramid() * 255).astype(np.uint8), (1, 2))
    assert any("centre square" in note for note in DEPTH.read(wide, SIZE).notes)


# The registry


def test_one_function_is_a_condition(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "conditions" / "darkness.py"
    assert len(example.read_text().splitlines()) < 30
    condition = get_condition(f"{example}:darkness")
    assert isinstance(condition, FunctionCondition)
    planes = condition.extract(torch.rand(2, 3, SIZE, SIZE) * 2 - 1, None, torch.Generator())
    assert planes.shape == (2, 1, SIZE, SIZE)
    reading = condition.read(condition.show(planes)[0], SIZE)
    assert torch.allclose(reading.planes, planes[0], atol=1 / 255)
    assert get_condition("darkness").about() == {"condition": "darkness", "channels": 1}
    unknown = get_condition("far-away", about={"condition": "far-away", "channels": 3})  # stored in a bundle, not registered here
    assert unknown.read(photo(), SIZE).planes.shape == (3, SIZE, SIZE)
    with pytest.raises(ProxymaskError, match=r"give condition FILE\.py:far-away"):
        unknown.read_photo(photo(), SIZE)
    with pytest.raises(ProxymaskError, match=r"registers no condition 'light'"):
        get_condition(f"{example}:light")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(ProxymaskError, match=r"cannot be run \(ZeroDivisionError"):
        get_condition(f"{tmp_path / 'bad.py'}:x")
    with pytest.raises(ProxymaskError, match="unknown condition 'sktch': use one of mask, scribble, sketch"):
        get_condition("sktch")
    with pytest.raises(ProxymaskError, match="there is a condition 'sketch' already"):
        register("sketch")
    with pytest.raises(ProxymaskError, match=r"1 plane \(grey\) or 3|channels must be an odd number, 1 to 3, not 2"):
        register("two-planes", channels=2)
    for wrong, words in ((lambda x: x, "must return"), (lambda x: x[:, :1] * 300, "values from 0 to 1")):
        with pytest.raises(ProxymaskError, match=words):
            FunctionCondition("w", 1, wrong).extract(torch.rand(2, 3, 8, 8), None, torch.Generator())


def test_stored_about_opens_the_same_condition() -> None:
    for name, extractor in (("sketch", "ldc"), ("hed", "pidinet"), ("depth", "midas")):
        about = get_condition(name, extractor=extractor).about()
        assert about == {"condition": name, "channels": 1, "extractor": extractor}
        again = get_condition(name, about=about)
        assert again.about() == about
    assert ScribbleCondition(AVATAR_LABELS).about() == {"condition": "scribble", "channels": len(AVATAR_LABELS)}
    with pytest.raises(ProxymaskError, match="not an extractor of lines"):
        get_condition("sketch", extractor="midas")
    with pytest.raises(ProxymaskError, match="not an extractor of depth"):
        get_condition("depth", extractor="canny")


def test_a_picture_is_read_unchanged(tmp_path: Path) -> None:
    kind = get_condition("picture")
    pixels = np.zeros((40, 60, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, 30:, 0] = 255
    pixels[:10, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    reading = kind.read(tmp_path / "picture.png", 20)
    assert reading.notes == ("it is 60x40: its centre square is used",)
    assert reading.planes.shape == (3, 20, 20)
    assert reading.planes[:, 15, 3].tolist() == [0, 0, 0]
    assert reading.planes[:, 15, 16].tolist() == [1, 0, 0]
    assert reading.planes[:, 2, 3].tolist() == pytest.approx([1, 1, 1], abs=0.01)  # transparent: white, and not painted
    assert not reading.painted[2].any()
    assert reading.painted[15].all()
    assert torch.equal(kind.read_photo(tmp_path / "picture.png", 20).planes, reading.planes)
    with pytest.raises(ProxymaskError, match="is empty: it is one colour all over"):
        kind.read(np.full((32, 32, 3), 7, dtype=np.uint8), 16)
    with pytest.raises(ProxymaskError, match="a picture cannot be inverted"):
        kind.read(tmp_path / "picture.png", 16, invert=True)
    with pytest.raises(ProxymaskError, match="a picture needs no extractor"):
        get_condition("picture", extractor="xdog")
