"""The interface of feature networks: features, and the facts that every number computed from them carries."""

from torch import nn


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
