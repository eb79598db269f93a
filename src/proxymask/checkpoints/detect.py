"""Tells what a file is by what is in it, before anything is loaded; for what is no checkpoint, what to do instead. Needs no PyTorch."""

import hashlib
import json
import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ProxymaskError
from .archive import Archive
from .limits import Budget, Limits, megabytes, printable
from .skim import LEGACY_MAGIC, skim

# Kinds that can be read.
TORCH_ZIP = "torch zip"
TORCH_LEGACY = "torch legacy stream"
NVIDIA = "NVIDIA pickle"
TENSORFLOW = "NVIDIA TensorFlow pickle"
PICKLE = "pickle"
SAFETENSORS = "safetensors"
FOLDER = "proxymask folder"

_AGAIN = "get the file again"
_SHOWN = 4096


@dataclass(frozen=True)
class FileFacts:
    """What a file is.

    Attributes:
        kind: one of the constants above where it can be read, else what it is instead (``JPEG picture``).
        detail: more on it, "" where there is nothing to add.
        size: in bytes, of all files for a folder.
        sha256: of the file, 64 hex digits; "" for folders and where it was not asked for.
        problem: why it cannot be read and what to do, one line; None where it can be tried.
        names: globals that its pickle names.
    """

    kind: str
    detail: str
    size: int
    sha256: str = ""
    problem: str | None = None
    names: tuple[str, ...] = ()


def describe_file(path: str | Path) -> FileFacts:
    """What ``path`` is, with its hash (reads all of it once; about a second for 400 MB).

    Raises:
        ProxymaskError: nothing there, or it cannot be opened.
    """
    path = Path(path)
    facts = sniff(path)
    if path.is_dir() or facts.size == 0:
        return facts
    with path.open("rb") as opened:
        return replace(facts, sha256=hashlib.file_digest(opened, "sha256").hexdigest())


