import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.data import prepare
from proxymask.data.dataset import ImageSet
from proxymask.data.prepare import prepare_folder
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import write_mask
from proxymask.imaging.reader import read_picture

RNG = np.random.default_rng(0)
LABELS = LabelSet.of([("background", "#101010"), ("thing", "#ff0000"), ("other", "#00ff00")])


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.full_like(red, 77)], axis=-1).round().astype(np.uint8)


def test_pictures_of_every_kind_are_prepared(tmp_path):
    source = tmp_path / "in"
    (source / "deep" / "er").mkdir(parents=True)
    (source / ".cache").mkdir()
    base = Image.fromarray(gradient(32, 32))
    base.save(source / "a_rgb.png")
    base.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(source / "b_palette.png")
    base.convert("L").save(source / "c_grey.png")
    base.convert("CMYK").save(source / "d_cmyk.jpg", quality=95)
    base.save(source / "deep/er/e_webp.webp", lossless=True)
    Image.fromarray(np.full((32, 32), 128 * 257, np.uint16)).save(source / "f_16bit.png")
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(source / "g_clear.png")
    Image.new("LA", (32, 32), (0, 0)).save(source / "h_clear_grey.PNG")
    Image.new("P", (32, 32), 0).save(source / "i_clear_palette.png", transparency=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    base.transpose(Image.Transpose.ROTATE_90).save(source / "j_rotated.jpg", exif=exif, quality=98)
    (source / "notes.txt").write_text("no picture")
    (source / "k_broken.png").write_bytes((source / "f_16bit.png").read_bytes()[:50])
    (source / "l_empty.jpg").write_bytes(b"")
    base.save(source / ".cache" / "hidden.png")

    seen = []
    report = prepare_folder(source, tmp_path / "out", 32, progress=lambda n, total: seen.append((n, total)))
    assert report.kept == 10
    assert sorted(path.name for path, _ in report.skipped) == ["k_broken.png", "l_empty.jpg"]
    reasons = [reason.partition(":")[2] for _, reason in sorted(report.skipped)]
    assert reasons == [" it is truncated or damaged", " it is empty (0 bytes); save or copy it again"]
    assert [path.name for path in report.others] == ["notes.txt"]
    assert seen[-1] == (12, 12)

    images = ImageSet.open(tmp_path / "out")
    assert len(images) == 10
    assert images.labels is None
    pictures = dict(zip(images.names, ((images.images(range(10)) + 1) * 127.5).permute(0, 2, 3, 1).numpy(), strict=True))
    assert list(pictures) == sorted(pictures)
    reference = gradient(32, 32).astype(float)
    np.testing.assert_allclose(pictures["a_rgb.png"], reference, atol=1e-3)
    np.testing.assert_allclose(pictures["deep/er/e_webp.webp"], reference, atol=1e-3)
    for name, tolerance in (("b_palette.png", 30), ("d_cmyk.jpg", 12), ("j_rotated.jpg", 12)):
        assert np.abs(pictures[name] - reference).max() < tolerance, name
    assert np.abs(pictures["c_grey.png"] - np.asarray(base.convert("L"))[..., None]).max() < 1e-3
    assert np.abs(pictures["f_16bit.png"] - 128).max() < 1e-3
    for name in ("g_clear.png", "h_clear_grey.PNG", "i_clear_palette.png"):
        assert (pictures[name] == 255).all(), name


def test_crop_is_central_and_resize_antialiased(tmp_path):
    (tmp_path / "in").mkdir()
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = (np.indices((64, 64)).sum(0) % 2 * 255)[..., None]  # a fine checkerboard averages to grey
    wide[:, :32], wide[:, 96:] = [255, 0, 0], [0, 0, 255]
    Image.fromarray(wide).save(tmp_path / "in/wide.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "in/tiny.png")
    report = prepare_folder(tmp_path / "in", tmp_path / "out", 16)
    assert "1 picture: smaller than 16 and enlarged; at a smaller size they stay sharp" in report.notes
    picture = ImageSet.open(tmp_path / "out").images([1])[0]
    assert picture[:, 1:-1, 1:-1].abs().max() < 0.02
    assert (picture.amax(0) - picture.amin(0)).max() == 0  # no red or blue from outside the square


def dataset(root, count=4, size=(40, 40)):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    masks = RNG.integers(0, 3, (count, size[1], size[0])).astype(np.uint8)
    for i, mask in enumerate(masks):
        Image.fromarray(LABELS.colors[mask]).save(root / "images" / f"{i}.png")
        write_mask(root / "masks" / f"{i}.png", mask, LABELS)
    LABELS.save(root / "labels.json")
    return masks


def test_masks_stay_aligned_with_their_pictures(tmp_path):
    masks = dataset(tmp_path / "d", size=(60, 40))
    images = ImageSet.open(tmp_path / "d", 40)
    assert images.labels == LABELS
    ids = images.masks(torch.tensor([2, 0]))
    assert ids.dtype == torch.int64
    np.testing.assert_array_equal(ids.numpy(), masks[[2, 0], :, 10:50])
    colors = ((images.images([2, 0]) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(colors, LABELS.colors[masks[[2, 0], :, 10:50]])


def test_a_picture_with_a_bad_mask_is_skipped(tmp_path):
    dataset(tmp_path / "d")
    (tmp_path / "d/masks/1.png").unlink()
    Image.new("L", (9, 9)).save(tmp_path / "d/masks/2.png")
    report = prepare_folder(tmp_path / "d", tmp_path / "out", 20)
    assert report.kept == 2
    assert ["does not exist" in report.skipped[0][1], "9x9" in report.skipped[1][1]] == [True, True]
    assert ImageSet.open(tmp_path / "out").masks([0, 1]).shape == (2, 20, 20)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "photos" / "a.png")
    monkeypatch.setattr(prepare.os, "access", lambda path, mode: False)  # tests may run as root, who may write everywhere
    with pytest.raises(ProxymaskError, match=r"run proxymask data prepare .*photos --size 16 --out FOLDER, and give that FOLDER"):
        ImageSet.open(tmp_path / "photos", 16)


def test_open_prepares_once_and_again_after_a_change(tmp_path, monkeypatch):
    dataset(tmp_path / "d")
    runs = []
    original = prepare.prepare_folder
    monkeypatch.setattr(prepare, "prepare_folder", lambda *a, **k: runs.append(1) or original(*a, **k))
    first = ImageSet.open(tmp_path / "d", 20)
    assert first.folder == tmp_path / "d/.prepared-20"
    assert ImageSet.open(tmp_path / "d", 20).fingerprint == first.fingerprint
    assert len(runs) == 1
    write_mask(tmp_path / "d/masks/0.png", np.zeros((40, 40), np.uint8), LABELS)
    os.utime(tmp_path / "d/masks/0.png", ns=(1, 1))
    changed = ImageSet.open(tmp_path / "d", 20)
    assert len(runs) == 2
    assert (changed.masks([0]) == 0).all()
    assert changed.fingerprint != first.fingerprint
    with pytest.raises(ProxymaskError, match="give the size"):
        ImageSet.open(tmp_path / "d")
    with pytest.raises(ProxymaskError, match="20 pixels, not 40"):
        ImageSet.open(tmp_path / "d/.prepared-20", 40)


def test_fingerprint_depends_on_the_content_and_not_on_the_folder(tmp_path):
    masks = dataset(tmp_path / "a")
    prepare_folder(tmp_path / "a", tmp_path / "x", 40)
    prepare_folder(tmp_path / "a", tmp_path / "elsewhere", 40)
    first, second = ImageSet.open(tmp_path / "x"), ImageSet.open(tmp_path / "elsewhere")
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64
    assert first.has_fingerprint(second.fingerprint)
    copied = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copied.masks([1])[0].numpy(), masks[1])
    assert len(pickle.dumps(first)) < 1000


def test_images_are_floats_in_range(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16), (0, 255, 51)).save(tmp_path / "in/a.png")
    batch = ImageSet.open(tmp_path / "in", 16).images([0, 0, -1])
    assert batch.shape == (3, 3, 16, 16)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    torch.testing.assert_close(batch[2, :, 5, 5], torch.tensor([-1.0, 1.0, -0.6]))


def test_wrong_folders_and_sizes_are_refused(tmp_path):
    with pytest.raises(ProxymaskError, match="does not exist"):
        ImageSet.open(tmp_path / "none", 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProxymaskError, match="holds no pictures"):
        ImageSet.open(tmp_path / "empty", 16)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_text("no")
    with pytest.raises(ProxymaskError, match=r"none of the 1 files.*a\.png"):
        ImageSet.open(tmp_path / "bad", 16)
    with pytest.raises(ProxymaskError, match="does not exist"):
        prepare_folder(tmp_path / "none", tmp_path / "out", 16)
    (tmp_path / "good").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "good/a.png")
    with pytest.raises(ProxymaskError, match="something else"):
        prepare_folder(tmp_path / "good", tmp_path / "bad", 16)
    assert (tmp_path / "bad/a.png").exists()
    with pytest.raises(ProxymaskError, match="8 to 4096"):
        prepare_folder(tmp_path / "good", tmp_path / "out", 0)
    with pytest.raises(ProxymaskError, match="no masks"):
        ImageSet.open(tmp_path / "good", 16).masks([0])


