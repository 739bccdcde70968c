"""One-hot ridge regression: the yardstick of mutational scans, where all sequences have one length.

Every letter at every position that varies in the training data has a weight of its own: mutations
add up. A network is worth its cost where it beats this. The baseline is that of FLIP (Dallago et
al. 2021, "ridge") and of Hsu et al., "Learning protein fitness models from evolutionary and
assay-labeled data", 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import SOFT_BIT
from helicon.data.tables.tables import SequenceTable
from helicon.metrics.measured import MONITORS, Measures, goodness, measures_of
from helicon.metrics.targets import Target

#: Penalties that are tried.
ALPHAS = tuple(10.0**power for power in range(-3, 5))
#: Weights at most: the time grows with their cube.
MAX_COLUMNS = 6_000
#: Cells of a one-hot block that are held in memory at once.
_BLOCK = 1 << 26


@dataclass(frozen=True)
class OneHotRidge:
    """What the regression reaches.

    Attributes:
        alpha: its penalty, chosen on validation data.
        columns: letters at positions that have a weight.
        scores: measures, by part of the data.
    """

    alpha: float
    columns: int
    scores: dict[str, Measures]

    def as_dict(self) -> dict[str, object]:
        """Plain values for the results: the measure that chose the penalty, then everything."""
        monitor = MONITORS["regression"]
        chosen = {monitor: self.scores["validation"].metrics[monitor]}
        found = {part: scores.as_dict() for part, scores in self.scores.items()}
        return {**chosen, "alpha": self.alpha, "columns": self.columns, **found}


def one_hot_ridge(
    train: SequenceTable, others: Mapping[str, SequenceTable], target: Target
) -> OneHotRidge | None:
    """Fit a ridge regression for each of `ALPHAS`; keep the one that is best on validation data.

    Args:
        train: sequences to fit on.
        others: `validation`, and whatever else is to be measured.
        target: a regression.

    Returns:
        What it reached; `None` where sequences have several lengths, nothing varies, or more than
        `MAX_COLUMNS` weights would be needed.
    """
    lengths = np.concatenate([train.lengths, *(table.lengths for table in others.values())])
    if lengths.min() != lengths.max():
        return None
    place = _places(_letters(train))
    size = int(place.max()) + 1
    if not 0 < size <= MAX_COLUMNS:
        return None
    values = target.encode(train).astype(np.float64)
    truth = {part: target.encode(table) for part, table in others.items()}
    found = {part: _columns(place, table) for part, table in others.items()}
    best: OneHotRidge | None = None
    for alpha, weights, bias in _fits(_columns(place, train), size, values):
        padded = np.concatenate([weights, np.zeros((1, weights.shape[1]))])
        scores = {
            part: measures_of(target, truth[part], _outputs(columns, padded, bias))
            for part, columns in found.items()
        }
        fitted = OneHotRidge(alpha, size, scores)
        if best is None or _good(fitted) > _good(best):
            best = fitted
    return best


def _good(fitted: OneHotRidge) -> tuple[float, float]:
    """By the measure that chooses networks too; few rows often have the same, then by error."""
    found, monitor = fitted.scores["validation"].metrics, MONITORS["regression"]
    return goodness(found[monitor], monitor), goodness(found["rmse"], "rmse")


def _letters(table: SequenceTable) -> NDArray[np.uint8]:
    """Ids of sequences of one length, (n, L)."""
    ids = table.ids & ~np.uint8(SOFT_BIT)
    return ids.reshape(len(table), -1)


def _places(letters: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Column of every letter at every position, (L, 128); -1 for those that are not there.

    Where all sequences have the same letter there is nothing to learn.
    """
    length = letters.shape[1]
    seen = np.zeros((length, 128), dtype=bool)
    seen[np.arange(length), letters] = True
    seen[seen.sum(axis=1) == 1] = False
    place = np.full(seen.shape, -1, dtype=np.int64)
    place[seen] = np.arange(int(seen.sum()))
    return place


def _columns(place: NDArray[np.int64], table: SequenceTable) -> NDArray[np.int64]:
    """Columns that are one in each row, (n, L); -1 where none is."""
    return place[np.arange(len(place)), _letters(table)]


def _outputs(
    columns: NDArray[np.int64], weights: NDArray[np.floating], bias: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Predictions (n, K); the last row of the weights is that of no column."""
    step = max(1, _BLOCK // max(1, columns.shape[1] * weights.shape[1]))
    parts = [weights[columns[i : i + step]].sum(axis=1) for i in range(0, len(columns), step)]
    return (np.concatenate(parts) + bias).astype(np.float32)


Fit = tuple[float, NDArray[np.floating], NDArray[np.floating]]


def _fits(columns: NDArray[np.int64], size: int, values: NDArray[np.float64]) -> list[Fit]:
    """Penalty, weights (size, K) and bias (K,) of each of `ALPHAS`, without a penalty on the bias.

    The smaller of the two equal systems is solved: one equation a column, or one a row.
    """
    n, mean = len(columns), values.mean(axis=0)
    shares = np.bincount(columns[columns >= 0], minlength=size) / n
    fits: list[Fit] = []
    if size <= n:
        gram, moments = np.zeros((size, size)), np.zeros((size, values.shape[1]))
        for rows in _blocks(n, size):
            ones = _dense(columns[rows], size)
            gram += ones.T @ ones
            moments += ones.T @ (values[rows] - mean)
        gram -= n * np.outer(shares, shares)
        for alpha in ALPHAS:
            weights = np.linalg.solve(gram + alpha * np.eye(size), moments)
            fits.append((alpha, weights, mean - shares @ weights))
        return fits
    centred = _dense(columns, size) - shares.astype(np.float32)
    kernel = (centred @ centred.T).astype(np.float64)
    for alpha in ALPHAS:
        dual = np.linalg.solve(kernel + alpha * np.eye(n), values - mean)
        weights = centred.T @ dual
        fits.append((alpha, weights, mean - shares @ weights))
    return fits


def _blocks(n: int, size: int) -> list[slice]:
    step = max(1, _BLOCK // size)
    return [slice(start, start + step) for start in range(0, n, step)]


def _dense(columns: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Ones and zeros, (n, size)."""
    found = np.zeros((len(columns), size + 1), dtype=np.float32)
    np.put_along_axis(found, columns, 1.0, axis=1)  # -1 is the last column
    return found[:, :size]
