"""Samples of a generator on disk, and the masks that users paint over them.

A sample is a picture with a sidecar file that holds its latent, so that a mask painted over the picture in any editor can train the
few-shot segmenter, which reads the generator's own features:

``000000.png``          the picture
``000000.json``         the sidecar: z, w, seed, truncation, generator (hash), resolution
``000000.proxy.png``    its proxy mask at picture size, palette = the cluster colours, index = the cluster (on request)
``000000.labels.png``   its semantic mask by the few-shot segmenter (on request); never read back, see below
``000000.mask.png``     the mask that a user painted; or ``masks/000000.png``, or a folder of masks with the same names

To correct the segmenter's mask, copy ``000000.labels.png`` to ``000000.mask.png`` and paint in the copy.
"""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..core.checks import BatchSize, Seed, Truncation, checked
from ..core.device import autocast
from ..core.errors import ProxymaskError, cannot_write, os_reason
from ..core.files import read_json, write_json
from ..core.hashing import weights_hash
from ..core.sizes import Size, as_size, height_width
from ..core.threads import inference
from ..imaging.grids import to_uint8
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask, write_mask
from ..imaging.pictures import from_pixels, write_picture
from ..imaging.reader import SUFFIXES
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator, NoiseMode
from .sample_choice import SampleChoice
from .synthesizer import Synthesizer

SIDECAR_FORMAT = 1
MASK_SUFFIX = ".mask"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """Content of the sidecar file of a sample."""

    z: list[float]
    w: list[Any]
    """(w_dim), or (num_ws, w_dim) where every layer has its own."""
    seed: int
    truncation: float
    generator: str
    """:func:`weights_hash` of the generator that made the sample."""
    resolution: Size
    """Side of the picture; (height, width) where it is not square."""


SIDECAR_FIELDS = {field.name for field in dataclasses.fields(Sidecar)}


@dataclasses.dataclass(frozen=True)
class SampleNetworks:
    """The networks that make samples and their masks."""

    split: SplitGenerator
    clusters: ProxyClusters | None = None
    """Needed for proxy masks."""
    segmenter: FewShotSegmenter | None = None
    """Needed for semantic masks, with ``labels``."""
    labels: LabelSet | None = None
    """The classes of the segmenter."""
    precision: torch.dtype = torch.float32

    @classmethod
    def of(cls, synth: Synthesizer) -> "SampleNetworks":
        """The networks and the precision of a synthesizer."""
        return cls(synth.split, synth.bundle.clusters, synth.bundle.segmenter, synth.bundle.labels, synth.dtype)


