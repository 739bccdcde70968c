"""The same numbers on every machine: what is measured is float32, training says what it took."""

import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest
import torch
from small_cases import gene_genome, model_folder, motif_rows, write_csv

from helicon.errors import InputError
from helicon.machine.precision import SWITCH, training_precision
from helicon.training.run.folder import read_recipe


def test_auto_asks_the_hardware_unless_the_switch_says(monkeypatch):
    monkeypatch.delenv(SWITCH)
    assert training_precision("bfloat16", "cpu") == "bfloat16"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert training_precision("auto", "cpu") == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert training_precision("auto", "cpu") == "bfloat16"
    monkeypatch.setenv(SWITCH, "0")
    assert training_precision("auto", "cpu") == "float32"
    with pytest.raises(InputError, match="float16"):
        training_precision("float16")
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(InputError, match=f"{SWITCH}: must be 0 or 1, not 'yes'"):
        training_precision("auto")


def helicon(*words, switch):
    """Run a verb in a process of its own; give its JSON and what it said."""
    command = [sys.executable, "-m", "helicon", *map(str, words), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, SWITCH: switch}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(("switch", "taken"), [("0", "float32"), ("1", "bfloat16")])
def test_the_whole_path_measures_alike_with_and_without_bfloat16(tmp_path, switch, taken):
    genome, _ = gene_genome(tmp_path)
    train = write_csv(tmp_path / "train.csv", motif_rows(60, 0))
    test = write_csv(tmp_path / "test.csv", motif_rows(40, 1))
    small = ["--model", model_folder(tmp_path / "new"), "--length", 64, "--batch-size", 4]
    small += ["--split-block", 1000]
    words = ["pretrain", genome, "--out", tmp_path / "lm", "--steps", 3, *small]
    pretrained, said = helicon(*words, switch=switch)
    assert pretrained["precision"] == taken
    assert f"train in {taken}" in said
    words = ["finetune", tmp_path / "lm", train, "--test", test, "--out", tmp_path / "task"]
    tuned, said = helicon(*words, "--steps", 4, switch=switch)
    assert taken in said
    assert read_recipe(tmp_path / "task" / "recipe.toml")["taken"] == {"precision": taken}
    assert json.loads((tmp_path / "task" / "results.json").read_text())["precision"] == taken
    # The same model is measured on a machine of either kind, to the last digit.
    for other in ("0", "1"):
        words = ["evaluate", tmp_path / "task", test]
        measured, _ = helicon(*words, switch=other)
        final = tuned["test"]
        assert {name: measured[name] for name in final} == final
        words = ["predict", tmp_path / "task", test, "--out", tmp_path / f"p{other}.parquet"]
        helicon(*words, switch=other)
        predicted = pl.read_parquet(tmp_path / f"p{other}.parquet")
        at_the_end = pl.read_parquet(tmp_path / "task" / "predictions" / "test.parquet")
        assert predicted["prediction"].to_list() == at_the_end["prediction"].to_list()
        gap = predicted["probability/1"] - at_the_end["probability/1"]
        assert gap.abs().max() < 1e-6


@pytest.mark.parametrize(("first", "then"), [("0", "1"), ("1", "0")])
def test_a_resumed_run_keeps_the_precision_that_it_began_with(tmp_path, first, then):
    train = write_csv(tmp_path / "train.csv", motif_rows(60, 0))
    source = model_folder(tmp_path / "source")
    words = ["finetune", source, train, "--steps", 4, "--out"]
    helicon(*words, tmp_path / "whole", switch=first)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    (tmp_path / "stopped" / "results.json").unlink()
    shutil.rmtree(tmp_path / "stopped" / "checkpoints")
    (tmp_path / "stopped" / "metrics.jsonl").write_text("")
    helicon(*words, tmp_path / "stopped", "--resume", switch=then)
    runs = [tmp_path / "whole", tmp_path / "stopped"]
    results = [json.loads((run / "results.json").read_text()) for run in runs]
    assert results[0]["precision"] == results[1]["precision"]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
