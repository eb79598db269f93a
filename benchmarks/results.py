"""Make ``docs/results.md`` and its plots from the JSON files in ``docs/results``: what is measured, what is a toy, and what is missing.

    python benchmarks/results.py

Every section is one screen: what was found in a sentence, where the method loses, one table, one plot; all other numbers are folded.
Sentences are computed from the same numbers as the tables. The sections are in ``results_page``.
"""

import dataclasses
from pathlib import Path

import tyro
from results_page import ablations, conditions, details, evaluation, parts, rivals, speed, style_colors
from results_page.form import joined

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = (
    evaluation.section,
    details.section,
    style_colors.section,
    speed.section,
    parts.section,
    ablations.published,
    ablations.losses,
    ablations.clusters,
    ablations.label_curve,
    rivals.wall_time,
    rivals.baselines,
    conditions.section,
)
HEAD = """\
Pictures are drawn (avatars, churches), so their exact masks are known. Nothing was ever tuned on the third domain, face photographs;
they have no masks. The **judges** are segmentation networks that took no part in making a model; the second one has another
architecture. **Distance** is the Fréchet distance to real pictures in the features of the first judge, of faces in those of
EfficientNet-Lite0. It is no FID, because Inception's weights are not part of this project (`proxymask evaluate --features inception`
computes FID and KID where they are). A row of fewer than 10,000 rearranger steps is marked short; one of fewer than 4,000, the steps of
the default `fit`, is marked **toy** and is no result.

`python benchmarks/results.py` makes this page from the JSON files in `docs/results/`. Run the commands in the folder `benchmarks`; the
data and trainings that they need are in [benchmarks/README.md](../benchmarks/README.md). What was decided by these numbers:
[decisions.md](decisions.md)."""


def document(folder: Path) -> str:
    """The whole of ``results.md``; plots are written to ``plots`` in the folder of the JSON files."""
    sections = [section for make in SECTIONS if (section := make(folder)) is not None]
    contents = "\n".join(section.line() for section in sections)
    return joined(["# Results", HEAD, contents, *(section.text() for section in sections)])


@dataclasses.dataclass(frozen=True)
class Results:
    """Make docs/results.md."""

    folder: Path = DOCS / "results"
    """The JSON files."""
    out: Path = DOCS / "results.md"


def main() -> None:
    args = tyro.cli(Results)
    args.out.write_text(document(args.folder))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
