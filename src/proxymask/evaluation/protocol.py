"""The protocol of an evaluation: which parts are measured, in which pieces, and in which order.

Sources: the paper's supplement B.1 (pictures of two latents against training pictures), B.2 (masks that are ignored), C.1 (diversity), D
(the grid of the proxy masks). ``--protocol paper`` is B.1 and C.1 alone; :data:`UNSTATED` lists what these leave open.
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..core.checks import Seed, checked
from ..core.errors import ProxymaskError, os_reason
from ..core.files import check_outside, write_json
from ..core.lock import folder_lock
from . import counts
from .cache import Cache
from .collect import collect, describe
from .config import EvaluationConfig
from .earlier import keep_earlier
from .inputs import Inputs, open_inputs
from .measure import Measurement
from .report import write_report
from .results import FORMAT, Evaluation
from .sheets import picture_sheets
from .workers import Progress, Workers

UNSTATED = {
    "feature network (B.1, C.1)": "that of the FID, Inception-v3, where its weights are given; the judge's in any case",
    "reference pictures (B.1)": "drawn at random from the training pictures",
    "neighbours (Table S1)": "precision and recall with k = 3, as in their own paper (Kynkaanniemi et al., 2019)",
    "a group (C.1)": "one picture of every mask, each in a random style of its own; a mask is the same in all groups",
    "masks of a group (C.1)": "label masks through the mapper; proxy masks of samples where there is none. "
    f"A tenth of the pictures' number, at most {counts.PAPER_DIVERSE}",
    "a score (C.1)": "mean LPIPS distance of the two pictures of a mask, one of each group, over all masks",
    "ten scores (C.1)": "of ten different pairs of groups, drawn at random from all 45",
    "trunk of LPIPS (C.1)": "AlexNet where its weights are given, else SqueezeNet or VGG-16",
}
"""What the paper's supplement leaves open in the protocol ``paper``, and what is taken here."""


class Job(NamedTuple):
    """A piece of a part: the unit of work and of the cache."""

    kind: str
    """See :data:`proxymask.evaluation.collect.Found`."""
    name: str
    """Of its file in the cache."""
    make: Callable[[], Any]
    size: int
    """Pictures, for the progress."""


def split(count: int, size: int | None = None) -> Iterator[range]:
    """The numbers 0 to ``count - 1`` in ranges of ``size``, by default :data:`counts.CHUNK`."""
    step = size or counts.CHUNK
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


