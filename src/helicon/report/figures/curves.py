"""Curves over training steps: losses with validation and references, measures over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from helicon.drawing.palette import series_role
from helicon.drawing.sheet import LEVEL, Sheet, dashes, shortened, text_width
from helicon.report.figures.figure import Figure, padded, without_numbers
from helicon.report.tables import Column, Table

Values = NDArray[np.float64]
#: Points of a curve: pairs of step and value.
Points = Sequence[Sequence[float]]


def loss_curves(
    training: Mapping[str, Points],
    validation: Mapping[str, Points] | None = None,
    references: Mapping[str, float] | None = None,
    *,
    title: str = "Loss",
    y_label: str = "loss",
    caption: str = "",
) -> Figure:
    """Draw training losses (recorded: faint; smoothed: bold) and validation losses (dots).

    Points that are not finite are left out, and the caption says how many. The vertical axis is
    chosen for the run behind its first steps, whose high losses would flatten the rest.

    Args:
        training: points of every curve, by name.
        validation: points of every curve, by name; the same name has the same colour.
        references: levels to compare with, by name, as a baseline's loss.
        title: heading of the figure.
        y_label: what the values are, with the unit.
        caption: sentence before the explanation of the marks.
    """
    given = [*training.values(), *(validation or {}).values()]
    train, valid = _finite(training), _finite(validation or {})
    levels = {n: v for n, v in (references or {}).items() if np.isfinite(v)}
    settled = [table[len(table) // 20 :, 1] for table in train.values()]
    y = padded(*settled, *(table[:, 1] for table in valid.values()), [*levels.values()])
    notes = [caption] if caption else []
    if train:
        notes.append("Faint: every recorded training value; bold: their moving mean.")
    if valid:
        notes.append("Dots: validation.")
    if any((table[:, 1] > y[1]).any() for table in train.values()):
        notes.append("The first steps rise above the frame.")
    lost = sum(map(len, given)) - sum(map(len, [*train.values(), *valid.values()]))
    return Figure(
        title=title,
        caption=" ".join([*notes, *without_numbers(lost, "recorded values")]),
        alt=_alt(title, train, valid, levels),
        draw=partial(_draw_losses, train, valid, levels, y, y_label),
        data=_validation_table(valid, y_label),
    )


def learning_curves(
    groups: Mapping[str, Sequence[Points]],
    *,
    title: str,
    y_label: str,
    references: Mapping[str, float] | None = None,
    caption: str = "",
) -> Figure:
    """Draw a measure over steps: one thin line a seed, the mean of the seeds bold.

    Args:
        groups: for every group, the points of each of its runs. A single group needs no name.
        title: heading of the figure.
        y_label: what the values are, with the unit.
        references: levels to compare with, by name, drawn dashed.
        caption: how to read it.
    """
    tables = {
        name: [*_finite({str(i): run for i, run in enumerate(runs)}).values()]
        for name, runs in groups.items()
    }
    tables = {name: runs for name, runs in tables.items() if runs}
    means = {name: _mean_curve(runs) for name, runs in tables.items()}
    levels = dict(references or {})
    return Figure(
        title=title,
        caption=caption,
        alt=_alt(title, means, {}, levels),
        draw=partial(_draw_runs, tables, means, levels, y_label),
    )


def _draw_losses(
    train: Mapping[str, Values],
    valid: Mapping[str, Values],
    levels: Mapping[str, float],
    y: tuple[float, float],
    y_label: str,
    sheet: Sheet,
) -> None:
    axes = _axes(sheet, [*train.values(), *valid.values()], y, y_label)
    names = list(dict.fromkeys([*train, *valid]))
    colours = {name: sheet.colour[series_role(i)] for i, name in enumerate(names)}
    legend: list[tuple[str, Artist]] = []
    for name, table in train.items():
        smooth = _smooth(table[:, 1], max(1, len(table) // 15))
        bold = np.column_stack([table[:, 0], smooth])
        axes.plot(*_outline(table, sheet).T, color=colours[name], linewidth=1, alpha=0.28)
        (line,) = axes.plot(*_outline(bold, sheet).T, color=colours[name])
        legend.append((_joined(name, "training", names), line))
    for name, table in valid.items():
        axes.plot(*table.T, color=colours[name], linewidth=1, linestyle=(0, (2, 4)))
        said = [f"step {step:,.0f}: {value:.4f}" for step, value in table]
        x, y_ = table.T
        dots = axes.scatter(x, y_, s=64, color=colours[name], urls=said, zorder=3)
        dots.set(edgecolor=sheet.colour["surface"], clip_on=False)
        mark = Line2D([], [], color=colours[name], marker="o", markersize=8, linestyle="")
        legend.append((_joined(name, "validation", names), mark))
    _explain(sheet, axes, levels, y, legend)


def _draw_runs(
    tables: Mapping[str, list[Values]],
    means: Mapping[str, Values],
    levels: Mapping[str, float],
    y_label: str,
    sheet: Sheet,
) -> None:
    everything = [table for runs in tables.values() for table in runs]
    y = padded(*(table[:, 1] for table in everything), [*levels.values()] if everything else [])
    axes = _axes(sheet, everything, y, y_label)
    legend: list[tuple[str, Artist]] = []
    for i, (name, runs) in enumerate(tables.items()):
        colour = sheet.colour[series_role(i)]
        for table in runs if len(runs) > 1 else []:
            axes.plot(*_outline(table, sheet).T, color=colour, linewidth=1, alpha=0.35)
        alone = "o" if len(means[name]) == 1 else None
        (line,) = axes.plot(
            *_outline(means[name], sheet).T,
            color=colour,
            linewidth=2.2,
            marker=alone,
            clip_on=not alone,
        )
        legend += [(name, line)] if name else []
    _explain(sheet, axes, levels if everything else {}, y, legend)


def _axes(sheet: Sheet, tables: Sequence[Values], y: tuple[float, float], y_label: str) -> Axes:
    axes = sheet.plot(310 if sheet.width > 600 else 245)
    steps = np.concatenate([table[:, 0] for table in tables]) if tables else np.zeros(1)
    axes.set_xlim(min(float(steps.min()), 0.0), float(steps.max()) or 1.0)
    axes.set_ylim(*y)
    axes.grid(axis="y")
    axes.set_xlabel("step", loc="right")
    sheet.say_above(axes, y_label)
    if not tables:
        sheet.note(axes)
    return axes


def _explain(
    sheet: Sheet,
    axes: Axes,
    levels: Mapping[str, float],
    y: tuple[float, float],
    legend: list[tuple[str, Artist]],
) -> None:
    """Draw levels, named beside the axes where there is room; and the legend."""
    muted = sheet.colour["muted"]
    for value in levels.values():
        axes.axhline(value, color=muted, linewidth=1.3, linestyle=LEVEL)
    if sheet.width <= 600:
        legend += [(f"{name} {value:.3f}", dashes(muted)) for name, value in levels.items()]
        levels = {}
    elif len(legend) == 1 and not levels and not legend[0][0]:
        legend = []
    ordered = sorted(levels.items(), key=lambda item: item[1])
    places = _apart([(value - y[0]) / (y[1] - y[0]) for _, value in ordered], 0.068)
    for (name, value), place in zip(ordered, places, strict=True):
        short = shortened(name, 180 - text_width(f" {value:.3f}"))
        axes.annotate(
            f"{short} {value:.3f}",
            (1, value),
            (1.02, place),
            axes.get_yaxis_transform(),
            axes.transAxes,
            arrowprops={"arrowstyle": "-", "color": muted, "shrinkA": 2, "shrinkB": 0},
            color=muted,
            va="center",
            url=name if short != name else None,
        )
    if legend:
        sheet.legend(legend)


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending places between 0 and 1, moved as little as it takes to be `gap` apart."""
    gap = min(gap, 1 / max(len(wanted) - 1, 1))
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap) if places else place)
    most = 1.0
    for i in reversed(range(len(places))):
        places[i] = most = min(places[i], most)
        most -= gap
    return places


