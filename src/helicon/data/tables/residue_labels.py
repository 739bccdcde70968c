"""A class for every residue of a sequence, written as one character each.

Two layouts are read. FLIP's: a FASTA file of sequences, a FASTA file of labels whose records have
the same names and lengths, and perhaps one of `0` and `1` that says which residues count. And a
table with a column of label strings beside the column of sequences. What a character means is its
own matter: `CEH` for secondary structure, `1` to `9` for conservation; every character is a class.

FLIP: Dallago et al., "FLIP: Benchmark tasks in fitness landscape inference for proteins", 2021.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Alphabet
from helicon.data.reading.compressed import open_bytes
from helicon.data.tables.divisions import PARTS
from helicon.data.tables.tables import SequenceTable, read_table
from helicon.errors import InputError

_CHARACTERS = "".join(sorted(string.digits + string.ascii_letters + string.punctuation))
#: Characters that label residues: all that print, in the order of their codes. Case matters.
LABELS = Alphabet(
    name="label", letters=_CHARACTERS, special=(), mask_id=0, pad_id=0, real=_CHARACTERS
)
_SWITCH = [LABELS.letters.index(letter) for letter in "01"]


@dataclass(frozen=True)
class ResidueTable:
    """Sequences and a label for each of their residues.

    Attributes:
        sequences: n sequences of `total` letters.
        labels: their labels, whose `ids` are places in `LABELS.letters`; row by row as long as the
            sequences.
        known: which residues count, shape (total,).
        notes: what was found and decided in reading, a line each.
    """

    sequences: SequenceTable
    labels: SequenceTable
    known: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, rows: NDArray[np.integer]) -> ResidueTable:
        """Return the table of the given rows, in their order."""
        sequences = self.sequences.take(rows)
        first = np.repeat(self.sequences.offsets[rows] - sequences.offsets[:-1], sequences.lengths)
        known = self.known[np.arange(len(first)) + first]
        return replace(self, sequences=sequences, labels=self.labels.take(rows), known=known)

    def characters(self) -> str:
        """The labels that occur on residues that count, sorted."""
        found = np.unique(self.labels.ids[self.known])
        return "".join(LABELS.letters[code] for code in found)

    def classes(self, names: str) -> NDArray[np.int16]:
        """The class of every residue, shape (total,): its place in `names`, -100 if it counts not.

        Raises:
            InputError: a label is none of `names`; names its record and position.
        """
        place = np.full(len(LABELS.letters), -1, np.int16)
        place[[LABELS.letters.index(name) for name in names]] = np.arange(len(names))
        classes = place[self.labels.ids]
        if (new := (classes < 0) & self.known).any():
            at = int(np.argmax(new))
            row = int(np.searchsorted(self.labels.offsets, at, side="right")) - 1
            raise InputError(
                f"{self.where(row)}: the label {LABELS.letters[self.labels.ids[at]]!r} of residue "
                f"{at - self.labels.offsets[row] + 1} is none of the model's ({', '.join(names)}); "
                "correct it or mask the residue"
            )
        classes[~self.known] = -100
        return classes

    def where(self, row: int) -> str:
        """Name a row as the user finds its labels."""
        names = self.labels.names
        return self.labels.where(row) + (f", record {names[row]!r}" if names else "")


def is_fasta(path: str | Path) -> bool:
    """Whether a file of labels is FASTA: one character a residue, not features of a genome.

    Raises:
        InputError: as `helicon.data.reading.compressed.open_bytes`.
    """
    with open_bytes(path, "file of labels") as handle:
        return handle.read(8192).lstrip().startswith(b">")


def read_residues(
    sequences: Path, labels: Path, *, mask: Path | None, alphabet: Alphabet, sequence: str
) -> ResidueTable:
    """Read labels in FASTA with the sequences of the same names.

    A record of labels that stands in its file again is used once; where one is for testing and the
    other for training (there are such in FLIP), it is for testing.

    Args:
        sequences: FASTA file, or table with a column of names.
        labels: FASTA file; its records decide which sequences are used, and their order.
        mask: FASTA file of 1 and 0: residues that count, and those that do not.
        alphabet: of the sequences.
        sequence: the column of sequences of a table.

    Raises:
        InputError: a file is wrong; a record is missing, there twice with different labels, or has
            another length.
    """
    table = read_table(sequences, target=None, sequence=sequence, alphabet=alphabet)
    written, notes = _distinct(read_table(labels, target=None, alphabet=LABELS, divided=True))
    same = _same_records(written, table, "labels", "residues")
    if len(written) < len(table):
        notes = (*notes, f"{len(table) - len(written):,} sequences without labels are left out")
    found = ResidueTable(same, written, np.ones(len(written.ids), dtype=bool), notes)
    return found if mask is None else _masked(found, mask)


def read_residue_column(
    path: Path, target: str, *, mask: Path | None, alphabet: Alphabet, sequence: str
) -> ResidueTable:
    """Read a table whose target column holds a string of labels for each sequence.

    Args:
        path: CSV, TSV or Parquet file.
        target: the column of labels.
        mask: as in `read_residues`; the table then needs a column of names.
        alphabet: of the sequences.
        sequence: the column of sequences.

    Raises:
        InputError: the table is wrong, or a row has not as many labels as residues.
    """
    if is_fasta(path):
        raise InputError(f"{path}: is a FASTA file of sequences; give its labels too")
    table = read_table(path, target=None, sequence=sequence, alphabet=alphabet)
    written = read_table(path, target=None, sequence=target, alphabet=LABELS, divided=True)
    _check_lengths(written, table, "labels", "residues")
    found = ResidueTable(table, written, np.ones(len(written.ids), dtype=bool))
    return found if mask is None else _masked(found, mask)


def _distinct(table: SequenceTable) -> tuple[SequenceTable, tuple[str, ...]]:
    """The records of different names, and what became of the others."""
    assert table.names is not None, "records of FASTA have names"
    _, rows, inverse = np.unique(table.names, return_index=True, return_inverse=True)
    if len(rows) == len(table):
        return table, ()
    again = np.flatnonzero(rows[inverse] != np.arange(len(table)))
    first = rows[inverse[again]]
    for row, other in zip(again.tolist(), first.tolist(), strict=True):
        if not np.array_equal(table.sequence(row), table.sequence(other)):
            raise InputError(
                f"{table.where(row)}: the record {table.names[row]!r} has other labels than in "
                f"{table.unit} {table.lines[other]}; remove one"
            )
    note = f"{len(again):,} records stand twice with the same labels; each is used once"
    if table.parts is not None:
        strength = np.array([PARTS.index(part) for part in table.parts.tolist()])
        moved = int((strength[again] != strength[first]).sum())
        np.maximum.at(strength, first, strength[again])
        table = replace(table, parts=np.array(PARTS)[strength])
        if moved:
            note += f" ({moved:,} that are for two parts: for test before validation before train)"
    return table.take(np.sort(rows)), (note,)


def _masked(table: ResidueTable, mask: Path) -> ResidueTable:
    """Keep the residues that a mask says count."""
    written = read_table(mask, target=None, alphabet=LABELS)
    switches = _same_records(table.labels, written, "labels", "mask characters")
    if (wrong := ~np.isin(switches.ids, _SWITCH)).any():
        at = int(np.argmax(wrong))
        row = int(np.searchsorted(switches.offsets, at, side="right")) - 1
        raise InputError(
            f"{switches.where(row)}: a mask holds 0 and 1 only, not "
            f"{LABELS.letters[switches.ids[at]]!r}; name the right file"
        )
    known = switches.ids == _SWITCH[1]
    if not known.any():
        raise InputError(f"{mask}: masks every residue; there is nothing to learn or measure")
    return replace(table, known=known)


def _same_records(
    wanted: SequenceTable, others: SequenceTable, what: str, other: str
) -> SequenceTable:
    """The rows of `others` that have the names of `wanted`, in its order.

    Raises:
        InputError: a name is missing or there twice, or lengths differ.
    """
    names, known = _names(wanted), _names(others)
    order = np.argsort(known, kind="stable")
    at = np.searchsorted(known[order], names).clip(max=len(order) - 1)
    rows = order[at]
    if (absent := known[rows] != names).any():
        row = int(np.argmax(absent))
        raise InputError(
            f"{others.path}: has no record {str(names[row])!r}, which {wanted.where(row)} names "
            f"({int(absent.sum()):,} such); give the file that belongs to it"
        )
    found = others.take(rows)
    _check_lengths(wanted, found, what, other)
    return found


def _names(table: SequenceTable) -> NDArray[np.str_]:
    """Names of the rows, each once."""
    if table.names is None:
        raise InputError(
            f"{table.path}: names no sequences, by which labels or masks could be matched; add a "
            "column 'name'"
        )
    names = np.array(table.names)
    _, first, counts = np.unique(names, return_index=True, return_counts=True)
    if (counts > 1).any():
        name = str(names[first[np.argmax(counts > 1)]])
        again = table.where(int(np.flatnonzero(names == name)[1]))
        raise InputError(f"{again}: the name {name!r} is there twice; rename or remove one")
    return names


def _check_lengths(wanted: SequenceTable, found: SequenceTable, what: str, other: str) -> None:
    if (different := wanted.lengths != found.lengths).any():
        row = int(np.argmax(different))
        name = f", record {wanted.names[row]!r}" if wanted.names else ""
        raise InputError(
            f"{wanted.where(row)}{name}: has {wanted.lengths[row]:,} {what} where "
            f"{found.where(row)} has {found.lengths[row]:,} {other} "
            f"({int(different.sum()):,} such); write one for each, or remove the record"
        )
