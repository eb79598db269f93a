"""The table of functions that a pickle may call. Each is replaced by a function of this package; any other call makes an inert object.

The functions of this package check their arguments. Arguments that only a damaged or malicious file can have are refused. For other
arguments that are not understood, the result is an inert object, which no code takes for numbers.
"""

from . import rebuild_numpy, rebuild_nvidia, rebuild_python, rebuild_torch
from .context import Reconstructor
from .inert import Global
from .known_names import CONTAINERS, ONLY_NAMED, Name, is_plain_data, storage_dtype

RECONSTRUCTORS: dict[Name, Reconstructor] = {
    **dict.fromkeys(CONTAINERS, rebuild_python.container),
    ("builtins", "bytes"): rebuild_python.byte_string,
    ("builtins", "bytearray"): rebuild_python.byte_string,
    ("_codecs", "encode"): rebuild_python.byte_string,
    ("builtins", "complex"): rebuild_python.complex_number,
    ("copyreg", "_reconstructor"): rebuild_python.copyreg_object,
    ("copyreg", "__newobj__"): rebuild_python.copyreg_object,
    ("copyreg", "__newobj_ex__"): rebuild_python.copyreg_object,
    ("numpy", "dtype"): rebuild_numpy.dtype,
    ("numpy.core.multiarray", "_reconstruct"): rebuild_numpy.empty_array,
    ("numpy.core.multiarray", "scalar"): rebuild_numpy.scalar,
    ("numpy.core.numeric", "_frombuffer"): rebuild_numpy.from_buffer,
    **rebuild_torch.TENSOR_FUNCTIONS,
    ("torch._tensor", "_rebuild_from_type"): rebuild_torch.tensor_with_attributes,
    ("torch._tensor", "_rebuild_from_type_v2"): rebuild_torch.tensor_with_attributes,
    ("torch.storage", "_load_from_bytes"): rebuild_torch.nested_storage,
    ("torch", "Size"): rebuild_torch.size,
    ("torch", "device"): rebuild_torch.device,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): rebuild_nvidia.persistent_module,
}


def is_understood(found: Global) -> bool:
    """Whether a global need not be reported as unknown."""
    name = (found.module, found.name)
    return name in RECONSTRUCTORS or name in ONLY_NAMED or is_plain_data(found) or storage_dtype(found) is not None
