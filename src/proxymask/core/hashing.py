"""SHA-256 of files, networks and JSON values, as hex digests that are the same on every machine. PyTorch is imported for networks only."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tensors_hash(tensors: Mapping[str, "torch.Tensor"], dtype: "torch.dtype | None" = None) -> str:
    """SHA-256 of names, shapes and values, 64 hex digits. Floating tensors are converted to ``dtype`` (None: float32) first."""
    import torch

    dtype = torch.float32 if dtype is None else dtype
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach().cpu()
        value = (value.to(dtype) if value.is_floating_point() else value).contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def weights_hash(module: "nn.Module") -> str:
    """:func:`tensors_hash` of a module's state as float16, which is equal for a bundle (stored as float16) and the run it was made from.

    Settings that change what the same tensors compute count too, where the module names some in ``function_settings``.
    """
    import torch

    found, settings = tensors_hash(module.state_dict(), torch.float16), getattr(module, "function_settings", None)
    return hashlib.sha256(f"{found} {json_hash(settings)}".encode()).hexdigest() if settings else found


def short_hash(module: "nn.Module | None") -> str:
    """The first 16 digits of :func:`weights_hash`; "fresh" for no module."""
    return "fresh" if module is None else weights_hash(module)[:16]


def json_hash(value: Any) -> str:
    """The first 16 digits of the SHA-256 of a value as JSON with sorted keys; other objects are converted by ``str``."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def settings_hash(settings: Mapping[str, Any]) -> str:
    """The first 8 digits of the SHA-256 of plain values by name, in any order; a tuple counts as the list of its values."""
    items = sorted((key, list(value) if isinstance(value, tuple) else value) for key, value in settings.items())
    return hashlib.sha256(repr(items).encode()).hexdigest()[:8]
