"""One process at a time in a folder, in every place that writes one; and what a kill leaves there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json, restore_folder
from proxymask.core.lock import LOCK, InUse, folder_lock
from proxymask.data.drawn_dataset import make_dataset
from proxymask.data.prepare import prepare_folder
from proxymask.evaluation import EvaluationConfig, evaluate
from proxymask.training.pair_cache import PairShards
from proxymask.training.run_dirs import acquire_run_dir, finish, mark_of
from proxymask.training.stages.clusters import ClustersDefinition
from proxymask.training.stages.depth import DepthDefinition

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from test_lock import line, worker

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 avatars with masks and depth."""
    return make_dataset(tmp_path_factory.mktemp("drawn") / "set", "avatars", 12, 16, 4, workers=1, depth=True)


def command(*words: object) -> int:
    return main([str(word) for word in words])


def shards(folder: Path) -> None:
    """Fill a cache of pairs."""
    stage = tiny.make_stage("mapper")
    pairs = PairShards(folder, 4, {"condition": "mask"}, torch.zeros(0))
    pairs.fill(stage.source, stage.split, torch.device("cpu"), torch.float32)


def test_a_second_process_is_told_who_is_there(drawn: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training, clustering, drawing, preparing, evaluating, caching: what writes the folder names the process that has it."""
    config = EvaluationConfig(bundle=str(tiny_bundle), data=drawn, count=5, out=tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "loop": lambda: tiny.run(tiny.make_stage("segmenter"), tmp_path),
        "rename": lambda: acquire_run_dir(tmp_path, {"a": 2}),
        "avatars": lambda: make_dataset(tmp_path, "avatars", 2, 16, workers=1),
        "prepare": lambda: prepare_folder(drawn, tmp_path, 16),
        "evaluate": lambda: evaluate(config, device="cpu"),
    }
    verbs = {
        "generator": ("--images", drawn, "--resolution", 16),
        "rearranger": ("--generator", tiny_bundle, "--clusters", tiny_bundle),
        "segmenter": ("--generator", tiny_bundle, "--labels", drawn),
        "mapper": ("--bundle", tiny_bundle),
        "depth": ("--images", drawn),
        "judge": ("--data", drawn, "--size", 16),
    }
    finish(tmp_path, {"a": 1}, 0, {"generator": tiny.make_generator()})
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with worker(tmp_path) as child:
        assert line(child).startswith("held")
        for call in calls.values():
            with pytest.raises(InUse, match=f"{tmp_path} is in use by process {child.pid} since .*lock_worker.py.*choose another folder"):
                call()
        for verb, words in verbs.items():
            capsys.readouterr()
            assert command("train", verb, *words, "--out", tmp_path, *CPU) == 2, verb
            said = capsys.readouterr().err
            judge = verb == "judge"  # which looks at the folder first: it is no judge's
            assert ("holds other files" if judge else f"is in use by process {child.pid}") in said, verb
        assert command("cluster", "--generator", tiny_bundle, "--out", tmp_path, "--device", "cpu") == 2
        assert f"is in use by process {child.pid}" in capsys.readouterr().err
        assert command("inspect", tmp_path) == 0  # who only reads is not kept out
    (tmp_path / LOCK).unlink()
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_a_cache_of_pairs(tmp_path: Path) -> None:
    """It is locked while pairs are made; who finds all that it needs does not ask for the lock."""
    with worker(tmp_path) as child:
        assert line(child).startswith("held")
        with pytest.raises(InUse, match=f"process {child.pid}"):
            shards(tmp_path)
        child.kill()
        child.wait()
        shards(tmp_path)
    with worker(tmp_path) as child:
        assert line(child).startswith("held")
        shards(tmp_path)


def test_fit_is_told_too(drawn: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("fit", "--bundle", tiny_bundle, "--label-samples", 1, "--out", tmp_path / "model", *CPU)
    with worker(tmp_path / "model.work") as child:
        assert line(child).startswith("held")
        assert command(*words) == 2
        assert f"model.work is in use by process {child.pid}" in capsys.readouterr().err
        child.kill()
        child.wait()
    assert command(*words) == 0  # writes samples to label
    assert sorted(path.name for path in (tmp_path / "model.work").iterdir()) == ["settings.json", "to-label"]


def test_a_refused_training_leaves_no_folder(tmp_path: Path) -> None:
    assert command("train", "generator", "--images", tmp_path / "nowhere", "--out", tmp_path / "runs" / "g") == 2
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_comes_back_though_the_other_ended_at_once(tmp_path: Path) -> None:
    """Settings are changed for a training that dies before its first checkpoint, then put back."""
    out = tmp_path / "run"
    finish(out, {"a": 1}, 0, {})
    assert acquire_run_dir(out, {"a": 2}) is not None
    for _ in range(2):
        out.mkdir()
        (out / "events.out").write_bytes(b"numbers")
        aside = acquire_run_dir(out, {"a": 1})
        mark = mark_of(out)
        assert mark is not None
        assert mark["identity"] == {"a": 1}
        assert aside is not None
        assert (aside / "events.out").is_file()
        acquire_run_dir(out, {"a": 2})


def test_the_mark_is_written_last(tmp_path: Path) -> None:
    def full(out: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ProxymaskError, match="make room and run the same command again"):
        finish(tmp_path / "run", {"a": 1}, 0, {}, full)
    assert mark_of(tmp_path / "run") is None


def test_a_renamed_folder_keeps_no_lock(tmp_path: Path) -> None:
    finish(tmp_path / "run", {"a": 1}, 0, {})
    aside = acquire_run_dir(tmp_path / "run", {"a": 2})
    assert aside is not None
    assert sorted(path.name for path in aside.iterdir()) == ["stage.json"]
    assert acquire_run_dir(tmp_path / "run", {"a": 1}) is None
    mark = mark_of(tmp_path / "run")
    assert mark is not None
    assert mark["identity"] == {"a": 1}


# --------------------------------------------------------------------------------------------- what a kill leaves is not in the way


def test_clusters_whose_mark_was_not_written(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cluster", "--generator", tiny_bundle, "--clusters", 5, "--samples", 8, "--cut", 8, "--out", tmp_path, "--device", "cpu")
    assert command(*words) == 0
    whole = (tmp_path / "clusters" / "model.safetensors").read_bytes()
    (tmp_path / "stage.json").unlink()
    assert command(*words) == 0
    assert (tmp_path / "clusters" / "model.safetensors").read_bytes() == whole
    assert command(*words, "--seed", 1) == 2
    assert "clusters of another generator" in capsys.readouterr().err


@pytest.mark.parametrize("left", ["probe.safetensors", "probe.safetensors.tmp", "pairs.json.tmp", LOCK])
def test_pairs_that_were_only_begun(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_bytes(b"")
    shards(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != left) == sorted(
        {"pairs-00000.safetensors", "pairs.json", "probe.safetensors"} - {left}
    )


@pytest.mark.parametrize("left", ["dataset.json.tmp", LOCK])
def test_a_drawn_set_that_was_only_begun(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_text("")
    make_dataset(tmp_path, "avatars", 1, 16, workers=1)
    assert read_json(tmp_path / "dataset.json")["count"] == 1


@pytest.mark.parametrize("left", ["events.out.tfevents.1", LOCK])
def test_a_judge_that_was_only_begun(left: str, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / left).write_text("")
    assert command("train", "judge", "--data", drawn, "--size", 16, "--steps", 1, "--batch", 2, "--out", tmp_path, *CPU) == 0
    assert (tmp_path / "judge.json").is_file()


def test_a_bundle_whose_replacement_was_interrupted(tiny_bundle: Path, tmp_path: Path) -> None:
    """Killed between the two renames: the old folder has another name, and the new one has not taken its place."""
    shutil.copytree(tiny_bundle, tmp_path / ".mine.old")
    assert command("fit", "--bundle", tmp_path / "mine", "--label-samples", 1, "--out", tmp_path / "mine", *CPU) == 0
    assert (tmp_path / "mine" / "bundle.json").is_file()
    assert not (tmp_path / ".mine.old").exists()
    (tmp_path / ".mine.old").mkdir()
    restore_folder(tmp_path / "mine")  # a folder that is there stays
    assert (tmp_path / "mine" / "bundle.json").is_file()


# ---------------------------------------------------------------------------------------------------------------- stops


def test_sigterm_outside_of_training_is_said(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "proxymask", "data", "avatars", "--count", "100000", "--size", "16", "--workers", "1"]
    child = subprocess.Popen([*words, "--out", str(tmp_path / "set")], stderr=subprocess.PIPE, text=True)
    while not any(tmp_path.rglob("000003.png")):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.splitlines()[-1] == "proxymask: stopped by SIGTERM"
    assert not (tmp_path / "set" / LOCK).exists()


def test_a_stop_before_the_first_step(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(DepthDefinition, "build", interrupted)
    words = ("train", "depth", "--images", drawn, "--steps", 2, "--batch", 2, "--out", tmp_path / "run", *CPU)
    assert command(*words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"proxymask: stopped before anything was kept in {tmp_path / 'run'}; run the same command again to go on"
    )
    monkeypatch.undo()
    assert command(*words) == 0


def test_a_lock_that_cannot_be_made(split: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    definition = ClustersDefinition(split=tiny.make_cut(), num_clusters=2, samples=4, seed=0, device=torch.device("cpu"))
    with pytest.raises(ProxymaskError, match="is a file"):
        definition.run(tmp_path / "file")
    with pytest.raises(ProxymaskError, match="Not a directory"), folder_lock(tmp_path / "file" / "run"):
        pass
