"""Narrower queries and keys of a trained rearranger."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import MaskQuery
from proxymask.models.rearranger import Rearranger
from proxymask.training.narrow_keys import narrow_keys
from proxymask.training.rearranger import RearrangerStage
from proxymask.training.stages.rearranger import RearrangerDefinition

NUMBER = 24


@pytest.fixture(scope="module")
def stage() -> RearrangerStage:
    """Networks in which queries and keys mean something, and their samples."""
    stage = tiny.make_stage("rearranger")
    assert isinstance(stage, RearrangerStage)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in stage.rearranger.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    stage.rearranger.eval()
    return stage


def definition(stage: RearrangerStage, width: int) -> RearrangerDefinition:
    """A stage with these frozen networks whose queries and keys get ``width`` channels in the end."""
    config = dataclasses.replace(stage.config, narrow_channels=width)
    return RearrangerDefinition(config=config, loop=tiny.loop_config(steps=2), split=stage.split, clusters=stage.clusters, rms=(1.0, 1.0))


def test_more_mixed_layers_than_there_are(stage: RearrangerStage) -> None:
    config = dataclasses.replace(stage.config, mix_layers=(2, 40))
    with pytest.raises(ProxymaskError, match=r"mix.layers 40: the generator has"):
        dataclasses.replace(definition(stage, 0), config=config).build()


def samples(stage: RearrangerStage, seed: int) -> torch.Tensor:
    return torch.randn(NUMBER, stage.split.generator.z_dim, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(rearranger: Rearranger, stage: RearrangerStage, z: torch.Tensor) -> torch.Tensor:
    """Of any sample's mask and any sample's keys, without what all keys of one have in common."""
    state = stage.split.features(stage.split.w(z))
    tokens = rearranger.encode_mask(stage.clusters.one_hot(stage.clusters.assign(state.features)))
    key = rearranger.encode_style(state).key
    key = key - key.mean(dim=1, keepdim=True)
    return tokens.query.flatten(0, 1).double() @ key.flatten(0, 1).double().t() / rearranger.key_dim**0.5


def test_loses_what_it_says_and_less_the_wider_it_is(stage: RearrangerStage) -> None:
    rearranger, z = stage.rearranger, samples(stage, 0)
    whole, before, losses = logits(rearranger, stage, z), dict(rearranger.state_dict()), []
    for width in (2, 4, 8, 16):
        narrow_channels, lost = narrow_keys(rearranger, stage.split, stage.clusters, width, z)
        assert narrow_channels.key_dim == width
        assert narrow_channels.to_query.weight.shape[0] == narrow_channels.to_key.weight.shape[0] == width
        error = float((logits(narrow_channels, stage, z) - whole).square().mean().sqrt())
        assert error == pytest.approx(lost, rel=0.02, abs=1e-4)
        losses.append(lost)
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < 0.7 * float(whole.square().mean().sqrt())
    assert all(torch.equal(before[name], value) for name, value in rearranger.state_dict().items())  # the trained one stays as it is
    same, lost = narrow_keys(rearranger, stage.split, stage.clusters, rearranger.key_dim, z)
    assert same is rearranger
    assert lost == 0


def test_no_other_choice_of_channels_is_nearer(stage: RearrangerStage) -> None:
    """Keys alone, projected on their own principal axes, lose more of the logits."""
    z, width = samples(stage, 0), 6
    whole = logits(stage.rearranger, stage, z)
    _, lost = narrow_keys(stage.rearranger, stage.split, stage.clusters, width, z)
    with torch.no_grad():
        state = stage.split.features(stage.split.w(z))
        tokens = stage.rearranger.encode_mask(stage.clusters.one_hot(stage.clusters.assign(state.features)))
        key = stage.rearranger.encode_style(state).key
        key = (key - key.mean(dim=1, keepdim=True)).double()
        axes = torch.linalg.svd(key.flatten(0, 1), full_matrices=False).Vh[:width]
        found = (tokens.query.flatten(0, 1).double() @ axes.t()) @ (key.flatten(0, 1) @ axes.t()).t() / stage.rearranger.key_dim**0.5
    assert lost < float((found - whole).square().mean().sqrt())


def test_it_is_a_rearranger_like_any(stage: RearrangerStage, tmp_path: Path) -> None:
    z = samples(stage, 0)
    narrow_channels, _ = narrow_keys(stage.rearranger, stage.split, stage.clusters, 8, z)
    again = Rearranger.from_pretrained(narrow_channels.save_pretrained(tmp_path / "narrow_channels")).eval()
    state = stage.split.features(stage.split.w(samples(stage, 1)))
    ids = stage.clusters.assign(state.features).roll(1, 0)
    hot = stage.clusters.one_hot(ids)
    with torch.no_grad():
        out = again(state, hot)
        assert torch.allclose(out.features, narrow_channels(state, hot).features, atol=1e-5)
        looked_up = again.attend(MaskQuery(again)(ids), again.encode_style(state))
        assert torch.allclose(looked_up.features, out.features, atol=1e-3 * float(out.features.abs().max()))
        weights = again.attention_map(again.encode_mask(hot), again.encode_style(state))
    assert torch.allclose(weights.sum(dim=2), torch.ones(()), atol=1e-5)


def test_widths_that_cannot_be(stage: RearrangerStage) -> None:
    """Said before anything is trained."""
    with pytest.raises(ProxymaskError, match=r"narrow_channels must be a whole number|cannot be narrowed"):
        definition(stage, -1).build()


def test_trained_on_from_a_narrow_one(stage: RearrangerStage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--start`` takes one as it is; one of other widths is refused in words."""
    stage.split.generator.save_pretrained(tmp_path / "generator")
    stage.clusters.save_pretrained(tmp_path / "clusters")
    narrow_channels, _ = narrow_keys(stage.rearranger, stage.split, stage.clusters, 8, samples(stage, 0))
    narrow_channels.save_pretrained(tmp_path / "narrow_channels")
    keep = {name: value for name, value in narrow_channels.config.items() if name in {f.name for f in dataclasses.fields(stage.config)}}
    words = [
        "train",
        "rearranger",
        "--generator",
        tmp_path / "generator",
        "--clusters",
        tmp_path / "clusters",
        "--start",
        tmp_path / "narrow_channels",
    ]
    words += ["--steps", 1, "--batch", 2, "--device", "cpu", "--preset", tmp_path / "preset.json"]
    recipe = {**keep, "narrow_channels": 8, "lambda_mix": 0.0, "lambda_self": 10.0}
    for out, changed, code in (("on", {}, 0), ("other", {"hidden": keep["hidden"] + 1}, 2)):
        (tmp_path / "preset.json").write_text(json.dumps({"rearranger": {**recipe, **changed}}))
        assert main([str(word) for word in (*words, "--out", tmp_path / out)]) == code
    assert "of other widths or choices" in capsys.readouterr().err
    assert Rearranger.from_pretrained(tmp_path / "on" / "rearranger").config["key_channels"] == 8


