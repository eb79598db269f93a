"""Reading and writing JSON, safetensors and folders: writes are atomic, errors name the file."""

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import ProxymaskError
from .out_of_memory import is_out_of_memory
from .text import printable

FILE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .webp .bmp .tif .tiff .gif .txt .json .html .csv .zip .tar .npy .npz .pt .pth .pkl .safetensors".split()  # noqa: SIM905
)
"""Suffixes that no folder gets."""
PARTS = frozenset(
    "bundle.json import.json labels.json README.md generator discriminator clusters rearranger segmenter mappers details extractors".split()  # noqa: SIM905
)
"""Names in bundles and imports that this package writes."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: after a crash of the process or on a full disk the old file is still whole.

    Names of files may hold bytes that are no UTF-8 (lone surrogates in Python): then all text is written in escapes, and read back equal.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        content = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        content = json.dumps(value, indent=2).encode("ascii")
    try:
        temporary.write_bytes(content + b"\n")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_path(path: str | Path, name: str) -> Path:
    """``path`` as a Path; a :class:`ProxymaskError` that names the argument where it is empty, which would be the working folder."""
    if not str(path):
        raise ProxymaskError(f"{name} is an empty path: give the name of a file or folder")
    return Path(path)


def check_folder(out: Path, flag: str = "--out") -> None:
    """A :class:`ProxymaskError` where ``out`` is a file, or a new name that ends as that of a file: results go into a folder."""
    if out.is_file():
        raise ProxymaskError(f"{flag} {out} is a file, and the results are several: give a folder")
    if not out.exists() and out.suffix.lower() in FILE_SUFFIXES:
        raise ProxymaskError(f"{flag} {out} is the name of a file, and the results are several: give a folder, as {out.with_suffix('')}")


def files_in(path: Path) -> list[Path]:
    """The files directly in a folder; the path itself where it is none."""
    return list(path.iterdir()) if path.is_dir() else [path]


def check_not_input(out: str | Path, inputs: Iterable[str | Path], flag: str = "--out") -> None:
    """Refuse to write over a file that is read: the same file under any name, also through links and in other upper and lower case.

    Raises:
        ProxymaskError: ``out`` is one of the ``inputs``; the message names ``flag``.
    """
    try:
        written = os.stat(out)
    except (OSError, ValueError):  # a new file
        return
    for path in inputs:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(written, os.stat(path)):
                raise ProxymaskError(f"{flag} {out} is the input {path}, which it would replace: give another name")


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
        raise ProxymaskError(f"{path} is missing: restore it, or give another folder") from None
    except OSError as error:
        raise ProxymaskError(f"{path} cannot be read ({error.strerror or error})") from None
    except RecursionError:
        raise ProxymaskError(f"{path} is nested too deeply: it is damaged, restore it from its source") from None
    except ValueError as error:  # broken JSON, bytes that are not UTF-8, numbers of thousands of digits
        raise ProxymaskError(
            f"{path} is not valid JSON ({error}): correct it there (often a comma too much before a closing bracket), or, if it is "
            "truncated, restore it from its source"
        ) from None


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
        with suppress(OSError):
            temporary.unlink()


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read safetensors; a :class:`ProxymaskError` names a missing or damaged file."""
    if not path.is_file():
        raise ProxymaskError(f"{path} is missing: restore it, or give another folder")
    try:
        return load_file(path)
    except Exception as error:  # the decoder is another project's: whatever it says of a file, the file is damaged
        if is_out_of_memory(error):
            raise
        reason = printable(str(error), 200)
        raise ProxymaskError(f"{path} cannot be read as safetensors ({reason}); it is damaged or truncated: get it again") from None


def installed_file(package: str, name: str) -> Path | None:
    """The file ``name`` inside of an installed package, which is not imported; None where it is not installed, or has no such file.

    Args:
        package: its name on PyPI; a version after "==" is not looked at, because who reads the file checks its hash.
    """
    try:
        found = Path(str(distribution(package.partition("==")[0]).locate_file(name)))
    except PackageNotFoundError:
        return None
    return found if found.is_file() else None


def restore_folder(folder: Path) -> None:
    """Undo a :func:`replace_folder` that was interrupted after the old folder had been renamed and before the new one took its place."""
    folder = real_folder(folder)
    old = _aside(folder)
    if old.is_dir() and not folder.exists():
        os.replace(old, folder)


def replace_folder(new: Path, folder: Path) -> None:
    """Replace ``folder``, a bundle or an import, by ``new``, which is on the same disk.

    Files and folders in it that this package does not write there, as masks that somebody painted, are kept.
    """
    folder = real_folder(folder)
    restore_folder(folder)
    old = _aside(folder)
    _keep_others(old, folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    _keep_others(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def free_name(folder: Path, name: str) -> Path:
    """The first of NAME-1, NAME-2, ... in ``folder`` that is not there."""
    return next(path for number in itertools.count(1) if not (path := folder / f"{name}-{number}").exists())


def real_folder(folder: Path) -> Path:
    """The path of a folder without links in it, which has a name: also of ".", and of a link, whose target is then replaced."""
    return Path(os.path.realpath(folder))


def check_outside(out: Path, *folders: Path | None, flag: str = "--out") -> None:
    """A :class:`ProxymaskError` where ``out`` is in one of these folders of inputs: what is written there would be an input next time.

    In a hidden folder among them it may be: hidden folders are not read.
    """
    written = real_folder(out)
    for folder in folders:
        if folder is None or not folder.is_dir() or not written.is_relative_to(read := real_folder(folder)):
            continue
        if not any(part.startswith(".") for part in written.relative_to(read).parts):
            raise ProxymaskError(
                f"{flag} {out} is in the input folder {folder}, so that it would be an input next time: choose another {flag}"
            )


def _aside(folder: Path) -> Path:
    """Where a folder is kept while another one takes its place; hidden, so that nobody has a folder of this name."""
    return folder.with_name(f".{folder.name}.old")


def _keep_others(old: Path, folder: Path) -> None:
    """Move what others wrote into ``old`` to ``folder``."""
    for entry in list(old.iterdir()) if old.is_dir() else []:
        if entry.name not in PARTS and not (folder / entry.name).exists():
            os.replace(entry, folder / entry.name)
