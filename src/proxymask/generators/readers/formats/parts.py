"""What all families have in common: taking tensors by name, and reading an architecture off shapes."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from ....errors import ProxymaskError
from ...ops import fir_kernel
from ...stylegan2 import SeedStyle

State = Mapping[str, Any]


@dataclasses.dataclass
class Network:
    """A generator or a discriminator in this package's terms: ``config`` are the arguments of the class, ``tensors`` its state."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@dataclasses.dataclass
class Found:
    """What a family's module made of a file.

    Attributes:
        family: the name people know it by.
        generator: the averaged generator, or the trained one where that is the only one.
        discriminator: where the file has one that can be used.
        assumed: what neither the file says nor its shapes show, one phrase each.
        notes: what was left out or looked for in vain, one phrase each.
        facts: more about the file, by name.
        notice: the licence notice that the file carries.
        mean_w_missing: the file has no average of w; it is to be computed.
    """

    family: str
    generator: Network
    discriminator: Network | None = None
    assumed: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    notice: str = ""
    mean_w_missing: bool = False
    seed_style: SeedStyle = "nvidia"


def as_tensor(value: Any, name: str) -> torch.Tensor:
    """``value`` as a float32 tensor of its own, contiguous.

    Raises:
        ProxymaskError: it is no tensor, array or number: an inert record, say, of something that was not read.
    """
    if isinstance(value, torch.nn.Parameter):
        value = value.data
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "fiu":
            raise ProxymaskError(f"its tensor {name} holds {value.dtype}, not numbers")
        value = torch.from_numpy(np.array(value, dtype=np.float32))  # a copy, without negative strides
    if isinstance(value, bool) or not isinstance(value, torch.Tensor | int | float):
        raise ProxymaskError(f"its tensor {name} is a {describe(value)}, which is not read: the generator depends on it")
    tensor = torch.as_tensor(value)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise ProxymaskError(f"its tensor {name} holds {str(tensor.dtype).removeprefix('torch.')}, not numbers")
    return tensor.detach().to(torch.float32).contiguous()


def describe(value: Any) -> str:
    """A few words on something out of a file."""
    name = getattr(value, "class_name", None) or getattr(value, "name", None)
    return f"{name}"[:80] if isinstance(name, str) and name else type(value).__name__


class Tensors:
    """The tensors of one network by name; what was not taken at the end is a sign of another architecture."""

    def __init__(self, state: State, what: str) -> None:
        self.state, self.what, self.left = state, what, set(state)

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that must be there."""
        if name not in self.state:
            raise ProxymaskError(f"its {self.what} lacks the tensor {name}: it is incomplete, or of another architecture")
        value = self.state[name]
        found = getattr(value, "shape", () if isinstance(value, int | float) else None)
        if found is None:
            raise ProxymaskError(f"its tensor {name} is a {describe(value)}, which is not read: the generator depends on it")
        return tuple(int(side) for side in found)

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """The tensor, reshaped to ``shape`` where that only adds or drops sides of 1."""
        have = self.shape(name)
        if [side for side in have if side != 1] != [side for side in shape if side != 1]:
            raise ProxymaskError(f"its tensor {name} is {list(have)}, wanted {list(shape)}: this is another architecture")
        self.left.discard(name)
        return as_tensor(self.state[name], name).reshape(shape)

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
                f"its {self.what} has {len(self.left)} tensors that StyleGAN2 does not have ({some}): another architecture"
            )


def without_prefix(state: State) -> State:
    """Names without the ``module.`` that DataParallel puts before them all."""
    if state and all(isinstance(name, str) and name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state


def blocks(names: Iterable[str], pattern: str) -> list[int]:
    """The resolutions 4, 8, ... that the first group of ``pattern`` finds in the names, without a gap.

    Raises:
        ProxymaskError: a gap, or no power of two.
    """
    found = sorted({int(match[1]) for name in names if (match := re.match(pattern, name))})
    if not found or found != [4 * 2**i for i in range(len(found))] or len(found) < 2:
        raise ProxymaskError(f"its blocks have the resolutions {found}, wanted 4, 8, 16 and so on")
    return found


def count(names: Iterable[str], pattern: str) -> int:
    """How many numbers 0, 1, 2, ... the first group of ``pattern`` finds, without a gap."""
    found = sorted({int(match[1]) for name in names if (match := re.fullmatch(pattern, name))})
    if found != list(range(len(found))):
        raise ProxymaskError(f"its layers are numbered {found}, wanted 0, 1, 2 and so on")
    return len(found)


def base_and_max(widths: Mapping[int, int], said: tuple[Any, Any] = (None, None)) -> dict[str, int]:
    """``channel_base`` and ``channel_max`` that give these channels by resolution; what the file says is preferred.

    Raises:
        ProxymaskError: no such two numbers.
    """
    top = (
        said[1] if isinstance(said[1], int) and not isinstance(said[1], bool) and said[1] >= max(widths.values()) else max(widths.values())
    )
    bases = [base for base in (said[0], 32768, 16384, *(width * res for res, width in sorted(widths.items(), reverse=True))) if base]
    for base in bases:
        if isinstance(base, int) and all(max(min(base // res, top), 1) == width for res, width in widths.items()):
            return {"channel_base": base, "channel_max": top}
    shown = ", ".join(f"{res}: {width}" for res, width in sorted(widths.items()))
    raise ProxymaskError(f"its channels by resolution ({shown}) are not min(base / resolution, maximum), as StyleGAN2's are")


def one(values: Iterable[Any], what: str) -> Any:
    """The only value there is. A :class:`ProxymaskError` where layers differ."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    if len(found) != 1:
        raise ProxymaskError(f"its layers differ in {what} ({found[:4]}): this is another architecture")
    return found[0]


def number(value: Any, what: str, kind: Callable[[Any], Any] = int) -> Any:
    """A number that a file says, or a :class:`ProxymaskError`."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProxymaskError(f"it says that its {what} is {describe(value)}, wanted a number")
    return kind(value)


def one_output_a_class(classes: int) -> dict[str, torch.Tensor]:
    """The class mapping of a discriminator that has one output a class and takes that of the class (2020), in the terms of ADA's.

    The output is sum(outputs * m) / sqrt(C) with m = e / sqrt(mean(e^2)): for e the class itself, one-hot, that is its own output.
    """
    embed = torch.eye(classes) * classes**0.5  # times 1 / sqrt(C) at run time
    return {"mapping.embed.weight": embed, "mapping.embed.bias": torch.zeros(classes), "mapping.w_avg": torch.zeros(classes)}
