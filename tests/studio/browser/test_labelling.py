"""The mode "Label" in a browser: label sets, super-pixels, trainings. The bundle is a small one, so that a training takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import quick_preset
from studio_driver import LabelMode, StudioServer

from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio") / "work"


@pytest.fixture(scope="module")
def labelling_server(browser, tiny_bundle: Path, workspace: Path) -> Iterator[StudioServer]:
    preset = quick_preset(workspace.parent)
    server = StudioServer("--bundle", str(tiny_bundle), "--workspace", str(workspace), "--preset", str(preset))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def open_label_mode(open_studio, labelling_server, request: pytest.FixtureRequest):
    """``open_label_mode(**context options)`` -> a page in the mode "Label" with a label set of the test's own name."""

    def opened(name: str = request.node.name[5:], **options) -> LabelMode:
        mode = LabelMode(open_studio(labelling_server, **options))
        mode.create(name)
        return mode

    return opened


def folder_of(workspace: Path, name: str) -> Path:
    """Where a label set is kept."""
    return next(path.parent for path in workspace.glob("labels/*/about.json") if f'"{name}"' in path.read_text())


def neighbours(ids: np.ndarray, x: int, y: int) -> np.ndarray:
    """The connected pixels (over sides) of the value at a position, bool (H, W)."""
    found = np.zeros(ids.shape, bool)
    found[y, x] = True
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= ids == ids[y, x]
        if (grown == found).all():
            return found
        found = grown


def test_super_pixels_brush_and_reload(open_label_mode, workspace):
    mode = open_label_mode()
    clusters, page = mode.clusters(), mode.page
    assert not mode.ids().any()
    assert "Not labelled yet" in page.locator(".label-kept").inner_text()
    page.keyboard.press("3")
    mode.click(100, 60)
    assert np.array_equal(mode.ids() == 3, neighbours(clusters, 100, 60)), "a click gives the region to the label"
    page.keyboard.press("4")
    page.keyboard.down("Shift")
    mode.click(100, 60)
    page.keyboard.up("Shift")
    assert np.array_equal(mode.ids() == 4, clusters == clusters[60, 100]), "with Shift all of its kind"
    page.keyboard.press("Control+z")
    assert np.array_equal(mode.ids() == 3, neighbours(clusters, 100, 60))
    mode.tool("Brush")
    page.keyboard.press("5")
    mode.drag((40, 200), (180, 200), 6)
    assert (mode.ids()[200, 45:175] == 5).all()
    mode.kept()
    ids, seed = mode.ids(), mode.seed
    assert mode.samples == [seed]
    folder = folder_of(workspace, "super_pixels_brush_and_reload")
    assert np.array_equal(read_mask(folder / f"s{seed}.mask.png", LabelSet.load(folder / "labels.json")), ids)

    page.reload()
    mode.studio.ready()
    again = LabelMode(mode.studio)
    again.opened()
    assert (again.seed, again.samples) == (seed, [seed])
    assert np.array_equal(again.ids(), ids)

    again.tool("Brush")
    again.drag((40, 150), (180, 150), 6)
    ids = again.ids()
    page.reload()  # at once: the stroke is on its way to the server
    mode.studio.ready()
    last = LabelMode(mode.studio)
    last.opened()
    assert np.array_equal(last.ids(), ids)


def test_locks_hold_over_the_sample(open_label_mode):
    mode = open_label_mode()
    page = mode.page
    page.keyboard.press("3")
    mode.click(100, 60)
    region = mode.ids() == 3
    lock = page.locator(".label-row").nth(3).locator("[data-lock]")
    lock.click()
    assert lock.get_attribute("data-lock") == "only"
    lock.click()
    assert "never painting over" in lock.get_attribute("aria-label")
    mode.tool("Rectangle")
    page.keyboard.press("5")
    mode.drag((2, 2), (250, 250), 3)
    assert np.array_equal(mode.ids() == 3, region)
    assert (mode.ids()[4:248, 4:248][~region[4:248, 4:248]] == 5).all()
    mode.kept()
    seed = mode.seed
    page.locator(".label-sample").nth(2).click()
    mode.opened(f"studio.labelling.seed !== {seed}")
    assert lock.get_attribute("data-lock") == "never", "as the tools, locks stay for the next sample"
    assert mode.studio.get("studio.labelling.canvas.getLock(3)") == "never"


