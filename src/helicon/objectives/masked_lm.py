"""Masked modelling: hide some residues, predict them from those around.

The default hides 10 % of the certain residues, drawn once, behind a symbol of its own; ambiguous
letters and padding are never targets. `official` is what the published ConvNova code does, defects
included, to reproduce its runs; `carp` is what the published CARP code does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA, SOFT_BIT, Alphabet, Ids
from helicon.data.reading.hashing import Hashes, below, mix
from helicon.errors import InputError

#: Target of a position that is not to be predicted.
IGNORE = -100
#: What stands in place of a chosen residue; see `Masking`.
Replacement = Literal["mask", "80-10-10", "official", "carp"]

Targets = NDArray[np.int16]
Chosen = NDArray[np.bool_]
_LETTER = np.uint8(SOFT_BIT - 1)


@dataclass(frozen=True)
class Masking:
    """How sequences are corrupted, and which positions are scored.

    Attributes:
        rate: share of the certain residues that become targets. The published ConvNova code
            has 0.15.
        replacement: what stands in place of a target.
            `mask`: the mask symbol.
            `80-10-10`: for 80 % the mask symbol, for 10 % a certain residue drawn at random (which
            may be the same), for 10 % what was there (Devlin et al. 2019).
            `official`: 80-10-10 drawn twice on the same sequence, with the unknown letter as the
            mask symbol and unknown letters and padding among the targets; only the second draw's
            positions are scored. At a rate of 0.15 about 22.4 % of positions become unknown and
            2.8 % a random base.
            `carp`: of a sequence of L letters, whatever they are, exactly `int(rate * L)` but at
            least one are targets: for 80 % the mask symbol, for 10 % another letter than was
            there, drawn from those that name a residue (the ambiguous B, Z, X and J too), for
            10 % what was there (Yang et al. 2024).
        soft_weight: weight in the loss of lower-case positions (soft-masked repeats), 0 to 1.
    """

    rate: float = 0.10
    replacement: Replacement = "mask"
    soft_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"mask_rate: must be between 0 and 1, not {self.rate}")
        if self.replacement not in get_args(Replacement):
            known = ", ".join(get_args(Replacement))
            raise InputError(f"replacement: {self.replacement!r} is not known; one of {known}")
        if not 0 <= self.soft_weight <= 1:
            raise InputError(f"soft_weight: must be in [0, 1], not {self.soft_weight}")


def mask_batch(
    ids: Ids,
    masking: Masking,
    rng: np.random.Generator,
    alphabet: Alphabet = DNA,
    real: Chosen | None = None,
) -> tuple[Ids, Targets, NDArray[np.float32] | None]:
    """Corrupt a batch and say what was there.

    Each position is chosen on its own with probability `masking.rate`, but for `carp`. A batch with
    any certain residue has at least one target.

    Args:
        ids: encoded sequences (B, L), uint8, `SOFT_BIT` on lower-case letters. Not changed.
        masking: how to corrupt.
        rng: source of all random choices.
        alphabet: what the ids mean.
        real: true where a letter of a sequence is, not padding, (B, L); by default everywhere but
            at padding symbols. (A protein may hold the padding symbol as a letter, a gap.)

    Returns:
        Inputs (B, L) uint8 without soft bits; targets (B, L) int16, the letter's id where it is to
        be predicted and `IGNORE` elsewhere; weights (B, L) float32, or `None` where all are 1.
    """
    if masking.replacement == "official":
        inputs, targets = _official(ids, masking.rate, rng, alphabet)
    elif masking.replacement == "carp":
        keys = rng.integers(0, 2**64, ids.shape, dtype=np.uint64)
        real = ids & _LETTER != alphabet.pad_id if real is None else real
        inputs, targets = mask_as_carp(ids, real, masking.rate, keys, alphabet)
    else:
        inputs, targets = _masked(ids, masking, rng, alphabet)
    if masking.soft_weight == 1:
        return inputs, targets, None
    weights = np.where(ids >= SOFT_BIT, np.float32(masking.soft_weight), np.float32(1))
    return inputs, targets, weights


def _masked(
    ids: Ids, masking: Masking, rng: np.random.Generator, alphabet: Alphabet
) -> tuple[Ids, Targets]:
    letters = ids & _LETTER
    certain = _is_certain(letters, alphabet)
    chosen = _choose(ids.shape, masking.rate, rng) & certain
    if not chosen.any():
        _choose_one(chosen, certain, rng)
    inputs = _select(chosen, np.uint8(alphabet.mask_id), letters)
    if masking.replacement == "80-10-10":
        swapped, kept = _fates(chosen, rng)
        inputs.flat[kept] = letters.flat[kept]
        inputs.flat[swapped] = _certain_ids(alphabet, rng, len(swapped))
    return inputs, _targets(chosen, letters)


def _official(
    ids: Ids, rate: float, rng: np.random.Generator, alphabet: Alphabet
) -> tuple[Ids, Targets]:
    """The published ConvNova loader: two draws in place, the second one's positions scored."""
    if alphabet.unknown_id is None:
        raise InputError(
            f"replacement: official needs a letter for unknown; {alphabet.name} has no"
        )
    unknown = np.uint8(alphabet.unknown_id)
    clean = ids & _LETTER
    clean[clean >= alphabet.size] = unknown
    inputs = clean
    for _ in range(2):
        chosen = _choose(ids.shape, rate, rng)
        if not chosen.any():
            _choose_one(chosen, np.ones_like(chosen), rng)
        swapped, kept = _fates(chosen, rng)
        corrupted = _select(chosen, unknown, inputs)
        corrupted.flat[kept] = inputs.flat[kept]
        corrupted.flat[swapped] = _certain_ids(alphabet, rng, len(swapped))
        inputs = corrupted
    return inputs, _targets(chosen, clean)


