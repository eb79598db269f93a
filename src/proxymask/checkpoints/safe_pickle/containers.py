"""The three containers of a PyTorch checkpoint, recognised by their first bytes: zip, legacy stream, bare pickle.

Source: ``torch/serialization.py``. The zip (PyTorch 1.6 and later) holds ``NAME/data.pkl`` and one file ``NAME/data/KEY`` for each
storage. The legacy stream is a magic number, a version, the machine's sizes, the pickle, the list of storage keys, then the storages.
"""

from collections.abc import Sequence

from .messages import printable

TORCH_ZIP = "torch zip"
TORCH_LEGACY = "torch legacy stream"
PICKLE = "pickle"
LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # torch.serialization.MAGIC_NUMBER, pickled
TORCHSCRIPT_PROBLEM = "a TorchScript archive, a program that would have to be run: get the checkpoint it was made from"


def container_of(data: memoryview) -> str:
    """``TORCH_ZIP``, ``TORCH_LEGACY`` or, for anything else, ``PICKLE``."""
    if data[:4] == b"PK\3\4":
        return TORCH_ZIP
    return TORCH_LEGACY if data[: len(LEGACY_MAGIC)] == LEGACY_MAGIC else PICKLE


def is_torchscript(entries: Sequence[str]) -> bool:
    """Whether these zip entries are those of ``torch.jit.save``."""
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in entries)


def find_data_pkl(entries: Sequence[str]) -> str | None:
    """The one entry ``data.pkl`` or ``NAME/data.pkl`` of a zip from ``torch.save``; None where the zip is not one."""
    found = [name for name in entries if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    return found[0] if len(found) == 1 else None


def first_entries(entries: Sequence[str]) -> str:
    """The names of the first three entries, safe to print, "" for an empty zip."""
    return ", ".join(printable(name, 40) for name in entries[:3])


def not_from_torch(entries: Sequence[str]) -> str:
    """The error message for a zip that is not from ``torch.save``."""
    return f"a zip, but not from torch.save (it holds {first_entries(entries) or 'nothing'}): unpack it and give the checkpoint inside"
