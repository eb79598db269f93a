"""The verbs ``mask check`` and ``examples``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .hints import command_line
from .options import BundleName, OptionalPath


@dataclass(frozen=True)
class MaskCheck:
    """Check whether a mask can be used with a bundle, and draw how it is read.

    Prints the share of every class, and warns of what is too small to appear in the picture.

    Examples:
      proxymask mask check my-mask.png
      proxymask mask check my-mask.png --bundle my-bundle --over photo.png --out overlay.png
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MASK")]
    """The mask: a file, or a folder with one black-and-white file for each class."""
    bundle: BundleName = "avatars"
    out: Path = Path("mask-check.png")
    """Picture to write: the classes in their colours over grey, with a legend."""
    over: OptionalPath = None
    """Picture to draw the classes over instead of grey, for example the sample that was painted over."""

    def run(self) -> None:
        """Print the report and write the overlay."""
        from ..core.files import check_not_input, files_in
        from ..imaging.pictures import picture_format, write_picture
        from ..inference.mask_check import check_mask, read_target

        picture_format(self.out)
        check_not_input(self.out, [*files_in(self.file), *([] if self.over is None else [self.over])])
        checked = check_mask(self.file, read_target(self.bundle), self.over)
        print(f"{self.file}: {checked.report}")
        for problem in checked.problems:
            print(f"warning: {problem}")
        write_picture(self.out, checked.picture)
        print(f"the mask can be used; overlay: {self.out}")


@dataclass(frozen=True)
class Examples:
    """Write the example masks of the embedded bundle, with their labels, to start painting from.

    OUT gets the masks as palette PNGs, labels.json with the id, name and colour of every class, and a README.md. A folder that
    holds files is refused.

    Examples:
      proxymask examples --out my-masks
    """

    out: Path
    """Folder for the masks; a new or an empty one."""

    def run(self) -> None:
        """Write the files, and print what to try next."""
        from ..data.avatars import AVATAR_LABELS
        from ..imaging.mask_files import write_example_masks

        written = write_example_masks(self.out, AVATAR_LABELS)
        print(f"{len(written)} masks with their labels in {self.out}")
        print(f"next: {command_line('generate', '--mask', self.out / 'beard.png', '--out', 'picture.png')}")
