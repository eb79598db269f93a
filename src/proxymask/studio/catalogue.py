"""The bundles that the studio offers, opened when they are first needed. Only the thread of :class:`Turns` uses them."""

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..core.hashing import file_hash, weights_hash
from ..core.sizes import Size, height_width
from ..imaging.grids import to_uint8
from ..imaging.labels import LabelSet
from ..imaging.masks import resize_mask
from ..inference.find import find_bundle, list_bundles
from ..inference.sample_choice import SampleChoice
from ..inference.style import RegionStyles, Style
from ..inference.synthesizer import Synthesizer
from .config import StudioConfig
from .errors import NotFoundError
from .turns import Pause

BUFFER_SIDE = 256  # the canvas is at least this large
SAMPLE_BYTES = 64 * 2**20  # of the samples that are kept
MOST_REGIONS = 2  # sets of a style for each label that are kept
MOST_PAINTED = 256  # clusters whose ids fit a canvas or a palette
CLUSTERS = "clusters"
"""The condition of painting with the clusters themselves. It needs no mapper, so every bundle has it."""
CENSUS, CENSUS_SECONDS = 64, 3.0  # samples in which labels are counted, and the time after which no more are made


def buffer_size(size: Size) -> tuple[int, int]:
    """(height, width) of the canvas: that of the pictures times the smallest whole number that makes the shorter side 256 or more."""
    height, width = height_width(size)
    factor = -(-BUFFER_SIDE // min(height, width))
    return height * factor, width * factor


@dataclass
class Sample:
    """A style's own picture (H, W, C) uint8, its clusters (h, w) int32, and its labels (H, W) uint8 where there is a segmenter."""

    picture: np.ndarray
    clusters: np.ndarray
    labels: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Its memory."""
        return self.picture.nbytes + self.clusters.nbytes + (0 if self.labels is None else self.labels.nbytes)


class StyleStore:
    """The styles used last, by any key, as many as fit ``budget`` bytes; at least the last one."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._styles: OrderedDict[tuple[str, int, float], Style] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._styles)

    def get(self, key: tuple[str, int, float]) -> Style | None:
        """The style of ``key``, None where it is not kept."""
        if key in self._styles:
            self._styles.move_to_end(key)
        return self._styles.get(key)

    def put(self, key: tuple[str, int, float], style: Style) -> None:
        """Keep a style that is not kept yet; those that were not used for longest make room."""
        self._styles[key] = style
        self.nbytes += style_bytes(style)
        while self.nbytes > self._budget and len(self._styles) > 1:
            self.nbytes -= style_bytes(self._styles.popitem(last=False)[1])


@dataclass
class Model:
    """An opened bundle with what is kept of it."""

    name: str
    """In addresses and messages: without characters that an address would have to quote."""
    synth: Synthesizer
    digest: str
    """SHA-256 of bundle.json, which holds those of all other files."""
    styles: "StyleStore"
    """Shared by all bundles."""
    render_ms: float | None = None
    """Time of the last whole render."""
    _samples: "OrderedDict[tuple[int, float], Sample]" = field(default_factory=OrderedDict)
    choice: SampleChoice | None = None
    """The samples that may be proposed for labelling, once that was needed."""
    _regions: "OrderedDict[tuple[tuple[int, ...], float], RegionStyles]" = field(default_factory=OrderedDict)
    _having: np.ndarray | None = None
    """Samples of the census that have each label, int (N,)."""
    _counted: int = 0

    @cached_property
    def generator(self) -> str:
        """Hash of the generator's weights."""
        return weights_hash(self.synth.bundle.generator)

    @property
    def labels(self) -> LabelSet | None:
        return self.synth.labels

    @property
    def buffer(self) -> tuple[int, int]:
        """(height, width) of the canvas."""
        return buffer_size(self.synth.size)

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of proxy masks."""
        return self.synth.bundle.clusters.size

    def style(self, seed: int, truncation: float) -> Style:
        """The style of a seed, kept for the next time."""
        key = (self.digest, seed, truncation)
        made = self.styles.get(key)
        if made is None:
            made = self.synth.make_style(seed, truncation=truncation)  # the synthesizer's own store has no bound in bytes
            self.styles.put(key, made)
        return made

    def region_styles(self, seeds: tuple[int, ...], truncation: float) -> RegionStyles:
        """A style for each label, by the seeds of all labels; the last few are kept."""
        key = (seeds, truncation)
        made = self._regions.pop(key, None)
        if made is None:
            made = self.synth.make_region_styles({label: self.style(seed, truncation) for label, seed in enumerate(seeds)})
        self._regions[key] = made
        while len(self._regions) > MOST_REGIONS:
            self._regions.popitem(last=False)
        return made

    def sample(self, seed: int, truncation: float) -> Sample:
        """A sample of the generator; the last few are kept."""
        key = (seed, truncation)
        found = self._samples.pop(key, None)
        if found is None:
            pictures, proxy, labels = self.synth.sample(self.synth.w([seed], truncation))
            ids = None if labels is None else labels[0].to(torch.uint8).cpu().numpy()
            found = Sample(to_uint8(pictures)[0], proxy[0].int().cpu().numpy(), ids)
        self._samples[key] = found
        while len(self._samples) > max(1, SAMPLE_BYTES // found.nbytes):
            self._samples.popitem(last=False)
        return found

    def census(self) -> Generator[Pause, None, None]:
        """Count in how many samples each label is, one sample a step; nothing without a segmenter."""
        if self.labels is None or self.synth.bundle.segmenter is None or self._having is not None:
            return
        having, seconds = np.zeros(len(self.labels), np.int64), 0.0
        for seed in range(CENSUS):
            begun = time.perf_counter()
            labels = self.synth.sample(self.synth.w([seed]))[2]
            assert labels is not None
            having += torch.bincount(labels.flatten().cpu(), minlength=len(having)).numpy() > 0
            seconds += time.perf_counter() - begun
            if seconds > CENSUS_SECONDS:
                break
            yield Pause.REST
        self._having, self._counted = having, seed + 1

    def is_rare(self, label: int, share: float) -> bool:
        """Whether fewer than ``share`` of the samples have a label; False where that is not known yet."""
        return self._having is not None and bool(self._having[label] < share * self._counted)

    def mapper(self, condition: str) -> str:
        """The mapper of that name, or the one that reads that kind of input."""
        return condition if condition in self.synth.bundle.mappers else self.synth.bundle.mapper_for(condition)

    @property
    def has_clusters(self) -> bool:
        """Whether clusters can be painted: their ids fit a canvas, and no mapper has the name of the condition."""
        return self.synth.bundle.clusters.num_clusters <= MOST_PAINTED and CLUSTERS not in self.synth.bundle.mappers

    def reads(self, condition: str) -> str:
        """What a condition reads ("mask", "sketch", :data:`CLUSTERS` ...); ``condition``: its name, or the kind itself.

        Raises:
            ProxymaskError: the bundle has no mapper for it.
        """
        if condition == CLUSTERS and self.has_clusters:
            return CLUSTERS
        return str(self.synth.bundle.condition_of(self.mapper(condition))["condition"])

    def about(self) -> dict[str, Any]:
        """What a page needs to know of the bundle."""
        bundle = self.synth.bundle
        labels = [] if self.labels is None else [{"id": one.id, "name": one.name, "color": one.hex} for one in self.labels.labels]
        mappers = [(name, bundle.condition_of(name)) for name in sorted(bundle.mappers)]
        conditions = [
            {"name": name, "reads": about["condition"], "mapper": name, "channels": int(about.get("channels", len(labels)))}
            for name, about in mappers
        ]
        if self.has_clusters:
            conditions.append({"name": CLUSTERS, "reads": CLUSTERS, "mapper": None, "channels": bundle.clusters.num_clusters})
        return {
            "name": self.name,
            "hash": self.digest,
            "size": list(height_width(self.synth.size)),
            "buffer": list(self.buffer),
            "grid": list(self.grid),
            "cut": bundle.cut,
            "clusters": bundle.clusters.num_clusters,
            "cluster_colors": bundle.clusters.colors().tolist(),
            "labels": labels,
            "conditions": conditions,
            "segmenter": bundle.segmenter is not None,
            "styles_per_label": bool(labels) and any(about["condition"] == "mask" for _, about in mappers),
            "licence": licence(bundle.about),
            "render_ms": self.render_ms,
        }


def licence(about: dict[str, Any]) -> str:
    """The licence of a bundle as text, from what it says of itself."""
    for key in ("licence", "licences", "license"):
        found = about.get(key)
        if isinstance(found, dict):
            return "; ".join(f"{name}: {text}" for name, text in found.items())
        if found:
            return str(found)
    return "unknown: ask whoever made the bundle"


def style_bytes(style: Style) -> int:
    """Memory of a style in bytes."""
    tensors = [style.w, *style.state, *style.kv, style.present, style.prior, style.by_label]
    if style.fused_g2 is not None:
        for block in style.fused_g2.blocks:
            tensors += [block.rgb_weight, *(layer.weight for layer in block.layers)]
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))


class Catalogue:
    """Bundles by name: the embedded ones, and that of the command line."""

    def __init__(self, config: StudioConfig) -> None:
        self._config, self._lock = config, threading.Lock()
        self._sources: dict[str, str | Path] = dict.fromkeys(list_bundles(), "")
        for name in self._sources:
            self._sources[name] = name
        self._open: OrderedDict[str, Model] = OrderedDict()
        self.styles = StyleStore(config.limits.style_bytes)
        self.default = config.bundle if config.bundle in self._sources else self.add(config.bundle)

    def names(self) -> list[str]:
        """All names, the default one first."""
        with self._lock:
            return sorted(self._sources, key=lambda name: (name != self.default, name))

    def add(self, source: str | Path) -> str:
        """Offer one more bundle, a folder or a name on the hub; returns its name here.

        Raises:
            ProxymaskError: there is no such bundle.
        """
        folder = Path(os.path.realpath(find_bundle(source)))
        name = os.path.basename(os.path.realpath(folder)) if Path(source).is_dir() else str(source)
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "bundle"
        with self._lock:
            name, number = plain, 2
            while name in self._sources:
                if self._sources[name] == folder:
                    return name
                name, number = f"{plain}-{number}", number + 1
            self._sources[name] = folder
        return name

    def source(self, name: str) -> str | Path:
        """The name or folder that a bundle is opened from, for another process; a folder is absolute."""
        source = self._sources[self.check(name)]
        return source.absolute() if isinstance(source, Path) else source

    def digest(self, name: str) -> str:
        """SHA-256 of a bundle's bundle.json, without opening the bundle; see :attr:`Model.digest`."""
        return file_hash(find_bundle(self._sources[self.check(name)]) / "bundle.json")

    def check(self, name: str) -> str:
        """``name``, if there is a bundle of that name.

        Raises:
            NotFoundError: there is none; the message lists those there are.
        """
        if name not in self._sources:
            raise NotFoundError(f"no bundle {name[:80]!r} here: there are {', '.join(self.names())}")
        return name

    def is_open(self, name: str) -> bool:
        """Whether a bundle is opened already."""
        with self._lock:
            return name in self._open

    def model(self, name: str) -> Model:
        """The bundle of that name, opened; the one that was not used for longest is closed where too many are open.

        Raises:
            ProxymaskError: there is none, or it cannot be opened.
        """
        source = self._sources[self.check(name)]
        with self._lock:
            model = self._open.pop(name, None)
        if model is None:
            synth = Synthesizer.from_pretrained(source, self._config.device, self._config.precision)
            assert synth.bundle.folder is not None
            model = Model(name, synth, file_hash(synth.bundle.folder / "bundle.json"), self.styles)
        with self._lock:
            self._open[name] = model
            while len(self._open) > self._config.limits.bundles:
                self._open.popitem(last=False)
        return model


def palette_picture(ids: np.ndarray, colors: np.ndarray, size: tuple[int, int] | None = None) -> Image.Image:
    """Ids (H, W), 0 to 255, as a palette picture whose indices are the ids; enlarged to (height, width) ``size`` by nearest neighbour."""
    if size is not None:
        ids = resize_mask(ids, size)
    picture = Image.fromarray(np.ascontiguousarray(ids, dtype=np.uint8))
    flat = [int(value) for value in colors.reshape(-1)][:768]
    picture.putpalette(flat + [0] * (768 - len(flat)))
    return picture
