"""Self-distillation on a page: what is said of a teacher, and what is drawn."""

import dataclasses
import json
import math

import pytest
from report_pages import Page, demo_results, watched_rows

from helicon.report import DemoResults, demo_report, run_report
from helicon.report.results.distillation import COLLAPSED, Watch

RECIPE = """verb = "pretrain"
[recipe]
model = "findna-tiny"
objective = "self-distillation"
cls_tokens = 10
"""
RESULTS = {
    "verb": "pretrain",
    "validation": {"loss": 1.36, "accuracy": 0.31, "perplexity": 3.9},
    "test": {"loss": 1.35, "accuracy": 0.32, "perplexity": 3.8},
    "student": {
        "model": "run/student",
        "test": {"loss": 1.3, "accuracy": 0.345, "perplexity": 3.6},
    },
    "baselines": [{"order": 0, "accuracy": 0.26, "perplexity": 3.98, "loss": 1.381, "bases": 900}],
}


def watch(**options) -> Watch:
    found = Watch.of(watched_rows(**options), {})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("spread", "entropy", "collapsed", "said"),
    [
        (0.12, 1.2, False, "has not collapsed"),
        (0.12, 0.01, False, "has not collapsed"),  # sharp, but another token each time
        (0.02, 2.25, False, "has nearly collapsed"),
        (0.001, 0.02, True, "the same token has all weight for every sequence"),
        (0.001, 2.29, True, "all tokens have the same weight for every sequence"),
        (0.001, 1.2, True, "the tokens have the same weights for every sequence"),
    ],
)
def test_a_teacher_that_says_the_same_of_every_sequence_has_collapsed(
    spread, entropy, collapsed, said
):
    found = watch(spread=spread, entropy=entropy)
    assert found.collapsed is collapsed
    assert said in found.verdict()
    assert f"{spread:.3f}, {spread / 0.3:.0%}".replace("%", "\u00a0%") in found.verdict()
    assert "2.30: all tokens are alike" in found.verdict()
    assert "in 40\u00a0% of the channels, where chance gives 10\u00a0%" in found.verdict()


def test_distributions_over_channels_are_told_as_such(run):
    found = Watch.of(watched_rows(choices=80, spread=0.001), {"cls_softmax": "channels"})
    assert found.collapsed is True
    assert found.most_entropy == pytest.approx(math.log(80))
    for said in (
        "the channels have the same weights for every sequence",
        "its distributions over the 80 channels of a CLS token differ",
        "4.38: all channels are alike",
        "the teacher's first channel in 40\u00a0% of the tokens, where chance gives 1\u00a0%",
    ):
        assert said in found.verdict(), said
    (run / "recipe.toml").write_text(RECIPE + 'cls_softmax = "channels"\n')
    rows = watched_rows(choices=80)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = read(run_report(run)).shown
    for said in ("Entropy over the channels", "log 80 4.382", "one channel", "chance 0.013"):
        assert said in shown, said


def test_the_most_spread_is_that_of_certain_and_different_teachers():
    """Each of ten sequences has all weight on a token of its own."""
    certain = [[float(i == j) for j in range(10)] for i in range(10)]
    mean = [sum(column) / 10 for column in zip(*certain, strict=True)]
    variance = [sum((row[j] - mean[j]) ** 2 for row in certain) / 10 for j in range(10)]
    wanted = sum(map(math.sqrt, variance)) / 10
    assert watch().most_spread == pytest.approx(wanted)
    assert watch(spread=1.01 * COLLAPSED * wanted).collapsed is False
    assert watch(spread=0.99 * COLLAPSED * wanted).collapsed is True


def test_the_end_of_the_run_is_judged():
    rows = watched_rows(spread=0.2)
    for row in rows[-10:]:
        row["spread"] = 0.0001
    assert Watch.of(rows, {}).collapsed is True
    rows = watched_rows(spread=0.0001)
    for row in rows[-10:]:
        row["spread"] = 0.2
    assert Watch.of(rows, {}).collapsed is False


def test_batches_of_one_sequence_cannot_be_judged():
    found = watch(spread=0.0)
    assert found.collapsed is None
    assert "cannot be told" in found.verdict()


def test_another_objective_and_a_run_that_has_only_begun_have_no_teacher():
    assert Watch.of([{"step": 1, "kind": "train", "loss": 1.0}], {}) is None
    assert Watch.of([], {}) is None


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my-run"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    rows = watched_rows()
    rows[3]["cls_loss"] = None
    rows.append({"step": 100, "kind": "validation", "loss": 1.36, "accuracy": 0.31})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_of_a_run_shows_both_losses_and_the_watch(run):
    page = read(run_report(run))
    page.assert_self_contained()
    page.assert_accessible()
    for said in (
        "Loss on hidden letters",
        "Loss between the views",
        "The teacher has not collapsed",
        "Entropy over the CLS tokens",
        "log 10 2.303",
        "Agreement of the two views",
        "chance 0.100",
        "Spread of the teacher over sequences",
        "Norm of the centre",
        "test, student",
        "0.3450",
    ):
        assert said in page.shown, said
    labels = " ".join(a.get("aria-label", "") for a in page.all("svg"))
    assert "Reference log 10: 2.303." in labels
    assert "to 1.36 at step 100" in labels  # validation stands beside the loss on hidden letters


def test_a_stopped_run_shows_its_watch(run):
    (run / "results.json").unlink()
    page = read(run_report(run))
    assert "The teacher has not collapsed" in page.shown
    assert "not finished" in page.shown


def test_a_run_of_another_objective_says_nothing_of_it(run):
    (run / "recipe.toml").write_text('verb = "pretrain"\n[recipe]\nmodel = "convnova-tiny"\n')
    rows = [{"step": 1, "kind": "train", "loss": 1.3}]
    (run / "metrics.jsonl").write_text(json.dumps(rows[0]) + "\n")
    page = read(run_report(run))
    assert "Teacher and student" not in page.shown
    assert "The teacher" not in page.shown


def test_the_page_of_the_demo_shows_it_too(tmp_path):
    plain = demo_results()
    assert "teacher" not in read(demo_report(plain, tmp_path / "plain.html")).shown
    pretraining = dataclasses.replace(plain.pretraining, watch=watch(), note="A short run <b>.")
    probe = dataclasses.replace(plain.arms[1], name="probe", runs=plain.arms[1].runs[:1])
    results = dataclasses.replace(
        plain,
        pretraining=pretraining,
        arms=(*plain.arms, probe),
        objective="self-distillation",
    )
    back = DemoResults.read(results.write(tmp_path / "demo.json"))
    assert back == results
    page = read(demo_report(back, tmp_path / "report.html"))
    page.assert_self_contained()
    page.assert_accessible()
    for said in (
        "pretrained by self-distillation",
        "A short run <b>.",
        "The teacher has not collapsed",
        "validation: the teacher, to which all are hidden.",
        "Each probe is one run.",
    ):
        assert said in page.shown, said
