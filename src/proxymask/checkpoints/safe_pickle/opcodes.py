"""What every pickle opcode (protocols 0 to 5) does to the :class:`~.stack_machine.StackMachine`. Source: ``pickletools.opcodes``.

Most opcodes build plain values. The dangerous ones name a global (GLOBAL, STACK_GLOBAL, INST) and call it (REDUCE, NEWOBJ, OBJ, BUILD):
here a global is two strings, and a call goes to the allowlist or makes an inert object.
"""

import codecs
import pickle  # for the names of its opcodes only: nothing is unpickled here
import struct
from collections.abc import Callable
from typing import Any

from ...core.errors import ProxymaskError
from .inert import InertObject
from .messages import DAMAGED, MALICIOUS
from .rebuild_python import new_object
from .stack_machine import StackMachine

Opcode = Callable[[StackMachine], None]
Value = Callable[[StackMachine], Any]

codecs.lookup("raw-unicode-escape")  # imported now: Python would import this one codec only when a file needs it


def _push(value: Value) -> Opcode:
    """An opcode that pushes what ``value`` reads."""
    return lambda machine: machine.stack.append(value(machine))


# Numbers


def _unpack(layout: str) -> Value:
    packed = struct.Struct(layout)
    return lambda machine: packed.unpack(machine.read(packed.size))[0]


_int32, _uint16, _float64 = _unpack("<i"), _unpack("<H"), _unpack(">d")


def _long(machine: StackMachine, size: int) -> int:
    if size < 0 or size > machine.budget.limits.max_int_bytes:
        raise machine.malicious(f"an integer takes {size:,} bytes")
    return int.from_bytes(machine.read(size), "little", signed=True)


def _int_line(machine: StackMachine) -> int | bool:
    line = machine.read_line()
    return line == b"01" if line in (b"00", b"01") else int(line.decode("ascii"))


def _long_line(machine: StackMachine) -> int:
    return int(machine.read_line(3 * machine.budget.limits.max_int_bytes).decode("ascii").removesuffix("L"))


def _memo_index(machine: StackMachine) -> int:
    index = int(machine.read_line(20))
    if index < 0:
        raise ValueError
    return index


# Text and bytes


def _python2_string(raw: bytes) -> str | bytes:
    """A string of Python 2 was text or bytes: what is not ASCII can only be bytes."""
    return raw.decode("ascii") if raw.isascii() else raw


def _string_line(machine: StackMachine) -> str | bytes:
    line = machine.read_line(machine.budget.limits.max_string_bytes)
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise machine.damaged("a string has no quotes")
    return _python2_string(codecs.escape_decode(line[1:-1])[0])


def _string(machine: StackMachine, size: int) -> str | bytes | memoryview:
    if size < 0:
        raise machine.damaged("a string has a negative length")
    found = machine.read_bytes(size)
    return found if isinstance(found, memoryview) else _python2_string(found)


def _unicode_line(machine: StackMachine) -> str:
    return str(machine.read_line(machine.budget.limits.max_string_bytes), "raw-unicode-escape")


# Containers


def _tuple_of(count: int) -> Opcode:
    """TUPLE1 to TUPLE3."""

    def run(machine: StackMachine) -> None:
        if len(machine.stack) < count:
            raise IndexError
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return run


