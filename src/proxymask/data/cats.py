"""Cats: drawn cats with exact masks of six classes."""

from ..imaging.labels import LabelSet
from .layers import LayerArt, LayerSpec

CAT_LABELS = LabelSet.of(
    [
        ("background", "#8fa3ad"),
        ("body", "#d98a4b"),
        ("fur", "#7a4a21"),
        ("eyes", "#2f6fde"),
        ("mouth", "#d6334a"),
        ("accessories", "#22c3c9"),
    ]
)

CATS = LayerArt(
    kind="cats",
    folder="set4",
    layers=(
        LayerSpec("000#00body", "body"),
        # The fur is painted with an alpha of 0.1 to 0.5: with a threshold of one half the class would nearly vanish.
        LayerSpec("001#01fur", "fur", threshold=0.1),
        LayerSpec("002#02eyes", "eyes"),
        LayerSpec("003#03mouth", "mouth"),
        LayerSpec("004#04accessories", "accessories"),
    ),
    labels=CAT_LABELS,
    framings={"full": (0, 0, 1024)},
    terms={
        "authors": "David Revoy (davidrevoy.com)",
        "terms": "CC-BY 4.0: name the author wherever these pictures are shown",
        "package": "robohash 2.0, set4 (code: MIT)",
    },
)
