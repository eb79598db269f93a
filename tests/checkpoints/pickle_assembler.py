"""A small assembler for pickles and for the containers of ``torch.save``: files made byte by byte."""

import io
import pickle
import struct
import zipfile
from typing import Any

COMMAND = "echo > executed"  # what every file that wants to run something runs: leaves a file in the working directory


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"\x8b" + struct.pack("<i", len(raw)) + raw


def raw(value: bytes) -> bytes:
    return b"\x8e" + struct.pack("<Q", len(value)) + value


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tup(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *args: bytes) -> bytes:
    return function + tup(*args) + b"R"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def whole(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


SYSTEM = named("os", "system")
RUN = call(SYSTEM, text(COMMAND))
FLOATS = named("torch", "FloatStorage")
LOAD = named("torch.storage", "_load_from_bytes")
REBUILD = named("torch._utils", "_rebuild_tensor_v2")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
ARRAY = call(RECONSTRUCT, named("numpy", "ndarray"), tup(number(0)), raw(b"b"))
ENCODE = named("_codecs", "encode")
F4 = call(named("numpy", "dtype"), text("f4"), b"\x89", b"\x88")


def stream(body: bytes, storages: dict[str, bytes], lengths: dict[str, int] | None = None) -> bytes:
    """The old stream of torch.save with a hand-made pickle; ``lengths`` in elements of 4 bytes where they are to be lies."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    head += pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2)
    found = head + whole(body) + pickle.dumps(list(storages), 2)
    for key, value in storages.items():
        found += struct.pack("<q", (lengths or {}).get(key, len(value) // 4)) + value
    return found


def storage(key: str = "0", count: int = 4, kind: bytes = FLOATS) -> bytes:
    return tup(text("storage"), kind, text(key), text("cpu"), number(count)) + b"Q"


def tensor(store: bytes, size: list[int], stride: list[int], offset: int = 0) -> bytes:
    hooks = call(named("collections", "OrderedDict"))
    return call(REBUILD, store, number(offset), tup(*map(number, size)), tup(*map(number, stride)), b"\x89", hooks)


def archive(files: dict[str, bytes], packed: bool = False) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as opened:
        for name, value in files.items():
            opened.writestr(name, value)
    return found.getvalue()


def torch_zip(body: bytes, storages: dict[str, bytes] | None = None, packed: bool = False) -> bytes:
    files = {"a/data.pkl": whole(body), "a/byteorder": b"little", "a/version": b"3\n"}
    return archive({**files, **{f"a/data/{key}": value for key, value in (storages or {"0": bytes(16)}).items()}}, packed)


def reduced(function: Any, *args: Any, protocol: int = 4) -> bytes:
    class Hostile:
        def __reduce__(self) -> Any:
            return function, args

    return pickle.dumps({"g_ema": Hostile(), "z": 1}, protocol)
