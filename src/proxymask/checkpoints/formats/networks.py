"""Finds the networks in what a file holds, wherever a project keeps them and whatever it puts in front of the names of their tensors.

A network is known by tensors that only its layout has. They are searched for in mappings and whole torch modules, up to three levels deep,
also behind a prefix: ``module.`` (DataParallel), ``decoder.`` (pixel2style2pixel, encoder4editing), ``generator.`` (Lightning) and others.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import ProxymaskError
from ..safe_pickle.inert import InertObject, PersistentModule
from ..safe_pickle.messages import MALICIOUS, printable
from ..safe_pickle.state_dict import module_entries

WHOLE_FILE = "the file itself"
MAX_DEPTH = 3
MAX_NAMES = 200_000  # looked at in one file; the largest checkpoints have 2,000 tensors


@dataclass(frozen=True)
class Network:
    """A network in a file.

    Attributes:
        name: where it is: keys joined by dots, then the prefix of its tensors.
        state: name -> tensor, without the prefix.
        around: the mappings that it lies in, innermost first.
    """

    name: str
    state: Mapping[str, Any]
    around: tuple[Mapping[Any, Any], ...]

    @property
    def is_averaged(self) -> bool:
        """Whether its name says that it is the running average of a trained network."""
        return bool(re.search(r"(^|[._])(ema|smooth|average|gs)($|[._])", self.name.lower()))

    def beside(self, name: str) -> Any:
        """What the innermost mapping around it that has the key ``name`` holds there; None where none has."""
        return next((mapping[name] for mapping in self.around if name in mapping), None)


def find_networks(contents: Any, tensors: tuple[str, ...]) -> list[Network]:
    """The networks in ``contents`` that have all these tensors, averaged ones first, else in the file's order."""
    found = []
    for path, state, around in _states(contents):
        for name in list(state):
            if type(name) is str and name.endswith(tensors[0]):
                prefix = name.removesuffix(tensors[0])
                if (not prefix or prefix.endswith(".")) and all(prefix + other in state for other in tensors):
                    found.append(Network(_join(path, prefix.removesuffix("module.")) or WHOLE_FILE, _without_prefix(state, prefix), around))
    return sorted(found, key=lambda network: not network.is_averaged)


def network_names(contents: Any) -> list[str]:
    """The keys of ``contents`` that hold a state dict or a module."""
    if not isinstance(contents, Mapping):
        return []
    return [printable(key) for key, value in contents.items() if type(key) is str and (isinstance(value, Mapping) or is_module(value))][:16]


def is_module(value: Any) -> bool:
    """Whether ``value`` is a whole torch module that was read."""
    return isinstance(value, InertObject | PersistentModule) and isinstance(value.state, dict) and "_parameters" in value.state


def _states(contents: Any) -> Iterator[tuple[str, Mapping[Any, Any], tuple[Mapping[Any, Any], ...]]]:
    """All mappings and modules in ``contents``: where each is, its entries, and the mappings around it. Each is visited once."""
    left, seen = MAX_NAMES, set[int]()
    pending: deque[tuple[str, Any, tuple[Mapping[Any, Any], ...]]] = deque([("", contents, ())])
    while pending:
        path, value, around = pending.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        state, cost = (value, len(value)) if isinstance(value, Mapping) else _entries(value)
        left -= cost + 1
        if left < 0:
            raise ProxymaskError(f"it has more than {MAX_NAMES:,} names, far more than a checkpoint: {MALICIOUS}")
        yield path, state, (state, *around)
        if isinstance(value, Mapping) and len(around) < MAX_DEPTH:
            pending += [
                (_join(path, key), inner, (value, *around))
                for key, inner in value.items()
                if type(key) is str and (isinstance(inner, Mapping) or is_module(inner))
            ]


def _entries(module: Any) -> tuple[Mapping[str, Any], int]:
    """The tensors of a whole module, and the names that were looked at; none where it cannot be walked: then it is no generator either."""
    try:
        entries = module_entries(module) if is_module(module) else {}
        return entries, len(entries)
    except ProxymaskError:
        return {}, MAX_NAMES // 8


def _join(path: str, name: str) -> str:
    return ".".join(printable(part) for part in (path, name.rstrip(".")) if part)


def _without_prefix(state: Mapping[Any, Any], prefix: str) -> Mapping[str, Any]:
    if not prefix:
        return state
    return {name.removeprefix(prefix): value for name, value in state.items() if type(name) is str and name.startswith(prefix)}
