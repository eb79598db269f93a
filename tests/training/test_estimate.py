"""The estimate of what a stage takes."""

import dataclasses

import tiny
from proxymask.training.estimate import NoisePictures, step_kinds
from proxymask.training.fit.plan import amount, duration
from proxymask.training.presets import load_preset
from proxymask.training.stages.generator import GeneratorDefinition


def test_step_kinds_are_shares_of_the_schedule():
    preset = load_preset("demo")
    config = dataclasses.replace(preset.generator, z_dim=8, channel_base=64, channel_max=8, path_weight=2.0)
    stage = GeneratorDefinition(config=config, loop=preset.generator_loop, pictures=NoisePictures(16, 3), size=16).build()
    kinds = step_kinds(stage, 160)
    assert kinds == {1: 120 / 160, 4: 30 / 160, 0: 10 / 160}
    mapper = tiny.make_stage("mapper", lambda_label=1.0, label_phase=0.75, adv_phase=0.25, r1_every=16)
    mapper.label_from, mapper.adversarial_from = 40, 120
    assert step_kinds(mapper, 160) == {40: 80 / 160, 0: 40 / 160, 121: 37 / 160, 120: 3 / 160}


def test_words_for_times_and_sizes():
    assert [duration(s) for s in (0.2, 80, 600, 7500, 200_000)] == ["1 s", "80 s", "10 min", "2 h 5 min", "2 d 7 h"]
    assert [amount(b) for b in (10, 3.2e6, 2.5e9)] == ["1 MB", "3 MB", "2.5 GB"]
