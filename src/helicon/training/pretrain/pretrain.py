"""Pretraining: sequences go in, a language model comes out, with what it was measured to know."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal, Protocol

import torch
from lightning_fabric import Fabric

from helicon.alphabet import ALPHABETS, DNA
from helicon.data.sampling.clusters import ClusterBy
from helicon.errors import InputError
from helicon.machine.devices import precision_of
from helicon.machine.precision import TrainingPrecision
from helicon.machine.provenance import provenance, versions
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, Metric, ModelCard, load, save
from helicon.models.huggingface.folder import weights_hash
from helicon.models.registry import SIZES, configured, pretrained_at
from helicon.objectives.masked_lm import Replacement
from helicon.objectives.self_distillation import Over, SelfDistillation
from helicon.training.adaptation.adapt import check_weights
from helicon.training.loop.fit import FitResult, Task, fit
from helicon.training.loop.schedule import Schedule
from helicon.training.loop.settings import launch
from helicon.training.pretrain.genome import GenomeCorpus
from helicon.training.pretrain.proteins import ProteinCorpus
from helicon.training.pretrain.recipe import Objective, PretrainRecipe
from helicon.training.pretrain.result import PretrainResult, Proteins, Student
from helicon.training.run.folder import RunFolder
from helicon.training.run.recipe import Option, to_toml, values_of
from helicon.training.yardsticks.markov import MarkovScore

#: Steps of a run that states no length.
DEFAULT_STEPS = 10_000


class Corpus(Protocol):
    """What a run reads, split in parts.

    Attributes:
        path: the file.
        unit: what its letters are, `bases` or `residues`.
        about: what it is, `DNA` or `proteins`.
        split: letters in each part.
        proteins: what the proteins are, if they are.
    """

    path: Path
    unit: str
    about: str
    split: dict[str, int]
    proteins: Proteins | None

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything that is read."""

    @property
    def task(self) -> Task:
        """What to train."""

    @property
    def batches_per_epoch(self) -> float:
        """Batches of one process in a pass over the training part."""

    def test(self, network: HeliconForMaskedLM) -> dict[str, float]:
        """Measure on the test part; empty where there is none."""

    def baselines(self) -> list[MarkovScore]:
        """Markov models fitted on the training part, scored on what the model is."""


