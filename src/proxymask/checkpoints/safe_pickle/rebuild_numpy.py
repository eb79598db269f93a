"""Stands in for what numpy pickles its arrays, dtypes and scalars as. Data that are not plain numbers stay inert."""

import re
from typing import Any

import numpy as np

from .context import PickleContext
from .inert import Buffer, Global, UnfinishedArray, check_booleans

_NDARRAY = Global("numpy", "ndarray")
MAX_DIMENSIONS = 32


def count_elements(context: PickleContext, shape: Any) -> int:
    """The number of elements of an array or tensor of this shape, a tuple of at most 32 sizes.

    Raises:
        ProxymaskError: not such a tuple, or more elements than ``max_elements``.
    """
    most = context.budget.limits.max_elements
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS or not all(type(side) is int and 0 <= side <= most for side in shape):
        raise context.malicious(f"a tensor has no shape of up to {MAX_DIMENSIONS} sizes from 0 to {most:,}")
    count = 1
    for side in shape:
        count *= side
    if count > most:
        raise context.malicious(f"a tensor has {count:,} elements, more than {most:,}")
    return count


def dtype(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.dtype("f4", align, copy)`` of numbers; its byte order follows with BUILD."""
    if args and type(args[0]) is str and re.fullmatch(r"[<>|=]?[biufc][0-9]{1,2}", args[0]):
        try:
            return UnfinishedArray(np.dtype(args[0]))
        except TypeError:  # a size that this machine does not have
            pass
    return context.inert(called, args)


def finish_dtype(context: PickleContext, found: np.dtype[Any], state: Any) -> np.dtype[Any]:
    """BUILD of a dtype: ``(version, byte order, subdtype, names, fields, size, alignment, flags)``; only the byte order matters."""
    if type(state) is not tuple or len(state) < 8 or state[1] not in ("<", ">", "|", "="):
        raise context.damaged("a numpy dtype has no valid state")
    if any(part is not None for part in state[2:5]):
        raise context.damaged("a plain numpy dtype has fields")
    return found if state[1] == "|" else found.newbyteorder(state[1])


def empty_array(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")``: an empty array, which BUILD fills."""
    return UnfinishedArray() if len(args) == 3 and args[0] == _NDARRAY else context.inert(called, args)


def finish_array(context: PickleContext, state: Any) -> Any:
    """BUILD of an array: ``(version, shape, dtype, is Fortran, raw bytes)``."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise context.damaged("a numpy array has no valid state")
    shape, kind, fortran, raw = state[-4:]
    return _array(context, _NDARRAY, (raw, kind, shape, "F" if fortran else "C"))


def from_buffer(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.numeric._frombuffer(raw, dtype, shape, order)`` of protocol 5."""
    return _array(context, called, args) if len(args) == 4 else context.inert(called, args)


def _array(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    raw, kind, shape, order = args
    kind = kind.dtype if type(kind) is UnfinishedArray else kind
    if not isinstance(kind, np.dtype):  # of objects or fields: code that needs numbers finds an inert object instead
        return context.inert(called, (shape, kind, order, raw))
    if type(raw) is str:  # from Python 2
        context.budget.charge_bytes(len(raw))
        raw = raw.encode("latin-1")
    count = count_elements(context, shape)
    if not isinstance(raw, Buffer) or count * kind.itemsize != len(raw) or order not in ("C", "F"):
        raise context.damaged("a numpy array does not have its stated size")
    context.budget.charge_object()
    context.budget.charge_bytes(len(raw))
    context.budget.charge_view(len(raw))
    if not len(raw):
        return np.zeros(shape, kind)
    if kind.kind == "b":
        check_booleans(np.frombuffer(raw, np.uint8), "array")
    found = np.frombuffer(raw, kind)
    if not found.flags.aligned:
        found = found.copy()
    return found.reshape(shape, order=order)


def scalar(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.multiarray.scalar(dtype, raw)``."""
    kind = args[0] if args else None
    kind = kind.dtype if type(kind) is UnfinishedArray else kind
    if len(args) != 2 or not isinstance(kind, np.dtype):
        return context.inert(called, args)
    raw = args[1].encode("latin-1") if type(args[1]) is str else args[1]
    if not isinstance(raw, Buffer) or len(raw) != kind.itemsize or not len(raw):
        raise context.damaged("a numpy number does not have its stated size")
    context.budget.charge_object()
    return np.frombuffer(raw, kind)[0]
