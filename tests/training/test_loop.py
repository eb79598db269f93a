"""The training loop: exact resume, skipped steps, checkpoints, signals, accumulation, processes, logs."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors
from proxymask.models.oasis_mapper import PlainBatchNorm
from proxymask.training import checkpoint, loop
from proxymask.training.checkpoint import checkpoints

WORKER = Path(__file__).with_name("worker.py")


class Line:
    """The smallest real stage: a line fitted to points, with a batch norm whose running statistics follow; ``bad`` steps are not finite."""

    name = "line"
    averaged = ("net",)

    def __init__(self, bad: tuple[int, ...] = (), poison: str = "input", width: int = 3) -> None:
        torch.manual_seed(0)
        self.bad, self.poison = bad, poison
        self.net = nn.Sequential(nn.Conv2d(2, width, 1), PlainBatchNorm(width), nn.Conv2d(width, 1, 1))
        self.side = nn.Conv2d(2, 1, 1)
        self.modules: dict[str, nn.Module] = {"net": self.net, "side": self.side}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "net": torch.optim.Adam(self.net.parameters(), 0.01),
            "side": torch.optim.SGD(self.side.parameters(), 0.1, momentum=0.9),
        }
        self.seen: list[list[float]] = []

    def step(self, run: loop.Run) -> None:
        x = run.local_shard(torch.randn(run.config.batch, 2, 4, 4, generator=run.rng("x")))
        bad = run.index in self.bad
        if bad and self.poison == "input":
            x[0, 0, 0, 0] = math.inf
        self.seen.append([run.index, *x.flatten(1)[:, 0].tolist()])

        def terms() -> Iterator[torch.Tensor]:
            for (part,) in run.microbatches(x):
                with run.autocast():
                    y = self.net(part)
                loss = (y.float() - part[:, :1]).square().mean()
                if bad and self.poison == "gradient":  # a finite loss with a gradient that is not
                    loss = loss + 0 * (self.net[0].weight - self.net[0].weight.detach()).abs().sum().sqrt()
                run.log("loss", loss)
                yield loss

        run.update("net", terms)
        clean = torch.nan_to_num(x, posinf=0.0)
        run.update("side", lambda: ((self.side(part) - part[:, :1]).square().mean() for (part,) in run.microbatches(clean)))

    def grid(self, run: loop.Run) -> Image.Image | None:
        return Image.new("RGB", (4, 4), (run.index, 0, 0))


def numbers(out: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl without what is measured in time."""
    lines = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


def names(out: Path) -> list[str]:
    return [p.name for p in checkpoints(out)]


