"""The command line as a user meets it: exit codes, one-line errors, JSON, recipes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import helicon
import helicon.cli.info
import helicon.cli.pretrain
from helicon.cli import main
from helicon.cli.application import VERBS, application
from helicon.errors import InputError, WorkError


def helicon_process(*words: str, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "helicon", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


def test_help_comes_without_the_heavy_imports():
    code = (
        "import sys; from helicon.cli import main; main(['--help']); "
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert verb in done.stdout
    assert "helicon pretrain genome.fa.gz" in done.stdout


def test_a_process_ends_with_the_exit_code_and_one_line():
    done = helicon_process("info", "convnova-tny")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "helicon info: model 'convnova-tny': no such named size; did you mean convnova-tiny?\n"
    )


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == helicon.__version__


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: helicon {verb}" in out
    assert "--config" in out


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_commands_and_the_function_do_not_contradict(verb):
    app = application([verb])[verb]
    assert app.help.strip(), "a verb without a docstring"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pretrian"], "helicon: no verb 'pretrian'; did you mean pretrain?"),
        (["--cofnig", "x", "info"], "--cofnig"),
        (["info"], "requires an argument"),
        (["info", "convnova-tiny", "--lenght", "5"], "Did you mean --length?"),
        (["info", "convnova-tiny", "--length", "five"], "Invalid value for --length: unable to"),
        (["info", "convnova-tiny", "--length", "0"], "length: must be at least 1, not 0"),
        (["info", "convnova-tiny", "extra"], "extra"),
        (["pretrain", "x.fa", "--out", "o", "--schedule", "cosin"], "cosine"),
        (["data", "fetch", "gue-mose"], "did you mean gue-mouse"),
        (["data", "lst"], "lst"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("helicon")
    assert said in shown.err


def test_json_is_one_object_on_the_last_line(capsys):
    assert main(["info", "convnova-base", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["parameters"] == 1_772_933
    assert found["receptive_field"] == 193
    assert found["config"]["d_model"] == 128
    assert main(["data", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "gue-mouse" in {one["name"] for one in listed["result"]}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (WorkError("the disk is full"), 1, "helicon info: the disk is full\n"),
        (InputError("no such\nfile"), 2, "helicon info: no such file\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "helicon info: ZeroDivisionError: by zero; run with --debug to see where\n",
        ),
    ],
)
def test_errors_are_one_line_unless_debugging(error, code, said, monkeypatch, capsys):
    def fails(model: str) -> None:
        """Fail."""
        raise error

    monkeypatch.setattr(helicon.cli.info, "command", fails)
    assert main(["info", "x"]) == code
    assert capsys.readouterr().err == said
    assert main(["info", "x", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    def stopped(data: str, *, out: str, resume: bool = False) -> None:
        """Stop."""
        raise KeyboardInterrupt

    monkeypatch.setattr(helicon.cli.pretrain, "command", stopped)
    assert main(["pretrain", "my genome.fa", "--out", "run"]) == 130
    said = "helicon pretrain: interrupted; go on with: helicon pretrain 'my genome.fa' --out run"
    assert capsys.readouterr().err == f"{said} --resume\n"
    assert main(["pretrain", "my genome.fa", "--out", "run", "--resume"]) == 130
    assert capsys.readouterr().err.count("--resume") == 1


def test_a_real_run_is_interrupted_and_goes_on(tmp_path):
    genome = tmp_path / "genome.fa"
    genome.write_text(">chr1\n" + "ACGTTGCAAC" * 2000 + "\n")
    words = ["pretrain", str(genome), "--out", str(tmp_path / "run"), "--model", "convnova-tiny"]
    words += ["--backbone.d_model", "8", "--steps", "1000000", "--length", "64"]
    words += ["--batch-size", "2", "--split-block", "1000", "--checkpoint-every", "5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HELICON_CACHE": str(tmp_path / "cache")}
    run = subprocess.Popen(
        [sys.executable, "-m", "helicon", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 100
    while not list((tmp_path / "run").glob("checkpoints/step-*")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1].splitlines()[-1]
    assert run.returncode == 130
    assert said.startswith("helicon pretrain: interrupted; go on with: helicon pretrain ")
    assert said.endswith(" --resume")


# ---------------------------------------------------------------- recipes


def test_a_recipe_gives_options_and_the_command_line_wins(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'description = "d"\n[info]\nlength = 100\nbatch-size = 3\nmodel = "convnova"\n'
    )
    assert main(["info", "--config", str(recipe), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["length"], found["batch_size"], found["model"]) == (100, 3, "convnova")
    words = ["info", "convnova-tiny", "--length", "50", "--config", str(recipe), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["length"], found["batch_size"], found["model"]) == (50, 3, "convnova-tiny")


def test_the_recipe_of_a_run_serves_again(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('verb = "info"\n[recipe]\nmodel = "convnova-tiny"\n[data]\nx = "hash"\n')
    assert main(["info", "--config", str(recipe), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "convnova-tiny"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[info]\nlenght = 3\nmodel = 'convnova'", "lenght"),
        ("[info]\nlength = 'many'\nmodel = 'convnova'", "length"),
        ("[pretrain]\nlength = 3", "has no options for info; it is for pretrain"),
        ("length = 3", "has no options for info; write them under [info]"),
        ("length = 3\n[info]\nmodel = 'convnova'", "unknown key 'length'; move it under [info]"),
        ("[info", "is no TOML"),
        ("", "is empty"),
    ],
)
def test_wrong_recipes_are_one_line_that_names_the_file(content, said, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(content)
    assert main(["info", "--config", str(recipe)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "recipe.toml" in err
    assert said in err


def test_a_missing_recipe_is_named(tmp_path, capsys):
    assert main(["info", "convnova", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such recipe" in capsys.readouterr().err
