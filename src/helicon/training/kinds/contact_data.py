"""The proteins of a fine-tuning run on contacts: read, divided, counted, looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import PROTEIN, Alphabet
from helicon.data.structures.files import read_structures
from helicon.data.structures.structures import Structures
from helicon.errors import InputError
from helicon.metrics.contacts import RANGES, contact_precision, mean_precision
from helicon.metrics.targets import Target
from helicon.training.adaptation.recipe import FinetuneRecipe
from helicon.training.kinds.splits import hold_out, shared_sequences

#: Held-out proteins are the same for every seed of a run, so that seeds can be compared.
_SPLIT_SEED = 0
#: Proteins at most whose pairs are counted, spread over the file.
_COUNTED = 1000


@dataclass(frozen=True)
class PairCounts:
    """Pairs and contacts at each separation.

    Attributes:
        contacts: number of contacts of residues that are so many apart, from 0.
        pairs: number of pairs of which it is known.
    """

    contacts: NDArray[np.int64]
    pairs: NDArray[np.int64]

    @classmethod
    def of(cls, structures: Structures, most: int = _COUNTED) -> PairCounts:
        """Count in some proteins, spread over all."""
        longest = int(structures.lengths.max())
        contacts, pairs = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
        for k in range(0, len(structures), -(-len(structures) // most)):
            labels = structures.labels(k, 0, 0, int(structures.lengths[k]), 1)
            row, column = np.nonzero(labels >= 0)
            apart, hit = column - row, labels[row, column] == 1
            pairs += np.bincount(apart, minlength=longest)
            contacts += np.bincount(apart[hit], minlength=longest)
        return cls(contacts, pairs)

    def beyond(self, least: int, behind: int | None = None) -> tuple[int, int]:
        """Contacts, and pairs, that are at least so far apart, and less than `behind`."""
        return int(self.contacts[least:behind].sum()), int(self.pairs[least:behind].sum())

    def rate(self, length: int) -> NDArray[np.float64]:
        """Frequency of contacts at the separations 0 to `length - 1`; of unseen ones the last."""
        seen = np.flatnonzero(self.pairs)
        if not len(seen):
            return np.zeros(length)
        nearest = seen[np.searchsorted(seen, np.arange(length)).clip(max=len(seen) - 1)]
        return self.contacts[nearest] / self.pairs[nearest]


@dataclass(frozen=True)
class ContactData:
    """Proteins to train, choose and test on, and what was found out about them.

    Attributes:
        train: proteins to train on.
        valid: proteins to choose on.
        test: proteins to measure the final model on, if any.
        counts: of the pairs to train on.
        by_separation: measures on validation data of pairs ranked by how often residues that far
            apart are in contact in training.
        notes: what was found and decided, a line each.
    """

    train: Structures
    valid: Structures
    test: Structures | None
    counts: PairCounts
    by_separation: dict[str, float]
    notes: tuple[str, ...]


def read_contacts(recipe: FinetuneRecipe, alphabet: Alphabet, monitor: str) -> ContactData:
    """Read the files of a recipe, checked so that nothing fails when training has begun.

    Args:
        recipe: names the files.
        alphabet: that the model reads.
        monitor: the measure that is to choose the checkpoint.

    Raises:
        InputError: see `read_structures`; the model reads no proteins; an option has no meaning for
            contacts; training has no contact, or validation none by which could be chosen.
    """
    _check_options(recipe, alphabet)
    train = read_structures(recipe.train)
    notes = [_described(train)]
    if recipe.valid is not None:
        valid = read_structures(recipe.valid)
        notes += _shared(train, valid, "validation")
    else:
        target = Target.plain("multi_label", ("contact",))
        none = np.zeros((len(train), 1))
        fraction = recipe.validation_fraction
        rows, held = hold_out(train.table, none, target, fraction, _SPLIT_SEED)
        notes.append(
            f"validation: {len(held):,} proteins held out of {len(train):,}, at random: relatives "
            "may stand on both sides; give a validation file for proteins that are unlike"
        )
        train, valid = train.take(rows), train.take(held)
    test = None if recipe.test is None else read_structures(recipe.test)
    if test is not None:
        notes += _shared(train, test, "test")
    counts = PairCounts.of(train)
    if not counts.beyond(recipe.head_settings.pair_separation)[0]:
        raise InputError(
            f"{train.path}: has no contact of residues that are "
            f"{recipe.head_settings.pair_separation} apart or more; there is nothing to learn"
        )
    _check_choice(valid, monitor)
    return ContactData(train, valid, test, counts, _by_separation(counts, valid), tuple(notes))


def _check_options(recipe: FinetuneRecipe, alphabet: Alphabet) -> None:
    if alphabet is not PROTEIN:
        raise InputError(
            f"{recipe.model}: reads DNA, but contacts are of residues; choose a protein model"
        )
    if recipe.pool is not None or recipe.head != "linear":
        raise InputError(
            "pool, head: are of models of sequences; the head of contacts has pair_width and "
            "pair_blocks"
        )


def _described(structures: Structures) -> str:
    lengths = structures.lengths
    contacts, pairs = PairCounts.of(structures).beyond(RANGES["all"][0])
    share = contacts / pairs if pairs else 0.0
    return (
        f"data: {len(structures):,} proteins of {lengths.min():,} to {lengths.max():,} residues, "
        f"{100 * structures.valid.mean():.3g} % of them with known contacts; {100 * share:.3g} % "
        f"of the pairs that are {RANGES['all'][0]} apart or more are in contact"
    )


def _shared(train: Structures, other: Structures, name: str) -> list[str]:
    shared = shared_sequences(train.table, other.table)
    if not shared:
        return []
    return [f"note: {shared:,} of {len(other):,} {name} proteins also stand in the training data"]


def _check_choice(valid: Structures, monitor: str) -> None:
    """Stop where validation data cannot tell one checkpoint from another."""
    reach = monitor.split("_")[0]
    if reach not in RANGES:
        return
    least, behind = RANGES[reach]
    if not PairCounts.of(valid, len(valid)).beyond(least, behind)[0]:
        raise InputError(
            f"{valid.path}: the validation proteins have no contact of the range {reach} "
            f"({least} residues apart or more), so {monitor} cannot choose a checkpoint; choose "
            "the monitor all_precision_l or loss, or give other proteins"
        )


def _by_separation(counts: PairCounts, valid: Structures) -> dict[str, float]:
    found = []
    for k in range(len(valid)):
        length = int(valid.lengths[k])
        apart = np.abs(np.arange(length)[:, None] - np.arange(length))
        guess = counts.rate(length)[apart]
        found.append(contact_precision(guess, valid.contacts(k), valid.valid_residues(k)))
    return mean_precision(found)
