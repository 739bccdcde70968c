"""The best legal path through each stretch of a genome, and the features on it.

Short stretches are decoded side by side: a position between two of them takes the path of one to
its end and begins that of the next, so that thousands of contigs cost what one of their length
does, and each has the path that it has alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from helicon.data.genome.genome import Genome
from helicon.data.reading.cached import let_go
from helicon.errors import InputError
from helicon.inference.genes import viterbi as engine
from helicon.inference.genes.codons import Codes
from helicon.inference.genes.grammar import Grammar
from helicon.inference.genes.segments import Segments, find_segments
from helicon.inference.genes.viterbi import Block, Graph, States, viterbi

LogProbabilities = NDArray[np.float32]

#: Bases of a run of `N` that stands for a gap of unknown sequence, as in submissions to NCBI.
GAP = 10


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of a chromosome, with what a model says of its positions.

    Attributes:
        genome: the sequence.
        chrom: index of the chromosome.
        start: its first position, 0-based.
        length: bases.
        found: log-probabilities of the model's classes at positions from `origin` on, (n, K), in
            memory or memory-mapped.
        origin: position on the chromosome of the first row of `found`.
        circular: the chromosome is a circle, of which `found` has every position; the stretch may
            go on across the origin.
    """

    genome: Genome
    chrom: int
    start: int
    length: int
    found: LogProbabilities
    origin: int
    circular: bool = False

    @classmethod
    def of(cls, found: LogProbabilities, genome: Genome, chrom: int, start: int) -> Stretch:
        """The stretch of a chromosome that log-probabilities belong to."""
        return cls(genome, chrom, start, len(found), found, start)

    def codes(self, grammar: Grammar, first: int, end: int) -> Codes:
        """Codes of the positions of the stretch from the first to before the last."""
        places = self.start + first, self.start + end
        return grammar.codes(self.genome, self.chrom, *places, circular=self.circular)

    def read(self, grammar: Grammar, first: int, end: int) -> Block:
        """Scores of the grammar's states at some positions, and their codes."""
        at = self.start - self.origin
        if self.circular:
            rows = self.found[np.arange(at + first, at + end) % len(self.found)]
        else:
            rows = self.found[at + first : at + end]
        block = Block(rows[:, grammar.emits], self.codes(grammar, first, end))
        let_go(self.found)
        return block

    def cut_at_gaps(self) -> list[Stretch]:
        """The pieces between runs of at least `GAP` unknown bases."""
        size = int(self.genome.lengths[self.chrom])
        gaps = [(s + turn, e + turn) for turn in (0, size)[: 1 + self.circular]
                for s, e in self.gaps()]  # fmt: skip
        end = self.start + self.length
        pieces, at = [], self.start
        for first, last in [*gaps, (end, end)]:
            if at < min(first, end):
                pieces.append(replace(self, start=at, length=min(first, end) - at))
            at = max(at, last)
        return pieces

    def gaps(self) -> list[tuple[int, int]]:
        """Start and end on the chromosome of its runs of at least `GAP` unknown bases."""
        offset = int(self.genome.offsets[self.chrom])
        edges = self.genome.unknown - offset
        runs = np.clip(edges, 0, self.genome.lengths[self.chrom]).reshape(-1, 2)
        return [(s, e) for s, e in runs[runs[:, 1] - runs[:, 0] >= GAP].tolist()]


def decode(
    stretches: Iterable[Stretch], grammar: Grammar, *, through_gaps: bool = False
) -> Iterator[Segments]:
    """The features of stretches, in their order.

    Memory is one byte a position for the path of the longest, beside what `viterbi` takes.

    Args:
        stretches: what is decoded, each by itself.
        grammar: which paths are legal.
        through_gaps: genes may run through gaps. Otherwise those of the grammar `genes` are cut
            there, from both sides; introns of other grammars may hold gaps.

    Yields:
        Features of one stretch, or of some together.

    Raises:
        InputError: no path is possible.
    """
    cut = grammar.codons is not None and not through_gaps
    joined = _joined(grammar.graph)
    waiting: list[Stretch] = []
    bases = 0
    for stretch in stretches:
        if stretch.circular:
            yield from _side_by_side(waiting, grammar, joined)
            waiting, bases = [], 0
            yield _round(stretch, grammar, cut=cut)
            continue
        for piece in stretch.cut_at_gaps() if cut else [stretch]:
            if bases + piece.length > engine.STEPS * engine.CHUNKS:
                yield from _side_by_side(waiting, grammar, joined)
                waiting, bases = [], 0
            waiting.append(piece)
            bases += piece.length
    yield from _side_by_side(waiting, grammar, joined)


