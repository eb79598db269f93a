"""Ablations as the paper has them: losses, number of clusters, the published method against ours, and the curve of labelled samples."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxymask.evaluation.report import number
from proxymask.evaluation.svg import lines

from .form import Section, cell, current, further_judges, is_toy, joined, length, listed, load, markdown, missing, only_toys, plot

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
PUBLISHED = {key: head for key, head in CLUSTERS.items() if key != "accessories"} | {"identity_psnr": "PSNR of self"}
NAMES = {"full": "ours", "L_adv-L_self": "L_adv + L_self", "published": "published: L_adv + L_self + L_mask"}  # of arms, on the page
CHOSEN = {"full", "one-label"}  # arms of the parts whose labelled samples were chosen
BOTH = """Both have the generator, labels, sizes of networks, steps and batches of ours; everything else of the published one is the
supplement's (`paper-256`): no clusters are substituted that a style lacks, either. In its own figure it is trained for 140,000 steps."""
DEFINED = """Mask ignored: share of the pixels that stay as they are although their class changes. Agreement: share of the
positions whose nearest cluster is that of the proxy mask. PSNR of self: a sample under its own proxy mask, in dB."""
SHEET = "First row: what gives the layout; second row: styles; then the arms {}:"
LABELS = {"miou_masks": "mIoU", "accuracy_masks": "accuracy", "frechet_masks": "distance"}


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A row a variant, by every judge where there is a second one; toys and short rows are marked."""
    further = [(judge, key) for judge in further_judges(rows) for key in columns if key.startswith("miou_")]
    marked = any(length(row["steps"]) for row in rows)
    cells = []
    for row in rows:
        budget = [f"{row['steps']:,}", *([length(row["steps"])] if marked else []), f"{row['count']:,}"]
        more = [cell(row.get("judges", {}).get(judge, {}), key) for judge, key in further]
        name = current(row["variant"]) + (f", seed {row['seed']}" if row.get("seed") else "")
        cells.append([name, *budget, *(cell(row, key) for key in columns), *more])
    heads = [*columns.values(), *(f"{columns[key]}, judge {judge}" for judge, key in further)]
    out = markdown(["", "steps", *(["length"] if marked else []), "pictures", *heads], cells)
    out += f"\n{DEFINED}\n" if "agreement" in columns else ""
    trained = sorted({row["mapper_steps"] for row in rows if "mapper_steps" in row})
    return out + (f"\nMappers of {', '.join(f'{steps:,}' for steps in trained)} steps.\n" if trained else "")


def extremes(rows: Sequence[Mapping[str, Any]], key: str, name: str, least: bool = False) -> str:
    """The best and the worst row that is no toy, in a sentence."""
    trained = [row for row in rows if row.get(key) is not None and not is_toy(row["steps"])]
    scored = sorted(trained, key=lambda row: row[key] if least else -row[key])
    best, worst = scored[0], scored[-1]
    if len(scored) == 1:
        return f"So far only {current(best['variant'])} is measured: {name} {cell(best, key)}."
    return f"Best {name}: {current(best['variant'])} ({cell(best, key)}); worst: {current(worst['variant'])} ({cell(worst, key)})."


def read(folder: Path, name: str) -> Any:
    """The JSON file of an ablation, or None where it is missing."""
    return load(folder / "ablations" / f"{name}.json")


def renamed(found: Any) -> Any:
    """The file with the arms' names on the page."""
    if found is None:
        return None
    rows = [row | {"variant": NAMES.get(row["variant"], row["variant"])} for row in found["rows"]]
    return found | {"rows": rows, "curves": {NAMES.get(name, name): curve for name, curve in found["curves"].items()}}


def curves(folder: Path, name: str, found: Any, title: str) -> str:
    """The plot of the distances over the steps."""
    series = {arm: [(point["step"], point["frechet_judge"]) for point in curve] for arm, curve in found["curves"].items()}
    return plot(folder, name, lines(title, series, "steps", "judge features"))


def sheet(folder: Path, name: str, found: Mapping[str, Any]) -> str:
    """The picture sheet of an ablation with the names of its rows; "" where there is none, or nothing says what it shows."""
    if "sheet" not in found or not (folder / "ablations" / f"{name}.png").is_file():
        return ""
    return f"{SHEET.format(', '.join(found['sheet']))}\n\n![{name}](results/ablations/{name}.png)"


def ablation(folder: Path, name: str, found: Any, title: str, columns: Mapping[str, str], key: str, of: str, drawn: str = "") -> Section:
    """The section of an ablation; where all rows are toys, table, plot and pictures are folded.

    Args:
        folder: of the JSON files.
        name: of the ablation's sheet.
        found: its JSON file, or None.
        title: the heading.
        columns: keys of a row, and their heads.
        key: what the best and the worst row are chosen by: distance (the least is best) or mIoU.
        of: its name in the sentence.
        drawn: the plot.
    """
    if found is None:
        return missing(title, name)
    rows, body = found["rows"], table(found["rows"], columns)
    pictures = sheet(folder, name, found)
    if all(is_toy(row["steps"]) for row in rows):
        return only_toys(title, [row["steps"] for row in rows], name, {"Numbers and pictures of the toys": joined([body, drawn, pictures])})
    sentence = extremes(rows, key, of, least=key.startswith("frechet"))
    return Section(title, sentence, name, table=body, plot=drawn, folded={"Pictures": pictures})


def losses(folder: Path) -> Section:
    """The ablation of the losses, with the distances over the iterations."""
    found, drawn = renamed(read(folder, "losses")), ""
    if found is not None:
        drawn = curves(folder, "losses", found, "Distance over iterations")
    return ablation(folder, "losses", found, "Losses (Figures S2 and S3)", PROXY, "frechet_proxy", "distance", drawn)


