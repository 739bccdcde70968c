"""Whole sequences with one label each, or several: classes, yes-or-no labels, numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import DNA, SOFT_BIT, Alphabet
from helicon.archives import through
from helicon.data.sampling.batching import LabelledBatches
from helicon.data.tables.tables import SequenceTable, read_table
from helicon.errors import InputError
from helicon.forward.outputs import table_outputs
from helicon.metrics.measured import (
    MONITORS,
    OTHER_MONITORS,
    Measures,
    choose_monitor,
    direction,
    measures_of,
    predictions,
)
from helicon.metrics.targets import Target, TaskName, find_target
from helicon.models.hub import HeliconForSequenceClassification, HeliconPreTrainedModel, check_cls
from helicon.models.parts.heads import Pooling
from helicon.training.adaptation.adapt import HeadSettings, Supervised
from helicon.training.adaptation.linear import Examples, pooled_features
from helicon.training.adaptation.losses import (
    Batch,
    ClassWeights,
    inputs,
    label_counts,
    labelled_loss,
    loss_weights,
)
from helicon.training.adaptation.options import Adapt, Fit, default_batch, default_epochs
from helicon.training.kinds.kind import (
    Answer,
    Head,
    Kind,
    Measured,
    check_held_out,
    check_strands,
    parts_of,
    saved_target,
)
from helicon.training.kinds.splits import divide, hold_out, measured_part, shared_sequences
from helicon.training.run.options import Asked, check_numbers, only
from helicon.training.run.recipe import check_counts
from helicon.training.yardsticks.kmers import Yardstick, measure_yardstick
from helicon.training.yardsticks.one_hot import OneHotRidge, one_hot_ridge

#: Held-out rows are the same for every seed of a run, so that seeds can be compared.
SPLIT_SEED = 0
#: Steps on a small table, where the length is not given.
_FEWEST_STEPS = 200
#: A table of real proteins has other letters than these within its first thousand.
_SURELY_PROTEIN = 1_000


@dataclass(frozen=True, kw_only=True)
class Sequences(Kind):
    """Labelled sequences: a table, or a FASTA file whose headers hold the labels.

    Attributes:
        target: the label column, or several with commas between.
        valid: table to choose the best checkpoint on; without it, a part of `data` is held out.
        test: table to measure the final model on, once.
        sequence: the column of sequences.
        task: what the labels are; `auto` looks at them. `contacts` learns which residues of a
            protein touch each other.
        validation_fraction: share of the rows held out where no validation file is given.
        pool: how the positions of a sequence become one vector: their mean, the largest value of
            each channel (finds a motif wherever it is), a mean weighted by learned attention, or
            what the network gives at the CLS tokens that it was pretrained with (`cls`). If not
            given, `mean` for the linear probe and else `attention`.
        reverse_complement: train on both strands, drawn anew for every sequence and epoch. If not
            given: for sequences, if a k-mer regression finds their labels on the opposite strand
            too; for positions always, as their labels turn with the strand.
        both_strands: average the predictions for both strands, wherever something is measured.
        part: measure on the rows that the file says are for this (a column `set`, headers with
            `SET=test`): `train`, `validation`, `test` or `all`; `test` if not given. Of a genome,
            the intervals whose fourth column says so; all of them if not given.
        batch_size: sequences in a batch; it never changes the result.
        predictions: Parquet file to write: a row a sequence, or a row a stretch of one class; of
            contacts a row a protein, with its measures.
    """

    what: ClassVar[str] = "labelled sequences"
    head: ClassVar[Head] = "sequence"

    target: str = "label"
    valid: Path | None = only("finetune probe", None)
    test: Path | None = only("finetune probe", None)
    sequence: str = "sequence"
    task: TaskName = only("finetune probe", "auto")
    validation_fraction: float = only("finetune probe", 0.1)
    pool: Pooling | None = only("finetune", None)
    reverse_complement: bool | None = only("finetune", None)
    both_strands: bool = only("finetune evaluate", False)
    part: str | None = only("evaluate", None)
    batch_size: int | None = only("evaluate", None)
    predictions: Path | None = only("evaluate", None)

    def __post_init__(self) -> None:
        check_numbers(self, ("validation_fraction",), 0, 1, open="()")
        check_counts(self, ("batch_size",))

    @classmethod
    def recognises(cls, data: Path, options: Mapping[str, Any], alphabet: Alphabet) -> bool:
        """Any table or FASTA file that no other kind has recognised."""
        return options.get("labels") is None

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model gives one answer a sequence."""
        return isinstance(network, HeliconForSequenceClassification)

    def is_probe(self, adapt: Adapt) -> bool:
        """See `Kind.is_probe`; attention pooling is learned by the loop."""
        return super().is_probe(adapt) and self.pool != "attention"

    def head_settings(self, adapt: Adapt) -> HeadSettings:
        """See `Kind.head_settings`."""
        pool = self.pool or ("mean" if self.is_probe(adapt) else "attention")
        return HeadSettings(pool, adapt.head, adapt.dropout, adapt.backbone_dropout)

    def read(
        self, source: HeliconPreTrainedModel, adapt: Adapt, fit: Fit, asked: Asked
    ) -> LabelledTables:
        """See `Kind.read`.

        Raises:
            InputError: see `read_table`, `find_target` and `hold_out`; sequences of another
                alphabet; a class in validation or test that training lacks.
        """
        alphabet = source.backbone.alphabet
        check_strands(
            alphabet, reverse_complement=self.reverse_complement, both_strands=self.both_strands
        )
        check_held_out(self.valid, asked)
        if self.pool == "cls":
            check_cls(source.config.cls_tokens)
        if self.is_probe(adapt):
            asked.refuse(
                ["reverse_complement"], "a linear probe sees every sequence once, as it stands"
            )
        train, valid, test, notes = divide(*self.tables(alphabet))
        target = find_target(train, self.task)
        notes = [described(train, target), *notes]
        if valid is not None:
            asked.refuse(["validation_fraction"], "the file says itself what its rows are for")
            notes += shared_note(train, valid, "validation")
        else:
            labels, fraction = target.encode(train), self.validation_fraction
            rows, held = hold_out(train, labels, target, fraction, SPLIT_SEED)
            train, valid = train.take(rows), train.take(held)
            notes.append(f"validation: {len(valid):,} rows held out of {len(rows) + len(held):,}")
        if test is not None:
            target.encode(test)
            notes += shared_note(train, test, "test")
        encoded = target.encode(train), target.encode(valid)
        check_choice(valid, encoded[1], target)
        ridge = None
        if target.problem == "regression" and not alphabet.complements:
            others = {"validation": valid, **({} if test is None else {"test": test})}
            ridge = one_hot_ridge(train, others, target)
        yardstick = _yardstick(train, valid, encoded, target, alphabet) if ridge is None else None
        return LabelledTables(self, train, valid, test, target, yardstick, tuple(notes), ridge)

    def tables(
        self, alphabet: Alphabet
    ) -> tuple[SequenceTable, SequenceTable | None, SequenceTable | None]:
        """The files to train, choose and test on, as they are."""
        train, valid, test = (
            None if path is None else self.table(path, alphabet)
            for path in (self.data, self.valid, self.test)
        )
        assert train is not None
        return train, valid, test

    def table(self, path: Path, alphabet: Alphabet) -> SequenceTable:
        """Read one file."""
        return read_labelled(path, self.target, self.sequence, alphabet)

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        alphabet = network.backbone.alphabet
        check_strands(alphabet, both_strands=self.both_strands)
        table, part = measured_part(self.table(self.data, alphabet), self.part)
        target = saved_target(network, name)
        truth = target.encode(table)
        batch = self.batch_size or 2 * default_batch(len(table), table.lengths)
        outputs = table_outputs(network, table, batch, both_strands=self.both_strands)
        frame = predictions(table, target, outputs, truth)
        measured = measures_of(target, truth, outputs)
        return Answer(len(table), "sequences", measured, frame, part=part)


