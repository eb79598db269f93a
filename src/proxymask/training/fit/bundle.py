"""The bundle that a ``fit`` writes."""

import shutil
from pathlib import Path
from typing import Any

from ...core.errors import ProxymaskError
from ...core.files import read_json, replace_folder, write_json
from ...core.hashing import file_hash
from ...inference.bundle import Bundle, check_bundle
from ..presets import preset_title
from .state import FitState, needed

KEPT = ("generator", "clusters", "rearranger")  # parts of a bundle that new labels do not change


def write_bundle(state: FitState) -> None:
    """Write what there is as a bundle to --out; with --bundle, the files of the parts that do not change are copied.

    Raises:
        ProxymaskError: it cannot be written, or the bundle changed while it was copied.
    """
    source = state.source
    bundle = Bundle(
        generator=needed(state.generator),
        cut=state.cut,
        clusters=needed(state.clusters),
        rearranger=needed(state.rearranger),
        labels=needed(state.labelled).labels if state.mapper is not None else None,
        segmenter=state.segmenter,
        name=state.config.name or (source.name if source is not None and state.in_place else state.out.name),
        about=_about(state),
    )
    _add_mappers(bundle, state)
    if source is None:
        bundle.save(state.out)
        return
    staging = bundle.save(state.work / "bundle")
    _copy_kept(needed(source.folder), staging)
    problems = check_bundle(staging)
    if problems:
        raise ProxymaskError(f"{staging}: {'; '.join(problems)}")
    replace_folder(staging, state.out)


def _add_mappers(bundle: Bundle, state: FitState) -> None:
    """Put in the mappers of --bundle with what belongs to them, and in the place of "mask" the new one.

    Where the labels are others than those of --bundle, its mappers that read labels are left out.
    """
    source = state.source
    if source is not None:
        bundle.mappers, bundle.conditions = dict(source.mappers), dict(source.conditions)
        bundle.details, bundle.extractors = dict(source.details), dict(source.extractors)
        for name in source.mappers if state.mapper is not None else ():
            of_labels = source.condition_of(name)["condition"] in ("mask", "scribble")
            if name == "mask" or (of_labels and source.labels != bundle.labels):
                bundle.remove_mapper(name)
    if state.mapper is not None:
        bundle.mappers["mask"] = state.mapper
    if state.detail is not None:
        bundle.details["mask"] = state.detail


def has_mapper(folder: Path) -> bool:
    """Whether ``folder`` is a bundle with a mapper."""
    return (folder / "bundle.json").is_file() and bool(read_json(folder / "bundle.json").get("mappers"))


def _about(state: FitState) -> dict[str, Any]:
    """What the bundle says about itself."""
    config, source = state.config, state.source
    about = dict(source.about) if source is not None else {}
    if source is None:
        about |= {"made by": "proxymask fit", "preset": preset_title(config.preset, state.resolution)}
        about |= {"generator": state.generator_hash, "proxy_mask_mode": state.preset.mapper.proxy_mask_mode}
        about |= {"pictures": len(state.pictures) if state.pictures is not None else "none; the generator's own samples"}
        if state.origin:
            about |= _origin(state.origin)
    if config.licence:
        about["licence"] = config.licence
    if state.mapper is not None and state.labelled is not None:
        about |= {"proxy_mask_mode": state.preset.mapper.proxy_mask_mode, "labelled samples": state.labelled.names}
    return about


def _origin(origin: dict[str, Any]) -> dict[str, str]:
    """What the model card says of an imported generator."""
    said = {
        "source of the generator": f"{origin.get('source')} ({origin.get('family')}), sha256 {origin.get('sha256') or 'unknown'}",
        "licence of the generator": origin.get("licence"),
        "licence notice in its file": " ".join(str(origin.get("licence notice", "")).split()),
    }
    return {key: str(value) for key, value in said.items() if value}


def _copy_kept(source: Path, target: Path) -> None:
    """Replace files in ``target`` by those of ``source``, byte for byte, where the part is the same, and correct bundle.json."""
    about, old = read_json(target / "bundle.json"), read_json(source / "bundle.json")["sha256"]
    for name in [name for name in about["sha256"] if name.startswith(tuple(f"{part}/" for part in KEPT))]:
        shutil.copyfile(source / name, target / name)
        about["sha256"][name] = file_hash(target / name)
        if about["sha256"][name] != old[name]:
            raise ProxymaskError(f"{source / name} changed while it was copied: copy the bundle again")
    write_json(target / "bundle.json", about)
