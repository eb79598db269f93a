"""Every verb, run for real in this process against a tiny bundle with random weights."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from proxymask import __version__
from proxymask.cli import SECTIONS, Group, main
from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.mask_files import example_masks, find_masks
from proxymask.imaging.masks import write_mask
from proxymask.inference.bundle import Bundle
from proxymask.inference.find import EMBEDDED
from proxymask.inference.synthesizer import Synthesizer

MASK = example_masks() / "beard.png"
CPU = ("--device", "cpu", "--precision", "fp32")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must end with status 2 and one line on stderr; returns that line."""
    capsys.readouterr()
    assert run(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("proxymask: ")
    return lines[0]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture
def bundle(tiny_bundle: Path) -> tuple[object, ...]:
    return ("--bundle", tiny_bundle, *CPU)


# Help


def test_help_names_every_verb_and_needs_no_pytorch():
    code = (
        "import sys; from proxymask.cli import main; assert main(['--help']) == 0;"
        "assert 'torch' not in sys.modules and 'tyro' not in sys.modules;"
        "assert main(['data', 'avatars', '--help']) == 0; assert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for section in SECTIONS.values():
        for name, entry in section.items():
            assert f"  {name} " in shown
            assert entry.summary in shown


@pytest.mark.parametrize("words", [(name,) for section in SECTIONS.values() for name in section], ids=lambda words: words[0])
def test_every_verb_explains_itself(words, capsys):
    entry = next(section[words[0]] for section in SECTIONS.values() if words[0] in section)
    leaves = [(*words, child) for child in entry.children()] if isinstance(entry, Group) else [words]
    assert run(*words, "--help") == 0
    for leaf in leaves:
        capsys.readouterr()
        assert run(*leaf, "--help") == 0
        shown = capsys.readouterr().out
        assert f"usage: proxymask {' '.join(leaf)}" in shown
        assert "Example" in shown, f"{leaf} shows no example"


def test_version_and_unknown_words(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == f"proxymask {__version__}"
    assert "did you mean generate" in fails(capsys, "generte")
    assert "there are: avatars, cats, churches, bedrooms, prepare" in fails(capsys, "data", "xyz")
    assert run("generate", "--mask", MASK) == 2  # --out is missing: tyro says so
    assert "--out" in capsys.readouterr().err


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "proxymask", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("proxymask: ")


# Pictures


def test_generate_one_picture_repeats_exactly(bundle, tmp_path, capsys):
    for name in ("a", "b"):
        assert run("generate", "--mask", MASK, "--out", tmp_path / f"{name}.png", "--style-seed", 3, *bundle) == 0
    assert run("generate", "--mask", MASK, "--out", tmp_path / "c.png", "--seed", 4, *bundle) == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert pixels(tmp_path / "a.png").shape == (32, 32, 3)


def test_generate_is_what_the_api_paints(bundle, tmp_path):
    assert run("generate", "--mask", MASK, "--out", tmp_path / "cli.png", "--style-seed", 3, *bundle) == 0
    synth = Synthesizer.from_pretrained(bundle[bundle.index("--bundle") + 1], "cpu", "fp32")
    synth.set_style(seed=3)
    np.testing.assert_array_equal(pixels(tmp_path / "cli.png"), np.asarray(synth(MASK)))


def test_generate_folder_in_several_styles(bundle, tmp_path):
    out = tmp_path / "out"
    assert run("generate", "--mask", MASK.parent, "--out", out, "--style-seed", 5, "--count", 2, *bundle) == 0
    masks = find_masks(MASK.parent, AVATAR_LABELS)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {f"{m.name}__{s}.png" for m in masks for s in (5, 6)}
    assert run("generate", "--mask", MASK, "--out", tmp_path / "one.png", "--style-seed", 6, *bundle) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "one.png"), pixels(out / "beard__6.png"))


def test_generate_styles_and_truncation_matter(bundle, tmp_path):
    out = tmp_path / "styles"
    assert run("generate", "--mask", MASK, "--out", out, "--count", 2, *bundle) == 0
    assert run("generate", "--mask", MASK, "--out", tmp_path / "low.png", "--truncation", 0.3, *bundle) == 0
    pictures = [pixels(out / "beard__0.png"), pixels(out / "beard__1.png"), pixels(tmp_path / "low.png")]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_generate_names_bad_masks_and_renders_the_others(bundle, tmp_path, capsys):
    folder = tmp_path / "masks"
    folder.mkdir()
    shutil.copy(MASK, folder / "good.png")
    (folder / "broken.png").write_bytes(MASK.read_bytes()[:300])
    assert run("generate", "--mask", folder, "--out", tmp_path / "out", *bundle) == 2
    said = capsys.readouterr().err
    assert "broken.png" in said
    assert "1 of 2 masks could not be used" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good__0.png"]


def test_generate_takes_a_folder_with_a_file_a_class(bundle, tmp_path):
    ids = pixels(MASK)
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in np.unique(ids):
        Image.fromarray((ids == i).astype(np.uint8) * 255).save(folder / f"{AVATAR_LABELS.names[i]}.png")
    for mask, name in ((folder, "folder.png"), (MASK, "file.png")):
        assert run("generate", "--mask", mask, "--out", tmp_path / name, *bundle) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "folder.png"), pixels(tmp_path / "file.png"))


