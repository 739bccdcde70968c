"""A figure: drawn for the width it is shown at, with a caption and words for who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helicon.files import write_aside
from helicon.report.canvas import Canvas
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
        draw: makes the drawing for a width in pixels.
        data: the numbers behind it, for a table that can be opened below.
    """

    title: str
    caption: str
    alt: str
    draw: Callable[[float], Canvas]
    data: Table | None = None

    def svg(self, width: float = WIDE) -> str:
        """The drawing as an SVG element that takes its colours from the page."""
        return self.draw(width).svg(self.alt)

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
        path = Path(path)
        canvas = self.draw(width)
        if path.suffix == ".png":
            return canvas.png(path, theme=theme, scale=scale)
        with write_aside(path) as aside:
            aside.write_text(canvas.svg(self.alt, standalone=True), encoding="utf-8")
        return path


def empty_note(canvas: Canvas, top: float, height: float) -> None:
    """Say in the middle of a plot that there is nothing to show."""
    canvas.text(canvas.width / 2, top + height / 2, "no values recorded", anchor="middle")
