import inspect
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from small_cases import gene_genome, letters, model_folder, motif_rows, write_csv
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

import helicon  # noqa: F401
from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.forward.outputs import table_outputs
from helicon.metrics import measures as metrics
from helicon.models.hub import load
from helicon.models.huggingface.folder import weights_hash
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.finetune.finetune import finetune, finetune_genome
from helicon.training.finetune.result import FinetuneResult
from helicon.training.kinds.known import kinds
from helicon.training.kinds.labelled_genome import LabelledGenome, labelled_windows
from helicon.training.kinds.sequences import Sequences
from helicon.training.loop import fit as loop
from helicon.training.loop.options import Machine
from helicon.training.run.folder import read_recipe
from helicon.training.run.options import names_of

QUICK = {"steps": 4, "batch_size": 8, "accelerator": "cpu", "precision": "float32"}


@pytest.fixture
def model(tmp_path):
    return str(model_folder(tmp_path / "source", seed=5))


@pytest.fixture
def files(tmp_path):
    return {
        "data": write_csv(tmp_path / "train.csv", motif_rows(80, 0)),
        "valid": write_csv(tmp_path / "valid.csv", motif_rows(30, 1)),
        "test": write_csv(tmp_path / "test.csv", motif_rows(40, 2)),
    }


def test_every_option_is_written_once_and_listed():
    parameters = inspect.signature(finetune).parameters
    documented = inspect.getdoc(finetune)
    assert all(f"\n    {name}: " in documented for name in parameters)
    groups = [*kinds(), Adapt, Fit, Machine]
    options = {name for group in groups for name in names_of(group, "finetune")}
    assert set(parameters) == {"model", "data", "out", "resume"} | options
    with pytest.raises(TypeError, match="did you mean 'steps'"):
        finetune("convnova-tiny", "x.csv", out="run", step=2)
    with pytest.raises(InputError, match=r"steps: must be a whole number, not 1\.5"):
        finetune("convnova-tiny", "x.csv", out="run", steps=1.5)


def test_options_come_by_name_or_in_groups(tmp_path, model, files):
    by_name = finetune(model, **files, out=tmp_path / "a", dropout=0.2, **QUICK)
    kind = Sequences(files["data"], valid=files["valid"], test=files["test"])
    groups = {"adapt": Adapt(dropout=0.2), "fit": Fit(steps=4, batch_size=8)}
    grouped = finetune(model, kind, out=tmp_path / "b", accelerator="cpu", **groups)
    a, b = (load(run.model).state_dict() for run in (by_name, grouped))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_csv_needs_nothing_but_model_file_and_column(tmp_path, capsys):
    rows = [(text, "yes" if y else "no") for text, y in motif_rows(300, 5)]
    train = write_csv(tmp_path / "mine.csv", rows, "Sequence,active")
    source = str(model_folder(tmp_path / "source"))
    found = finetune(source, train, target="active", out=tmp_path / "run", accelerator="cpu")
    assert found.problem == "single_label"
    assert found.names == ("no", "yes")
    said = capsys.readouterr().err
    assert "2 classes (no, yes)" in said
    assert "validation: 30 rows held out of 300" in said
    assert "yardstick" in said
    assert "(30 epochs)" in said
    assert found.scores["validation"].metrics["mcc"] > 0.8
    opened = AutoModelForSequenceClassification.from_pretrained(found.model)
    assert opened.config.id2label == {0: "no", 1: "yes"}


def test_results_predictions_and_saved_model_agree(tmp_path, model, files):
    found = finetune(model, **files, out=tmp_path / "run", **QUICK)
    table = read_table(files["test"], target="label")
    outputs = table_outputs(load(found.run), table, 16)
    matrix = metrics.confusion_matrix(table.labels, outputs.argmax(axis=1), 2)
    results = json.loads((found.run / "results.json").read_text())
    assert results["test"]["confusion"] == matrix.tolist()
    assert results["test"]["mcc"] == pytest.approx(metrics.mcc(matrix))
    assert results["kmer_baseline"]["k"] == 5
    assert set(results["provenance"]["data"]) == {"data", "valid", "test", "model"}
    frame = pl.read_parquet(found.run / "predictions" / "test.parquet")
    assert frame["row"].to_list() == list(range(40))
    assert frame["prediction"].to_list() == [str(i) for i in outputs.argmax(axis=1)]
    exp = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    assert frame["probability/1"].to_numpy() == pytest.approx(
        (exp / exp.sum(axis=1, keepdims=True))[:, 1], abs=1e-6
    )
    assert len(pl.read_parquet(found.run / "predictions" / "validation.parquet")) == 30
    assert read_recipe(found.run / "recipe.toml")["recipe"]["steps"] == 4
    again = FinetuneResult.read(found.run)
    assert again.scores["test"].metrics == pytest.approx(found.scores["test"].metrics)
    assert "test" in again.summary


