"""Tables of typed columns, with mean and spread over seeds and the best value marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from helicon.report.results.spread import Spread
from helicon.report.wording import percent

#: What a table holds: text, a number, a measure over seeds, or `None` where nothing was measured.
Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        label: its heading.
        kind: `text`, `number` (fixed decimals), `integer` (thousands set off) or `percent` (of a
            share of 1).
        digits: decimals of a number or a percentage.
        best: whether the highest or the lowest value of the column is marked.
    """

    label: str
    kind: Literal["text", "number", "integer", "percent"] = "text"
    digits: int = 3
    best: Literal["max", "min"] | None = None

    def text(self, cell: Cell) -> str:
        """Write one cell."""
        if cell is None:
            return "–"
        if isinstance(cell, str):
            return cell
        if self.kind == "percent":
            if isinstance(cell, Spread):
                return f"{Spread(tuple(100 * v for v in cell.values)).text(self.digits)}\u00a0%"
            return percent(cell, self.digits)
        if isinstance(cell, Spread):
            return cell.text(self.digits)
        if not math.isfinite(cell):
            return "NaN" if math.isnan(cell) else str(cell)
        return f"{cell:,.0f}" if self.kind == "integer" else f"{cell:,.{self.digits}f}"


@dataclass(frozen=True)
class ShownCell:
    """A cell as the page shows it."""

    text: str
    best: bool
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    Attributes:
        caption: what it shows.
        columns: its columns.
        rows: one cell a column.
        note: small print below, as how many seeds stand behind a spread.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @property
    def shown(self) -> list[list[ShownCell]]:
        """Rows as the page shows them."""
        best = [self._best(i) for i in range(len(self.columns))]
        return [
            [
                ShownCell(text, text in best[i], column.kind != "text")
                for i, column in enumerate(self.columns)
                for text in [column.text(row[i])]
            ]
            for row in self.rows
        ]

    def _best(self, index: int) -> set[str]:
        """The text of a column's best value; ties as written are all best."""
        column = self.columns[index]
        numbers = [(_value(row[index]), column.text(row[index])) for row in self.rows]
        numbers = [(value, text) for value, text in numbers if math.isfinite(value)]
        if column.best is None or len(numbers) < 2:
            return set()
        return {(max if column.best == "max" else min)(numbers)[1]}


def _value(cell: Cell) -> float:
    if isinstance(cell, Spread):
        return cell.mean
    return math.nan if cell is None or isinstance(cell, str) else float(cell)
