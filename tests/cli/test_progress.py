"""Progress on standard error."""

from proxymask.cli.progress import Pace, clock, describe, progress


def test_clock():
    assert [clock(s) for s in (65, 3605, 90_000)] == ["1:05", "1:00:05", "1 d 01:00"]


def test_progress_lines(capsys, monkeypatch):
    pace = Pace()
    assert pace.at(100, 0.0) == 0  # what was done before says nothing about the rate
    assert pace.at(120, 10.0) == 2
    text = describe(120, 240, 2.0, {"grad_norm/generator": 3.0, "d/loss": 0.5})
    assert text == "2.0/s, 1:00 left, d/loss 0.5, grad_norm/generator 3"
    monkeypatch.setattr("proxymask.cli.progress.LINE_EVERY", 0.0)
    with progress("drawing") as update:
        update(1, 2)
        update(2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("drawing: 1/2")
    assert lines[-1] == "drawing: 2/2  in 0:00"
    monkeypatch.setenv("RANK", "1")
    with progress("drawing") as update:
        update(1, 2)
    assert capsys.readouterr().err == ""
