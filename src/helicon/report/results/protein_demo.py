"""What the protein job measured, as plain values that a file holds and a page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from helicon.metrics.measures import pearson, rmse, spearman
from helicon.report.results.demo import Pretraining
from helicon.report.results.records import Curve, read_record, write_record
from helicon.report.results.spread import Spread

#: A measure of predicted numbers.
MEASURES = {"spearman": spearman, "pearson": pearson, "rmse": rmse}


@dataclass(frozen=True)
class ProteinPart:
    """A part of the split.

    Attributes:
        proteins: number of proteins (and genes).
        clusters: number of clusters; no cluster is in two parts.
        residues: of the proteins together.
    """

    proteins: int
    clusters: int
    residues: int


@dataclass(frozen=True)
class Predictions:
    """What one run predicts for the test genes.

    Attributes:
        seed: of the run; `None` for what has no random choice.
        values: one for every gene, in the order of `ProteinDemoResults.truth`.
        validation: (step, Spearman correlation) on validation genes; may be empty.
    """

    seed: int | None
    values: tuple[float, ...]
    validation: Curve = ()


@dataclass(frozen=True)
class ProteinArm:
    """One way to predict, over its runs: `pretrained`, `from scratch`, a probe, a regression."""

    name: str
    runs: tuple[Predictions, ...]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean prediction of the runs for every gene, (n,)."""
        return np.mean([run.values for run in self.runs], axis=0)


@dataclass(frozen=True)
class ProteinDemoResults:
    """Everything that the report of the protein job shows.

    Attributes:
        genome: name of the genome, with its accession.
        split: the parts: train, validation, test; of pretraining and of the task alike.
        clusters_by: where the clusters come from, in words.
        reference_genes: genes whose codons define what well adapted means.
        model: name of the model.
        parameters: its trained values.
        receptive_field: in residues.
        finetune_steps: optimiser steps of every fine-tuning run.
        pretraining: the pretraining run.
        truth: codon adaptation index of every test gene.
        arms: pretrained first, the same network from scratch second; then other ways to use the
            pretrained network.
        baselines: regressions on the composition of the proteins.
        kept: name of the arm that was best on validation genes.
        model_folder: where its model stands.
        commands: what was run.
        next_commands: what to try next.
        provenance: of the whole job, as `helicon.machine.provenance.provenance` gives it; its
            `seconds` are the time of everything together.
    """

    genome: str
    split: dict[str, ProteinPart]
    clusters_by: str
    reference_genes: int
    model: str
    parameters: int
    receptive_field: int | None
    finetune_steps: int
    pretraining: Pretraining
    truth: tuple[float, ...]
    arms: tuple[ProteinArm, ...]
    baselines: tuple[ProteinArm, ...]
    kept: str
    model_folder: str
    commands: tuple[str, ...]
    next_commands: tuple[str, ...]
    provenance: dict[str, Any]

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        return write_record(self, path)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what `write` wrote; InputError where it is something else."""
        return read_record(cls, path)

    def measure(self, arm: ProteinArm, name: str = "spearman") -> Spread:
        """A measure of every run of an arm on the test genes: one of `MEASURES`."""
        truth = np.array(self.truth)
        return Spread(tuple(MEASURES[name](truth, np.array(run.values)) for run in arm.runs))

    @property
    def kept_arm(self) -> ProteinArm:
        """The arm that was best on validation genes."""
        return next(arm for arm in self.arms if arm.name == self.kept)

    @property
    def gain(self) -> Spread:
        """Spearman correlation of pretrained minus from scratch, seed by seed."""
        pretrained, scratch = (self.measure(arm).values for arm in self.arms[:2])
        return Spread(tuple(a - b for a, b in zip(pretrained, scratch, strict=True)))

    @property
    def gain_interval(self) -> tuple[float, float]:
        """95 % interval of the gain over test genes.

        Genes are drawn with replacement, and the two ways to start are compared on the same
        draws by the mean prediction of their seeds: what other genes of the kind would have shown.
        """
        truth, rng = np.array(self.truth), np.random.default_rng(0)
        one, two = (arm.mean for arm in self.arms[:2])
        gains = []
        for _ in range(_RESAMPLES):
            drawn = rng.integers(len(truth), size=len(truth))
            gains.append(spearman(truth[drawn], one[drawn]) - spearman(truth[drawn], two[drawn]))
        low, high = np.quantile(gains, [0.025, 0.975])
        return float(low), float(high)


#: Draws of the interval over genes.
_RESAMPLES = 1000
