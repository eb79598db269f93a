"""A small file of every variant, in its exact layout, through import, sampling, clustering and one training step of the rearranger."""

import json
from collections.abc import Callable
from pathlib import Path

import families
import numpy as np
import pytest
import torch
from layouts import TfNetwork, network, write_nvidia, write_tf, write_torch
from PIL import Image
from stylegan2_equations import Shape

import tiny
from proxymask.checkpoints.export import export
from proxymask.checkpoints.imported import save_import
from proxymask.checkpoints.loading import open_checkpoint
from proxymask.cli import main
from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import short_hash
from proxymask.inference.samples import SampleNetworks, write_samples
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.training.loop import LoopConfig
from proxymask.training.parts import open_generator
from proxymask.training.rearranger import RearrangerConfig
from proxymask.training.stages.clusters import cluster_features
from proxymask.training.stages.rearranger import RearrangerDefinition

CPU = torch.device("cpu")
FILES: dict[str, Callable[[Path], Path]] = {
    "nvidia.pkl": lambda p: families.nvidia_file(p, Shape())[0],
    "nvidia-protocol-3.pkl": lambda p: families.nvidia_file(p, Shape(depth=8, clamp=256.0), protocol=3)[0],
    "nvidia-stylegan3-repository.pkl": lambda p: families.nvidia_file(p, Shape(clamp=256.0), flat=True)[0],
    "nvidia-rectangular.pkl": lambda p: families.nvidia_file(p, Shape(start=(4, 8)))[0],
    "nvidia-rectangular-5x4.pkl": lambda p: families.nvidia_file(p, Shape(start=(5, 4)))[0],
    "nvidia-one-channel.pkl": lambda p: families.nvidia_file(p, Shape(channels=1))[0],
    "nvidia-two-channels.pkl": lambda p: families.nvidia_file(p, Shape(channels=2))[0],
    "nvidia-four-channels.pkl": lambda p: families.nvidia_file(p, Shape(channels=4))[0],
    "nvidia-classes.pkl": lambda p: families.nvidia_file(p, Shape(classes=3))[0],
    "nvidia-no-noise.pkl": lambda p: families.nvidia_file(p, Shape(noise=False))[0],
    "nvidia-base-64.pkl": lambda p: families.nvidia_file(p, Shape(base=64, top=8, depth=4))[0],
    "nvidia-state-dict.pt": lambda p: write_torch(p, {"G_ema": families.nvidia_state(Shape())}),
    "tensorflow-2020.pkl": lambda p: families.tf_file(p, Shape(depth=8))[0],
    "tensorflow-2020-classes.pkl": lambda p: families.tf_file(p, Shape(classes=3), protocol=3)[0],
    "tensorflow-ada.pkl": lambda p: families.tf_file(p, Shape(clamp=256.0), ada=True)[0],
    "tensorflow-ada-classes.pkl": lambda p: families.tf_file(p, Shape(classes=3), ada=True)[0],
    "rosinality.pt": lambda p: families.rosinality_file(p, Shape(depth=8))[0],
    "rosinality-stream.pt": lambda p: families.rosinality_file(p, Shape(), legacy=True)[0],
    "rosinality-training.pt": lambda p: families.rosinality_file(p, Shape(), mean=False, parallel=True)[0],
    "rosinality-rectangular.pt": lambda p: families.rosinality_file(p, Shape(start=(4, 8)))[0],
    "rosinality-bare.pt": lambda p: write_torch(p, families.rosinality_state(Shape(resolution=64))),
    "genforce.pth": lambda p: families.genforce_file(p, Shape(depth=8))[0],
    "genforce-run.pth": lambda p: families.genforce_file(p, Shape(), run=True, legacy=True)[0],
    "genforce-ada-classes.pth": lambda p: families.genforce_file(p, Shape(classes=3), ada=True)[0],
    "proxymask": lambda p: tiny.make_generator(resolution=32).save_pretrained(p),
}


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("name", FILES)
def test_every_variant_all_the_way(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = FILES[name](tmp_path / name), tmp_path / "imported"
    chosen = ("--class", 1) if "classes" in name else ()
    assert run("import", file, "--out", folder, "--strict", *chosen) == 0
    said = capsys.readouterr().out
    assert "StyleGAN2, skip generator" in said
    assert ("assumed" in said) == name.startswith(("rosinality", "genforce", "tensorflow", "nvidia-state"))
    generator, discriminator, about = open_generator(folder)
    direct = open_checkpoint(file, class_index=1 if chosen else None).generator
    assert all(torch.equal(value, direct.state_dict()[key]) for key, value in generator.state_dict().items())
    assert generator.config == direct.config
    assert (discriminator is not None) == ("state-dict" not in name and "bare" not in name and name != "proxymask")
    assert about["source"] == name

    samples = write_samples(SampleNetworks(SplitGenerator(generator, 16)), [3, 4], tmp_path / "samples")
    picture = np.asarray(Image.open(samples[0])).reshape(*generator.picture_size, -1)
    wanted = direct(direct.z([3]))[0].clamp(-1, 1).add(1).mul(127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(picture.astype(float) - wanted).max() <= 1
    assert np.ptp(picture) > 20

    split = SplitGenerator(generator, 16)
    clusters = cluster_features(split, 3, 4, 0, CPU)
    config = RearrangerConfig(position_channels=8, hidden=8, adv_every=1, adv_phase=1.0)
    loop = LoopConfig(steps=1, device="cpu", precision="fp32")
    stage = RearrangerDefinition(config=config, loop=loop, split=split, clusters=clusters, discriminator=discriminator).build()
    before = {key: value.clone() for key, value in stage.rearranger.state_dict().items()}
    tiny.run(stage, tmp_path / "run", steps=1, batch=2)
    stats = json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[-1])
    assert stats["step"] == 1
    assert all(np.isfinite(value) for value in stats.values() if isinstance(value, float))
    assert tiny.differing(before, stage.rearranger.state_dict())


@pytest.mark.parametrize(
    "name", ["nvidia.pkl", "nvidia-protocol-3.pkl", "tensorflow-2020.pkl", "rosinality.pt", "genforce.pth", "proxymask"]
)
@pytest.mark.parametrize("form", ["rosinality", "safetensors"])
def test_round_trip_gives_identical_tensors(name: str, form: str, tmp_path: Path) -> None:
    file, out = FILES[name](tmp_path / name), tmp_path / ("again.pt" if form == "rosinality" else "again")
    first = open_checkpoint(file)
    export(file, out, form)
    again = open_checkpoint(out)
    assert again.generator.state_dict().keys() == first.generator.state_dict().keys()
    assert all(torch.equal(value, first.generator.state_dict()[key]) for key, value in again.generator.state_dict().items())
    assert (again.discriminator is None) == (first.discriminator is None)
    if first.discriminator is not None:
        assert again.discriminator is not None
        assert all(torch.equal(value, first.discriminator.state_dict()[key]) for key, value in again.discriminator.state_dict().items())
    if form == "safetensors":
        assert again.generator.config == first.generator.config
        assert again.about()["sha256"] == first.sha256
    else:  # and that file is what rosinality's own loader expects: plain tensors, nothing else
        plain = torch.load(out, weights_only=True)
        assert plain["g_ema"].keys() == families.rosinality_state(Shape(depth=first.generator.mapping.num_layers)).keys()


def test_what_a_layout_has_no_place_for(tmp_path: Path) -> None:
    for name, what in (
        ("nvidia-classes.pkl", "classes"),
        ("nvidia-one-channel.pkl", "1 image channels"),
        ("nvidia-rectangular.pkl", "a start block other than 4x4"),
    ):
        with pytest.raises(ProxymaskError, match=f"no place for .*{what}"):
            export(FILES[name](tmp_path / name), tmp_path / "out.pt")
        assert not (tmp_path / "out.pt").exists()
    notes = export(FILES["nvidia-protocol-3.pkl"](tmp_path / "n.pkl"), tmp_path / "out.pt")
    assert any("clamps at 256" in note for note in notes)
    with pytest.raises(ProxymaskError, match=r"end its name in \.pt"):
        export(tmp_path / "n.pkl", tmp_path / "folder")


# What is read from where


def test_config_is_what_the_file_says(tmp_path: Path) -> None:
    shape = Shape(resolution=64, base=512, top=16, depth=8, classes=5, channels=4, clamp=256.0, z=12, w=20)
    config = open_checkpoint(families.nvidia_file(tmp_path / "n.pkl", shape)[0]).generator.config
    wanted = {"z_dim": 12, "w_dim": 20, "c_dim": 5, "resolution": 64, "img_channels": 4, "mapping_layers": 8, "channel_base": 512}
    wanted |= {"channel_max": 16, "conv_clamp": 256.0, "num_fp16_res": 4, "start": [4, 4], "scaled_weights": False, "seed_style": "nvidia"}
    assert {key: config[key] for key in wanted} == wanted
    config = open_checkpoint(families.rosinality_file(tmp_path / "r.pt", Shape(resolution=64, base=512))[0]).generator.config
    assert (config["channel_max"], config["scaled_weights"], config["conv_clamp"]) == (16, True, None)
    widths = {res: min(512 // res, 16) for res in (4, 8, 16, 32, 64)}
    assert {res: min(config["channel_base"] // res, config["channel_max"]) for res in widths} == widths


@pytest.mark.parametrize("base", [16384, 32768])
def test_published_widths_are_recognised(base: int) -> None:
    from proxymask.checkpoints.formats.architecture import channel_config

    for size in (32, 64, 256, 512, 1024):
        widths = {2**i: min(base // 2**i, 512) for i in range(2, size.bit_length())}
        found = channel_config(widths)
        assert {res: min(found["channel_base"] // res, found["channel_max"]) for res in widths} == widths
        if size > 64:
            assert found == {"channel_base": base, "channel_max": 512}
    with pytest.raises(ProxymaskError, match="channels by resolution"):
        channel_config({4: 16, 8: 7, 16: 12})


def test_what_modules_say_counts_where_the_arguments_are_silent(tmp_path: Path) -> None:
    """Older files and forks: no init arguments, but attributes on the modules; then neither."""
    shape = Shape(clamp=128.0)
    state = families.nvidia_state(shape)
    attributes = {f"synthesis.b{r}.{n}": {"conv_clamp": 128.0, "activation": "lrelu"} for r in shape.widths for n in ("conv0", "conv1")}
    attributes |= {f"mapping.fc{i}": {"bias_gain": 0.02, "activation": "lrelu"} for i in range(2)}
    attributes |= {f"synthesis.b{r}": {"use_fp16": r >= 16, "architecture": "skip"} for r in shape.widths}
    path = write_nvidia(tmp_path / "n.pkl", {"G_ema": network("Generator", state, {}, attributes=attributes)})
    opened = open_checkpoint(path)
    config = opened.generator.config
    assert (config["conv_clamp"], config["mapping_lr_multiplier"], config["num_fp16_res"]) == (128.0, 0.02, 2)
    assert opened.assumed == []
    path = write_nvidia(tmp_path / "m.pkl", {"G_ema": network("Generator", state, {})})
    opened = open_checkpoint(path)
    assert opened.generator.config["conv_clamp"] == 256.0
    assert opened.assumed[:2] == ["activation lrelu", "conv_clamp 256"]
    assert opened.assumed[2].startswith("learning-rate multiplier 0.01 (the root mean square")


def test_the_averaged_generator_is_taken(tmp_path: Path) -> None:
    shape = Shape()
    state = families.nvidia_state(shape, seed=4)
    path = write_nvidia(tmp_path / "g.pkl", {"G": network("Generator", state, families.nvidia_kwargs(shape))})
    opened = open_checkpoint(path)
    assert torch.equal(opened.generator.synthesis.b4.const, state["synthesis.b4.const"])
    assert opened.facts["generator taken"] == "G"
    path, state = families.rosinality_file(tmp_path / "r.pt", shape)
    assert torch.equal(open_checkpoint(path).generator.synthesis.b4.const, state["input.input"][0])
    content = torch.load(path, weights_only=False)
    del content["g_ema"]
    torch.save(content, path)
    opened = open_checkpoint(path)
    assert torch.equal(opened.generator.synthesis.b4.const, content["g"]["input.input"][0])
    assert opened.notes == ["no averaged generator (g_ema): g is taken"]


def test_licence_notice_goes_into_the_import_and_the_card(tmp_path: Path) -> None:
    folder = save_import(open_checkpoint(FILES["nvidia.pkl"](tmp_path / "ffhq.pkl")), tmp_path / "imported")
    about = json.loads((folder / "import.json").read_text())
    assert "SOME CORPORATION" in about["licence notice"]
    assert "may not be used commercially" in about["licence"]
    assert len(about["sha256"]) == 64
    card = (folder / "README.md").read_text()
    assert "SOME CORPORATION" in card
    assert "SystemExit" not in card


# Refusals


def refused(path: Path, *words: object) -> str:
    with pytest.raises(ProxymaskError) as error:
        open_checkpoint(path, **dict(words))
    text = str(error.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    shape, path = Shape(), tmp_path / "file"
    state, kwargs = families.nvidia_state(shape), families.nvidia_kwargs(shape)
    state["synthesis.b8.skip.weight"] = torch.zeros(16, 16, 1, 1)
    write_nvidia(path, {"G_ema": network("Generator", state, kwargs)})
    assert "residual ('resnet')" in refused(path)
    state = families.nvidia_state(shape)
    write_nvidia(path, {"G_ema": network("Generator", state, {**kwargs, "synthesis_kwargs": {"architecture": "orig"}})})
    assert "'orig'" in refused(path)
    three = {
        "synthesis.input.freqs": torch.zeros(8, 2),
        "synthesis.L0_36_512.weight": torch.zeros(8, 8, 3, 3),
        "mapping.fc0.weight": torch.zeros(8, 8),
    }
    write_nvidia(path, {"G_ema": network("Generator", three, {})})
    assert "StyleGAN3" in refused(path)
    lucid = {
        "S.net.0.weight": torch.zeros(4, 4),
        "G.initial_block": torch.zeros(1, 4, 4, 4),
        "G.blocks.0.to_style1.weight": torch.zeros(4, 4),
    }
    write_torch(path, {"GAN": lucid, "version": "1.9.0"})
    assert "lucidrains" in refused(path)
    write_torch(path, {"generator": {"progression.0.conv1.conv.weight_orig": torch.zeros(4)}, "g_running": {}})
    assert "StyleGAN1" in refused(path)
    one = TfNetwork(
        "G_style", {}, {"lod": np.float32(0)}, {"mapping": TfNetwork("G_mapping", {}, {}), "synthesis": TfNetwork("G_synthesis", {}, {})}
    )
    write_tf(path, (one, TfNetwork("D_basic", {}, {}), one))
    assert "StyleGAN1" in refused(path)
    skips = families.tf_variables(shape, ada=True) | {"synthesis/8x8/Skip/weight": np.zeros((1, 1, 16, 16), np.float32)}
    parts = {
        p: TfNetwork(f"G_{p}", {}, {k[len(p) + 1 :]: v for k, v in skips.items() if k.startswith(p + "/")})
        for p in ("mapping", "synthesis")
    }
    write_tf(path, TfNetwork("G_main", {}, {"dlatent_avg": skips["dlatent_avg"]}, parts, "Gs"))
    assert "residual ('resnet')" in refused(path)
    write_torch(path, {"state_dict": {"layer1.0.weight": torch.zeros(2)}, "epoch": 3})
    assert "no StyleGAN2 generator that is known" in refused(path)
    write_torch(path, families.rosinality_state(shape) | {"to_rgbs.0.iwt.ll": torch.zeros(2, 2)})
    assert "SWAGAN" in refused(path)


def test_files_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    shape, path = Shape(), tmp_path / "file"
    kwargs = families.nvidia_kwargs(shape)

    def nvidia(change: dict[str, object], said: dict[str, object] | None = None) -> str:
        state = {k: v for k, v in (families.nvidia_state(shape) | change).items() if v is not None}
        write_nvidia(path, {"G_ema": network("Generator", state, kwargs | (said or {}))})
        return refused(path)

    assert "lacks the tensor synthesis.b16.conv1.bias" in nvidia({"synthesis.b16.conv1.bias": None})
    assert "tensors that StyleGAN2 does not have (synthesis.b16.attention" in nvidia({"synthesis.b16.attention": torch.zeros(3)})
    assert "resampling filter" in nvidia({"synthesis.b8.resample_filter": torch.ones(4, 4) / 16})
    assert "not finite" in nvidia({"synthesis.b16.conv1.bias": torch.full((8,), float("nan"))})
    assert "wanted [8]" in nvidia({"synthesis.b16.conv1.bias": torch.zeros(9)})
    assert "says that its z_dim is 512, but its tensors say 16" in nvidia({}, {"z_dim": 512})
    assert "activation relu" in _activation(path, shape)
    state = families.rosinality_state(shape)
    state["convs.1.conv.weight"] = torch.zeros(1, 16, 16, 5, 5)
    write_torch(path, {"g_ema": state})
    assert "convs.1.conv.weight is [1, 16, 16, 5, 5]" in refused(path)
    variables = TfNetwork("G_main", {"nonlinearity": "relu"}, {}, {}, "Gs")
    write_tf(path, variables)
    assert "nonlinearity=relu" in refused(path)


def _activation(path: Path, shape: Shape) -> str:
    attributes = {"synthesis.b8.conv0": {"activation": "relu"}}
    write_nvidia(path, {"G_ema": network("Generator", families.nvidia_state(shape), families.nvidia_kwargs(shape), attributes=attributes)})
    return refused(path)


def test_unknown_things_beside_the_generator(tmp_path: Path) -> None:
    """Kept inert, and named; refused when asked to be strict; refused always where the generator hangs on them."""
    path, state = tmp_path / "r.pt", families.rosinality_state(Shape())
    write_torch(path, {"g_ema": state, "when": Path("somewhere")})
    opened = open_checkpoint(path)
    assert any("pathlib" in name for name in opened.unknown)
    assert "pathlib" in refused(path, ("strict", True))
    write_torch(path, {"g_ema": state | {"convs.0.activate.bias": Path("somewhere")}})
    assert "convs.0.activate.bias" in refused(path)
    write_torch(path, {"g_ema": Path("somewhere")})
    assert "g_ema" in refused(path)


def test_a_discriminator_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    shape = Shape()
    kwargs = families.nvidia_kwargs(shape)
    for judge, why in (
        (network("Discriminator", families.nvidia_discriminator(shape), {"architecture": "skip"}), "architecture skip"),
        (network("Discriminator", families.nvidia_discriminator(Shape(resolution=64)), {}), "other pictures"),
    ):
        path = write_nvidia(tmp_path / "n.pkl", {"D": judge, "G_ema": network("Generator", families.nvidia_state(shape), kwargs)})
        opened = open_checkpoint(path)
        assert opened.discriminator is None
        assert any(why in note for note in opened.notes), opened.notes


# Verbs


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert run(*words) == 2
    [line] = [line for line in capsys.readouterr().err.strip().splitlines() if line]
    return line


def test_inspect_says_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES["nvidia-classes.pkl"](tmp_path / "n.pkl")
    assert run("inspect", file) == 0
    shown = capsys.readouterr().out
    for text in ("NVIDIA", "sha256", "32x32, 3 channels", "2 layers, z 16, w 16", "classes: 3, none chosen", "4: 16, 8: 16, 16: 8, 32: 4"):
        assert text in shown
    for text in ("half precision: the 4 highest", "licence notice", "SOME CORPORATION", "discriminator: yes", "clamp: none"):
        assert text in shown
    (tmp_path / "cut.pkl").write_bytes(file.read_bytes()[:3000])
    assert "broken download" in fails(capsys, "inspect", tmp_path / "cut.pkl")
    (tmp_path / "page.pkl").write_text("<!DOCTYPE html><html><title>404 Not Found</title></html>")
    assert "a web page" in fails(capsys, "inspect", tmp_path / "page.pkl")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.pkl", format="JPEG")
    assert "a picture, no checkpoint" in fails(capsys, "inspect", tmp_path / "photo.pkl")
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 381646580\n")
    assert "git lfs pull" in fails(capsys, "import", tmp_path / "pointer.pt", "--out", tmp_path / "x")
    write_torch(tmp_path / "lucid.pt", {"GAN": {"G.initial_block": torch.zeros(1)}})
    assert "lucidrains" in fails(capsys, "inspect", tmp_path / "lucid.pt")


def test_import_replaces_imports_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = FILES["rosinality.pt"](tmp_path / "r.pt"), tmp_path / "out"
    for _ in range(2):
        assert run("import", file, "--out", out) == 0
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "discriminator", "generator", "import.json"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    assert "is not empty" in fails(capsys, "import", file, "--out", other)
    assert "is a file" in fails(capsys, "import", file, "--out", file)
    assert run("import", out, "--out", tmp_path / "again", "--seed-style", "nvidia") == 0  # of our own folder
    assert Generator.from_pretrained(tmp_path / "again" / "generator").seed_style == "nvidia"


def test_sample_seed_styles_noise_and_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES["rosinality.pt"](tmp_path / "r.pt")

    def sample(name: str, *words: object) -> bytes:
        out = tmp_path / name
        assert run("sample", "--generator", file, "--count", 1, "--out", out, "--device", "cpu", "--precision", "fp32", *words) == 0
        return (out / "000000.png").read_bytes()

    plain = sample("a")
    assert sample("b", "--seed-style", "torch") == plain
    assert sample("c", "--seed-style", "nvidia") != plain
    assert sample("d", "--noise-mode", "none") != plain
    assert sample("e", "--truncation", 0.5) != plain
    assert json.loads((tmp_path / "c" / "000000.json").read_text())["z"][0] == pytest.approx(np.random.RandomState(0).randn(16)[0])
    file = FILES["nvidia-classes.pkl"](tmp_path / "n.pkl")
    assert sample("f", "--class", 0) != sample("g", "--class", 2)
    assert "choose a class" in fails(capsys, "sample", "--generator", file, "--count", 1, "--out", tmp_path / "h")


def test_verbs_take_files_directly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, cpu = FILES["nvidia-protocol-3.pkl"](tmp_path / "n.pkl"), ("--device", "cpu", "--precision", "fp32")
    clusters = ("--cut", 16, "--clusters", 3, "--samples", 4, *cpu)
    assert run("cluster", "--generator", file, "--out", tmp_path / "clusters", *clusters) == 0
    widths = ("--steps", 1, "--batch", 2, "--position-channels", 8, "--hidden", 8, "--grid-every", 0, "--no-tensorboard")
    words = ("--generator", file, "--clusters", tmp_path / "clusters", "--out", tmp_path / "rearranger")
    code = run("train", "rearranger", *words, *[w for w in widths if w != "--no-tensorboard"], "--tensorboard", "False", *cpu)
    assert code == 0, capsys.readouterr().err
    stage = json.loads((tmp_path / "rearranger" / "stage.json").read_text())
    assert stage["identity"]["discriminator"] != "fresh"  # the file's own
    classes = FILES["nvidia-classes.pkl"](tmp_path / "c.pkl")
    assert "choose a class" in fails(capsys, "cluster", "--generator", classes, "--out", tmp_path / "x", *clusters)
    assert run("cluster", "--generator", classes, "--class", 1, "--out", tmp_path / "x", *clusters) == 0


def test_every_verb_that_trains_takes_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Straight from the file: the same class gives the same generator everywhere, and none is asked for before any work."""
    file, cpu = FILES["nvidia-classes.pkl"](tmp_path / "c.pkl"), ("--device", "cpu", "--precision", "fp32")
    quiet = {"steps": 1, "batch": 2, "tensorboard": False, "grid_every": 0}
    preset = {"cut": 16, "num_clusters": 3, "cluster_samples": 4, "rearranger": {"hidden": 8, "position_channels": 8}}
    preset |= {"mapper": {"widths": [8, 8, 8], "hidden": 8}}
    preset |= {f"{stage}_loop": quiet for stage in ("generator", "rearranger", "segmenter", "mapper")}
    (tmp_path / "toy.json").write_text(json.dumps(preset))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (32, 32), (200, 100, 50)).save(pictures / "a.png")
    tiny.LABELS.save(tmp_path / "labels.json")
    out, generator = {name: tmp_path / name for name in ("clusters", "rearranger", "segmenter", "mapper", "tuned")}, ("--generator", file)
    assert run("sample", *generator, "--class", 1, "--count", 1, "--out", tmp_path, *cpu) == 0
    Image.fromarray(np.arange(32, dtype=np.uint8).reshape(-1, 1).repeat(32, 1) // 8).save(tmp_path / "000000.mask.png")
    parts = ("--clusters", out["clusters"])
    verbs = {
        "clusters": ("cluster", *generator, "--cut", 16),
        "rearranger": ("train", "rearranger", *generator, *parts),
        "segmenter": ("train", "segmenter", *generator, *parts, "--rearranger", out["rearranger"], "--labels", tmp_path),
        "mapper": ("train", "mapper", *generator, *parts, "--rearranger", out["rearranger"], "--segmenter", out["segmenter"]),
        "tuned": ("train", "generator", "--resume-from", file, "--images", pictures),
    }
    seen = set()
    for name, words in verbs.items():
        words = (*words, "--preset", tmp_path / "toy.json", "--out", out[name], *cpu)
        assert "choose a class, --class 0 to 2" in fails(capsys, *words)
        assert not out[name].exists()
        assert "this generator has the classes 0 to 2" in fails(capsys, *words, "--class", 3)
        assert run(*words, "--class", 1) == 0, capsys.readouterr().err
        identity = json.loads((out[name] / "stage.json").read_text())["identity"]
        seen.add(identity.get("generator") or identity["start"])
    assert seen == {short_hash(open_generator(file, 1)[0])}
    assert "sample of another generator" in fails(capsys, *verbs["segmenter"], "--class", 2, "--out", tmp_path / "x", *cpu)
    # the file's own discriminator judges the same class, named or found
    judged = [*verbs["rearranger"], "--discriminator", file, "--class", 1, "--preset", tmp_path / "toy.json", *cpu]
    assert run(*judged, "--out", tmp_path / "named") == 0
    marks = [json.loads((folder / "stage.json").read_text())["identity"] for folder in (out["rearranger"], tmp_path / "named")]
    assert marks[0] == marks[1]
    judged[judged.index("--discriminator") + 1] = _with_classes(tmp_path / "d", 5)
    assert "knows 5 classes, the generator 3" in fails(capsys, *judged, "--out", tmp_path / "y")
    plain = FILES["nvidia.pkl"](tmp_path / "n.pkl")
    assert "has no classes: leave out --class" in fails(
        capsys, "train", "rearranger", "--generator", plain, *parts, "--class", 1, "--out", tmp_path / "z", *cpu
    )
    words = ("train", "generator", "--images", pictures, "--class", 1, "--out", tmp_path / "z", *cpu)
    assert "--class goes with --resume-from or --grow-from" in fails(capsys, *words)
    assert "--class goes with --generator" in fails(
        capsys, "train", "mapper", "--bundle", tiny.EMBEDDED_BUNDLE, "--class", 1, "--out", tmp_path / "z"
    )


def _with_classes(folder: Path, classes: int) -> Path:
    return tiny.make_discriminator(resolution=32, c_dim=classes, mapping_layers=2).save_pretrained(folder / "discriminator")


def test_pictures_in_colours_are_refused_beside_grey_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES["nvidia-one-channel.pkl"](tmp_path / "n.pkl")
    cluster_features(SplitGenerator(open_generator(file)[0], 16), 3, 4, 0, CPU).save_pretrained(tmp_path / "clusters")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    common = ("--images", tmp_path, "--out", tmp_path.with_name("x"), "--device", "cpu")
    for words in (
        ("train", "rearranger", "--generator", file, "--clusters", tmp_path / "clusters"),
        ("train", "generator", "--resume-from", file),
        ("fit", "--generator", file),
    ):
        assert "this generator makes pictures of 1 channels: give no --images, or another generator" in fails(capsys, *words, *common)


def test_fit_takes_a_file_and_its_licence_into_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as fit goes without labels: clusters, rearranger, a bundle, and the samples to label."""
    file = FILES["nvidia-classes.pkl"](tmp_path / "horses.pkl")
    quiet = {"tensorboard": False, "grid_every": 0}
    preset = {"num_clusters": 3, "cluster_samples": 4, "rearranger": {"hidden": 8, "position_channels": 8}, "cut": 16}
    preset |= {
        "rearranger_loop": {"steps": 2, "batch": 2, **quiet},
        "mapper": {"widths": [8, 8, 8], "hidden": 8},
    }
    (tmp_path / "toy.json").write_text(json.dumps(preset))
    words = ("fit", "--generator", file, "--preset", tmp_path / "toy.json", "--cut", 16, "--label-samples", 2, "--device", "cpu")
    assert "choose a class" in fails(capsys, *words, "--out", tmp_path / "bundle")
    assert run(*words, "--class", 2, "--out", tmp_path / "bundle") == 0, capsys.readouterr().err
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "horses.pkl" in card
    assert "may not be used commercially" in card
    assert "SOME CORPORATION" in card
    stage = json.loads((tmp_path / "bundle.work" / "rearranger" / "stage.json").read_text())
    assert stage["identity"]["discriminator"] != "fresh"
    transfer = ("transfer", "--bundle", tmp_path / "bundle", "--shape-seed", 1, "--style-seed", 2, "--device", "cpu")
    pictures = []
    for name, more in (("a", ()), ("b", ("--seed-style", "nvidia")), ("c", ("--seed-style", "torch"))):
        assert run(*transfer, "--out", tmp_path / f"{name}.png", *more) == 0, capsys.readouterr().err  # the class is in the bundle
        pictures.append((tmp_path / f"{name}.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]
    assert short_hash(open_generator(file, 1)[0]) != short_hash(open_generator(file, 2)[0])  # another class makes all stages anew
    assert "--class goes with --generator" in fails(capsys, "fit", "--bundle", tmp_path / "bundle", "--class", 1, "--out", tmp_path / "x")
