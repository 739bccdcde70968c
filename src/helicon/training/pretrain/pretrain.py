"""Pretraining: sequences go in, a language model comes out, with what it was measured to know."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Protocol

import torch
from lightning_fabric import Fabric

from helicon.alphabet import ALPHABETS
from helicon.errors import InputError
from helicon.machine.devices import precision_of
from helicon.machine.provenance import provenance, versions
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, Metric, ModelCard, load, save
from helicon.models.huggingface.folder import weights_hash
from helicon.models.registry import SIZES, configured, pretrained_at
from helicon.objectives.self_distillation import SelfDistillation
from helicon.training.adaptation.adapt import check_weights
from helicon.training.loop.fit import FitResult, Task, fit
from helicon.training.loop.options import Machine, refuse_floor
from helicon.training.loop.settings import launch
from helicon.training.pretrain.genome import GenomeCorpus
from helicon.training.pretrain.proteins import ProteinCorpus
from helicon.training.pretrain.recipe import (
    GenomeData,
    MaskedLm,
    Objective,
    Plan,
    Pretraining,
    ProteinData,
    SelfDistilled,
    Wanted,
    corpora,
)
from helicon.training.pretrain.result import PretrainResult, Proteins, Student
from helicon.training.run.folder import RunFolder
from helicon.training.run.options import Asked, verb
from helicon.training.run.recipe import Option, to_toml
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


@verb(corpora)
def pretrain(
    data: Path | GenomeData | ProteinData,
    *,
    out: Path,
    model: str = "convnova-small",
    backbone: dict[str, Option] | None = None,
    objective: Objective = "masked-lm",
    hidden: MaskedLm,
    distillation: SelfDistilled,
    training: Pretraining,
    machine: Machine,
    asked: Asked,
    resume: bool = False,
) -> PretrainResult:
    """Train a language model on a genome or on proteins, and measure it on parts not seen.

    The model decides which of the two is read, and which options there are. A genome is split by
    position: by the BED file `intervals`, else by the chromosomes in `valid_chromosomes` and
    `test_chromosomes`, else in blocks of `split_block` bases (80, 10 and 10 %). Proteins are split
    by cluster, so that no near-duplicate of a training sequence is measured on. The best weights on
    the validation part are kept; the test part is looked at once, at the end. An option that means
    nothing for the data or the objective is refused. In Python, `data` may be a `GenomeData` or a
    `ProteinData`, which carries its options, and the others may come in the groups `MaskedLm`,
    `SelfDistilled`, `Pretraining` and `Machine`.

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
        hidden: how letters are hidden.
        distillation: how a student learns from its teacher.
        training: how the model learns.
        machine: where it runs.
        asked: which options were given.
        resume: go on with the run in `out`, or start it if there is none.

    Returns:
        What was measured, and where the model is.

    Raises:
        InputError: a file or an option is wrong or of the other kind of data, or `out` holds
            something else.
        WorkError: the loss is not finite, or the disk is full.
    """
    began = time.monotonic()
    refuse_floor(training.schedule, asked.given)
    network, plan = _begun(
        Wanted(data, model, backbone, objective, hidden, distillation, training, machine, asked)
    )
    return _run(plan, network, Path(out), resume, began)


def _run(
    plan: Plan, network: HeliconForMaskedLM, out: Path, resume: bool, began: float
) -> PretrainResult:
    """Read the data, start the processes, train, and measure."""
    corpus: Corpus = (
        GenomeCorpus(plan, plan.corpus)
        if isinstance(plan.corpus, GenomeData)
        else ProteinCorpus(plan, plan.corpus, network.backbone.alphabet)
    )
    fabric = launch(plan.loop(1), out if resume else None)
    if fabric.is_global_zero:
        print(f"train in {precision_of(fabric)}", file=sys.stderr, flush=True)
    about = {
        "verb": "pretrain",
        "unit": corpus.unit,
        "recipe": plan.values,
        "data": _hashes(corpus, plan.model),
        "split": corpus.split,
        "versions": versions(),
        "taken": {"precision": precision_of(fabric)},
    }
    with RunFolder.open(out, about, resume=resume, rank=fabric.global_rank) as run:
        if run.resumed and run.results.exists():
            return PretrainResult.read(run.path)
        trained: HeliconForMaskedLM | SelfDistillation = network
        if plan.distillation is not None:
            trained = SelfDistillation(network, plan.distillation)
        fitted = fit(trained, corpus.task, plan.loop(_steps(plan, corpus)), run, fabric)
        return _finish(plan, run, fabric, trained, corpus, fitted, time.monotonic() - began)


def _hashes(corpus: Corpus, model: str) -> dict[str, str]:
    """SHA-256 of everything that the run reads, the model too."""
    hashes = corpus.hashes
    for folder in (Path(model), Path(model) / "model"):
        if model not in SIZES and (weights := weights_hash(folder)):
            hashes["model"] = weights
    return hashes


def _begun(wanted: Wanted) -> tuple[HeliconForMaskedLM, Plan]:
    """The model to train, with weights that depend on the seed alone, or on what it goes on from.

    Raises:
        InputError: it is no language model, or does not fit the options.
    """
    torch.manual_seed(wanted.training.seed)
    if wanted.model not in SIZES:
        network = _loaded(wanted)
        plan = wanted.planned(network.backbone.alphabet)
    else:
        config = configured(wanted.model, **(wanted.backbone or {}))
        plan = wanted.planned(ALPHABETS[config.alphabet])
        if plan.longest is not None:
            config = pretrained_at(config, plan.longest)
        network = HeliconForMaskedLM(HeliconConfig.of(config))
    official = plan.hidden is not None and plan.hidden.replacement == "official"
    if official and network.backbone.mask_letter != "N":
        raise InputError(
            "replacement: `official` hides bases behind N; give backbone.mask_reads_as N too"
        )
    return network, plan


def _loaded(wanted: Wanted) -> HeliconForMaskedLM:
    model = wanted.model
    if wanted.backbone:
        raise InputError(f"backbone: the weights of {model} fix its settings; leave it out")
    found = load(model)
    check_weights(found, model)
    if not isinstance(found, HeliconForMaskedLM):
        raise InputError(
            f"{model}: is a {type(found).__name__}, no language model; pretraining goes on from "
            "language models alone"
        )
    return found


def _steps(plan: Plan, corpus: Corpus) -> int:
    training = plan.training
    if training.epochs is None:
        return training.steps or DEFAULT_STEPS
    return max(1, round(training.epochs * corpus.batches_per_epoch / training.accumulate))


def _finish(
    plan: Plan,
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
            seed=plan.training.seed,
            data=_hashes(corpus, plan.model),
            seconds=seconds,
            accelerator=plan.machine.accelerator,
        ),
    )
    if fabric.is_global_zero:
        save(network, run.model, _card(plan, corpus, result))
        if isinstance(trained, SelfDistillation):
            save(trained.student, run.student, _card(plan, corpus, result, student=True))
        run.write_results({"verb": "pretrain", **result.as_dict()})
    fabric.barrier()
    return result


def _card(
    plan: Plan, corpus: Corpus, result: PretrainResult, *, student: bool = False
) -> ModelCard:
    """What the model card says, from the run alone."""
    name = corpus.path.name
    measured = [("validation", result.validation), ("test", result.test)]
    which = ""
    if result.student is not None:
        which = " By self-distillation; this is the " + ("student." if student else "teacher.")
    if result.student is not None and student:
        measured = [("test", result.student.test)]
    base = "" if plan.model in SIZES else plan.model
    metrics = [
        Metric(f"masked {what}", score[what], name, split)
        for split, score in measured
        for what in ("accuracy", "perplexity")
        if score
    ]
    digest = next(iter(corpus.hashes.values()))
    return ModelCard(
        name=f"{plan.model if not base else Path(base).name} pretrained on {name}",
        summary=(
            f"A language model of {corpus.about}, trained to predict hidden {corpus.unit} from "
            f"those around. It gives features for other tasks, and probabilities of {corpus.unit}."
            + which
        ),
        data=(f"{name} (SHA-256 {digest}), {result.split['train']:,} {corpus.unit}",),
        steps=result.steps,
        metrics=tuple(metrics),
        recipe=to_toml("pretrain", plan.values),
        base_model=base,
    )
