"""What the functions that rebuild objects need to know of the pickle that they are called from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...core.errors import ProxymaskError
from .budget import Budget
from .inert import Global, InertObject, PersistentModule, ReadReport
from .known_names import is_plain_data
from .messages import DAMAGED, MALICIOUS, printable

Reconstructor = Callable[["PickleContext", Global, tuple[Any, ...]], Any]

_HASH_IS_VALUE = 2**61 - 1  # Python's hash of a smaller integer is the integer itself, so that they do not collide
_KEY_TYPES = (int, float, bytes, Global, InertObject, PersistentModule, torch.Tensor, torch.dtype, torch.device)
_TUPLE_KEY_TYPES = (str, int, float, bool, bytes)


@dataclass(frozen=True)
class ReadContext:
    """What all pickles of one file share.

    Attributes:
        budget: what reading may still cost.
        report: what was not understood.
        read_nested: reads a zip, a legacy stream or a pickle that is stored as bytes in a pickle.
        nesting: how many pickles the current one is nested in.
    """

    budget: Budget
    report: ReadReport
    read_nested: Callable[[memoryview, "ReadContext"], Any]
    nesting: int = 0

    def nested(self) -> "ReadContext":
        """The same, one level deeper. Raises :class:`ProxymaskError` beyond ``max_nested_pickles``."""
        deepest = self.budget.limits.max_nested_pickles
        if self.nesting >= deepest:
            raise ProxymaskError(f"it nests pickles more than {deepest} deep: {MALICIOUS}")
        return replace(self, nesting=self.nesting + 1)


class PickleContext:
    """One pickle while it is being read.

    Attributes:
        data: the bytes that it lies in.
        position: of the next byte to be read.
        file: what it shares with other pickles of its file.
        budget, report: those of the file.
    """

    def __init__(self, data: memoryview, file: ReadContext, position: int = 0) -> None:
        self.data = data
        self.position = position
        self.file = file
        self.budget = file.budget
        self.report = file.report

    def damaged(self, problem: str) -> ProxymaskError:
        """The error for damage near the current byte."""
        return ProxymaskError(f"near byte {self.position:,} {problem}: {DAMAGED}")

    def malicious(self, problem: str) -> ProxymaskError:
        """The error for contents near the current byte that damage alone hardly causes."""
        return ProxymaskError(f"near byte {self.position:,} {problem}: {MALICIOUS}")

    def inert(self, called: Any, args: tuple[Any, ...]) -> InertObject:
        """The inert object in place of the result of ``called(*args)``. The call is reported as unknown, except for known data classes."""
        self.budget.charge_object()
        if isinstance(called, Global):
            made = InertObject(called.module, called.name, args)
        elif isinstance(called, InertObject):
            made = InertObject(called.module, printable(f"{called.name}()", 512), (called, args))
        else:
            raise self.malicious("it calls what is no function")
        if not isinstance(called, Global) or not is_plain_data(called):
            self.report.count_unknown(made.qualified)
        return made

    def hashable(self, key: Any) -> Any:
        """``key``, if hashing it is cheap and it cannot be made to collide with many others; dicts and sets take no other key.

        Raises:
            ProxymaskError: a key of another type, or too many that are neither text nor small integers.
        """
        kind = type(key)
        if kind is str or (kind is int and -_HASH_IS_VALUE < key < _HASH_IS_VALUE) or key is None or kind is bool:
            return key
        self.budget.charge_unusual_key()
        if kind is tuple and len(key) <= 16 and all(part is None or type(part) in _TUPLE_KEY_TYPES for part in key):
            return key
        if kind in _KEY_TYPES or isinstance(key, np.generic):
            return key
        raise ProxymaskError(f"a dict has a key of the type {kind.__name__}, which no checkpoint needs: {MALICIOUS}")
