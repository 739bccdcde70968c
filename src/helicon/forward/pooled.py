"""Outputs of a sequence head after substitutions, from the features of affected positions alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helicon.forward.network import Network
from helicon.models.parts.heads import AttentionPool, MaxPool
from helicon.models.parts.substitutions import Changed


@dataclass(frozen=True)
class Pooled:
    """A sequence head over one sequence, with what its pooling gathers before every position.

    What is pooled over the affected positions is put together with what was pooled before and
    behind them once for the reference: sums for a mean, weighted ones for attention, maxima.

    Attributes:
        head: the sequence head.
        before: pooled over the first i positions, (L + 1, ...).
        behind: pooled over all from the i-th on, (L + 1, ...).
        shift: attention: the largest score, which is taken off all before their exponentials.
    """

    head: Any
    before: Tensor
    behind: Tensor
    shift: float = 0.0

    @classmethod
    def of(cls, network: Network, features: Tensor) -> Pooled:
        """Prepare for a sequence with features (L, D)."""
        head = network.model.classifier
        if isinstance(head.pool, MaxPool):
            lowest = features.new_full((1, features.shape[1]), -torch.inf)
            before = torch.cat([lowest, features.cummax(0).values])
            behind = torch.cat([features.flip(0).cummax(0).values.flip(0), lowest])
            return cls(head, before, behind)
        shift = 0.0
        if isinstance(head.pool, AttentionPool):
            with torch.no_grad():
                shift = float(head.pool.score(features).max())
        terms = _terms(head, features, shift)
        nothing = torch.zeros_like(terms[:1])
        before = torch.cat([nothing, terms.cumsum(0)])
        behind = torch.cat([terms.flip(0).cumsum(0).flip(0), nothing])
        return cls(head, before, behind, shift)

    @torch.no_grad()
    def logits(self, changed: Changed) -> tuple[Tensor, Tensor]:
        """Logits with each substitution (n, K), and those without any (1, K)."""
        start = changed.start.clamp(0, changed.length)
        end = (changed.start + changed.features.shape[1]).clamp(0, changed.length)
        before, behind = self.before[start], self.behind[end]
        outside = ~changed.valid[..., None]
        if isinstance(self.head.pool, MaxPool):
            inner = changed.features.masked_fill(outside, -torch.inf).amax(1)
            new, old = before.maximum(behind).maximum(inner), self.before[-1:]
        else:
            inner = _terms(self.head, changed.features, self.shift).masked_fill(outside, 0).sum(1)
            new, old = (_mean(total) for total in (before + behind + inner, self.before[-1:]))
        return self.head.layers(new.float()).float(), self.head.layers(old.float()).float()


@torch.no_grad()
def _terms(head: Any, features: Tensor, shift: float) -> Tensor:
    """What each position adds to the pooled sums, (..., D + 1) in float64; its weight is last."""
    wide = features.double()
    if isinstance(head.pool, AttentionPool):
        weight = (head.pool.score(features).double() - shift).exp()
    else:
        weight = torch.ones_like(wide[..., :1])
    return torch.cat([wide * weight, weight], dim=-1)


def _mean(total: Tensor) -> Tensor:
    return total[..., :-1] / total[..., -1:]
