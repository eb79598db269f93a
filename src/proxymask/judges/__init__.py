"""The judge: a segmentation network, trained on exact masks of a domain, that reads pictures and takes no part in making them.

A judge is a folder: ``config.json`` and ``model.safetensors`` (a :class:`~proxymask.segmentation_nets.DilatedSegmenter`), ``labels.json``,
and ``judge.json`` with the size that it reads, what it learnt from, and its accuracy on real pictures that it had not seen. One for
avatars is shipped in this folder.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ..errors import ProxymaskError
from ..labels import LabelSet
from ..metrics.features.base import FeatureNetwork, tensors_digest
from ..metrics.lpips import Perceptual
from ..metrics.segmentation import ConfusionMatrix, boundary_f_score, class_then_mean, per_image_iou
from ..modeling import read_json, write_json
from ..segmentation_nets import DilatedSegmenter
from ..sizes import Size, as_size, height_width, short_text

SHIPPED = Path(__file__).parent
JUDGE_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class About:
    """What a judge is made of and how good it is."""

    size: Size
    """Side of the pictures that it reads, or their (height, width); others are resized to it."""
    data: str
    """Fingerprint of the pictures that it learnt from."""
    steps: int
    accuracy: dict[str, Any]
    """On real pictures it had not seen: count, data (their fingerprint), miou, accuracy, iou by class, boundary F at 1 and 2 pixels."""
    licence: str = ""


class Judge(FeatureNetwork):
    """A judge, ready to read.

    Args:
        net: the network.
        labels: its classes.
        about: see :class:`About`.
    """

    key = "judge"
    label = "judge"

    def __init__(self, net: DilatedSegmenter, labels: LabelSet, about: About) -> None:
        super().__init__()
        if net.config["num_classes"] != len(labels):
            raise ProxymaskError(f"a judge of {net.config['num_classes']} classes does not fit {len(labels)} labels")
        self.net, self.labels, self.about = net.eval().requires_grad_(False), labels, about
        self.resize = f"none at {short_text(about.size)}, else antialiased bilinear to {short_text(about.size)}"
        self.digest = tensors_digest(net.state_dict())
        with torch.no_grad():
            self.dim = net.features(torch.zeros(1, 3, 8, 8)).shape[1]

    @classmethod
    def load(cls, folder: str | Path) -> "Judge":
        """Open a judge's folder; raises :class:`ProxymaskError` where it is none, or damaged."""
        folder = Path(folder)
        if not (folder / "judge.json").is_file():
            where = "is not a folder" if not folder.is_dir() else "holds no judge.json"
            raise ProxymaskError(f"{folder} {where}: a judge is what proxymask train judge wrote, to its end")
        stored = read_json(folder / "judge.json")
        if not isinstance(stored, dict) or stored.get("format") != JUDGE_FORMAT:
            raise ProxymaskError(f"{folder / 'judge.json'} is of another version: train the judge again")
        fields = {field.name for field in dataclasses.fields(About)}
        try:
            about = About(**{key: value for key, value in stored.items() if key in fields})
            about = dataclasses.replace(about, size=as_size(about.size))
        except TypeError as error:
            raise ProxymaskError(f"{folder / 'judge.json'} is damaged: {error}") from None
        return cls(DilatedSegmenter.from_pretrained(folder), LabelSet.load(folder / "labels.json"), about)

    def save(self, folder: str | Path, half: bool = False) -> Path:
        """Write the folder; ``judge.json`` last."""
        folder = self.net.save_pretrained(folder, half=half)
        self.labels.save(folder / "labels.json")
        write_json(folder / "judge.json", {"format": JUDGE_FORMAT, **dataclasses.asdict(self.about)})
        return folder

    def sized(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) at the judge's size."""
        size = height_width(self.about.size)
        if pictures.shape[2:] == size:
            return pictures.float()
        return F.interpolate(pictures.float(), size=size, mode="bilinear", antialias=True)

    def sized_masks(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks (B, H, W) at the judge's size, by nearest neighbour."""
        size = height_width(self.about.size)
        if masks.shape[1:] == size:
            return masks
        return F.interpolate(masks[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(masks.dtype)

    @torch.no_grad()
    def read(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1] -> ids (B, *size) int64 on the CPU, and float32 features (B, D); in float32 throughout."""
        stages = self.net.stages(self.sized(pictures))
        return self.net.head(stages[-1]).argmax(dim=1).cpu(), self.net.pooled(stages)

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> float32 features (B, D)."""
        return self.net.features(self.sized(pictures))

    def perceptual(self) -> Perceptual:
        """A perceptual distance on the judge's feature maps: always at hand, and never called LPIPS."""
        return Perceptual("perceptual distance, judge features", lambda x: self.net.stages(self.sized(x)), self.digest)


def shipped_judge(labels: LabelSet) -> Path | None:
    """The shipped judge whose classes are called as these, in the same order; None where there is none."""
    for path in sorted(SHIPPED.glob("*/judge.json")):
        if LabelSet.load(path.with_name("labels.json")).names == labels.names:
            return path.parent
    return None


class SegmentationScore:
    """Judge's readings against masks, pooled: confusion matrix, per-picture IoU and boundary F-scores at 1 and 2 pixels."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.matrix = ConfusionMatrix(len(names))
        self.tables: dict[str, list[torch.Tensor]] = {"iou": [], "boundary_1": [], "boundary_2": []}

    def update(self, read: torch.Tensor, masks: torch.Tensor) -> "SegmentationScore":
        """Take in readings and targets, ids (B, H, W)."""
        number = len(self.names)
        self.matrix.update(read, masks)
        self.tables["iou"].append(per_image_iou(read, masks, number, ignore=()))
        for tolerance in (1, 2):
            self.tables[f"boundary_{tolerance}"].append(boundary_f_score(read, masks, number, tolerance))
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it: ``counts`` (N, N) and one (B, N) float64 table a score."""
        empty = torch.zeros(0, len(self.names), dtype=torch.float64)
        return {"counts": self.matrix.counts, **{name: torch.cat(parts or [empty]) for name, parts in self.tables.items()}}

    def take(self, stored: dict[str, torch.Tensor]) -> "SegmentationScore":
        """Add what :meth:`tensors` gave of other pictures."""
        self.matrix.counts += stored["counts"]
        for name, parts in self.tables.items():
            parts.append(stored[name])
        return self

    def per_picture(self) -> torch.Tensor:
        """Mean IoU of each picture (B,) over the classes in its mask or its reading."""
        return self.tensors()["iou"].nanmean(dim=1)

    def summary(self) -> dict[str, Any]:
        """Numbers by name: ``miou`` (pooled), ``accuracy``, ``linear_gan_miou``, ``boundary_f_1px``, ``boundary_f_2px``, ``iou`` and
        ``boundary_f_1px_by_class``, ``boundary_f_2px_by_class`` by class."""
        tables = self.tensors()
        foreground = tables["iou"].clone()
        foreground[:, 0] = torch.nan  # LinearGAN leaves the background out
        out: dict[str, Any] = {
            "count": len(foreground),
            "miou": self.matrix.miou(),
            "accuracy": self.matrix.pixel_accuracy(),
            "linear_gan_miou": class_then_mean(foreground)[1],
            "iou": dict(zip(self.names, self.matrix.iou().tolist(), strict=True)),
        }
        for tolerance in (1, 2):
            per_class, mean = class_then_mean(tables[f"boundary_{tolerance}"])
            out[f"boundary_f_{tolerance}px"] = mean
            out[f"boundary_f_{tolerance}px_by_class"] = dict(zip(self.names, per_class.tolist(), strict=True))
        return out
