"""``fit``: from a folder of pictures, or a generator, to a bundle, by running every stage that is missing."""

from .config import FitConfig, FitResult, Report
from .run import fit

__all__ = ["FitConfig", "FitResult", "Report", "fit"]
