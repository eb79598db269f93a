"""Picture files in folders: nothing is lost without a word, no picture is read twice, no two results get one name."""

import os
from pathlib import Path

import pytest
from PIL import Image

from proxymask.core.errors import ProxymaskError
from proxymask.core.files import check_folder, check_not_input, check_path, read_json, replace_folder, write_json
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.mask_files import find_masks
from proxymask.imaging.picture_files import distinct_names, list_pictures, others_text, skipped_lines
from proxymask.imaging.pictures import write_picture
from proxymask.imaging.reader import SUFFIXES


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), AVATAR_LABELS.labels[1].color).save(path, "PNG")
    return path


def test_all_pictures_are_found_once_and_the_others_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for suffix in SUFFIXES:
        picture(root / "all" / f"a{suffix}")
    picture(root / "all" / "b.PNG")
    picture(root / ".hidden" / "a.png")
    picture(root / "all" / ".a.png")
    picture(tmp_path / "outside" / "far.png")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "again").symlink_to(root / "all")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "all" / "loop").symlink_to("loop")
    (root / "all" / "dangling.png").symlink_to("nowhere")
    (root / "all" / "self.png").symlink_to("self.png")
    os.mkfifo(root / "all" / "pipe.png")
    (root / "notes.txt").write_text("x")
    (root / "labels.json").write_text("{}")
    picture(root / "c.heic")
    found = list_pictures(root)
    wanted = sorted([*(f"all/a{suffix}" for suffix in SUFFIXES), "all/b.PNG", "outside/far.png"])
    assert [file.relative_to(root).as_posix() for file in found.files] == wanted
    assert {path.name: why for path, why in found.broken} == {
        "dangling.png": "is a link to a file that does not exist",
        "self.png": "is a link to itself",
        "pipe.png": "is a pipe or a device, not a regular file",
    }
    assert sorted(path.name for path in found.others) == ["c.heic", "loop", "notes.txt"]
    assert list_pictures(root, below=False).files == []


def test_masks_are_found_like_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp", "c.tif", "d.gif", "deep/e.PNG", "twins/f.png", "twins/f.webp", "twins/F.ppm"):
        picture(tmp_path / name)
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    names = [mask.name for mask in find_masks(tmp_path, AVATAR_LABELS)]
    assert names == ["a", "b", "c", "d", "deep/e", "twins/F-ppm", "twins/f-png", "twins/f-webp"]
    assert len({name.lower() for name in names}) == len(names)


def test_names_are_distinct() -> None:
    def named(*files: str) -> list[str]:
        return distinct_names([(Path(file).stem, Path(file)) for file in files])

    assert named("a.png", "b.png") == ["a", "b"]
    assert named("a.png", "a.webp", "A.gif") == ["a-png", "a-webp", "A-gif"]
    for files in (
        ("a.png", "a.webp", "a-png.gif"),
        ("a.png", "A.PNG"),
        ("a", "a.png", "A-.png"),
        ("a-png.gif", "a.png", "a.webp", "a-png-2.gif"),
    ):
        got = [name.lower() for name in named(*files)]
        assert len(set(got)) == len(files), files


def test_messages_name_few_files_and_count_many(tmp_path: Path) -> None:
    few = [(tmp_path / f"{i}.png", "is empty") for i in range(3)]
    assert len(skipped_lines(few)) == 3
    assert skipped_lines(few * 5)[-1] == "skipped: and 10 more"
    assert others_text([]) == ""
    assert "(a.txt)" in others_text([Path("a.txt")])
    assert "8 .txt, 1 no suffix" in others_text([Path(f"{i}.txt") for i in range(8)] + [Path("x")])


def test_no_input_is_replaced_under_any_name(tmp_path: Path) -> None:
    source = picture(tmp_path / "in.png")
    (tmp_path / "link.png").symlink_to(source)
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "folder").symlink_to(tmp_path)
    for out in ("in.png", "link.png", "hard.png", "folder/in.png", "../" + tmp_path.name + "/in.png"):
        with pytest.raises(ProxymaskError, match=r"out .* is the input .* give another name"):
            check_not_input(tmp_path / out, [tmp_path / "none.png", source])
        with pytest.raises(ProxymaskError, match="is the input"):
            check_not_input(source, [tmp_path / out])
    check_not_input(tmp_path / "new.png", [source])
    (tmp_path / "new.png.tmp").write_text("mine")
    write_picture(tmp_path / "new.png", Image.new("L", (2, 2)))
    assert (tmp_path / "new.png.tmp").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "hard.png", "in.png", "link.png", "new.png", "new.png.tmp"]


def test_folders_and_paths_are_checked(tmp_path: Path) -> None:
    (tmp_path / "old.v2").mkdir()
    check_folder(tmp_path / "old.v2")
    check_folder(tmp_path / "new.v3")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProxymaskError, match="is a file"):
        check_folder(tmp_path / "file")
    for name in ("a.txt", "a.PNG", "a.zip"):
        with pytest.raises(ProxymaskError, match=r"is the name of a file.*give a folder, as .*a$"):
            check_folder(tmp_path / name)
    with pytest.raises(ProxymaskError, match="images is an empty path"):
        check_path("", "images")


def test_names_of_any_bytes_are_stored(tmp_path: Path) -> None:
    names = {"names": [os.fsdecode(b"caf\xe9.png"), "café.png", "画像.png", "a\nb.png"]}
    write_json(tmp_path / "index.json", names)
    assert read_json(tmp_path / "index.json") == names
    (tmp_path / "index.json").read_text(encoding="utf-8")  # valid UTF-8


def test_what_others_put_into_a_bundle_stays(tmp_path: Path) -> None:
    bundle, mine = tmp_path / "bundle", tmp_path / "bundle.old"
    for folder in (bundle, mine, tmp_path / "bundle.tmp"):
        (folder / "segmenter").mkdir(parents=True)
        (folder / "painted").mkdir()
        (folder / "painted" / "000000.mask.png").write_text("hours of work")
        (folder / "bundle.json").write_text("old")

    def replace() -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "bundle.json").write_text("new")
        replace_folder(tmp_path / "new", bundle)

    replace()
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle.json", "painted"]
    os.replace(bundle, tmp_path / ".bundle.old")  # stopped between its two steps
    replace()
    assert (bundle / "painted" / "000000.mask.png").read_text() == "hours of work"
    assert (bundle / "bundle.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.old", "bundle.tmp"]
    assert (mine / "painted" / "000000.mask.png").is_file()


def test_folders_without_permission_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "closed" / "b.png")
    picture(tmp_path / "unseen" / "c.png")
    listed = os.scandir

    def closed(path: object, *more: object, **how: object) -> object:
        if "closed" in os.fspath(path):  # type: ignore[call-overload]
            raise PermissionError(13, "Permission denied", path)
        return listed(path, *more, **how)  # type: ignore[call-overload]

    (tmp_path / "closed").chmod(0)
    if os.access(tmp_path / "closed", os.R_OK):  # the superuser may open it
        monkeypatch.setattr(os, "scandir", closed)
        monkeypatch.setattr(os, "listdir", lambda path=".": [entry.name for entry in closed(path)])  # type: ignore[attr-defined]
    found = list_pictures(tmp_path)
    masks = find_masks(tmp_path, AVATAR_LABELS)
    (tmp_path / "closed").chmod(0o700)
    assert [file.name for file in found.files] == ["a.png", "c.png"]
    assert found.broken == [(tmp_path / "closed", "is a folder that cannot be opened (Permission denied)")]
    assert [mask.name for mask in masks] == ["a", "unseen/c"]
