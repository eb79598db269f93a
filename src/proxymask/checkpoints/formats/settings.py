"""Settings out of a file, checked before they are compared, printed or used: numbers and short words, nothing else.

A file can hold anything in the place of a setting, for example nested tuples that share their parts, of which a comparison or a printout
never ends.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.errors import ProxymaskError
from ..safe_pickle.inert import Global, InertObject
from ..safe_pickle.messages import printable

Setting = None | bool | int | float | str
MAX_NUMBER = 2**31
MAX_WORD = 100  # characters


def check_setting(value: Any, name: str) -> Setting:
    """``value`` as None, a finite number of at most 2^31, or a word of at most 100 printable characters.

    Raises:
        ProxymaskError: it is anything else; the message calls it ``name``.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        if isinstance(value, str) and len(value) <= MAX_WORD and printable(value, MAX_WORD) == value:
            return value
        if not isinstance(value, str) and (value is None or abs(value) <= MAX_NUMBER):  # NaN is not
            return value
    raise ProxymaskError(f"it says that its {printable(name)} is {describe_value(value)}, wanted a number or a word: the file is damaged")


def as_number(value: Any, name: str) -> float:
    """A positive, finite number; a :class:`ProxymaskError` for anything else."""
    found = check_setting(value, name)
    if isinstance(found, bool | str) or found is None or not math.isfinite(found) or found <= 0:
        raise ProxymaskError(f"it says that its {name} is {describe_value(value)}, wanted a number above 0")
    return float(found)


def as_count(value: Any, name: str, least: int = 0) -> int:
    """A whole number of at least ``least``; a :class:`ProxymaskError` for anything else."""
    found = check_setting(value, name)
    if isinstance(found, bool | str) or found is None or found != int(found) or found < least:
        raise ProxymaskError(f"it says that its {name} is {describe_value(value)}, wanted a whole number, {least} or more")
    return int(found)


def describe_value(value: Any) -> str:
    """A few words on something out of a file: a number or a word itself, what it would call or make, else the name of its class."""
    if type(value) in (bool, float) or (type(value) is int and abs(value) <= MAX_NUMBER) or value is None:
        return str(value)
    if type(value) is str:
        return repr(printable(value))
    if isinstance(value, Global | InertObject):
        return f"a call of {value.qualified} (never run)"
    name = getattr(value, "class_name", None) or getattr(value, "name", None)
    return f"a {printable(name if isinstance(name, str) and name else type(value).__name__)}"


def words(settings: Mapping[Any, Any], name: str) -> str:
    """The setting ``name`` as a word, "" where there is none or it is no word."""
    value = settings.get(name)
    return printable(value) if isinstance(value, str) else ""
