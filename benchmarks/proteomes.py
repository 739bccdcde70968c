"""One protein FASTA of the proteomes that the measurements pretrain on.

    HELICON_DATA=FOLDER python benchmarks/proteomes.py OUT.fasta.gz

*E. coli* K-12 (RefSeq proteins), *S. cerevisiae* (the verified and uncharacterised nuclear reading
frames of SGD, translated), human proteins of the clinical set of ProteinGym. Equal sequences are
written once. TEM-1 beta-lactamase, GFP and protein G, on which the language model is measured
later, are in none of them; the script checks it. The file depends on the data alone, byte by byte.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from helicon.alphabet import DNA
from helicon.data.catalogue.catalogue import find
from helicon.data.catalogue.example import translate
from helicon.data.genome.genome import Genome
from helicon.data.reading.compressed import open_bytes
from helicon.files import sha256, write_aside

_ECOLI = "ecoli-k12/GCF_000005845.2_ASM584v2_protein.faa.gz"
_HUMAN = "human-clinical-proteins/proteingym_clinical_targets.fasta.gz"
_YEAST = "yeast-r64/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz"
_FEATURES = "yeast-r64/SGD_features_170331.tab.gz"
_COLUMNS = {1: "type", 2: "qualifier", 3: "name", 6: "parent", 8: "chrom", 9: "a", 10: "b"}
#: Stretches of the proteins that nothing may be learned about here.
_HELD_OUT = {"TEM-1": "GERFPMMSTFKVLLCGAVLSR", "GFP": "FSYGVQCFSRYPDHMK", "GB1": "QYKLILNGKTLKGET"}
_ROMAN = (
    *("I", "II", "III", "IV", "V", "VI", "VII", "VIII"),
    *("IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI"),
)


def fasta_records(name: str) -> Iterator[tuple[str, str]]:
    """Names and letters of a protein FASTA, without stops at the end."""
    with open_bytes(find(name), "FASTA file") as handle:
        text = handle.read().decode()
    for record in text.split(">")[1:]:
        head, _, body = record.partition("\n")
        yield head.split()[0], re.sub(r"\s", "", body).upper().removesuffix("*")


def yeast_proteins() -> Iterator[tuple[str, str]]:
    """Reading frames of the nuclear chromosomes, spliced and translated.

    Frames with a stop inside (programmed frameshifts) are left out.
    """
    genome = Genome.open(find(_YEAST))
    table = pl.read_csv(
        io.BytesIO(gzip.decompress(find(_FEATURES).read_bytes())),
        separator="\t",
        has_header=False,
        quote_char=None,
        infer_schema=False,
    )
    table = table.select(**{name: f"column_{i}" for i, name in _COLUMNS.items()}).with_columns(
        pl.col("chrom", "a", "b").cast(pl.Int64, strict=False)  # a plasmid has no number
    )
    frames = table.filter(
        (pl.col("type") == "ORF")
        & pl.col("qualifier").is_in(["Verified", "Uncharacterized"])
        & (pl.col("chrom") <= len(_ROMAN))
    )
    exons = table.filter(pl.col("type") == "CDS").group_by("parent").agg("chrom", "a", "b")
    for name, chroms, a, b in (
        frames.join(exons, left_on="name", right_on="parent")
        .select("name", pl.col("chrom_right").list.first(), "a_right", "b_right")
        .sort("name")
        .iter_rows()
    ):
        protein = translate(_coding(genome, _ROMAN[chroms - 1], a, b))
        if "*" not in protein:
            yield name, protein


def _coding(genome: Genome, chrom: str, firsts: list[int], lasts: list[int]) -> np.ndarray:
    """Bases of a spliced reading frame; SGD counts from one and writes the reverse strand down."""
    at = genome.names.index(chrom)
    reverse = firsts[0] > lasts[0]
    spans = sorted((min(a, b) - 1, max(a, b)) for a, b in zip(firsts, lasts, strict=True))
    ids = np.concatenate([genome.fetch(at, start, end) for start, end in spans])
    return DNA.reverse_complement(ids) if reverse else ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    seen: set[str] = set()
    sources = {
        "ecoli": fasta_records(_ECOLI),
        "yeast": yeast_proteins(),
        "human": fasta_records(_HUMAN),
    }
    with write_aside(out) as aside, gzip.GzipFile(aside, "wb", mtime=0) as handle:
        for source, records in sources.items():
            count = letters = 0
            for name, protein in records:
                if protein in seen:
                    continue
                for what, stretch in _HELD_OUT.items():
                    assert stretch not in protein, f"{source} {name} holds {what}"
                seen.add(protein)
                handle.write(f">{source}|{name}\n{protein}\n".encode())
                count, letters = count + 1, letters + len(protein)
            print(f"{source}: {count:,} proteins, {letters:,} residues")
    print(f"{out}: SHA-256 {sha256(out)}")


if __name__ == "__main__":
    main()
