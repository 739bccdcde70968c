"""GFF3 and BED as they are written, and read again."""

import gzip

import numpy as np
import pytest
from genetics import GENES, genome_of

from helicon.data.annotation.annotation import read_annotation
from helicon.data.annotation.gff import read_gff
from helicon.data.genome.intervals import read_bed
from helicon.inference.genes.grammar import free, genes, spliced
from helicon.inference.genes.segments import Segments, format_of, segment_writer

SPLICED = ("none", "exon_forward", "intron_forward", "exon_reverse", "intron_reverse")


def segments(*rows):
    """Rows of start, end, kind, gene, phase, probability, cut left and right."""
    chrom = np.zeros(len(rows), dtype=int)
    return Segments(chrom, *map(np.array, zip(*rows, strict=True)))


def nothing():
    none = np.empty(0, dtype=int)
    return Segments(*[none] * 6, none.astype(float), none > 0, none > 0)


def write(path, form, grammar, genome, *found, compressed=False):
    with segment_writer(path, form, grammar, genome, compressed=compressed) as writer:
        for one in found:
            writer.write(one)
    return path


@pytest.fixture
def genome(tmp_path):
    return genome_of(tmp_path / "g.fa", ["A" * 300, "C" * 20])


@pytest.fixture
def found():
    return segments(
        (0, 29, 0, 0, 2, 0.91234, True, False),
        (30, 90, 1, 1, 0, 0.5, False, False),
        (86, 300, 1, 2, 1, 1.0, False, True),
    )


def test_genes_as_gff3(tmp_path, genome, found):
    path = write(tmp_path / "a.gff3", "gff3", genes(GENES), genome, found, nothing())
    assert path.read_text().splitlines() == [
        "##gff-version 3",
        "##sequence-region c0 1 300",
        "##sequence-region c1 1 20",
        "c0\thelicon\tCDS\t1\t29\t0.9123\t+\t2\t"
        "ID=cds1;partial=true;start_range=.,1;probability=0.9123",
        "c0\thelicon\tCDS\t31\t90\t0.5000\t-\t0\tID=cds2;probability=0.5000",
        "c0\thelicon\tCDS\t87\t300\t1.0000\t-\t1\t"
        "ID=cds3;partial=true;end_range=300,.;probability=1.0000",
    ]
    rows = read_gff(path, genome, "CDS").rows
    assert rows.select("start", "end", "strand").rows() == [
        (0, 29, "+"), (30, 90, "-"), (86, 300, "-"),
    ]  # fmt: skip
    assert read_annotation(path, genome).classes == GENES


def test_genes_as_bed(tmp_path, genome, found):
    path = write(tmp_path / "a.bed", "bed", genes(GENES), genome, found)
    assert path.read_text().splitlines() == [
        "c0\t0\t29\tcds1\t912\t+",
        "c0\t30\t90\tcds2\t500\t-",
        "c0\t86\t300\tcds3\t1000\t-",
    ]
    rows = read_bed(path, genome, split_column=None)
    assert [(r.start, r.end, r.strand) for r in rows] == [
        (0, 29, "+"), (30, 90, "-"), (86, 300, "-"),
    ]  # fmt: skip


def test_spliced_genes(tmp_path, genome):
    rows = segments(
        (0, 20, 0, 1, -1, 0.5, True, False),
        (50, 70, 0, 1, -1, 1.0, False, False),
        (100, 110, 2, 4, -1, 0.9, False, False),
    )
    path = write(tmp_path / "a.gff3", "gff3", spliced(SPLICED), genome, rows)
    lines = [line.split("\t")[2:] for line in path.read_text().splitlines()[3:]]
    assert [(t, s, e, d) for t, s, e, _, d, _, _ in lines] == [
        ("gene", "1", "70", "+"), ("mRNA", "1", "70", "+"),
        ("exon", "1", "20", "+"), ("exon", "51", "70", "+"),
        ("gene", "101", "110", "-"), ("mRNA", "101", "110", "-"), ("exon", "101", "110", "-"),
    ]  # fmt: skip
    notes = [line[-1] for line in lines]
    assert notes[0] == "ID=gene1;partial=true;start_range=.,1;probability=0.7500"
    assert notes[1].startswith("ID=mRNA1;Parent=gene1;")
    assert notes[3] == "Parent=mRNA1;probability=1.0000"
    bed = write(tmp_path / "a.bed", "bed", spliced(SPLICED), genome, rows)
    assert bed.read_text().splitlines() == [
        "c0\t0\t70\tgene1\t750\t+\t0\t70\t0\t2\t20,20,\t0,50,",
        "c0\t100\t110\tgene2\t900\t-\t100\t110\t0\t1\t10,\t0,",
    ]


def test_other_classes_and_names(tmp_path):
    genome = genome_of(tmp_path / "g.fa", ["A" * 50])
    genome.names[0] = "a;b c"
    grammar = free(("background", "open region; x", "promoter +"))
    rows = segments(
        (0, 5, 0, 0, -1, 0.5, False, False), (5, 9, 1, 1, -1, 0.5, False, False)
    )  # fmt: skip
    path = write(tmp_path / "a.gff3", "gff3", grammar, genome, rows)
    assert path.read_text().splitlines()[2:] == [
        "a%3Bb%20c\thelicon\tsequence_feature\t1\t5\t0.5000\t.\t.\t"
        "ID=feature1;Name=open region%3B x;probability=0.5000",
        "a%3Bb%20c\thelicon\tpromoter\t6\t9\t0.5000\t+\t.\t"
        "ID=feature2;Name=promoter +;probability=0.5000",
    ]
    bed = write(tmp_path / "a.bed", "bed", grammar, genome, rows)
    assert [line.split("\t")[3] for line in bed.read_text().splitlines()] == [
        "open_region;_x",
        "promoter_+",
    ]


def test_compressed_files_are_the_same_each_time(tmp_path, genome, found):
    plain = write(tmp_path / "a.bed", "bed", genes(GENES), genome, found)
    packed = [
        write(tmp_path / n, "bed", genes(GENES), genome, found, compressed=True)
        for n in ("b.bed.gz", "c.bed.gz")
    ]
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert gzip.decompress(packed[0].read_bytes()) == plain.read_bytes()


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.gff3", "gff3"), ("a.GFF.gz", "gff3"), ("a.x.bed", "bed"), ("a.bed.gz", "bed"),
     ("a.parquet", None), ("a", None), ("bed", None)],
)  # fmt: skip
def test_formats_by_name(tmp_path, name, form):
    assert format_of(tmp_path / name) == form
