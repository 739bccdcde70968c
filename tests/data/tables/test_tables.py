"""Labelled tables: what is read is what was written, and every fault is named where it stands."""

import csv
import gzip
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN, SOFT_BIT
from helicon.data.tables.tables import read_table
from helicon.errors import InputError


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def letters(table):
    return [DNA.decode(table.sequence(i)) for i in range(len(table))]


def message(path, **options):
    with pytest.raises(InputError) as caught:
        read_table(path, **{"target": "label"} | options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


sequences = st.text(st.sampled_from("ACGTNacgtn"), min_size=1, max_size=40)
words = st.text(st.sampled_from('ab ,;"\n\té|é'), min_size=1, max_size=6).map(lambda s: f"x{s}x")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(sequences, st.integers(-5, 5), words), min_size=1, max_size=30),
    separator=st.sampled_from(",\t;"),
    newline=st.sampled_from(["\n", "\r\n"]),
    compress=st.booleans(),
    blank=st.integers(0, 3),
    last=st.booleans(),
)
def test_text_round_trip(tmp_path_factory, rows, separator, newline, compress, blank, last):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "sequence", "label", "word"])
    lines = []
    for i, (sequence, label, word) in enumerate(rows):
        if i < blank:
            out.write(newline)
        lines.append(out.getvalue().count("\n") + 1)
        writer.writerow([f"r{i}", sequence, label, word])
    text = out.getvalue().encode()
    text = text if last else text.removesuffix(newline.encode())
    path = write(tmp_path_factory.mktemp("t"), gzip.compress(text) if compress else text)

    table = read_table(path, target="label")
    assert letters(table) == [sequence.upper() for sequence, _, _ in rows]
    assert DNA.decode(table.ids) == "".join(sequence for sequence, _, _ in rows)
    assert table.labels.tolist() == [label for _, label, _ in rows]
    assert table.labels.dtype == np.int64
    assert table.names == [f"r{i}" for i in range(len(rows))]
    assert table.lines.tolist() == lines
    assert read_table(path, target="word").labels.tolist() == [word.strip() for _, _, word in rows]


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(sequences, st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_all_formats_give_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("t")
    frame = pl.DataFrame(rows, schema=["sequence", "label"], orient="row")
    frame = frame.with_columns(pl.col("label") + 0.25)
    frame.write_csv(folder / "a.csv")
    frame.write_csv(folder / "a.tsv", separator="\t")
    frame.write_parquet(folder / "a.parquet")
    records = "".join(f">r{i}|x|{y}\n{s}\n" for i, (s, y) in enumerate(frame.iter_rows()))
    write(folder, records, "a.fa")
    expected = read_table(folder / "a.parquet", target="label")
    assert expected.labels.tolist() == frame["label"].to_list()
    for name in ("a.csv", "a.tsv", "a.fa", "a.parquet"):
        raw = (folder / name).read_bytes()
        for path in (folder / name, write(folder, gzip.compress(raw), f"{name}.gz")):
            table = read_table(path, target="label")
            assert (table.ids == expected.ids).all()
            assert (table.offsets == expected.offsets).all()
            assert (table.labels == expected.labels).all()


def test_case_is_kept_as_the_soft_bit(tmp_path):
    table = read_table(write(tmp_path, "sequence\nacGU\n"), target=None)
    assert table.ids.tolist() == [0 | SOFT_BIT, 1 | SOFT_BIT, 2, 3]
    assert table.sequence(0).tolist() == [0, 1, 2, 3]
    assert table.labels is None


def test_take_reorders_everything(tmp_path):
    text = "name,sequence,label\na,AAA,1\nb,C,2\nc,GG,3\n"
    table = read_table(write(tmp_path, text), target="label").take(np.array([2, 0, 2]))
    assert letters(table) == ["GG", "AAA", "GG"]
    assert table.labels.tolist() == [3, 1, 3]
    assert table.names == ["c", "a", "c"]
    assert table.where(0).endswith("table.csv, line 4")


@pytest.mark.parametrize("column", ["sequence", "Sequence", "SEQ", "seq"])
def test_the_sequence_column_is_found_in_any_case(tmp_path, column):
    table = read_table(write(tmp_path, f"label;{column}\n1;ACGT\n"), target="label")
    assert letters(table) == ["ACGT"]
    assert read_table(table.path, target=None, sequence=column.lower()).lengths.tolist() == [4]


def test_a_file_without_header(tmp_path):
    row = "EI,   ATRINS-DONOR-521,  CCAGCTGCATCACAGGAGGCCAGC\n"
    table = read_table(write(tmp_path, row * 3), target="column_1")
    assert letters(table) == ["CCAGCTGCATCACAGGAGGCCAGC"] * 3
    assert table.labels.tolist() == ["EI"] * 3
    assert table.lines.tolist() == [1, 2, 3]
    assert "its columns are: column_1, column_2, column_3" in message(table.path)


def test_byte_order_mark_blank_top_and_spaces(tmp_path):
    text = b"\xef\xbb\xbf\r\n\r\nsequence , label\r\n ACGT , 1 \r\n   \r\nAC,2\r\n"
    table = read_table(write(tmp_path, text), target="label")
    assert letters(table) == ["ACGT", "AC"]
    assert table.labels.tolist() == [1, 2]
    assert table.lines.tolist() == [4, 6]


def test_unnamed_first_column_and_bare_returns(tmp_path):
    table = read_table(write(tmp_path, "\tsequence\tlabel\n0\tACGT\t1\n"), target="label")
    assert letters(table) == ["ACGT"]
    table = read_table(write(tmp_path, "sequence,label\rACGT,1\rAC,0\r"), target="label")
    assert letters(table) == ["ACGT", "AC"]
    assert table.lines.tolist() == [2, 3]


def test_quotation_marks_inside_a_field_are_letters(tmp_path):
    text = 'sequence\tnote\tlabel\nACGT\t5" end\t1\nACG\t"both" ends\t0\n'
    table = read_table(write(tmp_path, text), target="label")
    assert table.labels.tolist() == [1, 0]
    assert read_table(table.path, target="note").labels.tolist() == ['5" end', '"both" ends']


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        (["1", "0"], "int64", [1, 0]),
        (["1", "0.5"], "float64", [1, 0.5]),
        (["1", "yes"], "str", ["1", "yes"]),
        (["1e3", "-2"], "float64", [1000, -2]),
        (["None", "some"], "str", ["None", "some"]),
    ],
)
def test_label_types(tmp_path, column, dtype, values):
    text = "sequence,label\n" + "".join(f"ACGT,{value}\n" for value in column)
    labels = read_table(write(tmp_path, text), target="label").labels
    assert labels.tolist() == values
    assert labels.dtype.kind == np.dtype(dtype).kind


