"""What a file or folder of this package holds, in words (``proxymask inspect``)."""

from pathlib import Path

from ...core.checks import nearest
from ...core.errors import ProxymaskError
from ...imaging.labels import LabelSet
from ...inference.find import find_bundle, list_bundles
from .files import describe_file
from .folders import describe_folder
from .text import Description

__all__ = ["Description", "describe"]


def describe(path: str | Path, labels: LabelSet | None = None) -> Description:
    """What ``path`` holds: a bundle, a run, a saved model, a data set, samples, pictures, a checkpoint of another project, or a mask.

    Args:
        path: a file, a folder or the name of an embedded bundle.
        labels: the classes of a mask; where None, those of ``labels.json`` in its folder or one above.

    Raises:
        ProxymaskError: nothing there, or nothing that is known.
    """
    found = Path(path)
    if not found.exists():
        try:
            found = find_bundle(path)
        except ProxymaskError:
            near = nearest(str(path), list_bundles())
            raise ProxymaskError(f"{path} does not exist, and no embedded bundle has this name{near}") from None
    if not found.is_file() and not found.is_dir():
        raise ProxymaskError(f"{path} is neither a file nor a folder")
    return describe_file(found, labels) if found.is_file() else describe_folder(found, labels)
