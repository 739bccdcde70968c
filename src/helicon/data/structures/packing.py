"""Records of structures one behind the other, each checked when it comes."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import INVALID, PROTEIN
from helicon.data.genome.fasta import no_residue
from helicon.data.structures.structures import Structures, check_unit
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError

#: What a record may say of the shape of a protein.
SHAPES = ("contacts", "tertiary")


class Packer:
    """Records one behind the other, without an object for each."""

    def __init__(self, path: Path):
        self.path = path
        self.unit = "record"
        self.ids, self.valid = bytearray(), bytearray()
        self.lengths, self.places, self.counts = array("q"), array("q"), array("q")
        self.coordinates, self.pairs = array("f"), array("i")
        self.names: list[str] = []
        self.shape = ""

    def add(
        self,
        place: int,
        name: str,
        sequence: str,
        *,
        contacts: NDArray[Any] | None = None,
        tertiary: NDArray[Any] | None = None,
        valid: NDArray[Any] | None = None,
    ) -> None:
        """Add a protein.

        Args:
            place: its line, row or number in the file, from 1.
            name: its name; empty for its number.
            sequence: its residues.
            contacts: whole numbers (n, 2); or
            tertiary: C-alpha coordinates in angstrom, (length, 3).
            valid: of which residues something is known, (length,); of all, if not given.

        Raises:
            InputError: something does not fit.
        """
        name = name or str(len(self.names) + 1)
        where = f"{self.path}, {self.unit} {place}, protein {name!r}"
        ids = _residues(sequence, where)
        known = np.ones(len(ids), bool) if valid is None else _mask(valid, len(ids), where)
        shape = SHAPES[contacts is None]
        if self.shape not in ("", shape):
            raise InputError(f"{where}: has {shape}, but those before it {self.shape}")
        self.shape = shape
        if contacts is not None:
            pairs = _pairs(contacts, len(ids), where)
            self.pairs.frombytes(pairs.tobytes())
            self.counts.append(len(pairs))
        elif tertiary is not None:
            places = _coordinates(tertiary, len(ids), where)
            known &= np.isfinite(places).all(axis=1)
            self.coordinates.frombytes(np.where(known[:, None], places, 0).tobytes())
            self.counts.append(0)
        else:
            raise InputError(f"{where}: has neither {' nor '.join(SHAPES)}; add one of them")
        self.ids += ids.tobytes()
        self.valid += known.tobytes()
        self.lengths.append(len(ids))
        self.places.append(place)
        self.names.append(name)

    def finished(self) -> Structures:
        """All proteins that were added.

        Raises:
            InputError: there are none, or their unit is no angstrom.
        """
        if not self.names:
            raise InputError(f"{self.path}: holds no protein; fetch or write it again")
        table = SequenceTable(
            path=self.path,
            alphabet=PROTEIN,
            ids=np.frombuffer(self.ids, np.uint8),
            offsets=_ends(self.lengths),
            labels=None,
            target=(),
            names=self.names,
            lines=np.frombuffer(self.places, np.int64),
            unit=self.unit,
        )
        with_pairs = self.shape == "contacts"
        found = Structures(
            table=table,
            valid=np.frombuffer(self.valid, np.bool_),
            coordinates=None
            if with_pairs
            else np.frombuffer(self.coordinates, np.float32).reshape(-1, 3),
            pairs=np.frombuffer(self.pairs, np.int32).reshape(-1, 2) if with_pairs else None,
            pair_offsets=_ends(self.counts),
        )
        if not with_pairs:
            check_unit(found)
        return found


def _ends(counts: array[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.frombuffer(counts, np.int64))])


def _residues(sequence: str, where: str) -> NDArray[np.uint8]:
    text = sequence.strip().removesuffix(PROTEIN.terminator)
    try:
        ids = PROTEIN.encode(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if (markers := PROTEIN.reading_table[np.frombuffer(text.encode(), np.uint8)] == INVALID).any():
        at = int(np.argmax(markers))
        raise InputError(
            f"{where}: character {text[at]!r} at position {at + 1}: {no_residue(text[at], PROTEIN)}"
        )
    if not len(ids):
        raise InputError(f"{where}: the sequence is empty; fill it in or remove the record")
    return ids


def _mask(valid: NDArray[Any], length: int, where: str) -> NDArray[np.bool_]:
    if valid.shape != (length,) or not np.isin(valid, (0, 1)).all():
        raise InputError(
            f"{where}: valid must be {length} times true or false, one a residue; it has the "
            f"shape {valid.shape}"
        )
    return valid.astype(bool)


def _coordinates(tertiary: NDArray[Any], length: int, where: str) -> NDArray[np.float32]:
    if tertiary.shape != (length, 3):
        raise InputError(
            f"{where}: the coordinates must be a triple a residue, {(length, 3)}, not "
            f"{tertiary.shape}"
        )
    return tertiary.astype(np.float32)


def _pairs(contacts: NDArray[Any], length: int, where: str) -> NDArray[np.int32]:
    """Pairs (n, 2), the first residue before the second, each once."""
    if not contacts.size:
        return np.zeros((0, 2), dtype=np.int32)
    if contacts.ndim != 2 or contacts.shape[1] != 2 or contacts.dtype.kind not in "iu":
        raise InputError(f"{where}: contacts must be a list of pairs of whole numbers")
    outside = (contacts < 0) | (contacts >= length)
    if outside.any():
        number = int(contacts[outside][0])
        raise InputError(
            f"{where}: has a contact of residue {number}; they are numbered from 0 to {length - 1}"
        )
    if (same := contacts[:, 0] == contacts[:, 1]).any():
        raise InputError(f"{where}: residue {contacts[same][0, 0]} is in contact with itself")
    return np.unique(np.sort(contacts, axis=1), axis=0).astype(np.int32)