def test_several_targets(tmp_path):
    path = write(tmp_path, 'sequence,a,b,"a,b"\nACGT,1,0,7\nACGT,0,1,8\n')
    table = read_table(path, target="b, a")
    assert table.target == ("b", "a")
    assert table.labels.tolist() == [[0, 1], [1, 0]]
    assert read_table(path, target="a,b").labels.tolist() == [7, 8]  # a column of that very name
    assert read_table(path, target="a").labels.tolist() == [1, 0]
    text = "sequence,a,b\nACGT,1,0.5\nACGT,0,high\nACGT,0,low\n"
    said = message(write(tmp_path, text, "b.csv"), target="a,b")
    assert said.startswith(", line 3: the column 'b' holds the text 'high'")


def test_parquet_types(tmp_path):
    frame = pl.DataFrame(
        {
            "sequence": ["ACGT", "AC"],
            "flag": [True, False],
            "kind": pl.Series(["x", "y"], dtype=pl.Categorical),
            "small": pl.Series([1.5, 2], dtype=pl.Float32),
            "many": [[1], [2]],
        }
    )
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    assert read_table(path, target="flag").labels.tolist() == [1, 0]
    assert read_table(path, target="kind").labels.tolist() == ["x", "y"]
    assert read_table(path, target="small").labels.dtype == np.float64
    assert read_table(path, target="small").where(1).endswith("t.parquet, row 2")
    assert "'many' holds List(Int64); numbers or text" in message(path, target="many")
    assert "'small' holds Float32, not text" in message(path, target="flag", sequence="small")
    path.write_bytes(path.read_bytes()[:-20])
    assert "the Parquet file is damaged or cut short" in message(path, target="flag")


