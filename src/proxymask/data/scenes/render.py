"""Ray casting on the CPU with embree: a scene to a picture, its exact mask and its exact depth.

Nine rays a pixel, 3 x 3. The picture is the mean of their light. The label and the depth of a pixel are those of the ray through its
centre, so nothing is interpolated. Every ray that hits a surface sends one ray to the sun, one to the sky and one to each area light; the
nine of a pixel go to nine points of them, which softens shadows without noise.

Shapes: H x W = size x size.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import ProxymaskError
from .lighting import Lighting, as_vector, ball_points, disc_points, tone_map
from .materials import TEXTURE_NAMES, Material, read_texture
from .meshes import Mesh

SUB = 3  # rays along the side of a pixel
CHUNK = 40_000  # rays that are in memory at once, about


@dataclass(frozen=True)
class Camera:
    """A camera with a sensor parallel to the vertical, as architects use it: vertical lines stay parallel.

    Args:
        eye: its place.
        yaw: radians by which it looks to the left of the y axis.
        window: (left, right, bottom, top) of the picture, in tangents of the angle to the direction that it looks in.
    """

    eye: tuple[float, float, float]
    yaw: float
    window: tuple[float, float, float, float]

    def axes(self) -> np.ndarray:
        """Unit vectors right, forward, up: (3, 3)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([(c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0)])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) -> tangents to the right and upwards, and the distance forward: (N, 3)."""
        right, forward, up = ((np.asarray(points) - np.asarray(self.eye)) @ self.axes().T).T
        return np.stack([right / forward, up / forward, forward], 1)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. ``outside`` is the label of rays that hit nothing: the sky. ``parts`` names the choices made."""

    mesh: Mesh
    camera: Camera
    lighting: Lighting
    outside: int
    parts: dict[str, str]


class Rendered(NamedTuple):
    """``image`` uint8 (H, W, 3), ``mask`` uint8 (H, W), and ``nearness`` float32 (H, W): 1 / distance along the viewing direction, in
    1 / metres, 0 where there is only sky."""

    image: np.ndarray
    mask: np.ndarray
    nearness: np.ndarray


def embree() -> tuple[ModuleType, ModuleType]:
    """The modules ``embreex.rtcore_scene`` and ``embreex.mesh_construction``; a :class:`ProxymaskError` where they are not installed."""
    try:
        from embreex import mesh_construction, rtcore_scene
    except ImportError:
        raise ProxymaskError("scenes are rendered by embreex, which is not installed: pip install 'proxymask[scenes]'") from None
    return rtcore_scene, mesh_construction


class _Surfaces(NamedTuple):
    """The materials of a mesh as arrays, one row a material."""

    light: np.ndarray
    dark: np.ndarray
    texture: np.ndarray
    tile: np.ndarray
    leafy: np.ndarray
    gloss: np.ndarray
    glow: np.ndarray

    @classmethod
    def of(cls, materials: list[Material]) -> "_Surfaces":
        return cls(
            np.array([m.light for m in materials], np.float32),
            np.array([m.dark for m in materials], np.float32),
            np.array([TEXTURE_NAMES.index(m.texture) for m in materials]),
            np.array([m.tile for m in materials], np.float32),
            np.array([m.texture == "leaves" for m in materials]),
            np.array([m.gloss for m in materials], np.float32),
            np.array([m.glow for m in materials], np.float32),
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.sqrt(np.einsum("nk,nk->n", vectors, vectors))[:, None])


def render(scene: Scene, size: int) -> Rendered:
    """The picture of ``scene``, ``size`` pixels wide and high.

    Raises:
        ProxymaskError: embreex is not installed.
    """
    return _Renderer(scene, size).run()