def test_keyboard_alone(open_label_mode):
    mode = open_label_mode()
    page, clusters = mode.page, mode.clusters()
    page.locator(mode.CANVAS).focus()
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")  # the cursor appears in the middle
    page.keyboard.press("Space")
    assert np.array_equal(mode.ids() == 2, neighbours(clusters, 128, 128))
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("ArrowLeft")
    cell = 256 // 16
    x, y = 128 - cell, 128 - 4 * cell
    page.locator("#live").get_by_text("region").wait_for(state="attached")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert np.array_equal(mode.ids() == 3, neighbours(clusters, x, y))
    page.keyboard.press("b")
    assert mode.studio.get("studio.labelling.canvas.tool") == "brush"
    assert mode.studio.get("studio.state.canvas.history.done.length") == 0, "nothing has happened to what is painted elsewhere"


def test_labels_are_renamed_added_and_removed(open_label_mode):
    mode = open_label_mode()
    page = mode.page
    page.keyboard.press("2")
    mode.click(60, 60)
    page.keyboard.press("1")
    mode.click(200, 200)
    mode.kept()
    second = mode.ids() == 2
    name = page.get_by_label("Name of label 2")
    name.fill("hat")
    name.press("Enter")
    mode.studio.wait("studio.labelling.set.labels[2].name === 'hat'")
    page.locator("#label .label-work").get_by_role("button", name="Add a label").click()
    mode.studio.wait("studio.labelling.set.labels.length === 10")
    page.get_by_role("button", name="Remove the label skin").click()
    mode.studio.wait("studio.labelling.set.labels.length === 9 && studio.labelling.set.labels[1].name === 'hat'")
    mode.opened()
    mode.studio.wait("studio.labelling.canvas.ids.every((id) => id < 2)")
    assert np.array_equal(mode.ids() == 1, second), "the mask follows its labels, and what was skin is label 0"


def test_proposals_say_why(open_label_mode, workspace):
    mode = open_label_mode()
    page = mode.page
    proposed = page.locator(".label-sample small").all_inner_texts()
    assert len(proposed) == 9
    assert "typical" in proposed[0]
    assert all(proposed)
    first = mode.seed
    mode.click(100, 100)
    mode.kept()
    page.locator(".label-sample").nth(3).click()
    mode.opened(f"studio.labelling.seed !== {first}")
    assert not mode.ids().any()
    mode.click(100, 100)
    mode.kept()
    assert len(mode.samples) == 2
    assert page.locator(".label-sample.done").count() == 2
    mode.click(30, 30)
    last = mode.ids()
    page.get_by_role("button", name="Take this sample out of the label set").click()  # before the last stroke is saved
    mode.studio.wait("studio.labelling.set.samples.length === 1")
    (aside,) = folder_of(workspace, "proposals_say_why").glob("*.mask.png.removed-1")
    assert np.array_equal(np.asarray(Image.open(aside)), last)
    page.get_by_label("Seed of another sample").fill("123")
    page.keyboard.press("Enter")
    mode.opened("studio.labelling.seed === 123")


def test_train_stop_go_on_and_paint(open_label_mode, labelling_server):
    mode = open_label_mode("trained")
    page, studio = mode.page, mode.studio
    train = page.locator("#label").get_by_role("button", name="Train", exact=True)
    assert train.is_disabled()
    page.keyboard.press("3")
    mode.click(100, 60)
    mode.kept()
    train.click()
    dialog = page.locator("#train")
    dialog.get_by_label("Length").select_option("0.01")
    dialog.get_by_role("button", name="Train").click()
    mode.wait_for_job("trained", "running")
    mode.job("trained").get_by_role("progressbar").wait_for()
    stop = mode.job("trained").get_by_role("button", name="Stop")
    stop.focus()
    page.wait_for_timeout(2500)  # the list is made anew every two seconds
    assert page.evaluate("document.activeElement.title") == "Stop trained"
    stop.click()
    mode.wait_for_job("trained", "stopped")
    mode.job("trained").get_by_role("button", name="Go on").click()
    mode.wait_for_job("trained", "running", "done")
    mode.wait_for_job("trained", "done")
    mode.job("trained").get_by_role("button", name="Paint with it").click()
    studio.wait("studio.state.bundle.name === 'trained' && document.body.dataset.mode === 'paint'")
    studio.settle()
    assert [label["name"] for label in studio.get("studio.state.bundle.labels")][:2] == ["background", "skin"]
    before = studio.ids()
    studio.press("4")
    studio.stroke((60, 60), (180, 180))
    studio.settle()
    assert set(studio.ids()[studio.ids() != before]) == {4}
    assert studio.get("studio.renders.shown.request.look === studio.renders.look()")


