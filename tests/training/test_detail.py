"""The detail stage."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import LabelSet
from proxymask.training import loop
from proxymask.training.detail import DetailConfig
from proxymask.training.parts import Frozen
from proxymask.training.stages.detail import DetailDefinition


def definition(steps: int = 6, **config: object) -> DetailDefinition:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    return DetailDefinition(
        config=DetailConfig(**{"width": 8, **config}),
        loop=tiny.loop_config(steps=steps),
        frozen=Frozen(split, clusters, tiny.make_rearranger(split, clusters)),
        segmenter=tiny.make_segmenter(split),
        mapper=tiny.make_mapper(),
        labels=tiny.LABELS,
    )


def test_it_learns_and_what_is_frozen_stays(tmp_path: Path) -> None:
    """About borders, samples in their own style come nearer to the samples."""
    stage = definition(
        60, self_share=1.0, mix_share=0.0, lambda_label=0.0, lambda_adv=0.0, auxiliary_share=0.02, learning_rate=0.05
    ).build()
    frozen = dict(enumerate((*stage.frozen.modules, stage.mapper)))
    before = {name: {k: v.clone() for k, v in module.state_dict().items()} for name, module in frozen.items()}

    def off(network: torch.nn.Module) -> float:
        run = loop.Run(tiny.loop_config(steps=60, batch=16), stage)
        run.index = 10_000
        with torch.no_grad():
            batch = stage.batch(run)
            picture, gate = stage.paint(network, batch)
        return float(((picture - batch.target).abs() * gate).sum() / gate.sum())

    first = off(stage.detail)
    tiny.run(stage, tmp_path, steps=60, batch=8)
    assert off(stage.detail) < 0.95 * first
    assert [tiny.differing(before[name], module.state_dict()) for name, module in frozen.items()] == [[]] * 4


def test_only_the_auxiliary_segmenter_learns_at_first() -> None:
    stage = definition(10, auxiliary_share=0.3).build()
    assert [stage.step_kind(index) for index in (0, 2, 3, 4, 19)] == [
        (True, False),
        (True, False),
        (False, True),
        (False, False),
        (False, True),
    ]


def test_shares_of_styles() -> None:
    def paired(**config: object) -> list[bool]:
        stage = definition(**config).build()
        return stage.batch(loop.Run(tiny.loop_config(steps=6, batch=64), stage)).paired.tolist()

    assert all(paired(self_share=1.0, mix_share=0.0))
    assert all(paired(self_share=0.0, mix_share=1.0))
    assert not any(paired(self_share=0.0, mix_share=0.0))
    assert 0 < sum(paired(self_share=0.5, mix_share=0.25)) < 64


def test_shares_and_layers_that_cannot_be() -> None:
    with pytest.raises(ProxymaskError, match=r"self.share 0.6 and .*mix.share 0.5 are more than 1 together"):
        DetailConfig(self_share=0.6, mix_share=0.5)
    layers = tiny.make_cut().generator.num_ws
    definition(mix_layers=(1, layers)).build()
    with pytest.raises(ProxymaskError, match=rf"mix.layers {layers + 1}: the generator has {layers} layers"):
        definition(mix_layers=(1, layers + 1)).build()


def test_resumes_exactly(tmp_path: Path) -> None:
    """2N steps = N + resume + N, from within either phase."""
    whole = tiny.state(tiny.run(definition(8).build(), tmp_path / "whole", steps=8, checkpoint_every=8))
    for at in (1, 5):
        out = tmp_path / str(at)
        stopped = definition(8).build()
        stopped.step = stop_at(stopped.step, at)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            tiny.run(stopped, out, steps=8, checkpoint_every=at)
        assert tiny.differing(whole, tiny.state(tiny.run(definition(8).build(), out, steps=8, checkpoint_every=at))) == []


def stop_at(step: Callable[[loop.Run], None], at: int) -> Callable[[loop.Run], None]:
    def run(state: loop.Run) -> None:
        if state.index > at:
            raise KeyboardInterrupt
        step(state)

    return run


def test_networks_that_do_not_fit_are_refused() -> None:
    three = LabelSet.of([("a", "#000000"), ("b", "#ff0000"), ("c", "#00ff00")])
    wrong = dataclasses.replace(definition(), labels=three)
    with pytest.raises(ProxymaskError, match="the segmenter knows 4 classes, the labels are 3"):
        wrong.build()
