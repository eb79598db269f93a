"""Measuring a bundle as the paper does, and where the paper could not (exact masks are known here)."""

from .protocol import Evaluation, EvaluationConfig, Evaluator, evaluate
from .subject import BundlePainter, Painter

__all__ = ["BundlePainter", "Evaluation", "EvaluationConfig", "Evaluator", "Painter", "evaluate"]
