"""Measuring a bundle as the paper does, and, where exact masks are known, beyond it."""

from .benchmark import MaskToImageBenchmark
from .config import EvaluationConfig
from .protocol import Evaluator, evaluate
from .results import Evaluation
from .synthesis import BundleSynthesis, MaskToImage

__all__ = ["BundleSynthesis", "Evaluation", "EvaluationConfig", "Evaluator", "MaskToImage", "MaskToImageBenchmark", "evaluate"]
