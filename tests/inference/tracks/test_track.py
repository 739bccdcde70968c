"""Tracks: the values of a direct computation, at every base, in a file that others read."""

import gzip
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pybigtools
import pytest
import torch
from killing import kill
from small_networks import CONFIG, GENES, language_model, token_model, write_genome

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.inference.jobs import stretches
from helicon.inference.predict import predict
from helicon.inference.tracks.track import QUANTITIES, Comb, track
from helicon.models.hub import save, with_head

#: One contig shorter than the receptive field (29), one of `N` alone, one of a single base.
LENGTHS, UNKNOWN = [700, 12, 1, 333, 40], [(0, 0, 5), (0, 300, 360), (3, 333 - 7, 333), (4, 0, 40)]


@pytest.fixture
def genome(tmp_path):
    return write_genome(tmp_path / "genome.fa", LENGTHS, unknown=UNKNOWN)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(stretches, "SHARD", 250)


def read(path, chrom, start, end):
    handle = pybigtools.open(str(path))
    return np.asarray(handle.values(f"c{chrom}", start, end, fillna=None), np.float32)


def whole_pass(model, ids, *, reverse=False):
    """Log-probabilities (L, K) of one chromosome in one pass, in forward order."""
    if reverse:
        ids = DNA.complement_table[ids][::-1].copy()
    with torch.no_grad():
        found = model(torch.from_numpy(ids)[None].long()).logits[0].log_softmax(-1)
    return found.flip(0).numpy() if reverse else found.numpy()


def expected_classes(model, ids, *, both=False):
    found = whole_pass(model, ids)
    if both:
        found = (found + whole_pass(model, ids, reverse=True)[:, [0, 2, 1]]) / 2
    exp = np.exp(found)
    found = exp / exp.sum(axis=1, keepdims=True)
    found[ids == DNA.unknown_id] = np.nan
    return found


def expected_quantities(model, ids, *, every, both=False):
    """One pass for every single comb, each read off where it hides."""
    log_p = np.empty((len(ids), 4))
    for offset in range(every):
        hidden = ids.copy()
        here = np.arange(len(ids)) % every == offset
        hidden[here & (ids < 4)] = DNA.mask_id
        found = whole_pass(model, hidden)
        if both:
            found = (found + whole_pass(model, hidden, reverse=True)[:, [3, 2, 1, 0, 4]]) / 2
        log_p[here] = found[here, :4]
    log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    likelihood = log_p[np.arange(len(ids)), np.minimum(ids, 3)]
    entropy = -(np.exp(log_p) * log_p).sum(axis=1) / np.log(2)
    values = np.stack([np.exp(likelihood), likelihood, entropy], axis=1)
    values[ids == DNA.unknown_id] = np.nan
    return values


