"""A genome as one memory-mapped array of encoded bases, made once for each content of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.alphabet import DNA, SOFT_BIT, Ids
from helicon.data.genome.chromosomes import Names
from helicon.data.genome.fasta import stream_fasta
from helicon.data.reading.cached import let_go, made_once, mapped
from helicon.errors import InputError
from helicon.files import cache_folder, existing_data, sha256, write_aside

#: Changes with what the files of a store mean: stores of other versions are not looked at.
_STORE_VERSION = 2
_BASES, _UNKNOWN = "bases.u8", "unknown.i64"
_LETTER = np.uint8(0xFF ^ SOFT_BIT)

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Genome:
    """Chromosomes (or contigs) one behind the other in one array of encoded bases.

    Positions are 0-based and half-open. Bases beyond the edge of a chromosome read as `[PAD]`.

    Attributes:
        path: the FASTA file that it was read from.
        sha256: hash of that file's bytes, by which the store is found again.
        names: chromosome names, in file order.
        lengths: bases of each chromosome, shape (chromosomes,).
        bases: all of them in file order, shape (total,), uint8 ids with `SOFT_BIT`; read-only and
            memory-mapped, so that only what is looked at takes memory.
        unknown: start, end, start, end, ... of the runs of `N` in `bases`, ascending.
    """

    path: Path
    sha256: str
    names: list[str]
    lengths: Whole
    bases: Ids = field(repr=False)
    unknown: Whole = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, *, cache: str | Path | None = None) -> Genome:
        """Open a plain, gzip or bgzip FASTA file, encoding it if its content is new.

        The store lies in the cache under the SHA-256 of the file, so an edited file is never
        served stale, and processes that start together share one. Encoding takes a few megabytes
        of memory whatever the size of the genome, and one byte of disk for each base.

        Args:
            path: the FASTA file.
            cache: the cache folder, `helicon.files.cache_folder()` if not given.

        Raises:
            InputError: as `helicon.data.genome.fasta.read_fasta`; or the file changed while it was
                read.
            WorkError: the disk is full.
        """
        path = existing_data(path, "FASTA file")
        digest = sha256(path)
        store = Path(cache or cache_folder()) / "genomes" / f"v{_STORE_VERSION}" / digest
        index = made_once(store, (_BASES, _UNKNOWN), lambda: _encode(path, digest, store))
        return cls(
            path=path,
            sha256=digest,
            names=index["names"],
            lengths=np.array(index["lengths"], dtype=np.int64),
            bases=mapped(store / _BASES, np.uint8),
            unknown=mapped(store / _UNKNOWN, np.int64),
        )

    @property
    def total(self) -> int:
        """Number of bases of all chromosomes."""
        return len(self.bases)

    @cached_property
    def offsets(self) -> Whole:
        """Where each chromosome begins in `bases`, shape (chromosomes,)."""
        return np.cumsum(self.lengths) - self.lengths

    def index(self, name: str) -> int:
        """Position of a chromosome in `names`.

        Raises:
            InputError: there is none of that name.
        """
        place = self._names.exact.get(name)
        if place is None:
            known = ", ".join(self.names[:4]) + (", ..." if len(self.names) > 4 else "")
            raise InputError(f"{self.path}: no sequence is named {name!r}; it has {known}")
        return place

    def find(self, name: str, *, encoded: bool = False) -> int | None:
        """Position in `names` of the chromosome that another file's name means.

        `None` if it is none, or one of several; see `helicon.data.genome.chromosomes.Names`.
        """
        return self._names.find(name, encoded=encoded)

    @cached_property
    def _names(self) -> Names:
        return Names(self.names)

    def fetch(
        self, chrom: str | int, start: int, end: int, *, strand: str = "+", soft: bool = False
    ) -> Ids:
        """Read one stretch of a chromosome.

        Args:
            chrom: name, or position in `names`.
            start: first base, 0-based; may lie before the chromosome.
            end: behind the last base; may lie beyond the chromosome.
            strand: `-` for the reverse complement, anything else for the sequence as written.
            soft: keep `SOFT_BIT` on soft-masked bases.

        Returns:
            Ids of shape (end - start,), `[PAD]` outside the chromosome; a copy.
        """
        at = self.index(chrom) if isinstance(chrom, str) else chrom
        reverse = np.array([strand == "-"])
        return self.windows([at], [start], end - start, reverse=reverse, soft=soft)[0]

    def windows(
        self,
        chroms: ArrayLike,
        starts: ArrayLike,
        length: int,
        *,
        reverse: NDArray[np.bool_] | None = None,
        soft: bool = False,
    ) -> Ids:
        """Gather windows of one length.

        Args:
            chroms: positions in `names`, shape (n,).
            starts: first base of each window on the forward strand, shape (n,).
            length: bases of each window.
            reverse: which windows to give as reverse complement, shape (n,).
            soft: keep `SOFT_BIT` on soft-masked bases.

        Returns:
            Ids of shape (n, length), `[PAD]` outside the chromosome.
        """
        chroms, starts = np.asarray(chroms, dtype=np.int64), np.asarray(starts, dtype=np.int64)
        out = gather_windows(
            self.bases, self.offsets[chroms], self.lengths[chroms], starts, length, DNA.pad_id
        )
        if not soft:
            out &= _LETTER
        if reverse is not None and reverse.any():
            out[reverse] = _reverse_complement(out[reverse])
        return out

    def let_go(self) -> None:
        """Give back the memory of the bases that were looked at."""
        let_go(self.bases)

    def unknown_fraction(
        self, chroms: ArrayLike, starts: ArrayLike, length: int | Whole
    ) -> NDArray[np.float64]:
        """Share of each window that is `N`, exact, without reading the windows.

        Args:
            chroms: positions in `names`, shape (n,).
            starts: first base of each window, shape (n,).
            length: bases of each window, one number or shape (n,); those beyond an edge are not
                `N`.

        Returns:
            Fractions from 0 to 1, shape (n,), float64.
        """
        chroms, starts = np.asarray(chroms, dtype=np.int64), np.asarray(starts, dtype=np.int64)
        if not len(self.unknown):
            return np.zeros(len(starts))
        size, offset = self.lengths[chroms], self.offsets[chroms]
        first = offset + np.clip(starts, 0, size)
        last = offset + np.clip(starts + length, 0, size)
        return (self._unknown_before(last) - self._unknown_before(first)) / length

    def _unknown_before(self, at: Whole) -> Whole:
        """Number of `N` in `bases[:at]`."""
        edge = np.searchsorted(self.unknown, at, side="right")
        run = edge // 2
        within = np.where(edge % 2 == 1, at - self.unknown[edge - 1], 0)
        return self._unknown_in_runs[run] + within

    @cached_property
    def _unknown_in_runs(self) -> Whole:
        """Number of `N` in the first 0, 1, 2, ... runs."""
        return np.concatenate(([0], np.cumsum(self.unknown[1::2] - self.unknown[::2])))


def gather_windows(
    letters: Ids, offsets: Whole, lengths: Whole, starts: Whole, length: int, pad_id: int
) -> Ids:
    """Gather windows of one length out of sequences that lie one behind the other.

    Args:
        letters: all sequences, shape (total,).
        offsets: where the sequence of each window begins in `letters`, shape (n,).
        lengths: letters of the sequence of each window, shape (n,).
        starts: first letter of each window in its sequence, shape (n,).
        length: letters of each window.
        pad_id: what stands beyond the ends of a sequence.

    Returns:
        Ids of shape (n, length), a copy.
    """
    firsts = offsets + starts
    inside = (starts >= 0) & (starts + length <= lengths)
    # All windows are the rows of a view, shape (total - length + 1, length), without a copy.
    shape = (max(0, len(letters) - length + 1), length)
    rows: Ids = np.ndarray(shape, np.uint8, letters.data, strides=(1, 1))
    if inside.all() and len(starts):
        return rows[firsts]
    out = np.full((len(starts), length), pad_id, dtype=np.uint8)
    if inside.any():
        out[inside] = rows[firsts[inside]]
    for row in np.flatnonzero(~inside):
        first, last = max(starts[row], 0), min(starts[row] + length, lengths[row])
        if first < last:
            found = letters[offsets[row] + first : offsets[row] + last]
            out[row, first - starts[row] : last - starts[row]] = found
    return out


def _reverse_complement(ids: Ids) -> Ids:
    """Reverse complement of rows, five times as fast as by table.

    In the order A C G T the complement of an id is the id with its two low bits flipped; bit 2 is
    set in `N` and the special symbols, which stay what they are.
    """
    flipped = np.ascontiguousarray(ids[..., ::-1])
    flipped ^= (((flipped >> 2) & 1) - np.uint8(1)) & np.uint8(3)
    return flipped


def _encode(path: Path, digest: str, store: Path) -> dict[str, Any]:
    """Write the store of a FASTA file, a piece at a time, and return its index."""
    names: list[str] = []
    lengths: list[int] = []
    with (
        write_aside(store / _BASES) as bases_path,
        write_aside(store / _UNKNOWN) as unknown_path,
        bases_path.open("wb") as bases,
        unknown_path.open("wb") as unknown,
    ):
        runs = _Runs(unknown)
        for header, ids in stream_fasta(path):
            if not names or names[-1] != header.name:
                names.append(header.name)
                lengths.append(0)
            runs.add(ids, bases.tell())
            bases.write(ids.data)
            lengths[-1] += len(ids)
        runs.close()
        if sha256(path) != digest:
            raise InputError(f"{path}: changed while it was read; start again when it is written")
    return {"names": names, "lengths": lengths}


class _Runs:
    """Writes the edges of runs of `N` as they come, joining those that touch."""

    def __init__(self, handle: IO[bytes]):
        self.handle = handle
        self.end = np.empty(0, dtype=np.int64)  # of the last run, not written yet

    def add(self, ids: Ids, offset: int) -> None:
        is_unknown = (ids & _LETTER) == DNA.unknown_id
        if not is_unknown.any():
            return
        padded = np.concatenate(([False], is_unknown, [False]))
        edges = np.flatnonzero(padded[1:] != padded[:-1]) + offset
        if len(self.end) and edges[0] == self.end[0]:
            edges = edges[1:]
        else:
            self.handle.write(self.end.tobytes())
        self.handle.write(edges[:-1].tobytes())
        self.end = edges[-1:]

    def close(self) -> None:
        self.handle.write(self.end.tobytes())
