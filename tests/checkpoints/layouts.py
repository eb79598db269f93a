"""Writes checkpoints in the exact layout of other projects, without a line of their code.

Pickle stores a class as the name of its module and its own; so a class made here, under the right names and with the same ``__reduce__``
results, leaves the same bytes. The classes are put into ``sys.modules`` while a file is being written and taken out again after.
"""

import argparse
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

# What the module text in a published pickle begins with, in form: a notice in comments, then code that must never run.
NVIDIA_SOURCE = """# Copyright (c) 2021, SOME CORPORATION.  All rights reserved.
#
# SOME CORPORATION and its licensors retain all intellectual property
# and proprietary rights in and to this software.

raise SystemExit("the source code of a checkpoint was run")
"""


@contextmanager
def modules(**classes: Any) -> Iterator[None]:
    """Put objects where pickle looks for them: ``modules(**{"dnnlib.util.EasyDict": EasyDict})``."""
    saved = {}
    for path, value in classes.items():
        parts = path.split(".")
        for i in range(1, len(parts)):
            name = ".".join(parts[:i])
            if name not in saved:
                saved[name] = sys.modules.get(name)
                if saved[name] is None or "." in name:
                    sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[".".join(parts[:-1])], parts[-1], value)
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class EasyDict(dict):
    """Pickled as ``dnnlib.util.EasyDict``, a dict subclass."""


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("only its name is written")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class Network:
    """A network as NVIDIA's persistence wrapper pickles it: a record with source code, class name and the module's ``__dict__``.

    Args:
        class_name: as in the source code, ``Generator``.
        init_kwargs: what it was made with.
        parameters: own parameters by name, tensors.
        buffers: own buffers by name, tensors.
        modules: networks inside, by name.
        attributes: further entries of ``__dict__``, as ``img_resolution``.
        init_args: positional arguments.
        source: of the module.
    """

    def __init__(
        self,
        class_name: str,
        init_kwargs: Mapping[str, Any] | None = None,
        parameters: Mapping[str, torch.Tensor] | None = None,
        buffers: Mapping[str, torch.Tensor] | None = None,
        modules: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        init_args: tuple[Any, ...] = (),
        source: str = NVIDIA_SOURCE,
    ) -> None:
        self.class_name, self.source = class_name, source
        self.state = {
            "training": True,
            "_parameters": OrderedDict((k, torch.nn.Parameter(v, v.is_floating_point())) for k, v in (parameters or {}).items()),
            "_buffers": OrderedDict(buffers or {}),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_is_full_backward_hook": None,
            "_forward_hooks": OrderedDict(),
            "_forward_pre_hooks": OrderedDict(),
            "_state_dict_hooks": OrderedDict(),
            "_load_state_dict_pre_hooks": OrderedDict(),
            "_modules": OrderedDict(modules or {}),
            **(attributes or {}),
            "_init_args": init_args,
            "_init_kwargs": EasyDict(init_kwargs or {}),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": self.class_name, "state": self.state}
        return _reconstruct_persistent_obj, (meta,), None


def network(
    class_name: str,
    tensors: Mapping[str, torch.Tensor],
    init_kwargs: Mapping[str, Any] | None = None,
    buffers: frozenset[str] | set[str] = frozenset({"resample_filter", "noise_const", "w_avg"}),
    classes: Mapping[str, str] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    init: Mapping[str, tuple[tuple[Any, ...], Mapping[str, Any]]] | None = None,
    source: str = NVIDIA_SOURCE,
) -> Network:
    """A tree of networks out of a flat state dict.

    Args:
        class_name: of the root.
        tensors: dotted name -> tensor.
        init_kwargs: of the root.
        buffers: last parts of names that are buffers; all others are parameters.
        classes: dotted module name -> its class; ``Module`` where not given.
        attributes: dotted module name ("" for the root) -> further entries of its ``__dict__``.
        init: dotted module name -> its positional and keyword arguments.
        source: of the module that all classes are from.
    """
    inner: dict[str, dict[str, torch.Tensor]] = {}
    own: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
        else:
            own[name] = value

    def below(mapping: Mapping[str, Any] | None, head: str) -> dict[str, Any]:
        found = {}
        for key, value in (mapping or {}).items():
            if key == head:
                found[""] = value
            elif key.startswith(head + "."):
                found[key[len(head) + 1 :]] = value
        return found

    children = {}
    for head, values in inner.items():
        args, kwargs = (init or {}).get(head, ((), {}))
        child = network(
            (classes or {}).get(head, "Module"),
            values,
            kwargs,
            buffers,
            below(classes, head),
            below(attributes, head),
            below(init, head),
            source,
        )
        child.state["_init_args"] = args
        children[head] = child
    return Network(
        class_name,
        init_kwargs,
        {k: v for k, v in own.items() if k not in buffers},
        {k: v for k, v in own.items() if k in buffers},
        children,
        (attributes or {}).get("", {}),
        source=source,
    )


def write_nvidia(path: Path, contents: Mapping[str, Any], protocol: int = 4) -> Path:
    """Write a snapshot of stylegan2-ada-pytorch or of the stylegan3 repository (``network-snapshot-*.pkl``).

    Args:
        contents: as ``{"G": Network, "D": Network, "G_ema": Network, "augment_pipe": Network, "training_set_kwargs": {...}}``;
            mappings inside are written as EasyDicts.
        protocol: 3 in the published files, 4 from Python 3.8 on.
    """
    ready = {key: EasyDict(value) if isinstance(value, Mapping) else value for key, value in contents.items()}
    with (
        modules(**{"torch_utils.persistence._reconstruct_persistent_obj": _reconstruct_persistent_obj, "dnnlib.util.EasyDict": EasyDict}),
        path.open("wb") as opened,
    ):
        pickle.dump(ready, opened, protocol)
    return path


class TfNetwork:
    """A network as NVIDIA's TensorFlow code pickles it; see :func:`write_tf`.

    Args:
        build_func_name: as ``G_main``.
        static_kwargs: what the build function was called with.
        variables: name -> array, of this network's own.
        components: networks inside, by name.
        name: of the network.
        version: of the layout, 4 for StyleGAN2.
        source: of the module with the build function.
    """

    def __init__(
        self,
        build_func_name: str,
        static_kwargs: Mapping[str, Any],
        variables: Mapping[str, np.ndarray[Any, Any]],
        components: Mapping[str, "TfNetwork"] | None = None,
        name: str | None = None,
        version: int = 4,
        source: str = NVIDIA_SOURCE,
    ) -> None:
        self.state = {
            "version": version,
            "name": name or build_func_name,
            "static_kwargs": dict(static_kwargs),
            "components": dict(components or {}),
            "build_module_src": source,
            "build_func_name": build_func_name,
            "variables": list(variables.items()),
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.state


TfNetwork.__module__, TfNetwork.__qualname__, TfNetwork.__name__ = "dnnlib.tflib.network", "Network", "Network"


def write_tf(path: Path, networks: Any, protocol: int = 4) -> Path:
    """Write a TensorFlow StyleGAN2 pickle: the tuple ``(G, D, Gs)`` of :class:`TfNetwork`, or one alone.

    numpy 2 calls its own modules by new names; in the file they get the names of the numpy of that time.
    """
    with (
        modules(
            **{
                "dnnlib.tflib.network.Network": TfNetwork,
                "dnnlib.util.EasyDict": EasyDict,
                "numpy.core.multiarray._reconstruct": _reconstruct,
                "numpy.core.multiarray.scalar": scalar,
            }
        ),
        path.open("wb") as opened,
    ):
        _OldNumpy(opened, protocol).dump(networks)
    return path


def _reconstruct(*args: Any) -> Any:
    raise AssertionError("only its name is written")


def scalar(*args: Any) -> Any:
    raise AssertionError("only its name is written")


_reconstruct.__module__ = scalar.__module__ = "numpy.core.multiarray"


class _OldNumpy(pickle.Pickler):
    """Names numpy's functions as numpy 1 did."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return _reconstruct, *value.__reduce__()[1:]
        if isinstance(value, np.generic):
            return scalar, *value.__reduce__()[1:]
        return NotImplemented


def write_torch(path: Path, contents: Mapping[str, Any], legacy: bool = False, args: Mapping[str, Any] | None = None) -> Path:
    """Write a ``.pt`` as rosinality's and others' training scripts do.

    Args:
        contents: as ``{"g": state dict, "d": ..., "g_ema": ..., "g_optim": ..., "latent_avg": tensor}``.
        legacy: the stream of PyTorch before 1.6 instead of the zip.
        args: become an ``argparse.Namespace`` under the name ``args``.
    """
    everything = dict(contents) if args is None else {**contents, "args": argparse.Namespace(**args)}
    torch.save(everything, path, _use_new_zipfile_serialization=not legacy)
    return path
