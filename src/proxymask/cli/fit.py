"""The verb ``fit``."""

from dataclasses import dataclass

from ..training.fit import FitConfig, fit
from .progress import Terminal


@dataclass(frozen=True, kw_only=True)
class Fit(FitConfig):
    """Everything: from a folder of pictures, or a generator, to a bundle that paints with your masks.

    First estimates time, memory and disk space. Then runs every stage that is missing: generator, clusters, rearranger, segmenter, mapper,
    detail network. It can be stopped at any time; the same command continues. On the way samples are written for you to label: paint over
    one of them, or several, and run the same command again.

    Examples:
      proxymask fit --images photos --out my-bundle
      proxymask fit --generator runs/generator --labels painted --out my-bundle
      proxymask fit --bundle avatars --labels painted-otherwise --out my-bundle
    """

    def run(self) -> None:
        """Run every missing stage."""
        fit(self, Terminal())
