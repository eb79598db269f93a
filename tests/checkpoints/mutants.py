"""Valid containers of every family with a few values replaced: by wrong types, shapes, sizes or keys.

Run as a script (``mutants.py COUNT [SEED]``, by ``make fuzz``), it opens COUNT mutants and stops at the first that breaks a promise: an
exception other than ProxymaskError, a message that is not one printable line, more than 4 seconds or 1 GB. Its file is left for a look.
"""

import argparse
import collections
import contextlib
import faulthandler
import json
import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import families
import layouts
import numpy as np
import torch
import wrappers
from safetensors.torch import save_file
from stylegan2_equations import Shape

from proxymask.checkpoints.loading import open_checkpoint
from proxymask.core.errors import ProxymaskError
from proxymask.models.discriminator import Discriminator
from proxymask.models.stylegan2 import Generator

SECONDS, MEMORY = 4.0, 2**30
SMALL = Shape(resolution=8, base=32, top=8, z=8, w=8)
CLASSES = Shape(resolution=8, base=32, top=8, z=8, w=8, classes=3)


@dataclass
class Folder:
    """A folder of this package: two JSON files and tensors."""

    config: dict[str, Any]
    about: dict[str, Any]
    tensors: dict[str, Any]

    @property
    def state(self) -> dict[str, Any]:
        return {"config": self.config, "about": self.about, "tensors": self.tensors}


Writer = Callable[[Path, Any], object]


def write_folder(path: Path, folder: Folder) -> None:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(folder.config, default=str, skipkeys=True))
    (path / "import.json").write_text(json.dumps(folder.about, default=str, skipkeys=True))
    tensors = {str(k): v.detach().contiguous().clone() for k, v in folder.tensors.items() if isinstance(v, torch.Tensor)}
    save_file(tensors, path / "model.safetensors")


def own_folder(discriminator: bool) -> Folder:
    size = {"resolution": 8, "channel_base": 32, "channel_max": 8, "mapping_layers": 2, "c_dim": 3}
    net = Discriminator(**size) if discriminator else Generator(**size, z_dim=8, w_dim=8)
    config = {"class": type(net).__name__, "format": 1, "config": net.config}
    return Folder(config, {"family": "x", "notes": ["a"], "networks": ["G"], "source": "s"}, dict(net.state_dict()))


def bases() -> dict[str, tuple[Any, Writer]]:
    """Name -> contents, and how they are written."""
    kwargs = families.nvidia_kwargs(CLASSES)
    gains = {f"mapping.fc{i}": {"bias_gain": 0.01, "activation": "lrelu"} for i in range(2)}
    attributes = {f"synthesis.b{r}.conv1": {"activation": "lrelu", "conv_clamp": None} for r in CLASSES.widths} | gains
    judge = {"c_dim": 3, "img_resolution": 8, "img_channels": 3, "epilogue_kwargs": {"mbstd_group_size": 4}}
    nvidia = {
        "G_ema": layouts.network("Generator", families.nvidia_state(CLASSES), kwargs, attributes=attributes),
        "D": layouts.network("Discriminator", families.nvidia_discriminator(CLASSES), judge),
    }
    variables = families.tf_variables(CLASSES, ada=False)
    arguments = {
        "num_channels": 3,
        "resolution": 16,
        "fmap_base": 32,
        "fmap_max": 8,
        "mapping_lrmul": 0.01,
        "resample_kernel": [1, 3, 3, 1],
    }
    parts = {
        part: layouts.TfNetwork(f"G_{part}", arguments, {k[len(part) + 1 :]: x for k, x in variables.items() if k.startswith(part + "/")})
        for part in ("mapping", "synthesis")
    }
    own = {k: x for k, x in variables.items() if "/" not in k}
    tensorflow = (
        layouts.TfNetwork("D_stylegan2", {"mbstd_group_size": 4}, families.tf_discriminator(CLASSES, ada=False), None, "D"),
        layouts.TfNetwork("G_main", arguments, own, parts, "Gs"),
    )
    rosinality = {
        "g_ema": families.rosinality_state(SMALL),
        "d": families.rosinality_discriminator(SMALL),
        "latent_avg": torch.zeros(8),
        "g_optim": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]},
    }
    genforce = {"generator_smooth": families.genforce_state(CLASSES, True), "discriminator": families.genforce_discriminator(CLASSES, True)}
    return {
        "nvidia": (nvidia, layouts.write_nvidia),
        "nvidia-bare": ({f"module.{k}": v for k, v in families.nvidia_state(SMALL).items()}, layouts.write_torch),
        "tensorflow": (tensorflow, layouts.write_tf),
        "rosinality": (rosinality, layouts.write_torch),
        "rosinality-training": ({"g": families.rosinality_state(SMALL)}, lambda p, c: layouts.write_torch(p, c, legacy=True)),
        "psp": (wrappers.psp(families.rosinality_state(SMALL)), layouts.write_torch),
        "basicsr": (wrappers.basicsr(families.rosinality_state(SMALL)), layouts.write_torch),
        "genforce": (genforce, layouts.write_torch),
        "hammer": (wrappers.hammer(families.nvidia_state(CLASSES), {"mapping_lr_mul": 0.01, "conv_clamp": None}), layouts.write_torch),
        "folder": (own_folder(False), write_folder),
    }


