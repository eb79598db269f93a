"""The verb ``generate``: pictures from masks, or from other conditions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from ..core.checks import Checked, Range, Seed, check_value, either, nearest
from ..core.errors import ProxymaskError
from .hints import bundle_option, command_line
from .options import BundleName, Common, Computing, OptionalPath, OptionalSeed, SeedStyle, Truncation, open_synthesizer
from .progress import progress
from .streams import FileNotes, note

if TYPE_CHECKING:
    import torch

    from ..conditions import Reading
    from ..inference.detail_inputs import DetailInput
    from ..inference.style import Style
    from ..inference.synthesizer import Synthesizer

CHUNK = 64  # masks whose mapper outputs are kept at once; a style is computed once a chunk


@dataclass(frozen=True)
class Generate(Checked):
    """Paint pictures from masks, scribbles, sketches, edges or depth maps.

    A mask is a PNG whose values are label ids, or whose colours are the label colours of the bundle (proxymask inspect BUNDLE lists
    them). It has any size and the aspect ratio of the pictures. A folder of masks gives files named MASK__STYLE.png. Other inputs
    have any aspect ratio; docs/conditions.md describes each kind. Two inputs at once are joined: each decides where it is painted.

    Examples:
      proxymask generate --mask mask.png --out picture.png
      proxymask generate --mask mask.png --out pictures --style-seed 10 --count 5
      proxymask generate --mask masks --out pictures --bundle my-bundle
      proxymask generate --condition sketch --input drawing.png --out picture.png
      proxymask generate --condition sketch --input photo.jpg --from-photo --out picture.png
      proxymask generate --condition scribble sketch --input hair.png rest.png --out picture.png
    """

    out: Path
    """Picture to write; a folder if there are several inputs or styles."""
    mask: OptionalPath = None
    """A mask: a picture, JSON of labelme or COCO (FILE.json#IMAGE for one image), or a folder of masks."""
    condition: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="(mask)")] = ()
    """Kind of each --input: scribble, sketch, edges, hed, photo-sketch, depth, picture, mask, or FILE.py:NAME of your own."""
    input: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...", help_behavior_hint="(optional)")] = ()
    """A drawing, edge map or depth map for each --condition; with one --condition, folders of them too."""
    from_photo: bool = False
    """--input is a photo: extract the condition from it first."""
    invert: bool = False
    """Read --input as white on black, of depth as bright where it is far. Without this flag that is detected, and a note says so."""
    unpainted: Literal["mapper", "style"] = "mapper"
    """What decides where nothing is painted: the mapper, or the layout of the style's own sample."""
    extractor: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the mapper's)")] = None
    """With --from-photo: extractor to use instead of the one that the mapper was trained with."""
    weights: OptionalPath = None
    """With --from-photo: file or folder of the extractor's weights, if not in the weights cache."""
    bundle: BundleName = "avatars"
    style_seed: OptionalSeed = None
    """Seed of the first style; the value of --seed if not given."""
    count: Annotated[int, Range(1, 10**6)] = 1
    """Number of styles; their seeds follow --style-seed."""
    truncation: Truncation = 1.0
    mapper: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the one for the input)")] = None
    """Mapper of the bundle to use; proxymask inspect BUNDLE lists them."""
    strict: bool = False
    """Refuse masks whose colours are not exactly those of the labels; without this flag edges are read, and a note has their share."""
    details: Annotated[bool, tyro.conf.arg(help_behavior_hint="(without this flag they draw)")] = True
    """Leave the detail networks out, which draw thin parts and borders where the bundle has them."""
    seed_style: SeedStyle = None
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Read all inputs, then render them in every style."""
        self._check()
        if self.mask is not None:
            self._from_masks(self.mask)
        else:
            self._from_inputs()

    def _check(self) -> None:
        """Raise a :class:`ProxymaskError` where the flags contradict each other."""
        check_value("style_seed", self._styles()[-1], Seed)
        self._check_conditions()
        if self.mask is not None and (self.input or self.condition):
            raise ProxymaskError("give --mask, or --condition with --input, not both")
        if self.condition and not self.input:
            raise ProxymaskError("--condition needs --input, the file that it is drawn in")
        if not self.from_photo and self.condition and (self.extractor is not None or self.weights is not None):
            raise ProxymaskError("--extractor and --weights find the condition in a photo: add --from-photo, or leave them out")
        if self.mask is None and not self.input:
            raise ProxymaskError("there is no input: give --mask, or --condition with --input")
        if self.mask is not None:
            photo = {"--from-photo": self.from_photo, "--extractor": self.extractor is not None, "--weights": self.weights is not None}
            drawing = {"--invert": self.invert, "--unpainted": self.unpainted != "mapper"}
            if flag := next((name for name, given in photo.items() if given), None):
                raise ProxymaskError(
                    f"{flag} goes with a photo, and no mask is found in one: leave it out, or give --condition sketch --input"
                )
            if flag := next((name for name, given in drawing.items() if given), None):
                raise ProxymaskError(f"{flag} goes with --input: leave it out, or give --condition mask --input")
            return
        if self.strict:
            raise ProxymaskError("--strict goes with --mask: leave it out, or give --mask")
        names = self.condition or ("mask",)
        if len(names) != len(self.input):
            raise ProxymaskError(f"--condition names {len(names)} and --input {len(self.input)}: give one input for each condition")
        if len(names) > 1 and (self.mapper is not None or self.extractor is not None or self.weights is not None):
            raise ProxymaskError("--mapper, --extractor and --weights belong to one condition: leave them out, or give one condition")

    def _check_conditions(self) -> None:
        """Refuse names of conditions that do not exist; those of files and of bundles are found later."""
        if not self.condition or self.input:
            return
        from ..conditions import condition_names

        known = condition_names()
        for name in self.condition:
            if ".py:" not in name and name not in known:
                raise ProxymaskError(f"--condition {name}: unknown; use {either(known)}, or FILE.py:NAME{nearest(name, known)}")

    def _check_mapper(self, synth: "Synthesizer", mapper: str, reads: str) -> None:
        """Refuse a mapper that the bundle lacks, or that reads something else than the input."""
        bundle = synth.bundle
        if mapper not in bundle.mappers:
            near = nearest(mapper, bundle.mappers)
            raise ProxymaskError(f"--mapper {mapper}: the bundle {bundle.name} has no such mapper (it has: {bundle.mappers_text()}){near}")
        found = bundle.condition_of(mapper)["condition"]
        if found != reads:
            how = f"leave --mapper out, or give --condition {found} --input"
            raise ProxymaskError(f"--mapper {mapper} does not read {reads} (it reads {found}): {how}")

    def _check_details(self, synth: "Synthesizer", mappers: Sequence[str]) -> None:
        """Say where --no-details has no effect."""
        if not self.details and not any(name in synth.bundle.details for name in mappers):
            note(f"note: --no-details changes nothing: the bundle has no detail network for {either(mappers)}")

    def _styles(self) -> range:
        first = self.common.seed if self.style_seed is None else self.style_seed
        return range(first, first + self.count)

    def _from_masks(self, mask: Path) -> None:
        from ..core.files import check_outside, files_in
        from ..imaging.mask_files import find_masks
        from ..imaging.masks import read_mask_notes, resize_mask
        from ..inference.detail_inputs import mask_inputs
        from ..inference.mask_check import Target, mask_problems

        synth = open_synthesizer(self.bundle, self.common, self.seed_style)
        synth.use_details = self.details
        if synth.bundle.labels is None:
            raise ProxymaskError(
                f"--bundle {self.bundle} has no labels yet: train its mapper first (proxymask fit --bundle ... --labels ...)"
            )
        mapper = self.mapper or synth.bundle.mapper_for("mask")
        self._check_mapper(synth, mapper, "mask")
        self._check_details(synth, [mapper])
        files = find_masks(mask, synth.bundle.labels)
        within = len(files[0].path.parts) > len(mask.parts)  # a folder that holds one mask gives a folder too
        output = _Output.choose(self.out, len(files), self.count, "masks", within)
        output.check([file.name for file in files], self._styles(), [part for file in files for part in files_in(file.path)])
        check_outside(self.out, mask)
        good, bad, warned, notes = [], 0, 0, FileNotes()
        target = Target(synth.bundle.labels, synth.size, synth.bundle.clusters.size)
        for file in files:
            try:
                read = read_mask_notes(file.path, target.labels, strict=self.strict)
                ids = resize_mask(read.ids, target.pictures, str(file.path))
                good.append((file.name, ids))
            except ProxymaskError as error:
                if len(files) == 1:
                    raise
                bad += 1
                notes.say("skipped", f"skipped: {error.message}")
                continue
            problems = mask_problems(read, ids, target)
            warned += bool(problems)
            for found in (*read.notes, *(problems if len(files) == 1 else ())):
                notes.say(f"note: {found}", f"note: {file.path}: {found}")
        notes.end()
        if warned and len(files) > 1:
            check = command_line("mask", "check", mask, *bundle_option(self.bundle))
            note(f"note: parts of {warned} of the {len(files)} masks may not appear as painted; {check} lists them")
        done = 0
        with progress("rendering") as report:
            for start in range(0, len(good), CHUNK):
                mapped = [(name, ids, synth.map(ids[None], mapper)) for name, ids in good[start : start + CHUNK]]
                for style_seed in self._styles():
                    style = synth.make_style(style_seed, truncation=self.truncation)
                    for name, ids, logits in mapped:
                        painted = mask_inputs(ids[None], mapper)
                        output.write(name, style_seed, synth, logits, style, painted)
                        done += 1
                        report(done, len(good) * self.count)
        output.report(done, bad, len(files), "masks")

    def _from_inputs(self) -> None:
        from ..core.files import check_outside, files_in
        from ..inference.detail_inputs import reading_inputs

        synth = open_synthesizer(self.bundle, self.common, self.seed_style)
        synth.use_details = self.details
        kinds = [synth.condition(name, self.extractor, self.weights, self.mapper) for name in self.condition or ("mask",)]
        mappers = [self.mapper or synth.bundle.mapper_for(kind.name) for kind in kinds]
        for kind, mapper in zip(kinds, mappers, strict=True):
            self._check_mapper(synth, mapper, kind.name)
        self._check_details(synth, mappers)
        groups, left_out = self._groups(kinds[0].name)
        output = _Output.choose(self.out, len(groups), self.count, "inputs")
        output.check(
            [name for name, _ in groups], self._styles(), [part for _, paths in groups for path in paths for part in files_in(path)]
        )
        check_outside(self.out, *self.input)
        good: list[tuple[str, list[Reading]]] = []
        bad, notes = 0, FileNotes()
        for name, paths in groups:
            try:
                readings = [
                    synth.read_condition(path, kind, self.from_photo, self.invert, mapper)
                    for path, kind, mapper in zip(paths, kinds, mappers, strict=True)
                ]
            except ProxymaskError as error:
                if len(groups) == 1:
                    raise ProxymaskError(error.message + self._other_input(groups[0][1][0])) from None
                bad += 1
                notes.say("skipped", f"skipped: {error.message}")
                continue
            for path, reading in zip(paths, readings, strict=True):
                for found in reading.notes:
                    notes.say(f"note: {found}", f"note: {path}: {found}")
            good.append((name, readings))
        notes.end()
        done = 0
        with progress("rendering") as report:
            for style_seed in self._styles():
                style = synth.make_style(style_seed, truncation=self.truncation)
                for name, readings in good:
                    logits, painted = synth.mixed_logits(readings, mappers, style, self.unpainted), reading_inputs(readings, mappers)
                    output.write(name, style_seed, synth, logits, style, painted)
                    done += 1
                    report(done, len(good) * self.count)
        output.report(done, bad + left_out, len(groups) + left_out, "inputs")

    def _other_input(self, path: Path) -> str:
        """What else an input that cannot be read as a mask may be."""
        if self.condition and self.condition != ("mask",):
            return ""
        if path.is_dir():
            return "; a folder of whole masks is given with --mask"
        return "" if self.condition else "; if it is no mask, name its kind: --condition sketch, scribble, depth ..."

    def _groups(self, first_kind: str) -> tuple[list[tuple[str, Sequence[Path]]], int]:
        """The name and the files of every picture to paint, one file for each condition; and the number of files that cannot be opened."""
        from ..imaging.picture_files import distinct_names, list_pictures, picture_suffixes
        from ..imaging.reader import SUFFIXES

        folder = self.input[0]
        if len(self.input) > 1 or not folder.is_dir() or first_kind == "mask":
            return [(folder.stem, self.input)], 0
        found = list_pictures(folder, suffixes=SUFFIXES | set(NUMBERS)).files
        left_out = _say_left_out(folder, NUMBERS)
        if not found:
            raise ProxymaskError(f"--input {folder} holds no pictures ({picture_suffixes(NUMBERS)})")
        names = distinct_names([(path.relative_to(folder).with_suffix("").as_posix(), path) for path in found])
        return [(name, (path,)) for name, path in zip(names, found, strict=True)], left_out


NUMBERS = (".npy", ".pfm")
"""Suffixes of the files of numbers that are inputs of conditions, as those of pictures are."""


def _say_left_out(folder: Path, more: Sequence[str]) -> int:
    """Say what of a folder is not read, on standard error; returns the number of picture files that cannot be opened.

    ``more``: suffixes that are read as well as those of pictures.
    """
    from ..imaging.picture_files import list_pictures, others_text, skipped_lines
    from ..imaging.reader import SUFFIXES

    listing = list_pictures(folder, suffixes=SUFFIXES | set(more))
    for line in skipped_lines(listing.broken):
        note(line)
    if listing.others:
        note(f"note: {folder}: {others_text(listing.others)}")
    return len(listing.broken)


class _Output(NamedTuple):
    """Where the pictures go: the file ``out``, or a file NAME__STYLE.png for each in the folder ``out``."""

    out: Path
    folder: bool

    @classmethod
    def choose(cls, out: Path, inputs: int, styles: int, what: str, within: bool = False) -> "_Output":
        """A folder where there are several pictures or ``within`` says so; bad names are refused before any work is done."""
        from ..imaging.pictures import picture_format

        several = inputs * styles > 1 or within
        if several and out.suffix and not out.is_dir():
            raise ProxymaskError(f"--out {out}: there are {inputs * styles} pictures to write, so give a folder, without suffix")
        folder = several or out.is_dir() or not out.suffix
        if not folder:
            picture_format(out)
        return cls(out, folder)

    def path(self, name: str, style_seed: int) -> Path:
        """The file of one picture."""
        return self.out / f"{name}__{style_seed}.png" if self.folder else self.out

    def check(self, names: Sequence[str], styles: Sequence[int], inputs: Sequence[Path]) -> None:
        """A :class:`ProxymaskError` where a picture would replace an input."""
        from ..core.files import check_not_input
        from ..imaging.pictures import check_writable

        for name in names:
            for style_seed in styles:
                check_not_input(self.path(name, style_seed), inputs)
        check_writable(self.out if self.folder else self.out.parent, self.out)

    def write(
        self, name: str, style_seed: int, synth: "Synthesizer", logits: "torch.Tensor", style: "Style", painted: Sequence["DetailInput"]
    ) -> None:
        """Render the mapper's logits (1, K, h, w) in a style and write the picture; ``painted``: what they were made of."""
        from ..imaging.grids import to_uint8
        from ..imaging.pictures import from_pixels, write_picture

        picture = from_pixels(to_uint8(synth.render(synth.proxy_mask(logits, style, painted), style, painted))[0])
        write_picture(self.path(name, style_seed), picture)

    def report(self, done: int, bad: int, total: int, what: str) -> None:
        """Print what was written; a :class:`ProxymaskError` where inputs had to be skipped."""
        if done:
            print(f"{done:,} {'picture' if done == 1 else 'pictures'} in {self.out}" if self.folder else f"wrote {self.out}")
        if bad:
            others = "; the others are rendered" if bad < total else ""
            raise ProxymaskError(f"{bad} of {total} {what} could not be used (named above){others}")
