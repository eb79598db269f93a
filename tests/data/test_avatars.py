import json

import numpy as np
import pytest
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.data import drawn_dataset, layers
from proxymask.data.avatars import AVATAR_LABELS, AVATARS
from proxymask.data.dataset import ImageSet
from proxymask.data.drawn_dataset import make_dataset
from proxymask.data.layers import LayerComposer
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import read_mask

pytest.importorskip("robohash")


@pytest.fixture(scope="module")
def composer() -> LayerComposer:
    return AVATARS.composer(48)


def test_shapes_classes_and_repeatability(composer):
    avatar = composer.compose(3, 5)
    assert avatar.image.shape == (48, 48, 3)
    assert avatar.image.dtype == avatar.mask.dtype == np.uint8
    assert set(np.unique(avatar.mask)) <= set(range(len(AVATAR_LABELS)))
    other = AVATARS.composer(48)
    other.compose(0, 0)  # earlier calls have no effect
    again = other.compose(3, 5)
    np.testing.assert_array_equal(again.image, avatar.image)
    np.testing.assert_array_equal(again.mask, avatar.mask)
    assert again.layers == avatar.layers
    assert not np.array_equal(composer.compose(4, 5).image, avatar.image)
    assert not np.array_equal(composer.compose(3, 6).image, avatar.image)


def still(monkeypatch):
    """No rotation, scale or shift."""
    for name in ("MAX_ROTATION", "MAX_SCALE", "MAX_SHIFT"):
        monkeypatch.setattr(layers, name, 0.0)


def test_picture_and_mask_match_the_drawings_composed_at_full_size(monkeypatch):
    """An independent composition: full-size drawings, stacked, then averaged down."""
    still(monkeypatch)
    size = 128
    composer = AVATARS.composer(size, "full")
    root = layers._art_folder("set5")
    for index in range(4):
        avatar = composer.compose(1, index)
        canvas = Image.new("RGBA", (1024, 1024), (*(int(v) for v in avatar.image[0, 0]), 255))
        owner = np.zeros((1024, 1024), np.uint8)
        for spec in AVATARS.layers:
            if spec.label not in avatar.layers:
                continue
            drawing = Image.open(root / spec.folder / f"{avatar.layers[spec.label]}.png").convert("RGBA")
            canvas.alpha_composite(drawing)
            owner[np.asarray(drawing)[..., 3] > 127] = AVATAR_LABELS.by_name(spec.label).id
        reference = np.asarray(canvas.convert("RGB").resize((size, size), Image.Resampling.BOX)).astype(int)
        # A coarse pixel whose fine pixels all have one class must have that class; at edges either is right.
        fine = owner.reshape(size, 8, size, 8).transpose(0, 2, 1, 3).reshape(size, size, 64)
        difference, wrong = [], []
        for mirrored in (False, True):
            image, mask = (a[:, ::-1] if mirrored else a for a in (avatar.image, avatar.mask))
            pure = (fine == fine[..., :1]).all(-1)
            difference.append(np.abs(image - reference).mean())
            wrong.append((mask != fine[..., 0])[pure].mean())
        best = int(np.argmin(difference))
        assert difference[best] < 2.0
        assert wrong[best] < 0.005


def test_transform_moves_picture_and_mask_together(composer):
    """Background pixels of the mask, away from edges, have the background colour under any transform."""
    for index in range(6):
        avatar = composer.compose(9, index)
        padded = np.pad(avatar.mask > 0, 2, mode="edge")
        near = np.zeros_like(avatar.mask, dtype=bool)
        for dy in range(5):
            for dx in range(5):
                near |= padded[dy : dy + 48, dx : dx + 48]
        pixels = avatar.image[~near]
        assert len(pixels) > 100
        color = np.median(pixels, axis=0)
        assert (np.abs(pixels - color).max(axis=-1) > 0).mean() < 0.02  # faint shadows of hair are outside its mask
        inside = avatar.image[(avatar.mask == AVATAR_LABELS.by_name("skin").id)]
        assert np.abs(inside.mean(axis=0) - color).max() > 5


def test_no_background_below_the_body(composer):
    for index in range(6):
        assert (composer.compose(2, index).mask[-1, 20:28] != 0).all()
    full = AVATARS.composer(32, "full")
    for index in range(6):
        assert (full.compose(2, index).mask[-1, 12:20] != 0).all()


def test_shares_of_optional_layers_and_mirror(monkeypatch, composer):
    monkeypatch.setattr(LayerComposer, "_drawing", lambda self, file: None if file.stem == "Blank" else self._stub)
    composer._stub = layers._Drawing(Image.new("RGBa", (1, 1)), 10**6, 0)  # outside the picture: only the choices are counted
    chosen = [composer.compose(0, i).layers for i in range(1000)]
    for label in ("facial_hair", "accessories"):
        assert 0.34 < sum(label in c for c in chosen) / 1000 < 0.46
        assert not any(c.get(label) == "Blank" for c in chosen)
    assert all({"skin", "eyes", "eyebrows", "mouth", "clothes"} <= c.keys() for c in chosen)
    assert len({c.get("top") for c in chosen}) > 300


