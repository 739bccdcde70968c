"""Batches by a budget of letters: purity, every sequence once an epoch, little padding, size."""

import time

import numpy as np
import pytest

from helicon.alphabet import PROTEIN
from helicon.data.sampling.token_batches import TokenBatches, TokenPlan
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError


def proteome(n, seed=0):
    """Lengths as in a proteome: log-normal, median 280, from 10 to some thousands."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.lognormal(np.log(280), 0.7, n), 10, 35_000).astype(np.int64)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proteins")
    rng = np.random.default_rng(1)
    lengths = np.concatenate([rng.integers(1, 120, 300), [500, 1000, 1]])
    texts = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in lengths]
    path = folder / "p.fa"
    path.write_text("".join(f">p{i}\n{t}\n" for i, t in enumerate(texts)))
    return SequenceStore.open(path, alphabet=PROTEIN, cache=folder / "cache")


def batches(store, **options):
    limits = {"max_tokens": 800, "max_sequences": 16, "seed": 3}
    return TokenBatches(store, np.arange(len(store)), **(limits | options))


def same(one, two):
    names = ("ids", "real", "rows", "starts")
    return all(np.array_equal(getattr(one, n), getattr(two, n)) for n in names)


def test_a_batch_is_whole_sequences_padded_on_the_right(store):
    for found in (batches(store).batch(k) for k in range(12)):
        for i, row in enumerate(found.rows):
            wanted = store.sequence(row)
            assert (found.ids[i, found.real[i]] == wanted).all()
            assert found.real[i].sum() == len(wanted) and found.real[i, : len(wanted)].all()
            assert (found.ids[i, len(wanted) :] == PROTEIN.pad_id).all()
        assert found.real.any(axis=0).all()  # no wider than its longest


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_sequence_once_an_epoch_whatever_the_number_of_processes(store, world):
    made = batches(store)
    count = len(made.plan)
    numbers = ((k, rank) for k in range(3 * count) for rank in range(world))
    dealt = [made.batch(k, rank, world).rows for k, rank in numbers]
    for epoch in range(3):
        rows = np.concatenate(dealt[epoch * count : (epoch + 1) * count])
        assert sorted(rows.tolist()) == list(range(len(store)))
    orders = [[r.tolist() for r in dealt[e * count : (e + 1) * count]] for e in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_a_pure_function_of_its_number(store):
    one, two, other = batches(store), batches(store), batches(store, seed=4)
    numbers = list(range(0, 3 * len(one.plan), 5))
    forward = {k: one.batch(k) for k in numbers}
    backward = {k: two.batch(k) for k in reversed(numbers)}
    assert all(same(forward[k], backward[k]) for k in numbers)
    assert not all(np.array_equal(forward[k].rows, other.batch(k).rows) for k in numbers)


def test_limits_hold_and_a_longer_sequence_is_alone(store):
    for found in batches(store, max_tokens=400).in_order():
        assert len(found.rows) <= 16
        assert found.ids.size <= 400 or len(found.rows) == 1
    alone = [b for b in batches(store, max_tokens=400).in_order() if b.ids.size > 400]
    assert [b.ids.shape for b in alone] == [(1, 1000), (1, 500)]
    for name in ("max_tokens", "max_sequences", "crop"):
        with pytest.raises(InputError, match=f"{name}: must be at least 1, not 0"):
            batches(store, **{name: 0})


def test_crops_where_asked_are_drawn_anew_in_every_epoch(store):
    made, again = batches(store, crop=50), batches(store, crop=50)
    long = int(np.argmax(store.lengths))
    seen = set()
    for k in range(40 * len(made.plan)):
        found = made.batch(k)
        assert found.ids.shape[1] <= 50
        for i, row in enumerate(found.rows.tolist()):
            whole, start = store.sequence(row), found.starts[i]
            assert (found.ids[i, found.real[i]] == whole[start : start + 50]).all()
            assert found.real[i].sum() == min(50, len(whole))
            if row == long:
                seen.add(int(start))
    assert len(seen) > 30 and min(seen) < 250 and max(seen) > 700  # of 951 starts
    assert same(made.batch(7), again.batch(7))
    assert (batches(store).batch(3).starts == 0).all()


@pytest.mark.parametrize(("count", "tokens"), [(4_300, 16_384), (20_000, 40_000), (300, 2_048)])
def test_little_padding_on_a_proteome(count, tokens):
    plan = TokenPlan(proteome(count), max_tokens=tokens, max_sequences=1024)
    assert plan.real_fraction >= 0.95
    padded = sum(plan.lengths[rows].max() * len(rows) for rows in plan.in_order())
    assert plan.real_fraction == pytest.approx(plan.lengths.sum() / padded)
    order, _ = plan.epoch(0, 5)
    longest = np.maximum.reduceat(plan.lengths[order], plan.bounds[:-1])
    assert plan.lengths.sum() / (longest * np.diff(plan.bounds)).sum() >= 0.95  # in every epoch


def test_two_million_sequences_are_planned_in_arrays():
    lengths = proteome(2_000_000)
    began = time.process_time()
    plan = TokenPlan(lengths, max_tokens=40_000, max_sequences=800)
    order, shuffled = plan.epoch(0, 1)
    assert time.process_time() - began < 5
    assert order.dtype == np.int32 and len(shuffled) == len(plan) < len(lengths) / 50
    assert plan.real_fraction > 0.98
    held = [value for value in vars(plan).values() if isinstance(value, list | dict | tuple | set)]
    assert not held  # no Python object a sequence
    sizes = np.diff(plan.bounds)
    longest = np.maximum.reduceat(lengths[order], plan.bounds[:-1])
    assert ((sizes * longest <= 40_000) | (sizes == 1)).all() and sizes.max() <= 800


def test_neighbours_change_from_epoch_to_epoch():
    plan = TokenPlan(proteome(4_000), max_tokens=8_192, max_sequences=1024)
    first, second = (set(np.split(plan.epoch(0, e)[0], plan.bounds[1:-1])[40]) for e in (0, 1))
    assert first != second
