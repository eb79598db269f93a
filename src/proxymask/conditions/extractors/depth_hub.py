"""Depth by pretrained networks of the transformers library (extra ``depth``): Depth-Anything-V2-Small and MiDaS."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import ProxymaskError
from .preprocessing import IMAGENET_MEAN, IMAGENET_STD


class HubDepth(nn.Module):
    """A depth network of transformers: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1], 1 nearest, scaled to each picture's range.

    The output of both networks is relative inverse depth, in which near is large. Their image processors are not used: they need
    torchvision and only resize and normalise.

    Args:
        model: takes (B, 3, h, w), normalised.
        side: length of the shorter side that pictures are resized to.
        multiple: both sides are rounded to multiples of it.
        mean, std: of the normalisation, for red, green and blue in [0, 1].
    """

    def __init__(self, model: nn.Module, side: int, multiple: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model, self.side, self.multiple = model, side, multiple
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    mean: torch.Tensor
    std: torch.Tensor

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.to(pictures.device)
        x = ((pictures.float() + 1) / 2 - self.mean) / self.std
        h, w = x.shape[-2:]
        size = [max(1, round(v * self.side / min(h, w) / self.multiple)) * self.multiple for v in (h, w)]
        with torch.autocast(x.device.type, enabled=False):
            found = self.model(pixel_values=F.interpolate(x, size=size, mode="bicubic", antialias=True)).predicted_depth[:, None]
        found = F.interpolate(found.float(), size=(h, w), mode="bilinear", antialias=True)
        low, high = found.amin(dim=(2, 3), keepdim=True), found.amax(dim=(2, 3), keepdim=True)
        return (found - low) / (high - low).clamp(min=1e-12)


def load_hub_depth(owner: str, name: str, side: int, given: Path | None) -> HubDepth:
    """Open the network ``name`` of the hub, or the one in the folder ``given`` (config.json and model.safetensors). Pickles are refused.

    ``owner`` is its name in messages.

    Raises:
        ProxymaskError: transformers is not installed, or the network cannot be opened; the message names the files to fetch.
    """
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError:
        raise ProxymaskError(f"{owner} runs through transformers, which is not installed: pip install 'proxymask[depth]'") from None
    source = str(given or name)
    try:
        model: Any = AutoModelForDepthEstimation.from_pretrained(source, use_safetensors=True)
    except Exception as error:  # the hub raises many kinds of errors
        reason = str(error).strip().splitlines()[0][:100] if str(error).strip() else type(error).__name__
        raise ProxymaskError(
            f"{owner} cannot be opened from {source} ({reason}): fetch config.json and model.safetensors of https://huggingface.co/{name} "
            "into a folder and name it with --weights"
        ) from None
    config = model.config
    patch = getattr(config, "patch_size", None) or getattr(getattr(config, "backbone_config", None), "patch_size", None) or 14
    multiple = patch if isinstance(patch, int) else 32
    plain = config.model_type == "dpt"  # MiDaS was trained on pictures from -1 to 1
    mean, std = ((0.5,) * 3, (0.5,) * 3) if plain else (IMAGENET_MEAN, IMAGENET_STD)
    return HubDepth(model.eval().requires_grad_(False), side, multiple, mean, std)
