"""``fit`` from pictures or a generator to a bundle, stopped and continued anywhere; toy sizes throughout."""

import collections
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import CPU, FROZEN, SIZE, TOY, Log, config, digests, interrupt, paint
from PIL import Image

from proxymask.cli.cluster import Cluster
from proxymask.cli.fit import Fit
from proxymask.cli.stage_options import GeneratorOverrides
from proxymask.cli.train import TRAIN, TrainGenerator, TrainRearranger, TrainSegmenter
from proxymask.cli.train_mapper import TrainMapper
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors
from proxymask.core.hashing import file_hash
from proxymask.imaging.masks import read_mask
from proxymask.inference.bundle import Bundle, check_bundle
from proxymask.inference.samples import SampleNetworks, write_samples
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.depth_net import DepthNet
from proxymask.models.discriminator import Discriminator
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.fit import fit
from proxymask.training.fit.labels import TEMPLATE
from proxymask.training.loop import Stopped
from proxymask.training.losses import relative_l1
from proxymask.training.presets import PRESETS
from proxymask.training.run_dirs import is_done, mark_of


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Pictures, a preset, and a fit of them that waits for labels. Tests copy it."""
    root = tmp_path_factory.mktemp("fit")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for i in range(12):
        pixels = np.full((20, 20, 3), rng.integers(100, 255, 3), np.uint8)
        y, x = rng.integers(2, 8, 2)
        pixels[y : y + 8, x : x + 8] = rng.integers(0, 150, 3)
        Image.fromarray(pixels).save(root / "pictures" / f"{i}.png")
    (root / "pictures" / "broken.png").write_bytes(b"nothing")
    (root / "toy.json").write_text(json.dumps(TOY))
    log = Log()
    result = fit(config(root), log)
    assert (result.bundle, result.to_label) == (root / "model", root / "model.work" / "to-label")
    (root / "log.txt").write_text(log.text)
    return root


@pytest.fixture
def copy(world, tmp_path):
    """The fixture's files, to be changed."""
    shutil.copytree(world, tmp_path / "copy")
    return tmp_path / "copy"


# ------------------------------------------------------------------------------------------------------------ end to end


def test_without_labels_up_to_the_rearranger(world):
    said = (world / "log.txt").read_text()
    for stage in ("prepare pictures", "generator", "clusters", "rearranger", "segmenter", "mapper"):
        assert f"\n  {stage} " in said
    assert "once labelled" in said
    assert "memory about" in said
    assert "disk about" in said
    work, folder = world / "model.work", world / "model.work" / "to-label"
    assert str(folder) in said
    assert "12 pictures of 16x16; 1 files could not be used" in said
    assert "000000.mask.png" in said
    assert "labels.json" in (folder / "README.txt").read_text()
    assert len(list(folder.glob("0*.json"))) == 16
    assert len(list(folder.glob("*.proxy.png"))) == 16
    bundle = Bundle.load(world / "model")
    assert (bundle.mappers, bundle.labels, bundle.segmenter, bundle.cut, bundle.resolution) == ({}, None, None, 8, SIZE)
    assert bundle.about["proxy_mask_mode"] == PRESETS["demo"].mapper.proxy_mask_mode  # for a mapper of drawings, which needs no labels
    Synthesizer(bundle, device="cpu").transfer(1, 2)
    assert isinstance(Generator.from_pretrained(work / "generator" / "generator"), Generator)
    assert isinstance(Discriminator.from_pretrained(work / "generator" / "discriminator"), Discriminator)
    assert (work / "generator" / "grids" / "00000006.png").is_file()
    # L_adv of the rearranger starts from the generator's own discriminator
    assert mark_of(work / "rearranger")["identity"]["discriminator"] != "fresh"


