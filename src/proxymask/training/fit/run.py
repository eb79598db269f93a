"""``fit``: run every stage that is missing, in order.

Everything is kept in the work folder ``<out>.work``, one run folder a stage. A stage is done when its run folder is finished and has the
identity that the stage has now. So the same command continues after any stop, and other settings, pictures or labels redo exactly the
stages that depend on them; earlier results are renamed, not deleted.
"""

import dataclasses
import json
from collections.abc import Sequence

from ...core.checks import checked
from ...core.errors import ProxymaskError, os_reason
from ...core.files import write_json
from ...core.memory import reset_peak
from ...core.sizes import size_text
from ...core.text import shell_word
from ...data.prepare import prepared_folder
from ...inference.samples import painted_masks
from ..checkpoint import steps_done
from ..cost import TimeLeft
from ..distributed import barrier, is_main, main_lock, processes
from ..loop import Stopped
from ..parts import open_pictures
from ..presets import STAGES
from ..run_dirs import mark_of
from ..stages.segmenter import absent_labels
from .advice import advice
from .bundle import has_mapper, write_bundle
from .config import FitConfig, FitResult, Report, Silent
from .inputs import check_arguments, open_inputs
from .labels import folder_to_label, load_labels, write_samples_to_label
from .plan import check_disk, make_plan
from .state import FitState, needed

ORDER = ("pictures", "generator", "clusters", "rearranger", "labels", "segmenter", "mapper", "detail")


@checked
def fit(config: FitConfig, report: Report | None = None) -> FitResult:
    """Run every missing stage: pictures, generator, clusters, rearranger, (samples to label,) segmenter, mapper, detail network, bundle.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the same call continues.
        ProxymaskError: wrong arguments, which is known before a stage is run; another process in the work folder; a full disk; a training
            that failed.
    """
    with processes(config.device):
        state = FitState(config, report if report is not None and is_main() else Silent())
        try:
            check_arguments(config, state.work)
            start = config.bundle or config.generator or config.images
            state.report.say(f"fit: {start} -> {state.out}: opens what is there, then measures how long the missing stages take")
            open_inputs(state)
            load_labels(state)  # mistakes in them are better known now than after hours
            with main_lock(state.work):
                return _run(state)
        except KeyboardInterrupt:
            raise Stopped(f"stopped; {_kept(state)}; run the same command again to go on") from None


def _kept(state: FitState) -> str:
    """What a stop outside of training leaves."""
    done = [stage for stage in ORDER if mark_of(state.work / stage) is not None]
    begun = [stage for stage in ORDER if stage not in done and steps_done(state.work / stage)]
    if not done and not begun:
        return "nothing was computed yet that is kept, except pictures that are prepared"
    parts = [", ".join(done)] if done else []
    parts += [f"{stage} up to step {steps_done(state.work / stage):,}" for stage in begun]
    return f"what is done is kept in {state.work} ({'; '.join(parts)})"


def _run(state: FitState) -> FitResult:
    missing = _missing(state)
    if (again := _made_again(state, missing)) is not None:
        state.report.say(again)
    if missing and missing[0] != "labels":  # nothing can be run before they are painted
        with state.report.progress("measuring how fast this machine is") as count:
            plan = make_plan(state, missing, count)
        state.costs = {row.stage: row.cost for row in plan.rows}
        state.report.say("\n".join(plan.lines))
        check_disk(state.out.parent, plan.disk)
    _write_settings(state)
    while missing:
        if missing[0] == "labels":
            return _ask_for_labels(state)
        _run_stage(state, missing[0])
        missing = _missing(state)
    _write_bundle(state)
    return FitResult(state.out, None)


def _made_again(state: FitState, missing: Sequence[str]) -> str | None:
    """What to say before anything is measured or trained, where the first missing stage was done already, of other pictures or settings."""
    if not missing or missing[0] not in STAGES or mark_of(state.work / missing[0]) is None:
        return None
    if state.definition(missing[0]).can_continue(state.work / missing[0]):
        return None
    again = [stage for stage in missing if mark_of(state.work / stage) is not None]
    written = folder_to_label(state)
    painted = state.config.labels is None and "generator" in again and written.is_dir() and painted_masks(written)
    labels = "; samples that were painted do not fit a new generator, so that new ones are written for labelling" if painted else ""
    return f"{', '.join(again)}: done already, of other pictures or settings; made again, and what is there is kept{labels}"


