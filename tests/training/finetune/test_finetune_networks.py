"""Which network is adapted: teacher or student, pretrained or with random weights."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from small_cases import CONFIG, motif_rows, write_csv
from transformers import AutoModelForSequenceClassification

from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.forward.outputs import table_outputs
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune
from helicon.training.run.folder import read_recipe

QUICK = {"steps": 2, "batch_size": 8, "accelerator": "cpu", "precision": "float32"}


def language_model(seed):
    torch.manual_seed(seed)
    config = HeliconConfig.of(CONFIG)
    config.cls_tokens = 2
    return HeliconForMaskedLM(config)


@pytest.fixture
def distilled(tmp_path):
    """The folder of a self-distilled run, as far as models go."""
    save(language_model(1), tmp_path / "distilled" / "model")
    save(language_model(2), tmp_path / "distilled" / "student")
    return str(tmp_path / "distilled")


@pytest.fixture
def files(tmp_path):
    parts = {"data": 60, "valid": 30, "test": 40}
    return {
        name: write_csv(tmp_path / f"{name}.csv", motif_rows(n, i))
        for i, (name, n) in enumerate(parts.items())
    }


def same(a, b):
    return all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize(("network", "seed"), [(None, 1), ("teacher", 1), ("student", 2)])
def test_the_flag_chooses_what_is_adapted(tmp_path, distilled, files, network, seed):
    found = finetune(
        distilled, **files, out=tmp_path / "run", network=network, freeze=True, accelerator="cpu"
    )
    assert same(load(found.model).backbone, language_model(seed).backbone)
    recipe = read_recipe(found.run / "recipe.toml")
    assert recipe["recipe"].get("network") == network
    card = (found.model / "README.md").read_text()
    assert f"| Trained from | {distilled}{f' ({network})' if network else ''} |" in card


def test_a_model_without_a_student_leaves_nothing(tmp_path, distilled, files):
    with pytest.raises(InputError, match="model: has no student network"):
        finetune(f"{distilled}/model", **files, out=tmp_path / "run", network="student", **QUICK)
    assert not (tmp_path / "run").exists()


def test_the_student_is_measured_as_a_language_model(tmp_path, distilled):
    genome = tmp_path / "genome.fa"
    genome.write_text(">chr1\n" + "ACGTTGCAAC" * 50 + "\n")
    options = {"length": 64, "accelerator": "cpu", "precision": "float32"}
    one, two = (evaluate(distilled, genome, network=n, **options) for n in (None, "student"))
    assert one.scores.metrics["loss"] != two.scores.metrics["loss"]
    assert (one.as_dict()["network"], two.as_dict()["network"]) == (None, "student")


@pytest.mark.parametrize("freeze", [False, True])
def test_cls_tokens_are_pooled_in_training_and_by_the_saved_model(
    tmp_path, distilled, files, freeze
):
    options = {"freeze": True, "accelerator": "cpu"} if freeze else QUICK
    found = finetune(distilled, **files, out=tmp_path / "run", pool="cls", **options)
    table = read_table(files["test"], target="label")
    opened = AutoModelForSequenceClassification.from_pretrained(found.model)
    assert (opened.config.pool, opened.config.cls_tokens) == ("cls", 2)
    outputs = table_outputs(opened, table, 7)
    frame = pl.read_parquet(found.run / "predictions" / "test.parquet")
    exp = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    assert frame["probability/1"].to_numpy() == pytest.approx(
        (exp / exp.sum(axis=1, keepdims=True))[:, 1], abs=1e-5
    )


def test_cls_pooling_of_a_model_without_tokens_leaves_nothing(tmp_path, files):
    with pytest.raises(InputError, match="pool: cls needs a model"):
        finetune("convnova-tiny", **files, out=tmp_path / "run", pool="cls", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_probe_of_random_weights_follows_from_the_seed(tmp_path, distilled, files):
    options = {**files, "scratch": True, "freeze": True, "accelerator": "cpu"}
    runs = [
        finetune(distilled, out=tmp_path / name, seed=seed, **options)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    a, b, c = (load(run.model) for run in runs)
    assert same(a, b)
    assert not same(a.backbone, c.backbone) and not same(a.backbone, language_model(1).backbone)
    assert runs[0].steps == 0 and any("of random weights" in note for note in runs[0].notes)


def test_probes_over_seeds_give_mean_and_spread(tmp_path, distilled, files, capsys):
    options = {**files, "freeze": True, "seeds": 3, "accelerator": "cpu"}
    fresh = finetune(distilled, out=tmp_path / "fresh", scratch=True, **options)
    values = [run.scores["test"].metrics["loss"] for run in fresh.runs]
    spread = fresh.spread["test"]["loss"]
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.sd == pytest.approx(np.std(values, ddof=1)) and spread.sd > 0
    assert "the seed decides nothing" not in capsys.readouterr().err
    kept = finetune(distilled, out=tmp_path / "kept", **options)
    assert kept.spread["test"]["loss"].sd == 0
    assert "the seed decides nothing here" in capsys.readouterr().err
    results = json.loads((tmp_path / "fresh" / "results.json").read_text())
    row = next(r for r in results["spread"] if (r["part"], r["measure"]) == ("test", "loss"))
    assert row["n"] == 3 and row["low"] < row["mean"] < row["high"]


def test_scratch_and_adapters_exclude_each_other(tmp_path, distilled, files):
    with pytest.raises(InputError, match="scratch, which draws all weights anew, or lora"):
        finetune(distilled, **files, out=tmp_path / "run", scratch=True, lora=2, **QUICK)
