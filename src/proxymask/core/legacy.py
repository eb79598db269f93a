"""Reading files of older versions: tables of removed and renamed settings and tensors, for each kind of file.

A removed setting or part has a row with the value at which the current code does the same. If a file holds that value, the key is dropped.
If it holds another value, a model, bundle or preset is refused by name, and a run folder counts as one with other settings. A renamed key
or tensor has an entry in the tables of names. Files are never rewritten.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import torch

from .errors import ProxymaskError

LAST_VERSION = "0.1.0"  # the last version with everything that was removed


@dataclasses.dataclass(frozen=True)
class Removed:
    """A removed part or setting."""

    part: str
    """Its name in error messages."""
    off: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its keys, each with the value at which the current code does the same."""
    unused: tuple[str, ...] = ()
    """Further keys of it, without effect as long as those in ``off`` hold their values."""


STYLE_BANK = Removed("the style bank", {"samples": 0}, ("layers", "tokens", "unlike"))
LAYOUT_READER = Removed("the layout reader", {"hidden": 0}, ("layers", "target", "learning_rate", "steps", "batch"))
FEWER_KEYS = Removed("the limit of keys a style", {"keys": 0})

# constructor arguments of networks, by class
MODELS: Mapping[str, tuple[Removed, ...]] = {
    "OasisMapper": (Removed("the mapper's table of looks", {"looks": 0}),),
    "ProxyClusters": (Removed(LAYOUT_READER.part, {"reader": 0}),),
    "Rearranger": (
        Removed("another width of the retouching block's codes", {"retouch_codes": 32}),
        Removed("the start of the attention", unused=("init", "match", "sharpness", "position_weight")),  # of no use once it is trained
    ),
    "UNetMapper": (Removed("the mapper's table of looks", {"looks": 0}),),
}
# fields of a stage's settings, by stage
SETTINGS: Mapping[str, tuple[Removed, ...]] = {
    "generator": (
        Removed("another interval of R1", {"r1_every": 16}),
        Removed("another interval of path length regularisation", {"path_every": 4}),
    ),
    "rearranger": (
        Removed("another width of the retouching block's codes", {"retouch_codes": 32}),
        Removed(
            "the style's own proxy mask in the keys",
            {"key_mask": False},
            ("match", "key_mask_channels", "mask_codes"),
        ),
        Removed("another start of the attention", {"sharpness": 10, "position_weight": 8}),
        Removed("the cosine decay of the rearranger's rates", {"settle": False}),
        Removed("another share of a term in L_self", {"self_features": 1, "self_picture": 1}),
        Removed("the perceptual term of L_self", {"self_perceptual": 0}),
        Removed("another interval of R1", {"r1_every": 16}),
        Removed("another number of samples for narrower queries and keys", {"narrow_samples": 256}),
    ),
    "segmenter": (
        Removed("another width of the segmenter", {"width": 64}),
        Removed("another L2 term of the segmenter", {"weight_decay": 0.001}),
        Removed("another weight of rare classes", {"class_balance": 0.5}),
        Removed("another shift of labelled samples", {"shift": 4}),
        Removed("another schedule of learning from other samples", {"look_last": 0.6, "look_batch": 8}),
        Removed("doubts about labels read in another sample's look", {"look_doubt": 0}),
    ),
    "mapper": (
        Removed("another weight of rare classes in L_label", {"label_balance": 0.25}),
        Removed("another network for L_label", {"viewer_width": 16, "viewer_batch": 32, "viewer_samples": 3000}),
        Removed("the mapper's table of looks", {"looks": 0}, ("look_layers",)),
        Removed("another interval of R1", {"r1_every": 16}),
    ),
    "depth": (Removed("another weight of the depth's slopes", {"lambda_slope": 1}),),
}
# objects of a preset or of a bundle's metadata; each holds only the keys of its row
OBJECTS: Mapping[str, Removed] = {"style_bank": STYLE_BANK, "reader": LAYOUT_READER}
# other keys of both
KEYS: tuple[Removed, ...] = (FEWER_KEYS,)

# ways of turning a mapper's logits into a proxy mask that are gone
REMOVED_MODES = ("present-soft", "present", "likely-soft", "likely")

MODE_NAMES = {"likely-all": "style-prior"}
MODE_KEYS = ("handover", "config.handover")

# old name -> new name: arguments by class, settings by stage, prefixes of tensors by class
RENAMED_ARGUMENTS: dict[str, Mapping[str, str]] = {
    "Rearranger": {"overlap": "add_position", "mask_codes": "key_mask_channels", "retouch": "refinement_width"},
}
RENAMED_SETTINGS: dict[str, Mapping[str, str]] = {
    "rearranger": {
        "overlap": "add_position",
        "retouch": "refinement_width",
        "retouch_rate": "refinement_lr_multiplier",
        "discriminator_rate": "discriminator_lr_multiplier",
        "adv_last": "adv_phase",
        "narrow": "narrow_channels",
    },
    "segmenter": {"look_most": "style_transfer_max_labels"},
    "mapper": {
        "handover": "proxy_mask_mode",
        "settle": "cosine_decay",
        "discriminator_rate": "discriminator_lr_multiplier",
        "adv_last": "adv_phase",
        "label_last": "label_phase",
    },
    "condition": {
        "unet_fold": "unet_space_to_depth",
        "unet_rate": "unet_lr_multiplier",
        "unet_balance": "unet_logit_adjustment",
        "unet_recolour": "unet_recolor",
        "unet_clean": "unet_clean_share",
    },
}
# fields of a stage's settings that are younger than runs are, each with the value at which the code did what it did before; by stage, with
# a field that all its runs have
YOUNGER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "generator": ("r1_gamma", {"new_blocks_only": False}),
    "rearranger": ("lambda_self", {"init": "random"}),
    "mapper": ("lambda_recon", {"label_prior": False}),
}
RENAMED_TENSORS: dict[str, Mapping[str, str]] = {"Rearranger": {"retouch.look.": "refinement.modulation.", "retouch.": "refinement."}}

