"""The demonstration: example masks, and conditions extracted from samples, rendered in several styles."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..conditions.scribble import COVERED, ScribbleCondition
from ..core.errors import ProxymaskError
from ..core.sizes import size_text
from ..core.threads import inference
from ..imaging.grids import to_uint8
from ..imaging.labels import LabelSet
from ..imaging.mask_files import MaskFile, examples_with, find_masks, no_examples
from ..imaging.masks import colorize
from ..imaging.pictures import check_writable, from_pixels, write_picture
from ..inference.detail_inputs import DetailInput, mask_inputs
from ..inference.synthesizer import Synthesizer
from .contact_sheet import Row, contact_sheet

CANDIDATES = 48  # styles of which varied ones are chosen
SAMPLES_PER_CONDITION = 2  # samples from which every condition of the bundle is extracted
FOLDERS = ("styles", "conditions", "proxy", "pictures", "contact_sheet.png")  # that a demo writes
SECTIONS = {"": "from the data", "free-form": "free-form: nothing like these is in the data"}  # of the examples, by folder


class Input(NamedTuple):
    """A mask or another condition that is rendered in every style."""

    section: str
    """Heading on the contact sheet."""
    file: str
    """Path of its results below their folders, without suffix."""
    name: str
    """Caption on the contact sheet."""
    shown: np.ndarray
    """The mask in its label colours, or the condition as a picture, uint8 (H, W, 3)."""
    logits: torch.Tensor
    """Output of the mapper (1, K, h, w)."""
    painted: tuple[DetailInput, ...]
    """The mask or condition itself."""


class SampleCondition(NamedTuple):
    """A condition extracted from a sample of the generator."""

    condition: str
    mapper: str
    """Name of the mapper that reads it."""
    file: str
    name: str
    planes: torch.Tensor
    """Input of the mapper (1, C, H, W) in [0, 1]."""
    shown: np.ndarray
    """The same as a picture, uint8 (H, W, 3)."""


def run_demo(
    synth: Synthesizer,
    out: str | Path,
    masks: str | Path | None = None,
    styles: int = 6,
    seed: int = 0,
    truncation: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render every mask in several styles; write the pictures, the samples of the styles, the proxy masks and the contact sheet.

    Every other condition that the bundle has a mapper for is extracted from two of the samples and rendered too.

    Args:
        synth: an opened bundle with a mapper for masks.
        out: folder; files of an earlier demo are replaced.
        masks: a mask file or a folder of masks; the examples with the bundle's classes where None.
        styles: number of styles.
        seed: first of the style seeds to choose from.
        truncation: psi of the styles.
        progress: called with (pictures done, pictures).

    Returns:
        The path of the contact sheet.

    Raises:
        ProxymaskError: no masks, no examples with these classes, or bad masks, a bundle without labels, a folder that cannot be written.
    """
    out, labels = Path(out), synth.bundle.labels
    if labels is None:
        raise ProxymaskError(f"--bundle {synth.bundle.name} has no labels yet, so it cannot read masks: train its mapper first")
    if styles < 1:
        raise ProxymaskError(f"--styles must be 1 or more, got {styles}")
    folder = masks or examples_with(labels)
    if folder is None:
        raise no_examples(labels, "give --masks MASKS")
    files = find_masks(folder, labels)
    real = Path(os.path.realpath(out))  # unlike Path.resolve, it takes links to themselves
    paths = [Path(os.path.realpath(file.path)) for file in files if masks is not None]
    if any(path.is_relative_to(real) and path != real and path.relative_to(real).parts[0] in FOLDERS for path in paths):
        raise ProxymaskError(f"--masks {masks} lies in a folder that --out {out} replaces: give another --out")
    ids = [synth.read_mask(file.path) for file in files]  # bad masks are found before any work is done
    check_writable(out, out)
    seeds, samples = varied_styles(synth, styles, seed, truncation)
    conditions = sample_conditions(synth, seeds, samples, truncation)
    for number, sample in zip(seeds, samples, strict=True):
        write_picture(out / "styles" / f"{number}.png", from_pixels(sample))
    for one in conditions:
        write_picture(out / "conditions" / f"{one.file}.png", Image.fromarray(one.shown))
    inputs = _mask_inputs(synth, files, ids, labels, examples=masks is None)
    for one in conditions:
        section = f"{one.condition}: extracted from samples"
        inputs.append(
            Input(section, one.file, one.name, one.shown, synth.map_planes(one.planes, one.mapper), (DetailInput(one.mapper, one.planes),))
        )
    rows = _render(synth, inputs, seeds, truncation, out, progress)
    title = f"{synth.bundle.name}: {size_text(synth.size)}, cut at {synth.bundle.cut}, {synth.bundle.clusters.num_clusters} proxy clusters"
    return write_picture(out / "contact_sheet.png", contact_sheet(rows, seeds, samples, labels, title))


