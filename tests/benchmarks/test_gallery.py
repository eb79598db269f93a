"""Edits of masks, and every kind of figure from a small data set."""

import shutil
import sys
from pathlib import Path

import gallery
import numpy as np
import pytest
from PIL import Image

from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.drawn_dataset import make_dataset
from proxymask.imaging.labels import LabelSet
from proxymask.inference.find import find_bundle
from proxymask.models.stylegan2 import Generator
from tiny import EMBEDDED_BUNDLE

CHURCH = LabelSet.of([(name, f"#0000{i:02x}") for i, name in enumerate(("sky", "grass", *gallery.BUILDING))])
EYES, SKIN = AVATAR_LABELS.by_name("eyes").id, AVATAR_LABELS.by_name("skin").id


def face() -> np.ndarray:
    """Skin all over, with two eyes of 4 x 4 pixels, 20 pixels apart."""
    mask = np.full((64, 64), SKIN, np.uint8)
    mask[40:44, 20:24] = mask[40:44, 40:44] = EYES
    return mask


def test_third_eye_is_above_the_middle() -> None:
    found = gallery.third_eye(face(), AVATAR_LABELS)
    assert found is not None
    rows, columns = np.nonzero((found == EYES) & (face() != EYES))
    assert len(rows) == 16
    assert (columns.min(), columns.max()) == (30, 33)
    assert rows.max() < 39
    assert (found[face() == EYES] == EYES).all()


def test_third_eye_needs_two_filled_eyes_and_skin() -> None:
    one, thin, covered = face(), face(), face()
    one[:, 30:] = SKIN
    thin[41:44, 21:24] = SKIN
    covered[:39] = AVATAR_LABELS.by_name("top").id
    assert [gallery.third_eye(mask, AVATAR_LABELS) for mask in (one, thin, covered, np.zeros_like(one))] == [None] * 4


def church() -> np.ndarray:
    """A tower of 8 x 32 pixels on grass under the sky, a nave on its left."""
    mask = np.zeros((64, 64), np.uint8)
    mask[56:] = CHURCH.by_name("grass").id
    mask[24:58, 30:38] = CHURCH.by_name("tower").id
    mask[44:58, 10:30] = CHURCH.by_name("wall").id
    return mask


def test_rectangle_in_the_sky() -> None:
    found = gallery.rectangle_in_sky(church(), CHURCH)
    assert found is not None
    rows, columns = np.nonzero(found != church())
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (16, 10)
    assert (found[rows, columns] == CHURCH.by_name("tower").id).all()
    assert (church()[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3] == 0).all()
    assert gallery.rectangle_in_sky(np.ones((64, 64), np.uint8), CHURCH) is None


def test_rectangle_beside_the_tower() -> None:
    found = gallery.rectangle_beside_tower(church(), CHURCH)
    assert found is not None
    rows, columns = np.nonzero(found != church())
    assert (columns.min(), columns.max()) == (39, 46)  # right of the tower, a pixel away; the nave is on its left
    assert (rows.min(), rows.max()) == (40, 57)
    assert gallery.rectangle_beside_tower(np.zeros((64, 64), np.uint8), CHURCH) is None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 avatars of 64 pixels."""
    out = tmp_path_factory.mktemp("gallery") / "avatars"
    make_dataset(out, "avatars", 40, 64, 5, "head", 1, None)
    return out


def draw(monkeypatch: pytest.MonkeyPatch, out: Path, figure: str, *flags: str | Path) -> np.ndarray:
    """The figure with two styles or failures at the pictures' own size."""
    size = ["--bundle", EMBEDDED_BUNDLE, "--rows", "2", "--columns", "2", "--scale", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gallery.py", figure, *map(str, flags), *size])
    gallery.main()
    return np.asarray(Image.open(out))


SIDE = Generator.from_pretrained(find_bundle(EMBEDDED_BUNDLE) / "generator").resolution
CELLS = {"proxy": (3, 4), "condition": (3, 3), "eyes": (3, 3), "failures": (4, 2), "random": (9, 2)}  # rows and columns of pictures


@pytest.mark.parametrize("figure", CELLS)
def test_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path, figure: str) -> None:
    given = draw(monkeypatch, tmp_path / "a.png", figure, "--data", data, "--count", "10")
    assert given.shape == (*(cells * (SIDE + 1) + 1 for cells in CELLS[figure]), 3)
    if figure == "condition":
        samples = draw(monkeypatch, tmp_path / "c.png", figure)
        assert samples.shape == given.shape
        assert not np.array_equal(given, samples)


def test_files_of_the_condition_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> None:
    drawn = shutil.copytree(data, tmp_path / "data")
    (drawn / "sketch").mkdir()
    for number in range(2):
        sheet = Image.new("L", (64, 64), 255)
        sheet.paste(0, (20, 20, 44, 22))
        sheet.save(drawn / "sketch" / f"{number:06d}.png")
    figure = draw(monkeypatch, tmp_path / "a.png", "condition", "--data", drawn)
    first_input = figure[SIDE + 2 : 2 * SIDE + 2, 1 : SIDE + 1, 0]
    scale = SIDE // 64
    assert (first_input < 128).sum() == 48 * scale**2
    assert (first_input[20 * scale : 22 * scale, 20 * scale : 44 * scale] < 128).all()


def test_other_classes_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        draw(monkeypatch, tmp_path / "a.png", "rectangle", "--data", data)
    assert "unknown class 'sky'" in capsys.readouterr().err
