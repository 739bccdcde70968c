"""Fine-tuning on contacts: it learns a known rule, resumes, and measures as `evaluate` does."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from contact_cases import model_folder, rule_file

from helicon.alphabet import PROTEIN
from helicon.data.structures.files import read_structures
from helicon.errors import InputError
from helicon.metrics.contacts import MEASURES
from helicon.models.hub import load, save
from helicon.models.huggingface.contacts import HeliconForContacts, with_pair_head
from helicon.report import run_report
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune.finetune import finetune
from helicon.training.kinds.contacts import Contacts, PairCounts, measure_contacts
from helicon.training.loop import fit as loop
from helicon.training.run.folder import read_recipe
from helicon.training.run.options import Asked

SMALL = {"pair_width": 8, "pair_blocks": 2, "accelerator": "cpu", "precision": "float32"}
QUICK = {**SMALL, "task": "contacts", "steps": 4, "batch_size": 4, "eval_every": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("contacts")
    model_folder(path / "model", seed=5)
    for seed, (name, count) in enumerate({"data": 48, "valid": 6, "test": 6}.items()):
        rule_file(path / f"{name}.json", count, seed)
    return path


@pytest.fixture
def files(folder):
    return {name: folder / f"{name}.json" for name in ("data", "valid", "test")}


@pytest.fixture
def model(folder):
    return str(folder / "model")


def test_it_learns_a_rule_over_letters_from_scratch(files, model, tmp_path):
    options = QUICK | {"steps": 40, "batch_size": 8, "eval_every": None, "lr": 5e-3}
    done = finetune(model, **files, out=tmp_path / "run", scratch=True, dropout=0.0, **options)
    test = done.scores["test"].metrics
    chance = json.loads((tmp_path / "run" / "results.json").read_text())["separation_baseline"]
    assert chance["long_precision_l5"] < 0.15
    assert test["long_precision_l5"] > 0.8
    assert test["all_precision_l2"] > 0.8
    assert set(test) == {"loss", *MEASURES}
    assert done.monitor == "long_precision_l"
    assert any("separation alone" in note for note in done.notes)

    again = evaluate(str(done.run), files["test"], predictions=tmp_path / "p.parquet",
                     accelerator="cpu", precision="float32")  # fmt: skip
    assert again.unit == "proteins" and again.examples == 6
    assert again.scores.metrics == pytest.approx(test, rel=1e-5)
    frame, told = (
        pl.read_parquet(tmp_path / "p.parquet"),
        pl.read_parquet(tmp_path / "run" / "predictions" / "test.parquet"),
    )
    assert frame.equals(told)
    assert frame["long_precision_l"].mean() == pytest.approx(test["long_precision_l"])
    assert frame["name"].to_list() == [f"p2-{i}" for i in range(6)]
    page = run_report(done.run).read_text()
    assert "long-range precision at L" in page
    assert "helicon predict" in page


def test_a_stopped_run_ends_with_the_same_weights(files, model, tmp_path, monkeypatch):
    options = QUICK | {"dropout": 0.2, "pair_crop": 20, "accumulate": 2}
    finetune(model, **files, out=tmp_path / "alone", **options)
    train = loop._Fit._report

    def stopped(fit):
        train(fit)
        if fit.state.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Fit, "_report", stopped)
        with pytest.raises(KeyboardInterrupt):
            finetune(model, **files, out=tmp_path / "twice", **options)
    finetune(model, **files, out=tmp_path / "twice", resume=True, **options)
    one, two = load(tmp_path / "alone").state_dict(), load(tmp_path / "twice").state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert read_recipe(tmp_path / "twice" / "recipe.toml")["recipe"]["pair_crop"] == 20


def test_frozen_keeps_the_backbone_and_trains_the_head(files, model, tmp_path):
    done = finetune(model, **files, out=tmp_path / "run", freeze=True, **QUICK)
    trained, source = load(done.run), load(model)
    assert isinstance(trained, HeliconForContacts)
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(trained.backbone.state_dict()[key], value)
    assert trained.pair_head.separation.weight.abs().max() > 0


def test_proteins_are_held_out_where_no_file_is_given(files, model, tmp_path):
    done = finetune(model, files["data"], out=tmp_path / "run", monitor="loss", **QUICK)
    assert any("5 proteins held out of 48" in note for note in done.notes)
    assert done.monitor == "loss"
    assert len(pl.read_parquet(done.run / "predictions" / "validation.parquet")) == 5


def job(files, model, **options):
    pairs = {name: options.pop(name) for name in list(options) if name.startswith("pair")}
    kind = Contacts(files["data"], valid=files["valid"], test=files["test"], **pairs)
    fit = Fit(**options)
    return kind.read(load(model), Adapt(), fit, Asked({}, frozenset())), fit


def test_batches_are_crops_of_the_maps_and_a_function_of_the_step(files, model):
    work, recipe = job(files, model, pair_crop=24, batch_size=5)
    task, train = work.task(recipe), work.train
    batch = task.batch(3, 0, 0, 1)
    assert batch["labels"].shape == (5, 24, 24)
    again = work.task(recipe).batch(3, 0, 0, 1)
    assert all((batch[key] == again[key]).all() for key in batch)
    assert not (batch["columns"] == task.batch(4, 0, 0, 1)["columns"]).all()
    assert (batch["rows"] <= batch["columns"]).all()
    texts = {PROTEIN.decode(train.table.sequence(k)): k for k in range(len(train))}
    for i in range(5):
        ids = batch["input_ids"][i]
        k = texts[PROTEIN.decode(ids[ids != PROTEIN.pad_id])]
        row, column = batch["rows"][i], batch["columns"][i]
        assert column + 24 <= train.lengths[k]
        truth = train.contacts(k)[row : row + 24, column : column + 24]
        known = batch["labels"][i] >= 0
        assert (batch["labels"][i][known] == truth[known]).all()
        apart = np.arange(column, column + 24) - np.arange(row, row + 24)[:, None]
        assert (known == (apart >= 6)).all()


def test_whole_maps_are_one_square_and_the_loss_is_that_of_the_model(files, model):
    work, recipe = job(files, model)
    task = work.task(recipe)
    batch = task.batch(1, 0, 0, 1)
    assert "rows" not in batch
    assert batch["labels"].shape[1] == batch["input_ids"].shape[1]
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    network = load(finetuned_model(model))
    total, count = task.loss(network, tensors)
    given = {key: value for key, value in tensors.items() if key != "labels"}
    given["input_ids"] = given["input_ids"].long()
    loss = network(**given, labels=tensors["labels"]).loss
    assert torch.allclose(total / count, loss)
    assert count == (tensors["labels"] >= 0).sum()


def finetuned_model(model):
    """A folder beside the model's with a new pair head on it."""
    torch.manual_seed(0)
    return save(with_pair_head(load(model), width=8, blocks=2), Path(model).parent / "headed")


