"""Bedrooms: a furnished room with daylight or lamplight, with exact masks of fourteen classes."""

import math
from dataclasses import dataclass, replace

import numpy as np

from ...imaging.labels import LabelSet
from .daylight import random_daylight
from .furniture import BedSize, add_bed, add_curtains, add_door, add_night_table, add_picture, add_wardrobe, cloth, mixed, painted, wood
from .lighting import AreaLight, Lamp, Lighting, Vector
from .materials import Material, as_colour, linear
from .meshes import MeshBuilder
from .render import Camera, Scene
from .scene_art import SceneArt

BEDROOM_LABELS = LabelSet.of(
    [
        ("wall", "#d9cdb8"),
        ("floor", "#a9794a"),
        ("ceiling", "#f1efe9"),
        ("window", "#8fc1ea"),
        ("curtain", "#c98fd0"),
        ("bed", "#7a4a21"),
        ("blanket", "#3f78b5"),
        ("pillow", "#f2c230"),
        ("lamp", "#ff8c42"),
        ("table", "#5f8f5a"),
        ("picture", "#22c3c9"),
        ("rug", "#b5503c"),
        ("wardrobe", "#5b4b9a"),
        ("door", "#d6334a"),
    ]
)
_ID = {label.name: label.id for label in BEDROOM_LABELS.labels}
_PAINTS = (
    "#e9e4d8",
    "#e6dcc3",
    "#cfd8d2",
    "#c3d0da",
    "#e4cfc8",
    "#d8c3a5",
    "#a9bdb5",
    "#9fb3c4",
    "#c9a58f",
    "#d9d4e0",
    "#8f9f8a",
    "#e8d59f",
)
_FLOORS = ("#b98a5a", "#8f6440", "#6b4a30", "#c9a57a", "#a39a8c")
FRONT = -4.0  # y where the side walls, the floor and the ceiling end, behind the viewer


@dataclass(frozen=True)
class _Wall:
    """A wall: its middle on the floor, the turn that brings furniture before it, and its length in metres."""

    middle: tuple[float, float]
    turn: float
    length: float

    def at(self, x: float) -> tuple[float, float, float]:
        """The point on the floor that is ``x`` to the right of the middle, seen from the room."""
        return self.middle[0] + x * math.cos(self.turn), self.middle[1] + x * math.sin(self.turn), 0.0


