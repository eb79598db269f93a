"""What each tool writes: shapes, fill, locks, moving and scaling, clusters, modes."""

import numpy as np
import pytest
from canvas_driver import Canvas, ellipse_mask, polygon_mask, stroke_mask
from scipy import ndimage

W, H = 64, 48


@pytest.fixture
def canvas(open_page):
    return Canvas(open_page(), W, H)


def scene() -> np.ndarray:
    """A face of skin (1) with an eye (2), hair (3) above, background (0) around."""
    ids = np.zeros((H, W), np.uint8)
    ids[6:14, 16:48] = 3
    ids[14:40, 18:46] = 1
    ids[20:24, 24:30] = 2
    return ids


def test_shapes(canvas):
    canvas.use("rectangle", 1)
    canvas.drag((4.5, 5.5), (20.5, 12.5))
    canvas.use("ellipse", 2)
    canvas.drag((40.5, 30.5), (25.5, 10.5))
    canvas.use("line", 3, 3)
    canvas.drag((5.5, 40.5), (30.5, 44.5))
    expected = np.zeros((H, W), np.uint8)
    expected[5:13, 4:21] = 1
    expected[ellipse_mask(25, 10, 40, 30, W, H)] = 2
    expected[stroke_mask([(5.5, 40.5), (30.5, 44.5)], 3, W, H)] = 3
    assert (canvas.ids() == expected).all()
    assert canvas.get("canvas.history.done.length") == 3


def test_shapes_with_shift_are_regular(canvas):
    page = canvas.page
    page.keyboard.down("Shift")
    canvas.use("rectangle", 1)
    canvas.drag((10.5, 10.5), (20.5, 13.5))
    canvas.use("line", 2)
    canvas.drag((40.5, 10.5), (60.5, 12.5))
    page.keyboard.up("Shift")
    ids = canvas.ids()
    assert (ids[10:21, 10:21] == 1).all()
    assert (ids == 1).sum() == 11 * 11
    assert set(np.nonzero(ids == 2)[0]) == {10}


def test_outlines_are_as_wide_as_the_brush(canvas):
    canvas.use("rectangle", 1, 2, filled=False)
    canvas.drag((5.5, 5.5), (20.5, 15.5))
    expected = np.zeros((H, W), np.uint8)
    expected[5:16, 5:21] = 1
    expected[7:14, 7:19] = 0
    assert (canvas.ids() == expected).all()
    canvas.use("ellipse", 2, 3)
    canvas.drag((30.5, 10.5), (60.5, 40.5))
    expected[ellipse_mask(30, 10, 60, 40, W, H) & ~ellipse_mask(33, 13, 57, 37, W, H)] = 2
    assert (canvas.ids() == expected).all()


def test_lasso_and_polygon(canvas):
    corners = [(5, 5), (30, 8), (25, 30), (10, 20)]
    middles = [(x + 0.5, y + 0.5) for x, y in corners]
    canvas.use("lasso", 1)
    canvas.drag(*middles)
    expected = polygon_mask(corners, W, H)
    assert (canvas.ids() == expected).all()
    for close in ("Enter", "first corner", "double click", "another tool"):
        canvas.call("clear")
        canvas.use("polygon", 2)
        for x, y in middles[:-1]:
            canvas.click(x, y)
            canvas.page.wait_for_timeout(20)
        assert canvas.get("canvas.busy")
        assert not canvas.ids().any()
        if close == "double click":
            canvas.click(*middles[-1], click_count=2)
        else:
            canvas.click(*middles[-1])
        if close == "Enter":
            canvas.page.keyboard.press("Enter")
        if close == "first corner":
            canvas.click(*middles[0])
        if close == "another tool":
            canvas.call("setTool", "brush")
        assert not canvas.get("canvas.busy")
        assert (canvas.ids() == 2 * expected).all(), close


