"""Triangle meshes of a scene, with a class and a material for each triangle.

Lengths are metres; x is right, y is away from the viewer, z is up. Every vertex has its own normal, so that round things are smooth and
edges are sharp. A triangle is seen from both sides; its normals point outwards.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np

from .materials import Material

Point = tuple[float, float, float]


class Mesh(NamedTuple):
    """V vertices and their unit normals, float32 (V, 3); T triangles: ``faces`` int32 (T, 3), ``labels`` uint8 (T,), and ``surfaces``
    int32 (T,), an index into ``materials``."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    labels: np.ndarray
    surfaces: np.ndarray
    materials: list[Material]


class MeshBuilder:
    """Collects shapes into one :class:`Mesh`. ``label`` is the class of a shape, ``material`` its surface."""

    def __init__(self) -> None:
        self._vertices: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._faces: list[np.ndarray] = []
        self._labels: list[int] = []
        self._surfaces: list[int] = []
        self._materials: dict[Material, int] = {}
        self._count = 0
        self._frame: tuple[np.ndarray, np.ndarray] | None = None

    @contextmanager
    def moved(self, origin: Point, turn: float) -> Iterator[None]:
        """Shapes that are added meanwhile are turned about the vertical axis by ``turn`` radians, then moved to ``origin``."""
        c, s = math.cos(turn), math.sin(turn)
        self._frame = np.array([(c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)]), np.array(origin)
        try:
            yield
        finally:
            self._frame = None

    def build(self) -> Mesh:
        """The mesh of all shapes that were added."""
        sizes = [len(faces) for faces in self._faces]
        return Mesh(
            np.concatenate(self._vertices).astype(np.float32),
            np.concatenate(self._normals).astype(np.float32),
            np.concatenate(self._faces).astype(np.int32),
            np.repeat(np.array(self._labels, np.uint8), sizes),
            np.repeat(np.array(self._surfaces, np.int32), sizes),
            list(self._materials),
        )

    def bounds(self) -> np.ndarray:
        """The corner with the least and that with the greatest coordinates of what was added so far, (2, 3)."""
        return np.stack([np.min([v.min(0) for v in self._vertices], 0), np.max([v.max(0) for v in self._vertices], 0)])

    def add(self, vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, label: int, material: Material) -> None:
        """Add triangles ``faces`` (T, 3) of ``vertices`` and ``normals`` (V, 3)."""
        if self._frame is not None:
            turn, origin = self._frame
            vertices, normals = vertices @ turn.T + origin, normals @ turn.T
        self._vertices.append(vertices)
        self._normals.append(normals)
        self._faces.append(faces + self._count)
        self._labels.append(label)
        self._surfaces.append(self._materials.setdefault(material, len(self._materials)))
        self._count += len(vertices)

    def polygon(self, points: Sequence[Point] | np.ndarray, label: int, material: Material) -> None:
        """A flat convex polygon; its corners run counterclockwise as seen from its front."""
        corners = np.asarray(points, dtype=np.float64)
        self.add(corners, np.broadcast_to(_normals(corners[:3]), corners.shape), _fan(len(corners)), label, material)

    def prism(self, base: np.ndarray, offset: Point, label: int, material: Material) -> None:
        """A convex polygon ``base`` (N, 3), moved along ``offset``: two ends and N sides. The base runs counterclockwise as seen against
        the direction of ``offset``, that is, from the far end."""
        near = np.asarray(base, dtype=np.float64)
        far = near + np.asarray(offset)
        n = len(near)
        sides = np.stack([near, np.roll(near, -1, 0), np.roll(far, -1, 0), far], 1)  # (N, 4, 3)
        normals = [np.broadcast_to(_normals(end[:3]), end.shape) for end in (near[::-1], far)]
        normals.append(np.repeat(_normals(sides), 4, 0))
        vertices = np.concatenate([near[::-1], far, sides.reshape(-1, 3)])
        quads = (np.arange(n) * 4 + 2 * n)[:, None] + np.array([(0, 1, 2, 0, 2, 3)])
        self.add(vertices, np.concatenate(normals), np.concatenate([_fan(n), _fan(n) + n, quads.reshape(-1, 3)]), label, material)

    def box(self, low: Point, high: Point, label: int, material: Material) -> None:
        """A box between two corners."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        base = np.array([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)])
        self.prism(base, (0, 0, z1 - z0), label, material)

    def slab(self, points: Sequence[Point], thickness: float, label: int, material: Material) -> None:
        """A flat convex polygon, counterclockwise as seen from its front, with ``thickness`` behind it."""
        corners = np.asarray(points, dtype=np.float64)
        back = -thickness * _normals(corners[:3])
        self.prism(corners + back, tuple(-back), label, material)

    def sheet(self, points: np.ndarray, label: int, material: Material) -> None:
        """A smooth surface through a grid of points (N, M, 3). Its front is where the second index runs to the right and the first up."""
        normals = _cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
        normals /= np.sqrt((normals**2).sum(-1, keepdims=True)) + 1e-12
        n, m = points.shape[:2]
        first = (np.arange(n - 1)[:, None] * m + np.arange(m - 1)).reshape(-1)
        faces = np.concatenate([np.stack([first, first + 1, first + m + 1], 1), np.stack([first, first + m + 1, first + m], 1)])
        self.add(points.reshape(-1, 3), normals.reshape(-1, 3), faces, label, material)

    def lathe(
        self,
        centre: Point,
        profile: Sequence[tuple[float, float]],
        sides: int,
        label: int,
        material: Material,
        turn: float = 0.0,
        smooth: bool | None = None,
    ) -> None:
        """A profile of (radius, height) pairs, from below, turned about the vertical axis through ``centre``.

        With ``smooth`` (the default from 9 sides up) it is round; without, it has ``sides`` flat sides, each a corner at the radius, the
        first at the angle ``turn``.
        """
        smooth = sides > 8 if smooth is None else smooth
        angles = turn + np.arange(sides + 1) * (2 * math.pi / sides)
        if not smooth:
            middles = np.repeat(angles[:-1] + math.pi / sides, 2)
            angles = np.stack([angles[:-1], angles[1:]], 1).reshape(-1)
        else:
            middles = angles
        r, z = np.array(profile, dtype=np.float64).T
        apothem = 1.0 if smooth else math.cos(math.pi / sides)
        outward, upward = np.diff(z), -np.diff(r) * apothem
        length = np.hypot(outward, upward)
        outward, upward = outward / length, upward / length
        if smooth:  # the normals of a profile's corners are averages where it bends little
            bend = outward[1:] * outward[:-1] + upward[1:] * upward[:-1]
            joined = bend > 0.6
        else:
            joined = np.zeros(len(outward) - 1, dtype=bool)
        vertices, normals, faces, count = [], [], [], 0
        for i in range(len(outward)):
            for end in (0, 1):
                a, b = outward[i], upward[i]
                other = i - 1 if end == 0 else i + 1
                if 0 <= other < len(outward) and joined[min(i, other)]:
                    a, b = a + outward[other], b + upward[other]
                    a, b = a / math.hypot(a, b), b / math.hypot(a, b)
                ring = np.stack([r[i + end] * np.cos(angles), r[i + end] * np.sin(angles), np.full_like(angles, z[i + end])], 1)
                vertices.append(ring + np.asarray(centre))
                normals.append(np.stack([a * np.cos(middles), a * np.sin(middles), np.full_like(middles, b)], 1))
            n = len(angles)
            first = np.arange(0, n - 1, 1 if smooth else 2) + count
            faces += [np.stack([first, first + 1, first + 1 + n], 1), np.stack([first, first + 1 + n, first + n], 1)]
            count += 2 * n
        self.add(np.concatenate(vertices), np.concatenate(normals), np.concatenate(faces), label, material)

    def blob(self, centre: Point, radii: Point, rough: float, rng: np.random.Generator, label: int, material: Material) -> None:
        """A ball with three ``radii`` whose surface goes in and out by a share ``rough``."""
        unit, faces = _icosphere(2)
        waves = rng.normal(size=(6, 3)) * np.array([[2.0], [2.5], [3.0], [4.5], [6.0], [8.0]])
        phases = rng.uniform(0, 2 * math.pi, 6)
        height = np.sin(unit @ waves.T + phases) @ np.array([1.0, 1.0, 0.9, 0.7, 0.5, 0.5]) / 2.5
        vertices = unit * (1 + rough * height)[:, None] * np.asarray(radii)
        normals = np.zeros_like(vertices)
        across = _cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
        for axis in range(3):
            normals[:, axis] = np.bincount(faces.T.reshape(-1), np.tile(across[:, axis], 3), len(vertices))
        normals /= np.sqrt((normals**2).sum(1, keepdims=True))
        self.add(vertices + np.asarray(centre), normals, faces, label, material)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products (..., 3); several times faster than numpy's for few vectors."""
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)


