"""Fine-tuning: adapt a model to labelled sequences, or to labelled positions of a genome.

The best checkpoint is chosen on validation data alone; test data is looked at once, at the end. A
run folder holds besides the usual `predictions/validation.parquet` and `predictions/test.parquet`.
Several seeds are several runs, in the folders `seed-0`, `seed-1`, ... of one folder, which holds a
summary and the model that was best on validation data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from helicon.data.tables.residue_labels import is_fasta
from helicon.errors import InputError
from helicon.files import sha256
from helicon.machine.precision import TrainingPrecision
from helicon.metrics.contacts import MEASURES
from helicon.metrics.scores import choose_monitor
from helicon.metrics.targets import TaskName
from helicon.models.hub import HeliconPreTrainedModel, NetworkName, check_cls, load, untrained
from helicon.models.parts.heads import HeadKind, Pooling
from helicon.models.registry import SIZES
from helicon.training.adaptation.recipe import FinetuneRecipe, FinetuneSettings
from helicon.training.finetune.result import FinetuneResult
from helicon.training.finetune.work import Work
from helicon.training.kinds.annotated import check_genome, genome_target, read_annotated
from helicon.training.kinds.contact_data import read_contacts
from helicon.training.kinds.contacts import MONITOR, ContactJob
from helicon.training.kinds.jobs import GenomeJob, Job, TableJob
from helicon.training.kinds.labelled_genome import LabelledGenome
from helicon.training.kinds.labelled_residues import read_labelled_residues
from helicon.training.kinds.labelled_tables import check_strands, read_labelled, read_tables
from helicon.training.kinds.residue_job import ResidueJob
from helicon.training.kinds.supervised import ClassWeights
from helicon.training.loop.schedule import Schedule
from helicon.training.loop.settings import launch
from helicon.training.run.recipe import values_of

__all__ = ["FinetuneRecipe", "FinetuneResult", "FinetuneSettings", "finetune", "finetune_genome"]


def finetune(
    model: str,
    train: Path,
    *,
    out: Path,
    network: NetworkName | None = None,
    target: str = "label",
    valid: Path | None = None,
    test: Path | None = None,
    sequence: str = "sequence",
    task: TaskName = "auto",
    labels: Path | None = None,
    mask: Path | None = None,
    feature: str = "CDS",
    sites: bool = False,
    by: Literal["strand", "name"] = "strand",
    length: int = 1024,
    context: int | None = None,
    labelled_windows: int | None = None,
    intervals: Path | None = None,
    valid_chromosomes: list[str] | None = None,
    test_chromosomes: list[str] | None = None,
    split_block: int = 50_000,
    scratch: bool = False,
    freeze: bool = False,
    lora: int | None = None,
    head: HeadKind = "linear",
    pool: Pooling | None = None,
    dropout: float = 0.1,
    backbone_dropout: float | None = None,
    separation: int | None = None,
    pair_crop: int | None = None,
    pair_width: int | None = None,
    pair_blocks: int | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    schedule: Schedule = "cosine",
    warmup: float = 0.1,
    floor: float = 0.01,
    clip: float | None = 1.0,
    eval_every: int | None = None,
    patience: int | None = 8,
    monitor: str | None = None,
    class_weights: ClassWeights = "none",
    reverse_complement: bool | None = None,
    both_strands: bool = False,
    validation_fraction: float = 0.1,
    seed: int = 0,
    seeds: int = 1,
    precision: TrainingPrecision = "auto",
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    resume: bool = False,
) -> FinetuneResult:
    """Adapt a model to labelled data, and measure it on data that it has not learned from.

    With a table or a FASTA of labelled sequences, nothing but the model, the file and its label
    column is needed: what is not given is decided from the data, and printed. With a genome and
    `labels`, the model learns a class or a value for every position.

    Args:
        model: a named size, a run folder, a model folder, or a Hugging Face id.
        train: CSV, TSV, Parquet or FASTA with labels; or, with `labels`, a genome (FASTA); or, for
            the task `contacts`, proteins with coordinates or contacts (ProteinNet, JSON, Parquet).
        out: the run folder to write.
        network: of a self-distilled run: its `teacher` (which is taken if not given), or `student`.
        target: the label column, or several with commas between.
        valid: table to choose the best checkpoint on; without it, a part of `train` is held out.
        test: table to measure the final model on, once.
        sequence: the column of sequences.
        task: what the labels are; `auto` looks at them. `contacts` learns which residues of a
            protein touch each other.
        labels: GFF3, GTF, BED, bedGraph or bigWig file with labels of the genome's positions; or a
            FASTA file with one character a residue for each of the sequences of `train`.
        mask: labels of residues: FASTA file of 1 for residues that count and 0 for others.
        feature: type of GFF feature whose bases are labelled.
        sites: GFF only: also label the codons at which coding sequences start and stop.
        by: BED only: what gives the class, the strand or the name.
        length: labelled positions of a training window.
        context: bases read on both sides of a window; if not given, half the receptive field, and
            not more than `length`.
        labelled_windows: learn from the labels of so many windows only; all if not given.
        intervals: BED file that divides the genome: its fourth column says `train`, `valid` or
            `test`. Without it, or chromosomes, blocks are dealt out (80, 10 and 10 %).
        valid_chromosomes: chromosomes to choose the best checkpoint on.
        test_chromosomes: chromosomes to measure the final model on, once.
        split_block: bases of a block, where the genome is split in blocks.
        scratch: start from random weights in the model's architecture, for comparison; with
            freeze, the control of a probe.
        freeze: keep the backbone's weights. With a linear head over mean, max or CLS pooling this
            is the linear probe: features are computed once, and the head is a logistic or ridge
            regression whose penalty is chosen on validation data.
        lora: rank of low-rank adapters in the backbone's linear layers, which are trained with the
            head while the weights stay; needs the extra `peft`.
        head: one linear layer, or two.
        pool: how the positions of a sequence become one vector: their mean, the largest value of
            each channel (finds a motif wherever it is), a mean weighted by learned attention, or
            what the network gives at the CLS tokens that it was pretrained with (`cls`). If not
            given, `mean` for the linear probe and else `attention`.
        dropout: probability, before each linear layer of the head.
        backbone_dropout: probability in the backbone; if not given, what the model has.
        separation: contacts: residues that a pair is apart at least, to be learned; 6 if not given.
        pair_crop: contacts: rows and columns of the random crops of larger maps in training; 256 if
            not given. Validation and tests are of whole maps.
        pair_width: contacts: channels of a pair in the head; 32 if not given.
        pair_blocks: contacts: residual blocks of the head; 10 if not given.
        steps: optimiser steps; without it, `epochs` and `minutes`, decided from the data.
        epochs: passes over the training data, in place of steps.
        minutes: time to train, in place of steps. After the first seconds it becomes a number of
            steps, which the run folder records.
        batch_size: sequences (or windows) in a batch, in each process.
        accumulate: batches in an optimiser step.
        lr: highest learning rate.
        weight_decay: of matrices and kernels; biases and normalisations are not decayed.
        schedule: how the rate falls after the warm-up.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: last learning rate over the highest.
        clip: largest norm of the gradient.
        eval_every: steps between validations; if not given, twenty in the run, and at most one an
            epoch.
        patience: validations without improvement after which training stops.
        monitor: measure on validation data that chooses the checkpoint; if not given, MCC for
            classes, mean AUROC for several labels, Spearman correlation for numbers (Pearson for
            positions), precision of the L most probable long-range contacts. `loss` is another
            choice.
        class_weights: weight of rare classes in the loss: all examples alike, all classes the same
            total, or half of that way (`sqrt`).
        reverse_complement: train on both strands, drawn anew for every sequence and epoch. If not
            given: for sequences, if a k-mer regression finds their labels on the opposite strand
            too; for positions always, as their labels turn with the strand.
        both_strands: average the predictions for both strands, in validation and test.
        validation_fraction: share of the rows held out where no validation file is given.
        seed: of new weights, order, strands and dropout; the held-out rows do not depend on it.
        seeds: number of runs, with the seeds `seed`, `seed + 1`, ...
        precision: `auto` is bfloat16 where the hardware multiplies in it, else float32.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
        resume: go on with the run in `out`, or start it if there is none.

    Returns:
        What was measured, and where the model is.

    Raises:
        InputError: a file, a label or an option is wrong, or `out` holds something else.
        WorkError: the loss is not finite, or the disk is full.
    """
    recipe = FinetuneRecipe.of(locals())
    source = _source(model, recipe)
    job = _job(recipe, source)
    return _run(job, source, values_of(recipe), recipe.hashes(), Path(out), recipe, resume)


def finetune_genome(
    model: str,
    data: LabelledGenome,
    *,
    out: Path,
    settings: FinetuneSettings | None = None,
    resume: bool = False,
) -> FinetuneResult:
    """Adapt a model to the labelled positions of a genome that is already divided.

    Args:
        model: as in `finetune`.
        data: genome, labels, and the stretches to train, choose and test on.
        out: the run folder to write.
        settings: how to train; `finetune` documents every option.
        resume: go on with the run in `out`, or start it if there is none.
    """
    settings = settings or FinetuneSettings()
    options = {
        "model": model,
        "train": data.genome.path,
        "length": data.length,
        "context": data.context,
        "labelled_positions": int(data.train.lengths.sum()),
        **values_of(settings),
    }
    job = GenomeJob(data, genome_target(data))
    hashes = {"train": data.genome.sha256}
    return _run(job, _source(model, settings), options, hashes, Path(out), settings, resume)


def _job(recipe: FinetuneRecipe, source: HeliconPreTrainedModel) -> Job:
    """What is to be learned: it follows from the files."""
    alphabet = source.backbone.alphabet
    check_strands(
        alphabet, reverse_complement=recipe.reverse_complement, both_strands=recipe.both_strands
    )
    if recipe.task == "contacts":
        monitor = choose_monitor(recipe.monitor, MONITOR, MEASURES)
        return ContactJob(read_contacts(recipe, alphabet, monitor))
    if recipe.labels is not None and not is_fasta(recipe.labels):
        check_genome(recipe, alphabet)
        data, notes = read_annotated(recipe, source.backbone.receptive_field)
        return GenomeJob(data, genome_target(data), notes)
    if recipe.labels is not None:
        return ResidueJob(read_labelled_residues(recipe, alphabet))
    train = read_labelled(recipe.train, recipe, alphabet)
    if train.spelled and recipe.task == "auto":
        return ResidueJob(read_labelled_residues(recipe, alphabet))
    if recipe.mask is not None:
        raise InputError(f"mask: {recipe.train} has no labels of residues; leave it out")
    return TableJob(read_tables(recipe, alphabet, train))


def _source(model: str, settings: FinetuneSettings) -> HeliconPreTrainedModel:
    """The model to adapt; from scratch, published weights of a named size are not fetched."""
    if settings.scratch and model in SIZES:
        found: HeliconPreTrainedModel = untrained(model)
    else:
        found = load(model, settings.network)
    if settings.pool == "cls":
        check_cls(found.config.cls_tokens)
    return found


def _run(
    job: Job,
    source: HeliconPreTrainedModel,
    options: Mapping[str, Any],
    hashes: Mapping[str, str],
    out: Path,
    settings: FinetuneSettings,
    resume: bool,
) -> FinetuneResult:
    """Start the processes, say what was decided, and run the seeds."""
    fabric = launch(settings.loop(1, 1.0), out if resume else None)
    weights = Path(source.name_or_path or ".", "model.safetensors")
    if source.name_or_path and weights.exists():
        hashes = {**hashes, "model": sha256(weights)}
    work = Work(job, source, options, hashes, fabric, resume)
    work.say(settings)
    return work.run(out, settings) if settings.seeds == 1 else work.run_seeds(out, settings)
