"""Options by their old names, and processes that only look like one of several."""

from __future__ import annotations

import pytest

from helicon.cli import main
from helicon.cli.config import read_config
from helicon.cli.renamed import RENAMED, current_words
from helicon.errors import InputError
from helicon.machine.devices import start_processes

ONE = {"accelerator": "cpu", "devices": 1, "nodes": 1, "strategy": "auto", "precision": "float32"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("finetune m t.csv --rc-average", "finetune m t.csv --both-strands"),
        ("evaluate m t.csv --rc_average", "evaluate m t.csv --both-strands"),
        ("finetune m t.csv --no-rc-average", "finetune m t.csv --no-both-strands"),
        ("pretrain g.fa --test=chr8", "pretrain g.fa --test-chromosomes=chr8"),
    ],
)
def test_an_old_word_is_read_with_a_line_that_says_the_new_one(old, new, capsys):
    assert current_words(old.split()) == new.split()
    assert capsys.readouterr().err.count("\n") == 1
    assert current_words(new.split()) == new.split()
    assert capsys.readouterr().err == ""


def test_an_old_key_of_a_recipe_is_read_with_a_line_that_says_the_new_one(tmp_path, capsys):
    path = tmp_path / "recipe.toml"
    path.write_text('[pretrain]\nvalidation = ["chr8"]\nsteps = 5\n')
    held = read_config(path, "pretrain").config["pretrain"]
    assert held == {"valid_chromosomes": ["chr8"], "steps": 5}
    said = capsys.readouterr().err
    assert said == "helicon: the key validation is now called valid_chromosomes\n"


@pytest.mark.parametrize("verb", RENAMED)
def test_every_new_name_is_an_option(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    for new in RENAMED[verb].values():
        assert f"--{new.replace('_', '-')}"[:12] in shown


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_a_rank_in_the_environment_does_not_silence_a_process_alone(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "1")
    assert main(["info", "convnova-tiny", "--json"]) == 0
    assert '"d_model"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job"}, "SLURM_NTASKS"),
        ({"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere",
          "JSM_NAMESPACE_LOCAL_RANK": "0", "JSM_NAMESPACE_SIZE": "2"}, "LSB_DJOB_RANKFILE"),
    ],
)  # fmt: skip
def test_a_launcher_that_does_not_fit_is_named_with_what_to_do(values, named, monkeypatch):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{named} is set in the environment.*unset {named}"):
        start_processes(**ONE)
