"""Genes against genes: the counts of every level, by hand and by brute force."""

import math

import numpy as np
import polars as pl
import pytest
from genetics import genome_of
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.data.genome.intervals import Intervals
from helicon.errors import InputError
from helicon.metrics.genes import Level, measure_genes, score_gff

NAMES = ["c0", "c1"]


def table(*rows):
    """Rows of chrom, start, end, strand and group."""
    schema = {"chrom": pl.Int64, "start": pl.Int64, "end": pl.Int64, "strand": pl.String,
              "group": pl.String}  # fmt: skip
    last = pl.when(strand="-").then(pl.col("start").min()).otherwise(pl.col("end").max() - 1)
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(
        stop=last.over("chrom", "strand", "group"), group=pl.concat_str("chrom", "strand", "group")
    )


def everything(length=1000):
    return Intervals.of(NAMES, [0, 1], [0, 0], [length, length])


def test_levels():
    truth = table(
        (0, 10, 40, "+", "a"), (0, 60, 90, "+", "a"),
        (0, 200, 260, "-", "b"),
        (0, 300, 360, "+", "c"),
        (1, 10, 40, "+", "d"),
    )  # fmt: skip
    found = table(
        (0, 10, 40, "+", "x"), (0, 60, 90, "+", "x"),  # right
        (0, 200, 230, "-", "y"),  # stops where it should, starts too early
        (0, 300, 360, "-", "z"),  # the wrong strand
        (1, 13, 40, "+", "w"),  # starts elsewhere
    )  # fmt: skip
    scores = measure_genes(truth, found, everything())
    assert scores.exon == Level(5, 5, 2)
    assert scores.gene == Level(4, 4, 1)
    assert scores.stop == Level(4, 4, 3)
    assert scores.nucleotide == Level(210, 177, 30 + 30 + 30 + 27)
    assert scores.stop.sensitivity == scores.stop.precision == scores.stop.f1 == 0.75
    assert scores.as_dict()["gene"]["matched"] == 1
    assert "stop" in scores.summary


def test_nothing_annotated_or_predicted():
    scores = measure_genes(table(), table((0, 1, 4, "+", "a")), everything())
    assert (scores.gene, scores.nucleotide) == (Level(0, 1, 0), Level(0, 3, 0))
    assert math.isnan(scores.gene.sensitivity)
    assert scores.gene.precision == 0
    assert math.isnan(Level(0, 0, 0).f1)


def test_regions_count_bases_inside_and_whole_genes():
    truth = table((0, 10, 40, "+", "a"), (0, 35, 65, "+", "b"), (0, 200, 260, "-", "c"))
    within = Intervals.of(NAMES, [0, 0], [5, 100], [50, 210])
    scores = measure_genes(truth, truth, within)
    assert scores.gene == Level(1, 1, 1)
    assert scores.nucleotide == Level(50, 50, 50)
    assert scores.mcc == pytest.approx(1)


features = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 50), st.integers(1, 30),
        st.sampled_from("+-"), st.sampled_from("abcdef"),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(truth=features, found=features, cut=st.integers(1, 79))
def test_nucleotides_by_brute_force(truth, found, cut):
    counts = []
    for rows in (truth, found):
        track = np.zeros((2, 2, 80), dtype=bool)
        for chrom, start, length, strand, _ in rows:
            track["+-".index(strand), chrom, start : start + length] = True
        track[:, 1, :cut] = track[:, 0, cut:] = False
        counts.append(track)
    one, two = counts
    tables = [table(*((c, s, s + n, d, g) for c, s, n, d, g in rows)) for rows in (truth, found)]
    within = Intervals.of(NAMES, [0, 1], [0, cut], [cut, 80])
    scores = measure_genes(*tables, within)
    assert scores.nucleotide == Level(int(one.sum()), int(two.sum()), int((one & two).sum()))
    allowed = np.zeros((2, 2, 80), dtype=bool)
    allowed[:, 0, :cut] = allowed[:, 1, cut:] = True
    if 0 < one.sum() < allowed.sum() and 0 < two.sum() < allowed.sum():
        wanted = np.corrcoef(one[allowed], two[allowed])[0, 1]
        assert scores.mcc == pytest.approx(wanted)


def gff(path, rows):
    lines = [f"c0\tx\tCDS\t{s}\t{e}\t.\t{d}\t0\t{notes}" for s, e, d, notes in rows]
    path.write_text("##gff-version 3\n" + "".join(f"{line}\n" for line in lines))
    return path


def test_files(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["A" * 500])
    truth = gff(tmp_path / "a.gff3", [(1, 30, "+", "ID=a"), (50, 60, "-", "ID=b;Parent=m"),
                                      (70, 90, "-", "ID=c;Parent=m")])  # fmt: skip
    found = gff(tmp_path / "b.gff3", [(4, 30, "+", "ID=q"), (50, 60, "-", "Parent=r"),
                                      (70, 90, "-", "Parent=r")])  # fmt: skip
    scores = score_gff(truth, found, genome)
    assert (scores.gene, scores.stop) == (Level(2, 2, 1), Level(2, 2, 2))
    assert scores.exon == Level(3, 3, 2)
    (tmp_path / "r.bed").write_text("c0\t0\t40\nc0\t20\t45\n")
    assert score_gff(truth, found, genome, regions=tmp_path / "r.bed").gene == Level(1, 1, 0)
    with pytest.raises(InputError, match="has no 'gene' features"):
        score_gff(truth, found, genome, feature="gene")
