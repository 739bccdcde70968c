"""FASTA files, streamed: any size in bounded memory, every wrong input named in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from helicon.alphabet import DNA, INVALID, PROTEIN, Alphabet, Ids
from helicon.data.reading.compressed import OR_LATIN_1, blocks, foreign, open_bytes
from helicon.errors import InputError

_LONGEST_HEADER = 1 << 20
_BLANK = b" \t\r\n"
_OTHER_FORMATS = (
    (b"@", "looks like FASTQ"),
    (b"LOCUS ", "looks like GenBank"),
    (b"ID   ", "looks like EMBL"),
    (b"##gff", "looks like GFF"),
    (b"{", "looks like JSON"),
)
#: So many residues of a protein are never all written as letters of nucleotides.
_SURELY_NUCLEOTIDE = 100


@dataclass(frozen=True, eq=False)
class Header:
    """Header line of a FASTA record.

    Attributes:
        name: the first word after `>`.
        description: what follows the name.
        line: line number of the header in its file, from 1.
    """

    name: str
    description: str
    line: int


@dataclass(frozen=True, eq=False)
class Record:
    """One FASTA record.

    Attributes:
        name: the first word of the header line.
        description: what follows the name in the header line.
        ids: encoded letters, shape (length,), uint8 with `SOFT_BIT` on lower case, without a
            terminator at the end; read-only.
        line: line number of the header in its file, from 1.
    """

    name: str
    description: str
    ids: Ids
    line: int


def read_fasta(
    path: str | Path, alphabet: Alphabet = DNA, *, unique: bool = True
) -> Iterator[Record]:
    """Yield the records of a plain, gzip or bgzip FASTA file, one in memory at a time.

    Args:
        path: the file; compression is seen from its content, not from its name.
        alphabet: how letters are read.
        unique: refuse two records of the same name.

    Raises:
        InputError: the file is missing, empty, cut short, no FASTA, or one of its records is
            nameless, empty, named twice, or has letters outside the alphabet.
    """
    for header, pieces in groupby(stream_fasta(path, alphabet, unique=unique), lambda p: p[0]):
        parts = [ids for _, ids in pieces]
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        ids.flags.writeable = False
        yield Record(header.name, header.description, ids, header.line)


#: Told of a record that is left out, and why.
LeftOut = Callable[[Header, InputError], None]


def stream_fasta(
    path: str | Path,
    alphabet: Alphabet = DNA,
    *,
    unique: bool = True,
    left_out: LeftOut | None = None,
) -> Iterator[tuple[Header, Ids]]:
    """Yield a FASTA file as pieces of at most about a million letters, in order.

    Memory stays bounded whatever the length of a record or a line. A terminator of the alphabet
    (the `*` of a translated protein) is dropped where it ends a record. Arguments and errors are
    those of `read_fasta`; pieces of one record follow each other with the same `Header`.

    Args:
        path: as in `read_fasta`.
        alphabet: as in `read_fasta`.
        unique: as in `read_fasta`.
        left_out: if given, a record that is empty or has letters outside the alphabet is no error:
            this is called with its header, and no more of it follows. Pieces of it may have been
            given before.
    """
    with open_bytes(path, "FASTA file") as handle:
        yield from _Parser(Path(path), alphabet, unique, left_out).pieces(blocks(handle))


class _Parser:
    """State between two blocks of a FASTA file.

    A block is cut at its `>`; `bytes.translate` encodes what lies between and drops the white space
    in one pass.
    """

    def __init__(
        self, path: Path, alphabet: Alphabet, unique: bool, left_out: LeftOut | None = None
    ):
        self.path = path
        self.alphabet = alphabet
        self.table = alphabet.reading_table.tobytes()
        self.header: Header | None = None
        self.letters = 0  # of the open record, so far
        end = alphabet.terminator
        self.end = bytes([alphabet.letters.index(end)]) if end else None
        self.ended = b""  # the open record's last letter, while it may only end it
        self.line = 1  # of the next byte
        self.seen: dict[str, int] | None = {} if unique else None
        self.doubt = alphabet is PROTEIN  # whether these may be nucleotides after all
        self.left_out = left_out
        self.skipping = False  # the rest of the open record

    def pieces(self, blocks: Iterable[bytes]) -> Iterator[tuple[Header, Ids]]:
        held, last = b"", b"\n"  # a header line cut off by its block; the byte before the block
        for block in blocks:
            if self.header is None and not held:
                block = self._from_first_header(block)
            block, last, held = held + block, b"\n" if held else last, b""
            at = 0
            while at < len(block):
                start = self._next_header(block, at, last)
                if start > at:
                    yield from self._encode(block[at:start])
                if start == len(block):
                    break
                stop = block.find(b"\n", start)
                if stop < 0:
                    held = self._held(block[start:])
                    break
                self._open(block[start:stop])
                at = stop + 1
            last = block[-1:] or last
        if held:
            self._open(held)
        self._close()
        if self.header is None:
            raise InputError(f"{self.path}: holds no FASTA record; fetch or write it again")

    def _from_first_header(self, block: bytes) -> bytes:
        """The file's first block without blank lines at its start."""
        if words := foreign(block):
            raise InputError(f"{self.path}: is {words}; a FASTA file is wanted")
        text = block.lstrip()
        self.line += block.count(b"\n", 0, len(block) - len(text))
        if text and not text.startswith(b">"):
            guess = next((words for mark, words in _OTHER_FORMATS if text.startswith(mark)), "")
            raise InputError(
                f"{self.path}, line {self.line}: {guess or 'there is sequence'} where the first "
                "'>' should be; a FASTA file is wanted"
            )
        return text

    def _next_header(self, block: bytes, at: int, last: bytes) -> int:
        """Position of the next `>`, or the block's length."""
        start = block.find(b">", at)
        if start < 0:
            return len(block)
        if (block[start - 1 : start] if start else last) != b"\n":
            self.line += block.count(b"\n", at, start)
            raise self._wrong(self.line, "'>' stands inside a line; put every header on its own")
        return start

    def _held(self, start: bytes) -> bytes:
        if len(start) > _LONGEST_HEADER:
            raise InputError(
                f"{self.path}, line {self.line}: a header line without end; a FASTA file with "
                "line ends is wanted"
            )
        return start

    def _open(self, line: bytes) -> None:
        """Start the record of a header line, given without its LF."""
        self._close()
        name, _, description = line[1:].decode("utf-8", OR_LATIN_1).strip().partition(" ")
        name, _, more = name.partition("\t")
        self.header = Header(name, f"{more} {description}".strip(), self.line)
        if not name:
            raise self._wrong(self.line, "has no name; write one after the '>'")
        if self.seen is not None:
            if name in self.seen:
                first = self.seen[name]
                raise self._wrong(self.line, f"is named as the one in line {first}; rename one")
            self.seen[name] = self.line
        self.letters, self.ended = 0, b""
        self.skipping = False
        self.line += 1

    def _close(self) -> None:
        if self.header is not None and not self.letters and not self.skipping:
            self._leave_out(
                self._wrong(self.header.line, "has no sequence; remove it or fetch it again")
            )

    def _leave_out(self, error: InputError) -> None:
        """Leave out the open record, if that is asked for."""
        if self.left_out is None:
            raise error
        assert self.header is not None
        self.left_out(self.header, error)
        self.skipping = True

    def _encode(self, text: bytes) -> Iterator[tuple[Header, Ids]]:
        """Yield the letters of sequence lines, if there are any."""
        assert self.header is not None
        encoded = text.translate(self.table, _BLANK)
        if encoded.find(INVALID) >= 0 and not self.skipping:
            self._leave_out(self._outside(text))
        if self.skipping:
            self.line += text.count(b"\n")
            return
        ids = np.frombuffer(self._without_end(encoded), dtype=np.uint8)
        if self.doubt and len(ids) >= _SURELY_NUCLEOTIDE:
            if _NUCLEOTIDE[ids[:1000]].all():
                raise self._wrong(self.line, "looks like DNA or RNA; a protein FASTA is wanted")
            self.doubt = False
        self.letters += len(ids)
        self.line += text.count(b"\n")
        if len(ids):
            yield self.header, ids

    def _without_end(self, encoded: bytes) -> bytes:
        """Keep back a terminator at the end of a piece until more letters of the record follow."""
        if self.end is None:
            return encoded
        encoded, self.ended = self.ended + encoded, b""
        if encoded.endswith(self.end):
            encoded, self.ended = encoded[:-1], self.end
        return encoded

    def _outside(self, text: bytes) -> InputError:
        """Name the first letter outside the alphabet, and what the record may be instead."""
        raw = np.frombuffer(text, dtype=np.uint8)
        wrong = (self.alphabet.reading_table[raw] == INVALID) & ~np.isin(raw, list(_BLANK))
        at = int(np.flatnonzero(wrong)[0])
        line = self.line + text.count(b"\n", 0, at)
        letter = chr(raw[at])
        if not letter.isprintable() or raw[at] >= 0x80:
            return self._wrong(line, f"byte {raw[at]:#04x} is no letter; the file is damaged")
        advice = no_residue(letter, self.alphabet) or "correct it or choose the right file"
        if self.alphabet is not PROTEIN and (PROTEIN.reading_table[raw[wrong]] != INVALID).all():
            advice = "this looks like a protein, a DNA FASTA is wanted"
        blank = sum(text.count(byte, 0, at) for byte in _BLANK)
        position = self.letters + len(self.ended) + at - blank + 1
        return self._wrong(
            line,
            f"letter {letter!r} is outside the {self.alphabet.name} alphabet; {advice} (position "
            f"{position:,} of the sequence)",
        )

    def _wrong(self, line: int, words: str) -> InputError:
        assert self.header is not None
        return InputError(f"{self.path}, line {line}, record {self.header.name!r}: {words}")


def no_residue(letter: str, alphabet: Alphabet) -> str:
    """What a letter of the models is that files must not hold; empty for any other."""
    if letter not in alphabet.markers:
        return ""
    if letter == "-":
        return "it is a gap of an alignment; write the sequence without gaps"
    return "it is a symbol of the models and no residue; remove it"


_NUCLEOTIDE = np.zeros(256, dtype=bool)
_NUCLEOTIDE[PROTEIN.encode("ACGTUNacgtun", soft=True)] = True
