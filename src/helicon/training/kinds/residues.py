"""Residue tasks: a class for every residue of a sequence, padded batches of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import SOFT_BIT, Ids
from helicon.data.sampling.token_batches import TokenPlan
from helicon.data.tables.residue_labels import LABELS, ResidueTable
from helicon.data.tables.tables import SequenceTable
from helicon.forward.outputs import Outputs, evaluating, logits
from helicon.metrics.scores import Scores, choose_monitor, direction, probabilities
from helicon.metrics.targets import Target
from helicon.models.parts.heads import IGNORE
from helicon.training.kinds.genome_scores import ClassTally
from helicon.training.kinds.supervised import (
    CLASS_MONITORS,
    Batch,
    ClassWeights,
    inputs,
    label_counts,
    labelled_loss,
    loss_weights,
)

Whole = NDArray[np.int64]
Classes = NDArray[np.int16]

#: Positions of a batch in training, padding counted, where the batch size is not given...
BATCH_RESIDUES = 8_192
#: ... and at most sequences.
_MOST_ROWS = 128
#: Positions of a batch in evaluation, padding counted; a longer sequence is a batch of its own.
_EVALUATION_RESIDUES = 32_768


class ResidueTask:
    """Sequences with one class a residue, for the fit loop.

    Batches are dealt by `helicon.data.sampling.token_batches.TokenPlan`: every sequence once an
    epoch, like lengths together. Every residue that counts weighs the same, whatever its batch.

    Args:
        train: to train on.
        valid: to choose on.
        target: the classes.
        batch_size: sequences in a batch; `None` for as many as have `BATCH_RESIDUES` positions.
        seed: of the order.
        accumulate: batches in an optimiser step.
        weights: of rare classes in the loss.
        monitor: the measure that chooses the best checkpoint; MCC if not given.

    Attributes:
        monitor: the measure that chooses the best checkpoint.
        mode: its direction.
        target: what is predicted.
    """

    def __init__(
        self,
        train: ResidueTable,
        valid: ResidueTable,
        target: Target,
        *,
        batch_size: int | None,
        seed: int,
        accumulate: int = 1,
        weights: ClassWeights = "none",
        monitor: str | None = None,
    ):
        self.target = target
        self.monitor = choose_monitor(monitor, *CLASS_MONITORS)
        self.mode = direction(self.monitor)
        self.accumulate = accumulate
        self.train, self.valid, self.seed = train, valid, seed
        self.labels = encoded(train, target)
        self.truth = encoded(valid, target)
        counts = label_counts(target, self.labels)
        self.weights = loss_weights(target.problem, counts, int(counts.sum()), weights)
        self.plan = _plan(train.sequences, batch_size)
        self._epoch: tuple[int, NDArray[np.integer], Whole] | None = None

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which every sequence is seen about once."""
        return max(1, round(len(self.plan) / (self.accumulate * world)))

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = ((step - 1) * self.accumulate + micro) * world + rank
        epoch, at = divmod(number, len(self.plan))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, *self.plan.epoch(self.seed, epoch))
        _, order, batches = self._epoch
        start, end = self.plan.bounds[batches[at] : batches[at] + 2]
        ids, mask, place = gather(self.train.sequences, order[start:end])
        return inputs(ids, mask, _spread(self.labels, mask, place, IGNORE).astype(np.int64))

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        return labelled_loss(model, batch, self.target.problem, self.weights)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The main measures on all of the validation data."""
        return residue_scores(model, self.valid, self.truth, self.target)[0].main


def encoded(table: ResidueTable, target: Target) -> Classes:
    """The class of every residue, `IGNORE` where it counts not; see `ResidueTable.classes`."""
    return table.classes("".join(target.names))


def _plan(table: SequenceTable, batch_size: int | None) -> TokenPlan:
    if batch_size is None:
        tokens = BATCH_RESIDUES
        return TokenPlan(table.lengths, max_tokens=tokens, max_sequences=_MOST_ROWS)
    tokens = batch_size * int(table.lengths.max())
    return TokenPlan(table.lengths, max_tokens=tokens, max_sequences=batch_size)


def gather(table: SequenceTable, rows: NDArray[np.integer]) -> tuple[Ids, NDArray[np.bool_], Whole]:
    """Copy rows of a table into one array, padded on the right.

    Returns:
        Ids (B, L), true at real positions (B, L), and where each stands in `table.ids`; 0 where
        there is padding.
    """
    lengths = table.offsets[rows + 1] - table.offsets[rows]
    column = np.arange(int(lengths.max()))
    mask = column < lengths[:, None]
    place = np.where(mask, table.offsets[rows][:, None] + column, 0)
    ids = table.ids[place] & ~np.uint8(SOFT_BIT)
    ids[~mask] = table.alphabet.pad_id
    return ids, mask, place


def _spread(values: NDArray, mask: NDArray[np.bool_], place: Whole, none: int) -> NDArray:
    """Values of residues, (total,), at the positions of a batch (B, L)."""
    return np.where(mask, values[place], values.dtype.type(none))


def residue_outputs(
    model: nn.Module, table: SequenceTable
) -> Iterator[tuple[NDArray[np.bool_], Whole, Outputs]]:
    """Run a token model over every sequence, longest first.

    Yields:
        True at real positions (B, L), where each stands in `table.ids`, and outputs (B, L, K).
    """
    plan = TokenPlan(table.lengths, max_tokens=_EVALUATION_RESIDUES, max_sequences=1_024)
    with evaluating(model) as device:
        for rows in plan.in_order():
            ids, mask, place = gather(table, rows)
            yield mask, place, logits(model, ids, mask, device)


def residue_scores(
    model: nn.Module, table: ResidueTable, truth: Classes, target: Target
) -> tuple[Scores, pl.DataFrame]:
    """Measure a token model on every residue that counts, all of them at once.

    Args:
        model: with a token head.
        table: the sequences.
        truth: as from `encoded`.
        target: the classes.

    Returns:
        Measures, and a row a sequence with what was predicted (see `_frame`).
    """
    tally = ClassTally(target)
    best = np.zeros(len(truth), dtype=np.int16)
    certain = np.zeros(len(truth), dtype=np.float32)
    for mask, place, outputs in residue_outputs(model, table.sequences):
        tally.add(outputs, _spread(truth, mask, place, IGNORE))
        found, at = outputs[mask], place[mask]
        best[at] = found.argmax(axis=1)
        certain[at] = probabilities(target, found).max(axis=1)
    return tally.scores(), _frame(table, truth, target, best, certain)


def _frame(
    table: ResidueTable, truth: Classes, target: Target, best: Classes, certain: Outputs
) -> pl.DataFrame:
    """One row a sequence, in the order of the labels.

    Returns:
        Columns `row` (from 0), `line` (of the sequence in its file; `row_in_file` of a Parquet
        file), `name` (if there are any), `length`, `scored` and `right` (residues), then `label`,
        `mask` and `prediction`, strings of one character a residue, and `probability`, a list of
        the predictions' probabilities.
    """
    sequences = table.sequences
    place = "line" if sequences.unit == "line" else "row_in_file"
    columns: dict[str, object] = {"row": np.arange(len(table)), place: sequences.lines}
    if sequences.names is not None:
        columns["name"] = sequences.names
    offsets = sequences.offsets
    written = np.frombuffer("".join(target.names).encode(), np.uint8)
    letters = np.frombuffer(LABELS.letters.encode(), np.uint8)
    columns |= {
        "length": sequences.lengths,
        "scored": np.add.reduceat(table.known.astype(np.int64), offsets[:-1]),
        "right": np.add.reduceat((truth == best).astype(np.int64), offsets[:-1]),
        "label": _strings(letters[table.labels.ids], offsets),
        "mask": _strings(np.where(table.known, ord("1"), ord("0")).astype(np.uint8), offsets),
        "prediction": _strings(written[best], offsets),
        "probability": pl.from_arrow(
            pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(certain))
        ),
    }
    return pl.DataFrame(columns)


def _strings(raw: NDArray[np.uint8], offsets: Whole) -> pl.Series:
    """Texts from their bytes, one behind the other."""
    buffers = pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(raw))
    found = pl.from_arrow(pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers))
    assert isinstance(found, pl.Series)
    return found


def sampled_features(
    model: nn.Module, table: ResidueTable, truth: Classes, count: int, seed: int
) -> tuple[Outputs, Classes]:
    """What the head of a token model sees of some residues that count, drawn at random.

    Args:
        model: its head must give its input (no layers).
        table: the sequences.
        truth: as from `encoded`.
        count: residues at most.
        seed: of the choice.

    Returns:
        Features (n, D) and classes (n,).
    """
    known = np.flatnonzero(truth != IGNORE)
    chosen = np.zeros(len(truth), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(known)[:count]] = True
    features, classes = [], []
    for mask, place, outputs in residue_outputs(model, table.sequences):
        wanted = mask & chosen[place]
        features.append(outputs[wanted])
        classes.append(truth[place[wanted]])
    return np.concatenate(features), np.concatenate(classes)
