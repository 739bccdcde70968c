"""Whole genomes decoded through the engine, and the same in memory."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killing import kill
from small_networks import GENES, token_model, write_genome

from helicon.data.annotation.gff import read_gff
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.genes.decoding import Stretch, decode
from helicon.inference.genes.genes import (
    GenesJob,
    check_classes,
    log_probabilities,
)
from helicon.inference.genes.segments import segment_writer
from helicon.inference.genes.transitions import read_grammar
from helicon.inference.jobs import stretches
from helicon.inference.jobs.engine import run
from helicon.inference.jobs.job import Engine
from helicon.models.hub import save


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(stretches, "SHARD", 250)


def lively_model():
    """A model that cannot make up its mind: every class is common."""
    model = token_model()
    last = model.classifier.layers[-1]
    with torch.no_grad():
        last.weight *= 30
        ids = torch.randint(0, 4, (1, 2000), generator=torch.Generator().manual_seed(0))
        last.bias -= model(ids).logits.mean((0, 1))
    return model


@pytest.fixture
def genome(tmp_path):
    return write_genome(tmp_path / "genome.fa", [1400, 12, 700], unknown=[(0, 300, 360)])


@pytest.fixture
def costs(tmp_path):
    """Costs that let many short genes be found."""
    path = tmp_path / "costs.toml"
    path.write_text("gene = -0.1\nshortest = 6\n")
    return path


@pytest.fixture
def job(tmp_path, genome, costs):
    return GenesJob(
        save(lively_model(), tmp_path / "model"), genome, GENES, "gff3", transitions=costs
    )


def in_memory(job, path):
    genome = Genome.open(job.genome)
    grammar = read_grammar(job.labels, genome, grammar=job.grammar, transitions=job.transitions)
    where = merged_regions(job.regions, genome)
    network = Network(lively_model())
    with segment_writer(path, job.form, grammar, genome) as writer:
        for row in range(len(where)):
            one = where.take(np.array([row]))
            found = log_probabilities(network, genome, one, both_strands=job.both_strands)
            stretch = Stretch.of(found, genome, int(one.chrom[0]), int(one.start[0]))
            for segments in decode([stretch], grammar):
                writer.write(segments)
    return path.read_text()


def places(text):
    """Rows without their probabilities, whose last digit is float32's."""
    rows = [re.sub(r"probability=[01]\.\d{4}", "", line).split("\t") for line in text.splitlines()]
    score = {True: 5, False: 4}  # the column, of GFF3 and of BED
    return [[v for i, v in enumerate(row) if i != score[len(row) > 6]] for row in rows]


@pytest.mark.parametrize("form", ["gff3", "bed"])
@pytest.mark.parametrize("grammar", ["auto", "free"])
@pytest.mark.parametrize("both", [False, True])
def test_pieces_make_the_whole(tmp_path, job, form, grammar, both):
    if grammar == "free":
        job = replace(job, transitions=None, grammar="free")
    job = replace(job, form=form, both_strands=both)
    done = run(job, tmp_path / "out", Engine())
    assert done.shards == 9  # of 250 bases, but the sixth: 150 + 12
    found = (tmp_path / "out").read_text()
    assert places(found) == places(in_memory(job, tmp_path / "wanted"))
    assert len(found.splitlines()) > 10


def test_regions_and_compression(tmp_path, job, genome):
    bed = tmp_path / "r.bed"
    bed.write_text("c2\t100\t500\nc0\t700\t1300\nc0\t500\t800\n")
    job = replace(job, regions=bed)
    run(job, tmp_path / "out.gff3", Engine())
    found = (tmp_path / "out.gff3").read_text()
    assert places(found) == places(in_memory(job, tmp_path / "wanted"))
    rows = read_gff(tmp_path / "out.gff3", Genome.open(genome), "CDS").rows
    for chrom, start, end in rows.select("chrom", "start", "end").iter_rows():
        first, last = {0: (500, 1300), 2: (100, 500)}[chrom]
        assert first <= start < end <= last
    run(replace(job, compressed=True), tmp_path / "out.gz", Engine())
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()).decode() == found


def test_log_probabilities_of_both_strands(genome):
    network, opened = Network(lively_model()), Genome.open(genome)
    where = Intervals.of(opened.names, [0], [100], [400])
    both = log_probabilities(network, opened, where, both_strands=True)
    assert both.shape == (300, 3)
    assert np.allclose(np.exp(both).sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(both, log_probabilities(network, opened, where), atol=1e-3)


def test_killed_and_started_again(tmp_path, job):
    run(job, tmp_path / "wanted", Engine())
    call = "from pathlib import PosixPath\nfrom helicon.inference.genes.genes import GenesJob\n"
    kill(tmp_path, f"{call}run({job!r}, Path('out'), Engine())", shard=250, left=4)
    assert not (tmp_path / "out").exists()
    done = run(job, tmp_path / "out", Engine())
    assert (done.resumed, done.shards) == (4, 9)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "wanted").read_bytes()


def test_other_costs_are_another_job(tmp_path, job, costs):
    first = job.identity()
    costs.write_text("gene = -0.2\n")
    assert job.identity()["transitions"] != first["transitions"]


def test_only_classes_are_decoded(tiny_token, tiny_language, tiny_sequence):
    check_classes(tiny_token, "x")
    for network in (tiny_language, tiny_sequence):
        with pytest.raises(InputError, match="x: does not give classes to positions"):
            check_classes(network, Path("x"))
