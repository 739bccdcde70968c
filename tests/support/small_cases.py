"""A small model, a small labelled table and a small annotated genome, for the supervised tests."""

import gzip
from pathlib import Path

import numpy as np
import torch

from helicon.alphabet import DNA
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save

CONFIG = ConvNovaConfig(d_model=8, blocks=2, kernel=5)
MOTIF = "GATTACAGG"


def model_folder(folder: Path, seed: int = 0, config: ConvNovaConfig = CONFIG) -> Path:
    torch.manual_seed(seed)
    return save(HeliconForMaskedLM(HeliconConfig.of(config)), folder)


def letters(rng: np.random.Generator, length: int) -> str:
    return DNA.decode(rng.integers(0, 4, length).astype(np.uint8))


def motif_rows(n: int, seed: int = 0, shortest: int = 20, longest: int = 40) -> list[tuple]:
    """Sequences of which every second one holds the motif: (sequence, 0 or 1)."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        text = letters(rng, int(rng.integers(shortest, longest + 1)))
        if i % 2:
            at = int(rng.integers(0, len(text) - len(MOTIF)))
            text = text[:at] + MOTIF + text[at + len(MOTIF) :]
        rows.append((text, i % 2))
    return rows


def write_csv(path: Path, rows: list[tuple], header: str = "sequence,label") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def gene_genome(folder: Path, length: int = 12_000, seed: int = 0) -> tuple[Path, Path]:
    """One chromosome whose genes are rich in A (forward) or in T (reverse), and their GFF."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, length).astype(np.uint8)
    rows = ["##gff-version 3"]
    at = 150
    while at + 300 < length:
        strand = "+-"[len(rows) % 2]
        gene = rng.random(200) < 0.6
        ids[at : at + 200][gene] = DNA.letters.index("A" if strand == "+" else "T")
        rows.append(f"chr\tsim\tCDS\t{at + 1}\t{at + 200}\t.\t{strand}\t0\tID=g{len(rows)}")
        at += 200 + int(rng.integers(100, 200))
    fasta = folder / "genome.fa.gz"
    with gzip.open(fasta, "wt") as handle:
        handle.write(f">chr\n{DNA.decode(ids)}\n")
    annotation = folder / "genes.gff3"
    annotation.write_text("\n".join(rows) + "\n")
    return fasta, annotation
