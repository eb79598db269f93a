"""Names in pickles that are understood without calling anything: types, storage classes, classes that are only data."""

from collections import OrderedDict
from typing import Any

import torch

from .inert import Global

Name = tuple[str, str]  # module, name

# Python 2 and newer numpy call the same modules by other names.
MODULE_ALIASES = {
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
STORAGE_DTYPES: dict[str, torch.dtype] = {
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
CONTAINERS: dict[Name, type] = {
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
TF_NETWORK: Name = ("dnnlib.tflib.network", "Network")
# Classes that are only data: an inert object of one of them is complete.
PLAIN_DATA: set[Name] = {("argparse", "Namespace"), ("types", "SimpleNamespace"), TF_NETWORK}
# Classes that are named as arguments, never made.
ONLY_NAMED: set[Name] = {
    ("builtins", "object"),
    ("numpy", "ndarray"),
    ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.nn.parameter", "Buffer"),
}


def storage_dtype(kind: Any) -> torch.dtype | None:
    """The dtype of a storage class that a file names; None where it is not known."""
    if not isinstance(kind, Global):
        return None
    if kind.module == "torch.storage" and kind.name == "UntypedStorage":
        return torch.uint8
    return STORAGE_DTYPES.get(kind.name) if kind.module in ("torch", "torch.cuda") else None


def is_plain_data(found: Global) -> bool:
    """Whether a class is only data, so that an inert object of it is complete: namespaces and torch's own modules."""
    return (found.module, found.name) in PLAIN_DATA or found.module.startswith("torch.nn.modules.")
