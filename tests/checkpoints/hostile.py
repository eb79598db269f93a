"""Files that try to run something, to hang or to eat memory; made here, byte by byte, so that none has to be kept.

``CASES`` maps a name to how the file is made and what has to happen: it is refused with a certain message, or it is read and what it
wanted called is listed as unknown. Run as a script (``hostile.py FOLDER MIB``), it reads every file of the folder under an audit hook
that ends the process when anything is imported, compiled, run or written, and with no more than MIB of memory beyond its own.
"""

import json
import os
import pickle
import resource
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pickle_assembler import (
    ARRAY,
    COMMAND,
    ENCODE,
    F4,
    FLOATS,
    LOAD,
    REBUILD,
    RECONSTRUCT,
    RUN,
    SYSTEM,
    archive,
    call,
    get,
    mapping,
    named,
    number,
    put,
    raw,
    reduced,
    storage,
    stream,
    tensor,
    text,
    torch_zip,
    tup,
    whole,
)


@dataclass(frozen=True)
class Case:
    """``refused``: the message it is refused with; "" where it has to be read. ``unknown``: what is then listed as not understood."""

    make: Callable[[], bytes]
    refused: str = ""
    unknown: str = ""


def laughs(opening: bytes, closing: bytes, levels: int = 64) -> bytes:
    """A container that holds the one before twice, and so on: 2^levels leaves for who walks them."""
    body = b"]" + put(0) + b"0"
    for level in range(levels):
        body += opening + get(level) + get(level) + closing + put(level + 1) + b"0"
    return body + get(levels)


def module(inner: bytes = b"", parameters: bytes = b"}", memo: int | None = None) -> bytes:
    """A torch module whose state comes after it, so that it can hold itself."""
    state = mapping(_parameters=parameters, _buffers=b"}", _modules=b"}(" + inner + b"u")
    return named("torch.nn.modules.container", "Sequential") + b")\x81" + (put(memo) if memo is not None else b"") + state + b"b"


def module_laughs(levels: int = 40) -> bytes:
    body = module(memo=0) + b"0"
    for level in range(levels):
        body += module(text("a") + get(level) + text("b") + get(level), memo=level + 1) + b"0"
    return whole(get(levels))[:2] + body + get(levels) + b"."


def patched(found: bytes, old: bytes, new: bytes, last: bool = False) -> bytes:
    at = found.rfind(old) if last else found.find(old)
    assert at >= 0
    return found[:at] + new + found[at + len(old) :]


def overlapping_zip() -> bytes:
    """Two entries of the directory at the same place: 100 kB of them would unpack to gigabytes."""
    found = archive({"a/data.pkl": whole(b"N"), "a/data/0": bytes(4096), "a/data/1": bytes(4096)})
    first, second = found.find(b"PK\3\4", 10), found.rfind(b"PK\3\4")
    return patched(found, struct.pack("<L", second) + b"a/data/1", struct.pack("<L", first) + b"a/data/1", last=True)


def lying_zip() -> bytes:
    """A deflated entry that is larger than it says."""
    found = torch_zip(storage(), {"0": bytes(100_000)}, packed=True)
    size = struct.pack("<L", 100_000)
    return found.replace(size, struct.pack("<L", 16))


def twice_zip() -> bytes:
    found = archive({"a/data.pkl": whole(b"N"), "a/data.pkX": whole(RUN)})
    return found.replace(b"a/data.pkX", b"a/data.pkl")


def encrypted_zip() -> bytes:
    found = bytearray(torch_zip(b"N"))
    found[found.rfind(b"PK\1\2") + 8] |= 1
    return bytes(found)


def persistent(**meta: bytes) -> bytes:
    parts = {"type": text("class"), "version": number(6), "class_name": text("Generator"), "state": b"}"}
    source = text(f"import os\nos.system({COMMAND!r})\n")
    return call(named("torch_utils.persistence", "_reconstruct_persistent_obj"), mapping(**{"module_src": source, **parts, **meta}))


def collisions(count: int = 12_000) -> bytes:
    return b"}(" + b"".join(number((2**61 - 1) * (i + 1)) + b"N" for i in range(count)) + b"u"


