"""What torch.save writes, in both of its formats and inside of pickles: tensors to the bit, and damage told from data."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import torch
from hostile import CASES
from pickle_assembler import call, mapping, named, number, stream, tensor, text, torch_zip, tup
from torch import nn

from proxymask.checkpoints.safe_pickle.containers import PICKLE, TORCH_LEGACY, TORCH_ZIP
from proxymask.checkpoints.safe_pickle.inert import InertObject
from proxymask.checkpoints.safe_pickle.state_dict import module_entries
from proxymask.checkpoints.safe_pickle.streams import read_stream
from proxymask.checkpoints.torch_file import Checkpoint, read_torch
from proxymask.core.errors import ProxymaskError

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
KINDS += [torch.bool, torch.complex64, torch.complex128]


def contents() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 4, generator=generator)
    values = torch.randint(0, 2, (5,), generator=generator)
    return {
        "g_ema": OrderedDict(weight=base, turned=base.t(), part=base[2:4, 1:3], empty=torch.empty(0, 3), step=torch.tensor(7)),
        "kinds": [values.to(kind) for kind in KINDS],
        "latent_avg": nn.Parameter(torch.randn(4, generator=generator)),
        "optimiser": torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=0.002, betas=(0.0, 0.99)).state_dict(),
    }


def check(checkpoint: Checkpoint, expected: dict[str, Any]) -> None:
    found = checkpoint.object
    for name, value in expected["g_ema"].items():
        assert torch.equal(found["g_ema"][name], value), name
        assert found["g_ema"][name].stride() == value.stride()
    for value, wanted in zip(found["kinds"], expected["kinds"], strict=True):
        assert value.dtype == wanted.dtype
        assert torch.equal(value, wanted)
    assert torch.equal(found["latent_avg"], expected["latent_avg"].detach())
    assert not found["latent_avg"].requires_grad
    assert found["optimiser"]["param_groups"][0]["lr"] == 0.002
    assert checkpoint.report.unknown == {}


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path: Path, legacy: bool) -> None:
    expected = contents()
    layouts.write_torch(tmp_path / "a.pt", expected, legacy, args={"size": 256, "channel_multiplier": 2})
    checkpoint = read_torch(tmp_path / "a.pt")
    assert checkpoint.format == (TORCH_LEGACY if legacy else TORCH_ZIP)
    check(checkpoint, expected)
    assert isinstance(checkpoint.object["args"], InertObject)
    assert checkpoint.object["args"].get("channel_multiplier") == 2
    weight, part = checkpoint.object["g_ema"]["weight"], checkpoint.object["g_ema"]["part"]
    before = (tmp_path / "a.pt").read_bytes()
    weight.zero_()  # tensors that shared memory still do
    assert part.eq(0).all()
    assert (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.parametrize("protocol", range(2, 6))
def test_inside_of_pickles(tmp_path: Path, protocol: int) -> None:
    expected = contents()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(expected, protocol))
    checkpoint = read_torch(tmp_path / "a.pkl")
    assert checkpoint.format == PICKLE
    check(checkpoint, expected)


def test_packed_zip(tmp_path: Path) -> None:
    """A checkpoint that somebody unpacked and zipped again."""
    expected = contents()
    layouts.write_torch(tmp_path / "a.pt", expected)
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    check(read_torch(tmp_path / "b.pt"), expected)


def test_wide_zip(tmp_path: Path) -> None:
    """The zip64 form, which files of more than 4 GB have; here it is forced on a small one."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as opened:
        for name, value in (("a/data.pkl", torch_body()), ("a/data/0", struct.pack("<4f", 1, 2, 3, 4))):
            with opened.open(name, "w", force_zip64=True) as entry:
                entry.write(value)
    data = bytearray(found.getvalue())
    end = data.rfind(b"PK\5\6")
    count, size, at = struct.unpack_from("<HLL", data, end + 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, at)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.pt").write_bytes(bytes(data[:end]) + wide + tail)
    assert read_torch(tmp_path / "a.pt").object.tolist() == [1, 2, 3, 4]
    broken = bytes(data[:end]) + wide.replace(b"PK\6\6", b"PK\6\5") + tail
    with pytest.raises(ProxymaskError, match="directory"):
        read(broken)


