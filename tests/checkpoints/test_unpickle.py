"""The pickle machine: what is plain comes out as it went in, what is not stays inert."""

import argparse
import collections
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import torch
from pickle_assembler import call, mapping, named, number, raw, text, whole
from torch import nn

from proxymask.checkpoints.formats.state_reader import StateReader
from proxymask.checkpoints.safe_pickle.budget import Limits
from proxymask.checkpoints.safe_pickle.inert import Global, InertObject, PersistentModule, ReadReport
from proxymask.checkpoints.safe_pickle.state_dict import module_entries
from proxymask.checkpoints.safe_pickle.streams import read_pickle
from proxymask.core.errors import ProxymaskError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
PLAIN: dict[str, Any] = {
    "numbers": [0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**200), 2**2000, 0.0, -1.5, 1e300, float("inf"), 1 + 2j],
    "constants": (None, True, False),
    "texts": ["", "a", "é\n'\"\\", "\N{OLD PERSIAN SIGN A}", "x" * 300, "y" * 70_000, "\ud800"],
    "bytes": [b"", b"\x00\xff", b"z" * 300],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((), ((),))],
    "sets": [set(), {1, "a"}, frozenset({2, (3, 4)})],
    "dicts": [{}, {1: 2}, {"a": {"b": []}, (1, "c"): None, 2.5: 1, b"d": 0}],
    "ordered": OrderedDict([("z", 1), ("a", 2)]),
    "list": list(range(3000)),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values(protocol: int) -> None:
    report = ReadReport()
    found = read_pickle(pickle.dumps(PLAIN, protocol), report=report)
    assert found == PLAIN
    assert [type(value) for value in found["constants"]] == [type(None), bool, bool]
    assert type(found["ordered"]) is OrderedDict
    assert list(found["ordered"]) == ["z", "a"]
    assert report.unknown == {}
    assert report.opcodes > 100
    report.require_known()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identity_and_cycles(protocol: int) -> None:
    shared: list[Any] = [1]
    array = np.arange(3)
    report = ReadReport()
    found = read_pickle(pickle.dumps([shared, shared, (shared,), array, array], protocol), report=report)
    assert found[0] is found[1] is found[2][0]
    assert found[3] is found[4]
    assert not report.cyclic
    shared.append(shared)
    found = read_pickle(pickle.dumps({"a": (shared,)}, protocol), report=report)
    assert found["a"][0][1] is found["a"][0]
    assert report.cyclic


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["b1", "u1", "i1", "<i2", ">i4", "u8", "f2", "<f4", ">f4", "f8", "c8", "c16"])
def test_arrays(kind: str, protocol: int) -> None:
    values = (np.arange(24) % 2 if kind == "b1" else np.arange(24)).astype(kind)
    arrays = [values, values.reshape(2, 3, 4), values.reshape(4, 6).T, values[::5], values[:0].reshape(0, 7), np.array(values[5])]
    arrays.append(np.asfortranarray(values.reshape(3, 8)))
    found = read_pickle(pickle.dumps((arrays, values[7]), protocol))
    for value, expected in zip(found[0], arrays, strict=True):
        assert type(value) is np.ndarray
        assert value.dtype == expected.dtype
        assert value.shape == expected.shape
        np.testing.assert_array_equal(value, expected)
    assert isinstance(found[1], np.generic)
    assert found[1] == values[7]