# ------------------------------------------------------------------------------------------------------------------------- mutation


def copied(value: Any) -> Any:
    """A copy of containers and networks; tensors are shared."""
    if isinstance(value, Folder):
        return Folder(*(copied(part) for part in (value.config, value.about, value.tensors)))
    if isinstance(value, layouts.Network | layouts.TfNetwork):
        out = object.__new__(type(value))
        out.__dict__.update({name: copied(entry) for name, entry in value.__dict__.items()})
        return out
    if isinstance(value, dict):
        out = type(value)()
        for key, entry in value.items():
            out[key] = copied(entry)
        return out
    return type(value)(map(copied, value)) if type(value) in (list, tuple) else value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in a tree."""
    value = value.state if isinstance(value, Folder | layouts.Network | layouts.TfNetwork) else value
    if isinstance(value, dict):
        entries: Any = list(value.items())
    else:
        entries = list(enumerate(value)) if isinstance(value, list | tuple) else []
    for key, entry in entries:
        if not isinstance(value, tuple):
            yield value, key
        yield from places(entry)


def tower(levels: int = 60) -> Any:
    """Tuples that share their parts: 2^levels leaves for who compares or prints them."""
    value: Any = (1, 2)
    for _ in range(levels):
        value = (value, value)
    return value


WRONG: list[Callable[[], Any]] = [
    *(lambda v=v: v for v in (None, True, False, 0, -1, 1, 3, 2**31, 2**53, -(2**40), 10**200, 0.0, -0.5, 1e-300, 1e300)),
    *(lambda v=v: v for v in (math.nan, math.inf, "", "lrelu", "x" * 3000, "\x1b[31m\x07\u202e", b"\x00\xff", 1j)),
    *(lambda v=v: v for v in ([], (), {}, [1, 3, 3, 1], [[]] * 3, {"a": {"b": 1}}, {1: 2}, set())),
    *(lambda: Path("somewhere"), lambda: collections.OrderedDict(a=1)),
    *(lambda s=s: torch.zeros(s) for s in ((), (0,), (0, 2**20), (1,), (8,), (1, 1, 1, 1, 1), (2**17,), (300, 1), (1, 300))),
    *(lambda d=d: torch.ones(8, dtype=d) for d in (torch.int8, torch.bool, torch.complex64, torch.float16, torch.int64)),
    *(lambda v=v: torch.full((8, 8), v) for v in (math.nan, math.inf, 1e38, 0.0, -1.0)),
    *(lambda v=v: np.array(v) for v in (3, "text", [1.5] * 8, np.zeros((0, 3)), np.zeros(8, ">f8"))),
    *(lambda: np.float32, lambda: np.int64(-5), lambda: np.float64("nan")),
]
JSON_WRONG = [*WRONG, lambda: json.loads("[" * 50 + "]" * 50)]  # JSON shares nothing: a tower would never be written
WRONG += [tower, lambda: [tower()]]


def reshaped(value: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """The same numbers, or some of them, in another shape or type."""
    changes: list[Callable[[], torch.Tensor]] = [
        lambda: value.flatten(),
        lambda: value[None],
        lambda: value[:0] if value.ndim else value.reshape(1, 1),
        lambda: value[:1].clone() if value.ndim else value,
        lambda: torch.cat([value, value]) if value.ndim else value,
        lambda: value.transpose(0, -1) if value.ndim else value,
        lambda: value.squeeze(),
        lambda: value.double(),
        lambda: value.half(),
        lambda: value.to(torch.int32),
        lambda: value * 0,
        lambda: value * math.nan,
        lambda: value * 10.0 ** rng.randint(-6, 30),
        lambda: torch.nn.functional.pad(value, (0, rng.choice([1, 7, 1000]))) if value.ndim else value,
    ]
    return rng.choice(changes)()


def other_key(key: Any, rng: random.Random) -> Any:
    """Another key in place of ``key``."""
    digits = rng.choice(["8192", "7", "0", "99", "1048576", "9" * 30, "-1", "٣"])
    text = str(key)
    return rng.choice(
        [
            lambda: re.sub(r"\d+", digits, text, count=1),
            lambda: re.sub(r"\d+(?=\D*$)", digits, text),
            lambda: text + "\x1b[2J",
            lambda: text * 400,
            lambda: rng.choice([None, 5, 2.5, True, (1, "a"), b"key", ""]),
            lambda: text.replace("weight", "bias"),
            lambda: "module." + text,
        ]
    )()


def mutate(tree: Any, rng: random.Random) -> str:
    """Change one to three places of ``tree``; returns what was done."""
    done, found = [], list(places(tree))
    for _ in range(rng.randint(1, 3)):
        target, key = rng.choice(found)
        if isinstance(target, dict) and key not in target:
            continue
        kind = rng.choice(["value", "value", "tensor", "key", "drop", "alias", "prefix"])
        if kind == "tensor" and isinstance(target[key], torch.Tensor):
            target[key] = reshaped(target[key].detach(), rng)
        elif kind == "key" and isinstance(target, dict):
            target[other_key(key, rng)] = target.pop(key)
        elif kind == "drop" and isinstance(target, dict):
            del target[key]
        elif kind == "alias":
            other, name = rng.choice(found)
            target[key] = other.get(name) if isinstance(other, dict) else other[name]
        elif kind == "prefix" and isinstance(target, dict):  # all names of one resolution or layer become those of another
            old, new = rng.choice(["b8", "8x8", "convs.1", "layer2", "output1", "to_rgbs.0"]), rng.choice(["8192", "1048576", "64"])
            for name in [name for name in target if isinstance(name, str) and old in name]:
                target[name.replace(old, re.sub(r"\d+", new, old))] = target.pop(name)
        else:
            kind = "value"
            target[key] = rng.choice(JSON_WRONG if isinstance(tree, Folder) else WRONG)()
        done.append(f"{kind} {str(key)[:60]!r}")
    return ", ".join(done)


# ------------------------------------------------------------------------------------------------------------------------- the check


@dataclass
class Outcome:
    """``refused``: the message, "" where the mutant was read and used. ``memory``: growth of the process at its peak, in bytes."""

    what: str
    refused: str
    cause: str
    seconds: float
    memory: int


def peak() -> int:
    """The largest resident size of this process since :func:`reset_peak`, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def reset_peak() -> int:
    with contextlib.suppress(OSError):  # where it is not allowed, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


