"""The WebSocket of a running studio."""

import contextlib
import io
import json
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from studio_page import SOCKET, Page, page, portrait, render_header, running, studio

from proxymask.imaging.masks import resize_mask
from proxymask.inference.synthesizer import Synthesizer
from proxymask.studio.config import Limits, StudioConfig
from proxymask.studio.protocol import decode_frame, encode_frame
from proxymask.studio.rle import encode_runs
from proxymask.studio.turns import Job, Pause, Work

WAIT = 30.0


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


class Held:
    """The thread that renders, held until :meth:`release`."""

    def __init__(self, client: TestClient) -> None:
        reached, self._go = threading.Event(), threading.Event()

        def work() -> Work:
            reached.set()
            self._go.wait(WAIT)
            yield Pause.STEP

        studio(client).turns.put(Job("test", "hold", work(), 0, lambda error: None))
        assert reached.wait(WAIT)

    def release(self) -> None:
        self._go.set()


def test_the_picture_is_that_of_the_library(avatars: TestClient):
    with page(avatars) as one:
        number = one.render(portrait(), 3, truncation=0.8, want=["picture", "proxy"])
        picture, proxy = one.receive(), one.receive()
    synth = Synthesizer.from_pretrained("avatars")
    wanted = synth.generate(resize_mask(portrait(), synth.size), 3, truncation=0.8)
    assert (picture.header["type"], picture.header["id"], picture.header["format"]) == ("picture", number, "png")
    assert picture.header["ms"] > 0
    assert np.array_equal(pixels(picture.payload), np.asarray(wanted.picture))
    assert (proxy.header["type"], proxy.header["id"], proxy.header["width"], proxy.header["height"]) == ("proxy", number, 32, 32)
    assert np.array_equal(np.frombuffer(proxy.payload, np.uint8).reshape(32, 32), wanted.proxy_mask)


def test_several_styles_come_in_their_order(avatars: TestClient):
    with page(avatars) as one:
        one.render(portrait(), 3, 8, 3)
        first, second, third = (one.receive() for _ in range(3))
    assert [frame.header["index"] for frame in (first, second, third)] == [0, 1, 2]
    assert first.payload == third.payload != second.payload


def test_a_style_for_a_label_is_the_librarys(avatars: TestClient):
    synth = Synthesizer.from_pretrained("avatars")
    regions = {"7": {"seed": 8}, "5": {"seed": 11}}
    with page(avatars) as one:
        one.render(portrait(), 3, 4, regions=regions)
        first, second = one.receive(), one.receive()
        for seed, frame in ((3, first), (4, second)):
            wanted = synth.generate(resize_mask(portrait(), synth.size), {None: seed, "top": 8, "clothes": 11})
            assert np.array_equal(pixels(frame.payload), np.asarray(wanted.picture))
        one.drain()
        for x, y, seed in ((0.5, 0.28, 8), (0.5, 0.9, 11), (0.5, 0.55, 3)):
            one.send({"type": "attention", "id": 7, "x": x, "y": y})
            assert one.receive().header["seed"] == seed
        one.render(portrait(), 3, regions={"9": {"seed": 8}})
        assert "9 is no label of avatars" in one.receive().header["error"]
        one.render(np.where(portrait() == 1, 0, 255).astype(np.uint8), 3, regions=regions, condition="sketch")
        assert "needs a mask" in one.receive().header["error"]


def test_drawings_are_rendered_as_the_library_does(avatars: TestClient):
    synth = Synthesizer.from_pretrained("avatars")
    strokes = np.full((256, 256), 255, np.uint8)
    strokes[60:75, 90:170], strokes[150:160, 110:150] = 7, 4
    lines = np.full((256, 256), 255, np.uint8)
    lines[60:200, 90:94] = lines[60:200, 160:164] = lines[60:64, 90:164] = 0
    with page(avatars) as one:
        for condition, canvas in (("scribble", strokes), ("sketch", lines)):
            one.render(canvas, 5, condition=condition)
            assert np.array_equal(pixels(one.receive().payload), np.asarray(synth.generate(canvas, 5, condition=condition).picture))
        one.render(np.full((256, 256), 255, np.uint8), 5, condition="scribble")
        assert "is empty" in one.receive().header["error"]


def test_a_request_that_waits_is_replaced_by_a_newer_one(avatars: TestClient):
    canvas = portrait()
    with page(avatars) as one:
        held = Held(avatars)
        for shift in range(5):
            one.render(np.roll(canvas, shift * 8, axis=1))
        assert one.drain() == []
        assert studio(avatars).turns.count(one.welcome["session"]) == 1
        held.release()
        assert one.receive().header["id"] == 5
        assert one.drain() == []


