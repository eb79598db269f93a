"""Whether the colours of dark and of light styles survive: every ``style-colors-DOMAIN[-REST].json`` of ``style_colors.py``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxymask.core.files import read_json
from proxymask.evaluation.svg import lines

from .form import Section, joined, listed, markdown, missing, plot, words

TITLE = "Do the colours of dark and light styles survive?"
WAYS = {"input": "masks", "own input": "the style's own mask", "proxy mask": "proxy masks of other samples"}


def section(folder: Path) -> Section:
    """A table and a line of the plot for each domain and label."""
    files = {path.stem.removeprefix("style-colors-"): read_json(path) for path in sorted(folder.glob("style-colors-*.json"))}
    if not files:
        return missing(TITLE, "style-colors")
    names = {(domain, label): f"{words(label)} ({words(domain)})" for domain, stored in files.items() for label in stored["labels"]}
    slopes = {name: files[domain]["labels"][label]["slope"]["input"] for (domain, label), name in names.items()}
    worst = min(slopes, key=lambda name: slopes[name])
    shifts = {
        f"{name}, {'darkest' if at == 0 else 'lightest'} fifth": files[domain]["labels"][label]["groups"][at]["input"]["lighter"]
        for (domain, label), name in names.items()
        for at in (0, -1)
    }
    furthest = max(shifts, key=lambda name: abs(shifts[name]))
    series = {
        name: [(row["lightness"], row["lightness"] + row["input"]["lighter"]) for row in files[domain]["labels"][label]["groups"]]
        for (domain, label), name in names.items()
    }
    drawn = lines("Lightness of a label in pictures of masks", series, "lightness in the style sample", "CIE Lab, L")
    counts = listed([f"{stored['pairs']:,} pairs ({words(domain)})" for domain, stored in files.items()])
    return Section(
        TITLE,
        f"A label's lightness follows that of its style with a slope of {min(slopes.values()):.2f} to {max(slopes.values()):.2f}: "
        "1 would be perfect, 0 the same lightness for every style.",
        "style-colors",
        f"Where it loses: {worst} has the lowest slope; {furthest}: {shifts[furthest]:+.0f} of 100. Styles in five groups of "
        f"the same size by the lightness of the label in the style sample (L of CIE Lab). {counts} of a style and a mask, drawn at random.",
        slope_table(files),
        plot(folder, "style-colors", drawn),
        {f"Groups, {words(domain)}": group_tables(stored["labels"]) for domain, stored in files.items()},
    )


def slope_table(files: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each domain and label: the slopes, and what becomes of the darkest and the lightest fifth."""
    rows: list[Sequence[str]] = []
    for domain, stored in files.items():
        for label, found in stored["labels"].items():
            ends = [found["groups"][at] for at in (0, -1)]
            cells = [f"{row['input']['lighter']:+.1f} (from {row['lightness']:.0f})" for row in ends]
            rows.append([f"{words(label)}, {words(domain)}", *(f"{found['slope'][way]:.2f}" for way in WAYS), *cells])
    heads = ["", *(f"slope, {title}" for title in WAYS.values()), "darkest fifth, lighter by", "lightest fifth, lighter by"]
    return markdown(heads, rows)


def group_tables(labels: Mapping[str, Any]) -> str:
    """All groups of each label: how much lighter it gets, and how far its colour is from the style's."""
    blocks = []
    for label, found in labels.items():
        rows = [
            [f"{row['lightness']:.0f}", *(f"{row[way]['lighter']:+.1f} ({row[way]['distance']:.1f})" for way in WAYS)]
            for row in found["groups"]
        ]
        heads = [f"{words(label)}: lightness of the style", *(f"{title}: lighter by (distance, CIE76)" for title in WAYS.values())]
        blocks.append(markdown(heads, rows))
    return joined(blocks)
