import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from proxymask.cli import main
from proxymask.cli.contact_sheet import CAPTION, CELL, GAP, MARGIN, TITLE
from proxymask.cli.demo_pictures import run_demo, varied_styles
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.scenes.churches import CHURCH_LABELS
from proxymask.evaluation.judge import Judge, shipped_judges
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.mask_files import example_masks, examples_with, find_masks, write_example_masks
from proxymask.imaging.masks import read_mask
from proxymask.imaging.pictures import legend, write_picture
from proxymask.inference.find import list_bundles
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.segmentation import SegmentationScore

STYLES = 3


@pytest.fixture(scope="module")
def synth(tiny_bundle):
    return Synthesizer.from_pretrained(tiny_bundle, "cpu", "fp32")


@pytest.mark.parametrize(
    ("name", "labels", "drawn"),
    [
        ("avatars", AVATAR_LABELS, {"rectangular-head", "three-eyes", "giant-mouth", "half-off-canvas"}),
        ("churches", CHURCH_LABELS, {"rectangle", "three-towers", "slender-tower", "half-off-the-picture"}),
    ],
)
def test_examples_are_masks(name, labels, drawn):
    assert examples_with(labels) == example_masks(name)
    assert LabelSet.load(example_masks(name) / "labels.json") == labels
    masks = find_masks(example_masks(name), labels)
    free = [mask.name for mask in masks if mask.name.startswith("free-form/")]
    assert {f"free-form/{one}" for one in drawn} <= set(free)
    assert len(masks) - len(free) >= 4
    for mask in masks:
        ids = read_mask(mask.path, labels)
        assert ids.shape == (256, 256)
        with Image.open(mask.path) as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), ids)  # index = id
            assert picture.getpalette()[: 3 * len(labels)] == labels.palette()[: 3 * len(labels)]


