"""Churches: a church in its yard with trees, hills and sky, with exact masks of twelve classes."""

import math
from dataclasses import dataclass

import numpy as np

from ...imaging.labels import LabelSet
from .daylight import random_daylight
from .materials import Material, as_colour, linear
from .meshes import MeshBuilder
from .outdoors import add_bushes, add_fence, add_ground, add_path, add_trees
from .render import Camera, Scene
from .scene_art import SceneArt

CHURCH_LABELS = LabelSet.of(
    [
        ("sky", "#8fc1ea"),
        ("hills", "#7f8fa6"),
        ("grass", "#7fb24a"),
        ("path", "#cdb58a"),
        ("trees", "#2f6b3a"),
        ("fence", "#8a5a33"),
        ("wall", "#e6d9b8"),
        ("roof", "#b5503c"),
        ("tower", "#c98fd0"),
        ("spire", "#5b4b9a"),
        ("windows", "#22c3c9"),
        ("door", "#d6334a"),
    ]
)
_ID = {label.name: label.id for label in CHURCH_LABELS.labels}

_WALLS = {  # light, dark, texture, metres a tile
    "grey stone": ("#a8a398", "#6f6a62", "stone", 4.2),
    "sandstone": ("#d0b489", "#92744c", "stone", 4.2),
    "brick": ("#a0614c", "#6d4337", "brick", 3.0),
    "white": ("#ebe6da", "#c9c2b2", "plaster", 6.0),
    "cream": ("#e6cf9c", "#c7a970", "plaster", 6.0),
    "rose": ("#d9a48c", "#b98169", "plaster", 6.0),
    "boards": ("#eeece6", "#b3b1ac", "planks", 2.4),
    "wood": ("#7d5738", "#4c3220", "planks", 2.4),
}
_ROOFS = {
    "slate": ("#6d7684", "#3d434e", "tiles", 3.0),
    "red": ("#a65f47", "#6e3d2d", "tiles", 3.0),
    "brown": ("#80583f", "#4d3324", "tiles", 3.0),
    "shingle": ("#6a6058", "#3f3832", "tiles", 3.0),
}
_METALS = {"copper": "#759a8a", "lead": "#7f8a94", "gold": "#c79f4a", "blue": "#4d6387"}


@dataclass(frozen=True)
class _Style:
    """Surfaces of a church."""

    wall: Material
    trim: Material
    roof: Material
    spire: Material
    glass: Material
    door: Material


def _vary(colour: str, factor: float, tint: np.ndarray) -> tuple[float, float, float]:
    return as_colour(linear(colour) * factor * (1 + tint))


def _surface(rng: np.random.Generator, colours: tuple[str, str, str, float]) -> Material:
    light, dark, texture, tile = colours
    factor, tint = float(rng.uniform(0.85, 1.1)), rng.normal(0, 0.03, 3)
    return Material(_vary(light, factor, tint), _vary(dark, factor, tint), texture, tile)


def _random_style(rng: np.random.Generator, dusk: bool) -> _Style:
    wall = str(rng.choice(list(_WALLS), p=[0.2, 0.17, 0.15, 0.18, 0.1, 0.06, 0.08, 0.06]))
    roof = str(rng.choice(list(_ROOFS), p=[0.4, 0.3, 0.18, 0.12]))
    metal = linear(_METALS[str(rng.choice(list(_METALS), p=[0.45, 0.25, 0.1, 0.2]))])
    covered = _surface(rng, _ROOFS[roof])
    spire = Material(as_colour(metal), as_colour(metal * 0.8), "plaster", 3.0) if rng.random() < 0.35 else covered
    pale = linear("#ded6c6") * rng.uniform(0.7, 1.05)
    glow = dusk or rng.random() < 0.08
    glass = linear("#f2b45c") if glow else linear(str(rng.choice(["#1e2a3a", "#26303a", "#2b3350"])))
    wood = linear(str(rng.choice(["#5a3520", "#6b2a1e", "#3f4a3a", "#704a2a"])))
    return _Style(
        wall=_surface(rng, _WALLS[wall]),
        trim=Material(as_colour(pale), as_colour(pale * 0.85), "plaster", 2.0),
        roof=covered,
        spire=spire,
        glass=Material(as_colour(glass), as_colour(glass * 0.6), "checks", 0.9, gloss=0.0 if glow else 0.18, glow=0.9 if glow else 0.0),
        door=Material(as_colour(wood), as_colour(wood * 0.5), "planks", 1.6),
    )


