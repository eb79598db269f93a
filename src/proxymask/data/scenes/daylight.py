"""The light of a random hour: blue noon, morning, evening, overcast, dusk."""

import math

import numpy as np

from .lighting import Lighting, Sky, Vector, as_vector
from .materials import as_colour, linear


def _floats(vector: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in vector)
    return x, y, z


def _vector(colour: str, strength: float = 1.0) -> Vector:
    return as_colour(linear(colour) * strength)


# zenith, horizon, clouds, ground; sun colour and its strength; height of the sun in degrees; clouds; exposure
_HOURS = {
    "noon": ("#2f6cc0", "#a9cdec", "#ffffff", "#6d6a55", "#fff3df", 2.6, (32, 62), (0.25, 0.6), 0.62),
    "morning": ("#4c86c9", "#d6dfe6", "#fff4ea", "#6d6652", "#ffe3ba", 2.5, (16, 34), (0.2, 0.55), 0.64),
    "evening": ("#5577ab", "#ecc39d", "#e9b9a2", "#6b5f50", "#ffcb96", 2.3, (9, 20), (0.3, 0.65), 0.72),
    "overcast": ("#9aa6b2", "#d3d8db", "#c3c9ce", "#5f5f55", "#ffffff", 0.5, (35, 60), (0.5, 0.9), 0.78),
    "dusk": ("#2b3e6b", "#b99aa0", "#77708a", "#43424a", "#ffb898", 0.55, (6, 14), (0.3, 0.6), 1.2),
}
_CHANCES = (0.42, 0.2, 0.15, 0.15, 0.08)


def random_daylight(rng: np.random.Generator, sun_from: float, haze: tuple[float, float]) -> tuple[Lighting, str]:
    """A :class:`Lighting` out of doors, and the name of its hour.

    Args:
        sun_from: the angle from the x axis, in radians, that the sun is 15 to 80 degrees away from.
        haze: the least and the greatest range of sight in metres.
    """
    hour = str(rng.choice(list(_HOURS), p=_CHANCES))
    zenith, horizon, clouds, ground, sun, bright, heights, cover, exposure = _HOURS[hour]
    angle = sun_from + math.radians(rng.uniform(15, 80) * rng.choice([-1, 1]))
    height = math.radians(rng.uniform(*heights))
    tint = rng.normal(0, 0.04, 3)
    sky = Sky(
        as_colour(linear(zenith) * (1 + tint) * rng.uniform(0.8, 1.2)),
        as_colour(linear(horizon) * (1 + tint)),
        _vector(clouds, float(rng.uniform(0.9, 1.0))),
        _vector(ground),
        float(rng.uniform(*cover)),
        (float(rng.random()), float(rng.random())),
    )
    strength = 1.5 if hour == "overcast" else 1.05
    above = (as_vector(sky.zenith) * 0.45 + as_vector(sky.horizon) * 0.55) * strength
    lighting = Lighting(
        sky=sky,
        sun=(math.cos(height) * math.cos(angle), math.cos(height) * math.sin(angle), math.sin(height)),
        sun_colour=_floats(linear(sun) * bright),
        sun_spread=0.012 if hour != "overcast" else 0.35,
        ambient=(_floats(above), _floats(as_vector(sky.ground) * strength)),
        nook=(3.0, 0.35),
        haze=float(rng.uniform(*haze)),
        exposure=exposure * float(rng.uniform(0.92, 1.08)),
    )
    return lighting, hour
