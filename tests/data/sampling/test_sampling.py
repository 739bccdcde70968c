import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, SOFT_BIT
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, whole_genome
from helicon.data.sampling.windows import Windows, WindowSampler, random_stream
from helicon.errors import InputError

PAD = DNA.pad_id


def make_genome(tmp_path_factory, *texts):
    folder = tmp_path_factory.mktemp("genome")
    path = folder / "g.fa"
    path.write_text("".join(f">c{i}\n{text}\n" for i, text in enumerate(texts)))
    return Genome.open(path, cache=folder)


def random_text(length, seed=0):
    rng = np.random.default_rng(seed)
    return np.frombuffer(b"ACGTacgt", np.uint8)[rng.integers(0, 8, length)].tobytes().decode()


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    return make_genome(tmp_path_factory, random_text(5000), random_text(3000, 1))


def sampler(genome, intervals=None, length=64, **options):
    options = {"batch_size": 16, "seed": 3} | options
    return WindowSampler(genome, intervals or whole_genome(genome), length, **options)


def places_of(genome, batch):
    """Where windows of random sequence come from: (chromosome, start, strand), or None."""
    text = DNA.decode(genome.bases)
    found = []
    for row in batch:
        for strand, ids in (("+", row), ("-", DNA.reverse_complement(row))):
            at = text.find(DNA.decode(ids[ids != PAD]))
            if at >= 0:
                chrom = int(np.searchsorted(genome.offsets, at, side="right")) - 1
                found.append((chrom, at - int(genome.offsets[chrom]), strand))
                break
        else:
            found.append(None)
    return found


@pytest.mark.parametrize("offsets", ["random", "head"])
def test_a_batch_is_a_function_of_seed_step_and_rank(genome, offsets):
    intervals = Intervals.of(genome.names, [0] * 40, range(0, 4000, 100), range(100, 4100, 100))
    first = sampler(genome, intervals, offsets=offsets, world=2)
    for step in (5, 0, 7):
        first.batch(step)
    again = sampler(genome, intervals, offsets=offsets, world=2)
    assert (first.batch(3, 1) == again.batch(3, 1)).all()
    other = sampler(genome, intervals, offsets=offsets, world=2, seed=4)
    for batch in (again.batch(4, 1), again.batch(3, 0), other.batch(3, 1)):
        assert (first.batch(3, 1) != batch).any()


def test_streams_differ_in_every_number():
    numbers = [(1, 0, 2, 3), (2, 0, 2, 3), (1, 1, 2, 3), (1, 0, 3, 2), (1, 0, 2, 4), (1, 0, 2, 3)]
    draws = [random_stream(*n).random() for n in numbers]
    assert len(set(draws)) == 5 and draws[0] == draws[-1]


def test_windows_are_of_the_genome_on_both_strands_with_the_soft_bit(genome):
    batch = np.concatenate([sampler(genome).batch(step) for step in range(10)])
    assert batch.shape == (160, 64) and batch.dtype == np.uint8
    places = places_of(genome, batch)
    assert None not in places
    share = np.mean([strand == "-" for *_, strand in places])
    assert 0.35 < share < 0.65
    assert 0.4 < (batch & SOFT_BIT > 0).mean() < 0.6


def test_the_forward_strand_alone(genome):
    batch = sampler(genome, reverse_complement=False, batch_size=100).batch(0)
    assert {strand for *_, strand in places_of(genome, batch)} == {"+"}


def test_random_starts_are_uniform_and_intervals_weighted_by_length(tmp_path_factory):
    genome = make_genome(tmp_path_factory, "A" * 20, "C" * 100, "G" * 30, "T" * 40)
    intervals = Intervals.of(genome.names, [0, 1, 2], [0, 40, 0], [20, 60, 10])
    draws = sampler(genome, intervals, length=16, batch_size=60_000)._draw(
        np.random.default_rng(0), 60_000
    )
    share = np.bincount(draws.chroms, minlength=4) / len(draws)
    np.testing.assert_allclose(share, [0.4, 0.4, 0.2, 0], atol=0.01)
    long = draws.take(draws.chroms == 1)
    counts = np.bincount(long.starts - 40)
    assert len(counts) == 5
    np.testing.assert_allclose(counts / len(long), 0.2, atol=0.01)
    short = draws.take(draws.chroms == 2)
    assert (short.starts == 0).all() and (short.sizes == 10).all()


spans = st.lists(st.tuples(st.integers(0, 150), st.integers(1, 90)), min_size=1, max_size=6)


