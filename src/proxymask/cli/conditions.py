"""The verb ``condition``: the input that a mapper gets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from .options import BundleName, CommonSeed, OptionalName, OptionalPath, Seeded
from .streams import note

if TYPE_CHECKING:
    import torch

    from ..conditions import Condition as Kind
    from ..inference.bundle import Bundle


@dataclass(frozen=True)
class Condition(Checked):
    """Extract the sketch, edges or depth of a picture, or the scribble of a mask, as a mapper gets it.

    The result has the size at which its mapper reads it. It can be changed in any image editor and used as --input of proxymask generate.

    Examples:
      proxymask condition sketch photo.jpg --out sketch.png
      proxymask condition hed photo.jpg --extractor pidinet --out edges.png
      proxymask condition sketch drawing.png --drawn --out seen.png
      proxymask condition scribble mask.png --out scribble.png
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The condition: sketch, edges, hed, photo-sketch, depth, picture, scribble, mask, or FILE.py:NAME of your own."""
    picture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")]
    """The picture; a mask for the conditions scribble and mask."""
    out: Path
    """Picture to write (.png, .jpg, .webp, .bmp or .tif)."""
    bundle: BundleName = "avatars"
    drawn: bool = False
    """PICTURE is the condition itself, not a photo: show how it is read."""
    invert: bool = False
    """With --drawn: the drawing is white on black, or bright means far."""
    extractor: OptionalName = None
    """Extractor to use instead of the condition's own."""
    weights: OptionalPath = None
    """File or folder of the extractor's weights, if not in the weights cache."""
    common: CommonSeed = field(default_factory=Seeded)

    def run(self) -> None:
        """Write it."""
        from PIL import Image

        from ..core.files import check_not_input, files_in
        from ..core.threads import one_thread
        from ..imaging.pictures import check_writable, picture_format, write_picture
        from ..inference.synthesizer import Synthesizer

        picture_format(self.out)
        check_not_input(self.out, files_in(self.picture))
        if self.invert and not self.drawn:
            raise ProxymaskError("--invert is for drawings: add --drawn, or leave it out")
        check_writable(self.out.parent, self.out)
        synth = Synthesizer.from_pretrained(self.bundle, "cpu", "fp32")
        bundle, condition = synth.bundle, synth.condition(self.name, self.extractor, self.weights)
        try:
            with one_thread():
                planes, notes = self._read(condition, bundle)
        except ProxymaskError as error:  # of a photo as a drawing: this verb extracts from photos unless --drawn is given
            raise ProxymaskError(error.message.replace("add --from-photo", "leave --drawn out")) from None
        for found in notes:
            note(f"note: {self.picture}: {found}")
        write_picture(self.out, Image.fromarray(condition.show(planes)[0]))
        print(f"wrote {self.out}")

    def _read(self, condition: "Kind", bundle: "Bundle") -> "tuple[torch.Tensor, tuple[str, ...]]":
        """Planes (1, C, H, W) of the condition, and what was noticed."""
        import torch

        from ..conditions.scribble import COVERED, ScribbleCondition
        from ..imaging.masks import read_mask

        size = bundle.input_size(condition.name)
        if self.drawn or self.name == "mask":
            reading = condition.read(self.picture, size, self.invert)
        elif isinstance(condition, ScribbleCondition):
            assert bundle.labels is not None
            ids = torch.from_numpy(read_mask(self.picture, bundle.labels, size).copy()).long()[None]
            condition.covered = COVERED
            return condition.extract(torch.empty(0), ids, torch.Generator().manual_seed(self.common.seed)), ()
        else:
            reading = condition.read_photo(self.picture, size)
        return reading.planes[None], reading.notes
