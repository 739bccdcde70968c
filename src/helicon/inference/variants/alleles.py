"""Alleles of VCF records as edits of a genome, or the reason why they are none."""

from __future__ import annotations

from typing import Literal, NamedTuple

from helicon.alphabet import DNA, SOFT_BIT
from helicon.data.genome.genome import Genome
from helicon.data.variants.vcf import OnError, Record, classify, trim
from helicon.errors import InputError

OnMismatch = Literal["fail", "skip", "swap"]

#: Why an allele has no score, or what is to be known of the score.
NOTES = {
    "no_alternative": "there is no alternative allele",
    "symbolic": "the allele's bases are not given",
    "breakend": "a breakend joins two places",
    "overlapped": "a deletion of another record covers the position",
    "same_as_reference": "the allele equals REF",
    "unknown_base": "REF, ALT or the genome has N among the bases that differ",
    "too_long": "more bases come or go than are scored",
    "unknown_chromosome": "the genome has no such chromosome",
    "beyond_chromosome": "REF lies beyond the ends of the chromosome",
    "reference_mismatch": "REF differs from the genome",
    "swapped": "the genome has ALT: the score is that of REF in its place",
    "not_carried": "the sample does not carry the allele",
    "unphased": "the sample carries it on an unknown haplotype",
}
_OUTSIDE = ("unknown_chromosome", "beyond_chromosome")
_NO_BASES = {
    "missing": "no_alternative",
    "symbolic": "symbolic",
    "breakend": "breakend",
    "overlapped": "overlapped",
}
#: Letters of an allele that are scored at most.
LONGEST = 10_000

_ENCODE = bytes(DNA.encode_table & (0xFF ^ SOFT_BIT))
_LETTER = bytes(i & (0xFF ^ SOFT_BIT) for i in range(256))
_UNKNOWN = DNA.letters.index("N")


class Edit(NamedTuple):
    """A stretch of a chromosome replaced by letters; what both begin or end with is left out.

    Attributes:
        chrom: index of the chromosome.
        start: first letter replaced, 0-based.
        ref: ids of the letters that stand there; empty for an insertion before `start`.
        alt: ids of those that come in their place; empty for a deletion.
    """

    chrom: int
    start: int
    ref: bytes
    alt: bytes

    @property
    def end(self) -> int:
        """Behind the last letter replaced."""
        return self.start + len(self.ref)


class Allele(NamedTuple):
    """An alternative allele of a record.

    Attributes:
        note: a key of `NOTES`, or empty.
        edit: what it does to the genome, if it can be scored.
    """

    note: str
    edit: Edit | None = None


