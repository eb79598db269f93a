"""Training pairs of a mapper in files, so that several runs share them.

The files hold what generator, segmenter and extractor give, without augmentation, so that runs of other widths or settings can read them.
Each is one safetensors file of 512 pairs.

Shapes: B pairs, H x W pixels, C planes of a condition, h x w positions at the cut.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..conditions.base import Condition
from ..core.device import autocast
from ..core.differences import differences
from ..core.errors import ProxymaskError, cannot_write
from ..core.files import read_json, save_tensors, write_json
from ..core.lock import LOCK, folder_lock
from ..core.seeding import derive_rng, permutation
from ..models.split_generator import SplitGenerator
from .pairs import Pairs

SHARD = 512  # pairs a file
CHUNK = 16  # pairs made at a time
CACHE_FORMAT = 2
MAX_PROBE_DIFFERENCE = 1 / 255  # mean difference of a probe above which the extractor counts as another one
PROBE_SEED, PROBES = 7, 4
BEGUN = ("probe.safetensors", "pairs.json")  # files of a cache whose making has begun, and beginnings of their temporary names

MakePairs = Callable[[torch.Tensor, torch.Generator], Pairs]
"""w (B, w_dim), random numbers -> pairs."""


@dataclasses.dataclass(frozen=True)
class PairShards:
    """Pairs without augmentation in a folder; :meth:`fill` makes those that are missing.

    Pairs depend on ``seed`` and their index alone, so that a longer cache begins with the pairs of a shorter one.
    """

    folder: Path
    """Folder of ``pairs.json``, ``probe.safetensors``, ``pairs-00000.safetensors``, ..."""
    count: int
    """Pairs that are used."""
    identity: dict[str, Any]
    """What they are made of; a folder of another identity is refused."""
    probe: torch.Tensor
    """The extractor's output for fixed pictures, (4, C, H, W) in [0, 1] (:func:`probe_of`), which shows changed code or weights."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ProxymaskError(f"a cache holds 1 pair or more, got {self.count}: change --cache-pairs")

    @property
    def shards(self) -> int:
        """Number of files that hold ``count`` pairs."""
        return -(-self.count // SHARD)

    def path(self, shard: int) -> Path:
        """The file of one shard."""
        return self.folder / f"pairs-{shard:05d}.safetensors"

    def check(self) -> None:
        """A :class:`ProxymaskError` where the folder has other files, or pairs of another generator, condition or seed."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ProxymaskError(f"{self.folder} is a file: --cache names a folder")
        about = self.folder / "pairs.json"
        if not about.is_file():
            if self.folder.is_dir() and any(not entry.name.startswith((LOCK, *BEGUN)) for entry in self.folder.iterdir()):
                raise ProxymaskError(f"{self.folder} holds something else than pairs: choose another --cache")
            return
        stored, wanted = read_json(about), self._about()
        if not isinstance(stored, dict) or stored.get("format") != CACHE_FORMAT:
            raise ProxymaskError(f"{about} is not of this version's format {CACHE_FORMAT}: choose another --cache, or remove this one")
        what = differences(stored, wanted)
        if what:
            raise ProxymaskError(f"{self.folder} holds pairs of something else ({what}): choose another --cache, or remove this one")
        earlier = _read(self.folder / "probe.safetensors", None)["probe"]
        if earlier.shape != self.probe.shape or float((earlier - self.probe).abs().mean()) > MAX_PROBE_DIFFERENCE:
            raise ProxymaskError(
                f"{self.folder} was made by another version of the extractor (code or weights): choose another --cache, or remove this one"
            )

    def fill(
        self,
        make: MakePairs,
        split: SplitGenerator,
        device: torch.device,
        dtype: torch.dtype,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Make the shards that are missing; after a stop, the same call continues with the shard that was not complete.

        Args:
            make: makes pairs of samples.
            split: the generator.
            device: where to compute.
            dtype: precision of autocast.
            progress: called with (pairs made, pairs).

        Returns:
            Bytes that the shards in use take.

        Raises:
            ProxymaskError: as :meth:`check`; another process makes pairs there; not enough room on the disk, which is known after the
                first shard.
        """
        self.check()
        if not all(self.path(shard).is_file() for shard in range(self.shards)):
            with folder_lock(self.folder):
                self._fill(make, split, device, dtype, progress)
        return sum(self.path(shard).stat().st_size for shard in range(self.shards))

    def _fill(
        self, make: MakePairs, split: SplitGenerator, device: torch.device, dtype: torch.dtype, progress: Callable[[int, int], None] | None
    ) -> None:
        self.check()
        try:
            if not (self.folder / "pairs.json").is_file():
                save_tensors(self.folder / "probe.safetensors", {"probe": self.probe})
                write_json(self.folder / "pairs.json", self._about())
            missing = [shard for shard in range(self.shards) if not self.path(shard).is_file()]
            for number, shard in enumerate(missing):
                save_tensors(self.path(shard), self._made(shard, make, split, device, dtype))
                needed = self.path(shard).stat().st_size * (len(missing) - number - 1)
                free = shutil.disk_usage(self.folder).free
                if needed > free:
                    raise ProxymaskError(
                        f"{self.count:,} pairs need {needed / 1e9:.2f} GB more in {self.folder}, {free / 1e9:.2f} GB are free: make room "
                        "or give a smaller --cache-pairs"
                    )
                if progress:
                    progress(min(self.count, SHARD * (self.shards - len(missing) + number + 1)), self.count)
        except OSError as error:
            raise cannot_write(self.folder, error, "another --cache") from None

    @torch.no_grad()
    def _made(
        self, shard: int, make: MakePairs, split: SplitGenerator, device: torch.device, dtype: torch.dtype
    ) -> dict[str, torch.Tensor]:
        rng = derive_rng(self.seed, "cache", shard)
        z = torch.randn(SHARD, split.generator.z_dim, generator=rng)
        given, proxy, labels = [], [], []
        for part in z.split(CHUNK):
            with autocast(device, dtype):
                made = make(split.w(part.to(device)), rng)
            # planes with the 8 bits of the files that people give
            given.append((made.given * 255).round().to(torch.uint8).cpu() if made.given.ndim == 4 else made.given.to(torch.uint8).cpu())
            proxy.append(made.proxy.to(torch.int16).cpu())
            labels.append(made.labels.to(torch.int16).cpu())
        return {"given": torch.cat(given), "proxy": torch.cat(proxy), "labels": torch.cat(labels)}

    def pairs(self, step: int, batch: int) -> Pairs:
        """The pairs of one step, on the CPU. Every pair comes once an epoch, and each epoch has another order."""
        order: dict[int, np.ndarray] = {}
        given, proxy, labels = [], [], []
        for place in range(step * batch, (step + 1) * batch):
            epoch, at = divmod(place, self.count)
            if epoch not in order:
                order[epoch] = _order(self.count, self.seed, epoch)
            shard, row = divmod(int(order[epoch][at]), SHARD)
            one = _read(self.path(shard), row)
            given.append(one["given"])
            proxy.append(one["proxy"])
            labels.append(one["labels"])
        planes = torch.stack(given)
        planes = planes.float() / 255 if planes.ndim == 4 else planes.long()
        return Pairs(planes, torch.stack(proxy).long(), torch.stack(labels).long())

    def _about(self) -> dict[str, Any]:
        return {"format": CACHE_FORMAT, "seed": self.seed, **self.identity}


_ORDERS: dict[tuple[int, int, int], np.ndarray] = {}


def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch; the last one is kept, as many steps need it."""
    key = (count, seed, epoch)
    if key not in _ORDERS:
        _ORDERS.clear()
        _ORDERS[key] = permutation(count, seed, "cache order", epoch).numpy()
    return _ORDERS[key]


def _read(path: Path, row: int | None) -> dict[str, torch.Tensor]:
    """One row of every tensor of a file, or whole tensors for None; nothing else is read from the disk."""
    try:
        with safe_open(path, framework="pt") as opened:
            return {key: opened.get_tensor(key) if row is None else opened.get_slice(key)[row] for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, IndexError) as error:
        raise ProxymaskError(f"{path} is missing or damaged ({error}): remove it and run the same command, which makes it again") from None


def probe_of(condition: Condition | None, size: int) -> torch.Tensor:
    """The extractor's output for fixed pictures of ``size``, (4, C, H, W); empty for masks, which have no extractor (None)."""
    if condition is None:
        return torch.zeros(0)
    rng = torch.Generator().manual_seed(PROBE_SEED)
    coarse = torch.rand(PROBES, 3, 6, 6, generator=rng)
    pictures = nn.functional.interpolate(coarse, size=(size, size), mode="nearest") * 2 - 1
    labels = None
    if condition.needs_labels:
        bands = torch.arange(size)[:, None] * condition.channels // size
        labels = bands.expand(size, size).expand(PROBES, size, size).clone()
    return condition.extract(pictures, labels, rng).float().cpu()
