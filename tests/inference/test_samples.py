"""Samples, their sidecars, and masks painted over them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import weights_hash
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask
from proxymask.inference.samples import (
    SampleNetworks,
    labels_hash,
    painted_masks,
    read_label_set,
    read_labelled,
    read_sidecar,
    select_samples_to_label,
    write_samples,
)
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.stylegan2 import Generator, seed_to_z

SIZE = tiny.SIZE


@pytest.fixture
def samples(tmp_path, split, clusters):
    """Three samples with proxy masks."""
    write_samples(SampleNetworks(split, clusters), range(5, 8), tmp_path / "samples", with_proxy=True)
    return tmp_path / "samples"


def paint(path, values=(0, 1, 2), size=SIZE):
    """A mask of vertical stripes of ``values``."""
    mask = np.repeat(np.resize(np.repeat(values, -(-size // len(values))), size)[None], size, axis=0).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return torch.from_numpy(mask).long()


def test_files_and_sidecar(samples, split, clusters):
    stems = [f"{i:06d}" for i in range(3)]
    assert sorted(p.name for p in samples.iterdir()) == sorted(f"{s}{end}" for s in stems for end in (".json", ".png", ".proxy.png"))
    about = read_sidecar(samples / "000001.json")
    assert (about.seed, about.truncation, about.resolution, about.generator) == (6, 1.0, SIZE, weights_hash(split.generator))
    z = seed_to_z([6], tiny.Z)
    assert torch.equal(torch.tensor(about.z), z[0])
    w = split.w(z)
    torch.testing.assert_close(torch.tensor(about.w), w[0])
    picture = np.asarray(Image.open(samples / "000001.png")).astype(np.float32) / 127.5 - 1
    expected = split.generator(z)[0].clamp(-1, 1).permute(1, 2, 0).numpy()
    assert np.abs(picture - expected).max() < 0.006
    proxy = Image.open(samples / "000001.proxy.png")
    assert (proxy.mode, proxy.size) == ("P", (SIZE, SIZE))
    ids = clusters.assign(split.features(w).features)[0].numpy()
    assert np.array_equal(np.asarray(proxy), ids.repeat(SIZE // tiny.CUT, axis=0).repeat(SIZE // tiny.CUT, axis=1))
    assert np.array_equal(np.asarray(proxy.convert("RGB"))[::2, ::2], clusters.colorize(ids))


def test_same_seed_same_files_and_truncation(samples, tmp_path, split):
    write_samples(SampleNetworks(split), [5, 6, 7], tmp_path / "again", batch=2)
    for name in ("000000.json", "000002.json"):
        ours, theirs = (json.loads((folder / name).read_text()) for folder in (samples, tmp_path / "again"))
        assert ours["z"] == theirs["z"]
        assert np.allclose(ours["w"], theirs["w"], atol=1e-6)
    write_samples(SampleNetworks(split), [5], tmp_path / "mean", truncation=0.0)
    torch.testing.assert_close(torch.tensor(read_sidecar(tmp_path / "mean" / "000000.json").w), split.generator.mapping.w_avg)


def test_labels_by_the_segmenter(tmp_path, split):
    levels, _ = split.feature_pyramid(split.w(seed_to_z([0], tiny.Z)))
    torch.manual_seed(0)
    segmenter = FewShotSegmenter([level.shape[1] for level in levels], SIZE, len(tiny.LABELS), width=8).eval()
    write_samples(SampleNetworks(split, segmenter=segmenter, labels=tiny.LABELS), [0], tmp_path, with_labels=True)
    expected = segmenter(levels).argmax(dim=1)[0].numpy()
    assert np.array_equal(read_mask(tmp_path / "000000.labels.png", tiny.LABELS), expected)
    assert painted_masks(tmp_path) == {}  # what the segmenter drew is nobody's label


def test_from_a_synthesizer(tmp_path, tiny_bundle):
    synth = Synthesizer.from_pretrained(tiny_bundle, device="cpu", precision="fp32")
    write_samples(SampleNetworks.of(synth), [1, 2], tmp_path, with_proxy=True, with_labels=True)
    assert len(list(tmp_path.glob("*.labels.png"))) == len(list(tmp_path.glob("*.proxy.png"))) == 2
    with Image.open(tmp_path / "000001.png") as picture:
        assert picture.size == (synth.size, synth.size)


def test_hash_is_that_of_the_stored_half(tmp_path, split):
    split.generator.save_pretrained(tmp_path / "full")
    split.generator.save_pretrained(tmp_path / "half", half=True)
    hashes = {weights_hash(Generator.from_pretrained(tmp_path / name)) for name in ("full", "half")}
    assert hashes == {weights_hash(split.generator)}
    other = tiny.make_generator(seed=1)
    assert weights_hash(other) != weights_hash(split.generator)
    assert weights_hash(other) == weights_hash(other)


def test_read_labelled(samples, split):
    digest = weights_hash(split.generator)
    first, third = paint(samples / "000000.mask.png"), paint(samples / "masks" / "000002.png", (3, 0))
    paint(samples / "000001.labels.png")  # not painted by anybody
    ws, masks, names = read_labelled(samples, tiny.LABELS, digest)
    assert names == ["000000", "000002"]
    assert ws.shape == (2, tiny.Z)
    torch.testing.assert_close(ws[1], split.w(seed_to_z([7], tiny.Z))[0])
    assert torch.equal(masks, torch.stack([first, third]))
    assert masks.dtype == torch.int64
    before = labels_hash(tiny.LABELS, ws, masks)
    assert before == labels_hash(tiny.LABELS, ws, masks.clone())
    masks[0, 0, 0] = 3
    assert before != labels_hash(tiny.LABELS, ws, masks)


def test_masks_in_another_folder_and_larger_canvas(samples, tmp_path, split):
    painted = tmp_path / "painted"
    paint(painted / "000001.png", size=4 * SIZE)
    ws, masks, names = read_labelled(painted, tiny.LABELS, weights_hash(split.generator), samples)
    assert (names, tuple(masks.shape)) == (["000001"], (1, SIZE, SIZE))
    torch.testing.assert_close(ws[0], split.w(seed_to_z([6], tiny.Z))[0])


def test_one_file_a_class(samples, split):
    folder = samples / "000000.mask"
    folder.mkdir()
    left = np.zeros((SIZE, SIZE), np.uint8)
    left[:, :4] = 255
    Image.fromarray(left).save(folder / "left.png")
    _, masks, names = read_labelled(samples, tiny.LABELS, weights_hash(split.generator))
    assert names == ["000000"]
    assert torch.equal(masks[0], torch.from_numpy(left // 255).long())


def test_labelling_problems_say_what_to_do(samples, tmp_path, split):
    digest = weights_hash(split.generator)

    def says(text, folder=samples, generator=digest, where=None):
        with pytest.raises(ProxymaskError, match=text) as caught:
            read_labelled(folder, tiny.LABELS, generator, where)
        assert "\n" not in str(caught.value)

    says("does not exist", tmp_path / "nowhere")
    says("no painted mask.*STEM.mask.png")
    paint(samples / "000000.mask.png")
    says("another generator", generator="0" * 64)
    read_labelled(samples, tiny.LABELS, None)  # as long as there is no generator, its name cannot be compared
    paint(samples / "masks" / "000000.png")
    says("two masks")
    shutil.rmtree(samples / "masks")
    (samples / "000000.json").rename(samples / "elsewhere.json")
    says("000000.json is missing")
    (samples / "000000.json").write_text('{"z": []}')
    says("not the sidecar of a sample")
    (samples / "000000.json").write_text('{"shapes": [], "imagePath": "000000.png"}')
    says("rename it to 000000.mask.json")
    (samples / "000000.json").write_text("{")
    says("not valid JSON")
    (samples / "elsewhere.json").replace(samples / "000000.json")
    paint(samples / "000000.mask.png", (0, 9))
    says("multiples of 9")
    broken = json.loads((samples / "000000.json").read_text()) | {"w": ["a", "b"]}
    paint(samples / "000000.mask.png")
    (samples / "000000.json").write_text(json.dumps(broken))
    says("is damaged: its w")
    (samples / "000000.json").write_text(json.dumps(broken | {"format": 99}))
    says("sidecar format 99")

    dataset = tmp_path / "dataset"
    paint(dataset / "masks" / "000000.png")
    (dataset / "images").mkdir()
    says("data set of pictures with masks.*proxymask sample", dataset)
    with pytest.raises(ProxymaskError, match=r"labels.json is missing.*names the classes"):
        read_label_set(dataset)
    tiny.LABELS.save(dataset / "labels.json")
    assert read_label_set(dataset) == tiny.LABELS


def test_write_problems(samples, tmp_path, split, clusters):
    with pytest.raises(ProxymaskError, match="no segmenter"):
        write_samples(SampleNetworks(split), [0], tmp_path / "x", with_labels=True)
    with pytest.raises(ProxymaskError, match="need clusters"):
        write_samples(SampleNetworks(split), [0], tmp_path / "x", with_proxy=True)
    with pytest.raises(ProxymaskError, match="one or more"):
        write_samples(SampleNetworks(split), [], tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProxymaskError, match="cannot make the folder"):
        write_samples(SampleNetworks(split), [0], tmp_path / "file")
    paint(samples / "000001.mask.png")
    with pytest.raises(ProxymaskError, match="painted over another sample"):
        write_samples(SampleNetworks(split), range(3), samples)
    write_samples(SampleNetworks(split), range(5, 8), samples)  # the same ones may be written again


def test_most_worth_labelling_covers_the_clusters(split, clusters):
    chosen = select_samples_to_label(split, clusters, 6, candidates=40, seed=100)
    assert chosen == select_samples_to_label(split, clusters, 6, candidates=40, seed=100, batch=7)
    assert len(set(chosen)) == 6
    assert all(100 <= seed < 140 for seed in chosen)
    assert select_samples_to_label(split, clusters, 3, candidates=40, seed=100) == chosen[:3]

    def shares(seeds):
        ids = clusters.assign(split.features(split.w(seed_to_z(seeds, tiny.Z))).features)
        return torch.nn.functional.one_hot(ids.flatten(1), tiny.K).float().mean(dim=1)

    every = shares(range(100, 140))
    shown = (every / every.mean(dim=0)).clamp_max(1)
    cover = shown.mean(dim=1)
    w = split.w(seed_to_z(range(100, 140), tiny.Z))
    away = (w - split.generator.mapping.w_avg).norm(dim=1)
    assert (cover < 0.95 * cover.max()).any()  # else the first would just be the nearest
    assert chosen[0] == 100 + int(away.masked_fill(cover < 0.95 * cover.max(), float("inf")).argmin())
    union = shown[[seed - 100 for seed in chosen]].max(dim=0).values.mean()
    random = [shown[torch.randperm(40, generator=torch.Generator().manual_seed(i))[:6]].max(dim=0).values.mean() for i in range(20)]
    assert union >= sum(random) / 20
    with pytest.raises(ProxymaskError, match="cannot choose"):
        select_samples_to_label(split, clusters, 5, candidates=4)


def test_labels_template_reads_back(tmp_path):
    from proxymask.training.fit.labels import TEMPLATE

    TEMPLATE.save(tmp_path / "labels.json")
    assert LabelSet.load(tmp_path / "labels.json") == TEMPLATE
