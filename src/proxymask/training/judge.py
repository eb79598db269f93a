"""Training of a judge on a labelled domain, and the measurement of how far it can be trusted."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.seeding import derive_seed
from ..data.dataset import ImageSet
from ..evaluation.judge import Judge, JudgeInfo
from ..imaging.labels import LabelSet
from ..metrics.segmentation import SegmentationScore
from ..models.segmentation_nets import DilatedSegmenter
from .segmentation import SegmentationConfig, train_segmentation_net

HELD_OUT = 0.1  # share of the pictures that the judge is measured on and does not learn from, where no others are given
SCORED = 1000  # at most
SEED = 3  # apart from the seed of the annotator, so that the two do not start alike


class Part:
    """Some pictures of a set, numbered anew; what :class:`~proxymask.training.segmentation.LabeledImages` asks for."""

    def __init__(self, whole: ImageSet, numbers: Sequence[int]) -> None:
        self.whole, self.numbers = whole, torch.tensor(list(numbers), dtype=torch.int64)
        self.labels = whole.labels

    def __len__(self) -> int:
        return len(self.numbers)

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, H, W) in [-1, 1]."""
        return self.whole.images(self.numbers[torch.as_tensor(indices)])

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """int64 (B, H, W)."""
        return self.whole.masks(self.numbers[torch.as_tensor(indices)])


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    """A judge's size and schedule."""

    width: int = 32
    """Channels of the residual blocks."""
    blocks: int = 6
    """Residual blocks."""
    steps: int = 1200
    """Steps of training."""
    batch: int = 32
    """Pictures a step."""
    learning_rate: float = 0.005
    """Adam; warm-up, then a cosine to zero."""


def score_judge(judge_net: DilatedSegmenter, labels: LabelSet, data: Part, device: str = "auto", precision: str = "auto") -> dict[str, Any]:
    """Accuracy of a judge on real pictures with exact masks: the rounded summary of a
    :class:`~proxymask.metrics.segmentation.SegmentationScore`."""
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    judge_net.to(place).eval()
    score = SegmentationScore(labels.names)
    for start in range(0, len(data), 50):
        part = list(range(start, min(start + 50, len(data))))
        with torch.no_grad(), autocast(place, dtype):
            read = judge_net(data.images(part).to(place)).argmax(dim=1).cpu()
        score.update(read, data.masks(part))
    return _rounded(score.summary())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def train_judge(
    data: ImageSet,
    out: Path,
    config: JudgeConfig | None = None,
    *,
    test: ImageSet | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Judge:
    """Train a judge on pictures with exact masks and measure it on others.

    Args:
        data: pictures with masks. Without ``test`` the last tenth of them is kept for the measurement.
        out: run folder, gone on with after a stop; at the end it is the judge's folder.
        test: other pictures of the same labels and size for the measurement.

    Raises:
        ProxymaskError: a set without masks, other labels or too few pictures, what training raises.
    """
    config = config or JudgeConfig()
    for name, found in (("--data", data), ("--test", test)):
        if found is not None and found.labels is None:
            raise ProxymaskError(f"{name} {found.folder} has no masks: a judge learns from pictures with masks (proxymask data avatars)")
    labels = data.labels
    assert labels is not None
    if test is not None:
        assert test.labels is not None
        if test.labels.names != labels.names or test.size != data.size:
            raise ProxymaskError(f"--test {test.folder} has other labels or another size than {data.folder}")
        if test.fingerprint == data.fingerprint:
            raise ProxymaskError("--test holds the pictures that the judge learns from: its accuracy on them says nothing")
    kept = 0 if test is not None else max(1, round(len(data) * HELD_OUT))
    learnt = Part(data, range(len(data) - kept))
    held = Part(test, range(min(SCORED, len(test)))) if test is not None else Part(data, range(len(data) - kept, len(data))[:SCORED])
    if len(learnt) < 8:
        raise ProxymaskError(f"{data.folder} has {len(data)} pictures: too few to train a judge")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed + SEED, "judge"))
        net = DilatedSegmenter(len(labels), config.width, config.blocks)
    net = train_segmentation_net(
        net,
        learnt,
        steps=config.steps,
        batch=config.batch,
        seed=seed + SEED,
        device=device,
        precision=precision,
        out=out,
        log=progress,
        config=SegmentationConfig(learning_rate=config.learning_rate),
    )
    accuracy = score_judge(net, labels, held, device, precision)
    accuracy["data"] = (test or data).fingerprint
    judge = Judge(net.cpu(), labels, JudgeInfo(data.size, data.fingerprint, config.steps, accuracy))
    judge.save(out)
    return judge
