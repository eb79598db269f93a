"""A style for each label: does a region take the colour of its own style, and what does it cost?

    python benchmarks/region_styles.py [--bundle avatars] [--pairs 500] [--seed 0]

Pairs of styles are drawn at random, with a mask (the segmenter's reading of a third sample) and a label that all three have. A pair
counts where the mean colours of the label in the two style samples differ by more than 20 (CIE76, Lab). The mask is painted in the first
style, the label in the second. Reported by label, in how many pairs:

* the region's mean colour is nearer to that of its own style than to that of the first;
* the same where the whole picture has that style, which is the most that can be expected;
* the rest of the picture kept the first style's colours.

Then the time of a picture with one style and with two to four.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
from label_colors import SMALLEST, label_colors, to_lab

from proxymask.inference.synthesizer import Synthesizer

APART = 20.0  # Lab units between the colours of a pair


def median_ms(run, rounds: int = 25) -> float:  # type: ignore[no-untyped-def]
    """Median time of a call in milliseconds."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def overall(found: dict[int, list[bool]]) -> float:
    """Share over all labels together."""
    return float(np.mean(list(itertools.chain.from_iterable(found.values()))))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    synth = Synthesizer.from_pretrained(args.bundle, device=args.device)
    names = synth.config.labels
    pool = 200
    seeds = [100_000 + args.seed * pool + i for i in range(pool)]
    colors, masks = [], []
    for start in range(0, pool, 20):
        pictures, _, labels = synth.sample(synth.w(seeds[start : start + 20]))
        assert labels is not None, "the bundle has no segmenter"
        ids = labels.cpu().numpy().astype(np.uint8)
        colors.append(label_colors(to_lab(pictures), ids, len(names)))
        masks.append(ids)
    color, mask = np.concatenate(colors), np.concatenate(masks)
    rng = np.random.default_rng(args.seed)
    hits: dict[int, list[bool]] = {label: [] for label in range(len(names))}
    whole: dict[int, list[bool]] = {label: [] for label in range(len(names))}
    rest: dict[int, list[bool]] = {label: [] for label in range(len(names))}
    done = tries = 0
    while done < args.pairs and tries < 1000 * args.pairs:
        tries += 1
        base, other, shape = rng.choice(pool, 3, replace=False)
        label = int(rng.integers(len(names)))
        if np.isnan(color[[base, other], label]).any() or (mask[shape] == label).mean() < SMALLEST:
            continue
        if np.linalg.norm(color[base, label] - color[other, label]) <= APART:
            continue
        picture = synth(mask[shape], {None: seeds[base], names[label]: seeds[other]}, output_type="tensor")
        got = label_colors(to_lab(picture[None]), mask[shape][None], len(names))[0]
        distance = np.linalg.norm(got[label] - color[[base, other], label], axis=1)
        hits[label].append(bool(distance[1] < distance[0]))
        plain = label_colors(to_lab(synth(mask[shape], seeds[other], output_type="tensor")[None]), mask[shape][None], len(names))[0]
        distance = np.linalg.norm(plain[label] - color[[base, other], label], axis=1)
        whole[label].append(bool(distance[1] < distance[0]))
        for kept in range(len(names)):
            apart = np.linalg.norm(color[base, kept] - color[other, kept])
            if kept != label and not np.isnan(got[kept]).any() and apart > APART:
                distance = np.linalg.norm(got[kept] - color[[base, other], kept], axis=1)
                rest[kept].append(bool(distance[0] < distance[1]))
        done += 1
    print(f"{args.bundle}, {done} pairs, seed {args.seed}")
    print("| label | region has its own style's colour | whole picture in that style | of pairs | kept the first style's elsewhere |")
    print("|---|---|---|---|---|")
    for label, name in enumerate(names):
        if hits[label]:
            elsewhere = f"{np.mean(rest[label]):.3f} of {len(rest[label])}" if rest[label] else "-"
            print(f"| {name} | {np.mean(hits[label]):.3f} | {np.mean(whole[label]):.3f} | {len(hits[label])} | {elsewhere} |")
    print(f"| all | {overall(hits):.3f} | {overall(whole):.3f} | {done} | {overall(rest):.3f} |")
    ids = mask[0]
    one = synth.make_style(seeds[0])
    alone = median_ms(lambda: synth(ids, one))
    print(f"\na picture in one style: {alone:.1f} ms; ", end="")
    for count in (2, 3, 4):
        styles = synth.make_region_styles({None: seeds[0], **{k: seeds[k] for k in range(1, count)}})
        print(f"in {count}: {median_ms(lambda styles=styles: synth(ids, styles)) / alone:.2f} times; ", end="")
    print()


if __name__ == "__main__":
    main()
