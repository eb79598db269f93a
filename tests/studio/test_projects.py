"""Project files: they reopen to the same pixels, and a file that was changed is refused in words."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient
from studio_page import page, portrait, render_header, resized_header, running, studio

from proxymask.studio.config import StudioConfig
from proxymask.studio.protocol import decode_frame, encode_frame
from proxymask.studio.rle import decode_runs, encode_runs

SETTINGS = {"tool": "brush", "size": 12, "locks": [1, 2], "view": {"zoom": 1.5}, "name": "meine Maske \u00fc"}


def saved(client: TestClient, bundle: str = "avatars", canvas: np.ndarray | None = None, **fields: Any) -> dict[str, Any]:
    canvas = portrait() if canvas is None else canvas
    header = render_header(bundle, canvas, 3, 8, truncation=0.7, id=4, settings=SETTINGS) | fields
    answer = client.post("/api/projects/save", content=encode_frame(header, encode_runs(canvas)))
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["content-disposition"]
    return answer.json()


def reopened(client: TestClient, project: Any) -> Any:
    return client.post("/api/projects/open", content=project if isinstance(project, bytes) else json.dumps(project).encode())


def refused(client: TestClient, project: Any) -> str:
    answer = reopened(client, project)
    assert answer.status_code in (404, 422), answer.content[:200]
    return answer.json()["error"]


@pytest.mark.parametrize("condition", ["mask", "scribble", "sketch"])
def test_a_project_reopens_to_the_same_pixels(avatars: TestClient, condition: str):
    canvas = portrait()
    if condition == "sketch":
        canvas = np.where(portrait() == 1, 0, 255).astype(np.uint8)
        canvas[4:-4, 4:-4][np.roll(canvas, 4, 0)[4:-4, 4:-4] == 0] = 255
    if condition == "scribble":
        canvas = np.where(np.arange(256)[:, None] % 32 < 6, portrait(), 255).astype(np.uint8)
    with page(avatars) as one:
        one.render(canvas, 3, 8, truncation=0.7, condition=condition)
        before = one.receive().payload, one.receive().payload
        header, payload = decode_frame(reopened(avatars, saved(avatars, canvas=canvas, condition=condition)).content)
        assert np.array_equal(decode_runs(payload, header["width"], header["height"]), canvas)
        wanted = {key: header[key] for key in ("bundle", "condition", "width", "height", "styles", "truncation")}
        one.number = 10
        one.send({"type": "render", "id": 11, **wanted}, payload)
        first = one.receive()
        assert first.header["unchanged"]
        assert first.payload in (b"", before[0])
    with page(avatars) as other:
        other.send({"type": "render", "id": 1, **wanted}, payload)
        assert (other.receive().payload, other.receive().payload) == before


def test_settings_come_back_and_nothing_in_the_file_is_a_path(avatars: TestClient):
    project = saved(avatars)
    header, _ = decode_frame(reopened(avatars, project).content)
    assert header["settings"] == SETTINGS
    assert header["notes"] == []
    assert header["type"] == "project"
    assert set(project) == {
        "format", "version", "proxymask", "bundle", "condition", "width", "height", "mask", "styles", "truncation", "regions", "settings",
    }  # fmt: skip
    assert set(project["bundle"]) == {"name", "hash"}


def test_a_project_of_another_version_of_the_bundle_is_opened_with_a_note(avatars: TestClient):
    project = saved(avatars)
    project["bundle"]["hash"] = "0" * 64
    header, _ = decode_frame(reopened(avatars, project).content)
    assert "another version of avatars" in header["notes"][0]


def test_the_bundle_is_found_under_another_name_too(avatars: TestClient):
    project = saved(avatars)
    project["bundle"]["name"] = "what it was called elsewhere"
    header, _ = decode_frame(reopened(avatars, project).content)
    assert (header["bundle"], header["notes"]) == ("avatars", [])


def test_a_project_for_a_bundle_that_is_not_here_says_so(avatars: TestClient, tiny_bundle):
    with running(StudioConfig(str(tiny_bundle))) as client:
        name = studio(client).catalogue.default
        project = saved(client, name, np.zeros((256, 256), np.uint8))
    assert f"this project is for {name}, which is not here" in refused(avatars, project)


def grey_png(width: int, height: int, mode: str = "L") -> str:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def bomb(side: int) -> str:
    return base64.b64encode(resized_header(base64.b64decode(grey_png(4, 4)), side, side)).decode()


HOSTILE: list[tuple[str, Any, str]] = [
    ("format", "else", "no project file"),
    ("version", 2, "is newer"),
    ("version", "1", "is newer"),
    ("bundle", "/etc/passwd", "bundle"),
    ("bundle", {"name": "/etc", "hash": "0" * 64}, "not here"),
    ("bundle", {"name": "../../etc", "hash": "0" * 64}, "not here"),
    ("bundle", {"name": "avatars", "hash": "0" * 64, "path": "/etc"}, "path"),
    ("bundle", {"name": "avatars", "hash": "x"}, "hash"),
    ("mask", "/etc/passwd", "mask"),
    ("mask", "file:///etc/passwd", "mask"),
    ("mask", grey_png(256, 255), "no PNG of 256x256"),
    ("mask", grey_png(256, 256, "RGB"), "grey one of 256x256"),
    ("mask", bomb(9000), "no PNG of 256x256"),
    ("mask", bomb(256), "cannot be read"),
    ("mask", base64.b64encode(b"GIF89a" + b"\0" * 50).decode(), "no PNG"),
    ("mask", "ü", "base64"),
    ("mask", 5, "mask"),
    ("width", 10**9, "width"),
    ("width", -1, "width"),
    ("styles", [], "styles"),
    ("styles", [{"seed": 1}] * 1000, "styles"),
    ("styles", [{"seed": "1"}], "seed"),
    ("styles", [{"seed": 1, "w": "/etc/passwd"}], "w"),
    ("truncation", float("inf"), "JSON"),
    ("truncation", 99, "truncation"),
    ("condition", 5, "condition"),
    ("regions", {"../x": {"seed": 1}}, "regions"),
    ("regions", {str(i): {"seed": 1} for i in range(999)}, "regions"),
    ("settings", [1], "settings"),
    ("settings", {"x": "y" * 50_000}, "settings"),
    ("settings", {"half": "\ud800"}, "JSON"),
    ("more", 1, "more"),
]


@pytest.mark.parametrize(("field", "value", "words"), HOSTILE)
def test_a_hostile_project_is_refused_in_words(avatars: TestClient, field: str, value: Any, words: str):
    said = refused(avatars, saved(avatars) | {field: value})
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe", b"nothing", b"[" * 100_000, b'{"format":' + b"9" * 10_000 + b"}"])
def test_what_is_no_project_is_refused_in_words(avatars: TestClient, data: bytes):
    assert "project file" in refused(avatars, data)


def test_deep_settings_are_bounded(avatars: TestClient):
    deep: Any = 1
    for _ in range(400):
        deep = {"x": deep}
    answer = reopened(avatars, saved(avatars) | {"settings": deep})
    assert answer.status_code in (200, 422)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_file_is_opened_or_refused(avatars: TestClient, data: st.DataObject):
    text = bytearray(json.dumps(saved(avatars)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    answer = reopened(avatars, bytes(text[: data.draw(st.sampled_from([len(text), len(text) // 2]))]))
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        header, payload = decode_frame(answer.content)
        decode_runs(payload, header["width"], header["height"])
    else:
        assert answer.json()["error"]
