"""The verbs that make, check and describe pictures, masks and data sets. PyTorch is imported only where a verb runs."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import ProxymaskError
from .progress import progress

if TYPE_CHECKING:
    from ..inference.synthesizer import Synthesizer
    from ..models.split_generator import SplitGenerator

Number = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")]


@dataclass(frozen=True)
class Seeded:
    """Common to all verbs."""

    seed: int = 0
    """All that is random follows from it: the same seed gives the same files on the same machine."""


@dataclass(frozen=True)
class Computing(Seeded):
    """Common to the verbs that compute pictures."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes an NVIDIA GPU, then an Apple GPU, then the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto is bf16 where the hardware has it, fp32 elsewhere."""


ClassIndex = Annotated[int | None, tyro.conf.arg(name="class", metavar="INT", help_behavior_hint="(optional)")]
SeedStyles = Annotated[Literal["nvidia", "torch"] | None, tyro.conf.arg(metavar="{nvidia,torch}", help_behavior_hint="(optional)")]
Common = Annotated[Computing, tyro.conf.arg(name="")]
CommonSeed = Annotated[Seeded, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Demo:
    """See it work: renders example masks in several styles.

    Writes the pictures, the styles' own samples, the proxy masks and one contact sheet that shows them together.

    Examples:
      proxymask demo
      proxymask demo --out my-demo --masks my-masks --styles 4
    """

    out: Path = Path("demo")
    """Folder for the results."""
    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    masks: OptionalPath = None
    """A mask file or a folder of masks instead of the examples."""
    styles: int = 6
    """How many styles; they are chosen to differ."""
    truncation: float = 1.0
    """Psi: 1 takes styles as they come, smaller ones nearer to the average."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Render everything, then say where it is and what to try next."""
        from ..imaging.mask_files import example_masks
        from .demo import run_demo

        synth = _open(self.bundle, self.common)
        with progress("rendering") as report:
            sheet = run_demo(synth, self.out, self.masks, self.styles, self.common.seed, self.truncation, report)
        command, folder = _command(), _near(self.masks or example_masks())
        named = "" if self.bundle == "avatars" else f" --bundle {self.bundle}"
        mask = folder / "free-form" / "three-eyes.png" if self.masks is None else folder
        print(f"\nThe contact sheet:  {sheet}")
        print(f"Every picture:      {self.out / 'pictures'}")
        print("\nWhat to try next:")
        print(f"  a mask in another style     {command} generate{named} --mask {mask} --style-seed 7 --out picture.png")
        print(f"  your own mask: paint over a copy of {mask} in any editor, then")
        print(f"                              {command} mask check my-mask.png --bundle {self.bundle}")
        print(f"  pictures without a mask     {command} sample{named} --count 16 --out samples --with-proxy")


@dataclass(frozen=True)
class Generate:
    """Pictures from masks, scribbles, sketches, edges or depth maps: each in each style.

    A mask is a PNG whose values are label ids, or whose colours are those of the bundle's labels (proxymask inspect BUNDLE lists
    them); any size, in the shape of the pictures (square, unless the generator's are not). A folder of masks is rendered whole, to
    files named MASK__STYLE.png. Other inputs may have any aspect ratio; what each kind looks like, docs/conditions.md says. Two kinds
    at once share the picture by what is painted in each.

    Examples:
      proxymask generate --mask mask.png --out picture.png
      proxymask generate --mask mask.png --out pictures --style-seed 10 --count 5
      proxymask generate --mask masks --out pictures --bundle my-bundle
      proxymask generate --condition sketch --input drawing.png --out picture.png
      proxymask generate --condition sketch --input photo.jpg --from-photo --out picture.png
      proxymask generate --condition scribble sketch --input hair.png rest.png --out picture.png
    """

    out: Path
    """The picture to write; a folder where there are several inputs or styles."""
    mask: OptionalPath = None
    """A mask file, or a folder of masks."""
    condition: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="(mask)")] = ()
    """What --input is: scribble, sketch, edges, hed, photo-sketch, depth, picture, mask, or FILE.py:NAME of your own; or two of them."""
    input: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...", help_behavior_hint="(optional)")] = ()
    """The drawing, edge map or depth map (or a folder of them); one for each condition."""
    from_photo: bool = False
    """--input is a picture, from which the condition is extracted first."""
    invert: bool = False
    """--input is white on black, or far is bright; otherwise this is noticed by itself, and said."""
    unpainted: Literal["mapper", "style"] = "mapper"
    """What stands where nothing is painted: what the mapper believes, or the style's own layout."""
    extractor: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the one it was trained with)")] = None
    """With --from-photo: another extractor."""
    weights: OptionalPath = None
    """With --from-photo: the extractor's weights, where they do not lie in the usual place."""
    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    style_seed: Number = None
    """The first style; that of --seed where not given."""
    count: int = 1
    """How many styles: the first one, and the next seeds."""
    truncation: float = 1.0
    """Psi: 1 takes styles as they come, smaller ones nearer to the average."""
    mapper: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the one for the input)")] = None
    """Which of the bundle's mappers; proxymask inspect BUNDLE lists them."""
    seed_style: SeedStyles = None
    """How a seed becomes a style, to compare with other tools: nvidia (RandomState) or torch; the generator's own where not given."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Read all inputs, then render them in every style."""
        if self.input or self.condition:
            from .conditions import generate_from_inputs

            if not self.input:
                raise ProxymaskError("--condition needs --input, the file that it is drawn in")
            generate_from_inputs(self)
            return
        if self.mask is None:
            raise ProxymaskError("there is nothing to paint from: give --mask, or --condition with --input")
        if self.from_photo or self.invert or self.unpainted != "mapper" or self.extractor is not None or self.weights is not None:
            raise ProxymaskError(
                "--from-photo, --invert, --unpainted, --extractor and --weights go with --input: give --condition mask --input"
            )
        self._masks(self.mask)

    def _masks(self, mask: Path) -> None:

        from ..imaging.grids import to_uint8
        from ..imaging.mask_files import find_masks
        from ..imaging.pictures import from_pixels, picture_format, write_picture

        if self.count < 1:
            raise ProxymaskError(f"--count must be 1 or more, got {self.count}")
        synth = _open(self.bundle, self.common, self.seed_style)
        if synth.bundle.labels is None:
            raise ProxymaskError(
                f"the bundle {self.bundle} has no labels yet: train its mapper first (proxymask fit --bundle ... --labels ...)"
            )
        files = find_masks(mask, synth.bundle.labels)
        first = self.common.seed if self.style_seed is None else self.style_seed
        styles = range(first, first + self.count)
        several = len(files) * self.count > 1 or len(files[0].path.parts) > len(mask.parts)
        if several and self.out.suffix:
            raise ProxymaskError(f"--out {self.out}: there are {len(files)} masks in {self.count} styles, so give a folder, without suffix")
        into_folder = several or self.out.is_dir() or not self.out.suffix
        if not into_folder:
            picture_format(self.out)  # found wrong before the work, not after it
        good, bad = [], []
        for file in files:
            try:
                good.append((file.name, synth.read_mask(file.path)))
            except ProxymaskError as error:
                if len(files) == 1:
                    raise
                bad.append(str(error))
                print(f"skipped: {error}", file=sys.stderr)
        done = 0
        with progress("rendering") as report:
            for start in range(0, len(good), CHUNK):
                mapped = [(name, synth.map(ids[None], self.mapper or "mask")) for name, ids in good[start : start + CHUNK]]
                for style_seed in styles:
                    style = synth.make_style(style_seed, truncation=self.truncation)
                    for name, logits in mapped:
                        picture = from_pixels(to_uint8(synth.render(synth.proxy_mask(logits, style), style))[0])
                        write_picture(self.out / f"{name}__{style_seed}.png" if into_folder else self.out, picture)
                        done += 1
                        report(done, len(good) * self.count)
        print(f"{done:,} {'picture' if done == 1 else 'pictures'} in {self.out}" if into_folder else f"wrote {self.out}")
        if bad:
            raise ProxymaskError(f"{len(bad)} of {len(files)} masks could not be used (named above); the others are rendered")


