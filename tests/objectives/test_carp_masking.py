"""CARP's masking: exact numbers of targets, their fates, other letters, never padding."""

import numpy as np
import pytest

from helicon.alphabet import PROTEIN
from helicon.objectives.masked_lm import IGNORE, Masking, mask_as_carp, mask_batch

CARP = Masking(0.15, "carp")


def batch(rows, width, shortest=1, seed=0):
    """Random sequences of all letters, padded with the symbol that is a letter too."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, width + 1, rows)
    real = np.arange(width) < lengths[:, None]
    ids = rng.integers(0, 27, (rows, width), dtype=np.uint8)
    ids[~real] = PROTEIN.pad_id
    return ids, real, lengths


def masked(ids, real, seed=0, masking=CARP):
    inputs, targets, weights = mask_batch(ids, masking, np.random.default_rng(seed), PROTEIN, real)
    assert weights is None
    return inputs, targets


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.6, 0.999])
def test_every_sequence_has_exactly_its_number_of_targets(rate):
    ids, real, lengths = batch(500, 220)
    before = ids.copy()
    inputs, targets = masked(ids, real, masking=Masking(rate, "carp"))
    wanted = [max(1, int(rate * n)) for n in lengths.tolist()]
    assert (targets != IGNORE).sum(axis=1).tolist() == wanted
    assert not (targets != IGNORE)[~real].any() and (inputs[~real] == PROTEIN.pad_id).all()
    assert (ids == before).all() and (targets[targets != IGNORE] == ids[targets != IGNORE]).all()


def test_fates_are_80_10_10_and_a_random_letter_is_another_one():
    ids, real, _ = batch(3000, 300)
    inputs, targets = masked(ids, real)
    chosen = targets != IGNORE
    assert (inputs[~chosen] == ids[~chosen]).all()
    was, now = ids[chosen], inputs[chosen]
    hidden, kept = now == PROTEIN.mask_id, now == was
    swapped = ~hidden & ~kept
    for share, wanted in ((hidden, 0.8), (kept, 0.1), (swapped, 0.1)):
        assert share.mean() == pytest.approx(wanted, abs=0.006)
    # From the 26 letters that name a residue, evenly, each but the one that was there.
    assert set(now[swapped]) == set(range(26))
    for letter in (0, 12, 25):
        others = np.bincount(now[swapped & (was == letter)], minlength=26)
        assert others[letter] == 0 and np.delete(others, letter).min() > 0
    counts = np.bincount(now[swapped], minlength=26)
    assert counts.max() / counts.min() < 1.5
    assert (was[swapped] == 26).any()  # a stop symbol is a target as any other letter


def test_all_real_positions_are_as_likely_as_each_other():
    ids, real, _ = batch(4000, 60, shortest=60)
    chosen = masked(ids, real)[1] != IGNORE
    assert np.abs(chosen.mean(axis=0) - 9 / 60).max() < 0.03
    assert len({row.tobytes() for row in chosen[:500]}) == 500


def test_a_gap_is_a_letter_and_padding_is_not():
    ids = np.full((40, 12), PROTEIN.pad_id, dtype=np.uint8)
    real = np.zeros(ids.shape, dtype=bool)
    real[:, :4] = True
    _, targets = masked(ids, real)
    assert (targets[:, :4] == PROTEIN.pad_id).sum() == 40 and (targets[:, 4:] == IGNORE).all()
    # Without word of what is real, padding is told by its symbol.
    ids[:, :6] = 3
    targets = mask_batch(ids, CARP, np.random.default_rng(0), PROTEIN)[1]
    assert ((targets != IGNORE).sum(axis=1) == 1).all() and (targets[:, 6:] == IGNORE).all()


def test_the_keys_decide_everything_row_by_row():
    ids, real, _ = batch(50, 80)
    keys = np.random.default_rng(5).integers(0, 2**64, ids.shape, dtype=np.uint64)
    whole = mask_as_carp(ids, real, 0.15, keys, PROTEIN)
    alone = [mask_as_carp(*(x[i : i + 1] for x in (ids, real)), 0.15, keys[i : i + 1], PROTEIN)
             for i in range(50)]  # fmt: skip
    for part in (0, 1):
        assert (whole[part] == np.concatenate([one[part] for one in alone])).all()


def test_equal_keys_still_give_exact_numbers():
    ids, real, lengths = batch(30, 100)
    keys = np.full(ids.shape, 2**64 - 1, dtype=np.uint64)
    _, targets = mask_as_carp(ids, real, 0.15, keys, PROTEIN)
    wanted = [max(1, int(0.15 * n)) for n in lengths.tolist()]
    assert (targets != IGNORE).sum(axis=1).tolist() == wanted
