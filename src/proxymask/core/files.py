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
from .text import printable


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: after a crash or on a full disk the old file is still whole."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path, largest: int | None = None) -> Any:
    """Read JSON.

    Args:
        path: of the file.
        largest: its size in bytes that is refused unread when passed; None for any size.

    Raises:
        ProxymaskError: the file is missing, broken, or too large; the message names it.
    """
    try:
        if largest is not None and path.stat().st_size > largest:
            raise ProxymaskError(f"{path} is larger than {largest:,} bytes, so it is not what proxymask wrote: restore it from its source")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProxymaskError(f"{path} is missing") from None
    except OSError as error:
        raise ProxymaskError(f"{path} cannot be read ({error.strerror or error})") from None
    except RecursionError:
        raise ProxymaskError(f"{path} is nested too deeply: it is damaged, restore it from its source") from None
    except ValueError as error:  # broken JSON, bytes that are not UTF-8, numbers of thousands of digits
        raise ProxymaskError(f"{path} is not valid JSON ({error}); it may be truncated: restore it from its source") from None


def check_plain(value: Any, path: Path) -> None:
    """Check the size of settings that were read from JSON, before they are used or printed.

    Numbers are finite and at most 2^53, text has at most 10,000 characters, lists and objects hold at most 10,000 entries and are nested
    at most 4 deep.

    Raises:
        ProxymaskError: larger than that; the message names ``path``.
    """
    level = [value]
    for _ in range(6):
        if len(level) > 10_000 or not all(_is_small(entry) for entry in level):
            break
        inner = (entry.values() if isinstance(entry, dict) else entry for entry in level if isinstance(entry, dict | list))
        level = [child for children in inner for child in children]
        if not level:
            return
    raise ProxymaskError(f"{path} holds settings that are too large, too deep or not finite: it is damaged, restore it from its source")


def _is_small(value: Any) -> bool:
    if isinstance(value, int | float):
        return abs(value) <= 2**53  # NaN is not
    if isinstance(value, dict):
        return len(value) <= 10_000 and all(len(key) <= 1000 for key in value)
    return len(value) <= 10_000 if isinstance(value, str | list) else value is None


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
    except Exception as error:  # the decoder is another project's: whatever it says of a file, the file is damaged
        reason = printable(str(error), 200)
        raise ProxymaskError(f"{path} cannot be read as safetensors ({reason}); it is damaged or truncated: get it again") from None


def restore_folder(folder: Path) -> None:
    """Undo a :func:`replace_folder` that was interrupted after the old folder had been renamed and before the new one took its place."""
    old = folder.with_name(folder.name + ".old")
    if old.is_dir() and not folder.exists():
        os.replace(old, folder)


def replace_folder(new: Path, folder: Path) -> None:
    """Replace ``folder`` by ``new``, which is on the same disk. What an interrupt leaves is put right by :func:`restore_folder`."""
    restore_folder(folder)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
