"""The augmentations: moves of letters to other places, and changes of letters where they are."""

from __future__ import annotations

from dataclasses import dataclass

from helicon.errors import InputError
from helicon.objectives.augmentations.arrays import cast, negative, select, under
from helicon.objectives.augmentations.letters import Turned, certain, other_residues, residues
from helicon.objectives.augmentations.random import LETTERS_A_NUMBER, below, gaussian, level, lowest
from helicon.objectives.augmentations.stage import NO_TARGET, Change, Draft, Move, Places, Site


@dataclass(frozen=True)
class _Stretched(Move):
    """A move with a length drawn evenly from `shortest` to `longest`, or the whole sequence."""

    shortest: int = 0
    longest: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.shortest <= self.longest:
            name = type(self).__name__
            raise InputError(
                f"{name}: a length from {self.shortest} to {self.longest} cannot be drawn; "
                "give 0 <= shortest <= longest"
            )


@dataclass(frozen=True)
class Translocation(_Stretched):
    """Shift a sequence in a circle over its own length, to either side alike.

    It is as if the sequence were cut in two parts that change places. A shift longer than the
    sequence goes around more than once.

    Attributes:
        shortest: least shift, in letters.
        longest: greatest shift. EvoAug (Lee et al. 2023) has 20, as the published FinDNA code.
    """

    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """See `Move`."""
        extent = site.extent
        size = extent.end - extent.first
        length = below(site.numbers, self.longest - self.shortest + 1) + self.shortest
        right = (site.numbers & 2) - 1  # a low bit decides between 1 and -1
        # A sequence without letters is taken to have one, which moves nothing.
        shift = length * right % (size | (size == 0))
        to = site.places - extent.place(shift)
        wrapped = negative(to if extent.real is None else to - extent.place(extent.first))
        wrapped &= extent.place(size)
        to += wrapped
        return site.moved(to), None