def _arch(width: float, height: float, pointed: float) -> np.ndarray:
    """The outline of an arched opening in its plane, (N, 2), counterclockwise from the lower left: a round arch, or a pointed one."""
    half = width / 2
    angle = np.linspace(0, math.pi, 9)[1:-1]
    rise = half * (1 + 0.7 * pointed)
    spring = max(height - rise, height * 0.35)
    x, z = half * np.cos(angle), spring + (height - spring) * np.sin(angle) ** (1 - 0.25 * pointed)
    if pointed:
        x = np.sign(x) * half * (1 - ((z - spring) / (height - spring)) ** 1.8)
    return np.array([(-half, 0), (half, 0), (half, spring), *zip(x, z, strict=True), (-half, spring)])


class _Church:
    """Builds one church. Its front is at y = 0, its middle at x = 0, and it goes back along +y."""

    def __init__(self, builder: MeshBuilder, rng: np.random.Generator, style: _Style) -> None:
        self.builder, self.rng, self.style = builder, rng, style
        self.pointed = float(rng.choice([0.0, 1.0]))
        self.width, self.length = float(rng.uniform(8.5, 13)), float(rng.uniform(13, 23))
        self.eaves = float(rng.uniform(4.2, 7.8))
        self.ridge = self.eaves + self.width / 2 * math.tan(math.radians(rng.uniform(36, 58)))
        self.steps = float(rng.uniform(0.2, 0.6))
        self.door_at = 0.0  # y of the door
        self.within = "wall"  # class of the wall that openings are set into

    def opening(self, at: np.ndarray, side: np.ndarray, width: float, height: float, kind: str, frame: float = 0.16) -> None:
        """A window or door: ``at`` the middle of its lower edge on the wall, ``side`` the unit vector to the right as seen from outside."""
        out = np.array([side[1], -side[0], 0.0])
        for grow, proud, label, material in (
            (frame, 0.05, None, self.style.trim),
            (0.0, 0.09, kind, self.style.door if kind == "door" else self.style.glass),
        ):
            outline = _arch(width + 2 * grow, height + grow, self.pointed)
            points = at + outline[:, :1] * side + outline[:, 1:] * np.array([0.0, 0.0, 1.0]) + out * proud
            owner = self.within if label is None else label
            self.builder.polygon(points, _ID[owner], material)

    def round_window(self, at: np.ndarray, radius: float) -> None:
        """A round window in a wall that faces the front."""
        angle = np.linspace(0, 2 * math.pi, 17)[:-1]
        for grow, proud, label, material in ((0.2, 0.05, self.within, self.style.trim), (0.0, 0.09, "windows", self.style.glass)):
            ring = np.stack([np.cos(angle), np.full(16, 0.0), np.sin(angle)], 1) * (radius + grow)
            self.builder.polygon(at + ring + np.array([0, -proud, 0]), _ID[label], material)

    def gable(self, x: float, y: float, width: float, length: float, eaves: float, ridge: float, label: str, roof: str) -> None:
        """A house with a gable to the front: walls, and a roof of two slabs that stands out by a little."""
        half = width / 2
        front = np.array([(x - half, y, 0), (x + half, y, 0), (x + half, y, eaves), (x, y, ridge), (x - half, y, eaves)])
        self.builder.prism(front[::-1], (0, length, 0), _ID[label], self.style.wall)
        out, slope = 0.35, (ridge - eaves) / half
        top, low = ridge + 0.22, eaves + 0.22 - out * slope
        y0, y1 = y - 0.3, y + length + 0.3
        right = [(x + half + out, y0, low), (x + half + out, y1, low), (x, y1, top), (x, y0, top)]
        left = [(x - half - out, y1, low), (x - half - out, y0, low), (x, y0, top), (x, y1, top)]
        for points in (right, left):
            self.builder.slab(points, 0.2, _ID[roof], self.style.roof)

    def nave(self) -> None:
        """The long house with its windows, buttresses and, at times, aisles and a transept."""
        self.gable(0, 0, self.width, self.length, self.eaves, self.ridge, "wall", "roof")
        half = self.width / 2
        aisles = self.rng.random() < 0.3 and self.eaves > 5.2
        number = int(self.rng.integers(3, 6))
        tall = self.eaves * float(self.rng.uniform(0.45, 0.6))
        wide = float(self.rng.uniform(0.9, 1.5))
        buttress = self.rng.random() < 0.5
        reach = 0.0
        if aisles:
            reach = float(self.rng.uniform(2.2, 3.4))
            low, high = self.eaves * 0.45, self.eaves * 0.66
            tall = low * 0.6
            for sign in (-1, 1):
                x0, x1 = sign * half, sign * (half + reach)
                profile = [(x0, 0.6, 0), (x1, 0.6, 0), (x1, 0.6, low), (x0, 0.6, high)]
                self.builder.prism(
                    np.array(profile if sign < 0 else profile[::-1]), (0, self.length - 1.2, 0), _ID["wall"], self.style.wall
                )
                edge, drop = x1 + sign * 0.3, low - (high - low) / reach * 0.3 + 0.1
                roof = [(x0, 0.4, high + 0.1), (edge, 0.4, drop), (edge, self.length - 0.4, drop), (x0, self.length - 0.4, high + 0.1)]
                self.builder.slab(roof if sign > 0 else roof[::-1], 0.18, _ID["roof"], self.style.roof)
        for sign in (-1, 1):
            side = np.array([0.0, 1.0, 0.0]) * sign
            for i in range(number):
                y = self.length * (i + 0.5) / number
                base = self.eaves * 0.22 if not aisles else self.eaves * 0.12
                self.opening(np.array([sign * (half + reach), y, base]), side, wide, tall, "windows")
                if buttress and i:
                    edge = self.length * i / number
                    x0, x1 = sorted((sign * (half + reach), sign * (half + reach + 0.6)))
                    height = (self.eaves if not aisles else self.eaves * 0.45) * 0.8
                    self.builder.box((x0, edge - 0.3, 0), (x1, edge + 0.3, height), _ID["wall"], self.style.wall)
        if self.rng.random() < 0.22:
            self.transept(half)

    def transept(self, half: float) -> None:
        """An arm to each side, with a roof across."""
        y, wide, out = self.length * 0.68, self.width * 0.7, float(self.rng.uniform(2.5, 4.5)) + half
        eaves, ridge = self.eaves * 0.95, self.eaves * 0.95 + (self.ridge - self.eaves) * 0.75
        section = np.array(
            [(-out, y - wide / 2, 0), (-out, y + wide / 2, 0), (-out, y + wide / 2, eaves), (-out, y, ridge), (-out, y - wide / 2, eaves)]
        )
        self.builder.prism(section, (2 * out, 0, 0), _ID["wall"], self.style.wall)
        slope = (ridge - eaves) / (wide / 2)
        edge, low, top = wide / 2 + 0.3, eaves + 0.2 - 0.3 * slope, ridge + 0.2
        front = [(-out - 0.3, y - edge, low), (out + 0.3, y - edge, low), (out + 0.3, y, top), (-out - 0.3, y, top)]
        back = [(out + 0.3, y + edge, low), (-out - 0.3, y + edge, low), (-out - 0.3, y, top), (out + 0.3, y, top)]
        for points in (front, back):
            self.builder.slab(points, 0.2, _ID["roof"], self.style.roof)
        for sign in (-1, 1):
            self.opening(np.array([sign * out, y, eaves * 0.25]), np.array([0.0, 1.0, 0.0]) * sign, 1.5, eaves * 0.7, "windows")

    def front(self) -> None:
        """The door and windows of a front without a tower in its middle."""
        tall = min(self.eaves * 0.62, float(self.rng.uniform(2.8, 3.8)))
        self.door(0.0, 0.0, float(self.rng.uniform(1.7, 2.5)), tall)
        if self.rng.random() < 0.6:
            self.round_window(np.array([0.0, 0.0, (self.eaves + self.ridge) / 2 - 0.3]), min(1.3, (self.ridge - self.eaves) * 0.25))
        else:
            self.opening(
                np.array([0.0, 0.0, self.eaves * 0.85]), np.array([1.0, 0.0, 0.0]), 1.3, (self.ridge - self.eaves) * 0.55, "windows"
            )
        for sign in (-1, 1):
            at = np.array([sign * self.width * 0.31, 0.0, self.eaves * 0.3])
            self.opening(at, np.array([1.0, 0.0, 0.0]), 0.95, self.eaves * 0.5, "windows")

    def door(self, x: float, y: float, width: float, height: float) -> None:
        """A door to the front, with steps."""
        self.door_at = y
        self.opening(np.array([x, y, self.steps]), np.array([1.0, 0.0, 0.0]), width, height, "door", frame=0.25)
        stone = Material(as_colour(linear("#b8b0a2")), as_colour(linear("#8d867a")), "gravel", 2.0)
        for i in range(2):
            depth, half = 1.3 - 0.45 * i, width / 2 + 0.7 - 0.25 * i
            self.builder.box((x - half, y - depth, 0), (x + half, y - 0.02, self.steps * (i + 1) / 2), _ID["path"], stone)

    def tower(self, x: float, y: float, side: float, height: float, top: str, door: bool) -> None:
        """A square tower around (x, y) with belfry openings, ledges, and a ``top``."""
        half = side / 2
        self.builder.box((x - half, y - half, 0), (x + half, y + half, height), _ID["tower"], self.style.wall)
        for share in (0.62, 0.97):
            z = height * share
            self.builder.box(
                (x - half - 0.14, y - half - 0.14, z), (x + half + 0.14, y + half + 0.14, z + 0.28), _ID["tower"], self.style.trim
            )
        self.within = "tower"
        bell, wide = height * 0.24, side * float(self.rng.uniform(0.2, 0.3))
        pair = self.rng.random() < 0.45 and side > 4
        for way in ((0, -1), (1, 0), (0, 1), (-1, 0)):
            normal = np.array([*way, 0.0])
            along = np.array([-normal[1], normal[0], 0.0])
            for shift in (-0.22, 0.22) if pair else (0.0,):
                at = np.array([x, y, height * 0.68]) + normal * half + along * shift * side
                self.opening(at, along, wide * (0.8 if pair else 1.2), bell, "windows")
            if way[1] <= 0 and not (door and way == (0, -1)):
                self.opening(np.array([x, y, height * 0.3]) + normal * half, along, wide * 0.7, height * 0.17, "windows")
        if door:
            self.door(x, y - half, side * 0.38, min(height * 0.3, 3.6))
            if self.rng.random() < 0.5 and height > 9:
                self.round_window(np.array([x, y - half, height * 0.47]), side * 0.15)
        self.within = "wall"
        self.top(x, y, side, height, top)

    def top(self, x: float, y: float, side: float, z: float, kind: str) -> None:
        """The roof of a tower: a pyramid, an octagonal spire, a dome, an onion, or battlements; a cross on it."""
        half, quarter = side / 2, math.pi / 4
        spire, material = _ID["spire"], self.style.spire
        rise = side * float(self.rng.uniform(0.0, 1.0))
        if kind == "pyramid":
            tall = side * 0.65 + rise * 0.8
            self.builder.lathe((x, y, z + 0.25), [((half + 0.3) * math.sqrt(2), 0.0), (0.02, tall)], 4, spire, material, quarter)
        elif kind == "spire":
            tall = side * 1.3 + rise * 1.0
            self.builder.lathe(
                (x, y, z + 0.25), [((half + 0.25) * math.sqrt(2), 0.0), (half * 0.98, side * 0.28)], 4, spire, material, quarter
            )
            self.builder.lathe(
                (x, y, z + 0.2), [(half * 1.08, 0.0), (half * 0.98, side * 0.25), (0.02, tall)], 8, spire, material, quarter / 2
            )
        elif kind == "dome":
            tall = side * 0.62 + rise * 0.15
            drum = side * 0.22
            angle = np.linspace(0, math.pi / 2, 8)
            self.builder.lathe((x, y, z), [(half * 0.94, 0.2), (half * 0.94, drum + 0.2)], 20, _ID["tower"], self.style.trim)
            profile = [(half * 1.0 * math.cos(a) + 0.02, drum + 0.2 + tall * math.sin(a)) for a in angle]
            self.builder.lathe((x, y, z), [(half * 1.02, drum + 0.1), *profile], 20, spire, material)
            self.builder.lathe(
                (x, y, z + drum + tall), [(side * 0.11, 0.0), (side * 0.11, side * 0.22), (0.02, side * 0.42)], 12, spire, material
            )
            tall += drum + side * 0.4
        elif kind == "onion":
            outline = [(0.8, 0.0), (0.62, 0.16), (0.7, 0.26), (1.0, 0.5), (1.04, 0.66)]
            outline += [(0.9, 0.88), (0.6, 1.1), (0.3, 1.28), (0.14, 1.5), (0.02, 1.8)]
            scale = half * float(self.rng.uniform(0.92, 1.05))
            self.builder.box((x - half - 0.1, y - half - 0.1, z), (x + half + 0.1, y + half + 0.1, z + 0.35), spire, material)
            self.builder.lathe((x, y, z + 0.3), [(r * scale, h * scale) for r, h in outline], 20, spire, material)
            tall = 1.8 * scale + 0.2
        else:
            step = side / 5
            for i in (0, 2, 4):
                for across in (False, True):
                    for far in (-half - 0.1, half - 0.35):
                        a0, a1 = i * step - half - (0.1 if i == 0 else 0), (i + 1) * step - half + (0.1 if i == 4 else 0)
                        low, high = ((a0, far), (a1, far + 0.45)) if across else ((far, a0), (far + 0.45, a1))
                        self.builder.box((x + low[0], y + low[1], z), (x + high[0], y + high[1], z + 1.0), _ID["tower"], self.style.wall)
            return
        self.cross(x, y, z + 0.25 + tall)

    def cross(self, x: float, y: float, z: float) -> None:
        """A cross on a roof, of the class of spires."""
        gold = Material(as_colour(linear("#b08a3c")), as_colour(linear("#8a6a2c")))
        self.builder.box((x - 0.14, y - 0.14, z - 0.6), (x + 0.14, y + 0.14, z + 1.5), _ID["spire"], gold)
        self.builder.box((x - 0.55, y - 0.14, z + 0.7), (x + 0.55, y + 0.14, z + 0.98), _ID["spire"], gold)

    def build(self) -> str:
        """All of it; returns the plan: where its towers are and what is on them."""
        rng = self.rng
        plan = str(rng.choice(["front", "corner", "twin", "turret", "crossing"], p=[0.38, 0.22, 0.14, 0.16, 0.1]))
        top = str(rng.choice(["pyramid", "spire", "dome", "onion", "battlements"], p=[0.26, 0.34, 0.14, 0.14, 0.12]))
        self.nave()
        if plan == "front":
            side = self.width * float(rng.uniform(0.4, 0.56))
            self.tower(0, -side * 0.25, side, self.ridge * float(rng.uniform(0.95, 1.25)), top, True)
            for sign in (-1, 1):
                at = np.array([sign * (self.width + side) / 4, 0.0, self.eaves * 0.3])
                self.opening(at, np.array([1.0, 0.0, 0.0]), 0.9, self.eaves * 0.5, "windows")
        elif plan == "corner":
            self.front()
            side, hand = self.width * float(rng.uniform(0.38, 0.5)), float(rng.choice([-1, 1]))
            y = side * float(rng.uniform(0.4, 1.2))
            self.tower(hand * (self.width / 2 + side / 2 - 0.1), y, side, self.ridge * float(rng.uniform(0.98, 1.25)), top, False)
        elif plan == "twin":
            self.front()
            side = self.width * float(rng.uniform(0.28, 0.36))
            height = self.ridge * float(rng.uniform(0.9, 1.12))
            state = rng.bit_generator.state
            for sign in (-1, 1):
                rng.bit_generator.state = state  # both alike
                self.tower(sign * (self.width / 2 + side * 0.3), side * 0.4, side, height, top, False)
        elif plan == "turret":
            self.front()
            side, z = self.width * float(rng.uniform(0.2, 0.3)), self.ridge * float(rng.uniform(0.95, 1.0))
            y, tall = side * 0.5 + 0.4, side * float(rng.uniform(1.0, 1.6))
            self.builder.box((-side / 2, y - side / 2, z - side), (side / 2, y + side / 2, z + tall), _ID["tower"], self.style.wall)
            self.within = "tower"
            for normal in (np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 0.0])):
                along = np.array([-normal[1], normal[0], 0.0])
                self.opening(np.array([0, y, z + tall * 0.25]) + normal * side / 2, along, side * 0.45, tall * 0.6, "windows", 0.1)
            self.within = "wall"
            self.top(0, y, side, z + tall, "pyramid" if top in ("battlements", "pyramid") else top)
        else:
            self.front()
            side = self.width * float(rng.uniform(0.5, 0.7))
            self.tower(0, self.length * float(rng.uniform(0.45, 0.68)), side, self.ridge * float(rng.uniform(1.12, 1.35)), top, False)
        return f"{plan} {top}"


