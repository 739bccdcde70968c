"""Batches and chains for the tests of augmentations."""

import numpy as np
import torch
from hypothesis import strategies as st

from helicon.alphabet import DNA
from helicon.objectives.augmentations.augment import (
    Deletion,
    Insertion,
    Inversion,
    PointMutation,
    RandomMasking,
    ReverseComplement,
    Translocation,
    draw_numbers,
)

MOVES = (Translocation, Deletion, Insertion, Inversion, ReverseComplement)


def numbers(chain, rows, seed=0):
    return draw_numbers(np.random.Generator(np.random.Philox(seed)), rows, chain.numbers)


def batch(sizes, width, seed=0, letters=5, left=False, pad=DNA.pad_id):
    """Random letters with padding on one side."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(0, letters, (len(sizes), width)))
    sizes = torch.tensor(sizes)[:, None]
    at = torch.arange(width)
    mask = at >= width - sizes if left else at < sizes
    return ids.masked_fill(~mask, pad).to(torch.uint8), mask


def stretched(kind):
    lengths = st.tuples(st.integers(0, 9), st.integers(0, 9))
    return lengths.map(lambda two: kind(min(two), max(two)))


#: Any single move.
moves = st.one_of(
    *map(stretched, MOVES[:-1]), st.sampled_from([0.0, 0.5, 1.0]).map(ReverseComplement)
)
#: Operations of chains with one masking.
changing = st.one_of(moves, st.floats(0, 1).map(PointMutation))
masked = st.tuples(st.lists(changing, max_size=3), st.lists(changing, max_size=3)).map(
    lambda parts: (*parts[0], RandomMasking(0.4), *parts[1])
)
#: Sequences of a batch: lengths up to its width, which side is padded, a seed.
batches = st.tuples(
    st.lists(st.integers(0, 24), min_size=1, max_size=5),
    st.booleans(),
    st.integers(0, 2**32),
)
