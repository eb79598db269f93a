"""Judges: the shipped one, one trained here, and what they refuse."""

import json
from pathlib import Path

import pytest
import torch

from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.dataset import ImageSet
from proxymask.data.drawn_dataset import make_dataset
from proxymask.data.scenes.churches import CHURCH_LABELS
from proxymask.evaluation.judge import SHIPPED, Judge, judge_names, shipped_judges
from proxymask.imaging.labels import LabelSet
from proxymask.metrics.segmentation import SegmentationScore, boundary_f_score, class_then_mean, per_image_iou
from proxymask.training.judge import JudgeConfig, _split, train_judge


def test_shipped_judges() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 3e6
    assert shipped_judges(AVATAR_LABELS) == [SHIPPED / "avatars", SHIPPED / "avatars-unet"]
    assert shipped_judges(CHURCH_LABELS) == [SHIPPED / "churches", SHIPPED / "churches-unet"]
    assert shipped_judges(LabelSet.of([("ground", "#000000")])) == []


@pytest.mark.parametrize("kind", ["avatars", "churches"])
def test_shipped_judge_reads_fresh_pictures(kind: str, tmp_path: Path) -> None:
    judge = Judge.load(SHIPPED / kind)
    make_dataset(tmp_path / "drawn", kind, 60, 64, 4711, "head" if kind == "avatars" else None, 1, None)
    real = ImageSet.open(tmp_path / "drawn", 64)
    score = SegmentationScore(judge.labels.names).update(judge.predict(real.images(range(60)))[0], real.masks(range(60))).summary()
    assert score["miou"] > 0.8
    # what the card and judge.json say is what it does on other pictures, within what 60 pictures can tell
    assert score["miou"] == pytest.approx(judge.info.accuracy["miou"], abs=0.06)
    assert score["accuracy"] == pytest.approx(judge.info.accuracy["accuracy"], abs=0.01)
    assert f"{judge.info.accuracy['miou']:.4f}" in (SHIPPED / kind / "README.md").read_text()


def test_features_and_reading_are_one_pass() -> None:
    judge = Judge.load(SHIPPED / "avatars")
    pictures = torch.rand(3, 3, 64, 64) * 2 - 1
    predicted, features = judge.predict(pictures)
    assert torch.equal(features, judge(pictures))
    assert features.shape == (3, judge.dim)
    assert torch.equal(predicted, judge.net(pictures).argmax(1))
    assert judge.predict(torch.rand(1, 3, 128, 128))[0].shape == (1, 64, 64)
    masks = torch.randint(0, 9, (2, 128, 128))
    assert torch.equal(judge.resized_masks(masks), masks[:, 1::2, 1::2])
    assert torch.equal(judge.resized_masks(masks[:, ::2, ::4]), masks[:, ::2, ::4])
    distance = judge.perceptual()
    assert distance(pictures, pictures).abs().max() == 0
    assert (distance(pictures, pictures.flip(0))[::2] > 0).all()


def test_smaller_pictures_are_scored_at_their_own_size() -> None:
    """A pixel has the class of the largest mean probability; a mask with steps is no error of a judge that sees smooth borders."""
    judge = Judge.load(SHIPPED / "avatars-unet")
    assert judge.info.size == 128
    for height, width in ((64, 64), (32, 64), (48, 80)):
        pictures = torch.rand(2, 3, height, width) * 2 - 1
        probabilities = judge.net(judge.resized(pictures)).softmax(1)
        predicted = judge.predict(pictures)[0]
        assert predicted.shape == (2, height, width)
        whole = torch.nn.functional.adaptive_avg_pool2d(probabilities, (height, width)).argmax(1)
        assert torch.equal(predicted, whole)
        assert torch.equal(judge.resized_masks(predicted), predicted)
    assert judge.scored_size(64, 256) == (128, 128)
    same = torch.rand(1, 3, 128, 128)
    assert torch.equal(judge.predict(same)[0], judge.net(same).argmax(1))


