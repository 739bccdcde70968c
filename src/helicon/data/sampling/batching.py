"""Batches of sequences of unequal lengths: little padding, every row once an epoch, no state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import SOFT_BIT
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError

#: Steps whose rows are sorted by length together: more pads less, fewer mixes more.
POOL_STEPS = 16

Batch = dict[str, NDArray]


class LabelledBatches:
    """Batches of a table for training, a pure function of (seed, step, rank).

    An epoch deals every row exactly once, to as few steps as `batch_size` allows, and evenly: no
    batch is larger than `batch_size` (two rows for a batch size of one on several ranks), and no
    two batches of an epoch differ by more than one row: there is no small last batch, and every
    rank has rows at every step. Rows of similar length go together: the rows of `POOL_STEPS` steps,
    drawn at random, are sorted by length and cut into steps, and the epoch's steps are shuffled.

    Args:
        table: the sequences.
        batch_size: most rows in a batch of one rank.
        seed: seed of the order and of the strands.
        max_length: longest sequence; a longer one gives its middle `max_length` letters. By default
            nothing is cropped.
        reverse_complement: give each row, with probability one half, as its reverse complement;
            drawn anew every epoch, whatever the batch size and number of ranks (DNA only).

    Raises:
        InputError: a size is below 1, or the alphabet has no complement.
    """

    def __init__(
        self,
        table: SequenceTable,
        batch_size: int,
        seed: int,
        *,
        max_length: int | None = None,
        reverse_complement: bool = False,
    ):
        _check_sizes(batch_size, max_length)
        if reverse_complement and not table.alphabet.complements:
            raise InputError(
                f"the {table.alphabet.name} alphabet has no complement; "
                "switch reverse-complement augmentation off"
            )
        self.table = table
        self.batch_size = batch_size
        self.seed = seed
        self.max_length = max_length
        self.reverse_complement = reverse_complement
        self._lengths = _cropped(table, max_length)
        self._epoch: _Epoch | None = None

    def steps_per_epoch(self, world: int = 1) -> int:
        """Steps in which `world` ranks see every row once."""
        n = len(self.table)
        return max(1, min(-(-n // (self.batch_size * world)), n // world))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Return one rank's batch of a step.

        Args:
            step: step from the start of training, from 0; epochs follow each other.
            rank: which of the processes asks.
            world: number of processes that share the step.

        Returns:
            `ids` (B, L) uint8, padded on the right with `pad_id` to the longest row, without the
            soft-mask bit; `mask` (B, L) bool, true at real positions; `rows` (B,) int64, the rows
            of the table.

        Raises:
            InputError: the table has fewer rows than there are ranks.
        """
        epoch, step = divmod(step, self.steps_per_epoch(world))
        plan = self._plan(epoch, world)
        start, end = plan.bounds[step * world + rank : step * world + rank + 2]
        rows = plan.order[start:end]
        reverse = plan.reverse[rows] if self.reverse_complement else None
        return _gather(self.table, rows, self.max_length, reverse)

    def real_fraction(self, world: int = 1) -> float:
        """Share of the positions of the first epoch's batches that are letters, not padding."""
        plan = self._plan(0, world)
        lengths = self._lengths[plan.order]
        longest = np.maximum.reduceat(lengths, plan.bounds[:-1])
        return float(lengths.sum() / (longest * np.diff(plan.bounds)).sum())

    def _plan(self, epoch: int, world: int) -> _Epoch:
        plan = self._epoch
        if plan is None or (plan.epoch, plan.world) != (epoch, world):
            plan = self._epoch = self._deal(epoch, world)
        return plan

    def _deal(self, epoch: int, world: int) -> _Epoch:
        n, steps = len(self.table), self.steps_per_epoch(world)
        if n < world:
            raise InputError(
                f"{self.table.path}: {n} rows are too few for {world} processes; use fewer"
            )
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, epoch))))
        reverse = rng.random(n) < 0.5
        order = rng.permutation(n)
        # Rows of step s: n // steps, and one more in the first n % steps steps.
        edges = np.arange(steps + 1) * (n // steps) + np.minimum(np.arange(steps + 1), n % steps)
        pool = np.repeat(np.arange(steps) // POOL_STEPS, np.diff(edges))
        order = order[np.lexsort((self._lengths[order], pool))]
        shuffled = rng.permutation(steps)
        sizes = np.diff(edges)[shuffled]
        order = order[_ranges(edges[shuffled], sizes)]
        share = sizes[:, None] // world + (np.arange(world) < (sizes % world)[:, None])
        bounds = np.concatenate([[0], np.cumsum(share.ravel())])
        return _Epoch(epoch, world, order, bounds, reverse)


@dataclass(frozen=True)
class _Epoch:
    """Rows of an epoch in order; batch `b` is `order[bounds[b]:bounds[b + 1]]`, ranks innermost."""

    epoch: int
    world: int
    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    reverse: NDArray[np.bool_]


def evaluation_batches(
    table: SequenceTable, batch_size: int, *, max_length: int | None = None
) -> Iterator[Batch]:
    """Yield every row once, longest first (what does not fit in memory fails at once).

    Args:
        table: the sequences.
        batch_size: rows in a batch; the last may have fewer.
        max_length: as in `LabelledBatches`.

    Yields:
        Batches as `LabelledBatches.batch`; `rows` says where each result belongs.
    """
    _check_sizes(batch_size, max_length)
    order = np.argsort(-_cropped(table, max_length), kind="stable")
    for start in range(0, len(order), batch_size):
        yield _gather(table, order[start : start + batch_size], max_length, None)


def _gather(
    table: SequenceTable,
    rows: NDArray[np.int64],
    max_length: int | None,
    reverse: NDArray[np.bool_] | None,
) -> Batch:
    """Copy rows out of the packed array, reading the `reverse` ones backwards, complemented."""
    whole = table.offsets[rows + 1] - table.offsets[rows]
    lengths = whole if max_length is None else np.minimum(whole, max_length)
    first = table.offsets[rows] + (whole - lengths) // 2
    column = np.arange(lengths.max())
    mask = column < lengths[:, None]
    at = first[:, None] + column
    if reverse is not None:
        at[reverse] = (first + lengths - 1)[reverse, None] - column
    ids = table.ids[np.where(mask, at, 0)]
    if reverse is not None:
        ids[reverse] = table.alphabet.complement_table[ids[reverse]]
    ids &= ~np.uint8(SOFT_BIT)
    ids[~mask] = table.alphabet.pad_id
    return {"ids": ids, "mask": mask, "rows": rows}


def _cropped(table: SequenceTable, max_length: int | None) -> NDArray[np.int64]:
    return table.lengths if max_length is None else np.minimum(table.lengths, max_length)


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate `arange(start, start + size)` for every pair."""
    shift = starts - np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.arange(sizes.sum()) + np.repeat(shift, sizes)


def _check_sizes(batch_size: int, max_length: int | None) -> None:
    for name, size in (("batch size", batch_size), ("longest sequence", max_length)):
        if size is not None and size < 1:
            raise InputError(f"the {name} must be at least 1, not {size}")
