"""Pointers, touch, pen, wheel and keyboards."""

import numpy as np
import pytest
from canvas_driver import Canvas, stroke_mask


def touch(canvas: Canvas, cdp, kind: str, *fingers: tuple[float, float]) -> None:
    """A real touch event of Chromium; fingers at buffer positions."""
    points = [dict(zip(("x", "y"), canvas.at(*finger), strict=True), id=i) for i, finger in enumerate(fingers)]
    cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.fixture
def touchscreen(open_page):
    """A canvas on a page with touch, and its DevTools session."""
    page = open_page(has_touch=True)
    return Canvas(page), page.context.new_cdp_session(page)


POINTER = """([name, x, y, options]) => {
  const { x: clientX, y: clientY } = canvas.toClient(x, y);
  const { samples = [], ...rest } = options;
  const pen = { pointerId: 7, pointerType: 'pen', button: 0, buttons: 1, bubbles: true, cancelable: true, pressure: 0.5 };
  const init = { ...pen, clientX, clientY, ...rest };
  const coalescedEvents = samples.map(([sx, sy, pressure]) => {
    const at = canvas.toClient(sx, sy);
    return new PointerEvent(name, { ...init, clientX: at.x, clientY: at.y, pressure: pressure ?? init.pressure });
  });
  canvas.host.dispatchEvent(new PointerEvent(name, { ...init, coalescedEvents }));
}"""


def pointer(canvas: Canvas, name: str, x: float, y: float, **options) -> None:
    """A made-up pointer event of a pen (``pointerType`` for others) at a buffer position; ``samples`` are its coalesced events."""
    canvas.page.evaluate(POINTER, [name, x, y, options])


# ---- mouse ---------------------------------------------------------------------------------------------------------------------------


