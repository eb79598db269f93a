"""Pictures from masks, evaluated: every ``evaluation-DOMAIN-REST.json`` (a metrics.json of ``proxymask evaluate``), a table a domain."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from proxymask.core.files import read_json
from proxymask.evaluation.report import HEADS, number
from proxymask.evaluation.svg import bars

from .form import COMMANDS, Section, by_judge, current, fold, joined, listed, load, markdown, missing, plot, words

TITLE = "Pictures from masks, evaluated"
COLUMNS = ("masks", "proxy", "generator", "floor", "grid", "real", "copy", "table")
BOTH = {"real pictures": ("floor", "real")}  # one column: for distances the floor, for scores the judge on real pictures
SHARED = {"proxy masks, no mapper": ("proxy",), "generator's own": ("generator",), "masks on the proxy grid and back": ("grid",), **BOTH}
ROWS = {
    "frechet": "distance to real pictures",
    "frechet_ratio": "distance relative to the generator's own",
    "miou": "mIoU",
    "boundary_f_1px": "boundary F-score, 1 pixel",
    "accuracy": "pixel accuracy",
    "style_consistency": "colours of the own style",
    "diversity": "diversity",
}
LEGEND = """* Proxy masks, no mapper: pictures from proxy masks of other samples. Scored against the judge's reading of that sample.
* Masks on the proxy grid and back: masks made as coarse as a proxy mask, scored without any picture.
* Real pictures: for the distance other real pictures, the floor; for the scores the judge's reading of them, its own accuracy. All
  distances are to pictures that the generator learned from, and the floor is between two parts of these.
* Distance relative to the generator's own: both distances less the floor. It is below 1 where real masks bring layouts that the
  generator's own samples have less often.
