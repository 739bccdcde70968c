"""From log-probabilities to genes: all are legal, planted ones are found, strands are equal."""

import numpy as np
import pytest
from genetics import (
    GENES,
    SITES,
    STARTS,
    STOPS,
    genome_of,
    log_probabilities,
    random_gene,
    reader,
    text_of,
    turned,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helicon.errors import InputError
from helicon.inference.genes import decoding
from helicon.inference.genes import segments as segments_module
from helicon.inference.genes import viterbi as viterbi_module
from helicon.inference.genes.codons import Codons
from helicon.inference.genes.decoding import Stretch
from helicon.inference.genes.grammar import free, genes, spliced
from helicon.inference.genes.segments import find_segments
from helicon.inference.genes.viterbi import viterbi


def decode(found, grammar, genome, chrom, start):
    (one,) = decoding.decode([Stretch.of(found, genome, chrom, start)], grammar)
    return one


def check_legal(found, genome, chrom=0):
    """Every gene is whole codons from a start to the only stop, as far as it is not cut.

    Of a gene that is cut within its first or last codon, the rest is read beyond the stretch.
    """
    for i in range(len(found)):
        strand = "+-"[found.kind[i]]
        start, end = int(found.start[i]), int(found.end[i])
        text = text_of(genome, chrom, start, end, strand)
        ends = (
            text_of(genome, chrom, start, start + 3, strand),
            text_of(genome, chrom, end - 3, end, strand),
        )
        first, last = ends[:: 1 if strand == "+" else -1]
        head, tail = (found.cut_left[i], found.cut_right[i])[:: 1 if strand == "+" else -1]
        text = text[int(found.phase[i]) :]
        codons = [text[at : at + 3] for at in range(0, len(text) - len(text) % 3, 3)]
        assert head or (found.phase[i] == 0 and first in STARTS)
        assert tail or (len(text) % 3 == 0 and last in STOPS)
        assert not set(codons[:-1]) & set(STOPS)
        assert not (tail and codons and len(text) % 3 == 0 and codons[-1] in STOPS)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 700),
    sites=st.booleans(),
    offset=st.sampled_from([0, 100]),
    unknown=st.booleans(),
)
def test_every_gene_is_legal(tmp_path_factory, seed, length, sites, offset, unknown):
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("ACGT"), length + offset))
    if unknown:
        text = text[: length // 3] + "N" * 7 + text[length // 3 + 7 :]
        text = text[: length + offset].ljust(length + offset, "A")
    genome = genome_of(tmp_path_factory.mktemp("g") / "g.fa", [text])
    labels = SITES if sites else GENES
    truth = np.repeat(rng.integers(0, len(labels), 50), rng.integers(1, 60, 50))
    truth = np.resize(truth, length)
    grammar = genes(labels, gene=-1.0, shortest=1)
    found = decode(log_probabilities(rng, truth, len(labels)), grammar, genome, 0, offset)
    assert (found.start >= offset).all()
    assert (found.end <= offset + length).all()
    inside = np.concatenate([found.cut_left[1:], found.cut_right[:-1]])
    assert not inside.any()
    # Only genes of one strand overlap, by one base or four.
    lap = found.end[:-1] - found.start[1:]
    assert set(lap[lap > 0].tolist()) <= {1, 4}
    assert (found.kind[:-1] == found.kind[1:])[lap > 0].all()
    check_legal(found, genome)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 400), sites=st.booleans())
@example(seed=25166, length=145, sites=True)  # begins with a stop codon in frame
def test_the_strands_are_equal(tmp_path_factory, seed, length, sites):
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("ACGT"), length))
    genome = genome_of(tmp_path_factory.mktemp("g") / "g.fa", [text, turned(text)])
    labels = SITES if sites else GENES
    opposite = [labels.index(name) for name in _opposite(labels)]
    truth = np.resize(np.repeat(rng.integers(0, 3, 40), rng.integers(1, 80, 40)), length)
    grammar = genes(labels, shortest=1)
    found = log_probabilities(rng, truth, len(labels))
    scores = []
    for chrom, one in enumerate((found, found[::-1][:, opposite])):
        read = reader(one, grammar, genome, chrom)
        behind = int(grammar.codes(genome, chrom, length, length + 1)[0])
        scores.append(viterbi(read, length, grammar.graph, behind=behind)[1])
    assert scores[0] == scores[1]