@checked
def write_samples(
    networks: SampleNetworks,
    seeds: Sequence[Seed],
    out: str | Path,
    *,
    with_proxy: bool = False,
    with_labels: bool = False,
    truncation: Truncation = 1.0,
    noise_mode: NoiseMode = "const",
    batch: BatchSize | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write unconditional samples with their sidecars; sample i is that of the integer seed ``seeds[i]``.

    Args:
        networks: what makes the samples.
        seeds: one for each sample.
        out: folder, created where it is missing; samples of the same number are replaced.
        with_proxy: also write the proxy masks.
        with_labels: also write the segmenter's semantic masks.
        noise_mode: the generator's stored noise, new noise, or none.
        batch: samples that are computed at once. None: 1 on a CPU, where a sample so depends on its seed alone, to the last bit; 8
            elsewhere. With new noise 1 everywhere; it is drawn from the sample's seed.
        progress: called with (samples written, number of samples).

    Returns:
        The pictures' paths.

    Raises:
        ProxymaskError: no seeds, ``with_proxy`` without clusters, ``with_labels`` without a segmenter, painted masks in ``out``
            that belong to other samples, a folder that cannot be written.
    """
    _check_networks(networks, with_proxy, with_labels)
    if not seeds:
        raise ProxymaskError("there are no samples to write: give one or more")
    generator = networks.split.generator
    out, digest = Path(out), weights_hash(generator)
    _keep_painted(out, digest, generator, seeds, truncation)
    _keep_others(out, len(seeds))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProxymaskError(f"cannot make the folder {out} ({os_reason(error)}): choose another --out") from None
    wanted = dataclasses.replace(
        networks, clusters=networks.clusters if with_proxy else None, segmenter=networks.segmenter if with_labels else None
    )
    if batch is None:
        batch = 1 if next(networks.split.parameters()).device.type == "cpu" else 8
    if noise_mode == "random":
        batch = 1
    paths: list[Path] = []
    for start in range(0, len(seeds), batch):
        part = seeds[start : start + batch]
        made = _compute(wanted, part, truncation, noise_mode)
        for i, seed in enumerate(part):
            stem = out / f"{start + i:06d}"
            about = Sidecar(made.z[i].tolist(), made.w[i].tolist(), seed, truncation, digest, as_size(generator.picture_size))
            paths.append(_write_sample(stem, wanted, made, i, about))
            if progress is not None:
                progress(len(paths), len(seeds))
    return paths


def _check_networks(networks: SampleNetworks, with_proxy: bool, with_labels: bool) -> None:
    if with_proxy and networks.clusters is None:
        raise ProxymaskError("proxy masks need clusters, which a generator alone has not: give a bundle instead (--bundle)")
    if with_labels and (networks.segmenter is None or networks.labels is None):
        raise ProxymaskError(
            "this model has no segmenter, so its samples get no labels: give a bundle that has one (proxymask fit --labels ...)"
        )


@dataclasses.dataclass(frozen=True)
class _Batch:
    """B computed samples."""

    z: torch.Tensor
    """(B, z_dim)."""
    w: torch.Tensor
    """(B, w_dim) or (B, num_ws, w_dim)."""
    pixels: np.ndarray
    """(B, H, W, 3) uint8."""
    proxy: torch.Tensor | None
    """Proxy masks (B, h, w)."""
    ids: torch.Tensor | None
    """Semantic masks (B, H, W)."""


@inference
def _compute(networks: SampleNetworks, seeds: Sequence[int], truncation: float, noise_mode: NoiseMode) -> _Batch:
    """Samples of ``seeds``, with the masks for which there are networks."""
    split, clusters, segmenter = networks.split, networks.clusters, networks.segmenter
    device = next(split.parameters()).device
    z = split.generator.z(seeds).to(device)
    w = split.w(z, truncation)
    with autocast(device, networks.precision), torch.random.fork_rng([device] if device.type == "cuda" else []):
        if noise_mode == "random":
            torch.manual_seed(seeds[0])
        levels, raw = split.feature_pyramid(w, noise_mode)
        proxy = None if clusters is None else clusters.assign(split.features_at_split(levels))
        ids = None if segmenter is None else segmenter.predict(levels)
    return _Batch(z, w, to_uint8(raw), proxy, ids)


def _write_sample(stem: Path, networks: SampleNetworks, made: _Batch, i: int, about: Sidecar) -> Path:
    """Write sample ``i`` of a batch with its masks and sidecar; returns the picture's path."""
    if made.proxy is not None and networks.clusters is not None:
        write_picture(f"{stem}.proxy.png", _proxy_picture(made.proxy[i], networks.clusters, networks.split.generator.picture_size))
    if made.ids is not None and networks.labels is not None:
        write_mask(f"{stem}.labels.png", made.ids[i].to(torch.uint8).cpu().numpy(), networks.labels)
    try:
        write_json(Path(f"{stem}.json"), {"format": SIDECAR_FORMAT, **dataclasses.asdict(about)})
    except OSError as error:
        raise cannot_write(f"{stem}.json", error, "another --out") from None
    return write_picture(f"{stem}.png", from_pixels(made.pixels[i]))


def read_sidecar(path: str | Path) -> Sidecar:
    """Read the sidecar of a sample; a :class:`ProxymaskError` says what is wrong with it."""
    path = Path(path)
    stored = read_json(path)
    if isinstance(stored, dict) and "shapes" in stored:
        raise ProxymaskError(
            f"{path} is of labelme, which saved it over the sample's sidecar: rename it to {path.stem}.mask.json, and write the "
            "sample again with its seed (proxymask sample)"
        )
    if not isinstance(stored, dict) or not stored.keys() >= SIDECAR_FIELDS:
        raise ProxymaskError(f"{path} is not the sidecar of a sample: proxymask sample writes those")
    if stored.get("format") != SIDECAR_FORMAT:
        raise ProxymaskError(f"{path} has sidecar format {stored.get('format')}, this version reads {SIDECAR_FORMAT}: sample again")
    return Sidecar(**{name: stored[name] for name in SIDECAR_FIELDS})


def _is_sidecar(path: Path) -> bool:
    """Whether a JSON file is a sidecar, not an annotation, by its content."""
    try:
        stored = read_json(path)
    except ProxymaskError:
        return False
    return isinstance(stored, dict) and stored.keys() >= SIDECAR_FIELDS


def has_sidecars(folder: Path) -> bool:
    """Whether samples lie in ``folder``, as far as the names tell."""
    return any(path.with_suffix(".png").is_file() for path in folder.glob("*.json"))


def other_files(folder: Path, written: Sequence[Path], with_proxy: bool, with_labels: bool) -> list[Path]:
    """The pictures and sidecars in ``folder`` that are not of the samples ``written``, as those of an earlier call; not painted masks."""
    ends = [".png", ".json", *([".proxy.png"] if with_proxy else []), *([".labels.png"] if with_labels else [])]
    ours = {path.with_suffix("").name + end for path in written for end in ends}
    there = (path for path in folder.iterdir() if path.suffix.lower() in (*SUFFIXES, ".json") and path.is_file())
    return sorted(path for path in there if path.name not in ours and f"{MASK_SUFFIX}." not in path.name and not path.name.startswith("."))


def painted_masks(folder: str | Path, samples: str | Path | None = None) -> dict[str, Path]:
    """The painted masks of ``folder`` by the stem of their sample: ``STEM.mask.png``, ``masks/STEM.png`` or, where the samples are in
    another folder, ``STEM.png``; instead of a picture also JSON of labelme, or a folder of that name with one black-and-white file a class.
    """
    folder = Path(folder)
    apart = samples is not None and os.path.realpath(samples) != os.path.realpath(folder)
    found: dict[str, Path] = {}
    places = [(folder, not apart)] + ([(folder / "masks", False)] if (folder / "masks").is_dir() else [])
    for place, marked in places:
        for entry in sorted(place.iterdir()):
            stem = entry.name if entry.is_dir() else entry.stem
            if entry.name.startswith(".") or entry.name == "masks":
                continue
            is_json = entry.suffix.lower() == ".json" and entry.name != "labels.json" and (not marked or stem.endswith(MASK_SUFFIX))
            if not entry.is_dir() and entry.suffix.lower() not in SUFFIXES and not is_json:
                if stem.endswith(MASK_SUFFIX):
                    warnings.warn(f"{entry} is left out: it has no suffix of a picture; save the mask as {stem}.png", stacklevel=2)
                continue
            if marked and not stem.endswith(MASK_SUFFIX):
                continue
            stem = stem.removesuffix(MASK_SUFFIX)
            if stem.endswith((".labels", ".proxy")) or (is_json and not marked and _is_sidecar(entry)):
                continue
            if stem in found:
                raise ProxymaskError(f"sample {stem} has two masks, {found[stem]} and {entry}: keep one")
            found[stem] = entry
    return dict(sorted(found.items()))


def read_labelled(
    folder: str | Path, labels: LabelSet, generator: str | None, samples: str | Path | None = None, strict: bool = False
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Read samples that somebody labelled: latents from the sidecars, masks as painted (see :func:`painted_masks`).

    Args:
        folder: holds the masks, and the samples unless these are in ``samples``.
        labels: the classes.
        generator: :func:`weights_hash` of the generator that is to be used; None does not compare.
        samples: folder of the sidecars, where it is another.
        strict: refuse masks whose colours are not exactly those of classes, see :func:`read_mask`.

    Returns:
        w (n, w_dim) or (n, num_ws, w_dim) float32; masks (n, H, W) int64; the samples' names.

    Raises:
        ProxymaskError: no folder, no mask, a mask without a sidecar, samples of another generator, a mask that cannot be read.
    """
    folder = Path(folder)
    sidecars = Path(samples) if samples is not None else folder
    for place in (folder, sidecars):
        if not place.is_dir():
            raise ProxymaskError(f"{place} is not a folder" if place.exists() else f"{place} does not exist")
    if not has_sidecars(folder) and (folder / "images").is_dir() and (folder / "masks").is_dir():
        raise ProxymaskError(
            f"{folder} is a data set of pictures with masks; the segmenter reads the generator's features, so it needs labels on the "
            "generator's own samples: write some with proxymask sample, paint masks over them, and give that folder"
        )
    masks = painted_masks(folder, sidecars)
    if not masks:
        where = "STEM.mask.png next to the sample STEM.png" if sidecars == folder else f"STEM.png, named as the samples in {sidecars}"
        raise ProxymaskError(f"{folder} holds no painted mask: save each as {where} (or in {folder / 'masks'} as STEM.png)")
    ws, ids = [], []
    for stem, mask in masks.items():
        sidecar = sidecars / f"{stem}.json"
        if not sidecar.is_file():
            raise ProxymaskError(
                f"{mask} has no sample: {sidecar} is missing; name the mask after its sample, and keep the .json that was written with it"
            )
        about = read_sidecar(sidecar)
        if generator is not None and about.generator != generator:
            raise ProxymaskError(
                f"{sidecar} is a sample of another generator ({str(about.generator)[:12]}, not {generator[:12]}): latents mean nothing "
                "to another generator; sample from this one and label those"
            )
        try:
            ws.append(torch.tensor(about.w, dtype=torch.float32))
        except (TypeError, ValueError):
            raise ProxymaskError(f"{sidecar} is damaged: its w is no list of numbers; write the sample again with its seed") from None
        ids.append(torch.from_numpy(read_mask(mask, labels, about.resolution, strict).copy()).long())
    if len({w.shape for w in ws}) > 1 or len({mask.shape for mask in ids}) > 1:
        raise ProxymaskError(f"the samples in {sidecars} differ in size: keep those of one generator")
    return torch.stack(ws), torch.stack(ids), list(masks)


def labels_hash(labels: LabelSet, ws: torch.Tensor, masks: torch.Tensor) -> str:
    """16 hex digits that change with a label, a latent or a painted pixel."""
    digest = hashlib.sha256(ws.cpu().numpy().tobytes() + masks.to(torch.uint8).cpu().numpy().tobytes())
    digest.update(repr([(label.id, label.name, label.hex) for label in labels.labels]).encode())
    return digest.hexdigest()[:16]


def read_label_set(folder: str | Path) -> LabelSet:
    """``labels.json`` of a folder of masks; a :class:`ProxymaskError` says how to write one."""
    path = Path(folder) / "labels.json"
    if not path.is_file():
        example = '{"labels": [{"id": 0, "name": "background", "color": "#000000"}, ...]}'
        raise ProxymaskError(f"{path} is missing: it names the classes and their colours, as {example}")
    return LabelSet.load(path)


@inference
def select_samples_to_label(
    split: SplitGenerator,
    clusters: ProxyClusters,
    count: int,
    candidates: int = 256,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    batch: int = 16,
) -> list[int]:
    """Integer seeds of the ``count`` samples, out of ``candidates``, that are most worth labelling.

    The order is that of :class:`~proxymask.inference.sample_choice.SampleChoice`.

    Raises:
        ProxymaskError: more samples than candidates, or none.
    """
    if not 1 <= count <= candidates:
        raise ProxymaskError(f"cannot choose {count} of {candidates} samples")
    device = next(split.parameters()).device
    seeds = list(range(seed, seed + candidates))
    shares, away = [], []
    for start in range(0, candidates, batch):
        w = split.w(split.generator.z(seeds[start : start + batch]).to(device))
        with autocast(device, precision):
            proxy = clusters.assign(split.features(w).features)
        hot = torch.nn.functional.one_hot(proxy.flatten(1), clusters.num_clusters)
        shares.append(hot.float().mean(dim=1).cpu())
        away.append((w - split.generator.mapping.w_avg).norm(dim=1).cpu())
    return [seeds[i] for i in SampleChoice(torch.cat(shares), torch.cat(away)).order(count)]


def _proxy_picture(mask: torch.Tensor, clusters: ProxyClusters, size: Size) -> Image.Image:
    """Cluster ids (h, w) at picture size: a palette picture whose indices are the clusters (RGB where a palette cannot hold them)."""
    if clusters.num_clusters > 256:
        picture = Image.fromarray(clusters.colorize(mask))
    else:
        picture = Image.fromarray(mask.to(torch.uint8).cpu().numpy())
        colors = clusters.colors().reshape(-1).tolist()
        picture.putpalette(colors + [0] * (768 - len(colors)))
    return picture.resize(height_width(size)[::-1], Image.Resampling.NEAREST)


def _keep_others(out: Path, count: int) -> None:
    """Refuse to replace a picture that is no sample, one without a sidecar, and a JSON file that is no sidecar, as labelme saves one."""
    for number in range(count) if out.is_dir() else ():
        picture = out / f"{number:06d}.png"
        sidecar = picture.with_suffix(".json")
        if sidecar.exists() and not _is_sidecar(sidecar):
            raise ProxymaskError(
                f"{sidecar} is no sidecar of a sample, and would be replaced: choose another --out; if it is of labelme, rename it to "
                f"{sidecar.stem}.mask.json"
            )
        if picture.exists() and not sidecar.exists():
            raise ProxymaskError(f"{picture} is no sample of proxymask (it has no .json), and would be replaced: choose another --out")


def _keep_painted(out: Path, digest: str, generator: Generator, seeds: Sequence[int], truncation: float) -> None:
    """Refuse to replace a sample over which a user painted a mask by another sample."""
    if not out.is_dir():
        return
    for stem, mask in painted_masks(out).items():
        sidecar = out / f"{stem}.json"
        if not stem.isdigit() or int(stem) >= len(seeds) or not sidecar.is_file():
            continue
        old = read_sidecar(sidecar)
        seed = seeds[int(stem)]
        same = (old.generator, old.seed, old.truncation) == (digest, seed, truncation)
        if not same or old.z != generator.z([seed])[0].tolist():  # another seed style draws another sample
            raise ProxymaskError(f"{mask} is painted over another sample than the one to be written there: choose another --out")
