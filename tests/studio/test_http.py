"""The HTTP interface of a running studio."""

import base64
import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient
from studio_page import ADDRESS, portrait, render_header, resized_header, running

from proxymask.imaging.labels import LabelSet
from proxymask.imaging.mask_files import example_masks
from proxymask.imaging.masks import read_mask, resize_mask, write_mask
from proxymask.inference.synthesizer import Synthesizer
from proxymask.studio.app import create_app
from proxymask.studio.config import WEB, Limits, StudioConfig
from proxymask.studio.protocol import encode_frame
from proxymask.studio.rle import decode_runs, encode_runs


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG")
    return out.getvalue()


def test_a_page_learns_what_there_is(avatars: TestClient):
    info = avatars.get("/api/info").json()
    assert info["bundle"] == "avatars"
    assert "avatars" in info["bundles"]
    about = avatars.get("/api/bundles/avatars").json()
    synth = Synthesizer.from_pretrained("avatars")
    assert about["size"] == [synth.size, synth.size]
    assert (about["buffer"], about["grid"]) == ([256, 256], [32, 32])
    assert [label["name"] for label in about["labels"]][:3] == ["background", "skin", "eyes"]
    assert len(about["cluster_colors"]) == about["clusters"]
    reads = {one["name"]: one["reads"] for one in about["conditions"]}
    assert reads == {"mask": "mask", "mask-1": "mask", "scribble": "scribble", "sketch": "sketch", "clusters": "clusters"}
    assert "Apache-2.0" in about["licence"]
    assert len(about["hash"]) == 64
    assert about["render_ms"] > 0, "the server has rendered once by itself"


