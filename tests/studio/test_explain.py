"""What a painter is told: labels that a style lacks, what is too small, why a picture did not change."""

import re
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from studio_page import Page, page, portrait, studio

from proxymask.imaging.masks import resize_mask
from proxymask.studio.explain import listed

FACIAL_HAIR, ACCESSORIES = 6, 8


def style_with(client: TestClient, label: int, has: bool) -> int:
    """The first seed whose sample has a label, or has not."""
    model = studio(client).catalogue.model("avatars")
    for seed in range(200):
        labels = model.sample(seed, 1.0).labels
        assert labels is not None
        share = float((labels == label).mean())
        if share > 0.02 if has else share == 0:
            return seed
    raise AssertionError("no such style")


def rendered(one: Page, canvas: np.ndarray, seed: int = 3, **fields: Any) -> dict[str, Any]:
    one.render(canvas, seed, **fields)
    header = one.receive().header
    one.drain()
    assert header["type"] == "picture", header
    return header


def bearded() -> np.ndarray:
    canvas = portrait()
    canvas[175:200, 100:156] = FACIAL_HAIR
    return canvas


def test_a_label_that_the_style_lacks_is_named(avatars: TestClient):
    without, with_beard = style_with(avatars, FACIAL_HAIR, False), style_with(avatars, FACIAL_HAIR, True)
    with page(avatars) as one:
        said = " ".join(rendered(one, bearded(), without)["notes"])
        assert "this style has no" in said
        assert "facial hair" in said
        assert "made up" in said
        assert "facial hair" not in " ".join(rendered(one, bearded(), with_beard)["notes"])


def test_each_style_has_its_own_notes(avatars: TestClient):
    without, with_beard = style_with(avatars, FACIAL_HAIR, False), style_with(avatars, FACIAL_HAIR, True)
    with page(avatars) as one:
        one.render(bearded(), with_beard, without)
        notes = [" ".join(one.receive().header["notes"]) for _ in range(2)]
    assert ["facial hair" in said for said in notes] == [False, True]


def test_a_stroke_finer_than_a_pixel_is_why_nothing_changed(avatars: TestClient):
    canvas = portrait()
    with page(avatars) as one:
        rendered(one, canvas)
        canvas[100, 30] = ACCESSORIES  # nearest neighbour takes row 2 of every 4, or row 1 of every 2
        header = rendered(one, canvas)
    pixel = len(canvas) // studio(avatars).catalogue.model("avatars").synth.size
    assert header["unchanged"]
    assert header["why"] == f"what was painted is finer than a pixel of the picture ({pixel}x{pixel} on this canvas): paint it larger"
    assert any("finer than a pixel" in note and "accessories" in note for note in header["notes"])


def test_a_stroke_smaller_than_a_cell_is_noted(avatars: TestClient):
    canvas = portrait()
    canvas[18:20, 18:20] = ACCESSORIES
    small = resize_mask(canvas, studio(avatars).catalogue.model("avatars").synth.size)
    assert (small == ACCESSORIES).any()
    assert not (resize_mask(small, 32) == ACCESSORIES).any()
    with page(avatars) as one:
        notes = rendered(one, canvas)["notes"]
    assert any(re.match(r"(mouth and )?accessories: smaller than a cell of the grid \(8x8 on this canvas\)", note) for note in notes)


def test_where_the_model_draws_two_labels_alike_it_is_said(avatars: TestClient, monkeypatch: pytest.MonkeyPatch):
    """The mapper of this test reads one label as another, as a mapper that learned nothing of it would."""
    synth = studio(avatars).catalogue.model("avatars").synth
    plain = synth.map
    monkeypatch.setattr(synth, "map", lambda masks, mapper="mask": plain(np.where(masks == ACCESSORIES, 0, masks), mapper))
    by_labels = synth.proxy_mask
    monkeypatch.setattr(synth, "proxy_mask", lambda logits, style, painted=(): by_labels(logits, style))  # the label prior reads it, too
    monkeypatch.setattr(synth, "use_details", False)  # the detail network reads the mask itself
    canvas = portrait()
    with page(avatars) as one:
        rendered(one, canvas)
        canvas[8:60, 8:60] = ACCESSORIES
        header = rendered(one, canvas)
    assert header["unchanged"]
    assert header["why"].startswith("the model draws accessories there as it draws background")


def test_a_change_that_is_seen_needs_no_reason(avatars: TestClient):
    with page(avatars) as one:
        rendered(one, portrait())
        header = rendered(one, np.roll(portrait(), 40, axis=1))
        assert (header["unchanged"], header["why"]) == (False, None)
        header = rendered(one, np.roll(portrait(), 40, axis=1), 9)
        assert (header["unchanged"], header["why"]) == (False, None)


def test_the_census_knows_rare_labels(avatars: TestClient):
    model = studio(avatars).catalogue.model("avatars")
    for _ in model.census():
        pass
    assert not model.is_rare(0, 0.02)
    assert not model.is_rare(1, 0.02)
    assert model.is_rare(FACIAL_HAIR, 1.01), "no label is in more than all samples"


def test_names_are_read_as_text():
    assert listed(["a"]) == "a"
    assert listed(["facial_hair", "eyes"]) == "facial hair and eyes"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([str(i) for i in range(9)]) == "0, 1, 2, 3 and 5 more"
