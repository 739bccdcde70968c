"""Files of structures: every kind gives the same maps; what is wrong is named by record."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from helicon.alphabet import PROTEIN
from helicon.data.structures import files as structure_files
from helicon.data.structures.files import read_structures
from helicon.errors import InputError


def chain(rng, length):
    """A random walk whose steps are 3.8 angstrom, as those of C-alpha atoms."""
    steps = rng.normal(size=(length, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


@pytest.fixture
def proteins():
    rng = np.random.default_rng(0)
    found = []
    for number, length in enumerate((30, 1, 47, 12)):
        valid = rng.random(length) < 0.8
        valid[: length // 2] = True
        sequence = PROTEIN.decode(rng.integers(0, 20, length).astype(np.uint8))
        found.append((f"p{number}", sequence, chain(rng, length), valid))
    return found


def near(places, valid):
    """The definition, pair by pair."""
    length = len(places)
    found = np.zeros((length, length), dtype=bool)
    for i in range(length):
        for j in range(length):
            squared = float(((places[i] - places[j]) ** 2).sum())
            found[i, j] = valid[i] and valid[j] and np.exp(-squared / 64) > np.exp(-1)
    return found


def proteinnet(proteins, end="\n"):
    """The text of ProteinNet records: picometres, N and C beside C-alpha, zeros where unknown."""
    text = ""
    for name, sequence, places, valid in proteins:
        atoms = np.repeat(np.where(valid[:, None], places * 100, 0), 3, axis=0)
        atoms[0::3] += 146.0
        atoms[2::3] -= 152.0
        axes = ["\t".join(f"{x:.1f}" for x in atoms[:, axis]) for axis in range(3)]
        profile = ["\t".join(["0.05"] * len(sequence))] * 21
        mask = "".join("+" if known else "-" for known in valid)
        lines = ["[ID]", name, "[PRIMARY]", sequence, "[EVOLUTIONARY]", *profile]
        text += end.join([*lines, "[TERTIARY]", *axes, "[MASK]", mask, "", ""])
    return text


def tape(proteins):
    return [
        {
            "primary": sequence,
            "protein_length": len(sequence),
            "evolutionary": [[0.1] * 20] * len(sequence),
            "tertiary": places.tolist(),
            "valid_mask": valid.tolist(),
            "id": name,
        }
        for name, sequence, places, valid in proteins
    ]


def contact_records(proteins):
    """Our own records; pairs in any order."""
    records = []
    for name, sequence, places, valid in proteins:
        pairs = np.argwhere(near(places, valid) & ~np.eye(len(places), dtype=bool))
        valid = valid.tolist()
        records.append(
            {"name": name, "sequence": sequence, "contacts": pairs.tolist(), "valid": valid}
        )
    return records


def written(path, proteins, kind):
    if kind == "proteinnet":
        path.write_text(proteinnet(proteins))
    elif kind == "proteinnet, windows, gzip":
        path.write_bytes(gzip.compress(proteinnet(proteins, "\r\n").encode()))
    elif kind == "tape":
        path.write_text(json.dumps(tape(proteins)))
    elif kind == "tape, parquet":
        frame = pl.DataFrame(tape(proteins)).drop("evolutionary")
        frame.write_parquet(path)
    elif kind == "contacts":
        path.write_text("".join(json.dumps(one) + "\n" for one in contact_records(proteins)))
    else:
        pl.DataFrame(contact_records(proteins)).write_parquet(path)
    return path


KINDS = [
    "proteinnet",
    "proteinnet, windows, gzip",
    "tape",
    "tape, parquet",
    "contacts",
    "contacts, parquet",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_maps(tmp_path, proteins, kind):
    found = read_structures(written(tmp_path / "file", proteins, kind))
    assert len(found) == 4
    assert found.lengths.tolist() == [30, 1, 47, 12]
    for k, (name, sequence, places, valid) in enumerate(proteins):
        assert found.name(k) == name
        assert PROTEIN.decode(found.table.sequence(k)) == sequence
        assert (found.valid_residues(k) == valid).all()
        expected = near(places, valid)
        if kind.startswith(
            "contacts"
        ):  # a list of pairs does not say that a residue is near itself
            expected &= ~np.eye(len(valid), dtype=bool)
        assert (found.contacts(k) == expected).all()
        assert expected.sum() > len(valid) or len(valid) == 1


def test_records_are_read_whole_wherever_a_block_ends(tmp_path, proteins, monkeypatch):
    path = written(tmp_path / "file", proteins, "tape")
    whole = read_structures(path)
    monkeypatch.setattr(structure_files, "_BLOCK", 13)
    small = read_structures(path)
    assert (small.coordinates == whole.coordinates).all()
    assert (small.valid == whole.valid).all()


@pytest.mark.parametrize("kind", ["tape", "contacts"])
def test_labels_of_a_crop_are_those_of_the_map_each_pair_once(tmp_path, proteins, kind):
    found = read_structures(written(tmp_path / "file", proteins, kind))
    k, side, separation = 2, 20, 4
    length = int(found.lengths[k])
    truth, valid = found.contacts(k), found.valid_residues(k)
    for row, column in ((0, 0), (5, 12), (3, 40), (0, 46)):
        labels = found.labels(k, row, column, side, separation)
        for a in range(side):
            for b in range(side):
                i, j = row + a, column + b
                known = i < length and j < length and j - i >= separation
                known = known and valid[i] and valid[j]
                assert labels[a, b] == (truth[i, j] if known else -1)


def test_rows_can_be_taken(tmp_path, proteins):
    for kind in ("tape", "contacts"):
        found = read_structures(written(tmp_path / "file", proteins, kind))
        taken = found.take(np.array([2, 0]))
        assert taken.table.names == ["p2", "p0"]
        for new, old in ((0, 2), (1, 0)):
            assert (taken.contacts(new) == found.contacts(old)).all()
            assert (taken.valid_residues(new) == found.valid_residues(old)).all()
        assert not len(found.take(np.array([], dtype=np.int64)))


def record(**changes):
    return {"name": "x", "sequence": "ACDEFGHIK", "contacts": [[0, 8]]} | changes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            json.dumps(record(sequence="ACD1")),
            r"record 1, protein 'x': character '1' at position 4",
        ),
        (json.dumps(record(sequence="")), "the sequence is empty"),
        (json.dumps(record(contacts=[[0, 9]])), "contact of residue 9; .* from 0 to 8"),
        (json.dumps(record(contacts=[[-1, 5]])), "contact of residue -1"),
        (json.dumps(record(contacts=[[3, 3]])), "residue 3 is in contact with itself"),
        (json.dumps(record(contacts=[[0.5, 3]])), "pairs of whole numbers"),
        (json.dumps(record(contacts=[[1, 2, 3]])), "pairs of whole numbers"),
        (json.dumps(record(contacts=[[1, 2], [3]])), "record 1: contacts must be lists of numbers"),
        (json.dumps(record(valid=[True])), "valid must be 9 times true or false"),
        (json.dumps({"name": "x", "sequence": "ACD"}), "neither contacts nor tertiary"),
        (json.dumps({"name": "x", "contacts": []}), r"has no sequence; its fields are \['name'"),
        (json.dumps({"primary": "ACD", "tertiary": [[0, 0, 0]]}), "a triple a residue, .3, 3."),
        (json.dumps(record()) + "\n" + '{"name": "y", "sequ', "record 2: is no JSON"),
        (json.dumps(record()) + "\n7", "record 2: is no object"),
        (
            json.dumps(record()) + json.dumps({"primary": "A", "tertiary": [[0, 0, 0]]}),
            "has tertiary, but those before it contacts",
        ),
        ("[]", "holds no protein"),
        ("name,sequence\n", "is no file of structures"),
        ("<html>", "is an HTML page"),
        ("[ID]\na\n[PRIMARY]\nACD\n[MASK]\n+++\n", r"line 1, protein 'a': has no \[TERTIARY\]"),
        (
            "[ID]\na\n[PRIMARY]\nACD\n[TERTIARY]\n1 2\n3\n4 5\n[MASK]\n+++\n",
            "three lines of as many numbers",
        ),
        (
            "\n[ID]\na\n[PRIMARY]\nACD\n[TERTIARY]\n1 2\n3 4\n5 6\n[MASK]\n+++\n",
            "line 2, protein 'a': has 3 residues, but 6 coordinates",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_record(tmp_path, text, words):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_structures(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_coordinates_in_another_unit_are_refused(tmp_path, proteins):
    scaled = [(name, sequence, places / 10, valid) for name, sequence, places, valid in proteins]
    with pytest.raises(InputError, match=r"0.38 apart \(median\), which in angstrom would be 3.8"):
        read_structures(written(tmp_path / "file", scaled, "tape"))


def test_residues_without_coordinates_are_not_valid(tmp_path):
    places = chain(np.random.default_rng(1), 9).tolist()
    places[4] = [None, None, None]
    path = tmp_path / "file"
    path.write_text(json.dumps({"primary": "ACDEFGHIK", "tertiary": places}))
    found = read_structures(path)
    assert np.flatnonzero(~found.valid).tolist() == [4]
    assert found.name(0) == "1"


def test_lmdb_is_refused_with_what_to_do(tmp_path):
    folder = tmp_path / "proteinnet_train.lmdb"
    folder.mkdir()
    header = bytes(16) + b"\xde\xc0\xef\xbe" + bytes(100)
    (folder / "data.mdb").write_bytes(header)
    for path in (folder, folder / "data.mdb"):
        with pytest.raises(InputError, match="LMDB database, whose records are pickles"):
            read_structures(path)


def test_damaged_and_unfit_parquet_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"name": ["a"], "sequence": ["ACD"]}).write_parquet(path)
    with pytest.raises(InputError, match="needs the column sequence, and contacts or tertiary"):
        read_structures(path)
    pl.DataFrame({"sequence": ["ACD"], "contacts": [[[0, 1, 2]]]}).write_parquet(path)
    with pytest.raises(InputError, match="contacts must be lists of 2 numbers"):
        read_structures(path)
    pl.DataFrame({"sequence": ["ACD"], "contacts": ["0-2"]}).write_parquet(path)
    with pytest.raises(InputError, match="its columns are of other types"):
        read_structures(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        read_structures(path)
