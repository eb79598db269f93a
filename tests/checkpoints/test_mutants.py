"""A thousand valid containers with a few values replaced: each is opened and used, or refused in one line, soon and within memory."""

import collections
from pathlib import Path

import mutants
import pytest

SECONDS = 120  # for all of them; they take 20 on one core that has nothing else to do


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[mutants.Outcome]:
    return list(mutants.outcomes(1000, 0, tmp_path_factory.mktemp("mutants")))


def test_each_is_read_or_refused_in_one_line(outcomes: list[mutants.Outcome]) -> None:
    """Time, memory and messages are checked where each is opened."""
    assert len(outcomes) == 1000
    assert sum(outcome.seconds for outcome in outcomes) < SECONDS


def test_they_are_neither_all_refused_nor_all_read(outcomes: list[mutants.Outcome]) -> None:
    """Or the test above would say nothing."""
    for base in mutants.bases():
        read = collections.Counter(not outcome.refused for outcome in outcomes if outcome.what.startswith(f"{base} "))
        assert read[True] > 5, base
        assert read[False] > 20, base


def test_the_untouched_containers_are_read(tmp_path: Path) -> None:
    for name, (contents, write) in mutants.bases().items():
        write(tmp_path / name, contents)
        mutants.use(tmp_path / name)
