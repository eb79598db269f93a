"""Mistakes in a command line as one line: an unknown flag, a value that cannot be read, something that is missing."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tyro

from ..core.checks import either, nearest
from ..core.errors import COMMAND, FLAG, ProxymaskError
from ..core.text import without_controls

WANTED = {int: "a whole number", float: "a number", bool: "True or False"}


def flags_of(verb: type) -> dict[str, Any]:
    """The fields of a verb's dataclass that are flags, with their types; those of nested dataclasses too."""
    found: dict[str, Any] = {}
    hints, extras = typing.get_type_hints(verb), typing.get_type_hints(verb, include_extras=True)
    for field in dataclasses.fields(verb):
        if dataclasses.is_dataclass(hints[field.name]):
            found |= flags_of(hints[field.name])
        elif tyro.conf.Positional not in getattr(extras[field.name], "__metadata__", ()):
            found["no_" * (field.default is True) + field.name] = hints[field.name]
    return found


def without_other_flags(message: str, flags: Sequence[str]) -> str:
    """``message`` with flags that a verb does not have as plain words: in ``fit`` the flags of ``train`` are settings of a preset.

    Flags of whole commands stay.
    """
    parts = COMMAND.split(message)
    return "".join(part if COMMAND.fullmatch(part) else FLAG.sub(lambda found: _known(found, flags), part) for part in parts)


def _known(found: re.Match[str], flags: Sequence[str]) -> str:
    name = f"--{found['name']}"
    return found[0] if name in flags or f"--no-{found['name']}" in flags else found[0].replace(name, found["name"].replace("-", "_"))


def check_words(words: Sequence[str]) -> None:
    """A :class:`ProxymaskError` for an empty argument, as an unset variable of a shell makes."""
    for before, word in zip(("", *words), words, strict=False):
        if not word:
            what = f"the value of {before}" if before.startswith("--") else "an argument"
            raise ProxymaskError(f"{what} is empty: give one, or leave it out")
        if word.startswith("--") and word.endswith("="):
            raise ProxymaskError(f"the value of {word[:-1]} is empty: give one, or leave it out")


@contextmanager
def plain_mistakes(program: str, words: Sequence[str], flags: Sequence[str]) -> Iterator[None]:
    """While the body lets tyro read ``words``, what it refuses is raised as a :class:`ProxymaskError` instead of printed as a box.

    Args:
        program: the words that name the verb.
        words: its arguments.
        flags: all flags of the verb.
    """
    try:
        from tyro import _errors as events
    except ImportError:  # a version of tyro without these events prints its own text
        yield
        return
    if not hasattr(events, "on_parse_error"):
        yield
        return

    def say(event: Any) -> None:
        text = _text(event, words, flags)
        if text is not None:
            raise ProxymaskError(f"{text} ({program} --help lists all flags)")

    with events.on_parse_error(say):
        yield


def _text(event: Any, words: Sequence[str], flags: Sequence[str]) -> str | None:
    """What is wrong; None for a kind of mistake that is not known here."""
    kind = type(event).__name__
    if kind == "UnrecognizedArgs":
        return _unknown(event.tokens, words, flags)
    if kind == "MissingArgs":
        if event.unrecognized_tokens:
            return _unknown(event.unrecognized_tokens, words, flags)
        names = [_name(found.arg) for found in event.missing_arguments]
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing: give {'it' if len(names) == 1 else 'them'}"
    if kind == "InvalidChoice":
        choices = [choice for choice in event.choices if choice != "None"]
        return f"{_name(event.argument)} {_quoted([event.value])}: unknown; use {either(choices)}{nearest(event.value, choices)}"
    if kind == "BadValue":
        return f"{_name(event.argument)} needs a value"
    if kind == "InstantiationFailure" and event.argument is not None:
        name = _name(event.argument)
        values = _values(name, words)
        wanted = _wanted(event.argument.field.type)
        if not values and name.startswith("--"):
            return f"{name} needs a value{': ' + wanted if wanted else ''}"
        return f"{name} must be {wanted}, not {_quoted(values)}" if wanted and values else f"{name}: {event.message}"
    return None


def _unknown(tokens: Sequence[str], words: Sequence[str], flags: Sequence[str]) -> str:
    """The first flag that does not exist, else the first word that belongs to no flag."""
    named = [token for token in tokens if token.startswith("--")]
    if not named:
        before = words[words.index(tokens[0]) - 1] if tokens[0] in words[1:] else ""
        if before.startswith("--") and "=" not in before:
            return f"{before} takes no value, so {_quoted(tokens[:1])} belongs to no flag: put its own flag before it, or leave it out"
        return f"{_quoted(tokens[:1])} belongs to no flag: leave it out, or put the flag before it; quote names with spaces"
    flag = named[0].partition("=")[0]
    return f"there is no flag {without_controls(flag, 60)}{nearest(flag, flags)}"


def _name(argument: Any) -> str:
    """The flag of an argument of tyro's, or the name of one without flag."""
    names = [str(name) for name in argument.lowered.name_or_flags]
    long = [name for name in names if name.startswith("--")]
    return long[0] if long else str(argument.lowered.metavar or names[0])


def _values(name: str, words: Sequence[str]) -> list[str]:
    """The words that follow a flag, up to the next one."""
    found: list[str] = []
    inside = False
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            inside = flag.replace("_", "-") == name
            found = ([value] if equals else []) if inside else found
        elif inside:
            found.append(word)
    return found


def _wanted(hint: Any) -> str:
    """What a value of a type is, in words; empty for types that take any text."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _wanted(inner[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (tuple, list) or getattr(origin, "__name__", "") == "Sequence":
        one = _wanted(inner[0])
        return one.replace("a whole number", "whole numbers").replace("a number", "numbers").replace("one of", "some of")
    if inner:
        return next((text for text in map(_wanted, inner) if text), "")
    return WANTED.get(hint, "")


def _quoted(values: Sequence[str]) -> str:
    return " ".join(repr(without_controls(value, 60)) for value in values)
