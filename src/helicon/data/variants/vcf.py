"""VCF and BCF files, streamed: every record with its line as it stands, every error with its line.

Records are cut at their first columns alone: the genotypes of thousands of samples are carried
along as text.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from helicon.data.reading.compressed import OR_LATIN_1, foreign, open_bytes
from helicon.errors import InputError

Kind = Literal[
    "snv", "mnv", "insertion", "deletion", "complex", "same", "symbolic", "breakend", "missing",
    "overlapped",
]  # fmt: skip
OnError = Literal["fail", "skip"]

#: The columns that every VCF has.
COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")

_WHAT = "VCF file"
_BCF = b"BCF\x02"
_BASES = b"ACGTNacgtn"
_CODES = b"RYSWKMBDHVryswkmbdhv"
_BASES_OR_CODES = _BASES + _CODES
_LETTERS = _BASES_OR_CODES.decode()
_MATE = r"[\[\]][^\[\]\s]+[\[\]]"
_SOME = rf"(?:[{_LETTERS}]+|\.)"
_BREAKEND = re.compile(rf"{_SOME}{_MATE}|{_MATE}{_SOME}|\.[{_LETTERS}]+|[{_LETTERS}]+\.")
_SYMBOLIC = re.compile(r"<[^<>\s]+>")


class Record(NamedTuple):
    """One record of a VCF.

    Attributes:
        line: line number in its file, from 1; of a BCF, the number of the record.
        text: the whole line, without its end.
        chrom: name of the chromosome, as it stands there.
        position: 1-based position of the first base of `ref`; 0 for one before the first base.
        name: the ID column, `.` if there is none.
        ref: reference allele, as it stands there.
        alts: alternative alleles, as they stand there; `(".",)` if there is none.
    """

    line: int
    text: bytes
    chrom: str
    position: int
    name: str
    ref: str
    alts: tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """What stands before the records.

    Attributes:
        meta: the lines that start with `##`, without their ends.
        columns: the line `#CHROM ...`, without its end.
    """

    meta: tuple[bytes, ...]
    columns: bytes

    @property
    def samples(self) -> list[str]:
        """Names of the samples, in order."""
        return [name.decode("utf-8", OR_LATIN_1) for name in self.columns.split(b"\t")[9:]]


class Vcf:
    """An open VCF: its header, and its records once.

    Attributes:
        path: the file.
        header: what stands before the records.
        skipped: malformed records left out so far.
        first_skipped: what was wrong with the first of them, or empty.
    """

    def __init__(self, path: Path, lines: Iterator[tuple[int, bytes]], on_error: OnError):
        self.path = path
        self.skipped, self.first_skipped = 0, ""
        self._lines, self._on_error = lines, on_error
        self.header = _read_header(path, lines)
        self._tabs = self.header.columns.count(b"\t")

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in order.

        Raises:
            InputError: one is malformed, unless these are skipped; or the file is damaged.
        """
        for number, text in self._lines:
            if not text.strip():
                continue
            try:
                record = self._parse(number, text)
            except _Malformed as error:
                self._leave_out(f"{self.path}, line {number}: {error}")
                continue
            yield record

    def _leave_out(self, words: str) -> None:
        if self._on_error == "fail":
            raise InputError(words)
        self.first_skipped = self.first_skipped or words
        self.skipped += 1

    def _parse(self, number: int, text: bytes) -> Record:
        if text.count(b"\t") != self._tabs:
            raise _Malformed(_column_count(text, self._tabs + 1))
        chrom, position, name, ref, alt, _ = text.split(b"\t", 5)
        if not chrom or chrom.startswith(b"#"):
            raise _Malformed("the chromosome is missing; write one in the first column")
        if not position.isdigit():
            raise _Malformed(f"POS {_shown(position)} is no whole number; correct or remove it")
        if not ref or ref == b".":
            raise _Malformed("REF is empty; write the base before the variant (see the VCF format)")
        if wrong := ref.translate(None, _BASES_OR_CODES):
            raise _Malformed(f"REF has {_shown(wrong[:1])}, which is no base; correct or remove it")
        alts = tuple(alt.decode("utf-8", "backslashreplace").split(","))
        if alt.translate(None, _BASES):
            _check(alts)
        return Record(number, text, chrom.decode("utf-8", OR_LATIN_1), int(position),
                      name.decode("utf-8", OR_LATIN_1), ref.decode(), alts)  # fmt: skip


class _Malformed(Exception):
    """A record that cannot be read; the words complete "FILE, line N: ..."."""


def _shown(text: bytes) -> str:
    shown = text[:30].decode("utf-8", "backslashreplace")
    return repr(shown + "..." * (len(text) > 30))


def _column_count(text: bytes, wanted: int) -> str:
    found = text.count(b"\t") + 1
    if found == 1 and len(text.split()) >= len(COLUMNS):
        return "its columns are separated by spaces; a VCF has tabs between them"
    advice = "the line is cut short" if found < wanted else "a value holds a tab"
    return f"has {found} columns, where the header has {wanted} ({advice}?); correct or remove it"


