"""The bundle of smaller pictures that another one was grown from by new blocks alone: that one without the last blocks of its generator.

    python benchmarks/smaller_bundle.py --bundle avatars --resolution 64 --out runs/avatars-64

A skip generator adds what each block draws to the enlarged picture of the blocks before, so that those alone make the smaller picture.
Clusters, rearranger and mappers stay as they are.
"""

import dataclasses
from pathlib import Path

import tyro

from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import weights_hash
from proxymask.inference.bundle import Bundle
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.stylegan2 import Generator


@dataclasses.dataclass(frozen=True)
class SmallerBundle:
    """Write a bundle without the last blocks of its generator."""

    bundle: str
    """Folder or name of the bundle."""
    resolution: int
    """Side of the smaller pictures."""
    out: Path


def smaller_generator(larger: Generator, resolution: int) -> Generator:
    """The blocks of ``larger`` up to ``resolution``.

    Raises:
        ProxymaskError: ``larger`` has no block of that resolution, or it is the last one.
    """
    sides = larger.synthesis.block_resolutions[:-1]
    if resolution not in sides:
        raise ProxymaskError(f"--resolution {resolution}: the generator has blocks of {', '.join(map(str, sides))} before its last one")
    smaller = Generator(**larger.config | {"resolution": resolution})
    weights = larger.state_dict()
    smaller.load_state_dict({name: weights[name] for name in smaller.state_dict()})
    return smaller.train(larger.training)


def smaller_segmenter(larger: FewShotSegmenter, factor: int) -> FewShotSegmenter:
    """What :func:`~proxymask.models.growing.grow_segmenter` made ``larger`` from, for pictures that are ``factor`` times as small.

    Raises:
        ProxymaskError: it reads the blocks that go.
    """
    config = dict(larger.config)
    kept = len(config["level_channels"]) - (factor.bit_length() - 1)
    config["level_channels"] = config["level_channels"][:kept]
    config["resolution"] //= factor
    config["dilations"] = [dilation // factor for dilation in config["dilations"]]
    smaller, weights = FewShotSegmenter(**config), larger.state_dict()
    gone = [weights[name] for name in weights if name.startswith("project.") and name not in smaller.state_dict()]
    if any(bool(weight.any()) for weight in gone):
        raise ProxymaskError("the segmenter reads the blocks that go: the bundle was not grown by new blocks alone")
    ratio = (len(smaller.project) / len(larger.project)) ** 0.5  # the sum of all blocks is divided by the root of their number
    for name, value in smaller.state_dict().items():
        theirs = weights[name][:kept] if name == "level_rms" else weights[name]
        value.copy_(theirs * ratio if name.startswith("project.") else theirs)
    return smaller.train(larger.training)


def smaller_bundle(bundle: Bundle, resolution: int) -> Bundle:
    """``bundle`` with pictures of ``resolution``."""
    generator = smaller_generator(bundle.generator, resolution)
    factor = bundle.resolution // resolution
    if 2 * bundle.cut > resolution:
        raise ProxymaskError(f"--resolution {resolution}: the bundle is split at {bundle.cut}, and needs a block after it")
    details = {}
    for name, network in bundle.details.items():
        details[name] = DetailNetwork(**network.config | {"resolution": network.config["resolution"] // factor})
        details[name].load_state_dict(network.state_dict())
    segmenter = None if bundle.segmenter is None else smaller_segmenter(bundle.segmenter, factor)
    made = f"{bundle.about.get('made by', 'unknown')}; then the blocks up to {resolution} pixels were taken out of it"
    about = bundle.about | {"made by": made, "generator": weights_hash(generator)}
    return dataclasses.replace(bundle, generator=generator, details=details, segmenter=segmenter, about=about)


def main() -> None:
    args = tyro.cli(SmallerBundle)
    try:
        smaller_bundle(Bundle.load(args.bundle), args.resolution).save(args.out)
    except ProxymaskError as error:
        raise SystemExit(f"smaller_bundle.py: {error.message}") from None
    print(f"{args.out}: pictures of {args.resolution} pixels")


if __name__ == "__main__":
    main()
