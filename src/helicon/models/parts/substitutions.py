"""What substitutions change in the features of a sequence, without recomputing what they do not.

A position's features depend on a window of `receptive_field` letters around it, so a substitution
changes the features of that many positions and no others. `Backbone.substitutions()` gives the
cheapest exact way that an architecture has to compute them:

    substitutions = backbone.substitutions()
    reference = substitutions.reference(ids)                   # once a sequence
    changed = substitutions.of(reference, positions, tokens)   # many at a time

`Cropped`, the way of any architecture, runs the network on a window around each substitution. A
network that knows more follows the change from layer to layer (ConvNova, ByteNet).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

#: Positions whose features are wanted: all that a substitution affects, or the substituted ones.
Where = Literal["affected", "substituted"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A sequence, and what is known of it before anything is substituted.

    Attributes:
        ids: token ids (L,), int64. The sequence is whole: beyond its ends the network sees nothing.
        compute: gives `features`; called once, when they are first wanted.
        layers: what the architecture keeps of its pass, for itself.
    """

    ids: Integer[Tensor, " length"]
    compute: Callable[[], Float[Tensor, "length channels"]]
    layers: Any = None

    @functools.cached_property
    def features(self) -> Float[Tensor, "length channels"]:
        """The backbone's output (L, D)."""
        return self.compute()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Changed:
    """Features of changed sequences, at S positions in succession.

    Attributes:
        start: 0-based position (n,) of each row's first column. May lie before the sequence.
        features: (n, S, D). Outside of the sequence they have no meaning.
        length: L, of the sequence.
    """

    start: Integer[Tensor, " n"]
    features: Float[Tensor, "n span channels"]
    length: int

    @property
    def places(self) -> Integer[Tensor, "n span"]:
        """0-based position of every column."""
        return self.start[:, None] + torch.arange(self.features.shape[1], device=self.start.device)

    @property
    def valid(self) -> Bool[Tensor, "n span"]:
        """Whether a column's position is inside of the sequence."""
        places = self.places
        return (places >= 0) & (places < self.length)


class Substitutions(ABC):
    """How substitutions change the features of one network, whose weights must stay as they are.

    To be used without gradients, with the network in evaluation mode.
    """

    @abstractmethod
    def reference(self, ids: Integer[Tensor, " length"]) -> Reference:
        """A whole sequence of token ids (L,), to be substituted in."""

    @abstractmethod
    def of(
        self,
        reference: Reference,
        positions: Integer[Tensor, " n"],
        tokens: Integer[Tensor, "n width"],
        where: Where = "affected",
    ) -> Changed:
        """Features of the sequence with one stretch substituted, for each of n substitutions.

        Args:
            reference: what `reference` gave.
            positions: 0-based first substituted position (n,); the stretch lies inside.
            tokens: ids (n, w) that replace those at `positions` to `positions + w - 1`.
            where: whether the features of all affected positions are wanted, or of the w
                substituted positions alone.

        Returns:
            With `affected` S is the receptive field R + w - 1 and `start` is position - R // 2
            (for a network that sees everything S is L and `start` 0); with `substituted` S is w and
            `start` the position.
        """

    @abstractmethod
    def bytes_each(self, length: int, width: int, where: Where) -> int:
        """Memory that `of` takes for one substitution more, about, in a sequence of `length`."""


class Cropped(Substitutions):
    """The way of any architecture: run it on a window around every substitution.

    The window reaches as far on both sides as the affected positions see; where it would leave the
    sequence it is moved, so that the ends that the network sees are the true ones. A network
    without a finite receptive field is run on the whole sequence.

    Args:
        network: maps ids (B, L) to features (B, L, D).
        receptive_field: see `Backbone`.
        align: windows start at multiples of this.
        channels: of the widest activations, to estimate memory.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        receptive_field: int | None,
        *,
        align: int = 1,
        channels: int,
    ):
        self.network = network
        self.receptive_field = receptive_field
        self.align = align
        self.channels = channels

    def reference(self, ids: Integer[Tensor, " length"]) -> Reference:
        """See `Substitutions`."""
        ids = ids.long()
        return Reference(ids, lambda: self.network(ids[None])[0])

    def of(
        self,
        reference: Reference,
        positions: Integer[Tensor, " n"],
        tokens: Integer[Tensor, "n width"],
        where: Where = "affected",
    ) -> Changed:
        """See `Substitutions`."""
        length, width = len(reference), tokens.shape[1]
        first, size = self._windows(positions, width, length, where)
        span = torch.arange(size, device=positions.device)
        windows = reference.ids[first[:, None] + span]
        inside = (positions - first)[:, None] + span[:width]
        windows = windows.scatter(1, inside, tokens.long())
        features = self.network(windows)
        start, wanted = self._wanted(positions, width, length, where)
        columns = (start - first)[:, None] + torch.arange(wanted, device=positions.device)
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        return Changed(start, features[rows, columns.clamp(0, size - 1)], length)

    def bytes_each(self, length: int, width: int, where: Where) -> int:
        """See `Substitutions`."""
        return 24 * self.channels * self._size(width, length, where)

    def _wanted(
        self, positions: Tensor, width: int, length: int, where: Where
    ) -> tuple[Tensor, int]:
        """First wanted position of each substitution, and how many."""
        if where == "substituted":
            return positions, width
        if self.receptive_field is None:
            return torch.zeros_like(positions), length
        return positions - self.receptive_field // 2, self.receptive_field + width - 1

    def _size(self, width: int, length: int, where: Where) -> int:
        if self.receptive_field is None:
            return length
        halos = 2 if where == "substituted" else 4
        size = width + halos * (self.receptive_field // 2) + self.align - 1
        size += (length - size) % self.align  # so that the last window starts at a multiple too
        return min(length, size)

    def _windows(
        self, positions: Tensor, width: int, length: int, where: Where
    ) -> tuple[Tensor, int]:
        """First position (n,) of the windows, and their one size."""
        size = self._size(width, length, where)
        if self.receptive_field is None or size == length:
            return torch.zeros_like(positions), length
        reach = self.receptive_field // 2 * (1 if where == "substituted" else 2)
        first = (positions - reach).clamp(0, length - size)
        return first - first % self.align, size
