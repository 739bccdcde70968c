"""A Hugging Face tokenizer that reads text exactly as an `Alphabet` does, one letter a token.

Helicon itself encodes with the alphabet's table; this is for tools that expect a tokenizer.
"""

from __future__ import annotations

import re

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helicon.alphabet import DNA, INVALID, SOFT_BIT, Alphabet


def dna_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of DNA; see `alphabet_tokenizer`."""
    return alphabet_tokenizer(DNA)


def alphabet_tokenizer(alphabet: Alphabet) -> PreTrainedTokenizerFast:
    """A character tokenizer whose ids are those of `alphabet`.

    Lower case and synonyms (`U`, IUPAC codes) are read as the alphabet reads them; the mask and
    padding symbols are recognised in text; nothing is added before or after; padding is on the
    right unless `padding_side` says otherwise; decoding joins letters without spaces. A character
    outside the alphabet raises an error, where most tokenizers would read an unknown token.
    """
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.normalizer = normalizers.Sequence(_readings(alphabet))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        mask_token=alphabet.vocabulary[alphabet.mask_id],
        pad_token=alphabet.vocabulary[alphabet.pad_id],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _readings(alphabet: Alphabet) -> list[normalizers.Normalizer]:
    """For each letter, a replacement of all characters that are read as it."""
    table = alphabet.encode_table
    rules: list[normalizers.Normalizer] = []
    for i, letter in enumerate(alphabet.letters):
        readings = np.flatnonzero((table != INVALID) & (table & ~np.uint8(SOFT_BIT) == i))
        others = [re.escape(chr(byte)) for byte in readings if chr(byte) != letter]
        if others:
            rules.append(normalizers.Replace(Regex(f"[{''.join(others)}]"), letter))
    return rules
