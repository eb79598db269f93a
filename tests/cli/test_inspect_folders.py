"""What ``inspect`` says of folders that the verbs write and that people have: true numbers, and what cannot be opened."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxymask.cli import main


def inspect(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    assert main(["inspect", str(path), *more]) == 0
    return capsys.readouterr().out


def test_a_demo(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my masks").mkdir()
    Image.fromarray(np.tile(np.uint8([0, 1]), (32, 16))).save(tmp_path / "my masks" / "mask.png")
    out = tmp_path / "my demo"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "my masks" / "other.png")
    words = ("--masks", tmp_path / "my masks", "--styles", 1, "--device", "cpu")
    assert main(["demo", "--bundle", str(tiny_bundle), "--out", str(out), *map(str, words)]) == 0
    hint = next(line for line in capsys.readouterr().out.splitlines() if " generate " in line)  # one mask of the folder
    assert main([*shlex.split(hint)[shlex.split(hint).index("generate") : -1], str(tmp_path / "picture.png")]) == 0
    said = inspect(out, capsys).splitlines()
    assert said == [f"{out}: what proxymask demo wrote, 2 pictures in 1 style", f"contact sheet: {out / 'contact_sheet.png'}"]


def test_pictures_that_cannot_be_opened_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    assert f"{folder}: a folder of 1 picture; to make" in inspect(folder, capsys)
    for name in ("b", "c"):
        (folder / f"{name}.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    said = inspect(folder, capsys)
    assert f"{folder}: a folder of 3 pictures, of which 2 cannot be opened (b.png is a Git LFS pointer" in said


def test_examples_and_pictures_in_folders_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples", "--out", str(tmp_path / "ex")]) == 0
    said = inspect(tmp_path / "ex", capsys).splitlines()
    assert said[0] == f"{tmp_path / 'ex'}: a folder of 9 pictures with labels.json:"
    assert len(said) == 10
    (tmp_path / "ex" / "labels.json").unlink()
    assert "a folder of 9 pictures; to make a prepared set" in inspect(tmp_path / "ex", capsys)


def test_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "depth.npy", np.float32([[1, 2.5], [np.inf, np.nan]]))
    said = inspect(tmp_path / "depth.npy", capsys).strip()
    assert said == f"{tmp_path / 'depth.npy'}: a NumPy array, float32 of shape (2, 2), from 1 to 2.5"
    np.save(tmp_path / "ids.npy", np.full((8, 8), 7, np.uint8))
    assert f"{tmp_path / 'ids.npy'}: a mask" in inspect(tmp_path / "ids.npy", capsys, "--bundle", "avatars")


def test_inspect_names_pictures_beside_what_was_prepared_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``fit`` keeps the prepared pictures in a hidden folder among them."""
    for index in range(3):
        Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / f"{index}.png")
    assert main(["data", "prepare", str(tmp_path), "--size", "16", "--out", str(tmp_path / ".prepared-16")]) == 0
    shown = inspect(tmp_path, capsys)
    assert "a folder of 3 pictures" in shown
    assert "a prepared set of 3 pictures of 16x16" in shown
