"""Runs stages in another process, for tests of signals and of several processes: ``python worker.py OUT KIND``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny
import torch
import torch.distributed as dist

from proxymask.training import loop


def shared_stages() -> dict[str, loop.Stage]:
    """Stages whose step does not depend on how a batch is split: plain SGD, no noise in the pictures."""
    out = {name: tiny.use_sgd(tiny.make_stage(name, noise=0.0, **config)) for name, config in SETTINGS.items()}
    for module in (out["generator"].modules["generator"], out["rearranger"].cut.generator):  # type: ignore[attr-defined]
        for name, parameter in module.named_parameters():
            if name.endswith("noise_strength"):
                parameter.requires_grad_(False)
    return out


SETTINGS: dict[str, dict[str, object]] = {"generator": {"path_weight": 0.0, "augment": ()}, "rearranger": {}, "segmenter": {}, "mapper": {}}


def say(step: int, steps: int, stats: dict[str, float]) -> None:
    print(f"step {step}", flush=True)


def main() -> int:
    out, kind = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    if kind == "interrupted":
        try:
            loop.train(tiny.make_stage("segmenter"), tiny.loop_config(steps=100_000, checkpoint_every=100_000), out, progress=say)
        except loop.Stopped as stopped:
            print(stopped)
            return 130
        return 0
    dist.init_process_group("gloo")
    for name, stage in shared_stages().items():
        run = tiny.run(stage, out / name, steps=4)
        print(name, run.rank, run.world, {k: float(v.double().sum()) for k, v in tiny.state(run).items()}["/".join(FIRST[name])])
    dist.destroy_process_group()
    return 0


FIRST = {
    "generator": ("generator", "mapping.w_avg"),
    "rearranger": ("rearranger", "position_gain"),
    "segmenter": ("segmenter", "out.bias"),
    "mapper": ("mapper", "blocks.0.norm0.norm.running_var"),
}

if __name__ == "__main__":
    sys.exit(main())
