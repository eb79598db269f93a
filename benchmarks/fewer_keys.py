"""What fewer keys of a style cost (src/proxymask/fewer_keys.py).

    python benchmarks/fewer_keys.py --bundle avatars --annotator runs/annotator --masks data/annotator64 --count 100

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
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.synthesizer import Synthesizer


@dataclasses.dataclass(frozen=True)
class FewerKeys:
    """Thin the keys of styles."""

    annotator: Path
    """A segmentation network that takes no part in the final scores."""
    masks: Path
    """Prepared data set whose masks are asked for."""
    bundle: str = "avatars"
    """Bundle."""
    count: int = 100
    """Masks, and styles."""
    keys: tuple[int, ...] = (0, 512, 256, 128, 64)
    """How many are kept; 0: all."""


@torch.inference_mode()
def main() -> None:
    args = tyro.cli(FewerKeys)
    bundle, annotator = Bundle.load(args.bundle), UNetSegmenter.from_pretrained(args.annotator)
    for count in args.keys:
        bundle.about["keys"] = count
        synth = Synthesizer(bundle, precision="fp32")
        assert bundle.labels is not None
        truth = ImageSet.open(args.masks, synth.size).masks(range(args.count))
        logits = synth.map(truth.numpy())
        score, quality = ConfusionMatrix(len(bundle.labels)), []
        for index in range(args.count):
            style = synth.set_style(seed=100 + index)
            picture = synth.render(synth.asked(logits[index : index + 1]))
            score.update(annotator(picture).argmax(dim=1), truth[index : index + 1])
            own = synth.render(bundle.clusters.assign(style.state.features))
            quality.append(psnr(own, synth.cut.render(style.state, style.w).clamp(-1, 1)))
        print(f"{style.keys.key.shape[1]} keys: mIoU {score.miou():.3f}, own mask {float(torch.cat(quality).mean()):.1f} dB", flush=True)


if __name__ == "__main__":
    main()
