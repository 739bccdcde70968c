import json
import zipfile

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef
from small_cases import model_folder, motif_rows, write_csv

from helicon.alphabet import PROTEIN
from helicon.data.tables.residue_labels import read_residues
from helicon.errors import InputError
from helicon.inference.predict import predict
from helicon.metrics.targets import Target
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.hub import load
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune
from helicon.training.kinds import residues
from helicon.training.kinds.residues import ResidueTask, gather, residue_outputs

CPU = {"accelerator": "cpu", "precision": "float32"}
QUICK = {"epochs": 30, "lr": 0.02, **CPU}
CONFIG = ByteNetConfig(d_model=16, blocks=2, slim=True)
#: Letters that the rule calls H; the others are C.
HELIX = "AEKLM"


@pytest.fixture
def model(tmp_path):
    return str(model_folder(tmp_path / "source", seed=5, config=CONFIG))


def flip_zip(folder, n=60, seed=0, divided=True):
    """FLIP's files in its archive: a residue's class follows from its letter, but where masked."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(PROTEIN.real[:20]))
    texts = {"sequences": [], "sampled": [], "mask": []}
    for i in range(n):
        text = letters[rng.integers(0, 20, rng.integers(12, 50))]
        label, mask = np.where(np.isin(text, list(HELIX)), "H", "C"), np.full(len(text), "1")
        label[:3], mask[:3] = "E", "0"
        part = "test" if i % 4 == 3 else "train"
        said = f" SET={part} VALIDATION={i % 4 == 2}" if divided else ""
        for name, header, row in zip(texts, ("", said, ""), (text, label, mask), strict=True):
            texts[name].append(f">p{i}{header}\n{''.join(row)}\n")
    path = folder / "splits.zip"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("__MACOSX/splits/._mask.fasta", "junk")
        for name, rows in texts.items():
            content.writestr(f"splits/{name}.fasta", "".join(rows))
    inside = path / "splits"
    return {
        "data": inside / "sequences.fasta",
        "labels": inside / "sampled.fasta",
        "mask": inside / "mask.fasta",
    }


def scikit(frame):
    """Accuracy, MCC and macro F1 of a file of predictions, over the residues that count."""
    text = {name: "".join(frame[name]) for name in ("label", "mask", "prediction")}
    known = np.array(list(text["mask"])) == "1"
    truth, found = (np.array(list(text[name]))[known] for name in ("label", "prediction"))
    return {
        "accuracy": float((truth == found).mean()),
        "mcc": matthews_corrcoef(truth, found),
        "macro_f1": f1_score(truth, found, average="macro"),
    }


def check_run(found, n_test=15):
    frame = pl.read_parquet(found.run / "predictions" / "test.parquet")
    assert len(frame) == n_test
    measured = found.scores["test"].metrics
    assert {name: measured[name] for name in ("accuracy", "mcc", "macro_f1")} == pytest.approx(
        scikit(frame)
    )
    assert frame["scored"].sum() == found.scores["test"].confusion.sum()
    assert frame["right"].sum() == np.trace(found.scores["test"].confusion)
    assert (frame["probability"].list.len() == frame["length"]).all()
    return frame


def test_secondary_structure_as_flip_ships_it(tmp_path, model, capsys):
    files = flip_zip(tmp_path)
    found = finetune(model, **files, out=tmp_path / "run", **QUICK)
    said = capsys.readouterr().err
    assert "2 classes (C, H)" in said  # E is masked everywhere
    assert "30 train, 15 validation, 15 test" in said
    assert found.names == ("C", "H")
    assert found.scores["test"].metrics["accuracy"] > 0.9
    frame = check_run(found)
    assert set(frame["name"]) == {f"p{i}" for i in range(3, 60, 4)}
    hashes = json.loads((found.run / "results.json").read_text())["provenance"]["data"]
    assert {"data", "labels", "mask", "model"} == set(hashes)

    again = evaluate(str(found.run), files["data"], labels=files["labels"], mask=files["mask"],
                     predictions=tmp_path / "p.parquet", **CPU)  # fmt: skip
    assert again.scores.metrics == pytest.approx(found.scores["test"].metrics, abs=1e-6)
    assert (again.unit, again.part) == ("residues", "test")
    assert pl.read_parquet(tmp_path / "p.parquet")["prediction"].equals(frame["prediction"])
    whole = evaluate(
        str(found.run), files["data"], labels=files["labels"], mask=files["mask"], part="all",
        **CPU,
    )  # fmt: skip
    assert whole.examples > 3 * again.examples

    predict(str(found.run), files["data"], out=tmp_path / "every.parquet", accelerator="cpu")
    every = pl.read_parquet(tmp_path / "every.parquet").filter(pl.col("name") == "p3")
    assert every["position"].to_list() == list(range(len(every)))
    best = np.array(["C", "H"])[every.select("^probability/.*$").to_numpy().argmax(axis=1)]
    assert "".join(best) == frame.filter(pl.col("name") == "p3")["prediction"].item()


@pytest.mark.parametrize("sample", [50_000, 300])
def test_the_linear_probe(tmp_path, model, monkeypatch, capsys, sample):
    monkeypatch.setattr(residues, "PROBE_RESIDUES", sample)
    found = finetune(model, **flip_zip(tmp_path), out=tmp_path / "run", freeze=True, **CPU)
    assert found.steps == 0
    assert ("the probe is fitted on 300 of" in capsys.readouterr().err) == (sample == 300)
    assert found.scores["test"].metrics["accuracy"] > 0.82  # three quarters are C
    check_run(found)
    before, after = load(model).backbone.state_dict(), load(found.model).backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_frozen_backbone_under_a_larger_head(tmp_path, model):
    found = finetune(
        model, **flip_zip(tmp_path), out=tmp_path / "run", freeze=True, head="mlp", **QUICK
    )
    assert found.steps > 0
    assert found.scores["test"].metrics["accuracy"] > 0.8


def test_a_class_that_only_the_test_data_has_is_a_class_that_is_never_right(tmp_path, model):
    sequences, labels = tmp_path / "s.fasta", tmp_path / "l.fasta"
    rows = [("MKVLAGGW", "00011111", "train"), ("MKVLAGGW", "00111110", "train"),
            ("AKVLAGGM", "00770011", "test")]  # fmt: skip
    sequences.write_text("".join(f">p{i}\n{s}\n" for i, (s, *_) in enumerate(rows)))
    labels.write_text(
        "".join(f">p{i} SET={p} VALIDATION={i == 1}\n{y}\n" for i, (_, y, p) in enumerate(rows))
    )
    for freeze in (False, True):
        found = finetune(
            model,
            sequences,
            labels=labels,
            out=tmp_path / f"run{freeze}",
            freeze=freeze,
            **({} if freeze else {"steps": 20}),
            **CPU,
        )
        assert found.names == ("0", "1", "7")
        assert any("no residue for training has the class 7" in note for note in found.notes)
        assert found.scores["test"].confusion[2].sum() == 2
        assert found.scores["test"].confusion[:, 2].sum() == 0


def test_a_column_of_labels_is_held_out_where_nothing_is_said(tmp_path, model, capsys):
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(40):
        text = "".join(rng.choice(list(PROTEIN.real[:20]), 20))
        rows.append((text, "".join("01"[letter in HELIX] for letter in text)))
    table = write_csv(tmp_path / "rows.csv", rows, "seq,bound")
    found = finetune(model, table, target="bound", out=tmp_path / "run", epochs=5, **CPU)
    assert "validation: 4 sequences held out of 40" in capsys.readouterr().err
    assert found.names == ("0", "1")
    again = evaluate(str(found.run), table, target="bound", **CPU)
    assert (again.examples, again.part) == (800, None)


def test_padding_and_batching_change_no_output(tmp_path, model):
    files = flip_zip(tmp_path, 12)
    table = read_residues(
        files["data"], files["labels"], mask=None, alphabet=PROTEIN, sequence="sequence"
    ).sequences
    network = load(model)
    network_with_head = finetune(model, **files, out=tmp_path / "run", steps=1, **CPU)
    network = load(network_with_head.run)
    found = np.empty((len(table.ids), 2), np.float32)
    for mask, place, outputs in residue_outputs(network, table):
        found[place[mask]] = outputs[mask]
    for row in range(len(table)):
        ids, _, place = gather(table, np.array([row]))
        with torch.no_grad():
            alone = network(input_ids=torch.from_numpy(ids).long()).logits[0].numpy()
        assert found[place[0]] == pytest.approx(alone, abs=1e-5)


def test_training_sees_every_sequence_once_an_epoch_and_no_masked_residue(tmp_path):
    files = flip_zip(tmp_path)
    paths = {name: files[name] for name in ("labels", "mask")}
    table = read_residues(files["data"], alphabet=PROTEIN, sequence="sequence", **paths)
    target = Target.plain("single_label", ("C", "H"))
    for world in (1, 2):
        task = ResidueTask(table, table, target, batch_size=8, seed=3)
        steps = task.steps_per_epoch(world)
        batches = [
            task.batch(step, 0, rank, world)
            for step in range(1, steps + 1)
            for rank in range(world)
        ]
        assert sum((b["labels"] >= 0).sum() for b in batches) == pytest.approx(
            table.known.sum(), rel=0.2 if world == 2 else 0
        )
        for batch in batches:
            assert len(batch["input_ids"]) <= 8
            known = batch["labels"] >= 0
            letters = np.array(list(PROTEIN.letters))[batch["input_ids"]]
            assert ((batch["labels"] == 1) == np.isin(letters, list(HELIX)))[known].all()
    again = ResidueTask(table, table, target, batch_size=8, seed=3)
    assert np.array_equal(again.batch(9, 0, 0, 1)["input_ids"], batch_of(task, 9))


def batch_of(task, step):
    return task.batch(step, 0, 0, 1)["input_ids"]


def test_wrong_questions(tmp_path, model):
    files = flip_zip(tmp_path)
    genome = tmp_path / "genes.gff3"
    genome.write_text("##gff-version 3\n")
    (tmp_path / "one.fasta").write_text(">p0 SET=train\n" + "C" * 9 + "\n")
    numbers = write_csv(tmp_path / "numbers.csv", [("MKVLAGG", 1.5), ("MKVLAGA", 2.5)] * 9)
    dna = str(model_folder(tmp_path / "dna"))
    rows = write_csv(tmp_path / "rows.csv", motif_rows(40))
    cases = [
        (model, files | {"labels": genome, "mask": None}, {}, "this model reads proteins; give"),
        (model, files, {"both_strands": True}, "both_strands: is no option"),
        (model, files, {"reverse_complement": True}, "reverse_complement: is no option"),
        (model, files, {"valid": numbers}, "residues are divided by the headers"),
        (model, files, {"labelled_windows": 3}, "labelled_windows: is no option"),
        (model, {"data": numbers, "mask": files["mask"]}, {}, "has no labels of residues"),
        (model, files | {"mask": None, "data": tmp_path / "no.fasta"}, {}, "no such table"),
        (dna, {"data": rows, "mask": files["mask"]}, {}, "has no labels of residues"),
    ]
    for name, given, options, words in cases:
        with pytest.raises(InputError, match=words) as said:
            finetune(name, **given, out=tmp_path / "run", **options, **QUICK)
        assert "\n" not in str(said.value)
        assert not (tmp_path / "run").exists()
