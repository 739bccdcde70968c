"""What a network is to predict: the problem, its names, and the labels as its loss wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables.labels import (
    LabelTask,
    check_trainable,
    class_names,
    decide_task,
    label_codes,
    label_values,
)
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError
from helicon.models.parts.heads import Problem

#: How the user names a problem; `auto` looks at the labels, `contacts` are of pairs.
TaskName = Literal["auto", "classification", "multilabel", "regression", "contacts"]
PROBLEMS: dict[str, Problem] = {
    "classification": "single_label",
    "multilabel": "multi_label",
    "regression": "regression",
}


@dataclass(frozen=True)
class Target:
    """The meaning of the labels, found on training data, then held for everything else.

    Attributes:
        problem: `single_label` (one of several classes), `multi_label` (each of several labels is
            true or not) or `regression`.
        names: class names in order of class id; or the label columns; or the number columns.
        mean: of each number column in the training data, (K,); zeros unless `regression`.
        scale: standard deviation likewise; ones unless `regression`. Networks are trained on
            `(y - mean) / scale`; what is saved and reported is in the unit of the data.
    """

    problem: Problem
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def plain(cls, problem: Problem, names: tuple[str, ...]) -> Target:
        """A target whose values are used as they are."""
        return cls(problem, names, (0.0,) * len(names), (1.0,) * len(names))

    def encode(self, table: SequenceTable) -> NDArray:
        """Labels as the measures want them.

        Returns:
            Class ids (n,) int64 of a single-label problem; else float32 (n, K) in the unit of the
            data.

        Raises:
            InputError: the table has a class that training data did not have, or values that
                do not fit the problem.
        """
        if self.problem == "single_label":
            return label_codes(table, self.names)
        values = label_values(table).reshape(len(table), -1)
        if values.shape[1] != len(self.names):
            raise InputError(
                f"{table.path}: has {values.shape[1]} label columns ({', '.join(table.target)}), "
                f"but the model predicts {len(self.names)} ({', '.join(self.names)})"
            )
        if self.problem == "multi_label":
            _check_zeros_and_ones(values, table)
        return values

    def standardised(self, values: NDArray) -> NDArray:
        """Labels in the unit that a network is trained in; class ids stay as they are."""
        if self.problem != "regression":
            return values
        return (values - np.array(self.mean, np.float32)) / np.array(self.scale, np.float32)

    def natural(self, outputs: NDArray) -> NDArray:
        """Network outputs (n, K) in the unit of the data."""
        return outputs * np.array(self.scale, np.float32) + np.array(self.mean, np.float32)


def find_target(table: SequenceTable, task: TaskName = "auto") -> Target:
    """Read the meaning of the labels off the training data.

    Which task they are of is decided by `helicon.data.tables.labels.decide_task`.

    Raises:
        InputError: nothing can be learned from the labels (one class only, say), or they do not
            fit the `task`.
    """
    found = decide_task(table) if task == "auto" else _as_asked(table, task)
    problem = PROBLEMS[found.kind]
    if problem == "multi_label":
        values = label_values(table).reshape(len(table), -1)
        _check_zeros_and_ones(values, table)
        if values.min() == values.max():
            raise InputError(
                f"{table.path}: every label is {values.min():g}; there is nothing to learn, add "
                "rows with other labels"
            )
        return Target.plain(problem, found.names)
    check_trainable(table, found)
    if problem == "single_label":
        return Target.plain(problem, found.names)
    values = label_values(table).reshape(len(table), -1).astype(np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    return Target(problem, found.names, tuple(mean.tolist()), tuple(scale.tolist()))


def _as_asked(table: SequenceTable, task: TaskName) -> LabelTask:
    if task not in PROBLEMS:
        raise InputError(f"no task is called {task!r}; choose auto, {', '.join(PROBLEMS)}")
    if task != "classification":
        return LabelTask(task, table.target)  # type: ignore[arg-type]
    if len(table.target) > 1:
        raise InputError(
            f"{table.path}: {len(table.target)} label columns are no single class; name one "
            "column, or choose the task multilabel"
        )
    assert table.labels is not None, "the table was read with a target"
    return LabelTask("classification", class_names(np.unique(table.labels)))


def _check_zeros_and_ones(values: NDArray[np.float32], table: SequenceTable) -> None:
    if (wrong := ~np.isin(values, (0, 1))).any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{table.where(row)}: a multilabel column holds 0 and 1 only, but "
            f"{table.target[column]!r} is {values[row, column]:g}; correct it, or choose the task "
            "regression"
        )
