"""Furniture of bedrooms. Every piece stands before a wall: the wall is the plane y = 0, and the room is where y is negative."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .materials import Colour, Material, as_colour, linear
from .meshes import MeshBuilder

WOODS = ("#b98a5a", "#8a5c36", "#5b3a24", "#d8b98c", "#e9e4da", "#3b3431", "#a9a39a")
CLOTHS = (
    "#8fa6b8",
    "#c9b79c",
    "#b5675c",
    "#6f8f7a",
    "#d9d4cb",
    "#3f5873",
    "#c98f5a",
    "#8a6f8f",
    "#d8b4b0",
    "#5f6f5a",
    "#e5dccb",
    "#7a3f45",
    "#4a4f5c",
)


def mixed(rng: np.random.Generator, colours: tuple[str, ...], spread: float = 0.12) -> np.ndarray:
    """One of the colours, a little lighter or darker and tinted: linear (3,)."""
    base = linear(str(rng.choice(colours)))
    return np.asarray(base * rng.uniform(1 - spread, 1 + spread) * (1 + rng.normal(0, 0.03, 3)))


def wood(rng: np.random.Generator) -> Material:
    """Polished or painted wood."""
    tone = mixed(rng, WOODS)
    return Material(as_colour(tone), as_colour(tone * 0.75), "plaster", 1.2)


def cloth(rng: np.random.Generator, patterned: float, tile: float = 0.9) -> Material:
    """Cloth; with the chance ``patterned`` striped or checked."""
    tone = mixed(rng, CLOTHS)
    if rng.random() < patterned:
        other = mixed(rng, CLOTHS) if rng.random() < 0.15 else np.minimum(tone * 1.3 + 0.1, 0.9)
        return Material(as_colour(tone), as_colour(other), str(rng.choice(["stripes", "checks"])), tile)
    return Material(as_colour(tone), as_colour(tone * 0.88), "plaster", 1.0)


def shaded(material: Material, factor: float) -> Material:
    """The same surface, lighter or darker."""
    return replace(material, light=as_colour(np.array(material.light) * factor), dark=as_colour(np.array(material.dark) * factor))


def painted(colour: str, factor: float = 1.0) -> Material:
    """One even colour."""
    tone: Colour = as_colour(linear(colour) * factor)
    return Material(tone, tone)


@dataclass(frozen=True)
class BedSize:
    """Metres; ``top`` is the height of the blanket."""

    width: float
    length: float
    top: float


def add_bed(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], size: BedSize, frame: Material) -> None:
    """A bed with its head at the wall: head and foot boards, mattress, blanket and pillows."""
    half, length, top = size.width / 2, size.length, size.top
    head = top + float(rng.uniform(0.35, 0.75))
    padded = rng.random() < 0.3
    board = cloth(rng, 0.0) if padded else frame
    builder.box((-half - 0.06, -0.09, 0.1), (half + 0.06, -0.01, head), ids["bed"], board)
    if not padded and rng.random() < 0.5:
        builder.box((-half - 0.1, -0.11, head - 0.04), (half + 0.1, 0.0, head + 0.05), ids["bed"], frame)
    foot = top + float(rng.uniform(-0.12, 0.2)) if rng.random() < 0.5 else 0.0
    if foot:
        builder.box((-half - 0.06, -length - 0.07, 0.0), (half + 0.06, -length, foot), ids["bed"], frame)
    builder.box((-half - 0.03, -length, 0.14), (half + 0.03, -0.09, 0.34), ids["bed"], frame)
    for x in (-half, half - 0.08):
        for y in (-length, -0.17):
            builder.box((x, y, 0.0), (x + 0.08, y + 0.08, 0.14), ids["bed"], frame)
    linen = painted("#ece8e0", float(rng.uniform(0.9, 1.0)))
    builder.box((-half, -length + 0.02, 0.34), (half, -0.09, top - 0.03), ids["blanket"], linen)
    _blanket(builder, rng, ids["blanket"], size, cloth(rng, 0.25, 1.3), bool(foot))
    _pillows(builder, rng, ids["pillow"], size)


def _blanket(builder: MeshBuilder, rng: np.random.Generator, label: int, size: BedSize, cover: Material, foot: bool) -> None:
    """A blanket over the lower part of the bed that hangs down its sides, and its turned-down edge."""
    half, length, top = size.width / 2, size.length, size.top
    hang = float(rng.uniform(0.15, top - 0.12))
    start = -float(rng.uniform(0.52, 0.75))
    across = np.concatenate([np.linspace(-half - hang, -half, 6)[:-1], np.linspace(-half, half, 13), np.linspace(half, half + hang, 6)[1:]])
    along = np.linspace(length, -start, 13)
    if not foot:
        along = np.concatenate([np.linspace(length + hang, length, 6)[:-1], along])
    s, t = np.meshgrid(across, along)
    over, beyond = np.maximum(np.abs(s) - half, 0), np.maximum(t - length, 0)
    waves = sum(np.sin(s * rng.normal(0, 5) + t * rng.normal(0, 6) + rng.uniform(0, 6.3)) for _ in range(4)) * 0.008
    x = np.clip(s, -half, half) + np.sign(s) * np.minimum(over, 0.05) + np.where(over > 0.02, waves * 2, 0)
    y = -np.minimum(t, length) - np.minimum(beyond, 0.05)
    z = top + 0.02 + waves - np.minimum(np.maximum(over, beyond), hang)
    builder.sheet(np.stack([x, y, z], -1), label, cover)
    tone = np.array(cover.light)
    inner = Material(as_colour(np.minimum(tone * 0.5 + 0.4, 0.9)), as_colour(np.minimum(tone * 0.5 + 0.35, 0.9)), "plaster", 1.0)
    if rng.random() < 0.6:
        builder.box((-half - 0.06, start - 0.2, top + 0.02), (half + 0.06, start + 0.02, top + 0.07), label, inner)
        for x0 in (-half - 0.075, half + 0.05):
            builder.box((x0, start - 0.2, top - hang * 0.9), (x0 + 0.025, start + 0.02, top + 0.06), label, inner)


def _pillows(builder: MeshBuilder, rng: np.random.Generator, label: int, size: BedSize) -> None:
    """One pillow, or two, and at times a small one before them."""
    count = 1 if size.width < 1.25 else 2
    wide = min(size.width / count * 0.47, 0.4)
    white = painted("#f2efe8", float(rng.uniform(0.85, 1.0)))
    cover = white if rng.random() < 0.6 else cloth(rng, 0.3, 0.5)
    tilt = float(rng.uniform(0.1, 0.26))
    for i in range(count):
        x = (i - (count - 1) / 2) * size.width / count
        builder.blob((x, -0.33, size.top + 0.06 + tilt * 0.5), (wide, 0.2, 0.1 + tilt * 0.55), 0.05, rng, label, cover)
    if rng.random() < 0.45:
        small = cloth(rng, 0.3, 0.4)
        builder.blob((float(rng.uniform(-0.15, 0.15)), -0.56, size.top + 0.14), (0.24, 0.11, 0.17), 0.05, rng, label, small)


def add_night_table(
    builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], x: float, material: Material, lamp: Material | None
) -> tuple[float, float, float]:
    """A small table around ``x``, with a lamp unless ``lamp``, the stuff of its shade, is None; returns where the lamp's light is."""
    half, deep, top = float(rng.uniform(0.2, 0.28)), 0.42, float(rng.uniform(0.48, 0.64))
    low = float(rng.choice([0.0, 0.2]))
    table = ids["table"]
    builder.box((x - half, -deep, low), (x + half, -0.03, top), table, material)
    builder.box((x - half - 0.03, -deep - 0.03, top), (x + half + 0.03, -0.02, top + 0.03), table, material)
    lighter = shaded(material, 1.18)
    for i in range(2):
        z = low + (top - low) * (i * 0.5 + 0.06)
        builder.box((x - half + 0.03, -deep - 0.02, z), (x + half - 0.03, -deep, z + (top - low) * 0.4), table, lighter)
        builder.box(
            (x - 0.03, -deep - 0.05, z + (top - low) * 0.18), (x + 0.03, -deep - 0.02, z + (top - low) * 0.24), table, painted("#4a4038")
        )
    if low:
        for leg in (x - half, x + half - 0.05):
            for y in (-deep, -0.08):
                builder.box((leg, y, 0.0), (leg + 0.05, y + 0.05, low), table, material)
    if lamp is not None:
        stand = painted(str(rng.choice(["#c9b79c", "#5a5148", "#d8d4cc", "#3f5873", "#a9744a"])))
        z, wide, tall = top + 0.03, float(rng.uniform(0.15, 0.21)), float(rng.uniform(0.2, 0.28))
        profile = [(0.02, 0.0), (0.09, 0.005), (0.09, 0.02), (0.04, 0.05), (0.07, 0.12), (0.06, 0.18), (0.02, 0.24), (0.015, 0.32)]
        builder.lathe((x, -0.22, z), profile, 14, ids["lamp"], stand)
        narrow = wide * float(rng.uniform(0.55, 0.9))
        builder.lathe((x, -0.22, z + 0.28), [(wide, 0.0), (narrow, tall), (0.01, tall + 0.005)], 20, ids["lamp"], lamp)
        return x, -0.22, z + 0.3 + tall / 2
    return x, -0.22, top