@pytest.mark.parametrize("name", tiny.STAGES)
def test_exact_resume(name: str, tmp_path: Path) -> None:
    """Six steps are three, a new process' worth of new objects, and three more: to the last bit, of everything."""
    whole = tiny.run(tiny.make_stage(name), tmp_path / "whole")
    tiny.run(tiny.make_stage(name), tmp_path / "parts", steps=3)
    torch.manual_seed(12345)  # what happened in between does not matter
    parts = tiny.run(tiny.make_stage(name), tmp_path / "parts")
    state = tiny.state(whole)
    assert tiny.differing(state, tiny.state(parts)) == []
    assert any(k.startswith("optimizer") for k in state)
    assert any(k.startswith("average") for k in state)
    start = tiny.state(loop.Run(tiny.loop_config(), tiny.make_stage(name)))
    for module in whole.stage.modules:  # nothing stood still
        assert any(k.startswith(module) and k in start for k in tiny.differing(state, start)), module
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "parts")
    assert [line["step"] for line in numbers(tmp_path / "parts")] == [1, 2, 3, 4, 5, 6]
    for path in (tmp_path / "whole", tmp_path / "parts"):  # and what is on disk is the same
        assert names(path)[-1] == "checkpoint-00000006"
    files = [path / "checkpoint-00000006/state.safetensors" for path in (tmp_path / "whole", tmp_path / "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    again = tiny.run(tiny.make_stage(name), tmp_path / "whole")  # a finished run is only read
    assert tiny.differing(state, tiny.state(again)) == []


def test_other_seeds_give_other_runs(tmp_path: Path) -> None:
    one, two = (tiny.run(Line(), tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert one.stage.seen != two.stage.seen


@pytest.mark.parametrize("poison", ["input", "gradient"])
def test_bad_steps_are_skipped(poison: str, tmp_path: Path) -> None:
    before = tiny.state(tiny.run(Line(), tmp_path, steps=2))
    run = tiny.run(Line(bad=(2, 3), poison=poison), tmp_path, steps=4)
    after = tiny.state(run)
    changed = {k for k in tiny.differing(before, after) if not k.startswith(("side", "optimizer side", "average"))}
    assert changed == set()  # weights, running statistics and Adam's state are what they were
    assert {k for k in tiny.differing(before, after) if k.startswith("side")}  # the other optimiser went on
    assert run.bad_steps == 2
    assert [line["bad_steps"] for line in numbers(tmp_path)] == [0, 0, 1, 2]
    assert all(math.isfinite(v) for line in numbers(tmp_path) for v in line.values())
    run = tiny.run(Line(), tmp_path, steps=6)
    assert run.bad_steps == 2  # remembered
    assert all(bool(torch.isfinite(v).all()) for v in tiny.state(run).values())
    assert tiny.differing(after, tiny.state(run))


def test_gives_up_after_25_bad_steps(tmp_path: Path) -> None:
    good = tiny.state(tiny.run(Line(), tmp_path, steps=3))
    stage = Line(bad=tuple(range(3, 100)))
    with pytest.raises(ProxymaskError, match="25 steps in a row were not finite: train it again with a lower learning_rate in another out"):
        tiny.run(stage, tmp_path, steps=100)
    assert len(stage.seen) == 25
    assert tiny.differing(good, tiny.state(tiny.run(Line(), tmp_path, steps=3))) == []
    once = Line(bad=tuple(i for i in range(60) if i % 25 != 24))  # 24 in a row, never 25
    assert tiny.run(once, tmp_path / "b", steps=60).bad_steps == 58


def test_checkpoints_kept(tmp_path: Path) -> None:
    tiny.run(Line(), tmp_path, steps=7, checkpoint_every=2, keep=2)
    assert names(tmp_path) == ["checkpoint-00000006", "checkpoint-00000007"]
    assert sorted(p.name for p in (tmp_path / "checkpoint-00000007").iterdir()) == ["state.json", "state.safetensors"]
    tiny.run(Line(), tmp_path / "three", steps=5, checkpoint_every=1, keep=3)
    assert names(tmp_path / "three") == ["checkpoint-00000003", "checkpoint-00000004", "checkpoint-00000005"]


@pytest.mark.parametrize("stops", [(7,), (4, 5), (5, 7), (6,), (1, 2, 7)])
@pytest.mark.parametrize("keep", [1, 2, 3])
def test_stops_leave_the_checkpoints_of_an_undisturbed_run(stops: tuple[int, ...], keep: int, tmp_path: Path) -> None:
    config = tiny.loop_config(steps=8, checkpoint_every=3, keep=keep)
    loop.train(Line(), config, tmp_path / "whole")
    for stop in stops:
        send = lambda step, *_, at=stop: os.kill(os.getpid(), signal.SIGTERM) if step == at else None  # noqa: E731
        with pytest.raises(loop.Stopped):
            loop.train(Line(), config, tmp_path / "run", progress=send)
        assert len(names(tmp_path / "run")) <= keep
    loop.train(Line(), config, tmp_path / "run")
    assert names(tmp_path / "run") == names(tmp_path / "whole")


@pytest.mark.parametrize("when", ["tensors", "rename"])
def test_full_disk_while_saving(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny.state(tiny.run(Line(), tmp_path / "whole", checkpoint_every=2))
    tiny.run(Line(), tmp_path / "run", steps=2)
    kept = (tmp_path / "run/checkpoint-00000002/state.safetensors").read_bytes()
    real = checkpoint.save_tensors

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        if when == "rename":
            real(path, tensors)
        else:
            path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full)
        with pytest.raises(ProxymaskError, match=r"no space left on the disk .*the last checkpoint is whole: .*checkpoint-00000002"):
            tiny.run(Line(), tmp_path / "run", checkpoint_every=2)
        with pytest.raises(ProxymaskError, match=r"no space left .*there is no checkpoint yet"):
            tiny.run(Line(), tmp_path / "new")
    assert [p.name for p in (tmp_path / "run").glob("checkpoint*")] == ["checkpoint-00000002"]  # no rubbish beside it
    assert (tmp_path / "run/checkpoint-00000002/state.safetensors").read_bytes() == kept
    assert tiny.differing(whole, tiny.state(tiny.run(Line(), tmp_path / "run"))) == []


def test_full_disk_elsewhere(tmp_path: Path) -> None:
    class Full(Line):
        def grid(self, run: loop.Run) -> Image.Image:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ProxymaskError, match="no space left"):
        tiny.run(Full(), tmp_path, steps=3, grid_every=2, checkpoint_every=1)
    assert names(tmp_path) == ["checkpoint-00000001"]

    class Broken(Line):
        def step(self, run: loop.Run) -> None:
            raise OSError(errno.EIO, "the data's disk")

    with pytest.raises(OSError, match="the data's disk"):  # not ours to explain
        tiny.run(Broken(), tmp_path / "b")


def damage(path: Path, name: str) -> None:
    file = path / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_damaged_checkpoints(name: str, tmp_path: Path) -> None:
    whole = tiny.state(tiny.run(Line(), tmp_path / "whole"))
    tiny.run(Line(), tmp_path / "run", steps=4, checkpoint_every=2)
    damage(tmp_path / "run/checkpoint-00000004", name)
    stage = Line()
    with pytest.warns(UserWarning, match=f"checkpoint-00000004/{name}.*trying the checkpoint before it"):
        run = tiny.run(stage, tmp_path / "run")
    assert [seen[0] for seen in stage.seen] == [2, 3, 4, 5]  # from the one before
    assert tiny.differing(whole, tiny.state(run)) == []
    assert [line["step"] for line in numbers(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    for path in checkpoints(tmp_path / "run"):
        damage(path, name)
    before = sorted(p.name for p in (tmp_path / "run").iterdir())
    with pytest.raises(ProxymaskError, match=r"no checkpoint in .* can be read; remove"):  # rather than to start over in silence
        tiny.run(Line(), tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == before


def test_a_damaged_checkpoint_takes_no_place_of_a_good_one(tmp_path: Path) -> None:
    tiny.run(Line(), tmp_path, steps=4, checkpoint_every=2)
    damage(tmp_path / "checkpoint-00000004", "state.json")
    tiny.run(Line(), tmp_path, steps=3, checkpoint_every=1, keep=1)  # goes on from 2
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000003"]
    assert tiny.run(Line(), tmp_path, steps=3).index == 3


def test_a_copy_of_a_checkpoint_is_left_alone(tmp_path: Path) -> None:
    tiny.run(Line(), tmp_path, steps=2)
    for name in ("checkpoint-00000002-good", "checkpoint-best"):
        shutil.copytree(tmp_path / "checkpoint-00000002", tmp_path / name)
    assert tiny.run(Line(), tmp_path, steps=4).index == 4
    assert names(tmp_path)[-1] == "checkpoint-00000004"
    assert (tmp_path / "checkpoint-00000002-good").is_dir()


def test_unfinished_checkpoint_is_ignored(tmp_path: Path) -> None:
    whole = tiny.state(tiny.run(Line(), tmp_path / "whole"))
    tiny.run(Line(), tmp_path / "run", steps=4)
    shutil.copytree(tmp_path / "run/checkpoint-00000004", tmp_path / "run/checkpoint-00000005.tmp")
    shutil.copytree(tmp_path / "run/checkpoint-00000004", tmp_path / "run/checkpoint-00000006")
    (tmp_path / "run/checkpoint-00000006/state.json").unlink()
    assert names(tmp_path / "run") == ["checkpoint-00000004"]
    assert tiny.differing(whole, tiny.state(tiny.run(Line(), tmp_path / "run"))) == []
    left = sorted(path.name for path in (tmp_path / "run").glob("checkpoint*"))
    assert left == ["checkpoint-00000006"]  # what was left over is removed, and what no undisturbed run has


def test_other_runs_are_refused(tmp_path: Path) -> None:
    loop.train(Line(), tiny.loop_config(steps=2), tmp_path, identity={"width": 3, "rate": 0.5})
    before = sorted((p.name, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file())
    for config, identity, words in (
        ({"seed": 1}, {"width": 3, "rate": 0.5}, "seed was 0 and is 1"),
        ({"batch": 8}, {"width": 3, "rate": 0.5}, "batch was 4 and is 8"),
        ({}, {"width": 4, "rate": 0.5}, "width was 3 and is 4"),
        ({}, {"width": 3}, "rate was 0.5 and is not set"),
    ):
        with pytest.raises(ProxymaskError, match=rf"other settings \({words}\); use the same settings or another out"):
            loop.train(Line(), tiny.loop_config(**config), tmp_path, identity=identity)
    with pytest.raises(ProxymaskError, match="does not fit these networks"):
        loop.train(Line(width=4), tiny.loop_config(), tmp_path, identity={"width": 3, "rate": 0.5})
    assert sorted((p.name, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()) == before
    path = tmp_path / "checkpoint-00000002/state.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(ProxymaskError, match="checkpoint format 7, this version reads 1"):
        loop.train(Line(), tiny.loop_config(), tmp_path, identity={"width": 3, "rate": 0.5})


def test_impossible_batches(tmp_path: Path) -> None:
    with pytest.raises(ProxymaskError, match="batch 4 must be a multiple of accumulate 3"):
        tiny.run(Line(), tmp_path, accumulate=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(ProxymaskError, match=r"cannot write .*run \(Not a directory\): choose another folder"):
        tiny.run(Line(), tmp_path / "file/run")


def test_log_lines(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    config = tiny.loop_config(steps=7, log_every=3, tensorboard=True, grid_every=3)
    loop.train(Line(), config, tmp_path, progress=lambda step, steps, stats: calls.append((step, steps)))
    lines = numbers(tmp_path)
    assert [line["step"] for line in lines] == [3, 6, 7]
    assert [line["samples"] for line in lines] == [12, 24, 28]
    assert set(lines[0]) == {"step", "samples", "bad_steps", "loss", "grad_norm/net", "grad_norm/side"}
    tiny.run(Line(), tmp_path / "each", steps=7)
    single = [line["loss"] for line in numbers(tmp_path / "each")]
    assert [line["loss"] for line in lines] == pytest.approx([sum(single[:3]) / 3, sum(single[3:6]) / 3, single[6]], abs=2e-6)
    assert calls == [(i, 7) for i in range(1, 8)]
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == ["00000003.png", "00000006.png", "00000007.png"]
    (events,) = tmp_path.glob("events.*")
    assert b"grad_norm/side" in events.read_bytes()


def test_lines_of_a_killed_run_are_dropped(tmp_path: Path) -> None:
    tiny.run(Line(), tmp_path / "whole")
    tiny.run(Line(), tmp_path / "run", steps=4, checkpoint_every=3)
    shutil.rmtree(tmp_path / "run/checkpoint-00000004")  # killed after step 4, its last checkpoint at 3
    with (tmp_path / "run/stats.jsonl").open("a") as handle:
        handle.write('{"step": 5, "los')
    tiny.run(Line(), tmp_path / "run")
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    seconds = [json.loads(line)["seconds"] for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    assert seconds == sorted(seconds)


def test_moving_average(tmp_path: Path) -> None:
    """Half-life in samples, no longer than a share of the samples seen; buffers are taken as they are."""
    stage, kept = Line(), []
    config = tiny.loop_config(steps=5, ema_samples=8.0, ema_rampup=0.5)
    loop.train(stage, config, tmp_path, progress=lambda *_: kept.append([p.detach().clone() for p in stage.net.parameters()]))
    average = [p.detach().clone() for p in Line().net.parameters()]
    for step, now in enumerate(kept, start=1):
        beta = 0.5 ** (4 / min(8.0, 0.5 * 4 * step))
        average = [beta * a + (1 - beta) * p for a, p in zip(average, now, strict=True)]
    run = loop.train(Line(), config, tmp_path)
    for got, wanted in zip(run.averages["net"].parameters(), average, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)
    assert torch.equal(run.averages["net"][1].running_mean, run.stage.modules["net"][1].running_mean)
    assert not any(p.requires_grad for p in run.averages["net"].parameters())
    assert not run.averages["net"].training


def test_bf16(tmp_path: Path) -> None:
    for name in tiny.STAGES:
        run = tiny.run(tiny.make_stage(name, steps=2), tmp_path / name, steps=2, precision="bf16")
        assert run.bad_steps == 0
        for value in tiny.state(run).values():
            assert value.dtype != torch.bfloat16  # weights and optimiser state are float32
            assert bool(torch.isfinite(value).all())


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float = 2e-5) -> list[str]:
    assert a.keys() == b.keys()
    return [k for k in a if not torch.allclose(a[k].float(), b[k].float(), rtol=tolerance, atol=tolerance)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """Four steps of the stages in one process and one round."""
    from worker import shared_stages

    out = tmp_path_factory.mktemp("single")
    return {name: tiny.state(tiny.run(stage, out / name, steps=4)) for name, stage in shared_stages().items()}


@pytest.mark.parametrize("name", ["generator", "rearranger", "segmenter"])
def test_accumulation_changes_nothing(name: str, single: dict[str, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    from worker import shared_stages

    stage = shared_stages()[name]
    start = tiny.state(loop.Run(tiny.loop_config(), stage))
    assert close(single[name], tiny.state(tiny.run(stage, tmp_path, steps=4, accumulate=2))) == []
    moved = [k for k, v in start.items() if not torch.allclose(v.float(), single[name][k].float(), atol=1e-4)]
    assert len(moved) > 5  # which is not so because nothing moved


def test_accumulation_of_every_stage(tmp_path: Path) -> None:
    """Also where results may differ (noise, batch statistics, path length), two rounds do run."""
    for name in tiny.STAGES:
        run = tiny.run(tiny.make_stage(name), tmp_path / name, accumulate=2)
        assert run.bad_steps == 0


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def test_two_processes_equal_one(single: dict[str, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    """All stages; with the mapper, batch norm over both processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(WORKER), str(tmp_path), "both"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, wanted in single.items():
        first, second = (load_tensors(tmp_path / f"{name}-{rank}.safetensors") for rank in (0, 1))
        assert tiny.differing(first, second) == []  # both hold the same, averages and buffers too
        assert close(wanted, first) == [], name
        assert sum(1 for _ in (tmp_path / name / "stats.jsonl").open()) == 4  # one process writes
    # A signal to one of them stops both at the same step, and neither leaves before the checkpoint is written.
    for rank in (0, 1):
        said = (tmp_path / f"stopped-{rank}").read_text()
        assert "stopped at step 3 of 100" in said
        assert said.endswith("['checkpoint-00000003']")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C saves and leaves; going on then equals never having stopped."""
    if number == signal.SIGTERM:  # in this process, which is quicker
        stage = tiny.make_stage("segmenter")
        send = lambda step, *_: os.kill(os.getpid(), number) if step == 3 else None  # noqa: E731
        before = signal.getsignal(number)
        with pytest.raises(loop.Stopped, match="stopped at step 3 of 100; run the same command again"):
            loop.train(stage, tiny.loop_config(steps=100, checkpoint_every=100), tmp_path / "run", progress=send)
        assert signal.getsignal(number) == before
        step = 3
    else:
        command = [sys.executable, str(WORKER), str(tmp_path / "run"), "interrupted"]
        child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        guard = threading.Timer(120, child.kill)
        guard.start()
        assert child.stdout is not None
        assert child.stdout.readline() == "step 1\n"
        child.send_signal(number)
        last = child.stdout.read().splitlines()[-1]
        assert child.wait() == 130
        guard.cancel()
        step = int(last.split(" ")[4])
        assert last == f"segmenter: stopped at step {step} of 100000; run the same command again to go on"
    assert names(tmp_path / "run") == [f"checkpoint-{step:08d}"]
    resumed = tiny.run(tiny.make_stage("segmenter"), tmp_path / "run", steps=step + 2)
    whole = tiny.run(tiny.make_stage("segmenter"), tmp_path / "whole", steps=step + 2)
    assert tiny.differing(tiny.state(resumed), tiny.state(whole)) == []


def test_second_interruption_is_at_once(tmp_path: Path) -> None:
    class Twice(Line):
        def step(self, run: loop.Run) -> None:
            super().step(run)
            if run.index == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tiny.run(Twice(), tmp_path, checkpoint_every=2)
    assert names(tmp_path) == ["checkpoint-00000002"]


def test_outside_the_main_thread(tmp_path: Path) -> None:
    done: list[loop.Run] = []
    thread = threading.Thread(target=lambda: done.append(tiny.run(Line(), tmp_path)))
    thread.start()
    thread.join()
    assert done[0].index == 6


def test_random_numbers_depend_on_the_step_alone() -> None:
    run = loop.Run(tiny.loop_config(), Line())
    draws = {}
    for index in (0, 1, 0):
        run.index = index
        draws.setdefault(index, []).append(torch.rand(3, generator=run.rng("a")))
    assert torch.equal(*draws[0])
    assert not torch.equal(draws[0][0], draws[1][0])
    assert not torch.equal(draws[1][0], torch.rand(3, generator=run.rng("b")))
    full = torch.arange(8)
    run.rank, run.world = 1, 2
    assert run.local_shard(full).tolist() == [4, 5, 6, 7]
