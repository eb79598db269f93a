"""Avatars: drawn portraits with exact masks of nine classes."""

from ..imaging.labels import LabelSet
from .layers import LayerArt, LayerSpec

AVATAR_LABELS = LabelSet.of(
    [
        ("background", "#8fa3ad"),
        ("skin", "#e0ac7e"),
        ("eyes", "#2f6fde"),
        ("eyebrows", "#7a4a21"),
        ("mouth", "#d6334a"),
        ("clothes", "#3fa35b"),
        ("facial_hair", "#a86bd1"),
        ("top", "#f2c230"),
        ("accessories", "#22c3c9"),
    ]
)

AVATARS = LayerArt(
    kind="avatars",
    folder="set5",
    layers=(
        LayerSpec("000#Body", "skin", floor=0.25, relief=0.35),
        LayerSpec("001#Eye", "eyes", thick=0.05, relief=0.03),
        LayerSpec("002#Eyebrow", "eyebrows", thick=0.06, relief=0.01),
        LayerSpec("003#Mouth", "mouth", thick=0.05, relief=0.02),
        LayerSpec("004#Cloth", "clothes", floor=0.2, thick=0.04, relief=0.25),
        LayerSpec("005#FacialHair", "facial_hair", chance=0.4, thick=0.07, relief=0.05),
        LayerSpec("006#Top", "top", floor=0.3, thick=0.05, relief=0.2),
        LayerSpec("007#Accessories", "accessories", chance=0.4, thick=0.09, relief=0.02),
    ),
    labels=AVATAR_LABELS,
    framings={"head": (122, 45, 780), "full": (0, 0, 1024)},
    terms={
        "authors": "Pablo Stanley (avataaars.com)",
        "terms": "free for personal and commercial use",
        "package": "robohash 2.0, set5 (code: MIT)",
    },
)