def torch_body() -> bytes:
    with zipfile.ZipFile(io.BytesIO(torch_zip(tensor(stored(), [4], [1])))) as opened:
        return opened.read("a/data.pkl")


def stored(kind: bytes = named("torch", "FloatStorage"), count: int = 4, device: str = "cpu") -> bytes:
    return tup(text("storage"), kind, text("0"), text(device), number(count)) + b"Q"


def read(data: bytes) -> Any:
    return read_stream(memoryview(data))


@pytest.mark.parametrize("make", [torch_zip, stream])
def test_of_another_device(make: Any) -> None:
    """Saved from a GPU, with the storage classes that older PyTorch had for it."""
    kind = named("torch.cuda", "FloatStorage")
    found = read(make(tensor(stored(kind, device="cuda:3"), [2, 2], [2, 1]), {"0": struct.pack("<4f", 1, 2, 3, 4)}))
    assert found.tolist() == [[1, 2], [3, 4]]
    assert found.device.type == "cpu"


@pytest.mark.parametrize(
    ("kind", "layout"), [("FloatStorage", "4f"), ("HalfStorage", "4e"), ("LongStorage", "4q"), ("ComplexFloatStorage", "8f")]
)
def test_big_endian(kind: str, layout: str) -> None:
    width = struct.calcsize("<" + layout) // 4
    files = {"a/data.pkl": b"", "a/byteorder": b"big", "a/data/0": struct.pack(">" + layout, *range(1, 1 + int(layout[0])))}
    with zipfile.ZipFile(io.BytesIO(torch_zip(tensor(stored(named("torch", kind)), [4], [1]), {"0": bytes(4 * width)}))) as opened:
        files["a/data.pkl"] = opened.read("a/data.pkl")
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as written:
        for name, value in files.items():
            written.writestr(name, value)
    expected = np.frombuffer(struct.pack("<" + layout, *range(1, 1 + int(layout[0]))), np.uint8)
    np.testing.assert_array_equal(read(found.getvalue()).view(torch.uint8).numpy(), expected)


def test_newer_rebuilds() -> None:
    """Storages without a type of their own, whose tensors bring it along, and parameters with attributes."""
    untyped = stored(named("torch.storage", "UntypedStorage"), 16)
    hooks = call(named("collections", "OrderedDict"))
    plain = [untyped, number(1), tup(number(2)), tup(number(1)), b"\x89", hooks]
    newer = call(named("torch._utils", "_rebuild_tensor_v3"), *plain, named("torch", "int32"), b"}")
    parameter = call(named("torch._utils", "_rebuild_parameter_with_state"), newer, b"\x88", hooks, b"}")
    found = read(torch_zip(parameter, {"0": struct.pack("<4i", 5, 6, 7, 8)}))
    assert found.dtype == torch.int32
    assert found.tolist() == [6, 7]


