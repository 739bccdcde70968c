"""Masks, mutations and noise: rates, targets, what they leave alone; letters as bits."""

import numpy as np
import pytest
import torch
from augment_cases import batch, numbers

from helicon.alphabet import DNA, PROTEIN
from helicon.errors import InputError
from helicon.models.parts.backbone import one_hot
from helicon.objectives.augmentations.augment import (
    LETTERS,
    Chain,
    Deletion,
    GaussianNoise,
    Insertion,
    PointMutation,
    RandomMasking,
    ReverseComplement,
)
from helicon.objectives.augmentations.letters import certain, complement
from helicon.objectives.augmentations.random import hashed
from helicon.objectives.masked_lm import IGNORE


def within(share, wanted, count, sigmas=5):
    return abs(float(share) - wanted) < sigmas * np.sqrt(wanted * (1 - wanted) / float(count))


def view_of(ids, *operations, mask=None, alphabet=DNA, seed=0):
    chain = Chain(operations)
    return chain(ids, numbers(chain, len(ids), seed), mask, alphabet=alphabet)


def test_letters_by_bits_are_those_of_the_alphabets():
    ids = torch.arange(7).to(torch.int8)[None]
    every = -torch.ones(1, 1, dtype=torch.int16)
    assert complement(ids, every, DNA)[0].tolist() == DNA.complement_table[:7].tolist()
    assert torch.equal(complement(ids, 0 * every, DNA), ids)
    for alphabet in (DNA, PROTEIN):
        ids = torch.arange(len(alphabet.vocabulary)).to(torch.int8)[None]
        real = alphabet.real_table()[: ids.shape[1]]
        assert (certain(ids, alphabet)[0].numpy() == -1 * real).all()


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN])
def test_masking_has_the_shares_of_the_paper(alphabet):
    ids, _ = batch([1000] * 200, 1000, letters=alphabet.size)
    masking = LETTERS["M"]
    view = view_of(ids, masking, alphabet=alphabet)
    real = torch.from_numpy(alphabet.real_table()[ids.numpy()])
    chosen = view.targets != IGNORE
    assert not chosen[~real].any()
    assert within(chosen[real].float().mean(), 0.3, real.sum())
    assert torch.equal(view.targets[chosen], ids[chosen].short())
    assert torch.equal(view.inputs[~chosen], ids[~chosen])
    count = len(alphabet.real)
    now, was = view.inputs[chosen], ids[chosen]
    hidden = now == alphabet.mask_id
    assert within(hidden.float().mean(), 0.8, len(now))
    changed = ~hidden & (now != was)
    assert within(changed.float().mean(), 0.1 * (count - 1) / count, len(now))
    assert set(now[changed].tolist()) == {alphabet.letters.index(x) for x in alphabet.real}
    places = chosen.float().mean(0)  # every column as likely as another
    share = 0.3 * real.float().mean(0)
    assert (places - share).abs().max() < 0.2


def test_masked_rows_are_blank_and_targets_move():
    ids, mask = batch([50, 30], 50, letters=4)
    view = view_of(ids, RandomMasking(1.0, 0.0, 0.0), ReverseComplement(1.0), GaussianNoise(0.0))
    assert (view.inputs == 0).all()
    wanted = DNA.reverse_complement(ids[:1].numpy())
    assert (view.targets[0].numpy() == wanted).all()
    view = view_of(ids, RandomMasking(1.0, 0.0, 0.0), Insertion(9, 9), mask=mask)
    new = view.places >= 50
    assert (view.targets[new] == IGNORE).all() and (view.inputs[new] < 4).all()
    assert (view.targets[mask & ~new] != IGNORE).all()
    assert (view.targets[~mask] == IGNORE).all()
    assert view_of(ids, Insertion()).targets is None


def test_a_second_masking_keeps_the_first_ones_targets():
    ids, _ = batch([4000], 4000, letters=4)
    view = view_of(ids, RandomMasking(0.5, 1.0, 0.0), RandomMasking(0.5, 0.0, 0.0))
    chosen = view.targets != IGNORE
    assert torch.equal(view.targets[chosen], ids[chosen].short())
    assert within(chosen.float().mean(), 0.75, 4000)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN])
