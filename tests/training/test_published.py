"""The ``paper-*`` presets are the published method to the letter: every setting, with its section of the supplement and the words there.

A row's last column is ``SECTION "QUOTE"``, or ``absent: ...`` for an addition to the method, which is off here, or ``idle: SETTING`` for a
setting that has no effect as long as SETTING is off. What is in neither of them is in ``UNSTATED``.
"""

import dataclasses
import fnmatch
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from proxymask.cli import main
from proxymask.conditions import get_condition
from proxymask.models.discriminator import Discriminator
from proxymask.models.rearranger import Rearranger
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.detail import DetailConfig
from proxymask.training.presets import PRESETS, STAGES, UNSTATED, Preset
from proxymask.training.stages.definition import new_discriminator
from proxymask.training.stages.generator import new_generator

SMALL, MIDDLE, LARGE = PAPER = ("paper-256", "paper-512", "paper-1024")
# settings of a loop that are no part of a method
RUNNING = ("seed", "device", "precision", "accumulate", "log_every", "checkpoint_every", "grid_every", "keep", "tensorboard")
OASIS = 'A.1 "we adopt the architecture of OASIS [9], which takes the input condition and generates a 64^2 resolution output proxy mask"'
ENCODER = 'A.1 "a U-Net structured decoder to the encoder which has same structure with discriminator of the StyleGAN2 [4]"'
RATE = 'A.2 "the learning rate is set to 0.002 for both the generator and discriminator"'
R1 = 'A.2 "the weight for R_1 regularization is set to 10"'
ADV = 'A.2 "all lambda_adv values used in the mapper and rearranging network were consistently set to 1.0"'
FIRST = 'A.2 "L_self and L_mask were computed for every iteration during the initial 100k iterations"'
LAST = 'A.2 "all three loss components were computed for each iteration over the next 40k iterations"'
LARGE_FIRST = 'A.2 "for the first 150k iterations, with L_adv being evaluated once every 5 iterations"'
LARGE_LAST = 'A.2 "all three loss terms were computed for each iteration over the following 65k iterations"'
MAPPER = 'A.2 "we initially trained for the first 100k iterations using only L_recon"'
MAPPER_LAST = 'A.2 "for the subsequent 10k iterations, L_adv was added"'
REPURPOSE = 'E "we employed the methodology proposed by [11]"'
STYLEGAN2 = 'A.2 "we follow a similar approach to that of StyleGAN2[4]"'

