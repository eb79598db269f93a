"""Masks in JSON: labelme and COCO, right and hostile."""

import base64
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS as LABELS
from proxymask.imaging.mask_files import find_masks
from proxymask.imaging.masks import read_mask, read_mask_notes

BOX = [[10, 10], [30, 10], [30, 20], [10, 20]]


def shape(label="skin", points=BOX, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme(tmp_path, *shapes, **more):
    path = tmp_path / "face.json"
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "face.jpg", "imageData": None}
    path.write_text(json.dumps(content | {"imageHeight": 60, "imageWidth": 80} | more))
    return path


def coco(tmp_path, annotations, images=None, **more):
    path = tmp_path / "instances.json"
    content = {
        "images": [{"id": 1, "file_name": "a/face.jpg", "width": 80, "height": 60}] if images is None else images,
        "annotations": [{"id": i, "image_id": 1, "category_id": 3, "iscrowd": 0} | one for i, one in enumerate(annotations)],
        "categories": [{"id": 3, "name": "Skin"}, {"id": 4, "name": "facial hair"}, {"id": 5, "name": "cat"}],
    }
    path.write_text(json.dumps(content | more))
    return path


def runs(mask: np.ndarray) -> list[int]:
    """The run lengths of a mask, down its columns, beginning with off."""
    flat = mask.T.reshape(-1).astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, len(flat)]).tolist()
    return [0, *counts] if flat[0] else counts


def compressed(counts: list[int]) -> str:
    """COCO's text of run lengths."""
    text = ""
    for i, count in enumerate(counts):
        value = count - (counts[i - 2] if i > 2 else 0)
        while True:
            piece = value & 31
            value >>= 5
            more = value != -1 if piece & 16 else value != 0
            text += chr((piece | 32 if more else piece) + 48)
            if not more:
                break
    return text


def test_every_kind_of_shape_of_labelme(tmp_path):
    stamp = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], np.uint8)).save(stamp, "PNG")
    path = labelme(
        tmp_path,
        shape("Skin"),
        shape("mouth", [[50, 10], [60, 20]], "rectangle"),
        shape("clothes", [[40, 40], [40, 45]], "circle"),
        shape("top", [[0, 55], [79, 55]], "line"),
        shape("facial hair", [[70, 30]], "point"),
        shape("eyes", [[5, 30], [6, 31]], "mask", mask=base64.b64encode(stamp.getvalue()).decode()),
    )
    ids = read_mask(path, LABELS)
    assert ids.shape == (60, 80)
    assert (ids[10:21, 10:31] == 1).all()
    assert np.count_nonzero(ids == 1) == 11 * 21
    assert (ids[10:21, 50:61] == 4).all()
    y, x = np.mgrid[0:60, 0:80]
    assert np.array_equal(ids == 5, (x - 40) ** 2 + (y - 40) ** 2 <= 25)
    assert 9 <= np.count_nonzero(ids[:, 40] == 7) <= 11  # labelme's width of a line is 10
    assert np.array_equal(ids == 6, (x - 70) ** 2 + (y - 30) ** 2 <= 25)
    assert ids[30:32, 5:7].tolist() == [[2, 0], [2, 2]]
    assert ids[0, 0] == 0


def test_later_shapes_cover_earlier_ones_and_the_size_may_come_from_the_picture(tmp_path):
    stored = io.BytesIO()
    Image.new("RGB", (80, 60)).save(stored, "PNG")
    path = labelme(
        tmp_path,
        shape("skin"),
        shape("_background_", [[15, 12], [20, 12], [20, 15], [15, 15]]),
        imageHeight=None,
        imageData=base64.b64encode(stored.getvalue()).decode(),
    )
    read = read_mask_notes(path, LABELS)
    assert read.ids[13, 17] == 0
    assert read.ids[11, 11] == 1
    assert "overlap" in read.notes[0]


