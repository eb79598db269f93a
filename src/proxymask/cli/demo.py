"""The verb ``demo``."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..core.checks import Checked, Range
from .hints import bundle_option, command_line, near
from .options import BundleName, Common, Computing, OptionalPath, Truncation, open_synthesizer
from .progress import progress

if TYPE_CHECKING:
    from ..imaging.labels import LabelSet

DEFAULT_BUNDLE = "avatars"


@dataclass(frozen=True)
class Demo(Checked):
    """Render example masks in several styles.

    Writes the pictures, the samples of the styles, the proxy masks, and a contact sheet that shows them together.

    Examples:
      proxymask demo
      proxymask demo --bundle churches
      proxymask demo --out my-demo --masks my-masks --styles 4
    """

    out: OptionalPath = None
    """Folder for the results; without it `demo`, and `demo/NAME` for other bundles than avatars."""
    bundle: BundleName = DEFAULT_BUNDLE
    masks: OptionalPath = None
    """A mask file or a folder of masks to render instead of the examples; needed where there are no examples with the bundle's classes."""
    styles: Annotated[int, Range(1, 64)] = 6
    """Number of styles; styles that differ are chosen."""
    truncation: Truncation = 1.0
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Render everything, then print where it is and what to try next."""
        from ..core.files import check_folder
        from .demo_pictures import run_demo

        out = self.out or (Path("demo") if self.bundle == DEFAULT_BUNDLE else Path("demo") / Path(self.bundle).name)
        check_folder(out)
        synth = open_synthesizer(self.bundle, self.common)
        with progress("rendering") as report:
            sheet = run_demo(synth, out, self.masks, self.styles, self.common.seed, self.truncation, report)
        print(f"\nThe contact sheet:  {sheet}")
        print(f"Every picture:      {out / 'pictures'}")
        assert synth.bundle.labels is not None  # run_demo needs them
        self._print_next(synth.bundle.labels)

    def _print_next(self, labels: "LabelSet") -> None:
        from ..imaging.mask_files import examples_with, find_masks

        bundle = bundle_option(self.bundle)
        masks = self.masks or examples_with(labels)
        assert masks is not None  # run_demo needs them
        with warnings.catch_warnings():  # said before
            warnings.simplefilter("ignore")
            mask = near(find_masks(masks, labels)[0 if self.masks else -1].path)  # the last example is a free-form one
        print("\nWhat to try next:")
        print("  a mask in another style")
        print(f"    {command_line('generate', *bundle, '--mask', mask, '--style-seed', 7, '--out', 'picture.png')}")
        print(f"  your own mask: paint over a copy of {mask} in any image editor, then")
        print(f"    {command_line('mask', 'check', 'my-mask.png', *bundle)}")
        if self.masks is None:
            print("  the example masks in a folder of yours")
            print(f"    {command_line('examples', *bundle, '--out', 'my-masks')}")
        print("  pictures without a mask")
        print(f"    {command_line('sample', *bundle, '--count', 16, '--out', 'samples', '--with-proxy')}")
