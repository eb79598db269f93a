"""Masks in folders: what is found, how it is named, and what is left out."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from faces import COLORS, FACE, LABELS
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.scenes.churches import CHURCH_LABELS
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.mask_files import example_masks, find_masks, write_example_masks
from proxymask.imaging.masks import read_mask, read_mask_notes

SMALL = FACE[::8, ::8].copy()
PAINTED = Image.fromarray(COLORS[SMALL])


def names(folder):
    return [mask.name for mask in find_masks(folder, LABELS)]


def test_every_format_is_found_and_twins_get_names_of_their_own(tmp_path):
    for name in ("a.png", "b.bmp", "c.tif", "d.gif", "deep/e.webp", "deep/F.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PAINTED.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    masks = find_masks(tmp_path, LABELS)
    assert [mask.name for mask in masks] == ["a", "b", "c", "d", "deep/F", "deep/e"]
    assert all(np.array_equal(read_mask(mask.path, LABELS), SMALL) for mask in masks)
    PAINTED.save(tmp_path / "A.webp", lossless=True)
    found = names(tmp_path)
    assert len({name.lower() for name in found}) == len(found) == 7


def test_links_end_nothing_and_are_named(tmp_path):
    PAINTED.save(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    assert names(tmp_path) == ["a", "gone"]
    with pytest.raises(ProxymaskError, match=r"gone\.png is a link to a file that does not exist"):
        read_mask(tmp_path / "gone.png", LABELS)
    (tmp_path / "itself.png").symlink_to("itself.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in (
        ("gone", "is a link to a file that does not exist"),
        ("itself", "is a link to itself"),
        ("pipe", "is a pipe or a device"),
    ):
        with pytest.raises(ProxymaskError, match=rf"{name}\.png {why}: give a mask file"):
            find_masks(tmp_path / f"{name}.png", LABELS)


def test_what_is_no_mask_is_counted(tmp_path):
    PAINTED.save(tmp_path / "a.png")
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "README.md").write_text("x")
    for name in ("a.psd", "b.txt", "sample.json"):
        (tmp_path / name).write_text("{}")
    with pytest.warns(UserWarning, match=r"3 files are no mask and left out: a\.psd, b\.txt, sample\.json"):
        assert names(tmp_path) == ["a"]


def test_a_class_folder_by_names_in_any_case_and_numbered_masks_are_masks(tmp_path):
    for name in ("Skin", "facial hair", "mouth"):
        Image.fromarray((SMALL == 1) * np.uint8(255)).save(tmp_path / f"{name}.png")
    (tmp_path / "README.md").write_text("x")
    assert [mask.path for mask in find_masks(tmp_path, LABELS)] == [tmp_path]
    for kind, picture in (("colours", PAINTED), ("ids", Image.fromarray(SMALL))):
        folder = tmp_path / kind
        folder.mkdir()
        for number in range(3):
            picture.save(folder / f"{number}.png")
        masks = find_masks(folder, LABELS)
        assert [mask.name for mask in masks] == ["0", "1", "2"]
        assert np.array_equal(read_mask(masks[0].path, LABELS), SMALL)


def test_annotations_in_a_folder(tmp_path):
    shape = {"label": "skin", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"}
    PAINTED.save(tmp_path / "photo.jpg")
    PAINTED.save(tmp_path / "painted.png")
    (tmp_path / "photo.json").write_text(json.dumps({"shapes": [shape], "imagePath": "photo.jpg", "imageHeight": 32, "imageWidth": 32}))
    images = [{"id": 1, "file_name": "one.jpg", "width": 8, "height": 8}, {"id": 2, "file_name": "../two.jpg", "width": 8, "height": 8}]
    (tmp_path / "many.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    with pytest.warns(UserWarning, match=r"photo\.jpg"):
        masks = find_masks(tmp_path, LABELS)
    assert sorted(mask.name for mask in masks) == ["many/one", "many/two", "painted", "photo"]
    with pytest.warns(UserWarning, match="class 0 all over"):
        assert {mask.name: read_mask(mask.path, LABELS).shape for mask in masks}["many/two"] == (8, 8)


@pytest.mark.parametrize("labels", [AVATAR_LABELS, CHURCH_LABELS], ids=["avatars", "churches"])
def test_the_example_masks_are_masks(labels, tmp_path):
    written = write_example_masks(tmp_path / "examples", labels)
    masks = find_masks(tmp_path / "examples", labels)
    assert sorted(mask.path for mask in masks) == sorted(written)
    assert len(masks) == 9


def test_nothing_there(tmp_path):
    for path, words in ((tmp_path / "no.png", "does not exist"), (tmp_path, "holds no masks")):
        with pytest.raises(ProxymaskError, match=words):
            find_masks(path, LABELS)


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
def test_names_of_any_bytes(tmp_path):
    PAINTED.save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/gesicht-\xe4.png")
    masks = find_masks(tmp_path, LABELS)
    assert np.array_equal(read_mask(masks[0].path, LABELS), SMALL)


def test_masks_of_other_classes(tmp_path: Path) -> None:
    """Ids are compared with the names in labels.json, in the folder of the mask or one above."""
    for mask in find_masks(example_masks("avatars"), AVATAR_LABELS):
        with pytest.raises(ProxymaskError, match=r"classes: by .*avatars/labels.json it holds background; skin; .*the model knows sky; "):
            read_mask_notes(mask.path, CHURCH_LABELS)
    for mask in find_masks(example_masks("churches"), CHURCH_LABELS):  # too many classes, so that the colours decide
        with pytest.raises(ProxymaskError, match=r"classes: by .*churches/labels.json it holds sky; .*the model knows background; "):
            read_mask_notes(mask.path, AVATAR_LABELS)
    lone = shutil.copy(example_masks("avatars") / "beard.png", tmp_path / "beard.png")
    assert "if it was painted for another model, give that one" in " ".join(read_mask_notes(lone, CHURCH_LABELS).notes)

    ids = np.zeros((16, 16), np.uint8)
    ids[:8], ids[:4] = 1, 2
    (tmp_path / "masks").mkdir()
    Image.fromarray(ids).save(tmp_path / "masks" / "a.png")
    np.save(tmp_path / "masks" / "a.npy", ids)
    here = LabelSet.of([("Sky", "#101010"), ("sea", "#202020"), ("sand", "#303030")])
    for names in (("sky", "sea", "sand"), ("SKY", "Sea", "sand", "more")):
        LabelSet.of([(name, f"#{i}0{i}0{i}0") for i, name in enumerate(names)]).save(tmp_path / "labels.json")
        for file in ("a.png", "a.npy"):
            read = read_mask_notes(tmp_path / "masks" / file, here)
            assert (read.notes, read.ids.tolist()) == ((), ids.tolist())
    for names in (("sky", "sand", "sea"), ("sky", "tree", "path"), ("land", "tree", "path", "house")):
        LabelSet.of([(name, f"#{i}0{i}0{i}0") for i, name in enumerate(names)]).save(tmp_path / "labels.json")
        with pytest.raises(ProxymaskError, match=f"by .*labels.json it holds {'; '.join(names[:3])}; the model knows Sky; sea; sand: use"):
            read_mask_notes(tmp_path / "masks" / "a.png", here)
    LabelSet.of([("land", "#000000"), ("sea", "#101010"), ("beach", "#202020")]).save(tmp_path / "labels.json")
    read = read_mask_notes(tmp_path / "masks" / "a.png", here)
    assert read.notes[0].endswith("were read as those of the model: 0 is land there, Sky here; 2 is beach there, sand here")
    with pytest.raises(ProxymaskError, match="is refused with"):
        read_mask_notes(tmp_path / "masks" / "a.png", here, strict=True)
    Image.fromarray(here.colors[ids]).save(tmp_path / "masks" / "colours.png")
    assert read_mask_notes(tmp_path / "masks" / "colours.png", here).notes == ()  # colours are those of the model
    (tmp_path / "labels.json").write_text("[1, 2]")  # of another program
    assert read_mask_notes(tmp_path / "masks" / "a.png", here).notes == ()


def test_numbered_pictures_are_classes_only_if_all_are_black_and_white(tmp_path: Path) -> None:
    size = (64, 64)
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(tmp_path / "1.png")
    Image.fromarray((np.arange(4096) % 3).astype(np.uint8).reshape(size)).save(tmp_path / "2.png")
    assert [file.name for file in find_masks(tmp_path, AVATAR_LABELS)] == ["1", "2"]
