"""``ConfigModel``: its config, its files, and the errors for damaged ones."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from proxymask.core import files
from proxymask.core.config_model import ConfigModel
from proxymask.core.device import resolve_device, resolve_precision
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors, read_json, save_tensors, write_json
from proxymask.core.seeding import derive_rng, derive_seed


class Net(ConfigModel):
    count: torch.Tensor

    def __init__(self, width: int, depth: int = 2, kind: str = "a", sizes: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        if width < 1:
            raise ProxymaskError("width must be 1 or more")
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.register_buffer("count", torch.tensor(70000))


class Deeper(Net):
    def __init__(self, width: int, extra: float = 0.5) -> None:
        super().__init__(width, depth=4)
        self.extra = extra


class Same(Net):
    """Inherits ``__init__``."""


def test_config_is_the_arguments() -> None:
    assert Net(3).config == {"width": 3, "depth": 2, "kind": "a", "sizes": [1, 2]}
    assert Net(3, 1, kind="b", sizes=(4,)).config == {"width": 3, "depth": 1, "kind": "b", "sizes": [4]}
    deeper = Deeper(3)
    assert deeper.config == {"width": 3, "extra": 0.5}  # the arguments of the call, not those of the parent class
    assert len(deeper.layers) == 4
    assert Same(5).config == Net(5).config
    assert Deeper(**deeper.config).config == deeper.config
    with pytest.raises(TypeError, match="JSON"):
        Net(3, kind=torch.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Net()  # type: ignore[call-arg]
    assert Net.__init__.__name__ == "__init__"  # the wrapper keeps the name


@pytest.mark.parametrize("make", [lambda: Net(3, sizes=(7,)), lambda: Deeper(2), lambda: Same(3)])
def test_saving_and_loading_keeps_everything(make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = make().train()
    folder = net.save_pretrained(tmp_path / "new" / "net")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    again = type(net).from_pretrained(folder)
    assert again.config == net.config
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in again.state_dict().items())


def test_half_stores_float16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net(64)
    net.save_pretrained(tmp_path / "half", half=True)
    net.save_pretrained(tmp_path / "full")
    assert (tmp_path / "half/model.safetensors").stat().st_size < 0.6 * (tmp_path / "full/model.safetensors").stat().st_size
    again = Net.from_pretrained(tmp_path / "half")
    for name, value in net.state_dict().items():
        got = again.state_dict()[name]
        assert got.dtype == value.dtype  # float32 again
        assert torch.allclose(got, value, atol=1e-3) if value.is_floating_point() else torch.equal(got, value)
    assert int(again.count) == 70000  # whole numbers are not rounded


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Net(3).save_pretrained(tmp_path / "net")


def test_missing_files_are_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(ProxymaskError, match=r"net/model\.safetensors is missing"):
        Net.from_pretrained(saved)
    (saved / "config.json").unlink()
    with pytest.raises(ProxymaskError, match=r"net/config\.json is missing"):
        Net.from_pretrained(saved)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_files_are_named(saved: Path, keep: int) -> None:
    for name, words in (("model.safetensors", "damaged or truncated"), ("config.json", "not valid JSON")):
        path, whole = saved / name, (saved / name).read_bytes()
        path.write_bytes(whole[: keep if name != "config.json" or keep >= 0 else -5])
        with pytest.raises(ProxymaskError, match=words) as caught:
            Net.from_pretrained(saved)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    Net.from_pretrained(saved)


def test_damaged_files_are_refused(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(os.urandom(500))
    with pytest.raises(ProxymaskError, match="damaged"):
        Net.from_pretrained(saved)
    (saved / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProxymaskError, match="not valid JSON"):
        Net.from_pretrained(saved)
    (saved / "config.json").write_text("[1, 2]")
    with pytest.raises(ProxymaskError, match="holds no model config"):
        Net.from_pretrained(saved)


def test_files_that_do_not_fit_are_refused(saved: Path) -> None:
    with pytest.raises(ProxymaskError, match="holds a Net, not a Deeper"):
        Deeper.from_pretrained(saved)
    config = saved / "config.json"
    edit(config, lambda c: c.update(format=99))
    with pytest.raises(ProxymaskError, match="has format 99, this version reads 1: update proxymask"):
        Net.from_pretrained(saved)
    edit(config, lambda c: c.update(format=1))
    edit(config, lambda c: c["config"].update(colour=3))
    with pytest.raises(ProxymaskError, match=r"does not fit Net.*colour"):
        Net.from_pretrained(saved)
    edit(config, lambda c: c["config"].pop("colour"))
    edit(config, lambda c: c["config"].update(width=0))
    with pytest.raises(ProxymaskError, match="width must be 1 or more"):
        Net.from_pretrained(saved)
    edit(config, lambda c: c["config"].update(width=4))
    with pytest.raises(ProxymaskError, match=r"wrong shape \['layers"):
        Net.from_pretrained(saved)
    edit(config, lambda c: c["config"].update(width=3, depth=3))
    with pytest.raises(ProxymaskError, match=r"missing \['layers\.2\.bias', 'layers\.2\.weight'\]"):
        Net.from_pretrained(saved)
    edit(config, lambda c: c["config"].update(depth=1))
    with pytest.raises(ProxymaskError, match=r"unknown \['layers\.1"):
        Net.from_pretrained(saved)


def test_writing_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a": torch.ones(3)})

    def full(tensors: dict[str, torch.Tensor], name: Path) -> None:
        Path(name).write_bytes(b"half a file")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(OSError, match="No space") as caught:
        save_tensors(path, {"a": torch.zeros(3)})
    assert caught.value.errno == errno.ENOSPC
    assert torch.equal(load_file(path)["a"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]  # and no temporary file

    write_json(tmp_path / "a.json", {"ä": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"ä": torch.zeros(1)})
    assert read_json(tmp_path / "a.json") == {"ä": 1}


def test_tensors_of_any_layout(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    shared = torch.randn(4, requires_grad=True)
    save_tensors(tmp_path / "t.safetensors", {"x": x, "t": x[:, :, 1].transpose(0, 1), "a": shared, "b": shared})
    got = load_tensors(tmp_path / "t.safetensors")
    assert torch.equal(got["x"], x)
    assert torch.equal(got["t"], x[:, :, 1].transpose(0, 1))
    assert torch.equal(got["a"], shared.detach())
    assert torch.equal(got["b"], shared.detach())
    save_file({"x": torch.zeros(1)}, tmp_path / "o.safetensors")
    with pytest.raises(ProxymaskError, match="missing"):
        load_tensors(tmp_path)


def test_seeds() -> None:
    assert derive_seed(0, 5, "a") == derive_seed(0, 5, "a") == 6319039980415421003
    keys = [(0, 1, "a"), (1, 1, "a"), (0, 2, "a"), (0, 1, "b"), (0, 11, "a"), (0, 1, 1, "a"), (-1, 1, "a")]
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert all(0 <= derive_seed(*key) < 2**63 for key in keys)
    draws = [torch.rand(4, generator=derive_rng(0, 3, purpose)) for purpose in ("x", "x", "y")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_devices_and_precisions() -> None:
    cpu = resolve_device("cpu")
    assert resolve_precision("fp32", cpu) == torch.float32
    assert resolve_precision("bf16", cpu) == torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(ProxymaskError, match="precision fp16"):
        resolve_precision("fp16", cpu)
    if not torch.cuda.is_available():
        with pytest.raises(ProxymaskError, match="sees no CUDA device"):
            resolve_device("cuda")


@pytest.mark.parametrize(
    "changes",
    [
        *({"width": value} for value in (-3, 2**40, 2**200, 10**300, "3", None, [3], float("nan"), 3.5, {"a": 1})),
        *({"depth": value} for value in (10**9, -1, 2**60, float("inf"), "many")),
        *({"kind": value} for value in ("\x1b[31m" * 5000, ["a"] * 20_000, {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}})),
        {"\x1b[2J": 1},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_altered_settings_take_neither_time_nor_memory(saved: Path, changes: dict[str, object]) -> None:
    edit(saved / "config.json", lambda c: c["config"].update(changes))
    start = time.perf_counter()
    with pytest.raises(ProxymaskError) as caught:
        Net.from_pretrained(saved)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert time.perf_counter() - start < 2


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, why in (("[" * 200_000, "too deeply"), ("1" * 10_000, "not valid JSON"), ("{", "not valid JSON")):
        path.write_text(text)
        with pytest.raises(ProxymaskError, match=why):
            read_json(path)
    with pytest.raises(ProxymaskError, match="cannot be read"):
        read_json(tmp_path)
    path.write_text("[1, 2, 3, 4]")
    with pytest.raises(ProxymaskError, match="larger than 5 bytes"):
        read_json(path, 5)
    assert read_json(path, 100) == [1, 2, 3, 4]


def test_construction_draws_the_same_random_numbers(saved: Path) -> None:
    """Loading leaves torch's global random state as building the network does."""
    torch.manual_seed(3)
    Net(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    Net.from_pretrained(saved)
    assert torch.equal(torch.rand(3), wanted)
