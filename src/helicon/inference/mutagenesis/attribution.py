"""Gradients of a model's outputs by its input letters, and the model as other tools take it.

A gradient is a first-order guess of what every substitution does, for the price of one pass and
its way back: `gradient[p, alternative] - gradient[p, reference]`. Integrated gradients
(Sundararajan, Taly and Yan, ICML 2017) average it on the straight way from a baseline to the
sequence; then the attributions of all positions sum to the difference between the two outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import DNA, Ids
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.machine.precision import wide
from helicon.models.parts.backbone import one_hot

BASES = len(DNA.real)
#: Letters that the network reads at once.
LETTERS = 8192

Baseline = Literal["uniform", "blank"]
PerBase = NDArray[np.float32]


@dataclass(frozen=True)
class Quantity:
    """One number that a model gives for a sequence.

    Attributes:
        output: index of a supervised head's label, whose logit or value it is (of a model of
            positions, the sum over positions); `None` for a language model: the sum over positions
            of the log-probability of the base that is there, nothing being hidden.
        kept: positions that are summed over; all if `None`.
    """

    output: int | None = None
    kept: slice | None = None

    def of(self, network: Network, letters: Tensor, ids: Tensor) -> Tensor:
        """Compute it for soft one-hot sequences (B, L, V) near the token ids (L,): (B,)."""
        features = network.model.features(letters)[0]
        if network.head_type == "sequence":
            return network.model.classifier(features)[:, self.output]
        kept = self.kept or slice(None)
        if network.head_type == "token":
            return network.model.classifier(features[:, kept])[..., self.output].sum(1)
        log_p = network.model.lm_head(features[:, kept])[..., :BASES].log_softmax(-1)
        bases = F.one_hot(ids[kept].clamp(max=BASES - 1), BASES).to(log_p.dtype)
        return (log_p * bases * (ids[kept] < BASES)[:, None]).sum((1, 2))


def gradient(network: Network, ids: Ids, quantity: Quantity) -> PerBase:
    """Derivative of a quantity by the one-hot columns A, C, G and T of every position.

    Args:
        network: the network; it computes in float32.
        ids: token ids (L,), taken as a whole sequence.
        quantity: of what.

    Returns:
        (L, 4).
    """
    tokens = network.tokens(ids)
    letters = one_hot(tokens, DNA.size, torch.float32)
    return _gradients(network, letters[None], tokens, quantity)[0].cpu().numpy()


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of one sequence.

    Attributes:
        gradient: mean derivative on the way, by A, C, G and T, (L, 4).
        attributions: what each position adds, (L,); over positions they sum to `change`, up to the
            error of the sum that stands for the integral.
        change: quantity of the sequence less that of the baseline.
    """

    gradient: PerBase
    attributions: PerBase
    change: float


def integrated_gradients(
    network: Network,
    ids: Ids,
    quantity: Quantity,
    *,
    baseline: Baseline = "uniform",
    steps: int = 32,
) -> Integrated:
    """Average the gradient on the straight way from a baseline to a sequence.

    Args:
        network: the network; it computes in float32.
        ids: token ids (L,), taken as a whole sequence.
        quantity: of what.
        baseline: rows of it: a quarter of each base (`uniform`), or nothing (`blank`). Letters
            that are no bases stay as they are.
        steps: points on the way, in the middle of as many equal parts.

    Raises:
        InputError: there is no step.
    """
    if steps < 1:
        raise InputError(f"steps: must be at least 1, not {steps}")
    tokens = network.tokens(ids)
    end = one_hot(tokens, DNA.size, torch.float32)
    start = end.clone()
    start[tokens < BASES] = 0
    if baseline == "uniform":
        start[tokens < BASES, :BASES] = 1 / BASES
    total = wide(torch.zeros(len(end), BASES, device=end.device))
    for part in ((torch.arange(steps) + 0.5) / steps).split(max(1, LETTERS // max(1, len(end)))):
        way = start + part.to(end)[:, None, None] * (end - start)
        total += wide(_gradients(network, way, tokens, quantity)).sum(0)
    mean = (total / steps).float().to(end.device)
    with torch.no_grad():
        first, last = wide(quantity.of(network, torch.stack([start, end]), tokens))
    attributions = ((end - start)[:, :BASES] * mean).sum(1)
    return Integrated(mean.cpu().numpy(), attributions.cpu().numpy(), float(last - first))


def _gradients(network: Network, letters: Tensor, ids: Tensor, quantity: Quantity) -> Tensor:
    """Derivatives (B, L, 4) at soft one-hot sequences (B, L, V)."""
    with torch.enable_grad():
        letters = letters.detach().requires_grad_()
        total = quantity.of(network, letters, ids).sum()
        return torch.autograd.grad(total, letters)[0][..., :BASES]


class ChannelsFirst(nn.Module):
    """A model as tools of the field take it: one-hot channels first in, one row a sequence out.

    Rows of zeros (as such tools write `N`) are read as unknown to the model: blank.

    Args:
        network: the network.
        output: a label whose output alone is given.

    Raises:
        InputError: the model has no such label, or no head.
    """

    def __init__(self, network: Network, output: str | None = None):
        super().__init__()
        if network.head_type == "bare":
            raise InputError("this model has no head; fine-tune it first")
        if output is not None and (network.head_type == "language" or output not in network.labels):
            known = "none" if network.head_type == "language" else ", ".join(network.labels)
            raise InputError(f"output: {output!r} is none of this model's labels: {known}")
        self.kind = network.head_type
        self.model: Any = network.model
        whole = slice(None)
        self.columns = whole if output is None else [network.labels.index(output)]

    def forward(self, letters: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "batch outputs"]:
        """Outputs of one-hot sequences (B, 4, L) in the order A, C, G, T.

        Returns:
            (B, K): logits or values of a sequence head; means over positions of those of a token
            head; of a language model (B, 1), the mean over positions of the log-probability of the
            base that is there, nothing being hidden.
        """
        rows = letters.transpose(1, 2)
        features = self.model.features(F.pad(rows, (0, DNA.size - BASES)))[0]
        if self.kind == "language":
            log_p = self.model.lm_head(features)[..., :BASES].log_softmax(-1)
            return (log_p * rows).sum(2).mean(1, keepdim=True)
        found = self.model.classifier(features)
        if self.kind == "token":
            found = found.mean(1)
        return found[:, self.columns]


def channels_first(network: Network, output: str | None = None) -> ChannelsFirst:
    """The model for tools that take one-hot sequences (B, 4, L), such as tangermeme.

    Args:
        network: the network.
        output: a label whose output alone is given; all if `None`.

    Raises:
        InputError: the model has no such label, or no head.
    """
    return ChannelsFirst(network, output).eval()
