"""Flags of 0.1.0: renamed ones are read with a note, those of removed features are refused by name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from proxymask.cli import Verb, find_verb, main, parse
from proxymask.cli.old_flags import STAGES, current_flags, removed_flags, renamed_flags
from proxymask.core.errors import ProxymaskError
from proxymask.core.legacy import LAST_VERSION

REARRANGER = ("train", "rearranger", "--generator", "g", "--clusters", "c", "--out", "o")
SEGMENTER = ("train", "segmenter", "--generator", "g", "--labels", "l", "--out", "o")
MAPPER = ("train", "mapper", "--out", "o")
RENAMED = [
    (REARRANGER, "--retouch", "--refinement-width", "64"),
    (REARRANGER, "--retouch-rate", "--refinement-lr-multiplier", "2"),
    (REARRANGER, "--adv-last", "--adv-phase", "0.5"),
    (REARRANGER, "--discriminator-rate", "--discriminator-lr-multiplier", "3"),
    (REARRANGER, "--narrow", "--narrow-channels", "40"),
    (REARRANGER, "--overlap", "--add-position", "True"),
    (SEGMENTER, "--look-most", "--style-transfer-max-labels", "4"),
    (MAPPER, "--settle", "--cosine-decay", "True"),
    (MAPPER, "--label-last", "--label-phase", "0.7"),
    (MAPPER, "--adv-last", "--adv-phase", "0.5"),
    (MAPPER, "--discriminator-rate", "--discriminator-lr-multiplier", "3"),
    (MAPPER, "--unet-fold", "--unet-space-to-depth", "4"),
    (MAPPER, "--unet-rate", "--unet-lr-multiplier", "0.9"),
    (MAPPER, "--unet-balance", "--unet-logit-adjustment", "0.5"),
    (MAPPER, "--unet-recolour", "--unet-recolor", "0.7"),
    (MAPPER, "--unet-clean", "--unet-clean-share", "0.2"),
    (MAPPER, "--handover", "--proxy-mask-mode", "soft"),
]


def parsed(*words: str) -> dict[str, Any]:
    path, rest, verb = find_verb(words)
    assert isinstance(verb, Verb)
    return dataclasses.asdict(parse(verb, path, rest))


@pytest.mark.parametrize(("verb", "old", "new", "value"), RENAMED, ids=lambda x: x if isinstance(x, str) else x[1])
def test_a_renamed_flag_is_read_with_one_note(verb, old, new, value, capsys):
    expected = parsed(*verb, new, value)
    assert capsys.readouterr().err == ""
    assert expected != parsed(*verb)
    for words in ((old, value), (f"{old}={value}",), (old.replace("-", "_").replace("__", "--", 1), value)):
        assert parsed(*verb, *words) == expected
        assert capsys.readouterr().err.count("\n") == 1
    parsed(*verb, old, value)
    assert capsys.readouterr().err == f"note: {old} is now called {new}\n"


def test_the_value_that_was_renamed(capsys):
    expected = parsed(*MAPPER, "--proxy-mask-mode", "style-prior")
    for words in (("--handover", "likely-all"), ("--handover=likely-all",)):
        assert parsed(*MAPPER, *words) == expected
        assert "note: the value likely-all of --proxy-mask-mode is now called style-prior\n" in capsys.readouterr().err
    with pytest.raises(ProxymaskError, match=rf"proxy_mask_mode likely-soft was removed .* proxymask {LAST_VERSION}"):
        parsed(*MAPPER, "--handover", "likely-soft")


@pytest.mark.parametrize(
    ("words", "feature"),
    [
        (("train", "mapper", "--looks", "0.3"), "the mapper's table of looks"),
        (("train", "mapper", "--viewer-samples=300"), "another network for L_label"),
        (("train", "segmenter", "--look-doubt", "2"), "doubts about labels"),
        (("train", "rearranger", "--mask-codes", "16"), "the style's own proxy mask in the keys"),
        (("train", "rearranger", "--sharpness", "30"), "another start of the attention"),
        (("train", "rearranger", "--settle", "True"), "the cosine decay of the rearranger's rates"),
        (("train", "generator", "--r1-every", "8"), "another interval of R1"),
        (("cluster", "--reader", "64"), "the layout reader"),
        (("cluster", "--reader-steps", "64"), "the layout reader"),
    ],
)
def test_a_removed_flag_is_refused_by_name(words, feature, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"proxymask: {words[-1].split('=')[0] if '=' in words[-1] else words[-2]} was removed ({feature}")
    assert f"install proxymask {LAST_VERSION}" in said
    assert said.count("\n") == 1


def test_no_old_flag_hides_one_of_today(capsys):
    for verb in (*STAGES, "cluster"):
        main([*verb.split(), "--help"])
        shown = capsys.readouterr().out
        for name in (*renamed_flags(verb), *removed_flags(verb)):
            assert f" --{name.replace('_', '-')} " not in shown, verb
        for name in renamed_flags(verb).values():
            assert f" --{name.replace('_', '-')} " in shown, verb


def test_other_verbs_and_values_are_left_alone():
    words = ["--mask", "a.png", "--settle", "1"]
    assert current_flags("generate", words) == (words, [])
    assert current_flags("train mapper", ["--out", "settle", "--seed=3"]) == (["--out", "settle", "--seed=3"], [])
    assert "settle" not in {Path(word).name for word in current_flags("train mapper", ["--settle", "True"])[0]}
