"""What a file is, by its first bytes and its structure, before anything is loaded. Needs no PyTorch.

For a file that is no checkpoint, :attr:`FileInfo.problem` names what it is instead and what to do: web pages, pointers of Git LFS and
git-annex, pictures, archives, checkpoints of TensorFlow and so on.
"""

import json
import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import ProxymaskError
from ..core.hashing import file_hash
from .safe_pickle.budget import DEFAULT_LIMITS, Budget
from .safe_pickle.containers import (
    LEGACY_MAGIC,
    PICKLE,
    TORCH_LEGACY,
    TORCH_ZIP,
    TORCHSCRIPT_PROBLEM,
    find_data_pkl,
    first_entries,
    is_torchscript,
    not_from_torch,
)
from .safe_pickle.messages import file_errors, megabytes, printable
from .safe_pickle.scan import PickleScan, scan_pickle
from .safe_pickle.zip_archive import ZipArchive

# Kinds that can be read, besides TORCH_ZIP, TORCH_LEGACY and PICKLE.
NVIDIA = "NVIDIA pickle"
TENSORFLOW = "NVIDIA TensorFlow pickle"
SAFETENSORS = "safetensors"
FOLDER = "proxymask folder"

CHECKPOINT_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".tar", ".onnx")
_HEAD_BYTES = 4096
_SMALL_TEXT_BYTES = 65536
_MAX_SAFETENSORS_HEADER = 8_000_000  # a checkpoint of 2,000 tensors has 0.2 MB

_GET_AGAIN = "get the file again"
_UNPACK = "unpack it and give the checkpoint inside"
_GIVE_NETWORK = "give the network's file (.pkl, .pt or a folder)"
_PICTURE = f"a picture, no checkpoint: {_GIVE_NETWORK}"
_GIVE_PICKLE = "give NVIDIA's .pkl, or convert the weights to PyTorch first"
_ANNEX = "a git-annex pointer, the file itself is elsewhere: fetch it with `git annex get FILE`"


@dataclass(frozen=True)
class FileInfo:
    """What a file is.

    Attributes:
        path: of the file or folder.
        kind: one of the constants above where it can be read, else what it is instead (``JPEG picture``).
        detail: more on it, "" where there is nothing to add.
        size: in bytes, of all files for a folder.
        problem: why it cannot be read and what to do, one line; None where reading can be tried.
        globals: names of classes and functions in its pickle.
        sha256: of the file, 64 hex digits; "" for folders and empty files, and until :meth:`with_sha256`.
    """

    path: Path
    kind: str
    detail: str
    size: int
    problem: str | None = None
    globals: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a file to open as a checkpoint, by its content or its name, rather than a picture, a mask or JSON."""
        return self.kind != FOLDER and (self.problem is None or self.path.suffix.lower() in CHECKPOINT_SUFFIXES)

    def with_sha256(self) -> "FileInfo":
        """The same with the file's hash (reads all of it once; about a second for 400 MB)."""
        if self.sha256 or not self.size or self.path.is_dir():
            return self
        return replace(self, sha256=file_hash(self.path))


def identify(path: str | Path, *, sha256: bool = False) -> FileInfo:
    """What the file or folder at ``path`` is.

    Args:
        path: of the file or folder.
        sha256: also hash it, see :meth:`FileInfo.with_sha256`.

    Raises:
        ProxymaskError: nothing there, or it cannot be opened.
    """
    path = Path(path)
    with file_errors(path):
        info = _identify_folder(path) if path.is_dir() else _identify_file(path)
    return info.with_sha256() if sha256 else info


def _identify_folder(path: Path) -> FileInfo:
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if (path / "bundle.json").is_file() or ((path / "config.json").is_file() and (path / "model.safetensors").is_file()):
        return FileInfo(path, FOLDER, "", size)
    if (path / "saved_model.pb").is_file():
        return FileInfo(path, "TensorFlow SavedModel", "", size, f"a TensorFlow SavedModel: {_GIVE_PICKLE}")
    return FileInfo(path, "folder", "", size, "a folder, but none that proxymask wrote: give the checkpoint file in it")


