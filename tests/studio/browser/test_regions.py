"""Painting with the clusters themselves, in a browser: with labels beside them, and without any."""

import io

import numpy as np
from PIL import Image
from studio_driver import LabelMode, StudioPage, StudioServer

import tiny


def show_clusters(studio: StudioPage) -> None:
    """Paint with clusters, beginning with those of the style's sample."""
    studio.page.get_by_role("radio", name="clusters").click()
    studio.wait("new Set(studio.state.canvas.ids).size > 5")
    studio.settle()


def name_a_region(studio: StudioPage) -> None:
    """Choose the region that is second in the list, and call it sky."""
    studio.page.locator(".label-pick").nth(1).click()
    name = studio.page.get_by_label("Name of this region")
    assert name.input_value().startswith("region")
    name.fill("sky")
    name.press("Enter")
    name.evaluate("element => element.blur()")
    assert "sky" in studio.page.locator(".label-item.chosen").inner_text()


def test_clusters_of_a_bundle_with_labels(open_studio):
    studio = open_studio()
    mask = studio.ids()
    assert studio.get("studio.state.conditions.map(({ name }) => name)") == ["mask", "scribble", "sketch", "clusters"]
    show_clusters(studio)
    address = f"{studio.page.url}api/bundles/avatars/samples/{studio.get('studio.state.work.seed')}.clusters.png"
    own = np.asarray(Image.open(io.BytesIO(studio.page.request.get(address).body())))
    assert np.array_equal(studio.ids()[4::8, 4::8], own), "those of the style's own sample"
    before, picture = studio.ids(), studio.picture()
    name_a_region(studio)
    studio.stroke((40, 230), (220, 230))
    studio.settle()
    painted = studio.ids()
    assert not np.array_equal(studio.picture(), picture)
    kept = np.asarray(Image.open(io.BytesIO(studio.keep("mask"))))
    assert np.array_equal(kept, painted)
    project = studio.keep("project")
    studio.press("Control+z")
    studio.settle()
    assert np.array_equal(studio.ids(), before)
    assert np.array_equal(studio.picture(), picture)
    studio.press("Control+z")
    assert studio.get("studio.state.work.condition") == "mask"
    assert np.array_equal(studio.ids(), mask)
    other = open_studio()
    other.drop("saved.json", project, "application/json")
    other.wait("studio.state.history.done.some((step) => step.name === 'open project')")
    other.settle()
    assert np.array_equal(other.ids(), painted)
    out = io.BytesIO()
    Image.fromarray(before).save(out, format="PNG")
    other.drop("map.png", out.getvalue(), "image/png")
    other.wait("studio.state.history.done.some((step) => step.name === 'upload map.png')")
    other.settle()
    assert np.array_equal(other.ids(), before)
    assert np.array_equal(other.picture(), picture)


def test_the_style_of_a_label_is_not_that_of_a_cluster(open_studio):
    studio = open_studio()
    scope = studio.page.get_by_label("What the style is for")
    assert "facial hair" in scope.locator("option").all_inner_texts(), "named as in the list of labels"
    scope.select_option(label="top")
    studio.page.get_by_role("radio", name="Style 8", exact=True).click()
    studio.settle()
    marked = studio.page.locator(".region-mark:not([hidden])")
    assert marked.all_inner_texts() == ["style 8"]
    show_clusters(studio)
    assert marked.count() == 0
    studio.page.get_by_role("radio", name="mask").click()
    studio.settle()
    assert marked.all_inner_texts() == ["style 8"]


def test_a_bundle_without_labels_is_painted_by_its_clusters(open_studio, browser, tmp_path):
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    rearranger = tiny.make_rearranger(split, clusters)
    bundle = tiny.Bundle(split.generator, tiny.CUT, clusters, rearranger=rearranger, name="plain", about={"licence": "none"})
    server = StudioServer("--bundle", str(bundle.save(tmp_path / "plain")), "--workspace", str(tmp_path / "work"))
    server.start()
    try:
        studio = open_studio(server)
        assert studio.get("studio.state.conditions.map(({ name }) => name)") == ["clusters"]
        ids, picture = studio.ids(), studio.picture()
        assert len(np.unique(ids)) > 1, "it begins with the clusters of a sample"
        name_a_region(studio)
        studio.stroke((20, 20), (230, 30), (20, 60), (230, 90))
        studio.settle()
        painted = studio.ids()
        assert len(set(painted[painted != ids])) == 1
        studio.page.reload()
        studio.ready()
        assert np.array_equal(studio.ids(), painted)
        assert "sky" in studio.page.locator("#palette").inner_text()
        studio.start_from("Sample 5")
        assert not np.array_equal(studio.ids(), painted)
        assert not np.array_equal(studio.picture(), picture)
        LabelMode(studio).create("of my own")
    finally:
        server.stop()
