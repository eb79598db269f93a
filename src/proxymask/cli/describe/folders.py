"""Descriptions of folders: bundles, imports, data sets, samples and pictures; runs and models are in ``runs``."""

from collections.abc import Callable
from pathlib import Path

from ...checkpoints.formats.native import IMPORT_JSON
from ...checkpoints.loading import open_checkpoint
from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...core.sizes import size_text
from ...core.text import counted
from ...data.dataset import ImageSet
from ...imaging.labels import LabelSet
from ...imaging.mask_files import is_class_folder
from ...imaging.masks import check_report, read_mask
from ...imaging.picture_files import list_pictures, named, reason
from ...imaging.reader import open_picture, pixel_count
from ...inference.bundle import Bundle, check_bundle
from ...inference.samples import painted_masks, read_sidecar
from ...training.checkpoint import checkpoints
from ..hints import command_line
from .evaluations import describe_metrics
from .runs import describe_judge, describe_model, describe_run
from .text import Description, json_lines, label_lines, plain


def describe_folder(folder: Path, labels: LabelSet | None) -> Description:
    """A folder, by the first file of :data:`KINDS` in it, else by its subfolders or pictures.

    Raises:
        ProxymaskError: nothing that is known.
    """
    for name, function in KINDS.items():
        if (folder / name).is_file():
            return function(folder)
    if checkpoints(folder):
        return describe_run(folder)
    if (folder / SHEET).is_file() and (folder / "pictures").is_dir():
        return plain(_demo(folder))
    parts = [part for part in sorted(folder.iterdir()) if part.is_dir() and _is_known(part)]
    if parts:
        described = [describe_folder(part, labels) for part in parts]
        if all(part.name.startswith(".") for part in parts) and list_pictures(folder).files:  # what fit has prepared of these pictures
            described.insert(0, plain(_pictures(folder, labels)))
        return Description("\n\n".join(d.text for d in described), [problem for d in described for problem in d.problems])
    return plain(_pictures(folder, labels))


def _is_known(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*KINDS, "000000.json")) or bool(checkpoints(folder))


def _bundle(folder: Path) -> Description:
    problems = check_bundle(folder)
    if problems:
        return Description(f"{folder}: a bundle that cannot be used", problems)
    bundle = Bundle.load(folder)
    made = read_json(folder / "bundle.json").get("proxymask", "an unknown version")
    lines = [
        f"{folder}: a complete bundle, all files unchanged since proxymask {made} wrote them",
        f"name: {bundle.name}",
        f"pictures: {size_text(bundle.size)}, the generator cut at {bundle.cut}",
        f"mappers: {bundle.mappers_text() if bundle.mappers else 'none yet: it cannot read masks'}",
        f"detail networks: {bundle.details_text()}",
        "parameters:",
    ]
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in bundle.parts().items()}
    sizes["clusters"] = bundle.clusters.centroids.numel()
    wide = max(map(len, sizes))
    lines += [f"  {name:<{wide}}{size:>12,}" for name, size in sizes.items()]
    lines += ["labels: none yet"] if bundle.labels is None else ["labels:", *label_lines(bundle.labels)]
    lines += ["proxy clusters:", *(f"  {line}" for line in bundle.clusters.summary())]
    lines += json_lines(bundle.about)
    if (folder / "README.md").is_file():
        lines.append(f"model card: {folder / 'README.md'}")
    return plain("\n".join(lines))


def _import(folder: Path) -> Description:
    return plain(open_checkpoint(folder).text())


def _prepared(folder: Path) -> Description:
    pictures = ImageSet.open(folder)
    lines = [f"{folder}: a prepared set of {counted(len(pictures), 'picture')} of {size_text(pictures.size)}"]
    lines += ["masks: none"] if pictures.labels is None else ["masks: one for each picture, with the labels", *label_lines(pictures.labels)]
    return plain("\n".join(lines))


def _evaluation(folder: Path) -> Description:
    """What ``proxymask evaluate`` wrote."""
    return plain(describe_metrics(folder / "metrics.json"))


