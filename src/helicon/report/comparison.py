"""Groups of seeds side by side: every seed, their mean and its interval, against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from helicon.report.canvas import Canvas
from helicon.report.figure import Figure, empty_note
from helicon.report.layout import Frame, shortened, text_width, ticks
from helicon.report.palette import series_role
from helicon.report.statistics import Spread
from helicon.report.tables import Column, Table

_ROW = 66.0
_RADIUS = 4.5


def comparison(
    groups: Mapping[str, Sequence[float]],
    metric: str,
    references: Mapping[str, float] | None = None,
    *,
    title: str = "Comparison",
    better: Literal["higher", "lower"] | None = "higher",
    limits: tuple[float, float] | None = None,
    digits: int = 3,
    caption: str = "",
) -> Figure:
    """Draw one dot a seed, the mean, and the 95 % bootstrap interval of the mean, a row a group.

    Args:
        groups: values by group, one a seed; those that are not finite are left out and counted.
        metric: name of what is measured, with the unit.
        references: values to compare with, by name, drawn as vertical lines.
        title: heading of the figure.
        better: which direction is better, said at the axis.
        limits: range of the axis; `None` fits it to the data.
        digits: decimals of the values written beside the groups.
        caption: sentence before the explanation of the marks.
    """
    spreads = {name: Spread(tuple(map(float, values))) for name, values in groups.items()}
    levels = {n: float(v) for n, v in (references or {}).items() if np.isfinite(v)}
    notes = [caption] if caption else []
    if any(spread.interval for spread in spreads.values()):
        notes.append(
            "Dots: seeds; below them the mean in its 95 % bootstrap interval; ± standard deviation."
        )
    lost = sum(len(s.values) - len(s.finite) for s in spreads.values())
    if lost:
        notes.append(f"{lost} values that are not numbers are left out.")
    label = f"{metric} ({better} is better)" if better else metric
    said = [f"{name} {s.text(digits)} (n = {len(s.finite)})" for name, s in spreads.items()]
    said += [f"reference {name} {value:.{digits}f}" for name, value in levels.items()]
    return Figure(
        title=title,
        caption=" ".join(notes),
        alt=f"Dot plot of {label}: {'; '.join(said) or 'no values'}.",
        draw=partial(_draw, spreads, levels, label, limits or _limits(spreads, levels), digits),
        data=_values_table(spreads, metric, digits + 1),
    )


def _draw(
    spreads: Mapping[str, Spread],
    levels: Mapping[str, float],
    label: str,
    limits: tuple[float, float],
    digits: int,
    width: float,
) -> Canvas:
    canvas = Canvas(width)
    top = 6.0 + 18 * len(levels)
    height = max(len(spreads), 1) * _ROW + 6
    canvas.height = top + height + 42
    frame = Frame((10, top, width - 20, height), limits, (0, 1))
    frame.draw_x(canvas, label, grid=True)
    for i, (name, value) in enumerate(levels.items()):
        _draw_level(canvas, frame, f"{name} {value:.{digits}f}", value, 14.0 + 18 * i)
    if not spreads:
        empty_note(canvas, top, height)
    for i, (name, spread) in enumerate(spreads.items()):
        _draw_group(canvas, frame, name, spread, series_role(i), top + i * _ROW, digits)
    return canvas


def _draw_level(canvas: Canvas, frame: Frame, text: str, value: float, baseline: float) -> None:
    left, top, width, height = frame.box
    x = float(frame.across(value))
    text = shortened(text, width)
    half = text_width(text) / 2
    canvas.line([(x, baseline + 4), (x, top + height)], "muted", width=1.3, dash=(5, 4))
    middle = min(max(x, left + half - 8), left + width - half + 8)
    canvas.text(middle, baseline, text, anchor="middle", halo=True)


def _draw_group(
    canvas: Canvas, frame: Frame, name: str, spread: Spread, role: str, top: float, digits: int
) -> None:
    left, _, width, _ = frame.box
    middle, below = top + 38, top + 54
    value = spread.text(digits)
    counted = f"{value}, n = {len(spread.finite)}"
    if len(spread.finite) > 1 and text_width(name, bold=True) + text_width(counted) < width - 16:
        value = counted
    room = width - text_width(value) - 16
    short = shortened(name, room, bold=True)
    canvas.text(
        left, top + 19, short, "ink", bold=True, halo=True, tip=name if short != name else ""
    )
    canvas.text(left + width, top + 19, value, "ink", anchor="end", halo=True)
    if interval := spread.interval:
        canvas.line([(float(x), below) for x in frame.across(interval)], role, width=3)
        x = float(frame.across(spread.mean))
        canvas.line([(x, below - 6), (x, below + 6)], "ink", width=2)
    xs = [float(x) for x in frame.across(spread.finite)]
    for x, lift, seed_value in zip(xs, _lifts(xs), spread.finite, strict=True):
        canvas.disc(x, middle + lift, _RADIUS, role, tip=f"{seed_value:.{digits + 1}f}")


def _lifts(xs: Sequence[float]) -> list[float]:
    """Vertical shifts within a row that keep dots from hiding one another, where there is room."""
    lifts: list[float] = []
    for i, x in enumerate(xs):
        near = [lifts[j] for j in range(i) if abs(xs[j] - x) < 2 * _RADIUS]
        choices = (0.0, -6.0, 6.0, -3.0, 3.0)
        lifts.append(
            max(choices, key=lambda lift: min((abs(lift - n) for n in near), default=0.0))
            if near
            else 0.0
        )
    return lifts


def _limits(spreads: Mapping[str, Spread], levels: Mapping[str, float]) -> tuple[float, float]:
    """Range of the axis: all values, rounded outwards to the ticks."""
    values = [*(v for s in spreads.values() for v in s.finite), *levels.values()]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - margin, high + margin
    places = ticks(low, high, 4)
    step = places[1] - places[0] if len(places) > 1 else high - low
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


def _values_table(spreads: Mapping[str, Spread], metric: str, digits: int) -> Table | None:
    most = max((len(s.values) for s in spreads.values()), default=0)
    if most < 2:
        return None
    columns = [Column("group"), *(Column(f"run {i + 1}", "number", digits) for i in range(most))]
    rows = [
        (name, *s.values, *(None for _ in range(most - len(s.values))))
        for name, s in spreads.items()
    ]
    return Table(f"{metric}, every run", columns, rows)
