"""A mapper that learns what another one says."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.mappers import Mapper
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training import loop
from proxymask.training.distillation import DistillationStage, perturb_masks
from proxymask.training.mapper import MapperConfig
from proxymask.training.parts import Frozen
from proxymask.training.stages.distillation import DistillationDefinition


def teacher(seed: int = 5) -> OasisMapper:
    """One that says different things of different masks, and is sure of them."""
    torch.manual_seed(seed)
    mapper = OasisMapper(tiny.N, tiny.K, tiny.CUT, widths=(8, 8), hidden=8).eval()
    with torch.no_grad():
        for parameter in mapper.parameters():
            if parameter.ndim == 4:
                parameter.normal_(std=0.1)
    return mapper


def definition(config: MapperConfig, teachers: Sequence[Mapper], steps: int = 6) -> DistillationDefinition:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    return DistillationDefinition(
        config=config,
        loop=tiny.loop_config(steps=steps),
        frozen=Frozen(split, clusters, tiny.make_rearranger(split, clusters)),
        segmenter=tiny.make_segmenter(split),
        labels=tiny.LABELS,
        teachers=teachers,
    )


def student(steps: int = 6, teachers: list[OasisMapper] | None = None, **config: object) -> DistillationStage:
    about = MapperConfig(**{"widths": (8, 4), "hidden": 4, "learning_rate": 0.02, "momentum": 0.9, **config})
    return definition(about, teachers or [teacher(), teacher(6)], steps).build()


def test_learns_what_the_teacher_says(tmp_path: Path) -> None:
    stage = student(150, cosine_decay=True, widths=(8, 8), hidden=8)
    before = [{k: v.clone() for k, v in one.state_dict().items()} for one in stage.teachers]
    masks = perturb_masks(stage.dataset.masks(range(10)), stage.dataset.masks(range(10, 20)), tiny.N, torch.Generator().manual_seed(9))
    wanted = (stage.teachers[0](masks) + stage.teachers[1](masks)) / 2

    def off(mapper: OasisMapper) -> float:
        ours, theirs = mapper.eval()(masks).softmax(dim=1), wanted.softmax(dim=1)
        return float((ours - theirs).abs().sum(dim=1).mean().detach())

    first = off(stage.mapper)
    run = tiny.run(stage, tmp_path, steps=150, batch=8)
    assert off(run.averages["mapper"]) < 0.7 * first
    assert [tiny.differing(was, one.state_dict()) for was, one in zip(before, stage.teachers, strict=True)] == [[], []]


def test_a_teacher_named_twice_counts_twice() -> None:
    first, second = teacher(), teacher(6)
    stage = student(teachers=[first, second, first])
    masks = stage.dataset.masks(range(3))
    assert len(stage.teachers) == 2
    assert torch.allclose(stage.teacher_logits(masks), (2 * first(masks) + second(masks)) / 3, atol=1e-5)


def test_resumes_exactly(tmp_path: Path) -> None:
    """2N steps = N + resume + N."""
    whole = tiny.state(tiny.run(student(), tmp_path / "whole"))
    for steps in (3, 6):
        parts = tiny.state(tiny.run(student(), tmp_path / "parts", steps=steps))
    assert tiny.differing(whole, parts) == []


def test_one_step_is_the_divergence_from_the_teacher() -> None:
    stage = student()
    run = loop.Run(tiny.loop_config(), stage)
    stage.step(run)
    stats = run.take_stats()
    assert stats["loss/distillation"] > 0
    assert 0 <= stats["loss/accuracy"] <= 1


def test_strange_masks() -> None:
    """Some stay as they are or mirrored, the others hold what none of theirs does; no id comes from nowhere."""
    masks = torch.zeros(400, 32, 32, dtype=torch.long)
    masks[:, 8:24, 4:16] = 2
    others = torch.full_like(masks, 5)
    made = perturb_masks(masks, others, 9, torch.Generator().manual_seed(3))
    assert made.shape == masks.shape
    assert int(made.min()) >= 0
    assert int(made.max()) <= 8
    plain = (made == masks).flatten(1).all(dim=1) | (made == masks.flip(2)).flatten(1).all(dim=1)
    assert 0.15 < float(plain.float().mean()) < 0.35
    mixed = (made == 5).flatten(1).float().mean(dim=1) > 0.3
    assert 0.12 < float(mixed.float().mean()) < 0.4
    painted = torch.tensor([len(x.unique()) > 2 for x in made]) & ~mixed
    assert 0.1 < float(painted.float().mean()) < 0.35
    assert torch.equal(made, perturb_masks(masks, others, 9, torch.Generator().manual_seed(3)))


def test_refuses_a_teacher_of_something_else() -> None:
    for other in (
        OasisMapper(tiny.N, tiny.K + 1, tiny.CUT, widths=(8, 8), hidden=8),
        OasisMapper(tiny.N + 1, tiny.K, tiny.CUT, widths=(8, 8), hidden=8),
        UNetMapper(1, tiny.K, tiny.CUT, tiny.SIZE, 64, 8),
    ):
        with pytest.raises(ProxymaskError, match="a teacher is no mapper of masks with these labels and clusters"):
            definition(MapperConfig(widths=(8, 4), hidden=4), [teacher(), other]).build()


def test_the_student_has_the_mean_counts_of_its_teachers() -> None:
    """Of a teacher that is named twice, twice; teachers with and without a label prior say different things."""
    with_prior = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        one = OasisMapper(tiny.N, tiny.K, tiny.CUT, widths=(8, 8), hidden=8, label_prior=True).eval()
        one.count(torch.randint(tiny.K, (4, 8, 8)), torch.randint(tiny.N, (4, 16, 16)))
        with_prior.append(one)
    stage = student(teachers=[with_prior[0], with_prior[0], with_prior[1]])
    assert stage.mapper.label_prior
    wanted = (2 * with_prior[0].cluster_counts + with_prior[1].cluster_counts) / 3
    assert torch.allclose(stage.mapper.cluster_counts, wanted, atol=1e-5)
    assert not student(label_prior=True).mapper.label_prior
    with pytest.raises(ProxymaskError, match="name those of one kind"):
        student(teachers=[with_prior[0], teacher()])