def test_the_attention_starts_as_the_config_says(stage: RearrangerStage) -> None:
    """From the clusters, at random as the networks of the paper, or as the rearranger that training goes on from."""
    configs = {init: dataclasses.replace(stage.config, init=init) for init in ("centroids", "random")}
    found = {init: dataclasses.replace(definition(stage, 0), config=config) for init, config in configs.items()}
    built = {init: at.build().rearranger for init, at in found.items()}
    again = Rearranger(**built["random"].config)
    again.load_state_dict(built["random"].state_dict())
    assert set(tiny.differing(built["random"].state_dict(), built["centroids"].state_dict())) == {
        *("embed_mask", "embed_features.weight", "to_query.weight", "to_key.weight", "position_gain")
    }
    assert tiny.differing(again.attend_to_clusters().state_dict(), built["centroids"].state_dict()) == []
    on = dataclasses.replace(found["centroids"], start=built["random"]).build().rearranger
    assert tiny.differing(built["random"].state_dict(), on.state_dict()) == []


def test_trained_on_from_one_with_the_mask_in_its_keys(stage: RearrangerStage) -> None:
    """Rearrangers of version 0.1.0 keep that embedding when they are trained on."""
    torch.manual_seed(0)
    start = Rearranger(**{**stage.rearranger.config, "key_mask": True, "key_mask_channels": 4})
    start.initialize(stage.clusters.centroids, 1.0)
    widths = {field.name: start.config[field.name] for field in dataclasses.fields(stage.config) if field.name in start.config}
    config = dataclasses.replace(stage.config, **widths)
    found = dataclasses.replace(definition(stage, 0), config=config, start=start).build()
    assert tiny.differing(start.state_dict(), found.rearranger.state_dict()) == []


def test_at_the_end_of_training(tmp_path: Path) -> None:
    """A run whose config asks for it ends with the narrow one, fitted to what was trained."""
    for name, width in (("wide", 0), ("narrow_channels", 8)):
        definition(tiny.make_stage("rearranger"), width).run(tmp_path / name)
    trained, found = (Rearranger.from_pretrained(tmp_path / name / "rearranger") for name in ("wide", "narrow_channels"))
    assert (trained.config["key_channels"], found.config["key_channels"]) == (0, 8)
    theirs, ours = trained.state_dict(), found.state_dict()
    differing = {name for name in theirs if theirs[name].shape != ours[name].shape or not torch.equal(theirs[name], ours[name])}
    assert differing == {"to_query.weight", "to_key.weight"}
