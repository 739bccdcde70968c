"""Labelled sequences: CSV, TSV, Parquet and FASTA files as one packed array with its labels.

The kind of a file is seen from its content, never from its name; any may be gzip or bgzip.

- Tables: `helicon.data.tables.columns` says which columns are read, and
  `helicon.data.tables.label_columns` what labels are.
- FASTA: the label is a field `TARGET=value` of the header line, whose name is the target's in any
  case, as FLIP writes them; or the last field after `|`, as in the Nucleotide Transformer tasks,
  where the target is called `label`.
- Where asked, columns or header fields that divide the rows are read
  (`helicon.data.tables.divisions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.alphabet import DNA, INVALID, PROTEIN, SOFT_BIT, Alphabet, Ids
from helicon.data.genome.fasta import Record, no_residue, read_fasta
from helicon.data.reading.compressed import open_bytes
from helicon.data.tables.columns import Frame, Rows, pack_texts, read_frames, sequence_texts
from helicon.data.tables.divisions import division_columns, header_fields, parts_of
from helicon.data.tables.label_columns import Labels, count_of, first_text, label_column
from helicon.errors import InputError
from helicon.files import existing_data

#: Texts are labels of residues where so large a share has its sequence's length, and the median
#: sequence so many letters.
_NEARLY_ALL, _MANY_LETTERS = 0.9, 5


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
        start = handle.read(8192)
    if start.lstrip().startswith(b">"):
        return _read_fasta(path, target, alphabet, divided)
    frames = read_frames(path, alphabet, target=target, sequence=sequence, divided=divided)
    return _from_frames(path, list(frames), alphabet)


def _from_frames(path: Path, frames: list[Frame], alphabet: Alphabet) -> SequenceTable:
    first = frames[0]
    packed = [pack_texts(sequence_texts(frame.sequence, alphabet)) for frame in frames]
    letters = np.concatenate([letters for letters, _ in packed])
    lengths = np.concatenate([np.diff(offsets) for _, offsets in packed])
    target = {name: pl.concat([frame.target[name] for frame in frames]) for name in first.target}
    parts = {name: pl.concat([frame.division[name] for frame in frames]) for name in first.division}
    names = None
    if first.names is not None:
        names = pl.concat([frame.names for frame in frames if frame.names is not None])
    table = SequenceTable(
        path=path,
        alphabet=alphabet,
        ids=alphabet.reading_table[letters],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=None,
        target=tuple(target),
        names=None if names is None else names.fill_null("").to_list(),
        lines=np.concatenate([frame.places for frame in frames]),
        unit=first.unit,
    )
    _check_sequences(table, letters)
    table = replace(
        table,
        parts=parts_of(parts, table.where),
        spelled=len(target) == 1 and _spelled(table, *target.values()),
    )
    return _labelled(table, target, decimal_comma=first.decimal_comma)


def _spelled(table: SequenceTable, series: pl.Series) -> bool:
    if series.dtype != pl.String:
        return False
    sizes = series.str.strip_chars().str.len_bytes().fill_null(0).to_numpy()
    same = float((sizes == table.lengths).mean())
    return same >= _NEARLY_ALL and float(np.median(table.lengths)) >= _MANY_LETTERS


def _check_sequences(table: SequenceTable, raw: Ids) -> None:
    if (empty := np.flatnonzero(table.lengths == 0)).size:
        raise InputError(
            f"{table.where(empty[0])}: the sequence is empty{count_of(empty)}; "
            "fill it in or remove the row"
        )
    if not (wrong := table.ids == INVALID).any():
        return
    row = int(np.searchsorted(table.offsets, int(np.argmax(wrong)), side="right")) - 1
    start, end = table.offsets[row : row + 2]
    raise InputError(f"{table.where(row)}: {outside(raw[start:end], table.alphabet)}")


def outside(raw: Ids, alphabet: Alphabet) -> str:
    """Say which byte of a sequence (length,) is outside the alphabet, and what it may be."""
    at = int(np.argmax(alphabet.reading_table[raw] == INVALID))
    protein = alphabet.name == DNA.name and not (PROTEIN.reading_table[raw] == INVALID).any()
    letter = raw[at:].tobytes().decode("utf-8", errors="replace")[0]
    advice = no_residue(letter, alphabet) or "correct it, or name the right sequence column"
    letters = "".join(each for each in alphabet.letters if each not in alphabet.markers)
    return (
        f"character {letter!r} at position {at + 1} of the sequence is "
        f"outside the {alphabet.name} alphabet ({letters}); "
        + ("it reads as a protein" if protein else advice)
    )


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
    return _labelled(table, {target: pl.Series(labels, dtype=pl.String)} if target else {})


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


# ---------------------------------------------------------------- labels


def _labelled(
    table: SequenceTable, columns: dict[str, pl.Series], *, decimal_comma: bool = False
) -> SequenceTable:
    """The table with its labels; several columns must be numbers."""
    if not columns:
        return table
    read = [
        label_column(series, name, table.where, decimal_comma=decimal_comma)
        for name, series in columns.items()
    ]
    if len(read) == 1:
        return replace(table, labels=read[0])
    for name, values in zip(columns, read, strict=True):
        if values.dtype.kind == "U":
            row = first_text(values)
            raise InputError(
                f"{table.where(row)}: the column {name!r} holds the text {str(values[row])!r}; "
                "several target columns must all be numbers"
            )
    return replace(table, labels=np.stack(read, axis=1))
