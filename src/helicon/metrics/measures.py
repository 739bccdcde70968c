"""Measures of predictions, each computed once from everything that was predicted.

Nothing here is ever averaged over batches or ranks: classification is counted into one confusion
matrix, the rest takes all predictions. The results are therefore the same for any batch size.

Conventions, the same as scikit-learn's: `mcc` is Gorodkin's multiclass R_K, zero where it is
undefined; precision, recall and F1 of a class without a prediction or an example are zero; macro F1
averages over the classes that occur in the truth or in the predictions. What cannot be measured at
all (the AUROC of a label with one value, the correlation with a constant truth) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.floating]


def confusion_matrix(truth: NDArray, predicted: NDArray, classes: int) -> Counts:
    """Count pairs of true and predicted class.

    Matrices of parts add up to the matrix of the whole.

    Args:
        truth: class ids of any shape; negative ids (unlabelled positions) are left out.
        predicted: class ids of the same shape.
        classes: number of classes C.

    Returns:
        Counts (C, C): rows are the true class, columns the predicted one.
    """
    truth, predicted = truth.ravel(), predicted.ravel()
    known = truth >= 0
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def mcc(matrix: Counts) -> float:
    """Matthews correlation coefficient for any number of classes.

    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
    2004. Computed in whole numbers, so that it is exact for a genome of positions.

    Args:
        matrix: confusion matrix (C, C), as from `confusion_matrix`.
    """
    true = [int(n) for n in matrix.sum(axis=1)]
    predicted = [int(n) for n in matrix.sum(axis=0)]
    total, right = sum(true), int(np.trace(matrix))
    covariance = right * total - sum(t * p for t, p in zip(true, predicted, strict=True))
    spread_true = total * total - sum(t * t for t in true)
    spread_predicted = total * total - sum(p * p for p in predicted)
    if not spread_true or not spread_predicted:
        return 0.0
    return covariance / (math.sqrt(spread_true) * math.sqrt(spread_predicted))


def accuracy(matrix: Counts) -> float:
    """Share of right answers in a confusion matrix (C, C); NaN where it is empty."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else math.nan


@dataclass(frozen=True)
class PerClass:
    """Measures of each class, every array of shape (C,)."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts


def per_class(matrix: Counts) -> PerClass:
    """Precision, recall, F1 and number of examples of each class of a confusion matrix (C, C)."""
    right = np.diagonal(matrix).astype(float)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return PerClass(
        precision=right / np.maximum(predicted, 1),
        recall=right / np.maximum(true, 1),
        f1=2 * right / np.maximum(true + predicted, 1),
        support=true,
    )


def macro_f1(matrix: Counts) -> float:
    """Mean F1 over the classes that occur in the truth or in the predictions."""
    occurs = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    return float(per_class(matrix).f1[occurs].mean()) if occurs.any() else math.nan


def auroc(truth: NDArray, scores: Floats) -> float:
    """Area under the receiver operating characteristic, ties counted as half.

    Args:
        truth: 0 or 1 for each example, (n,).
        scores: larger means more likely 1, (n,).

    Returns:
        The area, or NaN where one of the two values does not occur.
    """
    positive = truth.astype(bool)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return math.nan
    above = ranks(scores)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / n_positive / n_negative)


def average_precision(truth: NDArray, scores: Floats) -> float:
    """Area under the precision-recall steps, without interpolation; NaN without a positive.

    Args:
        truth: 0 or 1 for each example, (n,).
        scores: larger means more likely 1, (n,).
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order].astype(bool))
    if not len(hits) or not hits[-1]:
        return math.nan
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits, taken = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    return float((np.diff(hits, prepend=0) * (hits / taken)).sum() / hits[-1])


