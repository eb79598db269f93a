"""Flags of earlier versions: renamed flags are read under their new names, flags of removed features are refused by name.

A flag of a training verb is a setting of its stage, so the names are those of the tables in ``core/legacy.py``.
"""

from collections.abc import Mapping, Sequence

from ..core.errors import ProxymaskError

STAGES: Mapping[str, tuple[str, ...]] = {
    "train generator": ("generator",),
    "train rearranger": ("rearranger",),
    "train segmenter": ("segmenter",),
    "train mapper": ("mapper", "condition"),
    "train depth": ("depth",),
}
"""Verb -> stages whose settings are its flags."""


def renamed_flags(verb: str) -> dict[str, str]:
    """Old name -> new name of the flags of a verb, as names of settings (``adv_last``)."""
    from ..core import legacy

    return {old: new for stage in STAGES.get(verb, ()) for old, new in legacy.RENAMED_SETTINGS.get(stage, {}).items()}


def removed_flags(verb: str) -> dict[str, str]:
    """Name of a removed flag of a verb, as that of a setting -> the feature that was removed."""
    from ..core import legacy

    if verb == "cluster":
        return dict.fromkeys(("reader", "reader_steps"), legacy.LAYOUT_READER.part)
    rows = [row for stage in STAGES.get(verb, ()) for row in legacy.SETTINGS.get(stage, ())]
    return {key: row.part for row in rows for key in (*row.off, *row.unused)}


def current_flags(verb: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of a verb with today's flags and values, and a note for each that was changed.

    ``--old VALUE`` and ``--old=VALUE`` are both read.

    Raises:
        ProxymaskError: a flag or a value of a feature that was removed.
    """
    if verb != "cluster" and verb not in STAGES:
        return list(words), []
    from ..core import legacy

    renamed, removed = renamed_flags(verb), removed_flags(verb)
    out: list[str] = []
    notes = []
    setting = ""  # that of the last flag, whose value may be the next word
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            setting = flag.removeprefix("--").replace("-", "_")
            if setting in removed:
                raise ProxymaskError(_gone(flag, removed[setting]))
            if setting in renamed:
                setting = renamed[setting]
                new = "--" + setting.replace("_", "-")
                notes.append(f"{flag} is now called {new}")
                flag = new
        else:
            flag, equals, value = "", "", word
        if setting == "proxy_mask_mode" and value in legacy.REMOVED_MODES:
            raise ProxymaskError(_gone(f"--proxy-mask-mode {value}", "a conversion of the mapper's logits to a proxy mask"))
        if setting == "proxy_mask_mode" and value in legacy.MODE_NAMES:
            notes.append(f"the value {value} of --proxy-mask-mode is now called {legacy.MODE_NAMES[value]}")
            value = legacy.MODE_NAMES[value]
        out.append(flag + equals + value)
    return out, notes


def _gone(flag: str, feature: str) -> str:
    from ..core.legacy import LAST_VERSION

    return f"{flag} was removed ({feature}): leave it out, or install proxymask {LAST_VERSION}, the last version that has it"
