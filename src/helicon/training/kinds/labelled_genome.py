"""Labels on the positions of a genome: training windows, and predictions over whole stretches.

Sequence is free, labels are not: a window is read with `context` bases on both sides of its
labelled positions, so that every labelled position is seen as it will be seen in a chromosome.
Those bases may belong to another part of the split; their labels are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from helicon.alphabet import DNA, Ids
from helicon.data.annotation.annotation import Annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.data.sampling.windows import Windows, random_stream
from helicon.errors import InputError
from helicon.forward.outputs import Outputs, evaluating, logits
from helicon.forward.tiles import Tiling
from helicon.models.parts.heads import IGNORE

#: Bases that are looked at together, context included.
_BATCH_BASES = 65_536
#: The purpose of the streams of random numbers that draw windows (see `random_stream`).
_LABELLED_WINDOWS = 32


@dataclass(frozen=True, eq=False)
class LabelledGenome:
    """A genome, labels of its positions, and the stretches to train, choose and test on.

    Attributes:
        genome: the sequence.
        annotation: classes or values of its positions.
        train: stretches whose labels may be learned from.
        valid: stretches to choose the best checkpoint on.
        test: stretches to measure the final model on, or `None`.
        length: labelled positions of a training window.
        context: bases read on both sides of them. In evaluation, half the receptive field is.
    """

    genome: Genome
    annotation: Annotation
    train: Intervals
    valid: Intervals
    test: Intervals | None
    length: int
    context: int

    @property
    def span(self) -> int:
        """Bases of a window as the network reads it."""
        return self.length + 2 * self.context

    @property
    def opposite(self) -> NDArray[np.integer]:
        """For each output, the one that means the same on the other strand."""
        return self.annotation.opposite if self.annotation.kind == "classes" else np.arange(1)

    def draw(
        self, count: int, seed: int, step: int, rank: int, *, reverse_complement: bool = True
    ) -> tuple[Ids, NDArray[np.int64] | NDArray[np.float32]]:
        """Draw training windows, a pure function of the arguments.

        An interval of `train` is drawn with a probability proportional to its length, the place
        in it uniformly, and with `reverse_complement` the strand by a fair coin; labels turn
        with the strand.

        Returns:
            Ids (count, span), and labels (count, span): class ids with `IGNORE`, or values with
            NaN, where there is no label, outside the interval, and in the context.
        """
        rng = random_stream(seed, _LABELLED_WINDOWS, step, rank)
        ends = np.cumsum(self.train.lengths)
        at = rng.integers(0, ends[-1], count)
        row = np.searchsorted(ends, at, side="right")
        start, room = self.train.start[row], self.train.lengths[row] - self.length
        starts = start + rng.integers(0, np.maximum(room, 0) + 1)
        windows = Windows(
            self.train.chrom[row], starts, np.minimum(self.length, self.train.lengths[row])
        )
        return self.read(windows, (rng.random(count) < 0.5) & reverse_complement)

    def read(
        self, windows: Windows, reverse: NDArray[np.bool_]
    ) -> tuple[Ids, NDArray[np.int64] | NDArray[np.float32]]:
        """Ids and labels (n, span) of windows of `length`; see `draw`."""
        ids = self.genome.windows(
            windows.chroms, windows.starts - self.context, self.span, reverse=reverse
        )
        inner = self.annotation.windows(
            windows.chroms, windows.starts, self.length, reverse=reverse
        )
        classes = self.annotation.kind == "classes"
        column = np.arange(self.length)
        place = np.where(reverse[:, None], self.length - 1 - column, column)
        none = IGNORE if classes else np.nan
        labels = np.full(ids.shape, none, dtype=np.int64 if classes else np.float32)
        labels[:, self.context : self.context + self.length] = np.where(
            place < windows.sizes[:, None], inner, none
        )
        return ids, labels

    def class_counts(self) -> NDArray[np.int64]:
        """Training positions of each class, (C,)."""
        counts = np.zeros(len(self.annotation.classes), dtype=np.int64)
        for labels in self._train_labels():
            counts += np.bincount(labels[labels >= 0], minlength=len(counts))
        return counts

    def value_spread(self) -> tuple[float, float]:
        """Mean and standard deviation of the values of the training positions."""
        count, total, squares = 0, 0.0, 0.0
        for labels in self._train_labels():
            known = labels[~np.isnan(labels)].astype(np.float64)
            count, total, squares = count + len(known), total + known.sum(), squares + known @ known
        mean = total / max(count, 1)
        return mean, max(squares / max(count, 1) - mean * mean, 0.0) ** 0.5

    def _train_labels(self) -> Iterator[NDArray]:
        """Labels of all training positions, in pieces that fit in memory."""
        places = Tiling(0, _BATCH_BASES).cut(self.train)
        for chrom, start, end in zip(places.chrom, places.start, places.end, strict=True):
            yield self.annotation.windows([chrom], [start], int(end - start))[0]


def labelled_windows(intervals: Intervals, length: int, count: int, seed: int) -> Intervals:
    """Choose a budget of labelled windows: `count` stretches of `length` that do not overlap.

    Args:
        intervals: where labels may be taken from.
        length: positions of each.
        count: how many.
        seed: of the choice.

    Raises:
        InputError: the intervals do not hold so many.
    """
    fit = intervals.lengths // length
    if fit.sum() < count:
        raise InputError(
            f"{count} labelled windows of {length} are wanted, but the training part holds "
            f"{fit.sum()}; choose fewer or shorter ones"
        )
    tile = np.sort(np.random.default_rng(seed).permutation(int(fit.sum()))[:count])
    row = np.searchsorted(np.cumsum(fit), tile, side="right")
    number = tile - (np.cumsum(fit) - fit)[row]
    start = intervals.start[row] + number * length
    return Intervals.of(intervals.names, intervals.chrom[row], start, start + length)


def sampled_outputs(
    model: nn.Module,
    data: LabelledGenome,
    intervals: Intervals,
    count: int,
    seed: int,
    *,
    reverse_complement: bool = True,
) -> tuple[Outputs, NDArray[np.int64] | NDArray[np.float32]]:
    """What a token model gives at the labelled positions of some windows, drawn at random.

    Args:
        model: with a token head.
        data: genome, labels, and the measures of a window.
        intervals: where the windows lie; no two overlap.
        count: positions that the windows have at most, and all of the intervals if they have fewer.
        seed: of the choice of windows and strands.
        reverse_complement: read each window from a strand drawn at random.

    Returns:
        Outputs (n, K), and their classes or values (n,).
    """
    tiles = Tiling(0, data.length).cut(intervals)
    places = Windows(tiles.chrom, tiles.start, tiles.end - tiles.start)
    rng = np.random.default_rng(seed)
    places = places.take(rng.permutation(len(places))[: max(1, count // data.length)])
    reverse = (rng.random(len(places)) < 0.5) & reverse_complement
    batch = max(1, _BATCH_BASES // data.span)
    outputs, labels = [], []
    with evaluating(model) as device:
        for first in range(0, len(places), batch):
            rows = slice(first, first + batch)
            ids, found = data.read(places.take(rows), reverse[rows])
            known = found != IGNORE if found.dtype == np.int64 else ~np.isnan(found)
            outputs.append(logits(model, ids, ids != DNA.pad_id, device)[known])
            labels.append(found[known])
    return np.concatenate(outputs), np.concatenate(labels)
