import gzip
import json
import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, SOFT_BIT
from helicon.data.genome import genome as genome_module
from helicon.data.genome.genome import Genome
from helicon.errors import InputError, WorkError

CHROMOSOMES = {"one": "ACGTNNNNacgtNNRY", "two": "G", "three": "nnTTGACCATAGN"}


def write(path, chromosomes=CHROMOSOMES):
    path.write_text("".join(f">{name} text\n{text}\n" for name, text in chromosomes.items()))
    return path


@pytest.fixture
def genome(tmp_path):
    return Genome.open(write(tmp_path / "g.fa"), cache=tmp_path / "cache")


def naive(text: str, start: int, length: int, reverse: bool) -> str:
    """A window letter by letter; `.` beyond the edges."""
    window = "".join(text[i] if 0 <= i < len(text) else "." for i in range(start, start + length))
    pairs = str.maketrans("ACGTacgt", "TGCAtgca")
    return window.translate(pairs)[::-1] if reverse else window


def test_names_lengths_and_what_repr_says(genome):
    assert genome.names == list(CHROMOSOMES)
    assert genome.lengths.tolist() == [16, 1, 13]
    assert genome.total == 30 == len(genome.bases)
    assert genome.index("three") == 2
    with pytest.raises(InputError, match="no sequence is named 'chr1'; it has one, two, three"):
        genome.index("chr1")


def test_fetch(genome):
    assert DNA.decode(genome.fetch("one", 2, 6)) == "GTNN"
    assert DNA.decode(genome.fetch("one", 7, 10, soft=True)) == "Nac"
    assert DNA.decode(genome.fetch("one", 7, 10)) == "NAC"
    assert DNA.decode(genome.fetch(0, 0, 5, strand="-")) == "NACGT"
    assert genome.fetch("two", -1, 2).tolist() == [DNA.pad_id, 2, DNA.pad_id]
    assert genome.fetch("two", 1, 1).shape == (0,)
    assert (genome.fetch("two", 50, 53) == DNA.pad_id).all()


def test_a_window_is_a_copy(genome):
    window = genome.fetch("one", 0, 4)
    window[:] = 3
    assert DNA.decode(genome.fetch("one", 0, 4)) == "ACGT"


chromosome_sets = st.lists(st.text("ACGTNacgtn", min_size=1, max_size=40), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(chromosome_sets, st.integers(1, 50), st.booleans(), st.data())
def test_windows_are_the_naive_slices(tmp_path_factory, texts, length, soft, data):
    folder = tmp_path_factory.mktemp("genome")
    chromosomes = {f"c{i}": text for i, text in enumerate(texts)}
    genome = Genome.open(write(folder / "g.fa", chromosomes), cache=folder)
    place = st.tuples(st.integers(0, len(texts) - 1), st.integers(-60, 60), st.booleans())
    places = data.draw(st.lists(place, max_size=8))
    chroms, starts, reverse = np.array(places, dtype=int).reshape(-1, 3).T
    got = genome.windows(chroms, starts, length, reverse=reverse == 1, soft=soft)
    wanted = [naive(texts[c], s, length, r) for c, s, r in places]
    wanted = wanted if soft else [text.upper() for text in wanted]
    assert got.shape == (len(places), length) and got.dtype == np.uint8
    assert [DNA.decode(row) for row in got] == wanted
    shares = [sum(b in "nN" for b in naive(texts[c], s, length, False)) for c, s, _ in places]
    np.testing.assert_allclose(genome.unknown_fraction(chroms, starts, length) * length, shares)


def test_the_fast_reverse_complement_is_that_of_the_alphabet():
    ids = np.array([[i | soft for i in range(7) for soft in (0, SOFT_BIT)]], dtype=np.uint8)
    expected = DNA.reverse_complement(ids)
    assert (genome_module._reverse_complement(ids) == expected).all()


def test_runs_of_unknown_bases_join_over_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("helicon.data.reading.compressed.BLOCK", 5)
    genome = Genome.open(
        write(tmp_path / "g.fa", {"a": "ACNNNNNNNNNNGNnNNN", "b": "NNACN"}), cache=tmp_path
    )
    assert genome.unknown.tolist() == [2, 12, 13, 20, 22, 23]


def test_an_edited_file_is_never_served_stale(tmp_path):
    path = write(tmp_path / "g.fa", {"a": "ACGT"})
    old = Genome.open(path, cache=tmp_path)
    stat = path.stat()
    write(path, {"a": "TTTT"})
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new = Genome.open(path, cache=tmp_path)
    assert DNA.decode(new.fetch("a", 0, 4)) == "TTTT"
    assert DNA.decode(old.fetch("a", 0, 4)) == "ACGT"
    assert old.sha256 != new.sha256


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "g.fa")
    hashes = iter(["before", "after"])
    monkeypatch.setattr(genome_module, "sha256", lambda _: next(hashes))
    with pytest.raises(InputError, match="changed while it was read"):
        Genome.open(path, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.u8"))


def test_the_second_opening_encodes_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "g.fa")
    first = Genome.open(path, cache=tmp_path / "cache")
    monkeypatch.setattr(genome_module, "_encode", None)
    again = Genome.open(path, cache=tmp_path / "cache")
    assert (first.bases == again.bases).all() and first.names == again.names


