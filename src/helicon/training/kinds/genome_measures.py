"""Measures of a token model over stretches of a genome, streamed: any length in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from helicon.data.genome.intervals import Intervals
from helicon.forward.outputs import Outputs, position_outputs, training_tiling
from helicon.metrics import measures as metrics
from helicon.metrics.measured import Measures, probabilities
from helicon.metrics.targets import Target
from helicon.models.parts.heads import IGNORE
from helicon.training.kinds.labelled_genome import LabelledGenome

#: What may choose the checkpoint where measures are streamed: the usual, and others.
CLASS_MONITORS = ("mcc", ("accuracy", "macro_f1"))
VALUE_MONITORS = ("pearson", ("rmse", "r2"))
_RUNS = {
    "chrom": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "label": pl.String,
    "prediction": pl.String,
    "probability": pl.Float64,
}


def measure_genome(
    model: nn.Module,
    data: LabelledGenome,
    intervals: Intervals,
    target: Target,
    *,
    both_strands: bool = False,
    watch: Callable[[int, int, Outputs, NDArray], None] | None = None,
) -> Measures:
    """Measure a token model on every labelled position of some intervals, each once.

    Args:
        model: with a token head, in the unit of training.
        data: genome, annotation and window sizes.
        intervals: where to measure.
        target: what is predicted.
        both_strands: average the predictions for the two strands.
        watch: called with the chromosome and the first position of every tile, its outputs (n, K)
            in the unit of the data and its labels (n,).
    """
    tally: ClassTally | _Values = (
        ClassTally(target) if data.annotation.kind == "classes" else _Values(target)
    )
    tiling = training_tiling(model, data.length, data.context)
    opposite = data.opposite if both_strands else None
    for tile in position_outputs(model, data.genome, intervals, tiling, opposite=opposite):
        outputs = target.natural(tile.values.cpu().numpy())
        labels = data.annotation.windows([tile.chrom], [tile.start], len(outputs))[0]
        tally.add(outputs, labels)
        if watch is not None:
            watch(tile.chrom, tile.start, outputs, labels)
    return tally.scores()


class ClassTally:
    """Confusion matrix and loss of everything added.

    Args:
        target: classes.
    """

    def __init__(self, target: Target):
        self.target = target
        self.matrix = np.zeros((len(target.names),) * 2, dtype=np.int64)
        self.loss = 0.0

    def add(self, outputs: Outputs, labels: NDArray) -> None:
        """Add outputs (..., C) and classes (...), `IGNORE` where there is none."""
        known = labels != IGNORE
        truth, found = labels[known].astype(np.int64), outputs[known].astype(np.float64)
        chosen = np.take_along_axis(found, truth[:, None], axis=1)[:, 0]
        self.loss += float((np.logaddexp.reduce(found, axis=1) - chosen).sum())
        self.matrix += metrics.confusion_matrix(truth, found.argmax(axis=1), len(self.matrix))

    def scores(self) -> Measures:
        """Measures of everything added, all positions alike."""
        total = int(self.matrix.sum())
        loss = self.loss / total if total else math.nan
        found = metrics.classification_metrics(self.matrix, self.target.names)
        return Measures({"loss": loss, **found}, confusion=self.matrix)


class _Values:
    """Correlation and errors of everything added."""

    def __init__(self, target: Target):
        self.target = target
        self.sums = metrics.RegressionSums()

    def add(self, outputs: Outputs, labels: NDArray) -> None:
        known = ~np.isnan(labels)
        self.sums.add(labels[known], outputs[..., 0][known])

    def scores(self) -> Measures:
        found = self.sums.metrics()
        return Measures({"loss": (found["rmse"] / self.target.scale[0]) ** 2, **found})


@dataclass
class Runs:
    """Predicted classes along the genome, as stretches of one class; give `add` as `watch`.

    Attributes:
        names: of the chromosomes.
        target: what is predicted.
        parts: the stretches of each tile.
    """

    names: list[str]
    target: Target
    parts: list[pl.DataFrame]

    def add(self, chrom: int, start: int, outputs: Outputs, labels: NDArray) -> None:
        """Take one tile; see `genome_scores`."""
        values = probabilities(self.target, outputs)
        best, top = values.argmax(axis=1), values.max(axis=1).astype(np.float64)
        change = (labels[1:] != labels[:-1]) | (best[1:] != best[:-1])
        first = np.flatnonzero(np.append(True, change))
        size = np.diff(np.append(first, len(labels)))
        columns = {
            "chrom": np.full(len(first), chrom),
            "start": start + first,
            "end": start + first + size,
            "label": labels[first],
            "prediction": best[first],
            "probability": np.add.reduceat(top, first) / size,
        }
        self.parts.append(pl.DataFrame(columns))

    def frame(self) -> pl.DataFrame:
        """All stretches in order, neighbours with one label and one prediction joined.

        Returns:
            Columns `chrom`, `start`, `end` (0-based, half-open), `label` (null where there is
            none), `prediction`, and `probability` (mean probability of the prediction).
        """
        joined = _joined(pl.concat(self.parts))
        classes = dict(enumerate(self.target.names))
        return joined.with_columns(
            pl.col("chrom").replace_strict(dict(enumerate(self.names))),
            pl.col("label").replace_strict(classes, default=None),
            pl.col("prediction").replace_strict(classes),
        ).cast(_RUNS)  # type: ignore[arg-type]


def _joined(frame: pl.DataFrame) -> pl.DataFrame:
    """Join neighbouring rows that touch and agree; probabilities are averaged over positions."""
    same = pl.lit(True)
    for name in ("chrom", "label", "prediction"):
        same &= pl.col(name) == pl.col(name).shift()
    same &= pl.col("start") == pl.col("end").shift()
    length = pl.col("end") - pl.col("start")
    return (
        frame.with_columns(run=(~same.fill_null(False)).cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("chrom", "start", "label", "prediction").first(),
            pl.col("end").last(),
            probability=(pl.col("probability") * length).sum() / length.sum(),
        )
        .select("chrom", "start", "end", "label", "prediction", "probability")
    )
