"""Fine-tuning on labelled residues, as a job (see `helicon.training.kinds.jobs`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl
from torch import nn

from helicon.metrics.scores import Scores
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconForTokenClassification
from helicon.training.adaptation.adapt import Supervised
from helicon.training.adaptation.linear import Examples
from helicon.training.adaptation.recipe import FinetuneSettings
from helicon.training.kinds.labelled_residues import LabelledResidues
from helicon.training.kinds.residues import (
    BATCH_RESIDUES,
    ResidueTask,
    encoded,
    residue_scores,
    sampled_features,
)

#: Steps where the length is not given: ten epochs within these bounds.
_STEPS = (200, 5_000)
#: Residues of each part that the linear probe is fitted, and its penalty chosen, on.
PROBE_RESIDUES = 50_000
#: The probe sees the same residues whatever the seed of a run.
_PROBE_SEED = 0


@dataclass(frozen=True)
class ResidueJob:
    """Fine-tuning on labelled residues."""

    data: LabelledResidues
    kind: Literal["token"] = "token"

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.data.target

    def batch_size(self, settings: FinetuneSettings) -> str:
        """What a batch holds, in words."""
        if settings.batch_size is not None:
            return f"{settings.batch_size} sequences"
        return f"{BATCH_RESIDUES:,} positions"

    def task(self, settings: FinetuneSettings) -> ResidueTask:
        """What the loop trains."""
        return ResidueTask(
            self.data.train,
            self.data.valid,
            self.target,
            batch_size=settings.batch_size,
            seed=settings.seed,
            accumulate=settings.accumulate,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        fewest, most = _STEPS
        return min(max(10 * steps_per_epoch, fewest), most) / steps_per_epoch

    def examples(self, model: Supervised, settings: FinetuneSettings) -> tuple[Examples, Examples]:
        """Features and classes of residues of training and validation, for a linear probe."""
        assert isinstance(model, HeliconForTokenClassification)
        layers, model.classifier.layers = model.classifier.layers, nn.Sequential()
        try:
            train, valid = (
                sampled_features(
                    model, part, encoded(part, self.target), PROBE_RESIDUES, _PROBE_SEED
                )
                for part in (self.data.train, self.data.valid)
            )
        finally:
            model.classifier.layers = layers
        return train, valid

    def measure(
        self, model: Supervised, settings: FinetuneSettings
    ) -> Iterator[tuple[str, Scores, pl.DataFrame]]:
        """Measure a model; every residue of a part that counts, all at once."""
        for name, part in (("validation", self.data.valid), ("test", self.data.test)):
            if part is not None:
                truth = encoded(part, self.target)
                yield name, *residue_scores(model, part, truth, self.target)

    def notes(self, settings: FinetuneSettings) -> list[str]:
        """What was found and decided, a line each."""
        lines = list(self.data.notes)
        if settings.is_probe and (count := int(self.data.train.known.sum())) > PROBE_RESIDUES:
            lines.append(
                f"the probe is fitted on {PROBE_RESIDUES:,} of {count:,} training residues, drawn "
                "at random, and measured on all"
            )
        return lines

    def baseline(self) -> dict[str, dict[str, float]]:
        """None: there is no quick yardstick for residues."""
        return {}
