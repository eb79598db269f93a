"""Files of version 0.1.0 open unless they use a removed part, which the error names."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from proxymask.core import legacy
from proxymask.core.config_model import ConfigModel
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json, write_json
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.mappers import load_mapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.generator import GeneratorConfig
from proxymask.training.mapper import MapperConfig
from proxymask.training.presets import PRESETS, load_preset
from proxymask.training.rearranger import RearrangerConfig
from proxymask.training.run_dirs import acquire_run_dir, identity_of, is_done, mark_of, run_stage

GONE = r"was removed; proxymask 0\.1\.0 is the last version that reads it"
OLD_ABOUT = {"keys": 0, "style_bank": {"samples": 0, "layers": 2, "tokens": 384, "unlike": 0.8}}
OLD_READER = {"hidden": 0, "layers": [3, 4], "target": 3, "learning_rate": 0.002, "steps": 1200, "batch": 16}
# removed constructor arguments, as in the config.json files of the embedded bundle
OLD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "ProxyClusters": {"reader": 0},
    "Rearranger": {"init": "centroids", "match": 12.0, "sharpness": 10.0, "position_weight": 8.0, "retouch_codes": 32},
    "OasisMapper": {"looks": 0.0},
    "UNetMapper": {"looks": 0.0},
}
# removed settings, as version 0.1.0 wrote them
OLD_SETTINGS: dict[str, dict[str, Any]] = {
    "generator": {"r1_every": 16, "path_every": 4},
    "rearranger": {
        "retouch_codes": 32,
        "key_mask": False,
        "mask_codes": 32,
        "match": 12.0,
        "sharpness": 10.0,
        "position_weight": 8.0,
        "settle": False,
        "self_features": 1.0,
        "self_picture": 1.0,
        "self_perceptual": 0.0,
        "r1_every": 16,
        "narrow_samples": 256,
    },
    "segmenter": {
        "width": 64,
        "weight_decay": 0.001,
        "class_balance": 0.5,
        "shift": 4,
        "look_last": 0.6,
        "look_batch": 8,
        "look_doubt": 0.0,
    },
    "mapper": {
        "label_balance": 0.25,
        "viewer_width": 16,
        "viewer_batch": 32,
        "viewer_samples": 3000,
        "looks": 0.0,
        "look_layers": 3,
        "r1_every": 16,
    },
}
STAGES = tuple(OLD_SETTINGS)


# Networks.


def old_network(folder: Path, network: ConfigModel, **arguments: object) -> Path:
    """``network`` saved as version 0.1.0 did, or with ``arguments``."""
    stored = read_json(network.save_pretrained(folder) / "config.json")
    stored["config"] |= OLD_ARGUMENTS[stored["class"]] | arguments
    write_json(folder / "config.json", stored)
    return folder


def networks() -> dict[str, ConfigModel]:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    unet = UNetMapper(1, tiny.K, tiny.CUT, tiny.SIZE, **tiny.WIDTHS)
    found = [clusters, tiny.make_rearranger(split, clusters, refinement_width=8), tiny.make_mapper(), unet]
    return {type(network).__name__: network for network in found}


def opened(name: str, folder: Path) -> ConfigModel:
    kinds: dict[str, Callable[[Path], ConfigModel]] = {
        "ProxyClusters": ProxyClusters.from_pretrained,
        "Rearranger": Rearranger.from_pretrained,
    }
    return kinds.get(name, load_mapper)(folder)


@pytest.mark.parametrize("name", OLD_ARGUMENTS)
def test_old_network_opens(name: str, tmp_path: Path) -> None:
    network = networks()[name]
    again = opened(name, old_network(tmp_path / "old", network))
    assert again.config == network.config
    assert tiny.differing(network.state_dict(), again.state_dict()) == []


def test_the_start_of_a_trained_rearranger_does_not_matter(tmp_path: Path) -> None:
    network = networks()["Rearranger"]
    assert Rearranger.from_pretrained(old_network(tmp_path / "old", network, sharpness=3.0)).config == network.config


@pytest.mark.parametrize(
    ("name", "argument", "value", "part"),
    [
        ("ProxyClusters", "reader", 64, "the layout reader (reader 64)"),
        ("Rearranger", "retouch_codes", 8, "another width of the retouching block's codes (retouch_codes 8)"),
        ("OasisMapper", "looks", 0.5, "the mapper's table of looks (looks 0.5)"),
        ("UNetMapper", "looks", 0.5, "the mapper's table of looks (looks 0.5)"),
    ],
)
def test_network_with_a_removed_part_is_refused(name: str, argument: str, value: float, part: str, tmp_path: Path) -> None:
    folder = old_network(tmp_path / "old", networks()[name], **{argument: value})
    with pytest.raises(ProxymaskError, match=rf"config\.json: {re.escape(part)} {GONE}"):
        opened(name, folder)


# Bundles.


def old_bundle(folder: Path, **about: object) -> Path:
    """A bundle with the metadata that version 0.1.0 wrote, and ``about``."""
    saved = tiny.make_bundle().save(folder)
    stored = read_json(saved / "bundle.json")
    stored["about"] |= OLD_ABOUT | about
    write_json(saved / "bundle.json", stored)
    return saved


def test_old_bundle_opens(tmp_path: Path) -> None:
    bundle = Bundle.load(old_bundle(tmp_path / "old"))
    assert bundle.about == {"licence": "none"}
    again = bundle.save(tmp_path / "new")
    assert read_json(again / "bundle.json")["about"] == {"licence": "none"}
    Synthesizer.from_pretrained(again, "cpu", "fp32").set_style(seed=1)


@pytest.mark.parametrize(
    ("about", "part"),
    [
        ({"style_bank": {**OLD_ABOUT["style_bank"], "samples": 7}}, r"style_bank: the style bank \(samples 7\)"),
        ({"keys": 512}, r"the limit of keys a style \(keys 512\)"),
        *(({"handover": kind}, f"the handover '{kind}'") for kind in legacy.REMOVED_MODES),
    ],
)
def test_bundle_with_a_removed_part_is_refused(tmp_path: Path, about: dict[str, object], part: str) -> None:
    with pytest.raises(ProxymaskError, match=rf"bundle\.json: {part} {GONE}"):
        Bundle.load(old_bundle(tmp_path / "old", **about))


# Presets.


def preset_file(folder: Path, **changes: object) -> str:
    path = folder / "preset.json"
    path.write_text(json.dumps(changes))
    return str(path)


def test_old_preset_opens(tmp_path: Path) -> None:
    assert load_preset(preset_file(tmp_path, **OLD_ABOUT, reader=OLD_READER, **OLD_SETTINGS)) == PRESETS["demo"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"style_bank": {"samples": 3}}, "style_bank: the style bank"),
        ({"keys": 256}, "the limit of keys a style"),
        ({"reader": {"hidden": 64}}, "reader: the layout reader"),
        ({"mapper": {"looks": 0.5}}, "mapper: the mapper's table of looks"),
        ({"mapper": {"handover": "likely"}}, "mapper: the handover 'likely'"),
        ({"segmenter": {"look_doubt": 2.0}}, "segmenter: doubts about labels"),
        ({"rearranger": {"settle": True}}, "rearranger: the cosine decay"),
        ({"rearranger": {"self_perceptual": 0.1}}, "rearranger: the perceptual term"),
    ],
)
def test_preset_with_a_removed_part_is_refused(tmp_path: Path, changes: dict[str, object], part: str) -> None:
    with pytest.raises(ProxymaskError, match=rf"preset\.json: {re.escape(part)}.* {GONE}"):
        load_preset(preset_file(tmp_path, **changes))


# Run folders.


def made_of(stage: Any) -> dict[str, Any]:
    return identity_of(stage.config, tiny.loop_config(), {"generator": "0123456789abcdef"})


def age(out: Path, name: str, **changes: object) -> None:
    """Give a run folder the settings that version 0.1.0 wrote, with ``changes``."""
    old = {f"config.{key}": value for key, value in (OLD_SETTINGS[name] | changes).items()}
    for file in [*out.glob("checkpoint-*/state.json"), *out.glob("stage.json")]:
        stored = read_json(file)
        stored["identity"] |= old
        write_json(file, stored)


@pytest.mark.parametrize("name", STAGES)
def test_old_finished_run_is_recognised(name: str, tmp_path: Path) -> None:
    stage, out = tiny.make_stage(name), tmp_path / "run"
    identity, steps = made_of(stage), tiny.loop_config().steps
    run_stage(stage, tiny.loop_config(), out, identity)
    age(out, name)
    assert is_done(out, identity, steps)
    mark = mark_of(out)
    assert mark is not None
    assert mark["identity"] == json.loads(json.dumps(identity))
    assert acquire_run_dir(out, identity) is None
    removed = next(iter(OLD_SETTINGS[name]))
    age(out, name, **{removed: 99})
    assert not is_done(out, identity, steps)
    aside = acquire_run_dir(out, identity)
    assert aside is not None
    assert aside.is_dir()
    assert not out.exists()


@pytest.mark.parametrize("name", STAGES)
def test_old_run_continues(name: str, tmp_path: Path) -> None:
    """A run of the old version, stopped halfway and continued, equals one that was never stopped."""
    whole = tiny.make_stage(name)
    run_stage(whole, tiny.loop_config(), tmp_path / "whole", made_of(whole))
    stage = tiny.make_stage(name)
    tiny.loop.train(stage, tiny.loop_config(steps=3), tmp_path / "old", identity=made_of(stage))
    age(tmp_path / "old", name)
    removed = next(iter(OLD_SETTINGS[name]))
    shutil.copytree(tmp_path / "old", tmp_path / "other")
    age(tmp_path / "other", name, **{removed: 99})
    assert acquire_run_dir(tmp_path / "old", made_of(stage)) is None
    again = tiny.make_stage(name)
    run_stage(again, tiny.loop_config(), tmp_path / "old", made_of(again))
    for part, module in whole.modules.items():
        assert tiny.differing(module.state_dict(), again.modules[part].state_dict()) == [], part
    with pytest.raises(ProxymaskError, match=rf"other settings \({removed} was 99 and is not set"):
        run_stage(tiny.make_stage(name), tiny.loop_config(), tmp_path / "other", made_of(stage))


def test_run_that_the_old_version_moved_aside_is_found(tmp_path: Path) -> None:
    """Its name has the hash of that version's settings; what counts is the settings under the current names."""
    stage, out = tiny.make_stage("segmenter"), tmp_path / "run"
    run_stage(stage, tiny.loop_config(), out, made_of(stage))
    age(out, "segmenter")
    out.rename(tmp_path / "run.01234567")
    assert acquire_run_dir(out, made_of(stage)) is None
    assert is_done(out, made_of(stage), tiny.loop_config().steps)


