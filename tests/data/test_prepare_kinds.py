"""Preparing folders as people have them: deep pictures, profiles, animations, broken files, links, names of any bytes."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json
from proxymask.data.dataset import ImageSet
from proxymask.data.prepare import prepare_folder, source_files

GREY = np.add.outer(np.arange(32) * 3, np.arange(32) * 2).astype(np.uint16) + 90  # 90 to 245


def levels(folder: Path) -> dict[str, float]:
    """Mean of each picture of a set, 0 to 255."""
    pictures = ImageSet.open(folder)
    return {name: float((pictures.images([i]) + 1).mean() * 127.5) for i, name in enumerate(pictures.names)}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def test_the_range_of_deep_pictures_is_that_of_their_set(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, part in (("bright", 1.0), ("dim", 0.25), ("dark", 0.1)):  # three pictures of one camera of 12 bits
        Image.fromarray((GREY * 16 * part).astype(np.uint16)).save(folder / f"{name}.png")
    Image.fromarray(GREY.astype(np.uint8)).save(folder / "eight.png")
    report = prepare_folder(folder, tmp_path / "out", 32)
    assert report.notes == ["3 grey pictures have more than 8 bits: read as 12 bits (0 to 4,095)"]
    got, full = levels(tmp_path / "out"), float(GREY.mean())
    assert got["bright.png"] == pytest.approx(full, abs=1)
    assert got["dim.png"] == pytest.approx(full / 4, abs=1)
    assert got["dark.png"] == pytest.approx(full / 10, abs=1)
    assert got["eight.png"] == pytest.approx(full, abs=1)


def test_pictures_of_fewer_bits_than_their_set_are_not_black(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, times in (("twelve", 16), ("ten", 4), ("sixteen", 257)):
        Image.fromarray(GREY * np.uint16(times)).save(folder / f"{name}.png")
    report = prepare_folder(folder, tmp_path / "out", 32)
    assert all(level == pytest.approx(float(GREY.mean()), abs=1) for level in levels(tmp_path / "out").values())
    (note,) = report.notes
    assert "3 grey pictures" in note
    assert "except 2 that would be nearly black (ten.png as 10 bits (0 to 1,023), twelve.png as 12 bits" in note


def test_pictures_of_every_format_and_kind(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    base = Image.fromarray(np.dstack([GREY, GREY, GREY[::-1]]).astype(np.uint8))
    for suffix in ("png", "jpg", "webp", "bmp", "tif", "gif", "ppm"):
        base.save(folder / f"a.{suffix}", **({"quality": 98} if suffix in ("jpg", "webp") else {}))
    base.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", base.size)])
    base.save(folder / "lie.jpg", "PNG")
    report = prepare_folder(folder, tmp_path / "out", 32)
    assert report.kept == 9
    assert report.notes == ["1 picture: it holds several pictures (an animation or pages): the first is read"]
    pictures = ImageSet.open(tmp_path / "out")
    wanted = np.asarray(base).astype(float)
    for i, name in enumerate(pictures.names):
        got = ((pictures.images([i])[0] + 1) * 127.5).permute(1, 2, 0).numpy()
        assert np.abs(got - wanted).mean() < (8 if "gif" in name else 2), name


def test_what_is_left_out_is_said_now_and_later(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(40):
        if i < 10:
            Image.fromarray(GREY.astype(np.uint8)).save(folder / f"{i:03d}.png")
        else:
            (folder / f"{i:03d}.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "photo.heic").write_bytes(b"x")
    for _ in range(2):  # prepared, and taken again
        with pytest.warns(UserWarning, match="left out") as said:
            assert len(ImageSet.open(folder, 16)) == 10
        texts = [str(warning.message) for warning in said]
        assert any("10 of 40 pictures can be used" in text and "Git LFS pointer" in text and "and 25 more" in text for text in texts)
        assert any("photo.heic" in text for text in texts)
    report = prepare_folder(folder, tmp_path / "out", 16)
    assert (report.kept, len(report.skipped), len(report.others)) == (10, 30, 1)
    assert report.skipped[0][1].startswith("is a Git LFS pointer")


def test_links_pipes_and_names_of_any_bytes_do_not_end_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(GREY.astype(np.uint8)).save(folder / "a.png")
    latin = os.fsdecode(b"caf\xe9.png")
    for name in (latin, "new\nline.png", "画像.png"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "self.png").symlink_to("self.png")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    assert len(source_files(folder).files) == 4
    report = prepare_folder(folder, tmp_path / "out", 16)
    assert report.kept == 4
    assert sorted(path.name for path, _ in report.skipped) == ["dangling.png", "pipe.png", "self.png"]
    assert latin in read_json(tmp_path / "out" / "index.json")["names"]
    assert latin in ImageSet.open(tmp_path / "out").names
    assert len(ImageSet.open(folder, 16)) == 4  # by way of the hash of the files
    only = tmp_path / "only"
    only.mkdir()
    (only / "a.png").symlink_to("nowhere")
    with pytest.raises(ProxymaskError, match=r"holds no pictures: .*a\.png is a link to a file that does not exist"):
        prepare_folder(only, tmp_path / "out2", 16)


def test_wrong_outputs_and_empty_paths_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ProxymaskError, match="is the name of a file"):
        prepare_folder(tmp_path, tmp_path / "set.zip", 16)
    for images, out in (("", tmp_path / "x"), (tmp_path, "")):
        with pytest.raises(ProxymaskError, match=r"is an empty path|must be a path"):
            prepare_folder(images, out, 16)
    with pytest.raises(ProxymaskError, match=r"is an empty path|must be a path"):
        ImageSet.open("", 16)