def test_proteins_of_which_nothing_is_known_change_no_measure(files, model, tmp_path):
    network = load(finetuned_model(model))
    lines = files["test"].read_text().splitlines()
    nothing = json.loads(lines[0])
    nothing["valid"], nothing["contacts"] = [False] * len(nothing["sequence"]), []
    path = tmp_path / "more.json"
    path.write_text("\n".join([*lines, json.dumps(nothing)]))
    alone = measure_contacts(network, read_structures(files["test"]), 6)[0]
    more, frame = measure_contacts(network, read_structures(path), 6)
    assert more.metrics == pytest.approx(alone.metrics)
    assert frame["valid"].to_list()[-1] == 0
    assert frame["long_precision_l"].is_null().to_list() == [False] * 6 + [True]


def test_pairs_are_counted_by_separation(files):
    proteins = read_structures(files["valid"])
    counts = PairCounts.of(proteins)
    lengths = proteins.lengths
    assert counts.pairs[10] == (lengths - 10).sum()
    maps = [np.triu(proteins.contacts(k), 6).sum() for k in range(len(proteins))]
    assert counts.beyond(6)[0] == sum(maps)
    rate = counts.rate(200)
    assert rate[10] == counts.contacts[10] / counts.pairs[10]
    assert rate[199] == rate[counts.pairs.nonzero()[0].max()]


def test_contacts_weigh_more_where_that_is_asked(files, model):
    work, recipe = job(files, model, class_weights="balanced")
    contacts, pairs = work.counts.beyond(6)
    assert work.task(recipe).weights.item() == pytest.approx((pairs - contacts) / contacts)
    assert work.task(Fit()).weights is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "mean"}, "pool: is no option for proteins with contacts"),
        ({"both_strands": True}, "both_strands: is no option"),
        ({"reverse_complement": True}, "reverse_complement: is no option"),
        ({"monitor": "mcc"}, "'mcc' is not measured here; choose long_precision_l,"),
        ({"task": "auto"}, "pair_blocks: is no option for labelled seq"),
        ({"pair_blocks": 0}, "pair_blocks: must be at least 1"),
        ({"labels": "genes.gff3"}, "labels: is no option for proteins with contacts"),
        ({"separation": 70}, "no contact of residues that are 70 apart"),
    ],
)
def test_options_without_meaning_are_refused(files, model, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        finetune(model, files["data"], out=tmp_path / "run", **(QUICK | options))
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_choose_is_refused(files, model, tmp_path):
    short = tmp_path / "short.json"
    short.write_text(json.dumps({"sequence": "ACDEFGHIKL", "contacts": [[0, 8]]}))
    with pytest.raises(InputError, match=r"no contact of the range long \(24 residues apart"):
        finetune(model, files["data"], valid=short, out=tmp_path / "run", **QUICK)
    with pytest.raises(InputError, match="reads DNA"):
        finetune("convnova-tiny", **files, out=tmp_path / "run", task="contacts", steps=1)