def test_parquet_missing_label_is_named_by_row(tmp_path):
    frame = pl.DataFrame({"sequence": ["ACGT"] * 3, "a": [1, None, None], "b": [0.5, 1.0, np.nan]})
    frame.write_parquet(tmp_path / "t.parquet")
    said = message(tmp_path / "t.parquet", target="a")
    assert said.startswith(", row 2: the label in 'a' is missing (2 rows are like this)")
    assert message(tmp_path / "t.parquet", target="b").startswith(", row 3: the label in 'b'")


def test_fasta_label_is_the_last_field(tmp_path):
    text = ">chr3:1-9 x|y | 1\nAC\nGT\n>same|0\nacg\n>same|0\nG\n"
    table = read_table(write(tmp_path, text, "t.fna"), target="label")
    assert table.labels.tolist() == [1, 0, 0]
    assert [name.strip() for name in table.names] == ["chr3:1-9 x|y", "same", "same"]
    assert letters(table) == ["ACGT", "ACG", "G"]
    assert table.lines.tolist() == [1, 4, 6]
    assert read_table(table.path, target=None).names[1] == "same|0"
    assert "choose the target 'label'" in message(table.path, target="y")
    assert "has no field 'y'" in message(table.path, target="y")


def test_fasta_without_label(tmp_path):
    path = write(tmp_path, ">a|1\nACGT\n>b\nACGT\n>c|\nAC\n")
    assert message(path).startswith(", line 3: the record 'b' has no label")
    path = write(tmp_path, ">a|1\nACGT\n>c|\nAC\n")
    assert message(path).startswith(", line 3: the label in 'label' is missing")


def test_protein(tmp_path):
    path = write(tmp_path, "sequence,label\nMKLVE,1\n")
    table = read_table(path, target="label", alphabet=PROTEIN)
    assert PROTEIN.decode(table.ids) == "MKLVE"
    assert message(path).endswith("(ACGTN); it reads as a protein")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sequence,label\n\nACGT,1\nAC!T,1\n", ", line 4: character '!' at position 3"),
        ("sequence,label\nACéT,1\n", ", line 2: character 'é' at position 3"),
        ("sequence,label\nACGT,1\n,1\n ,0\n", ", line 3: the sequence is empty (2 rows"),
        ("sequence,label\nACGT,1\nACGT,\nACGT,NA\n", ", line 3: the label in 'label' is missing"),
        ("sequence,label\nACGT,1\nACGT\n", ", line 3: has 1 fields where the first row has 2"),
        ("sequence,label\nACGT,1,2\n", ", line 2: has 3 fields where the first row has 2"),
        ('sequence,label\n"AC\nGT",1\nACGT\n', ", line 4: has 1 fields"),
        ('sequence,label\nACGT,1\n"ACGT,1\n', ", line 3: a quotation mark is opened"),
        ("sequence,y\nACGT,1\n", ": has no column 'label'; its columns are: sequence, y"),
        ("dna,label\nACGT,1\n", ": has no column 'sequence'; its columns are: dna, label"),
        ("sequence,label,label\nACGT,1,2\n", ": has two columns 'label'"),
        ("sequence,label\n", ": has no rows"),
        ("\n \n", ": holds only blank lines"),
        ("<!DOCTYPE html>\n<p>404</p>\n", ": is an HTML page"),
        ("", ": the table of sequences is empty"),
        (b"PK\x03\x04 a workbook", ": is a zip archive"),
        (b"sequence,label\nAC\0GT,1\n", ": is a binary file"),
        (gzip.compress(b"sequence,label\n" + b"ACGT,1\n" * 999)[:-12], ": the gzip file is cut"),
    ],
)
def test_wrong_files_are_named(tmp_path, text, said):
    assert message(write(tmp_path, text)).startswith(said)


def test_missing_file(tmp_path):
    assert "no such table of sequences" in message(tmp_path / "none.csv")