def _opposite(labels):
    swap = {"forward": "reverse", "reverse": "forward"}
    return ["_".join(swap.get(w, w) for w in name.split("_")) for name in labels]


def planted(rng):
    """A contig with genes of every kind, and where they are: (start, end, strand)."""
    text, places = "", []

    def add(sequence, strand=None, back=0):
        nonlocal text
        start = len(text) - back
        text = text[:start] + (turned(sequence) if strand == "-" else sequence)
        if strand:
            places.append((start, len(text), strand))

    def between(count=40):
        add("C" * count)

    between()
    add(random_gene(rng, 40), "+")
    between()
    add(random_gene(rng, 50, "GTG", "TGA"), "-")
    between()
    add(random_gene(rng, 40, stop="TAG"), "+")  # the next one begins at once
    add(random_gene(rng, 45, "TTG"), "+")
    add(random_gene(rng, 45), "-")
    between()
    gene = random_gene(rng, 40)[:-6] + "CCATGA"  # C CAT GA: the next begins in its last codons
    gene = gene[:-6] + "CCA" + "TGA"
    add(gene, "+")
    add("ATGA" + random_gene(rng, 40)[4:], "+", back=4)
    between()
    add(random_gene(rng, 40, stop="TAA"), "+")
    add("ATG" + random_gene(rng, 40)[3:], "+", back=1)
    between()
    return text, places


def labels_of(length, places, sites=False):
    truth = np.zeros(length, int)
    for start, end, strand in places:
        truth[start:end] = 1 + (strand == "-")
    for start, end, strand in places if sites else ():
        truth[end - 3 : end] = 4 if strand == "+" else 5
        truth[start : start + 3] = 3 if strand == "+" else 6
    if sites:  # starts lie over stops
        for start, end, strand in places:
            if strand == "+":
                truth[start : start + 3] = 3
            else:
                truth[end - 3 : end] = 5
    return truth


@pytest.mark.parametrize("labels", [GENES, SITES])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_planted_genes_are_found(tmp_path, labels, strand):
    rng = np.random.default_rng(7)
    text, places = planted(rng)
    if strand == "-":
        size, text = len(text), turned(text)
        places = [(size - e, size - s, "+-"[p == "+"]) for s, e, p in places[::-1]]
    genome = genome_of(tmp_path / "g.fa", [text])
    truth = labels_of(len(text), places, sites=labels == SITES)
    found = decode(
        log_probabilities(rng, truth, len(labels), sure=9.0), genes(labels), genome, 0, 0
    )
    rows = zip(found.start, found.end, found.kind, strict=True)
    assert [(int(s), int(e), "+-"[k]) for s, e, k in rows] == places
    assert not (found.cut_left | found.cut_right).any()
    assert (found.probability > 0.95).all()
    check_legal(found, genome)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
@pytest.mark.parametrize("right", [0, 1, 2, 3])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_genes_cut_by_the_ends_of_a_contig(tmp_path, left, right, strand):
    rng = np.random.default_rng(left + 10 * right)
    gene = random_gene(rng, 60)
    gene = gene[:30] + "CTAACTAAC" + gene[39:]  # stops in the other two frames
    text = gene[left : len(gene) - right]
    genome = genome_of(tmp_path / "g.fa", [text if strand == "+" else turned(text)])
    truth = np.full(len(text), 1 + (strand == "-"))
    found = decode(log_probabilities(rng, truth, 3, sure=9.0), genes(GENES), genome, 0, 0)
    assert (found.start.tolist(), found.end.tolist()) == ([0], [len(text)])
    assert found.phase.tolist() == [-left % 3]
    cuts = [bool(found.cut_left[0]), bool(found.cut_right[0])]
    assert cuts[:: 1 if strand == "+" else -1] == [left > 0, right > 0]
    check_legal(found, genome)


def test_short_genes_are_left_out_and_overlaps_can_be_forbidden(tmp_path):
    rng = np.random.default_rng(7)
    text, places = planted(rng)
    genome = genome_of(tmp_path / "g.fa", [text])
    found = log_probabilities(rng, labels_of(len(text), places), 3, sure=9.0)
    long = decode(found, genes(GENES, shortest=130), genome, 0, 0)
    assert long.start.tolist() == [s for s, e, _ in places if e - s >= 130]
    apart = decode(found, genes(GENES, overlaps=False), genome, 0, 0)
    assert (apart.start[1:] >= apart.end[:-1]).all()
    check_legal(apart, genome)


