"""Run folders: what they hold, what they refuse, and their lock."""

import errno
import json
from pathlib import Path

import pytest

from helicon.errors import InputError, WorkError
from helicon.training.run.folder import RunFolder, read_metrics, read_recipe

RECIPE = {
    "verb": "pretrain",
    "recipe": {"lr": 0.001, "steps": 10, "clip": None, "data": Path("here/genome.fa")},
    "data": {"genome": "abc"},
    "versions": {"torch": "2"},
}


def changed(**tables):
    return {**RECIPE, **{k: {**RECIPE[k], **v} for k, v in tables.items()}}


def begin(path):
    with RunFolder.open(path, RECIPE) as run:
        run.append({"step": 1})


def test_a_new_run_writes_its_recipe(tmp_path):
    with RunFolder.open(tmp_path / "run", RECIPE) as run:
        assert not run.resumed
    found = read_recipe(tmp_path / "run" / "recipe.toml")
    assert found["recipe"] == {"lr": 0.001, "steps": 10, "data": "here/genome.fa"}
    assert found["data"] == {"genome": "abc"}


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    with RunFolder.open(tmp_path, RECIPE) as run:
        run.append({"step": 1200, "loss": 1.0})
    with pytest.raises(InputError, match=r"pretrain run stopped after step 1,200.*--resume"):
        RunFolder.open(tmp_path, RECIPE)
    with RunFolder.open(tmp_path, RECIPE, resume=True) as run:
        assert run.resumed
        run.write_results({"accuracy": 1})
    with pytest.raises(InputError, match="finished pretrain run"):
        RunFolder.open(tmp_path, RECIPE)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_files_is_refused(tmp_path, resume):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        RunFolder.open(tmp_path, RECIPE, resume=resume)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunFolder.open(tmp_path / "run", RECIPE)
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder.open(tmp_path / "run" / "below", RECIPE)


def test_resuming_where_nothing_began_starts_a_run(tmp_path):
    (tmp_path / ".recipe.toml.0123abcd.tmp").write_text("verb = ")  # a start that was killed
    with RunFolder.open(tmp_path, RECIPE, resume=True) as run:
        assert not run.resumed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (changed(recipe={"lr": 0.01}), "lr was 0.001, now it is 0.01"),
        (changed(recipe={"warmup": 5}), "warmup was not set, now it is 5"),
        (changed(recipe={"steps": None}), "steps was 10, now it is not set"),
        (changed(data={"genome": "def"}), "data.genome was abc, now it is def"),
        ({**RECIPE, "verb": "finetune"}, "verb was pretrain, now it is finetune"),
    ],
)
def test_resuming_another_recipe_names_the_difference(tmp_path, asked, said):
    begin(tmp_path)
    with pytest.raises(InputError, match=said):
        RunFolder.open(tmp_path, asked, resume=True)
    RunFolder.open(tmp_path, RECIPE, resume=True).close()  # the lock was let go


def test_files_may_move_and_versions_change(tmp_path):
    begin(tmp_path)
    moved = changed(recipe={"data": Path("there/genome.fa")}, versions={"torch": "3"})
    RunFolder.open(tmp_path, moved, resume=True).close()


def test_a_run_without_a_row_is_begun_anew(tmp_path):
    RunFolder.open(tmp_path, RECIPE).close()
    for resume in (False, True):
        with RunFolder.open(tmp_path, changed(recipe={"lr": 0.1}), resume=resume) as run:
            assert not run.resumed
    assert read_recipe(tmp_path / "recipe.toml")["recipe"]["lr"] == 0.1


def test_two_processes_do_not_share_a_folder(tmp_path):
    with (
        RunFolder.open(tmp_path, RECIPE),
        pytest.raises(InputError, match="another process"),
    ):
        RunFolder.open(tmp_path, RECIPE, resume=True)


def test_other_ranks_neither_lock_nor_write(tmp_path):
    with RunFolder.open(tmp_path, RECIPE), RunFolder.open(tmp_path, RECIPE, rank=1) as run:
        run.append({"step": 1})
        run.record_budget({"steps": 5})
        run.write_results({})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "recipe.toml"]


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    with RunFolder.open(tmp_path, RECIPE) as run:
        for step in (1, 2, 3):
            run.append({"step": step, "loss": float("nan") if step == 2 else 0.5})
        with (tmp_path / "metrics.jsonl").open("a") as handle:
            handle.write('{"step": 4, "lo')  # cut short by a kill
        assert [row["step"] for row in run.rows()] == [1, 2, 3]
        run.keep_rows(2)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_results_are_strict_json(tmp_path):
    with RunFolder.open(tmp_path, RECIPE) as run:
        run.write_results({"scores": [float("inf"), 1.0], "at": Path("x")})
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"scores": [None, 1.0], "at": "x"}


def test_a_full_disk_stops_a_row_with_one_line(tmp_path, monkeypatch):
    with RunFolder.open(tmp_path, RECIPE) as run:
        run.append({"step": 1})

        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(WorkError, match=r"metrics\.jsonl: cannot be written") as caught:
            run.append({"step": 2})
        monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert [row["step"] for row in run.rows()] == [1]