def test_goes_on_when_the_masks_are_there(copy):
    before = digests(copy / "model", *FROZEN)
    mask = paint(copy / "model.work" / "to-label" / "000000.mask.png")
    (copy / "toy.json").write_text(json.dumps(TOY | {"with_detail": True}))
    log = Log()
    assert fit(config(copy), log).to_label is None
    assert log.shown == ["segmenter", "mapper", "detail"]
    assert "no mask shows part 3" in log.text
    assert "generate --bundle" in log.text
    assert check_bundle(copy / "model") == []
    assert digests(copy / "model", *FROZEN) == before
    bundle = Bundle.load(copy / "model")
    assert list(bundle.mappers) == list(bundle.details) == ["mask"]
    assert bundle.about["labelled samples"] == ["000000"]
    synth = Synthesizer(bundle, device="cpu")
    synth.set_style(seed=1)
    assert synth(mask).size == (SIZE, SIZE)

    again = Log()
    whole = digests(copy / "model", ".")
    fit(config(copy), again)
    assert again.shown == []  # nothing is missing
    assert digests(copy / "model", ".") == whole
    # and without the masks, what was trained with them stays
    (copy / "model.work" / "to-label" / "000000.mask.png").unlink()
    fit(config(copy), Log())
    assert digests(copy / "model", ".") == whole


def test_end_to_end_with_labels_from_the_start(copy):
    """The same seed trains the same generator, to the last bit, so labels of its samples serve another fit of the same pictures."""
    paint(copy / "model.work" / "to-label" / "000000.mask.png")
    labels = copy / "painted"
    shutil.move(copy / "model.work" / "to-label", labels)
    log = Log()
    assert fit(config(copy, labels=labels, out=copy / "fresh"), log).to_label is None
    assert log.shown == ["generator", "clusters, pass", "rearranger", "segmenter", "mapper"]
    assert "\n  mapper " in log.text
    assert "once labelled" not in log.text
    assert digests(copy / "fresh", *FROZEN) == digests(copy / "model", *FROZEN)
    log = Log()
    with pytest.raises(ProxymaskError, match="another generator"):
        fit(config(copy, labels=labels, out=copy / "else", seed=1), log)
    assert log.shown == ["generator"]  # told before anything is built on it, and the generator is kept
    assert is_done(copy / "else.work" / "generator", mark_of(copy / "else.work" / "generator")["identity"], 6)


def test_retraining_keeps_the_hashes(copy):
    paint(copy / "model.work" / "to-label" / "000000.mask.png")
    (copy / "toy.json").write_text(json.dumps(TOY | {"with_detail": True}))
    fit(config(copy))
    model, work = copy / "model", copy / "model.work"
    before = digests(model, *FROZEN)
    old = digests(model, "mappers", "segmenter")
    labels = copy / "new"
    paint(labels / "000001.mask.png", top=6)
    shutil.copy(work / "to-label" / "000001.json", labels)
    (labels / "labels.json").write_text(json.dumps({"labels": [{"id": i, "name": f"new {i}", "color": f"#0000{i:02x}"} for i in range(3)]}))
    log = Log()
    fit(config(copy, images=None, bundle=str(model), labels=labels, out=copy / "second"), log)
    assert log.shown == ["segmenter", "mapper", "detail"]
    assert digests(copy / "second", *FROZEN) == before
    for part in ("mappers", "segmenter", "details"):
        assert digests(copy / "second", part) != digests(model, part)
    assert Bundle.load(copy / "second").labels.names == ["new 0", "new 1", "new 2"]
    assert Bundle.load(copy / "second").name == "second"
    assert mark_of(copy / "second.work" / "mapper")["identity"]["discriminator"] != "fresh"  # found in model.work
    assert digests(model, "mappers", "segmenter") == old
    (copy / "off.json").write_text(json.dumps(TOY | {"with_detail": False}))
    more = Bundle.load(model)
    more.mappers |= {"mask-1": more.mappers["mask"], "depth": UNetMapper(1, 5, 8, SIZE, channel_base=128, channel_max=16)}
    more.conditions["depth"] = {"condition": "depth", "channels": 1, "extractor": "depth-net"}
    more.extractors["depth"] = DepthNet(4)
    more.save(copy / "more")
    fit(config(copy, images=None, bundle=str(copy / "more"), labels=labels, out=copy / "third", preset=str(copy / "off.json")))
    third = Bundle.load(copy / "third")
    assert third.details == {}  # the one of the bundle is not for these labels
    assert sorted(third.mappers) == ["depth", "mask"]  # nor is mask-1
    assert third.conditions == more.conditions
    assert digests(copy / "third", "extractors") == digests(copy / "more", "extractors") != {}

    fit(config(copy, images=None, bundle=str(model), labels=labels))  # in place
    assert digests(model, *FROZEN) == before
    assert check_bundle(model) == []
    assert (Bundle.load(model).labels.names, Bundle.load(model).name) == (["new 0", "new 1", "new 2"], "model")
    assert len(list(work.glob("mapper.*"))) == 1  # the earlier one is kept


