"""Evaluations by several judges: what each of them finds is what it finds alone."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import Evaluation, EvaluationConfig, MaskToImageBenchmark, counts, evaluate
from proxymask.evaluation.judge import SHIPPED, Judge, JudgeInfo
from proxymask.evaluation.protocol import Evaluator
from proxymask.evaluation.results import SCORES
from proxymask.imaging.labels import LabelSet
from proxymask.models.segmentation_nets import DilatedSegmenter, UNetSegmenter

JUDGED = (*SCORES, "mask_ignored", "style_consistency")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CONSISTENT_STYLES", 3), ("CONSISTENT_MASKS", 4), ("GROUPS", 4), ("BASELINE", 4)):
        monkeypatch.setattr(counts, name, value)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny judges of random weights: a dilated one at the size of the pictures, a U-Net at another size."""
    folder, accuracy = tmp_path_factory.mktemp("judges"), {"count": 3, "miou": 0.25, "accuracy": 0.5}
    torch.manual_seed(0)
    small = Judge(DilatedSegmenter(9, 4, 1), AVATAR_LABELS, JudgeInfo(32, "", 1, accuracy))
    large = Judge(UNetSegmenter(9, 4, 2), AVATAR_LABELS, JudgeInfo(48, "", 1, accuracy, network="unet"))
    return small.save(folder / "small"), large.save(folder / "large")


def settings(bundle: Path, data: Path, out: Path, **more: object) -> EvaluationConfig:
    return EvaluationConfig(bundle=str(bundle), data=data, out=out, weights=out / "none", **{"count": 6, **more})


def run(*args: object, **kwargs: object) -> Evaluation:
    return evaluate(settings(*args, **kwargs), device="cpu", precision="fp32")


def plain(result: Evaluation, judge: str = "") -> dict[tuple[str, str], dict[str, object]]:
    """The numbers of a judge by key and set, as they are where it is alone."""
    rows = [row for row in result.numbers if row.get("judge", "") == judge]
    drop = {"key", "name", "judge"}
    return {(row["key"].removesuffix(f"/{judge}"), row["of"]): {k: v for k, v in row.items() if k not in drop} for row in rows}


def test_each_judge_finds_what_it_finds_alone(
    judges: tuple[Path, Path], tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path
) -> None:
    both = run(tiny_bundle, avatars, tmp_path / "both", masks=fresh, judge=judges)
    small, large = (run(tiny_bundle, avatars, tmp_path / folder.name, masks=fresh, judge=folder) for folder in judges)
    # the main judge: nothing else changes
    assert [row for row in both.numbers if "judge" not in row] == small.numbers
    assert both.about["judge"] == small.about["judge"]
    # the other one: all that it scores alone, except the masks on the proxy grid, which no judge reads
    alone = {name: row for name, row in plain(large).items() if name[0] in JUDGED and name[1] != "grid"}
    del alone["mask_ignored", "masks"]  # by the masks, without a judge
    found = plain(both, "large")
    assert found == alone
    assert {of for key, of in found if key == "miou"} == {"masks", "proxy", "real", "copy"}
    assert {key for key, _ in found} == set(JUDGED)
    row = both.find("miou/large", "masks")
    assert row is not None
    assert row["name"] == "mIoU, pooled over all pixels, judge large"
    assert set(row["classes"]) == set(AVATAR_LABELS.names)
    assert both.value("miou/large", "masks") != both.value("miou", "masks")
    # about, notes, report
    stored = json.loads((tmp_path / "both" / "metrics.json").read_text())
    assert stored["numbers"] == both.numbers
    said = [(judge["name"], judge["sha256"], judge["size"], judge["accuracy"]["miou"]) for judge in stored["about"]["judges"]]
    assert said == [("small", small.about["judge"]["sha256"], 32, 0.25), ("large", large.about["judge"]["sha256"], 48, 0.25)]
    assert "the judge large reads 48 pixels: pictures of 32 are resized to that and scored at their own size" in both.notes
    text = (tmp_path / "both" / "report.html").read_text()
    value = "<td class='n'>([^<]*)</td>"
    cells = re.findall(f"<td>pixel accuracy</td><td class='n'>baseline a: no rearranger</td>{value}{value}", text)
    assert cells == [(f"{both.value('accuracy', 'copy'):.3f}", f"{both.value('accuracy/large', 'copy'):.3f}")]
    assert "<th class='n'>large, 48 pixels</th>" in text
    assert "<th>judge large</th>" in text
    assert "The same, by each judge" not in (tmp_path / "small" / "report.html").read_text()