def test_generate_refuses_in_one_line(bundle, tmp_path, capsys):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photo)
    wide = tmp_path / "wide.png"
    write_mask(wide, np.zeros((32, 64), np.uint8), AVATAR_LABELS)
    unknown = tmp_path / "unknown.png"
    Image.fromarray(np.full((32, 32), 12, np.uint8)).save(unknown)
    out = ("--out", tmp_path / "x.png", *bundle)
    assert "does not exist" in fails(capsys, "generate", "--mask", tmp_path / "none.png", *out)
    assert "looks like a photo" in fails(capsys, "generate", "--mask", photo, *out)
    assert "not a square" in fails(capsys, "generate", "--mask", wide, *out)
    assert "12 (1,024 pixels" in fails(capsys, "generate", "--mask", unknown, *out)
    assert "give a folder" in fails(capsys, "generate", "--mask", MASK.parent, *out)
    assert "give a folder" in fails(capsys, "generate", "--mask", MASK, "--count", 3, *out)
    assert "--count" in fails(capsys, "generate", "--mask", MASK, "--count", 0, *out)
    assert ".png" in fails(capsys, "generate", "--mask", MASK, "--out", tmp_path / "x.gif2", *bundle)
    assert "no bundle" in fails(capsys, "generate", "--mask", MASK, "--out", tmp_path / "x.png", "--bundle", "nowhere")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(bundle, tmp_path, capsys):
    words = ("generate", "--mask", MASK, "--out", tmp_path / "x.png", "--bundle", bundle[1], "--device", "cuda")
    assert "--device cpu" in fails(capsys, *words)


