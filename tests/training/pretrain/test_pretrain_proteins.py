"""Pretraining from a file of proteins to a model folder: results, splits, resumption, options."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from helicon.alphabet import PROTEIN
from helicon.data.sampling.token_batches import TokenBatches
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError
from helicon.models.hub import HeliconForMaskedLM, load
from helicon.objectives.masked_lm import IGNORE, Masking
from helicon.report import run_report
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.pretrain import pretrain as module
from helicon.training.pretrain.masked_proteins import MaskedProteins, measure_proteins
from helicon.training.pretrain.pretrain import pretrain
from helicon.training.pretrain.result import PretrainResult
from helicon.training.run.folder import read_metrics

SMALL = {
    "model": "carp-600k",
    "backbone": {"d_model": 16, "blocks": 2},
    "max_tokens": 512,
    "validation_fraction": 0.1,
    "test_fraction": 0.1,
    "accelerator": "cpu",
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


def proteins(folder, count=90, name="p.fa", unit="WCHMP"):
    """Unrelated sequences, each with a stretch in which some letters come again and again."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        text = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), rng.integers(20, 60)))
        lines.append(f">p{i}\r\nm{text.lower()}{unit * int(rng.integers(4, 12))}*\r\n")
    path = folder / name
    path.write_bytes("".join(lines).encode())
    return path


@pytest.fixture
def fasta(tmp_path):
    return proteins(tmp_path)


@pytest.fixture
def unrelated(tmp_path):
    return proteins(tmp_path, unit="")


def run(fasta, out, **options):
    return pretrain(fasta, out=out, **({"steps": 6} | SMALL | options))


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_proteins_become_a_model(fasta, tmp_path):
    options = {"cluster_by": "none", "lr": 0.02, "backbone": {"d_model": 32, "blocks": 4}}
    result = run(fasta, tmp_path / "run", steps=100, **options)
    assert result.unit == "residues" and result.steps == 100
    assert set(result.test) == {"loss", "accuracy", "perplexity", "carp_loss"}
    assert set(result.validation) == {"loss", "accuracy", "perplexity"}
    assert result.test["accuracy"] > result.baselines[0].accuracy + 0.1
    assert [b.order for b in result.baselines] == [0, 1, 2]
    held = json.loads((tmp_path / "run" / "results.json").read_text())
    assert held["residues"] == result.letters and held["residues_per_second"] > 0
    assert "letters" not in held and "bases" not in held and held["unit"] == "residues"
    found = held["proteins"]
    assert sum(found["sequences"].values()) == 90 == sum(found["clusters"].values())
    assert found["real_fraction"] > 0.85 and found["clusters_by"] == "every sequence is one"
    assert sum(held["split"].values()) == sum(
        len(line.strip().rstrip("*")) for line in fasta.read_text().split() if line[0] != ">"
    )
    assert isinstance(load(tmp_path / "run"), HeliconForMaskedLM)
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "A language model of proteins" in card and "residues" in card
    for said in ("Markov, order 2", "residues a second", "90 sequences in 90 clusters"):
        assert said in result.summary


def test_what_is_counted_are_residues_not_padding(fasta, tmp_path):
    result = run(fasta, tmp_path / "run", steps=None, epochs=2, cluster_by="none")
    # Two whole epochs: every residue of the training part twice.
    assert result.steps == 2 * result.proteins.batches
    assert result.letters == 2 * result.split["train"]
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    assert train[-1]["residues"] == result.letters and "bases" not in train[-1]
    page = run_report(tmp_path / "run").read_text()
    for said in ("Masked residues", "residues per second", "every sequence is one"):
        assert said in page
    assert "ases per second" not in page


def test_the_written_recipe_says_what_was_decided(unrelated, tmp_path, monkeypatch):
    first = run(unrelated, tmp_path / "run")
    text = (tmp_path / "run" / "recipe.toml").read_text()
    for said in ("mask_rate = 0.15", 'replacement = "carp"', 'cluster_by = "kmers"', "[data]"):
        assert said in text
    assert "batch_size" not in text and "reverse_complement" not in text
    monkeypatch.setattr(module, "fit", pytest.fail)  # a finished run is read, not repeated
    assert run(unrelated, tmp_path / "run", resume=True, mask_rate=0.15) == first
    assert PretrainResult.read(tmp_path / "run") == first
    with pytest.raises(InputError, match=r"max_tokens was 512, now it is 600"):
        run(unrelated, tmp_path / "run", resume=True, max_tokens=600)