PARTS_OF_RUNS = re.compile(r"^(module\.|average\.|optimizer\.)viewer\.")  # the auxiliary segmenter of L_label


def model_config(name: str, config: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The constructor arguments of the current class ``name`` from a stored config; ``where`` names the file in errors.

    Raises:
        ProxymaskError: it uses a removed part.
    """
    return _renamed(_without(config, MODELS.get(name, ()), where), RENAMED_ARGUMENTS.get(name, {}))


def model_tensors(name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of a network of class ``name`` under the current names."""
    prefixes = RENAMED_TENSORS.get(name, {})
    out = {}
    for key, value in tensors.items():
        old = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        out[prefixes.get(old, "") + key.removeprefix(old)] = value
    return out


def run_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a training checkpoint under the current names."""
    return {PARTS_OF_RUNS.sub(r"\1auxiliary.", key): value for key, value in tensors.items()}


def stage_settings(stage: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The stored settings of a run of ``stage``, under the current names. A removed part in use stays, so that the run differs from every
    run of the current code."""
    out = dict(identity)
    for row in SETTINGS.get(stage, ()):
        if _in_use(out, row, "config.") is None:
            out = _dropped(out, row, "config.")
    always, younger = YOUNGER.get(stage, ("", {}))
    if f"config.{always}" in out:
        out = {f"config.{key}": value for key, value in younger.items()} | out
    names = {f"config.{old}": f"config.{new}" for old, new in RENAMED_SETTINGS.get(stage, {}).items()}
    if stage == "mapper":
        names |= {f"unet.{old}": f"unet.{new}" for old, new in RENAMED_SETTINGS["condition"].items()}
    return _renamed(out, names)


def bundle_about(about: Mapping[str, Any], where: object) -> dict[str, Any]:
    """A bundle's metadata under the current names.

    Raises:
        ProxymaskError: it uses a removed part.
    """
    out = _without(_without_objects(about, where), KEYS, where)
    _check_mode(out, where)
    return _renamed(out, {"handover": "proxy_mask_mode"})


def preset(stored: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The changes that a preset file makes, under the current names.

    Raises:
        ProxymaskError: it uses a removed part.
    """
    out = _without(_without_objects(stored, where), KEYS, where)
    for stage in out.keys() & (SETTINGS.keys() | RENAMED_SETTINGS.keys()):
        if isinstance(out[stage], dict):
            changes = _without(out[stage], SETTINGS.get(stage, ()), f"{where}: {stage}")
            _check_mode(changes, f"{where}: {stage}")
            out[stage] = _renamed(changes, RENAMED_SETTINGS.get(stage, {}))
    return out


def _check_mode(values: Mapping[str, Any], where: object) -> None:
    if values.get("handover") in REMOVED_MODES:
        _refuse(where, f"the handover {values['handover']!r}")


def _refuse(where: object, part: str) -> NoReturn:
    raise ProxymaskError(f"{where}: {part} was removed; proxymask {LAST_VERSION} is the last version that reads it")


def _without_objects(values: Mapping[str, Any], where: object) -> dict[str, Any]:
    for name in values.keys() & OBJECTS.keys():
        if isinstance(values[name], dict):
            _without(values[name], (OBJECTS[name],), f"{where}: {name}")
    return {key: value for key, value in values.items() if key not in OBJECTS}


def _without(values: Mapping[str, Any], rows: tuple[Removed, ...], where: object) -> dict[str, Any]:
    """``values`` without the keys of ``rows``; a :class:`ProxymaskError` if one is in use."""
    out = dict(values)
    for row in rows:
        key = _in_use(out, row)
        if key is not None:
            _refuse(where, f"{row.part} ({key} {out[key]!r})")
        out = _dropped(out, row)
    return out


def _in_use(values: Mapping[str, Any], row: Removed, prefix: str = "") -> str | None:
    """The first key of ``row`` whose value uses the removed part; None if no value does."""
    return next((prefix + key for key, off in row.off.items() if values.get(prefix + key, off) != off), None)


def _dropped(values: Mapping[str, Any], row: Removed, prefix: str = "") -> dict[str, Any]:
    gone = {prefix + key for key in (*row.off, *row.unused)}
    return {key: value for key, value in values.items() if key not in gone}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    out = {}
    for key, value in values.items():
        out[names.get(key, key)] = MODE_NAMES.get(value, value) if key in MODE_KEYS else value
    return out
