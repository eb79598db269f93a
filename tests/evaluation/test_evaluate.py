"""The evaluation of a tiny bundle of random weights: nothing is pretty, every number is real."""

import dataclasses
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.core.seeding import derive_rng
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis, Evaluation, EvaluationConfig, counts, evaluate, protocol
from proxymask.evaluation.baselines import LabelTable, nearest_copy
from proxymask.evaluation.judge import SHIPPED, Judge
from proxymask.evaluation.sheets import _sheet
from proxymask.imaging.grids import to_uint8
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import SampleNetworks, read_labelled, write_samples
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.lpips import group_pairs
from proxymask.metrics.segmentation import ConfusionMatrix, SegmentationScore
from proxymask.models.detail_network import DetailNetwork
from proxymask.training.judge import JudgeConfig, train_judge
from tiny import efficientnet_weights

COUNT = 20
FIELDS = {"key", "name", "of", "value", "count", "network", "resize", "reference", "seed", "versions"}


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "CHUNK", 10)
    monkeypatch.setattr(counts, "BATCH", 5)
    monkeypatch.setattr(counts, "CONSISTENT_STYLES", 3)
    monkeypatch.setattr(counts, "CONSISTENT_MASKS", 4)
    monkeypatch.setattr(counts, "GROUPS", 4)


def settings(bundle: Path, data: Path, out: Path, **more: object) -> EvaluationConfig:
    """By one judge, unless ``more`` names others."""
    fixed = {"count": COUNT, "judge": SHIPPED / "avatars"}
    return EvaluationConfig(bundle=str(bundle), data=data, out=out, weights=out / "none", **{**fixed, **more})


def run(*args: object, **kwargs: object) -> Evaluation:
    return evaluate(settings(*args, **kwargs), device="cpu", precision="fp32")