def nested_streams(levels: int) -> bytes:
    found = whole(RUN)
    for _ in range(levels):
        found = whole(call(LOAD, raw(found)))
    return found


DAMAGED, MALICIOUS = "damaged", "malicious"
_EVAL = f"__import__('os').system({COMMAND!r})"
_GETATTR = call(named("builtins", "getattr"), call(named("builtins", "__import__"), text("os")), text("system"))

CASES: dict[str, Case] = {
    # What runs something where it is opened with pickle or torch.load
    **{f"system-{p}": Case(lambda p=p: reduced(os.system, COMMAND, protocol=p), unknown="system") for p in range(6)},
    "eval": Case(lambda: reduced(eval, _EVAL), unknown="builtins.eval"),
    "exec": Case(lambda: reduced(exec, f"import os; os.system({COMMAND!r})"), unknown="builtins.exec"),
    "in-torch-zip": Case(lambda: torch_zip(mapping(g_ema=RUN)), unknown="os.system"),
    "in-torch-stream": Case(lambda: stream(mapping(g_ema=RUN), {}), unknown="os.system"),
    "nested-globals": Case(lambda: whole(call(_GETATTR, text(COMMAND))), unknown="builtins.getattr"),
    "call-of-a-call": Case(lambda: whole(call(RUN, text(COMMAND))), unknown="os.system()"),
    "inst": Case(lambda: b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.", unknown="os.system"),
    "obj": Case(lambda: b"(" + SYSTEM + text(COMMAND) + b"o.", unknown="os.system"),
    "newobj": Case(lambda: whole(SYSTEM + tup(text(COMMAND)) + b"\x81"), unknown="os.system"),
    "newobj-ex": Case(lambda: whole(named("subprocess", "Popen") + tup(text(COMMAND)) + mapping(shell=b"\x88") + b"\x92"), unknown="Popen"),
    "setstate": Case(
        lambda: whole(named("builtins", "object") + b")\x81" + mapping(__setstate__=SYSTEM) + b"b" + text(COMMAND) + b"b"),
        unknown="os.system",
    ),
    "slots-state": Case(lambda: whole(named("x", "Y") + b")\x81" + tup(b"N", mapping(__class__=SYSTEM)) + b"b"), unknown="x.Y"),
    "class-of-a-dict": Case(lambda: whole(b"}" + mapping(__class__=SYSTEM, update=SYSTEM) + b"b"), unknown="os.system"),
    "copyreg": Case(lambda: whole(call(named("copyreg", "__newobj__"), SYSTEM, text(COMMAND))), unknown="os.system"),
    "copyreg-ex": Case(lambda: whole(call(named("copyreg", "__newobj_ex__"), SYSTEM, tup(text(COMMAND)), b"}")), unknown="os.system"),
    "reconstructor": Case(
        lambda: whole(call(named("copyreg", "_reconstructor"), SYSTEM, named("builtins", "object"), text(COMMAND))), unknown="os.system"
    ),
    "map-into-set": Case(
        lambda: whole(call(named("builtins", "set"), call(named("builtins", "map"), SYSTEM, b"](" + text(COMMAND) + b"e"))),
        unknown="builtins.map",
    ),
    "map-into-bytes": Case(
        lambda: whole(named("builtins", "bytes") + tup(call(named("builtins", "map"), SYSTEM, tup(text(COMMAND)))) + b"\x81"),
        unknown="builtins.bytes",
    ),
    "default-factory": Case(lambda: whole(call(named("collections", "defaultdict"), SYSTEM)), unknown="os.system"),
    "tensor-subclass": Case(
        lambda: whole(
            call(named("torch._tensor", "_rebuild_from_type_v2"), SYSTEM, named("torch", "Tensor"), tup(text(COMMAND)), mapping(a=RUN))
        ),
        unknown="_rebuild_from_type_v2",
    ),
    "tensor-class": Case(
        lambda: stream(
            call(named("torch._tensor", "_rebuild_from_type_v2"), REBUILD, SYSTEM, tup(storage(), number(0), tup(), tup()), b"}"),
            {"0": bytes(16)},
        ),
        unknown="os.system",
    ),
    "torch-load": Case(lambda: whole(call(named("torch", "load"), text("other.pt"))), unknown="torch.load"),
    "array-of-objects": Case(
        lambda: whole(
            ARRAY + tup(number(1), tup(number(1)), call(named("numpy", "dtype"), text("O8")), b"\x89", b"](" + RUN + b"e") + b"b"
        ),
        unknown="numpy.dtype",
    ),
    "scalar-of-objects": Case(
        lambda: whole(
            call(named("numpy.core.multiarray", "scalar"), call(named("numpy", "dtype"), text("O")), raw(reduced(os.system, COMMAND)))
        ),
        unknown="numpy.core.multiarray.scalar",
    ),
    "array-subclass": Case(lambda: whole(call(RECONSTRUCT, SYSTEM, tup(number(0)), raw(b"b"))), unknown="os.system"),
    "codec": Case(lambda: whole(call(ENCODE, text("touch"), text("uu"))), unknown="_codecs.encode"),
    "parameter-of-nothing": Case(lambda: whole(call(named("torch._utils", "_rebuild_parameter"), RUN)), unknown="os.system"),
    "persistence-source": Case(lambda: whole(persistent())),
    "persistence-state": Case(lambda: whole(persistent(state=RUN)), "persistence record"),
    "persistence-kind": Case(lambda: whole(persistent(type=text("function"))), "persistence record"),
    "persistence-arguments": Case(lambda: whole(persistent(state=mapping(_init_kwargs=RUN))), "arguments"),
    "tensorflow-source": Case(
        lambda: whole(
            named("dnnlib.tflib.network", "Network")
            + b")\x81"
            + mapping(build_module_src=text(f"import os\nos.system({COMMAND!r})"))
            + b"b"
        )
    ),
    "inner-storage": Case(lambda: nested_streams(1), unknown="os.system"),
    "inner-storages": Case(lambda: nested_streams(4), unknown="os.system"),
    "inner-storages-deep": Case(lambda: nested_streams(5), "nests pickles"),
    "inner-zip": Case(lambda: whole(call(LOAD, raw(torch_zip(RUN)))), unknown="os.system"),
    "inner-no-bytes": Case(lambda: whole(call(LOAD, text("other.pt"))), DAMAGED),
    "stack-global": Case(lambda: whole(text("os") + text("system") + b"\x93" + tup(text(COMMAND)) + b"R"), unknown="os.system"),
    "stack-global-dots": Case(
        lambda: whole(text("torch._utils") + text("os.system") + b"\x93" + tup(text(COMMAND)) + b"R"), unknown="os.sys"
    ),
    "stack-global-no-text": Case(lambda: whole(text("os") + number(1) + b"\x93"), DAMAGED),
    "stack-global-memo": Case(
        lambda: whole(text("os") + b"\x94" + text("torch") + b"0" + text("system") + b"\x93" + tup(text(COMMAND)) + b"R"),
        unknown="os.system",
    ),
    "global-long": Case(lambda: whole(b"c" + b"a" * 100_000 + b"\nb\n"), "line in it"),
    "global-escapes": Case(lambda: whole(named("\x1b[31mred", "\u202egol")), unknown="?[31mred.?gol"),
    "extension-1": Case(lambda: whole(b"\x82\x01"), "extension registry"),
    "extension-2": Case(lambda: whole(b"\x83\x01\x00"), "extension registry"),
    "extension-4": Case(lambda: whole(b"\x84\x01\x00\x00\x00"), "extension registry"),
    "out-of-band": Case(lambda: b"\x80\x05\x97.", "out-of-band"),
    # PersistentModule ids
    "id-in-a-pickle": Case(lambda: whole(tup(text("storage")) + b"Q"), "persistent id"),
    "id-as-text": Case(lambda: stream(b"Pos.system\n", {}), "persistent id"),
    "id-of-nothing": Case(lambda: torch_zip(b"NQ"), "persistent id"),
    "id-of-a-call": Case(lambda: torch_zip(RUN + b"Q"), "persistent id"),
    "id-path": Case(lambda: torch_zip(tensor(storage("../../etc/passwd"), [1], [1])), "no plain word"),
    "id-not-there": Case(lambda: torch_zip(tensor(storage("7"), [1], [1])), "not in the zip"),
    "id-function": Case(lambda: torch_zip(tensor(storage(kind=SYSTEM), [4], [1])), unknown="os.system"),
    "id-two-kinds": Case(lambda: torch_zip(storage() + storage(kind=named("torch", "IntStorage"))), "two kinds"),
    "id-view": Case(
        lambda: torch_zip(tup(text("storage"), FLOATS, text("0"), text("cpu"), number(4), tup(text("1"), number(0), number(2))) + b"Q"),
        "part of another",
    ),
    "id-module": Case(lambda: torch_zip(tup(text("module"), SYSTEM, text("a.py"), text("import os")) + b"Q"), unknown="os.system"),
    # Sizes that are not there
    "storage-huge": Case(lambda: stream(storage(count=2**50), {"0": bytes(16)}), "more bytes than the file"),
    "storage-huge-zip": Case(lambda: torch_zip(storage(count=2**50)), "instead of"),
    "storage-negative": Case(lambda: torch_zip(storage(count=-4)), "no length"),
    "storage-smaller": Case(lambda: stream(storage(count=4), {"0": bytes(16)}, {"0": 3}), "length"),
    "storage-missing": Case(lambda: stream(storage("0") + storage("1"), {"0": bytes(16)}), "list of its storages"),
    "storage-twice": Case(
        lambda: patched(
            stream(storage("0") + storage("1"), {"0": bytes(16), "1": bytes(16)}), pickle.dumps(["0", "1"], 2), pickle.dumps(["0", "0"], 2)
        ),
        DAMAGED,
    ),
    "storage-booleans": Case(
        lambda: torch_zip(tensor(storage(kind=named("torch", "BoolStorage"), count=16), [16], [1]), {"0": b"\x07" * 16}), "boolean"
    ),
    "tensor-huge": Case(lambda: torch_zip(tensor(storage(), [2**40], [1])), "no shape"),
    "tensor-product": Case(lambda: torch_zip(tensor(storage(), [2**20, 2**20], [2**20, 1])), "elements"),
    "tensor-beyond": Case(lambda: torch_zip(tensor(storage(), [5], [1])), "beyond its storage"),
    "tensor-offset": Case(lambda: torch_zip(tensor(storage(), [2], [1], offset=3)), "beyond its storage"),
    "tensor-before": Case(lambda: torch_zip(tensor(storage(), [2], [1], offset=-1)), "before its storage"),
    "tensor-strides": Case(lambda: torch_zip(tensor(storage(), [2, 2], [2**61, 1])), "beyond its storage"),
    "tensor-overlaps": Case(lambda: torch_zip(tensor(storage(), [3, 2], [1, 1])), "overlap"),
    "tensor-expanded": Case(lambda: torch_zip(tensor(storage(), [2**24], [0])), "overlap"),
    "tensor-backwards": Case(lambda: torch_zip(tensor(storage(), [2], [-1], offset=1)), "strides"),
    "tensor-empty-huge": Case(lambda: torch_zip(tensor(storage(), [0, 2**62], [1, 1])), "no shape"),
    "tensor-dimensions": Case(lambda: torch_zip(tensor(storage(), [1] * 1000, [1] * 1000)), "no shape"),
    "tensor-boolean-size": Case(
        lambda: torch_zip(call(REBUILD, storage(), number(0), tup(b"\x88"), tup(number(1)), b"\x89", b"}")), "no shape"
    ),
    "tensor-state": Case(lambda: torch_zip(tensor(storage(), [4], [1]) + b"}b"), "state"),
    "array-huge": Case(lambda: whole(ARRAY + tup(number(1), tup(number(2**40)), F4, b"\x89", raw(b"")) + b"b"), "no shape"),
    "array-short": Case(lambda: whole(ARRAY + tup(number(1), tup(number(2**24)), F4, b"\x89", raw(b"1234")) + b"b"), "stated size"),
    "array-never-filled": Case(lambda: whole(b"](" + ARRAY + b"e"), "never filled"),
    "array-in-itself": Case(lambda: whole(ARRAY + put(0) + tup(number(1), tup(number(1)), F4, b"\x89", get(0)) + b"b"), DAMAGED),
    "array-dtype-fields": Case(
        lambda: whole(F4 + tup(number(3), text("<"), b"N", tup(text("a")), b"}", number(4), number(4), number(0)) + b"b"), "fields"
    ),
    "array-dtype-huge": Case(lambda: whole(call(named("numpy", "dtype"), text("V2147483647"))), unknown="numpy.dtype"),
    "bytearray-huge": Case(lambda: whole(call(named("builtins", "bytearray"), number(2**40))), unknown="builtins.bytearray"),
    "bytes-huge": Case(lambda: whole(named("builtins", "bytes") + tup(number(2**40)) + b"\x81"), unknown="builtins.bytes"),
    "range-into-list": Case(
        lambda: whole(call(named("builtins", "list"), call(named("builtins", "range"), number(2**40)))), unknown="builtins.range"
    ),
    "repeat": Case(lambda: whole(call(named("_operator", "mul"), text("a"), number(2**40))), unknown="_operator.mul"),
    "integer-long": Case(lambda: whole(b"\x8b" + struct.pack("<i", 5_000_000) + b"\x7f" * 5_000_000), "integer"),
    "integer-claimed": Case(lambda: whole(b"\x8b\xff\xff\xff\x7f"), "integer"),
    "integer-negative-length": Case(lambda: whole(b"\x8b\xff\xff\xff\xff"), "integer"),
    "integer-digits": Case(lambda: b"L" + b"9" * 1_000_000 + b"L\n.", "no kind of file"),
    "text-claimed": Case(lambda: whole(b"\x8d" + struct.pack("<Q", 2**62) + b"abc"), "ends in the middle"),
    "text-long": Case(lambda: whole(text("a" * (17 * 2**20))), "a string takes"),
    "bytes-claimed": Case(lambda: whole(b"\x8e" + struct.pack("<Q", 2**62) + b"abc"), "ends in the middle"),
    "bytearray-claimed": Case(lambda: whole(b"\x96" + struct.pack("<Q", 2**63) + b"abc"), "ends in the middle"),
    "frame-claimed": Case(lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**63 - 1) + b"N.", "ends in the middle"),
    "string-negative": Case(lambda: whole(b"T\xff\xff\xff\xff"), "ends in the middle"),
    # Work and memory out of little
    "laughs-lists": Case(lambda: whole(laughs(b"](", b"e"))),
    "laughs-tuples": Case(lambda: whole(laughs(b"(", b"t"))),
    "laughs-in-key": Case(lambda: whole(b"}" + laughs(b"(", b"t") + b"Ns"), "key"),
    "laughs-hashed": Case(lambda: whole(b"}" + laughs(b"(", b"t").replace(b"]", b")", 1) + b"Ns"), "key"),
    "laughs-in-set": Case(lambda: whole(b"\x8f(" + laughs(b"(", b"t").replace(b"]", b")", 1) + b"\x90"), "key"),
    "laughs-modules": Case(module_laughs, "modules hold more"),
    "collisions": Case(lambda: whole(collisions()), "dict keys"),
    "copies": Case(lambda: whole(text("a" * 2**20) + b"\x940" + (ENCODE + b"(h\x00" + text("latin1") + b"tR0") * 5000), "copies"),
    "sets-of-a-list": Case(
        lambda: whole(b"](" + b"K\x01" * 20_000 + b"e\x940" + named("builtins", "set") + b"\x940" + b"h\x01(h\x00tR0" * 20_000), "steps"
    ),
    "streams-again": Case(lambda: whole(raw(whole(b"N" + b"0N" * 500)) + b"\x940" + LOAD + b"\x940" + b"h\x01(h\x00tR0" * 5000), "steps"),
    "views": Case(
        lambda: torch_zip(
            storage(count=2**20)
            + b"\x940"
            + REBUILD
            + b"\x940]("
            + (b"h\x01(h\x00K\x00(" + number(2**20) + b"t(K\x01t\x89}tR") * 5000
            + b"e",
            {"0": bytes(2**22)},
        ),
        "many times what is stored",
    ),
    "tensors": Case(
        lambda: torch_zip(
            storage() + b"\x940" + REBUILD + b"\x940" + b"(h\x00K\x00(K\x01t(K\x01t\x89}t\x940" + b"](" + b"h\x01h\x02R" * 101_000 + b"e"
        ),
        "objects",
    ),
    "sets": Case(lambda: whole(b"\x8f" * 1_100_000), "steps"),
    "marks": Case(lambda: whole(b"(" * 2_000_000), "deep"),
    "memo-far": Case(lambda: whole(b"N" + put(2**32 - 1) + b"0" + get(2**32 - 1))),
    "memo-far-line": Case(lambda: whole(b"Np999999999999\n0g999999999999\n")),
    "memo-missing": Case(lambda: whole(get(5)), "not there"),
    "deep-lists": Case(lambda: whole(b"]" * 100_000 + b"a" * 99_999), "deep"),
    "deep-marked": Case(lambda: whole(b"(" * 100_000 + b"l" * 100_000), "deep"),
    "deep-tuples": Case(lambda: whole(b")" + b"\x85" * 100_000), "deep"),
    "deep-dicts": Case(lambda: whole(b"N" + b"".join(b"q\x000}K\x01h\x00s" for _ in range(20_000))), "deep"),
    "deep-calls": Case(lambda: whole(SYSTEM + b"q\x010N" + b"".join(b"\x85q\x000h\x01h\x00R" for _ in range(20_000))), "deep"),
    "deep-states": Case(lambda: whole(named("x", "Y") + b"q\x010N" + b"q\x000h\x01)\x81h\x00b" * 20_000), "deep"),
    # What holds itself
    "cyclic-list": Case(lambda: whole(b"]\x94h\x00a")),
    "cyclic-dict": Case(lambda: whole(b"}\x94K\x01h\x00s")),
    "cyclic-tuple": Case(lambda: whole(b"]\x94h\x00\x85a")),
    "cyclic-state": Case(lambda: whole(named("x", "Y") + b")\x81\x94h\x00b"), unknown="x.Y"),
    "cyclic-build": Case(lambda: whole(b"}\x94h\x00b")),
    "cyclic-network": Case(lambda: whole(b"}\x94K\x01h\x00s0" + persistent(state=get(0)))),
    "cyclic-modules": Case(
        lambda: whole(
            named("torch.nn.modules.container", "Sequential")
            + b")\x81\x94"
            + mapping(_parameters=b"}", _modules=b"}" + text("a") + get(0) + b"s")
            + b"b"
        ),
        "hold themselves",
    ),
    # Stacks that do not add up
    "no-opcode": Case(lambda: whole(b"\xff"), "no pickle"),
    "nothing": Case(lambda: b"\x80\x04.", DAMAGED),
    "pop-nothing": Case(lambda: whole(b"00000N"), DAMAGED),
    "tuple-of-less": Case(lambda: whole(b"N\x87"), DAMAGED),
    "no-mark": Case(lambda: whole(b"Nt"), DAMAGED),
    "odd-items": Case(lambda: whole(b"}(Nu"), DAMAGED),
    "items-of-a-number": Case(lambda: whole(b"K\x01(NNu"), DAMAGED),
    "append-to-a-tuple": Case(lambda: whole(b")Na"), DAMAGED),
    "add-to-a-list": Case(lambda: whole(b"](N\x90"), DAMAGED),
    "state-of-a-number": Case(lambda: whole(b"K\x01Nb"), "state"),
    "call-a-number": Case(lambda: whole(b"K\x01)R"), MALICIOUS),
    "call-with-a-list": Case(lambda: whole(SYSTEM + b"]R"), DAMAGED),
    "keywords-no-dict": Case(lambda: whole(SYSTEM + b")]\x92"), DAMAGED),
    "protocol-99": Case(lambda: b"\x80\x63N.", "no kind of file|protocol 99"),
    "unquoted": Case(lambda: b"(S\nabc\nl.", "no kind of file|no quotes"),
    # Zips
    "zip-bomb": Case(lambda: torch_zip(storage(count=2**24), {"0": bytes(2**26)}, packed=True), "bomb"),
    "zip-overlaps": Case(overlapping_zip, "overlap"),
    "zip-lies": Case(lying_zip, DAMAGED),
    "zip-twice": Case(twice_zip, "two entries"),
    "zip-two-pickles": Case(lambda: archive({"a/data.pkl": whole(b"N"), "b/data.pkl": whole(RUN)}), "not from torch.save"),
    "zip-outside": Case(lambda: archive({"a/data.pkl": whole(b"N"), "../../evil": b"x"}), "outside"),
    "zip-absolute": Case(lambda: archive({"a/data.pkl": whole(b"N"), "/etc/evil": b"x"}), "outside"),
    "zip-drive": Case(lambda: archive({"a/data.pkl": whole(b"N"), "C:evil": b"x"}), "outside"),
    "zip-encrypted": Case(encrypted_zip, "encrypted"),
    "zip-entries": Case(lambda: archive({f"{i}": b"" for i in range(50_001)}), "entries"),
    "zip-count": Case(lambda: patched(torch_zip(b"N"), b"\x04\x00\x04\x00", b"\xfe\xff\xfe\xff", last=True), DAMAGED),
    "zip-directory": Case(lambda: torch_zip(b"N")[:-6] + b"\xff\xff\xff\x7f\x00\x00", DAMAGED),
    "zip-checksum": Case(
        lambda: patched(torch_zip(tensor(storage(), [4], [1]), {"0": b"weights of a GAN"}), b"weights of a GAN", b"weights of a gan"),
        "checksum",
    ),
    "zip-script": Case(lambda: archive({"a/data.pkl": whole(b"N"), "a/constants.pkl": b"", "a/code/x.py": b"import os"}), "TorchScript"),
    "zip-inner-bomb": Case(lambda: whole(call(LOAD, raw(torch_zip(storage(count=2**24), {"0": bytes(2**26)}, packed=True)))), "bomb"),
}