def test_unknown_storages_become_inert_objects(tmp_path: Path) -> None:
    """In a zip they can be left out; what is beside them is read."""
    odd = tensor(stored(named("torch", "QInt8Storage"), 4), [4], [1])
    good = tup(text("storage"), named("torch", "FloatStorage"), text("1"), text("cpu"), number(2)) + b"Q"
    body, storages = mapping(q=odd, w=tensor(good, [2], [1])), {"0": bytes(4), "1": struct.pack("<2f", 3, 4)}
    (tmp_path / "a.pt").write_bytes(torch_zip(body, storages))
    checkpoint = read_torch(tmp_path / "a.pt")
    assert isinstance(checkpoint.object["q"], InertObject)
    assert checkpoint.object["w"].tolist() == [3, 4]
    assert any("QInt8Storage" in name for name in checkpoint.report.unknown)
    (tmp_path / "b.pt").write_bytes(stream(body, storages))
    with pytest.raises(ProxymaskError, match="QInt8Storage"):
        read_torch(tmp_path / "b.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_modules(tmp_path: Path, legacy: bool) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    torch.save({"netG": module}, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    found = module_entries(read_torch(tmp_path / "a.pt").object["netG"])
    assert list(found) == list(module.state_dict())
    assert torch.equal(found["0.weight"], module[0].weight)


def small(layout: str, folder: Path) -> bytes:
    """A small valid file of each layout."""
    tensors = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), w_avg=torch.ones(2), flag=torch.tensor([True]))
    path = folder / layout
    if layout == "nvidia":
        layouts.write_nvidia(path, {"G_ema": layouts.network("Generator", tensors, {"z_dim": 2})})
    elif layout == "tf":
        layouts.write_tf(path, layouts.TfNetwork("G_main", {"a": 1}, {"w": np.arange(6, dtype=np.float32)}))
    else:
        layouts.write_torch(path, {"g_ema": tensors}, layout == "stream", args={"size": 32})
    return path.read_bytes()


LAYOUTS = ["zip", "stream", "nvidia", "tf"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation(layout: str, tmp_path: Path) -> None:
    """Cut after any of its bytes, a file is refused in one line."""
    data = small(layout, tmp_path)
    read(data)
    for end in range(1, len(data)):
        with pytest.raises(ProxymaskError) as caught:
            read(data[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation_is_named(layout: str, tmp_path: Path) -> None:
    """What a user of a broken download reads says so, whichever part is missing."""
    data = small(layout, tmp_path)
    for end in {8, len(data) // 3, len(data) // 2, len(data) - 40, len(data) - 1}:
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(ProxymaskError, match=r"broken download|damaged") as caught:
            read_torch(tmp_path / "cut")
        assert "get " in str(caught.value)


@pytest.mark.parametrize("where", range(8))
def test_flipped_weights_of_a_zip_are_noticed(where: int, tmp_path: Path) -> None:
    """A zip has checksums: one bit of a weight is enough. (The other layouts have none.)"""
    layouts.write_torch(tmp_path / "a.pt", {"g_ema": {"w": torch.randn(64)}})
    data = bytearray((tmp_path / "a.pt").read_bytes())
    at = read_torch(tmp_path / "a.pt").object["g_ema"]["w"].numpy().tobytes()
    data[bytes(data).index(at) + 31 * where] ^= 1 << where
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(ProxymaskError, match="checksum"):
        read_torch(tmp_path / "a.pt")


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(ProxymaskError, match=r"a\.pkl: a picture"):
        read_torch(tmp_path / "a.pkl")
    with pytest.raises(ProxymaskError, match="a folder"):
        read_torch(tmp_path)
    with pytest.raises(ProxymaskError, match="does not exist"):
        read_torch(tmp_path / "none")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ProxymaskError, match="neither"):
            read_torch(tmp_path / "pipe")


def test_messages_name_the_file(tmp_path: Path) -> None:
    for name in ("tensor-beyond", "zip-twice", "storage-huge"):
        (tmp_path / name).write_bytes(CASES[name].make())
        with pytest.raises(ProxymaskError, match=f"^{tmp_path / name}: "):
            read_torch(tmp_path / name)


MEASURE = """
import resource, sys, time, torch
from proxymask.checkpoints.torch_file import read_torch
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read_torch(sys.argv[1]).object
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("layout", ["zip", "nvidia"])
def test_memory(layout: str, tmp_path: Path) -> None:
    """A file of 48 MB takes at most its own pages and one copy of its tensors."""
    tensors = {f"w{i}": torch.randn(512, 512, 3, 3)[:170] for i in range(4)}
    tensors = {name: value.clone() for name, value in tensors.items()}
    path = tmp_path / "a"
    if layout == "nvidia":
        layouts.write_nvidia(path, {"G_ema": layouts.network("Generator", tensors)})
    else:
        layouts.write_torch(path, {"g_ema": tensors})
    size = path.stat().st_size / 2**20
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < (1.2 if layout == "zip" else 2.2) * size + 30
