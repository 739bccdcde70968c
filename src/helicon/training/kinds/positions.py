"""A class or a value for every position of a genome, from an annotation or a signal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from helicon.alphabet import DNA, Alphabet
from helicon.archives import through
from helicon.data.annotation.annotation import Annotation, read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import (
    Intervals,
    read_bed,
    split_blocks,
    split_chromosomes,
    whole_genome,
)
from helicon.data.tables.residue_labels import is_fasta
from helicon.errors import InputError
from helicon.metrics.measured import Measures, choose_monitor, direction
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconForTokenClassification, HeliconPreTrainedModel
from helicon.training.adaptation.adapt import Supervised
from helicon.training.adaptation.linear import Examples
from helicon.training.adaptation.losses import (
    Batch,
    ClassWeights,
    inputs,
    labelled_loss,
    loss_weights,
)
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.kinds.genome_measures import (
    CLASS_MONITORS,
    VALUE_MONITORS,
    Runs,
    measure_genome,
)
from helicon.training.kinds.kind import Answer, Head, Kind, Measured, parts_of, saved_target
from helicon.training.kinds.labelled_genome import (
    LabelledGenome,
    labelled_windows,
    sampled_outputs,
)
from helicon.training.run.options import Asked, check_numbers, only
from helicon.training.run.recipe import check_counts

#: The choice of labelled windows is the same for every seed of a run.
_BUDGET_SEED = 0
#: Bases of a batch of windows, where the batch size is not given.
_GENOME_BATCH = 16_384
#: Steps on a genome, where the length is not given: ten epochs within these bounds.
_GENOME_STEPS = (200, 5_000)
#: Positions of each part that the linear probe is fitted, and its penalty chosen, on.
PROBE_POSITIONS = 65_536
#: The probe sees the same windows whatever the seed of a run.
_PROBE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Positions(Kind):
    """Labelled positions of a genome.

    Attributes:
        feature: type of GFF feature whose bases are labelled.
        sites: GFF only: also label the codons at which coding sequences start and stop.
        by: BED only: what gives the class, the strand or the name.
        length: positions of a window: labelled ones, in training; in evaluation it matters to
            models whose receptive field has no end, and to language models.
        context: bases read on both sides of a window; if not given, half the receptive field, and
            not more than `length`.
        labelled_windows: learn from the labels of so many windows only; all if not given.
        intervals: BED file that divides the genome: its fourth column says `train`, `valid` or
            `test`. Without it, or chromosomes, blocks are dealt out (80, 10 and 10 %). To measure:
            the stretches to measure on; all of the genome if not given.
        valid_chromosomes: chromosomes to choose the best checkpoint on.
        test_chromosomes: chromosomes to measure the final model on, once.
        split_block: bases of a block, where the genome is split in blocks.
    """

    title: ClassVar[str] = "Data: labelled positions of a genome"
    what: ClassVar[str] = "labelled positions of a genome"
    head: ClassVar[Head] = "token"

    labels: Path | None = None
    feature: str = "CDS"
    sites: bool = False
    by: Literal["strand", "name"] = "strand"
    length: int = 1024
    context: int | None = None
    labelled_windows: int | None = only("finetune", None)
    intervals: Path | None = None
    valid_chromosomes: list[str] | None = only("finetune", None)
    test_chromosomes: list[str] | None = only("finetune", None)
    split_block: int = only("finetune", 50_000)
    reverse_complement: bool | None = only("finetune", None)
    both_strands: bool = False
    part: str | None = only("evaluate", None)
    predictions: Path | None = only("evaluate", None)

    def __post_init__(self) -> None:
        check_counts(self, ("length", "labelled_windows", "split_block"))
        check_numbers(self, ("context",), 0)

    @classmethod
    def recognises(cls, data: Path, options: Mapping[str, Any], alphabet: Alphabet) -> bool:
        """A genome with a file of labels that is no FASTA."""
        labels = options.get("labels")
        return labels is not None and not is_fasta(labels)

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model gives one answer a letter, and labels of a genome are named."""
        labels = options.get("labels")
        is_token = isinstance(network, HeliconForTokenClassification)
        return is_token and labels is not None and not is_fasta(labels)

    @property
    def opened_labels(self) -> Path:
        """The file of labels."""
        assert self.labels is not None
        return through(self.labels, "file to read (labels)")

    def read(
        self, source: HeliconPreTrainedModel, adapt: Adapt, fit: Fit, asked: Asked
    ) -> LabelledPositions:
        """See `Kind.read`.

        Raises:
            InputError: see `Genome.open`, `read_annotation` and `read_bed`; a part is empty, or
                holds fewer labelled windows than asked for.
        """
        if not source.backbone.alphabet.complements:
            raise InputError(
                f"{self.labels}: labels positions of a genome, but this model reads proteins; give "
                "their labels as FASTA, one character a residue"
            )
        genome, annotation = self._opened(asked)
        parts = self._divided(genome, annotation, asked)
        context = self.context
        if context is None:
            context = default_context(source.backbone.receptive_field, self.length)
        data = LabelledGenome(
            genome=genome,
            annotation=annotation,
            train=parts["train"],
            valid=parts["validation"],
            test=parts.get("test"),
            length=self.length,
            context=context,
        )
        notes = [_described(data)]
        if self.labelled_windows is not None:
            data = with_budget(data, self.labelled_windows, _BUDGET_SEED)
            notes.append(
                f"labels: {self.labelled_windows:,} windows of {self.length:,}, "
                f"{int(data.train.lengths.sum()):,} bases"
            )
        notes.append(
            f"context: {context:,} bases read on both sides of a window of {data.length:,}"
        )
        if annotation.kind == "values":
            asked.refuse(["class_weights"], "values have no classes")
        return LabelledPositions(self, data, genome_target(data), tuple(notes))

    def _opened(self, asked: Asked) -> tuple[Genome, Annotation]:
        genome = Genome.open(through(self.data, "file to read"))
        path = self.opened_labels
        annotation = read_annotation(
            path, genome, feature=self.feature, sites=self.sites, by=self.by
        )
        suffixes = set(path.name.lower().split(".")[1:])
        is_gff = bool(suffixes & {"gff", "gff3", "gtf"})
        if not is_gff:
            asked.refuse(["feature", "sites"], f"is for GFF3 and GTF files, which {path} is not")
        if "bed" not in suffixes:
            asked.refuse(["by"], f"is for BED files, which {path} is not")
        return genome, annotation

    def _divided(
        self, genome: Genome, annotation: Annotation, asked: Asked
    ) -> dict[str, Intervals]:
        valid, test = self.valid_chromosomes or [], self.test_chromosomes or []
        if self.intervals is not None or valid or test:
            asked.refuse(["split_block"], "is for a split in blocks, and the parts are named")
        if self.intervals is not None:
            if valid or test:
                raise InputError("give intervals, whose file names the split, or chromosomes")
            rows = read_bed(self.intervals, genome)
            parts = {name: rows.take(rows.split == name) for name in set(rows.split)}
            for name in ("train", "validation"):
                if name not in parts:
                    raise InputError(
                        f"{self.intervals}: no row has {name!r} in its fourth column; training "
                        "needs such rows"
                    )
            return parts
        if valid or test:
            if not valid:
                raise InputError("test_chromosomes: name valid_chromosomes too, to choose on")
            parts = split_chromosomes(genome, valid, test)
        else:
            genes = annotation.features if len(annotation.features) else None
            parts = split_blocks(genome, block=self.split_block, whole=genes)
        return {name: part for name, part in parts.items() if len(part)}

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        places_of = stretches_of(self.intervals, self.part)
        genome, annotation = self._opened(asked)
        target, found = saved_target(network, name), annotation.classes or ("value",)
        if target.problem == "regression":
            asked.refuse(["predictions"], "this model gives a number for every letter")
        if found != target.names:
            raise InputError(
                f"{self.labels}: has the classes {', '.join(found)}, but the model predicts "
                f"{', '.join(target.names)}; choose the labels that it was trained on"
            )
        places = places_of(genome)
        field = network.backbone.receptive_field
        if field is not None:
            asked.refuse(["context"], "half the receptive field is read on both sides")
        context = self.context
        if context is None:
            context = default_context(field, self.length)
        data = LabelledGenome(genome, annotation, places, places, None, self.length, context)
        both = self.both_strands
        if target.problem == "regression":
            scores = measure_genome(network, data, places, target, both_strands=both)
            return Answer(int(places.lengths.sum()), "positions", scores)
        runs = Runs(genome.names, target, [])
        scores = measure_genome(network, data, places, target, both_strands=both, watch=runs.add)
        assert scores.confusion is not None
        return Answer(int(scores.confusion.sum()), "labelled positions", scores, runs.frame())

    @classmethod
    def next_command(cls, run: Path) -> str:
        """See `Kind.next_command`."""
        return f"evaluate {shlex.quote(str(run))} GENOME.fa --labels LABELS"


