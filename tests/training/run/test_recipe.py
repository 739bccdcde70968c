"""Recipes: TOML in and out, and one line for every mistake in them."""

import inspect
import tomllib
from pathlib import Path

import pytest

from helicon.cli import main
from helicon.errors import InputError
from helicon.training.pretrain import pretrain as module
from helicon.training.pretrain.pretrain import pretrain
from helicon.training.run.folder import RunFolder
from helicon.training.run.recipe import to_toml

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def plans(monkeypatch):
    """The plans of the runs that were asked for; none is run."""
    found = []
    monkeypatch.setattr(module, "_run", lambda plan, *_: found.append(plan))
    return found


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def read(path, *words):
    return main(["pretrain", "--config", str(path), *words])


def test_every_option_of_the_verb_is_in_its_docstring_and_a_recipe_has_it(plans):
    options = inspect.signature(pretrain).parameters
    for name in options:
        assert f"\n    {name}: " in inspect.cleandoc(pretrain.__doc__)
    pretrain("genome.fa", out="run")
    assert plans[0].values.keys() <= options.keys() - {"out", "resume"}
    for name, value in plans[0].values.items():
        usual = options[name].default
        decided = usual is inspect.Parameter.empty or usual is None
        assert decided or usual == value


def test_every_pretraining_recipe_in_the_repository_can_be_read(plans, tmp_path):
    tables = {path: tomllib.loads(path.read_text()) for path in RECIPES.glob("*.toml")}
    found = [path for path, table in tables.items() if "pretrain" in table]
    assert len(found) >= 3
    for path in found:
        assert read(path, "--out", str(tmp_path / "run")) == 0
        values = plans[-1].values
        assert values["mask_rate"] > 0 and tables[path]["description"]
        for key, value in tables[path]["pretrain"].items():
            assert values[key] == (Path(value) if isinstance(values[key], Path) else value)


def test_a_recipe_survives_a_round_trip(plans, tmp_path):
    backbone = {"d_model": 8, "gate": "none", "dropout": 0.2}
    pretrain("genome.fa", out=tmp_path / "run", backbone=backbone, steps=5, lr=2)
    path = written(tmp_path, to_toml("pretrain", plans[0].values))
    assert read(path, "--out", str(tmp_path / "run")) == 0
    assert plans[0].values == plans[1].values
    assert plans[1].values["backbone"] == backbone and plans[1].values["lr"] == 2.0


def test_integers_serve_as_numbers_and_dashes_as_underscores(plans, tmp_path):
    text = '[pretrain]\ndata = "a.fa"\nminutes = 3\nbatch-size = 8\n'
    assert read(written(tmp_path, text), "--out", str(tmp_path / "run")) == 0
    values = plans[0].values
    assert values["minutes"] == 3.0 and isinstance(values["minutes"], float)
    assert values["batch_size"] == 8 and values["data"] == Path("a.fa")


def test_the_recipe_of_a_run_folder_can_be_read(plans, tmp_path):
    pretrain("genome.fa", out=tmp_path / "run", steps=5, intervals="a.bed")
    about = {"verb": "pretrain", "recipe": plans[0].values, "data": {}}
    RunFolder.open(tmp_path / "run", about).close()
    assert read(tmp_path / "run" / "recipe.toml", "--out", str(tmp_path / "again")) == 0
    assert plans[1].values == plans[0].values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pretrain\n", "is no TOML"),
        ('data = "a.fa"\n', "write them under [pretrain]"),
        ('lr = 1.0\n[pretrain]\ndata = "a.fa"\n', "unknown key 'lr'"),
        ('[pretrain]\ndata = "a.fa"\nbatchsize = 2\n', "batchsize"),
        ('[pretrain]\ndata = "a.fa"\nzzz = 2\n', "zzz"),
        ("[pretrain]\nsteps = 2\n", "data"),
        ('[pretrain]\ndata = "a.fa"\nsteps = "many"\n', "steps"),
        ('[pretrain]\ndata = "a.fa"\nsteps = 2.5\n', "steps"),
        ('[pretrain]\ndata = "a.fa"\nsteps = true\n', "steps"),
        ('[pretrain]\ndata = "a.fa"\nlr = "high"\n', "lr"),
        ('[pretrain]\ndata = "a.fa"\nschedule = "up"\n', "schedule"),
        ('[pretrain]\ndata = "a.fa"\nbackbone = 8\n', "backbone"),
        ('[pretrain]\ndata = "a.fa"\nsteps = 1\nminutes = 1\n', "one of steps, epochs and minutes"),
        ('[pretrain]\ndata = "a.fa"\nlength = 0\n', "length: must be at least 1"),
        ('[pretrain]\ndata = "a.fa"\nmask_rate = 1.5\n', "mask_rate: must be between 0 and 1"),
        ('[pretrain]\ndata = "a.fa"\nfloor = 2\n', "floor: must be in"),
        ('[pretrain]\ndata = "a.fa"\ntest_chromosomes = ["c"]\n', "test_chromosomes: name"),
        ('[pretrain]\ndata = "a"\nintervals = "b"\nvalid_chromosomes = ["c"]\n', "give intervals"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path, capsys, text, said):
    assert read(written(tmp_path, text), "--out", str(tmp_path / "run")) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": "ten"}, "steps: must be a whole number, not 'ten'"),
        ({"steps": 2.5}, "steps: must be a whole number"),
        ({"steps": True}, "steps: must be a whole number"),
        ({"lr": "high"}, "lr: must be a number, not 'high'"),
        ({"schedule": "up"}, "schedule: must be 'cosine' or"),
        ({"valid_chromosomes": "chr1"}, "valid_chromosomes: must be a list, each"),
        ({"valid_chromosomes": [1]}, "valid_chromosomes: must be text, not 1"),
        ({"backbone": 8}, "backbone: must be a table"),
        ({"model": 8}, "model: must be text"),
        ({"steps": 10}, "no such FASTA file"),
    ],
)
def test_arguments_of_python_are_checked_too(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        pretrain("genome.fa", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_an_option_that_does_not_exist_is_named_with_one_that_does(tmp_path):
    with pytest.raises(TypeError, match="no option 'batchsize'; did you mean 'batch_size'"):
        pretrain("genome.fa", out=tmp_path / "run", batchsize=2)
