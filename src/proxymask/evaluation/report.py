"""``report.html``: tables, plots and pictures of an evaluation in one file, without scripts and without links to other files."""

import base64
import io
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..core.sizes import short_text
from ..imaging.grids import tile
from .results import SCORES, SETS, Evaluation, judge_key
from .svg import bars

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #20242a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d9dde3; }
table { border-collapse: collapse; margin: .8rem 0; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #e8ebef; vertical-align: top; }
th { font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; } small, .faint { color: #6c7480; }
img { max-width: 100%; image-rendering: pixelated; } .main { background: #f3f7ff; } ul.notes li { margin: .3rem 0; }
"""
COLUMNS = ("masks", "proxy", "generator", "floor", "grid", "real")
HEADS = {
    "masks": "from masks",
    "proxy": "proxy masks, no mapper",
    "generator": "generator's own",
    "floor": "floor: real to real",
    "grid": "masks on the proxy grid and back",
    "real": "judge on real pictures",
    "copy": "baseline a: no rearranger",
    "table": "baseline b: no mapper",
}
"""Short names of the sets, for the heads of columns."""
MEANING = (
    "Each number is shown with its bounds. Distances: real pictures to other real ones (the floor) are the lower bound of any model, the "
    "generator's own samples that of this generator. Pictures from proxy masks of other samples show what the rearranger costs without "
    "the mapper. Scores against masks: masks reduced to the proxy grid and enlarged again show what that grid can hold; the judge on "
    "real pictures shows how accurate the judge itself is."
)


def write_report(path: Path, result: Evaluation) -> None:
    """Write the report of an evaluation, whole or not at all."""
    about = result.about
    title = f"Evaluation of {about['bundle']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _summary(result),
        _notes(result.messages),
        _section("Does the picture follow the mask?", _scores(result)),
        _section("The same, by each judge", _by_judge(result)),
        _section("Is it like real pictures?", _distances(result)),
        _section("Without learning", _baselines(result)),
        _section("Style, reconstruction, diversity, and masks that are ignored", _others(result)),
        _section("Pictures", _pictures(result)),
        _section("How it was measured", _about(result)),
    ]
    text = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style></head><body>"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text + "".join(body) + "</body></html>\n", encoding="utf-8", errors="backslashreplace")
    os.replace(temporary, path)


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _summary(result: Evaluation) -> str:
    about = result.about
    what = f"{short_text(about['resolution'])} pixels, cut at {about['cut']}, {about['clusters']} clusters"
    mapper = f", mapper {about['mapper']}" if about["mapper"] else ", without a mapper"
    mapper += " with its detail network" if about.get("details") else ""
    protocol = "supplement B.1 and C.1" if about["protocol"] == "paper" else "standard"
    line = f"{what}{mapper}; {about['count']:,} pictures of each kind, protocol: {protocol}, seed {about['seed']}."
    return f"<p>{escape(line)}</p><p class='faint'>{escape(MEANING)}</p>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return "<ul class='notes'>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def number(value: float | None, key: str = "") -> str:
    """A value as the report shows it; ``key`` is that of the number."""
    if value is None or value != value:
        return "–"
    if key.startswith(("frechet", "kernel")) or key == "identity_psnr":
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:.3f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], main: int | None = None) -> str:
    """An HTML table; the first column is text, the others are numbers, the column ``main`` is highlighted. Cells are HTML."""
    classes = ["" if i == 0 else " class='n'" for i in range(len(heads))]
    out = ["<table><tr>", *(f"<th{c}>{escape(head)}</th>" for c, head in zip(classes, heads, strict=True)), "</tr>"]
    for row in rows:
        cells = []
        for i, cell in enumerate(row):
            mark = " class='n main'" if i == main else classes[i]
            cells.append(f"<td{mark}>{cell}</td>")
        out += ["<tr>", *cells, "</tr>"]
    return "".join([*out, "</table>"])


def _grid(result: Evaluation, keys: Sequence[str], columns: Sequence[str]) -> str:
    """Numbers ``keys`` against sets ``columns``, with counts, leaving out columns that have none."""
    columns = [of for of in columns if any(result.find(key, of) for key in keys)]
    rows = []
    for key in keys:
        found = [result.find(key, of) for of in columns]
        name = next((row["name"] for row in found if row), None)
        if name is None:
            continue
        cells = []
        for row in found:
            if row is None:
                cells.append("")
                continue
            spread = f" ± {number(row['spread'], key)}" if row.get("spread") is not None else ""
            cells.append(f"{number(row['value'], key)}{spread}<br><small>{row['count']:,}</small>")
        rows.append([escape(name), *cells])
    if not rows:
        return ""
    return table(["", *(HEADS.get(of, SETS[of]) for of in columns)], rows, main=1 if columns[0] == "masks" else None)


def _scores(result: Evaluation) -> str:
    out = _grid(result, list(SCORES), ("masks", "proxy", "grid", "real"))
    classes = {of: row["classes"] for of in ("masks", "proxy", "grid", "real") if (row := result.find("miou", of)) and "classes" in row}
    if not classes:
        return out
    names = list(next(iter(classes.values())))
    out += bars("IoU of each class", names, {HEADS[of]: [found.get(name) for name in names] for of, found in classes.items()}, width=960)
    rows = [[escape(name), *(number(found.get(name)) for found in classes.values())] for name in names]
    out += "<h3>IoU</h3>" + table(["class", *(HEADS[of] for of in classes)], rows)
    for tolerance in (1, 2):
        found = {of: row["classes"] for of in classes if (row := result.find(f"boundary_f_{tolerance}px", of))}
        rows = [[escape(name), *(number(one.get(name)) for one in found.values())] for name in names]
        out += f"<h3>Boundary F-score at {tolerance} px</h3>" + table(["class", *(HEADS[of] for of in found)], rows)
    return out


def _by_judge(result: Evaluation) -> str:
    """Every score as each judge finds it, where there are several."""
    names = [judge["name"] for judge in result.about["judges"]]
    if len(names) < 2:
        return ""

    def found(key: str, of: str) -> list[dict[str, Any] | None]:
        return [result.find(key if name == names[0] else judge_key(key, name), of) for name in names]

    rows = []
    for key in (*SCORES, "mask_ignored", "style_consistency"):
        for of in ("masks", "proxy", "real", "copy", "table"):
            first, *others = found(key, of)
            if first is not None and any(others):
                values = ["" if row is None else number(row["value"], key) for row in (first, *others)]
                rows.append([escape(first["name"]), escape(HEADS[of]), *values])
    if not rows:
        return ""
    heads = [f"{judge['name']}, {short_text(judge['size'])} pixels" for judge in result.about["judges"]]
    out = table(["", "measured on", *heads], rows)
    read = {
        of: [row["classes"] if row else {} for row in found("miou", of)] for of in ("masks", "proxy", "real") if result.find("miou", of)
    }
    columns = [(f"{name}: {HEADS[of]}", classes) for of in read for name, classes in zip(names, read[of], strict=True)]
    classes = list(columns[0][1]) if columns else []
    by_class = [[escape(label), *(number(values.get(label)) for _, values in columns)] for label in classes]
    out += "<h3>IoU</h3>" + table(["class", *(head for head, _ in columns)], by_class) if by_class else ""
    return out + "<p class='faint'>Boundary F-scores are in pixels of each judge's own size.</p>"


def _distances(result: Evaluation) -> str:
    out = []
    for net in result.about["features"]:
        keys = [f"{kind}/{net['key']}" for kind in ("frechet", "frechet_ratio", "kernel", "precision", "recall")]
        if result.find(keys[0]) is None:
            continue
        out.append(f"<h3>{escape(net['name'])} features <small>{escape(net['resize'])}; weights {net['sha256'][:16]}</small></h3>")
        out.append(_grid(result, keys, ("masks", "proxy", "generator", "floor")))
        columns = [of for of in ("masks", "proxy", "generator", "floor") if result.find(keys[0], of)]
        first = result.find(keys[0])
        if first is not None:
            out.append(bars(first["name"], [HEADS[of] for of in columns], {"": [result.value(keys[0], of) for of in columns]}))
    if not out:
        return ""
    text = "A distance in other features than Inception's is no FID, and numbers of different features or counts cannot be compared."
    return "".join(out) + f"<p class='faint'>{text}</p>"


def _baselines(result: Evaluation) -> str:
    keys = [*SCORES, *(f"frechet_baseline/{net['key']}" for net in result.about["features"])]
    columns = ("masks", "copy", "table")
    return _grid(result, keys, columns) if any(result.find(key, "copy") for key in keys) else ""


def _others(result: Evaluation) -> str:
    starts = ("agreement", "unchanged", "mask_ignored", "style_consistency", "identity_", "diversity")
    shown = [row for row in result.numbers if row["key"].startswith(starts) and "judge" not in row]
    if not shown:
        return ""
    rows = []
    for row in shown:
        spread = f" ± {number(row['spread'], row['key'])}" if row.get("spread") is not None else ""
        chance = f" <small>(chance {row['chance']:.3f})</small>" if "chance" in row else ""
        rows.append([escape(row["name"]), escape(row["title"]), f"{number(row['value'], row['key'])}{spread}{chance}", f"{row['count']:,}"])
    return table(["", "measured on", "value", "count"], rows)


def _pictures(result: Evaluation) -> str:
    what = "the mask, or the sample that gave the proxy mask; the style sample; the picture; the judge's segmentation of it"
    out = [f"<p class='faint'>Rows: {what}. Ranked by IoU.</p>"]
    for title, rows in result.sheets.items():
        if rows and len(rows[0]):
            scale = max(1, round(112 / rows[0].shape[1]))
            out.append(f"<h3>{escape(title)}</h3><img alt='{escape(title)}' src='{picture_url(rows, scale)}'>")
    return "".join(out)


def picture_url(rows: list[np.ndarray], scale: int = 1) -> str:
    """A sheet of rows (N, H, W, 3) uint8 as the data URL of a PNG file."""
    buffer = io.BytesIO()
    tile(rows, scale).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _about(result: Evaluation) -> str:
    about = result.about
    rows = [
        ["bundle", f"{escape(str(about['bundle']))}, {about['bundle_sha256']}"],
        ["reference pictures", f"{about['data']['fingerprint'][:16]} ({about['data']['pictures']:,} there)"],
    ]
    if about["masks"]:
        rows.append(["masks", f"{about['masks']['fingerprint'][:16]} ({about['masks']['pictures']:,} there)"])
    for judge in about["judges"]:
        score = judge["accuracy"]
        parts = [f"{name} {score[key]:.3f}" for key, name in (("miou", "mIoU"), ("accuracy", "accuracy")) if key in score]
        own = f"its own: {', '.join(parts)} on {score.get('count', 0):,} real pictures outside its training set"
        rows.append([f"judge {escape(judge['name'])}", f"{judge['sha256'][:16]}, {short_text(judge['size'])} pixels; {own}"])
    rows += [[f"{escape(net['name'])} features", f"{net['sha256'][:16]}; {escape(net['resize'])}"] for net in about["features"]]
    rows += [
        ["distances by", escape(about["backend"])],
        ["computed on", f"{escape(about['device'])}, {escape(about['precision'])}; {escape(about['versions'])}; {about['seconds']:.0f} s"],
    ]
    rows += [[f"unstated in the paper: {escape(what)}", escape(taken)] for what, taken in about.get("unstated", {}).items()]
    return "<table>" + "".join(f"<tr><th>{a}</th><td>{b}</td></tr>" for a, b in rows) + "</table>"
