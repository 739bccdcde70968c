"""Which labelled rows train, choose and test: as their file says, or held out by chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables.divisions import PARTS, part_named
from helicon.data.tables.residue_labels import ResidueTable
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.metrics.targets import Target

Rows = NDArray[np.int64]
Table = TypeVar("Table", SequenceTable, ResidueTable)
#: Bins of a number's range, over which a regression split is balanced.
_BINS = 10


def divide(
    table: Table, valid: Table | None, test: Table | None
) -> tuple[Table, Table | None, Table | None, list[str]]:
    """Deal out rows by what their files say they are for (`helicon.data.tables.divisions`).

    A row that is for testing by its own file's word is never trained or chosen on, and no other is
    tested on. Validation and test files come before the rows of the training file that are for
    the same purpose, which are then left out.

    Args:
        table: the training file.
        valid: the validation file, if one is given.
        test: the test file, if one is given.

    Returns:
        Rows to train on, to choose on and to test on (`None` where there are none), and lines that
        say what was decided.

    Raises:
        InputError: a file says that none of its rows is for its purpose.
    """
    notes: list[str] = []
    if (parts := _said(table)) is not None:
        counts = {part: int((parts == part).sum()) for part in PARTS}
        listed = ", ".join(f"{count:,} {part}" for part, count in counts.items())
        notes.append(f"split: {_name(table)} says itself what its rows are for: {listed}")
        for part, given in (("validation", valid), ("test", test)):
            if given is not None and counts[part]:
                notes[0] += f"; its {part} rows are left out, as there is a {part} file"
    train = select_part(table, "train")
    if parts is not None:
        valid_rows, test_rows = (np.flatnonzero(parts == part) for part in PARTS[1:])
        valid = table.take(valid_rows) if valid is None and len(valid_rows) else valid
        test = table.take(test_rows) if test is None and len(test_rows) else test
    valid = None if valid is None else select_part(valid, "validation")
    test = None if test is None else select_part(test, "test")
    return train, valid, test, notes


def select_part(table: Table, part: str) -> Table:
    """The rows that a file itself says are for a part; all where it says nothing of its rows.

    Raises:
        InputError: there is no such row.
    """
    parts = _said(table)
    if parts is None:
        return table
    rows = np.flatnonzero(parts == part)
    if not len(rows):
        said = ", ".join(p for p in PARTS if (parts == p).any())
        raise InputError(
            f"{_name(table)}: says of none of its rows that it is for {part} (only {said}); give "
            "another file, or remove what divides its rows"
        )
    return table.take(rows)


def measured_part(table: Table, part: str | None) -> tuple[Table, str | None]:
    """The rows of a file to measure on.

    Args:
        table: the file.
        part: one of `PARTS`, `all`, or `None`: the rows for testing, if the file says of its rows
            what they are for, and else all.

    Returns:
        The rows, and the part that they are; `None` for all of the file.

    Raises:
        InputError: the file has no such rows, or does not say.
    """
    if part == "all" or (part is None and _said(table) is None):
        return table, None
    chosen = part_named(part or "test")
    if _said(table) is None:
        raise InputError(f"part: {_name(table)} does not say what its rows are for; leave it out")
    return select_part(table, chosen), chosen


def _said(table: SequenceTable | ResidueTable) -> NDArray[np.str_] | None:
    return table.parts if isinstance(table, SequenceTable) else table.labels.parts


def _name(table: SequenceTable | ResidueTable) -> Path:
    return table.path if isinstance(table, SequenceTable) else table.labels.path


def hold_out(
    table: SequenceTable, labels: NDArray, target: Target, fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Divide rows into a part to train on and a part to choose on.

    Equal sequences stay on one side, so that none is scored that was trained on. Classes keep
    their shares (the quantiles of the first column of a regression likewise), and every class
    has a row on both sides.

    Args:
        table: labelled sequences.
        labels: of its rows, from `target.encode(table)`.
        target: what they mean.
        fraction: share of the rows to hold out, between 0 and 1.
        seed: of the choice.

    Returns:
        Rows to train on and rows held out, each ascending.

    Raises:
        InputError: too few different sequences, in the whole or of one class.
    """
    first, group = _distinct(table)
    strata = _strata(labels[first], target)
    of = target.names if target.problem == "single_label" else ()
    return _held(table, group, strata, fraction, seed, of)


def hold_out_sequences(table: SequenceTable, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Divide rows as `hold_out`, whatever their labels."""
    first, group = _distinct(table)
    return _held(table, group, np.zeros(len(first), dtype=np.int64), fraction, seed, ())


def _held(
    table: SequenceTable,
    group: Rows,
    strata: NDArray[np.int64],
    fraction: float,
    seed: int,
    names: Sequence[str],
) -> tuple[Rows, Rows]:
    """Rows to keep and to hold out, so that every stratum of different sequences has both.

    Args:
        table: the rows.
        group: which of the different sequences each row has.
        strata: of the different sequences.
        fraction: share to hold out.
        seed: of the choice.
        names: of the strata, if they have any.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        if len(members) < 2:
            of = f" of class {names[stratum]!r}" if names else ""
            raise InputError(
                f"{table.path}: {len(members)} different sequence{of} cannot be divided into "
                "training and validation; add rows, or give a validation file"
            )
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[members[:count]] = True
    return np.flatnonzero(~held[group]), np.flatnonzero(held[group])


def _distinct(table: SequenceTable) -> tuple[Rows, Rows]:
    """First row of each different sequence, and the number of every row's sequence."""
    seen: dict[bytes, int] = {}
    group = np.array([seen.setdefault(key, len(seen)) for key in _keys(table)], dtype=np.int64)
    return np.unique(group, return_index=True)[1], group


def _keys(table: SequenceTable) -> list[bytes]:
    return [table.sequence(i).tobytes() for i in range(len(table))]


def _strata(labels: NDArray, target: Target) -> NDArray[np.int64]:
    if target.problem == "single_label":
        return labels
    if target.problem == "multi_label" or len(labels) < 2 * _BINS:
        return np.zeros(len(labels), dtype=np.int64)
    order = np.argsort(labels[:, 0], kind="stable")
    strata = np.empty(len(labels), dtype=np.int64)
    strata[order] = np.arange(len(labels)) * _BINS // len(labels)
    return strata


def shared_sequences(table: SequenceTable, other: SequenceTable) -> int:
    """Number of rows of `other` whose sequence also stands in `table`."""
    known = set(_keys(table))
    return sum(key in known for key in _keys(other))
