"""Sequences with an allele and without it, cut out of a genome, of any lengths and backgrounds.

One change can be written in several ways: an insertion or deletion in a repeat stands at any of its
units. Before a view is cut, the allele is moved as far to the left as the sequence allows (Tan,
Abecasis and Kang, "Unified representation of genetic variants", 2015), so that equal pairs of
sequences are cut, looked at and scored alike, however they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Ids
from helicon.data.genome.genome import Genome
from helicon.inference.variants.alleles import Edit

#: Letters further left that are looked at first, to see how far an allele can be moved.
_LEFT = 64
#: Views are cut at multiples of so many letters where there is room, so that many are as long.
_EVEN = 16


@dataclass(frozen=True, eq=False)
class View:
    """A sequence that holds one allele.

    Attributes:
        ids: letters, (L,).
        place: where on the chromosome each stands, (L,), counted by letters from the allele's
            ends, whatever else is changed near by; letters of the allele count on from its start.
        first: first letter of the allele.
        last: behind the last letter of the allele.
    """

    ids: Ids
    place: NDArray[np.int64]
    first: int
    last: int

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, start: int, end: int) -> View:
        """A part of it, which holds the allele."""
        part = slice(start, end)
        return View(self.ids[part], self.place[part], self.first - start, self.last - start)


@dataclass(frozen=True, eq=False)
class Pair:
    """The sequences without an edit and with it. Beside the allele both have the same letters.

    Attributes:
        ref: without.
        alt: with.
    """

    ref: View
    alt: View

    @property
    def substitution(self) -> bool:
        """Whether both alleles are of one length."""
        return self.ref.last - self.ref.first == self.alt.last - self.alt.first

    def flanks(self, reach: int | None) -> tuple[int, int]:
        """Letters on the left and on the right of the allele that both hold, at most `reach`."""
        left = min(self.ref.first, self.alt.first)
        right = min(len(self.ref) - self.ref.last, len(self.alt) - self.alt.last)
        return (left, right) if reach is None else (min(left, reach), min(right, reach))


@dataclass(frozen=True)
class Reach:
    """How much of a chromosome a view holds.

    Attributes:
        margin: letters on either side of the allele, of a view that is cut out of what the network
            sees; `None` for a window.
        window: letters of a window, which the network sees as a whole; `None` for a margin.
        step: windows begin at multiples of it, but for those at the end of a chromosome.
    """

    margin: int | None = None
    window: int | None = None
    step: int = 1

    def window_start(self, middle: int, length: int, origin: int = 0) -> int:
        """Where a window begins: centred, or shifted so that it lies in the sequence.

        Args:
            middle: letter that it is centred on.
            length: of the sequence.
            origin: place on the chromosome from which the letters of the sequence count.
        """
        assert self.window is not None
        start = middle - self.window // 2
        start -= (start + origin) % self.step
        return max(0, min(start, length - self.window))

    def pair(self, genome: Genome, own: Edit, background: Sequence[Edit] = ()) -> Pair:
        """The sequences without and with an edit.

        Args:
            genome: the genome.
            own: the edit.
            background: other edits of the same chromosome, applied to both, in order; those in the
                way of `own`, or of one before them, are left out.
        """
        wide = self.margin if self.window is None else self.window
        assert wide is not None
        further = _LEFT
        while True:
            around = _around(genome, own, background, wide + further, wide + _EVEN)
            if around.leftmost >= wide or around.complete:
                break
            further *= 8
        return Pair(self._cut(around.view(own.ref)), self._cut(around.view(own.alt)))

    def _cut(self, view: View) -> View:
        """What is looked at of a view."""
        if self.window is not None:
            middle = (view.first + view.last) // 2
            first = self.window_start(middle, len(view), int(view.place[0]))
            return view.cut(first, first + self.window)
        assert self.margin is not None
        first, last = max(0, view.first - self.margin), view.last + self.margin
        return view.cut(first, last + (first - last) % _EVEN)


@dataclass(frozen=True, eq=False)
class _Around:
    """A stretch of a chromosome with a background, on both sides of an allele.

    Attributes:
        left: letters before the allele, as it is written.
        right: letters behind it.
        own: the allele, as it is written.
        leftmost: letters before it when it is moved as far to the left as it can be.
        complete: whether `left` begins where the chromosome does.
    """

    left: Ids
    right: Ids
    own: Edit
    leftmost: int
    complete: bool

    def view(self, allele: bytes) -> View:
        """All of the stretch with one of the alleles."""
        ids = np.concatenate([self.left, np.frombuffer(allele, np.uint8), self.right])
        last = self.leftmost + len(allele)
        behind = np.arange(len(ids) - last) + self.leftmost + len(self.own.ref)
        place = np.concatenate([np.arange(last), behind]) + self.own.start - len(self.left)
        return View(ids, place, self.leftmost, last)


def _around(
    genome: Genome, own: Edit, background: Sequence[Edit], left: int, right: int
) -> _Around:
    """At least so many letters on the left and right of an edit, if the chromosome has them."""
    replaced = sum(len(edit.ref) for edit in background)
    start = max(0, own.start - left - replaced)
    end = min(int(genome.lengths[own.chrom]), own.end + right + replaced)
    others = _free(own, background, start, end)
    before = [edit for edit in others if edit.end <= own.start]
    behind = [edit for edit in others if edit.start >= own.end]
    letters = _spliced(genome, own.chrom, start, own.start, before)
    leftmost = len(letters) - _moves(letters, own)
    right_letters = _spliced(genome, own.chrom, own.end, end, behind)
    return _Around(letters, right_letters, own, leftmost, start == 0)


def _moves(left: Ids, own: Edit) -> int:
    """How many letters to the left an insertion or deletion can be moved without a difference.

    By one, if the letter before it is its last letter, which then comes first; and so on.
    """
    if own.ref and own.alt:
        return 0
    unit = len(own.ref) + len(own.alt)
    whole = np.concatenate([left, np.frombuffer(own.ref or own.alt, np.uint8)])
    differ = np.flatnonzero(whole[unit:] != whole[: len(left)])
    return len(left) - 1 - int(differ[-1]) if len(differ) else len(left)


def _free(own: Edit, background: Sequence[Edit], start: int, end: int) -> list[Edit]:
    """The edits that lie in a stretch, not in the way of `own`, nor of one before them."""
    free: list[Edit] = []
    for edit in background:
        if not _collide(own, edit) and not (free and _collide(free[-1], edit)):
            free.append(edit)
    return [edit for edit in free if start <= edit.start and edit.end <= end]


def _collide(a: Edit, b: Edit) -> bool:
    """Whether two edits touch the same letters, or both insert at one place."""
    if a.start == a.end == b.start == b.end:
        return True
    return a.start < b.end and b.start < a.end


def _spliced(genome: Genome, chrom: int, start: int, end: int, edits: Sequence[Edit]) -> Ids:
    """Letters of a stretch with edits that do not collide."""
    parts = []
    for edit in edits:
        kept = genome.fetch(chrom, start, edit.start)
        parts += [kept, np.frombuffer(edit.alt, np.uint8)]
        start = edit.end
    return np.concatenate([*parts, genome.fetch(chrom, start, end)])
