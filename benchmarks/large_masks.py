"""Seconds and memory to read an 8192-pixel mask of every kind: large_masks.py [--side 8192] [--folder FOLDER] [KIND ...]

Each kind is read in a process of its own, twice, by one thread. What counts is the time of the processor, which other programs on the
machine do not change much. Peak memory is that of the process, with Python, PyTorch and Pillow in it. Linux.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from proxymask.data.avatars import AVATAR_LABELS as LABELS
from proxymask.imaging.masks import read_mask_notes

SECONDS, GIGABYTES = 5.0, 1.0  # what is allowed


def draw(side: int) -> np.ndarray:
    """A face with 400 spots, ids (side, side)."""
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([side * 0.23, side * 0.66, side * 0.78, side], fill=5)
    pen.ellipse([side * 0.27, side * 0.2, side * 0.73, side * 0.78], fill=1)
    pen.pieslice([side * 0.27, side * 0.12, side * 0.73, side * 0.57], 180, 360, fill=7)
    rng = np.random.default_rng(0)
    for x, y, r, i in zip(*rng.integers(0, side, (2, 400)), rng.integers(2, side // 40, 400), rng.integers(0, 9, 400), strict=True):
        pen.ellipse([x - r, y - r, x + r, y + r], fill=int(i))
    return np.asarray(picture)


def write_kinds(folder: Path, side: int) -> None:
    """Write the mask in every kind, unless it is there."""
    if (folder / "done").exists():
        return
    ids = draw(side)
    colors = LABELS.colors[ids]
    rgb = Image.fromarray(colors)
    rgb.save(folder / "rgb.png", compress_level=1)
    rgb.save(folder / "jpeg.jpg", quality=90)
    rgb.resize((side // 2, side // 2), Image.Resampling.BOX).resize((side, side), Image.Resampling.BICUBIC).save(
        folder / "anti-aliased.png", compress_level=1
    )
    alpha = Image.fromarray(np.where(ids == 0, 0, 255).astype(np.uint8))
    rgb.putalpha(alpha)
    rgb.save(folder / "rgba.png", compress_level=1)
    Image.fromarray(ids).save(folder / "index.png", compress_level=1)
    Image.fromarray(ids.astype(np.uint16)).save(folder / "index16.png", compress_level=1)
    palette = Image.fromarray(ids)
    palette.putpalette(LABELS.palette())
    palette.save(folder / "palette.png", compress_level=1)
    (folder / "classes").mkdir(exist_ok=True)
    for label in LABELS.labels:
        Image.fromarray(((ids == label.id) * 255).astype(np.uint8)).save(folder / "classes" / f"{label.name}.png", compress_level=1)
    shapes = []
    for label in LABELS.labels[1:]:
        points = (np.random.default_rng(label.id).random((200, 2)) * side).tolist()
        shapes.append({"label": label.name, "points": points, "shape_type": "polygon"})
    (folder / "labelme.json").write_text(json.dumps({"shapes": shapes, "imageWidth": side, "imageHeight": side}))
    (folder / "done").touch()


def measure(path: Path) -> None:
    """Read one mask twice; print the seconds of the faster one, the peak of memory and the notes."""
    seconds, busy = [], []
    for _ in range(2):
        start, processor = time.perf_counter(), time.process_time()
        read = read_mask_notes(path, LABELS)
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - processor)
        notes = len(read.notes)
        del read
    status = Path("/proc/self/status").read_text()  # resource.getrusage would count the process that started this one
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps({"seconds": min(seconds), "busy": min(busy), "gigabytes": peak / 1e6, "notes": notes}))


def main() -> int:
    """Measure all kinds; the exit status is 1 if one is slower or larger than allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one)
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_kinds(folder, args.side)
        print(f"{'kind':<20}{'seconds':>8}{'of CPU':>8}{'peak GB':>9}{'notes':>6}")
        for path in sorted(folder.iterdir()):
            if path.name == "done" or (args.kinds and path.stem not in args.kinds):
                continue
            done = subprocess.run([sys.executable, __file__, "--one", path], capture_output=True, text=True)
            if done.returncode:
                print(f"{path.name:<20}{done.stderr.strip().splitlines()[-1]}")
                bad += 1
                continue
            found = json.loads(done.stdout)
            late = "  over" if found["busy"] > SECONDS or found["gigabytes"] > GIGABYTES else ""
            bad += bool(late)
            print(f"{path.name:<20}{found['seconds']:8.2f}{found['busy']:8.2f}{found['gigabytes']:9.2f}{found['notes']:6d}{late}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
