"""Descriptions of single files: weights, JSON, checkpoints of other projects, masks and pictures."""

from pathlib import Path

import numpy as np

from ...checkpoints.identify import FileInfo, identify
from ...checkpoints.loading import open_checkpoint
from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...imaging.bit_depth import DEEP_MODES
from ...imaging.labels import LabelSet, labels_file_near
from ...imaging.mask_forms.coco import SEPARATOR, is_coco
from ...imaging.mask_forms.labelme import is_labelme
from ...imaging.masks import check_report, read_mask
from ...imaging.reader import SUFFIXES, on_white, open_picture, stored_array
from .evaluations import describe_metrics
from .text import Description, count_tensors, label_lines, plain

MODES = {
    "P": "palette",
    "L": "grey",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "1": "black and white",
    "I;16": "16-bit grey",
}  # Pillow
MOST_VALUES = 64  # a picture with more colours than this is not a mask


def describe_file(file: Path, labels: LabelSet | None) -> Description:
    """A file; pictures are read as masks where ``labels`` are given, or lie in the folder of the file or in its parent."""
    if file.suffix == ".safetensors":
        count, values = count_tensors(file)
        return plain(f"{file}: {count} tensors with {values:,} numbers")
    if file.suffix == ".json":
        return plain(_json(file, labels or _labels_near(file)))
    numbers = file.suffix.lower() == ".npy"
    info = identify(file)
    if info.is_checkpoint and not numbers:
        return _checkpoint(info.with_sha256())
    if not numbers and info.kind == "text" and file.suffix.lower() not in SUFFIXES:
        raise ProxymaskError(f"{file} is a text file: inspect knows bundles, runs, checkpoints, data sets, samples and masks")
    near = labels or _labels_near(file)
    if near is not None:
        try:
            return plain(f"{file}: a mask\n{check_report(read_mask(file, near), near)}")
        except ProxymaskError:
            if labels is not None:  # labels that only lie near may belong to other files
                raise
    return plain(_array(file) if numbers else _picture(file))


def _checkpoint(info: FileInfo) -> Description:
    """A checkpoint of another project, or what a file with such a suffix is instead."""
    detail = f" ({info.detail})" if info.detail else ""
    head = f"{info.path}: {info.kind}{detail}, {info.size / 1e6:,.1f} MB, sha256 {info.sha256 or 'unknown'}"
    if info.problem is not None:
        return Description(head, [info.problem])
    try:
        opened = open_checkpoint(info.path, sha256=False, info=info)
        return plain("\n".join([head, f"family: {opened.family}", *opened.text().splitlines()[1:]]))
    except ProxymaskError as error:
        return Description(head, [error.message.removeprefix(f"{info.path}: ")])


def _json(file: Path, labels: LabelSet | None) -> str:
    stored = read_json(file)
    if isinstance(stored, dict) and "labels" in stored:
        labels = LabelSet.load(file)
        return "\n".join([f"{file}: {len(labels)} labels", *label_lines(labels)])
    if isinstance(stored, dict) and {"about", "numbers"} <= stored.keys():
        return describe_metrics(file)
    if isinstance(stored, dict) and "generator" in stored and "w" in stored:
        seed, psi = stored.get("seed"), stored.get("truncation")
        return f"{file}: the latent of a sample (seed {seed}, truncation {psi}) of generator {str(stored['generator'])[:12]}"
    if is_coco(stored):
        images = f"{len(stored['images']):,} images"
        return f"{file}: COCO annotations of {images}; {SEPARATOR}IMAGE after its name is a mask for generate and mask check"
    if is_labelme(stored):
        head = f"{file}: a mask, {len(stored['shapes']):,} shapes of labelme"
        return head if labels is None else f"{head}\n{check_report(read_mask(file, labels), labels)}"
    raise ProxymaskError(f"{file} is JSON, but of no known kind: inspect the folder it is in")


def _labels_near(file: Path) -> LabelSet | None:
    """The labels of the data set that a file lies in."""
    near = labels_file_near(file)
    return None if near is None else LabelSet.load(near)


def _array(file: Path) -> str:
    """An array of NumPy: depth, or ids of a mask."""
    array = stored_array(file)
    assert array is not None
    head = f"{file}: a NumPy array, {array.dtype} of shape {array.shape}"
    finite = array[np.isfinite(array)] if np.issubdtype(array.dtype, np.number) else array[:0]
    return f"{head}, from {finite.min():g} to {finite.max():g}" if finite.size else head


def _picture(file: Path) -> str:
    """A picture whose labels are not known: its ids or colours, the most frequent first."""
    picture = open_picture(file)
    head = f"{file}: a {MODES.get(picture.mode, picture.mode)} picture of {picture.width}x{picture.height}"
    palette = np.array(picture.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
    values = np.asarray(picture if picture.mode in ("P", "L", "1", *DEEP_MODES) else on_white(picture))
    if values.ndim == 3:
        values = (values[..., 0].astype(np.int32) << 16) | (values[..., 1].astype(np.int32) << 8) | values[..., 2]
        packed, counts = np.unique(values, return_counts=True)
        found = np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=-1)
    else:
        single, counts = np.unique(values, return_counts=True)
        found = single[:, None]
    if len(found) > MOST_VALUES:
        return f"{head} with {len(found):,} colours: a photo or drawing, not a mask"
    lines = [f"{head} with {len(found)} values; add --bundle NAME to read it as a mask of that bundle"]
    for i in np.argsort(-counts, kind="stable"):
        if len(found[i]) == 3:
            shown = "#{:02x}{:02x}{:02x}".format(*found[i])
        elif picture.mode == "P" and found[i][0] < len(palette):
            shown = f"{found[i][0]:3d}  " + "#{:02x}{:02x}{:02x}".format(*palette[found[i][0]])
        else:
            shown = f"{found[i][0]:3g}"
        lines.append(f"  {shown}  {counts[i] / counts.sum():6.1%}")
    return "\n".join(lines)
