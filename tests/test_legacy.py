"""Files of version 0.1.0 open as long as they need nothing that is gone; what they need is named otherwise."""

import json
from pathlib import Path

import pytest

import tiny
from proxymask.bundle import EMBEDDED, Bundle
from proxymask.errors import ProxymaskError
from proxymask.modeling import read_json, write_json
from proxymask.synthesizer import Synthesizer
from proxymask.training.presets import PRESETS, load_preset

OLD_ABOUT = {"keys": 0, "style_bank": {"samples": 0, "layers": 2, "tokens": 384, "unlike": 0.8}}


def old_bundle(folder: Path, **about: object) -> Path:
    """A bundle whose bundle.json says of itself what version 0.1.0 wrote, and ``about``."""
    saved = tiny.make_bundle().save(folder)
    stored = read_json(saved / "bundle.json")
    stored["about"] |= OLD_ABOUT | about
    write_json(saved / "bundle.json", stored)
    return saved


def test_the_embedded_bundle_is_of_the_old_kind() -> None:
    """The tests here copy what it says; it opens as it is."""
    about = read_json(EMBEDDED / "avatars" / "bundle.json")["about"]
    assert {key: about[key] for key in OLD_ABOUT} == OLD_ABOUT
    assert not Bundle.load("avatars").about.keys() & OLD_ABOUT.keys()


def test_bundle(tmp_path: Path) -> None:
    bundle = Bundle.load(old_bundle(tmp_path / "old"))
    assert bundle.about == {"licence": "none"}
    again = bundle.save(tmp_path / "new")
    assert read_json(again / "bundle.json")["about"] == {"licence": "none"}
    Synthesizer.from_pretrained(again, "cpu", "fp32").set_style(seed=1)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"style_bank": {**OLD_ABOUT["style_bank"], "samples": 7}}, r"style_bank: the style bank \(samples 7\)"),
        ({"keys": 512}, r"the limit of keys a style \(keys 512\)"),
    ],
)
def test_bundle_that_needs_what_is_gone(tmp_path: Path, about: dict[str, object], says: str) -> None:
    with pytest.raises(ProxymaskError, match=rf"bundle\.json: {says} was removed; proxymask 0\.1\.0 is the last version"):
        Bundle.load(old_bundle(tmp_path / "old", **about))


def preset_file(folder: Path, **changes: object) -> str:
    path = folder / "preset.json"
    path.write_text(json.dumps(changes))
    return str(path)


def test_preset(tmp_path: Path) -> None:
    assert load_preset(preset_file(tmp_path, **OLD_ABOUT)) == PRESETS["demo"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"style_bank": {"samples": 3}}, "style_bank: the style bank"),
        ({"keys": 256}, "the limit of keys a style"),
    ],
)
def test_preset_that_sets_what_is_gone(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ProxymaskError, match=rf"preset\.json: {says} .* was removed; proxymask 0\.1\.0 is the last version"):
        load_preset(preset_file(tmp_path, **changes))
