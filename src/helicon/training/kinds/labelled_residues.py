"""Labelled residues of a fine-tuning run: read, divided, looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helicon.alphabet import Alphabet
from helicon.data.tables.residue_labels import ResidueTable, read_residue_column, read_residues
from helicon.errors import InputError
from helicon.metrics.targets import Target
from helicon.training.adaptation.recipe import FinetuneRecipe
from helicon.training.kinds.labelled_tables import SPLIT_SEED, check_kind, shared_note
from helicon.training.kinds.splits import divide, hold_out_sequences


@dataclass(frozen=True)
class LabelledResidues:
    """Sequences with labelled residues to train, choose and test on.

    Attributes:
        train: to train on.
        valid: to choose on.
        test: to measure the final model on, if any.
        target: the classes: every character that labels a residue in any part.
        notes: what was found and decided, a line each.
    """

    train: ResidueTable
    valid: ResidueTable
    test: ResidueTable | None
    target: Target
    notes: tuple[str, ...]


def read_labelled_residues(recipe: FinetuneRecipe, alphabet: Alphabet) -> LabelledResidues:
    """Read the files of a recipe, checked so that nothing fails when training has begun.

    Raises:
        InputError: see `helicon.data.tables.residue_labels`; the training part has one class only,
            or the validation part.
    """
    recipe.refuse_genome_options()
    if recipe.reverse_complement or recipe.both_strands:
        raise InputError("labels of single letters are read on one strand; leave out its opposite")
    given = [recipe.valid, recipe.test]
    files = [None if path is None else _read(path, recipe, alphabet) for path in given]
    whole = _read(recipe.train, recipe, alphabet)
    train, valid, test, divided = divide(whole, *files)
    if valid is None:
        rows, held = hold_out_sequences(train.sequences, recipe.validation_fraction, SPLIT_SEED)
        train, valid = train.take(rows), train.take(held)
        count = len(rows) + len(held)
        divided.append(f"validation: {len(held):,} sequences held out of {count:,}")
    tables = {"train": train, "validation": valid} | ({} if test is None else {"test": test})
    found = {part: table.characters() for part, table in tables.items()}
    for part in ("train", "validation"):
        if len(found[part]) < 2:
            raise InputError(
                f"{tables[part].labels.path}: the residues for {part} have one class only "
                f"({found[part]}); nothing can be {'learned' if part == 'train' else 'chosen'}"
            )
    names = sorted(set("".join(found.values())))
    target = Target.plain("single_label", tuple(names))
    notes = [_described(tables, target), *whole.notes, *divided]
    if new := [name for name in names if name not in found["train"]]:
        notes.append(f"note: no residue for training has the class {', '.join(new)}")
    for part in list(tables)[1:]:
        notes += shared_note(train.sequences, tables[part].sequences, part)
    return LabelledResidues(train, valid, test, target, tuple(notes))


def _read(path: Path, recipe: FinetuneRecipe, alphabet: Alphabet) -> ResidueTable:
    return read_residue_table(
        path,
        labels=recipe.labels,
        target=recipe.target,
        mask=recipe.mask,
        sequence=recipe.sequence,
        alphabet=alphabet,
    )


def read_residue_table(
    path: Path,
    *,
    labels: Path | None,
    target: str,
    mask: Path | None,
    sequence: str,
    alphabet: Alphabet,
) -> ResidueTable:
    """Read labels of residues from a FASTA file, or without one from the column `target`."""
    if labels is None:
        table = read_residue_column(path, target, mask=mask, alphabet=alphabet, sequence=sequence)
    else:
        table = read_residues(path, labels, mask=mask, alphabet=alphabet, sequence=sequence)
    check_kind(table.sequences)
    return table


def _described(tables: dict[str, ResidueTable], target: Target) -> str:
    names = ", ".join(target.names[:12]) + (", ..." if len(target.names) > 12 else "")
    sizes = ", ".join(f"{part} {int(table.known.sum()):,}" for part, table in tables.items())
    total = int(np.sum([len(table.known) for table in tables.values()]))
    known = int(np.sum([table.known.sum() for table in tables.values()]))
    masked = f"; {total - known:,} masked" if known < total else ""
    return f"data: {len(target.names)} classes ({names}); residues: {sizes}{masked}"