def pretrain(
    data: str | Path,
    *,
    out: str | Path,
    model: str | Path = "convnova-small",
    backbone: dict[str, Option] | None = None,
    objective: Objective = "masked-lm",
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    length: int | None = None,
    batch_size: int | None = None,
    max_tokens: int | None = None,
    max_sequences: int | None = None,
    crop: int | None = None,
    accumulate: int = 1,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    schedule: Schedule = "cosine",
    warmup: float = 0.05,
    floor: float = 0.01,
    clip: float = 1.0,
    mask_rate: float | None = None,
    replacement: Replacement | None = None,
    soft_weight: float | None = None,
    views: str | None = None,
    cls_tokens: int | None = None,
    cls_softmax: Over | None = None,
    alpha: float | None = None,
    student_temperature: float | None = None,
    teacher_temperature: float | None = None,
    teacher_momentum: float | None = None,
    center_momentum: float | None = None,
    intervals: str | Path | None = None,
    offsets: Literal["random", "head"] | None = None,
    reverse_complement: bool | None = None,
    max_unknown: float | None = None,
    valid_chromosomes: list[str] | None = None,
    test_chromosomes: list[str] | None = None,
    split_block: int | None = None,
    validation_windows: int | None = None,
    test_windows: int | None = None,
    sequence: str | None = None,
    clusters: str | Path | None = None,
    cluster_by: ClusterBy | None = None,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    validation_sequences: int | None = None,
    test_sequences: int | None = None,
    eval_every: int | None = None,
    checkpoint_every: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    precision: TrainingPrecision = "auto",
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    resume: bool = False,
) -> PretrainResult:
    """Train a language model on a genome or on proteins, and measure it on parts not seen.

    The model decides which of the two is read, and which options there are. A genome is split by
    position: by the BED file `intervals`, else by the chromosomes in `valid_chromosomes` and
    `test_chromosomes`, else in blocks of `split_block` bases (80, 10 and 10 %). Proteins are split
    by cluster, so that no near-duplicate of a training sequence is measured on. The best weights on
    the validation part are kept; the test part is looked at once, at the end.

    Args:
        data: a genome: FASTA file (plain, gzip or bgzip), `example` for the embedded one, or the
            name of a file of a data set, such as `hg38/hg38.ml.fa.gz`. Proteins: FASTA, CSV, TSV or
            Parquet file, plain or gzip.
        out: the run folder to write.
        model: a named size to start from random weights, or a run folder, model folder or Hugging
            Face id whose training goes on.
        backbone: settings of the named size to change, by name.
        objective: what to train for: hidden letters (`masked-lm`), or hidden letters and what a
            teacher makes of another view (`self-distillation`, FinDNA). The teacher, a moving
            average of what is trained, becomes the model; the trained network stands beside it.
        steps: optimiser steps; without it, `epochs` and `minutes`, 10,000.
        epochs: passes over the training part, in place of steps.
        minutes: time to train, in place of steps. After the first seconds it becomes a number of
            steps, which the run folder records.
        length: genome: bases of a window; 1,024 if not given.
        batch_size: genome: windows in a batch, in each process; 32 if not given.
        max_tokens: proteins: most positions in a batch, padding counted, in each process; 16,384 if
            not given. A longer protein makes a batch of its own.
        max_sequences: proteins: most sequences in a batch; 1,024 if not given.
        crop: proteins: longest stretch to train on; a longer protein gives a stretch drawn anew
            in every epoch. Nothing is cropped if not given.
        accumulate: batches in an optimiser step.
        lr: highest learning rate.
        weight_decay: of matrices and kernels; biases and normalisations are not decayed.
        schedule: how the rate falls after the warm-up.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: last learning rate over the highest.
        clip: largest norm of the gradient; 0 for no limit.
        mask_rate: share of the letters to predict; 0.10 of a genome and 0.15 of proteins if not
            given, 0.3 with self-distillation.
        replacement: what stands in their place: the mask symbol (`mask`, for a genome if not
            given); in a tenth of the cases a random letter and in a tenth the letter itself
            (`80-10-10`); what the published CARP code does, which is the same with a fixed number
            of targets in each sequence and another letter than was there (`carp`, for proteins if
            not given); or what the published ConvNova code does (`official`), which also needs
            `backbone.mask_reads_as` to be N, and had a rate of 0.15.
        soft_weight: genome: weight in the loss of lower-case bases (repeats), 0 to 1; 1 if not
            given.
        views: self-distillation: letters of the student's augmentations in order, `+`, letters of
            the teacher's: masks (M), deletion, insertion, translocation, noise, reverse complement,
            inversion (V), point mutation, or `NoAug`. MDIT+NR if not given, MDIT+N for proteins.
        cls_tokens: self-distillation: blank tokens behind a sequence, which both networks are
            compared at; 10 if not given.
        cls_softmax: self-distillation: what the distributions at the blank tokens are over:
            `tokens`, as the paper says, if not given; `channels`; or `letters`, as in the published
            code.
        alpha: self-distillation: share of the loss of hidden letters in the whole; 0.5 if not
            given.
        student_temperature: self-distillation: of the student's distributions; 0.1 if not given.
        teacher_temperature: self-distillation: of the teacher's; 0.04 if not given.
        teacher_momentum: self-distillation: share that the teacher keeps of its weights in the
            first step; it rises to 1. 0.996 if not given; a run of a few hundred steps needs less.
        center_momentum: self-distillation: share that the centre keeps in a step; 0.996 if not
            given.
        intervals: genome: BED file of the stretches to draw windows from, whose fourth column says
            `train`, `valid` or `test`.
        offsets: genome: draw windows anywhere in the intervals (`random`, if not given), or take
            the first bases of each (`head`).
        reverse_complement: genome: read each window from a strand drawn at random; yes if not
            given.
        max_unknown: genome: share of N above which a window is drawn again; 0.5 if not given.
        valid_chromosomes: genome: chromosomes to choose the best weights on.
        test_chromosomes: genome: chromosomes to measure on at the end.
        split_block: genome: bases of a block, where it is split in blocks; 50,000 if not given.
        validation_windows: genome: windows of a validation, evenly spread over the part; 256 if
            not given.
        test_windows: genome: windows of the test, evenly spread over the part; 2,048 if not given.
        sequence: proteins: column of sequences of a table; `sequence` if not given.
        clusters: proteins: table that names the cluster of every sequence, two columns with a tab
            between (`name, cluster`, or `representative, member` of MMseqs2).
        cluster_by: proteins, without `clusters`: sequences that share k-mers are a cluster
            (`kmers`, if not given), the headers say `cluster=NAME` (`header`), or each sequence is
            one (`none`, for a set of representatives such as UniRef50).
        validation_fraction: proteins: share of the residues to choose the best weights on; 0.05 if
            not given.
        test_fraction: proteins: share of the residues to measure on at the end; 0.05 if not given.
        validation_sequences: proteins: most sequences of a validation, evenly spread over the part;
            1,024 if not given.
        test_sequences: proteins: most sequences of the test, evenly spread; 8,192 if not given.
        eval_every: steps between validations; ten in the run if not given.
        checkpoint_every: steps between checkpoints; one with each validation if not given.
        patience: validations without improvement after which training stops; never if not given.
        seed: of weights, order, masks and dropout.
        precision: `auto` is bfloat16 where the hardware multiplies in it, else float32.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
        resume: go on with the run in `out`, or start it if there is none.

    Returns:
        What was measured, and where the model is.

    Raises:
        InputError: a file or an option is wrong or of the other kind of data, or `out` holds
            something else.
        WorkError: the loss is not finite, or the disk is full.
    """
    recipe = PretrainRecipe.of(locals())
    began = time.monotonic()
    network = _network(recipe)
    recipe = recipe.resolved(network.backbone.alphabet)
    _check_replacement(recipe, network)
    corpus: Corpus
    if network.backbone.alphabet is DNA:
        corpus = GenomeCorpus(recipe)
    else:
        corpus = ProteinCorpus(recipe, network.backbone.alphabet)
    fabric = launch(recipe.loop(1), Path(out) if resume else None)
    if fabric.is_global_zero:
        print(f"train in {precision_of(fabric)}", file=sys.stderr, flush=True)
    about = {
        "verb": recipe.verb,
        "unit": corpus.unit,
        "recipe": values_of(recipe),
        "data": _hashes(corpus, recipe),
        "split": corpus.split,
        "versions": versions(),
        "taken": {"precision": precision_of(fabric)},
    }
    with RunFolder.open(Path(out), about, resume=resume, rank=fabric.global_rank) as run:
        if run.resumed and run.results.exists():
            return PretrainResult.read(run.path)
        trained: HeliconForMaskedLM | SelfDistillation = network
        if recipe.distillation is not None:
            trained = SelfDistillation(network, recipe.distillation)
        fitted = fit(trained, corpus.task, recipe.loop(_steps(recipe, corpus)), run, fabric)
        return _finish(recipe, run, fabric, trained, corpus, fitted, time.monotonic() - began)


