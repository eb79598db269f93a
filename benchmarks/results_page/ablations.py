"""Ablations as the paper has them: losses, number of clusters, what L_adv takes for real, and the curve of the labelled samples."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxymask.evaluation.svg import lines

from .form import COMMANDS, Section, cell, current, further_judges, joined, load, markdown, missing, only_toys, plot

PROXY = {"frechet_proxy": "distance", "mask_ignored_proxy": "mask ignored", "agreement": "agreement", "identity_psnr": "PSNR of self"}
CLUSTERS = {
    "miou_masks": "mIoU with mapper",
    "miou_proxy": "mIoU without",
    "accessories": "IoU of accessories",
    "mask_ignored_proxy": "mask ignored",
    "agreement": "agreement",
    "frechet_masks": "distance",
    "frechet_proxy": "distance, no mapper",
}
LABELS = {"segmenter_miou": "segmenter mIoU", "miou_masks": "mIoU", "accuracy_masks": "accuracy", "frechet_masks": "distance"}


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A row a variant, by every judge where there is a second one; toys are marked."""
    toys, read = (
        any(row["toy"] for row in rows),
        [(judge, key) for judge in further_judges(rows) for key in columns if key.startswith("miou_")],
    )
    cells = []
    for row in rows:
        budget = [f"{row['steps']:,}", *(["**toy**" if row["toy"] else ""] if toys else []), f"{row['count']:,}"]
        more = [cell(row.get("judges", {}).get(judge, {}), key) for judge, key in read]
        name = current(row["variant"]) + (f", seed {row['seed']}" if row.get("seed") else "")
        cells.append([name, *budget, *(cell(row, key) for key in columns), *more])
    heads = [*columns.values(), *(f"{columns[key]}, judge {judge}" for judge, key in read)]
    out = markdown(["", "steps", *(["toy"] if toys else []), "pictures", *heads], cells)
    trained = sorted({row["mapper_steps"] for row in rows if "mapper_steps" in row})
    return out + (f"\nMappers of {', '.join(f'{steps:,}' for steps in trained)} steps.\n" if trained else "")


def extremes(rows: Sequence[Mapping[str, Any]], key: str, name: str, least: bool = False) -> str:
    """The best and the worst row that is no toy, in a sentence; of toys alone, that they are no result."""
    if all(row["toy"] for row in rows):
        return only_toys([row["steps"] for row in rows])
    scored = sorted((row for row in rows if row.get(key) is not None and not row["toy"]), key=lambda row: row[key] if least else -row[key])
    best, worst = scored[0], scored[-1]
    return f"Best {name}: {current(best['variant'])} ({cell(best, key)}); worst: {current(worst['variant'])} ({cell(worst, key)})."


def ablation(folder: Path, name: str, title: str, columns: Mapping[str, str], key: str, of: str, drawn: str = "") -> Section:
    """The section of an ablation; where all rows are toys, table, plot and pictures are folded.

    Args:
        folder: of the JSON files.
        name: of the ablation's JSON file and sheet.
        title: the heading.
        columns: keys of a row, and their heads.
        key: what the best and the worst row are chosen by: distance (the least is best) or mIoU.
        of: its name in the sentence.
        drawn: the plot.
    """
    found = load(folder / "ablations" / f"{name}.json")
    if found is None:
        return missing(title, name)
    rows = found["rows"]
    sentence, body = extremes(rows, key, of, least=key.startswith("frechet")), table(rows, columns)
    sheet = f"![{name}](results/ablations/{name}.png)" if (folder / "ablations" / f"{name}.png").is_file() else ""
    pictures = f"Shapes, styles, then a row a variant:\n\n{sheet}" if sheet else ""
    if all(row["toy"] for row in rows):
        return Section(title, sentence, COMMANDS[name], folded={"Numbers and pictures of the toys": joined([body, drawn, pictures])})
    return Section(title, sentence, COMMANDS[name], table=body, plot=drawn, folded={"Pictures": pictures})


def losses(folder: Path) -> Section:
    """The ablation of the losses, with the distances over the iterations."""
    found, drawn = load(folder / "ablations" / "losses.json"), ""
    if found is not None:
        series = {current(name): [(p["step"], p["frechet_judge"]) for p in curve] for name, curve in found["curves"].items()}
        drawn = plot(folder, "losses", lines("Distance over iterations", series, "steps", "judge features"))
    return ablation(folder, "losses", "Losses (Figures S2 and S3)", PROXY, "frechet_proxy", "distance", drawn)


