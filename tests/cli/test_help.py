"""Help texts: plain words, examples that today's parser takes, and hints that can be pasted."""

import re
import shlex
from collections.abc import Iterator

import pytest

from proxymask.cli import EXAMPLES, SECTIONS, Group, Tree, Verb, find_verb, main, parse
from proxymask.cli.hints import command_line


def verbs(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, entry in tree.items():
        if isinstance(entry, Group):
            yield from verbs(entry.children(), (*path, name))
        else:
            yield (*path, name)


VERBS = [path for section in SECTIONS.values() for path in verbs(section)]


def documentation(path: tuple[str, ...]) -> str:
    _, _, verb = find_verb(path)
    assert isinstance(verb, Verb)
    return verb.load().__doc__


def check_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command)
    if program == "torchrun":
        words = words[words.index("proxymask") + 1 :]
    path, rest, verb = find_verb(words)
    assert isinstance(verb, Verb), command
    try:
        parse(verb, path, rest)
    except SystemExit:
        pytest.fail(f"{command}\n{capsys.readouterr().err}")
    assert capsys.readouterr().err == "", command  # no flag of an earlier version


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_the_examples_parse(path, capsys):
    _, _, examples = documentation(path).partition("Examples:\n")
    commands = re.sub(r"\\?\n\s{8,}", " ", examples)  # continued lines
    lines = [line.strip() for line in commands.splitlines() if line.strip()]
    assert any(line.startswith(f"proxymask {' '.join(path)}") for line in lines)
    for line in lines:
        check_parses(line, capsys)


def test_the_examples_of_the_overview_parse(capsys):
    for command in EXAMPLES:
        check_parses(command, capsys)


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_help_is_in_plain_words(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert not re.findall(r"\b(?:asked|asks|told|tells|looks|beside)\b", shown)
    first = documentation(path).strip().splitlines()[0]
    assert first.endswith("."), "the first line is one sentence"


def test_hints_can_be_pasted():
    words = ("fit", "--images", "my photos/it's here", "--out", "my-bundle")
    assert shlex.split(command_line(*words))[-len(words) :] == list(words)
