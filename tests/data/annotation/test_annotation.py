"""Annotation: coordinates at the edge, overlaps, strands, and every malformed line named."""

import gzip
import pickle

import numpy as np
import pybigtools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA
from helicon.data.annotation.annotation import IGNORE, SITE_CLASSES, read_annotation
from helicon.data.genome import rows as rows_module
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import split_blocks
from helicon.errors import InputError

LENGTHS = {"chr1": 60, "chr2": 35, "chrM": 20}


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    rng = np.random.default_rng(0)
    text = "".join(f">{n}\n{DNA.decode(rng.integers(0, 4, k))}\n" for n, k in LENGTHS.items())
    (folder / "g.fa").write_text(text)
    return Genome.open(folder / "g.fa", cache=folder)


def whole(annotation, chrom=0):
    genome = annotation.genome
    return annotation.windows([chrom], [0], int(genome.lengths[chrom]))[0]


def gff(*features):
    lines = ["##gff-version 3"]
    for chrom, kind, start, end, strand, *rest in features:
        attributes = rest[0] if rest else "ID=x"
        fields = (chrom, "test", kind, start, end, ".", strand, ".", attributes)
        lines.append("\t".join(map(str, fields)))
    return "\n".join(lines) + "\n"


def save(folder, text, name="a.gff3"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def message(path, genome, **options):
    with pytest.raises(InputError) as caught:
        read_annotation(path, genome, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


features = st.lists(
    st.tuples(st.sampled_from(list(LENGTHS)), st.integers(0, 59), st.integers(1, 30)).map(
        lambda t: (t[0], t[1] % LENGTHS[t[0]], min(t[1] % LENGTHS[t[0]] + t[2], LENGTHS[t[0]]))
    ),
    min_size=1,
    max_size=12,
)


def painted(intervals, codes):
    """Slow and plain: the longest feature over a base, then the first, then the forward one."""
    out = {name: np.zeros(length, int) for name, length in LENGTHS.items()}
    for name, length in LENGTHS.items():
        for i in range(length):
            over = [
                (start - end, start, code)
                for (chrom, start, end), code in zip(intervals, codes, strict=True)
                if chrom == name and start <= i < end
            ]
            out[name][i] = min(over)[2] if over else 0
    return list(out.values())


@settings(max_examples=60, deadline=None)
@given(intervals=features, data=st.data())
def test_gff_and_bed_give_the_same_bases(tmp_path_factory, genome, intervals, data):
    folder = tmp_path_factory.mktemp("a")
    strands = data.draw(st.lists(st.sampled_from("+-"), min_size=12, max_size=12))
    strands = strands[: len(intervals)]
    lines = [(c, "CDS", s + 1, e, x) for (c, s, e), x in zip(intervals, strands, strict=True)]
    beds = [f"{c}\t{s}\t{e}\tn\t0\t{x}\n" for (c, s, e), x in zip(intervals, strands, strict=True)]
    from_gff = read_annotation(save(folder, gzip.compress(gff(*lines).encode())), genome)
    from_bed = read_annotation(save(folder, "".join(beds), "a.bed"), genome)
    expected = painted(intervals, [1 + (x == "-") for x in strands])
    for chrom, labels in enumerate(expected):
        assert whole(from_gff, chrom).tolist() == labels.tolist()
        assert whole(from_bed, chrom).tolist() == labels.tolist()
    assert len(from_gff.features) == len(intervals)
    place = [(f.chrom, f.start, f.end) for f in from_gff.features]
    assert place == sorted(intervals, key=lambda t: (list(LENGTHS).index(t[0]), *t[1:]))


@settings(max_examples=40, deadline=None)
@given(
    intervals=features,
    starts=st.lists(st.integers(-50, 80), min_size=1, max_size=6),
    length=st.integers(1, 70),
    data=st.data(),
)
def test_windows_follow_those_of_the_genome(
    tmp_path_factory, genome, intervals, starts, length, data
):
    lines = [(c, "CDS", s + 1, e, "+-"[i % 2]) for i, (c, s, e) in enumerate(intervals)]
    annotation = read_annotation(save(tmp_path_factory.mktemp("a"), gff(*lines)), genome)
    n = len(starts)
    chroms = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    reverse = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    labels = annotation.windows(chroms, starts, length, reverse=reverse)
    assert labels.dtype == np.int16
    bases = genome.windows(chroms, starts, length, reverse=reverse)
    assert ((labels == IGNORE) == (bases == DNA.pad_id)).all()
    for row, (chrom, start) in enumerate(zip(chroms, starts, strict=True)):
        track = whole(annotation, chrom)
        for i in range(length):
            at = start + (length - 1 - i if reverse[row] else i)
            inside = 0 <= at < len(track)
            base = track[at] if inside else IGNORE
            expected = {1: 2, 2: 1}.get(base, base) if reverse[row] else base
            assert labels[row, i] == expected


def test_overlaps_longest_then_first(tmp_path, genome):
    text = gff(
        ("chr1", "CDS", 11, 30, "+"),
        ("chr1", "CDS", 26, 35, "-"),
        ("chr1", "CDS", 41, 50, "-"),
        ("chr1", "CDS", 46, 55, "+"),
        ("chr2", "CDS", 1, 9, "-"),
        ("chr2", "CDS", 1, 9, "+"),
    )
    annotation = read_annotation(save(tmp_path, text), genome)
    assert annotation.classes == ("intergenic", "forward", "reverse")
    expected = [0] * 10 + [1] * 20 + [2] * 5 + [0] * 5 + [2] * 10 + [1] * 5 + [0] * 5
    assert whole(annotation).tolist() == expected
    assert whole(annotation, 1).tolist() == [1] * 9 + [0] * 26


def test_sites_from_the_ends_of_coding_sequences(tmp_path, genome):
    text = gff(
        ("chr1", "CDS", 11, 20, "+", "ID=c1;Parent=t1"),
        ("chr1", "CDS", 31, 32, "+", "ID=c2;Parent=t1"),  # last part has two bases
        ("chr1", "CDS", 41, 50, "-", "Parent=t2"),
        ("chr2", "CDS", 1, 9, "+", "ID=a"),
        ("chr2", "CDS", 7, 15, "+", "ID=b"),  # its start lies over the stop of a
    )
    annotation = read_annotation(save(tmp_path, text), genome, sites=True)
    assert annotation.classes[3:] == SITE_CLASSES
    expected = [0] * 10 + [3] * 3 + [1] * 7 + [0] * 10 + [4] * 2 + [0] * 8
    expected += [6] * 3 + [2] * 4 + [5] * 3 + [0] * 10
    assert whole(annotation).tolist() == expected
    assert whole(annotation, 1)[:15].tolist() == [3] * 3 + [1] * 3 + [3] * 3 + [1] * 3 + [4] * 3
    back = annotation.windows([0], [0], 60, reverse=np.array([True]))[0]
    assert back[::-1].tolist() == [{0: 0, 1: 2, 2: 1, 3: 5, 4: 6, 5: 3, 6: 4}[c] for c in expected]


def test_gtf_with_its_own_codons(tmp_path, genome):
    attributes = 'gene_id "G1"; transcript_id "T1"; gene_name "abc";'
    text = gff(
        ("1", "gene", 5, 30, "+", attributes),
        ("1", "CDS", 5, 27, "+", attributes),
        ("1", "start_codon", 5, 7, "+", attributes),
        ("1", "stop_codon", 28, 30, "+", attributes),
    ).replace("##gff-version 3\n", "#!genome-build x\n")
    annotation = read_annotation(save(tmp_path, text, "a.gtf"), genome, sites=True)
    expected = [0] * 4 + [3] * 3 + [1] * 20 + [4] * 3 + [0] * 30
    assert whole(annotation).tolist() == expected
    assert [f.name for f in annotation.features] == ["abc"]


def test_feature_type_names_and_splits(tmp_path, genome):
    text = gff(
        ("chr1", "gene", 21, 40, "-", "ID=g1;Name=lacZ"),
        ("chr1", "CDS", 25, 30, "-", "ID=c1"),
        ("chr2", "gene", 1, 3, "+", "ID=g2"),
    )
    annotation = read_annotation(save(tmp_path, text), genome, feature="gene")
    assert [(f.chrom, f.start, f.end, f.strand, f.name) for f in annotation.features] == [
        ("chr1", 20, 40, "-", "lacZ"),
        ("chr2", 0, 3, "+", "g2"),
    ]
    parts = split_blocks(genome, (0.5, 0.25, 0.25), 20, whole=annotation.features)
    borders = [i.start for part in parts.values() for i in part if i.chrom == "chr1"]
    assert not any(20 < border < 40 for border in borders)
    said = message(save(tmp_path, text), genome, feature="exon")
    assert said == ": has no 'exon' features; it has gene (2), CDS (1)"


def test_blocks_comments_and_the_fasta_part(tmp_path, genome, monkeypatch):
    rows = [("chr1", "CDS", i, i, "+") for i in range(1, 60, 2)]
    text = gff(*rows) + "\n###\n# note\n"
    text = text.replace("\n", "\r\n")
    plain = read_annotation(save(tmp_path, text), genome)
    monkeypatch.setattr(rows_module, "BLOCK", 100)
    again = read_annotation(save(tmp_path, text + "##FASTA\n>chr1\nACGT\nx\ty\n"), genome)
    assert whole(plain).tolist() == [1, 0] * 30 == whole(again).tolist()
    broken = text + "chr1\ttest\tCDS\t9\t61\t.\t+\t.\tID=x\n"
    place, said = message(save(tmp_path, broken), genome).split(": ", 1)
    assert place == f", line {broken.count(chr(10))}"
    assert said.startswith("the end 61 lies beyond chr1, which has 60 bases")


def test_bed_without_strand_and_by_name(tmp_path, genome):
    text = "track name=x\nchr1\t0\t5\tb\nchr1\t5\t9\ta\n#c\nchr2\t3\t4\tb\n"
    path = save(tmp_path, text, "a.bed")
    annotation = read_annotation(path, genome)
    assert annotation.classes == ("background", "feature")
    assert whole(annotation)[:10].tolist() == [1] * 9 + [0]
    named = read_annotation(path, genome, by="name")
    assert named.classes == ("background", "a", "b")
    assert whole(named)[:10].tolist() == [2] * 5 + [1] * 4 + [0]
    back = named.windows([0], [0], 10, reverse=np.array([True]))[0]
    assert back.tolist() == [0] + [1] * 4 + [2] * 5


def test_classes_named_by_strand_words_are_left_alone(tmp_path, genome):
    path = save(tmp_path, "chr1\t0\t5\tforward\nchr1\t5\t9\treverse\n", "a.bed")
    named = read_annotation(path, genome, by="name")
    back = named.windows([0], [0], 9, reverse=np.array([True]))[0]
    assert back.tolist() == [2] * 4 + [1] * 5


def test_bed_faults(tmp_path, genome):
    mixed = save(tmp_path, "chr1\t0\t5\ta\t0\t+\nchr1\t6\t9\tb\t0\t.\n", "m.bed")
    assert "chr1:7-9 has no strand, others have" in message(mixed, genome)
    many = "".join(f"chr1\t{i % 50}\t{i % 50 + 1}\tn{i}\n" for i in range(260))
    assert "260 different names" in message(save(tmp_path, many, "n.bed"), genome, by="name")
    bare = save(tmp_path, "chr1\t0\t5\n", "b.bed")
    assert "no name in column 4" in message(bare, genome, by="name")
    taken = save(tmp_path, "chr1\t0\t5\tbackground\nchr1\t6\t9\tx\n", "t.bed")
    assert "the name 'background', which is the class" in message(taken, genome, by="name")
    assert "sites are read from GFF files only" in message(bare, genome, sites=True)
    assert "beyond" in message(save(tmp_path, "chr1\t0\t61\n", "e.bed"), genome)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("chr9", "CDS", 1, 2, "+"), "the genome has no sequence 'chr9'; it has chr1, chr2, chrM"),
        (("chr1", "CDS", 0, 2, "+"), "the start 0 lies before 1, the first base"),
        (("chr1", "CDS", 9, 8, "+"), "the start 9 lies behind the end 8"),
        (("chr1", "CDS", 9, 61, "+"), "the end 61 lies beyond chr1, which has 60 bases"),
        (("chr1", "CDS", "x", 8, "+"), "the start 'x' is no whole number"),
        (("chr1", "CDS", 1, 8.5, "+"), "the end '8.5' is no whole number"),
        (("chr1", "CDS", 1, 8, "*"), "the strand '*' is not + or -"),
        (("chr1", "CDS", 1, 8, "."), "chr1:1-8 has no strand, others have"),
    ],
)
def test_malformed_gff_lines_are_named(tmp_path, genome, row, said):
    text = gff(("chr1", "CDS", 1, 9, "-"), ("chr1", "gene", 70, 90, "+"), row)
    assert message(save(tmp_path, text), genome).startswith(f", line 4: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("##gff-version 3\nchr1\tx\tCDS\t1\t9\n", ", line 2: fewer than 8 columns"),
        ("##gff-version 3\n", ": has no 'CDS' features; it has none at all"),
        ("<html>\n", ": is an HTML page"),
        ("", ": the annotation file is empty"),
        (
            gzip.compress(gff(*[("chr1", "CDS", 1, 9, "+")] * 50).encode())[:-9],
            ": the gzip file is",
        ),
        (b"\xeb\xf2\x89\x87" + bytes(60), ": is a bigBed file"),
    ],
)
def test_wrong_files_are_named(tmp_path, genome, text, said):
    assert message(save(tmp_path, text), genome).startswith(said)


