"""The tables of a probe: read, checked against each other, divided anew for every seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.metrics.targets import Target, find_target
from helicon.models.hub import HeliconPreTrainedModel
from helicon.training.kinds.kind import check_held_out
from helicon.training.kinds.sequences import (
    SPLIT_SEED,
    Sequences,
    check_choice,
    described,
    shared_note,
)
from helicon.training.kinds.splits import divide, hold_out
from helicon.training.probe.recipe import Compare
from helicon.training.run.options import Asked


@dataclass(frozen=True)
class ProbeData:
    """The tables of a probe.

    Attributes:
        train: rows to fit on; without a validation table, those to choose on are among them.
        valid: rows to choose on, if a file says which.
        test: rows to measure on, if any.
        target: what is predicted.
        fraction: share of `train` that is held out where there is no `valid`.
        notes: what was found and decided, a line each.
    """

    train: SequenceTable
    valid: SequenceTable | None
    test: SequenceTable | None
    target: Target
    fraction: float
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls, kind: Sequences, compare: Compare, asked: Asked, model: HeliconPreTrainedModel
    ) -> ProbeData:
        """Read the files, checked so that nothing fails when work has begun."""
        check_held_out(kind.valid, asked)
        if kind.task == "contacts":
            raise InputError("task: contacts are probed by helicon finetune --freeze")
        train, valid, test, notes = divide(*kind.tables(model.backbone.alphabet))
        if train.spelled and kind.task == "auto":
            raise InputError(
                f"{kind.data}: has labels of residues, which are not pooled; use helicon "
                "finetune --freeze"
            )
        target = find_target(train, kind.task)
        if target.problem == "regression" and compare.class_weights != "none":
            raise InputError("class_weights: a regression has no classes; leave them out")
        notes = [described(train, target), *notes]
        for part, table in (("validation", valid), ("test", test)):
            if table is not None:
                target.encode(table)
                notes += shared_note(train, table, part)
        found = cls(train, valid, test, target, kind.validation_fraction, tuple(notes))
        if valid is not None:
            asked.refuse(["validation_fraction"], "the file says itself what its rows are for")
            check_choice(valid, target.encode(valid), target)
        else:
            _, held = found.split(SPLIT_SEED)
            check_choice(train.take(held), target.encode(train)[held], target)
        return found

    @property
    def tables(self) -> dict[str, SequenceTable]:
        """What has features: `train`, and `validation` and `test` where there are such files."""
        named = {"train": self.train, "validation": self.valid, "test": self.test}
        return {name: table for name, table in named.items() if table is not None}

    @property
    def examples(self) -> dict[str, int]:
        """Rows of each part that is measured."""
        held = len(self.split(SPLIT_SEED)[1]) if self.valid is None else len(self.valid)
        return {"validation": held} | ({} if self.test is None else {"test": len(self.test)})

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of `train` to fit on, and rows to choose on: of `valid`, or held out by a seed."""
        if self.valid is not None:
            return np.arange(len(self.train)), np.arange(len(self.valid))
        labels = self.target.encode(self.train)
        return hold_out(self.train, labels, self.target, self.fraction, seed)