def test_compressed_and_plain_give_the_same_bases(tmp_path, genome):
    packed = tmp_path / "g.fa.gz"
    packed.write_bytes(gzip.compress((tmp_path / "g.fa").read_bytes()))
    assert (Genome.open(packed, cache=tmp_path / "cache").bases == genome.bases).all()


def test_a_store_without_its_index_is_made_again(tmp_path):
    path = write(tmp_path / "g.fa")
    genome = Genome.open(path, cache=tmp_path / "cache")
    (index,) = (tmp_path / "cache").rglob("index.json")
    index.unlink()
    left = index.with_name(".bases.u8.0000.tmp")
    left.write_bytes(b"half")
    index.with_name("bases.u8").unlink()
    index.with_name("bases.u8").write_bytes(b"half")
    assert (Genome.open(path, cache=tmp_path / "cache").bases == genome.bases).all()
    assert not left.exists()
    assert json.loads(index.read_text())["names"] == list(CHROMOSOMES)


@pytest.mark.parametrize("name", ["bases.u8", "unknown.i64"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_store_of_which_a_file_was_purged_is_made_again(tmp_path, name, cut):
    path = write(tmp_path / "g.fa")
    first = Genome.open(path, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").rglob(name)
    content = file.read_bytes()
    file.unlink()
    if cut:
        file.write_bytes(content[:-8])
    again = Genome.open(path, cache=tmp_path / "cache")
    assert (again.bases == first.bases).all() and (again.unknown == first.unknown).all()


def test_wrong_input_leaves_no_store(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">a\nACGT\n>b\nMKLVE\n")
    with pytest.raises(InputError, match=r"record 'b'.*protein"):
        Genome.open(path, cache=tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [".lock"]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cache cannot be written.*HELICON_CACHE"):
        Genome.open(write(tmp_path / "g.fa"), cache=tmp_path / "cache")


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(genome_module._Runs, "add", full)
    with pytest.raises(WorkError, match="the disk is full"):
        Genome.open(write(tmp_path / "g.fa"), cache=tmp_path / "cache")


PROCESS = """
import sys, time
from pathlib import Path
from helicon.data.genome.genome import Genome
folder = Path(sys.argv[1])
(folder / sys.argv[2]).touch()
while not (folder / "go").exists():
    time.sleep(0.001)
genome = Genome.open(folder / "g.fa", cache=folder / "cache")
print(genome.sha256, int(genome.bases.sum(dtype=int)), genome.names, genome.unknown.tolist())
"""


def test_two_processes_that_start_together(tmp_path):
    rng = np.random.default_rng(0)
    text = np.frombuffer(b"ACGTN", dtype=np.uint8)[rng.integers(0, 4, 3_000_000)]
    text[1_000_000:1_000_100] = ord("N")
    write(tmp_path / "g.fa", {"a": text.tobytes().decode()})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, tmp_path, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("first", "second")
    ]
    while not all((tmp_path / name).exists() for name in ("first", "second")):
        time.sleep(0.01)
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1] and "[1000000, 1000100]" in said[0]
    files = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert sorted(files) == [".lock", "bases.u8", "index.json", "unknown.i64"]


def test_without_locks_the_last_to_finish_changes_nothing(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    path = write(tmp_path / "g.fa")
    genome = Genome.open(path, cache=tmp_path / "cache")
    (index,) = (tmp_path / "cache").rglob("index.json")
    genome_module._encode(path, genome.sha256, index.parent)
    assert DNA.decode(genome.fetch("one", 0, 4)) == "ACGT"
    assert (Genome.open(path, cache=tmp_path / "cache").bases == genome.bases).all()


def test_encoding_takes_memory_for_a_piece_not_for_the_genome(tmp_path):
    size = 32_000_000
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\n" + b"ACGTN" * (size // 10) + b"\n>b\n" + b"acgta" * (size // 10))
    tracemalloc.start()
    genome = Genome.open(path, cache=tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert genome.total == size
    assert peak < 16_000_000
