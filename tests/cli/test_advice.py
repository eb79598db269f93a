"""What messages advise: flags that the verb has, commands that exist, and settings that work when they are followed."""

import ast
import functools
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import proxymask
from proxymask.cli import SECTIONS, Group, Tree, Verb, find_verb, main, parse
from proxymask.cli.hints import command_line
from proxymask.cli.memory import LOWER, memory_advice
from proxymask.cli.usage import flags_of, without_other_flags
from proxymask.core.checks import flag
from proxymask.core.errors import COMMAND, ProxymaskError
from proxymask.core.out_of_memory import is_of_gpu, is_out_of_memory
from proxymask.core.text import shell_word
from proxymask.training.fit.advice import advice
from proxymask.training.fit.config import FitConfig, Silent
from proxymask.training.fit.state import FitState
from proxymask.training.loop import NotFinite
from proxymask.training.presets import STAGES, load_preset

PACKAGE = Path(proxymask.__file__).parent


def names(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, entry in tree.items():
        if isinstance(entry, Group):
            yield from names(entry.children(), (*path, name))
        else:
            yield " ".join((*path, name))


VERBS = [name for section in SECTIONS.values() for name in names(section)]


@functools.cache
def flags(verb: str) -> set[str]:
    _, _, entry = find_verb(verb.split())
    assert isinstance(entry, Verb)
    return {flag(name) for name in flags_of(entry.load())}


ONES = [verb for verb in VERBS if verb.startswith("train ")]
STEPS = ["train generator", "train rearranger", "train segmenter", "train mapper"]
WITH_GENERATOR = ["sample", "cluster", *STEPS, "fit"]
EXTRAS = set(tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"])
DRAWN = ["data avatars", "data cats", "data churches", "data bedrooms"]
PRINTED_BY: dict[str, list[str]] = {
    "checkpoints/": ["import", "export", "inspect", *WITH_GENERATOR],
    "checkpoints/export.py": ["export"],
    "checkpoints/formats/architecture.py": ["import"],
    "checkpoints/formats/genforce.py": ["import"],
    "checkpoints/formats/rosinality_export.py": ["export"],
    "checkpoints/imported.py": ["import", "export"],
    "checkpoints/loading.py": ["import"],
    "checkpoints/safe_pickle/inert.py": ["import"],
    "conditions/": ["generate"],
    "conditions/lines.py": ["generate"],
    "core/device.py": ["generate", "sample", "transfer", "demo", "evaluate", "cluster", "fit", *ONES],
    "core/files.py": ["export", "sample", "mask check", "demo", "condition", "generate", *DRAWN, "data prepare"],
    "data/dataset.py": ["data prepare", "evaluate", "train judge"],
    "data/drawn_dataset.py": DRAWN,
    "data/layers.py": ["data avatars", "data cats"],
    "data/scenes/": ["data churches", "data bedrooms"],
    "evaluation/": ["evaluate"],
    "imaging/mask_forms/": ["generate", "mask check", "train segmenter", "fit", "data prepare", "evaluate", "train judge"],
    "imaging/mask_files.py": ["examples"],
    "imaging/pictures.py": ["generate", "sample", "transfer", "demo", "condition", "mask check", *DRAWN],
    "inference/bundle.py": ["bundle add", "fit", "generate", "demo"],
    "inference/conditions.py": ["generate"],
    "inference/mask_check.py": ["mask check", "inspect"],
    "inference/samples.py": ["sample", "fit"],
    "metrics/": ["evaluate"],
    "models/growing.py": ["train generator"],
    "models/oasis_mapper.py": ["train mapper"],
    "models/rearranger.py": ["train rearranger"],
    "models/stylegan2_layers.py": ["import", *WITH_GENERATOR],
    "models/unet_mapper.py": ["train mapper"],
    "training/checkpoint.py": ONES,
    "training/depth.py": ["train depth"],
    "training/detail.py": ["train detail"],
    "training/distributed.py": [*ONES, "fit"],
    "training/fit/": ["fit"],
    "training/generator.py": ["train generator"],
    "training/judge.py": ["train judge"],
    "training/loop.py": STEPS,
    "training/pair": ["train mapper"],
    "training/parts.py": ["train rearranger", "train mapper"],
    "training/rearranger.py": ["train rearranger", "train detail"],
    "training/presets.py": ["cluster", *STEPS, "fit"],
    "training/run_dirs.py": ["cluster", *ONES, "fit"],
    "training/stages/condition_mapper.py": ["train mapper"],
    "training/stages/distillation.py": ["train mapper"],
    "training/stages/generator.py": ["train generator"],
    "training/stages/mapper.py": ["train mapper"],
    "training/stages/rearranger.py": ["train rearranger"],
    "training/stages/segmenter.py": ["train segmenter"],
}
"""Where a message is (the longest beginning of the path counts) -> the verbs that can print it. Where a verb prints one whose flags it
lacks, as ``fit`` those of the stages, ``without_other_flags`` turns them into plain names."""
FIRST = [name for section in SECTIONS.values() for name in section]
NO_VERBS = ("again", "folder", "or", "says", "writes", "wrote")  # install proxymask again; what proxymask wrote
OTHERS = {"--cfg", "--force-reinstall"}  # of NVIDIA's scripts, and of pip


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module other than docstrings, with X in place of values."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(line.value)
        for node in ast.walk(tree)
        for line in (node.body if isinstance(getattr(node, "body", None), list) else [])
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= set(map(id, node.values))
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def library_texts() -> Iterator[tuple[str, int, str]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith(("cli/", "studio/")):
            yield from ((name, line, text) for line, text in texts(file))


def test_every_flag_in_a_message_is_one_of_the_verbs_that_print_it() -> None:
    wrong = []
    for name, line, text in library_texts():
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", COMMAND.sub("", text))) - OTHERS
        if not named:
            continue
        places = [place for place in PRINTED_BY if name.startswith(place)]
        if not places:
            wrong.append(f"{name}:{line} names {named}: add the module to PRINTED_BY")
            continue
        for verb in PRINTED_BY[max(places, key=len)]:
            lacking = named - flags(verb)
            wrong += [f"{name}:{line}: {verb} has no {', '.join(sorted(lacking))}: {text!r}"] if lacking else []
    assert not wrong, "\n".join(wrong)


def test_every_command_in_a_message_exists() -> None:
    found = 0
    for name, line, text in library_texts():
        for command in COMMAND.findall(text):
            if command.startswith("pip "):
                assert set(re.findall(r"proxymask\[(\w+)\]", command)) <= EXTRAS, f"{name}:{line}: no such extra: {command}"
                continue
            words = re.sub(r"\.\.\.|X", " ", command).split()[1:]
            verb = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in VERBS), None)
            if verb is None:
                assert words[0] in (*FIRST, *NO_VERBS), f"{name}:{line}: no such command: {command}"
                assert "--" not in command, f"{name}:{line}: no such command: {command}"
                continue
            named = {word for word in words if word.startswith("--")}
            assert named <= flags(verb), f"{name}:{line}: {command}"
            found += 1
    assert found > 20


def test_flags_that_a_verb_lacks_are_shown_as_names() -> None:
    message = "5 widths: give fewer --widths, or another --out (proxymask train mapper --widths 8)"
    assert without_other_flags(message, ["--out"]) == "5 widths: give fewer widths, or another --out (proxymask train mapper --widths 8)"
    assert without_other_flags(message, ["--out", "--widths"]) == message


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_advised_when_memory_runs_out_is_a_flag_of_the_verb(verb: str) -> None:
    _, _, entry = find_verb(verb.split())
    assert isinstance(entry, Verb)
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")):
        said = memory_advice(flags_of(entry.load()), error)
        assert said.startswith("out of memory: ")
        assert set(re.findall(r"--[a-z-]+", said)) <= flags(verb), said
    assert "--accumulate" in memory_advice(flags_of(entry.load()), MemoryError()) or "--accumulate" not in flags(verb)
    assert set(LOWER) >= {"accumulate", "batch", "size"}


def test_memory_that_runs_out_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_of_gpu(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert is_of_gpu(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_out_of_memory_is_one_line(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    line = f"ulimit -v 1000000; {sys.executable} -m proxymask data prepare photos --out out --size "
    env = {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", line + "4096"], cwd=tmp_path, env=env, capture_output=True, text=True)
    said = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, said[:38]) == (2, "proxymask: out of memory: give a small"), done.stderr
    assert "Traceback" not in done.stderr
    assert "--size" in said
    assert subprocess.run(["bash", "-c", line + "64"], cwd=tmp_path, env=env, capture_output=True).returncode == 0


TOY = ("--resolution", 16, "--channel-base", 64, "--channel-max", 8, "--z-dim", 8, "--mapping-layers", 1, "--batch", 2, "--device", "cpu")


def test_a_training_that_is_not_finite_says_what_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.new("RGB", (16, 16), (60 * number, 0, 90)).save(tmp_path / "photos" / f"{number}.png")
    words = ["train", "generator", "--images", tmp_path / "photos", *TOY, "--precision", "fp32", "--tensorboard", "False"]

    def run(*more: object) -> int:
        return main([str(word) for word in (*words, *more)])

    assert run("--learning-rate", 1e6, "--steps", 200, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "train it again with a lower --learning-rate in another --out" in said
    assert run("--learning-rate", 1e-3, "--steps", 2, "--out", tmp_path / "again") == 0
    capsys.readouterr()
    assert run("--learning-rate", 1e-2, "--steps", 3, "--out", tmp_path / "again") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "other settings (--learning-rate was 0.001 and is 0.01); use the same settings or another --out" in said
    assert run("--learning-rate", 1e-3, "--steps", 3, "--out", tmp_path / "again") == 0
    (tmp_path / "other").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "other" / "black.png")
    words[3] = tmp_path / "other"
    capsys.readouterr()
    assert run("--learning-rate", 1e-3, "--steps", 4, "--out", tmp_path / "again") == 2
    assert "other settings (the pictures are others)" in capsys.readouterr().err


def settings_in(message: str) -> dict[str, dict[str, float]]:
    found = re.search(r"\{.*\}", message)
    assert found is not None, message
    return json.loads(found[0])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("preset", ["auto", "paper-256", "mine.json"])
def test_what_fit_advises_is_a_preset_file_that_works(stage: str, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text('{"base": "ours-128", "cut": 32}')
    state = FitState(FitConfig(out=tmp_path / "out", images=tmp_path, preset=preset, device="cpu"), Silent())
    before = state.preset
    with pytest.raises(ProxymaskError, match="lower learning rate") as not_finite, advice(state, stage):
        raise NotFinite(f"{stage}: 25 steps in a row were not finite")
    with pytest.raises(ProxymaskError, match="out of memory") as memory, advice(state, stage):
        torch.empty(2**60)
    for error in (not_finite.value, memory.value):
        if error is memory.value and before.loop(stage).batch == 1:  # type: ignore[arg-type]
            assert "give more memory" in error.message
            continue
        changes = settings_in(error.message)
        if preset == "mine.json":
            assert "in mine.json" in error.message
            changes = {**json.loads((tmp_path / "mine.json").read_text()), **changes}
        else:
            assert "--preset" in error.message
        (tmp_path / "new.json").write_text(json.dumps(changes))
        after = load_preset("new.json", before.resolution)
        assert after.cut == before.cut
        if error is not_finite.value:
            assert 0 < getattr(after, stage).learning_rate < getattr(before, stage).learning_rate
        else:
            assert after.loop(stage).accumulate > 1  # type: ignore[arg-type]
            assert after.loop(stage).batch == before.loop(stage).batch  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "$HOME", "-dash", "caf\udce9", "new\nline", "größe", 'quo"te', "a;b", "*"])
def test_hints_can_be_pasted(name: str) -> None:
    path = Path(name)
    shown = command_line("sample", "--count", 8, "--out", path)
    code = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    stand_in = shown.replace(shown[: shown.index(" sample ")], f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}")
    done = subprocess.run(["bash", "-c", stand_in.encode("utf-8", "surrogateescape")], capture_output=True, check=True)
    words = [word.decode("utf-8", "surrogateescape") for word in done.stdout.split(b"\0")]
    assert words[-1].removeprefix("./") == name
    _, rest, entry = find_verb(words)
    assert isinstance(entry, Verb)
    assert parse(entry, ["sample"], rest).out == path
    assert shown.isprintable()
    assert shell_word("plain") == "plain"


def test_text_made_of_an_error_keeps_its_flags() -> None:
    """``str(error)`` names arguments. A message that is made of another's takes ``error.message``."""
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for handler in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(handler, ast.ExceptHandler) or handler.type is None or "ProxymaskError" not in ast.unparse(handler.type):
                continue
            shown = [node.value for node in ast.walk(handler) if isinstance(node, ast.FormattedValue)]
            shown += [node.args[0] for node in ast.walk(handler) if isinstance(node, ast.Call) and ast.unparse(node.func) == "str"]
            wrong += [f"{file.relative_to(PACKAGE)}" for node in shown if isinstance(node, ast.Name) and node.id == handler.name]
    wrong = [name for name in wrong if not name.startswith("studio/")]  # a page has neither flags nor arguments
    assert wrong == ["training/presets.py"]  # whose settings are names, in JSON
