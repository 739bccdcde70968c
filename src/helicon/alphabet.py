"""Alphabets: bytes of sequence files to token ids and back, complements, ambiguity codes.

Everything is a lookup in a table over the 256 byte values: no loop over letters anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError

Ids = NDArray[np.uint8]

#: Bit set on an encoded byte whose letter was lower case (a soft-masked repeat, by convention).
SOFT_BIT = 0x80
#: Entry of the encoding table for a byte that no alphabet reading accepts.
INVALID = 0x7F


@dataclass(frozen=True)
class Alphabet:
    """An ordered set of letters, the special symbols behind them, and the ways to read text.

    Attributes:
        name: `dna` or `protein`.
        letters: letters in id order; a language model's logits have these columns, in this order.
        special: symbols that are no letters, with the ids after the letters (`[MASK]`, `[PAD]`).
        mask_id: id of the symbol that says "predict me".
        pad_id: id of the symbol that fills a batch; it never carries meaning.
        unknown_id: id that ambiguity codes are read as, or `None` where none exists.
        synonyms: other letters that are read as one of `letters` (`U` as `T`, IUPAC codes as `N`).
        complements: letter pairs that base-pair, `""` where the notion does not exist.
        real: the letters that stand for one certain residue (targets of masked modelling).
        terminator: a letter that says no more than that a sequence ends, where it is the last (the
            stop codon of a translated protein); the readers of files drop it there. `""` for none.
        markers: letters of the models that are no residues (padding, the mask, a start); the
            readers of files refuse them.
    """

    name: str
    letters: str
    special: tuple[str, ...]
    mask_id: int
    pad_id: int
    real: str
    unknown_id: int | None = None
    synonyms: dict[str, str] = field(default_factory=dict, hash=False)
    complements: str = ""
    terminator: str = ""
    markers: str = ""

    @property
    def size(self) -> int:
        """Number of letters: the width of a one-hot row and of a language model's logits."""
        return len(self.letters)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Letters, then special symbols, in id order."""
        return (*self.letters, *self.special)

    @property
    def encode_table(self) -> Ids:
        """Table of 256 entries: byte to id, `SOFT_BIT` set for lower case, or `INVALID`."""
        return _encode_table(self)

    @property
    def reading_table(self) -> Ids:
        """`encode_table` for the letters of files: `markers` are `INVALID` too."""
        return _reading_table(self) if self.markers else self.encode_table

    @property
    def complement_table(self) -> Ids:
        """Table of 256 entries: encoded byte to its complement's, soft bit and specials kept."""
        return _complement_table(self)

    @property
    def complement_ids(self) -> tuple[int, ...]:
        """Id of the complement of every letter, in letter order."""
        return tuple(int(i) for i in self.complement_table[: self.size])

    def encode(self, text: str | bytes | NDArray[np.uint8], *, soft: bool = False) -> Ids:
        """Read text as ids.

        Args:
            text: letters as `str`, `bytes` or an array of byte values, shape (L,).
            soft: keep `SOFT_BIT` on lower-case letters.

        Returns:
            Array of uint8 ids, shape (L,).

        Raises:
            InputError: a character is outside the alphabet; names it and its 1-based position.
        """
        raw = _as_bytes(text)
        ids = self.encode_table[raw]
        if (ids == INVALID).any():
            at = int(np.flatnonzero(ids == INVALID)[0])
            raise InputError(
                f"character {chr(raw[at])!r} at position {at + 1} is outside the {self.name} "
                f"alphabet ({self.letters}); remove it or choose the right file"
            )
        return ids if soft else ids & ~np.uint8(SOFT_BIT)

    def decode(self, ids: NDArray[np.integer]) -> str:
        """Write ids as text: soft-masked letters in lower case, special symbols as `.`."""
        table = np.full(256, ord("."), dtype=np.uint8)
        upper = np.frombuffer(self.letters.encode(), dtype=np.uint8)
        table[: self.size] = upper
        table[SOFT_BIT : SOFT_BIT + self.size] = np.frombuffer(
            self.letters.lower().encode(), dtype=np.uint8
        )
        return table[np.asarray(ids).astype(np.uint8)].tobytes().decode()

    def reverse_complement(self, ids: Ids) -> Ids:
        """Complement every id (soft bit kept) and reverse the last axis.

        Args:
            ids: encoded letters, shape (..., L).
        """
        return self.complement_table[ids][..., ::-1]

    def real_table(self) -> NDArray[np.bool_]:
        """Table of 256 entries: whether an encoded byte (soft or not) is a certain residue."""
        table = np.zeros(256, dtype=bool)
        for letter in self.real:
            i = self.letters.index(letter)
            table[i] = table[i | SOFT_BIT] = True
        return table


def _as_bytes(text: str | bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(text, str):
        text = text.encode("latin-1", errors="replace")
    if isinstance(text, bytes | bytearray | memoryview):
        return np.frombuffer(text, dtype=np.uint8)
    return text


_TABLES: dict[tuple[str, str], Ids] = {}


def _encode_table(alphabet: Alphabet) -> Ids:
    key = ("encode", alphabet.name)
    if key not in _TABLES:
        table = np.full(256, INVALID, dtype=np.uint8)
        readings = {letter: i for i, letter in enumerate(alphabet.letters)}
        readings |= {other: readings[as_] for other, as_ in alphabet.synonyms.items()}
        for letter, i in readings.items():
            if letter.isalpha():
                table[ord(letter.lower())] = i | SOFT_BIT
            table[ord(letter)] = i
        table.flags.writeable = False
        _TABLES[key] = table
    return _TABLES[key]


def _reading_table(alphabet: Alphabet) -> Ids:
    key = ("reading", alphabet.name)
    if key not in _TABLES:
        table = alphabet.encode_table.copy()
        table[list(alphabet.markers.encode())] = INVALID
        table.flags.writeable = False
        _TABLES[key] = table
    return _TABLES[key]


def _complement_table(alphabet: Alphabet) -> Ids:
    if not alphabet.complements:
        raise InputError(f"the {alphabet.name} alphabet has no complement")
    key = ("complement", alphabet.name)
    if key not in _TABLES:
        table = np.arange(256, dtype=np.uint8)
        for i, letter in enumerate(alphabet.letters):
            pair = alphabet.letters.index(alphabet.complements[i])
            assert alphabet.complements[pair] == letter
            table[i], table[i | SOFT_BIT] = pair, pair | SOFT_BIT
        table.flags.writeable = False
        _TABLES[key] = table
    return _TABLES[key]


#: DNA in the order A C G T N. `U` reads as `T`; IUPAC ambiguity codes and gaps read as `N`.
DNA = Alphabet(
    name="dna",
    letters="ACGTN",
    special=("[MASK]", "[PAD]"),
    mask_id=5,
    pad_id=6,
    real="ACGT",
    unknown_id=4,
    synonyms={"U": "T"} | dict.fromkeys("RYSWKMBDHVX-.", "N"),
    complements="TGCAN",
)

#: Protein in the order of CARP (Yang et al. 2022): 20 residues, ambiguous and rare ones, then
#: stop `*`, pad `-`, mask `#` and start `@`, which the published models count as letters.
PROTEIN = Alphabet(
    name="protein",
    letters="ACDEFGHIKLMNPQRSTVWYBZXJOU*-#@",
    special=(),
    mask_id=28,
    pad_id=27,
    real="ACDEFGHIKLMNPQRSTVWYBZJOU",
    unknown_id=22,
    terminator="*",
    markers="-#@",
)

ALPHABETS = {alphabet.name: alphabet for alphabet in (DNA, PROTEIN)}
