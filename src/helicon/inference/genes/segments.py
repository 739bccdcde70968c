"""From paths of states to features, and features written as GFF3 or BED."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Literal, Protocol, cast
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from helicon.data.genome.genome import Genome
from helicon.inference.genes import codons as bits
from helicon.inference.genes.grammar import Grammar, SegmentKind
from helicon.inference.genes.viterbi import Reader, States

Whole = NDArray[np.int64]
SegmentFormat = Literal["gff3", "bed"]

#: Positions that are looked at together.
_BLOCK = 1 << 19
#: Characters that stand for themselves in the first column and in the attributes of GFF3.
_PLAIN, _PLAIN_VALUE = ".:^*$@!+_?-|", ".:^*$@!+_?-| ()[]/<>'\"#"


@dataclass(frozen=True, eq=False)
class Segments:
    """Features, as columns of equal length n; 0-based, half-open.

    Attributes:
        chrom: position in the genome's names, (n,).
        start: first base, (n,).
        end: behind the last base, (n,).
        kind: place in the grammar's `kinds`, (n,).
        gene: number of the gene that each belongs to, (n,), ascending; of a feature that is no
            part of a gene, its own.
        phase: bases before the first whole codon in reading direction, -1 without codons, (n,).
        probability: mean over the bases of the model's probability of the class, (n,).
        cut_left: whether it goes on left of the stretch that was looked at, as far as known, (n,).
        cut_right: the same on the right, (n,).
    """

    chrom: Whole
    start: Whole
    end: Whole
    kind: Whole
    gene: Whole
    phase: Whole
    probability: NDArray[np.float64]
    cut_left: NDArray[np.bool_]
    cut_right: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def joined(cls, parts: Sequence[Segments]) -> Segments:
        """The rows of some, one behind the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, rows: NDArray) -> Segments:
        """Keep the rows of an index array or a mask."""
        return Segments(*(getattr(self, f.name)[rows] for f in fields(self)))


def find_segments(
    path: States,
    read: Reader,
    grammar: Grammar,
    *,
    chrom: int,
    offset: int,
    before: int = 0,
    behind: int = 0,
) -> Segments:
    """Read the features off a path of states.

    Args:
        path: the state of every position of a stretch, (L,).
        read: gives scores and codes of positions of the stretch, as for `viterbi`.
        grammar: what the states stand for.
        chrom: index of the chromosome.
        offset: first position of the stretch on it.
        before: code of the first position.
        behind: code of the position behind the last.

    Returns:
        The features in order; those shorter than the grammar's shortest are left out.
    """
    start, reach, probability = _runs(path, read, grammar)
    end = np.append(start[1:], len(path))
    first, last = path[start].astype(np.intp), path[end - 1].astype(np.intp)
    kind = grammar.kind[first]
    kinds = grammar.kinds
    strand = np.array([*(k.strand for k in kinds), "."])[kind]
    inside = np.array([*(k.inside for k in kinds), False])[kind]
    frame = np.where(strand == "-", grammar.frame[last], grammar.frame[first])
    outer = (first[0], before), (last[-1], behind)
    cut_left, cut_right = _cuts(grammar, strand, inside, *outer)
    joined = np.append(False, inside[1:] & inside[:-1] & (strand[1:] == strand[:-1]))
    found = Segments(
        chrom=np.full(len(start), chrom),
        start=offset + start + np.minimum(reach, 0),
        end=offset + end + np.append(np.maximum(reach[1:], 0), 0),
        kind=kind,
        gene=np.cumsum(~joined) - 1,
        phase=np.where(frame >= 0, -frame % 3, -1),
        probability=probability,
        cut_left=cut_left,
        cut_right=cut_right,
    )
    written = np.array([*(k.written for k in kinds), False])[kind]
    return found.take(written & (found.end - found.start >= grammar.shortest))


def _runs(path: States, read: Reader, grammar: Grammar) -> tuple[Whole, Whole, NDArray[np.float64]]:
    """Runs of states of one feature, or of none.

    Returns:
        Start of each, (n,); what the grammar's `reach` says there, (n,); and the mean probability
        of the states, (n,).
    """
    starts, reaches, sums = [np.array([0])], [np.array([0])], [np.zeros(1)]
    before = path[:1]
    for at in range(0, len(path), _BLOCK):
        states = path[at : at + _BLOCK]
        block = read(at, at + len(states))
        probability = np.exp(block.scores[np.arange(len(states)), states].astype(np.float64))
        previous = np.concatenate([before, states[:-1]])
        step = block.codes, previous, states
        new = (grammar.kind[previous] != grammar.kind[states]) | _looked_up(grammar.breaks, step)
        new[0] &= at > 0
        firsts = np.flatnonzero(new)
        total = np.add.reduceat(probability, np.append(0, firsts[firsts > 0]))
        if not (len(firsts) and firsts[0] == 0):
            sums[-1][-1] += total[0]
            total = total[1:]
        starts.append(at + firsts)
        reaches.append(_looked_up(grammar.reach, step)[firsts].astype(np.int64))
        if len(total):
            sums.append(total)
        before = states[-1:]
    start = np.concatenate(starts)
    lengths = np.diff(np.append(start, len(path)))
    return start, np.concatenate(reaches), np.concatenate(sums) / lengths


