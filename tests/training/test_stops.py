"""What a stop keeps and says, and what a run that goes on knows of the time before it."""

import errno
import json
import os
import shutil
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from test_fit import TOY, Log, config, copy, interrupt, world  # noqa: F401 - fixtures
from test_loop import Line, damage, numbers

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.training import loop
from proxymask.training.checkpoint import steps_done
from proxymask.training.fit import fit
from proxymask.training.loop import Stopped

# ------------------------------------------------------------------------------------------------------------------ one stage


def stop_at(number: int) -> loop.Progress:
    """Ctrl-C after this step."""

    def send(step: int, *_: object) -> None:
        if step == number:
            os.kill(os.getpid(), signal.SIGINT)

    return send


def test_lines_span_a_stop(tmp_path: Path) -> None:
    """A line reports the means since the line before it, also where the run was stopped in between; bad steps are counted on too."""
    config, bad = tiny.loop_config(steps=9, log_every=4, checkpoint_every=100), (1, 2, 5, 6)
    loop.train(Line(bad=bad), config, tmp_path / "whole")
    for stop in (3, 6):
        with pytest.raises(loop.Stopped):
            loop.train(Line(bad=bad), config, tmp_path / "parts", progress=stop_at(stop))
    run = loop.train(Line(bad=bad), config, tmp_path / "parts")
    assert [line["step"] for line in numbers(tmp_path / "whole")] == [4, 8, 9]
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")
    assert run.bad_steps == 4
    states = [json.loads((tmp_path / name / "checkpoint-00000009" / "state.json").read_text()) for name in ("whole", "parts")]
    for state in states:
        state.pop("seconds")  # of the clock; rounded to 0 on a fast machine
    assert states[0] == states[1]


def test_bad_steps_in_a_row_are_counted_over_a_stop(tmp_path: Path) -> None:
    config, bad = tiny.loop_config(steps=60, checkpoint_every=100), tuple(range(3, 100))
    with pytest.raises(loop.Stopped):
        loop.train(Line(bad=bad), config, tmp_path, progress=stop_at(13))
    stage = Line(bad=bad)
    with pytest.raises(ProxymaskError, match="25 steps in a row"):
        loop.train(stage, config, tmp_path)
    assert len(stage.seen) == 15


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its state.json counts bad steps and nothing else."""
    whole = tiny.state(tiny.run(Line(), tmp_path / "whole"))
    tiny.run(Line(), tmp_path / "run", steps=3)
    path = tmp_path / "run" / "checkpoint-00000003" / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({key: state[key] for key in ("format", "step", "bad_steps", "identity")}))
    assert tiny.differing(whole, tiny.state(tiny.run(Line(), tmp_path / "run"))) == []


def test_steps_of_a_damaged_checkpoint(tmp_path: Path) -> None:
    tiny.run(Line(), tmp_path, steps=4, checkpoint_every=2)
    assert steps_done(tmp_path) == 4
    damage(tmp_path / "checkpoint-00000004", "state.json")
    assert steps_done(tmp_path) == 2
    damage(tmp_path / "checkpoint-00000002", "state.json")
    assert steps_done(tmp_path) == 0


def test_full_disk_while_lines_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of a run that goes on, the lines of the steps to be repeated are removed from stats.jsonl; the others are not lost."""
    whole = tiny.state(tiny.run(Line(), tmp_path / "whole"))
    tiny.run(Line(), tmp_path / "run", steps=4)
    before = numbers(tmp_path / "run")
    write = Path.write_text

    def full(path: Path, text: str) -> int:
        if not path.name.startswith("stats.jsonl"):
            return write(path, text)
        write(path, text[: len(text) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(ProxymaskError, match=r"no space left .*checkpoint-00000004.*run the same command again"):
            tiny.run(Line(), tmp_path / "run")
    assert numbers(tmp_path / "run") == before
    assert tiny.differing(whole, tiny.state(tiny.run(Line(), tmp_path / "run"))) == []
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")


# ------------------------------------------------------------------------------------------------------------------------ fit


def test_a_stop_says_what_is_kept(copy: Path) -> None:  # noqa: F811
    """Also one outside of training: in the first seconds, between stages, and in the middle of a step."""

    class Interrupted(Log):
        def progress(self, title: str) -> AbstractContextManager[Any]:
            if title.startswith(self.at):
                raise KeyboardInterrupt
            return super().progress(title)

    def said(at: str | Log, **changes: Any) -> str:
        with pytest.raises(Stopped) as stopped:
            fit(config(copy, **changes), Interrupted(at) if isinstance(at, str) else at)
        return str(stopped.value).replace(str(copy), "")

    nothing = "stopped; nothing was computed yet that is kept, except pictures that are prepared; run the same command again to go on"
    assert said("measuring", out=copy / "new") == nothing
    assert not (copy / "new.work").exists()
    work = copy / "model.work"
    for stage in ("clusters", "rearranger"):
        shutil.rmtree(work / stage)
    assert said("clusters") == "stopped; what is done is kept in /model.work (generator); run the same command again to go on"

    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    (copy / "toy.json").write_text(json.dumps(TOY | {"rearranger_loop": TOY["rearranger_loop"] | {"checkpoint_every": 3}}))
    again = "run the same command again to go on"
    assert said(Log("rearranger", 2, twice)) == f"stopped before anything was kept in /model.work/rearranger; {again}"
    assert said(Log("rearranger", 5, twice)) == f"stopped; step 3 is kept in /model.work/rearranger; {again}"
    kept = "generator, clusters; rearranger up to step 3"
    assert said("measuring") == f"stopped; what is done is kept in /model.work ({kept}); {again}"
    log = Log()
    fit(config(copy), log)
    assert "8 steps, 3 of them done" in log.text


def test_steps_of_something_else_are_not_counted(copy: Path) -> None:  # noqa: F811
    """A checkpoint of other settings is no step done, whatever the plan finds in the folder."""
    shutil.rmtree(copy / "model.work" / "rearranger")
    with pytest.raises(Stopped):
        fit(config(copy), Log("rearranger", 5, interrupt))
    (copy / "toy.json").write_text(json.dumps(TOY | {"rearranger": TOY["rearranger"] | {"hidden": 12}}))
    log = Log()
    fit(config(copy), log)
    assert "of them done" not in log.text
    assert "rearranger: the earlier one was made of something else" in log.text
