"""What the channels-last memory format is worth to the frozen networks of a training, as ratios of one run.

    OMP_NUM_THREADS=1 python benchmarks/memory_format.py --bundle churches

A training uses the generator, the rearranger and the few-shot segmenter without training them. Each is timed in both formats, one round of
all after the other; the fastest round counts, in processor time. "labels that agree": share of the pixels to which the segmenter gives the
same label in both.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import output
import torch
import tyro

from proxymask.core.device import autocast, resolve_precision
from proxymask.inference.bundle import Bundle
from proxymask.models.stylegan2 import seed_to_z

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


@dataclasses.dataclass(frozen=True)
class MemoryFormat:
    """Time the frozen networks of a bundle in both memory formats."""

    bundle: str = "avatars"
    """A bundle with a few-shot segmenter: its folder, or the name of an embedded one."""
    batch: int = 8
    """Samples at a time, as in a training step."""
    rounds: int = 10
    """Rounds; the fastest counts."""
    out: Path | None = None
    """Also write the numbers here."""


def works(bundle: Bundle, batch: int) -> tuple[dict[str, Callable[[], object]], Callable[[], torch.Tensor]]:
    """What is timed, by name, and the segmenter's labels."""
    split, rearranger, clusters, segmenter = bundle.split_generator(), bundle.rearranger, bundle.clusters, bundle.segmenter
    if segmenter is None:
        raise SystemExit("the bundle has no few-shot segmenter: give another one")
    with torch.no_grad():
        w = split.w(seed_to_z(range(batch), split.generator.z_dim))
        levels, _ = split.feature_pyramid(w)
        state = split.features(w)
        own = clusters.assign(state.features)
        style = rearranger.encode_style(state, own)
    one_hot = clusters.one_hot(own)

    def through() -> None:
        proxy = one_hot.clone().requires_grad_()
        split.render(rearranger.attend(rearranger.encode_mask(proxy), style), w).float().square().mean().backward()

    def labels() -> torch.Tensor:
        with torch.no_grad():
            return segmenter.predict(levels)

    def pyramid() -> None:
        with torch.no_grad():
            split.feature_pyramid(w)

    return {"generator": pyramid, "few-shot segmenter": labels, "proxy mask to picture, forward and backward": through}, labels


def main() -> None:
    args = tyro.cli(MemoryFormat)
    output.prepare(args.out)
    device = torch.device("cpu")
    dtype = resolve_precision("auto", device)
    best: dict[str, dict[str, float]] = {}
    found: list[torch.Tensor] = []
    with autocast(device, dtype):
        timed = {}
        for name, memory in FORMATS.items():
            bundle = Bundle.load(args.bundle)
            for part in bundle.parts().values():
                part.eval().requires_grad_(False).to(memory_format=memory)  # type: ignore[call-overload]
            timed[name], labels = works(bundle, args.batch)
            found.append(labels())
        for _ in range(args.rounds):
            for name, calls in timed.items():
                for what, call in calls.items():
                    began = time.process_time()
                    call()
                    spent = (time.process_time() - began) * 1000
                    times = best.setdefault(what, {})
                    times[name] = min(times.get(name, spent), spent)
    agree = float((found[0] == found[1]).float().mean())
    for what, times in best.items():
        print(f"{what}: {times['contiguous']:.1f} ms, channels last {times['channels last']:.1f} ms", end=", ")
        print(f"ratio {times['channels last'] / times['contiguous']:.2f}")
    print(f"labels that agree: {agree:.5f}")
    about = {"processor": output.processor(), "precision": str(dtype), "batch": args.batch}
    output.write(args.out, {**about, "milliseconds": best, "labels that agree": agree})


if __name__ == "__main__":
    main()
