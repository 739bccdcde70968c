"""What the operations of a chain work on: where sequences lie, places of letters, and a draft.

A move says for every place of its result from which place of its input the letter comes. A chain
asks its moves in turn, the last first, and so knows where every letter of the result came from
before any was read; nothing but places is computed on the way. The letters are then read once, and
the changes (noise, masks, mutations) made to them in order, each with the random numbers of the
places where the letters were when it was that operation's turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from helicon.alphabet import Alphabet
from helicon.objectives.augmentations.arrays import (
    NumberType,
    Whole,
    cast,
    negative,
    select,
    tensor,
)
from helicon.objectives.augmentations.letters import Bits, Letters, Turned, complement
from helicon.objectives.augmentations.random import below, hashed, lesser

#: Columns of the input, (B, L) or (1, L); see `Site.places`.
Places = Whole

#: Target of a position that is not to be predicted, while a view is made.
NO_TARGET = 100


@dataclass(frozen=True, eq=False)
class Extent:
    """Where the sequences lie in their rows.

    Attributes:
        first: column of the first letter, (B, 1), or 0 where there is no padding.
        end: column behind the last one, likewise.
        width: columns of a row.
        real: -1 at letters and 0 at padding, (B, L); `None` where there is no padding.
        kind: type of places, int16 where that is wide enough.
        device: where places are computed; `None`: on the host, in arrays.
    """

    first: Whole
    end: Whole
    width: int
    real: Places | None
    kind: NumberType
    device: torch.device | None

    def stretch(self, numbers: Whole, shortest: int, longest: int) -> tuple[Whole, Whole]:
        """Draw a stretch of each sequence, by its first two numbers: first column and length."""
        size = self.end - self.first
        length = lesser(below(numbers[:, :1], longest - shortest + 1) + shortest, size)
        return below(numbers[:, 1:2], size - length + 1) + self.first, length

    def place(self, numbers: Whole) -> Whole:
        """`batch` of numbers of each sequence; one for all stays what it is."""
        return numbers if isinstance(numbers, int) else self.batch(cast(numbers, self.kind))

    def batch(self, numbers: Whole) -> Whole:
        """Numbers (B, n) of the host or of the device, where places are computed."""
        if self.device is not None and isinstance(numbers, np.ndarray):
            return torch.from_numpy(numbers).to(self.device)
        return numbers


@dataclass(eq=False)
class Site:
    """The point in a chain at which an operation works.

    Attributes:
        places: of every position of the chain's result, the column that its letter has in the
            result of this operation. Padding is where it was. `extent.width` or more: the letter
            is a new one, of a later operation.
        numbers: the operation's random numbers, (B, n).
        extent: where the sequences lie.
        grown: whether there are new letters of later operations.
        base: the number that stands for the first of this operation's new letters.
    """

    places: Places
    numbers: Whole
    extent: Extent
    grown: bool = False
    base: int = 0

    @cached_property
    def here(self) -> Places | None:
        """-1 where there is a letter that the operation finds, else 0; `None` if everywhere."""
        if not self.grown:
            return self.extent.real
        old = negative(self.places - self.extent.width)
        return old if self.extent.real is None else old & self.extent.real

    @property
    def found(self) -> Bits | None:
        """`here` as a mask for letters."""
        return None if self.here is None else cast(self.here, "int8")

    def moved(self, to: Places) -> Places:
        """New places where there is a letter, and the old ones elsewhere."""
        return to if self.here is None else select(self.here, to, self.places)

    def hashes(self) -> Whole:
        """32 random bits of every letter, the same whichever side padding is on."""
        places = self.places
        if self.extent.real is not None:
            places = places - self.extent.place(self.extent.first)
        return hashed(self.extent.batch(self.numbers[:, :1]), places)


@dataclass(eq=False)
class Draft:
    """A view while it is made, in the order of the chain.

    Attributes:
        letters: what stands at every position, mask symbols too.
        written: -1 where the letter is not that of the input; `None` where that is not asked.
        alphabet: what the letters mean.
        targets: letters to predict, `NO_TARGET` elsewhere; `None` before any masking.
        noise: what is added to the soft rows in the end.
    """

    letters: Letters
    written: Bits | None
    alphabet: Alphabet
    targets: Letters | None = None
    noise: Float[Tensor, "batch length letters"] | None = None

    def turn(self, turned: Turned | None) -> None:
        """Complement what is turned."""
        if turned is None:
            return
        self.letters = complement(self.letters, turned, self.alphabet)
        if self.targets is not None:
            self.targets = complement(self.targets, turned, self.alphabet)

    def write(self, where: Bits, letters: Letters) -> None:
        """Put letters in place of others, and of their noise."""
        self.letters = select(where, letters, self.letters)
        if self.written is not None:
            self.written = self.written | where
        if self.noise is not None:
            self.noise.masked_fill_(tensor(where).bool()[:, :, None], 0)


@dataclass(frozen=True)
class Operation:
    """One augmentation, a pure function of a batch and of some random numbers a sequence."""

    @property
    def numbers(self) -> int:
        """Random numbers that it needs for a sequence."""
        return 1


@dataclass(frozen=True)
class Move(Operation, ABC):
    """An operation that puts letters in other places."""

    @property
    def turns(self) -> bool:
        """Whether it complements what it reverses."""
        return False

    @property
    def new(self) -> int:
        """Most new letters that it brings into a sequence; all numbers but two make them."""
        return 0

    @abstractmethod
    def back(self, site: Site) -> tuple[Places, Turned | None]:
        """Where letters were before, and which were the complement (if any)."""


@dataclass(frozen=True)
class Change(Operation, ABC):
    """An operation that changes letters where they are."""

    @abstractmethod
    def change(self, draft: Draft, site: Site) -> None:
        """Change the draft; `site.places` are those of the operation's own turn."""