CHUNK = 64  # masks whose mapper outputs are kept at once; a style is computed once a chunk


@dataclass(frozen=True)
class Sample:
    """Pictures without a mask, with what the model knows of them.

    Beside each picture lies a .json with its latent, so that a mask which you paint over the picture, in any editor, can train the
    few-shot segmenter: save the mask of 000000.png as 000000.mask.png.

    Examples:
      proxymask sample --count 16 --out samples
      proxymask sample --count 4 --out samples --with-proxy --with-labels
      proxymask sample --generator network.pkl --count 8 --truncation 0.7 --out samples
    """

    count: int
    """How many."""
    out: Path
    """Folder for the results."""
    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    with_proxy: bool = False
    """Also write the proxy masks."""
    with_labels: bool = False
    """Also write semantic masks, by the few-shot segmenter."""
    truncation: float = 1.0
    """Psi: 1 takes samples as they come, smaller ones nearer to the average."""
    generator: OptionalPath = None
    """A generator alone instead of a bundle: its run, an import, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator."""
    seed_style: SeedStyles = None
    """How a seed becomes z, to compare with other tools: nvidia (RandomState) or torch; the generator's own where not given."""
    noise_mode: Literal["const", "random", "none"] = "const"
    """The generator's noise: as stored in it, new for every picture, or none."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write the samples."""
        from ..core.device import resolve_device, resolve_precision
        from ..inference.samples import write_samples

        source = self._source()
        with progress("sampling") as report:
            written = write_samples(
                source,
                self.count,
                self.out,
                seed=self.common.seed,
                with_proxy=self.with_proxy,
                with_labels=self.with_labels,
                truncation=self.truncation,
                noise_mode=self.noise_mode,
                precision=resolve_precision(self.common.precision, resolve_device(self.common.device)),
                progress=report,
            )
        print(f"{len(written):,} samples in {self.out}")

    def _source(self) -> "Synthesizer | SplitGenerator":
        """The bundle, or the generator alone."""
        if self.generator is None:
            synth = _open(self.bundle, self.common, self.seed_style)
            if self.class_index is not None:
                synth.bundle.generator.choose_class(self.class_index)
            return synth
        import torch

        from ..core.device import resolve_device
        from ..models.split_generator import SplitGenerator
        from ..training.stages import open_generator

        torch.manual_seed(self.common.seed)
        generator = open_generator(self.generator, self.class_index)[0].to(resolve_device(self.common.device))
        if self.seed_style is not None:
            generator.seed_style = self.seed_style
        return SplitGenerator(generator, generator.resolution).eval().requires_grad_(False)


