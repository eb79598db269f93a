"""Label sets, proposals and trainings of a running studio."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studio_page
from quick import quick_preset
from starlette.testclient import TestClient
from studio_page import studio

from proxymask.core.hashing import weights_hash
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import read_label_set, read_labelled, select_samples_to_label
from proxymask.studio.config import StudioConfig
from proxymask.studio.protocol import decode_frame, encode_frame
from proxymask.studio.rle import decode_runs, encode_runs

ROOT = "/api/labelling"
LABELS = [{"name": "ground", "color": "#000000"}, {"name": "thing", "color": "#ff0000"}, {"name": "other", "color": "#00ff00"}]


@pytest.fixture
def client(tiny_bundle: Path, tmp_path: Path) -> Iterator[TestClient]:
    with studio_page.running(config_of(tiny_bundle, tmp_path)) as client:
        yield client


def config_of(bundle: Path, folder: Path) -> StudioConfig:
    return StudioConfig(str(bundle), workspace=folder / "work", preset=str(quick_preset(folder)))


def make_set(client: TestClient, name: str = "mine") -> dict[str, Any]:
    answer = client.post(f"{ROOT}/sets", json={"name": name, "bundle": "tiny", "labels": LABELS})
    assert answer.status_code == 201, answer.text
    return answer.json()


def halves(side: int = 256, top: int = 1) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[: side // 2] = top
    return mask


def put(client: TestClient, identity: str, seed: int, mask: np.ndarray) -> Any:
    body = encode_frame({"width": mask.shape[1], "height": mask.shape[0]}, encode_runs(mask))
    return client.put(f"{ROOT}/sets/{identity}/samples/{seed}/mask", content=body)


def parts(client: TestClient, identity: str, seed: int) -> dict[str, np.ndarray]:
    frame = decode_frame(client.get(f"{ROOT}/sets/{identity}/samples/{seed}").content)
    found, at = {}, 0
    for name, about in frame.header["parts"].items():
        found[name] = decode_runs(frame.payload[at : at + about["bytes"]], about["width"], about["height"])
        at += about["bytes"]
    return found


def wait_for(client: TestClient, identity: str, *states: str, begun: bool = False, seconds: float = 900) -> dict[str, Any]:
    """The job when it is in one of these states; with ``begun``, when its process has reported too."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = next(job for job in client.get(f"{ROOT}/jobs").json() if job["id"] == identity)
        if job["state"] in states and not (begun and job["state"] == "running" and job["progress"]["stage"] == "starting"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job}")


def test_nothing_is_written_before_the_first_label_set(client: TestClient, tmp_path: Path) -> None:
    assert client.get(ROOT).json() == {"workspace": str(tmp_path / "work"), "sets": [], "jobs": []}
    assert not (tmp_path / "work").exists()


def test_a_labelled_sample_is_what_fit_reads(client: TestClient, tmp_path: Path, tiny_bundle: Path) -> None:
    made = make_set(client)
    mask = halves()
    assert put(client, made["id"], 5, mask).json()["samples"] == [5]
    assert put(client, made["id"], 3, halves(top=2)).json()["samples"] == [5, 3], "in the order in which they were labelled"
    folder = tmp_path / "work" / "labels" / made["id"]
    generator = Bundle.from_pretrained(tiny_bundle).generator
    labels = read_label_set(folder)
    _, masks, names = read_labelled(folder, labels, weights_hash(generator))
    assert labels.names == ["ground", "thing", "other"]
    assert names == ["s3", "s5"]
    assert masks[1].unique().tolist() == [0, 1]
    assert masks[0].unique().tolist() == [0, 2]
    found = parts(client, made["id"], 5)
    assert np.array_equal(found["mask"], mask)
    assert found["clusters"].shape == (16, 16)
    assert "model" not in found, "the bundle has other labels"


