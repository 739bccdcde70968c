"""Annotated VCF: the input's lines with INFO fields added, plain or bgzip with an index."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from helicon.data.variants.vcf import Header, Record, htslib

Write = Callable[[bytes], object]

#: Positions that the usual index can hold; beyond them another kind is written.
_TABIX_END = 2**29
_INFO_COLUMN = 7
_PLAIN = re.compile(r"[^A-Za-z0-9_.]+")


#: Number and type of fields that the format reserves (VCF 4.3, tables 1 and 2); others are text.
_INFO_TYPES = {
    b"AA": (b"1", b"String"), b"AC": (b"A", b"Integer"), b"AD": (b"R", b"Integer"),
    b"AF": (b"A", b"Float"), b"AN": (b"1", b"Integer"), b"BQ": (b"1", b"Float"),
    b"DP": (b"1", b"Integer"), b"END": (b"1", b"Integer"), b"MQ": (b"1", b"Float"),
    b"MQ0": (b"1", b"Integer"), b"NS": (b"1", b"Integer"), b"SB": (b".", b"Integer"),
    b"SVLEN": (b".", b"Integer"), b"SVTYPE": (b"1", b"String"),
}  # fmt: skip
_FORMAT_TYPES = {
    b"GT": (b"1", b"String"), b"AD": (b"R", b"Integer"), b"DP": (b"1", b"Integer"),
    b"GQ": (b"1", b"Integer"), b"GL": (b"G", b"Float"), b"PL": (b"G", b"Integer"),
    b"MQ": (b"1", b"Integer"), b"PS": (b"1", b"Integer"), b"FT": (b"1", b"String"),
}  # fmt: skip
#: Names that a `##contig` line can hold (VCF 4.3, section 1.4.7).
_CONTIG = re.compile(rb"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")


class Undefined:
    """Finds what records use and the header does not define; BCF cannot hold it otherwise.

    Args:
        header: the input's.
    """

    def __init__(self, header: Header):
        self._known = {found for line in header.meta if (found := _definition(line))}
        self._formats: set[bytes] = set()
        self._lines: list[bytes] = []

    def add(self, record: Record, length: int | None) -> None:
        """Look at a record.

        Args:
            record: the record.
            length: of its chromosome, if the reference has it.
        """
        columns = record.text.split(b"\t", _INFO_COLUMN + 2)
        size = b"" if length is None else b",length=%d" % length
        if _CONTIG.fullmatch(columns[0]):
            self._define(b"contig", columns[0], size)
        for name in columns[_INFO_COLUMN - 1].split(b";"):
            if name not in (b".", b"PASS", b""):
                self._define(b"FILTER", name, _said(b""))
        for field in columns[_INFO_COLUMN].split(b";"):
            name, is_set, _ = field.partition(b"=")
            if (b"INFO", name) not in self._known and name not in (b".", b""):
                kind = _INFO_TYPES.get(name, (b".", b"String")) if is_set else (b"0", b"Flag")
                self._define(b"INFO", name, _said(b",Number=%s,Type=%s" % kind))
        if any(alt.startswith("<") for alt in record.alts):  # pysam sets it on writing such
            self._define(b"INFO", b"END", _said(b",Number=%s,Type=%s" % _INFO_TYPES[b"END"]))
        if len(columns) > _INFO_COLUMN + 1 and columns[_INFO_COLUMN + 1] not in self._formats:
            self._formats.add(columns[_INFO_COLUMN + 1])
            for name in columns[_INFO_COLUMN + 1].split(b":"):
                if name not in (b".", b""):
                    kind = _FORMAT_TYPES.get(name, (b".", b"String"))
                    self._define(b"FORMAT", name, _said(b",Number=%s,Type=%s" % kind))

    def _define(self, key: bytes, name: bytes, rest: bytes) -> None:
        if (key, name) not in self._known:
            self._known.add((key, name))
            self._lines.append(b"##%s=<ID=%s%s>" % (key, name, rest))

    @property
    def lines(self) -> tuple[bytes, ...]:
        """Header lines that define it, in the order of the records."""
        return tuple(self._lines)


def _said(kind: bytes) -> bytes:
    return kind + b',Description="Not described in the input"'


def _definition(line: bytes) -> tuple[bytes, bytes] | None:
    """Key and ID of a header line `##KEY=<...ID=...>`."""
    found = re.match(rb"##(contig|FILTER|INFO|FORMAT)=<(?:[^\"]*,)?ID=([^,>]+)", line)
    return (found[1], found[2]) if found else None


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


def annotated_header(
    header: Header,
    fields: Sequence[Info],
    notes: Sequence[str] = (),
    missing: Sequence[bytes] = (),
) -> bytes:
    """The header with definitions and notes added, those of an earlier time taken out.

    Args:
        header: the input's.
        fields: the INFO fields that records get.
        notes: lines `key=value` that say how they were made.
        missing: lines that the input should have had, see `Undefined`.
    """
    named = {(b"INFO", field.id.encode()) for field in fields}
    keys = tuple(b"##" + note.split("=")[0].encode() + b"=" for note in notes)
    kept = [
        line for line in header.meta if not line.startswith(keys or (b"\n",))
        and _definition(line) not in named
    ]  # fmt: skip
    if not kept or not kept[0].startswith(b"##fileformat="):
        kept.insert(0, b"##fileformat=VCFv4.2")
    kept += [line for line in missing if _definition(line) not in named]
    added = [field.line for field in fields] + [b"##" + note.encode() for note in notes]
    return b"\n".join([*kept, *added, header.columns, b""])


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
    with htslib("bgzip files").BGZFile(str(path), "w", None) as handle:
        yield handle.write


def index_files(path: Path) -> tuple[Path, Path]:
    """Where the indexes of a VCF stand: an old one is believed as long as it is there."""
    return path.with_name(f"{path.name}.tbi"), path.with_name(f"{path.name}.csi")


def index_vcf(path: Path, longest: int) -> Path:
    """Write the index of a sorted bgzip VCF beside it.

    Args:
        path: the VCF.
        longest: last position of any record.

    Returns:
        The index: `.tbi`, or `.csi` where positions are too large for that.
    """
    wide = longest >= _TABIX_END
    for index in index_files(path):
        index.unlink(missing_ok=True)
    htslib("indexes").tabix_index(str(path), preset="vcf", force=True, csi=wide)
    return index_files(path)[wide]
