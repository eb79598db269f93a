"""The arguments of ``fit``, checked before any work, and the networks that they name."""

import os
from pathlib import Path

from ...core.errors import ProxymaskError
from ...core.files import check_outside, restore_folder
from ...core.sizes import size_text
from ...data.dataset import ImageSet
from ...data.prepare import no_pictures, source_files
from ...inference.bundle import Bundle
from ...inference.find import find_bundle
from ...models.discriminator import Discriminator
from ...models.stylegan2_layers import check_resolution
from ..parts import check_class, check_colours, open_generator, source_notes
from .config import FitConfig
from .state import FitState


def check_arguments(config: FitConfig, work: Path) -> None:
    """A :class:`ProxymaskError` where arguments contradict each other, or name files that are missing or cannot be written."""
    if config.generator is not None and config.bundle is not None:
        raise ProxymaskError("--generator and --bundle both name a generator: give one of them")
    restore_folder(config.out)
    if config.generator is None and config.bundle is None and config.images is None:
        raise ProxymaskError("fit starts from something: give --images DIR, --generator DIR or --bundle NAME")
    if config.class_index is not None and config.generator is None:
        raise ProxymaskError("--class goes with --generator, which is not given: leave --class out")
    for flag, path in (("--images", config.images), ("--labels", config.labels), ("--samples", config.samples)):
        if path is not None and not path.is_dir():
            raise ProxymaskError(f"{flag} {path} is not a folder" if path.exists() else f"{flag} {path} does not exist")
    images = config.images
    if images is not None and not (images / "index.json").is_file() and not (listing := source_files(images)).files:
        raise no_pictures(images, listing)
    _check_out(config.out, work)
    check_outside(config.out, images)


def _check_out(out: Path, work: Path) -> None:
    for path in (out, work):
        if path.exists() and not path.is_dir():
            raise ProxymaskError(f"{path} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / "bundle.json").is_file():
        raise ProxymaskError(f"{out} is not empty and holds no bundle: choose another --out")
    parent = existing_folder(out.parent)
    if not os.access(parent, os.W_OK):
        raise ProxymaskError(f"{parent} cannot be written: choose another --out")


def open_inputs(state: FitState) -> None:
    """Open the bundle or the generator that is given, and find the size of the pictures and the cut.

    Raises:
        ProxymaskError: it cannot be opened, does not fit the other arguments, or the results would replace another bundle.
    """
    config = state.config
    has_bundle = (state.out / "bundle.json").is_file()
    if config.bundle is not None:
        _open_bundle(state, config.bundle)
    elif has_bundle and not state.work.is_dir():
        raise ProxymaskError(f"{state.out} holds a bundle already: choose another --out, or retrain its mapper with --bundle {state.out}")
    elif config.generator is not None:
        state.generator, state.discriminator, state.origin = open_generator(config.generator, config.class_index)
        for note in source_notes(config.generator, state.origin):
            state.report.say(f"note: {note}")
        check_class(state.generator)
        if config.images is not None:
            check_colours(state.generator)
    state.set_resolution(_resolution(state))
    state.cut = _cut(state)
    if config.bundle is not None and config.images is not None and not state.preset.mapper.lambda_adv:
        raise ProxymaskError(
            "--images: with --bundle only the adversarial loss of the mapper uses pictures, and it is off: leave --images out, or turn the "
            'loss on in a preset ({"mapper": {"lambda_adv": 1}})'
        )


def _open_bundle(state: FitState, name: str) -> None:
    """Take the networks of a bundle, and the discriminator of its rearranger if its work folder is there."""
    state.source = bundle = Bundle.load(name)
    state.generator, state.clusters, state.rearranger = bundle.generator, bundle.clusters, bundle.rearranger
    folder = Path(f"{find_bundle(name)}.work") / "rearranger" / "discriminator"
    if (folder / "config.json").is_file():
        found = Discriminator.from_pretrained(folder)
        state.discriminator = found if found.picture_size == bundle.generator.picture_size else None
    if (state.out / "bundle.json").is_file() and not state.work.is_dir() and not state.in_place:
        raise ProxymaskError(f"{state.out} holds another bundle: choose another --out")


def _resolution(state: FitState) -> int:
    config = state.config
    if state.generator is not None:
        if config.resolution not in (None, state.generator.resolution):
            raise ProxymaskError(f"--resolution {config.resolution}: this generator makes pictures of {state.generator.resolution}")
        return state.generator.resolution
    if config.resolution is not None:
        size = config.resolution
    elif config.images is not None and (config.images / "index.json").is_file():
        prepared = ImageSet.open(config.images).size
        if not isinstance(prepared, int):
            raise ProxymaskError(
                f"--images {config.images} is prepared at {size_text(prepared)}, and a new generator makes square pictures: "
                "prepare it at a square size, or give a generator of such pictures with --generator"
            )
        size = prepared
    else:
        size = state.preset.resolution
    check_resolution(size)
    return size


def _cut(state: FitState) -> int:
    config, resolution = state.config, state.resolution
    if state.source is not None:
        if config.cut not in (None, state.source.cut):
            raise ProxymaskError(f"--cut {config.cut}: this bundle is cut at {state.source.cut}")
        return state.source.cut
    cut = config.cut or state.preset.cut_for(resolution)
    if cut not in check_resolution(resolution)[1:]:
        raise ProxymaskError(f"--cut {cut}: {resolution}-pixel pictures can be cut at {check_resolution(resolution)[1:]}")
    return cut


def existing_folder(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
