"""GFF3 and GTF as people have them: the same genes, whichever way a file puts them."""

import gzip

import numpy as np
import pytest
from genetics import GENES, genome_of
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.data.annotation.annotation import read_annotation
from helicon.data.annotation.gff import read_gff
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.inference.genes.transitions import read_grammar
from helicon.metrics.genes import Level, score_gff


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    return genome_of(tmp_path_factory.mktemp("g") / "g.fa", ["ATGC" * 350, "ACGT" * 175])


def write(path, *rows):
    """Rows of contig, type, start, end, strand, attributes, and perhaps a phase."""
    lines = ["##gff-version 3"] if path.name.endswith("gff3") else []
    for contig, kind, start, end, strand, notes, *phase in rows:
        fields = (contig, "x", kind, start, end, ".", strand, *(phase or ["."]), notes)
        lines.append("\t".join(map(str, fields)))
    path.write_text("\n".join(lines) + "\n")
    return path


def places(rows, *names):
    return rows.select("start", "end", *names).rows()


T1, T2 = (f'gene_id "g{i}"; transcript_id "t{i}";' for i in (1, 2))
AS_GFF3 = [("c0", "CDS", 101, 400, "+", "ID=a"), ("c0", "CDS", 1001, 1300, "-", "ID=b")]
AS_GTF = [
    ("c0", "CDS", 101, 397, "+", T1), ("c0", "stop_codon", 398, 400, "+", T1),
    ("c0", "CDS", 1004, 1300, "-", T2), ("c0", "stop_codon", 1001, 1003, "-", T2),
]  # fmt: skip
STARTS = [("c0", "start_codon", 101, 103, "+", T1), ("c0", "start_codon", 1298, 1300, "-", T2)]


@pytest.mark.parametrize("started", [False, True])
def test_gtf_and_gff3_are_the_same_genes(tmp_path, genome, started):
    one = write(tmp_path / "a.gff3", *AS_GFF3)
    two = write(tmp_path / "a.gtf", *AS_GTF, *(STARTS if started else ()))
    for scores in (score_gff(one, two, genome), score_gff(two, one, genome)):
        assert scores.exon == scores.gene == scores.stop == Level(2, 2, 2)
        assert scores.mcc == 1
    for sites in (False, True):
        labels = [read_annotation(path, genome, sites=sites) for path in (one, two)]
        assert labels[0].track.edges.tolist() == labels[1].track.edges.tolist()
        assert labels[0].track.values.tolist() == labels[1].track.values.tolist()
    grammars = [read_grammar(GENES, genome, transitions=path) for path in (one, two)]
    assert (grammars[0].graph.steps == grammars[1].graph.steps).all()
    assert grammars[0].codons == grammars[1].codons


def test_a_stop_codon_behind_an_intron_is_a_part(tmp_path, genome):
    rows = [
        ("c0", "CDS", 1, 30, "+", T1), ("c0", "CDS", 61, 89, "+", T1),
        ("c0", "stop_codon", 90, 90, "+", T1), ("c0", "stop_codon", 121, 122, "+", T1),
    ]  # fmt: skip
    found = read_gff(write(tmp_path / "a.gtf", *rows), genome, "CDS").rows
    assert places(found, "stop") == [(0, 30, None), (60, 90, None), (120, 122, 121)]
    assert found["group"].n_unique() == 1


def test_two_parents_are_two_genes(tmp_path, genome):
    rows = [
        ("c0", "CDS", 1, 30, "+", "ID=c;Parent=r1,r2"),
        ("c0", "CDS", 61, 90, "+", "ID=c;Parent=r1"),
        ("c0", "CDS", 121, 150, "+", "ID=c;Parent=r2"),
    ]  # fmt: skip
    path = write(tmp_path / "a.gff3", *rows)
    assert score_gff(path, path, genome).gene == Level(2, 2, 2)
    assert score_gff(path, path, genome).exon == Level(3, 3, 3)
    assert len(read_annotation(path, genome).features) == 3
    stops = read_gff(path, genome, "CDS").stops
    assert sorted(places(stops)) == [(87, 90), (147, 150)]


