"""Augmentations: letters keep count and place, a chain is its parts, rows are on their own."""

import numpy as np
import pytest
import torch
from augment_cases import MOVES, batch, batches, changing, masked, moves, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN
from helicon.errors import InputError
from helicon.models.parts.backbone import one_hot
from helicon.objectives.augmentations import chain as augment_chain
from helicon.objectives.augmentations.augment import (
    LETTERS,
    Chain,
    Deletion,
    Insertion,
    Inversion,
    PointMutation,
    RandomMasking,
    ReverseComplement,
    Translocation,
)
from helicon.objectives.masked_lm import IGNORE

COMPLEMENT = torch.from_numpy(DNA.complement_table[:7].copy())


def same(one, two):
    for part in ("inputs", "targets", "places"):
        a, b = getattr(one, part), getattr(two, part)
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def made(moves_, given_, width=24):
    sizes, left, seed = given_
    chain = Chain(tuple(moves_))
    ids, mask = batch(sizes, width, seed, left=left)
    return chain(ids, numbers(chain, len(sizes), seed), mask), ids, mask


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=4), batches)
def test_letters_stay_in_their_sequence_and_padding_where_it_is(chain, given_):
    view, ids, mask = made(chain, given_)
    assert view.inputs.shape == ids.shape and view.inputs.dtype == ids.dtype
    assert (view.inputs[~mask] == DNA.pad_id).all()
    old = mask & (view.places < 24)
    assert torch.equal(view.places[~mask], torch.arange(24).expand(ids.shape)[~mask].short())
    for row, size in enumerate(given_[0]):
        places = view.places[row][old[row]]
        assert len(set(places.tolist())) == len(places)  # no letter twice
        assert mask[row][places.long()].all()
        if not any(isinstance(move, Deletion | Insertion) for move in chain):
            assert len(places) == size
    wanted = ids.gather(1, view.places.clamp(max=23).long())
    turned = torch.zeros_like(mask) if view.turned is None else view.turned != 0
    wanted = torch.where(turned.expand(mask.shape), COMPLEMENT[wanted.long()], wanted)
    assert torch.equal(view.inputs[old], wanted[old])
    assert (view.inputs[mask & ~old] < 4).all()


@settings(max_examples=150, deadline=None)
@given(masked, batches)
def test_a_chain_is_its_operations_one_after_another(operations, given_):
    chain, (sizes, left, seed) = Chain(operations), given_
    ids, mask = batch(sizes, 24, seed, left=left)
    drawn = numbers(chain, len(sizes), seed)
    labels = torch.arange(24).expand(ids.shape)
    view = chain(ids, drawn, mask)
    step, targets, moved, used = ids, None, labels, 0
    for operation in operations:
        one = Chain((operation,))
        alone = one(step, drawn[:, used : used + one.numbers], mask)
        used += one.numbers
        step, moved = alone.inputs, alone.follow(moved)
        if targets is not None:
            targets = alone.follow(targets, opposite=DNA.complement_ids)
        targets = alone.targets if targets is None else targets
    assert torch.equal(view.inputs, step)
    assert torch.equal(view.targets, targets)
    assert torch.equal(view.follow(labels)[mask], moved[mask])


@settings(max_examples=60, deadline=None)
@given(st.lists(changing, max_size=4), batches)
def test_soft_rows_are_what_the_letters_are(chain, given_):
    sizes, left, seed = given_
    chain = Chain((*chain, RandomMasking(0.3)))
    ids, mask = batch(sizes, 24, seed, left=left)
    drawn = numbers(chain, len(sizes), seed)
    hard, soft = chain(ids, drawn, mask), chain(one_hot(ids, 5, torch.float64), drawn, mask)
    assert torch.equal(soft.inputs, one_hot(hard.inputs, 5, torch.float64))
    assert torch.equal(hard.targets, soft.targets)


