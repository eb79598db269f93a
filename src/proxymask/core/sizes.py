"""Sizes of pictures, masks and feature maps, which need not be square.

Pictures and masks have a :data:`Size`. Networks have a ``resolution`` and a ``start``: the block at ``resolution`` has ``resolution / 4``
times the (height, width) ``start`` of the generator's first block, which is 4x4 in StyleGAN2.
"""

from collections.abc import Sequence

from .errors import ProxymaskError

Size = int | tuple[int, int]
"""The side of a square, or (height, width)."""
START = (4, 4)
"""(height, width) of the first block of a square generator."""
MAX_STRETCH = 0.02  # relative difference of aspect ratios up to which they count as equal


def check_start(start: Sequence[int]) -> tuple[int, int]:
    """``start`` as (height, width); a :class:`ProxymaskError` unless it is two positive numbers."""
    if len(start) != 2 or min(start) < 1:
        raise ProxymaskError(f"start={list(start)}: must be a height and a width of 1 or more")
    return int(start[0]), int(start[1])


def block_size(resolution: int, start: Sequence[int] = START) -> tuple[int, int]:
    """(height, width) of the block at ``resolution``: ``resolution / 4`` times ``start``."""
    height, width = check_start(start)
    return height * resolution // 4, width * resolution // 4


def height_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Any size as (height, width)."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def as_size(size: int | Sequence[int]) -> Size:
    """Any size in its shortest form, as it is stored in files: the side alone if it is square."""
    height, width = height_width(size)
    return height if height == width else (height, width)


def size_text(size: int | Sequence[int]) -> str:
    """A size as text, WIDTHxHEIGHT."""
    height, width = height_width(size)
    return f"{width}x{height}"


def short_text(size: int | Sequence[int]) -> str:
    """A size as text, WIDTHxHEIGHT, or the side alone if it is square."""
    short = as_size(size)
    return str(short) if isinstance(short, int) else size_text(short)


def same_aspect_ratio(found: Sequence[int], size: Size) -> bool:
    """Whether (height, width) ``found`` has the aspect ratio of ``size``, up to 2 %."""
    (height, width), (to_height, to_width) = found, height_width(size)
    across, down = height * to_width, width * to_height
    return abs(across - down) <= MAX_STRETCH * max(across, down)


def centre_box(height: int, width: int, size: Size) -> tuple[int, int, int, int]:
    """(left, upper, right, lower) of the largest centre crop of a picture that has the aspect ratio of ``size``."""
    to_height, to_width = height_width(size)
    across, down = min(width, max(1, height * to_width // to_height)), min(height, max(1, width * to_height // to_width))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down
