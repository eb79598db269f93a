"""Datasets of drawn pictures with exact masks on disk: ``images/``, ``masks/``, ``labels.json``, ``dataset.json``."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image

from ..core.checks import Range, Seed, checked, nearest
from ..core.differences import differences
from ..core.errors import ProxymaskError, os_reason
from ..core.files import check_path, read_json, write_json
from ..core.lock import folder_lock, is_lock
from ..core.threads import available_cpus
from .avatars import AVATARS
from .cats import CATS
from .drawing import Art, Composer
from .scenes.bedrooms import BEDROOMS
from .scenes.churches import CHURCHES

DATASET_FORMAT = 1
CHUNK = 50  # pictures that a process writes between two reports
ARTS: dict[str, Art] = {art.kind: art for art in (AVATARS, CATS, CHURCHES, BEDROOMS)}


def find_art(kind: str) -> Art:
    """The drawings or scenes of ``kind``, a key of ``ARTS``; a :class:`ProxymaskError` for another."""
    if kind not in ARTS:
        raise ProxymaskError(f"unknown kind of drawings {kind!r}: use one of {', '.join(ARTS)}{nearest(kind, ARTS)}")
    return ARTS[kind]


@checked
def make_dataset(
    out: str | Path,
    kind: str = "avatars",
    count: Annotated[int, Range(1, 10**7)] = 10_000,
    size: Annotated[int, Range(8, 1024)] = 128,
    seed: Seed = 0,
    framing: str | None = None,
    workers: Annotated[int, Range(1, 1024)] | None = None,
    progress: Callable[[int, int], None] | None = None,
    depth: bool = False,
) -> Path:
    """Write ``count`` pictures with exact masks: ``images/000000.png``, ``masks/000000.png``, ``labels.json``, ``dataset.json``.

    A second call with the same arguments continues a stopped one. With a larger ``count`` it adds pictures, with ``depth`` it adds depth
    maps to the pictures that exist.

    Args:
        out: the folder; new, empty, or of an earlier call with the same kind, size, seed and framing.
        kind: a key of ``ARTS``: "avatars", "cats", "churches", "bedrooms".
        size: side of the pictures in pixels, 8 to 1024.
        framing: one of ``Art.framings``; None: the first, where there are any.
        workers: number of processes; None: one for each core; 1: this process only.
        progress: called with (pictures done, ``count``).
        depth: also write the exact depth, ``depth/000000.png``: 16-bit grey, 65535 is nearest.

    Raises:
        ProxymaskError: the folder has other content or is written by another process, an argument is out of range, the disk is full.
    """
    out = check_path(out, "out")
    with folder_lock(out):
        return _make_dataset(out, kind, count, size, seed, framing, workers, progress, depth)


def _make_dataset(
    out: Path,
    kind: str,
    count: int,
    size: int,
    seed: int,
    framing: str | None,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
    depth: bool,
) -> Path:
    art = find_art(kind)
    framing = framing or next(iter(art.framings), None)
    composer = art.composer(size, framing)  # checks the arguments before anything is written
    about: dict[str, Any] = {"kind": kind, "size": size, "seed": seed, "framing": framing}
    kinds = ("images", "masks", *(("depth",) if depth else ()))
    _start_folder(out, about, count, art, kinds)
    missing = [i for i in range(count) if not all(_path(out, folder, i).exists() for folder in kinds)]
    done = count - len(missing)
    chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
    workers = min(workers or available_cpus(), max(1, len(chunks)))
    try:
        if workers == 1:
            for chunk in chunks:
                _write_pictures(composer, out, seed, chunk, depth)
                done += len(chunk)
                if progress:
                    progress(done, count)
        else:
            _run_pool(chunks, workers, (kind, size, framing, str(out), seed, depth), lambda n: progress and progress(done + n, count))
    except OSError as error:
        raise ProxymaskError(f"cannot write to {out} ({os_reason(error)}): make room, then run it again to continue") from None
    return out


def _run_pool(chunks: list[list[int]], workers: int, job: tuple[Any, ...], report: Callable[[int], Any]) -> None:
    """Write all chunks in ``workers`` processes; ``report`` is called with the number of pictures written so far."""
    context = multiprocessing.get_context("spawn")  # a forked child of a process that ran torch can hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=job)
    written = 0
    try:
        pending: set[Future[int]] = {pool.submit(_work, chunk) for chunk in chunks}
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                written += future.result()
            report(written)
    except BrokenProcessPool:
        raise ProxymaskError(
            "a worker process died: use fewer --workers if memory is short; a script must call this under if __name__ == '__main__':"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_job: tuple[Composer, Path, int, bool] | None = None  # of this worker process


def _start_worker(kind: str, size: int, framing: str | None, out: str, seed: int, depth: bool) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C, after the running chunks
    _job = find_art(kind).composer(size, framing), Path(out), seed, depth


def _work(indices: list[int]) -> int:
    assert _job is not None
    composer, out, seed, depth = _job
    _write_pictures(composer, out, seed, indices, depth)
    return len(indices)


def _path(out: Path, folder: str, index: int) -> Path:
    return out / folder / f"{index:06d}.png"


def _write_pictures(composer: Composer, out: Path, seed: int, indices: list[int], depth: bool) -> None:
    palette = composer.labels.palette()
    for index in indices:
        composed = composer.compose(seed, index, depth)
        mask = Image.fromarray(composed.mask)
        mask.putpalette(palette)
        files = {"masks": mask, "images": Image.fromarray(composed.image)}
        if composed.depth is not None:
            files["depth"] = Image.fromarray((composed.depth * 65535).round().astype(np.uint16))
        for folder, picture in files.items():
            path = _path(out, folder, index)
            temporary = path.with_suffix(".tmp")
            picture.save(temporary, format="PNG", compress_level=2)
            os.replace(temporary, path)  # a file that exists is complete


def _start_folder(out: Path, about: dict[str, Any], count: int, art: Art, kinds: tuple[str, ...]) -> None:
    """Create the folder of the dataset and its JSON files; a :class:`ProxymaskError` if ``out`` has other content."""
    record = out / "dataset.json"
    if record.is_file():
        stored = read_json(record)
        found = {key: stored.get(key) for key in about} if isinstance(stored, dict) else {}
        if found != about:
            raise ProxymaskError(f"{out} holds another data set ({differences(found, about)}): choose a new folder with --out")
        count = max(count, int(stored.get("count", 0)))  # a smaller count does not shrink the dataset
    elif out.exists() and (not out.is_dir() or not all(is_lock(entry) or entry.name == f"{record.name}.tmp" for entry in out.iterdir())):
        what = "holds something else" if out.is_dir() else "is a file"
        raise ProxymaskError(f"{out} {what}: choose a new or empty folder with --out")
    try:
        write_json(record, {"format": DATASET_FORMAT, **about, "count": count, "art": art.terms})  # first: it says whose the folder is
        art.labels.save(out / "labels.json")
        for folder in kinds:
            (out / folder).mkdir(exist_ok=True)
    except OSError as error:
        raise ProxymaskError(f"cannot write to {out} ({os_reason(error)})") from None
