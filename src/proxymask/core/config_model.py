"""``ConfigModel``: a network whose ``__init__`` arguments are its config, stored as JSON, with its weights as safetensors."""

import functools
import inspect
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from . import legacy
from .errors import ProxymaskError
from .files import check_plain, load_tensors, read_json, save_tensors, write_json
from .text import printable

FORMAT_VERSION = 1
MAX_CONFIG_BYTES = 2**20
CALLS_PER_TENSOR = 50  # functions of torch called in a constructor; a linear layer takes about 5 for its two tensors
FREE_ELEMENTS = 2**22  # that a constructor may ask for beyond four times what is stored, as for tables that are computed


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
        path = folder / "config.json"
        stored = read_json(path, MAX_CONFIG_BYTES)
        if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
            raise ProxymaskError(f"{path} holds no model config")
        check_plain(stored, path)
        if stored.get("class") != cls.__name__:
            raise ProxymaskError(f"{folder} holds a {printable(str(stored.get('class')))}, not a {cls.__name__}")
        if stored.get("format") != FORMAT_VERSION:
            raise ProxymaskError(
                f"{folder} has format {printable(str(stored.get('format')))}, this version reads {FORMAT_VERSION}: update proxymask or "
                "export it again"
            )
        config = legacy.model_config(cls.__name__, stored["config"], path)
        tensors = legacy.model_tensors(cls.__name__, load_tensors(folder / "model.safetensors"))
        return cls.from_tensors(config, tensors, str(path))

    @classmethod
    def from_tensors(cls, config: dict[str, Any], tensors: dict[str, torch.Tensor], source: str) -> Self:
        """The network of ``config`` with exactly these tensors: in eval mode, gradients off.

        What it may allocate while it is built is bounded by the number and the size of the tensors, so that a damaged or hostile config
        takes neither memory nor time.

        Args:
            config: arguments of the class.
            tensors: the state dict; values are converted to the network's types.
            source: what the config was read from, for errors.

        Raises:
            ProxymaskError: the class does not take the config, the tensors do not fit, or some of their values are not finite.
        """
        try:
            with _BoundedConstruction(tensors):
                model = cls(**config)
        except Exception as error:  # whatever an impossible value makes a constructor raise
            raise ProxymaskError(f"{source} does not fit {cls.__name__}: {printable(str(error), 200)}") from None
        expected = model.state_dict()
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        wrong = sorted(k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape)
        if missing or extra or wrong:
            shown = ", ".join(
                f"{what} {_first(names)}" for what, names in (("missing", missing), ("unknown", extra), ("wrong shape", wrong))
            )
            raise ProxymaskError(f"{source} does not fit its tensors: {shown}: it is damaged or incomplete, get it again")
        bad = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
        if bad:
            raise ProxymaskError(f"{source}: {bad[0]} has values that are not finite: it is damaged, or its training failed; get another")
        model.load_state_dict({k: v.to(expected[k].dtype) for k, v in tensors.items()})
        return model.eval().requires_grad_(False)


def _first(names: list[str]) -> str:
    """The first three of a list of names and how many there are, safe to print."""
    return printable(str(names[:3]), 300) + (f" ({len(names)} in all)" if len(names) > 3 else "")


class _BoundedConstruction(TorchFunctionMode):
    """Ends the construction of a network that calls more functions of torch, or asks for more memory, than its stored tensors allow."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.calls_left = CALLS_PER_TENSOR * (len(tensors) + 100)
        self.elements_left = 4 * sum(value.numel() for value in tensors.values()) + FREE_ELEMENTS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls_left -= 1
        if func in _FACTORIES:
            self.elements_left -= math.prod(max(side, 1) for side in _flat([*args, kwargs.get("size", 1)]) if isinstance(side, int))
        operands = [value.shape for value in _flat(args) if isinstance(value, torch.Tensor)]
        largest = math.prod(max(sides) for sides in itertools.zip_longest(*map(reversed, operands), fillvalue=1))  # of their broadcast
        joined = sum(map(math.prod, operands)) if func in (torch.cat, torch.stack) else 0
        if self.calls_left < 0 or max(largest, joined) > self.elements_left or self.elements_left < 0:
            raise ValueError("it describes a network that is larger than the stored tensors")
        return func(*args, **kwargs)


def _flat(values: Sequence[Any]) -> list[Any]:
    return [entry for value in values for entry in (value if isinstance(value, list | tuple) else [value])]


_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.arange, torch.linspace}
