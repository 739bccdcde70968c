"""Curves over training steps: losses with validation and references, measures over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from helicon.report.canvas import Canvas
from helicon.report.figure import Figure, empty_note
from helicon.report.layout import (
    Frame,
    Values,
    envelope,
    finite,
    shortened,
    smooth,
    spread_apart,
    swatches,
    text_width,
)
from helicon.report.palette import series_role
from helicon.report.records import Curve
from helicon.report.tables import Column, Table

#: Points of a curve: pairs of step and value.
Points = Sequence[Sequence[float]]


def logged(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    """A measure in the rows of a run's log; what could not be measured (null there) is NaN."""
    found = ((float(row["step"]), row[name]) for row in rows if name in row)
    return tuple((step, math.nan if value is None else float(value)) for step, value in found)


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
    train = {name: finite(points) for name, points in training.items()}
    valid = {name: finite(points) for name, points in (validation or {}).items()}
    levels = {n: v for n, v in (references or {}).items() if np.isfinite(v)}
    train = {name: table for name, table in train.items() if len(table)}
    valid = {name: table for name, table in valid.items() if len(table)}
    lost = sum(map(len, given)) - sum(map(len, [*train.values(), *valid.values()]))
    y = _loss_range(train, valid, levels)
    notes = [caption] if caption else []
    if train:
        notes.append("Faint: every recorded training value; bold: their moving mean.")
    if valid:
        notes.append("Dots: validation.")
    if any((table[:, 1] > y[1]).any() for table in train.values()):
        notes.append("The first steps rise above the frame.")
    if lost:
        notes.append(f"{lost:,} recorded values that are not numbers are left out.")
    return Figure(
        title=title,
        caption=" ".join(notes),
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
    tables = {name: [finite(points) for points in runs] for name, runs in groups.items()}
    tables = {name: [t for t in runs if len(t)] for name, runs in tables.items()}
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
    width: float,
) -> Canvas:
    names = list(dict.fromkeys([*train, *valid]))
    roles = {name: series_role(i) for i, name in enumerate(names)}
    beside = width > 600
    canvas = Canvas(width)
    legend = [(_joined(name, "training", names), roles[name], "line") for name in train]
    legend += [(_joined(name, "validation", names), roles[name], "dot") for name in valid]
    if not beside:
        legend += _level_legend(levels)
    frame = _frame(canvas, legend, [*train.values(), *valid.values()], y, y_label, levels, beside)
    for name, table in train.items():
        faint = envelope(table, int(frame.box[2]))
        bold = np.column_stack([table[:, 0], smooth(table[:, 1], max(1, len(table) // 15))])
        canvas.line(frame.points(*faint.T), roles[name], opacity=0.28, clip=frame.box)
        line = frame.points(*envelope(bold, int(frame.box[2]) // 2).T)
        canvas.line(line, roles[name], width=2, clip=frame.box)
    _draw_levels(canvas, frame, levels, beside)
    for name, table in valid.items():
        canvas.line(frame.points(*table.T), roles[name], dash=(2, 4), clip=frame.box)
        for (step, value), (px, py) in zip(table, frame.points(*table.T), strict=True):
            if value <= y[1]:
                canvas.disc(px, py, 4, roles[name], tip=f"step {step:,.0f}: {value:.4f}")
    return canvas


def _draw_runs(
    tables: Mapping[str, list[Values]],
    means: Mapping[str, Values],
    levels: Mapping[str, float],
    y_label: str,
    width: float,
) -> Canvas:
    canvas = Canvas(width)
    beside = width > 600
    roles = {name: series_role(i) for i, name in enumerate(tables)}
    legend = [(name, role, "line") for name, role in roles.items() if name]
    if not beside:
        legend += _level_legend(levels)
    everything = [table for runs in tables.values() for table in runs]
    values = [*(table[:, 1] for table in everything), np.array([*levels.values()])]
    y = _padded(np.concatenate(values)) if everything else (0.0, 1.0)
    frame = _frame(canvas, legend, everything, y, y_label, levels, beside)
    if everything:
        _draw_levels(canvas, frame, levels, beside)
    for name, runs in tables.items():
        if len(runs) > 1:
            for table in runs:
                canvas.line(frame.points(*table.T), roles[name], opacity=0.35, clip=frame.box)
        mean = frame.points(*envelope(means[name], int(frame.box[2]) // 2).T)
        canvas.line(mean, roles[name], width=2.2, clip=frame.box)
        if len(mean) == 1:
            canvas.disc(float(mean[0, 0]), float(mean[0, 1]), 4, roles[name])
    return canvas


def _frame(
    canvas: Canvas,
    legend: Sequence[tuple[str, str, str]],
    tables: Sequence[Values],
    y: tuple[float, float],
    y_label: str,
    levels: Mapping[str, float],
    beside: bool,
) -> Frame:
    """Draw legend and axes, set the height of the drawing, and give the plotting area."""
    top = swatches(canvas, 0, 14, canvas.width, legend) if legend else -10.0
    top += 36 if y_label else 20
    height = 250.0 if canvas.width > 600 else 190.0
    left = Frame.left_margin(*y, height)
    right = 14.0
    if beside and levels:
        right = 20 + min(180, max(text_width(f"{n} {v:.3f}") for n, v in levels.items()))
    canvas.height = top + height + 42
    steps = np.concatenate([t[:, 0] for t in tables]) if tables else np.zeros(1)
    x = (float(min(steps.min(), 0)), float(steps.max()) or 1.0)
    frame = Frame((left, top, canvas.width - left - right, height), x, y)
    frame.draw_y(canvas, y_label)
    frame.draw_x(canvas, "step")
    if not tables:
        empty_note(canvas, top, height)
    return frame


def _level_legend(levels: Mapping[str, float]) -> list[tuple[str, str, str]]:
    return [(f"{name} {value:.3f}", "muted", "dash") for name, value in levels.items()]


def _draw_levels(canvas: Canvas, frame: Frame, levels: Mapping[str, float], beside: bool) -> None:
    left, top, width, height = frame.box
    right = left + width
    ys = [float(frame.down(value)) for value in levels.values()]
    for y in ys:
        canvas.line([(left, y), (right, y)], "muted", width=1.3, dash=(5, 4))
    if not beside:
        return
    places = spread_apart(ys, 16, top, top + height)
    for (name, value), y, place in zip(levels.items(), ys, places, strict=True):
        canvas.line([(right, y), (right + 6, place)], "muted")
        room = canvas.width - right - 10 - text_width(f" {value:.3f}")
        short = shortened(name, room)
        tip = name if short != name else ""
        canvas.text(right + 10, place + 4, f"{short} {value:.3f}", tip=tip)


def _loss_range(
    train: Mapping[str, Values], valid: Mapping[str, Values], levels: Mapping[str, float]
) -> tuple[float, float]:
    """Vertical range: all of validation and references, training behind its first twentieth."""
    settled = [table[len(table) // 20 :, 1] for table in train.values()]
    parts = [*settled, *(table[:, 1] for table in valid.values()), np.array([*levels.values()])]
    values = np.concatenate(parts)
    return _padded(values) if len(values) else (0.0, 1.0)


def _padded(values: Values) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return (0.0 if 0 <= low < margin else low - margin), high + margin


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
