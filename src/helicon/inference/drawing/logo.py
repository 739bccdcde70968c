"""A figure of mutagenesis: the sequence as a logo, and a map of all substitutions beneath.

One self-contained SVG file. Letters are drawn as outlines, so that they look the same without any
font.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, Ids

#: Positions in a row of the figure; and sizes in pixels: of a position's column, of a row of the
#: map, and of the margin on the left.
ROW, CELL, MAP, LEFT = 100, 12, 11, 44
_LOGO, _TOP, _GAP, _ROW_GAP = 90, 34, 20, 18

#: Outlines in a square of side one, y downward.
_OUTLINES = {
    "A": "M0 1L.38 0H.62L1 1H.78L.7 .76H.3L.22 1ZM.36 .58H.64L.5 .18Z",
    "C": (
        "M1 .3C.95 .1 .78 0 .53 0C.2 0 0 .2 0 .5C0 .8 .2 1 .53 1C.78 1 .95 .9 1 .7L.78 .66"
        "C.74 .77 .66 .82 .53 .82C.34 .82 .23 .71 .23 .5C.23 .29 .34 .18 .53 .18"
        "C.66 .18 .74 .23 .78 .34Z"
    ),
    "G": (
        "M1 .3C.95 .1 .78 0 .53 0C.2 0 0 .2 0 .5C0 .8 .2 1 .53 1C.8 1 1 .88 1 .62V.46H.54V.62H.78"
        "C.77 .75 .69 .82 .54 .82C.34 .82 .23 .71 .23 .5C.23 .29 .34 .18 .54 .18"
        "C.66 .18 .74 .23 .78 .34Z"
    ),
    "T": "M0 0H1V.2H.61V1H.39V.2H0Z",
}
_COLOURS = {"A": "#0a7d3c", "C": "#1f5fb4", "G": "#b97700", "T": "#c22f2f"}
_RISES, _FALLS = (31, 95, 180), (194, 65, 12)


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
    counts = known.sum(1)
    heights = -np.where(known, changes, 0).sum(1) / np.maximum(counts, 1)
    tallest = float(np.abs(heights).max(initial=0)) or 1.0
    largest = float(np.abs(changes[known]).max(initial=0)) or 1.0
    rows = range(0, len(ids), ROW)
    each = _LOGO + _GAP + 4 * MAP + _ROW_GAP
    width = LEFT + CELL * min(ROW, len(ids)) + 12
    height = _TOP + each * len(rows) + 22
    marks = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="10" fill="#18202a" '
        f'role="img"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>'
    ]
    for number, first in enumerate(rows):
        part = slice(first, first + ROW)
        top = _TOP + number * each
        marks += _logo(ids[part], heights[part] / tallest, tallest, top)
        marks += axis(start + first + 1, len(ids[part]), top + _LOGO + 12)
        marks += substitution_map(
            DNA.decode(ids[part]).upper(),
            DNA.real,
            changes[part],
            largest,
            start + first + 1,
            top + _LOGO + _GAP,
        )
    marks.append(
        f'<text x="{LEFT}" y="{height - 8}" fill="#566270">letters: mean fall of the score; '
        f"map: change of the score, blue to {largest:.3g}, orange to {-largest:.3g}</text></svg>\n"
    )
    return "".join(marks)


def _logo(ids: Ids, heights: NDArray[np.floating], tallest: float, top: float) -> Iterator[str]:
    """Letters, of heights from -1 to 1, around a middle line."""
    middle = top + _LOGO / 2
    right = LEFT + CELL * len(ids)
    yield f'<path d="M{LEFT} {middle}H{right}" stroke="#c4c9d0"/>'
    for text, y in ((f"{tallest:.2g}", top + 8), ("0", middle + 3), (f"{-tallest:.2g}", top + 88)):
        yield f'<text x="{LEFT - 5}" y="{y}" text-anchor="end" fill="#566270">{text}</text>'
    for column, (i, size) in enumerate(zip(ids.tolist(), heights.tolist(), strict=True)):
        letter = DNA.letters[i] if i < DNA.size else "N"
        if letter in _OUTLINES and abs(size) > 1e-3:
            tall = abs(size) * _LOGO / 2
            y = middle - tall if size > 0 else middle
            yield (
                f'<path transform="translate({LEFT + CELL * column + 0.5:g} {y:.2f}) '
                f'scale({CELL - 1} {tall:.2f})" d="{_OUTLINES[letter]}" fill-rule="evenodd" '
                f'fill="{_COLOURS[letter]}"/>'
            )


def axis(start: int, size: int, y: float) -> Iterator[str]:
    """A number under every position that ten divides, from `start` on."""
    for column in range(size):
        if (start + column) % 10 == 0:
            x = LEFT + CELL * (column + 0.5)
            text = f"{start + column:,}"
            yield f'<text x="{x:g}" y="{y}" text-anchor="middle" fill="#566270">{text}</text>'


def substitution_map(
    there: str, letters: str, changes: NDArray[np.float32], largest: float, start: int, top: float
) -> Iterator[str]:
    """A cell a substitution; the letter that is there is grey.

    Args:
        there: letters of the sequence (L,).
        letters: that substitute them, a row each, from top to bottom.
        changes: score of each, (L, letters); NaN where there is none.
        largest: the score of the fullest colour.
        start: number of the first position.
        top: where the map begins.
    """
    for row, letter in enumerate(letters):
        y = top + MAP * row
        yield f'<text x="{LEFT - 8}" y="{y + 9}" text-anchor="end">{letter}</text>'
        for column, value in enumerate(changes[:, row].tolist()):
            x = LEFT + CELL * column
            cell = f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{MAP - 1}"'
            if np.isnan(value):
                fill = "#b6bdc6" if there[column] == letter else "#f1f2f0"
                yield f'{cell} fill="{fill}"/>'
            else:
                said = f"{start + column:,} {there[column]}&gt;{letter} {value:.4g}"
                yield f'{cell} fill="{_colour(value / largest)}"><title>{said}</title></rect>'


def _colour(value: float) -> str:
    """From white to full with the size, by sign."""
    full = _RISES if value > 0 else _FALLS
    mixed = [round(255 + (one - 255) * min(1.0, abs(value))) for one in full]
    return "#{:02x}{:02x}{:02x}".format(*mixed)
