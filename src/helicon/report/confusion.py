"""Confusion matrices: what the true classes were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.report.canvas import Canvas
from helicon.report.figure import Figure
from helicon.report.layout import shortened, text_width, wrapped
from helicon.report.wording import percent

Counts = NDArray[np.float64]


def confusion_matrix(
    matrix: ArrayLike,
    classes: Sequence[str],
    *,
    title: str = "Confusion matrix",
    caption: str = "",
    unit: str = "positions",
) -> Figure:
    """Draw a confusion matrix: shares of each true class, with the counts below them.

    Args:
        matrix: counts (k, k), true classes in rows, predicted ones in columns.
        classes: names of the k classes.
        title: heading of the figure.
        caption: sentence before the explanation of the marks.
        unit: what is counted.
    """
    counts = np.asarray(matrix, dtype=float).reshape(len(classes), len(classes))
    shares = _shares(counts)
    said = [
        f"{name} right {percent(shares[i, i])} of {counts[i].sum():,.0f}"
        for i, name in enumerate(classes)
        if counts[i].sum() > 0
    ]
    note = f"Rows: true class, shares of each row in percent; small: number of {unit}."
    return Figure(
        title=title,
        caption=f"{caption} {note}".strip(),
        alt=f"Confusion matrix of {len(classes)} classes: {'; '.join(said) or 'no counts'}.",
        draw=partial(_draw, counts, shares, list(classes)),
    )


def _shares(counts: Counts) -> Counts:
    """Counts (k, k) as shares of their row; NaN in rows without a count."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)


def _draw(counts: Counts, shares: Counts, classes: list[str], width: float) -> Canvas:
    k = len(classes)
    left = min(0.34 * width, 8 + max(text_width(name) for name in classes))
    left = max(left, 64.0)
    cell = min((width - left) / k, 96.0)
    canvas = Canvas(width)
    top = _draw_columns(canvas, classes, left, cell)
    canvas.height = top + cell * k + 2
    for i, name in enumerate(classes):
        _draw_row_label(canvas, name, counts[i].sum(), left - 10, top + cell * (i + 0.5), cell)
        for j in range(k):
            box = (left + cell * j + 1, top + cell * i + 1, cell - 2, cell - 2)
            _draw_cell(canvas, box, counts[i, j], shares[i, j], f"{name} → {classes[j]}")
    return canvas


def _draw_columns(canvas: Canvas, classes: list[str], left: float, cell: float) -> float:
    """Write the predicted classes above the columns; returns where the cells begin."""
    canvas.text(left, 12, "predicted", size=11)
    fits = all(text_width(word) <= cell - 8 for name in classes for word in name.split())
    if fits:
        lines = [wrapped(name, cell - 8) for name in classes]
        depth = max(map(len, lines))
        for j, parts in enumerate(lines):
            for i, part in enumerate(reversed(parts)):
                y = 18 + 15 * (depth - i)
                canvas.text(left + cell * (j + 0.5), y, part, "ink", anchor="middle")
        return 26.0 + 15 * depth
    longest = min(90.0, max(map(text_width, classes)))
    for j, name in enumerate(classes):
        short = shortened(name, longest)
        x = left + cell * (j + 0.5) + 4
        canvas.text(x, 24 + longest, short, "ink", rotate=-90, tip=name if short != name else "")
    return 32.0 + longest


def _draw_row_label(
    canvas: Canvas, name: str, total: float, right: float, y: float, cell: float
) -> None:
    """Write a true class beside its row, with its count where the row is high enough."""
    number, tip = f"{total:,.0f}", f"{name}: {total:,.0f}"
    if cell < 48:
        canvas.text(right, y + 4, shortened(name, right), "ink", anchor="end", tip=tip)
        return
    lines = wrapped(name, right)[:2]
    y -= 7 * len(lines) - 5
    for line in lines:
        canvas.text(right, y, line, "ink", anchor="end", tip=tip)
        y += 15
    canvas.text(right, y, shortened(number, right, 11), anchor="end", size=11)


def _draw_cell(
    canvas: Canvas, box: tuple[float, float, float, float], count: float, share: float, what: str
) -> None:
    x, y, size, _ = box
    middle = x + size / 2
    tip = f"{what}: {count:,.0f}"
    canvas.rectangle(box, "grid", opacity=0.6, tip=tip)
    if not np.isfinite(share):
        canvas.text(middle, y + size / 2 + 4, "–", anchor="middle")
        return
    if share > 0:
        canvas.rectangle(box, "heat", opacity=float(share), tip=tip)
    number = f"{count:,.0f}"
    room = text_width(number, 11) <= size - 6 and size > 48
    letters = min(15.0, size / 2.8)
    y += size / 2 + letters / 3 - (8 if room else 0)
    canvas.text(
        middle,
        y,
        f"{100 * share:.1f}" if size > 44 else f"{100 * share:.0f}",
        "ink",
        size=letters,
        anchor="middle",
        bold=True,
    )
    if room:
        canvas.text(middle, y + 17, number, "ink", size=11, anchor="middle")
