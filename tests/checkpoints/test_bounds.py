"""Files that promise more than they store, and settings that are no settings: refused before anything is allocated, compared or printed."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import mutants
import pytest
import torch
from layouts import TfNetwork, network, write_nvidia, write_tf, write_torch
from pickle_assembler import LOAD, archive, call, number, raw, whole
from safetensors.torch import load_file, save_file
from stylegan2_equations import Shape

from proxymask.checkpoints.export import export
from proxymask.checkpoints.imported import save_import
from proxymask.checkpoints.loading import open_checkpoint
from proxymask.checkpoints.safe_pickle.streams import read_stream
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError

SMALL = Shape(resolution=8, base=32, top=8, z=8, w=8)
MIB = 2**20


def blocks(resolution: int, **more: Any) -> Shape:
    """A generator whose blocks have one channel: a few kB for any number of pixels."""
    return Shape(resolution=resolution, base=8, top=1, z=4, w=4, **more)


def without_noise(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if "noises." not in name and "noise_const" not in name}


def without_maps(shape: Shape) -> dict[str, Any]:
    """rosinality's state without noise maps: what they would take is only in the names."""
    small = families.rosinality_state(Shape(resolution=8, base=8, top=1, z=4, w=4))
    out = without_noise(small)
    for level in range(2, shape.resolution.bit_length() - 2):
        for name, value in small.items():
            if name.startswith("convs.") and "kernel" not in name:
                index = int(name.split(".")[1])
                out[name.replace(f"convs.{index}", f"convs.{index + 2 * level - 2}", 1)] = value
            if name.startswith("to_rgbs.0") and "kernel" not in name:
                out[name.replace("to_rgbs.0", f"to_rgbs.{level - 1}", 1)] = value
    return out


def nvidia_without_noise(shape: Shape) -> dict[str, Any]:
    return without_noise(families.nvidia_state(Shape(resolution=8, base=8, top=1, z=4, w=4, noise=False))) | {
        name.replace("b8", f"b{res}"): value
        for res in (2**i for i in range(4, shape.resolution.bit_length()))
        for name, value in families.nvidia_state(Shape(resolution=8, base=8, top=1, z=4, w=4, noise=False)).items()
        if ".b8." in name
    }


def wide_latents(width: int) -> dict[str, Any]:
    """A mapping network of one layer and an average that the file lacks."""
    state = families.rosinality_state(Shape(resolution=8, base=8, top=1, z=4, w=4, depth=1))
    return {"g_ema": state | {"style.1.weight": 100 * torch.randn(4, width)}}


def many_classes(classes: int) -> tuple[TfNetwork, ...]:
    shape = Shape(resolution=8, base=8, top=1, z=4, w=4)
    variables, judge = families.tf_variables(shape, ada=False), families.tf_discriminator(shape, ada=False)
    judge |= {"Output/weight": torch.zeros(1, classes).numpy(), "Output/bias": torch.zeros(classes).numpy()}
    own = TfNetwork("G_main", {}, variables, {}, "Gs")
    return TfNetwork("D_stylegan2", {}, judge, None, "D"), own


def long_kernel() -> dict[str, Any]:
    return families.rosinality_state(SMALL) | {"convs.0.conv.blur.kernel": torch.ones(100_000)}


def one_tensor_many_times() -> dict[str, Any]:
    large = torch.zeros(4, 250_000)
    return families.nvidia_state(SMALL) | {f"mapping.fc{i}.weight": large for i in range(2, 40)}


def deep_tuple() -> Any:
    return mutants.tower(64)