class _Renderer:
    def __init__(self, scene: Scene, size: int) -> None:
        rtcore_scene, mesh_construction = embree()
        self.scene, self.size = scene, size
        self.surfaces = _Surfaces.of(scene.mesh.materials)
        self.corners = scene.mesh.normals[scene.mesh.faces]  # (T, 3, 3)
        self.embree: Any = rtcore_scene.EmbreeScene()
        self.geometry = mesh_construction.TriangleMesh(self.embree, scene.mesh.vertices, scene.mesh.faces)
        left, right, bottom, top = scene.camera.window
        self.pixel = (right - left) / size  # tangent of its angle
        at = (np.arange(size * SUB) + 0.5) / (size * SUB)
        self.across = (left + (right - left) * at).astype(np.float32)
        self.upwards = (top + (bottom - top) * at).astype(np.float32)
        self.eye = np.array(scene.camera.eye, np.float32)
        self.sun = np.array(scene.lighting.sun, np.float32)
        self.sun_disc = self._sun_disc()

    def _sun_disc(self) -> np.ndarray:
        """Nine directions to the sun, (9, 3)."""
        sun = self.sun.astype(np.float64)
        one = np.cross(sun, [0.0, 0.0, 1.0]) if abs(sun[2]) < 0.9 else np.cross(sun, [1.0, 0.0, 0.0])
        one /= np.linalg.norm(one)
        axes = np.stack([one, np.cross(sun, one)]).astype(np.float32)
        return np.asarray(self.sun + self.scene.lighting.sun_spread * disc_points() @ axes)

    def run(self) -> Rendered:
        rows = max(1, CHUNK // (self.size * SUB * SUB))
        bands = [self._band(top, min(top + rows, self.size)) for top in range(0, self.size, rows)]
        return Rendered(*(np.concatenate(parts) for parts in zip(*bands, strict=True)))

    def _band(self, top: int, bottom: int) -> Rendered:
        """The rows ``top`` to ``bottom`` of the picture."""
        rows, side = bottom - top, self.size
        directions, number = self._rays(top, bottom)
        found = self.embree.run(np.broadcast_to(self.eye, directions.shape).copy(), directions, output=1)
        triangle, distance = found["primID"], found["tfar"]
        middle = np.flatnonzero(number == SUB * SUB // 2)
        # The sky is smooth: one colour a pixel.
        grid = np.zeros((rows, SUB, side, SUB, 3), np.float32)
        open_pixels = (triangle < 0).reshape(rows, SUB, side, SUB).any((1, 3))
        if open_pixels.any():
            grid.transpose(0, 2, 1, 3, 4)[open_pixels] = self._sky(directions[middle[open_pixels.reshape(-1)]])[:, None, None]
        colour = grid.reshape(-1, 3)
        hit = np.flatnonzero(triangle >= 0)
        if len(hit):
            u, v = found["u"][hit], found["v"][hit]
            colour[hit] = self._shade(triangle[hit], np.stack([1 - u - v, u, v], 1), distance[hit], directions[hit], number[hit])
        image = tone_map(grid.mean((1, 3)) * np.float32(self.scene.lighting.exposure))
        labels = np.append(self.scene.mesh.labels, np.uint8(self.scene.outside))[triangle[middle]]  # -1, nothing, is the last
        nearness = np.where(triangle[middle] >= 0, 1 / distance[middle], np.float32(0))
        return Rendered(image, labels.reshape(rows, side), nearness.reshape(rows, side))

    def _rays(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """The rays of some rows of the picture: directions (N, 3), of length 1 forward, and their number in their pixel, 0..8, (N,)."""
        z, x = np.meshgrid(self.upwards[top * SUB : bottom * SUB], self.across, indexing="ij")
        right, forward, up = self.scene.camera.axes().astype(np.float32)
        directions = forward + x.reshape(-1, 1) * right + z.reshape(-1, 1) * up
        i = np.arange(SUB)
        number = np.tile(i[:, None] * SUB + np.tile(i, self.size), (bottom - top, 1))
        return directions, number.reshape(-1)

    def _sky(self, directions: np.ndarray) -> np.ndarray:
        return self.scene.lighting.sky.colour(_unit(directions), self.sun, self.pixel)

    def _shade(
        self,
        triangle: np.ndarray,
        weights: np.ndarray,
        distance: np.ndarray,
        directions: np.ndarray,
        number: np.ndarray,
    ) -> np.ndarray:
        """Linear light of N hits, (N, 3); ``distance`` is along the viewing direction, ``number`` that of the ray in its pixel."""
        lighting, surfaces = self.scene.lighting, self.surfaces
        point = self.eye + directions * distance[:, None]
        corner = self.corners[triangle]
        normal = np.einsum("nc,nck->nk", weights, corner)
        normal = _unit(normal)
        units = _unit(directions)
        facing = np.einsum("nk,nk->n", normal, units)
        surface = self.scene.mesh.surfaces[triangle]
        base = self._base_colour(point, normal, surface, self.pixel * distance / np.maximum(np.abs(facing), 0.12))

        start = point + normal * (0.01 + 0.0015 * distance)[:, None]
        ambient = self._ambient(start, normal + ball_points()[number] * np.float32(0.98))[:, None]
        share = (0.5 + 0.5 * normal[:, 2:]).astype(np.float32)
        above, below = (as_vector(light) for light in lighting.ambient)
        light = ambient * (above * share + below * (1 - share))

        toward = self.sun_disc[number]
        slope = np.maximum(np.einsum("nk,nk->n", normal, toward), 0)
        bright = np.flatnonzero(slope > 0)
        slope[bright] *= self._open(start[bright], toward[bright], 1e4)
        light += slope[:, None] * as_vector(lighting.sun_colour)
        for area in lighting.areas:
            way = area.point(number) - start
            far = np.sqrt(np.einsum("nk,nk->n", way, way))
            way /= far[:, None]
            across = np.cross(*area.edges).astype(np.float32)
            strength = np.maximum(np.einsum("nk,nk->n", normal, way), 0) * np.abs(way @ across) / (far**2 + 0.3)
            lit = np.flatnonzero(strength > 1e-3)
            strength[lit] *= self._open(start[lit], way[lit], far[lit] * np.float32(0.97))
            light += strength[:, None] * as_vector(area.colour)
        for lamp in lighting.lamps:
            way = as_vector(lamp.place) - point
            far = np.linalg.norm(way, axis=1)
            strength = (0.35 + 0.65 * np.maximum(np.einsum("nk,nk->n", normal, way) / far, 0)) / (1 + (far / lamp.reach) ** 2)
            light += (strength * ambient[:, 0])[:, None] * as_vector(lamp.colour)

        glow = surfaces.glow[surface]
        colour = base * (light + glow[:, None])
        shiny = np.flatnonzero(surfaces.gloss[surface] > 0)
        if len(shiny):
            mirrored = units[shiny] - 2 * facing[shiny, None] * normal[shiny]
            colour[shiny] += surfaces.gloss[surface[shiny], None] * lighting.sky.colour(mirrored, self.sun, 0.1)
        fade = np.exp(-distance / np.float32(lighting.haze))[:, None]
        return np.asarray(colour * fade + as_vector(lighting.sky.horizon) * (1 - fade))

    def _ambient(self, start: np.ndarray, way: np.ndarray) -> np.ndarray:
        """Share of the ambient light that comes along rays, float32 (N,)."""
        within, left = self.scene.lighting.nook
        if not self.scene.lighting.soft_nooks:
            return np.where(self._open(start, way, within), np.float32(1), np.float32(left))
        way = _unit(way)
        limits = np.full(len(start), within, np.float32)
        distance = self.embree.run(start, way, dists=limits, query="DISTANCE")  # the limit where nothing is nearer
        return np.float32(left) + np.float32(1 - left) * np.minimum(distance / np.float32(within), 1)

    def _base_colour(self, point: np.ndarray, normal: np.ndarray, surface: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Colour of the surfaces without light; ``footprint`` is the width of a pixel on them in metres, (N,)."""
        table = self.surfaces
        x, y, z = point.T
        nx, ny, nz = normal.T
        level = np.hypot(nx, ny)
        flat = level < 0.3
        safe = np.where(flat, np.float32(1), level)
        # Across and up the slope; on level ground x and y; on leaves a slanted plane, for what is round.
        u = np.where(flat, x, (x * -ny + y * nx) / safe)
        v = np.where(flat, y, z * safe - (x * nx + y * ny) * nz / safe)
        leafy = table.leafy[surface]
        u = np.where(leafy, 0.8 * x + 0.6 * y, u)
        v = np.where(leafy, z + 0.4 * y - 0.3 * x, v)
        tile = table.tile[surface]
        value = read_texture(table.texture[surface], u / tile, v / tile, footprint * np.float32(0.6) / tile)[:, None]
        dark = table.dark[surface]
        return np.asarray(dark + (table.light[surface] - dark) * value)

    def _open(self, start: np.ndarray, way: np.ndarray, far: np.ndarray | float) -> np.ndarray:
        """Whether rays meet nothing within ``far``, bool (N,)."""
        limits = np.broadcast_to(far, len(start)).astype(np.float32)
        found = self.embree.run(np.ascontiguousarray(start), np.ascontiguousarray(way, dtype=np.float32), dists=limits, query="OCCLUDED")
        return np.asarray(found == -1)