def test_another_code(tmp_path):
    rng = np.random.default_rng(1)
    gene = random_gene(rng, 40).replace("TGA", "TGG")
    text = "C" * 30 + gene[:60] + "TGA" + gene[60:] + "C" * 30
    genome = genome_of(tmp_path / "g.fa", [text])
    places = [(30, 33 + len(gene), "+")]
    found = log_probabilities(rng, labels_of(len(text), places), 3, sure=9.0)
    other = genes(GENES, codons=Codons(stops=("TAA", "TAG")))
    assert decode(found, other, genome, 0, 0).end.tolist() == [33 + len(gene)]
    assert decode(found, genes(GENES), genome, 0, 0).end.tolist() != [33 + len(gene)]


def test_the_result_does_not_depend_on_blocks(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    text, places = planted(rng)
    genome = genome_of(tmp_path / "g.fa", [text])
    found = log_probabilities(rng, labels_of(len(text), places), 3, sure=1.0)
    whole = decode(found, genes(GENES), genome, 0, 0)
    for module, name, value in (
        (viterbi_module, "STEPS", 37),
        (viterbi_module, "CHUNKS", 3),
        (segments_module, "_BLOCK", 41),
    ):
        monkeypatch.setattr(module, name, value)
    again = decode(found, genes(GENES), genome, 0, 0)
    for name in ("start", "end", "kind", "phase", "cut_left", "cut_right"):
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    assert np.allclose(whole.probability, again.probability)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 80), block=st.integers(1, 20))
def test_free_segments_are_runs(tmp_path_factory, seed, length, block):
    rng = np.random.default_rng(seed)
    genome = genome_of(tmp_path_factory.mktemp("g") / "g.fa", ["A" * length])
    grammar = free(("background", "x", "y"), switch=-0.5)
    read = reader(log_probabilities(rng, rng.integers(0, 3, length), 3), grammar, genome)
    path, _ = viterbi(read, length, grammar.graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module, "_BLOCK", block)
        found = find_segments(path, read, grammar, chrom=0, offset=0)
    again = np.zeros(length, int)
    for i in range(len(found)):
        part = slice(int(found.start[i]), int(found.end[i]))
        assert not again[part].any()
        again[part] = found.kind[i] + 1
        scores = read(part.start, part.stop).scores[:, found.kind[i] + 1]
        assert found.probability[i] == pytest.approx(np.exp(scores.astype(float)).mean())
    assert again.tolist() == path.tolist()
    same = (found.end[:-1] == found.start[1:]) & (found.kind[:-1] == found.kind[1:])
    assert not same.any()


def test_spliced_genes_keep_their_order(tmp_path):
    rng = np.random.default_rng(0)
    labels = ("intergenic", "exon_forward", "donor_forward", "intron_forward", "acceptor_forward",
              "exon_reverse", "donor_reverse", "intron_reverse", "acceptor_reverse")  # fmt: skip
    parts = [(0, 30), (1, 20), (2, 1), (3, 25), (4, 1), (1, 20), (0, 10),
             (5, 15), (8, 1), (7, 30), (6, 1), (5, 9), (0, 12)]  # fmt: skip
    truth = np.concatenate([np.full(n, k) for k, n in parts])
    genome = genome_of(tmp_path / "g.fa", ["A" * len(truth)])
    noisy = truth.copy()
    noisy[10:12] = 3  # an intron between genes is no gene
    found = decode(log_probabilities(rng, noisy, 9, sure=6.0), spliced(labels), genome, 0, 0)
    rows = [(int(s), int(e)) for s, e in zip(found.start, found.end, strict=True)]
    assert rows == [(30, 50), (77, 97), (107, 122), (154, 163)]
    genes_of = [found.gene[0] == found.gene[1], found.gene[1] == found.gene[2]]
    assert genes_of == [True, False]
    assert not (found.cut_left | found.cut_right).any()
    inside = decode(
        log_probabilities(rng, truth[60:90], 9, sure=6.0), spliced(labels), genome, 0, 60
    )
    assert (inside.start.tolist(), inside.cut_right.tolist()) == ([77], [True])


def test_no_legal_path(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["ACGT"])
    found = np.zeros((4, 2), np.float32)
    grammar = free(("a", "b"))
    grammar.graph.steps[:] = -np.inf
    with pytest.raises(InputError, match="no path through 4 positions"):
        decode(found, grammar, genome, 0, 0)