def test_what_was_added_to_the_bundle_stays(copy):
    """``bundle add`` into the folder of a fit, and a README.md of one's own: the next fit leaves them, or takes them over."""
    to_label, model = copy / "model.work" / "to-label", copy / "model"
    paint(to_label / "000000.mask.png")
    fit(config(copy))
    (copy / "model.work" / "written.json").unlink()  # as after a kill when the bundle was written
    fit(config(copy))
    assert not (copy / "model.earlier-1").exists()
    more = Bundle.load(model)
    more.mappers |= {"mask-1": more.mappers["mask"], "depth": UNetMapper(1, 5, 8, SIZE, channel_base=128, channel_max=16)}
    more.conditions["depth"] = {"condition": "depth", "channels": 1, "extractor": "depth-net"}
    more.extractors["depth"] = DepthNet(4)
    more.save(model, card="# mine\n")
    whole, log = digests(model, "."), Log()
    fit(config(copy), log)
    assert "was changed since fit wrote it, and fit has nothing new for it" in log.text
    assert digests(model, ".") == whole
    paint(to_label / "000001.mask.png")
    log = Log()
    fit(config(copy), log)
    assert f"as it was it is kept as {copy / 'model.earlier-1'}; the new one has the mappers depth, mask, mask-1" in log.text
    assert digests(copy / "model.earlier-1", ".") == whole
    kept = ("README.md", "mappers/depth", "mappers/mask-1", "extractors")
    assert digests(model, *kept) == digests(copy / "model.earlier-1", *kept) != {}
    assert digests(model, "mappers/mask") != digests(copy / "model.earlier-1", "mappers/mask")
    assert check_bundle(model) == []
    again, log = digests(model, "."), Log()
    fit(config(copy), log)
    assert "fit has nothing new for it" in log.text
    assert digests(model, ".") == again
    labels = to_label / "labels.json"
    labels.write_text(labels.read_text().replace("part 1", "part one"))
    fit(config(copy), log)
    assert "the new one has the mappers depth, mask, without mask-1, for other networks or labels" in log.text
    assert digests(copy / "model.earlier-2", ".") == again


def test_bundle_without_labels_asks_for_them(copy):
    result = fit(config(copy, images=None, bundle=str(copy / "model"), out=copy / "second"))
    assert result.bundle is None
    assert not (copy / "second").exists()
    paint(result.to_label / "000000.mask.png")
    fit(config(copy, images=None, bundle=str(copy / "model"), out=copy / "second"))
    assert list(Bundle.load(copy / "second").mappers) == ["mask"]


# --------------------------------------------------------------------------------------------------- stopping and continuing


