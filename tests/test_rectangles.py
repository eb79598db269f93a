"""Generators whose pictures are not square, from the file to the picture of a mask; toy sizes, every verb run for real."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.conditions import get_condition
from proxymask.conditions.scribble import draw_strokes
from proxymask.core.errors import ProxymaskError
from proxymask.core.sizes import as_size, block_size, centre_box, height_width, same_aspect_ratio, short_text, size_text
from proxymask.data.dataset import ImageSet
from proxymask.data.prepare import prepare_folder
from proxymask.imaging.masks import read_mask
from proxymask.imaging.pictures import enlarged
from proxymask.inference.bundle import Bundle
from proxymask.inference.joining import cells, distance_to
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import seed_to_z
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.augment import diff_augment
from proxymask.training.parts import check_compatible, open_generator
from proxymask.training.segmenter import mirror_and_shift
from proxymask.training.stages.clusters import cluster_features

CPU = ("--device", "cpu", "--precision", "fp32")
QUIET = {"tensorboard": False, "batch": 2}
TOY = {
    "resolution": 16,
    "cut": 8,
    "num_clusters": 4,
    "cluster_samples": 8,
    "rearranger": {"hidden": 8, "position_channels": 8, "lambda_mix": 1.0, "adv_every": 1},
    "mapper": {"widths": [8, 8, 8], "hidden": 8, "lambda_adv": 1.0},
    "condition": {"unet_base": 128, "unet_max": 16, "unet_start": "discriminator"},
    "generator_loop": {"steps": 1, "grid_every": 1, **QUIET},
    "rearranger_loop": {"steps": 2, "grid_every": 2, **QUIET},
    "segmenter_loop": {"steps": 2, "grid_every": 0, **QUIET},
    "mapper_loop": {"steps": 2, "grid_every": 2, **QUIET},
    "detail_loop": {"steps": 4, "grid_every": 4, **QUIET},
}
STARTS = {"wide": (4, 8), "tall": (5, 4), "large": (8, 8)}
SIZES = {"wide": (16, 32), "tall": (20, 16), "large": (32, 32)}  # height, width


def run(*words: object) -> int:
    return main([str(word) for word in words])


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert run(*words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def paint(size: tuple[int, int]) -> np.ndarray:
    """Two parts on a background, another in every quarter."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    mask[: height // 2, width // 2 :] = 1
    mask[height // 2 :, : width // 3] = 2
    return mask


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize((90, 70)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=STARTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, int]]:
    """A folder with a generator, its discriminator and a whole bundle that fit made of it, and the size of the pictures."""
    root, start, size = tmp_path_factory.mktemp(request.param), STARTS[request.param], SIZES[request.param]
    tiny.make_generator(start=start).save_pretrained(root / "run" / "generator")
    tiny.make_discriminator(start=start).save_pretrained(root / "run" / "discriminator")
    (root / "toy.json").write_text(json.dumps(TOY | {"with_detail": request.param == "wide"}))
    words = ("fit", "--generator", root / "run", "--preset", root / "toy.json", "--cut", 8, "--label-samples", 1, *CPU)
    assert run(*words, "--out", root / "bundle") == 0
    waiting = root / "bundle.work" / "to-label"
    assert pixels(waiting / "000000.png").shape == (*size, 3)
    assert pixels(waiting / "000000.proxy.png").shape == size
    Image.fromarray(paint(size)).save(waiting / "000000.mask.png")
    assert run(*words, "--out", root / "bundle") == 0
    Image.fromarray(paint(size)).save(root / "mask.png")
    return root, size


