"""What the method is compared with: a supervised rival over wall time (``wall_time.py``), and baselines that learn nothing."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxymask.core.files import read_json
from proxymask.evaluation.report import HEADS, number
from proxymask.evaluation.svg import lines

from .evaluation import Evaluated, evaluated
from .form import Section, cell, further_judges, is_toy, joined, length, listed, load, markdown, missing, only_toys, plot, words

RIVAL = "Against a supervised rival, over wall time (Figure S5)"
BASELINES = "Without learning"
NAMES = {"copy": "copied features (baseline a)", "table": "a table of labels (baseline b)"}
EARLIER = "An earlier measurement, with baseline b"
EQUAL, WITH_GENERATOR, AT_END = "when ours ends", "when ours with its generator ends", "at its end"
MOMENTS = {
    EQUAL: "At equal wall time, without the training of our generator,",
    WITH_GENERATOR: "With the training of our generator counted,",
    AT_END: "Against the rivals at their own ends",
}
INADE = "INADE, the paper's other rival, is not rebuilt here."


def wall_time(folder: Path) -> Section:
    """Ours and the supervised rival at equal time, at the end of their trainings, and over time."""
    found = load(folder / "wall-time.json")
    if found is None:
        return missing(RIVAL, "wall-time")
    rows = found["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    budget = {name: max(row["step"] for row in rows if row["name"] == name) for name in names}  # ours: of its rearranger
    points, others = moments(rows), further_judges(rows)
    cells = []
    for title, row in points:
        scores = [cell(row, "miou"), *(cell(row.get("judges", {}).get(name, {}), "miou") for name in others)]
        hours = f"{row.get('spent', row['seconds']) / 3600:.2f} h"
        cells.append(
            [title, hours, f"{row['step']:,}", length(budget[row["name"]]), f"{row['count']:,}", cell(row, "frechet_judge"), *scores]
        )
    heads = ["", "wall time", "steps", "length", "pictures", "distance", "mIoU", *(f"mIoU, judge {name}" for name in others)]
    body, drawn = markdown(heads, cells), {key: over_time(folder, rows, names, key) for key in ("miou", "frechet_judge")}
    toys = [name for name in names if is_toy(budget[name])]
    if len(toys) == len(names):
        folded = {"Numbers and plots of the toys": joined([body, *drawn.values()])}
        return only_toys(RIVAL, list(budget.values()), "wall-time", folded, INADE)
    trained = [row for row in rows if row["name"] not in toys]
    if "ours" in toys or len(names) - len(toys) < 2:
        sentence, more = "No result yet: ours and a rival have not both been trained for long enough.", ""
    else:
        sentence, more = at_equal_time(trained)
    folded = {"Distance over wall time": drawn["frechet_judge"]}
    return Section(RIVAL, sentence, "wall-time", f"{more} {INADE}".strip(), body, drawn["miou"], folded)


def over_time(folder: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> str:
    """The plot of a number; ours once more, with the time that its generator took."""
    series = {n: [(r["seconds"] / 3600, r[key]) for r in rows if r["name"] == n and r.get(key) is not None] for n in names}
    for name in names:
        later = [r for r in rows if r["name"] == name and "generator_seconds" in r and r.get(key) is not None]
        if later:
            series[f"{name}, with its generator's training"] = [((r["seconds"] + r["generator_seconds"]) / 3600, r[key]) for r in later]
    title = {"frechet_judge": "Distance", "miou": "mIoU"}[key]
    return plot(folder, f"wall-time-{key}", lines(f"{title} against wall time", series, "hours"))


def moments(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Ours at its end, with and without its generator's training; each rival at those times and at its own end."""
    ours = [row for row in rows if row["name"] == "ours" and row.get("miou") is not None]
    if not ours:
        return []
    end = max(ours, key=lambda row: row["seconds"])
    out: list[tuple[str, Mapping[str, Any]]] = [("ours at its end, without its generator's training", end)]
    times = {EQUAL: end["seconds"]}
    if "generator_seconds" in end:
        times[WITH_GENERATOR] = end["seconds"] + end["generator_seconds"]
        out.append(("ours at its end, with its generator's training", {**end, "spent": times[WITH_GENERATOR]}))
    for name in dict.fromkeys(row["name"] for row in rows if row["name"] != "ours"):
        scored = sorted((row for row in rows if row["name"] == name and row.get("miou") is not None), key=lambda row: row["seconds"])
        for when, seconds in {**times, AT_END: math.inf}.items():
            if seconds > scored[-1]["seconds"] and when != AT_END:
                continue  # it had ended by then
            reached = [row for row in scored if row["seconds"] <= seconds] or scored[:1]
            out.append((f"{name}, {when}", reached[-1]))
    return out


