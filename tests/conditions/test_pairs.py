"""Training pairs of conditions: their content, repeatability, caches, real pictures."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import tiny
from proxymask.conditions import get_condition
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors
from proxymask.core.seeding import derive_rng
from proxymask.inference.bundle import Bundle
from proxymask.models.stylegan2 import seed_to_z
from proxymask.training import loop, losses
from proxymask.training.mapper import ConditionConfig, MapperConfig, MapperStage
from proxymask.training.pair_cache import PairShards, probe_of
from proxymask.training.pairs import UNKNOWN, ConditionPairs, Pairs, RealPairs
from proxymask.training.parts import Frozen
from proxymask.training.stages.condition_mapper import ConditionMapperDefinition
from proxymask.training.stats import stat_lines

NAMES = ("sketch", "scribble")


def make_stage(name: str, steps: int = 6, adv_phase: float = 0.5, lambda_label: float = 0.0, **widths: object) -> MapperStage:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    condition = get_condition(name, tiny.LABELS if name == "scribble" else None)
    schedule = {key: widths.pop(key) for key in ("momentum", "cosine_decay") if key in widths}
    sizes = {"unet_base": tiny.WIDTHS["channel_base"], "unet_max": tiny.WIDTHS["channel_max"], **widths}
    return ConditionMapperDefinition(
        config=MapperConfig(adv_phase=adv_phase, lambda_label=lambda_label, **schedule),
        loop=tiny.loop_config(steps=steps),
        unet=ConditionConfig(**sizes),
        condition=condition,
        frozen=Frozen(split, clusters, tiny.make_rearranger(split, clusters)),
        segmenter=tiny.make_segmenter(split),
        discriminator=tiny.make_discriminator(mbstd_group=1),
        pictures=tiny.Pictures(),
    ).build()


@pytest.mark.parametrize("name", NAMES)
def test_both_parts_of_a_pair_are_of_one_sample(name: str) -> None:
    """Picture, condition and proxy mask of a pair are of the same sample."""
    stage = make_stage(name)
    source = stage.source
    assert isinstance(source, ConditionPairs)
    w = stage.split.w(seed_to_z(range(4), tiny.Z))
    given, proxy, _ = source(w, torch.Generator().manual_seed(1))
    assert given.shape == (4, source.condition.channels, tiny.SIZE, tiny.SIZE)
    assert torch.equal(proxy, stage.clusters.assign(stage.split.features(w).features))
    if name == "sketch":
        pictures = stage.split.generator.synthesis(stage.split.generator.broadcast(w)).clamp(-1, 1)
        assert torch.allclose(given, source.condition.extract(pictures, None, torch.Generator()), atol=1e-4)
    else:
        assert stage.source.segmenter is not None
        labels = stage.source.segmenter(stage.split.feature_pyramid(w)[0]).argmax(dim=1)
        painted = given.sum(dim=1) > 0
        assert torch.equal(given.argmax(dim=1)[painted], labels[painted])
        assert 0 < float(painted.float().mean()) < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_pairs_depend_on_seed_and_step_only(name: str) -> None:
    one, two = make_stage(name), make_stage(name)
    first, second = loop.Run(tiny.loop_config(), one), loop.Run(tiny.loop_config(), two)
    pairs = [one.pairs(first, "pairs") for _ in range(2)]
    second.index = 3
    other = two.pairs(second, "pairs")
    second.index = 0
    again = two.pairs(second, "pairs")
    for a, b, c in zip(pairs[0], pairs[1], again, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert not torch.equal(other[0], again[0])


@pytest.mark.parametrize("name", NAMES)
def test_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    """2N steps = N + resume + N, to the last bit, over both phases."""
    whole = tiny.state(tiny.run(make_stage(name), tmp_path / "whole"))
    tiny.run(make_stage(name), tmp_path / "parts", steps=3)
    parts = tiny.state(tiny.run(make_stage(name), tmp_path / "parts"))
    assert tiny.differing(whole, parts) == []


@pytest.mark.parametrize("name", NAMES)
def test_label_loss_of_drawings(name: str, tmp_path: Path) -> None:
    """L_label for other conditions too: stopped and resumed it is the same, and real pictures, which nobody labelled, count nothing."""
    whole = tiny.run(make_stage(name, lambda_label=4.0), tmp_path / "whole")
    tiny.run(make_stage(name, lambda_label=4.0), tmp_path / "parts", steps=4)
    assert tiny.differing(tiny.state(whole), tiny.state(tiny.run(make_stage(name, lambda_label=4.0), tmp_path / "parts"))) == []
    lines = [json.loads(line) for line in (tmp_path / "whole/stats.jsonl").read_text().splitlines()]
    assert ["loss/label" in line for line in lines] == [False] * 3 + [True] * 3
    stage = make_stage(name, lambda_label=4.0)
    run = loop.Run(tiny.loop_config(batch=8), stage)
    assert int(stage.pairs(run, "pairs").labels.min()) >= 0
    assert build_without_segmenter().auxiliary is None
    if name == "sketch":
        stage.real = RealPairs(tiny.Pictures(), Certain(), get_condition("sketch"), share=0.5)
        labels = stage.pairs(run, "pairs").labels
        assert [bool((one == UNKNOWN).all()) for one in labels] == [False] * 4 + [True] * 4
        whole_loss = losses.label_loss(torch.zeros(8, tiny.N, tiny.SIZE, tiny.SIZE), labels, torch.ones(tiny.N))
        assert float(whole_loss) == pytest.approx(0.5 * math.log(tiny.N), rel=1e-5)


def build_without_segmenter() -> MapperStage:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    return ConditionMapperDefinition(
        config=MapperConfig(lambda_label=4.0),
        loop=tiny.loop_config(),
        unet=ConditionConfig(unet_base=64, unet_max=16),
        condition=get_condition("sketch"),
        frozen=Frozen(split, clusters, tiny.make_rearranger(split, clusters)),
    ).build()


def test_mirrored_pairs_stay_pairs() -> None:
    stage = make_stage("sketch")
    stage.source.condition.augment = lambda planes, rng: planes  # type: ignore[union-attr, method-assign]
    run = loop.Run(tiny.loop_config(batch=16), stage)
    given, proxy, _ = stage.pairs(run, "pairs")
    z = torch.randn(16, tiny.Z, generator=run.rng("pairs"))
    plain, straight, _ = stage.source(stage.split.w(z), torch.Generator())
    turned = [bool(torch.equal(given[i], plain[i].flip(-1))) for i in range(16)]
    assert 2 < sum(turned) < 14
    for i, mirrored in enumerate(turned):
        assert torch.equal(proxy[i], straight[i].flip(-1) if mirrored else straight[i])
        assert torch.allclose(given[i], plain[i].flip(-1) if mirrored else plain[i])


def test_a_mapper_learns_from_pairs(tmp_path: Path) -> None:
    stage = make_stage("sketch", steps=60, adv_phase=0.0)
    tiny.run(stage, tmp_path, steps=60, batch=8)
    lines = stat_lines(tmp_path / "stats.jsonl")
    first, last = (sum(line["loss/recon"] for line in part) / 5 for part in (lines[:5], lines[-5:]))
    assert last < 0.9 * first


def test_start_from_the_discriminator() -> None:
    fresh, started = make_stage("sketch"), make_stage("sketch", unet_start="discriminator")
    theirs = tiny.make_discriminator(mbstd_group=1).state_dict()["b8.conv0.weight"]
    assert torch.equal(started.mapper.state_dict()["b8.conv0.weight"], theirs)
    assert not torch.equal(fresh.mapper.state_dict()["b8.conv0.weight"], theirs)


def test_a_scribble_needs_a_segmenter() -> None:
    split = tiny.make_cut()
    with pytest.raises(ProxymaskError, match="a scribble is made of labels: give segmenter"):
        ConditionPairs(split, tiny.make_clusters(split), get_condition("scribble", tiny.LABELS))


# In a bundle


def test_a_bundle_stores_conditions_and_old_ones_load(tmp_path: Path) -> None:
    bundle = tiny.make_bundle()
    old = Bundle.load(bundle.save(tmp_path / "old"))
    assert '"format": 1' in (tmp_path / "old" / "bundle.json").read_text()
    assert old.condition_of("mask") == {"condition": "mask"}
    mapper = make_stage("sketch").mapper.eval().requires_grad_(False)
    bundle.mappers["pen"], bundle.conditions["pen"] = mapper, get_condition("sketch").about()
    new = Bundle.load(bundle.save(tmp_path / "new"))
    assert '"format": 2' in (tmp_path / "new" / "bundle.json").read_text()
    assert new.condition_of("pen") == {"condition": "sketch", "channels": 1, "extractor": "xdog"}
    assert new.mapper_for("sketch") == "pen"
    assert new.mapper_for("mask") == "mask"
    assert "pen (reads: sketch)" in new.card()
    with pytest.raises(ProxymaskError, match=r"no mapper for depth \(it reads: mask, sketch\): train one with"):
        new.mapper_for("depth")


# ------------------------------------------------------------------------------------------------------ shards, and real pictures


def make_shards(stage: MapperStage, folder: Path, count: int = 600, **identity: str) -> PairShards:
    assert isinstance(stage.source, ConditionPairs)
    probe = probe_of(stage.source.condition, tiny.SIZE)
    return PairShards(folder, count, {"generator": "one", "condition": stage.source.condition.name, **identity}, probe)


def fill(stage: MapperStage, shards: PairShards, progress: Callable[[int, int], None] | None = None) -> int:
    return shards.fill(stage.source, stage.split, torch.device("cpu"), torch.float32, progress)


@pytest.mark.parametrize("name", NAMES)
def test_shards_hold_what_the_generator_makes(name: str, tmp_path: Path) -> None:
    stage = make_stage(name)
    shards = make_shards(stage, tmp_path / "cache")
    size = fill(stage, shards)
    assert size == sum(path.stat().st_size for path in (tmp_path / "cache").glob("pairs-*.safetensors"))
    held = load_tensors(shards.path(0))
    rng = derive_rng(0, "cache", 0)
    z = torch.randn(512, tiny.Z, generator=rng)
    given, proxy, labels = stage.source(stage.split.w(z[:16]), rng)
    assert torch.equal(held["proxy"][:16].long(), proxy)
    assert torch.equal(held["labels"][:16].long(), labels)
    levels, _ = stage.split.feature_pyramid(stage.split.w(z[:16]))
    assert torch.equal(labels, stage.source.segmenter(levels).argmax(dim=1))  # of every condition, also one that is not made of them
    assert float((held["given"][:16].float() / 255 - given).abs().max()) <= 0.5 / 255 + 1e-6


def test_every_cached_pair_comes_once_in_each_epoch(tmp_path: Path) -> None:
    stage = make_stage("sketch")
    shards = make_shards(stage, tmp_path, count=520)
    fill(stage, shards)
    whole = torch.cat([load_tensors(shards.path(0))["proxy"], load_tensors(shards.path(1))["proxy"]])[:520].long()
    rounds = [torch.cat([shards.pairs(step, 8)[1] for step in range(first, first + 65)]) for first in (0, 65)]
    for found in rounds:
        assert sorted(x.numpy().tobytes() for x in found) == sorted(x.numpy().tobytes() for x in whole)
    assert not torch.equal(*rounds)
    across = shards.pairs(86, 6)[1]  # 516 to 521: over the end of the first round
    assert torch.equal(across, torch.cat([rounds[0][516:], rounds[1][:2]]))


def test_filling_a_cache_continues_after_a_stop(tmp_path: Path) -> None:
    """Stopped after one shard, and later made longer: what is there stays, and all is as if made at once."""
    stage = make_stage("scribble")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(stage, make_shards(stage, tmp_path / "parts"), stop)
    first = make_shards(stage, tmp_path / "parts").path(0)
    made_at = first.stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    fill(stage, make_shards(stage, tmp_path / "parts"), lambda done, total: seen.append((done, total)))
    assert seen == [(600, 600)]
    assert first.stat().st_mtime_ns == made_at
    fill(stage, make_shards(stage, tmp_path / "whole"))
    for shard in range(2):
        one, two = (load_tensors(make_shards(stage, tmp_path / name).path(shard)) for name in ("parts", "whole"))
        assert all(torch.equal(one[key], two[key]) for key in ("given", "proxy"))


def test_stale_and_foreign_caches_are_refused(tmp_path: Path) -> None:
    stage = make_stage("sketch")
    fill(stage, make_shards(stage, tmp_path / "cache", count=8))
    with pytest.raises(ProxymaskError, match=r"holds pairs of something else \(the generator is another\): choose another cache"):
        fill(stage, make_shards(stage, tmp_path / "cache", count=8, generator="two"))
    assert isinstance(stage.source, ConditionPairs)
    old = stage.source.condition.extract
    stage.source.condition.extract = lambda *args: 1 - old(*args)  # type: ignore[method-assign]
    with pytest.raises(ProxymaskError, match="another version of the extractor"):
        fill(stage, make_shards(stage, tmp_path / "cache", count=8))
    stage.source.condition.extract = lambda *args: (old(*args) + 1e-4).clamp(0, 1)  # type: ignore[method-assign]
    fill(stage, make_shards(stage, tmp_path / "cache", count=8))  # rounding of another machine is not another extractor
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("dear")
    with pytest.raises(ProxymaskError, match="holds something else than pairs"):
        make_shards(stage, tmp_path / "else").check()
    shards = make_shards(stage, tmp_path / "cache", count=8)
    shards.path(0).write_bytes(shards.path(0).read_bytes()[:100])
    with pytest.raises(ProxymaskError, match=r"missing or damaged .* remove it and run the same command"):
        shards.pairs(0, 4)


def test_a_full_disk_is_reported_after_the_first_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage("sketch")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ProxymaskError, match=r"1,100 pairs need 0\.00 GB more .* smaller cache_pairs"):
        fill(stage, make_shards(stage, tmp_path, count=1100))


def test_training_from_shards_resumes_exactly(tmp_path: Path) -> None:
    def stage() -> MapperStage:
        made = make_stage("sketch")
        made.shards = make_shards(made, tmp_path / "cache", count=20)
        fill(made, made.shards)
        return made

    whole = tiny.state(tiny.run(stage(), tmp_path / "whole"))
    tiny.run(stage(), tmp_path / "parts", steps=3)
    assert tiny.differing(whole, tiny.state(tiny.run(stage(), tmp_path / "parts"))) == []
    assert tiny.differing(whole, tiny.state(tiny.run(make_stage("sketch"), tmp_path / "fly"))) != []


def test_settings_of_the_u_net(tmp_path: Path) -> None:
    recipe = {"unet_lr_multiplier": 3.0, "momentum": 0.9, "cosine_decay": True, "unet_logit_adjustment": 0.6}
    stage = make_stage("sketch", adv_phase=0.0, **recipe)
    [group] = stage.optimizers["mapper"].param_groups
    assert group["betas"] == (0.9, 0.99)
    assert torch.allclose(stage.adjustment.exp() ** (1 / 0.6), stage.clusters.shares())
    run, rates = loop.Run(tiny.loop_config(), stage), []
    for run.index in range(6):
        stage.step(run)
        rates.append(group["lr"])
    assert rates == pytest.approx([0.006 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)])
    assert [g["lr"] for g in stage.optimizers["discriminator"].param_groups] == pytest.approx([0.002])
    # exact resume, though the rate changes
    whole = tiny.state(tiny.run(make_stage("sketch", **recipe), tmp_path / "whole"))
    tiny.run(make_stage("sketch", **recipe), tmp_path / "parts", steps=3)
    assert tiny.differing(whole, tiny.state(tiny.run(make_stage("sketch", **recipe), tmp_path / "parts"))) == []


def test_lines_are_extracted_from_recoloured_pictures() -> None:
    def drawn(name: str, share: float) -> Pairs:
        source = make_stage(name, unet_recolor=share).source
        assert isinstance(source, ConditionPairs)
        return source(source.split.w(seed_to_z(range(4), tiny.Z)), torch.Generator().manual_seed(1))

    (plain, proxy, _), (other, same, _) = drawn("sketch", 0.0), drawn("sketch", 1.0)
    assert torch.equal(proxy, same)
    assert all(not torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    assert torch.equal(drawn("scribble", 0.0)[0], drawn("scribble", 1.0)[0])  # made of labels, which have no colours


def test_clean_pairs_are_as_the_extractor_made_them() -> None:
    def augmented(clean: float) -> float:
        stage = make_stage("sketch", unet_clean_share=clean)
        assert isinstance(stage.source, ConditionPairs)
        stage.source.condition.augment = lambda planes, rng: torch.full_like(planes, 2.0)  # type: ignore[method-assign]
        given, _, _ = stage.pairs(loop.Run(tiny.loop_config(batch=40), stage), "pairs")
        return float((given.amin(dim=(1, 2, 3)) == 2).float().mean())

    assert augmented(1.0) == 0.0
    assert 0.3 < augmented(0.5) < 0.7
    assert augmented(0.0) == 1.0


class Certain(torch.nn.Module):
    """A mapper of pictures that sees cluster 1 in 3 of 4 cells at random, else cluster 3."""

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        chances = torch.tensor([0.0, 0.75, 0.0, 0.25, 0.0]).log().clamp(min=-30)
        return chances[None, :, None, None].expand(len(planes), -1, tiny.CUT, tiny.CUT)


def test_real_pictures_give_pairs() -> None:
    stage, pictures = make_stage("sketch"), tiny.Pictures()
    assert isinstance(stage.source, ConditionPairs)
    condition = stage.source.condition
    condition.augment = lambda planes, rng: planes  # type: ignore[method-assign]
    stage.real = RealPairs(pictures, Certain(), condition, share=0.75)  # type: ignore[arg-type]
    run = loop.Run(tiny.loop_config(batch=32), stage)
    given, proxy, _ = stage.pairs(run, "pairs")
    assert given.shape[0] == proxy.shape[0] == 32
    known = condition.extract(pictures.all, None, torch.Generator())
    known = torch.cat([known, known.flip(-1)])
    of_real = [bool(((known - one).abs().amax(dim=(1, 2, 3)) < 1e-6).any()) for one in given]
    assert of_real == [False] * 8 + [True] * 24
    assert set(proxy[8:].unique().tolist()) == {1, 3}
    assert 0.7 < float((proxy[8:] == 1).float().mean()) < 0.8
    again = stage.pairs(run, "pairs")
    assert torch.equal(given, again[0])
    assert torch.equal(proxy, again[1])


def test_real_pictures_are_recoloured_too() -> None:
    condition = get_condition("sketch")
    index, pictures = torch.arange(6), tiny.Pictures()
    (plain, one, _), (other, two, _) = (
        RealPairs(pictures, Certain(), condition, recolor=share)(index, torch.Generator().manual_seed(0), torch.device("cpu"))  # type: ignore[arg-type]
        for share in (0.0, 1.0)
    )
    assert torch.equal(one, two)
    assert all(not torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_real_pairs_need_pictures_and_no_labels() -> None:
    with pytest.raises(ProxymaskError, match="a scribble is made of labels, which real pictures have not"):
        RealPairs(tiny.Pictures(), Certain(), get_condition("scribble", tiny.LABELS))  # type: ignore[arg-type]
    with pytest.raises(ProxymaskError, match=r"real_share is above 0 and at most 1, got 1\.5"):
        RealPairs(tiny.Pictures(), Certain(), get_condition("sketch"), share=1.5)  # type: ignore[arg-type]
