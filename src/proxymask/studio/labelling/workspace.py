"""The folder where the studio keeps labels, trained bundles and jobs.

    WORKSPACE/labels/ID/    about.json, labels.json, and for each labelled sample sSEED.png, sSEED.json (its sidecar), sSEED.mask.png
    WORKSPACE/models/NAME/  bundles that were trained here, with NAME.work next to each
    WORKSPACE/jobs/ID/      job.json, log.jsonl

A folder of labels is what ``proxymask fit --labels`` takes. It is made when the first label set is; nothing is ever deleted: what a person
removes is renamed to ``NAME.removed-N``.
"""

import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ProxymaskError
from ...core.files import free_name, read_json, write_json
from ...core.hashing import json_hash
from ...imaging.labels import LabelSet
from ...imaging.masks import read_mask, resize_mask, write_mask
from ...inference.samples import SampleNetworks, write_samples
from ..catalogue import Model
from ..errors import ConflictError, NotFoundError

MOST_SETS, MOST_SAMPLES = 64, 64
SAMPLE = re.compile(r"s(\d{1,10})\.mask\.png")


@dataclass(frozen=True)
class LabelFolder:
    """A label set with its labelled samples.

    ``labels``: the classes; ``bundle`` and ``generator``: the name of the bundle whose samples are labelled, and the hash of its generator.
    """

    id: str
    name: str
    bundle: str
    generator: str
    labels: LabelSet
    folder: Path

    def samples(self) -> list[int]:
        """Seeds of the labelled samples, in the order in which they were first labelled."""
        found = [(path.stat().st_mtime, int(match[1])) for path in self.folder.iterdir() if (match := SAMPLE.fullmatch(path.name))]
        known = read_json(self.folder / "about.json").get("order", [])
        rank = {seed: place for place, seed in enumerate(known)}
        return [seed for _, seed in sorted(found, key=lambda pair: (rank.get(pair[1], len(rank)), pair))]

    def mask(self, seed: int) -> np.ndarray:
        """The mask of a labelled sample, ids (H, W).

        Raises:
            NotFoundError: that sample is not labelled.
        """
        path = self.folder / f"s{seed}.mask.png"
        if not path.is_file():
            raise NotFoundError(f"sample {seed} has no labels in {self.name}")
        return read_mask(path, self.labels)

    def editor(self, seed: int) -> str | None:
        """Who wrote the mask of a sample last, as :meth:`Workspace.write_mask` was given it."""
        found = read_json(self.folder / "about.json").get("editors", {}).get(str(seed))
        return None if found is None else str(found)

    def about(self) -> dict[str, Any]:
        """What a page needs to know."""
        labels = [{"id": one.id, "name": one.name, "color": one.hex} for one in self.labels.labels]
        return {
            "id": self.id,
            "name": self.name,
            "bundle": self.bundle,
            "labels": labels,
            "version": self.version,
            "samples": self.samples(),
        }

    @property
    def version(self) -> str:
        """A hash of the names of the labels: what the ids in a mask mean."""
        return json_hash(self.labels.names)

    def check_model(self, model: Model) -> None:
        """A :class:`ConflictError` where the bundle has another generator by now, whose samples the masks do not fit."""
        if model.generator != self.generator:
            raise ConflictError(
                f"the labels of {self.name} were made for another generator than the bundle {self.bundle} has: make a new label set, "
                "or start the studio with the bundle that they were made with"
            )

    def check_version(self, version: str | None) -> None:
        """A :class:`ConflictError` where the labels are no longer those of ``version``; None: whatever they are."""
        if version not in (None, self.version):
            raise ConflictError("the labels of this set were changed elsewhere: open the set again")


