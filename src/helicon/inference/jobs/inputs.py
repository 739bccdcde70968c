"""What `embed` and `predict` read: a file of sequences, or regions of a genome; in shards.

Either is a row of *sequences*, read through windows, of which a stretch each is *wanted*. Mostly
that is all of it. Regions that are seen in their context are stretches of chromosomes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from helicon.alphabet import ALPHABETS, DNA, Alphabet, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, read_bed
from helicon.data.tables.store import OnError, SequenceStore, is_fasta
from helicon.errors import InputError
from helicon.files import existing_data, sha256
from helicon.forward.tiles import Sequences

Whole = NDArray[np.int64]

_NAME = [("name", pa.string())]
_PLACE = [("chrom", pa.string()), ("start", pa.int64()), ("end", pa.int64())]


class Payload(NamedTuple):
    """Which rows a shard holds; of a single long row perhaps a piece.

    Attributes:
        first: first row.
        last: behind the last row.
        start: of the piece, in the wanted stretch.
        end: behind the piece; `None` for whole rows.
        final: whether it is the last piece of its row.
    """

    first: int
    last: int
    start: int = 0
    end: int | None = None
    final: bool = True


@dataclass(frozen=True)
class Part:
    """Some rows of an input.

    Attributes:
        sequences: what windows are read from, as far as the network may see, in the direction of
            reading.
        start: where the wanted stretch of each begins in it, (n,).
        lengths: letters of the wanted stretches, (n,).
        keys: what names each row in an output: columns of n values.
        backward: whether a row is read against the direction in which its positions count, (n,).
        origin: position of the first wanted letter, (n,); of the last where it is read backward.
    """

    sequences: Sequences
    start: Whole
    lengths: Whole
    keys: pa.Table
    backward: NDArray[np.bool_]
    origin: Whole

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """Which rows want all of their sequence, (n,)."""
        return (self.start == 0) & (self.lengths == self.sequences.lengths)

    def piece(self, payload: Payload) -> Part:
        """The piece of the one row that a payload says."""
        if payload.end is None:
            return self
        size = payload.end - payload.start
        # Positions count upward; reading may not.
        skipped = np.where(self.backward, self.lengths - payload.end, payload.start)
        return replace(
            self,
            start=self.start + skipped,
            lengths=np.array([size]),
            origin=self.origin + payload.start,
        )

    def stretches(self) -> Intervals:
        """The wanted stretches, of `sequences` by number."""
        return Intervals.of((), np.arange(len(self)), self.start, self.start + self.lengths)

    def turned(self) -> Part:
        """The same stretches on the opposite strand."""
        sequences = Turned(self.sequences)
        behind = sequences.lengths - self.start - self.lengths
        return replace(self, sequences=sequences, start=behind, backward=~self.backward)

    def gather(self, rows: NDArray[np.integer]) -> tuple[Ids, NDArray[np.bool_]]:
        """Whole sequences (B, longest), padded on the right, and true at real positions."""
        lengths = self.lengths[rows]
        width = int(lengths.max())
        ids = self.sequences.windows(rows.astype(np.int64), np.zeros(len(rows), np.int64), width)
        return ids, np.arange(width) < lengths[:, None]

    def positions(self, row: int) -> Whole:
        """Positions of the wanted letters of a row, ascending, 0-based."""
        return np.arange(self.origin[row], self.origin[row] + self.lengths[row])


@dataclass(frozen=True, eq=False)
class Turned:
    """The reverse complements of sequences.

    Attributes:
        of: the sequences.
    """

    of: Sequences

    @property
    def lengths(self) -> Whole:
        """See `Sequences`."""
        return self.of.lengths

    def windows(
        self,
        chroms: Whole,
        starts: Whole,
        length: int,
        /,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """See `Sequences`."""
        turned = np.ones(len(chroms), dtype=bool) if reverse is None else ~reverse
        first = self.of.lengths[chroms] - starts - length
        return self.of.windows(chroms, first, length, reverse=turned)


@dataclass(frozen=True, eq=False)
class Regions:
    """Stretches of a genome as sequences of their own: beyond their ends nothing is seen.

    Attributes:
        genome: where they lie.
        chrom: of each, (n,).
        start: of each, (n,).
        end: behind each, (n,).
        minus: whether it is read as reverse complement, (n,).
    """

    genome: Genome
    chrom: Whole
    start: Whole
    end: Whole
    minus: NDArray[np.bool_]

    @cached_property
    def lengths(self) -> Whole:
        """Bases of each, (n,)."""
        return self.end - self.start

    def windows(
        self,
        chroms: Whole,
        starts: Whole,
        length: int,
        /,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """See `Sequences`; `chroms` are numbers of regions."""
        minus = self.minus[chroms]
        first = np.where(minus, self.end[chroms] - starts - length, self.start[chroms] + starts)
        turned = minus if reverse is None else minus ^ reverse
        ids = self.genome.windows(self.chrom[chroms], first, length, reverse=turned)
        column = np.arange(length) + starts[:, None]
        outside = (column < 0) | (column >= self.lengths[chroms][:, None])
        if reverse is not None:
            outside[reverse] = outside[reverse, ::-1]
        ids[outside] = DNA.pad_id
        return ids


@dataclass(frozen=True)
class Input:
    """An opened input.

    Attributes:
        store: the sequences; or
        genome: where the regions lie, and
        regions: these.
        context: whether the network sees the genome around the regions.
    """

    store: SequenceStore | None = None
    genome: Genome | None = None
    regions: Intervals | None = None
    context: bool = False

    def __len__(self) -> int:
        return len(self.store if self.store is not None else self._regions)

    @property
    def _regions(self) -> Intervals:
        assert self.regions is not None
        return self.regions

    @cached_property
    def ends(self) -> Whole:
        """Letters before each row, and of all rows, (n + 1,)."""
        if self.store is not None:
            return self.store.offsets
        return np.concatenate([[0], np.cumsum(self._regions.lengths)])

    @property
    def total(self) -> int:
        """Letters of all rows."""
        return int(self.ends[-1] - self.ends[0])

    @property
    def key_schema(self) -> pa.Schema:
        """The columns that name a row."""
        if self.store is not None:
            return pa.schema(_NAME)
        return pa.schema([*_PLACE, ("strand", pa.string()), *_NAME])

    def longest(self, block: int = 1 << 20) -> int:
        """Letters of the longest row."""
        found = 0
        for at in range(0, len(self), block):
            ends = self.ends[at : at + block + 1]
            found = max(found, int(np.diff(ends).max(initial=0)))
            self.let_go()
        return found

    def shards(self, letters: int, rows: int, *, cut: bool) -> Iterator[tuple[Payload, int]]:
        """Deal out the rows.

        Args:
            letters: of a shard, at most, unless a single row has more.
            rows: of a shard, at most.
            cut: whether rows of more letters are cut in pieces.

        Yields:
            Payload and letters of each shard, in order.
        """
        first, count = 0, len(self)
        while first < count:
            full = int(np.searchsorted(self.ends, self.ends[first] + letters, side="right")) - 1
            last = max(first + 1, min(full, first + rows, count))
            size = int(self.ends[last] - self.ends[first])
            if cut and size > letters:
                for start in range(0, size, letters):
                    end = min(start + letters, size)
                    yield Payload(first, last, start, end, end == size), end - start
            else:
                yield Payload(first, last), size
            first = last

    def part(self, payload: Payload) -> Part:
        """The rows of a shard."""
        if self.store is not None:
            part = _stored(self.store.part(payload.first, payload.last))
        else:
            rows = np.arange(payload.first, payload.last)
            assert self.genome is not None
            part = _placed(self.genome, self._regions.take(rows), self.context)
        return part.piece(payload)

    def let_go(self) -> None:
        """Give back the memory of what was looked at."""
        for source in (self.store, self.genome):
            if source is not None:
                source.let_go()


def _stored(store: SequenceStore) -> Part:
    count = len(store)
    return Part(
        sequences=store,
        start=np.zeros(count, dtype=np.int64),
        lengths=store.lengths,
        keys=pa.table({"name": store.names()}, schema=pa.schema(_NAME)),
        backward=np.zeros(count, dtype=bool),
        origin=np.zeros(count, dtype=np.int64),
    )


def _placed(genome: Genome, rows: Intervals, context: bool) -> Part:
    minus = rows.strand == "-"
    size = genome.lengths[rows.chrom]
    low = np.zeros_like(rows.start) if context else rows.start
    high = size if context else rows.end
    columns = {
        "chrom": [genome.names[chrom] for chrom in rows.chrom],
        "start": rows.start,
        "end": rows.end,
        "strand": rows.strand.tolist(),
        "name": rows.name.tolist(),
    }
    return Part(
        sequences=Regions(genome, rows.chrom, low, high, minus),
        start=np.where(minus, high - rows.end, rows.start - low),
        lengths=rows.lengths,
        keys=pa.table(columns, schema=pa.schema([*_PLACE, ("strand", pa.string()), *_NAME])),
        backward=minus,
        origin=rows.start,
    )


@dataclass(frozen=True)
class Reading:
    """How an input is opened, in every process again.

    Attributes:
        data: file of sequences, or a genome.
        alphabet: its name.
        regions: BED file on the genome.
        context: whether the network sees the genome around the regions.
        sequence: column of sequences of a table.
        name: column of names of a table.
        on_error: what to do about a sequence that cannot be read.
        digests: SHA-256 of the files, once they are known.
    """

    data: Path
    alphabet: str
    regions: Path | None = None
    context: bool = False
    sequence: str = "sequence"
    name: str | None = None
    on_error: OnError = "fail"
    digests: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        data: str | Path,
        alphabet: Alphabet,
        *,
        regions: str | Path | None,
        context: bool,
        sequence: str | None,
        name: str | None,
        on_error: OnError,
    ) -> tuple[Reading, Input]:
        """Check the options, and open the input for the first time.

        Raises:
            InputError: an option has no meaning here, or a file is wrong.
        """
        if on_error not in ("fail", "skip"):
            raise InputError(f"on_error: {on_error!r} is not known; fail or skip")
        if regions is None and context:
            raise InputError("context: is that of regions; give a BED file of regions too")
        if regions is not None and not alphabet.complements:
            raise InputError("regions: lie on a genome, but this model does not read DNA")
        if regions is not None and on_error != "fail":
            raise InputError("on_error: regions are read as they are; leave it out")
        if (sequence or name) and (regions is not None or is_fasta(existing_data(data))):
            option = "sequence" if sequence else "name"
            raise InputError(f"{option}: names a column, and {data} is no table; leave it out")
        regions = None if regions is None else Path(regions)
        sequence = sequence or "sequence"
        reading = cls(Path(data), alphabet.name, regions, context, sequence, name, on_error)
        opened = reading.open()
        digests = []
        if opened.store is not None:
            digests.append(opened.store.sha256)
        if opened.genome is not None and regions is not None:
            digests += [opened.genome.sha256, sha256(regions)]
        return replace(reading, digests=tuple(digests)), opened

    def open(self) -> Input:
        """Open the input; once its digests are known, once in a process.

        Raises:
            InputError: a file is wrong.
        """
        return _opened(self) if self.digests else self._open()

    def _open(self) -> Input:
        if self.regions is None:
            store = SequenceStore.open(
                self.data,
                alphabet=ALPHABETS[self.alphabet],
                sequence=self.sequence,
                name=self.name,
                on_error=self.on_error,
                digest=self.digests[0] if self.digests else None,
            )
            return Input(store=store)
        genome = Genome.open(self.data)
        rows = read_bed(self.regions, genome, split_column=None)
        return Input(genome=genome, regions=rows, context=self.context)

    def identity(self) -> dict[str, object]:
        """All that decides what is read."""
        names = ("alphabet", "context", "sequence", "name", "on_error")
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        return found | dict(zip(("data", "regions"), self.digests, strict=False))


@lru_cache(maxsize=2)
def _opened(reading: Reading) -> Input:
    return reading._open()


def say_skipped(verb: str, source: Input) -> int:
    """Say on standard error what was left out; returns how many records."""
    store = source.store
    if store is None or not store.skipped:
        return 0
    more = "; ..." if store.skipped > len(store.reasons) else ""
    print(
        f"{verb}: {store.path}: {store.skipped:,} records are left out: "
        f"{'; '.join(store.reasons)}{more}",
        file=sys.stderr,
        flush=True,
    )
    return store.skipped
