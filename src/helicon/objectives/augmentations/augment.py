"""Augmented views of batches: the augmentations of FinDNA and EvoAug, in any order.

A `Chain` of operations makes a `View` of a batch on the batch's own device, without a loop over
sequences. It is a pure function of the batch and of a few random numbers for each sequence; the
view of a sequence depends neither on the others nor on padding. Lengths are kept, padding stays
where it is, and letters to predict and labels move with the letters.

    student, teacher = parse_views("MDIT+NR")
    numbers = draw_numbers(random_stream(seed, use, rank, step), len(ids), student.numbers)
    view = student(ids, numbers, mask)

Sources: Lee et al. 2023 (EvoAug) for the operations; FinDNA for masks and for pairs of views.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from helicon.alphabet import DNA, Alphabet
from helicon.errors import InputError
from helicon.models.parts.backbone import Mask, Tokens, one_hot
from helicon.objectives.augmentations.chain import Chain, View
from helicon.objectives.augmentations.operations import (
    Deletion,
    GaussianNoise,
    Insertion,
    Inversion,
    PointMutation,
    RandomMasking,
    ReverseComplement,
    Translocation,
)
from helicon.objectives.augmentations.random import Numbers, draw_numbers
from helicon.objectives.augmentations.stage import Operation

__all__ = [
    "LETTERS",
    "Chain",
    "Deletion",
    "GaussianNoise",
    "Insertion",
    "Inversion",
    "PointMutation",
    "RandomMasking",
    "ReverseComplement",
    "Translocation",
    "View",
    "draw_numbers",
    "parse_views",
    "two_views",
    "view_dissimilarity",
]

#: Operations by the letters of `parse_views`. FinDNA has the first six.
LETTERS: Mapping[str, Operation] = {
    "M": RandomMasking(),
    "D": Deletion(),
    "I": Insertion(),
    "T": Translocation(),
    "N": GaussianNoise(),
    "R": ReverseComplement(),
    "V": Inversion(),
    "P": PointMutation(),
}
#: How `parse_views` is told of a view that is the sequence itself.
NO_AUGMENTATION = "NoAug"


def parse_views(text: str, letters: Mapping[str, Operation] | None = None) -> tuple[Chain, Chain]:
    """Read a pair of views in the letters of the FinDNA paper: `MDIT+NR`.

    Args:
        text: letters of the student's operations in order, `+`, letters of the teacher's. `NoAug`
            in place of letters is the sequence itself.
        letters: operations that stand for letters instead of, or besides, those of `LETTERS`.

    Returns:
        The chains of the student's and of the teacher's view.

    Raises:
        InputError: it is no pair, or has a letter that stands for nothing.
    """
    known = {**LETTERS, **(letters or {})}
    parts = text.split("+")
    if len(parts) != 2 or not all(parts):
        raise InputError(
            f"views: {text!r} is no pair; write the student's letters, +, and the teacher's, as in "
            f"MDIT+NR ({NO_AUGMENTATION} for none)"
        )
    chains = []
    for part in parts:
        given = "" if part == NO_AUGMENTATION else part
        if unknown := [letter for letter in given if letter not in known]:
            names = ", ".join(f"{key} ({type(value).__name__})" for key, value in known.items())
            raise InputError(
                f"views: {unknown[0]!r} in {text!r} is no augmentation; there are {names}, "
                f"and {NO_AUGMENTATION}"
            )
        chains.append(Chain(tuple(known[letter] for letter in given)))
    return chains[0], chains[1]


def two_views(
    views: tuple[Chain, Chain],
    inputs: Tokens,
    numbers: Numbers,
    mask: Mask | None = None,
    *,
    alphabet: Alphabet = DNA,
) -> tuple[View, View]:
    """Make both views of a batch, with random numbers of their own.

    Args:
        views: the student's and the teacher's chain.
        inputs: see `Chain`.
        numbers: of each sequence as many as both chains together need.
        mask: see `Chain`.
        alphabet: what the ids or columns mean.
    """
    first, second = views
    return (
        first(inputs, numbers[:, : first.numbers], mask, alphabet=alphabet),
        second(inputs, numbers[:, first.numbers :], mask, alphabet=alphabet),
    )


def view_dissimilarity(
    first: Tokens, second: Tokens, mask: Mask | None = None, *, alphabet: Alphabet = DNA
) -> Float[Tensor, ""]:
    """How far two views of the same batch are from each other (equation 10 of the FinDNA paper).

    With u_i and v_i the one-hot or soft rows of the views at position i, zeros where it is hidden,

        D(u, v) = 1/n sum_i KL(softmax(u_i) || softmax(v_i))

    over all n real positions of the batch, in nats. Equal views have 0. Two different letters of
    DNA, with five columns, have 0.256; a hidden one against a letter 0.095, a letter against a
    hidden one 0.109.

    Args:
        first: inputs of one view: token ids (B, L) or soft rows (B, L, V).
        second: inputs of the other.
        mask: true at real positions, (B, L); `None` where all are real.
        alphabet: what the ids or columns mean.

    Returns:
        The mean, float32; NaN without a real position.
    """
    u, v = (F.log_softmax(one_hot(x, alphabet.size, torch.float32), -1) for x in (first, second))
    apart = F.kl_div(v, u, reduction="none", log_target=True).sum(-1)
    return apart.mean() if mask is None else (apart * mask).sum() / mask.sum()
