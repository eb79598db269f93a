"""What is around a building: ground, hills, path, trees, bushes, fence."""

import math
from collections.abc import Mapping

import numpy as np

from .materials import Material, as_colour, linear
from .meshes import MeshBuilder
from .render import Camera


def _mixed(rng: np.random.Generator, colours: list[str], spread: float) -> np.ndarray:
    """One of the colours, or rather a mixture of two neighbours, a little lighter or darker: linear (3,)."""
    i = int(rng.integers(len(colours) - 1))
    share = rng.random()
    mixed = linear(colours[i]) * share + linear(colours[i + 1]) * (1 - share)
    return np.asarray(mixed * rng.uniform(1 - spread, 1 + spread))


def add_ground(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], camera: Camera) -> None:
    """Level grass, and one or two ranges of hills at the horizon."""
    colour = _mixed(rng, ["#5d7f34", "#74933f", "#8f9b4c", "#a39a58"], 0.15)
    grass = Material(as_colour(colour), as_colour(colour * 0.55), "grass", 5.0)
    far = 900.0
    builder.polygon([(-far, -far, 0), (far, -far, 0), (far, far, 0), (-far, far, 0)], ids["grass"], grass)
    right, forward, _ = camera.axes()
    eye = np.array(camera.eye) * np.array([1, 1, 0])
    for number, distance in enumerate((rng.uniform(420, 600), rng.uniform(170, 300))[: int(rng.integers(1, 3))]):
        tone = _mixed(rng, ["#4f6f46", "#5f7a4c", "#6a7758", "#56708a"], 0.15)
        hill = Material(as_colour(tone), as_colour(tone * 0.6), "leaves", 60.0)
        across = np.linspace(-1.1, 1.1, 41)
        waves = sum(np.sin(across * f + rng.uniform(0, 6.3)) * a for f, a in ((3, 1.0), (6, 0.5), (13, 0.22), (29, 0.08)))
        height = distance * (rng.uniform(0.03, 0.13) if number == 0 else rng.uniform(0.015, 0.05)) * np.maximum(1 + 0.55 * waves, 0.12)
        foot = eye + (forward * distance)[None] + across[:, None] * right * distance * 1.2
        crest = foot + forward * height[:, None] * 1.5
        crest[:, 2] = height
        vertices = np.concatenate([foot, crest])
        normal = -forward * 0.55 + np.array([0, 0, 0.83]) + np.gradient(height, 2.64 * distance / 40)[:, None] * -right * 1.2
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        i = np.arange(40)
        faces = np.concatenate([np.stack([i, i + 1, i + 42], 1), np.stack([i, i + 42, i + 41], 1)])
        builder.add(vertices, np.concatenate([normal, normal]), faces, ids["hills"], hill)


def add_path(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], door: float, camera: Camera) -> None:
    """A path from the door, at (0, ``door``), that bends towards the viewer and goes past."""
    colour = _mixed(rng, ["#b9a684", "#c2b59b", "#9d958a"], 0.12)
    gravel = Material(as_colour(colour), as_colour(colour * 0.7), "gravel", 4.0)
    right, forward, _ = camera.axes()
    end = np.array(camera.eye)[:2] + right[:2] * rng.uniform(-3.5, 3.5) - forward[:2] * 3
    start = np.array([0.0, door - 0.3])
    bend = np.array([rng.uniform(-1, 1), door - np.linalg.norm(end - start) * rng.uniform(0.35, 0.6)])
    t = np.linspace(0, 1, 25)[:, None]
    line = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    half = rng.uniform(1.1, 2.0) * (1 + 0.2 * t)
    across = np.stack([along[:, 1], -along[:, 0]], 1) * half
    height = np.full((25, 1), 0.03)
    vertices = np.concatenate([np.hstack([line - across, height]), np.hstack([line + across, height])])
    i = np.arange(24)
    faces = np.concatenate([np.stack([i, i + 1, i + 26], 1), np.stack([i, i + 26, i + 25], 1)])
    builder.add(vertices, np.broadcast_to([0.0, 0.0, 1.0], vertices.shape), faces, ids["path"], gravel)


def _leaves(rng: np.random.Generator, colours: list[str]) -> Material:
    tone = _mixed(rng, colours, 0.15)
    return Material(as_colour(tone), as_colour(tone * 0.3), "leaves", 3.2)


