"""What narrower queries and keys cost (src/proxymask/narrow.py).

    python benchmarks/narrow_keys.py --bundle runs/wide --annotator runs/annotator --masks data/annotator64 --count 100

A mask and a style of its own for each of ``count``; the annotator reads the pictures, never the judge. In float32.
"""

import dataclasses
from pathlib import Path

import torch
import tyro

from proxymask.bundle import Bundle
from proxymask.data.dataset import ImageSet
from proxymask.metrics.agreement import psnr
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.narrow import narrow_keys
from proxymask.seeding import derive_rng
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.synthesizer import Synthesizer


@dataclasses.dataclass(frozen=True)
class NarrowKeys:
    """Narrow queries and keys."""

    annotator: Path
    """A segmentation network that takes no part in the final scores."""
    masks: Path
    """Prepared data set whose masks are asked for."""
    bundle: str
    """Bundle whose rearranger is as it was trained."""
    count: int = 100
    """Masks, and styles."""
    widths: tuple[int, ...] = (96, 80, 64, 48, 32)
    """How wide."""
    samples: int = 256
    """Samples to fit to."""


@torch.inference_mode()
def main() -> None:
    args = tyro.cli(NarrowKeys)
    bundle, annotator = Bundle.load(args.bundle), UNetSegmenter.from_pretrained(args.annotator)
    assert bundle.labels is not None
    trained, cut = bundle.rearranger, bundle.cut_generator()
    z = torch.randn(args.samples, cut.generator.z_dim, generator=derive_rng(0, "narrow"))
    for width in (trained.key_dim, *args.widths):
        bundle.rearranger, lost = narrow_keys(trained, cut, bundle.clusters, width, z)
        synth = Synthesizer(bundle, precision="fp32")
        truth = ImageSet.open(args.masks, synth.size).masks(range(args.count))
        logits = synth.map(truth.numpy())
        score, quality = ConfusionMatrix(len(bundle.labels)), []
        for index in range(args.count):
            style = synth.set_style(seed=100 + index)
            score.update(annotator(synth.render(synth.asked(logits[index : index + 1]))).argmax(dim=1), truth[index : index + 1])
            own = synth.render(bundle.clusters.assign(style.state.features))
            quality.append(psnr(own, synth.cut.render(style.state, style.w).clamp(-1, 1)))
        print(
            f"{width} channels: logits off by {lost:.3f}, mIoU {score.miou():.3f}, own mask {float(torch.cat(quality).mean()):.1f} dB",
            flush=True,
        )


if __name__ == "__main__":
    main()
