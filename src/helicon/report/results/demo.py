"""What the main job measured, as plain values that a file holds and a page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.metrics.measures import mcc, per_class
from helicon.report.results.distillation import Watch
from helicon.report.results.records import Curve, read_record, write_record
from helicon.report.results.spread import Spread


@dataclass(frozen=True)
class MaskedScore:
    """How well masked letters are predicted on the test part.

    Attributes:
        name: of the model or the baseline.
        accuracy: share of masked letters whose most probable letter is right.
        perplexity: exponential of the mean negative log-likelihood in nats.
    """

    name: str
    accuracy: float
    perplexity: float


@dataclass(frozen=True)
class Pretraining:
    """The pretraining run.

    Attributes:
        training: (step, loss) in nats per masked letter; of the student, where there is one.
        validation: the same on the validation part.
        steps: optimiser steps taken.
        letters: letters of sequence seen.
        seconds: time it took.
        score: of the pretrained model.
        baselines: of the Markov models, on all letters of the same sequences.
        watch: of self-distillation, what was watched; else `None`.
        note: what else is to be said of the run.
    """

    training: Curve
    validation: Curve
    steps: int
    letters: int
    seconds: float
    score: MaskedScore
    baselines: tuple[MaskedScore, ...]
    watch: Watch | None = None
    note: str = ""


@dataclass(frozen=True)
class SeedRun:
    """One fine-tuning run, measured on the test blocks.

    Attributes:
        seed: of the run.
        confusion: counts of positions (k, k), rows are the true class.
        validation: (step, MCC) on validation data; may be empty.
    """

    seed: int
    confusion: tuple[tuple[int, ...], ...]
    validation: Curve = ()

    @property
    def counts(self) -> NDArray[np.int64]:
        """The confusion matrix (k, k)."""
        return np.asarray(self.confusion, dtype=np.int64)


@dataclass(frozen=True)
class Arm:
    """One way to start, over several seeds: `pretrained`, or `from scratch`; or a linear probe."""

    name: str
    runs: tuple[SeedRun, ...]

    @property
    def mcc(self) -> Spread:
        """Multiclass MCC of every seed."""
        return Spread(tuple(mcc(run.counts) for run in self.runs))

    def f1(self, index: int) -> Spread:
        """F1 of the class with this index, of every seed."""
        return Spread(tuple(float(per_class(run.counts).f1[index]) for run in self.runs))


@dataclass(frozen=True)
class Gene:
    """An annotated gene: 0-based half-open, strand `+` or `-`."""

    start: int
    end: int
    strand: str
    name: str = ""


@dataclass(frozen=True)
class RegionTrack:
    """Probabilities of one model along the region, a value a base; make it with `of`."""

    name: str
    forward: tuple[float, ...]
    reverse: tuple[float, ...]

    @classmethod
    def of(cls, name: str, forward: ArrayLike, reverse: ArrayLike) -> Self:
        """From arrays (L,): the probability of coding on each strand, kept to three decimals."""
        kept = [
            np.round(np.asarray(track, dtype=float), 3).tolist() for track in (forward, reverse)
        ]
        return cls(name, tuple(kept[0]), tuple(kept[1]))


@dataclass(frozen=True)
class Region:
    """A region of the test blocks.

    Attributes:
        chrom: its chromosome.
        start: first base, 0-based.
        end: base behind the last one; every track has `end - start` values.
        description: what part of the split it is.
        genes: annotated genes that overlap it.
        tracks: one a model, the pretrained one first.
    """

    chrom: str
    start: int
    end: int
    description: str
    genes: tuple[Gene, ...]
    tracks: tuple[RegionTrack, ...]


@dataclass(frozen=True)
class DemoResults:
    """Everything that the demo's report shows.

    Attributes:
        genome: name of the genome, with its accession.
        split: bases by part: train, validation, test.
        model: name of the model.
        parameters: its trained values.
        receptive_field: in bases, `None` where it is global.
        classes: names of the classes at every base.
        labelled_bases: bases of annotated sequence that fine-tuning saw.
        finetune_steps: optimiser steps of every fine-tuning run.
        pretraining: the pretraining run.
        arms: the ways to start: pretrained first, the same network from scratch second, then
            linear probes of frozen networks, if there are any.
        region: of the genome-browser figure.
        model_folder: where the adapted model stands.
        commands: what was run.
        next_commands: what to try next.
        provenance: of the whole job, as `helicon.machine.provenance.provenance` gives it; its
            `seconds` are the time of everything together.
        objective: what the model was pretrained by, in words.
    """

    genome: str
    split: dict[str, int]
    model: str
    parameters: int
    receptive_field: int | None
    classes: tuple[str, ...]
    labelled_bases: int
    finetune_steps: int
    pretraining: Pretraining
    arms: tuple[Arm, ...]
    region: Region
    model_folder: str
    commands: tuple[str, ...]
    next_commands: tuple[str, ...]
    provenance: dict[str, Any]
    objective: str = "masked-nucleotide modelling"

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        return write_record(self, path)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what `write` wrote; InputError where it is something else."""
        return read_record(cls, path)

    @property
    def gain(self) -> Spread:
        """MCC of pretrained minus from scratch, seed by seed.

        Where the two have different seeds, it is the difference of their means alone.
        """
        first, second = self.arms[:2]
        if [run.seed for run in first.runs] == [run.seed for run in second.runs]:
            pairs = zip(first.mcc.values, second.mcc.values, strict=True)
            return Spread(tuple(a - b for a, b in pairs))
        return Spread((first.mcc.mean - second.mcc.mean,))
