"""Tables of mutants: every way of writing them, and every way of being wrong, named by row."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helicon.alphabet import PROTEIN
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError
from helicon.inference.mutants.table import read_mutants

WILD = "MKTAYIAKQR"


@pytest.fixture
def store(tmp_path) -> SequenceStore:
    (tmp_path / "w.fa").write_text(f">one the wild type\n{WILD[:4].lower()}\n{WILD[4:]}*\n")
    return SequenceStore.open(tmp_path / "w.fa", alphabet=PROTEIN)


@pytest.fixture
def two(tmp_path) -> SequenceStore:
    (tmp_path / "two.fa").write_text(f">one\n{WILD}\n>two\nMXDE\n")
    return SequenceStore.open(tmp_path / "two.fa", alphabet=PROTEIN)


def write(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def found(mutants) -> list[list[tuple[int, str]]]:
    """Position (0-based) and new letter of every substitution of every row."""
    rows: list[list[tuple[int, str]]] = [[] for _ in range(len(mutants))]
    for row, at, letter in zip(mutants.row, mutants.position, mutants.letter, strict=True):
        rows[row].append((int(at), PROTEIN.letters[letter]))
    return rows


@pytest.mark.parametrize("between", [":", ",", ";", " ", ", ", "/", "+"])
def test_substitutions_however_they_are_separated(tmp_path, store, between):
    text = between.join(["T3A", "k8*", "M1W"])
    table = write(tmp_path, f"name\tmutant\na\t{text}\nb\tR10K\n", "t.tsv")
    mutants = read_mutants(table, store)
    assert found(mutants) == [[(2, "A"), (7, "*"), (0, "W")], [(9, "K")]]
    assert mutants.frame["name"].to_list() == ["a", "b"]


@pytest.mark.parametrize("word", ["WT", "wt", "_wt", "", "=", "Wild-type"])
def test_the_wild_type_has_no_substitutions(tmp_path, store, word):
    mutants = read_mutants(write(tmp_path, f"mutation,y\n{word},1\nK2A,2\n"), store)
    assert mutants.substitutions.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["mutant", "Mutation", "VARIANT", "mutations"])
def test_the_column_is_found_by_usual_names(tmp_path, store, name):
    assert len(read_mutants(write(tmp_path, f"x,{name}\n1,K2A\n"), store)) == 1


@pytest.mark.parametrize(("offset", "name"), [(0, "K1A"), (1, "K2A"), (24, "K25A"), (-3, "K-2A")])
def test_offset_is_the_number_of_the_first_residue(tmp_path, store, offset, name):
    mutants = read_mutants(write(tmp_path, f"mutant\n{name}\n"), store, offset=offset)
    assert found(mutants) == [[(1, "A")]]


def test_parquet_keeps_its_types(tmp_path, store):
    frame = pl.DataFrame({"mutant": ["K2A", None], "y": [1.5, None], "n": [1, 2]})
    frame.write_parquet(tmp_path / "t.parquet")
    mutants = read_mutants(tmp_path / "t.parquet", store)
    assert mutants.frame.schema == frame.schema
    np.testing.assert_equal(mutants.numbers("y"), [1.5, np.nan])
    assert mutants.substitutions.tolist() == [1, 0]


WRONG = {
    "K2": "'K2' is no substitution such as A24G",
    "p.Lys2Ala": "is no substitution",
    "A2G": "A2G: the wild type has K there",
    "K0A": "K0A: the wild type has 1 to 10",
    "R11A": "R11A: the wild type has 1 to 10",
    "K2X": "X is no residue",
    "K2-": "- is no residue",
    "K2A:K2G": "K2G: is the second change of that position",
}


@pytest.mark.parametrize("mutant", WRONG)
def test_what_is_wrong_is_named_by_row(tmp_path, store, mutant):
    table = write(tmp_path, f"mutant,y\nK2A,0\n\n{mutant},1\nT3A,2\n")
    with pytest.raises(InputError) as error:
        read_mutants(table, store)
    assert "1 of 3 rows do not fit the wild type: line 4: " in str(error.value)
    assert WRONG[mutant] in str(error.value)
    assert "\n" not in str(error.value)
    mutants = read_mutants(table, store, on_error="skip")
    assert (len(mutants), mutants.skipped) == (2, 1)
    assert found(mutants) == [[(1, "A")], [(2, "A")]]
    assert mutants.frame["y"].to_list() == ["0", "2"]
    assert WRONG[mutant] in mutants.reasons[0]


def test_the_first_of_many_are_shown_and_another_numbering_is_offered(tmp_path, store):
    names = [f"{letter}{24 + i}A" for i, letter in enumerate(WILD) if letter != "A"]
    table = write(tmp_path, "mutant\n" + "\n".join(names) + "\n")
    with pytest.raises(InputError, match=r"8 of 8 rows .* line 2: M24A.*line 4.*; \.\.\.") as error:
        read_mutants(table, store)
    assert "(with --offset 24 all would fit)" in str(error.value)
    with pytest.raises(InputError, match="none is left"):
        read_mutants(table, store, on_error="skip")
    assert len(read_mutants(table, store, offset=24)) == 8


def test_whole_sequences_tell_their_substitutions(tmp_path, store):
    texts = [WILD, "MKTAYIAKQK", "akTAYIAKQR*".upper()]
    table = write(tmp_path, "seq,y\n" + "".join(f"{t},{i}\n" for i, t in enumerate(texts)))
    mutants = read_mutants(table, store, sequence="seq", offset=0)
    assert found(mutants) == [[], [(9, "K")], [(0, "A")]]
    assert mutants.frame["mutant"].to_list() == ["WT", "R9K", "M0A"]


def test_sequences_that_are_no_substitutions_are_named(tmp_path, store):
    texts = [WILD[:-1], "MKTAYIAKQ1", "XKTAYIAKQR", "AKTAYIAKQR"]
    table = write(tmp_path, "seq\n" + "".join(f"{t}\n" for t in texts))
    with pytest.raises(InputError) as error:
        read_mutants(table, store, sequence="seq")
    for words in (
        "3 of 4 rows",
        "line 2: 9 residues where the wild type has 10",
        "line 3: character '1' at position 10",
        "line 4: M1X: X is no residue",
    ):
        assert words in str(error.value)
    assert found(read_mutants(table, store, sequence="seq", on_error="skip")) == [[(0, "A")]]


def test_several_wild_types(tmp_path, two):
    table = write(tmp_path, "mutant,p\nD3A,two\nT3A,one\nWT,two\n")
    with pytest.raises(InputError, match="has 2 proteins; name the column"):
        read_mutants(table, two)
    mutants = read_mutants(table, two, protein_column="p")
    assert mutants.protein.tolist() == [1, 0, 1]
    assert found(mutants) == [[(2, "A")], [(2, "A")], []]
    bad = write(tmp_path, "mutant,p\nX2A,two\nT3A,three\n", "bad.csv")
    with pytest.raises(InputError) as error:
        read_mutants(bad, two, protein_column="p")
    assert "line 2: X2A: the wild type is not certain there" in str(error.value)
    assert "line 3: there is no wild type of its name" in str(error.value)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("x,y\nK2A,1\n", {}, "has no column mutant, .*its columns are: x, y"),
        ("mutant\nK2A\n", {"column": "m"}, "has no column 'm'"),
        ("mutant\nK2A\n", {"sequence": "s"}, "has no column 's'"),
        ("mutant\nK2A\n", {"protein_column": "p"}, "has no column 'p'"),
        ("mutant,y,y\nK2A,1,2\n", {}, "two columns 'y'"),
        ("mutant\n", {}, "has no rows"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, store, text, options, words):
    with pytest.raises(InputError, match=words):
        read_mutants(write(tmp_path, text), store, **options)


def test_measurements_are_numbers_or_missing(tmp_path, store):
    mutants = read_mutants(write(tmp_path, "mutant,y,z\nK2A,1e-3,a\nT3A,NA,1\n"), store)
    np.testing.assert_equal(mutants.numbers("y"), [1e-3, np.nan])
    with pytest.raises(InputError, match="'a' in the column 'z' is no number"):
        mutants.numbers("z")
    excel = read_mutants(write(tmp_path, "sep=;\nmutant;y\nK2A;0,5\nT3A;-\nT3G;2\n"), store)
    np.testing.assert_equal(excel.numbers("y"), [0.5, np.nan, 2])
    comma = read_mutants(write(tmp_path, 'mutant,y\nK2A,1\nT3A,"0,5"\n'), store)
    with pytest.raises(InputError, match=r"t.csv, line 3: '0,5' in .* has a decimal comma"):
        comma.numbers("y")