class Workspace:
    """See the module. All methods may be called from any thread.

    Args:
        root: made when something is first kept in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock = threading.RLock()

    @property
    def models(self) -> Path:
        """Folder of trained bundles."""
        return self.root / "models"

    @property
    def jobs(self) -> Path:
        """Folder of jobs."""
        return self.root / "jobs"

    def bundles(self) -> list[Path]:
        """The finished bundles in it."""
        return sorted(path.parent for path in self.models.glob("*/bundle.json") if ".removed-" not in path.parent.name)

    def sets(self) -> list[LabelFolder]:
        """All label sets that can be read, the oldest first."""
        found = []
        for path in (self.root / "labels").glob("*/about.json"):
            try:
                found.append((float(read_json(path)["made"]), self.open(path.parent.name)))
            except (ProxymaskError, KeyError, TypeError, ValueError):
                continue  # a folder that was removed or altered by hand
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def open(self, identity: str) -> LabelFolder:
        """A label set.

        Raises:
            NotFoundError: there is none.
        """
        if not re.fullmatch(r"[a-z0-9]{8}", identity):
            raise NotFoundError(f"no label set {identity[:40]!r} here")
        folder = self.root / "labels" / identity
        if not (folder / "about.json").is_file():
            raise NotFoundError(f"no label set {identity} here: it was removed, or the server was started in another folder")
        about = read_json(folder / "about.json")
        return LabelFolder(
            identity, str(about["name"]), str(about["bundle"]), str(about["generator"]), LabelSet.load(folder / "labels.json"), folder
        )

    def create(self, name: str, bundle: str, generator: str, labels: LabelSet) -> LabelFolder:
        """A new label set without samples.

        Raises:
            ProxymaskError: there are too many, or the folder cannot be written.
        """
        with self._writing():
            if len(self.sets()) >= MOST_SETS:
                raise ProxymaskError(f"there are {MOST_SETS} label sets already: remove one")
            identity = secrets.token_hex(4)
            folder = self.root / "labels" / identity
            folder.mkdir(parents=True)
            about = {"name": name, "bundle": bundle, "generator": generator, "made": time.time(), "order": []}
            try:
                labels.save(folder / "labels.json")
                write_json(folder / "about.json", about)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return self.open(identity)

    def change(
        self,
        identity: str,
        name: str | None,
        labels: LabelSet | None,
        former: Sequence[int | None] | None = None,
        version: str | None = None,
    ) -> LabelFolder:
        """Give a set another name or other labels.

        Args:
            labels: the new classes.
            former: for each new label the id that it had, None for a new one. Masks are changed accordingly; what was a label that is gone
                becomes label 0, and the masks as they were are put aside. Without it, ids stay.
            version: see :meth:`LabelFolder.check_version`.
        """
        with self._writing():
            old = self.open(identity)
            if labels is not None:
                old.check_version(version)
                before = list(range(len(labels))) if former is None else list(former)
                table = np.zeros(len(old.labels), np.uint8)
                for new, one in enumerate(before):
                    if one is not None and 0 <= one < len(table):
                        table[one] = new
                masks = {seed: table[old.mask(seed)] for seed in old.samples()}
                if not set(range(len(old.labels))) <= set(before):
                    copy_aside(old.folder, [old.folder / "labels.json", *(old.folder / f"s{seed}.mask.png" for seed in masks)])
                labels.save(old.folder / "labels.json")
                for seed, mask in masks.items():
                    self._replace_mask(old.folder, seed, mask, labels)
            if name is not None:
                about = read_json(old.folder / "about.json")
                write_json(old.folder / "about.json", {**about, "name": name})
            return self.open(identity)

    def remove(self, identity: str) -> None:
        """Put a set aside."""
        with self._writing():
            put_aside(self.open(identity).folder)

    def write_mask(
        self,
        identity: str,
        seed: int,
        mask: np.ndarray,
        model: Model,
        version: str | None = None,
        editor: str | None = None,
        after: str | None = None,
    ) -> None:
        """Keep the mask of a sample, ids (H, W) of any size that has the shape of the pictures, with the sample's picture and sidecar.

        Args:
            identity: of the set.
            seed: of the sample.
            mask: ids.
            model: the bundle whose sample it is.
            version: see :meth:`LabelFolder.check_version`.
            editor: a name for this page's work on the sample; None: no check for others.
            after: the editor of the mask that this page began with, None for none. A page that never got the answer to its last write may
                write again, because it is the editor itself by then.

        Raises:
            ConflictError: another page has labelled the sample since.
            ProxymaskError: ids that are no label, another shape, another generator, too many samples, a full disk.
        """
        with self._writing():
            found = self.open(identity)
            found.check_version(version)
            found.check_model(model)
            seeds = found.samples()
            if editor is not None and seed in seeds and found.editor(seed) not in (editor, after):
                raise ConflictError("this sample was labelled in another tab meanwhile: open it again")
            if seed not in seeds and len(seeds) >= MOST_SAMPLES:
                raise ProxymaskError(f"{found.name} has {MOST_SAMPLES} labelled samples already: 1 to 16 are enough")
            if int(mask.max()) >= len(found.labels):
                raise ProxymaskError(f"the mask holds {int(mask.max())}, and the labels of {found.name} are 0 to {len(found.labels) - 1}")
            resize_mask(mask, model.synth.size)  # refuses another shape
            if not (found.folder / f"s{seed}.json").is_file():
                with tempfile.TemporaryDirectory(dir=found.folder, prefix=".") as place:
                    write_samples(SampleNetworks.of(model.synth), [seed], place)
                    for suffix in (".png", ".json"):
                        shutil.move(f"{place}/000000{suffix}", found.folder / f"s{seed}{suffix}")
            self._replace_mask(found.folder, seed, mask, found.labels)
            about = read_json(found.folder / "about.json")
            order = about["order"] if seed in about["order"] else [*about["order"], seed]
            editors = {**about.get("editors", {}), str(seed): editor}
            if (order, editors) != (about["order"], about.get("editors")):
                write_json(found.folder / "about.json", {**about, "order": order, "editors": editors})

    def remove_mask(self, identity: str, seed: int) -> None:
        """Put the mask of a sample aside.

        Raises:
            NotFoundError: it has none.
        """
        with self._writing():
            found = self.open(identity)
            found.mask(seed)
            put_aside(found.folder / f"s{seed}.mask.png")

    def _replace_mask(self, folder: Path, seed: int, mask: np.ndarray, labels: LabelSet) -> None:
        temporary = folder / f".s{seed}.mask.tmp"
        write_mask(temporary, mask, labels)
        os.replace(temporary, folder / f"s{seed}.mask.png")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock; a full disk, or a folder that cannot be written, becomes a ProxymaskError."""
        with self._lock:
            try:
                yield
            except OSError as error:
                reason = error.strerror or str(error)
                raise ProxymaskError(
                    f"cannot write {self.root} ({reason}): make room, or start the studio with another --workspace"
                ) from None


def copy_aside(folder: Path, files: Sequence[Path]) -> None:
    """Copy files of ``folder`` into its subfolder before-N, so that a change of them loses nothing."""
    target = free_name(folder, "before")
    target.mkdir()
    for file in files:
        shutil.copy2(file, target / file.name)


def put_aside(path: Path) -> None:
    """Rename a file or folder to NAME.removed-N; it is no longer used, and nothing is lost."""
    os.replace(path, free_name(path.parent, f"{path.name}.removed"))