def test_fit_makes_a_whole_bundle(made: tuple[Path, tuple[int, int]], capsys: pytest.CaptureFixture[str]) -> None:
    root, (height, width) = made
    bundle = Bundle.load(root / "bundle")
    assert height_width(bundle.size) == (height, width)
    assert bundle.clusters.size == bundle.rearranger.size == bundle.mappers["mask"].size == (height // 2, width // 2)
    assert bundle.clusters.occupancy.shape[1:] == (height // 2, width // 2)
    assert torch.allclose(bundle.clusters.occupancy.sum(dim=0), torch.ones(height // 2, width // 2))
    assert bundle.segmenter is not None
    assert bundle.segmenter.size == (height, width)
    assert json.loads((root / "bundle" / "bundle.json").read_text())["format"] == 3  # older versions refuse it in words
    capsys.readouterr()
    assert run("inspect", root / "bundle") == 0
    assert f"pictures: {width}x{height}, the generator cut at 8" in capsys.readouterr().out


def test_masks_become_pictures_of_the_generators_size(
    made: tuple[Path, tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, size = made
    bundle = ("--bundle", root / "bundle")
    assert run("generate", *bundle, "--mask", root / "mask.png", "--out", tmp_path / "a.png", *CPU) == 0
    synth = Synthesizer.from_pretrained(root / "bundle", "cpu", "fp32")
    synth.set_style(seed=0)
    result = synth.generate(root / "mask.png")
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(result.picture))
    assert np.asarray(result.picture).shape == (*size, 3)
    assert result.proxy_mask.shape == (size[0] // 2, size[1] // 2)
    assert np.array_equal(result.mask, paint(size))
    turned = np.ascontiguousarray(paint(size[::-1]))
    if size[0] != size[1]:
        with pytest.raises(ProxymaskError, match=f"not the shape of the pictures, {size[1]}x{size[0]}: crop it to that shape"):
            synth.read_mask(turned)
    twice = paint(size).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(synth.read_mask(twice), paint(size))
    assert run("mask", "check", root / "mask.png", *bundle, "--out", tmp_path / "check.png") == 0
    laid = pixels(tmp_path / "check.png")
    assert laid.shape[1] == round(512 * size[1] / max(size))
    assert run("transfer", *bundle, "--shape-seed", 1, "--style-seed", 2, "--out", tmp_path / "t.png", *CPU) == 0
    assert pixels(tmp_path / "t.png").shape == (*size, 3)
    assert run("sample", *bundle, "--count", 1, "--out", tmp_path / "s", "--with-proxy", "--with-labels", *CPU) == 0
    assert [pixels(tmp_path / "s" / f"000000{kind}.png").shape[:2] for kind in ("", ".proxy", ".labels")] == [size] * 3
    assert run("demo", *bundle, "--masks", root / "mask.png", "--styles", 2, "--out", tmp_path / "demo", *CPU) == 0
    assert pixels(next((tmp_path / "demo" / "pictures").iterdir())).shape == (*size, 3)
    assert run("inspect", tmp_path / "s") == 0
    assert f"1 sample of {size[1]}x{size[0]}" in capsys.readouterr().out


def test_a_sample_under_its_own_proxy_mask_is_laid_out_as_it_was(made: tuple[Path, tuple[int, int]]) -> None:
    """Rows and columns are not mistaken for each other: positions alone decide where all clusters are one."""
    root, _ = made
    bundle = Bundle.load(root / "bundle")
    split = bundle.split_generator()
    state = split.features(split.w(seed_to_z([3], tiny.Z)))
    torch.manual_seed(0)
    rearranger = Rearranger(**{**bundle.rearranger.config, "rgb": "keep"})
    rearranger.initialize(bundle.clusters.centroids, 1.0)
    rearranger.attend_to_clusters(0.0, 2000.0)
    with torch.no_grad():
        own = bundle.clusters.one_hot(bundle.clusters.assign(state.features))
        again = rearranger(state, own)
        weights = rearranger.attention_map(rearranger.encode_mask(own), rearranger.encode_style(state))[0]
    assert weights.argmax(dim=1).tolist() == list(range(weights.shape[0]))
    assert torch.allclose(again.features, state.features, atol=0.05 * float(state.features.abs().max()))


def test_conditions(made: tuple[Path, tuple[int, int]], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, size = made
    bundle: Path = root / "bundle"
    for name in ("sketch", "scribble"):
        words = ("--bundle", bundle, "--condition", name, "--preset", root / "toy.json", "--out", tmp_path / name, *CPU)
        start = ("--discriminator", root / "run", "--images", photos) if name == "sketch" else ("--unet-start", "fresh")
        assert run("train", "mapper", *words, *start) == 0, capsys.readouterr().err
        assert run("bundle", "add", tmp_path / name, "--bundle", bundle, "--out", tmp_path / f"with-{name}") == 0
        bundle = tmp_path / f"with-{name}"
    given = ("--bundle", bundle)
    assert run("condition", "sketch", photos / "0.png", *given, "--out", tmp_path / "lines.png") == 0
    assert run("condition", "scribble", root / "mask.png", *given, "--out", tmp_path / "strokes.png") == 0
    for name in ("lines", "strokes"):
        assert pixels(tmp_path / f"{name}.png").shape == (*size, 3)
    drawing = np.full((100, 120), 255, np.uint8)
    drawing[20:80, 58:62] = 0
    Image.fromarray(drawing).save(tmp_path / "drawing.png")
    inputs = ("--condition", "scribble", "sketch", "--input", tmp_path / "strokes.png", tmp_path / "drawing.png")
    for more in ((), ("--unpainted", "style")):
        assert run("generate", *given, *inputs, "--out", tmp_path / "both.png", *more, *CPU) == 0, capsys.readouterr().err
        assert pixels(tmp_path / "both.png").shape == (*size, 3)
    capsys.readouterr()
    photo = ("--condition", "sketch", "--input", photos / "0.png", "--from-photo")
    assert run("generate", *given, *photo, "--out", tmp_path / "photo.png", *CPU) == 0
    part = "centre square" if size[0] == size[1] else f"centre, in the shape of {size[1]}x{size[0]},"
    assert f"it is 90x70: its {part} is used" in capsys.readouterr().err


def test_real_pictures_are_prepared_in_their_shape(
    made: tuple[Path, tuple[int, int]], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, size = made
    copied = shutil.copytree(photos, tmp_path / "photos", ignore=shutil.ignore_patterns(".*"))
    words = ("--images", copied, "--preset", root / "toy.json", *CPU)
    generator = ("--generator", root / "run", "--clusters", root / "bundle")
    assert run("train", "rearranger", *generator, "--out", tmp_path / "r", *words) == 0, capsys.readouterr().err
    assert ImageSet.open(copied / f".prepared-{short_text(size)}").images([0]).shape == (1, 3, *size)
    assert json.loads((tmp_path / "r" / "stage.json").read_text())["identity"]["discriminator"] != "fresh"
    tuned = ("--resume-from", root / "run", "--augment", "color", "translation", "cutout")
    assert run("train", "generator", *tuned, "--out", tmp_path / "g", *words) == 0, capsys.readouterr().err
    again = open_generator(tmp_path / "g")[0]
    assert again.picture_size == size
    assert again.start == open_generator(root / "run")[0].start
    if size[0] == size[1]:
        return
    assert run("data", "prepare", copied, "--size", size[1], "--height", size[0], "--out", tmp_path / "set") == 0
    assert f"4 pictures of {size[1]}x{size[0]}" in capsys.readouterr().out
    for verb in (("train", "generator"), ("fit",)):
        said = fails(capsys, *verb, "--images", tmp_path / "set", "--preset", root / "toy.json", "--out", tmp_path / "x", *CPU)
        assert f"is prepared at {size[1]}x{size[0]}, and a new generator makes square pictures: prepare it at a square size" in said


def test_evaluate(made: tuple[Path, tuple[int, int]], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With masks and a judge of the same shape, trained here; and with the sizes said in the report."""
    root, size = made
    if size == SIZES["large"]:
        pytest.skip("square pictures are evaluated elsewhere")
    data, labels = tmp_path / "data", Bundle.load(root / "bundle").labels
    assert labels is not None
    (data / "images").mkdir(parents=True)
    (data / "masks").mkdir()
    labels.save(data / "labels.json")
    rng = np.random.default_rng(1)
    for i in range(20):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(data / "images" / f"{i:02d}.png")
        Image.fromarray(np.roll(paint(size), i, axis=1)).save(data / "masks" / f"{i:02d}.png")
    prepare_folder(data, tmp_path / "set", as_size(size))
    judge = ("train", "judge", "--data", tmp_path / "set", "--out", tmp_path / "judge", "--steps", 2, "--batch", 4, "--width", 8)
    if any(side % 8 for side in size):
        assert f"--size {short_text(size)}: a judge reads pictures whose side" in fails(capsys, *judge, *CPU)
        prepare_folder(data, tmp_path / "set2", 24)
        judge = (*judge[:3], tmp_path / "set2", *judge[4:])
    assert run(*judge, *CPU) == 0, capsys.readouterr().err
    words = ("--bundle", root / "bundle", "--data", tmp_path / "set", "--judge", tmp_path / "judge", "--count", 10, *CPU)
    assert run("evaluate", *words, "--out", tmp_path / "report") == 0, capsys.readouterr().err
    about = json.loads((tmp_path / "report" / "metrics.json").read_text())["about"]
    assert as_size(about["resolution"]) == as_size(size)
    assert f"{short_text(size)} pixels, cut at 8" in (tmp_path / "report" / "report.html").read_text()


def test_what_belongs_to_another_shape_is_refused(photos: Path) -> None:
    wide, square = (SplitGenerator(tiny.make_generator(start=start), 8) for start in ((4, 8), (4, 4)))
    clusters = cluster_features(wide, 3, 4, 0, torch.device("cpu"))
    check_compatible(wide, clusters)
    with pytest.raises(ProxymaskError, match="these clusters read 16 channels at 16x8, the generator has 16 at 8x8: cluster this"):
        check_compatible(square, clusters)
    rearranger = Rearranger(16, 8, 3, position_channels=8, hidden=8, start=(8, 4))
    with pytest.raises(ProxymaskError, match=r"16 channels at 8x16, 3 clusters"):
        check_compatible(wide, clusters, rearranger)
    with pytest.raises(ProxymaskError, match=r"\(1, 16, 16, 8\).*take \(B, 16, 8, 16\)"):
        clusters.assign(torch.zeros(1, 16, 16, 8))
    with pytest.raises(ProxymaskError, match="widths: 5 do not fit a proxy mask of 8x10: too many halvings, give fewer"):
        OasisMapper(3, 3, 8, widths=(8, 8, 8, 8, 8), start=(5, 4))
    unet = UNetMapper(1, 3, 8, 16, 128, 16, start=(4, 8))
    with pytest.raises(ProxymaskError, match="a discriminator of pictures of 16x16 does not fit this mapper's encoder of 32x16"):
        unet.start_from(tiny.make_discriminator())
    assert unet(torch.zeros(2, 1, 16, 32)).shape == (2, 3, 8, 16)
    for bad in ((4,), (4, 0), (4, 4, 4)):
        with pytest.raises(ProxymaskError, match="must be a height and a width"):
            ProxyClusters(start=bad)


def test_configs_without_a_start_are_square(tmp_path: Path, split: SplitGenerator, clusters: ProxyClusters) -> None:
    """What was saved before sizes could differ loads as it was."""
    parts = (clusters, tiny.make_rearranger(split, clusters), tiny.make_mapper(), tiny.make_segmenter(split))
    for part in (*parts, UNetMapper(1, 3, 8, 16, 128, 16)):
        file = part.save_pretrained(tmp_path / type(part).__name__) / "config.json"
        stored = json.loads(file.read_text())
        assert stored["config"].pop("start") == [4, 4]
        file.write_text(json.dumps(stored))
        again = type(part).from_pretrained(file.parent)
        assert again.size == (again.resolution, again.resolution)
        assert not tiny.differing(part.state_dict(), again.state_dict())
    assert isinstance(parts[3], FewShotSegmenter)


# The pieces


def test_sizes() -> None:
    assert block_size(64, (4, 8)) == (64, 128)
    assert block_size(16, (5, 4)) == (20, 16)
    assert [height_width(size) for size in (7, (7, 7), [3, 4])] == [(7, 7), (7, 7), (3, 4)]
    assert [as_size(size) for size in (7, [7, 7], [3, 4])] == [7, 7, (3, 4)]
    assert [size_text(7), size_text((3, 4)), short_text((7, 7)), short_text((3, 4))] == ["7x7", "4x3", "7", "4x3"]
    assert same_aspect_ratio((100, 201), (32, 64))
    assert not same_aspect_ratio((100, 205), (32, 64))
    assert not same_aspect_ratio((64, 32), (32, 64))
    assert centre_box(100, 300, 64) == (100, 0, 200, 100)
    assert centre_box(100, 300, (32, 64)) == (50, 0, 250, 100)
    assert centre_box(300, 100, (32, 64)) == (0, 125, 100, 175)


def test_conditions_take_the_shape_of_the_pictures() -> None:
    """Drawings get margins, pictures lose their rims, strokes stay in their regions."""
    paper = np.full((100, 100), 255, np.uint8)
    paper[40:60, 50] = 0
    sketch = get_condition("sketch", tiny.LABELS)
    reading = sketch.read(paper, (32, 64))
    assert reading.planes.shape == (1, 32, 64)
    assert reading.painted.shape == (32, 64)
    rows, columns = torch.nonzero(reading.planes[0] > 0.5, as_tuple=True)
    assert 30 <= int(columns.min()) <= int(columns.max()) <= 33  # the middle, not stretched
    assert 11 <= int(rows.min()) <= int(rows.max()) <= 20
    assert reading.notes == ("it is 100x100: blank margins give it the shape of 64x32",)
    assert sketch.read(paper[:50], (32, 64)).notes == ()
    depth = get_condition("depth", extractor="depth-net")
    near = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (100, 1))
    near[:20] = near[80:] = 255 - near[:20]  # what is cut off
    read = depth.read(near, (32, 64))
    assert read.planes.shape == (1, 32, 64)
    assert bool((read.planes[0, :, 1:] >= read.planes[0, :, :-1]).all())
    ids = paint((32, 64))
    strokes = draw_strokes(ids, tiny.N, 0.1, np.random.default_rng(0))
    assert strokes.shape == (tiny.N, 32, 64)
    for label in range(3):
        assert strokes[label].any()
        assert not strokes[label][ids != label].any()
    scribble = get_condition("scribble", tiny.LABELS)
    shown = scribble.show(torch.from_numpy(strokes)[None])[0]
    again = scribble.read(shown, (32, 64)).planes.numpy()
    assert np.array_equal(again, strokes)


def test_reading_masks() -> None:
    mask = paint((20, 40))
    assert np.array_equal(read_mask(mask, tiny.LABELS, (20, 40)), mask)
    assert read_mask(mask, tiny.LABELS, (10, 20)).shape == (10, 20)
    with pytest.raises(ProxymaskError, match="the mask is 40x20, which is not a square: crop it to a square first"):
        read_mask(mask, tiny.LABELS, 30)
    with pytest.raises(ProxymaskError, match="the mask is 40x20, which is not the shape of the pictures, 20x40: crop it to that shape"):
        read_mask(mask, tiny.LABELS, (40, 20))


def test_cells_and_distances() -> None:
    painted = torch.zeros(16, 32, dtype=torch.bool)
    painted[15, 31] = True
    marks = cells(painted, (4, 8))
    assert marks.shape == (4, 8)
    assert torch.nonzero(marks).tolist() == [[3, 7]]
    far = distance_to(marks)
    assert float(far[3, 0]) == 7
    assert float(far[0, 7]) == 3
    assert torch.equal(distance_to(torch.zeros(4, 8, dtype=torch.bool)), torch.full((4, 8), 4.0))


def test_labelled_samples_move_together_at_every_level() -> None:
    picture = torch.arange(16 * 32).view(1, 1, 16, 32).float()
    moved = mirror_and_shift(picture, torch.tensor([False]), torch.tensor([[4, -8]]), 32)
    assert torch.equal(moved[0, 0, :12, 8:], picture[0, 0, 4:, :24])
    level = picture[:, :, ::4, ::4]
    coarse = mirror_and_shift(level, torch.tensor([False]), torch.tensor([[4, -8]]), 32)
    assert torch.equal(coarse[:, :, :3, 2:], moved[:, :, :12:4, 8::4])  # edges are repeated, a cell or a pixel of them
    assert torch.equal(mirror_and_shift(picture, torch.tensor([True]), torch.tensor([[0, 0]]), 32), picture.flip(3))


def test_cutout_reaches_every_column() -> None:
    rng = torch.Generator().manual_seed(0)
    cut_out = (diff_augment(torch.ones(400, 3, 8, 32), ("cutout",), rng) == 0).any(dim=0).any(dim=0)
    assert bool(cut_out.any(dim=0)[8:].any(dim=0))
    assert int(cut_out.any(dim=0).nonzero().max()) >= 28


def test_sheets_keep_the_shape() -> None:
    picture = np.zeros((10, 40, 3), np.uint8)
    shown = np.asarray(enlarged(picture, 80, smooth=False))
    assert shown.shape == (80, 80, 3)
    assert (shown[:30] == 255).all()
    assert (shown[30:50] == 0).all()
