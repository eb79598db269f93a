"""The verb ``bundle add``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..core.checks import Checked
from ..core.errors import ProxymaskError
from .options import BundleName, OptionalName
from .streams import note

if TYPE_CHECKING:
    from ..inference.bundle import Bundle
    from ..models.mappers import Mapper


@dataclass(frozen=True)
class BundleAdd(Checked):
    """Add a trained mapper, or a detail network, to a bundle.

    Examples:
      proxymask bundle add runs/sketch --bundle avatars --out my-bundle
      proxymask generate --bundle my-bundle --condition sketch --input drawing.png --out picture.png
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of proxymask train mapper or train detail."""
    out: Path
    """Folder of the bundle to write; may be the folder of --bundle."""
    bundle: BundleName = "avatars"
    name: OptionalName = None
    """Name of the mapper in the bundle; that of its condition if not given. Of a detail network: the mapper whose input it reads."""

    def run(self) -> None:
        """Write the bundle."""
        from ..conditions.extractors import DEPTH_NET
        from ..core.files import read_json, restore_folder
        from ..inference.bundle import MASK, Bundle
        from ..models.mappers import OasisMapper, load_mapper
        from ..training.parts import find_part, load_extractor
        from ..training.run_dirs import mark_of

        restore_folder(self.out)
        bundle = Bundle.load(self.bundle)
        if (self.run_folder / "detail").is_dir() and not (self.run_folder / "mapper").is_dir():
            self._add_detail(bundle)
            return
        mapper = load_mapper(find_part(self.run_folder, "mapper"))
        file = self.run_folder / "condition.json"
        about = read_json(file) if file.is_file() else dict(MASK)
        if file.is_file() == isinstance(mapper, OasisMapper):
            raise ProxymaskError(
                f"{self.run_folder} is no run of proxymask train mapper: its condition.json does not fit its mapper; train it again"
            )
        self._check(bundle, mapper, (mark_of(self.run_folder) or {}).get("identity", {}))
        name = self.name or about["condition"]
        mode, ours = about.pop("proxy_mask_mode", None), bundle.about.get("proxy_mask_mode", "soft")
        if mode not in (None, ours):
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
        self._save(bundle)
        print(f"{self.out}: mappers {bundle.mappers_text()}")

    def _save(self, bundle: "Bundle") -> None:
        from ..inference.bundle import find_bundle

        card = find_bundle(self.bundle) / "README.md"
        bundle.save(self.out, card=card.read_text(encoding="utf-8") if card.is_file() else None)

    def _add_detail(self, bundle: "Bundle") -> None:
        """Add a detail network for the input of a mapper of the bundle, with which it was trained."""
        from ..core.hashing import short_hash
        from ..models.detail_network import DetailNetwork
        from ..training.parts import find_part
        from ..training.run_dirs import mark_of

        name = self.name or "mask"
        if name not in bundle.mappers:
            raise ProxymaskError(f"--name {name}: the bundle {bundle.name} has no such mapper (it has: {bundle.mappers_text()})")
        network = DetailNetwork.from_pretrained(find_part(self.run_folder, "detail"))
        trained_with = (mark_of(self.run_folder) or {}).get("identity", {})
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
        self._save(bundle)
        print(f"{self.out}: detail networks for {bundle.details_text()}")

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