def _missing(state: FitState) -> list[str]:
    """The stages that are not done, in order; the networks of those before them are loaded."""
    stages = [stage for stage in ORDER if stage != "detail" or state.with_detail]
    for index, stage in enumerate(stages):
        if not _load(state, stage):
            return stages[index:]
    return []


def _load(state: FitState, stage: str) -> bool:
    """Load the result of a stage, if it is done; returns whether it is."""
    if stage == "pictures":
        return _load_pictures(state)
    if stage == "labels":
        return load_labels(state)
    done = state.load(stage)
    if stage == "generator" and done:
        load_labels(state)  # samples of another generator are reported before anything else is trained
    return done


def _load_pictures(state: FitState) -> bool:
    images = state.config.images
    if images is None or state.pictures is not None:
        return True
    if any((folder / "index.json").is_file() for folder in (images, prepared_folder(images, state.size))):
        state.pictures = open_pictures(images, state.size)  # prepares only what has changed
    return state.pictures is not None


def _write_settings(state: FitState) -> None:
    """Make the work folder and write the settings of all stages to it."""
    if is_main():
        try:
            state.work.mkdir(parents=True, exist_ok=True)
            write_json(state.work / "settings.json", json.loads(json.dumps(dataclasses.asdict(state.preset))))
        except OSError as error:
            raise ProxymaskError(f"cannot write {state.work} ({os_reason(error)}): choose another --out") from None
    barrier()


def _run_stage(state: FitState, stage: str) -> None:
    if stage == "pictures":
        _prepare_pictures(state)
        return
    definition, folder = state.definition(stage), state.work / stage
    if is_main():
        aside = definition.acquire(folder)
        if aside is not None:
            state.report.say(f"{stage}: the earlier one was made of something else; it is kept as {aside}")
    barrier()
    if stage == "segmenter":
        labelled = needed(state.labelled)
        state.report.say(f"labelled: {', '.join(labelled.names)}")
        for note in absent_labels(labelled.labels, labelled.masks):
            state.report.say(f"note: {note}")
    reset_peak()  # what the stages before it have left free
    with state.report.progress("clusters, pass" if stage == "clusters" else stage) as count, advice(state, stage):
        definition.run(folder, TimeLeft(state.costs[stage], count) if stage in STAGES else count)
    state.report.say(f"{stage}: done ({folder})")


def _prepare_pictures(state: FitState) -> None:
    images = needed(state.config.images)
    with state.report.progress("reading files") as count:
        state.pictures = open_pictures(images, state.size, count)
    rest = f"; {state.pictures.skipped:,} files could not be used" if state.pictures.skipped else ""
    state.report.say(f"{len(state.pictures):,} pictures of {size_text(state.size)}{rest}")


def _ask_for_labels(state: FitState) -> FitResult:
    """Write samples to label, and a bundle that works without labels."""
    folder, written, said = folder_to_label(state), None, ""
    if is_main():
        write_samples_to_label(state)
    barrier()
    if state.source is None:
        if not has_mapper(state.out):
            _write_bundle(state)
        written = state.out
        command = f"proxymask transfer --bundle {shell_word(written)} --shape-seed 1 --style-seed 2 --out picture.png"
        said = f"{written} can already give one sample the layout of another ({command}).\n"
    state.report.say(
        f"{said}To paint with masks, the model has to be trained on your labels. {state.config.label_samples} samples are in\n  {folder}\n"
        f"Name your labels in its labels.json, paint over 000000.png, and save that as 000000.mask.png in the same folder\n"
        f"(README.txt there explains it; one is enough, more are better). Then run the same command again."
    )
    return FitResult(written, folder)


def _write_bundle(state: FitState) -> None:
    if is_main():
        note = write_bundle(state)
        if note:
            state.report.say(f"note: {note}")
        state.report.say(f"bundle: {state.out}")
        if state.mapper is not None:
            state.report.say(
                f"now paint: proxymask generate --bundle {shell_word(state.out)} --mask MASK.png --out picture.png --style-seed 1"
            )
    barrier()
