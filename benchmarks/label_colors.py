"""CIE Lab colours of the labels of pictures; for the measurements that compare colours."""

import numpy as np
import torch

SMALLEST = 0.01  # share of the picture that a label must have to be measured


def to_lab(pictures: torch.Tensor) -> np.ndarray:
    """Pictures (B, 3, H, W) in [-1, 1], sRGB -> CIE Lab (B, H, W, 3), D65."""
    rgb = ((pictures.float().cpu().clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy()
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def label_colors(lab: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Mean colour of each label, (B, N, 3); NaN where a label has too few pixels."""
    found = np.full((len(lab), count, 3), np.nan)
    for row, (picture, ids) in enumerate(zip(lab, labels, strict=True)):
        for label in range(count):
            inside = ids == label
            if inside.mean() >= SMALLEST:
                found[row, label] = picture[inside].mean(axis=0)
    return found