def test_large_arrays_are_not_copied(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    layouts.write_tf(tmp_path / "a.pkl", layouts.TfNetwork("G", {}, {f"v{i}": expected for i in range(4)} | {"w": expected[:3]}))
    variables = read_pickle(tmp_path / "a.pkl").get("variables")
    for name, value in variables:
        np.testing.assert_array_equal(value, expected[:3] if name == "w" else expected)
    before = (tmp_path / "a.pkl").read_bytes()
    for _, value in variables:
        if value.flags.writeable:
            value[:] = 7
    assert (tmp_path / "a.pkl").read_bytes() == before  # the mapping is private


def test_python_2() -> None:
    """Strings of Python 2 are text where they are ASCII and bytes where not; its modules have other names."""
    assert read_pickle(b"(lp0\nS'abc'\nap1\nU\x03xyzaT\x02\x00\x00\x00\xff\xfea.") == ["abc", "xyz", b"\xff\xfe"]
    assert read_pickle(b"c__builtin__\nset\n((lI1\naI2\natR.") == {1, 2}
    assert read_pickle(b"ccopy_reg\n_reconstructor\n(cdnnlib.util\nEasyDict\nc__builtin__\ndict\n(dtR(dS'a'\nI1\nsb.") == {"a": 1}
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    found = read_pickle(array + b"(I1\n(I2\nt" + dtype + b"I00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\ntb.")
    np.testing.assert_array_equal(found, np.array([1, 2], np.float32))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_tensors(protocol: int) -> None:
    base = torch.randn(4, 6)
    annotated = torch.randn(3)
    annotated.note = "dropped"  # type: ignore[attr-defined]
    values: dict[str, Any] = {
        "plain": base,
        "turned": base.t(),
        "parameter": nn.Parameter(torch.randn(2, 3)),
        "annotated": annotated,
        "step": torch.tensor(3),
        "none": torch.empty(0, 5),
        "kinds": [torch.float16, torch.int64, torch.Size([1, 2]), torch.device("cuda:1"), torch.device("cpu")],
    }
    found = read_pickle(pickle.dumps(values, protocol))
    for name in ("plain", "turned", "parameter", "annotated", "step", "none"):
        assert type(found[name]) is torch.Tensor
        assert not found[name].requires_grad
        assert torch.equal(found[name], values[name].detach()), name
    assert found["turned"].stride() == (1, 6)
    assert found["kinds"] == [torch.float16, torch.int64, (1, 2), torch.device("cuda:1"), torch.device("cpu")]


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.uint16, torch.bool, torch.complex64, torch.int8])
def test_kinds_of_tensors(kind: torch.dtype) -> None:
    """Types that torch stores in its newer ways; one that is not understood stays inert, never numbers."""
    value = torch.ones(3).to(kind)
    report = ReadReport()
    found = read_pickle(pickle.dumps(value, 4), report=report)
    if kind == torch.uint16:
        assert isinstance(found, InertObject)
        assert report.unknown
    else:
        assert found.dtype == kind
        assert torch.equal(found, value)


class Odd(list):
    """A list with attributes, from a module that the reader does not know."""


class Table(dict):
    """Its like of a dict."""


def test_unknown_things_stay_inert() -> None:
    odd, table = Odd([1, 2]), Table(a=1)
    odd.speed = 3  # type: ignore[attr-defined]
    report = ReadReport()
    values = [odd, table, Odd, print, argparse.Namespace(size=256, path=Path("a")), collections.Counter("aab"), slice(1, 2)]
    found = read_pickle(pickle.dumps(values, 4), report=report)
    assert [type(value) for value in found] == [InertObject, InertObject, Global, Global, InertObject, InertObject, InertObject]
    here = Odd.__module__
    assert (found[0].module, found[0].name, found[0].items, found[0].state) == (here, "Odd", [1, 2], {"speed": 3})
    assert found[1].entries == {"a": 1}
    assert found[3] == Global("builtins", "print")
    assert found[4].get("size") == 256
    assert found[5].args == ({"a": 2, "b": 1},)
    assert report.unknown[f"{here}.Odd"] == 1
    assert report.unknown["builtins.print"] == 0  # named, not called
    assert "argparse.Namespace" not in report.unknown
    with pytest.raises(ProxymaskError, match="not understood; without strict"):
        report.require_known()
    assert repr(found[0]) == f"InertObject('{here}.Odd')"


def test_defaultdict_and_extras() -> None:
    values = collections.defaultdict(list, a=[1])
    found = read_pickle(pickle.dumps({"d": values, "s": Global}, 2))
    assert found["d"] == {"a": [1]}
    metadata = nn.Linear(2, 2).state_dict()
    assert list(read_pickle(pickle.dumps(metadata, 2))) == ["weight", "bias"]  # torch hangs attributes on it


