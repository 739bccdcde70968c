"""Markov models of a genome: what a base's left neighbours alone tell about it.

A model of order k predicts each base from the k before it. It is the yardstick for masked
modelling: a network that does no better has learned nothing but short-range composition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Ids
from helicon.data.genome import Genome
from helicon.data.intervals import Intervals

Counts = NDArray[np.int64]

_BASES = len(DNA.real)
#: Bases of an interval that are counted at once.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class MarkovScore:
    """How well a Markov model predicts held-out bases.

    Attributes:
        order: number of bases that it looks back.
        accuracy: share of bases that have the highest probability.
        perplexity: exponential of `loss`; 4 is no better than guessing.
        loss: mean negative logarithm (natural) of the base's probability.
        bases: number of bases predicted.
    """

    order: int
    accuracy: float
    perplexity: float
    loss: float
    bases: int


def count_kmers(ids: Ids, k: int) -> Counts:
    """Count the k-mers of sequences; those with a letter other than A, C, G, T are skipped.

    Args:
        ids: encoded sequences (n, L), soft bits allowed.
        k: length, at least 1.

    Returns:
        Counts of shape (4,) * k, indexed by the bases from left to right.
    """
    letters = ids & np.uint8(SOFT_BIT - 1)
    places = letters.shape[1] - k + 1
    if places < 1:
        return np.zeros((_BASES,) * k, dtype=np.int64)
    code = np.zeros((len(letters), places), dtype=np.int64)
    known = np.ones(code.shape, dtype=bool)
    for offset in range(k):
        here = letters[:, offset : offset + places]
        code = code * _BASES + here
        known &= here < _BASES
    return np.bincount(code[known], minlength=_BASES**k).reshape((_BASES,) * k)


def add_reverse_strand(counts: Counts) -> Counts:
    """Counts of k-mers on both strands, from those on one."""
    other = counts.transpose()
    for axis in range(counts.ndim):
        other = other.take(DNA.complement_ids[:_BASES], axis=axis)
    return counts + other


def count_intervals(
    genome: Genome, intervals: Intervals, k: int, *, most: int = 100_000_000
) -> Counts:
    """Count the k-mers of intervals, of evenly spread pieces if they have more than `most` bases.

    Args:
        genome: where the intervals lie.
        intervals: stretches of the forward strand.
        k: length of the k-mers.
        most: bases after which more of them would not change the estimates.
    """
    pieces = list(_pieces(intervals, k))
    total = sum(end - start for _, start, end in pieces)
    every = max(1, -(-total // most))
    counts = np.zeros((_BASES,) * k, dtype=np.int64)
    for chrom, start, end in pieces[::every]:
        counts += count_kmers(genome.fetch(chrom, start, end)[None], k)
    return counts


def _pieces(intervals: Intervals, k: int) -> Iterator[tuple[int, int, int]]:
    """Chromosome, start and end of pieces that share k - 1 bases, so that each k-mer is in one."""
    for chrom, start, end in zip(intervals.chrom, intervals.start, intervals.end, strict=True):
        for first in range(int(start), int(end), _CHUNK):
            yield int(chrom), first, min(first + _CHUNK + k - 1, int(end))


def markov_scores(
    train: Counts, held_out: Counts, orders: Sequence[int] | None = None
) -> list[MarkovScore]:
    """Fit Markov models on counts of k-mers and score them on others.

    All orders predict the same bases: the last one of every held-out k-mer. Each context's four
    probabilities are estimated with one added to every count.

    Args:
        train: counts of k-mers, shape (4,) * k.
        held_out: counts of the bases to predict, same shape.
        orders: orders to score, each below k; `None` for 0 to k - 1.
    """
    k = train.ndim
    return [_score(train, held_out, order) for order in (range(k) if orders is None else orders)]


def _score(train: Counts, held_out: Counts, order: int) -> MarkovScore:
    older = tuple(range(train.ndim - 1 - order))
    seen, asked = train.sum(axis=older), held_out.sum(axis=older)
    probabilities = (seen + 1) / (seen + 1).sum(axis=-1, keepdims=True)
    total = int(asked.sum())
    loss = -float((asked * np.log(probabilities)).sum()) / max(total, 1)
    guess = probabilities.argmax(axis=-1)[..., None]
    right = int(np.take_along_axis(asked, guess, axis=-1).sum())
    return MarkovScore(order, right / max(total, 1), float(np.exp(loss)), loss, total)


def markov_baselines(
    genome: Genome,
    train: Intervals,
    held_out: Iterable[Ids],
    *,
    order: int = 5,
    both_strands: bool = True,
) -> list[MarkovScore]:
    """Markov models of orders 0 to `order`, fitted on intervals, scored on held-out windows.

    Args:
        genome: where the intervals lie.
        train: intervals to fit on.
        held_out: batches of windows (n, L) to score on, soft bits allowed.
        order: highest order.
        both_strands: count both strands of both, as networks see both in training.
    """
    fitted = count_intervals(genome, train, order + 1)
    asked = sum((count_kmers(ids, order + 1) for ids in held_out), np.zeros_like(fitted))
    if both_strands:
        fitted, asked = add_reverse_strand(fitted), add_reverse_strand(asked)
    return markov_scores(fitted, asked)
