"""How far pairs of augmented views are apart: a bar for each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from helicon.report.canvas import Canvas
from helicon.report.figure import Figure, empty_note
from helicon.report.layout import Frame, shortened, text_width, ticks
from helicon.report.palette import series_role
from helicon.report.statistics import Spread
from helicon.report.tables import Column, Table

_ROW = 52.0
_LABEL = "mean KL divergence of the views, nats a position"


def dissimilarity(
    pairs: Mapping[str, Sequence[float]],
    published: Mapping[str, float] | None = None,
    *,
    title: str = "Dissimilarity of views",
    caption: str = "",
) -> Figure:
    """Draw the mean dissimilarity of pairs of views as bars, each batch as a dot on its bar.

    Args:
        pairs: dissimilarities of batches
            (`helicon.objectives.augmentations.augment.view_dissimilarity`) by the name of the pair
            (`MDIT+NR`); those that are not finite are left out and counted.
        published: what is to be compared with, by the name of the pair, drawn as a mark.
        title: heading of the figure.
        caption: sentence before the explanation of the marks.
    """
    spreads = {name: Spread(tuple(map(float, values))) for name, values in pairs.items()}
    marks = {
        name: float(value)
        for name, value in (published or {}).items()
        if name in spreads and np.isfinite(value)
    }
    notes = [caption] if caption else []
    notes.append("Bars: means over batches, the dots on them.")
    if marks:
        notes.append("Vertical strokes: published.")
    if lost := sum(len(s.values) - len(s.finite) for s in spreads.values()):
        notes.append(f"{lost} values that are not numbers are left out.")
    said = [
        f"{name} {spread.text()}" + (f" (published {marks[name]:g})" if name in marks else "")
        for name, spread in spreads.items()
    ]
    columns = [Column("views"), Column("mean", "number", 4), Column("published", "number", 3)]
    rows = [(n, s.mean if s.finite else None, marks.get(n)) for n, s in spreads.items()]
    return Figure(
        title=title,
        caption=" ".join(notes),
        alt=f"Bar chart of the {_LABEL}: {'; '.join(said) or 'no values'}.",
        draw=partial(_draw, spreads, marks),
        data=Table(_LABEL, columns if marks else columns[:2], [r[: 2 + bool(marks)] for r in rows])
        if rows
        else None,
    )


def _draw(spreads: Mapping[str, Spread], marks: Mapping[str, float], width: float) -> Canvas:
    canvas = Canvas(width)
    height = max(len(spreads), 1) * _ROW + 6
    canvas.height = height + 48
    highest = max([*(v for s in spreads.values() for v in s.finite), *marks.values()], default=1.0)
    places = ticks(0.0, 1.06 * highest or 1.0, 4)
    top = places[-1] + (places[1] - places[0] if places[-1] < highest else 0.0)
    frame = Frame((10, 6, width - 20, height), (0.0, top), (0, 1))
    frame.draw_x(canvas, _LABEL, grid=True)
    if not spreads:
        empty_note(canvas, 6, height)
    for i, (name, spread) in enumerate(spreads.items()):
        _draw_pair(canvas, frame, name, spread, marks.get(name), 6 + i * _ROW)
    return canvas


def _draw_pair(
    canvas: Canvas, frame: Frame, name: str, spread: Spread, mark: float | None, top: float
) -> None:
    left, _, width, _ = frame.box
    value = spread.text()
    short = shortened(name, width - text_width(value) - 16, bold=True)
    tip = name if short != name else ""
    canvas.text(left, top + 17, short, "ink", bold=True, halo=True, tip=tip)
    canvas.text(left + width, top + 17, value, "ink", anchor="end", halo=True)
    if spread.finite:
        end = float(frame.across(spread.mean))
        canvas.rectangle((left, top + 25, end - left, 16), series_role(0), opacity=0.45)
        for x, one in zip(frame.across(spread.finite), spread.finite, strict=True):
            canvas.disc(float(x), top + 33, 3.5, series_role(0), tip=f"{one:.4f}")
    if mark is not None:
        x = float(frame.across(mark))
        canvas.line([(x, top + 22), (x, top + 44)], series_role(1), width=2.5)