def test_unwritable_output_is_one_line(bundle, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in fails(capsys, "generate", "--mask", MASK, "--out", tmp_path / "file" / "x.png", *bundle)


def test_sample_repeats_and_leaves_sidecars(bundle, tmp_path):
    for name in ("a", "b"):
        assert run("sample", "--count", 3, "--out", tmp_path / name, "--with-proxy", "--with-labels", "--seed", 11, *bundle) == 0
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert {"000000.png", "000000.json", "000000.proxy.png", "000000.labels.png", "000002.png"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert json.loads((tmp_path / "a" / "000001.json").read_text())["seed"] == 12


def test_transfer(bundle, tmp_path, capsys):
    for name, style in (("a", 8), ("b", 8), ("c", 9)):
        words = ("transfer", "--shape-seed", 3, "--style-seed", style, "--out", tmp_path / f"{name}.png", *bundle)
        assert run(*words) == 0
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert ".png" in fails(capsys, "transfer", "--shape-seed", 1, "--style-seed", 2, "--out", tmp_path / "noname", *bundle)


# Data


def test_data_verbs_and_inspect(tmp_path, capsys):
    pytest.importorskip("robohash")
    for kind in ("avatars", "cats"):
        out = tmp_path / kind
        assert run("data", kind, "--count", 3, "--size", 24, "--seed", 5, "--out", out, "--workers", 1) == 0
        assert len(list((out / "images").iterdir())) == len(list((out / "masks").iterdir())) == 3
        capsys.readouterr()
        assert run("inspect", out) == 0
        assert f"3 {kind} of 24x24" in capsys.readouterr().out
    (tmp_path / "avatars" / "images" / "000001.png").unlink()
    assert run("inspect", tmp_path / "avatars") == 2
    assert "lacks 1 picture:" in capsys.readouterr().err
    assert run("data", "avatars", "--count", 3, "--size", 24, "--seed", 5, "--out", tmp_path / "avatars", "--workers", 1) == 0
    assert run("data", "avatars", "--count", 2, "--size", 24, "--out", tmp_path / "full", "--framing", "full", "--workers", 1) == 0
    assert "another data set" in fails(capsys, "data", "avatars", "--count", 3, "--size", 32, "--out", tmp_path / "avatars")
    assert run("data", "prepare", tmp_path / "avatars", "--size", 16, "--out", tmp_path / "set") == 0
    capsys.readouterr()
    assert run("inspect", tmp_path / "set") == 0
    shown = capsys.readouterr().out
    assert "3 pictures of 16x16" in shown
    assert "facial_hair" in shown


@pytest.mark.parametrize("kind", ["churches", "bedrooms"])
def test_data_of_scenes_and_inspect(kind, tmp_path, capsys):
    pytest.importorskip("embreex")
    assert run("data", kind, "--count", 2, "--size", 8, "--depth", "--out", tmp_path / "set", "--workers", 1) == 0
    assert f"2 {kind} of 8x8 with their masks" in capsys.readouterr().out
    assert len(list((tmp_path / "set/depth").iterdir())) == 2
    assert run("inspect", tmp_path / "set") == 0
    shown = capsys.readouterr().out
    assert f"2 {kind} of 8x8" in shown
    assert "framing" not in shown
    assert "made by proxymask" in shown


def test_of_many_files_that_cannot_be_used_a_few_are_named(tmp_path, capsys):
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(9):
        noise = np.random.default_rng(index).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(masks / f"{index}.png")
    shutil.copy(MASK, masks / "good.png")
    assert run("generate", "--mask", masks, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert shown.count("looks like a photo") == 5
    assert "skipped: 4 more files" in shown


def test_data_prepare_names_what_it_skips(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (20, 30), "red").save(photos / "ok.jpg")
    (photos / "cut.png").write_bytes(MASK.read_bytes()[:100])
    assert run("data", "prepare", photos, "--size", 16, "--out", tmp_path / "set") == 0
    shown = capsys.readouterr()
    assert "cut.png" in shown.err
    assert "1 picture of 16x16" in shown.out
    assert "1 skipped" in shown.out
    assert "does not exist" in fails(capsys, "data", "prepare", tmp_path / "none", "--size", 16, "--out", tmp_path / "other")


# Looking inside


def test_inspect_bundle(tiny_bundle, capsys):
    assert run("inspect", tiny_bundle) == 0
    shown = capsys.readouterr().out
    for text in (
        "complete bundle",
        "32x32",
        "cut at 16",
        "mappers: mask",
        "detail networks: none",
        "facial_hair",
        "5 proxy clusters",
        "licences",
        "personal",
    ):
        assert text in shown, text
    assert run("inspect", tiny_bundle / "generator") == 0
    assert "a saved Generator" in capsys.readouterr().out
    assert run("inspect", tiny_bundle / "labels.json") == 0
    assert "9 labels" in capsys.readouterr().out
    assert run("inspect", tiny_bundle / "generator" / "model.safetensors") == 0
    assert "tensors" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["truncated", "missing", "version", "json"])
def test_damaged_bundles(tiny_bundle, tmp_path, capsys, damage):
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    weights, about = folder / "rearranger" / "model.safetensors", folder / "bundle.json"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "missing":
        weights.unlink()
    elif damage == "version":
        about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    else:
        about.write_text(about.read_text()[:50])
    expected = {"truncated": "damaged", "missing": "missing", "version": "format 99", "json": "not valid JSON"}[damage]
    assert expected in fails(capsys, "inspect", folder)
    assert expected in fails(capsys, "generate", "--mask", MASK, "--out", tmp_path / "x.png", "--bundle", folder)


def test_inspect_run(tmp_path, capsys):
    run_folder = tmp_path / "run"
    good = run_folder / "checkpoint-00000020"
    good.mkdir(parents=True)
    (good / "state.json").write_text(
        json.dumps({"format": 1, "step": 20, "bad_steps": 3, "identity": {"stage": "mapper", "batch": 4, "seed": 7}})
    )
    (good / "state.safetensors").write_bytes(b"\x00" * 4)
    stats = {"step": 20, "samples": 80, "seconds": 400.0, "samples_per_second": 0.2, "bad_steps": 3, "loss/mask": 0.25}
    (run_folder / "stats.jsonl").write_text(json.dumps(stats) + '\n{"step": 3')
    assert run("inspect", run_folder) == 2
    shown = capsys.readouterr()
    for text in ("stage mapper", "saved at step 20", "batch: 4", "7 min", "loss/mask", "0.25", "checkpoint-00000020", "not finite: 3"):
        assert text in shown.out, text
    assert "damaged or truncated" in shown.err


def test_inspect_what_training_wrote(tmp_path, capsys):
    pytest.importorskip("robohash")
    images, runs = tmp_path / "avatars", tmp_path / "runs"
    small = ("--z-dim", 8, "--channel-base", 64, "--channel-max", 8)
    assert run("data", "avatars", "--count", 8, "--size", 16, "--out", images, "--workers", 1) == 0
    words = ("--steps", 2, "--batch", 4, "--resolution", 16, *small, *CPU)
    assert run("train", "generator", "--images", images, "--out", runs / "generator", *words) == 0
    cluster = ("cluster", "--generator", runs / "generator", "--out", runs / "clusters")
    assert run(*cluster, "--clusters", 3, "--samples", 8, "--cut", 8, *CPU) == 0
    capsys.readouterr()
    assert run("inspect", runs) == 0
    shown = capsys.readouterr().out
    for text in ("stage generator, finished at step 2", "g/loss", "a saved Generator", "a saved Discriminator", "3 proxy clusters of 512"):
        assert text in shown, text


def test_inspect_masks_pictures_and_samples(tiny_bundle, bundle, tmp_path, capsys):
    assert run("inspect", MASK, "--bundle", tiny_bundle) == 0
    assert "256x256 pixels, 8 of 9 classes" in capsys.readouterr().out
    assert run("inspect", MASK) == 0
    assert "256x256 pixels, 8 of 9 classes" in capsys.readouterr().out  # labels.json lies next to it
    alone = shutil.copy(MASK, tmp_path)
    assert run("inspect", alone) == 0
    assert "palette picture" in capsys.readouterr().out
    assert run("sample", "--count", 2, "--out", tmp_path / "samples", *bundle) == 0
    capsys.readouterr()
    assert run("inspect", tmp_path / "samples") == 0
    assert "2 samples of 32x32" in capsys.readouterr().out
    assert "does not exist" in fails(capsys, "inspect", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "nothing that proxymask knows" in fails(capsys, "inspect", tmp_path / "empty")


def test_mask_check(tiny_bundle, tmp_path, capsys):
    mask = np.zeros((128, 128), np.uint8)
    mask[30:100, 30:100] = 1
    mask[60:62, 60:62] = 2  # far less than a cell of 8 pixels
    write_mask(tmp_path / "mask.png", mask, AVATAR_LABELS)
    out = tmp_path / "overlay.png"
    assert run("mask", "check", tmp_path / "mask.png", "--bundle", tiny_bundle, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "3 of 9 classes" in shown
    assert "warning: eyes (4 pixels)" in shown
    assert "not in it: eyebrows" in shown
    assert pixels(out).shape[1] == 512
    assert pixels(out).shape[0] > 512
    Image.new("RGB", (128, 128), "white").save(tmp_path / "under.png")
    over = ("--over", tmp_path / "under.png", "--out", tmp_path / "over.png")
    assert run("mask", "check", tmp_path / "mask.png", "--bundle", tiny_bundle, *over) == 0
    assert not np.array_equal(pixels(out), pixels(tmp_path / "over.png"))
    assert "does not exist" in fails(capsys, "mask", "check", tmp_path / "no.png", "--bundle", tiny_bundle, "--out", out)


def test_a_bundle_without_labels_says_so(tiny_bundle, tmp_path, capsys):
    whole = Bundle.load(tiny_bundle)
    whole.labels, whole.segmenter, whole.mappers = None, None, {}
    bare = whole.save(tmp_path / "bare")
    for words in (("generate", "--mask", MASK, "--out", tmp_path / "x.png"), ("demo", "--out", tmp_path / "demo"), ("mask", "check", MASK)):
        assert "no labels yet" in fails(capsys, *words, "--bundle", bare)
    assert "no segmenter" in fails(capsys, "sample", "--count", 1, "--out", tmp_path / "s", "--with-labels", "--bundle", bare)
    assert run("sample", "--count", 1, "--out", tmp_path / "s", "--bundle", bare, *CPU) == 0


# Endings


def test_ctrl_c_and_stops(monkeypatch, capsys):
    from proxymask.cli import inspection
    from proxymask.training.loop import Stopped

    def raising(error: BaseException):
        def run_verb(self: object) -> None:
            raise error

        return run_verb

    for error, status, text in (
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (Stopped("mapper: stopped at step 3 of 9; run the same command again to go on"), 130, "stopped at step 3 of 9"),
        (ProxymaskError("two\nlines"), 2, "two lines"),
        (OSError(28, "No space left on device", "/a/file"), 2, "/a/file: No space left on device"),
        (MemoryError(), 2, "out of memory"),
    ):
        monkeypatch.setattr(inspection.Inspect, "run", raising(error))
        assert run("inspect", "x") == status
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert text in lines[0]
    monkeypatch.setattr(inspection.Inspect, "run", raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):  # the program itself says a line, see test_mistakes.py
        run("inspect", "x")


# The embedded model


def test_embedded_bundle(tmp_path, capsys):
    if not (EMBEDDED / tiny.EMBEDDED_BUNDLE / "bundle.json").is_file():
        pytest.skip(f"the embedded bundle {tiny.EMBEDDED_BUNDLE!r} is not in this checkout")
    assert run("inspect", tiny.EMBEDDED_BUNDLE) == 0
    assert "complete bundle" in capsys.readouterr().out
    bundle = ("--bundle", tiny.EMBEDDED_BUNDLE)
    for mask in find_masks(example_masks(), AVATAR_LABELS)[-2:]:
        assert run("mask", "check", mask.path, *bundle, "--out", tmp_path / "overlay.png") == 0
    assert run("generate", *bundle, "--mask", MASK, "--out", tmp_path / "x.png", "--style-seed", 3, *CPU) == 0
    picture = pixels(tmp_path / "x.png")
    assert picture.shape == (Bundle.load(tiny.EMBEDDED_BUNDLE).resolution,) * 2 + (3,)
    assert picture.std() > 20  # not a flat field