def _hashes(corpus: Corpus, recipe: PretrainRecipe) -> dict[str, str]:
    """SHA-256 of everything that the run reads, the model too."""
    hashes = corpus.hashes
    for folder in (Path(recipe.model), Path(recipe.model) / "model"):
        if recipe.model not in SIZES and (weights := weights_hash(folder)):
            hashes["model"] = weights
    return hashes


def _network(recipe: PretrainRecipe) -> HeliconForMaskedLM:
    """The model to train, with weights that depend on the seed alone, or on what it goes on from.

    Raises:
        InputError: it is no language model, or does not fit the options.
    """
    torch.manual_seed(recipe.seed)
    if recipe.model in SIZES:
        config = configured(recipe.model, **(recipe.backbone or {}))
        told = recipe.resolved(ALPHABETS[config.alphabet])
        if longest := told.length or told.crop:
            config = pretrained_at(config, longest + (told.cls_tokens or 0))
        return HeliconForMaskedLM(HeliconConfig.of(config))
    if recipe.backbone:
        raise InputError(f"backbone: the weights of {recipe.model} fix its settings; leave it out")
    loaded = load(recipe.model)
    check_weights(loaded, str(recipe.model))
    if not isinstance(loaded, HeliconForMaskedLM):
        raise InputError(
            f"{recipe.model}: is a {type(loaded).__name__}, no language model; pretraining "
            "goes on from language models alone"
        )
    return loaded


