"""A store gives what its file says, whatever the kind and the size of the blocks it was read in."""

import gzip
import json
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN
from helicon.data.reading import delimited
from helicon.data.tables import columns
from helicon.data.tables.store import SequenceStore
from helicon.data.tables.tables import read_table
from helicon.errors import InputError, WorkError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def opened(path, alphabet=DNA, **options):
    return SequenceStore.open(path, alphabet=alphabet, **options)


def letters(store):
    return [store.alphabet.decode(store.sequence(i)) for i in range(len(store))]


def message(path, alphabet=DNA, **options):
    with pytest.raises(InputError) as caught:
        opened(path, alphabet, **options)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(path))
    return text.removeprefix(str(path))


sequences = st.text(st.sampled_from("ACGTNacgtn"), min_size=1, max_size=40)
words = st.text(st.sampled_from('ab ,;"\n\té|é'), min_size=1, max_size=6).map(lambda s: f"x{s}x")


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(words, sequences, words), min_size=1, max_size=30),
    separator=st.sampled_from(",\t;"),
    newline=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from(["always", "necessary"]),
    compress=st.booleans(),
    top=st.sampled_from(["", "\n", "\ufeff", "\ufeff\r\n \n"]),
    block=st.sampled_from([4, 7, 64, 1 << 24]),
)
def test_text_is_read_as_tables_are(
    tmp_path_factory, rows, separator, newline, quoting, compress, top, block
):
    folder = tmp_path_factory.mktemp("t")
    frame = pl.DataFrame(rows, schema=["id", "seq", "word"], orient="row")
    text = frame.write_csv(separator=separator, line_terminator=newline, quote_style=quoting)
    text = (top + text).encode()
    path = write(folder, gzip.compress(text) if compress else text)
    table = read_table(path, target=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        store = opened(path, cache=folder)
    assert (store.ids == table.ids).all()
    assert (store.offsets == table.offsets).all()
    assert store.names() == [name.strip() for name in table.names]
    assert (store.places == table.lines).all()
    assert letters(store) == [sequence.upper() for _, sequence, _ in rows]


@settings(max_examples=8, deadline=None)
@given(rows=st.lists(sequences, min_size=1, max_size=20), block=st.sampled_from([4, 100, 1 << 24]))
def test_all_formats_give_the_same(tmp_path_factory, rows, block):
    folder = tmp_path_factory.mktemp("t")
    names = [f"r{i}é" for i in range(len(rows))]
    frame = pl.DataFrame({"name": names, "sequence": rows})
    frame.write_csv(folder / "a.csv")
    frame.write_csv(folder / "a.tsv", separator="\t")
    frame.write_parquet(folder / "a.parquet", row_group_size=3)
    records = zip(names, rows, strict=True)
    write(folder, "".join(f">{n} x\n{s[:5]}\n{s[5:]}\n" for n, s in records), "a.fa")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        patch.setattr(columns, "BLOCK", block)
        patch.setattr("helicon.data.reading.compressed.BLOCK", block)
        for name in ("a.csv", "a.tsv", "a.parquet", "a.fa"):
            raw = (folder / name).read_bytes()
            for path in (folder / name, write(folder, gzip.compress(raw), f"{name}.gz")):
                store = opened(path, cache=folder)
                assert letters(store) == [row.upper() for row in rows]
                assert DNA.decode(store.ids) == "".join(rows)
                assert store.names() == names and store.name(len(rows) - 1) == names[-1]
                assert store.lengths.tolist() == [len(row) for row in rows]
                assert store.total == sum(map(len, rows))


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(sequences, min_size=1, max_size=8), data=st.data())
def test_gather_windows_and_parts(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("t")
    store = opened(write(folder, "sequence\n" + "\n".join(rows)), cache=folder)
    assert store.names() == [str(i + 1) for i in range(len(rows))]
    start = data.draw(st.integers(0, len(rows) - 1))
    end = data.draw(st.integers(start + 1, len(rows)))
    part, texts = store.part(start, end), [row.upper() for row in rows[start:end]]
    assert letters(part) == texts and part.names() == store.names()[start:end]
    assert part.total == sum(map(len, texts)) and len(part) == len(texts)
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=9))
    ids, mask = part.gather(chosen)
    longest = max(len(texts[i]) for i in chosen)
    assert [DNA.decode(row) for row in ids] == [texts[i].ljust(longest, ".") for i in chosen]
    assert (mask == (ids != DNA.pad_id)).all()
    at = data.draw(st.integers(-5, 45))
    for reverse in (False, True):
        turned = np.full(len(chosen), reverse)
        found = part.windows(chosen, np.full(len(chosen), at), 7, reverse=turned)
        for row, i in zip(found, chosen, strict=True):
            text = "".join(
                texts[i][p] if 0 <= p < len(texts[i]) else "." for p in range(at, at + 7)
            )
            pairs = str.maketrans("ACGT", "TGCA")
            assert DNA.decode(row) == (text.translate(pairs)[::-1] if reverse else text)


