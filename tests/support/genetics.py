"""Genomes with planted genes, and paths of states looked up one by one, for the tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.inference.genes.grammar import Grammar
from helicon.inference.genes.viterbi import Block

STARTS, STOPS = ("ATG", "GTG", "TTG"), ("TAA", "TAG", "TGA")
GENES = ("intergenic", "forward", "reverse")
SITES = (*GENES, "start_forward", "stop_forward", "start_reverse", "stop_reverse")


def turned(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def random_gene(
    rng: np.random.Generator, codons: int, start: str = "ATG", stop: str = "TAA"
) -> str:
    """A coding sequence of so many codons, start and stop among them."""
    inner = []
    while len(inner) < codons - 2:
        codon = "".join(rng.choice(list("ACGT"), 3))
        if codon not in STOPS:
            inner.append(codon)
    return "".join([start, *inner, stop])


def genome_of(path: Path, texts: Sequence[str]) -> Genome:
    path.write_text("".join(f">c{i}\n{text}\n" for i, text in enumerate(texts)))
    return Genome.open(path, cache=path.parent / "cache")


def log_probabilities(
    rng: np.random.Generator, labels: np.ndarray, classes: int, sure: float = 2.0
) -> np.ndarray:
    """What a model of some skill says of positions of these classes, (L, classes)."""
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += sure
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def reader(found: np.ndarray, grammar: Grammar, genome: Genome, chrom: int = 0, offset: int = 0):
    def read(start: int, end: int) -> Block:
        codes = grammar.codes(genome, chrom, offset + start, offset + end)
        return Block(found[start:end][:, grammar.emits], codes)

    return read


def text_of(genome: Genome, chrom: int, start: int, end: int, strand: str) -> str:
    return DNA.decode(genome.fetch(chrom, start, end, strand=strand))