def test_a_polygon_gives_corners_back_one_by_one(canvas):
    canvas.use("polygon", 1)
    for x, y in [(5.5, 5.5), (30.5, 5.5), (30.5, 30.5), (50.5, 10.5)]:
        canvas.click(x, y)
    canvas.page.keyboard.press("Control+z")
    canvas.page.keyboard.press("Enter")
    assert (canvas.ids() == polygon_mask([(5, 5), (30, 5), (30, 30)], W, H)).all()
    canvas.click(5, 40)
    canvas.page.keyboard.press("Backspace")
    assert not canvas.get("canvas.busy")
    canvas.click(5, 40)
    canvas.page.keyboard.press("Escape")
    assert canvas.get("[canvas.busy, canvas.history.done.length]") == [False, 1]


def test_escape_takes_a_stroke_back(canvas):
    canvas.use("brush", 1, 5)
    page = canvas.page
    page.mouse.move(*canvas.at(10, 10))
    page.mouse.down()
    page.mouse.move(*canvas.at(30, 10))
    assert canvas.ids().any()
    page.keyboard.press("Escape")
    page.mouse.move(*canvas.at(30, 30))
    page.mouse.up()
    assert not canvas.ids().any()
    assert canvas.get("canvas.history.done.length") == 0


def test_fill(canvas):
    ids = scene()
    ids[30:34, 52:60] = 1
    canvas.load(ids)
    canvas.use("fill", 12)
    canvas.click(30, 30)
    expected = ids.copy()
    expected[ndimage.label(ids == 1)[0] == 1] = 12
    assert (canvas.ids() == expected).all()
    canvas.call("undo")
    canvas.use("fill", 12, everywhere=True)
    canvas.click(30, 30)
    assert (canvas.ids() == np.where(ids == 1, 12, ids)).all()


def test_fill_does_not_leak_through_a_diagonal_line(canvas):
    canvas.use("line", 1, 1)
    canvas.drag((0.5, 0.5), (47.5, 47.5))
    canvas.use("fill", 2)
    canvas.click(40, 5)
    y, x = np.mgrid[:H, :W]
    assert ((canvas.ids() == 2) == (x > y)).all()


def test_fill_enclosed(canvas):
    ids = np.zeros((H, W), np.uint8)
    ids[10:30, 10:40] = 1
    ids[12:28, 12:38] = 0
    ids[15:20, 20:25] = 2  # something inside of the outline
    ids[40:44, 5:12] = 1
    ids[41:43, 6:11] = 0
    canvas.load(ids)
    canvas.use("enclose", 1)
    canvas.click(22, 17)
    expected = ids.copy()
    expected[10:30, 10:40] = 1
    assert (canvas.ids() == expected).all()
    canvas.events("")
    canvas.click(50, 20)
    assert [event["text"] for event in canvas.events("notice")] == ["no closed outline of skin is around this place"]
    canvas.call("undo")
    canvas.click(10, 15)  # on the outline itself: all its holes, but not those of the other one
    assert (canvas.ids() == expected).all()
    canvas.load(ids)
    canvas.call("fillEnclosed", 1)
    assert (canvas.ids() == np.where(ndimage.binary_fill_holes(ids == 1), 1, ids)).all()


def test_remove_specks(canvas):
    ids = scene()
    ids[30, 30] = 3
    ids[2:4, 2:4] = 1
    canvas.load(ids)
    canvas.call("setLock", 3, "never")
    canvas.call("removeSpecks", 10)
    expected = scene()
    expected[30, 30] = 3  # locked
    assert (canvas.ids() == expected).all()
    canvas.call("setLock", 3, "none")
    canvas.call("removeSpecks", 10)
    assert (canvas.ids() == scene()).all()
    canvas.call("undo")
    canvas.call("undo")
    assert (canvas.ids() == ids).all()


@pytest.mark.parametrize("tool", ["brush", "rectangle", "ellipse", "lasso", "line", "eraser"])
def test_locks(canvas, tool):
    ids = scene()
    canvas.load(ids)
    for lock, free in [("never", ids != 2), ("only", ids == 2)]:
        canvas.call("setLock", 2, lock)
        canvas.use(tool, 12, 9)
        canvas.drag((20.5, 16.5), (34.5, 18.5), (21.5, 25.5), (33.5, 26.5))
        changed = canvas.ids() != ids
        assert changed.any()
        assert (free | ~changed).all()
        canvas.call("undo")
        canvas.call("setLock", 2, "none")
    assert canvas.get("canvas.getLock(2)") == "none"