TABLE: list[tuple[tuple[str, ...], str, object, str]] = [
    ((SMALL,), "resolution", 256, 'A.2 "CelebAMask-HQ [5], LSUN Church, and LSUN Bedroom datasets [13], each at a resolution of 256"'),
    ((MIDDLE,), "resolution", 512, 'A.2 "the 1024 resolution FFHQ [3] and 512 resolution AFHQ[1] datasets"'),
    ((LARGE,), "resolution", 1024, 'A.2 "the 1024 resolution FFHQ [3] and 512 resolution AFHQ[1] datasets"'),
    (PAPER, "cut", 64, 'A.2 "The size of the feature maps is 64^2"'),
    (PAPER, "num_clusters", 25, 'B.2 "we decided to fix the number of clusters at 25"'),
    (PAPER, "cluster_samples", 256, 'A.2 "clustering feature maps of 256 sample images"'),
    (PAPER, "generator.learning_rate", 0.002, RATE),
    (PAPER, "generator.r1_gamma", 10.0, R1),
    # the rearranger
    (
        PAPER,
        "rearranger.add_position",
        True,
        'A.1 "we add a sinusoidal position encoding before the residual block that precedes the module"',
    ),
    (PAPER, "rearranger.layers", 4, 'A.1 "surrounded by two 4-layer residual blocks on either side"'),
    (PAPER, "rearranger.value", "features", 'A.1 "the value (feature maps) to be rearranged (through a weighted sum)"'),
    (PAPER, "rearranger.init", "random", "absent: no start of the attention from the clusters"),
    (PAPER, "rearranger.refinement_width", 0, "absent: no block but the attention and the residual blocks"),
    (PAPER, "rearranger.refinement_lr_multiplier", 5.0, "idle: rearranger.refinement_width"),
    (PAPER, "rearranger.learning_rate", 0.002, RATE),
    (PAPER, "rearranger.discriminator_lr_multiplier", 1.0, RATE),
    (PAPER, "rearranger.lambda_self", 10.0, 'A.2 "lambda_self to 10.0"'),
    (PAPER, "rearranger.lambda_mask", 1.0, 'A.2 "we set lambda_mask to 1.0"'),
    (PAPER, "rearranger.lambda_adv", 1.0, ADV),
    (PAPER, "rearranger.lambda_mix", 0.0, "absent: no loss but L_self, L_mask and L_adv"),
    (PAPER, "rearranger.mix_share", 0.5, "idle: rearranger.lambda_mix"),
    (PAPER, "rearranger.mix_layers", (2, 3), "idle: rearranger.lambda_mix"),
    (PAPER, "rearranger.mix_absent", False, "idle: rearranger.lambda_mix"),
    (PAPER, "rearranger.substitute", False, "absent: no cluster of a proxy mask is replaced"),
    (PAPER, "rearranger.mask_absent", True, "absent: no position is left out of L_mask"),
    (
        PAPER,
        "rearranger.flip",
        True,
        'A.2 "To prevent shortcuts of self-reconstruction loss, we apply a random horizontal flip augmentation"',
    ),
    (PAPER, "rearranger.adv_every", 5, 'A.2 "L_adv was computed once every five iterations"'),
    ((SMALL,), "rearranger.adv_phase", 40 / 140, LAST),
    ((MIDDLE, LARGE), "rearranger.adv_phase", 65 / 215, LARGE_LAST),
    (PAPER, "rearranger.r1_gamma", 10.0, R1),
    (PAPER, "rearranger.narrow_channels", 0, "absent: nothing is made narrower after training"),
    ((SMALL,), "rearranger_loop.steps", 100_000 + 40_000, FIRST),
    ((MIDDLE, LARGE), "rearranger_loop.steps", 150_000 + 65_000, LARGE_FIRST),
    # the segmenter
    (PAPER, "segmenter.learning_rate", 0.001, REPURPOSE),
    (PAPER, "segmenter.style_transfer_max_labels", 0, "absent: no style-transfer labelling"),
    (PAPER, "segmenter_loop.steps", 1000, REPURPOSE),
    (PAPER, "segmenter_loop.batch", 1, REPURPOSE),
    # the mapper
    (PAPER, "mapper.widths", (1024, 1024, 1024, 512, 256), OASIS),
    (PAPER, "mapper.hidden", 128, OASIS),
    (PAPER, "mapper.tail", 3, OASIS),
    (PAPER, "mapper.resize", "nearest", OASIS),
    (PAPER, "mapper.learning_rate", 0.002, RATE),
    (PAPER, "mapper.discriminator_lr_multiplier", 1.0, RATE),
    (PAPER, "mapper.lambda_recon", 10.0, 'A.2 "using only L_recon with lambda_self to 10.0" (a slip for lambda_recon)'),
    (PAPER, "mapper.lambda_recon_adv", 100.0, 'A.2 "during which we adjusted lambda_recon to 100.0"'),
    (PAPER, "mapper.lambda_adv", 1.0, ADV),
    (PAPER, "mapper.adv_phase", 10 / 110, MAPPER_LAST),
    (PAPER, "mapper.momentum", 0.0, STYLEGAN2),
    (PAPER, "mapper.cosine_decay", False, "absent: no decay of the learning rate"),
    (PAPER, "mapper.label_prior", False, "absent: clusters are those of the mapper alone"),
    (PAPER, "mapper.lambda_label", 0.0, "absent: no loss but L_recon and L_adv"),
    (PAPER, "mapper.label_phase", 0.5, "idle: mapper.lambda_label"),
    (PAPER, "mapper.flip", False, "absent: the flip is against shortcuts of L_self, which the mapper does not have"),
    (PAPER, "mapper.r1_gamma", 10.0, R1),
    (PAPER, "mapper_loop.steps", 100_000 + 10_000, MAPPER),
    # the mapper of other conditions
    (PAPER, "condition.unet_base", 0, ENCODER),
    (PAPER, "condition.unet_max", 0, ENCODER),
    (PAPER, "condition.unet_space_to_depth", 1, ENCODER),
    (PAPER, "condition.unet_lr_multiplier", 1.0, RATE),
    (PAPER, "condition.unet_logit_adjustment", 0.0, "absent: no cluster is made likelier"),
    (PAPER, "condition.unet_recolor", 0.0, "absent: conditions are made of the pictures as they are"),
    (PAPER, "condition.unet_clean_share", 1.0, "absent: no condition is augmented"),
    # the detail network
    (PAPER, "with_detail", False, "absent: nothing is drawn finer than the proxy mask"),
    *((PAPER, f"detail.{entry.name}", entry.default, "idle: with_detail") for entry in dataclasses.fields(DetailConfig)),
    (PAPER, "detail_loop.steps", 1400, "idle: with_detail"),
    (PAPER, "detail_loop.batch", 8, "idle: with_detail"),
]


