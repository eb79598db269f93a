"""``ConfigModel``: a network whose ``__init__`` arguments are its config, stored as JSON, with its weights as safetensors."""

import functools
import inspect
import json
from pathlib import Path
from typing import Any, Self

from torch import nn

from . import legacy
from .errors import ProxymaskError
from .files import load_tensors, read_json, save_tensors, write_json

FORMAT_VERSION = 1


class ConfigModel(nn.Module):
    """Base class of every network. The arguments of a subclass must be JSON values; they are kept in ``self.config``."""

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        original = cls.__init__
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(self: Any, *args: Any, **kw: Any) -> None:
            if type(self) is cls:  # record the arguments of the outermost class only
                bound = signature.bind(self, *args, **kw)
                bound.apply_defaults()
                config = {k: v for k, v in bound.arguments.items() if k != "self"}
                object.__setattr__(self, "config", json.loads(json.dumps(config)))
            original(self, *args, **kw)

        cls.__init__ = wrapped  # type: ignore[method-assign]

    def save_pretrained(self, folder: str | Path, half: bool = False) -> Path:
        """Write ``config.json`` and ``model.safetensors`` to ``folder``; floating tensors as float16 if ``half``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / "model.safetensors", self.state_dict(), half=half)
        write_json(folder / "config.json", {"class": type(self).__name__, "format": FORMAT_VERSION, "config": self.config})
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a network that :meth:`save_pretrained` wrote: float32, on the CPU, in eval mode, gradients off.

        Raises:
            ProxymaskError: missing or damaged files, another class or format, tensors that do not fit the config.
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
