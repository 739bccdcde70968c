"""From a VCF to a VCF or Parquet, whatever is in it, and however often it was stopped."""

import gzip
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pysam
import pytest
from variant_cases import Naive, edit, substitution

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.variants import job as variant_job
from helicon.inference.variants.scoring import Scoring
from helicon.inference.variants.variants import variants

HERE = Path(__file__).parents[2] / "support"
META = '##fileformat=VCFv4.2\n##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">\n'
HEAD = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


@pytest.fixture
def genome(random_genome):
    return random_genome([600, 20], seed=3, unknown=[(0, 300, 320)])


@pytest.fixture
def case(tmp_path, folders, genome):
    """Write records of a VCF and score them: `case(rows, columns="", meta="", name=..., ...)`."""

    def run(rows, *, more="", meta="", name="in.vcf", out="out.vcf", model="language", **options):
        text = META + meta + HEAD + more + "\n" + "".join(f"{row}\n" for row in rows)
        (tmp_path / name).write_text(text)
        result = variants(
            folders[model], tmp_path / name, reference=genome.path, out=tmp_path / out, **options
        )
        return result, tmp_path / out

    return run


def letters(genome, chrom, start, end):
    return DNA.decode(genome.fetch(chrom, start, end))


def row(genome, chrom, position, alt=None, *, length=1, ref=None, info=".", more=""):
    """A record; `position` from 1; ALT the next letters of the alphabet if not given."""
    ref = ref or letters(genome, chrom, position - 1, position - 1 + length)
    alt = alt or "".join("ACGTA"["ACGT".index(one) + 1] for one in ref)
    return f"c{chrom}\t{position}\t.\t{ref}\t{alt}\t.\t.\t{info}{more}"


