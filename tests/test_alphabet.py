import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helicon.alphabet import ALPHABETS, DNA, INVALID, PROTEIN, SOFT_BIT
from helicon.errors import InputError


def test_dna_ids():
    assert DNA.vocabulary == ("A", "C", "G", "T", "N", "[MASK]", "[PAD]")
    assert DNA.encode("ACGTN").tolist() == [0, 1, 2, 3, 4]
    assert (DNA.mask_id, DNA.pad_id, DNA.unknown_id, DNA.size) == (5, 6, 4, 5)
    assert DNA.encode("UuRYSWKMBDHVX-.").tolist() == [3, 3, *[4] * 13]


def test_protein_ids_are_those_of_carp():
    assert PROTEIN.letters == "ACDEFGHIKLMNPQRSTVWYBZXJOU*-#@"
    assert (PROTEIN.size, PROTEIN.mask_id, PROTEIN.pad_id, PROTEIN.unknown_id) == (30, 28, 27, 22)
    assert PROTEIN.encode("ACY*-#@").tolist() == [0, 1, 19, 26, 27, 28, 29]
    assert ALPHABETS == {"dna": DNA, "protein": PROTEIN}


def test_lower_case_is_a_bit():
    assert DNA.encode("aCgn", soft=True).tolist() == [SOFT_BIT, 1, SOFT_BIT | 2, SOFT_BIT | 4]
    assert DNA.encode("aCgn").tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_text_round_trips_with_its_case(alphabet):
    letters = alphabet.letters + "".join(c.lower() for c in alphabet.letters if c.isalpha())

    @given(st.text(letters, max_size=50))
    def check(text):
        assert alphabet.decode(alphabet.encode(text, soft=True)) == text
        assert alphabet.decode(alphabet.encode(text.encode())) == text.upper()

    check()


@pytest.mark.parametrize("text", ["ACE", "AC ", "AC\n", "AC1", "ACé", "AC\u4e2d"])
def test_what_is_outside_is_named(text):
    with pytest.raises(InputError, match="at position 3 is outside the dna alphabet"):
        DNA.encode(text)


def test_the_encoding_table_covers_all_bytes():
    table = DNA.encode_table
    assert table.shape == (256,) and not table.flags.writeable
    read = {chr(byte) for byte in np.flatnonzero(table != INVALID)}
    assert read == set("ACGTNURYSWKMBDHVXacgtnuryswkmbdhvx-.")


@given(st.text("ACGTNacgtn", max_size=40))
def test_reverse_complement(text):
    ids = DNA.encode(text, soft=True)
    pairs = str.maketrans("ACGTacgt", "TGCAtgca")
    assert DNA.decode(DNA.reverse_complement(ids)) == text.translate(pairs)[::-1]
    assert (DNA.reverse_complement(DNA.reverse_complement(ids)) == ids).all()


def test_complements():
    assert DNA.complement_ids == (3, 2, 1, 0, 4)
    assert DNA.complement_table[[5, 6]].tolist() == [5, 6]
    batch = DNA.encode("AACC").reshape(2, 2)
    assert DNA.reverse_complement(batch).tolist() == [[3, 3], [2, 2]]
    with pytest.raises(InputError, match="protein alphabet has no complement"):
        PROTEIN.reverse_complement(batch)


def test_special_symbols_decode_to_dots():
    assert DNA.decode(np.array([0, DNA.mask_id, DNA.pad_id])) == "A.."


def test_real_residues():
    table = DNA.real_table()
    assert np.flatnonzero(table).tolist() == [0, 1, 2, 3, 128, 129, 130, 131]
    assert not PROTEIN.real_table()[PROTEIN.encode("X*-#@")].any()
