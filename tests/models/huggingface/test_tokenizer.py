import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from helicon.alphabet import DNA, INVALID, PROTEIN, Alphabet
from helicon.errors import InputError
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save
from helicon.models.huggingface.tokenizer import (
    AlphabetTokenizer,
    alphabet_tokenizer,
    dna_tokenizer,
)

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
    wrong = next(i for i, x in enumerate(text) if x not in "ACGT")
    said = f"character {text[wrong]!r} at position {wrong + 1} of text ({text!r}) is outside"
    with pytest.raises(InputError, match=re.escape(said)):
        TOKENIZERS["dna"](text)


def test_a_wrong_letter_is_named_with_its_text(tmp_path: Path):
    save(HeliconForMaskedLM(HeliconConfig()), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    long = "A" * 30 + "[MASK]é" + "A" * 9
    start = "('AAAAAAAAAAAAAAAAAAAA'...)"
    for call, said in (
        (lambda: tokenizer(long), f"character 'é' at position 37 of text {start}"),
        (lambda: tokenizer.encode(long), f"character 'é' at position 37 of text {start}"),
        (lambda: tokenizer.tokenize(long), f"character 'é' at position 37 of text {start}"),
        (lambda: tokenizer(["AC", "[PAD]", long]), f"position 37 of text 3 {start}"),
        (lambda: tokenizer("AC", "A[C"), "character '[' at position 2 of text_pair ('A[C')"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert said in str(caught.value) and "\n" not in str(caught.value)
        assert "outside the alphabet (ACGTN)" in str(caught.value)
    with pytest.raises(ValueError, match="text input must be of type"):
        tokenizer(3)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_a_saved_tokenizer_opens_as_the_same(alphabet: Alphabet, tmp_path: Path):
    TOKENIZERS[alphabet.name].save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is AlphabetTokenizer
    assert again.get_vocab() == {symbol: i for i, symbol in enumerate(alphabet.vocabulary)}
    assert again(alphabet.real)["input_ids"] == alphabet.encode(alphabet.real).tolist()
    copied = pickle.loads(pickle.dumps(again))
    assert copied(alphabet.real) == again(alphabet.real)


def test_a_tokenizer_saved_before_still_opens(tmp_path: Path):
    folder = save(HeliconForMaskedLM(HeliconConfig()), tmp_path / "model")
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("AlphabetTokenizer", "TokenizersBackend"))
    assert AutoTokenizer.from_pretrained(folder)("ag[MASK]")["input_ids"] == [0, 2, 5]


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
