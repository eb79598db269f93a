"""What a user can give is checked before anything is loaded: every field of every config and verb, and arguments in Python."""

import dataclasses
import math
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from proxymask.cli import SECTIONS, Group, Tree, Verb
from proxymask.core import checks
from proxymask.core.checks import Checked, Range, check_value, checked, flag, nearest
from proxymask.core.errors import ProxymaskError
from proxymask.evaluation.config import EvaluationConfig
from proxymask.training.depth import DepthConfig
from proxymask.training.fit.config import FitConfig
from proxymask.training.generator import GeneratorConfig
from proxymask.training.judge import JudgeConfig
from proxymask.training.loop import LoopConfig
from proxymask.training.mapper import ConditionConfig, MapperConfig
from proxymask.training.presets import PRESETS, load_preset
from proxymask.training.rearranger import RearrangerConfig
from proxymask.training.segmentation import SegmentationConfig
from proxymask.training.segmenter import SegmenterConfig

CONFIGS = [
    LoopConfig,
    GeneratorConfig,
    RearrangerConfig,
    SegmenterConfig,
    MapperConfig,
    ConditionConfig,
    DepthConfig,
    JudgeConfig,
    SegmentationConfig,
    EvaluationConfig,
    FitConfig,
]
NEEDED: dict[type, dict[str, Any]] = {EvaluationConfig: {"data": Path("d"), "out": Path("o")}, FitConfig: {"out": Path("o")}}
NAN, INF = float("nan"), float("inf")
WRONG: list[Any] = [NAN, INF, -INF, 10**400, -(10**400), 1e300, "x", "", "3", None, True, [], [None], {}, object(), 1j, b"x"]
PROBES = [*WRONG, -1, -1e-9, 0, 0.5, 1, 2**31]


def verbs(tree: Tree) -> list[type]:
    found = []
    for entry in tree.values():
        found += verbs(entry.children()) if isinstance(entry, Group) else [entry.load()] if isinstance(entry, Verb) else []
    return found


def with_nested(cls: type) -> list[type]:
    hints = typing.get_type_hints(cls)
    nested = [hints[field.name] for field in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[field.name])]
    return [cls, *(inner for one in nested for inner in with_nested(one))]


VERBS = sorted({one for section in SECTIONS.values() for verb in verbs(section) for one in with_nested(verb)}, key=lambda cls: cls.__name__)