def test_alternative_starts_of_one_gene_share_their_stop(tmp_path, genome):
    rows = [
        ("c0", "CDS", 101, 400, "+", "ID=cds-1;Parent=gene-1"),
        ("c0", "CDS", 161, 400, "+", "ID=cds-2;Parent=gene-1"),
        ("c0", "CDS", 501, 530, "-", "ID=cds-3;Parent=gene-2"),  # one with a shifted frame
        ("c0", "CDS", 530, 600, "-", "ID=cds-3;Parent=gene-2"),
    ]
    path = write(tmp_path / "a.gff3", *rows)
    scores = score_gff(path, path, genome)
    assert (scores.gene, scores.stop) == (Level(3, 3, 3), Level(2, 2, 2))
    one = write(tmp_path / "b.gff3", rows[1])
    assert score_gff(path, one, genome).gene == Level(3, 1, 1)
    assert sorted(places(read_gff(path, genome, "CDS").starts)) == [
        (100, 103), (160, 163), (597, 600),
    ]  # fmt: skip


ROUND = ("c1", "region", 1, 700, "+", "ID=c1;Is_circular=true")


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_feature_across_the_origin(tmp_path, genome, strand):
    row = ("c1", "CDS", 610, 759, strand, "ID=c")
    one = write(tmp_path / "a.gff3", ROUND, row)
    found = read_gff(one, genome, "CDS")
    assert places(found.rows) == [(0, 59), (609, 700)]
    assert found.rows["group"].n_unique() == 1
    ends = [(609, 612), (56, 59)]
    assert places(found.starts) + places(found.stops) == ends[:: 1 if strand == "+" else -1]
    assert read_annotation(one, genome).track.read(
        *map(np.array, ([1], [0], [700]))
    ).sum() == 150 * (1 if strand == "+" else 2)
    parts = [("c1", "CDS", 610, 700, strand, "ID=c"), ("c1", "CDS", 1, 59, strand, "ID=c")]
    two = write(tmp_path / "b.gff3", *parts, ROUND)
    for a, b in ((one, two), (two, one), (one, one)):
        scores = score_gff(a, b, genome)
        assert (scores.gene, scores.stop, scores.exon) == (Level(1, 1, 1),) * 2 + (Level(2, 2, 2),)
    with pytest.raises(InputError, match="line 2: the end 759 lies beyond c1, which has 700 bases"):
        read_gff(write(tmp_path / "c.gff3", row), genome, "CDS")
    short = ("c1", "region", 1, 600, "+", "Is_circular=true")
    with pytest.raises(InputError, match="Is_circular=true"):
        read_gff(write(tmp_path / "d.gff3", short, row), genome, "CDS")
    twice = ("c1", "CDS", 610, 1310, strand, "ID=c")
    with pytest.raises(InputError, match="line 3: the end 1310 lies beyond"):
        read_gff(write(tmp_path / "e.gff3", ROUND, twice), genome, "CDS")


@pytest.mark.parametrize(
    ("rows", "starts", "stops"),
    [
        ([(101, 200, "+", "partial=true;start_range=.,101")], [], [(197, 200)]),
        ([(101, 200, "-", "partial=true;start_range=.,101")], [(197, 200)], []),
        ([(101, 200, "+", "partial=true;end_range=200,.")], [(100, 103)], []),
        ([(101, 200, "+", "partial=true")], [], []),  # it does not say where
        ([(1, 100, "+", "partial=true")], [], [(97, 100)]),  # at the edge
        ([(1, 100, "+", "partial=10")], [], [(97, 100)]),  # Prodigal's way
        ([(1, 100, "+", "partial=00")], [(0, 3)], [(97, 100)]),
        ([(101, 200, "+", 'tag "cds_start_NF"')], [], [(197, 200)]),
        ([(101, 200, "-", "tag=basic,cds_end_NF")], [(197, 200)], []),
        ([(1, 101, "+", "", 2)], [], [(98, 101)]),  # cut in a codon by the edge
        ([(1, 100, "-", "", 0)], [(97, 100)], []),
        ([(1, 99, "-", "", 0)], [(96, 99)], [(0, 3)]),
        ([(1201, 1400, "+", "", 0)], [(1200, 1203)], []),
        ([(501, 600, "-", "exception=trans-splicing"), (101, 200, "+", "exception=trans-splicing"),
          (301, 400, "+", "exception=trans-splicing")], [(597, 600)], [(397, 400)]),
        ([(501, 600, "+", "part=2;exception=trans-splicing"),
          (701, 800, "+", "part=1;exception=trans-splicing")], [(700, 703)], [(597, 600)]),
    ],
)  # fmt: skip
def test_ends_that_are_no_codons(tmp_path, genome, rows, starts, stops):
    whole = [("c0", "CDS", s, e, d, f"ID=c;{notes}", *phase) for s, e, d, notes, *phase in rows]
    path = write(tmp_path / "a.gff3", *whole)
    found = read_gff(path, genome, "CDS")
    assert (places(found.starts), places(found.stops)) == (starts, stops)
    scores = score_gff(path, path, genome)
    assert scores.stop == Level(*[len(stops)] * 3)
    assert scores.gene == Level(1, 1, 1)


