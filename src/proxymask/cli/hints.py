"""Commands that are shown to people: quoted, so that they can be pasted into a shell."""

import shutil
import sys
from pathlib import Path

from ..core.text import shell_word


def command_line(*words: object) -> str:
    """``proxymask`` with ``words`` as its arguments, called as this process was; a path that begins with a dash gets ``./`` before it."""
    texts = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    return " ".join(map(shell_word, [*_program(), *texts]))


def bundle_option(bundle: str) -> tuple[str, ...]:
    """``--bundle NAME``, or nothing for the default bundle."""
    return () if bundle == "avatars" else ("--bundle", bundle)


def add_to_bundle(run: Path, bundle: str | Path, *words: object) -> str:
    """The command that adds a run to a bundle: into its own folder; of an embedded one, or one on the hub, a new folder."""
    out = bundle if (Path(bundle) / "bundle.json").is_file() else "my-bundle"
    return command_line("bundle", "add", run, "--bundle", bundle, *words, "--out", out)


def near(path: Path) -> Path:
    """``path`` relative to the working folder, where it is below it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _program() -> list[str]:
    if shutil.which("proxymask"):
        return ["proxymask"]
    called = Path(sys.argv[0])
    return [str(near(called))] if called.name == "proxymask" else [str(near(Path(sys.executable))), "-m", "proxymask"]
