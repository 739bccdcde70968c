"""Sequences with an allele and without it, cut out of a genome, of any lengths and backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Ids
from helicon.data.genome.genome import Genome
from helicon.inference.variants.alleles import Edit

#: Views are cut at multiples of so many letters where there is room, so that many are as long.
_EVEN = 16


@dataclass(frozen=True, eq=False)
class View:
    """A sequence that holds one allele.

    Attributes:
        ids: letters, (L,).
        place: where on the chromosome each stands, (L,); letters that come in count on from where
            they do.
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
        views = (self._one(genome, own, background, applied) for applied in (False, True))
        return Pair(*views)

    def _one(self, genome: Genome, own: Edit, background: Sequence[Edit], applied: bool) -> View:
        replaced = sum(len(edit.ref) for edit in background)
        wide = self.margin if self.window is None else self.window
        assert wide is not None
        start = max(0, own.start - wide - replaced)
        end = min(int(genome.lengths[own.chrom]), own.end + wide + replaced + _EVEN)
        view = _view(genome, start, end, own, background, applied)
        if self.window is not None:
            middle = (view.first + view.last) // 2
            first = self.window_start(middle, len(view), own.start - view.first)
            return view.cut(first, first + self.window)
        first, last = max(0, view.first - wide), view.last + wide
        return view.cut(first, last + (first - last) % _EVEN)


def _view(
    genome: Genome, start: int, end: int, own: Edit, background: Sequence[Edit], applied: bool
) -> View:
    """All of a stretch of a chromosome, with a background and with or without an edit."""
    others = _free(own, background, start, end)
    left = _spliced(genome, own.chrom, start, own.start, [e for e in others if e.end <= own.start])
    right = _spliced(genome, own.chrom, own.end, end, [e for e in others if e.start >= own.end])
    letters = own.alt if applied else own.ref
    middle = _inserted(own.start, letters)
    first = len(left[0])
    ids, place = (np.concatenate(parts) for parts in zip(left, middle, right, strict=True))
    return View(ids, place, first, first + len(letters))


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


def _spliced(genome: Genome, chrom: int, start: int, end: int, edits: Sequence[Edit]) -> tuple:
    """Letters and places of a stretch with edits that do not collide."""
    parts = []
    for edit in edits:
        parts += [_kept(genome, chrom, start, edit.start), _inserted(edit.start, edit.alt)]
        start = edit.end
    parts.append(_kept(genome, chrom, start, end))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _kept(genome: Genome, chrom: int, start: int, end: int) -> tuple:
    return genome.fetch(chrom, start, end), np.arange(start, end)


def _inserted(start: int, letters: bytes) -> tuple:
    return np.frombuffer(letters, np.uint8), start + np.arange(len(letters))
