import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import (
    SPLITS,
    Interval,
    Intervals,
    read_bed,
    split_blocks,
    split_chromosomes,
    whole_genome,
)
from helicon.errors import InputError


def make_genome(lengths):
    """A genome of which only names and sizes matter."""
    names = [f"chr{i + 1}" for i in range(len(lengths))]
    bases = np.zeros(sum(lengths), dtype=np.uint8)
    return Genome("g.fa", "", names, np.array(lengths), bases, np.empty(0, dtype=np.int64))


@pytest.fixture
def bed(tmp_path):
    def write(content, name="x.bed"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


HUMAN = "chr1\t10\t40\ttrain\nchr2\t0\t20\tvalid\nchr1\t50\t80\ttest\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_bed_with_a_split_column(bed, packed):
    path = bed(gzip.compress(HUMAN.encode()) if packed else HUMAN)
    intervals = read_bed(path, make_genome([100, 50]))
    assert list(intervals) == [
        Interval("chr1", 10, 40, ".", "", "train"),
        Interval("chr2", 0, 20, ".", "", "validation"),
        Interval("chr1", 50, 80, ".", "", "test"),
    ]
    assert intervals.chrom.tolist() == [0, 1, 0]
    assert intervals.lengths.tolist() == [30, 20, 30]
    assert list(intervals.select("test")) == [intervals[2]]
    with pytest.raises(InputError, match="'dev'; there are 'test', 'train', 'validation'"):
        intervals.select("dev")


def test_a_bed_of_features(bed):
    text = (
        "browser position chr7:1-2\ntrack name=genes\n#chrom\n\n"
        "chrom\tstart\tend\tname\tscore\tstrand\r\n"
        "chr2\t1\t5\tgeneA\t0\t-\r\nchr1\t2\t9\tgene B\t0\t+\r\nchr1\t3\t4\r\n"
    )
    intervals = read_bed(bed(text), split_column=None)
    assert intervals.names == ["chr2", "chr1"]
    assert list(intervals) == [
        Interval("chr2", 1, 5, "-", "geneA"),
        Interval("chr1", 2, 9, "+", "gene B"),
        Interval("chr1", 3, 4, "."),
    ]


def test_spaces_in_place_of_tabs_and_names_without_chr(bed):
    (interval,) = read_bed(bed("1  5   7 train\n"), make_genome([10]))
    assert interval == Interval("chr1", 5, 7, ".", "", "train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# nothing\n\n", "holds no interval"),
        ("chr1\t1\n", "line 1: 2 columns where a BED file has at least three"),
        ("chr1\t1\t5\nchr1,7,9\n", "line 2: 1 columns"),
        ("chr1\t1\t5\nchr1\tx\t5\n", "line 2: 'x' is no whole number"),
        ("chr1\t1\t5.5\n", "line 1: '5.5' is no whole number"),
        (f"chr1\t1\t{10**30}\n", "is no whole number"),
        ("#c\nchr1\t-1\t5\n", "line 2: the start -1 is negative"),
        ("chr1\t5\t5\n", "line 1: the start 5 is not before the end 5"),
        ("chr1\t9\t5\n", "line 1: the start 9 is not before the end 5"),
        ("chr1\t0\t100\nchr1\t99\t101\n", "line 2: the end 101 lies beyond chr1, which has 100"),
        ("chr1\t0\t5\nchr9\t0\t5\n", "line 2: no sequence of the genome is named 'chr9'; it has c"),
        ("<html><body>Not found", "is an HTML page"),
        ("chr1\t1\t5\n\0\0\0", "is a binary file"),
    ],
)
def test_wrong_beds(bed, text, said):
    path = bed(text)
    with pytest.raises(InputError) as error:
        read_bed(path, make_genome([100]))
    assert str(error.value).startswith(str(path)) and said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_bed(bed):
    with pytest.raises(InputError, match="cut short"):
        read_bed(bed(gzip.compress(HUMAN.encode())[:-4]))


rows = st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(0, 90), st.integers(1, 10))