* The proxy grid is no upper bound where a detail network draws what is finer.
* Colours of the own style: share of pictures whose colours are nearest to those of their own style, of 20 styles (by chance 0.05).
* Diversity: perceptual distance between pictures of one mask in several styles, in the features of the judge."""
UNSAID = ("FID and KID proper", "not computed:", "no masks:")  # notes about what is not here, of which the page has sentences of its own


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """One evaluation."""

    domain: str
    name: str
    """What the file's name says after the domain, "16 labels"; of the paper's protocol "supplement B.1"."""
    about: Mapping[str, Any]
    notes: Sequence[str]
    found: Sequence[Mapping[str, Any]]

    @property
    def at(self) -> dict[tuple[str, str], float]:
        """Values by key and set."""
        return {(row["key"], row["of"]): row["value"] for row in self.found}

    @property
    def judges(self) -> list[str]:
        """Names of the judges, the main one first."""
        return [judge["name"] for judge in self.about.get("judges", [])]

    def classes(self, key: str, of: str) -> dict[str, float]:
        """The IoU of each class."""
        return next((row["classes"] for row in self.found if (row["key"], row["of"]) == (key, of) and "classes" in row), {})


def evaluated(folder: Path, start: str = "evaluation-") -> list[Evaluated]:
    """All evaluations that are there: of a domain first those with most labelled samples, at last that of the supplement."""
    found = []
    for path in sorted(folder.glob(f"{start}*.json")):
        stored = read_json(path)
        if "numbers" not in stored:
            continue
        paper = stored["about"]["protocol"] == "paper"
        domain, _, rest = path.stem.removeprefix(start).removeprefix("paper-").partition("-")
        name = "supplement B.1" if paper else words(rest) or "from masks"
        found.append(Evaluated(domain, name, stored["about"], stored.get("notes", []), stored["numbers"]))
    return sorted(found, key=lambda one: (one.domain, one.name == "supplement B.1", -_labels(one.name), one.name))


def _labels(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits[0]) if digits else 0


def section(folder: Path) -> Section:
    """All domains, a short table and a plot each."""
    every = evaluated(folder)
    if not every:
        return missing(TITLE, "evaluation")
    domains = {domain: [one for one in every if one.domain == domain] for domain in dict.fromkeys(one.domain for one in every)}
    blocks = [fold("What the rows and columns mean", LEGEND)]
    for domain, ones in domains.items():
        blocks += [f"### {domain.capitalize()}", *of_domain(folder, domain, ones)]
        if domain == "avatars":
            blocks.append(earlier(folder))
    paper = f"; supplement B.1: {COMMANDS['paper']}" if any(one.about["protocol"] == "paper" for one in every) else ""
    blocks.append(f"Command: {COMMANDS['evaluation']}{paper}")
    return Section(TITLE, " ".join(filter(None, (headline(domain, ones) for domain, ones in domains.items()))), more=joined(blocks))


def mapped(ones: Sequence[Evaluated]) -> list[Evaluated]:
    """Those with pictures from masks."""
    return [one for one in ones if ("miou", "masks") in one.at]


def headline(domain: str, ones: Sequence[Evaluated]) -> str:
    """What was found on a domain, in one sentence."""
    scored = mapped(ones)
    if not scored:
        return without_masks(domain, ones[0])
    at = scored[0].at
    said = listed([f"{one.at['miou', 'masks']:.3f} ({one.name})" for one in scored])
    bounds = {"grid": "masks reduced to the proxy grid and enlarged again score {:.3f}", "real": "the judge reads real pictures at {:.3f}"}
    limits = listed([text.format(at["miou", of]) for of, text in bounds.items() if ("miou", of) in at])
    return f"On {domain} pictures show their masks with mIoU {said}" + (f"; {limits}." if limits != "none" else ".")


def without_masks(domain: str, one: Evaluated) -> str:
    """What was found on a domain whose pictures have no exact masks."""
    ratios = {key.partition("/")[2]: value for (key, of), value in one.at.items() if key.startswith("frechet_ratio/") and of == "proxy"}
    kept = one.at.get(("agreement", "proxy"))
    if kept is None or not ratios:
        return ""
    far = listed([f"{value:.2f} times ({network})" for network, value in ratios.items()])
    return (
        f"On {domain}, which have no exact masks, {100 * kept:.1f} % of the positions get the cluster of the proxy mask, and pictures are "
        f"{far} as far from real ones as the generator's own, both less the floor."
    )


def losses(ones: Sequence[Evaluated]) -> str:
    """Where the pictures are worse than they could be."""
    parts = []
    ratios = [f"{v:.2f} ({one.name})" for one in ones if (v := one.at.get(("frechet_ratio/judge", "masks"))) is not None and v > 1]
    if ratios:
        parts.append(f"the pictures are {listed(ratios)} times as far from real ones as the generator's own, both less the floor")
    parts += weakest(ones)
    others = [f"{100 - 100 * v:.0f} % ({one.name})" for one in ones if (v := one.at.get(("style_consistency", "masks"))) is not None]
    if others:
        parts.append(f"{listed(others)} of the pictures have colours nearer to those of another style")
    return f"Where it loses: {'; '.join(parts)}." if parts else ""


def weakest(ones: Sequence[Evaluated]) -> list[str]:
    """The class with the lowest IoU, and how well the judge reads it in real pictures; a text a class."""
    found: dict[str, list[Evaluated]] = {}
    for one in ones:
        classes = one.classes("miou", "masks")
        if classes:
            found.setdefault(min(classes, key=lambda name: classes[name]), []).append(one)
    text = []
    for name, of in found.items():
        said = listed([f"{one.classes('miou', 'masks')[name]:.2f} ({one.name})" for one in of])
        real = of[0].classes("miou", "real").get(name)
        text.append(f"the weakest class is {words(name)}, IoU {said}" + ("" if real is None else f", in real pictures {real:.2f}"))
    return text


def supplement(one: Evaluated) -> str:
    """What the protocol of the supplement found: proxy masks of other samples, without a mapper."""
    scores = {of: [one.at.get((f"{key}/judge", of)) for key in ("frechet", "precision", "recall")] for of in ("proxy", "generator")}
    if any(value is None for values in scores.values() for value in values):
        return ""
    said = [f"distance {distance:.2f}, precision {precision:.2f}, recall {recall:.2f}" for distance, precision, recall in scores.values()]
    return f"Supplement B.1, {one.about['count']:,} pictures from proxy masks of other samples: {said[0]}; the generator's own: {said[1]}."


def second_opinion(ones: Sequence[Evaluated]) -> str:
    """The mIoU by each further judge."""
    text = []
    for judge in dict.fromkeys(name for one in ones for name in one.judges[1:]):
        said = [f"{one.at[f'miou/{judge}', 'masks']:.3f} ({one.name})" for one in ones if (f"miou/{judge}", "masks") in one.at]
        if said:
            text.append(f"The {by_judge(ones[0].judges, judge)} ({judge}) finds mIoU {listed(said)}.")
    return " ".join(text)


def remarks(ones: Sequence[Evaluated]) -> str:
    """The notes of the evaluations, each once."""
    by_note: dict[str, list[str]] = {}
    for one in ones:
        for note in one.notes:
            if not note.startswith(UNSAID):
                by_note.setdefault(current(note), []).append(one.name)
    text = [note[0].upper() + note[1:] + ("" if len(names) == len(ones) else f" ({listed(names)})") for note, names in by_note.items()]
    return " ".join(f"{note}." for note in text)


def of_domain(folder: Path, domain: str, ones: Sequence[Evaluated]) -> list[str]:
    """Sentences, short table, plot and folded numbers of a domain."""
    shown = mapped(ones) or list(ones[:1])
    about = shown[0].about
    how = f"{about['count']:,} pictures of each kind, {about['resolution']} pixels, cut at {about['cut']}, {about['clusters']} clusters."
    paper = [supplement(one) for one in ones if one.about["protocol"] == "paper"]
    opening = [second_opinion(shown), losses(shown)] if mapped(ones) else [headline(domain, ones)]
    blocks = [" ".join(filter(None, opening)), " ".join(filter(None, [how, *paper, remarks(shown)]))]
    blocks.append(short(shown))
    drawn = {one.name: one.classes("miou", "masks") for one in shown}
    drawn |= {head: shown[0].classes("miou", of) for head, of in (("masks on the proxy grid and back", "grid"), ("real pictures", "real"))}
    drawn = {head: classes for head, classes in drawn.items() if classes}
    if drawn:
        names = list(next(iter(drawn.values())))
        series = {head: [classes.get(name) for name in names] for head, classes in drawn.items()}
        svg = bars(f"IoU of each class, {domain}", [words(name) for name in names], series, width=960)
        blocks.append(plot(folder, f"evaluation-{domain}", svg))
    classes = of_classes(shown)
    blocks += [fold("IoU of each class", classes)] if classes.strip() else []
    blocks += [fold(f"All numbers: {one.name}", everything(one)) for one in ones]
    return blocks


def short(ones: Sequence[Evaluated]) -> str:
    """The short table: both mappers side by side, then what they are compared with (of the first evaluation)."""
    judges = ones[0].judges
    keys = [row["key"] for one in ones for row in one.found]
    rows = []
    for start, title in ROWS.items():
        for key in dict.fromkeys(key for key in keys if key.split("/")[0] == start):
            which = key.partition("/")[2]
            which = by_judge(judges, which) if which in judges else which.removeprefix("judge")  # frechet/judge: by the first judge
            values = [one.at.get((key, "masks")) for one in ones]
            values += [next((ones[0].at[key, of] for of in sets if (key, of) in ones[0].at), None) for sets in SHARED.values()]
            if any(value is not None for value in values):
                cells = ["" if value is None else number(value, key) for value in values]
                rows.append([f"{title}, {which}" if which else title, *cells])
    heads = ["", *(one.name for one in ones), *SHARED]
    kept = [at for at in range(len(heads)) if at == 0 or any(row[at] for row in rows)]
    return markdown([heads[at] for at in kept], [[row[at] for at in kept] for row in rows])


def of_classes(ones: Sequence[Evaluated]) -> str:
    """The IoU of each class by each judge."""
    blocks = []
    for key, judge in {"miou": (ones[0].judges or ["judge"])[0], **{f"miou/{name}": name for name in ones[0].judges[1:]}}.items():
        columns = {one.name: one.classes(key, "masks") for one in ones}
        columns |= {HEADS[of]: ones[0].classes(key, of) for of in ("proxy", "grid", "real", "copy", "table")}
        columns = {head: classes for head, classes in columns.items() if classes}
        if columns:
            names = list(next(iter(columns.values())))
            rows = [[words(name), *(number(classes.get(name)) for classes in columns.values())] for name in names]
            blocks.append(f"Judge {judge}:\n\n{markdown(['', *columns], rows)}")
    return joined(blocks)


def everything(one: Evaluated) -> str:
    """All numbers of an evaluation."""
    columns = [of for of in COLUMNS if any(row["of"] == of for row in one.found)]
    single = [row for row in one.found if row["of"] == "samples" or row["key"] == "diversity"]
    rows = []
    for key in dict.fromkeys(row["key"] for row in one.found if row not in single):
        cells = {row["of"]: row for row in one.found if row["key"] == key}
        name = current(next(iter(cells.values()))["name"])
        rows.append([name, *(number(cells[of]["value"], key) if of in cells else "" for of in columns)])
    how = f"{one.about['count']:,} pictures of each kind; " + (f"mapper {one.about['mapper']}" if one.about["mapper"] else "no mapper")
    others = [[current(r["name"]), number(r["value"], r["key"]), f"{r['count']:,}"] for r in single]
    measured = f"{how}; {one.about['versions'].partition(',')[0]}, seed {one.about['seed']}."
    return joined(
        [measured, markdown(["", *(HEADS[of] for of in columns)], rows), markdown(["", "value", "pictures"], others), shares(one.at)]
    )


def shares(at: Mapping[tuple[str, str], float]) -> str:
    """Which part loses how much of the distance, as far as the bounds show."""
    steps = [("floor", "floor"), ("generator", "generator"), ("rearranger", "proxy"), ("mapper (with its segmenter)", "masks")]
    values = [(name, at.get(("frechet/judge", of))) for name, of in steps]
    known = [(name, value) for name, value in values if value is not None]
    if len(known) < len(values):
        return ""
    parts = [f"{known[0][0]} {known[0][1]:.2f}", *(f"{name} {value - before:+.2f}" for (_, before), (name, value) in pairwise(known))]
    return f"What each part adds to the distance: {', '.join(parts)}.\n"


EARLIER = {
    "mask_driven": "16 labels",
    "proxy_driven": "proxy masks, no mapper",
    "generator": "generator's own",
    "floor": "floor: real to real",
}


def earlier(folder: Path) -> str:
    """An earlier measurement without detail networks; the one that has a mapper of 4 labels, and 10,000 pictures."""
    files = sorted(folder.glob("avatars-*-label*.json"), key=lambda path: -_labels(path.stem.removeprefix("avatars-")))
    found = {words(path.stem.removeprefix("avatars-")): read_json(path) for path in files}
    if not found:
        return ""
    first = next(iter(found.values()))
    scored = {name: stored["mask_to_picture"] for name, stored in found.items()}
    scored |= {HEADS["proxy"]: first["proxy_only"], HEADS["grid"]: first["proxy_grid_and_back"], HEADS["real"]: first["judge_on_real"]}
    rows = [
        [title, *(number(one.get(key)) for one in scored.values())] for key, title in (("miou", "mIoU"), ("accuracy", "pixel accuracy"))
    ]
    rows += [
        [f"IoU of {words(name)}", *(number(one["iou"].get(name)) for one in scored.values())] for name in first["judge_on_real"]["iou"]
    ]
    empty = [""] * (len(scored) - len(found))
    rows.append(["colours of the own style", *(number(stored["style_consistency"]["share"]) for stored in found.values()), *empty])
    heads = [*found, *(head for key, head in EARLIER.items() if key != "mask_driven")]
    compared = [first["feature_distance"][key] for key in EARLIER if key != "mask_driven"]
    distances = [["500", *(number(stored["feature_distance"]["mask_driven"], "frechet") for stored in found.values())]]
    distances[0] += [number(value, "frechet") for value in compared]
    many = load(folder / "distance-10000.json")
    if many is not None:
        at = {head: number(many[key], "frechet") for key, head in EARLIER.items()}
        distances.append([f"{many['count']:,}", *(at.get(head, "") for head in heads)])
    text = """The model of that time had no detail networks, and one of its mappers had learnt from 4 labelled samples. 500 masks;
measured with `benchmarks/quality.py` of commit ad2af9b."""
    blocks = [text, markdown(["", *scored], rows), "Distance to real pictures:", markdown(["pictures", *heads], distances)]
    return fold("An earlier measurement, also with 4 labels", joined(blocks))
