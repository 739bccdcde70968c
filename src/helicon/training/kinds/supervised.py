"""Supervised tasks for the fit loop: labelled sequences, and labelled positions of a genome."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import DNA, Ids
from helicon.data.genome.intervals import Intervals
from helicon.data.sampling.batching import LabelledBatches
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.forward.outputs import table_outputs
from helicon.metrics.scores import (
    MONITORS,
    OTHER_MONITORS,
    Scores,
    choose_monitor,
    direction,
    score,
)
from helicon.metrics.targets import Target
from helicon.models.parts.heads import IGNORE, Problem, task_loss
from helicon.training.kinds.genome_scores import Runs, genome_scores
from helicon.training.kinds.labelled_genome import LabelledGenome

Batch = dict[str, NDArray[Any]]
#: How rare classes are weighted in the loss: not at all, by 1 / n, or by 1 / sqrt(n).
ClassWeights = Literal["none", "balanced", "sqrt"]
#: What may choose the checkpoint where measures are streamed (positions): the usual, and others.
CLASS_MONITORS = ("mcc", ("accuracy", "macro_f1"))
_GENOME_MONITORS: dict[Problem, tuple[str, tuple[str, ...]]] = {
    "single_label": CLASS_MONITORS,
    "regression": ("pearson", ("rmse", "r2")),
}


def loss_weights(problem: Problem, counts: NDArray, total: int, how: ClassWeights) -> Tensor | None:
    """Weights of classes, or of the positives of each label, in the loss.

    Args:
        problem: what is predicted.
        counts: examples of each class, or positives of each label, in training; (C,). A class
            without any gets the weight one.
        total: number of examples.
        how: `balanced` gives all classes (or the positives and negatives of a label) the same
            total weight, `sqrt` goes half of that way.

    Raises:
        InputError: weights are asked for a regression, or `how` is not known.
    """
    if how == "none":
        return None
    if how not in ("balanced", "sqrt") or problem == "regression":
        raise InputError(
            f"class weights {how!r} do not exist for this task; choose none, or for classes and "
            "labels balanced or sqrt"
        )
    power = 1.0 if how == "balanced" else 0.5
    if problem == "multi_label":
        weights = ((total - counts) / np.maximum(counts, 1)) ** power
    else:
        weights = np.maximum(counts, 1.0) ** -power
        weights *= counts.sum() / (weights * counts).sum()
    weights = np.where((counts > 0) & (counts < total), weights, 1.0)
    return torch.from_numpy(weights.astype(np.float32))


def summed_loss(
    logits: Tensor, labels: Tensor, problem: Problem, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss summed over all labels, and their number (the sum of their class weights)."""
    if weights is not None:
        weights = weights.to(logits.device)
    mean = task_loss(logits, labels, problem, weights)
    if problem != "single_label":
        count = (labels == labels).sum().float()
    elif weights is None:
        count = (labels != IGNORE).sum().float()
    else:
        known = labels != IGNORE
        count = (weights[labels.where(known, 0)] * known).sum()
    return mean * count, count


