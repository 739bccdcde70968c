"""The tables of a fine-tuning run: read, checked against each other, divided, looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Alphabet
from helicon.data.tables.tables import SequenceTable, read_table
from helicon.errors import InputError
from helicon.metrics.targets import Target, find_target
from helicon.training.adaptation.recipe import FinetuneRecipe
from helicon.training.kinds.splits import divide, hold_out, shared_sequences
from helicon.training.yardsticks.kmers import Yardstick, measure_yardstick
from helicon.training.yardsticks.one_hot import OneHotRidge, one_hot_ridge

#: Held-out rows are the same for every seed of a run, so that seeds can be compared.
SPLIT_SEED = 0
#: A table of real proteins has other letters than these within its first thousand.
_SURELY_PROTEIN = 1_000


@dataclass(frozen=True)
class LabelledTables:
    """Tables to train, choose and test on, and what was found out about them.

    Attributes:
        train: rows to train on.
        valid: rows to choose on.
        test: rows to measure the final model on, if any.
        target: what is predicted.
        yardstick: what a k-mer regression reaches; `None` for several label columns, or with
            `one_hot`.
        notes: what was found and decided, a line each.
        one_hot: what a one-hot ridge regression reaches, for numbers of proteins of one length.
    """

    train: SequenceTable
    valid: SequenceTable
    test: SequenceTable | None
    target: Target
    yardstick: Yardstick | None
    notes: tuple[str, ...]
    one_hot: OneHotRidge | None = None


def read_tables(recipe: FinetuneRecipe, alphabet: Alphabet, train: SequenceTable) -> LabelledTables:
    """Read the files of a recipe, checked so that nothing fails when training has begun.

    Args:
        recipe: names the files.
        alphabet: that the model reads.
        train: the training file, as `read_labelled` gives it.

    Raises:
        InputError: see `read_table`, `find_target` and `hold_out`; sequences of another alphabet;
            a class in validation or test that training lacks.
    """
    given = [recipe.valid, recipe.test]
    files = [None if path is None else read_labelled(path, recipe, alphabet) for path in given]
    train, valid, test, notes = divide(train, *files)
    target = find_target(train, recipe.task)
    notes = [described(train, target), *notes]
    if valid is not None:
        notes += shared_note(train, valid, "validation")
    else:
        fraction = recipe.validation_fraction
        rows, held = hold_out(train, target.encode(train), target, fraction, SPLIT_SEED)
        train, valid = train.take(rows), train.take(held)
        notes.append(f"validation: {len(valid):,} rows held out of {len(rows) + len(held):,}")
    if test is not None:
        target.encode(test)
        notes += shared_note(train, test, "test")
    labels = target.encode(train), target.encode(valid)
    check_choice(valid, labels[1], target)
    ridge = None
    if target.problem == "regression" and not alphabet.complements:
        others = {"validation": valid, **({} if test is None else {"test": test})}
        ridge = one_hot_ridge(train, others, target)
    yardstick = _yardstick(train, valid, labels, target, alphabet) if ridge is None else None
    return LabelledTables(train, valid, test, target, yardstick, tuple(notes), ridge)


def read_labelled(path: Path, recipe: FinetuneRecipe, alphabet: Alphabet) -> SequenceTable:
    """Read one file of labelled sequences of a recipe."""
    table = read_table(
        path, target=recipe.target, sequence=recipe.sequence, alphabet=alphabet, divided=True
    )
    check_kind(table)
    return table


def check_strands(
    alphabet: Alphabet, *, reverse_complement: bool | None = None, both_strands: bool = False
) -> None:
    """Refuse options on the opposite strand where there is none.

    Raises:
        InputError: one is given for proteins.
    """
    given = {"reverse_complement": reverse_complement, "both_strands": both_strands}
    for name, value in given.items():
        if value and not alphabet.complements:
            raise InputError(
                f"{name}: this model reads proteins, which have one strand; leave it out"
            )


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