def ranks(values: NDArray) -> Floats:
    """Ranks from 1, (n,); equal values share the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]


def pearson(truth: Floats, predicted: Floats) -> float:
    """Linear correlation of two arrays (n,).

    Returns:
        NaN where the truth is constant; zero where only the prediction is.
    """
    if not len(truth) or truth.min() == truth.max():
        return math.nan
    if predicted.min() == predicted.max():
        return 0.0
    x, y = (_standardised(np.asarray(v, dtype=np.float64)) for v in (truth, predicted))
    return float(np.clip(x @ y, -1, 1))


def _standardised(values: Floats) -> Floats:
    """Centred, of length one. Scaled first, so that squares neither vanish nor overflow."""
    centred = values - values.mean()
    centred = centred / np.abs(centred).max()
    return centred / np.linalg.norm(centred)


def spearman(truth: Floats, predicted: Floats) -> float:
    """Rank correlation of two arrays (n,); undefined cases as in `pearson`."""
    return pearson(ranks(truth), ranks(predicted))


def rmse(truth: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean((truth.astype(np.float64) - predicted) ** 2)))


def r2(truth: Floats, predicted: Floats) -> float:
    """Share of the variance explained; negative where the mean predicts better."""
    truth = truth.astype(np.float64)
    spread = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((truth - predicted) ** 2).sum() / spread) if spread else math.nan


def classification_metrics(matrix: Counts, classes: Sequence[str]) -> dict[str, float]:
    """Everything that follows from a confusion matrix.

    Args:
        matrix: (C, C), rows are the truth.
        classes: name of each class.

    Returns:
        `mcc`, `accuracy`, `macro_f1`, and `precision/NAME`, `recall/NAME`, `f1/NAME`,
        `support/NAME` of every class.
    """
    found = {"mcc": mcc(matrix), "accuracy": accuracy(matrix), "macro_f1": macro_f1(matrix)}
    each = per_class(matrix)
    for i, name in enumerate(classes):
        found |= {
            f"precision/{name}": float(each.precision[i]),
            f"recall/{name}": float(each.recall[i]),
            f"f1/{name}": float(each.f1[i]),
            f"support/{name}": int(each.support[i]),
        }
    return found


def binary_metrics(truth: NDArray, scores: Floats) -> dict[str, float]:
    """`auroc` and `average_precision` of one yes-or-no label, both arrays (n,)."""
    return {"auroc": auroc(truth, scores), "average_precision": average_precision(truth, scores)}


@dataclass(frozen=True)
class MultiLabel:
    """Measures of many yes-or-no labels.

    Attributes:
        metrics: `mean_auroc` and `mean_average_precision` over the labels that can be measured,
            `labels_measured`, and `auroc/NAME` of each of them.
        skipped: names of the labels that are always or never true, which have no AUROC.
    """

    metrics: dict[str, float]
    skipped: list[str]


def multi_label_metrics(truth: Floats, scores: Floats, labels: Sequence[str]) -> MultiLabel:
    """AUROC and average precision of each label, over all examples.

    Args:
        truth: 0, 1, or NaN where a label is not known, (n, K).
        scores: larger means more likely 1, (n, K).
        labels: names of the K labels.
    """
    areas, precisions, skipped = {}, [], []
    for k, name in enumerate(labels):
        known = ~np.isnan(truth[:, k])
        area = auroc(truth[known, k], scores[known, k])
        if math.isnan(area):
            skipped.append(name)
            continue
        areas[f"auroc/{name}"] = area
        precisions.append(average_precision(truth[known, k], scores[known, k]))
    means = {
        "mean_auroc": float(np.mean(list(areas.values()))) if areas else math.nan,
        "mean_average_precision": float(np.mean(precisions)) if precisions else math.nan,
        "labels_measured": len(areas),
    }
    return MultiLabel(means | areas, skipped)


def regression_metrics(
    truth: Floats, predicted: Floats, targets: Sequence[str]
) -> dict[str, float]:
    """Correlations and errors of predicted numbers.

    Args:
        truth: values, NaN where not known, (n, K).
        predicted: values (n, K).
        targets: names of the K columns.

    Returns:
        `pearson`, `spearman`, `rmse` and `r2`; with several columns their means over the columns,
        and `pearson/NAME` and so on of each.
    """
    found: dict[str, float] = {}
    measures = {"pearson": pearson, "spearman": spearman, "rmse": rmse, "r2": r2}
    known = ~np.isnan(truth)
    for measure, compute in measures.items():
        values = [
            compute(truth[known[:, k], k], predicted[known[:, k], k]) for k in range(len(targets))
        ]
        found[measure] = float(np.mean(values))
        if len(targets) > 1:
            found |= {f"{measure}/{t}": v for t, v in zip(targets, values, strict=True)}
    return found


class RegressionSums:
    """Sums from which `pearson`, `rmse` and `r2` of any number of values follow, exactly enough.

    The values are taken relative to the first ones added, so that a large mean does not drown a
    small spread.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin = 0.0
        self.sums = np.zeros(6)

    def add(self, truth: Floats, predicted: Floats) -> None:
        """Add values and their predictions, both (n,)."""
        if not len(truth):
            return
        if not self.count:
            self.origin = float(truth.mean())
        x = truth.astype(np.float64) - self.origin
        y = predicted.astype(np.float64) - self.origin
        self.count += len(x)
        self.sums += [x.sum(), y.sum(), x @ x, y @ y, x @ y, ((x - y) ** 2).sum()]

    def metrics(self) -> dict[str, float]:
        """`pearson`, `rmse` and `r2` of everything added; undefined cases as in `pearson`."""
        if not self.count:
            return dict.fromkeys(("pearson", "rmse", "r2"), math.nan)
        x, y, xx, yy, xy, squared = (self.sums / self.count).tolist()
        spread_x, spread_y = max(xx - x * x, 0.0), max(yy - y * y, 0.0)
        if not spread_x:
            correlation = math.nan
        else:
            both = math.sqrt(spread_x) * math.sqrt(spread_y)
            correlation = (xy - x * y) / both if both else 0.0
        return {
            "pearson": correlation,
            "rmse": math.sqrt(squared),
            "r2": 1 - squared / spread_x if spread_x else math.nan,
        }


@dataclass(frozen=True)
class Summary:
    """One measure over several seeds: mean, sample standard deviation, and 95 % interval."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Mean over seeds, its spread, and a bootstrap interval of the mean."""
    low, high = bootstrap_interval(values)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), sd, low, high, len(values))


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`, the same for the same seed.

    Args:
        values: one value a seed, (n,).
        level: probability that the interval is meant to cover.
        resamples: draws of n values with replacement.
        seed: of the draws.

    Returns:
        Lower and upper end; both NaN where there are fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.asarray(values, dtype=np.float64), size=(resamples, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