def add_wardrobe(builder: MeshBuilder, rng: np.random.Generator, label: int, width: float, height: float, material: Material) -> None:
    """A wardrobe around x = 0 with doors, knobs, a plinth and a ledge."""
    half, deep = width / 2, float(rng.uniform(0.5, 0.62))
    builder.box((-half, -deep, 0.0), (half, -0.01, height), label, material)
    builder.box((-half - 0.04, -deep - 0.05, height), (half + 0.04, 0.0, height + 0.07), label, material)
    doors = 2 if width < 1.5 else 3
    lighter = shaded(material, 1.15)
    drawers = rng.random() < 0.4
    low = 0.5 if drawers else 0.12
    for i in range(doors):
        x0, x1 = -half + width * i / doors + 0.04, -half + width * (i + 1) / doors - 0.04
        builder.box((x0, -deep - 0.03, low), (x1, -deep, height - 0.06), label, lighter)
        knob = x1 - 0.06 if i % 2 == 0 else x0 + 0.06
        builder.box((knob - 0.02, -deep - 0.07, height * 0.48), (knob + 0.02, -deep - 0.03, height * 0.56), label, painted("#4a4038"))
        if drawers:
            builder.box((x0, -deep - 0.03, 0.1), (x1, -deep, low - 0.06), label, lighter)


