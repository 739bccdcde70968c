"""A drawing by matplotlib whose unit is the pixel: as SVG that follows a page's theme, or as PNG.

A drawing is a function that takes a `Sheet` and plots on its axes. Whoever draws need not know the
theme: the style is set, and `sheet.colour["ink"]` is the colour of a role. The tip that a mark
shows on hover is what matplotlib calls its URL (`url=`, `urls=`).
"""

from __future__ import annotations

import bisect
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from helicon.drawing.palette import SERIES, THEMES
from helicon.drawing.svg import themed
from helicon.files import write_aside

#: Pixels around a drawing that stands in a file of its own.
MARGIN = 18.0
#: Comes with matplotlib: a drawing has the same measures on every machine. Browsers use the page's
#: font, which is as wide or narrower.
_FONT = "DejaVu Sans"


class Sheet:
    """A matplotlib figure of a given width, whose height may be set when all is placed.

    Attributes:
        width: pixels.
        height: pixels.
        figure: of matplotlib, 72 dots an inch: a point is a pixel.
        colour: colours by role.
    """

    def __init__(self, width: float, colour: Mapping[str, str]) -> None:
        self.width, self.height, self.colour = width, 100.0, colour
        self.figure = Figure((width / 72, 1), dpi=72, frameon=False)
        self._panels: list[tuple[Axes, tuple[float, float, float, float]]] = []

    def plot(self, height: float) -> Axes:
        """Axes that fill the sheet, and make room for the texts around them."""
        self.height = height
        self.figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.06)
        return _plain_numbers(self.figure.add_subplot(), self.width)

    def panel(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Axes at pixels from the top left corner; `options` are those of matplotlib's axes."""
        axes = _plain_numbers(self.figure.add_axes((0, 0, 1, 1)), width)
        axes.set(**options)
        self._panels.append((axes, (left, top, width, height)))
        return axes

    def note(self, axes: Axes, text: str = "no values recorded") -> None:
        """Say in the middle of axes that there is nothing to show."""
        muted = self.colour["muted"]
        axes.text(0.5, 0.5, text, color=muted, ha="center", va="center", transform=axes.transAxes)

    def say_above(self, axes: Axes, label: str) -> None:
        """Write what the vertical axis is, above it."""
        room = self.width - 60
        size = 12 if text_width(label) <= room else 11
        short = shortened(label, room, size)
        axes.set_title(short, fontweight="normal", color=self.colour["muted"], size=size)

    def legend(self, entries: Sequence[tuple[str, Artist]]) -> None:
        """Explain marks above the axes of `plot`, in as many columns as there is room for."""
        room = self.width - 36
        texts = [shortened(text, room) for text, _ in entries]
        fits = int(self.width / (40 + max(map(text_width, texts), default=0)))
        columns = max(1, min(len(texts), fits))
        self.height += 19 * -(-len(texts) // columns)
        self.figure.legend(
            [mark for _, mark in entries], texts, loc="outside upper left", ncols=columns
        )

    def settle(self) -> None:
        """Set the figure's height, and with it the places of the panels."""
        self.figure.set_figheight(self.height / 72)
        for axes, (left, top, width, height) in self._panels:
            bottom = self.height - top - height
            whole = (self.width, self.height, self.width, self.height)
            box = (left, bottom, width, height)
            axes.set_position(tuple(a / b for a, b in zip(box, whole, strict=True)))  # type: ignore[arg-type]
        for text in self.figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_text(clean(text.get_text()))


#: Puts marks on a sheet.
Draw = Callable[[Sheet], None]


def svg(draw: Draw, width: float, alt: str, *, title: str = "") -> str:
    """A drawing as an SVG element that takes its colours from the page.

    Args:
        draw: puts the marks on a sheet.
        width: pixels.
        alt: what the drawing shows, in words.
        title: makes a file of its own, with this title, the colours of both themes and a margin.
    """
    with drawn(draw, width) as sheet:
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(sheet.figure).print_svg(text, metadata=nothing)
    margin = MARGIN if title else 0.0
    return themed(
        clean(text.getvalue()), (sheet.width, sheet.height), clean(alt), clean(title), margin
    )


def write(
    draw: Draw, path: str | Path, width: float, alt: str, *, title: str, theme: str, scale: float
) -> Path:
    """Write a drawing to a file of its own: `.png` of one theme, with `scale` dots a pixel, or SVG.

    See `svg` for the other arguments.
    """
    path = Path(path)
    if path.suffix != ".png":
        with write_aside(path) as aside:
            aside.write_text(svg(draw, width, alt, title=title or alt) + "\n", encoding="utf-8")
        return path
    with drawn(draw, width, theme) as sheet, write_aside(path) as aside:
        FigureCanvasAgg(sheet.figure)
        sheet.figure.set_frameon(True)
        with aside.open("wb") as handle:
            sheet.figure.savefig(
                handle,
                format="png",
                dpi=72 * scale,
                facecolor=sheet.colour["surface"],
                bbox_inches=sheet.figure.bbox_inches.padded(MARGIN / 72),
            )
    return path


@contextmanager
def drawn(draw: Draw, width: float, theme: str = "light") -> Iterator[Sheet]:
    """A finished sheet, in the style of a theme."""
    sheet = Sheet(width, THEMES[theme])
    with rc_context(_style(sheet.colour)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(sheet)
        sheet.settle()
        yield sheet


def text_width(text: str, size: float = 12.0, *, bold: bool = False) -> float:
    """Width of a line of text in pixels."""
    font = FontProperties(family=_FONT, weight="bold" if bold else "normal", size=size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        line = clean(text).replace("\n", " ")
        return text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]


def shortened(text: str, width: float, size: float = 12.0, *, bold: bool = False) -> str:
    """The text, or as much of it as fits into `width` pixels and an ellipsis."""
    text = clean(text).replace("\n", " ")
    if text_width(text, size, bold=bold) <= width:
        return text
    cuts = range(len(text))
    fits = bisect.bisect_left(
        cuts, True, key=lambda n: text_width(text[:n] + "…", size, bold=bold) > width
    )
    return text[: max(fits - 1, 0)].rstrip() + "…"


def clean(text: str) -> str:
    """Text without the control characters that XML forbids."""
    return _FORBIDDEN.sub("", text)


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, its ticks plain numbers."""
    axes.set(**{f"{which}scale": "log"})
    for axis in (axes.xaxis, axes.yaxis):
        _write_plainly(axis)


def _plain_numbers(axes: Axes, across: float) -> Axes:
    """Ticks at few round numbers, about one in 90 pixels `across`."""
    axes.patch.set_visible(False)
    for axis, most in ((axes.xaxis, int(across / 90) + 1), (axes.yaxis, 5)):
        axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
        _write_plainly(axis)
    return axes


def _write_plainly(axis: Axis) -> None:
    """Write ticks in full, thousands set off by commas; what is tiny as 2.5e-05."""
    axis.set_major_formatter(FuncFormatter(lambda at, _: f"{round(at, 12) + 0.0:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def dashes(colour: str) -> Line2D:
    """What stands for a level in a legend."""
    return Line2D([], [], color=colour, linewidth=1.3, linestyle=LEVEL)


#: Dashes of a level to compare with.
LEVEL = (0, (5, 4))


def _style(colour: Mapping[str, str]) -> Any:
    return {
        "font.family": _FONT,
        "font.size": 12,
        "text.color": colour["ink"],
        "text.parse_math": False,
        "axes.edgecolor": colour["line"],
        "axes.labelcolor": colour["muted"],
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=[colour[role] for role in SERIES]),
        "axes.formatter.use_mathtext": False,
        "grid.color": colour["grid"],
        "grid.linewidth": 1,
        "xtick.color": colour["line"],
        "ytick.color": colour["line"],
        "xtick.labelcolor": colour["muted"],
        "ytick.labelcolor": colour["muted"],
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "xtick.major.size": 4,
        "ytick.major.size": 0,
        "lines.linewidth": 2,
        "lines.solid_capstyle": "round",
        "lines.solid_joinstyle": "round",
        "legend.frameon": False,
        "legend.borderaxespad": 0,
        "legend.borderpad": 0,
        "legend.handlelength": 1.5,
        "legend.columnspacing": 1.2,
        "svg.fonttype": "none",
        "svg.hashsalt": "helicon",
    }
