"""The verb ``inspect``."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from .options import OptionalName


@dataclass(frozen=True)
class Inspect(Checked):
    """Describe what a file or folder holds.

    Knows bundles, training runs, saved models, data sets, prepared sets, samples, label files, masks, and StyleGAN2 checkpoints of
    other projects (.pkl, .pt, .pth). The exit status is 2 where something is damaged or unknown.

    Examples:
      proxymask inspect avatars
      proxymask inspect runs/generator
      proxymask inspect mask.png --bundle avatars
      proxymask inspect ffhq.pkl
    """

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A file, a folder, or the name of an embedded bundle."""
    bundle: OptionalName = None
    """Bundle whose labels a picture is read with, as a mask."""

    def run(self) -> None:
        """Print the description."""
        from ..inference.mask_check import read_target
        from .describe import describe

        found = describe(self.path, read_target(self.bundle).labels if self.bundle else None)
        print(found.text)
        if found.problems:
            raise ProxymaskError(f"{self.path}: " + "; ".join(found.problems))
