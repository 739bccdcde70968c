"""A class for every residue of a sequence: characters of a FASTA file or of a column of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import SOFT_BIT, Alphabet, Ids
from helicon.archives import through
from helicon.data.sampling.token_batches import TokenPlan
from helicon.data.tables.residue_labels import (
    LABELS,
    ResidueTable,
    is_fasta,
    read_residue_column,
    read_residues,
)
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.forward.outputs import Outputs, evaluating, logits
from helicon.metrics.measured import Measures, choose_monitor, direction, probabilities
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconForTokenClassification, HeliconPreTrainedModel
from helicon.models.parts.heads import IGNORE
from helicon.training.adaptation.adapt import Supervised
from helicon.training.adaptation.linear import Examples
from helicon.training.adaptation.losses import (
    Batch,
    ClassWeights,
    inputs,
    label_counts,
    labelled_loss,
    loss_weights,
)
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.kinds.genome_measures import CLASS_MONITORS, ClassTally
from helicon.training.kinds.kind import (
    Answer,
    Head,
    Kind,
    Measured,
    check_held_out,
    parts_of,
    saved_target,
)
from helicon.training.kinds.sequences import (
    SPLIT_SEED,
    check_kind,
    read_labelled,
    shared_note,
)
from helicon.training.kinds.splits import divide, hold_out_sequences, measured_part
from helicon.training.run.options import Asked, check_numbers, names_of, only

Whole = NDArray[np.int64]
Classes = NDArray[np.int16]

#: Positions of a batch in training, padding counted, where the batch size is not given...
BATCH_RESIDUES = 8_192
#: ... and at most sequences.
_MOST_ROWS = 128
#: Positions of a batch in evaluation, padding counted; a longer sequence is a batch of its own.
_EVALUATION_RESIDUES = 32_768
#: Steps where the length is not given: ten epochs within these bounds.
_STEPS = (200, 5_000)
#: Residues of each part that the linear probe is fitted, and its penalty chosen, on.
PROBE_RESIDUES = 50_000
#: The probe sees the same residues whatever the seed of a run.
_PROBE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Residues(Kind):
    """Labelled residues: a FASTA file of labels beside one of sequences, or a column of a table.

    Attributes:
        labels: GFF3, GTF, BED, bedGraph or bigWig file with labels of the genome's positions; or a
            FASTA file with one character a residue for each of the sequences of `data`.
        mask: labels of residues: FASTA file of 1 for residues that count and 0 for others.
    """

    title: ClassVar[str] = "Data: labelled residues"
    what: ClassVar[str] = "labelled residues"
    head: ClassVar[Head] = "token"

    labels: Path | None = None
    mask: Path | None = None
    target: str = "label"
    sequence: str = "sequence"
    valid: Path | None = only("finetune", None)
    test: Path | None = only("finetune", None)
    validation_fraction: float = only("finetune", 0.1)
    part: str | None = only("evaluate", None)
    predictions: Path | None = only("evaluate", None)

    def __post_init__(self) -> None:
        check_numbers(self, ("validation_fraction",), 0, 1, open="()")

    @classmethod
    def recognises(cls, data: Path, options: Mapping[str, Any], alphabet: Alphabet) -> bool:
        """A FASTA file of labels, or a column whose texts are as long as their sequences."""
        if (labels := options.get("labels")) is not None:
            return is_fasta(labels)
        if options.get("mask") is not None:
            return True
        if options.keys() - {*names_of(cls, "finetune"), "task"}:
            return False
        target, sequence = options.get("target", cls.target), options.get("sequence", cls.sequence)
        spelled = read_labelled(data, target, sequence, alphabet).spelled
        return spelled and options.get("task", "auto") == "auto"

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model gives one answer a letter, and no labels of a genome are named."""
        labels = options.get("labels")
        is_token = isinstance(network, HeliconForTokenClassification)
        return is_token and (labels is None or is_fasta(labels))

    def read(
        self, source: HeliconPreTrainedModel, adapt: Adapt, fit: Fit, asked: Asked
    ) -> LabelledResidues:
        """See `Kind.read`.

        Raises:
            InputError: see `helicon.data.tables.residue_labels`; the training part has one class
                only, or the validation part.
        """
        self._check(asked)
        alphabet = source.backbone.alphabet
        given = [self.valid, self.test]
        files = [None if path is None else self.table(path, alphabet) for path in given]
        whole = self.table(self.data, alphabet)
        train, valid, test, divided = divide(whole, *files)
        if valid is None:
            rows, held = hold_out_sequences(train.sequences, self.validation_fraction, SPLIT_SEED)
            train, valid = train.take(rows), train.take(held)
            count = len(rows) + len(held)
            divided.append(f"validation: {len(held):,} sequences held out of {count:,}")
        else:
            asked.refuse(["validation_fraction"], "the file says itself what its rows are for")
        tables = {"train": train, "validation": valid} | ({} if test is None else {"test": test})
        found = {part: table.characters() for part, table in tables.items()}
        for part in ("train", "validation"):
            if len(found[part]) < 2:
                raise InputError(
                    f"{tables[part].labels.path}: the residues for {part} have one class only "
                    f"({found[part]}); nothing can be "
                    f"{'learned' if part == 'train' else 'chosen'}"
                )
        names = sorted(set("".join(found.values())))
        target = Target.plain("single_label", tuple(names))
        notes = [_described(tables, target), *whole.notes, *divided]
        if new := [name for name in names if name not in found["train"]]:
            notes.append(f"note: no residue for training has the class {', '.join(new)}")
        for part in list(tables)[1:]:
            notes += shared_note(train.sequences, tables[part].sequences, part)
        return LabelledResidues(train, valid, test, target, tuple(notes))

    def _check(self, asked: Asked) -> None:
        check_held_out(self.valid, asked)
        if self.labels is None:
            return
        asked.refuse(["target"], f"the labels stand in {self.labels}")
        asked.refuse(
            ["valid", "test"], "residues are divided by the headers of the labels (SET=test)"
        )

    def table(self, path: Path, alphabet: Alphabet) -> ResidueTable:
        """Read labels of residues from a FASTA file, or without one from the column `target`."""
        path, labels = through(path, "file to read"), self.labels
        if labels is None:
            spelled = read_labelled(path, self.target, self.sequence, alphabet).spelled
            if self.mask is not None and not spelled:
                raise InputError(f"mask: {path} has no labels of residues; leave it out")
            table = read_residue_column(
                path, self.target, mask=self.mask, alphabet=alphabet, sequence=self.sequence
            )
        else:
            labels = through(labels, "file to read (labels)")
            table = read_residues(
                path, labels, mask=self.mask, alphabet=alphabet, sequence=self.sequence
            )
        check_kind(table.sequences)
        return table

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        self._check(asked)
        target = saved_target(network, name)
        if target.problem != "single_label" or any(len(one) > 1 for one in target.names):
            raise InputError(
                f"{name}: does not give residues classes of one character; give a genome and "
                "its labels"
            )
        table, part = measured_part(self.table(self.data, network.backbone.alphabet), self.part)
        scores, frame = measure_residues(network, table, encoded(table, target), target)
        return Answer(int(table.known.sum()), "residues", scores, frame, part=part)


