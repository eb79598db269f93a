"""A bundle: everything needed to make pictures from masks and drawings, as one folder of safetensors and JSON.

``bundle.json``   format, name, sizes, conditions, licences, how it was made, and the SHA-256 of every file
``labels.json``   the label set of the masks (where a mapper is there)
``README.md``     the model card
``generator/``, ``clusters/``, ``rearranger/``, ``segmenter/``, ``mappers/<condition>/``, ``details/<condition>/``,
``extractors/<condition>/``   ``config.json`` and ``model.safetensors`` each
"""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

from ..core import legacy
from ..core.checks import checked
from ..core.config_model import ConfigModel
from ..core.device import resolve_device
from ..core.errors import ProxymaskError, os_reason
from ..core.files import read_json, real_folder, replace_folder, write_json
from ..core.hashing import file_hash
from ..core.sizes import START, Size, as_size, size_text
from ..core.text import printable
from ..core.version import __version__
from ..imaging.labels import LabelSet
from ..models.depth_net import DepthNet
from ..models.detail_network import DetailNetwork
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.mappers import Mapper, load_mapper
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from ..models.unet_mapper import UNetMapper
from .find import find_bundle, list_bundles

# 1: mappers of masks only, which is still written where there are no others, so that older versions read it; 3: not from 4x4, which is
# written for no other reason
BUNDLE_FORMAT = 3
MASK: dict[str, Any] = {"condition": "mask"}
SEVERAL = ("mappers", "details", "extractors")  # fields that hold networks by mapper
TERMS = "## Extractors that the mappers learned from"  # heading in README.md


