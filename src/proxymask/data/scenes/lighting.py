"""Light of a scene: sun, sky, surfaces that shine, haze, and how much of it the picture shows."""

from dataclasses import dataclass

import numpy as np

from .materials import read_smoothly

Vector = tuple[float, float, float]
SATURATION = 0.86  # of all colours: the film curve makes them stronger
RAYS = 9  # of a pixel, 3 x 3


def as_vector(vector: Vector) -> np.ndarray:
    """Three numbers as float32 (3,)."""
    return np.array(vector, np.float32)


@dataclass(frozen=True)
class Sky:
    """A sky: linear colours of the ``zenith``, the ``horizon``, the clouds and what the ground throws back upwards.

    Args:
        cover: share of the sky that clouds cover, 0..1.
        offset: moves the clouds, in tiles of their texture.
        glow: how much brighter it is about the sun.
    """

    zenith: Vector
    horizon: Vector
    clouds: Vector
    ground: Vector
    cover: float
    offset: tuple[float, float]
    glow: float = 0.3

    def colour(self, directions: np.ndarray, sun: np.ndarray, footprint: float) -> np.ndarray:
        """Linear colours (N, 3) in unit ``directions`` (N, 3); ``footprint`` is the angle of a pixel, in radians."""
        up = np.maximum(directions[:, 2], 0.0)
        share = (1 - np.sqrt(up))[:, None] ** 1.5
        colour = as_vector(self.zenith) * (1 - share) + as_vector(self.horizon) * share
        flat = up + 0.12
        u, v = directions[:, 0] / flat * 0.16 + self.offset[0], directions[:, 1] / flat * 0.16 + self.offset[1]
        value = read_smoothly("clouds", u, v, footprint * 0.16 / flat**2)
        amount = np.clip((value - (1 - self.cover) * 0.9) * 3.5, 0, 1) * np.clip(up * 6 + 0.15, 0, 1) * 0.9
        colour += (as_vector(self.clouds) - colour) * amount[:, None]
        if self.glow:
            colour *= (1 + self.glow * np.maximum(directions @ sun, 0) ** 6)[:, None]
        return colour


@dataclass(frozen=True)
class AreaLight:
    """A rectangle that shines to both sides, such as a window: a corner, its two edges, and its linear colour."""

    corner: Vector
    edges: tuple[Vector, Vector]
    colour: Vector

    def point(self, ray: np.ndarray) -> np.ndarray:
        """A point of it for each number 0..8 of a ray in its pixel, (N, 3): a grid of 3 x 3."""
        across = np.array([(i % 3, i // 3) for i in range(RAYS)]) / 3 + 1 / 6
        points = (np.asarray(self.corner) + across @ np.asarray(self.edges)).astype(np.float32)
        return np.asarray(points[ray])


@dataclass(frozen=True)
class Lamp:
    """A small light without shadows: its place, linear colour, and the distance in metres where half of it is left."""

    place: Vector
    colour: Vector
    reach: float


@dataclass(frozen=True)
class Lighting:
    """All light of a scene.

    Args:
        sun: unit direction towards the sun; ``sun_colour`` its linear colour, ``sun_spread`` the radius of its disc in radians.
        ambient: linear light that reaches surfaces from above, and from below.
        nook: metres within which other surfaces take the ambient light away, and the share of it that they leave.
        haze: metres after which two thirds of a colour have become that of the horizon.
        exposure: multiple of all light before it is mapped to the range of a picture.
        soft_nooks: whether nearer surfaces take more of the ambient light away, as large smooth walls need.
    """

    sky: Sky
    sun: Vector
    sun_colour: Vector
    sun_spread: float
    ambient: tuple[Vector, Vector]
    nook: tuple[float, float]
    haze: float
    exposure: float
    areas: tuple[AreaLight, ...] = ()
    lamps: tuple[Lamp, ...] = ()
    soft_nooks: bool = False


def ball_points() -> np.ndarray:
    """Nine points spread over the unit sphere, float32 (9, 3): added to a normal they give directions as the light of a dull sky comes."""
    i = np.arange(RAYS) + 0.5
    z, turn = 1 - 2 * i / RAYS, i * np.pi * (3 - np.sqrt(5.0)) + 0.4
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], 1).astype(np.float32)


def disc_points() -> np.ndarray:
    """Nine points spread over the unit disc, float32 (9, 2)."""
    i = np.arange(RAYS) + 0.5
    r, turn = np.sqrt(i / RAYS), i * np.pi * (3 - np.sqrt(5.0))
    return np.stack([r * np.cos(turn), r * np.sin(turn)], 1).astype(np.float32)


def tone_map(colour: np.ndarray) -> np.ndarray:
    """Linear light (..., 3) -> uint8: a film curve (Narkowicz's fit of ACES), then the curve of screens."""
    x = np.maximum(colour, 0)
    grey = x @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    x = grey[..., None] + np.float32(SATURATION) * (x - grey[..., None])
    x = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    x = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.asarray((x * 255).round().astype(np.uint8))
