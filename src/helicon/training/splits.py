"""Which labelled rows train, and which choose: a held-out split where the user gave none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables import SequenceTable
from helicon.errors import InputError
from helicon.training.targets import Target

Rows = NDArray[np.int64]
#: Bins of a number's range, over which a regression split is balanced.
_BINS = 10


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
    rng = np.random.default_rng(seed)
    held = np.zeros(len(first), dtype=bool)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        if len(members) < 2:
            raise InputError(_too_few(table, target, int(stratum), len(members)))
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


def _too_few(table: SequenceTable, target: Target, stratum: int, count: int) -> str:
    of = f" of class {target.names[stratum]!r}" if target.problem == "single_label" else ""
    return (
        f"{table.path}: {count} different sequence{of} cannot be divided into training and "
        "validation; add rows, or give a validation file"
    )


def shared_sequences(table: SequenceTable, other: SequenceTable) -> int:
    """Number of rows of `other` whose sequence also stands in `table`."""
    known = set(_keys(table))
    return sum(key in known for key in _keys(other))
