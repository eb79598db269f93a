"""A tiny version of every ablation, start to end, and the document that is made of them."""

import dataclasses
import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("tyro")
import results
import wall_time
from ablations import arms, clusters, labels, losses, parts, published
from ablations import common as shared
from ablations.arms import Arm, Domain, run
from ablations.common import OF_EVERY_JUDGE, SHORT, TOY, Ablation
from baselines.oasis import train
from baselines.oasis.stage import OasisConfig
from baselines.oasis.train import TrainOasis, train_oasis
from results_page import parts as worth_of_parts
from results_page.form import anchor, length

from proxymask.core.errors import ProxymaskError
from proxymask.core.files import save_tensors
from proxymask.core.lock import folder_lock
from proxymask.evaluation import counts
from proxymask.evaluation.judge import SHIPPED
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import SampleNetworks, write_samples
from proxymask.models.rearranger import Rearranger
from proxymask.training.presets import PRESETS
from proxymask.training.run_dirs import mark_of

TINY = {
    "base": "demo",
    "cluster_samples": 8,
    "rearranger": {"position_channels": 8, "hidden": 8, "layers": 2, "narrow_channels": 4},
    "mapper": {"widths": [8, 8, 8], "hidden": 8},
    "rearranger_loop": {"batch": 4},
    "segmenter_loop": {"batch": 2},
    "mapper_loop": {"batch": 2},
}


