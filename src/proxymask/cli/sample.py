"""The verbs ``sample`` and ``transfer``: pictures of random latents, without a mask."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..core.checks import Checked, Range, Seed, check_value
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
    """Folder for the samples."""
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
        from ..inference.samples import write_samples

        check_value("seed", self.common.seed + self.count - 1, Seed)
        networks, seed = self._networks(), self.common.seed
        with progress("sampling") as report:
            written = write_samples(
                networks,
                range(seed, seed + self.count),
                self.out,
                with_proxy=self.with_proxy,
                with_labels=self.with_labels,
                truncation=self.truncation,
                noise_mode=self.noise_mode,
                progress=report,
            )
        print(f"{len(written):,} samples in {self.out}")

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
        cut = SplitGenerator(generator, generator.resolution).eval().requires_grad_(False)
        return SampleNetworks(cut, precision=resolve_precision(self.common.precision, device))


@dataclass(frozen=True)
class Transfer(Checked):
    """Write a picture with the layout of one sample in the style of another, without a mask.

    Examples:
      proxymask transfer --shape-seed 3 --style-seed 8 --out picture.png
    """

    shape_seed: Seed
    """Seed of the sample that gives the layout."""
    out: Path
    """Picture to write (.png, .jpg or .webp)."""
    style_seed: OptionalSeed = None
    """Seed of the sample that gives the style; the value of --seed if not given."""
    bundle: BundleName = "avatars"
    truncation: Truncation = 1.0
    seed_style: SeedStyle = None
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write the picture."""
        from ..imaging.pictures import picture_format, write_picture

        picture_format(self.out)
        synth = open_synthesizer(self.bundle, self.common, self.seed_style)
        style_seed = self.common.seed if self.style_seed is None else self.style_seed
        write_picture(self.out, synth.transfer(self.shape_seed, style_seed, self.truncation).picture)
        print(f"wrote {self.out}")