def numbers_of(hint: Any, ranges: tuple[Range, ...] = ()) -> list[tuple[type, tuple[Range, ...]]]:
    """The numbers in a type, each with the ranges declared for it."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        return numbers_of(inner[0], (*ranges, *(entry for entry in inner[1:] if isinstance(entry, Range))))
    if hint in (int, float):
        return [(hint, ranges)]
    return [] if typing.get_origin(hint) is Literal else [found for one in inner for found in numbers_of(one, ranges)]


@pytest.mark.parametrize("cls", [*CONFIGS, *VERBS], ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(cls: type) -> None:
    assert issubclass(cls, Checked)
    hints = typing.get_type_hints(cls, include_extras=True)
    bare = [field.name for field in dataclasses.fields(cls) for _, ranges in numbers_of(hints[field.name]) if not ranges]
    assert not bare


def samples(cls: type) -> dict[str, Any]:
    """Values for the fields without default."""
    hints = typing.get_type_hints(cls)
    required = [field.name for field in dataclasses.fields(cls) if field.default is field.default_factory is dataclasses.MISSING]
    return {name: {int: 8, str: "x", Path: Path("x")}[hints[name]] for name in required}


def value_or_refusal(cls: type, base: dict[str, Any], name: str, value: Any) -> tuple[Any, str | None]:
    try:
        return getattr(cls(**{**base, name: value}), name), None
    except ProxymaskError as error:
        return None, error.message


@pytest.mark.parametrize("cls", [*CONFIGS, *VERBS], ids=lambda cls: cls.__name__)
def test_any_value_of_any_field_is_taken_or_refused_by_name(cls: type) -> None:
    """Nothing else than a ProxymaskError, and its one line names the field; every number that is taken is finite."""
    base = NEEDED.get(cls) or samples(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        for value in PROBES:
            made, refusal = value_or_refusal(cls, base, field.name, value)
            if refusal is not None:
                assert "\n" not in refusal
                assert flag(field.name) in refusal, (field.name, value, refusal)
                assert len(refusal) < 300
            elif numbers_of(hints[field.name]) and made is not None:
                entries = made if isinstance(made, list | tuple) else [made]
                assert all(isinstance(entry, int | float) and math.isfinite(entry) for entry in entries), (field.name, value)
                assert not any(isinstance(entry, bool) for entry in entries)


def test_the_examples_of_meaningless_numbers() -> None:
    for config, values in (
        (LoopConfig, {"steps": 0}),
        (LoopConfig, {"batch": 0}),
        (LoopConfig, {"seed": 2**64}),
        (LoopConfig, {"batch": 3, "accumulate": 2}),
        (GeneratorConfig, {"learning_rate": -0.1}),
        (GeneratorConfig, {"augment": ("colour",)}),
        (MapperConfig, {"momentum": 1.0}),
        (MapperConfig, {"widths": ()}),
        (MapperConfig, {"widths": (32, 0)}),
        (MapperConfig, {"tail": 2}),
        (RearrangerConfig, {"position_channels": 6}),
        (RearrangerConfig, {"temperature": 0.0}),
        (ConditionConfig, {"unet_space_to_depth": 3}),
        (FitConfig, {"out": Path("o"), "steps_scale": NAN}),
        (EvaluationConfig, {"data": Path("d"), "out": Path("o"), "count": 1}),
    ):
        with pytest.raises(ProxymaskError, match=next(reversed(values)).replace("accumulate", "batch")):
            config(**values)


def test_text_is_taken_for_a_path_and_a_list_for_a_tuple() -> None:
    made = EvaluationConfig(data="d", out="o", features=["judge"])  # type: ignore[arg-type]
    assert made.data == Path("d")
    assert made.features == ("judge",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ('{"mapper": {"learning_rate": -1}}', "mapper: learning_rate must be a number, above 0"),
        ('{"mapper": {"learning_rate": NaN}}', "learning_rate"),
        ('{"mapper": {"widths": 3}}', "widths must be a list"),
        ('{"mapper": {"widths": [3, "x"]}}', "widths must be a whole number"),
        ('{"mapper": {"learning_rat": 1}}', "did you mean learning_rate"),
        ('{"mapper_loop": {"steps": 1.5}}', "steps must be a whole number"),
        ('{"mapper_loop": {"steps": 1e400}}', "steps must be a whole number"),
        ('{"base": "dmo"}', "did you mean demo"),
        ('{"base": ["demo"]}', "no preset"),
        ('{"num_clusters": 0}', "num_clusters must be a whole number"),
    ],
)
def test_a_preset_file_names_the_setting(tmp_path: Path, changes: str, words: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(changes)
    with pytest.raises(ProxymaskError, match=words) as caught:
        load_preset(str(file))
    assert "--" not in str(caught.value), "a JSON file has settings, not flags"


@pytest.mark.parametrize("name", ["nope.json", "folder"])
def test_a_preset_that_is_no_file_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ProxymaskError, match="does not exist" if name == "nope.json" else "is a folder"):
        load_preset(str(tmp_path / name))


def test_every_preset_is_allowed() -> None:
    for preset in PRESETS.values():
        dataclasses.replace(preset)


def test_numbers_of_numpy_are_numbers() -> None:
    assert check_value("seed", np.int64(3), checks.Seed) == 3
    assert check_value("truncation", np.float32(0.5), checks.Truncation) == 0.5
    for wrong in (np.bool_(True), np.array(3), np.float64("nan")):
        with pytest.raises(ProxymaskError):
            check_value("seed", wrong, checks.Seed)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (checks.Seed, 2**64, "--seed must be a whole number, -2^63 to 2^64 - 1, not 18446744073709551616"),
        (checks.Rate, 0, "--seed must be a number, above 0 and at most 1,000,000, not 0"),
        (checks.Share, 1.5, "--seed must be a number, 0 to 1, not 1.5"),
        (checks.Count, "3", "--seed must be a whole number, 1 or more, not '3'"),
        (Annotated[int, Range(8, 64, kind="power of two")], 24, "--seed must be a power of two, 8 to 64, not 24"),
        (Annotated[int, Range(1, 9, kind="odd")], 2, "--seed must be an odd number, 1 to 9, not 2"),
        (Literal["auto", "cpu"], "cpuu", "--seed 'cpuu': unknown; use auto or cpu; did you mean cpu?"),
        (bool, 1, "--seed must be True or False, not 1"),
        (Path, "", "--seed must be a path, not ''"),
        (Path, "a\0b", "--seed must not hold a NUL character"),
        (int | str, 1.5, "--seed must be a whole number or text, not 1.5"),
    ],
)
def test_the_messages(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(ProxymaskError) as caught:
        check_value("seed", value, hint)
    assert caught.value.message == words


def test_a_name_that_is_too_long_is_not_printed_whole() -> None:
    with pytest.raises(ProxymaskError, match="5,000 characters") as caught:
        check_value("out", "x" * 5000, Path)
    assert len(caught.value.message) < 200


def test_checked_functions_refuse_in_words() -> None:
    @checked
    def paint(mask: str, style: checks.Seed = 3, *, scale: float = 1.0) -> int:
        return style

    assert paint("m", style=4) == 4
    for arguments, named, words in (
        (("m",), {"styl": 3}, "paint has no argument styl; did you mean style"),
        (("m",), {"seed": 3}, "it has: mask, style, scale"),
        ((), {}, "missing a required argument"),
        (("m", 1, 2), {}, "too many positional arguments"),
        (("m", 1.5), {}, "style must be a whole number"),
        (("m",), {"scale": NAN}, "scale must be a number"),
        ((3,), {}, "mask must be text"),
    ):
        with pytest.raises(ProxymaskError, match=words):
            paint(*arguments, **named)


def test_nearest() -> None:
    assert nearest("Skech", ["sketch", "scribble"]) == "; did you mean sketch?"
    assert nearest("zzz", ["sketch"]) == ""
    assert nearest("x", []) == ""


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("x looks like a photo: add --from-photo to extract the lines", "x looks like a photo: add from_photo=True to extract the lines"),
        ("--class 3: this generator has the classes 0 to 2", "class_index 3: this generator has the classes 0 to 2"),
        ("no labels (proxymask fit --bundle ... --labels ...): leave --bundle out", None),
        ("train one with proxymask train mapper --condition x, and leave --mapper out", None),
        ("a -- b, x--y, --", "a -- b, x--y, --"),
    ],
)
def test_python_is_told_of_arguments_and_the_command_line_of_flags(message: str, shown: str | None) -> None:
    error = ProxymaskError(message)
    assert error.message == message
    assert error.args == (message,)
    expected = shown or message.replace("leave --bundle", "leave bundle").replace("leave --mapper", "leave mapper")
    assert str(error) == expected