def test_a_locked_label_says_so(canvas):
    canvas.load(scene())
    canvas.call("setLock", 2, "never")
    canvas.events("")
    canvas.use("fill", 12)
    canvas.click(26, 22)
    canvas.use("select")
    canvas.click(26, 22)
    assert [event["text"] for event in canvas.events("notice")] == [
        "eyes is locked: nothing was filled",
        "eyes is locked: it was not selected",
    ]
    assert (canvas.ids() == scene()).all()


def test_a_region_is_moved_and_scaled(canvas):
    ids = scene()
    canvas.load(ids)
    canvas.use("select")
    canvas.drag((26.5, 22.5), (36.5, 27.5))  # the eye, by 10 and 5
    expected = ids.copy()
    expected[20:24, 24:30] = 1  # what was around it
    expected[25:29, 34:40] = 2
    assert (canvas.ids() == expected).all()
    assert canvas.get("[canvas.busy, canvas.history.done.length]") == [True, 1]
    scale = canvas.get("canvas.getView().scale")
    canvas.drag((40 + 5 / scale, 29 + 5 / scale), (43 + 5 / scale, 31 + 5 / scale))  # the lower right handle: 9 x 6
    expected[25:31, 34:43] = 2
    assert (canvas.ids() == expected).all()
    canvas.page.keyboard.press("ArrowLeft")
    canvas.page.keyboard.press("Shift+ArrowDown")
    expected[25:31, 34:43] = 1
    expected[35:41, 33:42] = 2
    assert (canvas.ids() == expected).all()
    canvas.page.keyboard.press("Enter")
    assert canvas.get("[canvas.busy, canvas.history.done.length]") == [False, 2]
    canvas.page.keyboard.press("Control+z")
    assert (canvas.ids() == ids).all()


def test_escape_puts_a_region_back_and_delete_removes_it(canvas):
    canvas.load(scene())
    canvas.use("select", under="background")
    canvas.drag((26.5, 22.5), (36.5, 27.5))
    assert canvas.ids()[21, 25] == 0
    canvas.page.keyboard.press("Escape")
    assert (canvas.ids() == scene()).all()
    canvas.call("setSettings", {"under": "surrounding"})
    canvas.click(26.5, 22.5)
    canvas.page.keyboard.press("Delete")
    expected = scene()
    expected[expected == 2] = 1
    assert (canvas.ids() == expected).all()


def test_several_regions_move_together(canvas):
    ids = scene()
    canvas.load(ids)
    canvas.use("select")
    canvas.drag((10.5, 2.5), (55.5, 45.5))  # a rectangle drawn over the background takes all that is in it
    canvas.drag((30.5, 30.5), (33.5, 32.5))
    canvas.page.keyboard.press("Enter")
    assert (canvas.ids() == np.roll(ids, (2, 3), (0, 1))).all()
    canvas.call("undo")
    canvas.click(30.5, 10.5)
    canvas.page.keyboard.down("Shift")
    canvas.click(26.5, 22.5)
    canvas.page.keyboard.up("Shift")
    canvas.page.keyboard.press("ArrowRight")
    canvas.page.keyboard.press("Enter")
    moved = canvas.ids()
    assert (moved[20:24, 25:31] == 2).all()
    assert (moved[6:14, 17:49] == 3).all()


def test_a_region_moved_out_of_the_canvas_and_back_is_whole(canvas):
    ids = scene()
    canvas.load(ids)
    canvas.use("select")
    canvas.click(26.5, 22.5)
    for key in ["Shift+ArrowLeft"] * 4 + ["Shift+ArrowRight"] * 4:
        canvas.page.keyboard.press(key)
    canvas.page.keyboard.press("Enter")
    assert (canvas.ids() == ids).all()
    assert canvas.get("canvas.history.done.length") == 1


