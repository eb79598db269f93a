"""What a step of a mapper's training costs with pairs made on the fly and with pairs from shards, in processor time.

    python benchmarks/pair_speed.py --condition sketch
    python benchmarks/pair_speed.py --condition edges --extractor pidinet --weights weights/pidinet_table5_full.pth

Processor time and not seconds, so that a busy machine gives the same numbers; use one thread (OMP_NUM_THREADS=1).
"""

import dataclasses
import json
import tempfile
import time
from pathlib import Path

import tyro

from proxymask.cli.training import MapperLoop, MapperOverrides, TrainMapper


@dataclasses.dataclass(frozen=True)
class PairSpeed:
    """Compare the two."""

    condition: str = "sketch"
    """What the mapper reads."""
    bundle: str = "avatars"
    """The bundle whose parts are used."""
    extractor: str | None = None
    """Another than the condition's own."""
    weights: Path | None = None
    """Of the extractor."""
    steps: int = 60
    """Steps that are counted."""
    batch: int = 8
    """Samples a step."""


def spent(args: PairSpeed, folder: Path, steps: int, cache: Path | None) -> float:
    """Processor seconds of a run."""
    began = time.process_time()
    TrainMapper(
        out=folder / f"{steps}-{cache is not None}",
        bundle=Path(args.bundle),
        condition=args.condition,
        extractor=args.extractor,
        weights=args.weights,
        cache=cache,
        cache_pairs=None if cache is None else 512,
        config=MapperOverrides(lambda_adv=0.0),
        loop=MapperLoop(steps=steps, batch=args.batch, grid_every=0, tensorboard=False),
    ).run()
    return time.process_time() - began


def main() -> None:
    args = tyro.cli(PairSpeed)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        spent(args, folder / "first", 2, None)  # what is loaded once
        began = time.process_time()
        spent(args, folder / "fill", 1, cache)
        found["fill_ms_a_pair"] = round(1000 * (time.process_time() - began) / 512, 2)
        found["kilobytes_a_pair"] = round((cache / "pairs-00000.safetensors").stat().st_size / 512 / 1000, 2)
        for title, where in (("on_the_fly", None), ("from_shards", cache)):
            few, many = (spent(args, folder, steps, where) for steps in (5, 5 + args.steps))
            found[f"{title}_ms_a_step"] = round(1000 * (many - few) / args.steps, 1)
    print(json.dumps(dataclasses.asdict(args) | {"weights": str(args.weights)} | found))


if __name__ == "__main__":
    main()
