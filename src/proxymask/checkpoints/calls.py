"""All that a pickle may call, and what each name stands for here; every other name becomes an inert record.

Each function checks what it is given: what can only come of damage or malice is refused, what is merely not understood (a tensor of
an unknown storage class, an array of objects) becomes a record, so that it cannot be taken for numbers.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch

from ..errors import ProxymaskError
from .limits import printable
from .records import Buffer, Global, Pending, Persistent, Storage

if TYPE_CHECKING:
    from .unpickle import Reader


def _is_text(value: Any) -> TypeGuard[str]:
    return type(value) is str


def _container(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``dict(pairs)``, ``OrderedDict(pairs)``, ``set(items)`` and so on of what is already there."""
    make = CONTAINERS[called.module, called.name]
    if called.name == "defaultdict":  # the factory is a name that nobody will call
        args = args[1:]
    if len(args) > 1:
        return reader.inert(called, args)
    if not args:
        return make()
    items = args[0]
    if type(items) not in (list, tuple, set, dict, OrderedDict, frozenset):
        return reader.inert(called, args)
    reader.budget.take_steps(len(items))
    if issubclass(make, dict):
        if isinstance(items, dict):
            return make(items)
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in items):
            return reader.inert(called, args)
        return make((reader.key(key), value) for key, value in items)
    if issubclass(make, set | frozenset):
        return make(reader.key(item) for item in items)
    return list(items) if make is list else tuple(items)


