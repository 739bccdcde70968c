import gzip
import re

import numpy as np
import pytest

from helicon.alphabet import DNA
from helicon.data.catalogue.example import (
    example_annotation,
    example_genome,
    example_proteome,
    translate,
)
from helicon.data.genome.fasta import read_fasta
from helicon.files import sha256


@pytest.fixture(scope="module")
def chromosome():
    (record,) = read_fasta(example_genome())
    return record


@pytest.fixture(scope="module")
def rows():
    with gzip.open(example_annotation(), "rt") as handle:
        return [line.rstrip("\n").split("\t") for line in handle if not line.startswith("#")]


@pytest.fixture(scope="module")
def proteome():
    return list(example_proteome())


def test_the_genome(chromosome):
    assert chromosome.name == "NC_008253.1"
    assert chromosome.description == "Escherichia coli 536, complete genome"
    assert np.bincount(chromosome.ids).tolist() == [1_222_723, 1_251_581, 1_243_439, 1_221_177]


def test_the_readme_says_the_hashes():
    readme = (example_genome().parent / "README.md").read_text()
    for path in (example_genome(), example_annotation()):
        assert re.search(rf"`{path.name}` \|.*`{sha256(path)}`", readme)


def test_the_annotation_is_gff3(rows):
    with gzip.open(example_annotation(), "rt") as handle:
        assert handle.readline() == "##gff-version 3\n"
        assert handle.readline() == "##sequence-region NC_008253.1 1 4938920\n"
    assert len(rows) == 4544
    assert len({row[8].split(";")[0] for row in rows}) == 4544
    starts = [int(row[3]) for row in rows]
    assert starts == sorted(starts)
    for seqid, source, kind, start, end, score, strand, phase, attributes in rows:
        assert (seqid, source, kind, phase) == ("NC_008253.1", "Prodigal", "CDS", "0")
        assert 1 <= int(start) < int(end) <= 4_938_920 and (int(end) - int(start) + 1) % 3 == 0
        assert strand in "+-" and float(score) and re.match(r"ID=cds\d{4}(;partial=|$)", attributes)


def test_genes_start_and_stop_with_the_codons_of_table_11(rows, chromosome):
    for _, _, _, start, end, _, strand, _, attributes in rows:
        ids = chromosome.ids[int(start) - 1 : int(end)]
        text = DNA.decode(ids if strand == "+" else DNA.reverse_complement(ids))
        assert text[:3] in ("ATG", "GTG", "TTG") or "partial=true" in attributes
        assert text[-3:] in ("TAA", "TAG", "TGA")


def test_the_proteome(proteome):
    assert len(proteome) == 4544
    assert sum(len(protein) for _, protein in proteome) == 1_438_858
    assert proteome[0][0] == "cds0001" and not proteome[0][1].startswith("M")
    assert all(protein.startswith("M") for _, protein in proteome[1:])
    assert not any("*" in protein or "X" in protein for _, protein in proteome)


def test_a_protein_known_by_heart(proteome):
    # Ribosomal protein L34 (rpmH), the same in all E. coli.
    wanted = "MKRTFQPSVLKRNRSHGFRARMATKNGRQVLARRRAKGRARLTVSK"
    assert [protein for _, protein in proteome].count(wanted) == 1


def test_translation_is_ncbi_table_11():
    bases, code = "TCAG", "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
    codons = [a + b + c for a in bases for b in bases for c in bases]
    for codon, residue in zip(codons, code, strict=True):
        coding = DNA.encode("GCA" + codon + "GCA")
        assert translate(coding, complete=False) == f"A{residue}A"
    assert translate(DNA.encode("GTGNACTAA")) == "MX"