def check(folder, names, genome, expected):
    """Every value of every base of every contig."""
    opened = Genome.open(genome)
    sizes = dict(zip(opened.names, opened.lengths.tolist(), strict=True))
    for k, name in enumerate(names):
        assert pybigtools.open(str(folder / f"{name}.bw")).chroms() == sizes
        for chrom, length in enumerate(LENGTHS):
            values = read(folder / f"{name}.bw", chrom, 0, length)
            wanted = expected(opened.fetch(chrom, 0, length))[:, k]
            assert np.allclose(values, wanted, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("both", [False, True])
def test_classes(tmp_path, folders, genome, both):
    result = track(str(folders["token"]), genome, out=tmp_path / "out", both_strands=both)
    assert list(result.files) == list(GENES)
    model = token_model()
    check(tmp_path / "out", GENES, genome, lambda ids: expected_classes(model, ids, both=both))
    assert result.done.shards == 5  # 250, 250, 200 + 12 + 1, 250, 83 + 40 bases
    assert str(tmp_path / "out" / "forward.bw") in result.summary
    json.dumps(result.as_dict())


@pytest.mark.parametrize("both", [False, True])
def test_a_track_is_what_predict_gives(tmp_path, folders, genome, both):
    model, table = str(folders["token"]), tmp_path / "table.parquet"
    predict(model, genome, out=table, both_strands=both)
    rows = pl.read_parquet(table).partition_by("name", as_dict=True)
    files = track(model, genome, out=tmp_path / "out", both_strands=both).files
    opened = Genome.open(genome)
    for chrom, length in enumerate(LENGTHS):
        known = opened.fetch(chrom, 0, length) != DNA.unknown_id
        for name, path in files.items():
            wanted = rows[(f"c{chrom}",)][f"probability/{name}"].to_numpy()
            assert np.allclose(read(path, chrom, 0, length)[known], wanted[known], atol=1e-6)


@pytest.mark.parametrize(("both", "every"), [(False, 10), (True, 10), (False, 3)])
def test_quantities_of_a_language_model(tmp_path, folders, genome, both, every):
    track(
        str(folders["language"]), genome, out=tmp_path / "out", both_strands=both,
        mask_every=every, window=100,
    )  # fmt: skip
    model = language_model()
    check(
        tmp_path / "out",
        QUANTITIES,
        genome,
        lambda ids: expected_quantities(model, ids, every=every, both=both),
    )


def test_each_base_is_hidden_once(genome):
    opened = Genome.open(genome)
    hidden = np.zeros((2, 30), dtype=int)
    for offset in range(7):
        comb = Comb(opened, 7, offset)
        chroms, starts = np.array([0, 0]), np.array([-4, 290])
        forward = comb.windows(chroms, starts, 30)
        turned = comb.windows(chroms, starts, 30, reverse=np.array([True, True]))
        assert np.array_equal(turned, DNA.complement_table[forward][:, ::-1])
        hidden += forward == DNA.mask_id
        others = forward != DNA.mask_id
        assert np.array_equal(forward[others], opened.windows(chroms, starts, 30)[others])
    assert np.array_equal(hidden, opened.windows(chroms, starts, 30) < 4)


def test_values_and_labels(tmp_path, genome):
    base = language_model()
    opened = Genome.open(genome)
    ids = opened.fetch(0, 0, 700)
    for problem, labels in (("regression", ("height",)), ("multi_label", ("a", "b/c"))):
        model = with_head(base, "token", problem, labels)[0].eval()
        folder = save(model, tmp_path / problem)
        result = track(str(folder), genome, out=tmp_path / f"{problem}-out")
        with torch.no_grad():
            found = model(torch.from_numpy(ids)[None].long()).logits[0]
        wanted = (found.sigmoid() if problem == "multi_label" else found).numpy()
        wanted[ids == DNA.unknown_id] = np.nan
        for k, label in enumerate(labels):
            values = read(result.files[label], 0, 0, 700)
            assert np.allclose(values, wanted[:, k], atol=1e-5, equal_nan=True)


def test_regions_are_joined_and_nothing_else_is_written(tmp_path, folders, genome):
    bed = tmp_path / "r.bed"
    bed.write_text("c3\t10\t20\nc0\t500\t640\nc0\t100\t200\nc0\t150\t260\nc0\t260\t263\n")
    out = tmp_path / "a.bw"
    model = str(folders["token"])
    result = track(model, genome, out=out, channel=["forward"], regions=bed)
    assert result.done.letters == 163 + 140 + 10
    wanted = np.full(700, np.nan)
    whole = expected_classes(token_model(), Genome.open(genome).fetch(0, 0, 700))[:, 1]
    for part in (slice(100, 263), slice(500, 640)):
        wanted[part] = whole[part]
    assert np.allclose(read(out, 0, 0, 700), wanted, atol=1e-5, equal_nan=True)
    assert np.count_nonzero(~np.isnan(read(out, 3, 0, 333))) == 10


def test_bedgraph_has_the_same_values(tmp_path, folders, genome):
    for name in ("a.bedgraph", "a.bedgraph.gz", "a.bw"):
        track(str(folders["token"]), genome, out=tmp_path / name, channel=["reverse"])
    text = (tmp_path / "a.bedgraph").read_bytes()
    assert gzip.decompress((tmp_path / "a.bedgraph.gz").read_bytes()) == text
    found = {c: np.full(n, np.nan, np.float32) for c, n in enumerate(LENGTHS)}
    for line in text.decode().splitlines():
        chrom, start, end, value = line.split("\t")
        found[int(chrom[1:])][int(start) : int(end)] = np.float32(value)
    for chrom, values in found.items():
        wanted = read(tmp_path / "a.bw", chrom, 0, len(values))
        assert np.array_equal(values, wanted, equal_nan=True)


def test_a_network_without_an_end_says_its_window(tmp_path, genome):
    model = token_model(replace(CONFIG, branch="reverse_complement"))
    folder = save(model, tmp_path / "global")
    result = track(
        str(folder), genome, out=tmp_path / "a.bw", channel=["forward"], window=1000, overlap=0
    )
    wanted = expected_classes(model, Genome.open(genome).fetch(0, 0, 700))[:, 1]
    values = read(result.files["forward"], 0, 0, 250)
    assert values.shape == (250,)
    assert np.isfinite(values[5:]).all()
    assert np.isfinite(wanted[5:250]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channel": ["upward"]}, "'upward' is none of this model's: intergenic, forward, reverse"),
        ({"out": "a.bw"}, "choose one of intergenic, forward, reverse for a single file"),
        ({"out": "a.txt"}, "must end in .bw"),
        ({"out": "a.bw.gz", "channel": ["forward"]}, "leave out .gz"),
        ({"mask_every": 1, "model": "language"}, "mask_every: must be at least 2"),
        ({"mask_every": 10}, "mask_every: this model predicts without hiding bases; leave it out"),
        ({"regions": "empty.bed"}, "empty.bed: the BED file is empty"),
        ({"regions": "none.bed"}, "none.bed: holds no interval"),
        ({"regions": "missing.bed"}, "missing.bed: no such BED file"),
        ({"regions": "beyond.bed"}, "beyond.bed, line 2: the end 701 lies beyond c0"),
        ({"regions": "other.bed"}, "no sequence of the genome is named 'x'"),
        ({"devices": 0}, "devices: must be at least 1"),
        ({"model": "sequence"}, "says nothing of single bases"),
        ({"overlap": 5}, "overlap: follows"),
    ],
)
def test_wrong_options(tmp_path, folders, genome, options, words):
    (tmp_path / "empty.bed").touch()
    (tmp_path / "none.bed").write_text("# nothing\n")
    (tmp_path / "beyond.bed").write_text("c0\t0\t700\nc0\t0\t701\n")
    (tmp_path / "other.bed").write_text("x\t0\t7\n")
    given = {"out": "out"} | options
    model = str(folders[given.pop("model", "token")])
    for name in ("out", "regions"):
        if name in given:
            given[name] = tmp_path / given[name]
    with pytest.raises(InputError, match=words):
        track(model, genome, **given)
    assert not list(tmp_path.glob("*.parts"))


