"""Pooling of features over sequences of any length: a piece after another, or with substitutions.

What a head pools over a whole sequence at once is in `helicon.models.parts.heads`; this is the same
from what parts of a sequence contribute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from helicon.forward.network import Network
from helicon.machine.precision import wide
from helicon.models.parts.heads import AttentionPool, MaxPool
from helicon.models.parts.substitutions import Changed

#: What is known of a sequence after some of its positions, (..., S), in float64.
State = Tensor


class PoolingInPieces(ABC):
    """A pooling that can also be computed in pieces.

    Args:
        module: the same over whole sequences: features (B, L, D) and a mask to (B, D).
    """

    def __init__(self, module: nn.Module):
        self.module = module

    @abstractmethod
    def each(self, features: Tensor) -> State:
        """What each position of (..., D) contributes by itself, (..., S)."""

    @abstractmethod
    def summed(self, each: State, valid: Tensor | None = None) -> State:
        """What positions (..., n, S) contribute together, (..., S); `valid` ones (..., n) alone."""

    @abstractmethod
    def running(self, each: State) -> State:
        """What the first i positions of (n, S) contribute together, (n + 1, S)."""

    @abstractmethod
    def merged(self, a: State, b: State) -> State:
        """What two sets of positions contribute together; whole arrays of states too (..., S)."""

    @abstractmethod
    def finished(self, state: State) -> Tensor:
        """The pooled features (..., D) of states (..., S)."""

    def state(self, features: Tensor) -> State:
        """What positions (n, D) of a sequence contribute."""
        return self.summed(self.each(features))


class MeanInPieces(PoolingInPieces):
    """Mean: the number of positions, and the sums."""

    def each(self, features: Tensor) -> State:
        """See `PoolingInPieces`."""
        found = wide(features)
        return torch.cat([torch.ones_like(found[..., :1]), found], dim=-1)

    def summed(self, each: State, valid: Tensor | None = None) -> State:
        """See `PoolingInPieces`."""
        return (each if valid is None else each.masked_fill(~valid[..., None], 0)).sum(-2)

    def running(self, each: State) -> State:
        """See `PoolingInPieces`."""
        return torch.cat([torch.zeros_like(each[:1]), each.cumsum(0)])

    def merged(self, a: State, b: State) -> State:
        """See `PoolingInPieces`."""
        return a + b

    def finished(self, state: State) -> Tensor:
        """See `PoolingInPieces`."""
        return state[..., 1:] / state[..., :1]


class MaxInPieces(PoolingInPieces):
    """Largest value of each channel."""

    def each(self, features: Tensor) -> State:
        """See `PoolingInPieces`."""
        return wide(features)

    def summed(self, each: State, valid: Tensor | None = None) -> State:
        """See `PoolingInPieces`."""
        return (each if valid is None else each.masked_fill(~valid[..., None], -torch.inf)).amax(-2)

    def running(self, each: State) -> State:
        """See `PoolingInPieces`."""
        return torch.cat([torch.full_like(each[:1], -torch.inf), each.cummax(0).values])

    def merged(self, a: State, b: State) -> State:
        """See `PoolingInPieces`."""
        return a.maximum(b)

    def finished(self, state: State) -> Tensor:
        """See `PoolingInPieces`."""
        return state


class AttentionInPieces(PoolingInPieces):
    """Mean weighted by the softmax of a learned score.

    The state is the largest score, the sum of the weights relative to it, and the weighted sums.

    Args:
        module: of a model's head.
    """

    module: AttentionPool

    @torch.no_grad()
    def each(self, features: Tensor) -> State:
        """See `PoolingInPieces`."""
        found, score = wide(features), wide(self.module.score(features))
        return torch.cat([score, torch.ones_like(score), found], dim=-1)

    def summed(self, each: State, valid: Tensor | None = None) -> State:
        """See `PoolingInPieces`."""
        if valid is not None:
            outside = ~valid[..., None]
            score = each[..., :1].masked_fill(outside, -torch.inf)
            each = torch.cat([score, each[..., 1:].masked_fill(outside, 0)], dim=-1)
        top = each[..., :1].amax(-2)
        return torch.cat([top, self._weighted(each, top.unsqueeze(-2)).sum(-2)], dim=-1)

    def running(self, each: State) -> State:
        """See `PoolingInPieces`."""
        top = each[..., :1].amax(-2, keepdim=True)
        sums = self._weighted(each, top).cumsum(0)
        sums = torch.cat([torch.zeros_like(sums[:1]), sums])
        return torch.cat([top.expand(len(sums), 1), sums], dim=-1)

    def merged(self, a: State, b: State) -> State:
        """See `PoolingInPieces`."""
        top = a[..., :1].maximum(b[..., :1])
        return torch.cat([top, self._weighted(a, top) + self._weighted(b, top)], dim=-1)

    def finished(self, state: State) -> Tensor:
        """See `PoolingInPieces`."""
        return state[..., 2:] / state[..., 1:2]

    @staticmethod
    def _weighted(states: State, top: Tensor) -> Tensor:
        return (states[..., :1] - top).exp() * states[..., 1:]


def in_pieces(module: nn.Module) -> PoolingInPieces:
    """What a module pools, in pieces."""
    if isinstance(module, AttentionPool):
        return AttentionInPieces(module)
    return MaxInPieces(module) if isinstance(module, MaxPool) else MeanInPieces(module)


@dataclass(frozen=True)
class PooledHead:
    """A sequence head over one sequence, with what its pooling gathers around every position.

    What is pooled over the positions that a substitution affects is put together with what was
    pooled before and behind them once for the reference.

    Attributes:
        head: the sequence head.
        pooling: its pooling.
        before: pooled over the first i positions, (L + 1, S).
        behind: pooled over all from the i-th on, (L + 1, S).
    """

    head: Any
    pooling: PoolingInPieces
    before: State
    behind: State

    @classmethod
    def of(cls, network: Network, features: Tensor) -> PooledHead:
        """Prepare for a sequence with features (L, D)."""
        head = network.model.classifier
        pooling = in_pieces(head.pool)
        each = pooling.each(features)
        return cls(head, pooling, pooling.running(each), pooling.running(each.flip(0)).flip(0))

    @torch.no_grad()
    def logits(self, changed: Changed) -> tuple[Tensor, Tensor]:
        """Logits with each substitution (n, K), and those without any (1, K)."""
        merged, place = self.pooling.merged, self.before.device
        start = changed.start.clamp(0, changed.length).to(place)
        end = (changed.start + changed.features.shape[1]).clamp(0, changed.length).to(place)
        inner = self.pooling.summed(self.pooling.each(changed.features), changed.valid.to(place))
        new = merged(merged(self.before[start], self.behind[end]), inner)
        return self._outputs(new, changed), self._outputs(self.before[-1:], changed)

    def _outputs(self, state: State, changed: Changed) -> Tensor:
        pooled = self.pooling.finished(state).float().to(changed.features.device)
        return self.head.layers(pooled).float()
