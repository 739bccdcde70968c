"""The embedded example: the genome of *Escherichia coli* 536, its genes and its proteome."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Ids
from helicon.data.annotation.codon_usage import BACTERIAL_CODE
from helicon.data.genome.fasta import read_fasta
from helicon.data.reading.compressed import text_lines


def example_genome() -> Path:
    """FASTA file (gzip) of NC_008253.1, 4,938,920 bases."""
    return _file("NC_008253.fa.gz")


def example_annotation() -> Path:
    """GFF3 file (gzip) of the 4,544 coding sequences that Prodigal finds on the genome."""
    return _file("NC_008253.gff3.gz")


def _file(name: str) -> Path:
    return Path(str(resources.files("helicon.data.catalogue") / "example" / name))


def example_proteome() -> Iterator[tuple[str, str]]:
    """Translate the coding sequences by table 11.

    The start codon of a complete gene (ATG, GTG or TTG) is a methionine; the stop is left out.

    Yields:
        The ID of each of the 4,544 genes and its protein, of 1,438,858 residues together.
    """
    for name, coding, complete in example_genes():
        yield name, translate(coding, complete=complete)


def example_genes() -> Iterator[tuple[str, Ids, bool]]:
    """Read the coding sequences, each on its own strand.

    Yields:
        The ID of each of the 4,544 genes; its ids without `SOFT_BIT`, whole codons, the stop codon
        last; and whether it is complete, so that its first codon is a start codon.
    """
    (chromosome,) = read_fasta(example_genome())
    ids = chromosome.ids & np.uint8(0xFF ^ SOFT_BIT)
    for _, line in text_lines(example_annotation(), "GFF3 file"):
        if line.startswith("#"):
            continue
        _, _, _, start, end, _, strand, _, attributes = line.split("\t")
        coding = ids[int(start) - 1 : int(end)]
        if strand == "-":
            coding = DNA.reverse_complement(coding)
        notes = dict(item.split("=") for item in attributes.split(";"))
        yield notes["ID"], coding, "partial" not in notes


def translate(coding: Ids, *, complete: bool = True) -> str:
    """Translate a coding sequence by NCBI table 11 (bacteria).

    Args:
        coding: ids without `SOFT_BIT`, whole codons, shape (3n,).
        complete: the first codon is a start codon and so a methionine, whatever it is inside.

    Returns:
        One-letter residues without the stop at the end; `X` for codons with `N`, `*` for stops
        inside.
    """
    codons = coding.reshape(-1, 3).astype(np.intp)
    residues: NDArray[np.uint8] = BACTERIAL_CODE[(codons % 4) @ np.array([16, 4, 1])]
    residues[(codons > 3).any(axis=1)] = ord("X")
    if complete:
        residues[0] = ord("M")
    return residues.tobytes().decode().removesuffix("*")
