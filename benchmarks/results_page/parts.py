"""What each part beyond the paper is worth, from ``ablations/parts-DOMAIN.json``."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.parts import ARMS, EARLIER, PARTS, Part

from proxymask.core.files import read_json
from proxymask.evaluation.report import number

from .ablations import sheet
from .form import Section, is_toy, joined, length, markdown, only_toys

TITLE = "What is each part beyond the paper worth?"
MIOU, DISTANCE, COLOURS = 0.01, 0.05, 0.05  # changes that count: of the mIoU by every judge, of the distance as a share of it without the
# part, of the share of pictures in the colours of their own style
SECOND_SEED = 0.02  # mIoU differences below which one seed is not enough
RULE = f"""A difference is on minus off, with every other setting and the seed the same, and without detail networks. Colours: share of
pictures whose colours are nearest to those of their own style, of 20 styles. A part pays where it makes mIoU (by every judge, {MIOU} or
more), distance ({100 * DISTANCE:.0f} % or more) or colours ({COLOURS} or more) better and none of the others worse by as much; where one
gets better and another worse, it is a trade. A part for speed has to cost nothing of these."""


@dataclasses.dataclass(frozen=True)
class Worth:
    """A part on one domain: means over the seeds that both arms have."""

    part: Part
    domain: str
    seeds: int
    steps: int
    """Rearranger steps of the shortest row."""
    miou: float
    """Without the part, by the main judge."""
    gains: Mapping[str, float]
    """On minus off of the mIoU, by judge, the main one first."""
    distance: float
    """Without the part."""
    distance_gain: float
    colours: float
    """Without the part."""
    colours_gain: float
    earlier: bool
    """Whether both arms are of the earlier recipe, with the mask in the keys."""

    @property
    def better(self) -> bool:
        """Whether mIoU, distance or colours are better with the part."""
        nearer = self.distance_gain <= -DISTANCE * self.distance
        return min(self.gains.values()) >= MIOU or nearer or self.colours_gain >= COLOURS

    @property
    def worse(self) -> bool:
        """Whether mIoU, by any judge, distance or colours are worse with the part."""
        farther = self.distance_gain >= DISTANCE * self.distance
        return min(self.gains.values()) <= -MIOU or farther or self.colours_gain <= -COLOURS

    @property
    def verdict(self) -> str:
        """``better`` and ``worse`` in words."""
        if self.better:
            return "a trade" if self.worse else "pays"
        return "costs" if self.worse else "no difference"


def worth(part: Part, domain: str, rows: Sequence[Mapping[str, Any]]) -> Worth | None:
    """What ``part`` is worth by the rows of a domain, by those of today's recipe where it has both arms; None where an arm is missing."""
    arms = {(row["variant"], row["seed"]): row for row in rows}
    for recipe in ("", EARLIER):
        names = recipe + part.on, recipe + part.off
        seeds = sorted({seed for _, seed in arms if all((name, seed) in arms for name in names)})
        if seeds:
            break
    else:
        return None
    both = [(arms[names[0], seed], arms[names[1], seed]) for seed in seeds]
    gains = {both[0][0]["judge"]: statistics.fmean(on["miou_masks"] - off["miou_masks"] for on, off in both)}
    for judge in both[0][0].get("judges", {}):
        gains[judge] = statistics.fmean(on["judges"][judge]["miou_masks"] - off["judges"][judge]["miou_masks"] for on, off in both)
    return Worth(
        part=part,
        domain=domain,
        seeds=len(seeds),
        steps=min(row["steps"] for pair in both for row in pair),
        miou=statistics.fmean(off["miou_masks"] for _, off in both),
        gains=gains,
        distance=statistics.fmean(off["frechet_masks"] for _, off in both),
        distance_gain=statistics.fmean(on["frechet_masks"] - off["frechet_masks"] for on, off in both),
        colours=statistics.fmean(off["style_consistency"] for _, off in both),
        colours_gain=statistics.fmean(on["style_consistency"] - off["style_consistency"] for on, off in both),
        earlier=bool(recipe),
    )


