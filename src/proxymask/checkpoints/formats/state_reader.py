"""Takes tensors out of a file's state dict by name and shape, as float32, within what the file really stores."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...core.errors import ProxymaskError
from ...models.stylegan2_ops import fir_kernel
from ..safe_pickle.budget import DEFAULT_LIMITS, Budget
from ..safe_pickle.messages import DAMAGED, printable
from ..safe_pickle.state_dict import MAX_NAME
from .settings import describe_value

State = Mapping[str, Any]
_FLOAT32 = 4  # bytes


class StateReader:
    """The tensors of one network by name. Each is taken once; what is left at the end is a sign of another architecture.

    All that is taken or made counts against a budget, four times the bytes that the state stores and 64 MiB. So names and shapes that
    promise more than is stored (many names for one tensor, a resolution of a file without noise maps) are refused before anything is
    allocated.

    Args:
        state: name -> tensor, array or number.
        network: what error messages call the network: "generator" or "discriminator".

    Raises:
        ProxymaskError: a name that is no text of up to 512 characters.
    """

    def __init__(self, state: State, network: str) -> None:
        if not all(type(name) is str and len(name) <= MAX_NAME for name in state):
            raise ProxymaskError(f"its {network} has a tensor whose name is no text of up to {MAX_NAME} characters: {DAMAGED}")
        self.state, self.network, self.left = state, network, set(state)
        self.budget = Budget(DEFAULT_LIMITS, sum({_address(value): value.nbytes for value in state.values() if _is_array(value)}.values()))

    @property
    def names(self) -> list[str]:
        """All names, also those already taken."""
        return list(self.state)

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that must be there."""
        if name not in self.state:
            raise ProxymaskError(f"its {self.network} lacks the tensor {name}: it is incomplete, or of another architecture")
        value = self.state[name]
        if not _is_array(value) and type(value) not in (int, float):
            raise _not_read(f"its tensor {name}", value)
        found = tuple(int(side) for side in getattr(value, "shape", ()))
        if 0 in found:
            raise ProxymaskError(f"its tensor {name} is empty: {DAMAGED}")
        return found

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """The tensor, reshaped to ``shape`` where that only adds or drops sides of 1."""
        have = self.shape(name)
        if [side for side in have if side != 1] != [side for side in shape if side != 1]:
            raise ProxymaskError(f"its tensor {name} is {list(have)}, wanted {list(shape)}: this is another architecture")
        self.left.discard(name)
        self.reserve(*shape)
        return as_tensor(self.state[name], name).reshape(shape)

    def reserve(self, *shape: int) -> None:
        """Count the float32 elements of something that is made beside the stored tensors; an error where the file is too small for it."""
        self.budget.charge_bytes(_FLOAT32 * math.prod(shape))

    def zeros(self, *shape: int) -> torch.Tensor:
        """Zeros in place of a tensor that the file need not have."""
        self.reserve(*shape)
        return torch.zeros(shape)

    def take_as_is(self, name: str) -> torch.Tensor:
        """The tensor in its own shape."""
        return self.take(name, *self.shape(name))

    def skip(self, pattern: str) -> None:
        """Tensors that are not needed, by a regular expression of their whole name."""
        self.left = {name for name in self.left if not re.fullmatch(pattern, name)}

    def check_filter(self, pattern: str) -> None:
        """Resampling filters that are stored: each must be 1, 3, 3, 1 or its outer product, up to a factor."""
        wanted = fir_kernel()
        for name in sorted(name for name in self.left if re.fullmatch(pattern, name)):
            sides = [side for side in self.shape(name) if side != 1]
            if sides in ([4], [4, 4]):
                kernel = self.take(name, *sides)
                kernel = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
                if torch.allclose(kernel / kernel.sum(), wanted, atol=1e-6):
                    continue
            raise ProxymaskError(f"its resampling filter {name} is not 1, 3, 3, 1: networks with other filters are not supported")

    def finish(self) -> None:
        """A :class:`ProxymaskError` where tensors are left."""
        if self.left:
            some = ", ".join(printable(name) for name in sorted(self.left)[:3])
            raise ProxymaskError(
                f"its {self.network} has {len(self.left)} tensors that StyleGAN2 does not have ({some}): another architecture"
            )


def as_tensor(value: Any, name: str) -> torch.Tensor:
    """``value`` as a contiguous float32 tensor of the same shape.

    Raises:
        ProxymaskError: it is no tensor, array or number (an inert object, for example).
    """
    if isinstance(value, torch.nn.Parameter):
        value = value.data
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "fiu":
            raise ProxymaskError(f"its tensor {name} holds {value.dtype}, not numbers")
        value = torch.from_numpy(np.array(value, dtype=np.float32))  # a copy, without negative strides
    if isinstance(value, bool) or not isinstance(value, torch.Tensor | int | float):
        raise _not_read(f"its tensor {name}", value)
    tensor = torch.as_tensor(value)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise ProxymaskError(f"its tensor {name} holds {str(tensor.dtype).removeprefix('torch.')}, not numbers")
    return tensor.detach().to(torch.float32).contiguous()


def require_mapping(contents: Mapping[Any, Any], name: str, what: str = "") -> None:
    """Refuse contents whose network ``name`` is there but is no state dict. ``what``: its name in the message."""
    if name in contents and not isinstance(contents[name], Mapping):
        raise _not_read(f"its {what or name}", contents[name])


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray | np.generic)


def _address(value: Any) -> tuple[int, int]:
    """What tensors with the same memory have in common."""
    if isinstance(value, torch.Tensor):
        return value.data_ptr(), value.nbytes
    return (value.__array_interface__["data"][0] if isinstance(value, np.ndarray) else id(value)), value.nbytes


def _not_read(what: str, value: Any) -> ProxymaskError:
    return ProxymaskError(f"{what} is {describe_value(value)}, which is not read: the generator depends on it")
