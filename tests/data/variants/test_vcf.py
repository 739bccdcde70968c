"""VCF in, the same VCF out: every shape of file is read, every wrong line is named."""

import gzip
import re

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helicon.data.variants.vcf import classify, open_vcf, trim
from helicon.data.variants.writing import (
    Info,
    annotate,
    annotated_header,
    index_vcf,
    info_name,
    vcf_writer,
)
from helicon.errors import InputError

META = b"##fileformat=VCFv4.2\n##contig=<ID=1,length=1000>\n"
META += b'##INFO=<ID=DP,Number=1,Type=Integer,Description="d">\n'
HEAD = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
ROWS = [b"1\t10\trs1\tA\tG,T\t.\tPASS\tDP=3", b"1\t20\t.\tac\tA\t50\t.\t."]


def written(tmp_path, rows=ROWS, head=HEAD, meta=META, name="a.vcf"):
    path = tmp_path / name
    path.write_bytes(meta + head + b"\n" + b"".join(row + b"\n" for row in rows))
    return path


def read(path, **options):
    with open_vcf(path, **options) as vcf:
        return vcf, list(vcf)


def check_rows(path):
    vcf, (first, second) = read(path)
    assert first[1:] == (first.text, "1", 10, "rs1", "A", ("G", "T"))
    assert (second.position, second.ref, second.alts, second.name) == (20, "ac", ("A",), ".")
    assert vcf.header.columns.startswith(HEAD)
    return vcf, first


def test_eight_columns(tmp_path):
    vcf, first = check_rows(written(tmp_path))
    assert first.line == 5 and first.text == ROWS[0]
    assert vcf.header.samples == [] and len(vcf.header.meta) == 3


def test_format_without_samples_and_with_many(tmp_path):
    check_rows(written(tmp_path, [row + b"\tGT" for row in ROWS], HEAD + b"\tFORMAT"))
    names = [b"S%d" % i for i in range(3000)]
    vcf, _ = check_rows(
        written(
            tmp_path,
            [b"\t".join([row, b"GT", *[b"0|1"] * 3000]) for row in ROWS],
            b"\t".join([HEAD, b"FORMAT", *names]),
        )
    )
    assert vcf.header.samples[2999] == "S2999"


def test_line_ends_compression_and_marks(tmp_path):
    path = written(tmp_path)
    plain = path.read_bytes()
    for content in (
        plain.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + plain,
        plain.rstrip(b"\n"),
        plain + b"\n\n",
        gzip.compress(plain),
    ):
        path.write_bytes(content)
        _, first = check_rows(path)
        assert first.text == ROWS[0]
    pysam.tabix_compress(str(written(tmp_path, name="b.vcf")), str(path), force=True)
    check_rows(path)


def test_bcf(tmp_path):
    head = b"\t".join([HEAD, b"FORMAT", b"S"])
    meta = META + b'##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    meta += b'##FILTER=<ID=PASS,Description="All filters passed">\n'
    path = written(tmp_path, [row + b"\tGT\t0|1" for row in ROWS], head, meta)
    with (
        pysam.VariantFile(str(path)) as old,
        pysam.VariantFile(str(tmp_path / "a.bcf"), "wb", header=old.header) as new,
    ):
        for record in old:
            new.write(record)
    vcf, first = check_rows(tmp_path / "a.bcf")
    assert vcf.header.samples == ["S"] and first.text == ROWS[0] + b"\tGT\t0|1"
    whole = (tmp_path / "a.bcf").read_bytes()
    (tmp_path / "a.bcf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.bcf: .*(damaged|cut short)"):
        read(tmp_path / "a.bcf")


# ---------------------------------------------------------------- what is wrong

