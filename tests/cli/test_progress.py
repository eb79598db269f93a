"""What is shown while something runs: rates, times left, sizes."""

from proxymask.cli.progress import Pace, clock, describe, progress
from proxymask.training.fit.plan import amount, duration


def test_words_for_times_and_sizes():
    assert [duration(s) for s in (0.2, 80, 600, 7500, 200_000)] == ["1 s", "80 s", "10 min", "2 h 5 min", "2 d 7 h"]
    assert [amount(b) for b in (10, 3.2e6, 2.5e9)] == ["1 MB", "3 MB", "2.5 GB"]
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