def stretches_of(intervals: Path | None, part: str | None) -> Any:
    """Where to measure on a genome: intervals of a part, all intervals, or all of it.

    Raises:
        InputError: a part of no intervals is named.
    """
    if part is not None and intervals is None:
        raise InputError("part: names a part of the intervals; give their file too")

    def found(genome: Genome) -> Intervals:
        if intervals is None:
            return whole_genome(genome)
        rows = read_bed(through(intervals, "file to read (intervals)"), genome)
        return rows if part is None else rows.select(part)

    return found


def default_context(receptive_field: int | None, window: int) -> int:
    """Bases on each side so that a window's edges see what they would see in a chromosome.

    Where the receptive field has no end, a quarter of the window.
    """
    if receptive_field is None:
        return window // 4
    return min(receptive_field // 2, window)


@dataclass(frozen=True)
class LabelledPositions:
    """A labelled genome that is divided; see `Labelled`.

    Attributes:
        kind: the description.
        data: the genome, its labels and parts.
        target: what is predicted.
        found: what was found and decided, a line each.
    """

    kind: Positions
    data: LabelledGenome
    target: Target
    found: tuple[str, ...] = ()

    def batch_size(self, fit: Fit) -> int:
        """Windows in a batch."""
        return fit.batch_size or max(1, _GENOME_BATCH // self.data.span)

    def task(self, fit: Fit) -> GenomeTask:
        """What the loop trains."""
        return GenomeTask(
            self.data,
            self.target,
            batch_size=self.batch_size(fit),
            seed=fit.seed,
            accumulate=fit.accumulate,
            reverse_complement=self.kind.reverse_complement is not False,
            both_strands=self.kind.both_strands,
            weights=fit.class_weights,
            monitor=fit.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        fewest, most = _GENOME_STEPS
        return min(max(10 * steps_per_epoch, fewest), most) / steps_per_epoch

    def examples(self, model: Supervised, fit: Fit) -> tuple[Examples, Examples]:
        """Features and labels of positions of training and validation, for a linear probe."""
        assert isinstance(model, HeliconForTokenClassification)
        layers, model.classifier.layers = model.classifier.layers, nn.Sequential()
        try:
            train, valid = (
                self._sample(model, part) for part in (self.data.train, self.data.valid)
            )
        finally:
            model.classifier.layers = layers
        return train, valid

    def _sample(self, model: nn.Module, part: Intervals) -> Examples:
        outputs, labels = sampled_outputs(
            model,
            self.data,
            part,
            PROBE_POSITIONS,
            _PROBE_SEED,
            reverse_complement=self.kind.reverse_complement is not False,
        )
        return outputs, labels[:, None] if self.target.problem == "regression" else labels

    def measure(self, model: Supervised, task: GenomeTask) -> Iterator[Measured]:
        """See `Labelled.measure`."""
        for name, part in parts_of(self.data.valid, self.data.test):
            if self.target.problem == "regression":
                yield name, task.score(model, part), None
            else:
                runs = Runs(self.data.genome.names, self.target, [])
                scores = task.score(model, part, runs)
                yield name, scores, runs.frame()

    def notes(self, adapt: Adapt, probe: bool) -> list[str]:
        """See `Labelled.notes`."""
        lines = list(self.found)
        count = int(self.data.train.lengths.sum())
        if probe and count > PROBE_POSITIONS:
            lines.append(
                f"the probe is fitted on windows of {PROBE_POSITIONS:,} of {count:,} training "
                "positions, drawn at random, and measured on all"
            )
        return lines

    def baseline(self) -> dict[str, dict[str, float]]:
        """None: there is no quick yardstick for positions."""
        return {}


class GenomeTask:
    """Positions of a genome with a class or a value each.

    Attributes:
        monitor: the measure that chooses the best checkpoint.
        mode: its direction.
        target: what is predicted.
    """

    def __init__(
        self,
        data: LabelledGenome,
        target: Target,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        reverse_complement: bool = True,
        both_strands: bool = False,
        weights: ClassWeights = "none",
        monitor: str | None = None,
    ):
        self.data = data
        self.target = target
        is_class = target.problem == "single_label"
        self.monitor = choose_monitor(monitor, *(CLASS_MONITORS if is_class else VALUE_MONITORS))
        self.mode = direction(self.monitor)
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.reverse_complement = reverse_complement
        self.both_strands = both_strands
        self.weights = None
        if weights != "none":
            counts = data.class_counts()
            self.weights = loss_weights(target.problem, counts, int(counts.sum()), weights)

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which as many positions are seen as training has."""
        positions = int(self.data.train.lengths.sum())
        a_step = self.data.length * self.batch_size * self.accumulate * world
        return max(1, round(positions / a_step))

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        ids, labels = self.data.draw(
            self.batch_size, self.seed, number, rank, reverse_complement=self.reverse_complement
        )
        if self.target.problem == "regression":
            labels = self.target.standardised(labels[..., None]).astype(np.float32)
        return inputs(ids, ids != DNA.pad_id, labels)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        return labelled_loss(model, batch, self.target.problem, self.weights)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The main measures on all of the validation stretches."""
        return self.score(model, self.data.valid).main

    def score(self, model: nn.Module, intervals: Intervals, runs: Runs | None = None) -> Measures:
        """Measures over some stretches; predictions go to `runs`, if given."""
        return measure_genome(
            model,
            self.data,
            intervals,
            self.target,
            both_strands=self.both_strands,
            watch=None if runs is None else runs.add,
        )


def with_budget(data: LabelledGenome, windows: int, seed: int) -> LabelledGenome:
    """Keep the labels of so many windows of the training part, chosen by `seed`."""
    return replace(data, train=labelled_windows(data.train, data.length, windows, seed))


def _described(data: LabelledGenome) -> str:
    sizes = [f"train {int(data.train.lengths.sum()):,}"]
    sizes.append(f"validation {int(data.valid.lengths.sum()):,}")
    if data.test is not None:
        sizes.append(f"test {int(data.test.lengths.sum()):,}")
    classes = data.annotation.classes
    what = f"{len(classes)} classes ({', '.join(classes[:8])})" if classes else "values"
    return f"data: {what}; bases: {', '.join(sizes)}"


def genome_target(data: LabelledGenome) -> Target:
    """What a token model is to predict.

    Raises:
        InputError: the training part has one class only, or one value.
    """
    path = data.genome.path
    if data.annotation.kind == "values":
        mean, scale = data.value_spread()
        if scale <= 1e-6 * abs(mean):
            raise InputError(f"{path}: the training part has one value only; nothing to learn")
        return Target("regression", ("value",), (mean,), (scale,))
    counts = data.class_counts()
    if (counts > 0).sum() < 2:
        raise InputError(
            f"{path}: the training part has one class only; choose more windows, larger blocks or "
            "another feature"
        )
    return Target.plain("single_label", data.annotation.classes)
