"""Delimited text (CSV, TSV): separator, quoting, ragged rows, and the line of every row.

One pass over the bytes finds where rows and fields end, so that an error can name the line as an
editor shows it, also after blank lines and after line ends inside quotation marks.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.errors import InputError

SEPARATORS = b"\t,;"

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Delimited:
    """A text of rows of equally many fields.

    Attributes:
        text: the bytes.
        separator: tab, comma or semicolon.
        quoted: whether quotation marks enclose fields.
        first: fields of the first row.
        lines: line number of every row that is not blank, from 1, shape (rows,).
        blank: whether a row is blank, for all rows in the text.
    """

    text: bytes
    separator: str
    quoted: bool
    first: list[str]
    lines: NDArray[np.int64]
    blank: NDArray[np.bool_]

    def read(self, columns: list[int], *, skip_first: bool) -> pl.DataFrame:
        """Read columns as text, without blank rows.

        Args:
            columns: positions of the columns, ascending.
            skip_first: leave out the first row (the names of the columns).
        """
        frame = pl.read_csv(
            io.BytesIO(self.text),
            has_header=False,
            infer_schema=False,
            columns=columns,
            separator=self.separator,
            quote_char='"' if self.quoted else None,
            encoding="utf8-lossy",
            raise_if_empty=False,
        )
        return frame.filter(~pl.Series(self.blank)).slice(int(skip_first))


def read_delimited(path: str | Path, text: bytes) -> Delimited:
    """Find the structure of a delimited text.

    Args:
        path: where it was read from, for the messages.
        text: all of it, not empty.

    Raises:
        InputError: a row has more or fewer fields than the first; a quotation mark is not closed.
    """
    text = text.removeprefix(_BOM)
    if b"\n" not in text:
        text = text.replace(b"\r", b"\n")  # line ends of old Macs, which Excel still offers
    top = text[: len(re.match(rb"(?:[ \t\r]*\n)*", text)[0])]  # type: ignore[index]
    text, above = text[len(top) :], top.count(b"\n")
    if not text.strip():
        raise InputError(f"{path}: holds only blank lines; fetch or write it again")
    header = text.partition(b"\n")[0]
    separator = max(SEPARATORS, key=lambda s: (header.count(s), s == ord(",")))
    raw = np.frombuffer(text, np.uint8)
    quoted = _encloses(raw, separator)
    rows = _Rows.of(raw, separator, quoted)
    blank = _check(path, text, rows, above)
    return Delimited(
        text=text,
        separator=chr(separator),
        quoted=quoted,
        first=_fields(text, rows, quoted),
        lines=rows.lines[~blank] + above,
        blank=blank,
    )


def _fields(text: bytes, rows: _Rows, quoted: bool) -> list[str]:
    """Fields of the first row, on one line each and without their quotation marks."""
    cuts = rows.separators[: rows.fields[0] - 1]
    parts = zip([0, *(cuts + 1)], [*cuts, rows.ends[0]], strict=True)
    fields = [text[a:b].decode("utf-8", errors="replace").strip() for a, b in parts]
    if quoted:
        fields = [re.sub('^"|"$', "", field).replace('""', '"').strip() for field in fields]
    return [re.sub(r"[\r\n]+", " ", field) for field in fields]


def _encloses(raw: NDArray[np.uint8], separator: int) -> bool:
    """Whether quotation marks enclose fields: all of them stand at the edge of one."""
    marks = np.flatnonzero(raw == _QUOTE)
    if not marks.size:
        return False
    edge = np.zeros(256, dtype=bool)
    edge[[separator, _NEWLINE, _RETURN, _QUOTE]] = True
    before = (marks == 0) | edge[raw[marks - 1]]
    after = (marks == len(raw) - 1) | edge[raw[(marks + 1) % len(raw)]]
    return bool((before | after).all())


@dataclass(frozen=True)
class _Rows:
    """Where rows begin and end, and how many fields each has."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    fields: NDArray[np.int64]
    separators: NDArray[np.int64]
    lines: NDArray[np.int64]
    closed: bool

    @classmethod
    def of(cls, raw: NDArray[np.uint8], separator: int, quoted: bool) -> _Rows:
        breaks = np.flatnonzero(raw == _NEWLINE)
        ends, separators, closed = breaks, np.flatnonzero(raw == separator), True
        if quoted:
            # Parity survives the wrap-around of a byte, and a doubled mark leaves it unchanged.
            inside = (np.cumsum(raw == _QUOTE, dtype=np.uint8) & 1).astype(bool)
            ends, separators = breaks[~inside[breaks]], separators[~inside[separators]]
            closed = not inside[-1]
        if not ends.size or ends[-1] != len(raw) - 1:
            ends = np.append(ends, len(raw))
        starts = np.concatenate([[0], ends[:-1] + 1])
        fields = np.searchsorted(separators, ends) - np.searchsorted(separators, starts) + 1
        lines = np.searchsorted(breaks, starts) + 1
        return cls(starts, ends, fields, separators, lines, closed)


def _check(path: str | Path, text: bytes, rows: _Rows, above: int) -> NDArray[np.bool_]:
    """Refuse ragged rows; return which rows are blank. `above` lines were left out at the top."""
    if not rows.closed:
        raise InputError(
            f"{path}, line {rows.lines[-1] + above}: a quotation mark is opened and never closed; "
            "close it or remove it"
        )
    size = rows.ends - rows.starts
    blank = (size == 0) | ((size == 1) & (rows.fields == 1))
    for i in np.flatnonzero((rows.fields != rows.fields[0]) & ~blank):
        if text[rows.starts[i] : rows.ends[i]].strip():
            raise InputError(
                f"{path}, line {rows.lines[i] + above}: has {rows.fields[i]} fields where the "
                f"first row has {rows.fields[0]}; every row must have as many"
            )
        blank[i] = True
    return blank
