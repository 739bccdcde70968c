"""Scatter plots: what was predicted, against what is true."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.metrics.measures import pearson, spearman
from helicon.report.canvas import Canvas
from helicon.report.figure import Figure, empty_note
from helicon.report.layout import Frame, text_width, tick_texts, ticks
from helicon.report.palette import series_role

Values = NDArray[np.float64]


def scatter(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    title: str,
    x_label: str,
    y_label: str,
    series: int = 0,
    limits: tuple[float, float] | None = None,
    unit: str = "points",
    caption: str = "",
) -> Figure:
    """Draw predictions against the truth, on one scale, with the diagonal on which both agree.

    Args:
        truth: values (n,); points of which either value is not finite are left out and counted.
        predicted: values (n,).
        title: heading of the figure.
        x_label: what the truth is, with the unit.
        y_label: what the predictions are.
        series: number of the colour, as of the same thing in other figures.
        limits: range of both axes, the same for figures side by side; `None` fits the data.
        unit: what a point is.
        caption: sentence before the explanation of the marks.
    """
    points = np.column_stack([np.asarray(truth, float), np.asarray(predicted, float)])
    shown = points[np.isfinite(points).all(axis=1)]
    notes = [caption] if caption else []
    notes.append("Dashed: where prediction and truth are equal.")
    if lost := len(points) - len(shown):
        notes.append(f"{lost:,} {unit} without a value are left out.")
    said = f"{len(shown):,} {unit}"
    if len(shown) > 1:
        said += f", Spearman {spearman(*shown.T):.3f}, Pearson {pearson(*shown.T):.3f}"
    return Figure(
        title=title,
        caption=" ".join(notes),
        alt=f"Scatter plot of {y_label} against {x_label}: {said}.",
        draw=partial(
            _draw, shown, limits or common_limits(shown), (x_label, y_label), series_role(series)
        ),
    )


def common_limits(*values: ArrayLike) -> tuple[float, float]:
    """A range that holds all finite values, rounded outwards to the ticks."""
    every = np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in values])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    margin = 0.03 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - margin, high + margin
    places = ticks(low, high, 5)
    step = places[1] - places[0] if len(places) > 1 else high - low
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


def _draw(
    points: Values, limits: tuple[float, float], labels: tuple[str, str], role: str, width: float
) -> Canvas:
    canvas = Canvas(width)
    top, left = 30.0, Frame.left_margin(*limits, 300)
    last = tick_texts(ticks(*limits, 5))[-1]
    size = min(width - left - max(14.0, text_width(last, 11) / 2), 420.0)
    canvas.height = top + size + 42
    frame = Frame((left, top, size, size), limits, limits)
    frame.draw_y(canvas, labels[1])
    frame.draw_x(canvas, labels[0], grid=True)
    canvas.line(frame.points(limits, limits), "muted", width=1.3, dash=(5, 4))
    if not len(points):
        empty_note(canvas, top, size)
    inside = ((points >= limits[0]) & (points <= limits[1])).all(axis=1)
    radius = 2.6 if len(points) > 200 else 4.0
    for x, y in frame.points(*points[inside].T):
        canvas.disc(float(x), float(y), radius, role, stroke=role, opacity=0.45)
    return canvas
