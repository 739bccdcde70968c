"""Masking: rates, targets, replacements, weights, and the loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helicon.alphabet import DNA, PROTEIN, SOFT_BIT
from helicon.errors import InputError
from helicon.objectives.masked_lm import IGNORE, Masking, mask_batch, masked_lm_loss


def rng(seed=0):
    return np.random.default_rng(seed)


def bases(shape=(64, 4096), seed=1):
    return rng(seed).integers(0, 4, shape, dtype=np.uint8)


def within(share, wanted, count, sigmas=5):
    """Whether an observed share of `count` trials agrees with its probability."""
    return abs(share - wanted) < sigmas * np.sqrt(wanted * (1 - wanted) / count)


@pytest.mark.parametrize("rate", [0.003, 0.10, 0.15, 0.5, 0.999])
def test_the_rate_is_the_stated_one(rate):
    ids = bases()
    _, targets, weights = mask_batch(ids, Masking(rate), rng())
    assert within((targets != IGNORE).mean(), rate, ids.size)
    assert weights is None


def test_positions_are_chosen_evenly_and_independently():
    ids = bases((2000, 128))
    chosen = mask_batch(ids, Masking(0.10), rng())[1] != IGNORE
    assert all(within(share, 0.10, 2000) for share in chosen.mean(axis=0))
    pairs = (chosen[:, 1:] & chosen[:, :-1]).mean()
    assert within(pairs, 0.01, chosen.size)


def test_targets_hold_what_was_there_and_inputs_the_mask_symbol():
    ids = bases()
    before = ids.copy()
    inputs, targets, _ = mask_batch(ids, Masking(), rng())
    chosen = targets != IGNORE
    assert (targets[chosen] == ids[chosen]).all() and targets.dtype == np.int16
    assert (inputs[chosen] == DNA.mask_id).all() and (inputs[~chosen] == ids[~chosen]).all()
    assert (ids == before).all()


def test_only_certain_bases_are_targets():
    ids = rng().choice(np.array([0, 1, 2, 3, 4, 6], dtype=np.uint8), (64, 512))
    ids[::2] |= SOFT_BIT
    inputs, targets, _ = mask_batch(ids, Masking(0.5), rng())
    letters = ids & 0x7F
    assert (targets[letters > 3] == IGNORE).all()
    assert (inputs[letters > 3] == letters[letters > 3]).all()
    assert within((targets[letters < 4] != IGNORE).mean(), 0.5, (letters < 4).sum())


def test_proteins_are_masked_by_their_own_alphabet():
    ids = rng().integers(0, PROTEIN.size, (64, 512), dtype=np.uint8)
    inputs, targets, _ = mask_batch(ids, Masking(0.3), rng(), PROTEIN)
    chosen = targets != IGNORE
    certain = np.isin(ids, [PROTEIN.letters.index(letter) for letter in PROTEIN.real])
    assert not chosen[~certain].any() and within(chosen[certain].mean(), 0.3, certain.sum())
    assert (inputs[chosen] == PROTEIN.mask_id).all()
    swapped = mask_batch(ids, Masking(0.3, "80-10-10"), rng(), PROTEIN)[0]
    assert np.isin(swapped[chosen & (swapped != ids)], [*np.unique(ids[certain]), 28]).all()


def test_80_10_10():
    ids = bases()
    inputs, targets, _ = mask_batch(ids, Masking(0.15, "80-10-10"), rng())
    chosen = targets != IGNORE
    count = chosen.sum()
    hidden = inputs[chosen] == DNA.mask_id
    changed = ~hidden & (inputs[chosen] != ids[chosen])
    assert within(hidden.mean(), 0.8, count)
    assert within(changed.mean(), 0.1 * 3 / 4, count)  # a quarter of the random bases are the same
    assert set(np.unique(inputs[chosen][~hidden])) == {0, 1, 2, 3}
    assert (inputs[~chosen] == ids[~chosen]).all()


def test_official_has_the_rates_of_the_published_code():
    ids = bases((64, 16_384))
    inputs, targets, _ = mask_batch(ids, Masking(0.15, "official"), rng())
    assert within((targets != IGNORE).mean(), 0.15, ids.size)
    unknown = (inputs == 4).mean()
    assert within(unknown, 0.15 * 0.8 * (2 - 0.15 * 0.8) - 0.12 * 0.015, ids.size)
    random = (inputs != ids) & (inputs != 4)
    assert random.mean() * 4 / 3 == pytest.approx(0.028, abs=0.001)
    assert ((inputs == 4) & (targets == IGNORE)).any()  # corrupted by the first draw, not scored


def test_official_scores_unknown_letters_and_padding_as_n():
    ids = np.full((8, 1024), DNA.pad_id, dtype=np.uint8)
    ids[:4] = 4
    inputs, targets, _ = mask_batch(ids, Masking(0.15, "official"), rng())
    assert set(np.unique(targets)) == {IGNORE, 4}
    assert set(np.unique(inputs)) == {0, 1, 2, 3, 4}


def test_soft_masked_positions_weigh_less():
    ids = bases((4, 64))
    ids[:, ::2] |= SOFT_BIT
    _, _, weights = mask_batch(ids, Masking(soft_weight=0.25), rng())
    assert (weights[:, ::2] == 0.25).all() and (weights[:, 1::2] == 1).all()
    assert weights.dtype == np.float32


def test_a_batch_has_a_target_if_it_can():
    ids = np.full((1, 16), 4, dtype=np.uint8)
    assert (mask_batch(ids, Masking(0.001), rng())[1] == IGNORE).all()
    ids[0, 7] = 2
    for seed in range(20):
        targets = mask_batch(ids, Masking(0.001), rng(seed))[1]
        assert (targets != IGNORE).sum() == 1 and targets[0, 7] == 2
    assert (mask_batch(ids, Masking(0.001, "official"), rng())[1] != IGNORE).any()


def test_the_same_random_numbers_give_the_same_batch():
    one, two = (mask_batch(bases(), Masking(replacement="80-10-10"), rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one[:2], two[:2], strict=True))


@pytest.mark.parametrize(
    "options", [{"rate": 0.0}, {"rate": 1.0}, {"replacement": "50-50"}, {"soft_weight": -1.0}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InputError):
        Masking(**options)


def test_the_loss_is_the_weighted_mean_over_targets():
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 20, 5), torch.randint(0, 4, (3, 20))
    targets[torch.rand(3, 20) < 0.6] = IGNORE
    weights = torch.rand(3, 20)
    scored = targets != IGNORE
    each = F.cross_entropy(logits[scored], targets[scored], reduction="none")
    mean, count, right = masked_lm_loss(logits, targets.to(torch.int16))
    torch.testing.assert_close(mean, each.mean())
    assert count == scored.sum() and right == (logits.argmax(-1) == targets)[scored].sum()
    mean, total, _ = masked_lm_loss(logits, targets, weights)
    torch.testing.assert_close(mean, (each * weights[scored]).sum() / weights[scored].sum())
    torch.testing.assert_close(total, weights[scored].sum())


def test_the_loss_is_in_float32_and_zero_without_targets():
    logits = torch.randn(1, 4, 5, dtype=torch.bfloat16, requires_grad=True)
    mean, count, _ = masked_lm_loss(logits, torch.full((1, 4), IGNORE))
    mean.backward()
    assert mean.dtype == torch.float32 and mean == 0 and count == 0
    assert (logits.grad == 0).all()
