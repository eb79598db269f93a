"""Stands in for Python's own classes and for ``copyreg``: containers, bytes, complex numbers, new objects."""

from collections import OrderedDict
from typing import Any

from .context import PickleContext
from .inert import Buffer, Global
from .known_names import CONTAINERS

_ITEMS = (list, tuple, set, dict, OrderedDict, frozenset)


def container(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``dict(pairs)``, ``OrderedDict(pairs)``, ``set(items)`` and so on, of what is already a container."""
    make = CONTAINERS[called.module, called.name]
    if called.name == "defaultdict":  # its first argument is a factory, which is never called
        args = args[1:]
    if len(args) > 1:
        return context.inert(called, args)
    if not args:
        return make()
    items = args[0]
    if type(items) not in _ITEMS:
        return context.inert(called, args)
    context.budget.charge_steps(len(items))
    if issubclass(make, dict):
        if isinstance(items, dict):
            return make(items)
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in items):
            return context.inert(called, args)
        return make((context.hashable(key), value) for key, value in items)
    if issubclass(make, set | frozenset):
        return make(context.hashable(item) for item in items)
    return list(items) if make is list else tuple(items)


def byte_string(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``bytes(b)``, ``bytearray(b)`` and, for bytes in old protocols, ``_codecs.encode(text, "latin1")``."""
    if not args and called.name != "encode":
        return b""
    if args and isinstance(args[0], Buffer) and len(args) == 1 and called.name != "encode":
        return args[0]
    if len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"):
        context.budget.charge_bytes(len(args[0]))
        return args[0].encode("latin-1")
    return context.inert(called, args)


def complex_number(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``complex(real, imaginary)``."""
    if len(args) == 2 and all(type(part) in (int, float) for part in args):
        return complex(float(args[0]), float(args[1]))
    return context.inert(called, args)


def new_object(context: PickleContext, cls: Any, args: Any, keywords: Any = None) -> Any:
    """``cls(*args, **keywords)``, as NEWOBJ, NEWOBJ_EX, INST and OBJ ask for: a container, or an inert object."""
    if type(args) is not tuple or not (keywords is None or type(keywords) is dict):
        raise context.damaged("an object has no tuple of arguments")
    if isinstance(cls, Global) and not keywords and (cls.module, cls.name) in CONTAINERS:
        return container(context, cls, args)
    return context.inert(cls, (*args, keywords) if keywords else args)


def copyreg_object(context: PickleContext, called: Global, args: tuple[Any, ...]) -> Any:
    """``copyreg._reconstructor(cls, object, None)``, ``copyreg.__newobj__(cls, *args)``, ``copyreg.__newobj_ex__(cls, args, kwargs)``."""
    if called.name == "_reconstructor":
        if len(args) != 3 or not isinstance(args[0], Global):
            return context.inert(called, args)
        if args[2] is not None:  # a subclass of a plain type, with its value
            return new_object(context, args[0], (args[2],))
        return new_object(context, args[0], ())
    if called.name == "__newobj_ex__":
        return new_object(context, *args) if len(args) == 3 else context.inert(called, args)
    return new_object(context, args[0], args[1:]) if args else context.inert(called, args)
