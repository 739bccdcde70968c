"""Wrong input through the real command line: exit code 2, one line that names what and where."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from helicon.cli import main

GENOME = ">chr1\n" + "ACGTTGCAAC" * 500 + "\n"


def _table(labels: str, header: str = "sequence,label") -> str:
    letters = random.Random(0)
    rows = ("".join(letters.choices("ACGT", k=30)) + f",{label}" for label in labels)
    return "\n".join([header, *rows]) + "\n"


def _truncated(path: Path) -> None:
    path.write_bytes(gzip.compress(GENOME.encode() * 50)[:-40])


#: Content of a file given as a genome -> what the line must say.
GENOMES: dict[str, tuple[str | bytes | Callable[[Path], None], str]] = {
    "empty": ("", "is empty"),
    "truncated gzip": (_truncated, "cut short"),
    "protein": (">sp|P1|X\nMKVLAEELNQRSTPWYFIHGKMEELLQQ\n", "protein"),
    "HTML": ("<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "duplicate names": (GENOME + GENOME, "chr1"),
    "letters": (">chr1\nACGT\nAC!T\n", "'!'"),
    "binary": (b"\x00\x01\x02\x03" * 100, "FASTA"),
    "a table": ("a,b\n1,2\n", "FASTA"),
}

BEDS = {
    "beyond": ("chr1\t0\t5001\ttrain\n", "line 1"),
    "start after end": ("chr1\t0\t100\ttrain\nchr1\t300\t200\ttrain\n", "line 2"),
    "no such chromosome": ("chr7\t0\t100\ttrain\n", "chr7"),
    "no training part": ("chr1\t0\t100\ttest\n", "train"),
}

TABLES = {
    "no such column": (_table("01" * 20, "sequence,klass"), "label"),
    "label missing": (_table("01" * 10) + "ACGTACGT,\n", "line 22"),
    "one class": (_table("1" * 40), "one class"),
    "letters": (_table("01" * 10) + "AC!T,1\n", "line 22"),
    "empty": ("", "is empty"),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


def refused(words: list[str], *said: str, capsys) -> None:
    """Run a command that must be refused in one line."""
    if words[0] in ("pretrain", "finetune"):
        words = [*words, "--steps", "1"]  # for the day that it is not
    assert main(words) == 2
    err = capsys.readouterr().err.splitlines()
    assert err, "nothing was said"
    assert err[-1].startswith(f"helicon {words[0]}: ")
    assert not any("Traceback" in line for line in err)
    for part in said:
        assert part in err[-1]


@pytest.mark.parametrize("case", GENOMES)
def test_genomes(case, tmp_path, capsys):
    content, said = GENOMES[case]
    path = tmp_path / "genome.fa"
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    refused(
        ["pretrain", str(path), "--out", str(tmp_path / "run")], "genome.fa", said, capsys=capsys
    )
    assert not (tmp_path / "run").exists()


def test_a_missing_genome(tmp_path, capsys):
    words = ["pretrain", str(tmp_path / "none.fa"), "--out", str(tmp_path / "run")]
    refused(words, "none.fa", "no such", capsys=capsys)


@pytest.mark.parametrize("case", BEDS)
def test_intervals(case, tmp_path, capsys):
    content, said = BEDS[case]
    (tmp_path / "genome.fa").write_text(GENOME)
    (tmp_path / "parts.bed").write_text(content)
    words = ["pretrain", str(tmp_path / "genome.fa"), "--out", str(tmp_path / "run")]
    words += ["--intervals", str(tmp_path / "parts.bed")]
    refused(words, "parts.bed", said, capsys=capsys)


@pytest.mark.parametrize("case", TABLES)
def test_tables(case, tmp_path, capsys):
    content, said = TABLES[case]
    (tmp_path / "train.csv").write_text(content)
    words = ["finetune", "convnova-tiny", str(tmp_path / "train.csv"), "--out", str(tmp_path / "r")]
    refused(words, "train.csv", said, capsys=capsys)
    assert not (tmp_path / "r").exists()


def test_a_model_folder_half_copied(tmp_path, capsys):
    from helicon.models.hub import load, save

    whole = save(load("convnova-tiny"), tmp_path / "model")
    for name in ("model.safetensors", "config.json"):
        half = tmp_path / f"without-{name}"
        shutil.copytree(whole, half)
        (half / name).unlink()
        refused(["info", str(half)], str(half), name, capsys=capsys)
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(["info", str(cut)], "model.safetensors", capsys=capsys)


def test_an_output_folder_that_holds_something_else(tmp_path, capsys):
    (tmp_path / "genome.fa").write_text(GENOME)
    kept = tmp_path / "run" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    words = ["pretrain", str(tmp_path / "genome.fa"), "--out", str(tmp_path / "run")]
    words += ["--split-block", "500", "--length", "64"]
    for more in ([], ["--resume"]):
        refused([*words, *more], str(tmp_path / "run"), capsys=capsys)
    assert kept.read_text() == "years of work"


def test_a_checkpoint_that_is_none(tmp_path, capsys):
    (tmp_path / "x.ckpt").write_bytes(b"no pickle")
    words = ["convert", str(tmp_path / "x.ckpt"), str(tmp_path / "out"), "--dilation", "4"]
    refused(words, "x.ckpt", capsys=capsys)
