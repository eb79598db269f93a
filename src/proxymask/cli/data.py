"""The verbs ``data avatars``, ``data cats``, ``data churches``, ``data bedrooms`` and ``data prepare``: data sets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..core.checks import Checked, Range
from .hints import command_line
from .options import CommonSeed, Seeded
from .progress import progress
from .streams import note

_OPTIONAL = tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")
SHOWN = 20  # skipped files that are named; of the others only the number is printed


@dataclass(frozen=True)
class _Drawn(Checked):
    count: Annotated[int, Range(1, 10**7)]
    """Number of pictures."""
    out: Path
    """Folder for images/, masks/ and labels.json. After a stop, the same command goes on."""
    size: Annotated[int, Range(8, 1024)] = 128
    """Side of the pictures in pixels, 8 to 1024; a power of two for training."""
    workers: Annotated[int | None, Range(1, 1024), _OPTIONAL] = None
    """Number of processes; all cores if not given."""
    depth: bool = False
    """Also write the exact depth as 16-bit grey pictures (depth/000000.png), white is nearest."""
    common: CommonSeed = field(default_factory=Seeded)

    def _make(self, kind: str, one: str, framing: str | None = None) -> None:
        from ..core.files import check_folder
        from ..core.text import counted
        from ..data.drawn_dataset import make_dataset

        check_folder(self.out)
        with progress(f"drawing {kind}") as report:
            make_dataset(self.out, kind, self.count, self.size, self.common.seed, framing, self.workers, report, self.depth)
        older = sum(1 for _ in (self.out / "images").glob("*.png")) - self.count
        if older > 0:
            note(f"note: {self.out} also holds {counted(older, one)} of an earlier call with a larger --count")
        print(f"{counted(self.count, one)} of {self.size}x{self.size} with their masks in {self.out}")
        side = 1 << self.size.bit_length() - 1
        size = () if side == self.size else ("--resolution", side)  # a generator makes pictures whose side is a power of two
        print(f"next: {command_line('fit', '--images', self.out / 'images', *size, '--out', 'my-bundle')}")


@dataclass(frozen=True)
class DataAvatars(_Drawn):
    """Draw portraits with exact masks of nine classes.

    The art is by Pablo Stanley, free for personal and commercial use. Needs pip install 'proxymask[data]'.

    Examples:
      proxymask data avatars --count 10000 --size 128 --out avatars-128
    """

    framing: Literal["head", "full"] = "head"
    """Part of the drawing: head is head and shoulders, full is the whole drawing."""

    def run(self) -> None:
        """Draw them."""
        self._make("avatars", "avatar", self.framing)


@dataclass(frozen=True)
class DataCats(_Drawn):
    """Draw cats with exact masks of six classes.

    The art is by David Revoy, CC-BY 4.0: name him where you show the pictures. Needs pip install 'proxymask[data]'.

    Examples:
      proxymask data cats --count 10000 --size 64 --out cats-64
    """

    framing: Literal["full"] = "full"
    """Part of the drawing: full is the whole drawing."""

    def run(self) -> None:
        """Draw them."""
        self._make("cats", "cat", self.framing)


@dataclass(frozen=True)
class DataChurches(_Drawn):
    """Render churches with exact masks of twelve classes.

    The scenes are made by this program, by chance: no art of others is in them. Needs the extra `scenes`, and no display.

    Examples:
      proxymask data churches --count 10000 --size 64 --out churches-64
    """

    def run(self) -> None:
        """Render them."""
        self._make("churches", "church")


@dataclass(frozen=True)
class DataBedrooms(_Drawn):
    """Render bedrooms with exact masks of fourteen classes.

    The scenes are made by this program, by chance: no art of others is in them. Needs the extra `scenes`, and no display.

    Examples:
      proxymask data bedrooms --count 10000 --size 64 --out bedrooms-64
    """

    def run(self) -> None:
        """Render them."""
        self._make("bedrooms", "bedroom")


@dataclass(frozen=True)
class DataPrepare(Checked):
    """Crop and resize a folder of pictures once, so that training reads them quickly.

    Takes PNG, JPEG, WebP, BMP, TIFF, GIF and PNM, also in subfolders, and crops to the centre. Files that cannot be read are named and
    skipped. If the folder is a data set with masks, the masks are prepared too.

    Examples:
      proxymask data prepare photos --size 128 --out photos-128
      proxymask data prepare landscapes --size 256 --height 128 --out landscapes-256x128
    """

    images: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of pictures."""
    out: Path
    """Folder for the prepared set."""
    size: Annotated[int, Range(8, 4096)] = 128
    """Side of the pictures in pixels; a power of two for training. With --height, the width."""
    height: Annotated[int | None, Range(8, 4096), _OPTIONAL] = None
    """Height of the pictures in pixels, for pictures that are not square."""
    strict: bool = False
    """Skip pictures whose mask holds colours that are not exactly those of the labels; otherwise edges are read, and a note has their
    share."""

    def run(self) -> None:
        """Prepare them, and print what was skipped."""
        from ..core.files import check_outside
        from ..core.sizes import size_text
        from ..core.text import counted
        from ..data.prepare import prepare_folder
        from ..imaging.picture_files import others_text, skipped_lines

        check_outside(self.out, self.images)
        with progress("reading files") as report:
            size = self.size if self.height is None else (self.height, self.size)
            done = prepare_folder(self.images, self.out, size, report, self.strict)
        for line in skipped_lines(done.skipped, SHOWN):
            note(line)
        for found in [*done.notes, others_text(done.others)] if done.others else done.notes:
            note(f"note: {found}")
        print(f"{counted(done.kept, 'picture')} of {size_text(size)} in {self.out}; {len(done.skipped):,} skipped")
