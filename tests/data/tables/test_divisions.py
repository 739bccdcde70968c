import numpy as np
import polars as pl
import pytest

from helicon.alphabet import PROTEIN
from helicon.data.tables.divisions import header_fields, part_named
from helicon.data.tables.tables import read_table
from helicon.errors import InputError

PROTEINS = ["MKVLAW", "MKVLAY", "MKVLAF", "MKVLAC"]


def flip_csv(folder, rows, header="sequence,target,set,validation"):
    path = folder / "splits.csv"
    rows = [f"{s},{i / 2},{row}" for i, (s, row) in enumerate(zip(PROTEINS, rows, strict=False))]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path, target="target", **options):
    return read_table(path, target=target, alphabet=PROTEIN, divided=True, **options)


def parts(path, **options):
    found = read(path, **options).parts
    return None if found is None else found.tolist()


def test_flips_columns(tmp_path):
    path = flip_csv(tmp_path, ["train,", "train,True", "test,", "test,True"])
    # A row for testing stays one, whatever else is said of it.
    assert parts(path) == ["train", "validation", "test", "test"]
    assert read(path).take(np.array([3, 1])).parts.tolist() == ["test", "validation"]
    assert read_table(path, target="target", alphabet=PROTEIN).parts is None


def test_flips_headers(tmp_path):
    path = tmp_path / "splits.fasta"
    path.write_text(
        ">a TARGET=1.5 SET=train VALIDATION=False\nMKV\n"
        ">b TARGET=2.5 SET=train VALIDATION=True\nMKV\n"
        ">c TARGET=3.5 SET=test VALIDATION=False\nMKV\n"
    )
    table = read(path)
    assert table.parts.tolist() == ["train", "validation", "test"]
    assert table.labels.tolist() == [1.5, 2.5, 3.5]
    assert table.names == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"has no field 'score'.*target, set, validation"):
        read(path, target="score")


def test_parquet_of_a_data_frame(tmp_path):
    frame = pl.DataFrame({"seq": PROTEINS, "y": [1, 2, 3, 4], "Split": ["train"] * 3 + ["test"],
                          "validation": [None, True, False, None]})  # fmt: skip
    frame = frame.with_columns(pl.col("Split").cast(pl.Categorical))
    frame.write_parquet(tmp_path / "t.parquet")
    found = parts(tmp_path / "t.parquet", target="y")
    assert found == ["train", "validation", "train", "test"]


def test_columns_that_mean_something_else(tmp_path):
    assert parts(flip_csv(tmp_path, ["A,", "B,", "A,", "A,"])) is None
    named = flip_csv(tmp_path, ["train,", "test,"])
    assert parts(named, target="set") is None
    alone = flip_csv(tmp_path, ["1,True", "2,False"], "sequence,target,plate,validation")
    assert parts(alone) is None


WRONG = {
    "a slip": (["train,", "tset,"], "line 3: the column 'set' says 'tset', not train"),
    "nothing": (["train,", ","], "line 3: the column 'set' says nothing"),
    "a strange mark": (["train,", "train,maybe"], "line 3: the column 'validation' says 'maybe'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_understood_is_refused(tmp_path, case):
    rows, words = WRONG[case]
    with pytest.raises(InputError, match=words) as said:
        read(flip_csv(tmp_path, rows))
    assert "\n" not in str(said.value)


def test_two_divisions(tmp_path):
    path = flip_csv(tmp_path, ["train,test", "test,train"], "sequence,target,set,split")
    with pytest.raises(InputError, match="two columns say which rows"):
        read(path)


def test_words():
    assert part_named("Valid") == "validation"
    with pytest.raises(InputError, match="'held'"):
        part_named("held")
    assert header_fields("sp OS=Homo sapiens SET=train x=") == {
        "os": "Homo",
        "set": "train",
        "x": "",
    }
