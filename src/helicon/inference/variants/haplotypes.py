"""The haplotypes of a sample: which alleles it carries, and which of them stand side by side."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from helicon.data.variants.vcf import Header, Record
from helicon.errors import InputError
from helicon.inference.variants.alleles import LONGEST, Allele, Edit

_FORMAT = 8
_SEPARATOR = re.compile(rb"[|/]")


class Carried(NamedTuple):
    """An edit and the haplotypes of the sample that carry it."""

    edit: Edit
    haplotypes: tuple[int, ...]


class Batch(NamedTuple):
    """Records that are scored together.

    Attributes:
        alleles: the alleles of all records, in order.
        carried: for each allele the haplotypes that carry it; empty if no sample is looked at.
        context: what the sample carries there and near by, in order.
        records: how many.
    """

    alleles: list[Allele]
    carried: list[tuple[int, ...]]
    context: list[Carried]
    records: int


class Sample:
    """A sample of a VCF.

    Args:
        path: the VCF, for messages.
        header: its header.
        name: the sample; may be left out where there is only one.

    Raises:
        InputError: there is no such sample, or none is named and there are several.
    """

    def __init__(self, path: object, header: Header, name: str | None):
        samples = header.samples
        known = ", ".join(samples[:4]) + ", ..." * (len(samples) > 4)
        if not samples:
            raise InputError(f"{path}: has no samples, hence no haplotypes; leave haplotypes out")
        if name is None and len(samples) > 1:
            raise InputError(f"sample: {path} has several ({known}); choose one")
        if name is not None and name not in samples:
            raise InputError(f"sample: {path} has none named {name!r}; it has {known}")
        self.column = _FORMAT + 1 + (0 if name is None else samples.index(name))

    def carriers(self, record: Record) -> list[tuple[int, ...] | None]:
        """For each alternative allele the haplotypes that carry it; `None` if that is not known.

        Genotypes with `|`, those of one allele, and those of equal alleles say it.
        """
        columns = record.text.split(b"\t", self.column + 1)
        if columns[_FORMAT].split(b":")[0] != b"GT":
            return [()] * len(record.alts)
        genotype = columns[self.column].split(b":")[0]
        alleles = _SEPARATOR.split(genotype)
        certain = b"/" not in genotype or len(set(alleles)) == 1
        found: list[tuple[int, ...] | None] = []
        for number in range(1, len(record.alts) + 1):
            where = tuple(h for h, a in enumerate(alleles) if a == b"%d" % number)
            found.append(where if certain or not where else None)
        return found

    def alleles(
        self, record: Record, alleles: Sequence[Allele]
    ) -> tuple[list[Allele], list[tuple[int, ...]]]:
        """The alleles of a record without those that are not scored, and who carries each."""
        kept, carried = [], []
        for allele, where in zip(alleles, self.carriers(record), strict=True):
            if allele.edit is None or where:
                kept.append(allele)
            else:
                kept.append(Allele("unphased" if where is None else "not_carried"))
            carried.append(where or ())
        return kept, carried


def with_context(batches: Iterable[Batch], distance: int) -> Iterator[Batch]:
    """Give each batch what the sample carries near its edits, in the batches around it.

    Batches follow each other along the chromosomes. Those that wait are held until one is too far
    away to matter.

    Args:
        batches: without context.
        distance: bases between edits that may see each other.
    """
    held: deque[Batch] = deque()
    near: list[Carried] = []
    for batch in batches:
        held.append(batch)
        near += _carried(batch)
        while len(held) > 1 and _beyond(held[0], _carried(batch)[-1:], distance):
            yield _finished(held.popleft(), near, distance)
            near = _still_near(held, near, distance)
    for batch in held:
        yield _finished(batch, near, distance)


def backgrounds(batch: Batch, distance: int) -> list[list[list[Edit]]]:
    """For each edit of a batch, the other edits of each haplotype that carries it."""
    haplotypes = {h for carried in batch.context for h in carried.haplotypes}
    own = {h: [c.edit for c in batch.context if h in c.haplotypes] for h in haplotypes}
    widest = max((len(carried.edit.ref) for carried in batch.context), default=0)
    found = []
    for allele, carried in zip(batch.alleles, batch.carried, strict=True):
        if (edit := allele.edit) is not None:
            least = (edit.chrom, edit.start - distance - widest)
            most = (edit.chrom, edit.end + distance + 1)
            near = (own[h][bisect_left(own[h], least) : bisect_left(own[h], most)] for h in carried)
            found.append([[c for c in one if c.end >= edit.start - distance] for one in near])
    return found


def _carried(batch: Batch) -> list[Carried]:
    pairs = zip(batch.alleles, batch.carried, strict=True)
    return [Carried(allele.edit, where) for allele, where in pairs if allele.edit is not None]


def _beyond(batch: Batch, last: Sequence[Carried], distance: int) -> bool:
    """Whether what follows `last` is too far from a batch to matter."""
    own = _carried(batch)
    if not own:
        return True
    if not last:
        return False
    end = max(carried.edit.end for carried in own if carried.edit.chrom == own[-1].edit.chrom)
    edit = last[0].edit
    # Records are in order of POS, behind which an edit may begin as far as an allele is long.
    return edit.chrom != own[-1].edit.chrom or edit.start > end + distance + LONGEST


def _still_near(held: Iterable[Batch], near: Sequence[Carried], distance: int) -> list[Carried]:
    """What may matter to the first batch that waits, and to those after it."""
    first = next((own[0].edit for batch in held if (own := _carried(batch))), None)
    if first is None:
        return []
    passed = next((i for i, c in enumerate(near) if c.edit == first), 0)
    least = first.start - distance - LONGEST
    before = (c for c in near[:passed] if c.edit.chrom == first.chrom and c.edit.end >= least)
    return [*before, *near[passed:]]


def _finished(batch: Batch, near: Sequence[Carried], distance: int) -> Batch:
    reach: dict[int, tuple[int, int]] = {}
    for edit, _ in _carried(batch):
        low, high = reach.get(edit.chrom, (edit.start, edit.end))
        reach[edit.chrom] = min(low, edit.start), max(high, edit.end)
    context = [
        carried for carried in near
        if carried.edit.chrom in reach
        and carried.edit.end >= reach[carried.edit.chrom][0] - distance
        and carried.edit.start <= reach[carried.edit.chrom][1] + distance
    ]  # fmt: skip
    return batch._replace(context=sorted(context, key=lambda c: (*c.edit[:2], c.edit.end)))
