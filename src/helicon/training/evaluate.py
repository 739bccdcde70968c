"""Evaluation: measure any saved model on labelled sequences, an annotated genome, or a genome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl
import torch

from helicon.data.annotation import read_annotation
from helicon.data.genome import Genome
from helicon.data.intervals import Intervals, read_bed, whole_genome
from helicon.data.sampling import WindowSampler
from helicon.data.tables import read_table
from helicon.errors import InputError
from helicon.files import sha256
from helicon.models.heads import Problem
from helicon.models.hub import (
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
    load,
)
from helicon.training import scoring
from helicon.training.annotated import default_context
from helicon.training.baselines import MarkovScore, markov_baselines
from helicon.training.devices import Precision, resolve_precision, start_processes
from helicon.training.finetune_recipe import default_batch
from helicon.training.genome_scores import Runs, genome_scores
from helicon.training.labelled_genome import LabelledGenome
from helicon.training.labelled_tables import check_kind
from helicon.training.masked import masked_scores
from helicon.training.outputs import table_outputs
from helicon.training.provenance import provenance
from helicon.training.scoring import Scores
from helicon.training.targets import Target

#: Windows of a masked language model in a batch. The hidden bases depend on it.
_WINDOWS = 32
#: Highest order of the Markov models beside a masked language model.
_ORDER = 5


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe:
    """Every option of `helicon evaluate`; `evaluate` documents them."""

    verb: ClassVar[str] = "evaluate"

    model: str
    data: Path
    target: str = "label"
    sequence: str = "sequence"
    labels: Path | None = None
    feature: str = "CDS"
    sites: bool = False
    by: Literal["strand", "name"] = "strand"
    intervals: Path | None = None
    part: str | None = None
    predictions: Path | None = None
    rc_average: bool = False
    length: int = 1024
    mask_rate: float = 0.10
    batch_size: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        for name in ("length", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: must be at least 1, not {value}")
        if self.part is not None and self.intervals is None:
            raise InputError("part: names a part of the intervals; give their file too")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments; texts serve as paths."""
        values = {f.name: arguments[f.name] for f in fields(cls)}
        for name in ("data", "labels", "intervals", "predictions"):
            values[name] = None if values[name] is None else Path(values[name])
        return cls(**values)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that is read, by the option that names it."""
        paths = {"data": self.data, "labels": self.labels, "intervals": self.intervals}
        return {name: sha256(path) for name, path in paths.items() if path is not None}


@dataclass(frozen=True)
class EvaluateResult:
    """What was measured.

    Attributes:
        model: the model, as it was asked for.
        data: the file that it was measured on.
        examples: how much was looked at.
        unit: of what: `sequences`, `labelled positions`, `positions`, or `bases` of windows.
        scores: every measure.
        baselines: of a masked language model: Markov models scored on the same windows, fitted on
            the intervals that say `train`, or where there are none on the very windows (an
            advantage that the model does not have).
        predictions: the file of predictions, if one was asked for.
        provenance: hashes of the data, commit, versions, machine, time, memory.
    """

    model: str
    data: Path
    examples: int
    unit: str
    scores: Scores
    baselines: tuple[MarkovScore, ...]
    predictions: Path | None
    provenance: dict[str, Any]

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        lines = [f"{self.data}: {self.examples:,} {self.unit}"]
        lines += [f"{name:<24}{value:.4f}" for name, value in self.scores.metrics.items()]
        lines += [
            f"Markov, order {b.order:<10}accuracy {b.accuracy:.4f}  perplexity {b.perplexity:.4f}"
            for b in self.baselines
        ]
        if self.scores.skipped:
            lines.append(f"not measured (one value only): {', '.join(self.scores.skipped)}")
        return "\n".join([*lines, *([f"predictions: {self.predictions}"] * bool(self.predictions))])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": self.model,
            "data": str(self.data),
            "examples": self.examples,
            "unit": self.unit,
            **self.scores.as_dict(),
            "baselines": [asdict(baseline) for baseline in self.baselines],
            "predictions": None if self.predictions is None else str(self.predictions),
            "provenance": self.provenance,
        }


def evaluate(
    model: str,
    data: Path,
    *,
    target: str = "label",
    sequence: str = "sequence",
    labels: Path | None = None,
    feature: str = "CDS",
    sites: bool = False,
    by: Literal["strand", "name"] = "strand",
    intervals: Path | None = None,
    part: str | None = None,
    predictions: Path | None = None,
    rc_average: bool = False,
    length: int = 1024,
    mask_rate: float = 0.10,
    batch_size: int | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    accelerator: str = "auto",
) -> EvaluateResult:
    """Measure a model on data, as fine-tuning and pretraining measure.

    What is measured follows from the model: classes, labels or numbers of sequences; classes or
    values of a genome's positions; or how well a language model predicts hidden bases, beside
    Markov models.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        data: table or FASTA of labelled sequences; or a genome (FASTA).
        target: the label column, or several with commas between.
        sequence: the column of sequences.
        labels: GFF3, GTF, BED, bedGraph or bigWig file with labels of the genome's positions.
        feature: type of GFF feature whose bases are labelled.
        sites: GFF only: also label the codons at which coding sequences start and stop.
        by: BED only: what gives the class, the strand or the name.
        intervals: BED file of the stretches of the genome to measure on; all of it if not given.
        part: measure on the intervals whose fourth column says so (`test`, say); on all if not
            given.
        predictions: Parquet file to write: a row a sequence, or a row a stretch of one class.
        rc_average: average the predictions for both strands.
        length: language model: bases of a window.
        mask_rate: language model: share of the bases to hide.
        batch_size: sequences in a batch; it never changes the result.
        seed: language model: of the hidden bases.
        precision: `auto` is bfloat16 where the hardware multiplies in it, else float32.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
    """
    recipe = EvaluateRecipe.of(locals())
    began = time.monotonic()
    network = load(model)
    resolved = resolve_precision(precision, accelerator)
    fabric = start_processes(
        accelerator=accelerator, devices=1, nodes=1, strategy="auto", precision=resolved
    )
    fabric.to_device(network)
    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=resolved == "bfloat16"):
        answer = _answer(network, recipe)
    if recipe.predictions is not None:
        assert answer.frame is not None
        scoring.write_parquet(answer.frame, recipe.predictions)
    seconds = time.monotonic() - began
    return EvaluateResult(
        model=model,
        data=recipe.data,
        examples=answer.examples,
        unit=answer.unit,
        scores=answer.scores,
        baselines=answer.baselines,
        predictions=recipe.predictions,
        provenance=provenance(
            seed=seed, data=recipe.hashes(), seconds=seconds, accelerator=accelerator
        ),
    )


@dataclass(frozen=True)
class _Answer:
    """Measures, predictions if they make a table, and what to compare with."""

    examples: int
    unit: str
    scores: Scores
    frame: pl.DataFrame | None = None
    baselines: tuple[MarkovScore, ...] = ()


def _answer(network: HeliconPreTrainedModel, recipe: EvaluateRecipe) -> _Answer:
    """Ask what the model can be asked."""
    if isinstance(network, HeliconForTokenClassification):
        return _positions(network, recipe)
    if recipe.labels is not None:
        raise InputError(f"{recipe.model}: does not label positions of a genome; leave out labels")
    if isinstance(network, HeliconForSequenceClassification):
        return _sequences(network, recipe)
    if isinstance(network, HeliconForMaskedLM):
        return _hidden_bases(network, recipe)
    raise InputError(f"{recipe.model}: has no head that could be measured; fine-tune it first")


def _sequences(network: HeliconForSequenceClassification, recipe: EvaluateRecipe) -> _Answer:
    alphabet = network.backbone.alphabet
    table = read_table(
        recipe.data, target=recipe.target, sequence=recipe.sequence, alphabet=alphabet
    )
    check_kind(table)
    target = _target(network, recipe)
    truth = target.encode(table)
    batch = recipe.batch_size or 2 * default_batch(len(table), table.lengths)
    outputs = table_outputs(network, table, batch, both_strands=recipe.rc_average)
    frame = scoring.predictions(table, target, outputs, truth)
    return _Answer(len(table), "sequences", scoring.score(target, truth, outputs), frame)


def _positions(network: HeliconForTokenClassification, recipe: EvaluateRecipe) -> _Answer:
    if recipe.labels is None:
        raise InputError(f"{recipe.model}: labels positions of a genome; give its labels too")
    genome = Genome.open(recipe.data)
    annotation = read_annotation(
        recipe.labels, genome, feature=recipe.feature, sites=recipe.sites, by=recipe.by
    )
    target, found = _target(network, recipe), annotation.classes or ("value",)
    if target.problem == "regression":
        _refuse_predictions(recipe)
    if found != target.names:
        raise InputError(
            f"{recipe.labels}: has the classes {', '.join(found)}, but the model predicts "
            f"{', '.join(target.names)}; choose the labels that it was trained on"
        )
    places = _stretches(genome, recipe, recipe.part)
    context = default_context(network.backbone.receptive_field, recipe.length)
    data = LabelledGenome(genome, annotation, places, places, None, recipe.length, context)
    if target.problem == "regression":
        scores = genome_scores(network, data, places, target, both_strands=recipe.rc_average)
        return _Answer(int(places.lengths.sum()), "positions", scores)
    runs = Runs(genome.names, target, [])
    scores = genome_scores(
        network, data, places, target, both_strands=recipe.rc_average, watch=runs.add
    )
    assert scores.confusion is not None
    return _Answer(int(scores.confusion.sum()), "labelled positions", scores, runs.frame())


def _hidden_bases(network: HeliconForMaskedLM, recipe: EvaluateRecipe) -> _Answer:
    _refuse_predictions(recipe)
    genome = Genome.open(recipe.data)
    places = _stretches(genome, recipe, recipe.part)
    sampler = WindowSampler(genome, places, recipe.length, batch_size=_WINDOWS, seed=recipe.seed)
    windows = sampler.tiles()
    if not len(windows):
        raise InputError(f"{recipe.data}: holds no window that is not mostly N; choose other parts")
    with_split = recipe.intervals is not None and recipe.part not in (None, "train")
    fitted = _stretches(genome, recipe, "train") if with_split else places
    baselines = markov_baselines(genome, fitted, sampler.evaluation_batches(windows), order=_ORDER)
    found = masked_scores(network.eval(), sampler, windows, recipe.mask_rate)
    return _Answer(int(windows.sizes.sum()), "bases", Scores(found), None, tuple(baselines))


def _refuse_predictions(recipe: EvaluateRecipe) -> None:
    if recipe.predictions is not None:
        raise InputError("predictions: this model gives a number for every base; leave it out")


def _stretches(genome: Genome, recipe: EvaluateRecipe, part: str | None) -> Intervals:
    """Where to measure: intervals of a part, all intervals, or the whole genome."""
    if recipe.intervals is None:
        return whole_genome(genome)
    rows = read_bed(recipe.intervals, genome)
    return rows if part is None else rows.select(part)


def _target(
    network: HeliconForSequenceClassification | HeliconForTokenClassification,
    recipe: EvaluateRecipe,
) -> Target:
    """What a saved model predicts, in the unit of the data."""
    problem: Problem | None = network.config.problem
    if problem is None:
        raise InputError(
            f"{recipe.model}: config.json does not say the problem_type; fine-tune with Helicon"
        )
    names = network.config.id2label or {}
    return Target.plain(problem, tuple(str(name) for name in names.values()))
