"""The last check of what a pickle left: nothing unfinished in it, nothing nested too deep."""

from collections.abc import Iterator
from typing import Any

from ...core.errors import ProxymaskError
from .budget import Limits
from .inert import InertObject, PersistentModule, ReadReport, UnfinishedArray
from .messages import DAMAGED, MALICIOUS

_CONTAINERS = (dict, list, tuple, set, frozenset, InertObject, PersistentModule)
_BEING_WALKED = 0


def check_result(root: Any, limits: Limits, report: ReadReport) -> Any:
    """``root``, unless it holds an unfinished array or is nested deeper than the limit; sets ``report.cyclic``.

    Walks every container once, without recursion, so that a billion references to the same list cost what one does.
    """
    if type(root) is UnfinishedArray:
        raise _unfinished()
    if not isinstance(root, _CONTAINERS):
        return root
    depths: dict[int, int] = {id(root): _BEING_WALKED}
    path: list[tuple[Any, Iterator[Any]]] = [(root, _children(root))]
    levels = [0]  # for each container on the path, the depth of its deepest child so far
    while path:
        node, rest = path[-1]
        child = next(rest, path)
        if child is path:  # no more children
            path.pop()
            depth = levels.pop() + 1
            depths[id(node)] = depth
            if depth > limits.max_depth:
                raise _too_deep(limits)
            if levels:
                levels[-1] = max(levels[-1], depth)
        elif isinstance(child, _CONTAINERS):
            known = depths.get(id(child))
            if known is None:
                depths[id(child)] = _BEING_WALKED
                if len(path) >= limits.max_depth:
                    raise _too_deep(limits)
                path.append((child, _children(child)))
                levels.append(0)
            elif known == _BEING_WALKED:
                report.cyclic = True
            else:
                levels[-1] = max(levels[-1], known)
        elif type(child) is UnfinishedArray:
            raise _unfinished()
    return root


def _too_deep(limits: Limits) -> ProxymaskError:
    return ProxymaskError(f"its containers are nested more than {limits.max_depth} deep: {MALICIOUS}")


def _unfinished() -> ProxymaskError:
    return ProxymaskError(f"an array in it was never filled: {DAMAGED}")


def _children(value: Any) -> Iterator[Any]:
    """What a container of a file holds."""
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif type(value) is InertObject:
        yield from (value.args, value.state, value.items, value.entries)
    elif type(value) is PersistentModule:
        yield from (value.init_args, value.init_kwargs, value.state)