def test_a_mutation_is_another_certain_letter(alphabet):
    ids, mask = batch([1000, 600] * 100, 1000, letters=alphabet.size, pad=alphabet.pad_id)
    view = view_of(ids, PointMutation(0.3), mask=mask, alphabet=alphabet)
    real = torch.from_numpy(alphabet.real_table()[ids.numpy()]) & mask
    changed = view.inputs != ids
    assert not changed[~real].any()
    assert within(changed[real].float().mean(), 0.3, real.sum())
    count = len(alphabet.real)
    now, was = view.inputs[changed].long(), ids[changed].long()
    pairs = torch.bincount(now * 32 + was, minlength=1024).view(32, 32)
    pairs = pairs[: alphabet.size, : alphabet.size]
    assert (pairs > 0).sum() == count * (count - 1)
    if alphabet is DNA:
        assert pairs[pairs > 0].max() / pairs[pairs > 0].min() < 1.2
    assert torch.equal(view_of(ids, PointMutation(0.0), mask=mask).inputs, ids)
    rare = view_of(ids, PointMutation(0.001), mask=mask, alphabet=alphabet).inputs != ids
    assert within(rare[real].float().mean(), 0.001, real.sum())


def test_noise_is_gaussian_and_independent():
    ids, mask = batch([1000, 500] * 32, 1000)
    view = view_of(ids, GaussianNoise(0.2), mask=mask)
    assert view.inputs.dtype == torch.float32 and (view.inputs[~mask] == 0).all()
    noise = (view.inputs - one_hot(ids, 5, torch.float32))[mask].double() / 0.2
    count = len(noise)
    assert noise.mean(0).abs().max() < 5 / np.sqrt(count)
    assert (noise.std(0) - 1).abs().max() < 0.01
    assert (noise.T.corrcoef() - torch.eye(5)).abs().max() < 0.02
    for level in (-2.5, -1.0, 0.0, 0.5, 2.0, 3.0):
        wanted = float(torch.special.ndtr(torch.tensor(level)))
        assert within(float((noise < level).double().mean()), wanted, noise.numel())
    assert abs(noise[:-1, 0] @ noise[1:, 0]) / count < 0.02  # and from place to place
    other = view_of(ids, GaussianNoise(0.2), mask=mask, seed=1)
    assert not torch.equal(view.inputs, other.inputs)


def test_noise_comes_in_its_turn():
    ids, _ = batch([400] * 4, 400, letters=4)
    hard = one_hot(ids, 5, torch.float32)
    late = view_of(ids, GaussianNoise(), RandomMasking(0.5, 0.0, 0.0))
    hidden = late.targets != IGNORE
    assert (late.inputs[hidden] == 0).all() and (late.inputs[~hidden] != hard[~hidden]).all()
    early = view_of(ids, RandomMasking(0.5, 0.0, 0.0), GaussianNoise())
    assert (early.inputs != 0).all()
    cut = view_of(ids, GaussianNoise(), Deletion(9, 9))
    new = cut.places >= 400
    assert set(cut.inputs[new].unique().tolist()) == {0, 1}
    soft = torch.rand(4, 400, 5, dtype=torch.float64)
    both = view_of(soft, GaussianNoise(0.1), GaussianNoise(0.1)).inputs - soft
    assert abs(float(both.std()) - 0.1 * 2**0.5) < 0.005 and both.dtype == torch.float64
    with pytest.raises(InputError, match="deviation"):
        GaussianNoise(-1.0)


def test_soft_rows_without_a_clear_letter_are_left_alone():
    soft = torch.full((1, 100, 5), 0.2)
    soft[:, 50:] = torch.tensor([0.1, 0.1, 0.7, 0.1, 0.0])
    view = view_of(soft, RandomMasking(1.0, 0.0, 0.0))
    assert (view.targets[:, :50] == IGNORE).all() and (view.targets[:, 50:] == 2).all()
    assert torch.equal(view.inputs[:, :50], soft[:, :50]) and (view.inputs[:, 50:] == 0).all()
    soft.requires_grad_()
    view_of(soft, ReverseComplement(1.0)).inputs[0, 0, 0].backward()
    assert soft.grad.nonzero().tolist() == [[0, 99, 3]]


def test_hashes_are_even_in_every_bit():
    rows = numbers(Chain((PointMutation(),)), 64)
    bits = hashed(rows, torch.arange(4000)[None])
    ones = ((bits[..., None] >> torch.arange(32)) & 1).double()
    assert (ones.mean((0, 1)) - 0.5).abs().max() < 0.006
    flat = ones.view(-1, 32).T
    assert (flat.corrcoef() - torch.eye(32)).abs().max() < 0.012
    assert (ones[:, 1:] == ones[:, :-1]).double().mean((0, 1)).sub(0.5).abs().max() < 0.006
    assert (ones[1:] == ones[:-1]).double().mean((0, 1)).sub(0.5).abs().max() < 0.006
