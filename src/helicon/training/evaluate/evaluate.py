"""Evaluation: measure any saved model on labelled sequences, an annotated genome, or a genome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl
import torch

from helicon.alphabet import DNA
from helicon.archives import through
from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, read_bed, whole_genome
from helicon.data.sampling.windows import WindowSampler
from helicon.data.structures.files import read_structures
from helicon.data.tables.residue_labels import is_fasta
from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.outputs import table_outputs
from helicon.machine.devices import start_processes
from helicon.machine.precision import Precision, check_precision
from helicon.machine.provenance import provenance
from helicon.metrics import scores as scoring
from helicon.metrics.scores import Scores
from helicon.metrics.targets import Target
from helicon.models.hub import (
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
    NetworkName,
    load,
)
from helicon.models.huggingface.contacts import HeliconForContacts
from helicon.models.parts.heads import Problem
from helicon.training.adaptation.recipe import default_batch
from helicon.training.evaluate.hidden_residues import hidden_residues
from helicon.training.kinds.annotated import default_context
from helicon.training.kinds.contacts import score_contacts
from helicon.training.kinds.genome_scores import Runs, genome_scores
from helicon.training.kinds.labelled_genome import LabelledGenome
from helicon.training.kinds.labelled_residues import read_residue_table
from helicon.training.kinds.labelled_tables import check_kind, check_strands
from helicon.training.kinds.residues import encoded, residue_scores
from helicon.training.kinds.splits import measured_part
from helicon.training.pretrain.masked import masked_scores
from helicon.training.run.recipe import check_counts
from helicon.training.yardsticks.markov import MarkovScore, markov_baselines

#: Windows of a masked language model in a batch. The hidden bases depend on it.
_WINDOWS = 32
#: Highest order of the Markov models beside a masked language model, and its share of hidden bases.
_ORDER, _RATE = 5, 0.10


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe:
    """Every option of `helicon evaluate`; `evaluate` documents them."""

    verb: ClassVar[str] = "evaluate"

    model: str
    data: Path
    network: NetworkName | None = None
    target: str = "label"
    sequence: str = "sequence"
    labels: Path | None = None
    feature: str = "CDS"
    sites: bool = False
    by: Literal["strand", "name"] = "strand"
    intervals: Path | None = None
    part: str | None = None
    mask: Path | None = None
    predictions: Path | None = None
    both_strands: bool = False
    length: int = 1024
    mask_rate: float | None = None
    fit_on: Path | None = None
    batch_size: int | None = None
    seed: int = 0
    precision: Precision = "float32"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        check_counts(self, ("length", "batch_size"))
        if self.mask_rate is not None and not 0 < self.mask_rate < 1:
            raise InputError(f"mask_rate: must be between 0 and 1, not {self.mask_rate}")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments; texts serve as paths."""
        values = {f.name: arguments[f.name] for f in fields(cls)}
        for name in ("data", "labels", "mask", "intervals", "predictions", "fit_on"):
            values[name] = None if values[name] is None else Path(values[name])
        values["data"] = through(values["data"], "file to read")
        return cls(**values)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that is read, by the option that names it."""
        names = ("data", "labels", "mask", "intervals", "fit_on")
        paths = {name: getattr(self, name) for name in names}
        return {name: sha256(path) for name, path in paths.items() if path is not None}


@dataclass(frozen=True)
class EvaluateResult:
    """What was measured.

    Attributes:
        model: the model, as it was asked for.
        data: the file that it was measured on.
        examples: how much was looked at.
        unit: of what: `sequences`, `labelled positions`, `positions`, `proteins`, `bases` of
            windows, or `residues`.
        part: what the file says of the rows that were measured; `None` where all were.
        scores: every measure.
        baselines: of a masked language model: Markov models scored on the same windows, fitted on
            the intervals that say `train`, or where there are none on the very windows (an
            advantage that the model does not have).
        predictions: the file of predictions, if one was asked for.
        provenance: hashes of the data, commit, versions, machine, time, memory.
        network: which network of a self-distilled run, if one was asked for.
    """

    model: str
    data: Path
    examples: int
    unit: str
    part: str | None
    scores: Scores
    baselines: tuple[MarkovScore, ...]
    predictions: Path | None
    provenance: dict[str, Any]
    network: NetworkName | None = None

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        which = f" (those that it says are for {self.part})" if self.part else ""
        lines = [f"{self.data}: {self.examples:,} {self.unit}{which}"]
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
            "network": self.network,
            "data": str(self.data),
            "examples": self.examples,
            "unit": self.unit,
            "part": self.part,
            **self.scores.as_dict(),
            "baselines": [asdict(baseline) for baseline in self.baselines],
            "predictions": None if self.predictions is None else str(self.predictions),
            "provenance": self.provenance,
        }


def evaluate(
    model: str,
    data: Path,
    *,
    network: NetworkName | None = None,
    target: str = "label",
    sequence: str = "sequence",
    labels: Path | None = None,
    feature: str = "CDS",
    sites: bool = False,
    by: Literal["strand", "name"] = "strand",
    intervals: Path | None = None,
    part: str | None = None,
    mask: Path | None = None,
    predictions: Path | None = None,
    both_strands: bool = False,
    length: int = 1024,
    mask_rate: float | None = None,
    fit_on: Path | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    precision: Precision = "float32",
    accelerator: str = "auto",
) -> EvaluateResult:
    """Measure a model on data, as fine-tuning and pretraining measure.

    What is measured follows from the model: classes, labels or numbers of sequences; classes or
    values of a genome's positions; or how well a language model predicts hidden bases of a genome
    or hidden residues of proteins, beside Markov models.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        data: table or FASTA of labelled sequences; or a genome (FASTA); or, for a model of
            contacts, proteins with coordinates or contacts (ProteinNet, JSON, Parquet).
        network: of a self-distilled run: its `teacher` (which is taken if not given), or `student`.
        target: the label column, or several with commas between.
        sequence: the column of sequences.
        labels: GFF3, GTF, BED, bedGraph or bigWig file with labels of the genome's positions; or a
            FASTA file with one character a residue for each of the sequences of `data`.
        feature: type of GFF feature whose bases are labelled.
        sites: GFF only: also label the codons at which coding sequences start and stop.
        by: BED only: what gives the class, the strand or the name.
        intervals: BED file of the stretches of the genome to measure on; all of it if not given.
        part: measure on the intervals whose fourth column says so (`test`, say); on all if not
            given. Of a table or FASTA file that says itself what its rows are for (a column `set`,
            headers with `SET=test`): `train`, `validation`, `test` or `all`; `test` if not given.
        mask: labels of residues: FASTA file of 1 for residues that count and 0 for others.
        predictions: Parquet file to write: a row a sequence, or a row a stretch of one class; of
            contacts a row a protein, with its measures.
        both_strands: average the predictions for both strands.
        length: language model of DNA: bases of a window.
        mask_rate: language model: share of the letters to hide; 0.10 of DNA and 0.15 of proteins
            if not given.
        fit_on: language model of proteins: file of proteins to fit the Markov models on; those
            that are measured on if not given, an advantage that the model does not have.
        batch_size: sequences in a batch; it never changes the result.
        seed: language model: of the hidden letters.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).
        accelerator: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
    """
    recipe = EvaluateRecipe.of(locals())
    began = time.monotonic()
    opened = load(model, network)
    check_precision(precision)
    fabric = start_processes(
        accelerator=accelerator, devices=1, nodes=1, strategy="auto", precision=precision
    )
    fabric.to_device(opened)
    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        answer = _answer(opened, recipe)
    if recipe.predictions is not None:
        assert answer.frame is not None
        scoring.write_parquet(answer.frame, recipe.predictions)
    seconds = time.monotonic() - began
    return EvaluateResult(
        model=model,
        data=recipe.data,
        examples=answer.examples,
        unit=answer.unit,
        part=answer.part,
        scores=answer.scores,
        baselines=answer.baselines,
        predictions=recipe.predictions,
        provenance=provenance(
            seed=seed, data=recipe.hashes(), seconds=seconds, accelerator=accelerator
        ),
        network=network,
    )


@dataclass(frozen=True)
class _Answer:
    """Measures, predictions if they make a table, and what to compare with."""

    examples: int
    unit: str
    scores: Scores
    frame: pl.DataFrame | None = None
    baselines: tuple[MarkovScore, ...] = ()
    part: str | None = None


def _answer(network: HeliconPreTrainedModel, recipe: EvaluateRecipe) -> _Answer:
    """Ask what the model can be asked."""
    check_strands(network.backbone.alphabet, both_strands=recipe.both_strands)
    labels = recipe.labels
    if isinstance(network, HeliconForTokenClassification) and (labels is None or is_fasta(labels)):
        return _residues(network, recipe)
    if recipe.mask is not None:
        raise InputError("mask: is of labels of residues; leave it out")
    if isinstance(network, HeliconForSequenceClassification) and labels is None:
        return _sequences(network, recipe)
    if recipe.part is not None and recipe.intervals is None:
        raise InputError("part: names a part of the intervals; give their file too")
    if isinstance(network, HeliconForTokenClassification):
        return _positions(network, recipe)
    if labels is not None:
        raise InputError(f"{recipe.model}: does not label positions of a genome; leave out labels")
    if isinstance(network, HeliconForContacts):
        return _contacts(network, recipe)
    if isinstance(network, HeliconForMaskedLM):
        is_dna = network.backbone.alphabet is DNA
        return (_hidden_bases if is_dna else _hidden_residues)(network, recipe)
    raise InputError(f"{recipe.model}: has no head that could be measured; fine-tune it first")


def _sequences(network: HeliconForSequenceClassification, recipe: EvaluateRecipe) -> _Answer:
    alphabet = network.backbone.alphabet
    table = read_table(
        recipe.data,
        target=recipe.target,
        sequence=recipe.sequence,
        alphabet=alphabet,
        divided=True,
    )
    check_kind(table)
    table, part = measured_part(table, recipe.part)
    target = _target(network, recipe)
    truth = target.encode(table)
    batch = recipe.batch_size or 2 * default_batch(len(table), table.lengths)
    outputs = table_outputs(network, table, batch, both_strands=recipe.both_strands)
    frame = scoring.predictions(table, target, outputs, truth)
    scores = scoring.score(target, truth, outputs)
    return _Answer(len(table), "sequences", scores, frame, part=part)


def _residues(network: HeliconForTokenClassification, recipe: EvaluateRecipe) -> _Answer:
    table, part = measured_part(
        read_residue_table(
            recipe.data,
            labels=recipe.labels,
            target=recipe.target,
            mask=recipe.mask,
            sequence=recipe.sequence,
            alphabet=network.backbone.alphabet,
        ),
        recipe.part,
    )
    target = _target(network, recipe)
    if target.problem != "single_label" or any(len(name) > 1 for name in target.names):
        raise InputError(
            f"{recipe.model}: does not give residues classes of one character; give a genome and "
            "its labels"
        )
    scores, frame = residue_scores(network, table, encoded(table, target), target)
    return _Answer(int(table.known.sum()), "residues", scores, frame, part=part)


def _contacts(network: HeliconForContacts, recipe: EvaluateRecipe) -> _Answer:
    proteins = read_structures(recipe.data)
    scores, frame = score_contacts(network, proteins, network.config.pair_separation)
    return _Answer(len(proteins), "proteins", scores, frame)


def _positions(network: HeliconForTokenClassification, recipe: EvaluateRecipe) -> _Answer:
    assert recipe.labels is not None
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
        scores = genome_scores(network, data, places, target, both_strands=recipe.both_strands)
        return _Answer(int(places.lengths.sum()), "positions", scores)
    runs = Runs(genome.names, target, [])
    scores = genome_scores(
        network, data, places, target, both_strands=recipe.both_strands, watch=runs.add
    )
    assert scores.confusion is not None
    return _Answer(int(scores.confusion.sum()), "labelled positions", scores, runs.frame())


def _hidden_bases(network: HeliconForMaskedLM, recipe: EvaluateRecipe) -> _Answer:
    _refuse_predictions(recipe)
    if recipe.fit_on is not None:
        raise InputError("fit_on: is for proteins; intervals say `train` where a genome is fitted")
    genome = Genome.open(recipe.data)
    places = _stretches(genome, recipe, recipe.part)
    sampler = WindowSampler(genome, places, recipe.length, batch_size=_WINDOWS, seed=recipe.seed)
    windows = sampler.tiles()
    if not len(windows):
        raise InputError(f"{recipe.data}: holds no window that is not mostly N; choose other parts")
    with_split = recipe.intervals is not None and recipe.part not in (None, "train")
    fitted = _stretches(genome, recipe, "train") if with_split else places
    baselines = markov_baselines(genome, fitted, sampler.evaluation_batches(windows), order=_ORDER)
    found = masked_scores(network.eval(), sampler, windows, recipe.mask_rate or _RATE)
    return _Answer(int(windows.sizes.sum()), "bases", Scores(found), None, tuple(baselines))


def _hidden_residues(network: HeliconForMaskedLM, recipe: EvaluateRecipe) -> _Answer:
    _refuse_predictions(recipe)
    if recipe.intervals is not None:
        raise InputError(f"intervals: {recipe.model} reads proteins, no genome; leave them out")
    found = hidden_residues(
        network.eval(),
        recipe.data,
        sequence=recipe.sequence,
        rate=recipe.mask_rate,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        fit_on=recipe.fit_on,
    )
    baselines = tuple(found.baselines)
    return _Answer(found.residues, "residues", Scores(found.metrics), None, baselines)


def _refuse_predictions(recipe: EvaluateRecipe) -> None:
    if recipe.predictions is not None:
        raise InputError("predictions: this model gives a number for every letter; leave it out")


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
