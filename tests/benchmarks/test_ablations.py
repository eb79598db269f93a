"""A tiny version of every ablation, start to end, and the document that is made of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("tyro")
import results
import wall_time
from ablations import clusters, labels, losses, reals
from ablations.common import Lab
from baselines.oasis import train
from baselines.oasis.stage import OasisConfig
from baselines.oasis.train import TrainOasis, train_oasis

from proxymask.evaluation import counts
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.training.presets import PRESETS
from proxymask.training.run_dirs import mark_of

TINY = {
    "base": "demo",
    "cluster_samples": 8,
    "rearranger": {"position_channels": 8, "hidden": 8, "layers": 2},
    "mapper": {"widths": [8, 8, 8], "hidden": 8},
    "rearranger_loop": {"batch": 4},
    "segmenter_loop": {"batch": 2},
    "mapper_loop": {"batch": 2},
}


@pytest.fixture
def common(tiny_bundle: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(train, "PASSES", 3)
    for name, value in (("CONSISTENT_STYLES", 2), ("CONSISTENT_MASKS", 3), ("GROUPS", 2)):
        monkeypatch.setattr(counts, name, value)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    places = {"data": drawn, "masks": drawn, "work": tmp_path / "work", "results": tmp_path / "results" / "ablations"}
    budget = {"steps": 2, "mapper_steps": 2, "segmenter_steps": 2, "count": 6}
    return {"bundle": str(tiny_bundle), "preset": str(tmp_path / "tiny.json"), "device": "cpu", "precision": "fp32", **places, **budget}


def stored(common: dict[str, object], name: str) -> dict:
    return json.loads((Path(str(common["results"])) / f"{name}.json").read_text())


def test_losses(common: dict[str, object]) -> None:
    args = losses.Losses(**common, points=2, point_count=6)
    losses.run(args)
    found = stored(common, "losses")
    assert [row["variant"] for row in found["rows"]] == list(losses.VARIANTS)
    assert all(row["toy"] and row["frechet_proxy"] > 0 for row in found["rows"])
    assert [[point["step"] for point in curve] for curve in found["curves"].values()] == [[1, 2]] * 5
    configs = [mark_of(path)["identity"] for path in sorted(Path(str(common["work"])).glob("rearranger-losses-*"))]
    demo = PRESETS["demo"].rearranger
    weights = sorted((c["config.lambda_self"], c["config.lambda_mask"], c["config.lambda_mix"]) for c in configs)
    mask, mix = demo.lambda_mask, demo.lambda_mix
    assert weights == [(0, 0, 0), (demo.lambda_self, mask, mix), (10, 0, 0), (10, mask, 0), (10, mask, mix)]
    assert sorted(c["config.refinement_width"] for c in configs) == [0, 0, 0, 0, demo.refinement_width]
    before = {path: path.stat().st_mtime_ns for path in Path(str(common["work"])).glob("rearranger-*/stage.json")}
    losses.run(args)  # all is there: nothing is trained again
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert stored(common, "losses") == found
    assert (args.results / "losses.png").stat().st_size > 1000
    reals.run(reals.Reals(**common))
    both = stored(common, "reals")["rows"]
    assert [row["variant"] for row in both] == ["own samples", "real pictures"]
    text = results.document(args.results.parent)
    assert "toy" in text
    assert "L_adv + L_self + L_mask" in text
    assert "real pictures" in text


def test_wall_time(common: dict[str, object], drawn: Path, tmp_path: Path) -> None:
    args = losses.Losses(**common)
    lab = Lab(args)
    net, rearranger = lab.rearranger("ours", points=2)
    assert lab.bundle.segmenter is not None
    lab.mapper("ours", lab.bundle.clusters, net, lab.bundle.segmenter)
    small = OasisConfig(width=2, z_dim=4, hidden=4)
    rival = TrainOasis(
        out=tmp_path / "rival", data=drawn, size=32, steps=2, batch=2, snapshot_every=1, device="cpu", precision="fp32", config=small
    )
    train_oasis(rival)
    settings = wall_time.WallTime(
        data=drawn,
        masks=drawn,
        count=6,
        bundle=str(common["bundle"]),
        rival={"rival": tmp_path / "rival"},
        rearranger=rearranger,
        mapper=args.work / "mapper-ours-2",
        generator_seconds=100.0,
        device="cpu",
        out=args.results.parent / "wall-time.json",
    )
    wall_time.run(settings)
    rows = json.loads(settings.out.read_text())["rows"]
    assert [(row["name"], row["phase"], row["step"]) for row in rows] == [
        *[("rival", "ExactPairs", 1), ("rival", "ExactPairs", 2)],
        *[("ours", "rearranger", 1), ("ours", "rearranger", 2), ("ours", "mapper", 2)],
    ]
    assert rows[3]["seconds"] < rows[4]["seconds"]  # the mapper comes after the rearranger
    assert ["miou" in row for row in rows] == [True, True, False, False, True]
    wall_time.run(settings)  # every point is there already
    assert json.loads(settings.out.read_text())["rows"] == rows
    assert all(0 <= row["judges"]["avatars-unet"]["miou"] <= 1 for row in rows if "miou" in row)
    text = results.document(args.results.parent)
    assert "mIoU, judge avatars-unet" in text
    assert "rival" in text
    assert "with its generator" in (args.results.parent / "plots" / "wall-time-miou.svg").read_text()


def test_clusters(common: dict[str, object]) -> None:
    clusters.run(clusters.Clusters(**common, numbers=(3, 5)))
    rows = stored(common, "clusters")["rows"]
    assert [row["clusters"] for row in rows] == [3, 5]
    for row in rows:
        assert {"miou_masks", "miou_proxy", "mask_ignored_proxy", "agreement", "frechet_masks"} <= row.keys()
        assert "accessories" in row["iou_masks"]
        assert row["judges"]["avatars-unet"].keys() == {"miou_masks", "miou_proxy"}
    assert "mIoU with mapper, judge avatars-unet" in results.document(Path(str(common["results"])).parent)


def test_labels(common: dict[str, object], tmp_path: Path) -> None:
    torch.manual_seed(0)
    UNetSegmenter(9, width=4).save_pretrained(tmp_path / "pseudo-labels")
    args = labels.Labels(**common, pseudo_labels=tmp_path / "pseudo-labels", numbers=(1, 2), draws=2, more=1, scored=4)
    labels.run(args)
    found = stored(common, "labels")
    assert [(row["labels"], row["draw"]) for row in found["rows"]] == [(1, 0), (1, 1), (2, 0)]
    assert [(row["labels"], row["draws"]) for row in found["spread"]] == [(1, 2), (2, 2)]
    assert len(found["segmenters"]) == 4
    assert "labelled" in results.document(args.results.parent)


def test_results_are_made_of_what_is_committed(tmp_path: Path) -> None:
    shutil.copytree(results.DOCS / "results", tmp_path / "results")
    text = results.document(tmp_path / "results")
    assert text == (results.DOCS / "results.md").read_text()
    assert "## 8. Scribbles, drawings and depth" in text
    for plot in (results.DOCS / "results" / "plots").glob("*.svg"):
        assert (tmp_path / "results" / "plots" / plot.name).read_text() == plot.read_text()
