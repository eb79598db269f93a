"""Weights of published networks: the folder that they are searched in, and how they are read.

None are shipped and none are downloaded: the user fetches a file and saves it in the folder. No code in it is executed.
"""

import os
import pickle
from pathlib import Path

import torch

from .errors import ProxymaskError
from .files import load_tensors
from .out_of_memory import is_out_of_memory


def weights_folder() -> Path:
    """The folder of weights: $PROXYMASK_WEIGHTS, or ~/.cache/proxymask/weights."""
    return Path(os.environ.get("PROXYMASK_WEIGHTS") or Path.home() / ".cache" / "proxymask" / "weights")


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, or of a PyTorch checkpoint, by name; without the prefix "module." of data-parallel training.

    Raises:
        ProxymaskError: missing, not a checkpoint, damaged, or one that holds more than tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file():
        return load_tensors(path)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0][:120] if len(str(error).split()) > 1 else "it is no file of PyTorch's"
        raise ProxymaskError(f"{path} cannot be read as weights ({reason}): fetch it again") from None
    state = stored.get("state_dict", stored) if isinstance(stored, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ProxymaskError(f"{path} holds no weights of a network: fetch it again, or name another file")
    return {str(name).removeprefix("module."): value for name, value in state.items()}
