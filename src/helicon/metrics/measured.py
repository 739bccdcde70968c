"""From the outputs of a network for a table to its measures and a file of predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.files import write_aside
from helicon.metrics import measures as metrics
from helicon.metrics.targets import Target
from helicon.models.parts.heads import Problem

Outputs = NDArray[np.float32]

#: What chooses the best checkpoint of each problem, on validation data.
MONITORS: dict[Problem, str] = {
    "single_label": "mcc",
    "multi_label": "mean_auroc",
    "regression": "spearman",
}
#: What else may choose it.
OTHER_MONITORS: dict[Problem, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1"),
    "multi_label": ("mean_average_precision",),
    "regression": ("pearson", "rmse", "r2"),
}


def choose_monitor(asked: str | None, usual: str, others: Sequence[str]) -> str:
    """The measure that chooses checkpoints: the one asked for, if it exists, or the usual one.

    Raises:
        InputError: there is no such measure; names those that there are.
    """
    known = (usual, *others, "loss")
    if asked is not None and asked not in known:
        raise InputError(f"monitor: {asked!r} is not measured here; choose {', '.join(known)}")
    return asked or usual


def direction(monitor: str) -> Literal["min", "max"]:
    """Whether a smaller or a larger value of a measure is better."""
    return "min" if monitor in ("loss", "rmse") else "max"


def goodness(value: float, monitor: str) -> float:
    """A number that is larger for better values of a measure; NaN is the worst."""
    if math.isnan(value):
        return -math.inf
    return value if direction(monitor) == "max" else -value


@dataclass(frozen=True)
class Measures:
    """What was measured on one part of the data.

    Attributes:
        metrics: every measure by name; NaN where there is nothing to measure.
        confusion: counts (C, C) of classes, rows are the truth; `None` for other problems.
        skipped: labels without an AUROC, because they are always or never true here.
    """

    metrics: dict[str, float]
    confusion: NDArray[np.int64] | None = None
    skipped: list[str] = field(default_factory=list)

    @property
    def main(self) -> dict[str, float]:
        """The measures of the whole, without those of single classes, labels or columns."""
        return {name: value for name, value in self.metrics.items() if "/" not in name}

    def as_dict(self) -> dict[str, object]:
        """Plain values for a JSON file."""
        found: dict[str, object] = dict(self.metrics)
        if self.confusion is not None:
            found["confusion"] = self.confusion.tolist()
        if self.skipped:
            found["skipped"] = self.skipped
        return found

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Measures:
        """From what `as_dict` gave, read back from a JSON file, in which NaN is null."""
        numbers = {k: v for k, v in values.items() if k not in ("confusion", "skipped")}
        metrics = {k: math.nan if v is None else v for k, v in numbers.items()}
        matrix = values.get("confusion")
        confusion = None if matrix is None else np.array(matrix, dtype=np.int64)
        return cls(metrics, confusion, list(values.get("skipped", [])))


def measures_of(target: Target, truth: NDArray, outputs: Outputs) -> Measures:
    """Measure the outputs for all rows at once.

    Args:
        target: what is predicted.
        truth: as from `target.encode`: (n,) class ids, or (n, K).
        outputs: of the network in the unit of the data, (n, K): logits, or numbers.
    """
    loss = _loss(target, truth, outputs)
    if target.problem == "multi_label":
        found = metrics.multi_label_metrics(truth, outputs, target.names)
        return Measures({"loss": loss, **found.metrics}, skipped=found.skipped)
    if target.problem == "regression":
        return Measures({"loss": loss, **metrics.regression_metrics(truth, outputs, target.names)})
    matrix = metrics.confusion_matrix(truth, outputs.argmax(axis=1), len(target.names))
    found_metrics = {"loss": loss, **metrics.classification_metrics(matrix, target.names)}
    if len(target.names) == 2:
        found_metrics |= metrics.binary_metrics(truth, outputs[:, 1] - outputs[:, 0])
    return Measures(found_metrics, confusion=matrix)


def _loss(target: Target, truth: NDArray, outputs: Outputs) -> float:
    """Mean loss in nats (classes, labels) or squared units of standard deviation (numbers)."""
    outputs = outputs.astype(np.float64)
    if target.problem == "single_label":
        chosen = np.take_along_axis(outputs, truth[:, None], axis=1)[:, 0]
        return float((np.logaddexp.reduce(outputs, axis=1) - chosen).mean())
    if target.problem == "multi_label":
        return float((np.logaddexp(0, outputs) - truth * outputs).mean())
    return float(np.mean(((truth - outputs) / np.array(target.scale)) ** 2))


def probabilities(target: Target, outputs: Outputs) -> Outputs:
    """Probabilities (n, K) of classes or labels; numbers stay as they are."""
    if target.problem == "regression":
        return outputs
    if target.problem == "multi_label":
        return 1 / (1 + np.exp(-outputs.clip(-80, 80)))
    exp = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def predictions(
    table: SequenceTable, target: Target, outputs: Outputs, truth: NDArray | None
) -> pl.DataFrame:
    """One row a sequence, in the order of the file.

    Args:
        table: the sequences.
        target: what is predicted.
        outputs: logits or numbers, (n, K).
        truth: labels as from `target.encode`, or `None` where there are none.

    Returns:
        Columns `row` (from 0), `line` or `row_in_file` (where it stands in the file), `name` (if
        the file names its sequences), `length`, then `label`, `prediction` and
        `probability/CLASS` (classes), or `label/NAME` and `probability/NAME` (labels), or
        `label/NAME` and `prediction/NAME` (numbers).
    """
    place = "line" if table.unit == "line" else "row_in_file"
    columns: dict[str, NDArray | list[str]] = {"row": np.arange(len(table)), place: table.lines}
    if table.names is not None:
        columns["name"] = table.names
    columns["length"] = table.lengths
    values = probabilities(target, outputs)
    if target.problem == "single_label":
        names = np.array(target.names)
        if truth is not None:
            columns["label"] = names[truth]
        columns["prediction"] = names[outputs.argmax(axis=1)]
    elif truth is not None:
        columns |= {f"label/{name}": truth[:, k] for k, name in enumerate(target.names)}
    kind = "prediction" if target.problem == "regression" else "probability"
    columns |= {f"{kind}/{name}": values[:, k] for k, name in enumerate(target.names)}
    return pl.DataFrame(columns)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all."""
    with write_aside(path) as aside:
        frame.write_parquet(aside)