def _finite(curves: Mapping[str, Points]) -> dict[str, Values]:
    """The points (n, 2) of which both values are numbers, by step, of curves that have any."""
    found = {}
    for name, points in curves.items():
        table = np.asarray(list(points), dtype=float).reshape(-1, 2)
        table = table[np.isfinite(table).all(axis=1)]
        found[name] = table[np.argsort(table[:, 0], kind="stable")]
    return {name: table for name, table in found.items() if len(table)}


def _outline(table: Values, sheet: Sheet) -> Values:
    """Points with the same outline, at most two a pixel: each bin's lowest and highest value."""
    count = int(sheet.width)
    if len(table) <= 2 * count:
        return table
    bins = np.array_split(table, count)
    pairs = [b[sorted((int(b[:, 1].argmin()), int(b[:, 1].argmax())))] for b in bins]
    return np.concatenate(pairs)


def _smooth(values: Values, width: int) -> Values:
    """Centred moving mean over `width` values; windows are cut at both ends."""
    window, ones = np.ones(min(width, len(values))), np.ones(len(values))
    total = np.convolve(values, window, "same")
    return total / np.convolve(ones, window, "same")


def _mean_curve(runs: Sequence[Values]) -> Values:
    """Mean over the runs at the steps that all of them have."""
    shared = sorted(set.intersection(*(set(table[:, 0].tolist()) for table in runs)))
    columns = [dict(table.tolist()) for table in runs]
    pairs = [(step, float(np.mean([column[step] for column in columns]))) for step in shared]
    return np.asarray(pairs, dtype=float).reshape(-1, 2)


def _joined(name: str, kind: str, names: Sequence[str]) -> str:
    return f"{name}, {kind}" if name and len(names) > 1 else kind


def _alt(
    title: str,
    train: Mapping[str, Values],
    valid: Mapping[str, Values],
    levels: Mapping[str, float],
) -> str:
    parts = [f"Line chart: {title}."]
    for kind, tables in (("", train), (" (validation)", valid)):
        for name, table in tables.items():
            if not len(table):
                continue
            first, last = table[0], table[-1]
            parts.append(
                f"{name or 'The curve'}{kind} goes from {first[1]:.4g} at step {first[0]:,.0f} "
                f"to {last[1]:.4g} at step {last[0]:,.0f}."
            )
    parts += [f"Reference {name}: {value:.4g}." for name, value in levels.items()]
    return " ".join(parts)


def _validation_table(valid: Mapping[str, Values], y_label: str) -> Table | None:
    if not valid:
        return None
    steps = sorted({step for table in valid.values() for step in table[:, 0].tolist()})
    lookup = [dict(table.tolist()) for table in valid.values()]
    rows = [(step, *(column.get(step) for column in lookup)) for step in steps]
    names = [Column(name or "validation", "number", 4) for name in valid]
    return Table(
        f"Validation: {y_label}".removesuffix(": "), [Column("step", "integer"), *names], rows
    )