def _mask_inputs(
    synth: Synthesizer, files: Sequence[MaskFile], masks: Sequence[np.ndarray], labels: LabelSet, examples: bool
) -> list[Input]:
    """Masks (H, W) of label ids as inputs, in sections named after their folders."""
    found = []
    for file, mask in zip(files, masks, strict=True):
        folder, _, name = file.name.rpartition("/")
        section = SECTIONS.get(folder, folder) if examples else folder or "masks"
        painted = mask_inputs(mask[None])
        found.append(Input(section, file.name, name, colorize(mask, labels), synth.map(mask[None]), painted))
    return found


def _render(
    synth: Synthesizer,
    inputs: Sequence[Input],
    seeds: Sequence[int],
    truncation: float,
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> list[Row]:
    """Render every input in every style; write the proxy masks and the pictures."""
    styles = [synth.make_style(seed, truncation=truncation) for seed in seeds]
    rows: list[Row] = []
    for one in inputs:
        proxy = synth.bundle.clusters.colorize(one.logits[0].argmax(dim=0))
        write_picture(out / "proxy" / f"{one.file}.png", Image.fromarray(proxy))
        pictures = []
        for seed, style in zip(seeds, styles, strict=True):
            pixels = to_uint8(synth.render(synth.proxy_mask(one.logits, style, one.painted), style, one.painted))[0]
            write_picture(out / "pictures" / f"{one.file}__{seed}.png", from_pixels(pixels))
            pictures.append(pixels)
            if progress:
                progress(len(rows) * len(seeds) + len(pictures), len(inputs) * len(seeds))
        rows.append(Row(one.section, one.name, one.shown, proxy, pictures))
    return rows


@inference
def sample_conditions(
    synth: Synthesizer, seeds: Sequence[int], samples: Sequence[np.ndarray], truncation: float = 1.0
) -> list[SampleCondition]:
    """Every condition except masks that the bundle has a mapper for, extracted from the first samples, uint8 (H, W, 3).

    A condition whose extractor cannot run (a package or weights are missing) is left out, with a warning.
    """
    out = []
    for mapper in sorted(synth.bundle.conditions):
        kind = synth.condition(synth.bundle.condition_of(mapper)["condition"], mapper=mapper)
        if isinstance(kind, ScribbleCondition):
            kind.covered = COVERED
        for seed, sample in list(zip(seeds, samples, strict=True))[:SAMPLES_PER_CONDITION]:
            picture = torch.from_numpy(sample.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            labels = synth.sample(synth.w([seed], truncation))[2] if kind.needs_labels else None
            try:
                if kind.needs_labels and labels is None:
                    raise ProxymaskError("it is made of labels, and the bundle has no segmenter")
                planes = synth.extract_condition(kind, picture, labels, torch.Generator().manual_seed(seed), mapper)
            except ProxymaskError as error:
                warnings.warn(f"{kind.name} is left out: {error.message}", stacklevel=2)
                break
            out.append(SampleCondition(kind.name, mapper, f"{mapper}/{seed}", f"sample of style {seed}", planes, kind.show(planes)[0]))
    return out


@inference
def varied_styles(synth: Synthesizer, count: int, seed: int = 0, truncation: float = 1.0) -> tuple[list[int], list[np.ndarray]]:
    """Style seeds that differ from each other, with their samples uint8 (H, W, 3).

    Chosen out of the next ``CANDIDATES`` seeds by the Euclidean distances of their samples at 8x8 pixels. First the third of the samples
    with the largest mean distance to its four nearest ones is left out, because outliers are often failures of the generator. Then the
    sample nearest to the mean is taken, and after it always the one that is farthest from those taken.
    """
    candidates = list(range(seed, seed + max(CANDIDATES, 2 * count)))
    parts = [candidates[start : start + synth.batch_size] for start in range(0, len(candidates), synth.batch_size)]
    samples = np.concatenate([to_uint8(synth.sample(synth.w(part, truncation))[0]) for part in parts])
    coarse = np.stack([np.asarray(from_pixels(x).resize((8, 8), Image.Resampling.BOX), dtype=np.float32).ravel() for x in samples])
    distances = np.linalg.norm(coarse[:, None] - coarse[None], axis=2)
    to_nearest = np.sort(distances, axis=1)[:, 1:5].mean(axis=1)
    usual = np.argsort(to_nearest, kind="stable")[: -(len(candidates) // 3)]
    chosen = [int(usual[np.linalg.norm(coarse[usual] - coarse.mean(axis=0), axis=1).argmin()])]
    while len(chosen) < count:
        chosen.append(int(usual[distances[usual][:, chosen].min(axis=1).argmax()]))
    return [candidates[i] for i in chosen], [samples[i] for i in chosen]