def test_a_folder_with_other_things_is_left_alone(tmp_path, folders, genome):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds thesis.tex; choose a new or empty folder"):
        track(str(folders["token"]), genome, out=tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").unlink()
    for _ in range(2):
        track(str(folders["token"]), genome, out=tmp_path / "out")


def test_killed_and_started_again(tmp_path, folders, genome):
    options = {"out": tmp_path / "a.bw", "channel": ["forward"]}
    model = str(folders["token"])
    track(model, genome, **options)
    wanted = options["out"].read_bytes()
    options["out"].unlink()
    call = "from helicon.inference.tracks.track import track\n"
    call += f"track({model!r}, Path({str(genome)!r}), out=Path('a.bw'), channel=['forward'])"
    kill(tmp_path, call, shard=250, left=3)
    assert not options["out"].exists()
    result = track(model, genome, **options)
    assert (result.done.resumed, result.done.shards) == (3, 5)
    assert options["out"].read_bytes() == wanted
    assert not list(tmp_path.glob("*.parts"))


def test_parts_of_other_options_are_refused(tmp_path, folders, genome):
    parts = tmp_path / "a.bw.parts"
    parts.mkdir()
    (parts / "manifest.json").write_text(json.dumps({"verb": "track"}))
    with pytest.raises(InputError, match="holds parts of another job"):
        track(str(folders["token"]), genome, out=tmp_path / "a.bw", channel=["forward"])
