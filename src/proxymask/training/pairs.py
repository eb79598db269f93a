"""Where a mapper's pairs can come from besides the generator, one by one: from shards on the disk, and from real pictures.

Shards hold what the generator, the segmenter and the extractor make, undisturbed, so that runs with other widths or settings share
it; a shard is one safetensors file. Real pictures have no proxy mask of their own; a mapper of the condition ``picture``, trained on
generated pairs, tells theirs (supplement E says both that conditions were made of training data and of generated pictures).
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..conditions.base import Condition
from ..core.config_model import ConfigModel
from ..core.device import autocast
from ..core.errors import ProxymaskError
from ..core.files import read_json, save_tensors, write_json
from ..core.seeding import derive_rng
from ..models.split_generator import SplitGenerator
from .generator import Pictures
from .losses import IGNORE_INDEX

SHARD = 512  # pairs a file
CHUNK = 16  # pairs made at a time
CACHE_FORMAT = 2
SAME = 1 / 255  # a probe that differs by more in the mean was made by another extractor
PROBE_SEED, PROBES = 7, 4

UNKNOWN = IGNORE_INDEX  # label of what nobody labelled


class Pairs(NamedTuple):
    """What a mapper learns from."""

    given: torch.Tensor
    """Label ids (B, R, R), int64, or planes (B, C, R, R) in [0, 1]."""
    proxy: torch.Tensor
    """Proxy masks (B, r, r), int64."""
    labels: torch.Tensor
    """Label ids (B, R, R) of the sample, int64, for L_label; UNKNOWN where there are none."""


Maker = Callable[[torch.Tensor, torch.Generator], Pairs]
"""Pairs of the samples w (B, w_dim)."""


def unknown(pictures: torch.Tensor) -> torch.Tensor:
    """The labels of pictures (B, C, R, R) that nobody labelled."""
    return torch.full((len(pictures), *pictures.shape[2:]), UNKNOWN, dtype=torch.long, device=pictures.device)


@dataclasses.dataclass(frozen=True)
class PairShards:
    """Undisturbed pairs in a folder; what is missing is made by :meth:`fill`.

    The pairs follow from ``seed`` and their number alone, so that a longer cache begins with the pairs of a shorter one.
    """

    folder: Path
    """Where ``pairs.json`` and ``pairs-00000.safetensors`` ... are."""
    count: int
    """Pairs that are used."""
    identity: dict[str, Any]
    """What they are made of; a folder of another identity is refused."""
    probe: torch.Tensor
    """What the extractor makes of fixed pictures, (4, C, R, R) in [0, 1] (:func:`probe_of`), which shows changed code or weights."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ProxymaskError(f"a cache holds 1 pair or more, got {self.count}: change --cache-pairs")

    @property
    def shards(self) -> int:
        """Files that ``count`` pairs take."""
        return -(-self.count // SHARD)

    def path(self, shard: int) -> Path:
        """The file of one shard."""
        return self.folder / f"pairs-{shard:05d}.safetensors"

    def check(self) -> None:
        """A :class:`ProxymaskError` where the folder is something else, or holds pairs of another generator, condition or seed."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ProxymaskError(f"{self.folder} is a file: --cache names a folder")
        about = self.folder / "pairs.json"
        if not about.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise ProxymaskError(f"{self.folder} holds something else than pairs: choose another --cache")
            return
        stored, wanted = read_json(about), self._about()
        if not isinstance(stored, dict) or stored.get("format") != CACHE_FORMAT:
            raise ProxymaskError(f"{about} is not of this version's format {CACHE_FORMAT}: choose another --cache, or remove this one")
        changed = sorted(key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key))
        if changed:
            what = ", ".join(f"{key}: {stored.get(key)} -> {wanted.get(key)}" for key in changed[:3])
            raise ProxymaskError(f"{self.folder} holds pairs of something else ({what}): choose another --cache, or remove this one")
        earlier = _read(self.folder / "probe.safetensors", None)["probe"]
        if earlier.shape != self.probe.shape or float((earlier - self.probe).abs().mean()) > SAME:
            raise ProxymaskError(
                f"{self.folder} was made by another version of the extractor (code or weights): choose another --cache, or remove this one"
            )

    def fill(
        self,
        make: Maker,
        cut: SplitGenerator,
        device: torch.device,
        dtype: torch.dtype,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Make the shards that are missing; stopped halfway, the same call goes on at the shard it was at.

        Args:
            make: what makes pairs.
            cut: the generator.
            device, dtype: where and how to compute.
            progress: called with (pairs there, pairs).

        Returns:
            Bytes that the shards in use take.

        Raises:
            ProxymaskError: as :meth:`check`; not enough room on the disk, which is known after the first shard.
        """
        self.check()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "pairs.json").is_file():
                save_tensors(self.folder / "probe.safetensors", {"probe": self.probe})
                write_json(self.folder / "pairs.json", self._about())
            missing = [shard for shard in range(self.shards) if not self.path(shard).is_file()]
            for number, shard in enumerate(missing):
                save_tensors(self.path(shard), self._made(shard, make, cut, device, dtype))
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
            raise ProxymaskError(f"cannot write {self.folder} ({error.strerror or error}): make room or choose another --cache") from None
        return sum(self.path(shard).stat().st_size for shard in range(self.shards))

    @torch.no_grad()
    def _made(self, shard: int, make: Maker, cut: SplitGenerator, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        rng = derive_rng(self.seed, "cache", shard)
        z = torch.randn(SHARD, cut.generator.z_dim, generator=rng)
        given, proxy, labels = [], [], []
        for part in z.split(CHUNK):
            with autocast(device, dtype):
                made = make(cut.w(part.to(device)), rng)
            # what people give are 8-bit files
            given.append((made.given * 255).round().to(torch.uint8).cpu() if made.given.ndim == 4 else made.given.to(torch.uint8).cpu())
            proxy.append(made.proxy.to(torch.int16).cpu())
            labels.append(made.labels.to(torch.int16).cpu())
        return {"given": torch.cat(given), "proxy": torch.cat(proxy), "labels": torch.cat(labels)}

    def pairs(self, step: int, batch: int) -> Pairs:
        """The pairs of one step, on the CPU.

        Every pair comes once before any comes again, each round in another order.
        """
        order: dict[int, np.ndarray] = {}
        given, proxy, labels = [], [], []
        for place in range(step * batch, (step + 1) * batch):
            turn, at = divmod(place, self.count)
            if turn not in order:
                order[turn] = _order(self.count, self.seed, turn)
            shard, row = divmod(int(order[turn][at]), SHARD)
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


def _order(count: int, seed: int, turn: int) -> np.ndarray:
    """The order of one round; the last one is kept, for it serves many steps."""
    key = (count, seed, turn)
    if key not in _ORDERS:
        _ORDERS.clear()
        _ORDERS[key] = torch.randperm(count, generator=derive_rng(seed, "cache order", turn)).numpy()
    return _ORDERS[key]


def _read(path: Path, row: int | None) -> dict[str, torch.Tensor]:
    """One row of every tensor of a file, or all of it; only that is read from the disk."""
    try:
        with safe_open(path, framework="pt") as opened:
            return {key: opened.get_tensor(key) if row is None else opened.get_slice(key)[row] for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, IndexError) as error:
        raise ProxymaskError(f"{path} is missing or damaged ({error}): remove it and run the same command, which makes it again") from None


def probe_of(condition: Condition | None, size: int) -> torch.Tensor:
    """What the extractor makes of fixed pictures of ``size``; nothing of masks, which no extractor makes: (4, C, R, R) or empty."""
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


class RealPairs:
    """Pairs of real pictures: the condition by its extractor, the proxy mask by a mapper of pictures.

    The proxy mask is drawn from that mapper's probabilities, cell by cell, so that on average the loss is the cross-entropy to
    them: where it does not know, it does not pretend to.
    """

    def __init__(
        self, pictures: Pictures, picture_mapper: ConfigModel, condition: Condition, share: float = 0.5, recolour: float = 0.0
    ) -> None:
        """``picture_mapper``: planes (B, 3, R, R) in [0, 1] -> logits (B, K, r, r); ``share``: of a batch; ``recolour``: share of the
        pictures that get other colours before a colourless condition is made of them.

        Raises:
            ProxymaskError: a condition that is made of labels, which pictures have not; a share outside of 0 to 1.
        """
        if condition.needs_labels:
            raise ProxymaskError(f"a {condition.name} is made of labels, which real pictures have not: leave --picture-mapper out")
        if not 0 < share <= 1:
            raise ProxymaskError(f"--real-share is above 0 and at most 1, got {share}")
        self.pictures, self.condition, self.share, self.recolour = pictures, condition, share, recolour
        self.mapper = picture_mapper.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, index: torch.Tensor, rng: torch.Generator, device: torch.device) -> Pairs:
        """Pairs of the pictures of these numbers (B,), undisturbed."""
        pictures = self.pictures.images(index).to(device)
        self.mapper.to(device)
        chances = self.mapper((pictures + 1) / 2).float().softmax(dim=1)
        drawn = torch.rand(len(chances), 1, *chances.shape[2:], generator=rng).to(device)
        # rounding leaves the sum a little below one
        proxy = (chances.cumsum(dim=1) < drawn).sum(dim=1).clamp(max=chances.shape[1] - 1)
        planes = self.condition.extract(self.condition.random_recolour(pictures, self.recolour, rng), None, rng).to(device)
        return Pairs(planes, proxy, unknown(pictures))