def test_locks_hold_while_a_region_moves(canvas):
    canvas.load(scene())
    canvas.call("setLock", 3, "never")
    canvas.use("select")
    canvas.drag((26.5, 22.5), (26.5, 13.5))
    canvas.page.keyboard.press("Enter")
    ids = canvas.ids()
    assert ((ids == 3) == (scene() == 3)).all()
    assert (ids[14:15, 24:30] == 2).all()


def test_scaling_copies_the_nearest_pixels(canvas):
    ids = np.zeros((H, W), np.uint8)
    ids[10:12, 10:13] = [[1, 2, 3], [2, 3, 12]]
    canvas.load(ids)
    canvas.use("select")
    canvas.drag((8.5, 8.5), (14.5, 14.5))
    for _ in range(6):
        canvas.page.keyboard.press("Control+ArrowRight")
    for _ in range(4):
        canvas.page.keyboard.press("Control+ArrowDown")
    canvas.page.keyboard.press("Enter")
    expected = np.zeros((H, W), np.uint8)
    expected[10:16, 10:19] = ids[10:12, 10:13].repeat(3, 0).repeat(3, 1)
    assert (canvas.ids() == expected).all()


def test_the_picker_picks_and_gives_the_last_tool_back(canvas):
    canvas.load(scene())
    canvas.use("fill", 12)
    canvas.call("setTool", "picker")
    canvas.click(26, 22)
    assert canvas.get("[canvas.label, canvas.tool]") == [2, "fill"]
    assert (canvas.ids() == scene()).all()


def test_clusters_are_given_to_a_label(canvas):
    clusters = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [1, 1, 2, 0]], np.uint8)
    canvas.page.evaluate("(ids) => canvas.setClusters({ width: 4, height: 3, ids: Uint8Array.from(ids) })", clusters.ravel().tolist())
    large = clusters.repeat(16, 0).repeat(16, 1)
    parts = sum(ndimage.label(clusters == c)[0] * (10 * c + 1) for c in range(3)).repeat(16, 0).repeat(16, 1)
    canvas.use("cluster", 2)
    canvas.click(40, 5)
    expected = np.where(parts == parts[5, 40], 2, 0)
    assert (canvas.ids() == expected).all()
    canvas.use("cluster", 3)
    canvas.page.keyboard.down("Shift")
    canvas.click(5, 5)
    canvas.page.keyboard.up("Shift")
    expected[large == 0] = 3
    assert (canvas.ids() == expected).all()
    assert canvas.events("cursor")[-1]["cluster"] == 0
    canvas.call("undo")
    canvas.drag((20, 40), (25, 22))  # over two regions: one step
    expected = np.where(parts == parts[5, 40], 2, 0)
    expected[(parts == parts[40, 20]) | (parts == parts[22, 25])] = 3
    assert (canvas.ids() == expected).all()
    assert canvas.get("canvas.history.done.length") == 2
    canvas.page.evaluate("canvas.setClusters(null)")
    canvas.click(5, 5)
    assert len(canvas.events("notice")) == 1


def test_scribbles_have_nothing_and_ink_has_paper(open_page):
    scribble = Canvas(open_page(), W, H, mode="scribble")
    assert (scribble.ids() == 255).all()
    scribble.use("brush", 0, 5)  # the background can be scribbled
    scribble.drag((10, 10), (30, 10))
    scribble.use("eraser", 0, 3)
    scribble.drag((20, 10), (20, 30))
    assert set(np.unique(scribble.ids())) == {0, 255}
    assert scribble.ids()[10, 20] == 255
    ink = Canvas(open_page(), W, H, mode="ink")
    ink.use("line", 255, 3)
    ink.drag((10.5, 10.5), (30.5, 20.5))
    assert (ink.ids() == 255 * stroke_mask([(10.5, 10.5), (30.5, 20.5)], 3, W, H)).all()
    ink.page.keyboard.press("3")
    ink.click(50, 40, button="right")
    assert ink.get("canvas.label") == 255


