"""The verb: exact in pieces, at ends, on both strands; its files; restarts; wrong input."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pybigtools
import pytest
from small_networks import GENES, language_model, stir, write_genome

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.mutagenesis import mutagenesis as room
from helicon.inference.mutagenesis.effects import Wanted
from helicon.inference.mutagenesis.mutagenesis import MutagenesisJob, mutagenesis
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import save

Folders = dict[str, Path]
KEY = ["name", "position", "reference", "alternative"]


def expected(
    network: Network, ids: np.ndarray, score: Callable[[np.ndarray], np.ndarray]
) -> dict[tuple[int, str], np.ndarray]:
    """Scores of whole changed sequences less those of the sequence."""
    base = score(ids[None])[0]
    found = {}
    for position in np.flatnonzero(ids < 4):
        for letter in range(4):
            if letter != ids[position]:
                changed = ids.copy()
                changed[position] = letter
                found[int(position), "ACGT"[letter]] = score(changed[None])[0] - base
    return found


def check(frame: pl.DataFrame, name: str, columns: list[str], wanted: dict) -> None:
    rows = frame.filter(pl.col("name") == name)
    assert len(rows) == len(wanted)
    values = rows.select(columns).to_numpy()
    keys = zip(rows["position"], rows["alternative"], strict=True)
    np.testing.assert_allclose(values, [np.atleast_1d(wanted[key]) for key in keys], atol=5e-5)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """A long sequence with unknown bases, one shorter than the receptive field, an N."""
    return write_genome(tmp_path / "three.fa", [90, 11, 1], unknown=[(0, 40, 45), (2, 0, 1)])


@pytest.mark.parametrize("both_strands", [False, True])
def test_pieces_of_a_language_model(
    folders: Folders, fasta: Path, tmp_path: Path, monkeypatch, both_strands: bool
):
    monkeypatch.setattr(room, "PIECE", 13)
    out = tmp_path / "all.parquet"
    result = mutagenesis(
        str(folders["language"]), fasta, out=out, score=["masked"], both_strands=both_strands
    )
    assert result.scores == ("masked",)
    frame = pl.read_parquet(out)
    assert frame.columns == [*KEY, "masked"]
    assert len(frame) == 3 * (85 + 11)
    network, genome = Network.open(folders["language"]), Genome.open(fasta)
    for chrom, name in enumerate(genome.names[:2]):
        ids = genome.fetch(chrom, 0, int(genome.lengths[chrom]))
        check(frame, name, ["masked"], hidden_ratios(network, ids, both_strands))


def hidden_ratios(network: Network, ids: np.ndarray, both: bool) -> dict:
    found = {}
    for position in np.flatnonzero(ids < 4):
        hidden = ids.copy()
        hidden[position] = DNA.mask_id
        logits = network.logits(hidden[None])[0, position, :4]
        if both:
            turned = network.logits(DNA.reverse_complement(hidden)[None])[
                0, len(ids) - 1 - position
            ]
            logits = (logits + turned[[3, 2, 1, 0]]) / 2
        for letter in set(range(4)) - {int(ids[position])}:
            found[int(position), "ACGT"[letter]] = logits[letter] - logits[ids[position]]
    return found


@pytest.mark.parametrize("both_strands", [False, True])
def test_pieces_of_a_model_of_positions(
    folders: Folders, fasta: Path, tmp_path: Path, monkeypatch, both_strands: bool
):
    monkeypatch.setattr(room, "PIECE", 17)
    out = tmp_path / "all.parquet"
    mutagenesis(str(folders["token"]), fasta, out=out, both_strands=both_strands)
    network, genome = Network.open(folders["token"]), Genome.open(fasta)
    ids = genome.fetch(0, 0, 90)

    def score(batch: np.ndarray) -> np.ndarray:
        total = network.logits(batch).sum(1)
        if both_strands:
            turned = network.logits(DNA.reverse_complement(batch)).sum(1)
            total = (total + turned[:, network.opposite]) / 2
        return total

    columns = [f"logit_{name}" for name in GENES]
    check(pl.read_parquet(out), "c0", columns, expected(network, ids, score))


def test_a_sequence_model_sees_the_region_alone(folders: Folders, fasta: Path, tmp_path: Path):
    bed, out = tmp_path / "regions.bed", tmp_path / "all.parquet"
    bed.write_text("c1\t2\t10\nc0\t5\t55\n")
    mutagenesis(
        str(folders["sequence"]), bed, reference=fasta, out=out, score=["logit"], output=["yes"]
    )
    network, frame = Network.open(folders["sequence"]), pl.read_parquet(out)
    ids = Genome.open(fasta).fetch(0, 5, 55)
    wanted = expected(network, ids, lambda batch: network.logits(batch)[:, 1:])
    moved = {(position + 5, letter): value for (position, letter), value in wanted.items()}
    check(frame, "c0", ["logit_yes"], moved)
    assert frame["name"].unique(maintain_order=True).to_list() == ["c0", "c1"]


def test_a_language_model_sees_around_a_region(folders: Folders, fasta: Path, tmp_path: Path):
    bed = tmp_path / "regions.bed"
    bed.write_text("c0\t50\t60\nc0\t55\t62\n")
    arguments = {"score": ["effect", "distance"]}
    model = str(folders["language"])
    mutagenesis(model, bed, reference=fasta, out=tmp_path / "some.parquet", **arguments)
    mutagenesis(model, fasta, out=tmp_path / "all.parquet", **arguments)
    some, every = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("some", "all"))
    every = every.filter((pl.col("name") == "c0") & pl.col("position").is_between(50, 61))
    assert some.select(KEY).equals(every.select(KEY))
    np.testing.assert_allclose(some[:, 4:].to_numpy(), every[:, 4:].to_numpy(), atol=1e-5)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients"])
@pytest.mark.parametrize("kind", ["language", "token"])
def test_gradients_of_pieces_are_those_of_the_whole(
    folders: Folders, fasta: Path, tmp_path: Path, monkeypatch, method: str, kind: str
):
    found = []
    steps = {"steps": 5} if method == "integrated-gradients" else {}
    for piece in (4096, 17):
        monkeypatch.setattr(room, "PIECE", piece)
        out = tmp_path / f"{piece}.parquet"
        mutagenesis(str(folders[kind]), fasta, out=out, method=method, both_strands=True, **steps)
        found.append(pl.read_parquet(out))
    assert found[0].select(KEY).equals(found[1].select(KEY))
    np.testing.assert_allclose(found[0][:, 4:].to_numpy(), found[1][:, 4:].to_numpy(), atol=2e-4)


def test_network_with_cells_in_pieces(fasta: Path, tmp_path: Path, monkeypatch):
    config = ConvNovaConfig(d_model=8, blocks=4, kernel=3, dilation=2, downsample=True)
    folder = save(stir(language_model(config)), tmp_path / "cells")
    monkeypatch.setattr(room, "PIECE", 9)
    out = tmp_path / "all.parquet"
    mutagenesis(str(folder), fasta, out=out, both_strands=True)
    ids = Genome.open(fasta).fetch(0, 0, 90)
    wanted = hidden_ratios(Network.open(folder), ids, both=True)
    check(pl.read_parquet(out), "c0", ["masked"], wanted)


@pytest.mark.parametrize("summary", ["mean", "max"])
def test_bigwig(folders: Folders, fasta: Path, tmp_path: Path, monkeypatch, summary: str):
    monkeypatch.setattr(room, "PIECE", 20)
    model = str(folders["language"])
    mutagenesis(model, fasta, out=tmp_path / "all.parquet")
    mutagenesis(model, fasta, out=tmp_path / "all.bw", summary=summary)
    values = pl.col("masked").abs()
    column = values.mean() if summary == "mean" else values.max()
    wanted = pl.read_parquet(tmp_path / "all.parquet").group_by("name", "position").agg(column)
    with pybigtools.open(str(tmp_path / "all.bw")) as file:
        assert file.chroms() == {"c0": 90, "c1": 11, "c2": 1}
        for name in ("c0", "c1"):
            rows = wanted.filter(pl.col("name") == name)
            found = file.values(name, fillna=None)
            np.testing.assert_allclose(found[rows["position"]], rows["masked"], atol=1e-5)
        assert np.isnan(file.values("c0", fillna=None)[40:45]).all()


def test_killed_and_started_again(folders: Folders, fasta: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(room, "PIECE", 20)
    model = str(folders["token"])
    mutagenesis(model, fasta, out=tmp_path / "whole.parquet")
    rows, calls = room._rows, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return rows(*arguments)

    again = tmp_path / "again.parquet"
    monkeypatch.setattr(room, "_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        mutagenesis(model, fasta, out=again)
    assert not again.exists()
    result = mutagenesis(model, fasta, out=again)
    assert result.done.resumed == 3
    assert again.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_other_options_do_not_resume(folders: Folders, fasta: Path):
    job = MutagenesisJob(
        folders["token"],
        fasta,
        None,
        Wanted(()),
        "gradient",
        3,
        False,
        None,
        True,
        ("logit_forward",),
    )
    assert job.identity() != replace(job, both_strands=True).identity()
    assert job.identity() != replace(job, columns=("logit_reverse",)).identity()
    assert job.total() == 102


def test_figure(folders: Folders, fasta: Path, tmp_path: Path):
    plot = tmp_path / "logo.svg"
    result = mutagenesis(
        str(folders["language"]),
        fasta,
        out=tmp_path / "all.parquet",
        plot=plot,
        plot_region="c0:31-50",
    )
    text = plot.read_text()
    drawing = ElementTree.fromstring(text)
    assert drawing.find("{*}title").text == "c0:31-50 masked"
    rows = pl.read_parquet(tmp_path / "all.parquet").filter(
        (pl.col("name") == "c0") & pl.col("position").is_between(30, 49)
    )
    titles = re.findall(r"<title>([\d,]+) (\w)&gt;(\w) (\S+)</title>", text)
    found = {(int(place) - 1, new): float(value) for place, _, new, value in titles}
    assert len(found) == len(rows) == 45
    for position, new, value in rows.select("position", "alternative", "masked").iter_rows():
        assert found[position, new] == pytest.approx(value, abs=2e-3)
    assert result.as_dict()["plot"] == str(plot)
    assert "figure" in result.summary


def test_empty_regions_give_an_empty_table(folders: Folders, fasta: Path, tmp_path: Path):
    bed = tmp_path / "unknown.bed"
    bed.write_text("c0\t41\t44\n")
    out = tmp_path / "none.parquet"
    mutagenesis(str(folders["language"]), bed, reference=fasta, out=out)
    assert pl.read_parquet(out).shape == (0, 5)
    assert pq.read_schema(out).metadata[b"method"] == b"substitutions"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("language", {"out": "x.tsv"}, r"out: x\.tsv must end in \.parquet or \.bw"),
        ("token", {"out": "x.bw"}, "a bigWig holds one score, not logit_intergenic, logit_forw"),
        ("language", {"score": ["logit"]}, "score: 'logit' is none of this model's: masked"),
        ("sequence", {"output": ["maybe"]}, "output: 'maybe' is none of .*: no, yes"),
        ("token", {"method": "gradient", "score": ["distance"]}, "are those of logit; leave it"),
        ("token", {"method": "gradient", "over": "substituted"}, "over: gradients are those of"),
        ("language", {"plot": Path("x.svg")}, "plot: a figure shows 400 positions at most"),
        ("language", {"plot_region": "c0", "plot": Path("x.svg")}, "is not NAME:START-END"),
        ("language", {"plot_region": "c0:0-9", "plot": Path("x.svg")}, "positions 1 to 90"),
        ("language", {"plot_region": "c9:1-9", "plot": Path("x.svg")}, "c9"),
        ("language", {"plot_region": "c0:1-9"}, "plot_region: is of a figure; name one with plot"),
        ("language", {"summary": "max"}, r"summary: is of a bigWig; name a \.bw file"),
        ("language", {"steps": 8}, "steps: are those of integrated-gradients; leave them out"),
        ("token", {"steps": 8, "method": "gradient"}, "steps: are those of integrated-gradients"),
        ("token", {"steps": 0, "method": "integrated-gradients"}, "steps: must be at least 1"),
    ],
)
def test_wrong_options_are_named_before_anything_is_computed(
    folders: Folders, fasta: Path, kind: str, options: dict, message: str, monkeypatch
):
    monkeypatch.chdir(fasta.parent)
    arguments = {"out": "x.parquet"} | options
    with pytest.raises(InputError, match=message) as caught:
        mutagenesis(str(folders[kind]), fasta, **arguments)
    assert "\n" not in str(caught.value)
    assert not list(fasta.parent.glob("x.*"))


def test_overlapping_regions_of_a_sequence_model(folders: Folders, fasta: Path, tmp_path: Path):
    bed = tmp_path / "regions.bed"
    bed.write_text("c0\t5\t55\nc0\t50\t60\n")
    with pytest.raises(InputError, match="c0:50-60 overlaps another region"):
        mutagenesis(str(folders["sequence"]), bed, reference=fasta, out=tmp_path / "all.parquet")


def test_figure_outside_of_the_regions(folders: Folders, fasta: Path, tmp_path: Path):
    bed = tmp_path / "regions.bed"
    bed.write_text("c0\t5\t25\n")
    with pytest.raises(InputError, match="does not lie in what is computed"):
        mutagenesis(
            str(folders["language"]),
            bed,
            reference=fasta,
            out=tmp_path / "all.parquet",
            plot=tmp_path / "x.svg",
            plot_region="c0:20-30",
        )
