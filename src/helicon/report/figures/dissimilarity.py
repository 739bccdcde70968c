"""How far pairs of augmented views are apart: a bar for each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from helicon.drawing.palette import series_role
from helicon.drawing.sheet import Sheet
from helicon.report.figures.comparison import name_row, rows_of
from helicon.report.figures.figure import Figure, padded, without_numbers
from helicon.report.results.spread import Spread
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
    lost = sum(len(s.values) - len(s.finite) for s in spreads.values())
    said = [
        f"{name} {spread.text()}" + (f" (published {marks[name]:g})" if name in marks else "")
        for name, spread in spreads.items()
    ]
    columns = [Column("views"), Column("mean", "number", 4), Column("published", "number", 3)]
    rows = [(n, s.mean if s.finite else None, marks.get(n)) for n, s in spreads.items()]
    return Figure(
        title=title,
        caption=" ".join([*notes, *without_numbers(lost)]),
        alt=f"Bar chart of the {_LABEL}: {'; '.join(said) or 'no values'}.",
        draw=partial(_draw, spreads, marks),
        data=Table(_LABEL, columns if marks else columns[:2], [r[: 2 + bool(marks)] for r in rows])
        if rows
        else None,
    )


def _draw(spreads: Mapping[str, Spread], marks: Mapping[str, float], sheet: Sheet) -> None:
    _, highest = padded(*(s.values for s in spreads.values()), [*marks.values()])
    axes = rows_of(sheet, len(spreads), _ROW, 6, _LABEL, (0, highest))
    first, second = (sheet.colour[series_role(i)] for i in range(2))
    for i, (name, spread) in enumerate(spreads.items()):
        y = i * _ROW
        name_row(sheet, axes, y + 17, name, spread.text())
        if spread.finite:
            axes.barh(y + 33, spread.mean, height=16, color=first, alpha=0.45)
        said = [f"{one:.4f}" for one in spread.finite]
        level = [y + 33] * len(said)
        edge = sheet.colour["surface"]
        axes.scatter(spread.finite, level, s=49, color=first, edgecolors=edge, urls=said, zorder=3)
        if name in marks:
            axes.plot([marks[name]] * 2, [y + 22, y + 44], color=second, lw=2.5)
