"""A figure of mutagenesis: the sequence as a logo, and a map of all substitutions beneath.

One self-contained SVG file. Letters are drawn as outlines, so that they look the same without any
font.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from helicon.alphabet import DNA, Ids
from helicon.drawing import sheet as sheets
from helicon.drawing.sheet import Sheet
from helicon.inference.drawing.substitutions import (
    CELL,
    LEFT,
    MAP,
    number_positions,
    strips,
    substitution_map,
    width_of,
)

_LOGO, _GAP, _ROW_GAP = 90, 20, 18
#: Roles of the letters' colours; those that are usual: green, blue, orange, red.
_COLOURS = {"A": "series-3", "C": "series-1", "G": "series-2", "T": "series-5"}


def logo_svg(ids: Ids, changes: NDArray[np.float32], *, start: int, title: str) -> str:
    """Draw substitutions.

    The letter of each position is as high as its substitutions lower the score on average: upward
    where they lower it, downward where they raise it. In the map beneath, each cell is one
    substitution: blue raises the score, orange lowers it.

    Args:
        ids: token ids (L,).
        changes: score of each substitution by A, C, G and T, (L, 4); NaN for the base that is there
            and where nothing is known.
        start: 0-based position of the first; the axis counts from 1.
        title: a line above.

    Returns:
        The SVG file's text.
    """
    known = ~np.isnan(changes)
    heights = -np.where(known, changes, 0).sum(1) / np.maximum(known.sum(1), 1)
    draw = partial(_draw, DNA.decode(ids).upper(), changes, heights, start + 1, title)
    alt = f"Sequence logo of {len(ids)} positions above a map of their substitutions: {title}"
    return sheets.svg(draw, width_of(len(ids)), alt, title=title)


def _draw(
    letters: str,
    changes: NDArray[np.float32],
    heights: NDArray[np.floating],
    start: int,
    title: str,
    sheet: Sheet,
) -> None:
    tallest = float(np.abs(heights).max(initial=0)) or 1.0
    largest = float(np.nanmax(np.abs(changes), initial=0)) or 1.0
    note = (
        "letters: mean fall of the score; "
        f"map: change of the score, blue to {largest:.3g}, orange to {-largest:.3g}"
    )
    each = _LOGO + _GAP + 4 * MAP + _ROW_GAP
    for part, top in strips(sheet, len(letters), each, title, note):
        there = letters[part]
        axes = sheet.panel(LEFT, top, CELL * len(there), _LOGO)
        axes.set(xlim=(-0.5, len(there) - 0.5), ylim=(-tallest, tallest))
        axes.spines["bottom"].set_visible(False)
        axes.axhline(0, color=sheet.colour["line"], linewidth=1)
        places = [-tallest, 0, tallest]
        axes.set_yticks(places, labels=[f"{at:.2g}" for at in places], size=10)
        lowest, _, highest = axes.get_yticklabels()
        lowest.set_verticalalignment("bottom")
        highest.set_verticalalignment("top")
        number_positions(axes, len(there), start + part.start)
        _draw_letters(sheet, axes, there, heights[part])
        under = top + _LOGO + _GAP
        below = substitution_map(
            sheet, there, DNA.real, changes[part], largest, start + part.start, under
        )
        below.set_xticks([])


def _draw_letters(sheet: Sheet, axes: Axes, letters: str, heights: NDArray[np.floating]) -> None:
    """Letters as high as the values, upright above and below the middle line."""
    tallest = axes.get_ylim()[1]
    for letter, role in _COLOURS.items():
        shapes = [
            Affine2D()
            .scale(1 - 1 / CELL, abs(height))
            .translate(column - 0.5 + 0.5 / CELL, min(height, 0))
            .transform_path(_outline(letter))
            for column, (one, height) in enumerate(zip(letters, heights.tolist(), strict=True))
            if one == letter and abs(height) > 1e-3 * tallest
        ]
        if shapes:
            colour = sheet.colour[role]
            marks = PathCollection(shapes, facecolors=colour, edgecolors="none", label=letter)
            axes.add_collection(marks, autolim=False)


@cache
def _outline(letter: str) -> Path:
    """A letter in a square of side one."""
    path = TextPath((0, 0), letter, size=100, prop=FontProperties(weight="bold"))
    (left, bottom), (right, top) = path.get_extents().get_points()
    to_square = Affine2D().translate(-left, -bottom).scale(1 / (right - left), 1 / (top - bottom))
    return to_square.transform_path(path)