def add_door(builder: MeshBuilder, rng: np.random.Generator, label: int, material: Material) -> None:
    """A closed door around x = 0, with its frame, panels and handle."""
    half, height = float(rng.uniform(0.4, 0.47)), float(rng.uniform(1.98, 2.1))
    builder.box((-half, -0.03, 0.0), (half, -0.0, height), label, material)
    for x0, x1 in ((-half - 0.09, -half), (half, half + 0.09)):
        builder.box((x0, -0.06, 0.0), (x1, -0.0, height + 0.09), label, material)
    builder.box((-half, -0.06, height), (half, -0.0, height + 0.09), label, material)
    darker = shaded(material, 0.8)
    for low, high in ((0.15, 0.85), (1.0, height - 0.15)):
        for x0, x1 in ((-half + 0.1, -0.04), (0.04, half - 0.1)):
            builder.box((x0, -0.045, low), (x1, -0.03, high), label, darker)
    hand = float(rng.choice([-1, 1])) * (half - 0.08)
    builder.box((hand - 0.06, -0.1, 0.98), (hand + 0.06, -0.03, 1.03), label, painted("#8f8878"))


def add_picture(builder: MeshBuilder, rng: np.random.Generator, label: int, x: float, z: float, width: float, height: float) -> None:
    """A framed picture around (x, z): a landscape, or coloured fields."""
    half, rise = width / 2, height / 2
    builder.box((x - half, -0.04, z - rise), (x + half, -0.005, z + rise), label, wood(rng))
    edge = min(width, height) * float(rng.uniform(0.08, 0.2))
    left, right, low, high = x - half + 0.03, x + half - 0.03, z - rise + 0.03, z + rise - 0.03
    _panel(builder, label, (left, right, low, high), -0.045, painted("#eeeae0"))
    left, right, low, high = left + edge, right - edge, low + edge, high - edge
    if rng.random() < 0.6:
        _panel(builder, label, (left, right, low, high), -0.05, painted(str(rng.choice(["#9fc4dc", "#e8c79a", "#c9d4da"]))))
        middle = low + (high - low) * float(rng.uniform(0.3, 0.55))
        peak = left + (right - left) * float(rng.uniform(0.25, 0.75))
        hill = [(left, -0.055, middle), (right, -0.055, middle), (peak, -0.055, low + (high - low) * 0.85)]
        builder.polygon(hill, label, painted(str(rng.choice(["#6f8494", "#7d8f6a", "#8a6f6a"]))))
        _panel(builder, label, (left, right, low, middle), -0.056, painted(str(rng.choice(["#6f8a4c", "#4c7a8a", "#b59a5a"]))))
    else:
        for i in range(3):
            tone = as_colour(mixed(rng, CLOTHS))
            x0, x1 = (left + (right - left) * share / 3 for share in (i, i + 1))
            _panel(builder, label, (x0, x1, low, high), -0.05, Material(tone, tone))


def _panel(builder: MeshBuilder, label: int, box: tuple[float, float, float, float], y: float, material: Material) -> None:
    left, right, low, high = box
    builder.polygon([(left, y, low), (right, y, low), (right, y, high), (left, y, high)], label, material)


def add_curtains(
    builder: MeshBuilder, rng: np.random.Generator, label: int, window: tuple[float, float, float, float], floor: bool
) -> None:
    """Curtains at both sides of a window (left, right, bottom, top), with folds, on a rod."""
    left, right, low, high = window
    stuff = cloth(rng, 0.2, 0.5)
    reach = (right - left) * float(rng.uniform(0.14, 0.28))
    foot = 0.03 if floor else low - 0.12
    top = high + 0.14
    for outer, inner in ((left - 0.22, left + reach - 0.1), (right - reach + 0.1, right + 0.22)):
        across, up = np.linspace(0, 1, 33), np.linspace(foot, top, 5)
        folds = np.sin(across * 2 * math.pi * max(2, round((inner - outer) / 0.13)) + rng.uniform(0, 6)) * 0.035
        x = np.broadcast_to(outer + across * (inner - outer), (5, 33))
        points = np.stack([x, np.broadcast_to(-0.12 + folds, (5, 33)), np.broadcast_to(up[:, None], (5, 33))], -1)
        builder.sheet(points, label, stuff)
    rod = painted(str(rng.choice(["#3b3431", "#b9b4aa", "#8a5c36"])))
    builder.box((left - 0.35, -0.14, top - 0.01), (right + 0.35, -0.1, top + 0.03), label, rod)