class _Room:
    """Builds one bedroom: x from -width / 2 to width / 2, y from ``FRONT`` to ``depth``."""

    def __init__(self, builder: MeshBuilder, rng: np.random.Generator) -> None:
        self.builder, self.rng = builder, rng
        self.width, self.depth, self.height = float(rng.uniform(3.5, 5.0)), float(rng.uniform(3.5, 4.6)), float(rng.uniform(2.45, 2.95))
        half, middle = self.width / 2, (self.depth + FRONT) / 2
        self.walls = {
            "back": _Wall((0.0, self.depth), 0.0, self.width),
            "right": _Wall((half, middle), -math.pi / 2, self.depth - FRONT),
            "left": _Wall((-half, middle), math.pi / 2, self.depth - FRONT),
        }
        self.lamps: list[Vector] = []
        self.toward = 0.0  # 1 where the head of the bed is at the right wall, -1 at the left, 0 at the back wall

    def along(self, side: str, back: float) -> float:
        """Place on a side wall, ``back`` metres before the back wall, as the x of that wall."""
        return (self.walls[side].length / 2 - back) * (1 if side == "left" else -1)

    def shell(self, window_wall: str, window: tuple[float, float, float, float]) -> None:
        """Floor, ceiling, and walls with skirting; the ``window_wall`` has a hole (left, right, bottom, top)."""
        half, rng, builder = self.width / 2, self.rng, self.builder
        tone = mixed(rng, _FLOORS)
        boards = Material(as_colour(tone), as_colour(tone * 0.45), "planks", 1.1)
        if rng.random() < 0.2:
            tone = mixed(rng, ("#b5aa9a", "#8f949a", "#a89078", "#c9c0b2"))
            boards = Material(as_colour(tone), as_colour(tone * 0.8), "gravel", 1.0)
        floor = [(-half, FRONT, 0), (half, FRONT, 0), (half, self.depth, 0), (-half, self.depth, 0)]
        builder.polygon(floor, _ID["floor"], boards)
        ceiling = painted("#f4f2ec", float(rng.uniform(0.88, 1.0)))
        builder.polygon([(x, y, self.height) for x, y, _ in floor[::-1]], _ID["ceiling"], ceiling)
        paint = mixed(rng, _PAINTS, 0.1)
        plain = Material(as_colour(paint), as_colour(paint * 0.93), "plaster", 2.5)
        accent = mixed(rng, _PAINTS, 0.2) * 0.8
        special = plain
        if rng.random() < 0.3:
            other = accent if rng.random() < 0.5 else paint * 0.86
            pattern = str(rng.choice(["stripes", "plaster"]))
            special = Material(as_colour(other), as_colour(other * 0.9 if pattern == "plaster" else paint), pattern, 1.1)
        skirting = painted("#efece4", float(rng.uniform(0.8, 1.0)))
        for name, wall in self.walls.items():
            left, right = -wall.length / 2, wall.length / 2
            with builder.moved(wall.at(0.0), wall.turn):
                pieces = [(left, right, 0.0, self.height)]
                if name == window_wall:
                    x0, x1, z0, z1 = window
                    pieces = [(left, x0, 0, self.height), (x1, right, 0, self.height), (x0, x1, 0, z0), (x0, x1, z1, self.height)]
                for x0, x1, z0, z1 in pieces:
                    corners = [(x0, 0.0, z0), (x1, 0.0, z0), (x1, 0.0, z1), (x0, 0.0, z1)]
                    builder.polygon(corners, _ID["wall"], special if name == "back" else plain)
                builder.box((left, -0.02, 0.0), (right, 0.0, 0.1), _ID["wall"], skirting)

    def window(self, wall: str, window: tuple[float, float, float, float]) -> None:
        """The frame, bars and sill of the window, its curtains, and what is outside."""
        left, right, low, high = window
        rng, builder = self.rng, self.builder
        frame = painted(str(rng.choice(["#f2efe8", "#f2efe8", "#b98a5a", "#5b3a24"])))
        deep = 0.18
        with builder.moved(self.walls[wall].at(0.0), self.walls[wall].turn):
            for x0, x1, z0, z1 in (
                (left - 0.06, left + 0.05, low, high),
                (right - 0.05, right + 0.06, low, high),
                (left - 0.06, right + 0.06, high - 0.05, high + 0.06),
                (left - 0.06, right + 0.06, low - 0.03, low + 0.05),
            ):
                builder.box((x0, -0.03, z0), (x1, deep, z1), _ID["window"], frame)
            builder.box((left - 0.1, -0.07, low - 0.05), (right + 0.1, 0.0, low), _ID["window"], frame)
            columns, rows = int(rng.integers(2, 4)), int(rng.integers(1, 4))
            for i in range(1, columns):
                x = left + (right - left) * i / columns
                builder.box((x - 0.03, 0.06, low), (x + 0.03, 0.12, high), _ID["window"], frame)
            for i in range(1, rows):
                z = low + (high - low) * i / rows
                builder.box((left, 0.07, z - 0.02), (right, 0.11, z + 0.02), _ID["window"], frame)
            tone = linear("#6f8f4a") * rng.uniform(0.7, 1.2)
            grass = Material(as_colour(tone), as_colour(tone * 0.6), "grass", 5.0)
            far = float(rng.uniform(-3.5, -0.5))
            builder.polygon([(-90, 1.5, far), (90, 1.5, far), (90, 120, far), (-90, 120, far)], _ID["window"], grass)
            leaves = Material(as_colour(tone * 0.8), as_colour(tone * 0.3), "leaves", 3.0)
            for _ in range(int(rng.integers(2, 8))):
                size, distance = float(rng.uniform(1.5, 4.0)), float(rng.uniform(14, 60))
                builder.blob(
                    (float(rng.uniform(-1, 1)) * distance, distance, far + size * 0.9), (size, size, size), 0.15, rng, _ID["window"], leaves
                )
            if rng.random() < 0.85:
                add_curtains(builder, rng, _ID["curtain"], window, bool(rng.random() < 0.6))

    def area(self, wall: str, window: tuple[float, float, float, float], colour: Vector) -> AreaLight:
        """The window as a light."""
        left, right, low, high = window
        x, y, _ = self.walls[wall].at(left)
        turn = self.walls[wall].turn
        inward = (0.2 * math.sin(turn), -0.2 * math.cos(turn))
        edge = ((right - left) * math.cos(turn), (right - left) * math.sin(turn), 0.0)
        return AreaLight((x + inward[0], y + inward[1], low), (edge, (0.0, 0.0, high - low)), colour)

    def furnish(self, shade: Material) -> tuple[str, tuple[float, float, float, float], str]:
        """All furniture; returns the wall of the window, the window on it, and the name of the plan."""
        rng = self.rng
        hand, other = ("right", "left") if rng.random() < 0.5 else ("left", "right")
        sign = 1.0 if hand == "right" else -1.0
        size = BedSize(
            float(rng.choice([1.0, 1.4, 1.6, 1.8])) * float(rng.uniform(0.96, 1.05)),
            float(rng.uniform(1.95, 2.1)),
            float(rng.uniform(0.46, 0.62)),
        )
        tall, low = float(rng.uniform(1.15, 1.5)), float(rng.uniform(0.75, 0.95))
        wide = float(rng.uniform(1.1, 1.8))
        high = min(low + tall, self.height - 0.22)
        facing = rng.random() < 0.6
        if facing:  # the head of the bed is at the back wall
            x = sign * float(rng.uniform(0.1, max(0.15, self.width / 2 - size.width / 2 - 0.55)))
            self.bed("back", x, size, shade)
            if rng.random() < 0.35:  # the window is in the other side wall, and the rest of the back wall has a wardrobe or a door
                back = float(rng.uniform(0.9, 1.4)) + wide / 2
                wall, middle = other, self.along(other, back)
                self.tall_piece("back", -sign * (self.width / 2 - 0.62), self.width / 2 + sign * x - size.width / 2 - 0.65)
            else:
                room = self.width / 2 + sign * x - size.width / 2 - 0.2
                wide = min(wide, room - 0.45)
                if wide < 0.7:
                    wide = 0.7
                wall, middle = "back", -sign * (self.width / 2 - 0.3 - wide / 2)
                self.tall_piece(other, self.along(other, float(rng.uniform(1.0, 1.6))), 9.0)
            if rng.random() < 0.6:  # between the bed and this wall there is no room for a wardrobe
                self.tall_piece(hand, self.along(hand, float(rng.uniform(1.0, 1.7))), 0.0)
        else:  # its head is at a side wall
            self.toward = sign
            self.bed(hand, self.along(hand, float(rng.uniform(1.35, 1.75))), size, shade)
            wall, middle = "back", float(rng.uniform(-0.3, 0.3)) * self.width * 0.5
            if rng.random() < 0.7:
                self.tall_piece(other, self.along(other, float(rng.uniform(0.8, 1.5))), 9.0)
            x = self.width / 2 - 0.75
            if abs(middle + sign * x) > wide / 2 + 0.95 and rng.random() < 0.7:
                self.tall_piece("back", -sign * x, 1.3)
        window = (middle - wide / 2, middle + wide / 2, low, high)
        self.rug(0.0 if facing else -sign * self.width * 0.2)
        if rng.random() < 0.3:
            self.pendant()
        return wall, window, f"{'back' if facing else 'side'} bed, {'back' if wall == 'back' else 'side'} window"

    def bed(self, wall: str, x: float, size: BedSize, shade: Material) -> None:
        """The bed, its tables and lamps, and a picture above its head."""
        rng, builder = self.rng, self.builder
        frame, origin, turn = wood(rng), self.walls[wall].at(x), self.walls[wall].turn
        with builder.moved(origin, turn):
            add_bed(builder, rng, _ID, size, frame)
            tables = wood(rng) if rng.random() < 0.4 else frame
            for side in (-1, 1):
                if rng.random() < 0.75:
                    state = rng.bit_generator.state
                    lamp = shade if rng.random() < 0.8 else None
                    at = add_night_table(builder, rng, _ID, side * (size.width / 2 + 0.42), tables, lamp)
                    if lamp is not None:
                        c, s = math.cos(turn), math.sin(turn)
                        self.lamps.append((origin[0] + at[0] * c - at[1] * s, origin[1] + at[0] * s + at[1] * c, at[2]))
                    if side < 0:
                        rng.bit_generator.state = state  # both alike
            if rng.random() < 0.7:
                tall = float(rng.uniform(0.35, 0.6))
                z = 1.62 + float(rng.uniform(0.0, 0.15))
                count = int(rng.choice([1, 1, 2])) if size.width > 1.3 else 1
                for i in range(count):
                    wide = float(rng.uniform(0.45, 0.9)) if count == 1 else 0.45
                    add_picture(builder, rng, _ID["picture"], (i - (count - 1) / 2) * 0.65, z, wide, tall)

    def tall_piece(self, wall: str, x: float, room: float) -> None:
        """A wardrobe, a door, or a picture, where there is ``room`` metres for it along the wall."""
        rng, builder = self.rng, self.builder
        kind = str(rng.choice(["wardrobe", "door", "picture"], p=[0.4, 0.5, 0.1]))
        with builder.moved(self.walls[wall].at(x), self.walls[wall].turn):
            if kind == "wardrobe" and room > 1.0:
                add_wardrobe(
                    builder, rng, _ID["wardrobe"], float(rng.uniform(0.95, min(room, 1.7))), float(rng.uniform(1.75, 2.2)), wood(rng)
                )
            elif kind == "picture":
                add_picture(builder, rng, _ID["picture"], 0.0, float(rng.uniform(1.45, 1.65)), 0.6, 0.75)
            else:
                add_door(builder, rng, _ID["door"], wood(rng) if rng.random() < 0.6 else painted("#ece8de"))

    def rug(self, x: float) -> None:
        """A rug on the floor in most rooms, round or not."""
        rng = self.rng
        if rng.random() < 0.25:
            return
        tone, other = (
            mixed(rng, ("#a9544a", "#5a6f8a", "#c9b08a", "#6f7f5f", "#8a5f7a", "#d8d0c0")),
            mixed(rng, ("#e5dccb", "#c9a57a", "#4a4f5c")),
        )
        stuff = Material(
            as_colour(tone), as_colour((tone + other) / 2 if rng.random() < 0.6 else tone * 0.9), "weave", float(rng.uniform(0.9, 1.6))
        )
        x, y = x + float(rng.uniform(-0.4, 0.4)), self.depth - float(rng.uniform(2.2, 2.7))
        half, long = float(rng.uniform(0.8, 1.4)), float(rng.uniform(0.6, 1.0))
        if rng.random() < 0.25:
            self.builder.lathe((x, y, 0.0), [(long + 0.2, 0.0), (long + 0.2, 0.02), (0.0, 0.021)], 28, _ID["rug"], stuff)
        else:
            self.builder.box((x - half, y - long, 0.0), (x + half, y + long, 0.02), _ID["rug"], stuff)

    def pendant(self) -> None:
        """A lamp that hangs from the ceiling."""
        rng = self.rng
        shade = cloth(rng, 0.0)
        shade = replace(shade, glow=0.25)
        x, y, drop = float(rng.uniform(-0.4, 0.4)), self.depth * float(rng.uniform(0.5, 0.65)), float(rng.uniform(0.3, 0.55))
        top, wide = self.height - drop, float(rng.uniform(0.16, 0.26))
        self.builder.lathe((x, y, top), [(0.012, 0.0), (0.012, drop)], 6, _ID["lamp"], painted("#3b3431"), smooth=True)
        self.builder.lathe((x, y, top - 0.2), [(wide, 0.0), (wide * 0.55, 0.19), (0.01, 0.2)], 20, _ID["lamp"], shade)