@pytest.mark.parametrize(
    ("shapes", "more", "words"),
    [
        ([shape("nose"), shape("nose"), shape("ear")], {}, r"labels of no class: 'nose' \(2\); 'ear' \(1\)"),
        ([shape(points=[[float("nan"), 1], [1, 2], [3, 4]])], {}, "finite numbers"),
        ([shape(points=[[1e300, 1], [1, 2], [3, 4]])], {}, "finite numbers"),
        ([shape(points=[[True, 1], [1, 2], [3, 4]])], {}, "finite numbers"),
        ([shape(points=[[1, 2], [3, 4]])], {}, "needs 3 or more points"),
        ([shape(points="abc")], {}, "points"),
        ([shape(kind="star")], {}, "of kind 'star'"),
        ([shape(kind=["x"])], {}, "of kind"),
        ([shape(label=3)], {}, "shape 0 has no label"),
        ([7], {}, "shape 0 has no label"),
        ([shape(kind="mask", points=[[0, 0], [2, 2]], mask="zzz")], {}, "face.json: shape 0"),
        ([shape(kind="mask", points=[[0, 0], [2, 2]])], {}, "face.json: shape 0"),
        ([], {"imageHeight": 10**9}, "a size of 80 x 1000000000"),
        ([], {"imageHeight": -3}, "a size"),
        ([], {"imageHeight": "60"}, "a size"),
        ([], {"imageHeight": None}, "no imageWidth and imageHeight"),
        ([shape(points=[[i % 80, i % 60] for i in range(1001)])], {}, "more than 1,000 points"),
        ([shape(points=[[0, 0], [800, 0], [800, 800], [0, 800]])] * 9999, {"imageHeight": 800, "imageWidth": 800}, "too often"),
    ],
)
def test_labelme_that_cannot_be_read(tmp_path, shapes, more, words, monkeypatch):
    monkeypatch.setattr("proxymask.imaging.mask_forms.annotations.MAX_AREA", 1 << 25)
    monkeypatch.setattr("proxymask.imaging.mask_forms.annotations.MAX_POINTS", 1000)
    path = labelme(tmp_path, *shapes, **more)
    start = time.process_time()
    with pytest.raises(ProxymaskError, match=words) as caught:
        read_mask(path, LABELS)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 10


def test_shapes_that_reach_out_of_the_picture(tmp_path):
    far = [shape(points=[[-900000, -900000], [900000, -900000], [900000, 900000], [-900000, 900000]])]
    assert (read_mask(labelme(tmp_path, *far), LABELS) == 1).all()
    circle = shape("mouth", [[0, 0], [999999, 0]], "circle")
    assert (read_mask(labelme(tmp_path, circle), LABELS) == 4).all()
    out = shape(points=[[-5, -5], [-1, -5], [-1, -1]])
    assert (read_mask(labelme(tmp_path, out), LABELS) == 0).all()


def test_polygons_and_run_lengths_of_coco(tmp_path):
    region = np.zeros((60, 80), bool)
    region[30:50, 40:70], region[35:40, 45:50] = True, False
    flat = [10, 10, 30, 10, 30, 20, 10, 20]
    for code in ({"counts": runs(region), "size": [60, 80]}, {"counts": compressed(runs(region)), "size": [60, 80]}):
        ids = read_mask(coco(tmp_path, [{"segmentation": [flat]}, {"category_id": 4, "segmentation": code}]), LABELS)
        assert np.array_equal(ids == 6, region)
        assert (ids[10:20, 10:30] == 1).all()
        assert np.count_nonzero(ids == 1) == pytest.approx(200, abs=32)
    rng = np.random.default_rng(0)
    for density in (0.01, 0.5, 1.0):
        region = rng.random((60, 80)) < density
        code = {"counts": compressed(runs(region)), "size": [60, 80]}
        assert np.array_equal(read_mask(coco(tmp_path, [{"segmentation": code}]), LABELS) == 1, region)


