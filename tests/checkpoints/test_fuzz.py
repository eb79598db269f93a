"""Any bytes at all: they are read or refused, and nothing else happens."""

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import is_forbidden
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pickle_assembler import ARRAY, ENCODE, F4, FLOATS, LOAD, REBUILD, SYSTEM, named, number, raw, storage, stream, tensor, text, torch_zip
from test_torch_file import LAYOUTS, small

from proxymask.checkpoints.identify import identify
from proxymask.checkpoints.safe_pickle.budget import DEFAULT_LIMITS, Budget
from proxymask.checkpoints.safe_pickle.inert import InertObject
from proxymask.checkpoints.safe_pickle.state_dict import module_entries
from proxymask.checkpoints.safe_pickle.streams import read_pickle, read_stream
from proxymask.core.errors import ProxymaskError

QUICK = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

_watching = [False]
_seen: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _watching[0] and is_forbidden(event, args):
        _seen.append(f"{event} {str(args)[:100]}")


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_watch)  # cannot be taken out again: it does nothing while nobody is watching


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    found = {layout: small(layout, folder) for layout in LAYOUTS}
    for data in found.values():  # what torch and numpy import when they are first used
        touch(data)
    return found


def leaves(root: Any) -> Iterator[Any]:
    """All that a result holds, each container once."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            pending += list(value)
        elif isinstance(value, InertObject):
            pending += [value.args, value.state, value.items, value.entries]


def touch(data: bytes) -> bool:
    """Read ``data`` and use everything in the result; whether it was accepted."""
    start = time.perf_counter()
    _watching[0] = True
    try:
        result = read_stream(memoryview(data))
        for value in leaves(result):
            if isinstance(value, torch.Tensor):
                assert value.nbytes <= Budget(DEFAULT_LIMITS, len(data)).max_bytes
                value.clone()  # reads all of its memory
                assert not value.requires_grad
            elif isinstance(value, np.ndarray):
                value.tobytes()
            else:
                assert len(repr(type(value))) < 200
                if hasattr(value, "get") and hasattr(value, "state"):
                    with contextlib.suppress(ProxymaskError):
                        module_entries(value)
    except ProxymaskError as error:
        message = str(error)
        assert message
        assert message.isprintable()
        assert "MemoryError" not in message
        return False
    finally:
        _watching[0] = False
        assert time.perf_counter() - start < 10
        assert not _seen
    return True


edits = st.lists(
    st.tuples(st.sampled_from(["set", "flip", "insert", "delete", "copy"]), st.integers(0, 2**20), st.integers(0, 255)),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    found = bytearray(data)
    for what, at, value in changes:
        at %= max(1, len(found))
        if what == "set":
            found[at : at + 1] = [value]
        elif what == "flip" and found:
            found[at] ^= 1 << value % 8
        elif what == "insert":
            found[at:at] = [value]
        elif what == "delete":
            del found[at : at + 1 + value % 16]
        elif what == "copy":
            found[at:at] = found[value : value + 32]
    return bytes(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changed_files(layout: str, files: dict[str, bytes]) -> None:
    """Random changes to valid files; where their checksums fail, those of a zip are mended by the next test."""

    @QUICK
    @given(edits)
    def run(changes: list[tuple[str, int, int]]) -> None:
        touch(edited(files[layout], changes))

    run()


@QUICK
@given(edits)
def test_changed_pickles_in_valid_zips(changes: list[tuple[str, int, int]]) -> None:
    """So that the checksum does not keep the changes from the reader."""
    body = tensor(storage(), [2, 2], [2, 1]) + b"\x85" + text("a") + number(3) + b"\x87" + b"](" + ARRAY + b"e0"
    touch(torch_zip(edited(body, changes)))


@QUICK
@given(edits)
def test_identify_changed_files(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, int]]
) -> None:
    """Every file is identified as something, without an error."""
    path = tmp_path_factory.getbasetemp() / "looked"
    for data in files.values():
        path.write_bytes(edited(data, changes))
        facts = identify(path)
        assert facts.kind
        assert facts.problem is None or facts.problem.isprintable()


@QUICK
@given(st.binary(min_size=1, max_size=200))
def test_noise(data: bytes) -> None:
    touch(data)


small_numbers = st.integers(-3, 70_000)
fragments = st.one_of(
    st.sampled_from([bytes([code]) for code in b"N)]}(012tldeuasbRoQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"]),
    st.integers(0, 6).map(lambda index: b"h" + bytes([index])),
    st.integers(0, 6).map(lambda index: b"q" + bytes([index])),
    small_numbers.map(number),
    st.text(max_size=5).map(text),
    st.binary(max_size=20).map(raw),
    st.sampled_from([SYSTEM, FLOATS, REBUILD, LOAD, ENCODE, ARRAY, F4, storage(), storage("1", 8), tensor(storage(), [2], [1])]),
    st.sampled_from(["OrderedDict", "defaultdict", "Counter"]).map(lambda name: named("collections", name)),
    st.sampled_from(["set", "list", "tuple", "dict", "bytes", "getattr", "object"]).map(lambda name: named("builtins", name)),
    st.sampled_from(["_rebuild_parameter", "_rebuild_tensor_v3", "_rebuild_parameter_with_state"]).map(
        lambda name: named("torch._utils", name)
    ),
    st.sampled_from(["scalar", "_reconstruct"]).map(lambda name: named("numpy.core.multiarray", name)),
    st.sampled_from(["float32", "device", "Size", "Tensor"]).map(lambda name: named("torch", name)),
    st.sampled_from(
        [
            named("numpy", "dtype"),
            named("copyreg", "_reconstructor"),
            named("copyreg", "__newobj_ex__"),
            named("torch._tensor", "_rebuild_from_type_v2"),
            named("torch_utils.persistence", "_reconstruct_persistent_obj"),
            named("dnnlib.tflib.network", "Network"),
            named("dnnlib.util", "EasyDict"),
        ]
    ),
    st.tuples(st.lists(small_numbers, max_size=4), st.lists(small_numbers, max_size=4), small_numbers).map(
        lambda view: tensor(storage(), view[0], view[1], view[2])
    ),
)


@settings(QUICK, max_examples=600)
@given(st.lists(fragments, max_size=30))
@example([b"]", b"q\x00", b"h\x00", b"a"])
def test_random_programs(parts: list[bytes]) -> None:
    """Programs of whole opcodes get further than noise. Three ways in; about a third of them are accepted."""
    body = b"".join(parts)
    touch(torch_zip(b"N" + body, {"0": bytes(range(16)), "1": bytes(32)}))
    touch(b"\x80\x04N" + body + b".")
    touch(stream(b"N" + body, {"0": bytes(range(16))}))


def test_programs_are_neither_all_refused_nor_all_read() -> None:
    """A fuzz run whose files are all refused at once would say nothing."""
    rng = np.random.default_rng(0)
    parts = [b"N", b"]", b")", b"}", number(3), text("a"), b"a", b"0", b"\x85", F4, tensor(storage(), [2], [1])]
    accepted = sum(touch(torch_zip(b"]" + b"".join(parts[i] for i in rng.integers(0, len(parts), 6)))) for _ in range(100))
    assert 20 < accepted < 95


@QUICK
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    ),
    st.integers(0, 5),
)
def test_what_pickle_writes_is_read(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


def test_the_watch_sees(tmp_path: Path) -> None:
    """That nothing was seen above means something."""
    _watching[0] = True
    try:
        os.mkdir(tmp_path / "x")
    finally:
        _watching[0] = False
    assert _seen
    _seen.clear()
