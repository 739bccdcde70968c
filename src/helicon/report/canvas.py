"""A drawing of few kinds of marks, written as SVG that follows the page's theme, or as PNG.

Coordinates are pixels from the top left corner; colours are roles of `palette`.
"""

from __future__ import annotations

import unicodedata
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from matplotlib import font_manager, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Ellipse, PathPatch, Rectangle
from matplotlib.path import Path as MatplotlibPath
from numpy.typing import ArrayLike, NDArray

from helicon.files import write_aside
from helicon.report.palette import THEMES, figure_css, theme_css

Anchor = Literal["start", "middle", "end"]
#: A rectangle: left, top, width, height.
Box = tuple[float, float, float, float]

#: Pixels around a drawing that stands in a file of its own.
MARGIN = 18.0
_FONTS = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")
_ALIGNMENT = {"start": "left", "middle": "center", "end": "right"}


@dataclass(frozen=True)
class Shape:
    """A line or an area through `points` (n, 2); `clip` hides what lies outside a box."""

    points: NDArray[np.float64]
    fill: str | None
    stroke: str | None
    stroke_width: float
    opacity: float
    dash: tuple[float, ...]
    tip: str
    clip: Box | None


@dataclass(frozen=True)
class Disc:
    """A filled circle with a rim."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str
    opacity: float
    tip: str


@dataclass(frozen=True)
class Words:
    """One line of text; `y` is its baseline, `halo` clears the ground behind it."""

    x: float
    y: float
    text: str
    role: str
    size: float
    anchor: Anchor
    bold: bool
    rotate: float
    halo: bool
    tip: str


@dataclass
class Canvas:
    """A drawing under construction.

    Attributes:
        width: pixels.
        height: pixels; may be set last, when all is placed.
        marks: what was drawn, in painting order.
    """

    width: float
    height: float = 0.0
    marks: list[Shape | Disc | Words] = field(default_factory=list)

    def line(
        self,
        points: ArrayLike,
        stroke: str,
        *,
        width: float = 1.0,
        opacity: float = 1.0,
        dash: tuple[float, ...] = (),
        tip: str = "",
        clip: Box | None = None,
    ) -> None:
        """Draw a line through `points` (n, 2)."""
        path = np.asarray(points, dtype=float).reshape(-1, 2)
        if len(path) > 1:
            self.marks.append(Shape(path, None, stroke, width, opacity, dash, tip, clip))

    def area(self, points: ArrayLike, fill: str, *, opacity: float = 1.0, tip: str = "") -> None:
        """Fill the polygon with the corners `points` (n, 2)."""
        path = np.asarray(points, dtype=float).reshape(-1, 2)
        if len(path) > 2:
            self.marks.append(Shape(path, fill, None, 0.0, opacity, (), tip, None))

    def rectangle(self, box: Box, fill: str, *, opacity: float = 1.0, tip: str = "") -> None:
        """Fill a rectangle."""
        x, y, w, h = box
        self.area([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], fill, opacity=opacity, tip=tip)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        fill: str,
        *,
        stroke: str = "surface",
        opacity: float = 1.0,
        tip: str = "",
    ) -> None:
        """Draw a filled circle around (x, y)."""
        self.marks.append(Disc(x, y, radius, fill, stroke, opacity, tip))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        role: str = "muted",
        *,
        size: float = 12.0,
        anchor: Anchor = "start",
        bold: bool = False,
        rotate: float = 0.0,
        halo: bool = False,
        tip: str = "",
    ) -> None:
        """Write one line of text with its baseline at `y`; `rotate` is degrees clockwise."""
        self.marks.append(Words(x, y, text, role, size, anchor, bold, rotate, halo, tip))

    def svg(self, alt: str, *, standalone: bool = False) -> str:
        """SVG text.

        Args:
            alt: what the drawing shows, for those who do not see it.
            standalone: carry the theme's colours and a margin, for a file of its own; inside a
                page they come from the page.
        """
        margin = MARGIN if standalone else 0.0
        box = (-margin, -margin, self.width + 2 * margin, self.height + 2 * margin)
        head = f'<svg class="drawing" role="img" aria-label={quoteattr(_clean(alt))} '
        head += f'viewBox="{" ".join(map(_number, box))}"'
        style = ""
        if standalone:
            head += ' xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'
            style = f"<style>{theme_css()}{figure_css()}{DRAWING_CSS}</style>"
            x, y, w, h = map(_number, box)
            style += f'<rect x="{x}" y="{y}" width="{w}" height="{h}" class="f-surface"/>'
        return f"{head}>{style}{''.join(_svg_mark(mark) for mark in self.marks)}</svg>"

    def png(self, path: str | Path, *, theme: str = "light", scale: float = 2.0) -> Path:
        """Write a PNG of `scale` dots a pixel, with a margin, in the colours of one theme."""
        colours = THEMES[theme]
        size = (self.width + 2 * MARGIN, self.height + 2 * MARGIN)
        figure = MatplotlibFigure((size[0] / 72, size[1] / 72), facecolor=colours["surface"])
        agg = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-MARGIN, self.width + MARGIN)
        axes.set_ylim(self.height + MARGIN, -MARGIN)
        font = _font()
        for mark in self.marks:
            _paint(axes, mark, colours, font)
        with write_aside(path) as aside, warnings.catch_warnings(), aside.open("wb") as handle:
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.set_dpi(72 * scale)
            agg.print_png(handle)
        return Path(path)


#: CSS that every drawing needs beside the colours.
DRAWING_CSS = (
    ".drawing{display:block;width:100%;height:auto}"
    ".drawing .b{font-weight:600}"
    ".drawing .h{paint-order:stroke;stroke:var(--surface);stroke-width:4px;stroke-linejoin:round}"
    ".drawing .l{fill:none;stroke-linejoin:round;stroke-linecap:round}"
)


def _svg_mark(mark: Shape | Disc | Words) -> str:
    if isinstance(mark, Words):
        return _svg_words(mark)
    if isinstance(mark, Disc):
        attributes = (
            f'class="f-{mark.fill} s-{mark.stroke}" cx="{_number(mark.x)}" '
            f'cy="{_number(mark.y)}" r="{_number(mark.radius)}"'
        )
        return _element("circle", attributes + _opacity(mark.opacity), _tip(mark.tip))
    return _svg_shape(mark)


def _svg_shape(mark: Shape) -> str:
    corners = "L".join(f"{_number(x)} {_number(y)}" for x, y in mark.points)
    if mark.fill:
        attributes = f'class="f-{mark.fill}" d="M{corners}Z"'
    else:
        attributes = f'class="l s-{mark.stroke}" d="M{corners}"'
        if mark.stroke_width != 1:
            attributes += f' stroke-width="{_number(mark.stroke_width)}"'
        if mark.dash:
            attributes += f' stroke-dasharray="{" ".join(map(_number, mark.dash))}"'
    element = _element("path", attributes + _opacity(mark.opacity), _tip(mark.tip))
    if mark.clip is None:
        return element
    x, y, w, h = map(_number, mark.clip)
    return (
        f'<svg x="{x}" y="{y}" width="{w}" height="{h}" viewBox="{x} {y} {w} {h}">{element}</svg>'
    )


def _svg_words(mark: Words) -> str:
    names = f"f-{mark.role}" + " b" * mark.bold + " h" * mark.halo
    x, y = _number(mark.x), _number(mark.y)
    attributes = f'class="{names}" x="{x}" y="{y}" font-size="{_number(mark.size)}"'
    if mark.anchor != "start":
        attributes += f' text-anchor="{mark.anchor}"'
    if mark.rotate:
        attributes += f' transform="rotate({_number(mark.rotate)} {x} {y})"'
    return _element("text", attributes, _tip(mark.tip) + escape(_clean(mark.text)))


def _element(name: str, attributes: str, inside: str) -> str:
    return f"<{name} {attributes}>{inside}</{name}>" if inside else f"<{name} {attributes}/>"


def _tip(text: str) -> str:
    return f"<title>{escape(_clean(text))}</title>" if text else ""


def _opacity(value: float) -> str:
    return "" if value == 1 else f' opacity="{value:.3g}"'


def _number(value: float) -> str:
    """Pixels with one decimal, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def _clean(text: str) -> str:
    """Text without the control characters that XML forbids."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs", "Cn"))


def _paint(axes: Axes, mark: Shape | Disc | Words, colours: dict[str, str], font: str) -> None:
    if isinstance(mark, Words):
        _paint_words(axes, mark, colours, font)
    elif isinstance(mark, Disc):
        axes.add_patch(
            Ellipse(
                (mark.x, mark.y),
                2 * mark.radius,
                2 * mark.radius,
                facecolor=colours[mark.fill],
                edgecolor=colours[mark.stroke],
                linewidth=1,
                alpha=mark.opacity,
            )
        )
    else:
        patch = PathPatch(
            MatplotlibPath(mark.points, closed=False),
            facecolor=colours[mark.fill] if mark.fill else "none",
            edgecolor=colours[mark.stroke] if mark.stroke else "none",
            linewidth=mark.stroke_width,
            linestyle=(0, mark.dash) if mark.dash else "-",
            alpha=mark.opacity,
            capstyle="round",
            joinstyle="round",
        )
        axes.add_patch(patch)
        if mark.clip:
            x, y, w, h = mark.clip
            patch.set_clip_path(Rectangle((x, y), w, h, transform=axes.transData))


def _paint_words(axes: Axes, mark: Words, colours: dict[str, str], font: str) -> None:
    halo = [patheffects.withStroke(linewidth=4, foreground=colours["surface"])]
    axes.text(
        mark.x,
        mark.y,
        _clean(mark.text),
        color=colours[mark.role],
        fontsize=mark.size,
        fontfamily=font,
        fontweight="bold" if mark.bold else "normal",
        horizontalalignment=_ALIGNMENT[mark.anchor],
        verticalalignment="baseline",
        rotation=-mark.rotate,
        rotation_mode="anchor",
        parse_math=False,
        path_effects=halo if mark.halo else None,
    )


def _font() -> str:
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next(name for name in _FONTS if name in installed)
