"""A generator and its discriminator to start from, also of a run that has not finished."""

from pathlib import Path

import torch

from proxymask.core.files import load_tensors, read_json
from proxymask.models.discriminator import Discriminator
from proxymask.models.stylegan2 import Generator
from proxymask.training.checkpoint import checkpoints
from proxymask.training.parts import find_part, load_part


def start_networks(path: Path, average: bool = False) -> tuple[Generator, Discriminator | None]:
    """A generator, and its discriminator where there is one: of a run that is still training, else of a folder of saved networks.

    Args:
        path: the run, the folder, or the name of an embedded bundle.
        average: of a run that is still training, take the averaged generator, which makes the better pictures, and not the weights that
            were trained last, which its discriminator fits.
    """
    found = checkpoints(path)
    if not found:
        folder = find_part(path, "generator").parent / "discriminator"
        discriminator = load_part(folder, "discriminator", Discriminator) if folder.is_dir() else None
        return load_part(path, "generator", Generator), discriminator
    identity, tensors = read_json(found[-1] / "state.json")["identity"], load_tensors(found[-1] / "state.safetensors")

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}

    widths = {name: identity[f"config.{name}"] for name in ("channel_base", "channel_max")} | {"resolution": identity["resolution"]}
    z_dim, layers = identity["config.z_dim"], identity["config.mapping_layers"]
    config = {"z_dim": z_dim, "w_dim": z_dim, "mapping_layers": layers, **widths}
    generator = Generator.from_tensors(config, part("average.generator." if average else "module.generator."), str(path))
    return generator, Discriminator.from_tensors(widths, part("module.discriminator."), str(path))
