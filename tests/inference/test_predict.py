"""Predictions equal what the model says of each sequence alone, and what `evaluate` measures."""

import importlib
import pickle
from functools import partial

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from killing_verbs import check_killed_and_started_again
from small_networks import language_model, stir, token_model, write_genome

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.jobs import keyed
from helicon.inference.predict import predict
from helicon.models.hub import HeliconModel, load, save, with_head
from helicon.training.evaluate.evaluate import evaluate


def sequence_model(problem, pool="mean"):
    labels = ("a", "b", "c")[: 2 + (problem == "multi_label")]
    return stir(with_head(language_model(), "sequence", problem, labels, pool=pool)[0])


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(3)
    texts = [DNA.decode(rng.integers(0, 4, n)) for n in (30, 200, 7, 1, 900, 64, 64, 300)]
    frame = pl.DataFrame(
        {
            "id": [f"s{i}" for i in range(len(texts))],
            "sequence": texts,
            "label": ["a", "b"] * 4,
            "a": [0, 1] * 4,
            "b": [1, 0] * 4,
            "c": [1, 1, 0, 0] * 2,
            "x": np.arange(8) / 7,
            "y": np.arange(8) / 3,
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


@pytest.fixture(params=["whole", "tiles"])
def cuts(request, monkeypatch):
    if request.param == "tiles":
        monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 100)
        monkeypatch.setattr("helicon.forward.tiles.letters_at_once", lambda _: 100)
        monkeypatch.setattr(keyed, "letters_each", lambda _: 150)


@pytest.mark.parametrize(
    ("problem", "target", "pool"),
    [("single_label", "label", "mean"), ("multi_label", "a,b,c", "max"),
     ("regression", "x,y", "attention")],
)  # fmt: skip
@pytest.mark.parametrize("both", [False, True])
def test_sequences_are_predicted_as_evaluated(tmp_path, table, cuts, problem, target, pool, both):
    folder = str(save(sequence_model(problem, pool), tmp_path / "model"))
    names = target.split(",") if problem != "single_label" else ["a", "b"]
    if problem == "regression":  # the model's names
        frame = pl.read_csv(table).drop("a", "b").rename({"x": "a", "y": "b"})
        frame.write_csv(table)
        target, names = "a,b", ["a", "b"]
    predict(folder, table, out=tmp_path / "p.parquet", both_strands=both)
    evaluate(
        folder, table, target=target, predictions=tmp_path / "e.parquet", both_strands=both,
        batch_size=3,
    )  # fmt: skip
    found, wanted = pl.read_parquet(tmp_path / "p.parquet"), pl.read_parquet(tmp_path / "e.parquet")
    assert found["name"].to_list() == wanted["name"].to_list()
    kind = "prediction" if problem == "regression" else "probability"
    columns = [f"{kind}/{name}" for name in names]
    said = ["prediction"] * (problem == "single_label")
    assert found.columns == ["name", *said, *columns]
    np.testing.assert_allclose(found[columns].to_numpy(), wanted[columns].to_numpy(), atol=1e-5)
    if said:
        assert found["prediction"].to_list() == wanted["prediction"].to_list()


def test_sequence_model_on_regions(tmp_path, folders):
    fasta = write_genome(tmp_path / "g.fa", [300, 40])
    bed = tmp_path / "r.bed"
    bed.write_text("c0\t10\t90\tx\t0\t-\nc1\t0\t40\ty\t0\t+\n")
    predict(folders["sequence"], fasta, out=tmp_path / "p.parquet", regions=bed)
    found = pl.read_parquet(tmp_path / "p.parquet")
    assert found.columns == [
        "chrom", "start", "end", "strand", "name", "prediction",
        "probability/no", "probability/yes",
    ]  # fmt: skip
    genome, network = Genome.open(fasta), Network.open(folders["sequence"])
    for row, ids in zip(
        found.iter_rows(named=True),
        (genome.fetch("c0", 10, 90, strand="-"), genome.fetch("c1", 0, 40)),
        strict=True,
    ):
        logits = torch.from_numpy(network.logits(ids[None])[0])
        wanted = logits.softmax(0)
        assert row["probability/yes"] == pytest.approx(float(wanted[1]), abs=1e-5)
        assert row["prediction"] == ("no", "yes")[int(wanted.argmax())]


def positions(network, genome, chrom, strands):
    """Probabilities of a whole chromosome in one pass over each strand."""
    found = []
    for strand in strands:
        ids = genome.fetch(chrom, 0, int(genome.lengths[chrom]), strand=strand)
        values = network.logits(ids[None])[0]
        found.append(values if strand == "+" else values[::-1][:, network.opposite])
    return torch.from_numpy(np.mean(found, axis=0)).softmax(-1).numpy()


@pytest.mark.parametrize("both", [False, True])
def test_positions(tmp_path, folders, cuts, both):
    fasta = write_genome(tmp_path / "g.fa", [700, 5, 29], unknown=[(0, 50, 80)])
    genome, network = Genome.open(fasta), Network(token_model())
    wanted = [positions(network, genome, chrom, "+-" if both else "+") for chrom in range(3)]
    columns = [f"probability/{label}" for label in network.labels]
    predict(folders["token"], fasta, out=tmp_path / "p.parquet", both_strands=both)
    found = pl.read_parquet(tmp_path / "p.parquet")
    assert found.columns == ["name", "position", *columns]
    assert found["position"].to_list() == [*range(700), *range(5), *range(29)]
    np.testing.assert_allclose(found[columns].to_numpy(), np.concatenate(wanted), atol=1e-5)

    bed = tmp_path / "r.bed"
    rows = ["c0\t10\t290\tx\t0\t+", "c1\t0\t5\ty\t0\t.", "c0\t560\t700\tz\t0\t-"]
    bed.write_text("\n".join(rows))
    options = {"regions": bed, "both_strands": both}
    predict(folders["token"], fasta, out=tmp_path / "r.parquet", **options)
    found = pl.read_parquet(tmp_path / "r.parquet")
    assert found["position"].to_list() == [*range(10, 290), *range(5), *range(560, 700)]
    # What is read on the reverse strand is said of the same bases, in the terms of the forward.
    backward = wanted[0] if both else positions(network, genome, 0, "-")
    wanted = [wanted[0][10:290], wanted[1], backward[560:]]
    np.testing.assert_allclose(found[columns].to_numpy(), np.concatenate(wanted), atol=1e-5)


def test_features_go_to_the_decoder(tmp_path, folders):
    fasta = write_genome(tmp_path / "g.fa", [3000, 200])
    done = predict(folders["token"], fasta, out=tmp_path / "p.gff3", grammar="free")
    assert (tmp_path / "p.gff3").read_text().startswith("##gff-version 3\n")
    assert done.sequences == 2
    bed = tmp_path / "r.bed"
    bed.write_text("c0\t0\t500\n")
    done = predict(folders["token"], fasta, out=tmp_path / "p.bed.gz", grammar="free", regions=bed)
    assert (done.sequences, done.done.letters) == (1, 500)


def test_what_the_file_says_of_itself(tmp_path, folders, table):
    predict(folders["sequence"], table, out=tmp_path / "p.parquet")
    said = pq.read_schema(tmp_path / "p.parquet").metadata
    assert said[b"verb"] == b"predict" and said[b"labels"] == b"no, yes"
    assert said[b"problem"] == b"single_label" and said[b"strands"] == b"as read"


def test_features_are_measured_against_an_annotation(tmp_path, folders):
    genome = write_genome(tmp_path / "g.fa", [900])
    truth = tmp_path / "true.gff3"
    truth.write_text("##gff-version 3\nc0\tme\tCDS\t101\t400\t.\t+\t0\tID=a\n")
    first = predict(folders["token"], genome, out=tmp_path / "p.gff3")
    assert first.scores is None
    result = predict(folders["token"], genome, out=tmp_path / "p.gff3", annotation=truth)
    rows = [r for r in (tmp_path / "p.gff3").read_text().splitlines() if not r.startswith("#")]
    assert result.scores is not None
    assert (result.scores.gene.annotated, result.scores.gene.predicted) == (1, len(rows))
    assert result.scores.nucleotide.annotated == 300
    assert "MCC of nucleotides" in result.summary
    assert result.as_dict()["scores"]["exon"]["annotated"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feature": "exon"}, "feature: the model predicts CDS, not exon"),
        ({"grammar": "free"}, "the model predicts forward, reverse, which are no types"),
        ({"regions": "r.bed"}, "has no 'CDS' feature in the regions; nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, folders, options, words):
    genome = write_genome(tmp_path / "g.fa", [900])
    truth = tmp_path / "true.gff3"
    rows = ("c0\tme\tCDS\t101\t400\t.\t+\t0\tID=a\n", "c0\tme\texon\t1\t9\t.\t+\t.\tID=b\n")
    truth.write_text("".join(rows))
    (tmp_path / "r.bed").write_text("c0\t500\t900\n")
    if "regions" in options:
        options = {"regions": tmp_path / "r.bed"}
    with pytest.raises(InputError, match=words):
        predict(folders["token"], genome, out=tmp_path / "p.gff3", annotation=truth, **options)
    assert not (tmp_path / "p.gff3").exists()


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("language", {}, "is a language model.*helicon track.*helicon embed"),
        ("bare", {}, "has no head; fine-tune it first"),
        ("sequence", {"out": "p.csv"}, r"p\.csv must end in \.parquet, \.gff3 or \.bed"),
        ("sequence", {"out": "p.bed"}, "features need a model that gives one class to every base"),
        ("sequence", {"grammar": "free"}, "grammar, transitions, circular.*: are for features"),
        ("sequence", {"through_gaps": True}, "through_gaps.*: are for features"),
        (
            "token",
            {"out": "p.gff3", "feature": "CDS"},
            "feature: is what an annotation is compared",
        ),
        ("token", {"out": "p.gff3", "circular": ["c7"]}, "no sequence is named 'c7'"),
        ("token", {"out": "p.bed", "circular": ["c0"], "grammar": "free"}, "for the grammar genes"),
        ("token", {"out": "p.gff3", "window": 20}, "window: must be longer than 28 letters"),
        ("token", {"out": "p.bed", "annotation": "a.gff3"}, r"must end in \.gff3 to be compared"),
        ("token", {"out": "p.gff3", "annotation": "no.gff3"}, r"no\.gff3: no such"),
        ("sequence", {"annotation": "a.gff3"}, "annotation, feature: are for features"),
        ("token", {"out": "p.gff3", "on_error": "skip"}, "on_error: a genome is read whole"),
        ("token", {"out": "p.bed", "transitions": "no.toml"}, r"no\.toml: no such file of"),
        ("sequence", {"sequence": "none"}, "has no column 'none'"),
        ("sequence", {"devices": 0}, "devices: must be at least 1"),
    ],
)
def test_wrong_input_is_named(tmp_path, folders, table, model, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = table
    if model == "token":
        data = write_genome(tmp_path / "g.fa", [300])
    if model == "bare":
        bare = HeliconModel(language_model().config)
        folders["bare"] = save(bare.eval(), tmp_path / "models" / "bare")
    given = {"out": "p.parquet"} | options
    with pytest.raises(InputError, match=words) as caught:
        predict(folders[model], data, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("verb", "model"), [(embed, "language"), (predict, "token")])
def test_jobs_go_to_other_processes(tmp_path, folders, monkeypatch, verb, model):
    path = write_genome(tmp_path / "s.fa", [250, 30])
    jobs = []
    module = importlib.import_module(verb.__module__)
    monkeypatch.setattr(module, "run", lambda job, *_: jobs.append(job))
    verb(folders[model], path, out=tmp_path / "o.parquet")
    sent = pickle.loads(pickle.dumps(jobs[0]))
    assert sent == jobs[0]
    network = Network.open(folders[model])
    for shard in jobs[0].shards():
        payload = pickle.loads(pickle.dumps(shard.payload))
        assert sent.worker(network)(payload).equals(jobs[0].worker(network)(shard.payload))


@pytest.mark.parametrize(
    ("verb", "model", "out", "options"),
    [
        (embed, "language", "e.npy", {"pool": "max"}),
        (embed, "language", "e.parquet", {"pool": "none"}),
        (predict, "sequence", "p.parquet", {}),
        (predict, "token", "p.parquet", {}),
        (predict, "token", "p.gff3", {"grammar": "free"}),
    ],
)
def test_killed_and_started_again(tmp_path, folders, verb, model, out, options):
    path = write_genome(tmp_path / "s.fa", [500, 130, 150, 40, 900, 200])
    check_killed_and_started_again(partial(verb, folders[model], path, **options), out, tmp_path)


def test_a_feature_without_an_annotation_is_refused(tmp_path, folders):
    path = write_genome(tmp_path / "s.fa", [50])
    with pytest.raises(InputError, match="feature: is what an annotation is compared by"):
        predict(folders["token"], path, out=tmp_path / "p.gff3", feature="exon")


def test_a_model_of_nothing_but_nan_is_named(tmp_path, folders):
    path, wrong = write_genome(tmp_path / "s.fa", [50]), tmp_path / "wrong"
    for name in ("language", "token", "sequence"):
        model = load(folders[name])
        for weights in model.parameters():
            weights.data.fill_(3e38)  # finite, so that the folder opens
        save(model, wrong / name)
        verb = embed if name == "language" else predict
        with pytest.raises(InputError, match=rf"{name}: gives nothing but NaN; its weights"):
            verb(wrong / name, path, out=tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