def test_the_weights_of_a_model_in_shards_are_recorded(tmp_path, model, files):
    load(model).save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    found = finetune(str(tmp_path / "shards"), files["data"], out=tmp_path / "run", **QUICK)
    results = json.loads((found.run / "results.json").read_text())
    assert results["provenance"]["data"]["model"] == weights_hash(tmp_path / "shards")


def test_the_test_file_has_no_influence_on_the_model(tmp_path, model, files):
    one = finetune(model, **files, out=tmp_path / "one", **QUICK)
    files["test"] = write_csv(tmp_path / "other.csv", motif_rows(10, 9))
    two = finetune(model, **files, out=tmp_path / "two", **QUICK)
    a, b = (load(run.model).state_dict() for run in (one, two))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_seeds_are_runs_of_their_own_put_together(tmp_path, model, files):
    found = finetune(model, **files, out=tmp_path / "run", seeds=2, seed=3, **QUICK)
    assert [run.run.name for run in found.runs] == ["seed-3", "seed-4"]
    values = [run.scores["test"].metrics["mcc"] for run in found.runs]
    spread = found.spread["test"]["mcc"]
    assert spread.mean == pytest.approx(np.mean(values))
    assert (spread.low, spread.high) == metrics.bootstrap_interval(values)
    best = max(found.runs, key=lambda run: run.scores["validation"].metrics["mcc"])
    kept, its = load(found.run).state_dict(), load(best.run).state_dict()
    assert all(torch.equal(kept[key], its[key]) for key in kept)
    results = json.loads((found.run / "results.json").read_text())
    assert results["test"]["mcc"] == pytest.approx(spread.mean)
    assert ("test", "mcc") in {(row["part"], row["measure"]) for row in results["spread"]}
    moved = tmp_path / "moved"
    shutil.move(found.run, moved)
    assert FinetuneResult.read(moved).spread["test"]["mcc"] == spread


def test_scratch_has_other_weights_than_the_source(tmp_path, model, files):
    frozen = {"weight_decay": 0.0, "lr": 1e-9, **QUICK}
    source = load(model).backbone.state_dict()
    kept = finetune(model, **files, out=tmp_path / "a", **frozen)
    fresh = finetune(model, **files, out=tmp_path / "b", scratch=True, **frozen)
    for found, equal in ((kept, True), (fresh, False)):
        weights = load(found.model).backbone.state_dict()
        assert torch.allclose(weights["stem.weight"], source["stem.weight"], atol=1e-6) == equal


def test_a_frozen_backbone_keeps_its_weights_and_its_head_learns(tmp_path, model, files):
    found = finetune(
        model, **files, out=tmp_path / "run", freeze=True, head="mlp", lr=0.01, **QUICK
    )
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert found.steps == 4


def test_lora_changes_linear_layers_alone_and_saves_a_plain_model(tmp_path, model, files):
    pytest.importorskip("peft")
    found = finetune(model, **files, out=tmp_path / "run", lora=2, lr=0.01, **QUICK)
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(before[key].ndim == 2 for key in changed)


