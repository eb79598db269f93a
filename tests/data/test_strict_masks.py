"""Sets whose masks have soft edges: they are read with a note that names them, and ``strict`` leaves them out."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.dataset import ImageSet
from proxymask.data.prepare import prepare_folder
from proxymask.evaluation import EvaluationConfig
from proxymask.evaluation.inputs import open_inputs


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two pictures; the mask of the second was resized smoothly."""
    folder = tmp_path / "my set"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    ids = np.zeros((256, 256), np.uint8)
    ids[60:200, 60:200] = 7
    colours = Image.fromarray(AVATAR_LABELS.colors[ids])
    for name, how in (("exact", Image.Resampling.NEAREST), ("soft", Image.Resampling.BILINEAR)):
        Image.new("RGB", (100, 100), "red").save(folder / "images" / f"{name}.png")
        colours.resize((100, 100), how).save(folder / "masks" / f"{name}.png")
    AVATAR_LABELS.save(folder / "labels.json")
    return folder


def test_soft_masks_are_noted_and_strict_leaves_them_out(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a note is said once, by the report
        report = prepare_folder(labelled, tmp_path / "read", 32)
    assert (report.kept, len(report.notes)) == (2, 1)
    assert report.notes[0].startswith(f"{labelled / 'masks' / 'soft.png'}: ")
    assert "% of its pixels" in report.notes[0]
    words = ["data", "prepare", str(labelled), "--size", "32", "--out", str(tmp_path / "strict"), "--strict"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"1 picture of 32x32 in {tmp_path / 'strict'}; 1 skipped" in said.out
    assert "skipped: " in said.err
    assert "this is refused with --strict" in said.err
    assert ImageSet.open(tmp_path / "strict", strict=True).names == ["exact.png"]
    with pytest.raises(ProxymaskError, match="were prepared without it"):
        ImageSet.open(tmp_path / "read", strict=True)


def test_a_set_that_is_prepared_on_the_way_follows_strict(labelled: Path) -> None:
    warnings.simplefilter("ignore")
    for strict, count in ((False, 2), (True, 1), (True, 1), (False, 2)):
        assert len(ImageSet.open(labelled, 32, strict=strict)) == count


def test_evaluate_reads_masks_strictly(labelled: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(bundle=str(tiny_bundle), data=labelled, out=tmp_path / "out", count=2, parts=("own-mask",), strict=True)
    with pytest.warns(UserWarning, match="1 of 2 pictures can be used"):
        inputs = open_inputs(config, "cpu", "fp32")
    assert len(inputs.real) == 1
    assert "--data has 1 picture: the reference is these, not 2" in inputs.notes
