import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from helicon.metrics import measures as metrics


@st.composite
def class_pairs(draw):
    classes = draw(st.integers(2, 5))
    n = draw(st.integers(1, 60))
    ids = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)
    return np.array(draw(ids)), np.array(draw(ids)), classes


@st.composite
def scored(draw):
    """Yes-or-no truth with both values, and scores with ties."""
    n = draw(st.integers(2, 60))
    truth = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    truth[:2] = [0, 1]
    scores = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    return np.array(truth), np.array(scores) / 10


@given(class_pairs())
@settings(max_examples=60, deadline=None)
def test_classification_agrees_with_scikit_learn(case):
    truth, predicted, classes = case
    matrix = metrics.confusion_matrix(truth, predicted, classes)
    names = list(range(classes))
    assert (matrix == reference.confusion_matrix(truth, predicted, labels=names)).all()
    if len(np.union1d(truth, predicted)) > 1:  # with one class only, scikit-learn warns
        assert metrics.mcc(matrix) == pytest.approx(reference.matthews_corrcoef(truth, predicted))
    assert metrics.accuracy(matrix) == pytest.approx(reference.accuracy_score(truth, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(
        reference.f1_score(truth, predicted, average="macro", zero_division=0)
    )
    each = metrics.per_class(matrix)
    expected = reference.precision_recall_fscore_support(
        truth, predicted, labels=names, zero_division=0
    )
    found = (each.precision, each.recall, each.f1, each.support)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)


@given(class_pairs(), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_the_matrix_does_not_depend_on_the_batch_size(case, batch):
    truth, predicted, classes = case
    whole = metrics.confusion_matrix(truth, predicted, classes)
    parts = sum(
        metrics.confusion_matrix(truth[i : i + batch], predicted[i : i + batch], classes)
        for i in range(0, len(truth), batch)
    )
    assert (whole == parts).all()


def test_unlabelled_positions_are_not_counted():
    truth = np.array([[0, 1, -100], [-100, 1, 0]])
    predicted = np.array([[0, 0, 1], [1, 1, 0]])
    assert metrics.confusion_matrix(truth, predicted, 2).tolist() == [[2, 0], [1, 1]]


def test_mcc_is_exact_for_a_genome_of_positions():
    matrix = np.array([[3_000_000_000, 1_000_000], [2_000_000, 500_000_000]])
    small = matrix // 1_000_000
    assert metrics.mcc(matrix) == pytest.approx(metrics.mcc(small), rel=1e-12)


@pytest.mark.parametrize("matrix", [[[5, 0], [0, 0]], [[3, 0], [2, 0]], [[0, 0], [0, 0]]])
def test_mcc_of_one_class_is_zero(matrix):
    assert metrics.mcc(np.array(matrix)) == 0.0


@given(scored())
@settings(max_examples=60, deadline=None)
def test_ranking_measures_agree_with_scikit_learn(case):
    truth, scores = case
    assert metrics.auroc(truth, scores) == pytest.approx(reference.roc_auc_score(truth, scores))
    assert metrics.average_precision(truth, scores) == pytest.approx(
        reference.average_precision_score(truth, scores)
    )


def test_labels_that_cannot_be_measured_are_named():
    truth = np.array([[1.0, 0, 1], [0, 0, np.nan], [1, 0, 0]])
    scores = np.array([[0.9, 0.5, 0.2], [0.1, 0.5, 0.9], [0.8, 0.1, 0.7]])
    found = metrics.multi_label_metrics(truth, scores, ["a", "b", "c"])
    assert found.skipped == ["b"]
    assert found.metrics["auroc/a"] == 1.0
    assert found.metrics["auroc/c"] == 0.0
    assert found.metrics["mean_auroc"] == 0.5
    assert found.metrics["labels_measured"] == 2


@given(st.integers(3, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_regression_agrees_with_the_references(n, seed):
    from scipy import stats

    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, n) + rng.normal(size=n) * 1e-3
    predicted = np.round(truth + rng.normal(size=n), 1)
    found = metrics.regression_metrics(truth[:, None], predicted[:, None], ["y"])
    if np.ptp(predicted):
        assert found["pearson"] == pytest.approx(stats.pearsonr(truth, predicted).statistic)
        assert found["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, predicted))
    assert found["r2"] == pytest.approx(reference.r2_score(truth, predicted))


def test_several_regression_targets_are_measured_apart_and_averaged():
    truth = np.array([[1.0, 1], [2, np.nan], [3, 3], [4, 2]])
    predicted = np.array([[1.0, 2], [2, 9], [3, 6], [4, 4]])
    found = metrics.regression_metrics(truth, predicted, ["a", "b"])
    assert found["rmse/a"] == 0.0
    assert found["pearson/b"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(found["rmse/b"] / 2)


def test_a_constant_prediction_has_no_correlation_and_a_constant_truth_none_to_measure():
    varied, constant = np.array([1.0, 2, 3]), np.ones(3)
    assert metrics.pearson(varied, constant) == 0.0
    assert metrics.spearman(varied, constant) == 0.0
    assert math.isnan(metrics.pearson(constant, varied))


def test_streamed_regression_sums_agree_with_all_values_at_once():
    rng = np.random.default_rng(0)
    truth = 1e4 + rng.normal(size=500)
    predicted = truth + rng.normal(size=500)
    sums = metrics.RegressionSums()
    for part in np.array_split(np.arange(500), 7):
        sums.add(truth[part], predicted[part])
    found = sums.metrics()
    assert found["pearson"] == pytest.approx(metrics.pearson(truth, predicted))
    assert found["rmse"] == pytest.approx(metrics.rmse(truth, predicted))
    assert found["r2"] == pytest.approx(metrics.r2(truth, predicted))
    assert math.isnan(metrics.RegressionSums().metrics()["pearson"])


def test_the_bootstrap_interval_is_repeatable_and_holds_the_mean():
    values = [0.78, 0.81, 0.80, 0.83, 0.79]
    low, high = metrics.bootstrap_interval(values)
    assert (low, high) == metrics.bootstrap_interval(values)
    assert min(values) <= low < np.mean(values) < high <= max(values)
    summary = metrics.summarise(values)
    assert (summary.low, summary.high, summary.n) == (low, high, 5)
    assert math.isnan(metrics.summarise([0.5]).low)
