"""Scatter plots: what was predicted, against what is true."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.drawing.palette import series_role
from helicon.drawing.sheet import LEVEL, Sheet, shortened
from helicon.metrics.measures import pearson, spearman
from helicon.report.figures.figure import Figure, padded

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
            _draw, shown, limits or padded(shown), (x_label, y_label), series_role(series)
        ),
    )


def _draw(
    points: Values, limits: tuple[float, float], labels: tuple[str, str], role: str, sheet: Sheet
) -> None:
    axes = sheet.plot(min(sheet.width, 420.0) + 20)
    axes.set(xlim=limits, ylim=limits, aspect="equal", anchor="W")
    axes.grid()
    axes.set_xlabel(shortened(labels[0], min(sheet.width, 420.0) - 80), loc="right")
    sheet.say_above(axes, labels[1])
    axes.plot(limits, limits, color=sheet.colour["muted"], linewidth=1.3, linestyle=LEVEL)
    if not len(points):
        sheet.note(axes)
    size = 22 if len(points) > 200 else 50
    axes.scatter(
        points[:, 0], points[:, 1], s=size, color=sheet.colour[role], alpha=0.45, linewidths=0
    )