def clusters(folder: Path) -> Section:
    """The ablation of K."""
    found, drawn = load(folder / "ablations" / "clusters.json"), ""
    if found is not None:
        scored = {"with a mapper": "miou_masks", "proxy masks, no mapper": "miou_proxy"}
        series = {name: [(row["clusters"], row[key]) for row in found["rows"] if row.get(key) is not None] for name, key in scored.items()}
        drawn = plot(folder, "clusters", lines("mIoU by the number of clusters", series, "clusters", log_x=True))
    return ablation(folder, "clusters", "Number of clusters (Figure S4)", CLUSTERS, "miou_masks", "mIoU with a mapper", drawn)


def reals(folder: Path) -> Section:
    """What L_adv takes for real."""
    return ablation(folder, "reals", "What L_adv takes for real", PROXY, "frechet_proxy", "distance")


def spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several."""
    return f"{statistics.fmean(values):.3f}" + (f" ± {statistics.pstdev(values):.3f}" if len(values) > 1 else "")


def label_curve(folder: Path) -> Section:
    """What the number of labelled samples is worth: the segmenter alone, and the full chain."""
    title, found = "Label curve", load(folder / "ablations" / "labels.json")
    if found is None:
        return missing(title, "labels")
    rows = [row for row in found["rows"] if row.get("miou_masks") is not None]
    chains = {labels: [row for row in rows if row["labels"] == labels] for labels in sorted({row["labels"] for row in rows})}
    toys = bool(rows) and all(row["toy"] for row in rows)
    alone = {row["labels"]: row for row in found["spread"]}
    cells = []
    for labels in sorted({*chains, *alone}):
        ours = [[row[key] for row in chains.get(labels, [])] for key in ("miou_masks", "accuracy_masks", "frechet_masks")]
        said = [str(len(ours[0])), *(spread(values) if values else "" for values in ours)] if ours[0] else ["", "", "", ""]
        one = alone.get(labels)
        means = (
            [
                f"{one[f'segmenter_{key}_mean']:.3f}" + (f" ± {one[f'segmenter_{key}_std']:.3f}" if one["draws"] > 1 else "")
                for key in ("miou", "accuracy")
            ]
            if one
            else ["", ""]
        )
        cells.append([str(labels), *said, str(one["draws"]) if one else "", *means])
    heads = ["labelled", "draws", "mIoU", "accuracy", "distance", "draws of the segmenter", "its mIoU against the judge", "its accuracy"]
    body = markdown(heads, cells)
    series = {
        "segmenter, mean of the draws": [(row["labels"], row["segmenter_miou_mean"]) for row in found["spread"]],
        "full chain, mean of the draws": [(n, statistics.fmean(row["miou_masks"] for row in of)) for n, of in chains.items()],
    }
    drawn = plot(folder, "labels", lines("mIoU by labelled samples", series, "labelled samples", log_x=True))
    folded = {"Every chain": table(found["rows"], LABELS)}
    if toys or not chains:
        sentence = only_toys([row["steps"] for row in found["rows"]])
        return Section(title, sentence, COMMANDS["labels"], folded={"Numbers of the toys": joined([body, drawn]), **folded})
    return Section(title, curve_found(chains), COMMANDS["labels"], curve_notes(found["rows"], chains), body, drawn, folded)


def curve_found(chains: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """The mIoU with the fewest and with the most labelled samples."""
    means = {labels: [row["miou_masks"] for row in rows] for labels, rows in chains.items()}
    few, many = min(means), max(means)
    if few == many:
        return f"With {few} random labelled the mIoU of the full chain is {spread(means[few])}."
    share = 100 * statistics.fmean(means[few]) / statistics.fmean(means[many])
    return f"The full chain goes from mIoU {spread(means[few])} with {few} random labelled to {spread(means[many])} with {many}: {few} reaches {share:.0f} % of {many}."


def curve_notes(rows: Sequence[Mapping[str, Any]], chains: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """How many draws there are, what is not there yet, and which version measured it."""
    single = [str(labels) for labels, of in chains.items() if len(of) < 2]
    text = (
        f"Samples are drawn at random; spreads are standard deviations of the draws; with {', '.join(single)} labelled there is one draw."
        if single
        else ""
    )
    wanted = [str(labels) for labels in (1, 4, 8, 16) if labels not in chains]
    if wanted:
        text += f" Not measured yet: {', '.join(wanted)} labelled."
    versions = sorted({row["versions"].partition(",")[0] for row in rows if row.get("versions")})
    trained = sorted({row["mapper_steps"] for row in rows if "mapper_steps" in row})
    return f"{text} Measured with {', '.join(versions)}, mappers of {', '.join(f'{steps:,}' for steps in trained)} steps.".strip()
