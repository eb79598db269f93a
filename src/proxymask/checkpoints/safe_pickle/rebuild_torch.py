"""Stands in for the functions that ``torch.save`` and the pickles of tensors name (``torch/_utils.py``, ``torch/_tensor.py``).

A tensor is a view of a :class:`Storage`: ``size`` and ``stride`` in elements, ``offset`` from the storage's first element. It must lie
within its storage and show no element twice. A tensor of an unknown storage class stays inert.
"""

from typing import Any

import torch

from .context import PickleContext, Reconstructor
from .inert import Buffer, Global, Storage
from .rebuild_numpy import count_elements

_TENSOR_CLASSES = (Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter"), Global("torch.nn.parameter", "Buffer"))


def nested_storage(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``torch.storage._load_from_bytes(b)``, which torch hands to ``torch.load``: here it is read as safely as the file around it."""
    if len(args) != 1 or not isinstance(args[0], Buffer):
        raise context.damaged("a nested storage is no bytes")
    context.budget.charge_bytes(len(args[0]))  # the same bytes can be read again and again
    return context.file.read_nested(memoryview(args[0]), context.file.nested())


def tensor(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_tensor(storage, offset, size, stride, ...)`` and its successors: a view of the storage."""
    has_dtype = called.name == "_rebuild_tensor_v3"
    if len(args) < (7 if has_dtype else 4) or not isinstance(args[0], Storage):
        return context.inert(called, args)
    storage, offset, size, stride = args[:4]
    dtype = args[6] if has_dtype else storage.dtype
    if not isinstance(dtype, torch.dtype):
        return context.inert(called, args)
    count = count_elements(context, size)
    if type(stride) is not tuple or len(stride) != len(size) or not all(type(step) is int and step >= 0 for step in stride):
        raise context.malicious("a tensor has no valid strides")
    if type(offset) is not int or offset < 0:
        raise context.malicious("a tensor begins before its storage")
    context.budget.charge_object()
    context.budget.charge_view(count * dtype.itemsize)
    if not count:
        return torch.empty(size, dtype=dtype)
    stored = storage.data.numel() // dtype.itemsize
    end = offset + _last_element(context, size, stride) + 1
    if end > stored:
        raise context.malicious(f"a tensor reaches beyond its storage ({end:,} of {stored:,} numbers)")
    return storage.data[: stored * dtype.itemsize].view(dtype).as_strided(size, stride, offset)


def _last_element(context: PickleContext, size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """The position of a tensor's last element after its first.

    In ascending order of stride, every dimension has to step over all that the ones before it span: then no element is shown twice.
    """
    last = 0
    for step, side in sorted(zip(stride, size, strict=True)):
        if side > 1:
            if step <= last:
                raise context.malicious("a tensor shows the same numbers twice (its strides overlap)")
            last += step * (side - 1)
    return last


def parameter(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_parameter(tensor, requires_grad, hooks)``: the tensor; hooks are never run."""
    return args[0] if args and isinstance(args[0], torch.Tensor) else context.inert(called, args)


TENSOR_FUNCTIONS: dict[tuple[str, str], Reconstructor] = {
    ("torch._utils", "_rebuild_tensor"): tensor,
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch._utils", "_rebuild_tensor_v3"): tensor,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): parameter,
}


def tensor_with_attributes(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2(function, class, args, state)``: a tensor with attributes of its own, which are dropped."""
    if len(args) < 3 or not isinstance(args[0], Global) or args[1] not in _TENSOR_CLASSES or type(args[2]) is not tuple:
        return context.inert(called, args)
    run = TENSOR_FUNCTIONS.get((args[0].module, args[0].name))
    return context.inert(called, args) if run is None else run(context, args[0], args[2])


def size(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``torch.Size(tuple)``, as a tuple."""
    return args[0] if len(args) == 1 and type(args[0]) is tuple else context.inert(called, args)


def device(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``torch.device("cuda", 0)``."""
    if 1 <= len(args) <= 2 and type(args[0]) is str and len(args[0]) < 32 and (len(args) == 1 or type(args[1]) is int):
        try:
            return torch.device(*args)
        except (RuntimeError, ValueError, OverflowError):
            pass
    return context.inert(called, args)
