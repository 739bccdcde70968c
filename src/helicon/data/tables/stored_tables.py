"""Tables of sequences (CSV, TSV, Parquet) of any size as blocks of rows, in bounded memory."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from helicon.alphabet import Alphabet, Ids
from helicon.data.reading.compressed import foreign, open_bytes
from helicon.data.reading.delimited import stream_delimited
from helicon.data.tables.tables import (
    Columns,
    Rows,
    choose_columns,
    named_columns,
    pack_texts,
    sequence_texts,
)
from helicon.errors import InputError

#: Bytes, and rows, of a Parquet file that are decoded at a time.
BLOCK, ROWS = 1 << 24, 1 << 13
_WHAT = "table of sequences"


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes:
        letters: bytes of all sequences, without white space and terminators at their ends, shape
            (total,).
        offsets: where each begins, shape (n + 1,).
        names: bytes of all names.
        name_offsets: where each begins, shape (n + 1,).
        places: where each row stands in the file, shape (n,).
        unit: what `places` counts, `line` or `row`.
    """

    letters: Ids
    offsets: Rows
    names: Ids
    name_offsets: Rows
    places: Rows
    unit: str


def read_blocks(
    path: Path, alphabet: Alphabet, *, sequence: str, name: str | None
) -> Iterator[Block]:
    """Yield the rows of a table.

    Args:
        path: CSV, TSV or Parquet file, plain or compressed with gzip.
        alphabet: to tell a file without column names by, and whose terminator is dropped.
        sequence: sequence column, found as `helicon.data.tables.tables.read_table` does.
        name: column of names; by default `name` or `id`, or else rows are named by their number,
            from 1.

    Raises:
        InputError: as `helicon.data.tables.tables.read_table`, but for what the sequences hold.
    """
    with open_bytes(path, _WHAT) as handle:
        start = handle.read(8192).removeprefix(b"\xef\xbb\xbf")
    if start.startswith(b"PAR1"):
        frames = _parquet(path, sequence, name)
    elif words := foreign(start):
        raise InputError(f"{path}: is {words}; a FASTA, CSV, TSV or Parquet file is wanted")
    else:
        frames = _text(path, alphabet, sequence, name)
    before = 0
    for block in frames:
        yield block.numbered(before, alphabet)
        before += len(block.places)
    if not before:
        raise InputError(f"{path}: has no rows; fetch or write it again")


@dataclass(frozen=True)
class _Read:
    """Columns of some rows as they were read."""

    sequence: pl.Series
    names: pl.Series | None
    places: Rows
    unit: str

    def numbered(self, before: int, alphabet: Alphabet) -> Block:
        """The rows as bytes; `before` rows came before them."""
        letters, offsets = pack_texts(sequence_texts(self.sequence, alphabet))
        names = self.names
        if names is None:
            count = len(self.places)
            names = pl.int_range(before + 1, before + count + 1, eager=True).cast(pl.String)
        packed, name_offsets = pack_texts(names.cast(pl.String).str.strip_chars().fill_null(""))
        return Block(letters, offsets, packed, name_offsets, self.places, self.unit)

    @classmethod
    def of(cls, chosen: Columns, frame: pl.DataFrame, places: Rows, unit: str) -> _Read:
        found = chosen.frame(frame, places)
        names = next(iter(found.target.values()), found.names)
        return cls(found.sequence, names, found.lines, unit)


def _text(path: Path, alphabet: Alphabet, sequence: str, name: str | None) -> Iterator[_Read]:
    chosen = None
    for text in stream_delimited(path, _WHAT):
        skip = False
        if chosen is None:
            columns, skip, found = named_columns(text.first, sequence, alphabet)
            chosen = choose_columns(path, columns, name, found)
        frame = text.read(chosen.positions(), skip_first=skip)
        yield _Read.of(chosen, frame, text.lines[1:] if skip else text.lines, "line")


def _parquet(path: Path, sequence: str, name: str | None) -> Iterator[_Read]:
    with open_bytes(path, "Parquet file") as handle, tempfile.TemporaryFile() as plain:
        try:
            if isinstance(handle, gzip.GzipFile | zipfile.ZipExtFile):
                shutil.copyfileobj(handle, plain)  # Parquet is read from its end
                yield from _row_groups(path, plain, sequence, name)
            else:
                yield from _row_groups(path, handle, sequence, name)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}: the Parquet file is damaged or cut short ({reason}); fetch or write it "
                "again"
            ) from error


def _row_groups(path: Path, plain: Any, sequence: str, name: str | None) -> Iterator[_Read]:
    with pq.ParquetFile(plain) as file:
        columns = list(file.schema_arrow.names)
        chosen = choose_columns(path, columns, name, sequence)
        wanted = [columns[i] for i in chosen.positions()]
        kind = file.schema_arrow.field(chosen.sequence).type
        if not _is_text(kind):
            raise InputError(
                f"{path}: the column {chosen.sequence!r} holds {kind}, not text; name the column "
                "of sequences"
            )
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        heaviest = max((g.total_byte_size / max(g.num_rows, 1) for g in groups), default=1)
        rows = int(max(1, min(ROWS, BLOCK / max(heaviest, 1))))
        before = 0
        for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
            frame = pl.DataFrame(pl.from_arrow(batch)).select(wanted)
            frame = frame.cast({pl.Categorical: pl.String, pl.Enum: pl.String})
            places = np.arange(before + 1, before + len(frame) + 1)
            before += len(frame)
            yield _Read.of(chosen, frame, places, "row")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
