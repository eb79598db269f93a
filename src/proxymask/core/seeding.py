"""Random generators that depend only on ``(seed, step, purpose)``.

Therefore a resumed run equals an uninterrupted one, and no generator state is ever saved.
"""

import hashlib

import torch


def derive_seed(seed: int, *keys: int | str) -> int:
    """A 63-bit seed that is a hash of ``seed`` and ``keys`` (ints or strings), the same on every machine."""
    text = ":".join([str(seed), *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def derive_rng(seed: int, *keys: int | str) -> torch.Generator:
    """A CPU ``torch.Generator`` seeded by :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, *keys))


def permutation(count: int, seed: int, *keys: int | str) -> torch.Tensor:
    """The numbers from 0 to ``count`` - 1, int64, in an order drawn by :func:`derive_rng`."""
    return torch.randperm(count, generator=derive_rng(seed, *keys))
