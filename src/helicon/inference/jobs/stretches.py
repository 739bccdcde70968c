"""Stretches of a genome to work through: regions of a BED file, or all of it, cut in shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.inference.jobs.job import Shard

#: A span of a chromosome: its index, the first position, and the one behind the last.
Span = tuple[int, int, int]

#: Bases of a shard: seconds of work on a CPU, and some megabytes of result.
SHARD = 200_000


def shards_of(stretches: Intervals) -> Iterator[Shard]:
    """Cut stretches in pieces, and put short ones together, into shards of at most `SHARD` bases.

    Yields:
        Shards whose payload is a tuple of pieces, in order.
    """
    pieces: list[Span] = []
    size = 0
    for chrom, start, end in zip(
        stretches.chrom.tolist(), stretches.start.tolist(), stretches.end.tolist(), strict=True
    ):
        for first in range(start, end, SHARD):
            piece = chrom, first, min(first + SHARD, end)
            if size + piece[2] - first > SHARD:
                yield Shard(tuple(pieces), size)
                pieces, size = [], 0
            pieces.append(piece)
            size += piece[2] - first
    if pieces:
        yield Shard(tuple(pieces), size)


def intervals_of(pieces: Sequence[Span], genome: Genome) -> Intervals:
    """The pieces of a shard as intervals."""
    return Intervals.of(genome.names, *zip(*pieces, strict=True))


def placed(
    shards: Iterable[Shard], parts: Iterator[pa.Table]
) -> Iterator[tuple[int, int, pa.Table]]:
    """Chromosome, first position and rows of each piece, from tables with a row a position."""
    for shard, table in zip(shards, parts, strict=True):
        at = 0
        for chrom, start, end in shard.payload:
            yield chrom, start, table.slice(at, end - start)
            at += end - start
