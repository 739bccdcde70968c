"""Reports: one HTML file of sections, tables and figures that asks nothing of any network.

Styles, drawings and the switch of the theme are inside the file, and a content security policy
keeps a browser from fetching anything. All text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from helicon.drawing.palette import theme_css
from helicon.drawing.svg import DRAWING_CSS
from helicon.files import write_aside
from helicon.report.figures.figure import HALF, NARROW, WIDE, Figure
from helicon.report.tables import Table

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Prose:
    """Paragraphs, set apart by empty lines; `code` between backticks."""

    text: str

    @property
    def paragraphs(self) -> list[Markup]:
        """Escaped paragraphs with their code marked."""
        return [inline(part) for part in re.split(r"\n\s*\n", self.text.strip()) if part]


@dataclass(frozen=True)
class Card:
    """A key figure: what it is, its value as text, and small print."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cards:
    """Key figures in a row."""

    cards: Sequence[Card]


@dataclass(frozen=True)
class Columns:
    """Figures side by side on a wide page, below one another on a narrow one."""

    figures: Sequence[Figure]


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a value, as the provenance of a result."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Commands:
    """Command lines that were run or that can be run."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Source:
    """A text file, folded until it is asked for."""

    title: str
    text: str


@dataclass(frozen=True)
class Items:
    """A list of short statements."""

    lines: Sequence[str]


Block = Prose | Items | Cards | Columns | Facts | Commands | Source | Table | Figure


def with_commands(block: Block, lines: Sequence[str]) -> list[Block]:
    """A block, and the command lines that belong to it, if there are any."""
    return [block, Commands(lines)] if lines else [block]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        title: its heading.
        subtitle: one sentence below the heading; `code` between backticks.
        sections: its parts, in order.
        lead: blocks before the first section, as the key figures.
        kind: the small line above the heading.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    lead: Sequence[Block] = ()
    kind: str = "Helicon"

    def html(self) -> str:
        """The page as text."""
        script = _source("theme.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return (
            _environment()
            .get_template("report.html.j2")
            .render(
                report=self,
                style=Markup(_styles()),
                script=Markup(script),
                script_digest=digest,
            )
        )

    def write(self, path: str | Path) -> Path:
        """Write the page to `path`, whole or not at all."""
        path = Path(path)
        with write_aside(path) as aside:
            aside.write_text(self.html(), encoding="utf-8")
        return path


def inline(text: str) -> Markup:
    """Escape text, and set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _svg(figure: Figure, size: str) -> Markup:
    return Markup(figure.svg({"wide": WIDE, "half": HALF, "narrow": NARROW}[size]))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"kind": _kind, "svg": _svg, "inline": inline}
    return environment


def _styles() -> str:
    return theme_css() + DRAWING_CSS + "\n" + _source("report.css")


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
