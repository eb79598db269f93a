"""Checks of what a user can give, before anything is loaded or computed: types, ranges, choices.

The range of a number is declared with its type, ``steps: Annotated[int, Range(1)] = 1000``. Configs and the verbs of the command line are
:class:`Checked` when they are made; functions for users are decorated with :func:`checked`.
"""

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union

from .errors import ARGUMENTS, ProxymaskError
from .text import printable, without_controls

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["", "odd", "even", "multiple of 4", "multiple of 8", "power of two"]
_KINDS: Mapping[Kind, Callable[[int], bool]] = {
    "": lambda value: True,
    "odd": lambda value: value % 2 == 1,
    "even": lambda value: value % 2 == 0,
    "multiple of 4": lambda value: value % 4 == 0,
    "multiple of 8": lambda value: value % 8 == 0,
    "power of two": lambda value: value & (value - 1) == 0,
}
_NOUNS = {"ndarray": "an array", "Tensor": "a tensor", "Image": "a PIL image"}
LONGEST_PATH, LONGEST_NAME = 4095, 255  # bytes, of Linux; the other systems' bounds are near
MOST = 10**9
"""Largest number where a range names none: more than any size, count or weight with a meaning."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that are allowed; of a list, each of its entries. NaN and infinity never are."""

    least: float = -math.inf
    most: float = MOST
    above: bool = False
    """``least`` itself is not allowed."""
    below: bool = False
    """``most`` itself is not allowed."""
    kind: Kind = ""
    """Whole numbers only of this kind."""
    filled: bool = False
    """A list must not be empty."""

    def holds(self, value: float) -> bool:
        """Whether ``value`` is allowed."""
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return math.isfinite(value) and low and high and (not self.kind or _KINDS[self.kind](int(value)))

    def text(self, whole: bool) -> str:
        """What is allowed, in words: ``a whole number, 1 or more``."""
        noun = "a whole number" if whole else "a number"
        if self.kind:
            noun = f"an {self.kind} number" if self.kind in ("odd", "even") else f"a {self.kind}"
        least, most = ("" if math.isinf(bound) else _bound(bound) for bound in (self.least, self.most))
        low = f"above {least}" if self.above else f"{least} or more"
        if self.most in (MOST, math.inf):
            return noun if self.least == -math.inf else f"{noun}, {low}"
        if self.above or self.below:
            return f"{noun}, {low} and {'below' if self.below else 'at most'} {most}"
        return f"{noun}, {least} to {most}"


ANY = Range(most=math.inf)
"""Of a number without a range: all that are finite."""

Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(-(2**63), 2**64 - 1)]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0)]
Rate = Annotated[float, Range(0, 1e6, above=True)]
"""A learning rate."""
Steps = Annotated[int, Range(1, 10**8)]
BatchSize = Annotated[int, Range(1, 2**16)]
Width = Annotated[int, Range(1, 2**16)]
"""Channels of a network."""
Channels = Annotated[int, Range(0, 2**16)]
"""Channels of a network, where 0 has a meaning of its own."""
Side = Annotated[int, Range(1, 2**16)]
"""Pixels or positions."""
Truncation = Annotated[float, Range(-100, 100)]
ClassNumber = Annotated[int, Range(0, 10**6)]


def check_value(name: str, value: Any, hint: Any) -> Any:
    """``value`` if it is what the type ``hint`` says; text where a path is wanted as a path, a list where a tuple is wanted as a tuple.

    Types that are no plain values (arrays, networks, functions) are not checked.

    Args:
        name: of the field or argument; the message shows it as a flag.
        hint: a type; ``Annotated`` with a :class:`Range` bounds the numbers in it.

    Raises:
        ProxymaskError: another type, a number out of its range, a name that is not among the choices.
    """
    return _check(name, value, hint, None)


