"""Rasterisation and areas against brute force and scipy: the JavaScript functions alone, and the same through strokes of the mouse."""

import base64
import itertools

import numpy as np
import pytest
from canvas_driver import Canvas, brush_mask, ellipse_mask, line_points, polygon_mask, stroke_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

WIDTH, HEIGHT = 40, 30
FOUR = ndimage.generate_binary_structure(2, 1)
EIGHT = ndimage.generate_binary_structure(2, 2)

SETUP = """async () => {
  for (const name of ['raster', 'areas', 'buffer', 'clusters']) window[name] = await import(`/canvas/${name}.js`);
  window.base64 = (bytes) => { let text = ''; for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text); };
  window.unbase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  window.drawn = (width, height, draw) => {
    const made = new buffer.LabelBuffer(width, height);
    made.begin();
    draw((y, x0, x1) => made.span(y, x0, x1, 1));
    return base64(made.ids);
  };
}"""

positions = st.tuples(st.floats(-20, 60), st.floats(-20, 50)).map(lambda p: (round(p[0], 2), round(p[1], 2)))
pixels = st.tuples(st.integers(-10, WIDTH + 10), st.integers(-10, HEIGHT + 10))
sizes = st.integers(1, 25)
label_maps = st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 4), st.integers(0, 2**32 - 1)).map(
    lambda t: np.random.default_rng(t[3]).integers(0, t[2], (t[1], t[0])).astype(np.uint8)
)


@pytest.fixture
def js(open_page):
    """``js(expression, argument)``: runs with the canvas's modules at hand."""
    page = open_page()
    page.evaluate(SETUP)
    return page.evaluate


def unpacked(text: str, shape: tuple[int, int] = (HEIGHT, WIDTH), dtype=np.uint8) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def packed(ids: np.ndarray) -> dict:
    return {"width": ids.shape[1], "height": ids.shape[0], "text": base64.b64encode(ids.astype(np.uint8).tobytes()).decode()}


def test_brushes_of_all_sizes_are_round(js):
    for d in range(1, 60):
        call = "([d]) => drawn(80, 80, (span) => raster.stroke(40, 40, 40, 40, d, 80, span))"
        assert (unpacked(js(call, [d]), (80, 80)) == brush_mask(40, 40, d, 80, 80)).all(), d


def test_strokes_are_the_brush_at_every_point_of_the_line(js):
    @settings(max_examples=150, deadline=None)
    @given(positions, positions, sizes)
    def check(a, b, d):
        call = f"([a, b, d]) => drawn({WIDTH}, {HEIGHT}, (span) => raster.stroke(a[0], a[1], b[0], b[1], d, {HEIGHT}, span))"
        assert (unpacked(js(call, [a, b, d])) == stroke_mask([a, b], d, WIDTH, HEIGHT)).all()

    check()


def test_lines_have_no_gaps(js):
    @settings(max_examples=60, deadline=None)
    @given(pixels, pixels)
    def check(a, b):
        points = js("([a, b]) => { const found = []; raster.line(...a, ...b, (x, y) => found.push([x, y])); return found; }", [a, b])
        assert [tuple(point) for point in points] == line_points(a, b)
        assert all(max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1 for p, q in itertools.pairwise(points))

    check()


def test_rectangles_and_ellipses_are_exact(js):
    @settings(max_examples=100, deadline=None)
    @given(pixels, pixels)
    def check(a, b):
        (x0, x1), (y0, y1) = sorted((a[0], b[0])), sorted((a[1], b[1]))
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        call = f"([shape, a, b]) => drawn({WIDTH}, {HEIGHT}, (span) => raster[shape](...a, ...b, span))"
        assert (unpacked(js(call, ["rectangle", a, b])) == ((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))).all()
        assert (unpacked(js(call, ["ellipse", a, b])) == ellipse_mask(x0, y0, x1, y1, WIDTH, HEIGHT)).all()

    check()


def test_polygons_are_exact(js):
    @settings(max_examples=150, deadline=None)
    @given(st.lists(pixels, min_size=3, max_size=12))
    def check(corners):
        call = f"""(corners) => drawn({WIDTH}, {HEIGHT}, (span) =>
          raster.polygon(corners.map(([x, y]) => ({{ x, y }})), {HEIGHT}, span))"""
        assert (unpacked(js(call, corners)) == polygon_mask(corners, WIDTH, HEIGHT)).all()

    check()


def test_connected_areas_are_those_of_scipy(js):
    @settings(max_examples=80, deadline=None)
    @given(label_maps, st.booleans(), st.data())
    def check(ids, eight, data):
        y, x = data.draw(st.integers(0, ids.shape[0] - 1)), data.draw(st.integers(0, ids.shape[1] - 1))
        parts, _ = ndimage.label(ids == ids[y, x], EIGHT if eight else FOUR)
        call = """({ width, height, text, at, eight }) => { const ids = unbase64(text);
          return base64(areas.connected(width, height, [at], (i) => ids[i] === ids[at], eight)); }"""
        found = unpacked(js(call, {**packed(ids), "at": y * ids.shape[1] + x, "eight": eight}), ids.shape)
        assert (found == (parts == parts[y, x])).all()

    check()


