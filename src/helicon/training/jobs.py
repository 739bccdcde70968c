"""The two kinds of fine-tuning: labelled sequences, and labelled positions of a genome.

A job knows its data. It makes the task that the loop trains, and measures the finished model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from helicon.data.tables import SequenceTable
from helicon.training.adapt import Supervised
from helicon.training.finetune_recipe import FinetuneSettings, default_batch, default_epochs
from helicon.training.genome_scores import Runs
from helicon.training.labelled_genome import LabelledGenome
from helicon.training.labelled_tables import LabelledTables
from helicon.training.scoring import MONITORS, Scores, predictions
from helicon.training.supervised import GenomeTask, SequenceTask
from helicon.training.targets import Target

#: Bases of a batch of windows, where the batch size is not given.
_GENOME_BATCH = 16_384
#: Steps on a genome, where the length is not given: ten epochs within these bounds.
_GENOME_STEPS = (200, 5_000)

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
            both_strands=settings.rc_average,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        return default_epochs(len(self.data.train))

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
        if self.data.train.alphabet.complements:
            lines.append(f"train on both strands: {'yes' if self.strands(settings) else 'no'}")
        return lines

    def baseline(self) -> dict[str, dict[str, float]]:
        """The k-mer regression's result on the validation data, for the results."""
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
            both_strands=settings.rc_average,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        fewest, most = _GENOME_STEPS
        return min(max(10 * steps_per_epoch, fewest), most) / steps_per_epoch

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
        return list(self.found)

    def baseline(self) -> dict[str, dict[str, float]]:
        """None: there is no quick yardstick for positions."""
        return {}


Job = TableJob | GenomeJob
