"""``ConfigModel``: a module whose ``__init__`` arguments are its config, saved as JSON beside safetensors."""

import errno
import functools
import inspect
import json
import os
import shutil
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from . import legacy
from .errors import ProxymaskError

FORMAT_VERSION = 1


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a full disk or a stop leaves the old file whole."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is a :class:`ProxymaskError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProxymaskError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProxymaskError(f"{path} is not valid JSON ({error}); it may be truncated: restore it from its source") from None


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], half: bool = False) -> None:
    """Write safetensors atomically; ``half`` stores floating tensors as float16.

    Raises:
        OSError: as any writing does; safetensors' own error is turned into it.
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
    """Read safetensors; a missing or damaged file is a :class:`ProxymaskError` that names it."""
    if not path.is_file():
        raise ProxymaskError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ProxymaskError(f"{path} cannot be read as safetensors ({error}); it is damaged or truncated: get it again") from None


def replace_folder(new: Path, folder: Path) -> None:
    """Let ``new`` take the place of ``folder``, on the same disk."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


class ConfigModel(nn.Module):
    """Base of every network. Subclasses take JSON-able arguments only; they end up in ``self.config``."""

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        original = cls.__init__
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(self: Any, *args: Any, **kw: Any) -> None:
            if type(self) is cls:  # a subclass' own wrapper records the outermost call only
                bound = signature.bind(self, *args, **kw)
                bound.apply_defaults()
                config = {k: v for k, v in bound.arguments.items() if k != "self"}
                object.__setattr__(self, "config", json.loads(json.dumps(config)))
            original(self, *args, **kw)

        cls.__init__ = wrapped  # type: ignore[method-assign]

    def save_pretrained(self, folder: str | Path, half: bool = False) -> Path:
        """Write ``config.json`` and ``model.safetensors`` to ``folder`` (float16 where ``half``)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / "model.safetensors", self.state_dict(), half=half)
        write_json(folder / "config.json", {"class": type(self).__name__, "format": FORMAT_VERSION, "config": self.config})
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what :meth:`save_pretrained` wrote: float32, in eval mode, gradients off.

        Raises:
            ProxymaskError: files missing, damaged, of another class or format, or tensors that do not fit.
        """
        folder = Path(folder)
        stored = read_json(folder / "config.json")
        if not isinstance(stored, dict) or "config" not in stored:
            raise ProxymaskError(f"{folder / 'config.json'} holds no model config")
        if stored.get("class") != cls.__name__:
            raise ProxymaskError(f"{folder} holds a {stored.get('class')}, not a {cls.__name__}")
        if stored.get("format") != FORMAT_VERSION:
            raise ProxymaskError(
                f"{folder} has format {stored.get('format')}, this version reads {FORMAT_VERSION}: update proxymask or export it again"
            )
        config = legacy.model_config(cls.__name__, stored["config"], folder / "config.json")
        try:
            model = cls(**config)
        except (TypeError, ValueError) as error:
            raise ProxymaskError(f"{folder / 'config.json'} does not fit {cls.__name__}: {error}") from None
        tensors = legacy.model_tensors(cls.__name__, load_tensors(folder / "model.safetensors"))
        expected = model.state_dict()
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        wrong = [k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape]
        if missing or extra or wrong:
            raise ProxymaskError(
                f"{folder / 'model.safetensors'} does not fit its config.json: missing {missing[:3]}, unknown {extra[:3]}, "
                f"wrong shape {wrong[:3]}"
            )
        model.load_state_dict({k: v.to(expected[k].dtype) for k, v in tensors.items()})
        return model.eval().requires_grad_(False)
