"""The verbs of conditions, run for real: train, bundle add, condition, generate --input, demo; and the API beneath."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import tiny
from proxymask.cli import main
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.mask_files import example_masks
from proxymask.imaging.masks import read_mask
from proxymask.inference.bundle import Bundle
from proxymask.inference.conditions import join_logits
from proxymask.inference.joining import cells, distance_to
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.depth_net import DepthNet
from proxymask.models.mappers import load_mapper
from proxymask.training.parts import load_extractor

CPU = ("--device", "cpu", "--precision", "fp32")
MASK = example_masks() / "beard.png"
TRAIN = ("--steps", 2, "--batch", 2, "--grid-every", 2, "--unet-base", 256, "--unet-max", 16, *CPU)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert run(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def trained(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with mappers for sketch and scribble, each trained for two steps and put in."""
    folder = tmp_path_factory.mktemp("conditions")
    bundle = tiny_bundle
    for name in ("sketch", "scribble"):
        assert run("train", "mapper", "--bundle", bundle, "--condition", name, "--out", folder / name, *TRAIN) == 0
        assert (folder / name / "grids" / "00000002.png").is_file()
        assert run("bundle", "add", folder / name, "--bundle", bundle, "--out", folder / f"with-{name}") == 0
        bundle = folder / f"with-{name}"
    loaded = Bundle.load(bundle)
    with torch.no_grad():  # two steps teach little: let what they read show
        for name in ("sketch", "scribble"):
            loaded.mappers[name].out.weight.mul_(40)
    return loaded.save(folder / "all", half=False)


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawings") / "face.png"
    picture = Image.new("L", (120, 100), 255)
    ImageDraw.Draw(picture).ellipse((30, 15, 90, 85), outline=0, width=4)
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def scribble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scribbles") / "hair.png"
    picture = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(picture).line((10, 10, 54, 12), fill=(*AVATAR_LABELS.by_name("top").color, 255), width=4)
    picture.save(path)
    return path