def _tuple(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _list(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(items)


def _dict(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append({})
    machine.set_items(items)


def _frozenset(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(frozenset(machine.hashable(item) for item in items))


def _append(machine: StackMachine) -> None:
    value = machine.stack.pop()
    machine.append([value])


def _set_item(machine: StackMachine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    machine.set_items([key, value])


def _add_items(machine: StackMachine) -> None:
    items = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is InertObject:
        machine.append(items)
    elif type(target) is set:
        target.update(machine.hashable(item) for item in items)
    else:
        raise machine.damaged("an item is added to what is no set")


# The stack and the memo


def _pop(machine: StackMachine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _mark(machine: StackMachine) -> None:
    deepest = machine.budget.limits.max_depth
    if len(machine.metastack) >= 10 * deepest:
        raise ProxymaskError(f"its containers are nested more than {deepest} deep: {MALICIOUS}")
    machine.metastack.append(machine.stack)
    machine.stack = []


def _get(machine: StackMachine, index: int) -> None:
    if index not in machine.memo:
        raise machine.damaged(f"it refers to an object {index} that is not there")
    machine.stack.append(machine.memo[index])


# Globals and calls


def _global(machine: StackMachine) -> Any:
    module = machine.read_line().decode("utf-8")
    return machine.find_class(module, machine.read_line().decode("utf-8"))


def _stack_global(machine: StackMachine) -> None:
    name = machine.stack.pop()
    module = machine.stack.pop()
    machine.stack.append(machine.find_class(module, name))


def _inst(machine: StackMachine) -> None:
    cls = _global(machine)
    args = tuple(machine.pop_mark())
    machine.stack.append(new_object(machine, cls, args))


def _obj(machine: StackMachine) -> None:
    cls, *args = machine.pop_mark()
    machine.stack.append(new_object(machine, cls, tuple(args)))


def _newobj(machine: StackMachine) -> None:
    args = machine.stack.pop()
    cls = machine.stack.pop()
    machine.stack.append(new_object(machine, cls, args))


def _newobj_ex(machine: StackMachine) -> None:
    keywords = machine.stack.pop()
    args = machine.stack.pop()
    cls = machine.stack.pop()
    machine.stack.append(new_object(machine, cls, args, keywords))


def _reduce(machine: StackMachine) -> None:
    args = machine.stack.pop()
    called = machine.stack.pop()
    machine.stack.append(machine.reduce(called, args))


def _build(machine: StackMachine) -> None:
    state = machine.stack.pop()
    machine.build(state)


def _persistent_id(machine: StackMachine, persistent_id: Any) -> None:
    if machine.persistent_load is None:
        raise ProxymaskError(f"it refers to data outside of itself (a persistent id), which a plain pickle cannot do: {DAMAGED}")
    machine.stack.append(machine.persistent_load(persistent_id))


# The stream


def _proto(machine: StackMachine) -> None:
    version = machine.read_uint(1)
    if version > 5:
        raise ProxymaskError(f"it is a pickle of protocol {version}, newer than is known (5), or {DAMAGED}")


def _frame(machine: StackMachine) -> None:
    if machine.read_uint(8) > len(machine.data) - machine.position:
        raise machine.truncated()


def _extension(machine: StackMachine) -> None:
    raise ProxymaskError(f"it uses pickle's extension registry, which no checkpoint does: {MALICIOUS}")


def _out_of_band(machine: StackMachine) -> None:
    raise ProxymaskError("its data lie outside of the file (out-of-band buffers): save it again without a buffer callback")


_STREAM: dict[bytes, Opcode] = {
    pickle.PROTO: _proto,
    pickle.FRAME: _frame,
    pickle.EXT1: _extension,
    pickle.EXT2: _extension,
    pickle.EXT4: _extension,
    pickle.NEXT_BUFFER: _out_of_band,
    pickle.READONLY_BUFFER: _out_of_band,
}
_CONSTANTS_AND_NUMBERS: dict[bytes, Opcode] = {
    pickle.NONE: _push(lambda m: None),
    pickle.NEWTRUE: _push(lambda m: True),
    pickle.NEWFALSE: _push(lambda m: False),
    pickle.BININT: _push(_int32),
    pickle.BININT1: _push(lambda m: m.read_uint(1)),
    pickle.BININT2: _push(_uint16),
    pickle.BINFLOAT: _push(_float64),
    pickle.INT: _push(_int_line),
    pickle.LONG: _push(_long_line),
    pickle.FLOAT: _push(lambda m: float(m.read_line())),
    pickle.LONG1: _push(lambda m: _long(m, m.read_uint(1))),
    pickle.LONG4: _push(lambda m: _long(m, _int32(m))),
}
_TEXT_AND_BYTES: dict[bytes, Opcode] = {
    pickle.STRING: _push(_string_line),
    pickle.BINSTRING: _push(lambda m: _string(m, _int32(m))),
    pickle.SHORT_BINSTRING: _push(lambda m: _string(m, m.read_uint(1))),
    pickle.UNICODE: _push(_unicode_line),
    pickle.BINUNICODE: _push(lambda m: m.read_text(m.read_uint(4))),
    pickle.SHORT_BINUNICODE: _push(lambda m: m.read_text(m.read_uint(1))),
    pickle.BINUNICODE8: _push(lambda m: m.read_text(m.read_uint(8))),
    pickle.BINBYTES: _push(lambda m: m.read_bytes(m.read_uint(4))),
    pickle.SHORT_BINBYTES: _push(lambda m: m.read_bytes(m.read_uint(1))),
    pickle.BINBYTES8: _push(lambda m: m.read_bytes(m.read_uint(8))),
    pickle.BYTEARRAY8: _push(lambda m: m.read_bytes(m.read_uint(8))),  # as bytes: it need not be writable
}
_CONTAINERS: dict[bytes, Opcode] = {
    pickle.EMPTY_LIST: _push(lambda m: []),
    pickle.EMPTY_DICT: _push(lambda m: {}),
    pickle.EMPTY_TUPLE: _push(lambda m: ()),
    pickle.EMPTY_SET: _push(lambda m: set()),
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    pickle.TUPLE: _tuple,
    pickle.LIST: _list,
    pickle.DICT: _dict,
    pickle.FROZENSET: _frozenset,
    pickle.APPEND: _append,
    pickle.APPENDS: lambda m: m.append(m.pop_mark()),
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
    pickle.ADDITEMS: _add_items,
}
_STACK_AND_MEMO: dict[bytes, Opcode] = {
    pickle.MARK: _mark,
    pickle.POP: _pop,
    pickle.POP_MARK: lambda m: m.pop_mark().clear(),
    pickle.DUP: _push(lambda m: m.stack[-1]),
    pickle.PUT: lambda m: m.put(_memo_index(m)),
    pickle.BINPUT: lambda m: m.put(m.read_uint(1)),
    pickle.LONG_BINPUT: lambda m: m.put(m.read_uint(4)),
    pickle.MEMOIZE: lambda m: m.put(len(m.memo)),
    pickle.GET: lambda m: _get(m, _memo_index(m)),
    pickle.BINGET: lambda m: _get(m, m.read_uint(1)),
    pickle.LONG_BINGET: lambda m: _get(m, m.read_uint(4)),
}
_GLOBALS_AND_CALLS: dict[bytes, Opcode] = {
    pickle.GLOBAL: _push(_global),
    pickle.STACK_GLOBAL: _stack_global,
    pickle.INST: _inst,
    pickle.OBJ: _obj,
    pickle.NEWOBJ: _newobj,
    pickle.NEWOBJ_EX: _newobj_ex,
    pickle.REDUCE: _reduce,
    pickle.BUILD: _build,
    pickle.PERSID: lambda m: _persistent_id(m, m.read_line().decode("ascii")),
    pickle.BINPERSID: lambda m: _persistent_id(m, m.stack.pop()),
}

STOP = pickle.STOP[0]
_ALL = _STREAM | _CONSTANTS_AND_NUMBERS | _TEXT_AND_BYTES | _CONTAINERS | _STACK_AND_MEMO | _GLOBALS_AND_CALLS
# By the opcode's byte; None where there is no such opcode. STOP is the loop's own.
DISPATCH: list[Opcode | None] = [_ALL.get(bytes([code])) for code in range(256)]
