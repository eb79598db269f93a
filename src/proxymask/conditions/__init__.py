"""Conditions, the kinds of input: masks, scribbles, sketches, edges, depth, pictures, and any that one function defines.

>>> from proxymask.conditions import register
>>> @register("darkness")
... def darkness(pictures):  # (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1]
...     return (1 - pictures.mean(dim=1, keepdim=True)) / 2
"""

from .base import Condition, FunctionCondition, Reading, Source, add_factory, condition_names, get_condition, register
from .depth import depth
from .lines import edges, hed, photo_sketch, sketch
from .picture import picture
from .scribble import mask, scribble

__all__ = ["Condition", "FunctionCondition", "Reading", "Source", "condition_names", "get_condition", "register"]

for _name, _factory in {
    "mask": mask,
    "scribble": scribble,
    "sketch": sketch,
    "edges": edges,
    "hed": hed,
    "photo-sketch": photo_sketch,
    "depth": depth,
    "picture": picture,
}.items():
    add_factory(_name, _factory)
