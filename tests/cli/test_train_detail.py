"""A detail network, from training to a picture, by the verbs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.core.files import read_json

CPU = ("--device", "cpu")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_trained_added_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, out = tmp_path / "tiny", tmp_path / "run"
    tiny.make_bundle().save(bundle)
    train = ("train", "detail", "--bundle", bundle, "--out", out, "--batch", 2, "--width", 4, "--learning-rate", 0.5, *CPU)
    assert run(*train, "--steps", 4) == 0
    assert "bundle add" in capsys.readouterr().out
    assert run("bundle", "add", out, "--bundle", bundle, "--out", tmp_path / "with") == 0
    assert "detail networks for mask" in capsys.readouterr().out
    ids = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    ids[4:9, 5:12] = 2
    Image.fromarray(ids).save(tmp_path / "mask.png")
    made = {}
    added = ("--bundle", tmp_path / "with")
    for name, words in {"plain": ("--bundle", bundle), "on": added, "off": (*added, "--no-details")}.items():
        assert run("generate", "--mask", tmp_path / "mask.png", "--out", tmp_path / f"{name}.png", *words, *CPU) == 0
        made[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
    assert np.array_equal(made["off"], made["plain"])
    assert not np.array_equal(made["on"], made["plain"])

    capsys.readouterr()
    assert run("bundle", "add", out, "--bundle", tmp_path / "with", "--name", "none", "--out", tmp_path / "x") == 2
    assert "has no such mapper" in capsys.readouterr().err
    other = tiny.make_bundle()
    other.mappers["mask"] = tiny.make_mapper(seed=9)
    other.save(tmp_path / "other")
    assert run("bundle", "add", out, "--bundle", tmp_path / "other", "--out", tmp_path / "x") == 2
    assert "was trained with another mapper" in capsys.readouterr().err
    assert run(*train, "--steps", 4) == 0  # done already
    assert run("inspect", out) == 0
    tiny.make_segmenter(tiny.make_cut(), seed=9).save_pretrained(tmp_path / "segmenter")
    theirs = ("--segmenter", tmp_path / "segmenter", "--steps", 1)
    assert run("train", "detail", "--bundle", bundle, "--out", tmp_path / "one", "--batch", 2, "--width", 4, *theirs, *CPU) == 0
    trained, ours = (read_json(folder / "stage.json")["identity"] for folder in (tmp_path / "one", out))
    assert {key for key in trained if trained[key] != ours[key]} >= {"segmenter"}
    assert run(*train, "--segmenter", tmp_path / "nothing") == 2
    assert "nothing" in capsys.readouterr().err
    assert run(*train, "--mapper", "nope") == 2
    assert "has no such mapper" in capsys.readouterr().err