def _normals(corners: np.ndarray) -> np.ndarray:
    """Unit normals (..., 3) of flat polygons (..., corners, 3), by their first three corners."""
    across = _cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    return np.asarray(across / np.sqrt((across**2).sum(-1, keepdims=True)))


@cache
def _fan(corners: int) -> np.ndarray:
    """Triangles (corners - 2, 3) of a convex polygon."""
    return np.array([(0, i, i + 1) for i in range(1, corners - 1)])


@cache
def _icosphere(times: int) -> tuple[np.ndarray, np.ndarray]:
    """An icosahedron on the unit sphere, subdivided ``times`` times: vertices (V, 3), faces (T, 3)."""
    g = (1 + math.sqrt(5)) / 2
    corners: list[Point] = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g)]
    corners += [(g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    vertices = np.array(corners) / math.hypot(1, g)
    ring = (
        "0 11 5 0 5 1 0 1 7 0 7 10 0 10 11 1 5 9 5 11 4 11 10 2 10 7 6 7 1 8 3 9 4 3 4 2 3 2 6 3 6 8 3 8 9 4 9 5 2 4 11 6 2 10 8 6 7 9 8 1"
    )
    faces = np.array(ring.split(), dtype=int).reshape(-1, 3)
    for _ in range(times):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, index = np.unique(edges, axis=0, return_inverse=True)
        middle = vertices[unique].sum(1)
        ab, bc, ca = index.reshape(3, -1) + len(vertices)
        a, b, c = faces.T
        vertices = np.concatenate([vertices, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        faces = np.concatenate([np.stack(f, 1) for f in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return vertices, faces
