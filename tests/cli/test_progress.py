"""What is shown while something runs: rates, times left, sizes."""

from proxymask.cli.progress import Pace, clock, describe, progress
from proxymask.training.fit.plan import amount, duration


def test_words_for_times_and_sizes():
    times = {0.2: "1 s", 80: "80 s", 120: "2 min", 204: "3 min 20 s", 594: "9 min 50 s", 596: "10 min", 7500: "2 h 5 min", 2e5: "2 d 7 h"}
    assert {seconds: duration(seconds) for seconds in times} == times
    sizes = {10: "1 kB", 340_000: "340 kB", 3.2e6: "3.2 MB", 9.97e6: "10 MB", 32e6: "32 MB", 2.5e9: "2.5 GB", 25e9: "25 GB"}
    assert {size: amount(size) for size in sizes} == sizes


def test_the_time_left_is_that_of_the_schedule_where_it_is_known():
    assert describe(50, 100, 5.0, {"loss/recon": 0.5}) == "5.0/s, 0:10 left, recon 0.5"
    assert describe(50, 100, 5.0, {"loss/recon": 0.5, "seconds_left": 125.0}) == "5.0/s, 2:05 left, recon 0.5"
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