class Checked:
    """Base of a frozen dataclass whose fields are checked by their types when it is made (:func:`check_value`).

    Raises:
        ProxymaskError: as :func:`check_value`.
    """

    def __post_init__(self) -> None:
        """Check every field."""
        for name, hint in _hints(typing.cast(Any, type(self))).items():
            given = getattr(self, name)
            value = check_value(name, given, hint)
            if value is not given:
                object.__setattr__(self, name, value)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` with its arguments checked by their types first (:func:`check_value`); one that does not exist is refused in words.

    Raises:
        ProxymaskError: also for unknown, missing and too many arguments.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ProxymaskError(_misfit(function, signature, kwargs, error)) from None
        hints = _hints(function)
        for name, value in given.items():
            if name in hints and value is not signature.parameters[name].default:
                check_value(name, value, hints[name])
        return function(*args, **kwargs)

    wrapper.__checked__ = True  # type: ignore[attr-defined]
    return wrapper


def nearest(name: str, names: Iterable[str]) -> str:
    """``; did you mean NAME?``, or nothing where no name is near. Case does not count."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""


def either(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def flag(name: str) -> str:
    """The flag of a field or argument."""
    plain = {argument: flag for flag, argument in ARGUMENTS.items()}.get(name, name)
    return "--" + plain.replace("_", "-")


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, or of a function's arguments, with their ranges."""
    hints = typing.get_type_hints(owner, include_extras=True)
    names = {field.name for field in dataclasses.fields(owner)} if isinstance(owner, type) else hints.keys() - {"return"}
    return {name: hint for name, hint in hints.items() if name in names}


def _check(name: str, value: Any, hint: Any, limits: Range | None) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        found = [entry for entry in inner[1:] if isinstance(entry, Range)]
        return _check(name, value, inner[0], found[0] if found else limits)
    if origin in (Union, types.UnionType):
        return _check_union(name, value, inner, limits)
    if origin is Literal:
        return _check_choice(name, value, inner)
    if hint is bool:
        return bool(value) if type(value).__name__ in ("bool", "bool_") else _refuse(name, value, "True or False")
    if hint in (int, float):
        return _check_number(name, value, hint is int, limits or ANY)
    if hint is str:
        return _check_text(name, value) if isinstance(value, str) else _refuse(name, value, "text")
    if hint is Path:
        return _check_path(name, value)
    if origin in (tuple, list, Sequence) and _plain(inner[0]):
        return _check_list(name, value, origin, inner[0], limits)
    if _is_class(hint) and not isinstance(value, hint):
        return _refuse(name, value, _text(hint, limits))
    return value


def _check_union(name: str, value: Any, members: Sequence[Any], limits: Range | None) -> Any:
    """One of several types; unions with types that are not checked (lists of arrays, ...) are left alone."""
    if value is None and type(None) in members:
        return None
    rest = [member for member in members if member is not type(None)]
    if len(rest) == 1:
        return _check(name, value, rest[0], limits)
    if Path in rest and isinstance(value, str | os.PathLike):
        _check_path(name, value)
        return value
    classes = [member for member in rest if _is_class(member)]
    if len(classes) + len([*filter(_plain, rest)]) < len(rest) or (classes and Path in rest):  # readers of inputs say it better
        return value
    if isinstance(value, tuple(classes)):
        return value
    for member in filter(_plain, rest):
        try:
            return _check(name, value, member, limits)
        except ProxymaskError:
            continue
    shown = [member for member in rest if not (member is str and Path in rest)]
    return _refuse(name, value, either(list(dict.fromkeys(_text(member, limits) for member in shown))))


def _text(hint: Any, limits: Range | None) -> str:
    """What values of a type are, in words."""
    if typing.get_origin(hint) is Annotated:
        return _text(typing.get_args(hint)[0], next((entry for entry in typing.get_args(hint)[1:] if isinstance(entry, Range)), limits))
    if typing.get_origin(hint) is Literal:
        return either(list(map(str, typing.get_args(hint))))
    if hint in (int, float):
        return (limits or ANY).text(hint is int)
    return {bool: "True or False", str: "text", Path: "a path"}.get(hint) or _NOUNS.get(hint.__name__) or f"a {hint.__name__}"


def _plain(hint: Any) -> bool:
    """Whether values of this type are checked."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _plain(inner[0])
    if origin in (Union, types.UnionType):
        return all(map(_plain, inner))
    return origin is Literal or hint in (bool, int, float, str, Path, type(None))


def _is_class(hint: Any) -> bool:
    """Whether a type is a class whose instances are recognised, and not one of the plain values."""
    return isinstance(hint, type) and not _plain(hint) and not getattr(hint, "_is_protocol", False) and hint is not object


def _check_number(name: str, value: Any, whole: bool, limits: Range) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real) or not _holds(limits, value):
        return _refuse(name, value, limits.text(whole))
    return value


def _holds(limits: Range, value: Any) -> bool:
    try:
        return limits.holds(value)
    except OverflowError:  # a whole number beyond all floats
        return limits is ANY


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        names = [str(choice) for choice in choices]
        raise ProxymaskError(f"{flag(name)} {_got(value)}: unknown; use {either(names)}{nearest(str(value), names)}")
    return value


def _check_text(name: str, value: str) -> str:
    if "\0" in value:
        raise ProxymaskError(f"{flag(name)} must not hold a NUL character")
    return value


def _check_path(name: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        return _refuse(name, value, "a path")
    text = os.fspath(value)
    if isinstance(text, bytes):
        return _refuse(name, value, "a path as text")
    _check_text(name, text)
    if len(os.fsencode(text)) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(text).parts):
        raise ProxymaskError(f"{flag(name)} is a name of {len(text):,} characters, too long for a file: {without_controls(text, 40)}...")
    return value if isinstance(value, Path) else Path(value)


def _check_list(name: str, value: Any, kind: Any, entry: Any, limits: Range | None) -> Any:
    if getattr(value, "ndim", 0) == 1:  # an array or a tensor
        _check_list(name, value.tolist(), kind, entry, limits)
        return value
    if not isinstance(value, list | tuple | range):
        return _refuse(name, value, "a list")
    if not value and limits is not None and limits.filled:
        raise ProxymaskError(f"{flag(name)} is empty: give at least one")
    found = [_check(name, one, entry, limits) for one in value]
    return tuple(found) if kind is tuple and not isinstance(value, tuple) else value


def _refuse(name: str, value: Any, wanted: str) -> Any:
    raise ProxymaskError(f"{flag(name)} must be {wanted}, not {_got(value)}")


def _got(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, str):
        return repr(without_controls(value, 60))
    if isinstance(value, numbers.Real | list | tuple | type(None)):
        return printable(str(value) if not isinstance(value, int) or abs(value) < 10**60 else "a number of more than 60 digits", 60)
    return f"a {type(value).__name__}"


def _bound(number: float) -> str:
    """A bound for people: 0.5, 65,536, 2^64 - 1."""
    if abs(number) >= 2**63 - 1:
        return f"{'-' if number < 0 else ''}2^{math.ceil(math.log2(abs(number)))}" + (" - 1" if int(number) % 2 else "")
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


def _misfit(function: Callable[..., Any], signature: inspect.Signature, given: Mapping[str, Any], error: TypeError) -> str:
    """Why the arguments of a call do not fit a function."""
    name = function.__qualname__.removesuffix(".__call__")
    parameters = [one for one in signature.parameters if one not in ("self", "cls")]
    unknown = [one for one in given if one not in parameters]
    if unknown:
        return f"{name} has no argument {unknown[0]}{nearest(unknown[0], parameters) or '; it has: ' + ', '.join(parameters)}"
    return f"{name}: {error}; its arguments are: {', '.join(parameters)}"
