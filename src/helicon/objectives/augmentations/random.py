"""Random choices of augmentations: a few numbers a sequence, and what is hashed from them.

Everything follows from whole numbers by whole arithmetic, and Gaussian noise is looked up, so a CPU
and a GPU make the same choices.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from helicon.objectives.augmentations.arrays import Whole, cast, logical, negative, tensor, under

#: Random numbers of the sequences of a batch: of each, so many as its chain says, below 2**63.
Numbers = Integer[Tensor, "batch numbers"]

_LOW_31 = 2**31 - 1
#: Bits of a random number that make a letter, and how many letters a number makes.
_LETTER_BITS, LETTERS_A_NUMBER = 21, 3
#: Vectors of Gaussian noise that are kept to be drawn from.
BANK = 2**16


def draw_numbers(rng: np.random.Generator, rows: int, count: int) -> Numbers:
    """Draw the random state of an augmentation.

    Args:
        rng: as `helicon.data.sampling.windows.random_stream` makes one for a seed, a step and a
            rank.
        rows: sequences of the batch.
        count: numbers for each: `Chain.numbers`.

    Returns:
        (rows, count) int64, on the CPU. They may stay there while the batch is elsewhere.
    """
    return torch.from_numpy(rng.integers(0, 2**63, (rows, count), dtype=np.int64))


def below(numbers: Whole, bound: Whole) -> Whole:
    """Whole numbers drawn evenly from 0 to below a bound of at most 2**31, by the upper 31 bits."""
    return (numbers >> 32) * bound >> 31


def lesser(a: Whole, b: Whole) -> Whole:
    """The lesser of two whole numbers."""
    more = b - a
    return a + (more & negative(more))


def lanes(numbers: Whole, count: int, bound: int) -> Whole:
    """`count` whole numbers drawn evenly from 0 to below a small bound, three of each number.

    Args:
        numbers: (B, n), n at least a third of `count`.
        count: columns of the result.
        bound: at most 2**15.
    """
    parts = numbers[:, : -(-count // LETTERS_A_NUMBER), None] >> _shifts(numbers)
    drawn = (parts & (2**_LETTER_BITS - 1)) * bound >> _LETTER_BITS
    return drawn.reshape(len(numbers), -1)[:, :count]


def _shifts(numbers: Whole) -> Whole:
    shifts = np.arange(LETTERS_A_NUMBER) * _LETTER_BITS
    return shifts if isinstance(numbers, np.ndarray) else torch.from_numpy(shifts).to(numbers)


def hashed(numbers: Whole, places: Whole) -> Whole:
    """32 random bits for places of sequences, as int32.

    Two rounds of multiplying and folding (the constants are those of Wellons' `lowbias32`), with
    one half of the row's number before and the other between them.

    Args:
        numbers: one random number a row, (B, 1).
        places: not negative, (B, n) or (1, n).
    """
    x = cast(places, "int32") * -1640531527 + cast(numbers, "int32")
    x ^= logical(x, 16)
    x *= 0x7FEB352D
    x ^= cast(numbers >> 32, "int32")
    x ^= logical(x, 15)
    x *= -2073319797
    x ^= logical(x, 16)
    return x


def level(bits: Whole) -> Whole:
    """An even number from 0 to below 2**31 of each place's 32 bits; see `lowest`."""
    return bits & _LOW_31


def lowest(levels: Whole, share: float) -> Whole:
    """-1 where a level is in the lowest share of all, 0 elsewhere, as int8."""
    return under(levels, round(share * _LOW_31))


def spread(bits: Whole, bound: int) -> Whole:
    """Whole numbers from 0 to below a bound of at most 127, by the lowest 16 bits, as int8."""
    return cast((bits & 0xFFFF) * bound >> 16, "int8")


def gaussian(bits: Whole, columns: int, deviation: float) -> Float[Tensor, "batch places columns"]:
    """Gaussian vectors, one a place, chosen by its upper 16 bits; zeros for `bits` of -1.

    Each is one of 65,536 vectors drawn once: looking up costs a third of computing them, and gives
    the same on every device. The marginals have mean 0, the variance wanted and no odd moments.
    """
    rows = tensor(logical(bits, 16))
    bank = _bank(columns, deviation, rows.device)
    return bank.index_select(0, rows.reshape(-1)).view(*rows.shape, columns)


@lru_cache(maxsize=8)
def _bank(columns: int, deviation: float, device: torch.device) -> Float[Tensor, "vectors columns"]:
    """The vectors of `gaussian`; the last is zero, its opposite too."""
    rng = np.random.Generator(np.random.Philox(key=2**16))
    half = rng.standard_normal((BANK // 2, columns))
    half[-1] = 0
    half *= deviation / np.sqrt((half**2).mean(axis=0))
    return torch.from_numpy(np.concatenate([half, -half]).astype(np.float32)).to(device)
