"""Descriptions of the results of an evaluation."""

from pathlib import Path

from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...evaluation.results import SETS


def describe_metrics(file: Path) -> str:
    """The bundle, the numbers and the notes in a metrics.json.

    Raises:
        ProxymaskError: it is damaged.
    """
    stored = read_json(file)
    try:
        about, lines = stored["about"], []
        mapper = f", mapper {about['mapper']}" if about["mapper"] else ""
        made = f"of the bundle {about['bundle']}{mapper}, protocol {about['protocol']}, {about['count']:,} pictures of each kind"
        for row in stored["numbers"]:
            value = "undefined" if row["value"] is None else f"{row['value']:.4g}"
            name = f"{row['name']}, {SETS.get(row['of'], row['of'])}"
            lines.append(f"  {name:<110} {value:>9}  ({row['count']:,})")
        lines += [f"note: {note}" for note in stored["notes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ProxymaskError(f"{file} is no result of proxymask evaluate, or damaged ({error}): measure again") from None
    report = file.with_name(file.name.replace("metrics", "report")).with_suffix(".html")
    lines += [f"report: {report}"] if report.is_file() else []
    return "\n".join([f"{file.parent}: an evaluation {made}", *lines])
