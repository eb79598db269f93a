"""The command ``proxymask``: finds the verb, lets tyro read its flags, runs it, and turns errors into one line and an exit status.

The words of a verb are matched here and only the module of the verb that was asked for is imported, so that help is quick:
PyTorch alone takes seconds to load.
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..core.errors import ProxymaskError
from ..core.version import __version__

Tree = dict[str, "Verb | Group"]


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb: one line about it, and the dataclass that holds its flags and its ``run``."""

    summary: str
    load: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Group:
    """Verbs under one word, as ``data`` of ``data avatars``."""

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
    "pictures": {
        "demo": _verb("see it work: example masks in several styles, on one contact sheet", "verbs", "Demo"),
        "generate": _verb("pictures from masks, scribbles, sketches, edges, depth", "verbs", "Generate"),
        "sample": _verb("pictures without a mask, with their proxy masks and labels", "verbs", "Sample"),
        "transfer": _verb("the shape of one sample in the style of another", "verbs", "Transfer"),
    },
    "a look inside": {
        "evaluate": _verb("measure a bundle: report.html and metrics.json, with what bounds each number", "evaluation", "Evaluate"),
        "inspect": _verb("what a bundle, a run, a model, a data set or a mask holds", "verbs", "Inspect"),
        "condition": _verb("what a mapper sees of a picture: its sketch, edges, depth", "conditions", "Condition"),
        "mask": Group(
            "masks that you painted",
            lambda: {"check": _verb("whether a mask can be used, with an overlay picture", "verbs", "MaskCheck")},
        ),
    },
    "a model of your own": {
        "import": _verb("a StyleGAN2 checkpoint of another project, made a folder that every verb takes", "checkpoints", "Import"),
        "export": _verb("a generator, for other tools", "checkpoints", "Export"),
        "fit": _verb("everything from a folder of pictures, or a generator, to a bundle", "fit", "Fit"),
        "data": Group(
            "data sets",
            lambda: {
                "avatars": _verb("drawn portraits with exact masks", "verbs", "DataAvatars"),
                "cats": _verb("drawn cats with exact masks", "verbs", "DataCats"),
                "prepare": _verb("any folder of pictures, cropped and resized once", "verbs", "DataPrepare"),
            },
        ),
        "train": Group("one stage: generator, rearranger, segmenter, mapper; a judge, or depth for pairs", _stages),
        "bundle": Group("bundles", lambda: {"add": _verb("put a trained mapper into a bundle", "conditions", "BundleAdd")}),
        "cluster": _verb("the proxy clusters of a generator", "cluster", "Cluster"),
    },
}

EXAMPLES = (
    "proxymask demo",
    "proxymask generate --mask my-mask.png --out picture.png --style-seed 3",
    "proxymask inspect avatars",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 2 a problem the user can mend, 130 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            return _run(words)
        except SystemExit as stop:  # tyro has printed its help or what was wrong with the flags
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except ProxymaskError as error:
            _say(str(error))
            return 130 if _is_stop(error) else 2
        except KeyboardInterrupt:
            _say("stopped by Ctrl-C")
            return 130
        except BrokenPipeError:  # the reader of our output went away, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except OSError as error:
            if error.errno is None:
                raise
            _say(f"{error.filename or 'a file'}: {error.strerror}")
            return 2
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":  # torch's own, not imported for this
                raise
            _say("out of memory: try a smaller --batch or --size, or --device cpu")
            return 2


def _run(words: list[str]) -> int:
    tree: Tree = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
    path: list[str] = []
    while True:
        word = words[0] if words else "--help"
        if not path and word in ("--version", "-V"):
            print(f"proxymask {__version__}")
            return 0
        if word in ("--help", "-h", "help"):
            print(_help(path, tree))
            return 0
        if word not in tree:
            close = difflib.get_close_matches(word, tree, n=1)
            meant = f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(tree)}"
            raise ProxymaskError(f"{' '.join(['proxymask', *path])} has no {word!r}{meant}")
        entry, words = tree[word], words[1:]
        path.append(word)
        if isinstance(entry, Verb):
            _parse(entry.load(), path, words).run()
            sys.stdout.flush()  # while a broken pipe can still be caught
            return 0
        tree = entry.children()


def _parse(cls: Any, path: list[str], words: list[str]) -> Any:
    import tyro

    prog = " ".join(["proxymask", *path])
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
    return "\n".join([*lines, "", f"Every verb explains itself: add --help to it.{version}"])


def _table(tree: Tree) -> list[str]:
    return [f"  {name:<12}{entry.summary}" for name, entry in tree.items()]


def _say(message: str) -> None:
    print("proxymask: " + " ".join(message.split()), file=sys.stderr)


def _show_warning(message: Warning | str, *rest: Any) -> None:
    print(f"note: {message}", file=sys.stderr)


def _is_stop(error: ProxymaskError) -> bool:
    loop = sys.modules.get("proxymask.training.loop")  # where it was not imported, nothing was stopped in it
    return loop is not None and isinstance(error, loop.Stopped)
