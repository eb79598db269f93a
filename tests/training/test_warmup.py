"""Trained networks come to their full learning rate slowly: Adam's first steps would undo what they know."""

from pathlib import Path

import pytest

import tiny
from proxymask.training.generator import GeneratorConfig, GeneratorStage


@pytest.mark.parametrize("discriminator_first", [0, 2])
def test_learning_rates_rise_from_the_first_step_of_each_network(discriminator_first: int, tmp_path: Path) -> None:
    config = GeneratorConfig(path_weight=0.0, learning_rate=0.002, discriminator_first=discriminator_first)
    stage = GeneratorStage(tiny.make_generator(), tiny.make_discriminator(), tiny.Pictures(), config, warmup=4)
    full, seen = dict(stage.rates), []
    step = stage.step

    def watched(run: object) -> None:
        step(run)  # type: ignore[arg-type]
        seen.append({name: optimizer.param_groups[0]["lr"] for name, optimizer in stage.optimizers.items()})

    stage.step = watched  # type: ignore[method-assign]
    tiny.run(stage, tmp_path, steps=6)
    assert [rates["discriminator"] / full["discriminator"] for rates in seen] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    from_the_start = [rates["generator"] / full["generator"] for rates in seen][discriminator_first:]
    assert from_the_start == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1][: 6 - discriminator_first])
