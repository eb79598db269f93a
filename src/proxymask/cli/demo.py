"""The demonstration: example masks, and sketches and the like of samples, in several styles of the embedded model, on one contact sheet."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..conditions.scribble import COVERED, ScribbleCondition
from ..core.errors import ProxymaskError
from ..core.sizes import size_text
from ..imaging.grids import to_uint8
from ..imaging.labels import LabelSet
from ..imaging.mask_files import example_masks, find_masks
from ..imaging.masks import colorize
from ..imaging.pictures import FAINT, INK, PAPER, enlarged, font, from_pixels, legend, write_picture
from ..inference.synthesizer import Synthesizer

CELL, GAP, MARGIN, CAPTION, TITLE = 192, 8, 24, 22, 44
CANDIDATES = 48  # styles looked at to choose varied ones
SECTIONS = {"": "from the data", "free-form": "free-form: nothing like these is in the data"}  # of the examples, by folder


@dataclasses.dataclass(frozen=True)
class Row:
    """One mask or other condition and what became of it."""

    section: str
    name: str
    shown: np.ndarray
    """The mask in its colours, or the condition as people see it, uint8 (H, W, 3)."""
    proxy: np.ndarray
    """Colours of the proxy mask, uint8 (h, w, 3)."""
    pictures: list[np.ndarray]
    """One a style, uint8 (H, W, 3)."""


def run_demo(
    synth: Synthesizer,
    out: str | Path,
    masks: str | Path | None = None,
    styles: int = 6,
    seed: int = 0,
    truncation: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render every mask in several styles; write the pictures, the styles' own samples, the proxy masks and the contact sheet.

    For every other condition that the bundle has a mapper for, it is made of two of the samples and rendered too.

    Args:
        synth: an opened bundle with a mapper for masks.
        out: folder; files of an earlier demo are written over.
        masks: a mask file or a folder of masks; the examples where None.
        styles: how many styles.
        seed: first of the style seeds that are looked at.
        truncation: psi of the styles.
        progress: called with (pictures done, pictures).

    Returns:
        The contact sheet.

    Raises:
        ProxymaskError: no masks or bad ones, a bundle without labels, a folder that cannot be written.
    """
    out, labels = Path(out), synth.bundle.labels
    if labels is None:
        raise ProxymaskError(f"the bundle {synth.bundle.name} has no labels yet, so there is nothing to paint with: train its mapper first")
    if styles < 1:
        raise ProxymaskError(f"--styles must be 1 or more, got {styles}")
    files = find_masks(masks or example_masks(), labels)
    ids = [synth.read_mask(file.path) for file in files]  # bad masks are found before any work is done
    seeds, samples = varied_styles(synth, styles, seed, truncation)
    made = sample_conditions(synth, seeds, samples, truncation)
    total, done = (len(files) + len(made)) * styles, 0
    chosen = [synth.make_style(style, truncation=truncation) for style in seeds]
    for number, sample in zip(seeds, samples, strict=True):
        write_picture(out / "styles" / f"{number}.png", from_pixels(sample))
    rows = []

    def add(section: str, file: str, name: str, given: np.ndarray, logits: torch.Tensor) -> None:
        nonlocal done
        shown = synth.bundle.clusters.colorize(logits[0].argmax(dim=0))
        write_picture(out / "proxy" / f"{file}.png", Image.fromarray(shown))
        pictures = []
        for number, style in zip(seeds, chosen, strict=True):
            pixels = to_uint8(synth.render(synth.proxy_mask(logits, style), style))[0]
            write_picture(out / "pictures" / f"{file}__{number}.png", from_pixels(pixels))
            pictures.append(pixels)
            done += 1
            if progress:
                progress(done, total)
        rows.append(Row(section, name, given, shown, pictures))

    for file, mask in zip(files, ids, strict=True):
        section, _, name = file.name.rpartition("/")
        section = SECTIONS.get(section, section) if masks is None else section or "masks"
        add(section, file.name, name, colorize(mask, labels), synth.map(mask[None]))
    for one in made:
        write_picture(out / "conditions" / f"{one.file}.png", Image.fromarray(one.shown))
        add(f"{one.condition}: of samples", one.file, one.name, one.shown, synth.map_planes(one.planes, one.mapper))
    title = f"{synth.bundle.name}: {size_text(synth.size)}, cut at {synth.bundle.cut}, {synth.bundle.clusters.num_clusters} proxy clusters"
    return write_picture(out / "contact_sheet.png", contact_sheet(rows, seeds, samples, labels, title))


class Made(NamedTuple):
    """A condition made of a sample: what it is, the mapper that reads it, where it goes, what the mapper and what people see."""

    condition: str
    mapper: str
    file: str
    name: str
    planes: torch.Tensor
    shown: np.ndarray


