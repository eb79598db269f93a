"""The same weights as other projects keep them: under other names and prefixes, in modules; they give the same pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import pytest
import torch
import wrappers
from layouts import write_torch
from safetensors.torch import save_file
from stylegan2_equations import Reference, Shape

from proxymask.checkpoints.export import export
from proxymask.checkpoints.imported import Imported, save_import
from proxymask.checkpoints.loading import open_checkpoint
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import FusedG2
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.training.fit.config import FitConfig, Silent
from proxymask.training.fit.inputs import open_inputs
from proxymask.training.fit.state import FitState
from proxymask.training.parts import source_notes

SHAPE = Shape(depth=4)
EXACT = 5e-6  # relative L2 of float32 against float64
ROSINALITY = families.rosinality_state(SHAPE)
NVIDIA = families.nvidia_state(SHAPE)
LATENT = 0.3 * torch.randn(16, generator=torch.Generator().manual_seed(7))


def z_of(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(5))


def distance(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


def whole_modules(path: Path) -> Path:
    return wrappers.write_whole_module(path, {"g": {k: v + 1 for k, v in ROSINALITY.items() if "kernel" not in k}, "g_ema": ROSINALITY})


def torch_file(contents: dict[str, Any]) -> Callable[[Path], Path]:
    return lambda path: write_torch(path, contents)


# name -> how it is written, and the equations that its pictures follow
FILES: dict[str, tuple[Callable[[Path], Path], Reference]] = {
    "nvidia-parallel": (
        torch_file({f"module.{name}": value for name, value in NVIDIA.items()}),
        families.nvidia_reference(NVIDIA, Shape(depth=4, clamp=256.0)),
    ),
    "nvidia-parallel-ema": (
        torch_file({"G_ema": {f"module.{name}": value for name, value in NVIDIA.items()}}),
        families.nvidia_reference(NVIDIA, Shape(depth=4, clamp=256.0)),
    ),
    "nvidia-lightning": (
        torch_file(wrappers.lightning(NVIDIA, families.nvidia_discriminator(SHAPE))),
        families.nvidia_reference(NVIDIA, Shape(depth=4, clamp=256.0)),
    ),
    "psp": (torch_file(wrappers.psp(ROSINALITY)), families.rosinality_reference(ROSINALITY, LATENT, SHAPE)),
    "basicsr": (torch_file(wrappers.basicsr(ROSINALITY)), families.rosinality_reference(ROSINALITY, LATENT, SHAPE)),
    "basicsr-wrapper": (torch_file(wrappers.basicsr(ROSINALITY, False)), families.rosinality_reference(ROSINALITY, LATENT, SHAPE)),
    "rosinality-lightning": (
        torch_file(wrappers.lightning(ROSINALITY, families.rosinality_discriminator(SHAPE))),
        families.rosinality_reference(ROSINALITY, LATENT, SHAPE),
    ),
    "rosinality-modules": (whole_modules, families.rosinality_reference(ROSINALITY, LATENT, SHAPE)),
    "hammer": (torch_file(wrappers.hammer(NVIDIA)), families.nvidia_reference(NVIDIA, SHAPE)),
}


@pytest.mark.parametrize("name", FILES)
def test_pictures_are_those_of_the_same_weights(name: str, tmp_path: Path) -> None:
    write, reference = FILES[name]
    opened = open_checkpoint(write(tmp_path / "file.pt"))
    assert distance(opened.generator(z_of()), reference(z_of())) < EXACT
    if name in ("psp", "nvidia-parallel", "hammer"):
        assert distance(opened.generator(z_of(), truncation=0.5), reference(z_of(), psi=0.5)) < EXACT
    again = open_checkpoint(save_import(opened, tmp_path / "imported"))
    assert torch.equal(again.generator(z_of()), opened.generator(z_of()))


def test_averaged_generators_come_first(tmp_path: Path) -> None:
    opened = open_checkpoint(write_torch(tmp_path / "b.pt", wrappers.basicsr(ROSINALITY)))
    assert opened.facts["generator taken"] == "params_ema"
    assert opened.notes == []
    lightning = wrappers.lightning(ROSINALITY, families.rosinality_discriminator(SHAPE))
    opened = open_checkpoint(write_torch(tmp_path / "l.pt", lightning))
    assert opened.facts["generator taken"] == "state_dict.generator"
    assert opened.discriminator is not None
    lightning["state_dict"] |= {f"g_ema.{name}": value for name, value in ROSINALITY.items()}
    opened = open_checkpoint(write_torch(tmp_path / "e.pt", lightning))
    assert opened.facts["generator taken"] == "state_dict.g_ema"


def test_hammer_says_what_it_was_made_with(tmp_path: Path) -> None:
    shape = Shape(classes=3, clamp=256.0, depth=2)
    state, judge = families.nvidia_state(shape), families.nvidia_discriminator(shape)
    contents = wrappers.hammer(state, {"model_type": "StyleGAN2Generator", "mapping_lr_mul": 0.01, "conv_clamp": 256, "final_tanh": False})
    contents["models"]["discriminator"] = wrappers.hammer_discriminator({k: v for k, v in judge.items() if "mapping.fc" not in k})
    opened = open_checkpoint(write_torch(tmp_path / "h.pth", contents))
    assert opened.family == "Hammer (stylegan2)"
    assert opened.generator.config["conv_clamp"] == 256.0
    assert opened.assumed == ["activation lrelu"]
    one = torch.eye(3)[:2]
    assert distance(opened.generator(z_of(), one), families.nvidia_reference(state, shape)(z_of(), one)) < EXACT
    wanted = {k: v for k, v in judge.items() if "mapping" not in k}
    assert opened.discriminator is not None, opened.notes
    assert all(torch.equal(opened.discriminator.state_dict()[k], v) for k, v in wanted.items())
    for argument, value in (("demodulate", False), ("noise_type", "channel"), ("normalize_z", False)):
        contents["model_kwargs_init"]["generator"][argument] = value
        with pytest.raises(ProxymaskError, match=f"made with {argument}={value}"):
            open_checkpoint(write_torch(tmp_path / "h.pth", contents))
        del contents["model_kwargs_init"]["generator"][argument]


# What neither the file nor its shapes say


def scaled(state: dict[str, Any], factor: float) -> dict[str, Any]:
    """The state as a mapping network of a learning-rate multiplier of 0.01 / factor keeps it."""
    return {name: value * factor if name.startswith(("style.", "mapping.dense", "mapping.fc")) else value for name, value in state.items()}


STATES = {
    "rosinality": (lambda state: {"g_ema": state}, ROSINALITY),
    "genforce": (lambda state: {"generator_smooth": state}, families.genforce_state(SHAPE, False)),
    "nvidia": (lambda state: {"G_ema": state}, NVIDIA),
}


@pytest.mark.parametrize("family", STATES)
def test_the_learning_rate_multiplier_is_told_by_the_weights(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrap, state = STATES[family]
    path = tmp_path / "file.pt"

    def opened(factor: float, **choices: Any) -> Imported:
        return open_checkpoint(write_torch(path, wrap(scaled(state, factor))), **choices)

    wanted = opened(1).generator
    assert wanted.config["mapping_lr_multiplier"] == 0.01
    one = opened(0.01)
    assert one.generator.config["mapping_lr_multiplier"] == 1.0
    assert any("learning-rate multiplier 1 (the root mean square" in entry for entry in one.assumed)
    assert distance(one.generator(z_of()), wanted(z_of()).double()) < EXACT
    with pytest.raises(ProxymaskError, match=r"fits neither 0\.01 .* nor 1 .*--lr-multiplier NUMBER"):
        opened(0.1)
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "--lr-multiplier" in capsys.readouterr().err
    assert main(["import", str(path), "--out", str(tmp_path / "out"), "--lr-multiplier", "0.1"]) == 0  # as the message says
    assert distance(Generator.from_pretrained(tmp_path / "out" / "generator")(z_of()), wanted(z_of()).double()) < EXACT
    assert main(["import", str(path), "--out", str(tmp_path / "out"), "--lr-multiplier", "0"]) == 2


def test_what_a_file_says_is_not_overruled(tmp_path: Path) -> None:
    path = families.nvidia_file(tmp_path / "n.pkl", SHAPE)[0]
    assert open_checkpoint(path, lr_multiplier=0.01).generator.config["mapping_lr_multiplier"] == 0.01
    with pytest.raises(ProxymaskError, match=r"final_tanh: NVIDIA .* no such option"):
        open_checkpoint(path, final_tanh=True)
    hammer = write_torch(tmp_path / "h.pth", wrappers.hammer(NVIDIA, {"mapping_lr_mul": 0.01, "final_tanh": False}))
    with pytest.raises(ProxymaskError, match=r"lr_multiplier 1: the file says 0\.01"):
        open_checkpoint(hammer, lr_multiplier=1.0)
    with pytest.raises(ProxymaskError, match="final_tanh: the file says that it has none"):
        open_checkpoint(hammer, final_tanh=True)
    folder = save_import(open_checkpoint(path), tmp_path / "imported")
    with pytest.raises(ProxymaskError, match="leave out lr_multiplier"):
        open_checkpoint(folder, lr_multiplier=0.01)


def test_what_was_assumed_is_said_wherever_a_file_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_torch(tmp_path / "g.pth", {"generator_smooth": families.genforce_state(SHAPE, False)})
    commands = (
        ["sample", "--count", "1", "--out", str(tmp_path / "samples")],
        ["cluster", "--samples", "4", "--clusters", "3", "--cut", "8", "--out", str(tmp_path / "clusters")],
    )
    for words in commands:
        assert main([*words, "--generator", str(path), "--device", "cpu"]) == 0
        shown = capsys.readouterr().err
        assert f"note: {path}: assumed, as the file does not say it: " in shown
        assert "beyond 1.5" in shown
        assert "proxymask import FILE --final-tanh" in shown
    said: list[str] = []
    state = FitState(FitConfig(out=tmp_path / "bundle", generator=path, device="cpu"), Said(said))
    open_inputs(state)
    assert any("assumed, as the file does not say it: " in line for line in said)
    assert source_notes(tmp_path, {"assumed": ["x"]}) == []


class Said(Silent):
    """A report that keeps what is said."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_tensors_of_another_project_as_safetensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "faces.safetensors"
    save_file({name: value.clone() for name, value in families.rosinality_state(SHAPE).items()}, file)
    for words in (["import", str(file)], ["sample", "--count", "1", "--generator", str(file)], ["cluster", "--generator", str(file)]):
        assert main([*words, "--out", str(tmp_path / "out")]) == 2
        assert "safetensors on their own, without the config.json" in capsys.readouterr().err


