"""Make ``docs/results.md`` and its plots from the JSON files in ``docs/results``: what is measured, what is a toy, and what is queued.

    python benchmarks/results.py

Every section begins with one sentence of what was found; then tables with one number in a cell. ``overview.json`` holds the tables of
the embedded model: a cell is a number or the place of one in another JSON file.
"""

import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import results_parts
import tyro
from ablations.common import TOY

from proxymask.core.files import read_json
from proxymask.evaluation.report import HEADS, number
from proxymask.evaluation.svg import bars, lines

DOCS = Path(__file__).parents[1] / "docs"
COLUMNS = ("masks", "proxy", "generator", "floor", "grid", "real")
DATA = "--data data/avatars64 --masks data/test64"
CHAIN = f"{DATA} --discriminator runs/g64 --work runs/ablations --steps 10000"
PROXY = {"frechet_proxy": "distance", "mask_ignored_proxy": "mask ignored", "agreement": "agreement", "identity_psnr": "PSNR of self"}
COMMANDS = {
    "evaluation": f"proxymask evaluate {DATA} --out runs/evaluation",
    "paper": "proxymask evaluate --data data/avatars64 --protocol paper --out runs/paper",
    "losses": f"python -m ablations.losses {CHAIN}",
    "clusters": f"python -m ablations.clusters {CHAIN}",
    "labels": f"python -m ablations.labels {CHAIN} --pseudo-labels runs/pseudo-labels",
    "reals": f"python -m ablations.reals {CHAIN}",
    "wall-time": "python wall_time.py (trainings first: benchmarks/README.md, rows rival to wall time)",
}
RENAMED = {"retouching block": "refinement block", "asked cluster": "queried cluster"}  # words of older JSON files, and today's
HEAD = """# Results

`python benchmarks/results.py` makes this page from the JSON files in `docs/results/`. All numbers are of drawn avatars with exact masks,
where the truth is known. A row of fewer than 10,000 rearranger steps is marked **toy** and is no result yet: its full version is the
command below its table. Commands of the ablations are run in the folder `benchmarks`; all of them go on after a stop.

Distances are in the features of the shipped judge unless a row says otherwise. They are no FID: Inception's weights are not part of
this project (`proxymask evaluate --features inception` computes FID and KID where they are; `efficientnet-lite0`, extra `features`, is
another network, trained on ImageNet).

The judge is a segmentation network that took no part in making the model. What was decided by these and other measurements is in
[decisions.md](decisions.md).
"""


def missing(name: str) -> str:
    """What to say where a measurement is not there."""
    return f"Queued, not measured yet: `{COMMANDS[name]}`\n"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines_ = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines_, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def plot(folder: Path, name: str, svg: str) -> str:
    """Write a plot; the Markdown that shows it."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "plots" / f"{name}.svg").write_text(svg + "\n")
    return f"\n![{name}](results/plots/{name}.svg)\n"


def load(path: Path) -> Any:
    """A JSON file, or None where it is missing."""
    return read_json(path) if path.is_file() else None


def current(name: str) -> str:
    """A name of a JSON file in today's words."""
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name


def stored_value(folder: Path, cell: float | Sequence[str] | None) -> float | None:
    """The number of a cell of ``overview.json``.

    Args:
        folder: of the JSON files.
        cell: the number itself; None for an empty cell; or the place of the number, a file's name without its ending, then either the
            keys that lead to it, or, in a metrics.json of ``proxymask evaluate``, "key" and "of" of its row.
    """
    if cell is None or isinstance(cell, int | float):
        return cell
    found = read_json(folder / f"{cell[0]}.json")
    if "numbers" in found:
        return next(row["value"] for row in found["numbers"] if [row["key"], row["of"]] == list(cell[1:]))
    for key in cell[1:]:
        found = found[key]
    return found