@dataclass(frozen=True)
class LabelledTables:
    """Tables to train, choose and test on, and what was found out about them.

    Attributes:
        kind: the description.
        train: rows to train on.
        valid: rows to choose on.
        test: rows to measure the final model on, if any.
        target: what is predicted.
        yardstick: what a k-mer regression reaches; `None` for several label columns, or with
            `one_hot`.
        found: what was found and decided, a line each.
        one_hot: what a one-hot ridge regression reaches, for numbers of proteins of one length.
    """

    kind: Sequences
    train: SequenceTable
    valid: SequenceTable
    test: SequenceTable | None
    target: Target
    yardstick: Yardstick | None
    found: tuple[str, ...]
    one_hot: OneHotRidge | None = None

    @property
    def strands(self) -> bool:
        """Whether to train on both strands."""
        if self.kind.reverse_complement is not None:
            return self.kind.reverse_complement
        return self.yardstick is not None and self.yardstick.strand_free

    def batch_size(self, fit: Fit) -> int:
        """Sequences in a batch."""
        return fit.batch_size or default_batch(len(self.train), self.train.lengths)

    def task(self, fit: Fit) -> SequenceTask:
        """What the loop trains."""
        return SequenceTask(
            self.train,
            self.valid,
            self.target,
            batch_size=self.batch_size(fit),
            seed=fit.seed,
            accumulate=fit.accumulate,
            reverse_complement=self.strands,
            both_strands=self.kind.both_strands,
            weights=fit.class_weights,
            monitor=fit.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        return max(default_epochs(len(self.train)), _FEWEST_STEPS / steps_per_epoch)

    def examples(self, model: Supervised, fit: Fit) -> tuple[Examples, Examples]:
        """Features and labels of training and validation rows, for a linear probe."""
        assert isinstance(model, HeliconForSequenceClassification)
        batch, both = 2 * self.batch_size(fit), self.kind.both_strands
        train, valid = (
            (pooled_features(model, table, batch, both_strands=both), self.target.encode(table))
            for table in (self.train, self.valid)
        )
        return train, valid

    def measure(self, model: Supervised, task: SequenceTask) -> Iterator[Measured]:
        """See `Labelled.measure`."""
        for name, table in parts_of(self.valid, self.test):
            truth = self.target.encode(table)
            scores, outputs = task.score(model, table, truth)
            yield name, scores, predictions(table, self.target, outputs, truth)

    def notes(self, adapt: Adapt, probe: bool) -> list[str]:
        """See `Labelled.notes`."""
        yardstick, lines = self.yardstick, list(self.found)
        if yardstick is not None:
            measure = "MCC" if self.target.problem == "single_label" else "Spearman correlation"
            line = f"a {yardstick.k}-mer regression: validation {measure} {yardstick.score:.3f}"
            opposite = f", {yardstick.opposite:.3f} if read on the opposite strand"
            lines.append("yardstick: " + line + opposite * (not math.isnan(yardstick.opposite)))
        if (ridge := self.one_hot) is not None:
            reached = ridge.scores["validation"].metrics["spearman"]
            lines.append(
                "yardstick: a one-hot ridge regression: validation Spearman correlation "
                f"{reached:.3f} (penalty {ridge.alpha:g}, chosen on it)"
            )
        if self.train.alphabet.complements and not probe:
            lines.append(f"train on both strands: {'yes' if self.strands else 'no'}")
        return lines

    def baseline(self) -> dict[str, dict[str, object]]:
        """What the one-hot ridge regression or the k-mer regression reaches, for the results."""
        if self.one_hot is not None:
            return {"one_hot_baseline": self.one_hot.as_dict()}
        if self.yardstick is None:
            return {}
        measure = MONITORS[self.target.problem]
        return {"kmer_baseline": {measure: self.yardstick.score, "k": self.yardstick.k}}


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
    ) -> tuple[Measures, NDArray[np.float32]]:
        """Measures of, and outputs for, a table; the model is in the unit of training."""
        outputs = table_outputs(model, table, 2 * self.batch_size, both_strands=self.both_strands)
        outputs = self.target.natural(outputs)
        return measures_of(self.target, truth, outputs), outputs


