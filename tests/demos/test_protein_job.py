"""The protein job from end to end, with few genes and at a size that takes seconds."""

import itertools
import json
import shlex
from functools import partial
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from small_jobs import assert_goes_on, assert_taken
from transformers import AutoModelForSequenceClassification

from helicon.cli.application import application
from helicon.data.catalogue.example import example_genes
from helicon.demos import protein_job, proteome
from helicon.metrics.measures import spearman
from helicon.report.results.protein_demo import ProteinDemoResults
from helicon.training.finetune.result import FinetuneResult

OPTIONS = {"minutes": 0.01, "seeds": 2, "seed": 0}


def make_small(patch):
    patch.setitem(protein_job.PRETRAINING, "backbone", {"d_model": 8, "blocks": 2})
    patch.setattr(protein_job, "FEWEST_STEPS", 3)
    patch.setattr(protein_job, "MOST_STEPS", 3)
    patch.setattr(proteome, "example_genes", lambda: itertools.islice(example_genes(), 400))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        make_small(patch)
        yield protein_job.run(folder / "demo", **OPTIONS)


def table(job):
    return pl.read_csv(job.out / "genes.csv")


def test_everything_is_left_in_the_folder(job):
    names = {p.name for p in job.out.iterdir()}
    assert {"proteome.fasta", "genes.csv", "clusters.tsv"} <= names
    assert {"pretrained", "finetuned", "from-scratch", "probed", "report.html"} <= names
    assert ProteinDemoResults.read(job.out / "results.json") == job.results
    assert "from scratch" in job.report.read_text()


def test_pretraining_and_the_task_hold_out_the_same_clusters(job):
    genes = table(job).join(
        pl.read_csv(
            job.out / "clusters.tsv",
            separator="\t",
            has_header=False,
            new_columns=["name", "cluster"],
        ),
        on="name",
    )
    parts = {part: rows for (part,), rows in genes.group_by("set")}
    pretrained = json.loads((job.out / "pretrained" / "results.json").read_text())
    for part, rows in parts.items():
        assert pretrained["proteins"]["sequences"][part] == len(rows)
        assert pretrained["proteins"]["clusters"][part] == rows["cluster"].n_unique()
        assert pretrained["split"][part] == rows["sequence"].str.len_chars().sum()
        assert job.results.split[part].proteins == len(rows)
    clusters = [set(rows["cluster"]) for rows in parts.values()]
    assert len(parts) == 3
    assert not any(one & two for one, two in itertools.combinations(clusters, 2))


def test_pretraining_reads_the_rows_that_the_table_sets_aside(job, monkeypatch):
    """Not the same number alone: the very same proteins, as `pretrain` itself deals them out."""
    from helicon.training.pretrain import proteins as pretrain_proteins

    dealt = {}

    def watch(store, *arguments, **options):
        rows = split(store, *arguments, **options)
        dealt.update({part: {store.name(int(i)) for i in rows[part]} for part in rows})
        raise InterruptedError

    split = pretrain_proteins.split_clusters
    monkeypatch.setattr(pretrain_proteins, "split_clusters", watch)
    monkeypatch.setenv("HELICON_CACHE", str(job.out.parent / "cache"))
    monkeypatch.chdir(job.out.parent)  # commands name files as they stand beside the job
    words = shlex.split(job.results.commands[0])[1:]
    words[words.index("--out") + 1] = str(job.out.parent / "again")
    command, bound, _ = application(words).parse_args(words)
    with pytest.raises(InterruptedError):
        command(*bound.args, **bound.kwargs)
    for (part,), rows in table(job).group_by("set"):
        assert dealt[part] == set(rows["name"])


def test_the_arms_are_measured_on_the_test_genes(job):
    test = table(job).filter(pl.col("set") == "test")
    assert job.results.truth == pytest.approx(test["cai"].to_list(), abs=1e-6)
    for arm in (*job.results.arms, *job.results.baselines):
        assert all(len(run.values) == len(test) for run in arm.runs)
    assert [run.seed for run in job.results.arms[0].runs] == [0, 1]
    written = json.loads((job.out / "finetuned" / "seed-1" / "results.json").read_text())
    found = job.results.measure(job.results.arms[0]).values[1]
    assert found == pytest.approx(written["test"]["spearman"], abs=1e-6)


def test_the_arms_differ_in_nothing_but_their_first_weights(job):
    _, second, third, _ = (shlex.split(command) for command in job.results.commands)
    differ = set(second) ^ set(third)
    assert differ == {f"{job.out.name}/finetuned", f"{job.out.name}/from-scratch", "--scratch"}


def test_validation_genes_choose_the_model_that_is_kept(job):
    chosen = {}
    for name in ("finetuned", "from-scratch", "probed"):
        found = FinetuneResult.read(job.out / name)
        chosen[found.model] = found.chosen_by
    assert job.model == max(chosen, key=chosen.get)
    names = {"finetuned": "pretrained", "from-scratch": "from scratch"}
    kept = job.model.parent.name
    assert job.results.kept_arm.name == names.get(kept, "pretrained, linear probe")


def test_the_composition_baseline_is_a_ridge_regression(job):
    """The normal equations, for each penalty that is tried; validation genes choose."""
    genes = table(job)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    x = np.array([[s.count(a) / len(s) for a in letters] for s in genes["sequence"]])
    y, part = genes["cai"].to_numpy(), genes["set"].to_numpy()
    train = part == "train"
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    centred = y[train] - y[train].mean()
    best = (-2.0, None)
    for alpha in 10.0 ** np.arange(-1, 5):
        weights = np.linalg.solve(x[train].T @ x[train] + alpha * np.eye(20), x[train].T @ centred)
        chosen = spearman(y[part == "validation"], x[part == "validation"] @ weights)
        best = max(best, (chosen, -alpha, x[part == "test"] @ weights), key=lambda b: b[0])
    (composition,) = (b for b in job.results.baselines if b.name == "amino-acid composition")
    wanted = best[2] + y[train].mean()
    assert composition.runs[0].values == pytest.approx(wanted, abs=1e-4)


def test_the_model_opens_with_the_auto_class(job):
    model = AutoModelForSequenceClassification.from_pretrained(job.model).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[10, 0, 1, 2]])).logits
    assert logits.shape == (1, 1)


def test_commands_are_ones_that_the_command_line_takes(job):
    assert_taken((*job.results.commands, *job.results.next_commands))


def test_a_job_that_was_stopped_goes_on(job, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(job.out.parent / "cache"))
    make_small(monkeypatch)
    assert_goes_on(job, partial(protein_job.run, **OPTIONS))


def test_the_table_and_the_object_hold_the_comparison(job):
    for name in ("Spearman", "from scratch", "dipeptide composition", "Markov, order 2", "next:"):
        assert name in job.summary
    found = job.as_dict()
    assert len(found["spearman"]["pretrained"]) == 2
    assert found["gain"] == pytest.approx(job.results.gain.mean)
    assert set(found["baselines"]) == {"Markov, order 0", "Markov, order 2"}


def test_fine_tuning_steps_follow_the_measured_speed():
    proteins = SimpleNamespace(sequences={"train": 10})
    slow = SimpleNamespace(letters_per_second=1.0, split={"train": 3000}, proteins=proteins)
    fast = SimpleNamespace(letters_per_second=1e9, split={"train": 3000}, proteins=proteins)
    assert protein_job.finetuning_steps(slow, 30) == protein_job.FEWEST_STEPS
    assert protein_job.finetuning_steps(fast, 30) == protein_job.MOST_STEPS
