"""Batches: every row once, little padding, a pure function of seed, step and rank."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN, SOFT_BIT, Alphabet
from helicon.data.sampling.batching import LabelledBatches, evaluation_batches
from helicon.data.tables.tables import SequenceTable
from helicon.errors import InputError


def table(lengths, alphabet: Alphabet = DNA, seed=0) -> SequenceTable:
    rng = np.random.default_rng(seed)
    total = int(np.sum(lengths))
    ids = rng.integers(0, 4, total).astype(np.uint8)
    ids[rng.random(total) < 0.3] |= SOFT_BIT
    return SequenceTable(
        path=Path("toy.csv"),
        alphabet=alphabet,
        ids=ids,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=None,
        target=(),
        names=None,
        lines=np.arange(2, len(lengths) + 2),
    )


def epoch(batches, number, world=1):
    steps = batches.steps_per_epoch(world)
    return [
        batches.batch(step, rank, world)
        for step in range(number * steps, (number + 1) * steps)
        for rank in range(world)
    ]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=4, max_size=80),
    size=st.integers(1, 9),
    world=st.integers(1, 4),
    seed=st.integers(0, 2**40),
    number=st.integers(0, 3),
)
def test_every_row_once_an_epoch_and_even_batches(lengths, size, world, seed, number):
    data = table(lengths)
    batches = epoch(LabelledBatches(data, size, seed), number, world)
    rows = np.concatenate([batch["rows"] for batch in batches])
    assert sorted(rows) == list(range(len(lengths)))
    sizes = [len(batch["rows"]) for batch in batches]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(size, 2 if world > 1 else 1)
    for batch in batches:
        for ids, mask, row in zip(batch["ids"], batch["mask"], batch["rows"], strict=True):
            assert (ids[mask] == data.sequence(row)).all()
            assert mask[: lengths[row]].all()
            assert not mask[lengths[row] :].any()
            assert (ids[~mask] == DNA.pad_id).all()


def test_a_batch_depends_on_nothing_but_seed_step_rank():
    data = table(np.arange(10, 80))
    one = LabelledBatches(data, 8, 5, reverse_complement=True)
    expected = [one.batch(step) for step in range(30)]
    other = LabelledBatches(data, 8, 5, reverse_complement=True)
    for step in [29, 3, 17, 0]:  # as after a restart, in any order
        again = other.batch(step)
        assert all((again[key] == expected[step][key]).all() for key in again)
    orders = {tuple(np.concatenate([b["rows"] for b in epoch(one, e)])) for e in range(5)}
    assert len(orders) == 5
    assert (LabelledBatches(data, 8, 6).batch(0)["rows"] != expected[0]["rows"]).any()


def test_buckets_keep_padding_small():
    rng = np.random.default_rng(1)
    lengths = rng.integers(50, 1000, 3000)
    batches = LabelledBatches(table(lengths), 32, 0)
    real = sum(b["mask"].sum() for b in epoch(batches, 0))
    assert batches.real_fraction() == real / sum(b["mask"].size for b in epoch(batches, 0))
    assert batches.real_fraction() > 0.93
    assert LabelledBatches(table([30] * 100), 32, 0).real_fraction() == 1.0


def test_steps_do_not_come_in_order_of_length():
    lengths = np.arange(1, 641)
    batches = LabelledBatches(table(lengths), 10, 3)
    longest = [b["mask"].sum(axis=1).max() for b in epoch(batches, 0)]
    assert np.abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5


def test_ranks_share_the_rows_of_a_step():
    data = table(np.full(100, 20))
    batches = LabelledBatches(data, 6, 1)
    together = epoch(LabelledBatches(data, 12, 1), 0)
    for step, whole in enumerate(together):
        parts = [batches.batch(step, rank, 2)["rows"] for rank in range(2)]
        assert (np.concatenate(parts) == whole["rows"]).all()


def test_reverse_complement_flips_half_of_the_rows_whole():
    lengths = np.random.default_rng(2).integers(20, 60, 400)
    data = table(lengths)
    batches = LabelledBatches(data, 16, 9, reverse_complement=True)
    flips = []
    for number in range(2):
        flipped = np.zeros(len(data), bool)
        for batch in epoch(batches, number):
            for ids, mask, row in zip(batch["ids"], batch["mask"], batch["rows"], strict=True):
                forward = data.sequence(row)
                backward = DNA.reverse_complement(forward)
                flipped[row] = (ids[mask] == backward).all()
                assert flipped[row] or (ids[mask] == forward).all()
                assert mask[: len(forward)].all()
        assert 0.4 < flipped.mean() < 0.6
        flips.append(flipped)
    assert 0.3 < (flips[0] != flips[1]).mean() < 0.7


def test_strands_do_not_depend_on_batch_size_or_ranks():
    data = table(np.full(50, 30))

    def strands(size, world):
        out = np.zeros((50, 30), np.uint8)
        for batch in epoch(LabelledBatches(data, size, 4, reverse_complement=True), 0, world):
            out[batch["rows"]] = batch["ids"]
        return out

    assert (strands(7, 1) == strands(5, 3)).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_crop_keeps_the_middle(reverse):
    data = table([11, 4, 30])
    batches = LabelledBatches(data, 3, 0, max_length=6, reverse_complement=reverse)
    batch = batches.batch(0)
    assert batch["ids"].shape == (3, 6)
    middles = {0: slice(2, 8), 1: slice(0, 4), 2: slice(12, 18)}
    for ids, mask, row in zip(batch["ids"], batch["mask"], batch["rows"], strict=True):
        middle = data.sequence(row)[middles[row]]
        choices = [middle, DNA.reverse_complement(middle)] if reverse else [middle]
        assert any((ids[mask] == choice).all() for choice in choices)


def test_evaluation_gives_every_row_once_longest_first():
    lengths = np.random.default_rng(3).integers(1, 50, 101)
    data = table(lengths)
    batches = list(evaluation_batches(data, 10))
    rows = np.concatenate([batch["rows"] for batch in batches])
    assert sorted(rows) == list(range(101))
    assert (np.diff(lengths[rows]) <= 0).all()
    assert [len(batch["rows"]) for batch in batches] == [10] * 10 + [1]
    for batch in batches:
        for ids, mask, row in zip(batch["ids"], batch["mask"], batch["rows"], strict=True):
            assert (ids[mask] == data.sequence(row)).all()
    assert next(evaluation_batches(data, 10, max_length=7))["ids"].shape == (10, 7)


def test_protein_pads_with_its_own_symbol_and_has_no_complement():
    data = table([3, 5], PROTEIN)
    batch = LabelledBatches(data, 2, 0).batch(0)
    assert (batch["ids"][~batch["mask"]] == PROTEIN.pad_id).all()
    with pytest.raises(InputError, match="no complement"):
        LabelledBatches(data, 2, 0, reverse_complement=True)


def test_impossible_sizes_are_refused():
    data = table([3, 5])
    with pytest.raises(InputError, match="batch size must be at least 1, not 0"):
        LabelledBatches(data, 0, 0)
    with pytest.raises(InputError, match="longest sequence must be at least 1"):
        LabelledBatches(data, 1, 0, max_length=0)
    with pytest.raises(InputError, match="batch size"):
        next(evaluation_batches(data, -1))
    with pytest.raises(InputError, match="2 rows are too few for 3 processes"):
        LabelledBatches(data, 1, 0).batch(0, 0, 3)