@lru_cache(maxsize=1)
def _read(
    path: Path, target: str, sequence: str, alphabet: Alphabet, _stamp: object
) -> SequenceTable:
    return read_table(path, target=target, sequence=sequence, alphabet=alphabet, divided=True)


def read_labelled(path: Path, target: str, sequence: str, alphabet: Alphabet) -> SequenceTable:
    """Read one file of labelled sequences; a file that was just looked at is not read again."""
    path = through(path, "file to read")
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    table = _read(path, target, sequence, alphabet, stamp)
    check_kind(table)
    return table


def check_kind(table: SequenceTable) -> None:
    """Stop where nucleotides, whose letters are residues too, are given to a protein model."""
    if table.alphabet is DNA:
        return
    letters = table.alphabet.letters
    nucleotides = np.array([letters.index(letter) for letter in "ACGTN"])
    ids = table.ids & ~np.uint8(SOFT_BIT)
    if len(ids) >= _SURELY_PROTEIN and np.isin(ids, nucleotides).all():
        raise InputError(
            f"{table.path}: holds nucleotides, but the model reads proteins; choose a DNA model or "
            "another file"
        )


def described(table: SequenceTable, target: Target) -> str:
    """A line on what the training file holds."""
    lengths = table.lengths
    said = f"{len(table):,} sequences of {lengths.min():,}"
    said += f" to {lengths.max():,}" if lengths.min() != lengths.max() else ""
    names = ", ".join(target.names[:6]) + (", ..." if len(target.names) > 6 else "")
    classes = f"{len(target.names)} classes ({names})"
    if table.labels is not None and table.labels.dtype.kind in "if" and len(target.names) > 2:
        classes += ", named by whole numbers (--task regression learns their values)"
    what = {
        "single_label": classes,
        "multi_label": f"{len(target.names)} yes-or-no labels ({names})",
        "regression": f"regression of {names}",
    }
    return f"data: {said} letters, {what[target.problem]}"


