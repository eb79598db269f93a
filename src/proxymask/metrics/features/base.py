"""The interface of feature networks: features, and the facts that every number computed from them carries."""

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
    """Its name in results."""
    resize: str
    """The filter that resizes its input, in words."""
    digest: str
    """SHA-256 of its weights."""
    dim: int
    is_fid: bool = False
    """Whether a Frechet distance on it is the FID: published weights of Inception-v3."""

    def frechet_name(self) -> str:
        """Name of a Frechet distance on these features: FID for Inception-v3 alone."""
        return "FID (Inception-v3)" if self.is_fid else f"Frechet distance, {self.label} features"

    def kernel_name(self) -> str:
        """Name of a kernel distance on these features: KID for Inception-v3 alone."""
        return "KID (Inception-v3)" if self.is_fid else f"kernel distance, {self.label} features"
