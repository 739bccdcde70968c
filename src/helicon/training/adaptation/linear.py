"""Linear probe: a regression on the features of a frozen backbone, which are computed once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from helicon.data.tables.tables import SequenceTable
from helicon.forward.outputs import Outputs, table_outputs
from helicon.metrics.measured import Measures, goodness, measures_of
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconForSequenceClassification
from helicon.training.adaptation.adapt import Supervised, last_layer, set_linear

#: Inverse strengths of the L2 penalty that are tried.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_ITERATIONS = 1000

#: Features (n, D) of rows or residues, and their labels as from `Target.encode`.
Examples = tuple[NDArray[np.float32], NDArray]


@dataclass(frozen=True)
class Probe:
    """A fitted probe: a linear map of raw (not standardised) pooled features.

    Like a network in training, it gives numbers of a regression in standard units.

    Attributes:
        weight: (K, D).
        bias: (K,).
        strength: inverse of the L2 penalty, chosen on validation data.
        valid: measures on the validation data.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    strength: float
    valid: Measures

    def outputs(self, features: NDArray[np.float32]) -> Outputs:
        """Logits or standardised numbers (n, K) of features (n, D)."""
        return (features @ self.weight.T + self.bias).astype(np.float32)

    def install(self, model: Supervised) -> None:
        """Write the probe into the linear head of a model."""
        set_linear(last_layer(model), self.weight, self.bias)


def pooled_features(
    model: HeliconForSequenceClassification,
    table: SequenceTable,
    batch_size: int,
    *,
    both_strands: bool = False,
) -> NDArray[np.float32]:
    """What the head of a model sees of every row, pooled as the model pools; (n, D)."""
    layers, model.classifier.layers = model.classifier.layers, nn.Sequential()
    try:
        return table_outputs(model, table, batch_size, both_strands=both_strands)
    finally:
        model.classifier.layers = layers


def fit_probe(
    train: Examples,
    valid: Examples,
    target: Target,
    *,
    balanced: bool = False,
    monitor: str,
) -> Probe:
    """Fit a logistic or ridge regression for each of `STRENGTHS`; keep the best on validation.

    Args:
        train: features (n, D) and labels as from `target.encode`.
        valid: likewise.
        target: what is predicted.
        balanced: give all classes the same total weight.
        monitor: measure to choose by.
    """
    center, spread = train[0].mean(axis=0), train[0].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = ((train[0] - center) / spread).astype(np.float64)
    fit = _FITS[target.problem]
    probes = []
    for strength in STRENGTHS:
        weight, bias = fit(scaled, train[1], strength, target, balanced)
        weight = weight / spread
        bias = bias - weight @ center
        outputs = target.natural((valid[0] @ weight.T + bias).astype(np.float32))
        probes.append(Probe(weight, bias, strength, measures_of(target, valid[1], outputs)))
    return max(probes, key=lambda probe: goodness(probe.valid.metrics[monitor], monitor))


Fitted = tuple[NDArray[np.float64], NDArray[np.float64]]


def _classes(x: NDArray, y: NDArray, strength: float, target: Target, balanced: bool) -> Fitted:
    """Weights of the classes; two classes share one direction, half each way.

    A class without examples (of residues, there may be such) gets the smoothed log odds of none.
    """
    model = _logistic(x, y, strength, balanced)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = np.zeros((len(target.names), x.shape[1]))
    bias = np.full(len(target.names), -np.log(len(y) + 1))
    weight[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weight, bias


def _labels(x: NDArray, y: NDArray, strength: float, target: Target, balanced: bool) -> Fitted:
    """One regression a label; a label that is always or never true gets its smoothed log odds."""
    weight = np.zeros((y.shape[1], x.shape[1]))
    bias = np.log((y.sum(axis=0) + 1) / (len(y) - y.sum(axis=0) + 1))
    for k in range(y.shape[1]):
        if y[:, k].min() != y[:, k].max():
            model = _logistic(x, y[:, k], strength, balanced)
            weight[k], bias[k] = model.coef_[0], model.intercept_[0]
    return weight, bias


def _numbers(x: NDArray, y: NDArray, strength: float, target: Target, balanced: bool) -> Fitted:
    model = Ridge(alpha=1 / strength).fit(x, target.standardised(y))
    return model.coef_.reshape(y.shape[1], -1), np.reshape(model.intercept_, -1)


_FITS: dict[str, Callable[[NDArray, NDArray, float, Target, bool], Fitted]] = {
    "single_label": _classes,
    "multi_label": _labels,
    "regression": _numbers,
}


def _logistic(x: NDArray, y: NDArray, strength: float, balanced: bool) -> LogisticRegression:
    weight = "balanced" if balanced else None
    model = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=weight)
    with warnings.catch_warnings():  # a weak penalty may not settle; validation data decides
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
