"""The verbs ``sample`` and ``transfer``: pictures of random latents, without a mask."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..core.checks import Checked, Range, Seed, check_value
from ..core.errors import ProxymaskError
from .options import BundleName, ClassIndex, Common, Computing, OptionalPath, OptionalSeed, SeedStyle, Truncation, open_synthesizer
from .progress import progress
from .streams import note

if TYPE_CHECKING:
    from ..inference.samples import SampleNetworks


@dataclass(frozen=True)
class Sample(Checked):
    """Write samples of the generator, with their proxy masks and labels if wanted.

    Each picture NUMBER.png gets a file NUMBER.json with its latent. To label a sample for the few-shot segmenter, paint over
    000000.png in any image editor and save the mask as 000000.mask.png in the same folder.

    Examples:
      proxymask sample --count 16 --out samples
      proxymask sample --count 4 --out samples --with-proxy --with-labels
      proxymask sample --generator network.pkl --count 8 --truncation 0.7 --out samples
    """

    count: Annotated[int, Range(1, 10**7)]
    """Number of samples."""
    out: Path
    """Folder for the samples; for one sample also a picture."""
    bundle: BundleName = "avatars"
    with_proxy: bool = False
    """Also write the proxy mask of each sample."""
    with_labels: bool = False
    """Also write the semantic mask of each sample, predicted by the few-shot segmenter."""
    truncation: Truncation = 1.0
    generator: OptionalPath = None
    """A generator to use instead of a bundle: its run, an import, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: ClassIndex = None
    """Class of the samples, for a class-conditional generator."""
    seed_style: SeedStyle = None
    noise_mode: Literal["const", "random", "none"] = "const"
    """Noise inputs of the generator: const as stored in it, random new for every picture, or none."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write the samples."""
        from ..core.files import check_folder
        from ..core.text import counted
        from ..imaging.pictures import check_writable
        from ..inference.samples import other_files

        if self._is_one_picture():
            self._write_one()
            return
        check_folder(self.out)
        check_writable(self.out, self.out)
        with progress("sampling") as report:
            written = self._write(self.out, report)
        print(f"{counted(len(written), 'sample')} in {self.out}")
        older = other_files(self.out, written, self.with_proxy, self.with_labels)
        if older:
            listed = ", ".join(path.name for path in older[:3]) + (", ..." if len(older) > 3 else "")
            of_others = "file that is" if len(older) == 1 else "files that are"
            note(f"note: {self.out} also holds {len(older):,} {of_others} not of these samples ({listed})")

    def _is_one_picture(self) -> bool:
        """Whether ``--out`` names a picture, for one sample without masks."""
        from ..imaging.reader import SUFFIXES

        if self.out.is_dir() or self.out.suffix.lower() not in SUFFIXES:
            return False
        if self.count == 1 and not self.with_proxy and not self.with_labels:
            return True
        raise ProxymaskError(
            f"--out {self.out} is a picture, and samples go into a folder, NUMBER.png each: give a folder, as {self.out.with_suffix('')}"
        )

    def _write_one(self) -> None:
        from ..imaging.pictures import check_writable, picture_format, write_picture
        from ..imaging.reader import open_picture

        picture_format(self.out)
        check_writable(self.out.parent, self.out)
        with tempfile.TemporaryDirectory() as folder:
            written = self._write(Path(folder), None)
            write_picture(self.out, open_picture(written[0]))
        print(f"wrote {self.out}")

    def _write(self, out: Path, report: Callable[[int, int], None] | None) -> list[Path]:
        from ..inference.samples import write_samples

        check_value("seed", self.common.seed + self.count - 1, Seed)
        networks, seed = self._networks(), self.common.seed
        return write_samples(
            networks,
            range(seed, seed + self.count),
            out,
            with_proxy=self.with_proxy,
            with_labels=self.with_labels,
            truncation=self.truncation,
            noise_mode=self.noise_mode,
            progress=report,
        )

    def _networks(self) -> "SampleNetworks":
        """Those of the bundle, or the generator alone."""
        from ..inference.samples import SampleNetworks

        if self.generator is None:
            synth = open_synthesizer(self.bundle, self.common, self.seed_style)
            if self.class_index is not None:
                synth.bundle.generator.choose_class(self.class_index)
            return SampleNetworks.of(synth)
        import torch

        from ..core.device import resolve_device, resolve_precision
        from ..models.split_generator import SplitGenerator
        from ..training.parts import open_generator, source_notes

        torch.manual_seed(self.common.seed)
        device = resolve_device(self.common.device)
        generator, _, origin = open_generator(self.generator, self.class_index)
        for text in source_notes(self.generator, origin):
            note(f"note: {text}")
        generator.to(device)
        if self.seed_style is not None:
            generator.seed_style = self.seed_style
        split = SplitGenerator(generator, generator.resolution).eval().requires_grad_(False)
        return SampleNetworks(split, precision=resolve_precision(self.common.precision, device))


@dataclass(frozen=True)
class Transfer(Checked):
    """Write a picture with the layout of one sample in the style of another, without a mask.

    Examples:
      proxymask transfer --shape-seed 3 --style-seed 8 --out picture.png
    """

    shape_seed: Seed
    """Seed of the sample that gives the layout."""
    out: Path
    """Picture to write (.png, .jpg, .webp, .bmp or .tif)."""
    style_seed: OptionalSeed = None
    """Seed of the sample that gives the style; the value of --seed if not given."""
    bundle: BundleName = "avatars"
    truncation: Truncation = 1.0
    seed_style: SeedStyle = None
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write the picture."""
        from ..imaging.pictures import check_writable, picture_format, write_picture

        picture_format(self.out)
        check_writable(self.out.parent, self.out)
        synth = open_synthesizer(self.bundle, self.common, self.seed_style)
        style_seed = self.common.seed if self.style_seed is None else self.style_seed
        write_picture(self.out, synth.transfer(self.shape_seed, style_seed, self.truncation).picture)
        print(f"wrote {self.out}")