@pytest.fixture
def settings(tiny_bundle: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of an ablation: the tiny bundle's generator with two labelled samples."""
    monkeypatch.setattr(train, "PASSES", 3)
    for name, value in (("CONSISTENT_STYLES", 2), ("CONSISTENT_MASKS", 3), ("GROUPS", 2)):
        monkeypatch.setattr(counts, name, value)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    bundle = Bundle.load(tiny_bundle)
    assert bundle.labels is not None
    networks = SampleNetworks(bundle.split_generator(), bundle.clusters, bundle.segmenter, bundle.labels)
    write_samples(networks, [1, 2], tmp_path / "labelled", with_labels=True)
    for found in (tmp_path / "labelled").glob("*.labels.png"):
        found.rename(found.with_name(found.name.replace("labels", "mask")))
    bundle.labels.save(tmp_path / "labelled" / "labels.json")
    places = {"data": drawn, "masks": drawn, "work": tmp_path / "work", "labels": tmp_path / "labelled"}
    places |= {"out": tmp_path / "results" / "ablations" / "parts-tiny.json", "preset": str(tmp_path / "tiny.json")}
    budget = {"steps": 2, "mapper_steps": 2, "segmenter_steps": 2, "count": 6, "judge": (SHIPPED / "avatars",)}
    return {"generator": tiny_bundle, "clusters": tiny_bundle, "device": "cpu", "precision": "fp32", **places, **budget}


def test_losses(settings: dict[str, Any]) -> None:
    out, work = settings["out"].with_name("losses.json"), settings["work"]
    args = losses.Losses(**(settings | {"out": out}), points=2, point_count=6)
    paper, demo = PRESETS["paper-256"].rearranger, PRESETS["demo"].rearranger
    trained = {name: dataclasses.replace(demo, **arm.rearranger) for name, arm in args.arms.items()}
    weights = {name: (config.lambda_self, config.lambda_mask, config.lambda_mix) for name, config in trained.items()}
    theirs, whole = (paper.lambda_self, paper.lambda_mask, 0.0), (demo.lambda_self, demo.lambda_mask, demo.lambda_mix)
    assert weights == {"L_adv": (0, 0, 0), "L_adv-L_self": (theirs[0], 0, 0), "published": theirs, "full": whole}
    chosen = dataclasses.replace(args, only=("L_adv", "full"))
    run(chosen, "losses", chosen.arms, mapped=False)
    found = json.loads(out.read_text())
    assert [row["variant"] for row in found["rows"]] == ["L_adv", "full"]
    assert all(row["frechet_proxy"] > 0 and "mapper_steps" not in row for row in found["rows"])
    assert [[point["step"] for point in curve] for curve in found["curves"].values()] == [[1, 2]] * 2
    assert not [*work.glob("segmenter-*"), *work.glob("mapper-*")]
    before = {path: path.stat().st_mtime_ns for path in work.glob("rearranger-*/stage.json")}
    assert len(before) == 2
    run(chosen, "losses", chosen.arms, mapped=False)  # all is there: nothing is trained again
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert json.loads(out.read_text()) == found
    assert out.with_suffix(".png").stat().st_size > 1000
    other = Path(settings["preset"]).with_name("other.json")
    shutil.copy(settings["preset"], other)
    with pytest.raises(ProxymaskError, match="rows of another preset: move it away"):
        run(dataclasses.replace(chosen, preset=str(other)), "losses", chosen.arms, mapped=False)
    text = results.document(out.parents[1])
    assert "No result yet: all rows are toys of 2 steps." in text
    assert "Best distance" not in text  # toys are no result
    assert "| L_adv | 2 | **toy** |" in text
    assert "| ours | 2 | **toy** |" in text


def test_length() -> None:
    """Rows of the default fit's length are results, and those below the paper-like length are marked."""
    assert PRESETS["demo"].rearranger_loop.steps == TOY
    assert [length(steps) for steps in (TOY - 1, TOY, SHORT - 1, SHORT)] == ["**toy**", "short", "short", ""]


def test_wall_time_is_that_of_an_idle_machine(tmp_path: Path) -> None:
    """A pace of 2 seconds a step; in one of three spaces other work made it slower."""
    lines = [{"step": 10, "seconds": 20.0}, {"step": 20, "seconds": 90.0}, {"step": 25, "seconds": 100.0}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert wall_time.seconds_at(tmp_path) == pytest.approx(50)
    assert wall_time.seconds_at(tmp_path, 10) == pytest.approx(20)


def test_the_average_of_a_checkpoint_of_an_earlier_version(tiny_bundle: Path, tmp_path: Path) -> None:
    """Arms go on from trainings whose config has arguments that are gone (``init``), and narrowed networks have fewer channels than it."""
    trained = Bundle.load(tiny_bundle).rearranger
    trained.save_pretrained(tmp_path / "rearranger")
    path = tmp_path / "rearranger" / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"config": stored["config"] | {"init": "centroids"}}))
    weights = {f"average.rearranger.{name}": value for name, value in trained.state_dict().items()}
    save_tensors(tmp_path / "state.safetensors", {"step": torch.zeros(1), **weights})
    net = wall_time.averaged(Rearranger, "rearranger", tmp_path, tmp_path)
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_wall_time(settings: dict[str, Any], drawn: Path, tmp_path: Path) -> None:
    domain = Domain(Ablation(**settings, points=2), {"full": Arm()})
    domain.bundle("full", mapped=True)
    small = OasisConfig(width=2, z_dim=4, hidden=4)
    rival = TrainOasis(
        out=tmp_path / "rival", data=drawn, size=32, steps=2, batch=2, snapshot_every=1, device="cpu", precision="fp32", config=small
    )
    train_oasis(rival)
    args = wall_time.WallTime(
        data=drawn,
        masks=drawn,
        count=6,
        bundle=str(settings["generator"]),
        rival={"rival": tmp_path / "rival"},
        rearranger=settings["work"] / "rearranger-full-2",
        mapper=settings["work"] / "mapper-full-2",
        generator=settings["work"] / "rearranger-full-2",  # any run has a time
        device="cpu",
        out=settings["out"].parents[1] / "wall-time.json",
    )
    wall_time.run(args)
    rows = json.loads(args.out.read_text())["rows"]
    assert [(row["name"], row["phase"], row["step"]) for row in rows] == [
        *[("rival", "ExactPairs", 1), ("rival", "ExactPairs", 2)],
        *[("ours", "rearranger", 1), ("ours", "rearranger", 2), ("ours", "mapper", 2)],
    ]
    assert rows[3]["seconds"] < rows[4]["seconds"]  # the mapper comes after the rearranger
    assert ["miou" in row for row in rows] == [True, True, False, False, True]
    wall_time.run(args)  # every point is there already
    assert json.loads(args.out.read_text())["rows"] == rows
    with pytest.raises(ProxymaskError, match="points of another count: move it away"):
        wall_time.run(dataclasses.replace(args, count=5))
    assert all(0 <= row["judges"]["avatars-unet"]["miou"] <= 1 for row in rows if "miou" in row)
    text = results.document(args.out.parent)
    assert "mIoU, judge avatars-unet" in text
    assert "rival" in text
    assert "with its generator" in (args.out.parent / "plots" / "wall-time-miou.svg").read_text()


