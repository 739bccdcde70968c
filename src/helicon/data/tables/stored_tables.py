"""Tables of sequences (CSV, TSV, Parquet) of any size as blocks of bytes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from helicon.alphabet import Alphabet, Ids
from helicon.data.tables.columns import Rows, pack_texts, read_frames, sequence_texts


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
        InputError: as `helicon.data.tables.columns.read_frames`.
    """
    before = 0
    for frame in read_frames(path, alphabet, target=name, sequence=sequence):
        count = len(frame.places)
        names = next(iter(frame.target.values()), frame.names)
        if names is None:
            names = pl.int_range(before + 1, before + count + 1, eager=True)
        texts = names.cast(pl.String).str.strip_chars().fill_null("")
        yield Block(
            *pack_texts(sequence_texts(frame.sequence, alphabet)),
            *pack_texts(texts),
            frame.places,
            frame.unit,
        )
        before += count
