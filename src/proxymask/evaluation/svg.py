"""Plots as SVG text, for the report."""

import math
from collections.abc import Mapping, Sequence
from html import escape

COLORS = ("#2f6fde", "#e08a2e", "#3fa35b", "#a86bd1", "#c94f5d", "#6c7480", "#22a6a6", "#b59b00")
FONT = "font-family='system-ui, sans-serif' font-size='12'"


def bars(title: str, names: Sequence[str], series: Mapping[str, Sequence[float | None]], width: int = 760) -> str:
    """A bar chart: one group of bars for each name, one colour for each series; None and NaN leave a gap."""
    top, bottom, left, height = 44, 64, 48, 300
    values = [v for row in series.values() for v in row if v is not None and _known(v)]
    highest, step = _scale(max([*values, 0.0]))
    plot_w, plot_h = width - left - 12, height - top - bottom
    parts = [_open(width, height, title), _legend(list(series), left, 30)]
    for tick in _ticks(highest, step):
        y = top + plot_h * (1 - tick / highest)
        parts.append(_grid_line(left, width - 12, y, f"{tick:g}"))
    group = plot_w / max(len(names), 1)
    bar = group * 0.8 / max(len(series), 1)
    for index, name in enumerate(names):
        x = left + group * index
        anchor = f"{x + group / 2:.1f}"
        parts.append(f"<text {FONT} x='{anchor}' y='{height - bottom + 18}' text-anchor='middle'>{escape(name)}</text>")
        for at, row in enumerate(series.values()):
            value = row[index]
            if value is None or not _known(value):
                continue
            size = plot_h * max(value, 0.0) / highest
            parts.append(
                f"<rect x='{x + group * 0.1 + bar * at:.1f}' y='{top + plot_h - size:.1f}' width='{max(bar - 1, 1):.1f}' "
                f"height='{size:.1f}' fill='{COLORS[at % len(COLORS)]}'><title>{escape(name)}: {value:.4g}</title></rect>"
            )
    return "".join([*parts, "</svg>"])


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str = "",
    levels: Mapping[str, float] | None = None,
    width: int = 760,
    log_x: bool = False,
) -> str:
    """A line chart: one line of (x, y) points for each series; ``levels`` are dashed horizontal lines with a name."""
    top, bottom, left, height = 44, 44, 56, 320
    points = [p for row in series.values() for p in row if _known(p[1])]
    levels = {name: value for name, value in (levels or {}).items() if _known(value)}
    highest, step = _scale(max([p[1] for p in points] + list(levels.values()) + [0.0]))
    place = (lambda v: math.log(max(v, 1e-9))) if log_x else (lambda v: v)
    xs = [place(p[0]) for p in points] or [0.0, 1.0]
    low, high = min(xs), max(xs)
    span = high - low or 1.0
    plot_w, plot_h = width - left - 16, height - top - bottom

    def at(x: float, y: float) -> tuple[float, float]:
        return left + plot_w * (place(x) - low) / span, top + plot_h * (1 - max(min(y, highest), 0) / highest)

    parts = [_open(width, height, f"{title}{f' ({y_label})' if y_label else ''}"), _legend(list(series), left, 30)]
    for tick in _ticks(highest, step):
        parts.append(_grid_line(left, width - 16, top + plot_h * (1 - tick / highest), f"{tick:g}"))
    marks = sorted({p[0] for p in points})
    for x in marks if len(marks) <= 8 else [marks[round(i * (len(marks) - 1) / 6)] for i in range(7)]:
        parts.append(f"<text {FONT} x='{at(x, 0)[0]:.1f}' y='{height - bottom + 16}' text-anchor='middle'>{x:g}</text>")
    parts.append(f"<text {FONT} x='{left + plot_w / 2:.0f}' y='{height - 8}' text-anchor='middle'>{escape(x_label)}</text>")
    for name, value in levels.items():
        y = at(points[0][0] if points else 0.0, value)[1]
        parts.append(f"<line x1='{left}' x2='{width - 16}' y1='{y:.1f}' y2='{y:.1f}' stroke='#6c7480' stroke-dasharray='5 4'/>")
        parts.append(f"<text {FONT} x='{width - 18}' y='{y - 4:.1f}' text-anchor='end' fill='#6c7480'>{escape(name)}</text>")
    for index, (name, row) in enumerate(series.items()):
        color = COLORS[index % len(COLORS)]
        placed = [at(*p) for p in sorted(row) if _known(p[1])]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'><title>{escape(name)}</title></polyline>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{color}'/>" for x, y in placed]
    return "".join([*parts, "</svg>"])


def _open(width: int, height: int, title: str) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img'>"
    return f"{head}<rect width='100%' height='100%' fill='#fff'/><text {FONT} font-weight='600' x='12' y='16'>{escape(title)}</text>"


def _legend(names: Sequence[str], x: float, y: float) -> str:
    parts = []
    for index, name in enumerate(names):
        parts.append(f"<rect x='{x:.0f}' y='{y - 9}' width='10' height='10' fill='{COLORS[index % len(COLORS)]}'/>")
        parts.append(f"<text {FONT} x='{x + 14:.0f}' y='{y}'>{escape(name)}</text>")
        x += 26 + 6.6 * len(name)
    return "".join(parts)


def _grid_line(left: float, right: float, y: float, text: str) -> str:
    line = f"<line x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}' stroke='#e3e6ea'/>"
    return f"{line}<text {FONT} x='{left - 6}' y='{y + 4:.1f}' text-anchor='end'>{text}</text>"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _scale(highest: float) -> tuple[float, float]:
    """A round end of the axis at or above ``highest``, and the step between its marks."""
    if highest <= 0:
        return 1.0, 0.25
    raw = highest / 4
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * (1 - 1e-9))
    return step * math.ceil(highest / step - 1e-9), step


def _ticks(highest: float, step: float) -> list[float]:
    return [round(step * i, 10) for i in range(round(highest / step) + 1)]
