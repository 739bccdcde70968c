import numpy as np
import pytest
from sklearn.linear_model import Ridge

from helicon.alphabet import PROTEIN
from helicon.data.tables.tables import read_table
from helicon.metrics import measures as metrics
from helicon.metrics.targets import find_target
from helicon.training.yardsticks import one_hot
from helicon.training.yardsticks.one_hot import ALPHAS, one_hot_ridge

WILD = "MKVLAWGGSTPD"
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def scan(folder, n, seed=0, name="scan.csv", noise=0.1):
    """Variants at four positions, whose effects add up."""
    rng, effects = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(12, 20))
    rows = []
    for _ in range(n):
        text, value = list(WILD), 5.0
        for at in rng.choice([2, 5, 6, 11], size=rng.integers(1, 4), replace=False):
            letter = int(rng.integers(20))
            text[at], value = LETTERS[letter], value + effects[at, letter]
        rows.append(("".join(text), value + noise * rng.normal()))
    path = folder / name
    path.write_text("sequence,y\n" + "".join(f"{s},{y:.6f}\n" for s, y in rows))
    return read_table(path, target="y", alphabet=PROTEIN)


def dense(table):
    ids = table.ids.reshape(len(table), -1)
    return np.eye(30)[ids].reshape(len(table), -1)


@pytest.mark.parametrize("rows", [300, 40])  # more rows than columns, and fewer
def test_it_is_scikit_learns_ridge(tmp_path, rows):
    train, valid, test = (scan(tmp_path, n, i, f"{i}.csv") for i, n in enumerate((rows, 60, 80)))
    target = find_target(train)
    found = one_hot_ridge(train, {"validation": valid, "test": test}, target)
    assert (found.columns <= rows) == (rows == 300)
    model = Ridge(alpha=found.alpha).fit(dense(train), train.labels)
    expected = model.predict(dense(test))
    assert found.scores["test"].metrics["spearman"] == pytest.approx(
        metrics.spearman(test.labels, expected), abs=1e-3
    )
    assert found.scores["test"].metrics["rmse"] == pytest.approx(
        metrics.rmse(test.labels, expected), rel=1e-3
    )
    reached = [
        metrics.spearman(
            valid.labels, Ridge(alpha=a).fit(dense(train), train.labels).predict(dense(valid))
        )
        for a in ALPHAS
    ]
    assert found.scores["validation"].metrics["spearman"] == pytest.approx(max(reached), abs=2e-3)
    assert found.as_dict()["spearman"] == found.scores["validation"].metrics["spearman"]


def test_it_finds_effects_that_add_up_in_blocks_too(tmp_path, monkeypatch):
    train, valid = scan(tmp_path, 300), scan(tmp_path, 60, 1, "v.csv")
    whole = one_hot_ridge(train, {"validation": valid}, find_target(train))
    assert whole.scores["validation"].metrics["spearman"] > 0.9
    monkeypatch.setattr(one_hot, "_BLOCK", 999)
    cut = one_hot_ridge(train, {"validation": valid}, find_target(train))
    assert cut.scores["validation"].metrics == pytest.approx(whole.scores["validation"].metrics)


def test_where_it_does_not_apply(tmp_path, monkeypatch):
    train, valid = scan(tmp_path, 100), scan(tmp_path, 30, 1, "v.csv")
    target = find_target(train)
    (tmp_path / "u.csv").write_text("sequence,y\nMKV,1.5\nMKVL,2.5\n")
    uneven = read_table(tmp_path / "u.csv", target="y", alphabet=PROTEIN)
    assert one_hot_ridge(train, {"validation": uneven}, target) is None
    monkeypatch.setattr(one_hot, "MAX_COLUMNS", 3)
    assert one_hot_ridge(train, {"validation": valid}, target) is None
