"""Letters as bytes, changed by masks of bits: certain ones, random ones, complements."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from helicon.alphabet import ALPHABETS, Alphabet
from helicon.errors import InputError
from helicon.objectives.augmentations.arrays import Whole, cast, negative, under
from helicon.objectives.augmentations.random import lanes, spread

#: Letters of a batch, (B, L) of int8.
Letters = Whole
#: -1 where something holds and 0 elsewhere, (B, L) or (1, L) of int8.
Bits = Whole
#: -1 where a letter is read as its complement and 0 elsewhere, (B, L) or (B, 1).
Turned = Whole


def gaps(alphabet: Alphabet) -> tuple[int, tuple[int, ...]]:
    """One more than the highest id of a certain residue, and the ids below it that are none."""
    return _gaps(alphabet.name)


@lru_cache
def _gaps(name: str) -> tuple[int, tuple[int, ...]]:
    alphabet = ALPHABETS[name]
    real = sorted(alphabet.letters.index(letter) for letter in alphabet.real)
    return real[-1] + 1, tuple(sorted(set(range(real[-1])) - set(real)))


def certain(letters: Letters, alphabet: Alphabet) -> Bits:
    """Where a letter stands for one residue."""
    count, others = gaps(alphabet)
    found = under(letters, count)
    for other in others:
        found &= ~under(letters ^ other, 1)
    return found


def new_letters(numbers: Whole, count: int, alphabet: Alphabet) -> Whole:
    """Certain residues drawn evenly, `count` for each sequence, as whole numbers of 64 bits."""
    drawn = lanes(numbers, count, len(alphabet.real))
    for other in gaps(alphabet)[1]:
        drawn = drawn + 1 + negative(drawn - other)
    return drawn


def residues(bits: Whole, alphabet: Alphabet) -> Letters:
    """A certain residue for every place, drawn evenly by its hash."""
    return _past_gaps(spread(bits, len(alphabet.real)), alphabet)


def other_residues(letters: Letters, bits: Whole, alphabet: Alphabet) -> Letters:
    """For every certain letter another certain residue, drawn evenly by the place's hash."""
    drawn = spread(bits, len(alphabet.real) - 1)
    rank = letters
    for other in gaps(alphabet)[1]:
        rank = rank - 1 - negative(letters - other)
    drawn += 1 + negative(drawn - rank)
    return _past_gaps(drawn, alphabet)


def _past_gaps(ranks: Letters, alphabet: Alphabet) -> Letters:
    """Ids of certain residues from their ranks among them. Overwrites `ranks`."""
    for other in gaps(alphabet)[1]:
        ranks += 1 + negative(ranks - other)
    return ranks


def complement(letters: Letters, turned: Turned, alphabet: Alphabet) -> Letters:
    """Complement letters where they are turned; ids that pair with none stay."""
    count, swap = pairing(alphabet)
    return letters ^ (under(letters, count) & cast(turned, "int8") & swap)


def pairing(alphabet: Alphabet) -> tuple[int, int]:
    """How ids pair: those below the first number by exclusive or with the second.

    Raises:
        InputError: the alphabet has no complements.
    """
    return _pairing(alphabet.name)


@lru_cache
def _pairing(name: str) -> tuple[int, int]:
    alphabet = ALPHABETS[name]
    if not alphabet.complements:
        raise InputError(
            f"views: the {alphabet.name} alphabet has no complement; leave out R and V"
        )
    ids = alphabet.complement_ids
    return sum(pair != i for i, pair in enumerate(ids)), ids[0]


def named(rows: Float[Tensor, "batch length letters"], alphabet: Alphabet) -> Letters:
    """The letter that each soft row gives more than half, or the unknown one, as int8."""
    largest, letters = rows.max(-1)
    unknown = alphabet.mask_id if alphabet.unknown_id is None else alphabet.unknown_id
    return torch.where(largest > 0.5, letters, unknown).to(torch.int8)


def complemented_columns(
    rows: Shaped[Tensor, "batch length letters"], alphabet: Alphabet
) -> Shaped[Tensor, "batch length letters"]:
    """Soft rows with the columns of complements exchanged."""
    return rows.index_select(-1, torch.tensor(alphabet.complement_ids, device=rows.device))
