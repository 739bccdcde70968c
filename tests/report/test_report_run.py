import json

import pytest
from report_pages import Page

from helicon.errors import InputError
from helicon.report import run_report
from helicon.report.pages.run import without_folders

RECIPE = """verb = "finetune"
[recipe]
model = "convnova-tiny"
target = "label <b>"
lr = 0.001
[data]
"train.csv" = "abc123"
[versions]
torch = "2.13.0"
"""
TEST = {
    "loss": 0.41,
    "mcc": 0.71,
    "accuracy": 0.85,
    "macro_f1": None,
    "precision/no": 0.8,
    "recall/no": 0.9,
    "f1/no": 0.85,
    "support/no": 100,
    "precision/<i>yes": 0.9,
    "recall/<i>yes": 0.8,
    "f1/<i>yes": 0.85,
    "support/<i>yes": 1000,
    "confusion": [[90, 10], [200, 800]],
}
RESULTS = {
    "verb": "finetune",
    "out": "my-run",
    "problem": "single_label",
    "names": ["no", "<i>yes"],
    "monitor": "mcc",
    "notes": ["found <two> classes", "train on both strands: yes"],
    "steps": 100,
    "best_step": 80,
    "kmer_baseline": {"mcc": 0.55, "k": 4},
    "validation": {"loss": 0.4, "mcc": 0.72},
    "test": TEST,
    "provenance": {
        "seed": 3,
        "machine": "x86-64, 2 cores",
        "seconds": 75.2,
        "peak_memory_mb": 812.4,
        "commit": None,
    },
}


def rows():
    for step in range(1, 101):
        yield {
            "step": step,
            "kind": "train",
            "loss": None if step == 7 else 2 / step,
            "lr": 1e-3 / step,
            "bases_per_second": 10_000 + step,
            "seconds": step / 10,
        }
        if step % 20 == 0:
            yield {"step": step, "kind": "validation", "loss": 1 / step, "mcc": step / 200}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my-run"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_a_finished_run(run):
    path = run_report(run)
    assert path == run / "report.html"
    page = read(path)
    page.assert_self_contained()
    page.assert_accessible()
    for said in ("Fine-tuning: my-run", "test MCC", "0.710", "<i>yes", "1 min 15 s", "812 MB"):
        assert said in page.shown, said
    for said in ("100 steps, finished", "Confusion matrix, test", "Learning rate", "train.csv"):
        assert said in page.shown, said
    assert "1 recorded values that are not numbers" in page.shown
    assert "A 4-mer regression reaches 0.5500 (MCC) on validation data." in page.shown
    assert "found <two> classes" in page.shown
    assert "best step 80" in page.shown
    assert "helicon evaluate" in page.shown
    assert "commit" not in page.shown


def test_a_stopped_run_shows_its_curves_and_how_to_go_on(run):
    (run / "results.json").unlink()
    with (run / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 101, "kind": "tr')
    page = read(run_report(run))
    assert "not finished" in page.shown
    assert "--resume" in page.shown
    assert "Result" not in page.shown
    assert "Validation MCC" in page.shown


def test_a_run_that_has_only_begun(run):
    (run / "results.json").unlink()
    (run / "metrics.jsonl").unlink()
    page = read(run_report(run))
    page.assert_self_contained()
    assert "not finished" in page.shown
    assert not page.all("figure")


def test_a_pretraining_run(run):
    (run / "recipe.toml").write_text('verb = "pretrain"\n')
    results = {
        "verb": "pretrain",
        "validation": {"loss": 1.3, "accuracy": 0.37, "perplexity": 3.67},
        "test": {},
        "baselines": [
            {"order": 0, "accuracy": 0.26, "perplexity": 3.98, "loss": 1.381, "bases": 900},
            {"order": 5, "accuracy": 0.33, "perplexity": 3.81, "loss": 1.338, "bases": 900},
        ],
        "receptive_field": None,
        "split": {"train": 1000, "validation": 100},
    }
    (run / "results.json").write_text(json.dumps(results))
    page = read(run_report(run))
    for said in (
        "Pretraining: my-run",
        "Masked bases, validation",
        "this model 37.00 % (best)",
        "order-5 Markov 1.338",
        "split: train 1,000",
        "helicon finetune",
    ):
        assert said in page.shown, said


@pytest.fixture
def seeds(run):
    """A folder of three seeds, the last of which was stopped."""
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").unlink()
    for seed in range(3):
        folder = run / f"seed-{seed}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(lines)
        test = {**TEST, "mcc": 0.6 + seed / 100}
        scores = {"validation": {"mcc": 0.7 + seed / 100}, "test": test}
        if seed < 2:
            (folder / "results.json").write_text(json.dumps({**RESULTS, **scores}))
    spread = [
        {"part": part, "measure": name, "mean": mean, "sd": sd, "low": 0.6, "high": 0.8, "n": 2}
        for part, name, mean, sd in (
            ("validation", "mcc", 0.705, 0.007),
            ("test", "mcc", 0.605, None),
            ("test", "auroc", None, None),
            ("test", "f1/no", 0.85, 0.1),
        )
    ]
    means = {"validation": {"mcc": 0.705}, "test": {"mcc": 0.605, "f1/no": 0.85}}
    (run / "results.json").write_text(json.dumps({**RESULTS, **means, "spread": spread}))
    return run


def test_a_run_of_several_seeds_shows_all_of_them(seeds):
    page = read(run_report(seeds))
    page.assert_self_contained()
    page.assert_accessible()
    for said in (
        "3 seeds of 100 steps",
        "0.7050 ± 0.0070",
        "over 2 seeds",
        "MCC of every seed",
        "4-mer regression, validation",
        "All 2 seeds together",
        "Means over the seeds",
        "Class by class, test",
        "Training loss",
    ):
        assert said in page.shown, said


def test_seeds_that_are_still_running_show_their_curves(seeds):
    (seeds / "results.json").unlink()
    page = read(run_report(seeds))
    assert "not finished" in page.shown
    assert "Validation MCC" in page.shown


def test_a_linear_probe_has_no_curves(run):
    row = {"step": 0, "kind": "validation", "mcc": 0.7}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    page = read(run_report(run))
    assert "Validation MCC" not in page.shown
    assert "0 steps" not in page.shown


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="is no run folder") as caught:
        run_report(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_damaged_results_are_named(run, text):
    (run / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json"):
        run_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('train = "/home/me/My data/t.csv"', 'train = "t.csv"'),
        ('model = "runs/pre"', 'model = "runs/pre"'),
        ('model = "user/name"', 'model = "user/name"'),
        ("clusters: ~/x/c.tsv, 3", "clusters: c.tsv, 3"),
        (r"from C:\Users\me\t.csv", "from t.csv"),
        ("1/2 of 3 / 4", "1/2 of 3 / 4"),
        ("bases/s and https://example.org/a/b", "bases/s and https://example.org/a/b"),
    ],
)
def test_folders_of_a_machine_are_left_out(text, shown):
    assert without_folders(text) == shown


def test_a_report_can_be_sent_to_others(run):
    """Its commands and its recipe name no folder of the machine."""
    recipe = RECIPE.replace('"convnova-tiny"', f'"{run.parent}/pre"')
    (run / "recipe.toml").write_text(recipe)
    notes = [f"weights from {run.parent}/pre/model"]
    (run / "results.json").write_text(json.dumps({**RESULTS, "notes": notes}))
    page = read(run_report(run))
    assert str(run.parent) not in page.text
    assert "helicon evaluate my-run DATA.csv" in page.shown
    assert "weights from model" in page.shown
