"""How near colours are to those of classes, and to mixtures of two of them.

Shapes: n colours, N classes.
"""

from typing import NamedTuple

import numpy as np

from ..labels import LabelSet

SHADE = 24.0  # distance in RGB up to which a colour is a shade of that of a class ...
SHADE_OF_NEXT = 0.4  # ... or this part of the distance between that colour and the nearest one of another class, if that is less
OVERSHOOT = 0.15  # part by which sharpening filters (Lanczos, bicubic) pass the two colours of an edge
LIGHT = np.linspace(0, 1, 9)  # shares of the first colour at which mixtures in linear light are computed


class Closeness(NamedTuple):
    """``ids``: the class of the nearest colour, int (n,); ``distance``: to it in RGB, float32 (n,); ``near``: a shade of it, bool (n,)."""

    ids: np.ndarray
    distance: np.ndarray
    near: np.ndarray


def closeness(colors: np.ndarray, labels: LabelSet) -> Closeness:
    """Compare colours, uint8 (n, 3), with those of all classes."""
    classes = labels.colors.astype(np.float32)
    ids, distance = np.empty(len(colors), np.int64), np.empty(len(colors), np.float32)
    step = max(1, (1 << 22) // len(classes))
    for start in range(0, len(colors), step):
        part = colors[start : start + step].astype(np.float32)
        squared = (part**2).sum(axis=1, keepdims=True) - 2 * part @ classes.T + (classes**2).sum(axis=1)
        best = squared.argmin(axis=1)
        ids[start : start + step] = best
        distance[start : start + step] = np.sqrt(np.maximum(squared[np.arange(len(part)), best], 0))
    return Closeness(ids, distance, distance <= shades(labels)[ids])


def shades(labels: LabelSet) -> np.ndarray:
    """For each class the distance up to which a colour is a shade of its colour: float32 (N,)."""
    classes = labels.colors.astype(np.float32)
    apart = np.sqrt(((classes[:, None] - classes[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(apart, np.inf)
    return np.minimum(SHADE, SHADE_OF_NEXT * apart.min(axis=1)).astype(np.float32)


class Mixture(NamedTuple):
    """``ids``: the nearer one of the two classes that explain a colour best, int (n,); ``distance``: to their mixtures, float32 (n,)."""

    ids: np.ndarray
    distance: np.ndarray


def mixture(colors: np.ndarray, classes: np.ndarray, labels: LabelSet, tight: float) -> Mixture:
    """Explain colours (n, 3) as mixtures of two of ``classes``, ids (m,), or as one of them.

    Two colours mix along the straight line between them, with an ``OVERSHOOT`` at both ends, or, where the mixing is done in linear
    light, along a curve. The curve counts where the line is farther than ``tight``.
    """
    points = colors.astype(np.float32)
    known = labels.colors[classes].astype(np.float32)
    apart = np.sqrt(((points[:, None] - known[None]) ** 2).sum(axis=-1))
    nearest = apart.argmin(axis=1)
    ids, distance = classes[nearest].astype(np.int64), apart.min(axis=1)
    curves = []
    for i in range(len(classes)):
        for j in range(i + 1, len(classes)):
            along = known[j] - known[i]
            share = ((points - known[i]) @ along / max(float(along @ along), 1e-6)).clip(-OVERSHOOT, 1 + OVERSHOOT)
            ends = (known[i] + share[:, None] * along).clip(0, 255)
            off = np.sqrt(((points - ends) ** 2).sum(axis=1))
            better = off < distance - 1e-3
            ids[better] = classes[np.where(share < 0.5, i, j)][better]
            distance[better] = off[better]
            curves.append((i, j))
    rest = np.flatnonzero(distance > tight)
    for i, j in curves if len(rest) else ():
        curve = _linear_light(known[i], known[j])
        off, share = _to_polyline(points[rest], curve)
        better = off < distance[rest] - 1e-3
        ids[rest[better]] = classes[np.where(share < 0.5, j, i)][better]
        distance[rest[better]] = off[better]
    return Mixture(ids, distance)


def _linear_light(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mixtures of two sRGB colours in linear light: float32 (9, 3), from the second to the first."""
    mixed = LIGHT[:, None] * (first / 255) ** 2.2 + (1 - LIGHT[:, None]) * (second / 255) ** 2.2
    return (255 * mixed ** (1 / 2.2)).astype(np.float32)


def _to_polyline(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of points (n, 3) to a polyline (k, 3), and where on it the nearest place is, 0 to 1."""
    distance, place = np.full(len(points), np.inf, np.float32), np.zeros(len(points), np.float32)
    for k in range(len(line) - 1):
        along = line[k + 1] - line[k]
        share = ((points - line[k]) @ along / max(float(along @ along), 1e-6)).clip(0, 1)
        off = np.sqrt(((points - line[k] - share[:, None] * along) ** 2).sum(axis=1))
        better = off < distance
        distance[better], place[better] = off[better], (k + share[better]) / (len(line) - 1)
    return distance, place


def painted_colors(labels: LabelSet, colors: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Colours of partly transparent pixels without the black or white that some programs mix in at the edges.

    Args:
        labels: the classes.
        colors: as they are stored, uint8 (n, 3).
        opacity: uint8 (n,), more than 0.

    Returns:
        uint8 (n, 3): a colour divided by its opacity (over black, or over white) where that is nearer to a class than the stored one.
    """
    best, distance = colors.copy(), closeness(colors, labels).distance
    share = (opacity.astype(np.float32) / 255)[:, None]
    for ground in (0, 255):
        other = ((colors.astype(np.float32) - ground * (1 - share)) / share).round().clip(0, 255).astype(np.uint8)
        found = closeness(other, labels)
        better = found.near & (found.distance < distance - 1)
        best[better], distance[better] = other[better], found.distance[better]
    return best