@torch.no_grad()
def test_a_final_tanh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_torch(tmp_path / "g.pth", {"generator_smooth": families.genforce_state(SHAPE, False)})
    plain = open_checkpoint(path)
    assert any("--final-tanh" in entry for entry in plain.assumed)
    assert any("of the values of a picture lie beyond 1.5 " in note for note in plain.notes)  # no trained network without a tanh does that
    quiet = families.genforce_state(SHAPE, False)
    quiet |= {name: 0.1 * value for name, value in quiet.items() if ".output" in name and "style" not in name}
    assert open_checkpoint(write_torch(tmp_path / "q.pth", {"generator_smooth": quiet})).notes == []
    assert main(["import", str(path), "--out", str(tmp_path / "out"), "--final-tanh"]) == 0
    assert "assumed" in capsys.readouterr().out
    generator = Generator.from_pretrained(tmp_path / "out" / "generator")
    wanted = plain.generator(z_of()).tanh()
    assert torch.equal(generator(z_of()), wanted)
    split = SplitGenerator(generator, 16)
    w = split.w(z_of(1))
    assert distance(split.render(split.features(w), w), wanted[:1].double()) < EXACT
    assert distance(FusedG2(split, w)(split.features(w)), wanted[:1].double()) < EXACT
    with pytest.raises(ProxymaskError, match="no place for a final tanh"):
        export(tmp_path / "out" / "generator", tmp_path / "again.pt")
    hammer = write_torch(tmp_path / "h.pth", wrappers.hammer(NVIDIA, {"mapping_lr_mul": 0.01, "conv_clamp": None, "final_tanh": True}))
    opened = open_checkpoint(hammer)
    assert opened.assumed == ["activation lrelu"]
    assert distance(opened.generator(z_of()), families.nvidia_reference(NVIDIA, SHAPE)(z_of()).tanh()) < EXACT