def draw_bedroom(rng: np.random.Generator) -> Scene:
    """A random bedroom."""
    builder = MeshBuilder()
    room = _Room(builder, rng)
    night = rng.random() < 0.14
    lit = night or rng.random() < 0.3
    cover = mixed(rng, ("#f2e6cf", "#ead9bd", "#e0d8cc", "#d9c3a0"))
    shade = Material(as_colour(cover), as_colour(cover), glow=1.3 if lit else 0.15)
    wall, window, plan = room.furnish(shade)
    room.shell(wall, window)
    room.window(wall, window)
    lighting = _light(rng, room, wall, window, night, lit)
    return Scene(builder.build(), _camera(rng, room), lighting, _ID["window"], {"plan": plan, "hour": "night" if night else "day"})


def _light(rng: np.random.Generator, room: _Room, wall: str, window: tuple[float, float, float, float], night: bool, lit: bool) -> Lighting:
    """Daylight through the window, or a dark sky and lamps."""
    outward = math.pi / 2 + room.walls[wall].turn
    outdoors, _ = random_daylight(rng, outward, (400, 1500))
    warm = np.array([1.0, 0.72, 0.42])
    lamps = tuple(Lamp(place, as_colour(warm * (0.95 if night else 0.4)), 0.9) for place in room.lamps) if lit else ()
    if night:
        sky = replace(outdoors.sky, zenith=(0.008, 0.015, 0.05), horizon=(0.03, 0.05, 0.12), clouds=(0.04, 0.05, 0.09))
        low: Vector = as_colour(np.array([0.42, 0.36, 0.3]))
        return replace(
            outdoors,
            sky=sky,
            sun_colour=(0.05, 0.07, 0.12),
            ambient=(low, low),
            nook=(1.6, 0.25),
            soft_nooks=True,
            haze=1e5,
            exposure=0.95,
            lamps=lamps,
        )
    pale = np.array([0.95, 0.97, 1.0]) * rng.uniform(0.6, 0.8)
    light = np.array(outdoors.sky.horizon) * 0.5 + 0.4
    strength = 3.0 / ((window[1] - window[0]) * (window[3] - window[2])) ** 0.5
    area = room.area(wall, window, (float(light[0] * strength), float(light[1] * strength), float(light[2] * strength)))
    return replace(
        outdoors,
        ambient=(as_colour(pale), as_colour(pale * np.array([0.95, 0.88, 0.8]))),
        nook=(1.6, 0.25),
        soft_nooks=True,
        haze=1e5,
        exposure=float(rng.uniform(0.8, 0.95)),
        areas=(area,),
        lamps=lamps,
    )


def _camera(rng: np.random.Generator, room: _Room) -> Camera:
    """A camera before the room that looks at its back wall, from the left, the right or the middle."""
    yaw = math.radians(float(np.clip(rng.normal(0, 14), -26, 26)))
    if room.toward:  # a bed at a side wall is seen from the other side
        yaw = -room.toward * abs(yaw)
    back = float(rng.uniform(0.4, 1.6))
    distance = room.depth * 0.6 + back
    x = float(np.clip(distance * math.sin(yaw), -room.width / 2 + 0.35, room.width / 2 - 0.35))
    eye = (x, -back, float(rng.uniform(1.2, 1.85)))
    far = room.depth + back
    side = room.width * float(rng.uniform(1.0, 1.25)) / far
    top = (room.height - eye[2]) / far * float(rng.uniform(1.15, 1.6))
    side = max(side, top + eye[2] / far * 1.55)
    centre = math.tan(math.atan2(-x, distance) + yaw)  # of the room, seen from the eye
    return Camera(eye, yaw, (centre - side / 2, centre + side / 2, top - side, top))


BEDROOMS = SceneArt("bedrooms", draw_bedroom, BEDROOM_LABELS)