def test_lora_without_peft_says_what_to_install(tmp_path, model, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'helicon\[peft\]'"):
        finetune(model, **files, out=tmp_path / "run", lora=2, **QUICK)


def test_linear_probe_result_and_saved_model_agree(tmp_path, model, files):
    found = finetune(model, **files, out=tmp_path / "run", freeze=True, accelerator="cpu")
    assert found.steps == 0
    table = read_table(files["test"], target="label")
    outputs = table_outputs(load(found.model), table, 16)
    matrix = metrics.confusion_matrix(table.labels, outputs.argmax(axis=1), 2)
    assert (found.scores["test"].confusion == matrix).all()
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("freeze", [False, True])
def test_regression_is_saved_in_the_unit_of_the_data(tmp_path, model, freeze):
    rng = np.random.default_rng(0)
    texts = [letters(rng, 30) for _ in range(120)]
    rows = [(text, round(500 + 20 * text.count("A") + rng.normal(), 2)) for text in texts]
    train = write_csv(tmp_path / "train.csv", rows, "sequence,expression")
    options = {"pool": "mean", "freeze": freeze, "accelerator": "cpu"}
    options |= {} if freeze else {"epochs": 25, "lr": 0.02}
    found = finetune(model, train, target="expression", out=tmp_path / "run", test=train, **options)
    assert found.problem == "regression"
    assert found.scores["test"].metrics["spearman"] > 0.5
    outputs = table_outputs(load(found.model), read_table(train, target="expression"), 16)[:, 0]
    truth = np.array([value for _, value in rows])
    assert metrics.rmse(truth, outputs) == pytest.approx(
        found.scores["test"].metrics["rmse"], rel=1e-3
    )
    assert metrics.rmse(truth, outputs) < truth.std()


def test_several_labels(tmp_path, model):
    rows = [(text, y, int(text.count("A") > len(text) / 4), 0) for text, y in motif_rows(120, 4)]
    train = write_csv(tmp_path / "train.csv", rows, "sequence,motif,rich,never")
    found = finetune(model, train, target="motif,rich,never", out=tmp_path / "run", **QUICK)
    assert found.problem == "multi_label"
    assert found.scores["validation"].skipped == ["never"]
    opened = AutoModelForSequenceClassification.from_pretrained(found.model)
    assert opened.config.problem_type == "multi_label_classification"


def test_class_weights_reach_the_loss_and_the_saved_model(tmp_path, model):
    rows = [(text, int(i % 8 == 0)) for i, (text, _) in enumerate(motif_rows(80, 4))]
    train = write_csv(tmp_path / "train.csv", rows)
    found = finetune(model, train, out=tmp_path / "run", class_weights="balanced", **QUICK)
    weights = load(found.model).config.class_weights
    assert weights[1] / weights[0] == pytest.approx(7, rel=0.05)


def test_a_genome_and_its_genes(tmp_path, model):
    fasta, gff = gene_genome(tmp_path)
    found = finetune(
        model,
        fasta,
        labels=gff,
        out=tmp_path / "run",
        length=128,
        labelled_windows=40,
        split_block=1_000,
        steps=60,
        batch_size=8,
        lr=0.02,
        accelerator="cpu",
        both_strands=True,
    )
    assert found.names == ("intergenic", "forward", "reverse")
    assert found.scores["test"].metrics["mcc"] > 0.2
    assert found.scores["test"].confusion.sum() > 900
    frame = pl.read_parquet(found.run / "predictions" / "test.parquet")
    assert frame.columns == ["chrom", "start", "end", "label", "prediction", "probability"]
    opened = AutoModelForTokenClassification.from_pretrained(found.model)
    assert opened.config.id2label[2] == "reverse"


def test_a_genome_divided_in_python(tmp_path, model):
    fasta, gff = gene_genome(tmp_path, 6_000)
    genome = Genome.open(fasta)
    whole = Intervals.of(genome.names, [0, 0], [0, 4_000], [4_000, 6_000])
    data = LabelledGenome(
        genome=genome,
        annotation=read_annotation(gff, genome),
        train=labelled_windows(whole.take(np.array([0])), 128, 10, seed=1),
        valid=whole.take(np.array([1])),
        test=None,
        length=128,
        context=8,
    )
    found = finetune_genome(model, data, out=tmp_path / "run", adapt=Adapt(freeze=True))
    assert set(found.scores) == {"validation"}
    assert found.scores["validation"].confusion.sum() == 2_000
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_values_of_a_genome(tmp_path, model):
    fasta, _ = gene_genome(tmp_path, 6_000)
    steps = np.repeat(np.random.default_rng(0).integers(0, 50, 60), 1)
    lines = [f"chr\t{100 * i}\t{100 * i + 100}\t{v}" for i, v in enumerate(steps)]
    track = tmp_path / "signal.bedgraph"
    track.write_text("\n".join(lines) + "\n")
    found = finetune(
        model, fasta, labels=track, out=tmp_path / "run", length=64, split_block=500, **QUICK
    )
    assert found.problem == "regression"
    assert abs(found.scores["test"].metrics["rmse"]) < 100


class Stopped(Exception):
    pass


def test_a_stopped_run_ends_as_one_left_alone(tmp_path, model, files, monkeypatch):
    options = {**files, **QUICK, "steps": 12, "eval_every": 2}
    whole = finetune(model, out=tmp_path / "whole", **options)
    whole_step = loop._Fit._step

    def stopping(self, step, batches):
        if step == 6:
            raise Stopped
        return whole_step(self, step, batches)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Fit, "_step", stopping)
        with pytest.raises(Stopped):
            finetune(model, out=tmp_path / "stopped", **options)
    with pytest.raises(InputError, match="--resume"):
        finetune(model, out=tmp_path / "stopped", **options)
    again = finetune(model, out=tmp_path / "stopped", resume=True, **options)
    a, b = (load(run.model).state_dict() for run in (whole, again))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_named_size_starts_from_weights_that_the_seed_determines(tmp_path, files):
    options = {**files, **QUICK, "steps": 1}
    runs = [finetune("convnova-tiny", out=tmp_path / name, **options) for name in "ab"]
    a, b = (load(run.model).state_dict() for run in runs)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any("from random weights" in note for note in runs[0].notes)


