"""Presets by name, by size and from JSON, and networks of their sizes, built without memory for their weights.

What the published method's settings are is in ``test_published.py``.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.core.sizes import START
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.fit import FitConfig
from proxymask.training.presets import PRESETS, STAGES, Preset, load_preset, ours_preset, preset_title
from proxymask.training.stages.generator import new_generator


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def built(preset: Preset) -> tuple[SplitGenerator, Rearranger, OasisMapper, UNetMapper]:
    """The networks of a preset, for 19 labels and conditions of one plane, on the meta device."""
    with torch.device("meta"):
        split = SplitGenerator(new_generator(preset.generator, preset.resolution, 0), preset.cut)
        config = dataclasses.asdict(preset.rearranger)
        arguments = {key: config[key] for key in Rearranger(8, 8, 2, 8).config if key in config}
        rearranger = Rearranger(split.channels, preset.cut, preset.num_clusters, **arguments)
        mapper = OasisMapper(19, preset.num_clusters, preset.cut, preset.mapper.widths, preset.mapper.hidden)
        c = preset.condition
        sized = split.generator.config
        base, most = c.unet_base or sized["channel_base"], c.unet_max or sized["channel_max"]
        unet = UNetMapper(1, preset.num_clusters, preset.cut, preset.resolution, base, most, START, c.unet_space_to_depth)
    return split, rearranger, mapper, unet


def test_ours_at_64_is_the_demo():
    demo = PRESETS["demo"]
    assert ours_preset(64) == demo
    for size, cut in ((32, 16), (16, 8), (8, 4)):  # the same widths and steps: the demo with another size
        assert ours_preset(size) == dataclasses.replace(demo, resolution=size, cut=cut)
        assert demo.cut_for(size) == cut


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_ours_follows_from_the_size(size):
    ours, demo = PRESETS[f"ours-{size}"], PRESETS["demo"]
    assert ours == ours_preset(size)
    side = 32 if size == 128 else 64
    assert (ours.resolution, ours.cut, ours.num_clusters) == (size, side, 100)
    split, rearranger, mapper, unet = built(ours)
    assert mapper.first == (8, 8)
    assert ours.rearranger.narrow_channels < rearranger.dim
    assert unet.down_sides[0] == side  # folded to the size of the proxy mask
    assert split.channels == {128: 128, 256: 256}.get(size, 512)
    seen = ours.generator_loop.steps * ours.generator_loop.batch
    assert seen == min(256_000 * (size // 64) ** 2, 25_000_000)
    for stage in STAGES:
        assert ours.loop(stage).steps >= demo.loop(stage).steps
    # what is measured at 64 pixels is the same at every size
    for stage, sized in (
        ("rearranger", {"position_channels", "hidden", "refinement_width", "narrow_channels"}),
        ("segmenter", set()),
        ("mapper", {"widths", "hidden", "learning_rate", "discriminator_lr_multiplier"}),
        ("condition", {"unet_base", "unet_max", "unet_space_to_depth"}),
    ):
        here, there = dataclasses.asdict(getattr(ours, stage)), dataclasses.asdict(getattr(demo, stage))
        assert {key for key in here if here[key] != there[key]} <= sized


def test_learning_rates_of_the_demo():
    demo = PRESETS["demo"]
    assert demo.mapper.learning_rate * demo.condition.unet_lr_multiplier == pytest.approx(0.015)  # one is a multiple of the other
    assert demo.mapper.learning_rate * demo.mapper.discriminator_lr_multiplier == pytest.approx(0.002)
    assert demo.mapper.lambda_adv == 0 < PRESETS["paper-256"].mapper.lambda_adv
    assert 0 in demo.rearranger.mix_layers or demo.rearranger.lambda_self  # L_self is not lost


def test_a_preset_by_name_or_file(tmp_path):
    assert FitConfig(out=Path("x")).preset == "auto"
    assert load_preset("auto") == PRESETS["demo"]
    assert load_preset("auto", 256) == PRESETS["ours-256"]
    assert load_preset("demo", 256) == PRESETS["demo"]
    assert load_preset("paper-512", 64) == PRESETS["paper-512"]
    path = tmp_path / "mine.json"
    path.write_text('{"num_clusters": 7}')  # demo is the base where none is named
    assert load_preset(str(path), 512) == dataclasses.replace(PRESETS["demo"], num_clusters=7)
    assert [preset_title(name, 128) for name in ("auto", "demo", str(path))] == ["ours-128", "demo", "mine"]


def test_paper_generator_on_meta():
    with torch.device("meta"):
        generator = new_generator(PRESETS["paper-256"].generator, 256, 0)
        split = SplitGenerator(generator, 64)
    assert split.channels == 512
    assert generator.num_ws == 14
    assert count(generator) == 30_034_338  # config-F at 256 pixels


@pytest.mark.parametrize("name", ["ours-512", "paper-256"])
def test_rearranger_on_meta(name):
    preset = PRESETS[name]
    _, r, *_ = built(preset)
    with torch.device("meta"):
        queries = r.encode_mask(torch.empty(1, preset.num_clusters, 64, 64)).query
    assert queries.shape == (1, 4096, r.dim)
    assert all(p.is_meta for p in r.parameters())
    d, h = r.dim, 128
    assert d == (512 if name == "paper-256" else 512 + 64)
    for block, width in ((r.query_block, d), (r.key_block, d), (r.out_block, 512)):
        assert [tuple(c.weight.shape) for c in block.convs] == [(h, width, 3, 3), (h, h, 3, 3), (h, h, 3, 3), (width, h, 3, 3)]

    def residual(width: int) -> int:
        return 9 * (2 * width * h + 2 * h * h) + 3 * h + width

    embeddings = preset.num_clusters * d + 512 * d + d
    refinement = 0 if r.refinement is None else count(r.refinement)
    assert count(r) == embeddings + 2 * residual(d) + residual(512) + 2 * d * d + 1 + refinement


def test_paper_mapper_on_meta():
    config = PRESETS["paper-256"].mapper
    with torch.device("meta"):
        mapper = OasisMapper(19, 25, 64, widths=config.widths, hidden=config.hidden)
        logits = mapper.eval()(torch.empty(1, 19, 256, 256))
    assert logits.shape == (1, 25, 64, 64)
    assert mapper.first == (8, 8)
    assert len(mapper.blocks) == 4
    assert [block.shortcut is not None for block in mapper.blocks] == [False, False, True, True]
    assert 60e6 < count(mapper) < 70e6  # about 66 million for 19 classes


def test_cut_scale_and_loops():
    demo = PRESETS["demo"]
    assert (demo.cut_for(64), demo.cut_for(128), demo.cut_for(256), demo.cut_for(16)) == (32, 32, 64, 8)
    half = demo.scaled(0.5).with_loops(seed=7, device="cpu")
    for stage in STAGES:
        assert half.loop(stage).steps == round(demo.loop(stage).steps / 2)
        assert (half.loop(stage).seed, half.loop(stage).device) == (7, "cpu")
    assert demo.scaled(1e-9).mapper_loop.steps == 1
    with pytest.raises(ProxymaskError, match="above 0"):
        demo.scaled(0)


def test_json_preset(tmp_path):
    path = tmp_path / "mine.json"
    changes = {"base": "paper-256", "cut": 32, "mapper": {"widths": [8, 8], "lambda_recon": 5}, "mapper_loop": {"steps": 3}}
    path.write_text(json.dumps(changes))
    mine = load_preset(str(path))
    assert (mine.cut, mine.mapper.widths, mine.mapper.lambda_recon, mine.mapper_loop.steps) == (32, (8, 8), 5.0, 3)
    assert mine.rearranger == PRESETS["paper-256"].rearranger


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"base": "huge"}', "no preset 'huge'"),
        ('{"mapper": {"width": [8]}}', "no setting 'width'"),
        ('{"mapper": {"hidden": "8"}}', "must be a whole number"),
        ('{"mapper": 8}', "must be an object"),
        ('{"mapper": {"widths": 8}}', "must be a list"),
        ("[]", "must hold an object"),
        ("{", "not valid JSON"),
    ],
)
def test_bad_json_preset(tmp_path, text, says):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ProxymaskError, match=says):
        load_preset(str(path))
    with pytest.raises(ProxymaskError, match="preset nothing: there are"):
        load_preset("nothing")


def test_generator_config_of_the_demo():
    generator = new_generator(PRESETS["demo"].generator, 64, 0)
    assert isinstance(generator, Generator)
    assert (generator.z_dim, generator.mapping.num_layers) == (128, 2)