def test_a_running_request_stops_at_its_next_step(tiny_studio: TestClient, monkeypatch: pytest.MonkeyPatch):
    parts = studio(tiny_studio)
    reached, go, rearranged = threading.Event(), threading.Event(), []
    with page(tiny_studio) as one:
        one.render(np.zeros((256, 256), np.uint8), 1)
        one.receive()
        synth = parts.catalogue.model(one.bundle).synth
        plain_proxy, plain_rearrange = synth.proxy_mask, synth.rearrange

        def proxy_mask(*arguments: Any) -> Any:
            reached.set()
            assert go.wait(WAIT)
            return plain_proxy(*arguments)

        def rearrange(proxy: Any, style: Any) -> Any:
            rearranged.append(proxy)
            return plain_rearrange(proxy, style)

        monkeypatch.setattr(synth, "proxy_mask", proxy_mask)
        monkeypatch.setattr(synth, "rearrange", rearrange)
        one.render(np.full((256, 256), 1, np.uint8), 1)
        assert reached.wait(WAIT)
        one.render(np.full((256, 256), 2, np.uint8), 1)
        assert one.drain() == []  # the server has read the newer request
        go.set()
        assert one.receive().header["id"] == 3
        assert len(rearranged) == 1, "the older request went no further than the step it was in"
        assert one.drain() == []


def test_a_picture_that_was_made_too_late_is_not_sent(tiny_studio: TestClient, monkeypatch: pytest.MonkeyPatch):
    """A newer request that cannot be used still makes the older one late, once it was taken as the newest."""
    parts, reached, go = studio(tiny_studio), threading.Event(), threading.Event()
    with page(tiny_studio) as one:
        synth = parts.catalogue.model(one.bundle).synth
        plain = synth.render_rearranged

        def last_step(*arguments: Any) -> Any:
            reached.set()
            assert go.wait(WAIT)
            return plain(*arguments)

        monkeypatch.setattr(synth, "render_rearranged", last_step)
        one.render(np.zeros((256, 256), np.uint8), 1)
        assert reached.wait(WAIT)
        one.render(np.full((256, 256), 99, np.uint8), 1)  # no such label
        assert one.drain() == []
        go.set()
        assert "holds 99" in one.receive().header["error"]
        assert one.drain() == []


def test_cancel_stops_what_waits(avatars: TestClient):
    with page(avatars) as one:
        held = Held(avatars)
        one.render(portrait(), 3)
        one.send({"type": "cancel"})
        assert one.drain() == []
        held.release()
        assert studio(avatars).turns.count(one.welcome["session"]) == 0


def test_a_page_that_goes_takes_its_work_with_it(avatars: TestClient, caplog: pytest.LogCaptureFixture):
    held = Held(avatars)
    with page(avatars) as one:
        one.render(portrait(), 3, 4, 5)
        assert one.drain() == []
        session = one.welcome["session"]
    try:
        assert studio(avatars).turns.count(session) == 0
    finally:
        held.release()
    with page(avatars) as other:
        other.render(portrait(), 3)
        assert other.receive().header["type"] == "picture"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_the_same_request_is_not_rendered_twice(avatars: TestClient):
    with page(avatars) as one:
        first = one.render(portrait(), 3, 8)
        one.receive(), one.receive()
        one.drain()
        again = one.render(portrait(), 3, 8)
        answer = one.receive()
        assert answer.payload == b""
        assert {key: answer.header[key] for key in ("id", "unchanged", "same_as")} == {"id": again, "unchanged": True, "same_as": first}
        one.render(np.roll(portrait(), 40, axis=0), 3, 8)
        assert not one.receive().header["unchanged"]
        assert one.receive().payload
        one.drain()
        one.render(portrait(), 3, 8)  # back again: the page shows another picture by now
        assert one.receive().payload


def test_two_pages_do_not_disturb_each_other(avatars: TestClient):
    canvas = portrait()
    with page(avatars) as one, page(avatars) as two:
        held = Held(avatars)
        numbers = one.render(canvas, 3), two.render(np.flip(canvas, axis=1).copy(), 9)
        assert one.drain() == two.drain() == []
        held.release()
        first, second = one.receive(), two.receive()
        assert (first.header["id"], second.header["id"]) == numbers
        one.render(np.flip(canvas, axis=1).copy(), 9)
        assert one.receive().payload == second.payload
        two.render(canvas, 3)
        assert two.receive().payload == first.payload


