"""Proteins as they come in files: stop symbols, lower case, Windows line ends, lines of any length.

Every reader gives the same letters, or refuses the record by file, place, name and position.
"""

import gzip

import numpy as np
import polars as pl
import pytest

from helicon.alphabet import PROTEIN, SOFT_BIT
from helicon.data.genome.fasta import read_fasta
from helicon.data.reading import compressed
from helicon.data.tables.store import SequenceStore
from helicon.data.tables.tables import read_table
from helicon.errors import InputError

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWYBZXJOU"))


def sequences(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(LETTERS, n)) for n in lengths]


def fasta(found, *, width=4096, end="\r\n", stop="*"):
    """Text of a FASTA file: lower case, `stop` behind every sequence."""
    lines = []
    for i, text in enumerate(found):
        text = text.lower() + stop
        lines += [f">p{i} protein {i}", *(text[a : a + width] for a in range(0, len(text), width))]
    return end.join([*lines, ""]).encode()


def store(path, tmp_path, **options):
    return SequenceStore.open(path, alphabet=PROTEIN, cache=tmp_path / "cache", **options)


def texts(held):
    return [PROTEIN.decode(held.sequence(i)) for i in range(len(held))]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("width", [60, 4096, 5_000_000])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_long_lower_case_lines_with_stops_and_windows_ends(tmp_path, packed, width, end):
    # 4,095 and 4,096 letters put the stop at the end of a line, and on one of its own.
    found = sequences([30, 4095, 4096, 9000, 1, 300_000] + [2_400_000] * (width > 60))
    data = fasta(found, width=width, end=end)
    path = tmp_path / "proteins.fasta"
    path.write_bytes(gzip.compress(data) if packed else data)
    records = list(read_fasta(path, PROTEIN))
    assert [r.name for r in records] == [f"p{i}" for i in range(len(found))]
    assert [PROTEIN.decode(r.ids) for r in records] == [text.lower() for text in found]
    held = store(path, tmp_path)
    assert texts(held) == found and held.name(1) == "p1"
    assert (np.concatenate([r.ids for r in records]) == held.ids).all()


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_a_stop_is_dropped_wherever_a_record_is_cut(tmp_path, monkeypatch, block):
    monkeypatch.setattr(compressed, "BLOCK", block)
    path = tmp_path / "p.fa"
    path.write_bytes(
        b">a\r\nMK*LV*\r\n\r\n>b\r\nMK*\r\n*\r\n>c\r\nM\r\n*\r\nK\r\n>d\r\n*MKV\r\n>e\r\nW*"
    )
    wanted = ["MK*LV", "MK*", "M*K", "*MKV", "W"]
    assert [PROTEIN.decode(r.ids) for r in read_fasta(path, PROTEIN)] == wanted
    assert texts(store(path, tmp_path)) == wanted


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "fasta"])
def test_tables_drop_it_too(tmp_path, suffix):
    rows = ["mkl*", "MK*L", " MKLVW* ", "A"]
    path = tmp_path / f"rows.{suffix}"
    frame = pl.DataFrame({"name": ["a", "b", "c", "d"], "sequence": rows})
    if suffix == "parquet":
        frame.write_parquet(path)
    elif suffix == "fasta":
        path.write_text("".join(f">{n}\n{s}\n" for n, s in frame.iter_rows()))
    else:
        frame.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    table = read_table(path, target=None, alphabet=PROTEIN)
    wanted = ["MKL", "MK*L", "MKLVW", "A"]
    assert [PROTEIN.decode(table.sequence(i)) for i in range(4)] == wanted
    assert texts(store(path, tmp_path)) == wanted


def test_what_is_refused_is_named(tmp_path):
    good = sequences([5000, 5000])
    cases = [
        (fasta([good[0], ""], stop=""), "line 4, record 'p1': has no sequence"),
        (fasta([good[0], ""]), "line 4, record 'p1': has no sequence"),  # a stop alone
        (
            fasta([good[0], good[1][:4500] + "7" + good[1][4501:]]),
            r"line 6, record 'p1': letter '7' is outside .*\(position 4,501 of the sequence\)",
        ),
        (fasta([good[0] + "\u00e9"]).replace(b"*", b""), "line 3, record 'p0': byte 0xc3"),
        (fasta([good[0], good[1] + "*."]), r"line 6, record 'p1': letter '.' .*position 5,002"),
    ]
    for i, (data, said) in enumerate(cases):
        for packed in (False, True):
            path = tmp_path / f"wrong{i}{packed}.fa"
            path.write_bytes(gzip.compress(data) if packed else data)
            for read in (lambda p: list(read_fasta(p, PROTEIN)), lambda p: store(p, tmp_path)):
                with pytest.raises(InputError, match=rf"{path.name}, {said}") as caught:
                    read(path)
                assert "\n" not in str(caught.value)


def test_a_record_of_a_stop_alone_can_be_left_out(tmp_path):
    path = tmp_path / "p.fa"
    path.write_text(">a\nMK*\n>b\n*\n>c\nMV\n")
    held = store(path, tmp_path, on_error="skip")
    assert texts(held) == ["MK", "MV"] and held.skipped == 1
    rows = tmp_path / "p.csv"
    rows.write_text("sequence\nMK*\n*\n")
    with pytest.raises(InputError, match=r"line 3: the sequence is empty"):
        store(rows, tmp_path)
    with pytest.raises(InputError, match=r"line 3: the sequence is empty"):
        read_table(rows, target=None, alphabet=PROTEIN)


def test_only_proteins_have_stops(tmp_path):
    assert PROTEIN.encode("MK*")[-1] == PROTEIN.letters.index("*")  # one text is read as it is
    path = tmp_path / "g.fa"
    path.write_text(">a\nACGT*\n")
    with pytest.raises(InputError, match="letter '\\*' is outside the dna alphabet"):
        list(read_fasta(path))
    path.write_text(">a\nacgt\n")
    assert all(record.ids[0] & SOFT_BIT for record in read_fasta(path))
