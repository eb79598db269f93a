"""The state dict of a torch module that was read, by the rules of ``torch.nn.Module.state_dict``."""

from typing import Any

from ...core.errors import ProxymaskError
from .budget import DEFAULT_LIMITS, Limits
from .inert import InertObject, PersistentModule
from .messages import DAMAGED, MALICIOUS, printable

MAX_NAME = 512


def module_entries(module: Any, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Parameters and buffers of a module, by dotted name, in the module's order. What is in the place of a tensor is returned as it is.

    Args:
        module: a :class:`PersistentModule` or :class:`InertObject` of a module.
        limits: ``max_depth`` bounds modules in modules, ``max_objects`` the tensors; a shared module counts every time.

    Raises:
        ProxymaskError: not a module, or over a limit.
    """
    found: dict[str, Any] = {}
    left = limits.max_objects
    pending: list[tuple[str, Any, int]] = [("", module, 0)]
    while pending:
        prefix, inner, depth = pending.pop()
        tensors, modules = _contents(prefix, inner)
        if depth > limits.max_depth or len(prefix) > MAX_NAME:
            raise ProxymaskError(f"its modules are nested more than {limits.max_depth} deep, or hold themselves: {MALICIOUS}")
        left -= 1 + len(tensors) + len(modules)
        if left < 0:
            raise ProxymaskError(f"its modules hold more than {limits.max_objects:,} tensors: {MALICIOUS}")
        if not all(type(name) is str and len(name) <= MAX_NAME for name in (*tensors, *modules)):
            raise ProxymaskError(f"a module has a part whose name is no text of up to {MAX_NAME} characters: {DAMAGED}")
        for name, value in tensors.items():
            if value is not None:
                found[f"{prefix}{name}"] = value
        # The last in is the first out: reversed, so that modules keep their order.
        pending += [(f"{prefix}{name}.", child, depth + 1) for name, child in reversed(modules.items()) if child is not None]
    return found


def _contents(prefix: str, module: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Parameters and buffers of a module, and the modules in it, by name."""
    state = module.state if isinstance(module, PersistentModule | InertObject) else None
    if not isinstance(state, dict) or not isinstance(state.get("_parameters"), dict):
        raise ProxymaskError(f"{printable(prefix) or 'it'} is no torch module: {printable(type(module).__name__)}")
    return {**state["_parameters"], **_dict_attribute(state, "_buffers")}, _dict_attribute(state, "_modules")


def _dict_attribute(state: dict[str, Any], name: str) -> dict[Any, Any]:
    found = state.get(name, {})
    if not isinstance(found, dict):
        raise ProxymaskError(f"a module's {name} is no dict: {DAMAGED}")
    return found