def _conifer(builder: MeshBuilder, rng: np.random.Generator, x: float, y: float, height: float, label: int, leaves: Material) -> None:
    layers, radius = int(rng.integers(4, 6)), height * float(rng.uniform(0.17, 0.24))
    for i in range(layers):
        low, share = height * (0.1 + 0.8 * i / layers), 1 - i / (layers + 0.4)
        high = low + height * 1.5 / layers if i < layers - 1 else height
        builder.lathe((x, y, 0), [(0.05, low + 0.1 * height / layers), (radius * share, low), (0.02, min(high, height))], 11, label, leaves)


def _broadleaf(builder: MeshBuilder, rng: np.random.Generator, x: float, y: float, height: float, label: int, leaves: Material) -> None:
    wide = height * float(rng.uniform(0.26, 0.38))
    builder.blob((x, y, height * 0.62), (wide, wide, height * 0.34), 0.16, rng, label, leaves)
    for _ in range(4):
        angle, up = rng.uniform(0, 2 * math.pi), rng.uniform(0.45, 0.78)
        ball = wide * float(rng.uniform(0.45, 0.65))
        at = (x + wide * 0.65 * math.cos(angle), y + wide * 0.65 * math.sin(angle), height * up)
        builder.blob(at, (ball, ball, ball * 0.9), 0.16, rng, label, leaves)


def _poplar(builder: MeshBuilder, rng: np.random.Generator, x: float, y: float, height: float, label: int, leaves: Material) -> None:
    wide = height * float(rng.uniform(0.1, 0.15))
    builder.blob((x, y, height * 0.53), (wide, wide, height * 0.48), 0.12, rng, label, leaves)


_SHAPES = {"conifer": _conifer, "broadleaf": _broadleaf, "poplar": _poplar}
_GREENS = {
    "conifer": ["#2c4a2c", "#35563a", "#3d5c3c"],
    "broadleaf": ["#4b6e2a", "#5f7f33", "#6f8a3c", "#8c8a35", "#b0772c"],
    "poplar": ["#48692e", "#5f7f3a", "#7d8a3c"],
}


def add_tree(builder: MeshBuilder, rng: np.random.Generator, at: tuple[float, float], height: float, kind: str, label: int) -> None:
    """A tree: "conifer", "broadleaf" or "poplar"."""
    bark = Material(as_colour(linear("#5a4632")), as_colour(linear("#33271b")), "planks", 1.0)
    thick = height * 0.028 + 0.05
    builder.lathe((*at, 0), [(thick, 0.0), (thick * 0.7, height * 0.5)], 8, label, bark, smooth=True)
    _SHAPES[kind](builder, rng, *at, height, label, _leaves(rng, _GREENS[kind]))


def add_trees(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], bounds: np.ndarray, camera: Camera) -> None:
    """Trees at both sides of the building and behind it, in places that the picture shows, and a far row."""
    kinds = list(_SHAPES)
    main = str(rng.choice(kinds, p=[0.35, 0.5, 0.15]))
    (x0, y0, _), (x1, y1, _) = bounds
    left, right, _, _ = camera.window
    across, forward, _ = camera.axes()
    eye = np.array(camera.eye)
    near = (np.array([(x0 + x1) / 2, y0, 0]) - eye) @ forward
    placed = 0
    wanted = int(rng.integers(2, 8))
    for _ in range(40):
        distance = near * rng.uniform(0.85, 2.2)
        at = (eye + forward * distance + across * distance * rng.uniform(left, right) * 1.05)[:2]
        height = float(rng.uniform(6, 13))
        kind = main if rng.random() < 0.75 else str(rng.choice(kinds))
        room = 1.2 + height * (0.33 if kind == "broadleaf" else 0.22)
        inside = x0 - room < at[0] < x1 + room and y0 - room < at[1] < y1 + room
        # Not on the path, nor in front of the middle of the church.
        sight = (np.array([*at, 0]) - eye) @ across / distance
        middle = (np.array([(x0 + x1) / 2, y0, 0]) - eye) @ across / near
        hides = at[1] < y0 + 2 and abs(sight - middle) < (x1 - x0) * 0.62 / near + room / distance * 0.6
        if inside or hides:
            continue
        add_tree(builder, rng, (float(at[0]), float(at[1])), height, kind, ids["trees"])
        placed += 1
        if placed == wanted:
            break
    if rng.random() < 0.6:
        row = near * float(rng.uniform(2.4, 4.0))
        count = int(rng.integers(5, 14))
        leaves = _leaves(rng, _GREENS["broadleaf"][:3])
        for share in rng.uniform(left * 1.1, right * 1.1, count):
            at = eye + forward * row * rng.uniform(0.9, 1.15) + across * row * share
            ball = float(rng.uniform(3.5, 7))
            builder.blob((at[0], at[1], ball * 0.7), (ball * 1.3, ball * 1.3, ball), 0.15, rng, ids["trees"], leaves)


