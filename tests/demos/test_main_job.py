"""The main job from end to end, at a size that takes seconds."""

import json
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_jobs import assert_goes_on, assert_taken, make_small
from transformers import AutoModelForTokenClassification

from helicon.data.catalogue.example import example_genome
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import read_bed
from helicon.demos import main_job
from helicon.demos.systems import CONVNOVA
from helicon.report.results.demo import DemoResults

SMALL = replace(CONVNOVA, backbone=CONVNOVA.backbone | {"d_model": 8}, most_steps=3)
OPTIONS = {"system": SMALL, "minutes": 0.01, "seeds": 2, "seed": 0}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        make_small(patch)
        yield main_job.run(folder / "demo", **OPTIONS)


def test_everything_is_left_in_the_folder(job):
    names = {p.name for p in job.out.iterdir()}
    assert {"pretrained", "finetuned", "from-scratch", "split.bed", "report.html"} <= names
    assert DemoResults.read(job.out / "results.json") == job.results
    assert "from scratch" in job.report.read_text()


def test_both_arms_are_measured_on_the_same_held_out_positions(job):
    totals = [[run.counts.sum(axis=1).tolist() for run in arm.runs] for arm in job.results.arms]
    assert totals[0] == totals[1]
    parts = read_bed(job.out / "split.bed", Genome.open(example_genome()))
    assert sum(totals[0][0]) == parts.select("test").lengths.sum()
    assert [run.seed for run in job.results.arms[0].runs] == [0, 1]


def test_the_arms_differ_in_nothing_but_their_first_weights(job):
    recipes = [
        json.loads((job.out / arm / "results.json").read_text())["steps"]
        for arm in ("finetuned", "from-scratch")
    ]
    assert recipes == [3, 3]
    _, second, third = (shlex.split(command) for command in job.results.commands)
    differ = set(second) ^ set(third)
    assert differ == {"demo/finetuned", "demo/from-scratch", "--scratch"}


def test_the_region_is_held_out(job):
    region = job.results.region
    blocks = read_bed(job.out / "split.bed").select("test")
    assert any(b.start <= region.start and region.end <= b.end for b in blocks)
    assert {gene.strand for gene in region.genes} == {"+", "-"}
    assert all(len(track.forward) == region.end - region.start for track in region.tracks)


def test_the_model_opens_with_the_auto_class(job):
    model = AutoModelForTokenClassification.from_pretrained(job.model).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[0, 1, 2, 3]])).logits
    assert logits.shape == (1, 4, 3)
    assert set(model.config.id2label.values()) == {"intergenic", "forward", "reverse"}


def test_commands_are_ones_that_the_command_line_takes(job):
    assert_taken(job.results.commands)


def test_the_report_names_no_folder_of_the_machine(job):
    results = job.results
    said = [*results.commands, *results.next_commands, results.model_folder]
    assert not [words for words in said if " /" in f" {words}"]
    assert "NC_008253.fa.gz" in results.commands[0]
    text = job.report.read_text()
    for place in (str(job.out.parent), str(example_genome().parent), str(Path.home())):
        assert place not in text
    assert str(job.model) in job.summary  # who runs it sees where it is


def test_a_job_that_was_stopped_goes_on(job, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(job.out.parent / "cache"))
    make_small(monkeypatch)
    assert_goes_on(job, partial(main_job.run, **OPTIONS))


def test_the_table_holds_the_comparison(job):
    for name in ("MCC", "F1 reverse", "gain in MCC", "Markov, order 5", "next:"):
        assert name in job.summary


def test_fine_tuning_steps_follow_the_measured_speed():
    slow = SimpleNamespace(letters_per_second=1.0, receptive_field=697)
    fast = SimpleNamespace(letters_per_second=1e9, receptive_field=697)
    assert main_job.finetuning_steps(CONVNOVA, slow, 30) == main_job.FEWEST_STEPS
    assert main_job.finetuning_steps(CONVNOVA, fast, 30) == CONVNOVA.most_steps