def test_pages_take_turns_between_pictures(avatars: TestClient):
    """A page that wants twelve styles does not make another one wait for all of them."""
    order: list[str] = []
    lock = threading.Lock()
    renderer = studio(avatars).renderer
    with page(avatars) as many, page(avatars) as few:
        held = Held(avatars)
        plain = renderer.style

        def style(model: Any, request: Any, spec: Any) -> Any:
            with lock:
                order.append("few" if spec.seed == 99 else "many")
            return plain(model, request, spec)

        renderer.style = style  # type: ignore[method-assign]
        try:
            many.render(portrait(), *range(12))
            few.render(portrait(), 99)
            assert many.drain() == few.drain() == []
            held.release()
            assert few.receive().header["index"] == 0
            assert [many.receive().header["index"] for _ in range(12)] == list(range(12))
        finally:
            renderer.style = plain  # type: ignore[method-assign]
    assert order.index("few") == 1


def test_attention_points_at_the_style_sample(avatars: TestClient):
    with page(avatars) as one:
        one.send({"type": "attention", "id": 1, "x": 0.5, "y": 0.5})
        assert "no picture yet" in one.receive().header["error"]
        one.render(portrait(), 3)
        one.receive()
        one.drain()
        grids = []
        for x, y in ((0.5, 0.55), (0.02, 0.02), (1.0, 1.0)):
            one.send({"type": "attention", "id": 7, "x": x, "y": y})
            answer = one.receive()
            assert answer.header == {"type": "attention", "id": 7, "width": 32, "height": 32, "seed": 3}
            grids.append(np.frombuffer(answer.payload, np.uint8))
        assert all(grid.size == 1024 and grid.max() == 255 for grid in grids)
        assert not np.array_equal(grids[0], grids[1])
    sample = studio(avatars).catalogue.model("avatars").sample(3, 1.0)
    labels = np.asarray(resize_mask(sample.labels, 32)).reshape(-1)
    assert np.bincount(labels, weights=grids[0].astype(float)).argmax() == 1, "skin comes from skin"
    assert np.bincount(labels, weights=grids[1].astype(float)).argmax() == 0, "background from background"


def test_a_page_that_comes_back_goes_on_with_its_session(tiny_studio: TestClient):
    with page(tiny_studio) as one:
        known = one.welcome["session"]
        assert one.welcome["restored"] is False
        one.render(np.zeros((256, 256), np.uint8), 1)
        one.receive()
        one.drain()
    with page(tiny_studio, session=known) as one:
        assert (one.welcome["session"], one.welcome["restored"]) == (known, True)
        one.send({"type": "attention", "id": 1, "x": 0, "y": 0})
        assert one.receive().header["type"] == "attention"
        one.number = 0
        one.render(np.zeros((256, 256), np.uint8), 1)
        assert one.receive().payload, "a reloaded page shows nothing yet and gets its picture"


def test_after_a_restart_the_page_sends_its_work_again(tiny_bundle):
    canvas, config = np.full((256, 256), 3, np.uint8), StudioConfig(str(tiny_bundle))
    with running(config) as client, page(client) as one:
        one.render(canvas, 4)
        before, known = one.receive().payload, one.welcome["session"]
    with running(config) as client, page(client, session=known) as one:
        assert one.welcome["restored"] is False
        one.render(canvas, 4)
        assert one.receive().payload == before