def test_contigs_with_odd_names(tmp_path):
    names = ["NODE_1,len=6000;x", "track", "track-1", "browser", "100%25", "caf\xe9", ">x"]
    path = tmp_path / "g.fa"
    path.write_bytes("".join(f">{name}\n{'ACGT' * 9}\n" for name in names).encode("latin-1"))
    genome = Genome.open(path, cache=tmp_path / "cache")
    assert genome.names == names
    coded = ["NODE_1%2Clen%3D6000%3Bx", *names[1:4], "100%2525", "caf\xe9", "%3Ex"]
    rows = "".join(f"{name}\tx\tCDS\t1\t9\t.\t+\t0\tID=a%2Cb\n" for name in coded)
    for encoding in ("utf-8", "latin-1"):
        (tmp_path / "a.gff3").write_bytes(f"track name=x\n{rows}".encode(encoding))
        found = read_gff(tmp_path / "a.gff3", genome, "CDS").rows
        assert found["chrom"].to_list() == list(range(7))
        assert set(found["name"]) == {"a,b"}
    for line_end in ("\n", "\r\n", "\r"):
        text = "track type=bedGraph name=x\n" + "".join(f"{n}\t0\t5\t1\n" for n in names[:6])
        (tmp_path / "a.bg").write_bytes(text.replace("\n", line_end).encode("latin-1"))
        values = read_annotation(tmp_path / "a.bg", genome).windows([0, 3, 5], [0] * 3, 5)
        assert (values == 1).all()
        (tmp_path / "a.bed").write_bytes(
            (tmp_path / "a.bg").read_bytes().replace(b"type=bedGraph", b"")
        )
        assert len(read_annotation(tmp_path / "a.bed", genome).features) == 6


def test_line_ends_and_spaces(tmp_path, genome):
    row = b"c0\tx\tCDS\t%d\t%d\t.\t+\t0\tID=a\n"
    rows = b"##gff-version 3\n#x\n" + row % (1, 9) + b"\n" + row % (1500, 1509)
    for text in (rows, rows.replace(b"\n", b"\r\n"), rows.replace(b"\n", b"\r"),
                 rows.replace(b"\n", b"\r", 1), rows.replace(b"\t", b"   ")):  # fmt: skip
        for data in (text, gzip.compress(text)):
            path = tmp_path / "a.gff3"
            path.write_bytes(data)
            with pytest.raises(InputError, match="line 5: the end 1509 lies beyond c0"):
                read_gff(path, genome, "CDS")


parts = st.lists(
    st.tuples(
        st.sampled_from(["CDS", "CDS", "CDS", "start_codon", "stop_codon"]),
        st.integers(1, 690), st.integers(1, 200), st.sampled_from("+-"),
        st.sampled_from(["ID=a", "ID=b;Parent=p", "ID=c;Parent=p", "Parent=p,q", "", "Parent=r",
                         'transcript_id "p"', "ID=d;partial=true", "ID=e;exception=trans-splicing",
                         "ID=f;partial=true;start_range=.,1"]),
        st.sampled_from("012."),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(rows=parts)
def test_any_file_against_itself_is_perfect(tmp_path_factory, genome, rows):
    whole = [("c1", k, s, s + n - 1, d, notes, phase) for k, s, n, d, notes, phase in rows]
    path = write(
        tmp_path_factory.mktemp("p") / "a.gff3", ROUND, ("c0", "CDS", 1, 9, "+", "ID=z"), *whole
    )
    scores = score_gff(path, path, genome)
    for name in ("nucleotide", "exon", "gene", "stop"):
        level = getattr(scores, name)
        assert level.annotated == level.predicted == level.matched > 0
    assert scores.mcc == pytest.approx(1)
    assert read_annotation(path, genome, sites=True).classes[:3] == GENES
