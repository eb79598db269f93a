"""The main states of the page, light and dark: axe-core finds nothing serious, and a screenshot of each is kept."""

from pathlib import Path

import pytest
from studio_driver import LabelMode, missing

RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary).join(' | ')}`);
}"""


def axe_source() -> str:
    try:
        import axe_playwright_python
    except ImportError:
        missing("the package axe-playwright-python is not installed")
    return next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")


@pytest.fixture(params=["light", "dark"])
def look(request, open_studio, keep_screenshot):
    """``look(studio, state)`` keeps a screenshot and runs axe-core; ``look.open(**options)`` opens a page in the scheme."""
    scheme, source = request.param, axe_source()

    def check(studio, state: str) -> None:
        studio.page.wait_for_timeout(150)
        keep_screenshot(studio.page, f"{state}-{scheme}")
        if not studio.get("typeof axe === 'object'"):
            studio.page.evaluate(source)
        assert studio.page.evaluate(RUN) == [], state

    check.open = lambda **options: open_studio(color_scheme=scheme, **options)
    return check


def test_painting(look):
    studio = look.open(viewport={"width": 1440, "height": 900})
    studio.start_from("long hair")
    studio.page.get_by_role("radio", name="Style 7", exact=True).click()
    studio.settle(strip=True)
    studio.press("6")
    studio.stroke((110, 190), (128, 205), (150, 190))
    studio.settle(strip=True)
    studio.page.locator(".label-item").nth(5).hover()
    look(studio, "painting")
    for state in ("overlay", "slider"):
        studio.press("s")
        look(studio, state)
    studio.press("s")
    studio.press("w")
    box = studio.page.locator("#picture-frame").bounding_box()
    studio.page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.42)
    studio.page.locator("#origin .crosshair").wait_for()
    look(studio, "origin")
    studio.press("w")
    studio.press("y")
    studio.settle()
    look(studio, "proxy")
    studio.press("y")
    studio.page.get_by_role("radio", name="Polygon").click()
    studio.page.get_by_role("button", name="Settings").click()
    look(studio, "settings")
    studio.press("Escape")
    studio.page.locator("#keep-button").click()
    look(studio, "keep")
    studio.press("Escape")
    studio.open_start()
    studio.page.locator("#start img[src]").nth(15).wait_for()
    studio.drop("notes.txt", b"no picture", "text/plain")
    studio.page.locator("#start .problem span").wait_for()
    look(studio, "start")
    studio.press("Escape")
    studio.press("?")
    look(studio, "shortcuts")


def test_drawing(look):
    studio = look.open(viewport={"width": 1440, "height": 900})
    studio.page.get_by_role("radio", name="scribble").click()
    studio.press("1")
    studio.stroke((128, 90), (128, 150))
    studio.press("7")
    studio.stroke((80, 70), (128, 40), (176, 70))
    studio.press("5")
    studio.stroke((70, 225), (190, 225))
    studio.press("2")
    studio.stroke((105, 110), (106, 110))
    studio.settle(strip=True)
    look(studio, "scribble")
    studio.page.get_by_role("radio", name="sketch").click()
    studio.stroke((85, 90), (80, 130), (100, 180), (128, 195), (156, 180), (176, 130), (171, 90), (128, 60), (85, 90))
    studio.stroke((105, 115), (115, 112))
    studio.stroke((140, 112), (150, 115))
    studio.stroke((112, 165), (128, 170), (144, 165))
    studio.settle(strip=True)
    look(studio, "sketch")


def test_narrow(look):
    studio = look.open(viewport={"width": 360, "height": 740}, has_touch=True, device_scale_factor=2)
    studio.start_from("glasses")
    look(studio, "narrow-labels")
    for name in ("Tools", "Style"):
        studio.page.get_by_role("button", name=name, exact=True).click()
        studio.settle(strip=True)
        look(studio, f"narrow-{name.lower()}")
    studio.open_start()
    look(studio, "narrow-start")


def test_clusters(look):
    studio = look.open(viewport={"width": 1440, "height": 900})
    studio.page.get_by_role("radio", name="clusters").click()
    studio.wait("new Set(studio.state.canvas.ids).size > 5")
    studio.settle(strip=True)
    look(studio, "clusters")


def test_labelling(look):
    studio = look.open(viewport={"width": 1440, "height": 900})
    mode = LabelMode(studio)
    if not studio.page.locator(mode.FORM).is_visible():
        studio.page.get_by_role("button", name="New label set").click()
    look(studio, "label-welcome")
    mode.create("faces")
    for label, places in {"1": [(128, 150), (110, 190)], "7": [(128, 40), (90, 50), (170, 50)], "5": [(128, 245)]}.items():
        studio.press(label)
        for place in places:
            mode.click(*place)
    mode.kept()
    studio.page.mouse.move(*mode.at(100, 100))
    look(studio, "label")
    train = studio.page.locator("#label").get_by_role("button", name="Train", exact=True)
    train.click()
    look(studio, "label-train")
    name = studio.page.get_by_label("Name of the model").input_value()
    studio.page.locator("#train").get_by_role("button", name="Train").click()
    mode.wait_for_job(name, "running")
    mode.job(name).get_by_role("progressbar").wait_for()
    look(studio, "label-training")
    mode.job(name).get_by_role("button", name="Stop").click()
    mode.wait_for_job(name, "stopped")
    narrow = LabelMode(look.open(viewport={"width": 360, "height": 740}, has_touch=True, device_scale_factor=2))
    narrow.opened()
    look(narrow.studio, "label-narrow")
    narrow.page.locator(".label-right").scroll_into_view_if_needed()
    look(narrow.studio, "label-narrow-samples")


def test_server_away(look, studio_server):
    studio = look.open()
    studio.get("studio.socket.socket.close(), studio.socket.connect = () => {}")
    studio.page.get_by_text("The server is away").wait_for()
    look(studio, "server-away")
