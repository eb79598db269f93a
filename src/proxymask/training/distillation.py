"""Step of the distillation stage (beyond the paper): a mapper of masks that learns the output of other mappers, its teachers.

A smaller mapper that is trained on pairs does as well on masks like theirs and worse on others (docs/decisions.md,
narrower-mapper-from-pairs). Teachers have an output for any mask, so that this one can also learn from masks that are warped strongly,
mixed, and painted over. Of several teachers it learns the mean of the logits, which is better than the average teacher (mean-of-mappers).

Shapes: B masks, H x W pixels, h x w positions of the proxy mask, K clusters.
"""

from collections.abc import Hashable, Iterator, Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..core.device import to_device
from ..models.oasis_mapper import OasisMapper
from . import losses
from .adversarial import stylegan_adam
from .auxiliary import GeneratedImages
from .loop import Run, set_cosine_rate
from .mapper import MapperConfig
from .style_transfer import warp, warp_grid

WARP_STRENGTH = 3.0  # of the warps of masks, as a multiple of those of labelled samples
PATCHES = 3  # rectangles painted over a mask


class DistillationStage:
    """A mapper that learns the mean logits of the frozen ``teachers`` for the masks of ``dataset``, as they are and perturbed.

    A teacher that is given twice has twice the weight.
    """

    name = "mapper"
    averaged = ("mapper",)

    def __init__(
        self, mapper: OasisMapper, teachers: Sequence[OasisMapper], dataset: GeneratedImages, config: MapperConfig, steps: int
    ) -> None:
        self.mapper = mapper.requires_grad_(True).train()
        self.teachers = list(dict.fromkeys(teachers))
        self.shares = [teachers.count(teacher) / len(teachers) for teacher in self.teachers]
        for teacher in self.teachers:
            teacher.requires_grad_(False).eval()
        if mapper.label_prior:
            counts = sum(share * teacher.cluster_counts for share, teacher in zip(self.shares, self.teachers, strict=True))
            mapper.cluster_counts.copy_(torch.as_tensor(counts))
            mapper.counted.copy_(max(teacher.counted for teacher in self.teachers))
        self.dataset, self.config, self.steps = dataset, config, steps
        self.modules: dict[str, nn.Module] = {"mapper": mapper}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "mapper": stylegan_adam(mapper.parameters(), config.learning_rate, config.momentum)
        }

    def step_kind(self, index: int) -> Hashable:
        return None

    def step(self, run: Run) -> None:
        for teacher in self.teachers:
            to_device(teacher, run.device)
        self.dataset.to(run.device, run.dtype)
        if self.config.cosine_decay:
            set_cosine_rate(self.optimizers["mapper"], self.config.learning_rate, run.index, self.steps)
        rng = run.rng("masks")
        masks = self.dataset.masks(torch.randint(len(self.dataset), (2 * run.config.batch,), generator=rng))
        half, others = masks.chunk(2)
        masks = run.local_shard(perturb_masks(half, others, self.mapper.num_labels, rng))

        def terms() -> Iterator[torch.Tensor]:
            for (part,) in run.microbatches(masks):
                with run.autocast():
                    with torch.no_grad():
                        target = self.teacher_logits(part)
                    logits = self.mapper(part)
                loss = losses.distillation_loss(logits, target)
                run.log("loss/distillation", loss)
                run.log("loss/accuracy", (logits.argmax(dim=1) == target.argmax(dim=1)).float().mean())
                yield loss

        run.update("mapper", terms)

    def teacher_logits(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks (B, H, W) -> the teachers' mean logits (B, K, h, w), float32."""
        weighted = [share * teacher(masks).float() for teacher, share in zip(self.teachers, self.shares, strict=True)]
        return torch.stack(weighted).sum(dim=0)

    def grid(self, run: Run) -> Image.Image | None:
        """None: the logged accuracy says how often the two agree."""
        return None


def perturb_masks(masks: torch.Tensor, others: torch.Tensor, num_labels: int, rng: torch.Generator) -> torch.Tensor:
    """Masks (B, H, W), each perturbed in one of four equally frequent ways.

    Mirrored or not; warped strongly; warped and mixed with a mask of ``others`` along a smooth line; with rectangles of random labels.
    """
    count, height, width = masks.shape
    kind = torch.randint(4, (count,), generator=rng)[:, None, None]
    mirrored = torch.rand(count, 1, 1, generator=rng) < 0.5
    plain = torch.where(mirrored, masks.flip(2), masks)
    moved, other = (warp(ids, warp_grid(count, rng, WARP_STRENGTH)) for ids in (plain, others))
    field = F.interpolate(torch.randn(count, 1, 4, 4, generator=rng), size=(height, width), mode="bicubic")[:, 0]
    mixed = torch.where(field > 0, moved, other)
    painted = torch.where(mirrored, moved, plain)
    row, column = torch.arange(height)[None, :, None] + 0.5, torch.arange(width)[None, None, :] + 0.5
    for _ in range(PATCHES):
        middle, half = torch.rand(2, count, 1, 1, generator=rng), 0.3 * torch.rand(2, count, 1, 1, generator=rng) ** 2
        inside = ((row / height - middle[0]).abs() < half[0]) & ((column / width - middle[1]).abs() < half[1])
        painted = torch.where(inside, torch.randint(num_labels, (count, 1, 1), generator=rng), painted)
    return torch.where(kind == 0, plain, torch.where(kind == 1, moved, torch.where(kind == 2, mixed, painted)))
