"""The embedded genome as proteins: the files that the protein job reads, and its split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from helicon.alphabet import PROTEIN
from helicon.data.annotation.codon_usage import codon_adaptation, codon_counts
from helicon.data.catalogue.example import example_genes, translate
from helicon.data.sampling.clusters import Part, find_clusters, split_clusters
from helicon.data.tables.store import SequenceStore
from helicon.files import write_aside
from helicon.report.results.protein_demo import ProteinPart

#: Column of the labels.
TARGET = "cai"


@dataclass(frozen=True)
class Proteome:
    """Files of the proteins of a genome.

    Attributes:
        fasta: all proteins, for pretraining.
        clusters: table of the cluster of every protein.
        genes: table with the columns `name`, `sequence`, `cai` (the codon adaptation index) and
            `set` (train, validation or test; of whole clusters).
        parts: what is in each part.
        clusters_by: where the clusters come from, in words.
        reference_genes: genes that the index is relative to.
    """

    fasta: Path
    clusters: Path
    genes: Path
    parts: dict[str, ProteinPart]
    clusters_by: str
    reference_genes: int


def write_proteome(out: Path, *, validation: float, test: float) -> Proteome:
    """Translate the genes of the embedded genome, measure their codons, and divide them.

    `helicon pretrain` deals the clusters out in the same way when it is given the same table and
    shares, so the proteins that it never sees are those that the table of genes sets aside.

    Args:
        out: the folder to write to.
        validation: share of the residues to choose by.
        test: share of the residues to measure on.
    """
    genes = list(example_genes())
    names = [name for name, _, _ in genes]
    proteins = [translate(coding, complete=complete) for _, coding, complete in genes]
    adaptation = codon_adaptation(codon_counts(coding for _, coding, _ in genes))

    fasta, table, cluster_table = out / "proteome.fasta", out / "genes.csv", out / "clusters.tsv"
    pairs = zip(names, proteins, strict=True)
    _write(fasta, "".join(f">{name}\n{protein}\n" for name, protein in pairs))
    store = SequenceStore.open(fasta, alphabet=PROTEIN)
    clusters = find_clusters(store)
    frame = pl.DataFrame({"name": names, "cluster": clusters.ids})
    _write(cluster_table, frame.write_csv(separator="\t", include_header=False))

    rows = split_clusters(store, clusters, validation=validation, test=test)
    part_of = np.empty(len(store), dtype="U10")
    for part, chosen in rows.items():
        part_of[chosen] = part
    frame = pl.DataFrame(
        {"name": names, "sequence": proteins, TARGET: adaptation.index, "set": part_of}
    )
    _write(table, frame.write_csv(float_precision=4))
    parts = {
        part: ProteinPart(
            proteins=len(rows[part]),
            clusters=len(np.unique(clusters.ids[rows[part]])),
            residues=int(store.lengths[rows[part]].sum()),
        )
        for part in get_args(Part)
    }
    return Proteome(
        fasta, cluster_table, table, parts, clusters.found_by, len(adaptation.reference)
    )


def _write(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