def at_equal_time(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """How ours compares with the rivals when it ends; then with its generator's training counted, and with the rivals' own ends."""
    compared = {when: verdict(moments(rows), when) for when in MOMENTS}
    first, *more = (f"{MOMENTS[when]} {text}." for when, text in compared.items() if text)
    return first, " ".join(more)


def verdict(points: Sequence[tuple[str, Mapping[str, Any]]], when: str) -> str:
    """Which rivals ours is ahead of at a moment, and which it is behind; empty where no rival has that moment."""
    ours = points[0][1] if points else {}
    rivals = [row for title, row in points if title.endswith(f", {when}")]
    text = []
    for key, name, sign in (("miou", "mIoU", 1), ("frechet_judge", "distance", -1)):
        ahead = [row["name"] for row in rivals if sign * (ours[key] - row[key]) > 0]
        behind = [row["name"] for row in rivals if row["name"] not in ahead]
        said = [f"{word} {listed(names)}" for word, names in (("ahead of", ahead), ("behind", behind)) if names]
        text.append(f"in {name} {' and '.join(said)}")
    return f"ours is {', '.join(text)}" if rivals else ""


def baselines(folder: Path) -> Section:
    """The method against baselines without learning: of the evaluations, and the older ones folded."""
    every = [one for one in evaluated(folder) if ("miou", "masks") in one.at and {("miou", "copy"), ("miou", "table")} & one.at.keys()]
    old = earlier(folder)
    if not every:
        found = Section(BASELINES, "Measured for older models only.", "evaluation", folded={EARLIER: old})
        return found if old else missing(BASELINES, "evaluation")
    rows, gains, behind = [], [], []
    plain = {(one.domain, one.name): one for one in evaluated(folder, "no-details-")}
    for one in every:
        ours = compared(one, "masks")
        rows.append([f"{one.domain}, {one.name}", "ours", *(number(value, name) for name, value in ours.items())])
        if one.about["details"] and (one.domain, one.name) in plain:
            ours = compared(plain[one.domain, one.name], "masks")
            rows.append([f"{one.domain}, {one.name}", "ours, detail network off", *(number(value, name) for name, value in ours.items())])
        for of in ("copy", "table"):
            if ("miou", of) not in one.at:
                continue
            theirs = compared(one, of)
            rows.append([f"{one.domain}, {one.name}", HEADS[of], *(number(value, name) for name, value in theirs.items())])
            gains.append(ours["mIoU"] - theirs["mIoU"])
            for name in ours:
                if (ours[name] > theirs[name]) if name.startswith("frechet") else (ours[name] < theirs[name]):
                    behind.append(f"{name.replace('frechet', 'distance')} ({one.domain}, {one.name}, {HEADS[of]})")
    known = " and ".join(name for of, name in NAMES.items() if any(("miou", of) in one.at for one in every))
    more_than = f"the mIoU is {min(gains):.2f} to {max(gains):.2f} above that of {known}"
    alike = all(not one.about["details"] or (one.domain, one.name) in plain for one in every)
    said = f"Without a detail network, which no baseline has, {more_than}." if alike else f"{more_than[0].upper()}{more_than[1:]}."
    if min(gains) <= 0:
        said = f"The mIoU is above that of {known} in {sum(gain > 0 for gain in gains)} of {len(gains)} comparisons."
    more = f"""Where it loses against a baseline: {listed(behind)}. Baseline a copies features from the nearest position of the style that
has the wanted cluster; baseline b takes the clusters of each class from a table. Ours on {counted(every, "masks")} masks, the baselines
and ours without a detail network on {counted(every, "copy", "table")}; all distances are of as many pictures as the baselines have."""
    heads = ["model", "", *(name.replace("frechet", "distance") for name in compared(every[0], "masks"))]
    return Section(BASELINES, said, "evaluation", more, markdown(heads, rows), folded={EARLIER: old})


def compared(one: Evaluated, of: str) -> dict[str, float]:
    """The numbers by which ours and the baselines are compared; NaN where one was not measured."""
    second = f"miou/{one.judges[1]}" if len(one.judges) > 1 else ""
    keys = {
        "mIoU": "miou",
        "mIoU, second judge": second,
        "boundary F-score, 1 pixel": "boundary_f_1px",
        "frechet": "frechet_baseline/judge",
    }
    return {name: one.at.get((key, of), math.nan) for name, key in keys.items()}


def counted(every: Sequence[Evaluated], *sets: str) -> str:
    """How many pictures were scored."""
    found = {row["count"] for one in every for row in one.found if row["key"] == "miou" and row["of"] in sets}
    return listed([f"{count:,}" for count in sorted(found)])


def earlier(folder: Path) -> str:
    """The table of the older measurements."""
    rows = []
    for path in sorted(folder.glob("avatars-*.json")):
        stored = read_json(path)
        for name, found in stored.get("baselines", {}).items():
            scores = stored["mask_to_picture"] if name == "ours" else found
            title = {"a_nearest_copy": HEADS["copy"], "b_label_table": HEADS["table"]}.get(name, name)
            rows.append([words(path.stem), title, f"{found['count']:,}", number(scores["miou"]), f"{found['feature_distance']:.1f}"])
    note = "Ours: mIoU of all masks of that measurement. Measured with `benchmarks/quality.py` of commit ad2af9b."
    return joined([markdown(["model", "", "pictures", "mIoU", "distance"], rows), note]) if rows else ""
