"""Painting on the studio's page: pen and touch, locks, the palette, shortcuts, the keyboard, a narrow window."""

import numpy as np
import pytest
from studio_driver import changed

from proxymask.studio.config import WEB

TOP, SKIN, CLOTHES = 7, 1, 5


def test_pen_and_fingers(open_studio):
    studio = open_studio(has_touch=True)
    studio.start_from("Blank")
    devtools = studio.page.context.new_cdp_session(studio.page)

    def touch(kind: str, *fingers: tuple[float, float]) -> None:
        points = [dict(zip(("x", "y"), studio.at(*finger), strict=True), id=i) for i, finger in enumerate(fingers)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def pen(kind: str, x: float, y: float) -> None:
        x, y = studio.at(x, y)
        about = {"x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen", "force": 0.5, "clickCount": 1}
        devtools.send("Input.dispatchMouseEvent", {"type": kind, **about})

    before = studio.picture()
    studio.press(str(TOP))
    for kind, x in (("touchStart", 40), ("touchMove", 90), ("touchMove", 140)):
        touch(kind, (x, 60))
    touch("touchEnd")
    studio.settle()
    fingered = studio.ids()
    assert (fingered[60, 45:135] == TOP).all(), "a finger paints"
    assert changed(before, studio.picture()).any()
    scale = studio.get("studio.state.canvas.getView().scale")
    touch("touchStart", (100, 150), (140, 150))
    touch("touchMove", (60, 150), (180, 150))
    touch("touchEnd")
    assert studio.get("studio.state.canvas.getView().scale") > 1.5 * scale, "two fingers zoom"
    assert np.array_equal(studio.ids(), fingered), "and leave no dot"
    studio.press("f")

    studio.press(str(SKIN))
    for kind, x in (("mousePressed", 60), ("mouseMoved", 120), ("mouseMoved", 180), ("mouseReleased", 180)):
        pen(kind, x, 180)
    studio.page.get_by_text("Pen found").wait_for()
    studio.settle()
    penned = studio.ids()
    assert (penned[180, 65:175] == SKIN).all()
    for kind, x in (("touchStart", 40), ("touchMove", 140)):
        touch(kind, (x, 100))
    touch("touchEnd")
    assert np.array_equal(studio.ids(), penned), "after a pen, fingers only move the view"


def test_a_stroke_that_leaves_the_canvas_goes_on(open_studio):
    studio = open_studio()
    studio.start_from("Blank")
    before = studio.picture()
    studio.press(str(TOP))
    studio.stroke((40, 60), (40, -120), (200, -120), (200, 60))  # over the toolbar and back
    studio.settle()
    painted = studio.ids() == TOP
    assert painted[:50, 34:46].mean() > 0.9
    assert painted[:50, 194:206].mean() > 0.9
    assert not painted[10:, 60:180].any()
    assert studio.get("studio.state.history.done.length") == 2, "one stroke is one step"
    assert changed(before, studio.picture()).any()


def test_locked_label_is_never_painted_over(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    before = studio.ids()
    studio.press(str(SKIN))
    studio.press("t")
    studio.press("t")  # only over it, then never
    studio.press(str(TOP))
    studio.stroke((20, 128), (236, 128))
    after = studio.ids()
    assert np.array_equal(after == SKIN, before == SKIN)
    assert (after != before).any()


def test_holes_and_specks(open_studio):
    studio = open_studio()
    studio.start_from("Blank")
    studio.press(str(TOP))
    studio.page.get_by_role("radio", name="Ellipse").click()
    studio.page.get_by_label("outline only").check()
    studio.stroke((60, 60), (180, 180))
    studio.page.get_by_role("radio", name="Brush").click()
    studio.press(str(SKIN))
    studio.stroke((120, 120), (121, 120))
    studio.press("g")
    studio.press(str(TOP))
    studio.page.get_by_role("button", name="Fill holes").click()
    assert studio.ids()[100, 120] == TOP
    assert studio.ids()[20, 20] == 0
    studio.press("n")
    assert studio.get("studio.state.canvas.patterns")
    swatches = studio.get("[...document.querySelectorAll('#palette .swatch')].map(({ style }) => style.backgroundImage)")
    assert all(one.startswith('url("data:image/png') for one in swatches)
    assert len(set(swatches)) == len(swatches), "the list shows the patterns too"
    studio.page.get_by_label("Pixels below which").fill("999")
    studio.press("Tab")
    studio.page.get_by_role("button", name="Specks").click()
    assert set(np.unique(studio.ids())) == {0, TOP}


def test_palette_search(open_studio):
    studio = open_studio()
    studio.press("/")
    studio.page.keyboard.type("acc")
    assert studio.page.locator(".label-item:visible").count() == 1
    studio.press("Enter")
    assert studio.get("studio.state.canvas.label") == 8


def test_shortcuts_sheet(open_studio):
    studio = open_studio()
    studio.press("?")
    studio.page.locator("#sheet").get_by_text("Lasso").wait_for()
    studio.press("Escape")
    studio.page.wait_for_selector("#sheet", state="hidden")


def test_label_under_the_cursor_is_announced(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    rows, columns = np.nonzero(studio.ids() == CLOTHES)
    studio.page.mouse.move(*studio.at(int(columns[len(columns) // 2]), int(rows[len(rows) // 2])))
    studio.page.locator("#live-cursor").get_by_text("clothes").wait_for(state="attached")
    assert "clothes" in studio.page.locator("#cursor").inner_text()


def test_painting_by_keyboard_alone(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    before = studio.ids()
    studio.page.locator("#canvas .frame:visible").focus()
    studio.press(str(TOP))
    studio.press("ArrowRight")
    studio.press("Enter")
    for _ in range(3):
        studio.press("Shift+ArrowDown")
    studio.press("Enter")
    studio.settle()
    painted = studio.ids() != before
    assert painted.any()
    assert set(studio.ids()[painted]) == {TOP}


def test_tab_begins_at_the_top(open_studio):
    studio = open_studio(viewport={"width": 1280, "height": 500})
    studio.press("8")
    row, rows = (studio.page.locator(name).bounding_box() for name in (".label-item.chosen", "#palette .label-list"))
    assert rows["y"] <= row["y"] <= rows["y"] + rows["height"] - row["height"], "the chosen label is in sight"
    studio.press("Tab")
    assert studio.get("document.activeElement.className") == "skip"


def test_picture_is_moved_and_zoomed_with_the_mask(open_studio):
    studio = open_studio()
    box = studio.page.locator("#picture-frame").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    studio.page.mouse.move(x, y)
    before = studio.get("studio.state.canvas.getView()")
    studio.page.mouse.wheel(0, -200)
    studio.wait(f"() => studio.state.canvas.getView().scale !== {before['scale']}")
    zoomed = studio.get("studio.state.canvas.getView()")
    assert zoomed["scale"] == pytest.approx(before["scale"] * np.exp(0.4))
    studio.page.mouse.down()
    studio.page.mouse.move(x + 40, y + 10, steps=4)
    studio.page.mouse.up()
    moved = studio.get("studio.state.canvas.getView()")
    assert (moved["x"] - zoomed["x"], moved["y"] - zoomed["y"]) == (40, 10)
    picture = studio.page.locator("#picture-frame canvas").bounding_box()
    mask = studio.page.locator("#canvas .frame:visible").bounding_box()
    assert picture["x"] - box["x"] == pytest.approx(moved["x"], abs=0.5)
    assert (picture["width"], mask["width"]) == (pytest.approx(256 * moved["scale"], abs=0.5), box["width"])


def test_narrow_window(open_studio):
    studio = open_studio(viewport={"width": 360, "height": 740}, has_touch=True)
    wide = studio.get("[document.documentElement.scrollWidth, document.querySelector('#header').scrollWidth]")
    assert wide == [360, 360]
    before = studio.ids()
    studio.page.get_by_role("button", name="Labels").click()
    studio.page.get_by_role("button", name="Labels").click()
    studio.page.locator(".label-pick").nth(TOP).tap()
    studio.page.touchscreen.tap(*studio.at(128, 200))
    studio.settle()
    assert (studio.ids() != before).sum() > 50
    for name in ("Tools", "Style"):
        studio.page.get_by_role("button", name=name, exact=True).click()
        assert studio.get("document.documentElement.scrollWidth") == 360
    box = studio.page.locator("#picture-frame canvas").bounding_box()
    assert box["width"] > 140


def test_page_is_small(open_studio):
    studio = open_studio()
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    loaded = studio.get("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert len(loaded) > 15
    assert all(name.startswith((studio.page.url, "blob:", "data:")) for name in loaded), "nothing comes from elsewhere"