def test_classes_without_examples(synth, tmp_path):
    """Examples of other classes would be read as masks of these, with the wrong classes."""
    renamed = LabelSet(tuple(dataclasses.replace(label, name=label.name.upper()) for label in AVATAR_LABELS.labels))
    assert examples_with(renamed) is None
    with pytest.raises(ProxymaskError, match=r"no example masks with the classes of the bundle .BACKGROUND, .*proxymask sample"):
        write_example_masks(tmp_path / "examples", renamed)
    bundle = dataclasses.replace(synth.bundle, labels=renamed)
    with pytest.raises(ProxymaskError, match=r"no example masks .*: give masks MASKS"):
        run_demo(Synthesizer(bundle), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_the_examples_are_written_once(tmp_path, capsys):
    out = tmp_path / "my masks"
    assert main(["examples", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    names = {mask.path.relative_to(example_masks()) for mask in find_masks(example_masks(), AVATAR_LABELS)}
    assert {file.relative_to(out) for file in out.rglob("*.png")} == names
    for name in names:
        assert (out / name).read_bytes() == (example_masks() / name).read_bytes()
    assert LabelSet.load(out / "labels.json") == AVATAR_LABELS
    assert "proxymask mask check" in (out / "README.md").read_text()
    hint = shlex.split(shown.partition("next: ")[2])
    assert Path(hint[hint.index("--mask") + 1]).is_file()  # quoted, though the path has a space
    assert len(find_masks(out, AVATAR_LABELS)) == len(names)
    (out / "beard.png").write_bytes(b"mine")
    assert main(["examples", "--out", str(out)]) == 2
    assert "holds files: give a new or an empty folder" in capsys.readouterr().err
    assert (out / "beard.png").read_bytes() == b"mine"
    assert main(["examples", "--out", str(out / "beard.png")]) == 2
    assert "is a file: give" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["examples", "--out", str(tmp_path / "empty")]) == 0


def test_demo_command_writes_everything(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "demo"
    words = ["demo", "--bundle", str(tiny_bundle), "--out", str(out), "--styles", str(STYLES), "--device", "cpu", "--precision", "fp32"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert str(out / "contact_sheet.png") in shown
    for verb in ("generate --bundle", "mask check", "sample --bundle"):
        assert shown.count(verb) == 1
    masks = find_masks(example_masks(), AVATAR_LABELS)
    assert len(list((out / "styles").iterdir())) == STYLES
    assert len(list((out / "pictures").rglob("*.png"))) == STYLES * len(masks)
    assert len(list((out / "proxy").rglob("*.png"))) == len(masks)
    with Image.open(out / "contact_sheet.png") as sheet:
        width = 2 * MARGIN + (2 + STYLES) * (CELL + GAP) - GAP
        rows = (len(masks) + 1) * (CELL + GAP + CAPTION) + 3 * TITLE  # the title and two sections
        assert sheet.size == (width, rows + 2 * MARGIN + legend(AVATAR_LABELS, width - 2 * MARGIN).height)
        colors = {color for _, color in sheet.getcolors(sheet.width * sheet.height)}
    assert {label.color for label in AVATAR_LABELS.labels} <= colors


def test_a_demo_of_another_bundle_has_a_folder_of_its_own(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = str(next(example_masks().rglob("*.png")))
    assert main(["demo", "--bundle", str(tiny_bundle), "--masks", mask, "--styles", "1", "--device", "cpu"]) == 0
    assert (tmp_path / "demo" / tiny_bundle.name / "contact_sheet.png").is_file()
    assert not (tmp_path / "demo" / "contact_sheet.png").exists()


def test_demo_repeats_exactly(synth, tmp_path):
    first, second = (run_demo(synth, tmp_path / name, example_masks() / "free-form", STYLES) for name in "ab")
    files = sorted(path.relative_to(first.parent) for path in first.parent.rglob("*.png"))
    assert files == sorted(path.relative_to(second.parent) for path in second.parent.rglob("*.png"))
    for file in files:
        assert (first.parent / file).read_bytes() == (second.parent / file).read_bytes()


def test_styles_are_distinct_and_their_own_samples(synth):
    seeds, samples = varied_styles(synth, 5)
    assert len(set(seeds)) == 5
    picture = synth.sample(synth.w([seeds[1]]))[0]
    expected = picture[0].add(1).mul(127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(samples[1].astype(float) - expected).max() <= 1


def test_demo_refuses_before_it_works(synth, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProxymaskError, match="holds no masks"):
        run_demo(synth, tmp_path / "out", tmp_path / "empty")
    with pytest.raises(ProxymaskError, match="styles"):
        run_demo(synth, tmp_path / "out", styles=0)
    assert not (tmp_path / "out").exists()


def test_demo_says_first_what_it_cannot_read_or_write(synth, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "itself.png").symlink_to("itself.png")
    with pytest.raises(ProxymaskError, match=r"itself\.png cannot be opened"):
        run_demo(synth, tmp_path / "out", tmp_path / "masks")
    (tmp_path / "file").write_text("x")
    done = []
    with pytest.raises(ProxymaskError, match=r"cannot write .*file/out"):
        run_demo(synth, tmp_path / "file" / "out", example_masks() / "free-form", progress=lambda *at: done.append(at))
    assert not done


@pytest.mark.parametrize("words", [("generate", "--mask", "MASK"), ("sample", "--count", "1"), ("mask", "check", "MASK")])
def test_a_place_that_cannot_be_written_is_said_before_any_work(words, tiny_bundle, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    mask = str(next(example_masks().glob("*.png")))
    main([*(mask if word == "MASK" else word for word in words), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "file" / "a.png")])
    said = capsys.readouterr()
    assert "cannot write" in said.err
    assert "1/1" not in said.out + said.err


def test_write_picture(tmp_path):
    picture = Image.new("RGB", (4, 4))
    assert write_picture(tmp_path / "new" / "x.jpg", picture).is_file()
    with pytest.raises(ProxymaskError, match=r"\.png"):
        write_picture(tmp_path / "x.xyz", picture)
    (tmp_path / "file").write_text("")
    with pytest.raises(ProxymaskError, match="cannot write"):
        write_picture(tmp_path / "file" / "x.png", picture)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "new"]


@pytest.mark.parametrize("name", list_bundles())
def test_the_pictures_of_the_embedded_bundles_show_the_masks(name, tmp_path):
    """Read by the first judge of the domain; far below what evaluate measures, as these are few and odd masks."""
    synth = Synthesizer.from_pretrained(name)
    sheet = run_demo(synth, tmp_path, styles=2)
    with Image.open(sheet) as picture:
        assert np.asarray(picture).std() > 20
    judge = Judge.load(shipped_judges(synth.labels)[0])
    score = SegmentationScore(judge.labels.names)
    for mask in find_masks(example_masks(name), synth.labels):
        target = torch.tensor(read_mask(mask.path, synth.labels, synth.size))[None]
        for file in (tmp_path / "pictures").rglob(f"{mask.path.stem}__*.png"):
            picture = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 127.5 - 1
            score.update(judge.predict(picture)[0], judge.resized_masks(target))
    assert score.summary()["accuracy"] > 0.75
    assert score.summary()["miou"] > 0.4
