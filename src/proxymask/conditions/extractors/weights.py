"""Weights of others: found on disk, checked by hash, read without running anything that the file says.

Nothing is downloaded and nothing is committed: a person fetches the file, knowing its licence, and puts it where the message says.
"""

import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from ...core.errors import ProxymaskError
from ...core.hashing import file_hash


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights."""

    name: str
    """The name it is published under, and looked for."""
    url: str
    sha256: str | None
    """Of the published file; None where no source for it is known to us."""
    size: str
    """For people: "2.9 MB"."""
    licence: str


def weights_folder() -> Path:
    """Where weights are looked for: $PROXYMASK_WEIGHTS, else ~/.cache/proxymask/weights."""
    return Path(os.environ.get("PROXYMASK_WEIGHTS") or Path.home() / ".cache" / "proxymask" / "weights")


def find_weights(owner: str, file: WeightFile, given: Path | None = None) -> Path:
    """The weights of the extractor ``owner``: ``given``, or the file of that name in :func:`weights_folder`.

    A file in the folder must be the published one to the bit. A file that is given may be another with the same layout (somebody's
    own training): that is said, and it is read.

    Raises:
        ProxymaskError: not there (the message says what to fetch and where to put it), or another file.
    """
    if given is not None:
        if not given.is_file():
            raise ProxymaskError(f"--weights {given} does not exist: {_fetch(file)}")
        if file.sha256 is not None and file_hash(given) != file.sha256:
            warnings.warn(f"{given} is not the published {file.name} (its SHA-256 differs): read as weights of your own", stacklevel=3)
        return given
    place = weights_folder() / file.name
    if not place.is_file():
        raise ProxymaskError(f"{owner} needs its weights: {_fetch(file)}")
    if file.sha256 is not None and file_hash(place) != file.sha256:
        raise ProxymaskError(f"{place} is not the published file (its SHA-256 differs): it is damaged or another one; {_fetch(file)}")
    return place


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a PyTorch checkpoint, by name, without the prefix that data-parallel training leaves; code in it is never run.

    Raises:
        ProxymaskError: no checkpoint, or one with more than tensors in it.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ProxymaskError(f"{path} cannot be read as weights ({reason}): fetch it again") from None
    state = stored.get("state_dict", stored) if isinstance(stored, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ProxymaskError(f"{path} holds no network's weights")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def fill(net: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load ``state`` into ``net``; a :class:`ProxymaskError` that names the first tensor that does not fit."""
    expected = net.state_dict()
    wrong = sorted(expected.keys() ^ state.keys()) or sorted(k for k in expected if expected[k].shape != state[k].shape)
    if wrong:
        raise ProxymaskError(f"{path} holds another network than {type(net).__name__} (first difference: {wrong[0]})")
    net.load_state_dict(state)
    net.eval().requires_grad_(False)


def _fetch(file: WeightFile) -> str:
    known = f", sha256 {file.sha256}" if file.sha256 else ""
    place = weights_folder() / file.name
    return f"fetch {file.url} ({file.size}, {file.licence}{known}) and save it as {place}, or name the file with --weights"
