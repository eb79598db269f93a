"""Training of a judge, the segmentation network of ``proxymask evaluate``, on a labelled domain, and measurement of its accuracy.

A judge's run folder is the judge itself: network, labels and accuracy lie in the folder, next to the checkpoints.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from ..core.checks import BatchSize, Checked, Range, Rate, Seed, Steps, checked
from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.hashing import json_hash
from ..core.seeding import derive_seed, permutation
from ..data.dataset import ImageSet
from ..evaluation.judge import Judge, JudgeInfo
from ..imaging.labels import LabelSet
from ..metrics.segmentation import SegmentationScore
from ..models.segmentation_nets import DilatedSegmenter, SegmentationNet, UNetSegmenter
from .distributed import main_lock
from .loop import LoopConfig, Progress
from .segmentation import SegmentationConfig, train_segmentation_net

HELD_OUT = 0.1  # share of the pictures that are kept for measuring, where no test set is given
SCORED = 1000  # most pictures that are measured on
SEED = 3  # added to the seed, so that it does not start like the pseudo-label network


class Part:
    """A subset of a data set (:class:`~proxymask.training.segmentation.LabeledImages`)."""

    def __init__(self, whole: ImageSet, numbers: Sequence[int]) -> None:
        self.whole, self.numbers = whole, torch.tensor(list(numbers), dtype=torch.int64)
        self.labels = whole.labels

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def fingerprint(self) -> str:
        """A hash of the set and of which pictures of it these are."""
        return json_hash([self.whole.fingerprint, self.numbers.tolist()])

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        return self.whole.images(self.numbers[torch.as_tensor(indices)])

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> masks (B, H, W), int64."""
        return self.whole.masks(self.numbers[torch.as_tensor(indices)])


@dataclasses.dataclass(frozen=True)
class JudgeConfig(Checked):
    """A judge's size and schedule."""

    width: Annotated[int, Range(2, 2**12)] = 32
    """Channels of the residual blocks; of a U-Net, at full resolution."""
    blocks: Annotated[int, Range(1, 64)] = 6
    """Residual blocks; a U-Net has none."""
    steps: Steps = 1200
    """Steps of training."""
    batch: BatchSize = 32
    """Pictures a step."""
    learning_rate: Rate = 0.005
    """Adam; warm-up, then a cosine to zero."""
    network: Literal["dilated", "unet"] = "dilated"
    """Design. Two judges of different designs tell more than one."""
    smallest: Annotated[float, Range(0.125, 1)] = 1.0
    """Half of the training pictures are reduced to a random size, at least this share of their side, and enlarged again, so that the judge
    also reads blurred pictures; 1: none."""


def score_judge(judge_net: SegmentationNet, labels: LabelSet, data: Part, device: str = "auto", precision: str = "auto") -> dict[str, Any]:
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


def _shown(data: ImageSet) -> list[bool]:
    """Whether a mask shows it, for each class of a set."""
    assert data.labels is not None
    there = torch.zeros(len(data.labels), dtype=torch.bool)
    for start in range(0, len(data), 256):
        there[data.masks(range(start, min(start + 256, len(data)))).unique()] = True
    return there.tolist()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value


@checked
def train_judge(
    data: ImageSet,
    out: Path,
    config: JudgeConfig | None = None,
    *,
    test: ImageSet | None = None,
    seed: Seed = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Judge:
    """Train a judge on pictures with exact masks and measure it on other ones.

    Args:
        data: pictures with masks. Without ``test`` a tenth of them, drawn by ``seed``, is kept for measuring.
        out: run folder, from which the same call resumes after a stop; in the end it is the judge's folder.
        test: other pictures of the same labels and size, for measuring.

    Raises:
        ProxymaskError: a data set without masks, other labels or too few pictures; as training does.
    """
    with main_lock(out):
        return _train_judge(data, out, config or JudgeConfig(), test, seed, device, precision, progress)


def _split(data: ImageSet, test: ImageSet | None, seed: int) -> tuple[Part, Part]:
    """What a judge is trained on, and what it is measured on: drawn by ``seed``, as files are often sorted by what they show."""
    kept = 0 if test is not None else max(1, round(len(data) * HELD_OUT))
    order = permutation(len(data), seed, "judge", "held out").tolist()
    training = Part(data, sorted(order[kept:]))
    if test is None:
        return training, Part(data, order[:kept][:SCORED])
    return training, Part(test, permutation(len(test), seed, "judge", "test")[:SCORED].tolist())


def _train_judge(
    data: ImageSet, out: Path, config: JudgeConfig, test: ImageSet | None, seed: int, device: str, precision: str, progress: Progress | None
) -> Judge:
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
            raise ProxymaskError("--test holds the pictures of --data, which the judge is trained on: give other pictures")
    if absent := [label.name for label, there in zip(labels.labels, _shown(data), strict=True) if not there]:
        warnings.warn(f"no mask shows {', '.join(absent)}; a label that is in no mask cannot be learned", stacklevel=3)
    training, held_out = _split(data, test, seed)
    if len(training) < 8:
        raise ProxymaskError(f"{data.folder} has {len(data)} pictures: too few to train a judge")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed + SEED, "judge"))
        net: SegmentationNet = (
            UNetSegmenter(len(labels), config.width)
            if config.network == "unet"
            else DilatedSegmenter(len(labels), config.width, config.blocks)
        )
    loop = LoopConfig(
        steps=config.steps,
        batch=config.batch,
        seed=seed + SEED,
        device=device,
        precision=precision,
        checkpoint_every=500,
        grid_every=500,
    )
    segmentation = SegmentationConfig(learning_rate=config.learning_rate, smallest=config.smallest)
    net = train_segmentation_net(net, training, loop, out=out, progress=progress, config=segmentation)
    accuracy = score_judge(net, labels, held_out, device, precision)
    accuracy["data"] = (test or data).fingerprint
    info = JudgeInfo(data.size, data.fingerprint, config.steps, accuracy, network=config.network, source=data.source)
    judge = Judge(net.cpu(), labels, info)
    judge.save(out)
    return judge
