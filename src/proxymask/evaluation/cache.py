"""The parts of an evaluation on disk, so that a stopped one resumes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.errors import ProxymaskError, cannot_write, os_reason
from ..core.files import load_tensors, read_json, save_tensors, write_json
from ..core.hashing import json_hash

Tensors = dict[str, torch.Tensor]


class Cache:
    """Parts of an evaluation by name, in ``<folder>/cache/<digest of the identity>``.

    Another identity (another bundle, other data, another seed) has a folder of its own, so that no part of one is used for the other.

    Args:
        folder: the evaluation's own folder.
        identity: everything that the parts depend on, as JSON can hold it.

    Raises:
        ProxymaskError: the folder cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder / "cache" / json_hash(identity)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "identity.json", dict(identity))
        except OSError as error:
            raise cannot_write(self.folder, error, "another --out") from None

    def tensors(self, name: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors ``name``: read from the disk, or made by ``make`` and stored. A :class:`ProxymaskError` where the disk is full."""
        path = self.folder / f"{name}.safetensors"
        if path.is_file():
            try:
                return load_tensors(path)
            except ProxymaskError:  # damaged, as by a full disk: made again
                path.unlink()
        value = make()
        try:
            save_tensors(path, value)
        except OSError as error:
            raise ProxymaskError(f"cannot write {path} ({os_reason(error)}): make room and run the same command again") from None
        return value

    def json(self, name: str, make: Callable[[], Any]) -> Any:
        """The same for a value that JSON can hold."""
        path = self.folder / f"{name}.json"
        if path.is_file():
            return read_json(path)
        value = make()
        try:
            write_json(path, value)
        except OSError as error:
            raise ProxymaskError(f"cannot write {path} ({os_reason(error)}): make room and run the same command again") from None
        return value
