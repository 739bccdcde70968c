"""Attention pooling over the features of a frozen network: its one score vector, learned.

The score vector is trained together with a linear layer on standardised features, by AdamW under a
cosine schedule; the epoch that is best on validation data counts. The linear layer is then thrown
away: what predicts is the same regression on the pooled features as after any other pooling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.data.sampling.batching import LabelledBatches
from helicon.metrics.measured import goodness, measures_of
from helicon.metrics.targets import Target
from helicon.models.parts.heads import AttentionPool, SequenceHead
from helicon.training.adaptation.losses import (
    ClassWeights,
    label_counts,
    loss_weights,
    summed_loss,
)
from helicon.training.adaptation.options import default_epochs
from helicon.training.loop.schedule import learning_rate
from helicon.training.probe.features import TableFeatures

#: Steps on a small table, where the number of epochs is not given.
_FEWEST_STEPS = 200
_WARMUP, _FLOOR, _DECAY = 0.1, 0.01, 0.01
#: Epochs without improvement on validation data after which training stops.
_PATIENCE = 8


@dataclass(frozen=True)
class Rows:
    """Some labelled rows.

    Attributes:
        features: of the table that they stand in.
        rows: which, (n,).
        labels: of them, as from `Target.encode`, (n,) or (n, K).
    """

    features: TableFeatures
    rows: NDArray[np.int64]
    labels: NDArray


@dataclass(frozen=True)
class AttentionSettings:
    """How to learn the score vector.

    Attributes:
        epochs: passes over the training rows; `None` decides by their number.
        lr: highest learning rate.
        batch_size: rows in a batch.
        class_weights: see `loss_weights`.
        monitor: measure on validation data that chooses.
    """

    epochs: float | None
    lr: float
    batch_size: int
    class_weights: ClassWeights
    monitor: str


def learn_attention(
    train: Rows, valid: Rows, target: Target, settings: AttentionSettings, seed: int
) -> AttentionPool:
    """Learn an attention pooling of raw (not standardised) features.

    Args:
        train: rows to learn from.
        valid: rows to choose the epoch on.
        target: what is predicted.
        settings: how.
        seed: of the first weights and of the order of the rows.
    """
    head = _head(train.features, target, seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr, weight_decay=_DECAY)
    labels = target.standardised(train.labels)
    counts = label_counts(target, labels)
    weights = loss_weights(target.problem, counts, len(labels), settings.class_weights)
    rows = train.features.table.take(train.rows)
    batches = LabelledBatches(rows, settings.batch_size, seed)
    each = batches.steps_per_epoch()
    epochs = settings.epochs or max(default_epochs(len(rows)), _FEWEST_STEPS / each)
    total = max(1, round(epochs * each))
    best, found, stale = -math.inf, _raw(head, train.features), 0
    for step in range(1, total + 1):
        rate = learning_rate(step, total, peak=settings.lr, warmup=_WARMUP, floor=_FLOOR)
        optimizer.param_groups[0]["lr"] = rate
        batch = batches.batch(step - 1)
        truth = torch.from_numpy(labels[batch["rows"]]).to(train.features.network.device)
        batch["rows"] = train.rows[batch["rows"]]
        logits = head(*train.features.at(batch))
        loss, count = summed_loss(logits, truth, target.problem, weights)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
        if step % each and step != total:
            continue
        outputs = target.natural(valid.features.through(head, valid.rows))
        metrics = measures_of(target, valid.labels, outputs).metrics
        value = goodness(metrics[settings.monitor], settings.monitor)
        if value > best:
            best, found, stale = value, _raw(head, train.features), 0
        else:
            stale += 1
        if stale >= _PATIENCE:
            break
    return found


class _Standardised(nn.Module):
    """A sequence head over standardised features."""

    center: Tensor
    spread: Tensor

    def __init__(self, head: SequenceHead, center: Tensor, spread: Tensor):
        super().__init__()
        self.head = head
        self.register_buffer("center", center)
        self.register_buffer("spread", spread)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, outputs) of raw features (B, L, D)."""
        return self.head((features - self.center) / self.spread, mask)


def _head(features: TableFeatures, target: Target, seed: int) -> _Standardised:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = SequenceHead(len(features.center), len(target.names), pool="attention")
    return _Standardised(head, features.center, features.spread).to(features.network.device)


def _raw(head: _Standardised, features: TableFeatures) -> AttentionPool:
    """The pooling by itself: a softmax does not see what the mean adds to all scores."""
    pool = AttentionPool(len(features.center)).to(features.network.device)
    trained = head.head.pool
    assert isinstance(trained, AttentionPool)
    with torch.no_grad():
        pool.score.weight.copy_(trained.score.weight / head.spread)
    return pool
