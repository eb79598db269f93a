"""What a file or folder of this package holds, in words (``proxymask inspect``)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from ..checkpoints.formats.native import IMPORT_JSON
from ..checkpoints.identify import FileInfo, identify
from ..checkpoints.loading import open_checkpoint
from ..core.errors import ProxymaskError
from ..core.files import read_json
from ..core.sizes import size_text
from ..data.dataset import ImageSet
from ..imaging.labels import LabelSet
from ..imaging.masks import check_report, read_mask
from ..imaging.reader import SUFFIXES, open_picture
from ..inference.bundle import Bundle, check_bundle, find_bundle
from ..inference.samples import painted_masks, read_sidecar
from ..models.proxy_clusters import ProxyClusters
from ..training.checkpoint import checkpoints


class Description(NamedTuple):
    """What is there, and what is wrong with it (one phrase a problem)."""

    text: str
    problems: list[str]


def describe(path: str | Path, labels: LabelSet | None = None) -> Description:
    """What ``path`` holds: a bundle (folder or embedded name), a run, a saved model, a data set, samples, pictures, or a mask file.

    Args:
        path: a file, a folder or the name of an embedded bundle.
        labels: the classes of a mask file; where None, ``labels.json`` beside or above it is taken.

    Raises:
        ProxymaskError: nothing there, or nothing that is known.
    """
    found = Path(path)
    if not found.exists():
        try:
            found = find_bundle(path)
        except ProxymaskError:
            raise ProxymaskError(f"{path} does not exist, and no embedded bundle has this name") from None
    return _file(found, labels) if found.is_file() else _folder(found, labels)


def _folder(folder: Path, labels: LabelSet | None) -> Description:
    if (folder / "bundle.json").is_file():
        return _bundle(folder)
    if (folder / IMPORT_JSON).is_file():
        return Description(open_checkpoint(folder).text(), [])
    if (folder / "index.json").is_file():
        return Description(_prepared(folder), [])
    if (folder / "dataset.json").is_file():
        return _dataset(folder)
    if any((folder / name).is_file() for name in ("stats.jsonl", "stage.json")) or checkpoints(folder):
        return _run(folder)
    if (folder / "config.json").is_file():
        return Description(_model(folder), [])
    if (folder / "state.json").is_file():
        return Description(
            f"{folder}: a checkpoint at step {read_json(folder / 'state.json').get('step')}; inspect its run: {folder.parent}", []
        )
    parts = [part for part in sorted(folder.iterdir()) if part.is_dir() and _is_ours(part)]
    if parts:
        described = [_folder(part, labels) for part in parts]
        return Description("\n\n".join(d.text for d in described), [problem for d in described for problem in d.problems])
    pictures = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise ProxymaskError(f"{folder} holds nothing that proxymask knows: no bundle, run, model, data set or pictures")
    sidecars = [file for file in pictures if file.with_suffix(".json").is_file()]
    if sidecars:
        return Description(_samples(folder, sidecars), [])
    if labels is not None and {file.stem for file in pictures} <= {*labels.names, *(str(label.id) for label in labels.labels)}:
        return Description(f"{folder}: a mask, one file a class\n{check_report(read_mask(folder, labels), labels)}", [])
    prepare = f"proxymask data prepare {folder} --size 128 --out SET"
    return Description(f"{folder}: a folder of {len(pictures):,} pictures; make it a prepared set with: {prepare}", [])


def _is_ours(folder: Path) -> bool:
    names = ("bundle.json", "index.json", "dataset.json", "stats.jsonl", "stage.json", "config.json", "000000.json")
    return any((folder / name).is_file() for name in names) or bool(checkpoints(folder))


def _bundle(folder: Path) -> Description:
    problems = check_bundle(folder)
    if problems:
        return Description(f"{folder}: a bundle that cannot be used", problems)
    bundle = Bundle.load(folder)
    made = read_json(folder / "bundle.json").get("proxymask", "an unknown version")
    lines = [
        f"{folder}: a whole bundle, every file as it was written (by proxymask {made})",
        f"name: {bundle.name}",
        f"pictures: {size_text(bundle.size)}, the generator cut at {bundle.cut}",
        f"mappers: {bundle.mappers_text() if bundle.mappers else 'none yet: it cannot read masks'}",
        "parameters:",
    ]
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in bundle.parts().items()}
    sizes["clusters"] = bundle.clusters.centroids.numel()
    lines += [f"  {name:<14}{size:>12,}" for name, size in sizes.items()]
    if bundle.labels is None:
        lines.append("labels: none yet")
    else:
        lines += ["labels:", *_labels(bundle.labels)]
    lines += ["proxy clusters:", *(f"  {line}" for line in bundle.clusters.report().splitlines())]
    lines += _about(bundle.about)
    if (folder / "README.md").is_file():
        lines.append(f"model card: {folder / 'README.md'}")
    return Description("\n".join(lines), [])


def _about(about: Mapping[str, Any], indent: str = "") -> list[str]:
    """Free JSON as indented lines, lists and objects opened one a line."""
    lines = []
    for key, value in about.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_about(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            lines.append(f"{indent}{key}:")
            for item in value:
                inner = _about(item, indent + "  ") if isinstance(item, Mapping) else [f"{indent}  {item}"]
                lines += [f"{indent}- {inner[0].strip()}", *inner[1:]] if inner else []
        else:
            lines.append(f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return lines


def _labels(labels: LabelSet) -> list[str]:
    return [f"  {label.id:3d}  {label.name:<16} {label.hex}" for label in labels.labels]


def _prepared(folder: Path) -> str:
    pictures = ImageSet.open(folder)
    lines = [f"{folder}: a prepared set of {len(pictures):,} pictures of {size_text(pictures.size)}"]
    if pictures.labels is None:
        return "\n".join([*lines, "masks: none"])
    return "\n".join([*lines, "masks: one a picture, with the labels", *_labels(pictures.labels)])


def _dataset(folder: Path) -> Description:
    about = read_json(folder / "dataset.json")
    there = sum(1 for _ in (folder / "images").glob("*.png"))
    lines = [
        f"{folder}: a data set of {there:,} {about.get('kind')} of {about.get('size')}x{about.get('size')} with exact masks "
        f"(seed {about.get('seed')}, framing {about.get('framing')})"
    ]
    lines += ["labels:", *_labels(LabelSet.load(folder / "labels.json")), *_about({"art": about.get("art", {})})]
    missing = about.get("count", there) - there
    return Description(
        "\n".join(lines), [f"{folder} lacks {missing:,} pictures: make it again with the same arguments to go on"] if missing > 0 else []
    )


def _run(folder: Path) -> Description:
    found, problems = checkpoints(folder), []
    lines = [f"{folder}: {'a finished stage' if (folder / 'stage.json').is_file() else 'a training run'}"]
    if found:
        state = read_json(found[-1] / "state.json")
        identity = state.get("identity", {})
        ended = "finished" if (folder / "stage.json").is_file() else "saved"
        lines[0] = f"{folder}: a run of the stage {identity.get('stage', 'unknown')}, {ended} at step {state.get('step', 0):,}"
        shown = {key: value for key, value in identity.items() if key != "stage"}
        lines += ["settings:", *_about(shown, "  ")] if shown else []
        if state.get("bad_steps"):
            lines.append(f"steps skipped because they were not finite: {state['bad_steps']}")
    last = _last_stats(folder / "stats.jsonl")
    if last:
        seconds = float(last.get("seconds", 0))
        lines.append(
            f"last statistics: step {last.get('step', 0):,}, {last.get('samples', 0):,} samples in {_duration(seconds)}, "
            f"{last.get('samples_per_second', 0)} samples/s"
        )
        known = ("step", "samples", "seconds", "samples_per_second", "bad_steps")
        lines += [f"  {key:<32}{value:.5g}" for key, value in last.items() if key not in known and isinstance(value, int | float)]
    if found or last:
        lines.append(f"checkpoints: {', '.join(path.name for path in found) or 'none yet'}")
    for part in sorted(folder.iterdir()):
        if (part / "config.json").is_file():
            try:
                lines.append(_model(part))
            except ProxymaskError as error:
                problems.append(str(error))
    for path in found:
        try:
            _tensors(path / "state.safetensors")
        except ProxymaskError as error:
            problems.append(str(error))
    grids = sorted((folder / "grids").glob("*.png"))
    if grids:
        lines.append(f"pictures of its progress: {len(grids)}, the last one {grids[-1]}")
    return Description("\n".join(lines), problems)


def _last_stats(path: Path) -> dict[str, Any]:
    if path.is_file():
        for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
            try:
                stats = json.loads(line)
            except json.JSONDecodeError:  # cut short by a kill
                continue
            if isinstance(stats, dict):
                return stats
    return {}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _model(folder: Path) -> str:
    stored = read_json(folder / "config.json")
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict) or "class" not in stored:
        raise ProxymaskError(f"{folder / 'config.json'} holds no model config of proxymask")
    count, numbers = _tensors(folder / "model.safetensors")
    lines = [f"{folder}: a saved {stored['class']} of {numbers:,} numbers in {count} tensors", *_about(stored["config"], "  ")]
    if stored["class"] == ProxyClusters.__name__:
        lines += [f"  {line}" for line in ProxyClusters.from_pretrained(folder).report().splitlines()]
    return "\n".join(lines)


def _tensors(path: Path) -> tuple[int, int]:
    """How many tensors, and numbers in them, a safetensors file holds; reads its header only, which a truncated file fails."""
    if not path.is_file():
        raise ProxymaskError(f"{path} is missing")
    try:
        with safe_open(path, framework="np") as opened:
            names = list(opened.keys())
            return len(names), sum(math.prod(opened.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise ProxymaskError(f"{path} is damaged or truncated ({error})") from None


def _samples(folder: Path, pictures: list[Path]) -> str:
    first = read_sidecar(pictures[0].with_suffix(".json"))
    painted = painted_masks(folder)
    return "\n".join(
        [
            f"{folder}: {len(pictures):,} samples of {size_text(first.resolution)}, with the latents they were made from",
            f"generator: {first.generator[:12]}",
            f"painted masks: {', '.join(painted) or 'none; paint one over NAME.png and save it as NAME.mask.png'}",
        ]
    )


def _file(file: Path, labels: LabelSet | None) -> Description:
    if file.suffix == ".safetensors":
        count, numbers = _tensors(file)
        return Description(f"{file}: {count} tensors with {numbers:,} numbers", [])
    if file.suffix == ".json":
        return Description(_json(file), [])
    info = identify(file)
    if info.is_checkpoint:
        return _checkpoint(info.with_sha256())
    near = labels or _labels_near(file)
    if near is not None:
        try:
            return Description(f"{file}: a mask\n{check_report(read_mask(file, near), near)}", [])
        except ProxymaskError:
            if labels is not None:  # asked for as a mask; labels that merely lie near may belong to other files
                raise
    return Description(_picture(file), [])


def _checkpoint(info: FileInfo) -> Description:
    """A checkpoint of another project, or what a file that is called one is instead."""
    detail = f" ({info.detail})" if info.detail else ""
    head = f"{info.path}: {info.kind}{detail}, {info.size / 1e6:,.1f} MB, sha256 {info.sha256 or 'unknown'}"
    if info.problem is not None:
        return Description(head, [info.problem])
    try:
        opened = open_checkpoint(info.path, sha256=False, info=info)
        return Description("\n".join([head, f"family: {opened.family}", *opened.text().splitlines()[1:]]), [])
    except ProxymaskError as error:
        return Description(head, [str(error).removeprefix(f"{info.path}: ")])


def _json(file: Path) -> str:
    stored = read_json(file)
    if isinstance(stored, dict) and "labels" in stored:
        labels = LabelSet.load(file)
        return "\n".join([f"{file}: {len(labels)} labels", *_labels(labels)])
    if isinstance(stored, dict) and "generator" in stored and "w" in stored:
        seed, psi = stored.get("seed"), stored.get("truncation")
        return f"{file}: the latent of a sample (seed {seed}, truncation {psi}) of generator {str(stored['generator'])[:12]}"
    raise ProxymaskError(f"{file} is JSON, but nothing that proxymask knows; give the folder it is in")


def _labels_near(file: Path) -> LabelSet | None:
    """The labels of the data set that a file lies in: ``labels.json`` beside or one folder up."""
    for folder in (file.parent, file.parent.parent):
        if (folder / "labels.json").is_file():
            return LabelSet.load(folder / "labels.json")
    return None


def _picture(file: Path) -> str:
    """A picture whose labels are not known: its ids or colours as they are."""
    picture = open_picture(file)
    kinds = {"P": "palette", "L": "grey", "RGB": "colour", "RGBA": "colour with transparency", "1": "black and white"}
    head = f"{file}: a {kinds.get(picture.mode, picture.mode)} picture of {picture.width}x{picture.height}"
    palette = np.array(picture.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
    values = np.asarray(picture if picture.mode in ("P", "L", "1") else picture.convert("RGB"))
    found, counts = np.unique(values.reshape(values.shape[0] * values.shape[1], -1).astype(np.uint8), axis=0, return_counts=True)
    if len(found) > 64:
        return f"{head} with {len(found):,} colours: a photo or drawing, no mask"
    lines = [f"{head} with {len(found)} values; add --bundle NAME to read it as a mask of that bundle"]
    for i in np.argsort(-counts, kind="stable"):
        if len(found[i]) == 3:
            shown = "#{:02x}{:02x}{:02x}".format(*found[i])
        elif picture.mode == "P" and found[i][0] < len(palette):
            shown = f"{found[i][0]:3d}  " + "#{:02x}{:02x}{:02x}".format(*palette[found[i][0]])
        else:
            shown = f"{found[i][0]:3d}"
        lines.append(f"  {shown}  {counts[i] / counts.sum():6.1%}")
    return "\n".join(lines)
