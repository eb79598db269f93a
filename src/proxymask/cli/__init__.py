"""The command ``proxymask``: finds the verb, lets tyro read its flags, runs it, and turns errors into one line and an exit status.

Only the module of the verb that is called is imported, so that help is fast: PyTorch alone takes seconds to load.
"""

import dataclasses
import functools
import importlib
import inspect
import os
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..core.checks import flag, nearest
from ..core.errors import ProxymaskError
from ..core.out_of_memory import is_out_of_memory
from ..core.text import without_controls
from ..core.version import __version__
from .old_flags import current_flags
from .progress import is_main
from .stopping import sigterm_interrupts
from .streams import OUTPUT, note, open_streams, silence_output

Tree = dict[str, "Verb | Group"]


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb: a line of help, and what loads the dataclass that has its flags as fields and a method ``run``."""

    summary: str
    load: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Group:
    """Verbs behind a common word, as ``data`` of ``data avatars``."""

    summary: str
    children: Callable[[], Tree]


def _verb(summary: str, module: str, name: str) -> Verb:
    return Verb(summary, lambda: getattr(importlib.import_module(f".{module}", __name__), name))


def _stages() -> Tree:
    stages = importlib.import_module(".train", __name__).TRAIN
    return {name: Verb(_summary(cls), functools.partial(stages.get, name)) for name, cls in stages.items()}


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n")[0]


SECTIONS: dict[str, Tree] = {
    "make pictures": {
        "demo": _verb("render example masks in several styles, with a contact sheet", "demo", "Demo"),
        "studio": _verb("paint masks and see the pictures, in the browser", "studio", "Studio"),
        "examples": _verb("write the example masks, to start painting from", "masks", "Examples"),
        "generate": _verb("paint pictures from masks, scribbles, sketches, edges or depth maps", "generate", "Generate"),
        "sample": _verb("write samples of the generator, with proxy masks and labels", "sample", "Sample"),
        "transfer": _verb("combine the layout of one sample with the style of another", "sample", "Transfer"),
    },
    "measure and inspect": {
        "evaluate": _verb("measure a bundle; writes report.html and metrics.json", "evaluation", "Evaluate"),
        "inspect": _verb("describe a bundle, a run, a model, a checkpoint, a data set or a mask", "inspection", "Inspect"),
        "condition": _verb("extract the sketch, edges or depth of a picture", "conditions", "Condition"),
        "mask": Group(
            "check painted masks",
            lambda: {"check": _verb("check whether a mask can be used, and draw how it is read", "masks", "MaskCheck")},
        ),
    },
    "make a model": {
        "import": _verb("read a StyleGAN2 checkpoint of another project", "checkpoints", "Import"),
        "export": _verb("write a generator for other tools", "checkpoints", "Export"),
        "fit": _verb("run every stage, from a folder of pictures or a generator to a bundle", "fit", "Fit"),
        "data": Group(
            "make data sets",
            lambda: {
                "avatars": _verb("draw portraits with exact masks", "data", "DataAvatars"),
                "cats": _verb("draw cats with exact masks", "data", "DataCats"),
                "churches": _verb("render churches with exact masks", "data", "DataChurches"),
                "bedrooms": _verb("render bedrooms with exact masks", "data", "DataBedrooms"),
                "prepare": _verb("crop and resize a folder of pictures once", "data", "DataPrepare"),
            },
        ),
        "train": Group("train one stage, a judge, or a depth network", _stages),
        "bundle": Group("change bundles", lambda: {"add": _verb("add a trained part to a bundle", "bundle", "BundleAdd")}),
        "cluster": _verb("compute the proxy clusters of a generator", "cluster", "Cluster"),
    },
}

LONGEST = 400  # characters of a word in a message
SLOW = ("fit", "train", "cluster", "evaluate")  # verbs that take seconds to load, on a busy machine many

EXAMPLES = (
    "proxymask demo",
    "proxymask generate --mask my-mask.png --out picture.png --style-seed 3",
    "proxymask inspect avatars",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 2 an error that the user can correct, 130 stopped."""
    if argv is None:
        sys.excepthook = report_mistake
    words = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    with warnings.catch_warnings(), sigterm_interrupts():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            code = _run(words)
            sys.stdout.flush()  # while a broken pipe can still be caught
            return code
        except ProxymaskError as error:
            _say(error.message)
            return 130 if _is_stop(error) else 2
        except KeyboardInterrupt as stop:
            _say(f"stopped by {str(stop) or 'Ctrl-C'}")
            return 130
        except BrokenPipeError:  # the program that reads our output has ended, as head does
            silence_output()
            return 141
        except Exception as error:
            text = _reason(error, words)
            if text is None:
                raise
            _say(text)
            return 2


