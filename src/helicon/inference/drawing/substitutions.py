"""Maps of substitutions: a column a position, a row a letter, in strips of many positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from helicon.drawing.sheet import Sheet, shortened

#: Positions in a strip; and sizes in pixels: of a position's column, of a row of the map, of the
#: margin on the left, and of the title above and the legend below all strips.
ROW, CELL, MAP, LEFT, TOP, BELOW = 100, 12, 11, 44, 34, 22
#: Room under a map for the numbers of positions.
AXIS = 14


def width_of(positions: int) -> float:
    """Pixels that a figure of so many positions is wide."""
    return float(max(LEFT + CELL * min(ROW, positions) + 12, 420))


def strips(sheet: Sheet, positions: int, height: float, title: str, note: str) -> Iterator:
    """Write title and note, and give the slice of every strip and where it begins.

    Args:
        sheet: where to draw.
        positions: of all strips.
        height: of a strip, in pixels.
        title: a line above.
        note: what the colours mean, below.
    """
    firsts = range(0, positions, ROW)
    sheet.height = TOP + height * len(firsts) + BELOW
    head = sheet.panel(LEFT, 0, sheet.width - LEFT, sheet.height, xlim=(0, 1))
    head.set(ylim=(sheet.height, 0))
    head.set_axis_off()
    head.text(0, 18, shortened(title, sheet.width - LEFT, 13), size=13, va="baseline", url=title)
    muted = sheet.colour["muted"]
    short = shortened(note, sheet.width - LEFT, 10)
    head.text(0, sheet.height - 8, short, size=10, color=muted, va="baseline", url=note)
    for number, first in enumerate(firsts):
        yield slice(first, min(first + ROW, positions)), TOP + number * height


def substitution_map(
    sheet: Sheet,
    there: str,
    letters: str,
    changes: NDArray[np.float32],
    largest: float,
    start: int,
    top: float,
) -> Axes:
    """A cell a substitution: blue where the score rises, orange where it falls, grey what is there.

    Args:
        sheet: where to draw.
        there: letters of the sequence (L,).
        letters: that substitute them, a row each, from top to bottom.
        changes: score of each, (L, letters); NaN where there is none.
        largest: the score of the fullest colour.
        start: number of the first position.
        top: where the map begins.
    """
    count, rows = len(there), len(letters)
    axes = sheet.panel(LEFT, top, CELL * count, MAP * rows)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(rows - 0.5, -0.5))
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(range(rows), labels=list(letters), size=10, color=sheet.colour["ink"])
    number_positions(axes, count, start)
    colours: list[tuple[float, ...]] = []
    tips: list[str | None] = []
    rises, falls = (to_rgba(sheet.colour[role])[:3] for role in ("series-1", "series-5"))
    same, unknown = (to_rgba(sheet.colour[role], 0.45) for role in ("muted", "grid"))
    for column, old in enumerate(there):
        for row, new in enumerate(letters):
            value = float(changes[column, row])
            if np.isnan(value):
                colours.append(same if old == new else unknown)
                tips.append(None)
            else:
                share = min(1.0, abs(value) / largest)
                colours.append((*(rises if value > 0 else falls), round(share, 3)))
                tips.append(f"{start + column:,} {old}>{new} {value:.4g}")
    x, y = np.indices((count, rows)).reshape(2, -1)
    size = (MAP - 1) ** 2
    axes.scatter(x, y, s=size, marker="s", c=colours, linewidths=0, urls=tips, clip_on=False)
    return axes


def number_positions(axes: Axes, count: int, start: int) -> None:
    """A number under every position that ten divides, from `start` on."""
    tens = [column for column in range(count) if (start + column) % 10 == 0]
    axes.set_xticks(tens, labels=[f"{start + column:,}" for column in tens], size=10)
    axes.tick_params(axis="x", length=0, pad=3)