def test_clusters(settings: dict[str, Any]) -> None:
    out, work = settings["out"].with_name("clusters.json"), settings["work"]
    args = clusters.Clusters(**(settings | {"judge": (), "out": out}), numbers=(3, 5))  # by all shipped judges
    run(args, "clusters", args.arms)
    rows = json.loads(out.read_text())["rows"]
    assert [row["clusters"] for row in rows] == [3, 5]
    assert {path.name for path in work.glob("rearranger-*")} == {"rearranger-3-clusters-2", "rearranger-5-clusters-2"}
    assert clusters.Clusters(**settings).arms == {
        name: parts.ARMS.get(name, arm) for name, arm in clusters.Clusters(**settings).arms.items()
    }
    assert {"full", "25-clusters"} <= clusters.Clusters(**settings).arms.keys() & parts.ARMS.keys()  # shared with the ablation of parts
    for row in rows:
        assert {"miou_masks", "miou_proxy", "mask_ignored_proxy", "agreement", "frechet_masks"} <= row.keys()
        assert "accessories" in row["iou_masks"]
        assert row["judges"]["avatars-unet"].keys() == {f"{key}_{of}" for key in OF_EVERY_JUDGE for of in ("masks", "proxy")}
    text = results.document(out.parents[1])
    assert "mIoU with mapper, judge avatars-unet" in text
    assert "| K = 3 | 2 | **toy** |" in text


def test_published(settings: dict[str, Any]) -> None:
    out, work = settings["out"].with_name("published.json"), settings["work"]
    args = published.Published(**(settings | {"out": out}), points=2, point_count=6)
    theirs = args.arms["published"]
    paper, demo = PRESETS["paper-256"], PRESETS["demo"]
    assert dataclasses.replace(demo.rearranger, **theirs.rearranger, layers=paper.rearranger.layers, hidden=128) == paper.rearranger
    sizes = {"widths": paper.mapper.widths, "hidden": paper.mapper.hidden, "tail": paper.mapper.tail}
    assert dataclasses.replace(demo.mapper, **theirs.mapper, **sizes) == paper.mapper
    run(args, "published", args.arms)
    found = json.loads(out.read_text())
    assert [row["variant"] for row in found["rows"]] == ["full", "published"]
    assert [row["clusters"] for row in found["rows"]] == [Bundle.load(settings["clusters"]).clusters.num_clusters, 25]
    assert [[point["step"] for point in curve] for curve in found["curves"].values()] == [[1, 2]] * 2
    made = Bundle.load(work / "bundles" / "published")
    assert made.about["proxy_mask_mode"] == "hard"
    assert made.rearranger.config["refinement_width"] == 0
    text = results.document(out.parents[1])
    assert "## The published method against ours" in text
    assert "| published: L_adv + L_self + L_mask | 2 | **toy** |" in text


