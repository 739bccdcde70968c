"""Evaluation: measure any saved model on labelled data, or on the letters of sequences."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from helicon.errors import InputError, WorkError
from helicon.files import check_output
from helicon.machine.devices import start_processes
from helicon.machine.precision import Precision, check_precision
from helicon.machine.provenance import provenance
from helicon.metrics.measured import Measures, write_parquet
from helicon.models.hub import HeliconPreTrainedModel, NetworkName, load
from helicon.training.adaptation.adapt import check_weights
from helicon.training.evaluate.language import HiddenBases, HiddenResidues
from helicon.training.kinds.kind import Measurable
from helicon.training.kinds.known import KINDS, kinds
from helicon.training.loop.options import Accelerator
from helicon.training.run.options import Asked, Options, verb
from helicon.training.yardsticks.markov import MarkovScore


@dataclass(frozen=True, kw_only=True)
class Measuring(Options):
    """Which network is measured, and on what machine.

    Attributes:
        network: of a self-distilled run: its `teacher` (which is taken if not given), or `student`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
    """

    title: ClassVar[str] = "Machine"

    network: NetworkName | None = None
    precision: Precision = "float32"
    accelerator: Accelerator = "auto"


def measurables() -> list[type[Measurable]]:
    """Everything that a saved model can be measured on."""
    return [*kinds(), HiddenBases, HiddenResidues]


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
    scores: Measures
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


@verb(measurables)
def evaluate(
    model: str,
    data: Path | Measurable,
    *,
    measuring: Measuring,
    asked: Asked,
) -> EvaluateResult:
    """Measure a model on data, as fine-tuning and pretraining measure.

    What is measured follows from the model: classes, labels or numbers of sequences; classes or
    values of a genome's positions; or how well a language model predicts hidden bases of a genome
    or hidden residues of proteins, beside Markov models. An option that means nothing for the model
    is refused.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        data: table or FASTA of labelled sequences; or a genome (FASTA); or, for a model of
            contacts, proteins with coordinates or contacts (ProteinNet, JSON, Parquet).
        measuring: which network, and on what machine.
        asked: which options were given.

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
    """
    began = time.monotonic()
    opened = load(model, measuring.network)
    check_weights(opened, model)
    measured = (
        data if isinstance(data, Measurable) else _measurable(model, Path(data), asked, opened)
    )
    predictions: Path | None = getattr(measured, "predictions", None)
    if predictions is not None:
        check_output(predictions, measured.files.values())
    precision, accelerator = measuring.precision, measuring.accelerator
    check_precision(precision)
    fabric = start_processes(
        accelerator=accelerator, devices=1, nodes=1, strategy="auto", precision=precision
    )
    fabric.to_device(opened)
    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        answer = measured.evaluate(opened, asked, model)
    _check_measured(model, answer.scores)
    if predictions is not None:
        assert answer.frame is not None
        write_parquet(answer.frame, predictions)
    seconds = time.monotonic() - began
    return EvaluateResult(
        model=model,
        data=measured.data,
        examples=answer.examples,
        unit=answer.unit,
        part=answer.part,
        scores=answer.scores,
        baselines=answer.baselines,
        predictions=predictions,
        provenance=provenance(
            seed=asked.of_data.get("seed", 0),
            data=measured.hashes(),
            seconds=seconds,
            accelerator=accelerator,
        ),
        network=measuring.network,
    )


def _measurable(
    model: str, data: Path, asked: Asked, network: HeliconPreTrainedModel
) -> Measurable:
    """What a model is measured on: the first that fits it."""
    options = asked.of_data
    known: list[type[Measurable]] = [*KINDS, HiddenBases, HiddenResidues]
    for one in known:
        if one.fits(network, options):
            return one.of(data, options, asked, "evaluate", f"which {model} is measured on")
    raise InputError(f"{model}: has no head that could be measured; fine-tune it first")


def _check_measured(model: str, scores: Measures) -> None:
    """Stop where a model has given no number at all."""
    loss = scores.metrics.get("loss", 0.0)
    if math.isnan(loss) and all(math.isnan(v) or v == 0 for v in scores.main.values()):
        raise WorkError(f"{model}: gives no numbers (NaN); its weights are broken, train it again")
