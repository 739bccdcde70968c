"""Costs from TOML files and annotations."""

import math

import numpy as np
import pytest
from genetics import GENES, SITES, genome_of

from helicon.data.annotation.annotation import read_annotation
from helicon.errors import InputError
from helicon.inference.genes.grammar import GENE
from helicon.inference.genes.transitions import read_grammar, step_counts


@pytest.fixture
def genome(tmp_path):
    return genome_of(tmp_path / "g.fa", ["A" * 200, "C" * 100])


def toml(tmp_path, text):
    path = tmp_path / "t.toml"
    path.write_text(text)
    return path


def gff(tmp_path, *rows):
    path = tmp_path / "a.gff3"
    lines = [f"{c}\tx\tCDS\t{s + 1}\t{e}\t.\t{d}\t0\tID={c}{s}\n" for c, s, e, d in rows]
    path.write_text("##gff-version 3\n" + "".join(lines))
    return path


def test_own_costs(genome):
    grammar = read_grammar(GENES, genome)
    assert grammar.name == "genes"
    assert np.isclose(grammar.graph.steps, GENE - 2.6).any()
    assert read_grammar(GENES, genome, grammar="free").name == "free"


def test_toml(tmp_path, genome):
    path = toml(tmp_path, "gene = -3\noverlaps = false\nshortest = 12\n[starts]\nATG = -0.5\n")
    grammar = read_grammar(GENES, genome, transitions=path)
    assert -3.5 in grammar.graph.steps
    assert grammar.codons.starts == ("ATG",)
    assert grammar.shortest == 12
    assert not grammar.reach.any()
    path = toml(tmp_path, 'grammar = "free"\nswitch = -2.5\n')
    assert read_grammar(GENES, genome, transitions=path).graph.steps.min() == -2.5
    path = toml(
        tmp_path,
        'grammar = "classes"\nstart = ["a"]\n[steps.a]\na = 0\nb = -1\n[steps.b]\nb = -0.5\n',
    )
    grammar = read_grammar(("a", "b"), genome, transitions=path)
    assert grammar.graph.steps.tolist() == [[[0, -1], [-np.inf, -0.5]]]
    assert grammar.graph.start.tolist() == [[0, -np.inf]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("genes", "is no TOML file"),
        ('grammar = "other"', "'other' is unknown"),
        ("switch = -1", "'switch' is no option of genes"),
        ("gene = 1", "gene must be a number of at most 0, not 1"),
        ("gene = true", "gene must be a number"),
        ("shortest = 1.5", "shortest must be a whole number"),
        ("stops = [1]", "stops must be a list of texts"),
        ('starts = ["ATG"]', "starts must be a table"),
        ("starts.ATG = 1", "starts: ATG must be a number of at most 0, not 1"),
        ("starts.AT = -1", "t.toml: starts: 'AT' is no codon"),
        ("starts = {ATG = -1, GTG = -2, TTG = -3, CTG = -4}", "no more than 3 different"),
        ('grammar = "classes"\n[steps.x]\nforward = -1', "'x' is no class of the model"),
        ('grammar = "classes"\n[steps.forward]\nx = -1', "steps.forward: 'x' is no class"),
        ('grammar = "classes"\n[steps.forward]\nreverse = "a"', "forward to reverse must be"),
        ('grammar = "classes"\n[steps]\nforward = 1', "forward must be a table"),
        ('grammar = "classes"\nend = ["x"]', "end: 'x' is no class"),
        ('grammar = "spliced"', "the model has intergenic, forward, reverse"),
    ],
)
def test_wrong_toml(tmp_path, genome, text, words):
    with pytest.raises(InputError, match=words):
        read_grammar(GENES, genome, transitions=toml(tmp_path, text))


def test_the_grammar_and_the_file_must_agree(tmp_path, genome):
    path = toml(tmp_path, 'grammar = "free"')
    with pytest.raises(InputError, match="is for the grammar 'free', 'genes' is asked"):
        read_grammar(GENES, genome, grammar="genes", transitions=path)
    with pytest.raises(InputError, match="no such file"):
        read_grammar(GENES, genome, transitions=tmp_path / "none.toml")


def test_counted_steps(tmp_path, genome):
    path = gff(tmp_path, ("c0", 10, 40, "+"), ("c0", 40, 70, "-"), ("c1", 0, 30, "+"))
    counts = step_counts(read_annotation(path, genome))
    # 10 + 130 + 70 bases between genes, 199 + 99 steps in all.
    assert counts.tolist() == [[9 + 129 + 69, 1, 0], [1, 29 + 29, 1], [1, 0, 29]]
    assert counts.sum() == 298


def test_a_step_over_the_border_of_two_contigs_is_none(tmp_path, genome):
    counts = step_counts(read_annotation(gff(tmp_path, ("c0", 190, 200, "+")), genome))
    assert counts.tolist() == [[189 + 99, 1, 0], [0, 9, 0], [0, 0, 0]]


def test_learned_costs(tmp_path, genome):
    path = gff(tmp_path, ("c0", 10, 40, "+"), ("c0", 40, 70, "-"), ("c1", 0, 30, "+"))
    for labels in (GENES, SITES):
        learned = read_grammar(labels, genome, transitions=path)
        assert learned.codons.start_costs == (math.log(1 / 3),) * 3
        cost = math.log(4 / (2 * 208 + 2)) + math.log(1 / 3)
        assert np.isclose(learned.graph.steps, cost).any()
    free = read_grammar(GENES, genome, grammar="free", transitions=path).graph.steps[0]
    assert np.allclose(np.exp(free).sum(axis=1), 1)
    assert free[0, 1] == pytest.approx(math.log(2 / (208 + 3)))


def test_learned_start_codons(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["ATGAAATAAC" + "TTACCCCAT" + "GTGAAATAA"])
    path = gff(tmp_path, ("c0", 0, 9, "+"), ("c0", 10, 19, "-"), ("c0", 19, 28, "+"))
    grammar = read_grammar(GENES, genome, transitions=path)
    assert grammar.codons.start_costs == pytest.approx(np.log([3 / 6, 2 / 6, 1 / 6]))


def test_an_annotation_of_other_classes(tmp_path, genome):
    bed = tmp_path / "a.bed"
    bed.write_text("c0\t10\t20\tx\nc0\t30\t40\ty\n")
    with pytest.raises(InputError, match="has the classes background, feature, the model"):
        read_grammar(GENES, genome, transitions=bed)
    named = read_grammar(("none", "x", "y"), genome, transitions=bed)
    assert named.graph.steps[0, 1, 2] == pytest.approx(math.log(1 / (10 + 3)))
