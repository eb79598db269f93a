"""The mapper stage with teachers (beyond the paper): a mapper of masks that learns the output of other ones."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ...core.errors import ProxymaskError
from ...core.hashing import short_hash
from ...models.mappers import Mapper
from ...models.oasis_mapper import OasisMapper
from ..auxiliary import GeneratedImages
from ..distillation import DistillationStage
from .mapper import AnyMapperDefinition

SAME = ("num_labels", "num_clusters", "resolution", "start")  # arguments of a mapper that all teachers share with it


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DistillationDefinition(AnyMapperDefinition):
    """Stage 4 with teachers. The masks are the few-shot segmenter's, of generated pictures."""

    teachers: Sequence[Mapper]

    def inputs(self) -> dict[str, Any]:
        return super().inputs() | {"teacher": [short_hash(teacher) for teacher in self.teachers]}

    def build(self) -> DistillationStage:
        known = [teacher for teacher in self.teachers if isinstance(teacher, OasisMapper)]
        priors = {teacher.label_prior for teacher in known}
        if len(priors) > 1:
            raise ProxymaskError(
                "some teachers have a label prior and some have none, so that their logits cannot be averaged: name those of one kind"
            )
        mapper = self.new_mask_mapper(label_prior=True in priors)
        if len(known) < len(self.teachers) or any(teacher.config[key] != mapper.config[key] for teacher in known for key in SAME):
            raise ProxymaskError("a teacher is no mapper of masks with these labels and clusters: name those of this bundle with --teacher")
        return DistillationStage(mapper, known, GeneratedImages(self.labeler(), seed=self.loop.seed), self.config, self.steps)