@dataclass(frozen=True)
class _Growing(_Stretched):
    """A move that brings new letters."""

    @property
    def numbers(self) -> int:
        """Two for the stretch, and what its letters need."""
        return 2 - (-self.longest // LETTERS_A_NUMBER)

    @property
    def new(self) -> int:
        """See `Move`."""
        return self.longest


@dataclass(frozen=True)
class Deletion(_Growing):
    """Take a stretch out; the end is filled with random letters.

    Attributes:
        shortest: least letters to take out.
        longest: most letters to take out. EvoAug has 20.
    """

    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """See `Move`."""
        extent, end = site.extent, site.extent.place(site.extent.end)
        start, length = extent.stretch(site.numbers, self.shortest, self.longest)
        to = negative(extent.place(start - 1) - site.places)
        to &= extent.place(length)
        to += site.places
        over = negative(end - 1 - to)
        over &= site.base - end
        to += over
        return site.moved(to), None


@dataclass(frozen=True)
class Insertion(_Growing):
    """Put a stretch of random letters in; what is pushed over the end is lost.

    Attributes:
        shortest: least letters to put in.
        longest: most letters to put in. EvoAug has 20.
    """

    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """See `Move`."""
        extent = site.extent
        start, length = extent.stretch(site.numbers, self.shortest, self.longest)
        before = extent.place(start - 1) - site.places
        to = negative(before)
        to &= extent.place(site.base - start)
        behind = negative(before + extent.place(length))
        behind &= extent.place(site.base - start + length)
        to -= behind
        to += site.places
        return site.moved(to), None


@dataclass(frozen=True)
class Inversion(_Stretched):
    """Replace a stretch by its reverse complement.

    Attributes:
        shortest: least letters of the stretch.
        longest: most letters of the stretch. EvoAug has 20.
    """

    @property
    def numbers(self) -> int:
        """Two for the stretch."""
        return 2

    @property
    def turns(self) -> bool:
        """See `Move`."""
        return True

    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """See `Move`."""
        extent, places = site.extent, site.places
        start, length = extent.stretch(site.numbers, self.shortest, self.longest)
        before = extent.place(start - 1) - places
        turned = negative(before)
        turned ^= negative(before + extent.place(length))
        to = extent.place(2 * start + length - 1) - 2 * places
        to &= turned
        to += places
        return to, turned


@dataclass(frozen=True)
class ReverseComplement(Move):
    """Read the other strand, with a probability for each sequence.

    Attributes:
        probability: of a sequence. EvoAug has 0.5, as the published FinDNA code.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_shares("ReverseComplement", self.probability)

    @property
    def turns(self) -> bool:
        """See `Move`."""
        return True

    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """See `Move`."""
        extent = site.extent
        high = site.numbers >> 32
        turned = extent.place(negative(high - round(self.probability * 2**31)))
        to = (extent.place(extent.end + extent.first - 1) - 2 * site.places) & turned
        to += site.places
        return site.moved(to), turned if site.here is None else turned & site.here


@dataclass(frozen=True)
class PointMutation(Change):
    """Replace certain letters by others, each on its own with the same probability.

    Attributes:
        rate: probability of a letter. EvoAug has 0.05.
    """

    rate: float = 0.05

    def __post_init__(self) -> None:
        check_shares("PointMutation", self.rate)

    def change(self, draft: Draft, site: Site) -> None:
        """See `Change`."""
        bits = site.hashes()
        mutated = lowest(level(bits), self.rate) & certain(draft.letters, draft.alphabet)
        if site.found is not None:
            mutated &= site.found
        draft.write(mutated, other_residues(draft.letters, bits, draft.alphabet))


@dataclass(frozen=True)
class GaussianNoise(Change):
    """Add independent Gaussian noise to every column of the soft rows of the letters.

    Attributes:
        deviation: standard deviation. EvoAug has 0.2, and so we read the N(0, 0.2) of FinDNA.
    """

    deviation: float = 0.2

    def __post_init__(self) -> None:
        if self.deviation < 0:
            raise InputError(f"GaussianNoise: deviation must not be negative: {self.deviation}")

    def change(self, draft: Draft, site: Site) -> None:
        """See `Change`."""
        bits = site.hashes()
        if site.here is not None:
            bits |= ~cast(site.here, "int32")
        noise = gaussian(bits, draft.alphabet.size, self.deviation)
        draft.noise = noise if draft.noise is None else draft.noise + noise


@dataclass(frozen=True)
class RandomMasking(Change):
    """Hide certain letters, each on its own with the same probability; they become targets.

    Attributes:
        rate: probability of a letter. FinDNA has 0.3.
        swapped: share of the targets that become a certain letter drawn evenly, which may be the
            same (FinDNA: a tenth; its code draws N too).
        kept: share of the targets that stay what they are (FinDNA: a tenth). The others become the
            mask symbol, in DNA a row of zeros.
    """

    rate: float = 0.3
    swapped: float = 0.1
    kept: float = 0.1

    def __post_init__(self) -> None:
        parts = (self.swapped, self.kept)
        check_shares("RandomMasking", self.rate, *parts, sum(parts))

    def change(self, draft: Draft, site: Site) -> None:
        """See `Change`."""
        bits, letters = site.hashes(), draft.letters
        levels = level(bits)
        chosen = lowest(levels, self.rate) & certain(letters, draft.alphabet)
        if site.found is not None:
            chosen &= site.found
        if draft.targets is not None:
            chosen &= ~under(draft.targets, NO_TARGET)
        draft.targets = select(
            chosen, letters, NO_TARGET if draft.targets is None else draft.targets
        )
        # One number decides all: of the chosen the lowest are swapped, the highest kept.
        swapped = lowest(levels, self.rate * self.swapped) & chosen
        hidden = lowest(levels, self.rate * (1 - self.kept)) & chosen
        new = select(swapped, residues(bits, draft.alphabet), draft.alphabet.mask_id)
        draft.write(hidden, new)


def check_shares(name: str, *shares: float) -> None:
    """Check probabilities.

    Raises:
        InputError: one is none.
    """
    if wrong := [share for share in shares if not 0 <= share <= 1]:
        raise InputError(f"{name}: shares and probabilities are from 0 to 1, not {wrong[0]}")