def test_a_text_of_another_kind(tmp_path, genome):
    said = message(save(tmp_path, "sequence,label\nACGT,1\n", "a.txt"), genome)
    assert said.startswith(": is no GFF, GTF, BED, bedGraph or bigWig file")


def test_sites_need_strands(tmp_path, genome):
    path = save(tmp_path, gff(("chr1", "CDS", 1, 9, ".")))
    assert read_annotation(path, genome).classes == ("intergenic", "CDS")
    assert "have no strand; sites need it" in message(path, genome, sites=True)


@pytest.mark.parametrize("name", ["a.txt", "a.gff", "a.gtf.gz"])
def test_kind_is_seen_without_a_telling_name(tmp_path, genome, name):
    text = gff(("chr1", "CDS", 1, 9, "+")).replace("##gff-version 3\n", "# x\n\n")
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text
    assert read_annotation(save(tmp_path, data, name), genome).classes[0] == "intergenic"
    bed = save(tmp_path, "chr1\t1\t9\t12\t960\t+\n", "b.txt")
    assert read_annotation(bed, genome).classes[0] == "background"


values = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 9), st.floats(-9, 9, width=32)), max_size=6
)


@settings(max_examples=40, deadline=None)
@given(runs=values.filter(len), start=st.integers(-20, 50), length=st.integers(1, 60))
def test_bedgraph_and_bigwig_give_the_same_values(tmp_path_factory, genome, runs, start, length):
    folder = tmp_path_factory.mktemp("v")
    track, entries, at = np.full(60, np.nan, np.float32), [], 0
    for gap, size, value in runs:
        begin, end = at + gap, min(at + gap + size, 60)
        if begin < end:
            track[begin:end] = value
            entries.append((begin, end, value))
        at = end
    lines = [f"1 {b} {e} {v!r}\n" for b, e, v in reversed(entries)]
    graph = save(folder, "track type=bedGraph\n" + "".join(lines), "a.txt")
    wig = folder / "a.bw"
    writer = pybigtools.open(str(wig), "w")
    writer.write(LENGTHS, iter([("chr1", *entry) for entry in entries]))
    expected = np.full(length, np.nan, np.float32)
    for i in range(length):
        if 0 <= start + i < 60:
            expected[i] = track[start + i]
    for path in (graph, wig):
        annotation = read_annotation(path, genome)
        assert annotation.kind == "values"
        got = annotation.windows([0, 0], [start] * 2, length, reverse=np.array([False, True]))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, [expected, expected[::-1]])
        assert np.isnan(annotation.windows([2], [0], 20)).all()


