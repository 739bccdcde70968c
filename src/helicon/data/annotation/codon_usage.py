"""How well a gene's codons are adapted: the codon adaptation index, from a genome alone.

The index of a gene is the geometric mean, over its codons, of how often the codon is used in a set
of reference genes relative to the most used codon of the same residue (Sharp and Li, "The codon
adaptation index", Nucleic Acids Research 1987). Where no reference set is known, the genome shows
one: the genes whose own codons dominate it most, found as in Carbone, Zinovyev and Képès, "Codon
adaptation index as a measure of dominating codon bias", Bioinformatics 2003. In bacteria that grow
fast it holds ribosomal proteins and other abundant ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Ids

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]

#: Residues of the 64 codons in the order of the ids of A, C, G, T (NCBI translation table 11).
BACTERIAL_CODE = np.frombuffer(
    b"KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF", dtype=np.uint8
)
#: Share of the genes that the reference set has in the end.
SHARE = 0.01
#: The count of a codon that the reference set does not have (Bulmer 1988), so that one such codon
#: does not make the index of a gene zero.
_UNSEEN = 0.5
#: Rounds after which a reference set that goes round in a circle is taken as it is.
_ROUNDS = 100

#: Residues with one codon say nothing, nor do stop codons.
_RESIDUES = BACTERIAL_CODE[:, None] == np.unique(BACTERIAL_CODE)
_CHOSEN = _RESIDUES[:, (_RESIDUES.sum(axis=0) > 1) & (np.unique(BACTERIAL_CODE) != ord("*"))]
#: Codons that count, (64,).
SYNONYMOUS: NDArray[np.bool_] = _CHOSEN.any(axis=1)


@dataclass(frozen=True, eq=False)
class CodonAdaptation:
    """The index of every gene of a genome, and where it comes from.

    Attributes:
        index: of every gene, in (0, 1]; NaN without a codon that has synonyms; (n,).
        weights: relative adaptiveness of every codon, in the order of `codon_counts`; 1 for those
            without synonyms; (64,).
        reference: genes of the reference set, ascending.
    """

    index: Numbers
    weights: Numbers
    reference: NDArray[np.int64]


def codon_counts(genes: Iterable[Ids]) -> Counts:
    """Count the codons of coding sequences.

    Args:
        genes: ids of DNA without `SOFT_BIT`, whole codons. The first codon, which starts the
            protein whatever it codes for elsewhere, and codons with N are left out.

    Returns:
        (n, 64), codons in the order of the ids of their letters: AAA, AAC, AAG, AAT, ACA, ...
    """
    rows = [np.zeros(64, dtype=np.int64)]
    for gene in genes:
        codons = gene.reshape(-1, 3)[1:].astype(np.intp)
        codons = codons[(codons < 4).all(axis=1)]
        rows.append(np.bincount(codons @ np.array([16, 4, 1]), minlength=64))
    return np.stack(rows)[1:]


def relative_adaptiveness(counts: NDArray[Any]) -> Numbers:
    """How often each codon is used, relative to the most used one of the same residue.

    Args:
        counts: of the codons of the reference set together, (64,).

    Returns:
        (64,), at most 1; 1 for codons without synonyms.
    """
    used = np.where(counts > 0, counts, _UNSEEN)
    most = (used[:, None] * _CHOSEN).max(axis=0)
    return np.where(SYNONYMOUS, used / (_CHOSEN @ most + ~SYNONYMOUS), 1.0)


def adaptation_index(counts: NDArray[Any], weights: Numbers) -> Numbers:
    """The codon adaptation index of genes.

    Args:
        counts: of each gene's codons, (n, 64).
        weights: relative adaptiveness of the codons, (64,).

    Returns:
        (n,); NaN for a gene without a codon that has synonyms.
    """
    logs = counts[:, SYNONYMOUS] @ np.log(weights[SYNONYMOUS])
    total = counts[:, SYNONYMOUS].sum(axis=1)
    return np.exp(np.divide(logs, total, out=np.full(len(counts), np.nan), where=total > 0))


def codon_adaptation(counts: Counts, *, share: float = SHARE, least: int = 100) -> CodonAdaptation:
    """The index of every gene, against a reference set that the genome shows by itself.

    At first all genes are the reference set. Again and again the genes with the highest index
    against the set make the next one, half as large, until it has a share `share` of the genes;
    from then on it keeps its size, until it no longer changes.

    Args:
        counts: of each gene's codons, (n, 64).
        share: of the genes, for the last reference set.
        least: codons that a gene of a reference set has; the index of a short gene is high or low
            by chance.
    """
    size = max(1, round(share * len(counts)))
    allowed = counts[:, SYNONYMOUS].sum(axis=1) >= least
    reference = np.flatnonzero(allowed)
    for _ in range(_ROUNDS):
        weights = relative_adaptiveness(counts[reference].sum(axis=0))
        index = adaptation_index(counts, weights)
        best = np.argsort(np.where(allowed, -index, np.inf), kind="stable")
        following = np.sort(best[: min(max(size, len(reference) // 2), len(reference))])
        if np.array_equal(following, reference):
            break
        reference = following
    return CodonAdaptation(index, weights, reference)
