import inspect
import json
import math
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from small_cases import CONFIG, letters, motif_rows, write_csv
from torch import nn

from helicon.cli import main
from helicon.data.sampling.batching import evaluation_batches
from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.metrics.measured import measures_of
from helicon.metrics.measures import mcc, summarise
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save
from helicon.models.huggingface.folder import weights_hash
from helicon.models.parts.heads import AttentionPool, MeanPool
from helicon.training.adaptation.linear import fit_probe
from helicon.training.finetune.finetune import finetune
from helicon.training.probe.attention import AttentionSettings, Rows, learn_attention
from helicon.training.probe.features import TableFeatures
from helicon.training.probe.probe import probe
from helicon.training.probe.result import ProbeResult, rows_intervals

CPU = {"accelerator": "cpu", "precision": "float32"}


def language_model(seed, cls_tokens=2):
    torch.manual_seed(seed)
    config = HeliconConfig.of(CONFIG)
    config.cls_tokens = cls_tokens
    return HeliconForMaskedLM(config).eval()


@pytest.fixture
def model(tmp_path):
    """The folder of a self-distilled run, as far as models go."""
    save(language_model(1), tmp_path / "distilled" / "model")
    save(language_model(2), tmp_path / "distilled" / "student")
    return str(tmp_path / "distilled")


@pytest.fixture
def files(tmp_path):
    parts = {"data": 120, "valid": 40, "test": 60}
    return {
        name: write_csv(tmp_path / f"{name}.csv", motif_rows(n, i))
        for i, (name, n) in enumerate(parts.items())
    }


def row(result, network, pool):
    return next(r for r in result.rows if (r.network, r.pool) == (network, pool))


def test_every_option_is_listed():
    documented = inspect.getdoc(probe)
    assert all(f"\n    {name}: " in documented for name in inspect.signature(probe).parameters)


def test_every_pooling_of_every_network_in_one_table(tmp_path, model, files):
    found = probe(
        model, **files, out=tmp_path / "run", pools="cls,mean,max", networks="teacher,student",
        untrained=True, seeds=2, **CPU,
    )  # fmt: skip
    pools = ("mean", "max", "cls")
    networks = ("teacher", "student", "untrained")
    assert [(r.network, r.pool) for r in found.rows] == [(n, p) for n in networks for p in pools]
    assert [len(row(found, n, "mean").fits) for n in networks] == [1, 1, 2]
    assert row(found, "teacher", "cls").varies == ()
    assert row(found, "untrained", "cls").varies == ("the weights of the network",)
    values = [fit.scores["test"]["mcc"] for fit in row(found, "untrained", "max").fits]
    assert values[0] != values[1]
    assert row(found, "untrained", "max").summary("test", "mcc") == summarise(values)
    over = row(found, "teacher", "max").summary("test", "mcc").mean - np.mean(values)
    assert found.gain(row(found, "teacher", "max")) == pytest.approx(over)
    lines = found.summary.splitlines()
    assert lines[0] == "test: 60 rows"
    assert lines[1].split() == ["network", "pool", "mcc", "accuracy", "over", "untrained"]
    assert "one fit: value [95 % bootstrap interval over test rows]" in lines
    assert any(line.startswith("2 seeds: mean") for line in lines)


@pytest.mark.parametrize("pool", ["mean", "max", "cls"])
@pytest.mark.parametrize("network", ["teacher", "student"])
def test_a_fit_is_the_linear_probe_of_finetune(tmp_path, model, files, pool, network):
    one = probe(model, **files, out=tmp_path / "a", pools=pool, networks=network, **CPU)
    two = finetune(
        model, **files, out=tmp_path / "b", pool=pool, network=network, freeze=True, **CPU
    )
    for part in ("validation", "test"):
        found = one.rows[0].fits[0].scores[part]
        assert found == pytest.approx(two.scores[part].main, abs=1e-4)
    frames = [
        pl.read_parquet(tmp_path / name)
        for name in (f"a/predictions/{network}-{pool}.parquet", "b/predictions/test.parquet")
    ]
    assert frames[0].columns == frames[1].columns
    assert frames[0]["prediction"].equals(frames[1]["prediction"])