def network(source: str = layouts.NVIDIA_SOURCE) -> layouts.Network:
    tensors = {"mapping.fc0.weight": torch.randn(4, 4), "mapping.w_avg": torch.randn(4), "synthesis.b4.const": torch.randn(3, 4, 4)}
    return layouts.network("Generator", tensors, {"z_dim": 4, "mapping_kwargs": layouts.EasyDict(num_layers=1)}, source=source)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_nvidia(tmp_path: Path, protocol: int) -> None:
    made = network()
    layouts.write_nvidia(tmp_path / "a.pkl", {"G": made, "D": None, "training_set_kwargs": {"class_name": "x.Y", "path": "z"}}, protocol)
    report = ReadReport()
    found = read_pickle(tmp_path / "a.pkl", report=report)
    generator = found["G"]
    assert type(found) is dict
    assert type(generator) is PersistentModule
    assert generator.class_name == "Generator"
    assert generator.version == 6
    assert generator.init_kwargs == {"z_dim": 4, "mapping_kwargs": {"num_layers": 1}}
    assert type(generator.init_kwargs["mapping_kwargs"]) is dict
    assert found["training_set_kwargs"] == {"class_name": "x.Y", "path": "z"}
    assert "SOME CORPORATION" in generator.notice
    assert generator.source_length == len(layouts.NVIDIA_SOURCE)
    assert "SystemExit" not in generator.notice
    assert report.notices == [generator.notice]
    assert report.unknown == {}
    tensors = module_entries(generator)
    assert sorted(tensors) == ["mapping.fc0.weight", "mapping.w_avg", "synthesis.b4.const"]
    assert torch.equal(tensors["mapping.w_avg"], made.state["_modules"]["mapping"].state["_buffers"]["w_avg"])


def test_notices(tmp_path: Path) -> None:
    for source, wanted in [
        ("import torch\n", ""),
        ("# just a remark\n", ""),
        ("# (c) \x1b[2J me\n#\n# Licence: none\nx", "(c) ?[2J me\n\nLicence: none"),
    ]:
        layouts.write_nvidia(tmp_path / "a.pkl", {"G": network(source)})
        assert read_pickle(tmp_path / "a.pkl")["G"].notice == wanted


@pytest.mark.parametrize("protocol", range(2, 6))
def test_tensorflow(tmp_path: Path, protocol: int) -> None:
    weight = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    inner = layouts.TfNetwork("G_synthesis_stylegan2", {"resolution": 32}, {"4x4/Conv/weight": weight, "noise": np.float32(2)})
    outer = layouts.TfNetwork("G_main", {"resolution": 32}, {"dlatent_avg": weight[0, 0, 0]}, {"synthesis": inner}, name="G")
    layouts.write_tf(tmp_path / "a.pkl", (outer, None, outer), protocol)
    assert b"numpy._core" not in (tmp_path / "a.pkl").read_bytes()
    report = ReadReport()
    found = read_pickle(tmp_path / "a.pkl", report=report)
    assert found[0] is found[2]
    assert (found[0].module, found[0].name) == ("dnnlib.tflib.network", "Network")
    assert found[0].get("build_func_name") == "G_main"
    assert "build_module_src" not in found[0].state
    assert "SOME CORPORATION" in found[0].get("notice")
    synthesis = found[0].get("components")["synthesis"]
    names, arrays = zip(*synthesis.get("variables"), strict=True)
    assert names == ("4x4/Conv/weight", "noise")
    np.testing.assert_array_equal(arrays[0], weight)
    assert arrays[1] == 2
    assert synthesis.get("static_kwargs") == {"resolution": 32}
    assert report.unknown == {}


def read_all(network: Any) -> None:
    """Take all tensors of a network, as the readers of the formats do."""
    tensors = StateReader(network if isinstance(network, dict) else module_entries(network), "generator")
    for name in tensors.names:
        tensors.take_as_is(name)


def test_state_dict() -> None:
    """The names and order of torch's own, of a module that was pickled whole."""
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.PReLU(), nn.Identity()))
    module.register_buffer("scale", torch.ones(2))
    module.register_parameter("nothing", None)
    found = module_entries(read_pickle(pickle.dumps(module, 4)))
    expected = module.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": InertObject("x", "Y")}, "its tensor a is a call of x.Y"),
        ({1: torch.ones(1)}, "no text"),
        ({"a" * 600: torch.ones(1)}, "up to 512 characters"),
        (InertObject("x", "Y"), "no torch module"),
        (InertObject("x", "Y", state={"_parameters": {"w": InertObject("p", "Q")}}), "its tensor w is a call of p.Q"),
        (InertObject("x", "Y", state={"_parameters": {}, "_modules": {"m": 3}}), "m. is no torch module: int"),
        (InertObject("x", "Y", state={"_parameters": {}, "_modules": 3}), "_modules is no dict"),
        (InertObject("x", "Y", state={"_parameters": {}, "_modules": {1: None}}), "no text"),
        ({f"{i}": value for value in [torch.ones(2**20)] for i in range(100)}, "too much for its size"),
    ],
)
def test_state_dict_refuses(value: Any, message: str) -> None:
    with pytest.raises(ProxymaskError, match=message):
        read_all(value)