def mask_set(folder: Path, count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and masks that an evaluation of seed 0 takes: drawn, as the order of files says nothing."""
    data = ImageSet.open(folder, 32)
    drawn = torch.randperm(len(data), generator=derive_rng(0, "masks"))[:count]
    return data.images(drawn), data.masks(drawn)


@pytest.fixture(scope="session")
def whole(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CHUNK", 10), ("BATCH", 5), ("CONSISTENT_STYLES", 3), ("CONSISTENT_MASKS", 4), ("GROUPS", 4)):
            patch.setattr(counts, name, value)
        out = tmp_path_factory.mktemp("evaluation") / "whole"
        return run(tiny_bundle, avatars, out, masks=fresh), out


def test_numbers_say_what_they_are(whole: tuple[Evaluation, Path]) -> None:
    result, out = whole
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["numbers"] == result.numbers
    assert stored["notes"] == result.messages
    assert all(row.keys() >= FIELDS for row in stored["numbers"])
    for key in ("frechet/judge", "kernel/judge", "precision/judge", "recall/judge"):
        assert {row["of"] for row in stored["numbers"] if row["key"] == key} == {"masks", "proxy", "generator", "floor"}
    assert {row["of"] for row in stored["numbers"] if row["key"] == "miou"} == {"masks", "proxy", "grid", "real", "copy"}
    once = {"agreement", "identity_psnr", "style_consistency", "diversity", "mask_ignored", "boundary_f_1px", "boundary_f_2px"}
    assert once <= {row["key"] for row in stored["numbers"]}
    assert not any("FID" in row["name"] or row["name"].startswith(("KID", "LPIPS (")) for row in stored["numbers"])
    floor = result.find("frechet/judge", "floor")
    assert floor is not None
    assert floor["count"] == floor["reference_count"] == COUNT
    assert "Inception" in " ".join(result.notes)
    assert "alexnet" in " ".join(result.notes)


def test_notes_name_arguments_in_python() -> None:
    said = "FID and KID proper need Inception's weights: --features inception (and --weights FOLDER)"
    result = Evaluation({}, [], [said, "give --judge; proxymask train judge --data FOLDER makes one"], {}, None)
    assert result.notes == [
        "FID and KID proper need Inception's weights: features inception (and weights FOLDER)",
        "give judge; proxymask train judge --data FOLDER makes one",
    ]
    assert result.messages[0] == said


def test_report_is_one_file(whole: tuple[Evaluation, Path]) -> None:
    text = (whole[1] / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=['\"](?!data:)", text)
    assert "<script" not in text
    assert text.count("data:image/png;base64,") == len(whole[0].sheets) == 4
    assert text.count("<svg") >= 2
    assert list(whole[0].sheets) == ["as they come", "best", "median", "worst"]


def test_against_plain_computation(whole: tuple[Evaluation, Path], tiny_bundle: Path, fresh: Path, avatars: Path) -> None:
    """Some numbers once more, straight from their definitions."""
    result, _ = whole
    synth = Synthesizer(Bundle.load(tiny_bundle), "cpu", "fp32")
    judge = Judge.load(SHIPPED / "avatars")
    drawn, masks = mask_set(fresh)
    bundle = BundleSynthesis(synth)
    pictures = bundle.generate(masks, [1_000_000 + i for i in range(COUNT)])
    predicted, features = judge.predict(pictures)
    larger = F.interpolate(pictures, size=64, mode="bilinear", antialias=True)  # the judge's size; scored at the pictures' own
    assert torch.equal(predicted, F.avg_pool2d(judge.net(larger).softmax(1), 2).argmax(1))
    matrix = ConfusionMatrix(9).update(predicted, masks)
    assert result.value("miou", "masks") == pytest.approx(matrix.miou(), abs=2e-3)
    assert result.value("miou", "real") == pytest.approx(ConfusionMatrix(9).update(judge.predict(drawn)[0], masks).miou())
    small = masks[:, 1::2, 1::2]
    back = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert result.value("miou", "grid") == pytest.approx(ConfusionMatrix(9).update(back, masks).miou())
    real = ImageSet.open(avatars, 32)
    order = torch.randperm(48, generator=derive_rng(0, "reference")).tolist()
    reference = FeatureStats(judge.dim).add(judge(real.images(order[:COUNT])))
    assert result.value("frechet/judge", "masks") == pytest.approx(
        frechet_distance(reference, FeatureStats(judge.dim).add(features)), rel=1e-3
    )
    # best, median and worst are that
    ranks = SegmentationScore(judge.labels.names).update(predicted, masks).per_picture()
    best = result.sheets["best"][2][0].astype(int)
    shown = to_uint8(pictures[int(ranks.argmax())][None])[0].astype(int)
    assert np.abs(best - shown).max() <= 1


@pytest.mark.parametrize("of", ["masks", "proxy"])
def test_a_picture_is_the_same_on_every_sheet(of: str, tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    config = settings(tiny_bundle, avatars, tmp_path, masks=fresh)
    inputs = protocol.Evaluator(config, device="cpu", precision="bf16").inputs
    together, alone = _sheet(inputs, [4, 2, 7], of), _sheet(inputs, [2], of)
    assert len(together) == 4
    for row, one in zip(together, alone, strict=True):
        assert np.array_equal(row[1:2], one)


def test_goes_on_after_a_stop(whole: tuple[Evaluation, Path], tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done > total * 0.6:
            raise KeyboardInterrupt

    config = settings(tiny_bundle, avatars, tmp_path / "out", masks=fresh)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, device="cpu", precision="fp32", progress=stop)
    [cache] = (tmp_path / "out" / "cache").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")}
    assert 5 < len(before) < 30
    assert not (tmp_path / "out" / "metrics.json").exists()
    again = evaluate(config, device="cpu", precision="fp32", progress=lambda done, total: seen.append(done) or seen.append(total))
    assert {name: (cache / name).stat().st_mtime_ns for name in before} == before
    assert seen[-1] == seen[-2]  # all done
    mine, theirs = (json.dumps(x.numbers, sort_keys=True) for x in (again, whole[0]))
    assert mine == theirs


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_parts_beside_each_other_give_the_same(
    two_threads: None, whole: tuple[Evaluation, Path], tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path
) -> None:
    workers: set[str] = set()

    def stop(done: int, total: int) -> None:
        workers.add(threading.current_thread().name)
        if done > total * 0.6:
            raise KeyboardInterrupt

    config = settings(tiny_bundle, avatars, tmp_path / "out", masks=fresh)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, device="cpu", precision="fp32", progress=stop)
    assert len(workers) == 2
    assert torch.get_num_threads() == 2
    [cache] = (tmp_path / "out" / "cache").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")}
    assert before
    seen: list[tuple[int, int]] = []
    again = evaluate(config, device="cpu", precision="fp32", progress=lambda *done: seen.append(done))
    assert {name: (cache / name).stat().st_mtime_ns for name in before} == before
    assert seen[-1][0] == seen[-1][1]
    assert again.numbers == whole[0].numbers


def test_more_pictures_add_to_what_is_there(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(tiny_bundle, avatars, out, protocol="paper", count=10)
    [cache] = (out / "cache").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("samples-*")}
    result = run(tiny_bundle, avatars, out, protocol="paper", count=15)
    assert before == {name: (cache / name).stat().st_mtime_ns for name in before}
    assert {path.name for path in cache.glob("samples-*")} == {"samples-0-10.safetensors", "samples-10-15.safetensors"}
    # the paper's protocol: two latents, against training images
    assert {row["of"] for row in result.numbers if row["key"] == "frechet/judge"} == {"proxy", "generator", "floor"}
    row = result.find("frechet/judge", "proxy")
    assert row is not None
    assert (row["count"], row["reference_count"]) == (15, 15)
    assert result.find("miou", "masks") is None


@pytest.fixture(scope="session")
def labelled(tiny_bundle: Path, fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples of the tiny generator, each with an avatar's mask as if it had been painted over it."""
    synth = Synthesizer(Bundle.load(tiny_bundle), "cpu", "fp32")
    out = tmp_path_factory.mktemp("labelled")
    write_samples(SampleNetworks.of(synth), [5, 6, 7], out)
    for name, mask in zip(sorted(path.stem for path in out.glob("*.png")), sorted((fresh / "masks").iterdir()), strict=False):
        shutil.copy(mask, out / f"{name}.mask.png")
    return out


def test_parts_and_baselines(tiny_bundle: Path, avatars: Path, fresh: Path, labelled: Path, tmp_path: Path) -> None:
    """Only what was named is measured; the baselines once more from their definition."""
    out = tmp_path / "out"
    result = run(tiny_bundle, avatars, out, masks=fresh, labelled=labelled, parts=("baselines",))
    assert {(row["key"], row["of"]) for row in result.numbers if not row["key"].startswith("boundary")} == {
        *((f"frechet_baseline/{net}", of) for net in ("judge",) for of in ("masks", "copy", "table")),
        *((key, of) for key in ("miou", "accuracy", "linear_gan_miou") for of in ("copy", "table")),
    }
    synth = Synthesizer(Bundle.load(tiny_bundle), "cpu", "fp32")
    bundle, judge = BundleSynthesis(synth), Judge.load(SHIPPED / "avatars")
    masks, styles = mask_set(fresh)[1], bundle.styles(bundle.w(1_000_000, range(COUNT)))
    ws, painted, _ = read_labelled(labelled, synth.bundle.labels, None)
    table = LabelTable(painted, bundle.clusters.assign(synth.split.features(ws).features))
    copied = synth.split.render(nearest_copy(styles.state, bundle.map(masks, styles).argmax(1), bundle.clusters), styles.w)
    tabled = bundle.from_proxy(bundle.clusters.one_hot(table(masks)), styles)
    real = ImageSet.open(avatars, 32).images(torch.randperm(48, generator=derive_rng(0, "reference")).tolist()[:COUNT])
    reference = FeatureStats(judge.dim).add(judge(real))
    for of, pictures in (("masks", bundle.from_masks(masks, styles)), ("copy", copied), ("table", tabled)):
        predicted, features = judge.predict(pictures.clamp(-1, 1))
        distance = frechet_distance(reference, FeatureStats(judge.dim).add(features))
        assert result.value("frechet_baseline/judge", of) == pytest.approx(distance, rel=1e-3)
        if of != "masks":
            miou = ConfusionMatrix(9).update(predicted, judge.resized_masks(masks)).miou()
            assert result.value("miou", of) == pytest.approx(miou, abs=2e-3)
    assert "baseline a" in (out / "report.html").read_text()
    with pytest.raises(ProxymaskError, match="parts style: protocol paper has only pictures"):
        run(tiny_bundle, avatars, out, protocol="paper", parts=("style",))
    with pytest.raises(ProxymaskError, match="no painted mask"):
        run(tiny_bundle, avatars, out, labelled=tmp_path)


def test_own_mask_and_ratio(whole: tuple[Evaluation, Path], tiny_bundle: Path) -> None:
    """Proxy masks without substitution, and the distance relative to the generator's, from their definitions."""
    result, _ = whole
    bundle = BundleSynthesis(Synthesizer(Bundle.load(tiny_bundle), "cpu", "fp32"))
    styles = bundle.styles(bundle.w(1_000_000, range(COUNT)))
    other, _ = bundle.layout(bundle.w(3_000_000, range(COUNT)))
    moved = bundle.rearrange(styles, other)
    hits = (bundle.clusters.assign(moved.features) == other).float().mean()
    assert result.value("agreement_unsubstituted") == pytest.approx(float(hits), abs=1e-3)
    same = ((bundle.sample(styles) - bundle.render(moved, styles.w)).abs().amax(1) < 0.05).float().mean()
    assert result.value("unchanged_unsubstituted") == pytest.approx(float(same), abs=1e-3)
    ours, generator, floor = (result.value("frechet/judge", of) for of in ("masks", "generator", "floor"))
    assert result.value("frechet_ratio/judge", "masks") == pytest.approx((ours - floor) / (generator - floor))


def test_the_ratio_is_of_as_many_pictures_as_the_floor(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    """48 real pictures: with 32 in the reference, 16 are left for the floor; with 16, distances are of the first 16 of the same ones."""
    many, few = (run(tiny_bundle, avatars / "images", tmp_path / str(n), count=n, parts=("pictures",)) for n in (32, 16))
    proxy, generator = (few.value("frechet/judge", of) for of in ("proxy", "generator"))
    floor, row = many.value("frechet/judge", "floor"), many.find("frechet_ratio/judge", "proxy")
    assert row is not None
    assert row["count"] == 16
    assert row["value"] == pytest.approx((proxy - floor) / (generator - floor), rel=1e-2)
    assert many.value("frechet/judge", "proxy") != pytest.approx(proxy, rel=1e-2)


def test_a_judge_that_saw_the_masks_is_named_whatever_its_size(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    for size in (16, 32):
        judge = tmp_path / f"judge-{size}"
        train_judge(ImageSet.open(fresh, size), judge, JudgeConfig(8, 2, 1, 4), device="cpu", precision="fp32")
        for masks, seen in ((fresh, True), (avatars, False)):
            result = run(tiny_bundle, avatars, tmp_path / f"{size}-{seen}", masks=masks, judge=judge, count=8, parts=("pictures",))
            assert ("was trained on these very masks" in " ".join(result.notes)) is seen


def test_diversity_of_the_paper(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    """Supplement C.1, from its definition: groups of pictures of the same masks, scores between two groups, averaged."""
    bundle, judge = BundleSynthesis(Synthesizer(Bundle.load(tiny_bundle), "cpu", "fp32")), Judge.load(SHIPPED / "avatars")
    groups, number, distance = counts.GROUPS, COUNT // counts.GROUPS, judge.perceptual()
    styles = [bundle.styles(bundle.w(7_000_000, range(mask * groups, (mask + 1) * groups))) for mask in range(number)]
    label_masks, (proxies, _) = mask_set(fresh, number)[1], bundle.layout(bundle.w(3_000_000, range(number)))
    sets = {
        "masks": [bundle.from_masks(label_masks[mask : mask + 1], styles[mask]) for mask in range(number)],
        "proxy": [bundle.from_proxy(bundle.substitute(proxies[[mask] * groups], styles[mask]), styles[mask]) for mask in range(number)],
    }
    for of, pictures in sets.items():
        scores = [
            torch.stack([distance(pictures[mask][a : a + 1], pictures[mask][b : b + 1]) for mask in range(number)]).mean()
            for a, b in group_pairs(groups, counts.PAIRS, 0)
        ]
        masks = {"masks": fresh} if of == "masks" else {}
        data = avatars if of == "masks" else avatars / "images"
        result = run(tiny_bundle, data, tmp_path / of, protocol="paper", parts=("diversity",), **masks)
        row = result.find("diversity")
        assert row is not None
        assert (row["of"], row["groups"], row["pairs"], row["count"]) == (of, groups, 6, number * groups)
        assert row["value"] == pytest.approx(float(torch.stack(scores).mean()), rel=1e-3)
        assert row["spread"] == pytest.approx(float(torch.stack(scores).std(correction=0)), rel=1e-2)
        assert result.about["unstated"] == protocol.UNSTATED
        assert "unstated in the paper" in (tmp_path / of / "report.html").read_text()


def test_another_seed_is_another_evaluation(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    values = []
    for seed in (0, 1):
        config = settings(tiny_bundle, avatars, tmp_path / "out", protocol="paper", count=6)
        values.append(evaluate(config, device="cpu", precision="fp32", seed=seed).value("frechet/judge", "proxy"))
    assert values[0] != values[1]
    assert len(list((tmp_path / "out" / "cache").iterdir())) == 2


def test_missing_weights_are_named_and_the_rest_is_computed(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    result = run(tiny_bundle, avatars, tmp_path / "out", protocol="paper", count=6, features=("inception", "squeezenet"))
    notes = " ".join(result.notes)
    for what in ("pt_inception-2015-12-05-6726825d.pth", "squeezenet_v1.1", str(tmp_path / "out" / "none")):
        assert what in notes
    assert result.value("frechet/judge", "proxy") > 0
    with pytest.raises(ProxymaskError, match="neither a file nor one of"):
        run(tiny_bundle, avatars, tmp_path / "out", count=6, features=("inceptoin",))


def test_another_feature_network_measures_distances_and_diversity(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    """A random EfficientNet-Lite0, by its path: named as what it is, never FID."""
    torch.save(efficientnet_weights(), tmp_path / "w.pth")
    more = {"count": 6, "features": (str(tmp_path / "w.pth"),), "parts": ("pictures", "diversity")}
    result = run(tiny_bundle, avatars, tmp_path / "out", masks=fresh, **more)
    label = "EfficientNet-Lite0 (not the published weights) features"
    names = {row["name"] for row in result.numbers}
    assert {f"Frechet distance, {label}", f"precision (k = 3), {label}", f"diversity, perceptual distance, {label}"} <= names
    assert not any("FID" in name or "LPIPS" in name for name in names)
    for key in ("frechet/efficientnet-lite0", "kernel/efficientnet-lite0"):
        assert {row["of"] for row in result.numbers if row["key"] == key} >= {"masks", "generator", "floor"}


def test_what_cannot_be_used(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ProxymaskError, match="count must be a whole number, 2 to"):
        run(tiny_bundle, avatars, out, count=1)
    with pytest.raises(ProxymaskError, match=r"no judge\.json"):
        run(tiny_bundle, avatars, out, judge=avatars)
    with pytest.raises(ProxymaskError, match="does not exist"):
        run(tiny_bundle, tmp_path / "nowhere", out)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProxymaskError, match="is a file"):
        run(tiny_bundle, avatars, tmp_path / "file")
    with pytest.raises(ProxymaskError, match="backend torch-fidelity is not usable"):
        run(tiny_bundle, avatars, out, backend="torch-fidelity")
    other = Judge.load(SHIPPED / "avatars")
    renamed = dataclasses.replace(other.labels.labels[0], name="sky")
    other.labels = dataclasses.replace(other.labels, labels=(renamed, *other.labels.labels[1:]))
    other.save(tmp_path / "judge")
    with pytest.raises(ProxymaskError, match="knows sky"):
        run(tiny_bundle, avatars, out, judge=tmp_path / "judge")


@pytest.mark.parametrize("mapper", ["nope", "mask-1"])
def test_a_mapper_that_is_not_there_is_refused_before_the_run(mapper: str, tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    with pytest.raises(ProxymaskError, match=rf"mapper {mapper}: .* \(it has mask\)"):
        run(tiny_bundle, avatars, tmp_path / "out", mapper=mapper, count=6)
    assert not (tmp_path / "out").exists()


def test_earlier_results_of_more_are_kept(
    whole: tuple[Evaluation, Path], tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    again = run(tiny_bundle, avatars, out, masks=fresh)
    assert not (out / "metrics-1.json").exists(), "the same again overwrites itself"
    assert not any("are kept as" in note for note in again.notes)
    before = (out / "metrics.json").read_bytes()
    lesser: list[tuple[dict[str, object], str]] = [
        ({"masks": fresh, "parts": ("own-mask",)}, "of more"),
        ({"masks": fresh, "count": 10, "protocol": "paper"}, "of something else"),
    ]
    for number, (changes, why) in enumerate(lesser, start=1):
        result = run(tiny_bundle, avatars, out, **changes)
        kept = f"are kept as metrics-{number}.json and report-{number}.html"
        assert result.notes[-1] == f"the earlier results in {out}, {why}, {kept}"
        assert (out / f"report-{number}.html").is_file()
    assert (out / "metrics-1.json").read_bytes() == before


def test_pictures_without_masks(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    """Real pictures alone: proxy masks are measured, pictures from masks are not, and that is said."""
    result = run(tiny_bundle, avatars / "images", tmp_path / "out", count=6)
    assert result.find("frechet/judge", "masks") is None
    assert result.value("frechet/judge", "proxy") > 0
    assert "no masks" in " ".join(result.notes)


def test_few_pictures(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    """Fewer real pictures than asked for: the reference is what there is, and the floor's two halves share no picture."""
    result = run(tiny_bundle, avatars, tmp_path / "out", count=60, protocol="paper")
    row = result.find("frechet/judge", "floor")
    assert row is not None
    assert (row["count"], row["reference_count"]) == (24, 24)
    assert "48" in " ".join(result.notes)


def test_few_pictures_beyond_the_reference(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    """The floor is not measured with the one or two pictures that are left, but with the halves of the reference."""
    result = run(tiny_bundle, avatars, tmp_path / "out", count=46, protocol="paper")
    row = result.find("frechet/judge", "floor")
    assert row is not None
    assert (row["count"], row["reference_count"]) == (23, 23)


def test_too_few_pictures_are_refused_at_the_start(tiny_bundle: Path, avatars: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted((avatars / "images").glob("*.png"))[:3]:
        shutil.copy(file, few)
    with pytest.raises(ProxymaskError, match="has 3 pictures: distances need 4"):
        run(tiny_bundle, few, tmp_path / "out", parts=("pictures",))


def test_swapped_masks_are_different_ones(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    """Whatever their number is: the hundredth mask after the first of 20 would be the first again."""
    for number, key in ((20, True), (1, False)):
        some = tmp_path / f"masks-{number}"
        for part in ("images", "masks"):
            (some / part).mkdir(parents=True)
            for file in sorted((fresh / part).glob("*.png"))[:number]:
                shutil.copy(file, some / part)
        shutil.copy(fresh / "labels.json", some)
        result = run(tiny_bundle, avatars, tmp_path / f"out-{number}", masks=some, count=4, parts=("own-mask",))
        assert (result.find("unchanged", "masks") is not None) is key
        if key:
            assert result.value("unchanged", "masks") < 0.9


def test_the_verb(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--bundle", str(tiny_bundle), "--data", str(avatars), "--masks", str(fresh), "--count", "6", "--out"]
    assert main([*words, str(tmp_path / "out"), "--device", "cpu", "--weights", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "Frechet distance, judge features" in said
    assert "mIoU, pooled over all pixels, judge avatars-unet, pictures from masks" in said
    assert "report.html" in said
    assert (tmp_path / "out" / "report.html").is_file()
    assert main(["evaluate", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2


def test_without_the_detail_network(tiny_bundle: Path, avatars: Path, fresh: Path, tmp_path: Path) -> None:
    """--no-details measures what a bundle without a detail network gives, in the same folder, and keeps the results with it."""
    bundle = Bundle.load(tiny_bundle)
    torch.manual_seed(0)
    details = DetailNetwork(len(bundle.labels or ()), bundle.generator.synthesis.block(32).conv1.weight.shape[0], 32, bundle.cut, 8)
    details.leave.weight.data.normal_()
    bundle.details["mask"] = details.eval()
    bundle.save(tmp_path / "with")
    words = {"masks": fresh, "parts": ("pictures",)}
    drawn = run(tmp_path / "with", avatars, tmp_path / "out", **words)
    plain = run(tmp_path / "with", avatars, tmp_path / "out", details=False, **words)
    before = run(tiny_bundle, avatars, tmp_path / "before", **words)
    assert [one.about["details"] for one in (drawn, plain, before)] == [True, False, False]
    assert plain.numbers == before.numbers
    assert drawn.value("miou", "masks") != plain.value("miou", "masks")
    assert json.loads((tmp_path / "out" / "metrics-1.json").read_text())["about"]["details"] is True
    assert "mapper mask with its detail network;" in (tmp_path / "out" / "report-1.html").read_text()
    assert "detail network" not in (tmp_path / "out" / "report.html").read_text()