def add_bushes(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], width: float, length: float) -> None:
    """Low bushes along the walls, at times."""
    if rng.random() < 0.5:
        return
    leaves = _leaves(rng, ["#3f6130", "#587a36", "#6f8a3c"])
    for _ in range(int(rng.integers(2, 7))):
        ball = float(rng.uniform(0.5, 1.1))
        side = float(rng.choice([-1, 1]))
        if rng.random() < 0.5:
            at = (side * float(rng.uniform(width * 0.3, width * 0.5)), -ball * 1.2, ball * 0.6)
        else:
            at = (side * (width / 2 + ball * 1.2), float(rng.uniform(0, length)), ball * 0.6)
        builder.blob(at, (ball * 1.2, ball * 1.2, ball), 0.15, rng, ids["trees"], leaves)


def _in_front(x: float, y: float, gap: float, camera: Camera, least: float) -> float:
    """``x``, moved towards 0 until the point (x, y) is at least ``least`` metres in front of the camera, and at least to twice ``gap``."""
    distance = camera.project(np.array([(x, y, 0.0), (0.0, y, 0.0)]))[:, 2]
    if distance[0] < least:
        x *= max(0.0, (distance[1] - least) / (distance[1] - distance[0]))
    return math.copysign(max(abs(x), 2 * gap), x)


def add_fence(builder: MeshBuilder, rng: np.random.Generator, ids: Mapping[str, int], bounds: np.ndarray, camera: Camera) -> None:
    """In two of three yards a low wall or a fence before the church, with a gap for the path."""
    kind = str(rng.choice(["none", "wall", "boards", "rails"], p=[0.36, 0.28, 0.2, 0.16]))
    if kind == "none":
        return
    (x0, y0, _), (x1, _, _) = bounds
    y = y0 - float(rng.uniform(2.5, 6.0))
    left, right, gap = x0 - float(rng.uniform(6, 25)), x1 + float(rng.uniform(6, 25)), float(rng.uniform(2.4, 3.4))
    height = float(rng.uniform(0.9, 1.4))
    left, right = (_in_front(x, y, gap, camera, (y0 - camera.eye[1]) * 0.5) for x in (left, right))
    if kind == "wall":
        tone = _mixed(rng, ["#a09a8c", "#b5a280", "#8f8a84"], 0.12)
        stone = Material(as_colour(tone), as_colour(tone * 0.55), "stone", 3.0)
        for low, high in ((left, -gap), (gap, right)):
            builder.box((low, y - 0.25, 0), (high, y + 0.25, height), ids["fence"], stone)
        for x in (-gap, gap):
            builder.box((x - 0.4, y - 0.4, 0), (x + 0.4, y + 0.4, height + 0.5), ids["fence"], stone)
        return
    tone = linear(str(rng.choice(["#e8e6df", "#6e4e34", "#8a7a66"]))) * rng.uniform(0.85, 1.1)
    wood = Material(as_colour(tone), as_colour(tone * 0.7), "planks", 1.5)
    for low, high in ((left, -gap), (gap, right)):
        posts = np.arange(low, high, 2.0)
        for x in posts:
            builder.box((x - 0.12, y - 0.12, 0), (x + 0.12, y + 0.12, height + 0.15), ids["fence"], wood)
        if kind == "boards":
            builder.box((low, y - 0.05, 0.15), (high, y + 0.05, height), ids["fence"], wood)
        else:
            for z in (0.35, 0.75):
                builder.box((low, y - 0.06, height * z), (high, y + 0.06, height * z + 0.22), ids["fence"], wood)
