"""Embeddings equal a pass over each sequence alone, however it is batched, cut or ordered."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_networks import CONFIG, language_model, sequence_model, stir, write_genome

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.jobs import keyed
from helicon.models.hub import save, with_head


@pytest.fixture
def sequences(tmp_path):
    """A FASTA file of many lengths, from one letter to several windows."""
    rng = np.random.default_rng(1)
    texts = [DNA.decode(rng.integers(0, 5, n)) for n in (1, 7, 300, 7, 29, 64, 1200, 2, 64, 300)]
    path = tmp_path / "s.fa"
    path.write_text("".join(f">s{i} x\n{text}\n" for i, text in enumerate(texts)))
    return path, texts


def alone(network, text, *, layer=None, reverse=False):
    """Features (L, D) of one sequence, in one pass, positions of the forward strand."""
    ids = DNA.encode(text)
    ids = np.ascontiguousarray(DNA.reverse_complement(ids)) if reverse else ids
    found = network.features(ids[None], layer=layer)[0].numpy()
    return found[::-1] if reverse else found


def pooled(values, pool):
    return values.mean(0) if pool == "mean" else values.max(0)


def table(out):
    return pq.read_table(out)


def matrix(found):
    return np.stack(found["embedding"].to_numpy(zero_copy_only=False))


@pytest.fixture(params=["whole", "tiles", "pieces"])
def cuts(request, monkeypatch):
    """Shards of one to many rows; long rows whole, in tiles, or in tiles of several shards."""
    if request.param != "whole":
        monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 100)
        monkeypatch.setattr("helicon.forward.tiles.letters_at_once", lambda _: 100)
    if request.param == "pieces":
        monkeypatch.setattr(keyed, "LETTERS", 150)
        monkeypatch.setattr(keyed, "letters_each", lambda _: 150)
    return request.param


@pytest.mark.parametrize(
    ("pool", "both", "layer"), [("mean", False, None), ("max", True, 2), ("mean", True, 0)]
)
def test_pooled(tmp_path, folders, sequences, cuts, pool, both, layer):
    path, texts = sequences
    out = tmp_path / "e.parquet"
    embed(folders["language"], path, out=out, pool=pool, both_strands=both, layer=layer)
    found = table(out)
    assert found["name"].to_pylist() == [f"s{i}" for i in range(len(texts))]
    network = Network(language_model())
    for text, vector in zip(texts, matrix(found), strict=True):
        wanted = pooled(alone(network, text, layer=layer), pool)
        if both:
            wanted = (wanted + pooled(alone(network, text, layer=layer, reverse=True), pool)) / 2
        np.testing.assert_allclose(vector, wanted, atol=1e-5)


@pytest.mark.parametrize("both", [False, True])
def test_every_position(tmp_path, folders, sequences, cuts, both):
    path, texts = sequences
    embed(folders["language"], path, out=tmp_path / "e.parquet", pool="none", both_strands=both)
    found = table(tmp_path / "e.parquet")
    names = [f"s{i}" for i, text in enumerate(texts) for _ in text]
    assert found["name"].to_pylist() == names
    assert found["position"].to_pylist() == [p for text in texts for p in range(len(text))]
    network = Network(language_model())
    wanted = [alone(network, text) for text in texts]
    if both:
        wanted = [
            (w + alone(network, t, reverse=True)) / 2 for w, t in zip(wanted, texts, strict=True)
        ]
    np.testing.assert_allclose(matrix(found), np.concatenate(wanted), atol=1e-5)


def test_order_and_company_change_nothing(tmp_path, folders, sequences):
    path, texts = sequences
    embed(folders["language"], path, out=tmp_path / "a.parquet")
    order = np.random.default_rng(0).permutation(len(texts))
    (tmp_path / "t.csv").write_text("".join(["sequence\n", *(f"{texts[i]}\n" for i in order)]))
    embed(folders["language"], tmp_path / "t.csv", out=tmp_path / "b.parquet")
    a, b = (matrix(table(tmp_path / name)) for name in ("a.parquet", "b.parquet"))
    np.testing.assert_allclose(a[order], b, atol=1e-6)
    assert table(tmp_path / "b.parquet")["name"].to_pylist() == [str(i + 1) for i in range(10)]


def test_attention_is_that_of_the_head(tmp_path, sequences, cuts):
    path, texts = sequences
    model = with_head(
        language_model(), "sequence", "single_label", ("no", "yes"), pool="attention"
    )[0]
    folder = save(stir(model), tmp_path / "model")
    embed(folder, path, out=tmp_path / "e.parquet", pool="attention")
    network, found = Network.open(folder), matrix(table(tmp_path / "e.parquet"))
    for text, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            features = torch.from_numpy(alone(network, text).copy())[None]
            wanted = network.model.classifier.pool(features)[0]
        np.testing.assert_allclose(vector, wanted, atol=1e-5)


BED = [(0, 0, 40, "+"), (0, 660, 700, "-"), (1, 0, 5, "-"), (0, 100, 500, "-"), (0, 3, 4, ".")]


@pytest.fixture
def regions(tmp_path):
    fasta = write_genome(tmp_path / "g.fa", [700, 5], unknown=[(0, 10, 20)])
    rows = "".join(f"c{c}\t{s}\t{e}\tr{s}\t0\t{strand}\n" for c, s, e, strand in BED)
    (tmp_path / "r.bed").write_text(rows)
    return fasta, tmp_path / "r.bed"


@pytest.mark.parametrize(
    ("pool", "context", "both"),
    [
        ("mean", False, False),
        ("max", False, True),
        ("mean", True, True),
        ("none", True, False),
        ("none", False, True),
        ("none", True, True),
    ],
)
def test_regions(tmp_path, folders, regions, cuts, pool, context, both):
    fasta, bed = regions
    out = tmp_path / "e.parquet"
    options = {"pool": pool, "context": context, "both_strands": both}
    embed(folders["language"], fasta, out=out, regions=bed, **options)
    found, genome = table(out), Genome.open(fasta)
    network, wanted, keys = Network(language_model()), [], []
    for chrom, start, end, strand in BED:
        low, high = (0, int(genome.lengths[chrom])) if context else (start, end)
        text = DNA.decode(genome.fetch(chrom, low, high))
        first = strand == "-"
        values = alone(network, text, reverse=first)[start - low : end - low]
        opposite = alone(network, text, reverse=not first)[start - low : end - low]
        if pool == "none":
            wanted.append((values + opposite) / 2 if both else values)
            keys += [(f"c{chrom}", start, end, strand, f"r{start}", p) for p in range(start, end)]
        else:
            one, two = pooled(values, pool), pooled(opposite, pool)
            wanted.append((one + two)[None] / 2 if both else one[None])
            keys.append((f"c{chrom}", start, end, strand, f"r{start}"))
    columns = ["chrom", "start", "end", "strand", "name", *(["position"] * (pool == "none"))]
    assert list(zip(*(found[c].to_pylist() for c in columns), strict=True)) == keys
    np.testing.assert_allclose(matrix(found), np.concatenate(wanted), atol=1e-5)


def test_a_region_without_context_is_a_sequence(tmp_path, folders, regions):
    fasta, bed = regions
    genome, cut = Genome.open(fasta), tmp_path / "cut.fa"
    records = [DNA.decode(genome.fetch(c, s, e, strand=strand)) for c, s, e, strand in BED]
    cut.write_text("".join(f">r{i}\n{text}\n" for i, text in enumerate(records)))
    embed(folders["language"], fasta, out=tmp_path / "a.parquet", regions=bed)
    embed(folders["language"], cut, out=tmp_path / "b.parquet")
    a, b = (matrix(table(tmp_path / name)) for name in ("a.parquet", "b.parquet"))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("pool", ["mean", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_matrix_and_its_keys(tmp_path, folders, sequences, pool, dtype, monkeypatch):
    monkeypatch.setattr(keyed, "LETTERS", 500)
    path, _ = sequences
    for name in ("e.parquet", "e.npy"):
        embed(folders["language"], path, out=tmp_path / name, pool=pool, dtype=dtype)
    found, rows = np.load(tmp_path / "e.npy", mmap_mode="r"), table(tmp_path / "e.rows.parquet")
    whole = table(tmp_path / "e.parquet")
    assert found.dtype == dtype and found.shape == (len(whole), CONFIG.d_model)
    np.testing.assert_array_equal(found, matrix(whole))
    assert rows.equals(whole.drop_columns("embedding"))
    assert rows.schema.metadata[b"pool"] == pool.encode()


def test_float16_is_rounded_float32(tmp_path, folders, sequences):
    for dtype in ("float32", "float16"):
        embed(folders["language"], sequences[0], out=tmp_path / f"{dtype}.parquet", dtype=dtype)
    wide, narrow = (matrix(table(tmp_path / f"{d}.parquet")) for d in ("float32", "float16"))
    np.testing.assert_array_equal(wide.astype(np.float16), narrow)


def test_what_the_file_says_of_itself(tmp_path, folders, sequences):
    out = tmp_path / "e.parquet"
    done = embed(folders["language"], sequences[0], out=out, layer=2, both_strands=True)
    said = {k.decode(): v.decode() for k, v in pq.read_schema(out).metadata.items()}
    assert said["model"] == str(folders["language"])
    assert said["model_sha256"] == Network(language_model()).digest
    assert (said["layer"], said["pool"], said["strands"]) == ("2", "mean", "both, averaged")
    assert (said["alphabet"], said["precision"]) == ("dna", "float32")
    assert said["coordinates"].startswith("0-based, half-open")
    assert {"helicon", "data_sha256", "context", "verb"} <= said.keys()
    assert (done.sequences, done.skipped) == (10, 0)
    assert done.summary.startswith("10 sequences\n")
    assert done.as_dict()["letters"] == sum(map(len, sequences[1]))


def test_a_network_that_sees_everything(tmp_path, sequences):
    path, texts = sequences
    config = replace(CONFIG, branch="reverse_complement")
    folder = save(language_model(config), tmp_path / "model")
    network = Network(language_model(config))
    embed(folder, path, out=tmp_path / "a.parquet")  # whole, whatever the length
    for text, vector in zip(texts, matrix(table(tmp_path / "a.parquet")), strict=True):
        np.testing.assert_allclose(vector, alone(network, text).mean(0), atol=1e-5)
    embed(folder, path, out=tmp_path / "b.parquet", window=400, overlap=100, pool="none")
    found = table(tmp_path / "b.parquet")
    for i, text in enumerate(texts):
        if len(text) <= 400:
            rows = found.filter(np.array(found["name"].to_pylist()) == f"s{i}")
            np.testing.assert_allclose(matrix(rows), alone(network, text), atol=1e-5)
    assert len(found) == sum(map(len, texts))
    with pytest.raises(InputError, match="overlap: is that of windows"):
        embed(folder, path, out=tmp_path / "c.parquet", overlap=10)


def test_bad_records_are_left_out_and_counted(tmp_path, folders, capsys):
    path = tmp_path / "s.fa"
    path.write_text(">a\nACGT\n>b\nAC!T\n>c\n>d\nGG\n")
    with pytest.raises(InputError, match=r"s\.fa, line 4, record 'b': letter '!'"):
        embed(folders["language"], path, out=tmp_path / "e.parquet")
    done = embed(folders["language"], path, out=tmp_path / "e.parquet", on_error="skip")
    assert table(tmp_path / "e.parquet")["name"].to_pylist() == ["a", "d"]
    assert (done.sequences, done.skipped) == (2, 2)
    assert "2 sequences, 2 left out" in done.summary
    said = capsys.readouterr().err
    assert "2 records are left out: line 4, record 'b': letter '!'" in said and "'c'" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "e.txt"}, r"e\.txt must end in \.parquet or \.npy"),
        ({"dtype": "int8"}, "dtype: 'int8' is not known"),
        ({"pool": "median"}, "pool: 'median' is not known; mean, max, attention, cls, none"),
        ({"pool": "cls"}, "pool: cls needs a model that was pretrained with CLS tokens"),
        ({"network": "student"}, "has no student network; only the run folder"),
        ({"network": "pupil"}, "network: 'pupil' is not known; teacher or student"),
        ({"pool": "attention"}, "has no attention pooling"),
        ({"layer": 9}, "layers 0 to 4, not 9"),
        ({"on_error": "ignore"}, "on_error: 'ignore' is not known"),
        ({"context": True}, "context: is that of regions"),
        ({"window": 20}, "window: must be longer than 28 letters"),
        ({"overlap": 20}, "overlap: follows from this model's receptive field"),
        ({"regions": "none.bed"}, r"none\.bed: no such BED file"),
        ({"regions": "empty.bed"}, r"empty\.bed: holds no interval"),
        ({"regions": "beyond.bed"}, r"beyond\.bed, line 2: the end 1201 lies beyond s6"),
        ({"data": "none.fa"}, r"none\.fa: no such file of sequences"),
        ({"sequence": "dna", "data": "t.csv"}, r"t\.csv: has no column 'dna'"),
        ({"sequence": "dna"}, r"sequence: names a column, and .*s\.fa is no table; leave"),
        ({"name": "id"}, r"name: names a column, and .*s\.fa is no table; leave it out"),
        ({"regions": "one.bed", "on_error": "skip"}, "on_error: regions are read as they are"),
        ({"regions": "one.bed", "name": "id"}, "name: names a column"),
        ({"model": "nothing"}, "nothing"),
    ],
)
def test_wrong_input_is_named(tmp_path, folders, sequences, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.bed").write_text("# nothing\n")
    (tmp_path / "one.bed").write_text("s6\t0\t5\n")
    (tmp_path / "beyond.bed").write_text("s6\t0\t5\ns6\t0\t1201\n")
    (tmp_path / "t.csv").write_text("sequence\nACGT\n")
    given = {"model": folders["language"], "data": sequences[0], "out": "e.parquet"} | options
    with pytest.raises(InputError, match=words) as caught:
        embed(given.pop("model"), given.pop("data"), **given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("e.*"))


def test_a_sequence_model_embeds_too(tmp_path, sequences):
    folder = save(sequence_model(), tmp_path / "model")
    embed(folder, sequences[0], out=tmp_path / "e.parquet")
    assert matrix(table(tmp_path / "e.parquet")).shape == (10, 8)
