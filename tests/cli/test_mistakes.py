"""A hostile newcomer: each verb with wrong values, missing or wrong files and folders ends in one line that names the true cause."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxymask.cli import main, report_mistake
from proxymask.imaging.mask_files import example_masks

MASK = example_masks() / "beard.png"
LONG = "x" * 5000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text file, an empty folder, random bytes, a photo and a folder of tiny pictures."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("hello\n")
    Path("empty").mkdir()
    Path("x.json").write_text('{"a": 1}')
    Path("empty.pt").touch()
    Path("random.png").write_bytes(np.random.default_rng(0).bytes(500))
    y, x = np.mgrid[0:96, 0:96]
    Image.fromarray(np.dstack([90 + y, 120 + x, 150 + (x + y) // 4]).astype(np.uint8)).save("photo.png")
    Path("photos").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(f"photos/{number}.png")
    os.symlink("nowhere", "dangling.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo("fifo")
    return tmp_path


CASES = [
    ("generate --condition sketch --input photos --from-photo --out photos/out", "is in the input folder photos"),
    ("fit --images photos --out photos/b", "is in the input folder photos"),
    ("train generator --images photos --out photos/r", "is in the input folder photos"),
    ("train rearranger --generator avatars --clusters avatars --images photos --out photos/r", "is in the input folder photos"),
    ("train mapper --bundle avatars --lambda-adv 1 --images photos --out photos/r", "is in the input folder photos"),
    ("train depth --images photos --out photos/r", "is in the input folder photos"),
    ("train judge --data photos --out photos/r", "is in the input folder photos"),
    ("evaluate --data photos --out photos/e", "is in the input folder photos"),
    ("data prepare photos --size 16 --out photos/p", "is in the input folder photos"),
    ("mask check photos --out photos/c", "is in the input folder photos"),
    ("generate --condition sketch --input photo.png --extractor xdog --out o.png", "add --from-photo"),
    ("train mapper --bundle avatars --teacher avatars --start nowhere --out r", "leave --start out"),
    ("train mapper --bundle avatars --condition sketch --cache-pairs 9 --out r", "name its folder with --cache"),
    ("train mapper --bundle avatars --images photos --out r", "--images: only the adversarial loss uses that, and it is off"),
    ("train mapper --bundle avatars --discriminator avatars --out r", "leave it out, or add --lambda-adv 1"),
    ("train mapper --bundle avatars --condition sketch --images photos --out r", "leave it out, or add --lambda-adv 1"),
    ("fit --bundle avatars --images photos --out b", "leave --images out, or turn the loss on in a preset"),
    ("sample --generator avatars --count 2 --with-proxy --out s", "--bundle"),
    ("train rearranger --generator avatars --clusters avatars --batch 1 --steps 1 --out r", "give 2 or more"),
    ("bundle add empty --name ../up --out b", "is one part of a path"),
    ("inspect a.txt", "a.txt is a text file"),
    ("inspect avtars", "did you mean avatars?"),
    ("inspect fifo", "neither a file nor a folder"),
    ("inspect empty", "holds nothing that proxymask knows"),
    ("inspect dangling.png", "does not exist"),
    (f"inspect {LONG}", "too long"),
    (f"generate --mask {LONG} --out o.png", "--mask is a name of 5,000 characters"),
    ("generate --mask MASK --condition skech --out o.png", "--condition skech: unknown; use mask"),
    ("generate --mask MASK --condition skech --out o.png", "did you mean sketch?"),
    ("generate --mask MASK --condition sketch --out o.png", "give --mask, or --condition with --input, not both"),
    ("generate --condition skech --input photo.png --out o.png", "did you mean sketch?"),
    ("generate --mask MASK --mapper msk-1 --out o.png", "did you mean mask-1?"),
    ("generate --mask MASK --mapper sketch --out o.png", "--mapper sketch does not read mask (it reads sketch)"),
    ("generate --mask MASK --bundle avatras --out o.png", "did you mean avatars?"),
    ("generate --mask MASK --out o.png --style-seed abc", "--style-seed must be a whole number, not 'abc'"),
    ("generate --maks MASK --out o.png", "there is no flag --maks; did you mean --mask?"),
    ("generate --mask MASK --out ''", "the value of --out is empty"),
    ("generate --mask MASK --out=", "the value of --out is empty"),
    ("generate --mask MASK other.png --out o.png", "'other.png' belongs to no flag"),
    ("generate --mask MASK --out a.txt/o.png", "a part of the path is a file"),
    ("generate --mask MASK --out oo --style-seed 18446744073709551615 --count 2", "--style-seed must be a whole number"),
    ("sample --count 1 --out s --truncation nan", "--truncation must be a number"),
    ("sample --count 0 --out s", "--count must be a whole number, 1 to"),
    ("sample --count 1.5 --out s", "--count must be a whole number, not '1.5'"),
    ("sample --out s", "--count is missing"),
    ("sample --count --out s", "--count needs a value"),
    ("sample --count 1 --out a.txt", "is a file, and the results are several"),
    ("sample --count 1 --out s --device tpu", "--device 'tpu': unknown; use auto, cpu, cuda or mps"),
    ("sample --count 1 --out s --class -1", "--class must be a whole number"),
    ("sample --count 1 --out s --seed 18446744073709551616", "--seed must be a whole number, -2^63 to 2^64 - 1"),
    ("sample --count 1 --out s --with-proxy true", "--with-proxy takes no value, so 'true' belongs to no flag: put its own flag before it"),
    ("generate --condition sketch --from-photo p.png --out o.png", "--from-photo takes no value, so 'p.png' belongs to no flag"),
    ("sample --count 1 --out s --generator a.txt", "a text file (hello), no checkpoint"),
    ("demo --styles 0", "--styles must be a whole number, 1 to 64"),
    ("mask chek MASK", "did you mean check?"),
    ("mask check empty", "holds no masks"),
    ("condition sketch photo.png --drawn --out o.png", "leave --drawn out to extract"),
    ("condition depth photo.png --drawn --out o.png", "leave --drawn out to measure"),
    ("condition skech photo.png --out o.png", "did you mean sketch?"),
    ("export avatars --out x.pt --no-discrminator", "did you mean --no-discriminator?"),
    ("export avatars --out a.txt/x.pt", "a part of the path is a file"),
    ("import a.txt --out i --lr-multiplier nan", "--lr-multiplier must be a number"),
    ("data avatars --count 2 --size 33.0 --out d", "--size must be a whole number, not '33.0'"),
    ("data avatars --count 2 --out a.txt", "a.txt is a file"),
    ("data avatars --count 2 --out d --framing Head", "did you mean head?"),
    ("data prepare photos --out a.txt", "a.txt is a file"),
    ("data prepare photos --out p --size 5", "--size must be a whole number, 8 to 4,096"),
    ("cluster --generator avatars --out c --preset nope.json", "--preset nope.json does not exist"),
    ("cluster --generator avatars --out c --preset dmo", "did you mean demo?"),
    ("cluster --generator avatars --out c --preset empty", "--preset empty is a folder"),
    ("cluster --generator avatars --out c --cut 33", "--cut must be a power of two"),
    ("bundle add nope --out b", "nope does not exist"),
    ("train generator --images nope --out r", "--images nope does not exist"),
    ("train generator --images a.txt --out r", "--images a.txt is not a folder"),
    ("train generator --images photos --out r --augment colour", "did you mean color?"),
    ("train generator --images photos --out r --learning-rate -0.1", "--learning-rate must be a number, above 0"),
    ("train generator --images photos --out r --resolution 33", "--resolution must be a power of two"),
    ("train rearranger --out r", "give --generator, or --bundle for all parts"),
    ("train rearranger --bundle avatars --out r --batch 3 --accumulate 2", "--batch 3 must be a multiple of --accumulate 2"),
    ("train segmenter --bundle avatars --labels nope --out r", "--labels nope does not exist"),
    ("train mapper --bundle avatars --widths 8 --out r", "--widths: 1 do not fit"),
    ("train mapper --bundle avatars --condition skech --out r", "did you mean sketch?"),
    ("train depth --images nope --out r", "--images nope does not exist"),
    ("train judge --data photos --out r --size 7", "--size must be a multiple of 8"),
    ("evaluate --data photos --out e --count 1", "--count must be a whole number, 2 to"),
    ("evaluate --data photos --out e --parts judgge", "did you mean judge?"),
    ("fit --out f", "fit starts from something"),
    ("fit --images photos --out f --steps-scale nan", "--steps-scale must be a number"),
    ("fit --images photos --out f --preset x.json", "no setting 'a'"),
    ("inpsect avatars", "did you mean inspect?"),
    ("train mappr --out r", "did you mean mapper?"),
]


@pytest.mark.parametrize(("line", "words"), CASES, ids=[line[:60] for line, _ in CASES])
def test_one_line_that_names_the_cause(line: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["" if word == "''" else str(MASK) if word == "MASK" else word for word in line.split(" ")]
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("proxymask: ")
    assert words in said[0], said[0]
    assert len(said[0]) < 1000
    before = {"a.txt", "empty", "x.json", "empty.pt", "random.png", "photo.png", "photos", "dangling.png", "fifo"}
    assert {path.name for path in folder.iterdir()} <= before, "nothing was written"


def test_what_nobody_foresaw_is_one_line_and_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from proxymask.cli import masks

    monkeypatch.setattr(masks.Examples, "run", lambda self: {}["nothing"])  # stands for a mistake in any verb
    with pytest.raises(KeyError) as caught:  # a traceback for those who call it from Python
        main(["examples", "--out", "x"])
    report_mistake(caught.type, caught.value, caught.tb)
    said = capsys.readouterr().err
    assert "a mistake of proxymask's own (KeyError" in said
    report = Path(said.strip().split()[-1])
    assert "Traceback" in report.read_text()
    report.unlink()


def test_drawn_pictures_of_any_size_have_a_hint_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    from proxymask.cli import Verb, find_verb, parse

    for size, wanted in ((33, 32), (16, None)):
        assert main(["data", "avatars", "--count", "1", "--size", str(size), "--workers", "1", "--out", str(tmp_path / str(size))]) == 0
        hint = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("next: "))
        words = shlex.split(hint.removeprefix("next: "))
        _, rest, verb = find_verb(words[words.index("fit") :])
        assert isinstance(verb, Verb)
        assert parse(verb, ["fit"], rest).resolution == wanted


def test_inspect_describes_what_evaluate_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"bundle": "avatars", "mapper": "mask", "protocol": "standard", "count": 20}
    row = {"key": "miou", "name": "mIoU", "of": "masks", "value": 0.5, "count": 20}
    (tmp_path / "metrics.json").write_text(json.dumps({"format": 1, "about": about, "notes": ["a note"], "numbers": [row]}))
    for path in (tmp_path, tmp_path / "metrics.json"):
        assert main(["inspect", str(path)]) == 0
        shown = capsys.readouterr().out
        assert "an evaluation of the bundle avatars, mapper mask" in shown
        assert "mIoU, pictures from masks" in shown
        assert "note: a note" in shown
    (tmp_path / "metrics.json").write_text('{"about": {}, "numbers": []}')
    assert main(["inspect", str(tmp_path)]) == 2
    assert "no result of proxymask evaluate" in capsys.readouterr().err


def test_inspect_sums_the_clusters_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "avatars"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) < 40
    assert any("100 proxy clusters" in line for line in shown)
    assert any("in the largest" in line for line in shown)


@pytest.mark.parametrize(("flag", "value"), [("--blocks", 0), ("--width", 1)])
def test_judges_without_layers_are_refused(flag: str, value: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "judge", "--data", "photos", "--out", "r", flag, str(value)]) == 2
    assert capsys.readouterr().err.startswith(f"proxymask: {flag} must be a whole number, {value + 1} to ")