def test_enclosed_areas_are_the_holes_of_scipy(js):
    @settings(max_examples=80, deadline=None)
    @given(label_maps)
    def check(ids):
        call = """({ width, height, text }) => { const ids = unbase64(text);
          return base64(areas.enclosed(width, height, (i) => ids[i] === 0)); }"""
        holes = ndimage.binary_fill_holes(ids == 0) & (ids != 0)
        assert (unpacked(js(call, packed(ids)), ids.shape) == holes).all()

    check()


def without_specks(ids: np.ndarray, smallest: int) -> np.ndarray:
    """Components of fewer pixels take the label with most sides around them, the smaller id of two; rounds until all have."""
    result, specks = ids.copy(), []
    for label in np.unique(ids):
        parts, count = ndimage.label(ids == label, EIGHT)
        specks += [part for i in range(1, count + 1) if (part := parts == i).sum() < smallest]
    waiting = np.zeros(ids.shape, bool)
    for speck in specks:
        waiting |= speck
    while specks:
        settled = []
        for speck in specks:
            sides = np.zeros(256, int)
            for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                neighbour = np.roll(speck, shift, (0, 1))
                if shift[0]:
                    neighbour[0 if shift[0] > 0 else -1] = False
                else:
                    neighbour[:, 0 if shift[1] > 0 else -1] = False
                np.add.at(sides, result[neighbour & ~waiting], 1)
            if sides.any():
                settled.append((speck, int(sides.argmax())))
        if not settled:
            break
        for speck, label in settled:
            result[speck], waiting[speck] = label, False
        specks = [speck for speck in specks if waiting[speck].any()]
    return result


def test_specks_take_the_surrounding_label(js):
    @settings(max_examples=80, deadline=None)
    @given(label_maps, st.integers(1, 12))
    def check(ids, smallest):
        call = "({ width, height, text, smallest }) => base64(areas.withoutSpecks(unbase64(text), width, height, smallest))"
        found = unpacked(js(call, {**packed(ids), "smallest": smallest}), ids.shape)
        assert (found == without_specks(ids, smallest)).all()

    check()


def test_surroundings_are_the_nearest_labels(js):
    @settings(max_examples=60, deadline=None)
    @given(label_maps, st.integers(0, 2**32 - 1))
    def check(ids, seed):
        mask = ndimage.binary_dilation(np.random.default_rng(seed).random(ids.shape) < 0.08, iterations=2)
        call = "({ width, height, text, mask }) => base64(areas.surroundings(unbase64(text), width, height, unbase64(mask), 9))"
        found = unpacked(js(call, {**packed(ids), "mask": packed(mask)["text"]}), ids.shape)
        assert (found[~mask] == ids[~mask]).all()
        if mask.all():
            assert (found == 9).all()
            return
        outside = np.argwhere(~mask)
        for y, x in np.argwhere(mask):
            steps = np.abs(outside - (y, x)).sum(1)
            assert found[y, x] in {ids[tuple(at)] for at in outside[steps == steps.min()]}

    check()


def test_run_lengths_come_back(js):
    @settings(max_examples=60, deadline=None)
    @given(label_maps)
    def check(ids):
        rle = js("({ text }) => base64(buffer.encodeRle(unbase64(text)))", packed(ids))
        raw = base64.b64decode(rle)
        runs = [(raw[i], raw[i + 1] | raw[i + 2] << 8) for i in range(0, len(raw), 3)]
        assert b"".join(bytes([label]) * count for label, count in runs) == ids.tobytes()
        assert all(count >= 1 for _, count in runs)
        assert js("([rle, n]) => base64(buffer.decodeRle(unbase64(rle), n))", [rle, ids.size]) == packed(ids)["text"]

    check()
    long = js("() => Array.from(buffer.encodeRle(new Uint8Array(150000).fill(7)))")
    assert long == [7, 255, 255, 7, 255, 255, 7, 150000 - 2 * 65535 & 255, 150000 - 2 * 65535 >> 8]


@pytest.mark.parametrize(
    ("bytes_", "message"),
    [
        ([1, 4], "multiple of 3"),
        ([1, 0, 0], "empty run"),
        ([1, 5, 0], "longer than 4"),
        ([1, 3, 0], "covers 3 of 4"),
        ([], "covers 0 of 4"),
    ],
)
def test_bad_run_lengths_are_refused_in_words(js, bytes_, message):
    found = js(
        "(bytes) => { try { buffer.decodeRle(Uint8Array.from(bytes), 4); return null; } catch (error) { return error.message; } }", bytes_
    )
    assert message in found


def test_strokes_of_the_mouse_are_exact(open_page):
    canvas = Canvas(open_page())

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.tuples(st.integers(-5, 68), st.integers(-4, 50)), min_size=1, max_size=5), st.integers(1, 12))
    def check(corners, size):
        canvas.load(np.zeros((48, 64)))
        canvas.use("brush", 1, size)
        middles = [(x + 0.5, y + 0.5) for x, y in corners]
        canvas.drag(*middles)
        if not (0 <= middles[0][0] < 64 and 0 <= middles[0][1] < 48):
            return  # the first press may be outside of the element
        assert (canvas.ids() == stroke_mask(middles, size, 64, 48)).all()

    check()


def test_a_mirrored_stroke_is_its_own_mirror_image(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 5, mirror=True)
    canvas.drag((10, 10), (25, 30), (5, 40))
    canvas.use("rectangle", 2)
    canvas.drag((2, 2), (8, 6))
    ids = canvas.ids()
    assert (ids == ids[:, ::-1]).all()
    assert set(np.unique(ids)) == {0, 1, 2}
