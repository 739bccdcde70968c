import dataclasses
import json
import math

import numpy as np
import pytest
from report_pages import Page, protein_demo_results

from helicon.errors import InputError
from helicon.report import ProteinDemoResults, protein_demo_report
from helicon.report.results.spread import Spread

HOSTILE = "<script>alert(1)</script> & \"x\" 'y'"


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_shows_what_was_measured(tmp_path):
    results = protein_demo_results()
    page = read(protein_demo_report(results, tmp_path / "report.html"))
    page.assert_self_contained()
    page.assert_accessible()
    for said in (
        "Proteins of Escherichia coli 536",
        "gain in Spearman",
        f"{results.measure(results.arms[0]).mean:.3f}",
        results.measure(results.arms[1], "rmse").text(),
        "ridge regression",
        "16.90",
        "Markov, order 2 17.69",
        "45 genes",
        "1,179,808",
        "3.5 times the proteome",
        "helicon demo --system carp",
        "AutoModelForSequenceClassification.from_pretrained",
        "data: NC_008253.fa.gz",
        "1,021 residues",
        "Predicted and true: pretrained, linear probe",
    ):
        assert said in page.shown, said
    assert len(page.all("figure")) >= 4


def test_results_come_back_from_their_file_with_the_same_page(tmp_path):
    results = protein_demo_results()
    back = ProteinDemoResults.read(results.write(tmp_path / "demo.json"))
    assert back == results
    pages = [protein_demo_report(r, tmp_path / f"{i}.html") for i, r in enumerate((results, back))]
    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.mark.parametrize("seeds", [1, 12])
def test_any_number_of_seeds(tmp_path, seeds):
    page = read(protein_demo_report(protein_demo_results(seeds=seeds), tmp_path / "report.html"))
    page.assert_self_contained()
    assert ("one seed" in page.shown) == (seeds == 1)
    assert (f"over {seeds} seeds" in page.shown) == (seeds > 1)


def test_hostile_and_long_names(tmp_path):
    results = protein_demo_results(name=HOSTILE + "z" * 300)
    page = read(protein_demo_report(results, tmp_path / "report.html"))
    page.assert_self_contained()
    page.assert_accessible()


def test_thousands_of_genes_stay_a_small_page(tmp_path):
    path = protein_demo_report(protein_demo_results(genes=3000), tmp_path / "report.html")
    assert path.stat().st_size < 1_500_000


def test_measures_are_of_the_predictions():
    results = protein_demo_results(seeds=2, genes=5)
    truth = np.array(results.truth)
    reversed_ = dataclasses.replace(results.arms[0].runs[0], values=tuple((1 - truth).tolist()))
    arm = dataclasses.replace(results.arms[0], runs=(reversed_,))
    assert results.measure(arm).mean == pytest.approx(-1)
    assert results.measure(arm, "pearson").mean == pytest.approx(-1)
    error = math.sqrt(np.mean((1 - 2 * truth) ** 2))
    assert results.measure(arm, "rmse").mean == pytest.approx(error)
    assert results.gain == Spread(
        tuple(
            a - b
            for a, b in zip(*(results.measure(arm).values for arm in results.arms[:2]), strict=True)
        )
    )


def test_the_interval_of_the_gain_is_over_genes():
    clear, small = protein_demo_results(genes=2000), protein_demo_results(genes=20)
    low, high = clear.gain_interval
    assert 0 < low < high < 1
    assert high - low < small.gain_interval[1] - small.gain_interval[0]
    same = dataclasses.replace(clear, arms=(clear.arms[0], clear.arms[0]))
    assert same.gain_interval == (0, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("model"), "model"),
        (lambda c: c["split"].update(train=3), "train"),
        (lambda c: c.update(truth="abc"), "truth"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, change, said):
    path = protein_demo_results().write(tmp_path / "demo.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        ProteinDemoResults.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
