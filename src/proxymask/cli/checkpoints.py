"""The verbs for other projects' checkpoints: ``import`` and ``export``. PyTorch is imported only where a verb runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..core.checks import Checked, Range
from .hints import command_line
from .options import ClassIndex, SeedStyleName


@dataclass(frozen=True, kw_only=True)
class Import(Checked):
    """Read a StyleGAN2 checkpoint of another project and write it as safetensors, which every verb takes.

    Reads NVIDIA's PyTorch and TensorFlow pickles, files in the layouts of rosinality, BasicSR, genforce and Hammer, and folders of
    this project. No code in the
    file is run. OUT gets generator/, discriminator/ if the file has one, import.json, and a README.md with what was found, what was
    assumed, and the licence notice in the file.

    Examples:
      proxymask import ffhq.pkl --out ffhq
      proxymask import cifar10.pkl --class 3 --out horses
      proxymask import 550000.pt --out faces --seed-style nvidia
      proxymask import trained.pt --out faces --lr-multiplier 0.1
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The checkpoint (.pkl, .pt, .pth)."""
    out: Path
    """Folder for the networks; an earlier import in it is replaced."""
    class_index: ClassIndex = None
    """Default class of a class-conditional generator."""
    seed_style: Annotated[SeedStyleName, tyro.conf.arg(metavar="{nvidia,torch}", help_behavior_hint="(that of the file's family)")] = None
    """Random number generator that turns a seed into z: nvidia (NumPy's RandomState) or torch."""
    lr_multiplier: Annotated[float | None, Range(0, 1000, above=True), tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(optional)")] = (
        None
    )
    """Learning-rate multiplier of the mapping network (lr_mlp, mapping_lr_mul); needed only if neither the file nor its weights show it."""
    final_tanh: bool = False
    """The pictures end in a tanh; for genforce's files, which do not record it."""
    strict: bool = False
    """Refuse a file that holds anything unknown, even if it is not needed."""

    def run(self) -> None:
        """Open it, save it, and print what it is."""
        from ..checkpoints.imported import save_import
        from ..checkpoints.loading import open_checkpoint

        imported = open_checkpoint(
            self.file,
            class_index=self.class_index,
            seed_style=self.seed_style,
            lr_multiplier=self.lr_multiplier,
            final_tanh=self.final_tanh,
            strict=self.strict,
        )
        out = save_import(imported, self.out)
        print(imported.text())
        print(f"\nimported: {out}")
        print(f"next: {command_line('sample', '--generator', out, '--count', 8, '--out', 'samples')}")
        print(f"      {command_line('fit', '--generator', out, '--out', 'my-bundle')}")


@dataclass(frozen=True, kw_only=True)
class Export(Checked):
    """Write a generator for other tools: as rosinality's .pt, which many tools read, or as a folder of safetensors.

    The tensors are not changed: importing the file again gives the same ones.

    Examples:
      proxymask export runs/generator --out generator.pt
      proxymask export network.pkl --format safetensors --out network
    """

    generator: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GENERATOR")]
    """The generator: its run, its saved network, a bundle, an import, or a checkpoint of another project (.pkl, .pt, .pth)."""
    out: Path
    """File (rosinality) or folder (safetensors) to write."""
    format: Literal["rosinality", "safetensors"] = "rosinality"
    """Format: rosinality is one .pt with g_ema, latent_avg and d; safetensors is a folder as this project writes it."""
    discriminator: Annotated[bool, tyro.conf.arg(help_behavior_hint="(without this flag it is written, if there is one)")] = True
    """Leave the discriminator out."""

    def run(self) -> None:
        """Write it."""
        from ..checkpoints.export import export
        from ..training.parts import find_part

        source = self.generator if self.generator.is_file() else find_part(self.generator, "generator")
        done = export(source, self.out, self.format, self.discriminator)
        for note in done:
            print(f"note: {note}")
        print(f"wrote {self.out}")
