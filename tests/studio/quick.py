"""Settings with which a training on labels takes seconds: the smallest networks, a few steps."""

import json
from pathlib import Path

STEPS = 400  # a hundredth of them, the page's shortest training, is 4
LOOP = {"steps": STEPS, "batch": 1, "checkpoint_every": 1}
PRESET = {
    "base": "demo",
    "segmenter": {"style_transfer_max_labels": 0},
    "segmenter_loop": LOOP,
    "mapper": {"widths": [4, 4, 4], "hidden": 4, "lambda_label": 0},
    "mapper_loop": LOOP | {"grid_every": 1},
    "detail_loop": LOOP,
}


def quick_preset(folder: Path) -> Path:
    """The settings as a file."""
    path = folder / "quick.json"
    path.write_text(json.dumps(PRESET), encoding="utf-8")
    return path
