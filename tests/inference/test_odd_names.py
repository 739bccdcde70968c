"""Sequences of any name: what the verbs write is valid, and is read back."""

import numpy as np
import polars as pl
import pybigtools
import pysam
import pytest
from small_networks import GENES, write_genome

from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.variants.vcf import open_vcf
from helicon.inference.embed import embed
from helicon.inference.predict import predict
from helicon.inference.tracks.track import track
from helicon.inference.variants.variants import variants

NAMES = ["NODE_1,len=6000;x", "<script>alert(1)</script>", "a|b`c`", "x%09y", "track"]
LENGTH = 90


@pytest.fixture
def genome(tmp_path):
    path = write_genome(tmp_path / "plain.fa", [LENGTH] * len(NAMES))
    text = path.read_text()
    for i, name in enumerate(NAMES):
        text = text.replace(f">c{i} contig", f">{name}")
    (tmp_path / "g.fa").write_text(text)
    return tmp_path / "g.fa"


def test_tables_hold_the_names(tmp_path, folders, genome):
    for verb, model in ((embed, "language"), (predict, "sequence")):
        verb(folders[model], genome, out=tmp_path / "o.parquet")
        assert pl.read_parquet(tmp_path / "o.parquet")["name"].to_list() == NAMES
        (tmp_path / "o.parquet").unlink()


def test_tracks_are_read_back(tmp_path, folders, genome):
    track(str(folders["token"]), genome, out=tmp_path / "t")
    handle = pybigtools.open(str(tmp_path / "t" / f"{GENES[1]}.bw"))
    assert handle.chroms() == dict.fromkeys(NAMES, LENGTH)
    labels = read_annotation(tmp_path / "t" / f"{GENES[1]}.bw", Genome.open(genome))
    for i, name in enumerate(NAMES):
        wanted = np.asarray(handle.values(name, 0, LENGTH, fillna=None), np.float32)
        np.testing.assert_array_equal(labels.windows([i], [0], LENGTH).reshape(-1), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_variants_are_read_back(tmp_path, folders, genome, name):
    text = genome.read_text().split(f">{name}\n")[1].split("\n>")[0].replace("\n", "")
    other = "A" if text[40] != "A" else "C"
    path = tmp_path / "v.vcf"
    path.write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"{name}\t41\t<i>;x\t{text[40]}\t{other}\t.\t.\tX=a|b`\n"
    )
    for end in ("vcf", "vcf.gz", "parquet"):
        variants(str(folders["language"]), path, reference=genome, out=tmp_path / f"o.{end}")
    for end in ("vcf", "vcf.gz"):
        with open_vcf(tmp_path / f"o.{end}") as vcf:
            (record,) = vcf
        assert (record.chrom, record.position) == (name, 41)
    assert pl.read_parquet(tmp_path / "o.parquet")["CHROM"].to_list() == [name]
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as file:
        assert [(r.chrom, r.pos) for r in file] == [(name, 41)]
