"""What the codons of a sequence allow at each position: where genes may begin, go on and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Ids
from helicon.data.genome.genome import Genome
from helicon.errors import InputError

Codes = NDArray[np.uint16]

#: Start and stop codons of bacteria, archaea and plastids (NCBI translation table 11; its rarer
#: starts left out), and the log-probabilities of the starts in the embedded *E. coli* annotation.
BACTERIAL_STARTS, BACTERIAL_STOPS = ("ATG", "GTG", "TTG"), ("TAA", "TAG", "TGA")
BACTERIAL_START_COSTS = (-0.1, -2.6, -4.2)

#: Fields of the code of a position, as masks. A start codon begins here (the field counts the
#: different costs of start codons from 1), or a stop codon, ...
START, STOP = 0b11, 1 << 2
#: ... or one of the reverse strand, whose codons are read from right to left;
R_START, R_STOP = 1 << 3, 1 << 4
#: or one has ended just before (of reverse starts again the number of its cost).
AFTER_STOP, AFTER_R_START = 1 << 5, 0b11 << 6
#: A gene begins here whose start codon shares one base (`TAATG`) or all but one (`ATGA`) with the
#: stop codon of the gene before it: the genes overlap by one base, or by four.
OVERLAP_1, OVERLAP_4 = 1 << 8, 1 << 9
#: The same on the reverse strand, at the first position that is not of the left gene.
R_OVERLAP_1, R_OVERLAP_4 = 1 << 10, 1 << 11
#: Number of different codes.
CODES = 1 << 12

#: Bases before and behind a stretch that its codes depend on.
_BEFORE, _BEHIND = 4, 3


@dataclass(frozen=True)
class Codons:
    """Start and stop codons of a genetic code.

    Attributes:
        starts: codons that a gene may begin with.
        start_costs: log cost of each of them; of three different values at most.
        stops: codons that end a gene.
    """

    starts: tuple[str, ...] = BACTERIAL_STARTS
    start_costs: tuple[float, ...] = BACTERIAL_START_COSTS
    stops: tuple[str, ...] = BACTERIAL_STOPS

    def __post_init__(self) -> None:
        for name, codons in (("starts", self.starts), ("stops", self.stops)):
            if not codons:
                raise InputError(f"{name}: name at least one codon")
            for codon in codons:
                if len(codon) != 3 or set(codon) - set(DNA.real):
                    raise InputError(f"{name}: {codon!r} is no codon of A, C, G and T")
        if both := sorted(set(self.starts) & set(self.stops)):
            raise InputError(f"starts: {both[0]} is a stop codon too")
        if len(set(self.start_costs)) > START:
            raise InputError(f"starts: no more than {START} different costs are possible")

    @cached_property
    def different_costs(self) -> list[float]:
        """Costs of start codons, in the order in which the fields of codes count them."""
        return sorted(set(self.start_costs), reverse=True)

    @cached_property
    def _kinds(self) -> NDArray[np.uint16]:
        """What each of 64 codons, and an unknown one, is, (4, 65).

        The number of its cost as a start on either strand, and whether it is a stop on either.
        """
        table = np.zeros((4, 65), dtype=np.uint16)
        cost = [self.different_costs.index(one) + 1 for one in self.start_costs]
        for row, reverse in enumerate((False, True)):
            table[row, _numbers(self.starts, reverse=reverse)] = cost
            table[2 + row, _numbers(self.stops, reverse=reverse)] = 1
        return table

    def codes(
        self, genome: Genome, chrom: int, start: int, end: int, *, circular: bool = False
    ) -> Codes:
        """Codes of the positions of a stretch, (end - start,).

        A codon with an `N`, or cut by the end of the chromosome, is neither start nor stop.

        Args:
            genome: the sequence.
            chrom: index of the chromosome.
            start: first position, 0-based.
            end: behind the last; may lie beyond the chromosome.
            circular: positions beyond an end of the chromosome are those at its other end.
        """
        places = start - _BEFORE, end + _BEHIND
        ids = _round(genome, chrom, *places) if circular else genome.fetch(chrom, *places)
        numbers = _codon_numbers(ids)
        starts, r_starts, stops, r_stops = self._kinds[:, numbers]
        length = end - start

        def at(offset: int, kinds: NDArray[np.uint16]) -> NDArray[np.uint16]:
            return kinds[_BEFORE + offset : _BEFORE + offset + length]

        begins, began = at(0, starts), at(-3, r_starts)
        one, reverse_one = at(-2, stops), at(-1, r_stops)
        overlap = (begins > 0) & ~(one > 0) & (at(1, stops) > 0)
        reverse_overlap = (began > 0) & ~(reverse_one > 0) & (at(-4, r_stops) > 0)
        return (
            begins
            + STOP * at(0, stops)
            + R_START * (at(0, r_starts) > 0)
            + R_STOP * at(0, r_stops)
            + AFTER_STOP * at(-3, stops)
            + _first_of(AFTER_R_START) * began
            + OVERLAP_1 * ((begins > 0) & (one > 0))
            + OVERLAP_4 * overlap
            + R_OVERLAP_1 * ((began > 0) & (reverse_one > 0))
            + R_OVERLAP_4 * reverse_overlap
        ).astype(np.uint16)


def _round(genome: Genome, chrom: int, start: int, end: int) -> Ids:
    """Bases of a circular chromosome from the first to before the last position."""
    offset, size = int(genome.offsets[chrom]), int(genome.lengths[chrom])
    return genome.bases[offset + np.arange(start, end) % size] & np.uint8(0xFF ^ SOFT_BIT)


def field(codes: NDArray[np.integer], mask: int) -> NDArray[np.integer]:
    """The number in a field of codes."""
    return (codes & mask) // _first_of(mask)


def _first_of(mask: int) -> int:
    """Lowest bit of a mask."""
    return mask & -mask


def _codon_numbers(ids: Ids) -> NDArray[np.uint8]:
    """Number of the codon that begins at each but the last two positions; 64 if it is unknown."""
    first, second, third = ids[:-2], ids[1:-1], ids[2:]
    known = (first < 4) & (second < 4) & (third < 4)
    return np.where(known, 16 * (first & 3) + 4 * (second & 3) + (third & 3), 64).astype(np.uint8)


def _numbers(codons: Sequence[str], *, reverse: bool = False) -> list[int]:
    ids = [DNA.encode(codon) for codon in codons]
    if reverse:
        ids = [DNA.reverse_complement(one) for one in ids]
    return [int(_codon_numbers(one)[0]) for one in ids]
