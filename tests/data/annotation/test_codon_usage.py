"""The codon adaptation index against a plain transcription, by hand, and on the real genome."""

import itertools
import math

import numpy as np
import pytest

from helicon.alphabet import DNA
from helicon.data.annotation.codon_usage import (
    SYNONYMOUS,
    adaptation_index,
    codon_adaptation,
    codon_counts,
    relative_adaptiveness,
)
from helicon.data.catalogue.example import example_genes, translate

CODONS = ["".join(letters) for letters in itertools.product("ACGT", repeat=3)]
RESIDUE = {codon: translate(DNA.encode("GCA" + codon), complete=False)[1:] for codon in CODONS}


def counts_of(*genes):
    return codon_counts(DNA.encode(gene) for gene in genes)


def plain_weights(genes):
    """Sharp and Li 1987, one codon at a time."""
    seen = dict.fromkeys(CODONS, 0)
    for gene in genes:
        for at in range(3, len(gene), 3):
            seen[gene[at : at + 3]] += 1
    weights = {}
    for codon, residue in RESIDUE.items():
        family = [other for other, same in RESIDUE.items() if same == residue]
        if residue and len(family) > 1:
            most = max(seen[other] or 0.5 for other in family)
            weights[codon] = (seen[codon] or 0.5) / most
    return weights


def plain_index(gene, weights):
    logs = [
        math.log(weights[gene[at : at + 3]])
        for at in range(3, len(gene), 3)
        if gene[at : at + 3] in weights
    ]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def random_genes(count, seed, tilt=0.0):
    """Genes whose codons are random; with `tilt`, more of those that end with C."""
    rng = np.random.default_rng(seed)
    odds = np.array([1 + tilt * (codon[2] == "C") for codon in CODONS])
    return [
        "ATG" + "".join(rng.choice(CODONS, size=rng.integers(120, 200), p=odds / odds.sum()))
        for _ in range(count)
    ]


def test_by_hand():
    # Of lysine AAA is used eight times and AAG twice; nothing else but stops, Met and Trp.
    reference = counts_of("GTG" + 8 * "AAA" + 2 * "AAG" + "ATGTGGTAA")
    weights = relative_adaptiveness(reference[0])
    assert weights[CODONS.index("AAA")] == 1
    assert weights[CODONS.index("AAG")] == 0.25
    assert weights[CODONS.index("ATG")] == weights[CODONS.index("TAA")] == 1
    found = adaptation_index(counts_of("ATGAAAAAG", "AAGAAGATGTGGTAA", "ATGTGGTAA"), weights)
    assert found[:2] == pytest.approx([0.5, 0.25])  # sqrt(1 x 1/4); the first codon is left out
    assert np.isnan(found[2])


def test_codons_that_count():
    residues = {RESIDUE[codon] for codon, counts in zip(CODONS, SYNONYMOUS, strict=True) if counts}
    assert residues == set("ACDEFGHIKLNPQRSTVY")
    assert SYNONYMOUS.sum() == 64 - 3 - 2
    counted = counts_of("ATGAANAAA")
    assert counted.sum() == 1
    assert codon_counts(iter(())).shape == (0, 64)


def test_agrees_with_a_plain_transcription():
    genes = random_genes(20, 0, tilt=3.0)
    rare = ["ATGAAAAAAAAACTGCTGTTA", "ATGAGGCGT"]  # most codons of the reference set are unseen
    for reference in (genes[:5], rare):
        wanted = plain_weights(reference)
        weights = relative_adaptiveness(counts_of(*reference).sum(axis=0))
        assert dict(zip(CODONS, weights, strict=True)) | wanted == pytest.approx(
            dict(zip(CODONS, weights, strict=True))
        )
        found = adaptation_index(counts_of(*genes), weights)
        assert found == pytest.approx([plain_index(gene, wanted) for gene in genes])


def test_the_reference_set_is_found_where_it_was_planted():
    genes = random_genes(480, 1) + random_genes(20, 2, tilt=8.0)
    found = codon_adaptation(counts_of(*genes), share=0.02)
    assert len(found.reference) == 10
    assert found.reference.min() >= 480
    assert found.index[480:].min() > np.quantile(found.index[:480], 0.99)


def test_the_last_set_is_the_best_against_itself():
    counts = counts_of(*random_genes(300, 3, tilt=1.0))
    found = codon_adaptation(counts, share=0.05)
    assert np.array_equal(np.sort(np.argsort(-found.index)[:15]), found.reference)
    again = relative_adaptiveness(counts[found.reference].sum(axis=0))
    assert np.array_equal(again, found.weights)


def test_short_genes_are_in_no_reference_set():
    genes = ["ATG" + 5 * "CTC"] * 10 + random_genes(100, 4)
    assert codon_adaptation(counts_of(*genes), share=0.05).reference.min() >= 10


def test_coli_prefers_what_it_is_known_to_prefer():
    genes = [(coding, complete) for _, coding, complete in example_genes()]
    found = codon_adaptation(codon_counts(coding for coding, _ in genes))
    assert len(found.reference) == 45
    best = [translate(*genes[i][:1], complete=genes[i][1])[:12] for i in found.reference]
    for known in ("MTIKVGINGFGR", "MSKEKFERTKPH", "MSKIVKIIGREI"):  # GAPDH, EF-Tu, enolase
        assert known in best
    preferred = {c for c, w in zip(CODONS, found.weights, strict=True) if w == 1}
    assert {"CTG", "CGT", "GGT", "AAA", "GAA", "CCG", "ATC", "AAC", "CAG"} <= preferred
    rare = [found.weights[CODONS.index(codon)] for codon in ("AGA", "AGG", "ATA", "CTA", "CCC")]
    assert max(rare) < 0.02
    assert np.isfinite(found.index).all()
    assert 0 < found.index.min() < found.index.max() <= 1
