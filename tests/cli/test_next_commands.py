"""Commands that are shown can be pasted into a shell, whatever folders are called."""

import html
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_networks import language_model

from helicon.cli import convert, pretrain, probe
from helicon.demos import main_job, protein_job
from helicon.demos.steps import Step
from helicon.errors import InputError
from helicon.models.hub import save
from helicon.models.huggingface.folder import load_folder
from helicon.report import run_report

NAMES = ["my run", "it's; rm -rf x", 'a "b" $HOME `id`', "plain"]


def words(text: str) -> list[str]:
    """The words of the last command in a text."""
    return shlex.split(text[text.rindex("helicon ") :].splitlines()[0])


@pytest.mark.parametrize("name", NAMES)
def test_next_commands_hold_a_path_as_one_word(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / name
    monkeypatch.setattr(pretrain, "run_report", lambda path: path / "report.html")
    said = SimpleNamespace(summary="done", run=run, model=run, folder=run)
    said.model_class, said.used, said.unused, said.source = "X", (), (), "carp"
    assert words(pretrain.show(said))[2] == str(run)
    assert words(convert.show(said))[2] == str(run)
    assert words(probe.show(said))[2] == str(run)
    for job in (main_job, protein_job):
        first, second = job._next(run, run)
        assert (words(first)[2], words(second)[2]) == (str(run), str(run / "pretrained"))


@pytest.mark.parametrize("name", NAMES)
def test_commands_of_a_job_say_what_was_called(name: str, tmp_path: Path):
    options = {"data": tmp_path / name / "t.csv", "target": "a b", "backbone": {"x": name}}
    step = Step("finetune", tmp_path / name, options)
    wanted = ["helicon", "finetune", f"{tmp_path.name}/{name}", f"{tmp_path.name}/{name}/t.csv"]
    assert shlex.split(step.command(tmp_path)) == [
        *wanted, "--target", "a b", "--backbone.x", name
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_report_is_quoted(name: str, tmp_path: Path):
    run = tmp_path / name
    run.mkdir()
    (run / "recipe.toml").write_text('verb = "finetune"\n[recipe]\ntask = "sequence"\n')
    (run / "results.json").write_text(json.dumps({"verb": "finetune"}))
    page = html.unescape(re.sub("<[^>]*>", "", run_report(run).read_text()))
    assert words(page)[:3] == ["helicon", "evaluate", name]


def test_the_command_for_pickled_weights_is_quoted(tmp_path: Path):
    folder = save(language_model(), tmp_path / "it's mine")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickled") as caught:
        load_folder(folder)
    command = str(caught.value).split("`")[1]
    assert shlex.split(command) == ["helicon", "convert", str(folder / "pytorch_model.bin"), "OUT"]
