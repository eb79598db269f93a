"""Surfaces: two colours mixed by a procedural texture, read from a small atlas with mip levels so that nothing aliases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

Colour = tuple[float, float, float]
SIDE = 256  # texels along a texture's side
LEVELS = 9  # mip levels: 256, 128, ... 1


@dataclass(frozen=True)
class Material:
    """A surface. ``light`` and ``dark`` are linear colours (0..1), mixed by the texture where it is 1 and 0.

    Args:
        texture: a key of :data:`TEXTURES`.
        tile: metres that one tile of the texture covers.
        gloss: share of the mirrored sky, for glass.
        glow: light that it gives off by itself, as a share of its colour.
    """

    light: Colour
    dark: Colour
    texture: str = "plain"
    tile: float = 4.0
    gloss: float = 0.0
    glow: float = 0.0


def linear(colour: str) -> np.ndarray:
    """The linear colour, float64 (3,), of a web colour such as "#8fa3ad"."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def as_colour(value: np.ndarray) -> Colour:
    """A linear colour as a tuple, clipped to 0..1 and rounded, so that equal materials are one."""
    red, green, blue = (round(float(v), 5) for v in np.clip(value, 0, 1))
    return red, green, blue


def _noise(rng: np.random.Generator, cells: int, octaves: int, side: int = SIDE) -> np.ndarray:
    """Tileable smooth noise (side, side), 0..1: ``cells`` waves along a side, each octave twice as fine and half as strong."""
    total = np.zeros((side, side))
    for octave in range(octaves):
        n = cells * 2**octave
        if n > side // 2:
            break
        grid = np.pad(rng.random((n, n)), ((0, 1), (0, 1)), mode="wrap")
        at = np.arange(side) * n / side
        low = at.astype(int)
        part = at - low
        part = part * part * (3 - 2 * part)
        rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
        total += (rows[:, low] * (1 - part) + rows[:, low + 1] * part) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def _courses(rng: np.random.Generator, rows: int, widths: tuple[int, int], joint: int, spread: float) -> np.ndarray:
    """Rows of stones: each a random shade, with dark joints ``joint`` texels wide."""
    out = np.zeros((SIDE, SIDE))
    edges = np.linspace(0, SIDE, rows + 1).astype(int)
    for row, (top, bottom) in enumerate(pairwise(edges)):
        start = (row % 2) * widths[0] // 2
        cuts = [0]
        while cuts[-1] < SIDE - widths[1]:
            cuts.append(cuts[-1] + int(rng.integers(widths[0], widths[1] + 1)))
        for left, right in pairwise([*cuts, SIDE]):
            columns = (np.arange(left + joint, right) + start) % SIDE
            out[top + joint : bottom, columns] = 1 - spread * rng.random()
    return out


def _stone(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 10, (24, 52), 2, 0.55) * (0.75 + 0.25 * _noise(rng, 16, 3))


def _brick(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 16, (32, 32), 2, 0.5)


def _tiles(rng: np.random.Generator) -> np.ndarray:
    rows = (np.arange(SIDE) * 8 / SIDE) % 1
    return _courses(rng, 8, (20, 24), 1, 0.45) * (0.45 + 0.55 * rows)[:, None]


def _planks(rng: np.random.Generator) -> np.ndarray:
    boards = np.repeat(1 - 0.4 * rng.random(8), SIDE // 8)
    gaps = np.arange(SIDE) % (SIDE // 8) >= 3
    grain = _noise(rng, 8, 4)[:, : SIDE // 8]
    return (boards * gaps)[None] * (0.8 + 0.2 * np.tile(np.repeat(grain[::8], 8, 0), (1, 8)))


def _grass(rng: np.random.Generator) -> np.ndarray:
    return 0.5 * _noise(rng, 4, 3) + 0.5 * _noise(rng, 48, 2)


def _leaves(rng: np.random.Generator) -> np.ndarray:
    return np.clip(1.5 * _noise(rng, 12, 3) - 0.25, 0, 1)


def _gravel(rng: np.random.Generator) -> np.ndarray:
    return 0.4 * _noise(rng, 4, 2) + 0.6 * _noise(rng, 64, 2)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to((np.sin(np.arange(SIDE) * 2 * np.pi * 4 / SIDE) > 0).astype(float), (SIDE, SIDE)).copy()


def _checks(rng: np.random.Generator) -> np.ndarray:
    lines = _stripes(rng)
    return (lines + lines.T) / 2


def _weave(rng: np.random.Generator) -> np.ndarray:
    """Rings in squares, as on rugs."""
    at = np.abs((np.arange(SIDE) * 2 / SIDE) % 1 - 0.5) * 2
    rings = np.maximum(at[:, None], at[None])
    return (np.floor(rings * 4) % 2) * 0.8 + 0.2 * _noise(rng, 32, 1)


TEXTURES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": lambda rng: np.ones((SIDE, SIDE)),
    "plaster": lambda rng: 0.4 + 0.6 * _noise(rng, 3, 5),
    "stone": _stone,
    "brick": _brick,
    "tiles": _tiles,
    "planks": _planks,
    "grass": _grass,
    "leaves": _leaves,
    "gravel": _gravel,
    "clouds": lambda rng: _noise(rng, 3, 6),
    "stripes": _stripes,
    "checks": _checks,
    "weave": _weave,
}
TEXTURE_NAMES = tuple(TEXTURES)


@cache
def atlas() -> np.ndarray:
    """All textures with all their mip levels, float32 (textures, texels): level 0, then level 1, and so on, each row by row."""
    textures = []
    for number, make in enumerate(TEXTURES.values()):
        level = make(np.random.default_rng(number)).clip(0, 1)
        levels = [level]
        for _ in range(LEVELS - 1):
            level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 4
            levels.append(level)
        textures.append(np.concatenate([level.reshape(-1) for level in levels]))
    return np.stack(textures).astype(np.float32)


_STARTS = np.cumsum([0, *(4 ** (8 - level) for level in range(LEVELS - 1))]).astype(np.int32)


def read_texture(numbers: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Texture values 0..1, float32 (N,).

    Args:
        numbers: textures, indices into :data:`TEXTURE_NAMES`, int (N,).
        u, v: position in tiles, float (N,); v grows upwards.
        footprint: tiles that one pixel covers, float (N,).
    """
    level, side = _level(footprint)
    column = ((u - np.floor(u)) * side).astype(np.int32) % side
    row = ((np.floor(v) + 1 - v) * side).astype(np.int32) % side
    values: np.ndarray = atlas()[numbers, _STARTS[level] + row * side + column]
    return values


def read_smoothly(name: str, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """As :func:`read_texture` for one texture, and bilinear: for what is seen enlarged, as clouds are."""
    level, side = _level(footprint)
    x, y = u * side - 0.5, v * side - 0.5
    left, low = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    x, y = x - left, y - low
    texels, start = atlas()[TEXTURE_NAMES.index(name)], _STARTS[level]

    def row(up: int) -> np.ndarray:
        first = start + (-1 - low - up) % side * side
        return np.asarray(texels[first + left % side] * (1 - x) + texels[first + (left + 1) % side] * x)

    return np.asarray(row(0) * (1 - y) + row(1) * y)


def _level(footprint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mip level for a footprint in tiles, and its side in texels."""
    level = np.clip(np.log2(np.maximum(footprint * SIDE, 1.0)), 0, LEVELS - 1).astype(np.int32)
    return level, SIDE >> level