def test_nan_is_no_value_in_a_bedgraph_as_in_a_bigwig(tmp_path, genome):
    rows = "chr1\t0\t2\tnan\nchr1\t2\t4\t3\nchr1\t4\t5\tNaN\n"
    read = read_annotation(save(tmp_path, rows, "a.bedgraph"), genome)
    got = read.windows([genome.index("chr1")], [0], 6)[0]
    np.testing.assert_array_equal(got, [np.nan, np.nan, 3, 3, np.nan, np.nan])


def test_bedgraph_faults(tmp_path, genome):
    def said(text):
        return message(save(tmp_path, text, "a.bedgraph"), genome)

    assert said("chr1\t0\t5\t1\nchr1\t4\t6\t2\n").startswith(", line 2: gives a value to bases")
    assert said("chr1\t0\t5\thigh\n").startswith(", line 1: the value 'high' is no finite number")
    assert said("chr1\t0\t5\tinf\n").startswith(", line 1: the value 'inf'")
    assert said("chr1\t0\t5\tnan\n").startswith(": holds no values")
    assert said("chr1\t5\t5\t1\n").startswith(", line 1: the start 5 is not before the end 5")
    assert said("chr1\t0\t5\n").startswith(", line 1: fewer than 4 columns")
    assert said("# nothing\n").startswith(": holds no values")