def test_labels_are_renamed_reordered_and_removed_with_their_masks(client: TestClient) -> None:
    made = make_set(client)
    mask = halves()
    mask[:, :64] = 2
    put(client, made["id"], 0, mask)
    changed = [
        {"name": "ground", "color": "#000000", "was": 0},
        {"name": "new", "color": "#0000ff"},
        {"name": "top", "color": "#ff0000", "was": 1},
    ]
    now = client.patch(f"{ROOT}/sets/{made['id']}", json={"labels": changed, "name": "other name"}).json()
    assert [label["name"] for label in now["labels"]] == ["ground", "new", "top"]
    assert now["name"] == "other name"
    expected = np.where(mask == 1, 2, 0)
    assert np.array_equal(parts(client, made["id"], 0)["mask"], expected)


def test_an_edit_of_older_labels_changes_nothing(client: TestClient, tmp_path: Path) -> None:
    """Two edits at once, or two tabs: the second is of ids that have another meaning by then. What was there before is kept."""
    made = make_set(client)
    mask = halves()
    put(client, made["id"], 0, mask)
    fewer = {"labels": [{**LABELS[0], "was": 0}, {**LABELS[2], "was": 2}], "version": made["version"]}
    now = client.patch(f"{ROOT}/sets/{made['id']}", json=fewer).json()
    assert now["version"] != made["version"]
    answer = client.patch(f"{ROOT}/sets/{made['id']}", json=fewer)
    assert answer.status_code == 409
    assert "changed elsewhere" in answer.json()["error"]
    header = {"width": mask.shape[1], "height": mask.shape[0], "version": made["version"]}
    late = client.put(f"{ROOT}/sets/{made['id']}/samples/0/mask", content=encode_frame(header, encode_runs(np.ones_like(mask))))
    assert late.status_code == 409
    assert np.array_equal(parts(client, made["id"], 0)["mask"], np.where(mask == 2, 1, 0))
    kept = tmp_path / "work" / "labels" / made["id"] / "before-1"
    assert len(LabelSet.load(kept / "labels.json")) == 3
    assert np.array_equal(read_mask(kept / "s0.mask.png", LabelSet.load(kept / "labels.json")), mask)


def test_two_pages_on_one_sample(client: TestClient) -> None:
    """The second page does not replace what the first one painted since. A page whose answer was lost may write again."""
    made, mask = make_set(client), halves()
    address = f"{ROOT}/sets/{made['id']}/samples/0"

    def write(editor: str, after: str | None, ids: np.ndarray) -> int:
        header = {"width": mask.shape[1], "height": mask.shape[0], "editor": editor, "after": after}
        return client.put(f"{address}/mask", content=encode_frame(header, encode_runs(ids))).status_code

    assert decode_frame(client.get(address).content).header["editor"] is None
    assert write("first", None, mask) == 200
    assert write("second", None, np.ones_like(mask)) == 409  # it opened the sample before that
    assert np.array_equal(parts(client, made["id"], 0)["mask"], mask)
    assert write("first", None, 2 * mask) == 200  # its second stroke
    assert decode_frame(client.get(address).content).header["editor"] == "first"
    assert write("second again", "first", mask) == 200
    assert write("first", None, 2 * mask) == 409
    assert np.array_equal(parts(client, made["id"], 0)["mask"], mask)
    assert client.delete(address).status_code == 200
    assert write("first", None, 2 * mask) == 200  # nothing is there that it could replace


def test_what_is_removed_is_kept_under_another_name(client: TestClient, tmp_path: Path) -> None:
    made = make_set(client)
    put(client, made["id"], 0, halves())
    assert client.delete(f"{ROOT}/sets/{made['id']}/samples/0").json()["samples"] == []
    folder = tmp_path / "work" / "labels" / made["id"]
    assert (folder / "s0.mask.png.removed-1").is_file()
    client.delete(f"{ROOT}/sets/{made['id']}")
    assert client.get(ROOT).json()["sets"] == []
    assert (folder.with_name(f"{made['id']}.removed-1") / "s0.mask.png.removed-1").is_file()


