"""Pretraining from a FASTA file to a model folder: results, splits, resumption, wrong input."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import helicon.training.pretrain.pretrain as module
from helicon.errors import InputError, WorkError
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save
from helicon.models.huggingface.folder import weights_hash
from helicon.objectives.masked_lm import Masking
from helicon.training.pretrain.masked import MaskedTask
from helicon.training.pretrain.pretrain import PretrainResult, pretrain

SMALL = {
    "backbone": {"d_model": 8, "blocks": 2},
    "length": 64,
    "batch_size": 4,
    "validation_windows": 8,
    "test_windows": 8,
    "split_block": 500,
    "accelerator": "cpu",
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fasta(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "genome.fa"
    unit = "".join(rng.choice(list("ACGT"), 7))
    chromosomes = [unit * 900, unit * 500, "".join(rng.choice(list("ACGTNacgt"), 3000))]
    path.write_text("".join(f">chr{i}\n{s}\n" for i, s in enumerate(chromosomes, start=1)))
    return path


def run(fasta, out, **options):
    return pretrain(fasta, out=out, **({"steps": 6} | SMALL | options))


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_genome_becomes_a_model(fasta, tmp_path):
    result = run(fasta, tmp_path / "run", steps=150, lr=0.02)
    assert result.steps == 150 and result.letters == 150 * 4 * 64
    assert set(result.test) == {"loss", "accuracy", "perplexity"}
    assert result.test["accuracy"] > 0.5  # two thirds of the genome repeat seven bases
    assert [b.order for b in result.baselines] == [0, 1, 2, 3, 4, 5]
    assert result.baselines[5].accuracy > result.baselines[0].accuracy
    assert "Markov, order 5" in result.summary and str(result.model) in result.summary
    model = load(tmp_path / "run")
    assert type(model).__name__ == "HeliconForMaskedLM" and result.parameters == 4229
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "masked accuracy" in card and "d_model = 8" in card
    held = json.loads((tmp_path / "run" / "results.json").read_text())
    assert held["verb"] == "pretrain" and held["test"] == result.test
    assert held["provenance"]["data"]["genome"] in (tmp_path / "run" / "recipe.toml").read_text()
    assert held["provenance"]["seed"] == 0 and held["provenance"]["peak_memory_mb"] > 10


def test_a_finished_run_is_read_not_repeated(fasta, tmp_path, monkeypatch):
    first = run(fasta, tmp_path / "run")
    monkeypatch.setattr(module, "fit", pytest.fail)
    assert run(fasta, tmp_path / "run", resume=True) == first
    assert PretrainResult.read(tmp_path / "run") == first
    with pytest.raises(InputError, match="finished pretrain run"):
        run(fasta, tmp_path / "run")
    with pytest.raises(InputError, match=r"lr was 0\.001, now it is 0\.01"):
        run(fasta, tmp_path / "run", resume=True, lr=0.01)


def test_a_run_that_broke_off_ends_as_one_that_did_not(fasta, tmp_path, monkeypatch):
    options = {"steps": 12, "backbone": {"d_model": 8, "blocks": 2, "dropout": 0.2}}
    whole = run(fasta, tmp_path / "whole", **options)
    loss = MaskedTask.loss
    calls = []

    def breaks(self, model, batch):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return loss(self, model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedTask, "loss", breaks)
        with pytest.raises(KeyboardInterrupt):
            run(fasta, tmp_path / "broken", **options)
    assert not (tmp_path / "broken" / "model").exists()
    again = run(fasta, tmp_path / "broken", resume=True, **options)
    assert weights(whole.model) == weights(again.model)
    assert (whole.test, whole.validation) == (again.test, again.validation)


def test_the_seed_determines_everything(fasta, tmp_path):
    one, two, other = (
        run(fasta, tmp_path / name, seed=seed) for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert weights(one.model) == weights(two.model) != weights(other.model)


def test_chromosomes_can_be_held_out(fasta, tmp_path):
    options = {"split_block": None, "valid_chromosomes": ["chr2"]}
    result = run(fasta, tmp_path / "a", **options, test_chromosomes=["chr3"])
    assert result.split == {"train": 6300, "validation": 3500, "test": 3000}
    result = run(fasta, tmp_path / "b", **options)
    assert result.split["test"] == 0 and result.test == {}
    assert result.baselines[0].letters > 0  # scored on validation windows
    with pytest.raises(InputError, match="chr9"):
        run(fasta, tmp_path / "c", **options | {"valid_chromosomes": ["chr9"]})


def test_intervals_name_their_split(fasta, tmp_path):
    bed = tmp_path / "split.bed"
    bed.write_text("chr1\t0\t6000\ttrain\nchr2\t0\t3000\tvalid\nchr3\t0\t2000\ttest\n")
    options = {"split_block": None, "intervals": bed}
    result = run(fasta, tmp_path / "a", **options, offsets="head")
    assert result.split == {"train": 6000, "validation": 3000, "test": 2000}
    bed.write_text("chr1\t0\t6000\ttrain\n")
    result = run(fasta, tmp_path / "b", **options)
    assert result.validation == result.test == {} and result.best_step == 6
    bed.write_text("chr1\t0\t6000\tgene7\n")
    with pytest.raises(InputError, match=r"split\.bed: no interval says `train`"):
        run(fasta, tmp_path / "c", **options)
    with pytest.raises(InputError, match=r"none\.bed: no such BED file"):
        run(fasta, tmp_path / "d", **options | {"intervals": tmp_path / "none.bed"})


def test_epochs_are_passes_over_the_training_part(fasta, tmp_path):
    result = run(fasta, tmp_path / "a", steps=None, epochs=0.5, accumulate=2)
    windows = result.split["train"] // 64
    assert result.steps == pytest.approx(0.5 * windows / 8, abs=1)
    assert result.letters == result.steps * 8 * 64


def test_training_goes_on_from_a_run(fasta, tmp_path):
    first = run(fasta, tmp_path / "first")
    options = {"backbone": None, "model": str(tmp_path / "first")}
    result = run(fasta, tmp_path / "second", **options, lr=1e-9, weight_decay=0.0)
    before, after = (load_file(r.model / "model.safetensors") for r in (first, result))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)
    assert set(result.provenance["data"]) == {"genome", "model"}
    with pytest.raises(InputError, match="fix its settings"):
        run(fasta, tmp_path / "third", model=str(tmp_path / "first"))


def test_training_goes_on_from_weights_in_shards(fasta, tmp_path):
    config = HeliconConfig.of(ConvNovaConfig(d_model=8, blocks=2))
    HeliconForMaskedLM(config).save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    options = {"backbone": None, "model": str(tmp_path / "shards")}
    result = run(fasta, tmp_path / "run", **options)
    assert result.provenance["data"]["model"] == weights_hash(tmp_path / "shards")


def test_training_goes_on_from_half_precision_in_float32(fasta, tmp_path):
    torch.manual_seed(0)
    config = HeliconConfig.of(ConvNovaConfig(d_model=8, blocks=2))
    folder = save(HeliconForMaskedLM(config).half(), tmp_path / "half")
    options = {"backbone": None, "model": str(folder), "lr": 1e-5, "weight_decay": 0.0}
    result = run(fasta, tmp_path / "run", **options)
    before, after = (load_file(f / "model.safetensors") for f in (folder, result.model))
    assert {value.dtype for value in after.values()} == {torch.float32}
    moved = [(after[name] - value.float()).abs().max() for name, value in before.items()]
    assert 0 < max(moved) < 1e-4  # smaller steps than float16 has between most weights
    assert any(not torch.equal(value.half().float(), value) for value in after.values())


@pytest.mark.parametrize("options", [{"soft_weight": 0.1}, {"replacement": "80-10-10"}])
def test_the_other_maskings_train(fasta, tmp_path, options):
    assert math.isfinite(run(fasta, tmp_path / "run", **options).test["loss"])


def test_the_official_masking_needs_a_model_that_reads_the_mask_as_n(fasta, tmp_path):
    official = {"replacement": "official", "mask_rate": 0.15}
    with pytest.raises(InputError, match="mask_reads_as N"):
        run(fasta, tmp_path / "run", **official)
    backbone = SMALL["backbone"] | {"mask_reads_as": "N"}
    result = run(fasta, tmp_path / "again", **official, backbone=backbone)
    assert math.isfinite(result.test["loss"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "convnova-huge"}, "convnova-huge"),
        ({"backbone": {"channels": 8}}, "unknown key 'channels'"),
        ({"backbone": {"d_model": "wide"}}, "d_model must be int"),
        ({"objective": "guessing"}, "objective: must be 'masked-lm'"),
        ({"split_block": 1_000_000}, "choose smaller blocks"),
    ],
)
def test_wrong_options_are_one_line(fasta, tmp_path, options, said):
    with pytest.raises(InputError, match=said) as caught:
        run(fasta, tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_diverging_run_names_the_step(fasta, tmp_path):
    with pytest.raises(WorkError, match=r"became (nan|inf) at step \d+ .*learning rate"):
        run(fasta, tmp_path / "run", lr=1e30, clip=0.0, warmup=0.0, steps=30)


def test_windows_at_edges_are_masked_out(fasta, tmp_path):
    """Windows longer than the intervals are padded; padding is no target and no context."""
    bed = tmp_path / "split.bed"
    bed.write_text("chr1\t0\t40\ttrain\nchr2\t0\t50\tvalid\n")
    result = run(fasta, tmp_path / "run", intervals=bed, split_block=None)
    assert math.isfinite(result.validation["loss"])


def test_batches_are_pure_functions(fasta, tmp_path):
    from helicon.data.genome.genome import Genome
    from helicon.data.genome.intervals import split_blocks
    from helicon.data.sampling.windows import WindowSampler

    genome = Genome.open(fasta)
    train = split_blocks(genome, block=500)["train"]

    def task(accumulate=1):
        sampler = WindowSampler(genome, train, 64, batch_size=4, seed=3)
        return MaskedTask(sampler, Masking(), accumulate=accumulate)

    one, two = task(), task()
    order = [(1, 0), (2, 0), (2, 1), (1, 1)]
    first = {at: one.batch(at[0], 0, at[1], 2) for at in order}
    second = {at: two.batch(at[0], 0, at[1], 2) for at in reversed(order)}
    for at in order:
        assert all(np.array_equal(first[at][k], second[at][k]) for k in first[at])
    seen = {first[at]["targets"].tobytes() for at in order}
    assert len(seen) == 4
    # Two micro-batches of a step are the batches of two steps.
    micro = task(accumulate=2).batch(1, 1, 0, 1)
    assert np.array_equal(micro["input_ids"], task().batch(2, 0, 0, 1)["input_ids"])
