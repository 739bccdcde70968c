"""Stretches of a genome: read from BED, cut in blocks or by chromosome, split into three parts.

Coordinates are 0-based and half-open, as in BED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.data.genome.chromosomes import match_names
from helicon.data.genome.genome import Genome
from helicon.data.reading.compressed import text_lines
from helicon.errors import InputError

Whole = NDArray[np.int64]
Texts = NDArray[np.object_]

#: The parts of a split, in the order of its fractions.
SPLITS = ("train", "validation", "test")
_SPLIT_SYNONYMS = dict.fromkeys(("valid", "val", "dev"), "validation")
_HEADER_WORDS = ("start", "chromstart", "begin")


@dataclass(frozen=True)
class Interval:
    """One stretch of a chromosome.

    Attributes:
        chrom: name of the chromosome.
        start: first base, 0-based.
        end: behind the last base.
        strand: `+`, `-`, or `.` where none is given.
        name: name of the feature, or empty.
        split: the part of the data that it belongs to (`train`, ...), or empty.
    """

    chrom: str
    start: int
    end: int
    strand: str = "+"
    name: str = ""
    split: str = ""


@dataclass(frozen=True, eq=False)
class Intervals:
    """Many intervals, as columns of equal length n.

    Attributes:
        names: the chromosome names that `chrom` points into; a genome's own where one was given.
        chrom: positions in `names`, shape (n,).
        start: first base of each, shape (n,).
        end: behind the last base of each, shape (n,).
        strand: `+`, `-` or `.`, shape (n,), objects of type str.
        name: names of the features, or empty, shape (n,), objects of type str.
        split: the part of the data of each, or empty, shape (n,), objects of type str.
    """

    names: Sequence[str]
    chrom: Whole
    start: Whole
    end: Whole
    strand: Texts
    name: Texts
    split: Texts

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        chrom: ArrayLike,
        start: ArrayLike,
        end: ArrayLike,
        *,
        strand: ArrayLike = "+",
        name: ArrayLike = "",
        split: ArrayLike = "",
    ) -> Intervals:
        """Make intervals of columns; one text stands for all rows."""
        chrom = np.asarray(chrom, dtype=np.int64)
        texts = (
            np.broadcast_to(np.asarray(t, dtype=object), chrom.shape) for t in (strand, name, split)
        )
        start, end = np.asarray(start, dtype=np.int64), np.asarray(end, dtype=np.int64)
        return cls(names, chrom, start, end, *texts)

    def __len__(self) -> int:
        return len(self.chrom)

    def __getitem__(self, row: int) -> Interval:
        return Interval(
            self.names[self.chrom[row]],
            int(self.start[row]),
            int(self.end[row]),
            self.strand[row],
            self.name[row],
            self.split[row],
        )

    def __iter__(self) -> Iterator[Interval]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Whole:
        """Bases of each interval, shape (n,)."""
        return self.end - self.start

    def take(self, rows: NDArray[Any]) -> Intervals:
        """Keep the rows of an index array or a mask."""
        columns = (self.chrom, self.start, self.end, self.strand, self.name, self.split)
        return Intervals(self.names, *(column[rows] for column in columns))

    def select(self, split: str) -> Intervals:
        """Keep the intervals of one split.

        Raises:
            InputError: there is none; names the splits that there are.
        """
        rows = self.split == split
        if not rows.any():
            known = ", ".join(repr(s) for s in sorted(set(self.split)))
            raise InputError(f"no interval has the split {split!r}; there are {known or 'none'}")
        return self.take(rows)


def read_bed(
    path: str | Path, genome: Genome | None = None, *, split_column: int | None = 3
) -> Intervals:
    """Read a plain, gzip or bgzip BED file.

    The columns are chromosome, start, end, name, score, strand; those after the third may be
    missing. Comments, `track` and `browser` lines and a line of column names are skipped. Columns
    are separated by tabs, or by spaces in a file without tabs.

    Args:
        path: the file.
        genome: where the intervals lie, to check names (`chr1` may mean `1`, see
            `helicon.data.genome.chromosomes.match_names`) and ends; the result's `chrom` points
            into its `names`, else into the names in the order of the file.
        split_column: 0-based column of the split, as in HyenaDNA's `human-sequences.bed`, whose
            fourth column says train, valid or test (`valid`, `val` and `dev` are read as
            `validation`); it is no name then. `None` for a file without one.

    Raises:
        InputError: the file is missing, empty, cut short or no BED; a row has fewer than three
            columns, a start that is negative or not before its end, an end beyond the chromosome,
            or an unknown chromosome. Names the line.
    """
    lines, rows = _read_rows(path)
    chrom_names, start, end = _positions(path, lines, rows)
    names = list(dict.fromkeys(chrom_names)) if genome is None else genome.names
    places = match_names(chrom_names, names)
    chrom = np.array([places.get(name, -1) for name in chrom_names], dtype=np.int64)

    def refuse(wrong: NDArray[np.bool_], words: str) -> None:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            known = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            size = genome.lengths[chrom[row]] if genome else 0
            said = words.format(*rows[row][:3], known=known, size=size)
            raise InputError(f"{path}, line {lines[row]}: {said}")

    refuse(chrom < 0, "no sequence of the genome is named {0!r}; it has {known}")
    refuse(start < 0, "the start {1} is negative; BED starts count from 0")
    refuse(start >= end, "the start {1} is not before the end {2}; BED ends lie behind the last")
    if genome is not None:
        beyond = end > genome.lengths[chrom]
        refuse(beyond, "the end {2} lies beyond {0}, which has {size} bases; is it this genome?")
    split = _column(rows, split_column)
    return Intervals.of(
        names,
        chrom,
        start,
        end,
        strand=[text if text in ("+", "-") else "." for text in _column(rows, 5)],
        name=_column(rows, None if split_column == 3 else 3),
        split=[_SPLIT_SYNONYMS.get(text, text) for text in split],
    )


def _read_rows(path: str | Path) -> tuple[list[int], list[list[str]]]:
    """Line numbers and columns of the rows that hold intervals."""
    lines: list[int] = []
    rows: list[list[str]] = []
    for number, line in text_lines(path, "BED file"):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        numbered = len(columns) > 2 and _is_whole(columns[1])
        if line.split()[0] in ("track", "browser") and not numbered:  # a contig may have this name
            continue
        if len(columns) < 3:
            raise InputError(
                f"{path}, line {number}: {len(columns)} columns where a BED file has at least "
                "three (chromosome, start, end), separated by tabs"
            )
        if not rows and columns[1].lower() in _HEADER_WORDS:
            continue
        lines.append(number)
        rows.append(columns)
    if not rows:
        raise InputError(f"{path}: holds no interval; a BED file is wanted")
    return lines, rows


def _positions(
    path: str | Path, lines: list[int], rows: list[list[str]]
) -> tuple[list[str], Whole, Whole]:
    """Chromosome names, starts and ends."""
    try:
        start = np.array([int(row[1]) for row in rows], dtype=np.int64)
        end = np.array([int(row[2]) for row in rows], dtype=np.int64)
    except (ValueError, OverflowError):
        at, text = next((i, t) for i, row in enumerate(rows) for t in row[1:3] if not _is_whole(t))
        raise InputError(
            f"{path}, line {lines[at]}: {text!r} is no whole number; columns 2 and 3 of a BED file "
            "are start and end"
        ) from None
    return [row[0] for row in rows], start, end


def _is_whole(text: str) -> bool:
    try:
        return abs(int(text)) < 1 << 62
    except ValueError:
        return False


def _column(rows: list[list[str]], at: int | None) -> list[str]:
    if at is None:
        return [""] * len(rows)
    return [row[at].strip() if at < len(row) else "" for row in rows]


def whole_genome(genome: Genome) -> Intervals:
    """Every chromosome from end to end, one interval each."""
    count = len(genome.names)
    return Intervals.of(genome.names, np.arange(count), np.zeros(count), genome.lengths)


def split_chromosomes(
    genome: Genome, validation: Sequence[str], test: Sequence[str]
) -> dict[str, Intervals]:
    """Give whole chromosomes to validation and test, and all others to training.

    Args:
        genome: the genome.
        validation: names of the chromosomes to validate on.
        test: names of the chromosomes to test on.

    Returns:
        Intervals of `train`, `validation` and `test`, one for each chromosome.

    Raises:
        InputError: a name is unknown, one is in both lists, or none is left to train on.
    """
    if both := sorted(set(validation) & set(test)):
        raise InputError(f"chromosome {both[0]!r} is in both validation and test; choose one")
    part = np.zeros(len(genome.names), dtype=np.int64)
    for number, chosen in enumerate((validation, test), start=1):
        part[[genome.index(name) for name in chosen]] = number
    if not (part == 0).any():
        raise InputError(f"{genome.path}: no chromosome is left to train on; hold out fewer")
    return _by_part(whole_genome(genome), part)


def split_blocks(
    genome: Genome,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    block: int = 50_000,
    *,
    gap: int = 0,
    seed: int = 0,
    whole: Intervals | None = None,
) -> dict[str, Intervals]:
    """Cut every chromosome in contiguous blocks and share them out.

    Windows drawn at random from one genome overlap in content, so a split must be by position.
    Each chromosome is cut in equal blocks of about `block` bases, the blocks are shuffled by `seed`
    and dealt out until each part has its share of the bases; neighbours in one part are merged. The
    result depends on nothing but the arguments.

    Args:
        genome: the genome.
        fractions: shares of train, validation and test, of sum 1.
        block: wanted bases of a block.
        gap: bases left out between neighbours in different parts, half on each side: the
            receptive field of a model, for windows that share no base of context.
        seed: of the shuffle.
        whole: features (genes) that no border may cut; a border inside one moves behind it.

    Returns:
        Intervals of `train`, `validation` and `test`, in the order of the genome.

    Raises:
        InputError: the fractions do not add up to 1, or a part gets no block.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"the fractions {fractions} of a split must be positive and add up to 1")
    chrom, start, end = _cut(genome, block, whole)
    part = _deal(end - start, fractions, seed)
    if missing := [s for i, s in enumerate(SPLITS) if fractions[i] and not (part == i).any()]:
        raise InputError(
            f"{genome.path}: {len(part)} blocks of about {block} bases leave none for "
            f"{missing[0]}; choose smaller blocks"
        )
    chrom, start, end, part = _merge(chrom, start, end, part)
    follows = (chrom[1:] == chrom[:-1]) & (start[1:] == end[:-1])
    start[1:] += np.where(follows, gap - gap // 2, 0)
    end[:-1] -= np.where(follows, gap // 2, 0)
    left = start < end
    return _by_part(Intervals.of(genome.names, chrom[left], start[left], end[left]), part[left])


def _cut(genome: Genome, block: int, whole: Intervals | None) -> tuple[Whole, Whole, Whole]:
    """Chromosome, start and end of equal blocks, in genome order."""
    counts = np.maximum(np.rint(genome.lengths / block), 1).astype(np.int64)
    chrom = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(chrom)) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = genome.offsets[chrom]
    start = offset + genome.lengths[chrom] * number // counts[chrom]
    if whole is not None and len(whole):
        start = _move_out(start, whole, genome)
    end = np.append(start[1:], genome.total)
    some = start < end
    return chrom[some], (start - offset)[some], (end - offset)[some]


def _move_out(borders: Whole, whole: Intervals, genome: Genome) -> Whole:
    """Move positions (in `genome.bases`) that lie inside a feature behind it."""
    first = genome.offsets[whole.chrom] + whole.start
    last = genome.offsets[whole.chrom] + whole.end
    order = np.argsort(first, kind="stable")
    first, last = first[order], np.maximum.accumulate(last[order])
    # The furthest end among the features that begin before a border says whether one goes over
    # it; that end may lie inside a later, overlapping feature, so joined ones count as one.
    joined = np.flatnonzero(np.append(True, first[1:] >= last[:-1]))
    first, last = first[joined], last[np.append(joined[1:], len(last)) - 1]
    before = np.searchsorted(first, borders, side="left") - 1
    reach = np.where(before >= 0, last[before], 0)
    return np.maximum(borders, reach)


def _deal(sizes: Whole, fractions: tuple[float, ...], seed: int) -> Whole:
    """Part of each block, so that each part has about its fraction of the bases."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    part = np.empty(len(sizes), dtype=np.int64)
    borders = np.cumsum(fractions)[:-1] * sizes.sum()
    part[order] = np.searchsorted(borders, middle, side="right")
    return part


def _merge(
    chrom: Whole, start: Whole, end: Whole, part: Whole
) -> tuple[Whole, Whole, Whole, Whole]:
    """Join neighbouring blocks of one part."""
    new = np.append(True, (chrom[1:] != chrom[:-1]) | (part[1:] != part[:-1]))
    firsts = np.flatnonzero(new)
    lasts = np.append(firsts[1:], len(chrom)) - 1
    return chrom[firsts], start[firsts], end[lasts], part[firsts]


def _by_part(intervals: Intervals, part: Whole) -> dict[str, Intervals]:
    split = np.array(SPLITS, dtype=object)[part]
    named = Intervals.of(
        intervals.names, intervals.chrom, intervals.start, intervals.end, split=split
    )
    return {name: named.take(part == i) for i, name in enumerate(SPLITS)}


def merged_regions(path: str | Path | None, genome: Genome) -> Intervals:
    """The regions of a BED file in the order of the genome, those that overlap or touch joined.

    Every chromosome from end to end if no file is given.

    Raises:
        InputError: as `read_bed`; also for a file without regions.
    """
    if path is None:
        whole = whole_genome(genome)
        return whole.take(whole.lengths > 0)
    rows = read_bed(path, genome)
    order = np.lexsort((rows.start, rows.chrom))
    chrom, start, end = rows.chrom[order], rows.start[order], rows.end[order]
    # On one line, on which chromosomes follow each other without touching.
    offset = (genome.offsets + np.arange(len(genome.names)))[chrom]
    reach = np.maximum.accumulate(offset + end)
    firsts = np.flatnonzero(np.append(True, (offset + start)[1:] > reach[:-1]))
    lasts = np.append(firsts[1:], len(start)) - 1
    return Intervals.of(genome.names, chrom[firsts], start[firsts], reach[lasts] - offset[lasts])
