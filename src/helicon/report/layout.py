"""What figures share: widths of text, legends, tick marks, the frame of a plot, smooth curves."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from helicon.report.canvas import Box, Canvas

Values = NDArray[np.float64]


def text_width(text: str, size: float = 12.0, *, bold: bool = False) -> float:
    """Width of a line of text in pixels, on the safe side of the usual sans-serif fonts."""
    return size * sum(map(_letter_width, text)) * (1.09 if bold else 1.0)


def _letter_width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in "iljtfrI.,:;|!'()[] ":
        return 0.37
    if letter in "mwMW@%":
        return 0.97
    return 0.71 if letter.isupper() else 0.63


def shortened(text: str, width: float, size: float = 12.0, *, bold: bool = False) -> str:
    """The text, or as much of it as fits into `width` pixels and an ellipsis."""
    widths = np.cumsum([text_width(letter, size, bold=bold) for letter in text])
    if not len(widths) or widths[-1] <= width:
        return text
    room = width - text_width("…", size, bold=bold)
    return text[: int(np.searchsorted(widths, room, side="right"))].rstrip() + "…"


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels as little as needed, so that neighbours are `gap` apart between low and high.

    Where there is no room for all, they are set at equal distances.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    order = np.argsort(wanted, kind="stable")
    places = np.clip(np.asarray(wanted, dtype=float)[order], low, high)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    overflow = places[-1] - high
    if overflow > 0:
        places[-1] = high
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - gap)
    settled = np.empty(len(places))
    settled[order] = places
    return settled.tolist()


def wrapped(text: str, width: float, size: float = 12.0) -> list[str]:
    """Break text between words into lines of at most `width` pixels; long words are shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shortened(word, width, size))
    return lines


def swatches(
    canvas: Canvas, x: float, y: float, right: float, entries: Iterable[tuple[str, str, str]]
) -> float:
    """Draw a legend in rows between `x` and `right`, from baseline `y` on.

    Args:
        canvas: where to draw.
        x: left edge.
        y: baseline of the first row.
        right: where a row breaks.
        entries: triples of text, colour role and kind: `line`, `dot`, `dash` or `block`.

    Returns:
        The baseline of the last row.
    """
    at = x
    for text, role, kind in entries:
        short = shortened(text, right - x - 26)
        width = 26 + text_width(short)
        if at > x and at + width > right:
            at, y = x, y + 20
        _swatch(canvas, at, y - 4, role, kind)
        canvas.text(at + 24, y, short, "ink", tip=text if short != text else "")
        at += width + 14
    return y


def _swatch(canvas: Canvas, x: float, y: float, role: str, kind: str) -> None:
    if kind == "block":
        canvas.rectangle((x + 4, y - 5, 14, 10), role)
    elif kind == "dot":
        canvas.disc(x + 9, y, 4, role)
    else:
        dash = (5.0, 4.0) if kind == "dash" else ()
        canvas.line([(x, y), (x + 18, y)], role, width=2 if kind == "line" else 1.5, dash=dash)


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most about `count` round numbers between low and high, both included."""
    if not high > low:
        return [low]
    places = MaxNLocator(nbins=max(count, 1), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(p) for p in places if low - slack <= p <= high + slack]


def tick_texts(places: Sequence[float]) -> list[str]:
    """Write tick values with as many decimals as tell them apart, thousands set off by commas.

    Values below a thousandth are written in scientific notation.
    """
    largest = max(map(abs, places), default=0.0)
    if 0 < largest < 1e-3:
        return ["0" if p == 0 else f"{p:.1e}".replace("e-0", "e-") for p in places]
    for decimals in range(7):
        texts = [f"{p:,.{decimals}f}" for p in places]
        exact = all(abs(round(p, decimals) - p) < 1e-9 * max(largest, 1) for p in places)
        if exact and len(set(texts)) == len(texts):
            break
    return ["0" if p == 0 else text for p, text in zip(places, texts, strict=True)]


@dataclass(frozen=True)
class Frame:
    """The plotting area of a chart and its two linear scales.

    Attributes:
        box: left, top, width, height in pixels.
        x: values at the left and the right edge.
        y: values at the bottom and the top edge.
    """

    box: Box
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, values: ArrayLike) -> Values:
        """Pixels from the left of the drawing, for values of x."""
        low, high = self.x
        share = (np.asarray(values, dtype=float) - low) / ((high - low) or 1.0)
        return self.box[0] + share * self.box[2]

    def down(self, values: ArrayLike) -> Values:
        """Pixels from the top of the drawing, for values of y."""
        low, high = self.y
        share = (np.asarray(values, dtype=float) - low) / ((high - low) or 1.0)
        return self.box[1] + (1 - share) * self.box[3]

    def points(self, xs: ArrayLike, ys: ArrayLike) -> Values:
        """Pixels (n, 2) of points in the chart."""
        return np.column_stack([self.across(xs), self.down(ys)])

    def draw_x(self, canvas: Canvas, label: str, *, grid: bool = False) -> None:
        """Draw the horizontal axis: line, ticks, their values and the label below."""
        left, top, width, height = self.box
        bottom, right = top + height, left + width
        canvas.line([(left, bottom), (right, bottom)], "line")
        places = ticks(*self.x, round(width / 90) + 1)
        for at, text in zip(places, tick_texts(places), strict=True):
            x = float(self.across(at))
            if grid:
                canvas.line([(x, top), (x, bottom)], "grid")
            canvas.line([(x, bottom), (x, bottom + 4)], "line")
            canvas.text(x, bottom + 17, text, anchor="middle", size=11)
        if label:
            canvas.text(right, bottom + 34, shortened(label, right), anchor="end")

    def draw_y(self, canvas: Canvas, label: str) -> None:
        """Draw the horizontal grid, its values on the left and the label above."""
        left, top, width, height = self.box
        places = ticks(*self.y, round(height / 45))
        for at, text in zip(places, tick_texts(places), strict=True):
            y = float(self.down(at))
            canvas.line([(left, y), (left + width, y)], "grid")
            canvas.text(left - 7, y + 4, text, anchor="end", size=11)
        if label:
            canvas.text(0, top - 12, shortened(label, canvas.width))

    @staticmethod
    def left_margin(low: float, high: float, height: float) -> float:
        """Room that the values of the vertical axis need."""
        texts = tick_texts(ticks(low, high, round(height / 45)))
        return 10 + max(text_width(text, 11) for text in texts)


def finite(points: Iterable[Sequence[float]]) -> Values:
    """The points (n, 2) of which both values are numbers, sorted by the first."""
    table = np.asarray(list(points), dtype=float).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    return table[np.argsort(table[:, 0], kind="stable")]


def smooth(values: Values, width: int) -> Values:
    """Centred moving mean over `width` values; windows are cut at both ends."""
    width = max(1, min(width, len(values)))
    total = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    first = np.maximum(middle - (width - 1) // 2, 0)
    last = np.minimum(middle + width // 2 + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def bin_means(values: Values, count: int) -> Values:
    """Means over `count` bins of nearly equal width; NaN where a bin holds no number."""
    edges = np.linspace(0, len(values), min(count, len(values)) + 1).astype(int)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges[:-1])
    counts = np.add.reduceat(known.astype(float), edges[:-1])
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def envelope(table: Values, count: int) -> Values:
    """At most 2 * `count` points with the same outline: each bin's lowest and highest value."""
    if len(table) <= 2 * count:
        return table
    bins = np.array_split(table, count)
    pairs = [b[sorted((int(b[:, 1].argmin()), int(b[:, 1].argmax())))] for b in bins]
    return np.concatenate(pairs)