# Names.


def test_renamed_keys_and_tensors_are_mapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Renamed arguments, settings and prefixes of tensors."""
    monkeypatch.setitem(legacy.RENAMED_ARGUMENTS, "OasisMapper", {"inner": "hidden"})
    monkeypatch.setitem(legacy.RENAMED_TENSORS, "OasisMapper", {"begin.": "head."})
    monkeypatch.setitem(legacy.RENAMED_SETTINGS, "mapper", {"rate": "learning_rate"})
    mapper = tiny.make_mapper()
    assert legacy.model_config("OasisMapper", {"inner": 8, "looks": 0}, tmp_path) == {"hidden": 8}
    old = {key.replace("head.", "begin."): value for key, value in mapper.state_dict().items()}
    assert {"begin.weight", "begin.bias"} <= old.keys()
    assert tiny.differing(legacy.model_tensors("OasisMapper", old), mapper.state_dict()) == []
    assert legacy.stage_settings("mapper", {"config.rate": 0.1, "batch": 4}) == {"config.learning_rate": 0.1, "batch": 4}
    changed = load_preset(preset_file(tmp_path, mapper={"rate": 0.5}))
    assert changed.mapper == dataclasses.replace(PRESETS["demo"].mapper, learning_rate=0.5)


@pytest.mark.parametrize(
    ("stage", "config"), [("generator", GeneratorConfig()), ("rearranger", RearrangerConfig()), ("mapper", MapperConfig())]
)
def test_a_run_from_before_a_setting_goes_on(stage: str, config: object) -> None:
    """A run that was stored before a setting was added is the same run as one of today with that setting off."""
    always, younger = legacy.YOUNGER[stage]
    now = {f"config.{key}": value for key, value in dataclasses.asdict(config).items()}  # type: ignore[call-overload]
    assert f"config.{always}" in now
    before = {key: value for key, value in now.items() if key.removeprefix("config.") not in younger}
    assert len(before) == len(now) - len(younger)
    assert legacy.stage_settings(stage, before) == now | {f"config.{key}": value for key, value in younger.items()}
    kept = now | {f"config.{key}": 16 for key in younger}
    assert legacy.stage_settings(stage, kept) == kept