def _run(words: list[str]) -> int:
    if words[:1] in (["--version"], ["-V"]):
        print(f"proxymask {__version__}")
        return 0
    path, rest, entry = find_verb(words)
    if isinstance(entry, dict):
        print(_help(path, entry))
        return 0
    from .usage import flags_of, without_other_flags

    if path[0] in SLOW and is_main() and "torch" not in sys.modules and not {"--help", "-h"} & set(rest):
        print(f"proxymask {' '.join(path)}: starting (loading PyTorch)", flush=True)
    try:
        verb = parse(entry, path, rest)
    except SystemExit as stop:  # tyro has printed its help
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    try:
        verb.run()
    except ProxymaskError as error:
        error.args = (without_other_flags(error.message, [flag(name) for name in flags_of(type(verb))]),)
        raise
    return 0


def report_mistake(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Say in a line that an error is one that nobody foresaw, and write what a report of it needs to a file; a ``sys.excepthook``."""
    with tempfile.NamedTemporaryFile("w", prefix="proxymask-", suffix=".txt", delete=False, encoding="utf-8", errors="replace") as file:
        file.write(f"proxymask {__version__}, {sys.version}\n{sys.argv}\n{''.join(traceback.format_exception(error))}")
    what = f"{type(error).__name__}: {without_controls(str(error), 200)}"
    _say(f"a mistake of proxymask's own ({what}): please report it with {file.name}")


def _reason(error: BaseException, words: Sequence[str]) -> str | None:
    """What to say of an error of the system; None where it is none."""
    if is_out_of_memory(error):
        from .memory import memory_advice
        from .usage import flags_of

        _, _, entry = find_verb(words)
        return memory_advice(flags_of(entry.load()) if isinstance(entry, Verb) else {}, error)
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.filename == OUTPUT:
        silence_output()
        return f"the output cannot be written: {error.strerror}"
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{error.strerror}"


def find_verb(words: Sequence[str]) -> tuple[list[str], list[str], "Verb | Tree"]:
    """The words that name a verb, its arguments, and the verb; the verbs to choose from where help is wanted or no verb is named.

    Raises:
        ProxymaskError: no such verb.
    """
    tree: Tree = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
    path: list[str] = []
    for at, word in enumerate(words):
        if word in ("--help", "-h", "help"):
            break
        if word not in tree:
            meant = nearest(word, tree) or f"; there are: {', '.join(tree)}"
            raise ProxymaskError(f"{' '.join(['proxymask', *path])} has no {without_controls(word, 60)!r}{meant}")
        path.append(word)
        entry = tree[word]
        if isinstance(entry, Verb):
            return path, list(words[at + 1 :]), entry
        tree = entry.children()
    return path, [], tree


def parse(verb: Verb, path: Sequence[str], words: Sequence[str]) -> Any:
    """The dataclass of a verb, filled with its arguments; flags of earlier versions are read too, with a note on standard error.

    Raises:
        ProxymaskError: the arguments are wrong, or name a feature that was removed.
        SystemExit: help is wanted; tyro has printed it.
    """
    import tyro

    from .usage import check_words, flags_of, plain_mistakes

    check_words(words)
    words, notes = current_flags(" ".join(path), words)
    for text in notes if is_main() else ():
        note(f"note: {text}")
    cls, prog = verb.load(), " ".join(["proxymask", *path])
    with plain_mistakes(prog, words, [flag(name) for name in flags_of(cls)]):
        return tyro.cli(cls, prog=prog, description=inspect.getdoc(cls), args=words, config=(tyro.conf.FlagCreatePairsOff,))


def _help(path: list[str], tree: Tree) -> str:
    lines = [f"usage: {' '.join(['proxymask', *path])} VERB [--help] ...", ""]
    if path:
        lines += _table(tree)
    else:
        lines += ["Paint a mask, pick a style, see the picture.", ""]
        for title, section in SECTIONS.items():
            lines += [f"{title}:", *_table(section), ""]
        lines += ["examples:", *(f"  {example}" for example in EXAMPLES)]
    version = "" if path else " --version prints the version."
    return "\n".join([*lines, "", f"For the options of a verb, add --help to it.{version}"])


def _table(tree: Tree) -> list[str]:
    return [f"  {name:<12}{entry.summary}" for name, entry in tree.items()]


def _say(message: str) -> None:
    words = [word if len(word) <= LONGEST else f"{word[:100]}..." for word in message.split()]
    note("proxymask: " + " ".join(words))


def _show_warning(message: Warning | str, *rest: Any) -> None:
    note(f"note: {message}")


def _is_stop(error: ProxymaskError) -> bool:
    loop = sys.modules.get("proxymask.training.loop")  # where it was not imported, nothing was stopped in it
    return loop is not None and isinstance(error, loop.Stopped)