def _check_replacement(recipe: PretrainRecipe, network: HeliconForMaskedLM) -> None:
    if recipe.replacement == "official" and network.backbone.mask_letter != "N":
        raise InputError(
            "replacement: `official` hides bases behind N; give backbone.mask_reads_as N too"
        )


def _steps(recipe: PretrainRecipe, corpus: Corpus) -> int:
    if recipe.epochs is None:
        return recipe.steps or DEFAULT_STEPS
    return max(1, round(recipe.epochs * corpus.batches_per_epoch / recipe.accumulate))


def _finish(
    recipe: PretrainRecipe,
    run: RunFolder,
    fabric: Fabric,
    trained: HeliconForMaskedLM | SelfDistillation,
    corpus: Corpus,
    fitted: FitResult,
    seconds: float,
) -> PretrainResult:
    """Measure the best weights, and write the model (the teacher, of two) and the results."""
    network, student = trained, None
    if isinstance(trained, SelfDistillation):
        network, student = trained.teacher, Student(run.student, corpus.test(trained.student))
    assert isinstance(network, HeliconForMaskedLM)
    result = PretrainResult(
        run=run.path,
        model=run.model,
        steps=fitted.steps,
        best_step=fitted.best_step,
        validation=fitted.best,
        test=corpus.test(network),
        baselines=corpus.baselines(),
        parameters=sum(p.numel() for p in network.parameters()),
        receptive_field=network.backbone.receptive_field,
        unit=corpus.unit,
        letters=fitted.letters,
        split=corpus.split,
        proteins=corpus.proteins,
        student=student,
        seconds=fitted.seconds,
        letters_per_second=fitted.letters / max(fitted.seconds, 1e-9),
        waited_seconds=fitted.waited_seconds,
        precision=fitted.precision,
        provenance=provenance(
            seed=recipe.seed,
            data=_hashes(corpus, recipe),
            seconds=seconds,
            accelerator=recipe.accelerator,
        ),
    )
    if fabric.is_global_zero:
        save(network, run.model, _card(recipe, corpus, result))
        if isinstance(trained, SelfDistillation):
            save(trained.student, run.student, _card(recipe, corpus, result, student=True))
        run.write_results({"verb": recipe.verb, **result.as_dict()})
    fabric.barrier()
    return result


def _card(
    recipe: PretrainRecipe, corpus: Corpus, result: PretrainResult, *, student: bool = False
) -> ModelCard:
    """What the model card says, from the run alone."""
    name = corpus.path.name
    measured = [("validation", result.validation), ("test", result.test)]
    which = ""
    if result.student is not None:
        which = " By self-distillation; this is the " + ("student." if student else "teacher.")
    if result.student is not None and student:
        measured = [("test", result.student.test)]
    base = "" if recipe.model in SIZES else recipe.model
    metrics = [
        Metric(f"masked {what}", score[what], name, split)
        for split, score in measured
        for what in ("accuracy", "perplexity")
        if score
    ]
    digest = next(iter(corpus.hashes.values()))
    return ModelCard(
        name=f"{recipe.model if not base else Path(base).name} pretrained on {name}",
        summary=(
            f"A language model of {corpus.about}, trained to predict hidden {corpus.unit} from "
            f"those around. It gives features for other tasks, and probabilities of {corpus.unit}."
            + which
        ),
        data=(f"{name} (SHA-256 {digest}), {result.split['train']:,} {corpus.unit}",),
        steps=result.steps,
        metrics=tuple(metrics),
        recipe=to_toml(recipe),
        base_model=base,
    )