@settings(deadline=None)
@given(spans, st.integers(1, 60), st.integers(0, 5), st.sampled_from(["random", "head"]))
def test_windows_never_leave_their_interval(genome, spans, length, step, offsets):
    starts, ends = [s for s, _ in spans], [s + n for s, n in spans]
    intervals = Intervals.of(genome.names, [0] * len(spans), starts, ends)
    batch = sampler(genome, intervals, length, offsets=offsets).batch(step)
    allowed = {
        DNA.decode(ids) + "." * (length - len(ids))
        for start, end in zip(starts, ends, strict=True)
        for at in range(start, max(end - length, start) + 1)
        for forward in [genome.fetch(0, at, min(at + length, end), soft=True)]
        for ids in (forward, DNA.reverse_complement(forward))
    }
    assert {DNA.decode(row) for row in batch} <= allowed


def test_mostly_unknown_windows_are_drawn_again(tmp_path_factory):
    genome = make_genome(tmp_path_factory, "N" * 5000 + random_text(5000) + "N" * 10 + "ACGT" * 50)
    batch = sampler(genome, batch_size=2000, seed=0).batch(0)
    unknown = (batch & 0x7F == DNA.unknown_id).mean(axis=1)
    assert (unknown > 0.5).mean() < 0.02  # 0.5 ** 8, and half of all without redrawing
    some = sampler(genome, batch_size=2000, seed=0, max_unknown=1).batch(0)
    assert 0.4 < ((some & 0x7F == DNA.unknown_id).mean(axis=1) > 0.5).mean() < 0.6


def test_a_genome_of_unknown_bases_alone_still_gives_batches(tmp_path_factory):
    genome = make_genome(tmp_path_factory, "N" * 500)
    assert (sampler(genome).batch(0) == DNA.unknown_id).all()


def test_heads_are_the_official_windows_each_once_an_epoch(genome):
    starts = np.arange(0, 4600, 200)
    intervals = Intervals.of(genome.names, np.zeros(23), starts, starts + 150)
    options = {"offsets": "head", "batch_size": 4, "world": 2}
    reader = sampler(genome, intervals, **options)
    assert (reader.windows_per_epoch, reader.steps_per_epoch) == (23, 3)
    windows = np.concatenate([reader.batch(step, rank) for step in range(9) for rank in (0, 1)])
    order = [at for _, at, _ in places_of(genome, windows)]
    first, second, third = order[:23], order[23:46], order[46:69]
    assert sorted(first) == sorted(second) == sorted(third) == starts.tolist()
    assert first != second != third


def test_windows_per_epoch_of_random_offsets(genome):
    reader = sampler(genome, length=100, batch_size=8)
    assert (reader.windows_per_epoch, reader.steps_per_epoch) == (80, 10)


def test_tiles_cover_the_intervals_once(genome):
    intervals = Intervals.of(genome.names, [1, 0, 0], [10, 0, 500], [74, 200, 530])
    reader = sampler(genome, intervals, batch_size=4)
    tiles = reader.tiles()
    assert tiles.chroms.tolist() == [1, 0, 0, 0, 0, 0]
    assert tiles.starts.tolist() == [10, 0, 64, 128, 192, 500]
    assert tiles.sizes.tolist() == [64, 64, 64, 64, 8, 30]
    batches = list(reader.evaluation_batches())
    assert [len(batch) for batch in batches] == [4, 2]
    read = np.concatenate(batches)
    for row, (chrom, start, size) in enumerate(
        zip(tiles.chroms, tiles.starts, tiles.sizes, strict=True)
    ):
        own = genome.fetch(int(chrom), start, start + size, soft=True)
        assert (read[row, :size] == own).all() and (read[row, size:] == PAD).all()
    assert [len(b) for b in reader.evaluation_batches(tiles.take(np.array([5, 0])))] == [2]


def test_tiles_of_mostly_unknown_bases_are_left_out(tmp_path_factory):
    genome = make_genome(tmp_path_factory, "N" * 100 + "ACGT" * 25 + "N" * 10)
    reader = sampler(genome, length=50)
    assert reader.tiles().starts.tolist() == [100, 150]
    assert len(sampler(genome, length=50, max_unknown=1).tiles()) == 5


def test_a_short_window_on_the_reverse_strand_is_padded_on_the_right(genome):
    windows = Windows(np.array([0, 0]), np.array([100, 100]), np.array([10, 10]))
    forward, backward = sampler(genome, length=16).read(windows, np.array([False, True]))
    own = genome.fetch(0, 100, 110, soft=True)
    assert forward.tolist() == [*own, *[PAD] * 6]
    assert backward.tolist() == [*DNA.reverse_complement(own), *[PAD] * 6]


def test_nothing_to_draw_from(genome):
    nothing = Intervals.of(genome.names, [], [], [])
    with pytest.raises(InputError, match="no interval to draw windows from"):
        WindowSampler(genome, nothing, 64, batch_size=1, seed=0)