def test_images_of_coco(tmp_path):
    images = [
        {"id": i, "file_name": name, "width": 80, "height": 60} for i, name in ((1, "a/face.jpg"), (2, "C:/../b.png"), (7, "face.png"))
    ]
    path = coco(tmp_path, [{"segmentation": [[0, 0, 9, 0, 9, 9]], "image_id": 7}], images)
    for which in ("7", "face.png"):
        assert read_mask(f"{path}#{which}", LABELS)[2, 5] == 1
    assert not read_mask(f"{path}#a/face.jpg", LABELS).any()
    with pytest.raises(ProxymaskError, match=r"holds 3 images: name one, as in instances.json#a/face.jpg"):
        read_mask(path, LABELS)
    with pytest.raises(ProxymaskError, match=r"has no image 'none': it has a/face.jpg; C:/../b.png; face.png"):
        read_mask(f"{path}#none", LABELS)
    found = find_masks(path, LABELS)
    assert [mask.name for mask in found] == ["a/face", "b", "face"]
    assert [read_mask(mask.path, LABELS).any() for mask in found] == [False, False, True]


@pytest.mark.parametrize(
    ("annotation", "more", "words"),
    [
        ({"category_id": 5, "segmentation": [[0, 0, 9, 0, 9, 9]]}, {}, r"categories of no class: 'cat' \(1\)"),
        ({"category_id": 99, "segmentation": [[0, 0, 9, 0, 9, 9]]}, {}, "category 99"),
        ({"segmentation": [[0, 0, 9]]}, {}, "x and y come in pairs"),
        ({"segmentation": [[0, 0, 9, float("inf"), 9, 9]]}, {}, "finite numbers"),
        ({"segmentation": "abc"}, {}, "no list of polygons"),
        ({"segmentation": {"counts": [5], "size": [60, 80]}}, {}, "does not fill"),
        ({"segmentation": {"counts": [10**30], "size": [60, 80]}}, {}, "does not fill"),
        ({"segmentation": {"counts": [-5, 4805], "size": [60, 80]}}, {}, "does not fill"),
        ({"segmentation": {"counts": "o" * 40, "size": [60, 80]}}, {}, "damaged text"),
        ({"segmentation": {"counts": "\u20ac", "size": [60, 80]}}, {}, "damaged text"),
        ({"segmentation": {"counts": [4800], "size": [600000, 800000]}}, {}, "of size"),
        ({}, {"images": [{"id": 1, "width": 10**6, "height": 10**6}]}, "a size"),
        ({}, {"images": [{"width": 5}]}, "image 0 has no id"),
        ({}, {"images": [{"id": 1, "file_name": "a\0.png"}]}, "the name of image 0 has characters that cannot be printed"),
        ({}, {"images": []}, "lists no images"),
        ({}, {"categories": 3}, "no categories"),
        ({"segments_info": []}, {}, "panoptic"),
    ],
)
def test_coco_that_cannot_be_read(tmp_path, annotation, more, words):
    path = coco(tmp_path, [annotation], **more)
    with pytest.raises(ProxymaskError, match=words) as caught:
        read_mask(path, LABELS)
    assert "\n" not in str(caught.value)


def test_boxes_alone_are_counted(tmp_path):
    read = read_mask_notes(coco(tmp_path, [{"bbox": [0, 0, 5, 5]}, {"segmentation": [[0, 0, 9, 0, 9, 9]]}]), LABELS)
    assert read.notes[0].startswith("1 of its 2 annotations have a box but no outline")


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, '{"labels": []}', '{"shapes": 3}'])
def test_other_json_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ProxymaskError, match=r"x\.json"):
        read_mask(path, LABELS)
    with pytest.raises(ProxymaskError, match="missing"):
        read_mask(tmp_path / "none.json", LABELS)


@pytest.mark.parametrize("corner", [(-30, 0), (0, -30), (90, 10), (10, 90), (200, 200)])
def test_a_mask_shape_outside_of_the_picture(corner, tmp_path):
    """The box of such a shape lies outside on one side and inside on the other."""
    left, top = corner
    buffer = io.BytesIO()
    Image.fromarray(np.full((11, 11), 255, np.uint8)).save(buffer, "PNG")
    points = [[left, top], [left + 10, top + 10]]
    mask = base64.b64encode(buffer.getvalue()).decode()
    path = labelme(tmp_path, shape(), shape("eyes", points, "mask", mask=mask))
    assert set(np.unique(read_mask(path, LABELS))) == {0, LABELS.by_name("skin").id}