def _check(alts: tuple[str, ...]) -> None:
    """Refuse an alternative allele that is nothing that the format knows."""
    for alt in alts:
        if alt in (".", "*") or not alt.strip(_LETTERS):
            known = bool(alt)
        else:
            known = bool(_SYMBOLIC.fullmatch(alt) or _BREAKEND.fullmatch(alt))
        if not known:
            raise _Malformed(
                f"ALT {_shown(alt.encode())} is neither bases nor <...>, *, . or a breakend; "
                "correct or remove it"
            )


# ---------------------------------------------------------------- alleles


def classify(ref: str, alt: str) -> Kind:
    """What an alternative allele is.

    Alleles of bases are told apart by what is left when what they share at both ends is taken away:
    `AC` to `AG` is an SNV. `overlapped` is `*`, a position inside of another record's deletion;
    `missing` is `.`.
    """
    if alt in (".", "*"):
        return "missing" if alt == "." else "overlapped"
    if alt.strip(_LETTERS):
        return "symbolic" if alt.startswith("<") else "breakend"
    _, old, new = trim(ref.upper(), alt.upper())
    if len(old) == len(new):
        return "same" if not old else "snv" if len(old) == 1 else "mnv"
    if not old or not new:
        return "deletion" if old else "insertion"
    return "complex"


def trim(ref: str, alt: str) -> tuple[int, str, str]:
    """Take away what two alleles share at the left, then at the right.

    Returns:
        Bases taken at the left, and what is left of the two; either may be empty.
    """
    if len(ref) == len(alt) == 1:
        return (1, "", "") if ref == alt else (0, ref, alt)
    left, most = 0, min(len(ref), len(alt))
    while left < most and ref[left] == alt[left]:
        left += 1
    right, most = 0, most - left
    while right < most and ref[-1 - right] == alt[-1 - right]:
        right += 1
    return left, ref[left : len(ref) - right], alt[left : len(alt) - right]


# ---------------------------------------------------------------- files


@contextlib.contextmanager
def open_vcf(path: str | Path, *, on_error: OnError = "fail") -> Iterator[Vcf]:
    """Open a VCF (plain, gzip or bgzip) or BCF, whatever its name says.

    Args:
        path: the file.
        on_error: what to do with malformed records: `fail`, or `skip` them and count.

    Raises:
        InputError: the file is missing, empty, cut short, no VCF, or has no line `#CHROM`; and
            while it is read, a record is malformed.
    """
    path = Path(path)
    with open_bytes(path, _WHAT) as handle:
        start = handle.read(512)
        if start.startswith(_BCF):
            lines = _bcf_lines(path)
        elif words := foreign(start):
            raise InputError(f"{path}: is {words}; a {_WHAT} is wanted")
        else:
            handle.seek(0)
            lines = _text_lines(handle)
        yield Vcf(path, lines, on_error)


def _text_lines(handle: io.BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    buffered = io.BufferedReader(cast(io.RawIOBase, handle), 1 << 20)
    for number, line in enumerate(cast(IO[bytes], buffered), start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield number, line.rstrip(b"\r\n")
    buffered.detach()


def htslib(what: str) -> Any:
    """The module pysam, without which plain and gzip VCF files are still read and written.

    Args:
        what: what it is wanted for.

    Raises:
        InputError: it is not installed: there is none for Windows.
    """
    try:
        import pysam
    except ImportError as error:
        raise InputError(
            f"{what} need pysam, which is not installed (on Windows: use WSL, or plain .vcf and "
            ".parquet files)"
        ) from error
    return pysam


def _bcf_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The header's lines, all of number 0, and the records as text, numbered from 1."""
    pysam = htslib("BCF files")
    silence = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(path), "rb") as file:
            for line in str(file.header).splitlines():
                yield 0, line.encode()
            for number, record in enumerate(file, start=1):
                yield number, str(record).rstrip("\n").encode()
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: the BCF is damaged ({error}); fetch or write it again"
        ) from error
    finally:
        pysam.set_verbosity(silence)


def _read_header(path: Path, lines: Iterator[tuple[int, bytes]]) -> Header:
    meta = []
    for number, text in lines:
        if text.startswith(b"##"):
            meta.append(text)
            continue
        if not text.strip():
            continue
        if not text.startswith(b"#CHROM"):
            raise InputError(
                f"{path}, line {number}: the header line '#CHROM ...' should stand before the "
                "first record, with tabs between its names; a VCF file is wanted"
            )
        _check_columns(path, number, text)
        return Header(tuple(meta), text)
    raise InputError(f"{path}: has no header line '#CHROM ...'; a VCF file is wanted")


def _check_columns(path: Path, number: int, text: bytes) -> None:
    names = text[1:].decode("utf-8", "replace").split("\t")
    wanted = [*COLUMNS, "FORMAT"][: max(len(names), len(COLUMNS))]
    if tuple(names[:9]) == tuple(wanted[:9]):
        return
    if len(text.split()) > len(names):
        words = "its columns are separated by spaces; a VCF has tabs between them"
    else:
        words = f"the header line should be '#{' '.join(COLUMNS)}', FORMAT and samples behind it"
    raise InputError(f"{path}, line {number}: {words}")
