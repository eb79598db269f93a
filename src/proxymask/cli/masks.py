"""The verbs ``mask check`` and ``examples``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from .hints import bundle_option, command_line
from .options import BundleName, OptionalPath


@dataclass(frozen=True)
class MaskCheck(Checked):
    """Check whether a mask can be used with a bundle, and draw how it is read.

    Prints the share of every class, and warns of what is too small to appear in the picture.

    Examples:
      proxymask mask check my-mask.png
      proxymask mask check my-mask.png --bundle my-bundle --over photo.png --out overlay.png
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MASK")]
    """The mask: a picture, JSON of labelme or COCO, or a folder: of masks, or with one black-and-white file for each class."""
    bundle: BundleName = "avatars"
    out: Path = Path("mask-check.png")
    """Picture to write: the classes in their colours over grey, with a legend. A folder, if there is one or the name has no suffix;
    for several masks, a folder of this name without suffix."""
    over: OptionalPath = None
    """Picture to draw the classes over instead of grey, for example the sample that was painted over."""

    strict: bool = False
    """Refuse a mask whose colours are not exactly those of the labels."""

    def run(self) -> None:
        """Print the report and write the overlay, of every mask in a folder."""
        from ..core.files import check_not_input, check_outside, files_in
        from ..imaging.mask_files import find_masks
        from ..imaging.pictures import check_writable, picture_format, write_picture
        from ..inference.mask_check import check_mask, read_target

        target = read_target(self.bundle)
        masks = find_masks(self.file, target.labels)
        several = len(masks) > 1
        named = bool(self.out.suffix) and not self.out.is_dir()
        if named:
            picture_format(self.out)
        folder = None if named and not several else self.out.with_suffix("") if named else self.out
        suffix = self.out.suffix if named else ".png"
        outs = [self.out if folder is None else folder / f"{mask.name}{suffix}" for mask in masks]
        inputs = [*(file for mask in masks for file in files_in(mask.path)), *([] if self.over is None else [self.over])]
        for out in outs:
            check_not_input(out, inputs)
        check_outside(self.out if folder is None else folder, self.file)
        check_writable(outs[0].parent, outs[0])
        bad = 0
        for mask, out in zip(masks, outs, strict=True):
            try:
                checked = check_mask(mask.path, target, self.over, self.strict)
            except ProxymaskError as error:
                if not several:
                    raise
                bad += 1
                print(f"cannot be used: {error.message}")
                continue
            print(f"{mask.path}: {checked.report}")
            for note in checked.notes:
                print(f"note: {note}")
            for problem in checked.problems:
                print(f"warning: {problem}")
            write_picture(out, checked.picture)
        if not several:
            print(f"the mask can be used; overlay: {outs[0]}")
        elif bad:
            raise ProxymaskError(f"{bad} of {len(masks)} masks cannot be used (named above); overlays of the others: {folder}")
        else:
            print(f"all {len(masks)} masks can be used; overlays: {folder}")


@dataclass(frozen=True)
class Examples(Checked):
    """Write the example masks of an embedded bundle, with their labels, to start painting from.

    OUT gets the masks as palette PNGs, labels.json with the id, name and colour of every class, and a README.md. A folder that
    holds files is refused.

    Examples:
      proxymask examples --out my-masks
    """

    out: Path
    """Folder for the masks; a new or an empty one."""
    bundle: BundleName = "avatars"

    def run(self) -> None:
        """Write the files, and print what to try next."""
        from ..imaging.mask_files import write_example_masks
        from ..inference.mask_check import read_target

        bundle = bundle_option(self.bundle)
        written = write_example_masks(self.out, read_target(self.bundle).labels, "".join(f" {word}" for word in bundle))
        print(f"{len(written)} masks with their labels in {self.out}")
        first = next((mask for mask in written if mask.stem == "beard"), written[0])
        print(f"next: {command_line('generate', *bundle, '--mask', first, '--out', 'picture.png')}")
