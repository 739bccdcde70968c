"""A figure: drawn for the width it is shown at, with a caption and words for who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from helicon.drawing import sheet
from helicon.drawing.sheet import Draw
from helicon.report.tables import Table

#: Widths in pixels for which a page draws a figure: full column, half a column, a phone.
WIDE, HALF, NARROW = 880.0, 420.0, 320.0


@dataclass(frozen=True)
class Figure:
    """A figure that is drawn anew for every width, so that its text keeps its size.

    Attributes:
        title: its heading.
        caption: how to read it.
        alt: what it shows, in words.
        draw: puts it on a sheet of some width.
        data: the numbers behind it, for a table that can be opened below.
    """

    title: str
    caption: str
    alt: str
    draw: Draw
    data: Table | None = None

    def svg(self, width: float = WIDE) -> str:
        """The drawing as an SVG element that takes its colours from the page."""
        return sheet.svg(self.draw, width, self.alt)

    def write(
        self, path: str | Path, *, width: float = WIDE, theme: str = "light", scale: float = 2.0
    ) -> Path:
        """Write the drawing to a file of its own.

        Args:
            path: ends in `.svg` (follows the reader's light or dark theme) or `.png`.
            width: pixels.
            theme: `light` or `dark`, for PNG.
            scale: dots a pixel, for PNG.
        """
        return sheet.write(
            self.draw, path, width, self.alt, title=self.title, theme=theme, scale=scale
        )


def padded(*values: ArrayLike) -> tuple[float, float]:
    """A range that holds all values that are numbers, with some room; from 0 where that is near."""
    every = np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in values])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return (0.0 if 0 <= low < margin else low - margin), high + margin


def without_numbers(lost: int, what: str = "values") -> list[str]:
    """A sentence of a caption about values that are left out; nothing where there are none."""
    return [f"{lost:,} {what} that are not numbers are left out."] if lost else []
