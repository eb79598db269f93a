"""Data sets of drawn pictures with exact masks on disk: ``images/``, ``masks/``, ``labels.json``, ``dataset.json``."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json
from .avatars import AVATARS
from .cats import CATS
from .layers import LayerArt, LayerComposer

DATASET_FORMAT = 1


def art_of(kind: str) -> LayerArt:
    """The drawings called ``kind``: "avatars" or "cats"."""
    arts = {art.kind: art for art in (AVATARS, CATS)}
    if kind not in arts:
        raise ProxymaskError(f"{kind!r} is no kind of drawing: use one of {', '.join(arts)}")
    return arts[kind]


def make_dataset(
    out: str | Path,
    kind: str = "avatars",
    count: int = 10_000,
    size: int = 128,
    seed: int = 0,
    framing: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    depth: bool = False,
) -> Path:
    """Write ``count`` pictures with exact masks: ``images/000000.png``, ``masks/000000.png``, ``labels.json``, ``dataset.json``.

    Stopped and started again with the same arguments it goes on where it was; with a larger ``count`` it adds pictures, with
    ``depth`` it adds depth maps to those that are there.

    Args:
        out: the folder; new, empty, or begun by an earlier call with the same kind, size, seed and framing.
        kind: "avatars" or "cats".
        framing: the art's first framing where None.
        workers: processes; all cores where None, this process alone where 1.
        progress: called with (pictures done, ``count``).
        depth: also write the exact depth, ``depth/000000.png``: 16-bit grey, 65535 is nearest.

    Raises:
        ProxymaskError: the folder holds something else, an argument is out of range, the disk is full.
    """
    out, art = Path(out), art_of(kind)
    framing = framing or next(iter(art.framings))
    if count < 1:
        raise ProxymaskError(f"count must be 1 or more, got {count}")
    composer = LayerComposer(art, size, framing)  # checks the arguments before anything is written
    about = {"kind": kind, "size": size, "seed": seed, "framing": framing}
    kinds = ("images", "masks", *(("depth",) if depth else ()))
    _claim(out, about, count, art, kinds)
    missing = [i for i in range(count) if not all(_path(out, folder, i).exists() for folder in kinds)]
    done = count - len(missing)
    chunks = [missing[i : i + 50] for i in range(0, len(missing), 50)]
    workers = min(workers or os.cpu_count() or 1, max(1, len(chunks)))
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
        raise ProxymaskError(f"cannot write to {out} ({error.strerror or error}): mend that, then run it again to go on") from None
    return out


def _run_pool(chunks: list[list[int]], workers: int, job: tuple[Any, ...], report: Callable[[int], Any]) -> None:
    """Write all chunks in ``workers`` processes; ``report`` gets the pictures written so far."""
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
            "a worker process died: use fewer workers if memory is short; a script must call this under if __name__ == '__main__':"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_job: tuple[LayerComposer, Path, int, bool] | None = None  # of this worker process


def _start_worker(kind: str, size: int, framing: str, out: str, seed: int, depth: bool) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it lets the running chunks end
    _job = LayerComposer(art_of(kind), size, framing), Path(out), seed, depth


def _work(indices: list[int]) -> int:
    assert _job is not None
    composer, out, seed, depth = _job
    _write_pictures(composer, out, seed, indices, depth)
    return len(indices)


def _path(out: Path, folder: str, index: int) -> Path:
    return out / folder / f"{index:06d}.png"


def _write_pictures(composer: LayerComposer, out: Path, seed: int, indices: list[int], depth: bool) -> None:
    palette = composer.labels.palette()
    for index in indices:
        avatar = composer.compose(seed, index, depth)
        mask = Image.fromarray(avatar.mask)
        mask.putpalette(palette)
        files = {"masks": mask, "images": Image.fromarray(avatar.image)}
        if avatar.depth is not None:
            files["depth"] = Image.fromarray((avatar.depth * 65535).round().astype(np.uint16))
        for folder, picture in files.items():
            path = _path(out, folder, index)
            temporary = path.with_suffix(".tmp")
            picture.save(temporary, format="PNG", compress_level=2)
            os.replace(temporary, path)  # a picture that is there is whole


def _claim(out: Path, about: dict[str, Any], count: int, art: LayerArt, kinds: tuple[str, ...]) -> None:
    """Make ``out`` the folder of this dataset, or say why it cannot be."""
    record = out / "dataset.json"
    if record.is_file():
        stored = read_json(record)
        was = {key: stored.get(key) for key in about} if isinstance(stored, dict) else {}
        if was != about:
            raise ProxymaskError(f"{out} holds another dataset ({was}, asked for {about}): choose a new folder")
        count = max(count, int(stored.get("count", 0)))  # a smaller request leaves the larger set as it is
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ProxymaskError(f"{out} holds something else: choose a new or empty folder")
    try:
        for folder in kinds:
            (out / folder).mkdir(parents=True, exist_ok=True)
        art.labels.save(out / "labels.json")
        write_json(record, {"format": DATASET_FORMAT, **about, "count": count, "art": art.terms})
    except OSError as error:
        raise ProxymaskError(f"cannot write to {out} ({error.strerror or error})") from None
