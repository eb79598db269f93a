"""The settings of an evaluation."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from ..core.checks import Checked, Range
from ..core.errors import ProxymaskError
from ..metrics.backends import Backend
from . import counts

Protocol = Literal["standard", "paper"]
Part = Literal["pictures", "own-mask", "style", "diversity", "judge", "baselines"]
"""``pictures``: distances to real pictures, scores against the masks, agreement of the proxy masks. ``own-mask``: samples reconstructed
from their own proxy mask, and masks exchanged in one style. ``style``: whether pictures keep the colours of their style. ``diversity``:
perceptual distance of pictures of one mask. ``judge``: the judge on real pictures, and masks on the proxy grid. ``baselines``: the two
baselines without learning (:mod:`proxymask.evaluation.baselines`)."""
PARTS: dict[Protocol, tuple[Part, ...]] = {"standard": get_args(Part), "paper": ("pictures", "own-mask", "diversity")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Checked):
    """What to measure, on what data, and where the results go."""

    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    data: Path
    """Real pictures, the reference of the distances. If it has masks, pictures are made from these, unless --masks is given."""
    out: Path
    """Folder for metrics.json and report.html; the same command resumes in it after a stop."""
    masks: Path | None = None
    """Data set with masks to make pictures from; best one that no part of the model was trained on."""
    judge: tuple[Path, ...] = ()
    """Folders of one or more judges, as proxymask train judge writes them; if not given, the shipped ones for the same classes (avatars,
    churches). All of them score the pictures; the distances are in the features of the first, which the sheets show."""
    mapper: str = "mask"
    """Mapper of the bundle to measure; proxymask inspect BUNDLE lists them."""
    details: Annotated[bool, tyro.conf.arg(help_behavior_hint="(without this flag it draws)")] = True
    """Leave out the mapper's detail network, which draws thin parts and borders where the bundle has one."""
    count: Annotated[int | None, Range(2, 10**7)] = None
    """Number of pictures of each kind; if not given, 2,000, or 28,000 with --protocol paper."""
    features: tuple[str, ...] = ()
    """Further feature networks: inception, inception-clean, squeezenet, efficientnet-lite0 (also measures the diversity), or a weights file
    (append :clean for clean resizing)."""
    weights: Path | None = None
    """Folder of the weights of named networks and of LPIPS; if not given, $PROXYMASK_WEIGHTS or ~/.cache/proxymask/weights."""
    labelled: Path | None = None
    """Folder of labelled samples (proxymask sample, with painted masks): also measures the baseline that replaces the mapper by a table."""
    protocol: Protocol = "standard"
    """standard measures everything; paper measures what the supplement's sections B.1 (distances) and C.1 (diversity) do."""
    parts: tuple[Part, ...] = ()
    """Measure only these parts; all parts of the protocol where not given."""
    strict: bool = False
    """Refuse masks whose colours are not exactly those of the labels: their pictures are left out, and of --labelled an error says so."""
    backend: Backend = "own"
    """Program that computes distances, precision and recall: own, or an installed torch-fidelity or clean-fid."""

    def __post_init__(self) -> None:
        """Check every field; a single path as ``judge`` is one judge, None the shipped ones."""
        judge: Any = self.judge
        if judge is None or isinstance(judge, str | os.PathLike):
            object.__setattr__(self, "judge", () if judge is None else (judge,))
        super().__post_init__()

    def resolved_count(self) -> int:
        """``count``, or the protocol's own number; a :class:`ProxymaskError` where it is below 2."""
        default = counts.PAPER_COUNT if self.protocol == "paper" else counts.DEFAULT_COUNT
        count = default if self.count is None else self.count
        if count < 2:
            raise ProxymaskError(f"--count {count}: distances need at least 2 pictures")
        return count

    def resolved_parts(self) -> tuple[Part, ...]:
        """``parts``, or all of the protocol; a :class:`ProxymaskError` where the protocol lacks one."""
        known = PARTS[self.protocol]
        for part in self.parts:
            if part not in known:
                raise ProxymaskError(f"--parts {part}: --protocol {self.protocol} has only {', '.join(known)}")
        return self.parts or known
