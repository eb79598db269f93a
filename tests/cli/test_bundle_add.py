"""``bundle add`` of a grown generator and of a segmenter: what still fits stays, the rest is left out and named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
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


def grow(small: Path, pictures: Path, out: Path, frozen: int) -> Path:
    old = Bundle.load(small).generator.config
    widths = ("--channel-base", old["channel_base"], "--channel-max", old["channel_max"], "--frozen-resolution", frozen)
    words = ("train", "generator", "--images", pictures, "--grow-from", small, "--discriminator-first", 1, *widths, "--learning-rate", 0.1)
    assert run(*words, "--out", out, "--steps", 3, "--batch", 2, "--checkpoint-every", 3, *CPU) == 0
    return out


def test_a_grown_generator_keeps_what_fits(small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grown = grow(small, pictures, tmp_path / "grown", tiny.CUT)
    assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "large") == 0
    said = capsys.readouterr().err
    assert "gets no segmenter and no detail networks" in said
    assert "edit" in said
    assert "without the labels of the style" not in said  # no mapper here reads them
    assert run("bundle", "add", grown, "--bundle", tmp_path / "large", "--out", tmp_path / "x") == 2
    assert "already" in capsys.readouterr().err
    assert run("bundle", "add", grown, "--bundle", small, "--name", "new", "--out", tmp_path / "x") == 2
    assert "leave --name out" in capsys.readouterr().err
    old, new = Bundle.load(small), Bundle.load(tmp_path / "large")
    assert new.resolution == 2 * old.resolution
    assert (sorted(new.mappers), new.segmenter, new.details) == (["mask", "sketch"], None, {})
    for part in ("clusters", "rearranger"):
        theirs, ours = getattr(old, part).state_dict(), getattr(new, part).state_dict()
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)

    # the same mask in the same style asks for the same proxy mask, and is drawn at twice the size
    mask = np.zeros((old.resolution, old.resolution), np.uint8)
    mask[4:9, 5:12] = 2
    answers = [Synthesizer(bundle, "cpu", "fp32") for bundle in (old, new)]
    answers[0].bundle.segmenter = None  # which the large one has not
    answers[0].bundle.details.clear()
    lines = np.full_like(mask, 255)
    lines[4, 3:12] = lines[4:12, 3] = 0
    for condition, drawing in (("mask", mask), ("sketch", lines)):
        given = [(synth, drawing.repeat(scale, 0).repeat(scale, 1)) for synth, scale in zip(answers, (1, 2), strict=True)]
        first, second = (synth.generate(one, 3, condition=condition) for synth, one in given)
        assert second.picture.size == (2 * tiny.SIZE, 2 * tiny.SIZE)
        assert np.array_equal(first.proxy_mask, second.proxy_mask), condition

    # the smaller generator can be put back, without mappers of drawings
    shutil.copytree(small / "generator", tmp_path / "old" / "generator")
    assert run("bundle", "add", small, "--bundle", tmp_path / "large", "--out", tmp_path / "again") == 2
    assert "is a bundle" in capsys.readouterr().err
    assert run("bundle", "add", tmp_path / "old", "--bundle", tmp_path / "large", "--out", tmp_path / "again") == 0
    assert "no mapper sketch" in capsys.readouterr().err
    again = Bundle.load(tmp_path / "again")
    assert (again.resolution, sorted(again.mappers), again.conditions) == (old.resolution, ["mask"], {})
    synth = Synthesizer(again, "cpu", "fp32")
    assert np.array_equal(np.asarray(synth.generate(mask, 3).picture), np.asarray(answers[0].generate(mask, 3).picture))

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


def test_new_blocks_alone_leave_nothing_to_train(small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all old blocks are frozen, segmenter and detail networks read the same features as before."""
    grown = grow(small, pictures, tmp_path / "grown", tiny.SIZE)
    capsys.readouterr()
    assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "large") == 0
    said = capsys.readouterr().err
    assert "gets no" not in said
    assert "edit" in said
    old, new = (Synthesizer(Bundle.load(place), "cpu", "fp32") for place in (small, tmp_path / "large"))
    assert new.bundle.segmenter is not None
    assert new.bundle.segmenter.resolution == 2 * tiny.SIZE
    w = old.w([1, 2, 3])
    theirs, ours = old.sample(w)[2], new.sample(w)[2]
    assert theirs is not None
    assert ours is not None
    assert (ours[:, ::2, ::2] == theirs).float().mean() > 0.9
    before, after = old.bundle.details["mask"], new.bundle.details["mask"]
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    mask = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    mask[4:9, 5:12] = 2
    answers = [synth.generate(mask.repeat(scale, 0).repeat(scale, 1), 3) for synth, scale in ((old, 1), (new, 2))]
    assert np.array_equal(answers[0].proxy_mask, answers[1].proxy_mask)
    assert answers[1].picture.size == (2 * tiny.SIZE, 2 * tiny.SIZE)


def test_a_detail_network_of_other_features_is_refused(small: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(small)
    bundle.details["mask"] = DetailNetwork(len(tiny.LABELS), 3, tiny.SIZE, tiny.CUT, width=4)
    with pytest.raises(ProxymaskError, match="proxymask train detail"):
        Bundle.load(bundle.save(tmp_path / "bundle"))


def test_a_generator_that_changed_before_the_split_is_refused(
    small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for frozen in (0, tiny.CUT // 2):
        grown = grow(small, pictures, tmp_path / f"grown-{frozen}", frozen)
        capsys.readouterr()
        assert run("bundle", "add", grown, "--bundle", small, "--out", tmp_path / "x") == 2
        assert f"--frozen-resolution {tiny.CUT}" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_growths_that_cannot_be(small: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "generator", "--images", pictures, "--out", tmp_path / "x", *QUICK)
    assert run(*words, "--frozen-resolution", 8) == 2
    assert "a new generator has none" in capsys.readouterr().err
    tiny.make_generator(start=(4, 8)).save_pretrained(tmp_path / "wide" / "generator")
    assert run(*words, "--grow-from", tmp_path / "wide", "--discriminator-first", 1) == 2
    assert "only generators of square pictures grow" in capsys.readouterr().err
    for folder, said in ((tmp_path / "nothing", "does not exist"), (pictures, "holds no mapper, detail network")):
        assert run("bundle", "add", folder, "--bundle", small, "--out", tmp_path / "x") == 2
        assert said in capsys.readouterr().err
    assert run("bundle", "add", "churches", "--bundle", small, "--out", tmp_path / "x") == 2
    assert "is a bundle" in capsys.readouterr().err


def test_a_wider_discriminator_stays_as_wide(small: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(small / "generator", tmp_path / "run" / "generator")
    judge = Discriminator(tiny.SIZE, channel_base=1024, channel_max=32, mbstd_group=1)
    judge.save_pretrained(tmp_path / "run" / "discriminator")
    words = ("train", "generator", "--images", pictures, "--grow-from", tmp_path / "run", "--frozen-resolution", tiny.CUT, *QUICK)
    assert run(*words, "--out", tmp_path / "grown") == 0
    assert Discriminator.from_pretrained(tmp_path / "grown" / "discriminator").config["channel_max"] == 32
    assert run(*words, "--steps", 4, "--out", tmp_path / "grown") == 0  # goes on
