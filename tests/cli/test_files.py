"""Files that verbs read and write: none is lost without a word, none is replaced that was read, no two results share a name."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxymask.cli import main
from proxymask.cli.generate import Generate
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.mask_files import example_masks
from proxymask.imaging.masks import colorize, read_mask

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture
def colours() -> Image.Image:
    """An example mask in the colours of its classes."""
    return Image.fromarray(colorize(read_mask(example_masks() / "beard.png", AVATAR_LABELS, 64), AVATAR_LABELS))


def run(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    """Run a command; returns what it printed, on standard output and on standard error."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    shown = capsys.readouterr()
    return shown.out, shown.err


def test_every_format_is_rendered(colours: Image.Image, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    folder, out = tmp_path / "kinds", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.bmp", "c.tif", "d.gif"):
        colours.save(folder / name)
    (folder / "e.heic").write_bytes(b"x")
    said, notes = run(capsys, "generate", "--mask", folder, "--bundle", tiny_bundle, "--out", out, *CPU)
    assert "4 pictures in" in said
    assert "e.heic" in notes
    assert sorted(path.name for path in out.iterdir()) == ["a__0.png", "b__0.png", "c__0.png", "d__0.png"]


def test_twins_get_two_pictures(colours: Image.Image, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    folder, out = tmp_path / "twins", tmp_path / "out"
    folder.mkdir()
    colours.save(folder / "face.png")
    colours.save(folder / "face.webp", lossless=True)
    said, _ = run(capsys, "generate", "--mask", folder, "--bundle", tiny_bundle, "--out", out, *CPU)
    assert "2 pictures in" in said
    assert len(list(out.iterdir())) == 2


def test_what_cannot_be_opened_is_named_and_the_rest_is_rendered(colours: Image.Image, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    colours.save(folder / "a.png")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / "a.png").read_bytes())
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    for flags in (("--mask", folder), ("--condition", "mask", "--input", folder / "a.png")):
        status = 2 if flags[0] == "--mask" else 0
        said, notes = run(capsys, "generate", *flags, "--bundle", tiny_bundle, "--out", out, *CPU, status=status)
        if status:
            assert "dangling.png is a link to a file that does not exist" in notes
            assert "pointer.png is a Git LFS pointer" in notes
            assert "2 of 4 masks could not be used (named above)" in notes
            assert "2 pictures in" in said


def test_no_verb_replaces_what_it_reads(colours: Image.Image, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    mask = tmp_path / "mask.png"
    colours.save(mask)
    os.link(mask, tmp_path / "hard.png")
    (tmp_path / "link.png").symlink_to(mask)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photo)
    before = mask.read_bytes(), photo.read_bytes()
    bundle = ("--bundle", tiny_bundle)
    for words in (
        ("generate", "--mask", mask, "--out", mask, *bundle, *CPU),
        ("generate", "--mask", mask, "--out", tmp_path / "hard.png", *bundle, *CPU),
        ("generate", "--mask", tmp_path / "link.png", "--out", mask, *bundle, *CPU),
        ("condition", "scribble", mask, "--out", mask, *bundle),
        ("condition", "picture", photo, "--out", photo, *bundle),
        ("mask", "check", mask, "--out", mask, *bundle),
        ("mask", "check", mask, "--over", photo, "--out", photo, *bundle),
    ):
        _, notes = run(capsys, *words, status=2)
        assert "is the input" in notes, words
        assert "give another name" in notes
    assert (mask.read_bytes(), photo.read_bytes()) == before
    run(capsys, "generate", "--mask", tmp_path / "mask.png", "--out", tmp_path / "folder", *bundle, *CPU)
    (tmp_path / "folder" / "mask.png").write_bytes(before[0])
    (tmp_path / "folder" / "mask__0.png").write_bytes(before[0])
    _, notes = run(capsys, "generate", "--mask", tmp_path / "folder", "--out", tmp_path / "folder", *bundle, *CPU, status=2)
    assert "which it would replace" in notes
    assert (tmp_path / "folder" / "mask__0.png").read_bytes() == before[0]


def test_one_sample_is_a_picture_and_several_need_a_folder(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    bundle = ("--bundle", tiny_bundle, *CPU)
    for name in ("one.png", "one.jpg"):
        said, _ = run(capsys, "sample", "--count", 1, "--out", tmp_path / name, *bundle)
        assert said.strip() == f"wrote {tmp_path / name}"
        assert Image.open(tmp_path / name).size == (32, 32)
    _, notes = run(capsys, "sample", "--count", 2, "--out", tmp_path / "two.png", *bundle, status=2)
    assert "samples go into a folder" in notes
    _, notes = run(capsys, "sample", "--count", 1, "--out", tmp_path / "two.png", "--with-proxy", *bundle, status=2)
    assert "samples go into a folder" in notes
    run(capsys, "sample", "--count", 3, "--out", tmp_path / "s", *bundle)
    _, notes = run(capsys, "sample", "--count", 3, "--out", tmp_path / "s", *bundle)
    assert "also holds" not in notes
    _, notes = run(capsys, "sample", "--count", 1, "--out", tmp_path / "s", *bundle)
    assert "also holds 4 files that are not of these samples (000001.json, 000001.png, 000002.json, ...)" in notes


def test_data_sets_go_into_folders(tmp_path: Path, capsys) -> None:
    drawn = ("data", "avatars", "--size", 16, "--workers", 1)
    for name in ("a.txt", "a.png"):
        _, notes = run(capsys, *drawn, "--count", 1, "--out", tmp_path / name, status=2)
        assert "is the name of a file" in notes
    run(capsys, *drawn, "--count", 3, "--out", tmp_path / "set")
    _, notes = run(capsys, *drawn, "--count", 2, "--out", tmp_path / "set")
    assert "also holds 1 avatar of an earlier call" in notes
    (tmp_path / "set" / "images" / "000001.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    said, notes = run(capsys, "data", "prepare", tmp_path / "set", "--size", 16, "--out", tmp_path / "prepared")
    assert "2 pictures of 16x16" in said
    assert "000001.png is a Git LFS pointer" in notes


def test_training_says_how_many_pictures_it_has(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(12):
        if i < 4:
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        else:
            (folder / f"{i}.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    words = ("train", "generator", "--images", folder, "--resolution", 16, "--steps", 1, "--batch", 4, "--out", tmp_path / "run", *CPU)
    _, notes = run(capsys, *words)
    assert "4 of 12 pictures can be used" in notes
    assert "Git LFS pointer" in notes


def test_depth_maps_of_every_suffix_in_a_folder(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    np.save(tmp_path / "a.npy", values)
    Image.fromarray(values).save(tmp_path / "b.pfm")
    Image.fromarray(values).save(tmp_path / "c.tif")
    (tmp_path / "notes.txt").touch()
    groups, left_out = Generate(out=tmp_path / "o", condition=("depth",), input=(tmp_path,))._groups("depth")
    assert [(name, paths[0].suffix) for name, paths in groups] == [("a", ".npy"), ("b", ".pfm"), ("c", ".tif")]
    assert left_out == 0


def test_drawings_in_a_folder(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "a.png")
    words = ("condition", "sketch", folder, "--drawn", "--out", tmp_path / "o.png")
    _, notes = run(capsys, *words, status=2)
    assert "is a folder: give one picture" in notes


def test_pictures_that_are_no_samples_are_not_replaced(colours: Image.Image, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    colours.save(tmp_path / "000001.png")
    _, notes = run(capsys, "sample", "--count", 2, "--out", tmp_path, "--bundle", tiny_bundle, *CPU, status=2)
    assert "000001.png is no sample of proxymask" in notes
    drawn = tmp_path / "drawn" / "000001.json"  # as labelme saves it
    drawn.parent.mkdir()
    drawn.write_text('{"version": "5.4.1", "shapes": []}')
    colours.save(drawn.with_suffix(".png"))
    _, notes = run(capsys, "sample", "--count", 2, "--out", drawn.parent, "--bundle", tiny_bundle, *CPU, status=2)
    assert "rename it to 000001.mask.json" in notes
    assert "shapes" in drawn.read_text()
    demo = tmp_path / "demo"
    (demo / "proxy").mkdir(parents=True)
    colours.save(demo / "proxy" / "mask.png")
    _, notes = run(capsys, "demo", "--masks", demo / "proxy", "--out", demo, "--styles", 1, "--bundle", tiny_bundle, *CPU, status=2)
    assert "lies in a folder that --out" in notes
