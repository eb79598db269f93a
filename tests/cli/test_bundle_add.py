"""``bundle add`` of a grown generator, with which all other networks stay, and of a segmenter."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import write_json
from proxymask.imaging.labels import LabelSet
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.discriminator import Discriminator
from proxymask.models.unet_mapper import UNetMapper

CPU = ("--device", "cpu")
QUICK = ("--steps", 2, "--batch", 2, "--checkpoint-every", 2, *CPU)


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a detail network and a mapper of drawings."""
    bundle = tiny.make_bundle()
    width = bundle.generator.synthesis.block(tiny.SIZE).conv1.weight.shape[0]
    bundle.details["mask"] = DetailNetwork(len(tiny.LABELS), width, tiny.SIZE, tiny.CUT, width=4)
    bundle.mappers["sketch"] = UNetMapper(1, tiny.K, tiny.CUT, tiny.SIZE, channel_base=128, channel_max=8)
    bundle.conditions["sketch"] = {"condition": "sketch", "channels": 1}
    return bundle.save(tmp_path_factory.mktemp("small") / "small")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 255, (8, 2 * tiny.SIZE, 2 * tiny.SIZE, 3), np.uint8)
    for index, picture in enumerate(noise):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def grow(small: Path, pictures: Path, out: Path, new_blocks_only: bool = True) -> Path:
    old = Bundle.load(small).generator.config
    widths = ("--channel-base", old["channel_base"], "--channel-max", old["channel_max"], "--new-blocks-only", new_blocks_only)
    words = ("train", "generator", "--images", pictures, "--grow-from", small, "--discriminator-first", 1, *widths, "--learning-rate", 0.1)
    assert run(*words, "--out", out, "--steps", 3, "--batch", 2, "--checkpoint-every", 3, *CPU) == 0
    return out


