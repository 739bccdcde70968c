"""Masked modelling of a genome as a task for the fit loop."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import DNA, Ids
from helicon.data.sampling.windows import Windows, WindowSampler, random_stream
from helicon.objectives.masked_lm import Masking, mask_batch, masked_lm_loss

#: Purposes of random numbers here; the sampler has 0 and 1.
_MASKS, _HELD_OUT_MASKS = 16, 17

Batch = dict[str, NDArray[Any]]


class MaskedTask:
    """Predict the hidden bases of windows.

    Attributes:
        monitor: `loss`, the mean over hidden bases of held-out windows.
        mode: `min`.
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        train: WindowSampler,
        masking: Masking,
        *,
        accumulate: int = 1,
        validation: tuple[WindowSampler, Windows] | None = None,
    ):
        self.train = train
        self.masking = masking
        self.accumulate = accumulate
        self.validation = validation

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        rng = random_stream(self.train.seed, _MASKS, rank, number)
        return _batch(self.train.batch(number, rank), self.masking, rng)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        mean, weight, _ = run_masked(model, batch)
        return mean * weight, weight

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Loss, accuracy and perplexity; empty without validation windows."""
        if self.validation is None:
            return {}
        return measure_masked(model, *self.validation, self.masking.rate)


def measure_masked(
    model: nn.Module, sampler: WindowSampler, windows: Windows, rate: float
) -> dict[str, float]:
    """Measure how well a model predicts hidden bases.

    Every target is hidden behind the mask symbol, whatever the replacement in training, and all
    count alike, so that the numbers of two runs compare. The targets are the same at every call.

    Args:
        model: a masked language model, in evaluation mode.
        sampler: reads the windows; its seed draws the targets.
        windows: where to measure.
        rate: share of the bases that are hidden.

    Returns:
        `loss` (nats a base), `accuracy` and `perplexity`.
    """
    device = next(model.parameters()).device
    total = weight = right = 0.0
    for number, ids in enumerate(sampler.evaluation_batches(windows)):
        rng = random_stream(sampler.seed, _HELD_OUT_MASKS, number)
        arrays = _batch(ids, Masking(rate), rng)
        batch = {key: torch.from_numpy(value).to(device) for key, value in arrays.items()}
        with torch.no_grad():
            sums = run_masked(model, batch)
        mean, targets, hits = (float(value) for value in sums)
        total, weight, right = total + mean * targets, weight + targets, right + hits
    count = max(weight, 1)
    loss = total / count
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return {"loss": loss, "accuracy": right / count, "perplexity": perplexity}


def spread_windows(windows: Windows, most: int) -> Windows:
    """At most so many of the windows, evenly spread."""
    if len(windows) <= most:
        return windows
    return windows.take(np.linspace(0, len(windows) - 1, most).round().astype(np.int64))


def _batch(ids: Ids, masking: Masking, rng: np.random.Generator) -> Batch:
    inputs, targets, weights = mask_batch(ids, masking, rng)
    batch: Batch = {"input_ids": inputs, "targets": targets}
    real = inputs != DNA.pad_id
    if not real.all():
        batch["attention_mask"] = real
    if weights is not None:
        batch["weights"] = weights
    return batch


def run_masked(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What `masked_lm_loss` gives for a model's logits on a batch."""
    output = model(input_ids=batch["input_ids"].long(), attention_mask=batch.get("attention_mask"))
    return masked_lm_loss(output.logits, batch["targets"], batch.get("weights"))