BOUNDED: dict[str, tuple[Callable[[Path], object], str]] = {
    "8192-pixels-rosinality": (lambda p: write_torch(p, {"g_ema": without_maps(blocks(8192))}), "too much for its size"),
    "8192-pixels-nvidia": (lambda p: write_torch(p, nvidia_without_noise(blocks(8192))), "too much for its size"),
    "wide-latents": (lambda p: write_torch(p, wide_latents(100_000)), "too much for its size"),
    "long-kernel": (lambda p: write_torch(p, {"g_ema": long_kernel()}), "resampling filter"),
    "one-tensor-many-times": (lambda p: write_torch(p, one_tensor_many_times()), "layers|too much for its size"),
    "empty-tensor": (
        lambda p: write_torch(p, families.nvidia_state(SMALL) | {"synthesis.b4.conv1.affine.weight": torch.zeros(0, 2**29)}),
        "is empty",
    ),
    "zero-dimensional": (
        lambda p: write_torch(p, families.nvidia_state(SMALL) | {"synthesis.b8.conv1.weight": torch.tensor(1.0)}),
        "damaged",
    ),
    "names-no-text": (lambda p: write_torch(p, families.nvidia_state(SMALL) | {5: torch.zeros(3), (1, 2): torch.zeros(3)}), "no text"),
    "names-of-terminals": (lambda p: write_torch(p, families.nvidia_state(SMALL) | {"\x1b[2J\x07": torch.zeros(3)}), r"\?\[2J\?"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_what_is_not_stored_takes_no_memory(name: str, tmp_path: Path) -> None:
    write, why = BOUNDED[name]
    write(tmp_path / "file.pt")
    before, start = mutants.reset_peak(), time.perf_counter()
    with pytest.raises(ProxymaskError, match=why) as caught:
        open_checkpoint(tmp_path / "file.pt")
    assert str(caught.value).isprintable()
    assert mutants.peak() - before < 200 * MIB
    assert time.perf_counter() - start < 4


def test_a_discriminator_of_many_classes_is_left_out(tmp_path: Path) -> None:
    write_tf(tmp_path / "t.pkl", many_classes(20_000))
    before = mutants.reset_peak()
    opened = open_checkpoint(tmp_path / "t.pkl")
    assert opened.discriminator is None
    assert any("too much for its size" in note for note in opened.notes), opened.notes
    assert mutants.peak() - before < 200 * MIB


SETTINGS = [deep_tuple, lambda: [deep_tuple()], lambda: float("nan"), lambda: float("inf"), lambda: 0, lambda: -1, lambda: 10**400]
SETTINGS += [lambda: "\x1b[31m", lambda: "x" * 10_000, lambda: torch.zeros(3), lambda: {"a": 1}, lambda: Path("x"), lambda: b"\xff"]


@pytest.mark.parametrize("value", SETTINGS)
@pytest.mark.parametrize("name", ["conv_clamp", "lr_multiplier", "architecture", "z_dim", "num_fp16_res"])
def test_settings_are_numbers_or_words(name: str, value: Callable[[], Any], tmp_path: Path) -> None:
    kwargs = families.nvidia_kwargs(SMALL) | {name: value()}
    if name == "conv_clamp":
        del kwargs["synthesis_kwargs"]["conv_clamp"]
    write_nvidia(tmp_path / "n.pkl", {"G_ema": network("Generator", families.nvidia_state(SMALL), kwargs)})
    if name in ("num_fp16_res", "architecture") and type(kwargs[name]) is int and kwargs[name] == 0:  # as if it were not there
        open_checkpoint(tmp_path / "n.pkl")
        return
    with pytest.raises(ProxymaskError) as caught:
        open_checkpoint(tmp_path / "n.pkl")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["conv_clamp", "mapping_lrmul", "architecture", "resample_kernel", "fmap_decay", "something_else"])
def test_settings_of_tensorflow(name: str, tmp_path: Path) -> None:
    for value in (deep_tuple(), [deep_tuple()] * 4, float("nan"), "\x1b[31m"):
        variables = families.tf_variables(SMALL, ada=False)
        write_tf(tmp_path / "t.pkl", TfNetwork("G_main", {name: value}, variables, {}, "Gs"))
        with pytest.raises(ProxymaskError) as caught:
            open_checkpoint(tmp_path / "t.pkl")
        assert str(caught.value).isprintable()


def test_attributes_of_layers_are_not_compared_in_full(tmp_path: Path) -> None:
    """Two towers are equal, which takes 2^64 comparisons to see."""
    attributes = {f"synthesis.b{res}.conv1": {"conv_clamp": deep_tuple(), "activation": "lrelu"} for res in (4, 8)}
    write_nvidia(tmp_path / "n.pkl", {"G_ema": network("Generator", families.nvidia_state(SMALL), {}, attributes=attributes)})
    with pytest.raises(ProxymaskError, match="conv_clamp is a tuple"):
        open_checkpoint(tmp_path / "n.pkl")


def test_budgets_count_across_nested_streams() -> None:
    """Each stream alone is within its bounds."""
    keys = b"}(" + b"".join(number((2**61 - 1) * (i + 1)) + b"N" for i in range(6_000)) + b"u"
    nested = b"](" + call(LOAD, raw(whole(keys))) * 2 + b"e"
    with pytest.raises(ProxymaskError, match="dict keys"):
        read_stream(memoryview(whole(nested)))
    files = archive({"a/data.pkl": whole(b"N"), **{f"{i}": b"" for i in range(30_000)}})
    with pytest.raises(ProxymaskError, match="zip has more than"):
        read_stream(memoryview(whole(b"](" + call(LOAD, raw(files)) * 2 + b"e")))


# Folders of our own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = families.nvidia_file(tmp_path / "n.pkl", Shape(resolution=8, base=32, top=8, z=8, w=8, classes=3))[0]
    return save_import(open_checkpoint(path), tmp_path / "imported")


def edit(path: Path, **changes: Any) -> None:
    stored = json.loads(path.read_text())
    stored["config" if "config" in stored else "about"] = stored.get("config", {}) | changes
    path.write_text(json.dumps(stored))


CHANGES: list[dict[str, Any]] = [
    *({"resolution": value} for value in (2**40, -8, 0, 7, 2**300, "8", None, 8.5, [8], True)),
    *({"mapping_layers": value} for value in (10**9, -1, 10**15)),
    *({name: value} for name in ("z_dim", "w_dim", "c_dim") for value in (2**33, -1, "x", [])),
    *({name: value} for name in ("channel_base", "channel_max") for value in (0, -1, 2**54, "x", [])),
    *({"mapping_lr_multiplier": value} for value in (0, -0.01, float("nan"), float("inf"), 1e300, "0.01")),
    *({"conv_clamp": value} for value in (0, -256, float("nan"))),
    *({"start": value} for value in ([], [4], [0, 4], [-4, 4], [2**40, 2**40], "44", [[4], [4]], {"a": 4})),
    *({"label": value} for value in ("\x1b[31m", 5, "x" * 20_000)),
    {"seed_style": "\x1b]0;x\x07"},
    {"\x1b[2J": 3},
    {f"key{i}": i for i in range(20_000)},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: str(changes)[:40])
def test_altered_settings_of_a_folder(changes: dict[str, Any], folder: Path) -> None:
    edit(folder / "generator" / "config.json", **changes)
    before, start = mutants.reset_peak(), time.perf_counter()
    with pytest.raises(ProxymaskError) as caught:
        open_checkpoint(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert mutants.peak() - before < 200 * MIB
    assert time.perf_counter() - start < 4


def test_altered_discriminators_of_a_folder(folder: Path) -> None:
    config = folder / "discriminator" / "config.json"
    whole_file = config.read_text()
    for changes in ({"mbstd_group": 0}, {"mbstd_group": -4}, {"mbstd_channels": 3}, {"mbstd_channels": -1}, {"cmap_dim": 2**40}):
        edit(config, **changes)
        with pytest.raises(ProxymaskError):
            open_checkpoint(folder)
        config.write_text(whole_file)
    open_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "import.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"config": ' * 3000 + "1" + "}" * 3000, "9" * 10_000, '"' + "x" * 2_000_000 + '"', "NaN", ""]
)
def test_json_that_is_too_deep_or_too_large(name: str, text: str, folder: Path) -> None:
    (folder / "generator" / name if name == "config.json" else folder / name).write_text(text)
    with pytest.raises(ProxymaskError, match=name) as caught:
        open_checkpoint(folder)
    assert str(caught.value).isprintable()


def test_tensors_of_a_folder_are_finite_and_its_class_exists(folder: Path) -> None:
    path = folder / "generator" / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"synthesis.b8.conv1.bias": torch.full((4,), float("nan"))}, path)
    with pytest.raises(ProxymaskError, match=r"synthesis\.b8\.conv1\.bias has values that are not finite"):
        open_checkpoint(folder)
    save_file(tensors | {"mapping.class_index": torch.tensor(7)}, path)
    generator = open_checkpoint(folder).generator
    with pytest.raises(ProxymaskError, match="choose a class, class_index 0 to 2"):
        generator(generator.z([0]))


def test_nothing_in_a_folder_steers_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = json.loads((folder / "import.json").read_text())
    about |= {"source": "\x1b]0;owned\x07ü.pkl", "notes": ["\u202eabc", 3], "licence notice": "a\x1b[2J\nb", "networks": ["\x9b31m"]}
    (folder / "import.json").write_text(json.dumps(about))
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "ü.pkl" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    export(folder, folder.parent / "copy", "safetensors")
