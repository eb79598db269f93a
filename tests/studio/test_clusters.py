"""Painting with the clusters themselves, which needs neither labels nor a mapper."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studio_page
import torch
from PIL import Image
from starlette.testclient import TestClient
from studio_page import page, render_header, studio

import tiny
from proxymask.imaging.masks import resize_mask
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.studio.api.labelling import fewer_clusters
from proxymask.studio.config import StudioConfig
from proxymask.studio.protocol import decode_frame, encode_frame
from proxymask.studio.rle import decode_runs, encode_runs


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A running studio with a bundle of generator, clusters and rearranger alone."""
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    bundle = Bundle(
        split.generator, tiny.CUT, clusters, rearranger=tiny.make_rearranger(split, clusters), name="plain", about={"licence": "none"}
    )
    folder = bundle.save(tmp_path_factory.mktemp("bundles") / "plain")
    with studio_page.running(StudioConfig(str(folder))) as client:
        yield client


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def of_library(source: str | Path, canvas: np.ndarray, seed: int, truncation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W, C) and proxy mask (h, w) by the steps of the Python interface."""
    synth = Synthesizer.from_pretrained(source)
    ids = torch.from_numpy(resize_mask(canvas, synth.bundle.clusters.size).astype(np.int64))[None]
    style = synth.make_style(seed, truncation=truncation)
    proxy = synth.substitute(ids, style)
    picture = synth.render(proxy, style)[0].permute(1, 2, 0)
    return ((picture + 1) * 127.5).round().byte().numpy(), proxy[0].numpy()


def render(client: TestClient, canvas: np.ndarray, *seeds: int, **fields: Any) -> list[studio_page.Frame]:
    """All that a page is answered."""
    with page(client) as one:
        one.render(canvas, *seeds, condition="clusters", **fields)
        frames = [one.receive()]
        while sum(frame.header["type"] == "picture" for frame in frames) < len(seeds) and frames[-1].header["type"] != "error":
            frames.append(one.receive())
        return [*frames, *one.drain()]


def test_every_bundle_has_the_condition_and_it_is_the_last(avatars: TestClient, unlabelled: TestClient):
    for client, name in ((avatars, "avatars"), (unlabelled, "plain")):
        about = client.get(f"/api/bundles/{name}").json()
        wanted = {"name": "clusters", "reads": "clusters", "mapper": None, "channels": about["clusters"]}
        assert about["conditions"][-1] == wanted
    assert len(about["conditions"]) == 1
    assert about["labels"] == []
    assert about["render_ms"] > 0, "the server has rendered once by itself"


def test_the_picture_is_that_of_the_library(avatars: TestClient):
    synth = Synthesizer.from_pretrained("avatars")
    ids = synth.sample(synth.w([11]))[1][0].to(torch.uint8).numpy()
    canvas = resize_mask(ids, 256).copy()
    canvas[40:90, 60:200] = ids[20, 16]
    frames = render(avatars, canvas, 4, 9, want=["picture", "proxy"], truncation=0.8)
    pictures = [frame for frame in frames if frame.header["type"] == "picture"]
    proxy = next(frame for frame in frames if frame.header["type"] == "proxy")
    for seed, frame in zip((4, 9), pictures, strict=True):
        wanted, wanted_proxy = of_library("avatars", canvas, seed, 0.8)
        assert np.array_equal(pixels(frame.payload), wanted)
        if seed == 4:
            assert np.array_equal(np.frombuffer(proxy.payload, np.uint8).reshape(32, 32), wanted_proxy)


def test_a_samples_own_clusters_in_its_style_are_its_picture(unlabelled: TestClient):
    """The map that a page starts from, in the form in which it comes to the page."""
    base = "/api/bundles/plain"
    map_of_sample = unlabelled.get(f"{base}/samples/3.clusters.png").content
    answer = unlabelled.post(f"{base}/drawing?condition=clusters&name=map.png", content=map_of_sample)
    canvas = pixels(answer.content)
    synth = Synthesizer.from_pretrained(studio(unlabelled).catalogue.source("plain"))
    assert canvas.shape == (256, 256)
    assert np.array_equal(resize_mask(canvas, 8), synth.sample(synth.w([3]))[1][0].numpy())
    (frame,) = render(unlabelled, canvas, 3)
    wanted = np.asarray(synth.transfer(3, 3).picture)
    assert np.array_equal(pixels(frame.payload), wanted)


def test_the_kept_map_comes_back(avatars: TestClient):
    ids = np.arange(16, dtype=np.uint8).repeat(16 * 256).reshape(256, 256)
    frame = encode_frame({**render_header("avatars", ids, 5, condition="clusters"), "id": 1}, encode_runs(ids))
    kept = Image.open(io.BytesIO(avatars.post("/api/keep/mask", content=frame).content))
    assert (kept.mode, kept.text["Condition"]) == ("P", "clusters")
    assert np.array_equal(np.asarray(kept), ids)
    picture = avatars.post("/api/keep/picture", content=frame).content
    assert np.array_equal(pixels(picture), of_library("avatars", ids, 5)[0])
    project = avatars.post("/api/projects/save", content=frame).content
    opened = studio_page.decode_frame(avatars.post("/api/projects/open", content=project).content)
    assert (opened.header["condition"], opened.payload) == ("clusters", encode_runs(ids))


def test_what_cannot_be_used_is_said_in_words(unlabelled: TestClient):
    def sent(array: np.ndarray, extra: str = "") -> str:
        out = io.BytesIO()
        Image.fromarray(array).save(out, format="PNG")
        answer = unlabelled.post(f"/api/bundles/plain/drawing?condition=clusters&name=map.png{extra}", content=out.getvalue())
        assert answer.status_code == 422, answer.text
        return answer.json()["error"]

    grey = np.zeros((64, 64), np.uint8)
    assert "map.png holds 9, and the regions are 0 to 4" in sent(grey + 9)
    assert "map.png is in colours" in sent(np.zeros((64, 64, 3), np.uint8))
    assert "map.png is 64x32, which is not a square" in sent(grey[:32])
    assert "from_photo" in sent(grey, "&from_photo=true")
    (frame,) = render(unlabelled, np.full((256, 256), 5, np.uint8), 1)
    assert "the regions of plain are 0 to 4" in frame.header["error"]
    with page(unlabelled) as one:
        one.render(np.zeros((256, 256), np.uint8), 1)
        assert "mask" in one.receive().header["error"], "there is no mapper for masks"


def test_notes_and_why_nothing_changed(avatars: TestClient):
    model = studio(avatars).catalogue.model("avatars")
    own = model.sample(3, 1.0).clusters
    canvas = resize_mask(own, 256)
    present = set(np.unique(own).tolist())
    lacking = next(one for one in range(model.synth.bundle.clusters.num_clusters) if one not in present)
    with page(avatars) as one:

        def said(painted: np.ndarray) -> dict[str, Any]:
            one.render(painted, 3, condition="clusters")
            header = one.receive().header
            one.drain()
            return header

        style = model.style(3, 1.0)
        own_notes = said(canvas)["notes"]
        replaced = model.synth.substitute(torch.from_numpy(own.astype(np.int64))[None], style)[0].numpy()
        named = [k for k in present if np.count_nonzero((own == k) & (replaced != k)) > 0.005 * own.size]
        assert all(f"region {k}" in own_notes[0] for k in named[:4])
        assert bool(own_notes) == bool(named)
        fine = canvas.copy()
        fine[100, 101] = lacking
        header = said(fine)
        assert "smaller than a cell of the grid (8x8 on this canvas)" in header["why"]
        assert f"region {lacking}: smaller than a cell" in header["notes"][0]
        assert header["notes"][1:] == own_notes
        large = canvas.copy()
        large[80:160, 80:160] = lacking
        notes = " ".join(said(large)["notes"])
        substituted = model.synth.substitute(torch.full((1, 1, 1), lacking), style).item() != lacking
        assert (f"region {lacking}" in notes) == substituted


def test_more_clusters_than_a_byte_holds(tmp_path: Path, make_bundle: Callable[..., Bundle]):
    """They are shown and labelled, and not painted."""
    folder = make_bundle(clusters=300).save(tmp_path / "many")
    synth = Synthesizer.from_pretrained(folder)
    seed = next(seed for seed in range(20) if synth.sample(synth.w([seed]))[1].max() > 255)
    own = synth.sample(synth.w([seed]))[1][0].numpy()
    canvas = np.zeros((256, 256), np.uint8)
    wanted = synth.generate(canvas[::8, ::8], seed).proxy_mask
    with studio_page.running(StudioConfig(str(folder), workspace=tmp_path / "work")) as client:
        about = client.get("/api/bundles/many").json()
        assert [one["name"] for one in about["conditions"]] == ["mask"]
        assert len(about["cluster_colors"]) == 300
        refused = client.get(f"/api/bundles/many/samples/{seed}.clusters.png")
        assert (refused.status_code, refused.json()["error"]) == (404, "many has 300 clusters, and a palette has 256 colours at most")
        with page(client) as one:
            one.bundle = "many"
            one.render(canvas, seed, want=["picture", "proxy"])
            frames = [one.receive(), one.receive()]
        shown = next(frame for frame in frames if frame.header["type"] == "proxy")
        assert np.array_equal(np.frombuffer(shown.payload, "u1" if wanted.max() < 256 else "<u2").reshape(16, 16), wanted)
        labels = [{"name": "a", "color": "#000000"}, {"name": "b", "color": "#ffffff"}]
        made = client.post("/api/labelling/sets", json={"name": "mine", "bundle": "many", "labels": labels}).json()
        sample = decode_frame(client.get(f"/api/labelling/sets/{made['id']}/samples/{seed}").content)
        clusters = decode_runs(sample.payload, 16, 16)
    pairs = np.unique(np.stack([own.ravel(), clusters.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(own)) == len(np.unique(clusters)), "each kind of region keeps a number of its own"


def test_the_rarest_clusters_share_a_number():
    ids = np.repeat(np.arange(1000, 1400), np.arange(400, 0, -1))[None]
    fewer = fewer_clusters(ids)
    assert fewer.dtype == np.uint8
    assert np.array_equal(fewer, np.minimum(ids - 1000, 255))
    small = np.array([[3, 255]])
    assert np.array_equal(fewer_clusters(small), small)
