"""The judge: a segmentation network that reads label masks off pictures, for the evaluation alone.

It is trained on pictures with exact masks (:mod:`proxymask.training.judge`) and takes no part in the training of a bundle, so that its
scores do not flatter one. Its pooled activations also serve as features of the Frechet and kernel distances.

A judge is a folder: ``config.json`` and ``model.safetensors`` (a :class:`~proxymask.models.segmentation_nets.DilatedSegmenter` or a
:class:`~proxymask.models.segmentation_nets.UNetSegmenter`), ``labels.json``, and ``judge.json`` (:class:`JudgeInfo`). Two for avatars and
two for churches are shipped in :data:`SHIPPED`, one of each design, so that an evaluation shows what depends on the judge.

Shapes: B pictures, H x W pixels, N classes, D feature dimensions, h x w the judge's own size.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json
from ..core.hashing import tensors_hash
from ..core.sizes import Size, as_size, height_width, short_text
from ..imaging.labels import LabelSet
from ..metrics.features.base import FeatureNetwork
from ..metrics.lpips import PerceptualDistance
from ..models.segmentation_nets import DilatedSegmenter, SegmentationNet, UNetSegmenter

SHIPPED = Path(__file__).parents[1] / "judges"
"""Folder of the shipped judges, one folder each."""
JUDGE_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class JudgeInfo:
    """What ``judge.json`` says: how a judge was made and how accurate it is."""

    size: Size
    """Side of the pictures that it reads in pixels, or their (height, width); others are resized to it."""
    data: str
    """Fingerprint of its training pictures."""
    steps: int
    """Training steps."""
    accuracy: dict[str, Any]
    """On real pictures outside its training set: count, data (their fingerprint), miou, accuracy, iou by class, boundary F-scores."""
    licence: str = ""
    network: Literal["dilated", "unet"] = "dilated"
    """Its design."""
    source: str = ""
    """A hash of the files that the training pictures were read from, which is the same at every size; "" where it is not known."""


class Judge(FeatureNetwork):
    """A judge, ready to predict.

    Args:
        net: the network.
        labels: its classes.
        info: see :class:`JudgeInfo`.

    Raises:
        ProxymaskError: the network and the labels differ in their number of classes.
    """

    key = "judge"
    label = "judge"

    def __init__(self, net: SegmentationNet, labels: LabelSet, info: JudgeInfo) -> None:
        super().__init__()
        if net.config["num_classes"] != len(labels):
            raise ProxymaskError(f"a judge of {net.config['num_classes']} classes does not fit {len(labels)} labels")
        self.net, self.labels, self.info = net.eval().requires_grad_(False), labels, info
        self.resize = f"none at {short_text(info.size)}, else antialiased bilinear to {short_text(info.size)}"
        self.digest = tensors_hash(net.state_dict())
        with torch.no_grad():
            self.dim = net.features(torch.zeros(1, 3, 8, 8)).shape[1]

    @classmethod
    def load(cls, folder: str | Path) -> "Judge":
        """Open a judge's folder; a :class:`ProxymaskError` where it is none, or damaged."""
        folder = Path(folder)
        if not (folder / "judge.json").is_file():
            where = "is not a folder" if not folder.is_dir() else "holds no judge.json"
            raise ProxymaskError(f"{folder} {where}: a judge is what proxymask train judge wrote, to its end")
        stored = read_json(folder / "judge.json")
        if not isinstance(stored, dict) or stored.get("format") != JUDGE_FORMAT:
            raise ProxymaskError(f"{folder / 'judge.json'} is of another version: train the judge again")
        fields = {field.name for field in dataclasses.fields(JudgeInfo)}
        try:
            info = JudgeInfo(**{key: value for key, value in stored.items() if key in fields})
            info = dataclasses.replace(info, size=as_size(info.size))
        except TypeError as error:
            raise ProxymaskError(f"{folder / 'judge.json'} is damaged: {error}") from None
        kind = UNetSegmenter if info.network == "unet" else DilatedSegmenter
        return cls(kind.from_pretrained(folder), LabelSet.load(folder / "labels.json"), info)

    def save(self, folder: str | Path, half: bool = False) -> Path:
        """Write the folder, ``judge.json`` last; ``half`` stores the weights as float16."""
        folder = self.net.save_pretrained(folder, half=half)
        self.labels.save(folder / "labels.json")
        write_json(folder / "judge.json", {"format": JUDGE_FORMAT, **dataclasses.asdict(self.info)})
        return folder

    def resized(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) at the judge's size (B, 3, h, w), float32."""
        size = height_width(self.info.size)
        if pictures.shape[2:] == size:
            return pictures.float()
        return F.interpolate(pictures.float(), size=size, mode="bilinear", antialias=True)

    def scored_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which pictures are scored: their own, or the judge's where a side of that is shorter.

        A larger judge sees smooth borders in an enlarged picture, its mask has steps: scored at the judge's size, real pictures of
        half that size would lose 0.03 of mIoU.
        """
        h, w = height_width(self.info.size)
        return (height, width) if height <= h and width <= w else (h, w)

    def resized_masks(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks of ids (B, H, W) at :meth:`scored_size`, by nearest neighbour."""
        size = self.scored_size(*masks.shape[1:])
        if masks.shape[1:] == size:
            return masks
        return F.interpolate(masks[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(masks.dtype)

    @torch.no_grad()
    def predict(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1] -> label ids int64 on the CPU and features (B, D), from one pass in float32.

        The ids are of :meth:`scored_size`; at a smaller one than the judge's, a pixel has the class of the largest mean probability.
        """
        stages = self.net.feature_maps(self.resized(pictures))
        logits, size = self.net.head(stages[-1]), self.scored_size(*pictures.shape[2:])
        if logits.shape[2:] != size:
            logits = F.interpolate(logits.softmax(dim=1), size=size, mode="area")
        return logits.argmax(dim=1).cpu(), self.net.pooled(stages)

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> features (B, D) float32."""
        return self.net.features(self.resized(pictures))

    def perceptual(self) -> PerceptualDistance:
        """A perceptual distance on the judge's feature maps. It needs no other weights, and it is never called LPIPS."""
        return PerceptualDistance("perceptual distance, judge features", lambda x: self.net.feature_maps(self.resized(x)), self.digest)


def shipped_judges(labels: LabelSet) -> list[Path]:
    """Folders of the shipped judges with the same class names in the same order, by name; empty where there is none."""
    folders = [path.parent for path in sorted(SHIPPED.glob("*/judge.json"))]
    return [folder for folder in folders if LabelSet.load(folder / "labels.json").names == labels.names]


def judge_names(folders: Sequence[Path]) -> list[str]:
    """Names of judges: the last part of their folders' paths, or as many parts as tell the folders apart."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]
    for length in range(1, max(map(len, paths), default=1)):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return ["/".join(path) for path in paths]
