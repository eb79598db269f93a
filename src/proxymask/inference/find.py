"""Where bundles are: inside this package, in a folder, or on the Hugging Face hub. Imports no PyTorch."""

from pathlib import Path

from ..core.checks import check_value, nearest
from ..core.errors import ProxymaskError

EMBEDDED = Path(__file__).parents[1] / "bundles"
HUB_FILES = ["*.json", "*.safetensors", "*.md"]


def list_bundles() -> list[str]:
    """Names of the bundles inside this package, sorted; each can be given to ``from_pretrained``."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/bundle.json"))


def is_bundle(source: str | Path) -> bool:
    """Whether ``source`` is a folder with a bundle, or the name of an embedded one."""
    return any((folder / "bundle.json").is_file() for folder in (Path(source), EMBEDDED / source))


def find_bundle(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """The folder of a bundle.

    Args:
        source: a folder, the name of an embedded bundle ("avatars"), or a name on the hub ("user/model"), tried in this order.
        revision: branch, tag or commit on the hub.
        token: access token of the hub; True takes the stored one.
        cache_dir: where the hub's files are kept.

    ``revision``, ``token`` and ``cache_dir`` are handed on to ``huggingface_hub.snapshot_download``.

    Raises:
        ProxymaskError: no such bundle; the hub refused, or its package is not installed; a ``revision`` of a folder.
    """
    if not isinstance(source, str | Path) or not str(source):
        raise ProxymaskError(f"a bundle is named by a folder, an embedded name or a name on the hub, not by {source!r}")
    check_value("bundle", source, str | Path)
    path, name = Path(source), str(source)
    embedded = (EMBEDDED / name / "bundle.json").is_file()
    whole = path.is_dir() and ((path / "bundle.json").is_file() or not embedded)  # a folder of pictures may have an embedded name
    found = path if whole else EMBEDDED / name if embedded else None
    if found is not None:
        if revision is not None:
            raise ProxymaskError(f"revision {revision!r} is for names on the hub, and {name} is a folder: leave revision out")
        return found
    if path.exists():
        raise ProxymaskError(f"{path} is a file; a bundle is a folder with bundle.json")
    if name.count("/") != 1 or name.startswith((".", "/")):
        known = list_bundles()
        have = ", ".join(known) or "none"
        raise ProxymaskError(f"no bundle {name!r}: no such folder, and the embedded ones are: {have}{nearest(name, known)}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ProxymaskError(f"{name} is no folder; to take it from the hub: pip install 'proxymask[hub]'") from None
    try:
        return Path(snapshot_download(name, revision=revision, token=token, cache_dir=cache_dir, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub's many errors all mean that the files could not be had
        raise ProxymaskError(f"{name} is no folder, and the hub did not give it: {error}".splitlines()[0]) from None