def test_train_judge(avatars: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "judge", "--data", str(avatars), "--size", "32", "--out", str(tmp_path / "judge"), "--steps", "3", "--batch", "4"]
    words += ["--width", "8", "--blocks", "2", "--device", "cpu", "--precision", "fp32"]
    assert main(words) == 0
    assert "judge: " in capsys.readouterr().out
    judge = Judge.load(tmp_path / "judge")
    assert judge.info.size == 32
    assert judge.info.accuracy["count"] == 5  # a tenth of 48
    assert judge.info.data == ImageSet.open(avatars, 32).fingerprint
    before = (tmp_path / "judge" / "model.safetensors").read_bytes()
    assert main(words) == 0  # already there: nothing changes
    assert (tmp_path / "judge" / "model.safetensors").read_bytes() == before
    others = [str(fresh) if word == str(avatars) else word for word in words]
    assert main(others) == 2  # other pictures
    assert "the pictures are others" in capsys.readouterr().err
    with_test = train_judge(
        ImageSet.open(avatars, 32),
        tmp_path / "other",
        JudgeConfig(8, 2, 2, 4),
        test=ImageSet.open(fresh, 32),
        device="cpu",
        precision="fp32",
    )
    assert with_test.info.accuracy["count"] == 32
    with pytest.raises(ProxymaskError, match="test holds the pictures of data"):
        train_judge(ImageSet.open(avatars, 32), tmp_path / "third", test=ImageSet.open(avatars, 32))
    with pytest.raises(ProxymaskError, match="has no masks"):
        train_judge(ImageSet.open(avatars / "images", 32), tmp_path / "third")
    assert main([*words[:6], "--out", str(avatars)]) == 2
    assert main(["train", "judge", "--data", str(avatars), "--size", "36", "--out", str(tmp_path / "odd")]) == 2


def test_a_judge_of_the_other_design(avatars: Path, tmp_path: Path) -> None:
    """A U-Net that reads pictures at twice their size."""
    config = JudgeConfig(width=4, steps=2, batch=4, network="unet", smallest=0.5)
    data = ImageSet.open(avatars, 64)
    made = train_judge(data, tmp_path / "judge", config, device="cpu", precision="fp32")
    judge = Judge.load(tmp_path / "judge")
    assert (judge.info.network, judge.info.size) == ("unet", 64)
    pictures = ImageSet.open(avatars, 32).images(range(2))
    found, features = judge.predict(pictures)
    assert found.shape == (2, 32, 32)
    assert features.shape == (2, judge.dim)
    assert torch.equal(found, made.predict(pictures)[0])
    assert judge.perceptual()(pictures, pictures.flip(0)).min() > 0
    (tmp_path / "judge" / "judge.json").write_text((tmp_path / "judge" / "judge.json").read_text().replace('"unet"', '"dilated"'))
    with pytest.raises(ProxymaskError, match="holds a UNetSegmenter"):
        Judge.load(tmp_path / "judge")


def test_names_of_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last part of the path, or as many parts as differ."""
    assert judge_names([]) == []
    assert judge_names([Path("runs/one"), Path("other/two/")]) == ["one", "two"]
    assert judge_names([Path("a/judge"), Path("b/judge")]) == ["a/judge", "b/judge"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert judge_names([Path(".")]) == ["here"]


def test_damaged_judges(tmp_path: Path) -> None:
    folder = Judge.load(SHIPPED / "avatars").save(tmp_path / "judge", half=True)
    stored = json.loads((folder / "judge.json").read_text())
    (folder / "judge.json").write_text(json.dumps(stored | {"format": 99}))
    with pytest.raises(ProxymaskError, match="another version"):
        Judge.load(folder)
    del stored["size"]
    (folder / "judge.json").write_text(json.dumps(stored))
    with pytest.raises(ProxymaskError, match="damaged"):
        Judge.load(folder)
    with pytest.raises(ProxymaskError, match="is not a folder"):
        Judge.load(tmp_path / "nowhere")


def test_score_is_the_sum_of_its_parts() -> None:
    names = ["a", "b", "c"]
    rng = torch.Generator().manual_seed(0)
    read, masks = (torch.randint(0, 3, (6, 8, 8), generator=rng) for _ in range(2))
    whole = SegmentationScore(names).update(read, masks)
    halves = SegmentationScore(names)
    for part in (slice(0, 2), slice(2, 6)):
        halves.add_tensors(SegmentationScore(names).update(read[part], masks[part]).tensors())
    assert whole.summary() == halves.summary()
    assert whole.summary()["linear_gan_miou"] == class_then_mean(per_image_iou(read, masks, 3))[1]
    assert whole.summary()["boundary_f_2px"] == class_then_mean(boundary_f_score(read, masks, 3, 2))[1]
    assert torch.equal(whole.per_picture(), per_image_iou(read, masks, 3, ignore=()).nanmean(1))


def test_what_a_judge_is_measured_on_is_drawn(fresh: Path, avatars: Path) -> None:
    """Neither the first nor the last pictures: files are often sorted by what they show."""
    data, test = ImageSet.open(fresh, 32), ImageSet.open(avatars, 32)
    training, held_out = _split(data, None, 0)
    assert len(held_out) == 3
    assert sorted(training.numbers.tolist() + held_out.numbers.tolist()) == list(range(32))
    assert sorted(held_out.numbers.tolist()) != [29, 30, 31]
    assert torch.equal(_split(data, None, 0)[1].numbers, held_out.numbers)
    assert not torch.equal(_split(data, None, 1)[1].numbers, held_out.numbers)
    everything, others = _split(data, test, 0)
    assert everything.numbers.tolist() == list(range(32))
    assert sorted(others.numbers.tolist()) == list(range(48))
    assert others.whole is test
