"""Rows of tab-separated annotation files (GFF, bedGraph) as blocks of columns with line numbers."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from helicon.data.genome.genome import Genome
from helicon.data.reading.compressed import OR_LATIN_1, foreign, open_bytes
from helicon.errors import InputError

#: Bytes of text that are parsed at a time.
BLOCK = 1 << 24

_NO_ROW = r"^(#|\s*$)"
_SETTING = r"^(track|browser)(\s|$)"
_UNUSED = "\x1f"  # stands in no text file: a line is read as one column


def read_rows(path: str | Path, what: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of a plain, gzip or bgzip file in blocks, in bounded memory.

    Comments and blank lines are left out, and `track` and `browser` lines, if they have not a row's
    columns: a contig may have such a name. A line `##FASTA` or `>` (a sequence inside a GFF) ends
    the file. Lines end with LF, CRLF or CR. Further columns are dropped. A row without tabs is cut
    at its spaces.

    Args:
        path: the file.
        what: what it is meant to be ("GFF file"), for the messages.
        columns: names of the columns, `start` among them; all but the last must be there.

    Yields:
        Frames of `line` (from 1) and the columns as text.

    Raises:
        InputError: the file is missing, empty, cut short, of another kind, or a row is too short.
    """
    first = 1
    with open_bytes(path, what) as handle:
        block = handle.read(BLOCK) + handle.readline()
        if words := foreign(block):
            raise InputError(f"{path}: is {words}; a {what} is wanted")
        while block:
            lines = _lines(block, first)
            ends = lines.filter(pl.col("text").str.contains("^(##FASTA|>)"))["line"]
            rows = lines.filter(~pl.col("text").str.contains(_NO_ROW).fill_null(True))
            if len(ends):
                rows = rows.filter(pl.col("line") < ends[0])
            yield _split(path, what, rows, columns)
            if len(ends):
                return
            first += block.count(b"\n")
            block = handle.read(BLOCK) + handle.readline()


def _lines(block: bytes, first: int) -> pl.DataFrame:
    text = block.decode("utf-8", OR_LATIN_1)
    return pl.read_csv(
        io.BytesIO(text.encode()),
        has_header=False,
        columns=[0],
        separator=_UNUSED,
        quote_char=None,
        infer_schema=False,
        truncate_ragged_lines=True,
        raise_if_empty=False,
    ).select(pl.int_range(first, first + pl.len()).alias("line"), pl.nth(0).alias("text"))


def _split(path: str | Path, what: str, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    spaced = pl.col("text").str.replace_all(" +", "\t")
    text = pl.when(pl.col("text").str.contains("\t", literal=True)).then("text").otherwise(spaced)
    parts = text.str.splitn("\t", len(columns) + 1)
    names = [*columns, "_rest"]
    tabbed = pl.col("text").str.contains("\t", literal=True)
    setting = pl.col("text").str.contains(_SETTING)
    frame = rows.select(
        "line", parts.struct.rename_fields(names), tabbed=tabbed, setting=setting
    ).unnest("text")
    numbered = pl.col("tabbed") | pl.col("start").str.contains(r"^\d+$").fill_null(False)
    full = pl.col(columns[-2]).is_not_null() & numbered
    frame = frame.filter(full | ~pl.col("setting")).drop("_rest", "tabbed", "setting")
    refuse(
        path,
        frame,
        frame[columns[-2]].is_null(),
        f"fewer than {len(columns) - 1} columns, separated by tabs; a {what} is wanted",
    )
    return frame


def refuse(path: str | Path, frame: pl.DataFrame, wrong: pl.Series, words: str) -> None:
    """Raise for the first row that is wrong.

    Args:
        path: the file.
        frame: rows with their `line`.
        wrong: which rows are wrong; null counts as wrong.
        words: what is wrong, with the names of columns in braces.

    Raises:
        InputError: a row is wrong; names its line.
    """
    wrong = wrong.fill_null(True)
    if wrong.any():
        row = frame.filter(wrong).row(0, named=True)
        raise InputError(f"{path}, line {row['line']}: {words.format(**row)}")


def place(
    path: str | Path,
    frame: pl.DataFrame,
    genome: Genome,
    *,
    base: int,
    encoded: bool = False,
    circular: Collection[int] = (),
) -> pl.DataFrame:
    """Convert the columns `chrom`, `start`, `end` to where the rows lie in a genome.

    Args:
        path: the file, for the messages.
        frame: rows with these columns as text.
        genome: the genome.
        base: 1 where the file counts from one and includes the end (GFF), 0 where it counts from
            zero and does not (bedGraph).
        encoded: names are percent-encoded, as in GFF3.
        circular: positions in `genome.names` of circular sequences, on which a row that begins
            before the origin may end behind it (`end` greater than the length, as in GFF3).

    Returns:
        The frame with `chrom` as position in `genome.names` and `start`, `end` 0-based half-open.

    Raises:
        InputError: a chromosome is unknown; a coordinate is no whole number, negative, reversed or
            beyond the chromosome. Names the line.
    """
    known = ", ".join(genome.names[:4]) + (", ..." if len(genome.names) > 4 else "")
    places = {name: genome.find(name, encoded=encoded) for name in frame["chrom"].unique()}
    chrom = frame["chrom"].replace_strict(places, default=None, return_dtype=pl.Int64)
    with_known = frame.with_columns(pl.lit(known).alias("known"))
    refuse(
        path, with_known, chrom.is_null(), "the genome has no sequence {chrom!r}; it has {known}"
    )
    start, end = (frame[name].cast(pl.Int64, strict=False) for name in ("start", "end"))
    for name, numbers in (("start", start), ("end", end)):
        refuse(path, frame, numbers.is_null(), f"the {name} {{{name}!r}} is no whole number")
    least = "1" if base else "0"
    refuse(path, frame, start < base, f"the start {{start}} lies before {least}, the first base")
    order = "lies behind" if base else "is not before"
    refuse(path, frame, start >= end + base, f"the start {{start}} {order} the end {{end}}")
    size = pl.Series("size", np.asarray(genome.lengths)[chrom.to_numpy()], pl.Int64)
    over = (start - base < size) & (end - (start - base) <= size)
    refuse(
        path,
        frame.with_columns(size),
        (end > size) & ~(over & chrom.is_in(list(circular))),
        "the end {end} lies beyond {chrom}, which has {size} bases; is it of this genome? "
        "(features across the origin need a row of the whole sequence that says Is_circular=true, "
        "or are written as two)",
    )
    return frame.with_columns(chrom.alias("chrom"), (start - base).alias("start"), end.alias("end"))
