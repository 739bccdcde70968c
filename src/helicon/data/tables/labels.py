"""What a table's labels ask for: classes, several yes-or-no labels, or numbers to predict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from helicon.data.tables.label_columns import Labels, first_text, stray_text
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError

#: Integers of more different values than this are numbers to predict, not names of classes.
MAX_INTEGER_CLASSES = 50
#: Texts of more different values than this, and than half of the rows, are no classes.
MIN_IDENTIFIERS = 20
#: Whole numbers below are told apart as float64.
_EXACT = 2**53

Kind = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True)
class LabelTask:
    """What is to be learned from a table.

    Attributes:
        kind: `classification` (one of several classes), `multilabel` (any of several), or
            `regression` (one number or several).
        names: class names in the order of their codes (classification), else the target columns.
    """

    kind: Kind
    names: tuple[str, ...]


def decide_task(table: SequenceTable) -> LabelTask:
    """Decide what the labels ask for.

    - text: classification;
    - whole numbers (1 as well as 1.0): classification, or regression if there are more than
      `MAX_INTEGER_CLASSES` values;
    - numbers some of which have a fraction: regression;
    - several columns: multilabel if all are 0 or 1, else regression.

    Classes are in sorted order: numbers by value, texts by their characters.

    Raises:
        InputError: the table has no labels; the texts are names of rows rather than classes, or
            stand among numbers with fractions; a number is not finite.
    """
    labels = _labels(table)
    if labels.ndim == 2:
        binary = ((labels == 0) | (labels == 1)).all()
        kind: Kind = "multilabel" if binary else "regression"
        label_values(table)
        return LabelTask(kind, table.target)
    values = np.unique(labels)
    if labels.dtype.kind == "U":
        if len(values) > max(MIN_IDENTIFIERS, len(labels) // 2):
            raise InputError(
                f"{table.path}: the column {table.target[0]!r} holds {len(values):,} different "
                f"texts in {len(labels):,} rows: no classes to learn; name another column"
            )
        if (row := stray_text(labels)) is not None:
            raise InputError(
                f"{table.where(row)}: the label {str(labels[row])!r} in {table.target[0]!r} stands "
                "among numbers; correct it or remove the row, or choose the task classification"
            )
    elif not _whole(values) or len(values) > MAX_INTEGER_CLASSES:
        label_values(table)
        return LabelTask("regression", table.target)
    return LabelTask("classification", class_names(values))


def _whole(values: Labels) -> bool:
    """Whether all numbers are whole; beyond `_EXACT` numbers of 64 bits cannot tell."""
    exact = np.isfinite(values) & (np.abs(values) < _EXACT)
    return values.dtype.kind == "i" or bool((exact & (values == np.floor(values))).all())


def class_names(values: Labels) -> tuple[str, ...]:
    """Names of label values, shape (n,): texts as they are, whole numbers without a fraction."""
    if values.dtype.kind == "U":
        return tuple(values.tolist())
    return tuple(str(int(v)) if float(v).is_integer() else str(v) for v in values.tolist())


def label_codes(table: SequenceTable, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of every row as its place in `classes`, shape (n,), int64.

    Raises:
        InputError: a label is none of `classes` (a class never seen in training); names the row.
    """
    labels = _labels(table)
    if labels.ndim == 2:
        raise InputError(f"{table.path}: one label column is wanted, not {', '.join(table.target)}")
    values, rows, inverse = np.unique(labels, return_index=True, return_inverse=True)
    code = {_as_read(name): i for i, name in enumerate(classes)}
    code |= {name: i for i, name in enumerate(classes)}
    names = class_names(values)
    codes = np.array([code.get(name, -1) for name in names], np.int64)
    if (codes < 0).any():
        row = int(rows[codes < 0].min())
        raise InputError(
            f"{table.where(row)}: the label {names[inverse[row]]!r} in {table.target[0]!r} is none "
            f"of the model's classes ({', '.join(classes)}); correct it or remove the row"
        )
    return codes[inverse]


def _as_read(name: str) -> str:
    """The name that `class_names` gives a class which a model calls `True` or `1.0`."""
    if name.lower() in ("true", "false"):
        return str(int(name.lower() == "true"))
    return name.removesuffix(".0") if re.fullmatch(r"-?\d+\.0", name) else name


def label_values(table: SequenceTable) -> NDArray[np.float32]:
    """Return the labels as numbers, shape (n,), or (n, k) for k target columns, float32.

    Raises:
        InputError: a label is text, infinite, or too large; names the row.
    """
    labels = _labels(table)
    if labels.dtype.kind == "U":
        row = first_text(labels)
        raise InputError(
            f"{table.where(row)}: the label {str(labels[row])!r} in {table.target[0]!r} is no "
            "number; correct it, or train a classifier"
        )
    with np.errstate(over="ignore"):
        values = labels.astype(np.float32)
    if not np.isfinite(values).all():
        row, *column = np.argwhere(~np.isfinite(values))[0]
        name = table.target[column[0] if column else 0]
        raise InputError(
            f"{table.where(row)}: the label {labels[row, *column]} in {name!r} is no finite "
            "number; correct it or remove the row"
        )
    return values


def check_trainable(table: SequenceTable, task: LabelTask) -> None:
    """Refuse training data from which nothing can be learned.

    Raises:
        InputError: classification with one class only, or a target column that is the same
            everywhere.
    """
    labels = _labels(table)
    columns = labels[:, None] if labels.ndim == 1 else labels
    constant = (columns == columns[0]).all(axis=0)
    if constant.any():
        i = int(np.argmax(constant))
        what = "one class only" if task.kind == "classification" else "nothing to learn"
        raise InputError(
            f"{table.path}: every label in {table.target[i]!r} is {str(columns[0, i])!r}: {what}; "
            "add rows with other labels or choose another column"
        )


def _labels(table: SequenceTable) -> Labels:
    if table.labels is None:
        raise InputError(f"{table.path}: was read without labels; name the target column")
    return table.labels
