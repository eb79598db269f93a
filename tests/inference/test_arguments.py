"""Wrong arguments of the Python interface: one line that names the argument, before anything is computed; never a raw error of Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from proxymask import Bundle, ProxymaskError, Synthesizer
from proxymask.checkpoints.export import export
from proxymask.checkpoints.loading import open_checkpoint
from proxymask.conditions import get_condition
from proxymask.conditions.base import register
from proxymask.data.drawn_dataset import make_dataset
from proxymask.data.prepare import prepare_folder
from proxymask.evaluation import EvaluationConfig, evaluate
from proxymask.inference.samples import SampleNetworks, write_samples
from proxymask.training.fit import FitConfig, fit
from proxymask.training.presets import load_preset

NAN = float("nan")
MASK = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    return Synthesizer(tiny.make_bundle(), "cpu", "fp32")


CALLS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda s: s.set_style(seed="3"), "seed must be a whole number"),
    (lambda s: s.set_style(style=3), "Synthesizer.set_style has no argument style; it has: seed, w, truncation"),
    (lambda s: s.set_style(seed=3.0), "seed must be a whole number"),
    (lambda s: s.set_style(seed=True), "seed must be a whole number"),
    (lambda s: s.set_style(seed=2**64), "seed must be a whole number, -2^63 to 2^64 - 1"),
    (lambda s: s.set_style(3, truncation=NAN), "truncation must be a number"),
    (lambda s: s.set_style(3, truncation=1e300), "truncation must be a number"),
    (lambda s: s.set_style(3, truncation="1"), "truncation must be a number"),
    (lambda s: s.set_style(3, truncation=None), "truncation must be a number"),
    (lambda s: s.make_style(w=torch.full((1, tiny.Z), NAN)), "w holds values that are not finite"),
    (lambda s: s.make_style(w=torch.zeros(1, tiny.Z, dtype=torch.int64)), "w holds values that are not finite, or whole numbers"),
    (lambda s: s.make_style(w=np.zeros((1, tiny.Z))), "w must be a tensor"),
    (lambda s: s(MASK, style=3), "did you mean styles?"),
    (lambda s: s(MASK, seed=3), "Synthesizer has no argument seed"),
    (lambda s: s(), "missing a required argument: 'masks'"),
    (lambda s: s(MASK, 2**64), "must be a whole number, -2^63 to 2^64 - 1"),
    (lambda s: s(MASK, "3"), "a style is a seed"),
    (lambda s: s(MASK, 3, mapper=3), "mapper must be text"),
    (lambda s: s(MASK, 3, mapper="msk"), "did you mean mask?"),
    (lambda s: s(MASK, 3, output_type="PIL"), "did you mean pil?"),
    (lambda s: s(MASK, 3, output_type=["pil"]), "output_type"),
    (lambda s: s(MASK, 3, truncation=NAN), "truncation must be a number"),
    (lambda s: s("a\0b", 3), "must not hold a NUL character"),
    (lambda s: s("x" * 5000, 3), "5,000 characters, too long"),
    (lambda s: s.generate(MASK, seed=3), "Synthesizer.generate has no argument seed"),
    (lambda s: s.generate(MASK, "3"), "not '3'"),
    (lambda s: s.generate(MASK, 3, condition=None), "condition must be text"),
    (lambda s: s.generate(MASK, 3, condition="skech"), "did you mean sketch?"),
    (lambda s: s.generate(MASK, 3, unpainted="nothing"), "use style or mapper"),
    (lambda s: s.generate(MASK, 3, from_photo="yes"), "from_photo must be True or False"),
    (lambda s: s.generate(MASK, 3, invert=1), "invert must be True or False"),
    (lambda s: s.generate_mixed(3, 3), "there is nothing to paint from"),
    (lambda s: s.generate_mixed([(3, MASK)], 3), "name must be text"),
    (lambda s: s.transfer(1), "missing a required argument"),
    (lambda s: s.transfer("1", 2), "not '1'"),
    (lambda s: s.transfer(1, 2, truncation=NAN), "truncation must be a number"),
    (lambda s: s.to("tpu"), "device tpu: unknown; use auto, cpu"),
    (lambda s: s.to(device=3), "device must be text or a device"),
    (lambda s: s.to(dtype="fp16"), "precision fp16: unknown"),
    (lambda s: s.to(place="cpu"), "has no argument place"),
    (lambda s: s.w(3), "seeds must be a list"),
    (lambda s: s.w([]), "seeds must be a list of whole numbers"),
    (lambda s: s.w([3, "a"]), "seeds must be a whole number"),
    (lambda s: s.map(3), "masks must be an array or a tensor"),
    (lambda s: s.map(np.full((1, tiny.SIZE, tiny.SIZE), 99)), "the masks hold id 99: ids are 0 to 3"),
    (lambda s: s.map(np.full((1, tiny.SIZE, tiny.SIZE), -1)), "the masks hold id -1"),
    (lambda s: s.map(np.zeros((tiny.SIZE, tiny.SIZE), int)), "masks are label ids (B, H, W)"),
    (lambda s: s.encode_styles(torch.zeros(1, 3)), "w is a tensor (B, 16)"),
    (lambda s: s.layout("x"), "w must be a tensor"),
    (lambda s: s.render(3, 3), "proxy must be a tensor"),
    (lambda s: s.condition("sketch", extractor=3), "extractor must be text"),
    (lambda s: s.condition("sketch", weights=3), "weights must be a path"),
    (lambda s: Synthesizer("avatars"), "bundle must be a Bundle"),
    (lambda s: Synthesizer.from_pretrained("avtars"), "did you mean avatars?"),
    (lambda s: Synthesizer.from_pretrained(3), "source must be a path"),
    (lambda s: Synthesizer.from_pretrained("x" * 300), "too long for a file"),
    (lambda s: Synthesizer.from_pretrained("avatars", "tpu"), "device tpu: unknown"),
    (lambda s: Synthesizer.from_pretrained("avatars", dtype="fp32"), "has no argument dtype"),
    (lambda s: Bundle.load(None), "source must be a path"),
    (lambda s: Bundle.from_pretrained("avatars", revision=3), "revision must be text"),
    (lambda s: s.bundle.save(3), "folder must be a path"),
    (lambda s: s.bundle.save("x", half="no"), "half must be True or False"),
    (lambda s: s.bundle.to("tpu"), "device tpu: unknown"),
    (lambda s: s.bundle.mapper_for(3), "condition must be text"),
    (lambda s: get_condition(3), "name must be text"),
    (lambda s: register(3), "name must be text"),
    (lambda s: register("x", channels=0), "channels must be a whole number"),
    (lambda s: write_samples(SampleNetworks.of(s), ["3"], "x"), "seeds must be a whole number"),
    (lambda s: write_samples(SampleNetworks.of(s), [3], "x", truncation=NAN), "truncation must be a number"),
    (lambda s: write_samples(SampleNetworks.of(s), [3], "x", noise_mode="loud"), "use const, random or none"),
    (lambda s: make_dataset("x", count=0), "count must be a whole number"),
    (lambda s: make_dataset("x", count=2, size=33.0), "size must be a whole number"),
    (lambda s: make_dataset("x", count=2, workers=0), "workers must be a whole number"),
    (lambda s: prepare_folder(3, "x", 16), "images must be a path"),
    (lambda s: open_checkpoint(3), "path must be a path"),
    (lambda s: open_checkpoint("x", lr_multiplier=NAN), "lr_multiplier must be a number"),
    (lambda s: open_checkpoint("x", class_index=-1), "class_index must be a whole number"),
    (lambda s: export("x", "y", form="onnx"), "use rosinality or safetensors"),
    (lambda s: evaluate("x"), "config must be an EvaluationConfig"),
    (lambda s: evaluate(EvaluationConfig(data=Path("x"), out=Path("y")), seed="1"), "seed must be a whole number"),
    (lambda s: fit("x"), "config must be a FitConfig"),
    (lambda s: FitConfig(out="x", steps_scale=0), "steps_scale must be a number, above 0"),
    (lambda s: load_preset("dmo"), "did you mean demo?"),
    (lambda s: load_preset(3), "name must be text"),
]


@pytest.mark.parametrize(("call", "words"), CALLS, ids=range(len(CALLS)))
def test_wrong_arguments(
    call: Callable[[Any], Any], words: str, synth: Synthesizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProxymaskError) as caught:
        call(synth)
    said = str(caught.value)
    assert words in said
    assert "\n" not in said
    assert len(said) < 400
    assert "--" not in said.replace("proxymask fit --", ""), "a caller in Python has no flags"
    assert not list(tmp_path.iterdir())
