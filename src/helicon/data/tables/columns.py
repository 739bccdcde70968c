"""The columns that matter of a table (CSV, TSV, Parquet), in blocks of rows of any number.

- Text: `helicon.data.reading.delimited` says what separates fields. The first line names the
  columns, unless it holds no sequence column but a sequence (20 letters or more): then the file has
  no header and its columns are `column_1`, `column_2`, ...
- The sequence column is the one asked for, in any case; for the default `sequence` also `seq`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from helicon.alphabet import INVALID, Alphabet, Ids
from helicon.data.reading.compressed import Bound, open_anywhere, open_bytes
from helicon.data.reading.delimited import read_delimited
from helicon.data.tables.divisions import division_columns
from helicon.errors import InputError
from helicon.files import existing_data

#: Bytes, and rows, of a Parquet file that are decoded at a time.
BLOCK, ROWS = 1 << 24, 1 << 13

#: Shortest field that is taken for a sequence where a header line is expected.
_SURELY_SEQUENCE = 20
_NAME_COLUMNS = ("name", "id")
_TEXT = (pl.String, pl.Categorical, pl.Enum)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """The columns that matter of some rows.

    Attributes:
        sequence: the sequences, text.
        target: the label columns as they stand in the file.
        names: names of the sequences, text, if there is such a column.
        division: columns that may divide the rows.
        places: where each row stands in the file, from 1, shape (n,).
        unit: what `places` counts, `line` or `row`.
        decimal_comma: whether numbers may have one: fields are not separated by commas.
    """

    sequence: pl.Series
    target: dict[str, pl.Series]
    names: pl.Series | None
    division: dict[str, pl.Series]
    places: Rows
    unit: str
    decimal_comma: bool = False


@dataclass(frozen=True)
class Columns:
    """Names and places of the columns that are read."""

    places: dict[str, int]
    sequence: str
    target: tuple[str, ...]
    name: str | None
    division: tuple[str, ...]

    @classmethod
    def choose(
        cls, path: Path, columns: list[str], target: str | None, sequence: str, *, divided: bool
    ) -> Columns:
        """Find the columns that are read; with `divided`, also those that may divide the rows.

        Raises:
            InputError: one is absent, or there twice.
        """
        found = _find_sequence(columns, sequence)
        wanted = [] if target is None else [target] if target in columns else _split(target)
        listed = ", ".join(columns)
        for asked, column in [(sequence, found), *((t, t) for t in wanted)]:
            if column is None or column not in columns:
                raise InputError(f"{path}: has no column {asked!r}; its columns are: {listed}")
            if columns.count(column) > 1:
                raise InputError(f"{path}: has two columns {column!r}; rename one of them")
        assert found is not None
        names = [column for column in columns if column.lower() in _NAME_COLUMNS]
        return cls(
            places={column: i for i, column in enumerate(columns)},
            sequence=found,
            target=tuple(wanted),
            name=names[0] if names else None,
            division=tuple(division_columns(columns, (found, *wanted))) if divided else (),
        )

    def positions(self) -> list[int]:
        """Places of the columns in the file, ascending."""
        named = [self.name] if self.name else []
        wanted = (self.sequence, *self.target, *named, *self.division)
        return sorted({self.places[column] for column in wanted})

    def frame(self, rows: pl.DataFrame, places: Rows, unit: str, separator: str = ",") -> Frame:
        """Name the columns at `positions` of some rows."""
        series = dict(zip(self.positions(), rows.get_columns(), strict=True))
        return Frame(
            sequence=series[self.places[self.sequence]].cast(pl.String),
            target={column: series[self.places[column]] for column in self.target},
            names=series[self.places[self.name]].cast(pl.String) if self.name else None,
            division={column: series[self.places[column]] for column in self.division},
            places=np.asarray(places, np.int64),
            unit=unit,
            decimal_comma=separator != ",",
        )


def read_frames(
    path: Path,
    alphabet: Alphabet,
    *,
    target: str | None,
    sequence: str,
    divided: bool = False,
) -> Iterator[Frame]:
    """Yield a table in blocks of rows; there is at least one.

    Args:
        path: CSV, TSV or Parquet file, plain or compressed with gzip.
        alphabet: to tell a file without column names by.
        target: a column, or several separated by commas; `None` for the sequences alone.
        sequence: the sequence column.
        divided: read columns that may divide the rows, too.

    Raises:
        InputError: the file is missing, empty, cut short or of another kind; a column is absent; a
            row has too many or too few fields; there are no rows.
    """
    path = existing_data(path, "table of sequences")
    with open_bytes(path, "table of sequences") as handle:
        read = _parquet if handle.read(4) == b"PAR1" else _text
    empty = True
    for frame in read(path, alphabet, target, sequence, divided):
        if len(frame.places):
            empty = False
            yield frame
    if empty:
        raise InputError(f"{path}: has no rows; fetch or write it again")


def _text(
    path: Path, alphabet: Alphabet, target: str | None, sequence: str, divided: bool
) -> Iterator[Frame]:
    chosen = None
    for some in read_delimited(path, "FASTA, CSV, TSV or Parquet file"):
        skip = False
        if chosen is None:
            columns, skip, found = _named(some.first, sequence, alphabet)
            chosen = Columns.choose(path, columns, target, found, divided=divided)
        rows = some.read(chosen.positions(), skip_first=skip)
        yield chosen.frame(rows, some.lines[int(skip) :], "line", some.separator)


def _parquet(
    path: Path, _: Alphabet, target: str | None, sequence: str, divided: bool
) -> Iterator[Frame]:
    try:
        with open_anywhere(path, "Parquet file") as plain, pq.ParquetFile(plain) as file:
            columns = list(file.schema_arrow.names)
            chosen = Columns.choose(path, columns, target, sequence, divided=divided)
            wanted = [columns[i] for i in chosen.positions()]
            kind = pl.DataFrame(
                pl.from_arrow(pa.schema([file.schema_arrow.field(chosen.sequence)]).empty_table())
            ).dtypes[0]
            if not isinstance(kind, _TEXT):
                raise InputError(
                    f"{path}: the column {chosen.sequence!r} holds {kind}, not text; name the "
                    "column of sequences"
                )
            for rows, places in _row_groups(path, file, wanted):
                yield chosen.frame(rows, places, "row")
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: the Parquet file is damaged or cut short ({reason}); fetch or write it again"
        ) from error


def _row_groups(
    path: Path, file: pq.ParquetFile, wanted: list[str]
) -> Iterator[tuple[pl.DataFrame, Rows]]:
    """Columns of some rows after others, and the rows' numbers from 1."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    bound = Bound.of(path, sum(g.total_byte_size for g in groups))
    heaviest = max((g.total_byte_size / max(g.num_rows, 1) for g in groups), default=1)
    rows = int(max(1, min(ROWS, BLOCK / max(heaviest, 1))))
    before = decoded = 0
    for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
        decoded += batch.nbytes
        bound.check(decoded)
        frame = pl.DataFrame(pl.from_arrow(batch)).select(wanted)
        yield frame, np.arange(before + 1, before + len(frame) + 1)
        before += len(frame)


