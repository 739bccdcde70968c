import gzip
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN, SOFT_BIT
from helicon.data.genome.fasta import read_fasta, stream_fasta
from helicon.data.reading import compressed
from helicon.errors import InputError


def bgzip(content: bytes, *, block: int = 1000, end: bool = True) -> bytes:
    """Content as bgzip writes it: gzip members that state their size, and an empty one behind."""
    parts = [content[at : at + block] for at in range(0, len(content), block)] + [b""] * end
    return b"".join(_bgzf_block(part) for part in parts)


def _bgzf_block(part: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = packer.compress(part) + packer.flush()
    if not part:
        data = b"\x03\x00"
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(data) + 25)
    return head + data + struct.pack("<II", zlib.crc32(part), len(part))


def records(path, alphabet=DNA, **options):
    return [
        (r.name, r.description, alphabet.decode(r.ids), r.line)
        for r in read_fasta(path, alphabet, **options)
    ]


@pytest.fixture
def write(tmp_path):
    def write_file(content: bytes, name="x.fa"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


GOOD = b">a first one\nACGT\nacgtn\n\n>b\tsecond\nNNRYU\n"
READ = [("a", "first one", "ACGTacgtn", 1), ("b", "second", "NNNNT", 5)]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        gzip.compress(GOOD),
        gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]),
        bgzip(GOOD, block=7),
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.rstrip(),
        GOOD.replace(b"ACGT\n", b"A C\tG T \n"),
    ],
    ids=["plain", "gzip", "members", "bgzip", "crlf", "bom", "no last newline", "blanks"],
)
def test_content_not_suffix_decides(write, content):
    assert records(write(content, "x.whatever")) == READ


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_blank_lines_before_the_first_header_count(write, monkeypatch, block):
    monkeypatch.setattr(compressed, "BLOCK", block)
    assert records(write(b"\n\n>a\nAC\n")) == [("a", "", "AC", 3)]


def test_protein(write):
    path = write(b">p some\nMK*VLa\n")
    assert [r.ids.tolist() for r in read_fasta(path, PROTEIN)] == [
        [*PROTEIN.encode("MK*VL"), PROTEIN.encode("A")[0] | SOFT_BIT]
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n \n", "holds no FASTA record"),
        (gzip.compress(b""), "holds no FASTA record"),
        (b"ACGT\n>a\nAC\n", "line 1: there is sequence where the first '>' should be"),
        (b"\n@read\nACGT\n+\nIIII\n", "line 2: looks like FASTQ"),
        (b"<!DOCTYPE html>\n<html>", "is an HTML page"),
        (b"<?xml version='1.0'?>", "is XML"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (gzip.compress(gzip.compress(GOOD)), "is compressed twice with gzip"),
        (b">a\0\x01\x02binary\nAC", "is a binary file"),
        (b">a\nACGT\n>b\n>c\nA\n", "line 3, record 'b': has no sequence"),
        (b">a\nACGT\n>b", "line 3, record 'b': has no sequence"),
        (b">a\nACGT\n>b\n \n\n", "line 3, record 'b': has no sequence"),
        (b">a\nAC\n>b\nA\n>a z\nAC\n", "line 5, record 'a': is named as the one in line 1"),
        (b">\nAC\n", "line 1, record '': has no name"),
        (b">a\nAC\nACG>b\nAC\n", "line 3, record 'a': '>' stands inside a line"),
        (b">a\nAC\n\n AC1GT\n", "line 4, record 'a': letter '1' is outside the dna alphabet"),
        (b">a\nAC\nMKLPE\n", "line 3, record 'a': letter 'L' is outside the dna alphabet; this lo"),
        (b">a\nAC\xc3\xa9\n", "line 2, record 'a': byte 0xc3 is no letter"),
        (b">a\n" + b"AC" * 5000 + b"\0", "line 2, record 'a': byte 0x00 is no letter"),
        (gzip.compress(GOOD)[:-9], "is cut short"),
        (gzip.compress(GOOD)[:15] + b"\xff" + gzip.compress(GOOD)[16:], "gzip data is damaged"),
        (gzip.compress(GOOD) + b"garbage", "gzip data is damaged"),
        (bgzip(GOOD, end=False), "is cut short"),
    ],
)
def test_wrong_input_is_one_line_that_names_the_place(write, content, said):
    path = write(content)
    with pytest.raises(InputError) as error:
        list(read_fasta(path))
    assert str(error.value).startswith(str(path)) and said in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_empty_or_folder(tmp_path, write):
    for path, said in [
        (tmp_path / "none.fa", "no such FASTA file"),
        (write(b""), "is empty"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(InputError, match=said):
            list(read_fasta(path))


def test_dna_where_a_protein_is_wanted(write):
    path = write(b">a\n" + b"ACGT" * 30 + b"\n")
    with pytest.raises(InputError, match="looks like DNA"):
        list(read_fasta(path, PROTEIN))


def test_repeated_names_can_be_allowed(write):
    assert len(records(write(b">a\nAC\n>a\nGT\n"), unique=False)) == 2


def test_a_header_without_end_is_refused(write):
    with pytest.raises(InputError, match="a header line without end"):
        list(read_fasta(write(b">a " + b"ACGT" * 600_000)))


def test_gaps_and_symbols_of_models_are_no_residues(write):
    for text, at in [(b"MKT--AYI-AK", 4), (b"MKT#YIAK", 4), (b"@MKTAYIAK", 1)]:
        path = write(b">p\n" + text[:2] + b"\n" + text[2:] + b"\n")
        with pytest.raises(InputError, match=rf"record 'p'.*\(position {at} of the seq") as caught:
            list(read_fasta(path, PROTEIN))
        assert ("a gap of an alignment" if b"-" in text else "a symbol") in str(caught.value)
    assert records(write(b">d\nAC-GT.\n"))[0][2] == "ACNGTN"  # gaps of DNA are unknown bases


names = st.text("abcXYZ019|._", min_size=1, max_size=8)
letters = st.text("ACGTNacgtn", min_size=1, max_size=60)


@given(
    st.dictionaries(names, letters, min_size=1, max_size=6),
    st.integers(1, 70),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_round_trip_whatever_the_blocks(tmp_path_factory, content, width, end, block, packed):
    lines = [
        line
        for name, text in content.items()
        for line in (f">{name}", *(text[at : at + width] for at in range(0, len(text), width)))
    ]
    raw = end.join(lines).encode()
    path = tmp_path_factory.mktemp("fasta") / "x"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "BLOCK", block)
        read = records(path)
    assert {name: text for name, _, text, _ in read} == content
    assert [lines[line - 1] for *_, line in read] == [f">{name}" for name in content]


def test_a_long_line_streams_in_bounded_memory(write):
    size = 40_000_000
    path = write(gzip.compress(b">a\n" + b"ACGTN" * (size // 5), 1))
    tracemalloc.start()
    total = sum(len(ids) for _, ids in stream_fasta(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == size
    assert peak < 8_000_000


def test_ids_are_read_only(write):
    (record,) = read_fasta(write(b">a\nACGT\n"))
    with pytest.raises(ValueError, match="read-only"):
        record.ids[0] = 1
    assert record.ids.dtype == np.uint8