class Evaluator:
    """One evaluation.

    Args:
        config: see :class:`EvaluationConfig`.
        device, precision, seed: see :class:`~proxymask.inference.synthesizer.Synthesizer`.
        progress: called with (pictures done, pictures in all).

    Raises:
        ProxymaskError: see :func:`~proxymask.evaluation.inputs.open_inputs`.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        *,
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.inputs: Inputs = open_inputs(config, device, precision, seed)
        self.cache = Cache(config.out, self.inputs.identity())
        self.workers = Workers(self.inputs.device)
        self.progress = Progress(self.workers, progress)
        self.measurement = Measurement(self.inputs, self.progress)

    def run(self) -> Evaluation:
        """Measure what the cache lacks, then put the numbers together."""
        began = time.time()
        jobs = self.jobs()
        self.progress.total = sum(job.size for job in jobs)
        results = self.workers.run([functools.partial(self._run, job) for job in jobs])
        kinds = ("pictures", "own-mask", "style", "diversity", "reference", "other-real", "judged", "baselines")
        found: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for job, result in zip(jobs, results, strict=True):
            found[job.kind].append(result)
        inputs = self.inputs
        numbers = collect(inputs, found)
        about = describe(inputs) | {"seconds": round(time.time() - began, 1)}
        if inputs.config.protocol == "paper":
            about["unstated"] = UNSTATED
        sheets = picture_sheets(inputs, found["pictures"])
        return Evaluation(about, numbers, inputs.notes, sheets, inputs.judge.labels if inputs.judge else inputs.labels)

    def _run(self, job: Job) -> Any:
        """A job's result, from the cache or made and stored."""
        read = self.cache.json if job.kind == "style" else self.cache.tensors
        return self.progress.part(lambda: read(job.name, job.make), job.size)

    def jobs(self) -> list[Job]:
        """All jobs, long ones first, so that no thread works alone at the end for long."""
        inputs, m, parts = self.inputs, self.measurement, self.inputs.parts
        kind = "pictures" if inputs.measures_masks else "samples"
        baselines = min(inputs.count, counts.BASELINE) if "baselines" in parts and inputs.measures_masks else 0
        jobs = self._split("pictures", kind, inputs.count if "pictures" in parts else baselines, m.pictures)
        if "style" in parts and inputs.measures_masks and inputs.judge is not None:
            jobs.append(Job("style", "style", m.style, counts.CONSISTENT_STYLES * counts.CONSISTENT_MASKS))
        if "own-mask" in parts:
            jobs += self._split("own-mask", f"own-mask-{kind}", min(counts.OWN_MASK, inputs.count), m.own_mask)
        jobs += self._diversity() if "diversity" in parts else []
        jobs += self._split("baselines", self._baselines_name(), baselines, m.baselines)
        if "pictures" in parts or baselines:
            jobs += self._real()
        if "judge" in parts and inputs.masks is not None and inputs.judge is not None:
            jobs += self._split("judged", "judged", min(inputs.count, len(inputs.masks)), m.judged)
        return jobs

    def _split(self, kind: str, name: str, count: int, make: Callable[[range], Any]) -> list[Job]:
        return [Job(kind, f"{name}-{part.start}-{part.stop}", functools.partial(make, part), len(part)) for part in split(count)]

    def _diversity(self) -> list[Job]:
        """Of label masks where there is a mapper; in the paper's protocol else of proxy masks of samples."""
        inputs = self.inputs
        paper, of_masks = inputs.config.protocol == "paper", inputs.has_mask_pictures
        if not inputs.perceptual or not (of_masks or paper):
            return []
        masks = max(1, min(inputs.count // counts.GROUPS, counts.PAPER_DIVERSE if paper else counts.DIVERSE))
        if of_masks and inputs.masks is not None:
            masks = min(masks, len(inputs.masks))
        name = "diversity" if of_masks else "diversity-proxy"
        return [
            Job("diversity", f"{name}-{p.start}-{p.stop}", functools.partial(self.measurement.diversity, p), len(p) * counts.GROUPS)
            for p in split(masks, max(1, counts.CHUNK // counts.GROUPS))
        ]

    def _baselines_name(self) -> str:
        """Other labelled samples make other baselines."""
        table = self.inputs.table
        return "baselines" if table is None else f"baselines-{table.digest}"

    def _real(self) -> list[Job]:
        inputs, m = self.inputs, self.measurement
        (source, numbers), reference = inputs.other_real, inputs.reference
        jobs = self._split("reference", "reference", len(reference), lambda p: m.real(inputs.real, reference[p.start : p.stop]))
        if "pictures" in inputs.parts:
            name = f"floor-{inputs.count}-{len(numbers)}" if source is inputs.real else "floor-fresh"
            jobs += self._split("other-real", name, len(numbers), lambda p: m.real(source, numbers[p.start : p.stop]))
        return jobs


@checked
def evaluate(
    config: EvaluationConfig,
    *,
    device: str = "auto",
    precision: str = "auto",
    seed: Seed = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a bundle; write ``metrics.json`` and ``report.html`` into ``config.out``. Earlier results of something else, or of more, are
    renamed.

    Args:
        config: see :class:`EvaluationConfig`.
        device, precision, seed: see :class:`~proxymask.inference.synthesizer.Synthesizer`.
        progress: called with (pictures done, pictures in all).

    Raises:
        ProxymaskError: a bundle, data set, judge or weights file that cannot be used; no feature network; a full disk; another process
            in ``config.out``.
    """
    if config.out.is_file():
        raise ProxymaskError(f"{config.out} is a file: --out names a folder")
    check_outside(config.out, config.data, config.masks)
    with folder_lock(config.out):
        return _evaluate(config, device, precision, seed, progress)


def _evaluate(config: EvaluationConfig, device: str, precision: str, seed: int, progress: Callable[[int, int], None] | None) -> Evaluation:
    result = Evaluator(config, device=device, precision=precision, seed=seed, progress=progress).run()
    try:
        kept = keep_earlier(config.out, result)
        write_json(
            config.out / "metrics.json", {"format": FORMAT, "about": result.about, "notes": result.messages, "numbers": result.numbers}
        )
        write_report(config.out / "report.html", result)
    except OSError as error:
        raise ProxymaskError(f"cannot write {config.out} ({os_reason(error)}): make room and run the same command again") from None
    result.messages.extend([kept] if kept else [])
    return result