WRONG = {
    b"1\t10\t.\tA\tG\t.\t.": "has 7 columns, where the header has 8 .*cut short",
    b"1\t10\t.\tA\tG\t.\t.\t.\t.": "has 9 columns, where the header has 8",
    b"1 10 . A G . . .": ".*separated by spaces",
    b"1\tten\t.\tA\tG\t.\t.\t.": "POS 'ten' is no whole number",
    b"1\t-3\t.\tA\tG\t.\t.\t.": "POS '-3' is no whole number",
    b"1\t\t.\tA\tG\t.\t.\t.": "POS '' is no whole number",
    b"1\t10\t.\t\tG\t.\t.\t.": "REF is empty",
    b"1\t10\t.\t.\tG\t.\t.\t.": "REF is empty",
    b"1\t10\t.\tAXE\tG\t.\t.\t.": "REF has 'X', which is no base",
    b"1\t10\t.\tA\tG?\t.\t.\t.": r"ALT 'G\?' is neither bases",
    b"1\t10\t.\tA\tG,,C\t.\t.\t.": "ALT '' is neither bases",
    b"1\t10\t.\tA\t<DEL\t.\t.\t.": "ALT '<DEL' is neither bases",
    b"\t10\t.\tA\tG\t.\t.\t.": "the chromosome is missing",
    b"#1\t10\t.\tA\tG\t.\t.\t.": "the chromosome is missing",
    b"1\t10\t.\t\xff\tG\t.\t.\t.": "REF has .*xff",
}


@pytest.mark.parametrize("row", WRONG)
def test_a_malformed_record_is_named_or_skipped_and_counted(tmp_path, row):
    path = written(tmp_path, [ROWS[0], row, ROWS[1]])
    with pytest.raises(InputError, match=rf"a\.vcf, line 6: {WRONG[row]}") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    vcf, records = read(path, on_error="skip")
    assert [record.line for record in records] == [5, 7]
    assert vcf.skipped == 1 and re.search(WRONG[row], vcf.first_skipped)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (META, "has no header line '#CHROM"),
        (META + ROWS[0] + b"\n", "line 4: the header line '#CHROM ...' should stand before"),
        (META + HEAD.replace(b"\t", b" ") + b"\n", "line 4: its columns are separated by spaces"),
        (META + HEAD.removesuffix(b"\tINFO") + b"\n", "line 4: the header line should be"),
        (META + HEAD + b"\tGT\tS\n", "line 4: the header line should be"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b">chr1\nACGT\n", "line 1: the header line"),
        (b"\x00\x01\x02", "a binary file"),
        (gzip.compress(META + HEAD + b"\n" + ROWS[0] * 2000)[:-30], "cut short"),
    ],
)
def test_what_is_no_vcf(tmp_path, content, words):
    path = tmp_path / "a.vcf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read(path, on_error="skip")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such VCF file"):
        read(tmp_path / "none.vcf")


# ---------------------------------------------------------------- alleles


@pytest.mark.parametrize(
    ("ref", "alt", "kind"),
    [
        ("A", "G", "snv"),
        ("AC", "AG", "snv"),
        ("a", "A", "same"),
        ("ACG", "TCT", "mnv"),
        ("A", "AT", "insertion"),
        ("AT", "A", "deletion"),
        ("ATT", "AT", "deletion"),
        ("ATG", "CC", "complex"),
        ("A", "<DEL>", "symbolic"),
        ("A", "<INS:ME:ALU>", "symbolic"),
        ("A", "*", "overlapped"),
        ("A", ".", "missing"),
        ("G", "G]17:198982]", "breakend"),
        ("T", "]13:123456]T", "breakend"),
        ("G", "G.", "breakend"),
        ("N", ".[13:123457[", "breakend"),
        ("T", ".TACG", "breakend"),
        ("C", "C[<ctg1>:7[", "breakend"),
    ],
)
def test_kinds(tmp_path, ref, alt, kind):
    assert classify(ref, alt) == kind
    row = b"1\t10\t.\t%s\t%s\t.\t.\t." % (ref.encode(), alt.encode())
    assert read(written(tmp_path, [row]))[1][0].alts == (alt,)


@given(*[st.text("ACG", max_size=6)] * 4)
def test_what_is_shared_is_taken_away(left, right, ref, alt):
    ref, alt = left + ref + right, left + alt + right
    at, old, new = trim(ref, alt)
    rest = ref[at + len(old) :]
    assert ref[:at] + new + rest == alt and ref[:at] + old + rest == ref
    assert at >= len(left) or not (old and new)
    assert not (old and new) or (old[0] != new[0] and old[-1] != new[-1])


# ---------------------------------------------------------------- writing

FIELDS = [Info("X_LLR", "A", "Float", 'log "ratio"'), Info("X_NOTE", ".", "String", "why")]
OURS = frozenset({b"X_LLR", b"X_NOTE"})


