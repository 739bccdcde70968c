"""Windows of a genome for training and evaluation, each a pure function of seed, step and rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.errors import InputError

Whole = NDArray[np.int64]

#: Draws of a window before the one with the fewest `N` is taken.
_DRAWS = 8
#: What a stream of random numbers is for, so that no two uses share one.
_WINDOWS, _ORDER = 0, 1


def random_stream(seed: int, use: int, *counters: int) -> np.random.Generator:
    """A generator that depends on its arguments alone: Philox, keyed and counted by them.

    Args:
        seed: of the run, not negative.
        use: number of the purpose; streams of two purposes are independent.
        counters: at most three numbers (step, rank, ...) below 2**64.
    """
    words = [0, *counters, 0, 0, 0][:4]
    key = np.array([seed, use], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=np.array(words, np.uint64), key=key))


@dataclass(frozen=True, eq=False)
class Windows:
    """Places of windows in a genome, as columns of equal length n.

    Attributes:
        chroms: positions in the genome's `names`, shape (n,).
        starts: first base of each on the forward strand, shape (n,).
        sizes: bases that each has, at most the length of a window; the rest is padding, shape (n,).
    """

    chroms: Whole
    starts: Whole
    sizes: Whole

    def __len__(self) -> int:
        return len(self.chroms)

    def take(self, rows: NDArray[Any] | slice) -> Windows:
        """Keep the rows of an index array, a mask or a slice."""
        return Windows(self.chroms[rows], self.starts[rows], self.sizes[rows])


class WindowSampler:
    """Batches of windows drawn from intervals of a genome.

    A window never leaves its interval, so that no part of a split sees another's bases: an interval
    shorter than `length` gives all its bases, padded on the right.

    With `offsets="random"` an interval is drawn with a probability proportional to its length and
    the window's start uniformly within it; windows with more than `max_unknown` of `N` are drawn
    again, up to seven times, and the one with the fewest `N` is kept. `offsets="head"` is what the
    official ConvNova and HyenaDNA loaders do: the first `length` bases of each interval, every
    interval once in each epoch, in an order drawn for each epoch.

    Args:
        genome: where the windows lie.
        intervals: stretches to draw from, with `chrom` pointing into the genome's `names`.
        length: bases of a window.
        batch_size: windows of a batch, on one process.
        seed: of every random choice, not negative.
        reverse_complement: read each window from a strand drawn at random.
        offsets: `random` or `head`, see above.
        max_unknown: share of `N` above which a random window is drawn again and an evaluation
            window is left out.
        world: number of processes; only the epochs of `head` depend on it.

    Raises:
        InputError: there is no interval to draw from.
    """

    def __init__(
        self,
        genome: Genome,
        intervals: Intervals,
        length: int,
        *,
        batch_size: int,
        seed: int,
        reverse_complement: bool = True,
        offsets: Literal["random", "head"] = "random",
        max_unknown: float = 0.5,
        world: int = 1,
    ):
        if not len(intervals):
            raise InputError(f"{genome.path}: there is no interval to draw windows from")
        self.genome = genome
        self.intervals = intervals
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.reverse_complement = reverse_complement
        self.offsets = offsets
        self.max_unknown = max_unknown
        self.world = world
        self._ends = np.cumsum(intervals.lengths)
        self._epoch = (-1, np.empty(0, dtype=np.int64))

    @property
    def windows_per_epoch(self) -> int:
        """Intervals for `head`; for random offsets the windows that hold as many bases as all."""
        if self.offsets == "head":
            return len(self.intervals)
        return max(int(self._ends[-1]) // self.length, 1)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of all processes together that make an epoch, rounded up."""
        return -(-self.windows_per_epoch // (self.batch_size * self.world))

    def batch(self, step: int, rank: int = 0) -> Ids:
        """Give the batch of a step, the same one whenever it is asked for.

        Args:
            step: number of the batch, from 0.
            rank: number of the process.

        Returns:
            Ids of shape (batch_size, length), uint8 with `SOFT_BIT` on soft-masked bases.
        """
        rng = random_stream(self.seed, _WINDOWS, rank, step)
        windows = self._heads(step, rank) if self.offsets == "head" else self._draw_known(rng)
        if not self.reverse_complement:
            return self.read(windows)
        return self.read(windows, rng.random(self.batch_size) < 0.5)

    def read(self, windows: Windows, reverse: NDArray[np.bool_] | None = None) -> Ids:
        """Read windows, padded on the right behind their `sizes`.

        Args:
            windows: where they lie, n of them.
            reverse: which to give as reverse complement, shape (n,).

        Returns:
            Ids of shape (n, length), uint8 with `SOFT_BIT` on soft-masked bases.
        """
        starts, short = windows.starts, windows.sizes < self.length
        if reverse is not None and short.any():
            # Its bases at the right end of the forward window are at the left of its reverse.
            starts = starts - np.where(reverse, self.length - windows.sizes, 0)
        out = self.genome.windows(windows.chroms, starts, self.length, reverse=reverse, soft=True)
        for row in np.flatnonzero(short):
            out[row, windows.sizes[row] :] = DNA.pad_id
        return out

    def _draw_known(self, rng: np.random.Generator) -> Windows:
        """Draw a batch, and draw those again that are mostly `N`."""
        windows = self._draw(rng, self.batch_size)
        if not len(self.genome.unknown):
            return windows
        fraction = self._unknown(windows)
        for _ in range(_DRAWS - 1):
            again = np.flatnonzero(fraction > self.max_unknown)
            if not len(again):
                break
            other = self._draw(rng, len(again))
            theirs = self._unknown(other)
            less = theirs < fraction[again]
            rows = again[less]
            windows.chroms[rows] = other.chroms[less]
            windows.starts[rows] = other.starts[less]
            windows.sizes[rows] = other.sizes[less]
            fraction[rows] = theirs[less]
        return windows

    def _draw(self, rng: np.random.Generator, count: int) -> Windows:
        """Draw a base of all intervals; the place of its window in its interval is as the base's.

        Of an interval of m bases, base r of 0 .. m-1 gives start r (m - length + 1) // m.
        """
        at = (rng.random(count) * self._ends[-1]).astype(np.int64)
        row = np.searchsorted(self._ends, at, side="right")
        chosen = self._sizes[row]
        inside = at - (self._ends[row] - chosen)
        offset = inside * np.maximum(chosen - self.length + 1, 1) // chosen
        starts = self.intervals.start[row] + offset
        return Windows(self.intervals.chrom[row], starts, np.minimum(chosen, self.length))

    @cached_property
    def _sizes(self) -> Whole:
        return self.intervals.lengths

    def _unknown(self, windows: Windows) -> NDArray[np.float64]:
        """Share of `N` in the windows' own bases, shape (n,)."""
        return self.genome.unknown_fraction(windows.chroms, windows.starts, windows.sizes)

    def _heads(self, step: int, rank: int) -> Windows:
        """The next intervals of all epochs one after the other, dealt to the processes in turn."""
        count = len(self.intervals)
        first = (step * self.world + rank) * self.batch_size
        items = np.arange(first, first + self.batch_size)
        rows = np.empty_like(items)
        for epoch in range(first // count, int(items[-1]) // count + 1):
            now = items // count == epoch
            rows[now] = self._order(epoch)[items[now] % count]
        size = np.minimum(self._sizes[rows], self.length)
        return Windows(self.intervals.chrom[rows], self.intervals.start[rows], size)

    def _order(self, epoch: int) -> Whole:
        known, order = self._epoch
        if known != epoch:
            order = random_stream(self.seed, _ORDER, epoch).permutation(len(self.intervals))
            self._epoch = (epoch, order)
        return order

    def tiles(self) -> Windows:
        """Cut the intervals in windows that do not overlap, for evaluation.

        The last window of an interval has what is left of it. Windows with more than `max_unknown`
        of `N` are left out.

        Returns:
            The windows in the order of the intervals, on the forward strand.
        """
        counts = -(-self._sizes // self.length)
        row = np.repeat(np.arange(len(counts)), counts)
        offset = (np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)) * self.length
        sizes = np.minimum(self._sizes[row] - offset, self.length)
        windows = Windows(self.intervals.chrom[row], self.intervals.start[row] + offset, sizes)
        return windows.take(self._unknown(windows) <= self.max_unknown)

    def evaluation_batches(self, windows: Windows | None = None) -> Iterator[Ids]:
        """Read windows (all of `tiles` if none are given) in order, `batch_size` at a time.

        Yields:
            Ids of shape (batch_size or fewer, length), as `batch` gives them.
        """
        windows = self.tiles() if windows is None else windows
        for first in range(0, len(windows), self.batch_size):
            yield self.read(windows.take(slice(first, first + self.batch_size)))