@settings(max_examples=60, deadline=None)
@given(masked, batches)
def test_the_device_draws_what_the_host_draws(operations, given_):
    """Tensors instead of the host's arrays, as where the mask is on a GPU."""
    chain, (sizes, left, seed) = Chain(operations), given_
    ids, mask = batch(sizes, 24, seed, left=left)
    drawn = numbers(chain, len(sizes), seed)
    soft = one_hot(ids, 5, torch.float32)
    given_ = ((ids, drawn, mask), (ids, drawn), (soft, drawn, mask))
    host = [chain(*arguments) for arguments in given_]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment_chain, "_in_memory", lambda inputs: False)
        beside = [chain(*arguments) for arguments in given_]  # numbers on the host, the batch not
        patch.setattr(augment_chain, "_on_host", lambda numbers, mask: False)
        device = [chain(*arguments) for arguments in given_]
    for one, *others in zip(host, beside, device, strict=True):
        for other in others:
            same(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("letters", ["MDITVPRN", "NMDIR"])
def test_a_gpu_makes_the_same_view(letters):
    chain = Chain(tuple(LETTERS[letter] for letter in letters))
    ids, mask = batch([100, 60, 3], 100)
    drawn = numbers(chain, 3)
    here, there = chain(ids, drawn, mask), chain(ids.cuda(), drawn, mask.cuda())
    assert torch.equal(here.inputs, there.inputs.cpu())
    assert torch.equal(here.targets, there.targets.cpu())


@pytest.mark.parametrize("letters", ["MDIT", "NR", "RMVNP", "DMIPN"])
def test_a_sequence_is_on_its_own(letters):
    """Neither its neighbours, nor their order, nor padding on either side change a view."""
    chain = Chain(tuple(LETTERS[letter] for letter in letters))
    sizes = [60, 41, 20, 7, 1, 0, 60]
    drawn = numbers(chain, len(sizes))
    right, mask = batch(sizes, 60)
    left, other = torch.full_like(right, DNA.pad_id), mask.flip(1)
    left[other] = right[mask]
    one, two = chain(right, drawn, mask), chain(left, drawn, other)
    order = torch.tensor([3, 6, 0, 2, 5, 1, 4])
    turned = chain(right[order], drawn[order], mask[order])
    assert torch.equal(turned.inputs, one.inputs[order])
    assert torch.equal(one.inputs[mask], two.inputs[other])
    if one.targets is not None:
        assert torch.equal(one.targets[mask], two.targets[other])
    for row in (0, 1, 3):
        alone = chain(right[row : row + 1, : sizes[row]], drawn[row : row + 1])
        assert torch.equal(alone.inputs[0], one.inputs[row, : sizes[row]])
    same(one, chain(right, drawn, mask))  # and the same numbers give the same view
    assert not torch.equal(one.inputs, chain(right, numbers(chain, 7, seed=1), mask).inputs)


def test_the_view_of_given_numbers_is_the_same_for_ever():
    """A resumed run must make the views that it would have made."""
    chain = Chain(tuple(LETTERS[letter] for letter in "PDMIVTR"))
    ids = torch.arange(60)[None].remainder(4).to(torch.uint8)
    view = chain(ids, numbers(chain, 1))
    assert DNA.decode(view.inputs[0].numpy()) == (
        "T.CTACGT.CGTACGTACTC.GTACGTACGTA.G.AC.TACGTATTAACCATACGT.C.G"
    )


def _rotations(n, k):
    whole = list(range(n))
    return [whole[n - s :] + whole[: n - s] for s in (k % max(n, 1), -k % max(n, 1))]


def _deletions(n, k):
    return [[*range(a), *range(a + k, n), *[None] * k] for a in range(n - k + 1)]


def _insertions(n, k):
    return [[*range(a), *[None] * k, *range(a, n - k)] for a in range(n - k + 1)]


def _inversions(n, k):
    return [[*range(a), *range(a + k - 1, a - 1, -1), *range(a + k, n)] for a in range(n - k + 1)]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(
    ("move", "results"),
    [
        (Translocation(3, 9), _rotations),
        (Deletion(3, 9), _deletions),
        (Insertion(3, 9), _insertions),
        (Inversion(3, 9), _inversions),
    ],
)
def test_what_each_move_does(move, results, left):
    sizes = list(range(31)) * 8
    ids, mask = batch(sizes, 30, left=left)
    chain = Chain((move,))
    view = chain(ids, numbers(chain, len(sizes)), mask)
    seen = set()
    for row, size in enumerate(sizes):
        first = 30 - size if left else 0
        places = [p - first if p < 30 else None for p in view.places[row][mask[row]].tolist()]
        lengths = range(3, 10)
        if not isinstance(move, Translocation):  # the others take no more than there is
            lengths = {min(length, size) for length in lengths}
        assert places in [result for length in lengths for result in results(size, length)]
        seen.add(str(places))
    assert len(seen) > 100


def test_reverse_complement():
    always = Chain((ReverseComplement(1.0),))
    ids, mask = batch([30, 12, 0], 30)
    ids[0, 4] = DNA.mask_id
    once = always(ids, numbers(always, 3), mask)
    twice = Chain(always.operations * 2)
    assert torch.equal(twice(ids, numbers(twice, 3), mask).inputs, ids)
    for row, size in enumerate((30, 12, 0)):
        wanted = DNA.reverse_complement(ids[row, :size].numpy())
        assert (once.inputs[row, :size].numpy() == wanted).all()
    assert (once.inputs == 4).sum() == (ids == 4).sum() > 0  # N stays N
    soft = torch.rand(3, 30, 5) * mask[..., None]
    rows = always(soft, numbers(always, 3), mask).inputs
    assert torch.equal(rows[1, :12], soft[1, :12].flip(0)[:, [3, 2, 1, 0, 4]])
    half = Chain((ReverseComplement(),))
    turned = half(ids.repeat(500, 1), numbers(half, 1500)).turned
    assert 0.45 < turned.float().mean() < 0.55


def test_stretches_are_drawn_evenly():
    ids = torch.zeros(20_000, 30, dtype=torch.uint8)
    for move in (Deletion(0, 4), Insertion(0, 4)):
        chain = Chain((move,))
        places = chain(ids, numbers(chain, len(ids))).places
        new = (places >= 30).sum(1)
        assert np.allclose(np.bincount(new) / len(ids), 0.2, atol=0.02)
        starts = (places != torch.arange(30)).int().argmax(1)[new == 4]
        assert np.allclose(np.bincount(starts) / len(starts), 1 / 27, atol=0.01)
    chain = Chain((Translocation(2, 4),))
    shift = -chain(ids, numbers(chain, len(ids))).places[:, 0].int() % 30
    counts = np.bincount(shift, minlength=30) / len(ids)
    assert np.allclose(counts[[2, 3, 4, 26, 27, 28]], 1 / 6, atol=0.02)


def test_new_letters_are_certain_and_even():
    for alphabet in (DNA, PROTEIN):
        chain = Chain((Deletion(17, 17), Insertion(5, 5)))
        ids = torch.full((4000, 60), alphabet.unknown_id, dtype=torch.uint8)
        view = chain(ids, numbers(chain, len(ids)), alphabet=alphabet)
        counts = np.bincount(view.inputs[view.places >= 60], minlength=alphabet.size)
        real = [alphabet.letters.index(letter) for letter in alphabet.real]
        assert counts[real].sum() == counts.sum() == (view.places >= 60).sum()
        assert np.allclose(counts[real] * len(real) / counts.sum(), 1, atol=0.06)
    rows = view.inputs[view.places >= 60].view(4000, -1)
    assert len({row.numpy().tobytes() for row in rows}) == 4000


def test_labels_follow_their_letters():
    chain = Chain((ReverseComplement(1.0), Deletion(4, 4)))
    ids, mask = batch([20, 13], 20)
    view = chain(ids, numbers(chain, 2), mask)
    old = mask & (view.places < 20)
    labels = torch.randint(0, 3, (2, 20))
    labels[0, 3] = IGNORE
    followed = view.follow(labels, opposite=[0, 2, 1])
    swapped = torch.where(labels < 0, labels, torch.tensor([0, 2, 1])[labels.clamp(min=0)])
    assert torch.equal(followed[old], swapped.gather(1, view.places.clamp(max=19).long())[old])
    assert (followed[mask & ~old] == IGNORE).all() and (mask & ~old).sum() == 8
    tracks = torch.rand(2, 20, 2)
    moved = view.follow(tracks, fill=torch.nan, opposite=[1, 0])
    at = view.places[1, 0].long()
    assert torch.equal(moved[1, 0], tracks[1, at].flip(0)) and moved[mask & ~old].isnan().all()
    assert torch.equal(view.follow(labels)[~mask], labels[~mask])


def test_long_rows_have_wider_places():
    sizes, width = [33_000, 20_000], 33_000
    chain = Chain(tuple(LETTERS[letter] for letter in "MDITVR"))
    ids, mask = batch(sizes, width)
    drawn = numbers(chain, 2)
    long = chain(ids, drawn, mask)
    assert long.places.dtype == torch.int32
    short = chain(ids[1:, :20_000], drawn[1:])
    assert short.places.dtype == torch.int16
    assert torch.equal(long.inputs[1, :20_000], short.inputs[0])
    assert torch.equal(long.targets[1, :20_000], short.targets[0])
    assert torch.equal(chain(ids.long(), drawn, mask).inputs, long.inputs.long())


def test_what_cannot_be_drawn_is_refused():
    for move in MOVES[:-1]:
        with pytest.raises(InputError, match=rf"{move.__name__}: a length from 3 to 2"):
            move(3, 2)
    for operation in (ReverseComplement, PointMutation, RandomMasking):
        with pytest.raises(InputError, match=operation.__name__):
            operation(1.5)
    with pytest.raises(InputError, match="RandomMasking"):
        RandomMasking(0.3, 0.6, 0.6)
    for move in (Inversion(), ReverseComplement()):
        chain = Chain((move,))
        with pytest.raises(InputError, match="protein alphabet has no complement"):
            chain(torch.zeros(1, 9).long(), numbers(chain, 1), alphabet=PROTEIN)