@given(st.lists(rows, min_size=1, max_size=20), st.sampled_from(["+", "-", "."]))
def test_bed_coordinates_round_trip(tmp_path_factory, items, strand):
    path = tmp_path_factory.mktemp("bed") / "x.bed"
    wanted = [Interval(c, s, s + n, strand, f"f{s}") for c, s, n in items]
    path.write_text(
        "".join(f"{i.chrom}\t{i.start}\t{i.end}\t{i.name}\t0\t{i.strand}\n" for i in wanted)
    )
    assert list(read_bed(path, make_genome([100, 100]), split_column=None)) == wanted


def test_chromosome_splits():
    genome = make_genome([10, 20, 30, 40])
    parts = split_chromosomes(genome, ["chr2"], ["chr3", "chr4"])
    assert {s: [i.chrom for i in parts[s]] for s in SPLITS} == {
        "train": ["chr1"],
        "validation": ["chr2"],
        "test": ["chr3", "chr4"],
    }
    assert parts["test"][1] == Interval("chr4", 0, 40, "+", "", "test")
    with pytest.raises(InputError, match="in both"):
        split_chromosomes(genome, ["chr2"], ["chr2"])
    with pytest.raises(InputError, match="no sequence is named 'chrX'"):
        split_chromosomes(genome, ["chrX"], [])
    with pytest.raises(InputError, match="left to train on"):
        split_chromosomes(genome, ["chr1", "chr2"], ["chr3", "chr4"])


def covered(parts, genome):
    """How often each base of the genome is in each part, shape (3, total)."""
    count = np.zeros((3, genome.total), dtype=int)
    for row, name in enumerate(SPLITS):
        for item in parts[name]:
            offset = genome.offsets[genome.index(item.chrom)]
            count[row, offset + item.start : offset + item.end] += 1
    return count


@settings(deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.integers(0, 3))
def test_blocks_cover_the_genome_once(lengths, seed):
    genome = make_genome([*lengths, 5000])
    parts = split_blocks(genome, block=100, seed=seed)
    assert (covered(parts, genome).sum(axis=0) == 1).all()
    shares = np.array([parts[name].lengths.sum() for name in SPLITS]) / genome.total
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.05)
    for name in SPLITS:
        part = parts[name]
        apart = (part.chrom[1:] != part.chrom[:-1]) | (part.start[1:] > part.end[:-1])
        assert apart.all()


def test_blocks_depend_on_the_seed_alone():
    genome = make_genome([100_000])
    first, again, other = (split_blocks(genome, block=1000, seed=s)["test"] for s in (1, 1, 2))
    assert list(first) == list(again) != list(other)


def test_a_gap_is_left_between_parts():
    genome = make_genome([10_000, 5_000])
    count = covered(split_blocks(genome, block=500, gap=31), genome).sum(axis=0)
    assert count.max() == 1
    edges = np.flatnonzero(np.diff(np.append(1, np.append(count, 1)) == 0))
    gaps = edges[1::2] - edges[::2]
    assert len(gaps) and (gaps == 31).all()
    assert count[[0, 9_999, 10_000, 14_999]].all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4900), st.integers(1, 700)), max_size=25))
def test_no_border_cuts_a_feature(spans):
    genome = make_genome([5000, 900])
    start = np.array([s for s, _ in spans], dtype=int)
    end = np.minimum(start + [n for _, n in spans], 5000)
    whole = Intervals.of(genome.names, np.zeros(len(spans)), start, end)
    try:
        parts = split_blocks(genome, block=100, whole=whole)
    except InputError:
        return
    count = covered(parts, genome)
    assert (count.sum(axis=0) == 1).all()
    inside = np.argmax(count, axis=0)
    assert all(len(set(inside[s:e])) == 1 for s, e in zip(start, end, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fractions": (0.8, 0.1, 0.2)}, "must be positive and add up to 1"),
        ({"fractions": (1.2, -0.1, -0.1)}, "must be positive and add up to 1"),
        ({"block": 5000}, "leave none for"),
    ],
)
def test_splits_that_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        split_blocks(make_genome([10_000]), **options)


def test_a_part_of_nothing_is_empty():
    parts = split_blocks(make_genome([10_000]), (0.9, 0.1, 0), block=500)
    assert len(parts["test"]) == 0 and len(parts["train"])


def test_the_whole_genome():
    assert list(whole_genome(make_genome([7, 9]))) == [
        Interval("chr1", 0, 7),
        Interval("chr2", 0, 9),
    ]