def test_near_duplicates_never_stand_on_two_sides(tmp_path):
    rng = np.random.default_rng(1)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    lines = []
    for i in range(40):
        text = rng.choice(letters, 80)
        for copy in range(3):
            text[rng.integers(0, 80, 6)] = rng.choice(letters, 6)
            lines.append(f">p{i}-{copy}\n{''.join(text)}\n")
    path = tmp_path / "p.fa"
    path.write_text("".join(lines))
    found = run(path, tmp_path / "a", steps=1).proteins
    assert sum(found.clusters.values()) == 40
    assert all(n == 3 * found.clusters[part] for part, n in found.sequences.items())
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"p{i}-{c}\tc{i // 10}\n" for i in range(40) for c in range(3)))
    shares = {"validation_fraction": 0.6, "test_fraction": 0}
    result = run(path, tmp_path / "b", steps=1, clusters=table, **shares)
    assert result.proteins.clusters == {"train": 2, "test": 0, "validation": 2}
    assert "clusters.tsv" in result.proteins.clusters_by and result.test == {}
    assert result.baselines[0].letters > 0  # on the validation part
    assert set(result.provenance["data"]) == {"proteins", "clusters"}


def test_training_goes_on_from_a_run_and_tables_are_read(fasta, tmp_path):
    first = run(fasta, tmp_path / "first", cluster_by="none")
    store = SequenceStore.open(fasta, alphabet=PROTEIN)
    texts = [PROTEIN.decode(store.sequence(i)) for i in range(len(store))]
    table = tmp_path / "p.csv"
    table.write_text("protein\n" + "".join(f"{text}*\n" for text in texts))
    on = {"backbone": None, "model": str(tmp_path / "first"), "sequence": "protein"}
    second = run(table, tmp_path / "second", **on, lr=1e-9, weight_decay=0.0, cluster_by="none")
    assert second.split == first.split
    # The hidden residues follow from the place in the file, which is the same: so do the losses.
    assert second.test["loss"] == pytest.approx(first.test["loss"], abs=1e-5)
    assert set(second.provenance["data"]) == {"proteins", "model"}


def test_crops_are_for_training_alone(fasta, tmp_path):
    result = run(fasta, tmp_path / "run", steps=None, epochs=1, crop=15, cluster_by="none")
    assert result.letters == 15 * result.proteins.sequences["train"]
    whole = run(fasta, tmp_path / "whole", steps=1, cluster_by="none")
    assert [b.letters for b in result.baselines] == [b.letters for b in whole.baselines]


# ---------------------------------------------------------------- the task


def task_of(fasta, accumulate=1, **options):
    store = SequenceStore.open(fasta, alphabet=PROTEIN)
    limits = {"max_tokens": 512, "max_sequences": 9, "seed": 3}
    batches = TokenBatches(store, np.arange(len(store)), **(limits | options))
    return MaskedProteins(batches, Masking(0.15, "carp"), accumulate=accumulate)


def test_batches_are_pure_functions(fasta):
    one, two = task_of(fasta), task_of(fasta)
    order = [(1, 0), (2, 0), (2, 1), (1, 1), (40, 1)]
    first = {at: one.batch(at[0], 0, at[1], 2) for at in order}
    second = {at: two.batch(at[0], 0, at[1], 2) for at in reversed(order)}
    for at in order:
        assert all(np.array_equal(first[at][k], second[at][k]) for k in first[at])
    assert len({first[at]["targets"].tobytes() for at in order}) == 5
    micro = task_of(fasta, accumulate=2).batch(1, 1, 0, 1)
    assert np.array_equal(micro["targets"], task_of(fasta).batch(2, 0, 0, 1)["targets"])


def test_the_measure_does_not_depend_on_the_batches(fasta):
    torch.manual_seed(0)
    model = load_small()
    sizes = [(512, 9), (512, 1), (10_000, 1000)]
    found = [
        measure_proteins(model, task_of(fasta, max_tokens=t, max_sequences=n).train, 0.15)
        for t, n in sizes
    ]
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-5)
    assert found[0]["perplexity"] == pytest.approx(np.exp(found[0]["loss"]))
    seeded = measure_proteins(model, task_of(fasta, seed=4).train, 0.15)
    assert seeded["loss"] != found[0]["loss"]


def load_small():
    from helicon.models.hub import HeliconConfig
    from helicon.models.registry import configured

    config = configured("carp-600k", **SMALL["backbone"])
    return HeliconForMaskedLM(HeliconConfig.of(config)).eval()


def test_hidden_residues_are_certain_and_hidden(tmp_path):
    path = tmp_path / "p.fa"
    path.write_text(">a\nMKX*LVXXXXAC\n>b\nXXXX\n>c\nM" + "ACDEFGHIKL" * 400 + "\n")
    batches = task_of(path, max_tokens=10_000).train
    from helicon.training.pretrain.masked_proteins import hide

    hidden = certain = 0
    for found in batches.in_order():
        arrays = hide(batches, found, 0.3)
        chosen = arrays["targets"] != IGNORE
        assert (arrays["input_ids"][chosen] == PROTEIN.mask_id).all()
        assert (arrays["input_ids"][~chosen] == found.ids[~chosen]).all()
        assert (arrays["targets"][chosen] == found.ids[chosen]).all()
        real = found.real & PROTEIN.real_table()[found.ids]
        assert not chosen[~real].any()
        hidden, certain = hidden + chosen.sum(), certain + real.sum()
    assert hidden / certain == pytest.approx(0.3, abs=0.03)