def shared_note(train: SequenceTable, other: SequenceTable, name: str) -> list[str]:
    """A line if sequences of another part also stand in the training data."""
    shared = shared_sequences(train, other)
    if not shared:
        return []
    return [f"note: {shared:,} of {len(other):,} {name} sequences also stand in the training data"]


def check_choice(valid: SequenceTable, labels: NDArray, target: Target) -> None:
    """Stop where validation data cannot tell one checkpoint from another."""
    columns = labels.reshape(len(labels), -1)
    constant = columns.min(axis=0) == columns.max(axis=0)
    if constant.all() or (target.problem == "regression" and constant.any()):
        raise InputError(
            f"{valid.path}: all {len(valid)} validation rows have one label; nothing can be chosen "
            "by them, hold out more rows or give another validation file"
        )


def _yardstick(
    train: SequenceTable,
    valid: SequenceTable,
    labels: tuple[NDArray, NDArray],
    target: Target,
    alphabet: Alphabet,
) -> Yardstick | None:
    if target.problem == "single_label":
        return measure_yardstick(train, valid, labels, alphabet, classes=True)
    if target.problem == "multi_label" or len(target.names) > 1:
        return None
    numbers = labels[0][:, 0], labels[1][:, 0]
    return measure_yardstick(train, valid, numbers, alphabet, classes=False)
