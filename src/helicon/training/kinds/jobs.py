"""The kinds of fine-tuning: labelled sequences, residues, positions of a genome, and contacts.

A job knows its data. It makes the task that the loop trains, and measures the finished model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl
from torch import nn

from helicon.data.genome.intervals import Intervals
from helicon.data.tables.tables import SequenceTable
from helicon.metrics.scores import MONITORS, Scores, predictions
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconForSequenceClassification, HeliconForTokenClassification
from helicon.training.adaptation.adapt import Supervised
from helicon.training.adaptation.linear import Examples, pooled_features
from helicon.training.adaptation.recipe import FinetuneSettings, default_batch, default_epochs
from helicon.training.kinds.contacts import ContactJob
from helicon.training.kinds.genome_scores import Runs
from helicon.training.kinds.labelled_genome import LabelledGenome, sampled_outputs
from helicon.training.kinds.labelled_tables import LabelledTables
from helicon.training.kinds.residue_job import ResidueJob
from helicon.training.kinds.supervised import GenomeTask, SequenceTask

#: Steps on a small table, where the length is not given.
_FEWEST_STEPS = 200
#: Bases of a batch of windows, where the batch size is not given.
_GENOME_BATCH = 16_384
#: Steps on a genome, where the length is not given: ten epochs within these bounds.
_GENOME_STEPS = (200, 5_000)
#: Positions of each part that the linear probe is fitted, and its penalty chosen, on.
PROBE_POSITIONS = 65_536
#: The probe sees the same windows whatever the seed of a run.
_PROBE_SEED = 0

#: What was measured on one part, with a table of predictions (`None` for values of a genome).
Measured = tuple[str, Scores, pl.DataFrame | None]


@dataclass(frozen=True)
class TableJob:
    """Fine-tuning on labelled sequences."""

    data: LabelledTables
    kind: Literal["sequence"] = "sequence"

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.data.target

    def strands(self, settings: FinetuneSettings) -> bool:
        """Whether to train on both strands."""
        if settings.reverse_complement is not None:
            return settings.reverse_complement
        return self.data.yardstick is not None and self.data.yardstick.strand_free

    def batch_size(self, settings: FinetuneSettings) -> int:
        """Sequences in a batch."""
        return settings.batch_size or default_batch(len(self.data.train), self.data.train.lengths)

    def task(self, settings: FinetuneSettings) -> SequenceTask:
        """What the loop trains."""
        return SequenceTask(
            self.data.train,
            self.data.valid,
            self.target,
            batch_size=self.batch_size(settings),
            seed=settings.seed,
            accumulate=settings.accumulate,
            reverse_complement=self.strands(settings),
            both_strands=settings.both_strands,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        return max(default_epochs(len(self.data.train)), _FEWEST_STEPS / steps_per_epoch)

    def examples(self, model: Supervised, settings: FinetuneSettings) -> tuple[Examples, Examples]:
        """Features and labels of training and validation rows, for a linear probe."""
        assert isinstance(model, HeliconForSequenceClassification)
        batch, both = 2 * self.batch_size(settings), settings.both_strands
        train, valid = (
            (pooled_features(model, table, batch, both_strands=both), self.target.encode(table))
            for table in (self.data.train, self.data.valid)
        )
        return train, valid

    def parts(self) -> list[tuple[str, SequenceTable]]:
        """What the finished model is measured on, by name."""
        test = self.data.test
        return [("validation", self.data.valid), *([("test", test)] if test is not None else [])]

    def measure(self, model: Supervised, settings: FinetuneSettings) -> Iterator[Measured]:
        """Measure a model that is in the unit of training."""
        task = self.task(settings)
        for name, table in self.parts():
            truth = self.target.encode(table)
            scores, outputs = task.score(model, table, truth)
            yield name, scores, predictions(table, self.target, outputs, truth)

    def notes(self, settings: FinetuneSettings) -> list[str]:
        """What was found and decided, a line each."""
        yardstick, lines = self.data.yardstick, list(self.data.notes)
        if yardstick is not None:
            measure = "MCC" if self.target.problem == "single_label" else "Spearman correlation"
            line = f"a {yardstick.k}-mer regression: validation {measure} {yardstick.score:.3f}"
            opposite = f", {yardstick.opposite:.3f} if read on the opposite strand"
            lines.append("yardstick: " + line + opposite * (not math.isnan(yardstick.opposite)))
        if (ridge := self.data.one_hot) is not None:
            reached = ridge.scores["validation"].metrics["spearman"]
            lines.append(
                "yardstick: a one-hot ridge regression: validation Spearman correlation "
                f"{reached:.3f} (penalty {ridge.alpha:g}, chosen on it)"
            )
        if self.data.train.alphabet.complements:
            lines.append(f"train on both strands: {'yes' if self.strands(settings) else 'no'}")
        return lines

    def baseline(self) -> dict[str, dict[str, object]]:
        """What the one-hot ridge regression or the k-mer regression reaches, for the results."""
        if self.data.one_hot is not None:
            return {"one_hot_baseline": self.data.one_hot.as_dict()}
        if self.data.yardstick is None:
            return {}
        measure = MONITORS[self.target.problem]
        return {"kmer_baseline": {measure: self.data.yardstick.score, "k": self.data.yardstick.k}}


@dataclass(frozen=True)
class GenomeJob:
    """Fine-tuning on labelled positions of a genome."""

    data: LabelledGenome
    target: Target
    found: tuple[str, ...] = ()
    kind: Literal["token"] = "token"

    def batch_size(self, settings: FinetuneSettings) -> int:
        """Windows in a batch."""
        return settings.batch_size or max(1, _GENOME_BATCH // self.data.span)

    def task(self, settings: FinetuneSettings) -> GenomeTask:
        """What the loop trains."""
        return GenomeTask(
            self.data,
            self.target,
            batch_size=self.batch_size(settings),
            seed=settings.seed,
            accumulate=settings.accumulate,
            reverse_complement=settings.reverse_complement is not False,
            both_strands=settings.both_strands,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        fewest, most = _GENOME_STEPS
        return min(max(10 * steps_per_epoch, fewest), most) / steps_per_epoch

    def examples(self, model: Supervised, settings: FinetuneSettings) -> tuple[Examples, Examples]:
        """Features and labels of positions of training and validation, for a linear probe."""
        assert isinstance(model, HeliconForTokenClassification)
        layers, model.classifier.layers = model.classifier.layers, nn.Sequential()
        try:
            train, valid = (
                self._sample(model, settings, part) for part in (self.data.train, self.data.valid)
            )
        finally:
            model.classifier.layers = layers
        return train, valid

    def _sample(self, model: nn.Module, settings: FinetuneSettings, part: Intervals) -> Examples:
        outputs, labels = sampled_outputs(
            model,
            self.data,
            part,
            PROBE_POSITIONS,
            _PROBE_SEED,
            reverse_complement=settings.reverse_complement is not False,
        )
        return outputs, labels[:, None] if self.target.problem == "regression" else labels

    def measure(self, model: Supervised, settings: FinetuneSettings) -> Iterator[Measured]:
        """Measure a model that is in the unit of training."""
        task = self.task(settings)
        for name, part in (("validation", self.data.valid), ("test", self.data.test)):
            if part is None:
                continue
            if self.target.problem == "regression":
                yield name, task.score(model, part), None
            else:
                runs = Runs(self.data.genome.names, self.target, [])
                scores = task.score(model, part, runs)
                yield name, scores, runs.frame()

    def notes(self, settings: FinetuneSettings) -> list[str]:
        """What was found and decided, a line each."""
        lines = list(self.found)
        count = int(self.data.train.lengths.sum())
        if settings.is_probe and count > PROBE_POSITIONS:
            lines.append(
                f"the probe is fitted on windows of {PROBE_POSITIONS:,} of {count:,} training "
                "positions, drawn at random, and measured on all"
            )
        return lines

    def baseline(self) -> dict[str, dict[str, float]]:
        """None: there is no quick yardstick for positions."""
        return {}


#: Jobs whose features a linear probe is fitted to.
Probed = TableJob | GenomeJob | ResidueJob
Job = Probed | ContactJob
