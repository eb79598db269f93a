"""Runs stages in another process, for tests of signals and of several processes: ``python worker.py OUT KIND``."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist

import tiny
from proxymask.core.files import save_tensors
from proxymask.training import checkpoint, loop
from proxymask.training.distributed import leave


def shared_stages() -> dict[str, loop.Stage]:
    """Stages whose step does not depend on how a batch is split: plain SGD, no noise in the pictures."""
    out = {name: tiny.use_sgd(tiny.make_stage(name, noise=0.0, **config)) for name, config in SETTINGS.items()}
    for module in (out["generator"].modules["generator"], out["rearranger"].split.generator):  # type: ignore[attr-defined]
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
        assert run.world == 2
        save_tensors(out / f"{name}-{run.rank}.safetensors", tiny.state(run))
    stage = tiny.make_stage("segmenter")
    step = stage.step

    def interrupted(run: loop.Run) -> None:
        step(run)
        if run.rank == 1 and run.index == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def slowly(*args: object) -> None:
        time.sleep(0.5)
        save_tensors(*args)  # type: ignore[arg-type]

    stage.step = interrupted  # type: ignore[method-assign]
    checkpoint.save_tensors = slowly
    try:
        tiny.run(stage, out / "stopped", steps=100, checkpoint_every=100)
    except loop.Stopped as stopped:
        (out / f"stopped-{dist.get_rank()}").write_text(f"{stopped} {[p.name for p in checkpoint.checkpoints(out / 'stopped')]}")
    dist.destroy_process_group()
    leave(0)


if __name__ == "__main__":
    sys.exit(main())