@torch.no_grad()
def use(path: Path) -> None:
    """Open a checkpoint, and use all of it."""
    opened = open_checkpoint(path, sha256=False)
    assert all(line.isprintable() for line in opened.text().splitlines())
    json.dumps(opened.about())
    generator = opened.generator
    if generator.c_dim:
        generator.choose_class(0)
    picture = generator(generator.z([0]))
    if opened.discriminator is not None:
        if opened.discriminator.c_dim:
            opened.discriminator.choose_class(0)
        opened.discriminator(picture)


def attempt(base: str, contents: Any, write: Writer, path: Path, seed: int) -> Outcome:
    """Make a mutant, open it, and see what came of it. Any error but ProxymaskError leaves this function."""
    tree = copied(contents)
    what = f"{base} {seed}: {mutate(tree, random.Random(seed))}"
    try:
        write(path, tree)
    except Exception as error:  # the writer takes no such value: there is no such file
        return Outcome(what, "not written", type(error).__name__, 0.0, 0)
    before, start, refused, cause = reset_peak(), time.process_time(), "", ""
    try:
        use(path)
    except ProxymaskError as error:
        refused, cause = str(error), type(error.__cause__).__name__ if error.__cause__ is not None else ""
    outcome = Outcome(what, refused, cause, time.process_time() - start, peak() - before)
    if refused:
        assert refused.isprintable(), refused[:1000]
        assert len(refused) < 1000, refused[:1000]
    assert outcome.seconds < SECONDS, outcome
    assert outcome.memory < MEMORY, outcome
    return outcome


def outcomes(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """``count`` mutants, each family in turn."""
    everything = list(bases().items())
    for index in range(count):
        name, (contents, write) = everything[index % len(everything)]
        yield attempt(name, contents, write, folder / f"{name}.pt", seed + index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=1_000_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    causes: collections.Counter[str] = collections.Counter()
    slowest, largest, read = 0.0, 0, 0
    for index, outcome in enumerate(outcomes(arguments.count, arguments.seed, folder)):
        faulthandler.dump_traceback_later(60, exit=True)
        read += not outcome.refused
        causes[outcome.cause] += 1
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.memory)
        if index % 1000 == 999:
            print(f"{index + 1:,}: {read:,} read, slowest {slowest:.2f} s, largest {largest / 2**20:.0f} MiB", flush=True)
    print(f"{arguments.count:,} mutants: {read:,} read, slowest {slowest:.2f} s, largest {largest / 2**20:.0f} MiB")
    print(f"exceptions that became 'damaged': {dict(causes)}")


if __name__ == "__main__":
    main()