def _bytes(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``bytes(b)``, ``bytearray(b)`` and, for bytes in old protocols, ``_codecs.encode(text, "latin1")``."""
    if not args and called.name != "encode":
        return b""
    if args and isinstance(args[0], Buffer) and len(args) == 1 and called.name != "encode":
        return args[0]
    if len(args) == 2 and _is_text(args[0]) and args[1] in ("latin1", "latin-1"):
        reader.budget.take_bytes(len(args[0]))
        return args[0].encode("latin-1")
    return reader.inert(called, args)


def _complex(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    if len(args) == 2 and all(type(part) in (int, float) for part in args):
        return complex(float(args[0]), float(args[1]))
    return reader.inert(called, args)


def _new_object(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``copyreg._reconstructor(cls, object, None)``, ``copyreg.__newobj__(cls, *args)``, ``copyreg.__newobj_ex__(cls, args, kwargs)``."""
    if called.name == "_reconstructor":
        if len(args) != 3 or not isinstance(args[0], Global):
            return reader.inert(called, args)
        if args[2] is not None:  # a subclass of a plain type, with its value
            return reader.make(args[0], (args[2],))
        return reader.make(args[0], ())
    if called.name == "__newobj_ex__":
        return reader.make(*args) if len(args) == 3 else reader.inert(called, args)
    return reader.make(args[0], args[1:]) if args else reader.inert(called, args)


def _persistent(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    meta = args[0] if len(args) == 1 else None
    if not isinstance(meta, dict):
        raise ProxymaskError("a network has no persistence record: the file is damaged")
    state, name = meta.get("state"), meta.get("class_name")
    if not isinstance(state, dict) or not _is_text(name) or meta.get("type") != "class":
        raise ProxymaskError("a network's persistence record lacks its state or class name: the file is damaged, or newer than is known")
    init_args, init_kwargs = state.get("_init_args", ()), state.get("_init_kwargs", {})
    if type(init_args) is not tuple or not isinstance(init_kwargs, dict) or not all(_is_text(key) for key in init_kwargs):
        raise ProxymaskError(f"the network {printable(name)} has no arguments it was made with: the file is damaged")
    reader.budget.take_object()
    source = meta.get("module_src")
    notice = _notice(source) if isinstance(source, str) else ""
    if notice and notice not in reader.report.notices and len(reader.report.notices) < 16:
        reader.report.notices.append(notice)
    version = meta.get("version")
    return Persistent(
        class_name=name,
        init_args=init_args,
        init_kwargs=init_kwargs,
        state=state,
        version=version if type(version) is int else 0,
        notice=notice,
        source_length=len(source) if isinstance(source, str) else 0,
    )


def _notice(source: str) -> str:
    """The comment or docstring that source code begins with, where it speaks of rights: at most 2,000 characters, fit to print."""
    kept: list[str] = []
    for line in source[:8192].splitlines()[:60]:
        if not line.startswith("#"):
            break
        kept.append(printable(line.lstrip("#").strip(), 200))
    text = "\n".join(kept).strip()[:2000]
    return text if re.search(r"copyright|licen[cs]e|\(c\)", text, re.IGNORECASE) else ""


def without_source(reader: "Reader", state: Any) -> Any:
    """The state of a TensorFlow network without its source code; ``notice`` and ``source_length`` take its place."""
    if not isinstance(state, dict):
        raise ProxymaskError("a TensorFlow network's state is no dict: the file is damaged")
    reader.budget.take_steps(len(state))
    source = state.get("build_module_src")
    notice = _notice(source) if isinstance(source, str) else ""
    if notice and notice not in reader.report.notices and len(reader.report.notices) < 16:
        reader.report.notices.append(notice)
    kept = {key: value for key, value in state.items() if key != "build_module_src"}
    return {**kept, "notice": notice, "source_length": len(source) if isinstance(source, str) else 0}


def _dtype(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    if args and _is_text(args[0]) and re.fullmatch(r"[<>|=]?[biufc][0-9]{1,2}", args[0]):
        try:
            return Pending(np.dtype(args[0]))
        except TypeError:  # a size that this machine does not have
            pass
    return reader.inert(called, args)


def build_dtype(reader: "Reader", pending: Pending, state: Any) -> Any:
    """numpy's ``(version, byte order, subdtype, names, fields, size, alignment, flags)``: of a plain type only the order matters."""
    found = pending.dtype
    assert found is not None
    if type(state) is not tuple or len(state) < 8 or state[1] not in ("<", ">", "|", "="):
        raise ProxymaskError(f"near byte {reader.at:,} the state of a numpy dtype is no such thing: the file is damaged")
    if any(part is not None for part in state[2:5]):
        raise ProxymaskError(f"near byte {reader.at:,} a plain numpy dtype has fields: the file is damaged")
    return found if state[1] == "|" else found.newbyteorder(state[1])


def _array_pending(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")``: an empty array whose state follows."""
    if len(args) == 3 and args[0] == Global("numpy", "ndarray"):
        return Pending()
    return reader.inert(called, args)


def build_array(reader: "Reader", state: Any) -> Any:
    """numpy's ``(version, shape, dtype, is Fortran, raw bytes)``."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ProxymaskError(f"near byte {reader.at:,} the state of a numpy array is no such thing: the file is damaged")
    shape, dtype, fortran, raw = state[-4:]
    return _array(reader, Global("numpy", "ndarray"), shape, dtype, "F" if fortran else "C", raw)


def _from_buffer(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.numeric._frombuffer(raw, dtype, shape, order)`` of protocol 5."""
    if len(args) != 4:
        return reader.inert(called, args)
    raw, dtype, shape, order = args
    return _array(reader, called, shape, dtype, order, raw)


def _array(reader: "Reader", called: Global, shape: Any, dtype: Any, order: Any, raw: Any) -> Any:
    dtype = dtype.dtype if type(dtype) is Pending else dtype
    if not isinstance(dtype, np.dtype):  # of objects or fields: whoever needs its numbers will find a record instead
        return reader.inert(called, (shape, dtype, order, raw))
    if type(raw) is str:  # from Python 2
        reader.budget.take_bytes(len(raw))
        raw = raw.encode("latin-1")
    count = _count(reader, shape)
    if not isinstance(raw, Buffer) or count * dtype.itemsize != len(raw) or order not in ("C", "F"):
        raise ProxymaskError(f"a numpy array near byte {reader.at:,} does not have the size it says: the file is damaged")
    reader.budget.take_object()
    reader.budget.take_bytes(len(raw))
    reader.budget.take_view(len(raw))
    if not len(raw):
        return np.zeros(shape, dtype)
    if dtype.kind == "b" and np.frombuffer(raw, np.uint8).max() > 1:
        raise ProxymaskError("a boolean array holds bytes other than 0 and 1: the file is damaged")
    found = np.frombuffer(raw, dtype)
    if not found.flags.aligned:
        found = found.copy()
    return found.reshape(shape, order=order)


def _count(reader: "Reader", shape: Any) -> int:
    """The number of elements in a shape, which is a tuple of a few small natural numbers."""
    most = reader.budget.limits.max_elements
    if type(shape) is not tuple or len(shape) > 32 or not all(type(side) is int and 0 <= side <= most for side in shape):
        raise ProxymaskError(f"near byte {reader.at:,} the shape of a tensor is no shape: the file is damaged or malicious")
    count = 1
    for side in shape:
        count *= side
    if count > most:
        raise ProxymaskError(f"a tensor near byte {reader.at:,} has {count:,} elements, more than {most:,}")
    return count


def _scalar(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    dtype = args[0] if args else None
    dtype = dtype.dtype if type(dtype) is Pending else dtype
    if len(args) != 2 or not isinstance(dtype, np.dtype):
        return reader.inert(called, args)
    raw = args[1].encode("latin-1") if type(args[1]) is str else args[1]
    if not isinstance(raw, Buffer) or len(raw) != dtype.itemsize or not len(raw):
        raise ProxymaskError(f"a numpy number near byte {reader.at:,} does not have the size it says: the file is damaged")
    reader.budget.take_object()
    return np.frombuffer(raw, dtype)[0]


def _load_from_bytes(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``torch.storage._load_from_bytes(b)``, which torch opens with full pickle: here it goes through the same reader."""
    if len(args) != 1 or not isinstance(args[0], Buffer):
        raise ProxymaskError(f"near byte {reader.at:,} a nested storage is no bytes: the file is damaged")
    from .torchfile import read_stream

    reader.budget.take_bytes(len(args[0]))  # the same bytes can be read again and again
    return read_stream(memoryview(args[0]), reader.budget, reader.report, reader.level + 1)


def _tensor(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_tensor(storage, offset, size, stride)`` and its successors: a view that must lie within its storage."""
    if len(args) < (7 if called.name == "_rebuild_tensor_v3" else 4) or not isinstance(args[0], Storage):
        return reader.inert(called, args)
    storage, offset, size, stride = args[:4]
    dtype = args[6] if called.name == "_rebuild_tensor_v3" else storage.dtype
    if not isinstance(dtype, torch.dtype):
        return reader.inert(called, args)
    count = _count(reader, size)
    if type(stride) is not tuple or len(stride) != len(size) or not all(type(step) is int and step >= 0 for step in stride):
        raise ProxymaskError(f"near byte {reader.at:,} the strides of a tensor are none: the file is damaged or malicious")
    if type(offset) is not int or offset < 0:
        raise ProxymaskError(f"near byte {reader.at:,} a tensor begins before its storage: the file is damaged or malicious")
    stored = storage.data.numel() // dtype.itemsize
    reader.budget.take_object()
    reader.budget.take_view(count * dtype.itemsize)
    if not count:
        return torch.empty(size, dtype=dtype)
    # In the order of their steps, every dimension has to step over all that those before it span: then no element is shown twice.
    last = 0
    for step, side in sorted(zip(stride, size, strict=True)):
        if side > 1:
            if step <= last:
                raise ProxymaskError("a tensor shows the same numbers twice (its strides overlap): the file is damaged or malicious")
            last += step * (side - 1)
    if offset + last >= stored:
        raise ProxymaskError(
            f"a tensor near byte {reader.at:,} reaches beyond its storage ({offset + last + 1:,} of {stored:,} numbers): "
            "the file is damaged or malicious"
        )
    data = storage.data
    whole = data[: stored * dtype.itemsize].view(dtype)
    return whole.as_strided(size, stride, offset)


def _parameter(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_parameter(tensor, requires_grad, hooks)``: the tensor; hooks are never run."""
    return args[0] if args and isinstance(args[0], torch.Tensor) else reader.inert(called, args)


def _typed(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2(function, class, args, state)``: a tensor with attributes of its own, which are dropped."""
    plain = (Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter"), Global("torch.nn.parameter", "Buffer"))
    if len(args) < 3 or not isinstance(args[0], Global) or args[1] not in plain or type(args[2]) is not tuple:
        return reader.inert(called, args)
    run = CALLS.get((args[0].module, args[0].name))
    return run(reader, args[0], args[2]) if run in (_tensor, _parameter) else reader.inert(called, args)


def _size(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 and type(args[0]) is tuple else reader.inert(called, args)


def _device(reader: "Reader", called: Global, args: tuple[Any, ...]) -> Any:
    if 1 <= len(args) <= 2 and _is_text(args[0]) and len(args[0]) < 32 and (len(args) == 1 or type(args[1]) is int):
        try:
            return torch.device(*args)
        except (RuntimeError, ValueError, OverflowError):
            pass
    return reader.inert(called, args)


_Call = Callable[["Reader", Global, tuple[Any, ...]], Any]

# Python 2 and older numpy call the same things by other names.
MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
TORCH_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool"),
        *("uint8", "int8", "int16", "int32", "int64", "half", "float", "double", "short", "int", "long"),
    )
}
_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
CONTAINERS: dict[tuple[str, str], type] = {
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("dnnlib.util", "EasyDict"): dict,
    ("easydict", "EasyDict"): dict,
}
CALLS: dict[tuple[str, str], _Call] = {
    **dict.fromkeys(CONTAINERS, _container),
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("_codecs", "encode"): _bytes,
    ("builtins", "complex"): _complex,
    ("copyreg", "_reconstructor"): _new_object,
    ("copyreg", "__newobj__"): _new_object,
    ("copyreg", "__newobj_ex__"): _new_object,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _array_pending,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type"): _typed,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
}
TF_NETWORK = ("dnnlib.tflib.network", "Network")
_DATA = {  # records of these say all there is to know
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    TF_NETWORK,
}
_NAMES = {  # classes that are only named, as arguments
    ("builtins", "object"),
    ("numpy", "ndarray"),
    ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.nn.parameter", "Buffer"),
}


def storage_dtype(kind: Any) -> torch.dtype | None:
    """The dtype of a storage class that a persistent id names; None where it is not known."""
    if not isinstance(kind, Global):
        return None
    if kind.module == "torch.storage" and kind.name == "UntypedStorage":
        return torch.uint8
    return _STORAGES.get(kind.name) if kind.module in ("torch", "torch.cuda") else None


def is_data(found: Global) -> bool:
    return (found.module, found.name) in _DATA or found.module.startswith("torch.nn.modules.")


def is_known(found: Global) -> bool:
    key = (found.module, found.name)
    return key in CALLS or key in _NAMES or is_data(found) or storage_dtype(found) is not None
