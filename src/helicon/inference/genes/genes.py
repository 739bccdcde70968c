"""Features from a model of positions: the best legal path through each chromosome, as GFF3 or BED.

Workers compute log-probabilities of shards; when all are there, whole chromosomes are decoded, one
at a time, however they were cut. Memory is a byte a base of the longest, and some blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.data.reading.cached import let_go
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.network import Network
from helicon.forward.tiles import outputs_over
from helicon.inference.genes.grammar import Grammar
from helicon.inference.genes.segments import (
    SegmentFormat,
    Segments,
    find_segments,
    segment_writer,
)
from helicon.inference.genes.transitions import read_grammar
from helicon.inference.genes.viterbi import Block, viterbi
from helicon.inference.jobs.engine import Shard
from helicon.inference.jobs.stretches import (
    Span,
    intervals_of,
    placed,
    shards_of,
)

GrammarChoice = Literal["auto", "free", "genes", "spliced"]
LogProbabilities = NDArray[np.float32]


@dataclass(frozen=True)
class GenesJob:
    """Decode a genome, or regions of it, into a file of features; for `engine.run`.

    Attributes:
        model: what `Network.open` takes: a model that gives classes to positions.
        genome: FASTA file.
        labels: the model's classes (`Network.labels`).
        form: of the output.
        compressed: whether the output is gzip.
        regions: BED file of stretches, each decoded by itself; whole chromosomes if not given.
        grammar: see `transitions.read_grammar`.
        transitions: see there.
        both_strands: average the log-probabilities of the two strands.
        window: see `Tiling.of`.
        overlap: see there.
    """

    model: str | Path
    genome: Path
    labels: tuple[str, ...]
    form: SegmentFormat
    compressed: bool = False
    regions: Path | None = None
    grammar: GrammarChoice = "auto"
    transitions: Path | None = None
    both_strands: bool = False
    window: int | None = None
    overlap: int | None = None
    verb: str = "predict"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        return {
            "genome": Genome.open(self.genome).sha256,
            "regions": None if self.regions is None else sha256(self.regions),
            "grammar": self.grammar,
            "transitions": None if self.transitions is None else sha256(self.transitions),
            "both_strands": self.both_strands,
            "window": self.window,
            "overlap": self.overlap,
            "format": self.form,
            "compressed": self.compressed,
        }

    def total(self) -> int:
        """Bases to look at."""
        return int(self._stretches(Genome.open(self.genome)).lengths.sum())

    def shards(self) -> Iterator[Shard]:
        """Pieces of the stretches."""
        return shards_of(self._stretches(Genome.open(self.genome)))

    def worker(self, network: Network) -> Callable[[Sequence[Span]], pa.Table]:
        """Log-probabilities of pieces: a float32 column a class."""
        genome = Genome.open(self.genome)

        def work(pieces: Sequence[Span]) -> pa.Table:
            found = log_probabilities(
                network, genome, intervals_of(pieces, genome), both_strands=self.both_strands,
                window=self.window, overlap=self.overlap,
            )  # fmt: skip
            return pa.table({label: found[:, k] for k, label in enumerate(self.labels)})

        return work

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Decode stretch after stretch and write their features."""
        genome = Genome.open(self.genome)
        grammar = read_grammar(
            self.labels, genome, grammar=self.grammar, transitions=self.transitions
        )
        pieces = placed(self.shards(), parts)
        with segment_writer(
            aside, self.form, grammar, genome, compressed=self.compressed
        ) as writer:
            for stretch in self._stretches(genome):
                with tempfile.TemporaryFile(dir=aside.parent) as file:
                    found = self._spooled(pieces, stretch.end - stretch.start, file)
                    chrom = genome.index(stretch.chrom)
                    writer.write(decode(found, grammar, genome, chrom, stretch.start))

    def _spooled(
        self, pieces: Iterator[tuple[int, int, pa.Table]], length: int, file: IO[bytes]
    ) -> LogProbabilities:
        """The next log-probabilities (length, K), in a memory-mapped temporary file."""
        shape = length, len(self.labels)
        found: LogProbabilities = np.memmap(file, np.float32, "w+", shape=shape)
        at = 0
        while at < length:
            _, _, table = next(pieces)
            for k, column in enumerate(table.columns):
                found[at : at + len(table), k] = column.to_numpy()
            at += len(table)
            let_go(found)
        return found

    def _stretches(self, genome: Genome) -> Intervals:
        return merged_regions(self.regions, genome)


def check_classes(network: Network, name: str | Path) -> None:
    """Refuse models whose positions have no classes.

    Raises:
        InputError: says what the model gives instead.
    """
    if network.head_type != "token" or network.problem != "single_label":
        raise InputError(
            f"{name}: does not give classes to positions, so there is nothing to decode into "
            "features; fine-tune one on labels of a genome, or write a table"
        )


def log_probabilities(
    network: Network,
    genome: Genome,
    stretches: Intervals,
    *,
    both_strands: bool = False,
    window: int | None = None,
    overlap: int | None = None,
) -> LogProbabilities:
    """Log-probabilities of the classes of all positions of some stretches, one after the other.

    Args:
        network: gives classes to positions.
        genome: the sequence.
        stretches: where.
        both_strands: average those of the two strands.
        window: see `Tiling.of`.
        overlap: see there.

    Returns:
        (sum of lengths, K).
    """
    pieces = outputs_over(
        network, genome, stretches, both_strands=both_strands, window=window, overlap=overlap
    )
    whole = torch.cat([piece.values.cpu() for piece in pieces])
    return (whole.log_softmax(-1) if both_strands else whole).numpy()


def decode(
    found: LogProbabilities, grammar: Grammar, genome: Genome, chrom: int, start: int
) -> Segments:
    """The features of a stretch.

    Memory is one byte a position for the path, beside what `viterbi` takes.

    Args:
        found: log-probabilities of the model's classes at its positions, (L, K), in memory or
            memory-mapped.
        grammar: which paths are legal.
        genome: the sequence.
        chrom: index of the chromosome.
        start: first position of the stretch on it, 0-based.

    Raises:
        InputError: no path is possible.
    """

    def read(first: int, end: int) -> Block:
        codes = grammar.codes(genome, chrom, start + first, start + end)
        block = Block(found[first:end][:, grammar.emits], codes)
        let_go(found)
        return block

    end = start + len(found)
    behind = int(grammar.codes(genome, chrom, end, end + 1)[0])
    path, _ = viterbi(read, len(found), grammar.graph, behind=behind)
    return find_segments(path, read, grammar, genome, chrom, start)


def decode_stretches(
    network: Network,
    genome: Genome,
    grammar: Grammar,
    *,
    stretches: Intervals | None = None,
    both_strands: bool = False,
) -> Iterator[Segments]:
    """The features of stretches of a genome, without an engine: what fits in memory.

    Args:
        network: gives classes to positions.
        genome: the sequence.
        grammar: which paths are legal.
        stretches: where, each decoded by itself; all chromosomes if not given.
        both_strands: average the log-probabilities of the two strands.

    Yields:
        The features of each stretch.
    """
    places = merged_regions(None, genome) if stretches is None else stretches
    for row, stretch in enumerate(places):
        one = places.take(np.array([row]))
        found = log_probabilities(network, genome, one, both_strands=both_strands)
        yield decode(found, grammar, genome, genome.index(stretch.chrom), stretch.start)