def test_a_grown_generator_leaves_nothing_else_to_train(
    small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = grow(small, pictures, tmp_path / "grown")
    assert f"bundle add {grown} --bundle {small} --out larger-bundle" in capsys.readouterr().out
    assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "large") == 0
    assert "edit" in capsys.readouterr().err
    assert run("bundle", "add", grown, "--bundle", tmp_path / "large", "--out", tmp_path / "x") == 2
    assert "its pictures are no larger" in capsys.readouterr().err
    assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "large") == 2
    assert f"add to it with --bundle {tmp_path / 'large'}" in capsys.readouterr().err
    assert run("bundle", "add", grown / "generator", "--bundle", small, "--out", tmp_path / "x") == 2
    assert f"give the run folder of its training, {grown}" in capsys.readouterr().err
    assert run("bundle", "add", grown, "--bundle", small, "--name", "new", "--out", tmp_path / "x") == 2
    assert "leave --name out" in capsys.readouterr().err
    old, new = Bundle.load(small), Bundle.load(tmp_path / "large")
    assert new.resolution == 2 * old.resolution
    assert (sorted(new.mappers), sorted(new.details)) == (["mask", "sketch"], ["mask"])
    for ours, theirs in (
        (new.clusters, old.clusters),
        (new.rearranger, old.rearranger),
        (new.mappers["mask"], old.mappers["mask"]),
        (new.details["mask"], old.details["mask"]),
    ):
        assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
    assert new.segmenter is not None
    assert new.segmenter.resolution == 2 * tiny.SIZE

    # samples have the same labels; the same mask in the same style asks for the same proxy mask, and is drawn at twice the size
    answers = [Synthesizer(bundle, "cpu", "fp32") for bundle in (old, new)]
    w = answers[0].w([1, 2, 3])
    before, after = (synth.sample(w)[2] for synth in answers)
    assert before is not None
    assert after is not None
    assert (after[:, ::2, ::2] == before).float().mean() > 0.9
    mask = np.zeros((old.resolution, old.resolution), np.uint8)
    mask[4:9, 5:12] = 2
    first, second = answers[0].generate(mask, 3), answers[1].generate(mask.repeat(2, 0).repeat(2, 1), 3)
    assert second.picture.size == (2 * tiny.SIZE, 2 * tiny.SIZE)
    assert np.array_equal(first.proxy_mask, second.proxy_mask)

    # a drawing or photo of any size is read at the size of the mapper
    thin = np.full((150, 150), 255, np.uint8)
    thin[40, 20:130] = thin[20:110, 70] = 0
    photo = np.random.default_rng(1).integers(0, 255, (7, 7, 3), np.uint8).repeat(30, 0).repeat(30, 1)
    lines = np.full_like(mask, 255)
    lines[4, 3:12] = lines[4:12, 3] = 0
    for given, from_photo in ((lines, False), (thin, False), (photo, True)):
        first, second = (synth.generate(given, 3, condition="sketch", from_photo=from_photo) for synth in answers)
        assert np.array_equal(first.proxy_mask, second.proxy_mask)
        assert len(np.unique(first.proxy_mask)) > 1

    # so is one that is found in pictures as tensors, of either size
    small_picture = torch.from_numpy(np.random.default_rng(2).random((1, 3, tiny.SIZE, tiny.SIZE), np.float32)) * 2 - 1
    large_picture = small_picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    planes = [
        synth.extract_condition(synth.condition("sketch"), picture)
        for synth, picture in zip(answers, (small_picture, large_picture), strict=True)
    ]
    assert torch.equal(planes[0].repeat_interleave(2, 2).repeat_interleave(2, 3), planes[1])
    assert 0 < float(planes[0].mean()) < 1
    Image.fromarray(photo).save(tmp_path / "photo.png")
    seen = [tmp_path / "small.png", tmp_path / "large.png"]
    for bundle, out in zip((small, tmp_path / "large"), seen, strict=True):
        assert run("condition", "sketch", tmp_path / "photo.png", "--bundle", bundle, "--out", out) == 0
    assert seen[0].read_bytes() == seen[1].read_bytes()
    with pytest.raises(ProxymaskError, match="made with another bundle"):
        answers[1].generate(thin, answers[0].make_style(3), condition="sketch")

    # a segmenter for the new generator goes in by the same verb
    labelled = tmp_path / "labelled"
    assert run("sample", "--bundle", tmp_path / "large", "--count", 1, "--out", labelled, *CPU) == 0
    stem = next(labelled.glob("*.json")).stem
    assert run("sample", "--bundle", small, "--count", 1, "--with-labels", "--out", tmp_path / "labels", *CPU) == 0
    shutil.copy(tmp_path / "labels" / f"{stem}.labels.png", labelled / f"{stem}.mask.png")  # the same seed is the same sample
    words = ("train", "segmenter", "--labels", labelled, "--style-transfer-max-labels", 0, *QUICK)
    assert run(*words, "--bundle", tmp_path / "large", "--out", tmp_path / "segmenter") == 0  # labels.json is the bundle's
    assert f"bundle add {tmp_path / 'segmenter'} --bundle {tmp_path / 'large'} --out {tmp_path / 'large'}" in capsys.readouterr().out
    assert run("bundle", "add", tmp_path / "segmenter", "--bundle", small, "--out", tmp_path / "x") == 2
    assert "another generator" in capsys.readouterr().err
    assert run("bundle", "add", tmp_path / "segmenter", "--bundle", tmp_path / "large", "--out", tmp_path / "whole") == 0
    whole = Bundle.load(tmp_path / "whole")
    assert whole.segmenter is not None
    assert whole.segmenter.resolution == 2 * tiny.SIZE
    shutil.copytree(tmp_path / "segmenter", tmp_path / "other-labels")
    text = (tmp_path / "other-labels" / "labels.json").read_text().replace(tiny.LABELS.names[1], "something")
    (tmp_path / "other-labels" / "labels.json").write_text(text)
    assert run("bundle", "add", tmp_path / "other-labels", "--bundle", tmp_path / "large", "--out", tmp_path / "x") == 2
    assert "has the labels" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_mappers_of_other_labels_are_refused(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.load(small)
    bundle.mappers["mask"].save_pretrained(tmp_path / "run" / "mapper")
    pairs = [(label.name, label.hex) for label in tiny.LABELS.labels]
    LabelSet.of(pairs[::-1]).save(tmp_path / "run" / "labels.json")
    assert run("bundle", "add", tmp_path / "run", "--bundle", small, "--out", tmp_path / "x") == 2
    assert "has the labels" in capsys.readouterr().err
    bundle.labels = bundle.segmenter = None
    bundle.mappers, bundle.details, bundle.conditions = {}, {}, {}
    bare = bundle.save(tmp_path / "bare")
    assert run("bundle", "add", tmp_path / "run", "--bundle", bare, "--out", tmp_path / "with") == 0
    assert Bundle.load(tmp_path / "with").labels == LabelSet.of(pairs[::-1])


def test_the_first_mapper_brings_its_mode(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle without mappers takes the mode of proxy masks that its first mapper was trained for; one with mappers keeps its own."""
    bundle, sketch = Bundle.load(small), tmp_path / "run"
    bundle.mappers["sketch"].save_pretrained(sketch / "mapper")
    write_json(sketch / "condition.json", {"condition": "sketch", "channels": 1, "proxy_mask_mode": "style-prior"})
    assert run("bundle", "add", sketch, "--bundle", small, "--name", "other", "--out", tmp_path / "kept") == 0
    assert "mode style-prior, the bundle uses soft" in capsys.readouterr().err
    assert Synthesizer.from_pretrained(tmp_path / "kept", *CPU[1:]).proxy_mask_mode == "soft"
    bundle.mappers, bundle.details, bundle.conditions = {}, {}, {}
    assert run("bundle", "add", sketch, "--bundle", bundle.save(tmp_path / "bare"), "--out", tmp_path / "with") == 0
    assert "mode" not in capsys.readouterr().err
    assert Synthesizer.from_pretrained(tmp_path / "with", *CPU[1:]).proxy_mask_mode == "style-prior"


def test_a_detail_network_of_other_features_is_refused(small: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(small)
    bundle.details["mask"] = DetailNetwork(len(tiny.LABELS), 3, tiny.SIZE, tiny.CUT, width=4)
    with pytest.raises(ProxymaskError, match="proxymask train detail"):
        Bundle.load(bundle.save(tmp_path / "bundle"))


def test_a_generator_whose_old_blocks_changed_is_refused(
    small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = grow(small, pictures, tmp_path / "grown", new_blocks_only=False)
    capsys.readouterr()
    assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "x") == 2
    assert f"--grow-from {small} --new-blocks-only True" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_is_no_run_and_no_place(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("bundle", "add", small / "mappers" / "mask", "--bundle", small, "--out", "avatars") == 2
    assert "--out avatars is the name of an embedded bundle: choose another --out" in capsys.readouterr().err
    assert run("bundle", "add", small / "mappers" / "sketch", "--bundle", small, "--out", "new") == 2
    assert "a network alone, without its condition.json: give the run folder of its training" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_growths_that_cannot_be(small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "generator", "--images", pictures, "--out", tmp_path / "x", *QUICK)
    assert run(*words, "--new-blocks-only", True) == 2
    assert "goes with --grow-from" in capsys.readouterr().err
    tiny.make_generator(start=(4, 8)).save_pretrained(tmp_path / "wide" / "generator")
    assert run(*words, "--grow-from", tmp_path / "wide", "--discriminator-first", 1) == 2
    assert "only generators that start with 4x4 grow" in capsys.readouterr().err
    for folder, said in ((tmp_path / "nothing", "does not exist"), (pictures, "holds no mapper, detail network")):
        assert run("bundle", "add", folder, "--bundle", small, "--out", tmp_path / "x") == 2
        assert said in capsys.readouterr().err
    assert run("bundle", "add", "churches", "--bundle", small, "--out", tmp_path / "x") == 2
    assert "is a bundle" in capsys.readouterr().err


def test_a_wider_discriminator_stays_as_wide(small: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(small / "generator", tmp_path / "run" / "generator")
    judge = Discriminator(tiny.SIZE, channel_base=1024, channel_max=32, mbstd_group=1)
    judge.save_pretrained(tmp_path / "run" / "discriminator")
    words = ("train", "generator", "--images", pictures, "--grow-from", tmp_path / "run", "--new-blocks-only", True, *QUICK)
    assert run(*words, "--out", tmp_path / "grown") == 0
    assert Discriminator.from_pretrained(tmp_path / "grown" / "discriminator").config["channel_max"] == 32
    assert run(*words, "--steps", 4, "--out", tmp_path / "grown") == 0  # goes on
