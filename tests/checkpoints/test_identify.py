"""What a file is, told from its bytes, and what to do about what is no checkpoint."""

import bz2
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import layouts
import pytest
import torch
from pickle_assembler import archive, whole
from PIL import Image
from safetensors.torch import save

from proxymask.checkpoints.identify import FOLDER, NVIDIA, SAFETENSORS, TENSORFLOW, identify
from proxymask.checkpoints.safe_pickle.containers import PICKLE, TORCH_LEGACY, TORCH_ZIP
from proxymask.core.errors import ProxymaskError


def picture(kind: str) -> bytes:
    found = io.BytesIO()
    Image.new("RGB", (4, 4)).save(found, kind)
    return found.getvalue()


def tar() -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as opened:
        opened.addfile(tarfile.TarInfo("a.pt"))
    return found.getvalue()


TENSORS = {"a": torch.ones(3, 4), "b": torch.zeros(2)}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 381624121\n"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
DRIVE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body></body></html>"

# bytes, what it is called, what is said
OTHERS: dict[str, tuple[bytes, str, str]] = {
    "jpeg": (picture("JPEG"), "JPEG picture", "a picture"),
    "png": (picture("PNG"), "PNG picture", "a picture"),
    "gif": (picture("GIF"), "GIF picture", "a picture"),
    "webp": (picture("WEBP"), "WebP picture", "a picture"),
    "bmp": (picture("BMP"), "BMP picture", "a picture"),
    "tiff": (picture("TIFF"), "TIFF picture", "a picture"),
    "html": (DRIVE, "HTML page", "a web page .Google Drive - Quota exceeded.*browser"),
    "html-bare": (b"\n  <html>\n<body>404</body></html>", "HTML page", "a web page, not the file"),
    "xml": (DENIED, "XML", r"error message of the server \(accessdenied\)"),
    "json": (b'{"error": "Not Found"}', "JSON", "JSON text"),
    "text": (b"Not Found\n", "text", r"a text file \(Not Found\)"),
    "lfs": (LFS, "Git LFS pointer", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s381624121--4d7a2146.pkl\n", "git-annex pointer", "git annex get"),
    "empty": (b"", "empty file", "empty"),
    "zeros": (bytes(5000), "zeros", "nothing but zeros"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x051.9.0" + bytes(range(256)) * 300, "ONNX", "ONNX"),
    "script": (archive({"a/data.pkl": whole(b"N"), "a/constants.pkl": b"", "a/code/x.py": b""}), "TorchScript archive", "TorchScript"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5", "HDF5"),
    "gzip": (gzip.compress(b"a" * 100), "gzip", "unpack it"),
    "bzip2": (bz2.compress(b"a" * 100), "bzip2", "unpack it"),
    "tar": (tar(), "tar", "unpack it"),
    "zip": (archive({"readme.txt": b"x", "net/stylegan.pkl": b"y"}), "zip", r"holds readme\.txt, net/stylegan\.pkl"),
    "npz": (archive({"w.npy": b"x"}), "numpy archive", "npz"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(100), "numpy array", "one numpy array"),
    "tf-index": (b"\x00" * 20 + b"\x01abc" + bytes.fromhex("57fb808b247547db"), "TensorFlow checkpoint", "part of a TensorFlow checkpoint"),
    "model.ckpt-100.data-00000-of-00001": (b"\x01\x02\x03\x80" * 50_000, "TensorFlow checkpoint", "part of a TensorFlow checkpoint"),
    "checkpoint": (b'model_checkpoint_path: "model.ckpt-100"\n', "TensorFlow checkpoint", "index of a TensorFlow checkpoint"),
    "noise": (b"\x01\x02\x03\xfe" * 50_000, "unknown", "no kind of file"),
    "cut-zip": (archive({"a/data.pkl": whole(b"N"), "a/data/0": bytes(99)})[:-30], "zip", "ends before the directory"),
    "cut-pickle": (whole(b"X\xff\x00\x00\x00abc")[:-1], "pickle", "broken download"),
    "bad-pickle": (whole(b"\xff" * 50), "pickle", "begins as a pickle, but is damaged"),
    "cut-safetensors": (save(TENSORS)[:-5], "safetensors", "broken download"),
    "cut-header": (save(TENSORS)[:40], "safetensors", "broken download"),
    "bad-safetensors": (
        save(TENSORS).replace(b'"dtype"', b'"dtipe"').replace(b"data_offsets", b"data_offsetz"),
        "safetensors",
        "broken header",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_are_no_checkpoint(name: str, tmp_path: Path) -> None:
    data, kind, said = OTHERS[name]
    (tmp_path / name).write_bytes(data)
    facts = identify(tmp_path / name, sha256=True)
    assert facts.kind == kind
    assert facts.problem is not None
    assert "\n" not in facts.problem
    assert re.search(said, facts.problem), facts.problem
    assert facts.size == len(data)
    assert facts.sha256 == (hashlib.sha256(data).hexdigest() if data else "")


def test_checkpoints(tmp_path: Path) -> None:
    contents = {"g_ema": TENSORS}
    layouts.write_torch(tmp_path / "zip.pt", contents, args={"size": 32})
    layouts.write_torch(tmp_path / "stream.pt", contents, legacy=True)
    layouts.write_nvidia(tmp_path / "nvidia.pkl", {"G": layouts.network("Generator", TENSORS)})
    layouts.write_nvidia(tmp_path / "nvidia3.pkl", {"G": layouts.network("Generator", TENSORS)}, protocol=3)
    layouts.write_tf(tmp_path / "tf.pkl", layouts.TfNetwork("G", {}, {"w": TENSORS["a"].numpy()}))
    (tmp_path / "plain").write_bytes(whole(b"]"))
    (tmp_path / "old").write_bytes(b"(dp0\nS'a'\np1\nI1\ns.")
    (tmp_path / "w.safetensors").write_bytes(save(TENSORS))
    kinds = {
        "zip.pt": TORCH_ZIP,
        "stream.pt": TORCH_LEGACY,
        "nvidia.pkl": NVIDIA,
        "nvidia3.pkl": NVIDIA,
        "tf.pkl": TENSORFLOW,
        "plain": PICKLE,
        "old": PICKLE,
        "w.safetensors": SAFETENSORS,
    }
    for name, kind in kinds.items():
        facts = identify(tmp_path / name, sha256=True)
        assert (facts.kind, facts.problem) == (kind, None), name
        assert facts.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert identify(tmp_path / name).sha256 == ""
    assert "argparse.Namespace" in identify(tmp_path / "zip.pt").globals
    assert identify(tmp_path / "w.safetensors").detail == "2 tensors"
    assert identify(tmp_path / "zip.pt").detail == "2 storages"


def test_folders(tmp_path: Path) -> None:
    assert "none that proxymask wrote" in str(identify(tmp_path, sha256=True).problem)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert "SavedModel" in str(identify(tmp_path, sha256=True).problem)
    (tmp_path / "config.json").write_text(json.dumps({}))
    (tmp_path / "model.safetensors").write_bytes(save(TENSORS))
    assert identify(tmp_path, sha256=True).kind == FOLDER
    assert identify(tmp_path, sha256=True).problem is None


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ProxymaskError, match="does not exist"):
        identify(tmp_path / "none", sha256=True)
    (tmp_path / "link").symlink_to(tmp_path / ".git" / "annex" / "objects" / "x")
    assert identify(tmp_path / "link", sha256=True).kind == "git-annex pointer"
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ProxymaskError, match="does not exist"):
        identify(tmp_path / "dead", sha256=True)
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "locked").write_bytes(b"x")
        (tmp_path / "locked").chmod(0)
        with pytest.raises(ProxymaskError, match="cannot be opened"):
            identify(tmp_path / "locked", sha256=True)


def test_messages_are_safe_to_print(tmp_path: Path) -> None:
    """Titles and names out of files reach a terminal: nothing in them may steer it."""
    (tmp_path / "a").write_bytes(b"<html><title>\x1b[31m\xe2\x80\xaered\x07</title></html>")
    (tmp_path / "b").write_bytes(archive({"\x1b]0;x\x07": b""}))
    for name in "ab":
        problem = str(identify(tmp_path / name, sha256=True).problem)
        assert problem.isascii()
        assert problem.isprintable()


def test_needs_no_torch(tmp_path: Path) -> None:
    layouts.write_torch(tmp_path / "a.pt", {"g_ema": TENSORS})
    code = "import sys; from proxymask.checkpoints.identify import identify; print(identify(sys.argv[1]).kind, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.pt"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch", "zip", "False"]
