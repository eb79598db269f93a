"""Prove that a change of the code changes no result: same seed, same pictures, same losses, same weights.

    python same_results.py record --out before.json             # before the change, or --tree OTHER_CHECKOUT
    python same_results.py compare before.json                  # after it

Pictures of the embedded bundle for every example mask and drawing (fixed seeds, CPU, float32), compared pixel by pixel; 20 steps of every
stage on a toy data set, compared by every line of ``stats.jsonl`` and by the bytes of all trained tensors, whatever their names are. All is
done through the command line, with presets in the spelling of version 0.1.0, so that it also shows that old presets are still read.
Takes about three minutes on one core.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parents[1]
TIMES = {"seconds", "samples_per_second"}
RENAMED = {"viewer": "auxiliary", "teaching": "distillation"}  # parts of runs: name in 0.1.0, and today's
QUIET = {"log_every": 1, "grid_every": 0, "tensorboard": False, "checkpoint_every": 1000}
LOOP = {"steps": 20, "batch": 4, **QUIET}
OURS = {
    "base": "demo",
    "resolution": 32,
    "cut": 16,
    "num_clusters": 8,
    "cluster_samples": 16,
    "generator": {"z_dim": 16, "channel_base": 256, "channel_max": 16, "path_weight": 2.0},
    "rearranger": {"hidden": 8, "position_channels": 8, "mask_codes": 4, "retouch": 8, "narrow": 16},
    "mapper": {"widths": [8, 8, 8], "hidden": 8},
    "condition": {"unet_base": 256, "unet_max": 16},
    "generator_loop": LOOP,
    "rearranger_loop": LOOP,
    "segmenter_loop": LOOP,
    "mapper_loop": LOOP,
    "detail_loop": LOOP,
}
PUBLISHED = OURS | {
    "rearranger": {
        "hidden": 8,
        "position_channels": 8,
        "overlap": True,
        "key_mask": False,
        "mask_codes": 0,
        "init": "random",
        "substitute": False,
        "retouch": 0,
        "lambda_self": 10.0,
        "lambda_mask": 1.0,
        "lambda_mix": 0.0,
        "mix_absent": False,
        "discriminator_rate": 1.0,
        "learning_rate": 0.002,
        "adv_every": 5,
        "narrow": 0,
    },
    "segmenter": {"look_most": 0},
    "mapper": {
        "widths": [8, 8, 8],
        "hidden": 8,
        "handover": "hard",
        "learning_rate": 0.002,
        "discriminator_rate": 1.0,
        "momentum": 0.0,
        "settle": False,
        "lambda_label": 0.0,
        "adv_last": 0.5,
    },
    "condition": {
        "unet_base": 256,
        "unet_max": 16,
        "unet_fold": 1,
        "unet_rate": 1.0,
        "unet_balance": 0.0,
        "unet_recolour": 0.0,
        "unet_clean": 0.0,
    },
}


class Checkout:
    """One checkout's command line, in a work folder."""

    def __init__(self, tree: Path, work: Path) -> None:
        self.tree, self.work = tree, work
        self.environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def __call__(self, *words: object) -> None:
        """Run ``proxymask`` with these words in the work folder; its last lines are shown where it fails."""
        command = [sys.executable, "-m", "proxymask", *map(str, words)]
        done = subprocess.run(command, cwd=self.work, env=self.environment, capture_output=True, text=True, check=False)
        print(" ".join(map(str, words))[:150], flush=True)
        if done.returncode:
            raise SystemExit(f"failed: {done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def pixels(folder: Path) -> dict[str, str]:
    """SHA-256 of the pixels of every picture below ``folder``, by its path."""
    out = {}
    for path in sorted(folder.rglob("*.png")):
        array = np.asarray(Image.open(path))
        out[path.relative_to(folder).as_posix()] = hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()
    return out


def trained(run: Path) -> dict[str, object]:
    """Every line of a run's stats without its times, and a hash of the tensors of every network whatever their names."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()] if (run / "stats.jsonl").exists() else []
    stats = [{_renamed(key): value for key, value in line.items() if key not in TIMES} for line in lines]
    networks = {}
    for path in sorted(run.rglob("model.safetensors")):
        if not any(part.startswith("checkpoint-") for part in path.parts):
            tensors = sorted(hashlib.sha256(str(t.shape).encode() + t.tobytes()).hexdigest() for t in load_file(path).values())
            networks[_renamed(path.parent.relative_to(run).as_posix())] = hashlib.sha256("".join(tensors).encode()).hexdigest()
    return {"stats": stats, "networks": networks}


def _renamed(name: str) -> str:
    return "/".join(RENAMED.get(part, part) for part in name.split("/"))


def embedded(run: Checkout) -> dict[str, object]:
    """Pictures of the embedded bundle."""
    exact = ("--device", "cpu", "--precision", "fp32")
    masks = HERE / "examples" / "masks" / "avatars"
    for mapper in ("mask", "mask-1"):
        run("generate", "--mask", masks, "--mapper", mapper, "--style-seed", 3, "--count", 2, "--out", f"pictures/{mapper}", *exact)
    run("sample", "--generator", "avatars", "--count", 2, "--seed", 11, "--out", "samples", *exact)
    photo = sorted((run.work / "samples").glob("*.png"))[0]
    for condition in ("sketch", "scribble"):
        out = f"pictures/{condition}.png"
        words = ("--from-photo",) if condition == "sketch" else ()
        source = photo if condition == "sketch" else sorted((masks / "free-form").glob("*.png"))[0]
        run("generate", "--condition", condition, "--input", source, *words, "--style-seed", 5, "--out", out, *exact)
    run("transfer", "--shape-seed", 1, "--style-seed", 2, "--out", "pictures/transfer.png", *exact)
    return {"pictures": pixels(run.work / "pictures"), "samples": pixels(run.work / "samples")}


def paint(folder: Path, count: int) -> None:
    """Label ``count`` samples: four labels in quarters, of a size that differs by sample."""
    labels = [
        {"id": i, "name": name, "color": color}
        for i, (name, color) in enumerate(zip("abcd", ("#000000", "#ff0000", "#00ff00", "#0000ff"), strict=True))
    ]
    (folder / "labels.json").write_text(json.dumps({"labels": labels}))
    for index, path in enumerate(sorted(p for p in folder.glob("*.png") if ".mask" not in p.name)[:count]):
        height, width = np.asarray(Image.open(path)).shape[:2]
        mask = np.zeros((height, width), np.uint8)
        y, x = height // 2 + index, width // 2 - index
        mask[:y, x:], mask[y:, :x], mask[y:, x:] = 1, 2, 3
        Image.fromarray(mask).save(folder / f"{path.stem}.mask.png")


def stages(run: Checkout, name: str, preset: dict[str, object]) -> dict[str, object]:
    """20 steps of every stage."""
    file = run.work / f"{name}.json"
    file.write_text(json.dumps(preset))
    common = ("--preset", file, "--device", "cpu", "--precision", "fp32", "--seed", 7)
    root = Path(name)
    if not (run.work / "set").exists():
        run("data", "avatars", "--count", 24, "--size", 32, "--depth", "--seed", 4, "--workers", 1, "--out", "set")
    run("train", "generator", "--images", "set/images", "--out", root / "g", *common)
    run("cluster", "--generator", root / "g", "--out", root / "c", *common)
    parts: tuple[object, ...] = ("--generator", root / "g", "--clusters", root / "c")
    run("train", "rearranger", *parts, "--images", "set/images", "--out", root / "r", *common)
    run("sample", "--generator", root / "g", "--count", 3, "--out", root / "label-1", "--device", "cpu", "--precision", "fp32")
    run("sample", "--generator", root / "g", "--count", 3, "--out", root / "label-3", "--device", "cpu", "--precision", "fp32")
    paint(run.work / root / "label-1", 1)
    paint(run.work / root / "label-3", 3)
    parts = (*parts, "--rearranger", root / "r")
    for count in (1, 3):
        run("train", "segmenter", *parts, "--labels", root / f"label-{count}", "--out", root / f"s{count}", *common)
    labelled = ("--segmenter", root / "s1")
    run("train", "mapper", *parts, *labelled, "--images", "set/images", "--out", root / "m-mask", *common)
    for condition in ("sketch", "scribble"):
        run("train", "mapper", *parts, *labelled, "--condition", condition, "--out", root / f"m-{condition}", *common)
    run("train", "mapper", *parts, *labelled, "--teacher", root / "m-mask", "--out", root / "m-student", *common)
    runs = ["g", "c", "r", "s1", "s3", "m-mask", "m-sketch", "m-scribble", "m-student"]
    return {stage: trained(run.work / root / stage) for stage in runs}


def others(run: Checkout) -> dict[str, object]:
    """The stages that have no preset."""
    common = ("--device", "cpu", "--precision", "fp32", "--seed", 7)
    run("train", "depth", "--images", "set", "--steps", 20, "--batch", 4, "--out", "depth", *common)
    run("train", "judge", "--data", "set", "--steps", 20, "--out", "judge", *common)
    return {stage: trained(run.work / stage) for stage in ("depth", "judge")}


def measure(tree: Path) -> dict[str, object]:
    """All of it, for the checkout ``tree``."""
    with tempfile.TemporaryDirectory() as folder:
        run = Checkout(tree, Path(folder))
        found: dict[str, object] = {"embedded": embedded(run)}
        found |= {name: stages(run, name, preset) for name, preset in (("ours", OURS), ("published", PUBLISHED))}
        return found | {"others": others(run)}


def differences(before: object, after: object, where: str = "") -> list[str]:
    """Where two results differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [text for key in {**before, **after} for text in differences(before.get(key), after.get(key), f"{where}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [text for index, (a, b) in enumerate(zip(before, after, strict=True)) for text in differences(a, b, f"{where}/{index}")]
    return [] if before == after else [f"{where}: {before!r} -> {after!r}"]


def main() -> None:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    record, compare = verbs.add_parser("record"), verbs.add_parser("compare")
    record.add_argument("--out", type=Path, required=True)
    compare.add_argument("before", type=Path)
    for verb in (record, compare):
        verb.add_argument("--tree", type=Path, default=HERE, help="the checkout to run (this one)")
    given = parser.parse_args()
    found = json.loads(json.dumps(measure(given.tree.resolve())))
    if given.verb == "record":
        given.out.write_text(json.dumps(found, indent=1) + "\n")
        return
    wrong = differences(json.loads(given.before.read_text()), found)
    print("\n".join(wrong[:50]) or "no difference")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
