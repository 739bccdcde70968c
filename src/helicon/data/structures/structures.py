"""Proteins with what is known of their shape: which residues are in contact.

Two residues are in contact if their C-alpha atoms are less than 8 angstrom apart (strictly), or, in
files of contacts, if the file says so. That is where exp(-d^2 / 64) exceeds exp(-1), the definition
of CARP's authors and of TAPE. A residue without coordinates is not valid: nothing is known of its
pairs.

Everything lies packed in a few arrays; maps are made when they are asked for.
`helicon.data.structures.files` reads the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError

#: Residues whose C-alpha atoms are less than so many angstrom apart are in contact.
CONTACT_DISTANCE = 8.0
#: Label of a pair of which nothing is known, or that does not count.
UNKNOWN = -1

Whole = NDArray[np.int64]
Labels = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Structures:
    """Proteins one behind the other, with coordinates or contacts.

    Attributes:
        table: the sequences, n of them, and where each stands in the file.
        valid: whether something is known of a residue, shape (total residues,).
        coordinates: C-alpha atoms in angstrom, (total residues, 3) float32; or
        pairs: residues in contact, 0-based inside their protein, the first before the second,
            (contacts, 2) int32; the other is `None`.
        pair_offsets: protein `k` has the contacts `pair_offsets[k]` to `pair_offsets[k + 1]`;
            (n + 1,), zeros where there are coordinates.
    """

    table: SequenceTable
    valid: NDArray[np.bool_] = field(repr=False)
    coordinates: NDArray[np.float32] | None = field(repr=False)
    pairs: NDArray[np.int32] | None = field(repr=False)
    pair_offsets: Whole = field(repr=False)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def path(self) -> Path:
        """The file."""
        return self.table.path

    @property
    def lengths(self) -> Whole:
        """Residues of every protein, (n,)."""
        return self.table.lengths

    def name(self, k: int | np.integer) -> str:
        """Name of protein `k`."""
        assert self.table.names is not None
        return self.table.names[k]

    def residues(self, k: int | np.integer) -> slice:
        """Where the residues of protein `k` lie in the packed arrays."""
        return slice(int(self.table.offsets[k]), int(self.table.offsets[k + 1]))

    def valid_residues(self, k: int | np.integer) -> NDArray[np.bool_]:
        """Of which residues of protein `k` something is known, (length,)."""
        return self.valid[self.residues(k)]

    def take(self, rows: NDArray[np.integer]) -> Structures:
        """Return the proteins of the given rows, in their order."""
        at = _places(self.table.offsets, rows)
        held = _places(self.pair_offsets, rows)
        counts = np.diff(self.pair_offsets)[rows]
        return replace(
            self,
            table=self.table.take(rows),
            valid=self.valid[at],
            coordinates=None if self.coordinates is None else self.coordinates[at],
            pairs=None if self.pairs is None else self.pairs[held],
            pair_offsets=np.concatenate([[0], np.cumsum(counts)]),
        )

    def contacts(self, k: int | np.integer) -> NDArray[np.bool_]:
        """The map of protein `k`: whether two residues are in contact, (length, length).

        It is symmetric. Pairs of residues that are not valid are false.
        """
        return self._crop(k, slice(0, None), slice(0, None))

    def labels(
        self, k: int | np.integer, row: int, column: int, side: int, separation: int
    ) -> Labels:
        """What a crop of the map of protein `k` should be, for training.

        Args:
            k: the protein.
            row: first row of the crop, 0-based.
            column: first column; not before `row`.
            side: rows and columns.
            separation: residues that a pair is apart at least.

        Returns:
            (side, side) int8: 1 for a contact, 0 for none, `UNKNOWN` where one of the residues is
            not valid, beyond the end, or less than `separation` behind the first. So each pair
            counts once, however the crop lies.
        """
        rows, columns = slice(row, row + side), slice(column, column + side)
        valid = self.valid_residues(k)
        found = self._crop(k, rows, columns)
        apart = (
            np.arange(column, column + found.shape[1]) - np.arange(row, row + len(found))[:, None]
        )
        known = valid[rows, None] & valid[columns] & (apart >= separation)
        labels = np.full((side, side), UNKNOWN, dtype=np.int8)
        labels[: found.shape[0], : found.shape[1]] = np.where(known, found, UNKNOWN)
        return labels

    def _crop(self, k: int | np.integer, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Rows and columns of a map."""
        if self.coordinates is not None:
            return self._near(k, rows, columns)
        assert self.pairs is not None
        held = self.pairs[self.pair_offsets[k] : self.pair_offsets[k + 1]]
        both = np.concatenate([held, held[:, ::-1]]) - (rows.start, columns.start)
        valid = self.valid_residues(k)
        found = np.zeros((len(valid[rows]), len(valid[columns])), dtype=bool)
        both = both[((both >= 0) & (both < found.shape)).all(axis=1)]
        found[both[:, 0], both[:, 1]] = True
        return found & valid[rows, None] & valid[columns]

    def _near(self, k: int | np.integer, rows: slice, columns: slice) -> NDArray[np.bool_]:
        assert self.coordinates is not None
        places, valid = self.coordinates[self.residues(k)], self.valid_residues(k)
        square = np.zeros((len(valid[rows]), len(valid[columns])), dtype=np.float32)
        for axis in range(3):
            square += (places[rows, None, axis] - places[columns, axis]) ** 2
        return (square < CONTACT_DISTANCE**2) & valid[rows, None] & valid[columns]


def check_unit(structures: Structures) -> None:
    """Refuse coordinates that cannot be C-alpha atoms in angstrom: neighbours are 3.8 apart.

    Raises:
        InputError: the median distance of neighbours is not between 2 and 6.
    """
    assert structures.coordinates is not None
    step = np.linalg.norm(np.diff(structures.coordinates, axis=0), axis=1)
    valid = structures.valid[1:] & structures.valid[:-1]
    valid[structures.table.offsets[1:-1] - 1] = False  # from one protein to the next
    if not valid.any():
        return
    median = float(np.median(step[valid]))
    if not 2 < median < 6:
        raise InputError(
            f"{structures.path}: neighbouring C-alpha atoms are {median:.3g} apart (median), which "
            "in angstrom would be 3.8; check the unit of the coordinates"
        )


def _places(offsets: Whole, rows: NDArray[np.integer]) -> Whole:
    """Places of all entries of some rows in a packed array, in the order of the rows."""
    counts = np.diff(offsets)[rows]
    ends = np.cumsum(counts)
    shift = offsets[:-1][rows] - (ends - counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, counts)
