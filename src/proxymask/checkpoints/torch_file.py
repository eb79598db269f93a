"""Reads a checkpoint file of unknown origin, by what is in it and not by its name: ``.pt``, ``.pth``, ``.pkl``. Runs nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ProxymaskError
from .identify import SAFETENSORS, FileInfo, identify
from .safe_pickle.budget import DEFAULT_LIMITS, Limits
from .safe_pickle.containers import container_of
from .safe_pickle.inert import ReadReport
from .safe_pickle.messages import file_errors
from .safe_pickle.streams import map_file, read_stream

LONE_SAFETENSORS = (
    "safetensors on their own, without the config.json that proxymask writes beside them; files of other projects are read as .pkl, .pt or "
    ".pth: give the file that these tensors were taken from, or save them with torch.save"
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        object: as :func:`~.safe_pickle.streams.read_pickle` returns. Tensors are on the CPU and may be views of the mapped file: leave
            the file as it is while they are in use.
        format: ``torch zip``, ``torch legacy stream`` or ``pickle``.
        report: what was not understood.
    """

    object: Any
    format: str
    report: ReadReport


def read_torch(path: str | Path, limits: Limits = DEFAULT_LIMITS, info: FileInfo | None = None) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: of the file.
        limits: what it may cost.
        info: the result of :func:`~.identify.identify` for the file; where None, it is identified here.

    Raises:
        ProxymaskError: no such file, not a checkpoint (the message names what it is), damaged, truncated, or over a limit.
    """
    path = Path(path)
    info = info or identify(path)
    if info.problem is not None:
        raise ProxymaskError(f"{path}: {info.problem}")
    if info.kind == SAFETENSORS:
        raise ProxymaskError(f"{path}: {LONE_SAFETENSORS}")
    with file_errors(path):
        data, report = map_file(path), ReadReport()
        return Checkpoint(read_stream(data, limits, report), container_of(data), report)