def overview(folder: Path) -> str:
    """The tables of ``overview.json``: the embedded model at a glance."""
    found = load(folder / "overview.json")
    if found is None:
        return missing("evaluation")
    parts = []
    for table in found["tables"]:
        counted = any("count" in row for row in table["rows"])
        digits, rows = table.get("digits"), []
        for row in table["rows"]:
            values = [stored_value(folder, cell) for cell in row["cells"]]
            cells = ["" if v is None else f"{v:.3f}" if digits is None else f"{v:.{digits}g}" for v in values]
            rows.append([row["name"], *([f"{row['count']:,}"] if counted else []), *cells, row["command"]])
        heads = ["", *(["pictures"] if counted else []), *table["columns"], "command"]
        parts.append(f"### {table['title']}\n\n{table['found']}\n\n{markdown(heads, rows)}")
    parts.append("### Commands of these tables\n\n" + markdown(["", "command"], [[n, c] for n, c in found["commands"].items()]))
    return "\n".join(parts)


def cell(row: Mapping[str, Any], key: str) -> str:
    """A number of a row; "accessories" is that class' IoU in pictures from masks."""
    if key == "accessories":
        return number((row.get("iou_masks") or row.get("iou_proxy") or {}).get(key))
    return number(row.get(key), key)


def evaluations(folder: Path) -> str:
    """Every evaluation-*.json (a metrics.json) as a table."""
    parts = []
    for path in sorted(folder.glob("evaluation-*.json")):
        stored = read_json(path)
        if "numbers" not in stored:
            continue
        about, found = stored["about"], stored["numbers"]
        title = f"{about['bundle']}, mapper {about['mapper']}" if about["mapper"] else f"{about['bundle']}, supplement B.1"
        judge = about["judge"]
        own = f" The judge's own mIoU on real pictures: {judge['accuracy'].get('miou', float('nan')):.3f}." if judge else ""
        for other in about.get("judges", [])[1:]:
            own += f" That of the judge {other['name']}: {other['accuracy'].get('miou', float('nan')):.3f}."
        parts.append(
            f"### {title}\n\n{about['count']:,} pictures of each kind, {about['resolution']} pixels, cut at {about['cut']}.{own}\n"
        )
        parts.append(evaluated(found))
        columns = [of for of in COLUMNS if any(row["of"] == of for row in found)]
        keys = list(dict.fromkeys(row["key"] for row in found if row["of"] in columns))
        table = []
        for key in keys:
            cells = {row["of"]: row for row in found if row["key"] == key}
            if key in ("diversity", "identity_perceptual"):
                continue
            first = next(iter(cells.values()))
            table.append([current(first["name"]), *(number(cells[of]["value"], key) if of in cells else "" for of in columns)])
        parts.append(markdown(["", *(HEADS[of] for of in columns)], table))
        parts.append(shares(found))
        rest = [row for row in found if row["of"] == "samples" or row["key"] == "diversity"]
        parts.append(markdown(["", "value", "count"], [[r["name"], number(r["value"], r["key"]), f"{r['count']:,}"] for r in rest]))
        classes = {HEADS[r["of"]]: r["classes"] for r in found if r["key"] == "miou" and "classes" in r}
        if classes:
            names = list(next(iter(classes.values())))
            series = {head: [values.get(name) for name in names] for head, values in classes.items()}
            parts.append(plot(folder, path.stem, bars(f"IoU of each class: {title}", names, series, width=960)))
    return "\n".join(parts) or missing("evaluation")


def evaluated(found: Sequence[Mapping[str, Any]]) -> str:
    """What an evaluation found, in a sentence."""
    at = {(row["key"], row["of"]): row["value"] for row in found}
    of = "masks" if ("miou", "masks") in at else "proxy"
    if ("miou", of) not in at or ("frechet/judge", of) not in at:  # measured without a judge
        return ""
    text = f"Pictures {HEADS['masks'] if of == 'masks' else 'from proxy masks of other samples'}: mIoU {at['miou', of]:.3f}"
    if ("miou", "grid") in at:
        text += f" (the masks on the proxy grid and back {at['miou', 'grid']:.3f})"
    return (
        f"{text}, distance {at['frechet/judge', of]:.2f}, where the generator's own samples have {at['frechet/judge', 'generator']:.2f}.\n"
    )


