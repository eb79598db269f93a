"""Networks of others that draw lines: PiDiNet, LDC, HED and Photo-Sketching, each as plain convolutions that read its published file.

Written from the papers and from the shapes in the files; see ``SPECS`` in ``__init__.py`` for sources and licences.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .weights import fill, load_state

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)  # red, green, blue, of pictures in 0 to 255


class AtSide(nn.Module):
    """Runs a network nearer to the size it was trained for: small pictures are enlarged, its answer comes back at theirs.

    Args:
        net: (B, 3, h, w) in [0, 1] -> (B, 1, h, w).
        side: shorter side up to which pictures are enlarged, twice at most (more blurs them and costs with the square).
        multiple: of which both sides must be.
    """

    def __init__(self, net: nn.Module, side: int, multiple: int) -> None:
        super().__init__()
        self.net, self.side, self.multiple = net, side, multiple

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1]."""
        x = (pictures.float() + 1) / 2
        h, w = x.shape[-2:]
        grow = min(2.0, max(1.0, self.side / min(h, w)))
        size = [max(1, round(v * grow / self.multiple)) * self.multiple for v in (h, w)]
        self.net.to(x.device)
        with torch.autocast(x.device.type, enabled=False):  # thin lines are small differences of large numbers
            y = self.net(F.interpolate(x, size=size, mode="bilinear", antialias=True))
        return F.interpolate(y, size=(h, w), mode="bilinear", antialias=True).clamp(0, 1)


def _normalised(x: torch.Tensor) -> torch.Tensor:
    return (x - x.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / x.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)


def _caffe(x: torch.Tensor) -> torch.Tensor:
    """[0, 1] RGB to what Caffe's networks take: BGR, 0 to 255, less the mean."""
    return (x * 255 - x.new_tensor(CAFFE_MEAN).view(1, 3, 1, 1)).flip(1)