def test_two_browsers_label_one_set(open_label_mode, open_studio, labelling_server):
    one = open_label_mode()
    one.click(100, 60)
    one.kept()
    two = LabelMode(open_studio(labelling_server))
    two.opened()
    assert two.samples == [one.seed]
    assert np.array_equal(two.ids(), one.ids())
    two.page.locator(".label-sample").nth(2).click()
    two.opened(f"studio.labelling.seed !== {one.seed}")
    two.click(100, 60)
    two.kept()
    one.click(200, 200)
    one.kept()
    assert sorted(one.samples) == sorted([one.seed, two.seed])


def test_narrow_window(open_label_mode):
    mode = open_label_mode(viewport={"width": 360, "height": 740}, has_touch=True)
    page = mode.page
    assert mode.studio.get("document.documentElement.scrollWidth") == 360
    box = page.locator(mode.CANVAS).bounding_box()
    assert box["width"] > 320
    assert box["y"] + box["height"] < 740, "the sample is seen at once"
    page.locator(".label-number").nth(6).tap()
    page.locator(mode.CANVAS).scroll_into_view_if_needed()
    page.touchscreen.tap(*mode.at(128, 128))
    mode.kept()
    assert np.array_equal(mode.ids() == 6, neighbours(mode.clusters(), 128, 128))
    last = page.locator("#label").get_by_role("button", name="Train", exact=True)
    last.scroll_into_view_if_needed()
    assert last.is_enabled()


def test_two_tabs_on_one_sample(open_label_mode):
    """The tab that opened the sample earlier says that it was labelled elsewhere; opened again it goes on from there."""
    mode = open_label_mode()
    mode.click(100, 60)
    mode.kept()
    address = f"/api/labelling/sets/{mode.studio.get('studio.labelling.set.id')}/samples/{mode.seed}"
    script = """async (address) => {
        const { decodeFrame, encodeFrame } = await import("/web/app/frames.js");
        const { encodeRle } = await import("/web/canvas/buffer.js");
        const after = decodeFrame(await (await fetch(address)).arrayBuffer()).header.editor;
        const body = encodeFrame({ width: 256, height: 256, editor: "another tab", after }, encodeRle(new Uint8Array(65536).fill(2)));
        return (await fetch(`${address}/mask`, { method: "PUT", body })).status;
    }"""
    assert mode.page.evaluate(script, address) == 200
    mode.page.keyboard.press("4")
    mode.click(100, 60)
    mode.page.locator(".label-kept", has_text="labelled in another tab").wait_for()
    mode.page.once("dialog", lambda dialog: dialog.accept())
    mode.page.locator(".label-sample[aria-current=true]").click()
    mode.page.locator(".label-kept", has_text="This sample is in the label set").wait_for()
    assert (mode.ids() == 2).all()
    mode.page.keyboard.press("4")
    mode.click(100, 60)
    mode.kept()


def test_what_could_not_be_kept_is_left_only_on_purpose(open_label_mode):
    """The server refuses a mask; another sample takes its place only if that is confirmed."""
    mode = open_label_mode()
    page, seed = mode.page, mode.seed
    page.route("**/mask", lambda route: route.fulfill(status=503, json={"error": "the disk is full"}))
    mode.click(100, 60)
    page.locator(".label-kept", has_text="the disk is full").wait_for()
    ids, asked = mode.ids(), []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.locator(".label-sample").nth(2).click()
    page.locator(".label-canvas:not([inert])").wait_for()
    assert "the disk is full" in asked[0]
    assert mode.seed == seed
    assert np.array_equal(mode.ids(), ids)
    page.unroute("**/mask")
    mode.kept()  # the page tries again by itself
    assert mode.samples == [seed]
