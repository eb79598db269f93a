import json

import numpy as np
import pytest

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import Label, LabelSet


@pytest.fixture
def labels() -> LabelSet:
    return LabelSet.of([("background", "#000000"), ("hair", "#ff8000"), ("skin", "#0102fe")])


def test_round_trip(labels, tmp_path):
    labels.save(tmp_path / "labels.json")
    assert LabelSet.load(tmp_path / "labels.json") == labels
    assert json.loads((tmp_path / "labels.json").read_text())["labels"][1] == {"id": 1, "name": "hair", "color": "#ff8000"}


def test_colors_and_palette(labels):
    assert labels.colors.dtype == np.uint8
    assert labels.colors.tolist() == [[0, 0, 0], [255, 128, 0], [1, 2, 254]]
    assert labels.palette()[:9] == [0, 0, 0, 255, 128, 0, 1, 2, 254]
    assert len(labels.palette()) == 768


def test_class_by_name(labels):
    assert labels.by_name("skin") == Label(2, "skin", (1, 2, 254))
    with pytest.raises(ProxymaskError, match=r"'lips'.*background, hair, skin"):
        labels.by_name("lips")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(1, "a", "#000000")], "0, 1, 2"),
        ([(0, "a", "#000000"), (2, "b", "#000001")], "without gaps"),
        ([(0, "a", "#000000"), (1, "a", "#000001")], "name used twice: a"),
        ([(0, "a", "#000000"), (1, "b", "#000000")], "colour used twice: #000000"),
        ([(0, "a", "black")], "#rrggbb"),
        ([(0, " ", "#000000")], "empty name"),
        ([(0, "a\x1b[2Jb", "#000000")], "cannot be printed"),
        ([("0", "a", "#000000")], "entry 0"),
        ([(True, "a", "#000000")], "entry 0"),
        ([], "1 to 255"),
        ([(i, f"c{i}", f"#0000{i:02x}") for i in range(256)], "has 256"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, entries, message):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labels": [{"id": i, "name": n, "color": c} for i, n, c in entries]}))
    with pytest.raises(ProxymaskError, match=message) as caught:
        LabelSet.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"labels": {}}', '{"labels": [1]}', '{"labels": [{"id": 0, "name": "a"}]}'])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ProxymaskError, match="labels"):
        LabelSet.load(tmp_path / "labels.json")
    with pytest.raises(ProxymaskError, match="missing"):
        LabelSet.load(tmp_path / "none.json")


def test_colours_out_of_range_are_refused():
    with pytest.raises(ProxymaskError, match=r"0\.\.255"):
        LabelSet((Label(0, "a", (0, 0, 256)),))


def test_mirrored_ids() -> None:
    """The classes of CelebAMask-HQ, and other spellings; words that only contain the letters have no side."""
    labels = LabelSet.of(
        [(name, f"#0000{i:02x}") for i, name in enumerate(["skin", "l_eye", "r_eye", "Left Ear", "right-ear", "bright", "left_hand"])]
    )
    assert labels.mirrored is not None
    assert labels.mirrored[:8].tolist() == [0, 2, 1, 4, 3, 5, 6, 7]
    assert labels.mirrored[255] == 255
    assert LabelSet.of([("left", "#000000"), ("hair", "#000001")]).mirrored is None
