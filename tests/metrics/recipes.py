"""Fixed features, pictures and weights by recipe, so that two environments compute on the same numbers without files. NumPy alone."""

import zlib

import numpy as np


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def features(name: str, count: int, dim: int, shift: float, rank: int) -> np.ndarray:
    """float64 (count, dim): correlated, not centred, on ``rank`` directions and a little noise."""
    directions = _rng("directions").standard_normal((rank, dim))
    rng = _rng(f"features {name}")
    hidden = rng.standard_normal((count, rank))
    return (hidden + 0.3 * hidden**2) @ directions * rank**-0.5 + 0.1 * rng.standard_normal((count, dim)) + 0.5 + shift


CASES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "plenty": (features("a", 700, 48, 0.0, 12), features("b", 600, 48, 0.15, 10)),
    "fewer samples than dimensions": (features("c", 60, 96, 0.0, 20), features("d", 80, 96, 0.3, 20)),
    "near": (features("e", 500, 32, 0.0, 8), features("f", 500, 32, 0.0, 8)),
}


def pictures(count: int, size: int) -> np.ndarray:
    """uint8 (count, 3, size, size): smooth, with sharp blocks."""
    rng = _rng(f"pictures {size}")
    at = np.linspace(0, 3 * np.pi, size)
    phase = rng.uniform(0, 6, (count, 3, 2))
    wave = np.sin(at[None, None, :, None] + phase[..., 0, None, None]) * np.cos(2 * at[None, None, None] + phase[..., 1, None, None])
    level = 127.5 + 90 * wave
    level[..., size // 4 : size // 2, size // 3 : size // 2] += 70
    return np.clip(level + rng.normal(0, 6, level.shape), 0, 255).round().astype(np.uint8)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 weights of a name: convolutions that keep the size of what goes through, batch norms that matter."""
    rng = _rng(f"weight {name}")
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith(".bn.weight"):
        return rng.uniform(0.7, 1.3, shape).astype(np.float32)
    if len(shape) < 2:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return (rng.standard_normal(shape, np.float32) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)


def head(name: str, channels: int) -> np.ndarray:
    """float32 (1, channels, 1, 1), not negative: a head of LPIPS."""
    return np.abs(_rng(f"head {name}").standard_normal((1, channels, 1, 1))).astype(np.float32)


def picked(values: np.ndarray, count: int = 40) -> list[float]:
    """Some values of an array, the same ones everywhere."""
    flat = np.asarray(values, np.float64).reshape(-1)
    return [float(v) for v in flat[:: max(1, len(flat) // count)][:count]]