def test_the_untrained_network_is_that_of_finetune_from_scratch(tmp_path, model, files):
    one = probe(model, **files, out=tmp_path / "a", pools="mean", untrained=True, seeds=2, **CPU)
    for fit in row(one, "untrained", "mean").fits:
        two = finetune(
            model, **files, out=tmp_path / f"b{fit.seed}", scratch=True, freeze=True,
            seed=fit.seed, **CPU,
        )  # fmt: skip
        assert fit.scores["test"] == pytest.approx(two.scores["test"].main, abs=1e-4)


def test_without_a_validation_file_every_seed_holds_out_other_rows(tmp_path, model, files):
    del files["valid"]
    found = probe(model, **files, out=tmp_path / "run", pools="mean", seeds=3, seed=5, **CPU)
    (mean,) = found.rows
    assert [fit.seed for fit in mean.fits] == [5, 6, 7]
    assert mean.varies == ("the rows held out for validation",)
    assert len({fit.scores["validation"]["loss"] for fit in mean.fits}) == 3
    names = sorted(path.name for path in (found.run / "predictions").iterdir())
    assert names == [f"pretrained-mean-seed-{seed}.parquet" for seed in (5, 6, 7)]


def test_attention_learns_where_to_look(tmp_path):
    """A mark tells which position's sign is the label; all other positions are noise."""
    rng = np.random.default_rng(0)
    rows, length = 240, 30
    labels = rng.integers(0, 2, rows)
    at = rng.integers(0, length, rows)
    values = rng.normal(0, 1, (rows, length, 3)).astype(np.float32)
    values[..., 0] = 0
    values[np.arange(rows), at] = np.stack([np.full(rows, 4), 2 * labels - 1, at * 0], axis=1)
    path = write_csv(tmp_path / "t.csv", [("A" * length, label) for label in labels])
    table, target = read_table(path, target="label"), Target.plain("single_label", ("0", "1"))
    packed = torch.from_numpy(values.reshape(-1, 3))
    features = TableFeatures(
        Network(language_model(0)), table, 16, {}, packed.mean(0), packed.std(0), packed
    )
    parts = [
        Rows(features, some, labels[some])
        for some in (np.arange(120), np.arange(120, 180), np.arange(180, rows))
    ]
    settings = AttentionSettings(None, 0.05, 16, "none", "mcc")
    pools = [learn_attention(*parts[:2], target, settings, seed) for seed in (1, 1, 2)]
    assert torch.equal(pools[0].score.weight, pools[1].score.weight)
    assert not torch.equal(pools[0].score.weight, pools[2].score.weight)
    reached = []
    for module in (pools[0], MeanPool()):
        train, valid, test = (features.through(module, part.rows) for part in parts)
        fitted = fit_probe(
            (train, parts[0].labels), (valid, parts[1].labels), target, monitor="mcc"
        )
        outputs = fitted.outputs(test)
        reached.append(measures_of(target, parts[2].labels, outputs).metrics["accuracy"])
    assert reached[0] > 0.95 > 0.8 > reached[1]


@pytest.fixture
def features(model, files):
    table = read_table(files["data"], target="label")
    network = Network(load(model))
    return [
        TableFeatures.of(network, table, ["mean", "attention"], 16, keep=keep)
        for keep in (True, False)
    ]


def test_kept_and_recomputed_features_are_the_same(features, tmp_path, model, files):
    kept, anew = features
    assert kept.positions is not None and anew.positions is None
    rows = np.array([7, 2, 99])
    module = AttentionPool(8)
    assert kept.through(module, rows) == pytest.approx(anew.through(module, rows), abs=1e-6)
    assert kept.through(module)[rows] == pytest.approx(kept.through(module, rows), abs=1e-6)
    results = [
        probe(
            model, **files, out=tmp_path / str(cache), pools="attention", seeds=1, cache=cache,
            epochs=2, **CPU,
        )
        for cache in (1.0, 0.0)
    ]  # fmt: skip
    one, two = (r.rows[0].fits[0].scores["test"] for r in results)
    assert one == pytest.approx(two, abs=1e-5)
    assert "are kept" in results[0].notes[-1] and "computed anew" in results[1].notes[-1]


