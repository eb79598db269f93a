"""What thinner keys of a style cost: merged by k-means of key and value together, each with the logarithm of its number on its logits.

    python benchmarks/fewer_keys.py --bundle avatars --annotator runs/annotator --masks data/annotator64 --count 40

A mask and a style of its own for each of ``count``; the annotator reads the pictures, never the judge. In float32.
"""

import dataclasses
from pathlib import Path

import torch
import tyro

from proxymask.data.dataset import ImageSet
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.rearranger import StyleKeys
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.synthesizer import Style, Synthesizer


@dataclasses.dataclass(frozen=True)
class FewerKeys:
    """Thin the keys of styles."""

    annotator: Path
    """A segmentation network that takes no part in the final scores."""
    masks: Path
    """Prepared data set whose masks are asked for."""
    bundle: str = "avatars"
    """Bundle."""
    count: int = 40
    """Masks, and styles."""
    keys: tuple[int, ...] = (1024, 768, 512, 384, 256)
    """How many are kept."""


def merged(keys: StyleKeys, count: int, iterations: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys (m, dim), values (m, c) and logarithms of numbers (m,) of one style, m at most ``count``."""
    key, value = keys.key[0], keys.value[0]
    x = torch.cat([key, value], dim=1)
    axis = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False).Vh[0]
    centres = x[(x @ axis).argsort()[torch.linspace(0, len(x) - 1, count).round().long()]]
    for _ in range(iterations):
        of = torch.cdist(x, centres).argmin(dim=1)
        number = torch.bincount(of, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, of, x)
        centres = torch.where(number[:, None] > 0, sums / number.clamp_min(1)[:, None], centres)
    centres, number = centres[number > 0], number[number > 0]
    return centres[:, : key.shape[1]], centres[:, key.shape[1] :], number.log()


@torch.inference_mode()
def main() -> None:
    args = tyro.cli(FewerKeys)
    synth, annotator = Synthesizer.from_pretrained(args.bundle, precision="fp32"), UNetSegmenter.from_pretrained(args.annotator)
    truth = ImageSet.open(args.masks, synth.size).masks(range(args.count))
    logits = synth.map(truth.numpy())
    labels = synth.bundle.labels
    assert labels is not None
    for count in (None, *args.keys):
        score, quality = ConfusionMatrix(len(labels)), []
        for index in range(args.count):
            style = synth.make_style(seed=100 + index)
            keys = style.keys
            if count is not None:
                key, value, bias = merged(keys, count)
                # one more channel carries the bias: the question's is the root of the width, which the attention divides by
                keys = keys._replace(key=torch.cat([key, bias[:, None]], dim=1)[None], value=value[None])

            def paint(proxy: torch.Tensor, style: Style = style, keys: StyleKeys = keys) -> torch.Tensor:
                query = synth.ask(proxy)
                extra = keys.key.shape[2] - query.shape[2]
                if extra:  # scaled so that the products are divided by the root of the query's own width
                    width, wide = query.shape[2], keys.key.shape[2]
                    query = torch.cat([query * (wide / width) ** 0.5, query.new_full((*query.shape[:2], 1), wide**0.5)], dim=2)
                return style.tail(synth.rearranger.attend(query, keys)).clamp(-1, 1)

            score.update(annotator(paint(synth.asked(logits[index : index + 1], style))).argmax(dim=1), truth[index : index + 1])
            own, picture = synth.bundle.clusters.assign(style.state.features), style.tail(style.state).clamp(-1, 1)
            quality.append(10 * torch.log10(4 / (paint(own) - picture).square().mean()))
        print(f"{count or 'all'} keys: mIoU {score.miou():.3f}, own mask {float(torch.stack(quality).mean()):.1f} dB")


if __name__ == "__main__":
    main()
