"""Self-distillation as a task for the fit loop, over a genome or over proteins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Ids
from helicon.data.sampling.windows import random_stream
from helicon.models.huggingface.classes import HeliconForMaskedLM
from helicon.objectives.augmentations.augment import draw_numbers
from helicon.objectives.self_distillation import Distillation, Measures, SelfDistillation

#: Purpose of random numbers here; see `helicon.data.sampling.windows`.
_VIEWS = 20

Batch = dict[str, NDArray[Any]]
#: Gives the sequences (B, L) of a batch, by number, rank and world, without soft bits, and where
#: they are real.
Drawn = Callable[[int, int, int], tuple[Ids, NDArray[np.bool_]]]


class DistilledTask:
    """Learn letters, and what the teacher makes of another view.

    Attributes:
        monitor: `loss`, of the teacher on hidden letters of held-out sequences.
        mode: `min`.
        measures: names of what `loss` gives besides; see `self_distillation.Measures`.
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"
    measures = Measures._fields

    def __init__(
        self,
        draw: Drawn,
        settings: Distillation,
        *,
        seed: int,
        accumulate: int = 1,
        score: Callable[[HeliconForMaskedLM], dict[str, float]],
    ):
        self.draw = draw
        self.seed = seed
        self.accumulate = accumulate
        self.score = score
        self.numbers = sum(chain.numbers for chain in settings.chains)

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        ids, real = self.draw(number, rank, world)
        rng = random_stream(self.seed, _VIEWS, rank, number)
        numbers = draw_numbers(rng, len(ids), self.numbers).numpy()
        batch: Batch = {"input_ids": ids, "numbers": numbers}
        return batch if real.all() else batch | {"attention_mask": real}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """See `helicon.training.loop.fit.Task`. The targets are sequences."""
        ids = batch["input_ids"]
        mean, measures = model(ids, batch["numbers"], batch.get("attention_mask"))
        return tuple(value * len(ids) for value in (mean, mean.new_ones(()), *measures))

    def follow(
        self, model: nn.Module, step: int, total: int, summed: Callable[[Tensor], Tensor]
    ) -> None:
        """See `helicon.training.loop.fit.Following`."""
        assert isinstance(model, SelfDistillation)
        model.follow(step, total, summed)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Loss, accuracy and perplexity of the teacher; empty without validation data."""
        teacher = model.get_submodule("teacher")
        assert isinstance(teacher, HeliconForMaskedLM)
        return self.score(teacher)
