"""Markov models of sequences: what a letter's left neighbours alone tell about it.

A model of order k predicts each letter from the k before it. It is the yardstick for masked
modelling: a network that does no better has learned nothing but short-range composition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Alphabet, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.data.tables.store import SequenceStore

Counts = NDArray[np.int64]

#: Letters that are counted at once.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class MarkovScore:
    """How well a Markov model predicts held-out letters.

    Attributes:
        order: number of letters that it looks back.
        accuracy: share of letters that have the highest probability.
        perplexity: exponential of `loss`; of DNA, 4 is no better than guessing.
        loss: mean negative logarithm (natural) of the letter's probability.
        letters: number of letters predicted.
    """

    order: int
    accuracy: float
    perplexity: float
    loss: float
    letters: int


def count_kmers(ids: Ids, k: int, alphabet: Alphabet = DNA) -> Counts:
    """Count the k-mers of sequences; those with a letter that is not certain are skipped.

    Args:
        ids: encoded sequences (n, L), soft bits allowed.
        k: length, at least 1.
        alphabet: what the ids mean.

    Returns:
        Counts of shape (certain letters,) * k, in alphabet order, indexed from left to right.
    """
    size = len(alphabet.real)
    places = ids.shape[1] - k + 1
    if places < 1:
        return np.zeros((size,) * k, dtype=np.int64)
    letters = _certain_codes(alphabet)[ids]
    code = np.zeros((len(letters), places), dtype=np.int64)
    known = np.ones(code.shape, dtype=bool)
    for offset in range(k):
        here = letters[:, offset : offset + places]
        code = code * size + here
        known &= here < size
    return np.bincount(code[known], minlength=size**k).reshape((size,) * k)


def _certain_codes(alphabet: Alphabet) -> Ids:
    """Table of 256 entries: the number of a certain letter among them; 255 for what is none."""
    table = np.full(256, 255, dtype=np.uint8)
    certain = np.flatnonzero(alphabet.real_table()[:SOFT_BIT])
    table[certain] = table[certain | SOFT_BIT] = np.arange(len(certain))
    return table


def add_reverse_strand(counts: Counts) -> Counts:
    """Counts of k-mers on both strands, from those on one."""
    other = counts.transpose()
    for axis in range(counts.ndim):
        other = other.take(DNA.complement_ids[: len(DNA.real)], axis=axis)
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
    counts = np.zeros((len(DNA.real),) * k, dtype=np.int64)
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

    All orders predict the same letters: the last one of every held-out k-mer. The probabilities
    after each context are estimated with one added to the count of every certain letter.

    Args:
        train: counts of k-mers, shape (letters,) * k.
        held_out: counts of the k-mers whose last letter is to be predicted, same shape.
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


def count_rows(
    store: SequenceStore, rows: NDArray[np.int64], k: int, *, most: int = 100_000_000
) -> Counts:
    """Count the k-mers of sequences, of evenly spread ones if they have more than `most` letters.

    Args:
        store: where the sequences are.
        rows: which, shape (n,).
        k: length of the k-mers.
        most: letters after which more of them would not change the estimates.
    """
    rows = rows[:: max(1, -(-int(store.lengths[rows].sum()) // most))]
    piece = np.cumsum(store.lengths[rows]) // _CHUNK
    counts = np.zeros((len(store.alphabet.real),) * k, dtype=np.int64)
    for chosen in np.split(rows, np.flatnonzero(np.diff(piece)) + 1):
        counts += count_kmers(_end_to_end(store, chosen)[None], k, store.alphabet)
    return counts


def _end_to_end(store: SequenceStore, rows: NDArray[np.int64]) -> Ids:
    """Sequences one behind the other, with padding between, which is in no k-mer."""
    lengths = store.lengths[rows]
    before = np.cumsum(lengths) - lengths
    letter = np.arange(int(lengths.sum()))
    out = np.full(len(letter) + len(rows), store.alphabet.pad_id, dtype=np.uint8)
    out[letter + np.repeat(np.arange(len(rows)), lengths)] = store.ids[
        letter + np.repeat(store.offsets[rows] - before, lengths)
    ]
    return out


def protein_baselines(
    store: SequenceStore, train: NDArray[np.int64], held_out: Iterable[Ids], *, order: int = 2
) -> list[MarkovScore]:
    """Markov models of orders 0 to `order`, fitted on sequences, scored on held-out ones.

    Args:
        store: where the sequences are.
        train: which to fit on, shape (n,).
        held_out: batches of sequences (n, L) to score on, padded.
        order: highest order.
    """
    fitted = count_rows(store, train, order + 1)
    asked = (count_kmers(ids, order + 1, store.alphabet) for ids in held_out)
    return markov_scores(fitted, sum(asked, np.zeros_like(fitted)))
