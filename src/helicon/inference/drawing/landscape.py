"""A figure of a protein's landscape: the score of every substitution at every position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.alphabet import PROTEIN
from helicon.data.tables.store import SequenceStore
from helicon.drawing import sheet as sheets
from helicon.drawing.sheet import Sheet
from helicon.errors import InputError
from helicon.files import write_aside
from helicon.inference.drawing.substitutions import (
    AXIS,
    MAP,
    strips,
    substitution_map,
    width_of,
)

#: Positions that a figure can show.
FIGURE = 1000
#: Residues from top to bottom, those of one kind together: aliphatic, aromatic, polar, charged.
ORDER = "GAVLIMPFYWSTCNQHKRDE"
_LETTERS, _GAP = 14, 14


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
    draw = partial(_draw, wild_type, changes, start, title, score)
    alt = f"Heat map of the {score}, {len(wild_type)} positions: {title}"
    return sheets.svg(draw, width_of(len(wild_type)), alt, title=title)


def _draw(
    wild_type: str,
    changes: NDArray[np.float32],
    start: int,
    title: str,
    score: str,
    sheet: Sheet,
) -> None:
    largest = float(np.nanmax(np.abs(changes), initial=0)) or 1.0
    said = f"{score}: blue to {largest:.3g}, orange to {-largest:.3g}; grey: the wild type"
    each = _LETTERS + len(ORDER) * MAP + AXIS + _GAP
    for part, top in strips(sheet, len(wild_type), each, title, said):
        letters, first = wild_type[part], start + part.start
        axes = substitution_map(
            sheet, letters, ORDER, changes[part], largest, first, top + _LETTERS
        )
        for column, letter in enumerate(letters):
            axes.text(column, -0.9, letter, size=10, ha="center", va="baseline")


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
