"""Substitutions in a sequence, as evidence is computed of them: many at once, on one strand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.models.parts.substitutions import Reference

_COMPLEMENT = torch.tensor(DNA.complement_table.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Group:
    """Substitutions of one width, in a sequence.

    Attributes:
        rows: which edits, (n,).
        positions: first letter of each in the sequence, (n,).
        ref: ids replaced, (n, w).
        alt: ids that come in their place, (n, w).
    """

    rows: NDArray[np.int64]
    positions: Tensor
    ref: Tensor
    alt: Tensor

    @property
    def places(self) -> Tensor:
        """The letters substituted, (n, w)."""
        return self.positions[:, None] + torch.arange(
            self.ref.shape[1], device=self.positions.device
        )

    def turned(self, length: int) -> Group:
        """The same on the other strand of a sequence of `length`."""
        table = _COMPLEMENT.to(self.ref.device)
        positions = length - self.positions - self.ref.shape[1]
        return Group(self.rows, positions, table[self.ref].flip(1), table[self.alt].flip(1))


@dataclass(frozen=True, eq=False)
class Side:
    """One strand of a sequence, before substitutions.

    Attributes:
        differences: what gives the features of the network.
        reverse: whether it is the reverse strand.
        ids: letters, (L,).
        phase: which pass of a pseudo-likelihood hides a letter, (L,).
        mask_every: how many such passes there are.
        windowed: whether it is a window, which the network sees as a whole.
    """

    differences: Differences
    reverse: bool
    ids: Tensor
    phase: Tensor
    mask_every: int
    windowed: bool

    @property
    def network(self) -> Network:
        """The network."""
        return self.differences.network

    @cached_property
    def reference(self) -> Reference:
        """The network's pass over the sequence."""
        return self.differences.reference(self.ids)