def test_a_full_disk_is_reported_and_leaves_no_partial_set(tmp_path, monkeypatch):
    dataset(tmp_path / "d")

    def full(self, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare._NpyWriter, "append", full)
    with pytest.raises(ProxymaskError, match="No space left"):
        ImageSet.open(tmp_path / "d", 16)
    assert not (tmp_path / "d/.prepared-16").exists()
    monkeypatch.undo()
    assert len(ImageSet.open(tmp_path / "d", 16)) == 4


def test_damaged_files_are_named(tmp_path):
    dataset(tmp_path / "d")
    folder = ImageSet.open(tmp_path / "d", 16).folder
    data = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(data[:-5])
    with pytest.raises(ProxymaskError, match=r"images\.npy is damaged or truncated"):
        ImageSet.open(folder)
    (folder / "images.npy").write_bytes(data)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"names": index["names"][:2]}))
    with pytest.raises(ProxymaskError, match="prepare the set again"):
        ImageSet.open(folder)
    (folder / "index.json").write_text(json.dumps(index | {"format": 99}))
    with pytest.raises(ProxymaskError, match="format 99"):
        ImageSet.open(folder)
    (folder / "index.json").write_text("{}")
    with pytest.raises(ProxymaskError, match="not the index"):
        ImageSet.open(folder)


