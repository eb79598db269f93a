import json

import numpy as np
import pytest
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.data import drawn_dataset
from proxymask.data.drawn_dataset import ARTS, make_dataset
from proxymask.data.scenes.materials import Material, atlas, read_texture
from proxymask.data.scenes.meshes import MeshBuilder
from proxymask.imaging.masks import read_mask

KINDS = ("churches", "bedrooms")
OUTSIDE = {"churches": "sky", "bedrooms": "window"}


@pytest.fixture(scope="module")
def pictures():
    pytest.importorskip("embreex")
    return {kind: [ARTS[kind].composer(32, None).compose(0, i, True) for i in range(24)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_occurs(kind, pictures):
    labels = ARTS[kind].labels
    shares = np.bincount(np.concatenate([p.mask.reshape(-1) for p in pictures[kind]]), minlength=len(labels)) / (24 * 32 * 32)
    assert len(shares) == len(labels) == {"churches": 12, "bedrooms": 14}[kind]
    assert (shares > 0.003).all()
    assert shares.max() < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_depends_on_seed_and_index_alone(kind, pictures):
    first = pictures[kind][7]
    again = ARTS[kind].composer(32, None).compose(0, 7)
    np.testing.assert_array_equal(again.image, first.image)
    np.testing.assert_array_equal(again.mask, first.mask)
    assert again.depth is None
    assert again.layers == first.layers
    for seed, index in ((1, 7), (0, 8)):
        assert not np.array_equal(ARTS[kind].composer(32, None).compose(seed, index).mask, first.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scene_is_the_same_at_every_size(kind, pictures):
    """The centres of the pixels of an odd part of the size are centres of pixels at the full size, too."""
    large = ARTS[kind].composer(96, None).compose(0, 3, True)
    small = pictures[kind][3]
    np.testing.assert_array_equal(large.mask[1::3, 1::3], small.mask)
    ratio = large.depth[1::3, 1::3][small.depth > 0] / small.depth[small.depth > 0]
    assert ratio.max() / ratio.min() < 1.001  # each size has its own nearest point
    mean = large.image.reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(mean - small.image).mean() < 7


@pytest.mark.parametrize("kind", KINDS)
def test_depth_is_zero_outside_and_one_at_the_nearest_point(kind, pictures):
    outside = ARTS[kind].labels.by_name(OUTSIDE[kind]).id
    assert any((p.depth == 0).any() for p in pictures[kind])
    for p in pictures[kind]:
        assert p.depth.dtype == np.float32
        assert p.depth.min() >= 0
        assert p.depth.max() == 1
        assert (p.mask[p.depth == 0] == outside).all()
        if kind == "churches":
            assert (p.depth[p.mask == outside] == 0).all()


def test_ground_is_nearer_where_it_is_lower_in_the_picture(pictures):
    grass = ARTS["churches"].labels.by_name("grass").id
    for p in pictures["churches"]:
        for column in range(32):
            rows = np.flatnonzero(p.mask[:, column] == grass)
            assert (np.diff(p.depth[rows, column]) > 0).all()


def test_mask_and_depth_meet_at_the_outline_of_a_church(pictures):
    """A step of depth between two pixels is never inside one even wall; most steps are where the class changes."""
    inside = across = 0
    for p in pictures["churches"]:
        near = np.maximum(p.depth[:, 1:], p.depth[:, :-1])
        step = (np.abs(np.diff(p.depth, axis=1)) > 0.2 * near) & (near > 0.05)
        changes = np.diff(p.mask.astype(int), axis=1) != 0
        inside, across = inside + (step & ~changes).sum(), across + (step & changes).sum()
    assert across > 10 * inside
    assert across > 200


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_changes_where_the_mask_does(kind, pictures):
    for p in pictures[kind]:
        difference = np.abs(np.diff(p.image.astype(int), axis=1)).mean(-1)
        border = np.diff(p.mask.astype(int), axis=1) != 0
        assert difference[border].mean() > 2.5 * difference[~border].mean()


def test_a_box_covers_the_pixels_that_geometry_says():
    pytest.importorskip("embreex")
    from proxymask.data.scenes.lighting import Lighting, Sky
    from proxymask.data.scenes.render import Camera, Scene, render

    white = Material((0.8, 0.8, 0.8), (0.8, 0.8, 0.8))
    builder = MeshBuilder()
    builder.box((-1, 10, -1), (1, 12, 1), 3, white)
    dark = (0.0, 0.0, 0.0)
    lighting = Lighting(Sky(dark, dark, dark, dark, 0.0, (0, 0), 0.0), (0, -1, 0), (1, 1, 1), 0.0, (dark, dark), (1, 1), 1e9, 1.0)
    done = render(Scene(builder.build(), Camera((0, 0, 0), 0.0, (-0.2, 0.2, -0.2, 0.2)), lighting, 0, {}), 64)
    expected = np.zeros((64, 64), np.uint8)
    expected[16:48, 16:48] = 3  # a tangent of 0.1 either way of 0.2
    np.testing.assert_array_equal(done.mask, expected)
    np.testing.assert_allclose(done.nearness[expected == 3], 0.1, rtol=1e-5)
    assert (done.nearness[expected == 0] == 0).all()
    inner, outer = done.image[18:46, 18:46], done.image[expected == 0]
    assert inner.min() == inner.max() > 150
    assert outer.max() == 0


def test_normals_point_outwards():
    material = Material((1, 1, 1), (1, 1, 1))
    for add in (
        lambda b: b.box((-1, -2, -3), (1, 2, 3), 0, material),
        lambda b: b.lathe((0, 0, 0), [(0.01, -1), (1, 0), (0.01, 1)], 4, 0, material),
        lambda b: b.lathe((0, 0, 0), [(0.01, -1), (1, 0), (0.01, 1)], 12, 0, material),
        lambda b: b.blob((0, 0, 0), (1, 1, 1), 0.05, np.random.default_rng(0), 0, material),
        lambda b: b.slab([(-1, -1, 0.1), (1, -1, 0.1), (1, 1, 0.1), (-1, 1, 0.1)], 0.2, 0, material),
    ):
        builder = MeshBuilder()
        add(builder)
        mesh = builder.build()
        assert (np.einsum("nk,nk->n", mesh.vertices, mesh.normals) > 0).all()
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, rtol=1e-5)


def test_moved_shapes_turn_and_shift():
    builder = MeshBuilder()
    with builder.moved((10, 0, 0), np.pi / 2):
        builder.box((0, 0, 0), (1, 2, 3), 0, Material((1, 1, 1), (1, 1, 1)))
    np.testing.assert_allclose(builder.bounds(), [(8, 0, 0), (10, 1, 3)], atol=1e-9)


def test_far_textures_are_their_mean():
    """A footprint of a whole tile gives the mean of the texture, so that nothing aliases."""
    where = np.linspace(0, 3, 50)
    for number, texels in enumerate(atlas()):
        values = read_texture(np.full(50, number), where, where * 2, np.full(50, 2.0))
        np.testing.assert_allclose(values, texels[: 256 * 256].mean(), atol=1e-3)


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*.png"))}


def test_dataset_continues_and_any_number_of_processes_writes_the_same_files(tmp_path, monkeypatch):
    pytest.importorskip("embreex")
    monkeypatch.setattr(drawn_dataset, "CHUNK", 4)
    make_dataset(tmp_path / "one", "churches", count=6, size=8, workers=1, depth=True)
    make_dataset(tmp_path / "two", "churches", count=6, size=8, workers=2, depth=True)
    first = contents(tmp_path / "one")
    assert len(first) == 18
    assert first == contents(tmp_path / "two")
    (tmp_path / "one/depth/000004.png").unlink()
    make_dataset(tmp_path / "one", "churches", count=7, size=8, workers=1, depth=True)
    assert {name: data for name, data in contents(tmp_path / "one").items() if "000006" not in name} == first
    about = json.loads((tmp_path / "one/dataset.json").read_text())
    assert (about["kind"], about["count"], about["framing"]) == ("churches", 7, None)
    assert "free to use" in about["art"]["terms"]
    mask = read_mask(tmp_path / "one/masks/000003.png", ARTS["churches"].labels)
    done = ARTS["churches"].composer(8, None).compose(0, 3, True)
    np.testing.assert_array_equal(mask, done.mask)
    depth = np.asarray(Image.open(tmp_path / "one/depth/000003.png"))
    assert depth.max() == 65535
    np.testing.assert_array_equal(depth, (done.depth * 65535).round())


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    pytest.importorskip("embreex")
    with pytest.raises(ProxymaskError, match="churches have no framings"):
        make_dataset(tmp_path / "a", "churches", count=2, size=8, framing="head")
    with pytest.raises(ProxymaskError, match="8 to 1024"):
        ARTS["bedrooms"].composer(7, None)
    assert not (tmp_path / "a/dataset.json").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_missing_embreex_names_the_extra(kind, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "embreex", None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[scenes\]'"):
        make_dataset(tmp_path / "a", kind, count=2, size=8, workers=1)
    assert not (tmp_path / "a/dataset.json").exists()