def test_bigwig_faults(tmp_path, genome):
    def made(lengths, name="a.bw"):
        path = tmp_path / name
        chrom = next(iter(lengths))
        pybigtools.open(str(path), "w").write(lengths, iter([(chrom, 0, 5, 1.0)]))
        return path

    assert "'chr1' has 61 bases, in the genome 60" in message(made({"chr1": 61}), genome)
    assert "shares no sequence with the genome; it has chr7" in message(made({"chr7": 60}), genome)
    path = made({"1": 60, "chrUn": 9})
    annotation = pickle.loads(pickle.dumps(read_annotation(path, genome).track))
    assert annotation.read(np.array([0]), np.array([3]), np.array([7])).tolist()[:2] == [1, 1]
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[:100])
    assert "the bigWig file is damaged or cut short" in message(path, genome)


def test_infinity_in_a_bigwig_is_named_by_its_place(tmp_path, genome):
    path = tmp_path / "a.bw"
    rows = [("chr1", 3, 9, 1.0), ("chr1", 9, 12, float("inf"))]
    pybigtools.open(str(path), "w").write({"chr1": 60}, iter(rows))
    annotation = read_annotation(path, genome)
    assert annotation.windows([0], [3], 6).tolist() == [[1.0] * 6]
    with pytest.raises(InputError, match=r"a\.bw: the value of chr1:10 is infinite"):
        annotation.windows([0], [0], 20)
