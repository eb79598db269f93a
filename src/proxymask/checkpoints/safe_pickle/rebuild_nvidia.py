"""Stands in for the two ways in which NVIDIA's repositories pickle a network together with its source code, which is dropped.

PyTorch: ``torch_utils/persistence.py``; TensorFlow: ``dnnlib/tflib/network.py``.
"""

import re
from typing import Any

from ...core.errors import ProxymaskError
from .context import PickleContext
from .inert import Global, PersistentModule
from .messages import DAMAGED, printable

_NOTICE_BYTES, _NOTICE_LINES, _NOTICE_CHARACTERS = 8192, 60, 2000


def persistent_module(context: PickleContext, called: Global, args: tuple[Any, ...]) -> PersistentModule:
    """``torch_utils.persistence._reconstruct_persistent_obj(meta)``."""
    meta = args[0] if len(args) == 1 else None
    if not isinstance(meta, dict):
        raise ProxymaskError(f"a network has no persistence record: {DAMAGED}")
    state, name = meta.get("state"), meta.get("class_name")
    if not isinstance(state, dict) or type(name) is not str or meta.get("type") != "class":
        raise ProxymaskError(f"a network's persistence record lacks its state or class name; of a newer version, or {DAMAGED}")
    init_args, init_kwargs = state.get("_init_args", ()), state.get("_init_kwargs", {})
    if type(init_args) is not tuple or not isinstance(init_kwargs, dict) or not all(type(key) is str for key in init_kwargs):
        raise ProxymaskError(f"the network {printable(name)} lacks the arguments it was made with: {DAMAGED}")
    context.budget.charge_object()
    notice, source_length = _drop_source(context, meta.get("module_src"))
    version = meta.get("version")
    return PersistentModule(
        class_name=name,
        init_args=init_args,
        init_kwargs=init_kwargs,
        state=state,
        version=version if type(version) is int else 0,
        notice=notice,
        source_length=source_length,
    )


def tensorflow_state(context: PickleContext, state: Any) -> dict[Any, Any]:
    """The state of a TensorFlow network without its source code; ``notice`` and ``source_length`` take its place."""
    if not isinstance(state, dict):
        raise ProxymaskError(f"a TensorFlow network's state is no dict: {DAMAGED}")
    context.budget.charge_steps(len(state))
    notice, source_length = _drop_source(context, state.get("build_module_src"))
    kept = {key: value for key, value in state.items() if key != "build_module_src"}
    return {**kept, "notice": notice, "source_length": source_length}


def _drop_source(context: PickleContext, source: Any) -> tuple[str, int]:
    """The licence notice that source code begins with, and the number of characters of the code."""
    if not isinstance(source, str):
        return "", 0
    context.budget.charge_steps(min(len(source), _NOTICE_BYTES) // 64)
    notice = _licence_notice(source)
    context.report.add_notice(notice)
    return notice, len(source)


def _licence_notice(source: str) -> str:
    """The comment that source code begins with where it speaks of rights, safe to print, at most 2,000 characters; else ""."""
    kept: list[str] = []
    for line in source[:_NOTICE_BYTES].splitlines()[:_NOTICE_LINES]:
        if not line.startswith("#"):
            break
        kept.append(printable(line.lstrip("#").strip(), 200))
    text = "\n".join(kept).strip()[:_NOTICE_CHARACTERS]
    return text if re.search(r"copyright|licen[cs]e|\(c\)", text, re.IGNORECASE) else ""
