"""Avatars composed while a training runs: worker processes fill a pool of pictures with exact masks, a training draws from what is there.

The pool is a folder of memory-mapped files, so a training that starts again finds the pictures of the one before. On a GPU the pictures
that are used lie in its memory. A run is not repeatable bit by bit: which pictures a step can draw depends on how fast they were composed.

Shapes: B pictures, H x W pixels.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS, AVATARS

COPIED = 2048  # pictures copied to the GPU at a time


class ComposedAvatars:
    """A pool of composed avatars (``Pictures`` and ``LabeledImages`` of the library).

    Workers are forked: make the pool before anything uses CUDA.

    Args:
        folder: of the files ``images``, ``masks`` and ``counts``; made where it is missing.
        size: side of the pictures.
        capacity: pictures at most; rounded up to a multiple of ``workers``.
        workers: processes.
        seed: of the pictures.
    """

    labels = AVATAR_LABELS

    def __init__(self, folder: Path, size: int, capacity: int, workers: int, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.size, self.workers = size, workers
        capacity = -(-capacity // workers) * workers
        shapes = {"images": (capacity, size, size, 3), "masks": (capacity, size, size)}
        paths = {name: folder / f"{name}-{size}-{capacity}-{workers}-{seed}" for name in (*shapes, "counts")}
        self._counts = _mapped(paths["counts"], np.int64, (workers,))
        self._images, self._masks = (_mapped(paths[name], np.uint8, shape) for name, shape in shapes.items())
        self._device, self._copied = torch.device("cpu"), 0
        self._on_device: dict[str, torch.Tensor] = {}
        context = multiprocessing.get_context("fork")
        arrays = (self._counts, self._images, self._masks)
        self._processes = [context.Process(target=_compose, args=(*arrays, worker, seed), daemon=True) for worker in range(workers)]
        for process in self._processes:
            process.start()

    def __len__(self) -> int:
        """Pictures that are there, from number 0 on without a gap."""
        return int(self._counts.min()) * self.workers

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a pool of composed avatars cannot be copied")

    def wait(self, count: int) -> float:
        """Wait until ``count`` pictures are there; returns the seconds that it took.

        Raises:
            ProxymaskError: the workers ended before.
        """
        began = time.monotonic()
        while len(self) < min(count, len(self._images)):
            if not any(process.is_alive() for process in self._processes):
                raise ProxymaskError("the processes that compose pictures have ended: their error is printed above")
            time.sleep(0.05)
        return time.monotonic() - began

    def stop(self) -> None:
        """End the workers; what they have composed stays."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def to(self, device: torch.device) -> None:
        """Give pictures from the memory of ``device`` from now on."""
        self._device = device

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures, float32 (B, 3, H, W) in [-1, 1], on the pool's device."""
        at = torch.as_tensor(indices)
        if self._device.type == "cpu":
            batch = torch.from_numpy(self._images[at.numpy()])
        else:
            self._copy(int(at.max()) + 1)
            batch = self._on_device["images"][at.to(self._device)]
        return batch.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> label ids, int64 (B, H, W), on the CPU."""
        return torch.from_numpy(self._masks[torch.as_tensor(indices).numpy()]).long()

    def _copy(self, needed: int) -> None:
        """Copy pictures to the device, so that at least ``needed`` are there."""
        if not self._on_device:
            self._on_device["images"] = torch.empty(self._images.shape, dtype=torch.uint8, device=self._device)
        while self._copied < needed:
            end = min(len(self), self._copied + COPIED)
            self._on_device["images"][self._copied : end] = torch.from_numpy(np.array(self._images[self._copied : end])).to(self._device)
            self._copied = end


class OnTheCpu:
    """Pictures and masks of a pool on the CPU, for the segmentation networks, whose augmentation works there."""

    labels = AVATAR_LABELS

    def __init__(self, pool: ComposedAvatars) -> None:
        self.pool, self.count = pool, len(pool)

    def __len__(self) -> int:
        return self.count

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W) in [-1, 1], float32."""
        return self.pool.images(indices).cpu()

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> label ids (B, H, W), int64."""
        return self.pool.masks(indices)


def _mapped(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """A file as an array that processes share; zeros where it is new."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if not path.is_file() or path.stat().st_size != size:
        with path.open("wb") as file:
            file.truncate(size)
    return np.memmap(path, kind, "r+", shape=shape)


def _compose(counts: np.ndarray, images: np.ndarray, masks: np.ndarray, worker: int, seed: int) -> None:
    """Compose every ``len(counts)``-th picture, from the first missing one on, until the pool is full or the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(5)  # after the process that trains
    parent, workers = os.getppid(), len(counts)
    composer = AVATARS.composer(images.shape[1])
    for index in range(int(counts[worker]) * workers + worker, len(images), workers):
        if os.getppid() != parent:
            return
        made = composer.compose(seed, index)
        images[index], masks[index] = made.image, made.mask
        counts[worker] += 1