def test_samples_are_those_of_the_library(avatars: TestClient):
    synth = Synthesizer.from_pretrained("avatars")
    pictures, proxy, labels = synth.sample(synth.w([7], 0.7))
    base = "/api/bundles/avatars/samples/7"
    picture = opened(avatars.get(f"{base}.png?truncation=0.7").content)
    assert np.array_equal(np.asarray(picture), ((pictures[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    mask = opened(avatars.get(f"{base}.mask.png?truncation=0.7").content)
    assert (mask.mode, mask.size) == ("P", (256, 256))
    scale = 256 // synth.size
    assert np.array_equal(np.asarray(mask)[scale // 2 :: scale, scale // 2 :: scale], labels[0].numpy())
    assert np.array_equal(read_mask(mask, synth.labels, synth.size), labels[0].numpy()), "it can be used as a mask"
    clusters = opened(avatars.get(f"{base}.clusters.png?truncation=0.7").content)
    assert np.array_equal(np.asarray(clusters), proxy[0].numpy())


@pytest.mark.parametrize(
    "path", ["samples/-1.png", "samples/x.png", "samples/4294967296.png", "samples/1.png?truncation=nan", "samples/1.txt"]
)
def test_bad_samples_are_refused_in_words(avatars: TestClient, path: str):
    answer = avatars.get(f"/api/bundles/avatars/{path}")
    assert answer.status_code in (404, 422)
    assert answer.json()["error"]


def test_the_examples_are_those_of_the_library(avatars: TestClient):
    listed = avatars.get("/api/bundles/avatars/examples").json()
    assert {one["name"] for one in listed} >= {"beard", "free-form/three-eyes"}
    for one in listed:
        answer = avatars.get("/" + one["url"])
        assert answer.content == (example_masks() / f"{one['name']}.png").read_bytes()
    assert "no example 'nothing'" in avatars.get("/api/bundles/avatars/examples/nothing.png").json()["error"]


def test_other_classes_have_no_examples(tiny_bundle: Path, tmp_path: Path):
    other = shutil.copytree(tiny_bundle, tmp_path / "other")
    labels = LabelSet.load(other / "labels.json").labels
    LabelSet(tuple(dataclasses.replace(label, name=label.name.upper()) for label in labels)).save(other / "labels.json")
    about = json.loads((other / "bundle.json").read_text())
    about["sha256"]["labels.json"] = hashlib.sha256((other / "labels.json").read_bytes()).hexdigest()
    (other / "bundle.json").write_text(json.dumps(about))
    with running(StudioConfig(str(other))) as client:
        assert client.get("/api/bundles/other/examples").json() == []
        assert client.get("/api/bundles/other/examples/beard.png").json()["error"] == "no example 'beard': there are none"


class TestUploads:
    def upload(self, client: TestClient, data: bytes, name: str = "my mask.png") -> dict:
        answer = client.post("/api/bundles/avatars/mask", params={"name": name}, content=data)
        return {"status": answer.status_code, **answer.json()}

    def canvas(self, answer: dict) -> np.ndarray:
        return decode_runs(base64.b64decode(answer["rle"]), answer["width"], answer["height"])

    def test_a_mask_in_colours_and_one_in_ids_are_the_same(self, avatars: TestClient, tmp_path: Path):
        labels = Synthesizer.from_pretrained("avatars").labels
        write_mask(tmp_path / "palette.png", portrait(64), labels)
        wanted = resize_mask(portrait(64), 256)
        for data in ((tmp_path / "palette.png").read_bytes(), png(portrait(64)), png(labels.colors[portrait(64)])):
            found = self.upload(avatars, data)
            assert found["status"] == 200
            assert np.array_equal(self.canvas(found), wanted)

    @pytest.mark.parametrize("path", sorted(example_masks().rglob("*.png")), ids=lambda path: path.stem)
    def test_the_examples_give_the_pictures_of_the_library(self, avatars: TestClient, path: Path):
        labels = avatar_labels()
        canvas = self.canvas(self.upload(avatars, path.read_bytes()))
        side = avatars.get("/api/bundles/avatars").json()["size"][0]
        assert np.array_equal(resize_mask(canvas, side), read_mask(path, labels, side))

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "empty"),
            (b"this is no picture", "picture"),
            (png(np.full((8, 8), 77, np.uint8)), "77"),
            (png(np.zeros((10, 30), np.uint8)), "30x10"),
            (png(portrait(64))[:200], "truncated or damaged"),
            (png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "photo"),
        ],
    )
    def test_bad_files_are_refused_under_their_own_name(self, avatars: TestClient, data: bytes, words: str):
        found = self.upload(avatars, data, "C:\\Users\\me\\my mask.png")
        assert found["status"] == 422
        assert found["error"].startswith("my mask.png")
        assert words in found["error"]
        assert "/tmp" not in found["error"]

    @pytest.mark.parametrize(
        "name", ["../../../etc/passwd", "a/b/../..", "x" * 200 + ".png", "<script>.png", "\u202egnp.x", "%2e%2e", ".png", " "]
    )
    def test_a_name_is_only_a_name(self, avatars: TestClient, name: str):
        found = self.upload(avatars, png(np.full((8, 8), 99, np.uint8)), name)
        assert found["status"] == 422
        assert "/etc" not in found["error"]
        assert "<" not in found["error"]

    def test_pixels_are_counted_before_they_are_decoded(self, tiny_bundle):
        with running(StudioConfig(str(tiny_bundle), limits=Limits(pixels=256 * 256))) as client:
            bundle = client.get("/api/info").json()["bundle"]
            bomb = png(np.zeros((257, 256), np.uint8))
            for path in ("mask", "drawing?condition=mask"):
                answer = client.post(f"/api/bundles/{bundle}/{path}", content=bomb)
                assert answer.status_code == 422
                assert "has 65,792 pixels, and the studio takes up to 65,536: make it smaller" in answer.json()["error"]
            for side in (9000, 10**6):
                huge = resized_header(png(np.zeros((4, 4), np.uint8)), side, side)
                assert "the studio takes up to 65,536" in client.post(f"/api/bundles/{bundle}/mask", content=huge).json()["error"]

            labelme = {"version": "5.5.0", "shapes": [], "imagePath": "/etc/passwd", "imageWidth": 10_000, "imageHeight": 10_000}
            coco = {
                "images": [{"id": 1, "file_name": "/etc/passwd", "width": 10_000, "height": 10_000}],
                "annotations": [],
                "categories": [],
            }
            for annotations in (labelme, coco):
                answer = client.post(f"/api/bundles/{bundle}/mask?name=x.json", content=json.dumps(annotations).encode())
                assert "x.json has 100,000,000 pixels" in answer.json()["error"]

    def test_annotations_are_read_too(self, avatars: TestClient):
        square = {"label": "skin", "shape_type": "rectangle", "points": [[10, 10], [40, 50]]}
        labelme = {
            "version": "5.5.0",
            "shapes": [square],
            "imagePath": "/etc/passwd",
            "imageData": None,
            "imageWidth": 64,
            "imageHeight": 64,
        }
        found = self.upload(avatars, json.dumps(labelme).encode(), "face.json")
        assert found["status"] == 200, found
        canvas = self.canvas(found)
        assert canvas.shape == (256, 256)
        assert (canvas[120, 100], canvas[220, 220]) == (1, 0)

    def test_annotations_of_several_images_are_refused_in_words(self, avatars: TestClient):
        images = [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 64} for number in range(3)]
        coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "skin"}]}
        found = self.upload(avatars, json.dumps(coco).encode(), "faces.json")
        assert found["error"] == "faces.json holds 3 images, and one mask is needed: keep one image in the file"
        alone = self.upload(avatars, json.dumps(coco | {"images": images[:1]}).encode(), "faces.json")
        assert alone["status"] == 200, alone

    def test_drawings_come_back_as_the_canvas_holds_them(self, avatars: TestClient):
        lines = np.full((512, 512, 3), 255, np.uint8)
        lines[100:400, 150:158] = lines[100:400, 350:358] = lines[100:108, 150:358] = 20
        answer = avatars.post("/api/bundles/avatars/drawing", params={"condition": "sketch"}, content=png(lines))
        sketch = opened(answer.content)
        assert (sketch.mode, sketch.size) == ("L", (256, 256))
        assert np.asarray(sketch)[100, 76] < 60
        assert np.asarray(sketch)[20, 20] == 255
        strokes = np.full((128, 128, 3), 255, np.uint8)
        strokes[20:40, 30:90] = avatar_labels().colors[7]
        answer = avatars.post("/api/bundles/avatars/drawing", params={"condition": "scribble"}, content=png(strokes))
        scribble = np.asarray(opened(answer.content))
        assert (scribble[60, 120], scribble[200, 200]) == (7, 255)
        assert set(np.unique(scribble)) == {7, 255}
        photo = avatars.get("/api/bundles/avatars/samples/5.png").content
        refused = avatars.post("/api/bundles/avatars/drawing", params={"condition": "sketch", "name": "me.jpg"}, content=photo)
        assert refused.json()["error"].startswith("me.jpg")
        taken = avatars.post("/api/bundles/avatars/drawing", params={"condition": "sketch", "from_photo": True}, content=photo)
        assert opened(taken.content).size == (256, 256)


