"""Masked modelling of proteins as a task for the fit loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Ids
from helicon.data.reading.hashing import mix
from helicon.data.sampling.token_batches import TokenBatch, TokenBatches
from helicon.data.sampling.windows import random_stream
from helicon.objectives.masked_lm import IGNORE, Masking, mask_as_carp, mask_batch
from helicon.training.pretrain.masked import run_masked

#: Purpose of random numbers here; see `helicon.data.sampling.windows`.
_MASKS = 18

Batch = dict[str, NDArray[Any]]
Whole = NDArray[np.int64]


class MaskedProteins:
    """Predict the hidden residues of whole sequences.

    Attributes:
        monitor: `loss`, the mean over hidden residues of held-out sequences.
        mode: `min`.
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        train: TokenBatches,
        masking: Masking,
        *,
        accumulate: int = 1,
        validation: TokenBatches | None = None,
    ):
        self.train = train
        self.masking = masking
        self.accumulate = accumulate
        self.validation = validation

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        found = self.train.batch(number, rank, world)
        rng = random_stream(self.train.seed, _MASKS, rank, number)
        alphabet = self.train.store.alphabet
        inputs, targets, _ = mask_batch(found.ids, self.masking, rng, alphabet, found.real)
        return _arrays(inputs, targets, found.real)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        mean, weight, _ = run_masked(model, batch)
        return mean * weight, weight

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Loss, accuracy and perplexity; empty without validation sequences."""
        if self.validation is None:
            return {}
        return measure_proteins(model, self.validation, self.masking.rate)


def measure_proteins(model: nn.Module, held_out: TokenBatches, rate: float) -> dict[str, float]:
    """Measure how well a model predicts hidden residues.

    Every target is hidden behind the mask symbol, whatever the replacement in training, and is a
    certain letter. The targets follow from the seed and the place of a residue in its file: they
    are the same at every call and in batches of any size.

    Args:
        model: a masked language model, in evaluation mode.
        held_out: where to measure; its seed draws the targets.
        rate: share of the residues that are hidden.

    Returns:
        `loss` (nats a residue), `accuracy` and `perplexity`.
    """
    loss, accuracy = _measured(model, held_out, lambda batch: hide(held_out, batch, rate))
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return {"loss": loss, "accuracy": accuracy, "perplexity": perplexity}


def carp_loss(model: nn.Module, held_out: TokenBatches, rate: float) -> float:
    """The loss with targets as CARP draws them: what its published losses are measured with.

    A tenth of the targets stand there as they are and a tenth are wrong letters, so it is another
    number than that on hidden residues. Arguments as `measure_proteins`.
    """

    def corrupted(batch: TokenBatch) -> Batch:
        keys = _keys(held_out, batch)
        alphabet = held_out.store.alphabet
        return _arrays(*mask_as_carp(batch.ids, batch.real, rate, keys, alphabet), batch.real)

    return _measured(model, held_out, corrupted)[0]


def _measured(
    model: nn.Module, held_out: TokenBatches, corrupt: Callable[[TokenBatch], Batch]
) -> tuple[float, float]:
    """Mean loss and accuracy over all targets."""
    device = next(model.parameters()).device
    total = weight = right = 0.0
    for found in held_out.in_order():
        arrays = corrupt(found)
        batch = {key: torch.from_numpy(value).to(device) for key, value in arrays.items()}
        with torch.no_grad():
            sums = run_masked(model, batch)
        mean, targets, hits = (float(value) for value in sums)
        total, weight, right = total + mean * targets, weight + targets, right + hits
    return total / max(weight, 1), right / max(weight, 1)


def hide(held_out: TokenBatches, batch: TokenBatch, rate: float) -> Batch:
    """Hide about a share `rate` of a batch's certain residues, each by its own hash."""
    alphabet = held_out.store.alphabet
    chosen = _keys(held_out, batch) < np.uint64(rate * 2.0**64)
    chosen &= batch.real & alphabet.real_table()[batch.ids]
    inputs = np.where(chosen, np.uint8(alphabet.mask_id), batch.ids)
    targets = np.where(chosen, batch.ids.astype(np.int16), np.int16(IGNORE))
    return _arrays(inputs, targets, batch.real)


def _keys(held_out: TokenBatches, batch: TokenBatch) -> NDArray[np.uint64]:
    """A random number for every position, which depends on the seed and the file alone, (B, L)."""
    first = held_out.store.offsets[batch.rows] + batch.starts
    return mix(first[:, None] + np.arange(batch.ids.shape[1]), salt=held_out.seed)


def spread_rows(rows: Whole, most: int) -> Whole:
    """At most so many of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def held_out_letters(batches: TokenBatches) -> Iterable[Ids]:
    """The letters that are measured on, padded, a batch at a time: for other kinds of models."""
    pad = np.uint8(batches.store.alphabet.pad_id)
    return (np.where(found.real, found.ids, pad) for found in batches.in_order())


def _arrays(inputs: Ids, targets: NDArray[np.int16], real: NDArray[np.bool_]) -> Batch:
    batch: Batch = {"input_ids": inputs, "targets": targets}
    return batch if real.all() else batch | {"attention_mask": real}
