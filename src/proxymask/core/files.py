"""Reading and writing JSON, safetensors and folders: writes are atomic, errors name the file."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import ProxymaskError


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: after a crash or on a full disk the old file is still whole."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Read JSON; a :class:`ProxymaskError` names a missing or damaged file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProxymaskError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProxymaskError(f"{path} is not valid JSON ({error}); it may be truncated: restore it from its source") from None


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], half: bool = False) -> None:
    """Write safetensors atomically; floating tensors as float16 if ``half``.

    Raises:
        OSError: also in place of the error of safetensors.
    """
    ready = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu()
        if half and value.is_floating_point():
            value = value.half()
        ready[name] = value.contiguous().clone()
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(ready, temporary)
        os.replace(temporary, path)
    except SafetensorError as error:
        full = "No space left" in str(error) or "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC) if full else str(error), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read safetensors; a :class:`ProxymaskError` names a missing or damaged file."""
    if not path.is_file():
        raise ProxymaskError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ProxymaskError(f"{path} cannot be read as safetensors ({error}); it is damaged or truncated: get it again") from None


def replace_folder(new: Path, folder: Path) -> None:
    """Replace ``folder`` by ``new``, which is on the same disk."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
