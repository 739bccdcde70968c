"""Scores of mutants equal those of the obvious way: a pass for each hidden position."""

import csv
import functools
import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from small_networks import language_model, protein_model

from helicon.alphabet import PROTEIN
from helicon.cli import main
from helicon.errors import InputError
from helicon.inference.drawing.landscape import ORDER
from helicon.inference.mutants import job as mutant_job
from helicon.inference.mutants.mutants import mutants
from helicon.inference.mutants.scores import rank_correlation, spearman_interval
from helicon.models.hub import HeliconForMaskedLM, save, with_head

WILD = "MKTAYIAKQRXLDEWGHPSTNVVCF"
OTHER = "MADRE"
ROWS = {"WT": 0.0, "K2A": 1.0, "T3A:K8*": 2.5, "C24F,M1A": 0.3, "V23A": -1.0, "E14G": 2.0}


@pytest.fixture
def model(tmp_path):
    return save(protein_model(), tmp_path / "model")


@pytest.fixture
def files(tmp_path):
    """A table of mutants, and the wild type."""
    with (tmp_path / "t.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["mutant", "dms", "note"])
        writer.writerows((name, value, "007") for name, value in ROWS.items())
    (tmp_path / "w.fa").write_text(f">w\n{WILD}\n")
    return tmp_path / "t.csv", tmp_path / "w.fa"


@functools.cache
def network() -> HeliconForMaskedLM:
    return protein_model().double()


@functools.cache
@torch.no_grad()
def log_p(text: str, hidden: int | None = None) -> np.ndarray:
    """Log-probabilities (L, 30), from one pass over the whole sequence."""
    ids = torch.from_numpy(PROTEIN.encode(text).astype(np.int64))[None]
    if hidden is not None:
        ids[0, hidden] = PROTEIN.mask_id
    return network()(ids).logits[0].log_softmax(-1).numpy()


def changes(name: str) -> list[tuple[int, str, str]]:
    return [(int(a[1:-1]) - 1, a[0], a[-1]) for a in re.split("[:,]", name) if a != "WT"]


def changed(name: str) -> str:
    letters = list(WILD)
    for at, _, new in changes(name):
        letters[at] = new
    return "".join(letters)


def marginal(name: str, *, hide: bool) -> list[float]:
    found = []
    for at, old, new in changes(name):
        row = log_p(WILD, at if hide else None)[at]
        found.append(row[PROTEIN.letters.index(new)] - row[PROTEIN.letters.index(old)])
    return found


def likelihood(text: str, *, hide: bool) -> list[float]:
    """Log-probability of every residue but the unknown one of the wild type."""
    return [
        log_p(text, at if hide else None)[at, PROTEIN.letters.index(letter)]
        for at, letter in enumerate(text)
        if WILD[at] != "X"
    ]


def wanted(name: str, strategy: str, protocol: str) -> float:
    hide = strategy in ("masked-marginal", "pseudo-perplexity")
    if strategy.endswith("marginal"):
        each = marginal(name, hide=hide)
        return sum(each) / (max(1, len(each)) if protocol == "proteingym" else 1)
    new, old = (likelihood(text, hide=hide) for text in (changed(name), WILD))
    return (sum(new) - sum(old)) / (len(new) if protocol == "proteingym" else 1)


STRATEGIES = ["masked-marginal", "wild-type-marginal", "pseudo-perplexity", "pseudo-likelihood"]


@pytest.mark.parametrize("protocol", ["sum", "proteingym"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_scores(tmp_path, model, files, strategy, protocol, monkeypatch, capsys):
    monkeypatch.setattr(mutant_job, "HIDDEN", 3)  # several shards
    out = tmp_path / "o.parquet"
    result = mutants(
        model, files[0], wild_type=files[1], out=out, strategy=strategy, protocol=protocol,
        score="dms",
    )  # fmt: skip
    table = pq.read_table(out)
    assert table["mutant"].to_pylist() == list(ROWS)
    assert table["dms"].to_pylist() == list(ROWS.values())
    assert table["note"].to_pylist() == ["007"] * len(ROWS)
    scores = table[f"score/{strategy}"].to_numpy()
    assert scores[0] == 0
    expected = [wanted(name, strategy, protocol) for name in ROWS]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=2e-5)
    (one,) = result.correlations
    assert one.spearman == pytest.approx(spearmanr(list(ROWS.values()), scores)[0])
    assert (one.protein, one.rows) == ("w", len(ROWS))
    assert one.low <= one.spearman <= one.high
    said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert said["strategy"] == strategy
    assert said["protocol"] == protocol
    assert said["softmax"] == PROTEIN.letters
    assert said["coordinates"] == "the first residue is number 1"
    if strategy == "pseudo-perplexity":
        own = [np.exp(-np.mean(likelihood(changed(name), hide=True))) for name in ROWS]
        np.testing.assert_allclose(table["pseudo-perplexity"].to_numpy(), own, rtol=1e-5)
        assert re.search(
            r"hides every residue of every mutant, 168 in all: about \d+ s", capsys.readouterr().err
        )


def test_several_wild_types_in_any_order(tmp_path, model):
    (tmp_path / "w.fa").write_text(f">a\n{OTHER}\n>w\n{WILD}\n>unused\nMMMM\n")
    (tmp_path / "t.csv").write_text("mutant,p\nT3A,w\nA2G,a\nWT,w\nK2A,w\nR4K:A2G,a\n")
    for strategy in STRATEGIES:
        out = tmp_path / f"{strategy}.csv"
        mutants(
            model, tmp_path / "t.csv", wild_type=tmp_path / "w.fa", out=out, protein_column="p",
            strategy=strategy,
        )  # fmt: skip
        frame = pl.read_csv(out)
        assert frame["mutant"].to_list() == ["T3A", "A2G", "WT", "K2A", "R4K:A2G"]
        scores = frame[f"score/{strategy}"].to_list()
        for row, name in ((0, "T3A"), (2, "WT"), (3, "K2A")):
            assert scores[row] == pytest.approx(wanted(name, strategy, "sum"), abs=2e-5)
        assert scores[4] != 0
    masked = log_p(OTHER, 1)[1]
    found = pl.read_csv(tmp_path / "masked-marginal.csv")["score/masked-marginal"][1]
    assert found == pytest.approx(masked[PROTEIN.letters.index("G")] - masked[0], abs=2e-5)


def test_a_table_already_there_or_a_skipped_row(tmp_path, model, files, capsys):
    files[0].write_text("mutant,score/masked-marginal\nK2A,1\n")
    with pytest.raises(InputError, match="has a column 'score/masked-marginal' already"):
        mutants(model, files[0], wild_type=files[1], out=tmp_path / "o.csv")
    files[0].write_text("mutant\nK2A\nA2G\n")
    result = mutants(model, files[0], wild_type=files[1], out=tmp_path / "o.csv", on_error="skip")
    assert (result.rows, result.skipped) == (1, 1)
    assert "1 rows are left out: line 3: A2G: the wild type has K" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("strategy", STRATEGIES[:2])
def test_landscape(tmp_path, model, files, suffix, strategy, monkeypatch):
    monkeypatch.setattr(mutant_job, "HIDDEN", 7)
    out = tmp_path / f"l{suffix}"
    result = mutants(
        model, wild_type=files[1], out=out, landscape=True, offset=10, strategy=strategy,
        plot=tmp_path / "l.svg", plot_region="12-34",
    )  # fmt: skip
    frame = pl.read_parquet(out) if suffix == ".parquet" else pl.read_csv(out)
    certain = [at for at, letter in enumerate(WILD) if letter != "X"]
    assert result.uncertain == 1
    assert frame["position"].to_list() == [at + 10 for at in certain for _ in range(20)]
    assert frame["wild_type"].to_list() == [WILD[at] for at in certain for _ in range(20)]
    assert frame["mutant"].to_list() == list(PROTEIN.letters[:20]) * len(certain)
    rows = np.stack([log_p(WILD, at if strategy[0] == "m" else None)[at] for at in certain])
    own = rows[np.arange(len(certain)), [PROTEIN.letters.index(WILD[at]) for at in certain]]
    expected = (rows[:, :20] - own[:, None]).ravel()
    np.testing.assert_allclose(frame[f"score/{strategy}"].to_numpy(), expected, atol=2e-5)
    text = (tmp_path / "l.svg").read_text()
    ElementTree.fromstring(text)
    cells = re.findall(r"<title>(\d+) (\w)&gt;(\w) (\S+)</title>", text)
    assert len(cells) == 22 * 19
    first = frame.filter(pl.col("position") == 12)
    shown = {new: float(value) for number, old, new, value in cells if number == "12"}
    assert set(shown) == set(ORDER) - {"T"}
    for new, value in zip(first["mutant"], first[f"score/{strategy}"], strict=True):
        assert new == "T" or shown[new] == pytest.approx(value, rel=1e-3)


def test_a_stopped_job_goes_on_to_the_same_file(tmp_path, model, files, monkeypatch):
    monkeypatch.setattr(mutant_job, "HIDDEN", 5)
    options = {"wild_type": files[1], "landscape": True}
    mutants(model, out=tmp_path / "whole.parquet", **options)
    real, count = mutant_job.masked_log_p, 0

    def stopping(*given):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(mutant_job, "masked_log_p", stopping)
    with pytest.raises(KeyboardInterrupt):
        mutants(model, out=tmp_path / "l.parquet", **options)
    assert not (tmp_path / "l.parquet").exists()
    result = mutants(model, out=tmp_path / "l.parquet", **options)
    assert result.done.resumed == 2
    assert (tmp_path / "l.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give a table of mutants, or --landscape"),
        ({"table": "t.csv", "landscape": True}, "leave it out for a landscape"),
        ({"landscape": True, "out": "o.txt"}, "must end in .parquet or .csv"),
        ({"landscape": True, "strategy": "best"}, "strategy: 'best' is not known"),
        ({"landscape": True, "protocol": "mean"}, "protocol: 'mean' is not known"),
        ({"landscape": True, "strategy": "pseudo-likelihood"}, "a landscape has"),
        ({"landscape": True, "score": "y"}, "score: is of a table"),
        ({"landscape": True, "column": "y"}, "column: is of a table"),
        ({"landscape": True, "sequence": "y"}, "sequence: is of a table"),
        ({"landscape": True, "protein_column": "y"}, "protein_column: is of a table"),
        ({"landscape": True, "on_error": "skip"}, "on_error: is of a table"),
        ({"table": "t.csv", "sequence": "s", "column": "y"}, "column: is of mutants by name"),
        ({"table": "t.csv", "plot": "p.svg"}, "plot: shows a landscape"),
        ({"landscape": True, "plot_region": "1-5"}, "plot_region: is that of a figure"),
        ({"landscape": True, "plot": "p.svg", "plot_region": "0-5"}, "has the positions 1 to 25"),
        ({"landscape": True, "plot": "p.svg", "plot_region": "x:1-5"}, "no protein 'x'"),
        ({"landscape": True, "plot": "p.svg", "plot_region": "a-b"}, "is not START-END"),
    ],
)
def test_options_that_do_not_fit(tmp_path, model, files, options, words):
    given = {"out": "o.csv", **options}
    paths = {k: tmp_path / v for k, v in given.items() if k in ("out", "table", "plot")}
    with pytest.raises(InputError, match=words) as error:
        mutants(model, wild_type=files[1], **{**given, **paths})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "o.csv").exists()