def test_the_scale_is_that_of_all_positions(features):
    packed = features[0].positions
    torch.testing.assert_close(features[0].center, packed.mean(0))
    torch.testing.assert_close(features[0].spread, packed.std(0, correction=0))
    batch = next(evaluation_batches(features[0].table, 4))
    at, mask = features[0].at(batch)
    start = features[0].table.offsets[batch["rows"][1]]
    torch.testing.assert_close(at[1][mask[1]], packed[start : start + int(mask[1].sum())])


def test_the_test_file_chooses_nothing(tmp_path, model, files):
    options = {"pools": "attention", "seeds": 1, "epochs": 1, **CPU}
    one = probe(model, **files, out=tmp_path / "a", **options)
    files["test"] = write_csv(tmp_path / "other.csv", motif_rows(20, 9))
    two = probe(model, **files, out=tmp_path / "b", **options)
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a.fits[0].strength == b.fits[0].strength
        assert a.fits[0].scores["validation"] == b.fits[0].scores["validation"]


def test_intervals_over_rows_are_those_of_drawn_rows():
    rng = np.random.default_rng(3)
    target = Target.plain("single_label", ("no", "yes"))
    truth = rng.integers(0, 2, 300)
    outputs = np.stack([np.zeros(300), truth + rng.normal(0, 1, 300) - 0.5], axis=1)
    outputs = outputs.astype(np.float32)
    found = rows_intervals(target, truth, outputs)
    value = measures_of(target, truth, outputs).main
    for name in ("mcc", "accuracy", "auroc"):
        low, high = found[name]
        assert low < value[name] < high
    right = (outputs.argmax(1) == truth).astype(float)
    half = 1.96 * math.sqrt(right.var() / len(right))  # of a share, from its standard error
    low, high = found["accuracy"]
    assert (low, high) == pytest.approx((right.mean() - half, right.mean() + half), abs=0.01)
    one_class = rows_intervals(target, np.zeros(5, np.int64), outputs[:5])
    assert math.isnan(one_class["auroc"][0]) and mcc(np.array([[5, 0], [0, 0]])) == 0


def test_numbers_and_several_labels(tmp_path, model):
    rng = np.random.default_rng(0)
    texts = [letters(rng, 30) for _ in range(120)]
    rows = [(t, round(500 + 20 * t.count("A") + rng.normal(), 2), int("GG" in t), 0) for t in texts]
    train = write_csv(tmp_path / "t.csv", rows, "sequence,level,double,never")
    options = {"test": train, "seeds": 1, "pools": "mean,attention", "epochs": 3, **CPU}
    found = probe(model, train, out=tmp_path / "a", target="level", **options)
    assert found.problem == "regression"
    assert found.rows[0].summary("test", "spearman").mean > 0.5
    assert found.rows[0].summary("test", "rmse").mean < np.std([r[1] for r in rows])
    found = probe(model, train, out=tmp_path / "b", target="double,never", **options)
    assert found.problem == "multi_label" and found.measures[0] == "mean_auroc"
    assert found.rows[1].summary("test", "mean_auroc").mean > 0.5


def test_results_are_read_again_wherever_they_are(tmp_path, model, files):
    words = {**files, "pools": "mean,attention", "untrained": True, "seeds": 2, "epochs": 1, **CPU}
    found = probe(model, **words, out=tmp_path / "run")
    with pytest.raises(InputError, match="holds a finished probe run"):
        probe(model, **words, out=tmp_path / "run")
    again = probe(model, **words, out=tmp_path / "run", resume=True)
    assert again.summary == found.summary
    values = json.loads((tmp_path / "run" / "results.json").read_text())
    assert values["rows"][0]["interval_over"] == "rows"
    assert values["rows"][1]["interval_over"] == "seeds"
    assert values["rows"][1]["test"]["mcc"]["n"] == 2
    assert set(values["provenance"]["data"]) == {"data", "valid", "test", "pretrained"}
    shutil.move(tmp_path / "run", tmp_path / "moved")
    moved = ProbeResult.read(tmp_path / "moved")
    assert moved.rows[1].summary("test", "mcc") == found.rows[1].summary("test", "mcc")


