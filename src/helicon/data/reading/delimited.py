"""Delimited text (CSV, TSV): separator, quoting, ragged rows, and the line of every row.

Rows are cut by Python's `csv`, which knows at which line a row stands, also after blank lines and
after line ends inside quotation marks.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.data.reading.compressed import OR_LATIN_1, foreign, open_bytes
from helicon.errors import InputError

SEPARATORS = "\t,;"
#: Characters of text that are read at a time, and that a line has at most.
BLOCK, LINE = 1 << 24, 1 << 28

_OBJECT = 64  # bytes of a field beside its characters
_SAID = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
csv.field_size_limit(LINE)


@dataclass(frozen=True)
class Rows:
    """Rows of equally many fields that follow each other.

    Attributes:
        first: fields of the file's first row; the first block of a file begins with it.
        rows: fields of every row that is not blank, as they stand there.
        lines: line number of each, from 1, shape (rows,).
        separator: tab, comma or semicolon, or what the file says itself.
    """

    first: list[str]
    rows: list[list[str]]
    lines: NDArray[np.int64]
    separator: str

    def read(self, columns: list[int], *, skip_first: bool) -> pl.DataFrame:
        """Columns as text.

        Args:
            columns: positions of the columns.
            skip_first: leave out the first row (the names of the columns).
        """
        rows = self.rows[int(skip_first) :]
        return pl.DataFrame(
            {str(i): pl.Series([row[i] for row in rows], dtype=pl.String) for i in columns}
        )


def read_delimited(path: str | Path, what: str) -> Iterator[Rows]:
    """Yield a plain, gzip or bgzip text in blocks of whole rows, in bounded memory.

    The separator is the most frequent of tab, comma and semicolon in the first line that is not
    blank, or what that line says (`sep=;`, as Excel has it). Quotation marks enclose fields if all
    of them in the file stand at the edge of one, for which the file is read twice.

    Args:
        path: the file.
        what: what it is meant to be, for the messages.

    Raises:
        InputError: as `open_bytes`; a row has more or fewer fields than the first; a quotation
            mark is not closed; a line does not end; there are only blank lines; or the content is
            no text.
    """
    with open_bytes(path, what) as handle:
        if words := foreign(handle.read(8192)):
            raise InputError(f"{path}: is {words}; a {what} is wanted")
    separator, above = _separator(path, what)
    quoted = _encloses(path, what, separator)
    first: list[str] = []
    rows: list[list[str]] = []
    places: list[int] = []
    size, before = 0, above
    with open_bytes(path, what) as handle:
        lines = _lines(path, handle)
        for _ in range(above):
            next(lines)
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            for row in reader:
                line, before = before + 1, above + reader.line_num
                if len(row) != len(first) or len(row) < 2:
                    if not "".join(row).strip():
                        continue
                    if not first:
                        first = [re.sub(r"\n+", " ", field.strip()) for field in row]
                    elif len(row) != len(first):
                        raise InputError(
                            f"{path}, line {line}: has {len(row)} fields where the first row has "
                            f"{len(first)}; every row must have as many"
                        )
                rows.append(row)
                places.append(line)
                size += sum(map(len, row)) + _OBJECT * len(row)
                if size > BLOCK:
                    yield Rows(first, rows, np.array(places, np.int64), separator)
                    rows, places, size = [], [], 0
        except csv.Error as error:
            open_end = "unexpected end" in str(error)
            words = (
                "a quotation mark is opened and never closed; close it or remove it"
                if open_end
                else "text stands behind a quotation mark that ends its field; correct the line"
            )
            raise InputError(f"{path}, line {before + 1}: {words}") from error
    if rows:
        yield Rows(first, rows, np.array(places, np.int64), separator)


def _lines(path: str | Path, handle: io.BufferedIOBase) -> Iterator[str]:
    """The lines of a text with their ends."""
    text = io.TextIOWrapper(
        cast(IO[bytes], handle), encoding="utf-8", errors=OR_LATIN_1, newline="\n"
    )
    number = 0
    while line := text.readline(LINE):
        number += 1
        if len(line) == LINE:
            raise InputError(f"{path}, line {number}: a line without end; a table is wanted")
        yield line


def _separator(path: str | Path, what: str) -> tuple[str, int]:
    """What stands between fields, and the number of lines above the first row.

    Raises:
        InputError: there are only blank lines.
    """
    with open_bytes(path, what) as handle:
        for number, line in enumerate(_lines(path, handle)):
            if match := _SAID.fullmatch(line):
                return match[1], number + 1
            if line.strip():
                return max(SEPARATORS, key=lambda s: (line.count(s), s == ",")), number
    raise InputError(f"{path}: holds only blank lines; fetch or write it again")


def _encloses(path: str | Path, what: str, separator: str) -> bool:
    """Whether quotation marks enclose fields: all of them stand at the edge of one."""
    edge = np.zeros(256, dtype=bool)
    edge[[*separator.encode(), *b'\n"']] = True
    marks, before = False, b"\n"
    with open_bytes(path, what) as handle:
        while block := handle.read(BLOCK):
            if b'"' in block or b'"' in before:
                marks = True
                if not _at_edges(before + block, edge):
                    return False
            before = (before + block)[-2:]
    return marks and _at_edges(before + b"\n", edge)


def _at_edges(text: bytes, edge: NDArray[np.bool_]) -> bool:
    """Whether all quotation marks but a first or last byte stand at the edge of a field."""
    raw = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero(raw[1:-1] == ord('"')) + 1
    return bool((edge[raw[marks - 1]] | edge[raw[marks + 1]]).all())
