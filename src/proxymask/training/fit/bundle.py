"""The bundle that a ``fit`` writes."""

import shutil
from pathlib import Path
from typing import Any

from ...core.errors import ProxymaskError, os_reason
from ...core.files import free_name, read_json, replace_folder, write_json
from ...core.hashing import file_hash, short_hash
from ...inference.bundle import Bundle, check_bundle
from ..presets import preset_title
from .state import FitState, needed

KEPT = ("generator", "clusters", "rearranger")  # parts of a bundle that new labels do not change


def write_bundle(state: FitState) -> str:
    """Write what there is as a bundle to --out; with --bundle, the files of the parts that do not change are copied.

    A bundle in --out that was changed since ``fit`` wrote it is copied to ``OUT.earlier-N`` first. The new one takes over what was added
    to it by ``bundle add``, and its README.md if somebody wrote that.

    Returns:
        What became of such a bundle; "" where there was none.

    Raises:
        ProxymaskError: it cannot be written, or the bundle changed while it was copied.
    """
    source, record = state.source, state.work / "written.json"
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
    if source is not None:
        _take_over(bundle, source)
    if state.mapper is not None:
        bundle.mappers["mask"] = state.mapper
    if state.detail is not None:
        bundle.details["mask"] = state.detail
    made, before = _staged(bundle, state), read_json(record) if record.is_file() else {}
    card, said = None, ""
    if (state.out / "bundle.json").is_file() and _files(state.out) not in (before, made):
        if made == before:
            shutil.rmtree(state.work / "bundle")
            return f"{state.out} was changed since fit wrote it, and fit has nothing new for it: it is left as it is"
        earlier = Bundle.load(state.out)
        left = [] if state.in_place else _take_over(bundle, earlier)
        card = earlier.written_card()
        if source is not None:
            _staged(bundle, state, card)
        aside = free_name(state.out.parent, f"{state.out.name}.earlier")
        try:
            shutil.copytree(state.out, aside)
        except OSError as error:
            raise ProxymaskError(
                f"cannot copy {state.out} to {aside} ({os_reason(error)}): make room, and run the same command again"
            ) from None
        said = f"{state.out} was changed since fit wrote it: as it was it is kept as {aside}; the new one has the mappers " + (
            bundle.mappers_text() + (f", without {', '.join(left)}, for other networks or labels" if left else "")
        )
    if source is not None:
        replace_folder(state.work / "bundle", state.out)
    else:
        bundle.save(state.out, card=card)
        shutil.rmtree(state.work / "bundle")
    write_json(record, made)  # last: after a kill before it the bundle is not taken for one that somebody changed
    return said


def _take_over(bundle: Bundle, source: Bundle) -> list[str]:
    """Give ``bundle`` the mappers of ``source`` but "mask", with what belongs to them.

    Returns:
        Names of the mappers that do not fit: of other networks, or reading other labels.
    """
    left = []
    same = all(short_hash(getattr(bundle, part)) == short_hash(getattr(source, part)) for part in KEPT)
    for name, mapper in source.mappers.items():
        if name in bundle.mappers or (name == "mask" and bundle.labels is not None):
            continue
        of_labels = name == "mask" or source.condition_of(name)["condition"] in ("mask", "scribble")
        if not same or (of_labels and bundle.labels not in (None, source.labels)):
            left.append(name)
            continue
        bundle.mappers[name] = mapper
        for parts in ("conditions", "details", "extractors"):
            if name in getattr(source, parts):
                getattr(bundle, parts)[name] = getattr(source, parts)[name]
    return left


def _staged(bundle: Bundle, state: FitState, card: str | None = None) -> dict[str, str]:
    """Write a bundle into the work folder; returns :func:`_files` of it."""
    staging = bundle.save(state.work / "bundle", card=card)
    if state.source is not None:
        _copy_kept(needed(state.source.folder), staging)
    problems = check_bundle(staging)
    if problems:
        raise ProxymaskError(f"{staging}: {'; '.join(problems)}")
    return _files(staging)


def _files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a bundle by name: of its networks as bundle.json has them, and of README.md as it is."""
    found = dict(read_json(folder / "bundle.json")["sha256"])
    card = folder / "README.md"
    return found | {card.name: file_hash(card) if card.is_file() else ""}


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
