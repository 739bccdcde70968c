"""Groups side by side: every seed, their mean and its interval, against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from helicon.drawing.palette import series_role
from helicon.drawing.sheet import LEVEL, Sheet, shortened, text_width
from helicon.report.figures.figure import Figure, padded, without_numbers
from helicon.report.results.spread import Spread
from helicon.report.tables import Column, Table

_ROW = 66.0


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
    label = f"{metric} ({better} is better)" if better else metric
    said = [f"{name} {s.text(digits)} (n = {len(s.finite)})" for name, s in spreads.items()]
    said += [f"reference {name} {value:.{digits}f}" for name, value in levels.items()]
    range_ = limits or padded(*(s.values for s in spreads.values()), [*levels.values()])
    return Figure(
        title=title,
        caption=" ".join([*notes, *without_numbers(lost)]),
        alt=f"Dot plot of {label}: {'; '.join(said) or 'no values'}.",
        draw=partial(_draw, spreads, levels, label, range_, digits),
        data=_values_table(spreads, metric, digits + 1),
    )


def rows_of(
    sheet: Sheet, count: int, row: float, top: float, label: str, limits: tuple[float, float]
) -> Axes:
    """Axes of a chart with a row a group: x in values, y in pixels from above.

    Args:
        sheet: where to draw.
        count: of the rows.
        row: their height.
        top: room above.
        label: of the axis.
        limits: of the axis.
    """
    height = max(count, 1) * row + 6
    sheet.height = top + height + 44
    axes = sheet.panel(10, top, sheet.width - 20, height, xlim=limits, ylim=(height, 0), yticks=[])
    axes.grid(axis="x")
    axes.set_xlabel(shortened(label, sheet.width - 12), loc="right")
    if not count:
        sheet.note(axes)
    return axes


def name_row(sheet: Sheet, axes: Axes, y: float, name: str, value: str) -> None:
    """Write a group's name at the left, and what was measured at the right, above its marks."""
    short = shortened(name, sheet.width - 36 - text_width(value), bold=True)
    ground = {"facecolor": sheet.colour["surface"], "edgecolor": "none", "pad": 1}
    across: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "baseline",
        "bbox": ground,
    }
    tip = name if short != name else None
    axes.text(0, y, short, weight="bold", url=tip, **across)
    axes.text(1, y, value, ha="right", **across)


def _draw(
    spreads: Mapping[str, Spread],
    levels: Mapping[str, float],
    label: str,
    limits: tuple[float, float],
    digits: int,
    sheet: Sheet,
) -> None:
    axes = rows_of(sheet, len(spreads), _ROW, 6.0 + 20 * len(levels), label, limits)
    for i, (name, value) in enumerate(levels.items()):
        _draw_level(sheet, axes, f"{name} {value:.{digits}f}", value, 20.0 * (len(levels) - i) - 4)
    for i, (name, spread) in enumerate(spreads.items()):
        colour = sheet.colour[series_role(i)]
        _draw_group(sheet, axes, name, spread, colour, i * _ROW, digits)


def _draw_level(sheet: Sheet, axes: Axes, text: str, value: float, above: float) -> None:
    """A dashed line from its name, which stands `above` the axes, down to their end."""
    muted, end = sheet.colour["muted"], axes.get_ylim()[0]
    axes.plot([value, value], [4 - above, end], color=muted, lw=1.3, linestyle=LEVEL, clip_on=False)
    short = shortened(text, sheet.width - 20)
    low, high = axes.get_xlim()
    at = (value - low) / (high - low) * (sheet.width - 20)
    half = text_width(short) / 2
    middle = min(max(at, half), max(sheet.width - 20 - half, half))
    tip = text if short != text else None
    axes.text(
        middle / (sheet.width - 20),
        -above,
        short,
        transform=axes.get_yaxis_transform(),
        color=muted,
        ha="center",
        va="baseline",
        url=tip,
        bbox={"facecolor": sheet.colour["surface"], "edgecolor": "none", "pad": 1},
    )


def _draw_group(
    sheet: Sheet, axes: Axes, name: str, spread: Spread, colour: str, top: float, digits: int
) -> None:
    value = spread.text(digits)
    counted = f"{value}, n = {len(spread.finite)}"
    room = sheet.width - 52 - text_width(name, bold=True)
    if len(spread.finite) > 1 and text_width(counted) < room:
        value = counted
    name_row(sheet, axes, top + 19, name, value)
    below = top + 54
    if interval := spread.interval:
        axes.plot(interval, [below, below], color=colour, linewidth=3)
        axes.plot([spread.mean] * 2, [below - 6, below + 6], color=sheet.colour["ink"], lw=2)
    low, high = axes.get_xlim()
    near = 9 * (high - low) / sheet.width
    axes.scatter(
        spread.finite,
        top + 38 + _lifts(np.asarray(spread.finite), near),
        s=81,
        color=colour,
        edgecolors=sheet.colour["surface"],
        urls=[f"{one:.{digits + 1}f}" for one in spread.finite],
        zorder=3,
        clip_on=False,
    )


def _lifts(values: np.ndarray, near: float) -> np.ndarray:
    """Shifts of dots within a row, so that those that are near do not hide one another."""
    order = np.argsort(values, kind="stable")
    close = np.diff(values[order], prepend=-np.inf) < near
    lifts, place = np.zeros(len(values)), 0
    for at, follows in zip(order, close, strict=True):
        place = (place + 1) % 3 if follows else 0
        lifts[at] = (0.0, -6.0, 6.0)[place]
    return lifts


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
