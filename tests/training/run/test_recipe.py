"""Recipes: TOML in and out, and one line for every mistake in them."""

import dataclasses
import inspect
import tomllib
from pathlib import Path

import pytest

from helicon.errors import InputError
from helicon.training.pretrain.pretrain import pretrain
from helicon.training.pretrain.recipe import PretrainRecipe
from helicon.training.run.folder import RunFolder
from helicon.training.run.recipe import read_recipe, to_toml

RECIPES = Path(__file__).parents[3] / "recipes"


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def read(tmp_path, text):
    return read_recipe(written(tmp_path, text), PretrainRecipe)


def test_the_recipe_and_the_verb_have_the_same_options_and_defaults():
    options = dict(inspect.signature(pretrain).parameters)
    del options["out"], options["resume"]
    fields = {f.name: f.default for f in dataclasses.fields(PretrainRecipe)}
    assert list(options) == list(fields)
    for name, option in options.items():
        empty = option.default is inspect.Parameter.empty
        assert fields[name] is dataclasses.MISSING if empty else fields[name] == option.default
        assert f"\n        {name}: " in pretrain.__doc__


def test_every_pretraining_recipe_in_the_repository_can_be_read():
    tables = {path: tomllib.loads(path.read_text()) for path in RECIPES.glob("*.toml")}
    found = [path for path, table in tables.items() if "pretrain" in table]
    assert len(found) >= 3
    for path in found:
        recipe = read_recipe(path, PretrainRecipe)
        assert recipe.masking.rate > 0 and tables[path]["description"]


def test_a_recipe_survives_a_round_trip(tmp_path):
    recipe = PretrainRecipe(
        data=Path("genome.fa"),
        backbone={"d_model": 8, "gate": "none"},
        steps=5,
        test_chromosomes=None,
        lr=2,
    )
    assert read(tmp_path, to_toml(recipe)) == recipe


def test_integers_serve_as_numbers_and_dashes_as_underscores(tmp_path):
    recipe = read(tmp_path, '[pretrain]\ndata = "a.fa"\nminutes = 3\nbatch-size = 8\n')
    assert recipe.minutes == 3.0 and isinstance(recipe.minutes, float)
    assert recipe.batch_size == 8 and recipe.data == Path("a.fa")


def test_the_recipe_of_a_run_folder_can_be_read(tmp_path):
    recipe = PretrainRecipe(data=Path("genome.fa"), steps=5)
    values = dataclasses.asdict(recipe)
    RunFolder.open(tmp_path / "run", {"verb": "pretrain", "recipe": values, "data": {}}).close()
    assert read_recipe(tmp_path / "run" / "recipe.toml", PretrainRecipe) == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pretrain\n", "is no TOML"),
        ('data = "a.fa"\n', r"has no table \[pretrain\]"),
        ('lr = 1.0\n[pretrain]\ndata = "a.fa"\n', "unknown key 'lr'"),
        ('[pretrain]\ndata = "a.fa"\nbatchsize = 2\n', "'batchsize'; did you mean 'batch_size'"),
        ('[pretrain]\ndata = "a.fa"\nzzz = 2\n', "unknown key 'zzz'; known are data"),
        ("[pretrain]\nsteps = 2\n", "data is missing"),
        ('[pretrain]\ndata = "a.fa"\nsteps = "many"\n', "steps: must be a whole number"),
        ('[pretrain]\ndata = "a.fa"\nsteps = 2.5\n', "steps: must be a whole number"),
        ('[pretrain]\ndata = "a.fa"\nsteps = true\n', "steps: must be a whole number"),
        ('[pretrain]\ndata = "a.fa"\nlr = "high"\n', "lr: must be a number, not 'high'"),
        ('[pretrain]\ndata = "a.fa"\nschedule = "up"\n', "schedule: must be 'cosine' or"),
        (
            '[pretrain]\ndata = "a.fa"\nvalid_chromosomes = "chr1"\n',
            "must be a list, each",
        ),
        (
            '[pretrain]\ndata = "a.fa"\nvalid_chromosomes = [1]\n',
            "must be text, not 1",
        ),
        ('[pretrain]\ndata = "a.fa"\nbackbone = 8\n', "backbone: must be a table"),
        ('[pretrain]\ndata = "a.fa"\nsteps = 1\nminutes = 1\n', "one of steps, epochs and minutes"),
        ('[pretrain]\ndata = "a.fa"\nlength = 0\n', "length: must be at least 1"),
        ('[pretrain]\ndata = "a.fa"\nmask_rate = 1.5\n', "mask_rate: must be between 0 and 1"),
        ('[pretrain]\ndata = "a.fa"\nfloor = 2\n', "floor: must be in"),
        ('[pretrain]\ndata = "a.fa"\ntest_chromosomes = ["c"]\n', "test_chromosomes: name"),
        ('[pretrain]\ndata = "a"\nintervals = "b"\nvalid_chromosomes = ["c"]\n', "give intervals"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert "mine.toml" in message and "\n" not in message


def test_arguments_of_python_are_checked_too(tmp_path):
    with pytest.raises(InputError, match="steps: must be a whole number"):
        pretrain("genome.fa", out=tmp_path / "run", steps="ten")
    with pytest.raises(InputError, match="no such FASTA file"):
        pretrain("genome.fa", out=tmp_path / "run", steps=10)
    assert not (tmp_path / "run").exists()