def _named(first: list[str], sequence: str, alphabet: Alphabet) -> tuple[list[str], bool, str]:
    """Names of the columns of a text, whether its first row holds them, and the sequence column."""
    if _find_sequence(first, sequence) is None:
        like = [i for i, field in enumerate(first) if _is_sequence(field, alphabet)]
        if like:
            columns = [f"column_{i + 1}" for i in range(len(first))]
            return columns, False, columns[like[0]]
    return first, True, sequence


def _is_sequence(field: str, alphabet: Alphabet) -> bool:
    raw = np.frombuffer(field.strip().encode(), np.uint8)
    one_case = field.isupper() or field.islower()
    return (
        len(raw) >= _SURELY_SEQUENCE
        and one_case
        and not (alphabet.encode_table[raw] == INVALID).any()
    )


def _split(target: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in target.split(",")))


def _find_sequence(columns: Iterable[str], asked: str) -> str | None:
    """The sequence column, in any case; `None` where there is none."""
    accepted = ["sequence", "seq"] if asked == "sequence" else [asked.lower()]
    if asked in columns:
        return asked
    for name in accepted:
        for column in columns:
            if column.lower() == name:
                return column
    return None


# ---------------------------------------------------------------- texts as bytes


def sequence_texts(texts: pl.Series, alphabet: Alphabet) -> pl.Series:
    """The texts without white space at their ends and without a terminator of the alphabet."""
    texts = texts.str.strip_chars().fill_null("")
    return texts.str.strip_suffix(alphabet.terminator) if alphabet.terminator else texts


def pack_texts(texts: pl.Series) -> tuple[Ids, Rows]:
    """Bytes of all texts in one array, and where each begins."""
    array = texts.rechunk().to_arrow()
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return raw[bounds[0] : bounds[-1]], bounds - bounds[0]