def test_a_stroke_that_leaves_the_canvas_goes_on(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    way = [(10.5, 10.5), (80.5, 10.5), (80.5, 40.5), (20.5, 40.5)]  # far right of the element, and back
    canvas.drag(*way)
    assert canvas.at(80.5, 10.5)[0] > canvas.get("document.querySelector('#canvas').getBoundingClientRect().right")
    assert (canvas.ids() == stroke_mask(way, 3, 64, 48)).all()
    assert canvas.get("canvas.history.done.length") == 1
    canvas.page.mouse.move(*canvas.at(30, 30))  # the button is up: nothing more is painted
    assert (canvas.ids() == stroke_mask(way, 3, 64, 48)).all()


def test_a_button_released_outside_ends_the_stroke(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    canvas.drag((10.5, 10.5), (90.5, 10.5))
    before = canvas.ids()
    canvas.page.mouse.move(*canvas.at(30, 30))
    assert not canvas.get("canvas.busy")
    assert (canvas.ids() == before).all()


def test_mouse_buttons_and_alt(open_page):
    canvas = Canvas(open_page())
    ids = np.zeros((48, 64), np.uint8)
    ids[:, 32:] = 3
    canvas.load(ids)
    canvas.use("brush", 1)
    canvas.click(40, 20, button="right")
    assert canvas.get("canvas.label") == 3
    canvas.page.keyboard.down("Alt")
    canvas.click(10, 20)
    canvas.page.keyboard.up("Alt")
    assert canvas.get("[canvas.label, canvas.tool]") == [0, "brush"]
    view = canvas.get("canvas.getView()")
    canvas.drag((30, 20), (34, 22), button="middle")
    moved = canvas.get("canvas.getView()")
    assert moved["x"] - view["x"] == pytest.approx(4 * view["scale"], abs=1)
    assert (canvas.ids() == ids).all()


def test_space_pans_and_lets_go(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    canvas.get("canvas.host.focus()")
    view = canvas.get("canvas.getView()")
    canvas.page.keyboard.down(" ")
    canvas.drag((30, 20), (36, 26))
    canvas.page.keyboard.up(" ")
    moved = canvas.get("canvas.getView()")
    assert moved["x"] - view["x"] == pytest.approx(6 * view["scale"], abs=1.5)
    assert canvas.get("scrollY") == 0
    assert not canvas.ids().any()
    canvas.drag((30.5, 20.5), (36.5, 26.5))
    assert canvas.ids().any()


def test_the_wheel_zooms_to_the_cursor_and_not_the_page(open_page):
    page = open_page()
    canvas = Canvas(page)
    for place, delta, key in [
        ((120, 400), -300, None),
        ((500, 100), -240, "Control"),
        ((300, 200), 500, None),
        ((60, 450), 100, "Control"),
    ]:
        under = page.evaluate("([x, y]) => canvas.toBuffer(x, y)", place)
        scale = canvas.get("canvas.getView().scale")
        page.mouse.move(*place)
        if key:
            page.keyboard.down(key)
        page.mouse.wheel(0, delta)
        canvas.wait(f"canvas.getView().scale !== {scale}")
        if key:
            page.keyboard.up(key)
        assert canvas.at(under["x"], under["y"]) == pytest.approx(place, abs=0.6)
        assert (canvas.get("canvas.getView().scale") > scale) == (delta < 0)
    assert page.evaluate("[scrollY, visualViewport.scale, devicePixelRatio]") == [0, 1, 1]


def test_the_wheel_with_shift_sets_the_size(open_page):
    page = open_page()
    canvas = Canvas(page)
    canvas.use("brush", 1, 10)
    view = canvas.get("canvas.getView()")
    page.mouse.move(*canvas.at(30, 20))
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -100)
    canvas.wait("canvas.size > 10")
    page.mouse.wheel(0, 100)
    page.mouse.wheel(0, 100)
    canvas.wait("canvas.size < 10")
    page.keyboard.up("Shift")
    assert canvas.get("canvas.getView()") == view
    page.evaluate("canvas.setSettings({ wheel: 'size' })")
    size = canvas.get("canvas.size")
    page.mouse.wheel(0, -100)
    canvas.wait(f"canvas.size > {size}")


# ---- touch ---------------------------------------------------------------------------------------------------------------------------


def test_a_finger_draws(touchscreen):
    canvas, cdp = touchscreen
    canvas.use("brush", 1, 3)
    touch(canvas, cdp, "touchStart", (10.5, 10.5))
    touch(canvas, cdp, "touchMove", (40.5, 10.5))
    touch(canvas, cdp, "touchMove", (40.5, 30.5))
    touch(canvas, cdp, "touchEnd")
    ids = canvas.ids()
    assert ids[10, 20] == ids[30, 40] == ids[20, 40] == 1
    assert canvas.get("[canvas.history.done.length, scrollY]") == [1, 0]


def test_a_tap_is_a_dot(touchscreen):
    canvas, cdp = touchscreen
    canvas.use("brush", 1, 3)
    touch(canvas, cdp, "touchStart", (10.5, 10.5))
    touch(canvas, cdp, "touchEnd")
    assert (canvas.ids() == stroke_mask([(10.5, 10.5)], 3, 64, 48)).all()


@pytest.mark.parametrize("pause", [0, 120], ids=["at once", "after the first finger began to draw"])
def test_a_pinch_leaves_no_dot(touchscreen, pause):
    canvas, cdp = touchscreen
    canvas.use("brush", 1, 5)
    view = canvas.get("canvas.getView()")
    middle = canvas.at(32, 24)
    places = [[canvas.at(32 - d, 24), canvas.at(32 + d, 24)] for d in (4, 6, 9, 12)]
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": places[0][0][0], "y": places[0][0][1], "id": 0}]})
    canvas.page.wait_for_timeout(pause)
    for i, (a, b) in enumerate(places):
        points = [{"x": a[0], "y": a[1], "id": 0}, {"x": b[0], "y": b[1], "id": 1}]
        cdp.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": points})
    zoomed = canvas.get("canvas.getView()")
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": [points[0]]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{**points[0], "y": points[0]["y"] + 40}]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert zoomed["scale"] / view["scale"] == pytest.approx(3, rel=0.1)
    assert not canvas.ids().any()
    assert canvas.get("[canvas.history.done.length, canvas.busy, visualViewport.scale]") == [0, False, 1]
    canvas.call("setView", zoomed)
    assert canvas.at(32, 24) == pytest.approx(middle, abs=3)
    touch(canvas, cdp, "touchStart", (32, 24))  # all fingers were up: the next one draws
    touch(canvas, cdp, "touchEnd")
    assert canvas.ids().any()


def test_a_touch_that_the_system_cancels_is_taken_back(touchscreen):
    canvas, cdp = touchscreen
    canvas.use("brush", 1, 5)
    touch(canvas, cdp, "touchStart", (10, 10))
    touch(canvas, cdp, "touchMove", (40, 10))
    assert canvas.ids().any()
    cdp.send("Input.dispatchTouchEvent", {"type": "touchCancel", "touchPoints": []})
    assert not canvas.ids().any()
    assert canvas.get("[canvas.history.done.length, canvas.busy]") == [0, False]
    touch(canvas, cdp, "touchStart", (10, 20))
    touch(canvas, cdp, "touchMove", (40, 20))
    touch(canvas, cdp, "touchEnd")
    assert canvas.ids().any()


# ---- pen -----------------------------------------------------------------------------------------------------------------------------


def test_after_a_pen_fingers_only_navigate(touchscreen):
    canvas, cdp = touchscreen
    canvas.use("brush", 1, 3)
    pointer(canvas, "pointerdown", 10.5, 10.5)
    pointer(canvas, "pointermove", 20.5, 10.5)
    pointer(canvas, "pointerup", 20.5, 10.5, buttons=0)
    drawn = canvas.ids()
    assert (drawn == stroke_mask([(10.5, 10.5), (20.5, 10.5)], 3, 64, 48)).all()
    assert canvas.events("pen") == [{"event": "pen", "penMode": True}]
    view = canvas.get("canvas.getView()")
    start = canvas.at(30, 30)
    for kind, dx in [("touchStart", 0), ("touchMove", 20), ("touchMove", 50)]:
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": start[0] + dx, "y": start[1]}]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert (canvas.ids() == drawn).all()
    assert canvas.get("canvas.getView().x") - view["x"] == pytest.approx(50, abs=1)
    canvas.call("setPenMode", False)
    touch(canvas, cdp, "touchStart", (30, 30))
    touch(canvas, cdp, "touchMove", (40, 30))
    touch(canvas, cdp, "touchEnd")
    assert (canvas.ids() != drawn).any()


def test_all_samples_of_a_pen_are_drawn(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    samples = [(10.5 + i, 20.5 + 8 * (i % 2)) for i in range(1, 9)]
    pointer(canvas, "pointerdown", 10.5, 20.5)
    pointer(canvas, "pointermove", *samples[-1], samples=samples)
    pointer(canvas, "pointerup", *samples[-1], buttons=0)
    assert (canvas.ids() == stroke_mask([(10.5, 20.5), *samples], 3, 64, 48)).all()


def test_pressure_gives_the_width_only_when_it_is_on(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 20)
    for on, diameter in [(False, 20), (True, 6)]:
        canvas.call("clear")
        canvas.call("setSettings", {"pressure": on})
        pointer(canvas, "pointerdown", 32, 24, pressure=0.3)
        pointer(canvas, "pointerup", 32, 24, buttons=0)
        assert (canvas.ids() == stroke_mask([(32, 24)], diameter, 64, 48)).all()


def test_the_eraser_end_of_a_pen_erases(open_page):
    canvas = Canvas(open_page())
    canvas.load(np.ones((48, 64)))
    canvas.use("brush", 2, 5)
    pointer(canvas, "pointerdown", 32.5, 24.5, button=5, buttons=32)
    pointer(canvas, "pointerup", 32.5, 24.5, button=5, buttons=0)
    assert ((canvas.ids() == 0) == stroke_mask([(32.5, 24.5)], 5, 64, 48)).all()


def test_a_cancelled_pen_stroke_is_kept_and_a_palm_is_ignored(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    pointer(canvas, "pointerdown", 10.5, 10.5)
    pointer(canvas, "pointermove", 20.5, 10.5)
    pointer(canvas, "pointerdown", 50, 40, pointerType="touch", pointerId=9)
    pointer(canvas, "pointermove", 40, 40, pointerType="touch", pointerId=9)
    pointer(canvas, "pointerup", 40, 40, pointerType="touch", pointerId=9)
    pointer(canvas, "pointermove", 30.5, 10.5)
    pointer(canvas, "pointercancel", 0, 0)
    assert (canvas.ids() == stroke_mask([(10.5, 10.5), (30.5, 10.5)], 3, 64, 48)).all()
    assert canvas.get("[canvas.busy, canvas.history.done.length]") == [False, 1]


def test_a_pen_takes_over_from_a_palm_that_came_first(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    pointer(canvas, "pointerdown", 50, 40, pointerType="touch", pointerId=9)
    pointer(canvas, "pointermove", 45, 40, pointerType="touch", pointerId=9)
    assert canvas.ids().any()
    pointer(canvas, "pointerdown", 10.5, 10.5)
    pointer(canvas, "pointermove", 20.5, 10.5)
    pointer(canvas, "pointerup", 20.5, 10.5)
    assert (canvas.ids() == stroke_mask([(10.5, 10.5), (20.5, 10.5)], 3, 64, 48)).all()


# ---- keyboards -----------------------------------------------------------------------------------------------------------------------

KEYS = [  # keyboard, key, code, modifiers, what it means
    ("US", "b", "KeyB", "", "tool:brush"),
    ("US with Caps Lock", "B", "KeyB", "", "tool:brush"),
    ("US", "[", "BracketLeft", "", "size-"),
    ("US", "5", "Digit5", "", "label:5"),
    ("US", "%", "Digit5", "shift", "label:5"),
    ("US", "5", "Numpad5", "", "label:5"),
    ("US", "ArrowDown", "Numpad2", "", "down"),
    ("US", "?", "Slash", "shift", "help"),
    ("US", "z", "KeyZ", "ctrl", "undo"),
    ("US", "Z", "KeyZ", "ctrl shift", "redo"),
    ("US", "y", "KeyY", "ctrl", "redo"),
    ("US", "G", "KeyG", "shift", "tool:enclose"),
    ("US", "r", "KeyR", "ctrl", None),
    ("US", "b", "KeyB", "alt", None),
    ("Mac", "z", "KeyZ", "meta", "undo"),
    ("Swiss", "z", "KeyY", "ctrl", "undo"),
    ("Swiss", "y", "KeyZ", "ctrl", "redo"),
    ("Swiss", "[", "BracketLeft", "altgr", "size-"),
    ("Swiss, AltGr as Ctrl+Alt", "]", "BracketRight", "ctrl alt", "size+"),
    ("Swiss, without AltGr", "ü", "BracketLeft", "", "size-"),
    ("Swiss, without AltGr", "Dead", "BracketRight", "", "size+"),
    ("Swiss", "?", "Minus", "shift", "help"),
    ("Swiss", "+", "Digit1", "shift", "zoom+"),
    ("French", "&", "Digit1", "", "label:1"),
    ("French", "-", "Digit6", "", "label:6"),
    ("French", "1", "Digit1", "shift", "label:1"),
    ("French", "[", "Digit5", "altgr", "size-"),
    ("French", "[", "Digit5", "ctrl alt", "size-"),
    ("French", "$", "BracketRight", "", "size+"),
    ("French", "z", "KeyW", "ctrl", "undo"),
    ("French", "q", "KeyA", "", "tool:lasso"),
    ("French", "?", "KeyM", "shift", "help"),
    ("Russian", "и", "KeyB", "", "tool:brush"),
    ("Russian", "я", "KeyZ", "ctrl", "undo"),
    ("Greek", "ζ", "KeyZ", "ctrl", "undo"),
    ("US", "j", "KeyJ", "", None),
    ("US", "Tab", "Tab", "", None),
    ("US", "F5", "F5", "", None),
]


@pytest.fixture
def canvas(open_page):
    return Canvas(open_page())


def test_shortcuts_by_key_and_place(canvas):
    call = """async ([key, code, modifiers]) => {
      const { matchKey } = await import('/canvas/keys.js');
      const has = (name) => modifiers.split(' ').includes(name);
      const event = new KeyboardEvent('keydown', { key, code, shiftKey: has('shift'), ctrlKey: has('ctrl'), altKey: has('alt'),
        metaKey: has('meta'), modifierAltGraph: has('altgr') });
      return matchKey(event)?.action ?? null;
    }"""
    found = [(*row[:4], canvas.page.evaluate(call, list(row[1:4]))) for row in KEYS]
    assert found == KEYS


def test_every_shortcut_does_something_or_is_an_action_of_the_page(canvas):
    canvas.use("brush", 2, 10)
    own = canvas.get("module.KEYS.map((entry) => entry.action)")
    for action in dict.fromkeys(own):
        if action not in ("label:0-9", "left", "right", "up", "down", "space"):
            canvas.call("act", action)
    assert [event["action"] for event in canvas.events("action")] == ["help"]


def test_number_keys_and_sizes_work_when_the_canvas_has_the_focus(canvas):
    page = canvas.page
    canvas.get("canvas.host.focus()")
    for key, label in [("2", 2), ("Shift+Digit2", 12), ("0", 0), ("7", 0)]:
        page.keyboard.press(key)
        assert canvas.get("canvas.label") == label
    page.keyboard.press(".")
    assert canvas.get("canvas.label") == 1
    page.keyboard.press("x")
    assert canvas.get("canvas.label") == 0
    size = canvas.get("canvas.size")
    page.keyboard.press("]")
    assert canvas.get("canvas.size") > size
    page.evaluate("const field = document.createElement('input'); document.body.append(field); field.focus()")
    page.keyboard.press("2")
    assert canvas.get("canvas.label") == 0


def test_the_arrow_keys_paint(canvas):
    page = canvas.page
    canvas.use("brush", 1, 1)
    canvas.get("canvas.host.focus()")
    page.keyboard.press("ArrowRight")  # the cursor appears in the middle
    for key in ["ArrowLeft"] * 2 + ["Shift+ArrowUp"]:
        page.keyboard.press(key)
    assert not canvas.ids().any()
    cursor = canvas.events("cursor")[-1]
    assert (cursor["x"], cursor["y"], cursor["keyboard"], cursor["name"]) == (30, 14, True, "background")
    page.keyboard.down(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.up(" ")
    page.keyboard.press("ArrowRight")
    expected = stroke_mask([(30.5, 14.5), (31.5, 14.5), (31.5, 24.5)], 1, 64, 48)
    assert (canvas.ids() == expected).all()
    assert canvas.get("canvas.history.done.length") == 1
    canvas.use("rectangle", 2)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert (canvas.ids() == 2).sum() == 4
    assert canvas.get("canvas.history.done.length") == 2
    canvas.use("fill", 3)
    page.keyboard.press(" ")
    assert (canvas.ids() == 3).sum() == 4
    for _ in range(80):
        page.keyboard.press("ArrowLeft")
    assert canvas.events("cursor")[-1]["x"] == 0


def test_keys_are_left_to_other_elements(canvas):
    page = canvas.page
    page.evaluate("""() => {
      const button = document.createElement('button');
      document.body.append(button);
      document.addEventListener('keydown', (event) => (window.taken = canvas.handleKey(event)));
      button.focus();
    }""")
    for key, taken in [("Enter", False), (" ", False), ("ArrowLeft", False), ("b", True), ("Control+z", False), ("[", True)]:
        page.keyboard.press(key)
        if taken or key != "Control+z":
            assert page.evaluate("taken") == taken, key