def test_proposals_are_those_of_the_library_and_say_why(client: TestClient) -> None:
    made = make_set(client)
    found = client.get(f"{ROOT}/sets/{made['id']}/proposals?count=5").json()
    model = studio(client).catalogue.model("tiny")
    bundle = model.synth.bundle
    assert [one["seed"] for one in found] == select_samples_to_label(model.synth.split, bundle.clusters, 5, 96, 0, model.synth.dtype)
    assert "typical" in found[0]["why"]
    assert all(one["why"] for one in found)
    put(client, made["id"], found[2]["seed"], halves())
    again = client.get(f"{ROOT}/sets/{made['id']}/proposals?count=5").json()
    assert found[2]["seed"] not in [one["seed"] for one in again]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x", "bundle": "nope", "labels": LABELS}, "no bundle 'nope' here"),
        ({"name": "x", "bundle": "tiny", "labels": LABELS[:1]}, "labels: List should have at least 2"),
        ({"name": "x", "bundle": "tiny", "labels": [LABELS[0], LABELS[0]]}, "used twice"),
        ({"name": "", "bundle": "tiny", "labels": LABELS}, "name"),
        ({"name": "x", "bundle": "tiny", "labels": [{"name": "a", "color": "red"}, LABELS[0]]}, "color"),
    ],
)
def test_label_sets_that_cannot_be_made(client: TestClient, tmp_path: Path, body: dict[str, Any], words: str) -> None:
    answer = client.post(f"{ROOT}/sets", json=body)
    assert answer.status_code in (404, 422)
    assert words in answer.json()["error"]
    assert not list((tmp_path / "work").glob("labels/*"))


def test_masks_that_cannot_be_kept(client: TestClient) -> None:
    made = make_set(client)
    assert "labels of mine are 0 to 2" in put(client, made["id"], 0, halves(top=7)).json()["error"]
    assert "not a square" in put(client, made["id"], 0, halves()[:100]).json()["error"]
    for header in ({}, {"width": 0, "height": 4}, {"width": 9000, "height": 9000}, {"width": "4", "height": 4}):
        answer = client.put(f"{ROOT}/sets/{made['id']}/samples/0/mask", content=encode_frame(header))
        assert answer.status_code == 422, answer.text
    for identity in ("../../etc", "zzzzzzzz", "%2e%2e"):
        assert client.get(f"{ROOT}/sets/{identity}").status_code == 404
    assert client.get(f"{ROOT}/sets/{made['id']}").json()["samples"] == []


def test_training_needs_a_labelled_sample_and_a_name_that_is_free(client: TestClient, tmp_path: Path) -> None:
    made = make_set(client)
    train = f"{ROOT}/sets/{made['id']}/train"
    assert "no labelled sample" in client.post(train, json={"name": "first"}).json()["error"]
    put(client, made["id"], 0, halves())
    for name in ("../up", "a b", ".hidden", ""):
        assert client.post(train, json={"name": name}).status_code == 422
    (tmp_path / "work" / "models" / "taken").mkdir(parents=True)
    assert "there is a bundle tiny already" in client.post(train, json={"name": "tiny"}).json()["error"]
    assert "there is a bundle taken already" in client.post(train, json={"name": "taken"}).json()["error"]
    assert client.post(f"{ROOT}/jobs/none/stop").status_code == 404


