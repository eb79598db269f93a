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
    """Add a trained mapper to a bundle.

    Examples:
      proxymask bundle add runs/sketch --bundle avatars --out my-bundle
      proxymask generate --bundle my-bundle --condition sketch --input drawing.png --out picture.png
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of proxymask train mapper."""
    out: Path
    """Folder of the bundle to write; may be the folder of --bundle."""
    bundle: BundleName = "avatars"
    name: OptionalName = None
    """Name of the mapper in the bundle; that of its condition if not given."""

    def run(self) -> None:
        """Write the bundle."""
        from ..core.files import read_json, restore_folder
        from ..inference.bundle import MASK, Bundle, find_bundle
        from ..models.mappers import OasisMapper, load_mapper
        from ..training.parts import find_part
        from ..training.run_dirs import mark_of

        restore_folder(self.out)
        bundle = Bundle.load(self.bundle)
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
            note(f"note: {self.out} gets this mapper in place of the {name} of --bundle {self.bundle}; --name keeps both")
        bundle.mappers[name] = mapper
        bundle.conditions.pop(name, None)
        if about["condition"] != "mask":
            bundle.conditions[name] = about
        card = find_bundle(self.bundle) / "README.md"
        bundle.save(self.out, card=card.read_text(encoding="utf-8") if card.is_file() else None)
        print(f"{self.out}: mappers {bundle.mappers_text()}")

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