class Resolver:
    """Finds where the records of one VCF lie in a genome, and checks REF.

    Args:
        path: the VCF, for messages.
        genome: the genome.
        on_error: what to do with records that lie on no chromosome or beyond its ends.
        on_mismatch: what to do where REF is not what the genome has: `fail`; `skip`, no score; or
            `swap`, which scores REF as the variant where the genome has ALT, and skips others.
        longest: letters of the longest allele that is scored.
    """

    def __init__(
        self,
        path: object,
        genome: Genome,
        *,
        on_error: OnError = "fail",
        on_mismatch: OnMismatch = "fail",
        longest: int = LONGEST,
    ):
        self.path, self.genome = path, genome
        self.on_error, self.on_mismatch = on_error, on_mismatch
        self.longest = longest
        self._chroms: dict[str, int | None] = {}
        self._offsets = genome.offsets.tolist()
        self._lengths = genome.lengths.tolist()

    def chrom(self, name: str) -> int | None:
        """Index of a chromosome of the VCF in the genome."""
        if name not in self._chroms:
            self._chroms[name] = self.genome.find(name)
        return self._chroms[name]

    def alleles(self, record: Record) -> list[Allele]:
        """The alternative alleles of a record, in order.

        Raises:
            InputError: the record does not fit the genome, and the policy is to fail.
        """
        ref = record.ref.upper()
        chrom, start = self.chrom(record.chrom), record.position - 1
        if chrom is None or start < 0 or start + len(ref) > self._lengths[chrom]:
            return self._outside(record, chrom)
        first = self._offsets[chrom] + start
        here = self.genome.bases[first : first + len(ref)].tobytes().translate(_LETTER)
        known = ref.encode().translate(_ENCODE)
        if here != known and not _compatible(here, known):
            return self._mismatch(record, chrom, start, here)
        return [self._allele(chrom, start, ref, alt.upper(), here) for alt in record.alts]

    def _allele(self, chrom: int, start: int, ref: str, alt: str, here: bytes) -> Allele:
        """An allele of a record whose REF is right; `here` are the genome's letters there."""
        if note := _NO_BASES.get(classify(ref, alt)):
            return Allele(note)
        left, old, new = trim(ref, alt)
        if not old and not new:
            return Allele("same_as_reference")
        if max(len(old), len(new)) > self.longest:
            return Allele("too_long")
        edit = Edit(chrom, start + left, _ids(old), _ids(new))
        stand = here[left : left + len(old)]
        if _UNKNOWN in edit.ref or _UNKNOWN in edit.alt or _UNKNOWN in stand:
            return Allele("unknown_base")
        return Allele("", edit)

    def _outside(self, record: Record, chrom: int | None) -> list[Allele]:
        notes = [_NO_BASES.get(classify(record.ref, alt), "") for alt in record.alts]
        if not all(notes) and self.on_error == "fail":
            raise InputError(f"{self.path}, line {record.line}: {self._where(record, chrom)}")
        return [Allele(note or _OUTSIDE[chrom is not None]) for note in notes]

    def _where(self, record: Record, chrom: int | None) -> str:
        if chrom is None:
            known = ", ".join(self.genome.names[:4])
            known += ", ..." * (len(self.genome.names) > 4)
            return (
                f"{self.genome.path} has no sequence {record.chrom!r}; it has {known}; choose the "
                "genome that the variants were called on, or skip such records"
            )
        return (
            f"{record.chrom}:{record.position} lies beyond the sequence, which has "
            f"{self._lengths[chrom]} bases; is it of this genome? or skip such records"
        )

    def _mismatch(self, record: Record, chrom: int, start: int, here: bytes) -> list[Allele]:
        if self.on_mismatch == "fail":
            raise InputError(
                f"{self.path}, line {record.line}: REF is {_short(record.ref)}, but "
                f"{self.genome.path} has {_short(_text(here))} at {record.chrom}:{record.position}"
                "; is it of this genome? or choose to skip or to swap such records"
            )
        return [self._swapped(record, chrom, start, alt.upper()) for alt in record.alts]

    def _swapped(self, record: Record, chrom: int, start: int, alt: str) -> Allele:
        """An allele of a record whose REF is wrong: REF in place of ALT if the genome has that."""
        if note := _NO_BASES.get(classify(record.ref, alt)):
            return Allele(note)
        first = self._offsets[chrom] + start
        here = self.genome.bases[first : first + len(alt)].tobytes().translate(_LETTER)
        inside = start + len(alt) <= self._lengths[chrom]
        if self.on_mismatch == "skip" or not inside or here != _ids(alt):
            return Allele("reference_mismatch")
        found = self._allele(chrom, start, alt, record.ref.upper(), here)
        return Allele(found.note or "swapped", found.edit)


def _ids(letters: str) -> bytes:
    return letters.encode().translate(_ENCODE)


def _text(ids: bytes) -> str:
    return "".join(DNA.letters[i] for i in ids)


def _short(letters: str) -> str:
    return repr(letters if len(letters) <= 20 else f"{letters[:17]}...")


def _compatible(here: bytes, known: bytes) -> bool:
    """Whether two stretches may be the same: equal but where one has N."""
    return all(a == b or _UNKNOWN in (a, b) for a, b in zip(here, known, strict=True))