def test_train_stop_restart_and_paint(tiny_bundle: Path, tmp_path: Path) -> None:
    """Label, train, stop the server in the middle, start it again: the training goes on, and its bundle can be painted with."""
    config = config_of(tiny_bundle, tmp_path)
    with studio_page.running(config) as client:
        made = make_set(client)
        put(client, made["id"], 0, halves())
        put(client, made["id"], 1, halves())
        job = client.post(f"{ROOT}/sets/{made['id']}/train", json={"name": "first", "steps_scale": 0.01}).json()
        assert "is being trained already" in client.post(f"{ROOT}/sets/{made['id']}/train", json={"name": "first"}).json()["error"]
        wait_for(client, job["id"], "running")
        stopped = client.post(f"{ROOT}/jobs/{job['id']}/stop").json()
        assert stopped["state"] == "stopped"
        again = client.post(f"{ROOT}/sets/{made['id']}/train", json={"name": "first"})
        assert "a training first was stopped or failed: go on with it" in again.json()["error"]
        assert client.post(f"{ROOT}/jobs/{job['id']}/resume").json()["state"] == "waiting"
        wait_for(client, job["id"], "running", "done", begun=True)
        with studio_page.running(config) as second:
            assert [one["id"] for one in second.get(f"{ROOT}/jobs").json()] == [job["id"]]
            refused = second.post(f"{ROOT}/jobs/{job['id']}/stop")
            assert refused.status_code == 422
            assert "another studio runs the trainings of this workspace" in refused.json()["error"]
    stored = json.loads((tmp_path / "work" / "jobs" / job["id"] / "job.json").read_text())
    assert stored["state"] in ("running", "done"), "what the server's end has stopped goes on with the next one"
    with studio_page.running(config) as client:
        done = wait_for(client, job["id"], "done", "failed")
        assert done["state"] == "done", done["error"]
        assert "first" in client.get("/api/info").json()["bundles"]
        about = client.get("/api/bundles/first").json()
        assert [label["name"] for label in about["labels"]] == ["ground", "thing", "other"]
        with studio_page.page(client) as page:
            page.bundle = "first"
            page.render(halves())
            answer = page.receive()
            assert answer.header["type"] == "picture", answer.header
            assert answer.payload[:4] == b"\x89PNG"
        assert "is done" in client.post(f"{ROOT}/jobs/{job['id']}/resume").json()["error"]
    with studio_page.running(config) as client:
        assert "first" in client.get("/api/info").json()["bundles"], "trained bundles are there after a restart"


def test_a_training_that_fails_says_why(client: TestClient, tmp_path: Path) -> None:
    made = make_set(client)
    put(client, made["id"], 0, halves())
    (tmp_path / "work" / "labels" / made["id"] / "s0.json").write_text("{}")
    job = client.post(f"{ROOT}/sets/{made['id']}/train", json={"name": "second", "steps_scale": 0.01}).json()
    failed = wait_for(client, job["id"], "failed", "done")
    assert failed["state"] == "failed"
    assert "not the sidecar of a sample" in failed["error"]


def test_labels_of_another_generator_are_not_mixed_up(client: TestClient, tmp_path: Path) -> None:
    """A bundle may be replaced by one of the same name."""
    made = make_set(client)
    put(client, made["id"], 0, halves())
    about = tmp_path / "work" / "labels" / made["id"] / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"generator": "0" * 64}))
    before = sorted((path.name, path.stat().st_mtime_ns) for path in about.parent.iterdir())
    answers = [
        client.get(f"{ROOT}/sets/{made['id']}/samples/0"),
        put(client, made["id"], 1, halves()),
        client.get(f"{ROOT}/sets/{made['id']}/proposals"),
        client.post(f"{ROOT}/sets/{made['id']}/train", json={"name": "third"}),
    ]
    assert [answer.status_code for answer in answers] == [409] * 4
    assert all("were made for another generator than the bundle tiny has" in answer.json()["error"] for answer in answers)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in about.parent.iterdir()) == before


def test_a_disk_that_cannot_be_written(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "labels").write_text("a file in the way")
    answer = client.post(f"{ROOT}/sets", json={"name": "mine", "bundle": "tiny", "labels": LABELS})
    assert answer.status_code == 422
    assert "make room, or start the studio with another --workspace" in answer.json()["error"]
