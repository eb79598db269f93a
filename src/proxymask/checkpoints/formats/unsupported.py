"""Checkpoints that cannot be converted: which architecture they are of, by the names of their tensors, and what to do."""

from collections.abc import Mapping
from typing import Any

from ..safe_pickle.messages import printable
from ..safe_pickle.state_dict import MAX_NAME

_ONLY = "only StyleGAN2 is supported"
MAX_NAMES = 20_000

# Each entry: substrings, all of which have to be in some name; the error message.
_ARCHITECTURES: list[tuple[tuple[str, ...], str]] = [
    *(
        (
            parts,
            "this is a checkpoint of lucidrains' stylegan2-pytorch, another architecture (no noise weights by layer, other blocks, its own "
            "style network): it cannot be converted; train with NVIDIA's or rosinality's code, or with proxymask train generator",
        )
        for parts in (("G.initial_block",), ("S.net.0", "G.blocks."))
    ),
    *(
        ((part,), f"this is StyleGAN1 of rosinality's style-based-gan-pytorch, another architecture: {_ONLY}")
        for part in ("progression.0.", "generator.progression")
    ),
    *(
        ((part,), f"this is a StyleGAN3 generator, which has no blocks to cut and no noise: {_ONLY}")
        for part in ("synthesis.input.freqs", "synthesis.input.affine")
    ),
    *(((part,), f"this is StyleGAN1, another architecture: {_ONLY}") for part in ("g_synthesis.", "epi1.style_mod")),
    *(
        ((part,), "this is a diffusion model, another architecture: only StyleGAN2 generators are supported")
        for part in ("time_embed", "model.diffusion_model")
    ),
]


def explain_refusal(contents: Any) -> str:
    """What a file is whose ``contents`` no family knows, and what to do, one line."""
    names = _nested_names(contents)
    for parts, message in _ARCHITECTURES:
        if all(any(part in name for name in names) for part in parts):
            return message
    if names:
        shown = ", ".join(repr(printable(name, 40)) for name in names[:4])
        return f"it holds no StyleGAN2 generator that is known here; its first keys are {shown}: see docs/bring-your-own-generator.md"
    return f"it holds a {printable(type(contents).__name__)}, no networks: give the checkpoint of a StyleGAN2 generator"


def _nested_names(contents: Any) -> list[str]:
    """Keys of a mapping and of the mappings in it, three levels deep, joined by dots: those of the first 20,000 that are short text."""
    names: list[str] = []
    pending: list[tuple[str, Mapping[Any, Any], int]] = [("", contents, 0)] if isinstance(contents, Mapping) else []
    looked_at = 0
    for path, mapping, depth in pending:  # which grows
        for key, inner in mapping.items():
            looked_at += 1
            if looked_at > MAX_NAMES:
                return names
            if isinstance(key, str) and len(key) <= MAX_NAME:
                names.append(path + key)
                if depth < 2 and isinstance(inner, Mapping):
                    pending.append((f"{path}{key}.", inner, depth + 1))
    return names
