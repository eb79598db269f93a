"""Feature networks for Frechet and kernel distances, precision and recall."""

from pathlib import Path

from ...core.errors import ProxymaskError
from ...core.published_weights import read_weights
from .base import FeatureNetwork
from .convnets import SqueezeNetFeatures
from .efficientnet import EfficientNetFeatures
from .inception import InceptionFeatures
from .weights import find_weights, missing_weights

__all__ = ["NAMES", "EfficientNetFeatures", "FeatureNetwork", "InceptionFeatures", "SqueezeNetFeatures", "load_features"]

NAMES = ("inception", "inception-clean", "squeezenet", "efficientnet-lite0")


def load_features(what: str, folder: Path | None = None) -> FeatureNetwork:
    """A feature network by name or by the path of its weights.

    Args:
        what: ``inception`` (legacy resizing, the FID of the literature), ``inception-clean``, ``squeezenet``,
            ``efficientnet-lite0``; or a file, whose tensors' names tell the network (append ``:clean`` for Inception with clean resizing).
        folder: where named ones are looked for; see :func:`~proxymask.core.published_weights.weights_folder`.

    Raises:
        ProxymaskError: weights that are missing (the message says where to put them), or of an unknown network.
    """
    name, _, resizing = what.partition(":")
    if name in NAMES:
        kind = name.removesuffix("-clean")
        path = find_weights(kind, folder)
        if path is None:
            raise ProxymaskError(missing_weights(kind, folder))
        clean = name.endswith("-clean") or resizing == "clean"
    else:
        path, clean = Path(name), resizing == "clean"
        if not path.is_file():
            raise ProxymaskError(f"--features {what}: neither a file nor one of judge, {', '.join(NAMES)}")
        keys = read_weights(path).keys()
        if "Mixed_5b.branch1x1.conv.weight" in keys:
            kind = "inception"
        elif "conv1.weight" in keys or "features.3.squeeze.weight" in keys:
            kind = "squeezenet"
        elif "_conv_stem.weight" in keys:
            kind = "efficientnet-lite0"
        else:
            known = "the FID's Inception-v3, SqueezeNet v1.1 or EfficientNet-Lite0"
            raise ProxymaskError(f"{path} holds weights of an unknown network: give {known}")
    if kind == "inception":
        return InceptionFeatures.from_file(path, "clean" if clean else "legacy")
    return EfficientNetFeatures.from_file(path) if kind == "efficientnet-lite0" else SqueezeNetFeatures.from_file(path)
