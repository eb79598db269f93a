"""The verbs for other projects' checkpoints: ``import`` and ``export``. PyTorch is imported only where a verb runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .verbs import ClassIndex, SeedStyles


@dataclass(frozen=True, kw_only=True)
class Import:
    """A StyleGAN2 checkpoint of another project, made a folder of safetensors that every verb takes.

    Takes NVIDIA's PyTorch and TensorFlow pickles, files in the layouts of rosinality, BasicSR, genforce and Hammer, and this project's
    folders. Nothing in the file is run. OUT gets generator/, discriminator/ where the file has one, import.json and a README.md that says
    what was found, what was assumed, and the licence notice in the file.

    Examples:
      proxymask import ffhq.pkl --out ffhq
      proxymask import cifar10.pkl --class 3 --out horses
      proxymask import 550000.pt --out faces --seed-style nvidia
      proxymask import trained.pt --out faces --lr-multiplier 0.1
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The checkpoint (.pkl, .pt, .pth)."""
    out: Path
    """Folder for the networks; an earlier import there is replaced."""
    class_index: ClassIndex = None
    """Of a class-conditional generator, the class that is taken wherever none is given."""
    seed_style: SeedStyles = None
    """How a seed becomes z: nvidia (RandomState) or torch; that of the file's family where not given."""
    lr_multiplier: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(optional)")] = None
    """Learning-rate multiplier of the mapping network (lr_mlp, mapping_lr_mul); needed only where neither the file nor its weights tell."""
    final_tanh: bool = False
    """The pictures end in a tanh; for genforce's files, which do not say it."""
    strict: bool = False
    """Refuse a file with anything in it that is not understood, needed or not."""

    def run(self) -> None:
        """Open it, save it, and say what it is."""
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
        print(f"next: proxymask sample --generator {out} --count 8 --out samples")
        print(f"      proxymask fit --generator {out} --out my-bundle")


@dataclass(frozen=True, kw_only=True)
class Export:
    """A generator, for other tools: rosinality's .pt, which many read, or a folder of safetensors.

    Every tensor is written as it is, so that importing the file again gives the same ones.

    Examples:
      proxymask export runs/generator --out generator.pt
      proxymask export network.pkl --format safetensors --out network
    """

    generator: Annotated[Path, tyro.conf.Positional]
    """The generator: its run, its saved network, a bundle, an import, or a checkpoint of another project."""
    out: Path
    """The file (rosinality) or folder (safetensors) to write."""
    format: Literal["rosinality", "safetensors"] = "rosinality"
    """rosinality: g_ema, latent_avg and d in one .pt; safetensors: this project's folder."""
    discriminator: bool = True
    """Write the discriminator too, where there is one."""

    def run(self) -> None:
        """Write it."""
        from ..checkpoints.export import export
        from ..training.stages import find_part

        source = self.generator if self.generator.is_file() else find_part(self.generator, "generator")
        done = export(source, self.out, self.format, self.discriminator)
        for note in done:
            print(f"note: {note}")
        print(f"wrote {self.out}")