@dataclass(frozen=True)
class Transfer:
    """The shape of one sample in the style of another; no mask is needed.

    Examples:
      proxymask transfer --shape-seed 3 --style-seed 8 --out picture.png
    """

    shape_seed: int
    """The sample whose shape is taken."""
    out: Path
    """The picture to write."""
    style_seed: Number = None
    """The sample whose style is taken; that of --seed where not given."""
    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    truncation: float = 1.0
    """Psi: 1 takes samples as they come, smaller ones nearer to the average."""
    seed_style: SeedStyles = None
    """How a seed becomes z, to compare with other tools: nvidia (RandomState) or torch; the generator's own where not given."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Write the picture."""
        from ..imaging.pictures import picture_format, write_picture

        picture_format(self.out)
        synth = _open(self.bundle, self.common, self.seed_style)
        style_seed = self.common.seed if self.style_seed is None else self.style_seed
        write_picture(self.out, synth.transfer(self.shape_seed, style_seed, self.truncation).picture)
        print(f"wrote {self.out}")


@dataclass(frozen=True)
class Inspect:
    """What a file or folder holds, in words.

    Knows bundles, training runs, saved models, data sets, prepared sets, samples, label files, masks, and StyleGAN2 checkpoints of
    other projects (.pkl, .pt, .pth). Says whether a bundle is whole; exits with 2 where something is damaged, or is no such file.

    Examples:
      proxymask inspect avatars
      proxymask inspect runs/generator
      proxymask inspect mask.png --bundle avatars
      proxymask inspect ffhq.pkl
    """

    path: Annotated[str, tyro.conf.Positional]
    """A file, a folder, or the name of an embedded bundle."""
    bundle: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(optional)")] = None
    """Read a picture as a mask with this bundle's labels."""

    def run(self) -> None:
        """Print the description."""
        from ..inference.mask_check import read_target
        from .describe import describe

        found = describe(self.path, read_target(self.bundle).labels if self.bundle else None)
        print(found.text)
        if found.problems:
            raise ProxymaskError(f"{self.path}: " + "; ".join(found.problems))