def test_the_header_defines_the_fields_once(tmp_path):
    meta = META + b'##INFO=<ID=X_LLR,Number=1,Type=Integer,Description="old">\n##Made=before\n'
    vcf, _ = read(written(tmp_path, meta=meta))
    lines = annotated_header(vcf.header, FIELDS, ["Made=now"]).split(b"\n")
    assert lines[:3] == META.splitlines() and lines[-2:] == [HEAD, b""]
    assert lines[3:-2] == [
        b'##INFO=<ID=X_LLR,Number=A,Type=Float,Description="log \\"ratio\\"">',
        b'##INFO=<ID=X_NOTE,Number=.,Type=String,Description="why">',
        b"##Made=now",
    ]


def test_values_replace_older_ones():
    values = [(b"X_LLR", b"1,2")]
    assert annotate(ROWS[0], values, OURS) == ROWS[0] + b";X_LLR=1,2"
    assert annotate(ROWS[1], values, OURS) == ROWS[1][:-1] + b"X_LLR=1,2"
    assert annotate(ROWS[1], [], OURS) == ROWS[1]
    again = annotate(ROWS[0] + b";X_LLR=5;X_NOTE=a;XX_LLR=3\tGT", values, OURS)
    assert again == ROWS[0] + b";XX_LLR=3;X_LLR=1,2\tGT"
    assert info_name("HELICON", "my class/é") == "HELICON_my_class_"


word = st.from_regex(r"\A[^\s;=,\x00-\x1f]{1,8}\Z")
info = st.one_of(st.just("."), st.lists(word, min_size=1, max_size=4).map(";".join))
allele = st.one_of(st.text("ACGTNacgtn", min_size=1, max_size=5), st.sampled_from(["*", "<DEL>"]))
record = st.tuples(
    word.filter(lambda w: w[0] != "#"), st.integers(0, 2**31), word,
    st.text("ACGTN", min_size=1, max_size=5),
    st.lists(allele, min_size=1, max_size=3).map(",".join),
    st.just("."), word, info, st.just("GT:DP"), st.text("01|/.:", max_size=9), word,
)  # fmt: skip


@given(st.lists(record, max_size=5), st.booleans())
def test_output_without_our_fields_is_the_input(tmp_path_factory, records, returns):
    path = tmp_path_factory.mktemp("v") / "a.vcf"
    rows = ["\t".join(map(str, row)).encode() for row in records]
    end = b"\r\n" if returns else b"\n"
    head = HEAD + b"\tFORMAT\ta\tb"
    path.write_bytes((META + head + b"\n").replace(b"\n", end) + b"".join(r + end for r in rows))
    vcf, found = read(path)
    assert [one.text for one in found] == rows
    assert [one[2:] for one in found] == [(*r[:4], tuple(r[4].split(","))) for r in records]
    annotated = [annotate(one.text, [(b"X_LLR", b"0.5")], OURS) for one in found]
    assert all(b"X_LLR=0.5" in row.split(b"\t")[7] for row in annotated)
    assert [annotate(row, [], OURS) for row in annotated] == rows
    lines = annotated_header(vcf.header, FIELDS).splitlines()
    assert [line for line in lines if b"X_" not in line] == [*META.splitlines(), head]


def test_compressed_output_is_bgzip_and_indexed(tmp_path):
    vcf, records = read(written(tmp_path))
    out = tmp_path / "out.vcf.gz"
    with vcf_writer(out, compressed=True) as write:
        write(annotated_header(vcf.header, FIELDS))
        for one in records:
            write(annotate(one.text, [(b"X_LLR", b"1")], OURS) + b"\n")
    assert index_vcf(out, 20) == tmp_path / "out.vcf.gz.tbi"
    with pysam.VariantFile(str(out)) as file:
        assert [one.pos for one in file.fetch("1", 15, 30)] == [20]
        assert file.header.info["X_LLR"].number == "A"
    assert index_vcf(out, 2**30).suffix == ".csi"
    with vcf_writer(tmp_path / "out.vcf", compressed=False) as write:
        write(b"a\n")
    assert (tmp_path / "out.vcf").read_bytes() == b"a\n"