def mask_as_carp(
    ids: Ids, real: Chosen, rate: float, keys: Hashes, alphabet: Alphabet
) -> tuple[Ids, Targets]:
    """Corrupt sequences as `replacement="carp"` says, all random choices made by given keys.

    Args:
        ids: encoded sequences (B, L), uint8. Not changed.
        real: true where a letter of a sequence is, (B, L).
        rate: share of each sequence's letters to predict.
        keys: a random number for every position, (B, L): the positions of a row with the lowest
            are its targets.
        alphabet: what the ids mean.

    Returns:
        Inputs (B, L) uint8 without soft bits, and targets (B, L) int16, as `mask_batch`.
    """
    letters = ids & _LETTER
    chosen = _lowest(keys, real, rate)
    inputs = _select(chosen, np.uint8(alphabet.mask_id), letters)
    places = np.flatnonzero(chosen)
    level = mix(keys.flat[places], salt=1) >> np.uint64(11)
    swapped = places[level < 0.1 * 2**53]
    kept = places[level >= 0.9 * 2**53]
    inputs.flat[kept] = letters.flat[kept]
    inputs.flat[swapped] = _others(letters.flat[swapped], keys.flat[swapped], alphabet)
    return inputs, _targets(chosen, letters)


def _lowest(keys: Hashes, real: Chosen, rate: float) -> Chosen:
    """Of the L real positions of each row the `int(rate * L)` with the lowest keys, or one."""
    columns = real.shape[1]
    bits = np.uint64(max(columns - 1, 1).bit_length())
    # The column in the low bits makes keys differ; no real key is as high as that of padding.
    keys = (keys >> np.uint64(1) >> bits << bits) | np.arange(columns, dtype=np.uint64)
    keys[~real] = np.uint64(2**64 - 1)
    lengths = real.sum(axis=1)
    last = np.maximum((rate * lengths).astype(np.int64), 1) - 1
    ordered = np.sort(keys, axis=1)  # as fast as a partition, whose places differ from row to row
    return (keys <= np.take_along_axis(ordered, last[:, None], axis=1)) & real


