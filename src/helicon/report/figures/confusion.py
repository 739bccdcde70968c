"""Confusion matrices: what the true classes were taken for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from helicon.drawing.sheet import Sheet, clean, shortened, text_width
from helicon.report.figures.figure import Figure
from helicon.report.wording import percent

Counts = NDArray[np.float64]
#: Width of a letter, to break names by.
_LETTER = 7.5


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
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
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
        draw=partial(_draw, counts, shares, [clean(name) for name in classes]),
    )


def _draw(counts: Counts, shares: Counts, classes: list[str], sheet: Sheet) -> None:
    k = len(classes)
    left = max(64.0, min(0.34 * sheet.width, 8 + max(map(text_width, classes))))
    cell = min((sheet.width - left) / k, 96.0)
    wrapped = [_lines(name, cell - 6) for name in classes]
    fits = all(text_width(line) <= cell - 4 for lines in wrapped for line in lines)
    depth = 15.0 * max(map(len, wrapped)) if fits else min(90.0, max(map(text_width, classes)))
    top = 26 + depth
    sheet.height = top + cell * k + 2
    axes = sheet.panel(left, top, cell * k, cell * k, xlim=(0, cell * k), ylim=(cell * k, 0))
    axes.set_axis_off()
    muted: dict[str, Any] = {"color": sheet.colour["muted"], "size": 11}
    axes.text(0, -depth - 12, "predicted", va="bottom", **muted)
    for i, name in enumerate(classes):
        middle = cell * (i + 0.5)
        if fits:
            axes.text(middle, -6, "\n".join(wrapped[i]), ha="center", va="bottom")
        else:
            short = shortened(name, depth)
            axes.text(middle, -4, short, rotation=90, ha="center", va="bottom", url=name)
        _name_row(axes, name, f"{counts[i].sum():,.0f}", middle, left - 10, cell, muted)
        for j in range(k):
            tip = f"{name} → {classes[j]}: {counts[i, j]:,.0f}"
            _draw_cell(sheet, axes, (j, i), cell, counts[i, j], shares[i, j], tip)


def _name_row(
    axes: Axes, name: str, total: str, y: float, room: float, cell: float, muted: dict[str, Any]
) -> None:
    """Write a true class beside its row, with its count where the row is high enough."""
    tip = f"{name}: {total}"
    lines = _lines(name, room)[:2] if cell >= 48 else [name]
    said = "\n".join(shortened(line, room) for line in lines)
    if cell < 48:
        axes.text(-10, y, said, ha="right", va="center", url=tip)
        return
    axes.text(-10, y + 2, said, ha="right", va="bottom" if len(lines) == 1 else "center", url=tip)
    below = y + (4 if len(lines) == 1 else 20)
    axes.text(-10, below, shortened(total, room, 11), ha="right", va="top", **muted)


def _draw_cell(
    sheet: Sheet,
    axes: Axes,
    place: tuple[int, int],
    cell: float,
    count: float,
    share: float,
    tip: str,
) -> None:
    x, y = (cell * one for one in place)
    box = partial(Rectangle, (x + 1, y + 1), cell - 2, cell - 2, linewidth=0, url=tip)
    axes.add_patch(box(color=sheet.colour["grid"], alpha=0.6))
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    x, y = x + cell / 2, y + cell / 2
    if not np.isfinite(share):
        axes.text(x, y, "–", color=sheet.colour["muted"], **middle)
        return
    if share > 0:
        axes.add_patch(box(color=sheet.colour["heat"], alpha=share))
    number = f"{count:,.0f}"
    room = text_width(number, 11) <= cell - 6 and cell > 48
    said = f"{100 * share:.1f}" if cell > 44 else f"{100 * share:.0f}"
    size = min(15.0, cell / 2.8)
    axes.text(x, y - (9 if room else 0), said, size=size, weight="bold", url=tip, **middle)
    if room:
        axes.text(x, y + 11, number, size=11, url=tip, **middle)


def _lines(name: str, width: float) -> list[str]:
    """A name broken between words into lines of about so many pixels."""
    return textwrap.wrap(name, max(int(width / _LETTER), 1), break_long_words=False) or [""]
