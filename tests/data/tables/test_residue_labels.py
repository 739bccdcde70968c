import numpy as np
import pytest

from helicon.alphabet import DNA, PROTEIN
from helicon.data.tables.residue_labels import (
    LABELS,
    is_fasta,
    read_residue_column,
    read_residues,
)
from helicon.data.tables.tables import read_table
from helicon.errors import InputError

SEQUENCES = ">p1\nMKVLA\n>p2\nGGW\n>p3 more\nACDEFGHI\n>unused\nMMM\n"
LABELLED = (
    ">p2 SET=train VALIDATION=False\nEhE\n"
    ">p1 SET=test VALIDATION=False\nCCHHC\n"
    ">p3 SET=train VALIDATION=True\nCCCC\nHHHH\n"
)
MASK = ">p1\n01110\n>p3\n00001111\n>p2\n111\n>unused\n000\n"


@pytest.fixture
def files(tmp_path):
    texts = {"sequences": SEQUENCES, "labels": LABELLED, "mask": MASK}
    for name, text in texts.items():
        (tmp_path / f"{name}.fasta").write_text(text)
    return {name: tmp_path / f"{name}.fasta" for name in texts}


def read(files, **options):
    return read_residues(**files, alphabet=PROTEIN, sequence="sequence", **options)


def test_records_are_matched_by_name_in_the_order_of_the_labels(files):
    found = read(files)
    assert [PROTEIN.decode(found.sequences.sequence(i)) for i in range(3)] == [
        "GGW",
        "MKVLA",
        "ACDEFGHI",
    ]
    assert found.labels.parts.tolist() == ["train", "test", "validation"]
    assert found.characters() == "CEHh"
    assert found.notes == ("1 sequences without labels are left out",)
    expected = "111" + "01110" + "00001111"
    assert "".join(map(str, found.known.astype(int))) == expected


def test_masked_residues_have_no_class_and_others_their_place(files):
    found = read(files)
    classes = found.classes("CEHh")
    assert classes.tolist() == [1, 3, 1, -100, 0, 2, 2, -100, *[-100] * 4, *[2] * 4]
    taken = found.take(np.array([1, 0]))
    assert taken.classes("CEHh").tolist() == [-100, 0, 2, 2, -100, 1, 3, 1]
    with pytest.raises(InputError, match="line 1, record 'p2': the label 'E' of residue 1 is none"):
        found.classes("CHh")


@pytest.mark.parametrize("text", ["0123456789", "!~aZ.-*#@", "CCCC"])
def test_every_character_is_a_label(tmp_path, text):
    (tmp_path / "s.fasta").write_text(f">a\n{'M' * len(text)}\n")
    (tmp_path / "l.fasta").write_text(f">a\n{text}\n")
    paths = {"sequences": tmp_path / "s.fasta", "labels": tmp_path / "l.fasta", "mask": None}
    assert read(paths).characters() == "".join(sorted(set(text)))


def test_a_record_that_is_there_twice_is_used_once_and_tests_if_either_does(files):
    text = files["labels"].read_text() + ">p2 SET=test VALIDATION=False\nEhE\n"
    files["labels"].write_text(text)
    found = read(files)
    assert found.labels.parts.tolist() == ["test", "test", "validation"]
    assert "1 that are for two parts" in found.notes[0]
    files["labels"].write_text(text.replace("\nEhE\n>p1", "\nEEE\n>p1"))
    with pytest.raises(
        InputError, match=r"line 8: the record 'p2' has other labels than in line 1"
    ):
        read(files)


WRONG = {
    "no sequence": ("labels", LABELLED + ">p4 SET=test\nCC\n", "has no record 'p4', which"),
    "length": ("labels", LABELLED.replace("EhE", "EEEE"), "record 'p2': has 4 labels where"),
    "no mask": ("mask", MASK.replace(">p1", ">q1"), "mask.fasta: has no record 'p1'"),
    "mask length": ("mask", MASK.replace("111\n>u", "11\n>u"), "where .* has 2 mask characters"),
    "mask letters": ("mask", MASK.replace("01110", "01x10"), "a mask holds 0 and 1 only, not 'x'"),
    "named twice": ("sequences", SEQUENCES + ">p1\nMM\n", "line 9: the name 'p1' is there twice"),
    "empty label": ("labels", ">p1\n>p2\nEEE\n", "has no sequence"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_one_line(files, case):
    name, text, words = WRONG[case]
    files[name].write_text(text)
    with pytest.raises(InputError, match=words) as said:
        read(files)
    assert "\n" not in str(said.value)


def test_a_mask_that_leaves_nothing(files):
    files["mask"].write_text(">p1\n00000\n>p2\n000\n>p3\n00000000\n")
    with pytest.raises(InputError, match="masks every residue"):
        read(files)


def test_a_column_of_label_strings(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,sequence,ss,set\na,MKV,CCH,train\nb,MKVLAGG,0010203,test\n")
    options = {"alphabet": PROTEIN, "sequence": "sequence"}
    found = read_residue_column(path, "ss", mask=None, **options)
    assert found.characters() == "0123CH"
    assert found.labels.parts.tolist() == ["train", "test"]
    (tmp_path / "m.fasta").write_text(">a\n110\n>b\n1111111\n")
    masked = read_residue_column(path, "ss", mask=tmp_path / "m.fasta", **options)
    assert masked.characters() == "0123C"
    path.write_text("sequence,ss\nMKV,CC\n")
    with pytest.raises(InputError, match=r"line 2: has 2 labels where .* has 3 residues"):
        read_residue_column(path, "ss", mask=None, **options)
    with pytest.raises(InputError, match="give its labels too"):
        read_residue_column(tmp_path / "m.fasta", "ss", mask=None, **options)


def test_tables_say_whether_labels_spell_residues(tmp_path):
    def spelled(rows):
        path = tmp_path / "t.csv"
        path.write_text("sequence,label\n" + "".join(f"{s},{y}\n" for s, y in rows))
        return read_table(path, target="label", alphabet=PROTEIN).spelled

    assert spelled([("MKVLAG", "CCHHCC"), ("MKVLA", "00010")])
    assert not spelled([("MKVLAG", "helix"), ("MKVLA", "coil")])
    assert not spelled([("MKVLAG", 1.5), ("MKVLAG", 2.5)])
    assert not spelled([("MKV", "yes"), ("MKA", "yes")])  # peptides with words


def test_letters_of_labels_are_no_sequence(tmp_path):
    assert set(LABELS.letters) >= set("0189CEHceh.-*")
    (tmp_path / "a.gff").write_text("##gff-version 3\n")
    (tmp_path / "a.txt").write_text("\n>x\nCCC\n")
    assert is_fasta(tmp_path / "a.txt")
    assert not is_fasta(tmp_path / "a.gff")
    assert DNA.name != LABELS.name