def test_labels(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "DRAWN", 1)
    out, work = settings["out"].with_name("labels.json"), settings["work"]
    args = labels.Labels(**(settings | {"out": out}), numbers=(1,), draws=2)
    run(args, "labels", args.arms)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["labels"], row["draw"]) for row in rows] == [(1, 0), (1, 1)]
    assert {path.name for path in work.glob("rearranger-*")} == {"rearranger-full-2"}
    trained = [mark_of(work / f"segmenter-1-labels-1-labels-draw-{draw}-2")["identity"] for draw in range(2)]
    assert trained[0] != trained[1]  # of other samples
    text = results.document(out.parents[1])
    assert "| 1 labelled, draw 0 | 2 | **toy** |" in text
    assert "drawn at random" not in text  # toys are no result
    more = dataclasses.replace(args, draws=3, only=("1-labels-draw-2",))
    with pytest.raises(ProxymaskError, match="takes labelled samples 2 to 2, and labels holds 2: label more"):
        run(more, "labels", more.arms)


def test_parts(settings: dict[str, Any]) -> None:
    out, work = settings["out"], settings["work"]
    run(parts.Parts(**settings, only=("full",)), "parts", parts.ARMS)
    first = json.loads(out.read_text())["rows"]
    assert [row["variant"] for row in first] == ["full"]
    assert all(row["style_consistency"] is not None and 0 <= row["agreement"] <= 1 for row in first)
    assert Bundle.load(work / "bundles" / "full").rearranger.key_dim == 4  # narrowed
    trained = {path: path.stat().st_mtime_ns for path in work.glob("*/stage.json")}
    run(parts.Parts(**settings, only=("student", "one-label", "no-L_mix")), "parts", parts.ARMS)
    rows = json.loads(out.read_text())["rows"]
    assert [row["variant"] for row in rows] == ["full", "no-L_mix", "student", "one-label"]
    assert json.loads(out.read_text())["sheet"] == [row["variant"] for row in rows]
    assert [row for row in rows if row["variant"] == "full"] == first
    assert trained == {path: path.stat().st_mtime_ns for path in trained}  # nothing is trained again
    assert {path.name for path in work.glob("rearranger-*")} == {"rearranger-full-2", "rearranger-no-L_mix-2"}  # the others share it
    without = mark_of(work / "rearranger-no-L_mix-2")
    assert without is not None
    assert (without["identity"]["config.lambda_mix"], without["identity"]["config.lambda_self"]) == (0, 10)
    assert [row["labels"] for row in rows] == [2, 2, 2, 1]
    assert mark_of(work / "segmenter-1-labels-one-label-2")["identity"].keys() >= {"rearranger"}  # style-transfer labelling
    text = results.document(out.parents[1])
    mine = text.partition("## What is each part beyond the paper worth?")[2].partition("\n## ")[0]
    assert mine.startswith("\n\nNo result yet: all rows are toys of 2 steps.\n")
    assert "Pays on" not in mine
    assert "| L_mix (off: L_self) | 2 | **toy** |" in mine
    assert "refinement block" not in mine.partition("not run yet")[0]
    assert f"the arms full, no-L_mix, student, one-label:\n\n![{out.stem}]" in mine
    assert out.with_suffix(".png").stat().st_size > 1000
    with pytest.raises(ProxymaskError, match="did you mean student"):
        run(parts.Parts(**settings, only=("studnt",)), "parts", parts.ARMS)


def row_of(variant: str, miou: float, distance: float, seed: int = 0, colours: float = 0.9) -> dict[str, Any]:
    scores = {"miou_masks": miou, "frechet_masks": distance, "judges": {"second": {"miou_masks": miou - 0.1}}}
    return {"variant": variant, "seed": seed, "steps": 10_000, "judge": "first", "style_consistency": colours, **scores}