def test_rows_without_names_and_names_that_repeat(tmp_path):
    table = write(tmp_path, "sequence,gene\nAC,x\nGT,x\n")
    assert opened(table).names() == ["1", "2"]
    assert opened(table, name="gene").names() == ["x", "x"]
    assert message(table, name="nothing").startswith(": has no column 'nothing'; its columns are")
    assert message(table, sequence="dna").startswith(": has no column 'dna'")
    bare = write(tmp_path, "ACGTACGTACGTACGTACGT\nAC\n", "bare.csv")
    assert letters(opened(bare)) == ["ACGTACGTACGTACGTACGT", "AC"]


def test_proteins(tmp_path):
    path = write(tmp_path, ">a\nMKLVE*\n>b\nmkx\n", "p.fa")
    store = opened(path, PROTEIN)
    assert letters(store) == ["MKLVE", "MKX"]
    assert store.gather([0, 1])[1].sum(axis=1).tolist() == [5, 3]
    assert "looks like a protein" in message(path)
    with pytest.raises(InputError, match="no complement"):
        store.windows([0], [0], 2, reverse=np.array([True]))


FASTA = ">a\nACGT\n>b bad\nAC\nG!T\nACGT\n>c\n>d\nAAAA\n>e\nM*\n"
TABLE = "name,sequence\na,ACGT\nb,ACG!T\nc,\nd,AAAA\ne,é\n"


@pytest.mark.parametrize("block", [1, 9, 1 << 20])
@pytest.mark.parametrize(("text", "name"), [(FASTA, "f.fa"), (TABLE, "t.csv")])
def test_bad_records_stop_or_are_left_out(tmp_path, monkeypatch, text, name, block):
    monkeypatch.setattr("helicon.data.reading.compressed.BLOCK", block)
    monkeypatch.setattr(delimited, "BLOCK", block)
    path = write(tmp_path, text, name)
    first = message(path)
    assert "!" in first and (", line 5, record 'b': " in first or ", line 3: character" in first)
    store = opened(path, on_error="skip")
    assert letters(store) == ["ACGT", "AAAA"] and store.names() == ["a", "d"]
    assert store.skipped == 3
    assert f", {store.reasons[0]}" == first
    assert [reason.split(",")[0].split(":")[0] for reason in store.reasons] in (
        ["line 5", "line 7", "line 11"],
        ["line 3", "line 4", "line 6"],
    )
    assert message(path) == first  # now from the index
    none = write(tmp_path, ">a\n>b\n!\n", "none.fa")
    assert "none of 2 records can be read (line 1, record 'a'" in message(none, on_error="skip")


def test_parquet_rows_are_named(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"sequence": ["ACGT", None, "AC GT"], "k": [1, 2, 3]}).write_parquet(path)
    assert message(path).startswith(", row 2: the sequence is empty")
    assert opened(path, on_error="skip").skipped == 2
    assert "'k' holds Int64, not text" in message(path, sequence="k")
    path.write_bytes(path.read_bytes()[:-20])
    assert "the Parquet file is damaged or cut short" in message(path)


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">a\nAC\n>b\nAC\n>a\nGT\n>b\nA\n", ", line 5, record 'a': is named as the one in line 1"),
        ("sequence,label\nACGT,1\nACGT\n", ", line 3: has 1 fields where the first row has 2"),
        ('sequence,label\n"AC\nGT",1\nA,1\n', ", line 2: character '\\n' at position 3"),
        ('sequence,label\nACGT,1\n"ACGT,1\n', ", line 3: a quotation mark is opened"),
        ("sequence,sequence\nA,C\n", ": has two columns 'sequence'"),
        ("sequence\n", ": has no rows"),
        ("\n \n", ": holds only blank lines"),
        ("<!DOCTYPE html>\n<p>404</p>\n", ": is an HTML page"),
        ("", ": the file of sequences is empty"),
        ("@read\nACGT\n+\nFFFF\n", ", line 1: looks like FASTQ"),
        (b"PK\x03\x04 a workbook", ": is a zip archive"),
        (gzip.compress(b"sequence,label\n" + b"ACGT,1\n" * 999)[:-12], ": the gzip file is cut"),
    ],
)
def test_wrong_files_are_named(tmp_path, monkeypatch, text, said, block):
    monkeypatch.setattr(delimited, "BLOCK", block)
    path = write(tmp_path, text)
    assert message(path).startswith(said)
    assert not list((tmp_path / "cache").rglob("*.u8")) or "named as" in said
    if "named as" in said:
        assert letters(opened(path, unique=False)) == ["AC", "AC", "GT", "A"]