def test_safetensors_on_their_own(tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in ROSINALITY.items() if "kernel" not in name}, tmp_path / "r.safetensors")
    with pytest.raises(ProxymaskError, match=r"safetensors on their own, without the config\.json"):
        open_checkpoint(tmp_path / "r.safetensors")


def test_a_live_generator_of_nvidia_is_named_so(tmp_path: Path) -> None:
    opened = open_checkpoint(write_torch(tmp_path / "live.pt", {"G": NVIDIA, "D": families.nvidia_discriminator(SHAPE)}))
    assert opened.facts["generator taken"] == "G"
    assert any("no averaged generator" in note for note in opened.notes)
    assert any("discriminator is left out" in note for note in opened.notes)
    both = open_checkpoint(write_torch(tmp_path / "both.pt", {"G": {k: v + 1 for k, v in NVIDIA.items()}, "G_ema": NVIDIA}))
    assert both.facts["generator taken"] == "G_ema"
    assert not any("no averaged generator" in note for note in both.notes)


def test_a_backbone_that_makes_no_pictures_is_refused(tmp_path: Path) -> None:
    """As that of EG3D: planes of features in place of colours."""
    planes = {
        f"backbone.{k}": torch.cat([v] * 4) if ".torgb." in k and k.endswith((".torgb.weight", ".torgb.bias")) else v
        for k, v in NVIDIA.items()
    }
    with pytest.raises(ProxymaskError, match="12 channels, which are no pictures"):
        open_checkpoint(write_torch(tmp_path / "eg3d.pt", planes))


def test_export_says_what_the_other_program_needs(tmp_path: Path) -> None:
    Generator(32, 32, resolution=64, mapping_layers=2, channel_base=32768, scaled_weights=True).save_pretrained(tmp_path / "two")
    notes = export(tmp_path / "two", tmp_path / "two.pt")
    assert any("n_mlp=2" in note for note in notes)
    assert not any("widths" in note or "channel_multiplier" in note for note in notes)
    Generator(32, 32, resolution=64, mapping_layers=8, channel_base=16384, scaled_weights=True).save_pretrained(tmp_path / "one")
    notes = export(tmp_path / "one", tmp_path / "one.pt")
    assert any("channel_multiplier=1" in note for note in notes)
    assert not any("n_mlp" in note for note in notes)
    assert any("fixed widths" in note for note in export(write_torch(tmp_path / "r.pt", {"g_ema": ROSINALITY}), tmp_path / "narrow.pt"))