class SequenceTask:
    """Whole sequences with one label each (or several).

    Attributes:
        monitor: the measure that chooses the best checkpoint.
        mode: its direction.
        target: what is predicted.
        classes: counts of the training data, of classes or of positives.
    """

    def __init__(
        self,
        train: SequenceTable,
        valid: SequenceTable,
        target: Target,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        reverse_complement: bool = False,
        both_strands: bool = False,
        weights: ClassWeights = "none",
        monitor: str | None = None,
    ):
        self.target = target
        problem = target.problem
        self.monitor = choose_monitor(monitor, MONITORS[problem], OTHER_MONITORS[problem])
        self.mode = direction(self.monitor)
        self.accumulate = accumulate
        self.batches = LabelledBatches(
            train, batch_size, seed, reverse_complement=reverse_complement
        )
        self.labels = target.standardised(target.encode(train))
        counts = label_counts(target, self.labels)
        self.weights = loss_weights(target.problem, counts, len(train), weights)
        self.valid = valid
        self.truth = target.encode(valid)
        self.batch_size = batch_size
        self.both_strands = both_strands

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which every row is seen about once."""
        return max(1, round(self.batches.steps_per_epoch(world) / self.accumulate))

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        found = self.batches.batch((step - 1) * self.accumulate + micro, rank, world)
        return inputs(found["ids"], found["mask"], self.labels[found["rows"]])

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        return labelled_loss(model, batch, self.target.problem, self.weights)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The main measures on all of the validation data."""
        return self.score(model, self.valid, self.truth)[0].main

    def score(
        self, model: nn.Module, table: SequenceTable, truth: NDArray
    ) -> tuple[Scores, NDArray[np.float32]]:
        """Measures of, and outputs for, a table; the model is in the unit of training."""
        outputs = table_outputs(model, table, 2 * self.batch_size, both_strands=self.both_strands)
        outputs = self.target.natural(outputs)
        return score(self.target, truth, outputs), outputs


class GenomeTask:
    """Positions of a genome with a class or a value each.

    Attributes:
        monitor: the measure that chooses the best checkpoint.
        mode: its direction.
        target: what is predicted.
    """

    def __init__(
        self,
        data: LabelledGenome,
        target: Target,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        reverse_complement: bool = True,
        both_strands: bool = False,
        weights: ClassWeights = "none",
        monitor: str | None = None,
    ):
        self.data = data
        self.target = target
        usual, others = _GENOME_MONITORS[target.problem]
        self.monitor = choose_monitor(monitor, usual, others)
        self.mode = direction(self.monitor)
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.reverse_complement = reverse_complement
        self.both_strands = both_strands
        self.weights = None
        if weights != "none":
            counts = data.class_counts()
            self.weights = loss_weights(target.problem, counts, int(counts.sum()), weights)

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which as many positions are seen as training has."""
        positions = int(self.data.train.lengths.sum())
        a_step = self.data.length * self.batch_size * self.accumulate * world
        return max(1, round(positions / a_step))

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        ids, labels = self.data.draw(
            self.batch_size, self.seed, number, rank, reverse_complement=self.reverse_complement
        )
        if self.target.problem == "regression":
            labels = self.target.standardised(labels[..., None]).astype(np.float32)
        return inputs(ids, ids != DNA.pad_id, labels)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        return labelled_loss(model, batch, self.target.problem, self.weights)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The main measures on all of the validation stretches."""
        return self.score(model, self.data.valid).main

    def score(self, model: nn.Module, intervals: Intervals, runs: Runs | None = None) -> Scores:
        """Measures over some stretches; predictions go to `runs`, if given."""
        return genome_scores(
            model,
            self.data,
            intervals,
            self.target,
            both_strands=self.both_strands,
            watch=None if runs is None else runs.add,
        )


def inputs(ids: Ids, mask: NDArray[np.bool_], labels: NDArray) -> Batch:
    """A batch; without a mask where nothing is padded, which is faster."""
    batch: Batch = {"input_ids": ids, "labels": labels}
    return batch if mask.all() else batch | {"attention_mask": mask}


def label_counts(target: Target, labels: NDArray) -> NDArray:
    """Examples of each class, or of each label's positives; ones of a regression."""
    if target.problem == "single_label":
        return np.bincount(labels[labels >= 0].ravel(), minlength=len(target.names))
    if target.problem == "multi_label":
        return (labels == 1).sum(axis=0)
    return np.ones(len(target.names))


def labelled_loss(
    model: nn.Module, batch: dict[str, Tensor], problem: Problem, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss of a batch, summed over its labels, and their number; see `summed_loss`."""
    mask = batch.get("attention_mask")
    out = model(input_ids=batch["input_ids"].long(), attention_mask=mask)
    return summed_loss(out.logits, batch["labels"], problem, weights)
