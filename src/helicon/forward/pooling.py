"""Pooling of features over sequences of any length: all at once, or a piece after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.models.parts.heads import AttentionPool, MaxPool, MeanPool

Pool = Literal["mean", "max", "attention"]
#: What is known of a sequence after some of its positions, float64.
State = NDArray[np.float64]


class Pooling(ABC):
    """A pooling that can also be computed in pieces.

    Attributes:
        module: the same over whole sequences: features (B, L, D) and a mask to (B, D).
    """

    module: nn.Module

    @abstractmethod
    def state(self, features: Tensor) -> State:
        """What positions (n, D) of a sequence contribute."""

    @abstractmethod
    def merged(self, a: State, b: State) -> State:
        """What two sets of positions contribute together; whole arrays of states too (..., S)."""

    @abstractmethod
    def finished(self, state: State) -> NDArray[np.float32]:
        """The pooled features (..., D) of states (..., S)."""


class MeanOf(Pooling):
    """Mean: the number of positions, and the sums."""

    def __init__(self) -> None:
        self.module = MeanPool()

    def state(self, features: Tensor) -> State:
        """See `Pooling`."""
        return np.concatenate([[len(features)], _summed(features)])

    def merged(self, a: State, b: State) -> State:
        """See `Pooling`."""
        return a + b

    def finished(self, state: State) -> NDArray[np.float32]:
        """See `Pooling`."""
        return (state[..., 1:] / state[..., :1]).astype(np.float32)


class MaxOf(Pooling):
    """Largest value of each channel."""

    def __init__(self) -> None:
        self.module = MaxPool()

    def state(self, features: Tensor) -> State:
        """See `Pooling`."""
        return features.amax(0).cpu().numpy().astype(np.float64)

    def merged(self, a: State, b: State) -> State:
        """See `Pooling`."""
        return np.maximum(a, b)

    def finished(self, state: State) -> NDArray[np.float32]:
        """See `Pooling`."""
        return state.astype(np.float32)


class AttentionOf(Pooling):
    """Mean weighted by the softmax of a learned score.

    The state is the largest score, the sum of the weights relative to it, and the weighted sums.

    Args:
        module: of a model's head.
    """

    def __init__(self, module: AttentionPool):
        self.module = module

    def state(self, features: Tensor) -> State:
        """See `Pooling`."""
        with torch.no_grad():
            scores = self.module.score(features).float()  # type: ignore[operator]
        top = scores.max()
        weights = (scores - top).exp()
        sums = _summed(weights * features)
        return np.concatenate([[float(top), float(weights.double().sum())], sums])

    def merged(self, a: State, b: State) -> State:
        """See `Pooling`."""
        top = np.maximum(a[..., :1], b[..., :1])
        both = a[..., 1:] * np.exp(a[..., :1] - top) + b[..., 1:] * np.exp(b[..., :1] - top)
        return np.concatenate([top, both], axis=-1)

    def finished(self, state: State) -> NDArray[np.float32]:
        """See `Pooling`."""
        return (state[..., 2:] / state[..., 1:2]).astype(np.float32)


def _summed(values: Tensor) -> State:
    """Sums (D,) over positions (n, D), in float64 where the device has it."""
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    return values.sum(0, dtype=wide).cpu().numpy().astype(np.float64)


def pooling_of(module: nn.Module) -> Pooling:
    """The pooling that a module computes."""
    if isinstance(module, AttentionPool):
        return AttentionOf(module)
    return MeanOf() if isinstance(module, MeanPool) else MaxOf()


def pooling_named(pool: Pool, head: nn.Module | None) -> Pooling:
    """The pooling of a name; `attention` is that of a sequence head."""
    if pool != "attention":
        return MeanOf() if pool == "mean" else MaxOf()
    assert head is not None
    return pooling_of(head)