def test_parts_on_the_disk_belong_to_their_judges(judges: tuple[Path, Path], tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    """Other judges, or another order, are another evaluation; one judge alone has its digest as before."""
    small, large = judges
    given = [small, (small, large), (large, small), (large,)]
    made = [Evaluator(settings(tiny_bundle, avatars, tmp_path, judge=judge), device="cpu", precision="fp32") for judge in given]
    assert len({evaluator.cache.folder for evaluator in made}) == 4
    digest = Judge.load(small).digest
    assert made[0].inputs.identity()["judge"] == digest
    assert made[1].inputs.identity()["judge"] == f"{digest} {Judge.load(large).digest}@32"  # scored at the pictures' size


def test_results_of_more_judges_are_kept(judges: tuple[Path, Path], tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    small, large = judges
    more = {"protocol": "paper", "parts": ("pictures",), "count": 4}
    out = tmp_path / "out"
    run(tiny_bundle, avatars, out, judge=judges, **more)
    # a metrics.json of before has no list of judges
    stored = json.loads((out / "metrics.json").read_text())
    del stored["about"]["judges"]
    stored["numbers"] = [row for row in stored["numbers"] if "judge" not in row]
    (out / "metrics.json").write_text(json.dumps(stored))
    both = run(tiny_bundle, avatars, out, judge=judges, **more)
    assert not any("are kept as" in note for note in both.notes)
    assert "of more, are kept as metrics-1.json" in run(tiny_bundle, avatars, out, judge=small, **more).notes[-1]
    run(tiny_bundle, avatars, out, judge=judges, **more)
    torch.manual_seed(1)
    other = dataclasses.replace(Judge.load(large).info, size=32)
    namesake = Judge(UNetSegmenter(9, 4, 2), AVATAR_LABELS, other).save(tmp_path / "other" / "large")
    assert "of something else, are kept as metrics-2.json" in run(tiny_bundle, avatars, out, judge=(small, namesake), **more).notes[-1]


def test_shipped_judges_are_the_default(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    names = ["avatars", "avatars-unet"]
    for given in ({}, {"judge": None}, {"judge": [SHIPPED / name for name in names]}):
        inputs = Evaluator(settings(tiny_bundle, avatars, tmp_path, **given), device="cpu", precision="fp32").inputs
        assert list(inputs.judges) == names
        assert inputs.judge is inputs.judges["avatars"]
        assert inputs.networks == {"judge": inputs.judge}


def test_judges_that_cannot_be_used(judges: tuple[Path, Path], tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    small, _ = judges
    sky = LabelSet.of([("sky", "#000000"), *((label.name, label.hex) for label in AVATAR_LABELS.labels[1:])])
    net = Judge.load(small)
    other = Judge(net.net, sky, net.info).save(tmp_path / "sky")
    for second, message in (
        (other, rf"the judge in {other} knows sky, .*; the masks have background"),
        (avatars, rf"{avatars} holds no judge\.json"),
        (small, rf"judge: {small} and {small} hold the same network; give each judge once"),
    ):
        with pytest.raises(ProxymaskError, match=message):
            run(tiny_bundle, avatars, tmp_path / "out", judge=(small, second))


def test_a_benchmark_by_several_judges(judges: tuple[Path, Path], tiny_bundle: Path, avatars: Path) -> None:
    small, large = map(Judge.load, judges)
    data = ImageSet.open(avatars, 32)

    def score(judge: Judge, **more: object) -> dict[str, object]:
        return MaskToImageBenchmark(judge, data, data, 4, **more).score(lambda masks, index: data.images(list(index)))

    both, ours, theirs = score(small, further={"large": large}), score(small), score(large)
    assert {key: value for key, value in both.items() if key != "judges"} == ours
    assert both["judges"] == {"large": {key: theirs[key] for key in (*SCORES, "iou")}}
