"""The main job with FinDNA from end to end, at a size that takes seconds."""

import html
import json
import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from small_jobs import assert_goes_on, assert_taken, make_small

from helicon.data.annotation.annotation import read_annotation
from helicon.data.catalogue.example import example_annotation, example_genome
from helicon.data.genome.genome import Genome
from helicon.demos import main_job
from helicon.demos.systems import FINDNA
from helicon.forward.outputs import training_tiling
from helicon.models.hub import load
from helicon.report.results.demo import DemoResults
from helicon.training.kinds import positions
from helicon.training.run.folder import read_recipe

BACKBONE = {"group": 2, "groups": 11, "layers": 1, "blocks": 2, "hidden": 8}
SMALL = replace(FINDNA, backbone=BACKBONE, most_steps=3)
OPTIONS = {"system": SMALL, "minutes": 0.01, "seeds": 2, "seed": 0}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        make_small(patch)
        patch.setattr(positions, "PROBE_POSITIONS", 4_096)
        yield main_job.run(folder / "demo", **OPTIONS)


def weights(folder):
    state = load(folder).backbone.state_dict()
    return {name: value.numpy() for name, value in state.items()}


def test_everything_is_left_in_the_folder(job):
    names = {p.name for p in job.out.iterdir()}
    assert {"pretrained", "finetuned", "from-scratch", "probed", "probed-untrained"} <= names
    assert {"model", "student"} <= {p.name for p in (job.out / "pretrained").iterdir()}
    assert DemoResults.read(job.out / "results.json") == job.results


def test_the_probes_are_of_the_teacher_and_of_an_untrained_network(job):
    teacher, student = (weights(job.out / "pretrained" / name) for name in ("model", "student"))
    probed = weights(job.out / "probed" / "model")
    fresh = weights(job.out / "probed-untrained" / "model")
    assert all(np.array_equal(probed[name], value) for name, value in teacher.items())
    assert not all(np.array_equal(probed[name], value) for name, value in student.items())
    assert not any(np.array_equal(fresh[name], value) for name, value in teacher.items())
    names = [arm.name for arm in job.results.arms]
    assert names == ["pretrained", "from scratch", "probe of pretrained", "probe of untrained"]
    totals = {tuple(run.counts.sum(axis=1)) for arm in job.results.arms for run in arm.runs}
    assert len(totals) == 1  # all are measured on the same positions


def test_windows_of_training_and_tiles_of_measuring_are_circles_of_one_length(job):
    recipe = read_recipe(job.out / "finetuned" / "seed-0" / "recipe.toml")["recipe"]
    length, context = recipe["length"], recipe["context"]
    model = load(job.out / "pretrained")
    assert training_tiling(model, length, context).size == length
    assert model.backbone.config.circle == length + 2 * context


def test_commands_are_ones_that_the_command_line_takes(job):
    assert_taken(job.results.commands)
    assert "--objective self-distillation" in job.results.commands[0]


def test_the_page_shows_the_teacher_and_what_a_short_run_does_otherwise(job):
    page = html.unescape(job.report.read_text())
    watch = job.results.pretraining.watch
    assert len(watch.spread) == len(job.results.pretraining.training) > 0
    for said in (watch.verdict()[:30], "Entropy over the CLS tokens", "Norm of the centre"):
        assert said in page, said
    assert job.results.pretraining.note in page
    assert "pretrained by self-distillation" in page
    assert "Each probe is one run." in page


def test_the_note_says_what_a_teacher_keeps_of_its_weights_half_way():
    """Against the integral of 1 - momentum over the second half, 1/4 - 1/(2 pi) of the first's."""
    said = [float(part) for part in re.findall(r"([\d.]+) %", FINDNA.note(400))]
    firsts = (0.996, FINDNA.pretraining["teacher_momentum"])
    share = 0.25 - 1 / (2 * math.pi)
    wanted = [100 * math.exp(-400 * (1 - first) * share) for first in firsts]
    assert said == pytest.approx(wanted, abs=1)


def test_a_job_that_was_stopped_goes_on(job, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(job.out.parent / "cache"))
    make_small(monkeypatch)
    assert_goes_on(job, partial(main_job.run, **OPTIONS))


def test_the_table_and_the_object_hold_all_arms(job):
    for name in ("probe of untrained", "F1 reverse", "gain in MCC", "FinDNA", "next:"):
        assert name in job.summary
    assert max(map(len, job.summary.splitlines()[:6])) <= 88
    assert json.dumps(job.as_dict())
    assert len(job.as_dict()["mcc"]["probe of pretrained"]) == 1


def test_the_region_is_predicted_in_windows_like_those_of_training(job):
    """A tile of the region, run by itself as a window with its context, says the same."""
    import torch

    region = job.results.region
    genome = Genome.open(example_genome())
    annotation = read_annotation(example_annotation(), genome)
    model = load(job.out / "finetuned" / "model")
    start, span = region.start - 64, 640
    chrom = genome.index(region.chrom)
    with torch.no_grad():
        both = []
        for reverse in (False, True):
            ids = genome.windows([chrom], [start], span, reverse=np.array([reverse]))
            both.append(model(torch.from_numpy(ids).long()).logits[0].numpy())
    logits = (both[0] + both[1][::-1][:, annotation.opposite]) / 2
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    chances = (odds / odds.sum(-1, keepdims=True))[64:-64]
    found = region.tracks[0].forward[:512]
    assert found == pytest.approx(chances[:, annotation.classes.index("forward")], abs=2e-3)
