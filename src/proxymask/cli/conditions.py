"""The verbs of conditions other than masks: ``condition``, ``bundle add``, and what ``generate`` does with ``--input``."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.errors import ProxymaskError
from .progress import progress
from .verbs import Common, Computing, OptionalPath, _open

if TYPE_CHECKING:
    from ..conditions import Reading
    from .verbs import Generate

OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(optional)")]


@dataclass(frozen=True)
class Condition:
    """What the mapper will see of a picture: its sketch, edges or depth; or the strokes of a mask, for scribble.

    The result has the size of the bundle's pictures and can be changed in any editor and given to generate as --input.

    Examples:
      proxymask condition sketch photo.jpg --out sketch.png
      proxymask condition hed photo.jpg --extractor pidinet --out edges.png
      proxymask condition sketch drawing.png --drawn --out seen.png
      proxymask condition scribble mask.png --out scribble.png
    """

    name: Annotated[str, tyro.conf.Positional]
    """sketch, edges, hed, photo-sketch, depth, picture, scribble, mask, or FILE.py:NAME of your own."""
    picture: Annotated[Path, tyro.conf.Positional]
    """The picture; for scribble and mask, a mask."""
    out: Path
    """The picture to write."""
    bundle: str = "avatars"
    """The model whose size and labels count: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    drawn: bool = False
    """PICTURE is the condition itself: show how it is understood."""
    invert: bool = False
    """With --drawn: it is white on black, or far is bright."""
    extractor: OptionalName = None
    """Another extractor than the condition's own."""
    weights: OptionalPath = None
    """The extractor's weights, where they do not lie in the usual place."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write it."""
        import torch
        from PIL import Image

        from ..conditions import get_condition
        from ..conditions.scribble import COVERED, ScribbleCondition
        from ..imaging.masks import read_mask
        from ..imaging.pictures import picture_format, write_picture
        from ..inference.synthesizer import Synthesizer

        picture_format(self.out)
        if self.invert and not self.drawn:
            raise ProxymaskError("--invert is for drawings: add --drawn, or leave it out")
        bundle = Synthesizer.from_pretrained(self.bundle, "cpu", "fp32").bundle
        known = [about for about in bundle.conditions.values() if about["condition"] == self.name.rpartition(":")[2]]
        condition = get_condition(self.name, bundle.labels, self.extractor, self.weights, known[0] if known else None)
        if self.drawn or self.name == "mask":
            reading = condition.read(self.picture, bundle.size, self.invert)
            planes, notes = reading.planes[None], reading.notes
        elif isinstance(condition, ScribbleCondition):
            assert bundle.labels is not None
            ids = torch.from_numpy(read_mask(self.picture, bundle.labels, bundle.size).copy()).long()[None]
            condition.covered = COVERED
            planes, notes = condition.extract(torch.empty(0), ids, torch.Generator().manual_seed(self.common.seed)), ()
        else:
            reading = condition.read_photo(self.picture, bundle.size)
            planes, notes = reading.planes[None], reading.notes
        for note in notes:
            print(f"note: {self.picture}: {note}", file=sys.stderr)
        write_picture(self.out, Image.fromarray(condition.show(planes)[0]))
        print(f"wrote {self.out}")


