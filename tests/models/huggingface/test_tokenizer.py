import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DataCollatorForLanguageModeling

from helicon.alphabet import DNA, INVALID, PROTEIN, Alphabet
from helicon.models.huggingface.tokenizer import alphabet_tokenizer, dna_tokenizer

TOKENIZERS = {alphabet.name: alphabet_tokenizer(alphabet) for alphabet in (DNA, PROTEIN)}


def readable(alphabet: Alphabet) -> str:
    return "".join(chr(byte) for byte in np.flatnonzero(alphabet.encode_table != INVALID))


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_ids_are_the_alphabet_s(alphabet: Alphabet):
    tokenizer, letters = TOKENIZERS[alphabet.name], st.text(readable(alphabet))

    @given(letters)
    def check(text: str) -> None:
        read = tokenizer(text)
        assert read["input_ids"] == alphabet.encode(text).tolist()
        assert read["attention_mask"] == [1] * len(text)

    check()


@given(st.text("ACGTN"))
def test_decoding_gives_the_letters_without_spaces(text: str):
    assert TOKENIZERS["dna"].decode(DNA.encode(text).tolist()) == text


def test_special_symbols_and_padding():
    tokenizer = dna_tokenizer()
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id) == (DNA.mask_id, DNA.pad_id)
    assert tokenizer("AC[MASK]t")["input_ids"] == [0, 1, DNA.mask_id, 3]
    assert len(tokenizer) == len(DNA.vocabulary)
    assert list(tokenizer("ACG")) == ["input_ids", "attention_mask"]
    right = tokenizer(["ACG", "T"], padding=True)
    assert right["input_ids"] == [[0, 1, 2], [3, 6, 6]]
    assert right["attention_mask"] == [[1, 1, 1], [1, 0, 0]]
    left = tokenizer(["ACG", "T"], padding=True, padding_side="left")
    assert left["input_ids"] == [[0, 1, 2], [6, 6, 3]]
    assert tokenizer.decode([0, 5, 4, 6]) == "A[MASK]N[PAD]"
    assert tokenizer.decode([0, 5, 4, 6], skip_special_tokens=True) == "AN"


@pytest.mark.parametrize("text", ["ACGQ", "ACG ", "AC\nGT", "ACé", ">x"])
def test_other_characters_are_refused_as_by_the_alphabet(text: str):
    with pytest.raises(Exception, match="WordLevel"):
        TOKENIZERS["dna"](text)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_the_library_s_masking_draws_no_special_symbol_with_the_documented_setting(
    alphabet: Alphabet,
):
    collate = DataCollatorForLanguageModeling(
        TOKENIZERS[alphabet.name],
        mlm_probability=0.5,
        mask_replace_prob=0.9,
        random_replace_prob=0,
        seed=1,
    )
    rows = [{"input_ids": alphabet.encode(alphabet.real * 50).tolist()}]
    found = collate(rows)
    changed = found["input_ids"] != torch.tensor([rows[0]["input_ids"]])
    assert set(found["input_ids"][changed].tolist()) == {alphabet.mask_id}