def test_stop_in_a_stage_and_continue_changes_nothing(copy):
    """From the generator alone, stopped within the rearranger: what comes out is bit for bit what an unbroken fit gave."""
    given = config(copy, generator=copy / "model.work" / "generator", out=copy / "other")
    with pytest.raises(Stopped, match="rearranger: stopped at step 5 of 8"):
        fit(given, Log("rearranger", 5, interrupt))
    assert not (copy / "other").exists()
    log = Log()
    fit(given, log)
    assert "8 steps, 5 of them done" in log.text
    assert log.shown == ["rearranger", "samples to label"]
    for part in ("clusters/clusters", "rearranger/rearranger", "rearranger/discriminator"):
        ours, theirs = (load_tensors(copy / work / part / "model.safetensors") for work in ("other.work", "model.work"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_stop_between_stages_and_in_clustering(copy):
    shutil.rmtree(copy / "model.work" / "clusters")
    shutil.rmtree(copy / "model.work" / "rearranger")
    expected = file_hash(copy / "model" / "rearranger" / "model.safetensors")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(Stopped, match="same command"):
        fit(config(copy), Log("clusters, pass", 1, stop))
    assert not is_done(copy / "model.work" / "clusters", {}, 0)
    fit(config(copy))
    assert file_hash(copy / "model" / "rearranger" / "model.safetensors") == expected


def test_other_settings_move_the_old_aside_and_back(copy):
    work = copy / "model.work"
    shutil.copy(copy / "toy.json", copy / "toy-before.json")
    changed = TOY | {"rearranger": TOY["rearranger"] | {"hidden": 12}}
    (copy / "toy.json").write_text(json.dumps(changed))
    old = file_hash(work / "rearranger" / "rearranger" / "model.safetensors")
    log = Log()
    fit(config(copy), log)
    assert log.shown == ["rearranger"]
    assert "rearranger: the earlier one" in log.text
    assert "rearranger: done already, of other pictures or settings; made again, and what is there is kept" in log.said
    [aside] = work.glob("rearranger.*")
    assert file_hash(aside / "rearranger" / "model.safetensors") == old
    shutil.copy(copy / "toy-before.json", copy / "toy.json")
    fit(config(copy))
    assert file_hash(work / "rearranger" / "rearranger" / "model.safetensors") == old
    # more steps of the generator go on from those there are
    log = Log()
    fit(config(copy, steps_scale=1.5), log)
    assert "9 steps, 6 of them done" in log.text
    assert not list(work.glob("generator.*"))


def test_other_pictures_are_said_before_anything_is_trained(copy):
    paint(copy / "model.work" / "to-label" / "000000.mask.png")
    Image.new("RGB", (20, 20), (9, 9, 9)).save(copy / "pictures" / "new.png")

    def stop():
        raise KeyboardInterrupt

    log = Log("generator", 1, stop)
    with pytest.raises(Stopped):
        fit(config(copy), log)
    [said] = [line for line in log.said if "done already" in line]
    assert said.startswith("generator, clusters, rearranger: done already, of other pictures or settings")
    assert "samples that were painted do not fit a new generator" in said
    assert log.said.index(said) < next(i for i, line in enumerate(log.said) if "the earlier one" in line)


def test_damaged_network_is_made_again(copy):
    path = copy / "model.work" / "rearranger" / "rearranger" / "model.safetensors"
    whole = file_hash(path)
    path.write_bytes(path.read_bytes()[:100])
    fit(config(copy))
    assert file_hash(path) == whole


# --------------------------------------------------------------------------------------------------------------- bad input


def test_bad_arguments_before_anything_is_run(copy, monkeypatch):
    def says(text, **changes):
        log = Log()
        with pytest.raises(ProxymaskError, match=text) as caught:
            fit(config(copy, **changes), log)
        assert "\n" not in str(caught.value)
        assert log.shown == []

    nowhere = copy / "nowhere"
    says("images .* does not exist", images=nowhere)
    says("labels .* does not exist", labels=nowhere)
    says("give one of them", generator=copy, bundle="x")
    says("starts from something", images=None)
    says("does not exist", generator=nowhere)
    says("holds no generator", generator=copy / "pictures")
    says("preset huge: there are", preset="huge")
    says("holds no pictures", images=copy / "model")
    says("name a folder", out=Path("."))
    says("power of two", resolution=20, out=copy / "new")
    says("cut 32", cut=32)
    says("too many halvings", preset=_preset(copy, mapper={"widths": [8] * 9}), out=copy / "new")
    says("multiple of accumulate", preset=_preset(copy, mapper_loop={"accumulate": 3}), out=copy / "new")
    says("not empty and holds no bundle", out=copy / "pictures")
    (copy / "file").write_text("")
    says("is a file", out=copy / "file")
    shutil.copytree(copy / "model", copy / "alone")
    says("holds a bundle already", out=copy / "alone")

    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    says("the disk of .* has 1 kB free.*make room", out=copy / "new")
    assert not (copy / "new.work").exists()


def _preset(root, **changes):
    path = root / "changed.json"
    path.write_text(json.dumps(TOY | {key: TOY[key] | value for key, value in changes.items()}))
    return str(path)


def test_wrong_labels_are_told_before_training(copy):
    dataset = copy / "dataset"
    dataset.mkdir()
    for name in ("images", "masks"):
        paint(dataset / name / "0.png")
    shutil.copy(copy / "model.work" / "to-label" / "labels.json", dataset)
    with pytest.raises(ProxymaskError, match="data set of pictures with masks"):
        fit(config(copy, labels=dataset))
    other = Generator(z_dim=16, w_dim=16, resolution=SIZE, mapping_layers=2, channel_base=128, channel_max=16)

    write_samples(SampleNetworks(SplitGenerator(other.eval(), 8)), [0], copy / "foreign")
    paint(copy / "foreign" / "000000.mask.png")
    with pytest.raises(ProxymaskError, match=r"labels.json is missing"):
        fit(config(copy, labels=copy / "foreign"))
    shutil.copy(dataset / "labels.json", copy / "foreign")
    log = Log()
    with pytest.raises(ProxymaskError, match="another generator"):
        fit(config(copy, labels=copy / "foreign", generator=copy / "model.work" / "generator"), log)
    assert log.shown == []


# ------------------------------------------------------------------------------------------------- stage by stage, by the verbs


def test_verbs_make_what_fit_makes(copy, capsys):
    work, preset = copy / "model.work", str(copy / "toy.json")
    common = {"preset": preset, "common": CPU}
    run = copy / "runs"
    TrainGenerator(images=copy / "pictures", out=run / "g", **common).run()
    Cluster(generator=run / "g", out=run / "c", **common).run()
    TrainRearranger(generator=run / "g", clusters=run / "c", images=copy / "pictures", out=run / "r", **common).run()
    for ours, theirs in (("g/generator", "generator/generator"), ("c/clusters", "clusters/clusters"), ("r/rearranger",) * 2):
        theirs = "rearranger/rearranger" if ours.startswith("r/") else theirs
        assert file_hash(run / ours / "model.safetensors") == file_hash(work / theirs / "model.safetensors")
    for name in ("generator", "clusters", "rearranger"):
        assert mark_of(run / name[0])["identity"] == mark_of(work / name)["identity"]  # so that fit takes it over
    assert "5 proxy clusters" in capsys.readouterr().out
    Cluster(generator=run / "g", out=run / "c", **common).run()
    with pytest.raises(ProxymaskError, match="holds clusters of another generator"):
        Cluster(generator=run / "g", out=run / "c", clusters=4, **common).run()

    paint(work / "to-label" / "000000.mask.png")
    parts = {"generator": run / "g", "clusters": run / "c", "rearranger": run / "r"}
    with pytest.raises(
        ProxymaskError, match="style-transfer labelling needs them: give clusters and rearranger, or style_transfer_max_labels 0"
    ):
        TrainSegmenter(generator=run / "g", labels=work / "to-label", out=run / "s", **common).run()
    TrainSegmenter(**parts, labels=work / "to-label", out=run / "s", **common).run()
    TrainMapper(**parts, segmenter=run / "s", images=copy / "pictures", out=run / "m", **common).run()
    fit(config(copy))
    for ours, theirs in (("s/segmenter", "segmenter/segmenter"), ("m/mapper", "mapper/mapper")):
        assert file_hash(run / ours / "model.safetensors") == file_hash(work / theirs / "model.safetensors")
    assert set(TRAIN) == {"generator", "rearranger", "segmenter", "mapper", "detail", "depth", "judge"}

    TrainGenerator(images=copy / "pictures", out=run / "tuned", resume_from=copy / "model", **common).run()
    assert "start" in mark_of(run / "tuned")["identity"]
    wider = GeneratorOverrides(channel_base=256)
    grown = {"images": copy / "pictures", "grow_from": copy / "model.work" / "generator", "resolution": 2 * SIZE, "config": wider, **common}
    TrainGenerator(out=run / "grown", **grown).run()
    assert "grown_from" in mark_of(run / "grown")["identity"]
    assert Generator.from_pretrained(run / "grown" / "generator").resolution == 2 * SIZE
    assert Discriminator.from_pretrained(run / "grown" / "discriminator").resolution == 2 * SIZE
    frozen = grown | {"config": GeneratorOverrides(new_blocks_only=True)}  # whose widths are those of the smaller generator
    TrainGenerator(out=run / "frozen", **frozen).run()
    made, small = run / "frozen" / "generator", copy / "model" / "generator"
    assert Generator.from_pretrained(made).config == Generator.from_pretrained(small).config | {"resolution": 2 * SIZE}
    with pytest.raises(ProxymaskError, match="keeps the block at 16 pixels, which has 8 channels and would get 16"):
        TrainGenerator(out=run / "x", **grown | {"config": GeneratorOverrides(channel_base=256, new_blocks_only=True)}).run()
    with pytest.raises(ProxymaskError, match="discriminator_first 2000"):
        TrainGenerator(out=run / "x", **grown | {"grow_from": copy / "model"}).run()
    with pytest.raises(ProxymaskError, match="give one of them"):
        TrainGenerator(out=run / "x", resume_from=run / "g", **grown).run()
    with pytest.raises(ProxymaskError, match="resolution 32"):
        TrainGenerator(images=copy / "pictures", out=run / "x", resume_from=run / "g", resolution=32, **common).run()
    with pytest.raises(ProxymaskError, match="holds something else"):
        TrainGenerator(images=copy / "pictures", out=copy, **common).run()
    with pytest.raises(ProxymaskError, match="other settings"):
        TrainRearranger(generator=run / "g", clusters=run / "c", out=run / "r", **common).run()


def test_two_processes_do_what_one_does(copy):
    """The whole of fit under torchrun. L_adv is left out: minibatch standard deviation looks at each process' own share."""
    (copy / "toy.json").write_text(json.dumps(TOY | {"rearranger": TOY["rearranger"] | {"lambda_adv": 0.0, "learning_rate": 0.001}}))
    given = config(copy, images=None, generator=copy / "model.work" / "generator", out=copy / "one")
    fit(given)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0", "-m", "proxymask", "fit", "--generator", str(given.generator)]
    launch += ["--out", str(copy / "two"), "--preset", given.preset, "--device", "cpu", "--precision", "fp32"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, *launch], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rearranger: done") == 1  # process 0 alone speaks
    ours, theirs = (ProxyClusters.from_pretrained(copy / name / "clusters") for name in ("one", "two"))
    assert torch.equal(ours.centroids, theirs.centroids)
    # Some weights have no gradient but rounding (a constant added to all keys changes nothing) and Adam follows that: compare results.
    split = SplitGenerator(Generator.from_pretrained(given.generator / "generator"), 8)
    state = split.features(split.w(seed_to_z(range(4), 16)))
    mask = torch.nn.functional.one_hot(torch.randint(5, (4, 8, 8), generator=torch.Generator().manual_seed(0)), 5).permute(0, 3, 1, 2)
    one, two, before = (
        Rearranger.from_pretrained(folder / "rearranger")(state, mask.float()).features
        for folder in (copy / "one.work" / "rearranger", copy / "two.work" / "rearranger", copy / "model.work" / "rearranger")
    )
    assert relative_l1(two, one) < 1e-3
    assert relative_l1(before, one) > 3e-3  # three times what is allowed above: training moved it further than that


# ------------------------------------------------------------------------------------------------------------ small things


def test_command_line_takes_the_flags():
    import tyro

    parsed = tyro.cli(TrainMapper, args=["--generator", "g", "--clusters", "c", "--rearranger", "r", "--segmenter", "s", "--out", "o"])
    assert parsed.config.widths is None
    args = ["--images", "i", "--out", "o", "--steps", "7", "--augment", "color", "cutout", "--flip", "True", "--seed", "3"]
    parsed = tyro.cli(TrainGenerator, args=args)
    assert (parsed.loop.steps, tuple(parsed.config.augment), parsed.config.flip, parsed.common.seed) == (7, ("color", "cutout"), True, 3)
    assert tyro.cli(Fit, args=["--images", "i", "--out", "o"]) == Fit(images=Path("i"), out=Path("o"))


def test_masks_read_back(world):
    """The template's colours are those that the README asks people to paint with."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:5] = 3
    assert np.array_equal(read_mask(TEMPLATE.colors[mask], TEMPLATE), mask)