def _each(stretches: Sequence[Stretch], grammar: Grammar) -> Iterator[Segments]:
    for stretch in stretches:
        yield _features(_path(stretch, grammar, grammar.graph), stretch, grammar)


def _path(stretch: Stretch, grammar: Grammar, graph: Graph) -> States:
    length = stretch.length
    behind = int(stretch.codes(grammar, length, length + 1)[0])

    def read(first: int, end: int) -> Block:
        return stretch.read(grammar, first, end)

    return viterbi(read, length, graph, behind=behind)[0]


def _features(path: States, stretch: Stretch, grammar: Grammar) -> Segments:
    def read(first: int, end: int) -> Block:
        return stretch.read(grammar, first, end)

    length = stretch.length
    outer = stretch.codes(grammar, 0, 1), stretch.codes(grammar, length, length + 1)
    before, behind = (int(codes[0]) for codes in outer)
    return find_segments(
        path, read, grammar, chrom=stretch.chrom, offset=stretch.start, before=before, behind=behind
    )


# ---------------------------------------------------------------- many short ones


def _joined(graph: Graph) -> Graph:
    """A graph with one more state, that of a position between two stretches.

    It is entered at the cost of an end and left at the cost of a start.
    """
    codes, size = graph.start.shape
    steps = np.full((codes, size + 1, size + 1), -np.inf)
    steps[:, :size, :size] = graph.steps
    steps[:, :size, size], steps[:, size, :size] = graph.end, graph.start
    never = np.full((codes, 1), -np.inf)
    return Graph(np.hstack([graph.start, never]), np.hstack([graph.end, never]), steps)


def _side_by_side(
    stretches: Sequence[Stretch], grammar: Grammar, joined: Graph
) -> Iterator[Segments]:
    """Features of stretches that are decoded as one."""
    if len(stretches) < 2:
        yield from _each(stretches, grammar)
        return
    blocks = [stretch.read(grammar, 0, stretch.length) for stretch in stretches]
    behind = [int(s.codes(grammar, s.length, s.length + 1)[0]) for s in stretches]
    ends = np.cumsum([stretch.length + 1 for stretch in stretches])
    total, size = int(ends[-1]) - 1, grammar.graph.size
    scores = np.full((total + 1, size + 1), -np.inf, np.float32)
    codes = np.zeros(total + 1, np.intp)
    scores[ends - 1, size], codes[ends - 1] = 0.0, behind
    for block, end, stretch in zip(blocks, ends.tolist(), stretches, strict=True):
        here = slice(end - 1 - stretch.length, end - 1)
        scores[here, :size], codes[here] = block

    def read(first: int, end: int) -> Block:
        return Block(scores[first:end], codes[first:end])

    try:
        path, _ = viterbi(read, total, joined, behind=behind[-1])
    except InputError:  # one of them has no path; its own message says more
        yield from _each(stretches, grammar)
        return
    for end, stretch in zip(ends.tolist(), stretches, strict=True):
        yield _features(path[end - 1 - stretch.length : end - 1], stretch, grammar)


# ---------------------------------------------------------------- circles


def _round(stretch: Stretch, grammar: Grammar, *, cut: bool) -> Segments:
    """Features of a circle in order of their starts, which lie before its origin.

    The circle is opened behind its first gap; or else in the widest space between the genes of the
    best path through the circle opened at its origin, and goes on from there without a gene.
    """
    gaps = stretch.gaps() if cut else []
    if gaps:
        turned = replace(stretch, start=gaps[0][1] % stretch.length)
        found = list(_each(turned.cut_at_gaps(), grammar))
    else:
        space = _widest(grammar.kind[_path(stretch, grammar, grammar.graph)] < 0)
        if space is None:
            return _features(_path(stretch, grammar, grammar.graph), stretch, grammar)
        turned = replace(stretch, start=space)
        outside = np.where(grammar.kind < 0, 0.0, -np.inf)
        graph = replace(
            grammar.graph, start=grammar.graph.start + outside, end=grammar.graph.end + outside
        )
        found = [_features(_path(turned, grammar, graph), turned, grammar)]
    rows = Segments.joined(found)
    size = stretch.length
    behind = np.where(rows.start >= size, size, 0)
    rows = replace(rows, start=rows.start - behind, end=rows.end - behind)
    rows = rows.take(np.argsort(rows.start, kind="stable"))
    return replace(rows, gene=np.arange(len(rows)))


def _widest(empty: NDArray[np.bool_]) -> int | None:
    """Middle of the longest run of positions; `None` if there is none."""
    edges = np.flatnonzero(np.diff(empty, prepend=False, append=False))
    if not len(edges):
        return None
    widest = int(np.argmax(edges[1::2] - edges[::2]))
    return int(edges[2 * widest] + edges[2 * widest + 1]) // 2
