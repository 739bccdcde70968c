"""Labelled sequences: CSV, TSV, Parquet and FASTA files as one packed array with its labels.

The kind of a file is seen from its content, never from its name; any may be gzip or bgzip.

- Delimited text: the separator is the most frequent of tab, comma and semicolon in the first line.
  The first line names the columns, unless it holds no sequence column but a sequence (20 letters or
  more): then the file has no header and its columns are `column_1`, `column_2`, ...
- The sequence column is the one asked for, in any case; for the default `sequence` also `seq`.
- FASTA: the label is a field `TARGET=value` of the header line, whose name is the target's in any
  case, as FLIP writes them; or the last field after `|`, as in the Nucleotide Transformer tasks,
  where the target is called `label`.
- Where asked, columns or header fields that divide the rows are read
  (`helicon.data.tables.divisions`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.alphabet import DNA, INVALID, PROTEIN, SOFT_BIT, Alphabet, Ids
from helicon.data.genome.fasta import Record, read_fasta
from helicon.data.reading.compressed import foreign, open_bytes
from helicon.data.reading.delimited import read_delimited
from helicon.data.tables.divisions import division_columns, header_fields, parts_of
from helicon.errors import InputError
from helicon.files import existing_data

#: Texts that stand for a label that is not there.
MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
#: Shortest field that is taken for a sequence where a header line is expected.
_SURELY_SEQUENCE = 20
_NAME_COLUMNS = ("name", "id")
#: Texts are labels of residues where so large a share has its sequence's length, and the median
#: sequence so many letters.
_NEARLY_ALL, _MANY_LETTERS = 0.9, 5

#: int64, float64 or text.
Labels = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SequenceTable:
    """Sequences packed one after the other, with the labels as they stand in the file.

    Attributes:
        path: the file.
        alphabet: how the letters were read.
        ids: all letters, shape (total,), uint8 with `SOFT_BIT` on lower case.
        offsets: sequence `i` is `ids[offsets[i]:offsets[i + 1]]`, shape (n + 1,), int64.
        labels: int64, float64 or text; shape (n,), or (n, k) of numbers for k target columns;
            `None` where no target was asked for.
        target: names of the target columns, in the order asked for.
        names: names of the sequences: FASTA headers, or a column `name` or `id`; else `None`.
        lines: line number of every row in the file, from 1 (Parquet: the row number), shape (n,).
        unit: `line` or `row`, what `lines` counts.
        parts: what the file says each row is for (`helicon.data.tables.divisions.PARTS`), shape
            (n,); `None` where it says nothing, or was not asked.
        spelled: whether the labels are texts that have, nearly all, as many characters as their
            sequence has letters: labels of residues (`helicon.data.tables.residue_labels`).
    """

    path: Path
    alphabet: Alphabet
    ids: Ids
    offsets: Rows
    labels: Labels | None
    target: tuple[str, ...]
    names: list[str] | None
    lines: Rows
    unit: str = "line"
    parts: NDArray[np.str_] | None = None
    spelled: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lengths(self) -> Rows:
        """Letters of every sequence, shape (n,)."""
        return np.diff(self.offsets)

    def sequence(self, i: int | np.integer) -> Ids:
        """Ids of sequence `i`, shape (length,), without the soft-mask bit."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]] & ~np.uint8(SOFT_BIT)

    def where(self, i: int | np.integer) -> str:
        """Name row `i` as the user finds it: `train.csv, line 7`."""
        return f"{self.path}, {self.unit} {self.lines[i]}"

    def take(self, rows: NDArray[np.integer]) -> SequenceTable:
        """Return the table of the given rows, in their order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shift = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return replace(
            self,
            ids=self.ids[np.arange(offsets[-1]) + shift],
            offsets=offsets,
            labels=None if self.labels is None else self.labels[rows],
            names=None if self.names is None else [self.names[i] for i in rows],
            lines=self.lines[rows],
            parts=None if self.parts is None else self.parts[rows],
        )


def read_table(
    path: str | Path,
    *,
    target: str | None,
    sequence: str = "sequence",
    alphabet: Alphabet = DNA,
    divided: bool = False,
) -> SequenceTable:
    """Read labelled sequences; the module's docstring says which files.

    Args:
        path: a CSV, TSV, Parquet or FASTA file, plain or compressed with gzip.
        target: label column, several separated by commas, or `None` for sequences alone.
        sequence: sequence column (not used for FASTA).
        alphabet: how letters are read; white space around a sequence is dropped, and
            a terminator at its end.
        divided: also read what each row is for, if the file says it.

    Raises:
        InputError: the file is missing, empty, cut short or of another kind; a column is absent;
            a row has too many or too few fields, no label, no sequence, or letters outside the
            alphabet; several targets are not all numbers.
    """
    path = existing_data(path, "table of sequences")
    with open_bytes(path, "table of sequences") as handle:
        start = handle.read(8192).removeprefix(b"\xef\xbb\xbf")
    if start.lstrip().startswith(b">"):
        return _read_fasta(path, target, alphabet, divided)
    if start.startswith(b"PAR1"):
        frame, unit = _read_parquet(path, target, sequence, divided), "row"
    elif words := foreign(start):
        raise InputError(f"{path}: is {words}; a CSV, TSV, Parquet or FASTA file is wanted")
    else:
        frame, unit = _read_text(path, target, sequence, alphabet, divided), "line"
    return _from_frame(path, frame, unit, alphabet)


@dataclass(frozen=True)
class Frame:
    """The columns that matter, whatever the file was."""

    sequence: pl.Series
    target: dict[str, pl.Series]
    names: pl.Series | None
    division: dict[str, pl.Series]
    lines: Rows


def _from_frame(path: Path, frame: Frame, unit: str, alphabet: Alphabet) -> SequenceTable:
    if not len(frame.lines):
        raise InputError(f"{path}: has no rows; fetch or write it again")
    ids, offsets = pack_texts(sequence_texts(frame.sequence, alphabet))
    table = SequenceTable(
        path=path,
        alphabet=alphabet,
        ids=alphabet.encode_table[ids],
        offsets=offsets,
        labels=None,
        target=tuple(frame.target),
        names=None if frame.names is None else frame.names.fill_null("").to_list(),
        lines=frame.lines,
        unit=unit,
    )
    _check_sequences(table, ids)
    table = replace(
        table,
        parts=parts_of(frame.division, table.where),
        spelled=len(frame.target) == 1 and _spelled(table, *frame.target.values()),
    )
    return replace(table, labels=_labels(table, frame.target)) if frame.target else table


def _spelled(table: SequenceTable, series: pl.Series) -> bool:
    if series.dtype != pl.String:
        return False
    sizes = series.str.strip_chars().str.len_bytes().fill_null(0).to_numpy()
    same = float((sizes == table.lengths).mean())
    return same >= _NEARLY_ALL and float(np.median(table.lengths)) >= _MANY_LETTERS


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


def _check_sequences(table: SequenceTable, raw: Ids) -> None:
    if (empty := np.flatnonzero(table.lengths == 0)).size:
        raise InputError(
            f"{table.where(empty[0])}: the sequence is empty{_count(empty)}; "
            "fill it in or remove the row"
        )
    if not (wrong := table.ids == INVALID).any():
        return
    row = int(np.searchsorted(table.offsets, int(np.argmax(wrong)), side="right")) - 1
    start, end = table.offsets[row : row + 2]
    raise InputError(f"{table.where(row)}: {outside(raw[start:end], table.alphabet)}")


def outside(raw: Ids, alphabet: Alphabet) -> str:
    """Say which byte of a sequence (length,) is outside the alphabet, and what it may be."""
    at = int(np.argmax(alphabet.encode_table[raw] == INVALID))
    protein = alphabet.name == DNA.name and not (PROTEIN.encode_table[raw] == INVALID).any()
    letter = raw[at:].tobytes().decode("utf-8", errors="replace")[0]
    return (
        f"character {letter!r} at position {at + 1} of the sequence is "
        f"outside the {alphabet.name} alphabet ({alphabet.letters}); "
        + ("it reads as a protein" if protein else "correct it, or name the right sequence column")
    )


def _count(rows: NDArray[np.int64]) -> str:
    return f" ({len(rows):,} rows are like this)" if len(rows) > 1 else ""


# ---------------------------------------------------------------- the kinds of file


def _read_text(
    path: Path, target: str | None, sequence: str, alphabet: Alphabet, divided: bool
) -> Frame:
    with open_bytes(path, "table of sequences") as handle:
        text = read_delimited(path, handle.read())
    columns, header, sequence = named_columns(text.first, sequence, alphabet)
    chosen = choose_columns(path, columns, target, sequence, divided=divided)
    frame = text.read(chosen.positions(), skip_first=header)
    return chosen.frame(frame, text.lines[1:] if header else text.lines)


def named_columns(
    first: list[str], sequence: str, alphabet: Alphabet
) -> tuple[list[str], bool, str]:
    """Names of the columns of a text, whether its first row holds them, and the sequence column.

    Args:
        first: fields of the first row.
        sequence: the sequence column asked for.
        alphabet: of the sequences.
    """
    if find_sequence(first, sequence) is None:
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


def _read_parquet(path: Path, target: str | None, sequence: str, divided: bool) -> Frame:
    try:
        with open_bytes(path, "Parquet file") as handle:
            source = io.BytesIO(handle.read())
        columns = list(pl.read_parquet_schema(source))
        chosen = choose_columns(path, columns, target, sequence, divided=divided)
        names = [columns[i] for i in chosen.positions()]
        frame = pl.read_parquet(source, columns=names).select(names)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: the Parquet file is damaged or cut short ({reason}); fetch or write it again"
        ) from error
    frame = frame.cast({pl.Categorical: pl.String, pl.Enum: pl.String, pl.Boolean: pl.Int64})
    if frame[chosen.sequence].dtype != pl.String:
        raise InputError(
            f"{path}: the column {chosen.sequence!r} holds {frame[chosen.sequence].dtype}, not "
            "text; name the column of sequences"
        )
    return chosen.frame(frame, np.arange(1, len(frame) + 1))


def _read_fasta(path: Path, target: str | None, alphabet: Alphabet, divided: bool) -> SequenceTable:
    parts, names, lines, fields, labels = [], [], [], [], []
    for record in read_fasta(path, alphabet, unique=False):
        found, name = header_fields(record.description), record.name
        if target is not None and target.lower() in found:
            labels.append(found[target.lower()])
        elif target is not None:
            name, label = _behind_bar(path, record, target, found)
            labels.append(label)
        parts.append(record.ids)
        names.append(name)
        lines.append(record.line)
        fields.append(found)
    table = SequenceTable(
        path=path,
        alphabet=alphabet,
        ids=np.concatenate(parts),
        offsets=np.cumsum([0, *map(len, parts)], dtype=np.int64),
        labels=None,
        target=(target,) if target else (),
        names=names,
        lines=np.array(lines, np.int64),
    )
    if divided:
        keys = division_columns(dict.fromkeys(key for found in fields for key in found))
        columns = {k: pl.Series([f.get(k, "") for f in fields], dtype=pl.String) for k in keys}
        table = replace(table, parts=parts_of(columns, table.where))
    return replace(table, labels=_labels(table, {target: pl.Series(labels)})) if target else table


def _behind_bar(path: Path, record: Record, target: str, fields: Iterable[str]) -> tuple[str, str]:
    """Name and label of a record whose header ends with `|label`."""
    name, bar, label = f"{record.name} {record.description}".rpartition("|")
    if target == "label" and bar:
        return name, label
    where = f"{path}, line {record.line}: the record {record.name!r}"
    others = f"one of its fields {', '.join(fields)}" if fields else ""
    if target != "label":
        choice = " or ".join(filter(None, ["'label', what stands in the header after '|'", others]))
        raise InputError(f"{where} has no field {target!r}; choose the target {choice}")
    choice = f", or choose {others}" if others else ""
    raise InputError(f"{where} has no label; write it at the end of the header after '|'{choice}")


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class Columns:
    """Names and places of the columns that are read."""

    places: dict[str, int]
    sequence: str
    target: tuple[str, ...]
    name: str | None
    division: tuple[str, ...] = ()

    def positions(self) -> list[int]:
        """Places of the columns in the file, ascending."""
        named = [self.name] if self.name else []
        wanted = (self.sequence, *self.target, *named, *self.division)
        return sorted({self.places[column] for column in wanted})

    def frame(self, frame: pl.DataFrame, lines: Rows) -> Frame:
        """Name the columns at `positions` of some rows; `lines` says where these stand."""
        series = dict(zip(self.positions(), frame.get_columns(), strict=True))
        return Frame(
            sequence=series[self.places[self.sequence]],
            target={column: series[self.places[column]] for column in self.target},
            names=series[self.places[self.name]].cast(pl.String) if self.name else None,
            division={column: series[self.places[column]] for column in self.division},
            lines=np.asarray(lines, np.int64),
        )


def choose_columns(
    path: Path, columns: list[str], target: str | None, sequence: str, *, divided: bool = False
) -> Columns:
    """Find the columns that are read; with `divided`, also those that may divide the rows.

    Raises:
        InputError: one is absent, or there twice.
    """
    found = find_sequence(columns, sequence)
    wanted = [] if target is None else [target] if target in columns else _split(target)
    listed = ", ".join(columns)
    for asked, column in [(sequence, found), *((t, t) for t in wanted)]:
        if column is None or column not in columns:
            raise InputError(f"{path}: has no column {asked!r}; its columns are: {listed}")
        if columns.count(column) > 1:
            raise InputError(f"{path}: has two columns {column!r}; rename one of them")
    assert found is not None
    names = [column for column in columns if column.lower() in _NAME_COLUMNS]
    return Columns(
        places={column: i for i, column in enumerate(columns)},
        sequence=found,
        target=tuple(wanted),
        name=names[0] if names else None,
        division=tuple(division_columns(columns, (found, *wanted))) if divided else (),
    )


def _split(target: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in target.split(",")))


def find_sequence(columns: Iterable[str], asked: str) -> str | None:
    """The sequence column, in any case; `None` where there is none."""
    accepted = ["sequence", "seq"] if asked == "sequence" else [asked.lower()]
    if asked in columns:
        return asked
    for name in accepted:
        for column in columns:
            if column.lower() == name:
                return column
    return None


# ---------------------------------------------------------------- labels


def _labels(table: SequenceTable, columns: dict[str, pl.Series]) -> Labels:
    """Integers if all are, else numbers if all are, else text; several columns must be numbers."""
    read = [_column(table, name, series) for name, series in columns.items()]
    if len(read) == 1:
        return read[0]
    for name, values in zip(columns, read, strict=True):
        if values.dtype.kind == "U":
            row = _first_text(values)
            raise InputError(
                f"{table.where(row)}: the column {name!r} holds the text {str(values[row])!r}; "
                "several target columns must all be numbers"
            )
    return np.stack(read, axis=1)


def _column(table: SequenceTable, name: str, series: pl.Series) -> Labels:
    if not (series.dtype.is_numeric() or series.dtype == pl.String):
        raise InputError(
            f"{table.path}: the column {name!r} holds {series.dtype}; numbers or text are wanted"
        )
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        missing = series.is_null() | series.is_in(MISSING)
    else:
        missing = series.is_null() | series.cast(pl.Float64).is_nan()
    if missing.any():
        rows = np.flatnonzero(missing.to_numpy())
        raise InputError(
            f"{table.where(rows[0])}: the label in {name!r} is missing{_count(rows)}; "
            "fill it in or remove the row"
        )
    for kind in (pl.Int64, pl.Float64):
        if series.dtype.is_float() and kind == pl.Int64:
            continue
        numbers = series.cast(kind, strict=False)
        if not numbers.null_count():
            return numbers.to_numpy()
    words = series.rechunk().to_arrow().dictionary_encode()
    return np.array(words.dictionary.to_pylist(), np.str_)[words.indices.to_numpy()]


def _first_text(values: Labels) -> int:
    """Row of the first text that is no number; `values` (n,) must hold one."""
    unique, rows = np.unique(values, return_index=True)
    numbers = pl.Series(unique.tolist()).cast(pl.Float64, strict=False)
    return int(rows[numbers.is_null().to_numpy()].min())
