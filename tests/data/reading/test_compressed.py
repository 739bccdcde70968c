"""One file, however it was saved: line ends, encodings and compression make no difference."""

import gzip
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from helicon.alphabet import DNA
from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.fasta import read_fasta
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import read_bed
from helicon.data.reading import compressed
from helicon.data.reading.compressed import open_bytes
from helicon.data.tables.store import SequenceStore
from helicon.data.tables.tables import read_table
from helicon.data.variants.vcf import open_vcf
from helicon.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


TEXT = "first line\n\nthird, with caf\u00e9 \u03b2\nlast"


def zipped(content):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../x.txt", content)
    return held.getvalue()


@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 16])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_the_same_however_it_was_saved(tmp_path, monkeypatch, coding, end, pack, piece):
    monkeypatch.setattr(compressed, "_PIECE", piece)
    path = tmp_path / "t.txt"
    path.write_bytes(pack(TEXT.replace("\n", end).encode(coding)))
    with open_bytes(path, "file") as handle:
        assert handle.read(3) == b"fir"
        handle.seek(0)
        assert handle.read() == TEXT.encode()
    with open_bytes(path, "file") as handle:
        assert next(iter(handle)) == b"first line\n"
    assert not (tmp_path.parent / "x.txt").exists()


@pytest.mark.parametrize("content", [b"PAR1\r\n\r", b"\0\1\2\r\n", bytes(range(256)) * 40])
def test_other_content_is_given_as_it_is(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with open_bytes(tmp_path / "t", "file") as handle:
        assert handle.read() == content


def saved(folder, text, end, name):
    path = folder / name
    path.write_bytes(text.replace("\n", end).encode())
    return path


@pytest.mark.parametrize("end", ["\r", "\r\n"])
@pytest.mark.parametrize("size", [8, 400_000])
def test_every_reader_takes_every_line_end(tmp_path, monkeypatch, end, size):
    monkeypatch.setattr(compressed, "BLOCK", 7 if size < 100 else 1 << 20)
    letters = "ACGT" * (size // 4)
    fasta = saved(tmp_path, f">a one\n{letters}\n>b\nAC\nGT\n", end, "g.fa")
    found = [(r.name, DNA.decode(r.ids), r.line) for r in read_fasta(fasta)]
    assert found == [("a", letters, 1), ("b", "ACGT", 3)]
    genome = Genome.open(fasta)
    assert list(genome.names) == ["a", "b"] and genome.lengths.tolist() == [size, 4]
    table = saved(tmp_path, f"sequence,label\n{letters},1\n", end, "t.csv")
    assert read_table(table, target="label").lengths.tolist() == [size]
    assert SequenceStore.open(table, alphabet=DNA).lengths.tolist() == [size]
    bed = saved(tmp_path, "a\t0\t3\ttrain\nb\t1\t2\ttest\n", end, "t.bed")
    assert len(read_bed(bed, genome)) == 2
    gff = saved(tmp_path, "##gff-version 3\na\tx\tCDS\t1\t3\t.\t+\t0\tID=x\n", end, "t.gff3")
    classes = read_annotation(gff, genome).windows([0], [0], 5)[0]
    assert len(np.unique(classes)) == 2
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf = saved(tmp_path, header + "a\t2\t.\tC\tT\t.\t.\t.\na\t3\t.\tG\tA\t.\t.\t.\n", end, "t.vcf")
    with open_vcf(vcf) as records:
        assert [record.position for record in records] == [2, 3]


def test_a_lone_return_behind_a_header_loses_no_line(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\rACGT\n>b\nAC\n")
    assert [(r.name, DNA.decode(r.ids)) for r in read_fasta(path)] == [("a", "ACGT"), ("b", "AC")]


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
@pytest.mark.parametrize("start", [b">a\n", b"sequence,label\nACGT,1\n"])
def test_what_unpacks_without_end_stops(tmp_path, monkeypatch, start, pack):
    monkeypatch.setattr(compressed, "UNPACKED", 1 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(pack(start + b"A" * 24_000_000))
    if start[:1] == b">":
        readers = [lambda: list(read_fasta(path)), lambda: Genome.open(path)]
    else:
        readers = [lambda: read_table(path, target="label")]
    for read in [*readers, lambda: SequenceStore.open(path, alphabet=DNA)]:
        tracemalloc.start()
        with pytest.raises(InputError, match=r"bomb.*: unpacks to more than .* HELICON_UNP"):
            read()
        assert tracemalloc.get_traced_memory()[1] < 80_000_000
        tracemalloc.stop()
    assert not [left for left in (tmp_path / "cache").rglob("*") if left.suffix in (".tmp", ".u8")]
    monkeypatch.setenv("HELICON_UNPACKED_LIMIT", "1G")
    if start[:1] == b">":
        assert len(next(read_fasta(path)).ids) == 24_000_000
    monkeypatch.setenv("HELICON_UNPACKED_LIMIT", "much")
    with pytest.raises(InputError, match="HELICON_UNPACKED_LIMIT: 'much' is no size"):
        readers[0]()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda p: list(read_fasta(p)), lambda p: read_table(p, target="x")):
        with pytest.raises(InputError, match="pipe: is a pipe"):
            read(tmp_path / "pipe")
