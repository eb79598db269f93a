"""What one verb says its twin says too; and a verb that takes long says so before it loads what it needs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import proxymask
from proxymask.cli import main
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.evaluation import EvaluationConfig
from proxymask.evaluation.inputs import open_inputs
from proxymask.imaging.masks import write_mask
from proxymask.inference.bundle import Bundle

CPU = ("--device", "cpu", "--precision", "fp32")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def two_labels_painted(bundle: Path, folder: Path) -> Path:
    """A sample with a mask of the first two labels."""
    assert run("sample", "--bundle", bundle, "--count", 1, "--out", folder, *CPU) == 0
    ids = np.zeros((32, 32), np.uint8)
    ids[8:20] = 1
    write_mask(folder / "000000.mask.png", ids, AVATAR_LABELS)
    AVATAR_LABELS.save(folder / "labels.json")
    return folder


def test_train_segmenter_says_which_labels_no_mask_shows(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painted = two_labels_painted(tiny_bundle, tmp_path / "painted")
    words = ("train", "segmenter", "--bundle", tiny_bundle, "--labels", painted, "--steps", 1, "--style-transfer-max-labels", 0, *CPU)
    capsys.readouterr()
    assert run(*words, "--tensorboard", "False", "--out", tmp_path / "run") == 0
    absent = ", ".join(AVATAR_LABELS.names[2:])
    assert f"note: no mask shows {absent}; a label that is in no mask cannot be learned" in capsys.readouterr().out


def test_bundle_add_says_which_mapper_it_replaces(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Bundle.load(tiny_bundle).mappers["mask"].save_pretrained(tmp_path / "run" / "mapper")
    assert run("bundle", "add", tmp_path / "run", "--bundle", tiny_bundle, "--out", tmp_path / "both", "--name", "other") == 0
    assert not capsys.readouterr().err
    assert run("bundle", "add", tmp_path / "run", "--bundle", tiny_bundle, "--out", tmp_path / "one") == 0
    assert "in place of the mask of --bundle" in capsys.readouterr().err


def test_a_verb_that_loads_long_says_what_it_does_first(tmp_path: Path) -> None:
    code = (
        "import builtins, sys; real = print\n"
        "builtins.print = lambda *a, **k: real(*a, 'torch' in sys.modules, **k)\n"
        "from proxymask.cli import main; main(['fit', '--images', 'nope', '--out', 'x'])"
    )
    env = {"PYTHONPATH": str(Path(proxymask.__file__).parents[1]), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "proxymask fit: starting (loading PyTorch) False"
    assert "--images nope does not exist" in done.stderr


def test_a_set_that_cannot_be_prepared_leaves_the_earlier_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    Image.new("RGB", (16, 16), (90, 0, 0)).save(tmp_path / "good" / "a.png")
    (tmp_path / "bad" / "a.png").write_text("no picture")
    assert run("data", "prepare", tmp_path / "good", "--size", 16, "--out", tmp_path / "set") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    assert run("data", "prepare", tmp_path / "bad", "--size", 16, "--out", tmp_path / "set") == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before
    assert run("inspect", tmp_path / "set") == 0


def test_train_judge_says_which_labels_no_mask_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    ids = np.zeros((16, 16), np.uint8)
    ids[8:] = 1
    for number in range(10):
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(tmp_path / "set" / "images" / f"{number}.png")
        write_mask(tmp_path / "set" / "masks" / f"{number}.png", ids, AVATAR_LABELS)
    AVATAR_LABELS.save(tmp_path / "set" / "labels.json")
    words = ("--width", 8, "--blocks", 1, "--steps", 1, "--batch", 2, "--size", 16, *CPU)
    capsys.readouterr()
    assert run("train", "judge", "--data", tmp_path / "set", "--out", tmp_path / "judge", *words) == 0
    absent = ", ".join(AVATAR_LABELS.names[2:])
    assert f"note: no mask shows {absent}; a label that is in no mask cannot be learned" in capsys.readouterr().err
    assert run("inspect", tmp_path / "judge") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path / 'judge'}: a judge for pictures of 16x16, after 1 step"
    assert said[1].startswith("mIoU ")
    assert said[1].endswith(" on 1 picture")


def test_evaluate_says_which_labels_no_labelled_sample_shows(tiny_bundle: Path, tmp_path: Path) -> None:
    painted = two_labels_painted(tiny_bundle, tmp_path / "painted")
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    config = EvaluationConfig(bundle=str(tiny_bundle), data=tmp_path / "photos", out=tmp_path / "out", count=4, labelled=painted)
    absent = ", ".join(AVATAR_LABELS.names[2:])
    wanted = f"baseline b: no labelled sample shows {absent}: there its table takes the clusters of background"
    assert wanted in open_inputs(config, "cpu", "fp32").notes