def test_which_parts_pay(tmp_path: Path) -> None:
    budget = {"mapper_steps": 2400, "count": 2000}
    off = {
        "no-refinement": (0.5, 10.0),
        "no-L_mix": (0.65, 5.1),
        "no-style-prior": (0.67, 7.0),
        "no-label-prior": (0.65, 5.0, 0, 0.8),
        "no-narrowing": (0.651, 5.0),
    }
    churches = {**off, "no-L_label": (0.1, 50.0), "no-L_mix": (0.55, 5.0), "no-narrowing": (0.68, 5.0)}
    for domain, without in (("avatars", off), ("churches", churches)):
        rows = [row_of("full", 0.65, 5.0), *(row_of(name, *scores) for name, scores in without.items())]
        rows += [row_of("full", 0.69, 5.0, 1), row_of("no-L_mix", rows[2]["miou_masks"] + 0.04, 5.0, 1)]
        (tmp_path / "ablations").mkdir(exist_ok=True)
        (tmp_path / "ablations" / f"parts-{domain}.json").write_text(json.dumps({"rows": [{**row, **budget} for row in rows]}))
    section = worth_of_parts.section(tmp_path)
    assert section is not None
    text = section.text()
    assert "Pays on avatars and churches: refinement block, label prior (off: the coarser style prior); " in text
    assert "; no difference on avatars, pays on churches: L_mix (off: L_self); " in text
    assert "; not measured yet on avatars, pays on churches: L_label; a trade on avatars and churches: style prior." in text
    assert "cost nothing: none; that cost something: narrowing of queries and keys." in text
    assert "one seed says little: style prior (avatars)" not in text  # 0.02 itself is enough
    unsure = text.partition("one seed says little: ")[2]
    assert "narrowing of queries and keys (avatars)" in unsure
    assert "L_mix" not in unsure.partition("\n")[0]  # it has two
    assert "| refinement block | 10,000 | 0.500 | +0.150 | +0.150 | 10.0 | -5.00 | 0.900 | +0.000 | 0.500 |" in text
    assert "toy" not in text
    assert worth_of_parts.section(tmp_path / "none") is None


def test_a_part_is_compared_within_one_recipe() -> None:
    """By arms of today where both are there, else by those with the mask in the keys, which are marked."""
    earlier = [row_of(f"{parts.EARLIER}full", 0.6, 5.0), row_of(f"{parts.EARLIER}no-L_mix", 0.5, 5.0)]
    today = [row_of("full", 0.7, 5.0), row_of("no-L_mix", 0.68, 5.0)]
    mixing = next(part for part in parts.PARTS if part.off == "no-L_mix")
    for rows, gain, marked in ((earlier + today[:1], 0.1, True), (earlier + today, 0.02, False)):
        found = worth_of_parts.worth(mixing, "avatars", rows)
        assert found is not None
        assert found.gains["first"] == pytest.approx(gain)
        assert found.earlier is marked
        assert any("†" in cell for cell in worth_of_parts.table([found])[1][0]) is marked
    assert worth_of_parts.worth(mixing, "avatars", [earlier[0], today[1]]) is None


def test_rows_are_merged() -> None:
    old = [{"variant": "b", "value": 1}, {"variant": "b", "seed": 1, "value": 2}, {"variant": "gone", "value": 3}]
    new = [{"variant": "b", "seed": 0, "value": 4}, {"variant": "a", "seed": 0, "value": 5}]
    assert [row["value"] for row in shared.merge(old, new, ["a", "b"])] == [5, 4, 2, 3]
    assert shared.merge({"x": 1, "y": 2}, {"y": 3, "a": 4}, ["a", "y"]) == {"a": 4, "y": 3, "x": 1}


def test_a_trial_takes_the_place_of_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    long, short = {"variant": "a", "steps": 10_000, "labels": 16}, {"variant": "a", "steps": 10, "labels": 8}
    assert shared.merge([long], [short], ["a"]) == [long]
    assert "a is there with more steps" in capsys.readouterr().out
    assert shared.merge([short], [long], ["a"]) == [long]
    points = [[{"step": step}] for step in (10, 20)]
    assert shared.merge({"a": points[1]}, {"a": points[0]}, ["a"]) == {"a": points[1]}
    assert shared.merge({"a": points[0]}, {"a": points[1]}, ["a"]) == {"a": points[1]}


