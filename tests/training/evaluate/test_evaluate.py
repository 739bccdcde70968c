import inspect

import polars as pl
import pytest
from small_cases import gene_genome, model_folder, motif_rows, write_csv

from helicon.errors import InputError
from helicon.models.hub import HeliconForMaskedLM, HeliconModel, load, save
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune

QUICK = {"steps": 4, "batch_size": 8, "accelerator": "cpu", "precision": "float32"}
CPU = {"accelerator": "cpu", "precision": "float32"}


@pytest.fixture
def source(tmp_path):
    return str(model_folder(tmp_path / "source"))


def test_every_option_is_listed():
    documented = inspect.getdoc(evaluate)
    names = list(inspect.signature(evaluate).parameters)
    assert all(f"\n    {name}: " in documented for name in names)
    assert {"both_strands", "part", "mask_rate", "network"} < set(names)


def test_a_table_is_measured_as_in_fine_tuning_whatever_the_batch_size(tmp_path, source):
    train, test = (write_csv(tmp_path / f"{i}.csv", motif_rows(60, i)) for i in (0, 1))
    found = finetune(source, train, test=test, out=tmp_path / "run", **QUICK)
    file = tmp_path / "predicted.parquet"
    for batch_size in (1, 7, None):
        again = evaluate(str(found.run), test, predictions=file, batch_size=batch_size, **CPU)
        assert again.scores.metrics == pytest.approx(found.scores["test"].metrics, abs=1e-6)
        assert (again.scores.confusion == found.scores["test"].confusion).all()
    assert again.examples == 60
    written = pl.read_parquet(file)
    kept = pl.read_parquet(found.run / "predictions" / "test.parquet")
    assert written.drop("probability/0", "probability/1").equals(
        kept.drop("probability/0", "probability/1")
    )
    assert "mcc" in again.summary
    assert again.as_dict()["provenance"]["data"].keys() == {"data"}


def test_an_annotated_genome_is_measured_as_in_fine_tuning(tmp_path, source):
    fasta, gff = gene_genome(tmp_path, 6_000)
    split = tmp_path / "split.bed"
    split.write_text("chr\t0\t3000\ttrain\nchr\t3000\t4500\tvalid\nchr\t4500\t6000\ttest\n")
    found = finetune(
        source, fasta, labels=gff, intervals=split, out=tmp_path / "run", length=128, **QUICK
    )
    again = evaluate(
        str(found.run),
        fasta,
        labels=gff,
        intervals=split,
        part="test",
        predictions=tmp_path / "runs.parquet",
        **CPU,
    )
    assert again.examples == 1_500
    assert again.scores.metrics == pytest.approx(found.scores["test"].metrics, abs=1e-6)
    whole = evaluate(str(found.run), fasta, labels=gff, **CPU)
    assert whole.examples == 6_000


def test_a_language_model_is_measured_beside_markov_models(tmp_path, source):
    fasta, _ = gene_genome(tmp_path, 6_000)
    split = tmp_path / "split.bed"
    split.write_text("chr\t0\t5000\ttrain\nchr\t5000\t6000\ttest\n")
    found = evaluate(source, fasta, length=256, intervals=split, part="test", **CPU)
    assert found.scores.metrics["perplexity"] > 3
    assert [b.order for b in found.baselines] == [0, 1, 2, 3, 4, 5]
    assert (found.examples, found.unit) == (1_000, "bases")
    assert (
        found.scores
        == evaluate(source, fasta, length=256, intervals=split, part="test", **CPU).scores
    )
    assert "Markov, order 5" in found.summary


def test_wrong_questions(tmp_path, source):
    fasta, gff = gene_genome(tmp_path, 6_000)
    table = write_csv(tmp_path / "rows.csv", motif_rows(30))
    tuned = str(finetune(source, table, out=tmp_path / "run", **QUICK).run)
    bare = str(save(HeliconModel(load(source).config), tmp_path / "bare"))
    assert isinstance(load(source), HeliconForMaskedLM)
    other = write_csv(tmp_path / "other.csv", [*motif_rows(4), ("ACGT", "seven")])
    cases = [
        ((tuned, fasta), {"labels": gff}, "labels: is no option"),
        ((bare, table), {}, "fine-tune it first"),
        ((tuned, other), {}, "none of the model's classes"),
        ((tuned, table), {"target": "klass"}, "no column 'klass'"),
        ((source, fasta), {"predictions": tmp_path / "p.parquet"}, "leave it out"),
        ((source, fasta), {"part": "test"}, "give their file"),
    ]
    for arguments, options, words in cases:
        with pytest.raises(InputError, match=words):
            evaluate(*arguments, **options, **CPU)


def test_a_genome_with_other_classes(tmp_path, source):
    fasta, gff = gene_genome(tmp_path, 6_000)
    options = {"labels": gff, "length": 128, "split_block": 500}
    run = str(finetune(source, fasta, out=tmp_path / "run", **options, **QUICK).run)
    bed = tmp_path / "other.bed"
    bed.write_text("chr\t10\t500\n")
    with pytest.raises(InputError, match="has the classes background, feature"):
        evaluate(run, fasta, labels=bed, **CPU)
    with pytest.raises(InputError, match="give a genome and its labels"):
        evaluate(run, fasta, **CPU)


def test_predictions_never_replace_what_is_measured(tmp_path):
    model = str(model_folder(tmp_path / "lm"))
    table = write_csv(tmp_path / "t.csv", motif_rows(30))
    tuned = finetune(model, table, out=tmp_path / "run", steps=1, accelerator="cpu")
    before = table.read_bytes()
    with pytest.raises(InputError, match=r"t.csv, which is read; choose another output"):
        evaluate(str(tuned.run), table, predictions=table, part="all")
    assert table.read_bytes() == before
