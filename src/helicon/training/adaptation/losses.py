"""Losses of labelled data, and the weights of rare classes in them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Ids
from helicon.errors import InputError
from helicon.metrics.targets import Target
from helicon.models.parts.heads import IGNORE, Problem, task_loss

Batch = dict[str, NDArray[Any]]
#: How rare classes are weighted in the loss: not at all, by 1 / n, or by 1 / sqrt(n).
ClassWeights = Literal["none", "balanced", "sqrt"]


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