def test_sources(tmp_path: Path) -> None:
    found = pickle.dumps([1, 2])
    (tmp_path / "a.pkl").write_bytes(found)
    (tmp_path / "empty").write_bytes(b"")
    for source in (found, bytearray(found), memoryview(found), io.BytesIO(found), tmp_path / "a.pkl", str(tmp_path / "a.pkl")):
        assert read_pickle(source) == [1, 2]
    with pytest.raises(ProxymaskError, match="empty: the file is empty"):
        read_pickle(tmp_path / "empty")
    with pytest.raises(ProxymaskError, match="nothing: cannot be opened"):
        read_pickle(tmp_path / "nothing")


def test_persistent_ids() -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("kept", 7) if value is Odd else None

    written = io.BytesIO()
    Pickler(written, 4).dump([Odd, 1])
    assert read_pickle(written.getvalue(), persistent_load=lambda found: found) == [("kept", 7), 1]
    with pytest.raises(ProxymaskError, match="persistent id"):
        read_pickle(written.getvalue())


def test_large_bytes_show_the_file() -> None:
    found = read_pickle(pickle.dumps([b"a" * 100_000, b"b" * 1000], 4))
    assert isinstance(found[0], memoryview)
    assert bytes(found[0]) == b"a" * 100_000
    assert found[1] == b"b" * 1000


@pytest.mark.parametrize(
    ("limits", "body", "message"),
    [
        (Limits(max_bytes=10), pickle.dumps(np.arange(3.0)), "take more than 0.0 MB"),
        (Limits(max_elements=2), pickle.dumps(np.arange(3.0)), "no shape"),
        (Limits(max_elements=8), pickle.dumps(np.zeros((3, 3))), "9 elements, more than 8"),
        (Limits(max_opcodes=100), pickle.dumps([0] * 200), "more than 100 steps"),
        (Limits(max_objects=3), pickle.dumps([slice(i) for i in range(4)]), "more than 3 objects"),
        (Limits(max_depth=3), pickle.dumps([[[[]]]]), "more than 3 deep"),
        (Limits(max_memo=5), pickle.dumps([[i] for i in range(9)], 4), "memo has more than 5"),
        (Limits(max_string_bytes=5), pickle.dumps("abcdef"), "a string takes 6 bytes, more than 5"),
        (Limits(max_int_bytes=5), pickle.dumps(2**100), "an integer takes 13 bytes"),
        (Limits(max_nested_pickles=0), whole(call(named("torch.storage", "_load_from_bytes"), raw(whole(b"N")))), "more than 0 deep"),
    ],
)
def test_limits(limits: Limits, body: bytes, message: str) -> None:
    read_pickle(body)
    with pytest.raises(ProxymaskError, match=message):
        read_pickle(body, limits)


def test_depth_is_that_of_the_longest_path() -> None:
    """However a container was reached first, and however it was put together."""
    deep: list[Any] = []
    shortcut = deep
    for _ in range(8):
        deep = [deep]
    body = pickle.dumps([shortcut, deep])
    assert read_pickle(body, Limits(max_depth=10)) == [shortcut, deep]
    with pytest.raises(ProxymaskError, match="deep"):
        read_pickle(body, Limits(max_depth=9))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation(protocol: int, tmp_path: Path) -> None:
    """After every byte, not only between opcodes: each is refused, in one line."""
    found = pickle.dumps({"a": [1, 2.5, "text"], "n": np.arange(4), "z": (2**80, b"raw", {3})}, protocol)
    for end in range(len(found)):
        with pytest.raises(ProxymaskError) as caught:
            read_pickle(found[:end])
        assert "\n" not in str(caught.value)
    read_pickle(found)


def test_tensor_of_an_inert_storage_is_inert() -> None:
    """Numbers that hang on something unknown are never made up."""
    floats = call(named("torch", "QInt8Storage"), number(3))
    view = call(named("torch._utils", "_rebuild_tensor_v2"), floats, number(0), b"K\x01\x85", b"K\x01\x85", b"\x89", b"}")
    report = ReadReport()
    found = read_pickle(whole(mapping(a=view, b=text("kept"))), report=report)
    assert found["b"] == "kept"
    assert isinstance(found["a"], InertObject)
    assert set(report.unknown) == {"torch.QInt8Storage", "torch._utils._rebuild_tensor_v2"}
    with pytest.raises(ProxymaskError, match=r"its tensor a is a call of torch\._utils\._rebuild_tensor_v2"):
        read_all({"a": found["a"]})