def _dataset(folder: Path) -> Description:
    about = read_json(folder / "dataset.json")
    there = sum(1 for _ in (folder / "images").glob("*.png"))
    framing = f", framing {about['framing']}" if about.get("framing") else ""
    lines = [
        f"{folder}: a data set of {there:,} {about.get('kind')} of {about.get('size')}x{about.get('size')} with exact masks "
        f"(seed {about.get('seed')}{framing})"
    ]
    lines += ["labels:", *label_lines(LabelSet.load(folder / "labels.json")), *json_lines({"art": about.get("art", {})})]
    missing = about.get("count", there) - there
    problems = [f"{folder} lacks {counted(missing, 'picture')}: run proxymask data with the same arguments again"] if missing > 0 else []
    return Description("\n".join(lines), problems)


def _model(folder: Path) -> Description:
    return plain(describe_model(folder))


def _checkpoint(folder: Path) -> Description:
    step = read_json(folder / "state.json").get("step")
    return plain(f"{folder}: a checkpoint at step {step}; its run: {command_line('inspect', folder.parent)}")


def _pictures(folder: Path, labels: LabelSet | None) -> str:
    pictures, below = list_pictures(folder, below=False).files, list_pictures(folder).files
    if not below:
        raise ProxymaskError(f"{folder} holds nothing that proxymask knows: no bundle, run, model, data set or pictures")
    samples = [file for file in pictures if file.with_suffix(".json").is_file()]
    if samples:
        return _samples(folder, samples)
    if labels is not None and is_class_folder(pictures, labels):
        return f"{folder}: a mask, one file for each class\n{check_report(read_mask(folder, labels), labels)}"
    if (folder / "labels.json").is_file():
        own = LabelSet.load(folder / "labels.json")
        return "\n".join([f"{folder}: a folder of {_usable(below)} with labels.json:", *label_lines(own)])
    prepare = command_line("data", "prepare", folder, "--size", 128, "--out", "prepared")
    return f"{folder}: a folder of {_usable(below)}; to make a prepared set of it: {prepare}"


def _usable(pictures: list[Path]) -> str:
    """``40 pictures``, or ``40 pictures, of which 30 cannot be opened (007.png is a Git LFS pointer, ...)``."""
    bad = [file for file in pictures if not pixel_count(file)]
    if not bad:
        return counted(len(pictures), "picture")
    try:
        open_picture(bad[0])
        why = ""
    except ProxymaskError as error:
        why = f" ({named(bad[0].name, reason(bad[0], error.message))})"
    return f"{counted(len(pictures), 'picture')}, of which {len(bad):,} cannot be opened{why}"


def _demo(folder: Path) -> str:
    """What ``proxymask demo`` wrote."""
    pictures, styles = (len(list_pictures(folder / name).files) for name in ("pictures", "styles"))
    sheet = f"contact sheet: {folder / SHEET}"
    return f"{folder}: what proxymask demo wrote, {counted(pictures, 'picture')} in {counted(styles, 'style')}\n{sheet}"


def _samples(folder: Path, pictures: list[Path]) -> str:
    first = read_sidecar(pictures[0].with_suffix(".json"))
    painted = painted_masks(folder)
    return "\n".join(
        [
            f"{folder}: {counted(len(pictures), 'sample')} of {size_text(first.resolution)}, with their latents",
            f"generator: {first.generator[:12]}",
            f"painted masks: {', '.join(painted) or 'none; paint over NAME.png and save it as NAME.mask.png'}",
        ]
    )


SHEET = "contact_sheet.png"  # of a demo
KINDS: dict[str, Callable[[Path], Description]] = {
    "bundle.json": _bundle,
    IMPORT_JSON: _import,
    "metrics.json": _evaluation,
    "index.json": _prepared,
    "dataset.json": _dataset,
    "judge.json": describe_judge,
    "stats.jsonl": describe_run,
    "stage.json": describe_run,
    "config.json": _model,
    "state.json": _checkpoint,
}
"""How a folder is recognised: the file that only folders of one kind have; the first one that is there counts."""
