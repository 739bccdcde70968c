"""Batches by a budget of letters: sequences of like length together, each once an epoch.

A file of tens of millions of sequences is planned by arrays over their lengths alone. Lengths fall
into buckets whose bounds grow by two per cent. An epoch shuffles the sequences of every bucket,
lays the buckets one behind the other, the longest first, and cuts the row into batches. As a
batch's size follows from the buckets alone, the cuts are the same in every epoch, and batch number
k is found without those before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Ids
from helicon.data.reading.hashing import below, mix
from helicon.data.sampling.windows import random_stream
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError

Whole = NDArray[np.int64]

#: How much longer than a bucket's shortest sequence its longest may be.
_GROWTH = 1.02
#: What random numbers are for; see `helicon.data.sampling.windows`.
_EPOCH_ORDER, _CROPS = 2, 3


class TokenPlan:
    """Which sequences make which batch, from their lengths.

    Args:
        lengths: letters of every sequence, at least one sequence, shape (n,).
        max_tokens: most positions in a batch, padding counted: rows times the longest row. A
            sequence that is longer makes a batch of its own.
        max_sequences: most rows in a batch.

    Raises:
        InputError: a limit is below 1.
    """

    def __init__(self, lengths: Whole, *, max_tokens: int, max_sequences: int):
        for name, limit in (("max_tokens", max_tokens), ("max_sequences", max_sequences)):
            if limit < 1:
                raise InputError(f"{name}: must be at least 1, not {limit}")
        self.lengths = lengths
        tops = _bucket_tops(int(lengths.max()))
        # Counted from the longest, so that a stable sort puts the longest first.
        bucket = (len(tops) - 1 - np.searchsorted(tops, lengths)).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")
        self._sorted: NDArray[np.integer] = (
            order.astype(np.int32) if len(order) < 2**31 else order  # half the memory
        )
        self._edges = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=len(tops)))])
        rows = np.clip(max_tokens // tops[::-1], 1, max_sequences)
        self.bounds = _cuts(self._edges, rows)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.bounds) - 1

    def epoch(self, seed: int, epoch: int) -> tuple[NDArray[np.integer], Whole]:
        """The order of an epoch.

        Returns:
            The sequences in an order of which batch b is `bounds[b]` to `bounds[b + 1]`, shape
            (n,); and the order of the batches, shape (batches,).
        """
        rng = random_stream(seed, _EPOCH_ORDER, epoch)
        order = self._sorted.copy()
        for start, end in zip(self._edges[:-1], self._edges[1:], strict=True):
            rng.shuffle(order[start:end])
        return order, rng.permutation(len(self))

    def in_order(self) -> Iterator[NDArray[np.integer]]:
        """Every batch once, the longest first, as rows: for measuring."""
        for start, end in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            yield self._sorted[start:end]

    @cached_property
    def real_fraction(self) -> float:
        """Share of the positions of all batches that hold letters, not padding."""
        lengths = self.lengths[self._sorted]
        longest = np.maximum.reduceat(lengths, self.bounds[:-1])
        return float(lengths.sum() / (longest * np.diff(self.bounds)).sum())


def _bucket_tops(longest: int) -> Whole:
    """Longest length of every bucket, ascending; the last is at least `longest`."""
    tops = [1]
    while tops[-1] < longest:
        tops.append(max(tops[-1] + 1, int(tops[-1] * _GROWTH)))
    return np.array(tops, dtype=np.int64)


def _cuts(edges: Whole, rows: Whole) -> Whole:
    """Where batches begin, and the end of the last.

    Args:
        edges: where the buckets begin, from the longest, and the end of the last.
        rows: most rows of a batch that begins in each bucket.
    """
    parts, begin = [], 0
    for end, step in zip(edges[1:], rows, strict=True):
        if begin < end:
            # A batch that began among longer sequences may have reached into this bucket.
            parts.append(np.arange(begin, end, step))
            begin = int(parts[-1][-1] + step)
    return np.concatenate([*parts, edges[-1:]])


@dataclass(frozen=True)
class TokenBatch:
    """Some sequences of a store, padded on the right.

    Attributes:
        ids: (B, longest) uint8, without the soft-mask bit.
        real: true where a letter is, (B, longest).
        rows: which sequences of the store, (B,).
        starts: first letter of each; 0 where nothing is cropped, (B,).
    """

    ids: Ids
    real: NDArray[np.bool_]
    rows: Whole
    starts: Whole


class TokenBatches:
    """Batches of sequences of a store for training: a pure function of (seed, number, rank).

    Args:
        store: the sequences.
        rows: which of them, in any order, at least one, shape (n,).
        max_tokens: most positions in a batch, padding counted.
        max_sequences: most rows in a batch.
        seed: of every random choice, not negative.
        crop: longest stretch; a longer sequence gives one of this length, whose start is drawn
            anew in every epoch. By default nothing is cropped.

    Raises:
        InputError: a limit is below 1.
    """

    def __init__(
        self,
        store: SequenceStore,
        rows: Whole,
        *,
        max_tokens: int,
        max_sequences: int,
        seed: int,
        crop: int | None = None,
    ):
        if crop is not None and crop < 1:
            raise InputError(f"crop: must be at least 1, not {crop}")
        self.store = store
        self.rows = rows
        self.seed = seed
        self.crop = crop
        lengths = store.lengths[rows]
        cropped = lengths if crop is None else np.minimum(lengths, crop)
        self.plan = TokenPlan(cropped, max_tokens=max_tokens, max_sequences=max_sequences)
        self._epoch: tuple[int, NDArray[np.integer], Whole] | None = None

    def batch(self, number: int, rank: int = 0, world: int = 1) -> TokenBatch:
        """Give a batch, the same one whenever it is asked for.

        The batches of all epochs stand one behind the other and are dealt to the processes in
        turn, so that together they see every sequence exactly once an epoch.

        Args:
            number: of the batch, from 0.
            rank: number of the process, from 0.
            world: number of processes.
        """
        epoch, at = divmod(number * world + rank, len(self.plan))
        order, batches = self._order(epoch)
        start, end = self.plan.bounds[batches[at] : batches[at] + 2]
        return self._read(order[start:end].astype(np.int64), epoch)

    def in_order(self) -> Iterator[TokenBatch]:
        """Every sequence once, the longest first, those beyond `crop` as in the first epoch."""
        for chosen in self.plan.in_order():
            yield self._read(chosen.astype(np.int64), 0)

    def _order(self, epoch: int) -> tuple[NDArray[np.integer], Whole]:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = None  # before the next one is made: there is memory for one
            self._epoch = (epoch, *self.plan.epoch(self.seed, epoch))
        return self._epoch[1:]

    def _read(self, chosen: Whole, epoch: int) -> TokenBatch:
        rows, lengths = self.rows[chosen], self.plan.lengths[chosen]
        starts = self._starts(rows, epoch)
        longest = int(lengths.max())
        ids = self.store.windows(rows, starts, longest)
        return TokenBatch(ids, np.arange(longest) < lengths[:, None], rows, starts)

    def _starts(self, rows: Whole, epoch: int) -> Whole:
        """First letter of each sequence, (n,): a hash of the seed, the epoch and the row."""
        if self.crop is None:
            return np.zeros(len(rows), dtype=np.int64)
        whole = self.store.offsets[rows + 1] - self.store.offsets[rows]
        salt = int(mix(np.array([epoch], np.uint64), salt=self.seed)[0]) + _CROPS
        return below(mix(rows, salt=salt), np.maximum(whole - self.crop, 0) + 1)
