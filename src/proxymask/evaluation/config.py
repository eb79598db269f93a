"""The settings of an evaluation."""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

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
class EvaluationConfig:
    """What to measure, on what data, and where the results go."""

    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    data: Path
    """Real pictures, the reference of the distances. Where they have masks and --masks is not given, these masks are used too."""
    out: Path
    """Folder for metrics.json and report.html; the same command resumes in it after a stop."""
    masks: Path | None = None
    """Data set with masks to make pictures from, best one that no part of the model was trained on."""
    judge: Path | None = None
    """Folder of the judge (proxymask train judge); for avatars the shipped one."""
    mapper: str = "mask"
    """Which of the bundle's mappers."""
    count: int | None = None
    """Pictures of each kind; 2,000, or 28,000 with --protocol paper."""
    features: tuple[str, ...] = ()
    """More feature networks besides the judge: inception, inception-clean, squeezenet, or the path of a weights file (append :clean for
    clean resizing)."""
    weights: Path | None = None
    """Folder of the weights of named networks and of LPIPS; PROXYMASK_WEIGHTS or ~/.cache/proxymask/weights where not given."""
    labelled: Path | None = None
    """Folder of labelled samples (proxymask sample, with painted masks): also measures the baseline that replaces the mapper by a table."""
    protocol: Protocol = "standard"
    """standard measures everything. paper is that of the paper's supplement: B.1, pictures of two latents against as many training
    pictures, and C.1, diversity."""
    parts: tuple[Part, ...] = ()
    """Measure only these parts; all parts of the protocol where not given."""
    backend: Backend = "own"
    """Program that computes distances, precision and recall: own, or an installed torch-fidelity or clean-fid."""

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
