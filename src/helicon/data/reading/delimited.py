"""Delimited text (CSV, TSV): separator, quoting, ragged rows, and the line of every row.

One pass over the bytes finds where rows and fields end, so that an error can name the line as an
editor shows it, also after blank lines and after line ends inside quotation marks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.data.reading.compressed import open_bytes
from helicon.errors import InputError

SEPARATORS = b"\t,;"
#: Bytes of text that are parsed at a time.
BLOCK = 1 << 24

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
    text, above = _without_top(text)
    if not text.strip():
        raise InputError(f"{path}: holds only blank lines; fetch or write it again")
    separator = _separator(text)
    raw = np.frombuffer(text, np.uint8)
    quoted = _encloses(raw, separator)
    rows = _Rows.of(raw, separator, quoted)
    blank = _check(path, text, rows, above, int(rows.fields[0]))
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


def _without_top(text: bytes) -> tuple[bytes, int]:
    """The text without blank lines at its start, and how many there were."""
    top = text[: len(re.match(rb"(?:[ \t\r]*\n)*", text)[0])]  # type: ignore[index]
    return text[len(top) :], top.count(b"\n")


def _separator(text: bytes) -> int:
    header = text.partition(b"\n")[0]
    return max(SEPARATORS, key=lambda s: (header.count(s), s == ord(",")))


def _edge(separator: int) -> NDArray[np.bool_]:
    """Which bytes stand beside a quotation mark that encloses a field."""
    edge = np.zeros(256, dtype=bool)
    edge[[separator, _NEWLINE, _RETURN, _QUOTE]] = True
    return edge


def _encloses(raw: NDArray[np.uint8], separator: int) -> bool:
    """Whether quotation marks enclose fields: all of them stand at the edge of one."""
    marks = np.flatnonzero(raw == _QUOTE)
    if not marks.size:
        return False
    edge = _edge(separator)
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


def _check(
    path: str | Path, text: bytes, rows: _Rows, above: int, wanted: int
) -> NDArray[np.bool_]:
    """Refuse rows that have not the fields `wanted`; return which rows are blank.

    So many lines as `above` come before the text.
    """
    if not rows.closed:
        raise InputError(
            f"{path}, line {rows.lines[-1] + above}: a quotation mark is opened and never closed; "
            "close it or remove it"
        )
    size = rows.ends - rows.starts
    white = np.isin(np.frombuffer(text + b"\n", np.uint8)[rows.starts], list(b" \t\r"))
    blank = (size == 0) | ((size == 1) & (rows.fields == 1) & white)
    for i in np.flatnonzero((rows.fields != wanted) & ~blank):
        if text[rows.starts[i] : rows.ends[i]].strip():
            raise InputError(
                f"{path}, line {rows.lines[i] + above}: has {rows.fields[i]} fields where the "
                f"first row has {wanted}; every row must have as many"
            )
        blank[i] = True
    return blank


# ---------------------------------------------------------------- text of any size


def stream_delimited(path: str | Path, what: str) -> Iterator[Delimited]:
    """Yield a plain, gzip or bgzip text in blocks of whole rows, in bounded memory.

    The file is read twice: whether quotation marks enclose fields is seen from all of it, as
    `read_delimited` does. Blocks have the `first` row of the file; the first block begins with it.

    Args:
        path: the file.
        what: what it is meant to be, for the messages.

    Raises:
        InputError: as `read_delimited` and `open_bytes`.
    """
    form = _form(path, what)
    first: list[str] = []
    above = 0
    for text in _whole_rows(path, what, form):
        if not first:
            text, above = _without_top(text)
            if not text:
                raise InputError(f"{path}: holds only blank lines; fetch or write it again")
        rows = _Rows.of(np.frombuffer(text, np.uint8), form.separator, form.quoted)
        first = first or _fields(text, rows, form.quoted)
        blank = _check(path, text, rows, above, len(first))
        lines = rows.lines[~blank] + above
        above += text.count(b"\n")
        if not blank.all():
            yield Delimited(text, chr(form.separator), form.quoted, first, lines, blank)


@dataclass(frozen=True)
class _Form:
    """How a text is written: see `Delimited`; `returns` says that lines end with CR alone."""

    separator: int
    quoted: bool
    returns: bool


def _form(path: str | Path, what: str) -> _Form:
    """Read a whole text to see how it is written."""
    marks, enclosing, before = False, True, b"\n"
    with open_bytes(path, what) as handle:
        block = _first_rows(handle)
        newlines = b"\n" in block
        header = _without_top(block if newlines else block.replace(b"\r", b"\n"))[0]
        edge = _edge(_separator(header))
        while block:
            if b'"' in block or b'"' in before:
                marks = True
                enclosing &= _at_edges(before + block, edge)
            before = (before + block)[-2:]
            block = handle.read(BLOCK)
    enclosing &= _at_edges(before + b"\n", edge)
    return _Form(_separator(header), marks and enclosing, not newlines)


def _first_rows(handle: io.BufferedIOBase) -> bytes:
    """The first block, to the end of a line, with more than blank lines; no byte order mark."""
    block = (handle.read(BLOCK) + handle.readline()).removeprefix(_BOM)
    while not block.strip() and (more := handle.readline()):
        block += more
    return block


def _at_edges(text: bytes, edge: NDArray[np.bool_]) -> bool:
    """Whether all quotation marks but a first or last byte stand at the edge of a field."""
    raw = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero(raw[1:-1] == _QUOTE) + 1
    return bool((edge[raw[marks - 1]] | edge[raw[marks + 1]]).all())


def _whole_rows(path: str | Path, what: str, form: _Form) -> Iterator[bytes]:
    """Yield the text in blocks that end with a row; the first has more than blank lines."""
    with open_bytes(path, what) as handle:
        block, rest = _first_rows(handle), b""
        while block or rest:
            text = rest + (block.replace(b"\r", b"\n") if form.returns else block)
            end = _last_end(text, form.quoted) if block else len(text)
            rest = text[end:]
            if end:
                yield text[:end]
            block = handle.read(BLOCK)


def _last_end(text: bytes, quoted: bool) -> int:
    """Behind the last row that is whole."""
    if not quoted:
        return text.rfind(b"\n") + 1
    raw = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(raw == _NEWLINE)
    inside = (np.cumsum(raw == _QUOTE, dtype=np.uint8) & 1).astype(bool)
    ends = breaks[~inside[breaks]]
    return int(ends[-1]) + 1 if ends.size else 0