def _others(letters: Ids, keys: Hashes, alphabet: Alphabet) -> Ids:
    """For each letter another one, drawn evenly from those that name a residue, shape (n,)."""
    naming = sum(letter.isalpha() for letter in alphabet.letters)  # they come first
    among = letters < naming
    drawn = below(mix(keys, salt=2), naming - among.astype(np.int64)).astype(np.uint8)
    return drawn + (among & (drawn >= letters))


def _targets(chosen: Chosen, letters: Ids) -> Targets:
    return _select(chosen, letters, np.uint8(IGNORE % 256)).view(np.int8).astype(np.int16)


def _select(chosen: Chosen, yes: Ids | np.uint8, no: Ids | np.uint8) -> Ids:
    """What `np.where` gives, by bits: four times as fast on bytes."""
    mask = np.negative(chosen.view(np.uint8))  # 255 where chosen
    mask &= yes ^ no
    mask ^= no
    return mask


def _is_certain(letters: Ids, alphabet: Alphabet) -> Chosen:
    """Which letters stand for one residue: comparisons, which beat a table of 256 five times."""
    real = [alphabet.letters.index(letter) for letter in alphabet.real]
    certain = letters <= np.uint8(max(real))
    for other in set(range(max(real))) - set(real):
        certain &= letters != np.uint8(other)
    return certain


def _choose(shape: tuple[int, ...], rate: float, rng: np.random.Generator) -> Chosen:
    """Choose positions on their own, each with probability `rate`, by one random byte.

    A byte below `256 * rate` says yes; the one on the border leaves it to a second number.
    """
    size = math.prod(shape)
    numbers = rng.integers(0, 2**64, -(-size // 8), dtype=np.uint64).view(np.uint8)[:size]
    border = int(256 * rate)
    chosen = numbers < np.uint8(border)
    open_ = np.flatnonzero(numbers == np.uint8(border))
    chosen[open_] = rng.random(len(open_)) < 256 * rate - border
    return chosen.reshape(shape)


def _choose_one(chosen: Chosen, among: Chosen, rng: np.random.Generator) -> None:
    places = np.flatnonzero(among)
    if len(places):
        chosen.flat[rng.choice(places)] = True


def _fates(chosen: Chosen, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of chosen positions: which get a random residue (10 %) and which stay (10 %)."""
    places = np.flatnonzero(chosen)
    level = rng.random(len(places), dtype=np.float32)
    return places[level < 0.1], places[level >= 0.9]


def _certain_ids(alphabet: Alphabet, rng: np.random.Generator, count: int) -> Ids:
    """Certain residues drawn uniformly."""
    real = np.array([alphabet.letters.index(letter) for letter in alphabet.real], dtype=np.uint8)
    return real[rng.integers(0, len(real), count)]


def masked_lm_loss(
    logits: Float[Tensor, "batch length letters"],
    targets: Int[Tensor, "batch length"],
    weights: Float[Tensor, "batch length"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy over the targets, in float32.

    Args:
        logits: a column for each letter.
        targets: ids of letters, `IGNORE` where none is wanted.
        weights: weights of the positions; `None` for 1.

    Returns:
        The weighted mean of the loss (0 without targets), the number of targets (their summed
        weights where there are weights), and how many of the targets have the highest logit
        (their summed weights likewise).
    """
    scored = targets != IGNORE
    wanted = targets.long()
    # All positions are computed, not the scored rows picked out: picking needs their number, for
    # which a GPU would have to be waited for.
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), wanted, ignore_index=IGNORE, reduction="none"
    )
    each = scored.float() if weights is None else scored * weights.float()
    total = each.sum()
    right = (logits.argmax(-1) == wanted) * each
    return (losses * each).sum() / total.clamp(min=1e-8), total, right.sum()