def avatar_labels() -> LabelSet:
    labels = Synthesizer.from_pretrained("avatars").labels
    assert labels is not None
    return labels


class TestKeep:
    def test_a_kept_picture_says_what_it_was_made_from(self, avatars: TestClient):
        header = render_header("avatars", portrait(), 3, 8, truncation=0.8)
        answer = avatars.post("/api/keep/picture", content=encode_frame(header | {"id": 4}, encode_runs(portrait())))
        picture = opened(answer.content)
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        synth = Synthesizer.from_pretrained("avatars")
        wanted = synth.generate(resize_mask(portrait(), synth.size), 3, truncation=0.8)
        assert np.array_equal(np.asarray(picture), np.asarray(wanted.picture))
        text = picture.text
        assert text["Software"].startswith("proxymask ")
        assert text["Bundle"].startswith("avatars (SHA-256 of bundle.json: ")
        assert (text["Seeds"], text["Truncation"], text["Condition"]) == ("3", "0.8", "mask")
        assert "Apache-2.0" in text["Licence"]

    def test_a_kept_mask_is_one_that_the_library_reads(self, avatars: TestClient, tmp_path: Path):
        answer = avatars.post("/api/keep/mask", content=encode_frame(render_header("avatars", portrait()), encode_runs(portrait())))
        (tmp_path / "kept.png").write_bytes(answer.content)
        kept = opened(answer.content)
        assert kept.mode == "P"
        assert np.array_equal(np.asarray(kept), portrait())
        assert np.array_equal(read_mask(tmp_path / "kept.png", avatar_labels()), portrait())

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            encode_frame({}),
            encode_frame(render_header("nothing", portrait())),
            encode_frame(render_header("avatars", portrait()), b"\1\2\3"),
        ],
    )
    @pytest.mark.parametrize("what", ["picture", "mask"])
    def test_what_cannot_be_kept_is_refused_in_words(self, avatars: TestClient, what: str, body: bytes):
        answer = avatars.post(f"/api/keep/{what}", content=body)
        assert answer.status_code in (404, 422)
        assert answer.json()["error"]


SCHEMA = schemathesis.openapi.from_dict(create_app(StudioConfig()).openapi())


@SCHEMA.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_request_is_answered_in_words(avatars: TestClient, case: schemathesis.Case):
    """Every route with generated requests, right ones and wrong ones."""
    request = case.as_transport_kwargs(base_url=ADDRESS)
    body, _ = request.pop("data", None), request.pop("cookies", None)
    answer = avatars.request(**request, content=body if isinstance(body, bytes | str) else json.dumps(body).encode())
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and request["method"] != "HEAD":
        assert isinstance(answer.json()["error"], str)
        assert "\n" not in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_file_of_the_page_is_served(avatars: TestClient):
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        answer = avatars.get(f"/web/{path.relative_to(WEB).as_posix()}")
        assert answer.content == path.read_bytes(), path
        kind = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}[path.suffix]
        assert answer.headers["content-type"].split(";")[0] == kind
    assert avatars.get("/").content == (WEB / "index.html").read_bytes()
    assert sum(path.stat().st_size for path in files) < 300_000
