"""Takes tensors out of a file's state dict by name and shape, as float32."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ...core.errors import ProxymaskError
from ...models.stylegan2_ops import fir_kernel

State = Mapping[str, Any]


class StateReader:
    """The tensors of one network by name. Each is taken once; what is left at the end is a sign of another architecture.

    Args:
        state: name -> tensor, array or number.
        network: what error messages call the network: "generator" or "discriminator".
    """

    def __init__(self, state: State, network: str) -> None:
        self.state, self.network, self.left = state, network, set(state)

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
        found = getattr(value, "shape", () if isinstance(value, int | float) else None)
        if found is None:
            raise _not_read(f"its tensor {name}", value)
        return tuple(int(side) for side in found)

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """The tensor, reshaped to ``shape`` where that only adds or drops sides of 1."""
        have = self.shape(name)
        if [side for side in have if side != 1] != [side for side in shape if side != 1]:
            raise ProxymaskError(f"its tensor {name} is {list(have)}, wanted {list(shape)}: this is another architecture")
        self.left.discard(name)
        return as_tensor(self.state[name], name).reshape(shape)

    def take_as_is(self, name: str) -> torch.Tensor:
        """The tensor in its own shape."""
        return self.take(name, *self.shape(name))

    def skip(self, pattern: str) -> None:
        """Tensors that are not needed, by a regular expression of their whole name."""
        self.left = {name for name in self.left if not re.fullmatch(pattern, name)}

    def check_filter(self, pattern: str) -> None:
        """Resampling filters that are stored: each must be the outer product of 1, 3, 3, 1, up to a factor."""
        wanted = fir_kernel()
        for name in [name for name in self.left if re.fullmatch(pattern, name)]:
            kernel = as_tensor(self.state[name], name).squeeze()
            if kernel.ndim == 1:
                kernel = torch.outer(kernel, kernel)
            total = kernel.sum()
            if kernel.shape != wanted.shape or not torch.allclose(kernel / total, wanted, atol=1e-6):
                raise ProxymaskError(f"its resampling filter {name} is not 1, 3, 3, 1: networks with other filters are not supported")
            self.left.discard(name)

    def finish(self) -> None:
        """A :class:`ProxymaskError` where tensors are left."""
        if self.left:
            some = ", ".join(sorted(self.left)[:3])
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


def as_number(value: Any, what: str, kind: Callable[[Any], Any] = int) -> Any:
    """A number in a file, converted by ``kind``; a :class:`ProxymaskError` for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProxymaskError(f"it says that its {what} is {describe_value(value)}, wanted a number")
    return kind(value)


def describe_value(value: Any) -> str:
    """A few words on something out of a file: the name of its class."""
    name = getattr(value, "class_name", None) or getattr(value, "name", None)
    return f"{name}"[:80] if isinstance(name, str) and name else type(value).__name__


def require_mapping(contents: Mapping[Any, Any], name: str, what: str = "") -> None:
    """Refuse contents whose network ``name`` is there but is no state dict. ``what``: its name in the message."""
    if name in contents and not isinstance(contents[name], Mapping):
        raise _not_read(f"its {what or name}", contents[name])


def _not_read(what: str, value: Any) -> ProxymaskError:
    return ProxymaskError(f"{what} is a {describe_value(value)}, which is not read: the generator depends on it")


def without_prefix(state: State) -> State:
    """Names without the ``module.`` that DataParallel puts in front of all of them."""
    if state and all(isinstance(name, str) and name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state
