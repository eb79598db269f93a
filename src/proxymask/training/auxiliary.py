"""The auxiliary segmenter of L_label (beyond the paper): a small network that segments generated pictures.

In the first steps of a mapper's training it learns from the generator's pictures with the few-shot segmenter's labels. Then it is frozen,
and L_label compares what it finds in a picture with the mask that the picture was made from.

Shapes: B pictures, H x W pixels, N labels.
"""

from collections.abc import Sequence

import torch

from ..core.device import autocast
from ..core.seeding import derive_rng, permutation
from ..imaging.labels import LabelSet
from ..models.segmentation_nets import UNetSegmenter
from . import losses
from .loop import Run
from .pairs import SegmenterLabeler, to_rgb
from .segmentation import SegmentationConfig, SegmentationStage, plain_format

WIDTH = 16  # channels at full resolution
BATCH = 32  # pictures a step
SAMPLES = 3000  # generated pictures that it learns from
CLASS_BALANCE = 0.25  # classes weigh as frequency to the minus this power, so that small parts count
COUNTED = 256  # pictures from which the frequencies of labels are taken
BLOCK = 4  # pictures made at a time


class GeneratedImages:
    """Generated pictures with the few-shot segmenter's labels as a data set (:class:`.segmentation.LabeledImages`).

    Pictures are made on first use and kept in memory as 8-bit values. They are made in blocks that are always the same, since in another
    batch a picture is another one in its last bits: so no picture depends on which were needed before it, or on a stop in between
    (docs/decisions.md, pictures-in-fixed-blocks).
    """

    def __init__(self, labeler: SegmenterLabeler, labels: LabelSet | None = None, *, count: int = SAMPLES, seed: int = 0) -> None:
        self.labeler, self.labels, self.count, self.seed = labeler, labels, count, seed
        self.device, self.dtype = torch.device("cpu"), torch.float32
        # blocks follow the order in which class_weights counts, so that it counts whole ones
        order = permutation(count, seed, "class weights")
        self._blocks, self._block_of = order.split(BLOCK), torch.empty(count, dtype=torch.int64)
        self._block_of[order] = torch.arange(count) // BLOCK
        self._known = [False] * len(self._blocks)
        self._pictures = self._masks = torch.empty(0)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Set where, and in which precision, further pictures are made."""
        self.device, self.dtype = device, dtype

    def __len__(self) -> int:
        return self.count

    def expected(self, draws: int, first: int = 0) -> float:
        """Pictures that are made for so many random draws, on average, after the ``first`` ones were counted."""
        return self.count - (self.count - min(first, self.count)) * (1 - min(BLOCK / self.count, 1.0)) ** draws

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W) in [-1, 1], float32, on the CPU."""
        at = self._made(indices)
        return self._pictures[at].float() / 127.5 - 1

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> label ids (B, H, W), int64, on the CPU."""
        at = self._made(indices)
        return self._masks[at].long()

    @torch.no_grad()
    def _made(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Make the blocks of the pictures with these indices that are missing; returns the indices as a tensor."""
        wanted = torch.as_tensor(indices)
        for block in self._block_of[wanted].unique().tolist():
            if self._known[block]:
                continue
            part = self._blocks[block]
            rngs = [derive_rng(self.seed, "viewer", int(number)) for number in part]
            z = torch.cat([torch.randn(1, self.labeler.split.generator.z_dim, generator=rng) for rng in rngs])
            with autocast(self.device, self.dtype):
                labels, pictures = self.labeler.labels_and_pictures(self.labeler.split.w(z.to(self.device)))
            if not any(self._known):
                self._pictures = torch.empty(self.count, *pictures.shape[1:], dtype=torch.uint8)
                self._masks = torch.empty(self.count, *labels.shape[1:], dtype=torch.uint8)
            self._pictures[part] = ((pictures + 1) * 127.5).round().to(torch.uint8).cpu()
            self._masks[part] = labels.to(torch.uint8).cpu()
            self._known[block] = True
        return wanted


class AuxiliaryStage(SegmentationStage):
    """Training of the auxiliary segmenter, part of the steps of a mapper.

    Args:
        net: logits (B, N, H, W) from pictures.
        labeler: makes the labels that it learns from.
        steps: steps in which it learns; in those after it, :meth:`loss` is L_label.
        labels: its classes, where they are known.
        seed: of the pictures that it learns from.
    """

    def __init__(self, net: UNetSegmenter, labeler: SegmenterLabeler, steps: int, labels: LabelSet | None = None, seed: int = 0) -> None:
        self.generated = GeneratedImages(labeler, labels, seed=seed)
        recipe = SegmentationConfig(batch=BATCH, balance=CLASS_BALANCE)
        super().__init__(net, self.generated, recipe, steps, seed, COUNTED, "auxiliary")

    def before_step(self, run: Run) -> None:
        """In a learning step, train; in a later one, freeze."""
        self.generated.to(run.device, run.dtype)
        self.net.requires_grad_(self.learns(run.index))
        if self.learns(run.index):
            self.step(run)
        else:
            plain_format(self.net, run.device)

    def learns(self, index: int) -> bool:
        """Whether it still learns in step ``index``."""
        return index < self.steps

    def loss(self, run: Run, pictures: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """L_label of generated pictures (B, C, H, W) to the masks (B, H, W) that they were made from."""
        with run.autocast():
            logits = self.net(to_rgb(pictures).contiguous())
        return losses.label_loss(logits, mask, self.weight.to(run.device))