def test_a_strategy_by_its_old_name(tmp_path, model, files, capsys):
    files[0].write_text("mutant\nK2A\n")
    for name in ("masked-marginals", "masked-marginal"):
        out = tmp_path / f"{name}.csv"
        mutants(model, files[0], wild_type=files[1], out=out, strategy=name)
        assert pl.read_csv(out).columns == ["mutant", "score/masked-marginal"]
        said = "strategy masked-marginals is now called masked-marginal"
        assert (said in capsys.readouterr().err) == (name == "masked-marginals")
    assert len({path.read_bytes() for path in tmp_path.glob("masked*.csv")}) == 1


def test_only_protein_language_models(tmp_path, files):
    heads = with_head(protein_model(), "sequence", "regression", ("y",))[0]
    given = {"out": tmp_path / "o.csv", "wild_type": files[1], "landscape": True}
    with pytest.raises(InputError, match="is no language model"):
        mutants(save(heads, tmp_path / "heads"), **given)
    with pytest.raises(InputError, match="reads DNA; score its changes with `helicon variants`"):
        mutants(save(language_model(), tmp_path / "dna"), **given)


def test_from_the_command_line(tmp_path, model, files, capsys):
    words = ["mutants", str(model), str(files[0]), "--wild-type", str(files[1]), "--out"]
    assert main([*words, str(tmp_path / "o.csv"), "--score", "dms"]) == 0
    said = capsys.readouterr().out
    assert "6 mutants of 1 wild type: masked-marginal, sum, softmax over 30 letters" in said
    assert re.search(r"w: Spearman -?\d\.\d{3} \(.* to .*\), 6 rows", said)
    assert main([*words, str(tmp_path / "o.csv"), "--offset", "2"]) == 2


# ---------------------------------------------------------------- rank correlation


def test_the_interval_is_that_of_resampled_rows():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, 60).astype(float)
    scores = np.round(truth + rng.normal(0, 3, 60))
    low, high = spearman_interval(truth, scores)
    again = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        rows = again.integers(0, 60, 60)
        found.append(spearmanr(truth[rows], scores[rows])[0])
    np.testing.assert_allclose((low, high), np.quantile(found, [0.025, 0.975]), atol=1e-12)


def test_rows_without_a_measurement_do_not_count():
    measured, scores = np.array([1.0, np.nan, 2, 3, 4]), np.array([1.0, 9, 2, 4, 3])
    found = rank_correlation("p", measured, scores)
    assert found.rows == 4
    assert found.spearman == pytest.approx(0.8)
    assert np.isnan(spearman_interval(measured[:2], scores[:2])).all()