def test_tools_are_remembered(open_page):
    canvas = Canvas(open_page())
    canvas.use("ellipse", 3, 17, pressure=True, wheel="size")
    canvas.call("setLock", 2, "only")
    saved = canvas.get("JSON.parse(JSON.stringify(canvas.getTools()))")
    other = Canvas(open_page())
    other.call("setTools", {**saved, "tool": "no such tool", "label": 99, "settings": {"pressure": True, "strange": 1}})
    assert other.get("[canvas.tool, canvas.label, canvas.size, canvas.settings.strange ?? null]") == ["brush", 1, 17, None]
    other.call("setTools", saved)
    assert other.call("getTools") == saved
    other.call("setTools", None)
    assert other.call("getTools") == saved


def test_the_document_goes_out_and_in(canvas):
    canvas.load(scene())
    rle = canvas.get("Array.from(canvas.encode())")
    canvas.call("clear")
    canvas.page.evaluate("(rle) => canvas.decode(Uint8Array.from(rle))", rle)
    assert (canvas.ids() == scene()).all()
    message = canvas.get("(() => { try { canvas.load(new Uint8Array(3)); } catch (error) { return error.message; } })()")
    assert message == f"expected {W * H} ids ({W} x {H}), got 3"
    assert canvas.get("canvas.counts()[2]") == 24


def test_unknown_tools_and_sizes_out_of_range(canvas):
    message = canvas.get("(() => { try { canvas.setTool('spray'); } catch (error) { return error.message; } })()")
    assert message.startswith("there is no tool spray; the tools are brush, eraser,")
    for size, kept in [(0, 1), (-5, 1), (10_000, 200), (7.6, 8)]:
        canvas.call("setSize", size)
        assert canvas.get("canvas.size") == kept


def test_the_host_is_named_for_screen_readers(canvas):
    host = canvas.get("[canvas.host.getAttribute('role'), canvas.host.tabIndex, canvas.host.getAttribute('aria-label')]")
    assert host == ["application", 0, "Label mask"]


def test_a_stroke_over_locked_labels_alone_says_so(canvas):
    canvas.call("setLock", 0, "never")
    canvas.events("")
    canvas.use("brush", 1, 5)
    canvas.drag((10, 10), (30, 10))
    assert [event["text"] for event in canvas.events("notice")] == ["nothing was painted: the labels here are locked"]
    canvas.load(scene())
    canvas.drag((30, 16), (30, 32))  # the same label: nothing to say
    canvas.drag((17, 10), (10, 10))  # a part
    assert canvas.events("notice") == []


def test_loading_may_be_a_part_of_a_step_of_the_page(canvas):
    canvas.load(scene(), undoable=False)
    assert canvas.get("canvas.history.canUndo") is False
    canvas.page.evaluate("""() => {
      const [was, is] = [canvas.ids.slice(), canvas.ids.map((id) => 3 - id)];
      const put = (ids, seed) => { canvas.load(ids, { undoable: false }); window.seed = seed; };
      put(is, 7);
      canvas.history.push({ undo: () => put(was, 1), redo: () => put(is, 7), bytes: 2 * was.length, name: 'sample' });
    }""")
    canvas.call("undo")
    assert (canvas.ids() == scene()).all()
    assert canvas.get("window.seed") == 1
    canvas.call("redo")
    assert (canvas.ids() == 3 - scene()).all()
    assert canvas.get("[window.seed, canvas.history.done.length]") == [7, 1]


def test_loading_in_the_middle_of_a_stroke_ends_it(canvas):
    canvas.use("brush", 1, 5)
    page = canvas.page
    page.mouse.move(*canvas.at(10, 10))
    page.mouse.down()
    page.mouse.move(*canvas.at(30, 10))
    stroke = canvas.ids()
    canvas.load(scene())
    page.mouse.move(*canvas.at(30, 30))
    page.mouse.up()
    assert (canvas.ids() == scene()).all()
    canvas.call("undo")
    assert (canvas.ids() == stroke).all()
