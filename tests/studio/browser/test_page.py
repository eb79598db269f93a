"""The studio's page in a browser, with the real server and the embedded bundle."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from studio_driver import changed

from proxymask import Synthesizer
from proxymask.imaging.masks import read_mask

TOP, SKIN, CLOTHES = 7, 1, 5


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return out.getvalue()


def test_stroke_changes_picture_where_it_was_painted(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    before, ids = studio.picture(), studio.ids()
    studio.press(str(TOP))
    studio.stroke((70, 60), (70, 190))  # hair down the left side
    studio.settle()
    after = studio.picture()
    painted = studio.ids() != ids
    assert set(studio.ids()[painted]) == {TOP}
    assert painted[:, 60:80].sum() > 1500
    assert not painted[:, :55].any()
    assert not painted[:, 90:].any()
    where = changed(before, after)
    pixel = len(ids) // len(where)  # of the picture, on the canvas
    assert where[80 // pixel : 176 // pixel, 56 // pixel : 84 // pixel].mean() > 0.4
    assert where[:, 176 // pixel :].mean() < 0.1  # the other side is nearly as it was


def test_picture_is_that_of_the_library(open_studio, tmp_path):
    studio = open_studio()
    studio.start_from("glasses")
    mask = tmp_path / "mask.png"
    mask.write_bytes(studio.keep("mask"))
    synth = Synthesizer.from_pretrained("avatars")
    assert np.array_equal(read_mask(mask, synth.labels), studio.ids())
    seed = studio.get("studio.state.work.seed")
    assert np.array_equal(np.asarray(synth(mask, seed)), studio.picture())


def test_undo_and_redo_are_one_history(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    start, first, seed = studio.ids(), studio.picture(), studio.get("studio.state.work.seed")
    studio.press(str(TOP))
    studio.stroke((40, 40), (90, 90))
    studio.settle()
    stroked, second = studio.ids(), studio.picture()
    studio.page.get_by_label("Seed of the style").fill("4")
    studio.press("Enter")
    studio.settle()
    third = studio.picture()
    assert changed(second, third).mean() > 0.1
    studio.press("Escape")
    studio.page.locator("body").click(position={"x": 5, "y": 300})

    studio.press("Control+z")
    studio.settle()
    assert studio.get("studio.state.work.seed") == seed
    assert np.array_equal(studio.picture(), second)
    studio.press("Control+z")
    studio.settle()
    assert np.array_equal(studio.ids(), start)
    assert np.array_equal(studio.picture(), first)
    studio.press("Control+Shift+z")
    studio.press("Control+y")
    studio.settle()
    assert np.array_equal(studio.ids(), stroked)
    assert studio.page.get_by_label("Seed of the style").input_value() == "4"
    assert np.array_equal(studio.picture(), third)


def test_good_and_bad_upload(open_studio):
    studio = open_studio()
    wanted = np.zeros((100, 100), np.uint8)
    wanted[20:70, 30:60] = SKIN
    studio.drop("mine.png", png(wanted), "image/png")
    studio.wait("studio.state.history.done.some((step) => step.name === 'upload mine.png')")
    studio.settle()
    assert abs(int((studio.ids() == SKIN).sum()) - 5 * 3 * 655.36) < 600
    before = studio.ids()

    square = {"label": "skin", "shape_type": "rectangle", "points": [[0, 0], [31, 63]]}
    labelme = {"version": "5.5.0", "shapes": [square], "imagePath": "x.png", "imageData": None, "imageWidth": 64, "imageHeight": 64}
    studio.drop("shapes.json", json.dumps(labelme).encode(), "application/json")
    studio.wait("studio.state.history.done.some((step) => step.name === 'upload shapes.json')")
    assert studio.ids()[:, :120].all(), "annotations are JSON, as projects are"
    assert not studio.ids()[:, 136:].any()
    studio.press("Control+z")
    assert np.array_equal(studio.ids(), before)

    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    studio.drop("photo.png", png(noise), "image/png")
    alert = studio.page.locator(".toast.bad")
    alert.wait_for()
    assert "photo.png" in alert.inner_text()
    studio.open_start()
    studio.drop("text.png", b"no picture at all", "image/png")
    problem = studio.page.locator("#start .problem")
    problem.get_by_text("text.png").wait_for()
    assert np.array_equal(studio.ids(), before)


def test_another_style(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    before = studio.picture()
    studio.settle(strip=True)
    studio.page.get_by_role("radio", name="Style 8", exact=True).click()
    studio.settle()
    assert changed(before, studio.picture()).mean() > 0.1
    lock = studio.page.get_by_role("button", name="Lock the style")
    lock.click()
    studio.press("d")
    assert studio.get("studio.state.work.seed") == 8
    lock.click()
    studio.press("d")
    assert studio.get("studio.state.work.seed") != 8


def test_style_of_a_label(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    before, ids = studio.picture(), studio.ids()
    studio.page.get_by_label("What the style is for").select_option(str(TOP))
    studio.page.get_by_role("radio", name="Style 8", exact=True).click()
    studio.settle()
    where = changed(before, studio.picture())
    pixel = len(ids) // len(where)  # of the picture, on the canvas
    hair = (ids == TOP)[pixel // 2 :: pixel, pixel // 2 :: pixel]
    assert where[hair].mean() > 0.4
    assert where[~hair].mean() < 0.2
    assert "style 8" in studio.page.locator(".label-item").nth(TOP).inner_text()
    studio.press("Escape")
    studio.get("document.activeElement.blur()")
    studio.press("Control+z")
    studio.settle()
    assert np.array_equal(studio.picture(), before)


def test_nothing_is_sent_where_nothing_changed(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    studio.settle(strip=True)
    sent = studio.get("studio.renders.id")
    studio.press("f")
    studio.press("s")
    studio.press("s")
    studio.press("s")
    studio.press("]")
    studio.press(str(SKIN))
    studio.stroke((128, 128), (128, 128))
    studio.get("studio.renders.now()")
    studio.page.wait_for_timeout(300)
    assert studio.ids()[128, 128] == SKIN
    assert studio.get("studio.renders.id") - sent <= 1


@pytest.mark.parametrize(("ms", "live"), [(20, True), (400, False)])
def test_renders_while_painting_where_pictures_are_quick(open_studio, ms, live):
    studio = open_studio()
    studio.start_from("short hair")
    studio.settle(strip=True)
    studio.get(f"studio.renders.average = {ms}")
    sent = studio.get("studio.renders.id")
    studio.press(str(TOP))
    studio.down((40, 40), (90, 60), (140, 60))
    if live:
        studio.wait(f"() => studio.renders.shown.request.id > {sent}")
    else:
        studio.page.wait_for_timeout(400)
        assert studio.get("studio.renders.id") == sent
    studio.page.mouse.up()
    studio.settle()
    assert studio.get("studio.renders.id") > sent


def test_only_one_picture_is_waited_for(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    studio.settle(strip=True)
    studio.get("""() => {
      studio.renders.average = 1;
      Object.defineProperty(studio.renders, 'average', { get: () => 1, set: () => {} });
      window.open = window.most = 0;
      const { send } = studio.socket;
      studio.socket.send = function (header, payload) {
        if (header.type === 'render' && studio.state.canvas.busy) window.most = Math.max(window.most, ++window.open);
        return send.call(this, header, payload);
      };
      const { onmessage } = studio.socket.socket;
      studio.socket.socket.onmessage = function (event) {
        window.open = 0;
        return onmessage.call(this, event);
      };
    }""")
    studio.press(str(TOP))
    studio.down((40, 40), (200, 60), (40, 90), (200, 120), (40, 150), (200, 180))
    assert studio.get("window.most") == 1
    studio.page.mouse.up()
    studio.settle()


def test_a_reload_right_after_a_stroke_loses_nothing(open_studio):
    studio = open_studio()
    studio.press(str(CLOTHES))
    for row in range(40, 200, 40):
        studio.stroke((30, row), (200, row + 10))
        painted = studio.ids()
        studio.page.reload()
        studio.ready()
        assert np.array_equal(studio.ids(), painted)


def test_reload_finds_the_work(open_studio):
    studio = open_studio()
    studio.start_from("long hair")
    before, first = studio.ids(), studio.picture()
    studio.press(str(CLOTHES))
    studio.press("]")
    studio.press("]")
    studio.stroke((30, 200), (200, 210))
    studio.press("j")
    studio.settle()
    ids, picture = studio.ids(), studio.picture()
    size, seed = studio.get("studio.state.canvas.size"), studio.get("studio.state.work.seed")
    studio.page.reload()
    studio.ready()
    assert np.array_equal(studio.ids(), ids)
    assert studio.get("studio.state.work.seed") == seed
    assert studio.get("studio.state.canvas.size") == size
    assert studio.get("studio.state.canvas.label") == CLOTHES
    assert np.array_equal(studio.picture(), picture)

    studio.press("Control+z")
    assert studio.get("studio.state.work.seed") != seed
    studio.press("Control+z")
    studio.settle()
    assert np.array_equal(studio.ids(), before), "the history is there too"
    assert np.array_equal(studio.picture(), first)
    studio.get("studio.state.saveNow()")
    studio.page.reload()
    studio.ready()
    studio.press("Control+Shift+z")
    studio.press("Control+Shift+z")
    studio.settle()
    assert np.array_equal(studio.ids(), ids)
    assert np.array_equal(studio.picture(), picture)


def test_scribble_and_sketch(open_studio):
    studio = open_studio()
    mask = studio.ids()
    studio.page.get_by_role("radio", name="scribble").click()
    assert (studio.ids() == 255).all()
    studio.press(str(SKIN))
    studio.stroke((128, 90), (128, 160))
    studio.press(str(TOP))
    studio.stroke((80, 60), (128, 40), (176, 60))
    studio.settle()
    assert set(np.unique(studio.ids())) == {SKIN, TOP, 255}
    scribbled = studio.picture()

    studio.page.get_by_role("radio", name="sketch").click()
    studio.press("l")
    studio.stroke((80, 60), (176, 60))
    studio.stroke((80, 60), (80, 180))
    studio.settle()
    assert set(np.unique(studio.ids())) == {0, 255}
    assert changed(scribbled, studio.picture()).any()
    studio.start_from("Sample 5")
    assert (studio.ids() > 0).mean() > 0.02

    for _ in range(6):
        studio.press("Control+z")
    studio.settle()
    assert studio.get("studio.state.work.condition") == "scribble"
    studio.page.get_by_role("radio", name="mask").click()
    assert np.array_equal(studio.ids(), mask)


@pytest.mark.parametrize("condition", ["mask", "scribble", "sketch"])
def test_project_opens_to_the_same_pixels(open_studio, condition):
    studio = open_studio()
    studio.page.get_by_role("radio", name=condition).click()
    studio.press(str(TOP))
    studio.stroke((60, 60), (128, 30), (200, 60), (200, 160))
    studio.press("j")
    studio.settle()
    ids, picture = studio.ids(), studio.picture()
    project = studio.keep("project")
    assert json.loads(project)["bundle"]["name"] == "avatars"
    other = open_studio()
    other.drop("saved.json", project, "application/json")
    other.wait("studio.state.history.done.some((step) => step.name === 'open project')")
    other.settle()
    assert np.array_equal(other.ids(), ids)
    assert np.array_equal(other.picture(), picture)


def test_kept_picture_names_its_origin(open_studio):
    studio = open_studio()
    studio.settle()
    kept = Image.open(io.BytesIO(studio.keep("picture")))
    assert kept.text["Seeds"] == str(studio.get("studio.state.work.seed"))
    assert "avatars" in kept.text["Bundle"]
    assert np.array_equal(np.asarray(kept.convert("RGB")), studio.picture())


def test_two_browsers_at_once(open_studio):
    one, two = open_studio(), open_studio()
    one.start_from("beard")
    two.start_from("long hair")
    for i in range(3):
        one.press(str(TOP))
        one.stroke((40 + 20 * i, 40), (60 + 20 * i, 120))
        two.press(str(SKIN))
        two.stroke((200 - 20 * i, 40), (180 - 20 * i, 120))
    one.settle()
    two.settle()
    assert not np.array_equal(one.ids(), two.ids())
    assert changed(one.picture(), two.picture()).mean() > 0.05


def test_where_a_point_comes_from(open_studio):
    studio = open_studio()
    studio.settle()
    studio.press("w")
    box = studio.page.locator("#picture-frame").bounding_box()
    studio.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    studio.page.locator("#origin .crosshair").wait_for()
    assert "own picture" in studio.page.locator("#origin").inner_text()
    studio.press("ArrowRight")
    studio.press("Escape")
    studio.page.wait_for_selector("#origin", state="hidden")


def test_proxy_mask_is_shown(open_studio):
    studio = open_studio()
    studio.settle()
    picture = studio.picture()
    studio.page.get_by_role("button", name="Proxy mask").click()
    studio.wait("document.querySelector('#picture-frame').getAttribute('aria-label').startsWith('Proxy')")
    colours = {tuple(colour) for colour in studio.get("studio.state.bundle.cluster_colors")}
    assert {tuple(colour) for colour in studio.picture().reshape(-1, 3).tolist()} <= colours
    studio.page.get_by_role("button", name="Proxy mask").click()
    assert np.array_equal(studio.picture(), picture)


def test_why_in_words(open_studio):
    studio = open_studio()
    studio.start_from("short hair")
    synth = Synthesizer.from_pretrained("avatars")
    shaved = next(seed for seed in range(6, 12) if not (synth.sample(synth.w([seed]))[2] == 6).any())
    studio.page.get_by_role("radio", name=f"Style {shaved}", exact=True).click()
    studio.press("6")
    studio.stroke((100, 170), (156, 170))
    studio.settle()
    studio.page.locator("#notes").get_by_text("facial hair").wait_for()