@dataclass(frozen=True)
class MaskCheck:
    """Whether a mask can be used with a bundle, class by class, and a picture of how it is understood.

    Examples:
      proxymask mask check my-mask.png
      proxymask mask check my-mask.png --bundle my-bundle --over photo.png --out overlay.png
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The mask: a file, or a folder with one black-and-white file a class."""
    bundle: str = "avatars"
    """The model it is meant for: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    out: Path = Path("mask-check.png")
    """The overlay picture: the classes in their colours over grey, with a legend."""
    over: OptionalPath = None
    """A picture to lay it over, instead of plain grey (the sample that you painted over)."""

    def run(self) -> None:
        """Print the report and write the overlay."""
        from ..imaging.pictures import picture_format, write_picture
        from ..inference.mask_check import check_mask, read_target

        picture_format(self.out)
        checked = check_mask(self.file, read_target(self.bundle), self.over)
        print(f"{self.file}: {checked.report}")
        for problem in checked.problems:
            print(f"mind: {problem}")
        write_picture(self.out, checked.picture)
        print(f"it can be used; overlay: {self.out}")


@dataclass(frozen=True)
class _Drawn:
    count: int
    """How many pictures."""
    out: Path
    """Folder for images/, masks/ and labels.json; run again after a stop, it goes on where it was."""
    size: int = 128
    """Side of the pictures in pixels, 8 to 1024."""
    workers: Number = None
    """Processes; all cores where not given."""
    common: CommonSeed = field(default_factory=Seeded)

    def _make(self, kind: str, framing: str, depth: bool = False) -> None:
        from ..data.drawn_dataset import make_dataset

        with progress(f"drawing {kind}") as report:
            make_dataset(self.out, kind, self.count, self.size, self.common.seed, framing, self.workers, report, depth)
        print(f"{self.count:,} {kind} of {self.size}x{self.size} with their masks in {self.out}")
        print(f"next: {_command()} fit --images {self.out / 'images'} --out my-bundle")


@dataclass(frozen=True)
class DataAvatars(_Drawn):
    """Drawn portraits with exact masks of nine classes (art by Pablo Stanley, free for personal and commercial use).

    Examples:
      proxymask data avatars --count 10000 --size 128 --out avatars-128
    """

    framing: Literal["head", "full"] = "head"
    """head shows head and shoulders, full the whole drawing."""
    depth: bool = False
    """Also write the exact depth: depth/000000.png, 16-bit grey, nearest is white."""

    def run(self) -> None:
        """Draw them."""
        self._make("avatars", self.framing, self.depth)


@dataclass(frozen=True)
class DataCats(_Drawn):
    """Drawn cats with exact masks of six classes (art by David Revoy, CC-BY 4.0: name him where you show them).

    Examples:
      proxymask data cats --count 10000 --size 64 --out cats-64
    """

    framing: Literal["full"] = "full"
    """full shows the whole drawing."""

    def run(self) -> None:
        """Draw them."""
        self._make("cats", self.framing)


@dataclass(frozen=True)
class DataPrepare:
    """Any folder of pictures, cropped to their centre and resized once, for training to read quickly.

    Takes PNG, JPEG and WebP, in folders below too. Files that cannot be read are named and left out. Where the folder is a data set
    with masks, these are prepared with the pictures.

    Examples:
      proxymask data prepare photos --size 128 --out photos-128
      proxymask data prepare landscapes --size 256 --height 128 --out landscapes-256x128
    """

    images: Annotated[Path, tyro.conf.Positional]
    """The folder of pictures."""
    out: Path
    """Folder for the prepared set."""
    size: int = 128
    """Side of the pictures in pixels; a power of two for training."""
    height: Number = None
    """Where the pictures shall not be square: their height; --size is the width then."""

    def run(self) -> None:
        """Prepare them, and say what was left out."""
        from ..core.sizes import short_text, size_text
        from ..data.prepare import prepare_folder

        with progress("preparing") as report:
            size = self.size if self.height is None else (self.height, self.size)
            done = prepare_folder(self.images, self.out, size, report)
        for file, reason in done.skipped[:SHOWN]:
            print(f"skipped: {reason if str(file) in reason else f'{file}: {reason}'}", file=sys.stderr)
        if len(done.skipped) > SHOWN:
            print(f"skipped: and {len(done.skipped) - SHOWN:,} more", file=sys.stderr)
        print(f"{done.kept:,} pictures of {size_text(size)} in {self.out}; {len(done.skipped):,} skipped")
        if done.upscaled:
            small = f"{done.upscaled:,} of them were smaller than {short_text(size)}"
            print(f"note: {small} and had to be enlarged; a smaller --size keeps them sharp")


SHOWN = 20  # skipped files named one by one


def _open(bundle: str, common: Computing, seed_style: Literal["nvidia", "torch"] | None = None) -> "Synthesizer":
    import torch

    from ..inference.synthesizer import Synthesizer

    torch.manual_seed(common.seed)
    synth = Synthesizer.from_pretrained(bundle, common.device, common.precision)
    if seed_style is not None:
        synth.bundle.generator.seed_style = seed_style
    return synth


def _command() -> str:
    """The way this command was called, to be shown in what to try next."""
    if shutil.which("proxymask"):
        return "proxymask"
    called = Path(sys.argv[0])
    return str(_near(called)) if called.name == "proxymask" else f"{_near(Path(sys.executable))} -m proxymask"


def _near(path: Path) -> Path:
    """Relative where it lies below the working folder."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path
