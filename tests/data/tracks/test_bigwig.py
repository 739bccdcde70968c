"""bigWig and bedGraph files as other programs read them."""

import gzip
from itertools import pairwise

import numpy as np
import pybigtools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.data.tracks import bigwig
from helicon.data.tracks.bedgraph import BedGraphWriter
from helicon.data.tracks.bigwig import BigWigWriter


def write(path, names, lengths, stretches):
    with BigWigWriter(path, names, np.array(lengths)) as writer:
        for chrom, start, values in stretches:
            writer.add(chrom, start, np.asarray(values, np.float32))


def read(path, name, length):
    handle = pybigtools.open(str(path))
    return np.asarray(handle.values(name, 0, length, fillna=None), np.float32)


def gappy(rng, length, share=0.1):
    values = rng.normal(size=length).astype(np.float32)
    values[rng.random(length) < share] = np.nan
    return values


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), contigs=st.integers(1, 6), section=st.integers(1, 40))
def test_values_come_back(tmp_path_factory, seed, contigs, section):
    path = tmp_path_factory.mktemp("bw") / "a.bw"
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 400, contigs)
    names = [f"c{i}" for i in rng.permutation(contigs)]
    whole = [gappy(rng, n, rng.choice([0, 0.1, 0.9])) for n in lengths]
    whole[0][0] = 1.5
    cuts = [sorted({0, int(n), *rng.integers(0, n, 3).tolist()}) for n in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigwig, "SECTION", section)
        patch.setattr(bigwig, "_NODE", 4)
        stretches = [(i, a, whole[i][a:b]) for i in range(contigs) for a, b in pairwise(cuts[i])]
        write(path, names, lengths, stretches)
    assert pybigtools.open(str(path)).chroms() == dict(zip(names, lengths.tolist(), strict=True))
    for name, values in zip(names, whole, strict=True):
        assert np.array_equal(read(path, name, len(values)), values, equal_nan=True)


def test_many_contigs_and_sections_make_trees_of_several_levels(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig, "_NODE", 3)
    monkeypatch.setattr(bigwig, "SECTION", 16)
    rng = np.random.default_rng(0)
    names = [f"scaffold_{i}" for i in range(100)]
    lengths = rng.integers(1, 300, 100)
    whole = [rng.random(n).astype(np.float32) for n in lengths]
    write(tmp_path / "a.bw", names, lengths, [(i, 0, v) for i, v in enumerate(whole)])
    for name, values in zip(names, whole, strict=True):
        assert np.array_equal(read(tmp_path / "a.bw", name, len(values)), values)
    longest = int(lengths.argmax())
    handle = pybigtools.open(str(tmp_path / "a.bw"))
    middle = handle.values(names[longest], 20, 90, fillna=None)
    assert np.allclose(middle, whole[longest][20:90])


def test_summary_and_zoom_levels(tmp_path):
    rng = np.random.default_rng(3)
    values = gappy(rng, 10_000)
    values[5000:5600] = np.nan
    # Stretches need not begin where the summaries do.
    stretches = [(0, a, values[a:b]) for a, b in ((0, 777), (777, 4001), (4001, 10_000))]
    write(tmp_path / "a.bw", ["c", "d"], [10_000, 50], [*stretches, (1, 3, np.ones(5))])
    handle = pybigtools.open(str(tmp_path / "a.bw"))
    both = np.append(values, np.ones(5)).astype(np.float64)
    known = both[~np.isnan(both)]
    found = handle.info()["summary"]
    assert found["basesCovered"] == len(known)
    wanted = [known.sum(), known.min(), known.max(), known.std(ddof=1)]
    assert np.allclose([found[k] for k in ("sum", "min", "max", "std")], wanted)
    assert handle.zooms() == [64, 256, 1024, 4096, 16384]
    for every in handle.zooms():
        records = list(handle.zoom_records(every, "c", 0, 10_000))
        assert all(a[1] <= b[0] for a, b in pairwise(records))
        for start, end, summary in records:
            part = values[start:end].astype(np.float64)
            part = part[~np.isnan(part)]
            assert end - start <= every
            assert summary["bases_covered"] == len(part)
            assert summary["sum"] == pytest.approx(part.sum(), rel=1e-4, abs=1e-4)
            assert summary["sum_squares"] == pytest.approx((part**2).sum(), rel=1e-4)
            assert summary["min_val"] == part.min()
            assert summary["max_val"] == part.max()
        assert sum(r[2]["bases_covered"] for r in records) == np.count_nonzero(~np.isnan(values))
    assert len(list(handle.zoom_records(16384, "d", 0, 50))) == 1


def test_a_file_without_values_is_valid(tmp_path):
    write(tmp_path / "a.bw", ["c"], [100], [(0, 0, np.full(100, np.nan))])
    handle = pybigtools.open(str(tmp_path / "a.bw"))
    assert handle.chroms() == {"c": 100}
    assert np.isnan(read(tmp_path / "a.bw", "c", 100)).all()


def test_stretches_come_in_order(tmp_path):
    for second in ((0, 5), (1, 0)):
        with (
            pytest.raises(AssertionError),
            BigWigWriter(tmp_path / "a.bw", ["c", "d"], np.array([50, 50])) as writer,
        ):
            writer.add(1, 0, np.ones(10, np.float32))
            writer.add(*second, np.ones(10, np.float32))


@pytest.mark.parametrize("compressed", [False, True])
def test_bedgraph_joins_equal_neighbours(tmp_path, compressed):
    path = tmp_path / "a.bedgraph"
    with BedGraphWriter(path, ["c", "d"], compressed=compressed) as writer:
        writer.add(0, 10, np.array([1, 1, np.nan, np.nan, 0.25, 0.5, 0.5], np.float32))
        writer.add(1, 0, np.full(3, np.nan, np.float32))
        writer.add(1, 3, np.array([0.1], np.float32))
    content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    assert content.decode().splitlines() == [
        "c\t10\t12\t1.0", "c\t14\t15\t0.25", "c\t15\t17\t0.5", "d\t3\t4\t0.1",
    ]  # fmt: skip
