"""What every feature network says of itself, so that a number can carry the name of its network."""

import hashlib
from collections.abc import Mapping

import torch
from torch import nn


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of names, shapes and values; floats are taken as float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


class FeatureNetwork(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> float32 features (B, ``dim``)."""

    key: str
    """Short and unique, for file names."""
    label: str
    """In words, for the names of numbers."""
    resize: str
    """The filter in front of it, in words."""
    digest: str
    """SHA-256 of its weights."""
    dim: int
    is_fid: bool = False
    """Whether a Frechet distance on it is what the literature calls FID."""

    def frechet_name(self) -> str:
        """What a Frechet distance on these features may be called: FID for Inception's alone."""
        return "FID (Inception-v3)" if self.is_fid else f"Frechet distance, {self.label} features"

    def kernel_name(self) -> str:
        """The same of a kernel distance: KID for Inception's alone."""
        return "KID (Inception-v3)" if self.is_fid else f"kernel distance, {self.label} features"