def settings(preset: Preset) -> dict[str, object]:
    """Every setting of a preset by its path, but for how a loop is run."""
    found: dict[str, object] = {}
    for entry in dataclasses.fields(preset):
        value = getattr(preset, entry.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{entry.name}.{inner.name}": getattr(value, inner.name) for inner in dataclasses.fields(value)}
        else:
            found[entry.name] = value
    return {path: value for path, value in found.items() if not (path.split(".")[0].endswith("_loop") and path.split(".")[1] in RUNNING)}


def rows(name: str) -> dict[str, tuple[object, str]]:
    return {path: (value, source) for names, path, value, source in TABLE if name in names}


@pytest.mark.parametrize("name", PAPER)
def test_every_setting_is_stated_or_named_unstated(name: str) -> None:
    found, stated = settings(PRESETS[name]), rows(name)
    unstated = {path for path in found if any(fnmatch.fnmatch(path, pattern) for pattern in UNSTATED)}
    assert not unstated & stated.keys()
    assert unstated | stated.keys() == found.keys()
    for path, (value, source) in stated.items():
        assert found[path] == value, f"{path}: {found[path]!r}, the supplement has {value!r} ({source})"
        assert type(found[path]) is type(value), path


@pytest.mark.parametrize("name", PAPER)
def test_idle_settings_are_of_parts_that_are_off(name: str) -> None:
    stated = rows(name)
    for path, (_, source) in stated.items():
        if source.startswith("idle: "):
            assert not stated[source.removeprefix("idle: ")][0], path
        else:
            assert re.match(r'(absent: \w|[A-G]\.?\d? ".+")', source), path


def test_table_has_no_row_twice_and_unstated_no_pattern_in_vain() -> None:
    keys = [(name, path) for names, path, *_ in TABLE for name in names]
    assert len(keys) == len(set(keys))
    for pattern, reason in UNSTATED.items():
        assert any(fnmatch.fnmatch(path, pattern) for path in settings(PRESETS[SMALL])), pattern
        assert reason


def test_docs_name_every_setting() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    published, rest = text.split("### Unstated")
    unstated = rest.split("\n#")[0]
    stated = {path for _, path, _, source in TABLE if not source.startswith("idle: ")}
    assert [path for path in sorted(stated) if f"`{path}`" not in published] == []
    assert [path for path in UNSTATED if f"`{path}`" not in unstated] == []


@pytest.mark.parametrize("name", PAPER)
def test_schedule(name: str) -> None:
    preset = PRESETS[name]
    steps, last = preset.rearranger_loop.steps, 40_000 if name == SMALL else 65_000
    assert round(steps * preset.rearranger.adv_phase) == last
    assert round(preset.mapper_loop.steps * preset.mapper.adv_phase) == 10_000
    assert all(getattr(preset, f"{stage}_loop").steps for stage in STAGES)


@pytest.mark.parametrize("name", PAPER)
def test_rearranger_of_the_paper(name: str) -> None:
    """One single-head attention, a 4-layer residual block before it for either input and one behind it, and nothing else."""
    config = dataclasses.asdict(PRESETS[name].rearranger)
    arguments = {key: config[key] for key in Rearranger(8, 8, 2, 8).config if key in config}
    with torch.device("meta"):
        net = Rearranger(512, 64, 25, **arguments)
    blocks = {part for part, _ in net.named_children()}
    assert blocks == {"embed_features", "query_block", "key_block", "to_query", "to_key", "out_block"}
    assert [len(block.convs) for block in (net.query_block, net.key_block, net.out_block)] == [4, 4, 4]
    assert net.to_value is None
    assert net.embed_key_mask is None
    assert (net.dim, net.key_dim, net.embed_mask.shape) == (512, 512, (512, 25))
    assert net.position.shape == (512, 64, 64)


def test_position_is_added_to_all_of_the_embeddings() -> None:
    torch.manual_seed(0)
    net = Rearranger(32, 8, 3, position_channels=0, add_position=True, hidden=8)
    assert bool((net.position.square().sum(dim=(1, 2)) > 0).all())
    mask = torch.zeros(1, 3, 8, 8)
    mask[:, 1] = 1
    with torch.no_grad():
        token = net.embed_mask[:, 1][None, :, None, None] + net.position * net.position_gain
        expected = net.to_query(net.query_block(token)).flatten(2).transpose(1, 2)
    assert torch.allclose(net.encode_mask(mask).query, expected, atol=1e-5)


def test_rearranger_of_the_paper_replaces_no_cluster() -> None:
    """Not even in a transfer, which has no mapper."""
    from proxymask.models.proxy_clusters import ProxyClusters

    clusters = ProxyClusters(4, 8, 8)
    clusters.occupancy.copy_(torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5)
    ids = torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    present = torch.tensor([[True, False, False, True], [False, True, False, False]])
    ours, paper = (Rearranger(8, 8, 4, 8, substitute=on).substitute_threshold for on in (True, False))
    assert torch.equal(clusters.substitute(ids, present, paper), ids)
    assert not torch.equal(clusters.substitute(ids, present, ours), ids)


@pytest.mark.parametrize("name", PAPER)
def test_encoder_of_the_paper_takes_the_discriminator(name: str) -> None:
    """The U-Net's encoder has the discriminator's widths, so that all of its blocks can be copied."""
    preset = PRESETS[name]
    with torch.device("meta"):
        generator = new_generator(preset.generator, preset.resolution, 0)
        discriminator = new_discriminator(generator, 0)
        widths = (generator.config["channel_base"], generator.config["channel_max"])
        mapper = UNetMapper(1, 25, 64, preset.resolution, *widths)
    theirs, mine = discriminator.state_dict(), mapper.state_dict()
    blocks = [key for key in theirs if re.match(r"b\d+\.(conv|skip)", key) and not key.startswith("b4.")]
    assert blocks
    assert all(mine[key].shape == theirs[key].shape for key in blocks)


def test_depth_is_midas() -> None:
    """E: "depth [8]", which is MiDaS."""
    assert get_condition("depth").about()["extractor"] == "midas"


TOY_LOOP = {"batch": 4, "log_every": 1, "grid_every": 6, "tensorboard": False}
TOY = {
    "base": SMALL,
    "resolution": 32,
    "cut": 16,
    "num_clusters": 5,
    "cluster_samples": 8,
    "generator": {"z_dim": 16, "mapping_layers": 2, "channel_base": 512, "channel_max": 16},
    "rearranger": {"hidden": 8},
    "mapper": {"widths": [8, 8, 8], "hidden": 8, "adv_phase": 0.5},
    "generator_loop": TOY_LOOP | {"steps": 1},
    "rearranger_loop": TOY_LOOP | {"steps": 6},
    "segmenter_loop": {"steps": 2},
    "mapper_loop": TOY_LOOP | {"steps": 4},
}


def test_toy_of_the_published_method(tmp_path: Path) -> None:
    """Every stage with the structure of the paper and small widths, through the command line; a mapper of sketches starts from the
    discriminator."""

    def run(*words: object) -> None:
        assert main([str(word) for word in words]) == 0

    def stats(name: str) -> list[dict[str, float]]:
        return [json.loads(line) for line in (tmp_path / name / "stats.jsonl").read_text().splitlines()]

    (tmp_path / "pictures").mkdir()
    for index in range(6):
        pixels = np.full((32, 32, 3), 40 * index, np.uint8)
        pixels[8:24, 4 + index : 20 + index] = 250 - 30 * index
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
    (tmp_path / "toy.json").write_text(json.dumps(TOY))
    common = ("--preset", tmp_path / "toy.json", "--device", "cpu", "--precision", "fp32")
    out = {name: tmp_path / name for name in ("generator", "clusters", "rearranger", "labels", "segmenter", "mapper", "sketch")}
    run("train", "generator", "--images", tmp_path / "pictures", "--out", out["generator"], *common)
    parts: tuple[object, ...] = ("--generator", out["generator"])
    run("cluster", *parts, "--out", out["clusters"], *common)
    parts += ("--clusters", out["clusters"])
    run("train", "rearranger", *parts, "--out", out["rearranger"], *common)
    lines = stats("rearranger")
    assert ["loss/adv" in line for line in lines] == [True, False, False, False, True, True]  # the fifth step is of the last phase
    assert all({"loss/mask_self", "loss/mask_cross", "loss/self_features"} <= line.keys() for line in lines)  # both masks in each step
    stored = json.loads((out["rearranger"] / "rearranger" / "config.json").read_text())["config"]
    assert (stored["substitute"], stored["add_position"], stored["refinement_width"], stored["key_channels"]) == (False, True, 0, 0)
    run("sample", *parts[:2], "--count", 1, "--out", out["labels"], *common[2:])
    (out["labels"] / "labels.json").write_text(json.dumps({"labels": [{"id": i, "name": str(i), "color": f"#{i}{i}0000"} for i in (0, 1)]}))
    Image.fromarray(np.tri(32, dtype=np.uint8)).save(next(out["labels"].glob("*.png")).with_suffix(".mask.png"))
    run("train", "segmenter", *parts[:2], "--labels", out["labels"], "--out", out["segmenter"], *common)
    parts += ("--rearranger", out["rearranger"], "--segmenter", out["segmenter"])
    run("train", "mapper", *parts, "--out", out["mapper"], *common)
    assert ["loss/adv" in line for line in stats("mapper")] == [False, False, True, True]
    run("train", "mapper", *parts, "--condition", "sketch", "--learning-rate", 1e-30, "--lambda-adv", 0, "--out", out["sketch"], *common)
    discriminator = Discriminator.from_pretrained(out["rearranger"] / "discriminator").state_dict()
    encoder = UNetMapper.from_pretrained(out["sketch"] / "mapper").state_dict()
    shared = [key for key in encoder if key in discriminator and not key.endswith("kernel")]
    assert {key.split(".")[0] for key in shared} == {"b32", "b16", "b8"}
    assert all(torch.equal(encoder[key], discriminator[key]) for key in shared)
