"""The verb ``bundle add``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from ..core.text import shell_word
from .options import BundleName, OptionalName
from .streams import note

if TYPE_CHECKING:
    from ..imaging.labels import LabelSet
    from ..inference.bundle import Bundle
    from ..models.mappers import Mapper
    from ..models.stylegan2 import Generator


@dataclass(frozen=True)
class BundleAdd(Checked):
    """Add a trained mapper, a detail network or a segmenter to a bundle, or put a grown generator into it.

    A generator must have been grown from that of the bundle with --new-blocks-only. All other networks stay; those that read or make
    pictures get the larger size.

    Examples:
      proxymask bundle add runs/sketch --bundle avatars --out my-bundle
      proxymask bundle add runs/g128 --bundle my-bundle --out my-bundle-128
      proxymask generate --bundle my-bundle --condition sketch --input drawing.png --out picture.png
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of proxymask train mapper, train detail, train segmenter or train generator."""
    out: Path
    """Folder of the bundle to write; may be the folder of --bundle."""
    bundle: BundleName = "avatars"
    name: OptionalName = None
    """Name of the mapper in the bundle; that of its condition if not given. Of a detail network: the mapper whose input it reads."""

    def run(self) -> None:
        """Write the bundle."""
        from ..core.files import restore_folder
        from ..inference.bundle import Bundle, is_mapper_name
        from ..inference.find import find_bundle, is_bundle, list_bundles

        restore_folder(self.out)
        if is_bundle(self.run_folder):
            raise ProxymaskError(f"{self.run_folder} is a bundle: give the run folder of the network that is to be added")
        if self.name is not None and not is_mapper_name(self.name):
            raise ProxymaskError(
                f"--name {self.name}: a mapper's name is one part of a path, without / and \\, and does not begin with a dot"
            )
        bundle = Bundle.load(self.bundle)
        if not self.out.exists() and str(self.out) in list_bundles():
            raise ProxymaskError(f"--out {self.out} is the name of an embedded bundle: choose another --out")
        if is_bundle(self.out) and self.out.resolve() != find_bundle(self.bundle).resolve():
            raise ProxymaskError(f"{self.out} is a bundle already: add to it with --bundle {shell_word(self.out)}, or choose another --out")
        adders = {
            "mapper": self._add_mapper,
            "detail": self._add_detail,
            "segmenter": self._add_segmenter,
            "generator": self._put_generator,
        }
        part = next((part for part in adders if (self.run_folder / part).is_dir()), None)
        if part in ("segmenter", "generator") and self.name is not None:
            raise ProxymaskError(f"--name {self.name}: a bundle has one {part}, without a name; leave --name out")
        if part is None and (self.run_folder / "config.json").is_file() and self.run_folder.name in ("detail", "segmenter", "generator"):
            raise ProxymaskError(f"{self.run_folder} is a network alone: give the run folder of its training, {self.run_folder.parent}")
        if part is None and not (self.run_folder / "config.json").is_file():  # a saved mapper has one
            found = "holds no mapper, detail network, segmenter or generator" if self.run_folder.is_dir() else "does not exist"
            raise ProxymaskError(
                f"{self.run_folder} {found}: give the run folder of proxymask train mapper, detail, segmenter or generator"
            )
        card = bundle.written_card()
        done = adders[part or "mapper"](bundle)
        bundle.save(self.out, card=card)
        print(f"{self.out}: {done}")

    def _add_mapper(self, bundle: "Bundle") -> str:
        """Add a mapper, with the condition that it reads and the extractor that it learned from; returns what to say, as all of these."""
        from ..conditions.extractors import DEPTH_NET
        from ..core.files import read_json
        from ..inference.bundle import MASK
        from ..models.mappers import OasisMapper, load_mapper
        from ..training.parts import find_part, load_extractor

        mapper = load_mapper(find_part(self.run_folder, "mapper"))
        file = self.run_folder / "condition.json"
        about = read_json(file) if file.is_file() else dict(MASK)
        if not file.is_file() and not isinstance(mapper, OasisMapper):
            raise ProxymaskError(f"{self.run_folder} is a network alone, without its condition.json: give the run folder of its training")
        if file.is_file() and isinstance(mapper, OasisMapper):
            raise ProxymaskError(
                f"{self.run_folder} is no run of proxymask train mapper: its condition.json does not fit its mapper; train it again"
            )
        trained_with = self._trained_with()
        self._check(bundle, mapper, trained_with)
        if about["condition"] in ("mask", "scribble") and (self.run_folder / "labels.json").is_file():
            self._take_labels(bundle)
        name = self.name or about["condition"]
        mode = about.pop("proxy_mask_mode", trained_with.get("config.proxy_mask_mode"))
        ours = bundle.about.get("proxy_mask_mode", "soft")
        if mode is not None and not bundle.mappers:
            bundle.about["proxy_mask_mode"] = mode
        elif mode not in (None, ours):
            note(f"note: the mapper was trained for proxy masks of the mode {mode}, the bundle uses {ours}")
        if name in bundle.mappers:
            note(
                f"note: {self.out} gets this mapper in place of the {name} of --bundle {self.bundle}; --name keeps both. Edit its README.md"
            )
        if name in bundle.details:
            note(f"note: the detail network of the old {name} is left out: train one for the new mapper (proxymask train detail)")
        bundle.remove_mapper(name)
        bundle.mappers[name] = mapper
        if about["condition"] != "mask":
            bundle.conditions[name] = about
        extractor = load_extractor(self.run_folder)
        if extractor is not None:
            bundle.extractors[name] = extractor
        elif about.get("extractor") == DEPTH_NET:
            note(f"note: {self.run_folder} keeps no depth network, so {self.out} has none for {name}: --from-photo needs --weights")
        return f"mappers {bundle.mappers_text()}"

    def _trained_with(self) -> dict[str, Any]:
        """The settings and inputs of the run, see ``identity_of``; empty where the run says nothing."""
        from ..training.run_dirs import mark_of

        return (mark_of(self.run_folder) or {}).get("identity", {})

    def _add_detail(self, bundle: "Bundle") -> str:
        """Add a detail network for the input of a mapper of the bundle, with which it was trained."""
        from ..core.hashing import short_hash
        from ..models.detail_network import DetailNetwork
        from ..training.parts import find_part

        name = self.name or "mask"
        if name not in bundle.mappers:
            raise ProxymaskError(f"--name {name}: the bundle {bundle.name} has no such mapper (it has: {bundle.mappers_text()})")
        network = DetailNetwork.from_pretrained(find_part(self.run_folder, "detail"))
        trained_with = self._trained_with()
        parts = {
            "generator": bundle.generator,
            "clusters": bundle.clusters,
            "rearranger": bundle.rearranger,
            "mapper": bundle.mappers[name],
        }
        for part, module in parts.items():
            if trained_with.get(part) != short_hash(module):
                raise ProxymaskError(
                    f"{self.run_folder} was trained with another {part} than the one of --bundle {self.bundle} for {name}: give the "
                    "--bundle, and as --name the mapper, that it was trained with"
                )
        if name in bundle.details:
            note(f"note: {self.out} gets this detail network in place of the one for {name} of --bundle {self.bundle}; edit its README.md")
        bundle.details[name] = network
        return f"detail networks for {bundle.details_text()}"

    def _add_segmenter(self, bundle: "Bundle") -> str:
        """Add a segmenter of samples of the bundle's generator, and with it the label set where the bundle has none."""
        from ..core.hashing import short_hash
        from ..models.few_shot_segmenter import FewShotSegmenter
        from ..training.parts import load_part

        segmenter = load_part(self.run_folder, "segmenter", FewShotSegmenter)
        trained_with = self._trained_with()
        if trained_with.get("generator") != short_hash(bundle.generator):
            raise ProxymaskError(
                f"{self.run_folder} was trained with another generator than the one of --bundle {self.bundle}: give the --bundle that it "
                "was trained with"
            )
        labels = self._take_labels(bundle)
        if bundle.segmenter is not None:
            note(f"note: {self.out} gets this segmenter in place of that of --bundle {self.bundle}; edit its README.md")
        bundle.segmenter = segmenter
        return f"a segmenter of {len(labels)} labels"

    def _take_labels(self, bundle: "Bundle") -> "LabelSet":
        """The labels of the run, which a bundle without labels gets; they must be those of one that has some."""
        from ..inference.samples import read_label_set

        labels = read_label_set(self.run_folder)
        if bundle.labels is not None and labels.names != bundle.labels.names:
            raise ProxymaskError(
                f"{self.run_folder} has the labels {', '.join(labels.names)}, the bundle {bundle.name} has "
                f"{', '.join(bundle.labels.names)}: paint masks with the bundle's labels, or train its mappers for the new ones"
            )
        bundle.labels = bundle.labels or labels
        return labels

    def _put_generator(self, bundle: "Bundle") -> str:
        """Put a generator that was grown from the bundle's own into it. All else reads the old blocks, which have to be the same."""
        from ..core.hashing import weights_hash
        from ..core.sizes import size_text
        from ..models.growing import grow_detail_network, grow_segmenter
        from ..models.stylegan2 import Generator
        from ..training.parts import load_part

        generator = load_part(self.run_folder, "generator", Generator)
        changed = "its pictures are no larger" if generator.resolution <= bundle.resolution else _changed(bundle.generator, generator)
        if changed:
            raise ProxymaskError(
                f"the generator in {self.run_folder} was not grown from --bundle {self.bundle} by new blocks alone ({changed}), and "
                f"clusters and mappers do not fit: train it by proxymask train generator --grow-from {self.bundle} --new-blocks-only True, "
                "or make a new bundle of it (proxymask fit --generator)"
            )
        factor = generator.resolution // bundle.resolution
        bundle.details = {name: grow_detail_network(network, factor) for name, network in bundle.details.items()}
        if bundle.segmenter is not None:
            channels = map(generator.synthesis.channels, generator.synthesis.block_resolutions)
            bundle.segmenter = grow_segmenter(bundle.segmenter, list(channels))
        bundle.generator = generator
        bundle.about["generator"] = weights_hash(generator)
        note(f"note: the name is still that of the old bundle, and the card where somebody wrote it: edit {self.out / 'README.md'}")
        return f"pictures of {size_text(bundle.size)}; mappers {bundle.mappers_text()}"

    def _check(self, bundle: "Bundle", mapper: "Mapper", trained_with: dict[str, Any]) -> None:
        """The mapper must have been trained with the bundle's own generator and clusters."""
        from ..core.hashing import short_hash

        for part, module in (("generator", bundle.generator), ("clusters", bundle.clusters)):
            theirs = trained_with.get(part)
            if theirs not in (None, short_hash(module)):
                raise ProxymaskError(
                    f"{self.run_folder} was trained with another {part} ({theirs}) than that of --bundle {self.bundle}: "
                    "name the bundle that it was trained with"
                )
        if mapper.size != bundle.clusters.size or mapper.config["num_clusters"] != bundle.clusters.num_clusters:
            raise ProxymaskError(
                f"the mapper in {self.run_folder} makes proxy masks of another size or number of clusters than --bundle {self.bundle}: "
                "train it with that bundle"
            )


def _changed(old: "Generator", new: "Generator") -> str:
    """The first setting, or tensor of the blocks of ``old``, in which two generators differ as float16, in which bundles are stored; "" for
    none."""
    free = ("resolution", "channel_base", "channel_max", "num_fp16_res")
    for name, setting in old.config.items():
        if name not in free and new.config[name] != setting:
            return name
    theirs = new.state_dict()
    for name, value in old.state_dict().items():
        other = theirs.get(name)
        if other is None or other.shape != value.shape or not other.half().equal(value.half()):
            return name
    return ""
