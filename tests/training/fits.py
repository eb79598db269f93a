"""Toy fits: their settings, a report that remembers, painted masks, and hashes of what was written."""

import os
import signal
from contextlib import contextmanager

import numpy as np
from PIL import Image

from proxymask.cli.options import Computing
from proxymask.core.hashing import file_hash
from proxymask.training.fit import FitConfig

SIZE = 16
CPU = Computing(device="cpu", precision="fp32")
QUIET = {"tensorboard": False, "grid_every": 0}
TOY = {
    "resolution": SIZE,
    "cut": 8,
    "num_clusters": 5,
    "cluster_samples": 16,
    "generator": {"z_dim": 16, "channel_base": 128, "channel_max": 16},
    "rearranger": {"hidden": 8, "position_channels": 8},
    "mapper": {"widths": [8, 8, 8], "hidden": 8, "lambda_adv": 1.0},
    "generator_loop": {"steps": 6, "batch": 4, "checkpoint_every": 3, "log_every": 2, "grid_every": 6},
    "rearranger_loop": {"steps": 8, "batch": 4, "log_every": 2, **QUIET},
    "segmenter_loop": {"steps": 4, "batch": 2, **QUIET},
    "mapper_loop": {"steps": 12, "batch": 4, **QUIET},
    "with_detail": False,  # it takes a third of a fit's time
    "detail": {"width": 4},
    "detail_loop": {"steps": 6, "batch": 4, **QUIET},
}


class Log:
    """A report that remembers, and does something at a chosen moment."""

    def __init__(self, at=None, step=0, act=lambda: None):
        self.said, self.shown, self.at, self.step, self.act = [], [], at, step, act

    def say(self, text):
        self.said.append(text)

    @property
    def text(self):
        return "\n".join(self.said)

    @contextmanager
    def progress(self, title):
        if "measuring" not in title:
            self.shown.append(title)

        def update(done, total=0, numbers=None):
            if title == self.at and done == self.step:
                self.act()

        yield update


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def config(root, **changes):
    given = {"images": root / "pictures", "out": root / "model", "preset": str(root / "toy.json"), "device": "cpu", "precision": "fp32"}
    return FitConfig(**(given | changes))


def paint(path, top=4):
    """Background, a square of part 1 and a smaller one of part 2."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[top : top + 8, 4:12] = 1
    mask[top + 2 : top + 5, 6:10] = 2
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)
    return mask


def digests(folder, *parts):
    return {str(p.relative_to(folder)): file_hash(p) for part in parts for p in sorted((folder / part).rglob("*")) if p.is_file()}


FROZEN = ("generator", "clusters", "rearranger")