def _up(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


# ------------------------------------------------------------------------------------------------------------------- PiDiNet

_RING = [3, 0, 1, 6, 4, 2, 7, 8, 5]  # each of the 3x3 neighbours' next one round the centre
_OUTER, _INNER = [0, 2, 4, 10, 14, 20, 22, 24], [6, 7, 8, 11, 13, 16, 17, 18]  # of 5x5, in the order of the eight neighbours


def plain_kernel(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """A pixel-difference convolution's 3x3 weights (O, I, 3, 3) as those of the plain convolution that does the same.

    ``central``: every neighbour less the centre. ``angular``: every neighbour less the next one round. ``radial``: every outer one of
    5x5 less the inner one on the same ray. ``plain``: as they are. (Su et al. 2021, section 3.2.)
    """
    flat = weight.flatten(2)
    if kind == "central":
        flat = flat.clone()
        flat[:, :, 4] -= weight.sum(dim=(2, 3))
    elif kind == "angular":
        flat = flat - flat[:, :, _RING]
    elif kind == "radial":
        five = weight.new_zeros(*weight.shape[:2], 25)
        five[:, :, _OUTER] = flat[:, :, 1:]
        five[:, :, _INNER] = -flat[:, :, 1:]
        return five.view(*weight.shape[:2], 5, 5)
    return flat.view(weight.shape)


KINDS = ("central", "angular", "radial", "plain")  # in turn, over the sixteen layers ("carv4")


class _DifferenceBlock(nn.Module):
    """Depthwise convolution, ReLU, 1x1 convolution, residual; halves the size where ``down``."""

    def __init__(self, fin: int, fout: int, kind: str, down: bool) -> None:
        super().__init__()
        size = 5 if kind == "radial" else 3
        self.shortcut = nn.Conv2d(fin, fout, 1) if down else None
        self.conv1 = nn.Conv2d(fin, fin, size, padding=size // 2, groups=fin, bias=False)
        self.conv2 = nn.Conv2d(fin, fout, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shortcut is not None:
            x = F.max_pool2d(x, 2)
        y = self.conv2(F.relu(self.conv1(x)))
        return y + (x if self.shortcut is None else self.shortcut(x))


class _Dilated(nn.Module):
    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fin, fout, 1)
        for number, dilation in enumerate((5, 7, 9, 11), start=1):
            setattr(self, f"conv2_{number}", nn.Conv2d(fout, fout, 3, dilation=dilation, padding=dilation, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(F.relu(x))
        return torch.stack([getattr(self, f"conv2_{number}")(x) for number in range(1, 5)]).sum(dim=0)


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 1)
        self.conv2 = nn.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.conv2(self.conv1(F.relu(x))))


class _Reduce(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class PiDiNet(nn.Module):
    """Pixel difference network (Su et al. 2021) with attention and dilation, as plain convolutions.

    (B, 3, h, w) in [0, 1] -> (B, 1, h, w).
    """

    def __init__(self, width: int = 60, dilated: int = 24) -> None:
        super().__init__()
        self.init_block = nn.Conv2d(3, width, 3, padding=1, bias=False)
        layer, fin = 1, width
        self.stages: list[list[str]] = []
        for stage, (blocks, fout) in enumerate(zip((3, 4, 4, 4), (width, 2 * width, 4 * width, 4 * width), strict=True), start=1):
            names = [f"block{stage}_{number}" for number in range(1, blocks + 1)]
            for name in names:
                setattr(self, name, _DifferenceBlock(fin, fout, KINDS[layer % 4], down=stage > 1 and name.endswith("_1")))
                layer, fin = layer + 1, fout
            self.stages.append(names)
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.dilations = nn.ModuleList(_Dilated(w, dilated) for w in widths)
        self.attentions = nn.ModuleList(_Attention(dilated) for _ in widths)
        self.conv_reduces = nn.ModuleList(_Reduce(dilated) for _ in widths)
        self.classifier = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, sides = x.shape[-2:], []
        x = self.init_block(_normalised(x))
        parts = zip(self.stages, self.dilations, self.attentions, self.conv_reduces, strict=True)
        for names, dilation, attention, reduce in parts:
            for name in names:
                x = getattr(self, name)(x)
            sides.append(_up(reduce(attention(dilation(x))), size))
        return torch.sigmoid(self.classifier(torch.cat(sides, dim=1)))


def load_pidinet(path: Path) -> PiDiNet:
    """PiDiNet of any width from its published checkpoint."""
    state = load_state(path)
    if "init_block.weight" not in state or "dilations.0.conv1.weight" not in state:
        fill(PiDiNet(4, 4), state, path)  # says what is missing
    net = PiDiNet(state["init_block.weight"].shape[0], state["dilations.0.conv1.weight"].shape[0])
    kinds = {"init_block.weight": KINDS[0]}
    for number, name in enumerate((name for names in net.stages for name in names), start=1):
        kinds[f"{name}.conv1.weight"] = KINDS[number % 4]
    fill(net, {name: plain_kernel(value, kinds[name]) if name in kinds else value for name, value in state.items()}, path)
    return net


# ----------------------------------------------------------------------------------------------------------------------- LDC


class _ConvNorm(nn.Module):
    def __init__(self, fin: int, fout: int, stride: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(fin, fout, 1, stride=stride), nn.BatchNorm2d(fout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


class _TwoConvs(nn.Module):
    def __init__(self, fin: int, fout: int, stride: int, last_relu: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fin, fout, 3, stride=stride, padding=1), nn.BatchNorm2d(fout)
        self.conv2, self.bn2 = nn.Conv2d(fout, fout, 3, padding=1), nn.BatchNorm2d(fout)
        self.last_relu = last_relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x) if self.last_relu else x


class _DenseLayer(nn.Module):
    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(fin, fout, 3, padding=2), nn.BatchNorm2d(fout)
        self.conv2, self.norm2 = nn.Conv2d(fout, fout, 3), nn.BatchNorm2d(fout)

    def forward(self, x: torch.Tensor, concat_channels: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(F.relu(x))))
        return 0.5 * (self.norm2(self.conv2(y)) + concat_channels)


class _DenseBlock(nn.Module):
    def __init__(self, layers: int, fin: int, fout: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"denselayer{number + 1}", _DenseLayer(fin if number == 0 else fout, fout))

    def forward(self, x: torch.Tensor, concat_channels: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x, concat_channels)
        return x


class _Raise(nn.Module):
    """Back to full size, doubling ``times`` times."""

    def __init__(self, fin: int, times: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(times):
            fout = 1 if number == times - 1 else 16
            size = 2**times
            layers += [nn.Conv2d(fin, fout, 1), nn.ReLU(), nn.ConvTranspose2d(fout, fout, size, stride=2, padding=size // 2 - 1)]
            fin = fout
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)


class _Fuse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv3 = nn.Conv2d(4, 32, 3, padding=1), nn.Conv2d(32, 4, 3, padding=1)
        self.norm_layer1 = nn.GroupNorm(4, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.conv3(F.relu(self.norm_layer1(self.conv1(x)))).softmax(dim=1)
        return (x * weight).sum(dim=1, keepdim=True)


class LDC(nn.Module):
    """Lightweight dense CNN for edges (Soria et al. 2022), the variant with four blocks.

    (B, 3, h, w) in [0, 1], h and w multiples of 8 -> (B, 1, h, w).
    """

    def __init__(self) -> None:
        super().__init__()
        self.block_1, self.block_2 = _TwoConvs(3, 16, 2, True), _TwoConvs(16, 32, 1, False)
        self.dblock_3, self.dblock_4 = _DenseBlock(2, 32, 64), _DenseBlock(3, 64, 96)
        self.side_1, self.side_2 = _ConvNorm(16, 32, 2), _ConvNorm(32, 64, 2)
        self.pre_dense_2, self.pre_dense_3, self.pre_dense_4 = _ConvNorm(32, 64, 2), _ConvNorm(32, 64, 1), _ConvNorm(64, 96, 1)
        self.up_block_1, self.up_block_2 = _Raise(16, 1), _Raise(32, 1)
        self.up_block_3, self.up_block_4 = _Raise(64, 2), _Raise(96, 3)
        self.block_cat = _Fuse()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.block_1(_caffe(x))
        two = self.block_2(one)
        half = F.max_pool2d(two, 3, 2, 1)
        joined = half + self.side_1(one)
        three = self.dblock_3(joined, self.pre_dense_3(half))
        quarter = F.max_pool2d(three, 3, 2, 1)
        four = self.dblock_4(quarter + self.side_2(joined), self.pre_dense_4(quarter + self.pre_dense_2(half)))
        sides = [self.up_block_1(one), self.up_block_2(two), self.up_block_3(three), self.up_block_4(four)]
        return torch.sigmoid(self.block_cat(torch.cat(sides, dim=1)))


def load_ldc(path: Path) -> LDC:
    """LDC from its published checkpoint."""
    net = LDC()
    fill(net, load_state(path), path)
    return net


# ----------------------------------------------------------------------------------------------------------------------- HED


class HED(nn.Module):
    """Holistically-nested edges (Xie and Tu 2015): VGG-16 with a side output at each of five sizes. (B, 3, h, w) in [0, 1] -> (B, 1, h, w).

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
        x = _caffe(x)
        for stage, score in zip(self.stages, self.scores, strict=True):
            x = stage(x)
            sides.append(_up(score(x), size))
        return torch.sigmoid(self.combine(torch.cat(sides, dim=1)))


_NUMBERS = ("One", "Two", "Thr", "Fou", "Fiv")


def load_hed(path: Path) -> HED:
    """HED from the PyTorch conversion of the authors' weights, whose stages are called ``moduleVggOne`` or ``netVggOne`` and so on."""
    state = {name.removeprefix("module").removeprefix("net"): value for name, value in load_state(path).items()}
    ours: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        for index, number in enumerate(_NUMBERS):
            name = name.replace(f"Vgg{number}.", f"stages.{index}.").replace(f"Score{number}.", f"scores.{index}.")
        ours[name.replace("Combine.0.", "combine.")] = value
    widths = [ours[f"scores.{i}.weight"].shape[1] for i in range(5) if f"scores.{i}.weight" in ours]
    net = HED(widths if len(widths) == 5 else (4,) * 5)
    fill(net, ours, path)
    return net


# ------------------------------------------------------------------------------------------------------------ Photo-Sketching


class _OwnNorm(nn.BatchNorm2d):
    """Batch norm by each picture's own statistics: the authors run theirs in training mode on one picture at a time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class _ResnetBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), _OwnNorm(width), nn.ReLU(), nn.Identity()]
        self.conv_block = nn.Sequential(*parts, nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), _OwnNorm(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class PhotoSketch(nn.Module):
    """Contour drawings of photos (Li et al. 2019): a residual encoder and decoder. (B, 3, h, w) in [0, 1] -> ink (B, 1, h, w).

    Args:
        width: channels at full size; 64 in the published file.
        blocks: residual blocks; 9 there.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), _OwnNorm(width), nn.ReLU()]
        for a, b in pairwise((width, 2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), _OwnNorm(b), nn.ReLU()]
        layers += [_ResnetBlock(4 * width) for _ in range(blocks)]
        for a, b in pairwise((4 * width, 2 * width, width)):
            layers += [nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1, bias=False), _OwnNorm(b), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        paper = self.model(x * 2 - 1)  # it draws black on white, in [-1, 1]
        return (1 - paper) / 2


def load_photo_sketch(path: Path) -> PhotoSketch:
    """Photo-Sketching's generator from its published checkpoint."""
    state = load_state(path)
    for name in [name for name in state if name.endswith("running_mean")]:  # files from before PyTorch 0.4.1 have no such counter
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    first = state.get("model.1.weight")
    blocks = len({name.split(".")[1] for name in state if ".conv_block." in name})
    net = PhotoSketch(4 if first is None else first.shape[0], blocks)
    fill(net, state, path)
    return net