def test_a_finished_run_is_not_done_again(tmp_path, model, files):
    found = finetune(model, **files, out=tmp_path / "run", **QUICK)
    with pytest.raises(InputError, match="holds a finished finetune run"):
        finetune(model, **files, out=tmp_path / "run", **QUICK)
    stamp = (found.model / "model.safetensors").stat().st_mtime_ns
    again = finetune(model, **files, out=tmp_path / "run", resume=True, **QUICK)
    assert (found.model / "model.safetensors").stat().st_mtime_ns == stamp
    assert again.scores["test"].metrics == pytest.approx(found.scores["test"].metrics)


WRONG = {
    "one class only": ([("ACGTACGTAC", 1)] * 20, "sequence,label", {}, "one class only"),
    "label missing": (
        [("ACGTACGTAC", 1), ("ACGTACGTAA", "")], "sequence,label", {}, "line 3.*missing",
    ),
    "column absent": (motif_rows(8), "sequence,klass", {}, "no column 'label'.*sequence, klass"),
    "too few rows": (
        [("ACGTACGTAC", 0), ("ACGTACGTAA", 1)], "sequence,label", {}, "cannot be divided",
    ),
    "a protein": ([("MKVLAAGIRR", i % 2) for i in range(20)], "sequence,label", {}, "protein"),
    "text as numbers": (
        [("ACGTACGTAC", "a"), ("ACGTACGTAA", "b")], "sequence,label",
        {"task": "regression"}, "no number",
    ),
    "unknown task": (motif_rows(20), "sequence,label", {"task": "clustering"}, "task: must be"),
    "unknown monitor": (motif_rows(20), "sequence,label", {"monitor": "f1"}, "monitor: 'f1'"),
    "two lengths": (motif_rows(20), "sequence,label", {"epochs": 1.0}, "one of steps, epochs"),
    "genome option": (
        motif_rows(20), "sequence,label", {"labelled_windows": 5}, "labelled_windows: is no option",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, model, case):
    rows, header, options, words = WRONG[case]
    train = write_csv(tmp_path / "train.csv", rows, header)
    with pytest.raises(InputError, match=words) as said:
        finetune(model, train, out=tmp_path / "run", **{**QUICK, **options})
    assert "\n" not in str(said.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_class_that_training_lacks(tmp_path, model, files, part):
    files[part] = write_csv(tmp_path / "new.csv", [*motif_rows(10), ("ACGTACGTAC", 7)])
    with pytest.raises(InputError, match=r"new\.csv, line 12.*'7'"):
        finetune(model, **files, out=tmp_path / "run", **QUICK)


def test_validation_data_of_one_class(tmp_path, model, files):
    files["valid"] = write_csv(tmp_path / "new.csv", [("ACGTACGTAC", 1)] * 5)
    with pytest.raises(InputError, match="nothing can be chosen"):
        finetune(model, **files, out=tmp_path / "run", **QUICK)


def test_rows_that_stand_in_two_files_are_counted(tmp_path, model, files, capsys):
    finetune(model, files["data"], test=files["data"], out=tmp_path / "run", **QUICK)
    assert "test sequences also stand in the training data" in capsys.readouterr().err


def test_paths_may_be_text(tmp_path, model, files):
    found = finetune(model, str(files["data"]), out=str(tmp_path / "run"), **QUICK)
    assert found.run == Path(tmp_path / "run")
