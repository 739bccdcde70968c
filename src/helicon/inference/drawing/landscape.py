"""A figure of a protein's landscape: the score of every substitution at every position."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.alphabet import PROTEIN
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError
from helicon.files import write_aside
from helicon.inference.drawing.logo import CELL, LEFT, MAP, ROW, axis, substitution_map

#: Positions that a figure can show.
FIGURE = 1000
#: Residues from top to bottom, those of one kind together: aliphatic, aromatic, polar, charged.
ORDER = "GAVLIMPFYWSTCNQHKRDE"
_TOP, _LETTERS, _AXIS, _GAP = 34, 14, 14, 14


def landscape_svg(
    wild_type: str, scores: NDArray[np.float32], *, start: int, title: str, score: str
) -> str:
    """Draw a landscape, 100 positions a strip.

    Each cell is one substitution: blue where the score rises, orange where it falls.

    Args:
        wild_type: residues (L,).
        scores: of each substitution, by the residues of `ORDER`, (L, 20); NaN where unknown.
        start: number of the first position.
        title: a line above.
        score: what the colours mean.

    Returns:
        The SVG file's text.
    """
    changes = scores.copy()
    for column, letter in enumerate(ORDER):
        changes[[old == letter for old in wild_type], column] = np.nan
    largest = float(np.nanmax(np.abs(changes), initial=0)) or 1.0
    strips = range(0, len(wild_type), ROW)
    each = _LETTERS + len(ORDER) * MAP + _AXIS + _GAP
    width = LEFT + CELL * min(ROW, len(wild_type)) + 12
    height = _TOP + each * len(strips) + 22
    marks = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="10" fill="#18202a" '
        f'role="img"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>'
    ]
    for number, first in enumerate(strips):
        part = slice(first, first + ROW)
        top = _TOP + number * each
        letters = wild_type[part]
        for column, letter in enumerate(letters):
            x = LEFT + CELL * (column + 0.5) - 0.5
            marks.append(f'<text x="{x:g}" y="{top + 9}" text-anchor="middle">{letter}</text>')
        marks += substitution_map(
            letters, ORDER, changes[part], largest, start + first, top + _LETTERS
        )
        marks += axis(start + first, len(letters), top + _LETTERS + len(ORDER) * MAP + 11)
    marks.append(
        f'<text x="{LEFT}" y="{height - 8}" fill="#566270">{escape(score)}: blue to {largest:.3g}, '
        f"orange to {-largest:.3g}; grey: the wild type</text></svg>\n"
    )
    return "".join(marks)


@dataclass(frozen=True)
class Shown:
    """What a figure shows: positions of one protein, 0-based, half-open."""

    name: str
    letters: str
    start: int
    offset: int

    @classmethod
    def of(cls, store: SequenceStore, offset: int, region: str | None) -> Shown:
        """Read NAME:START-END or START-END.

        Raises:
            InputError: there is no such region, or it is too long.
        """
        name, _, span = (region or "").rpartition(":")
        names = store.names()
        if name and name not in names:
            raise InputError(f"plot_region: there is no protein {name!r} in {store.path}")
        if not name and len(names) > 1:
            raise InputError(
                f"plot_region: {store.path} has {len(names):,} proteins; name one of them, as "
                "NAME:START-END"
            )
        protein = names.index(name) if name else 0
        length = int(store.lengths[protein])
        start, end = 0, length
        if span:
            first, _, last = span.partition("-")
            if not (first.isdecimal() and last.isdecimal()):
                raise InputError(f"plot_region: {region!r} is not START-END, as in 24-286")
            start, end = int(first) - offset, int(last) - offset + 1
        if not 0 <= start < end <= length:
            raise InputError(
                f"plot_region: {names[protein]} has the positions {offset} to {offset + length - 1}"
            )
        if end - start > FIGURE:
            raise InputError(
                f"plot: a figure shows {FIGURE:,} positions at most, not {end - start:,}; choose "
                "some with plot_region, as START-END"
            )
        letters = PROTEIN.decode(store.sequence(protein)[start:end])
        return cls(names[protein], letters, start, offset)

    def draw(self, out: Path, column: str, path: Path) -> None:
        """Draw what is shown of a finished landscape."""
        scan = pl.scan_csv(out) if out.suffix == ".csv" else pl.scan_parquet(out)
        first = self.start + self.offset
        place = pl.col("position").is_between(first, first + len(self.letters) - 1)
        table = scan.filter((pl.col("protein").cast(pl.String) == self.name) & place).collect()
        scores = np.full((len(self.letters), len(ORDER)), np.nan, dtype=np.float32)
        rows = table["position"].to_numpy() - first
        columns = table["mutant"].replace_strict(list(ORDER), range(len(ORDER)))
        scores[rows, columns.to_numpy()] = table[column].to_numpy()
        kind = column.removeprefix("score/")
        title = f"{self.name} {first}-{first + len(self.letters) - 1}"
        text = landscape_svg(
            self.letters, scores, start=first, title=title,
            score=f"log p(mutant) - log p(wild type), {kind}",
        )  # fmt: skip
        with write_aside(path) as aside:
            aside.write_text(text)