def test_other_steps_in_the_same_work_folder(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Mappers of another rearranger are kept aside, and not taken, nor in the way."""
    for steps in (2, 3):
        run(parts.Parts(**settings | {"steps": steps}, only=("full",)), "parts", parts.ARMS)
    assert "held a run with other settings" in capsys.readouterr().out
    assert [row["steps"] for row in json.loads(settings["out"].read_text())["rows"]] == [3]
    assert len(list(settings["work"].glob("mapper-full-2*"))) == 2


def test_a_folder_in_use_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shared, "WAIT", 0.05)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with folder_lock(tmp_path / "run"):
            (tmp_path / "run" / "begun").touch()
            held.set()
            free.wait(10)
            (tmp_path / "run" / "done").touch()

    def read() -> list[str]:
        try:
            with folder_lock(tmp_path / "run"):
                return sorted(path.name for path in (tmp_path / "run").glob("[a-z]*"))
        finally:
            free.set()  # after the first try, which so is always too early

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    assert shared.when_free(read) == ["begun", "done"]
    other.join()
    assert "waiting: " in capsys.readouterr().out


def test_results_are_made_of_what_is_committed(tmp_path: Path) -> None:
    shutil.copytree(results.DOCS / "results", tmp_path / "results")
    text = results.document(tmp_path / "results")
    assert text == (results.DOCS / "results.md").read_text()
    assert "\n## Scribbles, drawings and depth\n" in text
    plots = {path.name: path.read_text() for path in (results.DOCS / "results" / "plots").glob("*.svg")}
    assert plots.keys() == set(re.findall(r"results/plots/([\w.-]+)", text))  # none is left over
    assert plots == {path.name: path.read_text() for path in (tmp_path / "results" / "plots").glob("*.svg")}


def test_a_section_is_one_screen() -> None:
    head, *sections = (results.DOCS / "results.md").read_text().split("\n## ")
    lines = dict(re.findall(r"\* \[(.+?)\]\(#[\w-]+\): (.+)", head))
    assert list(lines) == [section.partition("\n")[0] for section in sections]
    for section in sections:
        shown = re.sub(r"<details>.*?</details>", "", section, flags=re.DOTALL)
        assert lines[section.partition("\n")[0]] == shown.split("\n\n")[1].strip()  # the sentence of the contents
        for part in shown.split("\n### "):  # a domain each, where there are several
            tables = re.findall(r"(?:^\|.*\n)+", part, flags=re.MULTILINE)
            assert len(tables) <= 1
            assert all(table.count("\n") <= 2 + 12 for table in tables)
            assert part.count("![") <= 1


def test_links_to_the_results_lead_somewhere() -> None:
    text = (results.DOCS / "results.md").read_text()
    anchors = {anchor(title) for title in re.findall(r"^##+ (.+)$", text, flags=re.MULTILINE)}
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))
    for page in [*results.DOCS.glob("*.md"), results.DOCS.parent / "README.md"]:
        linked |= set(re.findall(r"results\.md#([\w-]+)", page.read_text()))
    assert linked <= anchors


def test_every_domain_has_its_table(tmp_path: Path) -> None:
    stored = json.loads((results.DOCS / "results" / "evaluation-avatars-16-labels.json").read_text())
    for name in ("avatars-4-labels", "avatars-16-labels", "churches-16-labels"):
        (tmp_path / f"evaluation-{name}.json").write_text(json.dumps(stored))
    text = results.document(tmp_path)
    churches = text.partition("### Churches")[2].partition("<details>")[0]
    assert "|  | 16 labels | proxy masks, no mapper |" in churches
    assert "| mIoU, second judge | 0." in churches
    assert "![evaluation-churches](results/plots/evaluation-churches.svg)" in churches
    avatars = text.partition("### Avatars")[2].partition("<details>")[0]
    assert "|  | 16 labels | 4 labels | proxy masks, no mapper |" in avatars  # most labels first
    at = {(row["key"], row["of"]): row["value"] for row in stored["numbers"]}
    assert f"(16 labels) and {at['miou', 'masks']:.3f} (4 labels)" in text
    assert f"the pictures are {at['frechet_ratio/judge', 'masks']:.2f} (16 labels)" in churches