def infos(path):
    """INFO of each record as a dictionary, in order."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return [
        dict(field.partition("=")[::2] for field in line.split("\t")[7].split(";"))
        for line in lines
    ]


def naive(folders, genome, edits, scores=("llr",), model="language", **options):
    """Scores of single edits, the slow way."""
    network = Network.open(folders[model])
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": 10} | options
    way = Naive(network, genome, Scoring.of(network, scores, **given))
    return [[float(way.score(one)[name]) for name in scores] for one in edits]


def close(text, value):
    assert float(text) == pytest.approx(value, abs=2e-5, rel=1e-4)


# ---------------------------------------------------------------- what is in a VCF


def test_every_kind_of_record(case, genome, folders):
    c = [letters(genome, 0, at, at + 1) for at in range(60)]
    snv, mnv = row(genome, 0, 10, info="DP=3"), row(genome, 0, 20, length=3)
    rows = [
        snv, mnv,
        row(genome, 0, 30, f"{c[29]}GG"), row(genome, 0, 40, c[39], length=4),
        row(genome, 0, 41, f"{'ACGTA'['ACGT'.index(c[40]) + 1]},{c[40]}T,<DEL>,*"),
        row(genome, 0, 50, "<DUP>"), row(genome, 0, 51, f"{c[50]}[c1:7["), row(genome, 0, 52, "."),
        row(genome, 0, 53, c[52].lower()), row(genome, 0, 310, "A"), row(genome, 0, 54, "N"),
        row(genome, 0, 600), row(genome, 1, 1), row(genome, 1, 20),
    ]  # fmt: skip
    result, out = case(rows)
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("\t")[:7] for line in lines] == [one.split("\t")[:7] for one in rows]
    found = infos(out)
    assert found[0]["DP"] == "3" and [*found[0]] == ["DP", "HELICON_LLR"]
    edits = [
        substitution(genome, 0, 9), substitution(genome, 0, 19, (1, 1, 1)),
        edit(genome, 0, 30, 0, "GG"), edit(genome, 0, 40, 3, ""), substitution(genome, 0, 40),
        edit(genome, 0, 41, 0, "T"), substitution(genome, 0, 599), substitution(genome, 1, 0),
        substitution(genome, 1, 19),
    ]  # fmt: skip
    expected = [value for (value,) in naive(folders, genome, edits)]
    texts = [one.get("HELICON_LLR", "") for one in found]
    multiple = texts[4].split(",")
    assert multiple[2:] == [".", "."]
    for text, value in zip([*texts[:4], *multiple[:2], *texts[11:]], expected, strict=True):
        close(text, value)
    notes = [one.get("HELICON_NOTE") for one in found]
    assert notes[4:11] == [
        ".,.,symbolic,overlapped", "symbolic", "breakend", "no_alternative", "same_as_reference",
        "unknown_base", "unknown_base",
    ]  # fmt: skip
    assert notes[:4] == [None] * 4 and texts[5:11] == [""] * 6
    assert (result.records, result.alleles, result.scored) == (14, 17, 9)
    assert result.notes["symbolic"] == 2 and "9 of 17 alleles" in result.summary
    assert result.as_dict()["notes"] == result.notes
    with pysam.VariantFile(str(out)) as file:
        assert file.header.info["HELICON_LLR"].number == "A"
        assert [len(one.info.get("HELICON_LLR", ())) for one in file][4] == 4


@pytest.mark.parametrize("shape", ["crlf", "gzip", "bgzip", "format", "samples", "bcf", "lower"])
def test_every_shape_of_file(case, genome, folders, tmp_path, shape):
    rows = [row(genome, 0, at) for at in (5, 100, 250)]
    _, plain = case(rows, out="plain.vcf")
    source = tmp_path / "in.vcf"
    if shape == "crlf":
        source.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    elif shape == "gzip":
        source.write_bytes(gzip.compress(source.read_bytes()))
    elif shape == "bgzip":
        pysam.tabix_compress(str(source), str(tmp_path / "in.vcf.gz"))
        source = tmp_path / "in.vcf.gz"
    elif shape in ("format", "samples"):
        more = "\tFORMAT" + "\tS1\tS2" * (shape == "samples")
        values = "\tGT" + "\t0/1\t1|1" * (shape == "samples")
        text = source.read_text().replace("INFO\n", f"INFO{more}\n")
        source.write_text(text.replace(".\n", f".{values}\n"))
    elif shape == "bcf":
        text = source.read_text().replace("##INFO", "##contig=<ID=c0>\n##INFO")
        source.write_text(text)
        with (
            pysam.VariantFile(str(source)) as old,
            pysam.VariantFile(str(tmp_path / "in.bcf"), "wb", header=old.header) as new,
        ):
            for one in old:
                new.write(one)
        source = tmp_path / "in.bcf"
    else:
        head, _, body = source.read_text().partition("INFO\n")
        source.write_text(f"{head}INFO\n" + body.replace("A\t", "a\t").replace("\tA", "\ta"))
    out = tmp_path / "out.vcf"
    variants(folders["language"], source, reference=genome.path, out=out)
    assert infos(out) == infos(plain)
    assert b"\r" not in out.read_bytes()
    if shape == "samples":
        assert out.read_text().count("\tGT\t0/1\t1|1\n") == 3


def test_nothing_in_it(case, tmp_path):
    result, out = case([], out="out.vcf.gz")
    assert result.records == 0 and gzip.decompress(out.read_bytes()).decode().endswith(HEAD + "\n")
    result, out = case([], out="out.parquet")
    assert pq.read_table(out).num_rows == 0


@pytest.mark.parametrize("names", [("chr1", "1"), ("NC_000001.11", "chr1"), ("chrM", "NC_012920")])
def test_names_of_chromosomes(folders, tmp_path, names):
    (tmp_path / "g.fa").write_text(f">{names[0]}\n{'ACGTTGCA' * 10}\n")
    (tmp_path / "a.vcf").write_text(f"{META}{HEAD}\n{names[1]}\t1\t.\tA\tT\t.\t.\t.\n")
    out = tmp_path / "o.vcf"
    variants(folders["language"], tmp_path / "a.vcf", reference=tmp_path / "g.fa", out=out)
    assert out.read_text().splitlines()[-1].startswith(f"{names[1]}\t1\t.\tA\tT\t.\t.\tHELICON_LLR")


def test_soft_masked_reference(folders, tmp_path):
    rows = f"{META}{HEAD}\nc0\t9\t.\tA\tG\t.\t.\t.\n"
    (tmp_path / "a.vcf").write_text(rows)
    for name, text in (("upper.fa", "ACGTTGCA" * 10), ("lower.fa", "acgttgca" * 10)):
        (tmp_path / name).write_text(f">c0\n{text}\n")
        out = tmp_path / f"{name}.vcf"
        variants(folders["language"], tmp_path / "a.vcf", reference=tmp_path / name, out=out)
    assert infos(tmp_path / "upper.fa.vcf") == infos(tmp_path / "lower.fa.vcf")


# ---------------------------------------------------------------- outputs


def test_annotated_again(case, genome, folders, tmp_path):
    rows = [row(genome, 0, at) for at in (5, 100)]
    _, out = case(rows)
    once = out.read_bytes()
    twice = tmp_path / "twice.vcf"
    variants(folders["language"], out, reference=genome.path, out=twice)
    assert twice.read_bytes() == once
    assert sum(line.startswith(b"##HeliconVariants=") for line in once.splitlines()) == 1


def test_parquet(case, genome, folders):
    rows = [row(genome, 0, 5), row(genome, 0, 30, "<DEL>,T" if letters(genome, 0, 29, 30) != "T"
                                   else "<DEL>,G")]  # fmt: skip
    scores = ["llr", "euclidean", "cosine", "pseudo-likelihood"]
    _, out = case(rows, out="out.parquet", score=scores)
    table = pq.read_table(out)
    assert table.column_names == ["CHROM", "POS", "ID", "REF", "ALT", *scores, "note"]
    assert table["POS"].to_pylist() == [5, 30, 30] and table["ALT"].to_pylist()[1] == "<DEL>"
    assert table["note"].to_pylist() == ["", "symbolic", ""]
    expected = naive(folders, genome, [substitution(genome, 0, 4)], scores)[0]
    np.testing.assert_allclose([table[name][0].as_py() for name in scores], expected, atol=1e-5)
    assert np.isnan(table["llr"][1].as_py())
    metadata = table.schema.metadata
    assert metadata[b"scores"] == b"llr,euclidean,cosine,pseudo-likelihood"


def test_heads(case, genome, folders):
    rows = [row(genome, 0, 100), row(genome, 0, 110, length=1, alt="AAAAA")]
    _, out = case(rows, model="token")
    assert [*infos(out)[0]] == [
        "HELICON_HEAD_intergenic", "HELICON_HEAD_forward", "HELICON_HEAD_reverse"
    ]  # fmt: skip
    _, out = case(rows, model="sequence", window=80, out="s.vcf")
    network = Network.open(folders["sequence"])
    way = Naive(
        network, genome,
        Scoring.of(network, ["head"], both_strands=True, window=80, window_step=1, mask_every=None),
    )  # fmt: skip
    for text, value in zip(
        infos(out)[0].values(), way.score(substitution(genome, 0, 99))["head"], strict=True
    ):
        close(text, value)


def test_bgzip_is_indexed_if_sorted(case, genome):
    rows = [row(genome, 0, 5), row(genome, 0, 100), row(genome, 1, 3)]
    result, out = case(rows, out="out.vcf.gz")
    assert result.index == out.with_name("out.vcf.gz.tbi")
    with pysam.VariantFile(str(out)) as file:
        assert [one.pos for one in file.fetch("c0", 50, 200)] == [100]
    result, out = case([rows[1], rows[0]], out="other.vcf.gz")
    assert result.index is None and [*infos(out)[0]] == ["HELICON_LLR"]
    result, _ = case([rows[0], rows[2], rows[1]], out="third.vcf.gz")
    assert result.index is None


# ---------------------------------------------------------------- what is wrong


def other(letter):
    return "ACGTA"["ACGT".index(letter) + 1]


def test_mismatch(case, genome, folders):
    has = letters(genome, 0, 99, 100)
    wrong, third = other(has), other(other(has))
    rows = [
        row(genome, 0, 5),
        row(genome, 0, 100, has, ref=wrong),
        row(genome, 0, 100, third, ref=wrong),
        row(genome, 0, 100, f"{third},{has},<DEL>", ref=wrong),
    ]
    with pytest.raises(
        InputError, match=rf"in\.vcf, line 5: REF is '{wrong}', but .*has '{has}' at c0:100; "
    ):
        case(rows)
    result, out = case(rows, on_mismatch="skip")
    found = infos(out)
    assert "HELICON_LLR" in found[0] and result.scored == 1
    assert [one.get("HELICON_NOTE") for one in found] == [
        None, "reference_mismatch", "reference_mismatch",
        "reference_mismatch,reference_mismatch,symbolic",
    ]  # fmt: skip
    assert result.notes == {"reference_mismatch": 4, "symbolic": 1}
    result, out = case(rows, on_mismatch="swap", out="swapped.vcf")
    found = infos(out)
    assert found[1]["HELICON_NOTE"] == "swapped" and result.notes["swapped"] == 2
    assert found[3]["HELICON_NOTE"] == "reference_mismatch,swapped,symbolic"
    ((expected,),) = naive(folders, genome, [edit(genome, 0, 99, 1, wrong)])
    close(found[1]["HELICON_LLR"], expected)
    assert found[3]["HELICON_LLR"] == f".,{found[1]['HELICON_LLR']},."
    assert "HELICON_LLR" not in found[2]


def test_n_is_no_mismatch(case, genome):
    rows = [row(genome, 0, 310, "A", ref="C"), row(genome, 0, 20, "A", ref="N")]
    _, out = case(rows)
    assert [one["HELICON_NOTE"] for one in infos(out)] == ["unknown_base"] * 2
    before = letters(genome, 0, 299, 300)
    _, out = case(
        [row(genome, 0, 300, f"{before}G"), row(genome, 0, 300, f"{before}NGG", length=2)]
    )
    assert ["HELICON_LLR" in one for one in infos(out)] == [True, True]


def test_records_that_do_not_fit_the_genome(case, genome):
    rows = [
        row(genome, 0, 5), "c7\t5\t.\tA\tG\t.\t.\t.", "c1\t20\t.\tAC\tG\t.\t.\t.",
        "c1\t21\t.\tA\t<DEL>\t.\t.\t.", "c1\t0\t.\tN\t.[c0:5[\t.\t.\t.",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"in\.vcf, line 5: .*has no sequence 'c7'; it has c0, c1"):
        case(rows)
    with pytest.raises(InputError, match=r"line 4: c1:20 lies beyond the sequence, which has 20"):
        case(rows[2:])
    _, out = case(rows, on_error="skip")
    assert [one.get("HELICON_NOTE") for one in infos(out)] == [
        None, "unknown_chromosome", "beyond_chromosome", "symbolic", "breakend"
    ]  # fmt: skip


def test_malformed_records_are_counted(case, genome, capsys):
    rows = [row(genome, 0, 5), "c0\tx\t.\tA\tG\t.\t.\t.", row(genome, 0, 8)]
    with pytest.raises(InputError, match=r"in\.vcf, line 5: POS 'x' is no whole number"):
        case(rows)
    result, out = case(rows, on_error="skip")
    assert result.malformed == 1 and len(infos(out)) == 2
    said = capsys.readouterr().err
    assert "1 malformed records left out; " in said and "line 5" in said
    assert "malformed, left out" in result.summary


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "out.bcf"}, r"out\.bcf: the output should end in"),
        ({"sample": "S"}, "sample: is of use with haplotypes only"),
        ({"haplotypes": True}, "has no samples"),
        ({"score": ["head"]}, "a language model has no 'head'"),
        ({"devices": 0}, "devices: must be"),
    ],
)
def test_wrong_options(case, genome, options, words):
    with pytest.raises(InputError, match=words):
        case([row(genome, 0, 5)], **options)


def test_alleles_that_are_too_long(case, genome):
    long = row(genome, 0, 50, letters(genome, 0, 49, 50), length=30)
    _, out = case([long, row(genome, 0, 60)], window=80)
    assert infos(out)[0] == {"HELICON_NOTE": "too_long"} and "HELICON_LLR" in infos(out)[1]


# ---------------------------------------------------------------- haplotypes


def test_haplotypes(case, genome, folders, monkeypatch):
    monkeypatch.setattr(variant_job, "RECORDS", 2)
    c = letters(genome, 0, 0, 200)
    genotypes = [
        (100, other(c[99]), "0|1:7"), (104, other(c[103]), "1|1"), (108, c[107] + "GG", "1|0"),
        (110, f"{other(c[109])},{other(other(c[109]))}", "2|1"), (112, other(c[111]), "0/1"),
        (115, other(c[114]), "0|0"), (118, other(c[117]), "1/1"), (120, other(c[119]), "."),
    ]  # fmt: skip
    rows = [row(genome, 0, at, alt, more=f"\tGT:DP\t./.\t{gt}") for at, alt, gt in genotypes]
    result, out = case(rows, more="\tFORMAT\tA\tB", haplotypes=True, sample="B")
    found = infos(out)
    assert [one.get("HELICON_NOTE") for one in found] == [
        None, None, None, None, "unphased", "not_carried", None, "not_carried"
    ]  # fmt: skip
    edits = {
        at: [
            edit(genome, 0, at, 0, "GG") if len(one) > 1 else edit(genome, 0, at - 1, 1, one)
            for one in alt.split(",")
        ]
        for at, alt, _ in genotypes
    }
    first = [edits[104][0], edits[108][0], edits[110][1], edits[118][0]]
    second = [edits[100][0], edits[104][0], edits[110][0], edits[118][0]]
    network = Network.open(folders["language"])
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": 10}
    way = Naive(network, genome, Scoring.of(network, ["llr"], **given))

    def on(own, haplotype):
        return way.score(own, [e for e in haplotype if e != own])["llr"]

    close(found[0]["HELICON_LLR"], on(edits[100][0], second))
    close(found[1]["HELICON_LLR"], (on(edits[104][0], first) + on(edits[104][0], second)) / 2)
    close(found[2]["HELICON_LLR"], on(edits[108][0], first))
    two = found[3]["HELICON_LLR"].split(",")
    close(two[0], on(edits[110][0], second))
    close(two[1], on(edits[110][1], first))
    assert result.scored == 6
    for wrong, words in (("C", "has none named 'C'; it has A, B"), (None, "has several")):
        with pytest.raises(InputError, match=words):
            case(rows, more="\tFORMAT\tA\tB", haplotypes=True, sample=wrong)
    with pytest.raises(InputError, match=r"line 5: is not in the order of positions"):
        case([rows[1], rows[0]], more="\tFORMAT\tA\tB", haplotypes=True, sample="B")


def test_haplotypes_do_not_depend_on_batches(case, genome, monkeypatch):
    rng = np.random.default_rng(1)
    places = sorted(rng.choice(np.r_[5:295, 330:590], 60, replace=False).tolist())
    rows = []
    for at in places:
        has, kind = letters(genome, 0, at - 1, at), rng.integers(4)
        alt = [other(has), has + "AC", has, other(has)][kind]
        genotype = ["0|1", "1|1", "1|0"][rng.integers(3)]
        rows.append(row(genome, 0, at, alt, length=1 + 4 * (kind == 2), more=f"\tGT\t{genotype}"))
    rows.append(row(genome, 1, 3, more="\tGT\t1|1"))
    outputs = set()
    for records in (1, 7, 1000):
        monkeypatch.setattr(variant_job, "RECORDS", records)
        _, out = case(rows, more="\tFORMAT\tA", haplotypes=True, out=f"{records}.vcf")
        outputs.add(tuple(round(float(one["HELICON_LLR"]), 3) for one in infos(out)))
    assert len(outputs) == 1


# ---------------------------------------------------------------- restart


def test_killed_and_started_again(case, genome, folders, tmp_path, monkeypatch):
    rows = [row(genome, 0, at) for at in range(5, 290, 3)]
    monkeypatch.setattr(variant_job, "RECORDS", 5)
    _, whole = case(rows, out="whole.vcf.gz")
    out = tmp_path / "out.vcf.gz"
    words = [folders["language"], tmp_path / "in.vcf", genome.path, out]
    command = [sys.executable, str(HERE / "variants_child.py"), *map(str, words)]
    child = subprocess.Popen([*command, "0.1"], start_new_session=True)
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("out.vcf.gz.parts/*.arrow"))) < 4:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists()
    result = variants(folders["language"], words[1], reference=genome.path, out=out)
    assert result.done.resumed >= 4 and result.done.resumed < 19
    assert out.read_bytes() == whole.read_bytes()
    index = [path.with_name(path.name + ".tbi").read_bytes() for path in (out, whole)]
    assert index[0] == index[1]


def test_several_devices_give_the_same(case, genome):
    rows = [row(genome, 0, at) for at in range(5, 290, 10)]
    _, one = case(rows, out="one.vcf")
    _, two = case(rows, out="two.vcf", devices=2)
    assert one.read_bytes() == two.read_bytes()


def test_genotypes_stay_at_home(genome, folders, tmp_path):
    """Batches hold the alleles alone."""
    samples = "\t".join(f"S{i}" for i in range(2000))
    path = tmp_path / "a.vcf"
    genotypes = "\tGT" + "\t0|1" * 2000
    rows = "\n".join(row(genome, 0, at, more=genotypes) for at in range(5, 105))
    path.write_text(f"{META}{HEAD}\tFORMAT\t{samples}\n{rows}\n")
    network = Network.open(folders["language"])
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": 10}
    scoring = Scoring.of(network, None, **given)
    job = variant_job.VariantsJob(
        folders["language"], path, genome.path, "vcf", scoring, tuple(scoring.columns(network)),
        network.digest, 56,
    )  # fmt: skip
    (shard,) = job.shards()
    assert shard.size == 100 and len(pickle.dumps(shard.payload)) < 20_000


def test_the_output_can_be_made_bcf(folders, tmp_path):
    """Contigs, filters and fields that the input does not define are defined in the output."""
    (tmp_path / "g.fa").write_text(f">c:1|x\n{'ACGTTGCA' * 10}\n>c2\n{'ACGTTGCA' * 5}\n")
    head = f"{HEAD}\tFORMAT\tS"
    rows = ["c:1|x\t1\t.\tA\tT\t50.0\tq10\tDP=3;AF=0.50;XX=a;FL\tGT:DP\t0|1:3",
            "c:1|x\t9\t.\tA\t<DEL>,T\t.\tPASS\t.\tGT:ZZ\t1|2:q",
            "c2\t2\t.\tC\tG\t.\t.\t.\tGT\t1/1"]  # fmt: skip
    (tmp_path / "a.vcf").write_text(head + "\n" + "\n".join(rows) + "\n")
    out = tmp_path / "o.vcf.gz"
    variants(folders["language"], tmp_path / "a.vcf", reference=tmp_path / "g.fa", out=out)
    text = gzip.decompress(out.read_bytes()).decode()
    assert text.startswith("##fileformat=") and "##contig=<ID=c:1|x,length=80>\n" in text
    assert [line.split("\t")[:7] for line in text.splitlines()[-3:]] == [
        row.split("\t")[:7] for row in rows
    ]
    with (
        pysam.VariantFile(str(out)) as old,
        pysam.VariantFile(str(tmp_path / "o.bcf"), "wb", header=old.header) as new,
    ):
        for one in old:
            new.write(one)
    pysam.tabix_index(str(tmp_path / "o.bcf"), preset="bcf")
    with pysam.VariantFile(str(tmp_path / "o.bcf")) as file:
        assert [one.pos for one in file.fetch("c:1|x", 3, 20)] == [9]
        (first,) = file.fetch("c:1|x", 0, 3)
        assert first.info["DP"] == 3 and first.info["FL"] and first.samples["S"]["DP"] == 3
        assert len(next(file.fetch("c2")).info["HELICON_LLR"]) == 1
    twice = tmp_path / "twice.vcf.gz"
    variants(folders["language"], out, reference=tmp_path / "g.fa", out=twice)
    assert gzip.decompress(twice.read_bytes()).decode() == text