@dataclass(frozen=True)
class LabelledResidues:
    """Sequences with labelled residues to train, choose and test on.

    Attributes:
        train: to train on.
        valid: to choose on.
        test: to measure the final model on, if any.
        target: the classes: every character that labels a residue in any part.
        found: what was found and decided, a line each.
    """

    train: ResidueTable
    valid: ResidueTable
    test: ResidueTable | None
    target: Target
    found: tuple[str, ...]

    def batch_size(self, fit: Fit) -> str:
        """What a batch holds, in words."""
        if fit.batch_size is not None:
            return f"{fit.batch_size} sequences"
        return f"{BATCH_RESIDUES:,} positions"

    def task(self, fit: Fit) -> ResidueTask:
        """What the loop trains."""
        return ResidueTask(
            self.train,
            self.valid,
            self.target,
            batch_size=fit.batch_size,
            seed=fit.seed,
            accumulate=fit.accumulate,
            weights=fit.class_weights,
            monitor=fit.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        fewest, most = _STEPS
        return min(max(10 * steps_per_epoch, fewest), most) / steps_per_epoch

    def examples(self, model: Supervised, fit: Fit) -> tuple[Examples, Examples]:
        """Features and classes of residues of training and validation, for a linear probe."""
        assert isinstance(model, HeliconForTokenClassification)
        layers, model.classifier.layers = model.classifier.layers, nn.Sequential()
        try:
            train, valid = (
                sampled_features(
                    model, part, encoded(part, self.target), PROBE_RESIDUES, _PROBE_SEED
                )
                for part in (self.train, self.valid)
            )
        finally:
            model.classifier.layers = layers
        return train, valid

    def measure(self, model: Supervised, task: ResidueTask) -> Iterator[Measured]:
        """See `Labelled.measure`; every residue of a part that counts, all at once."""
        for name, part in parts_of(self.valid, self.test):
            yield name, *measure_residues(model, part, encoded(part, self.target), self.target)

    def notes(self, adapt: Adapt, probe: bool) -> list[str]:
        """See `Labelled.notes`."""
        lines = list(self.found)
        if probe and (count := int(self.train.known.sum())) > PROBE_RESIDUES:
            lines.append(
                f"the probe is fitted on {PROBE_RESIDUES:,} of {count:,} training residues, drawn "
                "at random, and measured on all"
            )
        return lines

    def baseline(self) -> dict[str, dict[str, float]]:
        """None: there is no quick yardstick for residues."""
        return {}


def _described(tables: dict[str, ResidueTable], target: Target) -> str:
    names = ", ".join(target.names[:12]) + (", ..." if len(target.names) > 12 else "")
    sizes = ", ".join(f"{part} {int(table.known.sum()):,}" for part, table in tables.items())
    total = int(np.sum([len(table.known) for table in tables.values()]))
    known = int(np.sum([table.known.sum() for table in tables.values()]))
    masked = f"; {total - known:,} masked" if known < total else ""
    return f"data: {len(target.names)} classes ({names}); residues: {sizes}{masked}"


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
        return measure_residues(model, self.valid, self.truth, self.target)[0].main


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


def measure_residues(
    model: nn.Module, table: ResidueTable, truth: Classes, target: Target
) -> tuple[Measures, pl.DataFrame]:
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