def test_missing_and_truncated_pictures_are_refused(tmp_path):
    with pytest.raises(ProxymaskError, match="does not exist"):
        read_picture(tmp_path / "a.png")
    Image.fromarray(gradient(64, 64)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:600])
    with pytest.raises(ProxymaskError, match="truncated"):
        read_picture(tmp_path / "a.jpg")


def test_the_fingerprint_is_of_all_pictures_and_masks(tmp_path):
    """One pixel of one mask of many; sets of earlier versions keep the fingerprint that they had."""
    (tmp_path / "a/images").mkdir(parents=True)
    (tmp_path / "a/masks").mkdir()
    LABELS.save(tmp_path / "a/labels.json")
    for number in range(100):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"a/images/{number:03d}.png")
        write_mask(tmp_path / f"a/masks/{number:03d}.png", np.zeros((8, 8), np.uint8), LABELS)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    mask = np.zeros((8, 8), np.uint8)
    mask[3, 3] = 1
    write_mask(tmp_path / "b/masks/001.png", mask, LABELS)
    sets = [ImageSet.open(tmp_path / name, 8) for name in "ab"]
    assert sets[0].fingerprint != sets[1].fingerprint
    assert not sets[0].has_fingerprint(sets[1].fingerprint)
    folder = tmp_path / "a/.prepared-8"
    index = json.loads((folder / "index.json").read_text())
    del index["content"]
    (folder / "index.json").write_text(json.dumps(index))
    earlier = ImageSet.open(folder)
    assert earlier.fingerprint != sets[0].fingerprint
    assert sets[0].has_fingerprint(earlier.fingerprint)
