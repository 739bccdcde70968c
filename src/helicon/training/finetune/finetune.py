"""Fine-tuning: adapt a model to labelled data of any kind.

The best checkpoint is chosen on validation data alone; test data is looked at once, at the end. A
run folder holds besides the usual `predictions/validation.parquet` and `predictions/test.parquet`.
Several seeds are several runs, in the folders `seed-0`, `seed-1`, ... of one folder, which holds a
summary and the model that was best on validation data.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from helicon.errors import InputError
from helicon.models.hub import HeliconPreTrainedModel, load, untrained
from helicon.models.huggingface.folder import weights_hash
from helicon.models.registry import SIZES
from helicon.training.adaptation.adapt import check_weights
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.finetune.result import FinetuneResult
from helicon.training.finetune.work import Plan, Work
from helicon.training.kinds.kind import Kind
from helicon.training.kinds.known import kinds, recognised
from helicon.training.kinds.labelled_genome import LabelledGenome
from helicon.training.kinds.positions import LabelledPositions, Positions, genome_target
from helicon.training.loop.options import Machine, refuse_floor
from helicon.training.loop.settings import launch
from helicon.training.run.options import Asked, verb

__all__ = ["FinetuneResult", "finetune", "finetune_genome"]

#: What a linear probe, which no loop trains, still reads of how to train.
_OF_PROBES = {"batch_size", "monitor", "class_weights", "seeds"}
_UNTRAINED = ("dropout", "backbone_dropout", "devices", "nodes", "strategy")


@verb(kinds)
def finetune(
    model: str,
    data: Path | Kind,
    *,
    out: Path,
    adapt: Adapt,
    fit: Fit,
    machine: Machine,
    asked: Asked,
    resume: bool = False,
) -> FinetuneResult:
    """Adapt a model to labelled data, and measure it on data that it has not learned from.

    With a table or a FASTA of labelled sequences, nothing but the model, the file and its label
    column is needed: what is not given is decided from the data, and printed. With a genome and
    `labels`, the model learns a class or a value for every position. An option that means nothing
    for the data or the way of training is refused. In Python, `data` may be one of the kinds
    (`Sequences`, `Residues`, `Positions`, `Contacts`), which carries its options, and the others
    may come in the groups `Adapt`, `Fit` and `Machine`.

    Args:
        model: a named size, a run folder, a model folder, or a Hugging Face id.
        data: CSV, TSV, Parquet or FASTA with labels; or, with `labels`, a genome (FASTA); or, for
            the task `contacts`, proteins with coordinates or contacts (ProteinNet, JSON, Parquet).
        out: the run folder to write.
        adapt: what of the model is adapted.
        fit: how it learns.
        machine: where it runs.
        asked: which options were given.
        resume: go on with the run in `out`, or start it if there is none.

    Returns:
        What was measured, and where the model is.

    Raises:
        InputError: a file, a label or an option is wrong, or `out` holds something else.
        WorkError: the loss is not finite, or the disk is full.
    """
    refuse_floor(fit.schedule, asked.given)
    source = _source(model, adapt)
    kind = (
        data if isinstance(data, Kind) else recognised(Path(data), asked, source.backbone.alphabet)
    )
    asked.refuse(kind.without, f"is no option for {kind.what}")
    if kind.is_probe(adapt):
        _check_probe(asked, fit, machine, fresh=adapt.scratch or model in SIZES)
    plan = Plan(kind, kind.read(source, adapt, fit, asked), adapt, fit, machine)
    return _run(plan, source, model, kind.hashes(), Path(out), resume)


def finetune_genome(
    model: str,
    data: LabelledGenome,
    *,
    out: Path,
    kind: Positions | None = None,
    adapt: Adapt | None = None,
    fit: Fit | None = None,
    machine: Machine | None = None,
    resume: bool = False,
) -> FinetuneResult:
    """Adapt a model to the labelled positions of a genome that is already divided.

    Args:
        model: as in `finetune`.
        data: genome, labels, and the stretches to train, choose and test on.
        out: the run folder to write.
        kind: which strands are read.
        adapt: what of the model is adapted.
        fit: how it learns.
        machine: where it runs.
        resume: go on with the run in `out`, or start it if there is none.
    """
    adapt, fit, machine = adapt or Adapt(), fit or Fit(), machine or Machine()
    kind = kind or Positions(data.genome.path, length=data.length, context=data.context)
    labelled = LabelledPositions(kind, data, genome_target(data))
    plan = Plan(kind, labelled, adapt, fit, machine, positions=int(data.train.lengths.sum()))
    hashes = {"data": data.genome.sha256}
    return _run(plan, _source(model, adapt), model, hashes, Path(out), resume)


def _check_probe(asked: Asked, fit: Fit, machine: Machine, *, fresh: bool) -> None:
    """Refuse what a regression on features that are computed once does not read."""
    reason = "is for training, and a linear probe is a regression on features"
    unread = {f.name for f in fields(Fit)} - _OF_PROBES - ({"seed"} if fresh else set())
    asked.refuse([*unread, *_UNTRAINED], reason)
    if machine.precision == "bfloat16":
        raise InputError("precision: a linear probe is fitted to features in float32; leave it out")
    if fit.class_weights == "sqrt":
        raise InputError("class_weights: a linear probe knows balanced and none, not sqrt")


def _source(model: str, adapt: Adapt) -> HeliconPreTrainedModel:
    """The model to adapt; from scratch, published weights of a named size are not fetched."""
    if adapt.scratch and model in SIZES:
        return untrained(model)
    found: HeliconPreTrainedModel = load(model, adapt.network)
    check_weights(found, model)
    return found


def _run(
    plan: Plan,
    source: HeliconPreTrainedModel,
    model: str,
    hashes: dict[str, str],
    out: Path,
    resume: bool,
) -> FinetuneResult:
    """Start the processes, say what was decided, and run the seeds."""
    fabric = launch(plan.fit.loop(plan.machine, steps=1), out if resume else None)
    if weights := weights_hash(source.name_or_path):
        hashes = {**hashes, "model": weights}
    work = Work(plan, source, model, hashes, fabric, resume)
    return work.run(out) if plan.fit.seeds == 1 else work.run_seeds(out)