@dataclass(frozen=True)
class BundleAdd:
    """Puts a trained mapper into a bundle.

    Examples:
      proxymask bundle add runs/sketch --bundle avatars --out my-bundle
      proxymask generate --bundle my-bundle --condition sketch --input drawing.png --out picture.png
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """What proxymask train mapper wrote."""
    out: Path
    """The bundle to write; that of --bundle itself may be named."""
    bundle: str = "avatars"
    """The bundle to start from, whose generator, clusters and rearranger the mapper was trained with."""
    name: OptionalName = None
    """What the mapper is called in it; like its condition where not given."""

    def run(self) -> None:
        """Write the bundle."""
        from ..core.files import read_json
        from ..core.hashing import short_hash
        from ..inference.bundle import MASK, Bundle, find_bundle
        from ..models.mappers import OasisMapper, load_mapper
        from ..training.stages import find_part, mark_of

        bundle = Bundle.load(self.bundle)
        mapper = load_mapper(find_part(self.run_folder, "mapper"))
        file = self.run_folder / "condition.json"
        about = read_json(file) if file.is_file() else dict(MASK)
        if file.is_file() == isinstance(mapper, OasisMapper):
            raise ProxymaskError(f"{self.run_folder} is not what proxymask train mapper wrote: its condition.json and its mapper disagree")
        made_of = (mark_of(self.run_folder) or {}).get("identity", {})
        for part, module in (("generator", bundle.generator), ("clusters", bundle.clusters)):
            trained_with = made_of.get(part)
            if trained_with not in (None, short_hash(module)):
                raise ProxymaskError(
                    f"{self.run_folder} was trained with another {part} ({trained_with}) than {self.bundle} has: a mapper fits only its own"
                )
        if mapper.size != bundle.clusters.size or mapper.config["num_clusters"] != bundle.clusters.num_clusters:
            raise ProxymaskError(
                f"the mapper in {self.run_folder} makes other proxy masks than those of {self.bundle}: train it with that bundle"
            )
        name = self.name or about["condition"]
        mode, ours = about.pop("proxy_mask_mode", None), bundle.about.get("proxy_mask_mode", "soft")
        if mode not in (None, ours):
            print(f"note: it was trained with the proxy mask mode {mode!r}, this bundle uses {ours!r}", file=sys.stderr)
        bundle.mappers[name] = mapper
        bundle.conditions.pop(name, None)
        if about["condition"] != "mask":
            bundle.conditions[name] = about
        card = find_bundle(self.bundle) / "README.md"
        text = card.read_text(encoding="utf-8") if card.is_file() else None
        bundle.save(self.out, card=text)
        print(f"{self.out}: mappers {bundle.mappers_text()}")


def generate_from_inputs(args: "Generate") -> None:
    """``generate --condition NAME --input FILE``: one condition, from a file or a folder, or several joined, one file each."""
    from PIL import Image

    from ..imaging.grids import to_uint8
    from ..imaging.pictures import picture_format, write_picture
    from ..imaging.reader import SUFFIXES

    names, files = args.condition or ("mask",), args.input
    if args.mask is not None:
        raise ProxymaskError("give --mask, or --condition with --input, not both")
    if args.count < 1:
        raise ProxymaskError(f"--count must be 1 or more, got {args.count}")
    if len(names) != len(files):
        raise ProxymaskError(f"--condition names {len(names)} and --input {len(files)}: give one input for each condition")
    if len(names) > 1 and (args.mapper is not None or args.extractor is not None or args.weights is not None):
        raise ProxymaskError("--mapper, --extractor and --weights belong to one condition: leave them out, or give one condition")
    synth = _open(args.bundle, args.common)
    kinds = [synth.condition(name, args.extractor, args.weights) for name in names]
    mappers = [args.mapper or synth.bundle.mapper_for(kind.name) for kind in kinds]
    for kind, mapper in zip(kinds, mappers, strict=True):
        if mapper not in synth.bundle.mappers or synth.bundle.condition_of(mapper)["condition"] != kind.name:
            raise ProxymaskError(f"the mapper {mapper!r} does not read {kind.name}: leave --mapper out")
    groups: list[tuple[str, tuple[Path, ...]]]
    if len(files) == 1 and files[0].is_dir() and kinds[0].name != "mask":
        found = sorted(
            p for p in files[0].iterdir() if p.suffix.lower() in SUFFIXES | {".npy", ".tif", ".tiff"} and not p.name.startswith(".")
        )
        if not found:
            raise ProxymaskError(f"{files[0]} holds no pictures")
        groups = [(p.stem, (p,)) for p in found]
    else:
        groups = [(files[0].stem, tuple(files))]
    several = len(groups) * args.count > 1
    if several and args.out.suffix:
        raise ProxymaskError(f"--out {args.out}: there are {len(groups)} inputs in {args.count} styles, so give a folder, without suffix")
    into_folder = several or args.out.is_dir() or not args.out.suffix
    if not into_folder:
        picture_format(args.out)
    read: list[tuple[str, list[Reading]]] = []
    bad = 0
    for name, paths in groups:
        try:
            readings = [synth.read_condition(p, k, args.from_photo, args.invert) for p, k in zip(paths, kinds, strict=True)]
        except ProxymaskError as error:
            if len(groups) == 1:
                raise
            bad += 1
            print(f"skipped: {error}", file=sys.stderr)
            continue
        for path, reading in zip(paths, readings, strict=True):
            for note in reading.notes:
                print(f"note: {path}: {note}", file=sys.stderr)
        read.append((name, readings))
    first = args.common.seed if args.style_seed is None else args.style_seed
    done = 0
    with progress("rendering") as report:
        for style_seed in range(first, first + args.count):
            style = synth.make_style(style_seed, truncation=args.truncation)
            for name, readings in read:
                proxy = synth.proxy_mask(synth.mixed_logits(readings, mappers, style, args.unpainted), style)
                picture = Image.fromarray(to_uint8(synth.render(proxy, style))[0])
                write_picture(args.out / f"{name}__{style_seed}.png" if into_folder else args.out, picture)
                done += 1
                report(done, len(read) * args.count)
    print(f"{done:,} {'picture' if done == 1 else 'pictures'} in {args.out}" if into_folder else f"wrote {args.out}")
    if bad:
        raise ProxymaskError(f"{bad} of {len(groups)} inputs could not be used (named above); the others are rendered")
