"""The linear probe of positions of a genome."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_cases import gene_genome, model_folder
from torch import nn

from helicon.alphabet import DNA
from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, split_blocks
from helicon.models.hub import load
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune
from helicon.training.kinds import positions
from helicon.training.kinds.labelled_genome import LabelledGenome, sampled_outputs

CPU = {"accelerator": "cpu", "precision": "float32"}


class Letters(nn.Module):
    """Gives the letter at every position, and nothing of what is around."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=torch.eye(8)[input_ids] + self.bias)


@pytest.fixture
def data(tmp_path):
    fasta, gff = gene_genome(tmp_path)
    genome = Genome.open(fasta, cache=tmp_path / "cache")
    parts = split_blocks(genome, (0.6, 0.2, 0.2), 1_000)
    annotation = read_annotation(gff, genome)
    return LabelledGenome(
        genome, annotation, parts["train"], parts["validation"], None, length=128, context=10
    )


@pytest.fixture
def model(tmp_path):
    return str(model_folder(tmp_path / "source", seed=5))


def test_a_sample_of_all_has_every_labelled_position_once(data):
    outputs, labels = sampled_outputs(Letters(), data, data.train, 10**9, 0)
    assert outputs.shape == (data.train.lengths.sum(), 8)
    forward, found = sampled_outputs(
        Letters(), data, data.train, 10**9, 0, reverse_complement=False
    )
    assert np.bincount(found).tolist() == data.class_counts().tolist()
    wanted = np.concatenate(
        [data.genome.windows([0], [i.start], i.end - i.start)[0] for i in data.train]
    )
    assert (
        np.bincount(forward.argmax(1), minlength=8)[:4].tolist()
        == np.bincount(wanted, minlength=8)[:4].tolist()
    )
    # Genes are rich in A on their own strand, whichever strand a window is read from.
    a, t = (outputs[:, DNA.letters.index(letter)] for letter in "AT")
    assert a[labels == 1].mean() > 0.6
    assert t[labels == 2].mean() > 0.6
    assert (np.bincount(labels) != np.bincount(found)).any()  # some were read from the other


def test_a_smaller_sample_is_of_whole_windows_and_the_same_every_time(data):
    first, again = (sampled_outputs(Letters(), data, data.train, 1_000, 3) for _ in range(2))
    assert 128 < len(first[0]) <= 1_000
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    other = sampled_outputs(Letters(), data, data.train, 1_000, 4)
    assert len(other[1]) != len(first[1]) or (other[1] != first[1]).any()


def test_a_short_interval_has_no_position_beyond_its_end(data):
    short = Intervals.of(data.genome.names, [0], [500], [540])
    for seed in range(4):
        assert len(sampled_outputs(Letters(), data, short, 1_000, seed)[1]) == 40


@pytest.mark.parametrize("scratch", [False, True])
def test_the_probe_is_fitted_to_a_network_that_stays_as_it_is(tmp_path, model, scratch, capsys):
    fasta, gff = gene_genome(tmp_path, 12_000)
    out = tmp_path / "run"
    found = finetune(
        model, fasta, labels=gff, out=out, length=128, split_block=1_000, freeze=True,
        scratch=scratch, both_strands=True, **CPU,
    )  # fmt: skip
    assert found.steps == 0
    said = "linear probe of random weights" if scratch else "linear probe;"
    assert said in capsys.readouterr().err
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before) != scratch
    assert found.scores["test"].metrics["mcc"] > 0.3
    assert json.loads((out / "results.json").read_text())["strength"] in (
        1e-4,
        1e-3,
        0.01,
        0.1,
        1,
        10,
    )
    again = evaluate(str(out), fasta, labels=gff, both_strands=True, **CPU)
    counts = sum(np.sum(scores.confusion) for scores in found.scores.values())
    assert again.scores.confusion.sum() > counts  # the whole genome, training part too
    assert again.scores.metrics["mcc"] == pytest.approx(
        found.scores["test"].metrics["mcc"], abs=0.1
    )


def test_a_probe_of_values_is_in_their_unit(tmp_path, model):
    """The value of a position is a linear function of what the network makes of it."""
    fasta, _ = gene_genome(tmp_path, 12_000)
    genome = Genome.open(fasta)
    ids = genome.windows([0], [0], 12_000)[0]
    values = 500 + 40 * np.convolve(ids == 0, np.ones(50) / 50, "same")
    track = tmp_path / "signal.bedgraph"
    lines = (f"chr\t{i}\t{i + 1}\t{v:.4f}" for i, v in enumerate(values))
    track.write_text("\n".join(lines) + "\n")
    found = finetune(
        model, fasta, labels=track, out=tmp_path / "run", length=128, split_block=1_000,
        freeze=True, reverse_complement=False, **CPU,
    )  # fmt: skip
    spread = float(values.std())
    assert found.scores["test"].metrics["rmse"] < 0.95 * spread


def test_a_sample_is_said(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr(positions, "PROBE_POSITIONS", 1_024)
    fasta, gff = gene_genome(tmp_path, 12_000)
    finetune(
        model, fasta, labels=gff, out=tmp_path / "run", length=128, split_block=1_000, freeze=True,
        **CPU,
    )  # fmt: skip
    assert "the probe is fitted on windows of 1,024 of" in capsys.readouterr().err
