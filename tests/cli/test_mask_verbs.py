"""Masks through the command line: what is said of them, annotations, and --strict."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.data.avatars import AVATAR_LABELS as LABELS

CPU = ("--device", "cpu", "--precision", "fp32")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def soft_mask(path):
    """A disc of hair, anti-aliased."""
    y, x = np.mgrid[0:512, 0:512]
    ids = np.where((x - 250) ** 2 + (y - 240) ** 2 < 150**2, 7, 0)
    Image.fromarray(LABELS.colors[ids]).resize((128, 128), Image.Resampling.BOX).save(path)
    return path


def test_the_share_of_soft_pixels_is_said_and_strict_refuses(tiny_bundle, tmp_path, capsys):
    mask = soft_mask(tmp_path / "soft.png")
    check = ("mask", "check", mask, "--bundle", tiny_bundle, "--out", tmp_path / "check.png")
    generate = ("generate", "--mask", mask, "--bundle", tiny_bundle, "--out", tmp_path / "picture.png", *CPU)
    assert run(*check) == 0
    assert "note: " in (shown := capsys.readouterr().out)
    assert "anti-aliasing" in shown
    assert "2 of 9 classes" in shown
    assert run(*generate) == 0
    assert "% of its pixels are not exactly in the colour of a class" in capsys.readouterr().err
    for words in (check, generate):
        assert run(*words, "--strict") == 2
        assert "refused with --strict" in capsys.readouterr().err


def test_annotations_are_masks(tiny_bundle, tmp_path, capsys):
    square = [[20, 20], [90, 20], [90, 90], [20, 90]]
    labelme = tmp_path / "face.json"
    labelme.write_text(
        json.dumps({"shapes": [{"label": "Skin", "points": square, "shape_type": "polygon"}], "imageWidth": 128, "imageHeight": 128})
    )
    assert run("mask", "check", labelme, "--bundle", tiny_bundle, "--out", tmp_path / "check.png") == 0
    assert "2 of 9 classes" in capsys.readouterr().out
    coco = tmp_path / "many.json"
    outline = [{"id": 1, "image_id": 2, "category_id": 1, "segmentation": [[20, 20, 90, 20, 90, 90]]}]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 128, "height": 128} for i in (1, 2)]
    coco.write_text(json.dumps({"images": images, "annotations": outline, "categories": [{"id": 1, "name": "top"}]}))
    assert run("generate", "--mask", coco, "--bundle", tiny_bundle, "--out", tmp_path / "pictures", *CPU) == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["1__0.png", "2__0.png"]
    one = ("generate", "--mask", f"{coco}#2.jpg", "--bundle", tiny_bundle, "--out", tmp_path / "one.png", *CPU)
    assert run(*one) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), np.asarray(Image.open(tmp_path / "pictures" / "2__0.png")))


def test_mask_check_of_a_folder(tiny_bundle, tmp_path, capsys):
    folder = tmp_path / "my-masks"
    assert run("examples", "--out", folder) == 0
    for path in sorted(folder.rglob("*.png"))[2:]:
        path.unlink()
    assert run("mask", "check", folder, "--bundle", tiny_bundle, "--out", tmp_path / "check.png") == 0
    assert f"all 2 masks can be used; overlays: {tmp_path / 'check'}" in capsys.readouterr().out
    assert len(list((tmp_path / "check").rglob("*.png"))) == 2
    (folder / "bad.png").write_bytes(b"x")
    assert run("mask", "check", folder, "--bundle", tiny_bundle, "--out", tmp_path / "check.png") == 2
    shown = capsys.readouterr()
    assert "cannot be used: " in shown.out
    assert "1 of 3 masks cannot be used" in shown.err


def test_generate_gives_the_warnings_of_mask_check(tiny_bundle, tmp_path, capsys):
    ids = np.zeros((128, 128), np.uint8)
    ids[20:100, 20:100] = 7
    ids[1, 1] = 8
    tiny_part = tmp_path / "masks" / "tiny-part.png"
    tiny_part.parent.mkdir()
    Image.fromarray(ids).save(tiny_part)
    rgba = np.concatenate([LABELS.colors[ids.clip(0, 7)], np.full((128, 128, 1), 255, np.uint8)], axis=2)
    rgba[:32, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "masks" / "transparent.png")
    wanted = {"tiny-part": "accessories (1 pixels) is lost", "transparent": "25.0 % of it is transparent, which counts as background"}
    for name, text in wanted.items():
        mask = tiny_part.with_stem(name)
        assert run("mask", "check", mask, "--bundle", tiny_bundle, "--out", tmp_path / "check.png") == 0
        assert f"warning: {text}" in capsys.readouterr().out
        assert run("generate", "--mask", mask, "--bundle", tiny_bundle, "--out", tmp_path / "picture.png", *CPU) == 0
        assert f"note: {mask}: {text}" in capsys.readouterr().err
    assert run("generate", "--mask", tiny_part.parent, "--bundle", tiny_bundle, "--out", tmp_path / "pictures", *CPU) == 0
    shown = capsys.readouterr().err
    assert "parts of 2 of the 2 masks may not appear as painted" in shown
    assert f"mask check {tiny_part.parent}" in shown


def test_mask_check_writes_into_a_folder(tiny_bundle, tmp_path, capsys):
    mask = soft_mask(tmp_path / "soft.png")
    (tmp_path / "with.suffix").mkdir()
    for folder in (tmp_path / "new", tmp_path / "with.suffix"):
        assert run("mask", "check", mask, "--bundle", tiny_bundle, "--out", folder) == 0
        assert f"overlay: {folder / 'soft.png'}" in capsys.readouterr().out
        assert (folder / "soft.png").is_file()
    assert run("mask", "check", mask, "--bundle", tiny_bundle, "--out", tmp_path / "check.gif") == 2
    assert "end the name in one of these" in capsys.readouterr().err


def test_no_details_without_a_detail_network_is_said(tiny_bundle, tmp_path, capsys):
    words = ("--bundle", tiny_bundle, "--no-details", "--out", tmp_path / "picture.png", *CPU)
    assert run("generate", "--mask", soft_mask(tmp_path / "soft.png"), *words) == 0
    assert "--no-details changes nothing" in capsys.readouterr().err


def test_strict_goes_with_masks(tiny_bundle, tmp_path, capsys):
    Image.new("L", (32, 32), 255).save(tmp_path / "in.png")
    words = ("generate", "--condition", "sketch", "--input", tmp_path / "in.png", "--strict", "--out", tmp_path / "o.png")
    assert run(*words, "--bundle", tiny_bundle) == 2
    assert "--strict goes with --mask" in capsys.readouterr().err


@pytest.mark.parametrize("strict", [False, True])
def test_painted_samples_are_read_strictly_where_that_is_wanted(tmp_path, strict):
    from proxymask.core.errors import ProxymaskError
    from proxymask.inference.samples import read_labelled

    ids = np.zeros((32, 32), np.uint8)
    ids[8:24, 8:24] = 1
    picture = Image.fromarray(tiny.LABELS.colors[ids]).resize((64, 64), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "000000.mask.png")
    (tmp_path / "000000.json").write_text(
        json.dumps({"format": 1, "generator": "g", "seed": 0, "truncation": 1.0, "z": [0.0], "w": [0.0] * 4, "resolution": 32})
    )
    if strict:
        with pytest.raises(ProxymaskError, match="refused with strict"):
            read_labelled(tmp_path, tiny.LABELS, None, strict=True)
    else:
        with pytest.warns(UserWarning, match="anti-aliasing"):
            assert np.array_equal(read_labelled(tmp_path, tiny.LABELS, None)[1][0].numpy(), ids)
