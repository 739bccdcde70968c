"""Tables of protein mutants, read as substitutions in their wild types.

A mutant is written `A24G`, several substitutions of one with `:`, `,`, `;`, `/`, `+` or a space
between them. Or the table has the whole changed sequence, from which the substitutions follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.alphabet import INVALID, PROTEIN, SOFT_BIT, Ids
from helicon.data.reading.compressed import open_anywhere, open_bytes
from helicon.data.reading.delimited import read_delimited
from helicon.data.tables.columns import pack_texts, sequence_texts
from helicon.data.tables.label_columns import number_column
from helicon.data.tables.store import OnError, SequenceStore
from helicon.data.tables.tables import outside
from helicon.errors import InputError

#: Names by which a column of mutants is known.
COLUMNS = ("mutant", "mutants", "mutation", "mutations", "variant", "variants", "aamutations")
#: What stands for the wild type itself, in any case.
WILD = ("", "wt", "_wt", "wild type", "wild-type", "wildtype", "=", "p.=")
#: Letters that a residue can change into: the certain ones, and a stop.
INTO = PROTEIN.real + "*"

#: Wrong rows that a message shows.
_SHOWN = 3
#: Substitutions and numberings that are tried for the message that another would fit.
_TRIED, _NUMBERINGS = 2000, 20_000
_LETTER = np.uint8(0xFF ^ SOFT_BIT)
_BETWEEN = r"[\s:;,/+|]+"
_SUBSTITUTION = r"^([A-Za-z*])(-?\d{1,9})([A-Za-z*\-#@])$"

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mutants:
    """Rows of a table, and what each changes in its wild type.

    Attributes:
        path: the file.
        frame: all columns of the rows that could be read; text, where the file is a text.
        protein: index of each row's wild type, (n,).
        row: of every substitution, ascending, (m,).
        position: of every substitution in its wild type, 0-based, (m,).
        letter: id of what stands there instead, (m,).
        lines: where each row stands in the file (from 1), (n,).
        unit: what `lines` counts, `line` or `row`.
        decimal_comma: whether numbers may have one.
        skipped: rows that were left out.
        reasons: what is wrong with the first of these.
    """

    path: Path
    frame: pl.DataFrame
    protein: Whole
    row: Whole
    position: Whole
    letter: Ids
    lines: Whole
    unit: str
    decimal_comma: bool
    skipped: int = 0
    reasons: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.protein)

    @property
    def substitutions(self) -> Whole:
        """Substitutions of each row, (n,); of the wild type none."""
        return np.bincount(self.row, minlength=len(self))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column of numbers, (n,); NaN where there is none.

        Raises:
            InputError: there is no such column, or it holds other text.
        """
        return number_column(
            self.frame[named(self.path, self.frame.columns, column)],
            column,
            lambda row: f"{self.path}, {self.unit} {self.lines[row]}",
            decimal_comma=self.decimal_comma,
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """A table as it stands in its file.

    Attributes:
        frame: all columns.
        lines: where each row stands (from 1), (n,).
        unit: what `lines` counts.
        decimal_comma: whether numbers may have one.
    """

    frame: pl.DataFrame
    lines: Whole
    unit: str
    decimal_comma: bool


def read_mutants(
    path: str | Path,
    wild_types: SequenceStore,
    *,
    column: str | None = None,
    sequence: str | None = None,
    protein_column: str | None = None,
    offset: int = 1,
    on_error: OnError = "fail",
) -> Mutants:
    """Read a CSV, TSV or Parquet table of mutants.

    Args:
        path: the table, plain or compressed with gzip.
        wild_types: the proteins.
        column: of mutants; the first of `COLUMNS` that there is, if not given.
        sequence: column of whole changed sequences, to be read instead.
        protein_column: column of the wild types' names; may be left out where there is one.
        offset: the number that the table gives the first residue of a wild type.
        on_error: stop at rows that are wrong, or leave them out.

    Raises:
        InputError: a column is absent; or rows are no substitutions, or do not fit their wild
            types: counts them and names the first.
    """
    path = Path(path)
    table = _read(path)
    frame = table.frame
    protein = _proteins(path, frame, wild_types, protein_column)
    reading = _Reading(path, table, protein, wild_types, offset)
    if sequence is not None:
        reading.sequences(frame[named(path, frame.columns, sequence)])
        if not {name.lower() for name in frame.columns} & set(COLUMNS):
            frame = reading.with_names()
    else:
        reading.names(frame[_mutant_column(path, frame.columns, column)])
    return reading.finished(frame, on_error)


def named(path: Path, columns: list[str], name: str) -> str:
    """A column's name, if there is one such.

    Raises:
        InputError: there is none.
    """
    if name not in columns:
        raise InputError(f"{path}: has no column {name!r}; its columns are: {', '.join(columns)}")
    return name


def _mutant_column(path: Path, columns: list[str], asked: str | None) -> str:
    if asked is not None:
        return named(path, columns, asked)
    for known in COLUMNS:
        for column in columns:
            if column.lower() == known:
                return column
    raise InputError(
        f"{path}: has no column {', '.join(COLUMNS)}; name that of the mutants (--column) or of "
        f"changed sequences (--sequence); its columns are: {', '.join(columns)}"
    )


def _read(path: Path) -> _Table:
    """All columns of a table.

    Raises:
        InputError: it cannot be read, has no rows, or two columns of one name.
    """
    with open_bytes(path, "table of mutants") as handle:
        if handle.read(4) == b"PAR1":
            return _read_parquet(path)
    blocks = list(read_delimited(path, "CSV, TSV or Parquet table"))
    first = blocks[0].first
    if repeated := [name for i, name in enumerate(first) if name in first[:i]]:
        raise InputError(f"{path}: has two columns {repeated[0]!r}; rename one of them")
    every = list(range(len(first)))
    frames = [block.read(every, skip_first=not i) for i, block in enumerate(blocks)]
    lines = np.concatenate([block.lines for block in blocks])[1:]
    frame = pl.concat(frames)
    frame.columns = first
    if not len(frame):
        raise InputError(f"{path}: has no rows; fetch or write it again")
    return _Table(frame, lines, "line", blocks[0].separator != ",")


def _read_parquet(path: Path) -> _Table:
    try:
        with open_anywhere(path, "table of mutants") as plain:
            frame = pl.read_parquet(plain)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(f"{path}: the Parquet file is damaged; write it again") from error
    if not len(frame):
        raise InputError(f"{path}: has no rows; fetch or write it again")
    return _Table(frame, np.arange(1, len(frame) + 1), "row", False)


def _proteins(
    path: Path, frame: pl.DataFrame, wild_types: SequenceStore, column: str | None
) -> Whole:
    """Index of each row's wild type, (n,); -1 where there is none of that name."""
    if column is None:
        if len(wild_types) > 1:
            raise InputError(
                f"{wild_types.path}: has {len(wild_types):,} proteins; name the column of {path} "
                "that says which a row belongs to (--protein-column)"
            )
        return np.zeros(len(frame), dtype=np.int64)
    texts = frame[named(path, frame.columns, column)].cast(pl.String).str.strip_chars()
    names = {name: i for i, name in enumerate(wild_types.names())}
    found = texts.replace_strict(names, default=-1, return_dtype=pl.Int64)
    return found.fill_null(-1).to_numpy()


class _Reading:
    """Finds the substitutions of a table's rows, and what is wrong with them."""

    def __init__(
        self,
        path: Path,
        table: _Table,
        protein: Whole,
        wild_types: SequenceStore,
        offset: int,
    ):
        self.path, self.table = path, table
        self.protein, self.wild_types, self.offset = protein, wild_types, offset
        self.row = self.position = np.empty(0, dtype=np.int64)
        self.letter = np.empty(0, dtype=np.uint8)
        self.wrong: dict[int, str] = {}  # by row: of the first rows, what is wrong with them
        self.bad = np.zeros(len(table.lines), dtype=bool)
        self.hint = ""
        self._refuse(np.flatnonzero(protein < 0), lambda _: "there is no wild type of its name")

    def _refuse(self, rows: Whole, words: Callable[[int], str]) -> None:
        """Note wrong rows (k,); `words` says what is wrong with the i-th of them."""
        for i, row in enumerate(rows.tolist()[: 4 * _SHOWN]):
            self.wrong.setdefault(row, words(i))
        self.bad[rows] = True

    # ------------------------------------------------------------ as names

    def names(self, texts: pl.Series) -> None:
        """Read mutants by name."""
        texts = texts.cast(pl.String).fill_null("").str.strip_chars()
        wild = texts.str.to_lowercase().is_in(list(WILD)).to_numpy()
        known = np.flatnonzero(~wild & ~self.bad)
        parts = texts.gather(known).str.replace_all(_BETWEEN, ":").str.strip_chars(":")
        cut = pl.DataFrame({"row": known, "part": parts.str.split(":")}).explode("part")
        groups = cut["part"].str.extract_groups(_SUBSTITUTION).struct.unnest()
        form = groups["1"].is_not_null().to_numpy()
        bad = cut.filter(~pl.Series(form))
        self._refuse(
            bad["row"].to_numpy(), lambda i: f"{bad['part'][i]!r} is no substitution such as A24G"
        )
        cut, groups = cut.filter(pl.Series(form)), groups.filter(pl.Series(form))
        number = groups["2"].cast(pl.Int64).to_numpy()
        self._placed(cut["row"].to_numpy(), number, _ids(groups["1"]), _ids(groups["3"]))

    def _placed(self, row: Whole, number: Whole, old: Ids, new: Ids) -> None:
        """Check substitutions against the wild types."""
        store, protein = self.wild_types, self.protein[row]
        position, length = number - self.offset, store.lengths[protein]
        beyond = (position < 0) | (position >= length)
        at = store.offsets[protein] + position.clip(0, length - 1)
        there = store.ids[at] & _LETTER

        def said(i: int) -> str:
            return f"{PROTEIN.decode(old[i : i + 1])}{number[i]}{PROTEIN.decode(new[i : i + 1])}"

        def refuse(which: NDArray[np.bool_], words: Callable[[int], str]) -> None:
            found = np.flatnonzero(which)
            self._refuse(row[found], lambda i: f"{said(found[i])}: {words(found[i])}")

        refuse(
            beyond,
            lambda i: f"the wild type has {self.offset} to {self.offset + length[i] - 1}",
        )
        differs = ~beyond & (there != old)
        refuse(differs, lambda i: f"the wild type has {PROTEIN.letters[there[i]]} there")
        certain = PROTEIN.real_table()
        refuse(~beyond & ~differs & ~certain[there], lambda _: "the wild type is not certain there")
        into = np.isin(new, PROTEIN.encode(INTO))
        refuse(~into, lambda i: f"{PROTEIN.letters[new[i]]} is no residue")
        order = np.lexsort((position, row))
        same = (np.diff(row[order]) == 0) & (np.diff(position[order]) == 0)
        twice = np.zeros(len(row), dtype=bool)
        twice[order[1:][same]] = True
        refuse(twice, lambda _: "is the second change of that position")
        if (beyond | differs).any():
            self.hint = self._other_numbering(protein, number, old)
        self.row, self.position, self.letter = row, position, new

    def _other_numbering(self, protein: Whole, number: Whole, old: Ids) -> str:
        """Say with which offset the first protein's substitutions would all fit, if one does."""
        some = np.flatnonzero(protein == protein[0])[:_TRIED]
        ids = self.wild_types.sequence(protein[0])
        first, last = int(number[some].max()) - len(ids) + 1, int(number[some].min())
        if not 0 <= last - first < _NUMBERINGS:
            return ""
        offsets = np.arange(first, last + 1)
        fits = np.zeros(len(offsets), dtype=np.int64)
        for one, letter in zip(number[some], old[some], strict=True):
            fits += ids[one - offsets] == letter
        best = int(fits.argmax())
        return f" (with --offset {offsets[best]} all would fit)" if fits[best] == len(some) else ""

    # ------------------------------------------------------------ as sequences

    def sequences(self, texts: pl.Series) -> None:
        """Read mutants as whole sequences."""
        raw, ends = pack_texts(sequence_texts(texts.cast(pl.String), PROTEIN))
        ids = PROTEIN.encode_table[raw] & _LETTER
        invalid = np.flatnonzero(PROTEIN.reading_table[raw] == INVALID)
        rows = np.unique(np.searchsorted(ends, invalid, side="right") - 1)
        self._refuse(rows, lambda i: outside(raw[ends[rows[i]] : ends[rows[i] + 1]], PROTEIN))
        lengths, wanted = np.diff(ends), self.wild_types.lengths[self.protein]
        other = np.flatnonzero((lengths != wanted) & ~self.bad)
        self._refuse(
            other,
            lambda i: (
                f"{lengths[other[i]]} residues where the wild type has {wanted[other[i]]}; only "
                "substitutions can be scored"
            ),
        )
        found = [self._changed(ids, ends, int(p)) for p in np.unique(self.protein[~self.bad])]
        parts = [np.concatenate(part) for part in zip(*found, strict=True)] if found else []
        if parts:
            row, position, old, new = parts
            order = np.lexsort((position, row))
            number = position[order] + self.offset
            self._placed(row[order], number, old[order], new[order])

    def _changed(
        self, ids: Ids, ends: Whole, protein: int, block: int = 1 << 24
    ) -> tuple[Whole, Whole, Ids, Ids]:
        """Row, position, old and new letter of all substitutions in one protein."""
        wild = self.wild_types.sequence(protein)
        rows = np.flatnonzero((self.protein == protein) & ~self.bad)
        found = []
        for first in range(0, len(rows), max(1, block // len(wild))):
            some = rows[first : first + max(1, block // len(wild))]
            texts = ids[ends[some][:, None] + np.arange(len(wild))]
            at, position = np.nonzero(texts != wild)
            found.append((some[at], position, wild[position], texts[at, position]))
        row, position, old, new = (np.concatenate(part) for part in zip(*found, strict=True))
        return row, position, old, new

    def with_names(self) -> pl.DataFrame:
        """The table with a column `mutant` of what was found in its sequences."""
        old = self.wild_types.ids[
            self.wild_types.offsets[self.protein[self.row]]
            + self.position.clip(0, self.wild_types.lengths[self.protein[self.row]] - 1)
        ]
        letters = pl.Series(list(PROTEIN.letters))
        names = pl.DataFrame(
            {
                "row": self.row,
                "name": letters.gather(old & _LETTER)
                + pl.Series(self.position + self.offset).cast(pl.String)
                + letters.gather(self.letter),
            }
        )
        joined = names.group_by("row").agg(pl.col("name").str.join(":"))
        every = pl.DataFrame({"row": np.arange(len(self.table.frame))})
        found = every.join(joined, on="row", how="left", maintain_order="left")["name"]
        return self.table.frame.with_columns(found.fill_null("WT").alias("mutant"))

    # ------------------------------------------------------------ the end

    def finished(self, frame: pl.DataFrame, on_error: OnError) -> Mutants:
        """The rows that are right.

        Raises:
            InputError: some are wrong and may not be left out, or none is left.
        """
        table = self.table
        shown = sorted(self.wrong.items())[:_SHOWN]
        reasons = tuple(f"{table.unit} {table.lines[row]}: {words}" for row, words in shown)
        count = int(self.bad.sum())
        if count and (on_error == "fail" or self.bad.all()):
            more = "; ..." if count > len(shown) else ""
            left = "correct them, or leave them out with --on-error skip"
            raise InputError(
                f"{self.path}: {count:,} of {len(self.bad):,} rows do not fit the wild type: "
                f"{'; '.join(reasons)}{more}{self.hint}; "
                + ("none is left; check --wild-type and --offset" if self.bad.all() else left)
            )
        kept = ~self.bad
        number = np.cumsum(kept) - 1
        good = kept[self.row]
        return Mutants(
            path=self.path,
            frame=frame.filter(pl.Series(kept)),
            protein=self.protein[kept],
            row=number[self.row[good]],
            position=self.position[good],
            letter=self.letter[good],
            lines=table.lines[kept],
            unit=table.unit,
            decimal_comma=table.decimal_comma,
            skipped=count,
            reasons=reasons,
        )


def _ids(letters: pl.Series) -> Ids:
    """Ids (n,) of single letters."""
    raw = np.frombuffer("".join(letters.to_list()).encode(), dtype=np.uint8)
    return PROTEIN.encode_table[raw] & _LETTER
