"""What the method is compared with: a supervised rival over wall time (``wall_time.py``), and baselines that learn nothing."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.common import TOY

from proxymask.core.files import read_json
from proxymask.evaluation.report import HEADS, number
from proxymask.evaluation.svg import lines

from .evaluation import evaluated
from .form import COMMANDS, Section, cell, further_judges, joined, listed, load, markdown, missing, only_toys, plot

RIVAL = "Against a supervised rival, over wall time (Figure S5)"
BASELINES = "Without learning"
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
        toy = "**toy**" if budget[row["name"]] < TOY else ""
        cells.append([title, hours, f"{row['step']:,}", toy, f"{row['count']:,}", cell(row, "frechet_judge"), *scores])
    heads = ["", "wall time", "steps", "toy", "pictures", "distance", "mIoU", *(f"mIoU, judge {name}" for name in others)]
    body, drawn = markdown(heads, cells), {key: over_time(folder, rows, names, key) for key in ("miou", "frechet_judge")}
    toys = [name for name in names if budget[name] < TOY]
    if len(toys) == len(names):
        sentence = only_toys(list(budget.values()))
        folded = {"Numbers and plots of the toys": joined([body, *drawn.values()])}
        return Section(RIVAL, sentence, COMMANDS["wall-time"], INADE, folded=folded)
    sentence = at_equal_time([(title, row) for title, row in points if row["name"] not in toys])
    return Section(RIVAL, sentence, COMMANDS["wall-time"], INADE, body, drawn["miou"], {"Distance over wall time": drawn["frechet_judge"]})


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
    times = {"when ours ends": end["seconds"]}
    if "generator_seconds" in end:
        times["when ours with its generator ends"] = end["seconds"] + end["generator_seconds"]
        out.append(("ours at its end, with its generator's training", {**end, "spent": times["when ours with its generator ends"]}))
    for name in dict.fromkeys(row["name"] for row in rows if row["name"] != "ours"):
        scored = sorted((row for row in rows if row["name"] == name and row.get("miou") is not None), key=lambda row: row["seconds"])
        for when, seconds in {**times, "at its end": math.inf}.items():
            if seconds > scored[-1]["seconds"] and when != "at its end":
                continue  # it had ended by then
            reached = [row for row in scored if row["seconds"] <= seconds] or scored[:1]
            out.append((f"{name} {when}", reached[-1]))
    return out


def at_equal_time(points: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Which rivals ours is ahead of, and when."""
    ours = [row for _, row in points if row["name"] == "ours"]
    rivals = [(title, row) for title, row in points if row["name"] != "ours"]
    if not ours or not rivals:
        return "Ours and a rival have not both been trained long enough to be compared."
    text = []
    for key, name, sign in (("miou", "mIoU", 1), ("frechet_judge", "distance", -1)):
        ahead = [title for title, row in rivals if sign * (ours[0][key] - row[key]) > 0]
        behind = [title for title, _ in rivals if title not in ahead]
        text.append(f"in {name} ours is ahead of {listed(ahead)}" + (f" and behind {listed(behind)}" if behind else ""))
    return f"At its end, {'; '.join(text)}."


def baselines(folder: Path) -> Section:
    """The method against baselines without learning: of the evaluations, and the older ones folded."""
    rows, ahead = [], []
    for one in evaluated(folder):
        count = next((row["count"] for row in one.found if row["key"] == "miou" and row["of"] in ("copy", "table")), 0)
        if not count or ("miou", "masks") not in one.at:
            continue
        name = f"{one.domain}, {one.name}"
        known = [("ours", "masks"), *((HEADS[of], of) for of in ("copy", "table") if ("miou", of) in one.at)]
        for title, of in known:
            scores = [one.at.get((key, of)) for key in ("miou", *(f"miou/{judge}" for judge in one.judges[1:]), "boundary_f_1px")]
            distance = one.at.get(("frechet_baseline/judge", of))
            rows.append([name, title, *(number(score) for score in scores), number(distance, "frechet")])
        ahead.append(all(one.at["miou", "masks"] > one.at["miou", of] for _, of in known[1:]))
    old, old_ahead = earlier(folder)
    if not rows and not old:
        return missing(BASELINES, "evaluation")
    judges = next((one.judges[1:] for one in evaluated(folder) if one.judges), [])
    said = f"The mIoU is ahead of that of copied features in {sum(ahead)} of {len(ahead)} evaluations" if rows else old_ahead
    if rows and old_ahead:
        said = f"{said}; {old_ahead[0].lower()}{old_ahead[1:]}"
    if not rows:
        return Section(BASELINES, f"{said}.", COMMANDS["evaluation"], table=old)
    heads = ["model", "", "mIoU", *(f"mIoU, judge {judge}" for judge in judges), "boundary F-score, 1 pixel", "distance, 500 pictures"]
    more = "Baseline a copies the features of the nearest position of the same cluster; baseline b takes a cluster for each label from a table."
    return Section(BASELINES, f"{said}.", COMMANDS["evaluation"], more, markdown(heads, rows), folded={"An earlier measurement": old})


def earlier(folder: Path) -> tuple[str, str]:
    """The table and the sentence of the older measurements."""
    rows, ahead = [], []
    for path in sorted(folder.glob("avatars-*.json")):
        stored = read_json(path)
        scores = {name: stored["mask_to_picture"] if name == "ours" else found for name, found in stored.get("baselines", {}).items()}
        for name, found in stored.get("baselines", {}).items():
            rows.append([path.stem, name, f"{found['count']:,}", f"{scores[name]['miou']:.3f}", f"{found['feature_distance']:.1f}"])
        if "ours" in scores:
            ahead.append(all(scores["ours"]["miou"] > found["miou"] for name, found in scores.items() if name != "ours"))
    if not rows:
        return "", ""
    text = f"An earlier measurement: ahead of copying and of a table in mIoU in {sum(ahead)} of {len(ahead)} models"
    note = "Ours: mIoU of all masks of that measurement. Measured with `benchmarks/quality.py` of commit ad2af9b."
    return joined([markdown(["model", "", "pictures", "mIoU", "distance"], rows), note]), text