@dataclasses.dataclass
class Bundle:
    """Networks and label set of one model, in memory.

    It can be pickled and deep-copied: the copy carries the weights, in eval mode and without gradients, and is on the same device.
    """

    generator: Generator
    cut: int
    """Resolution at which the generator is split."""
    clusters: ProxyClusters
    rearranger: Rearranger
    labels: LabelSet | None = None
    segmenter: FewShotSegmenter | None = None
    mappers: dict[str, Mapper] = dataclasses.field(default_factory=dict)
    name: str = "unnamed"
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Free JSON for the card: licences, data, commands, numbers, ``proxy_mask_mode``."""
    folder: Path | None = None
    """Where it was read from or saved to."""
    conditions: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """By mapper: the condition it reads, as ``Condition.about`` says, and the ``terms`` of the extractor that it learned from. A mapper
    that is not in it reads masks."""
    details: dict[str, DetailNetwork] = dataclasses.field(default_factory=dict)
    """By mapper: the detail network for what that mapper reads, where there is one."""
    extractors: dict[str, DepthNet] = dataclasses.field(default_factory=dict)
    """By mapper: the extractor that it learned from, where that is a network of the user's own making (``depth-net``)."""

    @property
    def resolution(self) -> int:
        """The generator's resolution, which is the side of square pictures."""
        return self.generator.resolution

    @property
    def size(self) -> Size:
        """Side of the pictures; (height, width) where they are not square."""
        return as_size(self.generator.picture_size)

    @checked
    def condition_of(self, mapper: str) -> dict[str, Any]:
        """What is known of the condition that a mapper reads: at least ``condition``, its name."""
        return self.conditions.get(mapper, MASK)

    def remove_mapper(self, name: str) -> None:
        """Remove a mapper, if there is one of this name, with all that belongs to it: condition, detail network, extractor."""
        for belonging in (self.mappers, self.conditions, self.details, self.extractors):
            belonging.pop(name, None)

    @checked
    def mapper_for(self, condition: str) -> str:
        """The name of the mapper that reads ``condition``: the one called like it, else the first.

        Raises:
            ProxymaskError: there is none; the message says what there is.
        """
        able = [name for name in sorted(self.mappers) if self.condition_of(name)["condition"] == condition]
        if not able:
            have = ", ".join(sorted({str(self.condition_of(name)["condition"]) for name in self.mappers})) or "none"
            others = [name for name in list_bundles() if condition in read_json(find_bundle(name) / "bundle.json")["mappers"]]
            more = f"; the embedded {' and '.join(others)} can read {condition}" if others else ""
            raise ProxymaskError(
                f"the bundle {self.name} has no mapper for {condition} (it reads: {have}): train one with "
                f"proxymask train mapper --condition {condition}, and put it in with proxymask bundle add{more}"
            )
        return condition if condition in able else able[0]

    @checked
    def input_size(self, condition: str, mapper: str | None = None) -> Size:
        """The size at which an input of ``condition`` is read: that of the pictures that its mapper was trained with.

        That is smaller than the bundle's pictures where the generator has grown since. Lines and depth are then found, and thin lines made
        full, at the mapper's own size, so that it answers as before.

        Args:
            mapper: the one that is to read it; that for the condition where None. Without one it is the size of the pictures.
        """
        able = (name for name in self.mappers if self.condition_of(name)["condition"] == condition)
        reader = self.mappers.get(mapper or (self.mapper_for(condition) if any(able) else ""))
        return as_size(reader.input_size) if isinstance(reader, UNetMapper) else self.size

    def split_generator(self) -> SplitGenerator:
        """The generator, split at ``cut``; it shares the weights."""
        return SplitGenerator(self.generator, self.cut).eval().requires_grad_(False)

    def parts(self) -> dict[str, ConfigModel]:
        """Every network by its folder in the bundle."""
        out: dict[str, ConfigModel] = {"generator": self.generator, "clusters": self.clusters, "rearranger": self.rearranger}
        if self.segmenter is not None:
            out["segmenter"] = self.segmenter
        out |= {f"mappers/{name}": mapper for name, mapper in self.mappers.items()}
        out |= {f"details/{name}": network for name, network in self.details.items()}
        return out | {f"extractors/{name}": network for name, network in self.extractors.items()}

    def to(self, device: str | torch.device) -> "Bundle":
        """Move every network; returns this bundle itself. Raises :class:`ProxymaskError` where the device is not there."""
        device = resolve_device(device)
        for part in self.parts().values():
            part.to(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Plain data instead of modules, because PyTorch does not pickle spectral norms."""
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("generator", "clusters", "rearranger", "segmenter"):
            state[name] = None if state[name] is None else _network_state(state[name])
        for several in SEVERAL:
            state[several] = {name: _network_state(network) for name, network in getattr(self, several).items()}
        return state | {"device": str(next(self.generator.parameters()).device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Raises :class:`ProxymaskError` where the device it was on is not there."""
        device = resolve_device(state.pop("device"))
        for name in ("generator", "clusters", "rearranger", "segmenter"):
            state[name] = None if state[name] is None else _network_from_state(state[name])
        for several in SEVERAL:
            state[several] = {name: _network_from_state(stored) for name, stored in state[several].items()}
        self.__dict__.update(state)
        self.to(device)

    @checked
    def save(self, folder: str | Path, half: bool = True, card: str | None = None) -> Path:
        """Write the bundle whole or not at all: a folder under a temporary name takes the place of the old one at the end.

        Args:
            folder: where.
            half: store weights as float16 (half the size; the clusters stay float32).
            card: text of README.md, without the terms of extractors, which are added; a plain one is written where none is given.
        """
        folder = Path(folder)
        if folder.is_file():
            raise ProxymaskError(f"{folder} is a file: a bundle is a folder, choose another --out")
        if folder.exists() and any(folder.iterdir()) and not (folder / "bundle.json").is_file():
            raise ProxymaskError(f"{folder} is not empty and holds no bundle: choose another --out")
        real = real_folder(folder)
        temporary = real.with_name(f".{real.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            for name, part in self.parts().items():
                part.save_pretrained(temporary / name, half=half)
            if self.labels is not None:
                self.labels.save(temporary / "labels.json")
            (temporary / "README.md").write_text(self.with_terms(card or self.card()), encoding="utf-8", errors="backslashreplace")
            files = sorted(p for p in temporary.rglob("*") if p.is_file())
            write_json(
                temporary / "bundle.json",
                {
                    "format": BUNDLE_FORMAT if self.generator.start != START else 2 if self.conditions else 1,
                    "proxymask": __version__,
                    "name": self.name,
                    "resolution": self.resolution,
                    "cut": self.cut,
                    **({"start": self.generator.start} if self.generator.start != START else {}),
                    "mappers": sorted(self.mappers),
                    **({"conditions": dict(sorted(self.conditions.items()))} if self.conditions else {}),
                    **({"details": sorted(self.details)} if self.details else {}),
                    **({"extractors": sorted(self.extractors)} if self.extractors else {}),
                    "segmenter": self.segmenter is not None,
                    "about": self.about,
                    "sha256": {p.relative_to(temporary).as_posix(): file_hash(p) for p in files},
                },
            )
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = os_reason(error)
            raise ProxymaskError(f"cannot write the bundle {folder} ({reason}); nothing of the old one was touched") from None
        replace_folder(temporary, real)
        self.folder = folder
        return folder

    def mappers_text(self) -> str:
        """The mappers' names, with what each reads where the name does not say it."""
        shown = []
        for name in sorted(self.mappers):
            condition = self.condition_of(name)["condition"]
            shown.append(name if condition == name else f"{name} (reads: {condition})")
        return ", ".join(shown) or "none"

    def details_text(self) -> str:
        """The names of the mappers that have a detail network."""
        return ", ".join(sorted(self.details)) or "none"

    def card(self) -> str:
        """A plain model card from what the bundle knows of itself."""
        lines = [f"# {self.name}", "", f"A Proxymask bundle: {size_text(self.size)} pictures, cut at {self.cut}."]
        details = f" Detail networks: {self.details_text()}." if self.details else ""
        lines += [f"{self.clusters.num_clusters} proxy clusters. Mappers: {self.mappers_text()}.{details}", ""]
        if self.labels is not None:
            lines += ["Labels: " + ", ".join(f"{label.id} {label.name}" for label in self.labels.labels), ""]
        said = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in self.about.items()}
        lines += [f"- {key}: {value}" for key, value in said.items()]
        return "\n".join(lines) + "\n"

    def written_card(self) -> str | None:
        """The README.md in its folder where somebody wrote it; None where there is none, or it is the plain card of this bundle."""
        file = None if self.folder is None else self.folder / "README.md"
        text = file.read_text(encoding="utf-8", errors="replace") if file is not None and file.is_file() else None
        return None if text == self.with_terms(self.card()) else text

    def with_terms(self, card: str) -> str:
        """``card`` with a section, at its end, on source and licence of the extractors that the mappers learned from."""
        text = re.sub(rf"\n*{TERMS}\n\n(- .*\n)*", "\n", card)
        terms = [f"- {name}: {about['terms']}" for name, about in sorted(self.conditions.items()) if about.get("terms")]
        return "\n".join([text.rstrip("\n"), "", TERMS, "", *terms]) + "\n" if terms else text

    @classmethod
    @checked
    def from_pretrained(
        cls,
        source: str | Path = "avatars",
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> "Bundle":
        """Open a bundle on the CPU, in float32.

        Args:
            source: a folder, the name of an embedded bundle (:func:`list_bundles`), or a name on the hub ("user/model").
            revision, token, cache_dir: for names on the hub, see :func:`find_bundle`.

        Raises:
            ProxymaskError: not found, damaged (which file), or of another version.
        """
        return cls.load(find_bundle(source, revision=revision, token=token, cache_dir=cache_dir))

    @classmethod
    @checked
    def load(cls, source: str | Path) -> "Bundle":
        """:meth:`from_pretrained` without the arguments of the hub."""
        folder = find_bundle(source)
        problems = check_bundle(folder)
        if problems:
            raise ProxymaskError(f"{folder}: " + "; ".join(problems))
        about = read_json(folder / "bundle.json")
        said = legacy.bundle_about(about["about"], folder / "bundle.json")
        clusters = ProxyClusters.from_pretrained(folder / "clusters")
        rearranger = Rearranger.from_pretrained(folder / "rearranger")
        rearranger.centroids.copy_(clusters.centroids)  # its own copy may have been rounded to float16, which moves ties
        generator, cut = Generator.from_pretrained(folder / "generator"), int(about["cut"])
        details = {name: DetailNetwork.from_pretrained(folder / "details" / name) for name in about.get("details", [])}
        for name, network in details.items():
            _check_detail_network(network, generator, cut, folder / "details" / name)
        return cls(
            generator=generator,
            cut=cut,
            clusters=clusters,
            rearranger=rearranger,
            labels=LabelSet.load(folder / "labels.json") if (folder / "labels.json").is_file() else None,
            segmenter=FewShotSegmenter.from_pretrained(folder / "segmenter") if about["segmenter"] else None,
            mappers={name: load_mapper(folder / "mappers" / name) for name in about["mappers"]},
            conditions=about.get("conditions", {}),
            details=details,
            extractors={name: DepthNet.from_pretrained(folder / "extractors" / name) for name in about.get("extractors", [])},
            name=str(about["name"]),
            about=said,
            folder=folder,
        )


def _check_detail_network(network: DetailNetwork, generator: Generator, cut: int, place: Path) -> None:
    """It must read what the first block after the split makes."""
    here = generator.resolution, cut, generator.synthesis.channels(2 * cut)
    reads = tuple(network.config[name] for name in ("resolution", "cut", "out_channels"))
    if reads != here:
        raise ProxymaskError(
            f"{place} is for pictures of {reads[0]} pixels, a split at {reads[1]} and {reads[2]} channels; the bundle has {here[0]}, "
            f"{here[1]} and {here[2]}: take {place.name} out of details in bundle.json, and train a new one (proxymask train detail)"
        )


def _network_state(model: ConfigModel) -> dict[str, Any]:
    """A network as its class, config and tensors, on the CPU."""
    config = dict(model.config)
    if isinstance(model, Generator):
        config["seed_style"] = model.seed_style  # may be set after construction
    return {"class": type(model), "config": config, "tensors": {name: value.cpu() for name, value in model.state_dict().items()}}


def _network_from_state(state: dict[str, Any]) -> Any:
    model = state["class"](**state["config"])
    model.load_state_dict(state["tensors"])
    return model.eval().requires_grad_(False)


def is_mapper_name(name: object) -> bool:
    """Whether a mapper may be called so: a printable name of up to 100 characters that is one part of a path on every system."""
    return isinstance(name, str) and name.isprintable() and bool(re.fullmatch(r"[^./\\:\s][^/\\:]{0,99}", name))


_KINDS = {"cut": int, "mappers": list, "sha256": dict, "name": str, "about": dict}  # of fields of a bundle.json
_OPTIONAL_KINDS = {"details": list, "extractors": list, "conditions": dict}


def _names(about: Mapping[str, Any]) -> list[Any]:
    """All names of mappers in a bundle.json."""
    return [name for field in (*SEVERAL, "conditions") for name in about.get(field) or ()]


def check_bundle(folder: Path, hashes: bool = True) -> list[str]:
    """What is wrong with a bundle, one phrase a problem; an empty list if it is whole.

    ``hashes``: also compare every file with its SHA-256.
    """
    if not (folder / "bundle.json").is_file():
        return ["no bundle.json here: this is no bundle, or an unfinished one"]
    try:
        about: Any = read_json(folder / "bundle.json")
    except ProxymaskError as error:
        return [error.message]
    if not isinstance(about, Mapping) or not {"format", "cut", "mappers", "segmenter", "sha256", "name", "about"} <= about.keys():
        return ["bundle.json lacks fields: it is damaged"]
    wrong = [name for name, kind in _KINDS.items() if not isinstance(about[name], kind)]
    wrong += [name for name, kind in _OPTIONAL_KINDS.items() if about.get(name) is not None and not isinstance(about[name], kind)]
    if wrong:
        return [f"bundle.json holds no {' and no '.join(wrong)} that can be read: it is damaged; copy the bundle again"]
    if about["format"] not in range(1, BUNDLE_FORMAT + 1):
        made = about.get("proxymask", "an unknown version")
        ours = f"this is proxymask {__version__} and reads format 1 to {BUNDLE_FORMAT}"
        return [f"bundle format {about['format']} (made by proxymask {made}), {ours}"]
    problems = [
        f"bundle.json names a mapper {printable(str(name))}, which is no name" for name in _names(about) if not is_mapper_name(name)
    ]
    for name, digest in about["sha256"].items():
        path = folder / name
        if ".." in PurePath(name).parts or PurePath(name).is_absolute():
            problems.append(f"bundle.json names the file {printable(name)}, which is outside of it: get the bundle again")
        elif not path.is_file():
            problems.append(f"{name} is missing: copy the bundle again")
        elif hashes and name != "README.md" and file_hash(path) != digest:
            problems.append(f"{name} is damaged (its SHA-256 differs): copy the bundle again")
    return problems
