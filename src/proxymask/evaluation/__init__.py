"""Measuring a bundle as the paper does, and where the paper could not (exact masks are known here)."""

from .compare import Bench
from .protocol import Evaluation, EvaluationConfig, Evaluator, evaluate
from .subject import BundlePainter, Painter

__all__ = ["Bench", "BundlePainter", "Evaluation", "EvaluationConfig", "Evaluator", "Painter", "evaluate"]
