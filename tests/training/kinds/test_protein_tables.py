"""Tables of proteins that say themselves which rows train and test, as FLIP ships them."""

import json
import zipfile

import numpy as np
import polars as pl
import pytest
from small_cases import model_folder

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.models.bytenet.network import ByteNetConfig
from helicon.report import run_report
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune

CPU = {"accelerator": "cpu", "precision": "float32"}
QUICK = {"steps": 3, "batch_size": 8, **CPU}
CONFIG = ByteNetConfig(d_model=8, blocks=2, slim=True)
COUNTS = {"train": 40, "validation": 8, "test": 30}


@pytest.fixture
def model(tmp_path):
    return str(model_folder(tmp_path / "source", seed=5, config=CONFIG))


def rows(seed=0, marked=True):
    """Variants of one length; those for testing have values that the others never reach."""
    rng = np.random.default_rng(seed)
    said = [part for part, count in COUNTS.items() for _ in range(count)]
    found = []
    for i, part in enumerate(said):
        text = "".join(rng.choice(list(PROTEIN.real[:20]), 16))
        value = rng.normal() + (100 if part == "test" else 0)
        name = "test" if part == "test" else "train"
        mark = "True" if part == "validation" and marked else ""
        found.append((text, f"{value:.4f}", name, mark, f"v{i}"))
    return found


def zipped(folder, table, name="splits.zip"):
    text = "sequence,target,set,validation,id\n" + "".join(",".join(r) + "\n" for r in table)
    path = folder / name
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("splits/.DS_Store", b"x")
        content.writestr("splits/two_vs_rest.csv", text)
        content.writestr("splits/other.csv", text)
    return path / "splits" / "two_vs_rest.csv"


def names(run, part):
    frame = pl.read_parquet(run / "predictions" / f"{part}.parquet")
    return set(frame["name"])


def of_part(table, part):
    rest = {"train": "train", "validation": "train", "test": "test"}
    return {
        row[4]
        for row in table
        if row[2] == rest[part] and (part == "test" or bool(row[3]) == (part == "validation"))
    }


def test_a_table_in_an_archive_divides_itself(tmp_path, model, capsys):
    table = rows()
    path = zipped(tmp_path, table)
    found = finetune(model, path, target="target", out=tmp_path / "run", **QUICK)
    said = capsys.readouterr().err
    assert "says itself what its rows are for: 40 train, 8 validation, 30 test" in said
    assert "data: 40 sequences of 16 letters" in said
    assert "a one-hot ridge regression: validation Spearman correlation" in said
    assert names(found.run, "validation") == of_part(table, "validation")
    assert names(found.run, "test") == of_part(table, "test")
    # What is learned and how it is scaled comes from training rows alone: it never sees a 100.
    assert (
        pl.read_parquet(found.run / "predictions" / "test.parquet")["prediction/target"].max() < 9
    )
    results = json.loads((found.run / "results.json").read_text())
    baseline = results["one_hot_baseline"]
    assert baseline["spearman"] == baseline["validation"]["spearman"]
    assert baseline["test"]["rmse"] > 90
    assert {"spearman", "rmse"} <= set(results["test"])
    assert "one-hot ridge regression reaches" in run_report(found.run).read_text()


def test_evaluate_measures_the_rows_for_testing_unless_told(tmp_path, model):
    path = zipped(tmp_path, rows())
    found = finetune(model, path, target="target", out=tmp_path / "run", **QUICK)
    run = str(found.run)
    again = evaluate(run, path, target="target", **CPU)
    assert (again.examples, again.part) == (30, "test")
    assert again.scores.metrics == pytest.approx(
        {**found.scores["test"].metrics, "loss": again.scores.metrics["loss"]}, rel=1e-4
    )
    assert "30 sequences (those that it says are for test)" in again.summary
    counts = {p: evaluate(run, path, target="target", part=p, **CPU).examples
              for p in ("train", "valid", "all")}  # fmt: skip
    assert counts == {"train": 40, "valid": 8, "all": 78}
    plain = tmp_path / "plain.csv"
    plain.write_text("sequence,target\n" + "".join(f"{r[0]},{r[1]}\n" for r in rows()))
    assert evaluate(run, plain, target="target", **CPU).examples == 78
    for data, part, words in ((plain, "test", "does not say"), (path, "held", "'held'")):
        with pytest.raises(InputError, match=words):
            evaluate(run, data, target="target", part=part, **CPU)


def test_without_marks_rows_for_training_are_held_out(tmp_path, model, capsys):
    table = rows(marked=False)
    found = finetune(model, zipped(tmp_path, table), target="target", out=tmp_path / "run", **QUICK)
    assert "validation: 10 rows held out of 48" in capsys.readouterr().err
    assert names(found.run, "validation") < of_part(table, "train")
    assert len(names(found.run, "validation")) == 10


def test_files_win_and_no_row_is_used_against_its_own_word(tmp_path, model, capsys):
    table = rows()
    path = zipped(tmp_path, table)
    other = [(*row[:4], f"other-{row[4]}") for row in rows(1)]
    others = zipped(tmp_path, other, "others.zip")
    found = finetune(
        model, path, valid=others, test=others, target="target", out=tmp_path / "run", **QUICK
    )
    said = capsys.readouterr().err
    assert "its validation rows are left out, as there is a validation file" in said
    assert "its test rows are left out, as there is a test file" in said
    assert "data: 40 sequences" in said
    assert names(found.run, "validation") == of_part(other, "validation")
    assert names(found.run, "test") == of_part(other, "test")


def test_a_file_without_rows_for_its_purpose(tmp_path, model):
    path = zipped(tmp_path, rows())
    tests = zipped(tmp_path, [row for row in rows(1) if row[2] == "test"], "tests.zip")
    for options in ({"data": tests}, {"data": path, "valid": tests}):
        with pytest.raises(InputError, match=r"none of its rows that it is for .*only test"):
            finetune(model, target="target", out=tmp_path / "run", **options, **QUICK)


def test_flips_headers_and_the_linear_probe(tmp_path, model):
    fasta = tmp_path / "splits.fasta"
    table = rows()
    fasta.write_text(
        "".join(
            f">{name} TARGET={value} SET={part} VALIDATION={mark == 'True'}\n{text}\n"
            for text, value, part, mark, name in table
        )
    )
    found = finetune(
        model, fasta, target="target", out=tmp_path / "run", freeze=True, seeds=2, **CPU
    )
    assert len(found.runs) == 2
    assert names(found.run / "seed-1", "test") == of_part(table, "test")


def test_an_archive_of_several_tables_must_name_one(tmp_path, model):
    path = zipped(tmp_path, rows())
    with pytest.raises(InputError, match=r"name one, as in .*/other.csv"):
        finetune(model, path.parent.parent, target="target", out=tmp_path / "run", **QUICK)