def sniff(path: str | Path) -> FileFacts:
    """As :func:`describe_file`, without the hash.

    Raises:
        ProxymaskError: nothing there, or it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        if path.is_symlink() and "annex" in str(path.readlink()):
            return FileFacts("git-annex pointer", "", 0, problem=_ANNEX)
        raise ProxymaskError(f"{path} does not exist")
    if not path.is_file():  # a pipe would be waited for, forever
        raise ProxymaskError(f"{path} is neither a file nor a folder")
    try:
        with path.open("rb") as opened:
            size = path.stat().st_size
            if not size:
                return FileFacts("empty file", "", 0, problem=f"the file is empty, a broken download: {_AGAIN}")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                return _sniff(path, data)
    except (OSError, ValueError) as error:
        raise ProxymaskError(f"{path} cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def _folder(path: Path) -> FileFacts:
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if (path / "bundle.json").is_file() or ((path / "config.json").is_file() and (path / "model.safetensors").is_file()):
        return FileFacts(FOLDER, "", size)
    if (path / "saved_model.pb").is_file():
        return FileFacts("TensorFlow SavedModel", "", size, problem=f"a TensorFlow SavedModel: {_PICKLED}")
    return FileFacts("folder", "", size, problem="a folder, but none that proxymask wrote: give the checkpoint file in it")


_ANNEX = "a git-annex pointer, the file itself is elsewhere: fetch it with `git annex get FILE`"
_PICKLED = "give NVIDIA's .pkl, or convert the weights to PyTorch first"
_NETWORK = "give the network's file (.pkl, .pt or a folder)"
_PICTURE = f"a picture, no checkpoint: {_NETWORK}"
_UNPACK = "unpack it and give the checkpoint inside"

# First bytes -> kind, and what to do.
_MAGIC: list[tuple[bytes, str, str]] = [
    (b"\xff\xd8\xff", "JPEG picture", _PICTURE),
    (b"\x89PNG\r\n\x1a\n", "PNG picture", _PICTURE),
    (b"GIF87a", "GIF picture", _PICTURE),
    (b"GIF89a", "GIF picture", _PICTURE),
    (b"BM", "BMP picture", _PICTURE),
    (b"II*\0", "TIFF picture", _PICTURE),
    (b"MM\0*", "TIFF picture", _PICTURE),
    (b"\x89HDF\r\n\x1a\n", "HDF5", "an HDF5 file (Keras, TensorFlow): StyleGAN2 is not published so; give the .pkl or .pt"),
    (b"\x93NUMPY", "numpy array", f"one numpy array, a latent perhaps, no checkpoint: {_NETWORK}"),
    (b"GGUF", "GGUF", "a GGUF file, of a language model: give a StyleGAN2 checkpoint"),
    (b"\x1f\x8b", "gzip", f"packed with gzip: {_UNPACK}"),
    (b"BZh", "bzip2", f"packed with bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\0", "xz", f"packed with xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", "zstd", f"packed with zstd: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", "7z", f"a 7z archive: {_UNPACK}"),
    (b"Rar!", "RAR", f"a RAR archive: {_UNPACK}"),
    (b"%PDF", "PDF", "a PDF document, no checkpoint"),
    (b"\x7fELF", "program", "a program, no checkpoint: do not run it"),
]


def _sniff(path: Path, data: memoryview) -> FileFacts:
    size = len(data)
    head = bytes(data[:_SHOWN])
    for magic, kind, problem in _MAGIC:
        if head.startswith(magic) and not (magic == b"BM" and head[6:10] != b"\0\0\0\0"):
            return FileFacts(kind, "", size, problem=problem)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileFacts("WebP picture", "", size, problem=_PICTURE)
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return _zip(data)
    if head[257:262] == b"ustar":
        problem = f"a tar archive: {_UNPACK}; a checkpoint of PyTorch 0.1 has to be saved again with a newer PyTorch"
        return FileFacts("tar", "", size, problem=problem)
    if not any(head):
        return FileFacts("zeros", "", size, problem=f"the file begins with nothing but zeros, a broken download: {_AGAIN}")
    looked: list[Callable[[Path, memoryview, bytes], FileFacts | None]] = [_text, _safetensors, _tensorflow, _onnx, _pickle]
    for look in looked:
        found = look(path, data, head)
        if found is not None:
            return found
    return FileFacts("unknown", "", size, problem="no kind of file that is known here: give a .pkl, .pt, .safetensors or a folder")


def _text(path: Path, data: memoryview, head: bytes) -> FileFacts | None:
    """Pages and pointers that are saved in place of a file."""
    size = len(data)
    text = head.lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        said = re.search(rb"size (\d{1,15})", head)
        detail = f"of {megabytes(int(said[1]))}" if said else ""
        return FileFacts("Git LFS pointer", detail, size, problem="a Git LFS pointer, not the file: fetch it with `git lfs pull`")
    if head.startswith((b"/annex/objects/", b"../.git/annex")) or b".git/annex/objects/" in head[:200]:
        return FileFacts("git-annex pointer", "", size, problem=_ANNEX)
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (text.startswith(b"<") and b"<html" in text):
        title = re.search(rb"<title[^>]*>([^<]{1,200})", head, re.IGNORECASE)
        detail = printable(title[1].decode("utf-8", "replace").strip()) if title else ""
        why = f" ({detail})" if detail else ""
        return FileFacts("HTML page", detail, size, problem=f"a web page{why}, not the file: open the link in a browser and save the file")
    if text.startswith((b"<?xml", b"<error>")):
        code = re.search(rb"<code>([^<]{1,80})</code>", text)
        detail = printable(code[1].decode("utf-8", "replace")) if code else ""
        why = f", an error message of the server ({detail})" if detail else ""
        return FileFacts("XML", detail, size, problem=f"XML{why}, not the file: the link is dead or private; {_AGAIN} from its source")
    if text.startswith(b"model_checkpoint_path:"):
        return FileFacts("TensorFlow checkpoint", "", size, problem=f"the index of a TensorFlow checkpoint: {_PICKLED}")
    if text.startswith((b"{", b"[")) and size < 65536 and _is_json(bytes(data)):
        return FileFacts("JSON", "", size, problem=f"JSON text, no checkpoint; an error message of the server perhaps: {_AGAIN}")
    if size < 65536 and not bytes(data).endswith(b".") and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        line = printable(head.decode("ascii").strip().splitlines()[0]) if head.strip() else ""
        return FileFacts("text", line, size, problem=f"a text file ({line}), no checkpoint")
    return None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _zip(data: memoryview) -> FileFacts:
    size = len(data)
    try:
        budget = Budget(Limits(), size)
        archive = Archive(data, budget)
        names = archive.names
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            problem = "a TorchScript archive, a program that would have to be run: get the checkpoint it was made from"
            return FileFacts("TorchScript archive", "", size, problem=problem)
        pickles = [name for name in names if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
        if len(pickles) == 1:
            found = skim(archive.read(pickles[0]))
            if found.cut:
                raise ProxymaskError(f"its pickle has no end: the file is damaged, {_AGAIN}")
            tensors = sum(name.startswith(pickles[0].removesuffix("data.pkl") + "data/") for name in names)
            return FileFacts(TORCH_ZIP, f"{tensors:,} storages", size, names=found.names)
    except ProxymaskError as error:
        return FileFacts("zip", "", size, problem=str(error))
    if names and all(name.endswith(".npy") for name in names):
        return FileFacts("numpy archive", "", size, problem=f"a numpy archive (.npz), latents perhaps, no checkpoint: {_NETWORK}")
    shown = ", ".join(printable(name, 40) for name in names[:3])
    return FileFacts("zip", shown, size, problem=f"a zip, but not from torch.save (it holds {shown or 'nothing'}): {_UNPACK}")


def _safetensors(path: Path, data: memoryview, head: bytes) -> FileFacts | None:
    if len(data) < 10 or head[8:9] != b"{":
        return None
    length = int.from_bytes(head[:8], "little")
    if length > 100_000_000:  # the format's own limit
        return None
    broken = f"a safetensors file that ends too early, a broken download: {_AGAIN}"
    if 8 + length > len(data):
        return FileFacts(SAFETENSORS, "", len(data), problem=broken)
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        needed = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return FileFacts(SAFETENSORS, "", len(data), problem=f"a safetensors file with a broken header: {_AGAIN}")
    problem = broken if needed > len(data) else None
    return FileFacts(SAFETENSORS, f"{len(tensors):,} tensors", len(data), problem=problem)


def _tensorflow(path: Path, data: memoryview, head: bytes) -> FileFacts | None:
    table = bytes(data[-8:]) == bytes.fromhex("57fb808b247547db")  # how an .index file ends
    if table or (head[0] != 0x80 and re.search(r"\.(ckpt.*|data-\d{5}-of-\d{5})$", path.name)):
        return FileFacts("TensorFlow checkpoint", "", len(data), problem=f"part of a TensorFlow checkpoint: {_PICKLED}")
    return None


def _onnx(path: Path, data: memoryview, head: bytes) -> FileFacts | None:
    # Its first field is the format's version, a small number; then the producer's name or the graph.
    if len(head) > 4 and head[0] == 8 and 1 <= head[1] <= 15 and (head[2] in (0x12, 0x3A) or path.suffix == ".onnx"):
        return FileFacts("ONNX", "", len(data), problem="an ONNX model, which has lost its layers: give the checkpoint it came from")
    return None


def _pickle(path: Path, data: memoryview, head: bytes) -> FileFacts | None:
    size = len(data)
    legacy = head.startswith(LEGACY_MAGIC)
    kind = TORCH_LEGACY if legacy else PICKLE
    if not legacy and not (head[0] == 0x80 and head[1:2] <= b"\x05") and head[:1] not in b"(]}cIFLSVNX":
        return None
    try:
        if legacy:
            at: int | None = len(LEGACY_MAGIC)
            for _ in range(2):  # the version, and what machine it was
                at = skim(data, at).end if at is not None else None
            found = skim(data, at if at is not None else size)
        else:
            found = skim(data)
    except ProxymaskError as error:
        if head[0] != 0x80:
            return None
        return FileFacts(kind, "", size, problem=f"begins as a pickle, but is damaged ({error}): {_AGAIN}")
    if found.cut:
        if head[0] != 0x80:
            return None
        problem = f"the file ends in the middle of its contents (at byte {size:,}), a broken download: {_AGAIN}"
        return FileFacts(kind, "", size, problem=problem, names=found.names)
    if "torch_utils.persistence._reconstruct_persistent_obj" in found.names:
        kind = NVIDIA
    elif "dnnlib.tflib.network.Network" in found.names:
        kind = TENSORFLOW
    return FileFacts(kind, "", size, names=found.names)