def _looked_up(table: NDArray, step: tuple[NDArray, NDArray, NDArray]) -> NDArray:
    """Entries of a table (codes, S, S)."""
    codes, before, after = step
    size = table.shape[1]
    return table.ravel()[(codes.astype(np.intp) * size + before) * size + after]


def _cuts(
    grammar: Grammar,
    strand: NDArray,
    inside: NDArray[np.bool_],
    first: tuple[int, int],
    last: tuple[int, int],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the features at the two ends of a stretch go on beyond them.

    Of the ends their states are given, and the codes there and behind.
    """
    left, right = np.zeros(len(strand), dtype=bool), np.zeros(len(strand), dtype=bool)
    left[0], right[-1] = inside[0], inside[-1]
    if grammar.codons is not None:
        # A gene is whole where its outermost codon is that of its end.
        frames, (before, behind) = grammar.frame[[first[0], last[0]]], (first[1], last[1])
        whole_left = {"+": (0, bits.START), "-": (2, bits.R_STOP)}
        whole_right = {"+": (2, bits.AFTER_STOP), "-": (0, bits.AFTER_R_START)}
        if strand[0] != ".":
            frame, bit = whole_left[strand[0]]
            left[0] = not (frames[0] == frame and before & bit)
        if strand[-1] != ".":
            frame, bit = whole_right[strand[-1]]
            right[-1] = not (frames[1] == frame and behind & bit)
    return left, right


# ---------------------------------------------------------------- writing


def format_of(path: Path) -> SegmentFormat | None:
    """The format that a file's name asks for, `None` for another one; `.gz` may follow."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    names: dict[str, SegmentFormat] = {".gff3": "gff3", ".gff": "gff3", ".bed": "bed"}
    return names.get(suffixes[-1]) if suffixes else None


class SegmentWriter(Protocol):
    """Writes features of one stretch after another."""

    def write(self, segments: Segments) -> None:
        """Write the features of a stretch behind all that were written."""


@contextmanager
def segment_writer(
    path: Path,
    form: SegmentFormat,
    grammar: Grammar,
    genome: Genome,
    *,
    compressed: bool = False,
    circular: Collection[int] = (),
) -> Iterator[SegmentWriter]:
    """Open a file of features.

    Args:
        path: the file.
        form: its format.
        grammar: what the features' kinds are.
        genome: where they lie.
        compressed: whether to write gzip.
        circular: positions in the genome's names of circular sequences.
    """
    with path.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compressed else raw
        with io.TextIOWrapper(cast(IO[bytes], packed), encoding="utf-8", newline="\n") as handle:
            yield (Gff3Writer if form == "gff3" else BedWriter)(handle, grammar, genome, circular)


class Gff3Writer:
    """Writes GFF3: one row a feature; for spliced genes rows of gene, mRNA and exons.

    The score and the attribute `probability` are the mean probability of the class. A feature
    across the origin of a circular sequence has an end greater than the length.
    """

    def __init__(
        self, handle: IO[str], grammar: Grammar, genome: Genome, circular: Collection[int] = ()
    ):
        self.handle, self.kinds = handle, grammar.kinds
        self.names = [quote(name, safe=_PLAIN) for name in genome.names]
        self.count = 0
        handle.write("##gff-version 3\n")
        for name, length in zip(self.names, genome.lengths.tolist(), strict=True):
            handle.write(f"##sequence-region {name} 1 {length}\n")
        for chrom in sorted(circular):
            name, length = self.names[chrom], genome.lengths[chrom]
            notes = f"ID={quote(genome.names[chrom], safe=_PLAIN_VALUE)};Is_circular=true"
            handle.write(f"{name}\thelicon\tregion\t1\t{length}\t.\t+\t.\t{notes}\n")

    def write(self, segments: Segments) -> None:
        """Write the features of a stretch."""
        for rows in _genes(segments):
            self.count += 1
            kind = self.kinds[int(segments.kind[rows[0]])]
            if kind.inside:
                self._write_gene(segments, rows, kind)
            else:
                word = "cds" if kind.type == "CDS" else "feature"
                notes = [("ID", f"{word}{self.count}"), *_partial(segments, rows)]
                if kind.type != "CDS":
                    notes.insert(1, ("Name", kind.name))
                self._row(segments, rows, kind.type, kind, notes)

    def _write_gene(self, segments: Segments, rows: Sequence[int], kind: SegmentKind) -> None:
        gene, transcript = f"gene{self.count}", f"mRNA{self.count}"
        partial = _partial(segments, rows)
        self._row(segments, rows, "gene", kind, [("ID", gene), *partial])
        self._row(segments, rows, "mRNA", kind, [("ID", transcript), ("Parent", gene), *partial])
        for row in rows:
            one = self.kinds[int(segments.kind[row])]
            self._row(segments, [row], one.type, one, [("Parent", transcript)])

    def _row(
        self, segments: Segments, rows: Sequence[int], type_: str, kind: SegmentKind,
        notes: Sequence[tuple[str, str]],
    ) -> None:  # fmt: skip
        start, end = int(segments.start[rows[0]]), int(segments.end[rows[-1]])
        probability = f"{_mean(segments, rows):.4f}"
        phase = int(segments.phase[rows[0]])
        columns = [
            self.names[int(segments.chrom[rows[0]])], "helicon", type_, str(start + 1), str(end),
            probability, kind.strand, "." if phase < 0 else str(phase),
            ";".join(f"{key}={quote(value, safe=_PLAIN_VALUE + ',')}"
                     for key, value in [*notes, ("probability", probability)]),
        ]  # fmt: skip
        self.handle.write("\t".join(columns) + "\n")


class BedWriter:
    """Writes BED of six columns; of twelve for spliced genes, whose blocks are the exons.

    The score is 1,000 times the mean probability of the class. A feature across the origin of a
    circular sequence is two rows of one name.
    """

    def __init__(
        self, handle: IO[str], grammar: Grammar, genome: Genome, circular: Collection[int] = ()
    ):
        self.handle, self.kinds, self.lengths = handle, grammar.kinds, genome.lengths
        # A line that begins with # is a comment.
        self.names = [re.sub("^#", "%23", name) for name in genome.names]
        self.count = 0

    def write(self, segments: Segments) -> None:
        """Write the features of a stretch."""
        for rows in _genes(segments):
            self.count += 1
            kind = self.kinds[int(segments.kind[rows[0]])]
            word = "cds" if kind.type == "CDS" else "gene"
            counted = kind.inside or kind.type == "CDS"
            name = f"{word}{self.count}" if counted else re.sub(r"\s+", "_", kind.name)
            start, end = int(segments.start[rows[0]]), int(segments.end[rows[-1]])
            score = round(1000 * _mean(segments, rows))
            chrom = self.names[int(segments.chrom[rows[0]])]
            size = int(self.lengths[segments.chrom[rows[0]]])
            if end > size:
                columns = [chrom, 0, end - size, name, score, kind.strand]
                self.handle.write("\t".join(map(str, columns)) + "\n")
                end = size
            columns = [chrom, start, end, name, score, kind.strand]
            if kind.inside:
                sizes = [int(segments.end[row] - segments.start[row]) for row in rows]
                starts = [int(segments.start[row]) - start for row in rows]
                columns += [start, end, 0, len(rows), _listed(sizes), _listed(starts)]
            self.handle.write("\t".join(map(str, columns)) + "\n")


def _listed(numbers: Sequence[int]) -> str:
    return "".join(f"{n}," for n in numbers)


def _genes(segments: Segments) -> Iterator[range]:
    """Rows of each gene; of each feature that is no part of one."""
    edges = np.flatnonzero(np.append(True, segments.gene[1:] != segments.gene[:-1]))
    for first, last in zip(edges.tolist(), [*edges[1:].tolist(), len(segments)], strict=True):
        if first < last:
            yield range(first, last)


def _mean(segments: Segments, rows: Sequence[int]) -> float:
    part = slice(rows[0], rows[-1] + 1)
    lengths = segments.end[part] - segments.start[part]
    return float((segments.probability[part] * lengths).sum() / lengths.sum())


def _partial(segments: Segments, rows: Sequence[int]) -> list[tuple[str, str]]:
    """Attributes of a feature that is cut by the end of its stretch."""
    notes = []
    if segments.cut_left[rows[0]]:
        notes.append(("start_range", f".,{segments.start[rows[0]] + 1}"))
    if segments.cut_right[rows[-1]]:
        notes.append(("end_range", f"{segments.end[rows[-1]]},."))
    return [("partial", "true"), *notes] if notes else []
