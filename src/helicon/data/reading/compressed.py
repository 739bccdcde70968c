"""Plain, gzip and bgzip files opened by what is in them, and content that is no table or FASTA."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from helicon.archives import member_of, open_member
from helicon.errors import InputError
from helicon.files import existing_data

#: Bytes that are asked for at a time.
BLOCK = 1 << 20

#: How text is decoded (`errors=`): UTF-8, and bytes that are none as Latin-1, so that a name is the
#: same text in every file.
OR_LATIN_1 = "helicon-or-latin-1"

_GZIP = b"\x1f\x8b"
_BGZF_EXTRA = b"\x06\x00BC\x02\x00"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

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

    The file may lie inside a zip archive (`helicon.archives`).

    Args:
        path: the file; or a zip archive with one member.
        what: what the user meant it to be ("FASTA file"), for the messages.

    Raises:
        InputError: the file is missing, empty or unreadable, or, also while the block reads on,
            its compressed data is cut short or damaged.
    """
    path = existing_data(path, what)
    inside = member_of(path)
    try:
        with path.open("rb") if inside is None else open_member(*inside, what) as opened:
            raw = cast(io.BufferedIOBase, opened)
            start = raw.read(18)
            if not start.startswith(_GZIP):
                raw.seek(0)
                yield raw
                return
            if start[10:16] == _BGZF_EXTRA:
                _check_bgzf_end(path, raw)
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as handle:
                yield handle
    except EOFError as error:
        raise _truncated(path) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the gzip data is damaged ({error}); fetch or compress it again"
        ) from error


def _check_bgzf_end(path: Path, raw: io.BufferedIOBase) -> None:
    """Bgzip ends every file with an empty block: a file cut between two blocks lacks it."""
    raw.seek(max(0, raw.seek(0, io.SEEK_END) - len(_BGZF_END)))
    if raw.read() != _BGZF_END:
        raise _truncated(path)


def _truncated(path: Path) -> InputError:
    return InputError(f"{path}: the gzip file is cut short; fetch or compress it again")


def blocks(handle: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield the bytes of an open file in blocks of `BLOCK`, without a byte order mark."""
    block = handle.read(BLOCK).removeprefix(b"\xef\xbb\xbf")
    while block:
        yield block
        block = handle.read(BLOCK)


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

    Line ends (LF or CRLF) are removed; nothing else is.

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
        text = io.TextIOWrapper(cast(IO[bytes], handle), encoding="utf-8-sig", errors=OR_LATIN_1)
        for number, line in enumerate(text, start=1):
            yield number, line.rstrip("\r\n")