# ---------------------------------------------------------------- resumption


def test_a_run_killed_in_its_course_ends_as_one_left_alone(fasta, tmp_path):
    options = {"cluster_by": "none", "eval_every": 20, "checkpoint_every": 3, "accumulate": 2}
    options |= {"backbone": {"d_model": 16, "blocks": 2, "dropout": 0.1}, "steps": 40, "crop": 30}
    code = (
        "import json, sys\nfrom helicon.training.pretrain.pretrain import pretrain\n"
        "pretrain(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]))\n"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, fasta, tmp_path / "killed", json.dumps(SMALL | options)],
        env=clean,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("checkpoints/step-*"))) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    again = run(fasta, tmp_path / "killed", resume=True, **options)
    alone = run(fasta, tmp_path / "alone", **options)
    assert weights(again.model) == weights(alone.model)
    assert (again.test, again.validation) == (alone.test, alone.validation)
    assert again.letters == alone.letters
    timing = ("seconds", "residues_per_second")
    logs = [read_metrics(result.run / "metrics.jsonl") for result in (again, alone)]
    rows = [[{k: v for k, v in row.items() if k not in timing} for row in log] for log in logs]
    assert rows[0] == rows[1]


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 64}, "length: is an option for a genome, but carp-600k reads proteins"),
        ({"reverse_complement": False}, "reverse_complement: is an option for a genome"),
        ({"intervals": "a.bed"}, "intervals: is an option for a genome"),
        ({"soft_weight": 0.5}, "soft_weight: is an option for a genome"),
        ({"valid_chromosomes": ["chr1"]}, "valid_chromosomes: is an option for a genome"),
        ({"replacement": "official"}, "replacement: `official` is what ConvNova's code does"),
        ({"clusters": "none.tsv"}, r"none\.tsv: no such table of clusters"),
        ({"clusters": "a.tsv", "cluster_by": "kmers"}, "give clusters, a table"),
        ({"cluster_by": "header"}, r"record 'p0': does not say cluster="),
        ({"validation_fraction": 0.6, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"test_fraction": 1.5}, r"test_fraction: must be in \[0, 1\), not 1.5"),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"backbone": {"depth": 3}}, "unknown key 'depth'"),
    ],
)
def test_wrong_options_are_one_line(fasta, tmp_path, options, said):
    with pytest.raises(InputError, match=said) as caught:
        run(fasta, tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["max_tokens", "crop", "test_sequences", "validation_fraction"])
def test_a_genome_has_no_options_of_proteins(fasta, tmp_path, name):
    value = 0.1 if name == "validation_fraction" else 100
    said = f"{name}: is an option for proteins, but convnova-tiny reads a genome"
    with pytest.raises(InputError, match=said):
        pretrain(fasta, out=tmp_path / "run", model="convnova-tiny", **{name: value})
    with pytest.raises(InputError, match="replacement: `carp` is for proteins"):
        pretrain(fasta, out=tmp_path / "run", model="convnova-tiny", replacement="carp")


def test_a_genome_is_not_taken_for_proteins(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">chr1\n" + "ACGT" * 100 + "\n")
    with pytest.raises(InputError, match="looks like DNA or RNA"):
        run(path, tmp_path / "run")


# ---------------------------------------------------------------- evaluate


def test_a_model_is_measured_on_any_file_of_proteins(fasta, tmp_path):
    found = run(fasta, tmp_path / "run", steps=40, cluster_by="none")
    cpu = {"accelerator": "cpu", "precision": "float32"}
    whole = evaluate(str(found.run), fasta, **cpu)
    assert whole.unit == "residues" and whole.examples == sum(found.split.values())
    assert set(whole.scores.metrics) == {"loss", "accuracy", "perplexity", "carp_loss"}
    one_by_one = evaluate(str(found.run), fasta, batch_size=1, **cpu)
    assert one_by_one.scores.metrics == pytest.approx(whole.scores.metrics, abs=1e-5)
    assert [b.order for b in whole.baselines] == [0, 1, 2]
    other = proteins(tmp_path, 20, "other.fa")
    apart = evaluate(str(found.run), fasta, fit_on=other, **cpu)
    assert apart.baselines[2].loss > whole.baselines[2].loss
    assert set(apart.provenance["data"]) == {"data", "fit_on"}
    assert "Markov, order 2" in whole.summary
    with pytest.raises(InputError, match="intervals: is no option for"):
        evaluate(str(found.run), fasta, intervals=fasta, **cpu)
    with pytest.raises(InputError, match="mask_rate: must be between 0 and 1"):
        evaluate(str(found.run), fasta, mask_rate=1.5, **cpu)