@torch.inference_mode()
def sample_conditions(synth: Synthesizer, seeds: Sequence[int], samples: Sequence[np.ndarray], truncation: float = 1.0) -> list[Made]:
    """Each condition, besides masks, that the bundle has a mapper for, made of the first two samples.

    A condition whose extractor is not at hand (a package or weights are missing) is left out, with a warning.
    """
    out = []
    for mapper in sorted(synth.bundle.conditions):
        kind = synth.condition(synth.bundle.condition_of(mapper)["condition"])
        if isinstance(kind, ScribbleCondition):
            kind.covered = COVERED
        for seed, sample in list(zip(seeds, samples, strict=True))[:2]:
            picture = torch.from_numpy(sample.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            labels = synth.sample(synth.w([seed], truncation))[2] if kind.needs_labels else None
            try:
                planes = kind.extract(picture.to(synth.device), labels, torch.Generator().manual_seed(seed))
            except ProxymaskError as error:
                warnings.warn(f"{kind.name} is left out: {error}", stacklevel=2)
                break
            out.append(Made(kind.name, mapper, f"{mapper}/{seed}", f"of style {seed}'s sample", planes, kind.show(planes)[0]))
    return out


@torch.inference_mode()
def varied_styles(synth: Synthesizer, count: int, seed: int = 0, truncation: float = 1.0) -> tuple[list[int], list[np.ndarray]]:
    """Style seeds that look different, with their samples uint8 (H, W, 3).

    Out of the next ``CANDIDATES`` seeds, judged by their samples' coarse colours: the third that is least like any other is left out,
    because what stands alone is often a failure; then the one nearest to the mean, and always the one farthest from those chosen.
    """
    candidates = list(range(seed, seed + max(CANDIDATES, 2 * count)))
    z = synth.bundle.generator.z(candidates).to(synth.device)
    samples = np.concatenate([to_uint8(synth.sample(synth.cut.w(part, truncation))[0]) for part in z.split(8)])
    coarse = np.stack([np.asarray(from_pixels(x).resize((8, 8), Image.Resampling.BOX), dtype=np.float32).ravel() for x in samples])
    apart = np.linalg.norm(coarse[:, None] - coarse[None], axis=2)
    lonely = np.sort(apart, axis=1)[:, 1:5].mean(axis=1)
    usual = np.argsort(lonely, kind="stable")[: -(len(candidates) // 3)]
    chosen = [int(usual[np.linalg.norm(coarse[usual] - coarse.mean(axis=0), axis=1).argmin()])]
    while len(chosen) < count:
        chosen.append(int(usual[apart[usual][:, chosen].min(axis=1).argmax()]))
    return [candidates[i] for i in chosen], [samples[i] for i in chosen]


def contact_sheet(rows: Sequence[Row], seeds: Sequence[int], samples: Sequence[np.ndarray], labels: LabelSet, title: str) -> Image.Image:
    """The sheet: a row a mask (mask, proxy mask, a picture a style) under a row of the styles' own samples; the legend at the end."""
    sections = [(name, list(members)) for name, members in groupby(rows, key=lambda row: row.section)]
    step = CELL + GAP
    width = 2 * MARGIN + (2 + len(seeds)) * step - GAP
    key = legend(labels, width - 2 * MARGIN)
    height = 2 * MARGIN + TITLE + (len(rows) + 1) * (step + CAPTION) + len(sections) * TITLE + key.height
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, small, large = ImageDraw.Draw(sheet), font(15), font(22)

    def put(picture: Image.Image, column: int, y: int, caption: str = "") -> None:
        x = MARGIN + column * step
        sheet.paste(picture, (x, y))
        draw.text((x + CELL / 2, y + CELL + CAPTION / 2), _fitted(caption, small), FAINT, small, anchor="mm")

    y = MARGIN
    draw.text((MARGIN, y), title, INK, large)
    y += TITLE
    for column, text in enumerate(("input", "proxy mask")):
        draw.text((MARGIN + column * step + CELL / 2, y + CELL), text, INK, large, anchor="md")
    for column, (number, sample) in enumerate(zip(seeds, samples, strict=True), start=2):
        put(enlarged(sample, CELL, smooth=True), column, y, f"style {number}, its own sample")
    y += step + CAPTION
    for section, members in sections:
        draw.line((MARGIN, y + 2, width - MARGIN, y + 2), FAINT)
        draw.text((MARGIN, y + TITLE / 2), section, INK, large, anchor="lm")
        y += TITLE
        for row in members:
            put(enlarged(row.shown, CELL, smooth=False), 0, y, row.name)
            put(enlarged(row.proxy, CELL, smooth=False), 1, y)
            for column, pixels in enumerate(row.pictures, start=2):
                put(enlarged(pixels, CELL, smooth=True), column, y)
            y += step + CAPTION
    sheet.paste(key, (MARGIN, y))
    return sheet


def _fitted(text: str, face: object) -> str:
    """``text`` cut to the width of a cell."""
    while text and face.getlength(text) > CELL:  # type: ignore[attr-defined]
        text = text[:-2] + "…"
    return text
