"""The labelled samples of a ``fit``: where they are, how they are read, and the samples that are written for labelling."""

import os
from pathlib import Path

from ...core.errors import ProxymaskError
from ...imaging.labels import LabelSet
from ...inference.samples import (
    SampleNetworks,
    has_sidecars,
    painted_masks,
    read_label_set,
    read_labelled,
    read_sidecar,
    select_samples_to_label,
    write_samples,
)
from .state import FitState, Labelled, needed

CANDIDATES = 256  # samples from which those to label are chosen
TEMPLATE = LabelSet.of((("background", "#000000"), ("part 1", "#e6194b"), ("part 2", "#3cb44b"), ("part 3", "#4363d8")))
README = """\
One painted sample is enough to train the model on your labels; up to 16 make it better. They are sorted: begin with 000000.png,
which shows most of what the generator can draw.

1. Edit labels.json: one entry for each kind of region, with ids 0, 1, 2, ..., a name and a colour. Remove what you do not need.
2. Open 000000.png in any image editor and paint over it with these colours, best with hard edges: every pixel belongs to one
   label. Do not change the size of the canvas (a whole multiple of it is fine).
3. Save the painting as 000000.mask.png in this folder, next to 000000.png and 000000.json. Do not change those two.
4. Repeat with 000001.png and so on as long as you like.
5. Run the command that made this folder once more. It continues from here.

A mask may also be a grey or palette picture whose values are the ids, or a folder 000000.mask/ with one black-and-white picture
for each label, named after it.
"""


def folder_to_label(state: FitState) -> Path:
    """Where samples to label are written."""
    return state.work / "to-label"


def label_folder(state: FitState) -> Path | None:
    """The folder of painted masks: --labels, or the samples that were written for labelling; None while nothing is painted."""
    if state.config.labels is not None:
        return state.config.labels
    first = folder_to_label(state) / "000000.json"
    if state.generator is None or not first.is_file() or read_sidecar(first).generator != state.generator_hash:
        return None
    return folder_to_label(state) if painted_masks(folder_to_label(state)) else None


def load_labels(state: FitState) -> bool:
    """Read the labelled samples, if there are any; returns whether they are there.

    As long as there is no generator, they are read only to find mistakes in them early.

    Raises:
        ProxymaskError: they cannot be read, or are of another generator.
    """
    folder = label_folder(state)
    if state.labelled is not None or folder is None:
        return state.labelled is not None
    samples = state.config.samples
    if samples is None and not has_sidecars(folder) and folder_to_label(state).is_dir():
        samples = folder_to_label(state)  # a folder of masks alone, painted over those samples
    own = (folder / "labels.json").is_file() or samples is None or not (samples / "labels.json").is_file()
    labels = read_label_set(folder if own or samples is None else samples)
    ws, masks, names = read_labelled(
        folder, labels, None if state.generator is None else state.generator_hash, samples, state.config.strict
    )
    state.num_labels, state.num_labelled = len(labels), len(names)
    if state.generator is not None:
        state.labelled = Labelled(labels, ws, masks, names)
    return state.labelled is not None


def write_samples_to_label(state: FitState) -> None:
    """Write the samples most worth labelling, with a template of labels.json and instructions. Samples of another generator are renamed."""
    folder, number = folder_to_label(state), state.config.label_samples
    first = folder / "000000.json"
    if first.is_file():
        old = read_sidecar(first).generator
        if old != state.generator_hash:
            aside = folder.with_name(f"{folder.name}.{old[:8]}")
            os.replace(folder, aside)
            state.report.say(f"samples of an earlier generator are kept as {aside}")
        elif (folder / f"{number - 1:06d}.png").is_file():
            return  # complete; labels.json may have been edited
    try:
        _write_samples(state, folder, number)
    except OSError as error:
        raise ProxymaskError(f"cannot write {folder} ({error.strerror or error}): make room and run the same command again") from None


def _write_samples(state: FitState, folder: Path, number: int) -> None:
    split, clusters = state.split().to(state.device), needed(state.clusters).to(state.device)
    seeds = select_samples_to_label(split, clusters, number, max(CANDIDATES, number), state.config.seed, state.dtype)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "labels.json").is_file():
        TEMPLATE.save(folder / "labels.json")
    (folder / "README.txt").write_text(README, encoding="utf-8")
    with state.report.progress("samples to label") as count:
        write_samples(SampleNetworks(split, clusters, precision=state.dtype), seeds, folder, with_proxy=True, progress=count)