def test_the_weights_of_a_model_in_shards_are_recorded(tmp_path, model, files):
    load(model).save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    words = {**files, "pools": "mean", "untrained": True, "seeds": 1, **CPU}
    probe(str(tmp_path / "shards"), **words, out=tmp_path / "run")
    values = json.loads((tmp_path / "run" / "results.json").read_text())
    assert values["provenance"]["data"]["pretrained"] == weights_hash(tmp_path / "shards")


def test_a_size_without_weights_is_probed_as_it_is(tmp_path, files):
    found = probe("convnova-tiny", **files, out=tmp_path / "run", pools="mean", seeds=2, **CPU)
    assert [(r.network, len(r.fits)) for r in found.rows] == [("untrained", 2)]


def test_the_backbone_is_left_as_it_was(tmp_path, model, files, monkeypatch):
    """No gradient ever reaches it, and it is read once where features are kept."""
    calls = []
    whole = nn.Module.__call__

    def counting(self, *args, **more):
        if self.__class__.__name__ == "ConvNova":
            assert not torch.is_grad_enabled()
            calls.append(1)
        return whole(self, *args, **more)

    monkeypatch.setattr(nn.Module, "__call__", counting)
    probe(model, **files, out=tmp_path / "run", pools="mean,max,attention", seeds=3, **CPU)
    assert len(calls) == sum(-(-n // 32) for n in (120, 40, 60))


WRONG = {
    "pool": ({"pools": "mean,median"}, "pools: 'median' is not known; choose of mean,max"),
    "no pool": ({"pools": ""}, "pools: '' is not known"),
    "network": ({"networks": "pupil"}, "networks: 'pupil' is not known; choose of teacher,student"),
    "no student": ({"model": "MODEL/model", "networks": "student"}, "has no student network"),
    "size": ({"model": "convnova-tiny", "networks": "teacher"}, "is a size without weights"),
    "no tokens": ({"model": "convnova-tiny", "pools": "cls"}, "pool: cls needs a model"),
    "seeds": ({"seeds": 0}, "seeds: must be at least 1, not 0"),
    "epochs": ({"epochs": 0.0}, "epochs: must be more than 0"),
    "fraction": ({"validation_fraction": 1.0}, "validation_fraction: must be between 0 and 1"),
    "cache": ({"cache": -1.0}, "cache: must not be negative"),
    "contacts": ({"task": "contacts"}, "task: contacts are probed by helicon finetune"),
    "monitor": ({"monitor": "f1"}, "monitor: 'f1' is not measured here"),
    "column": ({"target": "klass"}, r"data\.csv: .*'klass'"),
    "weights": ({"task": "regression", "class_weights": "sqrt"}, "class_weights: a regression"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, model, files, case):
    options, words = WRONG[case]
    asked = str(options.get("model", "MODEL")).replace("MODEL", model)
    more = {k: v for k, v in options.items() if k != "model"}
    with pytest.raises(InputError, match=words) as said:
        probe(asked, **{**files, **more}, out=tmp_path / "run", **CPU)
    assert "\n" not in str(said.value)
    assert not (tmp_path / "run").exists()


def test_on_the_command_line(tmp_path, model, files, capsys):
    words = ["probe", model, str(files["data"]), "--test", str(files["test"])]
    words += ["--out", str(tmp_path / "run"), "--pools", "mean,cls", "--seeds", "2"]
    words += ["--networks", "student", "--untrained", "--accelerator", "cpu"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "over untrained" in shown.out and "next: helicon finetune" in shown.out
    assert "student, cls: seeds vary the rows held out for validation" in shown.err
    assert main([*words, "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [r["network"] for r in found["rows"]] == ["student"] * 2 + ["untrained"] * 2
    assert main(["probe", model, str(files["data"]), "--out", "x", "--pools", "all"]) == 2
    assert capsys.readouterr().err.startswith("helicon probe: pools: 'all' is not known")