def _identify_file(path: Path) -> FileInfo:
    if not path.exists():
        if path.is_symlink() and "annex" in str(path.readlink()):
            return FileInfo(path, "git-annex pointer", "", 0, _ANNEX)
        raise ProxymaskError("does not exist")
    if not path.is_file():  # reading a pipe would wait forever
        raise ProxymaskError("is neither a file nor a folder")
    try:
        with path.open("rb") as opened:
            if not path.stat().st_size:
                return FileInfo(path, "empty file", "", 0, f"the file is empty, a broken download: {_GET_AGAIN}")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                return _identify_bytes(path, data)
    except (OSError, ValueError) as error:
        raise ProxymaskError(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def _identify_bytes(path: Path, data: memoryview) -> FileInfo:
    file = _File(path, data)
    for detect in _DETECTORS:
        found = detect(file)
        if found is not None:
            return found
    problem = "no kind of file that is known here, or damaged: give a .pkl, .pt or .safetensors of a generator, or a folder"
    return file.info("unknown", problem=problem)


class _File:
    """A mapped file: its path, its bytes, and the first 4096 of them."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.path = path
        self.data = data
        self.head = bytes(data[:_HEAD_BYTES])

    def info(self, kind: str, detail: str = "", problem: str | None = None, names: tuple[str, ...] = ()) -> FileInfo:
        return FileInfo(self.path, kind, detail, len(self.data), problem, names)


# First bytes -> kind, and what to do.
_MAGIC: list[tuple[bytes, str, str]] = [
    (b"\xff\xd8\xff", "JPEG picture", _PICTURE),
    (b"\x89PNG\r\n\x1a\n", "PNG picture", _PICTURE),
    (b"GIF87a", "GIF picture", _PICTURE),
    (b"GIF89a", "GIF picture", _PICTURE),
    (b"BM", "BMP picture", _PICTURE),
    (b"II*\0", "TIFF picture", _PICTURE),
    (b"MM\0*", "TIFF picture", _PICTURE),
    (b"\x89HDF\r\n\x1a\n", "HDF5", "an HDF5 file (Keras, TensorFlow), in which no StyleGAN2 is published: give the .pkl or .pt"),
    (b"\x93NUMPY", "numpy array", f"one numpy array, perhaps a latent, no checkpoint: {_GIVE_NETWORK}"),
    (b"GGUF", "GGUF", "a GGUF file, of a language model: give a StyleGAN2 checkpoint"),
    (b"\x1f\x8b", "gzip", f"packed with gzip: {_UNPACK}"),
    (b"BZh", "bzip2", f"packed with bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\0", "xz", f"packed with xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", "zstd", f"packed with zstd: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", "7z", f"a 7z archive: {_UNPACK}"),
    (b"Rar!", "RAR", f"a RAR archive: {_UNPACK}"),
    (b"%PDF", "PDF", f"a PDF document, no checkpoint: {_GIVE_NETWORK}"),
    (b"\x7fELF", "program", "a program, no checkpoint: do not run it"),
]


def _by_magic(file: _File) -> FileInfo | None:
    head = file.head
    for magic, kind, problem in _MAGIC:
        if head.startswith(magic) and not (magic == b"BM" and head[6:10] != b"\0\0\0\0"):
            return file.info(kind, problem=problem)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return file.info("WebP picture", problem=_PICTURE)
    return None


def _zip(file: _File) -> FileInfo | None:
    if file.head[:4] not in (b"PK\3\4", b"PK\5\6"):
        return None
    try:
        archive = ZipArchive(file.data, Budget(DEFAULT_LIMITS, len(file.data)))
        names = archive.names
        if is_torchscript(names):
            return file.info("TorchScript archive", problem=TORCHSCRIPT_PROBLEM)
        entry = find_data_pkl(names)
        if entry is not None:
            scan = scan_pickle(archive.read(entry))
            if scan.truncated:
                raise ProxymaskError(f"its pickle has no end: the file is damaged, {_GET_AGAIN}")
            storages = sum(name.startswith(entry.removesuffix("data.pkl") + "data/") for name in names)
            return file.info(TORCH_ZIP, f"{storages:,} storages", names=scan.globals)
    except ProxymaskError as error:
        return file.info("zip", problem=error.message)
    if names and all(name.endswith(".npy") for name in names):
        return file.info("numpy archive", problem=f"a numpy archive (.npz), perhaps of latents, no checkpoint: {_GIVE_NETWORK}")
    return file.info("zip", first_entries(names), not_from_torch(names))


def _tar(file: _File) -> FileInfo | None:
    if file.head[257:262] != b"ustar":
        return None
    return file.info("tar", problem=f"a tar archive: {_UNPACK}; a checkpoint of PyTorch 0.1 has to be saved again with a newer PyTorch")


def _zeros(file: _File) -> FileInfo | None:
    if any(file.head):
        return None
    return file.info("zeros", problem=f"the file begins with nothing but zeros, a broken download: {_GET_AGAIN}")


def _pointer(file: _File) -> FileInfo | None:
    """What Git LFS and git-annex leave in place of a file."""
    head = file.head
    if head.startswith(b"version https://git-lfs"):
        size = re.search(rb"size (\d{1,15})", head)
        detail = f"of {megabytes(int(size[1]))}" if size else ""
        return file.info("Git LFS pointer", detail, "a Git LFS pointer, not the file: fetch it with `git lfs pull`")
    if head.startswith((b"/annex/objects/", b"../.git/annex")) or b".git/annex/objects/" in head[:200]:
        return file.info("git-annex pointer", problem=_ANNEX)
    return None


def _markup(file: _File) -> FileInfo | None:
    """Web pages and error messages of servers, saved in place of a file."""
    head = file.head
    text = head.lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (text.startswith(b"<") and b"<html" in text):
        title = re.search(rb"<title[^>]*>([^<]{1,200})", head, re.IGNORECASE)
        detail = printable(title[1].decode("utf-8", "replace").strip()) if title else ""
        why = f" ({detail})" if detail else ""
        return file.info("HTML page", detail, f"a web page{why}, not the file: open the link in a browser and save the file")
    if text.startswith((b"<?xml", b"<error>")):
        code = re.search(rb"<code>([^<]{1,80})</code>", text)
        detail = printable(code[1].decode("utf-8", "replace")) if code else ""
        why = f", an error message of the server ({detail})" if detail else ""
        return file.info("XML", detail, f"XML{why}, not the file: the link is dead or private; {_GET_AGAIN} from its source")
    return None


def _text(file: _File) -> FileInfo | None:
    data, head, is_small = file.data, file.head, len(file.data) < _SMALL_TEXT_BYTES
    text = head.lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"model_checkpoint_path:"):
        return file.info("TensorFlow checkpoint", problem=f"the index of a TensorFlow checkpoint: {_GIVE_PICKLE}")
    if text.startswith((b"{", b"[")) and is_small and _is_json(bytes(data)):
        return file.info("JSON", problem=f"JSON text, no checkpoint; perhaps an error message of the server: {_GET_AGAIN}")
    if is_small and not bytes(data).endswith(b".") and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        line = printable(head.decode("ascii").strip().splitlines()[0]) if head.strip() else ""
        return file.info("text", line, f"a text file ({line}), no checkpoint: {_GIVE_NETWORK}")
    return None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _safetensors(file: _File) -> FileInfo | None:
    """Source: the format's README; 8 bytes of header length, a JSON header, then the tensors."""
    data = file.data
    if len(data) < 10 or file.head[8:9] != b"{":
        return None
    length = int.from_bytes(file.head[:8], "little")
    if length > _MAX_SAFETENSORS_HEADER:
        return None
    truncated = f"a safetensors file that ends too early, a broken download: {_GET_AGAIN}"
    if 8 + length > len(data):
        return file.info(SAFETENSORS, problem=truncated)
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        needed = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return file.info(SAFETENSORS, problem=f"a safetensors file with a broken header: {_GET_AGAIN}")
    return file.info(SAFETENSORS, f"{len(tensors):,} tensors", truncated if needed > len(data) else None)


def _tensorflow(file: _File) -> FileInfo | None:
    is_index = bytes(file.data[-8:]) == bytes.fromhex("57fb808b247547db")  # how an .index file ends
    if is_index or (file.head[0] != 0x80 and re.search(r"\.(ckpt.*|data-\d{5}-of-\d{5})$", file.path.name)):
        return file.info("TensorFlow checkpoint", problem=f"part of a TensorFlow checkpoint: {_GIVE_PICKLE}")
    return None


def _onnx(file: _File) -> FileInfo | None:
    head = file.head  # its first field is the format's version, a small number; then the producer's name or the graph
    if len(head) > 4 and head[0] == 8 and 1 <= head[1] <= 15 and (head[2] in (0x12, 0x3A) or file.path.suffix == ".onnx"):
        return file.info("ONNX", problem="an ONNX model, which has lost its layers: give the checkpoint it came from")
    return None


def _pickle(file: _File) -> FileInfo | None:
    """A legacy stream or a bare pickle; one of protocol 0 or 1 has no magic number, so it must be whole to be called a pickle."""
    head, size = file.head, len(file.data)
    is_legacy = head.startswith(LEGACY_MAGIC)
    has_protocol = head[0] == 0x80
    if not is_legacy and not (has_protocol and head[1:2] <= b"\x05") and head[:1] not in b"(]}cIFLSVNX":
        return None
    kind = TORCH_LEGACY if is_legacy else PICKLE
    try:
        scan = _scan_legacy(file.data) if is_legacy else scan_pickle(file.data)
    except ProxymaskError as error:
        if not has_protocol:
            return None
        return file.info(kind, problem=f"begins as a pickle, but is damaged ({error.message}): {_GET_AGAIN}")
    if scan.truncated:
        if not has_protocol:
            return None
        problem = f"the file ends in the middle of its contents (at byte {size:,}), a broken download: {_GET_AGAIN}"
        return file.info(kind, problem=problem, names=scan.globals)
    if "torch_utils.persistence._reconstruct_persistent_obj" in scan.globals:
        kind = NVIDIA
    elif "dnnlib.tflib.network.Network" in scan.globals:
        kind = TENSORFLOW
    return file.info(kind, names=scan.globals)


def _scan_legacy(data: memoryview) -> PickleScan:
    """The third pickle of a legacy stream, after the version and the machine."""
    position: int | None = len(LEGACY_MAGIC)
    for _ in range(2):
        position = scan_pickle(data, position).end if position is not None else None
    return scan_pickle(data, position if position is not None else len(data))


_DETECTORS: tuple[Callable[[_File], FileInfo | None], ...] = (
    *(_by_magic, _zip, _tar, _zeros, _pointer, _markup, _text),
    *(_safetensors, _tensorflow, _onnx, _pickle),
)