# The process that opens them

_FORBIDDEN = (
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.",
    "socket.",
    "ctypes.",
)
_FORBIDDEN += (
    "pickle.",
    "marshal.",
    "code.",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.putenv",
    "shutil.",
    "webbrowser.",
    "pty.",
)


def is_forbidden(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an audit event must not happen while a file is being read: anything that runs, imports or writes."""
    if event == "open":
        return isinstance(args[1], str) and args[1] not in ("r", "rb")
    return event.startswith(_FORBIDDEN)


def main(folder: Path, mebibytes: int) -> None:
    from proxymask.checkpoints.identify import identify
    from proxymask.checkpoints.safe_pickle.inert import InertObject, PersistentModule
    from proxymask.checkpoints.safe_pickle.state_dict import module_entries
    from proxymask.checkpoints.safe_pickle.streams import map_file, read_stream
    from proxymask.checkpoints.torch_file import read_torch
    from proxymask.core.errors import ProxymaskError

    files = sorted(folder.iterdir())

    def read(file: Path) -> dict[str, Any]:
        start, found = time.perf_counter(), {}
        try:
            identify(file, sha256=True)
            checkpoint = read_torch(file)
            if isinstance(checkpoint.object, InertObject | PersistentModule) and checkpoint.object.get("_modules") is not None:
                module_entries(checkpoint.object)
            found["unknown"] = list(checkpoint.report.unknown)
        except ProxymaskError as error:
            found["refused"] = str(error)
        found["seconds"] = time.perf_counter() - start
        if identify(file).problem:  # then the reader has not seen it yet
            try:
                read_stream(map_file(file))
            except ProxymaskError as error:
                found["inner"] = str(error)
        return found

    for file in folder.parent.glob("warm-*"):  # what torch and numpy import when they are first used
        read(file)
    results: dict[str, Any] = {}
    current = [""]

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if current[0] and is_forbidden(event, args):
            os.write(2, f"{current[0]}: {event} {args[:2]!r}\n".encode())
            os._exit(97)

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.addaudithook(watch)
    for file in files:
        current[0] = file.name
        results[file.name] = read(file)
        current[0] = ""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"results": results, "grown": grown / 1024}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
