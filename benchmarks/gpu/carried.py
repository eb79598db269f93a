"""What a training takes from one machine to the next: the results so far, small enough for files of limited number and size.

Of a finished stage its networks travel, of an unfinished one its newest checkpoint, all as float16. The state of the optimisers stays
behind: Adam's first beta is 0, so that its state is only the mean square of the gradients over the last hundred steps, which is measured
anew while the learning rate rises (:func:`raise_rates`).
"""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import torch
from safetensors import safe_open

from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors, save_tensors
from proxymask.core.hashing import file_hash
from proxymask.training.checkpoint import checkpoints

PIECE = 15 * 2**20  # bytes of a file
PIECES = 4  # files
INDEX = "state.json"
RISE = 100  # steps over which the learning rates rise where the optimisers start anew
LEFT = ("composed", "work.lock")  # in the work folder, and not taken along


def pack(work: Path, out: Path) -> list[Path]:
    """Write the results in ``work`` as pieces into ``out``, with their hashes in ``state.json``, which is written last.

    Raises:
        ProxymaskError: they are larger than the pieces may be in all.
    """
    staging = work.with_name(f".{work.name}.packed")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for entry in sorted(work.iterdir()):
        if entry.name not in LEFT and not entry.name.startswith("."):
            _halve(entry, staging / entry.name)
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for entry in sorted(staging.iterdir()):
            archive.add(entry, entry.name)
    shutil.rmtree(staging)
    content = held.getbuffer()
    count = -(-len(content) // PIECE)
    if count > PIECES:
        raise ProxymaskError(f"the results take {len(content) / 2**20:.0f} MiB, more than {PIECES} files of {PIECE / 2**20:.0f} MiB")
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"state-{number}" for number in range(count)]
    for number, path in enumerate(paths):
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(content[number * PIECE : (number + 1) * PIECE])
        os.replace(temporary, path)
    for old in out.glob("state-*"):
        if old not in paths:
            old.unlink()
    index = out / INDEX
    index.write_text(json.dumps({path.name: file_hash(path) for path in paths}, indent=1) + "\n")
    return [*paths, index]


def unpack(source: Path, work: Path) -> bool:
    """Restore what :func:`pack` wrote, unless ``work`` is there already; returns whether it was restored.

    Raises:
        ProxymaskError: a piece is missing or damaged.
    """
    if work.exists() or not (source / INDEX).is_file():
        return False
    known = json.loads((source / INDEX).read_text())
    for name, digest in known.items():
        if not (source / name).is_file() or file_hash(source / name) != digest:
            raise ProxymaskError(f"{source / name} is missing or damaged: copy all files of the last run again")
    held = io.BytesIO(b"".join((source / name).read_bytes() for name in known))
    temporary = work.with_name(f".{work.name}.unpacked")
    shutil.rmtree(temporary, ignore_errors=True)
    with tarfile.open(fileobj=held) as archive:
        archive.extractall(temporary, filter="data")
    os.replace(temporary, work)
    return True


def _halve(entry: Path, target: Path) -> None:
    """Copy a file or a stage's folder, weights as float16."""
    if entry.is_file():
        shutil.copyfile(entry, target)
        return
    newest = checkpoints(entry)[-1:]
    done = (entry / "done.json").is_file()
    for path in sorted(entry.rglob("*")):
        inside = path.relative_to(entry)
        if path.is_dir() or path.name.startswith(("events.", ".lock")) or inside.parts[0] == "grids":
            continue
        if inside.parts[0].startswith("checkpoint-") and (done or [entry / inside.parts[0]] != newest):
            continue
        copy = target / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            exact = "clusters" in inside.parts or entry.name == "labels"  # rounded centroids would give other proxy masks
            tensors = {name: value for name, value in load_tensors(path).items() if not name.startswith("optimizer.")}
            save_tensors(copy, tensors, half=not exact)
        else:
            shutil.copyfile(path, copy)


def raise_rates(run_folder: Path, optimizers: dict[str, torch.optim.Optimizer]) -> bool:
    """Let the learning rates rise over the first steps if the checkpoint that the run goes on from has no state of the optimisers.

    Returns:
        Whether they rise.
    """
    found = checkpoints(run_folder)
    if not found:
        return False
    with safe_open(found[-1] / "state.safetensors", framework="pt") as opened:
        if any(name.startswith("optimizer.") for name in opened.keys()):  # noqa: SIM118
            return False
    for optimizer in optimizers.values():
        _raise(optimizer)
    return True


def _raise(optimizer: torch.optim.Optimizer) -> None:
    done, rates = 0, [0.0]

    def before(chosen: torch.optim.Optimizer, *_: object) -> None:
        rates[:] = [group["lr"] for group in chosen.param_groups]
        for group in chosen.param_groups:
            group["lr"] *= min(1.0, done / RISE)

    def after(chosen: torch.optim.Optimizer, *_: object) -> None:
        nonlocal done
        done += 1
        for group, rate in zip(chosen.param_groups, rates, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
