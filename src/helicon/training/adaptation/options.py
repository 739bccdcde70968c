"""What is adapted of a model and how, and what is decided from the data where it is not told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError
from helicon.models.hub import NetworkName
from helicon.models.parts.heads import HeadKind
from helicon.training.adaptation.losses import ClassWeights
from helicon.training.loop.options import Machine, Training
from helicon.training.loop.settings import LoopSettings
from helicon.training.run.options import Options, check_numbers
from helicon.training.run.recipe import check_counts

#: Positions in a batch at most, where the batch size is not given.
_BATCH_BASES = 65_536
#: Rows that are seen in training, repeats counted, where the length is not given...
_ROWS_SEEN = 100_000
#: ... with at least and at most so many epochs.
_FEWEST_EPOCHS, _MOST_EPOCHS = 4, 30
#: Validations in a run.
_EVALUATIONS = 20


@dataclass(frozen=True, kw_only=True)
class Adapt(Options):
    """What of a model is adapted.

    Attributes:
        network: of a self-distilled run: its `teacher` (which is taken if not given), or `student`.
        scratch: start from random weights in the model's architecture, for comparison; with
            freeze, the control of a probe.
        freeze: keep the backbone's weights. With a linear head over mean, max or CLS pooling this
            is the linear probe: features are computed once, and the head is a logistic or ridge
            regression whose penalty is chosen on validation data.
        lora: rank of low-rank adapters in the backbone's linear layers, which are trained with the
            head while the weights stay; needs the extra `peft`.
        head: one linear layer, or two.
        dropout: probability, before each linear layer of the head.
        backbone_dropout: probability in the backbone; if not given, what the model has.
    """

    title: ClassVar[str] = "Adaptation"

    network: NetworkName | None = None
    scratch: bool = False
    freeze: bool = False
    lora: int | None = None
    head: HeadKind = "linear"
    dropout: float = 0.1
    backbone_dropout: float | None = None

    def __post_init__(self) -> None:
        check_counts(self, ("lora",))
        check_numbers(self, ("dropout", "backbone_dropout"), 0, 1, open=")")
        if self.lora is not None and self.freeze:
            raise InputError("give freeze or lora, not both")
        if self.scratch and self.lora is not None:
            raise InputError(
                "give scratch, which draws all weights anew, or lora, which keeps them"
            )


@dataclass(frozen=True, kw_only=True)
class Fit(Training):
    """How the adapted model learns.

    Attributes:
        steps: optimiser steps; without it, `epochs` and `minutes`, decided from the data.
        eval_every: steps between validations; if not given, twenty in the run, and at most one an
            epoch.
        seed: of new weights, order, strands and dropout; the held-out rows do not depend on it.
        batch_size: sequences (or windows) in a batch, in each process.
        monitor: measure on validation data that chooses the checkpoint; if not given, MCC for
            classes, mean AUROC for several labels, Spearman correlation for numbers (Pearson for
            positions), precision of the L most probable long-range contacts. `loss` is another
            choice.
        class_weights: weight of rare classes in the loss: all examples alike, all classes the same
            total, or half of that way (`sqrt`).
        seeds: number of runs, with the seeds `seed`, `seed + 1`, ...
    """

    weight_decay: float = 0.1
    warmup: float = 0.1
    patience: int | None = 8
    batch_size: int | None = None
    monitor: str | None = None
    class_weights: ClassWeights = "none"
    seeds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, ("batch_size", "seeds"))

    def planned(
        self, machine: Machine, steps_per_epoch: int, default_epochs: float
    ) -> LoopSettings:
        """Settings of the loop, with epochs turned into steps.

        Args:
            machine: where it runs.
            steps_per_epoch: optimiser steps that see the training data once.
            default_epochs: epochs where neither steps nor epochs nor minutes are given.
        """
        steps = self.steps
        if steps is None and self.minutes is None:
            steps = max(1, round((self.epochs or default_epochs) * steps_per_epoch))
        eval_every = self.eval_every
        if eval_every is None and steps is not None:
            eval_every = min(steps, max(steps_per_epoch, steps // _EVALUATIONS))
        return self.loop(machine, steps=steps, eval_every=eval_every)


def default_epochs(rows: int) -> float:
    """Epochs for so many training rows: small sets are seen more often."""
    return float(np.clip(round(_ROWS_SEEN / rows), _FEWEST_EPOCHS, _MOST_EPOCHS))


def default_batch(rows: int, lengths: NDArray[np.int64]) -> int:
    """Sequences in a batch: more for larger sets, as many as memory easily holds."""
    size = 32 if rows < 10_000 else 64 if rows < 50_000 else 128
    room = _BATCH_BASES // int(np.quantile(lengths, 0.95, method="higher"))
    return max(1, min(size, room, rows))
