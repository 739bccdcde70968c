"""Stretches decoded side by side, cut at gaps, and circles: each as if it stood alone."""

from dataclasses import fields, replace

import numpy as np
import pytest
from genetics import GENES, SITES, genome_of, log_probabilities, random_gene, turned
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.data.annotation.gff import read_gff
from helicon.data.genome.intervals import read_bed
from helicon.errors import InputError
from helicon.inference.genes import viterbi as viterbi_module
from helicon.inference.genes.decoding import Stretch, decode
from helicon.inference.genes.genes import circular_contigs
from helicon.inference.genes.grammar import free, genes
from helicon.inference.genes.segments import Segments, segment_writer


def same(one, two):
    for field in fields(Segments):
        a, b = getattr(one, field.name), getattr(two, field.name)
        assert np.allclose(a, b) if field.name == "probability" else np.array_equal(a, b)


def noisy(rng, length, classes):
    truth = np.repeat(rng.integers(0, classes, 40), rng.integers(1, 60, 40))
    return log_probabilities(rng, np.resize(truth, length), classes)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    kind=st.sampled_from(["genes", "sites", "free"]),
    most=st.integers(1, 40),
)
def test_each_stretch_has_the_path_that_it_has_alone(tmp_path_factory, seed, lengths, kind, most):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("ACGT"), length)) for length in lengths]
    genome = genome_of(tmp_path_factory.mktemp("g") / "g.fa", texts)
    labels = SITES if kind == "sites" else GENES
    grammar = free(labels, switch=-1.0) if kind == "free" else genes(labels, gene=-1.0, shortest=1)
    stretches = [
        Stretch.of(noisy(rng, length, len(labels)), genome, chrom, 0)
        for chrom, length in enumerate(lengths)
    ]
    alone = [one for stretch in stretches for one in decode([stretch], grammar)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi_module, "STEPS", 13)
        patch.setattr(viterbi_module, "CHUNKS", most)
        together = list(decode(iter(stretches), grammar))
    for one, two in zip(alone, together, strict=True):
        same(one, two)


def with_gap(rng, size):
    """A gene through a run of `N`, with a stop in every frame behind it."""
    gene = random_gene(rng, 120)
    half = gene[:180]
    return "C" * 50 + half + "N" * size + gene[180:] + "C" * 50


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(("size", "through"), [(9, False), (300, False), (300, True)])
def test_genes_are_cut_at_gaps_from_both_sides(tmp_path, strand, size, through):
    rng = np.random.default_rng(3)
    text = with_gap(rng, size)
    genome = genome_of(tmp_path / "g.fa", [text if strand == "+" else turned(text)])
    truth = np.zeros(len(text), int)
    truth[50:-50] = 1
    if strand == "-":
        truth = 2 * truth[::-1]
    stretch = Stretch.of(log_probabilities(rng, truth, 3, sure=9.0), genome, 0, 0)
    found = Segments.joined(list(decode([stretch], genes(GENES), through_gaps=through)))
    sizes = (found.end - found.start).tolist()
    if size < 10 or through:
        assert sizes == [360 + size]
        assert not (found.cut_left | found.cut_right).any()
        return
    assert sizes == [180, 180]
    assert found.cut_left.tolist() == [False, True]
    assert found.cut_right.tolist() == [True, False]
    path = tmp_path / "a.gff3"
    with segment_writer(path, "gff3", genes(GENES), genome) as writer:
        writer.write(found)
    rows = [line.split("\t")[8] for line in path.read_text().splitlines()[2:]]
    assert ["partial=true" in row for row in rows] == [True, True]
    assert "end_range=230,." in rows[0] and f"start_range=.,{231 + size}" in rows[1]
    read = read_gff(path, genome, "CDS")
    assert (len(read.starts), len(read.stops)) == (1, 1)


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 100, 250])
def test_a_gene_across_the_origin(tmp_path, strand, gap, shift):
    rng = np.random.default_rng(5)
    gene = random_gene(rng, 90)
    text = "C" * 60 + gene + "C" * 80 + ("N" * 40 if gap else "C" * 40) + "C" * 80
    truth = np.zeros(len(text), int)
    truth[60:330] = 1
    if strand == "-":
        text, truth = turned(text), 2 * truth[::-1]
    start = text.index(gene if strand == "+" else turned(gene))
    turn = start + shift
    text, truth = text[turn:] + text[:turn], np.roll(truth, -turn)
    genome = genome_of(tmp_path / "g.fa", [text, "ACGT" * 30])
    found = log_probabilities(rng, truth, 3, sure=9.0)
    circle = replace(Stretch.of(found, genome, 0, 0), circular=True)
    (one,) = decode([circle], genes(GENES))
    size = len(text)
    first = (start - turn) % size
    assert (one.start.tolist(), one.end.tolist()) == ([first], [first + 270])
    assert not (one.cut_left | one.cut_right).any()
    for form in ("gff3", "bed"):
        path = tmp_path / f"a.{form}"
        with segment_writer(path, form, genes(GENES), genome, circular={0}) as writer:
            writer.write(one)
    read = read_gff(tmp_path / "a.gff3", genome, "CDS")
    assert (read.rows["end"] - read.rows["start"]).sum() == 270
    assert read.rows["group"].n_unique() == len(read.starts.unique("strand")) == 1
    bed = read_bed(tmp_path / "a.bed", genome, split_column=None)
    assert bed.lengths.sum() == 270
    assert len(bed) == len(read.rows) == (2 if shift else 1)


def test_names_of_circles(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["ACGT", "ACGT"])
    assert circular_contigs(["c1"], genome) == {1}
    assert circular_contigs(["all"], genome) == {0, 1}
    with pytest.raises(InputError, match="no sequence is named 'c2'"):
        circular_contigs(["c2"], genome)


def test_what_is_written_is_read_whatever_the_names(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["ACGT" * 30] * 8)
    names = [
        "NODE_1,len=6000;x",
        "track",
        "#1",
        "100%25",
        "caf\xe9",
        ">y",
        "<script>x</script>",
        "a|b`c`",
    ]
    genome.names[:] = names
    grammar, rows = genes(GENES), np.arange(8)
    found = Segments(rows, rows * 0, rows * 0 + 99, rows * 0, rows, rows * 0, rows * 0 + 0.5,
                     rows < 0, rows < 0)  # fmt: skip
    for form in ("gff3", "bed"):
        path = tmp_path / f"a.{form}"
        with segment_writer(path, form, grammar, genome, circular=set(range(8))) as writer:
            writer.write(found)
    assert read_gff(tmp_path / "a.gff3", genome, "CDS").rows["chrom"].to_list() == rows.tolist()
    bed = read_bed(tmp_path / "a.bed", genome, split_column=None)
    assert bed.chrom.tolist() == rows.tolist()