def domains(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every domain."""
    files = sorted((folder / "ablations").glob("parts-*.json"))
    return {path.stem.removeprefix("parts-"): read_json(path)["rows"] for path in files}


def found(folder: Path) -> list[Worth]:
    """What is known of every part on every domain, part by part."""
    rows = domains(folder)
    return [one for part in PARTS for domain in rows if (one := worth(part, domain, rows[domain])) is not None]


def sentences(worths: Sequence[Worth]) -> tuple[str, str]:
    """Which parts pay where; then what costs, and what is not sure yet. Toys are left out."""
    places = list(dict.fromkeys(one.domain for one in worths))
    known = {part: {one.domain: one for one in worths if one.part == part} for part in PARTS}
    groups: dict[tuple[str, ...], list[Part]] = {}
    for part in PARTS:
        if part.purpose == "quality" and known[part]:
            verdicts = (known[part][place].verdict if place in known[part] else "not measured yet" for place in places)
            groups.setdefault(tuple(verdicts), []).append(part)
    in_order = sorted(groups, key=lambda verdicts: -sum(verdict == "pays" for verdict in verdicts))
    text = "; ".join(f"{_where(verdicts, places)}: {titles(groups[verdicts])}" for verdicts in in_order)
    more = []
    if any(one.earlier for one in worths):
        more.append(
            "†: both arms with the style's own proxy mask in the keys, which has gone since ([decision](decisions.md#attention-start))."
        )
    fast = [one for one in worths if one.part.purpose == "speed"]
    if fast:
        costly = list(dict.fromkeys(one.part for one in fast if one.worse))
        free = dict.fromkeys(one.part for one in fast if one.part not in costly)
        more.append(f"Parts for speed that cost nothing: {titles(free)}; that cost something: {titles(costly)}.")
    small = [one for one in worths if one.seeds < 2 and abs(next(iter(one.gains.values()))) < SECOND_SEED]
    unsure = ", ".join(f"{one.part.title} ({one.domain})" for one in small)
    if unsure:
        more.append(f"Differences in mIoU below {SECOND_SEED}, of which one seed says little: {unsure}.")
    return f"{text[:1].upper()}{text[1:]}.", " ".join(more)


def _where(verdicts: Sequence[str], places: Sequence[str]) -> str:
    """The verdicts of a part in words: "pays on avatars, a trade on churches"."""
    at = {verdict: [place for place, said in zip(places, verdicts, strict=True) if said == verdict] for verdict in dict.fromkeys(verdicts)}
    return ", ".join(f"{verdict} on {' and '.join(where)}" for verdict, where in at.items())


def titles(parts: Iterable[Part]) -> str:
    """Titles of parts in a sentence; "none" where there are none."""
    return ", ".join(part.title for part in parts) or "none"


def section(folder: Path) -> Section | None:
    """What each part is worth; None where nothing was measured. Where all rows are toys, the table is folded."""
    worths = found(folder)
    if not worths:
        return None
    body = markdown(*table(worths))
    sheets = {}
    for domain in domains(folder):
        if pictures := sheet(folder, f"parts-{domain}", read_json(folder / "ablations" / f"parts-{domain}.json")):
            sheets[f"Pictures: {domain}"] = pictures
    how = f"{trained(folder)}\n\n{RULE}"
    grown = [one for one in worths if not is_toy(one.steps)]
    if not grown:
        folded = {"Numbers of the toys": joined([body, how]), **sheets}
        return only_toys(TITLE, [one.steps for one in worths], "parts", folded)
    sentence, more = sentences(grown)
    return Section(TITLE, sentence, "parts", more, body, folded={"How it was measured": how, **sheets})


def table(worths: Sequence[Worth]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows, one row a part."""
    places: dict[str, list[str]] = {}
    for one in worths:
        places.setdefault(one.domain, list(one.gains))
    marked = any(length(one.steps) for one in worths)
    heads, rows = ["", "steps", *(["length"] if marked else [])], []
    for domain, judges in places.items():
        further = [f"{domain}: mIoU on − off, judge {judge}" for judge in judges[1:]]
        heads += [f"{domain}: mIoU off", "on − off", *further, f"{domain}: distance off", "on − off", f"{domain}: colours off", "on − off"]
    for part in PARTS:
        mine = {one.domain: one for one in worths if one.part == part}
        if not mine:
            continue
        steps = " / ".join(f"{count:,}" for count in sorted({one.steps for one in mine.values()}))
        cells = [
            part.title,
            steps,
            *([length(min(one.steps for one in mine.values()))] if marked else []),
        ]
        for domain, judges in places.items():
            if (at := mine.get(domain)) is None:
                cells += ["–"] * (5 + len(judges))
                continue
            gains = [f"{at.gains[judge]:+.3f}" if judge in at.gains else "–" for judge in judges]
            cells += [number(at.miou) + (" †" if at.earlier else ""), *gains, number(at.distance, "frechet"), f"{at.distance_gain:+.2f}"]
            cells += [number(at.colours), f"{at.colours_gain:+.3f}"]
        rows.append(cells)
    return heads, rows


def trained(folder: Path) -> str:
    """How long the mappers were trained, how many pictures scored, and what has not been run."""
    text = []
    for domain, rows in domains(folder).items():
        mappers, counts = (" and ".join(f"{n:,}" for n in sorted({row[key] for row in rows})) for key in ("mapper_steps", "count"))
        seeds = sorted(Counter(row["variant"] for row in rows).values())
        each = f"{seeds[0]} to {seeds[-1]}" if seeds[0] != seeds[-1] else f"{seeds[0]}"
        said = f"{domain}: mappers of {mappers} steps, {counts} pictures, {each} seed{'s' if seeds[-1] > 1 else ''}"
        left = [name for name in ARMS if name not in {row["variant"].removeprefix(EARLIER) for row in rows}]
        text.append(said + (f"; not run yet: {', '.join(left)}" if left else ""))
    return "; ".join(text) + "."
