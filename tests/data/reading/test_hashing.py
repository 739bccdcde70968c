"""Hashes: known values, evenness, independence of salts."""

import numpy as np

from helicon.data.reading.hashing import below, mix


def test_hashes_are_those_of_splitmix64():
    # The generator of Steele, Lea and Flood (2014) started at 0 gives these first numbers.
    state = np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix(state).tolist() == wanted


def test_numbers_are_even_and_salts_independent():
    numbers = np.arange(60_000)
    drawn = below(mix(numbers, salt=7), np.full(len(numbers), 6))
    assert np.abs(np.bincount(drawn, minlength=6) - 10_000).max() < 500
    other = below(mix(numbers, salt=8), np.full(len(numbers), 6))
    assert abs((drawn == other).mean() - 1 / 6) < 0.01
    assert (below(mix(numbers), np.ones_like(numbers)) == 0).all()