def draw_church(rng: np.random.Generator) -> Scene:
    """A random church with what is around it."""
    builder = MeshBuilder()
    yaw = math.radians(float(np.clip(rng.normal(0, 26), -52, 52)))
    # The sun stands behind the viewer, to one side or the other.
    lighting, hour = random_daylight(rng, -math.pi / 2 + yaw, (350, 1600))
    style = _random_style(rng, hour == "dusk")
    church = _Church(builder, rng, style)
    plan = church.build()
    bounds = builder.bounds()
    camera = _frame(rng, bounds, yaw)
    add_ground(builder, rng, _ID, camera)
    add_path(builder, rng, _ID, church.door_at, camera)
    add_trees(builder, rng, _ID, bounds, camera)
    add_bushes(builder, rng, _ID, church.width, church.length)
    add_fence(builder, rng, _ID, bounds, camera)
    return Scene(builder.build(), camera, lighting, _ID["sky"], {"church": plan, "hour": hour})


def _frame(rng: np.random.Generator, bounds: np.ndarray, yaw: float) -> Camera:
    """A camera that has the box ``bounds`` (2, 3) in its picture, with some room about it."""
    low, high = bounds
    extent = max(high[2], (high[0] - low[0]) * abs(math.cos(yaw)) + (high[1] - low[1]) * 0.6 * abs(math.sin(yaw)))
    distance = extent * float(rng.uniform(1.5, 2.6))
    middle = np.array([(low[0] + high[0]) / 2, low[1] + min(6.0, (high[1] - low[1]) / 2)])
    eye = (middle[0] + distance * math.sin(yaw), middle[1] - distance * math.cos(yaw), float(rng.uniform(1.6, 1.6 + 0.35 * extent)))
    corners = np.array([(low[0] if i & 1 else high[0], low[1] if i & 2 else high[1], low[2] if i & 4 else high[2]) for i in range(8)])
    x, z, _ = Camera(eye, yaw, (0, 0, 0, 0)).project(corners).T
    side = max((x.max() - x.min()) * 0.88, (z.max() - z.min()) * 1.06) / float(rng.uniform(0.78, 1.0))
    centre = (x.max() + x.min()) / 2 + side * float(rng.uniform(-0.06, 0.06))
    bottom = z.min() - (side - (z.max() - z.min())) * float(rng.uniform(0.5, 0.8))
    return Camera(eye, yaw, (centre - side / 2, centre + side / 2, bottom, bottom + side))


CHURCHES = SceneArt("churches", draw_church, CHURCH_LABELS)