def test_sequences_of_one_letter(tmp_path):
    path = write(tmp_path, "sequence\nA\n\nAC\n \nC\r\n")
    assert letters(opened(path)) == ["A", "AC", "C"]
    table = read_table(path, target=None)
    assert table.lengths.tolist() == [1, 2, 1] and table.lines.tolist() == [2, 4, 6]


def test_bare_returns(tmp_path):
    store = opened(write(tmp_path, "sequence,label\rACGT,1\rAC,0\r"))
    assert letters(store) == ["ACGT", "AC"] and store.places.tolist() == [2, 3]


def test_a_store_is_found_again_and_never_stale(tmp_path, monkeypatch):
    path = write(tmp_path, ">a\nACGT\n", "a.fa")
    assert opened(path, digest=None).names() == ["a"]
    with monkeypatch.context() as patch:
        patch.setattr("helicon.data.tables.store._Packer", None)
        assert letters(opened(path)) == ["ACGT"]
        assert letters(opened(path, sequence="other")) == ["ACGT"]  # no column of a FASTA
    path.write_text(">a\nTTTT\n")
    assert letters(opened(path)) == ["TTTT"]
    assert letters(opened(path, PROTEIN)) == ["TTTT"]


@pytest.mark.parametrize("name", ["ids.u8", "offsets.i64", "names.u8", "places.i64", "index.json"])
def test_half_a_store_is_made_again(tmp_path, name):
    path = write(tmp_path, ">a\nACGT\n>b\nC\n", "a.fa")
    opened(path)
    (file,) = (tmp_path / "cache").rglob(name)
    file.unlink()
    left = file.with_name(".ids.u8.0000.tmp")
    left.write_bytes(b"half")
    assert letters(opened(path)) == ["ACGT", "C"]
    assert not left.exists()


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path, ">a\nACGT\n", "a.fa")
    hashes = iter(["before", "after"])
    monkeypatch.setattr("helicon.data.tables.store.sha256", lambda _: next(hashes))
    assert "changed while it was read" in message(path)
    assert not list((tmp_path / "cache").rglob("*.u8"))


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("helicon.data.tables.store._Numbers.write", full)
    with pytest.raises(WorkError, match="the disk is full"):
        opened(write(tmp_path, ">a\nACGT\n", "a.fa"))


PROCESS = """
import sys, time
from pathlib import Path
from helicon.alphabet import DNA
from helicon.data.tables.store import SequenceStore
folder = Path(sys.argv[1])
(folder / sys.argv[2]).touch()
while not (folder / "go").exists():
    time.sleep(0.001)
store = SequenceStore.open(folder / "t.csv", alphabet=DNA, cache=folder / "cache")
print(len(store), int(store.ids.sum(dtype=int)), store.names()[-1])
"""


def test_two_processes_that_start_together(tmp_path):
    write(tmp_path, "sequence\n" + "ACGT\nGATTACA\n" * 100_000, "t.csv")
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
    assert said[0] == said[1] == f"200000 {100_000 * (6 + 9)} 200000\n"
    (index,) = (tmp_path / "cache").rglob("index.json")
    assert json.loads(index.read_text())["skipped"] == 0
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.parametrize("kind", ["csv", "parquet", "fa"])
def test_packing_takes_memory_for_a_block_not_for_the_file(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(delimited, "BLOCK", 1 << 20)
    monkeypatch.setattr(columns, "BLOCK", 1 << 20)
    text = "ACGT" * 25
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("sequence\n" + f"{text}\n" * 200_000)
    elif kind == "fa":
        path.write_text("".join(f">{i}\n{text}\n" for i in range(50_000)) + f">x\n{text * 200_000}")
    else:
        pl.DataFrame({"sequence": [text] * 200_000}).write_parquet(path, row_group_size=20_000)
    tracemalloc.start()
    store = opened(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.total >= 20_000_000
    assert peak < 10_000_000
