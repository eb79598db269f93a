"""Scribbles, drawings and depth instead of masks."""

from pathlib import Path
from typing import Any

from proxymask.evaluation.report import number
from proxymask.evaluation.svg import lines

from .form import Section, joined, load, markdown, plot

TITLE = "Scribbles, drawings and depth"
EARLIER = ("conditions-earlier", "conditions-hed", "conditions-photo-sketch", "conditions-hed-by-hed", "conditions-hed-by-pidinet")
"""Of one model before this one; the mapper of masks that was its last is in the first."""
FILES = ("conditions", *EARLIER)
ROBUST = {"wider_px": "Strokes wider, pixels", "removed": "Share of the input removed", "jitter_px": "Warped, pixels"}


def made_by(name: str, row: dict[str, Any]) -> str:
    """A mapper's name, with its extractor and what is special in its training."""
    more = [str(row[key]) for key in ("extractor", "training") if row.get(key)]
    return f"{name} ({', '.join(more)})" if more else name


def section(folder: Path) -> Section | None:
    """Each input compared with masks; what rough ones cost; quality over the time of a training. None where nothing was measured."""
    found = {name: at for name in FILES if (at := load(folder / f"{name}.json"))}
    mappers = {made_by(name, row): row for at in found.values() for name, row in at["mappers"].items()}
    masks = {
        made_by(name, row): found[EARLIER[0] if file in EARLIER else file]["mask"]["miou"]
        for file, at in found.items()
        for name, row in at["mappers"].items()
    }
    if not mappers:
        return None
    mask = next(iter(found.values()))["mask"]
    rows = [["mask", f"{mask['count']:,}", number(mask["miou"]), number(mask["accuracy"]), "", ""]]
    for name, row in mappers.items():
        share = f"{100 * row['miou'] / masks[name]:.0f} %"  # of the mapper of masks with the same networks
        rows.append([name, f"{row['count']:,}", number(row["miou"]), number(row["accuracy"]), share, number(row["miou_of_nothing"])])
    shares = sorted((row["miou"] / masks[name], name) for name, row in mappers.items())
    worst, best = shares[0], shares[-1]
    folded = {"Wider, removed and warped strokes": joined([robustness(key, title, mappers) for key, title in ROBUST.items()])}
    curve, drawn = load(folder / "conditions-curve.json"), ""
    if curve is not None:
        points = [(p["seconds"] / 60, p["miou"]) for p in curve["points"]]
        svg = lines("A sketch mapper's mIoU over its training", {"sketch": points}, "minutes", "mIoU", {"mask mapper": curve["mask"]})
        drawn = plot(folder, "conditions", svg)
    return Section(
        TITLE,
        f"Other inputs reach {100 * worst[0]:.0f} to {100 * best[0]:.0f} % of the mIoU that masks reach: least {worst[1]}, most {best[1]}.",
        "conditions",
        f"Where it loses: pictures follow every one of them less well than masks.{rough(mappers)} Measured without detail networks. "
        "How each was trained: [decisions](decisions.md#condition-mappers).",
        markdown(["", "pictures", "mIoU", "accuracy", "share of the mask mapper's mIoU", "mIoU with an empty input"], rows),
        drawn,
        folded,
    )


def rough(mappers: dict[str, Any]) -> str:
    """What is left of the mIoU when most of the input is removed."""
    kept = []
    for row in mappers.values():
        scores = list(row["robustness"].get("removed", {}).items())
        if len(scores) > 1:
            kept.append((scores[-1][0], scores[-1][1] / scores[0][1]))
    if not kept:
        return ""
    least, most = min(share for _, share in kept), max(share for _, share in kept)
    return f" With {kept[0][0].replace('%', ' %')} of the input removed {100 * least:.0f} to {100 * most:.0f} % of their mIoU are left."


def robustness(key: str, title: str, mappers: dict[str, Any]) -> str:
    """A table of the mIoU under a change of the input."""
    kept = {name: row["robustness"][key] for name, row in mappers.items() if key in row["robustness"]}
    if not kept:
        return ""
    heads = list(next(iter(kept.values())))
    return f"{title}, mIoU:\n\n" + markdown(["", *heads], [[name, *(number(v) for v in row.values())] for name, row in kept.items()])
