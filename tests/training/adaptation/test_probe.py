import numpy as np
import pytest
import torch
from small_cases import model_folder, motif_rows, write_csv

from helicon.data.tables.tables import read_table
from helicon.forward.outputs import table_outputs
from helicon.metrics.measured import probabilities
from helicon.metrics.targets import find_target
from helicon.models.hub import load, save
from helicon.training.adaptation.adapt import HeadSettings, adapt, fold_unit
from helicon.training.adaptation.linear import fit_probe, pooled_features


def table(tmp_path, labels, header="sequence,label"):
    rows = [
        (text, *label) for (text, _), label in zip(motif_rows(len(labels)), labels, strict=True)
    ]
    path = write_csv(tmp_path / "rows.csv", rows, header)
    return read_table(path, target=header.removeprefix("sequence,"))


def probed(tmp_path, rows, pool="mean"):
    target = find_target(rows)
    settings = HeadSettings(pool=pool, head="linear", dropout=0.0)
    source = load(model_folder(tmp_path / "source"))
    model = adapt(source, "sequence", target, settings, scratch=False, seed=1)
    features, labels = pooled_features(model, rows, 8), target.encode(rows)
    probe = fit_probe(
        (features[:60], labels[:60]), (features[60:], labels[60:]), target, monitor="loss"
    )
    probe.install(model)
    return target, model, features, probe


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_the_saved_model_predicts_what_the_probe_does(tmp_path, classes, pool):
    rows = table(tmp_path, [(i % classes,) for i in range(90)])
    _, model, features, probe = probed(tmp_path, rows, pool)
    save(model, tmp_path / "probed")
    reopened = load(tmp_path / "probed")
    assert table_outputs(reopened, rows, 7) == pytest.approx(probe.outputs(features), abs=1e-5)


def test_two_classes_agree_with_scikit_learn(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = table(tmp_path, [(i % 2,) for i in range(90)])
    target, _, features, probe = probed(tmp_path, rows)
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=probe.strength, max_iter=1000, tol=1e-8)
    )
    reference.fit(features[:60], target.encode(rows)[:60])
    found = probabilities(target, probe.outputs(features))
    assert found == pytest.approx(reference.predict_proba(features), abs=1e-3)


def test_regression_probe_gives_the_unit_of_the_data(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(1000, 50, 90).round(3)
    rows = table(tmp_path, [(v, -v) for v in values], "sequence,a,b")
    target, model, features, probe = probed(tmp_path, rows)
    assert target.problem == "regression"
    fold_unit(model, target)
    outputs = table_outputs(model, rows, 16)
    assert outputs == pytest.approx(target.natural(probe.outputs(features)), rel=1e-5)
    assert abs(outputs[:, 0].mean() - 1000) < 50
    assert outputs[:, 1] == pytest.approx(-outputs[:, 0], rel=1e-4)


def test_multi_label_probe_with_a_label_that_is_never_true(tmp_path):
    rows = table(tmp_path, [(i % 2, 0, int(i % 3 == 0)) for i in range(90)], "sequence,a,b,c")
    target, model, features, probe = probed(tmp_path, rows)
    assert target.problem == "multi_label"
    assert probe.valid.skipped == ["b"]
    assert (probabilities(target, probe.outputs(features))[:, 1] < 0.05).all()
    assert table_outputs(model, rows, 16) == pytest.approx(probe.outputs(features), abs=1e-4)


def test_pooled_features_leave_the_head_as_it_was(tmp_path):
    rows = table(tmp_path, [(i % 2,) for i in range(20)])
    target = find_target(rows)
    source = load(model_folder(tmp_path / "source"))
    model = adapt(source, "sequence", target, HeadSettings(), scratch=False, seed=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert pooled_features(model, rows, 8).shape == (20, 8)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
