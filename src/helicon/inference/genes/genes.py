"""Features from a model of positions: the best legal path through each chromosome, as GFF3 or BED.

Workers compute log-probabilities of shards; when all are there, whole chromosomes are decoded,
however they were cut. Memory is a byte a base of the longest, and some blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.data.reading.cached import let_go
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.network import Network
from helicon.forward.tiles import outputs_over
from helicon.inference.genes.decoding import LogProbabilities, Stretch, decode
from helicon.inference.genes.segments import SegmentFormat, segment_writer
from helicon.inference.genes.transitions import read_grammar
from helicon.inference.jobs.job import Shard
from helicon.inference.jobs.stretches import (
    Span,
    intervals_of,
    placed,
    shards_of,
)

GrammarChoice = Literal["auto", "free", "genes", "spliced"]

#: Bases from which on the log-probabilities of a stretch are held in a file.
LONG = 1 << 18


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
        circular: names of contigs that are circles, or `all`.
        through_gaps: see `decode`.
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
    circular: tuple[str, ...] = ()
    through_gaps: bool = False
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
            "circular": list(self.circular),
            "through_gaps": self.through_gaps,
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
        circular = circular_contigs(self.circular, genome)
        with segment_writer(
            aside, self.form, grammar, genome, compressed=self.compressed, circular=circular
        ) as writer:
            stretches = self._filled(placed(self.shards(), parts), genome, circular, aside.parent)
            for found in decode(stretches, grammar, through_gaps=self.through_gaps):
                writer.write(found)

    def _filled(
        self,
        pieces: Iterator[tuple[int, int, pa.Table]],
        genome: Genome,
        circular: set[int],
        folder: Path,
    ) -> Iterator[Stretch]:
        """The stretches with their log-probabilities: of long ones in temporary files."""
        places = self._stretches(genome)
        for chrom, start, end in zip(
            places.chrom.tolist(), places.start.tolist(), places.end.tolist(), strict=True
        ):
            shape = end - start, len(self.labels)
            if shape[0] < LONG:
                found = self._gathered(pieces, np.empty(shape, np.float32))
            else:
                # The file lives as long as its mapping.
                with tempfile.TemporaryFile(dir=folder) as file:
                    found = self._gathered(pieces, np.memmap(file, np.float32, "w+", shape=shape))
            stretch = Stretch.of(found, genome, chrom, start)
            yield replace(stretch, circular=chrom in circular)

    def _gathered(
        self, pieces: Iterator[tuple[int, int, pa.Table]], found: LogProbabilities
    ) -> LogProbabilities:
        """The next log-probabilities, (length, K)."""
        at = 0
        while at < len(found):
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


def circular_contigs(names: Sequence[str], genome: Genome) -> set[int]:
    """Positions in the genome's names of the contigs that are named, or of `all`.

    Raises:
        InputError: the genome has no contig of a name.
    """
    if list(names) == ["all"] and "all" not in genome.names:
        return set(range(len(genome.names)))
    return {genome.index(name) for name in names}
