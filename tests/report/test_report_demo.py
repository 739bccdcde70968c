import dataclasses
import json
import math

import pytest
from report_pages import Page, demo_results

from helicon.errors import InputError
from helicon.report import DemoResults, demo_report, region_figure

HOSTILE = "<script>alert(1)</script> & \"x\" 'y'"


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_shows_what_was_measured(tmp_path):
    page = read(demo_report(demo_results(), tmp_path / "report.html"))
    page.assert_self_contained()
    page.assert_accessible()
    for said in (
        "Gene finding in Escherichia coli 536",
        "gain in MCC",
        "37.0 %",
        "order-5 Markov",
        "F1 coding forward",
        "helicon demo --out runs/demo",
        "AutoModelForTokenClassification.from_pretrained",
        "data: NC_008253.fa.gz",
        "1,234 MB",
        "697 bp",
    ):
        assert said in page.shown, said
    assert len(page.all("figure")) >= 8


def test_results_come_back_from_their_file_with_the_same_page(tmp_path):
    results = demo_results()
    back = DemoResults.read(results.write(tmp_path / "demo.json"))
    assert back == results
    pages = [demo_report(r, tmp_path / f"{i}.html") for i, r in enumerate((results, back))]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_numbers_that_are_none_come_back_as_nan(tmp_path):
    results = demo_results()
    run = dataclasses.replace(results.pretraining, training=((1.0, math.nan), (2.0, 1.4)))
    results = dataclasses.replace(results, pretraining=run, receptive_field=None)
    back = DemoResults.read(results.write(tmp_path / "demo.json"))
    assert math.isnan(back.pretraining.training[0][1])
    assert back.receptive_field is None
    assert "not numbers are left out" in read(demo_report(back, tmp_path / "r.html")).shown


@pytest.mark.parametrize("seeds", [1, 12])
def test_any_number_of_seeds(tmp_path, seeds):
    page = read(demo_report(demo_results(seeds=seeds), tmp_path / "report.html"))
    page.assert_self_contained()
    assert ("one seed" in page.shown) == (seeds == 1)
    assert ("interval" in page.shown) == (seeds > 1)


def test_hostile_and_long_names(tmp_path):
    page = read(demo_report(demo_results(name=HOSTILE + "z" * 300), tmp_path / "report.html"))
    page.assert_self_contained()
    page.assert_accessible()


def test_a_long_region_stays_a_small_page(tmp_path):
    path = demo_report(demo_results(length=200_000), tmp_path / "report.html")
    assert path.stat().st_size < 600_000


def test_the_gain_is_paired_by_seed():
    results = demo_results()
    assert len(results.gain.values) == 3
    other = dataclasses.replace(results.arms[1], runs=results.arms[1].runs[:2])
    unpaired = dataclasses.replace(results, arms=(results.arms[0], other))
    assert len(unpaired.gain.values) == 1
    assert unpaired.gain.mean == pytest.approx(results.arms[0].mcc.mean - other.mcc.mean)


def test_the_region_can_be_a_picture(tmp_path):
    path = region_figure(demo_results()).write(tmp_path / "region.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("model"), "model"),
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c.update(split=[1]), "split"),
        (lambda c: c["pretraining"].update(training=[[1]]), "shorter"),
        (lambda c: c.update(classes="abc"), "classes"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, change, said):
    path = demo_results().write(tmp_path / "demo.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        DemoResults.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "demo.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"demo\.json"):
        DemoResults.read(path)
