"""Pooling, sequence and token heads, and the losses of the supervised tasks.

Everything takes features `(B, L, D)` and a mask of real positions; padding never changes a result.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from helicon.models.parts.backbone import Features, Mask

Pooling = Literal["mean", "max", "attention", "cls"]
HeadKind = Literal["linear", "mlp"]
Problem = Literal["single_label", "multi_label", "regression"]

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

#: Class id of a position or sequence that has no label.
IGNORE = -100

Pooled = Float[Tensor, "batch channels"]


class MeanPool(nn.Module):
    """Mean over the real positions of each sequence."""

    def forward(self, features: Features, mask: Mask | None = None) -> Pooled:
        """Pool (B, L, D) to (B, D), summed in float32; zeros where no position is real."""
        x = features.float()
        if mask is None:
            return x.mean(1).to(features.dtype)
        total = x.masked_fill(~mask.unsqueeze(-1), 0).sum(1)
        return (total / mask.sum(1, keepdim=True).clamp(min=1)).to(features.dtype)


class ClsPool(MeanPool):
    """Mean over the blank CLS tokens of each sequence (see `blanks`), whose features are given.

    The model that it belongs to puts the tokens behind the letters, and gives their features alone.
    """


class MaxPool(nn.Module):
    """Largest value of each channel over the real positions of each sequence."""

    def forward(self, features: Features, mask: Mask | None = None) -> Pooled:
        """Pool (B, L, D) to (B, D); zeros where no position is real."""
        if mask is None:
            return features.amax(1)
        top = features.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
        return top.masked_fill(~mask.any(1, keepdim=True), 0)


class AttentionPool(nn.Module):
    """Mean over the real positions, weighted by the softmax of one learned score a position."""

    def __init__(self, d_model: int):
        super().__init__()
        self.score = nn.Linear(d_model, 1, bias=False)

    def forward(self, features: Features, mask: Mask | None = None) -> Pooled:
        """Pool (B, L, D) to (B, D), with the softmax in float32; zeros where none is real."""
        if mask is not None:
            features = features.masked_fill(~mask.unsqueeze(-1), 0)
        scores = self.score(features).float()
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(scores.dtype).min)
        return (scores.softmax(1) * features).sum(1).to(features.dtype)


def pooling(how: Pooling, d_model: int) -> nn.Module:
    """The pooling named `how` of features with `d_model` channels."""
    if how == "attention":
        return AttentionPool(d_model)
    return {"mean": MeanPool, "max": MaxPool, "cls": ClsPool}[how]()


def _output_layers(d_model: int, outputs: int, kind: HeadKind, dropout: float) -> nn.Sequential:
    if kind == "linear":
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(d_model, outputs))
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(d_model, d_model),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(d_model, outputs),
    )


class SequenceHead(nn.Module):
    """One row of outputs a sequence.

    Args:
        d_model: channels of the features.
        outputs: classes, labels or regression targets.
        pool: how positions become one vector: `mean`, `max` or `attention`; or `cls`, of features
            of CLS tokens alone.
        kind: `linear`, or `mlp` with one hidden layer of `d_model`.
        dropout: probability, before each linear layer.
    """

    def __init__(
        self,
        d_model: int,
        outputs: int,
        *,
        pool: Pooling = "mean",
        kind: HeadKind = "linear",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.pool = pooling(pool, d_model)
        self.layers = _output_layers(d_model, outputs, kind, dropout)

    def forward(self, features: Features, mask: Mask | None = None) -> Tensor:
        """Map features (B, L, D) to logits (B, outputs)."""
        return self.layers(self.pool(features, mask))


class TokenHead(nn.Module):
    """One row of outputs a position.

    Args:
        d_model: channels of the features.
        outputs: classes, labels or regression targets.
        kind: `linear`, or `mlp` with one hidden layer of `d_model`.
        dropout: probability, before each linear layer.
    """

    def __init__(
        self, d_model: int, outputs: int, *, kind: HeadKind = "linear", dropout: float = 0.0
    ):
        super().__init__()
        self.layers = _output_layers(d_model, outputs, kind, dropout)

    def forward(self, features: Features) -> Tensor:
        """Map features (B, L, D) to logits (B, L, outputs)."""
        return self.layers(features)


def task_loss(
    logits: Float[Tensor, "*rows outputs"],
    labels: Num[Tensor, "*labels"],
    problem: Problem,
    class_weights: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, ""]:
    """Mean loss over what is labelled, in float32 whatever the precision of the logits.

    The rows are sequences (B,) or positions (B, L). Where nothing at all is labelled the loss is
    zero, with zero gradients.

    Args:
        logits: (..., outputs).
        labels: `single_label`: class ids (...), `IGNORE` where there is none. `multi_label`:
            0 or 1 for every label (..., outputs), NaN or negative where unknown. `regression`:
            values (..., outputs), or (...) with one output; NaN where unknown.
        problem: cross-entropy, binary cross-entropy, or squared error.
        class_weights: (outputs,). `single_label`: weight of each class, the mean is weighted.
            `multi_label`: weight of each label's positives. `regression` takes none.

    Returns:
        Scalar loss.
    """
    logits = logits.float()
    if problem == "single_label":
        return _cross_entropy(logits, labels, class_weights)
    if labels.ndim == logits.ndim - 1:
        labels = labels.unsqueeze(-1)
    labels = labels.float()
    if problem == "multi_label":
        known = labels >= 0
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.where(known, 0), pos_weight=class_weights, reduction="none"
        )
    else:
        known = ~labels.isnan()
        losses = (logits - labels.where(known, 0)).square()
    return losses.where(known, 0).sum() / known.sum().clamp(min=1)


def _cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean as in `F.cross_entropy`, but zero rather than NaN where nothing is labelled."""
    labels = labels.long()
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), weights, ignore_index=IGNORE, reduction="sum"
    )
    known = labels != IGNORE
    count = (
        known.sum() if weights is None else weights[labels.where(known, 0)].where(known, 0).sum()
    )
    return total / count.where(count > 0, 1)