def test_the_same_command_goes_on_or_refuses(trained: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained.parent / "sketch"
    words = ("train", "mapper", "--bundle", tiny_bundle, "--out", folder, *TRAIN)
    assert run(*words, "--condition", "sketch") == 0
    assert "other settings (--extractor was xdog and is ldc)" in fails_last(capsys, *words, "--condition", "sketch", "--extractor", "ldc")


def fails_last(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert run(*words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_train_refuses_in_one_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "mapper", "--out", tmp_path / "x", *TRAIN)
    assert "give --generator, or --bundle" in fails(capsys, *words, "--condition", "sketch")
    bundle = (*words, "--bundle", tiny_bundle)
    assert "unknown condition 'sktch'" in fails(capsys, *bundle, "--condition", "sktch")
    assert "made of labels, not by an extractor" in fails(capsys, *bundle, "--extractor", "xdog")
    assert "no discriminator to start" in fails(capsys, *bundle, "--condition", "sketch", "--unet-start", "discriminator")
    assert not (tmp_path / "x").exists()


def test_bundle_add_refuses_what_does_not_fit(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "trained with another generator" in fails(
        capsys, "bundle", "add", trained.parent / "sketch", "--bundle", tiny.EMBEDDED_BUNDLE, "--out", tmp_path
    )
    assert "does not exist" in fails(capsys, "bundle", "add", tmp_path / "none", "--out", tmp_path / "x")


def test_the_card_names_the_terms_of_the_extractor(trained: Path, tmp_path: Path) -> None:
    card = (trained.parent / "with-sketch" / "README.md").read_text(encoding="utf-8")
    line = "- sketch: Winnemöller et al. 2012; own code; Apache-2.0\n"
    assert card.count(line) == 1
    assert (trained.parent / "with-scribble" / "README.md").read_text(encoding="utf-8").count(line) == 1  # an older mapper's stay
    loaded = Bundle.load(trained.parent / "with-sketch")
    again = loaded.save(tmp_path / "again", card=card + "\n## Notes\n\nOurs.\n")
    text = (again / "README.md").read_text(encoding="utf-8")
    assert text.count(line) == 1
    assert "Ours." in text
    del loaded.mappers["sketch"], loaded.conditions["sketch"]
    plain = loaded.save(tmp_path / "plain", card=text)
    assert "Winnemöller" not in (plain / "README.md").read_text(encoding="utf-8")


def test_inspect_names_what_mappers_read(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", trained) == 0
    assert "mappers: mask, scribble, sketch" in capsys.readouterr().out


def test_generate_follows_the_drawing_and_is_what_the_api_paints(trained: Path, drawing: Path, tmp_path: Path, capsys) -> None:
    words = ("generate", "--bundle", trained, "--condition", "sketch", "--style-seed", 3, *CPU)
    assert run(*words, "--input", drawing, "--out", tmp_path / "a.png") == 0
    assert "blank margins" in capsys.readouterr().err
    synth = Synthesizer.from_pretrained(trained, "cpu", "fp32")
    synth.set_style(seed=3)
    result = synth.generate(drawing, condition="sketch")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), np.asarray(result.picture))
    assert result.notes
    other = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(other).rectangle((4, 30, 30, 60), outline=0, width=3)
    assert not np.array_equal(np.asarray(synth.generate(other, condition="sketch").picture), np.asarray(result.picture))
    inverted = Image.fromarray(255 - pixels(drawing))
    for source, invert in ((inverted, False), (inverted, True)):
        again = synth.generate(source, condition="sketch", invert=invert)
        np.testing.assert_array_equal(np.asarray(again.picture), np.asarray(result.picture))
    assert run(*words, "--input", drawing, "--out", tmp_path / "many", "--count", 2) == 0
    assert {p.name for p in (tmp_path / "many").iterdir()} == {"face__3.png", "face__4.png"}


def test_a_photo_goes_through_the_extractor(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    mask = read_mask(MASK, AVATAR_LABELS, 128)
    Image.fromarray(AVATAR_LABELS.colors[mask]).save(photo)
    words = ("generate", "--bundle", trained, "--condition", "sketch", *CPU, "--input", photo)
    assert "--from-photo" in fails(capsys, *words, "--out", tmp_path / "x.png")
    assert run(*words, "--from-photo", "--out", tmp_path / "a.png") == 0
    assert run("condition", "sketch", photo, "--bundle", trained, "--out", tmp_path / "seen.png") == 0
    assert pixels(tmp_path / "seen.png").shape == (32, 32, 3)
    synth = Synthesizer.from_pretrained(trained, "cpu", "fp32")
    direct = synth.read_condition(photo, "sketch", from_photo=True)
    back = synth.read_condition(tmp_path / "seen.png", "sketch")
    assert float((direct.planes - back.planes).abs().mean()) < 0.05  # what it shows can be handed in again
    assert "leave --invert or --from-photo out" in fails(capsys, *words, "--from-photo", "--invert", "--out", tmp_path / "x.png")


def test_condition_shows_scribbles_and_drawings(trained: Path, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--bundle", trained)
    for name in "ab":
        assert run("condition", "scribble", MASK, "--out", tmp_path / f"{name}.png", *where) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert run("condition", "scribble", MASK, "--seed", 1, "--out", tmp_path / "c.png", *where) == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()
    assert run("generate", "--condition", "scribble", "--input", tmp_path / "a.png", "--out", tmp_path / "o.png", *where, *CPU) == 0
    assert run("condition", "sketch", drawing, "--drawn", "--out", tmp_path / "d.png", *where) == 0
    capsys.readouterr()
    assert "looks like a photo" in fails(capsys, "condition", "sketch", MASK, "--drawn", "--out", tmp_path / "e.png", *where)
    assert "add --drawn" in fails(capsys, "condition", "sketch", drawing, "--invert", "--out", tmp_path / "e.png", *where)


def test_unpainted_keeps_the_style_or_asks_the_mapper(trained: Path, scribble: Path) -> None:
    synth = Synthesizer.from_pretrained(trained, "cpu", "fp32")
    style = synth.set_style(seed=3)
    reading = synth.read_condition(scribble, "scribble")
    painted = cells(reading.painted, synth.bundle.cut)
    assert 0 < int(painted.sum()) < painted.numel() / 2
    own = synth.bundle.clusters.assign(style.state.features)[0].numpy()
    kept = synth.generate(scribble, condition="scribble", unpainted="style").proxy_mask
    asked = synth.generate(scribble, condition="scribble").proxy_mask
    outside = ~painted.numpy()
    np.testing.assert_array_equal(kept[outside], own[outside])
    np.testing.assert_array_equal(kept[~outside], asked[~outside])
    assert (asked[outside] != own[outside]).any()


def test_two_conditions_share_by_nearness(trained: Path, drawing: Path, scribble: Path, tmp_path: Path, capsys) -> None:
    synth = Synthesizer.from_pretrained(trained, "cpu", "fp32")
    synth.set_style(seed=3)
    readings = [synth.read_condition(scribble, "scribble"), synth.read_condition(drawing, "sketch")]
    each = [synth.mixed_logits([r], [name]).log_softmax(dim=1) for r, name in zip(readings, ("scribble", "sketch"), strict=True)]
    side = synth.bundle.cut
    left = torch.zeros(32, 32, dtype=torch.bool)
    left[:, :4] = True
    joined = join_logits(each, [left, left.flip(1)])
    assert torch.allclose(joined[..., 0], each[0][..., 0], atol=0.05)  # where one is painted it decides
    assert torch.allclose(joined[..., -1], each[1][..., -1], atol=0.05)
    both = join_logits(each, [left, left])
    assert torch.allclose(both, (each[0] + each[1]) / 2, atol=1e-5)  # where both are, they count alike
    alone = join_logits(each, [left, torch.zeros_like(left)])
    assert torch.allclose(alone[..., 0], each[0][..., 0], atol=0.1)
    assert float(distance_to(cells(left, side))[0, -1]) == side - 1 - 1
    words = ("generate", "--bundle", trained, "--condition", "scribble", "sketch", "--style-seed", 3, *CPU)
    assert run(*words, "--input", scribble, drawing, "--out", tmp_path / "m.png") == 0
    mixed = synth.generate_mixed([("scribble", scribble), ("sketch", drawing)])
    np.testing.assert_array_equal(pixels(tmp_path / "m.png"), np.asarray(mixed.picture))
    assert mixed.notes == ("sketch: it is 120x100: blank margins make it square",)
    capsys.readouterr()
    assert "one input for each condition" in fails(capsys, *words, "--input", scribble, "--out", tmp_path / "m.png")


def test_generate_refuses_in_one_line(trained: Path, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("generate", "--bundle", trained, "--out", tmp_path / "x.png", *CPU)
    assert "there is no input: give --mask" in fails(capsys, *words)
    assert "--condition needs --input" in fails(capsys, *words, "--condition", "sketch")
    assert "not both" in fails(capsys, *words, "--mask", MASK, "--condition", "sketch", "--input", drawing)
    assert "--invert goes with --input" in fails(capsys, *words, "--mask", MASK, "--invert")
    assert "--from-photo goes with a photo" in fails(capsys, *words, "--mask", MASK, "--from-photo")
    assert "name its kind: --condition sketch" in fails(capsys, *words, "--input", drawing)
    assert "a folder of whole masks is given with --mask" in fails(capsys, *words, "--condition", "mask", "--input", MASK.parent)
    assert "no mapper for depth (it reads: mask, scribble, sketch)" in fails(capsys, *words, "--condition", "depth", "--input", drawing)
    assert "--mapper mask does not read sketch (it reads mask)" in fails(
        capsys, *words, "--condition", "sketch", "--mapper", "mask", "--input", drawing
    )
    blank = tmp_path / "blank.png"
    Image.new("L", (50, 50), 255).save(blank)
    assert "is empty" in fails(capsys, *words, "--condition", "sketch", "--input", blank)
    assert "cannot be inverted" in fails(capsys, *words, "--condition", "scribble", "--invert", "--input", blank)
    assert not (tmp_path / "x.png").exists()


def test_mask_through_input_is_the_mask(trained: Path, tmp_path: Path) -> None:
    words = ("generate", "--bundle", trained, "--style-seed", 3, *CPU)
    assert run(*words, "--mask", MASK, "--out", tmp_path / "a.png") == 0
    assert run(*words, "--condition", "mask", "--input", MASK, "--out", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_a_folder_of_drawings(trained: Path, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(drawing.read_bytes())
    Image.new("L", (50, 50), 255).save(folder / "b.png")
    out = tmp_path / "out"
    assert run("generate", "--bundle", trained, "--condition", "sketch", "--input", folder, "--out", out, "--count", 2, *CPU) == 2
    assert "b.png is empty" in capsys.readouterr().err
    assert {p.name for p in out.iterdir()} == {"a__0.png", "a__1.png"}


def test_a_condition_of_ones_own(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "examples" / "conditions" / "darkness.py"
    assert run("train", "mapper", "--bundle", tiny_bundle, "--condition", f"{example}:darkness", "--out", tmp_path / "r", *TRAIN) == 0
    (tmp_path / "darkness.py").write_text(example.read_text().replace("1 -", "0.9 -"))
    changed = ("train", "mapper", "--bundle", tiny_bundle, "--condition", f"{tmp_path / 'darkness.py'}:darkness", *TRAIN)
    assert "other settings (extractor_network" in fails(capsys, *changed, "--out", tmp_path / "r")  # another function of the same name
    assert run("bundle", "add", tmp_path / "r", "--bundle", tiny_bundle, "--out", tmp_path / "b") == 0
    shades = tmp_path / "shades.png"
    Image.linear_gradient("L").save(shades)
    words = ("generate", "--bundle", tmp_path / "b", "--input", shades, *CPU)
    assert run(*words, "--condition", "darkness", "--out", tmp_path / "x.png") == 0
    assert run(*words, "--condition", f"{example}:darkness", "--from-photo", "--out", tmp_path / "y.png") == 0
    assert run("condition", f"{example}:darkness", shades, "--bundle", tmp_path / "b", "--out", tmp_path / "seen.png") == 0
    shown = pixels(tmp_path / "seen.png")[..., 0].astype(int)
    assert shown[0].mean() > 200 > 50 > shown[-1].mean()


def test_train_depth(tmp_path: Path) -> None:
    pytest.importorskip("robohash")
    data = tmp_path / "set"
    assert run("data", "avatars", "--count", 4, "--size", 32, "--depth", "--workers", 1, "--out", data) == 0
    assert len(list((data / "depth").iterdir())) == 4
    assert run("train", "depth", "--images", data, "--out", tmp_path / "r", "--steps", 2, "--batch", 2, "--width", 8, *CPU) == 0
    assert (tmp_path / "r" / "depth" / "model.safetensors").is_file()


def test_a_depth_network_goes_into_the_bundle(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run keeps it, bundle add takes it, and then a photo needs no --weights; a mapper that takes the place brings its own or none."""
    torch.manual_seed(0)
    network = DepthNet(8)
    network.save_pretrained(tmp_path / "depth-run" / "depth")
    weights = ("--weights", tmp_path / "depth-run")
    words = ("train", "mapper", "--bundle", tiny_bundle, "--condition", "depth", *TRAIN)
    assert run(*words, "--extractor", "depth-net", *weights, "--out", tmp_path / "r") == 0
    kept = load_extractor(tmp_path / "r")
    assert kept is not None
    assert tiny.differing(network.state_dict(), kept.state_dict()) == []
    (tmp_path / "depth-run" / "depth").rename(tmp_path / "elsewhere")
    DepthNet(8).save_pretrained(tmp_path / "depth-run" / "depth")
    assert "extractor_network" in fails(capsys, *words, "--extractor", "depth-net", *weights, "--out", tmp_path / "r")  # another network
    again = load_extractor(tmp_path / "r")
    assert again is not None
    assert tiny.differing(kept.state_dict(), again.state_dict()) == []
    capsys.readouterr()
    assert run("bundle", "add", tmp_path / "r", "--bundle", tiny_bundle, "--out", tmp_path / "b") == 0
    assert "--weights" not in capsys.readouterr().err
    assert run("inspect", tmp_path / "b") == 0
    assert "extractors/depth" in capsys.readouterr().out
    photo, stored = tmp_path / "photo.png", tmp_path / "b" / "extractors" / "depth"
    mask = read_mask(MASK, AVATAR_LABELS, 128)
    Image.fromarray(AVATAR_LABELS.colors[mask]).save(photo)
    for name, given in {"own": (), "same": ("--weights", stored)}.items():
        assert run("condition", "depth", photo, "--bundle", tmp_path / "b", *given, "--out", tmp_path / f"{name}.png") == 0
        generate = ("generate", "--bundle", tmp_path / "b", "--condition", "depth", "--input", photo, "--from-photo", *given, *CPU)
        assert run(*generate, "--out", tmp_path / f"{name}-picture.png") == 0
    np.testing.assert_array_equal(pixels(tmp_path / "own.png"), pixels(tmp_path / "same.png"))
    np.testing.assert_array_equal(pixels(tmp_path / "own-picture.png"), pixels(tmp_path / "same-picture.png"))
    out = tmp_path / "demo"
    assert run("demo", "--bundle", tmp_path / "b", "--out", out, "--masks", MASK, "--styles", 2, *CPU) == 0
    assert len(list((out / "pictures" / "depth").iterdir())) == 4

    words = ("train", "mapper", "--bundle", tmp_path / "b", "--condition", "depth", *TRAIN)
    assert run(*words, "--extractor", "depth-net", "--out", tmp_path / "next") == 0  # the network of the bundle, as nothing else is given
    following = load_extractor(tmp_path / "next")
    assert following is not None
    bundled = Bundle.load(tmp_path / "b").extractors["depth"]
    assert tiny.differing(bundled.half().state_dict(), following.half().state_dict()) == []

    assert run("bundle", "add", tmp_path / "r", "--bundle", tmp_path / "b", "--name", "second", "--out", tmp_path / "two") == 0
    assert sorted(Bundle.load(tmp_path / "two").extractors) == ["depth", "second"]
    shutil.rmtree(tmp_path / "r" / "extractor")  # as an earlier version left it
    capsys.readouterr()
    assert run("bundle", "add", tmp_path / "r", "--bundle", tmp_path / "b", "--out", tmp_path / "b") == 0
    assert f"{tmp_path / 'r'} keeps no depth network" in capsys.readouterr().err
    assert Bundle.load(tmp_path / "b").extractors == {}
    assert not (tmp_path / "b" / "extractors").exists()
    bare = fails(capsys, "condition", "depth", photo, "--bundle", tmp_path / "b", "--out", tmp_path / "x.png")
    assert "depth-net is a network that you train (proxymask train depth): name its folder with --weights" in bare


def test_demo_shows_every_condition(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run("demo", "--bundle", trained, "--out", out, "--masks", MASK, "--styles", 2, *CPU) == 0
    for name in ("sketch", "scribble"):
        assert len(list((out / "conditions" / name).iterdir())) == 2
        assert len(list((out / "pictures" / name).iterdir())) == 4
    with Image.open(out / "contact_sheet.png") as sheet:
        tall = sheet.height
    assert run("demo", "--bundle", tiny.EMBEDDED_BUNDLE, "--out", tmp_path / "plain", "--masks", MASK, "--styles", 2, *CPU) == 0
    with Image.open(tmp_path / "plain" / "contact_sheet.png") as sheet:
        assert tall > sheet.height + 4 * 192 or Bundle.load(tiny.EMBEDDED_BUNDLE).conditions


def test_pairs_in_shards_and_of_real_pictures(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mapper of pictures tells the proxy masks of real ones, and runs share a cache; what does not fit is refused in one line."""
    rng = np.random.default_rng(0)
    (tmp_path / "real").mkdir()
    for number in range(3):
        small = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
        small.resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / "real" / f"{number}.png")
    words = ("train", "mapper", "--bundle", tiny_bundle, *TRAIN)
    cached = ("--cache", tmp_path / "cache", "--cache-pairs", 5)
    assert run(*words, "--condition", "picture", "--out", tmp_path / "picture") == 0
    real = ("--images", tmp_path / "real", "--picture-mapper", tmp_path / "picture")
    capsys.readouterr()
    assert run(*words, "--condition", "sketch", *real, *cached, "--out", tmp_path / "one") == 0
    assert f"pairs: 5 in {tmp_path / 'cache'}, " in capsys.readouterr().out
    made_at = (tmp_path / "cache" / "pairs-00000.safetensors").stat().st_mtime_ns
    assert run(*words, "--condition", "sketch", *cached, "--unet-max", 8, "--out", tmp_path / "two") == 0
    assert (tmp_path / "cache" / "pairs-00000.safetensors").stat().st_mtime_ns == made_at
    onward = ("--start", tmp_path / "two", "--unet-max", 8, "--learning-rate", 1e-30, "--out", tmp_path / "onward")
    assert run(*words, "--condition", "hed", "--extractor", "xdog", *onward) == 0
    before, after = (load_mapper(tmp_path / name / "mapper") for name in ("two", "onward"))
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.named_parameters())
    assert int(after.seen) == 2  # the mean condition is that of the new run
    other = fails_last(capsys, *words, "--condition", "sketch", "--start", tmp_path / "two", "--out", tmp_path / "eight")
    assert "holds a mapper of other widths or planes" in other
    assert run(*words, "--condition", "mask", "--cache", tmp_path / "masks", "--out", tmp_path / "three") == 0
    stale = fails_last(capsys, *words, "--condition", "scribble", *cached, "--out", tmp_path / "four")
    assert "holds pairs of something else (channels was 1 and is " in stale
    bare = fails_last(capsys, *words, "--condition", "sketch", "--picture-mapper", tmp_path / "picture", "--out", tmp_path / "five")
    assert "name them with --images" in bare
    wrong = fails_last(capsys, *words, "--condition", "sketch", *real[:2], "--picture-mapper", tmp_path / "two", "--out", tmp_path / "six")
    assert "is no mapper of pictures: train one with proxymask train mapper --condition picture" in wrong
    labels = fails_last(capsys, *words, "--condition", "scribble", *real, "--out", tmp_path / "seven")
    assert "a scribble is made of labels, which real pictures have not" in labels
    with_it = tmp_path / "with-picture"
    assert run("bundle", "add", tmp_path / "picture", "--bundle", tiny_bundle, "--out", with_it) == 0
    photo = tmp_path / "real" / "0.png"
    assert run("generate", "--bundle", with_it, "--condition", "picture", "--input", photo, "--out", tmp_path / "out.png", *CPU) == 0
    assert pixels(tmp_path / "out.png").shape[2] == 3


def test_a_smaller_mapper_learns_from_the_bundles(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("train", "mapper", "--bundle", tiny_bundle, "--steps", 2, "--batch", 2, "--widths", 8, 4, 4, *CPU)
    assert run(*small, "--teacher", tiny_bundle, "--out", tmp_path / "one") == 0
    mapper = load_mapper(tmp_path / "one" / "mapper")
    assert mapper.config["widths"] == [8, 4, 4]
    assert (tmp_path / "one" / "labels.json").is_file()
    assert run(*small, "--teacher", tmp_path / "one", tiny_bundle, "--out", tmp_path / "two") == 0
    pictures = fails_last(capsys, *small, "--teacher", tiny_bundle, "--images", tiny_bundle, "--out", tmp_path / "three")
    assert "with --teacher a mapper of masks learns from the teachers alone: leave --images out" in pictures
    other = fails_last(capsys, *small, "--teacher", tiny_bundle, "--condition", "sketch", "--out", tmp_path / "four")
    assert "leave --condition out" in other
