"""Files opened by what is in them: compressed or plain, UTF-8 or UTF-16, whatever ends their lines.

Every reader of text gets UTF-8 without a byte order mark, whose lines end with LF alone. What is
packed is read up to a bound, so that a small file that unpacks without end stops with a line.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from helicon.archives import member_of, open_member
from helicon.errors import InputError
from helicon.files import existing_data

#: Bytes that are asked for at a time.
BLOCK = 1 << 20
#: Packed content is read up to so many bytes, or so many times its packed size if that is more:
#: a quarter of the most that deflate can reach, which files of sequences do not come near.
UNPACKED, TIMES = 1 << 30, 250
#: Environment variable that sets the bound in bytes; K, M, G or T may follow the number.
LIMIT = "HELICON_UNPACKED_LIMIT"

#: Bytes that are unpacked and decoded at a time.
_PIECE = 1 << 16

#: How text is decoded (`errors=`): UTF-8, and bytes that are none as Latin-1, so that a name is the
#: same text in every file.
OR_LATIN_1 = "helicon-or-latin-1"

_GZIP = b"\x1f\x8b"
_BGZF_EXTRA = b"\x06\x00BC\x02\x00"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

#: Bytes by which content is told, and the share of zeros that makes pairs of bytes UTF-16.
_LOOKED_AT, _MOSTLY = 8192, 0.7

_FOREIGN = (
    ((b"<!doctype html", b"<html", b"<head", b"<body"), "an HTML page (a failed download?)"),
    ((b"<?xml", b"<"), "XML"),
    ((b"version https://git-lfs",), "a Git LFS pointer, not the file itself"),
    ((b"pk\x03\x04",), "a zip archive"),
    ((b"bzh",), "compressed with bzip2"),
    ((b"\xfd7zxz",), "compressed with xz"),
    ((b"\x28\xb5\x2f\xfd",), "compressed with zstd"),
    ((b"c'a\x1a", b"\x1aa'c"), "a 2bit file"),
    ((b"\x1f\x8b",), "compressed twice with gzip"),
    ((b"%pdf",), "a PDF"),
    ((b"par1",), "a Parquet file"),
    ((b"bam\x01", b"cram"), "an alignment (BAM or CRAM)"),
)


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(OR_LATIN_1, _as_latin_1)


@contextlib.contextmanager
def open_bytes(path: str | Path, what: str) -> Iterator[io.BufferedIOBase]:
    """Open a plain, gzip or bgzip file for reading, whatever its name says.

    Text is given as UTF-8 with LF at the ends of its lines (CRLF and CR alone are read as LF, and
    UTF-16 is decoded, with or without a byte order mark); other content as it is. The file may lie
    inside a zip archive (`helicon.archives`). Seek to the start only.

    Args:
        path: the file; or a zip archive with one member.
        what: what the user meant it to be ("FASTA file"), for the messages.

    Raises:
        InputError: the file is missing, empty, a pipe or unreadable, or, also while the block reads
            on, its compressed data is cut short or damaged, or unpacks beyond the bound.
    """
    with open_content(path, what) as handle:
        start = handle.read(_LOOKED_AT)
        handle.seek(0)
        if (coding := _coding(start)) is None:
            yield handle
        else:
            yield io.BufferedReader(_Text(handle, coding), _PIECE)


@contextlib.contextmanager
def open_content(path: str | Path, what: str) -> Iterator[io.BufferedIOBase]:
    """As `open_bytes`, with the bytes of text as they are."""
    path = existing_data(path, what)
    inside = member_of(path)
    bound = Bound.of(path, (path if inside is None else inside[0]).stat().st_size)
    try:
        with path.open("rb") if inside is None else open_member(*inside, what) as opened:
            raw = cast(io.BufferedIOBase, opened)
            if inside is not None:
                raw = io.BufferedReader(_Bounded(raw, bound), _PIECE)
            start = raw.read(18)
            if not start.startswith(_GZIP):
                raw.seek(0)
                yield raw
                return
            if start[10:16] == _BGZF_EXTRA:
                _check_bgzf_end(path, raw)
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield io.BufferedReader(_Bounded(unpacked, bound), _PIECE)
    except EOFError as error:
        raise _truncated(path) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the gzip data is damaged ({error}); fetch or compress it again"
        ) from error


@contextlib.contextmanager
def open_anywhere(path: str | Path, what: str) -> Iterator[IO[bytes]]:
    """As `open_content`, for formats that are not read from start to end: unpacked, if need be."""
    with open_content(path, what) as handle:
        if isinstance(handle, io.BufferedReader) and isinstance(handle.raw, io.FileIO):
            yield handle
            return
        with tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(handle, plain, BLOCK)
            plain.seek(0)
            yield cast(IO[bytes], plain)


@dataclass(frozen=True)
class Bound:
    """How many bytes a packed file may unpack to.

    Attributes:
        path: the file.
        most: bytes.
    """

    path: Path
    most: int

    @classmethod
    def of(cls, path: Path, packed: int) -> Bound:
        """The bound of a file of so many packed bytes.

        Raises:
            InputError: the environment says no size.
        """
        if (said := os.environ.get(LIMIT)) is None:
            return cls(path, max(UNPACKED, TIMES * packed))
        if not (match := re.fullmatch(r"(\d+)\s*([KMGT]?)B?", said.strip().upper())):
            raise InputError(f"{LIMIT}: {said!r} is no size in bytes; write a number, as 200G")
        return cls(path, int(match[1]) << (10 * " KMGT".index(match[2] or " ")))

    def check(self, count: int) -> None:
        """Stop where more was unpacked.

        Raises:
            InputError: so many bytes are beyond the bound.
        """
        if count > self.most:
            raise InputError(
                f"{self.path}: unpacks to more than {self.most:,} bytes, far beyond its packed "
                f"size; if that is right, set {LIMIT} to what it may be, as 200G"
            )


class _Bounded(io.RawIOBase):
    """Unpacked content up to a bound."""

    def __init__(self, source: io.BufferedIOBase, bound: Bound):
        self._source, self._bound = source, bound

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        count = self._source.readinto(out)
        self._bound.check(self._source.tell())
        return count

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(to, whence)

    def tell(self) -> int:
        return self._source.tell()


def _coding(start: bytes) -> str | None:
    """How a text that begins so is encoded; `None` if it is no text."""
    if start.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if start.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    if b"\0" not in start:
        return None if start.startswith(b"PAR1") else "utf-8"
    zeros = np.frombuffer(start[: len(start) // 2 * 2], np.uint8).reshape(-1, 2) == 0
    low, high = zeros.mean(axis=0) if len(zeros) >= 8 else (0, 0)
    if low == 0 and high > _MOSTLY:
        return "utf-16-le"
    return "utf-16-be" if high == 0 and low > _MOSTLY else None


class _Text(io.RawIOBase):
    """Text as UTF-8 without a byte order mark, whose lines end with LF."""

    def __init__(self, source: io.BufferedIOBase, coding: str):
        self._source, self._coding = source, coding
        self._begin()

    def _begin(self) -> None:
        self._source.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._coding)("replace")
        self._given, self._return, self._waiting = 0, False, memoryview(b"")
        first = self._more(max(_PIECE, len(codecs.BOM_UTF8)))
        self._waiting = memoryview(first.removeprefix(codecs.BOM_UTF8))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        if (to, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("text is read from its start")
        self._begin()
        return 0

    def tell(self) -> int:
        return self._given

    def readinto(self, out: Any) -> int:
        if not self._waiting:
            self._waiting = memoryview(self._more())
        count = min(len(out), len(self._waiting))
        out[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        self._given += count
        return count

    def _more(self, size: int = _PIECE) -> bytes:
        """The next bytes; none at the end."""
        text = b""
        while not text and (block := self._source.read(size)):
            text = self._lines(block)
        if text or self._coding == "utf-8":
            return text
        return self._decoder.decode(b"", final=True).encode()

    def _lines(self, block: bytes) -> bytes:
        if self._coding != "utf-8":
            block = self._decoder.decode(block).encode()
        if self._return:  # its LF was given when the block before ended with CR
            block, self._return = block.removeprefix(b"\n"), not block
        if b"\r" in block:
            self._return = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return block


def _check_bgzf_end(path: Path, raw: io.BufferedIOBase) -> None:
    """Bgzip ends every file with an empty block: a file cut between two blocks lacks it."""
    raw.seek(max(0, raw.seek(0, io.SEEK_END) - len(_BGZF_END)))
    if raw.read() != _BGZF_END:
        raise _truncated(path)


def _truncated(path: Path) -> InputError:
    return InputError(f"{path}: the gzip file is cut short; fetch or compress it again")


def blocks(handle: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield the bytes of an open file in blocks of `BLOCK`."""
    while block := handle.read(BLOCK):
        yield block


def foreign(start: bytes) -> str | None:
    """Say what a file that starts with `start` is, if it is clearly no text of ours.

    Args:
        start: the first bytes of the (uncompressed) content.

    Returns:
        Words to complete "the file is ...", or `None` for text that may be right.
    """
    head = start[:512].lstrip().lower()
    for marks, words in _FOREIGN:
        if head.startswith(marks):
            return words
    return "a binary file" if b"\0" in start[:8192] else None


def text_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a plain, gzip or bgzip text file with their numbers, from 1.

    Line ends are removed; nothing else is.

    Args:
        path: the file.
        what: what the user meant it to be ("BED file"), for the messages.

    Raises:
        InputError: as `open_bytes`; or the content is binary, HTML, an archive and the like.
    """
    with open_bytes(path, what) as handle:
        start = handle.read(512)
        if words := foreign(start):
            raise InputError(f"{path}: is {words}; a {what} is wanted")
        handle.seek(0)
        text = io.TextIOWrapper(cast(IO[bytes], handle), encoding="utf-8", errors=OR_LATIN_1)
        for number, line in enumerate(text, start=1):
            yield number, line.rstrip("\n")
