"""Make the embedded example from the E. coli 536 genome: a FASTA file and the genes on it.

A tool of development, not part of the package: Prodigal (through pyrodigal) is under the GPL and is
run here once, never imported by Helicon.

    apt-get download bowtie-examples && dpkg -x bowtie-examples_*.deb deb
    pip install pyrodigal==3.7.1
    python tools/make_example_annotation.py \
        deb/usr/share/doc/bowtie/examples/genomes/NC_008253.fna.gz \
        src/helicon/data/catalogue/example
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyrodigal

NAME = "NC_008253.1"
DESCRIPTION = "Escherichia coli 536, complete genome"
TRANSLATION_TABLE = 11
LINE = 80


def main() -> None:
    """Write the two files and print their hashes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("genome", type=Path, help="NC_008253.fna.gz of Debian's bowtie-examples")
    parser.add_argument("folder", type=Path, help="where the two files go")
    arguments = parser.parse_args()
    sequence = read_sequence(arguments.genome)
    write(arguments.folder / "NC_008253.fa.gz", fasta_lines(sequence))
    write(arguments.folder / "NC_008253.gff3.gz", gff_lines(sequence))


def read_sequence(path: Path) -> str:
    """Sequence of the only record of a gzip FASTA file."""
    with gzip.open(path, "rt") as handle:
        header, _, text = handle.read().partition("\n")
    assert NAME in header
    return "".join(text.split())


def fasta_lines(sequence: str) -> Iterator[str]:
    """Lines of the FASTA file."""
    yield f">{NAME} {DESCRIPTION}"
    yield from (sequence[at : at + LINE] for at in range(0, len(sequence), LINE))


def gff_lines(sequence: str) -> Iterator[str]:
    """Lines of the GFF3 file: one CDS for each gene that Prodigal finds in single mode.

    A gene cut off by an end of the sequence is marked as GFF3 and NCBI do: `partial=true`, with
    `start_range` or `end_range`.
    """
    finder = pyrodigal.GeneFinder(meta=False)
    finder.train(sequence, translation_table=TRANSLATION_TABLE)
    yield "##gff-version 3"
    yield f"##sequence-region {NAME} 1 {len(sequence)}"
    for number, gene in enumerate(finder.find_genes(sequence), start=1):
        note = f";partial=true;start_range=.,{gene.begin}" if gene.partial_begin else ""
        note += f";partial=true;end_range={gene.end},." if gene.partial_end else ""
        strand = "+" if gene.strand > 0 else "-"
        columns = (NAME, "Prodigal", "CDS", gene.begin, gene.end, f"{gene.score:.1f}", strand, 0)
        yield "\t".join(map(str, columns)) + f"\tID=cds{number:04}{note}"


def write(path: Path, lines: Iterator[str]) -> None:
    """Write a gzip file whose bytes depend on its content alone."""
    text = "".join(line + "\n" for line in lines).encode()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as handle:
        handle.write(text)
    print(hashlib.sha256(path.read_bytes()).hexdigest(), path)


if __name__ == "__main__":
    main()
