"""What a stage takes: sums against ones counted by hand, and real stages measured and run to their end."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tiny
from proxymask.core.memory import peak_memory, reset_peak, used_memory
from proxymask.models.stylegan2 import Generator
from proxymask.training.auxiliary import GeneratedImages
from proxymask.training.cost import SECONDS_LEFT, Cost, TimeLeft, schedule, times_due
from proxymask.training.estimate import measure, measure_clusters
from proxymask.training.fit import FitConfig, plan
from proxymask.training.pairs import SegmenterLabeler
from proxymask.training.presets import Preset, StageName, load_preset
from proxymask.training.stages.detail import DetailDefinition
from proxymask.training.stages.generator import GeneratorDefinition
from proxymask.training.stages.mapper import MapperDefinition
from proxymask.training.untrained import NoisePictures, untrained_stage

SIDE = 16


def shares(stage: Any, steps: int) -> dict[int, int]:
    """The first step of each kind, and how often the kind occurs."""
    kinds, firsts = schedule(stage, steps)
    return {firsts[kind]: count for kind, count in Counter(kinds).items()}


def test_the_kinds_of_a_schedule_are_counted() -> None:
    preset = load_preset("demo")
    config = dataclasses.replace(preset.generator, z_dim=8, channel_base=64, channel_max=8, path_weight=2.0)
    stage = GeneratorDefinition(config=config, loop=preset.generator_loop, pictures=NoisePictures(SIDE, 3), size=SIDE).build()
    assert shares(stage, 160) == {0: 10, 1: 120, 4: 30}  # R1 every 16, path length every 4, both where both are due
    mapper = tiny.make_stage("mapper", lambda_label=1.0, label_phase=0.75, adv_phase=0.25, r1_every=16)
    mapper.label_from, mapper.adversarial_from = 40, 120
    assert shares(mapper, 160) == {0: 40, 40: 80, 120: 3, 121: 37}
    segmenter = tiny.make_stage("segmenter", steps=10, style_transfer_max_labels=2)
    assert shares(segmenter, 10) == {0: 4, 4: 6}  # the reader learns first, then labels are transferred


@pytest.mark.parametrize(
    ("every", "done", "steps", "times"),
    [(2, 0, 5, 3), (2, 3, 5, 2), (2, 0, 6, 3), (2, 4, 6, 1), (7, 0, 5, 1), (5, 0, 5, 1), (0, 0, 5, 0), (1, 2, 5, 3)],
)
def test_what_is_done_now_and_then_is_counted(every: int, done: int, steps: int, times: int) -> None:
    by_hand = sum(every > 0 and (index % every == 0 or index == steps) for index in range(done + 1, steps + 1))
    assert times_due(every, done, steps) == times == by_hand


def test_the_sum_is_that_counted_by_hand() -> None:
    cost = Cost(bytes([0, 0, 1, 0, 2]), (1.0, 3.0, 10.0), begin=5.0, end=2.0, regular=((2, 0.5), (0, 9.0)))
    assert cost.total() == 5 + (1 + 1 + 3 + 1 + 10) + 3 * 0.5 + 2
    assert cost.total(3) == 5 + (1 + 10) + 2 * 0.5 + 2  # after steps 4 and 5
    assert cost.total(5) == 5 + 2


def test_the_time_left_follows_the_schedule() -> None:
    """Four steps of a kind measured at 1 s, then four at 10 s. The machine is twice as slow as when it was measured."""
    now, seen = 0.0, []
    cost = Cost(bytes([0] * 4 + [1] * 4), (1.0, 10.0), begin=30.0, end=3.0, regular=((4, 5.0),))
    left = TimeLeft(cost, lambda done, steps, numbers: seen.append(numbers.get(SECONDS_LEFT)), lambda: now)
    for done, spent in enumerate([40.0, 2.0, 2.0, 12.0, 20.0, 20.0, 20.0, 30.0], start=1):
        now += spent
        left(done, 8, {"loss": 1.0})
    assert seen[0] is None  # networks are built before the first step
    assert seen[1] == 2 * 2 + 4 * 20 + 2 * (2 * 5 + 3)
    assert seen[2] == 1 * 2 + 4 * 20 + 2 * (2 * 5 + 3)
    assert seen[3] == 4 * 20 + 2 * (5 + 3)
    assert seen[6] == 20 + 2 * (5 + 3)
    assert seen[7] == 2 * 3


def test_a_run_that_goes_on_counts_the_steps_that_are_left() -> None:
    now, seen = 0.0, []
    cost = Cost(bytes([0] * 100), (1.0,))
    left = TimeLeft(cost, lambda done, steps, numbers: seen.append(numbers.get(SECONDS_LEFT)), lambda: now)
    for done in (91, 92, 93):
        now += 3.0
        left(done, 100, {})
    assert seen == [None, 8 * 3.0, 7 * 3.0]


def test_the_numbers_of_another_run_are_handed_on() -> None:
    seen: list[dict[str, float]] = []
    left = TimeLeft(Cost(bytes(5), (1.0,)), lambda done, steps, numbers: seen.append(numbers))
    left(1, 7, {"loss": 1.0})
    left(2, 7, {"loss": 2.0})
    assert seen == [{"loss": 1.0}, {"loss": 2.0}]


def test_pictures_that_are_kept_are_expected_as_often_as_they_are_made() -> None:
    split = tiny.make_cut()
    data = GeneratedImages(SegmenterLabeler(split, tiny.make_segmenter(split)), count=60)
    rng, made = torch.Generator().manual_seed(0), []
    for _ in range(6):
        data.masks(torch.randint(60, (4,), generator=rng))
        made.append(float(torch.as_tensor(data._known).float().mean() * 60))
    for step, count in enumerate(made, start=1):
        assert data.expected(4 * step) == pytest.approx(count, abs=9)
    assert data.expected(0) == 0
    assert data.expected(0, 20) == 20
    assert data.expected(1, 20) == pytest.approx(20 + 4 * 40 / 60)


# ------------------------------------------------------------------------------------------------- stages of the right sizes


@pytest.fixture
def preset(tmp_path: Path) -> Preset:
    """The demo preset for small pictures and short schedules, with all its losses."""
    often = {"tensorboard": False, "log_every": 4, "checkpoint_every": 4, "grid_every": 8}
    toy = {
        "resolution": SIDE,
        "cut": 8,
        "num_clusters": 5,
        "cluster_samples": 16,
        "generator": {"z_dim": 16, "channel_base": 128, "channel_max": 16},
        "rearranger": {"hidden": 8, "position_channels": 8, "narrow_channels": 8},
        "mapper": {"widths": [8, 8, 8], "hidden": 8},
        **{f"{name}_loop": {"steps": 24, "batch": 4, **often} for name in ("generator", "rearranger", "segmenter", "mapper", "detail")},
    }
    (tmp_path / "toy.json").write_text(json.dumps(toy))
    return load_preset(str(tmp_path / "toy.json")).with_loops(device="cpu", precision="fp32")


def stage(name: StageName, preset: Preset, labelled: int = 1) -> Any:
    generator = {"z_dim": 16, "w_dim": 16, "resolution": SIDE, "mapping_layers": 2, "channel_base": 128, "channel_max": 16}
    return untrained_stage(name, preset, generator, 8, 4, labelled, 50)


@pytest.mark.parametrize("name", ["generator", "rearranger", "segmenter", "mapper", "detail"])
def test_a_stage_takes_the_disk_that_is_said(name: StageName, preset: Preset, tmp_path: Path) -> None:
    cost = measure(stage(name, preset), tmp_path)
    stage(name, preset).run(tmp_path / "run")
    used = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert 0.75 < cost.disk / used < 1.25
    assert cost.memory == 0 or cost.memory > used
    assert len(cost.kinds) == 24
    assert all(seconds > 0 for seconds in cost.seconds)
    assert cost.total(12) < cost.total()


def test_measuring_leaves_the_stage_as_it_was(preset: Preset, tmp_path: Path) -> None:
    """A generator that is tuned further is an input, and the network that is trained."""
    tuned = dataclasses.replace(stage("generator", preset), start=tiny.make_generator())
    before = {name: value.clone() for name, value in tuned.start.state_dict().items()}
    measure(tuned, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in tuned.start.state_dict().items())


@pytest.mark.parametrize("kind", [MapperDefinition, DetailDefinition])
def test_pictures_of_the_auxiliary_segmenter_are_made_once_not_in_every_step(kind: Any, preset: Preset, tmp_path: Path) -> None:
    """Without this a mapper was said to take hours: the step that makes the first pictures stood for all steps."""
    made: list[int] = []

    class Counted(GeneratedImages):
        def _made(self, indices: Any) -> torch.Tensor:
            made.append(len(indices))
            return super()._made(indices)

    class Definition(kind):
        def build(self) -> Any:
            built = super().build()
            assert built.auxiliary is not None
            built.auxiliary.generated.__class__ = Counted
            return built

    trained = stage(kind.name, preset)
    cost = measure(Definition(**{field.name: getattr(trained, field.name) for field in dataclasses.fields(trained)}), tmp_path)
    assert made == []
    assert cost.begin > 0
    learning = round(24 * ((1 - preset.mapper.label_phase) if kind is MapperDefinition else preset.detail.auxiliary_share))
    assert Counter(cost.kinds[:learning]).keys().isdisjoint(cost.kinds[learning:])


def test_several_labelled_samples_need_no_transfer(preset: Preset, tmp_path: Path) -> None:
    """The demo preset transfers labels of one sample only; that takes a kind of steps of its own."""
    assert len(set(measure(stage("segmenter", preset, labelled=1), tmp_path).kinds)) == 2
    assert len(set(measure(stage("segmenter", preset, labelled=3), tmp_path).kinds)) == 1


def test_clusters_are_measured(preset: Preset) -> None:
    split = tiny.make_cut()
    few = measure_clusters(split, 5, 16, torch.device("cpu"))
    many = measure_clusters(split, 5, 16_000, torch.device("cpu"))
    assert 0 < few.total() < many.total()
    assert few.disk == many.disk > 0


def test_memory_that_is_used_and_freed_is_seen() -> None:
    if not reset_peak():
        pytest.skip("this system does not forget the peak")
    before = used_memory()
    block = torch.ones(100 * 2**20, dtype=torch.uint8)
    assert peak_memory() - before > 90 * 2**20
    del block
    assert reset_peak()
    assert peak_memory() - before < 20 * 2**20


def test_noise_pictures_have_the_generators_size() -> None:
    generator = Generator(z_dim=8, w_dim=8, resolution=SIDE, mapping_layers=1, channel_base=64, channel_max=8)
    pictures = NoisePictures(generator.picture_size, 3, 5)
    assert len(pictures) == 5
    assert pictures.images(torch.arange(2)).shape == (2, 3, SIDE, SIDE)


def test_long_amounts_stay_in_their_column(tmp_path: Path) -> None:
    state: Any = SimpleNamespace(
        config=FitConfig(out=tmp_path / "model", images=tmp_path), source=None, out=tmp_path / "model", size=64, cut=32,
        device=torch.device("cpu"), work=tmp_path,
    )  # fmt: skip
    amounts = ("256 samples", "16,000 steps, 16,000 of them done")
    rows = [plan.Row("generator", amount, Cost(begin=1.0), 0, False) for amount in amounts]
    found = [line for line in plan._lines(state, rows) if line.startswith("  ") and "about" in line]
    assert len({line.index("about") for line in found}) == 1
    assert all(f"{amount} " in "\n".join(found) for amount in amounts)