def clusters(folder: Path) -> Section:
    """The ablation of K."""
    found, drawn = read(folder, "clusters"), ""
    if found is not None:
        found["rows"] = [row | {"variant": f"K = {row['clusters']}"} for row in found["rows"]]
        scored = {"with a mapper": "miou_masks", "proxy masks, no mapper": "miou_proxy"}
        series = {name: [(row["clusters"], row[key]) for row in found["rows"] if row.get(key) is not None] for name, key in scored.items()}
        drawn = plot(folder, "clusters", lines("mIoU by the number of clusters", series, "clusters", log_x=True))
    return ablation(folder, "clusters", found, "Number of clusters (Figure S4)", CLUSTERS, "miou_masks", "mIoU with a mapper", drawn)


def published(folder: Path) -> Section:
    """The published method against ours, with the distances over the steps."""
    found, drawn = renamed(read(folder, "published")), ""
    if found is not None:
        drawn = curves(folder, "published", found, "Distance over steps, proxy masks of other samples")
    title, key = "The published method against ours, at equal steps", "miou_masks"
    section = ablation(folder, "published", found, title, PUBLISHED, key, "mIoU with a mapper", drawn)
    return dataclasses.replace(section, more=BOTH if section.table else "")


def spread(values: Sequence[float], key: str = "") -> str:
    """Mean, and standard deviation where there are several; empty where there is none."""
    if not values:
        return ""
    return number(statistics.fmean(values), key) + (f" ± {number(statistics.pstdev(values), key)}" if len(values) > 1 else "")


def label_curve(folder: Path) -> Section:
    """What the number of labelled samples is worth; beside it samples that were chosen, as ``fit`` does, where they are measured."""
    title, found = "Label curve", read(folder, "labels")
    if found is None:
        return missing(title, "labels")
    found["rows"] = [row | {"variant": f"{row['labels']} labelled, draw {row['draw']}"} for row in found["rows"]]
    rows = [row for row in found["rows"] if not is_toy(row["steps"])] or found["rows"]
    chains = {labels: [row for row in rows if row["labels"] == labels] for labels in sorted({row["labels"] for row in rows})}
    parts = read(folder, "parts-avatars")
    same = parts is not None and parts["generator"] == found["generator"]
    chosen = {row["labels"]: row for row in parts["rows"] if row["variant"] in CHOSEN and not row["seed"]} if same else {}
    body = curve_table(chains, chosen)
    series = {"random samples, mean of the draws": [(n, statistics.fmean(row["miou_masks"] for row in of)) for n, of in chains.items()]}
    series |= {"chosen samples": [(n, row["miou_masks"]) for n, row in sorted(chosen.items())]} if chosen else {}
    drawn = plot(folder, "labels", lines("mIoU by labelled samples", series, "labelled samples", log_x=True))
    folded = {"Every chain": table(found["rows"], LABELS)}
    if all(is_toy(row["steps"]) for row in rows):
        return only_toys(title, [row["steps"] for row in rows], "labels", {"Numbers of the toys": joined([body, drawn]), **folded})
    notes = curve_notes(rows, chains) + ("" if same else " All of the avatars before, 64 pixels.")
    said = curve_found(chains) if same else f"Not measured yet for the model and recipe of today. Before: {curve_found(chains)}"
    return Section(title, said, "labels", notes, body, drawn, folded)


def curve_table(chains: Mapping[int, Sequence[Mapping[str, Any]]], chosen: Mapping[int, Mapping[str, Any]]) -> str:
    """A row a number of labelled samples: means and spreads over the draws, and the mIoU of chosen samples."""
    cells = []
    for labels, chain in chains.items():
        row = [str(labels), str(len(chain))]
        row += [spread([found[key] for found in chain], key) for key in ("miou_masks", "accuracy_masks", "frechet_masks")]
        cells.append([*row, *([cell(chosen.get(labels, {}), "miou_masks")] if chosen else [])])
    heads = ["labelled samples", "draws", "mIoU", "accuracy", "distance", *(["mIoU, chosen samples"] if chosen else [])]
    return markdown(heads, cells)


def curve_found(chains: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """The mIoU with the fewest and with the most labelled samples."""
    means = {labels: [row["miou_masks"] for row in rows] for labels, rows in chains.items()}
    few, many = min(means), max(means)
    start = f"With {few} labelled sample{'s' if few > 1 else ''}, drawn at random, pictures show their masks with mIoU {spread(means[few])}"
    if few == many:
        return f"{start}."
    share = 100 * statistics.fmean(means[few]) / statistics.fmean(means[many])
    return f"{start}, {share:.0f} % of the {spread(means[many])} with {many}."


def curve_notes(rows: Sequence[Mapping[str, Any]], chains: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """How many draws there are, what is not there yet, and which version measured it."""
    text = []
    single = [str(labels) for labels, of in chains.items() if len(of) < 2]
    if single:
        text.append(f"There is only one draw with {listed(single)} labelled samples.")
    wanted = [str(labels) for labels in (1, 4, 8, 16) if labels not in chains]
    if wanted:
        text.append(f"Not measured yet: {listed(wanted)} labelled samples.")
    text.append("Spreads are standard deviations over the draws.")
    versions = sorted({row["versions"].partition(",")[0] for row in rows if row.get("versions")})
    trained = [f"{steps:,}" for steps in sorted({row["mapper_steps"] for row in rows if "mapper_steps" in row})]
    return " ".join([*text, f"Measured with {listed(versions)}, mappers of {listed(trained)} steps."])