def test_memory_stays_bounded(tiny_bundle):
    limits = Limits(sessions=3, style_bytes=1)
    with running(StudioConfig(str(tiny_bundle), limits=limits)) as client:
        parts = studio(client)
        for seed in range(6):
            with page(client) as one:
                one.render(np.full((256, 256), seed, np.uint8), seed, seed + 100, seed + 200)
                one.receive(), one.receive(), one.receive()
        assert len(parts.sessions) == 3
        assert len(parts.catalogue.styles) == 1, "as few as are needed at all"
        with contextlib.ExitStack() as pages:
            answers = [pages.enter_context(page(client)).welcome for _ in range(4)]
        assert [answer["type"] for answer in answers] == ["welcome"] * 3 + ["error"]
        assert "3 pages are open" in answers[3]["error"]


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        (b"", "at least 4 bytes"),
        (encode_frame({"type": "ping", "t": 1}), "must be hello"),
        (encode_frame({"type": "hello", "session": 5}), "session"),
        (encode_frame({"type": "hello", "session": None, "more": 1}), "more"),
    ],
)
def test_a_connection_that_does_not_begin_with_hello_is_ended_in_words(avatars: TestClient, hello: bytes, words: str):
    with avatars.websocket_connect(SOCKET) as socket:
        socket.send_bytes(hello)
        assert words in decode_frame(socket.receive_bytes()).header["error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_bytes()


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "nothing"}, "type", "type"),
    ({"bundle": "../../etc"}, "no bundle", None),
    ({"condition": "depth"}, "no mapper for depth", None),
    ({"width": 0}, "width", "width"),
    ({"width": 255}, "are 65536 pixels", None),
    ({"width": 8192, "height": 8192}, "more than", "width"),
    ({"styles": []}, "styles", "styles"),
    ({"styles": [{"seed": 1}] * 13}, "styles", "styles"),
    ({"styles": [{"seed": -1}]}, "seed", "styles.0.seed"),
    ({"styles": [{"seed": 2.5}]}, "seed", "styles.0.seed"),
    ({"styles": [{"seed": True}]}, "seed", "styles.0.seed"),
    ({"truncation": "1"}, "truncation", "truncation"),
    ({"truncation": 1e300}, "truncation", "truncation"),
    ({"want": ["everything"]}, "want", "want.0"),
    ({"id": -5}, "id", "id"),
    ({"extra": 1}, "extra", "extra"),
]


@pytest.mark.parametrize(("change", "words", "field"), BAD, ids=[str(change) for change, _, _ in BAD])
def test_a_bad_request_is_answered_in_words_and_the_next_one_works(avatars: TestClient, change: dict, words: str, field: str | None):
    canvas = np.zeros((256, 256), np.uint8)
    with page(avatars) as one:
        one.send(render_header("avatars", canvas, id=1) | change, encode_runs(canvas))
        header = one.receive().header
        assert (header["type"], header["field"]) == ("error", field)
        assert words in header["error"]
        assert "\n" not in header["error"]
        assert header["id"] == (None if change.get("id") == -5 else 1)
        one.number = 9
        one.render(canvas)
        assert one.receive().header["type"] == "picture"


def test_ids_rise(avatars: TestClient):
    canvas = np.zeros((256, 256), np.uint8)
    with page(avatars) as one:
        one.number = 6
        one.render(canvas)
        one.receive()
        one.number = 3
        one.render(canvas)
        assert "not above 7" in one.receive().header["error"]


def test_text_and_frames_that_are_too_large_are_answered(tiny_bundle):
    with running(StudioConfig(str(tiny_bundle), limits=Limits(frame_bytes=1000))) as client, page(client) as one:
        one.socket.send_text("hello")
        assert "binary" in one.receive().header["error"]
        one.socket.send_bytes(b"x" * 1001)
        assert "at most 1,000 bytes" in one.receive().header["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["type", "id", "bundle", "condition", "width", "height", "styles", "truncation", "want", "regions", "x", "y", "t", "session"]
TYPES = st.sampled_from(["hello", "render", "attention", "cancel", "ping", "nothing"])


def as_frame(header: Any, payload: bytes) -> bytes:
    text = json.dumps(header).encode()  # also what encode_frame would refuse: infinite numbers, halves of characters
    return struct.pack("<I", len(text)) + text + payload


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Right frames, with parts of them exchanged, left out, cut off or garbled; and random ones."""
    small = np.zeros((4, 4), np.uint8)
    header: dict[str, Any] = render_header("avatars", small, id=draw(st.integers(0, 2**54)))
    header["type"] = draw(st.just("render") | TYPES)
    header |= draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        header.pop(name, None)
    payload = draw(st.just(encode_runs(small)) | st.binary(max_size=30))
    data = bytearray(as_frame(header, payload))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data) - 1))
        data[place] = draw(st.integers(0, 255))
    whole = bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])
    return draw(st.just(whole) | st.binary(max_size=40) | JSON.map(lambda value: as_frame(value, b"")))


@pytest.fixture(scope="module")
def open_page(avatars: TestClient):
    with page(avatars) as one:
        yield one


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=frames())
def test_any_frame_is_answered_and_the_connection_stays_open(open_page: Page, data: bytes):
    open_page.socket.send_bytes(data)
    for frame in open_page.drain():
        assert frame.header["type"] in ("picture", "proxy", "error", "attention")
        if frame.header["type"] == "error":
            assert frame.header["error"]
            assert "\n" not in frame.header["error"]
