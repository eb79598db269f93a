"""Run-length code of an index buffer: repeated (u8 value, u16 little-endian length of 1 or more), row by row."""

import numpy as np

from ..core.errors import ProxymaskError

RUN = np.dtype([("value", "u1"), ("length", "<u2")])
LONGEST = 65535  # of one run


def encode_runs(values: np.ndarray) -> bytes:
    """Values (H, W) uint8 -> their runs."""
    flat = np.ascontiguousarray(values, dtype=np.uint8).reshape(-1)
    if not flat.size:
        return b""
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    pieces = -(-lengths // LONGEST)  # a long run is several
    runs = np.empty(int(pieces.sum()), dtype=RUN)
    runs["value"] = np.repeat(flat[starts], pieces)
    runs["length"] = LONGEST
    runs["length"][np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST
    return runs.tobytes()


def decode_runs(data: bytes, width: int, height: int) -> np.ndarray:
    """Runs -> values (height, width) uint8.

    The lengths are added up before anything of that size is made.

    Raises:
        ProxymaskError: a run that is cut off or empty, or runs that do not fill the buffer exactly.
    """
    if len(data) % RUN.itemsize:
        raise ProxymaskError(f"the mask is {len(data)} bytes, which are no whole runs of {RUN.itemsize}: it was cut off on the way")
    runs = np.frombuffer(data, dtype=RUN)
    if not runs["length"].all():
        raise ProxymaskError("the mask has a run of length 0: a run is 1 to 65535 pixels long")
    total = int(runs["length"].sum(dtype=np.int64))
    if total != width * height:
        raise ProxymaskError(f"the runs of the mask are {total} pixels, and {width}x{height} has {width * height}")
    return np.repeat(runs["value"], runs["length"]).reshape(height, width)
