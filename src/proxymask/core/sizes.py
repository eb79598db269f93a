"""Sizes of pictures, masks and feature maps, which need not be square.

Pictures and masks have a :data:`Size`. Networks count in blocks, as StyleGAN2 does: a ``resolution``, which is the side of a map that
began as 4x4, and ``start``, the (height, width) that it began as.
"""

from collections.abc import Sequence

from .errors import ProxymaskError

Size = int | tuple[int, int]
"""The side of a square, or (height, width) of what is none."""
START = (4, 4)
MAX_STRETCH = 0.02  # sides may differ by this fraction from the shape that is wanted


def check_start(start: Sequence[int]) -> tuple[int, int]:
    """``start`` as (height, width); a :class:`ProxymaskError` where it is none."""
    if len(start) != 2 or min(start) < 1:
        raise ProxymaskError(f"the start block is {list(start)}, wanted a height and a width")
    return int(start[0]), int(start[1])


def block_size(resolution: int, start: Sequence[int] = START) -> tuple[int, int]:
    """(height, width) of the block at ``resolution``: ``resolution / 4`` times ``start``."""
    height, width = check_start(start)
    return height * resolution // 4, width * resolution // 4


def height_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Any size as (height, width)."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def as_size(size: int | Sequence[int]) -> Size:
    """Any size in its shortest form, which is what files hold: the side alone where it is a square."""
    height, width = height_width(size)
    return height if height == width else (height, width)


def size_text(size: int | Sequence[int]) -> str:
    """WIDTHxHEIGHT, as people write it."""
    height, width = height_width(size)
    return f"{width}x{height}"


def short_text(size: int | Sequence[int]) -> str:
    """As :func:`size_text`, but of a square the side alone."""
    short = as_size(size)
    return str(short) if isinstance(short, int) else size_text(short)


def same_shape(found: Sequence[int], size: Size) -> bool:
    """Whether (height, width) ``found`` has the shape of ``size``, but for 2 % that one side is stretched against the other."""
    (height, width), (to_height, to_width) = found, height_width(size)
    across, down = height * to_width, width * to_height
    return abs(across - down) <= MAX_STRETCH * max(across, down)


def centre_box(height: int, width: int, size: Size) -> tuple[int, int, int, int]:
    """(left, upper, right, lower) of the largest part in the middle of a picture that has the shape of ``size``."""
    to_height, to_width = height_width(size)
    across, down = min(width, max(1, height * to_width // to_height)), min(height, max(1, width * to_height // to_width))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down
