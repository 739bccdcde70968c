"""A Hugging Face tokenizer that reads text exactly as an `Alphabet` does, one letter a token.

Helicon itself encodes with the alphabet's table; this is for tools that expect a tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import no_type_check

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from helicon.alphabet import DNA, INVALID, SOFT_BIT, Alphabet
from helicon.errors import InputError
from helicon.models.huggingface.classes import HeliconConfig

#: Characters of a text that an error shows.
START = 20


class AlphabetTokenizer(PreTrainedTokenizerFast):
    """A tokenizer of single letters whose error names the letter that it does not know."""

    @no_type_check  # the library's signature, which its callers fill by name
    def _encode_plus(self, text, text_pair=None, **options):
        try:
            return super()._encode_plus(text, text_pair, **options)
        except Exception as error:  # the library has no type of its own for an unknown letter
            for name, given in (("text", text), ("text_pair", text_pair)):
                for number, one in enumerate(_texts(given), start=1):
                    of = f"{name} {number}" if isinstance(given, list | tuple) else name
                    self._check_letters(of, one, error)
            raise

    def _check_letters(self, name: str, text: str, error: Exception) -> None:
        """Refuse letters that the vocabulary lacks.

        Raises:
            InputError: names the first one, its 1-based position and the start of the text.
        """
        vocabulary = self.get_vocab()
        letters = "".join(
            sorted((x for x in vocabulary if len(x) == 1), key=vocabulary.__getitem__)
        )
        symbols = "|".join(re.escape(symbol) for symbol in self.all_special_tokens)
        plain = re.sub(symbols, lambda found: letters[0] * len(found[0]), text)
        reading = self.backend_tokenizer.normalizer.normalize_str
        if wrong := [x for x in set(plain) if reading(x) not in vocabulary]:
            at = min(plain.index(x) for x in wrong)
            start = repr(text[:START]) + ("..." if len(text) > START else "")
            raise InputError(
                f"character {text[at]!r} at position {at + 1} of {name} ({start}) is outside the "
                f"alphabet ({letters}); remove it or choose the right tokenizer"
            ) from error


def _texts(given: object) -> Iterator[str]:
    """The texts in what a tokenizer takes: one, or lists of them."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _texts(one)


def dna_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of DNA; see `alphabet_tokenizer`."""
    return alphabet_tokenizer(DNA)


def alphabet_tokenizer(alphabet: Alphabet) -> PreTrainedTokenizerFast:
    """A character tokenizer whose ids are those of `alphabet`.

    Lower case and synonyms (`U`, IUPAC codes) are read as the alphabet reads them; the mask and
    padding symbols are recognised in text; nothing is added before or after; padding is on the
    right unless `padding_side` says otherwise; decoding joins letters without spaces. A character
    outside the alphabet is an `InputError` that names it and its place, where most tokenizers would
    read an unknown token.
    """
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.normalizer = normalizers.Sequence(_readings(alphabet))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return AlphabetTokenizer(
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


AutoTokenizer.register(HeliconConfig, fast_tokenizer_class=AlphabetTokenizer)
