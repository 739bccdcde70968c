"""Annotated VCF: the input's lines with INFO fields added, plain or bgzip with an index."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pysam

from helicon.data.variants.vcf import Header

Write = Callable[[bytes], object]

#: Positions that the usual index can hold; beyond them another kind is written.
_TABIX_END = 2**29
_INFO_COLUMN = 7
_PLAIN = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True)
class Info:
    """An INFO field.

    Attributes:
        id: its name.
        number: values of a record: `A` for one an alternative allele, `.` for any number.
        type: `Float`, `String`, ...
        description: in words.
    """

    id: str
    number: str
    type: str
    description: str

    @property
    def line(self) -> bytes:
        """Its definition in the header."""
        said = self.description.replace("\\", "\\\\").replace('"', '\\"')
        return (
            f'##INFO=<ID={self.id},Number={self.number},Type={self.type},Description="{said}">'
        ).encode()


def info_name(*words: str) -> str:
    """An INFO field's name made of words: letters, digits, `_` and `.`."""
    return "_".join(_PLAIN.sub("_", word) for word in words)


def annotated_header(header: Header, fields: Sequence[Info], notes: Sequence[str] = ()) -> bytes:
    """The header with definitions and notes added, those of an earlier time taken out.

    Args:
        header: the input's.
        fields: the INFO fields that records get.
        notes: lines `key=value` that say how they were made.
    """
    named = {field.id.encode() for field in fields}
    keys = tuple(b"##" + note.split("=")[0].encode() + b"=" for note in notes)
    kept = [
        line for line in header.meta if not line.startswith(keys or (b"\n",))
        and _defined(line) not in named
    ]  # fmt: skip
    added = [field.line for field in fields] + [b"##" + note.encode() for note in notes]
    return b"\n".join([*kept, *added, header.columns, b""])


def _defined(line: bytes) -> bytes | None:
    """The ID of an INFO definition."""
    found = re.match(rb"##INFO=<(?:[^\"]*,)?ID=([^,>]+)", line)
    return found[1] if found else None


def annotate(text: bytes, values: Sequence[tuple[bytes, bytes]], named: Collection[bytes]) -> bytes:
    """A record's line with INFO values added.

    Args:
        text: the line, without its end.
        values: name and value of each.
        named: names of all fields that are ours; what a record has of them already is taken out.
    """
    columns = text.split(b"\t", _INFO_COLUMN + 1)
    before = columns[_INFO_COLUMN]
    fields = [] if before in (b"", b".") else before.split(b";")
    if any(name in before for name in named):
        fields = [field for field in fields if field.partition(b"=")[0] not in named]
    fields += [name + b"=" + value for name, value in values]
    columns[_INFO_COLUMN] = b";".join(fields) or b"."
    return b"\t".join(columns)


@contextlib.contextmanager
def vcf_writer(path: Path, *, compressed: bool) -> Iterator[Write]:
    """Write a VCF: give a function that takes bytes.

    Args:
        path: the file.
        compressed: as bgzip.
    """
    if not compressed:
        with path.open("wb", buffering=1 << 20) as plain:
            yield plain.write
        return
    with pysam.BGZFile(str(path), "w", None) as handle:
        yield handle.write


def index_vcf(path: Path, longest: int) -> Path:
    """Write the index of a sorted bgzip VCF beside it.

    Args:
        path: the VCF.
        longest: last position of any record.

    Returns:
        The index: `.tbi`, or `.csi` where positions are too large for that.
    """
    wide = longest >= _TABIX_END
    pysam.tabix_index(str(path), preset="vcf", force=True, csi=wide)
    return path.with_name(path.name + (".csi" if wide else ".tbi"))
