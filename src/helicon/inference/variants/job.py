"""The job of `helicon variants`: a VCF cut in batches of edits, and written again with scores.

The file is read three times: to check every record before anything is computed, to cut it in
batches, whose lines stay at home, and to write it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from helicon.data.genome.genome import Genome
from helicon.data.variants.vcf import OnError, Record, Vcf, open_vcf
from helicon.data.variants.writing import (
    Info,
    Undefined,
    annotate,
    annotated_header,
    info_name,
    vcf_writer,
)
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.network import Network
from helicon.inference.jobs.engine import write_parquet
from helicon.inference.jobs.job import Shard
from helicon.inference.variants.alleles import NOTES, Allele, OnMismatch, Resolver
from helicon.inference.variants.haplotypes import Batch, Sample, backgrounds, with_context
from helicon.inference.variants.pairs import Pairs
from helicon.inference.variants.scoring import Column, Scoring
from helicon.inference.variants.substitutions import Substitutions

VcfFormat = Literal["vcf", "vcf.gz", "parquet"]

#: Records that are scored together.
RECORDS = 1000

_NOTE = "note"
_KEYS = [
    ("CHROM", pa.string()), ("POS", pa.int64()), ("ID", pa.string()), ("REF", pa.string()),
    ("ALT", pa.string()),
]  # fmt: skip


@dataclass
class Survey:
    """What is in a VCF.

    Attributes:
        records: that can be read.
        alleles: alternative alleles.
        scored: alleles that will have scores.
        notes: alleles by note.
        malformed: records that cannot be read.
        first: what is wrong with the first of these.
        sorted: whether the records are in the order of an index.
        last: largest position.
        undefined: header lines for what the records use and the header does not define.
    """

    records: int = 0
    alleles: int = 0
    scored: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    first: str = ""
    sorted: bool = True
    last: int = 0
    undefined: tuple[bytes, ...] = ()

    def add(self, alleles: Sequence[Allele]) -> None:
        """Count the alleles of a record."""
        self.records += 1
        self.alleles += len(alleles)
        for note, edit in alleles:
            self.scored += edit is not None
            if note:
                self.notes[note] += 1


class _Order:
    """Whether records come one chromosome after the other, in the order of positions."""

    def __init__(self) -> None:
        self.chrom, self.position = "", 0
        self._before: set[str] = set()

    def __call__(self, record: Record) -> bool:
        if record.chrom != self.chrom:
            self._before.add(self.chrom)
            self.chrom, self.position = record.chrom, 0
        right = record.position >= self.position and record.chrom not in self._before
        self.position = record.position
        return right


@dataclass(frozen=True)
class VariantsJob:
    """Scores of the variants of a VCF.

    Attributes:
        model: what `Network.open` takes.
        vcf: the variants.
        reference: FASTA file.
        form: of the output.
        scoring: what is asked of the model.
        columns: the numbers of the scores.
        digest: of the model.
        distance: bases between variants of a haplotype that see each other at most.
        haplotypes: whether to score on the haplotypes of a sample.
        sample: which; may be left out where there is one.
        on_mismatch: see `Resolver`.
        on_error: see `Resolver` and `open_vcf`.
        records: how many there are, if that is known.
        undefined: header lines to be added, see `Survey`.
    """

    model: str | Path
    vcf: Path
    reference: Path
    form: VcfFormat
    scoring: Scoring
    columns: tuple[Column, ...]
    digest: str
    distance: int
    haplotypes: bool = False
    sample: str | None = None
    on_mismatch: OnMismatch = "fail"
    on_error: OnError = "fail"
    records: int | None = None
    undefined: tuple[bytes, ...] = ()
    verb: str = "variants"
    unit: str = "records"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        names = ("form", "haplotypes", "sample", "on_mismatch", "on_error")
        return {name: getattr(self, name) for name in names} | {
            "scoring": self.scoring.as_dict(),
            "vcf": sha256(self.vcf),
            "reference": Genome.open(self.reference).sha256,
        }

    def total(self) -> int | None:
        """Number of records."""
        return self.records

    def survey(self) -> Survey:
        """Look at every record.

        Raises:
            InputError: one is malformed or does not fit the genome, and the policy is to fail; or
                records are in no order, and haplotypes are asked for.
        """
        found, in_order = Survey(), _Order()
        genome = Genome.open(self.reference)
        with open_vcf(self.vcf, on_error=self.on_error) as vcf:
            resolve, undefined = self._resolving(vcf), Undefined(vcf.header)
            for record in vcf:
                chrom = genome.find(record.chrom)
                undefined.add(record, None if chrom is None else int(genome.lengths[chrom]))
                found.add(resolve(record)[0])
                found.last = max(found.last, record.position)
                if found.sorted and not in_order(record):
                    found.sorted = False
                    if self.haplotypes:
                        raise InputError(
                            f"{self.vcf}, line {record.line}: is not in the order of positions, "
                            "which haplotypes need; sort the file"
                        )
            found.malformed, found.first = vcf.skipped, vcf.first_skipped
            found.undefined = undefined.lines
        return found

    def shards(self) -> Iterator[Shard]:
        """Batches of records."""
        with open_vcf(self.vcf, on_error=self.on_error) as vcf:
            batches = self._batches(vcf)
            if self.haplotypes:
                batches = with_context(batches, self.distance)
            for batch in batches:
                yield Shard(batch, batch.records)

    def _batches(self, vcf: Vcf) -> Iterator[Batch]:
        resolve, records = self._resolving(vcf), iter(vcf)
        while some := list(islice(records, RECORDS)):
            alleles: list[Allele] = []
            carried: list[tuple[int, ...]] = []
            for record in some:
                found, where = resolve(record)
                alleles += found
                carried += where
            yield Batch(alleles, carried, [], len(some))

    def _resolving(
        self, vcf: Vcf
    ) -> Callable[[Record], tuple[list[Allele], list[tuple[int, ...]]]]:
        """What gives the alleles of a record, and the haplotypes that carry each."""
        resolver = Resolver(
            self.vcf, Genome.open(self.reference), on_error=self.on_error,
            on_mismatch=self.on_mismatch, longest=self.scoring.longest,
        )  # fmt: skip
        if not self.haplotypes:
            return lambda record: (resolver.alleles(record), [])
        sample = Sample(self.vcf, vcf.header, self.sample)
        return lambda record: sample.alleles(record, resolver.alleles(record))

    def worker(self, network: Network) -> Callable[[Batch], pa.Table]:
        """Scores and note of every allele of a batch; NaN where there is none."""
        genome = Genome.open(self.reference)
        substitutions = Substitutions(network, genome, self.scoring)
        pairs = Pairs(network, genome, self.scoring)

        def work(batch: Batch) -> pa.Table:
            edits = [allele.edit for allele in batch.alleles if allele.edit is not None]
            scores = np.empty((len(edits), len(self.columns)), np.float32)
            if self.haplotypes:
                scores[:] = pairs.score(edits, backgrounds(batch, self.distance))
            else:
                easy = np.array([substitutions.can(edit) for edit in edits], np.bool_)
                for way, rows in ((substitutions, easy), (pairs, ~easy)):
                    scores[rows] = way.score([edits[row] for row in np.flatnonzero(rows)])
            genome.let_go()
            return self._table(batch, scores)

        return work

    def _table(self, batch: Batch, scores: np.ndarray) -> pa.Table:
        whole = np.full((len(batch.alleles), len(self.columns)), np.nan, np.float32)
        whole[[allele.edit is not None for allele in batch.alleles]] = scores
        columns = dict(zip(self._names, whole.T, strict=True))
        return pa.table({_NOTE: [allele.note for allele in batch.alleles]} | columns)

    @property
    def _names(self) -> list[str]:
        return [column.name for column in self.columns]

    # ------------------------------------------------------------ the output

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Read the VCF again, and write it with the scores."""
        with open_vcf(self.vcf, on_error=self.on_error) as vcf:
            if self.form == "parquet":
                schema = pa.schema(
                    [*_KEYS, *((name, pa.float32()) for name in self._names), (_NOTE, pa.string())]
                )
                tables = (self._rows(records, part) for records, part in _matched(vcf, parts))
                write_parquet(tables, aside, schema, self._provenance())
                return
            fields = self._fields()
            with vcf_writer(aside, compressed=self.form == "vcf.gz") as write:
                said = "; ".join(f"{key}={value}" for key, value in self._provenance().items())
                notes = [f"HeliconVariants={said}"]
                write(annotated_header(vcf.header, fields, notes, self.undefined))
                for records, part in _matched(vcf, parts):
                    write(b"".join(self._lines(records, part, fields)))

    def _provenance(self) -> dict[str, str]:
        """How the scores were made; the same for every start of one job."""
        options = self.scoring.as_dict()
        options |= {"haplotypes": self.haplotypes, "sample": self.sample}
        said = {"helicon": version("helicon"), "model": self.digest} | options
        said["scores"] = ",".join(options["scores"])
        return {key: str(value) for key, value in said.items() if value is not None}

    def _fields(self) -> list[Info]:
        """INFO fields of the scores, then that of the note."""
        found: dict[str, Info] = {}
        for column in self.columns:
            name = info_name("HELICON", column.score.upper(), *[column.label] * bool(column.label))
            while name in found:  # labels that differ in characters that a field may not have
                name += "_"
            found[name] = Info(name, "A", "Float", column.says)
        reasons = "; ".join(f"{note}: {meaning}" for note, meaning in NOTES.items())
        return [*found.values(), Info("HELICON_NOTE", ".", "String", f"for each ALT. {reasons}")]

    def _lines(
        self, records: Sequence[Record], part: pa.Table, fields: Sequence[Info]
    ) -> Iterator[bytes]:
        """Annotated lines of the records of one part."""
        names = [field.id.encode() for field in fields]
        ours, at = frozenset(names), 0
        columns = [_texts(part[name]) for name in self._names]
        columns.append([note.encode() or b"." for note in part[_NOTE].to_pylist()])
        for record in records:
            end = at + len(record.alts)
            values = []
            for name, column in zip(names, columns, strict=True):
                own = column[at:end]
                if own.count(b".") < len(own):
                    values.append((name, b",".join(own)))
            yield annotate(record.text, values, ours) + b"\n"
            at = end

    def _rows(self, records: Sequence[Record], part: pa.Table) -> pa.Table:
        """A row an allele, with its keys."""
        rows = [(r.chrom, r.position, r.name, r.ref, alt) for r in records for alt in r.alts]
        keys = {
            name: pa.array([row[i] for row in rows], type_) for i, (name, type_) in enumerate(_KEYS)
        }
        scores = {name: part[name] for name in self._names}
        return pa.table(keys | scores | {_NOTE: part[_NOTE]})


def _texts(column: pa.ChunkedArray) -> list[bytes]:
    """Numbers in six digits, `.` for NaN."""
    return [b"%.6g" % value if value == value else b"." for value in column.to_pylist()]


def _matched(vcf: Vcf, parts: Iterator[pa.Table]) -> Iterator[tuple[list[Record], pa.Table]]:
    """Each part with its records."""
    records = iter(vcf)
    for part in parts:
        some, alleles = [], 0
        while alleles < len(part):
            some.append(next(records))
            alleles += len(some[-1].alts)
        yield some, part
