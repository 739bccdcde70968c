"""Precision of contacts, beside a plain loop, and where there is little to measure."""

import math

import numpy as np
import pytest

from helicon.metrics.contacts import (
    CUTS,
    MEASURES,
    RANGES,
    contact_precision,
    mean_precision,
)


def plainly(probabilities, truth, valid, reach, cut):
    """One measure, pair by pair, without ties."""
    length = len(truth)
    least, behind = RANGES[reach]
    pairs = []
    for i in range(length):
        for j in range(i + least, length):
            if valid[i] and valid[j] and (behind is None or j - i < behind):
                pairs.append((probabilities[i, j], truth[i, j]))
    pairs.sort(key=lambda pair: -pair[0])
    chosen = pairs[: max(1, length // CUTS[cut])]
    return sum(hit for _, hit in chosen) / len(chosen) if chosen else math.nan


@pytest.mark.parametrize("length", [7, 13, 24, 25, 40, 77])
def test_it_is_what_a_plain_loop_counts(length):
    rng = np.random.default_rng(length)
    probabilities = rng.random((length, length))
    truth = rng.random((length, length)) < 0.2
    valid = rng.random(length) < 0.9
    found = contact_precision(probabilities, truth, valid)
    assert tuple(found) == MEASURES
    for reach in RANGES:
        for cut in CUTS:
            expected = plainly(probabilities, truth, valid, reach, cut)
            assert found[f"{reach}_precision_{cut}"] == pytest.approx(expected, nan_ok=True)


def test_a_perfect_and_a_reversed_ranking():
    rng = np.random.default_rng(0)
    truth = rng.random((60, 60)) < 0.5
    assert set(contact_precision(truth.astype(float), truth).values()) == {1.0}
    assert set(contact_precision(-truth.astype(float), truth).values()) == {0.0}


def test_ranges_begin_where_they_say():
    for apart, hit in ((5, set()), (6, {"short"}), (11, {"short"}), (12, {"medium"}),
                       (23, {"medium"}), (24, {"long"})):  # fmt: skip
        truth = np.zeros((50, 50), dtype=bool)
        i = np.arange(50 - apart)
        truth[i, i + apart] = True
        found = contact_precision(truth.astype(float), truth)
        assert {r for r in ("short", "medium", "long") if found[f"{r}_precision_l5"]} == hit
        assert bool(found["all_precision_l5"]) == bool(hit)


def test_pairs_of_one_probability_count_with_their_share():
    rng = np.random.default_rng(1)
    truth = rng.random((40, 40)) < 0.3
    row, column = np.triu_indices(40, 24)
    share = truth[row, column].mean()
    found = contact_precision(np.full((40, 40), 0.5), truth)
    for cut in CUTS:
        assert found[f"long_precision_{cut}"] == pytest.approx(share)
    # Three sure contacts, then a tie for the places that are left.
    sure = np.full((40, 40), 0.5)
    hits = np.flatnonzero(truth[row, column])[:3]
    sure[row[hits], column[hits]] = 0.9
    rest = np.delete(truth[row, column], hits).mean()
    expected = (3 + (8 - 3) * rest) / 8
    assert contact_precision(sure, truth)["long_precision_l5"] == pytest.approx(expected)


def test_the_order_of_the_residues_of_a_pair_and_invalid_ones_do_not_count():
    rng = np.random.default_rng(2)
    probabilities, truth = rng.random((30, 30)), rng.random((30, 30)) < 0.3
    valid = np.arange(30) != 7
    expected = contact_precision(probabilities, truth, valid)
    below = np.tril_indices(30)
    probabilities[below] = 2
    probabilities[7] = probabilities[:, 7] = 3
    truth[below] = truth[7] = True
    assert contact_precision(probabilities, truth, valid) == expected


def test_without_pairs_there_is_no_precision_and_without_contacts_it_is_zero():
    short = contact_precision(np.ones((20, 20)), np.zeros((20, 20), dtype=bool))
    assert math.isnan(short["long_precision_l"])
    assert short["medium_precision_l"] == 0
    nothing = contact_precision(
        np.ones((9, 9)), np.ones((9, 9), dtype=bool), np.zeros(9, dtype=bool)
    )
    assert all(math.isnan(value) for value in nothing.values())
    mean = mean_precision([short, short | {"long_precision_l": 0.5}, nothing])
    assert mean["long_precision_l"] == 0.5
    assert mean["medium_precision_l"] == 0
    assert math.isnan(mean_precision([nothing])["all_precision_l"])


def test_few_pairs_are_measured_on_those_that_there_are():
    # Of 26 residues only three pairs are 24 or more apart: fewer than L / 5.
    truth = np.zeros((26, 26), dtype=bool)
    truth[0, 24] = True
    found = contact_precision(np.random.default_rng(0).random((26, 26)), truth)
    assert found["long_precision_l"] == pytest.approx(1 / 3)
    assert found["long_precision_l5"] == pytest.approx(1 / 3)