def test_bad_arguments_are_refused():
    with pytest.raises(ProxymaskError, match="head, full"):
        AVATARS.composer(64, "feet")
    with pytest.raises(ProxymaskError, match="8 to 1024"):
        AVATARS.composer(4)
    with pytest.raises(ProxymaskError, match="avatars, cats, churches, bedrooms"):
        make_dataset("x", "dogs")


def test_missing_drawings_name_the_package_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[data\]'"):
        AVATARS.composer(64)


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*.png"))}


def test_dataset_continues_grows_and_refuses_other_settings(tmp_path):
    done = []
    make_dataset(tmp_path / "a", count=5, size=24, seed=7, workers=1, progress=lambda n, total: done.append((n, total)))
    assert done[-1] == (5, 5)
    first = contents(tmp_path / "a")
    assert sorted(first) == [f"{f}/00000{i}.png" for f in ("images", "masks") for i in range(5)]
    avatar = AVATARS.composer(24).compose(7, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a/images/000003.png")), avatar.image)
    np.testing.assert_array_equal(read_mask(tmp_path / "a/masks/000003.png", AVATAR_LABELS), avatar.mask)
    assert LabelSet.load(tmp_path / "a/labels.json") == AVATAR_LABELS
    about = json.loads((tmp_path / "a/dataset.json").read_text())
    assert (about["kind"], about["count"], about["size"], about["seed"], about["framing"]) == ("avatars", 5, 24, 7, "head")
    assert "Pablo Stanley" in about["art"]["authors"]

    # A second call writes missing files only.
    (tmp_path / "a/images/000002.png").unlink()
    kept = (tmp_path / "a/images/000001.png").stat().st_mtime_ns
    make_dataset(tmp_path / "a", count=5, size=24, seed=7, workers=1)
    assert contents(tmp_path / "a") == first
    assert (tmp_path / "a/images/000001.png").stat().st_mtime_ns == kept
    # A larger count adds pictures; a smaller one removes none.
    make_dataset(tmp_path / "a", count=6, size=24, seed=7, workers=1)
    make_dataset(tmp_path / "a", count=2, size=24, seed=7, workers=1)
    assert len(contents(tmp_path / "a")) == 12
    assert json.loads((tmp_path / "a/dataset.json").read_text())["count"] == 6

    for other in ({"size": 32, "seed": 7}, {"size": 24, "seed": 8}, {"size": 24, "seed": 7, "kind": "cats"}):
        with pytest.raises(ProxymaskError, match="another data set"):
            make_dataset(tmp_path / "a", count=5, workers=1, **other)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/holiday.png").write_bytes(b"")
    with pytest.raises(ProxymaskError, match="something else"):
        make_dataset(tmp_path / "b", count=5, size=24, workers=1)
    assert len(list((tmp_path / "b").iterdir())) == 1


def test_any_number_of_processes_writes_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_dataset, "CHUNK", 4)
    make_dataset(tmp_path / "one", "cats", count=6, size=16, workers=1)
    done = []
    make_dataset(tmp_path / "two", "cats", count=6, size=16, workers=2, progress=lambda n, total: done.append(n))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert done[-1] == 6


def test_an_incomplete_dataset_is_refused(tmp_path):
    def stop(n: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path, "cats", count=60, size=16, workers=1, progress=stop)
    with pytest.raises(ProxymaskError, match="50 of its 60"):
        ImageSet.open(tmp_path, 16)
    make_dataset(tmp_path, "cats", count=60, size=16, workers=1)
    assert len(ImageSet.open(tmp_path, 16)) == 60


def test_depth() -> None:
    composer, steps, inside = AVATARS.composer(64), [], []
    for index in range(7):
        plain, avatar = composer.compose(5, index), composer.compose(5, index, with_depth=True)
        assert plain.depth is None
        assert np.array_equal(plain.image, avatar.image)  # depth is drawn beside the picture, not into it
        depth, mask = avatar.depth, avatar.mask
        assert depth is not None
        assert depth.dtype == np.float32
        assert 0 <= depth.min() <= depth.max() <= 1
        assert not depth[mask == 0].any()
        for part in ("eyes", "mouth"):  # lie on the face
            at, skin = mask == AVATAR_LABELS.by_name(part).id, mask == AVATAR_LABELS.by_name("skin").id
            if at.sum() > 3 and skin.sum() > 50:
                rows, columns = np.nonzero(at)
                near = np.zeros_like(skin)
                near[max(0, rows.min() - 3) : rows.max() + 4, max(0, columns.min() - 3) : columns.max() + 4] = True
                if (near & skin).sum() > 10:
                    steps.append(depth[at].mean() - depth[near & skin].mean())
        for label in np.unique(mask[mask > 0]):
            if (mask == label).sum() > 100:
                inside.append(len(np.unique(depth[mask == label].round(3))))
    assert all(step > 0 for step in steps)
    assert len(steps) > 4
    assert min(inside) > 10  # a relief, not one number a class
