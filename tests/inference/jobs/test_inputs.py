"""Shards hold every row once, and regions read as what they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import write_genome

from helicon.alphabet import DNA, PROTEIN
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError
from helicon.inference.jobs.inputs import Input, Payload, Reading, Regions, Turned


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    letters=st.integers(1, 100),
    rows=st.integers(1, 10),
    cut=st.booleans(),
    start=st.integers(0, 50),
)
def test_shards(lengths, letters, rows, cut, start):
    ends = np.cumsum([start, *lengths])
    places = Intervals.of(["c"], np.zeros(len(lengths)), ends[:-1], ends[1:])
    source = Input(regions=places)
    found = list(source.shards(letters, rows, cut=cut))
    assert sum(size for _, size in found) == sum(lengths) == source.total
    assert source.longest(block=7) == max(lengths)
    row, at = 0, 0
    for payload, size in found:
        assert payload.first == row and payload.last - payload.first <= rows
        if payload.end is None:
            assert sum(lengths[payload.first : payload.last]) == size
            assert size <= letters or (payload.last == payload.first + 1 and not cut)
            row = payload.last
        else:
            assert cut and lengths[row] > letters and size <= letters
            assert (payload.last, payload.start) == (row + 1, at)
            assert payload.final == (payload.end == lengths[row])
            row, at = (row + 1, 0) if payload.final else (row, payload.end)
    assert row == len(lengths)


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 30),
    size=st.integers(1, 30),
    minus=st.booleans(),
    first=st.integers(-10, 40),
    length=st.integers(1, 20),
    reverse=st.booleans(),
    turned=st.booleans(),
)
def test_a_region_is_the_sequence_cut_out(
    tmp_path_factory, start, size, minus, first, length, reverse, turned
):
    """Windows of a region are those of a file that holds it alone, in its direction."""
    folder = tmp_path_factory.mktemp("g")
    genome = Genome.open(write_genome(folder / "g.fa", [20, 60]), cache=folder)
    end = start + size
    alone = genome.fetch(1, start, end, strand="-" if minus else "+")
    (folder / "r.fa").write_text(f">r\n{DNA.decode(alone)}\n")
    store = SequenceStore.open(folder / "r.fa", alphabet=DNA, cache=folder)
    regions = Regions(genome, *map(np.array, ([1], [start], [end], [minus])))
    a, b = (Turned(regions), Turned(store)) if turned else (regions, store)
    where = np.array([0]), np.array([first]), length
    windows = [x.windows(*where, reverse=np.array([reverse])) for x in (a, b)]
    np.testing.assert_array_equal(*windows)
    np.testing.assert_array_equal(a.windows(*where), b.windows(*where))
    assert a.lengths.tolist() == [size]


def test_a_piece_of_a_region_that_is_read_backward(tmp_path):
    genome = Genome.open(write_genome(tmp_path / "g.fa", [100]))
    (tmp_path / "r.bed").write_text("c0\t10\t40\tx\t0\t-\n")
    for context in (False, True):
        reading, source = Reading.of(
            genome.path, DNA, regions=tmp_path / "r.bed", context=context,
            sequence=None, name=None, on_error="fail",
        )  # fmt: skip
        part = source.part(Payload(0, 1, 5, 12, False))
        assert part.positions(0).tolist() == list(range(15, 22))
        ids = part.sequences.windows(np.array([0]), part.start, 7)[0]
        assert DNA.decode(ids) == DNA.decode(genome.fetch(0, 15, 22, strand="-"))
        ids = part.turned().sequences.windows(np.array([0]), part.turned().start, 7)[0]
        assert DNA.decode(ids) == DNA.decode(genome.fetch(0, 15, 22))
        assert part.keys.to_pylist() == [
            {"chrom": "c0", "start": 10, "end": 40, "strand": "-", "name": "x"}
        ]
        assert reading.open().total == 30 and len(reading.digests) == 2


def test_proteins_have_no_regions(tmp_path):
    with pytest.raises(InputError, match="regions: lie on a genome"):
        Reading.of(
            tmp_path / "p.fa", PROTEIN, regions=tmp_path / "r.bed", context=False,
            sequence=None, name=None, on_error="fail",
        )  # fmt: skip