def shares(found: Sequence[Mapping[str, Any]]) -> str:
    """Which part loses how much, as far as the ceilings show."""
    at = {(row["key"], row["of"]): row["value"] for row in found}
    steps = [("floor", "floor"), ("generator", "generator"), ("rearranger", "proxy"), ("mapper (with its segmenter)", "masks")]
    values = [(name, at.get(("frechet/judge", of))) for name, of in steps]
    if any(value is None for _, value in values):
        return ""
    parts = [f"{values[0][0]} {values[0][1]:.2f}"]
    parts += [f"{name} {value - before:+.2f}" for (_, before), (name, value) in pairwise(values)]
    text = f"Who loses what of the distance: {', '.join(parts)}."
    real, grid, proxy, masks = (at.get(("miou", of)) for of in ("real", "grid", "proxy", "masks"))
    if None not in (real, grid, proxy, masks):
        text += (
            f" Of the mIoU: the judge {1 - real:.2f}, the grid {1 - grid:.2f}, and without a mapper, by generator and rearranger, "
            f"{1 - proxy:.2f} (there the layouts are samples, read by the judge, here masks); with it {1 - masks:.2f}."
        )
    return text + "\n"


def further_judges(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the judges after the main one that scored any of the rows."""
    return list(dict.fromkeys(name for row in rows for name in row.get("judges", {})))


def ablation(folder: Path, name: str, columns: Mapping[str, str]) -> str:
    """A table of an ablation's rows, its sheet, and the command that makes the full version."""
    found = load(folder / "ablations" / f"{name}.json")
    if found is None:
        return missing(name)
    toys = any(row["toy"] for row in found["rows"])
    rows, others = [], further_judges(found["rows"])
    read = [(judge, key) for judge in others for key in columns if key.startswith("miou_")]
    for row in found["rows"]:
        budget = [f"{row['steps']:,}", *(["**toy**" if row["toy"] else ""] if toys else []), f"{row['count']:,}"]
        more = [cell(row.get("judges", {}).get(judge, {}), key) for judge, key in read]
        name_of_row = current(row["variant"]) + (f", seed {row['seed']}" if row.get("seed") else "")
        rows.append([name_of_row, *budget, *(cell(row, key) for key in columns), *more])
    trained = sorted({row["mapper_steps"] for row in found["rows"] if "mapper_steps" in row})
    heads = [*columns.values(), *(f"{columns[key]}, judge {judge}" for judge, key in read)]
    out = markdown(["", "steps", *(["toy"] if toys else []), "pictures", *heads], rows)
    if trained:
        out += f"\nMappers of {', '.join(f'{steps:,}' for steps in trained)} steps.\n"
    if toys:
        out += f"\nFull version, queued: `{COMMANDS[name]}`\n"
    if (folder / "ablations" / f"{name}.png").is_file():
        out += f"\nShapes, styles, then a row a variant:\n\n![{name}](results/ablations/{name}.png)\n"
    return out


def extremes(rows: Sequence[Mapping[str, Any]], key: str, name: str, least: bool = False) -> str:
    """The best and the worst row of an ablation, in a sentence."""
    scored = [row for row in rows if row.get(key) is not None]
    if len(scored) < 2:
        return ""
    best, *_, worst = sorted(scored, key=lambda row: row[key] if least else -row[key])
    said = " and ".join(f"{current(row['variant'])} ({cell(row, key)})" for row in (best, worst))
    return f"Best and worst {name}: {said}{'; toys, so no result yet' if any(row['toy'] for row in scored) else ''}.\n\n"


def losses(folder: Path) -> str:
    """The ablation of the losses, with the distances over the iterations."""
    out = ablation(folder, "losses", PROXY)
    found = load(folder / "ablations" / "losses.json")
    if found is None:
        return out
    out = extremes(found["rows"], "frechet_proxy", "distance", least=True) + out
    series = {current(name): [(p["step"], p["frechet_judge"]) for p in curve] for name, curve in found["curves"].items()}
    return out + plot(folder, "losses", lines("Distance over iterations", series, "steps", "judge features"))


def clusters(folder: Path) -> str:
    """The ablation of K."""
    columns = {
        "miou_masks": "mIoU with mapper",
        "miou_proxy": "mIoU without",
        "accessories": "IoU of accessories",
        "mask_ignored_proxy": "mask ignored",
        "agreement": "agreement",
        "frechet_masks": "distance",
        "frechet_proxy": "distance, no mapper",
    }
    found = load(folder / "ablations" / "clusters.json")
    sentence = "" if found is None else extremes(found["rows"], "miou_masks", "mIoU with a mapper")
    return sentence + ablation(folder, "clusters", columns)


def reals(folder: Path) -> str:
    """What L_adv takes for real."""
    found = load(folder / "ablations" / "reals.json")
    sentence = "" if found is None else extremes(found["rows"], "frechet_proxy", "distance", least=True)
    return sentence + ablation(folder, "reals", PROXY)


def label_curve(folder: Path) -> str:
    """What the number of labelled samples is worth: the segmenter alone, and the full chain."""
    columns = {"segmenter_miou": "segmenter mIoU", "miou_masks": "mIoU", "accuracy_masks": "accuracy", "frechet_masks": "distance"}
    out = ablation(folder, "labels", columns)
    found = load(folder / "ablations" / "labels.json")
    if found is None:
        return out
    keys = ("segmenter_miou", "segmenter_accuracy")
    first = [(row["labels"], row["miou_masks"]) for row in found["rows"] if row["draw"] == 0 and row.get("miou_masks") is not None]
    if len(first) > 1:
        (few, low), (many, high) = min(first), max(first)
        out = f"The full chain goes from mIoU {low:.3f} with {few} random labelled to {high:.3f} with {many} (first draws).\n\n" + out
    for labels in sorted({row["labels"] for row in found["rows"]}):
        scores = [row["miou_masks"] for row in found["rows"] if row["labels"] == labels]
        if len(scores) > 1:
            spread = f"{statistics.fmean(scores):.3f} ± {statistics.pstdev(scores):.3f}"
            out += f"\nThe full chain with {labels} labelled, over {len(scores)} draws: mIoU {spread}.\n"
    wanted = {1, 4, 8, 16} - {row["labels"] for row in found["rows"]}
    if wanted:
        numbers = ", ".join(map(str, sorted(wanted)))
        out += f"\nNot there yet: {numbers} labelled; the command in benchmarks/README.md (embedded rearranger) goes on.\n"
    rows = []
    for r in found["spread"]:
        means = [text for k in keys for text in (f"{r[f'{k}_mean']:.3f}", f"{r[f'{k}_std']:.3f}" if r["draws"] > 1 else "")]
        rows.append([str(r["labels"]), str(r["draws"]), *means])
    heads = ["labelled", "draws", "segmenter mIoU against the judge", "± of the draws", "accuracy", "± of the draws"]
    out += "\n" + markdown(heads, rows)
    series = {
        "segmenter, mean of the draws": [(r["labels"], r["segmenter_miou_mean"]) for r in found["spread"]],
        "full chain": [(r["labels"], r["miou_masks"]) for r in found["rows"] if r["draw"] == 0 and r.get("miou_masks") is not None],
    }
    return out + plot(folder, "labels", lines("mIoU by labelled samples", series, "labelled samples", log_x=True))


def wall_time(folder: Path) -> str:
    """Ours and the supervised rival at the end of their trainings, at equal time, and over time."""
    found = load(folder / "wall-time.json")
    if found is None:
        return missing("wall-time")
    rows = found["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    last = [max((r for r in rows if r["name"] == name), key=lambda r: r["seconds"]) for name in names]
    cells, others = [], further_judges(rows)
    for r in last:
        spent = f"{r['seconds'] / 3600:.2f} h"
        toy = "**toy**" if r["step"] < TOY else ""
        scores = [cell(r, "miou"), *(cell(r.get("judges", {}).get(name, {}), "miou") for name in others)]
        cells.append([r["name"], spent, f"{r['step']:,}", toy, f"{r['count']:,}", cell(r, "frechet_judge"), *scores])
    heads = ["", "wall time", "steps", "toy", "pictures", "distance", "mIoU", *(f"mIoU, judge {name}" for name in others)]
    out = at_equal_time(rows) + markdown(heads, cells)
    if any(r["step"] < TOY for r in last):
        out += f"\nFull version, queued: `{COMMANDS['wall-time']}`\n"
    for key, title in (("frechet_judge", "Distance"), ("miou", "mIoU")):
        series = {n: [(r["seconds"] / 3600, r[key]) for r in rows if r["name"] == n and r.get(key) is not None] for n in names}
        for name in names:  # ours once more, with the time that its generator took
            later = [r for r in rows if r["name"] == name and "generator_seconds" in r and r.get(key) is not None]
            if later:
                series[f"{name}, with its generator's training"] = [((r["seconds"] + r["generator_seconds"]) / 3600, r[key]) for r in later]
        out += plot(folder, f"wall-time-{key}", lines(f"{title} against wall time", series, "hours"))
    return out


def at_equal_time(rows: Sequence[Mapping[str, Any]]) -> str:
    """Ours at its end against what each rival had reached by then."""
    ours = [row for row in rows if row["name"] == "ours" and row.get("miou") is not None]
    if not ours:
        return ""
    end = max(ours, key=lambda row: row["seconds"])
    table = [
        ["ours at its end, without its generator's training", f"{end['seconds'] / 60:.0f}", cell(end, "frechet_judge"), cell(end, "miou")]
    ]
    ahead = True
    for name in dict.fromkeys(row["name"] for row in rows if row["name"] != "ours"):
        points = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seconds"])
        then = ([row for row in points if row["seconds"] <= end["seconds"]] or points[:1])[-1]
        table.append([name, f"{then['seconds'] / 60:.0f}", cell(then, "frechet_judge"), cell(then, "miou")])
        ahead = ahead and then["miou"] < end["miou"] and then["frechet_judge"] > end["frechet_judge"]
    if len(table) < 2:
        return ""
    toy = "; toys, so no result yet" if end["step"] < TOY else ""
    found = f"At equal wall time ours is {'ahead of' if ahead else 'not ahead of'} the rival in mIoU and distance{toy}."
    return f"{found}\n\n{markdown(['', 'minutes', 'distance', 'mIoU'], table)}\nAt the end of each training:\n\n"


def baselines(folder: Path) -> str:
    """The no-learning baselines of the older measurements."""
    rows = []
    for path in sorted(folder.glob("avatars-*.json")):
        stored = read_json(path)
        for name, found in stored.get("baselines", {}).items():
            scores = stored["mask_to_picture"] if name == "ours" else found
            rows.append([path.stem, name, f"{found['count']:,}", f"{scores['miou']:.3f}", f"{found['feature_distance']:.1f}"])
    if not rows:
        return f"Queued, not measured yet: `{COMMANDS['evaluation']}`\n"
    ours = [row for row in rows if row[1] == "ours"]
    best = {row[0]: max((float(r[3]) for r in rows if r[0] == row[0] and r is not row), default=0.0) for row in ours}
    ahead = sum(float(row[3]) > best[row[0]] for row in ours)
    found = f"The method is ahead of copying and of a table in mIoU in {ahead} of {len(ours)} models.\n\n"
    table = markdown(["model", "", "pictures", "mIoU", "distance"], rows)
    return f"{found}{table}\nOurs: mIoU of all masks of that measurement. Measured with `benchmarks/quality.py` of commit ad2af9b.\n"


ROBUST = {"wider_px": "Strokes wider, pixels", "removed": "Share of the input removed", "jitter_px": "Warped, pixels"}


def made_by(name: str, row: dict[str, Any]) -> str:
    """A mapper's name, with its extractor and what is special in its training."""
    more = [str(row[key]) for key in ("extractor", "training") if row.get(key)]
    return f"{name} ({', '.join(more)})" if more else name


def conditions(folder: Path) -> str:
    """Scribbles, drawings and depth, compared with masks; what rough ones cost; quality over the time of a training."""
    names = ("conditions", "conditions-hed", "conditions-photo-sketch", "conditions-hed-by-hed", "conditions-hed-by-pidinet")
    files = [found for name in names if (found := load(folder / f"{name}.json"))]
    if not files:
        return ""
    mappers = {made_by(name, row): row for found in files for name, row in found["mappers"].items()}
    rows = [["mask", f"{files[0]['mask']['count']:,}", number(files[0]["mask"]["miou"]), number(files[0]["mask"]["accuracy"]), "", ""]]
    for name, row in mappers.items():
        share = f"{100 * row['miou'] / files[0]['mask']['miou']:.0f} %"  # the mask mapper may be newer than the row
        rows.append([name, f"{row['count']:,}", number(row["miou"]), number(row["accuracy"]), share, number(row["miou_of_nothing"])])
    reached = sorted(row["miou"] / files[0]["mask"]["miou"] for row in mappers.values())
    out = f"Other inputs reach {100 * reached[0]:.0f} to {100 * reached[-1]:.0f} % of the mIoU that masks reach.\n\n" if reached else ""
    out += markdown(["", "pictures", "mIoU", "accuracy", "of the masks'", "mIoU when shown nothing"], rows)
    for key, title in ROBUST.items():
        kept = {name: row["robustness"][key] for name, row in mappers.items() if key in row["robustness"]}
        heads = list(next(iter(kept.values())))
        out += f"\n{title}, mIoU:\n\n" + markdown(["", *heads], [[n, *(number(v) for v in row.values())] for n, row in kept.items()])
    curve = load(folder / "conditions-curve.json")
    if curve is not None:
        points = [(p["seconds"] / 60, p["miou"]) for p in curve["points"]]
        drawn = lines("A sketch mapper's mIoU over its training", {"sketch": points}, "minutes", "mIoU", {"mask mapper": curve["mask"]})
        out += plot(folder, "conditions", drawn)
    return out + "\nHow each was trained: [decisions](decisions.md#condition-mappers).\n"


def parts(folder: Path) -> str:
    """What each part beyond the paper is worth; empty where nothing was measured."""
    worths = results_parts.found(folder)
    if not worths:
        return ""
    out = f"{results_parts.sentences(worths)}\n\n{markdown(*results_parts.table(worths))}\n"
    out += f"{results_parts.trained(folder)}\n\n{results_parts.RULE}\n"
    if any(one.toy for one in worths):
        out += "\nFull version: `python -m ablations.parts` with `--steps 10000`, see benchmarks/README.md.\n"
    for domain, rows in results_parts.domains(folder).items():
        if (folder / "ablations" / f"parts-{domain}.png").is_file():
            arms = ", ".join(dict.fromkeys(row["variant"] for row in rows))
            out += f"\nMasks, styles, then the arms {arms}:\n\n![parts-{domain}](results/ablations/parts-{domain}.png)\n"
    return out


def document(folder: Path) -> str:
    """The whole of ``results.md``; plots are written to ``plots`` in the folder of the JSON files."""
    speed = load(folder / "evaluation-speed.json")
    sections = {
        "0. The embedded model at a glance": overview(folder),
        "1. The embedded model, evaluated": evaluations(folder),
        "2. Supplement B.1: 28,000 pictures of two latents against as many real ones": (
            "See the evaluation named so above.\n" if list(folder.glob("evaluation-paper*.json")) else missing("paper")
        ),
        "3. Losses (Figures S2 and S3)": losses(folder),
        "4. Number of clusters (Figure S4)": clusters(folder),
        "5. Label curve": label_curve(folder),
        "6. Against a supervised rival, over wall time (Figure S5)": wall_time(folder),
        "7. Without learning; and what L_adv takes for real": baselines(folder) + "\n" + reals(folder),
    }
    if drawn := conditions(folder):
        sections["8. Scribbles, drawings and depth"] = drawn
    if speed is not None:
        text = f"{speed['count']:,} pictures at {speed['resolution']} pixels, cut at {speed['cut']}: {speed['seconds']:,} s on "
        cores = f"{speed['cores']} core" + ("s" if speed["cores"] > 1 else "")
        sections["9. How long an evaluation takes"] = f"{text}{cores} ({speed['processor_seconds']:,} processor seconds).\n"
    if drawn := parts(folder):
        sections["10. What each part beyond the paper is worth"] = drawn
    body = HEAD + "\n" + "\n".join(f"## {title}\n\n{content}" for title, content in sections.items())
    return re.sub(r"\n{3,}", "\n\n", body)


@dataclasses.dataclass(frozen=True)
class Results:
    """Make docs/results.md."""

    folder: Path = DOCS / "results"
    """The JSON files."""
    out: Path = DOCS / "results.md"


def main() -> None:
    args = tyro.cli(Results)
    args.out.write_text(document(args.folder))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
